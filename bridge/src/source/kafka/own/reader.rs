//! Reads from one broker: one thread, one connection, one request at a time for all partitions that
//! the broker leads and that have room.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;

use super::feed::{Ask, Feed, Turn};
use super::fit::Terms;
use super::shared::Shared;
use super::tap::Trouble;
use crate::kafka::wire::connection::{Connection, Socket};
use crate::kafka::wire::fetch::{Answer, Part, Tail};
use crate::kafka::wire::vet::{self, Rules};
use crate::kafka::wire::{Broken, codes, fetch};
use crate::source::wake::Bell;

/// A thread without anything to ask looks up this often, for what no bell tells.
const IDLE: Duration = Duration::from_millis(500);
/// Trouble that lasts longer is told. Brokers that restart in order are no news.
const TELL_AFTER: Duration = Duration::from_secs(3);

/// The thread.
pub fn run(shared: &Arc<Shared>, broker: i32, bell: &Bell) {
    let mut reader = Reader {
        shared,
        broker,
        connection: None,
        outage: None,
        pause: shared.terms.reconnect_min,
        rotation: 0,
    };
    while !shared.is_over() {
        let (asks, is_full) = reader.gather();
        reader.tell();
        if asks.is_empty() {
            let pause = if is_full { shared.terms.full_pause } else { reader.idle() };
            bell.wait(Instant::now() + pause);
            continue;
        }
        let pause = match reader.turn(&asks, is_full) {
            Ok(throttle) => throttle,
            Err(error) => reader.broke(&asks, error),
        };
        rest(shared, bell, pause);
    }
}

/// Waits, whatever rings, but for the end.
fn rest(shared: &Shared, bell: &Bell, pause: Duration) {
    let until = Instant::now() + pause;
    while !pause.is_zero() && Instant::now() < until && !shared.is_over() {
        bell.wait(until);
    }
}

struct Reader<'a> {
    shared: &'a Arc<Shared>,
    broker: i32,
    connection: Option<Connection>,
    outage: Option<Outage>,
    pause: Duration,
    /// Which partition is first in the next request: the one that surely gets its batch.
    rotation: usize,
}

/// A broker does not answer.
struct Outage {
    since: Instant,
    told: bool,
    words: String,
}

impl Reader<'_> {
    /// What to ask, and whether partitions were left out because they have no room.
    fn gather(&mut self) -> (Vec<Ask>, bool) {
        let now = Instant::now();
        let feeds = self.shared.feeds();
        let (mut asks, mut is_full) = (Vec::with_capacity(feeds.len()), false);
        self.rotation = (self.rotation + 1) % feeds.len().max(1);
        for feed in feeds[self.rotation..].iter().chain(&feeds[..self.rotation]) {
            match feed.turn(self.broker, &self.shared.terms, now) {
                Turn::Rest => {}
                Turn::Full => is_full = true,
                Turn::Ask(run, wanted) => asks.push(Ask { feed: Arc::clone(feed), run, wanted }),
            }
        }
        (asks, is_full)
    }

    /// How long to rest with nothing to ask: a partition may wait for the end of its pause.
    fn idle(&self) -> Duration {
        self.shared.terms.error_pause.clamp(Duration::from_millis(10), IDLE)
    }

    /// Asks and takes the answer; for how long the broker wants to be left alone.
    fn turn(&mut self, asks: &[Ask], is_full: bool) -> Result<Duration, Broken> {
        let terms = &self.shared.terms;
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => self.connection.insert(open(self.shared, self.broker)?),
        };
        // A wait for partitions that have nothing would keep waiting those that are full now.
        let wait = if is_full { terms.full_pause.min(terms.wait) } else { terms.wait };
        let mut topics: Vec<(&str, usize)> = Vec::new();
        for ask in asks {
            match topics.last_mut() {
                Some((topic, count)) if *topic == &*ask.feed.name.topic => *count += 1,
                _ => topics.push((&ask.feed.name.topic, 1)),
            }
        }
        let wanted = asks.iter().map(|ask| ask.wanted);
        let request = fetch::Terms {
            wait_ms: wait.as_millis() as i32,
            min_bytes: terms.min_bytes,
            max_bytes: terms.answer_bytes,
            committed: terms.committed,
        };
        let answer = connection.fetch(request, &topics, wanted)?;
        let throttle = take(self.shared, asks, answer)?;
        if self.outage.take().is_some_and(|outage| outage.told) {
            tracing::info!("broker {} answers again", self.broker);
        }
        self.pause = terms.reconnect_min;
        Ok(throttle)
    }

    /// A conversation broke off; how long to wait before the next.
    fn broke(&mut self, asks: &[Ask], error: Broken) -> Duration {
        self.connection = None;
        if self.shared.is_over() {
            return Duration::ZERO;
        }
        match error {
            Broken::TooLarge { .. } => {
                let trouble = || Trouble::said(RDKafkaErrorCode::MessageSizeTooLarge, &error);
                asks.iter().for_each(|ask| ask.feed.halt(ask, trouble()));
            }
            Broken::Foreign(_) => {
                let trouble = || Trouble::Foreign(error.to_string());
                asks.iter().for_each(|ask| ask.feed.halt(ask, trouble()));
            }
            Broken::Connection(_) | Broken::Nonsense(_) => {
                let words = error.to_string();
                let since = self.outage.as_ref().map_or_else(Instant::now, |outage| outage.since);
                let told = self.outage.as_ref().is_some_and(|outage| outage.told);
                self.outage = Some(Outage { since, told, words });
            }
        }
        // Another broker may lead by now.
        asks.iter().for_each(|ask| ask.feed.forget_leader(ask));
        self.shared.leaders_bell.ring();
        let pause = self.pause;
        self.pause = (pause * 2).min(self.shared.terms.reconnect_max).max(pause);
        pause
    }

    /// Says once that a broker does not answer, if partitions wait for it.
    fn tell(&mut self) {
        let Some(outage) = self.outage.as_mut().filter(|outage| !outage.told) else { return };
        let waits = |feed: &Arc<Feed>| feed.wants_leader() == (true, false);
        if outage.since.elapsed() < TELL_AFTER || !self.shared.feeds().iter().any(waits) {
            return;
        }
        outage.told = true;
        let name = match self.shared.broker(self.broker) {
            Some(broker) => format!("{} at {}:{}", broker.id, broker.host, broker.port),
            None => self.broker.to_string(),
        };
        tracing::warn!("fetching from broker {name}: {}; trying again", outage.words);
    }
}

