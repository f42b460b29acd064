//! The records of a topic that lie in a range, read beside all groups: what is not wanted is sought
//! past, and only so much is read at a time as is asked for.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::Settings;
use super::check::{Sample, is_final};
use super::places;
use super::topics::{REQUEST, Scout, chosen};
use crate::batch::TopicPartition;
use crate::blame::Fault;
use crate::config::KafkaPlan;
use crate::range::{Offsets, Range};
use crate::source::kafka::owned_record;

/// Whoever asks for more is answered within this time.
const ANSWER: Duration = Duration::from_millis(200);
/// A gap that is shorter is read over: a seek costs a question to the broker.
const GAP_MIN: i64 = 1_000;

const DOING: &str = "reading records";

/// What is wanted.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// Which records; the plan's own range and start come on top.
    pub range: &'a Range,
    /// What comes from now on, too, without an end.
    pub follows: bool,
    /// Only so many offsets at the end of each partition's.
    pub last: Option<u64>,
}

/// A reading that is under way.
pub struct Scan {
    scout: Scout,
    /// Partitions that are not at their end.
    parts: Vec<Part>,
    follows: bool,
}

struct Part {
    name: TopicPartition,
    wanted: Offsets,
    /// The offset after the last record that was seen.
    at: i64,
}

impl Scan {
    /// Finds what is to be read of the plan's topic. Blocks.
    pub fn start(plan: &KafkaPlan, wanted: &Wanted<'_>) -> Result<Scan, Fault> {
        let mut scout = Scout::reading(&Settings::new(plan)?, &plan.group)?;
        let mut names = Vec::new();
        for topic in chosen(&plan.group, scout.topics(&plan.topics, &[])?)? {
            names.extend(topic.names());
        }
        let fault = |error: KafkaError| scout.fault("asking for the ends of partitions", &error);
        let each: Vec<&TopicPartition> = names.iter().collect();
        let client = scout.client();
        let mut bounds =
            places::bounds(client, wanted.range, &each, wanted.follows).map_err(fault)?;
        if let Some(own) = &plan.range {
            let own = places::bounds(client, own, &each, wanted.follows).map_err(fault)?;
            bounds.iter_mut().zip(own).for_each(|(bounds, own)| *bounds = bounds.and(&own));
        }
        if let Some(from) = &plan.from {
            let starts: Vec<_> = each.iter().map(|name| (*name, from)).collect();
            let starts = places::starts(client, &starts).map_err(fault)?;
            let later = |(bounds, from): (&mut Offsets, i64)| {
                *bounds = bounds.and(&Offsets::of(from..i64::MAX));
            };
            bounds.iter_mut().zip(starts).for_each(later);
        }
        if let Some(last) = wanted.last {
            // What is to come has no last one: it is reckoned from the ends as they are.
            let ends = places::bounds(client, &Range::all(), &each, false).map_err(fault)?;
            for (bounds, ends) in bounds.iter_mut().zip(ends) {
                let end = ends.end().unwrap_or(0);
                let to_come = bounds.and(&Offsets::of(end..i64::MAX));
                *bounds = bounds.and(&Offsets::of(0..end)).last(last).or(&to_come);
            }
        }
        let mut list = TopicPartitionList::new();
        let mut parts = Vec::new();
        for (name, wanted) in names.iter().zip(bounds) {
            let Some(first) = wanted.from(0) else { continue };
            list.add_partition_offset(&name.topic, name.partition, Offset::Offset(first.start))
                .map_err(|error| scout.fault(DOING, &error))?;
            parts.push(Part { name: name.clone(), wanted, at: first.start });
        }
        scout.read(list).map_err(|error| scout.fault(DOING, &error))?;
        Ok(Scan { scout, parts, follows: wanted.follows })
    }

    /// Up to so many records more, of each partition in order, maybe none just now; `None` when
    /// there are no more. Blocks for a moment at most.
    pub fn more(&mut self, most: usize) -> Result<Option<Vec<Sample>>, Fault> {
        let mut samples = Vec::new();
        let asked = Instant::now();
        while samples.len() < most && asked.elapsed() < ANSWER && !self.parts.is_empty() {
            let Some(event) = self.scout.client().poll(Duration::from_millis(50)) else { continue };
            let (index, offset) = match &event {
                Ok(message) => {
                    let (topic, partition) = (message.topic(), message.partition());
                    (self.find(topic, partition), message.offset())
                }
                Err(KafkaError::PartitionEOF(partition)) if !self.follows => {
                    // Its topic is not told: the one that has a partition of this number.
                    let is_it = |part: &Part| part.name.partition == *partition;
                    let mut same = self.parts.iter().filter(|part| is_it(part));
                    let only = same.next().is_some() && same.next().is_none();
                    let at = only.then(|| self.parts.iter().position(is_it)).flatten();
                    (at, i64::MAX - 1)
                }
                Err(error) if is_final(error) => return Err(self.scout.fault(DOING, error)),
                Err(_) => continue,
            };
            let Some(index) = index else { continue };
            if let Ok(message) = &event
                && self.parts[index].wanted.contains(offset)
            {
                let (partition, record) = (self.parts[index].name.clone(), owned_record(message));
                samples.push(Sample { partition, offset, record });
            }
            drop(event);
            self.go_on(index, offset + 1)?;
        }
        Ok((!samples.is_empty() || !self.parts.is_empty()).then_some(samples))
    }

    fn find(&self, topic: &str, partition: i32) -> Option<usize> {
        let is_it = |part: &Part| part.name.partition == partition && *part.name.topic == *topic;
        self.parts.iter().position(is_it)
    }

    /// A partition was read up to here: what comes next, if anything does.
    fn go_on(&mut self, index: usize, at: i64) -> Result<(), Fault> {
        let part = &mut self.parts[index];
        part.at = part.at.max(at);
        let TopicPartition { topic, partition } = &part.name;
        let client = self.scout.client();
        match part.wanted.from(part.at) {
            Some(span) if span.start - part.at < GAP_MIN => Ok(()),
            Some(span) => {
                part.at = span.start;
                let there = Offset::Offset(span.start);
                let sought = client.seek(topic, *partition, there, REQUEST);
                sought.map_err(|error| self.scout.fault(DOING, &error))
            }
            None => {
                let mut list = TopicPartitionList::new();
                list.add_partition(topic, *partition);
                let paused = client.pause(&list);
                paused.map_err(|error| self.scout.fault(DOING, &error))?;
                self.parts.swap_remove(index);
                Ok(())
            }
        }
    }
}
