//! What a bench says: one object for machines, a few lines for people, a file with all raw numbers.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::bridge_run::Run;
use super::config::Transport;
use super::load::{Compression, Layout};
use super::rate::AtRate;
use crate::machine::{self, Machine};
use crate::stats::Spread;

/// All that was measured by one command.
pub struct Report {
    pub scenario: &'static str,
    pub layout: Layout,
    pub transport: Transport,
    pub machine: Machine,
    /// The configuration of the first run.
    pub config: String,
    pub runs: Vec<Run>,
    pub rates: Vec<AtRate>,
}

impl Report {
    /// The object of `--json`: medians, and whether all rows of all runs were right.
    pub fn summary(&self) -> Value {
        let spread = |of: fn(&Run) -> f64| json!(Spread::of(self.runs.iter().map(of)));
        let median = |of: fn(&Run) -> f64| Spread::of(self.runs.iter().map(of)).median;
        let last = self.runs.last();
        let cpu_s: Vec<Value> = self.runs.iter().map(|run| json!(run.cpu_s)).collect();
        let mut summary = json!({
            "scenario": self.scenario,
            "partitions": self.layout.partitions,
            "compression": self.layout.compression,
            "transport": self.transport,
            "commit": machine::commit(),
            "machine": self.machine,
            "runs": self.runs.len(),
        });
        if let Some(last) = last {
            summary["rows"] = json!(last.rows);
            summary["rows_per_s"] = json!(median(|run| run.rows_per_s));
            summary["cpu_s_per_million"] = json!(median(|run| run.cpu_s_per_million));
            summary["peak_rss_bytes"] = json!(median(|run| run.peak_rss_bytes as f64));
            summary["count_matched"] = json!(self.runs.iter().all(|run| run.count_matched));
            summary["distinct_matched"] = json!(self.runs.iter().all(|run| run.distinct_matched));
            summary["sum_matched"] = json!(self.runs.iter().all(|run| run.sum_matched));
            summary["committed"] = json!(self.runs.iter().all(|run| run.committed));
            summary["latency_at_saturation"] = json!({
                "backlog_age_until_acked": last.acked,
                "first_row_of_payload_until_stored": last.stored,
            });
            summary["cpu_s"] = json!(last.cpu_s);
            summary["cpu_s_by_thread"] = json!(last.cpu_s_by_thread);
            summary["spread"] = json!({
                "rows_per_s": spread(|run| run.rows_per_s),
                "cpu_s_per_million": spread(|run| run.cpu_s_per_million),
                "cpu_s_per_million_whole": spread(|run| run.cpu_s_per_million_whole),
                "peak_rss_bytes": spread(|run| run.peak_rss_bytes as f64),
            });
            summary["cpu_s_of_each_run"] = json!(cpu_s);
        }
        summary["at_rates"] = json!(self.rates);
        summary
    }

    /// A few lines.
    pub fn print(&self) {
        for (index, run) in self.runs.iter().enumerate() {
            eprintln!("run {}: {}", index + 1, line(run));
        }
        for rate in &self.rates {
            let (latency, visible) = (&rate.acked, &rate.visible);
            eprintln!(
                "{} records/s: acknowledged after p50 {:.0} ms, p99 {:.0} ms; visible after p50 \
                 {:.0} ms, p99 {:.0} ms; {:.1} % of a core (idle before: {:.2} %, {} MB)",
                rate.per_second,
                latency.p50_ms,
                latency.p99_ms,
                visible.p50_ms,
                visible.p99_ms,
                rate.bridge_cpu_share * 100.0,
                rate.idle.cpu_share * 100.0,
                rate.idle.rss_bytes / 1_000_000,
            );
        }
    }

    /// Writes the result file with all raw numbers; gives its path.
    pub fn write(&self, folder: &Path) -> Result<PathBuf> {
        let (date, transport) = (machine::today(), self.transport.name());
        let mut name = format!("{date}-{}", self.scenario);
        if self.layout.partitions != Layout::default().partitions {
            name.push_str(&format!("-{}p", self.layout.partitions));
        }
        if self.layout.compression != Compression::None {
            name.push_str(&format!("-{}", self.layout.compression.name()));
        }
        if self.runs.is_empty() {
            name.push_str("-latency");
        }
        let path = folder.join(format!("{name}-{transport}.json"));
        let raw = json!({
            "kind": if self.runs.is_empty() { "rates" } else { "harness" },
            "date": date,
            "summary": self.summary(),
            "config": self.config.lines().collect::<Vec<_>>(),
            "raw": self.runs,
        });
        std::fs::create_dir_all(folder)?;
        std::fs::write(&path, folded(&raw))
            .with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }
}

/// One run in a line.
pub fn line(run: &Run) -> String {
    let spent: Vec<String> =
        run.cpu_s.iter().map(|(name, seconds)| format!("{name} {seconds:.1}")).collect();
    format!(
        "{:.0} rows/s, {:.3} CPU s per million ({:.3} whole run), {} MB peak, CPU s: {}{}{}",
        run.rows_per_s,
        run.cpu_s_per_million,
        run.cpu_s_per_million_whole,
        run.peak_rss_bytes / 1_000_000,
        spent.join(", "),
        if run.matched() { "" } else { "; ROWS ARE MISSING OR DOUBLE" },
        if run.committed { "" } else { "; NOT ALL OFFSETS ARE COMMITTED" },
    )
}

/// JSON, a line for what has no objects or lists in it: thousands of samples stay readable.
fn folded(value: &Value) -> String {
    let mut text = String::new();
    fold(value, 0, &mut text);
    text.push('\n');
    text
}

fn fold(value: &Value, depth: usize, text: &mut String) {
    let flat = |value: &Value| !value.is_object() && !value.is_array();
    let (open, close, members): (_, _, Vec<(Option<&String>, &Value)>) = match value {
        Value::Object(map) if !map.values().all(flat) || map.len() > 8 => {
            ('{', '}', map.iter().map(|(key, value)| (Some(key), value)).collect())
        }
        Value::Array(list) if !list.iter().all(flat) || list.iter().any(Value::is_string) => {
            ('[', ']', list.iter().map(|value| (None, value)).collect())
        }
        other => return text.push_str(&other.to_string()),
    };
    text.push(open);
    for (index, (key, member)) in members.into_iter().enumerate() {
        text.push_str(if index == 0 { "\n" } else { ",\n" });
        text.push_str(&" ".repeat(depth + 1));
        if let Some(key) = key {
            text.push_str(&format!("{}: ", Value::from(key.as_str())));
        }
        fold(member, depth + 1, text);
    }
    text.push('\n');
    text.push_str(&" ".repeat(depth));
    text.push(close);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_changes_no_value() {
        let value = json!({
            "a": [1, 2.5, null], "b": {"c": "d\"e"}, "f": [{"g": [{}]}, "h"], "i": {}, "j": [],
            "k": [["l"], {"m": {"n": true}}],
        });
        let text = folded(&value);
        assert_eq!(serde_json::from_str::<Value>(&text).expect("it is JSON"), value);
        assert!(text.contains("\n \"a\": [1,2.5,null],\n"), "{text}");
    }
}
