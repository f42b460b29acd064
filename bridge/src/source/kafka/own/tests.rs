//! The plane against brokers that do as they are told. The differences to the client library are
//! looked for on a real broker.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode as Code;

use super::fake::{Fake, Fault};
use super::fit::Terms;
use super::{Plane, Tap, Trouble};
use crate::batch::{PartitionIndex, Route, TopicPartition};
use crate::kafka::wire::connection::Manner;
use crate::kafka::wire::metadata::TopicId;
use crate::kafka::wire::testing::Batch;
use crate::kafka::wire::vet::Codec;
use crate::source::wake::Bell;
use crate::ticket::{Lost, Ticket};

const DEADLINE: Duration = Duration::from_secs(30);

fn terms(fake: &Fake) -> Terms {
    let brief = Duration::from_millis(5);
    Terms {
        bootstrap: vec![fake.address()],
        manner: Manner {
            client: "test".to_owned(),
            connect_max: DEADLINE,
            answer_max: DEADLINE,
            answer_bytes_max: 1 << 20,
            keepalive: true,
        },
        wait: Duration::from_millis(50),
        min_bytes: 1,
        answer_bytes: 1 << 20,
        part_bytes: 4_000,
        share_bytes: 16_000,
        unpacked_bytes_max: 1 << 20,
        committed: true,
        check_crc: true,
        full_pause: brief,
        error_pause: brief,
        reconnect_min: brief,
        reconnect_max: brief,
        refresh: DEADLINE,
    }
}

/// One partition that is read by ourselves.
struct Reading {
    fake: Arc<Fake>,
    plane: Plane,
    bell: Arc<Bell>,
    tap: Tap,
    lost: Arc<Lost>,
    troubles: Vec<Trouble>,
}

impl Reading {
    fn of(fake: &Arc<Fake>, terms: Terms) -> Reading {
        let bell = Arc::new(Bell::default());
        let plane = Plane::new(terms, &bell);
        let tap = plane.tap(&TopicPartition { topic: "t".into(), partition: 0 });
        let (fake, lost) = (Arc::clone(fake), Arc::new(Lost::default()));
        Reading { fake, plane, bell, tap, lost, troubles: Vec::new() }
    }

    /// What can be taken at once: offsets and values.
    fn take(&mut self, room: usize) -> Vec<(i64, String)> {
        let troubles = &mut self.troubles;
        let taken =
            self.tap.take(room, &mut self.plane.unpacker, &mut |trouble| troubles.push(trouble));
        let Some(taken) = taken else { return Vec::new() };
        let (first, next) = taken.span().expect("nothing is not taken");
        let name = TopicPartition { topic: "t".into(), partition: 0 };
        let ticket = Ticket::issue(0, Arc::clone(&self.lost));
        let batch = taken.into_batch(PartitionIndex(0), name, ticket, Route::Primary);
        let record = |record: crate::batch::Record<'_>| {
            (record.offset, String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned())
        };
        let found: Vec<_> = batch.iter().map(record).collect();
        assert!(found[0].0 == first && found[found.len() - 1].0 == next - 1);
        found
    }

    /// Takes until there were so many records, or trouble.
    fn until(&mut self, count: usize) -> Vec<(i64, String)> {
        let deadline = Instant::now() + DEADLINE;
        let mut found = Vec::new();
        while found.len() < count && self.troubles.is_empty() {
            assert!(Instant::now() < deadline, "{} of {count} records", found.len());
            let more = self.take(7);
            if more.is_empty() {
                self.bell.wait(Instant::now() + Duration::from_millis(20));
            }
            found.extend(more);
        }
        found
    }

    fn trouble(&mut self) -> Trouble {
        self.until(usize::MAX);
        self.troubles.remove(0)
    }
}

/// Batches of three records each; values are offsets.
fn fill(fake: &Fake, partition: i32, batches: i64, make: impl Fn(Batch) -> Batch) {
    let mut log = Vec::new();
    for number in 0..batches {
        let first = number * 3;
        let values: Vec<String> = (first..first + 3).map(|offset| offset.to_string()).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        log.push((first, first + 2, make(Batch::of(first, &values)).bytes()));
    }
    fake.with(|script| {
        script.logs.insert(partition, log);
        script.leaders.insert(partition, 1);
    });
}

