//! The life of one TCP connection whose rows are counted back: what was written over it, by
//! table and partition, until it is closed and confirmed.
//!
//! Within a generation the (offset, row) pairs of a table and partition only ascend. So they fill
//! exactly the range from the first to the last pair, and counting the distinct pairs of that
//! range in the table proves or disproves that all arrived.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::dial::{Stream, in_words};
use crate::batch::{Line, PartitionIndex, Payload};
use crate::ticket::Share;

/// What is left of a payload once its bytes are on their way.
pub struct Cargo {
    /// Its tickets' shares.
    pub shares: Vec<Share>,
    /// Rows in it.
    pub rows: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// When its first row came.
    pub opened: Instant,
}

/// The rows of one partition in one table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// Offset and row of the first.
    pub first: (i64, u32),
    /// Offset and row of the last.
    pub last: (i64, u32),
    /// How many there are; all distinct, for they ascend.
    pub rows: u64,
    /// Whether no record gave more than one row.
    pub single: bool,
}

/// The rows of one table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableSpans {
    /// The table.
    pub table: Arc<str>,
    /// Smallest and largest designated timestamp, in the table's unit.
    pub timestamps: (i64, i64),
    /// By partition.
    pub partitions: Vec<(PartitionIndex, Span)>,
}

/// Whether a payload may travel with a generation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// It may, and counts as written from now on.
    Welcome,
    /// Not with this one: rows of it were written here before (they are read again).
    Apart,
    /// Never: its own rows do not ascend, so that counting proves nothing.
    Tangled,
}

/// The spans of a payload's lines; `None` if they do not ascend.
fn spans(lines: &[Line]) -> Option<Vec<(PartitionIndex, Span)>> {
    let mut spans: Vec<(PartitionIndex, Span)> = Vec::new();
    let mut at = 0;
    for line in lines {
        if spans.get(at).is_none_or(|(partition, _)| *partition != line.partition) {
            // A payload has a run of lines for each batch: this is rare.
            let known = spans.iter().position(|(partition, _)| *partition == line.partition);
            at = known.unwrap_or(spans.len());
        }
        let pair = (line.offset, line.row);
        let Some((_, span)) = spans.get_mut(at) else {
            let span = Span { first: pair, last: pair, rows: 1, single: line.row == 0 };
            spans.push((line.partition, span));
            continue;
        };
        if pair <= span.last {
            return None;
        }
        span.last = pair;
        span.rows += 1;
        span.single &= line.row == 0;
    }
    Some(spans)
}

/// Everything that was written over one connection, for counting.
#[derive(Default)]
pub struct Manifest {
    /// By table.
    pub tables: Vec<TableSpans>,
    /// Rows in all.
    pub rows: u64,
}

impl Manifest {
    /// Adds a payload, if it may.
    pub fn admit(&mut self, payload: &Payload) -> Admission {
        let Some(new) = spans(&payload.buffers.lines) else { return Admission::Tangled };
        let known = self.tables.iter().position(|t| t.table == payload.table);
        if let Some(at) = known {
            let table = &self.tables[at];
            let behind = |(partition, span): &(PartitionIndex, Span)| {
                let old = table.partitions.iter().find(|(known, _)| known == partition);
                old.is_some_and(|(_, old)| span.first <= old.last)
            };
            if new.iter().any(behind) {
                return Admission::Apart;
            }
        }
        let table = match known {
            Some(at) => &mut self.tables[at],
            None => {
                self.tables.push(TableSpans {
                    table: Arc::clone(&payload.table),
                    timestamps: (i64::MAX, i64::MIN),
                    partitions: Vec::new(),
                });
                self.tables.last_mut().expect("it was pushed")
            }
        };
        table.timestamps.0 = table.timestamps.0.min(payload.timestamps.0);
        table.timestamps.1 = table.timestamps.1.max(payload.timestamps.1);
        for (partition, span) in new {
            self.rows += span.rows;
            match table.partitions.iter_mut().find(|(known, _)| *known == partition) {
                None => table.partitions.push((partition, span)),
                Some((_, old)) => {
                    old.last = span.last;
                    old.rows += span.rows;
                    old.single &= span.single;
                }
            }
        }
        Admission::Welcome
    }
}

/// A connection and what was written over it.
pub struct Generation {
    /// The connection.
    pub stream: Stream,
    /// What travels with it.
    pub cargo: Vec<Cargo>,
    /// The same for counting.
    pub manifest: Manifest,
    /// When it was made.
    pub connected: Instant,
    /// When it was first written to.
    pub since: Option<Instant>,
}

