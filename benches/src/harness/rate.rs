//! Latency at a fixed rate: from the moment a record was due until the bridge has its receipt, and
//! until its row is visible.
//!
//! Both are counted from outside and not traced: `latency` says how, and why nothing is omitted
//! while the pipeline stands still. The first seconds are left out: the first batch waits for
//! connections, and for the server to tell what its tables look like.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;

use super::Servers;
use super::bridge_run::{BRIDGE, Running, processes};
use super::config::Installed;
use super::count::{self, Destination, QuestDbTable, Seen, Truth};
use super::latency::{self, Percentiles};
use super::load::{self, Topic};
use super::metrics::Latency;
use super::sample::{Sampler, Samples};
use crate::stats::interpolate;

/// What one rate showed.
#[derive(Clone, Debug, Serialize)]
pub struct AtRate {
    pub per_second: u64,
    /// All of them, with those of the first seconds.
    pub records: u64,
    /// From due to the receipt, looked at every [`ACKED_BEAT`].
    pub acked: Percentiles,
    /// From due to visible, looked at every `visible_beat_ms`.
    pub visible: Percentiles,
    pub visible_beat_ms: u64,
    /// As the bridge measures it from Kafka's timestamp of each batch's last record, start and all.
    pub acked_by_its_own_clock: Latency,
    /// Of one core, while records came that were measured.
    pub bridge_cpu_share: f64,
    /// The bridge's, for the same records.
    pub cpu_s_per_million: f64,
    pub peak_rss_bytes: u64,
    /// Processor seconds of each process meanwhile.
    pub cpu_s: BTreeMap<String, f64>,
    /// Before the first record came.
    pub idle: Idle,
    pub truth: Truth,
    pub matched: bool,
    /// Processor time and memory over time, of each process.
    #[serde(skip)]
    pub samples: BTreeMap<String, Samples>,
}

/// The bridge without work.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Idle {
    /// Of one core.
    pub cpu_share: f64,
    pub rss_bytes: u64,
}

/// How fast, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub per_second: u64,
    /// The first of it, which is not measured.
    pub lead: Duration,
    /// What is measured.
    pub measured: Duration,
}

impl Pace {
    pub fn records(self) -> u64 {
        self.per_second * (self.lead + self.measured).as_secs()
    }
}

/// From one look at the table to the next. Each costs the database processor time that the pipeline
/// could have: every 10 ms took it a core at 50,000 records a second.
const VISIBLE_BEAT: Duration = Duration::from_millis(50);

/// From one look at the receipts to the next. Each costs the bridge some tens of microseconds.
const ACKED_BEAT: Duration = Duration::from_millis(10);
/// For so long idleness is measured: a thousand of the kernel's ticks.
const IDLE: Duration = Duration::from_secs(10);
/// How long after the last record was due everything may take to arrive.
const LATE: Duration = Duration::from_secs(60);

fn idle(running: &Running<'_>) -> Result<Idle> {
    let (start, before) = (Instant::now(), running.cpu_seconds()?);
    std::thread::sleep(IDLE);
    let spent = running.cpu_seconds()? - before;
    let cpu_share = spent / start.elapsed().as_secs_f64();
    Ok(Idle { cpu_share, rss_bytes: running.rss_bytes()? })
}

