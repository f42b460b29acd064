//! Promise: rows that go into a topic are there whatever is killed, and what has one key keeps its
//! order, replays aside.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Band, Load, PARTITIONS, Reading, Setup, pick, promise};
use serde_json::Value;
use world::Message;

const RECORDS_PER_SECOND: u64 = 20_000;
const BUSY: Duration = Duration::from_secs(60);
const DRAIN: Duration = Duration::from_secs(120);

/// Every row is there, under its key; numbers of one key rise, but for stretches that are repeated
/// whole. How many rows are double.
fn check(messages: &[Message], count: u64) -> Result<u64> {
    let mut seen: HashMap<u64, u64> = HashMap::new();
    let mut latest: HashMap<Vec<u8>, u64> = HashMap::new();
    for message in messages {
        let value = message.value.as_deref().context("a record has no value")?;
        let row: Value = serde_json::from_slice(value)?;
        let seq = row["seq"].as_u64().context("a row has no number")?;
        let reading = Reading(seq);
        let key = message.key.clone().context("a record has no key")?;
        ensure!(key == reading.sensor().as_bytes(), "{seq} is under the key {key:?}");
        ensure!(row["temperature"] == reading.centi() as f64 / 100.0, "{row}");
        let first = !seen.contains_key(&seq);
        *seen.entry(seq).or_default() += 1;
        let latest = latest.entry(key).or_default();
        // What is there for the first time stands behind all that came before it.
        ensure!(!first || *latest <= seq, "{seq} came after {latest}");
        *latest = seq;
    }
    let (rows, sum) = Band::WARM.of_first(count);
    let found: i64 = seen.keys().map(|seq| *seq as i64).sum();
    ensure!(seen.len() as i64 == rows, "{} rows of {rows} are there", seen.len());
    ensure!(found == sum, "the numbers add up to {found}, not {sum}");
    Ok(seen.values().map(|times| times - 1).sum())
}

#[test]
fn nothing_is_lost_and_keys_keep_their_order() {
    promise("topics survive kills under load", |bench| {
        let mut setup = Setup::readings(bench, "topical", PARTITIONS)?;
        let target = format!("{}-clean", setup.topic);
        setup.elsewhere = Some(format!("kind = \"kafka\"\ntopic = \"{target}\"\nheaders = true"));
        let installed = setup.transform("drop_cold", "{ min_celsius = 15.0 }").install()?;
        let group = installed.group(bench)?;
        let mut bridge = installed.start_ready()?;
        let load = Load::start(bench, &installed.setup.topic, RECORDS_PER_SECOND, |seq| {
            Reading(seq).record(PARTITIONS)
        });
        let mut committed = group.wait_progress(&bridge, 0, BUSY)?;
        for round in 0..pick(3, 12) {
            if round % 3 == 1 {
                bench.kafka.kill()?;
                bench.kafka.restart()?;
                committed = bridge.wait(BUSY, "the group's offsets", || group.committed())?;
            } else {
                bridge.kill()?;
                bridge = installed.start()?;
            }
            committed = group.wait_progress(&bridge, committed, BUSY)?;
        }
        let count = load.finish(Duration::from_secs(pick(10, 60)))?;
        group.wait_drained(&bridge, DRAIN)?;
        bridge.stop_well(Duration::from_secs(30))?;
        let messages = bench.kafka.read_all(&target)?;
        let double = check(&messages, count)?;
        println!("{} records in {target}, {double} double", messages.len());
        let header = messages[0].header("bridge.topic");
        ensure!(header.as_deref() == Some(&*installed.setup.topic), "{header:?}");
        Ok(())
    });
}
