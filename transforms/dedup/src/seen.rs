//! What was seen, in bounded memory: two tables, of which the older one is emptied when the newer
//! one is full. A record is known by its place in Kafka, so that one which is read again is not
//! taken for a duplicate of itself: nothing is lost by a replay.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Where a record is from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Origin {
    pub(crate) topic: u16,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// The record of a key that went on.
#[derive(Clone, Copy)]
struct First {
    origin: Origin,
    at_us: i64,
}

/// A key is a hash already: its lower half will do.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("keys are u128")
    }
    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

type Table = HashMap<u128, First, BuildHasherDefault<AsItIs>>;

pub(crate) struct Seen {
    newer: Table,
    older: Table,
    /// Keys that a table takes.
    full: usize,
    window_us: i64,
    /// The latest times of both tables.
    latest_us: [i64; 2],
}

/// What became of a look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sight {
    /// Whether the record goes on.
    pub(crate) first: bool,
    /// How many keys were let go that may still have been within the window.
    pub(crate) forgotten: usize,
}

impl Seen {
    /// For so many keys; `None` where the memory has no room for them.
    pub(crate) fn new(keys_max: usize, window_us: i64) -> Option<Seen> {
        let full = (keys_max / 2).max(1);
        let (mut newer, mut older) = (Table::default(), Table::default());
        newer.try_reserve(full).ok()?;
        older.try_reserve(full).ok()?;
        Some(Seen { newer, older, full, window_us, latest_us: [i64::MIN; 2] })
    }

    /// Looks a key up, and remembers it if the record goes on.
    pub(crate) fn see(&mut self, key: u128, at_us: i64, origin: Origin) -> Sight {
        let known = self.newer.get(&key).or_else(|| self.older.get(&key));
        if let Some(first) = known {
            if first.origin == origin {
                return Sight { first: true, forgotten: 0 };
            }
            if first.at_us.abs_diff(at_us) <= self.window_us.unsigned_abs() {
                return Sight { first: false, forgotten: 0 };
            }
        }
        let forgotten = if self.newer.len() >= self.full { self.turn(at_us) } else { 0 };
        self.newer.insert(key, First { origin, at_us });
        self.latest_us[0] = self.latest_us[0].max(at_us);
        Sight { first: true, forgotten }
    }

    /// The older table goes; the newer one becomes it.
    fn turn(&mut self, at_us: i64) -> usize {
        let [newer, older] = self.latest_us;
        let too_early = older.saturating_add(self.window_us) >= at_us;
        let forgotten = if too_early { self.older.len() } else { 0 };
        self.older.clear();
        std::mem::swap(&mut self.newer, &mut self.older);
        self.latest_us = [i64::MIN, newer];
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn see(seen: &mut Seen, key: u128, at_us: i64) -> Sight {
        seen.see(key, at_us, Origin { topic: 1, partition: 0, offset: at_us })
    }

    #[test]
    fn memory_has_a_bound_and_says_what_it_costs() {
        let mut seen = Seen::new(100, 1_000_000).expect("room");
        let room = seen.newer.capacity() + seen.older.capacity();
        let forgotten: usize = (0..10_000).map(|n| see(&mut seen, n as u128, n).forgotten).sum();
        assert_eq!(seen.newer.capacity() + seen.older.capacity(), room);
        assert_eq!(forgotten, 10_000 - 100);
        assert!(!see(&mut seen, 9_999, 10_001).first);
        assert!(!see(&mut seen, 9_901, 10_002).first);
        assert!(see(&mut seen, 9_000, 10_003).first);
    }

    #[test]
    fn what_is_out_of_the_window_is_let_go_for_nothing() {
        let mut seen = Seen::new(100, 10).expect("room");
        let forgotten: usize = (0..10_000).map(|n| see(&mut seen, n as u128, n).forgotten).sum();
        assert_eq!(forgotten, 0);
    }

    /// Whatever is read again after whatever else: of each key at least one record that went on
    /// goes on again.
    #[test]
    fn nothing_is_lost_by_reading_again() {
        // A small generator, the same at every run.
        let mut state = 7_u64;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        for _ in 0..200 {
            let records: Vec<(u128, i64)> =
                (0..60).map(|n| (u128::from(next(6)), n * 3 + next(5) as i64)).collect();
            let mut seen = Seen::new(4, 20).expect("room");
            // Stored: those that went on in the last reading, or before the commit point.
            let mut stored = vec![false; records.len()];
            let mut committed = 0;
            for _ in 0..4 {
                let end = committed + next((records.len() - committed) as u64 + 1) as usize;
                for index in committed..end {
                    let (key, at_us) = records[index];
                    let origin = Origin { topic: 1, partition: 0, offset: index as i64 };
                    stored[index] = seen.see(key, at_us, origin).first;
                }
                committed += next((end - committed) as u64 + 1) as usize;
            }
            for index in 0..committed {
                let (key, at) = records[index];
                let near = |other: usize| {
                    stored[other] && records[other].0 == key && records[other].1.abs_diff(at) <= 20
                };
                assert!((0..records.len()).any(near), "record {index} of {records:?} is lost");
            }
        }
    }
}