fn open(shared: &Shared, broker: i32) -> Result<Connection, Broken> {
    let broker = shared.broker(broker).ok_or(Broken::Nonsense("a leader without an address"))?;
    Connection::open(&broker.host, broker.port, &shared.terms.manner, &shared.stop)
}

/// Takes an answer apart.
fn take(shared: &Shared, asks: &[Ask], mut answer: Answer<'_, Socket>) -> Result<Duration, Broken> {
    if answer.code != codes::NONE {
        return Err(Broken::Nonsense("error_code"));
    }
    let throttle = Duration::from_millis(answer.throttle_ms.max(0) as u64);
    // Answers come in the order of the questions.
    let mut expected = 0;
    for _ in 0..answer.topics()? {
        let (topic, parts) = answer.topic()?;
        for _ in 0..parts {
            let part = answer.part()?;
            let is_of = |ask: &Ask| {
                ask.wanted.partition == part.partition && *ask.feed.name.topic == *topic
            };
            let found = match asks.get(expected) {
                Some(ask) if is_of(ask) => Some(expected),
                _ => asks.iter().position(is_of),
            };
            match found {
                Some(index) => {
                    expected = index + 1;
                    take_part(shared, &asks[index], &part, &mut answer)?;
                }
                None => {
                    answer.skip(part.bytes)?;
                    answer.tail()?;
                }
            }
        }
        answer.topic_end()?;
    }
    answer.finish()?;
    Ok(throttle)
}

fn take_part(
    shared: &Shared,
    ask: &Ask,
    part: &Part,
    answer: &mut Answer<'_, Socket>,
) -> Result<(), Broken> {
    let feed = &ask.feed;
    let epoch = feed.awaits(ask).filter(|_| part.code == codes::NONE && part.bytes > 0);
    let Some(epoch) = epoch else {
        answer.skip(part.bytes)?;
        let tail = answer.tail()?;
        react(shared, ask, part, tail);
        return Ok(());
    };
    let mut memory = shared.store.memory(part.bytes);
    answer.records(&mut memory[..part.bytes])?;
    let block = shared.store.block(memory, part.bytes, &feed.raw);
    answer.tail()?;
    feed.saw_end(ask, part.high_watermark);
    let rules = Rules {
        from: ask.wanted.offset,
        epoch,
        aborted: &part.aborted,
        committed: shared.terms.committed,
        check_crc: shared.terms.check_crc,
    };
    let vetted = vet::vet(block.bytes(), rules);
    feed.deliver(ask, block, vetted);
    Ok(())
}

/// What follows from an answer without records.
fn react(shared: &Shared, ask: &Ask, part: &Part, tail: Tail) {
    use RDKafkaErrorCode as Code;
    let feed = &ask.feed;
    let later = || Instant::now() + pause(&shared.terms);
    match part.code {
        codes::NONE if tail.diverged_at.is_some() => {
            // The log was cut back behind what was read, and went on otherwise.
            feed.halt(ask, Trouble::code(Code::OffsetOutOfRange));
        }
        codes::NONE => feed.saw_end(ask, part.high_watermark),
        codes::OFFSET_OUT_OF_RANGE => feed.halt(ask, Trouble::code(Code::OffsetOutOfRange)),
        codes::CORRUPT_MESSAGE => feed.halt(ask, Trouble::code(Code::InvalidMessage)),
        codes::TOPIC_AUTHORIZATION_FAILED => {
            feed.halt(ask, Trouble::code(Code::TopicAuthorizationFailed));
        }
        codes::UNSUPPORTED_VERSION | codes::UNSUPPORTED_COMPRESSION_TYPE => {
            feed.halt(ask, Trouble::Foreign(format!("the broker answers {}", part.code)));
        }
        codes::NOT_LEADER_OR_FOLLOWER
        | codes::FENCED_LEADER_EPOCH
        | codes::LEADER_NOT_AVAILABLE
        | codes::REPLICA_NOT_AVAILABLE
        | codes::KAFKA_STORAGE_ERROR => {
            feed.rest(ask, later(), None);
            feed.forget_leader(ask);
            shared.leaders_bell.ring();
        }
        // The broker is behind what we know; it will learn.
        codes::UNKNOWN_LEADER_EPOCH | codes::OFFSET_NOT_AVAILABLE => {
            feed.rest(ask, later(), None);
            feed.forget_leader(ask);
            shared.leaders_bell.ring();
        }
        code => {
            feed.rest(ask, later(), Some(Trouble::number(code)));
            feed.forget_leader(ask);
            shared.leaders_bell.ring();
        }
    }
}

/// How long a partition with an error rests.
fn pause(terms: &Terms) -> Duration {
    terms.error_pause.max(Duration::from_millis(10))
}
