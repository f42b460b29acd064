//! The end of the demo: what went by, how fast, what lies in the tables, and what to type next.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::TABLES;
use super::load::Played;
use super::target::Target;
use crate::blame::Fault;
use crate::config::units::show_count;
use crate::observe::PipelineMeter;
use crate::sink::questdb::Rows;

/// Columns of the bridge's own, which say little to somebody who looks for readings.
const OWN_COLUMNS: &str = "kafka_";

/// What the demo came to. Serialized, it is what `--json` prints.
#[derive(Serialize)]
pub struct Summary {
    /// Records taken from Kafka.
    rows_in: u64,
    /// Rows stored, in all tables.
    rows_stored: u64,
    /// Records that the filter left out.
    rows_filtered: u64,
    /// Records that were broken, and are in the dead letters.
    rows_rejected: u64,
    /// Records a second, from the first that was taken until the last row was stored.
    rows_per_s: u64,
    /// From the first record taken to the last row stored.
    seconds: f64,
    /// Rows as counted at the destination.
    rows_counted: u64,
    /// From produce to stored and counted back, median.
    produce_to_stored_p50_ms: f64,
    /// The same, 99 of 100.
    produce_to_stored_p99_ms: f64,
    /// Where the rows went.
    destination: String,
    #[serde(skip)]
    tables: Vec<(&'static str, u64, Rows)>,
}

impl Summary {
    /// Looks at the meters and at the destination; what does not add up is a fault.
    pub(super) fn of(
        played: &Played,
        meter: &PipelineMeter,
        target: &Target,
    ) -> Result<Summary, Fault> {
        let mut tables = Vec::new();
        for table in TABLES {
            if let Some(held) = target.held(table, played.began_us)? {
                tables.push((table, held.count, held.last));
            }
        }
        let (latencies, _, _) = meter.acked.snapshot(&[0.5, 0.99]);
        let ms = |at: usize| latencies.get(at).map_or(0.0, |d| tenths(*d));
        let seconds = played.took.as_secs_f64();
        let rows_in = meter.records_in.get();
        let summary = Summary {
            rows_in,
            rows_stored: meter.rows_stored.get(),
            rows_filtered: meter.records_filtered.get(),
            rows_rejected: meter.rejected_total(),
            rows_per_s: (rows_in as f64 / seconds.max(1e-3)) as u64,
            seconds: (seconds * 10.0).round() / 10.0,
            rows_counted: tables.iter().map(|(_, count, _)| count).sum(),
            produce_to_stored_p50_ms: ms(0),
            produce_to_stored_p99_ms: ms(1),
            destination: target.in_words(),
            tables,
        };
        let accounted = summary.rows_stored + summary.rows_filtered + summary.rows_rejected;
        if accounted != rows_in || summary.rows_counted != summary.rows_stored {
            return Err(Fault::us(format!(
                "the demo does not add up: {rows_in} records in, {} stored ({} counted), {} \
                 filtered, {} rejected",
                summary.rows_stored,
                summary.rows_counted,
                summary.rows_filtered,
                summary.rows_rejected
            )));
        }
        Ok(summary)
    }

    /// For a person.
    pub fn in_words(&self) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let share = |n: u64| 100.0 * n as f64 / self.rows_in.max(1) as f64;
        writeln!(
            out,
            "\nbridge demo: {} rows/s for {:.1} s\n",
            show_count(self.rows_per_s),
            self.seconds
        )?;
        let mut row = |name: &str, count: u64, note: &str| {
            writeln!(out, "  {name:<9} {:>12}   {note}", show_count(count))
        };
        row(
            "in",
            self.rows_in,
            "records from Kafka (the client library's mock cluster, 4 partitions)",
        )?;
        let filtered =
            format!("{:.1} %, by drop_cold.wasm (colder than 15 °C)", share(self.rows_filtered));
        row("filtered", self.rows_filtered, &filtered)?;
        row(
            "rejected",
            self.rows_rejected,
            "broken JSON, sent on purpose; kept in sensors.dead-letters",
        )?;
        row("stored", self.rows_stored, "and as many counted at the destination")?;
        writeln!(
            out,
            "  latency   {:>9} ms   p50 from produce to stored and counted back; p99 {} ms",
            self.produce_to_stored_p50_ms, self.produce_to_stored_p99_ms
        )?;
        writeln!(out, "\n  into {}", self.destination)?;
        for (table, count, rows) in &self.tables {
            writeln!(out, "\n  {table}, {} rows, the last of them:", show_count(*count))?;
            write_rows(out, rows)?;
        }
        writeln!(out, "\nNext:")?;
        writeln!(
            out,
            "  bridge run bridge.toml                       your own Kafka and QuestDB (README.md)"
        )?;
        writeln!(
            out,
            "  ls transforms/                               a transform of your own (docs/transforms.md)"
        )?;
        writeln!(
            out,
            "  cargo run --release -p benches -- harness    real servers, real figures (benches/README.md)"
        )
    }
}

fn tenths(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

/// Rows under their columns' names, without the bridge's own columns.
fn write_rows(out: &mut String, rows: &Rows) -> std::fmt::Result {
    let shown: Vec<usize> =
        (0..rows.columns.len()).filter(|at| !rows.columns[*at].starts_with(OWN_COLUMNS)).collect();
    let line = |row: &Vec<Value>| -> Vec<String> {
        shown.iter().map(|at| row.get(*at).map_or_else(String::new, cell)).collect()
    };
    let mut lines: Vec<Vec<String>> =
        vec![shown.iter().map(|at| rows.columns[*at].clone()).collect()];
    lines.extend(rows.rows.iter().map(line));
    let width = |column: usize| lines.iter().map(|l| l[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..shown.len()).map(width).collect();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(out, "    {}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Number(number) if number.is_f64() => {
            // Nineteen digits of a converted temperature are no pleasure.
            let rounded = (number.as_f64().unwrap_or(0.0) * 100.0).round() / 100.0;
            rounded.to_string()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_stand_under_their_names() {
        let rows = Rows {
            columns: vec!["kafka_offset".into(), "site".into(), "fahrenheit".into()],
            rows: vec![vec![json!(1), json!("oslo"), json!(68.180_000_01)]],
        };
        let mut out = String::new();
        write_rows(&mut out, &rows).expect("a string");
        assert_eq!(out, "    site  fahrenheit\n    oslo  68.18\n");
    }
}
