//! The head-to-heads: every pipeline over the same records in the same minutes.

use serde_json::Value;

use super::axis::short;
use super::bars::{Bar, bars};
use super::chart::Line;
use super::file::{ResultFile, pairs, spread};
use super::page::{escape, section as part, side_by_side, table};
use super::saturation::time_chart;

/// Into QuestDB.
pub fn section(files: &[&ResultFile]) -> String {
    let said = "The same records, the same machine, the same minutes: of each pipeline its own \
                process alone.";
    part("Against others", said, &body(files))
}

/// Into PostgreSQL.
pub fn sql(files: &[&ResultFile]) -> String {
    let said = "The same records, the same machine, the same minutes: rows that are added, and rows \
                that are looked up by a key and added, or replace the one that is there.";
    part("Into PostgreSQL", said, &body(files))
}

fn body(files: &[&ResultFile]) -> String {
    let mut body = String::new();
    for file in files {
        for (title, unit, name, scale) in [
            ("Rows a second", "rows/s", "rows_per_s", 1.0),
            ("Processor time for a million rows", "CPU s", "cpu_s_per_million", 1.0),
            ("Most memory", "MB", "peak_rss_bytes", 1e-6),
        ] {
            body.push_str(&figure(file, title, unit, name, scale));
        }
        body.push_str(&summary(file));
        body.push_str(&side_by_side(&memory(file)));
    }
    body
}

fn pipelines(file: &ResultFile) -> &[Value] {
    file.summary()["pipelines"].as_array().map_or(&[], Vec::as_slice)
}

fn is_ours(pipeline: &Value) -> bool {
    pipeline["program"].as_str() == Some("bridge")
}

fn title(pipeline: &Value) -> String {
    let text = |name: &str| pipeline[name].as_str();
    let parts = [text("title").or(text("program")), text("transport")];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

fn figure(file: &ResultFile, title: &str, unit: &str, name: &str, scale: f64) -> String {
    let bar = |pipeline: &Value| {
        let mut spread = spread(&pipeline[name])?;
        (spread.median, spread.min, spread.max) =
            (spread.median * scale, spread.min * scale, spread.max * scale);
        let series = usize::from(!is_ours(pipeline));
        Some(Bar { name: self::title(pipeline), from: file.link(), spread, series })
    };
    let all: Vec<Bar> = pipelines(file).iter().filter_map(bar).collect();
    if all.is_empty() { String::new() } else { bars(title, unit, &all) }
}

fn summary(file: &ResultFile) -> String {
    let row = |pipeline: &Value| {
        let failures: Vec<&str> = pipeline["failures"]
            .as_array()
            .map(|all| all.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        let times = |name: &str, sign: &str| {
            let ratio = pipeline[name].as_f64();
            ratio.map_or(String::new(), |ratio| format!("{sign} {}", short(ratio)))
        };
        let own = is_ours(pipeline);
        vec![
            file.link().around(&title(pipeline)),
            match pipeline["matched"].as_bool() {
                Some(true) => "yes".to_owned(),
                _ => "<span class=\"bad\">NO</span>".to_owned(),
            },
            if own { String::new() } else { times("bridge_is_faster_by", "×") },
            if own { String::new() } else { times("bridge_takes_less_cpu_by", "÷") },
            escape(&failures.join("; ")),
        ]
    };
    let mut rows: Vec<Vec<String>> = pipelines(file).iter().map(row).collect();
    for missing in file.summary()["not_at_hand"].as_array().unwrap_or(&Vec::new()) {
        let text = |name: &str| escape(missing[name].as_str().unwrap_or_default());
        let said = format!("not at hand: {}", text("how"));
        let none = String::new;
        rows.push(vec![text("title"), none(), none(), none(), said]);
    }
    if rows.is_empty() {
        return String::new();
    }
    let heading = ["pipeline", "every row once", "the bridge: rows/s", "the bridge: CPU", "said"];
    table(&heading, &[4], &rows)
}

/// Of each pipeline's own process, in its last run.
fn memory(file: &ResultFile) -> String {
    let Value::Object(raw) = &file.value["raw"] else { return String::new() };
    let line = |(name, runs): (&String, &Value)| {
        let samples = runs.as_array()?.last()?["samples"].as_object()?;
        let servers = ["kafka", "questdb"];
        let (_, own) = samples.iter().find(|(name, _)| !servers.contains(&name.as_str()))?;
        let points = pairs(own, "at_s", "rss_bytes");
        let points = points.into_iter().map(|(at, bytes)| (at, bytes / 1e6)).collect();
        Some(Line { name: name.clone(), points })
    };
    time_chart("Memory over time, of the last run", "MB", raw.iter().filter_map(line).collect())
}
