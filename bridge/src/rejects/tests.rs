//! The courier of dead letters, against a file, a topic of the in-process cluster, and a shelf
//! that fails.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::*;
use crate::batch::PartitionIndex;
use crate::config::security::SecurityPlan;
use crate::config::{Fetching, Group, OutOfRange, Start, Topics};
use crate::kafka::mock::Cluster;
use crate::limits::Limits;
use crate::reject::Reject;
use crate::source::kafka::{KafkaSource, Rereader};
use crate::source::{Event, OwnedRecord, Source};
use crate::ticket::{Lost, Share, Ticket};

const DEADLINE: Duration = Duration::from_secs(30);

struct Gone;

impl Reread for Gone {
    fn reread(&mut self, _: &TopicPartition, _: i64) -> Result<Option<OwnedRecord>, Fault> {
        Ok(None)
    }
}

fn kafka_plan(brokers: &str, topic: &str) -> KafkaPlan {
    KafkaPlan {
        properties: vec![("bootstrap.servers".to_owned(), brokers.to_owned())],
        topics: Topics::List(vec![topic.to_owned()]),
        group: Group::Named("letters".to_owned()),
        instance: None,
        start: Start::Earliest,
        from: None,
        out_of_range: OutOfRange::Stop,
        range: None,
        fetch: Fetching::Auto,
        security: SecurityPlan::default(),
    }
}

fn reject(offset: i64, value: &[u8]) -> Reject {
    Reject {
        partition: PartitionIndex(0),
        offset,
        timestamp_ms: 1_700_000_000_000,
        key: Some(b"key".to_vec()),
        value: Some(value.to_vec()),
        headers: vec![(b"tenant".to_vec(), Some(b"a".to_vec())), (b"none".to_vec(), None)],
        stage: Stage::Format,
        reason: Reason::Malformed,
        detail: "expected a value at byte 3".to_owned(),
    }
}

/// Runs the courier over `rejected`; its result, the receipts' shares, and the meter.
fn deliver(
    shelf: Box<dyn Shelf>,
    reread: Box<dyn Reread>,
    rejected: Vec<Rejected>,
) -> (Result<(), Fault>, usize, Arc<PipelineMeter>) {
    let meter = Arc::new(PipelineMeter::default());
    let (_stop, abandoned) = watch::channel(false);
    let letters = DeadLetters {
        pipeline: "readings".into(),
        shelf,
        name_of: Arc::new(|index| TopicPartition {
            topic: "sensors".into(),
            partition: index.0 as i32,
        }),
        reread,
        meter: Arc::clone(&meter),
        abandoned,
    };
    let (sender, inbox) = mpsc::channel(16);
    let (receipts, mut home) = mpsc::channel(16);
    for rejected in rejected {
        sender.blocking_send(rejected).expect("there is room");
    }
    drop(sender);
    let result = letters.run(inbox, &Home::new(receipts, Arc::new(|| ())));
    let mut shares = 0;
    while let Some(receipt) = home.blocking_recv() {
        shares += receipt.shares.len();
        receipt.shares.into_iter().for_each(|share| {
            share.redeem();
        });
    }
    (result, shares, meter)
}

fn share(lost: &Arc<Lost>) -> Share {
    Ticket::issue(1, Arc::clone(lost)).into_share()
}

#[test]
fn a_file_holds_every_letter_as_a_line() {
    let folder = std::env::temp_dir().join(format!("bridge-letters-{}", std::process::id()));
    let path = folder.join("rejects.jsonl");
    let _ = std::fs::remove_dir_all(&folder);
    let lost = Arc::new(Lost::default());
    let rejected = vec![
        Rejected {
            rejects: vec![reject(1, b"{\"a\":"), reject(2, &[0xff, 0])],
            refusals: Vec::new(),
            shares: vec![share(&lost)],
            kept: None,
        },
        Rejected {
            rejects: Vec::new(),
            refusals: vec![Refusal {
                partition: PartitionIndex(3),
                offset: 9,
                reason: Reason::RefusedBySink,
                detail: "cast error".to_owned(),
            }],
            shares: vec![share(&lost)],
            kept: None,
        },
    ];
    let (result, shares, meter) =
        deliver(Box::new(FileShelf::new(&path)), Box::new(Gone), rejected);
    result.expect("a file takes letters");
    assert_eq!((shares, lost.count(), meter.rejects_stored.get()), (2, 0, 3));
    let text = std::fs::read_to_string(&path).expect("the file was made");
    let parse = |line| serde_json::from_str::<serde_json::Value>(line).expect("a line is JSON");
    let lines: Vec<_> = text.lines().map(parse).collect();
    assert_eq!(lines[0]["value"], "{\"a\":");
    assert_eq!(lines[0]["reason"], "malformed");
    assert_eq!(lines[0]["headers"][0]["value"], "a");
    assert_eq!(lines[1]["value_base64"], "/wA=");
    assert_eq!(lines[2]["partition"], 3);
    assert_eq!(lines[2]["stage"], "sink");
    std::fs::remove_dir_all(&folder).expect("it is ours");
}

/// Fails a number of times by the world's fault, then stores; or by the operator's.
struct Shaky {
    failures: u32,
    blame: Blame,
    stored: Arc<Mutex<Vec<i64>>>,
}

