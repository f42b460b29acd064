//! A module at work in one lane: rows are copied in, call by call, and answers taken out. What
//! happens when a call fails is in `isolate`.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::{Places, Rows};
use super::failure::Failure;
use super::host::Log;
use super::instance::{Instance, Template, now_us};
use super::limits::{ARENA_USUAL, CALL_RECORDS_MAX, RECORD_MADE_MAX, RETRY_MIN, of_answer};
use super::memory::{Input, bytes_of};
use super::options::OnFailure;
use super::tally::Tally;
use crate::batch::{RecordBatch, Row, RowBatch, sources};
use crate::blame::Fault;
use crate::observe::TransformMeter;
use crate::reject::{Reason, Rejects, Stage};
use crate::transform::Transform;

/// The transform of one lane.
pub(super) struct Guest {
    pub(super) template: Arc<Template>,
    pub(super) on_failure: OnFailure,
    pub(super) log: Log,
    meter: Arc<TransformMeter>,
    /// `None` only after an instance could not be made.
    pub(super) instance: Option<Instance>,
    /// Memory at which the instance is replaced; known after its first batch.
    memory_mark: Option<usize>,
    /// The other one of two buffers; the rows swap them.
    next: Vec<Row>,
    places: Places,
    /// The topic of the batch before and its id, for asking takes a lock.
    topic: Option<(Arc<str>, u16)>,
    sequence: u64,
    /// Records that failed since one last succeeded.
    pub(super) failed_in_a_row: u32,
    pub(super) bypass: Bypass,
}

/// How long a module that fails on everything is passed by.
#[derive(Debug, Default)]
pub(super) struct Bypass {
    /// Batches, this one included.
    pub(super) left: u32,
    /// How many it will be next time.
    pub(super) next: u32,
}

/// What is known of the batch at hand, and counted for it.
pub(super) struct Batch<'a> {
    pub(super) records: &'a RecordBatch,
    pub(super) rows: Rows<'a>,
    topic: u16,
    now_us: i64,
    now: Instant,
    /// What was held before a row was looked at.
    held: usize,
    pub(super) traps: u64,
    pub(super) deadlines: u64,
    pub(super) replaced: u64,
}

/// How a call went.
pub(super) enum Step {
    /// So many rows are dealt with.
    Took(usize),
    /// So many rows failed together.
    Failed(Failed),
}

/// A call that failed.
pub(super) struct Failed {
    pub(super) count: usize,
    pub(super) failure: Failure,
    /// Whether it was the instance's first: nothing before can have broken it.
    pub(super) fresh: bool,
}

impl Guest {
    pub(super) fn new(
        template: Arc<Template>,
        on_failure: OnFailure,
        meter: Arc<TransformMeter>,
    ) -> Result<Guest, String> {
        let mut log = Log::new(Arc::clone(&template.label));
        let instance = Instance::start(&template, &mut log)?;
        Ok(Guest {
            template,
            on_failure,
            log,
            meter,
            instance: Some(instance),
            memory_mark: None,
            next: Vec::new(),
            places: Places::default(),
            topic: None,
            sequence: 0,
            failed_in_a_row: 0,
            bypass: Bypass::default(),
        })
    }

    /// Rows one call after the other; how many were dealt with.
    fn run(&mut self, batch: &mut Batch<'_>) -> Result<usize, Fault> {
        let end = batch.rows.rows.rows.len();
        let (full, short) = (self.template.deadline, self.retry_deadline());
        // Rows before this one were in a call that failed, and are tried again.
        let mut retried = 0;
        let mut at = 0;
        while at < end {
            if batch.is_full() {
                if batch.begins_record(at) {
                    break;
                }
                if batch.is_over() {
                    at = batch.refuse_record(at, &self.template.label);
                    continue;
                }
            }
            let (stop, time) = if at < retried { (retried, short) } else { (end, full) };
            match self.step(batch, at..stop, time)? {
                Step::Took(count) => at += count,
                Step::Failed(failed) => {
                    let tried = at..at + failed.count;
                    retried = retried.max(tried.end);
                    at = self.isolate(batch, tried, failed)?;
                }
            }
        }
        Ok(at)
    }

    /// The time that a retry may take.
    pub(super) fn retry_deadline(&self) -> Duration {
        (self.template.deadline / 10).max(RETRY_MIN)
    }

