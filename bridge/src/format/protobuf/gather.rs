//! The fields of a message in an order of ours, for all that has no slot in a plan: what becomes
//! JSON, and columns that only the data names. Fields may come in any order, in pieces and more
//! than once; so a message is gone through once, its fields are noted as positions, and these are
//! sorted. What was noted lies on a stack that is kept from record to record.

use std::ops::Range;

use super::model::{Field, Message};
use super::walk::{At, Walk};
use super::wire::{self, Bad, GROUP_END, LENGTH, Value};
use crate::schemas::proto::{Of, Scalar};

/// What stands behind a tag, by its place in the value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    /// By what pieces are sorted: the slot, or the field's order in its message.
    pub order: u16,
    /// The field's place in its message.
    pub field: u16,
    pub start: u32,
    pub end: u32,
}

/// Pieces of one field, by their places on the stack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pieces {
    pub from: usize,
    pub to: usize,
}

/// An entry of a map.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub key: Key,
    pub value: Pieces,
    /// Which one it is.
    number: u32,
    /// Another entry with this key comes behind it.
    replaced: bool,
}

/// The key of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Key {
    /// By its place in the value.
    Text(u32, u32),
    Bool(bool),
    I64(i64),
    U64(u64),
}

impl<'a> Walk<'a, '_> {
    /// The bytes of a piece.
    pub(super) fn part(&self, piece: &Piece) -> &'a [u8] {
        self.value.get(piece.start as usize..piece.end as usize).unwrap_or_default()
    }

    /// What is wrong with a piece.
    #[cold]
    pub(super) fn at_piece(&self, bad: Bad, piece: &Piece) -> At {
        At { byte: Some(piece.start as usize), ..At::from(bad) }
    }

    /// Notes the fields of a message whose pieces these are, in order; answers from where on. The
    /// caller takes them away again.
    pub(super) fn gather(&mut self, message: &Message, body: Pieces) -> Result<usize, At> {
        let base = self.scratch.pieces.len();
        let mut sorted = true;
        let mut last = 0;
        for at in body.from..body.to {
            let mut rest = self.part(&self.scratch.pieces[at]);
            while !rest.is_empty() {
                let before = rest;
                let piece = self.piece(message, &mut rest);
                let piece = piece.map_err(|bad| {
                    let byte = Some(self.offset(before) as usize);
                    At { byte, ..At::from(bad) }
                })?;
                if let Some(piece) = piece {
                    sorted &= piece.order >= last;
                    last = piece.order;
                    self.scratch.pieces.push(piece);
                }
            }
        }
        if !sorted {
            self.sort(base);
        }
        Ok(base)
    }

    /// Sorts what was noted from `base` on; pieces of one field stay in the order of the value.
    pub(super) fn sort(&mut self, base: usize) {
        self.scratch.pieces[base..].sort_unstable_by_key(|piece| (piece.order, piece.start));
    }

    /// The next field; `None` if nobody knows it.
    fn piece(&self, message: &Message, rest: &mut &'a [u8]) -> Result<Option<Piece>, Bad> {
        let (number, form) = wire::tag(rest)?;
        if form == GROUP_END {
            return Err(Bad::End(number));
        }
        let content = wire::content(rest, number, form)?;
        let Some(at) = message.field(number) else { return Ok(None) };
        let field = &message.fields[usize::from(at)];
        if !is_written_so(field, form) {
            return Err(Bad::Form(form));
        }
        let start = self.offset(content);
        let end = start + content.len() as u32;
        Ok(Some(Piece { order: field.order, field: at, start, end }))
    }

    /// The pieces of the field that begins at `from`, and where the next one begins. Of a `oneof`
    /// it is the member that came last, from where on no other one came.
    pub(super) fn next_field(&self, from: usize) -> (u16, Pieces, usize) {
        let pieces = &self.scratch.pieces[from..];
        let order = pieces[0].order;
        let count = pieces.iter().take_while(|piece| piece.order == order).count();
        let field = pieces[count - 1].field;
        let others = pieces[..count].iter().rposition(|piece| piece.field != field);
        let first = from + others.map_or(0, |at| at + 1);
        (field, Pieces { from: first, to: from + count }, from + count)
    }

    /// The value of a scalar: the last one counts. `None` if there is none.
    pub(super) fn last_scalar(
        &self,
        scalar: Scalar,
        pieces: Pieces,
    ) -> Result<Option<Value<'a>>, At> {
        let Some(piece) = self.scratch.pieces[pieces.from..pieces.to].last() else {
            return Ok(None);
        };
        let mut part = self.part(piece);
        wire::scalar(&mut part, scalar).map(Some).map_err(|bad| self.at_piece(bad, piece))
    }

    /// The same of an enum: its number.
    pub(super) fn last_enum(&self, pieces: Pieces) -> Result<Option<i32>, At> {
        let value = self.last_scalar(Scalar::Int32, pieces)?;
        Ok(value.map(|value| if let Value::I64(value) = value { value as i32 } else { 0 }))
    }

    /// Gives each number of a repeated field to `each`, however they are written.
    pub(super) fn each_number(
        &mut self,
        scalar: Scalar,
        pieces: Pieces,
        mut each: impl FnMut(&mut Self, Value<'a>) -> Result<(), At>,
    ) -> Result<(), At> {
        for at in pieces.from..pieces.to {
            let piece = self.scratch.pieces[at];
            let mut part = self.part(&piece);
            // One number behind its tag has a byte at least; side by side there may be none.
            while !part.is_empty() {
                let value = wire::scalar(&mut part, scalar);
                let value = value.map_err(|bad| self.at_piece(bad, &piece))?;
                each(self, value)?;
            }
        }
        Ok(())
    }

    /// Notes the entries of a map, in order, and of several with one key the last one. Answers
    /// where they are on their stack; the caller takes them and their pieces away again.
    pub(super) fn entries(&mut self, entry: &Message, pieces: Pieces) -> Result<Range<usize>, At> {
        let base = self.scratch.entries.len();
        for at in pieces.from..pieces.to {
            let piece = self.scratch.pieces[at];
            let from = self.gather(entry, Pieces { from: at, to: at + 1 })?;
            let end = self.scratch.pieces.len();
            let noted = &self.scratch.pieces[from..];
            let keys = noted.iter().take_while(|piece| piece.order == 0).count();
            let key = self.key(&entry.fields[0], Pieces { from, to: from + keys }, &piece)?;
            let value = Pieces { from: from + keys, to: end };
            let number = (self.scratch.entries.len() - base) as u32;
            self.scratch.entries.push(Entry { key, value, number, replaced: false });
        }
        let (value, entries) = (self.value, &mut self.scratch.entries[base..]);
        if entries.len() > 1 {
            entries
                .sort_unstable_by(|a, b| order(value, a.key, b.key).then(a.number.cmp(&b.number)));
            for at in 1..entries.len() {
                let same = order(value, entries[at - 1].key, entries[at].key).is_eq();
                entries[at - 1].replaced = same;
            }
            entries.sort_unstable_by_key(|entry| entry.number);
            let mut number = 0;
            self.scratch.entries.retain(|entry| {
                number += 1;
                number <= base || !entry.replaced
            });
        }
        Ok(base..self.scratch.entries.len())
    }

    fn key(&self, field: &Field, pieces: Pieces, entry: &Piece) -> Result<Key, At> {
        let Of::Scalar(scalar) = field.of else {
            return Err(self.at_piece(Bad::Form(LENGTH), entry));
        };
        let value = self.last_scalar(scalar, pieces)?;
        Ok(match value.unwrap_or_else(|| self.plan.model.empty(scalar)) {
            Value::Text("") => Key::Text(0, 0),
            Value::Text(text) => {
                let start = self.offset(text.as_bytes());
                Key::Text(start, start + text.len() as u32)
            }
            Value::Bool(value) => Key::Bool(value),
            Value::U64(value) => Key::U64(value),
            Value::I64(value) => Key::I64(value),
            Value::F32(_) | Value::F64(_) | Value::Bytes(_) => {
                return Err(self.at_piece(Bad::Form(LENGTH), entry));
            }
        })
    }

    /// The text of a key.
    pub(super) fn text_of(&self, start: u32, end: u32) -> &'a str {
        let bytes = self.value.get(start as usize..end as usize).unwrap_or_default();
        // It was read as text before.
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

/// Keys of one map are of one kind.
fn order(value: &[u8], a: Key, b: Key) -> std::cmp::Ordering {
    let text = |start: u32, end: u32| value.get(start as usize..end as usize).unwrap_or_default();
    match (a, b) {
        (Key::Text(a, to), Key::Text(b, end)) => text(a, to).cmp(text(b, end)),
        (Key::Bool(a), Key::Bool(b)) => a.cmp(&b),
        (Key::I64(a), Key::I64(b)) => a.cmp(&b),
        (Key::U64(a), Key::U64(b)) => a.cmp(&b),
        // A number that is not there is 0, whatever its type.
        (Key::I64(a), Key::U64(b)) => i128::from(a).cmp(&i128::from(b)),
        (Key::U64(a), Key::I64(b)) => i128::from(a).cmp(&i128::from(b)),
        _ => std::cmp::Ordering::Equal,
    }
}

/// Whether a field may be written in a form.
fn is_written_so(field: &Field, form: u8) -> bool {
    use super::model::Rule;
    match field.of {
        Of::Scalar(scalar) => {
            let own = wire::form_of(scalar);
            form == own || (form == LENGTH && field.rule == Rule::Repeated && own != LENGTH)
        }
        Of::Enum(_) => form == wire::VARINT || (form == LENGTH && field.rule == Rule::Repeated),
        Of::Message(_) => form == LENGTH,
        Of::Group(_) => form == wire::GROUP,
    }
}
