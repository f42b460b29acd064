//! The group member against the in-process cluster. What only a real broker can show (static
//! membership, transactions, retention) is tested with the real servers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset};

use super::KafkaSource;
use super::fetch::end_of;
use crate::batch::{PartitionIndex, Route};
use crate::blame::Fault;
use crate::config::security::SecurityPlan;
use crate::config::{Fetching, Group, KafkaPlan, OutOfRange, RejectsPlan, Start, Topics};
use crate::kafka::mock::Cluster;
use crate::kafka::topics::Scout;
use crate::kafka::{Settings, check};
use crate::limits::Limits;
use crate::range::Range;
use crate::rejects::own_topics;
use crate::sink::FindingState;
use crate::source::{CommitPoint, Event, Source};
use crate::ticket::{Lost, Ticket};

pub(super) const DEADLINE: Duration = Duration::from_secs(60);

pub(super) fn plan(cluster: &Cluster, group: &str) -> KafkaPlan {
    KafkaPlan {
        properties: vec![
            ("bootstrap.servers".to_owned(), cluster.bootstrap_servers()),
            ("session.timeout.ms".to_owned(), "6000".to_owned()),
        ],
        topics: Topics::List(vec!["sensors".to_owned()]),
        group: Group::Named(group.to_owned()),
        instance: None,
        start: Start::Earliest,
        from: None,
        out_of_range: OutOfRange::Stop,
        range: None,
        fetch: Fetching::Auto,
        security: SecurityPlan::default(),
    }
}

pub(super) fn cluster(partitions: i32, records: usize) -> Cluster {
    let cluster = Cluster::start(1).expect("a cluster of our own");
    cluster.create_topic("sensors", partitions).expect("a fresh name");
    produce(&cluster, partitions, records);
    cluster
}

/// `records` in each partition; a value is its number.
pub(super) fn produce(cluster: &Cluster, partitions: i32, records: usize) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers());
    let producer: BaseProducer = config.create().expect("a right configuration");
    for partition in 0..partitions {
        for number in 0..records {
            let value = number.to_string();
            let headers = OwnedHeaders::new().insert(Header { key: "h", value: Some(&value) });
            let record = BaseRecord::<str, str>::to("sensors").partition(partition);
            let record = record.payload(&value).headers(headers);
            producer.send(record).map_err(|(error, _)| error).expect("there is room");
        }
    }
    producer.flush(DEADLINE).expect("a healthy cluster");
}

fn open(plan: &KafkaPlan) -> KafkaSource {
    KafkaSource::open(plan, &Limits::default(), &[]).expect("a healthy cluster")
}

/// A member that remembers what it read, and commits only when told to.
pub(super) struct Reader {
    pub(super) source: KafkaSource,
    pub(super) owned: Vec<PartitionIndex>,
    /// By partition number: (offset, value).
    pub(super) seen: BTreeMap<i32, Vec<(i64, String)>>,
    /// By partition number: how many of these are committed.
    kept: BTreeMap<i32, usize>,
    lost: Arc<Lost>,
    /// Partitions whose range is over, by number.
    pub(super) over: Vec<i32>,
}

impl Reader {
    pub(super) fn new(plan: &KafkaPlan) -> Reader {
        let (seen, kept) = (BTreeMap::new(), BTreeMap::new());
        let (owned, over) = (Vec::new(), Vec::new());
        Reader { source: open(plan), owned, seen, kept, lost: Arc::default(), over }
    }

