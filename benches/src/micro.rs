//! The stages of a lane alone, through the bridge's own traits, fed from memory: what one record
//! costs in processor time, and how often it allocates.
//!
//! Time is the thread's own on the processor, so that a busy machine disturbs caches but not the
//! clock. Rounds alternate between two halves, A and B, which measure the same: what lies between
//! their medians is noise. A real QuestDB tells the encoder once what its table looks like, and is
//! frozen while measuring.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use bridge::batch::{
    EachHeader, Owner, PartitionIndex, Record, RecordBatch, Records, Route, RowBatch,
    TopicPartition,
};
use bridge::blame::Fault;
use bridge::config::{Overrides, Plan};
use bridge::format::{DecoderContext, Format};
use bridge::names::Names;
use bridge::observe::PipelineMeter;
use bridge::outbox::{Closing, Outbox, Pool};
use bridge::reject::Rejects;
use bridge::sink::{Encoder, SinkContext};
use bridge::ticket::{Lost, Ticket};
use bridge::transform::{LoadContext, Transform, TransformPlan};
use serde::Serialize;
use serde_json::json;
use world::QuestDb;

use crate::harness::scenario::Scenario;
use crate::harness::{Transport, bridge_run, config, scenario};
use crate::stats::Spread;
use crate::{allocations, machine};

/// `micro`.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Records in memory; a round works on all of them.
    #[arg(long, default_value_t = 100_000)]
    records: u64,
    /// Rounds that are measured.
    #[arg(long, default_value_t = 40)]
    rounds: usize,
    /// Whose rows are encoded: over TCP they carry topic, partition, offset and row.
    #[arg(long, value_enum, default_value = "http")]
    transport: Transport,
    /// One object on standard output.
    #[arg(long)]
    json: bool,
}

/// Rounds before the first that is measured: buffers grow, names are met.
const ROUNDS_BEFORE: usize = 2;

/// What a stage costs.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    pub stage: String,
    /// Nanoseconds on the processor for one record, of the rounds of A.
    pub ns_per_record: Spread,
    /// The same of the rounds of B.
    pub again: Spread,
    /// Allocations for one record, in all measured rounds.
    pub allocations_per_record: f64,
}

/// Runs it.
pub fn main(options: &Options) -> Result<()> {
    ensure!(options.rounds >= 2, "--rounds must be at least 2: one for A, one for B");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("starting a runtime")?;
    let questdb = QuestDb::start().context("starting QuestDB")?;
    let mut lane = Lane::open(&questdb, options.transport, runtime.handle())?;
    let batches = batches(options.records, lane.batch_records);
    for _ in 0..ROUNDS_BEFORE {
        lane.round(&batches)?;
    }
    questdb.pause()?;
    let costs = measure(&mut lane, &batches, options);
    questdb.resume()?;
    let costs = costs?;
    print(&costs);
    if options.json {
        let object = json!({
            "commit": machine::commit(),
            "machine": machine::Machine::here(),
            "transport": options.transport,
            "records": options.records,
            "rounds": options.rounds,
            "stages": costs,
        });
        println!("{object}");
    }
    Ok(())
}

fn measure(lane: &mut Lane, batches: &[RecordBatch], options: &Options) -> Result<Vec<Cost>> {
    let rounds: Vec<Vec<Spent>> =
        (0..options.rounds).map(|_| lane.round(batches)).collect::<Result<_>>()?;
    let records = options.records as f64;
    let half = |stage: usize, first: usize| {
        let of = rounds.iter().skip(first).step_by(2);
        Spread::of(of.map(|round| round[stage].time.as_nanos() as f64 / records))
    };
    let names = lane.stages();
    let cost = |(stage, name): (usize, String)| {
        let allocations: u64 = rounds.iter().map(|round| round[stage].allocations).sum();
        Cost {
            stage: name,
            ns_per_record: half(stage, 0),
            again: half(stage, 1),
            allocations_per_record: allocations as f64 / records / rounds.len() as f64,
        }
    };
    Ok(names.into_iter().enumerate().map(cost).collect())
}

