//! More attacks, each with the end that `docs/sandbox.md` states for it: on the imports, on the
//! arena, on the pipeline's names, on what is told of a failure, and on the start.

use super::*;
use crate::blame::Blame;
use crate::modules;
use crate::reject::DETAIL_BYTES_MAX;

/// Runs ten records through a module that does `each` at record 4: that one is rejected, with
/// these words, and all others go on. Twice, for the instance was replaced.
fn check(module: &str, with: &str) {
    let mut bench = Bench::text(module, "");
    for _ in 0..2 {
        let out = bench.offsets(10).expect("goes on");
        assert_eq!(out, [0, 1, 2, 3, 5, 6, 7, 8, 9]);
        let refused = bench.refused();
        assert_eq!((refused.len(), refused[0].0), (1, 4), "{refused:?}");
        assert!(refused[0].2.contains(with), "{refused:?} does not say {with:?}");
    }
}

/// Everything that takes a pointer, with one that is outside.
#[test]
fn imports_check_what_they_are_pointed_to() {
    let ours = [
        ("column", "i32 i32", "(result i32)", "(drop (call $f (i32.const -9) (i32.const 8)))"),
        ("table", "i32 i32", "(result i32)", "(drop (call $f (i32.const 8) (i32.const -1)))"),
        ("topic", "i32 i32", "(result i32)", "(drop (call $f (i32.const 0x40000) (i32.const 1)))"),
        (
            "name",
            "i32 i32 i32 i32",
            "(result i32)",
            "(drop (call $f (i32.const 0) (i32.const 1) (i32.const 0x3fffc) (i32.const 8)))",
        ),
        ("fail", "i32 i32", "", "(call $f (i32.const -1) (i32.const -1))"),
        ("log", "i32 i32 i32", "", "(call $f (i32.const 0) (i32.const -1) (i32.const 2))"),
        (
            "metric",
            "i32 i32 i32 f64",
            "",
            "(call $f (i32.const 0) (i32.const -8) (i32.const 16) (f64.const 1))",
        ),
    ];
    let wasi = [
        ("clock_time_get", "i32 i64 i32", "(i32.const 0) (i64.const 0) (i32.const -4)"),
        ("random_get", "i32 i32", "(i32.const 0) (i32.const -1)"),
        // The list is inside, what it points to is not.
        ("fd_write", "i32 i32 i32 i32", "(i32.const 2) (i32.const 16) (i32.const 1) (i32.const 8)"),
        ("fd_write", "i32 i32 i32 i32", "(i32.const 2) (i32.const -8) (i32.const 9) (i32.const 8)"),
        ("fd_write", "i32 i32 i32 i32", "(i32.const 1) (i32.const 0) (i32.const 0) (i32.const -1)"),
        ("fd_fdstat_get", "i32 i32", "(i32.const 1) (i32.const 0x3fff0)"),
        ("args_sizes_get", "i32 i32", "(i32.const 0) (i32.const -2)"),
        (
            "poll_oneoff",
            "i32 i32 i32 i32",
            "(i32.const -1) (i32.const 0) (i32.const 64) (i32.const 0)",
        ),
    ];
    let wasi = wasi.map(|(name, takes, given)| {
        (name, takes, "(result i32)", format!("(drop (call $f {given}))"))
    });
    let ours = ours.map(|(name, takes, gives, call)| (name, takes, gives, call.to_owned()));
    let all = ours.into_iter().map(|one| ("bridge", one));
    for (from, (name, takes, gives, call)) in
        all.chain(wasi.into_iter().map(|one| ("wasi_snapshot_preview1", one)))
    {
        let import = format!(
            "(import \"{from}\" \"{name}\" (func $f (param {takes}) {gives}))
            (data (i32.const 16) \"\\f0\\ff\\ff\\ff\\20\\00\\00\\00\")"
        );
        check(&keeps(&import, &at(&[4], &call)), "outside the memory");
    }
}

/// Record 4's action becomes another; `$a` is where it stands.
fn acts(how: &str) -> String {
    let mark = "(call $keep (local.get $i))";
    let lie = format!(
        "{mark} (if (i64.eq (i64.load (local.get $r)) (i64.const 4)) (then
            (local.set $a (i32.add (i32.const 1024) (i32.shl (local.get $i) (i32.const 4))))
            {how}))"
    );
    keeps("", "").replace(mark, &lie).replace("(local $i i32)", "(local $i i32)(local $a i32)")
}

