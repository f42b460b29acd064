//! What becomes of keys: the section `key`, and that not both, value and key, are ignored.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::draft::Raw;
use super::mistake::Mistake;
use super::section::Section;
use crate::format::{self, Files, KeyPlan, KeySchema, RegistryOptions, Simple, Single, Written};

/// What becomes of keys.
#[derive(serde::Deserialize, JsonSchema, Default, Debug)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Key")]
pub struct KeyDraft {
    /// How keys are read. Default `"string"` where the section is there.
    pub format: Option<KeyFormatDraft>,
    /// The column of a key that is one value. Default `"key"`.
    pub column: Option<String>,
    /// Put before the columns of a key with fields (`json`, `json-schema`, `avro`,
    /// `protobuf`). Default `"key_"`.
    pub prefix: Option<String>,
    /// How a key of a simple type is written: `"binary"`, as Kafka's serializers do it, or
    /// `"text"`. Default `"binary"`; of `uuid` `"text"`.
    pub written: Option<Written>,
    /// Of `avro`, `json-schema` and `protobuf`: the schema registry. Default: the value's, where
    /// that has one and the key no schema of its own.
    pub registry: Raw<RegistryOptions>,
    /// The same: how a key says what it was written with, as in the format's own section.
    pub framing: Raw<String>,
    /// The same: the schema, as JSON; of `protobuf` the text of a `.proto` file.
    pub schema: Raw<String>,
    /// Of `avro` and `json-schema`: the file that holds it, relative to the configuration file.
    pub schema_file: Raw<String>,
    /// Of `avro`: as what keys are read, a number or `"latest"` of `subject`; or `"writer"`.
    pub schema_version: Raw<Version>,
    /// Of `avro`: the subject that `schema_version` is of, such as `"TOPIC-key"`.
    pub subject: Raw<String>,
    /// Of `avro`: the schema that keys are read as, as JSON.
    pub reader_schema: Raw<String>,
    /// Of `avro`: the file that holds it, relative to the configuration file.
    pub reader_schema_file: Raw<String>,
    /// Of `json-schema`: whether keys are checked. Default as of values.
    pub validate: Raw<bool>,
    /// Of `json-schema`: objects and arrays within one another, at most. Default 32.
    pub depth_max: Raw<usize>,
    /// Of `protobuf`: the message type of all keys with its package; for `bare`.
    pub message: Raw<String>,
    /// Of `protobuf`: the `.proto` file that has it, or several.
    pub files: Raw<Files>,
    /// Of `protobuf`: folders in which imports are looked for. Default: that of the first of
    /// `files`.
    pub include: Raw<Files>,
    /// Of `protobuf`: a descriptor set, in place of `files`.
    pub descriptor_set: Raw<String>,
    /// Of `protobuf`: whether absent fields have their defaults. Default true.
    pub defaults: Raw<bool>,
    /// Of `protobuf`: what enums become, as of values.
    pub enums: Raw<String>,
    /// Of `protobuf`: what durations become, as of values.
    pub durations: Raw<String>,
    /// Of `avro`, `json-schema` and `protobuf`: stands between the names of nested fields. Default
    /// `"_"`.
    pub separator: Raw<String>,
}

/// A number, or a word.
#[derive(Debug)]
pub struct Version;

impl JsonSchema for Version {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Version".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["integer", "string"] })
    }
}

/// Keys of the section that are a key's own, whatever its format.
const OWN: &[&str] = &["format", "column", "prefix", "written"];

/// How keys are read.
#[derive(serde::Deserialize, JsonSchema, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "KeyFormat")]
pub enum KeyFormatDraft {
    /// UTF-8 text.
    String,
    /// Any bytes: UTF-8 as it is, else base64.
    Raw,
    /// A JSON object or scalar.
    Json,
    /// The same behind the id of a schema.
    #[serde(rename = "json-schema")]
    JsonSchema,
    /// Avro.
    Avro,
    /// Protobuf.
    Protobuf,
    /// A whole number of 16 bits.
    I16,
    /// Of 32 bits.
    I32,
    /// Of 64 bits.
    I64,
    /// A float of 32 bits.
    F32,
    /// Of 64 bits.
    F64,
    /// True or false.
    Bool,
    /// A UUID.
    Uuid,
    /// Not at all.
    Ignore,
}

