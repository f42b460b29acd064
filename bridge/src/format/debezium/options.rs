//! What `[pipeline.NAME.value]` may say with `format = "debezium"`, checked.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::meaning::{Declared, TYPE_WORDS};
use crate::config::{Mistake, Section};
use crate::format::avro::{AvroOptions, Framing};
use crate::kind;
use crate::schemas::{Files, RegistryOptions};

/// What events are written in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Connect's `JsonConverter`, with its schemas or without.
    #[default]
    Json,
    /// An Avro converter.
    Avro,
}

/// What becomes of a deletion.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Deletes {
    /// It deletes where the sink does that, and is a row where it does not.
    #[default]
    Auto,
    /// It deletes the row of its key.
    Delete,
    /// It is a row as all others.
    Row,
    /// It is left out, and counted.
    Skip,
}

/// What becomes of an event that says that a table was truncated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Truncate {
    /// It is rejected.
    #[default]
    Reject,
    /// It is left out, and counted.
    Skip,
    /// The pipeline stops.
    Stop,
}

/// What becomes of what is no change of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Other {
    /// It is rejected.
    #[default]
    Reject,
    /// It is left out, and counted.
    Skip,
}

/// What becomes of a value that was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unavailable {
    /// Its record is rejected.
    #[default]
    Reject,
    /// It is null.
    Null,
    /// The placeholder stands for it.
    Text,
}

/// Which table rows go to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// What the pipeline's `table.name` says.
    #[default]
    Pipeline,
    /// The one of the same name as that which changed.
    Source,
    /// The same, with its schema (or database) in front: `public.orders`.
    Qualified,
}

/// Changes of databases as Debezium writes them.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// What events are written in: `"json"` (default; with schemas in each message or without) or
    /// `"avro"`.
    encoding: Encoding,
    /// What becomes of a deletion: `"delete"` (the sink deletes the row of its key), `"row"` (a row
    /// of what was deleted), `"skip"` (left out and counted), `"auto"` (default: `"delete"` where the
    /// sink deletes, else `"row"`).
    deletes: Deletes,
    /// A column that says whether the row was deleted, such as `"deleted"`. Default: none.
    deleted: Option<String>,
    /// A column for what was done: `c` `u` `d` `r`. Default: none.
    op: Option<String>,
    /// Fields of the event's `source` that become columns, such as `["ts_ms", "lsn"]`.
    source: Vec<String>,
    /// Put before their names. Default `"source_"`.
    source_prefix: Option<String>,
    /// Columns for what the row was before, named so with this in front, such as `"before_"`.
    /// Default: none.
    before: Option<String>,
    /// Which table rows go to: `"pipeline"` (default: what `table.name` says), `"source"` (the one of
    /// the same name), `"qualified"` (the same with its schema in front).
    table: Table,
    /// What becomes of a `TRUNCATE`: `"reject"` (default), `"skip"` (left out and counted) or `"stop"`
    /// (the pipeline stops).
    truncate: Truncate,
    /// What becomes of heartbeats, of messages about transactions and schemas, and of logical
    /// decoding messages: `"reject"` (default) or `"skip"`.
    other: Other,
    /// What becomes of a value that was not sent, for it is large and did not change: `"reject"`
    /// (default; its record), `"null"`, or `"text"` (the placeholder).
    unavailable: Unavailable,
    /// The connector's `unavailable.value.placeholder`. Default `"__debezium_unavailable_value"`.
    placeholder: Option<String>,
    /// What columns mean, where no schema says it: `{ created_at = "micro-timestamp" }`. See
    /// docs/debezium.md.
    types: HashMap<String, String>,
    /// Events were unwrapped by `ExtractNewRecordState`: the value is the row, with `__op` and
    /// `__deleted`. Default false.
    unwrapped: bool,
    /// Stands between the names of what is nested in a column. Default `"_"`.
    separator: Option<String>,
    /// Of JSON: objects and arrays within one another, at most. Default 32.
    depth_max: Option<usize>,
    /// Of Avro: how a value says what it was written with, `"confluent"` (default), `"bare"`,
    /// `"single_object"`.
    framing: Option<Framing>,
    /// Of Avro: the schema registry.
    registry: Option<RegistryOptions>,
    /// Of Avro without a registry: the schema, as JSON.
    schema: Option<String>,
    /// Of Avro without a registry: the file that holds it.
    schema_file: Option<Files>,
}

