//! The things that walk the ring: records as they are lent by a source, rows as a lane works on
//! them, payloads as a courier stores them. None is `Clone`: a batch has one owner at any moment.
//!
//! ```text
//! source ──RecordBatch──▶ lane [RowBatch] ──Payload──▶ courier ──Receipt──▶ intake
//! ```

mod origin;
mod rewrapped;
#[cfg(test)]
pub mod testing;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bridge_abi::{Cell, Kind};

pub use self::origin::Origin;
pub use self::rewrapped::{Rewrapped, Room};
use crate::limits::{LINE_BYTES, RECORD_BYTES};
use crate::reject::Reason;
use crate::ticket::{Share, Ticket};

/// A partition of a pipeline: an index into its table of (topic, partition number).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PartitionIndex(pub u32);

/// A partition as Kafka names it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number in its topic.
    pub partition: i32,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// Visits one header after the other: name (bytes, for Kafka promises no UTF-8) and value.
pub type EachHeader<'a> = &'a mut dyn FnMut(&[u8], Option<&[u8]>);

/// Whatever keeps the bytes of a batch alive: the client library's messages, or a vector.
pub trait Owner: Send {
    /// Walks the headers of the record at `index` of the batch. Only asked where headers are
    /// wanted, for libraries parse them late.
    fn headers(&self, index: usize, each: EachHeader<'_>);
}

/// Where one record's bytes lie. Valid for as long as the batch's [`Owner`] lives.
#[derive(Clone, Copy)]
struct Head {
    offset: i64,
    timestamp_ms: i64,
    key: RawBytes,
    value: RawBytes,
}

/// A slice whose lifetime the batch vouches for; `at` is null for a null key or value.
#[derive(Clone, Copy)]
struct RawBytes {
    at: *const u8,
    len: usize,
}

impl RawBytes {
    fn of(bytes: Option<&[u8]>) -> RawBytes {
        match bytes {
            Some(bytes) => RawBytes { at: bytes.as_ptr(), len: bytes.len() },
            None => RawBytes { at: std::ptr::null(), len: 0 },
        }
    }

    /// # Safety
    /// The bytes that [`RawBytes::of`] saw are alive and unchanged for `'a`.
    unsafe fn get<'a>(self) -> Option<&'a [u8]> {
        if self.at.is_null() {
            return None;
        }
        // SAFETY: by the caller's promise; `at` and `len` were taken from one slice.
        Some(unsafe { std::slice::from_raw_parts(self.at, self.len) })
    }
}

/// One record, lent.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its offset in its partition.
    pub offset: i64,
    /// Kafka's timestamp (create or append time), milliseconds since 1970; -1 where there is none.
    pub timestamp_ms: i64,
    /// `None` is a null key.
    pub key: Option<&'a [u8]>,
    /// `None` is a null value (a tombstone).
    pub value: Option<&'a [u8]>,
}

/// Consecutive records of one partition, uncopied, and the ticket that answers for their offsets.
pub struct RecordBatch {
    /// Where the records come from.
    pub partition: PartitionIndex,
    /// The same by name.
    pub source: TopicPartition,
    /// Answers for the offsets of all records of the batch.
    pub ticket: Ticket,
    /// By which way its rows are to be stored.
    pub route: Route,
    /// In which sink.
    pub way: Way,
    heads: Vec<Head>,
    bytes: usize,
    owner: Box<dyn Owner>,
}

// SAFETY: the raw slices in `heads` point into what `owner` owns, which is `Send` and moves
// along; nothing else refers to them.
unsafe impl Send for RecordBatch {}

/// Collects the records of one batch before it has a ticket.
pub struct Records {
    heads: Vec<Head>,
    bytes: usize,
}

impl Records {
    /// Room for `capacity` records.
    pub fn with_capacity(capacity: usize) -> Records {
        Records { heads: Vec::with_capacity(capacity), bytes: 0 }
    }

    /// Adds a record.
    ///
    /// # Safety
    /// Key and value stay alive, unmoved and unchanged for as long as the owner that is later
    /// given to [`Records::owned_by`].
    pub unsafe fn push(&mut self, record: Record<'_>) {
        self.bytes += record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        self.heads.push(Head {
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: RawBytes::of(record.key),
            value: RawBytes::of(record.value),
        });
    }

