//! What became of the records, told from counts alone.

use serde::Serialize;

/// The table at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Look {
    /// Since the case began.
    #[serde(serialize_with = "crate::stats::to_the_millisecond")]
    pub at_s: f64,
    /// Visible.
    pub rows: u64,
    /// In the table's log, visible or not.
    pub commits: u64,
}

/// What the table and the group say once nothing moves any more.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Counts {
    /// Good records produced: their numbers run from 0 to one less.
    pub good: u64,
    /// Rows with such a number.
    pub rows: u64,
    /// Different numbers among them.
    pub distinct: u64,
    /// Records between what the group has committed and the ends of its partitions.
    pub lag: u64,
}

/// Each good record is stored, lost or not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Verdict {
    pub stored: u64,
    /// Passed by for good: the group has gone on, and nobody will come back for them.
    pub lost: u64,
    /// Not stored, and the group still has to come to them.
    pub undelivered: u64,
    /// Rows more than numbers.
    pub double: u64,
}

impl Verdict {
    /// With nothing left to read what is missing is lost. With something left it may still come: a
    /// pipeline that stands still and will lose rows later has not lost them yet.
    pub fn of(counts: Counts) -> Verdict {
        let missing = counts.good.saturating_sub(counts.distinct);
        let (lost, undelivered) = match counts.lag {
            0 => (missing, 0),
            _ => (0, missing),
        };
        let double = counts.rows.saturating_sub(counts.distinct);
        Verdict { stored: counts.distinct, lost, undelivered, double }
    }
}

/// The longest time without a commit, between the first and the last.
pub fn longest_pause_s(looks: &[Look]) -> Option<f64> {
    let mut changes = looks.windows(2).filter(|pair| pair[1].commits != pair[0].commits);
    let mut last = changes.next()?[1].at_s;
    let mut longest: f64 = 0.0;
    for pair in changes {
        longest = longest.max(pair[1].at_s - last);
        last = pair[1].at_s;
    }
    Some(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_lost_only_behind_the_group() {
        let of = |rows, distinct, lag| {
            let verdict = Verdict::of(Counts { good: 100, rows, distinct, lag });
            (verdict.stored, verdict.lost, verdict.undelivered, verdict.double)
        };
        assert_eq!(of(100, 100, 0), (100, 0, 0, 0));
        assert_eq!(of(100, 100, 7), (100, 0, 0, 0), "a commit that is late loses nothing");
        assert_eq!(of(103, 90, 0), (90, 10, 0, 13));
        assert_eq!(of(60, 60, 41), (60, 0, 40, 0));
        assert_eq!(of(0, 0, 0), (0, 100, 0, 0));
    }

    #[test]
    fn a_pause_lies_between_two_changes() {
        let of = |seen: &[(f64, u64)]| {
            let look =
                |(at_s, commits): &(f64, u64)| Look { at_s: *at_s, rows: 0, commits: *commits };
            longest_pause_s(&seen.iter().map(look).collect::<Vec<_>>())
        };
        let commits = [(0.0, 0), (5.0, 10), (6.0, 20), (7.0, 20), (9.0, 30), (9.5, 40), (30.0, 40)];
        assert_eq!(of(&commits), Some(3.0), "neither the start nor the end is a pause");
        assert_eq!(of(&[(0.0, 0), (1.0, 10)]), Some(0.0));
        assert_eq!(of(&[(0.0, 0), (1.0, 0)]), None);
    }
}
