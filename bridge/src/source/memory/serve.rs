//! Serves a stock as partitions. Record number `n` of all is at offset `n / partitions` of
//! partition `n % partitions`, and has the value `n % values`: so each partition, read again from
//! any offset, gives the same records.
//!
//! A bounded partition is told as ended when its last record is stored, not when it is taken: what
//! a sink gives back can still be read again.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::stock::Stock;
use crate::batch::{EachHeader, Owner, PartitionIndex, Record, Records, Taken, TopicPartition};
use crate::blame::Fault;
use crate::kafka::check::Sample;
use crate::source::wake::Bell;
use crate::source::{CommitPoint, Event, Lag, OwnedRecord, Reread, Source, Waker};

/// One partition.
struct Partition {
    /// The offset that is taken next.
    next: i64,
    /// The offset after the last record.
    end: i64,
    /// Everything before it is stored.
    stored: i64,
    is_read: bool,
    is_paused: bool,
    is_ended: bool,
}

/// A source out of memory.
pub struct MemorySource {
    stock: Arc<Stock>,
    topic: Arc<str>,
    partitions: Vec<Partition>,
    is_bounded: bool,
    is_assigned: bool,
    bell: Arc<Bell>,
}

impl MemorySource {
    /// A source of `count` records, or without an end. There is at least one partition.
    pub fn new(
        stock: Arc<Stock>,
        topic: Arc<str>,
        partitions: u32,
        count: Option<u64>,
    ) -> MemorySource {
        let (all, is_bounded) = (u64::from(partitions), count.is_some());
        let count = count.unwrap_or(i64::MAX as u64).min(i64::MAX as u64);
        let partition = |at: u64| Partition {
            next: 0,
            end: (count / all + u64::from(at < count % all)) as i64,
            stored: 0,
            is_read: false,
            is_paused: false,
            is_ended: false,
        };
        let partitions = (0..all).map(partition).collect();
        let bell = Arc::default();
        MemorySource { stock, topic, partitions, is_bounded, is_assigned: false, bell }
    }

    fn part(&mut self, partition: PartitionIndex) -> &mut Partition {
        &mut self.partitions[partition.0 as usize]
    }

    fn indexes(&self) -> Vec<PartitionIndex> {
        (0..self.partitions.len() as u32).map(PartitionIndex).collect()
    }
}

fn name_of(topic: &Arc<str>, partition: PartitionIndex) -> TopicPartition {
    TopicPartition { topic: Arc::clone(topic), partition: partition.0 as i32 }
}

/// The index in a stock of `values` of the record at an offset.
fn index(offset: i64, partition: u32, partitions: usize, values: usize) -> usize {
    let number = offset as u128 * partitions as u128 + u128::from(partition);
    (number % values as u128) as usize
}

/// Keeps the stock alive for a batch.
struct Lent {
    _stock: Arc<Stock>,
}

impl Owner for Lent {
    fn headers(&self, _: usize, _: EachHeader<'_>) {}
}

impl Source for MemorySource {
    fn name_of(&self, partition: PartitionIndex) -> TopicPartition {
        name_of(&self.topic, partition)
    }

    fn poll(&mut self) -> Result<Option<Event>, Fault> {
        if !self.is_assigned {
            self.is_assigned = true;
            return Ok(Some(Event::Assigned(self.indexes())));
        }
        let is_due = |p: &Partition| p.is_read && !p.is_ended && p.stored == p.end;
        let Some(at) = self.partitions.iter().position(is_due) else { return Ok(None) };
        self.partitions[at].is_ended = true;
        Ok(Some(Event::Ended(PartitionIndex(at as u32))))
    }

    fn start(&mut self, at: &[(PartitionIndex, Option<i64>)]) -> Result<(), Fault> {
        for (partition, offset) in at {
            let part = self.part(*partition);
            part.is_read = true;
            part.next = offset.unwrap_or(0);
        }
        Ok(())
    }

