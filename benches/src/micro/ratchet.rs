//! The ratchet: instructions of a record, which do not depend on how busy a machine is, and fuel
//! of a guest's record, against the figures that were committed. What gets worse by over 3 % is to
//! be put right, or accepted in the same commit.
//!
//! ```text
//!   this program ──▶ valgrind --tool=callgrind ──▶ this program --count STAGE, N and 2 N rounds
//!        └── the difference is N rounds: start and warm-up are in both
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use bridge::batch::RecordBatch;
use serde::{Deserialize, Serialize};

use super::decode::Decode;
use super::encode::Encode;
use super::ledger::Books;
use super::{BATCH_RECORDS, Entry, Stage, bed, fuel};
use crate::harness::Transport;

/// The figures that were committed.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/ratchet/figures.json");
/// How the program must have been built and started, for figures to be comparable.
const COMMAND: &str = "scripts/ratchet";
/// Set by it.
const MARK: &str = "BENCHES_RATCHET";
/// Rounds over a batch of the shorter run.
const ROUNDS: usize = 16;
/// A figure may move by so much.
const PERCENT: f64 = 3.0;

/// Stages without a sandbox: its machine code is made for the processor at hand.
const STAGES: [Entry; 10] = [
    Entry::new(|_| Ok(Box::new(Decode::new()?))),
    Entry::format::<0>(),
    Entry::format::<1>(),
    Entry::format::<2>(),
    Entry::format::<3>(),
    Entry::format::<4>(),
    Entry::format::<5>(),
    Entry::new(|_| Ok(Box::new(Encode::new(1, false)?))),
    Entry::new(|_| Ok(Box::new(Encode::new(2, false)?))),
    Entry::new(|_| Ok(Box::new(Books::default()))),
];

/// What is compared.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Figures {
    /// Instructions of a record (of a batch, for the ledger).
    instructions: BTreeMap<String, f64>,
    /// Fuel of a record, as the sandbox counts it.
    fuel: BTreeMap<String, f64>,
}

/// Counts, and compares with what was committed; with `accept`, commits to what was counted.
pub(super) fn main(accept: bool) -> Result<()> {
    ensure!(std::env::var_os(MARK).is_some(), "figures are of one kind of build: run `{COMMAND}`");
    let counted = count()?;
    if accept {
        let text = serde_json::to_string_pretty(&counted).context("writing figures")?;
        std::fs::write(FILE, text + "\n").with_context(|| format!("writing {FILE}"))?;
        eprintln!("{} holds these figures now", in_words(FILE));
        return Ok(());
    }
    let text = std::fs::read_to_string(FILE).with_context(|| format!("reading {FILE}"))?;
    let committed: Figures = serde_json::from_str(&text).with_context(|| format!("in {FILE}"))?;
    let found = compare(&committed, &counted);
    found.better.iter().for_each(|line| eprintln!("better: {line}"));
    if !found.better.is_empty() {
        eprintln!("so that it stays so: `{COMMAND} --accept`, and commit {}", in_words(FILE));
    }
    if found.worse.is_empty() {
        return Ok(());
    }
    bail!(
        "worse by over {PERCENT:.0} %, or not comparable:\n  {}\nif it must be so: `{COMMAND} --accept`, \
         and say why in the commit",
        found.worse.join("\n  ")
    )
}

fn in_words(file: &str) -> String {
    let path = Path::new(file);
    let parts: Vec<_> = path.iter().rev().take(3).map(|part| part.to_string_lossy()).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join("/")
}

fn count() -> Result<Figures> {
    let mut counted = Figures::default();
    if has_the_processor() {
        for entry in &STAGES {
            let stage = (entry.make)(Transport::Http)?;
            let name = stage.name();
            let (short, long) = (instructions(name, ROUNDS)?, instructions(name, 2 * ROUNDS)?);
            let (per, count) = stage.per(&batches(entry));
            let one = round((long - short) as f64 / ROUNDS as f64 / count);
            eprintln!("{name:16} {one:10.1} instructions a {per}");
            counted.instructions.insert(name.to_owned(), one);
        }
    } else {
        eprintln!("instructions are not compared: they are those of x86-64 with AVX2");
    }
    for (module, fuel) in fuel::all()? {
        let fuel = round(fuel);
        eprintln!("{module:16} {fuel:10.1} fuel a record");
        counted.fuel.insert(module.to_owned(), fuel);
    }
    Ok(counted)
}

/// The one that is worked on.
fn batches(entry: &Entry) -> Vec<RecordBatch> {
    bed::batches(BATCH_RECORDS as u64, BATCH_RECORDS, entry.write)
}

/// To a tenth: less is of no interest, and makes noise in diffs.
fn round(figure: f64) -> f64 {
    (figure * 10.0).round() / 10.0
}

/// Searches in text and copies choose their code by the processor when they run.
fn has_the_processor() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// Instructions of this program while it does so many rounds of a stage.
fn instructions(stage: &str, rounds: usize) -> Result<u64> {
    let own = std::env::current_exe().context("finding this program")?;
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(own).args([
        "micro",
        "--count",
        stage,
        "--rounds",
        &rounds.to_string(),
    ]);
    let output = valgrind.output().context(
        "starting valgrind, which counts instructions (on Debian: apt-get install valgrind)",
    )?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "counting {stage} under valgrind: {}\n{said}", output.status);
    collected(&said).with_context(|| format!("valgrind does not say what it collected:\n{said}"))
}

