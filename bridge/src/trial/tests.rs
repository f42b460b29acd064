//! Files of cases against the modules that the build made, through the sandbox of a pipeline.

use std::fs;
use std::path::Path;

use super::*;
use crate::folder::Folder;
use crate::modules;

/// A folder with the example modules.
fn with_modules(test: &str) -> Folder {
    let folder = Folder::new(&format!("trial-{test}"));
    for (name, wasm) in [
        ("drop_cold", modules::DROP_COLD),
        ("enrich_route", modules::ENRICH_ROUTE),
        ("split_readings", modules::SPLIT_READINGS),
        ("faulty", modules::FAULTY),
        ("alarms", modules::ALARMS),
    ] {
        folder.write(&format!("{name}.wasm"), wasm);
    }
    folder
}

fn run(path: &Path, update: bool) -> Vec<CaseReport> {
    let subject = Cases::subject_of(path).expect("it can be read");
    let cases = Cases::read(path, subject).and_then(|cases| cases.run(update));
    cases.unwrap_or_else(|fault| panic!("{fault}"))
}

/// All is well in this file of cases.
fn check(path: &Path) {
    for report in run(path, false) {
        assert!(report.complaints.is_empty(), "{}: {:#?}", report.name, report.complaints);
    }
}

fn refused(folder: &Folder, text: &str, with: &str) {
    let path = folder.write("refused.cases.toml", text);
    let subject = if text.contains("bridge =") { Subject::Pipeline } else { Subject::Transform };
    let fault =
        Cases::read(&path, subject).and_then(|cases| cases.run(false)).expect_err("refused");
    assert!(fault.to_string().contains(with), "{fault} does not say {with}");
}

const CASES: &str = r#"
module = "drop_cold.wasm"
config = { min_celsius = 15.0 }

[[case]]
name = "keeps what is warm"

[[case.record]]
value = { sensor = "a", temperature = 15.0 }
rows = [{ sensor = "a", temperature = 15.0 }]

[[case.record]]
value = '{"sensor": "b", "temperature": 14.9}'
filtered = true

[[case.record]]
value = '{"sensor": '
rejected = "malformed"

[[case.record]]
filtered = true

[[case]]
name = "another bound"
config = { min_celsius = 10.0 }

[[case.record]]
value = '{"temperature": 14.9}'
rows = [{ temperature = 14.9 }]
"#;

#[test]
fn cases_of_an_example_are_as_they_say() {
    let folder = with_modules("cases");
    let path = folder.write("cases.toml", CASES);
    check(&path);
    let reports = run(&path, false);
    assert_eq!((reports[0].records, reports[1].records), (4, 1));
    assert!(reports.iter().all(|report| report.fuel > 0));
    let again: Vec<u64> = run(&path, false).iter().map(|report| report.fuel).collect();
    assert_eq!(again, reports.iter().map(|report| report.fuel).collect::<Vec<_>>());
}

#[test]
fn what_differs_is_shown_and_an_update_puts_it_right() {
    let folder = with_modules("update");
    let wrong = CASES
        .replace("rows = [{ sensor = \"a\", temperature = 15.0 }]", "rows = [{ sensor = \"z\" }]")
        .replace("rejected = \"malformed\"\n", "filtered = true # not so\n");
    let path = folder.write("cases.toml", &wrong);
    let reports = run(&path, true);
    assert_eq!((reports[0].different, reports[1].different), (2, 0));
    assert_eq!(
        reports[0].complaints[..5],
        [
            "record 0: {\"sensor\":\"a\",\"temperature\":15.0}",
            "  row",
            "-   sensor = \"z\"",
            "+   sensor = \"a\"",
            "+   temperature = 15.0",
        ]
    );
    check(&path);
    let updated = fs::read_to_string(&path).expect("it is there");
    assert!(updated.contains("rejected = \"malformed\""), "{updated}");
}

#[test]
fn nothing_said_is_a_failure_and_an_update_says_it() {
    let folder = with_modules("nothing");
    let text = r#"{"module": "enrich_route.wasm", "config": {"alarm_above": 60.0}, "case": [
        {"record": [{"value": {"temperature": 100.0}}, {"value": {"temperature": "hot"}}]}]}"#;
    let path = folder.write("cases.json", text);
    assert_eq!(run(&path, true)[0].different, 2);
    check(&path);
    let updated: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&path).expect("it is there")).expect("JSON");
    assert_eq!(
        updated["case"][0]["record"][0]["rows"],
        serde_json::json!([{ "@table": "alarms", "temperature": 100.0, "fahrenheit": 212.0 }])
    );
}

#[test]
fn a_chain_hands_its_rows_on_and_reads_keys() {
    let folder = with_modules("chain");
    let text = r#"
key = { format = "string", column = "site" }
fuel_max = 100_000

[[transform]]
module = "split_readings.wasm"
config = { prefix = "m_" }

[[transform]]
module = "builtin:filter"
config = { where = "value >= 2" }

[[case]]
[[case.record]]
key = "n"
headers = { tenant = "x" }
timestamp = 2026-11-21T12:00:00Z
value = { m_a = 1.0, m_b = 2.0 }
rows = [{ site = "n", metric = { symbol = "b" }, value = 2.0 }]
"#;
    let path = folder.write("chain.cases.toml", text);
    check(&path);
    folder.write("dear.cases.toml", text.replace("100_000", "10"));
    let report = run(&folder.0.join("dear.cases.toml"), false).remove(0);
    assert!(report.too_dear && report.different == 0, "{report:?}");
    assert!(report.complaints[0].ends_with("fuel_max is 10"), "{report:?}");
}