fn started(brokers: usize, version: i16, batches: i64) -> Reading {
    let fake = Fake::start(brokers, version);
    fill(&fake, 0, batches, |batch| batch);
    let mut reading = Reading::of(&fake, terms(&fake));
    reading.tap.start(0);
    reading
}

fn numbers(range: std::ops::Range<i64>) -> Vec<(i64, String)> {
    range.map(|offset| (offset, offset.to_string())).collect()
}

#[test]
fn every_version_reads_the_same() {
    for version in 4..=12 {
        let mut reading = started(1, version, 200);
        assert_eq!(reading.until(600), numbers(0..600), "version {version}");
        assert_eq!(reading.tap.end(), Some(600));
        // From the middle of a batch.
        reading.tap.start(301);
        assert_eq!(reading.until(299), numbers(301..600), "version {version}");
    }
}

#[test]
fn every_compression_is_read_within_its_share() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let fake = Fake::start(1, 12);
        fill(&fake, 0, 300, |batch| Batch { codec, ..batch });
        let mut reading = Reading::of(&fake, terms(&fake));
        reading.tap.start(0);
        assert_eq!(reading.until(900), numbers(0..900), "{codec:?}");
    }
}

#[test]
fn a_partition_is_followed_to_another_leader() {
    let mut reading = started(2, 12, 20);
    reading.until(60);
    reading.fake.with(|script| {
        script.leaders.insert(0, 2);
        let log = script.logs.get_mut(&0).expect("it was filled");
        log.push((60, 60, Batch::of(60, &["60"]).bytes()));
    });
    assert_eq!(reading.until(1), numbers(60..61));
    assert!(reading.fake.with(|script| script.fetched.iter().any(|fetch| fetch.0 == 2)));
}

#[test]
fn errors_that_pass_are_waited_for() {
    let mut reading = started(1, 12, 0);
    for code in [3, 5, 6, 9, 56, 74, 75, 78, -1] {
        reading.fake.with(|script| script.faults.push_back(Fault::Code(code)));
    }
    reading.fake.with(|script| {
        for fault in [Fault::HangUp, Fault::Garbage(vec![0, 0, 0, 9, 1, 2, 3]), Fault::HangUp] {
            script.faults.push_back(fault);
        }
        script.logs.insert(0, vec![(0, 0, Batch::of(0, &["0"]).bytes())]);
    });
    let deadline = Instant::now() + DEADLINE;
    let mut found = Vec::new();
    while found.is_empty() {
        assert!(Instant::now() < deadline, "{:?}", reading.troubles);
        found = reading.take(1);
        reading.bell.wait(Instant::now() + Duration::from_millis(5));
    }
    // What the library would tell is told, the rest is not.
    let said = |trouble: &Trouble| match trouble {
        Trouble::Said(misfortune) => misfortune.code,
        Trouble::Foreign(why) => panic!("{why}"),
    };
    let said: Vec<Code> = reading.troubles.iter().map(said).collect();
    assert_eq!(said, [Code::UnknownTopicOrPartition, Code::Unknown]);
}

fn said(trouble: Trouble) -> Code {
    match trouble {
        Trouble::Said(misfortune) => misfortune.code,
        Trouble::Foreign(why) => panic!("{why}"),
    }
}

#[test]
fn an_offset_that_is_gone_waits_for_a_decision() {
    for fault in [Fault::Code(1), Fault::Diverged(7)] {
        let mut reading = started(1, 12, 3);
        reading.until(9);
        reading.fake.with(|script| script.faults.push_back(fault));
        assert_eq!(said(reading.trouble()), Code::OffsetOutOfRange);
        assert!(reading.take(9).is_empty());
        reading.tap.start(2);
        assert_eq!(reading.until(7), numbers(2..9));
    }
}

#[test]
fn a_topic_that_was_made_anew_is_another_log() {
    let fake = Fake::start(1, 12);
    fill(&fake, 0, 3, |batch| batch);
    fake.with(|script| script.topic = 1);
    let mut reading = Reading::of(&fake, terms(&fake));
    reading.tap.start(0);
    reading.until(9);
    // The new one has more than was read of the old one, so that the offset is there.
    fill(&fake, 0, 9, |batch| batch);
    fake.with(|script| {
        script.topic = 2;
        script.faults.push_back(Fault::Code(6));
    });
    assert_eq!(said(reading.trouble()), Code::OffsetOutOfRange);
    assert_eq!(reading.tap.point(9), None, "what was stored of the old one is not committed");
    assert_eq!(reading.tap.another(), TopicId::new(2));
    reading.tap.start(0);
    assert_eq!(reading.until(27), numbers(0..27));
    let point = reading.tap.point(27).expect("it is read");
    assert_eq!((point.topic, reading.tap.another()), (TopicId::new(2), None));
}

