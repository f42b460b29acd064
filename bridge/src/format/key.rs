//! How the key becomes columns, and the reader that appends them to the cells of each row of a
//! record.

use std::sync::Arc;

use simd_json::Node;

use super::json::{Flattener, Parser, cell};
use super::single::Single;
use super::{DecoderContext, Refused};
use crate::batch::RowBatch;
use crate::reject::Reason;

/// Objects within one another in a key, at most.
const DEPTH_MAX: usize = 16;

/// How the key becomes columns.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum KeyPlan {
    /// Not at all.
    #[default]
    Ignore,
    /// One value in one column; a null key gives no cell.
    Single {
        /// What the value is.
        single: Single,
        /// The column.
        column: String,
    },
    /// A JSON object, flattened, its columns prefixed; a JSON scalar goes into `column`.
    Json {
        /// Prefix of its columns, with its separator.
        prefix: String,
        /// The column of a scalar.
        column: String,
    },
}

impl KeyPlan {
    /// The column of a key that is one value.
    pub fn column(&self) -> Option<&str> {
        match self {
            KeyPlan::Ignore => None,
            KeyPlan::Single { column, .. } | KeyPlan::Json { column, .. } => Some(column),
        }
    }

    /// Whether the key may give a field.
    pub fn gives(&self, field: &str) -> bool {
        match self {
            KeyPlan::Json { prefix, column } => column == field || field.starts_with(&**prefix),
            _ => self.column() == Some(field),
        }
    }

    /// What becomes of keys, for a person.
    pub fn in_words(&self) -> String {
        match self {
            KeyPlan::Ignore => "ignored".to_owned(),
            KeyPlan::Single { single, column } => format!("{}, column {column}", single.in_words()),
            KeyPlan::Json { prefix, column } => {
                format!("JSON, columns {prefix}..., a scalar in {column}")
            }
        }
    }
}

/// Reads keys for one lane. An enum, so that a record costs a branch and no call.
pub(super) enum KeyReader {
    /// Not at all.
    Ignore,
    /// One value.
    Single { single: Single, column: u16 },
    /// JSON.
    Json(Box<JsonKey>),
}

/// What a JSON key needs.
pub(super) struct JsonKey {
    column: u16,
    flattener: Flattener,
    parser: Parser,
}

impl KeyReader {
    /// By the plan.
    pub(super) fn new(context: &DecoderContext) -> KeyReader {
        // The first names of a pipeline always find room.
        let id = |column: &String| context.names.columns.intern(column).unwrap_or(0);
        match &context.key {
            KeyPlan::Ignore => KeyReader::Ignore,
            KeyPlan::Single { single, column } => {
                KeyReader::Single { single: *single, column: id(column) }
            }
            KeyPlan::Json { prefix, column } => KeyReader::Json(Box::new(JsonKey {
                column: id(column),
                flattener: Flattener::new("_", prefix, Arc::clone(&context.names)),
                parser: Parser::default(),
            })),
        }
    }

    /// Appends the key's cells; a null key has none.
    pub(super) fn append(
        &mut self,
        key: Option<&[u8]>,
        rows: &mut RowBatch,
    ) -> Result<(), Refused> {
        let Some(key) = key else { return Ok(()) };
        match self {
            KeyReader::Ignore => {}
            KeyReader::Single { single, column } => {
                let read = single.append(key, *column, rows);
                read.map_err(|(_, wrong)| (Reason::BadKey, format!("the key {wrong}")))?;
            }
            KeyReader::Json(json) => {
                let JsonKey { column, flattener, parser } = &mut **json;
                let read = parser.parse(key, DEPTH_MAX, |tape| match tape.first() {
                    Some(Node::Object { .. }) => flattener.object(tape, 0, rows),
                    _ => {
                        let cell = cell(tape, 0, *column, rows);
                        rows.cells.push(cell);
                        Ok(())
                    }
                });
                read.map_err(|(_, detail)| (Reason::BadKey, format!("the key: {detail}")))?;
            }
        }
        Ok(())
    }
}
