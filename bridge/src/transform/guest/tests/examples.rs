//! The examples of `transforms/` through the real sandbox: what goes in and what comes out.

use super::*;
use crate::modules;

fn readings(rows: &[(&'static str, f64)]) -> Vec<Vec<(&'static str, Said)>> {
    rows.iter()
        .map(|(sensor, celsius)| {
            vec![("sensor", Said::Text(sensor)), ("temperature", Said::F64(*celsius))]
        })
        .collect()
}

#[test]
fn drop_cold_keeps_what_is_warm() {
    let mut bench = Bench::new(modules::DROP_COLD, "config = { min_celsius = 15.0 }");
    let lines = bench.run(&readings(&[("a", 15.0), ("b", 14.9), ("c", 90.0)])).expect("runs");
    assert_eq!(lines, ["0.0 - sensor=\"a\" temperature=15", "2.0 - sensor=\"c\" temperature=90"]);
    let summary = bench.loaded.summary();
    assert!(summary.starts_with("abi 1, ") && summary.contains(" KB, compiled in "), "{summary}");
    let missing = load(&Arc::new(Names::default()), modules::DROP_COLD, "").err().expect("refused");
    assert!(missing.message.contains("missing field `min_celsius`"), "{missing}");
}

#[test]
fn enrich_route_computes_and_routes() {
    let mut bench = Bench::new(modules::ENRICH_ROUTE, "config = { alarm_above = 60.0 }");
    let mut rows = readings(&[("a", 100.0), ("b", 20.0)]);
    rows.push(vec![("sensor", Said::Text("c"))]);
    rows.push(vec![("temperature", Said::F64(0.0)), ("fahrenheit", Said::Text("?"))]);
    assert_eq!(
        bench.run(&rows).expect("runs"),
        [
            "0.0 alarms sensor=\"a\" temperature=100 fahrenheit=212",
            "1.0 - sensor=\"b\" temperature=20 fahrenheit=68",
            "2.0 - sensor=\"c\"",
            "3.0 - temperature=0 fahrenheit=32",
        ]
    );
}

#[test]
fn split_readings_numbers_its_rows() {
    let mut bench = Bench::new(modules::SPLIT_READINGS, "");
    let rows = [
        vec![("site", Said::Text("n")), ("m_a", Said::F64(1.0)), ("m_b", Said::F64(2.0))],
        vec![("site", Said::Text("s"))],
        vec![("m_a", Said::F64(3.0)), ("m_b", Said::Text("much")), ("site", Said::Text("x"))],
        vec![("m_a", Said::F64(4.0)), ("site", Said::Text("e"))],
    ];
    let lines = bench.run(&rows).expect("runs");
    assert_eq!(
        lines,
        [
            "0.0 - site=\"n\" metric=Symbol(\"a\") value=1",
            "0.1 - site=\"n\" metric=Symbol(\"b\") value=2",
            "3.0 - site=\"e\" metric=Symbol(\"a\") value=4",
        ]
    );
    let refused = bench.refused();
    assert_eq!(refused.len(), 1);
    assert_eq!((refused[0].0, refused[0].1), (2, Reason::RefusedByTransform));
    assert_eq!(refused[0].2, "reading b is not a number");
    assert_eq!(bench.meter.rejected.get(), 1);
}

#[test]
fn a_chain_hands_its_rows_on() {
    let mut split = Bench::new(modules::SPLIT_READINGS, "");
    let options = "module = 'e.wasm'\nconfig = { min_celsius = 2.0, column = 'value' }";
    let section = Section::new("t", options.parse().expect("TOML"));
    let loaded = load_bytes(&section, modules::DROP_COLD, &context(&split.names)).expect("loads");
    let mut warm = loaded.instance(Arc::default()).expect("starts");

    let sites = ["n", "s", "w"];
    let rows: Vec<_> = sites
        .iter()
        .enumerate()
        .map(|(index, site)| {
            let value = |n: usize| Said::F64((index + n) as f64);
            vec![("site", Said::Text(site)), ("m_a", value(0)), ("m_b", value(1))]
        })
        .collect();
    let (records, mut batch) = (records(3), split.rows(&rows));
    for transform in [&mut split.transform, &mut warm] {
        transform.apply(&records, &mut batch, &mut split.rejects).expect("runs");
    }
    let lines: Vec<_> = batch.rows.iter().map(|row| split.line(&batch, row)).collect();
    assert_eq!(
        lines,
        [
            "1.0 - site=\"s\" metric=Symbol(\"b\") value=2",
            "2.0 - site=\"w\" metric=Symbol(\"a\") value=2",
            "2.1 - site=\"w\" metric=Symbol(\"b\") value=3",
        ]
    );
}

#[test]
fn faulty_records_are_alone_in_their_fault() {
    let options = "deadline = '1s'\nmemory_max = '32MiB'";
    let mut bench = Bench::new(modules::FAULTY, options);
    let faults = ["ok", "trap", "ok", "loop", "wild", "reject", "grow", "ok", "trap", "ok"];
    let rows: Vec<_> = faults.iter().map(|fault| vec![("fault", Said::Text(fault))]).collect();
    for _ in 0..2 {
        let lines = bench.run(&rows).expect("goes on");
        assert_eq!(lines.len(), 4, "{lines:?}");
        let refused = bench.refused();
        let found: Vec<(u32, Reason)> = refused.iter().map(|found| (found.0, found.1)).collect();
        let expected = [
            (1, Reason::Trap),
            (3, Reason::Deadline),
            (4, Reason::BadAnswer),
            (5, Reason::RefusedByTransform),
            (6, Reason::Trap),
            (8, Reason::Trap),
        ];
        assert_eq!(found, expected, "{refused:?}");
        assert!(refused[4].2.contains("was refused"), "{refused:?}");
    }
    assert_eq!((bench.meter.traps.get(), bench.meter.deadlines.get()), (8, 2));
}

#[test]
fn the_module_by_hand_of_the_document_runs() {
    let document = include_str!("../../../../../transforms-sdk/ABI.md");
    let (_, module) = document.split_once("```wat\n").expect("it is there");
    let (module, _) = module.split_once("```").expect("it ends");
    let mut bench = Bench::text(module, "");
    for count in [1, 3, 1_024, 3_000] {
        assert!(bench.offsets(count).expect("runs").into_iter().eq(0..count as u32));
    }
}

#[test]
fn large_batches_are_cut_and_put_together() {
    let mut bench = Bench::new(modules::DROP_COLD, "config = { min_celsius = 15.0, column = 'n' }");
    for count in [1, 127, 128, 1023, 1024, 1025, 5000] {
        let out = bench.offsets(count).expect("runs");
        assert_eq!(out, (15..count.max(15) as u32).collect::<Vec<_>>());
    }
}

#[test]
fn a_trap_says_where_in_the_module_it_was() {
    let source = include_str!("../../../../../transforms/faulty/src/lib.rs");
    let divides = source.lines().position(|line| line.contains("7 / black_box(0)"));
    let divides = divides.expect("it is there") + 1;
    // What is inlined and merged keeps its file, and the line of some caller.
    let places = [("trap", "lib.rs:".to_owned()), ("panic", format!("lib.rs:{divides}"))];
    for (fault, place) in places {
        let mut bench = Bench::new(modules::FAULTY, "");
        bench.run(&[vec![("fault", Said::Text(fault))]]).expect("runs");
        let refused = bench.refused();
        let [(0, Reason::Trap, detail)] = refused.as_slice() else { panic!("{refused:?}") };
        assert!(detail.contains(&format!("faulty/src/{place}")), "{place}: {detail}");
    }
}

#[test]
fn modules_do_not_tell_where_they_were_built() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    let here = here.to_string_lossy();
    let all = [modules::DROP_COLD, modules::ENRICH_ROUTE, modules::SPLIT_READINGS, modules::FAULTY];
    for module in all {
        assert!(!module.windows(here.len()).any(|part| part == here.as_bytes()), "{here}");
    }
}
