//! Records of a stream resemble one another: what stands between their values is nearly always
//! what stood there before. The predictor compares those bytes instead of parsing them, and reads
//! the values between them by words. It knows plain values only: text without escapes, numbers of
//! the usual forms, `true`, `false` and `null`. Whatever is unlike that is no error but the other
//! parser's work, whose answer is the one that counts; the predictor learns from it.
//!
//! ```text
//! {"ts":17000,"site":"berlin"}
//! └────┤     ├───────┤       └─ compared with the paths of the trie
//!      └─────┘       └──────┘   read into cells
//! ```
//!
//! Why its cells are those of the tape: a path was taken from a document that the tape's parser
//! took for valid, its columns from the cells that came of it. Replacing values by values keeps a
//! document valid, and its depth and its names as they are; a value is one wherever it stands.

use bridge_abi::{Cell, Kind};

use super::end_of_string;
use super::trie::Trie;
use crate::batch::RowBatch;
use crate::format::document::Document;
use crate::format::number::{self, Number};

/// What learning from one record costs. Records that never come again must not cost more than the
/// learning saves: the predictor pays for it out of what it earns.
const LEARNING_COST: u32 = 64;
/// What a record earns that was read by prediction.
const HIT_EARNS: u32 = 4;
/// What any other earns: a stream that has changed is learned again.
const MISS_EARNS: u32 = 1;
/// Savings, at most and at first: the forms that a stream may begin with.
const SAVINGS_MAX: u32 = 32 * LEARNING_COST;

/// After so many records in a row that were not as predicted, it is tried with every
/// [`TRIED`]th only: a stream of unusual records shall hardly pay for it.
const PATIENCE: u32 = 32;
const TRIED: u32 = 8;

/// Reads records that resemble earlier ones.
pub(super) struct Predictor {
    trie: Trie,
    savings: u32,
    /// Records in a row that were not read here.
    misses: u32,
    /// Where a record's literals begin and end; kept for its room.
    literals: Vec<(usize, usize)>,
}

impl Default for Predictor {
    fn default() -> Predictor {
        Predictor { trie: Trie::default(), savings: SAVINGS_MAX, misses: 0, literals: Vec::new() }
    }
}

impl Predictor {
    /// Appends the document's cells if it is as predicted, else nothing.
    #[inline]
    pub(super) fn read(&mut self, document: &[u8], rows: &mut RowBatch) -> bool {
        let marks = (rows.cells.len(), rows.arena.len());
        let tried = self.misses < PATIENCE || self.misses.is_multiple_of(TRIED);
        if tried && self.follow(Document::new(document), rows).is_some() {
            self.misses = 0;
            self.savings = SAVINGS_MAX.min(self.savings + HIT_EARNS);
            return true;
        }
        rows.cells.truncate(marks.0);
        rows.arena.truncate(marks.1);
        self.misses = self.misses.wrapping_add(1);
        self.savings = SAVINGS_MAX.min(self.savings + MISS_EARNS);
        false
    }

    #[inline(always)]
    fn follow(&self, document: Document<'_>, rows: &mut RowBatch) -> Option<()> {
        let mut at = 0;
        let mut place = self.trie.first();
        loop {
            let node = self.trie.find(place, document, at)?;
            if node.column == 0 {
                return Some(());
            }
            let (cell, end) = value(document, at + node.len as usize, node.column, rows)?;
            rows.cells.push(cell);
            at = end;
            place = node.next;
        }
    }

    /// Learns from a document that the tape's parser has read, and from the cells it became.
    pub(super) fn learn(&mut self, document: &[u8], cells: &[Cell]) {
        if self.savings < LEARNING_COST {
            return;
        }
        self.savings -= LEARNING_COST;
        self.literals.clear();
        // A name that came twice has left fewer cells than values.
        if literals_of(document, &mut self.literals).is_none()
            || self.literals.len() != cells.len() + 1
        {
            return;
        }
        let literals = self.literals.iter().map(|(from, to)| &document[*from..*to]);
        let columns = cells.iter().map(|cell| cell.column).chain([0]);
        self.trie.add(literals.zip(columns));
    }
}

