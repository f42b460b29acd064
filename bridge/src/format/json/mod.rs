//! JSON. Objects flatten into columns, `{"a":{"b":1}}` to `a_b`.
//!
//! | in the record | becomes |
//! |---|---|
//! | integer within 64 bits | a long |
//! | larger integer, fraction, exponent | the nearest double; a decimal where one is declared |
//! | string | text, unescaped |
//! | `true`, `false`, `null` | a boolean, an explicit null |
//! | array of numbers, regular, 1 to 3 dimensions | an array of doubles |
//! | any other array | its JSON as text |
//! | a name twice | the last one |
//!
//! A value that is no object, invalid UTF-8, deeper than `depth_max`, empty or cut short is a
//! rejected record. Three readers have a record in turn, each slower than the one before and with
//! fewer wants:
//!
//! | | reads records |
//! |---|---|
//! | `predict` | with names, order and white space of one before, and plain values |
//! | `scan` | with names that were there before, in any order, and plain values |
//! | `Parser` | all; it is simd-json with its buffers reused, and decides what is refused |

mod array;
mod budget;
mod exact;
mod fields;
mod flatten;
mod plain;
mod predict;
mod scan;
mod trie;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use simd_json::{Buffers, INPUT_PADDING, Node, Tape};

pub(super) use self::array::{number, write_json};
use self::exact::Exact;
pub(super) use self::flatten::{Flattener, after, cell};
use self::predict::Predictor;
use self::scan::Scanner;
use super::key::KeyReader;
use super::walk::Stopped;
use super::{Admission, Admitted, Decoded, DecoderContext, Format, FormatPlan, Refused};
use crate::batch::{RecordBatch, Row, RowBatch};
use crate::blame::Fault;
use crate::kind::{Kind, options};
use crate::reject::{Reason, Rejects, Stage};

/// The format's entry in its room's table.
pub const KIND: Kind<dyn FormatPlan> = Kind {
    name: "json",
    summary: "JSON objects, flattened into columns",
    example: include_str!("json.toml"),
    schema: || schemars::schema_for!(Options),
    parse: |section| Ok(Box::new(options::<Options>(section)?)),
};

/// Options of the format `json`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Options {
    /// Stands between the names of nested objects.
    pub(super) separator: String,
    /// Objects and arrays within one another, at most.
    pub(super) depth_max: usize,
    /// What an array at the top is: "reject" or "rows" (a row for each element).
    pub(super) top_level_array: TopLevelArray,
    /// Fields whose numbers are decimals.
    #[serde(skip)]
    exact: Vec<String>,
}

/// What an array at the top is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum TopLevelArray {
    /// A rejected record.
    Reject,
    /// A row for each element.
    Rows,
}

impl Default for Options {
    fn default() -> Options {
        let separator = "_".to_owned();
        let top_level_array = TopLevelArray::Reject;
        Options { separator, depth_max: 32, top_level_array, exact: Vec::new() }
    }
}

impl FormatPlan for Options {
    fn separator(&self) -> Option<&str> {
        Some(&self.separator)
    }

    fn keep_exact(&mut self, fields: &[String]) {
        self.exact = fields.to_vec();
    }

    fn decoder(&self, context: &DecoderContext) -> Box<dyn Format> {
        let decoder = Decoder::new(self, context);
        match self.exact.is_empty() {
            true => Box::new(decoder),
            false => Box::new(Exact::new(decoder, self, context)),
        }
    }
}

/// simd-json with its buffers.
pub(super) struct Parser {
    input: Vec<u8>,
    buffers: Buffers,
    tape: Tape<'static>,
}

impl Default for Parser {
    fn default() -> Parser {
        Parser { input: Vec::new(), buffers: Buffers::default(), tape: Tape(Vec::new()) }
    }
}

