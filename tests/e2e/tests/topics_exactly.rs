//! Promise: with `delivery = "exactly-once"` a topic has each row of another once, for whoever reads
//! what is committed, whatever is killed, frozen or moved between processes; a key's rows are in
//! order, what a transform emits is there with them, and what is refused on the way is in the dead
//! letters.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{
    Bench, Bridge, Group, Installed, Load, PARTITIONS, Reading, Setup, moves, pick, promise,
};
use serde_json::Value;
use world::Record;

const RECORDS_PER_SECOND: u64 = 10_000;
/// Until there is a moment with work under way.
const BUSY: Duration = Duration::from_secs(60);
/// What has piled up, through an unoptimised bridge.
const DRAIN: Duration = Duration::from_secs(120);
const ENDS: Duration = Duration::from_secs(30);
/// What is hotter makes an alarm, in degrees Celsius.
const MAX_CELSIUS: i64 = 40;
/// One record of so many is no JSON.
const BAD: u64 = 1_000;

fn target(installed: &Installed) -> String {
    format!("{}-clean", installed.setup.topic)
}

fn alarms(installed: &Installed) -> String {
    format!("{}-alarms", installed.setup.topic)
}

/// Two processes of it share its group. A quarter of the rows is filtered, the hottest make alarms.
fn install(bench: &Bench, name: &str, instance: &str) -> Result<Installed> {
    let mut setup = Setup::readings(bench, name, PARTITIONS)?;
    let topic = format!("{}-clean", setup.topic);
    setup.elsewhere = Some(format!("kind = \"kafka\"\ntopic = \"{topic}\"\nheaders = true"));
    let alarms = format!("{{ max_celsius = {MAX_CELSIUS}, topic = \"{}-alarms\" }}", setup.topic);
    setup.pipeline = vec!["delivery = \"exactly-once\"".to_owned(), instance.to_owned()];
    setup.properties = vec![moves::SESSION.to_owned()];
    setup.transform("drop_cold", "{ min_celsius = 15.0 }").transform("alarms", &alarms).install()
}

fn is_bad(seq: u64) -> bool {
    seq % BAD == BAD / 2
}

fn record(seq: u64) -> Record {
    let record = Reading(seq).record(PARTITIONS);
    match is_bad(seq) {
        true => Record { value: Some(format!("no JSON, {seq}").into()), ..record },
        false => record,
    }
}

fn load(bench: &'static Bench, installed: &Installed) -> Load {
    Load::start(bench, &installed.setup.topic, RECORDS_PER_SECOND, record)
}

/// Ends the load, waits until all is done, and holds one topic against the other.
fn settle(
    bench: &Bench,
    installed: &Installed,
    bridge: &Bridge,
    group: &Group,
    load: Load,
) -> Result<()> {
    let count = load.settle(group, bridge, DRAIN)?;
    // What a killed process left open holds readers up until the broker ends it.
    bridge.wait(DRAIN, "each row once", || rows_are_exact(bench, &target(installed), count))?;
    let told = bridge
        .wait(DRAIN, "each alarm once", || alarms_are_exact(bench, &alarms(installed), count))?;
    let letters = bench.kafka.read_all(&format!("{}.dead-letters", installed.setup.topic))?;
    let letters: HashSet<Vec<u8>> = letters.into_iter().filter_map(|letter| letter.value).collect();
    let bad = (0..count).filter(|seq| is_bad(*seq)).count();
    ensure!(letters.len() == bad, "{} letters of {bad}", letters.len());
    println!("{count} records, each good one once, {told} alarms and {bad} letters");
    Ok(())
}