    fn take(
        &mut self,
        partition: PartitionIndex,
        records_max: usize,
    ) -> Result<Option<Taken>, Fault> {
        let (all, values) = (self.partitions.len(), self.stock.len());
        let part = &mut self.partitions[partition.0 as usize];
        let count = (part.end - part.next).min(records_max as i64);
        if !part.is_read || part.is_paused || count <= 0 {
            return Ok(None);
        }
        let mut records = Records::with_capacity(count as usize);
        let timestamp_ms = unix_ms();
        let step = all % values;
        let mut at = index(part.next, partition.0, all, values);
        for offset in part.next..part.next + count {
            let value = Some(self.stock.get(at));
            // SAFETY: the bytes belong to the stock, which is not changed; the batch's owner,
            // given below, keeps it alive.
            unsafe { records.push(Record { offset, timestamp_ms, key: None, value }) };
            at += step;
            if at >= values {
                at -= values;
            }
        }
        part.next += count;
        Ok(Some(records.owned_by(Box::new(Lent { _stock: Arc::clone(&self.stock) }))))
    }

    fn pause(&mut self, partition: PartitionIndex) -> Result<(), Fault> {
        self.part(partition).is_paused = true;
        Ok(())
    }

    fn resume(&mut self, partition: PartitionIndex) -> Result<(), Fault> {
        self.part(partition).is_paused = false;
        self.bell.ring();
        Ok(())
    }

    fn rewind(&mut self, partition: PartitionIndex, next: i64) -> Result<(), Fault> {
        self.part(partition).next = next;
        self.bell.ring();
        Ok(())
    }

    fn commit(&mut self, points: &[CommitPoint], _wait: bool) -> Result<(), Fault> {
        for point in points {
            let part = self.part(point.partition);
            part.stored = point.next;
            if part.stored == part.end {
                self.bell.ring();
            }
        }
        Ok(())
    }

    fn has_lost(&self) -> bool {
        false
    }

    fn release(&mut self, partitions: &[PartitionIndex]) -> Result<(), Fault> {
        for partition in partitions {
            self.part(*partition).is_read = false;
        }
        Ok(())
    }

    fn lag(&mut self) -> Vec<Lag> {
        let lag = |(at, part): (usize, &Partition)| {
            // What has no end is nowhere behind it.
            let end = if self.is_bounded { part.end } else { part.next };
            Lag { partition: PartitionIndex(at as u32), end, position: part.next }
        };
        self.partitions.iter().enumerate().map(lag).collect()
    }

    fn wait(&mut self, deadline: Instant) {
        self.bell.wait(deadline);
    }

    fn waker(&self) -> Waker {
        let bell = Arc::clone(&self.bell);
        Arc::new(move || bell.ring())
    }

    fn close(&mut self, _: Duration) {
        self.partitions.iter_mut().for_each(|part| part.is_read = false);
    }
}

/// The clock on the wall, milliseconds since 1970: records are made when they are taken.
fn unix_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(-1, |time| time.as_millis() as i64)
}

/// Gives single records again.
#[derive(Clone)]
pub struct Rereader {
    stock: Arc<Stock>,
    topic: Arc<str>,
    partitions: usize,
}

impl Rereader {
    /// For the records of a source.
    pub fn of(source: &MemorySource) -> Rereader {
        let (stock, topic) = (Arc::clone(&source.stock), Arc::clone(&source.topic));
        Rereader { stock, topic, partitions: source.partitions.len() }
    }

    /// A partition's name.
    pub fn name_of(&self, partition: PartitionIndex) -> TopicPartition {
        name_of(&self.topic, partition)
    }

    /// The first records of the first partition.
    pub fn first(&self, count: usize) -> Vec<Sample> {
        let partition = self.name_of(PartitionIndex(0));
        let sample = |offset| {
            let (partition, record) = (partition.clone(), self.record(0, offset));
            Sample { partition, offset, record }
        };
        (0..count as i64).map(sample).collect()
    }

    fn record(&self, partition: u32, offset: i64) -> OwnedRecord {
        let at = index(offset, partition, self.partitions, self.stock.len());
        let value = Some(self.stock.get(at).to_vec());
        OwnedRecord { timestamp_ms: unix_ms(), value, ..OwnedRecord::default() }
    }
}

