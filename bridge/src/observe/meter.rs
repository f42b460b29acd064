//! What is counted. Lanes and couriers count in local variables and publish once for each batch
//! or payload; nothing here is touched for each row.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::reject::Reason;

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A value that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds to it.
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Durations in microseconds, up to one hour, two significant digits: all of them, and those since
/// the last look.
#[derive(Debug)]
pub struct Latency(Mutex<Durations>);

#[derive(Debug)]
struct Durations {
    all: Histogram<u64>,
    recent: Histogram<u64>,
}

const LATENCY_MAX_US: u64 = 3_600_000_000;

impl Default for Latency {
    fn default() -> Latency {
        let histogram = Histogram::new_with_bounds(1, LATENCY_MAX_US, 2)
            .expect("one microsecond to one hour in two digits is a valid histogram");
        Latency(Mutex::new(Durations { recent: histogram.clone(), all: histogram }))
    }
}

impl Latency {
    /// Records `count` times the same duration.
    pub fn record(&self, duration: Duration, count: u64) {
        let us = (duration.as_micros() as u64).clamp(1, LATENCY_MAX_US);
        let mut durations = self.0.lock().expect("no recording panics");
        durations.all.saturating_record_n(us, count);
        durations.recent.saturating_record_n(us, count);
    }

    /// Durations at the given quantiles, the number of records and their sum in seconds.
    pub fn snapshot(&self, quantiles: &[f64]) -> (Vec<Duration>, u64, f64) {
        let histogram = &self.0.lock().expect("no recording panics").all;
        let at = |q: &f64| Duration::from_micros(histogram.value_at_quantile(*q));
        let sum = histogram.mean() * histogram.len() as f64 / 1e6;
        (quantiles.iter().map(at).collect(), histogram.len(), sum)
    }

    /// The duration at a quantile since this was asked last, if there was any. One asker only:
    /// the status line.
    pub fn take_recent(&self, quantile: f64) -> Option<Duration> {
        let recent = &mut self.0.lock().expect("no recording panics").recent;
        let us = (!recent.is_empty()).then(|| recent.value_at_quantile(quantile));
        recent.reset();
        us.map(Duration::from_micros)
    }
}

/// Everything counted for one pipeline.
#[derive(Debug, Default)]
pub struct PipelineMeter {
    /// Records taken from the source.
    pub records_in: Counter,
    /// Bytes of their keys and values.
    pub bytes_in: Counter,
    /// Rows whose payload was stored.
    pub rows_stored: Counter,
    /// Encoded bytes that were stored.
    pub bytes_stored: Counter,
    /// Records that transforms left no row of, without refusing them.
    pub records_filtered: Counter,
    /// Records with a null value, skipped by policy.
    pub records_skipped: Counter,
    /// Values that became null because their column does not take them, by policy.
    pub values_nulled: Counter,
    /// Rejected records by reason, in the order of [`Reason::ALL`].
    pub rejected: [Counter; Reason::ALL.len()],
    /// Rejected records that are stored in the dead letters.
    pub rejects_stored: Counter,
    /// Sends tried again by couriers.
    pub retries: Counter,
    /// Times that intake went back to a commit point.
    pub rewinds: Counter,
    /// Offsets that were no longer in the log when they were to be read.
    pub offsets_missed: Counter,
    /// Connections that are open.
    pub connections: Gauge,
    /// Partitions that are assigned.
    pub partitions: Gauge,
    /// Partitions that are paused because something to their right is full.
    pub paused: Gauge,
    /// Records that could be read but were not taken yet, in all partitions.
    pub lag: Gauge,
    /// Bytes that are under way: lent by the source, open and closed payloads.
    pub queued_bytes: Gauge,
    /// Batches whose ticket is out.
    pub tickets_out: Gauge,
    /// Milliseconds since 1970 of the last commit.
    pub committed_at_ms: Gauge,
    /// From Kafka's timestamp to the receipt.
    pub acked: Latency,
    /// From a payload's first row to its receipt.
    pub stored: Latency,
    /// (topic/partition, lag), refreshed about once a second.
    pub partition_lag: Mutex<Vec<(String, i64)>>,
    /// What is wrong just now, in words, for the status line and `/readyz`; empty if nothing is.
    pub trouble: Mutex<String>,
    /// The same by who said it.
    troubles: Mutex<Vec<String>>,
    /// 1 while rows go to the fallback.
    pub fallback_active: Gauge,
    /// Times that the pipeline turned to its fallback.
    pub fallbacks: Counter,
    /// What is to be said while rows go to the fallback, though nothing is wrong; else empty.
    pub remark: Mutex<String>,
    /// Rows that each sink stored, by the sink's section.
    pub sinks: Mutex<Vec<(String, std::sync::Arc<Counter>)>>,
    /// One for each transform, in order.
    pub transforms: Mutex<Vec<(String, std::sync::Arc<TransformMeter>)>>,
}

impl PipelineMeter {
    /// Counts rejected records.
    pub fn reject(&self, reason: Reason, n: u64) {
        self.rejected[reason as usize].add(n);
    }

    /// Rejected records, whatever the reason.
    pub fn rejected_total(&self) -> u64 {
        self.rejected.iter().map(Counter::get).sum()
    }

    /// Says what is wrong just now; empty when it is over.
    pub fn set_trouble(&self, trouble: impl Into<String>) {
        self.say_trouble(0, trouble);
    }