impl Generation {
    /// A new one.
    pub fn new(stream: Stream) -> Generation {
        let (cargo, manifest) = (Vec::new(), Manifest::default());
        Generation { stream, cargo, manifest, connected: Instant::now(), since: None }
    }

    /// How long ago it was first written to.
    pub fn age(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Writes all slices, several at a time.
    pub async fn write(&mut self, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        self.since.get_or_insert_with(Instant::now);
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            let count = self.stream.write_vectored(slices).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut slices, count);
        }
        self.stream.flush().await
    }

    /// Waits until the server ends the connection by itself, which is never good.
    pub async fn ended(&mut self) -> String {
        let mut told = [0; 256];
        match self.stream.read(&mut told).await {
            Ok(0) => "connection closed by the server".into(),
            Ok(_) => "the server answered, which line protocol over tcp never does".into(),
            Err(error) => in_words(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Buffers, Route};
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn payload(table: &str, rows: &[(u32, i64, u32)]) -> Payload {
        let line = |(partition, offset, row): &(u32, i64, u32)| {
            let partition = PartitionIndex(*partition);
            Line { offset: *offset, partition, row: *row, layout: 0, end: 0 }
        };
        let lines = rows.iter().map(line).collect();
        Payload {
            table: table.into(),
            buffers: Buffers { bytes: vec![], lines },
            shares: vec![],
            route: Route::Primary,
            opened: Instant::now(),
            due: Instant::now(),
            timestamps: (rows.len() as i64, 10),
            layout: 0,
        }
    }

    #[test]
    fn what_was_written_before_travels_apart() {
        let mut manifest = Manifest::default();
        let first = payload("t", &[(0, 5, 0), (1, 1, 0), (0, 6, 0), (0, 6, 1)]);
        assert_eq!(manifest.admit(&first), Admission::Welcome);
        assert_eq!(manifest.admit(&payload("u", &[(0, 5, 0)])), Admission::Welcome);
        assert_eq!(manifest.admit(&payload("t", &[(1, 2, 0), (0, 6, 1)])), Admission::Apart);
        assert_eq!(manifest.admit(&payload("t", &[(0, 8, 0), (0, 7, 0)])), Admission::Tangled);
        assert_eq!(manifest.rows, 5, "what was refused was not counted");
        assert_eq!(manifest.admit(&payload("t", &[(0, 6, 2), (1, 2, 0)])), Admission::Welcome);
        let table = &manifest.tables[0];
        assert_eq!((table.timestamps, manifest.rows), ((2, 10), 7));
        let span = Span { first: (5, 0), last: (6, 2), rows: 4, single: false };
        assert_eq!(table.partitions[0], (PartitionIndex(0), span));
    }

    proptest! {
        /// The reference: sets of pairs. What is admitted is exactly what has no pair at or
        /// below one that is there, and the counts are those of the sets.
        #[test]
        fn spans_count_as_sets_do(
            payloads in prop::collection::vec(
                prop::collection::vec((0_u32..3, 0_i64..12, 0_u32..2), 1..6), 1..12),
        ) {
            let mut manifest = Manifest::default();
            let mut sets: BTreeMap<u32, BTreeSet<(i64, u32)>> = BTreeMap::new();
            for rows in &payloads {
                let mut grown = sets.clone();
                let ascends = rows.iter().all(|(partition, offset, row)| {
                    let set = grown.entry(*partition).or_default();
                    let above = set.last().is_none_or(|last| (*offset, *row) > *last);
                    set.insert((*offset, *row));
                    above
                });
                let admission = manifest.admit(&payload("t", rows));
                prop_assert_eq!(admission == Admission::Welcome, ascends);
                if ascends {
                    sets = grown;
                }
            }
            let partitions = manifest.tables.first().map_or(&[][..], |t| &t.partitions);
            prop_assert_eq!(partitions.len(), sets.len());
            for (partition, span) in partitions {
                let set = &sets[&partition.0];
                prop_assert_eq!(span.rows, set.len() as u64);
                prop_assert_eq!(Some(&span.first), set.first());
                prop_assert_eq!(Some(&span.last), set.last());
                prop_assert_eq!(span.single, set.iter().all(|(_, row)| *row == 0));
            }
        }
    }
}
