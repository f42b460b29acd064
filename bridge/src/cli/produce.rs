//! `bridge produce`: the lines of a file or a pipe as records of a topic.

mod key;

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use self::key::KeyFormat;
use super::Failure;
use super::module::options;
use crate::blame::Fault;
use crate::config::{KafkaPlan, PipelinePlan};
use crate::produce::{self, Counts, Ended, News, Quoting, Wish};
use crate::trial;

/// How `--read` is written.
const READ: &str = "such as --from csv --read 'delimiter = \";\", trim = true'";
/// How `--write` is written.
const WRITE: &str = "such as --format avro --write 'registry.username = \"me\"'";
/// How `--columns` is written.
const COLUMNS: &str = "such as --columns 'temperature = \"double\", at = \"timestamp\"'";
/// How often the progress is shown.
const SHOWN_EVERY: Duration = Duration::from_millis(200);

/// What lines are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum From {
    /// Anything: nobody looks.
    Lines,
    /// A JSON object in each.
    Json,
    /// CSV; the first line names the columns.
    Csv,
    /// InfluxDB's line protocol.
    Ilp,
}

/// What values are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Format {
    /// The line as it is.
    Raw,
    /// A JSON object.
    Json,
    /// CSV without a header.
    Csv,
    /// Line protocol.
    LineProtocol,
    /// Avro, with a schema.
    Avro,
    /// Protocol Buffers, with a schema.
    Protobuf,
    /// JSON under a JSON Schema.
    JsonSchema,
}

impl Format {
    /// As the sink calls it.
    fn encode(self) -> &'static str {
        match self {
            // Its lines are not written by it.
            Format::Raw | Format::Json => "json",
            Format::Csv => "csv",
            Format::LineProtocol => "line-protocol",
            Format::Avro => "avro",
            Format::Protobuf => "protobuf",
            Format::JsonSchema => "json-schema",
        }
    }

    /// Whether values have one.
    fn has_schema(self) -> bool {
        match self {
            Format::Raw | Format::Json | Format::Csv | Format::LineProtocol => false,
            Format::Avro | Format::Protobuf | Format::JsonSchema => true,
        }
    }
}

/// What is sent, how, and where to.
#[derive(clap::Args, Debug)]
pub(super) struct Asked {
    /// The topic.
    topic: String,
    /// A file with a record in each line; standard input, if not given or `-`.
    file: Option<PathBuf>,
    /// Where the topic is.
    #[arg(long, default_value = "localhost:9092", value_name = "HOST:PORT")]
    brokers: String,
    /// A configuration that says where Kafka is, and who may write there.
    #[arg(long, value_name = "FILE", conflicts_with = "brokers")]
    config: Option<PathBuf>,
    /// Which of its pipelines, if there are several.
    #[arg(long, value_name = "NAME", requires = "config")]
    pipeline: Option<String>,
    /// What lines are; `json` where values are not `raw`.
    #[arg(long, value_enum, value_name = "WHAT")]
    from: Option<From>,
    /// More of how they are read, as in a pipeline's `value`: `delimiter = ";"`.
    #[arg(long, value_name = "TOML")]
    read: Option<String>,
    /// What values are.
    #[arg(long, value_enum, default_value = "raw", value_name = "WHAT")]
    format: Format,
    /// The schema registry, for values and keys with a schema.
    #[arg(long, value_name = "URL")]
    registry: Option<String>,
    /// The schema of values; by default it is made of the columns.
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// The subject of values; `TOPIC-value`, if not given.
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    /// Write a version that the registry has: its number, or `latest`.
    #[arg(long, value_name = "VERSION", conflicts_with = "schema")]
    schema_version: Option<String>,
    /// Register nothing: the schema has to be there.
    #[arg(long)]
    no_register: bool,
    /// Types of columns, as in a pipeline's `table.columns`: `temperature = "double"`.
    #[arg(long, value_name = "TOML")]
    columns: Option<String>,
    /// More of how values are written, as in a sink `kafka`: `timestamps = "ms"`.
    #[arg(long, value_name = "TOML")]
    write: Option<String>,
    /// The column that is the key; with a schema several may be.
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    key: Vec<String>,
    /// What the key is; its schema is made of the columns, under the subject `TOPIC-key`.
    #[arg(
        long,
        value_enum,
        default_value = "text",
        value_name = "WHAT",
        requires = "key",
        conflicts_with = "key_delimiter"
    )]
    key_format: KeyFormat,
    /// What stands between a line's key and its value.
    #[arg(long, value_name = "TEXT", conflicts_with = "key")]
    key_delimiter: Option<String>,
    /// The partition of all records; by default the key decides, as with Java's producers.
    #[arg(long, value_name = "NUMBER")]
    partition: Option<i32>,
    /// The column that is the partition's number.
    #[arg(long, value_name = "COLUMN")]
    partition_column: Option<String>,
    /// A header of all records; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// Make the topic, if it is not there.
    #[arg(long)]
    create_topic: bool,
    /// So many bad lines are left out; at the next one it stops.
    #[arg(long, default_value_t = 0, value_name = "N")]
    skip_bad: u64,
    /// Give up when nothing was delivered for so many seconds.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    patience: u64,
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a header is NAME=VALUE".to_owned()),
    }
}