fn rows_are_exact(bench: &Bench, topic: &str, count: u64) -> Result<()> {
    let mut seen = HashSet::new();
    let mut latest: HashMap<Vec<u8>, u64> = HashMap::new();
    for message in bench.kafka.read_all(topic)? {
        let row: Value = serde_json::from_slice(&message.value.context("no value")?)?;
        let seq = row["seq"].as_u64().context("a row has no number")?;
        ensure!(seen.insert(seq), "{seq} is there twice");
        let key = message.key.context("no key")?;
        ensure!(key == Reading(seq).sensor().as_bytes(), "{seq} is under the key {key:?}");
        let latest = latest.entry(key).or_default();
        ensure!(*latest <= seq, "{seq} came after {latest}");
        *latest = seq;
    }
    let good = (0..count).filter(|seq| !is_bad(*seq) && Reading(*seq).centi() >= 1_500);
    let missing: Vec<u64> = good.clone().filter(|seq| !seen.contains(seq)).collect();
    let ends = (missing.first(), missing.last());
    ensure!(missing.is_empty(), "of {count} records {} are missing, {ends:?}", missing.len());
    ensure!(seen.len() == good.count(), "rows that nobody sent");
    Ok(())
}

/// One alarm for each row that is too hot, each from a record of its own; how many.
fn alarms_are_exact(bench: &Bench, topic: &str, count: u64) -> Result<usize> {
    let mut expected: HashMap<(String, String), usize> = HashMap::new();
    for reading in (0..count).filter(|seq| !is_bad(*seq)).map(Reading) {
        let over = reading.centi() as f64 / 100.0 - MAX_CELSIUS as f64;
        if over > 0.0 {
            let alarm = (reading.sensor(), format!("{over:.2} degrees too hot"));
            *expected.entry(alarm).or_default() += 1;
        }
    }
    let (mut found, mut from) = (HashMap::new(), HashSet::new());
    for message in bench.kafka.read_all(topic)? {
        let origin = ["bridge.partition", "bridge.offset"].map(|name| message.header(name));
        ensure!(from.insert(origin.clone()), "two alarms of {origin:?}");
        let text = |bytes: Option<Vec<u8>>| String::from_utf8(bytes.unwrap_or_default());
        *found.entry((text(message.key)?, text(message.value)?)).or_default() += 1;
    }
    let total: usize = expected.values().sum();
    ensure!(found == expected, "{} alarms of {total}", from.len());
    Ok(total)
}

#[test]
fn each_row_once_whatever_is_killed() {
    promise("each row once in a topic, whatever is killed", |bench| {
        let installed = install(bench, "topic_once", "")?;
        let group = installed.group(bench)?;
        let mut bridge = installed.start_ready()?;
        let load = load(bench, &installed);
        group.wait_progress(&bridge, 0, BUSY)?;
        for round in 0..pick(4, 20) {
            group.wait_busy(&bridge, BUSY).with_context(|| format!("round {round}"))?;
            if round % 4 == 3 {
                bench.kafka.kill()?;
                bench.kafka.restart()?;
            } else {
                bridge.kill()?;
                bridge = installed.start()?;
            }
            let before = bridge.wait(BUSY, "the group's offsets", || group.committed())?;
            group.wait_progress(&bridge, before, BUSY)?;
        }
        settle(bench, &installed, &bridge, &group, load)?;
        bridge.stop_well(ENDS)
    });
}

#[test]
fn a_frozen_process_that_wakes_commits_nothing_more() {
    promise("a frozen process that wakes commits nothing more to a topic", |bench| {
        let installed = install(bench, "topic_frozen", moves::NOBODY)?;
        let group = installed.group(bench)?;
        let bridge = installed.start_ready()?;
        let load = load(bench, &installed);
        group.wait_progress(&bridge, 0, BUSY)?;
        let bridge = moves::freeze(bridge, &installed, &group)?;
        settle(bench, &installed, &bridge, &group, load)?;
        bridge.stop_well(ENDS)
    });
}

#[test]
fn each_row_once_while_partitions_move() {
    promise("each row once in a topic while partitions move", |bench| {
        let installed = install(bench, "topic_moved", moves::NOBODY)?;
        let group = installed.group(bench)?;
        let bridge = installed.start_ready()?;
        let load = load(bench, &installed);
        group.wait_progress(&bridge, 0, BUSY)?;
        moves::visit(&bridge, &installed, &group, RECORDS_PER_SECOND)?;
        settle(bench, &installed, &bridge, &group, load)?;
        bridge.stop_well(ENDS)
    });
}