impl KeyFormatDraft {
    fn simple(self) -> Option<Simple> {
        Some(match self {
            KeyFormatDraft::I16 => Simple::I16,
            KeyFormatDraft::I32 => Simple::I32,
            KeyFormatDraft::I64 => Simple::I64,
            KeyFormatDraft::F32 => Simple::F32,
            KeyFormatDraft::F64 => Simple::F64,
            KeyFormatDraft::Bool => Simple::Bool,
            KeyFormatDraft::Uuid => Simple::Uuid,
            _ => return None,
        })
    }
}

/// Reads the section of a pipeline whose values are of this kind, if that could be read.
pub fn plan(pipeline: &Section, value: Option<&str>) -> Result<KeyPlan, Mistake> {
    let section = pipeline.below("key");
    let named = section.text("format");
    let by_schema = KeySchema::KINDS.iter().find(|(name, _)| named == Some(*name));
    let key = match by_schema {
        Some((_, parse)) => {
            let own: KeyDraft = section.clone().only(OWN).read()?;
            let own = Own::of(own, &section)?;
            let options = with_registry(section.without(OWN), &pipeline.below("value"));
            let of = parse(&options, &own.prefix, &own.column)?;
            KeyPlan::Schema { of, prefix: own.prefix, column: own.column }
        }
        None => read(&section, pipeline.has("key"))?,
    };
    if key == KeyPlan::Ignore && value == Some(format::IGNORE) {
        let message = "neither the value nor the key is read";
        let help = format!("add [{}.key], or read the value", pipeline.path);
        return Err(pipeline.below("value").mistake("format", message).help(help));
    }
    Ok(key)
}

/// With the value's registry, where the key has neither that nor a schema of its own.
fn with_registry(key: Section, value: &Section) -> Section {
    let mut own =
        ["registry", "framing", "schema", "schema_file", "files", "descriptor_set"].iter();
    match own.any(|word| key.has(word)) {
        true => key,
        false => key.with_keys_of(value, |word| word == "registry"),
    }
}

/// What the columns of a key with fields are called.
struct Own {
    prefix: String,
    column: String,
}

impl Own {
    fn of(draft: KeyDraft, section: &Section) -> Result<Own, Mistake> {
        let column = draft.column.unwrap_or_else(|| "key".to_owned());
        if column.is_empty() {
            return Err(section.mistake("column", "a column needs a name"));
        }
        if draft.written.is_some() {
            let message =
                "only keys of simple types (`i64`, `uuid` and such) are written in two ways";
            return Err(section.mistake("written", message));
        }
        Ok(Own { prefix: draft.prefix.unwrap_or_else(|| "key_".to_owned()), column })
    }
}

/// `given` says whether the section is there.
fn read(section: &Section, given: bool) -> Result<KeyPlan, Mistake> {
    let draft: KeyDraft = section.read()?;
    let of_schemas = section.tables().into_iter().find(|(key, _)| !OWN.contains(&key.as_str()));
    if let Some((key, _)) = of_schemas {
        let names: Vec<&str> = KeySchema::KINDS.iter().map(|(name, _)| *name).collect();
        let message = format!("`{key}` is for keys that go by a schema");
        let help = format!("format = \"{}\", or take it out", names.join("\" or \""));
        return Err(section.mistake(&key, message).help(help));
    }
    if draft.format == Some(KeyFormatDraft::Json) {
        let Own { prefix, column } = Own::of(draft, section)?;
        return Ok(KeyPlan::Json { prefix, column });
    }
    let column = draft.column.unwrap_or_else(|| "key".to_owned());
    let format = match (draft.format, given) {
        (Some(format), _) => format,
        (None, true) => KeyFormatDraft::String,
        (None, false) => KeyFormatDraft::Ignore,
    };
    if column.is_empty() {
        return Err(section.mistake("column", "a column needs a name"));
    }
    if draft.prefix.is_some() {
        let message = "only keys with fields (`json`, `avro` and such) have a prefix";
        return Err(section.mistake("prefix", message));
    }
    if let Some(simple) = format.simple() {
        let written = draft.written.unwrap_or(simple.usually_written());
        return Ok(KeyPlan::Single { single: Single::Simple(simple, written), column });
    }
    if draft.written.is_some() {
        let message = "only keys of simple types (`i64`, `uuid` and such) are written in two ways";
        return Err(section.mistake("written", message));
    }
    Ok(match format {
        KeyFormatDraft::String => KeyPlan::Single { single: Single::String, column },
        KeyFormatDraft::Raw => KeyPlan::Single { single: Single::Raw, column },
        _ => KeyPlan::Ignore,
    })
}
