//! The transforms of `transforms/`, compiled by the build: those that come along as
//! `module = "builtin:NAME"`, and the examples, for the demo and for tests.

/// A module that comes along.
#[derive(Debug)]
pub struct Builtin {
    /// What follows `builtin:`.
    pub name: &'static str,
    /// One line, for lists.
    pub summary: &'static str,
    /// The module.
    pub wasm: &'static [u8],
}

/// What the name of one begins with in the configuration.
pub const BUILTIN: &str = "builtin:";

/// A module out of the build's folder. A macro, for `include_bytes!` wants a literal.
macro_rules! wasm {
    ($name:literal) => {
        include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".wasm"))
    };
}

/// All modules that come along.
pub static BUILTINS: [Builtin; 7] = [
    Builtin {
        name: "filter",
        summary: "keeps records for which an expression is true",
        wasm: wasm!("filter"),
    },
    Builtin { name: "route", summary: "sends records to tables by rules", wasm: wasm!("route") },
    Builtin {
        name: "convert",
        summary: "computed columns by expressions; renames and drops",
        wasm: wasm!("convert"),
    },
    Builtin { name: "redact", summary: "hashes, masks and drops columns", wasm: wasm!("redact") },
    Builtin {
        name: "dedup",
        summary: "lets the first of several records with the same key through",
        wasm: wasm!("dedup"),
    },
    Builtin {
        name: "sample",
        summary: "keeps a share of the records, the same ones at a replay",
        wasm: wasm!("sample"),
    },
    Builtin {
        name: "explode",
        summary: "a record with arrays, or with several readings, to rows",
        wasm: wasm!("explode"),
    },
];

/// The module of this name that comes along.
pub fn builtin(name: &str) -> Option<&'static Builtin> {
    BUILTINS.iter().find(|builtin| builtin.name == name)
}

/// Keeps readings that are warm enough: `{"min_celsius": 15.0}`.
pub const DROP_COLD: &[u8] = wasm!("drop_cold");
/// Adds fahrenheit, sends alarms to a table of their own: `{"alarm_above": 60.0}`.
pub const ENRICH_ROUTE: &[u8] = wasm!("enrich_route");
/// One row for each reading of a wide record: `{"prefix": "m_"}`.
pub const SPLIT_READINGS: &[u8] = wasm!("split_readings");
/// Writes an alarm to a topic for what is too hot: `{"max_celsius": 60.0, "topic": "alarms"}`.
pub const ALARMS: &[u8] = wasm!("alarms");
/// Reads and writes structs: `{"muggy_above": 16.0}`.
pub const DEW_POINT: &[u8] = wasm!("dew_point");
/// For tests of the fence: traps, loops, lies and grows when told to.
pub const FAULTY: &[u8] = wasm!("faulty");