/// A patch of one cell at 64 that begins with this word.
fn patches(cell: &str) -> String {
    acts(&format!(
        "(i32.store (i32.const 64) (i32.const {cell}))
        (i32.store (local.get $a) (i32.const 2))
        (i32.store offset=8 (local.get $a) (i32.const 64))
        (i32.store offset=12 (local.get $a) (i32.const 1))"
    ))
}

#[test]
fn ids_that_nobody_gave_out_cost_their_record() {
    check(&patches("0x0002ffff"), "unknown column id 65535");
    // Column 1 is the only one.
    check(&patches("0x00020002"), "unknown column id 2");
    check(&acts("(i32.store16 offset=2 (local.get $a) (i32.const 1))"), "unknown table id 1");
    check(&acts("(i32.store16 offset=2 (local.get $a) (i32.const -1))"), "unknown table id 65535");
    check(&acts("(i32.store8 offset=1 (local.get $a) (i32.const 1))"), "unknown action flags 1");
    check(&acts("(i32.store offset=4 (local.get $a) (i32.const -1))"), "no such record");
    check(&patches("0x00110001"), "unknown kind 17");
    check(&patches("0x03010001"), "flags 3 mean nothing");
}

#[test]
fn what_it_wrote_over_is_checked_as_its_own() {
    // The text of the record's own cell, after the module has made it something else.
    let cell = "(i32.load offset=24 (local.get $r))";
    let own = acts(&format!(
        "(i32.store (i32.load offset=8 {cell}) (i32.const 0xff))
        (i32.store (local.get $a) (i32.const 2))
        (i32.store offset=8 (local.get $a) {cell})
        (i32.store offset=12 (local.get $a) (i32.const 1))"
    ));
    let mut bench = Bench::text(&own, "");
    let rows: Vec<_> = (0..6).map(|_| vec![("a", Said::Text("text"))]).collect();
    assert_eq!(bench.run(&rows).expect("goes on").len(), 5);
    let refused = bench.refused();
    assert!(refused[0].2.contains("column id 1: text is not UTF-8"), "{refused:?}");
    assert_eq!((refused.len(), refused[0].0, refused[0].1), (1, 4, Reason::BadAnswer));
}

#[test]
fn a_header_that_was_written_over_is_forgotten() {
    // All of it but `consumed` and `progress`: strides, counts, addresses, flags, clock.
    let module = keeps("", "").replace(
        "(i64.or (i64.const 0x400_00000000)",
        "(local.set $i (i32.load offset=8 (local.get $b)))
        (memory.fill (local.get $b) (i32.const 0xff) (i32.const 16))
        (memory.fill (i32.add (local.get $b) (i32.const 20)) (i32.const 0xff) (i32.const 24))
        (i64.or (i64.const 0x400_00000000)",
    );
    let module = module.replace("(i32.load offset=8 (local.get $b)))))", "(local.get $i))))");
    let mut bench = Bench::text(&module, "");
    for _ in 0..3 {
        assert!(bench.offsets(2_500).expect("goes on").into_iter().eq(0..2_500));
    }
    assert_eq!(bench.meter.traps.get(), 0);
}

#[test]
fn an_arena_that_is_none_costs_the_record_that_needs_it() {
    // Honest at the start; what it says when more is asked for is no place.
    for lie in ["0x3fff8", "0x20001", "-8"] {
        let module = keeps("", "").replace(
            "(then (i32.const 0)) (else (i32.const 0x20000))",
            &format!("(then (i32.const {lie})) (else (i32.const 0x20000))"),
        );
        let mut bench = Bench::text(&module, "");
        let long: &'static str = Box::leak("x".repeat(140_000).into_boxed_str());
        assert!(bench.run(&[vec![("a", Said::Text(long))]]).expect("goes on").is_empty());
        let refused = bench.refused();
        assert!(refused[0].2.contains("which is no place for it"), "{refused:?}");
        assert_eq!((refused.len(), refused[0].1), (1, Reason::BadAnswer));
        assert_eq!(bench.offsets(100).expect("goes on").len(), 100, "{lie}");
    }
}

#[test]
fn an_arena_that_fails_for_many_records_costs_none() {
    let module = keeps("", "").replace("(then (i32.const 0))", "(then unreachable)");
    let mut bench = Bench::text(&module, "");
    let text: &'static str = Box::leak("x".repeat(300).into_boxed_str());
    let rows: Vec<_> = (0..1_000).map(|_| vec![("a", Said::Text(text))]).collect();
    assert_eq!(bench.run(&rows).expect("goes on").len(), 1_000);
    assert!(bench.refused().is_empty(), "each fits into the arena that there is");
    assert!(bench.meter.replaced.get() > 0, "it was asked for more, and failed");
}

#[test]
fn tables_end_where_they_are_told_to() {
    let grows = "(drop (table.grow $t (ref.null func) (i32.const 60000)))
        (if (i32.gt_u (table.size $t) (i32.const 65536))
            (then (i32.store (i32.const -1) (i32.const 0))))
        (if (i32.lt_s (table.grow $t (ref.null func) (i32.const 60000)) (i32.const 0))
            (then unreachable))";
    let module = keeps("", &at(&[4], grows)).replace("(memory", "(table $t 1 funcref) (memory");
    check(&module, "unreachable");
    let much = keeps("", "").replace("(memory", "(table 70000 funcref) (memory");
    let bytes = wat::parse_str(&much).expect("the test's module");
    let fault = load(&Arc::new(Names::default()), &bytes, "").err().expect("refused");
    assert_eq!(fault.blame, Blame::Operator, "{fault}");
}

/// Interns a hundred new names a record, as columns.
fn names_without_end() -> String {
    let each = "(local.set $n (i32.const 100))
        (loop $more
            (i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (i32.const 1)))
            (local.set $k (i32.const 0))
            (loop $digit
                (i32.store8 offset=80 (local.get $k) (i32.add (i32.const 97) (i32.and (i32.const 15)
                    (i32.shr_u (i32.load (i32.const 64)) (i32.mul (i32.const 4) (local.get $k))))))
                (local.set $k (i32.add (local.get $k) (i32.const 1)))
                (br_if $digit (i32.lt_u (local.get $k) (i32.const 8))))
            (drop (call $column (i32.const 80) (i32.const 8)))
            (local.set $n (i32.sub (local.get $n) (i32.const 1)))
            (br_if $more (local.get $n)))";
    keeps("(import \"bridge\" \"column\" (func $column (param i32 i32) (result i32)))", each)
        .replace("(local $i i32)", "(local $i i32) (local $n i32) (local $k i32)")
}