    /// One turn of an intake that drains in no time.
    fn turn(&mut self) {
        while let Some(event) = self.source.poll().expect("a healthy cluster") {
            match event {
                Event::Assigned(partitions) => {
                    let at: Vec<_> = partitions.iter().map(|index| (*index, None)).collect();
                    self.source.start(&at).expect("they are ours");
                    self.owned.extend(partitions);
                }
                Event::Revoked(partitions) => {
                    if self.keep().is_err() {
                        self.forget(&partitions);
                    }
                    self.owned.retain(|index| !partitions.contains(index));
                    self.source.release(&partitions).expect("they were ours");
                }
                Event::Lost(partitions) => self.owned.retain(|index| !partitions.contains(index)),
                Event::Ended(index) => self.over.push(self.source.name_of(index).partition),
                Event::Missed(..) | Event::WentBack(..) => {}
            }
        }
        let mut any = false;
        for index in self.owned.clone() {
            let Some(taken) = self.source.take(index, 100).expect("a healthy log") else {
                continue;
            };
            any = true;
            let name = self.source.name_of(index);
            let ticket = Ticket::issue(0, Arc::clone(&self.lost));
            let batch = taken.into_batch(index, name.clone(), ticket, Route::Primary);
            let seen = self.seen.entry(name.partition).or_default();
            for (place, record) in batch.iter().enumerate() {
                let value = String::from_utf8_lossy(record.value.expect("it has one")).into_owned();
                batch.headers(place, &mut |name, header| {
                    assert_eq!((name, header), (&b"h"[..], Some(value.as_bytes())));
                });
                seen.push((record.offset, value));
            }
        }
        if !any {
            self.source.wait(Instant::now() + Duration::from_millis(20));
        }
    }

    pub(super) fn until(&mut self, what: &str, done: impl Fn(&Reader) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !done(self) {
            assert!(Instant::now() < deadline, "waiting for {what}");
            self.turn();
        }
    }

    pub(super) fn count(&self) -> usize {
        self.seen.values().map(Vec::len).sum()
    }

    pub(super) fn points(&self) -> Vec<CommitPoint> {
        let next = |index: &PartitionIndex| {
            let seen = self.seen.get(&self.source.name_of(*index).partition)?;
            Some(CommitPoint { partition: *index, next: seen.last()?.0 + 1 })
        };
        self.owned.iter().filter_map(next).collect()
    }

    fn keep(&mut self) -> Result<(), Fault> {
        let points = self.points();
        self.source.commit(&points, true)?;
        self.kept.extend(self.seen.iter().map(|(partition, seen)| (*partition, seen.len())));
        Ok(())
    }

    pub(super) fn commit(&mut self) {
        self.keep().expect("a healthy cluster");
    }

    /// What could not be committed before a partition went is read by whoever has it next. The
    /// in-process cluster refuses commits while the group is on the move; a broker takes them.
    fn forget(&mut self, partitions: &[PartitionIndex]) {
        for index in partitions {
            let number = self.source.name_of(*index).partition;
            let kept = self.kept.get(&number).copied().unwrap_or_default();
            self.seen.entry(number).or_default().truncate(kept);
        }
    }

    pub(super) fn assert_in_order(&self, records: usize) {
        for (partition, seen) in &self.seen {
            let offsets: Vec<i64> = seen.iter().map(|(offset, _)| *offset).collect();
            assert_eq!(offsets, (0..records as i64).collect::<Vec<_>>(), "partition {partition}");
            assert!(seen.iter().all(|(offset, value)| *value == offset.to_string()));
        }
    }
}

#[test]
fn every_record_comes_once_and_in_order() {
    let cluster = cluster(3, 1_000);
    let mut reader = Reader::new(&plan(&cluster, "all"));
    reader.until("all records", |reader| reader.count() >= 3_000);
    reader.assert_in_order(1_000);
    let lag = reader.source.lag();
    assert!(lag.iter().all(|lag| lag.end == 1_000 && lag.position == 1_000), "{lag:?}");
    reader.source.close(DEADLINE);
}

#[test]
fn the_library_fetches_nothing_of_what_we_fetch() {
    let cluster = cluster(2, 500);
    for strategy in ["cooperative-sticky", "range"] {
        for fetch in [Fetching::Auto, Fetching::Library] {
            let mut plan = KafkaPlan { fetch, ..plan(&cluster, &format!("{strategy}-{fetch:?}")) };
            let property = ("partition.assignment.strategy".to_owned(), strategy.to_owned());
            plan.properties.push(property);
            let mut reader = Reader::new(&plan);
            reader.until("all records", |reader| reader.count() >= 1_000);
            reader.assert_in_order(500);
            // Only a fetch tells the library where a partition ends.
            let topic = c"sensors".to_owned();
            let ends: Vec<_> =
                (0..2).map(|partition| end_of(&reader.source.client, &topic, partition)).collect();
            let expected = (fetch == Fetching::Library).then_some(500);
            assert_eq!(ends, [expected; 2], "{strategy}, {fetch:?}");
            reader.source.close(DEADLINE);
        }
    }
}

