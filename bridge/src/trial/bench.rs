//! What a transform costs here and now: nanoseconds of a record beside those of reading it.

use std::time::{Duration, Instant};

use super::plan::Planned;
use super::records::{Told, batches};
use super::rig::{Fate, Fuel, Rig, Stock};
use crate::batch::{RecordBatch, RowBatch};
use crate::blame::Fault;
use crate::reject::Rejects;
use crate::transform::Portions;

/// Runs, of which the median counts: a busy machine disturbs some of them.
pub const RUNS: usize = 7;
/// Time of one run, at least.
pub const RUN: Duration = Duration::from_millis(200);
/// Records of a batch, as in a pipeline that is behind.
pub const BATCH_RECORDS: usize = 2_000;

/// Nanoseconds for each record: in the median of all runs, in the best, and in the worst.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// In the middle.
    pub median_ns: f64,
    /// The best.
    pub min_ns: f64,
    /// The worst.
    pub max_ns: f64,
}

impl Timing {
    fn of(mut runs: Vec<f64>) -> Timing {
        runs.sort_by(f64::total_cmp);
        let (first, last) = (runs.first().copied(), runs.last().copied());
        Timing {
            median_ns: runs.get(runs.len() / 2).copied().unwrap_or_default(),
            min_ns: first.unwrap_or_default(),
            max_ns: last.unwrap_or_default(),
        }
    }
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct BenchReport {
    /// Bytes of an average record.
    pub record_bytes: usize,
    /// Records of a batch from which a row comes out.
    pub kept: usize,
    /// Reading the records, with no transform.
    pub reading: Timing,
    /// What the transform takes on top.
    pub transform: Timing,
    /// Fuel of a record.
    pub fuel: f64,
    /// Memory of the instance.
    pub memory_bytes: u64,
}

/// Measures the transforms of a plan on these records, again and again until a batch is full.
pub fn bench(planned: &Planned, records: Vec<Told>) -> Result<BenchReport, Fault> {
    if records.is_empty() {
        return Err(Fault::operator("measuring a transform: there are no records to measure on"));
    }
    let (mut rig, batch) = (rig(planned, Fuel::Ignored)?, full(&records)?);
    let (mut reading, mut transform) = (Vec::new(), Vec::new());
    // What is met for the first time, columns mostly, is met before anything is measured.
    run(&mut rig, &batch, Duration::ZERO)?;
    for _ in 0..RUNS {
        let (read, transformed) = run(&mut rig, &batch, RUN)?;
        reading.push(read);
        transform.push(transformed);
    }
    let record_bytes = batch.bytes() / BATCH_RECORDS;
    let mut metered = self::rig(planned, Fuel::Counted)?;
    metered.try_on(batch)?;
    let tried = metered.try_on(full(&records)?)?;
    Ok(BenchReport {
        record_bytes,
        kept: tried.fates.iter().filter(|fate| matches!(fate, Fate::Rows(_))).count(),
        reading: Timing::of(reading),
        transform: Timing::of(transform),
        fuel: tried.fuel as f64 / BATCH_RECORDS as f64,
        memory_bytes: rig.memory_bytes(),
    })
}

fn rig(planned: &Planned, fuel: Fuel) -> Result<Rig, Fault> {
    Rig::of_rows(&planned.pipeline, &Stock::load(planned, fuel)?)
}

/// A full batch of one partition.
fn full(records: &[Told]) -> Result<RecordBatch, Fault> {
    let one = |(offset, told): (usize, &Told)| Told {
        source: records[0].source.clone(),
        offset: offset as i64,
        ..told.again()
    };
    let told = (0..BATCH_RECORDS).zip(records.iter().cycle()).map(one);
    let mut batches = batches(told.collect());
    batches.pop().ok_or_else(|| Fault::us("a batch of some records is none"))
}

/// Nanoseconds of a record: of reading it, and of transforming it.
fn run(rig: &mut Rig, batch: &RecordBatch, time: Duration) -> Result<(f64, f64), Fault> {
    let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
    let (mut reading, mut transforming) = (Duration::ZERO, Duration::ZERO);
    let mut records = 0;
    let started = Instant::now();
    while records == 0 || started.elapsed() < time {
        rows.clear();
        rejects.found.clear();
        let begun = Instant::now();
        rig.format.decode(batch, &mut rows, &mut rejects)?;
        rejects.prune(&mut rows);
        let read = Instant::now();
        Portions::default().next(&mut rig.transforms, batch, &mut rows, &mut rejects)?;
        transforming += read.elapsed();
        reading += read - begun;
        records += batch.len();
    }
    let each = |time: Duration| time.as_nanos() as f64 / records as f64;
    Ok((each(reading), each(transforming)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::OwnedRecord;

    #[test]
    fn the_median_is_in_the_middle() {
        let timing = Timing::of(vec![3.0, 1.0, 9.0]);
        assert_eq!((timing.median_ns, timing.min_ns, timing.max_ns), (3.0, 1.0, 9.0));
    }

    #[test]
    fn a_batch_is_full_of_what_there_is() {
        let told = |value: &str| Told {
            source: crate::batch::TopicPartition { topic: "t".into(), partition: 0 },
            offset: 7,
            record: OwnedRecord { value: Some(value.into()), ..OwnedRecord::default() },
        };
        let batch = full(&[told("a"), told("b"), told("c")]).expect("some");
        assert_eq!(batch.len(), BATCH_RECORDS);
        assert_eq!(batch.get(4).value, Some(b"b".as_slice()));
        assert_eq!(batch.get(4).offset, 4);
    }
}