/// The cell of the value at `at`; the position behind it.
#[inline(always)]
fn value(
    document: Document<'_>,
    at: usize,
    column: u16,
    rows: &mut RowBatch,
) -> Option<(Cell, usize)> {
    let plain = |kind: Kind, value: u64, end: usize| {
        Some((Cell { column, kind: kind as u8, flags: 0, len: 0, value }, end))
    };
    let word = document.eight(at);
    match word as u8 {
        b'"' => text(document, at + 1, column, rows),
        b'-' | b'0'..=b'9' => match number::read(document, at, word)? {
            (Number::Long(value), end) => plain(Kind::I64, value as u64, end),
            (Number::Double(value), end) => plain(Kind::F64, value.to_bits(), end),
        },
        b't' if word as u32 == TRUE => plain(Kind::Bool, 1, at + 4),
        b'f' if (word >> 8) as u32 == ALSE => plain(Kind::Bool, 0, at + 5),
        b'n' if word as u32 == NULL => plain(Kind::Null, 0, at + 4),
        _ => None,
    }
}

const TRUE: u32 = u32::from_le_bytes(*b"true");
const ALSE: u32 = u32::from_le_bytes(*b"alse");
const NULL: u32 = u32::from_le_bytes(*b"null");

/// The cell of a text whose first byte is at `at`; the position behind its quote.
#[inline(always)]
fn text(
    document: Document<'_>,
    at: usize,
    column: u16,
    rows: &mut RowBatch,
) -> Option<(Cell, usize)> {
    let (end, ascii) = document.end_of_text(at);
    if document.bytes().get(end) != Some(&b'"') {
        return None;
    }
    let bytes = &document.bytes()[at..end];
    if !ascii && simdutf8::basic::from_utf8(bytes).is_err() {
        return None;
    }
    let cell = if bytes.len() <= 16 {
        // Sixteen at once, and what is too much taken back: faster than a copy of unknown length.
        let value = rows.arena.len();
        rows.arena.extend_from_slice(&document.sixteen(at).to_le_bytes());
        rows.arena.truncate(value + bytes.len());
        Cell {
            column,
            kind: Kind::Text as u8,
            flags: 0,
            len: bytes.len() as u32,
            value: value as u64,
        }
    } else {
        rows.cell_bytes(column, Kind::Text, 0, bytes)
    };
    Some((cell, end + 1))
}

/// What stands before, between and behind the values of a valid document, and where; `None` if it
/// has an array.
fn literals_of(document: &[u8], literals: &mut Vec<(usize, usize)>) -> Option<()> {
    let (mut from, mut at) = (0, 0);
    while let Some(byte) = document.get(at) {
        at = match byte {
            b'"' => end_of_string(document, at) + 1,
            b'[' => return None,
            b':' => {
                let value = at + 1 + white(&document[at + 1..]);
                match document.get(value) {
                    Some(b'{' | b'[') => value,
                    _ => {
                        literals.push((from, value));
                        from = end_of_value(document, value);
                        from
                    }
                }
            }
            _ => at + 1,
        };
    }
    literals.push((from, document.len()));
    Some(())
}

/// How much white space comes first.
pub(super) fn white(bytes: &[u8]) -> usize {
    let white = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    bytes.iter().position(|byte| !white(byte)).unwrap_or(bytes.len())
}

/// The position behind a value that is no object and no array.
pub(super) fn end_of_value(document: &[u8], at: usize) -> usize {
    if document.get(at) == Some(&b'"') {
        return end_of_string(document, at) + 1;
    }
    let behind = |byte: &u8| matches!(byte, b',' | b'}' | b' ' | b'\t' | b'\n' | b'\r');
    document[at..].iter().position(behind).map_or(document.len(), |len| at + len)
}

#[cfg(test)]
mod tests;
