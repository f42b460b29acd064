//! Modules that trap, loop, lie, flood and grow: each costs the guilty record, or stops the
//! pipeline with the operator at fault, and nothing else.

use super::*;
use crate::blame::Blame;

fn all_but(count: u32, out: &[u32]) -> Vec<u32> {
    (0..count).filter(|offset| !out.contains(offset)).collect()
}

/// Runs records through a module with faults; those at `guilty` are refused, no others.
fn check(module: &str, options: &str, count: u32, guilty: &[u32], reason: Reason, with: &str) {
    let mut bench = Bench::text(module, options);
    for _ in 0..2 {
        let out = bench.offsets(count as usize).expect("goes on");
        let refused = bench.refused();
        let offsets: Vec<u32> = refused.iter().map(|(offset, ..)| *offset).collect();
        assert_eq!(offsets, guilty, "{refused:?}");
        assert_eq!(out, all_but(count, guilty));
        for (_, found, detail) in refused {
            assert_eq!(found, reason, "{detail}");
            assert!(detail.contains(with), "{detail:?} does not say {with:?}");
        }
    }
}

const DIVIDE: &str = "(drop (i32.div_u (i32.const 1) (i32.load8_u (i32.const 0))))";

#[test]
fn a_trap_costs_its_record() {
    let with = "module: trap: integer divide by zero";
    check(&keeps("", &at(&[7], DIVIDE)), "", 40, &[7], Reason::Trap, with);
    check(&keeps("", &at(&[0, 1, 39], DIVIDE)), "", 40, &[0, 1, 39], Reason::Trap, with);
    check(&keeps("", &at(&[5, 2000], DIVIDE)), "", 3000, &[5, 2000], Reason::Trap, with);
    check(&keeps("", &at(&[0], DIVIDE)), "", 1, &[0], Reason::Trap, "zero in function 4");
}

#[test]
fn who_lies_about_progress_is_halved() {
    for lie in ["0", "3", "39", "40", "-1"] {
        let liar = keeps("", &at(&[7, 30], DIVIDE)).replace(
            "(i32.store offset=44 (local.get $b) (local.get $i))",
            &format!("(i32.store offset=44 (local.get $b) (i32.const {lie}))"),
        );
        check(&liar, "", 40, &[7, 30], Reason::Trap, "integer divide by zero");
    }
}

#[test]
fn an_endless_loop_costs_its_record() {
    let module = keeps("", &at(&[3, 9], "(loop $forever (br $forever))"));
    check(&module, "deadline = '500ms'", 12, &[3, 9], Reason::Deadline, "not done in time");
}

