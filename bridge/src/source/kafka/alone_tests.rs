//! Reading without a group against the in-process cluster, which tells what it was asked.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::KafkaSource;
use super::tests::{DEADLINE, Reader, cluster, plan, produce};
use crate::batch::TopicPartition;
use crate::blame::Fault;
use crate::config::{Alone, Fetching, Group, KafkaPlan, OutOfRange, Partitions, Start, Topics};
use crate::folder::Folder;
use crate::kafka::mock::{Cluster, OF_GROUPS};
use crate::kafka::progress::{self, Point, Progress};
use crate::kafka::wire::metadata::TopicId;
use crate::limits::Limits;
use crate::range::Range;
use crate::source::{Event, Source};

const BOTH: [Fetching; 2] = [Fetching::Auto, Fetching::Library];

/// A file of progress, in a folder of its own.
struct Notes {
    folder: Folder,
}

impl Notes {
    fn new() -> Notes {
        Notes { folder: Folder::new("alone") }
    }

    fn file(&self) -> PathBuf {
        self.folder.0.join("p.progress")
    }

    /// What is kept of a partition.
    fn kept(&self, partition: i32) -> Option<Point> {
        let name = TopicPartition { topic: "sensors".into(), partition };
        progress::read(&self.file()).expect("it is whole").get(&name).copied()
    }

    fn next(&self, partition: i32) -> Option<i64> {
        Some(self.kept(partition)?.next)
    }

    fn plan(&self, cluster: &Cluster, partitions: Option<&str>) -> KafkaPlan {
        let partitions = partitions.map(|text| Partitions::parse(text).expect("it is right"));
        let group = Group::Alone(Alone { partitions, progress: Some(self.file()) });
        KafkaPlan { group, ..plan(cluster, "") }
    }
}

fn refused(plan: &KafkaPlan) -> Fault {
    KafkaSource::open(plan, &Limits::default(), &[]).err().expect("it cannot be opened")
}

/// Nothing was asked that ACLs of groups could forbid.
fn assert_no_group(cluster: &Cluster) {
    let requests = cluster.requests();
    assert!(!requests.is_empty(), "it was asked something");
    let of_groups: Vec<i16> = requests.into_iter().filter(|r| OF_GROUPS.contains(r)).collect();
    assert!(of_groups.is_empty(), "{of_groups:?}");
}

#[test]
fn all_is_read_and_goes_on_by_the_file_and_no_group_is_asked() {
    for fetch in BOTH {
        let (cluster, notes) = (cluster(2, 500), Notes::new());
        cluster.track();
        let plan = KafkaPlan { fetch, ..notes.plan(&cluster, None) };
        let mut reader = Reader::new(&plan);
        reader.until("all records", |reader| reader.count() >= 1_000);
        reader.assert_in_order(500);
        assert_eq!(notes.next(0), None, "{fetch:?}: nothing is committed yet");
        reader.commit();
        assert_eq!([notes.next(0), notes.next(1)], [Some(500); 2], "{fetch:?}");
        let lags = reader.source.lag();
        assert!(lags.iter().all(|lag| lag.end == 500 && lag.position == 500), "{lags:?}");
        reader.source.close(DEADLINE);
        drop(reader);

        produce(&cluster, 2, 10);
        let mut reader = Reader::new(&plan);
        reader.until("the new records", |reader| reader.count() >= 20);
        assert!(reader.seen.values().all(|seen| seen[0].0 == 500), "{:?}", reader.seen);
        reader.source.close(DEADLINE);
        assert_no_group(&cluster);
    }
}

#[test]
fn a_rewind_is_read_again_from_exactly_there() {
    for fetch in BOTH {
        let (cluster, notes) = (cluster(2, 2_000), Notes::new());
        let mut reader = Reader::new(&KafkaPlan { fetch, ..notes.plan(&cluster, None) });
        for goal in [200, 700, 1_500] {
            reader.until("some records", |reader| reader.count() >= goal);
            for index in reader.owned.clone() {
                let partition = reader.source.name_of(index).partition;
                let Some(seen) = reader.seen.get_mut(&partition) else { continue };
                seen.truncate(seen.len() / 2);
                let back = seen.len() as i64;
                reader.source.rewind(index, back).expect("it is ours");
            }
        }
        reader.until("all records", |reader| reader.count() >= 4_000);
        reader.assert_in_order(2_000);
        reader.source.close(DEADLINE);
    }
}

