//! The sink on the cluster in this process: what arrives where, under which key, in which order,
//! and what becomes of records that the topic does not take.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_abi::{Cell, Kind as CellKind};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message, OwnedMessage};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::mpsc;

use super::framing::Addressing;
use super::*;
use crate::batch::testing::{Pair, batch};
use crate::batch::{Emitted, Payload, Receipt, RecordBatch, Row, RowBatch, Verdict};
use crate::config::security::SecurityPlan;
use crate::config::{Alone, Fetching, Group, OutOfRange, Section, Start, Topics as Read};
use crate::kafka::mock::Cluster;
use crate::names::Names;
use crate::observe::PipelineMeter;
use crate::outbox::{Closing, Destination, Outbox};
use crate::reject::{Reason, Rejected, Rejects};
use crate::sink::text::Timestamps;
use crate::sink::{Commit, CourierDoors, Delivery, Home, Letters};

const DEADLINE: Duration = Duration::from_secs(30);
/// Kafka's number of the request that writes records.
const PRODUCE: i16 = 0;

pub fn plan(options: &str) -> Result<KafkaSinkPlan, crate::config::Mistake> {
    KafkaSinkPlan::parse(&Section::new("sink", options.parse().expect("TOML")))
}

fn source(brokers: &str) -> KafkaPlan {
    KafkaPlan {
        properties: vec![("bootstrap.servers".to_owned(), brokers.to_owned())],
        topics: Read::List(vec!["sensors".to_owned()]),
        group: Group::Named("g".to_owned()),
        instance: None,
        start: Start::Earliest,
        from: None,
        out_of_range: OutOfRange::Stop,
        range: None,
        fetch: Fetching::Auto,
        security: SecurityPlan::default(),
    }
}

/// A sink at work on a cluster of its own.
pub struct Bench {
    cluster: Cluster,
    names: Arc<Names>,
    encoder: Box<dyn Encoder>,
    payloads: mpsc::Sender<Payload>,
    receipts: mpsc::Receiver<Receipt>,
    letters: mpsc::Receiver<Rejected>,
    reset: watch::Sender<u64>,
    courier: tokio::task::JoinHandle<Result<(), Fault>>,
    meter: Arc<PipelineMeter>,
}

#[expect(clippy::disallowed_methods, reason = "a test owns its tasks and joins them")]
pub fn bench(options: &str, topics: &[(&str, i32)]) -> Bench {
    let cluster = Cluster::start(1).expect("a port");
    for (topic, partitions) in topics {
        cluster.create_topic(topic, *partitions).expect("a name");
    }
    let mut plan = plan(options).expect("a plan");
    plan.adopt(Some(&source(&cluster.bootstrap_servers()))).expect("other topics");
    let (names, meter) = (Arc::new(Names::default()), Arc::new(PipelineMeter::default()));
    let sink = plan
        .build(SinkContext {
            pipeline: "p".into(),
            names: Arc::clone(&names),
            shape: Arc::new(Shape::plain("t")),
            delivery: Delivery::AtLeastOnce,
            meter: Arc::clone(&meter),
            runtime: tokio::runtime::Handle::current(),
        })
        .expect("it opens nothing");
    let (payloads, inbox) = mpsc::channel(4);
    let (home, receipts) = mpsc::channel(64);
    let (dead_letters, letters) = mpsc::channel(4);
    let (reset, reset_seen) = watch::channel(0);
    let doors = CourierDoors {
        inbox,
        home: Home::new(home, Arc::new(|| {})),
        dead_letters: Letters::new(dead_letters, None),
        pool: Arc::default(),
        commit: Commit { bytes_max: 8 << 20, rows_max: 100_000 },
        reset: reset_seen,
    };
    let courier = tokio::spawn(sink.courier(0).run(doors));
    let encoder = sink.encoder();
    Bench { cluster, names, encoder, payloads, receipts, letters, reset, courier, meter }
}

pub fn pairs(keys: &[Option<&str>]) -> Vec<Pair> {
    keys.iter().map(|key| (key.map(|key| key.as_bytes().to_vec()), None)).collect()
}

impl Bench {
    /// One row for each record: a number, and a text for the column `name`.
    fn encode(&mut self, keys: &[Option<&str>], rows: &[(i64, &str)]) -> (Vec<Payload>, Rejects) {
        let rows = self.rows(rows);
        self.encode_all(keys, &rows)
    }

