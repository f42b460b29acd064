//! The partitions that this process has met: their index, and how each stands. Grows, never
//! shrinks: an index means the same partition for as long as the process lives.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::{Arc, RwLock};

use rdkafka::{Offset, TopicPartitionList};

use super::fetch::{Client, Queue};
use super::lag::Ahead;
use super::own::{Tap, Trouble};
use crate::batch::{PartitionIndex, TopicPartition};
use crate::blame::Fault;
use crate::kafka::progress::Point;
use crate::kafka::wire::metadata::TopicId;
use crate::range::Offsets;

/// Names behind indexes, for those outside the intake thread.
#[derive(Clone, Debug, Default)]
pub struct Roster(Arc<RwLock<Vec<TopicPartition>>>);

impl Roster {
    /// The name of a partition that was met.
    pub fn name_of(&self, partition: PartitionIndex) -> TopicPartition {
        let names = self.0.read().expect("no one panics with it");
        names[partition.0 as usize].clone()
    }

    fn push(&self, name: TopicPartition) {
        self.0.write().expect("no one panics with it").push(name);
    }
}

/// Whose a partition is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Somebody else's.
    Away,
    /// Ours by the group's word; not assigned to the client yet.
    Awarded,
    /// Ours, and being fetched.
    Owned,
}

/// One partition.
pub struct Partition {
    /// Its name.
    pub name: TopicPartition,
    /// The same for the library.
    pub topic: CString,
    /// Its records' way; made at its first assignment and kept, so that it is never without its
    /// bell.
    pub channel: Option<Channel>,
    /// Whose it is.
    pub standing: Standing,
    /// The offset after the last record that was taken, or where reading began. Our own count:
    /// the library's is moved by error messages.
    pub position: i64,
    /// The offset of the commit that was sent last; -1 before the first.
    pub sent: i64,
    /// What was to be read is not in the log any more, and what was decided was not told yet: what
    /// was stored before may be of another topic, and is not committed.
    pub gone: bool,
    /// The number of the topic that the offset is of at which it starts, if it is known.
    pub kept_of: Option<TopicId>,
    /// What is known of its end.
    pub ahead: Ahead,
    /// Nothing is taken while it is paused.
    pub paused: bool,
    /// Whether it was assigned before: `--from` counts once.
    pub met: bool,
    /// What was said after the records that were taken last.
    pub trouble: Option<Trouble>,
    /// What of it is to be read, if not all.
    pub bounds: Option<Offsets>,
    /// Whether it was told that all of that was taken.
    pub over: bool,
}

/// Which way a partition's records come.
pub enum Channel {
    /// Fetched by the library.
    Library(Queue),
    /// Fetched by ourselves; the library has the partition, paused.
    Own(Tap),
}

impl Partition {
    /// Its queue in the client, apart from the client's own.
    pub fn split(&self, client: &Client) -> Result<Queue, Fault> {
        let queue = Queue::split(client, &self.topic, self.name.partition);
        queue.ok_or_else(|| Fault::us(format!("no queue for {}", self.name)))
    }

    /// An offset of what was read, to be committed; `None` while it may be another log.
    pub fn point(&self, next: i64) -> Option<Point> {
        match &self.channel {
            Some(Channel::Own(tap)) => tap.point(next),
            _ => Some(Point { next, topic: None }),
        }
    }

    /// Whether the place that was read is gone, perhaps for it is another log, and nobody has
    /// decided how to go on.
    pub fn has_lost_place(&self) -> bool {
        let untold = matches!(&self.channel, Some(Channel::Own(tap)) if tap.has_lost_place());
        untold || self.gone || self.trouble.as_ref().is_some_and(Trouble::is_lost_place)
    }

    /// The number of its topic by now, if that is another one than was read.
    pub fn another(&self) -> Option<TopicId> {
        match &self.channel {
            Some(Channel::Own(tap)) => tap.another(),
            _ => None,
        }
    }

    /// Whether we fetch it ourselves.
    pub fn is_own(&self) -> bool {
        matches!(self.channel, Some(Channel::Own(_)))
    }
}

/// All partitions.
#[derive(Default)]
pub struct Table {
    /// By index.
    pub partitions: Vec<Partition>,
    /// Names, shared.
    pub roster: Roster,
    indexes: HashMap<TopicPartition, PartitionIndex>,
}

impl Table {
    /// The index of a partition; a new one if it was never met.
    pub fn index_of(&mut self, name: &TopicPartition) -> Result<PartitionIndex, Fault> {
        if let Some(index) = self.indexes.get(name) {
            return Ok(*index);
        }
        let index = PartitionIndex(self.partitions.len() as u32);
        let topic = CString::new(&*name.topic)
            .map_err(|_| Fault::us(format!("topic {:?} has a NUL in its name", name.topic)))?;
        self.partitions.push(Partition {
            name: name.clone(),
            topic,
            channel: None,
            standing: Standing::Away,
            position: 0,
            sent: -1,
            gone: false,
            kept_of: None,
            ahead: Ahead::default(),
            paused: false,
            met: false,
            trouble: None,
            bounds: None,
            over: false,
        });
        self.indexes.insert(name.clone(), index);
        self.roster.push(name.clone());
        Ok(index)
    }

    /// The index of a partition that was met.
    pub fn find(&self, name: &TopicPartition) -> Option<PartitionIndex> {
        self.indexes.get(name).copied()
    }

    /// A partition by its index.
    pub fn get(&self, index: PartitionIndex) -> &Partition {
        &self.partitions[index.0 as usize]
    }

    /// A partition by its index.
    pub fn get_mut(&mut self, index: PartitionIndex) -> &mut Partition {
        &mut self.partitions[index.0 as usize]
    }

    /// A list for the library.
    pub fn list(&self, offsets: &[(PartitionIndex, i64)]) -> Result<TopicPartitionList, Fault> {
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for (index, offset) in offsets {
            let name = &self.get(*index).name;
            list.add_partition_offset(&name.topic, name.partition, Offset::Offset(*offset))
                .map_err(|_| Fault::us(format!("{name} cannot stand at offset {offset}")))?;
        }
        Ok(list)
    }

    /// The partitions that stand so.
    pub fn standing(&self, standing: Standing) -> impl Iterator<Item = PartitionIndex> {
        let all = self.partitions.iter().enumerate();
        all.filter(move |(_, partition)| partition.standing == standing)
            .map(|(index, _)| PartitionIndex(index as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_means_the_same_partition_for_ever() {
        let mut table = Table::default();
        let name = |partition| TopicPartition { topic: "a".into(), partition };
        let first = table.index_of(&name(3)).expect("a fine name");
        let second = table.index_of(&name(0)).expect("a fine name");
        assert_ne!(first, second);
        assert_eq!(table.index_of(&name(3)).expect("a fine name"), first);
        assert_eq!(table.roster.name_of(second), name(0));
        assert_eq!(table.find(&name(7)), None);
    }
}
