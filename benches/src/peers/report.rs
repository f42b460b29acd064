//! The head-to-head as a table for people, one object for machines, and a result file.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::at_hand::Program;
use super::run::Moved;
use crate::harness::Transport;
use crate::harness::result::folded;
use crate::machine::{self, Machine};
use crate::stats::Spread;
use crate::table;

const HEADING: [&str; 8] = [
    "pipeline",
    "",
    "rows/s (smallest–largest)",
    "CPU s per million rows, steady (whole run)",
    "peak RSS",
    "every row once",
    "the bridge: rows/s",
    "CPU",
];

/// A program over a transport, and how it went.
pub struct Entry {
    pub program: Program,
    pub transport: Transport,
    pub config: String,
    pub runs: Vec<Moved>,
    /// Runs that came to no figure, and why.
    pub failures: Vec<String>,
}

/// All that was measured by one command.
pub struct Report {
    pub machine: Machine,
    pub scenario: &'static str,
    pub records: u64,
    pub entries: Vec<Entry>,
    /// Programs that are not at hand, and how to give them.
    pub missing: Vec<(Program, String)>,
}

/// Medians and spreads of an entry's runs.
struct Figures {
    rows_per_s: Spread,
    steady: Spread,
    whole: Spread,
    peak_rss_bytes: Spread,
}

impl Entry {
    /// Before its first run.
    pub fn new(program: Program, transport: Transport) -> Entry {
        Entry { program, transport, config: String::new(), runs: Vec::new(), failures: Vec::new() }
    }

    fn figures(&self) -> Option<Figures> {
        let spread = |of: fn(&Moved) -> f64| Spread::of(self.runs.iter().map(of));
        (!self.runs.is_empty()).then(|| Figures {
            rows_per_s: spread(|run| run.rows_per_s),
            steady: spread(|run| run.cpu_s_per_million),
            whole: spread(|run| run.cpu_s_per_million_whole),
            peak_rss_bytes: spread(|run| run.peak_rss_bytes as f64),
        })
    }

    /// Whether every run stored every row exactly once.
    pub fn matched(&self) -> bool {
        self.failures.is_empty() && self.runs.iter().all(Moved::matched)
    }
}

impl Report {
    /// How many times faster the bridge is over the same transport, and of how many times less
    /// processor time.
    fn ratio(&self, entry: &Entry) -> Option<(f64, f64)> {
        let ours =
            |other: &&Entry| other.program == Program::Bridge && other.transport == entry.transport;
        let ours = self.entries.iter().find(ours)?.figures()?;
        let theirs = entry.figures()?;
        let faster = ours.rows_per_s.median / theirs.rows_per_s.median;
        Some((faster, theirs.steady.median / ours.steady.median))
    }

    /// The table, and below it what is not at hand.
    pub fn table(&self) -> String {
        let mut rows: Vec<Vec<String>> = self.entries.iter().map(|entry| self.row(entry)).collect();
        let mut below = String::new();
        for (program, how) in &self.missing {
            let mut row = vec![String::new(); HEADING.len()];
            row[0] = program.title().to_owned();
            row[2] = "not at hand".to_owned();
            rows.push(row);
            below.push_str(&format!("\n{} is not at hand: {how}\n", program.title()));
        }
        table::render(&HEADING, &rows) + &below
    }

    fn row(&self, entry: &Entry) -> Vec<String> {
        let mut row = vec![entry.program.title().to_owned(), entry.transport.name().to_owned()];
        let Some(Figures { rows_per_s, steady, whole, peak_rss_bytes }) = entry.figures() else {
            row.push(format!("no figure: {}", entry.failures.join("; ")));
            row.resize(HEADING.len(), String::new());
            return row;
        };
        let thousands = |rows: f64| format!("{:.0}", rows / 1e3);
        row.push(format!(
            "{} k ({}–{})",
            thousands(rows_per_s.median),
            thousands(rows_per_s.min),
            thousands(rows_per_s.max)
        ));
        row.push(format!("{:.2} ({:.2})", steady.median, whole.median));
        row.push(format!("{:.0} MB", peak_rss_bytes.median / 1e6));
        row.push(match (entry.matched(), entry.failures.len()) {
            (true, _) => "yes".to_owned(),
            (false, 0) => "NO".to_owned(),
            (false, count) => format!("NO, {count} runs failed"),
        });
        let ratio = match entry.program {
            Program::Bridge => None,
            _ => self.ratio(entry),
        };
        row.push(ratio.map_or(String::new(), |(faster, _)| format!("× {faster:.1}")));
        row.push(ratio.map_or(String::new(), |(_, less)| format!("÷ {less:.1}")));
        row
    }

    /// One object: medians, spreads, ratios.
    pub fn summary(&self) -> Value {
        let entries: Vec<Value> = self.entries.iter().map(|entry| self.entry(entry)).collect();
        let missing: Vec<Value> = self
            .missing
            .iter()
            .map(|(program, how)| json!({ "title": program.title(), "how": how }))
            .collect();
        json!({
            "scenario": self.scenario,
            "records": self.records,
            "commit": machine::commit(),
            "machine": self.machine,
            "pipelines": entries,
            "not_at_hand": missing,
        })
    }

