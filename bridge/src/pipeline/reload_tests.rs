//! Modules of a pipeline at full speed are replaced: no record is lost or comes twice, none meets
//! a module that was refused, and each partition changes once for each change.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::alarm::Stop;
use super::run::{Running, run_with};
use crate::config::{Overrides, Plan, Surroundings};
use crate::folder::Folder;
use crate::observe::admin::Wish;

/// A module by hand that writes its version into the column `v` of every record.
fn module(version: u8) -> Vec<u8> {
    sound(&format!("(i32.store offset=520 (i32.const 0) (i32.const {version}))"))
}

/// The same with something else in its start.
fn sound(init: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
        (import "bridge" "column" (func $column (param i32 i32) (result i32)))
        (memory (export "memory") 4)
        (data (i32.const 16) "v")
        (func (export "bridge_abi") (result i32) (i32.const 1))
        (func (export "bridge_alloc") (param i32) (result i32)
            (if (result i32) (i32.gt_u (local.get 0) (i32.const 0x20000))
                (then (i32.const 0)) (else (i32.const 0x20000))))
        (func (export "bridge_init") (param i32 i32) (result i32)
            (i32.store16 offset=512 (i32.const 0) (call $column (i32.const 16) (i32.const 1)))
            (i32.store8 offset=514 (i32.const 0) (i32.const {i64_kind}))
            {init}
            (i32.const 0))
        (func (export "bridge_batch") (param $b i32) (result i64) (local $i i32) (local $a i32)
            (block $done (loop $next
                (br_if $done (i32.ge_u (local.get $i) (i32.load offset=8 (local.get $b))))
                (local.set $a (i32.add (i32.const 1024) (i32.shl (local.get $i) (i32.const 4))))
                (i32.store8 (local.get $a) (i32.const {patch}))
                (i32.store offset=4 (local.get $a) (local.get $i))
                (i32.store offset=8 (local.get $a) (i32.const 512))
                (i32.store offset=12 (local.get $a) (i32.const 1))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br $next)))
            (i64.or (i64.const 0x400_00000000)
                (i64.extend_i32_u (i32.load offset=8 (local.get $b))))))"#,
        i64_kind = bridge_abi::Kind::I64 as u8,
        patch = bridge_abi::ActionKind::Patch as u8,
    );
    wat::parse_str(text).expect("the test's module")
}

/// Waits for a condition.
fn wait(what: &str, mut is_met: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !is_met() {
        assert!(Instant::now() < end, "{what} does not come");
        thread::yield_now();
    }
}

/// Of each partition the versions of its rows by offset, after `play` was through.
fn played(
    folder: &Path,
    transform: &str,
    play: impl FnOnce(&Running) + Send + 'static,
) -> BTreeMap<i64, BTreeMap<i64, i64>> {
    let text = format!(
        "cache = false\n[pipeline.p]\n\
         source = {{ kind = \"memory\", partitions = 3, records = ['{{\"a\":1}}'] }}\n\
         sink = {{ kind = \"file\", path = \"rows/{{table}}\" }}\n\
         limits = {{ lanes = 2 }}\n\
         table = {{ name = \"t\", metadata = true }}\n\
         [[pipeline.p.transform]]\n{transform}\n"
    );
    let with = Surroundings { env: &|_| None, host: "h".into(), base: folder };
    let plan = Plan::parse("t.toml", &text, &with, &Overrides::default());
    let plan = plan.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let mut playing = None;
    let end = run_with(plan, false, |running| {
        playing = Some(thread::spawn(move || {
            play(&running);
            running.alarms.iter().for_each(|alarm| alarm.ask(Stop::Drain));
        }));
    });
    let played = playing.expect("the pipeline was opened").join();
    assert!(end.is_ok(), "{end:?}");
    played.expect("what was played came to its end");
    let mut seen: BTreeMap<i64, BTreeMap<i64, i64>> = BTreeMap::new();
    for file in std::fs::read_dir(folder.join("rows")).expect("rows were stored") {
        let text = std::fs::read_to_string(file.expect("an entry").path()).expect("a file");
        for line in text.lines() {
            let row: serde_json::Value = serde_json::from_str(line).expect("a row");
            let number = |name: &str| row[name].as_i64().unwrap_or_else(|| panic!("{line}"));
            let partition = seen.entry(number("kafka_partition")).or_default();
            let twice = partition.insert(number("kafka_offset"), number("v"));
            assert_eq!(twice, None, "{line}");
        }
    }
    for offsets in seen.values() {
        let last = offsets.last_key_value().map(|(offset, _)| offset + 1);
        assert_eq!(last, Some(offsets.len() as i64), "an offset is missing");
    }
    seen
}

/// Partitions went through these versions in this order: one through all of them, and none through
/// others, for one that was not fetched from in time misses some.
#[track_caller]
fn check_turns(seen: &BTreeMap<i64, BTreeMap<i64, i64>>, expected: &[i64]) {
    let turns = |offsets: &BTreeMap<i64, i64>| {
        let mut turns: Vec<i64> = offsets.values().copied().collect();
        turns.dedup();
        turns
    };
    let all: Vec<Vec<i64>> = seen.values().map(turns).collect();
    assert!(all.iter().any(|turns| turns == expected), "{all:?}");
    for turns in &all {
        let mut left = expected.iter();
        assert!(turns.iter().all(|version| left.any(|known| known == version)), "{all:?}");
    }
}

