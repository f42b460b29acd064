//! `bridge query`: a topic read like a table.

use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::path::PathBuf;

use clap::ValueEnum;

use super::Failure;
use super::grid::{Answer, Grid};
use super::module::options;
use crate::blame::Fault;
use crate::config::units::show_count;
use crate::config::{Group, Start, Topics, Until};
use crate::range::Range;
use crate::trial::{
    self, Condition, Found, Fuel, Planned, Press, Query, QueryTally, Rig, Scan, Stock, Told, Wanted,
};

/// How `--value` and `--key` are written.
const VALUE: &str = "such as --value 'format = \"csv\", header = \"names\"'";
const KEY: &str = "such as --key 'format = \"string\", column = \"id\"'";

/// Records that are read at a time: what is held does not depend on the topic.
const RECORDS: usize = 1_000;
/// Rows that `--last` and `--latest-by` may hold: some hundred megabytes of usual ones.
const HELD_MAX: usize = 1_000_000;

/// How rows are written.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Written {
    /// Columns for a terminal.
    Table,
    /// CSV, as RFC 4180 quotes it.
    Csv,
    /// A JSON object in each line.
    Json,
    /// Line protocol, or what the sink of the configuration is sent.
    Lines,
}

/// What is asked.
#[derive(clap::Args, Debug)]
pub(super) struct Asked {
    /// The topic; no group hears of it.
    topic: String,
    /// Where the topic is.
    #[arg(long, default_value = "localhost:9092", value_name = "HOST:PORT")]
    brokers: String,
    /// A configuration whose pipeline says how Kafka is reached and how records are read.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["brokers", "value", "key"])]
    config: Option<PathBuf>,
    /// Which of its pipelines, if there are several.
    #[arg(long, value_name = "NAME", requires = "config")]
    pipeline: Option<String>,
    /// Take rows through the pipeline's transforms, too.
    #[arg(long, requires = "config")]
    transforms: bool,
    /// How values are read, as in a pipeline's `value`.
    #[arg(long, value_name = "TOML")]
    value: Option<String>,
    /// How keys are read, as in a pipeline's `key`.
    #[arg(long, value_name = "TOML")]
    key: Option<String>,
    /// Only rows for which this is true: "partition = 0 and offset > 1000 and temperature > 20".
    #[arg(long = "where", value_name = "EXPRESSION")]
    condition: Option<String>,
    /// Only these columns: of rows, and partition, offset, timestamp, key.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    columns: Vec<String>,
    /// Begin there: a time, "6h ago", "1000 before end", offsets such as "0=120,1=77".
    #[arg(long, value_name = "PLACE", value_parser = Start::parse)]
    from: Option<Start>,
    /// End there: a time. Without it at the ends as they are.
    #[arg(long, value_name = "END", value_parser = Until::parse)]
    until: Option<Until>,
    /// So many rows at most.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// The newest so many rows, by Kafka's timestamp.
    #[arg(long, value_name = "N", conflicts_with_all = ["follow", "latest_by"])]
    last: Option<usize>,
    /// The newest row of each value of this column.
    #[arg(long, value_name = "COLUMN", conflicts_with = "follow")]
    latest_by: Option<String>,
    /// Go on with what is written from now on.
    #[arg(long)]
    follow: bool,
    /// How rows are written.
    #[arg(long, value_enum, default_value_t = Written::Table)]
    format: Written,
}

/// Writes the rows that are asked for; what was seen beside them goes to standard error.
pub(super) fn query(asked: &Asked, out: &mut dyn Write) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Fault::us(format!("starting a runtime: {error}")))?;
    let planned = planned(asked)?;
    let stock = Stock::load(&planned, Fuel::Ignored)?;
    let stock = if asked.transforms { stock } else { stock.reading() };
    let names = stock.names();
    let condition = asked.condition.as_deref().map(|text| Condition::new(text, &names));
    let is_lines = asked.format == Written::Lines;
    let press = is_lines.then(|| Press::new(&planned.pipeline, &names, runtime.handle()));
    let mut query = Query {
        rig: Rig::of_rows(&planned.pipeline, &stock)?,
        press,
        condition: condition.transpose()?,
        names,
        tally: QueryTally::default(),
    };
    let mut answer = Answer::new(Grid::new(asked.format, &asked.columns), asked.limit);
    let done = read(asked, &planned, &mut query, &mut answer, out);
    answer.end(out)?;
    told(&query.tally, answer.rows(), asked.condition.is_some());
    done
}

/// Reads, and hands rows on.
fn read(
    asked: &Asked,
    planned: &Planned,
    query: &mut Query,
    answer: &mut Answer,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let kafka = planned.pipeline.source.kafka();
    let mut kafka =
        kafka.ok_or_else(|| Fault::operator("the pipeline does not read Kafka"))?.clone();
    kafka.topics = Topics::List(vec![asked.topic.clone()]);
    (kafka.from, kafka.range) = (asked.from.clone(), None);
    if let Group::Alone(alone) = &mut kafka.group {
        // They are those of what the pipeline reads.
        alone.partitions = None;
    }
    let (range, is_exact) = match &asked.condition {
        Some(text) => Range::around(text).map_err(Fault::operator)?,
        None => (Range::all(), true),
    };
    let range = match asked.until {
        Some(Until::Time(ms)) => range.before(ms),
        _ => range,
    };
    // A row may come of each record only if nothing but its place counts.
    let is_each = is_exact && !asked.transforms;
    let last = asked.last.filter(|_| is_each).map(|last| last as u64);
    let wanted = Wanted { range: &range, follows: asked.follow, last };
    let mut scan = Scan::start(&kafka, &wanted)?;
    let mut held = Held::new(asked);
    while !answer.is_full()
        && let Some(samples) = scan.more(RECORDS)?
    {
        if samples.is_empty() {
            answer.pause(out)?;
        }
        let mut told: Vec<Told> = samples.into_iter().map(Told::from).collect();
        told.sort_by(|a, b| (&a.source, a.offset).cmp(&(&b.source, b.offset)));
        for found in query.answer(told)? {
            if let Some(found) = held.take(found)? {
                answer.push(found, out)?;
            }
        }
    }
    held.rest().into_iter().try_for_each(|found| answer.push(found, out))?;
    Ok(())
}

