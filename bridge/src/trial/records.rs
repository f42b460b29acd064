//! Records that were not read from Kafka, as batches that are as good as its own.

use std::sync::Arc;

use crate::batch::{PartitionIndex, RecordBatch, Route, TopicPartition};
use crate::blame::Fault;
use crate::kafka::check::Sample;
use crate::kafka::peek;
use crate::source::{self, OwnedRecord, SourcePlan};
use crate::ticket::{Lost, Ticket};

/// Records of one batch, at most: as many as a pipeline takes at once.
const BATCH_RECORDS_MAX: usize = 2_000;

/// A record, and where it is said to be from.
#[derive(Debug)]
pub struct Told {
    /// Its partition.
    pub source: TopicPartition,
    /// Its offset there.
    pub offset: i64,
    /// The record.
    pub record: OwnedRecord,
}

impl Told {
    /// The same once more.
    pub fn again(&self) -> Told {
        let record = self.record.clone();
        Told { source: self.source.clone(), offset: self.offset, record }
    }
}

impl From<Sample> for Told {
    fn from(sample: Sample) -> Told {
        let Sample { partition, offset, record } = sample;
        Told { source: partition, offset, record }
    }
}

/// The newest records of a topic, or the first ones of a source that is not Kafka; by partition and
/// offset.
pub fn newest(source: &dyn SourcePlan, count: usize) -> Result<Vec<Told>, Fault> {
    let samples = match source.kafka() {
        Some(kafka) => peek::newest(kafka, count)?,
        None => source.sample(&[], count)?,
    };
    let mut told: Vec<Told> = samples.into_iter().map(Told::from).collect();
    told.sort_by(|a, b| (&a.source, a.offset).cmp(&(&b.source, b.offset)));
    Ok(told)
}

/// The records that a pipeline would read next, read beside its group.
pub enum Ahead {
    /// Those of topics.
    Kafka(peek::Ahead),
    /// The first of a source that is not Kafka, until they are fetched.
    Other(Option<Vec<Told>>),
}

impl Ahead {
    /// Up to `count` of them, from where the group would go on. `ignored` are expressions of topics
    /// that an expression must not find.
    pub fn of(source: &dyn SourcePlan, ignored: &[String], count: u64) -> Result<Ahead, Fault> {
        if let Some(kafka) = source.kafka() {
            return Ok(Ahead::Kafka(peek::Ahead::of(kafka, ignored, count)?));
        }
        let samples = source.sample(ignored, usize::try_from(count).unwrap_or(usize::MAX))?;
        Ok(Ahead::Other(Some(samples.into_iter().map(Told::from).collect())))
    }

    /// How many waited when it was asked for, where that is known.
    pub fn waiting(&self) -> Option<u64> {
        match self {
            Ahead::Kafka(ahead) => Some(ahead.waiting),
            Ahead::Other(_) => None,
        }
    }

    /// Some more, by partition and offset, maybe none just now; `None` when there are no more.
    pub fn more(&mut self) -> Result<Option<Vec<Told>>, Fault> {
        match self {
            Ahead::Kafka(ahead) => {
                let told = ahead.more(BATCH_RECORDS_MAX)?.map(|samples| {
                    let mut told: Vec<Told> = samples.into_iter().map(Told::from).collect();
                    told.sort_by(|a, b| (&a.source, a.offset).cmp(&(&b.source, b.offset)));
                    told
                });
                Ok(told)
            }
            Ahead::Other(told) => Ok(told.take()),
        }
    }
}

/// Batches of consecutive records of one partition, in the order of the records.
pub fn batches(told: Vec<Told>) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    let mut told = told.into_iter().peekable();
    while let Some(Told { source, offset, record }) = told.next() {
        let mut kept = vec![(offset, record)];
        while kept.len() < BATCH_RECORDS_MAX
            && let Some(next) = told.next_if(|next| next.source == source)
        {
            kept.push((next.offset, next.record));
        }
        batches.push(batch(source, kept));
    }
    batches
}

fn batch(from: TopicPartition, kept: Vec<(i64, OwnedRecord)>) -> RecordBatch {
    // Nobody counts what is lost of it: nothing is stored.
    let ticket = Ticket::issue(0, Arc::new(Lost::default()));
    source::lend(kept).into_batch(PartitionIndex(0), from, ticket, Route::Primary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_of_one_partition_and_in_order() {
        let told = |partition, offset: i64| Told {
            source: TopicPartition { topic: "t".into(), partition },
            offset,
            record: OwnedRecord {
                value: Some(offset.to_string().into_bytes()),
                headers: vec![(b"h".to_vec(), None)],
                ..OwnedRecord::default()
            },
        };
        let batches = batches(vec![told(0, 5), told(0, 7), told(1, 0), told(0, 9)]);
        let offsets: Vec<Vec<i64>> = batches
            .iter()
            .map(|batch| batch.iter().map(|record| record.offset).collect())
            .collect();
        assert_eq!(offsets, [vec![5, 7], vec![0], vec![9]]);
        assert_eq!(batches[0].get(1).value, Some(b"7".as_slice()));
        let mut headers = 0;
        batches[0]
            .headers(1, &mut |name, value| headers += usize::from(name == b"h" && value.is_none()));
        assert_eq!(headers, 1);
    }
}
