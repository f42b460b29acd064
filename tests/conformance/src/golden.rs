//! One golden text for all languages: a section for each case. Long outcomes are told by their
//! number and a hash.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::cases::Case;
use crate::sandbox::{Outcome, Sandbox};

/// Outcomes of more bytes than this are told by the beginning of their first and last row, and a
/// hash.
const BYTES_MAX: usize = 12_000;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden.txt")
}

/// Runs the cases of a module; the text that the golden file has of them.
pub fn told(case: &Case, module: &[u8]) -> Result<String> {
    let mut text = format!("== {}: {}\n", case.transform, case.name);
    let started = Sandbox::start(module, case.config);
    if let Some(says) = case.refused {
        let error = started.err().context("it starts, and should refuse")?.to_string();
        ensure!(error.contains(says), "the refusal does not say `{says}`: {error}");
        // Every language has its own words.
        text.push_str("does not start\n");
        return Ok(text);
    }
    let Outcome { rows, emitted, refused, counted } = started?.run(&case.records)?;
    tell(&mut text, &rows, "rows");
    tell(&mut text, &emitted, "emitted");
    for (record, why) in refused {
        let _ = writeln!(text, "{record} refused, {why}");
    }
    let (rows_in, rows_out, rejected) = counted;
    let _ = writeln!(text, "in {rows_in}, out {rows_out}, rejected {rejected}");
    Ok(text)
}

fn tell(text: &mut String, lines: &[String], what: &str) {
    if lines.iter().map(String::len).sum::<usize>() <= BYTES_MAX {
        lines.iter().for_each(|line| text.extend([line, "\n"]));
        return;
    }
    let begin = |line: &String| line.chars().take(180).collect::<String>();
    let (first, last) = (begin(&lines[0]), begin(&lines[lines.len() - 1]));
    let (count, hash) = (lines.len(), hash(lines));
    let _ = writeln!(text, "{first}\n…\n{last}\n{count} {what}, {hash:016x}");
}

/// The golden section of a case.
pub fn expected(case: &Case) -> Result<String> {
    let all = std::fs::read_to_string(path()).context("reading the golden file")?;
    let head = format!("== {}: {}\n", case.transform, case.name);
    let (_, rest) = all.split_once(&head).with_context(|| format!("no section {head}"))?;
    let body = rest.split("== ").next().unwrap_or_default();
    Ok(format!("{head}{}", body.trim_end_matches('\n').to_owned() + "\n"))
}

/// Writes the golden file anew.
pub fn update(sections: &[String]) -> Result<()> {
    std::fs::write(path(), sections.join("\n")).context("writing the golden file")
}

/// FNV-1a over the lines.
fn hash(lines: &[String]) -> u64 {
    let bytes = lines.iter().flat_map(|line| line.bytes().chain([b'\n']));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
