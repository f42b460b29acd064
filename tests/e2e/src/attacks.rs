//! Modules that attack the fence, written as text: all keep their records but for what they do at
//! the guilty ones, and each has the end that `docs/sandbox.md` states for it.

use anyhow::{Context, Result};

/// Offsets of guilty records are a multiple of this and seven more.
pub const GUILTY_EVERY: u64 = 100;
/// What the first one adds.
const GUILTY_AT: u64 = 7;

/// How an attack ends.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// Every guilty record is a dead letter with this reason, which says this; the others go on.
    Rejected(&'static str, &'static str),
    /// So many rows are stored of each record, and none is rejected.
    Stored(u64),
}

/// A module that attacks.
pub struct Attack {
    /// What it does, and what its pipeline is called.
    pub name: &'static str,
    /// Lines of its section beside `module`.
    pub options: &'static str,
    /// How it ends.
    pub end: End,
    /// Records that it gets.
    pub records: u64,
    module: String,
}

impl Attack {
    /// The module's bytes.
    pub fn wasm(&self) -> Result<Vec<u8>> {
        wasm(&self.module).with_context(|| format!("the module of {}", self.name))
    }

    /// How many of its records are guilty.
    pub fn guilty(&self) -> u64 {
        (self.records + GUILTY_EVERY - 1 - GUILTY_AT) / GUILTY_EVERY
    }
}

/// A module's bytes out of its text.
pub fn wasm(text: &str) -> Result<Vec<u8>> {
    Ok(wat::parse_str(text)?)
}

/// A module by the contract: `head` stands at its start, `each` is done at every record `$i` that
/// lies at `$r`, when its action `$a` (keep) is written; `end` when all are.
fn module(head: &str, each: &str, end: &str) -> String {
    format!(
        r#"(module {head}
  (memory (export "memory") 4)
  (func (export "bridge_abi") (result i32) (i32.const 1))
  (func (export "bridge_alloc") (param i32) (result i32)
    (if (result i32) (i32.gt_u (local.get 0) (i32.const 0x20000))
      (then (i32.const 0)) (else (i32.const 0x20000))))
  (func (export "bridge_init") (param i32 i32) (result i32) (i32.const 8))
  (func (export "bridge_batch") (param $b i32) (result i64)
    (local $i i32) (local $r i32) (local $a i32) (local $count i32) (local $n i32)
    (local $start i64)
    (local.set $r (i32.load offset=12 (local.get $b)))
    (local.set $count (i32.load offset=8 (local.get $b)))
    (local.set $a (i32.const 1024))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $i) (local.get $count)))
      (i32.store offset=44 (local.get $b) (local.get $i))
      (i64.store (local.get $a) (i64.const 1))
      (i32.store offset=4 (local.get $a) (local.get $i))
      (i64.store offset=8 (local.get $a) (i64.const 0))
      {each}
      (local.set $a (i32.add (local.get $a) (i32.const 16)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (local.set $r (i32.add (local.get $r) (i32.const 64)))
      (br $next)))
    {end}
    (i64.or (i64.const 0x400_00000000) (i64.extend_i32_u (local.get $count)))))"#
    )
}

/// Does something at the guilty records.
fn at_guilty(what: &str) -> String {
    format!(
        "(if (i64.eq (i64.rem_u (i64.load (local.get $r)) (i64.const {GUILTY_EVERY}))
          (i64.const {GUILTY_AT})) (then {what}))"
    )
}

/// The record's action becomes a patch of cells.
fn patch(ptr: &str, len: &str) -> String {
    format!(
        "(i32.store (local.get $a) (i32.const 2))
        (i32.store offset=8 (local.get $a) (i32.const {ptr}))
        (i32.store offset=12 (local.get $a) (i32.const {len}))"
    )
}

/// An attack at every guilty record that makes it a dead letter.
fn rejected(
    name: &'static str,
    (head, what): (&str, &str),
    (reason, says): (&'static str, &'static str),
) -> Attack {
    let module = module(head, &at_guilty(what), "");
    let end = End::Rejected(reason, says);
    Attack { name, options: "deadline = \"500ms\"", end, records: 400, module }
}

/// An attack that costs nothing.
fn harmless(name: &'static str, (head, each, end): (&str, &str, &str)) -> Attack {
    let module = module(head, each, end);
    Attack { name, options: "", end: End::Stored(1), records: 400, module }
}

/// All that cost records, or nothing.
pub fn attacks() -> Vec<Attack> {
    let mut all = those_that_cost_records();
    all.extend(those_that_cost_nothing());
    all
}

