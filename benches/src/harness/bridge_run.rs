//! One run: a table made anew, the bridge as users start it, until its last row is visible.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use world::{Kafka, Process, QuestDb, Signal};

use super::config::{Installed, Transport};
use super::count::{self, Destination, Seen, Truth};
use super::load::Topic;
use super::metrics::{self, Latency, Metrics};
use super::sample::{self, Sampler, Samples};
use super::scenario::{self, Scenario};
use crate::stats::interpolate;

/// The name of the bridge among the sampled processes.
pub const BRIDGE: &str = "bridge";
/// A bridge that compiles its modules for the first time on a loaded machine.
const READY: Duration = Duration::from_secs(60);
/// How long the last acknowledgement may take after the last row is visible.
const ACKED: Duration = Duration::from_secs(60);
/// How long it may take to end.
const STOP: Duration = Duration::from_secs(60);
/// Fewer rows a second are a failure, not a figure.
const ROWS_PER_S_MIN: u64 = 5_000;

/// What one run showed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Run {
    pub rows: u64,
    /// From the first row visible to the last.
    pub rows_per_s: f64,
    /// The bridge's, between 10 % and 90 % of the records by its own count of what it has read:
    /// what is stored or visible lags behind the work by all that is under way.
    pub cpu_s_per_million: f64,
    /// The bridge's, from its start to its last row visible.
    pub cpu_s_per_million_whole: f64,
    /// The bridge's, as the kernel kept it.
    pub peak_rss_bytes: u64,
    /// From Kafka's timestamp to the receipt: with a topic filled beforehand, the backlog's age.
    pub acked: Latency,
    /// From a payload's first row to its receipt.
    pub stored: Latency,
    /// Processor seconds of each process from the bridge's start to the last row visible.
    pub cpu_s: BTreeMap<String, f64>,
    /// Of the bridge, by the names of its threads.
    pub cpu_s_by_thread: BTreeMap<String, f64>,
    pub count_matched: bool,
    pub distinct_matched: bool,
    pub sum_matched: bool,
    /// Whether the group had committed all offsets in the end.
    pub committed: bool,
    pub truth: Truth,
    /// Rows that the destination showed, over time.
    pub seen: Vec<Seen>,
    /// Records that the bridge had read, over time.
    pub read: Vec<Seen>,
    /// Processor time and memory over time, of each process.
    pub samples: BTreeMap<String, Samples>,
    /// `/metrics` in the end.
    pub metrics: BTreeMap<String, f64>,
}

impl Run {
    /// Whether every row arrived exactly once.
    pub fn matched(&self) -> bool {
        self.count_matched && self.distinct_matched && self.sum_matched
    }
}

/// A bridge that was started on a configuration.
pub struct Running<'a> {
    process: Process,
    installed: &'a Installed,
}

impl<'a> Running<'a> {
    /// `bridge run bridge.toml`.
    pub fn start(binary: &Path, installed: &'a Installed) -> Result<Self> {
        let file = installed.file.to_str().context("temporary folders have plain names")?;
        Ok(Self { process: Process::spawn(binary, ["run", file], [])?, installed })
    }

    /// Waits until all partitions are its own.
    pub fn wait_assigned(&self, wanted: i32) -> Result<()> {
        let address = self.installed.http.address();
        world::await_ok(READY, "the bridge to be ready", || {
            if let Err(ended) = self.ensure_alive() {
                return Ok(Err(ended));
            }
            let partitions = Metrics::read(&address)?.get("bridge_partitions")?;
            ensure!(partitions == f64::from(wanted), "{partitions} partitions");
            let (status, body) = metrics::get(&address, "/readyz")?;
            ensure!(status == 200, "{status} {body}");
            Ok(Ok(()))
        })?
    }

    /// Fails when it has ended.
    pub fn ensure_alive(&self) -> Result<()> {
        match self.process.exit_status()? {
            None => Ok(()),
            Some(status) => bail!("the bridge ended: {status}\n{}", self.process.tail()),
        }
    }

    /// Processor time so far.
    pub fn cpu_seconds(&self) -> Result<f64> {
        self.process.cpu_seconds()
    }

    /// What it says of itself.
    pub fn metrics(&self) -> Result<Metrics> {
        Metrics::read(&self.installed.http.address())
    }

    /// The records it has read. While it starts it does not answer.
    fn read(&self, start: Instant) -> Result<Seen> {
        let rows = self.metrics()?.get("bridge_records_in_total")? as u64;
        Ok(Seen { at_s: start.elapsed().as_secs_f64(), rows })
    }

    /// The same, when every record is acknowledged: over TCP that is later than visible.
    pub fn metrics_when_acked(&self, records: u64) -> Result<Metrics> {
        world::await_ok(ACKED, "the last acknowledgement", || {
            let metrics = self.metrics()?;
            let acked = metrics.latency("bridge_acked_seconds")?.count;
            ensure!(acked >= records, "{acked} of {records} records are acknowledged");
            Ok(metrics)
        })
    }

    /// The most memory that it used.
    pub fn rss_bytes_max(&self) -> Result<u64> {
        self.process.rss_bytes_max()
    }

    /// Memory in use.
    pub fn rss_bytes(&self) -> Result<u64> {
        self.process.rss_bytes()
    }

    /// SIGTERM, and it must end well.
    pub fn stop(self) -> Result<()> {
        self.process.signal(Signal::Terminate)?;
        let status = self.process.wait_exit(STOP)?;
        ensure!(status.success(), "the bridge ended with {status}\n{}", self.process.tail());
        Ok(())
    }
}

