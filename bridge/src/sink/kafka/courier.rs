//! Gets payloads into topics: a receipt is sent when every record of its payload was reported as
//! written by all replicas. What the broker refuses for its size goes to the dead letters; all else
//! is tried again for as long as it takes.

use std::collections::HashSet;
use std::sync::Arc;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use tokio::task::block_in_place;

use super::frame::Frame;
use super::is_read;
use super::left::{At, Judged, Left, bytes_of, line_of};
use super::once::{Once, Reach};
use super::origin::{Origins, Targets};
use super::producer::{Addressed, BATCH_BYTES, Connection, Reported};
use super::transaction::Undone;
use crate::batch::{Line, Payload, Refusal};
use crate::blame::{Blame, Fault};
use crate::config::Topics;
use crate::kafka::settings::Settings;
use crate::kafka::topics::Scout;
use crate::kafka::{create, errors};
use crate::observe::PipelineMeter;
use crate::reject::Reason;
use crate::sink::hand::Next;
use crate::sink::retry::{Backoff, Trouble};
use crate::sink::{BoxFuture, Courier, CourierDoors};
use crate::ticket::Share;

/// What all couriers of a sink share.
pub struct Shared {
    /// How the brokers are reached.
    pub settings: Settings,
    /// What the pipeline reads of the same brokers: nothing may be written there.
    pub read: Option<Topics>,
    /// Whether records tell where they came from.
    pub headers: bool,
    /// Whether a topic that is missing is made.
    pub create: bool,
    /// Partitions by name.
    pub origins: Arc<Origins>,
    /// Topics by number.
    pub targets: Arc<Targets>,
    /// The group, where records and its offsets are one transaction.
    pub once: Option<Arc<Once>>,
    /// What is wrong just now.
    pub trouble: Trouble,
    /// Counters.
    pub meter: Arc<PipelineMeter>,
}

impl Shared {
    /// Makes sure that a topic can be written to. Blocks.
    pub fn meet(&self, topic: &str, like: Option<&str>) -> Result<(), Fault> {
        self.refuse_own(topic)?;
        if self.create {
            // The source's own number of partitions only tells something of the same brokers.
            let like = like.filter(|_| self.read.is_some());
            return create::ensure_topic(&self.settings, topic, like);
        }
        match Scout::new(&self.settings)?.find(topic)? {
            Some(_) => Ok(()),
            None => Err(Fault::operator(format!("topic {topic} is not there"))
                .hint("make it, or set create_topic = true of the sink")),
        }
    }

    /// What the pipeline writes must not come back to it.
    pub fn refuse_own(&self, topic: &str) -> Result<(), Fault> {
        if !is_read(self.read.as_ref(), topic)? {
            return Ok(());
        }
        let said = format!("topic {topic} is one that the pipeline reads: it would never end");
        Err(Fault::operator(said).hint("another `topic` of the sink"))
    }
}

/// A courier with a producer of its own.
pub struct KafkaCourier {
    shared: Arc<Shared>,
    who: usize,
    connection: Option<Connection>,
    /// Bytes of one request: less where a topic takes less.
    batch_bytes: usize,
    /// Topics that can be written to, by number.
    met: HashSet<u32>,
    topics: Vec<Arc<str>>,
    backoff: Backoff,
}

/// The payloads that are stored together.
#[derive(Default)]
struct Hand {
    payloads: Vec<Payload>,
    /// How far their partitions are then.
    reach: Reach,
}

/// What one attempt came to.
enum Ended {
    /// All is stored, but for the records that are refused.
    Stored,
    /// Nothing is stored: what is refused is to be put aside first.
    Refused,
    /// Everything is wanted back.
    WantedBack,
    /// The world, or the operator, has to do something first; what is stored is not sent again.
    Failed(Fault),
}

impl KafkaCourier {
    /// A courier; `who` is its number.
    pub fn new(shared: Arc<Shared>, who: usize) -> KafkaCourier {
        KafkaCourier {
            shared,
            who,
            connection: None,
            batch_bytes: BATCH_BYTES,
            met: HashSet::new(),
            topics: Vec::new(),
            backoff: Backoff::default(),
        }
    }

