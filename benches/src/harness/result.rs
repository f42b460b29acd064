//! What a bench says: one object for machines, a few lines for people, a file with all raw numbers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::bridge_run::Run;
use super::config::Transport;
use super::count::Truth;
use super::load::{Compression, Layout};
use super::rate::AtRate;
use super::versus;
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
    /// Of the other bridge, in turns with `runs`.
    pub against: Vec<Run>,
    pub rates: Vec<AtRate>,
}

impl Report {
    /// Whether the destination held every row exactly once, each time.
    pub fn matched(&self) -> bool {
        self.runs.iter().chain(&self.against).all(Run::matched)
            && self.rates.iter().all(|at| at.matched)
    }

    /// The object of `--json`: medians, and whether all rows of all runs were right.
    pub fn summary(&self) -> Value {
        let mut summary = json!({
            "scenario": self.scenario,
            "partitions": self.layout.partitions,
            "compression": self.layout.compression,
            "transport": self.transport,
            "commit": machine::commit(),
            "machine": self.machine,
            "runs": self.runs.len(),
        });
        let figures = match self.runs.last() {
            Some(last) => self.of_runs(last),
            None => self.of_rates(),
        };
        let figures = figures.as_object().cloned().unwrap_or_default();
        summary.as_object_mut().expect("it was made one").extend(figures);
        summary["at_rates"] = json!(self.rates);
        summary
    }

    fn of_runs(&self, last: &Run) -> Value {
        let median = |of: fn(&Run) -> f64| Spread::of(self.runs.iter().map(of)).median;
        let all = |of: fn(&Run) -> bool| self.runs.iter().all(of);
        let cpu_s: Vec<Value> = self.runs.iter().map(|run| json!(run.cpu_s)).collect();
        let mut figures = json!({
            "rows": last.rows,
            "rows_per_s": median(|run| run.rows_per_s),
            "cpu_s_per_million": median(|run| run.cpu_s_per_million),
            "peak_rss_bytes": median(|run| run.peak_rss_bytes as f64),
            "count_matched": all(|run| run.count_matched),
            "distinct_matched": all(|run| run.distinct_matched),
            "sum_matched": all(|run| run.sum_matched),
            "committed": all(|run| run.committed),
            "latency_at_saturation": {
                "backlog_age_until_acked": last.acked,
                "first_row_of_payload_until_stored": last.stored,
            },
            "cpu_s": last.cpu_s,
            "cpu_s_by_thread": last.cpu_s_by_thread,
            "spread": versus::spread(&self.runs),
            "cpu_s_of_each_run": cpu_s,
        });
        if let Some(noise) = versus::noise(&self.runs) {
            figures["noise"] = noise;
        }
        if let Some(against) = versus::against(&self.runs, &self.against) {
            figures["against"] = against;
        }
        figures
    }

    /// Over all rates together; each by itself is in `at_rates`.
    fn of_rates(&self) -> Value {
        let sum = |of: fn(&AtRate) -> f64| self.rates.iter().map(of).sum::<f64>();
        let all = |of: fn(&Truth, &Truth) -> bool| {
            self.rates.iter().all(|at| of(&at.truth, &Truth::wanted(at.records)))
        };
        let mut cpu_s: BTreeMap<&str, f64> = BTreeMap::new();
        for (name, seconds) in self.rates.iter().flat_map(|at| &at.cpu_s) {
            *cpu_s.entry(name).or_insert(0.0) += seconds;
        }
        json!({
            "rows": self.rates.iter().map(|at| at.truth.count).sum::<u64>(),
            "rows_per_s": sum(|at| at.per_second as f64) / self.rates.len() as f64,
            "cpu_s_per_million": sum(|at| at.cpu_s_per_million * at.acked.count as f64)
                / sum(|at| at.acked.count as f64),
            "peak_rss_bytes": self.rates.iter().map(|at| at.peak_rss_bytes).max(),
            "count_matched": all(|is, wanted| is.count == wanted.count),
            "distinct_matched": all(|is, wanted| is.distinct == wanted.distinct),
            "sum_matched": all(|is, wanted| is.sum == wanted.sum),
            "cpu_s": cpu_s,
        })
    }

