//! `bridge infer`: a sample of a topic, and the table that it could be.

use std::io::Write;
use std::path::PathBuf;

use super::Failure;
use super::module::{file_source, options};
use crate::blame::Fault;
use crate::trial::{self, Fate, Fuel, Planned, Rig, Stock};

/// How `--value` is written.
const VALUE: &str = "such as --value 'format = \"csv\", header = \"names\"'";

/// What is sampled, and how it is read.
#[derive(clap::Args, Debug)]
pub(super) struct Asked {
    /// The topic; its newest records are read, and no group hears of it.
    #[arg(required_unless_present_any = ["config", "input"])]
    topic: Option<String>,
    /// Where the topic is.
    #[arg(long, default_value = "localhost:9092", value_name = "HOST:PORT")]
    brokers: String,
    /// A configuration whose pipeline says where Kafka is and how values are read, its transforms
    /// among them.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["topic", "input", "value"])]
    config: Option<PathBuf>,
    /// Which of its pipelines, if there are several.
    #[arg(long, value_name = "NAME", requires = "config")]
    pipeline: Option<String>,
    /// A file with a record's value in each line, in place of a topic.
    #[arg(long, value_name = "FILE", conflicts_with = "topic")]
    input: Option<PathBuf>,
    /// How values are read, as in a pipeline's `value`: `format = "csv", header = "names"`.
    #[arg(long, value_name = "TOML")]
    value: Option<String>,
    /// So many records: the newest ones of the topic, the first ones of the file.
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    last: usize,
}

/// Writes the section of the table, with what was seen.
pub(super) fn infer(asked: &Asked, out: &mut dyn Write) -> Result<(), Failure> {
    let planned = planned(asked)?;
    let told = trial::newest(&*planned.pipeline.source, asked.last)?;
    let name = match (&asked.topic, told.first()) {
        (Some(topic), _) => topic.clone(),
        (None, Some(first)) => first.source.topic.to_string(),
        (None, None) => planned.pipeline.name.to_string(),
    };
    let stock = Stock::load(&planned, Fuel::Ignored)?;
    let mut rig = Rig::of_rows(&planned.pipeline, &stock)?;
    let (mut rows, mut records) = (Vec::new(), 0);
    let mut refused: Option<String> = None;
    let mut rejected = 0;
    for batch in trial::batches(told) {
        for fate in rig.try_on(batch)?.fates {
            records += 1;
            match fate {
                Fate::Rows(mut own) => rows.append(&mut own),
                Fate::Rejected { reason, detail } => {
                    rejected += 1;
                    refused.get_or_insert_with(|| format!("{}: {detail}", reason.name()));
                }
                Fate::Lines(_) | Fate::Filtered => {}
            }
        }
    }
    rows.retain(|row| row.topic.is_none());
    if rows.is_empty() {
        let why = refused.map_or("there are none".to_owned(), |why| format!("the first: {why}"));
        let message =
            format!("inferring a table from {records} records: no row came of them, {why}");
        return Err(Fault::operator(message)
            .hint("--value says how records are read, such as --value 'format = \"csv\"'")
            .into());
    }
    writeln!(out, "# Proposed from {} rows of {records} records of {name}.", rows.len())?;
    if let Some(why) = refused {
        writeln!(out, "# {rejected} records were rejected; the first: {why}")?;
    }
    let pipeline = match &asked.config {
        Some(_) => planned.pipeline.name.to_string(),
        None => head(asked, &name, out)?,
    };
    let table = rows.iter().find_map(|row| row.table.clone()).unwrap_or(name);
    let proposal = trial::infer(&rows);
    out.write_all(trial::written(&proposal, &pipeline, &table).as_bytes())?;
    Ok(())
}

/// What stands before the table where there is no configuration yet; the pipeline's name.
fn head(asked: &Asked, topic: &str, out: &mut dyn Write) -> Result<String, Failure> {
    let word = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    let pipeline: String = topic.chars().map(word).collect();
    let text = |text: &str| toml::Value::from(text).to_string();
    writeln!(out, "\n[kafka]\nbrokers = {}\n", text(&asked.brokers))?;
    writeln!(out, "[pipeline.{pipeline}]\ntopics = [{}]", text(topic))?;
    if let Some(value) = &asked.value {
        writeln!(out, "value = {}", toml::Value::Table(options("--value", VALUE, Some(value))?))?;
    }
    writeln!(out)?;
    Ok(pipeline)
}

fn planned(asked: &Asked) -> Result<Planned, Fault> {
    let mut own = toml::Table::new();
    if let Some(value) = &asked.value {
        own.insert("value".to_owned(), options("--value", VALUE, Some(value))?.into());
    }
    match (&asked.config, &asked.topic) {
        (Some(file), _) => trial::of_file(file, asked.pipeline.as_deref()),
        (None, Some(topic)) => trial::of_values(own, Some((topic, &asked.brokers))),
        (None, None) => {
            own.insert("source".to_owned(), file_source(asked.input.as_deref()).into());
            trial::of_values(own, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_records_becomes_a_section() {
        let path = std::env::temp_dir().join(format!("bridge-infer-{}", std::process::id()));
        let line = "{\"ts\": 1700000000123, \"site\": \"a\", \"t\": 1.5}\n";
        std::fs::write(&path, line.repeat(6) + "no JSON\n").expect("the folder takes files");
        let asked = Asked {
            topic: None,
            brokers: "localhost:9092".to_owned(),
            config: None,
            pipeline: None,
            input: Some(path.clone()),
            value: None,
            last: 7,
        };
        let mut out = Vec::new();
        let done = infer(&asked, &mut out);
        std::fs::remove_file(&path).expect("it was just written");
        if let Err(Failure::Fault(fault)) = done {
            panic!("{fault}");
        }
        let text = String::from_utf8(out).expect("text");
        assert!(text.starts_with("# Proposed from 6 rows of 7 records of memory.\n"), "{text}");
        assert!(text.contains("# 1 records were rejected; the first: malformed"), "{text}");
        assert!(text.contains("timestamp = { field = \"ts\", unit = \"ms\" }"), "{text}");
        assert!(text.contains("symbols = [\"site\"]"), "{text}");
    }
}
