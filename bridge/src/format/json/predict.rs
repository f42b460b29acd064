//! Records of a stream resemble one another: what stands between their values is nearly always
//! what stood there before. The predictor compares those bytes instead of parsing them, and reads
//! the values between them (`plain`). Whatever is unlike that is no error but another's work
//! (`scan`, then the parser that knows all of JSON), from which the predictor learns.
//!
//! ```text
//! {"ts":17000,"site":"berlin"}
//! └────┤     ├───────┤       └─ compared with the paths of the trie
//!      └─────┘       └──────┘   read into cells
//! ```
//!
//! Why its cells are those of the tape: a path was taken from a document that was found valid, its
//! columns from the cells that came of it. Replacing values by values keeps a
//! document valid, and its depth and its names as they are; a value is one wherever it stands.

use bridge_abi::Cell;

use super::budget::Budget;
use super::trie::Trie;
use super::{end_of_string, plain};
use crate::batch::RowBatch;
use crate::format::document::Document;

/// Reads records that resemble earlier ones.
#[derive(Default)]
pub(super) struct Predictor {
    trie: Trie,
    budget: Budget,
    /// Where a record's literals begin and end; kept for its room.
    literals: Vec<(usize, usize)>,
}

impl Predictor {
    /// Appends the document's cells if it is as predicted, else nothing.
    #[inline]
    pub(super) fn read(&mut self, document: &[u8], rows: &mut RowBatch) -> bool {
        if self.budget.tries() {
            let marks = (rows.cells.len(), rows.arena.len());
            if self.follow(Document::new(document), rows).is_some() {
                self.budget.hit();
                return true;
            }
            rows.cells.truncate(marks.0);
            rows.arena.truncate(marks.1);
        }
        self.budget.miss();
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
            let value = at + node.len as usize;
            let word = document.eight(value);
            let (cell, end) = plain::value(document, value, word, node.column, rows)?;
            rows.cells.push(cell);
            at = end;
            place = node.next;
        }
    }

    /// Learns from a document that another has read, and from the cells it became.
    pub(super) fn learn(&mut self, document: &[u8], cells: &[Cell]) {
        if !self.budget.pays() {
            return;
        }
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
pub(super) mod tests;
