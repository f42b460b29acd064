//! Waiting for conditions: a poll with a growing pause and a deadline, never a blind sleep.
//! The one `thread::sleep` of the crate is here.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};

/// Short enough that a condition met at once costs nothing to notice.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// Long enough that twenty waiting tests leave the processors to the servers.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Polls until the probe gives a value; fails with `what` once `within` has passed.
pub fn await_until<T>(
    within: Duration,
    what: &str,
    mut probe: impl FnMut() -> Option<T>,
) -> Result<T> {
    await_ok(within, what, || probe().ok_or_else(|| anyhow!("not yet")))
}

/// Polls until the probe succeeds; at the deadline its last error is part of the message.
pub fn await_ok<T>(
    within: Duration,
    what: &str,
    mut probe: impl FnMut() -> Result<T>,
) -> Result<T> {
    let start = Instant::now();
    let mut pause = PAUSE_MIN;
    loop {
        let last = match probe() {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if start.elapsed() >= within {
            bail!("waiting {within:?} for {what}: {last:#}");
        }
        std::thread::sleep(pause);
        pause = (pause * 3 / 2).min(PAUSE_MAX);
    }
}

/// Locks, also when another thread panicked meanwhile: a failing test still ends its servers.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_the_first_value() {
        let mut calls = 0;
        let seen = await_until(Duration::from_secs(5), "three calls", || {
            calls += 1;
            (calls == 3).then_some(calls)
        });
        assert_eq!(seen.expect("the third call gives a value"), 3);
    }

    #[test]
    fn names_what_was_awaited() {
        let never: Result<()> = await_until(Duration::from_millis(5), "the moon", || None);
        let message = format!("{:#}", never.expect_err("the moon never comes"));
        assert_eq!(message, "waiting 5ms for the moon: not yet");
    }

    #[test]
    fn carries_the_last_error() {
        let never: Result<()> =
            await_ok(Duration::ZERO, "a server", || Err(anyhow!("refused").context("connecting")));
        let message = format!("{:#}", never.expect_err("the server never comes"));
        assert_eq!(message, "waiting 0ns for a server: connecting: refused");
    }
}
