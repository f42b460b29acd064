//! Gets payloads into topics: a receipt is sent when every record of its payload was reported as
//! written by all replicas. What the broker refuses for its size goes to the dead letters; all else
//! is tried again for as long as it takes.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use tokio::task::block_in_place;

use super::frame::Frame;
use super::origin::Origins;
use super::producer::{Addressed, BATCH_BYTES, Connection, Reported};
use crate::batch::{Line, PartitionIndex, Payload, Refusal};
use crate::blame::{Blame, Fault};
use crate::config::Topics;
use crate::kafka::settings::Settings;
use crate::kafka::topics::{Expression, Scout};
use crate::kafka::{create, errors};
use crate::observe::PipelineMeter;
use crate::reject::Reason;
use crate::sink::hand::Next;
use crate::sink::retry::{Backoff, Trouble};
use crate::sink::{BoxFuture, Courier, CourierDoors};

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
        let reads = match &self.read {
            None => false,
            Some(Topics::List(names)) => names.iter().any(|name| name == topic),
            Some(Topics::Regex(expression)) => Expression::new(expression)?.matches(topic),
        };
        if !reads {
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
    met: HashSet<Arc<str>>,
    backoff: Backoff,
}

/// A record of the payloads at hand: (payload, line).
type At = (usize, usize);

/// What one attempt came to.
enum Ended {
    /// All is stored, but for the records that are refused: (where, what the broker said).
    Stored(Vec<(At, String)>),
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
            backoff: Backoff::default(),
        }
    }

    async fn carry(mut self, mut doors: CourierDoors) -> Result<(), Fault> {
        // The client copies what it is given: both together are the bound.
        doors.commit.bytes_max /= 2;
        let mut hand: Vec<Payload> = Vec::new();
        loop {
            match doors.next().await {
                Next::Payload(payload) => hand.push(payload),
                Next::End => break,
                Next::WantedBack => {
                    self.connection = None;
                    doors.give_back(&mut hand).await;
                    continue;
                }
            }
            doors.take_more(&mut hand);
            self.store(&mut hand, &mut doors).await?;
        }
        self.shared.trouble.back(self.who);
        Ok(())
    }

    /// Stores what is at hand, or gives it back.
    async fn store(
        &mut self,
        hand: &mut Vec<Payload>,
        doors: &mut CourierDoors,
    ) -> Result<(), Fault> {
        let mut left = Left::of(hand);
        loop {
            match block_in_place(|| self.attempt(hand, &mut left, doors)) {
                Ended::Stored(refused) => {
                    self.shared.trouble.back(self.who);
                    self.backoff.reset();
                    if !put_aside(hand, refused, doors).await {
                        doors.give_back(hand).await;
                        return Ok(());
                    }
                    for payload in hand.drain(..) {
                        doors.stored(payload, &self.shared.meter).await;
                    }
                    return Ok(());
                }
                Ended::WantedBack => {
                    self.connection = None;
                    doors.give_back(hand).await;
                    return Ok(());
                }
                Ended::Failed(fault) if fault.blame == Blame::World => {
                    self.shared.meter.retries.add(1);
                    self.shared.trouble.away(self.who, &fault.message);
                    let wait = tokio::time::sleep(self.backoff.next_wait());
                    tokio::select! {
                        biased;
                        () = doors.wanted_back() => {
                            self.connection = None;
                            doors.give_back(hand).await;
                            return Ok(());
                        }
                        () = wait => {}
                    }
                }
                Ended::Failed(fault) => {
                    doors.give_back(hand).await;
                    return Err(fault);
                }
            }
        }
    }

    /// Sends what is left once. Blocks.
    fn attempt(&mut self, hand: &[Payload], left: &mut Left, doors: &CourierDoors) -> Ended {
        loop {
            if let Err(fault) = self.prepare(hand) {
                return Ended::Failed(fault);
            }
            let connection = self.connection.as_ref().expect("prepared above");
            let (shared, who) = (Arc::clone(&self.shared), self.who);
            let mut go_on = |silent: Option<&str>| {
                if let Some(why) = silent {
                    shared.trouble.away(who, why);
                }
                !doors.is_wanted_back()
            };
            let record = |place: usize| addressed(&shared, hand, left.records[place]);
            let Reported { failed, broken_off } =
                connection.send(&left.places(), record, &mut go_on);
            let words = connection.last_words();
            if let Some(why) = broken_off {
                self.connection = None;
                if doors.is_wanted_back() {
                    return Ended::WantedBack;
                }
                // The producer came to its end; what was stored is stored again by the next one.
                return Ended::Failed(Fault::world(why));
            }
            match left.judge(hand, &failed, self.batch_bytes) {
                Judged::Done => return Ended::Stored(std::mem::take(&mut left.refused)),
                Judged::Smaller => {
                    self.batch_bytes /= 2;
                    self.connection = None;
                }
                Judged::Again(code) => {
                    // The topic may have been deleted under us.
                    self.met.clear();
                    let error = KafkaError::MessageProduction(code);
                    return Ended::Failed(errors::fault("writing to topics", &error, words));
                }
            }
        }
    }

    /// Makes sure of the connection and of the topics.
    fn prepare(&mut self, hand: &[Payload]) -> Result<(), Fault> {
        if self.connection.is_none() {
            self.connection = Some(Connection::new(&self.shared.settings, self.batch_bytes)?);
        }
        for payload in hand {
            if self.met.contains(&payload.table) {
                continue;
            }
            let Some(line) = payload.buffers.lines.first() else { continue };
            let source = self.shared.origins.of(line.partition);
            self.shared.meet(&payload.table, source.as_ref().map(|source| &*source.topic))?;
            self.met.insert(Arc::clone(&payload.table));
        }
        Ok(())
    }
}