#[test]
fn faults_are_alone_with_their_records() {
    let folder = with_modules("faulty");
    let text = r#"
[[transform]]
module = "faulty.wasm"
deadline = "1s"

[[case]]
[[case.record]]
value = { fault = "trap" }
rejected = "trap"
[[case.record]]
value = { fault = "ok" }
rows = [{ fault = "ok" }]
[[case.record]]
value = { fault = "loop" }
rejected = "deadline"
[[case.record]]
value = { fault = "reject" }
rejected = "refused-by-transform: "
"#;
    check(&folder.write("cases.toml", text));
}

#[test]
fn records_for_topics_stand_behind_the_rows() {
    let folder = with_modules("emits");
    let text = r#"
module = "alarms.wasm"
config = { topic = "alarms", max_celsius = 60.0 }
[[case]]
[[case.record]]
value = { sensor = "a", temperature = 100.0 }
"#;
    let path = folder.write("cases.toml", text);
    let report = run(&path, true).remove(0);
    let said = report.complaints.join("\n");
    assert!(said.contains("+ record for topic alarms") && said.contains("too hot"), "{said}");
    check(&path);
}

#[test]
fn a_pipeline_becomes_the_lines_of_its_sink() {
    let folder = with_modules("pipeline");
    folder.write(
        "bridge.toml",
        r#"
[pipeline.readings]
topics = ["sensors"]
[[pipeline.readings.transform]]
module = "enrich_route.wasm"
config = { alarm_above = 60.0 }
[pipeline.readings.table]
name = "readings"
timestamp = { field = "ts", unit = "us" }
symbols = ["sensor"]

[pipeline.files]
topics = ["files"]
[pipeline.files.sink]
kind = "file"
path = "rows/{table}"
"#,
    );
    let text = r#"
bridge = "bridge.toml"
pipeline = "readings"
[[case]]
[[case.record]]
topic = "sensors"
value = { ts = 1700000000123456, sensor = "s-1", temperature = 21.5 }
lines = ["readings,sensor=s-1 temperature=21.5,fahrenheit=70.7 1700000000123456t"]
[[case.record]]
topic = "sensors"
value = { ts = 1700000000123457, sensor = "s-1", temperature = 100.0 }
lines = ["alarms,sensor=s-1 temperature=100.0,fahrenheit=212.0 1700000000123457t"]
[[case.record]]
topic = "sensors"
value = { ts = "yesterday", sensor = "s-1", temperature = 21.5 }
rejected = "bad-timestamp"
"#;
    check(&folder.write("readings.cases.toml", text));
    let text = r#"
bridge = "bridge.toml"
pipeline = "files"
[[case]]
[[case.record]]
topic = "files"
value = { a = 1 }
lines = ['files {"timestamp":"2026-01-01T00:00:00.000000Z","a":1}']
"#;
    check(&folder.write("files.cases.toml", text));
    refused(
        &folder,
        "bridge = 'bridge.toml'\n[[case]]\n[[case.record]]\n",
        "one of readings, files",
    );
    refused(&folder, "bridge = 'no.toml'\n[[case]]\n[[case.record]]\n", "no.toml");
}

#[test]
fn mistakes_say_where_they_are() {
    let folder = with_modules("mistakes");
    let record = "[[case]]\nname = 'n'\n[[case.record]]\n";
    let module = "module = 'drop_cold.wasm'\n";
    refused(&folder, module, "there is no case in it");
    refused(&folder, &format!("{module}[[case]]\n"), "there is no record in it");
    refused(&folder, record, "there is no `module` to try");
    refused(&folder, &format!("module = 'builtin:fitler'\n{record}"), "module: no module `fitler`");
    refused(&folder, &format!("module = 'gone.wasm'\n{record}filtered = true"), "transform build");
    refused(&folder, &format!("{module}{record}"), "missing field `min_celsius`");
    refused(&folder, &format!("{module}{record}timestamp = 'now'"), "`n`, record 0: `timestamp`");
    refused(&folder, &format!("{module}{record}offset = 1\n[[case.record]]\n"), "test/0@1 already");
    refused(&folder, &format!("{module}value = {{ format = 'xml' }}\n{record}"), "value.format");
}

#[test]
fn the_first_cases_of_a_project_can_be_read() {
    let folder = with_modules("template");
    for language in crate::author::LANGUAGES {
        let cases = language.template.iter().find(|(path, _)| *path == "cases.toml");
        let (_, text) = cases.expect("every project begins with cases");
        // What the template does is what this filter does.
        let text = text
            .replace("NAME.wasm", "builtin:filter")
            .replace("column = \"sensor\"", "where = \"sensor is not null\"");
        check(&folder.write(&format!("{}.cases.toml", language.name), &text));
    }
    let found = find(std::slice::from_ref(&folder.0)).expect("they are there");
    assert_eq!(found.len(), crate::author::LANGUAGES.len());
}

#[test]
fn a_failure_that_a_bridge_kept_is_well_until_it_is_repaired() {
    // As `traps` of a transform writes it.
    const KEPT: &str = r#"
module = "faulty.wasm"
config = { column = "fault" }

[[case]]
name = "trap on sensors/3@5"

[[case.record]]
value = '{"fault":"panic"}'
key = "a"
topic = "sensors"
partition = 3
offset = 5
timestamp = 1700000000000
headers = { index = "5" }
rejected = "trap"
"#;
    let folder = with_modules("kept");
    let path = folder.write("faulty-5f0c-trap.cases.toml", KEPT);
    check(&path);
    let repaired = KEPT.replace("panic", "none");
    let path = folder.write("faulty-5f0c-trap.cases.toml", &repaired);
    assert!(!run(&path, false)[0].complaints.is_empty());
    run(&path, true);
    check(&path);
}