impl Reread for Rereader {
    fn reread(
        &mut self,
        partition: &TopicPartition,
        offset: i64,
    ) -> Result<Option<OwnedRecord>, Fault> {
        Ok(Some(self.record(partition.partition as u32, offset)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::batch::Route;
    use crate::ticket::{Lost, Ticket};

    fn source(values: &[&str], partitions: u32, count: Option<u64>) -> MemorySource {
        let stock = Stock::of(values.iter().map(|value| value.as_bytes()));
        let mut source = MemorySource::new(Arc::new(stock), "t".into(), partitions, count);
        let Ok(Some(Event::Assigned(all))) = source.poll() else { panic!("it assigns all") };
        assert_eq!(all, source.indexes());
        let at: Vec<_> = all.into_iter().map(|partition| (partition, None)).collect();
        source.start(&at).expect("it starts anywhere");
        source
    }

    /// Takes all that a partition has, as (offset, value).
    fn drain(source: &mut MemorySource, partition: u32, step: usize) -> Vec<(i64, String)> {
        let (partition, mut found) = (PartitionIndex(partition), Vec::new());
        while let Some(taken) = source.take(partition, step).expect("it does not fail") {
            let ticket = Ticket::issue(1, Arc::new(Lost::default()));
            let batch =
                taken.into_batch(partition, source.name_of(partition), ticket, Route::Primary);
            found.extend(batch.iter().map(|record| {
                let value = record.value.expect("each has a value");
                (record.offset, String::from_utf8_lossy(value).into_owned())
            }));
            batch.into_ticket().into_share().redeem();
        }
        found
    }

    #[test]
    fn so_many_records_come_spread_over_partitions_whatever_the_step() {
        for (values, partitions, count) in [(3, 2, 11), (1, 3, 2), (5, 1, 5), (2, 4, 9), (4, 3, 0)]
        {
            let values: Vec<String> = (0..values).map(|value| format!("v{value}")).collect();
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            // The naive reference: one record after the other, dealt like cards.
            let mut expected: BTreeMap<u32, Vec<(i64, String)>> = BTreeMap::new();
            for number in 0..count {
                let of = expected.entry((number % u64::from(partitions)) as u32).or_default();
                let value = values[number as usize % values.len()].to_owned();
                of.push((of.len() as i64, value));
            }
            for step in [1, 2, 100] {
                let mut source = source(&values, partitions, Some(count));
                for partition in 0..partitions {
                    let expected = expected.get(&partition).cloned().unwrap_or_default();
                    assert_eq!(drain(&mut source, partition, step), expected);
                }
            }
        }
    }

    #[test]
    fn a_partition_ends_when_its_records_are_stored_and_can_be_read_again_before() {
        let mut source = source(&["a", "b", "c"], 1, Some(5));
        let first = drain(&mut source, 0, 2);
        assert!(source.poll().expect("it does not fail").is_none(), "nothing is stored yet");
        let partition = PartitionIndex(0);
        source.rewind(partition, 2).expect("it goes anywhere");
        assert_eq!(drain(&mut source, 0, 2), first[2..]);
        source.commit(&[CommitPoint { partition, next: 4 }], false).expect("it keeps nothing");
        assert!(source.poll().expect("it does not fail").is_none(), "one is missing");
        source.commit(&[CommitPoint { partition, next: 5 }], false).expect("it keeps nothing");
        assert!(matches!(source.poll(), Ok(Some(Event::Ended(at))) if at == partition));
        assert!(source.poll().expect("it does not fail").is_none(), "that is said once");
    }

    #[test]
    fn what_is_read_again_is_what_was_taken() {
        let mut source = source(&["a", "b", "c"], 2, Some(9));
        let mut rereader = Rereader::of(&source);
        for partition in 0..2 {
            let name = source.name_of(PartitionIndex(partition));
            for (offset, value) in drain(&mut source, partition, 3) {
                let again = rereader.reread(&name, offset).expect("it does not fail");
                assert_eq!(again.and_then(|record| record.value), Some(value.into_bytes()));
            }
        }
    }

    #[test]
    fn without_an_end_there_is_always_more_and_no_lag() {
        let mut source = source(&["a"], 1, None);
        for _ in 0..3 {
            let taken = source.take(PartitionIndex(0), 7).expect("it does not fail");
            assert_eq!(taken.map(|taken| taken.len()), Some(7));
        }
        let lag = Lag { partition: PartitionIndex(0), end: 21, position: 21 };
        assert_eq!(source.lag(), [lag]);
    }
}
