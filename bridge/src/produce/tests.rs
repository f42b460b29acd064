//! Lines on the cluster in this process: what arrives, which lines are told of, and what is said
//! when nothing can be delivered.

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message, OwnedMessage};
use rdkafka::{Offset, TopicPartitionList};

use super::*;
use crate::kafka::mock::Cluster;
use crate::schemas::fake::Fake;
use crate::trial::of_lines;

const DEADLINE: Duration = Duration::from_secs(30);

fn wish() -> Wish {
    Wish {
        topic: "x".to_owned(),
        as_they_are: true,
        reads: false,
        skips_empty: false,
        quoting: None,
        header: false,
        key_column: None,
        partition_column: None,
        key_delimiter: None,
        partition: None,
        headers: Vec::new(),
        bad_max: 0,
        patience: DEADLINE,
    }
}

/// A cluster with the topic `x` of three partitions.
fn cluster() -> Cluster {
    let cluster = Cluster::start(1).expect("a port");
    cluster.create_topic("x", 3).expect("a name");
    cluster
}

fn plan(brokers: &str, value: &str, sink: &str) -> PipelinePlan {
    let text = format!(
        "value = {{ {value} }}\n[table]\nname = \"x\"\ntimestamp = \"server\"\n[sink]\n\
         kind = \"kafka\"\ntopic = \"x\"\ncreate_topic = false\nbrokers = \"{brokers}\"\n{sink}"
    );
    of_lines(text.parse().expect("TOML")).unwrap_or_else(|fault| panic!("{fault}"))
}

/// What came of lines, and what was told of bad ones.
fn send(plan: &PipelinePlan, wish: Wish, lines: &str) -> (Counts, Ended, Vec<String>) {
    let mut told = Vec::new();
    let mut tell = |news: News<'_>| {
        if let News::Bad(number, why) = news {
            told.push(format!("{number}: {why}"));
        }
    };
    let done = produce(plan, wish, &mut lines.as_bytes(), &mut tell);
    let (counts, ended) = done.unwrap_or_else(|fault| panic!("{fault}"));
    (counts, ended, told)
}

/// Partition, key, value and headers of so many records, by partition.
fn read(cluster: &Cluster, count: usize) -> Vec<(i32, String, Vec<u8>, Vec<String>)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "reader")
        .create()
        .expect("right settings");
    let mut list = TopicPartitionList::new();
    for partition in 0..3 {
        list.add_partition_offset("x", partition, Offset::Beginning).expect("a place");
    }
    consumer.assign(&list).expect("a list");
    let mut found: Vec<OwnedMessage> = Vec::new();
    let end = Instant::now() + DEADLINE;
    while found.len() < count {
        assert!(Instant::now() < end, "{found:?}");
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        found.push(message.detach());
    }
    found.sort_by_key(|message| (message.partition(), message.offset()));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let told = found.iter().map(|message| {
        let headers = message.headers().map_or(Vec::new(), |headers| {
            headers
                .iter()
                .map(|h| format!("{}={}", h.key, text(h.value.unwrap_or_default())))
                .collect()
        });
        let key = message.key().map_or("-".to_owned(), text);
        (message.partition(), key, message.payload().unwrap_or_default().to_vec(), headers)
    });
    told.collect()
}

#[test]
fn lines_go_as_they_are() {
    let cluster = cluster();
    let plan = plan(&cluster.bootstrap_servers(), "format = \"raw\"", "");
    let headers = vec![("a".to_owned(), "1".to_owned()), ("b".to_owned(), String::new())];
    let asked = Wish { partition: Some(1), headers, key_delimiter: Some("::".into()), ..wish() };
    let (counts, ended, told) = send(&plan, asked, "k::one\nl::\r\nm::a::b");
    assert!(matches!(ended, Ended::Whole) && told.is_empty(), "{told:?}");
    let expected = Counts { lines: 3, bytes: 19, delivered: 3, under_way: 0, bad: 0 };
    assert_eq!(counts, expected);
    let record = |key: &str, value: &str| {
        (1, key.to_owned(), value.as_bytes().to_vec(), vec!["a=1".to_owned(), "b=".to_owned()])
    };
    assert_eq!(read(&cluster, 3), [record("k", "one"), record("l", ""), record("m", "a::b")]);
}

#[test]
fn keys_and_partitions_come_from_columns_and_bad_lines_are_named() {
    let cluster = cluster();
    let plan = plan(&cluster.bootstrap_servers(), "format = \"json\"", "");
    let asked = Wish {
        reads: true,
        skips_empty: true,
        key_column: Some("id".to_owned()),
        partition_column: Some("p".to_owned()),
        bad_max: 2,
        ..wish()
    };
    let lines = "{\"id\": 7, \"p\": 2}\n\n{\"id\": }\n{\"p\": -1}\n{\"id\":\"a\",\"p\":0}\n";
    let (counts, ended, told) = send(&plan, asked.clone(), lines);
    assert!(matches!(ended, Ended::Whole), "{ended:?}");
    assert_eq!((counts.lines, counts.delivered, counts.bad), (5, 2, 2));
    assert!(told[0].starts_with("3: malformed"), "{told:?}");
    assert_eq!(told[1], "4: wrong-type: `p` is no partition's number");
    let found = read(&cluster, 2);
    assert_eq!(found[0], (0, "a".into(), b"{\"id\":\"a\",\"p\":0}".to_vec(), vec![]));
    assert_eq!(found[1], (2, "7".into(), b"{\"id\": 7, \"p\": 2}".to_vec(), vec![]));

    let asked = Wish { bad_max: 0, ..asked };
    let (counts, ended, told) = send(&plan, asked, lines);
    assert!(matches!(ended, Ended::BadLine(3)), "{ended:?}");
    assert_eq!((counts.bad, told.len()), (1, 1));
}

