//! Records with arrays and with readings, and those that have neither.

use super::*;
use bridge_transform::Unit;
use bridge_transform::testing::{Harness, NewRow, Outcome, TestRecord, TestValue, record};

fn run(config: &str, record: TestRecord) -> Outcome {
    let mut harness = Harness::<Explode>::new(config).expect("starts");
    harness.run(&[record]).pop().expect("one outcome a record")
}

fn row(columns: &[(&str, TestValue)]) -> NewRow {
    let own = |(name, value): &(&str, TestValue)| ((*name).to_owned(), value.clone());
    NewRow { table: None, columns: columns.iter().map(own).collect() }
}

fn rejected(reason: &str) -> Outcome {
    Outcome::Rejected(reason.to_owned())
}

#[test]
fn a_row_for_each_element() {
    let config = r#"{"arrays": {"x": "accel_x", "y": "accel_y"}, "index": "n"}"#;
    let record =
        record! { "car" => "a", "x" => vec![1.0, f64::NAN, 3.0], "y" => vec![4.0, f64::NAN, 6.0] };
    let made = |x: f64, y: f64, n: i64| {
        row(&[("car", "a".into()), ("accel_x", x.into()), ("accel_y", y.into()), ("n", n.into())])
    };
    assert_eq!(run(config, record), Outcome::Rows(vec![made(1.0, 4.0, 0), made(3.0, 6.0, 2)]));
}

#[test]
fn time_goes_on_by_steps() {
    let config = r#"{"arrays": {"x": "x"}, "time": {"column": "ts", "step": "100us"}}"#;
    let at = |value: i64, unit: Unit| TestValue::Timestamp(value, unit);
    let outcome = run(config, record! { "ts" => at(7, Unit::Millis), "x" => vec![1.0, 2.0] });
    let made = |x: f64, ts: i64| row(&[("ts", at(ts, Unit::Micros)), ("x", x.into())]);
    assert_eq!(outcome, Outcome::Rows(vec![made(1.0, 7_000), made(2.0, 7_100)]));

    let config = r#"{"arrays": {"x": "x"}, "time": {"column": "ts", "step": "1s", "unit": "ms"}}"#;
    let outcome = run(config, record! { "ts" => 5, "x" => vec![1.0, 2.0] });
    let made = |x: f64, ts: i64| row(&[("ts", ts.into()), ("x", x.into())]);
    assert_eq!(outcome, Outcome::Rows(vec![made(1.0, 5), made(2.0, 1_005)]));
    let late = record! { "ts" => i64::MAX, "x" => vec![1.0, 2.0] };
    assert_eq!(run(config, late), rejected("column ts: is too far from 1970"));
    assert_eq!(run(config, record! { "x" => vec![1.0] }), rejected("column ts: is missing"));
}

#[test]
fn what_is_no_array_is_refused_and_none_is_filtered() {
    let config = r#"{"arrays": {"x": "x", "y": "y"}}"#;
    assert_eq!(run(config, record! { "car" => "a" }), Outcome::Filtered);
    assert_eq!(run(config, record! { "x" => vec![0.0; 0] }), Outcome::Filtered);
    let uneven = record! { "x" => vec![1.0], "y" => vec![1.0, 2.0] };
    let reason = "column y: has another number of elements than the others";
    assert_eq!(run(config, uneven), rejected(reason));
    assert_eq!(run(config, record! { "x" => 1 }), rejected("column x: is no array of numbers"));
    let wide = TestValue::Array(vec![1, 2], vec![1.0, 2.0]);
    assert_eq!(
        run(config, record! { "x" => wide }),
        rejected("column x: is an array of several dimensions")
    );
}

#[test]
fn more_than_an_answer_holds_is_refused() {
    let config = r#"{"arrays": {"x": "x"}}"#;
    let record = record! { "car" => "a", "x" => vec![0.5; 65_537] };
    assert_eq!(run(config, record), rejected("column x: has too many elements for one record"));
    let record = record! { "car" => "a", "x" => vec![0.5; 65_536] };
    assert!(matches!(run(config, record), Outcome::Rows(rows) if rows.len() == 65_536));
}

#[test]
fn a_row_for_each_reading() {
    let config = r#"{"readings": ["co2", "hum"], "name": "metric", "table": "long"}"#;
    let record = record! { "site" => "n", "co2" => 410, "hum" => TestValue::Null, "ok" => true };
    let columns = [
        ("site", "n".into()),
        ("ok", true.into()),
        ("metric", TestValue::symbol("co2")),
        ("value", 410.0.into()),
    ];
    let made = NewRow { table: Some("long".to_owned()), ..row(&columns) };
    assert_eq!(run(config, record), Outcome::Rows(vec![made]));
    let record = record! { "co2" => "much" };
    assert_eq!(run(config, record), rejected("column co2: is no number"));
    let record = record! { "co2" => i64::MAX };
    assert_eq!(run(config, record), rejected("column co2: is an integer beyond 2^53"));
}

#[test]
fn readings_by_their_prefix() {
    let config = r#"{"prefix": "m_"}"#;
    let record = record! { "m_a" => 1.5, "site" => "n", "m_b" => 2.5, "m_" => 9.0 };
    let made = |name: &str, value: f64| {
        row(&[
            ("site", "n".into()),
            ("m_", 9.0.into()),
            ("name", TestValue::symbol(name)),
            ("value", value.into()),
        ])
    };
    assert_eq!(run(config, record), Outcome::Rows(vec![made("a", 1.5), made("b", 2.5)]));
}

#[test]
fn mistakes_are_told_at_the_start() {
    let refused = |config: &str| Harness::<Explode>::new(config).err().expect("refused");
    assert!(refused("{}").contains("expected `arrays`"));
    assert!(refused(r#"{"arrays": {"a": "a"}, "prefix": "m_"}"#).contains("expected `arrays`"));
    assert!(refused(r#"{"prefix": "m_", "index": "n"}"#).contains("are for `arrays`"));
    let step = |step: &str| {
        let time = format!(r#"{{"column": "ts", "step": "{step}", "unit": "ms"}}"#);
        refused(&format!(r#"{{"arrays": {{"a": "a"}}, "time": {time}}}"#))
    };
    assert!(step("10 parsecs").contains("expected such as \"10ms\""));
    assert!(step("0ms").contains("expected such as"));
    assert!(step("10us").contains("no multiple of `time.unit`"));
}