    /// One call for the first rows of `range`, as many as it takes. At least one is dealt with,
    /// or has failed.
    pub(super) fn step(
        &mut self,
        batch: &mut Batch<'_>,
        range: Range<usize>,
        time: Duration,
    ) -> Result<Step, Fault> {
        if self.bypass.left > 0 {
            let count = range.len();
            range.for_each(|index| batch.rows.push(batch.rows.rows.rows[index]));
            return Ok(Step::Took(count));
        }
        if self.instance.is_none() {
            self.renew(batch)?;
        }
        let Some(instance) = &mut self.instance else {
            return Err(Fault::us("a transform without an instance was renewed"));
        };
        self.sequence += 1;
        let input = Input {
            records: batch.records,
            rows: batch.rows.rows,
            topic: batch.topic,
            now_us: batch.now_us,
            sequence: self.sequence,
        };
        let failed = |count, failure, instance: &Instance| {
            Ok(Step::Failed(Failed { count, failure, fresh: instance.was_fresh() }))
        };
        let count = match copy_in(instance, &input, range.clone(), time) {
            Ok(Some(count)) => count,
            Ok(None) => {
                let source = batch.rows.rows.rows[range.start].source;
                let detail = format!(
                    "transform {}: the record does not fit into its arena",
                    self.template.label
                );
                batch.rows.rejects.push(source, Stage::Transform, Reason::TooLarge, detail);
                return Ok(Step::Took(1));
            }
            Err((count, failure)) => return failed(count, failure, instance),
        };
        let returned = match instance.call(count, time) {
            Ok(returned) => returned,
            Err(failure) => return failed(count, failure, instance),
        };
        // Asked after the call: it may have interned names.
        let limits = of_answer(&self.template.names, self.template.emits);
        let mark = batch.rows.mark();
        match batch.rows.take(instance.memory(), &returned.answer, &limits, range.start) {
            Ok(consumed) => {
                instance.commit(&mut self.log, &self.meter, batch.now);
                self.failed_in_a_row = 0;
                Ok(Step::Took(consumed))
            }
            Err(fault) => {
                batch.rows.roll_back(&mark);
                let record = fault.record.unwrap_or(returned.progress);
                let record = record.min(count as u32 - 1);
                failed(count, Failure::bad_answer(fault.to_string(), record), instance)
            }
        }
    }

    /// Between two batches: an instance that has grown is replaced by one that has not.
    fn watch_memory(&mut self, batch: &mut Batch<'_>) -> Result<(), Fault> {
        let Some(instance) = &self.instance else { return Ok(()) };
        let bytes = instance.memory_bytes();
        if self.meter.memory_bytes.get() < bytes as i64 {
            self.meter.memory_bytes.set(bytes as i64);
        }
        let half = self.template.memory_max / 2;
        let mark = *self.memory_mark.get_or_insert(half.max(2 * bytes));
        if bytes > mark { self.renew(batch) } else { Ok(()) }
    }

    fn topic(&mut self, records: &RecordBatch) -> u16 {
        let topic = &records.source.topic;
        match &self.topic {
            Some((known, id)) if known == topic => *id,
            _ => {
                // 0, which is no topic, where there are more topics than names.
                let id = self.template.names.topics.intern(topic).unwrap_or(0);
                self.topic = Some((Arc::clone(topic), id));
                id
            }
        }
    }
}

impl Batch<'_> {
    fn made(&self) -> usize {
        let next = self.rows.next.len() * size_of::<Row>();
        (self.rows.rows.held_bytes() + next).saturating_sub(self.held)
    }

    /// Whether enough is made for now.
    fn is_full(&self) -> bool {
        self.rows.rows.room.is_some_and(|room| self.made() >= room)
    }

    /// Whether a single record has become more than it may.
    fn is_over(&self) -> bool {
        self.rows.rows.room.is_some_and(|room| self.made() >= room + RECORD_MADE_MAX)
    }

    /// Whether a row is the first of its record.
    fn begins_record(&self, at: usize) -> bool {
        let rows = &self.rows.rows.rows;
        at > 0 && rows[at].source != rows[at - 1].source
    }

    /// Whether rows from this one on are left for later, or for nobody.
    pub(super) fn stops(&self, at: usize) -> bool {
        self.is_full() && (self.begins_record(at) || self.is_over())
    }

    /// Refuses the record of a row; where the next one begins.
    fn refuse_record(&mut self, at: usize, label: &str) -> usize {
        let rows = &self.rows.rows.rows;
        let source = rows[at].source;
        let next = at + rows[at..].iter().take_while(|row| row.source == source).count();
        let detail = format!(
            "transform {label}: the record became more than {} MiB of rows",
            RECORD_MADE_MAX >> 20
        );
        self.rows.rejects.push(source, Stage::Transform, Reason::TooLarge, detail);
        next
    }
}

