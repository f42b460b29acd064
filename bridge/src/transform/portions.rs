//! Rows through a lane's transforms, in portions. What transforms make of a batch may be far more
//! than the batch: a stage that has made enough stops before the next record, and goes on when
//! that is encoded and on its way.
//!
//! ```text
//! batch ─▶ stage 0 ─▶ stage 1 ─▶ rows: a portion ─▶ encoder
//!             └ rest ┐   └ rest ┐
//!             ◀──────┴───◀──────┘  the latest first
//! ```

use super::Transform;
use crate::batch::{Emitted, RecordBatch, Row, RowBatch};
use crate::blame::Fault;
use crate::reject::Rejects;

/// What of a batch waits for its stage.
#[derive(Default)]
pub struct Portions(Vec<Waiting>);

struct Waiting {
    stage: usize,
    rows: Vec<Row>,
    /// What stages before this one made for topics, of records whose rows wait.
    emitted: Vec<Emitted>,
    /// Lengths of what these refer to.
    cells: usize,
    arena: usize,
    headers: usize,
}

impl Portions {
    /// Runs the rows of a new batch, or those that wait; whether more wait then.
    pub fn next(
        &mut self,
        transforms: &mut [Box<dyn Transform>],
        batch: &RecordBatch,
        rows: &mut RowBatch,
        rejects: &mut Rejects,
    ) -> Result<bool, Fault> {
        let first = self.0.pop().map_or(0, |waiting| waiting.go_on(rows));
        for (stage, transform) in transforms.iter_mut().enumerate().skip(first) {
            rejects.prune(rows);
            let lengths = (rows.cells.len(), rows.arena.len(), rows.headers.len());
            transform.apply(batch, rows, rejects)?;
            if !rows.rest.is_empty() {
                self.0.push(Waiting::of(stage, rows, lengths));
            }
        }
        rejects.prune(rows);
        Ok(!self.0.is_empty())
    }

    /// Nothing waits any more.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl Waiting {
    fn of(
        stage: usize,
        rows: &mut RowBatch,
        (cells, arena, headers): (usize, usize, usize),
    ) -> Waiting {
        let rest = std::mem::take(&mut rows.rest);
        // All that was made of a record stays together.
        let from = rest.first().map_or(u32::MAX, |row| row.source);
        let all = std::mem::take(&mut rows.emitted);
        let (now, emitted) = all.into_iter().partition(|emitted| emitted.source < from);
        rows.emitted = now;
        Waiting { stage, rows: rest, emitted, cells, arena, headers }
    }

    /// Lays the rows out for their stage; which one.
    fn go_on(self, rows: &mut RowBatch) -> usize {
        (rows.rows, rows.emitted) = (self.rows, self.emitted);
        rows.cells.truncate(self.cells);
        rows.arena.truncate(self.arena);
        rows.headers.truncate(self.headers);
        self.stage
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::batch::testing::batch;

    /// Makes so many rows of each, and stops when it has made enough.
    struct Makes {
        rows: usize,
        enough: usize,
    }

    impl Transform for Makes {
        fn apply(
            &mut self,
            _: &RecordBatch,
            rows: &mut RowBatch,
            _: &mut Rejects,
        ) -> Result<(), Fault> {
            let old = std::mem::take(&mut rows.rows);
            let mut last = None;
            for (at, row) in old.iter().enumerate() {
                if last != Some(row.source) && rows.rows.len() >= self.enough {
                    rows.rest.extend_from_slice(&old[at..]);
                    break;
                }
                if last != Some(row.source) {
                    let key = Some(rows.own(&row.source.to_le_bytes()));
                    rows.emitted.push(Emitted {
                        source: row.source,
                        topic: 1,
                        partition: None,
                        timestamp_ms: None,
                        key,
                        value: None,
                        headers: 0..0,
                    });
                }
                last = Some(row.source);
                for number in 0..self.rows as u32 {
                    rows.rows.push(Row { number: row.number * self.rows as u32 + number, ..*row });
                }
            }
            Ok(())
        }
    }

    /// All portions: rows by record, and what was made for topics, in the order they came in.
    fn run(records: u32, stages: &[(usize, usize)]) -> (Vec<(u32, u32)>, Vec<u32>, usize) {
        let make = |(rows, enough): &(usize, usize)| -> Box<dyn Transform> {
            Box::new(Makes { rows: *rows, enough: *enough })
        };
        let mut transforms: Vec<_> = stages.iter().map(make).collect();
        let mut rows = RowBatch::default();
        let row = |source| Row { source, number: 0, cells: 0, cell_count: 0, table: 0 };
        rows.rows.extend((0..records).map(row));
        let of = batch(vec![(None, None); records as usize]);
        let (mut portions, mut rejects) = (Portions::default(), Rejects::default());
        let (mut made, mut emitted, mut most) = (Vec::new(), Vec::new(), 0);
        loop {
            let more = portions.next(&mut transforms, &of, &mut rows, &mut rejects);
            let more = more.expect("goes on");
            made.extend(rows.rows.iter().map(|row| (row.source, row.number)));
            let mut here = Vec::new();
            for one in &rows.emitted {
                let key = &rows.arena[one.key.clone().expect("it has one")];
                assert_eq!(key, one.source.to_le_bytes(), "its bytes are still there");
                let is_of = |row: &Row| row.source == one.source;
                assert!(rows.rows.iter().any(is_of), "it comes with its rows");
                here.push(one.source);
            }
            here.sort_unstable();
            emitted.extend(here);
            most = most.max(rows.rows.len());
            if !more {
                return (made, emitted, most);
            }
        }
    }

    proptest! {
        #[test]
        fn portions_add_up_to_the_whole(
            records in 0u32..30,
            stages in proptest::collection::vec((1usize..5, 1usize..12), 1..4),
        ) {
            let whole: Vec<_> = stages.iter().map(|(rows, _)| (*rows, usize::MAX)).collect();
            let (made, emitted, _) = run(records, &stages);
            let (expected, for_topics, _) = run(records, &whole);
            prop_assert_eq!(made, expected);
            prop_assert_eq!(emitted, for_topics);
        }
    }

    #[test]
    fn no_portion_is_much_more_than_enough() {
        let (made, _, most) = run(1_000, &[(10, 20), (10, 50)]);
        assert_eq!(made.len(), 100_000);
        // Enough of the last stage, and one record beyond it.
        assert!(most <= 150, "{most}");
    }
}