    /// A few lines.
    pub fn print(&self) {
        if let Some(noise) = versus::noise(&self.runs) {
            let percent =
                |name: &str| noise[name]["difference"].as_f64().unwrap_or(f64::NAN) * 100.0;
            eprintln!(
                "noise (every other run against the rest): {:.1} % of CPU s per million, {:.1} % of \
                 rows/s",
                percent("cpu_s_per_million"),
                percent("rows_per_s")
            );
        }
        if let Some(against) = versus::against(&self.runs, &self.against) {
            let times = |name: &str| against["ratio"][name].as_f64().unwrap_or(f64::NAN);
            eprintln!(
                "this over the other: {:.3} times the CPU s per million, {:.3} times the rows/s",
                times("cpu_s_per_million"),
                times("rows_per_s")
            );
        }
        for rate in &self.rates {
            let (latency, visible) = (&rate.acked, &rate.visible);
            eprintln!(
                "{} records/s: acknowledged after p50 {:.0} ms, p99 {:.0} ms; visible after p50 \
                 {:.0} ms, p99 {:.0} ms, at most {:.0} ms; {:.1} % of a core (idle before: {:.2} %, {} MB)",
                rate.per_second,
                latency.p50_ms,
                latency.p99_ms,
                visible.p50_ms,
                visible.p99_ms,
                visible.max_ms,
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
        let samples: Vec<Value> = self.rates.iter().map(|at| json!(at.samples)).collect();
        let raw = json!({
            "kind": if self.runs.is_empty() { "rates" } else { "harness" },
            "date": date,
            "summary": self.summary(),
            "config": self.config.lines().collect::<Vec<_>>(),
            "raw": self.runs,
            "raw_against": self.against,
            "samples_at_rates": samples,
        });
        write(folder, &format!("{name}-{transport}.json"), &raw)
    }
}

/// Writes a result file; gives its path.
pub(crate) fn write(folder: &Path, name: &str, value: &Value) -> Result<PathBuf> {
    let path = folder.join(name);
    std::fs::create_dir_all(folder)?;
    std::fs::write(&path, folded(value)).with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
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

/// Columns that a line of samples fills.
const COLUMNS: usize = 160;

/// JSON, a line for what has no objects or lists in it, and as many samples in a line as have room:
/// thousands of them stay readable.
pub(crate) fn folded(value: &Value) -> String {
    let mut text = String::new();
    fold(value, 0, &mut text);
    text.push('\n');
    text
}

fn fold(value: &Value, depth: usize, text: &mut String) {
    let (open, close, members): (_, _, Vec<(Option<&String>, &Value)>) = match value {
        Value::Object(map) if !is_line(map) => {
            ('{', '}', map.iter().map(|(key, value)| (Some(key), value)).collect())
        }
        Value::Array(list) if !list.iter().all(flat) || list.iter().any(Value::is_string) => {
            ('[', ']', list.iter().map(|value| (None, value)).collect())
        }
        other => return text.push_str(&other.to_string()),
    };
    if let Value::Array(list) = value
        && list.iter().all(|value| value.as_object().is_some_and(is_line))
    {
        return fill(list, depth, text);
    }
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

fn flat(value: &Value) -> bool {
    !value.is_object() && !value.is_array()
}

/// Whether an object stands in one line.
fn is_line(map: &serde_json::Map<String, Value>) -> bool {
    map.values().all(flat) && map.len() <= 8
}

/// Samples, as many in a line as have room.
fn fill(samples: &[Value], depth: usize, text: &mut String) {
    let indent = " ".repeat(depth + 1);
    text.push_str("[\n");
    text.push_str(&indent);
    let mut column = indent.len();
    for (index, sample) in samples.iter().enumerate() {
        let sample = sample.to_string();
        if index > 0 {
            text.push(',');
            if column + sample.len() > COLUMNS {
                text.push('\n');
                text.push_str(&indent);
                column = indent.len();
            }
        }
        column += sample.len() + 1;
        text.push_str(&sample);
    }
    text.push('\n');
    text.push_str(&" ".repeat(depth));
    text.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_changes_no_value() {
        let value = json!({
            "a": [1, 2.5, null], "b": {"c": "d\"e"}, "f": [{"g": [{}]}, "h"], "i": {}, "j": [],
            "k": [["l"], {"m": {"n": true}}], "o": vec![json!({"p": 1.5, "q": "r"}); 50],
        });
        let text = folded(&value);
        assert_eq!(serde_json::from_str::<Value>(&text).expect("it is JSON"), value);
        assert!(text.contains("\n \"a\": [1,2.5,null],\n"), "{text}");
    }
}