fn those_that_cost_records() -> Vec<Attack> {
    const TRAP: &str = "trap";
    const BAD: &str = "bad-answer";
    let log = r#"(import "bridge" "log" (func $log (param i32 i32 i32)))"#;
    let exit = r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;
    let grow = "(loop $more (br_if $more
        (i32.ge_s (memory.grow (i32.const 16)) (i32.const 0)))) unreachable";
    let wild = patch("-8", "4000");
    let forged = format!("(i32.store (i32.const 64) (i32.const 0x0002ea60)) {}", patch("64", "1"));
    vec![
        rejected("traps", ("", "unreachable"), (TRAP, "unreachable")),
        rejected("loops", ("", "(loop $l (br $l))"), ("deadline", "not done in time")),
        rejected("recurses", ("(func $down (call $down))", "(call $down)"), (TRAP, "stack")),
        Attack {
            options: "memory_max = \"8MiB\"",
            ..rejected("grows", ("", grow), (TRAP, "after memory of 9 MiB was refused"))
        },
        rejected("exits", (exit, "(call $exit (i32.const 0))"), (TRAP, "exited with status 0")),
        rejected("answers_wildly", ("", &wild), (BAD, "outside or unaligned")),
        rejected(
            "calls_wildly",
            (log, "(call $log (i32.const 2) (i32.const -4) (i32.const 100))"),
            (TRAP, "outside the memory"),
        ),
        rejected("forges_ids", ("", &forged), (BAD, "unknown column id 60000")),
        rejected(
            "claims_a_billion_rows",
            ("", "(return (i64.const 0x400_3b9aca00))"),
            (BAD, "1000000000 actions are too many"),
        ),
    ]
}

fn those_that_cost_nothing() -> Vec<Attack> {
    let log = r#"(import "bridge" "log" (func $log (param i32 i32 i32)))
        (data (i32.const 16) "a flood of lines")"#;
    let flood = "(local.set $n (i32.const 100))
        (loop $flood
          (call $log (i32.const 2) (i32.const 16) (i32.const 16))
          (local.set $n (i32.sub (local.get $n) (i32.const 1)))
          (br_if $flood (local.get $n)))";
    let overwrite = "(memory.fill (i32.add (local.get $b) (i32.const 48)) (i32.const 0xaa)
          (i32.sub (i32.load offset=40 (local.get $b)) (i32.const 48)))
        (memory.fill (local.get $b) (i32.const 0xff) (i32.const 16))";
    // Traps where it counts more records than its own pipeline has.
    let counts = "(i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (i32.const 1)))
        (if (i32.gt_u (i32.load (i32.const 64)) (i32.const 400)) (then unreachable))";
    // Names begin with `zz`: another pipeline that sees them traps.
    let names = r#"(import "bridge" "column" (func $column (param i32 i32) (result i32)))
        (data (i32.const 80) "zz")"#;
    let intern = "(local.set $n (i32.const 100))
        (loop $more
          (i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (i32.const 1)))
          (i32.store8 (i32.const 82) (i32.or (i32.const 64) (i32.and (i32.const 31)
            (i32.load (i32.const 64)))))
          (i32.store8 (i32.const 83) (i32.or (i32.const 64) (i32.and (i32.const 31)
            (i32.shr_u (i32.load (i32.const 64)) (i32.const 5)))))
          (i32.store8 (i32.const 84) (i32.or (i32.const 64) (i32.and (i32.const 31)
            (i32.shr_u (i32.load (i32.const 64)) (i32.const 10)))))
          (i32.store8 (i32.const 85) (i32.or (i32.const 64) (i32.and (i32.const 31)
            (i32.shr_u (i32.load (i32.const 64)) (i32.const 15)))))
          (drop (call $column (i32.const 80) (i32.const 6)))
          (local.set $n (i32.sub (local.get $n) (i32.const 1)))
          (br_if $more (local.get $n)))";
    let name = r#"(import "bridge" "name" (func $name (param i32 i32 i32 i32) (result i32)))"#;
    let pry = at_guilty(
        "(local.set $n (i32.const 1))
        (loop $seek
          (i32.store16 (i32.const 64) (i32.const 0))
          (drop (call $name (i32.const 0) (local.get $n) (i32.const 64) (i32.const 64)))
          (if (i32.eq (i32.load16_u (i32.const 64)) (i32.const 0x7a7a)) (then unreachable))
          (local.set $n (i32.add (local.get $n) (i32.const 1)))
          (br_if $seek (i32.lt_u (local.get $n) (i32.const 2000))))",
    );
    vec![
        harmless("floods_the_log", (log, flood, "")),
        harmless("overwrites_its_input", ("", "", overwrite)),
        harmless("counts_alone", ("", counts, "")),
        harmless("counts_beside", ("", counts, "")),
        harmless("floods_names", (names, intern, "")),
        harmless("pries_into_names", (name, &pry, "")),
        Attack {
            name: "floods_rows",
            options: "",
            end: End::Stored(4_000),
            records: 50,
            module: floods_rows(),
        },
    ]
}

