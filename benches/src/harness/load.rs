//! Fills topics: as fast as the broker takes it, or by a schedule.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde::Serialize;
use world::Kafka;

use super::scenario::Scenario;

/// Records of a megabyte pass, with what Kafka adds to them.
const RECORD_BYTES_MAX: &str = "2000000";
/// A broker that takes longer for one topic is not one to measure with.
const FLUSH: Duration = Duration::from_secs(300);
/// The scheduled producer looks at the clock this often at most.
const BEAT: Duration = Duration::from_millis(1);

/// How a topic is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args, Serialize)]
pub struct Layout {
    /// Partitions of the topic.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=1024))]
    pub partitions: i32,
    /// How the producer packs its batches.
    #[arg(long, value_enum, default_value = "none")]
    pub compression: Compression,
}

impl Default for Layout {
    /// As everything is measured where nothing else is said.
    fn default() -> Layout {
        Layout { partitions: 4, compression: Compression::None }
    }
}

/// Kafka's ways to pack a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    None,
    Lz4,
    Zstd,
}

impl Compression {
    /// As Kafka's clients write it.
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }
}

/// A topic that holds, or shall hold, the records 0 to `records` - 1 of a scenario.
#[derive(Clone, Copy)]
pub struct Topic<'a> {
    pub name: &'a str,
    pub layout: Layout,
    pub scenario: &'a dyn Scenario,
    pub records: u64,
}

/// Makes the topic and fills it.
pub fn fill(kafka: &Kafka, topic: Topic<'_>) -> Result<Duration> {
    let Topic { name, layout, scenario, records } = topic;
    kafka.create_topic_with(name, layout.partitions, &[("max.message.bytes", RECORD_BYTES_MAX)])?;
    let start = Instant::now();
    // Batches of up to a megabyte: the consumer shall not be held up by tiny ones.
    let producer = producer(kafka, layout.compression, "50")?;
    let (mut key, mut value) = (Vec::new(), Vec::new());
    for seq in 0..records {
        scenario.write(seq, &mut key, &mut value);
        let partition = scenario.partition(seq, layout.partitions);
        send(&producer, record(name, &key, &value, partition, None))?;
    }
    finish(kafka, &producer, name, records)?;
    Ok(start.elapsed())
}

/// Produces the records into a topic that is there, so many a second. Each carries the time at
/// which it was due as its timestamp: what a late producer adds is part of the latency, not left
/// out of it. The first is due at `start`.
pub fn scheduled(kafka: &Kafka, topic: Topic<'_>, per_second: u64, start: Instant) -> Result<()> {
    let Topic { name, layout, scenario, records } = topic;
    let producer = producer(kafka, layout.compression, "1")?;
    let (mut key, mut value) = (Vec::new(), Vec::new());
    let start_wall = SystemTime::now() - start.elapsed();
    for seq in 0..records {
        let due = Duration::from_secs_f64(seq as f64 / per_second as f64);
        while start.elapsed() < due {
            producer.poll(Duration::ZERO);
            std::thread::sleep(BEAT.min(due.saturating_sub(start.elapsed())));
        }
        scenario.write(seq, &mut key, &mut value);
        let partition = scenario.partition(seq, layout.partitions);
        let due = (start_wall + due).duration_since(UNIX_EPOCH).context("a clock after 1970")?;
        let due_ms = Some(due.as_millis() as i64);
        send(&producer, record(name, &key, &value, partition, due_ms))?;
    }
    finish(kafka, &producer, name, records)
}

fn producer(kafka: &Kafka, compression: Compression, linger_ms: &str) -> Result<BaseProducer> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.brokers()).set("linger.ms", linger_ms);
    config.set("batch.size", "1000000").set("batch.num.messages", "100000");
    config.set("queue.buffering.max.messages", "1000000");
    config.set("message.max.bytes", RECORD_BYTES_MAX);
    config.set("compression.type", compression.name());
    // In order, and none twice: a retry after a lost answer would make the count wrong.
    config.set("enable.idempotence", "true");
    config.create().context("making a producer")
}

fn record<'a>(
    topic: &'a str,
    key: &'a [u8],
    value: &'a [u8],
    partition: Option<i32>,
    timestamp_ms: Option<i64>,
) -> BaseRecord<'a, [u8], [u8]> {
    let mut record = BaseRecord::to(topic).key(key).payload(value);
    (record.partition, record.timestamp) = (partition, timestamp_ms);
    record
}

/// Hands one record to the producer; waits for room while its queue is full.
fn send(producer: &BaseProducer, mut record: BaseRecord<'_, [u8], [u8]>) -> Result<()> {
    loop {
        let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((error, refused)) if error == full => record = refused,
            Err((error, _)) => return Err(error).context("producing a record"),
        }
        producer.poll(Duration::from_millis(10));
    }
}

/// Waits until the broker has all of them.
fn finish(kafka: &Kafka, producer: &BaseProducer, topic: &str, records: u64) -> Result<()> {
    producer.flush(FLUSH).context("waiting for the broker to take all records")?;
    let ends = kafka.end_offsets(topic)?;
    let there: i64 = ends.iter().map(|(_, end)| end).sum();
    ensure!(there == records as i64, "{topic} holds {there} records, not {records}");
    Ok(())
}