#[test]
fn what_we_cannot_fetch_is_handed_to_the_library() {
    let (cluster, notes) = (cluster(2, 2_000), Notes::new());
    cluster.track();
    let mut reader = Reader::new(&notes.plan(&cluster, None));
    reader.until("some records", |reader| reader.count() >= 500);
    let index = reader.owned[0];
    reader.source.hand_over(index, "it is told to").expect("it is ours");
    reader.until("all records", |reader| reader.count() >= 4_000);
    reader.assert_in_order(2_000);
    assert!(!reader.source.table.get(index).is_own());
    reader.source.close(DEADLINE);
    assert_no_group(&cluster);
}

#[test]
fn partitions_that_are_named_are_read_and_no_others() {
    let (cluster, notes) = (cluster(4, 100), Notes::new());
    let named = notes.plan(&cluster, Some("1, 3"));
    let latest = KafkaPlan { start: Start::Latest, ..named };
    let mut reader = Reader::new(&latest);
    // Where they begin is kept at once: none of them is new.
    let kept = || [0, 1, 2, 3].map(|at| notes.next(at));
    reader.until("both", |_| kept() == [None, Some(100), None, Some(100)]);
    produce(&cluster, 4, 5);
    reader.until("the new records", |reader| reader.count() >= 10);
    let seen: Vec<(i32, i64)> = reader.seen.iter().map(|(at, seen)| (*at, seen[0].0)).collect();
    assert_eq!(seen, [(1, 100), (3, 100)]);
    reader.source.close(DEADLINE);
    drop(reader);
    let fault = refused(&notes.plan(&cluster, Some("0, 4")));
    assert_eq!(fault.message, "no topic has partition 4: there are 4, from 0 on");
}

#[test]
fn what_comes_to_be_is_found_and_read_from_its_beginning() {
    let (cluster, notes) = (cluster(2, 0), Notes::new());
    let mut plan = notes.plan(&cluster, None);
    plan.topics = Topics::Regex { like: "sensors.*".to_owned(), except: Vec::new() };
    plan.start = Start::Latest;
    plan.properties.push(("topic.metadata.refresh.interval.ms".to_owned(), "100".to_owned()));
    let mut reader = Reader::new(&plan);
    reader.until("both partitions", |reader| reader.owned.len() == 2);
    cluster.create_topic("sensors-too", 3).expect("a fresh name");
    let too = || -> Vec<i64> {
        let kept = progress::read(&notes.file()).expect("it is whole");
        let too = kept.iter().filter(|(name, _)| &*name.topic == "sensors-too");
        too.map(|(_, point)| point.next).collect()
    };
    reader.until("the new topic's, too", |_| too() == [0; 3]);
    assert_eq!(reader.owned.len(), 5);
    reader.source.close(DEADLINE);
}

#[test]
fn a_run_that_ends_waits_for_its_first_topic_as_it_does_in_a_group() {
    for is_alone in [true, false] {
        let (cluster, notes) = (cluster(1, 10), Notes::new());
        let mut plan = if is_alone { notes.plan(&cluster, None) } else { plan(&cluster, "first") };
        plan.topics = Topics::Regex { like: "readings.*".to_owned(), except: Vec::new() };
        plan.range = Some(Range::all());
        plan.properties.push(("topic.metadata.refresh.interval.ms".to_owned(), "100".to_owned()));
        let mut reader = Reader::new(&plan);
        let turns = Cell::new(0);
        reader.until("some turns", |_| turns.replace(turns.get() + 1) > 10);
        assert!(reader.owned.is_empty() && reader.over.is_empty(), "alone: {is_alone}");
        cluster.create_topic("readings", 2).expect("a fresh name");
        reader.until("both partitions to be over", |reader| reader.over.len() == 2);
        reader.source.close(DEADLINE);
    }
}