    /// How many records were pushed.
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Whether none was pushed.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// The records together with what keeps their bytes alive.
    pub fn owned_by(self, owner: Box<dyn Owner>) -> Taken {
        Taken { heads: self.heads, bytes: self.bytes, owner, origin: None }
    }
}

/// Records as a source hands them over: alive, but nobody answers for them yet.
pub struct Taken {
    heads: Vec<Head>,
    bytes: usize,
    owner: Box<dyn Owner>,
    origin: Option<Origin>,
}

impl Taken {
    /// How many records there are.
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the records take while they are lent, with the client library's share.
    pub fn held_bytes(&self) -> usize {
        self.bytes + self.heads.len() * RECORD_BYTES
    }

    /// Offset of the first record and the offset after the last, in the log that was read; `None`
    /// if nothing was.
    pub fn span(&self) -> Option<(i64, i64)> {
        if let Some(origin) = &self.origin {
            return Some(origin.span);
        }
        Some((self.heads.first()?.offset, self.heads.last()?.offset + 1))
    }

    /// Kafka's timestamps of the first and the last record, milliseconds since 1970; -1 where a
    /// record has none.
    pub fn timestamps_ms(&self) -> (i64, i64) {
        let of = |head: Option<&Head>| head.map_or(-1, |head| head.timestamp_ms);
        (of(self.heads.first()), of(self.heads.last()))
    }

    /// Leaves out the records from offset `end` on.
    pub fn cut(&mut self, end: i64) {
        let kept = self.heads.partition_point(|head| head.offset < end);
        // SAFETY: the bytes belong to `self.owner` by the promise made to `Records::push`.
        let len = |head: &Head| unsafe {
            head.key.get().map_or(0, <[u8]>::len) + head.value.get().map_or(0, <[u8]>::len)
        };
        self.bytes -= self.heads[kept..].iter().map(len).sum::<usize>();
        self.heads.truncate(kept);
    }

    /// A batch of them, once the ledger has issued a ticket; for the first sink.
    pub fn into_batch(
        self,
        partition: PartitionIndex,
        source: TopicPartition,
        ticket: Ticket,
        route: Route,
    ) -> RecordBatch {
        let (partition, source, route) = match self.origin {
            Some(origin) => origin.instead(),
            None => (partition, source, route),
        };
        RecordBatch {
            partition,
            source,
            ticket,
            route,
            way: Way::First,
            heads: self.heads,
            bytes: self.bytes,
            owner: self.owner,
        }
    }
}

impl RecordBatch {
    /// How many records there are.
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the records take while they are lent, with the client library's share.
    pub fn held_bytes(&self) -> usize {
        self.bytes + self.heads.len() * RECORD_BYTES
    }

    /// The record at `index`.
    #[inline]
    pub fn get(&self, index: usize) -> Record<'_> {
        let head = &self.heads[index];
        // SAFETY: the bytes belong to `self.owner` by the promise made to `Records::push`, and
        // the result cannot outlive the borrow of `self`.
        let (key, value) = unsafe { (head.key.get(), head.value.get()) };
        Record { offset: head.offset, timestamp_ms: head.timestamp_ms, key, value }
    }

    /// All records in order.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Walks the headers of the record at `index`.
    pub fn headers(&self, index: usize, each: EachHeader<'_>) {
        self.owner.headers(index, each);
    }

    /// Gives back the ticket; the bytes are released.
    pub fn into_ticket(self) -> Ticket {
        self.ticket
    }
}

/// By which way rows are stored: the sink's own, or the one that proves what the first could not
/// (line protocol over TCP is replayed over HTTP).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Route {
    /// As configured.
    #[default]
    Primary,
    /// By the way whose answers are proof.
    Proof,
}

/// To which of a pipeline's sinks rows go: its own, or its fallback. All batches that are under
/// way at one time go the same way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Way {
    /// `[pipeline.NAME.sink]`
    #[default]
    First,
    /// `[pipeline.NAME.fallback]`
    Second,
}

impl Way {
    /// The other one.
    pub fn other(self) -> Way {
        match self {
            Way::First => Way::Second,
            Way::Second => Way::First,
        }
    }

