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
    /// Under which the meter is told.
    number: usize,
    state: Mutex<State>,
}

/// A table that nothing may be written to just now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Closed {
    /// Its name.
    pub table: Arc<str>,
    /// What is wrong with it.
    pub why: String,
    /// Whether it opens by itself: it is only slow.
    pub is_slow: bool,
}

#[derive(Debug, Default)]
struct State {
    /// Who cannot reach the sink.
    away: BTreeSet<usize>,
    since: Option<Instant>,
    why: String,
    warned_at: Option<Instant>,
    warned: bool,
    tables: Vec<Closed>,
    /// Rows go elsewhere: nothing here is the pipeline's trouble.
    rests: bool,
}

impl Trouble {
    /// No trouble yet. `sink` is its name for people: `questdb localhost:9000`.
    pub fn new(pipeline: Arc<str>, sink: String, meter: Arc<PipelineMeter>) -> Trouble {
        let (fails, number) = ("is not answering", meter.enrol());
        Trouble { pipeline, sink, fails, meter, number, state: Mutex::default() }
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
        if !state.warned
            && !state.rests
            && state.warned_at.is_none_or(|at| now.duration_since(at) >= QUIET)
        {
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
    pub fn tables(&self, tables: Vec<Closed>) {
        let mut state = self.state.lock().expect("no one panics with it");
        let pipeline = &self.pipeline;
        for Closed { table, why, .. } in &tables {
            if !state.rests && !state.tables.iter().any(|known| known.table == *table) {
                tracing::warn!("{pipeline}: paused: {why}");
            }
        }
        for Closed { table, .. } in &state.tables {
            if !tables.iter().any(|still| still.table == *table) {
                tracing::info!("{pipeline}: going on: table {table} takes rows again");
            }
        }
        state.tables = tables;
        self.publish(&state);
    }

    /// What keeps rows from being stored, if anything does. A table that is only slow does not.
    pub fn words(&self) -> Option<String> {
        let state = self.state.lock().expect("no one panics with it");
        let words = self.told(&state, |table| !table.is_slow);
        (!words.is_empty()).then_some(words)
    }

    /// Rows go elsewhere from now on, or here again. Couriers that carry nothing find out nothing:
    /// what they said is forgotten. Whoever goes on looking says it again.
    pub fn rest(&self, rests: bool) {
        let mut state = self.state.lock().expect("no one panics with it");
        state.away.clear();
        state.since = None;
        state.warned = false;
        state.rests = rests;
        self.publish(&state);
    }

    fn told(&self, state: &State, counts: impl Fn(&Closed) -> bool) -> String {
        let tables = state.tables.iter().filter(|table| counts(table));
        let mut words: Vec<String> = tables.map(|table| table.why.clone()).collect();
        if !state.away.is_empty() {
            words.insert(0, format!("{} {} ({})", self.sink, self.fails, state.why));
        }
        words.join("; ")
    }

    fn publish(&self, state: &State) {
        let words = if state.rests { String::new() } else { self.told(state, |_| true) };
        self.meter.say_trouble(self.number, words);
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
        trouble.tables(vec![closed("t", false)]);
        trouble.back(1);
        assert_eq!(words(&meter), "table t takes nothing");
        trouble.tables(vec![]);
        assert_eq!(words(&meter), "");
    }

    fn closed(table: &str, is_slow: bool) -> Closed {
        let why = format!("table {table} takes nothing");
        Closed { table: table.into(), why, is_slow }
    }

    #[test]
    fn what_rests_is_no_trouble_and_who_is_slow_is_none_either() {
        let meter = Arc::new(PipelineMeter::default());
        let words = |meter: &PipelineMeter| meter.trouble.lock().expect("it is whole").clone();
        let trouble = |name: &str| Trouble::new("p".into(), name.into(), Arc::clone(&meter));
        let (first, second) = (trouble("a"), trouble("b"));
        second.rest(true);
        first.away(0, "refused");
        second.away(0, "refused");
        assert_eq!(words(&meter), "a is not answering (refused)", "the other one rests");
        assert_eq!(second.words().as_deref(), Some("b is not answering (refused)"));
        second.rest(false);
        assert_eq!(second.words(), None, "couriers that carry nothing find out nothing");
        first.rest(true);
        assert_eq!(words(&meter), "");
        second.tables(vec![closed("t", true)]);
        assert_eq!((words(&meter).as_str(), second.words()), ("table t takes nothing", None));
        meter.set_trouble("the dead letters are full");
        assert_eq!(words(&meter), "the dead letters are full; table t takes nothing");
    }
}