#[test]
fn a_partition_that_is_handed_over_goes_on_where_it_was() {
    for strategy in ["cooperative-sticky", "range"] {
        let cluster = cluster(2, 2_000);
        let mut plan = plan(&cluster, "over");
        let property = ("partition.assignment.strategy".to_owned(), strategy.to_owned());
        plan.properties.push(property);
        let mut reader = Reader::new(&plan);
        reader.until("some records", |reader| reader.count() >= 500);
        let index = reader.owned[0];
        reader.source.hand_over(index, "it is told to").expect("it is ours");
        reader.until("all records", |reader| reader.count() >= 4_000);
        reader.assert_in_order(2_000);
        let is_own = |index: &PartitionIndex| reader.source.table.get(*index).is_own();
        assert_eq!(reader.owned.iter().filter(|index| is_own(index)).count(), 1);
        reader.source.close(DEADLINE);
    }
}

#[test]
fn a_restart_goes_on_from_the_committed_offset() {
    let cluster = cluster(2, 500);
    let plan = plan(&cluster, "again");
    let mut reader = Reader::new(&plan);
    reader.until("all records", |reader| reader.count() >= 1_000);
    reader.commit();
    reader.source.close(DEADLINE);
    produce(&cluster, 2, 10);
    let mut reader = Reader::new(&plan);
    reader.until("the new records", |reader| reader.count() >= 20);
    assert!(reader.seen.values().all(|seen| seen[0].0 == 500), "{:?}", reader.seen);
}

#[test]
fn a_rewind_is_read_again_from_exactly_there() {
    let both = [Fetching::Auto, Fetching::Library];
    let ways = ["cooperative-sticky", "range"].into_iter().flat_map(|way| both.map(|by| (way, by)));
    for (strategy, fetch) in ways {
        let cluster = cluster(2, 2_000);
        let mut plan = KafkaPlan { fetch, ..plan(&cluster, "rewind") };
        let property = ("partition.assignment.strategy".to_owned(), strategy.to_owned());
        plan.properties.push(property);
        let mut reader = Reader::new(&plan);
        for goal in [200, 700, 1_500] {
            reader.until("some records", |reader| reader.count() >= goal);
            let (partition, seen) = reader.seen.iter_mut().next().expect("some were seen");
            let back = seen.len() / 2;
            seen.truncate(back);
            let index = reader
                .owned
                .iter()
                .find(|index| reader.source.name_of(**index).partition == *partition);
            let index = *index.expect("it is ours");
            reader.source.rewind(index, back as i64).expect("it is ours");
        }
        reader.until("all records", |reader| reader.count() >= 4_000);
        reader.assert_in_order(2_000);
    }
}

#[test]
fn partitions_move_without_loss_or_repetition() {
    let cluster = cluster(4, 1_000);
    let plan = plan(&cluster, "move");
    let mut first = Reader::new(&plan);
    first.until("some records", |reader| reader.count() > 0);
    let mut second = Reader::new(&plan);
    let deadline = Instant::now() + DEADLINE;
    while first.count() + second.count() < 4_000 || second.owned.is_empty() {
        assert!(Instant::now() < deadline, "{} and {}", first.count(), second.count());
        first.turn();
        second.turn();
    }
    assert_eq!((first.owned.len(), second.owned.len()), (2, 2));
    for partition in 0..4 {
        let of = |reader: &Reader| reader.seen.get(&partition).cloned().unwrap_or_default();
        let mut both = of(&first);
        both.extend(of(&second));
        let offsets: Vec<i64> = both.iter().map(|(offset, _)| *offset).collect();
        assert_eq!(offsets, (0..1_000).collect::<Vec<_>>(), "partition {partition}");
    }
}

