//! Promise: modules of a running bridge are replaced under load by file, signal and order, and no
//! record is lost or comes twice; a bad module is refused and the old one goes on. Needs no server:
//! records come out of memory and rows go into files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Answer, Bridge};
use serde_json::Value;
use world::{Directory, Port, Signal};

const PATIENCE: Duration = Duration::from_secs(60);
const PARTITIONS: i64 = 2;

const PIPELINE: &str = r#"
source = { kind = "memory", partitions = 2, records = ['{"sensor":"a","temperature":20.5}'] }
sink   = { kind = "file", path = "rows/{table}" }
table  = { name = "readings", metadata = true }
limits = { lanes = 2 }

[[pipeline.readings.transform]]
module = "mods/"
config = { min_celsius = 15.0 }
"#;

/// A running pipeline in a folder of its own.
struct Running {
    bridge: Bridge,
    file: PathBuf,
    folder: Directory,
}

impl Running {
    fn start(more: &str) -> Result<Running> {
        let folder = Directory::create("reload")?;
        let port = Port::free()?;
        let listen = port.address();
        let file = folder.path().join("bridge.toml");
        let http = format!("[http]\nlisten = \"{listen}\"\nadmin = \"loopback\"");
        let text = format!("cache = \"cache\"\n{http}\n[pipeline.readings]\n{PIPELINE}{more}\n");
        std::fs::write(&file, text)?;
        std::fs::create_dir(folder.path().join("mods"))?;
        put(folder.path(), "pass-1.0.0.wasm", &version(0))?;
        let bridge = Bridge::start(&["run", file.to_str().context("a plain name")?], &listen)?;
        bridge.wait_ready(PATIENCE)?;
        let running = Running { bridge, file, folder };
        running.runs("pass-1.0.0.wasm")?;
        Ok(running)
    }

    /// What `/status` says of the transform.
    fn transform(&self) -> Result<Value> {
        let (_, body) = self.bridge.get("/status")?;
        let status: Value = serde_json::from_str(&body).context("/status")?;
        Ok(status["pipelines"]["readings"]["transforms"][0].clone())
    }

    /// Waits until this module runs and has made rows.
    fn runs(&self, module: &str) -> Result<()> {
        self.bridge.wait(PATIENCE, module, || {
            let said = self.transform()?;
            ensure!(said["module"] == module, "{said}");
            Ok(())
        })?;
        let before = self.bridge.metrics()?.sum("bridge_rows_stored_total")?;
        self.bridge.wait(PATIENCE, "rows", || {
            let rows = self.bridge.metrics()?.sum("bridge_rows_stored_total")?;
            ensure!(rows > before + 20_000.0, "{rows} rows");
            Ok(())
        })
    }

    fn order(&self, verb: &str, code: i32, says: &str) -> Result<()> {
        let file = self.file.to_str().context("a plain name")?;
        let answer = Answer::of(&["transform", verb, file, "readings"])?;
        answer.ensure_code(code)?;
        ensure!(answer.all.contains(says), "{} does not say {says}", answer.all);
        Ok(())
    }
}

/// A module, put there whole.
fn put(folder: &Path, name: &str, module: &[u8]) -> Result<()> {
    let beside = folder.join("mods/new");
    std::fs::write(&beside, module)?;
    std::fs::rename(beside, folder.join("mods").join(name))?;
    Ok(())
}

/// The same filter, told apart by a section that nobody reads.
fn version(number: u8) -> Vec<u8> {
    [bridge::modules::DROP_COLD, &[0, 3, 1, b'v', number]].concat()
}

/// Every offset of each partition is there once.
fn rows_are_there_once(folder: &Path) -> Result<()> {
    let mut seen: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
    for entry in std::fs::read_dir(folder.join("rows"))? {
        for line in std::fs::read_to_string(entry?.path())?.lines() {
            let row: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
            let number = |name: &str| row[name].as_i64().with_context(|| line.to_owned());
            let partition = seen.entry(number("kafka_partition")?).or_default();
            ensure!(partition.insert(number("kafka_offset")?), "it is there twice: {line}");
        }
    }
    ensure!(seen.len() as i64 == PARTITIONS, "{} partitions have rows", seen.len());
    for (partition, offsets) in &seen {
        let last = offsets.last().map(|offset| offset + 1);
        ensure!(last == Some(offsets.len() as i64), "partition {partition} lacks an offset");
    }
    Ok(())
}

#[test]
fn modules_change_under_load_and_no_record_is_lost_or_twice() -> Result<()> {
    let running = Running::start("")?;
    let folder = running.folder.path();
    put(folder, "pass-1.1.0.wasm", &version(1))?;
    running.bridge.process().signal(Signal::Hangup)?;
    running.runs("pass-1.1.0.wasm")?;
    put(folder, "pass-1.2.0.wasm", b"\0asm no module")?;
    running.order("reload", 1, "is no module that can run here")?;
    let refused = running.transform()?;
    ensure!(refused["module"] == "pass-1.1.0.wasm", "{refused}");
    ensure!(refused["refused"].as_str().is_some_and(|why| why.contains("no module")), "{refused}");
    let metrics = running.bridge.metrics()?;
    ensure!(metrics.sum("bridge_transform_reloads_refused_total")? == 1.0, "it is not counted");
    let (status, ready) = running.bridge.get("/readyz")?;
    ensure!(status == 200 && ready.contains("was refused"), "{status} {ready}");
    running.runs("pass-1.1.0.wasm")?;
    running.order("rollback", 0, "is pass-1.0.0.wasm now")?;
    running.runs("pass-1.0.0.wasm")?;
    put(folder, "pass-1.2.0.wasm", &version(2))?;
    running.order("reload", 0, "is pass-1.2.0.wasm now")?;
    running.runs("pass-1.2.0.wasm")?;
    running.bridge.stop_well(PATIENCE)?;
    rows_are_there_once(folder)
}

#[test]
fn a_watched_module_changes_by_itself() -> Result<()> {
    let running = Running::start("watch = true")?;
    put(running.folder.path(), "pass-1.1.0.wasm", &version(1))?;
    running.runs("pass-1.1.0.wasm")?;
    running.bridge.stop_well(PATIENCE)?;
    rows_are_there_once(running.folder.path())
}
