//! What `[pipeline.NAME.sink]` may say with `kind = "kafka"`, and the plan it becomes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::frame::push_header;
use super::framing::{Addressing, TABLE};
use super::key::KeyOptions;
use super::{TOPIC_BYTES_MAX, topic_fault};
use crate::blame::Fault;
use crate::config::security::{self, SecurityPlan};
use crate::config::{
    Alone, Fetching, Group, KafkaPlan, Mistake, OutOfRange, Section, Start, Topics,
};
use crate::kind::{self, Unable};
use crate::schemas::RegistryOptions;
use crate::sink::schema::{
    Format, Framing, KEYS as SCHEMA_KEYS, Part, Said, SchemaPlan, SubjectName, VersionWord,
};
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
    /// Avro's binary encoding, with a schema.
    Avro,
    /// A Protocol Buffers message, with a schema.
    Protobuf,
    /// A JSON object under a JSON Schema.
    JsonSchema,
}

impl Encode {
    /// What has a schema.
    pub fn format(self) -> Option<Format> {
        match self {
            Encode::Json | Encode::Csv | Encode::LineProtocol => None,
            Encode::Avro => Some(Format::Avro),
            Encode::Protobuf => Some(Format::Protobuf),
            Encode::JsonSchema => Some(Format::Json),
        }
    }
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
    /// What a row becomes: `json` (default), `csv` (without a header), `line-protocol`, or with a
    /// schema `avro`, `protobuf`, `json-schema`.
    encode: Encode,
    /// The column whose value is the key, by its name in the record. By default the key is that of
    /// the record that the row came from.
    key_column: Option<String>,
    /// Columns that become the key with a schema, such as
    /// `{ columns = ["sensor"], encode = "avro" }`; see docs/writing.md.
    key: Option<KeyOptions>,
    /// The column whose value is the partition's number, by its name in the record. By default
    /// the key decides, as with Java's producers (murmur2).
    partition_column: Option<String>,
    /// Headers that tell where a row came from: `bridge.topic`, `bridge.partition`,
    /// `bridge.offset`, `bridge.row`.
    headers: bool,
    /// Headers that every row's record has, such as `{ source = "plant-7" }`.
    add_headers: BTreeMap<String, String>,
    /// The partition of rows that `partition_column` gives none; by default the key decides.
    partition: Option<i32>,
    /// A topic that is missing is made, with as many partitions as the one that is read; default
    /// `true`. On other brokers by their own default.
    create_topic: Option<bool>,
    /// Addresses of some brokers, with commas. By default those that are read from, with all
    /// properties of theirs.
    brokers: Option<String>,
    /// How `brokers` are reached: `preset`, `tls…` and `sasl` as `[kafka]` has them; see
    /// docs/security.md.
    kafka: Option<security::Reach>,
    /// Any property of librdkafka for the producer, such as `"compression.type" = "lz4"`.
    properties: BTreeMap<String, Property>,
    /// How timestamps are written: `iso` (default; ISO 8601 in UTC), or integers since 1970 in
    /// `s`, `ms`, `us` or `ns`. Line protocol has its own way.
    timestamps: Option<Timestamps>,
    /// For `csv`: what stands for a value that is null or missing; default `""`.
    null: Option<String>,
    /// For `csv`, needed there: these columns in this order, others are left out.
    columns: Option<Vec<String>>,
    /// With a schema: how a value says which one it has. `"confluent"` (default): by its id in a
    /// registry; `"bare"`: not at all.
    framing: Option<Framing>,
    /// With a schema: the registry that it is known to, for `confluent`.
    registry: Option<RegistryOptions>,
    /// The schema itself; by default it is made of the columns, and grows by them.
    schema: Option<String>,
    /// The file that holds it, relative to the configuration file.
    schema_file: Option<PathBuf>,
    /// Or the version of the subject that is written: a number, or `"latest"`.
    schema_version: Option<VersionWord>,
    /// For `protobuf`: the message of the schema; default the first one.
    message: Option<String>,
    /// Whether schemas are registered; default `true`. With `false` they have to be there, and
    /// without `schema` or `schema_file` the latest version is written.
    register: Option<bool>,
    /// The subject of the schema; default as `subject_name` says.
    subject: Option<String>,
    /// After what the subject is named: `"topic"` (default, `TOPIC-value`), `"record"` or
    /// `"topic_record"` (`TOPIC-RECORD`).
    subject_name: Option<SubjectName>,
    /// What the record of a schema is called that is made of columns, with a namespace or without;
    /// default the topic's name, of other subjects than `"topic"` the table's.
    record: Option<String>,
    /// Stands between the names of nested records where columns have one name; default `"_"`.
    separator: Option<String>,
}