/// 4,000 rows of each record, one record a call, each with the record's own columns.
fn floods_rows() -> String {
    let flood = "(local.set $a (i32.const 1024))
        (local.set $r (i32.load offset=12 (local.get $b)))
        (loop $more
          (i64.store (local.get $a) (i64.const 3))
          (i32.store offset=8 (local.get $a) (i32.load offset=24 (local.get $r)))
          (i32.store offset=12 (local.get $a) (i32.load16_u offset=28 (local.get $r)))
          (local.set $a (i32.add (local.get $a) (i32.const 16)))
          (local.set $n (i32.add (local.get $n) (i32.const 1)))
          (br_if $more (i32.lt_u (local.get $n) (i32.const 4000))))
        (i32.store offset=16 (local.get $b) (i32.const 1))
        (local.set $count (i32.const 4000))";
    module("", "(br $done)", flood)
}

/// Takes all of the time of each call but a tenth, and keeps every record.
pub fn burns() -> Result<Vec<u8>> {
    let clock = r#"(import "wasi_snapshot_preview1" "clock_time_get"
        (func $clock (param i32 i64 i32) (result i32)))"#;
    let burn = "(drop (call $clock (i32.const 0) (i64.const 1) (i32.const 64)))
        (local.set $start (i64.load (i32.const 64)))
        (loop $burn
          (local.set $n (i32.const 100000))
          (loop $spin
            (local.set $n (i32.sub (local.get $n) (i32.const 1)))
            (br_if $spin (local.get $n)))
          (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 64)))
          (br_if $burn (i64.lt_u (i64.sub (i64.load (i32.const 64)) (local.get $start))
            (i64.const 900000000))))";
    wasm(&module(clock, "", burn))
}

/// Keeps every record.
pub fn keeps() -> Result<Vec<u8>> {
    wasm(&module("", "", ""))
}

/// Traps on everything.
pub fn fails_always() -> Result<Vec<u8>> {
    wasm(&module("", "unreachable", ""))
}

/// Modules that must not start: what each does, its bytes, and what is said of it.
pub fn no_starters() -> Result<Vec<(&'static str, Vec<u8>, &'static str)>> {
    let good = module("", "", "");
    let made = |from: &str, to: &str| wasm(&good.replacen(from, to, 1));
    let init = "(param i32 i32) (result i32) (i32.const 8)";
    let to_init = |body: &str| made(init, &format!("(param i32 i32) (result i32) {body}"));
    let start = |body: &str| made("(memory", &format!("(func $s {body}) (start $s) (memory"));
    let abi = "(func (export \"bridge_abi\") (result i32) (i32.const 1))";
    let other_type = "(func (export \"bridge_abi\") (result i64) (i64.const 1))";
    let import = "(import \"env\" \"sock_open\" (func)) (memory";
    let cold = bridge::modules::DROP_COLD;
    // No module either, but a hundred megabytes of it.
    let mut huge = b"\0asm\x01\0\0\0".to_vec();
    huge.resize(100 << 20, 0xff);
    Ok(vec![
        ("traps in init", to_init("unreachable")?, "bridge_init fails"),
        ("traps in start", start("unreachable")?, "cannot be instantiated"),
        ("loops in start", start("(loop $l (br $l))")?, "not done in time"),
        ("recurses in start", start("(call $s)")?, "stack overflow"),
        ("refuses", to_init("(i32.const -3)")?, "bridge_init answers -3"),
        ("another type", made(abi, other_type)?, "exports `bridge_abi` with another type"),
        ("no export", made(abi, "")?, "does not export `bridge_abi`"),
        ("another import", made("(memory", import)?, "not offered: env.sock_open"),
        ("another version", made(abi, &abi.replace("const 1", "const 2"))?, "version 2"),
        ("much memory", made("\"memory\") 4", "\"memory\") 1100")?, "memory_max is 16 MiB"),
        ("cut short", cold[..cold.len() / 2].to_vec(), "is no module that can run here"),
        ("100 MB", huge, "module"),
    ])
}
