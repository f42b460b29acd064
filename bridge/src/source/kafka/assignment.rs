//! Taking and giving up partitions, by the group's protocol: cooperative (what stays goes on while
//! others move) or eager (everything is given up and dealt anew).

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{Consumer, RebalanceProtocol};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use super::commit::Commits;
use super::fetch::{Client, introduce};
use super::lag::Ahead;
use super::rebalance::Change;
use super::stable::Stable;
use super::table::{Channel, Standing};
use super::{Event, KafkaSource};
use crate::batch::{PartitionIndex, TopicPartition};
use crate::blame::{Blame, Fault};
use crate::kafka::errors;

/// A revocation that is being drained.
#[derive(Debug)]
pub struct Leaving {
    /// All partitions that go.
    all: Vec<PartitionIndex>,
    /// Those that were not released yet.
    waiting: Vec<PartitionIndex>,
}

/// How long it may take to be rid of a client that is of no use any more.
const PART_MAX: Duration = Duration::from_secs(2);
/// Time between two tries to find out where to start.
const START_AGAIN: Duration = Duration::from_secs(1);

impl KafkaSource {
    /// The next change of what is ours, if the last one was answered.
    pub(super) fn next_event(&mut self) -> Result<Option<Event>, Fault> {
        if let Some(event) = self.told.take() {
            return Ok(Some(event));
        }
        if let Some(leaving) = &self.leaving {
            // The session may end during the drain: then the partitions are somebody else's.
            if !self.client.assignment_lost() {
                return Ok(None);
            }
            let all = leaving.all.clone();
            self.leaving = None;
            return self.lose(all).map(Some);
        }
        while let Some(change) = self.client.context().next_change() {
            match change {
                Change::Assign(names) => {
                    let awarded = self.indexes(&names)?;
                    for index in &awarded {
                        self.table.get_mut(*index).standing = Standing::Awarded;
                    }
                    if !awarded.is_empty() {
                        return Ok(Some(Event::Assigned(awarded)));
                    }
                    // Nothing new is an answer that the group waits for, too.
                    self.assign(&[])?;
                }
                Change::Revoke { partitions, lost } => {
                    let all = self.indexes(&partitions)?;
                    self.starts.retain(|(index, _)| !all.contains(index));
                    if all.is_empty() {
                        self.unassign(&all)?;
                    } else if lost {
                        return self.lose(all).map(Some);
                    } else {
                        self.leaving = Some(Leaving { waiting: all.clone(), all: all.clone() });
                        return Ok(Some(Event::Revoked(all)));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Partitions are somebody else's already.
    fn lose(&mut self, all: Vec<PartitionIndex>) -> Result<Event, Fault> {
        self.lost_at = Some(Instant::now());
        self.membership.lose();
        self.unassign(&all)?;
        Ok(Event::Lost(all))
    }

    fn indexes(&mut self, names: &[TopicPartition]) -> Result<Vec<PartitionIndex>, Fault> {
        names.iter().map(|name| self.table.index_of(name)).collect()
    }

    /// Assigns the partitions that the intake wants to read, as soon as it is known where.
    pub(super) fn finish_starts(&mut self) -> Result<(), Fault> {
        if self.starts.is_empty() || Instant::now() < self.starts_at {
            return Ok(());
        }
        self.starts.retain(|(index, _)| self.table.get(*index).standing == Standing::Awarded);
        // An eager assignment is answered as a whole.
        let awarded = self.table.standing(Standing::Awarded).count();
        if !self.is_cooperative() && self.starts.len() < awarded {
            return Ok(());
        }
        match self.resolve() {
            Ok(offsets) => {
                self.starts.clear();
                self.assign(&offsets)
            }
            Err(fault) if fault.blame == Blame::World => {
                self.starts_at = Instant::now() + START_AGAIN;
                self.warn(&format!("{}; trying again", fault.message));
                Ok(())
            }
            Err(fault) => Err(fault),
        }
    }

    fn is_cooperative(&self) -> bool {
        matches!(self.client.rebalance_protocol(), RebalanceProtocol::Cooperative)
    }

    /// Gives partitions to the client. Their channels come first: a partition that is assigned
    /// before its queue is split sends its first records elsewhere.
    fn assign(&mut self, offsets: &[(PartitionIndex, i64)]) -> Result<(), Fault> {
        for (index, offset) in offsets {
            self.open_channel(*index)?;
            let partition = self.table.get_mut(*index);
            partition.position = *offset;
            partition.sent = -1;
            partition.paused = false;
            partition.met = true;
            partition.ahead = Ahead::default();
            partition.trouble = None;
            partition.standing = Standing::Owned;
        }
        // Before they are assigned, or a first fetch would go out; and after, should the client not
        // have known them.
        self.pause_own(offsets)?;
        if self.is_cooperative() {
            let list = self.list(offsets)?;
            self.assigned(self.client.incremental_assign(&list))?;
        } else {
            self.assign_all()?;
        }
        self.pause_own(offsets)?;
        self.read_own(offsets);
        Ok(())
    }

    /// Has a way for a partition's records.
    fn open_channel(&mut self, index: PartitionIndex) -> Result<(), Fault> {
        let partition = self.table.get_mut(index);
        if partition.channel.is_none() {
            let channel = match &self.plane {
                Some(plane) => Channel::Own(plane.tap(&partition.name)),
                None => Channel::Library(partition.split(&self.client)?),
            };
            partition.channel = Some(channel);
        }
        Ok(())
    }

    /// Begins to fetch those partitions that we fetch ourselves.
    fn read_own(&mut self, offsets: &[(PartitionIndex, i64)]) {
        for (index, offset) in offsets {
            if let Some(Channel::Own(tap)) = &mut self.table.get_mut(*index).channel {
                tap.start(*offset);
            }
        }
    }

    /// The library has partitions that we fetch, for the group's sake, but reads nothing of them.
    fn pause_own(&self, offsets: &[(PartitionIndex, i64)]) -> Result<(), Fault> {
        let is_own = |(index, _): &(PartitionIndex, i64)| self.table.get(*index).is_own();
        let own: Vec<_> = offsets.iter().copied().filter(is_own).collect();
        if own.is_empty() {
            return Ok(());
        }
        for (index, _) in &own {
            let partition = self.table.get(*index);
            introduce(&self.client, &partition.topic, partition.name.partition);
        }
        let list = self.list(&own)?;
        self.assigned(self.client.pause(&list))
    }

    /// Leaves a partition that we cannot read to the library.
    pub(super) fn hand_over(&mut self, index: PartitionIndex, why: &str) -> Result<(), Fault> {
        let partition = self.table.get_mut(index);
        tracing::info!("{} is read by the client library from here on: {why}", partition.name);
        if let Some(Channel::Own(tap)) = &mut partition.channel {
            tap.stop();
        }
        partition.channel = Some(Channel::Library(partition.split(&self.client)?));
        let position = partition.position;
        let list = self.list(&[(index, position)])?;
        self.assigned(self.client.resume(&list))?;
        self.reposition(index, position)
    }

    /// The eager way: the whole assignment, each partition at its place.
    fn assign_all(&mut self) -> Result<(), Fault> {
        let owned = self.table.standing(Standing::Owned);
        let all: Vec<_> = owned.map(|index| (index, self.table.get(index).position)).collect();
        let list = self.list(&all)?;
        self.assigned(self.client.assign(&list))?;
        self.pause_own(&all)
    }

    fn assigned(&self, result: Result<(), KafkaError>) -> Result<(), Fault> {
        result.map_err(|error| {
            let words = self.client.context().diagnostics.last_words();
            errors::fault("taking over partitions", &error, words)
        })
    }

    /// Reads a partition again from `offset`; what was fetched past the old place is thrown away.
    pub(super) fn reposition(&mut self, index: PartitionIndex, offset: i64) -> Result<(), Fault> {
        let partition = self.table.get_mut(index);
        partition.position = offset;
        partition.trouble = None;
        if let Some(Channel::Own(tap)) = &mut partition.channel {
            tap.start(offset);
            return Ok(());
        }
        // A seek is refused while the library still looks for the partition's first offset, and
        // after an offset that was out of range; a new assignment never is.
        if self.is_cooperative() {
            let list = self.list(&[(index, offset)])?;
            self.assigned(self.client.incremental_unassign(&list))?;
            return self.assigned(self.client.incremental_assign(&list));
        }
        self.assign_all()
    }

    /// Answers a revocation when all of it is drained.
    pub(super) fn let_go(&mut self, partitions: &[PartitionIndex]) -> Result<(), Fault> {
        let Some(leaving) = &mut self.leaving else { return Ok(()) };
        leaving.waiting.retain(|index| !partitions.contains(index));
        if !leaving.waiting.is_empty() {
            return Ok(());
        }
        let all = std::mem::take(&mut leaving.all);
        self.leaving = None;
        self.unassign(&all)
    }

    fn unassign(&mut self, partitions: &[PartitionIndex]) -> Result<(), Fault> {
        let mut owned = Vec::new();
        for index in partitions {
            self.commits.forget(*index);
            let partition = self.table.get_mut(*index);
            if partition.standing == Standing::Owned {
                owned.push((*index, partition.position));
            }
            partition.standing = Standing::Away;
            partition.trouble = None;
            if let Some(Channel::Own(tap)) = &mut partition.channel {
                tap.stop();
            }
        }
        let result = if self.is_cooperative() {
            let list = self.list(&owned)?;
            self.client.incremental_unassign(&list)
        } else {
            self.client.unassign()
        };
        result.map_err(|error| {
            let words = self.client.context().diagnostics.last_words();
            errors::fault("giving up partitions", &error, words)
        })
    }

    /// Makes the client anew and joins the group again; everything that was ours is lost.
    pub(super) fn begin_again(&mut self) -> Result<(), Fault> {
        tracing::warn!("joining group {} again under a new name", self.plan.group);
        let mut lost = Vec::new();
        for (place, partition) in self.table.partitions.iter_mut().enumerate() {
            if partition.standing != Standing::Away {
                lost.push(PartitionIndex(place as u32));
            }
            partition.standing = Standing::Away;
            partition.trouble = None;
            match &mut partition.channel {
                Some(Channel::Own(tap)) => tap.stop(),
                // Queues belong to the old client.
                channel => *channel = None,
            }
        }
        self.starts.clear();
        self.leaving = None;
        self.membership.lose();
        part_with(&self.client, Instant::now() + PART_MAX);
        let client = super::join(&self.config, &self.plan, &self.bell)?;
        self.commits = Commits::new(&client);
        self.stable = Stable::new(&client, &self.config);
        self.membership.renew(&client);
        self.client = client;
        self.told = (!lost.is_empty()).then_some(Event::Lost(lost));
        Ok(())
    }

    /// A list for the library.
    pub(super) fn list(
        &self,
        offsets: &[(PartitionIndex, i64)],
    ) -> Result<TopicPartitionList, Fault> {
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for (index, offset) in offsets {
            let name = &self.table.get(*index).name;
            list.add_partition_offset(&name.topic, name.partition, Offset::Offset(*offset))
                .map_err(|_| Fault::us(format!("{name} cannot stand at offset {offset}")))?;
        }
        Ok(list)
    }

    /// Leaves the group, or is done with waiting for it at `deadline`.
    pub(super) fn leave(&mut self, deadline: Instant) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        self.leaving = None;
        for partition in &mut self.table.partitions {
            partition.standing = Standing::Away;
            if let Some(Channel::Own(tap)) = &mut partition.channel {
                tap.stop();
            }
        }
        if let Some(plane) = &self.plane {
            plane.close(deadline);
        }
        if !part_with(&self.client, deadline) {
            tracing::warn!("leaving group {} took too long", self.plan.group);
        }
    }
}

/// Ends a client's membership; false if that was not done at `deadline`.
fn part_with(client: &Client, deadline: Instant) -> bool {
    // Who already lost the group, or was fenced, has nothing to leave.
    if client.close_queue().is_err() {
        return true;
    }
    while !client.closed() {
        let _ = client.poll(Duration::from_millis(10));
        while let Some(change) = client.context().next_change() {
            // Nothing is drained here: whoever closes has done so.
            let Change::Revoke { partitions, .. } = change else { continue };
            let mut list = TopicPartitionList::with_capacity(partitions.len());
            for name in &partitions {
                list.add_partition(&name.topic, name.partition);
            }
            let _ = match client.rebalance_protocol() {
                RebalanceProtocol::Cooperative => client.incremental_unassign(&list),
                _ => client.unassign(),
            };
        }
        if Instant::now() > deadline {
            // Dropping the client would wait for the group without an end.
            #[expect(clippy::disallowed_methods, reason = "a leak is the lesser evil here")]
            std::mem::forget(Arc::clone(client));
            return false;
        }
    }
    true
}
