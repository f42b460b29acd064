//! A run that stores nothing: every door is knocked on, records are read beside the group from
//! where it would go on, and go through decoder, transforms and the sinks' own encoders. What comes
//! out is counted and dropped; statements that would make tables are noted.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::open::{self, Surroundings, knock_sinks, knock_source, start_transforms};
use super::ring::SinkParts;
use super::run::runtime;
use crate::batch::{RecordBatch, RowBatch};
use crate::blame::Fault;
use crate::config::{PipelinePlan, Plan};
use crate::format::DecoderContext;
use crate::names::Names;
use crate::observe::PipelineMeter;
use crate::outbox::Outbox;
use crate::reject::{Reject, Rejects};
use crate::rejects;
use crate::sink::{Encoder, Finding, FindingState, Noted, Notes, Sink};
use crate::transform::columns;
use crate::trial::{self, Ahead, Fate, Passed, Press, Rig};

/// Records that are named for each reason.
const EXAMPLES: usize = 3;

/// How far a dry run goes.
#[derive(Clone, Copy, Debug)]
pub struct DryAsked {
    /// So many records of each pipeline, at most.
    pub records: u64,
    /// No more are read after this time.
    pub within: Option<Duration>,
    /// So many lines are kept to be shown.
    pub lines: usize,
}

/// What became of a pipeline's dry run.
#[derive(Debug, Default)]
pub struct DryReport {
    /// What was found behind its doors.
    pub findings: Vec<Finding>,
    /// What would have been stored; `None` where a door is shut.
    pub tally: Option<DryTally>,
    /// What ended it early.
    pub fault: Option<Fault>,
}

/// What was counted.
#[derive(Debug, Default)]
pub struct DryTally {
    /// Records that waited when it began, where that is known.
    pub waiting: Option<u64>,
    /// Those that were tried.
    pub records: u64,
    /// Those without a value that were left out by policy.
    pub skipped: u64,
    /// Those from which the transforms left nothing.
    pub filtered: u64,
    /// Those that would be dead letters, by reason.
    pub rejected: BTreeMap<&'static str, DryRejected>,
    /// What each sink would be sent; the first is the pipeline's own.
    pub sinks: Vec<DrySink>,
    /// The first rows as lines.
    pub lines: Vec<String>,
}

/// Records that would be refused for one reason.
#[derive(Debug, Default)]
pub struct DryRejected {
    /// How many.
    pub records: u64,
    /// The first of them: where it lies, and what is wrong with it.
    pub first: Vec<String>,
}

/// What a sink would be sent.
#[derive(Debug, Default)]
pub struct DrySink {
    /// For people.
    pub name: String,
    /// Rows of each table.
    pub tables: BTreeMap<String, u64>,
    /// Bytes of all of them, as they would be sent.
    pub bytes: u64,
    /// Statements that would make what is missing.
    pub noted: Noted,
}

impl DryReport {
    /// Whether a door is shut, or something ended it early.
    pub fn has_failed(&self) -> bool {
        self.fault.is_some() || self.tally.is_none()
    }

    /// Records that would be dead letters.
    pub fn rejected(&self) -> u64 {
        let by_reason = self.tally.iter().flat_map(|tally| tally.rejected.values());
        by_reason.map(|rejected| rejected.records).sum()
    }
}

/// Dry runs, until a signal comes.
pub struct Dry {
    stopper: Arc<Stopper>,
    around: Surroundings,
    /// Dropped last: couriers of nobody run on it.
    _runtime: Runtime,
}

impl Dry {
    /// Begins to listen for SIGINT and SIGTERM.
    pub fn of(plan: &Plan) -> Result<Dry, Fault> {
        let runtime = runtime()?;
        let (base, cache) = (plan.base.clone(), plan.cache.clone());
        let around = Surroundings { base, cache, runtime: runtime.handle().clone() };
        let stopper = Arc::new(Stopper::default());
        runtime.spawn(heed_signals(Arc::clone(&stopper)));
        Ok(Dry { stopper, around, _runtime: runtime })
    }

