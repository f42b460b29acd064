//! Dead letters sent back as the records that they were, for `bridge replay`: to the topics that
//! they came from, or to another one. A group of its own remembers how far it is, so that the same
//! command sends what has come since, and stops at what was there when it began.
//!
//! ```text
//! letters ──filter──▶ record: key, value, headers, timestamp ──all replicas──▶ offset committed
//! ```
//!
//! `through` gives them to a pipeline instead, as a source of it.

mod letter;
#[cfg(test)]
mod tests;
mod through;
#[cfg(test)]
mod through_tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, PurgeConfig};
use rdkafka::{Offset, TopicPartitionList};

pub use self::letter::Filter;
use self::letter::Letter;
pub use self::through::Letters;
use crate::batch::TopicPartition;
use crate::blame::Fault;
use crate::config::KafkaPlan;
use crate::kafka::check::Sample;
use crate::kafka::peek::Ahead;
use crate::kafka::topics::Scout;
use crate::kafka::{Reports, Settings, errors, headers};
use crate::source::OwnedRecord;

/// Letters that are sent together, and whose offsets are committed together.
const AT_ONCE: usize = 1_000;
/// How long their reports may take: over the producer's own patience with a record.
const REPORTS_MAX: Duration = Duration::from_secs(45);
/// The header that says which letter a record was.
pub const REPLAYED: &str = "bridge.replayed";

/// What is to be sent back.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Which letters.
    pub filter: Filter,
    /// The topic that they go to; by default the one that each came from.
    pub to: Option<String>,
    /// Nothing is sent, and nothing remembered.
    pub dry: bool,
}

/// What came of the letters.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Read.
    pub letters: u64,
    /// Sent back, by topic and reason, or through a pipeline, by the topic that they are from; in a
    /// trial those that would be.
    pub sent: BTreeMap<(String, String), u64>,
    /// Left out by the filter.
    pub others: u64,
    /// Cut when they were stored: their records are not whole.
    pub cut: u64,
    /// Records of the topic that are no letters.
    pub strange: u64,
}

impl Counts {
    /// All that were sent back.
    pub fn sent_all(&self) -> u64 {
        self.sent.values().sum()
    }

    /// The letter that a record is, if it is to be sent; what is not is counted.
    fn judge(&mut self, record: OwnedRecord, place: String, filter: &Filter) -> Option<Letter> {
        self.letters += 1;
        let Some(letter) = Letter::of(record, place) else {
            self.strange += 1;
            return None;
        };
        if !filter.takes(&letter) {
            self.others += 1;
            return None;
        }
        self.cut += u64::from(letter.is_cut);
        (!letter.is_cut).then_some(letter)
    }

    /// Counts one that was sent.
    fn note_sent(&mut self, letter: &Letter, to: Option<&str>) {
        let topic = to.unwrap_or(&letter.source.topic).to_owned();
        *self.sent.entry((topic, letter.reason.clone())).or_default() += 1;
    }
}

/// Sends letters back: those of the plan's topics that its group has not sent, up to the end as of
/// now. Blocks.
pub fn replay(
    plan: &KafkaPlan,
    wish: &Wish,
    tell: &mut dyn FnMut(&Counts),
) -> Result<Counts, Fault> {
    let settings = Settings::new(plan)?;
    let scout = Scout::of_group(&settings, &plan.group)?;
    let mut ahead = Ahead::of(plan, &[], u64::MAX)?;
    let sender = match wish.dry {
        true => None,
        false => Some(Sender::new(&settings)?),
    };
    let mut counts = Counts::default();
    while let Some(samples) = ahead.more(AT_ONCE)? {
        let mut reach: BTreeMap<TopicPartition, i64> = BTreeMap::new();
        let mut letters = Vec::new();
        for Sample { partition, offset, record } in samples {
            let next = reach.entry(partition.clone()).or_default();
            *next = (*next).max(offset + 1);
            let place = format!("{partition}@{offset}");
            letters.extend(counts.judge(record, place, &wish.filter));
        }
        if let Some(sender) = &sender {
            sender.send(&letters, wish.to.as_deref())?;
            commit(&scout, &reach)?;
        }
        letters.iter().for_each(|letter| counts.note_sent(letter, wish.to.as_deref()));
        tell(&counts);
    }
    Ok(counts)
}

