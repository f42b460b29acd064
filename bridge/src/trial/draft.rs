//! A file of cases as it is written, in TOML or JSON; docs/testing.md is its reference.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::blame::Fault;

/// What a file says.
#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct FileDraft {
    /// One transform.
    pub(super) module: Option<String>,
    pub(super) config: Option<toml::Table>,
    /// Several in a row.
    #[serde(default)]
    pub(super) transform: Vec<toml::Table>,
    pub(super) value: Option<toml::Table>,
    pub(super) key: Option<toml::Table>,
    pub(super) null_value: Option<String>,
    /// A configuration, in place of transforms.
    pub(super) bridge: Option<PathBuf>,
    pub(super) pipeline: Option<String>,
    pub(super) fuel_max: Option<u64>,
    #[serde(default)]
    pub(super) case: Vec<CaseDraft>,
}

/// One case.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct CaseDraft {
    pub(super) name: Option<String>,
    pub(super) config: Option<toml::Table>,
    pub(super) fuel_max: Option<u64>,
    #[serde(default)]
    pub(super) record: Vec<RecordDraft>,
}

/// One record, and what is to become of it.
#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordDraft {
    pub(super) value: Option<Value>,
    pub(super) value_base64: Option<String>,
    pub(super) key: Option<Value>,
    pub(super) key_base64: Option<String>,
    pub(super) headers: Option<Value>,
    pub(super) timestamp: Option<Value>,
    pub(super) topic: Option<String>,
    pub(super) partition: Option<i32>,
    pub(super) offset: Option<i64>,
    pub(super) rows: Option<Vec<Map<String, Value>>>,
    pub(super) lines: Option<Vec<String>>,
    pub(super) rejected: Option<String>,
    pub(super) filtered: Option<bool>,
}

/// Whether a file is JSON, by its name.
pub(super) fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "json")
}

/// Reads a file's text; the message says line and column.
pub(super) fn read(path: &Path, text: &str) -> Result<FileDraft, Fault> {
    let read = match is_json(path) {
        true => serde_json::from_str(text).map_err(|error| error.to_string()),
        false => toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned()),
    };
    read.map_err(|message| {
        Fault::operator(format!("reading cases from {}: {message}", path.display()))
            .hint("docs/testing.md#the-file has all keys")
    })
}

/// A value of TOML as one of JSON: a date is a table of one strange key there.
pub(super) fn plain(value: Value) -> Value {
    match value {
        Value::Object(table) => match table.get(DATETIME) {
            Some(Value::String(text)) if table.len() == 1 => Value::String(text.clone()),
            _ => Value::Object(table.into_iter().map(|(key, value)| (key, plain(value))).collect()),
        },
        Value::Array(values) => Value::Array(values.into_iter().map(plain).collect()),
        other => other,
    }
}

/// By which name the reader of TOML hands over a date.
const DATETIME: &str = "$__toml_private_datetime";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toml_and_json_say_the_same() {
        let toml = "module = 'a.wasm'\nconfig = { a = 1 }\n[[case]]\nname = 'n'\n\
                    [[case.record]]\nvalue = { at = 2026-01-01T00:00:00Z, x = 1.0 }\nrows = []\n";
        let json = r#"{"module": "a.wasm", "config": {"a": 1}, "case": [{"name": "n", "record": [
            {"value": {"at": "2026-01-01T00:00:00Z", "x": 1.0}, "rows": []}]}]}"#;
        let toml = read(Path::new("a.toml"), toml).expect("TOML");
        let json = read(Path::new("a.json"), json).expect("JSON");
        assert_eq!((&toml.module, &toml.config), (&json.module, &json.config));
        let value = |mut draft: FileDraft| draft.case[0].record[0].value.take().map(plain);
        assert_eq!(value(toml), value(json));
    }

    #[test]
    fn a_wrong_key_is_told_with_its_line() {
        let text = "module = 'a.wasm'\n[[case]]\n[[case.record]]\nvalu = 'x'\n";
        let fault = read(Path::new("a.toml"), text).expect_err("there is no such key");
        assert!(fault.message.contains("a.toml") && fault.message.contains("line 4"), "{fault}");
        assert!(fault.message.contains("valu"), "{fault}");
        let text = "{\"case\": [\n{\"record\": [{\"valu\": 1}]}]}";
        let fault = read(Path::new("a.json"), text).expect_err("there is no such key");
        assert!(fault.message.contains("line 2"), "{fault}");
    }
}
