//! What is refused before the first record: by name, as the operator's fault.

use super::*;
use crate::blame::Blame;

fn refused(module: &str, options: &str, with: &str) {
    let bytes = wat::parse_str(module).expect("the test's module");
    let fault = match load(&Arc::new(Names::default()), &bytes, options) {
        Ok(_) => panic!("it loads, and should say {with:?}"),
        Err(fault) => fault,
    };
    assert_eq!(fault.blame, Blame::Operator, "{fault}");
    assert!(fault.to_string().contains(with), "{fault} does not say {with:?}");
}

#[test]
fn imports_are_refused_by_name() {
    let import = |import: &str| keeps(import, "");
    let say = "transform module.wasm needs an import that is not offered: env.sock_open";
    refused(&import("(import \"env\" \"sock_open\" (func))"), "", say);
    refused(&import("(import \"env\" \"sock_open\" (func))"), "", "bridge.{column,table,topic");
    refused(&import("(import \"bridge\" \"steal\" (func))"), "", "not offered: bridge.steal");
    refused(
        &import("(import \"wasi_snapshot_preview1\" \"fd_invent\" (func (result i32)))"),
        "",
        "not offered: wasi_snapshot_preview1.fd_invent",
    );
    refused(&import("(import \"env\" \"g\" (global i32))"), "", "not offered: env.g");
    refused(&import("(import \"bridge\" \"column\" (func))"), "", "with another type");
    refused(&import("(import \"bridge\" \"log\" (global i32))"), "", "with another type");
}

#[test]
fn all_of_wasi_links_and_nothing_gets_out() {
    let module = keeps(
        "(import \"wasi_snapshot_preview1\" \"path_open\"
            (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (import \"wasi_snapshot_preview1\" \"fd_prestat_get\"
            (func $prestat (param i32 i32) (result i32)))",
        "(if (i32.ne (i32.const 76) (call $open (i32.const 3) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 0)))
            (then unreachable))
        (if (i32.ne (i32.const 8) (call $prestat (i32.const 3) (i32.const 0)))
            (then unreachable))",
    );
    assert_eq!(Bench::text(&module, "").offsets(3).expect("runs"), [0, 1, 2]);
}

#[test]
fn exports_must_be_there_and_of_their_type() {
    let good = keeps("", "");
    refused(&good.replace("bridge_batch", "bridge_botch"), "", "does not export `bridge_batch`");
    refused(&good.replace("\"memory\"", "\"memento\""), "", "exports no `memory`");
    refused(
        &good.replace("(func (export \"bridge_abi\") (result i32) (i32.const 1))", ""),
        "",
        "does not export `bridge_abi`",
    );
    let other = good.replace(
        "(func (export \"bridge_abi\") (result i32) (i32.const 1))",
        "(func (export \"bridge_abi\") (result i64) (i64.const 1))",
    );
    refused(&other, "", "exports `bridge_abi` with another type");
    let global = "(global (export \"_initialize\") i32 (i32.const 0))";
    refused(&good.replace("(memory", &format!("{global}(memory")), "", "`_initialize` with");
    let tick = "(func (export \"bridge_tick\"))";
    refused(&good.replace("(memory", &format!("{tick}(memory")), "", "`bridge_tick`");
    refused(&good.replace("\"memory\") 4", "\"memory\") 1100"), "", "memory_max is 16 MiB");
    refused(&good.replace("\"memory\") 4", "\"memory\") i64 4"), "", "no module");
    refused(&good.replace("(memory", "(memory 1)(memory"), "", "no module");
}

#[test]
fn the_start_is_watched() {
    let good = keeps("", "");
    let start = |body: &str| good.replace("(memory", &format!("(func $s {body})(start $s)(memory"));
    refused(&start("unreachable"), "", "does not start: cannot be instantiated: ");
    refused(&start("unreachable"), "", "unreachable");
    refused(&start("(loop (br 0))"), "deadline = '20ms'", "not done in time");
    refused(&start("(call $s)"), "", "stack overflow");
    let initialize = |body: &str| {
        good.replace("(memory", &format!("(func (export \"_initialize\") {body})(memory"))
    };
    refused(&initialize("unreachable"), "", "_initialize fails");
    let init = |body: &str| answers("", body, "(i64.const 0)");
    refused(&init("unreachable"), "", "bridge_init fails: ");
    refused(&init("(loop (br 0)) (i32.const 0)"), "deadline = '20ms'", "not done in time");
    refused(&init("(i32.const -3)"), "", "bridge_init answers -3");
    refused(&init("(i32.const 0x8000)"), "", "bits that mean nothing: 0x8000");
    for version in [0, 2, 7, -1] {
        let abi = format!("(result i32) (i32.const {version}))");
        let abi = good.replace("(result i32) (i32.const 1))", &abi);
        refused(&abi, "", &format!("is made for version {version} of the contract, not for 1"));
    }
    let alloc = |answer: &str| good.replace("(else (i32.const 0x20000))", answer);
    refused(&alloc("(else (i32.const 0))"), "", "no room for");
    refused(&alloc("(else (i32.const 0x20001))"), "", "no place for it");
    refused(&alloc("(else (i32.const 0x3fff8))"), "", "no place for it");
    refused(&alloc("(else (i32.const -8))"), "", "no place for it");
}

#[test]
fn a_refusal_says_why() {
    let module = answers(
        "(import \"bridge\" \"fail\" (func $fail (param i32 i32)))
        (data (i32.const 16) \"no threshold\")",
        "(call $fail (i32.const 16) (i32.const 12)) (i32.const -1)",
        "(i64.const 0)",
    );
    refused(&module, "", "transform module.wasm does not start: no threshold");
}

#[test]
fn what_is_no_module_is_refused() {
    let names = Arc::new(Names::default());
    for bytes in [&b""[..], b"\0asm", b"\x7fELF", b"(module)"] {
        let fault = load(&names, bytes, "").err().expect("refused");
        assert!(fault.message.contains("is no module that can run here"), "{fault}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let section = Section::new("t", "module = 'no/such.wasm'".parse().expect("TOML"));
    let plan = (super::super::KIND.parse)(&section).expect("a plan");
    assert_eq!(plan.name(), "such");
    let fault = plan.load(&context(&Arc::new(Names::default()))).err().expect("refused");
    assert!(fault.message.contains("reading transform ./no/such.wasm"), "{fault}");
}

#[test]
fn a_file_of_100_megabytes_is_refused_before_it_is_compiled() {
    let path = std::env::temp_dir().join(format!("bridge-large-{}.wasm", std::process::id()));
    let file = std::fs::File::create(&path).expect("room for a file without content");
    file.set_len(100 << 20).expect("it is a hole");
    let text = format!("module = '{}'", path.display());
    let section = Section::new("t", text.parse().expect("TOML"));
    let plan = (super::super::KIND.parse)(&section).expect("a plan");
    let fault = plan.load(&context(&Arc::new(Names::default()))).err().expect("refused");
    std::fs::remove_file(&path).expect("it is ours");
    assert!(fault.message.contains("more than the 64 MiB that a module may have"), "{fault}");
}