/// The number in callgrind's line `==123== Collected : 456`.
fn collected(said: &str) -> Option<u64> {
    let line = said.lines().find_map(|line| line.split_once("Collected :"))?;
    line.1.trim().parse().ok()
}

/// What is counted: so many rounds of a stage over one batch, and nothing else that varies.
pub(super) fn count_one(name: &str, rounds: usize) -> Result<()> {
    for entry in &STAGES {
        let stage = (entry.make)(Transport::Http)?;
        if stage.name() == name {
            return work(stage, &batches(entry), rounds);
        }
    }
    bail!("no stage that is counted is called `{name}`")
}

fn work(mut stage: Box<dyn Stage>, batches: &[RecordBatch], rounds: usize) -> Result<()> {
    stage.prepare(&batches[0])?;
    for _ in 0..rounds {
        stage.work(&batches[0])?;
        stage.settle(&batches[0])?;
    }
    Ok(())
}

/// What moved by more than its share, in words.
#[derive(Default)]
struct Found {
    better: Vec<String>,
    worse: Vec<String>,
}

fn compare(committed: &Figures, counted: &Figures) -> Found {
    let mut found = Found::default();
    let both = [
        ("instructions", &committed.instructions, &counted.instructions),
        ("fuel", &committed.fuel, &counted.fuel),
    ];
    for (what, before, now) in both {
        // Where none could be counted, none is missing.
        for (name, before) in before.iter().filter(|_| !now.is_empty()) {
            let Some(now) = now.get(name) else {
                found.worse.push(format!("{name}: {before} {what} before, not counted now"));
                continue;
            };
            let percent = (now / before - 1.0) * 100.0;
            let line = format!("{name}: {before} {what} before, {now} now ({percent:+.1} %)");
            if percent > PERCENT {
                found.worse.push(line);
            } else if percent < -PERCENT {
                found.better.push(line);
            }
        }
        for (name, now) in now.iter().filter(|(name, _)| !before.contains_key(*name)) {
            found.worse.push(format!("{name}: {now} {what} now, not counted before"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(instructions: &[(&str, f64)], fuel: &[(&str, f64)]) -> Figures {
        let map = |of: &[(&str, f64)]| of.iter().map(|(n, x)| ((*n).to_owned(), *x)).collect();
        Figures { instructions: map(instructions), fuel: map(fuel) }
    }

    #[track_caller]
    fn check(before: &Figures, now: &Figures, better: &[&str], worse: &[&str]) {
        let found = compare(before, now);
        assert_eq!(
            (found.better, found.worse),
            (
                better.iter().map(|line| (*line).to_owned()).collect(),
                worse.iter().map(|line| (*line).to_owned()).collect(),
            )
        );
    }

    #[test]
    fn what_moves_by_over_three_percent_is_told_with_both_numbers() {
        let before = figures(&[("a", 100.0), ("b", 100.0), ("c", 100.0)], &[("g", 50.0)]);
        let within = figures(&[("a", 102.9), ("b", 97.1), ("c", 100.0)], &[("g", 51.0)]);
        check(&before, &within, &[], &[]);
        let moved = figures(&[("a", 103.1), ("b", 96.9), ("c", 100.0)], &[("g", 60.0)]);
        let worse = [
            "a: 100 instructions before, 103.1 now (+3.1 %)",
            "g: 50 fuel before, 60 now (+20.0 %)",
        ];
        check(&before, &moved, &["b: 100 instructions before, 96.9 now (-3.1 %)"], &worse);
    }

    #[test]
    fn a_figure_that_comes_or_goes_is_told_but_not_all_of_a_kind() {
        let before = figures(&[("a", 1.0)], &[("g", 1.0)]);
        let other = figures(&[("b", 2.0)], &[("g", 1.0)]);
        let worse = [
            "a: 1 instructions before, not counted now",
            "b: 2 instructions now, not counted before",
        ];
        check(&before, &other, &[], &worse);
        check(&before, &figures(&[], &[("g", 1.0)]), &[], &[]);
    }

    #[test]
    fn reads_what_callgrind_says() {
        let said = "==7== Events    : Ir\n==7== Collected : 123456789\n==7==\n";
        assert_eq!(collected(said), Some(123_456_789));
        assert_eq!(collected("==7== Events    : Ir\n"), None);
    }

    #[test]
    fn what_is_counted_can_be_counted_and_was_committed() {
        let text = std::fs::read_to_string(FILE).expect("the figures are there");
        let committed: Figures = serde_json::from_str(&text).expect("they are figures");
        let names: Vec<&str> = committed.instructions.keys().map(String::as_str).collect();
        let mut known: Vec<String> = Vec::new();
        for entry in &STAGES {
            let stage = (entry.make)(Transport::Http).expect("it can be made");
            known.push(stage.name().to_owned());
            count_one(stage.name(), 1)
                .unwrap_or_else(|error| panic!("{}: {error:#}", stage.name()));
        }
        known.sort();
        assert_eq!(names, known);
        let fuel = fuel::all().expect("modules run");
        let names: Vec<&str> = committed.fuel.keys().map(String::as_str).collect();
        assert_eq!(names, fuel.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }
}