/// The options, checked.
#[derive(Clone, Debug)]
pub struct KafkaSinkPlan {
    /// As what rows are written, if they have no schema.
    pub text: TextPlan,
    /// With which schema they are.
    pub schema: Option<SchemaPlan>,
    /// With which schema their keys are, if they have one.
    pub key: Option<SchemaPlan>,
    /// Which topic, which key, which partition.
    pub addressing: Addressing,
    /// Whether records tell where they came from.
    pub headers: bool,
    /// Whether a topic that is missing is made.
    pub create_topic: bool,
    brokers: Option<String>,
    /// Who the bridge is to these brokers.
    pub security: SecurityPlan,
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
            Encode::Json | Encode::Avro | Encode::Protobuf | Encode::JsonSchema => Written::Json,
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
        let schema = options.schema(section, timestamps)?;
        let registry = options.registry.as_ref();
        let key = options.key.as_ref().map(|key| key.plan(section, registry, timestamps));
        let key = key.transpose()?;
        if options.partition.is_some_and(|number| number < 0) {
            return Err(section.mistake("partition", "partitions are numbered from 0"));
        }
        let mut headers = Vec::new();
        for (name, value) in &options.add_headers {
            push_header(&mut headers, name.as_bytes(), Some(value.as_bytes()));
        }
        let value = |property: Property| match property {
            Property::Text(text) => text,
            Property::Number(number) => number.to_string(),
            Property::Switch(switch) => switch.to_string(),
        };
        let properties = options.properties.into_iter().map(|(key, own)| (key, value(own)));
        Ok(KafkaSinkPlan {
            text: TextPlan { written, timestamps },
            schema,
            key,
            addressing: Addressing {
                topic: options.topic,
                key_column: options.key_column,
                partition_column: options.partition_column,
                timestamps,
                partition: options.partition,
                headers: headers.into(),
            },
            headers: options.headers,
            create_topic: options.create_topic.unwrap_or(true),
            security: match &options.kafka {
                None => SecurityPlan::default(),
                Some(_) => security::of_sink(section, options.brokers.as_deref())?,
            },
            brokers: options.brokers,
            properties: properties.collect(),
            source: None,
        })
    }

    /// Every path of a file starts from `base`; one that is absolute stays as it is.
    pub fn rebase(&mut self, base: &Path) {
        for schema in self.schema.iter_mut().chain(&mut self.key) {
            schema.rebase(base);
        }
        self.security.rebase(base);
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
            // Whoever writes is of none.
            group: Group::Alone(Alone::default()),
            instance: None,
            start: Start::Earliest,
            from: None,
            out_of_range: OutOfRange::Stop,
            range: None,
            fetch: Fetching::Auto,
            security: SecurityPlan::default(),
        };
        match (&self.brokers, &self.source) {
            (Some(brokers), _) => {
                plan.properties.push(("bootstrap.servers".to_owned(), brokers.clone()));
                plan.security.clone_from(&self.security);
            }
            (None, Some(source)) => {
                plan.properties.clone_from(&source.properties);
                plan.security.clone_from(&source.security);
            }
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
        let group = source.and_then(|s| s.group.name());
        (group.unwrap_or_default(), source.and_then(|s| s.instance.as_deref()))
    }

    /// What it reads without a group, if it does.
    pub fn reads_alone(&self) -> Option<&Alone> {
        self.source.as_ref()?.group.alone()
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
            Topics::Regex { .. } => None,
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

impl Options {
    /// What is said of a schema, where rows have one.
    fn schema(
        &self,
        section: &Section,
        timestamps: Timestamps,
    ) -> Result<Option<SchemaPlan>, Mistake> {
        let Some(format) = self.encode.format() else {
            return match SCHEMA_KEYS.into_iter().find(|key| section.has(key)) {
                None => Ok(None),
                Some(key) => {
                    let message = format!("`{key}` is for values with a schema");
                    let help = "take it out, or encode = \"avro\", \"protobuf\" or \"json-schema\"";
                    Err(section.mistake(key, message).help(help))
                }
            };
        };
        let said = Said {
            part: Part::Value,
            framing: self.framing,
            registry: self.registry.clone(),
            schema: self.schema.clone(),
            schema_file: self.schema_file.clone(),
            schema_version: self.schema_version.clone(),
            message: self.message.clone(),
            register: self.register,
            subject: self.subject.clone(),
            subject_name: self.subject_name,
            record: self.record.clone(),
            separator: self.separator.clone(),
        };
        said.plan(section, format, timestamps).map(Some)
    }
}
