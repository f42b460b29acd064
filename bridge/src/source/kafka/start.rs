//! Where a partition starts: where the intake says, or before it where the committed offset (the
//! group's, or the file's) is not that far (dead letters of what lies between may not be stored
//! yet); else where the committed offset is, else where the configuration says. `--from` comes
//! before all of it, once.

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;

use super::KafkaSource;
use crate::batch::{PartitionIndex, TopicPartition};
use crate::blame::Fault;
use crate::config::Start;
use crate::kafka::{errors, places};

impl KafkaSource {
    /// The offset of every partition that waits for its start. Asks the coordinator and, for what
    /// is not an offset, the partitions' leaders.
    pub(super) fn resolve(&mut self) -> Result<Vec<(PartitionIndex, i64)>, Fault> {
        let mut offsets = Vec::with_capacity(self.starts.len());
        let mut placed: Vec<(PartitionIndex, Start)> = Vec::new();
        let (mut asked, mut told) = (Vec::new(), Vec::new());
        for (index, at) in &self.starts {
            let partition = self.table.get(*index);
            let TopicPartition { topic, partition: number } = &partition.name;
            let once = self.plan.from.as_ref().filter(|_| !partition.met);
            match (at, once.filter(|once| once.overrules(topic, *number))) {
                (Some(at), _) => told.push((*index, *at)),
                (None, Some(once)) => placed.push((*index, once.clone())),
                (None, None) => asked.push(*index),
            }
        }
        let unknown = self.committed(&asked, &mut offsets)?;
        let indexes: Vec<PartitionIndex> = told.iter().map(|(index, _)| *index).collect();
        for index in asked.iter().chain(&indexes) {
            let partition = self.table.get_mut(*index);
            partition.kept_of = self.keeper.topic(&partition.name);
        }
        let mut known = Vec::new();
        self.committed(&indexes, &mut known)?;
        offsets.extend(told.into_iter().map(|(index, at)| {
            let committed = known.iter().find(|(known, _)| *known == index);
            (index, committed.map_or(at, |(_, committed)| at.min(*committed)))
        }));
        if self.plan.start == Start::Committed
            && let Some(index) = unknown.first()
        {
            let name = &self.table.get(*index).name;
            let group = &self.plan.group;
            return Err(Fault::operator(format!(
                "{name} has no committed offset in {group}, and `start` is \"committed\""
            ))
            .hint("start = \"earliest\" or \"latest\", or `bridge run --from earliest` once"));
        }
        placed.extend(unknown.iter().map(|index| (*index, self.start_of(*index))));
        let found = self.places(&placed)?;
        self.anchor(&placed, &found)?;
        offsets.extend(found);
        self.bind(&mut offsets)?;
        Ok(offsets)
    }

    /// Whether a partition came to be since we began.
    fn is_new(&self, index: PartitionIndex) -> bool {
        let TopicPartition { topic, partition } = &self.table.get(index).name;
        let known = self.known_partitions.get(&**topic);
        known.is_none_or(|count| *partition >= *count)
    }

    /// Where a partition starts that the group never committed. A new one has records already when
    /// it is met: an end of its own would leave them out.
    fn start_of(&self, index: PartitionIndex) -> Start {
        let start = &self.plan.start;
        if moves(start) && self.is_new(index) { Start::Earliest } else { start.clone() }
    }

    /// Adds what the group has committed; the partitions for which there is nothing.
    fn committed(
        &self,
        asked: &[PartitionIndex],
        offsets: &mut Vec<(PartitionIndex, i64)>,
    ) -> Result<Vec<PartitionIndex>, Fault> {
        let mut unknown = Vec::new();
        if asked.is_empty() {
            return Ok(unknown);
        }
        let name = |index: &PartitionIndex| self.table.get(*index).name.clone();
        let names: Vec<TopicPartition> = asked.iter().map(name).collect();
        let known = self.keeper.committed(&names, &self.membership)?;
        for (index, next) in asked.iter().zip(known) {
            match next {
                Some(next) => offsets.push((*index, next)),
                None => unknown.push(*index),
            }
        }
        Ok(unknown)
    }

    /// Places as offsets. All partitions are asked for at once.
    fn places(
        &self,
        placed: &[(PartitionIndex, Start)],
    ) -> Result<Vec<(PartitionIndex, i64)>, Fault> {
        let each = placed.iter().map(|(index, start)| (&self.table.get(*index).name, start));
        let wanted: Vec<(&TopicPartition, &Start)> = each.collect();
        let found = places::starts(&self.client, &wanted);
        let found =
            found.map_err(|error| self.fault("asking for the ends of partitions", &error))?;
        Ok(placed.iter().map(|(index, _)| *index).zip(found).collect())
    }

    /// One place of one partition.
    pub(super) fn place(&self, name: &TopicPartition, start: &Start) -> Result<i64, Fault> {
        let found = places::starts(&self.client, &[(name, start)]);
        let found =
            found.map_err(|error| self.fault("asking for the ends of partitions", &error))?;
        Ok(found[0])
    }

    /// A partition that starts where a later look would not find it again is committed there at
    /// once: or a crash before its first commit would leave out what came in between.
    fn anchor(
        &mut self,
        placed: &[(PartitionIndex, Start)],
        found: &[(PartitionIndex, i64)],
    ) -> Result<(), Fault> {
        let is_anchored = |(index, _): &(PartitionIndex, i64)| {
            let start = placed.iter().find(|(placed, _)| placed == index);
            start.is_some_and(|(_, start)| moves(start)) || self.is_new(*index)
        };
        let at: Vec<_> = found.iter().copied().filter(is_anchored).collect();
        self.commits_at_start(&at)
    }

    pub(super) fn fault(&self, doing: &str, error: &KafkaError) -> Fault {
        errors::fault(doing, error, self.client.context().diagnostics.last_words())
    }
}

/// Whether a later look would find another place.
fn moves(start: &Start) -> bool {
    matches!(start, Start::Latest | Start::Ago(_) | Start::BeforeEnd(_))
}
