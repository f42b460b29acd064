//! Promise: a broken record ends in the dead letters, whole and with its reason; every other record
//! is in the table. Letters that are sent through their pipeline are all stored, whatever is killed
//! on the way.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::moves::SESSION;
use e2e::{
    Answer, Band, Bench, Bridge, Group, Installed, PARTITIONS, Reading, Setup, Transport, promise,
    rows_are_exact,
};
use world::{Message, Proxy, Record};

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

/// Records of the test of letters that go through their pipeline.
const THROUGH: u64 = 700;
/// One in so many has a field that the first configuration does not take.
const NOTED: u64 = 7;

fn noted(seq: u64) -> Record {
    let value = Reading(seq).json().replacen('{', "{\"note\":\"wet\",", 1);
    Record { value: Some(value.into_bytes()), ..Reading(seq).record(PARTITIONS) }
}

fn noted_or_not(seq: u64) -> Record {
    if seq.is_multiple_of(NOTED) { noted(seq) } else { Reading(seq).record(PARTITIONS) }
}

/// A pipeline that refuses records with a note, and the same when it is mended.
fn refusing(mut setup: Setup) -> (Setup, Setup) {
    let mut mended = setup.clone();
    mended.shape.push("drop = [\"note\"]".to_owned());
    for line in &mut setup.shape {
        *line = line.replace("seq = \"long\" }", "seq = \"long\", note = \"long\" }");
    }
    (setup, mended)
}

/// `bridge replay --through` of a reason; the lines that it answers with.
fn through(installed: &Installed, reason: &str) -> Result<Vec<String>> {
    let file = installed.file.to_str().context("temporary folders have plain names")?;
    let answer = Answer::of(&["replay", "--config", file, "--through", "--reason", reason])?;
    answer.ensure_code(0)?;
    Ok(answer.stdout.lines().map(str::to_owned).collect())
}

#[test]
fn letters_go_through_their_pipeline_and_nobody_else_sees_them() {
    promise("letters go through their pipeline and nobody else sees them", |bench| {
        let mut setup = Setup::readings(bench, "through", PARTITIONS)?;
        setup.shape.push("metadata = true".to_owned());
        let (setup, mended) = refusing(setup);
        let (topic, table) = (mended.topic.clone(), mended.table.clone());
        let letters = format!("{topic}.dead-letters");
        bench.kafka.produce(&topic, [Record::new("{\"ts\":").key("k").partition(0)])?;
        bench.kafka.produce(&topic, (0..THROUGH).map(noted_or_not))?;
        let installed = setup.install()?;
        let bridge = installed.start()?;
        installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
        bridge.stop_well(Duration::from_secs(20))?;
        let wrong = THROUGH / NOTED;
        let found = bench.kafka.read_all(&letters)?.len() as u64;
        ensure!(found == wrong + 1, "{found} letters, not {}", wrong + 1);
        let ends = bench.kafka.end_offsets(&topic)?;

        let mended = mended.install()?;
        let said = through(&mended, "wrong-type")?;
        let expected = [
            format!("{wrong} of {topic} sent through readings (wrong-type)"),
            format!("{wrong} of {found} letters sent, 1 others left"),
            format!("{wrong} stored, 0 filtered, 0 rejected again"),
        ];
        ensure!(said == expected, "{said:?}");
        rows_are_exact(&bench.questdb, &table, THROUGH, Band::ALL, VISIBLE)?;
        // Each row says where its record is, and no two say the same.
        let places = bench.questdb.scalar_i64(&format!(
            "select count() from (select distinct kafka_partition, kafka_offset from {table} \
             where kafka_topic = '{topic}')"
        ))?;
        ensure!(places == THROUGH as i64, "{places} places of {THROUGH} records");

        // What is refused again is a letter again, and not taken again by the same run.
        let said = through(&mended, "malformed")?;
        let expected = [
            format!("1 of {topic} sent through readings (malformed)"),
            format!("1 of {found} letters sent, {wrong} others left"),
            "0 stored, 0 filtered, 1 rejected again".to_owned(),
        ];
        ensure!(said == expected, "{said:?}");
        let all = bench.kafka.read_all(&letters)?;
        ensure!(all.len() as u64 == found + 1, "{} letters, not {}", all.len(), found + 1);
        let again = all.iter().filter(|letter| {
            let is = |name: &str, value: &str| letter.header(name).as_deref() == Some(value);
            is("bridge.topic", &topic) && is("bridge.offset", "0") && is("bridge.partition", "0")
        });
        ensure!(again.count() == 2, "the letter of the broken record is not there twice");

        // The group knows what went through: only the new letter is looked at.
        let said = through(&mended, "wrong-type")?;
        ensure!(said[0] == "0 of 1 letters sent, 1 others left", "{said:?}");
        rows_are_exact(&bench.questdb, &table, THROUGH, Band::ALL, VISIBLE)?;
        ensure!(bench.kafka.end_offsets(&topic)? == ends, "the topic of the records has grown");
        Ok(())
    });
}

/// Letters of the tests of replays that something happens to.
const LETTERS: u64 = 3_000;
/// How long the proxy holds what goes to the database, and what comes back. With requests of less
/// than fifty rows, one at a time, a replay takes six seconds at least.
const HELD: Duration = Duration::from_millis(50);
const PACE: [&str; 5] = [
    "lanes = 1",
    "batch_records_max = 25",
    "payload_rows_max = 25",
    "commit_rows_max = 25",
    "commit_interval = \"1s\"",
];

/// Records that were refused, every one, and the pipeline that takes them by now, slowly.
struct Refused {
    mended: Installed,
    /// Between a replay and the database.
    proxy: Proxy,
    /// What a replay's group is called.
    name: String,
    /// How many letters it knows to be stored.
    group: Group,
}

