//! One partition between the thread that reads it from its broker and the thread that takes its
//! records: where to fetch next, who leads, and what was fetched.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use rdkafka::error::RDKafkaErrorCode;

use super::fit::Terms;
use super::store::{Block, Count};
use super::tap::Trouble;
use crate::batch::TopicPartition;
use crate::kafka::progress::Point;
use crate::kafka::wire::fetch::Wanted;
use crate::kafka::wire::metadata::TopicId;
use crate::kafka::wire::vet::{Span, Vetted};
use crate::source::wake::Bell;

/// Fetched bytes, and which of them are records to be read.
pub struct Chunk {
    /// The bytes.
    pub block: Arc<Block>,
    /// Where batches lie, in order.
    pub spans: std::vec::IntoIter<Span>,
}

/// What a feed holds.
pub enum Item {
    /// Records.
    Chunk(Chunk),
    /// Why there are none.
    Trouble(Trouble),
}

/// A question about a partition, and of which run of it.
pub struct Ask {
    /// The partition.
    pub feed: Arc<Feed>,
    /// A start or stop since makes the answer void.
    pub run: u64,
    /// What is asked.
    pub wanted: Wanted,
}

/// What there is to ask.
pub enum Turn {
    /// Nothing, or not of this broker, or not yet.
    Rest,
    /// There is no room for more.
    Full,
    /// This.
    Ask(u64, Wanted),
}

/// A partition that is read by ourselves.
pub struct Feed {
    /// Which.
    pub name: TopicPartition,
    /// Bytes as they came over the wire, held or lent.
    pub raw: Count,
    /// Bytes that were unpacked, held or lent.
    pub unpacked: Count,
    bell: Arc<Bell>,
    state: Mutex<State>,
}

struct State {
    run: u64,
    /// Whether it is to be read.
    reads: bool,
    next: i64,
    /// The leadership under which the last batch was written.
    epoch: i32,
    /// Broker and epoch.
    leader: Option<(i32, i32)>,
    /// The number of the topic that is read, or was.
    topic: Option<TopicId>,
    /// The number that was found in its place.
    another: Option<TopicId>,
    /// It cannot go on, perhaps because it is another log, and nobody has decided how.
    halted: bool,
    queue: VecDeque<Item>,
    high_watermark: Option<i64>,
    not_before: Instant,
    /// The batch at `next` takes so many bytes.
    batch_bytes: usize,
}

