//! A module in the shadow: its rows are compared and come to nothing.

use super::*;
use crate::modules;
use crate::observe::ShadowMeter;
use crate::transform::ShadowLoaded;

const KEEPS: (&str, &str) = ("filter", "config = { where = 'true' }");

fn builtin(names: &Arc<Names>, (name, options): (&str, &str)) -> Arc<dyn Loaded> {
    let wasm = modules::builtin(name).expect("it comes along").wasm;
    load(names, wasm, options).expect("loads").into()
}

fn bench(runs: (&str, &str), candidate: impl FnOnce(&Arc<Names>) -> Arc<dyn Loaded>) -> Bench {
    let names = Arc::new(Names::default());
    let runs = builtin(&names, runs);
    let loaded: Box<dyn Loaded> =
        Box::new(ShadowLoaded::new(runs, candidate(&names), Arc::clone(&names)));
    let meter = Arc::new(TransformMeter::default());
    let transform = loaded.instance(Arc::clone(&meter)).expect("starts");
    Bench { names, loaded, meter, transform, rejects: Rejects::default() }
}

fn shadow(bench: &Bench) -> &ShadowMeter {
    bench.meter.shadow.get().expect("there is one")
}

/// Of six records whose `n` is their offset: how many are the same, and how many are missing,
/// added, refused, of other rows and of other values.
#[track_caller]
fn check(runs: (&str, &str), candidate: (&'static str, &'static str), expected: [u64; 6]) {
    let mut bench = bench(runs, |names| builtin(names, candidate));
    let out = bench.offsets(6).expect("runs");
    let counts = shadow(&bench);
    let different = counts.different.iter().map(|counter| counter.get());
    let counted: Vec<u64> = [counts.same.get()].into_iter().chain(different).collect();
    assert_eq!(counted, expected);
    // What comes out is what comes out without it.
    let mut alone = Bench::new(modules::builtin(runs.0).expect("one").wasm, runs.1);
    assert_eq!(out, alone.offsets(6).expect("runs"));
    assert_eq!(bench.refused(), alone.refused());
    assert_eq!(bench.meter.rows_in.get(), 6);
    assert_eq!(shadow(&bench).module.rows_in.get(), 6);
    assert!(shadow(&bench).module.busy_ns.get() > 0, "it costs something");
}

#[test]
fn differences_are_counted_by_kind_and_nothing_else_happens() {
    let above = ("filter", "config = { where = 'n > 2' }");
    let twice = ("convert", "config = { set = { b = 'n * 2', c = 'n' } }");
    check(KEEPS, KEEPS, [6, 0, 0, 0, 0, 0]);
    check(above, above, [6, 0, 0, 0, 0, 0]);
    check(KEEPS, above, [3, 3, 0, 0, 0, 0]);
    check(above, KEEPS, [3, 0, 3, 0, 0, 0]);
    check(twice, KEEPS, [0, 0, 0, 0, 0, 6]);
    check(twice, ("convert", "config = { set = { b = 'n * 2', c = 'n' } }"), [6, 0, 0, 0, 0, 0]);
    // Columns in another order are the same row; 0 * 3 is 0 * 2.
    check(twice, ("convert", "config = { set = { c = 'n', b = 'n * 2' } }"), [6, 0, 0, 0, 0, 0]);
    check(twice, ("convert", "config = { set = { b = 'n * 3', c = 'n' } }"), [1, 0, 0, 0, 0, 5]);
    let route = ("route", "config = { rules = [{ where = 'n >= 4', table = 't' }] }");
    check(KEEPS, route, [4, 0, 0, 0, 0, 2]);
}

#[test]
fn what_fails_in_the_shadow_fails_there_alone() {
    let traps = keeps("", &at(&[2], "unreachable"));
    let load_it = |options: &'static str| {
        let traps = wat::parse_str(&traps).expect("the test's module");
        move |names: &Arc<Names>| -> Arc<dyn Loaded> {
            load(names, &traps, options).expect("loads").into()
        }
    };
    let mut refuses = bench(KEEPS, load_it(""));
    assert_eq!(refuses.offsets(4).expect("runs"), [0, 1, 2, 3]);
    assert!(refuses.refused().is_empty());
    let counts = shadow(&refuses);
    assert_eq!((counts.same.get(), counts.different[2].get()), (3, 1));
    assert_eq!((counts.module.traps.get(), refuses.meter.traps.get()), (1, 0));
    let mut stops = bench(KEEPS, load_it("on_failure = 'stop'"));
    for _ in 0..2 {
        assert_eq!(stops.offsets(4).expect("runs"), [0, 1, 2, 3]);
    }
    assert_eq!((shadow(&stops).stopped.get(), shadow(&stops).same.get()), (1, 0));
    assert_eq!(stops.loaded.from(), "module.wasm, in its shadow module.wasm");
}
