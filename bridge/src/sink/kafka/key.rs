//! Keys with a schema: what `key` of the sink may say, and the keys of the record at hand. They are
//! made before anything of a record is moved, for one that cannot be refuses it.

use std::ops::Range;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::options::Encode;
use crate::batch::{RecordBatch, Row, RowBatch};
use crate::config::{Mistake, Section};
use crate::schemas::RegistryOptions;
use crate::sink::questdb::Denied;
use crate::sink::schema::{Framing, Keys, Part, Said, SchemaPlan, SubjectName, VersionWord};
use crate::sink::text::Timestamps;

/// Columns as a key with a schema.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "WrittenKey")]
pub struct KeyOptions {
    /// The columns that are the key, by their names in the table. Needed.
    columns: Vec<String>,
    /// What the key becomes: `avro`, `protobuf`, `json-schema`. Needed.
    encode: Option<Encode>,
    /// How a key says which schema it has, as of values.
    framing: Option<Framing>,
    /// The registry that the schema is known to; by default that of values.
    registry: Option<RegistryOptions>,
    /// The schema itself; by default it is made of the columns: of a single one it is that of its
    /// value.
    schema: Option<String>,
    /// The file that holds it, relative to the configuration file.
    schema_file: Option<PathBuf>,
    /// Or the version of the subject that is written: a number, or `"latest"`.
    schema_version: Option<VersionWord>,
    /// For `protobuf`: the message of the schema; default the first one.
    message: Option<String>,
    /// Whether schemas are registered, as of values.
    register: Option<bool>,
    /// The subject of the schema; default as `subject_name` says.
    subject: Option<String>,
    /// After what the subject is named: `"topic"` (default, `TOPIC-key`), `"record"` or
    /// `"topic_record"`.
    subject_name: Option<SubjectName>,
    /// What the record of a schema is called that is made of columns; with it the key is a record
    /// also if it has one column. Default `TOPIC_key`.
    record: Option<String>,
    /// Stands between the names of nested records where columns have one name; default `"_"`.
    separator: Option<String>,
}

impl KeyOptions {
    /// Checks what is said under `key` of the sink, whose values are known to a registry.
    pub fn plan(
        &self,
        sink: &Section,
        registry: Option<&RegistryOptions>,
        timestamps: Timestamps,
    ) -> Result<SchemaPlan, Mistake> {
        let section = sink.below("key");
        if sink.has("key_column") {
            let message = "`key` says what the key is, or `key_column` does";
            return Err(sink.mistake("key_column", message).help("take one of them out"));
        }
        if self.columns.is_empty() {
            let mistake = section.mistake("columns", "a key needs columns");
            return Err(mistake.help("such as columns = [\"sensor\"]"));
        }
        let Some(format) = self.encode.and_then(Encode::format) else {
            let key = if section.has("encode") { "encode" } else { "" };
            let mistake = section.mistake(key, "a key of `key` has a schema");
            let help = "encode = \"avro\", \"protobuf\" or \"json-schema\"; text is written by \
                        `key_column` in the place of `key`";
            return Err(mistake.help(help));
        };
        let is_bare = self.framing == Some(Framing::Bare);
        let said = Said {
            part: Part::Key(self.columns.as_slice().into()),
            framing: self.framing,
            registry: self.registry.as_ref().or(registry.filter(|_| !is_bare)).cloned(),
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
        said.plan(&section, format, timestamps)
    }
}

/// The keys of the record at hand.
pub struct Keyed {
    keys: Keys,
    bytes: Vec<u8>,
    /// Numbers of the rows that have one, and where it is.
    places: Vec<(u32, Range<usize>)>,
}

impl Keyed {
    /// No record is at hand yet.
    pub fn new(keys: Keys) -> Keyed {
        Keyed { keys, bytes: Vec::new(), places: Vec::new() }
    }

    /// Makes the keys of a record's rows, or tells why one cannot be.
    pub fn turn_to<'a>(
        &mut self,
        records: &RecordBatch,
        rows: &RowBatch,
        of_record: impl Iterator<Item = &'a Row>,
    ) -> Result<(), Denied> {
        self.bytes.clear();
        self.places.clear();
        for row in of_record {
            let start = self.bytes.len();
            if self.keys.append(records, rows, row, &mut self.bytes)? {
                self.places.push((row.number, start..self.bytes.len()));
            }
        }
        Ok(())
    }

    /// The key of one of its rows.
    pub fn of(&self, row: u32) -> Option<&[u8]> {
        let at = self.places.binary_search_by_key(&row, |(number, _)| *number).ok()?;
        Some(&self.bytes[self.places[at].1.clone()])
    }
}
