//! The cases as a table for people, one object for machines, and a result file.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::case::Case;
use super::strike::Outcome;
use crate::harness::result::folded;
use crate::machine::{self, Machine};
use crate::peers::at_hand::Program;
use crate::table;

const HEADING: [&str; 8] = [
    "fault",
    "pipeline",
    "stored",
    "lost",
    "double",
    "recovers by itself",
    "seconds until work goes on",
    "the user saw",
];

/// A case, and its outcome or why there is none.
pub struct Line {
    pub case: Case,
    pub outcome: Result<Outcome, String>,
}

/// All that was measured by one command.
pub struct Report {
    pub machine: Machine,
    pub records: u64,
    pub away_s: f64,
    pub lines: Vec<Line>,
    /// Programs that are not at hand, and how to give them.
    pub missing: Vec<(Program, String)>,
}

impl Report {
    /// The table, and below it what is not at hand.
    pub fn table(&self) -> String {
        let rows: Vec<Vec<String>> = self.lines.iter().map(row).collect();
        let mut text = table::render(&HEADING, &rows);
        for (program, how) in &self.missing {
            text.push_str(&format!("\n{} is not at hand: {how}\n", program.title()));
        }
        text
    }

    /// One object.
    pub fn summary(&self) -> Value {
        let missing = self.missing.iter();
        let missing: Vec<Value> =
            missing.map(|(program, how)| json!({ "title": program.title(), "how": how })).collect();
        json!({
            "records": self.records,
            "database_away_s": self.away_s,
            "commit": machine::commit(),
            "machine": self.machine,
            "cases": self.lines.iter().map(object).collect::<Vec<_>>(),
            "not_at_hand": missing,
        })
    }

    /// Writes the result file with all raw numbers; gives its path.
    pub fn write(&self, folder: &Path) -> Result<PathBuf> {
        let date = machine::today();
        let path = folder.join(format!("{date}-faults.json"));
        let outcomes = self.lines.iter().filter_map(|line| {
            let outcome = line.outcome.as_ref().ok()?;
            let name = format!("{}: {}", line.case.fault.title(), line.case.title());
            Some((name, outcome))
        });
        let (mut config, mut raw) = (serde_json::Map::new(), serde_json::Map::new());
        for (name, outcome) in outcomes {
            config.insert(name.clone(), json!(outcome.config));
            raw.insert(name, json!({ "seen": outcome.seen }));
        }
        let whole = json!({
            "kind": "faults",
            "date": date,
            "summary": self.summary(),
            "config": config,
            "raw": raw,
        });
        std::fs::create_dir_all(folder)?;
        std::fs::write(&path, folded(&whole))
            .with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }
}

/// A line of the table, for those who wait too.
pub fn row(line: &Line) -> Vec<String> {
    let mut row = vec![line.case.fault.title().to_owned(), line.case.title()];
    let outcome = match &line.outcome {
        Ok(outcome) => outcome,
        Err(why) => {
            row.push(format!("no outcome: {}", why.lines().next().unwrap_or_default()));
            row.resize(HEADING.len(), String::new());
            return row;
        }
    };
    let verdict = &outcome.verdict;
    let stored = |rows: u64| match rows == outcome.records {
        true => "all".to_owned(),
        false => grouped(rows),
    };
    row.push(match &outcome.stuck {
        None => stored(verdict.stored),
        Some((_, before)) => {
            format!("{}; after a restart by hand {}", stored(*before), stored(verdict.stored))
        }
    });
    row.push(match verdict.undelivered {
        0 => grouped(verdict.lost),
        missing => format!("{} never delivered", grouped(missing)),
    });
    row.push(grouped(verdict.double));
    row.push(match (&outcome.stuck, verdict.lost) {
        (Some((why, _)), _) => format!("no: {why}"),
        (None, 0) => "yes".to_owned(),
        (None, _) => "yes, with the loss".to_owned(),
    });
    row.push(outcome.seconds.map_or("never".to_owned(), |seconds| format!("{seconds:.1}")));
    row.push(saw(outcome).unwrap_or_else(|| "nothing".to_owned()));
    row
}