#[test]
fn a_partition_that_stays_at_its_end_goes_on_there() {
    let cluster = cluster(2, 100);
    let plan = KafkaPlan { fetch: Fetching::Library, ..plan(&cluster, "stay") };
    let mut first = Reader::new(&plan);
    first.until("all records", |reader| reader.count() >= 200);
    first.commit();
    // The library counts the end of a log for a record (2.12). When it no longer does, what puts
    // that right can go.
    first.until("both ends to be told", |reader| {
        let counted = reader.source.client.position().expect("they are assigned");
        counted.elements().iter().all(|element| element.offset() == Offset::Offset(101))
    });
    let mut second = Reader::new(&plan);
    let deadline = Instant::now() + DEADLINE;
    while (first.owned.len(), second.owned.len()) != (1, 1) {
        assert!(Instant::now() < deadline, "{} and {}", first.owned.len(), second.owned.len());
        first.turn();
        second.turn();
    }
    produce(&cluster, 2, 10);
    while first.count() + second.count() < 220 {
        assert!(Instant::now() < deadline, "{} and {}", first.count(), second.count());
        first.turn();
        second.turn();
    }
    let of = |reader: &Reader, number: i32| reader.seen.get(&number).cloned().unwrap_or_default();
    for number in 0..2 {
        let both = of(&first, number).into_iter().chain(of(&second, number));
        assert!(both.map(|(offset, _)| offset).eq(0..110), "partition {number}");
    }
}

#[test]
fn a_paused_partition_gives_nothing_and_loses_nothing() {
    let cluster = cluster(1, 300);
    let mut reader = Reader::new(&plan(&cluster, "pause"));
    reader.until("an assignment", |reader| !reader.owned.is_empty());
    let index = reader.owned[0];
    reader.source.pause(index).expect("it is ours");
    assert!(reader.source.take(index, 10).expect("a healthy log").is_none());
    reader.source.resume(index).expect("it is ours");
    reader.until("all records", |reader| reader.count() >= 300);
    reader.assert_in_order(300);
}

#[test]
fn start_counts_only_where_nothing_is_committed() {
    let cluster = cluster(1, 100);
    let committed = KafkaPlan { start: Start::Committed, ..plan(&cluster, "start") };
    let mut source = open(&committed);
    let deadline = Instant::now() + DEADLINE;
    let fault = loop {
        assert!(Instant::now() < deadline, "waiting for an assignment");
        if let Some(Event::Assigned(partitions)) = source.poll().expect("a healthy cluster") {
            break source.start(&[(partitions[0], None)]).expect_err("nothing is committed");
        }
        source.wait(Instant::now() + Duration::from_millis(20));
    };
    assert!(fault.message.starts_with("sensors/0 has no committed offset"), "{fault}");
    source.close(DEADLINE);

    let latest = KafkaPlan { start: Start::Latest, ..committed };
    let mut reader = Reader::new(&latest);
    reader.until("an assignment", |reader| !reader.owned.is_empty());
    produce(&cluster, 1, 5);
    reader.until("the new records", |reader| reader.count() >= 5);
    assert_eq!(reader.seen[&0][0].0, 100);
    reader.source.close(DEADLINE);

    let once = KafkaPlan { from: Some(Start::Earliest), ..latest };
    let mut reader = Reader::new(&once);
    reader.until("all records", |reader| reader.count() >= 105);
    assert_eq!(reader.seen[&0][0].0, 0);
}