fn print(costs: &[Cost]) {
    eprintln!("ns of processor time for one record: median (min–max) of A, median of B");
    let mut sum = 0.0;
    for Cost { stage, ns_per_record: a, again: b, allocations_per_record } in costs {
        eprintln!(
            "{stage:24} {:6.1} ({:.1}–{:.1}), {:6.1}; {allocations_per_record:.5} allocations",
            a.median, a.min, a.max, b.median
        );
        sum += a.median;
    }
    eprintln!("{:24} {sum:6.1}", "all together");
}

/// What one stage took in one round.
#[derive(Clone, Copy, Default)]
struct Spent {
    time: Duration,
    allocations: u64,
}

/// A lane without threads and without a way home.
struct Lane {
    format: Box<dyn Format>,
    transforms: Vec<(String, Box<dyn Transform>)>,
    encoder: Box<dyn Encoder>,
    outbox: Outbox,
    pool: Arc<Pool>,
    rows: RowBatch,
    rejects: Rejects,
    batch_records: usize,
}

impl Lane {
    /// By the harness's configuration.
    fn open(
        questdb: &QuestDb,
        transport: Transport,
        runtime: &tokio::runtime::Handle,
    ) -> Result<Self> {
        let sensors = &scenario::Sensors;
        bridge_run::fresh_table(questdb, sensors, transport)?;
        let installed = config::install("localhost:1", questdb, sensors, "none", transport, &[])?;
        let plan = Plan::load(&installed.file, &Overrides::default())
            .map_err(|mistakes| anyhow!("{mistakes}"))?;
        let base = plan.base.clone();
        let plan = plan.pipelines.into_iter().next().context("there is one pipeline")?;
        let names = Arc::new(Names::default());
        let context = LoadContext { names: Arc::clone(&names), base, cache: None };
        let load = |transform: &dyn TransformPlan| {
            let loaded = transform.load(&context).map_err(said)?;
            let instance = loaded.instance(Arc::default()).map_err(said)?;
            anyhow::Ok((transform.name().to_owned(), instance))
        };
        let transforms =
            plan.transforms.iter().map(|transform| load(&**transform)).collect::<Result<_>>()?;
        let sink = plan.sink.build(SinkContext {
            pipeline: Arc::clone(&plan.name),
            names: Arc::clone(&names),
            shape: Arc::new(plan.shape.clone()),
            meter: Arc::new(PipelineMeter::default()),
            runtime: runtime.clone(),
        });
        let decoder = DecoderContext { names, key: plan.key.clone(), admission: plan.admission };
        let pool = Arc::new(Pool::default());
        let closing = Closing {
            payload_bytes_max: plan.limits.payload_bytes_max,
            payload_rows_max: plan.limits.payload_rows_max,
            open_bytes_max: plan.limits.open_bytes_max,
        };
        Ok(Self {
            format: plan.value.decoder(&decoder),
            transforms,
            encoder: sink.map_err(said)?.encoder(),
            outbox: Outbox::new(closing, Arc::clone(&pool), Instant::now()),
            pool,
            rows: RowBatch::default(),
            rejects: Rejects::default(),
            batch_records: plan.limits.batch_records_max,
        })
    }

    /// Their names, in the order of [`Lane::round`].
    fn stages(&self) -> Vec<String> {
        let transforms = self.transforms.iter().map(|(name, _)| format!("transform {name}"));
        std::iter::once("decode".to_owned())
            .chain(transforms)
            .chain(["encode".to_owned()])
            .collect()
    }

