//! Names behind numbers: partitions, for those who tell where a row came from, and topics, for
//! those who bring it there.

use std::sync::{Arc, RwLock};

use crate::batch::{PartitionIndex, RecordBatch, TopicPartition};

/// The partitions that lanes have met.
#[derive(Debug, Default)]
pub struct Origins(RwLock<Vec<Option<TopicPartition>>>);

impl Origins {
    /// Takes note of where a batch is from. Asked once for each batch.
    pub fn meet(&self, records: &RecordBatch) {
        let index = records.partition.0 as usize;
        let known = self.0.read().expect("no one panics with it");
        if known.get(index).is_some_and(Option::is_some) {
            return;
        }
        drop(known);
        let mut known = self.0.write().expect("no one panics with it");
        if known.len() <= index {
            known.resize(index + 1, None);
        }
        known[index] = Some(records.source.clone());
    }

    /// A partition by name.
    pub fn of(&self, partition: PartitionIndex) -> Option<TopicPartition> {
        let known = self.0.read().expect("no one panics with it");
        known.get(partition.0 as usize)?.clone()
    }
}

/// The topics that rows are written to, each under the number that its rows bear.
#[derive(Debug, Default)]
pub struct Targets(RwLock<Vec<Arc<str>>>);

impl Targets {
    /// The number of a topic; a new one if it was never met.
    pub fn number(&self, topic: &str) -> u32 {
        let mut known = self.0.write().expect("no one panics with it");
        let found = known.iter().position(|known| &**known == topic);
        found.unwrap_or_else(|| {
            known.push(topic.into());
            known.len() - 1
        }) as u32
    }

    /// The topic of a number.
    pub fn topic(&self, number: u32) -> Option<Arc<str>> {
        self.0.read().expect("no one panics with it").get(number as usize).cloned()
    }

    /// All of them, by number.
    pub fn all(&self) -> Vec<Arc<str>> {
        self.0.read().expect("no one panics with it").clone()
    }
}
