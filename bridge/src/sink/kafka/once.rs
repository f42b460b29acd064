//! Exactly once from topic to topic: records, and how far the group has come with theirs, are one
//! transaction (KIP-98), and a broker refuses it from who is no member of the group any more
//! (KIP-447).
//!
//! ```text
//! payload ─▶ begin · records … · offsets of the group, as this member · commit ─▶ receipt
//! ```
//!
//! An offset says that everything before it is in the other topics or was left out. So what is
//! refused is in the dead letters first; every batch leaves a mark of how far it went, with rows
//! or without; and where payloads go back unstored, nothing behind them is stored before their
//! partition is claimed and read again from the group's offset.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::{Offset, TopicPartitionList};
use tokio::task::block_in_place;

use super::origin::Origins;
use crate::batch::{Line, PartitionIndex, Payload, TopicPartition};
use crate::blame::{Blame, Fault};
use crate::sink::{BoxFuture, Claimed, Claims};
use crate::source::Membership;

/// In the place of a topic's number: a line that is no row, but says how far its batch went.
pub const MARK: u32 = u32::MAX;
/// Time between two questions to a coordinator that could not answer.
const AGAIN: Duration = Duration::from_millis(200);

/// What couriers know of the group.
pub struct Once {
    /// How transactional ids begin.
    id: String,
    group: OnceLock<Membership>,
    partitions: Mutex<Partitions>,
}

#[derive(Default)]
struct Partitions {
    /// Claimed before: they go on where the group is, whatever the configuration says of a start.
    /// And how often partitions had been lost when they were.
    met: HashMap<PartitionIndex, u64>,
    /// Rows of theirs went back unstored.
    closed: HashSet<PartitionIndex>,
}

impl Once {
    /// For transactional ids that begin so. A process that comes back under the same ones ends what
    /// it had under way before.
    pub fn new(id: String) -> Once {
        Once { id, group: OnceLock::new(), partitions: Mutex::default() }
    }

    /// This is the group.
    pub fn join(&self, group: Membership) {
        // A ring has one source.
        let _ = self.group.set(group);
    }

    /// The transactional id of a courier.
    pub fn id(&self, who: usize) -> String {
        format!("{}-{who}", self.id)
    }

    /// Who we are in the group just now.
    pub fn metadata(&self) -> Result<ConsumerGroupMetadata, Fault> {
        let found = self.group.get().and_then(Membership::metadata);
        found.ok_or_else(|| Fault::world("this process is no member of the group just now"))
    }

    /// Whether rows of one of these are to go back unstored, because some before them did, or
    /// because the partition was lost since it was claimed. A loss counts before the group is
    /// joined again: what is not closed once it is known who we are may be committed as that.
    pub fn is_closed(&self, reach: &Reach) -> bool {
        let losses = self.losses();
        let partitions = self.partitions.lock().expect("no one panics with it");
        let is_open = |partition| {
            partitions.met.get(partition) == Some(&losses) && !partitions.closed.contains(partition)
        };
        !reach.0.keys().all(is_open)
    }

    fn losses(&self) -> u64 {
        self.group.get().map_or(0, Membership::losses)
    }

    /// Rows of these go back unstored.
    pub fn close(&self, reach: &Reach) {
        let mut partitions = self.partitions.lock().expect("no one panics with it");
        partitions.closed.extend(reach.0.keys());
    }

    async fn claim(&self, wanted: Vec<(PartitionIndex, TopicPartition)>) -> Result<Claimed, Fault> {
        let losses = self.losses();
        let again: Vec<(PartitionIndex, TopicPartition)> = {
            let partitions = self.partitions.lock().expect("no one panics with it");
            wanted.iter().filter(|(index, _)| partitions.met.contains_key(index)).cloned().collect()
        };
        let names: Vec<TopicPartition> = again.iter().map(|(_, name)| name.clone()).collect();
        let committed = loop {
            let group = self.group.get().filter(|_| !names.is_empty());
            let Some(group) = group else { break Vec::new() };
            match block_in_place(|| group.committed(&names)) {
                Ok(committed) => break committed,
                Err(fault) if fault.blame == Blame::World => tokio::time::sleep(AGAIN).await,
                Err(fault) => return Err(fault),
            }
        };
        let mut partitions = self.partitions.lock().expect("no one panics with it");
        let known = |index: PartitionIndex| {
            let place = again.iter().position(|(known, _)| *known == index)?;
            committed[place]
        };
        let claim = |(index, _): (PartitionIndex, TopicPartition)| {
            partitions.met.insert(index, losses);
            partitions.closed.remove(&index);
            (index, known(index))
        };
        Ok(wanted.into_iter().map(claim).collect())
    }
}

