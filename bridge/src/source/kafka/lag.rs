//! How far the log is ahead. Every fetch tells the end of its partition, so nobody is asked.

use super::fetch::end_of;
use super::table::Standing;
use super::{KafkaSource, Lag};
use crate::batch::PartitionIndex;

impl KafkaSource {
    pub(super) fn look_ahead(&mut self) -> Vec<Lag> {
        let owned: Vec<PartitionIndex> = self.table.standing(Standing::Owned).collect();
        let mut lags = Vec::with_capacity(owned.len());
        for index in owned {
            let partition = self.table.get(index);
            let told = end_of(&self.client, &partition.topic, partition.name.partition);
            let end = told.unwrap_or(partition.position).max(partition.position);
            lags.push(Lag { partition: index, end, position: partition.position });
        }
        lags
    }
}
