//! Promise: the demo shows the whole road with nothing installed, and ends with figures.

use anyhow::{Context, ensure};
use e2e::{Answer, promise};
use serde_json::Value;

#[test]
fn demo_ends_with_one_object() {
    promise("demo ends with one object", |_| {
        let answer = Answer::of(&["demo", "--seconds", "3", "--json"])?;
        answer.ensure_code(0)?;
        let summary: Value = serde_json::from_str(&answer.stdout).context("demo --json")?;
        for key in ["rows_in", "rows_stored", "rows_filtered", "rows_rejected", "rows_per_s"] {
            ensure!(summary[key].is_number(), "no {key}: {summary}");
        }
        ensure!(summary["rows_in"].as_f64() > Some(1_000.0), "{summary}");
        ensure!(summary["rows_stored"].as_f64() > Some(0.0), "{summary}");
        let words = Answer::of(&["demo", "--seconds", "2"])?;
        words.ensure_code(0)?;
        ensure!(words.all.contains("rows/s"), "the summary names no rate");
        Ok(())
    });
}