    async fn carry(mut self, mut doors: CourierDoors) -> Result<(), Fault> {
        // The client copies what it is given: both together are the bound.
        doors.commit.bytes_max /= 2;
        let mut hand = Hand::default();
        loop {
            if self.shared.once.is_some() && self.connection.is_none() {
                self.open(&mut hand, &mut doors).await?;
            }
            if hand.payloads.is_empty() {
                match doors.next().await {
                    Next::Payload(payload) => hand.payloads.push(payload),
                    Next::End => break,
                    Next::WantedBack => {
                        self.give_back_wanted(&mut hand, &mut doors).await;
                        continue;
                    }
                }
            }
            doors.take_more(&mut hand.payloads);
            // A lane may have been at work on what was wanted back: behind what went back already
            // it would be out of order. Transactions have books of their own.
            let is_stale = |payload: &Payload| doors.is_stale(payload);
            if self.shared.once.is_none() && hand.payloads.iter().any(is_stale) {
                self.give_back_wanted(&mut hand, &mut doors).await;
                continue;
            }
            match self.is_due(&mut hand) {
                true => self.store(&mut hand, &mut doors).await?,
                false => self.give_back(&mut hand, &mut doors).await,
            }
        }
        self.shared.trouble.back(self.who);
        Ok(())
    }

    /// Takes the marks out of payloads; whether nothing stands in the way of their being stored.
    fn is_due(&self, hand: &mut Hand) -> bool {
        let Some(once) = &self.shared.once else { return true };
        hand.payloads.iter_mut().for_each(|payload| hand.reach.take(payload));
        !once.is_closed(&hand.reach)
    }

    /// A producer of transactions is there before the first payload: only it ends what a process
    /// before this one had under way, whose offsets somebody may be waiting for.
    async fn open(&mut self, hand: &mut Hand, doors: &mut CourierDoors) -> Result<(), Fault> {
        while self.connection.is_none() && !doors.is_over() {
            let Err(fault) = block_in_place(|| self.connect(doors)) else { break };
            if fault.blame != Blame::World {
                return Err(fault);
            }
            if self.rest(&fault, doors).await {
                self.give_back_wanted(hand, doors).await;
            }
        }
        Ok(())
    }

    /// Stores what is at hand, or gives it back.
    async fn store(&mut self, hand: &mut Hand, doors: &mut CourierDoors) -> Result<(), Fault> {
        let mut left = Left::of(&hand.payloads);
        loop {
            let attempt = || match self.shared.once.clone() {
                None => self.attempt(&hand.payloads, &mut left, doors),
                Some(once) => self.transact(&once, hand, &mut left, doors),
            };
            match block_in_place(attempt) {
                Ended::Stored => {
                    self.shared.trouble.back(self.who);
                    self.backoff.reset();
                    let refused = std::mem::take(&mut left.refused);
                    if !put_aside(&hand.payloads, refused, doors, false).await {
                        self.give_back(hand, doors).await;
                        return Ok(());
                    }
                    hand.reach.clear();
                    for payload in hand.payloads.drain(..) {
                        doors.stored(payload, &self.shared.meter).await;
                    }
                    return Ok(());
                }
                Ended::Refused => {
                    let refused = std::mem::take(&mut left.refused);
                    if !put_aside(&hand.payloads, refused, doors, true).await {
                        self.give_back(hand, doors).await;
                        return Ok(());
                    }
                }
                Ended::WantedBack => {
                    self.give_back_wanted(hand, doors).await;
                    return Ok(());
                }
                Ended::Failed(fault) if fault.blame == Blame::World => {
                    if self.rest(&fault, doors).await {
                        self.give_back_wanted(hand, doors).await;
                        return Ok(());
                    }
                }
                Ended::Failed(fault) => {
                    self.give_back(hand, doors).await;
                    return Err(fault);
                }
            }
        }
    }

    /// Gives back what is wanted back. Transactions are closed by all that was at hand.
    async fn give_back_wanted(&mut self, hand: &mut Hand, doors: &mut CourierDoors) {
        match self.shared.once {
            Some(_) => self.give_back(hand, doors).await,
            None => {
                self.connection = None;
                doors.give_back_stale(&mut hand.payloads).await;
            }
        }
    }

    /// Gives back everything at hand, what waits at the door included.
    async fn give_back(&mut self, hand: &mut Hand, doors: &mut CourierDoors) {
        self.connection = None;
        let mut reach = std::mem::take(&mut hand.reach);
        let once = self.shared.once.clone();
        let closing = |payload: &mut Payload| {
            if let Some(once) = &once {
                reach.take(payload);
                once.close(&reach);
            }
        };
        doors.give_back_after(&mut hand.payloads, closing).await;
    }

    /// Waits before another try; whether everything was wanted back meanwhile.
    async fn rest(&mut self, fault: &Fault, doors: &mut CourierDoors) -> bool {
        self.shared.meter.retries.add(1);
        self.shared.trouble.away(self.who, &fault.message);
        tokio::select! {
            biased;
            () = doors.wanted_back() => true,
            () = tokio::time::sleep(self.backoff.next_wait()) => false,
        }
    }