#[test]
fn names_without_end_are_refused_to_the_module() {
    let mut bench = Bench::text(&names_without_end(), "");
    for _ in 0..2 {
        assert!(bench.offsets(400).expect("goes on").into_iter().eq(0..400));
    }
    assert_eq!(bench.names.columns.count(), crate::names::COLUMN_NAMES_MAX);
    assert!(bench.names.columns.find("n").is_some(), "what records have keeps its name");
    assert!(bench.refused().is_empty());
}

#[test]
fn a_reason_without_end_is_cut() {
    let rejects = keeps("", "").replace(
        "(call $keep (local.get $i))",
        "(call $keep (local.get $i))
        (local.set $a (i32.add (i32.const 1024) (i32.shl (local.get $i) (i32.const 4))))
        (i32.store (local.get $a) (i32.const 4))
        (i32.store offset=8 (local.get $a) (i32.const 0x8000))
        (i32.store offset=12 (local.get $a) (i32.const 0x4000))",
    );
    let data = format!("(data (i32.const 0x8000) \"{}\") (memory", "é".repeat(0x2000));
    let module = rejects.replace("(local $i i32)", "(local $i i32) (local $a i32)");
    let module = module.replace("(memory", &data);
    let mut bench = Bench::text(&module, "");
    assert!(bench.offsets(1_000).expect("goes on").is_empty());
    let held: usize = bench.rejects.found.iter().map(|(.., detail)| detail.capacity()).sum();
    assert!(held <= 1_000 * DETAIL_BYTES_MAX, "{held} bytes of reasons wait");
    let refused = bench.refused();
    assert_eq!(refused.len(), 1_000);
    assert!(refused.iter().all(|(.., detail)| detail.chars().all(|c| c == 'é')));
}

#[test]
fn output_without_a_line_break_is_bounded() {
    let write = "(import \"wasi_snapshot_preview1\" \"fd_write\"
            (func $write (param i32 i32 i32 i32) (result i32)))
        (data (i32.const 16) \"\\00\\80\\00\\00\\00\\80\\00\\00\")";
    let each = "(drop (call $write (i32.const 2) (i32.const 16) (i32.const 1) (i32.const 8)))";
    let module = keeps(write, &format!("{each} {}", at(&[4], "unreachable")))
        .replace("(memory", "(data (i32.const 0x8000) \"xxxx\") (memory");
    let mut bench = Bench::text(&module, "");
    assert_eq!(bench.offsets(10).expect("goes on").len(), 9);
    let refused = bench.refused();
    assert_eq!((refused.len(), refused[0].0), (1, 4));
    assert!(refused[0].2.len() <= DETAIL_BYTES_MAX, "{} bytes", refused[0].2.len());
}

