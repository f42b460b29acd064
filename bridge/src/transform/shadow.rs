//! A module in the shadow of the one that runs: it gets the same batches, its rows are compared
//! and dropped. Nothing that it does is stored, refused or waited for by anyone; it costs its time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Loaded, Transform};
use crate::batch::{Emitted, RecordBatch, Row, RowBatch, sources};
use crate::blame::Fault;
use crate::names::Names;
use crate::observe::{Difference, ShadowMeter, TransformMeter};
use crate::reject::Rejects;

/// How often each lane tells of a difference.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// A module that runs, and one in its shadow.
pub struct ShadowLoaded {
    runs: Arc<dyn Loaded>,
    candidate: Arc<dyn Loaded>,
    names: Arc<Names>,
    from: String,
}

impl ShadowLoaded {
    /// Both of a pipeline with these names.
    pub fn new(
        runs: Arc<dyn Loaded>,
        candidate: Arc<dyn Loaded>,
        names: Arc<Names>,
    ) -> ShadowLoaded {
        let from = format!("{}, in its shadow {}", runs.from(), candidate.from());
        ShadowLoaded { runs, candidate, names, from }
    }
}

impl Loaded for ShadowLoaded {
    fn instance(&self, meter: Arc<TransformMeter>) -> Result<Box<dyn Transform>, Fault> {
        let shadow = Arc::clone(meter.shadow.get_or_init(Arc::default));
        let candidate = self.candidate.instance(Arc::clone(&shadow.module))?;
        Ok(Box::new(Shadowed {
            runs: self.runs.instance(meter)?,
            candidate: Some(candidate),
            name: self.candidate.from().into(),
            names: Arc::clone(&self.names),
            meter: shadow,
            rows: RowBatch::default(),
            rejects: Rejects::default(),
            told: None,
        }))
    }

    fn summary(&self) -> String {
        format!("{}; in its shadow: {}", self.runs.summary(), self.candidate.summary())
    }

    fn from(&self) -> &str {
        &self.from
    }

    fn sha256(&self) -> &str {
        self.runs.sha256()
    }

    fn candidate(&self) -> Option<(Arc<dyn Loaded>, Arc<dyn Loaded>)> {
        Some((Arc::clone(&self.runs), Arc::clone(&self.candidate)))
    }

    fn tend(&self, meter: &TransformMeter) {
        self.runs.tend(meter);
        self.candidate.tend(meter);
    }
}

/// Both at work in one lane.
struct Shadowed {
    runs: Box<dyn Transform>,
    /// `None` once it would have stopped the pipeline.
    candidate: Option<Box<dyn Transform>>,
    name: Arc<str>,
    names: Arc<Names>,
    meter: Arc<ShadowMeter>,
    /// The candidate's copy of the batch.
    rows: RowBatch,
    rejects: Rejects,
    told: Option<Instant>,
}

impl Transform for Shadowed {
    fn apply(
        &mut self,
        records: &RecordBatch,
        rows: &mut RowBatch,
        rejects: &mut Rejects,
    ) -> Result<(), Fault> {
        let Some(candidate) = &mut self.candidate else {
            return self.runs.apply(records, rows, rejects);
        };
        self.rows.clear();
        self.rows.rows.extend_from_slice(&rows.rows);
        self.rows.cells.extend_from_slice(&rows.cells);
        self.rows.arena.extend_from_slice(&rows.arena);
        self.rows.deleting.copy(&rows.deleting);
        let records_in = sources(&rows.rows);
        let (before, emitted) = (rejects.found.len(), rows.emitted.len());
        let tried = candidate.apply(records, &mut self.rows, &mut self.rejects);
        self.runs.apply(records, rows, rejects)?;
        if let Err(fault) = tried {
            tracing::warn!("{} in the shadow would stop the pipeline: {fault}", self.name);
            self.meter.stopped.add(1);
            self.candidate = None;
        } else if rows.rest.is_empty() && self.rows.rest.is_empty() {
            // Where one of both stopped early there is nothing to hold against each other.
            let refused = [refused(rejects, before), refused(&self.rejects, 0)];
            self.compare(records, records_in, (rows, &rows.emitted[emitted..]), &refused);
        }
        self.rejects.found.clear();
        Ok(())
    }
}

/// Records that were refused after the first `before` of them, in order.
fn refused(rejects: &Rejects, before: usize) -> Vec<u32> {
    let mut refused: Vec<u32> = rejects.found[before..].iter().map(|found| found.0).collect();
    refused.sort_unstable();
    refused
}

impl Shadowed {
    fn compare(
        &mut self,
        records: &RecordBatch,
        records_in: u64,
        (rows, emitted): (&RowBatch, &[Emitted]),
        [refused, by_candidate]: &[Vec<u32>; 2],
    ) {
        let mut runs = Side { batch: rows, rows: &rows.rows, emitted, refused };
        let RowBatch { rows: made, emitted, .. } = &self.rows;
        let mut other = Side { batch: &self.rows, rows: made, emitted, refused: by_candidate };
        let mut counts = [0; Difference::ALL.len()];
        let mut example = None;
        while let Some(source) = [runs.next(), other.next()].into_iter().flatten().min() {
            let both = [runs.take(source), other.take(source)];
            if let Some((difference, column)) = differ([runs.batch, other.batch], both) {
                counts[difference as usize] += 1;
                example.get_or_insert((source, difference, column));
            }
        }
        let different: u64 = counts.iter().sum();
        self.meter.same.add(records_in.saturating_sub(different));
        for (counter, count) in self.meter.different.iter().zip(counts) {
            counter.add(count);
        }
        if let Some((source, difference, column)) = example {
            let offset = records.get(source as usize).offset;
            self.tell(&format!("{}@{offset}", records.source), difference, column, different);
        }
    }

