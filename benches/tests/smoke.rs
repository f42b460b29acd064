//! The harness from end to end on real servers, with few records: that it runs, that it counts,
//! and that it says so. Its figures mean nothing at this size.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs the harness with a bridge that was built before.
fn harness(arguments: &[&str]) -> Output {
    let own = Path::new(env!("CARGO_BIN_EXE_benches"));
    let bridge = match std::env::var_os("BRIDGE_BIN") {
        Some(path) => PathBuf::from(path),
        None => own.with_file_name("bridge"),
    };
    let missing = "no bridge: run `cargo build -p bridge`, or set BRIDGE_BIN";
    assert!(bridge.is_file(), "{missing}");
    let mut command = Command::new(own);
    command.args(["harness", "--json", "--results", "-", "--bridge"]).arg(bridge);
    command.args(arguments).output().expect("it can be started")
}

#[test]
fn twenty_thousand_records_arrive_and_are_told_as_one_object() {
    const RECORDS: u64 = 20_000;
    let output = harness(&["--records", &RECORDS.to_string(), "--runs", "2"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    let object: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("standard output is one object");
    assert_eq!(object["rows"], RECORDS, "{object}");
    for matched in ["count_matched", "distinct_matched", "sum_matched", "committed"] {
        assert_eq!(object[matched], true, "{matched} of {object}");
    }
    for number in ["cpu_s_per_million", "peak_rss_bytes"] {
        assert!(object[number].as_f64().is_some_and(|number| number >= 0.0), "{number}: {object}");
    }
    for process in ["bridge", "kafka", "questdb"] {
        let seconds = object["cpu_s"][process].as_f64();
        assert!(seconds.is_some_and(|seconds| seconds > 0.0), "{process} of {object}");
    }
    assert!(object["noise"]["cpu_s_per_million"]["difference"].is_number(), "{object}");
    assert!(object["latency_at_saturation"]["backlog_age_until_acked"]["p99_ms"].is_number());
}

#[test]
fn a_report_is_made_of_the_result_files_that_are_here() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    let page = world::Directory::create("report").expect("a folder can be made");
    let page = page.path().join("report.html");
    let status = Command::new(env!("CARGO_BIN_EXE_benches"))
        .args(["report", "--out"])
        .arg(&page)
        .status()
        .expect("it can be started");
    assert!(status.success(), "{status}");
    let html = std::fs::read_to_string(&page).expect("it is written");
    for entry in std::fs::read_dir(home).expect("results are here") {
        let name = entry.expect("it can be listed").file_name().into_string().expect("plain");
        assert!(!name.ends_with(".json") || html.contains(&name), "{name} is not in the report");
    }
}

#[test]
fn latency_at_a_rate_is_measured_from_the_schedule() {
    let pace = ["--rate", "1000", "--lead", "1", "--seconds", "3"];
    let output = harness(&[&pace[..], &["--transport", "tcp"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    let object: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("standard output is one object");
    let rate = &object["at_rates"][0];
    assert_eq!((&rate["records"], &rate["matched"]), (&4_000.into(), &true.into()), "{object}");
    assert_eq!((&object["rows"], &object["sum_matched"]), (&4_000.into(), &true.into()));
    for latency in ["acked", "visible"] {
        assert_eq!(rate[latency]["count"], 3_000, "all but the first second: {object}");
    }
    let visible = rate["visible"]["p50_ms"].as_f64().expect("a number");
    assert!((0.0..60_000.0).contains(&visible), "{object}");
}