#[test]
fn a_partition_starts_before_its_end_or_at_an_offset() {
    let cluster = cluster(2, 100);
    let begin = |start: &str, group: &str| {
        let start = Start::parse(start).expect("it is right");
        let mut reader = Reader::new(&KafkaPlan { start, ..plan(&cluster, group) });
        reader.until("both last records", |reader| {
            reader.seen.len() == 2 && reader.seen.values().all(|seen| seen.last().unwrap().0 == 99)
        });
        reader.source.close(DEADLINE);
        (reader.seen[&0][0].0, reader.seen[&1][0].0)
    };
    assert_eq!(begin("7 before end", "before"), (93, 93));
    assert_eq!(begin("1000 before end", "long-before"), (0, 0));
    assert_eq!(begin("1=90, elsewhere/0=5", "at"), (0, 90));
}

#[test]
fn a_range_is_read_and_no_more_and_again_where_it_is_rewound() {
    let cluster = cluster(3, 300);
    let text = "partition = 0 and (offset >= 10 and offset < 20 or offset between 250 and 259) or \
                partition = 1 and offset > 280";
    for fetch in [Fetching::Auto, Fetching::Library] {
        let range = Some(Range::parse(text).expect("it is right"));
        let plan = KafkaPlan { range, fetch, ..plan(&cluster, &format!("range-{fetch:?}")) };
        let mut reader = Reader::new(&plan);
        reader.until("all to be over", |reader| reader.over.len() == 3);
        let offsets = |reader: &Reader, partition: i32| -> Vec<i64> {
            let seen = reader.seen.get(&partition).into_iter().flatten();
            seen.map(|(offset, _)| *offset).collect()
        };
        assert_eq!(offsets(&reader, 0), (10..20).chain(250..260).collect::<Vec<_>>(), "{fetch:?}");
        assert_eq!(offsets(&reader, 1), (281..300).collect::<Vec<_>>(), "{fetch:?}");
        assert_eq!(offsets(&reader, 2), [0_i64; 0], "{fetch:?}");
        assert!(reader.source.lag().iter().all(|lag| lag.end == lag.position), "{fetch:?}");
        reader.keep().expect("a healthy cluster");

        let first = |index: &&PartitionIndex| reader.source.name_of(**index).partition == 0;
        let first = *reader.owned.iter().find(first).expect("it is ours");
        reader.source.rewind(first, 15).expect("it is ours");
        reader.over.clear();
        reader.until("the first to be over again", |reader| reader.over == [0]);
        let again = (10..20).chain(250..260).chain(15..20).chain(250..260);
        assert_eq!(offsets(&reader, 0), again.collect::<Vec<_>>(), "{fetch:?}");
        reader.source.close(DEADLINE);

        let mut reader = Reader::new(&plan);
        reader.until("all to be over at once", |reader| reader.over.len() == 3);
        assert!(reader.seen.is_empty(), "{fetch:?}: what is committed is not read again");
        reader.source.close(DEADLINE);
    }
}

#[test]
fn a_topic_that_does_not_exist_is_named() {
    let cluster = cluster(1, 0);
    let error = rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    cluster.topic_error("sensors", error).expect("the mock takes errors");
    let fault = KafkaSource::open(&plan(&cluster, "none"), &Limits::default(), &[]).err();
    let fault = fault.expect("the topic is said to be unknown");
    assert!(fault.message.contains("topic `sensors` does not exist"), "{fault}");
}

#[test]
fn what_check_says_of_a_healthy_cluster() {
    let cluster = cluster(2, 1_500);
    let plan = plan(&cluster, "check");
    let rejects = RejectsPlan::Topic { topic: "sensors".to_owned() };
    let findings = check::check(&plan, &rejects, &[], false);
    let shown: Vec<_> = findings.iter().map(|f| (f.subject, f.state, f.note.as_str())).collect();
    assert_eq!(shown[0].1, FindingState::Ok, "{shown:?}");
    assert_eq!(shown[1], ("topic", FindingState::Ok, "2 partitions, 3,000 records"));
    assert_eq!(shown[2], ("group", FindingState::Ok, "new: starts at earliest"));
    assert_eq!(shown[3], ("rejects", FindingState::Ok, "a topic, 2 partitions"));
    let samples = check::sample(&plan, &[], 20).expect("a healthy cluster");
    assert_eq!(samples.len(), 20);
    assert!(samples.iter().all(|sample| sample.offset >= 1_480));
}