    /// Values are not told: they are whoever's the records are.
    fn tell(&mut self, record: &str, difference: Difference, column: Option<u16>, count: u64) {
        let now = Instant::now();
        if self.told.is_some_and(|told| now - told < TELL_EVERY) {
            return;
        }
        self.told = Some(now);
        let column = column.and_then(|column| self.names.columns.name(column));
        let column = column.map(|name| format!(" in column `{name}`")).unwrap_or_default();
        let words = difference.words();
        tracing::info!(
            "{} in the shadow differs on {count} records of a batch, such as {record}: {words}{column}",
            self.name
        );
    }
}

/// What one of both made of a batch, record by record.
struct Side<'a> {
    batch: &'a RowBatch,
    /// Not looked at yet, by ascending source.
    rows: &'a [Row],
    /// The same of records for topics.
    emitted: &'a [Emitted],
    /// The same of records that were refused.
    refused: &'a [u32],
}

/// What one of both made of a record.
struct Made<'a> {
    rows: &'a [Row],
    emitted: &'a [Emitted],
    is_refused: bool,
}

impl Made<'_> {
    fn len(&self) -> (usize, usize) {
        (self.rows.len(), self.emitted.len())
    }
}

impl<'a> Side<'a> {
    /// The next record of which anything was made, or that was refused.
    fn next(&self) -> Option<u32> {
        let row = self.rows.first().map(|row| row.source);
        let emitted = self.emitted.first().map(|emitted| emitted.source);
        [row, emitted, self.refused.first().copied()].into_iter().flatten().min()
    }

    fn take(&mut self, source: u32) -> Made<'a> {
        let count = self.rows.iter().take_while(|row| row.source == source).count();
        let (rows, rest) = self.rows.split_at(count);
        let refusals = self.refused.iter().take_while(|refused| **refused == source).count();
        (self.rows, self.refused) = (rest, &self.refused[refusals..]);
        let count = self.emitted.iter().take_while(|emitted| emitted.source == source).count();
        let (emitted, rest) = self.emitted.split_at(count);
        self.emitted = rest;
        Made { rows, emitted, is_refused: refusals > 0 }
    }
}

/// How the candidate's rows of a record differ, and in which column first.
fn differ(
    [old, new]: [&RowBatch; 2],
    [runs, other]: [Made<'_>; 2],
) -> Option<(Difference, Option<u16>)> {
    if runs.is_refused || other.is_refused {
        return (runs.is_refused != other.is_refused).then_some((Difference::Refused, None));
    }
    match (runs.len(), other.len()) {
        (a, (0, 0)) => (a != (0, 0)).then_some((Difference::Missing, None)),
        ((0, 0), _) => Some((Difference::Added, None)),
        (a, b) if a != b => Some((Difference::Rows, None)),
        _ => {
            let column = |(a, b): (&Row, &Row)| differing([old, new], [a, b]);
            if let Some(column) = runs.rows.iter().zip(other.rows).find_map(column) {
                return Some((Difference::Values, (column != 0).then_some(column)));
            }
            let mut both = runs.emitted.iter().zip(other.emitted);
            let is_other = both.any(|(a, b)| text(old, a) != text(new, b));
            is_other.then_some((Difference::Values, None))
        }
    }
}

/// All of a record for a topic, wherever its bytes lie.
fn text<'a>(batch: &'a RowBatch, emitted: &'a Emitted) -> impl PartialEq + use<'a> {
    let bytes = |range: &std::ops::Range<usize>| &batch.arena[range.clone()];
    let Emitted { topic, partition, timestamp_ms, key, value, headers, .. } = emitted;
    let headers = batch.headers[headers.clone()].iter();
    let headers: Vec<_> =
        headers.map(|(name, value)| (bytes(name), value.as_ref().map(bytes))).collect();
    let (key, value) = (key.as_ref().map(bytes), value.as_ref().map(bytes));
    (*topic, *partition, *timestamp_ms, key, value, headers)
}

/// The first column in which two rows differ, 0 where it is their table.
fn differing([old, new]: [&RowBatch; 2], [a, b]: [&Row; 2]) -> Option<u16> {
    if a.table != b.table {
        return Some(0);
    }
    let (ours, theirs) = (old.cells_of(a), new.cells_of(b));
    let is_same = |x: &bridge_abi::Cell, y: &bridge_abi::Cell| {
        let head = (x.column, x.kind, x.flags, x.len) == (y.column, y.kind, y.flags, y.len);
        let (x_bytes, y_bytes) = (old.pointed(x), new.pointed(y));
        // What points to bytes is told by them, and not by where they lie.
        let points = bridge_abi::Kind::from_u8(x.kind).is_some_and(bridge_abi::Kind::points);
        head && x_bytes == y_bytes && (points || x.value == y.value)
    };
    if ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(x, y)| is_same(x, y)) {
        return None;
    }
    // In another order they may be the same; rows have few cells.
    let in_both = |x: &&bridge_abi::Cell| theirs.iter().any(|y| is_same(x, y));
    let in_ours = |y: &&bridge_abi::Cell| ours.iter().any(|x| is_same(x, y));
    let odd = ours.iter().find(|x| !in_both(x)).or_else(|| theirs.iter().find(|y| !in_ours(y)));
    odd.map(|cell| cell.column)
}
