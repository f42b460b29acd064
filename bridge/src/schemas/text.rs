//! A schema that the configuration holds, or names the file of.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::blame::Fault;
use crate::limits::MIB;

/// Larger than any schema that a person wrote.
const FILE_BYTES_MAX: usize = 4 * MIB;

/// One path, or several.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Files {
    /// One.
    One(PathBuf),
    /// Several.
    Several(Vec<PathBuf>),
}

impl Files {
    /// All of them; none where nothing is said.
    pub fn paths(said: Option<&Files>) -> Vec<PathBuf> {
        match said {
            None => Vec::new(),
            Some(Files::One(path)) => vec![path.clone()],
            Some(Files::Several(paths)) => paths.clone(),
        }
    }
}

/// A schema, or where it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Text {
    /// Written in the configuration.
    Here(Arc<str>),
    /// In a file.
    File(PathBuf),
}

impl Text {
    /// A file's path starts from `base`; one that is absolute stays as it is.
    pub fn rebase(&mut self, base: &Path) {
        if let Text::File(path) = self {
            *path = base.join(&*path);
        }
    }

    /// For people.
    pub fn in_words(&self) -> String {
        match self {
            Text::Here(_) => "the schema that is given".to_owned(),
            Text::File(path) => path.display().to_string(),
        }
    }

    /// The schema.
    pub fn read(&self) -> Result<Arc<str>, Fault> {
        let path = match self {
            Text::Here(text) => return Ok(Arc::clone(text)),
            Text::File(path) => path,
        };
        let wrong = |error: String| {
            let message = format!("reading the schema {}: {error}", path.display());
            Fault::operator(message).hint("set `schema_file`, or `reader_schema_file`")
        };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        if text.len() > FILE_BYTES_MAX {
            return Err(wrong(format!("{} bytes are more than a schema has", text.len())));
        }
        Ok(text.into())
    }

    /// It is not what it should be.
    pub fn wrong(&self, why: &str) -> Fault {
        match self {
            Text::Here(_) => Fault::operator(format!("reading the schema: {why}")),
            Text::File(path) => {
                Fault::operator(format!("reading the schema {}: {why}", path.display()))
            }
        }
    }
}