    /// Its place in a list of both.
    pub fn index(self) -> usize {
        self as usize
    }
}

/// One row: a run of cells, and the record that it was made from.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Index of its record in the record batch.
    pub source: u32,
    /// Its number among the rows of its record, from 0.
    pub number: u32,
    /// Index of its first cell.
    pub cells: u32,
    /// How many cells it has.
    pub cell_count: u16,
    /// A table chosen by a transform (interned), or 0: the shape decides.
    pub table: u16,
}

/// How many records have a row among these: rows come by ascending source.
pub fn sources(rows: &[Row]) -> u64 {
    rows.chunk_by(|a, b| a.source == b.source).count() as u64
}

/// A record that a transform made for a topic, as it is to stand there. Its bytes lie in the
/// arena of its batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Emitted {
    /// Index of the record that it was made from.
    pub source: u32,
    /// Its topic (interned).
    pub topic: u16,
    /// Its partition; `None`: by its key.
    pub partition: Option<i32>,
    /// Milliseconds since 1970; `None`: when it is written.
    pub timestamp_ms: Option<i64>,
    /// Its key; `None` is null.
    pub key: Option<Range<usize>>,
    /// Its value; `None` is null.
    pub value: Option<Range<usize>>,
    /// Its headers among those of the batch.
    pub headers: Range<usize>,
}

/// Flag of a text cell behind the transforms: it stays text, whatever its column is declared as.
pub const AS_TEXT: u8 = 1;

/// Name and value of an emitted record's header.
pub type EmittedHeader = (Range<usize>, Option<Range<usize>>);

/// Typed rows in flat buffers: rows are runs of cells, cells point into one arena. Cleared and
/// reused from batch to batch, so that nothing is allocated in steady state.
#[derive(Debug, Default)]
pub struct RowBatch {
    /// The rows, by ascending source.
    pub rows: Vec<Row>,
    /// The cells of all rows; those of one row lie together.
    pub cells: Vec<Cell>,
    /// Text, arrays and other bytes; `Cell::value` of a pointing kind is an offset into it.
    pub arena: Vec<u8>,
    /// Records for topics. By ascending source as far as one transform made them.
    pub emitted: Vec<Emitted>,
    /// The headers of all of these.
    pub headers: Vec<EmittedHeader>,
    /// How many bytes a transform may make of rows before it stops; `None`: however many.
    pub room: Option<usize>,
    /// Whether more rows of the same batch come after these.
    pub more: bool,
    /// Rows that a transform which stopped has not looked at, from the first of a record on.
    pub rest: Vec<Row>,
    /// Records whose rows delete the rows of their keys, besides those without a value. Whatever
    /// transforms make of such a record deletes as well.
    pub deleting: RecordSet,
}

/// Records of a batch, by their indexes: a bit for each. An empty set is asked at no cost.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RecordSet(Vec<u64>);

impl RecordSet {
    /// Adds a record.
    pub fn insert(&mut self, record: u32) {
        let word = record as usize / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (record % 64);
    }

    /// Whether a record is one of them.
    #[inline]
    pub fn has(&self, record: u32) -> bool {
        self.0.get(record as usize / 64).is_some_and(|word| word >> (record % 64) & 1 != 0)
    }

