//! The bridge alone: the source `memory` through the real pipeline, threads, channels and all,
//! into the sink `memory`, on one core.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bridge::pipeline::{Running, run_with};
use serde::Serialize;

use super::bed::{install, said, sensors};
use super::watch::process_time;
use crate::stats::interpolate;

/// Values in memory; they come again and again.
const VALUES: u64 = 100_000;
/// Time between two looks at the counters.
const LOOK: Duration = Duration::from_millis(2);

/// What goes through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Road {
    pub(super) name: &'static str,
    transforms: &'static str,
    encode: &'static str,
}

/// A filter that keeps all, and a computed column.
const TRANSFORMS: &str = "[[pipeline.alone.transform]]
module = \"drop_cold.wasm\"
config = { min_celsius = -100.0 }
[[pipeline.alone.transform]]
module = \"enrich_route.wasm\"
config = { alarm_above = 1000.0 }
";

/// From the whole road to the shortest.
pub(super) const ROADS: [Road; 4] = [
    Road {
        name: "alone: decode, filter, computed column, encode",
        transforms: TRANSFORMS,
        encode: "line-protocol",
    },
    Road {
        name: "alone: decode, filter, computed column, discard",
        transforms: TRANSFORMS,
        encode: "none",
    },
    Road { name: "alone: decode, encode", transforms: "", encode: "line-protocol" },
    Road { name: "alone: decode, discard", transforms: "", encode: "none" },
];

/// What was seen between 10 % and 90 % of the rows.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Alone {
    pub road: &'static str,
    pub records: u64,
    pub rows_per_s: f64,
    /// Of the whole process.
    pub cpu_s_per_million: f64,
}

/// One look at the counters.
#[derive(Clone, Copy)]
struct Look {
    at_s: f64,
    cpu_s: f64,
    rows: f64,
}