#[test]
fn an_exit_and_an_abort_are_traps_with_their_words() {
    let exit = keeps(
        "(import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))",
        &at(&[4], "(call $exit (i32.const 2))"),
    );
    check(&exit, "", 9, &[4], Reason::Trap, "exited with status 2");
    let abort = keeps(
        "(import \"env\" \"abort\" (func $abort (param i32 i32 i32 i32)))
        (data (i32.const 16) \"\\06\\00\\00\\00b\\00a\\00d\\00\")",
        &at(&[4], "(call $abort (i32.const 20) (i32.const 0) (i32.const 3) (i32.const 5))"),
    );
    check(&abort, "", 9, &[4], Reason::Trap, "bad at :3:5");
    let panic = keeps(
        "(import \"wasi_snapshot_preview1\" \"fd_write\"
            (func $write (param i32 i32 i32 i32) (result i32)))
        (data (i32.const 16) \"\\18\\00\\00\\00\\0d\\00\\00\\00panic: oh no\\n\")",
        &at(
            &[4],
            "(drop (call $write (i32.const 2) (i32.const 16) (i32.const 1) (i32.const 8)))
            unreachable",
        ),
    );
    check(&panic, "", 9, &[4], Reason::Trap, "panic: oh no");
    let wild = keeps(
        "(import \"bridge\" \"fail\" (func $fail (param i32 i32)))",
        &at(&[4], "(call $fail (i32.const -4) (i32.const 100))"),
    );
    check(&wild, "", 9, &[4], Reason::Trap, "outside the memory");
}

#[test]
fn wrong_answers_cost_their_record() {
    // Patches the action of the record before it is overwritten: the last word is the guest's.
    let wrong = |offset: u32, value: &str| {
        let to = 1024 + offset * 16;
        let write = format!("(i32.store (i32.const {to}) (i32.const {value}))");
        keeps("", "").replace(
            "(i64.or (i64.const 0x400_00000000)",
            &format!(
                "(if (i32.ge_u (i32.load offset=8 (local.get $b)) (i32.const 10)) (then {write}))
                (i64.or (i64.const 0x400_00000000)"
            ),
        )
    };
    // Only whole calls are wrong, and no record alone is: all of them go through.
    for kind in ["0", "6", "0x101", "0x50001", "2 (;patch;)", "5 (;emit;)"] {
        if !kind.starts_with('2') {
            check(&wrong(4, kind), "", 10, &[], Reason::BadAnswer, "");
        }
    }
    let wild = |action: &str| {
        let mark = "(call $keep (local.get $i))";
        let lie = format!(
            "{mark} (if (i64.eq (i64.load (local.get $r)) (i64.const 4)) (then
                (local.set $a (i32.add (i32.const 1024) (i32.shl (local.get $i) (i32.const 4))))
                {action}))"
        );
        keeps("", "").replace(mark, &lie).replace("(local $i i32)", "(local $i i32)(local $a i32)")
    };
    let patch = |ptr: &str, len: &str| {
        wild(&format!(
            "(i32.store (local.get $a) (i32.const 2))
            (i32.store offset=8 (local.get $a) (i32.const {ptr}))
            (i32.store offset=12 (local.get $a) (i32.const {len}))"
        ))
    };
    let bad = Reason::BadAnswer;
    check(&patch("0x3fff8", "1"), "", 10, &[4], bad, "outside or unaligned");
    check(&patch("-8", "4000"), "", 10, &[4], bad, "outside or unaligned");
    check(&patch("9", "1"), "", 10, &[4], bad, "outside or unaligned");
    check(&patch("0", "-1"), "", 10, &[4], bad, "more cells are too many");
    check(&patch("64", "1"), "", 10, &[4], bad, "unknown column id 0");
    check(&wild("(i32.store (local.get $a) (i32.const 9))"), "", 10, &[4], bad, "unknown action 9");
    check(
        &wild("(i32.store offset=4 (local.get $a) (i32.const 77))"),
        "",
        10,
        &[4],
        bad,
        "no such record",
    );
}

/// A module that is wrong about every call: ten records are rejected; a hundred in a row stop the
/// pipeline, so that no topic is emptied into the dead letters.
fn check_all_wrong(batch: &str, reason: Reason, with: &str) {
    let module = answers("", "(i32.const 8)", batch);
    let brief = if reason == Reason::Deadline { "deadline = '20ms'" } else { "" };
    let mut bench = Bench::text(&module, brief);
    assert!(bench.offsets(10).expect("goes on").is_empty());
    let refused = bench.refused();
    assert_eq!(refused.len(), 10);
    for (_, found, detail) in &refused {
        assert_eq!(*found, reason, "{detail}");
        assert!(detail.contains(with), "{detail:?} does not say {with:?}");
    }
    assert!(bench.offsets(10).expect("goes on").is_empty());
    let fault = bench.offsets(1000).expect_err("stops");
    assert_eq!(fault.blame, Blame::Operator);
    assert!(fault.message.contains("failed on 100 records one after the other"), "{fault}");
    assert!(fault.message.contains(with), "{fault}");
}

#[test]
fn a_module_that_fails_on_everything_stops_the_pipeline() {
    check_all_wrong("unreachable", Reason::Trap, "unreachable");
    check_all_wrong("(i64.const -1)", Reason::BadAnswer, "4294967295 actions are too many");
    check_all_wrong("(i64.const 0x1_00000001)", Reason::BadAnswer, "outside or unaligned");
    check_all_wrong("(i64.const 0x7ffffff8_00000400)", Reason::BadAnswer, "outside or unaligned");
    let consumed = "(i32.store offset=16 (local.get $b) (i32.const 0)) (i64.const 0)";
    check_all_wrong(consumed, Reason::BadAnswer, "consumed is 0");
    let consumed = "(i32.store offset=16 (local.get $b) (i32.const -1)) (i64.const 0)";
    check_all_wrong(consumed, Reason::BadAnswer, "consumed is 4294967295");
    let twice = "(call $keep (i32.const 0)) (i32.store (i32.const 1040) (i32.const 1))
        (i32.store (i32.const 1044) (i32.const 0)) (i64.const 0x400_00000002)";
    check_all_wrong(twice, Reason::BadAnswer, "already had a keep");
}

#[test]
fn a_loop_over_everything_stops_the_pipeline() {
    check_all_wrong("(loop $l (br $l)) (i64.const 0)", Reason::Deadline, "not done in time");
}

