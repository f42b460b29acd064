//! `bridge check`: what was found behind every door, in columns or in JSON.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::Failure;
use crate::config::{Mistakes, Overrides, Plan, units};
use crate::pipeline::{self, Findings};
use crate::sink::{Finding, FindingState};

/// Reads the file, knocks on every door, tells what was found.
pub fn check(file: &Path, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let plan = match Plan::load(file, &Overrides::default()) {
        Ok(plan) => plan,
        Err(mistakes) => {
            if json {
                writeln!(out, "{:#}", mistakes_in_json(&mistakes))?;
            }
            return Err(mistakes.into());
        }
    };
    let found = pipeline::check(&plan)?;
    match json {
        true => writeln!(out, "{:#}", in_json(&plan, &found))?,
        false => out.write_all(in_columns(&plan, &found).as_bytes())?,
    }
    if is_well(&found) { Ok(()) } else { Err(Failure::Said) }
}

fn is_well(found: &Findings) -> bool {
    found.iter().flat_map(|(_, findings)| findings).all(|f| f.state != FindingState::Fail)
}

fn state(state: FindingState) -> &'static str {
    match state {
        FindingState::Ok => "ok",
        FindingState::Warn => "warn",
        FindingState::Fail => "fail",
    }
}

/// Aligned columns, a heading for each pipeline if there are several.
fn in_columns(plan: &Plan, found: &Findings) -> String {
    let mut text = String::new();
    for (name, findings) in found {
        if found.len() > 1 {
            text.push_str(&format!("[{name}]\n"));
        }
        text.push_str(&columns(findings));
        let pipeline = plan.pipelines.iter().find(|pipeline| pipeline.name == *name);
        if let Some(pipeline) = pipeline {
            text.push_str(&format!(
                "{:SUBJECT$}{}; memory ceiling {}; {}, {} (see: bridge explain)\n",
                "delivery",
                pipeline.delivery,
                units::show_bytes(plan.ceiling_bytes()),
                counted(pipeline.limits.lanes, "lane"),
                counted(pipeline.couriers(), "connection"),
            ));
        }
    }
    text
}

/// Width of the first column: the longest subject and two spaces.
pub(super) const SUBJECT: usize = 11;

/// Names longer than this push their own line's columns out, not everybody's.
const NAME_MAX: usize = 40;

/// Findings in aligned columns.
pub(super) fn columns(findings: &[Finding]) -> String {
    let lengths = findings.iter().map(|finding| finding.name.chars().count());
    let width = lengths.filter(|length| *length <= NAME_MAX).max().unwrap_or(0) + 2;
    let mut text = String::new();
    for finding in findings {
        let Finding { subject, name, note, .. } = finding;
        let state = state(finding.state);
        let line = format!("{subject:SUBJECT$}{name:width$}{state:7}{note}");
        text.push_str(line.trim_end());
        text.push('\n');
        for (index, line) in finding.fix.iter().flat_map(|fix| fix.lines()).enumerate() {
            let lead = if index == 0 { "fix: " } else { "" };
            text.push_str(&format!("{:1$}{lead}{line}\n", "", SUBJECT + width + 7));
        }
    }
    text
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

fn in_json(plan: &Plan, found: &Findings) -> Value {
    let finding = |finding: &Finding| {
        json!({
            "subject": finding.subject,
            "name": finding.name,
            "state": state(finding.state),
            "note": finding.note,
            "fix": finding.fix,
        })
    };
    let pipeline = |(name, findings): &(Arc<str>, Vec<Finding>)| {
        let findings: Vec<Value> = findings.iter().map(finding).collect();
        json!({ "pipeline": &**name, "findings": findings })
    };
    json!({
        "ok": is_well(found),
        "ceiling_bytes": plan.ceiling_bytes(),
        "pipelines": found.iter().map(pipeline).collect::<Vec<Value>>(),
    })
}

fn mistakes_in_json(mistakes: &Mistakes) -> Value {
    let mistake = |mistake: &crate::config::Mistake| {
        let place = mistake.span.as_ref().map(|span| mistakes.line_and_column(span));
        json!({
            "path": mistake.path,
            "message": mistake.message,
            "help": mistake.help,
            "line": place.map(|(line, _)| line),
            "column": place.map(|(_, column)| column),
        })
    };
    let list: Vec<Value> = mistakes.list.iter().map(mistake).collect();
    json!({ "ok": false, "file": mistakes.file, "mistakes": list })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blame::Blame;

    #[test]
    fn findings_stand_in_columns() {
        let finding = |subject, name: &str, state, note: &str, fix: Option<&str>| Finding {
            subject,
            name: name.to_owned(),
            state,
            blame: Blame::World,
            note: note.to_owned(),
            fix: fix.map(str::to_owned),
        };
        let findings = [
            finding("kafka", "localhost:9092", FindingState::Ok, "4.3.1, 1 broker", None),
            finding("table", "readings", FindingState::Warn, "no keys", Some("ALTER\n(or not)")),
            finding("sink", "questdb localhost:9000", FindingState::Fail, "refused", None),
        ];
        let expected = "\
kafka      localhost:9092          ok     4.3.1, 1 broker
table      readings                warn   no keys
                                          fix: ALTER
                                          (or not)
sink       questdb localhost:9000  fail   refused
";
        assert_eq!(columns(&findings), expected);
        assert!(!is_well(&vec![("x".into(), findings.to_vec())]));
    }
}
