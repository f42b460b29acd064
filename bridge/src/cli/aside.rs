//! `bridge transform run`: records of a file or of a topic, before and after a module.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use super::Failure;
use super::module::{file_source, table};
use crate::blame::Fault;
use crate::observe::terminal;
use crate::trial::{self, Fate, Fuel, Planned, Rig, Stock, Told};

/// Columns where no terminal says how many it has.
const WIDTH: usize = 100;

/// Which records, and how they are shown.
#[derive(clap::Args, Debug)]
pub(super) struct Asked {
    /// A file with a record's value in each line.
    #[arg(long, value_name = "FILE", required_unless_present = "topic", conflicts_with = "topic")]
    input: Option<PathBuf>,
    /// A topic; its newest records are read, and no group hears of it.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Where the topic is.
    #[arg(long, default_value = "localhost:9092", value_name = "HOST:PORT")]
    brokers: String,
    /// So many records: the first ones of the file, the newest ones of the topic.
    #[arg(long, default_value_t = 20, value_name = "N")]
    last: usize,
    /// One JSON object for each record.
    #[arg(long)]
    json: bool,
}

/// Runs a module over records.
pub(super) fn run(
    module: &str,
    config: Option<&str>,
    asked: &Asked,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let own = table(module, config)?;
    let planned = match &asked.topic {
        Some(topic) => trial::of_topic(own, topic, &asked.brokers)?,
        None => trial::of_module(own, file_source(asked.input.as_deref()))?,
    };
    let stock = Stock::load(&planned, Fuel::Ignored)?;
    let told = read(&planned, asked)?;
    let mut before = fates(&planned, &stock.reading(), &told)?.into_iter();
    let after = fates(&planned, &stock, &told)?;
    let width = terminal::width().filter(|_| io::stdout().is_terminal()).unwrap_or(WIDTH);
    let (mut kept, mut rejected) = (0, 0);
    for (told, after) in told.iter().zip(&after) {
        let before = before.next().unwrap_or(Fate::Filtered);
        kept += usize::from(matches!(after, Fate::Rows(_)));
        rejected += usize::from(matches!(after, Fate::Rejected { .. }));
        let Told { source, offset, record } = told;
        if asked.json {
            let place = (&*source.topic, source.partition, *offset);
            writeln!(out, "{}", trial::in_json(place, &before, after))?;
            continue;
        }
        writeln!(out, "{source}@{offset}")?;
        let left = match &before {
            Fate::Rows(_) => before.shown(),
            _ => {
                let value = record.value.as_deref().map(String::from_utf8_lossy);
                vec![value.map_or("no value".to_owned(), |value| value.into_owned())]
            }
        };
        for line in trial::beside(&left, &after.shown(), width) {
            writeln!(out, "{line}")?;
        }
    }
    if !asked.json {
        let all = after.len();
        let filtered = all - kept - rejected;
        writeln!(out, "{all} records: {kept} kept, {filtered} filtered, {rejected} rejected")?;
    }
    Ok(())
}

fn read(planned: &Planned, asked: &Asked) -> Result<Vec<Told>, Fault> {
    let told = trial::newest(&*planned.pipeline.source, asked.last)?;
    if told.is_empty() {
        let message = match &asked.topic {
            Some(topic) => format!("reading topic {topic}: there is no record in it"),
            None => "reading records: `--last 0` asks for none".to_owned(),
        };
        return Err(Fault::operator(message).hint("`--last N` of a topic that has records"));
    }
    Ok(told)
}

/// What becomes of each record.
fn fates(planned: &Planned, stock: &Stock, told: &[Told]) -> Result<Vec<Fate>, Fault> {
    let mut rig = Rig::of_rows(&planned.pipeline, stock)?;
    let mut fates = Vec::with_capacity(told.len());
    for batch in trial::batches(told.iter().map(Told::again).collect()) {
        fates.extend(rig.try_on(batch)?.fates);
    }
    Ok(fates)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(json: bool) -> String {
        let path = std::env::temp_dir().join(format!("bridge-aside-{}-{json}", std::process::id()));
        std::fs::write(&path, "{\"a\": 1}\n{\"a\": 2}\nno JSON\n").expect("the folder takes files");
        let asked =
            Asked { input: Some(path.clone()), topic: None, brokers: String::new(), last: 3, json };
        let config = Some("set = { b = 'a * 2.5' }");
        let mut out = Vec::new();
        let done = run("builtin:convert", config, &asked, &mut out);
        std::fs::remove_file(&path).expect("it was just written");
        if let Err(Failure::Fault(fault)) = done {
            panic!("{fault}");
        }
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn records_are_shown_before_and_after() {
        let text = told(false);
        assert!(text.starts_with("memory/0@0\nrow "), "{text}");
        assert!(text.contains("│ *   b = 2.5\n") && text.contains("no JSON"), "{text}");
        assert!(text.contains("* rejected: malformed: "), "{text}");
        assert!(text.ends_with("3 records: 2 kept, 0 filtered, 1 rejected\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }

    #[test]
    fn programs_get_an_object_for_each() {
        let text = told(true);
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[1]["before"], serde_json::json!({ "a": 2 }));
        assert_eq!(lines[1]["rows"], serde_json::json!([{ "a": 2, "b": 5.0 }]));
        assert!(lines[2]["rejected"].as_str().is_some_and(|why| why.starts_with("malformed")));
    }
}