impl Courier for KafkaCourier {
    fn run(self: Box<Self>, doors: CourierDoors) -> BoxFuture<'static, Result<(), Fault>> {
        Box::pin(self.carry(doors))
    }
}

fn bytes_of(hand: &[Payload], (payload, line): At) -> &[u8] {
    let buffers = &hand[payload].buffers;
    let start = line.checked_sub(1).map_or(0, |before| buffers.lines[before].end);
    &buffers.bytes[start as usize..buffers.lines[line].end as usize]
}

fn line_of(hand: &[Payload], (payload, line): At) -> &Line {
    &hand[payload].buffers.lines[line]
}

fn addressed<'a>(shared: &Shared, hand: &'a [Payload], at: At) -> Addressed<'a> {
    let frame = Frame::read(bytes_of(hand, at)).expect("the lane framed it");
    let line = line_of(hand, at);
    let origin = shared.headers.then(|| shared.origins.of(line.partition)).flatten();
    let headers = origin.map(|origin| {
        let numbers = [
            ("bridge.partition", i64::from(origin.partition)),
            ("bridge.offset", line.offset),
            ("bridge.row", i64::from(line.row)),
        ];
        let headers = OwnedHeaders::new_with_capacity(1 + numbers.len());
        let topic = Header { key: "bridge.topic", value: Some(origin.topic.as_bytes()) };
        numbers.iter().fold(headers.insert(topic), |headers, (key, number)| {
            let mut digits = itoa::Buffer::new();
            headers.insert(Header { key, value: Some(digits.format(*number)) })
        })
    });
    Addressed { topic: &hand[at.0].table, frame, headers }
}

/// What of the payloads at hand is left to be sent.
struct Left {
    /// All records, in order.
    records: Vec<At>,
    /// The first that is not known to be stored; all behind it go again.
    from: usize,
    /// Records of the source that are refused, by position.
    aside: BTreeSet<(PartitionIndex, i64)>,
    /// The first record of each, and what was said.
    refused: Vec<(At, String)>,
    /// Places that are refused.
    skipped: HashSet<usize>,
}

/// What reports come to.
enum Judged {
    /// Nothing is left.
    Done,
    /// The same again, in smaller requests.
    Smaller,
    /// The same again, later.
    Again(RDKafkaErrorCode),
}

impl Left {
    fn of(hand: &[Payload]) -> Left {
        let lines = |(at, payload): (usize, &Payload)| {
            (0..payload.buffers.lines.len()).map(move |line| (at, line))
        };
        let records = hand.iter().enumerate().flat_map(lines).collect();
        Left {
            records,
            from: 0,
            aside: BTreeSet::new(),
            refused: Vec::new(),
            skipped: HashSet::new(),
        }
    }

    /// The places of what is to be sent.
    fn places(&self) -> Vec<usize> {
        (self.from..self.records.len()).filter(|place| !self.skipped.contains(place)).collect()
    }

    /// Takes note of what failed, in order of places.
    fn judge(
        &mut self,
        hand: &[Payload],
        failed: &[(usize, RDKafkaErrorCode)],
        batch_bytes: usize,
    ) -> Judged {
        let mut again = None;
        for (place, code) in failed {
            let at = self.records[*place];
            match own_fault(hand, at, *code, batch_bytes) {
                Some(detail) => self.refuse(hand, at, detail),
                None if again.is_none() => again = Some((*place, *code)),
                None => {}
            }
        }
        match again {
            None => Judged::Done,
            Some((place, code)) => {
                self.from = place;
                if is_size(code) { Judged::Smaller } else { Judged::Again(code) }
            }
        }
    }

    /// Puts the record of the source aside, with all of its rows that are at hand.
    fn refuse(&mut self, hand: &[Payload], at: At, detail: String) {
        let position = |at: At| (line_of(hand, at).partition, line_of(hand, at).offset);
        if self.aside.insert(position(at)) {
            self.refused.push((at, detail));
        }
        let same = |(_, other): &(usize, &At)| position(**other) == position(at);
        let rows = self.records.iter().enumerate().filter(same);
        self.skipped.extend(rows.map(|(place, _)| place));
    }
}

fn is_size(code: RDKafkaErrorCode) -> bool {
    code == RDKafkaErrorCode::MessageSizeTooLarge
}

/// Why a record itself is at fault, if it is. One that is as large as a request goes alone: the
/// topic refuses it, and not what it came with.
fn own_fault(
    hand: &[Payload],
    at: At,
    code: RDKafkaErrorCode,
    batch_bytes: usize,
) -> Option<String> {
    let topic = &hand[at.0].table;
    let bytes = bytes_of(hand, at);
    match code {
        code if is_size(code) && bytes.len() >= batch_bytes => {
            Some(format!("a record of {} bytes is more than topic {topic} takes", bytes.len()))
        }
        RDKafkaErrorCode::UnknownPartition => {
            let partition = Frame::read(bytes)?.partition?;
            Some(format!("topic {topic} has no partition {partition}"))
        }
        _ => None,
    }
}

/// Hands refused records to the dead letters, with a share of every ticket of their payload; false
/// if these are gone, for the pipeline is being stopped hard.
async fn put_aside(hand: &[Payload], refused: Vec<(At, String)>, doors: &CourierDoors) -> bool {
    for (at, detail) in refused {
        let Line { partition, offset, .. } = *line_of(hand, at);
        let shares = hand[at.0].shares.iter().map(|share| share.split()).collect();
        let refusal = Refusal { partition, offset, reason: Reason::RefusedBySink, detail };
        // Without it the shares count as lost, which is right: nothing is committed any more.
        let Some(permit) = doors.dead_letters.reserve().await else { return false };
        permit.refuse(refusal, shares);
    }
    true
}
