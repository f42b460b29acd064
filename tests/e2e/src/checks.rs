//! Whether a table holds what it must: the same rules once in Rust (how many, which sum) and once
//! in SQL (is each row what its number says).

use std::time::Duration;

use anyhow::{Result, ensure};
use world::{QuestDb, Rows};

use crate::reading::{
    CENTI_COUNT, CENTI_MIN, CENTI_STRIDE, Reading, SENSORS, SITES, TS_BASE_US, TS_STEP_US,
};

/// Readings of these hundredths of a degree, both ends included.
#[derive(Clone, Copy, Debug)]
pub struct Band {
    pub from: i64,
    pub to: i64,
}

impl Band {
    /// Every reading.
    pub const ALL: Band = Band { from: i64::MIN, to: i64::MAX };
    /// What `drop_cold` keeps with `min_celsius = 15.0`.
    pub const WARM: Band = Band { from: 1_500, to: i64::MAX };

    /// Whether a reading belongs here.
    pub fn holds(self, reading: Reading) -> bool {
        (self.from..=self.to).contains(&reading.centi())
    }

    /// The same in SQL, by the number alone.
    fn sql(self) -> String {
        let centi = format!("((seq * {CENTI_STRIDE}) % {CENTI_COUNT} + {CENTI_MIN})");
        // The ends of i64 are QuestDB's null and hard to write.
        let (from, to) = (self.from.max(-1_000_000), self.to.min(1_000_000));
        format!("({centi} >= {from} and {centi} <= {to})")
    }

    /// How many of the first `count` readings belong here, and the sum of their numbers.
    pub fn of_first(self, count: u64) -> (i64, i64) {
        let held = (0..count).filter(|seq| self.holds(Reading(*seq)));
        held.fold((0, 0), |(rows, sum), seq| (rows + 1, sum + seq as i64))
    }
}

/// The table holds exactly the readings 0..count of a band, each once, each right.
pub fn rows_are_exact(
    questdb: &QuestDb,
    table: &str,
    count: u64,
    band: Band,
    within: Duration,
) -> Result<()> {
    let (rows, sum) = band.of_first(count);
    let seen = settle(questdb, table, count, band, within)?;
    let wanted = Seen { rows, distinct: rows, sum, wrong: 0 };
    ensure!(seen == wanted, "{table} has {seen:?}, should have {wanted:?}");
    let sensors = questdb.scalar_i64(&format!("select count_distinct(sensor) from {table}"))?;
    let per_sensor = (0..count).filter(|seq| band.holds(Reading(*seq))).map(|seq| seq % SENSORS);
    let expected = per_sensor.collect::<std::collections::HashSet<_>>().len() as i64;
    ensure!(sensors == expected, "{table} has {sensors} sensors, not {expected}");
    Ok(())
}

/// The table lacks none of the readings 0..count of a band; replays may have doubled some.
pub fn rows_are_there(
    questdb: &QuestDb,
    table: &str,
    count: u64,
    band: Band,
    within: Duration,
) -> Result<i64> {
    let (rows, _) = band.of_first(count);
    let seen = settle(questdb, table, count, band, within)?;
    ensure!(seen.wrong == 0 && seen.distinct == rows, "{table} has {seen:?}, should have {rows}");
    Ok(seen.rows - rows)
}

/// Some numbers of 0..count of a band that the table lacks, in order.
pub fn rows_missing(
    questdb: &QuestDb,
    table: &str,
    count: u64,
    band: Band,
    numbers_max: usize,
) -> Result<Vec<u64>> {
    let Rows { rows, .. } = questdb.sql(&format!("select distinct seq from {table}"))?;
    let seen = rows.iter().filter_map(|row| row.first()?.as_u64());
    let seen: std::collections::HashSet<u64> = seen.collect();
    let missing = (0..count).filter(|seq| band.holds(Reading(*seq)) && !seen.contains(seq));
    Ok(missing.take(numbers_max).collect())
}

/// A table's columns and their types, in order.
pub fn columns_of(questdb: &QuestDb, table: &str) -> Result<Vec<(String, String)>> {
    let query = format!("select \"column\", type from table_columns('{table}')");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let rows = questdb.sql(&query)?.rows;
    Ok(rows.iter().map(|row| (text(&row[0]), text(&row[1]))).collect())
}

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    rows: i64,
    distinct: i64,
    sum: i64,
    wrong: i64,
}

/// Waits until the expected rows are visible, or for as long as that may take; gives what is.
fn settle(
    questdb: &QuestDb,
    table: &str,
    count: u64,
    band: Band,
    within: Duration,
) -> Result<Seen> {
    let (rows, _) = band.of_first(count);
    let distinct = format!("select count_distinct(seq) from {table}");
    let settled = questdb.wait_for(&distinct, |seen| seen == rows, within);
    let seen = look(questdb, table, count, band)?;
    if let Err(late) = settled {
        let missing = rows_missing(questdb, table, count, band, 20)?;
        let groups = place(questdb, table, count, band)?;
        anyhow::bail!(
            "{late:#}: {table} has {seen:?}, should have {rows} rows; missing \
                       {missing:?} …\n{groups}"
        );
    }
    Ok(seen)
}

/// Where missing rows lie: by hundredths of the whole, to see holes.
fn place(questdb: &QuestDb, table: &str, count: u64, band: Band) -> Result<String> {
    let missing = rows_missing(questdb, table, count, band, usize::MAX)?;
    let mut holes: Vec<(u64, u64)> = Vec::new();
    for seq in missing {
        match holes.last_mut() {
            Some((_, last)) if seq - *last < 1_000 => *last = seq,
            _ => holes.push((seq, seq)),
        }
    }
    holes.truncate(20);
    Ok(format!("holes: {holes:?}"))
}

fn look(questdb: &QuestDb, table: &str, count: u64, band: Band) -> Result<Seen> {
    let wrong = wrong_sql(count, band);
    let query = format!(
        "select count() n, count_distinct(seq) d, sum(seq) s, sum(case when {wrong} then 1 else 0 \
         end) w from {table}"
    );
    let rows = questdb.sql(&query)?.rows;
    let cell = |index: usize| rows.first().and_then(|row| row[index].as_i64()).unwrap_or(0);
    Ok(Seen { rows: cell(0), distinct: cell(1), sum: cell(2), wrong: cell(3) })
}

/// SQL that is true for a row which is not what its number says, or which should not be there.
fn wrong_sql(count: u64, band: Band) -> String {
    let centi = format!("((seq * {CENTI_STRIDE}) % {CENTI_COUNT} + {CENTI_MIN})");
    let sites = SITES
        .iter()
        .enumerate()
        .map(|(index, site)| format!("when {index} then {}", world::quote_sql(site)));
    let sites = sites.collect::<Vec<_>>().join(" ");
    let right = [
        format!("seq >= 0 and seq < {count}"),
        band.sql(),
        format!("cast(ts as long) = {TS_BASE_US} + seq * {TS_STEP_US}"),
        format!("temperature = {centi} / 100.0"),
        "humidity = (200 + seq % 600) / 10.0".to_owned(),
        "pressure = (9800 + seq % 500) / 10.0".to_owned(),
        "ok = (seq % 3 = 0)".to_owned(),
        format!("sensor = concat('s-', lpad(cast(seq % {SENSORS} as string), 5, '0'))"),
        format!("site = (case seq % {} {sites} end)", SITES.len()),
    ];
    format!("not ({})", right.join(" and "))
}
