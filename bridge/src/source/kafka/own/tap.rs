//! Records out of what was fetched: unpacked where they are compressed, otherwise where they lie.
//! The intake's side of a feed.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rdkafka::error::RDKafkaErrorCode;

use super::feed::{Chunk, Feed, Item};
use super::shared::Shared;
use super::store::Block;
use crate::batch::{EachHeader, Owner, Record, Records, Taken};
use crate::kafka::progress::Point;
use crate::kafka::wire::codes;
use crate::kafka::wire::metadata::TopicId;
use crate::kafka::wire::record::{self, RECORD_BYTES_MIN};
use crate::kafka::wire::vet::{Codec, Flaw, Span};
use crate::source::kafka::fetch::Misfortune;
use crate::unpack::{Target, Unpacker};

/// Why there are no records.
#[derive(Debug)]
pub enum Trouble {
    /// As the library would say it.
    Said(Misfortune),
    /// What we do not know how to read: why. The library may.
    Foreign(String),
}

impl Trouble {
    /// In the library's own words.
    pub fn code(code: RDKafkaErrorCode) -> Trouble {
        Trouble::said(code, &code)
    }

    /// Kafka's number of what went wrong.
    pub fn number(code: i16) -> Trouble {
        match code {
            codes::UNKNOWN_TOPIC_OR_PARTITION => {
                Trouble::code(RDKafkaErrorCode::UnknownTopicOrPartition)
            }
            _ => Trouble::said(RDKafkaErrorCode::Unknown, &format!("the broker's error {code}")),
        }
    }

    /// A code of the library, in our words.
    pub fn said(code: RDKafkaErrorCode, words: &dyn Display) -> Trouble {
        Trouble::Said(Misfortune { code, words: words.to_string(), offset: -1 })
    }

    /// Whether the place that was read is gone: perhaps it is another log.
    pub fn is_lost_place(&self) -> bool {
        matches!(self, Trouble::Said(said) if said.code == RDKafkaErrorCode::OffsetOutOfRange)
    }

    /// What a batch that cannot be read comes to.
    pub fn of(flaw: &Flaw) -> Trouble {
        use RDKafkaErrorCode as Code;
        match flaw {
            Flaw::Old => Trouble::Foreign("records of the format before Kafka 0.11".to_owned()),
            Flaw::Checksum => Trouble::said(Code::BadMessage, &"a batch with a wrong checksum"),
            Flaw::Broken(what) => {
                Trouble::said(Code::BadMessage, &format!("a batch that is broken ({what})"))
            }
            Flaw::TooLarge => Trouble::said(
                Code::MessageSizeTooLarge,
                &"a compressed batch that unpacks to more than is allowed",
            ),
        }
    }
}

/// Where a partition's records are taken from.
pub struct Tap {
    pub(super) feed: Arc<Feed>,
    shared: Arc<Shared>,
    /// Records before it are passed over: batches are fetched whole.
    from: i64,
    chunk: Option<Chunk>,
    /// What the feed held behind its last chunk.
    trouble: Option<Trouble>,
    open: VecDeque<Open>,
}

/// A batch whose records lie open.
struct Open {
    block: Arc<Block>,
    at: usize,
    end: usize,
    span: Span,
    /// Records that were not read yet.
    left: usize,
    /// Whether one was handed out: offsets only rise from then on.
    begun: bool,
}

impl Tap {
    /// Nothing is read before it is started.
    pub fn new(feed: Arc<Feed>, shared: &Arc<Shared>) -> Tap {
        let shared = Arc::clone(shared);
        Tap { feed, shared, from: 0, chunk: None, trouble: None, open: VecDeque::new() }
    }

    /// Reads a partition that was given to us. `topic` is the number of the topic that `offset` is
    /// of, if it is known.
    pub fn begin(&mut self, offset: i64, topic: Option<TopicId>) {
        self.clear();
        self.from = offset;
        self.feed.begin(offset, topic);
        self.shared.wake();
    }

    /// Reads from `offset`; what was fetched before is thrown away.
    pub fn start(&mut self, offset: i64) {
        self.clear();
        self.from = offset;
        self.feed.start(offset);
        self.shared.wake();
    }

