//! Records on which a module failed lie in files, one for each distinct failure.

use std::path::{Path, PathBuf};

use super::*;
use crate::folder::Folder;
use crate::transform::guest::cases::CASES_MAX;

/// Where cases are kept: a folder that is made when there is one.
fn traps(folder: &Folder) -> PathBuf {
    folder.0.join("traps")
}

/// The files, read as TOML, by name.
fn cases_in(folder: &Folder) -> Vec<(String, toml::Table)> {
    let Ok(entries) = std::fs::read_dir(traps(folder)) else { return Vec::new() };
    let mut cases: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    cases.sort();
    let read = |path: &Path| {
        let text = std::fs::read_to_string(path).expect("a file");
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name, text.parse().unwrap_or_else(|error| panic!("{error} in\n{text}")))
    };
    cases.iter().map(|path| read(path)).collect()
}

fn bench(module: &str, folder: &Folder) -> Bench {
    let config = "config = { a = 'x', b = [1, 2.5] }";
    Bench::text(module, &format!("{config}\ntraps = '{}'", traps(folder).display()))
}

/// A function for each of these offsets that traps, so that each fails elsewhere.
fn traps_at(offsets: &[i64]) -> String {
    let functions: String =
        offsets.iter().map(|offset| format!("(func $trap{offset} unreachable)")).collect();
    let calls: String =
        offsets.iter().map(|offset| at(&[*offset], &format!("(call $trap{offset})"))).collect();
    keeps("", &calls).replace("(memory", &format!("{functions}(memory"))
}

#[test]
fn each_distinct_failure_is_kept_once() {
    let folder = Folder::new("kept-once");
    let mut bench = bench(&traps_at(&[3, 5]), &folder);
    bench.offsets(8).expect("runs");
    bench.offsets(8).expect("runs");
    assert!(cases_in(&folder).is_empty(), "a lane writes no files");
    bench.loaded.tend(&bench.meter);
    let cases = cases_in(&folder);
    assert_eq!((cases.len(), bench.meter.cases.get(), bench.meter.traps.get()), (2, 2, 4));
    let mut offsets = Vec::new();
    for (file, case) in &cases {
        assert!(file.starts_with("module-") && file.contains("-trap-"), "{file}");
        assert_eq!(case["module"].as_str(), Some("module.wasm"));
        assert_eq!(case["config"].to_string(), "{ a = \"x\", b = [1, 2.5] }");
        let case = &case["case"][0];
        let record = &case["record"][0];
        let offset = record["offset"].as_integer().expect("a number");
        offsets.push(offset);
        assert_eq!(case["name"].as_str(), Some(&*format!("trap on sensors/3@{offset}")));
        assert_eq!(record["value"].as_str(), Some(&*format!("value {offset}")));
        assert_eq!(record["key"].as_str(), Some(&*offset.to_string()));
        assert_eq!(record["partition"].as_integer(), Some(3));
        assert_eq!(record["timestamp"].as_integer(), Some(1_000 + offset));
        assert_eq!(record["headers"].to_string(), format!("{{ index = \"{offset}\" }}"));
        assert_eq!(record["topic"].as_str(), Some("sensors"));
        assert_eq!(record["rejected"].as_str(), Some("trap"));
    }
    offsets.sort();
    assert_eq!(offsets, [3, 5]);
    // The same module, started again, finds its files.
    let mut again = self::bench(&traps_at(&[3, 5]), &folder);
    again.offsets(8).expect("runs");
    again.loaded.tend(&again.meter);
    assert_eq!((cases_in(&folder).len(), again.meter.cases.get()), (2, 0));
}

#[test]
fn deadlines_and_bad_answers_are_kept_and_refusals_are_not() {
    let folder = Folder::new("kept-kinds");
    let mut late = Bench::text(
        &keeps("", &at(&[1, 2], "(loop (br 0))")),
        &format!("deadline = '200ms'\ntraps = '{}'", traps(&folder).display()),
    );
    late.offsets(4).expect("runs");
    late.loaded.tend(&late.meter);
    let files: Vec<String> = cases_in(&folder).into_iter().map(|(file, _)| file).collect();
    assert!(files.len() == 1 && files[0].contains("-deadline-"), "{files:?}");
    let bad = at(
        &[1, 2],
        "(i32.store8 offset=1024 (i32.shl (local.get $i) (i32.const 4)) (i32.const 99)) (br $done)",
    );
    let mut bad = bench(&keeps("", &bad), &folder);
    bad.offsets(4).expect("runs");
    bad.loaded.tend(&bad.meter);
    let files = cases_in(&folder);
    assert!(files.iter().any(|(file, _)| file.contains("-bad-answer-")), "{files:?}");
}

#[test]
fn files_are_private_and_few() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new("kept-few");
    let offsets: Vec<i64> = (0..CASES_MAX as i64 + 8).map(|index| index * 2).collect();
    let mut bench = bench(&traps_at(&offsets), &folder);
    bench.offsets(2 * offsets.len()).expect("runs");
    bench.loaded.tend(&bench.meter);
    assert_eq!(cases_in(&folder).len(), CASES_MAX);
    for entry in std::fs::read_dir(traps(&folder)).expect("there") {
        let mode = entry.expect("an entry").metadata().expect("known").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
