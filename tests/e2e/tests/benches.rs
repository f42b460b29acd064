//! The benches themselves, small: they run to their end and say what they should. Figures of such
//! runs mean nothing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::Answer;
use serde_json::Value;

/// Servers of their own, a build without optimisation, a loaded machine.
const WITHIN: Duration = Duration::from_secs(120);

#[test]
fn rows_into_postgresql() -> Result<()> {
    let line = ["sql", "--records", "50000", "--peer-records", "0", "--runs", "1", "--json"];
    let answer = Answer::of_bench(&line, WITHIN)?;
    ensure!(answer.status.success(), "{}", answer.all);
    let summary: Value = serde_json::from_str(&answer.stdout).context("sql --json")?;
    let pipelines = summary["pipelines"].as_array().context("a list of pipelines")?;
    ensure!(pipelines.len() == 3, "added, with new keys, with known keys: {summary}");
    for pipeline in pipelines {
        ensure!(pipeline["rows"] == 50_000 && pipeline["matched"] == true, "{pipeline}");
    }
    Ok(())
}

#[test]
fn one_poison_record_and_a_killed_bridge() -> Result<()> {
    let line = ["faults", "--only", "ours", "--transport", "http", "--json", "--records", "50000"];
    let faults = ["--fault", "pipeline,poison"];
    let answer = Answer::of_bench(&[&line[..], &faults[..]].concat(), WITHIN)?;
    ensure!(answer.status.success(), "{}", answer.all);
    let summary: Value = serde_json::from_str(&answer.stdout).context("faults --json")?;
    let cases = summary["cases"].as_array().context("a list of cases")?;
    ensure!(cases.len() == 3, "with keys, without, and the poison: {summary}");
    for case in cases {
        ensure!(case["stored"] == 50_000 && case["lost"] == 0, "{case}");
        ensure!(case["recovers"] == true && case["seconds"].is_number(), "{case}");
        ensure!(case["dead_letters"] == u64::from(case["fault"] == "poison"), "{case}");
    }
    Ok(())
}
