//! A part of the configuration that belongs to one kind.

use serde::de::DeserializeOwned;

use super::Mistake;

/// A table of the configuration and the path to it.
#[derive(Clone, Debug)]
pub struct Section {
    /// Dotted path, such as `pipeline.readings.sink`.
    pub path: String,
    table: toml::Table,
}

impl Section {
    /// A section from a table that was read already.
    pub fn new(path: impl Into<String>, table: toml::Table) -> Section {
        Section { path: path.into(), table }
    }

    /// Reads the section as a kind's options; `kind` and `format` are not theirs.
    pub fn options<T: DeserializeOwned>(&self) -> Result<T, Mistake> {
        let mut table = self.table.clone();
        table.remove("kind");
        table.remove("format");
        T::deserialize(toml::Value::Table(table))
            .map_err(|error| self.mistake("", error.message().to_owned()))
    }

    /// A mistake at `key` of this section (or at the section, if `key` is empty).
    pub fn mistake(&self, key: &str, message: impl Into<String>) -> Mistake {
        let path = if key.is_empty() { self.path.clone() } else { format!("{}.{key}", self.path) };
        Mistake { path, span: None, message: message.into(), help: None }
    }
}