#[test]
fn an_expression_does_not_find_the_pipelines_own_dead_letters() {
    let cluster = cluster(2, 10);
    cluster.create_topic("sensors.dead-letters", 3).expect("a fresh name");
    let mut plan = plan(&cluster, "own");
    plan.topics = Topics::Regex { like: "sensors.*".to_owned(), except: Vec::new() };
    let rejects = RejectsPlan::Topic { topic: "{topic}.dead-letters".to_owned() };
    let ignored = own_topics(&rejects);
    let settings = Settings::new(&plan).expect("a right plan");
    let scout = Scout::new(&settings).expect("a right plan");
    let names = |ignored: &[String]| {
        let found = scout.topics(&plan.topics, ignored).expect("a healthy cluster");
        found.into_iter().map(|topic| topic.name).collect::<Vec<_>>()
    };
    assert_eq!(names(&[]).len(), 2);
    assert_eq!(names(&ignored), ["sensors"]);
    let findings = check::check(&plan, &rejects, &ignored, false);
    let topics = findings.iter().filter(|finding| finding.subject == "topic");
    assert_eq!(topics.map(|f| f.name.as_str()).collect::<Vec<_>>(), ["sensors"]);
    let targets = findings.iter().filter(|finding| finding.subject == "rejects");
    assert_eq!(targets.map(|f| f.name.as_str()).collect::<Vec<_>>(), ["sensors.dead-letters"]);
}

/// What a member that takes nothing has to say about the end of its only partition.
fn end_seen(source: &mut KafkaSource, end: i64) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        assert!(Instant::now() < deadline, "waiting for the end to be {end}");
        while let Some(event) = source.poll().expect("a healthy cluster") {
            let Event::Assigned(partitions) = event else { continue };
            let at: Vec<_> = partitions.iter().map(|index| (*index, None)).collect();
            source.start(&at).expect("they are ours");
        }
        let lags = source.lag();
        if lags.iter().any(|lag| lag.end == end && lag.position == 0) {
            return;
        }
        source.wait(Instant::now() + Duration::from_millis(20));
    }
}

#[test]
fn the_end_is_known_of_a_partition_that_is_not_fetched() {
    let cluster = cluster(1, 1_000);
    // The smallest queue holds 500 records: nothing is fetched beyond the first ones.
    let limits = Limits { fetch_bytes_max: 1, ..Limits::default() };
    let plan = plan(&cluster, "end");
    let mut source = KafkaSource::open(&plan, &limits, &[]).expect("a healthy cluster");
    end_seen(&mut source, 1_000);
    produce(&cluster, 1, 500);
    end_seen(&mut source, 1_500);
}

#[test]
fn a_member_that_begins_again_loses_nothing() {
    let cluster = cluster(2, 500);
    let mut reader = Reader::new(&plan(&cluster, "anew"));
    reader.until("all records", |reader| reader.count() >= 1_000);
    reader.commit();
    let membership = reader.source.membership();
    assert!(membership.metadata().is_some() && membership.losses() == 0);
    reader.source.begin_again().expect("a healthy cluster");
    assert_eq!(membership.losses(), 1);
    assert!(matches!(reader.source.poll(), Ok(Some(Event::Lost(lost))) if lost.len() == 2));
    reader.owned.clear();
    produce(&cluster, 2, 10);
    reader.until("the new records", |reader| reader.count() >= 1_020);
    assert!(membership.metadata().is_some(), "it is that of the new client");
    assert!(reader.seen.values().all(|seen| seen.iter().map(|(at, _)| *at).eq(0..510)));
}

#[test]
fn a_ring_ends_the_wait() {
    let cluster = cluster(1, 0);
    let mut source = open(&plan(&cluster, "ring"));
    let waker = source.waker();
    waker();
    source.wait(Instant::now() + DEADLINE);
    let begun = Instant::now();
    source.wait(begun + DEADLINE);
    assert!(begun.elapsed() < DEADLINE / 2, "it looks around by itself");
}