/// Starts the bridge on an empty topic and feeds it with all its records.
pub fn at_rate(
    servers: &Servers,
    binary: &Path,
    installed: &Installed,
    topic: Topic<'_>,
    pace: Pace,
) -> Result<AtRate> {
    let Topic { scenario, records, .. } = topic;
    let running = Running::start(binary, installed)?;
    running.wait_assigned(topic.layout.partitions)?;
    let idle = idle(&running)?;
    let table = QuestDbTable { questdb: &servers.questdb, table: scenario.name() };
    let start = Instant::now();
    let sampler = Sampler::start(start, processes(&servers.kafka, table.process()?, &running)?)?;
    let fed = feed(servers, &running, topic, pace, start);
    let samples = sampler.finish()?;
    let (seen, acked) = fed?;
    let peak_rss_bytes = running.rss_bytes_max()?;
    let own = running.metrics_when_acked(records)?.latency("bridge_acked_seconds")?;
    running.stop()?;
    let truth = table.truth()?;
    let cpu_s: BTreeMap<String, f64> =
        samples.iter().map(|(name, of)| (name.clone(), cpu_while_measured(of, pace))).collect();
    let bridge = cpu_s.get(BRIDGE).copied().context("the bridge was sampled")?;
    let measured_s = pace.measured.as_secs_f64();
    let from = pace.per_second * pace.lead.as_secs();
    let percentiles = |seen: &[Seen]| {
        latency::of_counts(seen, pace.per_second, from).map(|durations| Percentiles::of(&durations))
    };
    Ok(AtRate {
        per_second: pace.per_second,
        records,
        acked: percentiles(&acked).context("counting receipts")?,
        visible: percentiles(&seen).context("counting rows")?,
        visible_beat_ms: VISIBLE_BEAT.as_millis() as u64,
        acked_by_its_own_clock: own,
        bridge_cpu_share: bridge / measured_s,
        cpu_s_per_million: bridge / (pace.per_second as f64 * measured_s) * 1e6,
        peak_rss_bytes,
        cpu_s,
        idle,
        truth,
        matched: truth == Truth::wanted(records),
        samples,
    })
}

/// Produces by the schedule, and watches: rows that are visible, records that are acknowledged.
fn feed(
    servers: &Servers,
    running: &Running<'_>,
    topic: Topic<'_>,
    pace: Pace,
    start: Instant,
) -> Result<(Vec<Seen>, Vec<Seen>)> {
    let Servers { kafka, questdb } = servers;
    let (table, within) = (topic.scenario.name(), pace.lead + pace.measured + LATE);
    std::thread::scope(|scope| {
        let producer = scope.spawn(|| load::scheduled(kafka, topic, pace.per_second, start));
        let acked = scope.spawn(|| until_acked(running, start, topic.records, within));
        let seen = count::until_all_every(
            VISIBLE_BEAT,
            &QuestDbTable { questdb, table },
            start,
            topic.records,
            within,
            || running.ensure_alive(),
        );
        producer.join().map_err(|_| anyhow!("the producer panicked"))??;
        let acked = acked.join().map_err(|_| anyhow!("watching the receipts panicked"))??;
        Ok((seen?, acked))
    })
}

/// Looks at the bridge's count of receipts until it has all.
fn until_acked(
    running: &Running<'_>,
    start: Instant,
    records: u64,
    within: Duration,
) -> Result<Vec<Seen>> {
    let mut seen = Vec::new();
    loop {
        let rows = running.metrics()?.get("bridge_acked_seconds_count")? as u64;
        seen.push(Seen { at_s: start.elapsed().as_secs_f64(), rows });
        if rows >= records {
            return Ok(seen);
        }
        if start.elapsed() > within {
            bail!("after {within:?} {rows} of {records} records are acknowledged");
        }
        std::thread::sleep(ACKED_BEAT);
    }
}

/// Processor seconds of a process while records came that are measured.
fn cpu_while_measured(samples: &Samples, pace: Pace) -> f64 {
    let cpu: Vec<(f64, f64)> = samples.iter().map(|one| (one.at_s, one.cpu_s)).collect();
    let at = |time: Duration| interpolate(&cpu, time.as_secs_f64()).unwrap_or(0.0);
    at(pace.lead + pace.measured) - at(pace.lead)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::sample::Sample;

    #[test]
    fn the_first_seconds_are_not_measured() {
        let (lead, measured) = (Duration::from_secs(2), Duration::from_secs(8));
        let pace = Pace { per_second: 1_000, lead, measured };
        assert_eq!(pace.records(), 10_000);
        // Two seconds of a whole core, then a tenth of one.
        let cpu = |at_s: f64| if at_s < 2.0 { at_s } else { 2.0 + (at_s - 2.0) / 10.0 };
        let samples: Samples = (0..=24)
            .map(|half| f64::from(half) / 2.0)
            .map(|at_s| Sample { at_s, cpu_s: cpu(at_s), rss_bytes: 1 })
            .collect();
        assert!((cpu_while_measured(&samples, pace) - 0.8).abs() < 1e-9);
    }
}
