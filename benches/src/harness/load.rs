//! Fills topics: as fast as the broker takes it, or by a schedule.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use world::Kafka;

use super::sensors;

/// A broker that takes longer for one topic is not one to measure with.
const FLUSH: Duration = Duration::from_secs(300);
/// The scheduled producer looks at the clock this often at most.
const BEAT: Duration = Duration::from_millis(1);

/// Makes a topic and fills it with records 0 to `records` - 1.
pub fn fill(kafka: &Kafka, topic: &str, records: u64) -> Result<Duration> {
    kafka.create_topic(topic, sensors::PARTITIONS)?;
    let start = Instant::now();
    // Batches of up to a megabyte: the consumer shall not be held up by tiny ones.
    let producer = producer(kafka, "50")?;
    let (mut key, mut value) = (Vec::new(), Vec::new());
    for seq in 0..records {
        sensors::write(seq, &mut key, &mut value);
        send(&producer, topic, &key, &value, None)?;
    }
    finish(kafka, &producer, topic, records)?;
    Ok(start.elapsed())
}

/// Produces records 0 to `records` - 1 at `per_second`. Each carries the time at which it was due
/// as its timestamp: what a late producer adds is part of the latency, not left out of it.
pub fn scheduled(kafka: &Kafka, topic: &str, records: u64, per_second: u64) -> Result<()> {
    let producer = producer(kafka, "1")?;
    let (mut key, mut value) = (Vec::new(), Vec::new());
    let (start, start_wall) = (Instant::now(), SystemTime::now());
    for seq in 0..records {
        let due = Duration::from_secs_f64(seq as f64 / per_second as f64);
        while start.elapsed() < due {
            producer.poll(Duration::ZERO);
            std::thread::sleep(BEAT.min(due.saturating_sub(start.elapsed())));
        }
        sensors::write(seq, &mut key, &mut value);
        let due = (start_wall + due).duration_since(UNIX_EPOCH).context("a clock after 1970")?;
        send(&producer, topic, &key, &value, Some(due.as_millis() as i64))?;
    }
    finish(kafka, &producer, topic, records)
}

fn producer(kafka: &Kafka, linger_ms: &str) -> Result<BaseProducer> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.brokers()).set("linger.ms", linger_ms);
    config.set("batch.size", "1000000").set("batch.num.messages", "100000");
    config.set("queue.buffering.max.messages", "1000000");
    // In order, and none twice: a retry after a lost answer would make the count wrong.
    config.set("enable.idempotence", "true");
    config.create().context("making a producer")
}

/// Hands one record to the producer; waits for room while its queue is full.
fn send(
    producer: &BaseProducer,
    topic: &str,
    key: &[u8],
    value: &[u8],
    timestamp_ms: Option<i64>,
) -> Result<()> {
    let mut record = BaseRecord::to(topic).key(key).payload(value);
    record.timestamp = timestamp_ms;
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
