//! Stages of a lane alone: what one record costs.

use serde_json::Value;

use super::axis::short;
use super::bars::{Bar, bars};
use super::file::{ResultFile, spread};
use super::page::{escape, section as part, table};
use crate::stats::Spread;

pub fn section(files: &[&ResultFile]) -> String {
    let body: String = files.iter().map(|file| of(file)).collect();
    let said = "Processor time of one thread; every other round is measured against the rest \
                (A/A).";
    part("Stages alone", said, &body)
}

/// The first files had other names for the same.
fn ns(stage: &Value) -> Option<Spread> {
    spread(&stage["ns"]).or_else(|| spread(&stage["ns_per_record"]))
}

fn of(file: &ResultFile) -> String {
    let stages = file.summary()["stages"].as_array().map_or(&[][..], Vec::as_slice);
    let name = |stage: &Value| stage["stage"].as_str().unwrap_or("?").to_owned();
    let bar = |stage: &Value| {
        // A batch is no record: it would hide all others.
        if stage["per"].as_str().is_some_and(|per| per != "record") {
            return None;
        }
        Some(Bar { name: name(stage), from: file.link(), spread: ns(stage)?, series: 0 })
    };
    let all: Vec<Bar> = stages.iter().filter_map(bar).collect();
    let row = |stage: &Value| {
        let a = ns(stage)?;
        let again = spread(&stage["again"]);
        let allocations = stage["allocations"].as_f64();
        let allocations = allocations.or(stage["allocations_per_record"].as_f64());
        Some(vec![
            file.link().around(&name(stage)),
            escape(stage["per"].as_str().unwrap_or("record")),
            short(a.median),
            again.map_or(String::new(), |b| short(b.median)),
            allocations.map_or(String::new(), |count| format!("{count:.5}")),
        ])
    };
    let rows: Vec<Vec<String>> = stages.iter().filter_map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    let transport = file.summary()["transport"].as_str().unwrap_or("");
    let title = format!("One record in one stage {transport}");
    let heading = ["stage", "of", "ns, A", "ns, B", "allocations"];
    bars(title.trim_end(), "ns", &all) + &table(&heading, &[1], &rows)
}