/// Copies rows in, as many as fit into an arena that grows to its usual size for a whole call,
/// and beyond it for a single row. `None` if not even one row can be made to fit. A failure is that
/// of so many rows: of one, where it alone needed more.
fn copy_in(
    instance: &mut Instance,
    input: &Input<'_>,
    range: Range<usize>,
    time: Duration,
) -> Result<Option<usize>, (usize, Failure)> {
    let whole = range.len().min(CALL_RECORDS_MAX);
    loop {
        let count = instance.fill(input, range.clone());
        let arena = instance.arena_bytes();
        if count == whole {
            return Ok(Some(count));
        }
        let larger = 2 * arena;
        if larger <= ARENA_USUAL && instance.could_grow(larger) {
            // Whatever the answer, the arena has to be filled again; and after a refusal it is
            // not asked for again.
            let guilty = if count > 0 { whole } else { 1 };
            instance.grow(larger, larger, time).map_err(|failure| (guilty, failure))?;
        } else if count > 0 {
            return Ok(Some(count));
        } else {
            let least = bytes_of(input, &input.rows.rows[range.start], instance.wants());
            let grown = match arena >= least {
                true => false,
                false => instance
                    .grow(least, least.next_power_of_two(), time)
                    .map_err(|failure| (1, failure))?,
            };
            if !grown {
                return Ok(None);
            }
        }
    }
}

impl Transform for Guest {
    fn apply(
        &mut self,
        records: &RecordBatch,
        rows: &mut RowBatch,
        rejects: &mut Rejects,
    ) -> Result<(), Fault> {
        if self.bypass.left > 0 {
            self.bypass.left -= 1;
            self.meter.rows_in.add(rows.rows.len() as u64);
            self.meter.rows_out.add(rows.rows.len() as u64);
            return Ok(());
        }
        if rows.rows.is_empty() {
            return Ok(());
        }
        // The one clock of this room, asked once for each batch: what the sandbox costs, how
        // many log lines a second it may write, and `now` for the guest.
        let start = Instant::now();
        let (rejected, emitted) = (rejects.found.len(), rows.emitted.len());
        let held = rows.held_bytes();
        let mut next = std::mem::take(&mut self.next);
        let mut places = std::mem::take(&mut self.places);
        next.clear();
        let mut batch = Batch {
            records,
            rows: Rows { rows, next: &mut next, rejects, places: &mut places },
            topic: self.topic(records),
            now_us: now_us(self.template.deterministic),
            now: start,
            held,
            traps: 0,
            deadlines: 0,
            replaced: 0,
        };
        let done = self.run(&mut batch);
        let done = done.and_then(|dealt| self.watch_memory(&mut batch).map(|()| dealt));
        let Batch { traps, deadlines, replaced, .. } = batch;
        if let Some(instance) = self.instance.as_mut().filter(|_| self.template.metered) {
            self.meter.fuel.add(instance.take_fuel());
        }
        let dealt = *done.as_ref().unwrap_or(&rows.rows.len());
        let records_in = sources(&rows.rows[..dealt]);
        if done.is_ok() {
            rows.rest.extend_from_slice(&rows.rows[dealt..]);
            std::mem::swap(&mut rows.rows, &mut next);
        }
        (self.next, self.places) = (next, places);

        if done.is_ok() {
            let emitted = &rows.emitted[emitted..];
            let tally = Tally::of(records_in, &rows.rows, emitted, &rejects.found[rejected..]);
            self.meter.rejected.add(tally.refused);
            self.meter.filtered.add(tally.filtered);
        }
        self.meter.rows_in.add(dealt as u64);
        self.meter.rows_out.add(if done.is_ok() { rows.rows.len() as u64 } else { 0 });
        self.meter.emitted.add((rows.emitted.len() - emitted) as u64);
        self.meter.traps.add(traps);
        self.meter.deadlines.add(deadlines);
        self.meter.replaced.add(replaced);
        let took = start.elapsed();
        self.meter.busy_ns.add(took.as_nanos() as u64);
        self.meter.took.record(took, 1);
        done.map(drop)
    }
}
