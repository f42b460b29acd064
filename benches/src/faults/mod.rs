//! What becomes of the records when something breaks: for the bridge and for its peers.
//!
//! ```text
//!   case      what breaks, for whom      strike   one case from filling to the verdict
//!   watch     the table from outside     verdict  stored, lost, double
//!   complaint what the user saw          report   the table, the file
//! ```

mod case;
mod complaint;
mod report;
mod strike;
mod verdict;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::ValueEnum;

use crate::harness::{Servers, Transport};
use crate::machine::Machine;
use crate::peers::at_hand::{AtHand, Given, Program};
use crate::peers::results_folder;
use case::{CASES, Case, Fault};
use report::{Line, Report};
use strike::Range;

/// `faults`.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Records in each case's topic.
    #[arg(long, default_value_t = 2_000_000)]
    records: u64,
    /// Leave out the peers.
    #[arg(long, value_enum)]
    only: Option<Only>,
    /// Only these faults: database,pipeline.
    #[arg(long, value_enum, value_delimiter = ',')]
    fault: Vec<Fault>,
    /// Only over this transport.
    #[arg(long, value_enum)]
    transport: Option<Transport>,
    /// How long the database is away, in seconds.
    #[arg(long, default_value_t = 24.0)]
    away: f64,
    #[command(flatten)]
    given: Given,
    /// Where the result file goes; `-` for none.
    #[arg(long, value_name = "FOLDER")]
    results: Option<PathBuf>,
    /// One object on standard output, in place of the table.
    #[arg(long)]
    json: bool,
}

/// For whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Only {
    /// The bridge alone.
    Ours,
}

/// Runs it.
pub fn main(options: &Options) -> Result<()> {
    let ours = options.only == Some(Only::Ours);
    let at_hand = match ours {
        true => AtHand::bridge_alone(&options.given)?,
        false => AtHand::find(&options.given)?,
    };
    let mut report = Report {
        machine: Machine::here(),
        records: options.records,
        away_s: options.away,
        lines: Vec::new(),
        missing: Vec::new(),
    };
    let asked = |case: &&Case| {
        (!ours || case.program == Program::Bridge)
            && (options.fault.is_empty() || options.fault.contains(&case.fault))
            && options.transport.is_none_or(|transport| transport == case.transport)
    };
    let servers = Servers::start()?;
    let range = Range {
        at_hand: &at_hand,
        servers: &servers,
        records: options.records,
        away: Duration::try_from_secs_f64(options.away)?,
    };
    for (index, case) in CASES.iter().enumerate().filter(|(_, case)| asked(case)) {
        if let Some(how) = at_hand.missing(case.program) {
            if report.missing.iter().all(|(known, _)| *known != case.program) {
                report.missing.push((case.program, how.to_owned()));
            }
            continue;
        }
        let outcome = range.strike(index, case).map_err(|error| format!("{error:#}"));
        let line = Line { case: *case, outcome };
        eprintln!("{}", report::row(&line).join(" | "));
        report.lines.push(line);
    }
    match options.json {
        true => println!("{}", report.summary()),
        false => print!("{}", report.table()),
    }
    if let Some(folder) = results_folder(options.results.as_deref()) {
        eprintln!("written: {}", report.write(&folder)?.display());
    }
    let bridges = report.lines.iter().filter(|line| line.case.program == Program::Bridge);
    for line in bridges {
        let safe = line
            .outcome
            .as_ref()
            .is_ok_and(|outcome| outcome.recovers && outcome.verdict.stored == outcome.records);
        ensure!(safe, "the bridge has lost rows or needs help: {}", line.case.title());
    }
    Ok(())
}