/// Rows that are not told before all were seen.
enum Held {
    /// Each is told at once.
    Nothing,
    /// The newest ones.
    Last(usize, VecDeque<Found>),
    /// The newest one of each value.
    LatestBy(String, HashMap<String, Found>),
}

/// By time, then by place.
fn age(found: &Found) -> (i64, i32, i64) {
    (found.timestamp_ms, found.source.partition, found.offset)
}

impl Held {
    fn new(asked: &Asked) -> Held {
        match (asked.last, &asked.latest_by) {
            (Some(last), _) => Held::Last(last, VecDeque::new()),
            (None, Some(column)) => Held::LatestBy(column.clone(), HashMap::new()),
            (None, None) => Held::Nothing,
        }
    }

    /// Takes a row; gives it back if it is to be told.
    fn take(&mut self, found: Found) -> Result<Option<Found>, Fault> {
        let full = |what: &str| {
            let message =
                format!("holding more than {} rows for {what}", show_count(HELD_MAX as u64));
            Err(Fault::operator(message)
                .hint("ask for less by --where, or sort a file of --format csv"))
        };
        match self {
            Held::Nothing => return Ok(Some(found)),
            Held::Last(last, _) if *last > HELD_MAX => return full("--last"),
            Held::Last(last, rows) => {
                // In order but for partitions beside one another: the place is near the end.
                let at = rows.iter().rposition(|known| age(known) <= age(&found));
                rows.insert(at.map_or(0, |at| at + 1), found);
                if rows.len() > *last {
                    rows.pop_front();
                }
            }
            Held::LatestBy(column, rows) => {
                let value = super::grid::cell(&found, column).unwrap_or_default();
                let is_newer = rows.get(&value).is_none_or(|known| age(known) <= age(&found));
                if is_newer {
                    rows.insert(value, found);
                }
                if rows.len() > HELD_MAX {
                    return full("--latest-by");
                }
            }
        }
        Ok(None)
    }

    /// What was held, oldest first.
    fn rest(self) -> Vec<Found> {
        let mut rows: Vec<Found> = match self {
            Held::Nothing => Vec::new(),
            Held::Last(_, rows) => rows.into(),
            Held::LatestBy(_, rows) => rows.into_values().collect(),
        };
        rows.sort_by_key(age);
        rows
    }
}

/// What was seen beside the rows.
fn told(tally: &QueryTally, rows: u64, is_asked: bool) {
    let (records, rows) = (show_count(tally.records), show_count(rows));
    let asked = if is_asked { " for which the condition is true" } else { "" };
    eprintln!("{rows} rows{asked}, of {records} records that were read");
    for ((count, first), what) in [
        (&tally.rejected, "records were rejected"),
        (&tally.unsaid, "rows left out, for the condition cannot be said of them"),
    ] {
        if let Some(first) = first {
            eprintln!("{} {what}; the first: {first}", show_count(*count));
        }
    }
}

fn planned(asked: &Asked) -> Result<Planned, Fault> {
    if let Some(file) = &asked.config {
        return trial::of_file(file, asked.pipeline.as_deref());
    }
    let mut own = toml::Table::new();
    if let Some(value) = &asked.value {
        own.insert("value".to_owned(), options("--value", VALUE, Some(value))?.into());
    }
    if let Some(key) = &asked.key {
        own.insert("key".to_owned(), options("--key", KEY, Some(key))?.into());
    }
    trial::of_values(own, Some((&asked.topic, &asked.brokers)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::TopicPartition;
    use crate::trial::Said;

    fn found(timestamp_ms: i64, offset: i64, site: &str) -> Found {
        Found {
            source: TopicPartition { topic: "t".into(), partition: 0 },
            offset,
            timestamp_ms,
            key: None,
            table: None,
            cells: vec![("site".to_owned(), Said::Text(site.to_owned()))],
            lines: Vec::new(),
        }
    }

    fn offsets(mut held: Held) -> Vec<i64> {
        for (at, offset, site) in [(5, 1, "a"), (1, 2, "b"), (9, 3, "a"), (7, 4, "b"), (7, 5, "c")]
        {
            assert!(held.take(found(at, offset, site)).is_ok_and(|told| told.is_none()));
        }
        held.rest().iter().map(|found| found.offset).collect()
    }

    #[test]
    fn the_newest_are_held() {
        assert_eq!(offsets(Held::Last(3, VecDeque::new())), [4, 5, 3]);
        assert_eq!(offsets(Held::LatestBy("site".to_owned(), HashMap::new())), [4, 5, 3]);
        assert_eq!(offsets(Held::LatestBy("none".to_owned(), HashMap::new())), [3]);
    }
}
