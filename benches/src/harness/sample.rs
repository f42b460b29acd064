//! Processor time and memory of processes, read from the kernel ten times a second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use serde::Serialize;

/// From one sample to the next.
const BEAT: Duration = Duration::from_millis(100);

/// One process at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Sample {
    /// Since the run began.
    #[serde(serialize_with = "crate::stats::to_the_millisecond")]
    pub at_s: f64,
    /// User and system, all threads, since the process began.
    #[serde(serialize_with = "crate::stats::to_the_millisecond")]
    pub cpu_s: f64,
    pub rss_bytes: u64,
}

/// What was sampled of a process.
pub type Samples = Vec<Sample>;

/// A thread that samples processes until it is told to stop.
pub struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<BTreeMap<String, Samples>>,
}

impl Sampler {
    /// Starts to sample processes, each known by a name; `start` is the moment 0.
    pub fn start(start: Instant, processes: Vec<(String, u32)>) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("sampler".into());
        let thread = thread.spawn(move || {
            let mut all: BTreeMap<String, Samples> = BTreeMap::new();
            while !stopped.load(Ordering::Relaxed) {
                for (name, id) in &processes {
                    let samples = all.entry(name.clone()).or_default();
                    // A process that has ended gives no more samples.
                    samples.extend(sample(start, *id).ok());
                }
                std::thread::sleep(BEAT);
            }
            all
        });
        Ok(Self { stop, thread: thread.context("starting the sampler")? })
    }

    /// The samples of every process, by name.
    pub fn finish(self) -> Result<BTreeMap<String, Samples>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the sampler panicked"))
    }
}

fn sample(start: Instant, process_id: u32) -> Result<Sample> {
    let cpu_s = world::cpu_seconds(process_id)?;
    let at_s = start.elapsed().as_secs_f64();
    Ok(Sample { at_s, cpu_s, rss_bytes: world::rss_bytes(process_id)? })
}

/// Processor time of a living process by its threads' names, numbers at their ends left out:
/// `bridge-lane-0` and `bridge-lane-1` are one.
pub fn threads(process_id: u32) -> Result<BTreeMap<String, f64>> {
    let mut threads = BTreeMap::new();
    let folder = format!("/proc/{process_id}/task");
    for entry in std::fs::read_dir(&folder).with_context(|| format!("reading {folder}"))? {
        let path = entry?.path().join("stat");
        // A thread may end between the listing and the reading.
        let Ok(stat) = std::fs::read_to_string(&path) else { continue };
        let (name, ticks) =
            parse_thread(&stat).with_context(|| format!("reading {}", path.display()))?;
        *threads.entry(name).or_insert(0.0) += ticks as f64 / ticks_per_second();
    }
    Ok(threads)
}

/// The name and the ticks, user and system, of a thread's line.
fn parse_thread(stat: &str) -> Option<(String, u64)> {
    // The name stands in parentheses and may hold anything, parentheses too.
    let (left, fields) = stat.rsplit_once(") ")?;
    let name = left.split_once('(')?.1;
    let short = name.trim_end_matches(|end: char| end.is_ascii_digit());
    let short = short.trim_end_matches(['-', '#', ':', ' ']);
    let mut times = fields.split(' ').skip(11);
    let (user, system) = (times.next()?.parse::<u64>().ok()?, times.next()?.parse::<u64>().ok()?);
    Some((if short.is_empty() { name } else { short }.to_owned(), user + system))
}

fn ticks_per_second() -> f64 {
    // SAFETY: sysconf(3) takes a constant and returns a number.
    (unsafe { libc::sysconf(libc::_SC_CLK_TCK) }) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threads_line_is_read_whatever_its_name() {
        let of = |name: &str| format!("12 ({name}) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0 5 0 99");
        for (name, short) in
            [("lane-0", "lane"), ("rdk:broker1", "rdk:broker"), ("a) b (7", "a) b ("), ("7", "7")]
        {
            assert_eq!(parse_thread(&of(name)), Some((short.to_owned(), 175)), "{name}");
        }
        assert_eq!(parse_thread("12 (lane-0) S 1 2 3"), None);
        assert_eq!(parse_thread(""), None);
    }

    #[test]
    fn a_busy_thread_is_seen_in_samples_and_by_name() {
        let own = std::process::id();
        let sampler = Sampler::start(Instant::now(), vec![("own".into(), own)]).expect("starts");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let busy = std::thread::Builder::new().name("busy-1".into()).spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        let seen = world::await_until(Duration::from_secs(20), "a busy thread", || {
            threads(own).ok()?.get("busy").copied().filter(|seconds| *seconds > 0.2)
        });
        stop.store(true, Ordering::Relaxed);
        busy.expect("starts").join().expect("ends");
        assert!(seen.expect("it is busy") < 20.0);
        let samples = &sampler.finish().expect("it samples")["own"];
        let (first, last) = (samples[0], samples[samples.len() - 1]);
        assert!(last.cpu_s > first.cpu_s && last.at_s > first.at_s && last.rss_bytes > 100_000);
    }
}