    /// All batches through all stages.
    fn round(&mut self, batches: &[RecordBatch]) -> Result<Vec<Spent>> {
        let mut spent = vec![Spent::default(); self.transforms.len() + 2];
        for batch in batches {
            self.rows.clear();
            let mut watch = Watch::start();
            self.format.decode(batch, &mut self.rows, &mut self.rejects);
            watch.stop(&mut spent[0]);
            for (at, (_, transform)) in self.transforms.iter_mut().enumerate() {
                transform.apply(batch, &mut self.rows, &mut self.rejects).map_err(said)?;
                watch.stop(&mut spent[1 + at]);
            }
            let (rows, rejects) = (&self.rows, &mut self.rejects);
            self.encoder.encode(batch, rows, rejects, &mut self.outbox).map_err(said)?;
            watch.stop(spent.last_mut().expect("there are at least two stages"));
            let kept = self.rows.rows.len();
            ensure!(
                self.rejects.is_empty() && kept == batch.len(),
                "of {} records {kept} were kept, {} refused",
                batch.len(),
                self.rejects.found.len()
            );
            self.give_back();
        }
        self.outbox.close_all();
        self.give_back();
        Ok(spent)
    }

    /// What couriers would do.
    fn give_back(&mut self) {
        for (_, payload) in self.outbox.take_closed() {
            self.pool.put(payload.buffers);
            for share in payload.shares {
                share.redeem();
            }
        }
    }
}

fn said(fault: Fault) -> anyhow::Error {
    anyhow!("{fault}")
}

/// Measures from one stop to the next.
struct Watch {
    time: Duration,
    allocations: u64,
}

impl Watch {
    fn start() -> Watch {
        Watch { allocations: allocations::count(), time: thread_time() }
    }

    /// Adds what was spent since the last stop.
    fn stop(&mut self, spent: &mut Spent) {
        let now = Watch { time: thread_time(), allocations: allocations::count() };
        spent.time += now.time - self.time;
        spent.allocations += now.allocations - self.allocations;
        *self = Watch::start();
    }
}

/// The processor time of this thread.
fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime(2) writes one timespec, which lives through the call.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(failed, 0, "Linux has had a clock for each thread for two decades");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Keys and values of a batch.
struct Pairs {
    _pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Owner for Pairs {
    fn headers(&self, _: usize, _: EachHeader<'_>) {}
}

/// The scenario's records, in batches as the intake cuts them.
fn batches(records: u64, batch_records: usize) -> Vec<RecordBatch> {
    let numbers: Vec<u64> = (0..records).collect();
    let cut = numbers.chunks(batch_records).enumerate();
    cut.map(|(index, numbers)| batch(index as u64, numbers)).collect()
}

fn batch(index: u64, numbers: &[u64]) -> RecordBatch {
    let (mut key, mut value) = (Vec::new(), Vec::new());
    let pairs: Vec<(Vec<u8>, Vec<u8>)> = numbers
        .iter()
        .map(|seq| {
            scenario::Sensors.write(*seq, &mut key, &mut value);
            (key.clone(), value.clone())
        })
        .collect();
    let mut records = Records::with_capacity(pairs.len());
    for (seq, (key, value)) in numbers.iter().zip(&pairs) {
        let (key, value) = (Some(&**key), Some(&**value));
        let offset = *seq as i64;
        // SAFETY: the bytes belong to `pairs`, which becomes the batch's owner and is not changed.
        unsafe { records.push(Record { offset, timestamp_ms: 1_700_000_000_000, key, value }) };
    }
    let ticket = Ticket::issue(index, Arc::new(Lost::default()));
    let source = TopicPartition { topic: scenario::Sensors.name().into(), partition: 0 };
    let taken = records.owned_by(Box::new(Pairs { _pairs: pairs }));
    taken.into_batch(PartitionIndex(0), source, ticket, Route::Primary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_every_record_once() {
        let batches = batches(4_500, 2_000);
        assert_eq!(batches.iter().map(RecordBatch::len).collect::<Vec<_>>(), [2_000, 2_000, 500]);
        let offsets = batches.iter().flat_map(|batch| batch.iter().map(|record| record.offset));
        assert!(offsets.eq(0..4_500));
    }

    #[test]
    fn the_clock_of_the_thread_goes_on_under_work() {
        let start = thread_time();
        let mut turns = 0_u64;
        while thread_time() < start + Duration::from_millis(5) {
            turns += 1;
        }
        assert!(turns > 10, "{turns} turns in 5 ms of work");
    }
}
