//! What a language costs: its modules of the three examples in the sandbox, and how long it takes
//! and how much memory until an instance is there.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use serde::Serialize;
use serde_json::{Value, json};

use super::bed::{self, Bed};
use super::fence::INSTANCES;
use super::sandbox::computed_column;
use super::watch::Cost;
use super::{FENCE, Options, STAGES, each};
use crate::machine;
use crate::stats::Spread;

/// The languages that have an SDK, as their folders are called.
const LANGUAGES: [&str; 5] = ["rust", "c", "zig", "assemblyscript", "go"];
/// How often a module is loaded, and an instance made.
const TIMES: usize = 50;

/// What a language costs.
#[derive(Debug, Serialize)]
struct Guest {
    language: &'static str,
    /// A record in each stage.
    stages: Vec<Cost>,
    /// Milliseconds until a module is there whose machine code was kept.
    load_ms: Spread,
    /// Microseconds until an instance is there, initialised.
    instance_us: Spread,
    /// Resident memory that an instance takes, in KiB.
    instance_kib: f64,
}

/// Measures all of them, and what the fence costs; one object for the result file.
pub(super) fn measure(folder: &Path, options: &Options) -> Result<Value> {
    let mut guests = Vec::new();
    for language in LANGUAGES {
        match language {
            // They come with the bridge.
            "rust" => bed::take_own_modules(),
            _ => {
                let why = "`cargo test -p conformance` makes the modules of other languages";
                bed::take_modules_from(&folder.join(language)).context(why)?;
            }
        }
        eprintln!("{language}");
        guests.push(guest(language, options)?);
    }
    bed::take_own_modules();
    eprintln!("the fence, with modules in Rust");
    let fence = each(&FENCE, options, |_| true)?;
    Ok(json!({
        "kind": "guests",
        "commit": machine::commit(),
        "machine": machine::Machine::here(),
        "records": options.records,
        "rounds": options.rounds,
        "guests": guests,
        "fence": fence,
    }))
}

fn guest(language: &'static str, options: &Options) -> Result<Guest> {
    let examples = ["keep", "drop", "computed column", "1:3"].map(|name| format!("sandbox {name}"));
    let stages = each(&STAGES, options, |name| examples.iter().any(|example| example == name))?;
    let mut bed = Bed::new(&computed_column())?;
    bed.keep_machine_code()?;
    bed.loaded()?;
    let load_ms = times(1e3, || bed.loaded().map(drop))?;
    let loaded = bed.loaded()?.pop().context("it has one transform")?;
    let instance = || loaded.instance(Default::default()).map_err(|fault| anyhow!("{fault}"));
    let instance_us = times(1e6, || instance().map(drop))?;
    let before = resident_kib()?;
    let held = (0..INSTANCES).map(|_| instance()).collect::<Result<Vec<_>>>()?;
    let instance_kib = (resident_kib()? - before).max(0.0) / held.len() as f64;
    let (load, new) = (load_ms.median, instance_us.median);
    eprintln!("{:24} {load:.2} ms to load, {new:.0} µs and {instance_kib:.0} KiB an instance", "");
    Ok(Guest { language, stages, load_ms, instance_us, instance_kib })
}

/// How long it takes, in so many parts of a second.
fn times(parts: f64, mut work: impl FnMut() -> Result<()>) -> Result<Spread> {
    let one = |_| {
        let start = Instant::now();
        work().map(|()| start.elapsed().as_secs_f64() * parts)
    };
    let all = (0..TIMES).map(one).collect::<Result<Vec<f64>>>()?;
    Ok(Spread::of(all))
}

/// Memory of this process that is there, by the kernel.
fn resident_kib() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/self/status").context("reading its own status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?;
    kib.parse().context("reading VmRSS")
}
