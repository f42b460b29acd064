//! What became of a batch's records: counted once a batch, out of what is there anyway.

use std::collections::BTreeSet;

use crate::batch::{Emitted, Row, sources};
use crate::reject::{Reason, Stage};

/// Records that went in and did not come out.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Tally {
    /// They were refused.
    pub(super) refused: u64,
    /// No row and no record for a topic was made of them.
    pub(super) filtered: u64,
}

impl Tally {
    /// Of so many records that went in, these rows came out, these records were made for topics,
    /// and these were refused.
    pub(super) fn of(
        records_in: u64,
        rows: &[Row],
        emitted: &[Emitted],
        found: &[(u32, Stage, Reason, String)],
    ) -> Tally {
        if emitted.is_empty() && found.is_empty() {
            return Tally { refused: 0, filtered: records_in.saturating_sub(sources(rows)) };
        }
        let refused: BTreeSet<u32> = found.iter().map(|(source, ..)| *source).collect();
        // Rows of a record that was refused later are still there.
        let made = rows.iter().map(|row| row.source).chain(emitted.iter().map(|one| one.source));
        let kept: BTreeSet<u32> = made.filter(|source| !refused.contains(source)).collect();
        let (kept, refused) = (kept.len() as u64, refused.len() as u64);
        Tally { refused, filtered: records_in.saturating_sub(kept + refused) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_kept_refused_or_filtered() {
        let rows = |sources: &[u32]| -> Vec<Row> {
            let row = |source: &u32| Row {
                source: *source,
                number: 0,
                cells: 0,
                cell_count: 0,
                table: 0,
            };
            sources.iter().map(row).collect()
        };
        let emit = |source: &u32| Emitted {
            source: *source,
            topic: 1,
            partition: None,
            timestamp_ms: None,
            key: None,
            value: None,
            headers: 0..0,
        };
        let check = |out: &[u32], emitted: &[u32], refused: &[u32], expected: (u64, u64)| {
            let reject = |source: &u32| {
                (*source, Stage::Transform, Reason::RefusedByTransform, String::new())
            };
            let found: Vec<_> = refused.iter().map(reject).collect();
            let (refused, filtered) = expected;
            let emitted: Vec<_> = emitted.iter().map(emit).collect();
            let tally = Tally::of(5, &rows(out), &emitted, &found);
            assert_eq!(tally, Tally { refused, filtered });
        };
        check(&[0, 1, 2, 3, 4], &[], &[], (0, 0));
        check(&[0, 0, 0, 4, 4], &[], &[], (0, 3));
        check(&[], &[], &[], (0, 5));
        check(&[0, 1, 1, 2], &[], &[1, 1], (1, 2));
        check(&[], &[], &[4, 0, 4], (2, 3));
        check(&[0, 1], &[1, 1, 3], &[], (0, 2));
        check(&[0], &[2, 3], &[2], (1, 2));
    }
}
