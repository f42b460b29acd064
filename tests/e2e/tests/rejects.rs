//! Promise: a broken record ends in the dead letters, whole and with its reason; every other record
//! is in the table.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Band, Bench, PARTITIONS, Reading, Setup, Transport, promise, rows_are_exact};
use world::{Message, Record};

/// Twenty endless loops, each found by halving its batch, cost some deadlines each.
const DRAIN: Duration = Duration::from_secs(120);
const VISIBLE: Duration = Duration::from_secs(30);

const GOOD: u64 = 19_800;
/// Of each way to be broken.
const EACH: u64 = 20;

/// Ways to be broken: (reason, stage, value).
fn broken(way: u64, number: u64) -> (&'static str, &'static str, Option<Vec<u8>>) {
    let reading = Reading(1_000_000 + number).json();
    let edited = |from: &str, to: &str| Some(reading.replacen(from, to, 1).into_bytes());
    match way {
        0 => ("malformed", "format", Some(reading.as_bytes()[..60].to_vec())),
        1 => ("wrong-type", "shape", edited("\"humidity\":", "\"humidity\":\"wet\",\"was\":")),
        2 => {
            let mut bytes = reading.into_bytes();
            let at = bytes.iter().position(|byte| *byte == b's').unwrap_or(0);
            bytes.splice(at..at, [0xc3, 0x28]);
            ("invalid-utf8", "format", Some(bytes))
        }
        3 => ("empty", "format", Some(Vec::new())),
        4 => ("null-value", "intake", None),
        5 => ("too-large", "intake", edited("\"site\":", &large_field())),
        6 => ("bad-name", "shape", edited("\"ok\":", "\"o\\u0000k\":")),
        7 => ("timestamp-before-1970", "shape", edited("\"ts\":", "\"ts\":-")),
        8 => ("trap", "transform", edited("\"ok\":", "\"fault\":\"trap\",\"ok\":")),
        _ => ("deadline", "transform", edited("\"ok\":", "\"fault\":\"loop\",\"ok\":")),
    }
}

fn large_field() -> String {
    format!("\"blob\":\"{}\",\"site\":", "x".repeat(70_000))
}

/// What must come back for one broken record.
struct Expected {
    reason: &'static str,
    stage: &'static str,
    value: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
}

/// Good and broken records in one stream, and what is expected by (partition, offset).
fn mixture() -> (Vec<Record>, HashMap<(i32, i64), Expected>) {
    let mut records = Vec::new();
    let mut expected = HashMap::new();
    let mut next = [0; PARTITIONS as usize];
    let every = GOOD / (EACH * 10);
    let mut broken_count = 0;
    for seq in 0..GOOD {
        let good = Reading(seq).record(PARTITIONS);
        next[good.partition.unwrap_or(0) as usize] += 1;
        records.push(good);
        if seq % every == 0 && broken_count < EACH * 10 {
            let (reason, stage, value) = broken(broken_count % 10, broken_count);
            let partition = (broken_count / 10 % 4) as i32;
            let key = Some(format!("k-{broken_count}").into_bytes());
            let offset = next[partition as usize];
            next[partition as usize] += 1;
            let record = Record {
                partition: Some(partition),
                key: key.clone(),
                value: value.clone(),
                ..Record::default()
            };
            records.push(record.header("origin", format!("o-{broken_count}")));
            expected.insert((partition, offset), Expected { reason, stage, value, key });
            broken_count += 1;
        }
    }
    (records, expected)
}

#[test]
fn each_of_ten_ways_over_http() {
    promise("each of ten ways over http", |bench| ten_ways(bench, Transport::Http));
}

#[test]
fn each_of_ten_ways_over_tcp() {
    promise("each of ten ways over tcp", |bench| ten_ways(bench, Transport::Tcp));
}

#[test]
fn each_of_ten_ways_over_pg() {
    promise("each of ten ways over pg", |bench| ten_ways(bench, Transport::Pg));
}

fn ten_ways(bench: &'static Bench, transport: Transport) -> Result<()> {
    let setup = Setup::readings(bench, "broken", PARTITIONS)?.over(transport);
    let mut setup = setup.transform("faulty", "{}");
    setup.pipeline =
        vec!["null_value = \"reject\"".to_owned(), "record_bytes_max = \"64KiB\"".to_owned()];
    setup.limits = vec!["guest_deadline = \"100ms\"".to_owned()];
    let (records, expected) = mixture();
    ensure!(expected.len() == 200, "{} broken records, not 1 %", expected.len());
    bench.kafka.produce(&setup.topic, records)?;
    let installed = setup.install()?;
    let bridge = installed.start()?;
    installed.group(bench)?.wait_drained(&bridge, DRAIN)?;

    let topic = &installed.setup.topic;
    let letters = bench.kafka.read_all(&format!("{topic}.dead-letters"))?;
    check_letters(topic, &letters, &expected)?;
    rows_are_exact(&bench.questdb, &installed.setup.table, GOOD, Band::ALL, VISIBLE)?;
    let metrics = bridge.metrics()?;
    for reason in ["trap", "deadline", "malformed", "null-value"] {
        let label = format!("reason=\"{reason}\"");
        let counted = metrics.sum_with("bridge_records_rejected_total", &label)?;
        ensure!(counted == EACH as f64, "{counted} records are counted as {reason}");
    }
    bridge.stop_well(Duration::from_secs(20))
}

