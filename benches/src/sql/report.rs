//! What was measured as a table for people, one object for machines, and a result file.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};

use super::case::{Case, Program};
use crate::harness::result;
use crate::machine::{self, Machine};
use crate::peers::run::Moved;
use crate::stats::Spread;
use crate::table;

const HEADING: [&str; 8] = [
    "into PostgreSQL",
    "",
    "records",
    "rows/s (smallest–largest)",
    "CPU s per million rows, steady (whole run)",
    "peak RSS",
    "every row once",
    "the bridge: rows/s, CPU",
];

/// A case, and how it went.
pub struct Entry {
    pub case: Case,
    pub config: String,
    pub runs: Vec<Moved>,
    /// Runs that came to no figure, and why.
    pub failures: Vec<String>,
}

/// All that was measured by one command.
pub struct Report {
    pub machine: Machine,
    pub entries: Vec<Entry>,
}

impl Case {
    /// In a few words.
    pub fn title(self) -> String {
        format!("{}, {}", self.program.title(), self.work.title())
    }
}

impl Entry {
    /// Before its first run.
    pub fn new(case: Case) -> Entry {
        Entry { case, config: String::new(), runs: Vec::new(), failures: Vec::new() }
    }

    /// Whether every run stored every row exactly once.
    pub fn matched(&self) -> bool {
        self.failures.is_empty() && self.runs.iter().all(Moved::matched)
    }

    fn spread(&self, of: fn(&Moved) -> f64) -> Option<Spread> {
        (!self.runs.is_empty()).then(|| Spread::of(self.runs.iter().map(of)))
    }
}

impl Report {
    /// How many times faster the bridge does the same work, and of how many times less processor
    /// time.
    fn ratio(&self, entry: &Entry) -> Option<(f64, f64)> {
        if entry.case.program == Program::Bridge {
            return None;
        }
        let ours = Case { program: Program::Bridge, ..entry.case };
        let ours = self.entries.iter().find(|other| other.case == ours)?;
        let median = |entry: &Entry, of| entry.spread(of).map(|spread| spread.median);
        let rows = |run: &Moved| run.rows_per_s;
        let cpu = |run: &Moved| run.cpu_s_per_million;
        let faster = median(ours, rows)? / median(entry, rows)?;
        Some((faster, median(entry, cpu)? / median(ours, cpu)?))
    }

    /// The table.
    pub fn table(&self) -> String {
        let rows: Vec<Vec<String>> = self.entries.iter().map(|entry| self.row(entry)).collect();
        table::render(&HEADING, &rows)
    }

    fn row(&self, entry: &Entry) -> Vec<String> {
        let Case { program, work } = entry.case;
        let mut row = vec![program.title().to_owned(), work.title().to_owned()];
        let (Some(rows), Some(steady), Some(whole), Some(rss)) = (
            entry.spread(|run| run.rows_per_s),
            entry.spread(|run| run.cpu_s_per_million),
            entry.spread(|run| run.cpu_s_per_million_whole),
            entry.spread(|run| run.peak_rss_bytes as f64),
        ) else {
            row.push(format!("no figure: {}", entry.failures.join("; ")));
            row.resize(HEADING.len(), String::new());
            return row;
        };
        let thousands = |rows: f64| format!("{:.0}", rows / 1e3);
        let (median, min, max) = (rows.median, rows.min, rows.max);
        row.push(entry.runs[0].rows.to_string());
        row.push(format!("{} k ({}–{})", thousands(median), thousands(min), thousands(max)));
        row.push(format!("{:.2} ({:.2})", steady.median, whole.median));
        row.push(format!("{:.0} MB", rss.median / 1e6));
        row.push(if entry.matched() { "yes" } else { "NO" }.to_owned());
        let ratio = self.ratio(entry);
        row.push(ratio.map_or(String::new(), |(fast, less)| format!("× {fast:.1}, ÷ {less:.1}")));
        row
    }

    /// One object: medians, spreads, ratios.
    pub fn summary(&self) -> Value {
        let entry = |entry: &Entry| {
            json!({
                "program": entry.case.program,
                "work": entry.case.work,
                "title": entry.case.title(),
                "runs": entry.runs.len(),
                "rows": entry.runs.first().map(|run| run.rows),
                "matched": entry.matched(),
                "failures": entry.failures,
                "rows_per_s": entry.spread(|run| run.rows_per_s),
                "cpu_s_per_million": entry.spread(|run| run.cpu_s_per_million),
                "cpu_s_per_million_whole": entry.spread(|run| run.cpu_s_per_million_whole),
                "peak_rss_bytes": entry.spread(|run| run.peak_rss_bytes as f64),
                "bridge_is_faster_by": self.ratio(entry).map(|(faster, _)| faster),
                "bridge_takes_less_cpu_by": self.ratio(entry).map(|(_, less)| less),
            })
        };
        json!({
            "commit": machine::commit(),
            "machine": self.machine,
            "pipelines": self.entries.iter().map(entry).collect::<Vec<_>>(),
        })
    }

    /// Writes the result file with all raw numbers; gives its path.
    pub fn write(&self, folder: &Path) -> Result<PathBuf> {
        let date = machine::today();
        let of_all = |value: fn(&Entry) -> Value| {
            let name = |case: Case| format!("{}-{}", case.program.name(), case.work.name());
            let each = self.entries.iter().map(|entry| (name(entry.case), value(entry)));
            Value::Object(each.collect())
        };
        let raw = json!({
            "kind": "sql",
            "date": date,
            "summary": self.summary(),
            "config": of_all(|entry| json!(entry.config.lines().collect::<Vec<_>>())),
            "raw": of_all(|entry| json!(entry.runs)),
        });
        result::write(folder, &format!("{date}-sql.json"), &raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::case::{CASES, Work};

    fn moved(rows_per_s: f64, cpu_s_per_million: f64) -> Moved {
        let (count_matched, distinct_matched, sum_matched) = (true, true, true);
        Moved {
            rows: 10,
            rows_per_s,
            cpu_s_per_million,
            cpu_s_per_million_whole: cpu_s_per_million,
            peak_rss_bytes: 1_000_000,
            count_matched,
            distinct_matched,
            sum_matched,
            truth: Default::default(),
            cpu_s: Default::default(),
            seen: Vec::new(),
            samples: Default::default(),
        }
    }

    #[test]
    fn a_peer_is_held_against_the_same_work_of_the_bridge() {
        let mut entries: Vec<Entry> = CASES.iter().map(|case| Entry::new(*case)).collect();
        for entry in &mut entries {
            let ours = entry.case.program == Program::Bridge;
            let of_work = if entry.case.work == Work::Append { 1.0 } else { 2.0 };
            entry.runs.push(match ours {
                true => moved(100e3 * of_work, 1.0),
                false => moved(10e3, 5.0 * of_work),
            });
        }
        entries[1].failures.push("it ended".to_owned());
        let report = Report { machine: Machine::here(), entries };
        let table = report.table();
        assert!(table.contains("× 10.0, ÷ 5.0") && table.contains("× 20.0, ÷ 10.0"), "{table}");
        let summary = report.summary();
        assert_eq!(summary["pipelines"][0]["bridge_is_faster_by"], Value::Null);
        assert_eq!(summary["pipelines"][1]["matched"], false);
    }
}