    fn entry(&self, entry: &Entry) -> Value {
        let mut object = json!({
            "program": entry.program,
            "title": entry.program.title(),
            "transport": entry.transport,
            "runs": entry.runs.len(),
            "matched": entry.matched(),
            "failures": entry.failures,
        });
        if let Some(figures) = entry.figures() {
            object["rows_per_s"] = json!(figures.rows_per_s);
            object["cpu_s_per_million"] = json!(figures.steady);
            object["cpu_s_per_million_whole"] = json!(figures.whole);
            object["peak_rss_bytes"] = json!(figures.peak_rss_bytes);
        }
        if let Some((faster, less)) = self.ratio(entry) {
            object["bridge_is_faster_by"] = json!(faster);
            object["bridge_takes_less_cpu_by"] = json!(less);
        }
        object
    }

    /// Writes the result file with all raw numbers; gives its path.
    pub fn write(&self, folder: &Path) -> Result<PathBuf> {
        let date = machine::today();
        let path = folder.join(format!("{date}-peers.json"));
        let of_all = |value: fn(&Entry) -> Value| {
            let each = self.entries.iter().map(|entry| {
                let name = format!("{}-{}", entry.program.name(), entry.transport.name());
                (name, value(entry))
            });
            Value::Object(each.collect())
        };
        let raw = json!({
            "kind": "peers",
            "date": date,
            "summary": self.summary(),
            "config": of_all(|entry| json!(entry.config.lines().collect::<Vec<_>>())),
            "raw": of_all(|entry| json!(entry.runs)),
        });
        std::fs::create_dir_all(folder)?;
        std::fs::write(&path, folded(&raw))
            .with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::harness::count::Truth;

    fn moved(rows_per_s: f64, cpu: f64, matched: bool) -> Moved {
        Moved {
            rows: 10,
            rows_per_s,
            cpu_s_per_million: cpu,
            cpu_s_per_million_whole: cpu * 2.0,
            peak_rss_bytes: 50_000_000,
            count_matched: matched,
            distinct_matched: true,
            sum_matched: true,
            truth: Truth::wanted(10),
            cpu_s: BTreeMap::new(),
            seen: Vec::new(),
            samples: BTreeMap::new(),
        }
    }

    fn entry(program: Program, runs: Vec<Moved>, failures: &[&str]) -> Entry {
        let failures = failures.iter().map(|text| text.to_string()).collect();
        Entry { program, transport: Transport::Http, config: "a\nb".to_owned(), runs, failures }
    }

    fn report() -> Report {
        let three = [400e3, 800e3, 600e3].map(|rate| moved(rate, 0.5, true)).to_vec();
        Report {
            machine: Machine::here(),
            scenario: "sensors",
            records: 10,
            entries: vec![
                entry(Program::Bridge, three, &[]),
                entry(Program::Connect, vec![moved(150e3, 6.0, false)], &[]),
                entry(Program::Telegraf, Vec::new(), &["it ended"]),
            ],
            missing: vec![(Program::Redpanda, "give it".to_owned())],
        }
    }

    #[test]
    fn nobody_is_left_out_of_the_table() {
        let text = report().table();
        let lines: Vec<&str> = text.lines().collect();
        let cells = |line: usize| -> Vec<&str> {
            lines[line].trim_matches('|').split('|').map(str::trim).collect()
        };
        let ours = ["the bridge", "http", "600 k (400–800)", "0.50 (1.00)", "50 MB", "yes", "", ""];
        assert_eq!(cells(2), ours);
        let connect = ["150 k (150–150)", "6.00 (12.00)", "50 MB", "NO", "× 4.0", "÷ 12.0"];
        assert_eq!(cells(3)[2..], connect);
        assert_eq!(cells(4)[2], "no figure: it ended");
        assert_eq!(cells(5)[..3], ["Redpanda Connect", "", "not at hand"]);
        assert_eq!(lines[6..], ["", "Redpanda Connect is not at hand: give it"]);
    }

    #[test]
    fn a_result_file_says_what_it_is_of() {
        let folder = world::Directory::create("peers").expect("a folder can be made");
        let path = report().write(folder.path()).expect("a file can be written");
        let text = std::fs::read_to_string(path).expect("it is there");
        let file: Value = serde_json::from_str(&text).expect("it is JSON");
        assert_eq!(file["kind"], "peers");
        assert_eq!(file["config"]["connect-http"], json!(["a", "b"]));
        assert_eq!(file["raw"]["bridge-http"].as_array().map(Vec::len), Some(3));
        let connect = &file["summary"]["pipelines"][1];
        assert_eq!(connect["bridge_is_faster_by"], 4.0);
        assert_eq!(connect["matched"], false);
        assert_eq!(file["summary"]["not_at_hand"][0]["how"], "give it");
    }
}