impl Shelf for Shaky {
    fn store(&mut self, letters: &[Letter], _: &Stamp) -> Result<(), Fault> {
        if self.failures > 0 {
            self.failures -= 1;
            let fault = Fault { blame: self.blame, message: "no".to_owned(), hint: None };
            return Err(fault);
        }
        let mut stored = self.stored.lock().expect("no one panics with it");
        stored.extend(letters.iter().map(|letter| letter.offset));
        Ok(())
    }

    fn place(&self, _: &TopicPartition) -> String {
        "nowhere".to_owned()
    }
}

#[test]
fn the_world_is_tried_again_and_the_operator_is_told() {
    for (blame, stored) in [(Blame::World, vec![5]), (Blame::Operator, vec![])] {
        let lost = Arc::new(Lost::default());
        let found = Arc::new(Mutex::new(Vec::new()));
        let shelf = Shaky { failures: 2, blame, stored: Arc::clone(&found) };
        let rejects = vec![reject(5, b"x")];
        let rejected =
            Rejected { rejects, refusals: Vec::new(), shares: vec![share(&lost)], kept: None };
        let (result, shares, _) = deliver(Box::new(shelf), Box::new(Gone), vec![rejected]);
        assert_eq!(result.is_ok(), blame == Blame::World);
        assert_eq!(*found.lock().expect("no one panics with it"), stored);
        // A share that did not come home is lost, loudly: its offset is never committed.
        assert_eq!(shares as u64 + lost.count(), 1);
        assert_eq!(lost.count(), u64::from(blame == Blame::Operator));
    }
}

#[test]
fn a_topic_keeps_the_original_and_our_headers() {
    let cluster = Cluster::start(1).expect("a cluster of our own");
    cluster.create_topic("sensors", 1).expect("a fresh name");
    cluster.create_topic("sensors.dead-letters", 1).expect("a fresh name");
    let plan = kafka_plan(&cluster.bootstrap_servers(), "sensors.dead-letters");
    let shelf = TopicShelf::new("{topic}.dead-letters", &plan).expect("a right plan");
    let lost = Arc::new(Lost::default());
    let rejected = Rejected {
        rejects: vec![reject(1, b"first"), reject(2, b"second")],
        refusals: Vec::new(),
        shares: vec![share(&lost), share(&lost)],
        kept: None,
    };
    let rereader = Rereader::new(&plan).expect("a right plan");
    let (result, shares, _) = deliver(Box::new(shelf), Box::new(rereader), vec![rejected]);
    result.expect("the topic is there");
    assert_eq!((shares, lost.count()), (2, 0));

    let mut source = KafkaSource::open(&plan, &Limits::default(), &[]).expect("it is there");
    let deadline = Instant::now() + DEADLINE;
    let (mut assigned, mut seen) = (false, Vec::new());
    while seen.len() < 2 {
        assert!(Instant::now() < deadline, "letters: {seen:?}");
        if let Some(Event::Assigned(partitions)) = source.poll().expect("a healthy cluster") {
            source.start(&[(partitions[0], None)]).expect("it is ours");
            assigned = true;
        }
        let taken = if assigned { source.take(PartitionIndex(0), 10) } else { Ok(None) };
        let Some(taken) = taken.expect("a healthy log") else {
            source.wait(Instant::now() + Duration::from_millis(50));
            continue;
        };
        let name = source.name_of(PartitionIndex(0));
        let ticket = Ticket::issue(1, Arc::clone(&lost));
        let batch = taken.into_batch(PartitionIndex(0), name, ticket, crate::batch::Route::Primary);
        for index in 0..batch.len() {
            let mut headers = Vec::new();
            batch.headers(index, &mut |name, value| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                headers.push((text(name), value.map(text)));
            });
            let value = batch.get(index).value.map(<[u8]>::to_vec);
            seen.push((value.expect("it had one"), headers));
        }
    }
    assert_eq!(seen[0].0, b"first");
    let headers = &seen[1].1;
    assert_eq!(headers[0], ("tenant".to_owned(), Some("a".to_owned())));
    assert_eq!(headers[1], ("none".to_owned(), None));
    let names: Vec<&str> = headers[2..].iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, HEADERS[..9]);
    let of = |name| headers.iter().find(|(known, _)| known == name).and_then(|(_, v)| v.as_deref());
    assert_eq!(of("bridge.offset"), Some("2"));
    assert_eq!(of("bridge.topic"), Some("sensors"));
    source.close(Duration::from_secs(5));

    let mut rereader = Rereader::new(&plan).expect("a right plan");
    let at = TopicPartition { topic: "sensors.dead-letters".into(), partition: 0 };
    let again = rereader.reread(&at, 1).expect("a healthy cluster").expect("it is there");
    assert_eq!(again.value.as_deref(), Some(&b"second"[..]));
    assert_eq!(again.headers.len(), 11);
    assert!(rereader.reread(&at, 7).expect("a healthy cluster").is_none());
    assert!(rereader.reread(&at, 0).expect("a healthy cluster").is_some());
}

#[test]
fn own_topics_are_told_by_their_template() {
    let plan = RejectsPlan::Topic { topic: "{topic}.dead-letters".to_owned() };
    assert_eq!(own_topics(&plan), ["^.*\\.dead-letters$"]);
}
