//! Wakes the intake thread: from a queue that is no longer empty, from a courier with a receipt.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Instant;

/// A doorbell: rung by many, waited for by one. A ring while nobody waits is kept.
#[derive(Debug, Default)]
pub struct Bell {
    rung: AtomicBool,
    door: Mutex<()>,
    sound: Condvar,
}

impl Bell {
    /// Rings. Costs one atomic operation while an earlier ring has not been heard yet.
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // Whoever is between looking at `rung` and going to sleep holds the door.
            drop(self.door.lock().expect("no one panics with it"));
            self.sound.notify_one();
        }
    }

    /// Waits for a ring, or until `deadline`.
    pub fn wait(&self, deadline: Instant) {
        let mut door = self.door.lock().expect("no one panics with it");
        while !self.rung.swap(false, Ordering::AcqRel) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            door = self.sound.wait_timeout(door, left).expect("no one panics with it").0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_ring_before_waiting_is_kept_and_one_from_afar_is_heard() {
        let bell = Arc::new(Bell::default());
        let far = Instant::now() + Duration::from_secs(60);
        bell.ring();
        bell.wait(far);
        let ringer = std::thread::spawn({
            let bell = Arc::clone(&bell);
            move || bell.ring()
        });
        bell.wait(far);
        ringer.join().expect("ringing does not panic");
        assert!(Instant::now() < far);
    }
}