#[test]
fn lines_as_they_are_have_keys_with_a_schema() {
    let (cluster, fake) = (cluster(), Fake::start());
    let sink = format!(
        "key = {{ columns = [\"id\", \"n\"], encode = \"avro\", registry.url = \"{}\" }}",
        fake.url()
    );
    let plan = plan(&cluster.bootstrap_servers(), "format = \"json\"", &sink);
    let asked = Wish { reads: true, skips_empty: true, partition: Some(0), bad_max: 1, ..wish() };
    let lines = "{\"id\": \"a\", \"n\": 1}\n{\"id\":\"b\"}\n{\"x\":0}\n";
    let (counts, ended, told) = send(&plan, asked, lines);
    assert!(matches!(ended, Ended::Whole), "{ended:?} {told:?}");
    assert_eq!((counts.delivered, counts.bad), (2, 1));
    assert!(told[0].starts_with("2: wrong-type: key column `n` is null or missing"), "{told:?}");
    let found = read(&cluster, 2);
    // A zero, the schema's id, a text of one letter, and twice the number.
    let key = "\0\0\0\0\u{1}\u{2}a\u{2}".to_owned();
    assert_eq!(found[0], (0, key, b"{\"id\": \"a\", \"n\": 1}".to_vec(), vec![]));
    assert_eq!(found[1], (0, "-".into(), b"{\"x\":0}".to_vec(), vec![]));
    assert_eq!((fake.versions("x-key").len(), fake.versions("x-value").len()), (1, 0));
}

#[test]
fn csv_with_a_header_becomes_avro() {
    let (cluster, fake) = (cluster(), Fake::start());
    let sink = format!(
        "encode = \"avro\"\nregistry.url = \"{}\"\npartition = 0\nkey_column = \"name\"",
        fake.url()
    );
    let value = "format = \"csv\", default_type = \"auto\"";
    let plan = plan(&cluster.bootstrap_servers(), value, &sink);
    let asked = Wish {
        as_they_are: false,
        reads: true,
        skips_empty: true,
        quoting: Some(Quoting(b'"')),
        header: true,
        bad_max: 9,
        ..wish()
    };
    let lines = "name,n\na,1\n\"b\nc\",2\nd\ne,many\n";
    let (counts, ended, told) = send(&plan, asked, lines);
    assert!(matches!(ended, Ended::Whole), "{ended:?}");
    assert_eq!((counts.delivered, counts.bad), (2, 2));
    assert!(told[0].starts_with("5: malformed: has 1 of 2 cells, `n` is missing"), "{told:?}");
    assert!(told[1].contains("6: wrong-type: column `n` is long in the schema"), "{told:?}");
    let found = read(&cluster, 2);
    assert_eq!((&*found[1].1, &found[1].2[..5]), ("b\nc", &[0, 0, 0, 0, 1][..]));
    assert_eq!(found[1].2[5..], [2, 6, b'b', b'\n', b'c', 2, 4]);
    assert_eq!(fake.versions("x-value").len(), 1);
}

#[test]
fn what_cannot_be_delivered_is_said() {
    let cluster = cluster();
    let brokers = cluster.bootstrap_servers();
    let plan = plan(&brokers, "format = \"raw\"", "");
    let error = rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN;
    let asked = Wish { patience: Duration::from_millis(300), ..wish() };
    cluster.topic_error("x", error).expect("a name");
    let mut tell = |_: News<'_>| {};
    let done = produce(&plan, asked.clone(), &mut "a\nb\n".as_bytes(), &mut tell);
    // The topic is looked at first.
    assert!(done.is_err(), "{done:?}");
    let other = Wish { topic: "x".to_owned(), ..asked };
    let fine = rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
    cluster.topic_error("x", fine).expect("a name");
    // The brokers go away when the first line is read.
    let mut input = Leaving { cluster: &cluster, left: vec![b"a\n", b"b\n"] };
    let mut input = std::io::BufReader::with_capacity(2, &mut input);
    let (counts, ended) = produce(&plan, other, &mut input, &mut tell).expect("no fault");
    assert!(matches!(ended, Ended::Undelivered), "{ended:?} {counts:?}");
    assert_eq!((counts.delivered, counts.under_way), (0, 2));
}

/// Lines whose reading takes the topic away.
struct Leaving<'a> {
    cluster: &'a Cluster,
    left: Vec<&'static [u8]>,
}

impl std::io::Read for Leaving<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let error = rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN;
        self.cluster.topic_error("x", error).expect("a name");
        let Some(line) = self.left.pop() else { return Ok(0) };
        out[..line.len()].copy_from_slice(line);
        Ok(line.len())
    }
}
