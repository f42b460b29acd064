//! Latency at a fixed rate: from the moment a record was due to its receipt, and until its row is
//! visible.
//!
//! Corrected for coordinated omission: records carry the time they were due, so what waits behind
//! a slow moment counts with its whole wait. Visible rows are counted, not traced: the nth row seen
//! is held against the time the nth record was due.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use hdrhistogram::Histogram;
use serde::Serialize;

use super::Servers;
use super::bridge_run::Running;
use super::config::Installed;
use super::count::{self, Seen, Truth};
use super::load::{self, Topic};
use super::metrics::Latency;

/// What one rate showed.
#[derive(Clone, Debug, Serialize)]
pub struct AtRate {
    pub per_second: u64,
    pub records: u64,
    /// From due to the receipt, as the bridge measures it from Kafka's timestamp.
    pub acked: Latency,
    /// From due to visible, looked at ten times a second.
    pub visible: Latency,
    /// Of one core, while records came.
    pub bridge_cpu_share: f64,
    /// Before the first record came.
    pub idle: Idle,
    pub matched: bool,
}

/// The bridge without work.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Idle {
    /// Of one core.
    pub cpu_share: f64,
    pub rss_bytes: u64,
}

/// For so long idleness is measured: a thousand of the kernel's ticks.
const IDLE: Duration = Duration::from_secs(10);

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
    per_second: u64,
) -> Result<AtRate> {
    let (Servers { kafka, questdb }, Topic { scenario, records, .. }) = (servers, topic);
    let lasting = Duration::from_secs(records / per_second);
    let running = Running::start(binary, installed)?;
    running.wait_assigned(topic.layout.partitions)?;
    let idle = idle(&running)?;
    let cpu_before = running.cpu_seconds()?;
    let start = Instant::now();
    let seen = std::thread::scope(|scope| {
        let producer = scope.spawn(|| load::scheduled(kafka, topic, per_second));
        let within = lasting + Duration::from_secs(60);
        let table = scenario.name();
        let seen =
            count::until_all(questdb, table, start, records, within, || running.ensure_alive());
        producer.join().map_err(|_| anyhow!("the producer panicked"))??;
        seen
    })?;
    let spent = running.cpu_seconds()? - cpu_before;
    let elapsed = start.elapsed().as_secs_f64();
    let acked = running.metrics_when_acked(records)?.latency("bridge_acked_seconds")?;
    running.stop()?;
    let truth = Truth::of_table(questdb, scenario.name())?;
    Ok(AtRate {
        per_second,
        records,
        acked,
        visible: visible(&seen, per_second).context("counting latencies")?,
        bridge_cpu_share: spent / elapsed,
        idle,
        matched: truth == Truth::wanted(records),
    })
}

/// The age of every row when it was first counted.
fn visible(seen: &[Seen], per_second: u64) -> Result<Latency> {
    let mut histogram: Histogram<u64> = Histogram::new(3)?;
    let mut counted = 0;
    for Seen { at_s, rows } in seen {
        for number in counted..*rows {
            let due_s = number as f64 / per_second as f64;
            histogram.record(((at_s - due_s).max(0.0) * 1e6) as u64)?;
        }
        counted = counted.max(*rows);
    }
    let at = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e3;
    Ok(Latency {
        p50_ms: at(0.5),
        p90_ms: at(0.9),
        p99_ms: at(0.99),
        p999_ms: at(0.999),
        count: histogram.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_waited_count_with_their_whole_wait() {
        let at = |at_s, rows| Seen { at_s, rows };
        // One row each 100 ms, and a second in which nothing could be seen.
        let seen = [at(0.0, 0), at(0.1, 1), at(0.2, 2), at(1.2, 12), at(1.3, 13)];
        let latency = visible(&seen, 10).expect("they can be counted");
        assert_eq!(latency.count, 13);
        assert!((latency.p999_ms - 1000.0).abs() < 2.0, "{latency:?}");
        assert!((latency.p50_ms - 400.0).abs() < 2.0, "{latency:?}");
    }
}