    pub fn rows(&self, rows: &[(i64, &str)]) -> RowBatch {
        let id = |name: &str| self.names.columns.intern(name).expect("few names");
        let (number, name) = (id("n"), id("name"));
        let mut batch_of_rows = RowBatch::default();
        for (at, (value, text)) in rows.iter().enumerate() {
            let integer = Cell {
                column: number,
                kind: CellKind::I64 as u8,
                flags: 0,
                len: 0,
                value: *value as u64,
            };
            let text = batch_of_rows.cell_bytes(name, CellKind::Text, 0, text.as_bytes());
            batch_of_rows.rows.push(Row {
                source: at as u32,
                number: 0,
                cells: batch_of_rows.cells.len() as u32,
                cell_count: 2,
                table: 0,
            });
            batch_of_rows.cells.extend([integer, text]);
        }
        batch_of_rows
    }

    pub fn encode_all(
        &mut self,
        keys: &[Option<&str>],
        rows: &RowBatch,
    ) -> (Vec<Payload>, Rejects) {
        let max = usize::MAX;
        let closing =
            Closing { payload_bytes_max: max, payload_rows_max: max, open_bytes_max: max };
        let mut outbox = Outbox::new(closing, Arc::default(), Instant::now());
        let mut rejects = Rejects::default();
        let records = batch(pairs(keys));
        let encoded = self.encoder.encode(&records, rows, &mut rejects, &mut outbox);
        encoded.expect("it goes on");
        outbox.close_all();
        (outbox.take_closed().map(|(_, payload)| payload).collect(), rejects)
    }

    /// Encodes and sends; the receipts' verdicts.
    async fn store(&mut self, keys: &[Option<&str>], rows: &[(i64, &str)]) -> Vec<Verdict> {
        let (payloads, rejects) = self.encode(keys, rows);
        assert!(rejects.is_empty());
        self.send(payloads).await
    }

    pub async fn send(&mut self, payloads: Vec<Payload>) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for payload in payloads {
            self.payloads.send(payload).await.expect("the courier runs");
            verdicts.push(self.receipt().await);
        }
        verdicts
    }

    async fn receipt(&mut self) -> Verdict {
        let receipt = tokio::time::timeout(DEADLINE, self.receipts.recv()).await;
        let receipt = receipt.expect("in time").expect("the courier runs");
        for share in receipt.shares {
            share.redeem();
        }
        receipt.verdict
    }

    pub async fn end(self) {
        drop(self.payloads);
        self.courier.await.expect("no panic").expect("no fault");
    }

    /// All records of a partition: key, value, headers.
    fn read(&self, topic: &str, partition: i32, count: usize) -> Vec<Read3> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        let told = |message: &OwnedMessage| {
            let headers = message.headers().map_or(Vec::new(), |headers| {
                let one = |h: rdkafka::message::Header<'_, &[u8]>| {
                    format!("{}={}", h.key, text(h.value.unwrap_or_default()))
                };
                headers.iter().map(one).collect()
            });
            let value = text(message.payload().expect("it is not null"));
            (message.key().map(text), value, headers)
        };
        self.read_messages(topic, partition, count).iter().map(told).collect()
    }

    pub fn read_messages(&self, topic: &str, partition: i32, count: usize) -> Vec<OwnedMessage> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.cluster.bootstrap_servers())
            .set("group.id", "reader")
            .create()
            .expect("right settings");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Beginning).expect("a place");
        consumer.assign(&list).expect("a list");
        let mut found = Vec::new();
        let end = Instant::now() + DEADLINE;
        while found.len() < count {
            assert!(Instant::now() < end, "{topic}/{partition} has {found:?}");
            let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
            found.push(message.detach());
        }
        found
    }
}

/// Key, value and headers of a record.
type Read3 = (Option<String>, String, Vec<String>);

pub fn is_stored(verdicts: &[Verdict]) -> bool {
    !verdicts.is_empty() && verdicts.iter().all(|verdict| matches!(verdict, Verdict::Stored))
}

