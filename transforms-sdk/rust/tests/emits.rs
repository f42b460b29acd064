//! Records for topics, through the harness: every answer passes the bridge's own checks on its way.

use bridge_transform::testing::{Emitted, Harness, NewRow, Outcome, TestRecord, record};
use bridge_transform::{Column, Init, Output, Record, Topic, Transform};

/// A transform that does what the text column `do` says.
struct Scripted {
    todo: Column,
    text: Column,
    alarms: Topic,
    audit: Topic,
}

#[derive(serde::Deserialize)]
struct Options {
    #[serde(default)]
    blind: bool,
}

impl Transform for Scripted {
    fn init(init: &mut Init) -> Result<Self, String> {
        let Options { blind } = init.config()?;
        if !blind {
            init.want_key();
            init.want_headers();
            init.want_value();
        }
        Ok(Scripted {
            todo: init.column("do"),
            text: init.column("text"),
            alarms: init.topic("alarms"),
            audit: init.topic("audit"),
        })
    }

    fn record(&mut self, record: &Record, out: &mut Output) {
        let Scripted { todo, text, alarms, audit } = *self;
        let words = record.text(text).unwrap_or_default();
        match record.text(todo).unwrap_or_default() {
            "all" => out
                .emit(alarms)
                .key("k")
                .value_format(format_args!("{words} is {}", 7))
                .header("from", Some(b"test"))
                .header("text", Some(words.as_bytes()))
                .header("null", None)
                .header("", Some(b""))
                .partition(3)
                .timestamp_ms(0)
                .done(),
            "bare" => out.emit(alarms).done(),
            "tombstone" => out.emit(audit).key(record.key().unwrap_or_default()).done(),
            "empty" => out.emit(alarms).key("").value_format("").done(),
            "twice" => out.emit(alarms).key("a").key("b").value("c").value(words).done(),
            "copy" => out.emit(audit).copy(record).done(),
            "copy changed" => out
                .emit(audit)
                .header("first", None)
                .copy(record)
                .value(words)
                .header("last", Some(b"x"))
                .partition(record.partition())
                .timestamp_ms(-1)
                .done(),
            "beside" => {
                out.emit(alarms).value("1").done();
                out.row().set_text(text, "row").done();
                out.patch().set_text(text, "patched").done();
                out.emit(audit).value("2").done();
                out.keep();
            }
            "reject" => {
                out.emit(alarms).value("1").done();
                out.reject("no");
                out.emit(alarms).header("h", None).value("2").done();
            }
            "forget" => drop(out.emit(alarms).header("h", None)),
            "cancel" => {
                out.emit(alarms).header("h", None).value("1").cancel();
                out.emit(audit).header("kept", None).done();
            }
            "negative" => out.emit(alarms).partition(-2).done(),
            "many" => (0..300).for_each(|index| {
                let value = format_args!("{words} {index}");
                out.emit(alarms).key(words).value_format(value).header("h", Some(b"own")).done();
            }),
            _ => {}
        }
    }
}

fn run(records: &[TestRecord]) -> (Vec<Outcome>, Vec<Emitted>) {
    let mut harness = Harness::<Scripted>::new("{}").expect("starts");
    let outcomes = harness.run(records);
    (outcomes, harness.emitted().to_vec())
}

/// What one record emits, between two others.
fn emits(record: TestRecord) -> Vec<Emitted> {
    let other = record! { "do" => "bare" };
    let (outcomes, mut emitted) = run(&[other.clone(), record, other]);
    assert_eq!(outcomes[0], Outcome::Filtered);
    emitted.remove(0);
    emitted.pop();
    assert!(emitted.iter().all(|emitted| emitted.record == 1), "{emitted:?}");
    emitted
}

fn to(topic: &str) -> Emitted {
    Emitted { record: 1, topic: topic.to_owned(), ..Emitted::default() }
}

fn header(name: &str, value: Option<&str>) -> (String, Option<Vec<u8>>) {
    (name.to_owned(), value.map(Into::into))
}

#[test]
fn everything_that_a_record_has() {
    let headers = vec![
        header("from", Some("test")),
        header("text", Some("it")),
        header("null", None),
        header("", Some("")),
    ];
    let all = Emitted {
        key: Some(b"k".into()),
        value: Some(b"it is 7".into()),
        headers,
        partition: Some(3),
        timestamp_ms: Some(0),
        ..to("alarms")
    };
    assert_eq!(all.text(), Some("it is 7"));
    assert_eq!(emits(record! { "do" => "all", "text" => "it" }), [all]);
}

