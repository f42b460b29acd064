//! Record batches as they were fetched: where each lies, whether it is whole, and whether its
//! records are to be read. Pure.
//!
//! ```text
//! bytes: │ batch │ control │ batch (aborted) │ batch │ cut off
//! spans:   ─────                               ─────             next: after the last whole one
//! ```
//!
//! An offset is passed when its batch was: control batches, aborted ones, and what compaction took
//! out of a batch move `next` as records do, so that no end is waited for that never comes.

use std::collections::BTreeSet;

pub use crate::unpack::Codec;
use crate::unpack::Fail;

/// Bytes of a batch before its records.
pub const HEAD_BYTES: usize = 61;
/// Of these, up to where `batch_length` counts from.
const LENGTH_END: usize = 12;
/// The shortest thing that says its own magic: a message of the old format has as many bytes.
const MAGIC_END: usize = 17;
/// The checksum is over what follows it.
const CRC_END: usize = 21;

/// One batch whose records are to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// Where its records begin and end in the fetched bytes.
    pub start: usize,
    /// See `start`.
    pub end: usize,
    /// How they are compressed.
    pub codec: Codec,
    /// What offsets of records count from.
    pub base_offset: i64,
    /// The last offset that it may have.
    pub last_offset: i64,
    /// What timestamps of records count from, milliseconds since 1970.
    pub base_timestamp: i64,
    /// The broker's timestamp, if it stands for those of the records.
    pub append_timestamp: Option<i64>,
    /// How many records it says to have.
    pub records: usize,
}

/// Why a batch cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Flaw {
    /// It is of the format before Kafka 0.11.
    Old,
    /// Its checksum is another.
    Checksum,
    /// Something in it makes no sense: what.
    Broken(&'static str),
    /// It unpacks to more than is allowed.
    TooLarge,
}

impl From<Fail> for Flaw {
    fn from(fail: Fail) -> Flaw {
        match fail {
            Fail::Broken(codec) => Flaw::Broken(codec),
            Fail::TooLarge => Flaw::TooLarge,
        }
    }
}

/// What fetched bytes hold.
#[derive(PartialEq, Eq, Debug)]
pub struct Vetted {
    /// The batches to be read, in order.
    pub spans: Vec<Span>,
    /// From where to fetch next.
    pub next: i64,
    /// The leadership under which the last whole batch was written.
    pub epoch: i32,
    /// What the next batch takes in all, where it was cut off.
    pub cut: Option<usize>,
    /// What stands at `next` cannot be read.
    pub flaw: Option<Flaw>,
}

/// How to look at batches.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The offset that was asked for.
    pub from: i64,
    /// The leadership of the last batch before these.
    pub epoch: i32,
    /// Aborted transactions: producer and first offset, by ascending offset.
    pub aborted: &'a [(i64, i64)],
    /// Whether records of aborted transactions are left out.
    pub committed: bool,
    /// Whether checksums are compared.
    pub check_crc: bool,
}

/// Looks at every batch in `bytes`.
pub fn vet(bytes: &[u8], rules: Rules<'_>) -> Vetted {
    let Rules { from, epoch, .. } = rules;
    let mut vetted = Vetted { spans: Vec::new(), next: from, epoch, cut: None, flaw: None };
    let mut aborts = Aborts { waiting: rules.aborted, producers: BTreeSet::new() };
    let mut at = 0;
    while bytes.len() - at >= MAGIC_END {
        let rest = &bytes[at..];
        let length = match length(rest) {
            Ok(length) => length,
            Err(flaw) => {
                vetted.flaw = Some(flaw);
                return vetted;
            }
        };
        if length > rest.len() {
            vetted.cut = Some(length);
            return vetted;
        }
        let batch = match Batch::read(&rest[..length], at, rules.check_crc) {
            Ok(batch) => batch,
            Err(flaw) => {
                vetted.flaw = Some(flaw);
                return vetted;
            }
        };
        at += length;
        // A fetch from the middle of a batch brings the whole of it; what lies before is over.
        if batch.span.last_offset < vetted.next {
            if rules.committed {
                aborts.hides(&batch);
            }
            continue;
        }
        let hidden = rules.committed && aborts.hides(&batch);
        if !hidden && !batch.is_control && batch.span.records > 0 {
            vetted.spans.push(batch.span);
        }
        vetted.next = batch.span.last_offset + 1;
        vetted.epoch = batch.epoch;
    }
    // Not even the head of a batch: it is asked for whole.
    if at < bytes.len() {
        vetted.cut = Some(HEAD_BYTES);
    }
    vetted
}

