//! Letters on the cluster in this process: what goes back where, and what a second time.

use rdkafka::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use rdkafka::message::{Headers, Message, OwnedMessage};

use super::*;
use crate::config::security::SecurityPlan;
use crate::config::{Fetching, Group, OutOfRange, Start, Topics};
use crate::kafka::mock::Cluster;

pub(super) const DEADLINE: Duration = Duration::from_secs(30);

pub(super) fn plan(cluster: &Cluster) -> KafkaPlan {
    KafkaPlan {
        properties: vec![("bootstrap.servers".to_owned(), cluster.bootstrap_servers())],
        topics: Topics::List(vec!["x.dead-letters".to_owned()]),
        group: Group::Named("bridge-replay".to_owned()),
        instance: None,
        start: Start::Earliest,
        from: None,
        out_of_range: OutOfRange::Stop,
        range: None,
        fetch: Fetching::Auto,
        security: SecurityPlan::default(),
    }
}

/// Puts letters into the topic: the source's partition and reason, and whether it was cut.
pub(super) fn put(cluster: &Cluster, letters: &[(i32, &str, bool)]) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers());
    let producer: BaseProducer = config.create().expect("right settings");
    for (number, (partition, reason, is_cut)) in letters.iter().enumerate() {
        let header = |key, value: &str| (key, value.to_owned());
        let mut own = vec![
            header("own", "1"),
            header("bridge.reason", reason),
            header("bridge.topic", "x"),
            header("bridge.partition", &partition.to_string()),
            header("bridge.offset", &(100 + number).to_string()),
            header("bridge.timestamp", "1700000000123"),
            header("bridge.time", "2026-01-02T00:00:00Z"),
        ];
        if *is_cut {
            own.push(header("bridge.truncated", "10"));
        }
        let headers = own.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: Some(value) })
        });
        let value = number.to_string();
        let record = BaseRecord::to("x.dead-letters").key("k").payload(&value).headers(headers);
        producer.send(record.partition(0)).map_err(|(error, _)| error).expect("there is room");
    }
    producer.flush(DEADLINE).expect("the cluster answers");
}

pub(super) fn cluster() -> Cluster {
    let cluster = Cluster::start(1).expect("a port");
    for (topic, partitions) in [("x", 3), ("y", 1), ("x.dead-letters", 1)] {
        cluster.create_topic(topic, partitions).expect("a name");
    }
    cluster
}

fn read(cluster: &Cluster, topic: &str, partition: i32, count: usize) -> Vec<OwnedMessage> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "reader")
        .create()
        .expect("right settings");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Beginning).expect("a place");
    consumer.assign(&list).expect("a list");
    let mut found = Vec::new();
    let end = Instant::now() + DEADLINE;
    while found.len() < count {
        assert!(Instant::now() < end, "{topic}/{partition}: {found:?}");
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        found.push(message.detach());
    }
    found
}

fn go(cluster: &Cluster, wish: &Wish) -> Counts {
    let done = replay(&plan(cluster), wish, &mut |_| {});
    done.unwrap_or_else(|fault| panic!("{fault}"))
}

#[test]
fn letters_go_back_once_as_what_they_were() {
    let cluster = cluster();
    put(
        &cluster,
        &[(2, "malformed", false), (0, "trap", false), (2, "trap", false), (1, "trap", true)],
    );
    let wish = |reason: &str, dry| Wish {
        filter: Filter { reasons: vec![reason.to_owned()], ..Filter::default() },
        to: None,
        dry,
    };
    let dry = go(&cluster, &wish("trap", true));
    assert_eq!((dry.letters, dry.sent_all(), dry.others, dry.cut), (4, 2, 1, 1));
    let counts = go(&cluster, &wish("trap", false));
    assert_eq!(counts, dry, "a trial sends nothing, and remembers nothing");
    assert_eq!(counts.sent[&("x".to_owned(), "trap".to_owned())], 2);
    let back = read(&cluster, "x", 2, 1);
    assert_eq!((back[0].payload(), back[0].key()), (Some(&b"2"[..]), Some(&b"k"[..])));
    assert_eq!(back[0].timestamp().to_millis(), Some(1_700_000_000_123));
    let headers = back[0].headers().expect("it has some");
    let headers: Vec<(&str, &[u8])> =
        headers.iter().map(|h| (h.key, h.value.unwrap_or_default())).collect();
    assert_eq!(headers, [("own", &b"1"[..]), (REPLAYED, b"x.dead-letters/0@2")]);
    assert_eq!(read(&cluster, "x", 0, 1)[0].payload(), Some(&b"1"[..]));

    // The same once more sends what has come since.
    assert_eq!(go(&cluster, &wish("trap", false)), Counts::default());
    put(&cluster, &[(0, "trap", false)]);
    assert_eq!(go(&cluster, &wish("trap", false)).sent_all(), 1);
    assert_eq!(read(&cluster, "x", 0, 2).len(), 2);
}

#[test]
fn letters_go_to_another_topic_and_what_is_none_is_counted() {
    let cluster = cluster();
    put(&cluster, &[(2, "malformed", false)]);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers());
    let producer: BaseProducer = config.create().expect("right settings");
    let record: BaseRecord<'_, str, str> = BaseRecord::to("x.dead-letters").payload("no letter");
    producer.send(record).map_err(|(error, _)| error).expect("there is room");
    producer.flush(DEADLINE).expect("the cluster answers");
    let wish = Wish { filter: Filter::default(), to: Some("y".to_owned()), dry: false };
    let counts = go(&cluster, &wish);
    assert_eq!((counts.letters, counts.sent_all(), counts.strange), (2, 1, 1));
    assert_eq!(read(&cluster, "y", 0, 1)[0].payload(), Some(&b"0"[..]));
}
