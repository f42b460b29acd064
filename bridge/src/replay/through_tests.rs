//! Letters as a source: pure, and on the cluster in this process.

use std::sync::Arc;

use super::letter::{Filter, Letter};
use super::tests::{DEADLINE, cluster, plan, put};
use super::through::{Letters, Run, runs};
use super::*;
use crate::batch::Route;
use crate::limits::Limits;
use crate::range::Range;
use crate::source::{CommitPoint, Event, Opened, SourcePlan};
use crate::ticket::{Lost, Ticket};

fn from(partition: i32) -> TopicPartition {
    TopicPartition { topic: "x".into(), partition }
}

fn letter(partition: i32, offset: i64) -> Letter {
    Letter {
        place: String::new(),
        source: from(partition),
        offset,
        timestamp_ms: Some(offset),
        reason: "trap".to_owned(),
        time: None,
        pipeline: String::new(),
        is_cut: false,
        key: None,
        value: None,
        headers: Vec::new(),
    }
}

#[test]
fn runs_are_of_one_partition_and_ascend_and_their_spans_leave_nothing_out() {
    let letters = [(10, 0, 5), (12, 0, 7), (13, 1, 2), (15, 1, 2), (16, 0, 8)];
    let letters = letters.map(|(at, partition, offset)| (at, letter(partition, offset)));
    let run = |partition: i32, span: (i64, i64), offsets: &[i64]| Run {
        from: from(partition),
        span,
        records: offsets.iter().map(|at| (*at, letter(partition, *at).into())).collect(),
    };
    let expected = [
        run(0, (9, 13), &[5, 7]),
        run(1, (13, 15), &[2]),
        run(1, (15, 16), &[2]),
        run(0, (16, 20), &[8]),
    ];
    assert_eq!(runs(letters.into(), (9, 20)), expected);
    assert_eq!(runs(Vec::new(), (9, 20)), []);
}

/// A record as a pipeline sees it: where it is from, its offset there, its value.
type Seen = (TopicPartition, i64, Option<Vec<u8>>);

/// All that a pipeline takes of letters, stored batch by batch; `meanwhile` happens when the first
/// were taken.
fn drain(letters: &Letters, mut meanwhile: impl FnMut()) -> (Vec<Seen>, Opened) {
    let mut opened = letters.open(&Limits::default(), &[]).expect("the topic is there");
    let (source, end) = (&mut opened.source, Instant::now() + DEADLINE);
    let (mut seen, mut ours, mut taken_any) = (Vec::new(), None, false);
    loop {
        assert!(Instant::now() < end, "{seen:?}");
        match source.poll().expect("a healthy cluster") {
            Some(Event::Assigned(partitions)) => {
                source.start(&[(partitions[0], None)]).expect("it is ours");
                ours = Some(partitions[0]);
            }
            Some(Event::Ended(_)) => return (seen, opened),
            _ => {}
        }
        let taken = ours.map(|partition| source.take(partition, 10).expect("a healthy log"));
        let (Some(partition), Some(Some(taken))) = (ours, taken) else {
            source.wait(Instant::now() + Duration::from_millis(20));
            continue;
        };
        let (_, next) = taken.span().expect("what is taken has a span");
        let ticket = Ticket::issue(1, Arc::new(Lost::default()));
        let batch = taken.into_batch(partition, from(9), ticket, Route::Primary);
        for index in 0..batch.len() {
            assert_eq!((opened.name_of)(batch.partition), batch.source);
            assert_eq!(batch.route, Route::Proof);
            let record = batch.get(index);
            assert_eq!((record.timestamp_ms, record.key), (1_700_000_000_123, Some(&b"k"[..])));
            let mut headers = Vec::new();
            batch.headers(index, &mut |name, _| headers.push(name.to_vec()));
            assert_eq!(headers, [b"own"]);
            seen.push((batch.source.clone(), record.offset, record.value.map(<[u8]>::to_vec)));
        }
        // What the sink refuses is read again while it is not stored.
        if let Some((name, offset, value)) = seen.last().filter(|_| !batch.is_empty()) {
            let again = opened.reread.reread(name, *offset).expect("a healthy cluster");
            let again = again.expect("it is there");
            assert_eq!((&again.value, again.headers.len()), (value, 1));
        }
        let points = [CommitPoint { partition, next }];
        source.commit(&points, true).expect("a healthy cluster");
        if !std::mem::replace(&mut taken_any, true) {
            meanwhile();
        }
    }
}