impl Refused {
    fn new(bench: &Bench, name: &str) -> Result<Self> {
        let setup = Setup::readings(bench, name, PARTITIONS)?.upserting();
        let (setup, mut mended) = refusing(setup);
        bench.kafka.produce(&setup.topic, (0..LETTERS).map(noted))?;
        let letters = format!("{}.dead-letters", setup.topic);
        let installed = setup.install()?;
        let bridge = installed.start()?;
        installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
        bridge.stop_well(Duration::from_secs(20))?;

        let name = format!("replay-{}", mended.topic);
        let group = Group::new(bench, &name, &letters, PARTITIONS)?;
        let end = group.end()?;
        ensure!(end == LETTERS as i64, "{end} letters, not {LETTERS}");
        let proxy = Proxy::start(&bench.questdb.http_address())?;
        proxy.delay(HELD);
        mended.http_address = proxy.address();
        mended.limits = PACE.map(str::to_owned).into();
        // Whoever comes after one that was killed waits until its session has ended.
        mended.properties.push(SESSION.to_owned());
        Ok(Self { mended: mended.install()?, proxy, name, group })
    }

    fn arguments(&self) -> Result<[&str; 8]> {
        let file = self.mended.file.to_str().context("temporary folders have plain names")?;
        let group = self.name.as_str();
        Ok(["replay", "--config", file, "--through", "--reason", "wrong-type", "--group", group])
    }

    /// A replay that has committed, and is not done.
    fn start_midway(&self) -> Result<Bridge> {
        // It serves no HTTP.
        let replay = Bridge::start(&self.arguments()?, "")?;
        self.group.wait_progress(&replay, 0, DRAIN)?;
        Ok(replay)
    }

    /// The same command, to its end and not held up any more.
    fn finish(&self) -> Result<Vec<String>> {
        self.proxy.delay(Duration::ZERO);
        let answer = Answer::of(&self.arguments()?)?;
        answer.ensure_code(0)?;
        Ok(answer.stdout.lines().map(str::to_owned).collect())
    }

    /// What a replay says that read so many letters and had all of them stored.
    fn stored(&self, count: u64) -> [String; 3] {
        [
            format!("{count} of {} sent through readings (wrong-type)", self.mended.setup.topic),
            format!("{count} of {count} letters sent, 0 others left"),
            format!("{count} stored, 0 filtered, 0 rejected again"),
        ]
    }

    /// Every letter is a row, none is two, and the group knows it.
    fn ensure_all_stored(&self, bench: &Bench) -> Result<()> {
        let known = self.group.committed()?;
        ensure!(known == LETTERS as i64, "{known} of {LETTERS} letters are known to be stored");
        rows_are_exact(&bench.questdb, &self.mended.setup.table, LETTERS, Band::ALL, VISIBLE)
    }
}

#[test]
fn a_killed_replay_goes_on_where_it_stopped() {
    promise("a killed replay goes on where it stopped", |bench| {
        let refused = Refused::new(bench, "resumed")?;
        let group = &refused.group;
        let count = format!("select count() from {}", refused.mended.setup.table);
        let replay = refused.start_midway()?;
        // Between the answer of the database and the commit: the next one is most of a second away.
        replay.wait(VISIBLE, "rows that the group does not know of", || {
            let rows = bench.questdb.scalar_i64(&count)?;
            let known = group.committed()?;
            ensure!(rows > known, "{rows} rows, {known} letters are known to be stored");
            Ok(())
        })?;
        replay.kill()?;
        let (known, rows) = (group.committed()?, bench.questdb.scalar_i64(&count)?);
        println!("killed with {rows} rows, of which the group knows {known}");
        ensure!(known < LETTERS as i64, "it was killed with nothing to do");
        ensure!(rows > known, "{rows} rows, {known} known: none would be stored again");

        // It takes what the group does not know of, all of it and no more. If a letter before that
        // were not stored, its row would be missing now.
        let said = refused.finish()?;
        let left = LETTERS - known as u64;
        ensure!(said == refused.stored(left), "{left} letters were left: {said:?}");
        refused.ensure_all_stored(bench)
    });
}

#[test]
fn a_replay_waits_while_the_database_is_away() {
    promise("a replay waits while the database is away", |bench| {
        let refused = Refused::new(bench, "awaited")?;
        let replay = refused.start_midway()?;
        bench.questdb.kill()?;
        // When the database is back, we look at it before the replay does.
        refused.proxy.refuse(true);
        refused.proxy.cut();
        replay.process().wait_for_line("is not answering", VISIBLE)?;
        // Meanwhile there is time for some commits.
        bench.questdb.restart()?;
        replay.ensure_running()?;
        let known = refused.group.committed()?;
        ensure!(known < LETTERS as i64, "{known} letters count as stored, and nobody stored them");
        let count = format!("select count() from {}", refused.mended.setup.table);
        let rows = bench.questdb.wait_for(&count, |rows| rows >= known, VISIBLE);
        let rows = rows.with_context(|| format!("{known} letters count as stored"))?;
        println!("away with {rows} rows, of which the group knows {known}");

        refused.proxy.delay(Duration::ZERO);
        refused.proxy.refuse(false);
        let status = replay.process().wait_exit(DRAIN)?;
        ensure!(status.success(), "it ended with {status}");
        // The last line; streams end after the process.
        replay.process().wait_for_line("rejected again", VISIBLE)?;
        let said = replay.process().stdout_lines();
        ensure!(said == refused.stored(LETTERS), "{said:?}");
        refused.ensure_all_stored(bench)
    });
}
