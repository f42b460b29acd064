//! The key's columns, appended to the cells of each row of a record.

use std::sync::Arc;

use base64::Engine;
use bridge_abi::Kind;
use simd_json::Node;

use super::json::{Flattener, Parser, Refused, cell};
use super::{DecoderContext, KeyPlan};
use crate::batch::RowBatch;
use crate::reject::Reason;

/// Objects within one another in a key, at most.
const DEPTH_MAX: usize = 16;

/// Reads keys for one lane. An enum, so that a record costs a branch and no call.
pub(super) enum KeyReader {
    /// Not at all.
    Ignore,
    /// UTF-8 text.
    Text { column: u16 },
    /// Any bytes.
    Raw { column: u16 },
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
            KeyPlan::String { column } => KeyReader::Text { column: id(column) },
            KeyPlan::Raw { column } => KeyReader::Raw { column: id(column) },
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
            KeyReader::Text { column } => {
                if let Err(error) = simdutf8::compat::from_utf8(key) {
                    let at = error.valid_up_to();
                    return Err((Reason::BadKey, format!("the key is not UTF-8 at byte {at}")));
                }
                let cell = rows.cell_bytes(*column, Kind::Text, 0, key);
                rows.cells.push(cell);
            }
            KeyReader::Raw { column } => {
                let cell = if simdutf8::basic::from_utf8(key).is_ok() {
                    rows.cell_bytes(*column, Kind::Text, 0, key)
                } else {
                    let text = base64::engine::general_purpose::STANDARD.encode(key);
                    rows.cell_bytes(*column, Kind::Text, 0, text.as_bytes())
                };
                rows.cells.push(cell);
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
