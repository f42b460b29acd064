//! Whole pipelines without a server: out of memory, through a ring of threads and tasks, into
//! memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::run_with;
use crate::blame::Fault;
use crate::config::{Overrides, Plan, Surroundings};
use crate::observe::PipelineMeter;

/// A folder of its own for one test; gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("bridge-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the folder can be made");
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is the system's to clean.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs one pipeline to its end; how it ended and what it counted.
fn run(lines: &str, base: &Path) -> (Result<(), Fault>, Arc<PipelineMeter>) {
    let text = format!("cache = false\n[pipeline.p]\n{lines}\n");
    let with = Surroundings { env: &|_| None, host: "h".into(), base };
    let plan = Plan::parse("t.toml", &text, &with, &Overrides::default());
    let plan = plan.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let mut meter = None;
    let end = run_with(plan, false, |running| meter = Some(Arc::clone(&running.meters[0].1)));
    (end, meter.expect("the pipeline was opened"))
}

#[test]
fn a_bounded_run_out_of_memory_ends_by_itself_when_all_is_stored() {
    let folder = Folder::new("bounded");
    for (sink, encodes) in [("", true), (", encode = \"none\"", false)] {
        let (end, meter) = run(
            &format!(
                "source = {{ kind = \"memory\", count = 30001, partitions = 3 }}\n\
                 sink = {{ kind = \"memory\"{sink} }}\n\
                 limits = {{ lanes = 2 }}\n\
                 table = {{ timestamp = {{ field = \"ts\" }}, symbols = [\"sensor\"] }}"
            ),
            &folder.0,
        );
        assert!(end.is_ok(), "{end:?}");
        assert_eq!(meter.records_in.get(), 30_001);
        assert_eq!(meter.rows_stored.get(), 30_001);
        assert_eq!(meter.rejected_total(), 0);
        // About what a reading takes as a line.
        let bytes = meter.bytes_stored.get() / 30_001;
        assert_eq!((60..200).contains(&bytes), encodes, "{bytes} bytes a row");
    }
}

#[test]
fn what_is_refused_lies_in_a_file_where_there_is_no_kafka() {
    let folder = Folder::new("refused");
    let (end, meter) = run(
        "source = { kind = \"memory\", records = ['{\"a\":1}', '{\"a\":', '{\"a\":2}'], count = 9 }\n\
         sink = { kind = \"memory\" }\ntable = { name = \"t\" }",
        &folder.0,
    );
    assert!(end.is_ok(), "{end:?}");
    assert_eq!((meter.rows_stored.get(), meter.rejects_stored.get()), (6, 3));
    let letters = std::fs::read_to_string(folder.0.join("p.dead-letters.jsonl"));
    let letters = letters.expect("it was written");
    assert_eq!(letters.lines().filter(|line| line.contains("malformed")).count(), 3, "{letters}");
}