    /// Becomes the same as another, keeping its room.
    pub fn copy(&mut self, from: &RecordSet) {
        self.0.clone_from(&from.0);
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl RowBatch {
    /// Empties the batch and keeps its buffers.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.cells.clear();
        self.arena.clear();
        self.emitted.clear();
        self.headers.clear();
        self.rest.clear();
        self.deleting.clear();
        self.more = false;
    }

    /// What its rows, cells and bytes take, the records for topics among them.
    pub fn held_bytes(&self) -> usize {
        self.rows.len() * size_of::<Row>()
            + self.cells.len() * size_of::<Cell>()
            + self.arena.len()
            + self.emitted.len() * size_of::<Emitted>()
            + self.headers.len() * size_of::<EmittedHeader>()
    }

    /// The cells of a row.
    #[inline]
    pub fn cells_of(&self, row: &Row) -> &[Cell] {
        &self.cells[row.cells as usize..row.cells as usize + row.cell_count as usize]
    }

    /// The bytes that a pointing cell refers to.
    #[inline]
    pub fn bytes_of(&self, cell: &Cell) -> &[u8] {
        debug_assert!(Kind::from_u8(cell.kind).is_some_and(Kind::points));
        &self.arena[cell.value as usize..cell.value as usize + cell.len as usize]
    }

    /// The same of any cell: one that points to nothing refers to no bytes.
    #[inline]
    pub fn pointed(&self, cell: &Cell) -> &[u8] {
        if Kind::from_u8(cell.kind).is_some_and(Kind::points) { self.bytes_of(cell) } else { &[] }
    }

    /// Copies bytes into the arena and returns where they lie.
    pub fn own(&mut self, bytes: &[u8]) -> Range<usize> {
        let at = self.arena.len();
        self.arena.extend_from_slice(bytes);
        at..self.arena.len()
    }

    /// Copies bytes into the arena and returns a cell that points to them.
    #[inline]
    pub fn cell_bytes(&mut self, column: u16, kind: Kind, flags: u8, bytes: &[u8]) -> Cell {
        let at = self.arena.len();
        self.arena.extend_from_slice(bytes);
        Cell { column, kind: kind as u8, flags, len: bytes.len() as u32, value: at as u64 }
    }
}

/// One line of a payload: where it ends, and which row it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Offset of the record in its partition.
    pub offset: i64,
    /// The record's partition.
    pub partition: PartitionIndex,
    /// Number of the row among those of its record.
    pub row: u32,
    /// The encoder's number for its columns, where rows of several tables share a payload; where
    /// rows say themselves what they are, for what it held the table then.
    pub layout: u32,
    /// Position after the line's last byte in the payload.
    pub end: u32,
}

// Invariant: the bounds count what there is.
const _: () = assert!(size_of::<Line>() == LINE_BYTES);

/// The buffers of a payload; they come back for reuse when it is stored.
#[derive(Debug, Default)]
pub struct Buffers {
    /// Encoded rows.
    pub bytes: Vec<u8>,
    /// One entry for each row, in order.
    pub lines: Vec<Line>,
}

impl Buffers {
    /// What they hold: short rows have positions as large as themselves.
    #[inline]
    pub fn held_bytes(&self) -> usize {
        self.bytes.len() + self.lines.len() * LINE_BYTES
    }
}

/// One destination's encoded rows, and shares of the tickets that they serve.
#[derive(Debug)]
pub struct Payload {
    /// The table that all rows go to.
    pub table: Arc<str>,
    /// Rows as the sink speaks them, and which is which.
    pub buffers: Buffers,
    /// A share of the ticket of every batch that has a row in here.
    pub shares: Vec<Share>,
    /// By which way it is to be stored.
    pub route: Route,
    /// When its first row came.
    pub opened: Instant,
    /// Until when it may wait for more rows to be stored with.
    pub due: Instant,
    /// Smallest and largest designated timestamp in the table's own unit (see
    /// `unit_per_second`), for reading back.
    pub timestamps: (i64, i64),
    /// Which of its table's layouts its rows have; 0 where rows say themselves what they are.
    pub layout: u32,
}

/// How a payload ended.
#[derive(Debug)]
pub enum Verdict {
    /// All is stored. What the database refused by name was put aside, with a share of its own,
    /// by the courier before this was said.
    Stored,
    /// Not known to be stored, and the courier no longer holds it: read again from Kafka, and
    /// store by `route`.
    Rewind {
        /// By which way it is to be stored next time.
        route: Route,
    },
}

/// Comes home to the ledger for every payload (and for every batch that left no row).
#[derive(Debug)]
pub struct Receipt {
    /// The shares of the payload.
    pub shares: Vec<Share>,
    /// How it ended.
    pub verdict: Verdict,
    /// Rows in it, for the meters.
    pub rows: u64,
}

/// A record that the database refused by name, to be read again and put into the dead letters.
#[derive(Debug)]
pub struct Refusal {
    /// The record's partition.
    pub partition: PartitionIndex,
    /// Its offset.
    pub offset: i64,
    /// What the database said.
    pub reason: Reason,
    /// The same in its own words.
    pub detail: String,
}