/// The format as configured.
#[derive(Clone, Debug)]
pub struct Checked {
    /// `None`: JSON.
    pub avro: Option<AvroOptions>,
    pub deletes: Deletes,
    pub deleted: Option<String>,
    pub op: Option<String>,
    /// Field of `source`, and its column.
    pub source: Vec<(String, String)>,
    pub before: Option<String>,
    pub table: Table,
    pub truncate: Truncate,
    pub other: Other,
    pub unavailable: Unavailable,
    pub placeholder: String,
    pub types: HashMap<String, Declared>,
    pub unwrapped: bool,
    pub separator: String,
    pub depth_max: usize,
}

impl Checked {
    /// Reads and checks a section.
    pub fn parse(section: &Section) -> Result<Checked, Mistake> {
        let options: Options = kind::options(section)?;
        let avro = options.avro(section)?;
        options.unwrapped(section)?;
        let types = options.types(section)?;
        let prefix = options.source_prefix.as_deref().unwrap_or("source_");
        let source = options.source.iter().map(|field| (field.clone(), format!("{prefix}{field}")));
        let source: Vec<(String, String)> = source.collect();
        if let Some(at) = source.iter().position(|(field, _)| field.is_empty()) {
            return Err(section.mistake(&format!("source.{at}"), "a field has a name"));
        }
        for (key, name) in
            [("before", &options.before), ("op", &options.op), ("deleted", &options.deleted)]
        {
            if name.as_deref() == Some("") {
                let message = "it needs a name; leave it out for none";
                return Err(section.mistake(key, message));
            }
        }
        if options.deletes == Deletes::Row && options.deleted.is_none() && options.op.is_none() {
            let message = "rows of deletions would look like all others";
            return Err(section.mistake("deletes", message).help("add deleted = \"deleted\""));
        }
        let named = [("deleted", &options.deleted), ("op", &options.op)];
        let named = named.into_iter().filter_map(|(key, name)| Some((key, name.as_deref()?)));
        let columns = source.iter().map(|(_, column)| ("source", column.as_str()));
        let mut seen: Vec<&str> = Vec::new();
        for (key, name) in named.chain(columns) {
            if seen.contains(&name) {
                return Err(section.mistake(key, format!("two columns have the name `{name}`")));
            }
            seen.push(name);
        }
        Ok(Checked {
            avro,
            deletes: options.deletes,
            deleted: options.deleted,
            op: options.op,
            source,
            before: options.before,
            table: options.table,
            truncate: options.truncate,
            other: options.other,
            unavailable: options.unavailable,
            placeholder: options
                .placeholder
                .unwrap_or_else(|| "__debezium_unavailable_value".to_owned()),
            types,
            unwrapped: options.unwrapped,
            separator: options.separator.unwrap_or_else(|| "_".to_owned()),
            depth_max: options.depth_max.unwrap_or(32),
        })
    }

    /// The columns that are not the row's.
    pub fn own(&self) -> impl Iterator<Item = &str> {
        let columns = self.source.iter().map(|(_, column)| column.as_str());
        self.deleted.as_deref().into_iter().chain(self.op.as_deref()).chain(columns)
    }
}

impl Options {
    fn avro(&self, section: &Section) -> Result<Option<AvroOptions>, Mistake> {
        if self.encoding == Encoding::Avro {
            let (framing, registry) = (self.framing.unwrap_or_default(), self.registry.clone());
            let schema = (self.schema.clone(), self.schema_file.clone());
            let mut options = AvroOptions::as_written(section, framing, registry, schema)?;
            if let Some(separator) = &self.separator {
                options.separator.clone_from(separator);
            }
            return Ok(Some(options));
        }
        for key in ["framing", "registry", "schema", "schema_file"] {
            if section.has(key) {
                let message = format!("`{key}` is of values in Avro");
                return Err(section.mistake(key, message).help("encoding = \"avro\""));
            }
        }
        Ok(None)
    }

    /// Of what is unwrapped nothing is left that these options could be about.
    fn unwrapped(&self, section: &Section) -> Result<(), Mistake> {
        if !self.unwrapped {
            return Ok(());
        }
        for (key, given, instead) in [
            ("source", !self.source.is_empty(), "add.fields of the transformation makes columns"),
            ("before", self.before.is_some(), "take it out, or unwrapped = false"),
            ("table", self.table != Table::Pipeline, "table.name = \"{field.__table}\""),
        ] {
            if given {
                let message = "an event that was unwrapped has only its row";
                return Err(section.mistake(key, message).help(instead));
            }
        }
        Ok(())
    }

    fn types(&self, section: &Section) -> Result<HashMap<String, Declared>, Mistake> {
        let mut types = HashMap::new();
        for (column, word) in &self.types {
            let declared = Declared::parse(word).ok_or_else(|| {
                let message = format!("there is no type `{word}`");
                section.mistake(&format!("types.{column}"), message).help(TYPE_WORDS)
            })?;
            types.insert(column.clone(), declared);
        }
        Ok(types)
    }
}