/// Waits for records that are taken after this was called.
fn rows_more(running: &Running) {
    let (_, meter) = &running.meters[0];
    let before = meter.records_in.get();
    wait("rows", || meter.records_in.get() > before + 20_000);
}

#[track_caller]
fn order(running: &Running, wish: Wish, well: bool, says: &str) {
    let outcome = running.admin.give(wish, Some("p".to_owned())).expect("there is room");
    let outcome = outcome.blocking_recv().expect("it is carried out");
    assert_eq!(outcome.well, well, "{}", outcome.words);
    assert!(outcome.words.contains(says), "{:?} does not say {says:?}", outcome.words);
}

#[test]
fn modules_change_between_two_batches_and_bad_ones_never() {
    let folder = Folder::new("reload");
    let file = folder.0.join("m.wasm");
    std::fs::write(&file, module(1)).expect("written");
    let seen = played(&folder.0, "module = 'm.wasm'", move |running| {
        let put = |bytes: &[u8]| std::fs::write(&file, bytes).expect("written");
        let (_, meter) = &running.meters[0];
        let own = std::sync::Arc::clone(&meter.transforms.lock().expect("whole")[0].1);
        rows_more(running);
        order(running, Wish::Reload, true, "no module has changed");
        order(running, Wish::Rollback, false, "no way back");
        put(&module(2));
        order(running, Wish::Reload, true, "m is m.wasm now");
        rows_more(running);
        let wrong_abi = wat::parse_str("(module)").expect("a module");
        for (bad, why) in [
            (b"no module".to_vec(), "is no module that can run here"),
            (wrong_abi, "exports no `memory`"),
            (sound("(return (i32.const -4))"), "bridge_init answers -4"),
            (sound("(return (i32.const 0x4000))"), "bits that mean nothing"),
            (sound("unreachable"), "bridge_init fails"),
        ] {
            put(&bad);
            order(running, Wish::Reload, false, why);
            let refused = own.module.lock().expect("whole").refused.clone();
            assert!(refused.is_some_and(|refused| refused.contains(why)));
        }
        assert_eq!((own.reloads.get(), own.reloads_refused.get()), (1, 5));
        rows_more(running);
        order(running, Wish::Rollback, true, "m is m.wasm now");
        assert_eq!(own.module.lock().expect("whole").refused, None);
        rows_more(running);
        order(running, Wish::Rollback, true, "m is m.wasm now");
        rows_more(running);
    });
    check_turns(&seen, &[1, 2, 1, 2]);
}

#[test]
fn a_watched_folder_brings_its_highest_version() {
    let folder = Folder::new("watched");
    let modules = folder.0.join("mods");
    std::fs::create_dir_all(&modules).expect("a folder");
    std::fs::write(modules.join("m-1.9.wasm"), module(1)).expect("written");
    let seen = played(&folder.0, "module = 'mods/'\nwatch = true", move |running| {
        let (_, meter) = &running.meters[0];
        let own = std::sync::Arc::clone(&meter.transforms.lock().expect("whole")[0].1);
        let runs = |from: &str| {
            wait(from, || own.module.lock().expect("whole").from == from);
            rows_more(running);
        };
        runs("m-1.9.wasm");
        // Half of a file is looked at and not taken for good.
        std::fs::write(modules.join("m-1.10.wasm"), &module(2)[..40]).expect("written");
        wait("a refusal", || own.reloads_refused.get() == 1);
        std::fs::write(modules.join("m-1.10.wasm"), module(2)).expect("written");
        runs("m-1.10.wasm");
        std::fs::write(modules.join("current"), "1.9\n").expect("written");
        runs("m-1.9.wasm");
        assert_eq!((own.reloads.get(), own.reloads_refused.get()), (2, 1));
    });
    check_turns(&seen, &[1, 2, 1]);
}

#[test]
fn a_changed_module_begins_in_the_shadow_and_is_promoted() {
    let folder = Folder::new("shadow");
    let file = folder.0.join("m.wasm");
    std::fs::write(&file, module(1)).expect("written");
    let seen = played(&folder.0, "module = 'm.wasm'\nshadow = true", move |running| {
        let (_, meter) = &running.meters[0];
        let own = std::sync::Arc::clone(&meter.transforms.lock().expect("whole")[0].1);
        rows_more(running);
        order(running, Wish::Promote, false, "no module is in the shadow");
        std::fs::write(&file, module(2)).expect("written");
        order(running, Wish::Reload, true, "m is m.wasm, in its shadow m.wasm now");
        order(running, Wish::Reload, true, "no module has changed");
        let values = || own.shadow.get().map_or(0, |shadow| shadow.different[4].get());
        wait("differences", || values() > 1_000);
        order(running, Wish::Promote, true, "m is m.wasm now");
        rows_more(running);
        order(running, Wish::Reload, true, "no module has changed");
    });
    check_turns(&seen, &[1, 2]);
}
