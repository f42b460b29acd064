//! Records of a batch with other values, for formats that unwrap what others read. Borrowed from
//! both, the batch and the values, and gone before them.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use super::{EachHeader, Head, Owner, RawBytes, RecordBatch, Route, Way};
use crate::ticket::{Lost, Ticket};

/// Some records of a batch, in its order, with other values.
pub struct Rewrapped<'a> {
    /// Holds slices whose bytes live for `'a`; only lent out, never given away.
    batch: RecordBatch,
    /// The indices that its records have in the batch.
    sources: Vec<u32>,
    of: &'a RecordBatch,
    values: PhantomData<&'a [u8]>,
}

/// Memory of one that is over, for the next one.
#[derive(Default)]
pub struct Room {
    heads: Vec<Head>,
    sources: Vec<u32>,
}

// SAFETY: a room is empty: no slice is read through it.
unsafe impl Send for Room {}

/// Owns nothing; headers are asked for by the records' own batch.
struct Nobody;

impl Owner for Nobody {
    fn headers(&self, _: usize, _: EachHeader<'_>) {}
}

impl<'a> Rewrapped<'a> {
    /// None of this batch yet.
    pub fn of(of: &'a RecordBatch, room: Room) -> Rewrapped<'a> {
        let Room { heads, sources } = room;
        let batch = RecordBatch {
            partition: of.partition,
            source: of.source.clone(),
            // Nobody waits for it, and nobody hears that it is lost.
            ticket: Ticket::issue(0, Arc::new(Lost::default())),
            route: Route::Primary,
            way: Way::First,
            heads,
            bytes: 0,
            owner: Box::new(Nobody),
        };
        Rewrapped { batch, sources, of, values: PhantomData }
    }

    /// Adds the record at `index` of the batch, with this value.
    #[inline]
    pub fn push(&mut self, index: usize, value: Option<&'a [u8]>) {
        let head = Head { value: RawBytes::of(value), ..self.of.heads[index] };
        self.batch.bytes += head.key.len + head.value.len;
        self.batch.heads.push(head);
        self.sources.push(index as u32);
    }

    /// The index that a record has in the batch.
    #[inline]
    pub fn source(&self, index: u32) -> u32 {
        self.sources[index as usize]
    }

    /// Its memory, to be used again.
    pub fn into_room(self) -> Room {
        let (mut heads, mut sources) = (self.batch.heads, self.sources);
        heads.clear();
        sources.clear();
        Room { heads, sources }
    }
}

// The keys belong to `of`, and the values live for `'a`: both are borrowed for as long as this is,
// and what is read through it cannot outlive the borrow.
impl Deref for Rewrapped<'_> {
    type Target = RecordBatch;

    fn deref(&self) -> &RecordBatch {
        &self.batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::testing::batch;

    #[test]
    fn records_have_their_own_keys_and_other_values() {
        let pair = |key: &str| (Some(key.as_bytes().to_vec()), Some(b"old".to_vec()));
        let whole = batch(vec![pair("a"), pair("b"), pair("c")]);
        let values = b"xyz".to_vec();
        let mut room = Room::default();
        for _ in 0..2 {
            let mut some = Rewrapped::of(&whole, room);
            some.push(0, Some(&values[..2]));
            some.push(2, None);
            let told: Vec<_> = some.iter().map(|r| (r.offset, r.key, r.value)).collect();
            let expected = [(0, Some(&b"a"[..]), Some(&b"xy"[..])), (2, Some(&b"c"[..]), None)];
            assert_eq!(told, expected);
            assert_eq!((some.source(1), &*some.source.topic, some.bytes()), (2, "sensors", 4));
            room = some.into_room();
        }
    }
}
