//! Offsets that are known by another name: the edges of a log, times, and what is made of them.
//! Asks the leaders of the partitions.

use std::collections::HashMap;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use super::topics::REQUEST;
use crate::batch::TopicPartition;
use crate::config::Start;
use crate::observe::unix_ms;
use crate::range::{Offsets, Range};

/// What an offset is known by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mark {
    /// The first record that there is.
    Beginning,
    /// Behind the last one that can be read.
    End,
    /// The first record whose timestamp is not earlier, milliseconds since 1970; the end, if there
    /// is none.
    Time(i64),
}

/// The offsets of marks, in their order.
pub fn find<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    marks: &[(&TopicPartition, Mark)],
) -> Result<Vec<i64>, KafkaError> {
    let mut found: HashMap<(&TopicPartition, Mark), i64> = HashMap::new();
    let mut left: Vec<(&TopicPartition, Mark)> = marks.to_vec();
    while !left.is_empty() {
        // One question holds a partition once.
        let mut asked: HashMap<&TopicPartition, Mark> = HashMap::new();
        left.retain(|(name, mark)| *asked.entry(name).or_insert(*mark) != *mark);
        let mut list = TopicPartitionList::with_capacity(asked.len());
        for (name, mark) in &asked {
            // In the place of a time, the protocol's own names for the edges.
            let offset = match mark {
                Mark::Beginning => Offset::Beginning,
                Mark::End => Offset::End,
                // What is before all times is asked for by the edge's name.
                Mark::Time(ms) if *ms < 0 => Offset::Beginning,
                Mark::Time(ms) => Offset::Offset(*ms),
            };
            list.add_partition_offset(&name.topic, name.partition, offset)?;
        }
        let answer = client.offsets_for_times(list, REQUEST)?;
        for (name, mark) in asked {
            let element = answer.find_partition(&name.topic, name.partition);
            let Some(element) = element else { return Err(unanswered()) };
            element.error()?;
            match element.offset() {
                Offset::Offset(offset) => drop(found.insert((name, mark), offset)),
                // No record is so late.
                _ if matches!(mark, Mark::Time(_)) => {
                    let end = find(client, &[(name, Mark::End)])?;
                    found.insert((name, mark), end[0]);
                }
                _ => return Err(unanswered()),
            }
        }
    }
    Ok(marks.iter().map(|mark| found[mark]).collect())
}

fn unanswered() -> KafkaError {
    KafkaError::OffsetFetch(rdkafka::error::RDKafkaErrorCode::NoOffset)
}

/// Where partitions start that have nothing committed, or whose commits do not count.
pub fn starts<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    wanted: &[(&TopicPartition, &Start)],
) -> Result<Vec<i64>, KafkaError> {
    let now = unix_ms();
    let marks = |(name, start): &(&TopicPartition, &Start)| match start {
        Start::Latest => vec![Mark::End],
        Start::Time(ms) => vec![Mark::Time(*ms)],
        Start::Ago(span) => {
            vec![Mark::Time(now.saturating_sub(span.as_millis().min(i64::MAX as u128) as i64))]
        }
        Start::BeforeEnd(_) => vec![Mark::Beginning, Mark::End],
        Start::Offsets(_) if start.offset_of(&name.topic, name.partition).is_some() => Vec::new(),
        Start::Earliest | Start::Committed | Start::Offsets(_) => vec![Mark::Beginning],
    };
    let asked: Vec<Vec<Mark>> = wanted.iter().map(marks).collect();
    let each = wanted.iter().zip(&asked);
    let all: Vec<_> =
        each.flat_map(|((name, _), marks)| marks.iter().map(move |mark| (*name, *mark))).collect();
    let mut found = find(client, &all)?.into_iter();
    let mut next = || found.next().unwrap_or_default();
    let place = |(name, start): &(&TopicPartition, &Start)| match start {
        Start::BeforeEnd(count) => {
            let (beginning, end) = (next(), next());
            end.saturating_sub_unsigned(*count).max(beginning)
        }
        _ => start.offset_of(&name.topic, name.partition).unwrap_or_else(&mut next),
    };
    Ok(wanted.iter().map(place).collect())
}

/// What a range is of partitions as their logs are now; with `follows`, of what will come as well.
pub fn bounds<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    range: &Range,
    names: &[&TopicPartition],
    follows: bool,
) -> Result<Vec<Offsets>, KafkaError> {
    let times = range.times();
    let marks =
        [Mark::Beginning, Mark::End].into_iter().chain(times.iter().copied().map(Mark::Time));
    let marks: Vec<Mark> = marks.collect();
    let all: Vec<_> =
        names.iter().flat_map(|name| marks.iter().map(move |mark| (*name, *mark))).collect();
    let found = find(client, &all)?;
    let each = names.iter().zip(found.chunks(marks.len()));
    let of = |(name, found): (&&TopicPartition, &[i64])| {
        let first = |ms: i64| {
            let at = times.iter().position(|time| *time == ms);
            at.map_or(0, |at| found[at + 2])
        };
        let end = if follows { i64::MAX } else { found[1] };
        range.offsets(name, &first).and(&Offsets::of(found[0]..end))
    };
    Ok(each.map(of).collect())
}
