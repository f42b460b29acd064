//! Reading no more than a range: what is outside is sought past, and a partition is over when its
//! log was read up to the end of what is wanted, be there a record or not (the end of a
//! transaction is none, and compaction takes records out).

use std::time::{Duration, Instant};

use super::table::{Channel, Partition, Standing};
use super::{Event, KafkaSource};
use crate::batch::{PartitionIndex, Taken, TopicPartition};
use crate::blame::Fault;
use crate::kafka::places;

/// Time between two looks whether partitions are over.
const LOOK_EVERY: Duration = Duration::from_millis(10);

impl Partition {
    /// What of these records is wanted; moves on past them.
    pub(super) fn keep(&mut self, mut taken: Taken) -> Option<Taken> {
        let (_, next) = taken.span()?;
        let Some(bounds) = &self.bounds else {
            self.position = next;
            return Some(taken);
        };
        // Otherwise it is about to be sought: `follow_bounds`.
        let span = bounds.from(self.position).filter(|span| span.contains(&self.position))?;
        if next > span.end {
            taken.cut(span.end);
        }
        self.position = next.min(span.end);
        (!taken.is_empty()).then_some(taken)
    }

    /// Nothing more is to come before this offset: the log was read so far.
    pub(super) fn read_to(&self) -> i64 {
        match &self.channel {
            Some(Channel::Own(tap)) => tap.read_to().unwrap_or(self.position).max(self.position),
            _ => self.position,
        }
    }
}

impl KafkaSource {
    /// Finds what is to be read of partitions that are met for the first time, and begins no
    /// earlier.
    pub(super) fn bind(&mut self, offsets: &mut [(PartitionIndex, i64)]) -> Result<(), Fault> {
        let Some(range) = &self.plan.range else { return Ok(()) };
        let of = |index: &PartitionIndex| self.table.get(*index);
        let new: Vec<PartitionIndex> =
            offsets.iter().map(|(index, _)| *index).filter(|at| of(at).bounds.is_none()).collect();
        let names: Vec<&TopicPartition> = new.iter().map(|index| &of(index).name).collect();
        let found = places::bounds(&self.client, range, &names, false);
        let found = found.map_err(|error| self.fault("asking for the ends of a range", &error))?;
        for (index, bounds) in new.into_iter().zip(found) {
            let partition = self.table.get_mut(index);
            tracing::info!("{}: {} offsets are to be read", partition.name, bounds.count());
            partition.bounds = Some(bounds);
        }
        for (index, offset) in offsets {
            let bounds = self.table.get(*index).bounds.as_ref();
            if let Some(span) = bounds.and_then(|bounds| bounds.from(*offset)) {
                *offset = span.start.max(*offset);
            }
        }
        Ok(())
    }

    /// Seeks past what is not wanted; tells which partition is over.
    pub(super) fn follow_bounds(&mut self) -> Result<Option<Event>, Fault> {
        if self.plan.range.is_none() || self.bounds_at > Instant::now() {
            return Ok(None);
        }
        let owned: Vec<PartitionIndex> = self.table.standing(Standing::Owned).collect();
        for index in owned {
            let partition = self.table.get_mut(index);
            // Of another log its offsets say nothing.
            if partition.over || partition.point(partition.position).is_none() {
                continue;
            }
            let Some(bounds) = &partition.bounds else { continue };
            let mut at = partition.position;
            // Before a span its log may have been read, but not for what is in it.
            let is_read =
                |span: &std::ops::Range<i64>| span.contains(&at) && partition.read_to() >= span.end;
            if let Some(span) = bounds.from(at).filter(is_read) {
                at = span.end;
            }
            match bounds.from(at) {
                None => {
                    partition.position = at;
                    partition.over = true;
                    if let Some(Channel::Own(tap)) = &mut partition.channel {
                        tap.stop();
                    }
                    return Ok(Some(Event::Ended(index)));
                }
                Some(span) if at < span.start => self.reposition(index, span.start)?,
                Some(_) => partition.position = at,
            }
        }
        self.bounds_at = Instant::now() + LOOK_EVERY;
        Ok(None)
    }

    /// The library says that a partition was read to its end.
    pub(super) fn reached_end(&mut self, index: PartitionIndex, offset: i64) {
        let partition = self.table.get_mut(index);
        if partition.bounds.is_none() {
            // What lies behind the last record is none.
            partition.position = partition.position.max(offset);
        }
        // The end of what is wanted was that of the log, or before it.
        let span = partition.bounds.as_ref().and_then(|bounds| bounds.from(partition.position));
        if let Some(span) = span.filter(|span| span.contains(&partition.position)) {
            partition.position = span.end;
        }
    }
}
