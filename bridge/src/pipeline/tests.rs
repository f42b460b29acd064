//! Whole pipelines without a server: out of memory, or of a cluster in this process, through a ring
//! of threads and tasks, into memory.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::{Stop, run_with};
use crate::blame::Fault;
use crate::config::{Overrides, Plan, Surroundings};
use crate::folder::Folder;
use crate::kafka::feed::Feed;
use crate::kafka::mock::Cluster;
use crate::observe::PipelineMeter;

const DEADLINE: Duration = Duration::from_secs(60);
/// Kafka's number of the request that commits.
const OFFSET_COMMIT: i16 = 8;

fn plan(lines: &str, base: &Path) -> Plan {
    let text = format!("cache = false\n[pipeline.p]\n{lines}\n");
    let with = Surroundings { env: &|_| None, host: "h".into(), base };
    let plan = Plan::parse("t.toml", &text, &with, &Overrides::default());
    plan.unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

/// Runs one pipeline to its end; how it ended and what it counted.
fn run(lines: &str, base: &Path) -> (Result<(), Fault>, Arc<PipelineMeter>) {
    let mut meter = None;
    let end = run_with(plan(lines, base), false, |running| {
        meter = Some(Arc::clone(&running.meters[0].1))
    });
    (end, meter.expect("the pipeline was opened"))
}

#[test]
fn a_bounded_run_out_of_memory_ends_by_itself_when_all_is_stored() {
    let folder = Folder::new("bounded");
    for (sink, encodes) in [("", true), (", encode = \"none\"", false)] {
        let (end, meter) = run(
            &format!(
                "source = {{ kind = \"memory\", count = 30001, partitions = 3 }}\n\
                 sink = {{ kind = \"memory\"{sink} }}\n\
                 limits = {{ lanes = 2 }}\n\
                 table = {{ timestamp = {{ field = \"ts\" }}, symbols = [\"sensor\"] }}"
            ),
            &folder.0,
        );
        assert!(end.is_ok(), "{end:?}");
        assert_eq!(meter.records_in.get(), 30_001);
        assert_eq!(meter.rows_stored.get(), 30_001);
        assert_eq!(meter.rejected_total(), 0);
        // About what a reading takes as a line.
        let bytes = meter.bytes_stored.get() / 30_001;
        assert_eq!((60..200).contains(&bytes), encodes, "{bytes} bytes a row");
    }
}

/// As while another process comes, or goes.
#[test]
fn a_last_commit_is_made_again_while_the_group_moves() {
    let (folder, cluster) = (Folder::new("moves"), Cluster::start(1).expect("a port"));
    cluster.create_topic("readings", 1).expect("a name");
    let brokers = cluster.bootstrap_servers();
    let feed = Feed::new(&brokers).expect("right settings");
    for _ in 0..100 {
        feed.send("readings", 0, b"k", b"{\"n\":1}").expect("there is room");
    }
    feed.flush(DEADLINE).expect("a healthy cluster");
    // Nothing is committed before the end: it is the last commit that is refused.
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS;
    cluster.request_errors(OFFSET_COMMIT, &[refused]);
    let lines = format!(
        "kafka = {{ brokers = \"{brokers}\" }}\ntopics = [\"readings\"]\nuntil = \"now\"\n\
         sink = {{ kind = \"memory\" }}\nlimits = {{ lanes = 1, commit_interval = \"1m\" }}\n\
         table = {{ name = \"t\", timestamp = \"server\" }}"
    );
    let (end, meter) = run(&lines, &folder.0);
    assert!(end.is_ok(), "{end:?}");
    assert_eq!(meter.rows_stored.get(), 100);
    let group: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &brokers)
        .set("group.id", "bridge-p")
        .create()
        .expect("right settings");
    let mut list = TopicPartitionList::new();
    list.add_partition("readings", 0);
    let committed = group.committed_offsets(list, DEADLINE).expect("a healthy cluster");
    assert_eq!(committed.elements()[0].offset(), Offset::Offset(100));
}

#[test]
fn a_stop_at_once_that_was_asked_for_is_no_fault() {
    let folder = Folder::new("at-once");
    let lines = "source = { kind = \"memory\" }\nsink = { kind = \"memory\" }\n\
                 limits = { lanes = 2 }\ntable = { name = \"t\", timestamp = \"server\" }";
    for _ in 0..5 {
        let mut asking = None;
        let end = run_with(plan(lines, &folder.0), false, |running| {
            let (alarm, meter) = (Arc::clone(&running.alarms[0]), running.meters[0].1.clone());
            asking = Some(std::thread::spawn(move || {
                let started = Instant::now();
                while meter.rows_stored.get() == 0 && started.elapsed() < Duration::from_secs(60) {
                    std::thread::yield_now();
                }
                alarm.ask(Stop::Now);
            }));
        });
        asking.expect("the pipeline was opened").join().expect("it only asks");
        assert!(end.is_ok(), "{end:?}");
    }
}

#[test]
fn what_is_refused_lies_in_a_file_where_there_is_no_kafka() {
    let folder = Folder::new("refused");
    let (end, meter) = run(
        "source = { kind = \"memory\", records = ['{\"a\":1}', '{\"a\":', '{\"a\":2}'], count = 9 }\n\
         sink = { kind = \"memory\" }\ntable = { name = \"t\" }",
        &folder.0,
    );
    assert!(end.is_ok(), "{end:?}");
    assert_eq!((meter.rows_stored.get(), meter.rejects_stored.get()), (6, 3));
    let letters = std::fs::read_to_string(folder.0.join("p.dead-letters.jsonl"));
    let letters = letters.expect("it was written");
    assert_eq!(letters.lines().filter(|line| line.contains("malformed")).count(), 3, "{letters}");
}

#[test]
fn what_one_sink_refuses_is_in_the_others() {
    let folder = Folder::new("several");
    // No table of QuestDB has such a name; a file's takes any.
    let (end, meter) = run(
        "source = { kind = \"memory\", count = 10, records = ['{\"a\":\"x\",\"b\":1}', \
         '{\"a\":\"x?\",\"b\":1}'] }\n\
         sink = { kind = \"memory\" }\ntable = { name = \"{field.a}\" }\n\
         also = [{ kind = \"file\", path = \"rows/{table}\" }, \
         { kind = \"memory\", protocol = 1 }]",
        &folder.0,
    );
    assert!(end.is_ok(), "{end:?}");
    let sinks = meter.sinks.lock().expect("whole");
    let stored: Vec<(&str, u64)> =
        sinks.iter().map(|(sink, rows)| (sink.as_str(), rows.get())).collect();
    assert_eq!(stored, [("sink", 5), ("also-1", 10), ("also-2", 5)]);
    assert_eq!((meter.rows_stored.get(), meter.rejects_stored.get()), (20, 10));
    let files = std::fs::read_dir(folder.0.join("rows")).expect("a folder of rows");
    let text = |file: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(file.expect("an entry").path()).expect("a file of rows")
    };
    assert_eq!(files.map(text).collect::<String>().lines().count(), 10);
    let letters = std::fs::read_to_string(folder.0.join("p.dead-letters.jsonl"));
    let letters = letters.expect("it was written");
    for name in ["\"memory: ", "\"also-2, memory: "] {
        assert_eq!(letters.lines().filter(|line| line.contains(name)).count(), 5, "{letters}");
    }
}
