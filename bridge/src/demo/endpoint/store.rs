//! The tables of the endpoint: their columns as they were made by SQL, how many rows they took,
//! which records those came from, and the last of them.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde_json::Value;

use crate::shape::ColumnType;

/// Rows that are kept for show.
const LAST_ROWS: usize = 3;

/// All tables, by name.
#[derive(Default)]
pub struct Store {
    pub tables: BTreeMap<String, Table>,
    /// The first thing that was not as a strict database wants it.
    pub complaint: Option<String>,
}

/// One table.
#[derive(Default)]
pub struct Table {
    pub id: i64,
    /// Name and type, in order.
    pub columns: Vec<(String, ColumnType)>,
    /// The designated timestamp.
    pub timestamp: String,
    /// Rows taken.
    pub rows: u64,
    /// Distinct records by topic and partition.
    pub offsets: HashMap<(String, i64), Offsets>,
    /// The last rows, cell by cell in the order of the columns.
    pub last: VecDeque<Vec<Value>>,
}

/// Offsets of one partition, a bit for each: a demo's offsets begin at 0 and have no gaps.
#[derive(Default)]
pub struct Offsets(Vec<u64>);

impl Table {
    /// The index of a column.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|(known, _)| known.eq_ignore_ascii_case(name))
    }

    /// Notes that a row of this record came.
    pub fn note(&mut self, topic: &str, partition: i64, offset: u64) {
        self.rows += 1;
        // The key is made anew only for a partition that nobody has seen.
        let found = self.offsets.iter_mut().find(|((t, p), _)| t == topic && *p == partition);
        let offsets = match found {
            Some((_, offsets)) => offsets,
            None => self.offsets.entry((topic.to_owned(), partition)).or_default(),
        };
        let word = (offset / 64) as usize;
        if offsets.0.len() <= word {
            offsets.0.resize(word + 1, 0);
        }
        offsets.0[word] |= 1 << (offset % 64);
    }

    /// Distinct offsets of a partition within bounds, both included.
    pub fn distinct(&self, topic: &str, partition: i64, from: u64, to: u64) -> u64 {
        let Some(offsets) = self.offsets.get(&(topic.to_owned(), partition)) else { return 0 };
        let has = |offset: &u64| {
            let word = offsets.0.get((offset / 64) as usize).copied().unwrap_or(0);
            word & (1 << (offset % 64)) != 0
        };
        (from..=to).filter(has).count() as u64
    }

    /// Distinct offsets of all partitions.
    pub fn distinct_total(&self) -> u64 {
        let bits =
            |offsets: &Offsets| offsets.0.iter().map(|w| u64::from(w.count_ones())).sum::<u64>();
        self.offsets.values().map(bits).sum()
    }

    /// Keeps a row for show.
    pub fn show(&mut self, row: Vec<Value>) {
        if self.last.len() == LAST_ROWS {
            self.last.pop_front();
        }
        self.last.push_back(row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_counted_once() {
        let mut table = Table::default();
        for offset in [0, 1, 63, 64, 64, 200] {
            table.note("t", 0, offset);
        }
        table.note("t", 1, 5);
        assert_eq!((table.rows, table.distinct_total()), (7, 6));
        assert_eq!(table.distinct("t", 0, 1, 64), 3);
        assert_eq!(table.distinct("t", 2, 0, 100), 0);
    }
}
