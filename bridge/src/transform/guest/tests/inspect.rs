//! Modules looked at: what they are, and everything that they would be refused for.

use std::path::{Path, PathBuf};

use super::super::inspect::{Inspection, inspect};
use super::*;
use crate::modules;

/// A module looked at, with these options.
fn look(test: &str, module: &[u8], options: &str) -> Inspection {
    let path: PathBuf =
        std::env::temp_dir().join(format!("bridge-inspect-{test}-{}.wasm", std::process::id()));
    std::fs::write(&path, module).expect("the folder takes files");
    let text = format!("module = '{}'\n{options}", path.display());
    let section = Section::new("", text.parse().expect("the test's TOML"));
    let found = inspect(&section, Path::new(""));
    std::fs::remove_file(&path).expect("it was just written");
    found.expect("it can be looked at")
}

#[test]
fn a_module_that_runs_says_what_it_reads() {
    let found = look("runs", modules::DROP_COLD, "config = { min_celsius = 15.0 }");
    assert_eq!(found.refusals, Vec::<String>::new());
    assert_eq!(found.abi, Some(1));
    let reads = found.reads.expect("it started");
    assert_eq!(reads.columns, Some(vec!["temperature".to_owned()]));
    assert!(reads.beside.is_empty() && reads.tables.is_empty());
    let batch = ("bridge_batch".to_owned(), "(i32) -> i64".to_owned());
    assert!(found.exports.contains(&batch), "{:?}", found.exports);
    assert!(found.imports.iter().all(|import| import.offered));
    assert!(found.memory.is_some_and(|(least, _)| least > 0) && found.started_bytes.is_some());
    let routed = look("routes", modules::ENRICH_ROUTE, "config = { alarm_above = 60.0 }");
    assert_eq!(routed.reads.expect("it started").tables, ["alarms"]);
}

#[test]
fn a_module_that_comes_along_is_looked_at_too() {
    let text = "module = 'builtin:filter'\nconfig = { where = 'a > 1' }";
    let section = Section::new("", text.parse().expect("the test's TOML"));
    let found = inspect(&section, Path::new("")).expect("it comes along");
    assert_eq!((found.name.as_str(), found.refusals.len()), ("builtin:filter", 0));
    assert_eq!(found.reads.expect("it started").columns, Some(vec!["a".to_owned()]));
}

#[test]
fn every_refusal_is_said_and_not_the_first_alone() {
    let module = r#"(module
        (import "env" "sock_open" (func))
        (import "bridge" "columns" (func))
        (memory (export "memory") 1000)
        (func (export "bridge_abi") (result i64) (i64.const 1))
        (func (export "bridge_tick")))"#;
    let found = look("refused", &wat::parse_str(module).expect("the test's module"), "");
    assert_eq!(
        found.refusals,
        [
            "starts with 63 MiB of memory, and memory_max is 16 MiB",
            "exports `bridge_abi` with another type than it must have",
            "does not export `bridge_alloc`",
            "does not export `bridge_init`",
            "does not export `bridge_batch`",
            "exports `bridge_tick`: transforms with state are not run yet",
            "needs an import that is not offered: env.sock_open",
            "needs an import that is not offered: bridge.columns",
        ]
    );
    assert!(found.abi.is_none() && found.reads.is_none());
}

#[test]
fn a_start_that_fails_and_what_is_no_module_are_refusals() {
    let found = look("start", modules::DROP_COLD, "");
    assert_eq!(found.abi, Some(1));
    let [refusal] = found.refusals.as_slice() else { panic!("{:?}", found.refusals) };
    assert!(
        refusal.starts_with("does not start: ") && refusal.contains("min_celsius"),
        "{refusal}"
    );
    let found = look("none", b"\0asm", "");
    assert!(found.refusals[0].starts_with("is no module that can run here"), "{found:?}");
    let old = answers("", "(i32.const 0)", "(i64.const 0)")
        .replace("(i32.const 1))\n", "(i32.const 0))\n");
    let found = look("old", &wat::parse_str(&old).expect("the test's module"), "");
    assert_eq!(found.abi, Some(0));
    assert!(found.refusals[0].contains("version 0"), "{:?}", found.refusals);
}
