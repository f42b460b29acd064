//! Promise: rows that go into files are there whatever happens, each file is whole lines, and no
//! row is missing; a disk that takes nothing is waited for.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Band, Bench, Bridge, Load, PARTITIONS, Reading, Setup, pick, promise};
use serde_json::Value;

const RECORDS_PER_SECOND: u64 = 20_000;
const BUSY: Duration = Duration::from_secs(60);
const DRAIN: Duration = Duration::from_secs(120);
const READY: Duration = Duration::from_secs(30);

fn setup(bench: &'static Bench, sink: &str) -> Result<Setup> {
    let mut setup = Setup::readings(bench, "filed", PARTITIONS)?;
    setup.elsewhere = Some(format!("kind = \"file\"\npath = \"rows/{{table}}\"\n{sink}"));
    Ok(setup)
}

/// The files below a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).context("reading the folder of rows")? {
        found.push(entry?.path());
    }
    found.sort();
    Ok(found)
}

/// Every row of all files: how often each number is there. Fails where a row is not what its
/// number says, or where a line is no row.
fn numbers(folder: &Path) -> Result<HashMap<u64, u32>> {
    let mut seen = HashMap::new();
    for path in files(folder)? {
        let text = std::fs::read_to_string(&path)?;
        ensure!(text.ends_with('\n'), "{} ends with a piece of a line", path.display());
        for line in text.lines() {
            let row: Value = serde_json::from_str(line)
                .with_context(|| format!("a line of {}: {line:?}", path.display()))?;
            let seq = row["seq"].as_u64().context("a row has no number")?;
            let reading = Reading(seq);
            ensure!(row["sensor"] == reading.sensor() && row["site"] == reading.site(), "{line}");
            ensure!(row["temperature"] == reading.centi() as f64 / 100.0, "{line}");
            *seen.entry(seq).or_default() += 1;
        }
    }
    Ok(seen)
}

#[test]
fn nothing_is_lost_by_kills_under_load() {
    promise("files survive kills under load", |bench| {
        let sink = "rotate_bytes = \"4MiB\"\nrotate_after = \"3s\"";
        let setup = setup(bench, sink)?.transform("drop_cold", "{ min_celsius = 15.0 }");
        let installed = setup.install()?;
        let group = installed.group(bench)?;
        let mut bridge = installed.start_ready()?;
        let topic = &installed.setup.topic;
        let load =
            Load::start(bench, topic, RECORDS_PER_SECOND, |seq| Reading(seq).record(PARTITIONS));
        let mut committed = group.wait_progress(&bridge, 0, BUSY)?;
        for _ in 0..pick(3, 20) {
            bridge.kill()?;
            bridge = installed.start()?;
            committed = group.wait_progress(&bridge, committed, BUSY)?;
        }
        let count = load.finish(Duration::from_secs(pick(10, 60)))?;
        group.wait_drained(&bridge, DRAIN)?;
        bridge.stop_well(Duration::from_secs(30))?;
        let seen = numbers(&installed.folder().join("rows"))?;
        let (rows, sum) = Band::WARM.of_first(count);
        let found: i64 = seen.keys().map(|seq| *seq as i64).sum();
        ensure!(seen.len() as i64 == rows, "{} rows of {rows} are there", seen.len());
        ensure!(found == sum, "the numbers add up to {found}, not {sum}");
        let files = files(&installed.folder().join("rows"))?;
        let parts = files.iter().filter(|path| path.extension().is_some_and(|e| e == "part"));
        ensure!(parts.count() == 0, "a stop leaves no file unfinished: {files:?}");
        let double: u32 = seen.values().map(|times| times - 1).sum();
        println!("{rows} rows in {} files, {double} double", files.len());
        Ok(())
    });
}

#[test]
fn a_disk_that_takes_nothing_is_waited_for() {
    promise("a disk that takes nothing is waited for", |bench| {
        let count = 20_000;
        let setup = setup(bench, "rotate_bytes = \"1GiB\"")?;
        let records = (0..count).map(|seq| Reading(seq).record(PARTITIONS));
        bench.kafka.produce(&setup.topic, records)?;
        let installed = setup.install()?;
        let group = installed.group(bench)?;
        let file = installed.file.to_str().context("a plain name")?;
        let bridge = Bridge::start_confined(&["run", file], &installed.http(), 256)?;
        bridge.wait(READY, "words about the disk", || {
            let (status, body) = bridge.get("/readyz")?;
            ensure!(body.contains("cannot be written"), "{status} {body}");
            Ok(())
        })?;
        ensure!(group.committed()? < count as i64, "all was committed on a full disk");
        bridge.set_free()?;
        group.wait_drained(&bridge, DRAIN)?;
        bridge.wait_ready(READY)?;
        bridge.stop_well(Duration::from_secs(30))?;
        let seen = numbers(&installed.folder().join("rows"))?;
        ensure!(seen.len() as u64 == count, "{} rows of {count} are there", seen.len());
        let double = seen.values().any(|times| *times > 1);
        ensure!(!double, "what could not be written was cut off before it was written again");
        Ok(())
    });
}
