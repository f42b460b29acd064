//! How the parts of a ring are told to stop, and how they say that something is wrong.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::blame::Fault;
use crate::source::Waker;

/// What a ring is asked to do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stop {
    /// Go on.
    No,
    /// Take nothing new, store what is under way, commit, end.
    Drain,
    /// End at once. What is not committed is read again at the next start.
    Now,
}

/// Shared by everyone who may stop a ring: the signal handler, and each of its own parts.
#[derive(Default)]
pub struct Alarm {
    stop: AtomicU8,
    fault: Mutex<Option<Fault>>,
    waker: Mutex<Option<Waker>>,
}

impl Alarm {
    /// What is asked.
    pub fn stop(&self) -> Stop {
        match self.stop.load(Ordering::Acquire) {
            0 => Stop::No,
            1 => Stop::Drain,
            _ => Stop::Now,
        }
    }

    /// Asks the ring to stop; a stronger wish replaces a weaker one.
    pub fn ask(&self, stop: Stop) {
        self.stop.fetch_max(stop as u8, Ordering::AcqRel);
        self.wake();
    }

    /// Something is wrong: the ring stops at once. The first fault is the one that is told.
    pub fn raise(&self, fault: Fault) {
        self.fault.lock().expect("no one panics with it").get_or_insert(fault);
        self.ask(Stop::Now);
    }

    /// Whether a fault was raised.
    pub fn has_fault(&self) -> bool {
        self.fault.lock().expect("no one panics with it").is_some()
    }

    /// The fault that was raised, if any.
    pub fn take_fault(&self) -> Option<Fault> {
        self.fault.lock().expect("no one panics with it").take()
    }

    /// Wakes the intake from now on when something is asked.
    pub fn set_waker(&self, waker: Waker) {
        *self.waker.lock().expect("no one panics with it") = Some(waker);
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.lock().expect("no one panics with it").as_ref() {
            waker();
        }
    }
}
