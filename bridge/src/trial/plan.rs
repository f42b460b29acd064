//! Pipelines of which only the middle counts: transforms between two ends that are nowhere, read
//! as a configuration is.

use std::path::{Path, PathBuf};

use crate::blame::Fault;
use crate::config::{Overrides, PipelinePlan, Plan, Surroundings};

/// What records go through, and where its files are.
#[derive(Debug)]
pub struct Planned {
    /// The pipeline.
    pub pipeline: PipelinePlan,
    /// The folder that relative paths start from.
    pub base: PathBuf,
    /// Where machine code is kept.
    pub cache: Option<PathBuf>,
    /// Whether records for topics have somewhere to go.
    pub emits: bool,
}

/// The name that nobody sees.
const NAME: &str = "trial";

/// A table with one entry.
pub(super) fn one(key: &str, value: impl Into<toml::Value>) -> toml::Table {
    toml::Table::from_iter([(key.to_owned(), value.into())])
}

/// A pipeline of one module, whose section is given; relative paths start from where one stands.
/// `source` is the section of its source.
pub fn of_module(module: toml::Table, source: toml::Table) -> Result<Planned, Fault> {
    let mut pipeline = one("transform", vec![toml::Value::Table(module)]);
    pipeline.insert("source".to_owned(), source.into());
    planned("the command", Path::new(""), pipeline, None)
}

/// The same, for the records of a topic.
pub fn of_topic(module: toml::Table, topic: &str, brokers: &str) -> Result<Planned, Fault> {
    let mut pipeline = one("transform", vec![toml::Value::Table(module)]);
    pipeline.insert("topics".to_owned(), vec![topic].into());
    planned("the command", Path::new(""), pipeline, Some(one("brokers", brokers)))
}

/// A pipeline that only reads, by its keys; the records of a topic of these brokers, if one is
/// given.
pub fn of_values(mut pipeline: toml::Table, topic: Option<(&str, &str)>) -> Result<Planned, Fault> {
    let kafka = topic.map(|(topic, brokers)| {
        pipeline.insert("topics".to_owned(), vec![topic].into());
        one("brokers", brokers)
    });
    planned("the command", Path::new(""), pipeline, kafka)
}

/// A pipeline by its keys, its sink among them, whose records are the command's own.
pub fn of_lines(pipeline: toml::Table) -> Result<PipelinePlan, Fault> {
    let mut pipeline = pipeline;
    let sink = pipeline.remove("sink");
    Ok(whole("the command", Path::new(""), pipeline, None, sink)?.pipeline)
}

/// A pipeline of a configuration, as it is.
pub fn of_file(file: &Path, name: Option<&str>) -> Result<Planned, Fault> {
    let plan = Plan::load(file, &Overrides::default()).map_err(|mistakes| {
        let all = mistakes.to_string();
        Fault::operator(all.trim_start_matches("error: ").trim_end().to_owned())
    })?;
    only(plan, name, &file.display().to_string())
}

/// Reads the keys of a pipeline that has neither source nor sink, if they are not among them.
/// Mistakes are told as those of `file`, with paths that begin at the pipeline.
pub(super) fn planned(
    file: &str,
    base: &Path,
    pipeline: toml::Table,
    kafka: Option<toml::Table>,
) -> Result<Planned, Fault> {
    // Where there is no sink, none is too small for what a transform makes.
    Ok(Planned { emits: true, ..whole(file, base, pipeline, kafka, None)? })
}

/// The same with a sink, or with none.
fn whole(
    file: &str,
    base: &Path,
    mut pipeline: toml::Table,
    kafka: Option<toml::Table>,
    sink: Option<toml::Value>,
) -> Result<Planned, Fault> {
    if !pipeline.contains_key("topics") {
        pipeline.entry("source").or_insert_with(|| one("kind", "memory").into());
    }
    pipeline.insert("sink".into(), sink.unwrap_or_else(|| one("kind", "memory").into()));
    let is_one = pipeline.get("transform").and_then(toml::Value::as_array).map(Vec::len) == Some(1);
    let mut whole = one("pipeline", one(NAME, pipeline));
    whole.extend(kafka.map(|kafka| ("kafka".to_owned(), kafka.into())));
    // What is a reference in a configuration is only text here.
    let text = whole.to_string().replace('$', "$$");
    let env = |name: &str| std::env::var(name).ok();
    let with = Surroundings { env: &env, host: String::new(), base };
    let plan = Plan::parse(file, &text, &with, &Overrides::default()).map_err(|mistakes| {
        // Its places are in a text that nobody wrote.
        let said = mistakes.list.iter().map(|mistake| {
            let at = mistake.path.trim_start_matches("pipeline.trial").trim_start_matches('.');
            let at = if is_one { at.trim_start_matches("transform.0.") } else { at };
            let help = mistake.help.iter().map(|help| format!(" ({help})")).collect::<String>();
            format!("{file}: {at}: {}{help}", mistake.message)
        });
        Fault::operator(said.collect::<Vec<_>>().join("\n"))
    })?;
    only(plan, None, file)
}

/// The pipeline of that name, or the only one.
fn only(plan: Plan, name: Option<&str>, file: &str) -> Result<Planned, Fault> {
    let Plan { mut pipelines, base, cache, .. } = plan;
    let names: Vec<String> = pipelines.iter().map(|pipeline| pipeline.name.to_string()).collect();
    let at = match name {
        Some(name) => names.iter().position(|own| own == name),
        None => (names.len() == 1).then_some(0),
    };
    let Some(at) = at else {
        let message = match name {
            Some(name) => format!("{file}: there is no pipeline `{name}`"),
            None => format!("{file}: the configuration has several pipelines"),
        };
        let hint = format!("`pipeline` is one of {}", names.join(", "));
        return Err(Fault::operator(message).hint(hint));
    };
    let pipeline = pipelines.swap_remove(at);
    Ok(Planned { emits: pipeline.takes_emitted(), pipeline, base, cache })
}
