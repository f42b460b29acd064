//! A schema that the configuration holds, or names the file of.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::blame::Fault;
use crate::limits::MIB;

/// Larger than any schema that a person wrote.
const FILE_BYTES_MAX: usize = 4 * MIB;

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