#[test]
fn records_that_fail_only_together_all_go_through() {
    // Breaks on its second call, and on more than seven records.
    let module = keeps("(global $calls (mut i32) (i32.const 0))", "").replace(
        "(local.set $r (i32.load offset=12",
        "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (if (i32.gt_u (global.get $calls) (i32.const 1)) (then unreachable))
        (if (i32.gt_u (i32.load offset=8 (local.get $b)) (i32.const 7)) (then unreachable))
        (local.set $r (i32.load offset=12",
    );
    check(&module, "", 50, &[], Reason::Trap, "");
}

#[test]
fn what_the_guest_does_to_its_input_does_not_show() {
    let module = keeps("", "").replace(
        "(i64.or (i64.const 0x400_00000000)",
        "(local.set $i (i32.load offset=8 (local.get $b)))
        (memory.fill (i32.add (local.get $b) (i32.const 48)) (i32.const 0xaa) (i32.const 5000))
        (i64.or (i64.const 0x400_00000000)",
    );
    let mut bench = Bench::text(&module, "");
    let lines = bench.run(&[vec![("a", Said::Text("x"))], vec![("n", Said::F64(1.5))]]);
    assert_eq!(lines.expect("runs"), ["0.0 - a=\"x\"", "1.0 - n=1.5"]);
}

#[test]
fn memory_ends_where_it_is_told_to() {
    let module = keeps(
        "",
        &at(
            &[6],
            "(loop $more (br_if $more
                (i32.ge_s (memory.grow (i32.const 16)) (i32.const 0)))) unreachable",
        ),
    );
    let options = "memory_max = '8MiB'";
    check(&module, options, 20, &[6], Reason::Trap, "after memory of 9 MiB was refused");
    let mut bench = Bench::text(&module, options);
    bench.offsets(20).expect("runs");
    assert!(bench.meter.memory_bytes.get() <= 8 << 20);
}

#[test]
fn an_instance_that_has_grown_is_replaced() {
    let module = keeps("", &at(&[5], "(drop (memory.grow (i32.const 20)))"));
    let mut bench = Bench::text(&module, "memory_max = '8MiB'");
    for _ in 0..20 {
        assert_eq!(bench.offsets(6).expect("runs").len(), 6);
    }
    let replaced = bench.meter.replaced.get();
    assert!((4..=9).contains(&replaced), "{replaced}");
    assert_eq!(bench.meter.traps.get(), 0);
}

#[test]
fn stopping_early_is_going_on() {
    let module = keeps("", "").replace(
        "(i64.or (i64.const 0x400_00000000)",
        "(i32.store offset=16 (local.get $b) (i32.const 1)) (i64.const 0x400_00000001)
        (drop) (i64.or (i64.const 0x400_00000000)",
    );
    // One record of each call is consumed, and its action is the only one that may be there.
    let module =
        module.replace("(i64.extend_i32_u (i32.load offset=8 (local.get $b)))", "(i64.const 1)");
    assert_eq!(Bench::text(&module, "").offsets(300).expect("runs"), all_but(300, &[]));
}

#[test]
fn a_flood_of_lines_and_metrics_is_bounded() {
    let module = keeps(
        "(import \"bridge\" \"log\" (func $log (param i32 i32 i32)))
        (import \"bridge\" \"metric\" (func $metric (param i32 i32 i32 f64)))
        (import \"bridge\" \"column\" (func $column (param i32 i32) (result i32)))
        (data (i32.const 16) \"seen_records\")",
        "(local.set $n (i32.const 200))
        (loop $flood
            (call $log (i32.const 2) (i32.const 0) (i32.const 0x20000))
            (drop (call $column (i32.const 16) (i32.const 12)))
            (call $metric (i32.const 0) (i32.const 16) (i32.sub (i32.const 12) (local.get $n))
                (f64.const 1))
            (local.set $n (i32.sub (local.get $n) (i32.const 1)))
            (br_if $flood (local.get $n)))
        (call $metric (i32.const 0) (i32.const 16) (i32.const 12) (f64.const 1))",
    )
    .replace("(local $i i32)", "(local $i i32) (local $n i32)");
    // A negative length is a pointer outside, which ends the call: take it out first.
    let module = module.replace("(i32.sub (i32.const 12) (local.get $n))", "(i32.const 12)");
    let mut bench = Bench::text(&module, "");
    assert_eq!(bench.offsets(100).expect("runs").len(), 100);
    let own = bench.meter.own.lock().expect("whole").clone();
    assert_eq!(own.len(), 1);
    assert_eq!((own[0].name.as_str(), own[0].value), ("seen_records", 100.0 * 201.0));
}

#[test]
fn what_a_call_said_counts_once() {
    let module = keeps(
        "(import \"bridge\" \"metric\" (func $metric (param i32 i32 i32 f64)))
        (data (i32.const 16) \"seen\")",
        &format!(
            "(call $metric (i32.const 0) (i32.const 16) (i32.const 4) (f64.const 1)) {}",
            at(&[7, 20], DIVIDE)
        ),
    );
    let mut bench = Bench::text(&module, "");
    assert_eq!(bench.offsets(40).expect("runs").len(), 38);
    assert_eq!(bench.meter.own.lock().expect("whole")[0].value, 38.0);
    assert_eq!(bench.meter.traps.get(), 2);
    assert_eq!((bench.meter.rows_in.get(), bench.meter.rows_out.get()), (40, 38));
}

#[test]
fn on_failure_stop_names_the_record() {
    let mut bench = Bench::text(&keeps("", &at(&[7], DIVIDE)), "on_failure = 'stop'");
    let fault = bench.offsets(40).expect_err("stops");
    assert_eq!(fault.blame, Blame::Operator);
    assert!(fault.message.contains("transform module failed on sensors/3@7: trap: integer"));
}

#[test]
fn on_failure_bypass_lets_records_through() {
    let mut bench = Bench::text(&keeps("", &at(&[7], DIVIDE)), "on_failure = 'bypass'");
    assert_eq!(bench.offsets(40).expect("goes on"), all_but(40, &[]));
    assert!(bench.refused().is_empty());
    let module = answers("", "(i32.const 8)", "unreachable");
    let mut bench = Bench::text(&module, "on_failure = 'bypass'");
    for _ in 0..10 {
        assert_eq!(bench.offsets(3000).expect("goes on"), all_but(3000, &[]));
    }
    // One instance for each of the first hundred and few after: it is passed by.
    assert!(bench.meter.traps.get() < 110, "{}", bench.meter.traps.get());
}

#[test]
fn a_record_too_large_for_the_arena_is_refused() {
    // Close to the whole arena, and not alone in its batch: it goes through.
    let mut bench = Bench::text(&keeps("", ""), "");
    let most: &'static str = Box::leak("x".repeat(120_000).into_boxed_str());
    let mut rows = vec![vec![("a", Said::Text("x"))]; 300];
    rows[150] = vec![("a", Said::Text(most))];
    assert_eq!(bench.run(&rows).expect("runs").len(), 300);
    assert!(bench.refused().is_empty());
    let long: &'static str = Box::leak("x".repeat(200_000).into_boxed_str());
    let rows = [vec![("a", Said::Text("x"))], vec![("a", Said::Text(long))], vec![]];
    assert_eq!(bench.run(&rows).expect("runs"), ["0.0 - a=\"x\"", "2.0 -"]);
    let refused = bench.refused();
    assert_eq!((refused.len(), refused[0].0, refused[0].1), (1, 1, Reason::TooLarge));
}

#[test]
fn a_deterministic_guest_has_a_constant_clock() {
    let module = keeps(
        "(import \"wasi_snapshot_preview1\" \"clock_time_get\"
            (func $clock (param i32 i64 i32) (result i32)))
        (import \"wasi_snapshot_preview1\" \"random_get\"
            (func $random (param i32 i32) (result i32)))
        (import \"bridge\" \"metric\" (func $metric (param i32 i32 i32 f64)))
        (data (i32.const 16) \"timechance\")",
        "(drop (call $clock (i32.const 0) (i64.const 1) (i32.const 64)))
        (drop (call $random (i32.const 80) (i32.const 5)))
        (drop (call $random (i32.const 72) (i32.const 8)))
        (call $metric (i32.const 1) (i32.const 16) (i32.const 4)
            (f64.convert_i64_u (i64.load (i32.const 64))))
        (call $metric (i32.const 1) (i32.const 20) (i32.const 6)
            (f64.convert_i64_u (i64.load (i32.const 72))))",
    );
    // Batches are cut elsewhere at a replay: how often something was drawn before is nothing.
    let values_at = |options: &str, batches: usize| {
        let mut bench = Bench::text(&module, options);
        for _ in 0..batches {
            bench.offsets(1).expect("runs");
        }
        let own = bench.meter.own.lock().expect("whole");
        own.iter().map(|metric| metric.value).collect::<Vec<_>>()
    };
    let values = |options: &str| values_at(options, 1);
    assert_eq!(values("deterministic = true"), values("deterministic = true"));
    assert_eq!(values("deterministic = true"), values_at("deterministic = true", 3));
    assert_eq!(values("deterministic = true")[0], 1e18);
    let (a, b) = (values(""), values(""));
    assert!(a[0] > 1e18 && a[0] < b[0] && a[1] != b[1], "{a:?} {b:?}");
}

/// Makes 4,000 rows without columns of each record, one record a call.
fn floods() -> String {
    answers(
        "",
        "(i32.const 8)",
        "(local $i i32)
        (loop $next
            (i32.store offset=1024 (i32.shl (local.get $i) (i32.const 4)) (i32.const 3))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $i) (i32.const 4000))))
        (i32.store offset=16 (local.get $b) (i32.const 1))
        (i64.const 0x400_00000fa0)",
    )
}

#[test]
fn a_flood_of_rows_comes_in_portions() {
    const ROOM: usize = 1 << 20;
    let mut bench = Bench::text(&floods(), "");
    let rows: Vec<_> = (0..300).map(|n| vec![("n", Said::F64(f64::from(n)))]).collect();
    let mut batch = bench.rows(&rows);
    batch.room = Some(ROOM);
    let (records, mut made, mut portions) = (records(300), 0, 0);
    loop {
        bench.transform.apply(&records, &mut batch, &mut bench.rejects).expect("goes on");
        let bytes = batch.rows.len() * size_of::<Row>();
        assert!(bytes < ROOM + 4_000 * size_of::<Row>(), "{bytes}");
        assert!(batch.rows.iter().zip(0u32..).all(|(row, at)| row.number == at % 4_000));
        made += batch.rows.len();
        portions += 1;
        if batch.rest.is_empty() {
            break;
        }
        batch.rows = std::mem::take(&mut batch.rest);
    }
    assert_eq!(made, 300 * 4_000);
    assert!(portions > 10, "{portions}");
    assert_eq!((bench.meter.rows_in.get(), bench.meter.rows_out.get()), (300, 1_200_000));
    assert!(bench.refused().is_empty());
}

#[test]
fn a_record_that_becomes_too_much_is_refused_alone() {
    let mut bench = Bench::text(&floods(), "");
    let mut batch = bench.rows(&[vec![], vec![], vec![]]);
    // In a chain the transform before made a thousand rows of the record in the middle.
    let row = batch.rows[1];
    batch.rows.splice(1..2, (0..1_000).map(|number| Row { number, ..row }));
    batch.room = Some(1 << 20);
    let mut sources = Vec::new();
    loop {
        bench.transform.apply(&records(3), &mut batch, &mut bench.rejects).expect("goes on");
        bench.rejects.prune(&mut batch);
        sources.extend(batch.rows.iter().map(|row| row.source));
        if batch.rest.is_empty() {
            break;
        }
        batch.rows = std::mem::take(&mut batch.rest);
    }
    sources.dedup();
    assert_eq!(sources, [0, 2]);
    let refused = bench.refused();
    assert!(refused[0].2.contains("more than 32 MiB of rows"), "{refused:?}");
    assert_eq!((refused.len(), refused[0].0, refused[0].1), (1, 1, Reason::TooLarge));
}

#[test]
fn a_recursion_without_end_costs_its_record() {
    let module = keeps("", &at(&[4, 5], "(call $down)"))
        .replace("(memory", "(func $down (call $down)) (memory");
    check(&module, "", 12, &[4, 5], Reason::Trap, "stack overflow");
}

#[test]
fn instances_share_nothing() {
    // Counts records in its memory, and traps where another's count would show.
    let counts = "(i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (i32.const 1)))
        (if (i32.gt_u (i32.load (i32.const 64)) (i32.const 100)) (then unreachable))";
    let mut first = Bench::text(&keeps("", counts), "");
    let mut second = first.loaded.instance(Arc::clone(&first.meter)).expect("starts");
    assert_eq!(first.offsets(100).expect("runs").len(), 100);
    let rows: Vec<_> = (0..100).map(|n| vec![("n", Said::F64(f64::from(n)))]).collect();
    let mut batch = first.rows(&rows);
    second.apply(&records(100), &mut batch, &mut first.rejects).expect("runs");
    assert_eq!((batch.rows.len(), first.meter.traps.get()), (100, 0));
    // And one that trapped takes what it knew with it.
    assert_eq!(first.offsets(1).expect("runs").len(), 1);
    assert!(first.refused().is_empty());
}
