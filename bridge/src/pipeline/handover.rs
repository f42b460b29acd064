//! How transforms of a running lane are replaced: between two batches, all that change at once. A
//! lane looks at one number for each batch; only when it has risen does it take the lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::transform::Transform;

/// What one lane is to work with from its next batch on.
#[derive(Default)]
pub struct Handover {
    /// How many stages stand before the first step.
    before: usize,
    /// Rises with everything that is put here.
    number: AtomicU64,
    /// By step; `None` where nothing changes.
    next: Mutex<Vec<Option<Box<dyn Transform>>>>,
}

impl Handover {
    /// For a lane with so many stages before its first transform.
    pub fn behind(before: usize) -> Handover {
        Handover { before, ..Handover::default() }
    }

    /// Puts transforms here, by step. What the lane has not taken yet is replaced where there is
    /// something newer, and else still taken.
    pub fn put(&self, transforms: Vec<(usize, Box<dyn Transform>)>) {
        let mut next = self.next.lock().expect("no one panics with it");
        for (step, transform) in transforms {
            let step = self.before + step;
            if next.len() <= step {
                next.resize_with(step + 1, || None);
            }
            next[step] = Some(transform);
        }
        // Under the lock, so that who sees the number finds what belongs to it.
        self.number.fetch_add(1, Ordering::Release);
    }
}

/// A lane's end of it.
pub struct Successor {
    handover: Arc<Handover>,
    seen: u64,
}

impl Successor {
    /// The end of the lane that works with what `handover` is put into.
    pub fn new(handover: Arc<Handover>) -> Successor {
        Successor { handover, seen: 0 }
    }

    /// Between two batches: what is new takes the place of what was there.
    #[inline]
    pub fn take(&mut self, transforms: &mut [Box<dyn Transform>]) {
        let number = self.handover.number.load(Ordering::Acquire);
        if number != self.seen {
            self.seen = number;
            self.replace(transforms);
        }
    }

    #[cold]
    fn replace(&self, transforms: &mut [Box<dyn Transform>]) {
        let next = std::mem::take(&mut *self.handover.next.lock().expect("no one panics with it"));
        for (place, new) in transforms.iter_mut().zip(next) {
            if let Some(new) = new {
                *place = new;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{RecordBatch, RowBatch};
    use crate::blame::Fault;
    use crate::reject::Rejects;

    struct Says(Arc<Mutex<Vec<u32>>>, u32);

    impl Transform for Says {
        fn apply(
            &mut self,
            _: &RecordBatch,
            _: &mut RowBatch,
            _: &mut Rejects,
        ) -> Result<(), Fault> {
            Ok(())
        }
    }

    impl Drop for Says {
        fn drop(&mut self) {
            self.0.lock().expect("whole").push(self.1);
        }
    }

    #[test]
    fn stages_before_the_first_stay() {
        let gone = Arc::default();
        let says = |number| -> Box<dyn Transform> { Box::new(Says(Arc::clone(&gone), number)) };
        let handover = Arc::new(Handover::behind(1));
        let mut successor = Successor::new(Arc::clone(&handover));
        let mut lane = vec![says(1), says(2), says(3)];
        handover.put(vec![(0, says(4))]);
        successor.take(&mut lane);
        assert_eq!(*gone.lock().expect("whole"), [2], "the step behind the stage");
    }

    #[test]
    fn what_is_newest_is_taken_once() {
        let gone = Arc::default();
        let says = |number| -> Box<dyn Transform> { Box::new(Says(Arc::clone(&gone), number)) };
        let handover = Arc::new(Handover::default());
        let mut successor = Successor::new(Arc::clone(&handover));
        let mut lane = vec![says(1), says(2)];
        successor.take(&mut lane);
        assert!(gone.lock().expect("whole").is_empty(), "nothing was put there");
        handover.put(vec![(0, says(3)), (1, says(4))]);
        handover.put(vec![(1, says(5))]);
        assert_eq!(std::mem::take(&mut *gone.lock().expect("whole")), [4], "never worked");
        successor.take(&mut lane);
        successor.take(&mut lane);
        assert_eq!(std::mem::take(&mut *gone.lock().expect("whole")), [1, 2]);
        drop(lane);
        assert_eq!(*gone.lock().expect("whole"), [3, 5], "the lane worked with these");
    }
}