/// Sends all lines, and says what came of it.
pub(super) fn produce(asked: &Asked, out: &mut dyn Write) -> Result<(), Failure> {
    let (plan, wish) = (plan(asked)?, wish(asked)?);
    let name = match &asked.file {
        Some(file) if file != Path::new("-") => file.display().to_string(),
        _ => "line".to_owned(),
    };
    let mut input = input(asked.file.as_deref())?;
    let mut shown = Shown::new();
    let mut tell = |news: News<'_>| match news {
        News::Progress(counts) => shown.progress(counts),
        News::Bad(number, why) => {
            shown.clear();
            let at =
                if name == "line" { format!("line {number}") } else { format!("{name}:{number}") };
            eprintln!("{at}: {why}");
        }
    };
    let done = produce::produce(&plan, wish, &mut *input, &mut tell);
    shown.clear();
    let (counts, ended) = done?;
    let Counts { lines, bytes, delivered, under_way, bad } = counts;
    let took = shown.start.elapsed();
    writeln!(
        out,
        "{} records delivered to {}; {} lines and {} bytes read in {:.1} s, {} bad",
        grouped(delivered),
        asked.topic,
        grouped(lines),
        grouped(bytes),
        took.as_secs_f64(),
        grouped(bad),
    )?;
    match ended {
        Ended::Whole => Ok(()),
        Ended::BadLine(number) => {
            eprintln!("error: stopped at line {number}: what stands before it is delivered");
            eprintln!("  help: --skip-bad {bad} leaves out so many");
            Err(Failure::Said)
        }
        Ended::Undelivered => {
            let patience = asked.patience;
            eprintln!(
                "error: {} records were handed over and are not known to be delivered; nothing \
                 was for {patience} s",
                grouped(under_way)
            );
            Err(Failure::Said)
        }
    }
}

fn input(file: Option<&Path>) -> Result<Box<dyn BufRead>, Fault> {
    match file {
        Some(file) if file != Path::new("-") => {
            let opened = File::open(file)
                .map_err(|error| Fault::operator(format!("reading {}: {error}", file.display())))?;
            Ok(Box::new(BufReader::with_capacity(1 << 20, opened)))
        }
        _ => Ok(Box::new(io::stdin().lock())),
    }
}

fn from(asked: &Asked) -> From {
    asked.from.unwrap_or(match asked.format {
        Format::Raw if asked.key.is_empty() && asked.partition_column.is_none() => From::Lines,
        _ => From::Json,
    })
}

fn wish(asked: &Asked) -> Result<Wish, Fault> {
    let read = options("--read", READ, asked.read.as_deref())?;
    let from = from(asked);
    let as_they_are = asked.format == Format::Raw;
    let has_columns = read.contains_key("columns");
    let header = read.get("header").and_then(toml::Value::as_str).unwrap_or("names") == "names";
    let quote = read.get("quote").and_then(toml::Value::as_str).unwrap_or("\"");
    Ok(Wish {
        topic: asked.topic.clone(),
        as_they_are,
        reads: from != From::Lines || !as_they_are,
        skips_empty: from != From::Lines,
        quoting: quote.bytes().next().filter(|_| from == From::Csv).map(Quoting),
        header: from == From::Csv && header && !has_columns,
        key_column: asked.key.first().filter(|_| asked.key_format == KeyFormat::Text).cloned(),
        partition_column: asked.partition_column.clone(),
        key_delimiter: asked.key_delimiter.clone().filter(|delimiter| !delimiter.is_empty()),
        partition: asked.partition,
        headers: asked.header.clone(),
        bad_max: asked.skip_bad,
        patience: Duration::from_secs(asked.patience),
    })
}

/// The pipeline that lines go through: how they are read, and the sink.
fn plan(asked: &Asked) -> Result<PipelinePlan, Fault> {
    let mut pipeline = toml::Table::new();
    pipeline.insert("value".to_owned(), value(asked)?.into());
    let mut table = toml::Table::new();
    table.insert("name".to_owned(), asked.topic.as_str().into());
    table.insert("timestamp".to_owned(), "server".into());
    let columns = options("--columns", COLUMNS, asked.columns.as_deref())?;
    table.insert("columns".to_owned(), columns.into());
    pipeline.insert("table".to_owned(), table.into());
    let kafka = kafka(asked)?;
    pipeline.insert("sink".to_owned(), sink(asked, kafka.as_ref())?.into());
    let mut plan = trial::of_lines(pipeline)?;
    if let Some(kafka) = kafka {
        plan.sink.known_as(&kafka.security);
    }
    Ok(plan)
}