    /// Whether a signal came.
    pub fn is_stopped(&self) -> bool {
        self.stopper.stopped.load(Ordering::Acquire)
    }

    /// Tries a pipeline.
    pub fn run(&self, plan: &PipelinePlan, asked: &DryAsked) -> DryReport {
        let findings = knock_source(plan, &self.around);
        let mut report = DryReport { findings, ..DryReport::default() };
        if let Err(fault) = self.fill(plan, asked, &mut report)
            && !self.is_stopped()
        {
            report.fault = Some(fault);
        }
        report
    }

    fn fill(
        &self,
        plan: &PipelinePlan,
        asked: &DryAsked,
        report: &mut DryReport,
    ) -> Result<(), Fault> {
        let meter = Arc::new(PipelineMeter::default());
        let loading = open::load(plan, &self.around, &meter)?;
        let transforms = start_transforms(plan, &loading, &mut report.findings);
        knock_sinks(plan, &self.around, &loading, &mut report.findings);
        if report.findings.iter().any(|finding| finding.state == FindingState::Fail) {
            return Ok(());
        }
        let (key, admission) = (plan.key.clone(), plan.admission);
        let names = Arc::clone(&loading.names);
        let context = DecoderContext { names: Arc::clone(&names), key, admission };
        let transforms = transforms.into_iter().map(|(_, transform)| transform).collect();
        let transforms = columns::around(&plan.shape, &names, transforms);
        let rig = Rig::of_parts(Arc::clone(&names), plan.value.decoder(&context), transforms);
        let sinks: Vec<&SinkParts> = [&loading.sink].into_iter().chain(&loading.also).collect();
        self.stopper.may_interrupt(&sinks);
        let mut bench = Bench {
            rig,
            press: Press::new(plan, &names, &self.around.runtime),
            ways: sinks.iter().map(|sink| Way::of(sink, plan)).collect(),
            several: sinks.len() > 1,
            lines: asked.lines,
            names,
        };
        let tally = report.tally.insert(DryTally::default());
        let tried = self.try_all(plan, asked, &mut bench, tally);
        tally.sinks = bench.ways.into_iter().map(Way::end).collect();
        tried
    }

    fn try_all(
        &self,
        plan: &PipelinePlan,
        asked: &DryAsked,
        bench: &mut Bench,
        tally: &mut DryTally,
    ) -> Result<(), Fault> {
        let ignored = rejects::own_topics(&plan.rejects);
        let mut ahead = Ahead::of(&*plan.source, &ignored, asked.records)?;
        tally.waiting = ahead.waiting();
        let started = Instant::now();
        let is_over =
            || self.is_stopped() || asked.within.is_some_and(|within| started.elapsed() >= within);
        while !is_over()
            && let Some(told) = ahead.more()?
        {
            trial::batches(told).iter().try_for_each(|batch| bench.try_on(batch, tally))?;
        }
        Ok(())
    }
}

/// One lane, whose payloads go nowhere.
struct Bench {
    names: Arc<Names>,
    rig: Rig,
    press: Press,
    ways: Vec<Way>,
    /// Whether rows go to several sinks, so that what one of them refuses bears its name.
    several: bool,
    lines: usize,
}

/// One of its sinks.
struct Way {
    sink: Arc<dyn Sink>,
    encoder: Box<dyn Encoder>,
    outbox: Outbox,
    notes: Arc<Notes>,
    sent: DrySink,
}