#[test]
fn an_offset_of_another_topic_is_not_where_reading_begins() {
    let fake = Fake::start(1, 12);
    fill(&fake, 0, 9, |batch| batch);
    fake.with(|script| script.topic = 2);
    let mut reading = Reading::of(&fake, terms(&fake));
    reading.tap.begin(9, TopicId::new(1));
    assert!(reading.until(1).is_empty());
    assert_eq!(said(reading.troubles.remove(0)), Code::OffsetOutOfRange);
    assert_eq!((reading.tap.point(9), reading.tap.another()), (None, TopicId::new(2)));
    for known in [TopicId::new(2), None] {
        reading.tap.begin(9, known);
        assert_eq!(reading.until(18), numbers(9..27));
        // Whoever is done with it still knows what it was.
        reading.tap.stop();
        let point = reading.tap.point(27).expect("it was read");
        assert_eq!(point.topic, TopicId::new(2));
    }
}

#[test]
fn damage_is_told_after_what_lies_before_it() {
    let mut reading = started(1, 12, 3);
    reading.until(9);
    reading.fake.with(|script| {
        let log = script.logs.get_mut(&0).expect("it was filled");
        log.push((9, 9, Batch::of(9, &["9"]).bytes()));
        let mut bad = Batch::of(10, &["10"]).bytes();
        bad[66] ^= 1;
        log.push((10, 10, bad));
    });
    reading.tap.start(9);
    assert_eq!(reading.until(2), numbers(9..10));
    assert_eq!(said(reading.trouble()), Code::BadMessage);
}

#[test]
fn records_that_are_none_are_told_after_what_lies_before_them() {
    let fake = Fake::start(1, 12);
    fill(&fake, 0, 1, |batch| batch);
    for (bad, codec) in [(&b"\x08\0\0"[..], Codec::None), (b"nothing", Codec::Zstd)] {
        fake.with(|script| {
            let log = script.logs.get_mut(&0).expect("it was filled");
            log.truncate(1);
            let batch = Batch { codec, ..Batch::of(3, &["3"]) };
            log.push((3, 3, batch.around(bad, 1)));
        });
        let mut reading = Reading::of(&fake, terms(&fake));
        reading.tap.start(0);
        assert_eq!(reading.until(4), numbers(0..3));
        assert_eq!(said(reading.trouble()), Code::BadMessage, "{codec:?}");
    }
}

#[test]
fn what_we_cannot_read_is_left_to_the_library() {
    let mut reading = started(1, 12, 1);
    reading.until(3);
    reading.fake.with(|script| {
        let mut old = Batch::of(3, &["3"]).bytes();
        old[16] = 1;
        script.logs.get_mut(&0).expect("it was filled").push((3, 3, old));
    });
    assert!(matches!(reading.trouble(), Trouble::Foreign(_)));
    // A broker from before Kafka 0.11.
    let mut reading = started(1, 3, 1);
    assert!(matches!(reading.trouble(), Trouble::Foreign(_)));
}

#[test]
fn a_batch_larger_than_a_fetch_is_read_whole() {
    let fake = Fake::start(1, 12);
    fill(&fake, 0, 2, |batch| batch);
    fill(&fake, 1, 2, |batch| batch);
    let large = "x".repeat(9_000);
    fake.with(|script| {
        for partition in 0..2 {
            let log = script.logs.get_mut(&partition).expect("it was filled");
            log.push((6, 6, Batch::of(6, &[&large]).bytes()));
            log.push((7, 7, Batch::of(7, &["7"]).bytes()));
        }
    });
    let mut reading = Reading::of(&fake, terms(&fake));
    // Only the first partition of an answer surely gets a whole batch.
    let mut other = reading.plane.tap(&TopicPartition { topic: "t".into(), partition: 1 });
    other.start(0);
    reading.tap.start(0);
    let found = reading.until(8);
    assert_eq!((found[6].1.len(), &*found[7].1), (9_000, "7"));
}

