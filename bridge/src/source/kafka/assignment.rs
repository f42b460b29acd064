//! Taking and giving up partitions, by the group's protocol: cooperative (what stays goes on while
//! others move) or eager (everything is given up and dealt anew). Without a group they are taken
//! one by one, and kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{Consumer, RebalanceProtocol};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use super::commit::Commits;
use super::fetch::{Client, introduce};
use super::keeper::Keeper;
use super::lag::Ahead;
use super::rebalance::Change;
use super::stable::Stable;
use super::table::{Channel, Standing};
use super::{Event, KafkaSource};
use crate::batch::{PartitionIndex, TopicPartition};
use crate::blame::{Blame, Fault};
use crate::kafka::errors;
use crate::kafka::hold::{self, Outlet};

/// By which rules partitions come and go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Dealing {
    /// Some at a time, as the group says.
    Cooperative,
    /// All anew each time, as the group says.
    Eager,
    /// They come, as we find them.
    Alone,
}

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
        if let Some(event) = self.told.pop_front() {
            if let Event::Missed(index, _) | Event::WentBack(index, _) = event {
                self.table.get_mut(index).gone = false;
            }
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
        if self.dealing() == Dealing::Eager && self.starts.len() < awarded {
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

    fn dealing(&self) -> Dealing {
        match (&self.keeper, self.client.rebalance_protocol()) {
            (Keeper::Alone(_), _) => Dealing::Alone,
            (Keeper::Group(_), RebalanceProtocol::Cooperative) => Dealing::Cooperative,
            (Keeper::Group(_), _) => Dealing::Eager,
        }
    }

    /// Gives partitions to the client. Their channels come first: a partition that is assigned
    /// before its queue is split sends its first records elsewhere.
    fn assign(&mut self, offsets: &[(PartitionIndex, i64)]) -> Result<(), Fault> {
        self.stay()?;
        for (index, offset) in offsets {
            self.open_channel(*index)?;
            let partition = self.table.get_mut(*index);
            partition.position = *offset;
            partition.sent = -1;
            partition.gone = false;
            partition.paused = false;
            partition.met = true;
            partition.ahead = Ahead::default();
            partition.trouble = None;
            partition.over = false;
            partition.standing = Standing::Owned;
        }
        match self.dealing() {
            // Of those that we fetch ourselves the library knows nothing.
            Dealing::Alone => self.start_by_library(offsets)?,
            dealing => {
                // Before they are assigned, or a first fetch would go out; and after, should the
                // client not have known them.
                self.pause_own(offsets)?;
                match dealing {
                    Dealing::Cooperative => {
                        let list = self.table.list(offsets)?;
                        self.assigned(self.client.incremental_assign(&list))?;
                    }
                    _ => self.assign_all()?,
                }
                self.pause_own(offsets)?;
            }
        }
        self.read_own(offsets);
        Ok(())
    }

    /// Lets those that stay, while others come or go, go on where we are; said before the library
    /// is answered. It has stopped them until then, and would go on by a count of its own, which in
    /// batches takes an error for a record (2.12): behind the end of a log it is past the next one.
    fn stay(&self) -> Result<(), Fault> {
        if self.dealing() != Dealing::Cooperative {
            return Ok(());
        }
        let owned = self.table.standing(Standing::Owned);
        let by_library = owned.filter(|index| !self.table.get(*index).is_own());
        let ours: Vec<(PartitionIndex, i64)> =
            by_library.map(|index| (index, self.table.get(index).position)).collect();
        if ours.is_empty() {
            return Ok(());
        }
        let counted = self.client.position();
        let counted = counted.map_err(|error| self.fault("asking for positions", &error))?;
        let is_astray = |(index, position): &(PartitionIndex, i64)| {
            let name = &self.table.get(*index).name;
            let found = counted.find_partition(&name.topic, name.partition);
            let count = found.map_or(Offset::Invalid, |found| found.offset());
            // Nothing was taken since it was assigned or sought, and so nothing was counted.
            count != Offset::Invalid && count != Offset::Offset(*position)
        };
        let astray: Vec<_> = ours.into_iter().filter(is_astray).collect();
        if astray.is_empty() {
            return Ok(());
        }
        let list = self.table.list(&astray)?;
        // Nobody waits for it: it comes before the answer in the same queue. One that does not
        // fetch, as its offset was out of range, is not sought; it will be placed anew.
        let sought = self.client.seek_partitions(list, Duration::ZERO);
        self.assigned(sought.map(drop))
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
            let partition = self.table.get_mut(*index);
            if let Some(Channel::Own(tap)) = &mut partition.channel {
                tap.begin(*offset, partition.kept_of);
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
        let list = self.table.list(&own)?;
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
        let list = self.table.list(&[(index, position)])?;
        self.assigned(self.client.resume(&list))?;
        self.reposition(index, position)
    }

    /// The eager way: the whole assignment, each partition at its place.
    fn assign_all(&mut self) -> Result<(), Fault> {
        let owned = self.table.standing(Standing::Owned);
        let all: Vec<_> = owned.map(|index| (index, self.table.get(index).position)).collect();
        let list = self.table.list(&all)?;
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
        if !self.table.get(index).is_own() {
            // A new assignment is an answer, too, should the library wait for one.
            self.stay()?;
        }
        let partition = self.table.get_mut(index);
        partition.position = offset;
        partition.gone = false;
        partition.trouble = None;
        partition.over = false;
        if let Some(Channel::Own(tap)) = &mut partition.channel {
            tap.start(offset);
            return Ok(());
        }
        // A seek is refused while the library still looks for the partition's first offset, and
        // after an offset that was out of range; a new assignment never is, nor is a new start.
        match self.dealing() {
            Dealing::Alone => self.start_by_library(&[(index, offset)]),
            Dealing::Eager => self.assign_all(),
            Dealing::Cooperative => {
                let list = self.table.list(&[(index, offset)])?;
                self.assigned(self.client.incremental_unassign(&list))?;
                self.assigned(self.client.incremental_assign(&list))
            }
        }
    }

    /// Without a group: those that the library fetches, each at its place.
    fn start_by_library(&self, offsets: &[(PartitionIndex, i64)]) -> Result<(), Fault> {
        for (index, offset) in offsets {
            let partition = self.table.get(*index);
            if !partition.is_own() {
                let (topic, number) = (&partition.topic, partition.name.partition);
                let started = hold::start(&self.client, topic, number, *offset, Outlet::Own);
                self.assigned(started)?;
            }
        }
        Ok(())
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
        self.stay()?;
        let result = match self.dealing() {
            Dealing::Cooperative => {
                let list = self.table.list(&owned)?;
                self.client.incremental_unassign(&list)
            }
            Dealing::Eager => self.client.unassign(),
            // Nobody takes them from us.
            Dealing::Alone => Ok(()),
        };
        result.map_err(|error| {
            let words = self.client.context().diagnostics.last_words();
            errors::fault("giving up partitions", &error, words)
        })
    }

    /// Makes the client anew and joins the group again; everything that was ours is lost.
    pub(super) fn begin_again(&mut self) -> Result<(), Fault> {
        tracing::warn!("joining {} again under a new name", self.plan.group);
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
        let client = super::join(&self.config, &self.plan, &self.bell, &self.settings)?;
        self.commits = Commits::new();
        self.keeper = Keeper::group(&client);
        self.stable = Stable::new(&client, &self.config);
        self.membership.renew(&client);
        self.client = client;
        self.told.clear();
        self.told.extend((!lost.is_empty()).then_some(Event::Lost(lost)));
        Ok(())
    }

    /// Leaves the group, or is done with waiting for it at `deadline`.
    pub(super) fn leave(&mut self, deadline: Instant) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        self.leaving = None;
        for partition in &mut self.table.partitions {
            partition.standing = Standing::Away;
            match &mut partition.channel {
                Some(Channel::Own(tap)) => tap.stop(),
                Some(Channel::Library(_)) if matches!(self.keeper, Keeper::Alone(_)) => {
                    hold::stop(&self.client, &partition.topic, partition.name.partition);
                }
                _ => {}
            }
        }
        if let Some(plane) = &self.plane {
            plane.close(deadline);
        }
        if !part_with(&self.client, deadline) {
            tracing::warn!("leaving {} took too long", self.plan.group);
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
