//! `bridge run --dry-run`: what would be stored, in columns under what `check` shows.

use std::io::Write;
use std::time::Duration;

use super::Failure;
use super::check::{SUBJECT, columns};
use crate::config::Plan;
use crate::config::units::show_count;
use crate::pipeline::{Dry, DryAsked, DryReport, DrySink, DryTally};

/// How far a dry run goes.
#[derive(clap::Args, Debug)]
pub(super) struct DryArgs {
    /// Tell what would be stored of the records that wait, and end. Joins no group, commits and
    /// stores nothing, makes no table.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// With --dry-run: so many records of each pipeline, at most.
    #[arg(long, default_value_t = 10_000, value_name = "N", requires = "dry_run")]
    records: u64,
    /// With --dry-run: read for so long, at most.
    #[arg(long, value_name = "N", requires = "dry_run")]
    seconds: Option<u64>,
    /// With --dry-run: show so many rows as lines.
    #[arg(long, default_value_t = 3, value_name = "N", requires = "dry_run")]
    show: usize,
}

/// Tries every pipeline, and tells what became of it.
pub(super) fn run(plan: &Plan, asked: &DryArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let DryArgs { records, seconds, show, .. } = *asked;
    let asked = DryAsked { records, within: seconds.map(Duration::from_secs), lines: show };
    let dry = Dry::of(plan)?;
    let (mut has_failed, mut rejected) = (false, 0);
    for pipeline in &plan.pipelines {
        if dry.is_stopped() {
            break;
        }
        if plan.pipelines.len() > 1 {
            writeln!(out, "[{}]", pipeline.name)?;
        }
        let report = dry.run(pipeline, &asked);
        out.write_all(in_columns(&report).as_bytes())?;
        if let Some(fault) = &report.fault {
            eprintln!("error: {fault}");
        }
        has_failed |= report.has_failed() && !dry.is_stopped();
        rejected += report.rejected();
    }
    writeln!(out, "nothing was stored, nothing committed")?;
    match (has_failed, rejected) {
        (true, _) => Err(Failure::Said),
        (false, 0) => Ok(()),
        (false, _) => Err(Failure::Refused),
    }
}

fn in_columns(report: &DryReport) -> String {
    let mut text = columns(&report.findings);
    let Some(tally) = &report.tally else { return text };
    let mut line = |subject: &str, words: &str| {
        // What comes from records is not to reach a terminal as it is.
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let words: String = words.chars().map(plain).collect();
        text.push_str(&format!("{subject:SUBJECT$}{words}\n"));
    };
    line("records", &records(tally, report.rejected()));
    for DrySink { name, tables, bytes, noted } in &tally.sinks {
        let rows: u64 = tables.values().sum();
        let (rows, bytes) = (show_count(rows), show_count(*bytes));
        line("rows", &format!("{rows} for {name}, {bytes} bytes"));
        for (table, rows) in tables {
            line("", &format!("{table}  {}", show_count(*rows)));
        }
        for statement in &noted.statements {
            line("would run", &format!("{statement};"));
        }
        if noted.more > 0 {
            line("would run", &format!("{} statements more", show_count(noted.more)));
        }
    }
    for (reason, rejected) in &tally.rejected {
        line("rejected", &format!("{reason}  {}", show_count(rejected.records)));
        rejected.first.iter().for_each(|one| line("", &format!("  {one}")));
    }
    tally.lines.iter().for_each(|one| line("such as", one));
    text
}

/// How many, out of how many, and what became of those that are no rows.
fn records(tally: &DryTally, rejected: u64) -> String {
    let DryTally { waiting, records, skipped, filtered, .. } = tally;
    let mut words = show_count(*records);
    if let Some(waiting) = waiting {
        words.push_str(&format!(" of {} that wait", show_count(*waiting)));
    }
    let (filtered, rejected) = (show_count(*filtered), show_count(rejected));
    words.push_str(&format!(": {filtered} filtered, {rejected} rejected"));
    if *skipped > 0 {
        words.push_str(&format!(", {} skipped", show_count(*skipped)));
    }
    words
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::pipeline::DryRejected;
    use crate::sink::{Finding, Noted};

    #[test]
    fn everything_is_told_in_columns() {
        let noted = Noted { statements: vec!["CREATE TABLE t (a)".into()], more: 2 };
        let sink = DrySink {
            name: "questdb localhost:9000".into(),
            tables: BTreeMap::from([("t".to_owned(), 1_203)]),
            bytes: 61_204,
            noted,
        };
        let first = vec!["s/0@17: `ts` is \"\u{1b}[2J\"".to_owned()];
        let rejected = DryRejected { records: 8, first };
        let tally = DryTally {
            waiting: Some(41_210),
            records: 1_300,
            skipped: 1,
            filtered: 88,
            rejected: BTreeMap::from([("bad-timestamp", rejected)]),
            sinks: vec![sink],
            lines: vec!["t a=1".to_owned()],
        };
        let report = DryReport {
            findings: vec![Finding::ok("topic", "s", "4 partitions, 41,210 records")],
            tally: Some(tally),
            fault: None,
        };
        let expected = "\
topic      s  ok     4 partitions, 41,210 records
records    1,300 of 41,210 that wait: 88 filtered, 8 rejected, 1 skipped
rows       1,203 for questdb localhost:9000, 61,204 bytes
           t  1,203
would run  CREATE TABLE t (a);
would run  2 statements more
rejected   bad-timestamp  8
             s/0@17: `ts` is \" [2J\"
such as    t a=1
";
        assert_eq!(in_columns(&report), expected);
    }
}
