//! Golden cases: records of each format and the lines that QuestDB gets of them, in files that
//! `bridge test` takes as well. `UPDATE=1` writes what came out into the files: read it.

use std::path::Path;

use crate::trial::{Cases, Subject};

fn check(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/format/golden");
    let path = folder.join(format!("{name}.cases.toml"));
    let cases = Cases::read(&path, Subject::Pipeline).unwrap_or_else(|fault| panic!("{fault}"));
    let reports = cases.run(std::env::var_os("UPDATE").is_some());
    for report in reports.unwrap_or_else(|fault| panic!("{fault}")) {
        assert!(report.complaints.is_empty(), "{name}: {}: {:#?}", report.name, report.complaints);
    }
}

#[test]
fn csv() {
    check("csv");
    check("named");
}

#[test]
fn ilp() {
    check("ilp");
}

#[test]
fn debezium() {
    check("changes");
    check("unwrapped");
}

#[test]
fn protobuf() {
    check("protobuf");
}

#[test]
fn one_value_in_one_column() {
    check("single");
    check("lines");
    check("keys");
}

#[test]
fn columns() {
    check("columns");
    check("parallel");
}
