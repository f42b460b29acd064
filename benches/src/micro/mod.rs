//! The stages of a lane alone, through the bridge's own traits, fed from memory: what one record
//! costs in processor time, and how often it allocates; and the bridge alone on one core.
//!
//! ```text
//!   bed      a pipeline in parts          decode shape sandbox encode ledger   one stage each
//!   watch    time and allocations         alone    the whole road, threads and all
//!   guests   languages side by side         fence   a chain, many instances, traps
//!   ratchet  instructions and fuel, compared with those that were committed
//! ```
//!
//! Time is the thread's own on the processor, so that a busy machine disturbs caches but not the
//! clock.

mod alone;
mod bed;
mod decode;
mod encode;
mod fence;
mod fuel;
mod guests;
mod ledger;
mod ratchet;
mod sandbox;
mod shape;
mod watch;
mod written;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use bridge::batch::RecordBatch;
use serde_json::json;

use crate::harness::Transport;
use crate::machine;
use alone::{Alone, ROADS};
use decode::Decode;
use encode::Encode;
use fence::{InTurn, Trapping};
use ledger::Books;
use sandbox::Sandbox;
pub use watch::Cost;
use written::FORMATS;

/// `micro`.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Records in memory; a round works on all of them.
    #[arg(long, default_value_t = 100_000)]
    records: u64,
    /// Rounds that are measured.
    #[arg(long, default_value_t = 40)]
    rounds: usize,
    /// Only stages whose name has this in it.
    #[arg(long)]
    stage: Option<String>,
    /// Whose rows are encoded: over TCP they carry topic, partition, offset and row.
    #[arg(long, value_enum, default_value = "http")]
    transport: Transport,
    /// Takes the example modules from this folder, such as those of another language.
    #[arg(long, value_name = "FOLDER", conflicts_with = "ratchet")]
    modules: Option<PathBuf>,
    /// Measures languages side by side, and what the fence costs; the folder has the example
    /// modules of each language in a folder by its name.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["ratchet", "modules", "stage"])]
    guests: Option<PathBuf>,
    /// Records that go through the bridge alone.
    #[arg(long, default_value_t = 10_000_000)]
    alone_records: u64,
    /// One object on standard output.
    #[arg(long)]
    json: bool,
    /// Count instructions and fuel, and compare them with those that were committed.
    #[arg(long)]
    ratchet: bool,
    /// Take what was counted for what is to be compared with from now on.
    #[arg(long, requires = "ratchet")]
    accept: bool,
    /// What runs under valgrind: rounds of one stage.
    #[arg(long, hide = true)]
    count: Option<String>,
}

/// Records of a batch: what the intake cuts where there are enough.
const BATCH_RECORDS: usize = 2_000;

/// One stage of a lane.
pub(crate) trait Stage {
    /// What it is called.
    fn name(&self) -> &str;

    /// What a figure is of, and how many of these a round over the batches has.
    fn per(&self, batches: &[RecordBatch]) -> (&'static str, f64) {
        ("record", batches.iter().map(RecordBatch::len).sum::<usize>() as f64)
    }

    /// What a batch needs before. Not measured.
    fn prepare(&mut self, _batch: &RecordBatch) -> Result<()> {
        Ok(())
    }

    /// What is measured.
    fn work(&mut self, batch: &RecordBatch) -> Result<()>;

    /// Looks at what came out, and gives back what others would. Not measured.
    fn settle(&mut self, batch: &RecordBatch) -> Result<()>;
}

/// A stage that can be made, and the records that it works on.
struct Entry {
    make: fn(Transport) -> Result<Box<dyn Stage>>,
    write: bed::Write,
}

/// Every stage, in the order of a lane.
const STAGES: [Entry; 18] = [
    Entry::new(|_| Ok(Box::new(Decode::new()?))),
    Entry::format::<0>(),
    Entry::format::<1>(),
    Entry::format::<2>(),
    Entry::format::<3>(),
    Entry::format::<4>(),
    Entry::format::<5>(),
    Entry::new(|_| Ok(Box::new(Sandbox::keep()?))),
    Entry::new(|_| Ok(Box::new(Sandbox::drop()?))),
    Entry::new(|_| Ok(Box::new(Sandbox::computed()?))),
    Entry { write: sandbox::readings, ..Entry::new(|_| Ok(Box::new(Sandbox::several()?))) },
    Entry::new(|_| Ok(Box::new(Sandbox::chain()?))),
    Entry::new(|_| Ok(Box::new(Sandbox::filter()?))),
    Entry::new(|_| Ok(Box::new(Sandbox::convert()?))),
    Entry::new(|transport| Ok(Box::new(Encode::new(1, transport.metadata())?))),
    Entry::new(|transport| Ok(Box::new(Encode::new(2, transport.metadata())?))),
    Entry::new(|_| Ok(Box::new(shape::shape()?))),
    Entry::new(|_| Ok(Box::new(Books::default()))),
];

/// What the fence costs, beside `guests`.
const FENCE: [Entry; 5] = [
    Entry::new(|_| Ok(Box::new(Sandbox::computed()?))),
    Entry::new(|_| Ok(Box::new(InTurn::new()?))),
    Entry::new(|_| Ok(Box::new(Sandbox::chain()?))),
    Entry::new(|_| Ok(Box::new(Trapping::new(None)?))),
    Entry::new(|_| Ok(Box::new(Trapping::new(Some(100))?))),
];

