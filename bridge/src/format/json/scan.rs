//! One pass over a document whose names are known, in whatever order and however spaced they come.
//! Each name is looked up, each value read by words. A name that is new, one that comes twice, an
//! array and whatever else is unusual are the work of the parser that knows all of JSON; the names
//! are learned from what it has read.
//!
//! Why its cells are those of the tape: it takes objects only, whose grammar is short (RFC 8259,
//! section 4), and values that are taken for the same wherever they stand (`plain`). A name is
//! compared byte by byte with one of a valid document, so it is text; what it means comes from the
//! flattener. No object is deeper than one that was within the allowed depth.

use super::budget::Budget;
use super::fields::{Fields, OUTSIDE};
use super::flatten::Flattener;
use super::plain;
use crate::batch::RowBatch;
use crate::format::document::Document;
use crate::format::walk::CELLS_MAX;

/// Reads records whose names are known.
#[derive(Default)]
pub(super) struct Scanner {
    fields: Fields,
    budget: Budget,
    /// By column: the number of the last record that had it.
    seen: Vec<u32>,
    record: u32,
    /// Whether the last record had a name that is not known.
    is_new: bool,
}

/// Why a document is another's work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Passed {
    /// A name, or what it has, is not known.
    New,
    /// It may be anything, also no JSON at all.
    Unusual,
}

impl Scanner {
    /// Appends the document's cells if all of its names are known and all of its values are plain,
    /// else nothing.
    #[inline(never)]
    pub(super) fn read(&mut self, document: &[u8], rows: &mut RowBatch) -> bool {
        self.is_new = false;
        if self.budget.tries() {
            let marks = (rows.cells.len(), rows.arena.len());
            match self.object(Document::new(document), rows) {
                Ok(()) => {
                    self.budget.hit();
                    return true;
                }
                Err(passed) => self.is_new = passed == Passed::New,
            }
            rows.cells.truncate(marks.0);
            rows.arena.truncate(marks.1);
        }
        self.budget.miss();
        false
    }

    #[inline(always)]
    fn object(&mut self, document: Document<'_>, rows: &mut RowBatch) -> Result<(), Passed> {
        use Passed::{New, Unusual};

        self.begin();
        let start = rows.cells.len();
        let mut at = behind_white(document, 0);
        if document.byte(at) != b'{' {
            return Err(Unusual);
        }
        at = behind_white(document, at + 1);
        let mut level = 0;
        let mut may_close = true;
        loop {
            if document.byte(at) == b'"' {
                let (field, end) = self.fields.find(level, document, at + 1).ok_or(New)?;
                at = behind_colon(document, end).ok_or(Unusual)?;
                let word = document.eight(at);
                if word as u8 == b'{' {
                    if field.below == 0 {
                        return Err(New);
                    }
                    level = field.below;
                    may_close = true;
                    at = behind_white(document, at + 1);
                    continue;
                }
                let column = field.column;
                if column == 0 {
                    return Err(New);
                }
                let seen = self.seen.get_mut(usize::from(column)).ok_or(Unusual)?;
                if *seen == self.record || rows.cells.len() - start >= CELLS_MAX {
                    return Err(Unusual);
                }
                *seen = self.record;
                let (cell, end) = plain::value(document, at, word, column, rows).ok_or(Unusual)?;
                rows.cells.push(cell);
                if document.eight(end) as u16 == u16::from_le_bytes(*b",\"") {
                    at = end + 1;
                    continue;
                }
                at = behind_white(document, end);
            } else if !may_close || document.byte(at) != b'}' {
                return Err(Unusual);
            }
            while document.byte(at) == b'}' {
                at = behind_white(document, at + 1);
                level = self.fields.outer(level).ok_or(Unusual)?;
                if level == OUTSIDE {
                    return if at == document.bytes().len() { Ok(()) } else { Err(Unusual) };
                }
            }
            if document.byte(at) != b',' {
                return Err(Unusual);
            }
            at = behind_white(document, at + 1);
            may_close = false;
        }
    }

    /// The next record, in which nothing was seen.
    #[inline(always)]
    fn begin(&mut self) {
        self.record = self.record.wrapping_add(1);
        if self.record == 0 {
            self.seen.fill(0);
            self.record = 1;
        }
    }

    /// Learns the names of the record that was passed on, from its tape.
    pub(super) fn learn(&mut self, tape: &[simd_json::Node<'_>], flattener: &Flattener) {
        if self.is_new && self.budget.pays() {
            self.fields.learn(tape, flattener);
            let columns = usize::from(self.fields.column_max()) + 1;
            self.seen.resize(columns.max(self.seen.len()), 0);
        }
    }
}

/// The position of the first byte from `at` on that is no white space.
#[inline(always)]
fn behind_white(document: Document<'_>, at: usize) -> usize {
    let mut at = at;
    loop {
        let byte = document.byte(at);
        // Mostly there is none.
        if byte > b' ' || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            return at;
        }
        at += 1;
    }
}

/// The position of the value behind a name's quote.
#[inline(always)]
fn behind_colon(document: Document<'_>, quote: usize) -> Option<usize> {
    let is_next = document.eight(quote) as u16 == u16::from_le_bytes(*b"\":");
    let colon = if is_next { quote + 1 } else { behind_white(document, quote + 1) };
    (is_next || document.byte(colon) == b':').then(|| behind_white(document, colon + 1))
}

#[cfg(test)]
mod tests;
