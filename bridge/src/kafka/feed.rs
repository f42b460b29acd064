//! Writes records to a cluster for the demonstration: many, in order, to the partition that is
//! named.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;

use super::context::Observer;
use crate::blame::Fault;

/// How long a full queue may take to have room again.
const ROOM_MAX: Duration = Duration::from_secs(10);

/// A producer.
pub struct Feed {
    producer: BaseProducer<Observer>,
}

impl Feed {
    /// A producer for the cluster at `brokers`.
    pub fn new(brokers: &str) -> Result<Feed, Fault> {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            // Batches large enough to be cheap, soon enough to be fresh.
            .set("linger.ms", "5")
            .set("batch.num.messages", "5000")
            .create_with_context(Observer::default())
            .map_err(|error| Fault::us(format!("making a producer: {error}")))?;
        Ok(Feed { producer })
    }

    /// Sends a record; waits while there is no room.
    pub fn send(&self, topic: &str, partition: i32, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        let mut record = BaseRecord::to(topic).partition(partition).key(key).payload(value);
        let mut deadline = None;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                    if *deadline.get_or_insert_with(|| Instant::now() + ROOM_MAX)
                        > Instant::now() =>
                {
                    record = back;
                    self.serve(Duration::from_millis(5));
                }
                Err((error, _)) => {
                    return Err(Fault::world(format!("sending to {topic}/{partition}: {error}")));
                }
            }
        }
    }

    /// Serves the producer; waits for news as long as that.
    pub fn serve(&self, wait: Duration) {
        self.producer.poll(wait);
    }

    /// Waits until all that was sent is delivered.
    pub fn flush(&self, within: Duration) -> Result<(), Fault> {
        let flushed = self.producer.flush(within);
        flushed.map_err(|error| Fault::world(format!("delivering what was sent: {error}")))
    }
}
