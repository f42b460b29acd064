//! What `[pipeline.NAME.sink]` may say with `kind = "kafka"`, and the plan it becomes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::framing::{Addressing, TABLE};
use super::{TOPIC_BYTES_MAX, topic_fault};
use crate::blame::Fault;
use crate::config::{Fetching, KafkaPlan, Mistake, Section, Start, Topics};
use crate::kind::{self, Unable};
use crate::sink::text::{TextPlan, Timestamps, Written, csv_mistake};

/// What a row becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Encode {
    /// A JSON object.
    #[default]
    Json,
    /// A CSV record, without a header.
    Csv,
    /// Line protocol version 1.
    LineProtocol,
}

/// The value of a property.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Property {
    Text(String),
    Number(i64),
    Switch(bool),
}

/// Topics of Kafka.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The topic that rows are written to; `{table}` stands for the table's name. Needed.
    topic: String,
    /// What a row becomes: `json` (default), `csv` (without a header) or `line-protocol`.
    encode: Encode,
    /// The column whose value is the key, by its name in the record. By default the key is that of
    /// the record that the row came from.
    key_column: Option<String>,
    /// The column whose value is the partition's number, by its name in the record. By default
    /// the key decides, as with Java's producers (murmur2).
    partition_column: Option<String>,
    /// Headers that tell where a row came from: `bridge.topic`, `bridge.partition`,
    /// `bridge.offset`, `bridge.row`.
    headers: bool,
    /// A topic that is missing is made, with as many partitions as the one that is read; default
    /// `true`. On other brokers by their own default.
    create_topic: Option<bool>,
    /// Addresses of some brokers, with commas. By default those that are read from, with all
    /// properties of theirs.
    brokers: Option<String>,
    /// Any property of librdkafka for the producer, such as `"compression.type" = "lz4"`.
    properties: BTreeMap<String, Property>,
    /// How timestamps are written: `iso` (default; ISO 8601 in UTC), or integers since 1970 in
    /// `s`, `ms`, `us` or `ns`. Line protocol has its own way.
    timestamps: Option<Timestamps>,
    /// For `csv`: what stands for a value that is null or missing; default `""`.
    null: Option<String>,
    /// For `csv`, needed there: these columns in this order, others are left out.
    columns: Option<Vec<String>>,
}

/// The options, checked.
#[derive(Clone, Debug)]
pub struct KafkaSinkPlan {
    /// As what rows are written.
    pub text: TextPlan,
    /// Which topic, which key, which partition.
    pub addressing: Addressing,
    /// Whether records tell where they came from.
    pub headers: bool,
    /// Whether a topic that is missing is made.
    pub create_topic: bool,
    brokers: Option<String>,
    properties: Vec<(String, String)>,
    /// How records are read, if from Kafka.
    source: Option<KafkaPlan>,
}

impl KafkaSinkPlan {
    /// Its brokers, where they are not those that are read from.
    pub fn own_brokers(&self) -> Option<&str> {
        self.brokers.as_deref()
    }