/// Remembers how far it is.
fn commit(scout: &Scout, reach: &BTreeMap<TopicPartition, i64>) -> Result<(), Fault> {
    if reach.is_empty() {
        return Ok(());
    }
    let doing = "committing how far the letters were sent";
    let mut list = TopicPartitionList::new();
    for (TopicPartition { topic, partition }, next) in reach {
        list.add_partition_offset(topic, *partition, Offset::Offset(*next))
            .map_err(|error| scout.fault(doing, &error))?;
    }
    let committed = scout.client().commit(&list, CommitMode::Sync);
    committed.map_err(|error| scout.fault(doing, &error))
}

/// A producer that waits for all reports.
struct Sender(BaseProducer<Reports>);

impl Sender {
    fn new(settings: &Settings) -> Result<Sender, Fault> {
        let mut config = settings.producer();
        // The topic's own bound decides, not the client's.
        config.set("message.max.bytes", "100000000");
        if settings.get("partitioner").is_none() {
            // Java's: the same key in the same partition, whoever wrote it.
            config.set("partitioner", "murmur2_random");
        }
        let producer: Result<BaseProducer<Reports>, _> =
            config.create_with_context(settings.reports());
        let producer = producer.map_err(|error| settings.refused(&error))?;
        // A token for OAUTHBEARER is asked for by an event, and events are only served here.
        producer.poll(Duration::ZERO);
        Ok(Sender(producer))
    }

    /// Sends letters, each under its own key, and waits until all replicas have them.
    fn send(&self, letters: &[Letter], to: Option<&str>) -> Result<(), Fault> {
        let deadline = Instant::now() + REPORTS_MAX;
        for (place, letter) in letters.iter().enumerate() {
            let mut record = record(letter, to, place);
            while let Err((error, back)) = self.0.send(record) {
                let is_full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                if !is_full || Instant::now() > deadline {
                    return Err(self.fault(letter, to, &error));
                }
                record = back;
                self.0.poll(Duration::from_millis(10));
            }
        }
        let mut heard = 0;
        while heard < letters.len() {
            self.0.poll(Duration::from_millis(50));
            for (place, error) in self.0.context().take() {
                heard += 1;
                if let Some(code) = error {
                    let error = KafkaError::MessageProduction(code);
                    return Err(self.fault(&letters[place], to, &error));
                }
            }
            if Instant::now() > deadline {
                return Err(Fault::world("sending letters back: no delivery report"));
            }
        }
        Ok(())
    }

    fn fault(&self, letter: &Letter, to: Option<&str>, error: &KafkaError) -> Fault {
        let topic = to.unwrap_or(&letter.source.topic);
        let doing = format!("sending the letter {} back to {topic}", letter.place);
        let fault = errors::fault(&doing, error, self.0.context().diagnostics.last_words());
        fault.hint("started again, it goes on behind what was sent; --to names another topic")
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        // What is still under way was given up by whoever waited for it.
        self.0.purge(PurgeConfig::default().queue().inflight());
    }
}

/// The record that a letter was.
fn record<'a>(
    letter: &'a Letter,
    to: Option<&'a str>,
    place: usize,
) -> BaseRecord<'a, [u8], [u8], usize> {
    let topic = to.unwrap_or(&letter.source.topic);
    let mut headers = OwnedHeaders::new_with_capacity(letter.headers.len() + 1);
    for (name, value) in &letter.headers {
        headers = headers::push(headers, name, value.as_deref());
    }
    headers = headers.insert(Header { key: REPLAYED, value: Some(&letter.place) });
    let mut record = BaseRecord::with_opaque_to(topic, place);
    record.key = letter.key.as_deref();
    record.payload = letter.value.as_deref();
    record.timestamp = letter.timestamp_ms;
    record.headers = Some(headers);
    // Another topic may have other partitions.
    record.partition = to.is_none().then_some(letter.source.partition);
    record
}
