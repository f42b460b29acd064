//! Keeps partitions in step while they catch up. Rows of one time that reach the database minutes
//! apart make it sort and write its newest rows again for every commit; measured with four
//! partitions left to themselves: each row was written twelve times. So a partition that is behind
//! is not read further than one batch past the one whose records are oldest.
//!
//! Time is Kafka's timestamps. A partition that keeps up is never held, nor does one hold others
//! that has nothing to give, has no timestamps, or is further away than the step is worth.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::batch::PartitionIndex;

/// How long a partition that does not move holds the others.
const PATIENCE: Duration = Duration::from_millis(200);

/// Partitions further apart than this are not brought together: the newer one would wait for long,
/// and the database keeps their rows apart.
const APART_MAX_MS: i64 = 60_000;

/// Records behind the end that count as catching up: less is one fetch, and read at once.
const BEHIND_RECORDS: i64 = 2_000;

/// What is known of a partition.
#[derive(Debug)]
struct Foot {
    /// Kafka's timestamp of the last record taken, milliseconds since 1970.
    at_ms: i64,
    /// The time that the last batch spans.
    span_ms: i64,
    /// When records were last taken.
    moved_at: Instant,
    behind: bool,
}

/// The partitions of one ring, by the time of their records.
#[derive(Debug, Default)]
pub struct Step {
    feet: HashMap<PartitionIndex, Foot, foldhash::fast::FixedState>,
}

impl Step {
    /// Notes a batch by the timestamps of its first and last record.
    pub fn took(&mut self, partition: PartitionIndex, span_ms: (i64, i64), now: Instant) {
        let (first, last) = span_ms;
        if first < 0 || last < 0 {
            self.feet.remove(&partition);
            return;
        }
        let behind = self.feet.get(&partition).is_some_and(|foot| foot.behind);
        let span_ms = last.saturating_sub(first).max(0);
        self.feet.insert(partition, Foot { at_ms: last, span_ms, moved_at: now, behind });
    }

    /// Notes how many records a partition has left.
    pub fn left(&mut self, partition: PartitionIndex, records: i64) {
        if let Some(foot) = self.feet.get_mut(&partition) {
            foot.behind = records > BEHIND_RECORDS;
        }
    }

    /// Forgets a partition: it is read from elsewhere, or by somebody else.
    pub fn forget(&mut self, partition: PartitionIndex) {
        self.feet.remove(&partition);
    }

    /// The oldest time that others are held for; `None` where nobody is held.
    pub fn oldest(&self, now: Instant) -> Option<i64> {
        let holds = |foot: &&Foot| foot.behind && now < foot.moved_at + PATIENCE;
        self.feet.values().filter(holds).map(|foot| foot.at_ms).min()
    }

    /// Whether a partition may be read on, held against the oldest.
    pub fn may_take(&self, partition: PartitionIndex, oldest: Option<i64>) -> bool {
        let (Some(foot), Some(oldest)) = (self.feet.get(&partition), oldest) else { return true };
        let ahead = foot.at_ms.saturating_sub(oldest);
        !foot.behind || ahead <= foot.span_ms || ahead > APART_MAX_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: PartitionIndex = PartitionIndex(0);
    const SECOND: PartitionIndex = PartitionIndex(1);

    /// Both are behind; batches span 10 ms, the first partition is at `first`, the second at 1,000.
    fn apart(first: i64, now: Instant) -> Step {
        let mut step = Step::default();
        step.took(FIRST, (first - 10, first), now);
        step.took(SECOND, (990, 1_000), now);
        step.left(FIRST, 100_000);
        step.left(SECOND, 100_000);
        step
    }

    fn may(step: &Step, partition: PartitionIndex, now: Instant) -> bool {
        step.may_take(partition, step.oldest(now))
    }

    #[test]
    fn the_newer_waits_for_the_older_and_no_longer_than_a_batch() {
        let now = Instant::now();
        let step = apart(1_011, now);
        assert!(!may(&step, FIRST, now), "more than a batch ahead");
        assert!(may(&step, SECOND, now), "the oldest always goes on");
        assert!(may(&apart(1_010, now), FIRST, now), "one batch ahead");
    }

    #[test]
    fn who_keeps_up_is_never_held_nor_holds() {
        let now = Instant::now();
        let mut step = apart(1_011, now);
        step.left(FIRST, 5);
        assert!(may(&step, FIRST, now));
        let mut step = apart(1_011, now);
        step.left(SECOND, 5);
        assert!(may(&step, FIRST, now));
    }

    #[test]
    fn who_does_not_move_holds_nobody_for_long() {
        let now = Instant::now();
        let step = apart(1_011, now);
        assert!(may(&step, FIRST, now + PATIENCE));
        let mut step = apart(1_011, now);
        step.forget(SECOND);
        assert!(may(&step, FIRST, now));
    }

    #[test]
    fn hours_apart_nobody_waits() {
        let now = Instant::now();
        assert!(may(&apart(1_001 + APART_MAX_MS, now), FIRST, now));
        assert!(!may(&apart(1_000 + APART_MAX_MS, now), FIRST, now));
    }

    #[test]
    fn records_without_a_time_are_read_as_they_come() {
        let now = Instant::now();
        let mut step = apart(1_011, now);
        step.took(SECOND, (-1, -1), now);
        step.left(SECOND, 100_000);
        assert!(may(&step, FIRST, now) && may(&step, SECOND, now));
        let mut step = apart(i64::MAX, now);
        step.took(SECOND, (0, 0), now);
        step.left(SECOND, 100_000);
        assert!(may(&step, FIRST, now), "times from afar do not overflow");
    }
}