    /// Reads the section.
    pub fn parse(section: &Section) -> Result<KafkaSinkPlan, Mistake> {
        let options: Options = kind::options(section)?;
        if !section.has("topic") {
            let mistake = section.mistake("", "the sink `kafka` needs a `topic`");
            return Err(mistake.help("such as topic = \"readings-clean\""));
        }
        // What stands for a table is at least as good as one letter.
        let example = options.topic.replace(TABLE, "x");
        if let Some(fault) = topic_fault(&example, TOPIC_BYTES_MAX) {
            return Err(section.mistake("topic", fault).help("letters, digits, `.`, `_` and `-`"));
        }
        let written = match options.encode {
            Encode::Json => Written::Json,
            Encode::LineProtocol => Written::LineProtocol,
            Encode::Csv => Written::Csv {
                null: options.null.clone().unwrap_or_default(),
                columns: options.columns.clone(),
            },
        };
        csv_mistake(section, &written)?;
        if let Written::Csv { columns: None, .. } = written {
            let message = "records have no header that tells what is where in them";
            let mistake = section.mistake("encode", message);
            return Err(mistake.help("name them: columns = [\"timestamp\", ...]"));
        }
        if options.encode == Encode::LineProtocol && options.timestamps.is_some() {
            let mistake = section.mistake("timestamps", "line protocol has timestamps of its own");
            return Err(mistake.help("take it out, or encode = \"json\""));
        }
        let timestamps = options.timestamps.unwrap_or_default();
        let value = |property: Property| match property {
            Property::Text(text) => text,
            Property::Number(number) => number.to_string(),
            Property::Switch(switch) => switch.to_string(),
        };
        let properties = options.properties.into_iter().map(|(key, own)| (key, value(own)));
        Ok(KafkaSinkPlan {
            text: TextPlan { written, timestamps },
            addressing: Addressing {
                topic: options.topic,
                key_column: options.key_column,
                partition_column: options.partition_column,
                timestamps,
            },
            headers: options.headers,
            create_topic: options.create_topic.unwrap_or(true),
            brokers: options.brokers,
            properties: properties.collect(),
            source: None,
        })
    }

    /// Learns how records are read: by default they are written to the same brokers.
    pub fn adopt(&mut self, source: Option<&KafkaPlan>) -> Result<(), Unable> {
        self.source = source.cloned();
        let topic = &self.addressing.topic;
        match (&self.brokers, source) {
            (Some(_), _) => Ok(()),
            (None, None) => {
                let message = "the source is not Kafka: where are the brokers?";
                Err(Unable::new("sink.brokers", message, "such as brokers = \"localhost:9092\""))
            }
            (None, Some(KafkaPlan { topics: Topics::List(topics), .. }))
                if topics.contains(topic) =>
            {
                let message = format!("`{topic}` is what the pipeline reads: it would never end");
                Err(Unable::new("sink.topic", message, "another topic"))
            }
            (None, Some(_)) => Ok(()),
        }
    }

    /// How the brokers are reached that are written to.
    pub fn kafka(&self) -> Result<KafkaPlan, Fault> {
        let mut plan = KafkaPlan {
            properties: Vec::new(),
            topics: Topics::List(Vec::new()),
            group: String::new(),
            instance: None,
            start: Start::Earliest,
            from: None,
            fetch: Fetching::Auto,
        };
        match (&self.brokers, &self.source) {
            (Some(brokers), _) => {
                plan.properties.push(("bootstrap.servers".to_owned(), brokers.clone()));
            }
            (None, Some(source)) => plan.properties.clone_from(&source.properties),
            (None, None) => return Err(Fault::us("a sink without brokers was built")),
        }
        for (key, value) in &self.properties {
            plan.properties.retain(|(known, _)| known != key);
            plan.properties.push((key.clone(), value.clone()));
        }
        Ok(plan)
    }

    /// The group that reads, and who this process is in it.
    pub fn member(&self) -> (&str, Option<&str>) {
        let source = self.source.as_ref();
        (source.map_or("", |s| &s.group), source.and_then(|s| s.instance.as_deref()))
    }

    /// What the pipeline reads of the brokers that it writes to.
    pub fn reads(&self) -> Option<Topics> {
        if self.brokers.is_some() {
            return None;
        }
        self.source.as_ref().map(|source| source.topics.clone())
    }

    /// A topic that is read, whose number of partitions a new one gets.
    pub fn like(&self) -> Option<String> {
        match self.reads()? {
            Topics::List(names) => names.into_iter().next(),
            Topics::Regex(_) => None,
        }
    }

    /// The brokers, for people.
    pub fn brokers_shown(&self) -> String {
        match &self.brokers {
            Some(brokers) => brokers.clone(),
            None => "those that are read from".to_owned(),
        }
    }
}