    /// Sends what is left once. Blocks.
    fn attempt(&mut self, hand: &[Payload], left: &mut Left, doors: &CourierDoors) -> Ended {
        loop {
            if let Err(fault) = self.prepare(hand, doors) {
                return Ended::Failed(fault);
            }
            let Reported { failed, broken_off } = self.send(hand, left, doors);
            if let Some(why) = broken_off {
                return self.broken_off(why, doors);
            }
            match self.judge(hand, left, &failed) {
                None => return Ended::Stored,
                Some(Ok(())) => {}
                Some(Err(fault)) => return Ended::Failed(fault),
            }
        }
    }

    /// One transaction. Blocks.
    fn transact(
        &mut self,
        once: &Once,
        hand: &Hand,
        left: &mut Left,
        doors: &CourierDoors,
    ) -> Ended {
        match self.try_transaction(once, hand, left, doors) {
            Ok(ended) => ended,
            Err(Undone::Aborted(fault)) => Ended::Failed(fault),
            Err(Undone::Unknown(fault)) => {
                // The next producer ends it. Whether it is committed the group's offsets tell: what
                // is at hand is read again from there.
                self.connection = None;
                match fault.blame {
                    Blame::World => {
                        self.shared.trouble.away(self.who, &fault.message);
                        Ended::WantedBack
                    }
                    Blame::Operator | Blame::Us => Ended::Failed(fault),
                }
            }
        }
    }

    fn try_transaction(
        &mut self,
        once: &Once,
        hand: &Hand,
        left: &mut Left,
        doors: &CourierDoors,
    ) -> Result<Ended, Undone> {
        self.prepare(&hand.payloads, doors).map_err(Undone::Aborted)?;
        // Whatever was sent before was aborted.
        left.from = 0;
        self.connection().begin()?;
        let Reported { failed, broken_off } = self.send(&hand.payloads, left, doors);
        if let Some(why) = broken_off {
            return Ok(self.broken_off(why, doors));
        }
        if failed.is_empty() {
            let offsets = hand.reach.offsets(&self.shared.origins).map_err(Undone::Unknown)?;
            // In this order: see there.
            let member = once.metadata();
            if once.is_closed(&hand.reach) {
                let lost = Fault::world("partitions were lost");
                return Err(Undone::Unknown(lost));
            }
            return match member {
                Ok(member) => {
                    self.connection().commit(&offsets, &member, &mut self.patience(doors))?;
                    Ok(Ended::Stored)
                }
                Err(fault) => Err(self.connection().abort(fault, &mut self.patience(doors))),
            };
        }
        let again = Fault::world("records were refused");
        if let Undone::Unknown(fault) = self.connection().abort(again, &mut self.patience(doors)) {
            return Err(Undone::Unknown(fault));
        }
        match self.judge(&hand.payloads, left, &failed) {
            None => Ok(Ended::Refused),
            Some(Ok(())) => Err(Undone::Aborted(Fault::world("requests are made smaller"))),
            Some(Err(fault)) => Err(Undone::Aborted(fault)),
        }
    }

    /// Asked whether to go on waiting, and told of what is slow.
    fn patience<'a>(&'a self, doors: &'a CourierDoors) -> impl FnMut(Option<&str>) -> bool + 'a {
        |silent| {
            if let Some(why) = silent {
                self.shared.trouble.away(self.who, why);
            }
            !doors.is_wanted_back()
        }
    }

    fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("prepared before")
    }

    /// Sends what is left, and waits for the reports.
    fn send(&self, hand: &[Payload], left: &Left, doors: &CourierDoors) -> Reported {
        let record =
            |place: usize| addressed(&self.shared, &self.topics, hand, left.records[place]);
        self.connection().send(&left.places(), record, &mut self.patience(doors))
    }

    /// The producer came to its end; what was stored is stored again by the next one.
    fn broken_off(&mut self, why: String, doors: &CourierDoors) -> Ended {
        self.connection = None;
        match doors.is_wanted_back() {
            true => Ended::WantedBack,
            false => Ended::Failed(Fault::world(why)),
        }
    }

    /// Makes something of what failed: nothing is left, or it is to be tried again, at once or for
    /// a reason later.
    fn judge(
        &mut self,
        hand: &[Payload],
        left: &mut Left,
        failed: &[(usize, RDKafkaErrorCode)],
    ) -> Option<Result<(), Fault>> {
        let words = self.connection().last_words();
        match left.judge(hand, &self.topics, failed, self.batch_bytes) {
            Judged::Done => None,
            Judged::Smaller => {
                self.batch_bytes /= 2;
                self.connection = None;
                Some(Ok(()))
            }
            Judged::Again(code) => {
                // The topic may have been deleted under us.
                self.met.clear();
                let error = KafkaError::MessageProduction(code);
                Some(Err(errors::fault("writing to topics", &error, words)))
            }
        }
    }

    /// Makes sure of the connection and of the topics.
    fn prepare(&mut self, hand: &[Payload], doors: &CourierDoors) -> Result<(), Fault> {
        if self.connection.is_none() {
            self.connect(doors)?;
        }
        let mut last = None;
        for line in hand.iter().flat_map(|payload| &payload.buffers.lines) {
            if last.replace(line.layout) == Some(line.layout) || self.met.contains(&line.layout) {
                continue;
            }
            if self.topics.len() <= line.layout as usize {
                self.topics = self.shared.targets.all();
            }
            let source = self.shared.origins.of(line.partition);
            let topic = &self.topics[line.layout as usize];
            self.shared.meet(topic, source.as_ref().map(|source| &*source.topic))?;
            self.met.insert(line.layout);
        }
        Ok(())
    }

    fn connect(&mut self, doors: &CourierDoors) -> Result<(), Fault> {
        let Shared { settings, once, .. } = &*self.shared;
        self.connection = Some(match once {
            None => Connection::new(settings, self.batch_bytes)?,
            Some(once) => {
                let id = once.id(self.who);
                let connection = Connection::transactional(settings, self.batch_bytes, id)?;
                let mut patience = self.patience(doors);
                connection.open_transactions(&mut |why| patience(why) && !doors.is_over())?;
                connection
            }
        });
        Ok(())
    }
}

impl Courier for KafkaCourier {
    fn run(self: Box<Self>, doors: CourierDoors) -> BoxFuture<'static, Result<(), Fault>> {
        Box::pin(self.carry(doors))
    }
}

fn addressed<'a>(
    shared: &Shared,
    topics: &'a [Arc<str>],
    hand: &'a [Payload],
    at: At,
) -> Addressed<'a> {
    let frame = Frame::read(bytes_of(hand, at)).expect("the lane framed it");
    let line = line_of(hand, at);
    let headers = headers_of(shared, &frame, line);
    Addressed { topic: &topics[line.layout as usize], frame, headers }
}

/// A record's own headers, and behind them where it came from, if that is wanted.
fn headers_of(shared: &Shared, frame: &Frame<'_>, line: &Line) -> Option<OwnedHeaders> {
    let origin = shared.headers.then(|| shared.origins.of(line.partition)).flatten();
    if frame.headers.is_empty() && origin.is_none() {
        return None;
    }
    let own = frame.headers().map(|(key, value)| Header { key, value });
    let headers = own.fold(OwnedHeaders::new(), OwnedHeaders::insert);
    let Some(origin) = origin else { return Some(headers) };
    let numbers = [
        ("bridge.partition", i64::from(origin.partition)),
        ("bridge.offset", line.offset),
        ("bridge.row", i64::from(line.row)),
    ];
    let topic = Header { key: "bridge.topic", value: Some(origin.topic.as_bytes()) };
    Some(numbers.iter().fold(headers.insert(topic), |headers, (key, number)| {
        let mut digits = itoa::Buffer::new();
        headers.insert(Header { key, value: Some(digits.format(*number)) })
    }))
}

/// Hands refused records to the dead letters, with a share of every ticket of their payload; with
/// `first` it waits until they are stored. False if the dead letters are gone, for the pipeline is
/// being stopped hard.
async fn put_aside(
    hand: &[Payload],
    refused: Vec<(At, String)>,
    doors: &CourierDoors,
    first: bool,
) -> bool {
    for (at, detail) in refused {
        // Without it the shares count as lost, which is right: nothing is committed any more.
        let Some(permit) = doors.dead_letters.reserve().await else { return false };
        let (refusal, shares) = (refusal(hand, at, detail), shares(hand, at));
        match first {
            false => permit.refuse(refusal, shares),
            true if permit.refuse_and_hear(refusal, shares).await.is_err() => return false,
            true => {}
        }
    }
    true
}

fn refusal(hand: &[Payload], at: At, detail: String) -> Refusal {
    let Line { partition, offset, .. } = *line_of(hand, at);
    Refusal { partition, offset, reason: Reason::RefusedBySink, detail }
}

fn shares(hand: &[Payload], at: At) -> Vec<Share> {
    hand[at.0].shares.iter().map(Share::split).collect()
}