impl Claims for Once {
    fn patience(&self, _: PartitionIndex) -> Duration {
        Duration::ZERO
    }

    fn claim(
        self: Arc<Self>,
        wanted: Vec<(PartitionIndex, TopicPartition)>,
    ) -> BoxFuture<'static, Result<Claimed, Fault>> {
        Box::pin(async move { Once::claim(&self, wanted).await })
    }
}

/// How far partitions are once payloads are stored: the offset to go on from.
#[derive(Default, Debug)]
pub struct Reach(BTreeMap<PartitionIndex, i64>);

impl Reach {
    /// Takes the marks out of a payload.
    pub fn take(&mut self, payload: &mut Payload) {
        payload.buffers.lines.retain(|Line { partition, offset, layout, .. }| {
            let next = self.0.entry(*partition).or_default();
            *next = (*next).max(offset + 1);
            *layout != MARK
        });
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// As the group has it.
    pub fn offsets(&self, origins: &Origins) -> Result<TopicPartitionList, Fault> {
        let mut list = TopicPartitionList::with_capacity(self.0.len());
        for (partition, next) in &self.0 {
            let name = origins.of(*partition);
            let name = name.ok_or_else(|| Fault::us("a row of a partition that nobody met"))?;
            list.add_partition_offset(&name.topic, name.partition, Offset::Offset(*next))
                .map_err(|_| Fault::us("an offset that the library does not take"))?;
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::batch::{Buffers, Route};

    fn payload(lines: &[(u32, i64, u32)]) -> Payload {
        let mut buffers = Buffers::default();
        for (partition, offset, layout) in lines {
            let end = buffers.bytes.len() as u32;
            let (partition, layout) = (PartitionIndex(*partition), *layout);
            buffers.lines.push(Line { offset: *offset, partition, row: 0, layout, end });
        }
        let (opened, shares) = (Instant::now(), vec![]);
        Payload {
            table: "t".into(),
            layout: 0,
            buffers,
            shares,
            route: Route::Primary,
            opened,
            due: opened,
            timestamps: (0, 0),
        }
    }

    /// Claims partitions; for the first time, or the group would have to be asked.
    async fn claim(once: &Arc<Once>, partitions: &[u32]) {
        once.partitions.lock().expect("it is whole").met.clear();
        let name = |partition| TopicPartition { topic: "t".into(), partition };
        let wanted = partitions.iter().map(|index| (PartitionIndex(*index), name(*index as i32)));
        let claimed = Claims::claim(Arc::clone(once), wanted.collect()).await;
        let claimed = claimed.expect("nobody is asked at first");
        assert!(claimed.iter().all(|(_, next)| next.is_none()), "{claimed:?}");
    }

    #[test]
    fn marks_move_offsets_and_are_no_rows() {
        let mut reach = Reach::default();
        let mut one = payload(&[(0, 4, 0), (0, 9, MARK), (1, 2, MARK)]);
        reach.take(&mut one);
        assert_eq!(one.buffers.lines.len(), 1);
        reach.take(&mut payload(&[(0, 7, 1), (2, 0, MARK)]));
        let at = |n: u32| reach.0.get(&PartitionIndex(n)).copied();
        assert_eq!((at(0), at(1), at(2)), (Some(10), Some(3), Some(1)));
    }

    #[tokio::test]
    async fn what_went_back_is_closed_until_it_is_claimed() {
        let once = Arc::new(Once::new("id".into()));
        claim(&once, &[3, 4, 5]).await;
        let (mut back, mut other) = (Reach::default(), Reach::default());
        back.take(&mut payload(&[(3, 1, 0)]));
        other.take(&mut payload(&[(4, 1, 0)]));
        once.close(&back);
        assert!(once.is_closed(&back) && !once.is_closed(&other));
        back.take(&mut payload(&[(5, 1, 0)]));
        assert!(once.is_closed(&back), "one of them is enough");
        claim(&once, &[3, 5]).await;
        assert!(!once.is_closed(&back));
    }

    #[tokio::test]
    async fn what_was_lost_since_it_was_claimed_goes_back() {
        let once = Arc::new(Once::new("id".into()));
        let group = Membership::default();
        once.join(group.clone());
        let mut reach = Reach::default();
        reach.take(&mut payload(&[(3, 1, 0)]));
        assert!(once.is_closed(&reach), "nobody claimed it");
        claim(&once, &[3]).await;
        assert!(!once.is_closed(&reach));
        group.lose();
        assert!(once.is_closed(&reach), "it may be somebody else's");
    }
}