/// Polls and takes until it fails.
fn failed(plan: &KafkaPlan) -> Fault {
    let mut source = KafkaSource::open(plan, &Limits::default(), &[]).expect("a healthy cluster");
    let (deadline, mut ours) = (Instant::now() + DEADLINE, None);
    loop {
        assert!(Instant::now() < deadline, "waiting for a fault");
        while let Some(event) = source.poll().expect("a healthy cluster") {
            let Event::Assigned(partitions) = event else { continue };
            source.start(&[(partitions[0], None)]).expect("it is ours");
            ours = Some(partitions[0]);
        }
        match ours.map(|ours| source.take(ours, 10)) {
            Some(Err(fault)) => return fault,
            Some(Ok(Some(_))) => panic!("records were read from the middle"),
            Some(Ok(None)) | None => source.wait(Instant::now() + Duration::from_millis(20)),
        }
    }
}

#[test]
fn offsets_of_another_topic_are_reported_and_forgotten() {
    for out_of_range in [OutOfRange::Stop, OutOfRange::Earliest] {
        let (cluster, notes) = (cluster(1, 500), Notes::new());
        let name = TopicPartition { topic: "sensors".into(), partition: 0 };
        let old = Point { next: 200, topic: TopicId::new(1) };
        let mut progress = Progress::open(&notes.file()).expect("nobody has it");
        progress.keep([(name, old)].into_iter()).expect("there is room");
        drop(progress);
        let plan = KafkaPlan { out_of_range, ..notes.plan(&cluster, None) };
        if out_of_range == OutOfRange::Stop {
            let fault = failed(&plan);
            assert!(fault.message.contains("the topic was made anew"), "{fault}");
            assert_eq!(notes.kept(0), None);
        }
        let mut reader = Reader::new(&plan);
        reader.until("all records", |reader| reader.count() >= 500);
        reader.assert_in_order(500);
        reader.commit();
        let kept = notes.kept(0).expect("it was committed");
        assert!(kept.next == 500 && kept.topic.is_some() && kept.topic != old.topic, "{kept:?}");
        reader.source.close(DEADLINE);
        drop(reader);
        // What it says is gone on from.
        produce(&cluster, 1, 10);
        let mut reader = Reader::new(&plan);
        reader.until("the new records", |reader| reader.count() >= 10);
        assert_eq!(reader.seen[&0][0].0, 500);
        reader.source.close(DEADLINE);
    }
}

#[test]
fn a_file_that_is_taken_or_damaged_is_named() {
    let (cluster, notes) = (cluster(1, 10), Notes::new());
    let plan = notes.plan(&cluster, None);
    let mut reader = Reader::new(&plan);
    let taken = refused(&plan);
    assert!(taken.message.contains("another process keeps its progress in"), "{taken}");
    reader.until("all records", |reader| reader.count() >= 10);
    reader.commit();
    reader.source.close(DEADLINE);
    drop(reader);
    fs::write(notes.file(), "sensors/0 7\n").expect("there is room");
    let damaged = refused(&plan);
    assert!(damaged.message.contains("p.progress is damaged"), "{damaged}");
    assert!(damaged.message.contains(&notes.file().display().to_string()), "{damaged}");
}

#[test]
fn where_the_sink_keeps_progress_it_says_where_to_begin() {
    let cluster = cluster(1, 100);
    let mut source = {
        let group = Group::Alone(Alone::default());
        let plan = KafkaPlan { group, ..plan(&cluster, "") };
        KafkaSource::open(&plan, &Limits::default(), &[]).expect("a healthy cluster")
    };
    let deadline = Instant::now() + DEADLINE;
    let (mut ours, mut first) = (None, None);
    while first.is_none() {
        assert!(Instant::now() < deadline, "waiting for a record");
        while let Some(event) = source.poll().expect("a healthy cluster") {
            let Event::Assigned(partitions) = event else { continue };
            source.start(&[(partitions[0], Some(42))]).expect("it is ours");
            ours = Some(partitions[0]);
        }
        let taken = ours.and_then(|ours| source.take(ours, 10).expect("a healthy log"));
        first = taken.and_then(|taken| taken.span()).map(|(first, _)| first);
        source.wait(Instant::now() + Duration::from_millis(20));
    }
    assert_eq!(first, Some(42));
    assert!(source.membership().metadata().is_none());
    source.close(DEADLINE);
}
