//! Rows that a courier gave back by itself, to be read from Kafka again. What had come behind them
//! in their partitions is read again with them: stored before, it would be there twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::batch::{Line, PartitionIndex};

/// Longer than rows take that are read again. Not all of them need come: modules may have changed.
const WITHIN: Duration = Duration::from_secs(10);

/// What was given back and is not here again.
#[derive(Default)]
pub struct Again {
    of: HashMap<PartitionIndex, Given>,
    /// Until when that is believed.
    until: Option<Instant>,
}

/// What was given back of one partition.
struct Given {
    /// The lowest offset.
    lowest: i64,
    /// The highest of each table. Rows of a table come in the order of their offsets: what comes
    /// beyond is from before, what comes up to it is read again, also where the first of it was
    /// refused this time.
    highest: Vec<(Arc<str>, i64)>,
}

impl Given {
    /// Whether a row of a table is one that is read again.
    fn is_again(&self, table: &str, offset: i64) -> bool {
        let up_to = |(of, highest): &(Arc<str>, i64)| **of == *table && offset <= *highest;
        offset <= self.lowest || self.highest.iter().any(up_to)
    }

    fn add(&mut self, table: &Arc<str>, offset: i64) {
        self.lowest = offset.min(self.lowest);
        match self.highest.iter_mut().find(|(of, _)| of == table) {
            Some((_, highest)) => *highest = offset.max(*highest),
            None => self.highest.push((Arc::clone(table), offset)),
        }
    }
}

impl Again {
    /// Whether nothing is waited for.
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Nothing is waited for.
    pub fn clear(&mut self) {
        *self = Again::default();
    }

    /// These rows of a table are given back.
    pub fn give<'a>(&mut self, table: &Arc<str>, lines: impl IntoIterator<Item = &'a Line>) {
        self.until.get_or_insert_with(|| Instant::now() + WITHIN);
        for Line { partition, offset, .. } in lines {
            let nothing = || Given { lowest: *offset, highest: Vec::new() };
            self.of.entry(*partition).or_insert_with(nothing).add(table, *offset);
        }
    }

    /// Whether rows of a table stand behind such that were given back, so that they are to go the
    /// same way. With the first row of a partition that is read again, all behind it are.
    pub fn precedes(&mut self, table: &str, lines: &[Line]) -> bool {
        if self.until.is_some_and(|until| until <= Instant::now()) {
            self.clear();
        }
        if self.is_empty() {
            return false;
        }
        self.of.retain(|partition, given| {
            let is_again = |line: &Line| given.is_again(table, line.offset);
            !lines.iter().any(|line| line.partition == *partition && is_again(line))
        });
        if self.is_empty() {
            self.clear();
        }
        lines.iter().any(|line| self.of.contains_key(&line.partition))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(rows: &[(u32, i64)]) -> Vec<Line> {
        let line = |(partition, offset): &(u32, i64)| {
            let partition = PartitionIndex(*partition);
            Line { offset: *offset, partition, row: 0, layout: 0, end: 0 }
        };
        rows.iter().map(line).collect()
    }

    #[test]
    fn what_stands_behind_goes_the_same_way_until_all_is_read_again() {
        let (mut again, t) = (Again::default(), "t".into());
        assert!(!again.precedes("t", &lines(&[(0, 5)])));
        again.give(&t, &lines(&[(0, 6), (0, 5), (1, 9)]));
        assert!(!again.precedes("t", &lines(&[(2, 1)])), "another partition");
        assert!(again.precedes("t", &lines(&[(2, 1), (0, 7)])));
        again.give(&t, &lines(&[(2, 1), (0, 7)]));
        assert!(again.precedes("t", &lines(&[(2, 2)])));
        // Each comes again by itself.
        assert!(!again.precedes("t", &lines(&[(0, 4), (0, 5)])));
        assert!(!again.precedes("t", &lines(&[(0, 8)])));
        assert!(again.precedes("t", &lines(&[(0, 9), (1, 10)])));
        assert!(!again.precedes("t", &lines(&[(1, 9), (2, 1)])));
        assert!(again.is_empty());
    }

    #[test]
    fn the_first_that_comes_again_need_not_be_the_first_that_went() {
        let (mut again, t, u) = (Again::default(), "t".into(), "u".into());
        again.give(&t, &lines(&[(0, 5), (0, 6), (0, 7)]));
        assert!(again.precedes("t", &lines(&[(0, 8)])));
        again.give(&t, &lines(&[(0, 8)]));
        // The other table's row may be from before or not: it goes once.
        assert!(again.precedes("u", &lines(&[(0, 6)])));
        again.give(&u, &lines(&[(0, 6)]));
        // Five is refused by now.
        assert!(!again.precedes("t", &lines(&[(0, 6), (0, 7)])) && again.is_empty());
        again.give(&t, &lines(&[(0, 5)]));
        again.give(&u, &lines(&[(0, 6)]));
        assert!(!again.precedes("u", &lines(&[(0, 6)])) && again.is_empty());
    }

    #[test]
    fn what_never_comes_again_is_not_waited_for_for_ever() {
        let (mut again, t) = (Again::default(), "t".into());
        again.give(&t, &lines(&[(0, 5)]));
        again.until = Some(Instant::now());
        assert!(!again.precedes("t", &lines(&[(0, 6)])) && again.is_empty());
        again.give(&t, &lines(&[(0, 5)]));
        assert!(again.precedes("t", &lines(&[(0, 6)])), "its time begins anew");
    }
}
