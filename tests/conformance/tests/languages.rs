//! Every language does the same: one test for each, so that what is missing or differs is told by
//! its name. Where a compiler is missing the test says so and passes, unless `CI` or
//! `CONFORMANCE=all` is set. `UPDATE=1` writes the golden file from what Rust does.

use std::io::Write as _;

use bridge::author::Language;
use bridge::trial::{Cases, Subject};
use conformance::cases::{self, Case};
use conformance::golden::{expected, told, update};
use conformance::modules;
use conformance::sandbox::Sandbox;

fn language(name: &str) -> &'static Language {
    Language::named(name).expect("a language")
}

/// Whether a missing compiler is a failure.
fn all_wanted() -> bool {
    std::env::var_os("CI").is_some() || std::env::var("CONFORMANCE").is_ok_and(|all| all == "all")
}

/// The module of a transform; `None` where its compiler is missing and need not be there.
fn module(name: &str, transform: &str) -> Option<Vec<u8>> {
    match modules::module(language(name), transform) {
        Ok(module) => Some(module),
        Err(error) if !all_wanted() && error.to_string().contains("is missing") => {
            // Past the capture of the test harness, for a skip is to be seen.
            let _ = writeln!(std::io::stderr(), "skipped: {name} has no compiler here: {error}");
            None
        }
        Err(error) => panic!("{name}, {transform}: {error:#}"),
    }
}

fn check(name: &str) {
    let mut known: Option<(&str, Vec<u8>)> = None;
    let mut sections = Vec::new();
    let updates = std::env::var_os("UPDATE").is_some() && name == "rust";
    for case in cases::all() {
        let Case { transform, name: about, .. } = case;
        if known.as_ref().is_none_or(|(built, _)| *built != transform) {
            let Some(module) = module(name, transform) else { return };
            known = Some((transform, module));
        }
        let (_, module) = known.as_ref().expect("just built");
        let told = told(&case, module).unwrap_or_else(|error| {
            panic!("{name}, {transform}: {about}: {error:#}");
        });
        if updates {
            sections.push(told);
            continue;
        }
        let expected = expected(&case).expect("a golden section");
        assert!(told == expected, "{name} differs:\n{}", difference(&expected, &told));
    }
    if updates {
        update(&sections).expect("the golden file is written");
    }
    a_panic_is_told(name);
    a_long_run_changes_nothing(name);
    a_project_begins_with_cases_that_are_right(name);
}

/// The lines that differ.
fn difference(expected: &str, told: &str) -> String {
    let (mut left, mut right) = (expected.lines(), told.lines());
    let mut text = expected.lines().next().unwrap_or_default().to_owned();
    loop {
        match (left.next(), right.next()) {
            (None, None) => return text,
            (a, b) if a == b => {}
            (a, b) => {
                text += &format!("\n- {}\n+ {}", a.unwrap_or_default(), b.unwrap_or_default());
            }
        }
    }
}

/// `bridge transform test` of what `new` and `build` make finds all well.
fn a_project_begins_with_cases_that_are_right(name: &str) {
    let Some(module) = module(name, "template") else { return };
    let folder = std::env::temp_dir().join(format!("cases-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for a test");
    std::fs::write(folder.join("first.wasm"), module).expect("the folder takes files");
    let cases = language(name).template.iter().find(|(path, _)| *path == "cases.toml");
    let (_, cases) = cases.expect("a project begins with cases");
    let path = folder.join("cases.toml");
    std::fs::write(&path, cases.replace("NAME", "first")).expect("the folder takes files");
    let reports = Cases::read(&path, Subject::Transform).and_then(|cases| cases.run(false));
    std::fs::remove_dir_all(&folder).expect("it was just made");
    for report in reports.unwrap_or_else(|fault| panic!("{name}: {fault}")) {
        assert!(report.complaints.is_empty(), "{name}: {:#?}", report.complaints);
    }
}

/// A panic costs its record alone, and reaches the dead letters with its message and its place.
fn a_panic_is_told(name: &str) {
    let Some(module) = module(name, "probe") else { return };
    let mut sandbox = Sandbox::start(&module, "").expect("the probe starts");
    let outcome = sandbox.run(&cases::panics()).expect("runs");
    assert_eq!(outcome.rows.len(), 2, "{outcome:?}");
    let [(1, why)] = outcome.refused.as_slice() else { panic!("{outcome:?}") };
    let file = language(name).main.rsplit('/').next().expect("a file");
    let placed = why.split(&format!("{file}:")).nth(1);
    let placed = placed.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    assert!(why.starts_with("trap: ") && why.contains("told to panic") && placed, "{name}: {why}");
}

/// Batches until every collector has run some times: what the host reads is still what was meant.
const BATCHES: usize = 3_000;

fn a_long_run_changes_nothing(name: &str) {
    let Some(module) = module(name, "probe") else { return };
    let mut sandbox = Sandbox::start(&module, "").expect("the probe starts");
    let first = sandbox.run(&cases::orders()).expect("runs");
    for batch in 1..BATCHES {
        let again = sandbox.run(&cases::orders()).expect("runs");
        assert_eq!(first.rows, again.rows, "{name}: batch {batch}");
        assert_eq!(first.emitted, again.emitted, "{name}: batch {batch}");
        assert_eq!(first.refused, again.refused, "{name}: batch {batch}");
    }
}

#[test]
fn rust() {
    check("rust");
}

#[test]
fn c() {
    check("c");
}

#[test]
fn go() {
    check("go");
}

#[test]
fn assemblyscript() {
    check("assemblyscript");
}

#[test]
fn zig() {
    check("zig");
}
