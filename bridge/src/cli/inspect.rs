//! `bridge transform inspect`: a module, as the bridge sees it before it runs.

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::Failure;
use super::module::section;
use crate::config::units::show_bytes;
use crate::limits::Limits;
use crate::transform::guest::{Import, Inspection, Reads, inspect as look};

/// Tells what a module is; a failure if it would be refused.
pub(super) fn inspect(
    module: &str,
    config: Option<&str>,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let found = look(&section(module, config)?, Path::new(""))?;
    match json {
        true => writeln!(out, "{:#}", in_json(&found))?,
        false => out.write_all(in_words(&found).as_bytes())?,
    }
    if found.refusals.is_empty() { Ok(()) } else { Err(Failure::Said) }
}

/// Width of the subjects.
const SUBJECT: usize = 10;
/// Columns of a line, about: a list goes on in the next one.
const LINE: usize = 100;

fn in_words(found: &Inspection) -> String {
    let mut text = String::new();
    let mut tell = |subject: &str, items: Vec<String>, between: &str| {
        let mut line = String::new();
        let mut lead = subject;
        for (number, item) in items.iter().enumerate() {
            let behind = if number + 1 < items.len() { between } else { "" };
            if !line.is_empty() && (SUBJECT + line.len() + item.len() > LINE || between.is_empty())
            {
                text.push_str(format!("{lead:SUBJECT$}{}\n", line.trim_end()).as_str());
                (lead, line) = ("", String::new());
            }
            line.push_str(&format!("{item}{behind}"));
        }
        text.push_str(format!("{lead:SUBJECT$}{line}\n").as_str());
    };
    let size = found.bytes.div_ceil(1024);
    tell("module", vec![format!("{}, {size} KB", found.name)], "");
    let contract = match found.abi {
        Some(version) => format!("version {version}"),
        None => "not known: `bridge_abi` did not answer".to_owned(),
    };
    tell("contract", vec![contract], "");
    let exports = found.exports.iter().map(|(name, kind)| named(name, kind)).collect();
    tell("exports", or_none(exports), ", ");
    let import = |import: &Import| {
        let mark = if import.offered { "" } else { " (not offered)" };
        format!("{}{mark}", named(&import.name, &import.kind))
    };
    tell("imports", or_none(found.imports.iter().map(import).collect()), ", ");
    if let Some((least, most)) = found.memory {
        tell("memory", vec![memory(least, most, found.started_bytes)], "");
    }
    if let Some(reads) = &found.reads {
        tell("reads", or_none(read(reads)), ", ");
        if !reads.tables.is_empty() {
            tell("tables", reads.tables.clone(), ", ");
        }
        if !reads.topics.is_empty() {
            tell("topics", reads.topics.clone(), ", ");
        }
    }
    match found.refusals.is_empty() {
        true => tell("refused", vec!["no".to_owned()], ""),
        false => tell("refused", found.refusals.clone(), ""),
    }
    text
}

fn named(name: &str, kind: &str) -> String {
    if kind.starts_with('(') { format!("{name}{kind}") } else { name.to_owned() }
}

fn or_none(items: Vec<String>) -> Vec<String> {
    if items.is_empty() { vec!["nothing".to_owned()] } else { items }
}

fn memory(least: u64, most: Option<u64>, started: Option<usize>) -> String {
    let mut text = format!("{} in the module", show_bytes(least as usize));
    if let Some(bytes) = started {
        text.push_str(&format!(", {} once started", show_bytes(bytes)));
    }
    text.push_str(&match most {
        Some(most) => format!("; it grows to {} at most", show_bytes(most as usize)),
        None => "; it sets itself no bound".to_owned(),
    });
    let max = Limits::default().guest_memory_bytes_max;
    text + &format!(" (memory_max is {}, if not set)", show_bytes(max))
}

fn read(reads: &Reads) -> Vec<String> {
    let mut items: Vec<String> = match &reads.columns {
        None => vec!["all columns".to_owned()],
        Some(columns) => columns.iter().map(|column| format!("column {column}")).collect(),
    };
    items.extend(reads.beside.iter().map(|what| format!("the {what}")));
    items
}

fn in_json(found: &Inspection) -> Value {
    let typed = |(name, kind): &(String, String)| json!({ "name": name, "type": kind });
    let import = |import: &Import| {
        let Import { name, kind, offered } = import;
        json!({ "name": name, "type": kind, "offered": offered })
    };
    let reads = found.reads.as_ref().map(|reads| {
        json!({
            "columns": reads.columns,
            "beside": reads.beside,
            "tables": reads.tables,
            "topics": reads.topics,
        })
    });
    json!({
        "module": found.name,
        "bytes": found.bytes,
        "contract": found.abi,
        "exports": found.exports.iter().map(typed).collect::<Vec<_>>(),
        "imports": found.imports.iter().map(import).collect::<Vec<_>>(),
        "memory": found.memory.map(|(least, most)| json!({
            "bytes": least, "bytes_max": most, "started_bytes": found.started_bytes,
        })),
        "reads": reads,
        "refused": found.refusals,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_wrapped_and_refusals_stand_on_lines() {
        let found = Inspection {
            name: "a.wasm".to_owned(),
            bytes: 2_000,
            exports: (0..9).map(|n| (format!("export_{n}"), "(i32) -> i64".to_owned())).collect(),
            refusals: vec!["exports no `memory`".to_owned(), "needs an import".to_owned()],
            ..Inspection::default()
        };
        let text = in_words(&found);
        assert!(text.lines().all(|line| line.len() <= LINE), "{text}");
        assert!(text.starts_with("module    a.wasm, 2 KB\n"), "{text}");
        let end = "imports   nothing\nrefused   exports no `memory`\n          needs an import\n";
        assert!(text.ends_with(end), "{text}");
    }
}