/// Its last complaint, and its dead letters.
fn saw(outcome: &Outcome) -> Option<String> {
    let letters = outcome.dead_letters.as_ref().map(|(count, first)| {
        format!("{count} dead letter{}: {first}", if *count == 1 { "" } else { "s" })
    });
    let parts: Vec<String> = outcome.saw.clone().into_iter().chain(letters).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn object(line: &Line) -> Value {
    let mut object = json!({
        "fault": line.case.fault,
        "title": format!("{}: {}", line.case.fault.title(), line.case.title()),
        "program": line.case.program,
        "transport": line.case.transport,
    });
    match &line.outcome {
        Err(why) => object["failed"] = json!(why),
        Ok(outcome) => {
            object["stored"] = json!(outcome.verdict.stored);
            object["lost"] = json!(outcome.verdict.lost);
            object["never_delivered"] = json!(outcome.verdict.undelivered);
            object["double"] = json!(outcome.verdict.double);
            object["recovers"] = json!(outcome.recovers);
            let stuck = outcome.stuck.as_ref();
            object["stuck"] = json!(stuck.map(|(why, _)| why));
            object["stored_before_a_restart_by_hand"] = json!(stuck.map(|(_, stored)| stored));
            object["seconds"] = json!(outcome.seconds);
            object["seconds_are"] = json!(line.case.fault.seconds());
            object["saw"] = json!(saw(outcome));
            let letters = outcome.dead_letters.as_ref();
            object["dead_letters"] = json!(letters.map_or(0, |(count, _)| *count));
            object["first_dead_letter"] = json!(letters.map(|(_, first)| first));
        }
    }
    object
}

/// `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::case::CASES;
    use crate::faults::verdict::Verdict;

    fn outcome(stored: u64, lost: u64, undelivered: u64) -> Outcome {
        Outcome {
            records: 1_000_000,
            verdict: Verdict { stored, lost, undelivered, double: 0 },
            recovers: true,
            stuck: None,
            seconds: Some(1.25),
            saw: None,
            dead_letters: None,
            config: vec!["a".to_owned()],
            seen: Vec::new(),
        }
    }

    fn line(outcome: Result<Outcome, String>) -> Line {
        Line { case: CASES[0], outcome }
    }

    #[test]
    fn a_row_says_what_became_of_the_records() {
        let of = |outcome| row(&line(Ok(outcome)))[2..].to_vec();
        let good = of(outcome(1_000_000, 0, 0));
        assert_eq!(good, ["all", "0", "0", "yes", "1.2", "nothing"]);
        let mut lossy = outcome(999_163, 837, 0);
        lossy.saw = Some("[32] send error".to_owned());
        lossy.dead_letters = Some((2, "wrong-type".to_owned()));
        let wanted = [
            "999,163",
            "837",
            "0",
            "yes, with the loss",
            "1.2",
            "[32] send error; 2 dead letters: wrong-type",
        ];
        assert_eq!(of(lossy), wanted);
        let mut stuck = outcome(950_000, 0, 50_000);
        (stuck.recovers, stuck.seconds) = (false, None);
        stuck.stuck = Some(("its task has failed".to_owned(), 945_012));
        let wanted = [
            "945,012; after a restart by hand 950,000",
            "50,000 never delivered",
            "0",
            "no: its task has failed",
            "never",
            "nothing",
        ];
        assert_eq!(of(stuck), wanted);
        assert_eq!(row(&line(Err("it broke\nso".to_owned())))[2], "no outcome: it broke");
    }

    #[test]
    fn a_result_file_says_what_it_is_of() {
        let report = Report {
            machine: Machine::here(),
            records: 1_000_000,
            away_s: 24.0,
            lines: vec![line(Ok(outcome(1_000_000, 0, 0))), line(Err("it broke".to_owned()))],
            missing: vec![(Program::Redpanda, "give it".to_owned())],
        };
        assert!(report.table().ends_with("\nRedpanda Connect is not at hand: give it\n"));
        let folder = world::Directory::create("faults").expect("a folder can be made");
        let path = report.write(folder.path()).expect("a file can be written");
        let text = std::fs::read_to_string(path).expect("it is there");
        let file: Value = serde_json::from_str(&text).expect("it is JSON");
        assert_eq!(file["kind"], "faults");
        assert_eq!(file["summary"]["cases"][0]["stored"], 1_000_000);
        assert_eq!(file["summary"]["cases"][1]["failed"], "it broke");
        assert_eq!(file["config"].as_object().map(serde_json::Map::len), Some(1));
    }

    #[test]
    fn digits_are_grouped() {
        let of = [0, 999, 1_000, 45_012, 1_234_567].map(grouped);
        assert_eq!(of, ["0", "999", "1,000", "45,012", "1,234,567"]);
    }
}