    /// Reads no more.
    pub fn stop(&mut self) {
        self.clear();
        self.feed.stop();
    }

    fn clear(&mut self) {
        self.chunk = None;
        self.trouble = None;
        self.open.clear();
    }

    /// The offset up to which the log was read, once all records before it were taken.
    pub fn read_to(&self) -> Option<i64> {
        let is_empty = self.chunk.is_none() && self.trouble.is_none() && self.open.is_empty();
        if is_empty { self.feed.read_to() } else { None }
    }

    /// An offset of what was read; `None` while it may be another log.
    pub fn point(&self, next: i64) -> Option<Point> {
        self.feed.point(next)
    }

    /// Whether it holds the news that the place that was read is gone.
    pub fn has_lost_place(&self) -> bool {
        self.trouble.as_ref().is_some_and(Trouble::is_lost_place) || self.feed.has_lost_place()
    }

    /// The number of its topic by now, if that is another one than was read.
    pub fn another(&self) -> Option<TopicId> {
        self.feed.another()
    }

    /// The end of the log as the last fetch told it.
    pub fn end(&self) -> Option<i64> {
        self.feed.end()
    }

    /// Takes up to `room` records that are there. Never waits for any.
    pub fn take(
        &mut self,
        room: usize,
        unpacker: &mut Unpacker,
        at_trouble: &mut dyn FnMut(Trouble),
    ) -> Option<Taken> {
        let ready = self.open_up(room, unpacker);
        let mut records = Records::with_capacity(ready.min(room));
        let mut lent = Lent { blocks: Vec::with_capacity(self.open.len()), headers: Vec::new() };
        let mut failed = None;
        while records.len() < room
            && failed.is_none()
            && let Some(open) = self.open.front_mut()
        {
            failed = open.read(room, &mut self.from, &mut records, &mut lent).err();
            if open.left == 0 {
                self.open.pop_front();
            }
        }
        if let Some(flaw) = failed {
            self.stop();
            at_trouble(Trouble::of(&flaw));
        } else if self.open.is_empty()
            && self.chunk.is_none()
            && let Some(trouble) = self.trouble.take()
        {
            at_trouble(trouble);
        }
        (!records.is_empty()).then(|| records.owned_by(Box::new(lent)))
    }

    /// Has `room` records open, if so many are there; how many there are, at most.
    fn open_up(&mut self, room: usize, unpacker: &mut Unpacker) -> usize {
        let mut ready: usize = self.open.iter().map(|open| open.left).sum();
        while ready < room && self.trouble.is_none() {
            let Some(chunk) = &mut self.chunk else {
                match self.feed.pop() {
                    Some(Item::Chunk(chunk)) => self.chunk = Some(chunk),
                    Some(Item::Trouble(trouble)) => self.trouble = Some(trouble),
                    None => break,
                }
                continue;
            };
            match chunk.spans.as_slice().first() {
                None => self.chunk = None,
                Some(span) if span.codec == Codec::None => {
                    let span = chunk.spans.next().expect("it is the first");
                    let block = Arc::clone(&chunk.block);
                    match Open::new(block, span.start, span.end, span) {
                        Ok(open) => {
                            ready += open.left;
                            self.open.push_back(open);
                        }
                        Err(flaw) => self.fail(&flaw),
                    }
                }
                Some(_) => match self.unpack(room - ready, unpacker) {
                    Ok(0) => break,
                    Ok(more) => ready += more,
                    Err(flaw) => self.fail(&flaw),
                },
            }
        }
        ready
    }

    /// What comes behind the records that are open cannot be read.
    fn fail(&mut self, flaw: &Flaw) {
        self.chunk = None;
        self.feed.stop();
        self.trouble = Some(Trouble::of(flaw));
    }