/// Runs a road with so many records.
pub(super) fn run(road: Road, records: u64) -> Result<Alone> {
    let (mut key, mut value, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    for seq in 0..VALUES {
        sensors(seq, &mut key, &mut value);
        lines.extend_from_slice(&value);
        lines.push(b'\n');
    }
    let Road { name, transforms, encode } = road;
    let text = format!(
        "[pipeline.alone]
source = {{ kind = \"memory\", file = \"records.jsonl\", count = {records}, partitions = 4 }}
sink = {{ kind = \"memory\", encode = \"{encode}\" }}
limits = {{ lanes = 1 }}
{transforms}[pipeline.alone.table]
name = \"sensors\"
timestamp = {{ field = \"ts\", unit = \"us\" }}
symbols = [\"sensor\", \"site\"]
columns = {{ temperature = \"double\", humidity = \"double\", pressure = \"double\", seq = \"long\" }}
"
    );
    let installed = install(&text, &[("records.jsonl", &lines)])?;
    drop(lines);
    let looks: Arc<Mutex<Vec<Look>>> = Arc::default();
    let over = Arc::new(AtomicBool::new(false));
    let mut watcher = None;
    let beside = |running: Running| {
        let (looks, over) = (Arc::clone(&looks), Arc::clone(&over));
        watcher = Some(std::thread::spawn(move || watch(&running, &looks, &over)));
    };
    let end = run_with(installed.plan, false, beside).map_err(said);
    over.store(true, Ordering::Release);
    let watched = watcher.context("the pipeline was opened")?.join();
    end?;
    ensure!(watched.is_ok(), "looking at the counters failed");
    drop(installed.folder);
    let looks = looks.lock().expect("the watcher has ended");
    figures(&looks, records as f64)
        .map(|(rows_per_s, cpu_s_per_million)| Alone {
            road: name,
            records,
            rows_per_s,
            cpu_s_per_million,
        })
        .with_context(|| format!("{records} records are too few to see anything"))
}

fn watch(running: &Running, looks: &Mutex<Vec<Look>>, over: &AtomicBool) {
    let (start, meter) = (Instant::now(), &running.meters[0].1);
    loop {
        // Asked before the counters, so that the last look sees all of them.
        let last = over.load(Ordering::Acquire);
        let look = Look {
            rows: meter.rows_stored.get() as f64,
            at_s: start.elapsed().as_secs_f64(),
            cpu_s: process_time().as_secs_f64(),
        };
        looks.lock().expect("no one panics with it").push(look);
        if last {
            return;
        }
        std::thread::sleep(LOOK);
    }
}

/// (rows a second, processor seconds for a million rows) between 10 % and 90 %.
fn figures(looks: &[Look], rows: f64) -> Option<(f64, f64)> {
    let line = |of: fn(&Look) -> f64| {
        let points: Vec<(f64, f64)> = looks.iter().map(|look| (look.rows, of(look))).collect();
        Some(interpolate(&points, 0.9 * rows)? - interpolate(&points, 0.1 * rows)?)
    };
    let (seconds, cpu) = (line(|look| look.at_s)?, line(|look| look.cpu_s)?);
    (seconds > 0.0).then(|| (0.8 * rows / seconds, cpu / (0.8 * rows / 1e6)))
}

/// Binds this thread, and all that it starts, to one core; the cores that it had before.
pub(super) fn bind_to_one_core() -> Result<Cores> {
    let mut had = Cores::none();
    // SAFETY: sched_getaffinity(2) writes at most the size of the set that it is given.
    let failed =
        unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut had.0) };
    ensure!(failed == 0, "asking for this process's cores: {}", std::io::Error::last_os_error());
    // SAFETY: CPU_ISSET reads one bit of a set, whose size bounds the number.
    let has = |core: &usize| unsafe { libc::CPU_ISSET(*core, &had.0) };
    let last = (0..libc::CPU_SETSIZE as usize).rfind(has).context("a process has a core")?;
    let mut one = Cores::none();
    // SAFETY: CPU_SET writes one bit of a set, whose size bounds the number.
    unsafe { libc::CPU_SET(last, &mut one.0) };
    one.bind()?;
    Ok(had)
}

/// A set of cores.
pub(super) struct Cores(libc::cpu_set_t);

impl Cores {
    fn none() -> Cores {
        // SAFETY: a set is plain bits; none of them set is the empty set.
        Cores(unsafe { std::mem::zeroed() })
    }

    /// Binds this thread, and all that it starts from now on.
    pub(super) fn bind(&self) -> Result<()> {
        // SAFETY: sched_setaffinity(2) reads the set that it is given.
        let failed = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &self.0) };
        ensure!(failed == 0, "binding to a core: {}", std::io::Error::last_os_error());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_the_middle() {
        let look = |(rows, at_s): (f64, f64)| Look { rows, at_s, cpu_s: 2.0 * at_s };
        // A slow start and a slow end, 100 rows a second between.
        let looks = [(0.0, 0.0), (0.0, 9.0), (100.0, 10.0), (900.0, 18.0), (1_000.0, 50.0)];
        let (rows_per_s, cpu) = figures(&looks.map(look), 1_000.0).expect("there are rows");
        assert_eq!(rows_per_s, 100.0);
        assert!((cpu - 20_000.0).abs() < 1e-6, "{cpu}");
        assert_eq!(figures(&[], 1.0), None);
    }

    #[test]
    fn every_road_lets_all_through() {
        for road in ROADS {
            let alone = run(road, 20_000).expect("it runs");
            assert!(alone.rows_per_s > 0.0, "{alone:?}");
        }
    }

    #[test]
    fn one_core_is_one_core() {
        std::thread::spawn(|| {
            let had = bind_to_one_core().expect("a core may be chosen");
            assert_eq!(std::thread::available_parallelism().map_or(0, usize::from), 1);
            had.bind().expect("what it had, it may have");
        })
        .join()
        .expect("it ends");
    }
}
