//! `bridge demo`: the whole road on this machine.

use std::io::Write;

use super::Failure;
use crate::demo;

/// Runs the demo and tells what it came to: one JSON object, or words.
pub fn demo(seconds: u64, json: bool, out: &mut impl Write) -> Result<(), Failure> {
    let summary = demo::run(seconds)?;
    match json {
        true => {
            let object = serde_json::to_string(&summary).expect("numbers and texts are JSON");
            Ok(writeln!(out, "{object}")?)
        }
        false => Ok(out.write_all(summary.in_words().as_bytes())?),
    }
}