/// Makes the scenario's table anew.
pub fn fresh_table(questdb: &QuestDb, scenario: &dyn Scenario, transport: Transport) -> Result<()> {
    let table = scenario.name();
    questdb.sql(&format!("DROP TABLE IF EXISTS {table}"))?;
    questdb.sql(&scenario::create_table(scenario, table, transport.metadata()))?;
    Ok(())
}

/// What is sampled: the bridge and the servers.
pub fn processes(
    kafka: &Kafka,
    database: Option<(&str, u32)>,
    running: &Running<'_>,
) -> Result<Vec<(String, u32)>> {
    let of = |name: &str, id| (name.to_owned(), id);
    let mut all = vec![of(BRIDGE, running.process.process_id()), of("kafka", kafka.process_id()?)];
    all.extend(database.map(|(name, id)| of(name, id)));
    Ok(all)
}

/// Moves a topic that was filled beforehand: the run at saturation.
pub fn saturate(
    kafka: &Kafka,
    destination: &dyn Destination,
    binary: &Path,
    installed: &Installed,
    topic: Topic<'_>,
) -> Result<Run> {
    let records = topic.records;
    let start = Instant::now();
    let running = Running::start(binary, installed)?;
    let id = running.process.process_id();
    let sampler = Sampler::start(start, processes(kafka, destination.process()?, &running)?)?;
    let within = Duration::from_secs(60 + records / ROWS_PER_S_MIN);
    let mut read = Vec::new();
    let seen = count::until_all(destination, start, records, within, || {
        running.ensure_alive()?;
        read.extend(running.read(start).ok());
        Ok(())
    });
    read.extend(running.read(start).ok());
    let samples = sampler.finish()?;
    let seen = seen?;
    let threads = sample::threads(id)?;
    let peak_rss_bytes = running.rss_bytes_max()?;
    let metrics = running.metrics_when_acked(records)?;
    running.stop()?;
    let committed = kafka.committed(&installed.group, topic.name)?;
    let mut ends = kafka.end_offsets(topic.name)?;
    ends.retain(|(_, end)| *end > 0);
    let (truth, wanted) = (destination.truth()?, Truth::wanted(records));
    let first_to_last = count::rows_per_s(&seen);
    let bridge = samples.get(BRIDGE).context("the bridge was sampled")?;
    let (steady, whole) = cpu_per_million(&seen, &read, bridge).context("the run was too short")?;
    Ok(Run {
        rows: truth.count,
        // Too few records to see a second count: there is no rate to tell.
        rows_per_s: first_to_last.unwrap_or(f64::NAN),
        cpu_s_per_million: steady,
        cpu_s_per_million_whole: whole,
        peak_rss_bytes,
        acked: metrics.latency("bridge_acked_seconds")?,
        stored: metrics.latency("bridge_stored_seconds")?,
        cpu_s: samples.iter().map(|(name, of)| (name.clone(), cpu_between(of, &seen))).collect(),
        cpu_s_by_thread: threads,
        count_matched: truth.count == wanted.count,
        distinct_matched: truth.distinct == wanted.distinct,
        sum_matched: truth.sum == wanted.sum,
        committed: ends.iter().all(|end| committed.contains(end)),
        truth,
        seen,
        read,
        metrics: metrics.all().clone(),
        samples,
    })
}

fn cpu_over_time(samples: &Samples) -> Vec<(f64, f64)> {
    samples.iter().map(|sample| (sample.at_s, sample.cpu_s)).collect()
}

/// Processor seconds from the first sample to the last row.
pub(crate) fn cpu_between(samples: &Samples, seen: &[Seen]) -> f64 {
    let cpu = cpu_over_time(samples);
    let (first, end) = (samples.first(), seen.last().map_or(0.0, |last| last.at_s));
    interpolate(&cpu, end).unwrap_or(0.0) - first.map_or(0.0, |first| first.cpu_s)
}

/// Processor seconds per million rows: between 10 % and 90 % of the records read, and from the
/// process's start to the last row seen.
pub(crate) fn cpu_per_million(
    seen: &[Seen],
    read: &[Seen],
    bridge: &Samples,
) -> Option<(f64, f64)> {
    let cpu = cpu_over_time(bridge);
    let times: Vec<(f64, f64)> = read.iter().map(|seen| (seen.rows as f64, seen.at_s)).collect();
    let last = seen.last()?;
    let (rows, end) = (last.rows as f64, last.at_s);
    let cpu_at = |share: f64| interpolate(&cpu, interpolate(&times, rows * share)?);
    let steady = (cpu_at(0.9)? - cpu_at(0.1)?) / (rows * 0.8) * 1e6;
    Some((steady, interpolate(&cpu, end)? / rows * 1e6))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::sample::Sample;

    #[test]
    fn the_steady_part_leaves_out_start_and_end() {
        let read: Vec<Seen> = (0..=10)
            .map(|second| Seen {
                at_s: f64::from(second),
                rows: u64::from(second as u32) * 100_000,
            })
            .collect();
        // Half a second of start, then 0.1 s a second: a million rows in ten seconds.
        let bridge: Samples = (0..=20)
            .map(|half| f64::from(half) / 2.0)
            .map(|at_s| Sample { at_s, cpu_s: 0.5 + at_s * 0.1, rss_bytes: 1 })
            .collect();
        // All of it is seen at once, at the end.
        let seen = [Seen { at_s: 0.0, rows: 0 }, Seen { at_s: 10.0, rows: 1_000_000 }];
        let (steady, whole) = cpu_per_million(&seen, &read, &bridge).expect("there are samples");
        assert!((steady - 1.0).abs() < 1e-9, "{steady}");
        assert!((whole - 1.5).abs() < 1e-9, "{whole}");
        assert!((cpu_between(&bridge, &seen) - 1.0).abs() < 1e-9);
    }
}