#[test]
fn options_are_taken_or_refused_with_what_would_be_right() {
    for (wrong, said) in [
        ("", "needs a `topic`"),
        ("topic = \"a b\"", "no topic's name has"),
        ("topic = \"{tables}\"", "no topic's name has"),
        ("topic = \"a\"\nencode = \"csv\"", "no header"),
        ("topic = \"a\"\nnull = \"-\"", "for CSV only"),
        ("topic = \"a\"\nencode = \"line-protocol\"\ntimestamps = \"s\"", "of its own"),
    ] {
        let mistake = plan(wrong).expect_err(wrong);
        assert!(mistake.message.contains(said), "{wrong}: {}", mistake.message);
    }
    let mut own = plan("topic = \"sensors\"").expect("a plan");
    let unable = own.adopt(Some(&source("x:1"))).expect_err("it would never end");
    assert_eq!(unable.key, "sink.topic");
    assert_eq!(own.adopt(None).expect_err("no brokers").key, "sink.brokers");
    let other = "topic = \"sensors\"\nbrokers = \"y:1\"\n[properties]\n\"linger.ms\" = 7";
    let mut other = plan(other).expect("a plan");
    other.adopt(Some(&source("x:1"))).expect("elsewhere it is another topic");
    let properties = other.kafka().expect("it has brokers").properties;
    let expected = [("bootstrap.servers", "y:1"), ("linger.ms", "7")];
    assert_eq!(properties, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    let mut shape = Shape::plain("t");
    let unable = other.exactly_once(&mut shape).expect_err("the group is elsewhere");
    assert_eq!(unable.key, "sink.brokers");
    own.exactly_once(&mut shape).expect("the group is there, too");
    let alone = KafkaPlan { group: Group::Alone(Alone::default()), ..source("x:1") };
    let mut out = plan("topic = \"out\"").expect("a plan");
    out.adopt(Some(&alone)).expect("another topic");
    assert_eq!(out.exactly_once(&mut shape).expect_err("there is no group").key, "group");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn rows_are_records_under_their_keys() {
    let mut bench = bench("topic = \"x.{table}\"\nheaders = true", &[("x.t", 1)]);
    let verdicts = bench.store(&[Some("k"), None], &[(1, "a"), (2, "b")]).await;
    assert!(is_stored(&verdicts), "{verdicts:?}");
    let found = bench.read("x.t", 0, 2);
    let value = |n: i64, name: &str| {
        format!(r#"{{"timestamp":"2023-11-14T22:13:20.000000Z","n":{n},"name":"{name}"}}"#)
    };
    let headers = |offset: i64| {
        vec![
            "bridge.topic=sensors".to_owned(),
            "bridge.partition=3".to_owned(),
            format!("bridge.offset={offset}"),
            "bridge.row=0".to_owned(),
        ]
    };
    let first = (Some("k".to_owned()), value(1, "a"), headers(0));
    assert_eq!(found, [first, (None, value(2, "b"), headers(1))]);
    bench.end().await;
}

/// A record for a topic, made of the record at `source`.
fn emit(
    bench: &Bench,
    rows: &mut RowBatch,
    (source, topic): (u32, &str),
    key: Option<&str>,
    value: Option<&str>,
) {
    let topic = bench.names.topics.intern(topic).expect("few names");
    let key = key.map(|key| rows.own(key.as_bytes()));
    let value = value.map(|value| rows.own(value.as_bytes()));
    let none = rows.headers.len()..rows.headers.len();
    let (partition, timestamp_ms) = (None, None);
    rows.emitted.push(Emitted {
        source,
        topic,
        partition,
        timestamp_ms,
        key,
        value,
        headers: none,
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_transforms_emit_stands_behind_the_rows_of_its_record() {
    let options = "topic = \"x\"\nencode = \"csv\"\ncolumns = [\"n\"]\nheaders = true";
    let mut bench = bench(options, &[("x", 1), ("alarms", 2)]);
    let mut rows = bench.rows(&[(1, "a"), (2, "b")]);
    emit(&bench, &mut rows, (1, "x"), Some("k"), Some("after b"));
    emit(&bench, &mut rows, (0, "x"), None, Some(""));
    emit(&bench, &mut rows, (0, "alarms"), Some("dead"), None);
    let header = (rows.own(b"why"), Some(rows.own(b"hot")));
    rows.headers.push(header);
    let alarm = rows.emitted.last_mut().expect("just made");
    (alarm.headers, alarm.partition) = (0..1, Some(1));
    alarm.timestamp_ms = Some(1_600_000_000_000);
    let (payloads, rejects) = bench.encode_all(&[Some("p"), None], &rows);
    assert!(rejects.is_empty());
    assert!(is_stored(&bench.send(payloads).await));

    let found = bench.read("x", 0, 4);
    let lines: Vec<(Option<&str>, &str, &str)> = found
        .iter()
        .map(|(key, value, headers)| (key.as_deref(), &**value, &*headers[3]))
        .collect();
    let expected = [
        (Some("p"), "1", "bridge.row=0"),
        (None, "", "bridge.row=1"),
        (None, "2", "bridge.row=0"),
        (Some("k"), "after b", "bridge.row=1"),
    ];
    assert_eq!(lines, expected);
    let alarm = &bench.read_messages("alarms", 1, 1)[0];
    assert_eq!((alarm.key(), alarm.payload()), (Some(&b"dead"[..]), None));
    assert_eq!(alarm.timestamp().to_millis(), Some(1_600_000_000_000));
    let headers: Vec<&str> = alarm.headers().expect("some").iter().map(|h| h.key).collect();
    let from = ["bridge.topic", "bridge.partition", "bridge.offset", "bridge.row"];
    assert_eq!(headers, [&["why"], &from[..]].concat());
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_no_topic_may_have_takes_its_record_along() {
    let options = "topic = \"x\"\npartition_column = \"n\"";
    let mut bench = bench(options, &[("x", 1)]);
    let mut rows = bench.rows(&[(0, "a"), (-1, "b"), (0, "c"), (0, "d")]);
    for (source, topic) in [(0, "sensors"), (1, "x"), (2, "no topic"), (3, "x")] {
        emit(&bench, &mut rows, (source, topic), None, Some("emitted"));
    }
    let (payloads, rejects) = bench.encode_all(&[None; 4], &rows);
    let refused: Vec<(u32, &str)> =
        rejects.found.iter().map(|(source, .., detail)| (*source, &**detail)).collect();
    let [(0, own), (1, partition), (2, name)] = refused[..] else { panic!("{refused:?}") };
    assert!(own.contains("topic sensors is one that the pipeline reads"), "{own}");
    assert!(partition.contains("no partition's number"), "{partition}");
    assert!(name.contains("no topic's name has"), "{name}");
    let offsets: Vec<i64> = payloads[0].buffers.lines.iter().map(|line| line.offset).collect();
    assert_eq!((payloads.len(), offsets), (1, vec![3, 3]));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn keys_and_partitions_come_from_columns() {
    let options = "topic = \"x\"\nencode = \"csv\"\ncolumns = [\"n\", \"name\"]\n\
                   key_column = \"name\"\npartition_column = \"n\"";
    let mut bench = bench(options, &[("x", 3)]);
    let verdicts = bench.store(&[None, None], &[(2, "a"), (1, "b,c")]).await;
    assert!(is_stored(&verdicts), "{verdicts:?}");
    let row = |key: &str, value: &str| [(Some(key.to_owned()), value.to_owned(), vec![])];
    assert_eq!(bench.read("x", 2, 1), row("a", "2,a"));
    assert_eq!(bench.read("x", 1, 1), row("b,c", "1,\"b,c\""));
    let (payloads, rejects) = bench.encode(&[None, None], &[(-1, "a"), (0, "b")]);
    assert_eq!(rejects.found[0].2, Reason::WrongType);
    assert_eq!(payloads[0].buffers.lines.len(), 1, "the other record goes on");
    bench.payloads.send(payloads.into_iter().next().expect("one")).await.expect("it runs");
    assert!(matches!(bench.receipt().await, Verdict::Stored));
    // A partition that the topic does not have is the record's fault.
    assert!(is_stored(&bench.store(&[None, None], &[(7, "a"), (0, "c")]).await));
    let letter = bench.letters.try_recv().expect("it was put aside");
    let refusal = &letter.refusals[0];
    assert_eq!((refusal.offset, refusal.reason), (0, Reason::RefusedBySink));
    assert!(refusal.detail.contains("no partition 7"), "{}", refusal.detail);
    for share in letter.shares {
        share.redeem();
    }
    assert_eq!(bench.read("x", 0, 2).len(), 2);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn all_rows_have_the_headers_and_the_partition_of_the_sink() {
    let options = "topic = \"x\"\npartition = 2\nadd_headers = { b = \"2\", a = \"1\" }";
    let mut bench = bench(options, &[("x", 3)]);
    assert!(is_stored(&bench.store(&[Some("k")], &[(1, "a")]).await));
    let found = bench.read("x", 2, 1);
    assert_eq!(found[0].2, ["a=1", "b=2"]);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn line_protocol_is_a_record_without_its_line_feed() {
    let mut bench = bench("topic = \"x\"\nencode = \"line-protocol\"", &[("x", 1)]);
    assert!(is_stored(&bench.store(&[Some("k")], &[(1, "a")]).await));
    let line = "t n=1i,name=\"a\" 1700000000000000t".to_owned();
    assert_eq!(bench.read("x", 0, 1), [(Some("k".to_owned()), line, vec![])]);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn requests_that_are_too_large_are_made_smaller() {
    let mut bench = bench("topic = \"x\"", &[("x", 1)]);
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    bench.cluster.request_errors(PRODUCE, &[refused, refused]);
    let rows: Vec<(i64, String)> = (0..50).map(|n| (n, "x".repeat(100))).collect();
    let rows: Vec<(i64, &str)> = rows.iter().map(|(n, text)| (*n, text.as_str())).collect();
    assert!(is_stored(&bench.store(&vec![Some("k"); 50], &rows).await));
    let found = bench.read("x", 0, 50);
    for (n, (_, value, _)) in found.iter().enumerate() {
        assert!(value.contains(&format!("\"n\":{n},")), "{n}: {value}");
    }
    assert!(bench.letters.try_recv().is_err(), "no record was at fault");
    bench.end().await;
}

/// As while a partition gets another leader: the first request comes too early, the next does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn order_holds_where_the_first_request_alone_is_refused() {
    let mut bench = bench("topic = \"x\"", &[("x", 1)]);
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS;
    bench.cluster.request_errors(PRODUCE, &[refused]);
    let large = "x".repeat(400_000);
    let rows: Vec<(i64, &str)> = (0..8).map(|n| (n, large.as_str())).collect();
    assert!(is_stored(&bench.store(&[Some("k"); 8], &rows).await));
    let found = bench.read("x", 0, 8);
    for (n, (_, value, _)) in found.iter().enumerate() {
        let start = &value[..40];
        assert!(value.contains(&format!("\"n\":{n},")), "{n}: {start}");
    }
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_record_that_is_too_large_is_put_aside_alone() {
    let mut bench = bench("topic = \"x\"", &[("x", 1)]);
    let large = "x".repeat(1_100_000);
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    bench.cluster.request_errors(PRODUCE, &[refused]);
    let verdicts = bench.store(&[Some("k")], &[(1, &large)]).await;
    assert!(is_stored(&verdicts));
    let letter = bench.letters.try_recv().expect("it was put aside");
    assert!(letter.refusals[0].detail.contains("more than topic x takes"));
    for share in letter.shares {
        share.redeem();
    }
    assert!(is_stored(&bench.store(&[Some("k")], &[(2, "small")]).await));
    assert!(bench.read("x", 0, 1)[0].1.contains("\"n\":2"));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_a_broker_cannot_take_is_said_and_given_back_when_wanted() {
    let mut bench = bench("topic = \"x\"", &[("x", 1)]);
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN;
    bench.cluster.topic_error("x", error).expect("a name");
    let (payloads, _) = bench.encode(&[None], &[(1, "a")]);
    bench.payloads.send(payloads.into_iter().next().expect("one")).await.expect("it runs");
    let end = Instant::now() + DEADLINE;
    while bench.meter.trouble.lock().expect("it is whole").is_empty() {
        assert!(Instant::now() < end, "nothing is said");
        tokio::task::yield_now().await;
    }
    assert!(bench.receipts.try_recv().is_err(), "nothing is stored yet");
    bench.reset.send_replace(1);
    assert!(matches!(bench.receipt().await, Verdict::Rewind { .. }));
    let fine = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
    bench.cluster.topic_error("x", fine).expect("a name");
    // What was on its way by then and comes late goes the same way: it would be out of order.
    assert!(!is_stored(&bench.store(&[None], &[(1, "late")]).await));
    bench.reset.send_replace(0);
    // Who is still giving back gives back what comes meanwhile, too.
    while !is_stored(&bench.store(&[None], &[(1, "a")]).await) {}
    bench.end().await;
}

/// Records of one lane, around an encoder that needs a context.
fn framing(table: &str, lines: impl FnOnce(&SinkContext) -> Box<dyn Encoder>) -> Framing {
    let addressing = Addressing {
        topic: "x".to_owned(),
        key_column: None,
        partition_column: None,
        timestamps: Timestamps::Iso,
        partition: None,
        headers: Arc::default(),
    };
    let names = Arc::new(Names::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().build().expect("a runtime");
    let context = SinkContext {
        pipeline: "p".into(),
        names: Arc::clone(&names),
        shape: Arc::new(Shape::plain(table)),
        delivery: Delivery::AtLeastOnce,
        meter: Arc::default(),
        runtime: runtime.handle().clone(),
    };
    let targets = Arc::default();
    let registers = (Arc::default(), Arc::clone(&targets), Emitting::new(&names, None, &targets));
    Framing::new(lines(&context), addressing, &names, registers, 1)
}

/// One row without cells for each record.
fn bare_rows(count: u32) -> RowBatch {
    let mut rows = RowBatch::default();
    for source in 0..count {
        rows.rows.push(Row { source, number: 0, cells: 0, cell_count: 0, table: 0 });
    }
    rows
}

fn unbounded() -> Outbox {
    let max = usize::MAX;
    let closing = Closing { payload_bytes_max: max, payload_rows_max: max, open_bytes_max: max };
    Outbox::new(closing, Arc::default(), Instant::now())
}

#[test]
fn what_has_one_key_keeps_its_order_whatever_tables_it_goes_to() {
    let mut framing = framing("{key}", |context| {
        let written = plan("topic = \"x\"").expect("a plan").text;
        text::Encoders::new(written, context, |_| None).lane(1)
    });
    let keys = ["a", "b", "a", "c", "b"];
    let (records, rows) = (batch(pairs(&keys.map(Some))), bare_rows(keys.len() as u32));
    let mut outbox = unbounded();
    let encoded = framing.encode(&records, &rows, &mut Rejects::default(), &mut outbox);
    encoded.expect("it goes on");
    outbox.close_all();
    let payloads: Vec<Payload> = outbox.take_closed().map(|(_, payload)| payload).collect();
    let offsets: Vec<i64> = payloads[0].buffers.lines.iter().map(|line| line.offset).collect();
    assert_eq!((payloads.len(), offsets), (1, vec![0, 1, 2, 3, 4]));
}

/// Writes a line for the first record, and then fails once.
struct Failing(bool);

impl Encoder for Failing {
    fn encode(
        &mut self,
        records: &RecordBatch,
        _: &RowBatch,
        _: &mut Rejects,
        outbox: &mut Outbox,
    ) -> Result<(), Fault> {
        let to = Destination { table: 1, courier: 0, route: records.route };
        let open = outbox.payload(to, &"t".into(), &records.ticket);
        open.buffers.bytes.extend_from_slice(b"1\n");
        let (partition, end) = (records.partition, open.buffers.bytes.len() as u32);
        open.buffers.lines.push(Line { offset: 0, partition, row: 0, layout: 0, end });
        match std::mem::take(&mut self.0) {
            true => Err(Fault::world("interrupted while a schema was waited for")),
            false => Ok(()),
        }
    }
}

#[test]
fn a_batch_that_is_given_back_leaves_nothing_to_the_next() {
    let mut framing = framing("t", |_| Box::new(Failing(true)));
    let (records, rows) = (batch(pairs(&[None])), bare_rows(1));
    let mut lines_and_shares = |is_right: bool| {
        let mut outbox = unbounded();
        let encoded = framing.encode(&records, &rows, &mut Rejects::default(), &mut outbox);
        assert_eq!(encoded.is_ok(), is_right);
        outbox.close_all();
        let payloads: Vec<Payload> = outbox.take_closed().map(|(_, payload)| payload).collect();
        let lines = payloads.iter().map(|payload| payload.buffers.lines.len()).sum::<usize>();
        (lines, payloads.iter().all(|payload| !payload.shares.is_empty()))
    };
    assert_eq!(lines_and_shares(false), (0, true));
    assert_eq!(lines_and_shares(true), (1, true));
}