#[test]
fn letters_are_taken_as_their_records_up_to_what_was_there_and_once() {
    let cluster = cluster();
    put(
        &cluster,
        &[
            (2, "malformed", false),
            (0, "trap", false),
            (0, "trap", false),
            (1, "trap", true),
            (1, "trap", false),
            (1, "malformed", false),
        ],
    );
    let mut plan = plan(&cluster);
    plan.range = Some(Range::all());
    let filter = Filter { reasons: vec!["trap".to_owned()], ..Filter::default() };
    let letters = Letters::new(plan.clone(), filter.clone());
    // The value is the number of the letter, and its record's offset is 100 behind that.
    let record = |partition: i32, number: i64| {
        (from(partition), 100 + number, Some(number.to_string().into_bytes()))
    };
    let (seen, mut opened) = drain(&letters, || put(&cluster, &[(2, "trap", false)]));
    assert_eq!(seen, [record(0, 1), record(0, 2), record(1, 4)]);
    opened.source.close(DEADLINE);
    let counts = letters.counts().lock().expect("no one panicked").clone();
    assert_eq!((counts.letters, counts.sent_all(), counts.others, counts.cut), (6, 3, 2, 1));
    assert_eq!(counts.sent[&("x".to_owned(), "trap".to_owned())], 3);

    // The group goes on behind what is stored, the letters among it that were left out.
    let letters = Letters::new(plan, filter);
    let (seen, mut opened) = drain(&letters, || {});
    assert_eq!(seen, [record(2, 0)]);
    opened.source.close(DEADLINE);
    assert_eq!(letters.counts().lock().expect("no one panicked").letters, 1);
}

#[test]
fn where_none_is_wanted_all_are_done_with() {
    let cluster = cluster();
    put(&cluster, &[(2, "malformed", false), (0, "trap", false)]);
    let mut plan = plan(&cluster);
    plan.range = Some(Range::all());
    let filter = Filter { reasons: vec!["empty".to_owned()], ..Filter::default() };
    for (turn, read) in [(0, 2), (1, 0)] {
        let letters = Letters::new(plan.clone(), filter.clone());
        let (seen, mut opened) = drain(&letters, || {});
        assert_eq!(seen, []);
        opened.source.close(DEADLINE);
        let counts = letters.counts().lock().expect("no one panicked").clone();
        assert_eq!((turn, counts.letters, counts.others), (turn, read, read));
    }
}

#[test]
fn what_is_read_again_comes_again_and_is_not_counted_again() {
    let cluster = cluster();
    put(&cluster, &[(0, "trap", false), (1, "trap", false), (0, "trap", false)]);
    let mut plan = plan(&cluster);
    plan.range = Some(Range::all());
    let letters = Letters::new(plan, Filter::default());
    let mut opened = letters.open(&Limits::default(), &[]).expect("the topic is there");
    let (source, end) = (&mut opened.source, Instant::now() + DEADLINE);
    let (mut ours, mut offsets, mut has_gone_back) = (None, Vec::new(), false);
    while offsets.len() < 4 {
        assert!(Instant::now() < end, "{offsets:?}");
        if let Some(Event::Assigned(partitions)) = source.poll().expect("a healthy cluster") {
            source.start(&[(partitions[0], None)]).expect("it is ours");
            ours = Some(partitions[0]);
        }
        let taken = ours.and_then(|at| source.take(at, 10).expect("a healthy log"));
        let (Some(partition), Some(taken)) = (ours, taken) else {
            source.wait(Instant::now() + Duration::from_millis(20));
            continue;
        };
        offsets.push(taken.get(0).offset);
        if !std::mem::replace(&mut has_gone_back, true) {
            let waits = taken.span().map(|(_, next)| next);
            let lag = source.lag().into_iter().find(|lag| lag.partition == partition);
            assert_eq!(lag.map(|lag| lag.position), waits, "the others wait on the shelf");
            source.rewind(partition, 0).expect("it is ours");
        }
    }
    assert_eq!(offsets, [100, 100, 101, 102]);
    source.close(DEADLINE);
    assert_eq!(letters.counts().lock().expect("no one panicked").letters, 3);
}
