//! Names behind partition indexes, for those who tell where a row came from.

use std::sync::RwLock;

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