    /// A number for one more who says what is wrong: nobody takes back what others said.
    pub fn enrol(&self) -> usize {
        let mut troubles = self.troubles.lock().expect("no one panics with it");
        let number = troubles.len().max(1);
        troubles.resize(number + 1, String::new());
        number
    }

    /// The same as [`PipelineMeter::set_trouble`], by a number of one's own.
    pub fn say_trouble(&self, number: usize, trouble: impl Into<String>) {
        let mut troubles = self.troubles.lock().expect("no one panics with it");
        if troubles.len() <= number {
            troubles.resize(number + 1, String::new());
        }
        troubles[number] = trouble.into();
        let said: Vec<&str> =
            troubles.iter().map(String::as_str).filter(|words| !words.is_empty()).collect();
        *self.trouble.lock().expect("no one panics with it") = said.join("; ");
    }

    /// Says what is worth knowing though nothing is wrong; empty when it is over.
    pub fn set_remark(&self, remark: impl Into<String>) {
        *self.remark.lock().expect("no one panics with it") = remark.into();
    }
}

/// Everything counted for one transform.
#[derive(Debug, Default)]
pub struct TransformMeter {
    /// Rows that went in.
    pub rows_in: Counter,
    /// Rows that came out.
    pub rows_out: Counter,
    /// Records that it made for topics.
    pub emitted: Counter,
    /// Records it refused.
    pub rejected: Counter,
    /// Records it made nothing of, without refusing them.
    pub filtered: Counter,
    /// Time of a batch, filling and checking included.
    pub took: Latency,
    /// Traps.
    pub traps: Counter,
    /// Deadlines it passed.
    pub deadlines: Counter,
    /// Nanoseconds spent in it, filling and checking included.
    pub busy_ns: Counter,
    /// Bytes of its largest instance's memory.
    pub memory_bytes: Gauge,
    /// Instances thrown away and made anew.
    pub replaced: Counter,
    /// Fuel that batches took, where it is counted: in benches, never in a pipeline.
    pub fuel: Counter,
    /// What the transform itself counts, under names of its own.
    pub own: Mutex<Vec<OwnMetric>>,
    /// Records kept for the author to replay.
    pub cases: Counter,
    /// Modules that took over from the one before.
    pub reloads: Counter,
    /// Modules that were to take over and were refused.
    pub reloads_refused: Counter,
    /// Which module it runs.
    pub module: Mutex<ModuleState>,
    /// Of a module in its shadow, if there ever was one.
    pub shadow: OnceLock<Arc<ShadowMeter>>,
}

/// Everything counted for a module in the shadow of another.
#[derive(Debug, Default)]
pub struct ShadowMeter {
    /// Records of which it makes the same.
    pub same: Counter,
    /// Those of which it does not, in the order of [`Difference::ALL`].
    pub different: [Counter; Difference::ALL.len()],
    /// Lanes that left it out because it would have stopped the pipeline.
    pub stopped: Counter,
    /// What it costs, and its own counts.
    pub module: Arc<TransformMeter>,
}

/// How a module in the shadow differs on a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Difference {
    /// It makes nothing: no row, no record for a topic.
    Missing,
    /// It makes something where there is nothing.
    Added,
    /// One of both refuses it.
    Refused,
    /// It makes more rows, or fewer.
    Rows,
    /// A column or the table is another.
    Values,
}

impl Difference {
    /// All of them.
    pub const ALL: [Difference; 5] = [
        Difference::Missing,
        Difference::Added,
        Difference::Refused,
        Difference::Rows,
        Difference::Values,
    ];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Difference::Missing => "missing",
            Difference::Added => "added",
            Difference::Refused => "refused",
            Difference::Rows => "rows",
            Difference::Values => "values",
        }
    }

    /// The same for a person.
    pub fn words(self) -> &'static str {
        match self {
            Difference::Missing => "it makes nothing of it",
            Difference::Added => "it makes something where there was nothing",
            Difference::Refused => "one of both refuses it",
            Difference::Rows => "it makes another number of rows",
            Difference::Values => "another value",
        }
    }
}

/// Which module a transform runs.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ModuleState {
    /// Where it is from, as people know it.
    pub from: String,
    /// Its hash, in hexadecimal digits.
    pub sha256: String,
    /// Since when it runs, milliseconds since 1970.
    pub since_ms: i64,
    /// Why the one that was to take over last was refused; `None` once one took over.
    pub refused: Option<String>,
}

/// A metric that a transform named.
#[derive(Clone, PartialEq, Debug)]
pub struct OwnMetric {
    /// A name as Prometheus has them.
    pub name: String,
    /// Whether its value replaces the last one; else it is added.
    pub gauge: bool,
    /// Its value.
    pub value: f64,
}

impl TransformMeter {
    /// Adds to, or sets, a metric of the transform's own. What was a gauge stays one.
    pub fn say(&self, name: &str, gauge: bool, value: f64) {
        let mut own = self.own.lock().expect("no one panics with it");
        match own.iter_mut().find(|metric| metric.name == name) {
            Some(metric) if metric.gauge != gauge => {}
            Some(metric) if gauge => metric.value = value,
            Some(metric) => metric.value += value,
            None => own.push(OwnMetric { name: name.to_owned(), gauge, value }),
        }
    }
}
