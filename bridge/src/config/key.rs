//! What becomes of keys: the section `key`, and that not both, value and key, are ignored.

use schemars::JsonSchema;

use super::mistake::Mistake;
use super::section::Section;
use crate::format::{self, KeyPlan, Simple, Single, Written};

/// What becomes of keys.
#[derive(serde::Deserialize, JsonSchema, Default, Debug)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Key")]
pub struct KeyDraft {
    /// How keys are read. Default `"string"` where the section is there.
    pub format: Option<KeyFormatDraft>,
    /// The column of a key that is one value. Default `"key"`.
    pub column: Option<String>,
    /// Put before the columns of a JSON key. Default `"key_"`.
    pub prefix: Option<String>,
    /// How a key of a simple type is written: `"binary"`, as Kafka's serializers do it, or
    /// `"text"`. Default `"binary"`; of `uuid` `"text"`.
    pub written: Option<Written>,
}

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
    let key = read(&pipeline.below("key"), pipeline.has("key"))?;
    if key == KeyPlan::Ignore && value == Some(format::IGNORE) {
        let message = "neither the value nor the key is read";
        let help = format!("add [{}.key], or read the value", pipeline.path);
        return Err(pipeline.below("value").mistake("format", message).help(help));
    }
    Ok(key)
}

/// `given` says whether the section is there.
fn read(section: &Section, given: bool) -> Result<KeyPlan, Mistake> {
    let draft: KeyDraft = section.read()?;
    let column = draft.column.unwrap_or_else(|| "key".to_owned());
    let format = match (draft.format, given) {
        (Some(format), _) => format,
        (None, true) => KeyFormatDraft::String,
        (None, false) => KeyFormatDraft::Ignore,
    };
    if column.is_empty() {
        return Err(section.mistake("column", "a column needs a name"));
    }
    if draft.prefix.is_some() && format != KeyFormatDraft::Json {
        return Err(section.mistake("prefix", "only keys in JSON have a prefix"));
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
        KeyFormatDraft::Json => {
            KeyPlan::Json { prefix: draft.prefix.unwrap_or_else(|| "key_".to_owned()), column }
        }
        _ => KeyPlan::Ignore,
    })
}
