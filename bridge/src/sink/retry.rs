//! Waiting between attempts: exponential with jitter, capped so that a database that came back is
//! met within about a second.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::observe::PipelineMeter;

/// The first wait.
const FIRST: Duration = Duration::from_millis(10);
/// The longest wait: one second of a returned database's time is all that may be wasted.
const LONGEST: Duration = Duration::from_secs(1);
/// Losses are reported at most this often; a database that flaps must not fill the log.
const QUIET: Duration = Duration::from_secs(5);

/// Waits that grow by two from 10 ms to 1 s, each scattered over its upper half.
#[derive(Debug)]
pub struct Backoff {
    attempt: u32,
    random: u64,
}

impl Default for Backoff {
    fn default() -> Backoff {
        // Seeded by the standard library's own random state: couriers must not wait in step.
        Backoff { attempt: 0, random: RandomState::new().hash_one(0_u8) | 1 }
    }
}

impl Backoff {
    /// The next wait.
    pub fn next_wait(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.attempt.min(10)).min(LONGEST);
        self.attempt = self.attempt.saturating_add(1);
        // xorshift64: scattering needs no better randomness.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let share = (self.random >> 11) as f64 / (1_u64 << 53) as f64;
        whole.mul_f64(0.5 + share / 2.0)
    }

    /// The next wait starts from the shortest again.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

/// What is wrong with a sink just now, told once: one line in the log when it is lost, one when
/// it is back, and the meter's words in between. Shared by all couriers of a sink.
#[derive(Debug)]
pub struct Trouble {
    pipeline: Arc<str>,
    sink: String,
    /// What it does not do: `is not answering`.
    fails: &'static str,
    meter: Arc<PipelineMeter>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Who cannot reach the sink.
    away: BTreeSet<usize>,
    since: Option<Instant>,
    why: String,
    warned_at: Option<Instant>,
    warned: bool,
    /// (table, what is wrong with it).
    tables: Vec<(Arc<str>, String)>,
}

impl Trouble {
    /// No trouble yet. `sink` is its name for people: `questdb localhost:9000`.
    pub fn new(pipeline: Arc<str>, sink: String, meter: Arc<PipelineMeter>) -> Trouble {
        let fails = "is not answering";
        Trouble { pipeline, sink, fails, meter, state: Mutex::default() }
    }

    /// The same for a sink that fails in another way than by silence: `cannot be written`.
    pub fn that(self, fails: &'static str) -> Trouble {
        Trouble { fails, ..self }
    }

    /// `who` cannot reach the sink. Counts nothing; says it at most every few seconds.
    pub fn away(&self, who: usize, why: &str) {
        let mut state = self.state.lock().expect("no one panics with it");
        let now = Instant::now();
        state.away.insert(who);
        state.since.get_or_insert(now);
        state.why = why.to_owned();
        if !state.warned && state.warned_at.is_none_or(|at| now.duration_since(at) >= QUIET) {
            state.warned = true;
            state.warned_at = Some(now);
            let (pipeline, sink, fails) = (&self.pipeline, &self.sink, self.fails);
            tracing::warn!("{pipeline}: {sink} {fails} ({why}); retrying, nothing lost");
        }
        self.publish(&state);
    }

    /// `who` reaches the sink again.
    pub fn back(&self, who: usize) {
        let mut state = self.state.lock().expect("no one panics with it");
        if !state.away.remove(&who) || !state.away.is_empty() {
            return;
        }
        let after = state.since.take().map_or(Duration::ZERO, |since| since.elapsed());
        if std::mem::take(&mut state.warned) {
            let (pipeline, sink) = (&self.pipeline, &self.sink);
            tracing::info!("{pipeline}: {sink} is back after {:.1} s", after.as_secs_f64());
        }
        self.publish(&state);
    }

    /// The tables that nothing can be written to just now, and why; logs what is new and what is
    /// over.
    pub fn tables(&self, tables: Vec<(Arc<str>, String)>) {
        let mut state = self.state.lock().expect("no one panics with it");
        let pipeline = &self.pipeline;
        for (table, why) in &tables {
            if !state.tables.iter().any(|(known, _)| known == table) {
                tracing::warn!("{pipeline}: paused: {why}");
            }
        }
        for (table, _) in &state.tables {
            if !tables.iter().any(|(still, _)| still == table) {
                tracing::info!("{pipeline}: going on: table {table} takes rows again");
            }
        }
        state.tables = tables;
        self.publish(&state);
    }

    fn publish(&self, state: &State) {
        let mut words: Vec<String> = state.tables.iter().map(|(_, why)| why.clone()).collect();
        if !state.away.is_empty() {
            words.insert(0, format!("{} {} ({})", self.sink, self.fails, state.why));
        }
        self.meter.set_trouble(words.join("; "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_second_and_start_again() {
        let mut backoff = Backoff::default();
        let waits: Vec<Duration> = (0..40).map(|_| backoff.next_wait()).collect();
        assert!(waits[0] >= FIRST / 2 && waits[0] <= FIRST);
        assert!(waits.iter().all(|wait| *wait <= LONGEST));
        assert!(waits[10..].iter().all(|wait| *wait >= LONGEST / 2));
        backoff.reset();
        assert!(backoff.next_wait() <= FIRST);
    }

    #[test]
    fn two_couriers_do_not_wait_in_step() {
        let (mut a, mut b) = (Backoff::default(), Backoff::default());
        assert!((0..8).any(|_| a.next_wait() != b.next_wait()));
    }

    #[test]
    fn trouble_is_over_when_all_are_back() {
        let meter = Arc::new(PipelineMeter::default());
        let words = |meter: &PipelineMeter| meter.trouble.lock().expect("it is whole").clone();
        let trouble = Trouble::new("p".into(), "questdb x:1".into(), Arc::clone(&meter));
        trouble.away(0, "refused");
        trouble.away(1, "timed out");
        trouble.back(0);
        assert_eq!(words(&meter), "questdb x:1 is not answering (timed out)");
        trouble.tables(vec![("t".into(), "table t is suspended".into())]);
        trouble.back(1);
        assert_eq!(words(&meter), "table t is suspended");
        trouble.tables(vec![]);
        assert_eq!(words(&meter), "");
    }
}