/// What a batch takes in all. Its first bytes are there, up to the magic.
fn length(batch: &[u8]) -> Result<usize, Flaw> {
    if batch[MAGIC_END - 1] < 2 {
        return Err(Flaw::Old);
    }
    if batch[MAGIC_END - 1] > 2 {
        return Err(Flaw::Broken("magic"));
    }
    let length = usize::try_from(i32_at(batch, 8)).unwrap_or(0) + LENGTH_END;
    if length < HEAD_BYTES { Err(Flaw::Broken("batch_length")) } else { Ok(length) }
}

struct Batch<'a> {
    span: Span,
    epoch: i32,
    producer: i64,
    is_transactional: bool,
    is_control: bool,
    records: &'a [u8],
}

impl<'a> Batch<'a> {
    /// A whole batch that begins at `at` of the fetched bytes.
    fn read(batch: &'a [u8], at: usize, check_crc: bool) -> Result<Batch<'a>, Flaw> {
        if check_crc && crc32c::crc32c(&batch[CRC_END..]) != i32_at(batch, 17) as u32 {
            return Err(Flaw::Checksum);
        }
        let attributes = i16::from_be_bytes([batch[21], batch[22]]);
        let codec = match attributes & 7 {
            0 => Codec::None,
            1 => Codec::Gzip,
            2 => Codec::Snappy,
            3 => Codec::Lz4,
            4 => Codec::Zstd,
            _ => return Err(Flaw::Broken("compression")),
        };
        let (base_offset, delta) = (i64_at(batch, 0), i32_at(batch, 23));
        let last_offset = base_offset.checked_add(i64::from(delta));
        // The offset after the last must be a number as well.
        let last_offset =
            last_offset.filter(|last| base_offset >= 0 && delta >= 0 && *last < i64::MAX);
        let last_offset = last_offset.ok_or(Flaw::Broken("last_offset_delta"))?;
        let count = i32_at(batch, 57);
        let records = usize::try_from(count).map_err(|_| Flaw::Broken("records_count"))?;
        // No record shares its offset with another.
        if i64::from(count) > i64::from(delta) + 1 {
            return Err(Flaw::Broken("records_count"));
        }
        let has_append_time = attributes & 8 != 0;
        Ok(Batch {
            span: Span {
                start: at + HEAD_BYTES,
                end: at + batch.len(),
                codec,
                base_offset,
                last_offset,
                base_timestamp: i64_at(batch, 27),
                append_timestamp: has_append_time.then(|| i64_at(batch, 35)),
                records,
            },
            epoch: i32_at(batch, 12),
            producer: i64_at(batch, 43),
            is_transactional: attributes & 16 != 0,
            is_control: attributes & 32 != 0,
            records: &batch[HEAD_BYTES..],
        })
    }

    /// Whether it is the mark that ends a transaction which was aborted. Its one record has a key
    /// of two numbers, of two bytes each: version and type; 0 is an abort.
    fn is_abort(&self) -> bool {
        let mut at = 0;
        let record = super::record::next(self.records, &mut at);
        let key = record.ok().and_then(|record| record.key);
        self.is_control && key.is_some_and(|key| key.len() >= 4 && key[2..4] == [0, 0])
    }
}

/// Which producers' records are of an aborted transaction, at a place in the log.
struct Aborts<'a> {
    waiting: &'a [(i64, i64)],
    producers: BTreeSet<i64>,
}

impl Aborts<'_> {
    /// Whether a batch's records were aborted. Asked once of every batch, in order.
    fn hides(&mut self, batch: &Batch<'_>) -> bool {
        if batch.producer < 0 {
            return false;
        }
        while let Some(((producer, first), rest)) = self.waiting.split_first()
            && *first <= batch.span.last_offset
        {
            self.producers.insert(*producer);
            self.waiting = rest;
        }
        if batch.is_abort() {
            self.producers.remove(&batch.producer);
        }
        batch.is_transactional && self.producers.contains(&batch.producer)
    }
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