impl Bench {
    fn try_on(&mut self, batch: &RecordBatch, tally: &mut DryTally) -> Result<(), Fault> {
        let Passed { rows, mut rejects, skipped } = self.rig.pass(batch)?;
        let emitted = rows.emitted.iter().map(|emitted| emitted.source);
        let left: HashSet<u32> = rows.rows.iter().map(|row| row.source).chain(emitted).collect();
        let refused: HashSet<u32> = rejects.found.iter().map(|(source, ..)| *source).collect();
        let records = batch.len() as u64;
        tally.records += records;
        tally.skipped += skipped;
        tally.filtered += records.saturating_sub(skipped + (left.len() + refused.len()) as u64);
        self.keep_lines(batch, &rows, tally)?;
        for (number, way) in self.ways.iter_mut().enumerate() {
            let mut own = Rejects::default();
            // What was refused before is told with what the pipeline's own sink refuses.
            let theirs = if number == 0 { &mut rejects } else { &mut own };
            way.encode(batch, &rows, theirs)?;
            let name = self.several.then_some(way.sent.name.as_str());
            let refused = theirs.drain_named(batch, name);
            refused.into_iter().for_each(|reject| tally.refuse(batch, reject));
        }
        Ok(())
    }

    fn keep_lines(
        &mut self,
        batch: &RecordBatch,
        rows: &RowBatch,
        tally: &mut DryTally,
    ) -> Result<(), Fault> {
        let room = self.lines - tally.lines.len();
        if room == 0 {
            return Ok(());
        }
        // What it refuses the sink's own encoder refuses, too, and better knows why.
        let fates = self.press.lines(batch, rows, &mut Rejects::default(), &self.names)?;
        let lines = fates.into_iter().flat_map(|fate| match fate {
            Fate::Lines(lines) => lines,
            Fate::Rows(_) | Fate::Rejected { .. } | Fate::Filtered => Vec::new(),
        });
        tally.lines.extend(lines.take(room).map(|line| line.shown()));
        Ok(())
    }
}

impl Way {
    fn of(parts: &SinkParts, plan: &PipelinePlan) -> Way {
        let notes = Arc::new(Notes::default());
        parts.sink.note(Arc::clone(&notes));
        Way {
            sink: Arc::clone(&parts.sink),
            encoder: parts.sink.encoder(),
            outbox: trial::outbox(&plan.limits),
            notes,
            sent: DrySink { name: parts.name.to_string(), ..DrySink::default() },
        }
    }

    fn encode(
        &mut self,
        batch: &RecordBatch,
        rows: &RowBatch,
        rejects: &mut Rejects,
    ) -> Result<(), Fault> {
        let encoded = self.encoder.encode(batch, rows, rejects, &mut self.outbox);
        self.outbox.close_all();
        for (_, payload) in self.outbox.take_closed() {
            for lines in payload.buffers.lines.chunk_by(|a, b| a.layout == b.layout) {
                let Some(table) = self.sink.table_of(&payload, &lines[0]) else { continue };
                *self.sent.tables.entry(table.to_string()).or_default() += lines.len() as u64;
            }
            self.sent.bytes += payload.buffers.bytes.len() as u64;
        }
        encoded
    }

    fn end(self) -> DrySink {
        DrySink { noted: self.notes.noted(), ..self.sent }
    }
}

impl DryTally {
    fn refuse(&mut self, batch: &RecordBatch, reject: Reject) {
        let Reject { offset, reason, detail, .. } = reject;
        let of_reason = self.rejected.entry(reason.name()).or_default();
        of_reason.records += 1;
        if of_reason.first.len() < EXAMPLES {
            of_reason.first.push(format!("{}@{offset}: {detail}", batch.source));
        }
    }
}

/// Ends dry runs early.
#[derive(Default)]
struct Stopper {
    stopped: AtomicBool,
    /// At which an encoder may wait for a table.
    sinks: Mutex<Vec<Arc<dyn Sink>>>,
}

impl Stopper {
    fn may_interrupt(&self, sinks: &[&SinkParts]) {
        let sinks = sinks.iter().map(|parts| Arc::clone(&parts.sink)).collect();
        *self.sinks.lock().expect("no one panics with it") = sinks;
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        let sinks = self.sinks.lock().expect("no one panics with it");
        sinks.iter().for_each(|sink| sink.interrupt());
    }
}

