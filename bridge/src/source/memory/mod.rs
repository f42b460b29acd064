//! A source that is nowhere: the same records again and again, uncopied, as fast as they are taken.
//! It shows how fast the bridge alone is on a machine, and feeds tests without a Kafka.

mod serve;
mod stock;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use self::serve::{MemorySource, Rereader};
use self::stock::Stock;
use super::{Opened, SourcePlan};
use crate::blame::Fault;
use crate::config::{KafkaPlan, Mistake, Section};
use crate::kafka::check::Sample;
use crate::kind::{self, Kind};
use crate::limits::Limits;

/// The source's entry in its room's table.
pub const KIND: Kind<dyn SourcePlan> = Kind {
    name: "memory",
    summary: "the same records again and again out of memory, to see how fast the bridge alone is",
    example: "kind = \"memory\"\nfile = \"sample.jsonl\"\ncount = 10000000\n",
    schema: || schemars::schema_for!(Options),
    parse: |section| Ok(Box::new(MemoryPlan::parse(section)?)),
};

/// Partitions of one source, at most: what one Kafka broker is asked to hold, about.
const PARTITIONS_MAX: u32 = 4_096;

/// Records out of memory.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The values, such as `['{"a":1}']`. Default: readings of sensors, made up.
    records: Vec<String>,
    /// A file with a value in each line, in place of `records`; read whole at the start. Relative
    /// paths start from the configuration file.
    file: Option<PathBuf>,
    /// So many records in all, then the run ends; where the values are fewer they come again.
    /// Default: no end.
    count: Option<u64>,
    /// Partitions that the records are spread over. Default: one for each lane.
    partitions: Option<u32>,
    /// What the topic is called. Default `"memory"`.
    topic: Option<String>,
}

#[derive(Clone, Debug)]
enum Values {
    Sensors,
    Listed(Vec<String>),
    File(PathBuf),
}

/// The options, checked.
#[derive(Clone, Debug)]
pub struct MemoryPlan {
    values: Values,
    count: Option<u64>,
    partitions: Option<u32>,
    topic: Arc<str>,
}

impl MemoryPlan {
    fn parse(section: &Section) -> Result<MemoryPlan, Mistake> {
        let options: Options = kind::options(section)?;
        let values = match (options.records, options.file) {
            (records, Some(_)) if !records.is_empty() => {
                return Err(section.mistake("file", "either `records` or `file`, not both"));
            }
            (_, Some(path)) => Values::File(path),
            (records, None) if records.is_empty() => Values::Sensors,
            (records, None) => Values::Listed(records),
        };
        if options.partitions.is_some_and(|count| !(1..=PARTITIONS_MAX).contains(&count)) {
            let message = format!("there can be 1 to {PARTITIONS_MAX} partitions");
            return Err(section.mistake("partitions", message));
        }
        if options.topic.as_deref() == Some("") {
            return Err(section.mistake("topic", "a topic needs a name"));
        }
        let (count, partitions) = (options.count, options.partitions);
        let topic = options.topic.as_deref().unwrap_or("memory").into();
        Ok(MemoryPlan { values, count, partitions, topic })
    }

    fn stock(&self) -> Result<Stock, Fault> {
        match &self.values {
            Values::Sensors => Ok(Stock::sensors()),
            Values::Listed(records) => Ok(Stock::of(records.iter().map(String::as_bytes))),
            Values::File(path) => Stock::read(path),
        }
    }
}

impl SourcePlan for MemoryPlan {
    fn rebase(&mut self, base: &Path) {
        if let Values::File(path) = &mut self.values {
            *path = base.join(&*path);
        }
    }

    fn open(&self, limits: &Limits, _: &[String]) -> Result<Opened, Fault> {
        let stock = Arc::new(self.stock()?);
        let partitions = self.partitions.unwrap_or(limits.lanes as u32);
        let topic = Arc::clone(&self.topic);
        let source = MemorySource::new(stock, topic, partitions, self.count);
        let reread = Rereader::of(&source);
        let names = reread.clone();
        Ok(Opened {
            source: Box::new(source),
            name_of: Arc::new(move |partition| names.name_of(partition)),
            reread: Box::new(reread),
            group: None,
        })
    }

    fn kafka(&self) -> Option<&KafkaPlan> {
        None
    }

    fn sample(&self, _: &[String], count: usize) -> Result<Vec<Sample>, Fault> {
        let stock = Arc::new(self.stock()?);
        let end = self.count.unwrap_or(u64::MAX).min(stock.len() as u64);
        let source = MemorySource::new(stock, Arc::clone(&self.topic), 1, self.count);
        Ok(Rereader::of(&source).first(count.min(end as usize)))
    }

    fn explain(&self) -> Vec<(String, String)> {
        let values = match &self.values {
            Values::Sensors => "readings of sensors, made up".to_owned(),
            Values::Listed(records) => format!("{} values of the file", records.len()),
            Values::File(path) => format!("the lines of {}", path.display()),
        };
        let end = match self.count {
            Some(count) => format!("ends after {count} records"),
            None => "without an end".to_owned(),
        };
        let partitions = self.partitions.map_or("one for each lane".to_owned(), |n| n.to_string());
        [
            ("source", format!("memory: {values}, again and again, {end}")),
            ("topic", self.topic.to_string()),
            ("partitions", partitions),
        ]
        .map(|(subject, text)| (subject.to_owned(), text))
        .into()
    }
}