    /// Unpacks batches into one block, until there are `room` records; how many there are. None,
    /// if too much is lent that was unpacked before.
    fn unpack(&mut self, room: usize, unpacker: &mut Unpacker) -> Result<usize, Flaw> {
        let (terms, store) = (&self.shared.terms, &self.shared.store);
        let bytes_max = terms.share_bytes.min(store.block_bytes());
        let held = self.feed.unpacked.load(Ordering::Acquire);
        if held > 0 && held + bytes_max > terms.share_bytes {
            return Ok(0);
        }
        let chunk = self.chunk.as_mut().expect("there is one to unpack");
        let mut memory = store.memory(store.block_bytes());
        let (mut len, mut ready, mut places) = (0, 0, Vec::new());
        let mut failed = None;
        while ready < room
            && len < bytes_max
            && let Some(span) = chunk.spans.as_slice().first().copied()
            && span.codec != Codec::None
        {
            let packed = &chunk.block.bytes()[span.start..span.end];
            let mut target =
                Target { bytes: &mut memory, len, bytes_max: terms.unpacked_bytes_max };
            if let Err(fail) = unpacker.unpack(span.codec, packed, &mut target) {
                failed = Some(fail.into());
                break;
            }
            let start = std::mem::replace(&mut len, target.len);
            places.push((start, len, span));
            ready += span.records;
            chunk.spans.next();
        }
        // What came before the one that failed is handed out first.
        if let Some(flaw) = failed.filter(|_| places.is_empty()) {
            store.give_back(memory);
            return Err(flaw);
        }
        let block = store.block(memory, len, &self.feed.unpacked);
        for (start, end, span) in places {
            self.open.push_back(Open::new(Arc::clone(&block), start, end, span)?);
        }
        Ok(ready)
    }
}

impl Open {
    fn new(block: Arc<Block>, at: usize, end: usize, span: Span) -> Result<Open, Flaw> {
        // A count is a claim: so many records need so many bytes.
        if span.records > (end - at) / RECORD_BYTES_MIN {
            return Err(Flaw::Broken("records_count"));
        }
        Ok(Open { block, at, end, span, left: span.records, begun: false })
    }

    /// Reads records until there are `room`, or this has no more.
    fn read(
        &mut self,
        room: usize,
        from: &mut i64,
        records: &mut Records,
        lent: &mut Lent,
    ) -> Result<(), Flaw> {
        let bytes = &self.block.bytes()[..self.end];
        // First of all, for records that are pushed are handed out even if one behind them fails.
        lent.blocks.push(Arc::clone(&self.block));
        while self.left > 0 && records.len() < room {
            let raw = record::next(bytes, &mut self.at)?;
            self.left -= 1;
            let offset = self.span.base_offset + i64::from(raw.offset_delta);
            let is_within = raw.offset_delta >= 0 && offset <= self.span.last_offset;
            if !is_within || (self.begun && offset < *from) {
                return Err(Flaw::Broken("offset of a record"));
            }
            if offset < *from {
                continue;
            }
            self.begun = true;
            *from = offset + 1;
            let created = self.span.base_timestamp.wrapping_add(raw.timestamp_delta);
            let timestamp_ms = self.span.append_timestamp.unwrap_or(created);
            if !raw.headers.is_empty() {
                let start = raw.headers.as_ptr().addr() - bytes.as_ptr().addr();
                lent.headers.push(Headers {
                    record: records.len() as u32,
                    block: lent.blocks.len() as u32 - 1,
                    start,
                    end: start + raw.headers.len(),
                });
            }
            // SAFETY: key and value lie in the block, whose bytes neither move nor change while
            // it lives; `lent`, the owner of these records, got a share of it above.
            unsafe {
                records.push(Record { offset, timestamp_ms, key: raw.key, value: raw.value });
            }
        }
        let is_over = self.left == 0;
        if is_over && self.at != self.end { Err(Flaw::Broken("records_count")) } else { Ok(()) }
    }
}

/// Keeps the bytes of a batch alive.
struct Lent {
    /// In the order of the records.
    blocks: Vec<Arc<Block>>,
    /// Of the records that have any, in order.
    headers: Vec<Headers>,
}

/// Where a record's headers lie.
struct Headers {
    record: u32,
    block: u32,
    start: usize,
    end: usize,
}

impl Owner for Lent {
    fn headers(&self, index: usize, each: EachHeader<'_>) {
        let found = self.headers.binary_search_by_key(&(index as u32), |headers| headers.record);
        if let Ok(found) = found {
            let Headers { block, start, end, .. } = self.headers[found];
            record::headers(&self.blocks[block as usize].bytes()[start..end], each);
        }
    }
}