impl Parser {
    /// Parses a document and hands its tape to `read`.
    pub(super) fn parse<E: From<Refused>>(
        &mut self,
        document: &[u8],
        depth_max: usize,
        read: impl FnOnce(&[Node<'_>]) -> Result<(), E>,
    ) -> Result<(), E> {
        if document.iter().all(u8::is_ascii_whitespace) {
            return Err((Reason::Empty, "the value has no bytes".to_owned()).into());
        }
        if let Err(error) = simdutf8::compat::from_utf8(document) {
            let at = error.valid_up_to();
            return Err((Reason::InvalidUtf8, format!("not UTF-8 at byte {at}")).into());
        }
        // What opens no more often than that is not deeper either.
        let opens = memchr::memchr2_iter(b'{', b'[', document);
        if opens.take(depth_max + 1).count() > depth_max && depth(document) > depth_max {
            return Err((Reason::TooDeep, format!("nested deeper than {depth_max}")).into());
        }
        self.input.clear();
        self.input.extend_from_slice(document);
        self.input.resize(document.len() + INPUT_PADDING, 0);
        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let parsed = simd_json::fill_tape_padded(
            &mut self.input,
            document.len(),
            &mut self.buffers,
            &mut tape,
        );
        let result = match parsed {
            Ok(()) => read(&tape.0),
            Err(error) => Err((Reason::Malformed, format!("not JSON: {error}")).into()),
        };
        self.tape = tape.reset();
        result
    }
}

/// How deep objects and arrays stand within one another, strings left out. Brackets in broken
/// JSON may count wrongly; what is broken is refused by the parser anyway.
fn depth(document: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut at = 0;
    while let Some(found) = document.get(at..).and_then(|rest| {
        rest.iter().position(|byte| matches!(byte, b'{' | b'[' | b'}' | b']' | b'"'))
    }) {
        at += found;
        match document[at] {
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'"' => at = end_of_string(document, at),
            _ => depth = depth.saturating_sub(1),
        }
        at += 1;
    }
    deepest
}

/// The position of the quote that ends the string that begins at `at`.
fn end_of_string(document: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', document.get(at..).unwrap_or_default()) {
        at += found;
        if document[at] == b'"' {
            return at;
        }
        at += 2;
    }
    document.len()
}

/// The decoder of one lane.
pub(super) struct Decoder {
    admission: Admission,
    top_level_array: TopLevelArray,
    depth_max: usize,
    flattener: Flattener,
    key: KeyReader,
    predictor: Predictor,
    scanner: Scanner,
    parser: Parser,
}

impl Format for Decoder {
    fn decode(
        &mut self,
        records: &RecordBatch,
        rows: &mut RowBatch,
        rejects: &mut Rejects,
    ) -> Result<Decoded, Fault> {
        let mut decoded = Decoded::default();
        for (index, record) in records.iter().enumerate() {
            let source = index as u32;
            let value = match self.admission.admit(record.value) {
                Ok(Admitted::Value(value)) => Some(value),
                Ok(Admitted::Key) => None,
                Ok(Admitted::Skipped) => {
                    decoded.skipped += 1;
                    continue;
                }
                Err((reason, detail)) => {
                    rejects.push(source, Stage::Intake, reason, detail);
                    continue;
                }
            };
            let marks = (rows.rows.len(), rows.cells.len(), rows.arena.len());
            let read = match value {
                Some(value) => self.record(source, value, record.key, rows),
                None => self.key_alone(source, record.key, rows),
            };
            match read {
                Ok(()) => {}
                Err(Stopped::Record((reason, detail))) => {
                    rows.rows.truncate(marks.0);
                    rows.cells.truncate(marks.1);
                    rows.arena.truncate(marks.2);
                    rejects.push(source, Stage::Format, reason, detail);
                }
                Err(Stopped::Pipeline(fault)) => return Err(fault),
            }
        }
        Ok(decoded)
    }
}

impl Decoder {
    pub(super) fn new(options: &Options, context: &DecoderContext) -> Decoder {
        Decoder {
            admission: context.admission,
            top_level_array: options.top_level_array,
            depth_max: options.depth_max,
            flattener: Flattener::new(&options.separator, "", Arc::clone(&context.names)),
            key: KeyReader::new(context),
            predictor: Predictor::default(),
            scanner: Scanner::default(),
            parser: Parser::default(),
        }
    }

    #[inline]
    fn record(
        &mut self,
        source: u32,
        value: &[u8],
        key: Option<&[u8]>,
        rows: &mut RowBatch,
    ) -> Result<(), Stopped> {
        let start = rows.cells.len();
        if self.predictor.read(value, rows) {
            self.key.append(key, rows)?;
            push_row(rows, source, 0, start);
            return Ok(());
        }
        self.unpredicted(source, value, key, rows)
    }

    /// A record that was not predicted.
    #[inline(never)]
    pub(super) fn unpredicted(
        &mut self,
        source: u32,
        value: &[u8],
        key: Option<&[u8]>,
        rows: &mut RowBatch,
    ) -> Result<(), Stopped> {
        let start = rows.cells.len();
        if !self.scanner.read(value, rows) {
            return self.parse(source, value, key, rows);
        }
        self.predictor.learn(value, &rows.cells[start..]);
        self.key.append(key, rows)?;
        push_row(rows, source, 0, start);
        Ok(())
    }

    /// A record that has no value.
    #[cold]
    pub(super) fn key_alone(
        &mut self,
        source: u32,
        key: Option<&[u8]>,
        rows: &mut RowBatch,
    ) -> Result<(), Stopped> {
        let start = rows.cells.len();
        self.key.append(key, rows)?;
        push_row(rows, source, 0, start);
        Ok(())
    }

    /// By the tape.
    fn parse(
        &mut self,
        source: u32,
        value: &[u8],
        key: Option<&[u8]>,
        rows: &mut RowBatch,
    ) -> Result<(), Stopped> {
        let (flattener, reader) = (&mut self.flattener, &mut self.key);
        let (predictor, scanner) = (&mut self.predictor, &mut self.scanner);
        let top_level_array = self.top_level_array;
        self.parser.parse(value, self.depth_max, |tape| match tape.first() {
            Some(Node::Object { .. }) => {
                let start = rows.cells.len();
                flattener.object(tape, 0, rows)?;
                predictor.learn(value, &rows.cells[start..]);
                scanner.learn(tape, flattener);
                reader.append(key, rows)?;
                push_row(rows, source, 0, start);
                Ok(())
            }
            Some(Node::Array { len, .. }) if top_level_array == TopLevelArray::Rows => {
                let mut node = 1;
                for number in 0..*len {
                    if !matches!(tape[node], Node::Object { .. }) {
                        let detail = format!("element {number} of the array is not an object");
                        return Err(Stopped::Record((Reason::Malformed, detail)));
                    }
                    let start = rows.cells.len();
                    flattener.object(tape, node, rows)?;
                    reader.append(key, rows)?;
                    push_row(rows, source, number as u32, start);
                    node = flatten::after(tape, node);
                }
                Ok(())
            }
            _ => Err((Reason::Malformed, "the value is not a JSON object".to_owned()).into()),
        })
    }
}

/// A row of the cells from `start` on.
#[inline]
fn push_row(rows: &mut RowBatch, source: u32, number: u32, start: usize) {
    let cell_count = (rows.cells.len() - start) as u16;
    rows.rows.push(Row { source, number, cells: start as u32, cell_count, table: 0 });
}

#[cfg(test)]
mod predict_tests;
#[cfg(test)]
mod tests;