impl Entry {
    const fn new(make: fn(Transport) -> Result<Box<dyn Stage>>) -> Entry {
        Entry { make, write: bed::sensors }
    }

    /// Decoding what is written otherwise.
    const fn format<const AT: usize>() -> Entry {
        Entry { write: FORMATS[AT].write, ..Entry::new(|_| Ok(Box::new(Decode::of::<AT>()?))) }
    }
}

/// Runs it.
pub fn main(options: &Options) -> Result<()> {
    if let Some(stage) = &options.count {
        return ratchet::count_one(stage, options.rounds);
    }
    if options.ratchet {
        return ratchet::main(options.accept);
    }
    ensure!(options.rounds >= 2, "--rounds must be at least 2: one for A, one for B");
    eprintln!("ns of processor time: median (min–max) of A, median of B");
    if let Some(folder) = &options.guests {
        let measured = guests::measure(folder, options)?;
        if options.json {
            println!("{measured}");
        }
        return Ok(());
    }
    measure(options)
}

/// What stages cost, those whose name is wanted.
fn each(entries: &[Entry], options: &Options, wanted: impl Fn(&str) -> bool) -> Result<Vec<Cost>> {
    let mut costs = Vec::new();
    for entry in entries {
        let mut stage = (entry.make)(options.transport)?;
        if wanted(stage.name()) {
            let batches = bed::batches(options.records, BATCH_RECORDS, entry.write);
            let cost = watch::measure(&mut *stage, &batches, options.rounds);
            let cost = cost.with_context(|| stage.name().to_owned())?;
            print(&cost);
            costs.push(cost);
        }
    }
    Ok(costs)
}

fn measure(options: &Options) -> Result<()> {
    if let Some(folder) = &options.modules {
        bed::take_modules_from(folder)?;
    }
    let wanted = |name: &str| options.stage.as_deref().is_none_or(|part| name.contains(part));
    let costs = each(&STAGES, options, wanted)?;
    let mut roads = Vec::new();
    let had = alone::bind_to_one_core()?;
    for road in ROADS.into_iter().filter(|road| wanted(road.name)) {
        // Twice, which measures the same.
        for _ in 0..2 {
            let alone = alone::run(road, options.alone_records)?;
            let Alone { road, rows_per_s, cpu_s_per_million, .. } = alone;
            let rows = rows_per_s / 1e6;
            eprintln!("{road}: {rows:.2} M rows/s, {cpu_s_per_million:.3} CPU s per million");
            roads.push(alone);
        }
    }
    had.bind()?;
    ensure!(!costs.is_empty() || !roads.is_empty(), "no stage is called so");
    if options.json {
        let object = json!({
            "commit": machine::commit(),
            "machine": machine::Machine::here(),
            "transport": options.transport,
            "modules": options.modules,
            "records": options.records,
            "batch_records": BATCH_RECORDS,
            "rounds": options.rounds,
            "stages": costs,
            "alone": roads,
        });
        println!("{object}");
    }
    Ok(())
}

fn print(cost: &Cost) {
    let Cost { stage, per, ns: a, again: b, allocations } = cost;
    eprintln!(
        "{stage:24} {:6.1} ({:.1}–{:.1}), {:6.1} a {per}; {allocations:.5} allocations",
        a.median, a.min, a.max, b.median
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records until every buffer has its size: the payloads of five tables were closed twice.
    const RECORDS_UNTIL_STEADY: usize = 400_000;

    /// Allocations of one batch of so many records in steady state, at most.
    fn allocations(entry: &Entry, batch_records: usize) -> Result<u64> {
        let mut stage = (entry.make)(Transport::Tcp)?;
        let batches = bed::batches(4 * batch_records as u64, batch_records, entry.write);
        let (mut most, mut records) = (0, 0);
        while records < RECORDS_UNTIL_STEADY + 40_000 {
            for batch in &batches {
                stage.prepare(batch)?;
                let before = crate::allocations::count();
                stage.work(batch)?;
                if records >= RECORDS_UNTIL_STEADY {
                    most = most.max(crate::allocations::count() - before);
                }
                stage.settle(batch)?;
                records += batch.len();
            }
        }
        Ok(most)
    }

    /// What a stage may allocate for a batch of 10,000 records: the buffers of the payloads that it
    /// opens, five of them in `shape`, which grow by doubling where the pool has none left.
    const BATCH_ALLOCATIONS_MAX: u64 = 100;

    #[test]
    fn no_stage_allocates_for_a_row_in_steady_state() {
        let lanes = STAGES.iter().filter(|entry| {
            // The books know batches, not rows.
            (entry.make)(Transport::Http).is_ok_and(|stage| stage.name() != "ledger")
        });
        for entry in lanes {
            let name = (entry.make)(Transport::Http).expect("it was made before").name().to_owned();
            let most = allocations(entry, 10_000).unwrap_or_else(|e| panic!("{name}: {e:#}"));
            assert!(most <= BATCH_ALLOCATIONS_MAX, "{name}: {most} for 10,000 records");
        }
    }
}