fn value(asked: &Asked) -> Result<toml::Table, Fault> {
    let mut value = options("--read", READ, asked.read.as_deref())?;
    let format = match from(asked) {
        From::Lines => "raw",
        From::Json => "json",
        From::Csv => "csv",
        From::Ilp => "ilp",
    };
    if format == "csv" {
        value.entry("default_type").or_insert_with(|| "auto".into());
    }
    value.insert("format".to_owned(), format.into());
    Ok(value)
}

fn sink(asked: &Asked, kafka: Option<&KafkaPlan>) -> Result<toml::Table, Fault> {
    let mut sink = options("--write", WRITE, asked.write.as_deref())?;
    let mut put = |key: &str, value: Option<toml::Value>| {
        sink.extend(value.map(|value| (key.to_owned(), value)));
    };
    let text = |text: &Option<String>| text.as_deref().map(toml::Value::from);
    put("kind", Some("kafka".into()));
    put("topic", Some(asked.topic.as_str().into()));
    put("create_topic", Some(asked.create_topic.into()));
    put("encode", Some(asked.format.encode().into()));
    put("partition_column", text(&asked.partition_column));
    put("partition", asked.partition.map(|number| i64::from(number).into()));
    put("subject", text(&asked.subject));
    let path = |path: &PathBuf| toml::Value::from(path.to_string_lossy().into_owned());
    put("schema_file", asked.schema.as_ref().map(path));
    put(
        "schema_version",
        asked.schema_version.as_ref().map(|version| match version.parse::<u32>() {
            Ok(number) => i64::from(number).into(),
            Err(_) => version.as_str().into(),
        }),
    );
    put("register", asked.no_register.then(|| false.into()));
    let headers = asked.header.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
    let headers: toml::Table = headers.collect();
    put("add_headers", (!headers.is_empty()).then(|| headers.into()));
    if let Some(registry) = &asked.registry {
        let section = sink.entry("registry").or_insert_with(|| toml::Table::new().into());
        if let toml::Value::Table(section) = section {
            section.insert("url".to_owned(), registry.as_str().into());
        }
    }
    key::put(asked, &mut sink)?;
    key::check_registry(asked, &sink)?;
    let (brokers, properties) = brokers(asked, kafka);
    sink.insert("brokers".to_owned(), brokers.into());
    let section = sink.entry("properties").or_insert_with(|| toml::Table::new().into());
    if let toml::Value::Table(section) = section {
        for (key, value) in properties {
            section.entry(key).or_insert_with(|| value.into());
        }
    }
    Ok(sink)
}

/// How the pipeline of a configuration reaches Kafka, if one is named.
fn kafka(asked: &Asked) -> Result<Option<KafkaPlan>, Fault> {
    let Some(file) = &asked.config else { return Ok(None) };
    let planned = trial::of_file(file, asked.pipeline.as_deref())?;
    match planned.pipeline.source.kafka() {
        Some(kafka) => Ok(Some(kafka.clone())),
        None => {
            let message = format!("{}: the pipeline does not read from Kafka", file.display());
            Err(Fault::operator(message).hint("--brokers says where it is"))
        }
    }
}

/// Where Kafka is, and what else the client is told.
fn brokers(asked: &Asked, kafka: Option<&KafkaPlan>) -> (String, Vec<(String, String)>) {
    let Some(kafka) = kafka else { return (asked.brokers.clone(), Vec::new()) };
    let is_address = |key: &str| key == "bootstrap.servers" || key == "metadata.broker.list";
    let address = kafka.properties.iter().find(|(key, _)| is_address(key));
    let address = address.map_or_else(|| asked.brokers.clone(), |(_, address)| address.clone());
    let others = kafka.properties.iter().filter(|(key, _)| !is_address(key)).cloned();
    (address, others.collect())
}

/// The line that tells how far it is, on a terminal.
struct Shown {
    start: Instant,
    last: Instant,
    is_terminal: bool,
    is_there: bool,
}

impl Shown {
    fn new() -> Shown {
        let now = Instant::now();
        let is_terminal = io::stderr().is_terminal();
        Shown { start: now, last: now, is_terminal, is_there: false }
    }

    fn progress(&mut self, counts: &Counts) {
        if !self.is_terminal || self.last.elapsed() < SHOWN_EVERY {
            return;
        }
        self.last = Instant::now();
        self.is_there = true;
        let rate = counts.delivered as f64 / self.start.elapsed().as_secs_f64();
        eprint!(
            "\r\x1b[K{} delivered, {}/s; {} read, {} bad",
            grouped(counts.delivered),
            grouped(rate as u64),
            grouped(counts.lines),
            grouped(counts.bad),
        );
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.is_there) {
            eprint!("\r\x1b[K");
        }
    }
}

/// With commas between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_headers_are_pairs() {
        assert_eq!(
            ["1", "999", "1,000", "12,345,678"],
            [1, 999, 1_000, 12_345_678].map(grouped)[..]
        );
        assert_eq!(header("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(header("=b").is_err() && header("a").is_err());
    }
}