#[test]
fn a_module_that_starts_only_so_often_stops_the_pipeline() {
    // Names outlive instances: this one counts its starts in them, and refuses the fourth.
    let init = "(local $n i32)
        (i32.store8 (i32.const 32) (i32.const 97))
        (loop $seek
            (i32.store8 (i32.const 32) (i32.add (i32.load8_u (i32.const 32)) (i32.const 1)))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $seek (i32.ge_s (call $name (i32.const 1) (local.get $n) (i32.const 64)
                (i32.const 8)) (i32.const 0))))
        (if (i32.gt_u (local.get $n) (i32.const 3)) (then unreachable))
        (drop (call $table (i32.const 32) (i32.const 1)))
        (i32.const 8)";
    let imports = "(import \"bridge\" \"table\" (func $table (param i32 i32) (result i32)))
        (import \"bridge\" \"name\" (func $name (param i32 i32 i32 i32) (result i32)))";
    let module = keeps(imports, &at(&[3, 6], "unreachable"));
    let module = module.replacen("(i32.const 8))", &format!("{init})"), 1);
    let mut bench = Bench::text(&module, "");
    let fault = bench.offsets(10).expect_err("stops");
    assert_eq!(fault.blame, Blame::Operator, "{fault}");
    assert!(fault.message.contains("cannot be started again: bridge_init fails"), "{fault}");
}

#[test]
fn a_module_cut_anywhere_is_refused_or_whole() {
    let whole = wat::parse_str(keeps("", "")).expect("the test's module");
    let names = Arc::new(Names::default());
    let mut loads = 0;
    for end in 0..whole.len() {
        match load(&names, &whole[..end], "") {
            Err(fault) => assert_eq!(fault.blame, Blame::Operator, "{end} bytes: {fault}"),
            // Names of functions come last, and may be missing.
            Ok(_) => loads += 1,
        }
    }
    assert!(loads <= 1, "{loads} pieces of a module load");
}

#[test]
fn damaged_tables_of_lines_cost_nothing_but_the_place() {
    let whole = modules::FAULTY;
    let section = |name: &[u8]| {
        let at = whole.windows(name.len()).position(|bytes| bytes == name);
        at.expect("the example has its lines") + name.len()
    };
    let names = [&b".debug_info"[..], b".debug_line", b".debug_abbrev", b".debug_str"];
    for (round, start) in names.map(section).into_iter().cycle().take(12).enumerate() {
        let mut module = whole.to_vec();
        let round = round as u8;
        for (index, byte) in module[start..start + 400].iter_mut().enumerate() {
            if (index as u8).is_multiple_of(3 + round) {
                *byte = byte.wrapping_mul(31).wrapping_add(17 + round);
            }
        }
        let mut bench = Bench::new(&module, "");
        let rows = ["ok", "trap", "panic", "ok"].map(|fault| vec![("fault", Said::Text(fault))]);
        assert_eq!(bench.run(&rows).expect("goes on").len(), 2, "round {round}");
        let reasons: Vec<_> = bench.refused().into_iter().map(|found| (found.0, found.1)).collect();
        assert_eq!(reasons, [(1, Reason::Trap), (2, Reason::Trap)]);
    }
}

#[test]
fn the_deepest_expressions_fit_into_the_sandbox() {
    let nested = format!("{}n > 0{}", "(".repeat(90), ")".repeat(90));
    let negated = format!("{}(n < 0)", "not ".repeat(91));
    let sum = format!("n{} >= 0", " + n".repeat(250));
    let calls = format!("{}n{} >= 0", "abs(".repeat(45), ")".repeat(45));
    let wide = format!("n >= 0{}", " and n >= 0".repeat(1_000));
    for condition in [nested, negated, sum, calls, wide] {
        let options = format!("config = {{ where = \"{condition}\" }}");
        let filter = modules::builtin("filter").expect("it comes along");
        let mut bench = Bench::new(filter.wasm, &options);
        let out = bench.offsets(3).unwrap_or_else(|fault| panic!("{condition}: {fault}"));
        assert!(out.len() >= 2, "{condition}: {:?}", bench.refused());
        assert!(bench.refused().is_empty(), "{condition}");
    }
}