fn check_letters(
    topic: &str,
    letters: &[Message],
    expected: &HashMap<(i32, i64), Expected>,
) -> Result<()> {
    let mut seen = HashMap::new();
    for letter in letters {
        let header = |name: &str| {
            letter
                .header(name)
                .with_context(|| format!("a dead letter has no {name}: {:?}", letter.headers))
        };
        let place = (header("bridge.partition")?.parse()?, header("bridge.offset")?.parse()?);
        let wanted = expected.get(&place).with_context(|| {
            format!("a good record is in the dead letters: {place:?} {:?}", letter.headers)
        })?;
        let detail = letter.header("bridge.detail");
        let reason = header("bridge.reason")?;
        ensure!(reason == wanted.reason, "{place:?}: {reason}, not {}: {detail:?}", wanted.reason);
        let stage = header("bridge.stage")?;
        ensure!(stage == wanted.stage, "{reason}: stage {stage}, not {}", wanted.stage);
        ensure!(header("bridge.topic")? == topic, "{place:?} names another topic");
        ensure!(letter.value == wanted.value, "{reason}: the value is not the original");
        ensure!(letter.key == wanted.key, "{reason}: the key is not the original");
        ensure!(header("origin")?.starts_with("o-"), "{reason}: a header is not the original");
        header("bridge.time")?;
        *seen.entry(place).or_insert(0) += 1;
    }
    let lost = expected.iter().filter(|(place, _)| !seen.contains_key(place));
    let lost: Vec<_> = lost.map(|(place, wanted)| (place, wanted.reason)).collect();
    ensure!(lost.is_empty(), "not in the dead letters: {lost:?}");
    ensure!(letters.len() == expected.len(), "{} letters for 200 records", letters.len());
    Ok(())
}

#[test]
fn one_too_large_for_its_topic_is_cut_and_marked() {
    promise("one too large for its topic is cut and marked", |bench| {
        let mut setup = Setup::readings(bench, "cut", 1)?;
        setup.pipeline = vec!["record_bytes_max = \"20KiB\"".to_owned()];
        let letters = format!("{}.dead-letters", setup.topic);
        bench.kafka.create_topic_with(&letters, 1, &[("max.message.bytes", "10000")])?;
        let large = Reading(5).json().replacen("\"site\":", &large_field(), 1);
        let records = [
            Reading(0).record(1),
            Record::new(large.clone()).key("big").partition(0),
            Reading(1).record(1),
        ];
        bench.kafka.produce(&setup.topic, records)?;
        let installed = setup.install()?;
        let bridge = installed.start()?;
        installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
        rows_are_exact(&bench.questdb, &installed.setup.table, 2, Band::ALL, VISIBLE)?;
        let found = bench.kafka.read_all(&letters)?;
        let [letter] = &found[..] else { anyhow::bail!("{} letters, not one", found.len()) };
        let value = letter.value.clone().context("a part of the value is kept")?;
        ensure!(value.len() < 10_000 && !value.is_empty(), "{} bytes are kept", value.len());
        ensure!(large.as_bytes().starts_with(&value), "what is kept is not the beginning");
        ensure!(letter.header("bridge.truncated").is_some(), "unmarked: {:?}", letter.headers);
        ensure!(letter.header("bridge.reason").as_deref() == Some("too-large"));
        bridge.stop_well(Duration::from_secs(20))
    });
}

#[test]
fn a_file_takes_them_too() {
    promise("a file takes them too", |bench| {
        let mut setup = Setup::readings(bench, "filed", 1)?;
        setup.rejects = vec!["file = \"rejects.jsonl\"".to_owned()];
        let records = [
            Reading(0).record(1),
            Record::new("{\"ts\":").key("k").partition(0),
            Reading(1).record(1),
        ];
        bench.kafka.produce(&setup.topic, records)?;
        let installed = setup.install()?;
        let bridge = installed.start()?;
        installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
        rows_are_exact(&bench.questdb, &installed.setup.table, 2, Band::ALL, VISIBLE)?;
        let text = std::fs::read_to_string(installed.folder().join("rejects.jsonl"))?;
        let lines: Vec<serde_json::Value> =
            text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let [line] = &lines[..] else { anyhow::bail!("{} lines, not one: {text}", lines.len()) };
        ensure!(line["reason"] == "malformed" && line["offset"] == 1, "it says {line}");
        bridge.stop_well(Duration::from_secs(20))
    });
}

#[test]
fn a_flood_of_one_reason_stops_the_pipeline() {
    promise("a flood of one reason stops the pipeline", |bench| {
        let setup = Setup::readings(bench, "flood", 1)?;
        let records = (0..30_000).map(|_| Record::new("not json").partition(0));
        bench.kafka.produce(&setup.topic, records)?;
        let installed = setup.install()?;
        let bridge = installed.start()?;
        let status = bridge.process().wait_exit(Duration::from_secs(60))?;
        ensure!(!status.success(), "it ended with {status}");
        let said = bridge.process().lines().join("\n");
        ensure!(said.contains("malformed"), "it does not name the reason");
        let committed = installed.group(bench)?.committed()?;
        ensure!(committed < 30_000, "everything was thrown away before it stopped");
        Ok(())
    });
}