impl Feed {
    /// A partition that nobody reads yet.
    pub fn new(name: &TopicPartition, bell: &Arc<Bell>) -> Feed {
        Feed {
            name: name.clone(),
            raw: Count::default(),
            unpacked: Count::default(),
            bell: Arc::clone(bell),
            state: Mutex::new(State {
                run: 0,
                reads: false,
                next: 0,
                epoch: -1,
                leader: None,
                topic: None,
                another: None,
                halted: false,
                queue: VecDeque::new(),
                high_watermark: None,
                not_before: Instant::now(),
                batch_bytes: 0,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no one panics with it")
    }

    /// Reads a partition that was given to us. `topic` is the number of the topic that `offset` is
    /// of, if it is known. Who leads is asked again: with it comes the number that it has now.
    pub fn begin(&self, offset: i64, topic: Option<TopicId>) {
        let mut state = self.state();
        (state.topic, state.leader) = (topic, None);
        state.start(offset);
    }

    /// Reads from `offset`. What was fetched before is thrown away.
    pub fn start(&self, offset: i64) {
        let mut state = self.state();
        if state.halted {
            // Perhaps because it is not the topic any more that was read.
            (state.topic, state.leader) = (None, None);
        }
        state.start(offset);
    }

    /// Reads no more.
    pub fn stop(&self) {
        let mut state = self.state();
        state.run += 1;
        (state.reads, state.halted) = (false, false);
        state.queue.clear();
    }

    /// The next of what was fetched.
    pub fn pop(&self) -> Option<Item> {
        self.state().queue.pop_front()
    }

    /// The offset up to which the log was fetched, if nothing of it waits here.
    pub fn read_to(&self) -> Option<i64> {
        let state = self.state();
        (state.reads && state.queue.is_empty()).then_some(state.next)
    }

    /// The end of the log as the last answer told it.
    pub fn end(&self) -> Option<i64> {
        self.state().high_watermark
    }

    /// Whether it is read, and whether it is known who leads.
    pub fn wants_leader(&self) -> (bool, bool) {
        let state = self.state();
        (state.reads, state.leader.is_some())
    }

    /// An offset of the log that was read; `None` while it may be another one: what nobody leads
    /// may have been deleted, and be another one when somebody does.
    pub fn point(&self, next: i64) -> Option<Point> {
        let state = self.state();
        let is_sure = !state.halted && (!state.reads || state.leader.is_some());
        is_sure.then_some(Point { next, topic: state.topic })
    }

    /// Whether it holds the news that the place that was read is gone.
    pub fn has_lost_place(&self) -> bool {
        let tells = |item: &Item| matches!(item, Item::Trouble(trouble) if trouble.is_lost_place());
        self.state().queue.iter().any(tells)
    }

    /// The number of the topic by now, if that is another one than was read.
    pub fn another(&self) -> Option<TopicId> {
        self.state().another
    }

    /// What brokers say of what is read: the number of the topic of this name, and who leads, if
    /// anybody. Another number than before is another log: offsets of the old one mean nothing
    /// there, even if it has them.
    pub fn learn(&self, topic: Option<TopicId>, leader: Option<(i32, i32)>) {
        let mut state = self.state();
        if !state.reads {
            return;
        }
        state.leader = leader;
        let Some(topic) = topic else { return };
        if *state.topic.get_or_insert(topic) != topic {
            state.another = Some(topic);
            (state.reads, state.halted) = (false, true);
            let gone = Trouble::code(RDKafkaErrorCode::OffsetOutOfRange);
            state.queue.push_back(Item::Trouble(gone));
            drop(state);
            self.bell.ring();
        }
    }

    /// What to ask this broker.
    pub fn turn(&self, broker: i32, terms: &Terms, now: Instant) -> Turn {
        let state = self.state();
        let Some((leader, leader_epoch)) = state.leader else { return Turn::Rest };
        if !state.reads || leader != broker || now < state.not_before {
            return Turn::Rest;
        }
        let size = terms.part_bytes.max(state.batch_bytes);
        let held = self.raw.load(Ordering::Acquire);
        // One fetch always passes: a batch may be larger than the share.
        if held > 0 && held + size > terms.share_bytes {
            return Turn::Full;
        }
        let wanted = Wanted {
            partition: self.name.partition,
            offset: state.next,
            leader_epoch,
            read_epoch: state.epoch,
            max_bytes: size.min(i32::MAX as usize) as i32,
        };
        Turn::Ask(state.run, wanted)
    }

    /// The leadership of the last batch, if an answer to this question is still wanted.
    pub fn awaits(&self, ask: &Ask) -> Option<i32> {
        let state = self.state();
        state.awaits(ask).then_some(state.epoch)
    }

    /// Takes an answer's end of the log.
    pub fn saw_end(&self, ask: &Ask, high_watermark: i64) {
        let mut state = self.state();
        if state.awaits(ask) && high_watermark >= 0 {
            state.high_watermark = Some(high_watermark);
        }
    }

    /// Takes the records of an answer.
    pub fn deliver(&self, ask: &Ask, block: Arc<Block>, vetted: Vetted) {
        let mut state = self.state();
        if !state.awaits(ask) {
            return;
        }
        state.next = vetted.next;
        state.epoch = vetted.epoch;
        // What was cut off comes whole next time. Where anything was whole there is no need to ask
        // for more at once than usual.
        let is_first = vetted.next == ask.wanted.offset;
        state.batch_bytes = vetted.cut.filter(|_| is_first).unwrap_or(0);
        let is_news = !vetted.spans.is_empty() || vetted.flaw.is_some();
        if !vetted.spans.is_empty() {
            let spans = vetted.spans.into_iter();
            state.queue.push_back(Item::Chunk(Chunk { block, spans }));
        }
        if let Some(flaw) = vetted.flaw {
            state.reads = false;
            state.queue.push_back(Item::Trouble(Trouble::of(&flaw)));
        }
        drop(state);
        if is_news {
            self.bell.ring();
        }
    }

    /// Cannot go on before somebody decides how.
    pub fn halt(&self, ask: &Ask, trouble: Trouble) {
        let mut state = self.state();
        if state.awaits(ask) {
            (state.reads, state.halted) = (false, true);
            state.queue.push_back(Item::Trouble(trouble));
            drop(state);
            self.bell.ring();
        }
    }

    /// The same of whatever is asked of it, if it is read.
    pub fn refuse(&self, trouble: Trouble) {
        let mut state = self.state();
        if state.reads {
            state.reads = false;
            state.queue.push_back(Item::Trouble(trouble));
            drop(state);
            self.bell.ring();
        }
    }

    /// Tries again later; says why, if it was not said already.
    pub fn rest(&self, ask: &Ask, until: Instant, trouble: Option<Trouble>) {
        let mut state = self.state();
        if !state.awaits(ask) {
            return;
        }
        state.not_before = until;
        if let Some(trouble) = trouble
            && !matches!(state.queue.back(), Some(Item::Trouble(_)))
        {
            state.queue.push_back(Item::Trouble(trouble));
            drop(state);
            self.bell.ring();
        }
    }

    /// The leader that was asked does not lead; whoever does must be found.
    pub fn forget_leader(&self, ask: &Ask) {
        let mut state = self.state();
        let asked = ask.wanted.leader_epoch;
        if state.awaits(ask) && state.leader.is_some_and(|(_, epoch)| epoch == asked) {
            state.leader = None;
        }
    }
}

impl State {
    fn start(&mut self, offset: i64) {
        self.run += 1;
        self.reads = true;
        self.halted = false;
        self.another = None;
        self.next = offset;
        self.epoch = -1;
        self.batch_bytes = 0;
        self.high_watermark = None;
        self.not_before = Instant::now();
        self.queue.clear();
    }

    fn awaits(&self, ask: &Ask) -> bool {
        self.reads && self.run == ask.run && self.next == ask.wanted.offset
    }
}
