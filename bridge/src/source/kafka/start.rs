//! Where a partition starts: where the intake says, or before it where the group's committed offset
//! is not that far (dead letters of what lies between may not be stored yet); else where the
//! group's committed offset is, else where the configuration says. `--from` comes before all of
//! it, once.

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use super::KafkaSource;
use crate::batch::{PartitionIndex, TopicPartition};
use crate::blame::Fault;
use crate::config::Start;
use crate::kafka::errors;
use crate::kafka::topics::REQUEST;

impl KafkaSource {
    /// The offset of every partition that waits for its start. Asks the coordinator and, for the
    /// edges of the log, the partitions' leaders.
    pub(super) fn resolve(&mut self) -> Result<Vec<(PartitionIndex, i64)>, Fault> {
        let mut offsets = Vec::with_capacity(self.starts.len());
        let mut edges: Vec<(PartitionIndex, Start)> = Vec::new();
        let (mut asked, mut told) = (Vec::new(), Vec::new());
        for (index, at) in &self.starts {
            let once = self.plan.from.filter(|_| !self.table.get(*index).met);
            match (at, once) {
                (Some(at), _) => told.push((*index, *at)),
                (None, Some(Start::Earliest | Start::Latest)) => {
                    edges.push((*index, once.expect("matched above")));
                }
                (None, Some(Start::Committed) | None) => asked.push(*index),
            }
        }
        let unknown = self.committed(&asked, &mut offsets)?;
        let indexes: Vec<PartitionIndex> = told.iter().map(|(index, _)| *index).collect();
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
                "{name} has no committed offset in group {group}, and `start` is \"committed\""
            ))
            .hint("start = \"earliest\" or \"latest\", or `bridge run --from earliest` once"));
        }
        edges.extend(unknown.iter().map(|index| (*index, self.plan.start)));
        let found = self.edges(&edges)?;
        self.anchor(&edges, &found);
        offsets.extend(found);
        Ok(offsets)
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
        let doing = format!("asking for the committed offsets of group {}", self.plan.group);
        let mut list = TopicPartitionList::with_capacity(asked.len());
        for index in asked {
            let name = &self.table.get(*index).name;
            list.add_partition(&name.topic, name.partition);
        }
        let answer = self.client.committed_offsets(list, REQUEST);
        let answer = answer.map_err(|error| self.fault(&doing, &error))?;
        for element in answer.elements() {
            element.error().map_err(|error| self.fault(&doing, &error))?;
            let name =
                TopicPartition { topic: element.topic().into(), partition: element.partition() };
            let Some(index) = self.table.find(&name) else { continue };
            match element.offset() {
                Offset::Offset(next) => offsets.push((index, next)),
                _ => unknown.push(index),
            }
        }
        Ok(unknown)
    }

    /// The edges of the log as offsets. All partitions are asked for in one call.
    fn edges(
        &self,
        edges: &[(PartitionIndex, Start)],
    ) -> Result<Vec<(PartitionIndex, i64)>, Fault> {
        if edges.is_empty() {
            return Ok(Vec::new());
        }
        let doing = "asking for the ends of partitions";
        let mut list = TopicPartitionList::with_capacity(edges.len());
        for (index, start) in edges {
            let name = &self.table.get(*index).name;
            // In the place of a time, the protocol's own names for the edges.
            let edge = if *start == Start::Latest { Offset::End } else { Offset::Beginning };
            list.add_partition_offset(&name.topic, name.partition, edge)
                .map_err(|_| Fault::us("an edge is an offset that the library knows"))?;
        }
        let answer = self.client.offsets_for_times(list, REQUEST);
        let answer = answer.map_err(|error| self.fault(doing, &error))?;
        let mut found = Vec::with_capacity(edges.len());
        for element in answer.elements() {
            element.error().map_err(|error| self.fault(doing, &error))?;
            let name =
                TopicPartition { topic: element.topic().into(), partition: element.partition() };
            let Some(index) = self.table.find(&name) else { continue };
            match element.offset() {
                Offset::Offset(offset) => found.push((index, offset)),
                other => return Err(Fault::us(format!("{name} has its edge at {other:?}"))),
            }
        }
        Ok(found)
    }

    /// One edge of one partition.
    pub(super) fn edge(&self, name: &TopicPartition, start: Start) -> Result<i64, Fault> {
        let index = self.table.find(name).ok_or_else(|| Fault::us(format!("{name} is unknown")))?;
        let found = self.edges(&[(index, start)])?;
        found.first().map(|(_, offset)| *offset).ok_or_else(|| {
            Fault::world(format!("asking for the ends of partitions: no word of {name}"))
        })
    }

    /// A partition that starts at the end is committed there at once: or a crash before its first
    /// commit would leave out what came in between.
    fn anchor(&mut self, edges: &[(PartitionIndex, Start)], found: &[(PartitionIndex, i64)]) {
        let is_latest = |index| edges.contains(&(index, Start::Latest));
        let at: Vec<_> = found.iter().copied().filter(|(index, _)| is_latest(*index)).collect();
        self.commits_at_start(&at);
    }

    pub(super) fn fault(&self, doing: &str, error: &KafkaError) -> Fault {
        errors::fault(doing, error, self.client.context().diagnostics.last_words())
    }
}
