//! What is true of the destination, asked of it in SQL.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::Serialize;
use world::QuestDb;

/// Gentle: asking costs the server processor time that the pipeline could have.
const BEAT: Duration = Duration::from_millis(100);

/// How many rows could be seen, and when.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Seen {
    /// Since the run began.
    #[serde(serialize_with = "crate::stats::to_the_millisecond")]
    pub at_s: f64,
    pub rows: u64,
}

/// Where rows end.
pub trait Destination {
    /// Rows that can be seen.
    fn count(&self) -> Result<u64>;

    /// What it says in the end.
    fn truth(&self) -> Result<Truth>;

    /// The server's name and process, where one process is all of it.
    fn process(&self) -> Result<Option<(&'static str, u32)>>;
}

/// A table of QuestDB.
pub struct QuestDbTable<'a> {
    pub questdb: &'a QuestDb,
    pub table: &'a str,
}

impl Destination for QuestDbTable<'_> {
    fn count(&self) -> Result<u64> {
        Ok(self.questdb.scalar_i64(&format!("select count() from {}", self.table))? as u64)
    }

    fn truth(&self) -> Result<Truth> {
        Truth::of_table(self.questdb, self.table)
    }

    fn process(&self) -> Result<Option<(&'static str, u32)>> {
        Ok(Some(("questdb", self.questdb.process_id()?)))
    }
}

/// Counts until all rows are visible, ten times a second. Between two counts `look` is called, and
/// may end it with an error.
pub fn until_all(
    destination: &dyn Destination,
    start: Instant,
    rows: u64,
    within: Duration,
    look: impl FnMut() -> Result<()>,
) -> Result<Vec<Seen>> {
    until_all_every(BEAT, destination, start, rows, within, look)
}

/// The same, with another time between two counts: longer where a count takes long, or counting
/// would be what is measured.
pub fn until_all_every(
    beat: Duration,
    destination: &dyn Destination,
    start: Instant,
    rows: u64,
    within: Duration,
    mut look: impl FnMut() -> Result<()>,
) -> Result<Vec<Seen>> {
    let mut seen: Vec<Seen> = vec![Seen { at_s: start.elapsed().as_secs_f64(), rows: 0 }];
    loop {
        look()?;
        let asked = Instant::now();
        let count = destination.count()?;
        seen.push(Seen { at_s: start.elapsed().as_secs_f64(), rows: count });
        if count >= rows {
            return Ok(seen);
        }
        if start.elapsed() > within {
            bail!("after {within:?} {count} of {rows} rows are visible");
        }
        std::thread::sleep(beat.max(asked.elapsed() * 4));
    }
}

/// Rows a second from the first rows seen to the last: those that were seen first came before.
pub fn rows_per_s(seen: &[Seen]) -> Option<f64> {
    let first = seen.iter().find(|seen| seen.rows > 0)?;
    let last = seen.last()?;
    let seconds = last.at_s - first.at_s;
    (seconds > 0.0).then(|| (last.rows - first.rows) as f64 / seconds)
}

/// What the table says in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Truth {
    pub count: u64,
    pub distinct: u64,
    pub sum: u64,
}

impl Truth {
    /// As the table says. Distinct numbers as a subquery: far faster than `count_distinct`.
    pub fn of_table(questdb: &QuestDb, table: &str) -> Result<Truth> {
        let ask = |query: String| questdb.scalar_i64(&query).map(|number| number as u64);
        Ok(Truth {
            count: ask(format!("select count() from {table}"))?,
            distinct: ask(format!("select count() from (select distinct seq from {table})"))?,
            sum: ask(format!("select sum(seq) from {table}"))?,
        })
    }

    /// As it must say of the records 0 to `records` - 1.
    pub fn wanted(records: u64) -> Truth {
        let sum = records * records.saturating_sub(1) / 2;
        Truth { count: records, distinct: records, sum }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_leaves_out_what_came_before_the_first_look() {
        let of = |seen: &[(f64, u64)]| {
            let seen: Vec<Seen> =
                seen.iter().map(|(at_s, rows)| Seen { at_s: *at_s, rows: *rows }).collect();
            rows_per_s(&seen)
        };
        assert_eq!(of(&[(0.0, 0), (1.0, 0), (2.0, 100), (3.0, 300), (4.0, 500)]), Some(200.0));
        assert_eq!(of(&[(0.0, 0), (1.0, 500)]), None, "seen at once: no rate can be told");
        assert_eq!(of(&[]), None);
    }
}