#[test]
fn nothing_is_null_and_empty_is_not() {
    assert_eq!(emits(record! { "do" => "bare" }), [to("alarms")]);
    let tombstone = Emitted { key: Some(b"a".into()), ..to("audit") };
    assert_eq!(emits(record! { "do" => "tombstone" }.key("a")), [tombstone]);
    let empty = Emitted { key: Some(vec![]), value: Some(vec![]), ..to("alarms") };
    assert_eq!(emits(record! { "do" => "empty" }), [empty]);
    let empty_key = Emitted { key: Some(vec![]), ..to("audit") };
    assert_eq!(emits(record! { "do" => "tombstone" }.key("")), [empty_key]);
    let twice = Emitted { key: Some(b"b".into()), value: Some(b"t".into()), ..to("alarms") };
    assert_eq!(emits(record! { "do" => "twice", "text" => "t" }), [twice]);
}

fn sensor(todo: &str) -> TestRecord {
    let mut sensor = record! { "do" => todo, "text" => "new" }.key("k").value("{}");
    (sensor.partition, sensor.timestamp_ms) = (7, 99);
    sensor.header("h", Some(b"1")).header("", Some(b"")).header("null", None)
}

#[test]
fn a_record_is_sent_on() {
    let headers = vec![header("h", Some("1")), header("", Some("")), header("null", None)];
    let copy = Emitted {
        key: Some(b"k".into()),
        value: Some(b"{}".into()),
        headers,
        timestamp_ms: Some(99),
        ..to("audit")
    };
    assert_eq!(emits(sensor("copy")), std::slice::from_ref(&copy));

    let mut changed = Emitted { value: Some(b"new".into()), partition: Some(7), ..copy };
    changed.timestamp_ms = None;
    changed.headers.insert(0, header("first", None));
    changed.headers.push(header("last", Some("x")));
    assert_eq!(emits(sensor("copy changed")), [changed]);
    assert_eq!(emits(record! { "do" => "copy" }), [to("audit")]);
}

#[test]
#[should_panic(expected = "the key is at 0 and not null: was it asked for?")]
fn what_was_not_asked_for_is_no_null() {
    let mut harness = Harness::<Scripted>::new(r#"{"blind": true}"#).expect("starts");
    harness.run(&[sensor("copy")]);
}

#[test]
#[should_panic(expected = "partition -2")]
fn there_are_no_negative_partitions() {
    run(&[record! { "do" => "negative" }]);
}

#[test]
fn beside_everything_else() {
    let (outcomes, emitted) = run(&[record! { "do" => "beside" }, record! { "do" => "cancel" }]);
    let row = NewRow { table: None, columns: vec![("text".to_owned(), "row".into())] };
    let both = Outcome::Both(Box::new(Outcome::kept()), vec![row]);
    assert_eq!(outcomes, [both, Outcome::Filtered]);
    let value = |value: &str, topic| Emitted { record: 0, value: Some(value.into()), ..to(topic) };
    let kept = Emitted { headers: vec![header("kept", None)], ..to("audit") };
    assert_eq!(emitted, [value("1", "alarms"), value("2", "audit"), kept]);
}

#[test]
fn a_reject_takes_it_back() {
    let rejected = |reason: &str| Outcome::Rejected(reason.to_owned());
    let (outcomes, emitted) = run(&[record! { "do" => "reject" }, record! { "do" => "forget" }]);
    let forgotten = "the transform began to emit a record and did not finish it";
    assert_eq!(outcomes, [rejected("no"), rejected(forgotten)]);
    assert_eq!(emitted, []);
}

#[test]
fn a_batch_that_emits_much_stops_early_and_goes_on() {
    let record = |index: usize| record! { "do" => "many", "text" => format!("Wert {index}") };
    let records: Vec<TestRecord> = (0..500).map(record).collect();
    let mut harness = Harness::<Scripted>::new("{}").expect("starts");
    // The second time with buffers that were used.
    for _ in 0..2 {
        harness.run(&records);
        let emitted = harness.emitted();
        assert_eq!(emitted.len(), 500 * 300);
        for (at, emitted) in emitted.iter().enumerate() {
            let (record, index) = (at / 300, at % 300);
            assert_eq!(emitted.record, record);
            assert_eq!(emitted.key, Some(format!("Wert {record}").into_bytes()));
            assert_eq!(emitted.text(), Some(format!("Wert {record} {index}").as_str()));
            assert_eq!(emitted.headers, [header("h", Some("own"))]);
        }
    }
}