/// Every signal stops: one that came between two waits for a table did not end the second.
async fn heed_signals(stopper: Arc<Stopper>) {
    let heard = |kind| signal(kind).expect("a runtime with signals enabled");
    let (mut terminate, mut interrupt) =
        (heard(SignalKind::terminate()), heard(SignalKind::interrupt()));
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stopper.stop();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Overrides, Surroundings as Given};

    const ASKED: DryAsked = DryAsked { records: 1_000, within: None, lines: 1 };

    const TEXT: &str = r#"
[pipeline.p]
source = { kind = "memory", records = ['{"a":1}', '{"a":9}', '{"a":5}', 'x', '{}'], count = 100 }
sink = { kind = "memory" }
[[pipeline.p.transform]]
module = "builtin:route"
config = { rules = [{ where = "a > 8", table = "large" }] }
[[pipeline.p.transform]]
module = "builtin:filter"
config = { where = "a <> 5" }
[[pipeline.p.also]]
kind = "file"
path = "nowhere/{table}"
[pipeline.p.table]
name = "rows"
timestamp = "server"
"#;

    fn run(text: &str, asked: DryAsked) -> DryReport {
        let base = Path::new(env!("CARGO_MANIFEST_DIR"));
        let with = Given { env: &|_| None, host: "h".into(), base };
        let plan = Plan::parse("t.toml", text, &with, &Overrides::default());
        let plan = plan.unwrap_or_else(|mistakes| panic!("{mistakes}"));
        Dry::of(&plan).expect("a runtime").run(&plan.pipelines[0], &asked)
    }

    fn tried(asked: DryAsked) -> DryReport {
        let report = run(TEXT, asked);
        assert!(!report.has_failed(), "{:?} {:?}", report.fault, report.findings);
        report
    }

    #[test]
    fn what_would_be_stored_is_counted_for_each_sink() {
        let report = tried(ASKED);
        let tally = report.tally.as_ref().expect("no door is shut");
        // The one that has no `a` is filtered: a condition on a null is not true.
        assert_eq!((tally.records, tally.filtered, tally.waiting), (5, 2, None));
        assert_eq!(tally.lines, ["rows a=1i"]);
        assert_eq!(tally.sinks.len(), 2);
        for sink in &tally.sinks {
            let tables: Vec<(&str, u64)> =
                sink.tables.iter().map(|(table, rows)| (table.as_str(), *rows)).collect();
            assert_eq!(tables, [("large", 1), ("rows", 1)], "{}", sink.name);
            assert!(sink.bytes > 0 && sink.noted == Noted::default(), "{sink:?}");
        }
        let malformed = &tally.rejected["malformed"];
        assert_eq!((malformed.records, report.rejected()), (1, 1));
        assert!(malformed.first[0].starts_with("memory/0@3: "), "{malformed:?}");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("nowhere");
        assert!(!folder.exists(), "a dry run makes no folder");
    }

    #[test]
    fn it_ends_where_it_was_told_to() {
        let tally = tried(DryAsked { records: 2, ..ASKED }).tally.expect("no door is shut");
        assert_eq!((tally.records, tally.rejected.len()), (2, 0));
        let none = DryAsked { within: Some(Duration::ZERO), ..ASKED };
        let tally = tried(none).tally.expect("no door is shut");
        assert_eq!((tally.records, tally.lines.len()), (0, 0));
    }

    #[test]
    fn a_shut_door_is_told_and_nothing_is_read() {
        let report = run(&TEXT.replace("nowhere/", "Cargo.toml/"), ASKED);
        assert!(report.has_failed() && report.tally.is_none(), "{report:?}");
        assert!(report.findings.iter().any(|finding| finding.note.contains("is no folder")));
    }
}