#[test]
fn an_answer_that_is_too_large_is_for_the_operator() {
    let fake = Fake::start(1, 12);
    fill(&fake, 0, 2_000, |batch| batch);
    let mut terms = terms(&fake);
    terms.manner.answer_bytes_max = 3_000;
    let mut reading = Reading::of(&fake, terms);
    reading.tap.start(0);
    assert_eq!(said(reading.trouble()), Code::MessageSizeTooLarge);
}

#[test]
fn nothing_is_asked_for_without_room() {
    let mut reading = started(1, 12, 5_000);
    let deadline = Instant::now() + DEADLINE;
    let held = |reading: &Reading| reading.tap.feed.raw.load(Ordering::Acquire);
    let questions = |reading: &Reading| reading.fake.with(|script| script.fetched.len());
    // It fills up to its share and stays there.
    let mut before = (0, Instant::now());
    while before.1.elapsed() < Duration::from_millis(100) || held(&reading) <= 8_000 {
        assert!(Instant::now() < deadline, "{} bytes", held(&reading));
        if questions(&reading) != before.0 {
            before = (questions(&reading), Instant::now());
        }
        assert!(held(&reading) <= 16_000);
        std::thread::yield_now();
    }
    // What is lent counts, until it comes home.
    let mut troubles = Vec::new();
    let lent = reading.tap.take(5_000, &mut reading.plane.unpacker, &mut |t| troubles.push(t));
    let lent = lent.expect("it is there");
    assert!(held(&reading) > 8_000);
    drop(lent);
    reading.tap.start(0);
    assert_eq!(reading.until(15_000), numbers(0..15_000));
}

#[test]
fn an_answer_to_an_earlier_question_is_thrown_away() {
    let mut reading = started(1, 12, 10);
    reading.until(30);
    reading.fake.with(|script| script.held = true);
    let asked = |reading: &Reading, offset: i64| {
        reading.fake.with(|script| script.fetched.iter().filter(|f| f.2 == offset).count())
    };
    reading.tap.start(3);
    reading.tap.start(21);
    reading.fake.with(|script| script.held = false);
    assert_eq!(reading.until(9), numbers(21..30));
    assert!(asked(&reading, 21) > 0);
    reading.tap.stop();
    assert!(reading.take(9).is_empty());
}

#[test]
fn a_broker_that_wants_a_rest_gets_it() {
    let fake = Fake::start(1, 12);
    fill(&fake, 0, 1, |batch| batch);
    fake.with(|script| script.faults.push_back(Fault::Throttle(300)));
    let mut reading = Reading::of(&fake, terms(&fake));
    // Before it is answered, so that no pause of this thread counts as one of the other.
    let begun = Instant::now();
    reading.tap.start(0);
    reading.until(3);
    reading.fake.with(|script| script.fetched.clear());
    let deadline = begun + DEADLINE;
    while reading.fake.with(|script| script.fetched.is_empty()) {
        assert!(Instant::now() < deadline, "it is asked again");
        std::thread::yield_now();
    }
    assert!(begun.elapsed() > Duration::from_millis(200), "{:?}", begun.elapsed());
}

#[test]
fn aborted_records_are_not_taken() {
    let fake = Fake::start(1, 12);
    let log = [
        Batch::of(0, &["0"]).by(5),
        Batch::of(1, &["1"]).by(6),
        Batch::end(2, 6, 0),
        Batch::end(3, 5, 0),
        Batch::of(4, &["4"]),
    ];
    fake.with(|script| {
        // In the order of their ends, as a broker tells them.
        script.aborted = vec![(6, 1), (5, 0)];
        script.leaders.insert(0, 1);
        let log = log.iter().map(|batch| (batch.base_offset, batch.base_offset, batch.bytes()));
        script.logs.insert(0, log.collect());
    });
    let mut reading = Reading::of(&fake, terms(&fake));
    reading.tap.start(0);
    assert_eq!(reading.until(1), numbers(4..5));
}

#[test]
fn the_end_does_not_wait_for_a_broker_that_is_silent() {
    let reading = started(1, 12, 1);
    reading.fake.with(|script| script.held = true);
    let begun = Instant::now();
    reading.plane.close(begun + DEADLINE);
    assert!(begun.elapsed() < DEADLINE / 3, "{:?}", begun.elapsed());
    reading.fake.with(|script| script.held = false);
}
