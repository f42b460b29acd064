//! Time on the processor and allocations of one stage, in rounds that alternate between two
//! halves, A and B, which measure the same: what lies between their medians is noise.

use std::time::Duration;

use anyhow::Result;
use bridge::batch::RecordBatch;
use serde::Serialize;

use super::Stage;
use crate::allocations;
use crate::stats::Spread;

/// Rounds before the first that is measured: buffers grow, names are met.
const ROUNDS_BEFORE: usize = 2;

/// What a stage costs.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    pub stage: String,
    /// What the figures are of: a record, or a batch.
    pub per: &'static str,
    /// Nanoseconds on the processor, of the rounds of A.
    pub ns: Spread,
    /// The same of the rounds of B.
    pub again: Spread,
    /// Allocations, in all measured rounds.
    pub allocations: f64,
}

/// What was spent in one round.
#[derive(Clone, Copy, Default)]
struct Spent {
    time: Duration,
    allocations: u64,
}

/// Measures a stage over these batches.
pub(super) fn measure(
    stage: &mut dyn Stage,
    batches: &[RecordBatch],
    rounds: usize,
) -> Result<Cost> {
    for _ in 0..ROUNDS_BEFORE {
        round(stage, batches)?;
    }
    let spent: Vec<Spent> = (0..rounds).map(|_| round(stage, batches)).collect::<Result<_>>()?;
    let (per, count) = stage.per(batches);
    let half = |first: usize| {
        let of = spent.iter().skip(first).step_by(2);
        Spread::of(of.map(|round| round.time.as_nanos() as f64 / count))
    };
    let allocations: u64 = spent.iter().map(|round| round.allocations).sum();
    Ok(Cost {
        stage: stage.name().to_owned(),
        per,
        ns: half(0),
        again: half(1),
        allocations: allocations as f64 / count / rounds as f64,
    })
}

fn round(stage: &mut dyn Stage, batches: &[RecordBatch]) -> Result<Spent> {
    let mut spent = Spent::default();
    for batch in batches {
        stage.prepare(batch)?;
        let (allocations, time) = (allocations::count(), thread_time());
        stage.work(batch)?;
        spent.time += thread_time() - time;
        spent.allocations += allocations::count() - allocations;
        stage.settle(batch)?;
    }
    Ok(spent)
}

/// The processor time of this thread.
pub(super) fn thread_time() -> Duration {
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// The processor time of this process.
pub(super) fn process_time() -> Duration {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn clock(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime(2) writes one timespec, which lives through the call.
    let failed = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert_eq!(failed, 0, "Linux has had these clocks for two decades");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_the_thread_goes_on_under_work() {
        let start = thread_time();
        let mut turns = 0_u64;
        while thread_time() < start + Duration::from_millis(5) {
            turns += 1;
        }
        assert!(turns > 10, "{turns} turns in 5 ms of work");
        assert!(process_time() >= thread_time() - start);
    }
}
