//! What a table of PostgreSQL holds, row by row against the rules of `reading`, and what a file of
//! dead letters holds.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use world::PostgreSql;

use crate::reading::{
    CENTI_COUNT, CENTI_MIN, CENTI_STRIDE, SENSORS, SITES, TS_BASE_US, TS_STEP_US,
};

/// What a table holds of readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Rows.
    pub rows: i64,
    /// Different numbers.
    pub distinct: i64,
    /// The numbers' sum, each counted once.
    pub sum: i64,
    /// Rows that are not what their number says.
    pub wrong: i64,
}

impl Held {
    /// The readings 0..count, each once.
    pub fn all(count: u64) -> Held {
        let sum = (0..count as i64).sum();
        Held { rows: count as i64, distinct: count as i64, sum, wrong: 0 }
    }
}

/// Counts what a table holds.
pub fn held(postgres: &PostgreSql, table: &str) -> Result<Held> {
    let sites: Vec<String> = SITES.iter().map(|site| format!("'{site}'")).collect();
    let sites = sites.join(",");
    let right = format!(
        "round(temperature * 100) = (seq * {CENTI_STRIDE}) % {CENTI_COUNT} + {CENTI_MIN} \
         AND round(humidity * 10) = 200 + seq % 600 AND round(pressure * 10) = 9800 + seq % 500 \
         AND sensor = 's-' || lpad((seq % {SENSORS})::text, 5, '0') \
         AND site = (ARRAY[{sites}])[seq % {} + 1] AND ok = (seq % 3 = 0) \
         AND ts = to_timestamp({TS_BASE_US} / 1000000) + {TS_STEP_US} * seq * interval '1 us'",
        SITES.len()
    );
    let query = format!(
        "SELECT count(*), count(DISTINCT seq), coalesce(sum(DISTINCT seq), 0), \
         count(*) FILTER (WHERE ({right}) IS NOT TRUE) FROM \"{table}\""
    );
    let rows = postgres.sql(&query)?;
    let numbers = rows.first().context("an aggregate has a row")?.split('|');
    let numbers: Vec<i64> = numbers.map(str::parse).collect::<Result<_, _>>()?;
    ensure!(numbers.len() == 4, "{rows:?}");
    let [rows, distinct, sum, wrong] = [numbers[0], numbers[1], numbers[2], numbers[3]];
    Ok(Held { rows, distinct, sum, wrong })
}

/// The lines of a file of dead letters, each read as JSON.
pub fn dead_letters(file: &Path) -> Result<Vec<serde_json::Value>> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).context("reading dead letters"),
    };
    text.lines().map(|line| serde_json::from_str(line).context("a dead letter is JSON")).collect()
}
