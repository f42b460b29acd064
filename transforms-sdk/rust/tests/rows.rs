//! `#[derive(Row)]` through the harness: every type that a field may have, read and written back.

use bridge_transform::testing::{Harness, Outcome, TestRecord, TestValue, record};
use bridge_transform::{Array, Init, Output, Record, Row, Transform, Unit, Value};

#[derive(Row)]
struct Everything<'r> {
    flag: bool,
    count: i64,
    #[bridge(rename = "a number")]
    number: f64,
    text: &'r str,
    #[bridge(symbol)]
    symbol: &'r str,
    owned: String,
    at: (i64, Unit),
    bytes: &'r [u8],
    array: Array<'r>,
    any: Value<'r>,
    r#type: Option<i64>,
    #[bridge(symbol)]
    maybe: Option<String>,
}

/// Reads everything and writes it back, as a patch or as a row, as the text says.
struct Mirror(EverythingColumns);

impl Transform for Mirror {
    fn init(init: &mut Init) -> Result<Self, String> {
        Ok(Mirror(EverythingColumns::new(init)))
    }

    fn record(&mut self, record: &Record, out: &mut Output) {
        match self.0.read(record) {
            Ok(row) if row.text == "row" => self.0.write(&row, out.row()).done(),
            Ok(row) => self.0.write(&row, out.patch()).done(),
            Err(wrong) => out.reject(wrong),
        }
    }
}

fn everything() -> TestRecord {
    record! {
        "flag" => true,
        "count" => 7,
        "a number" => 1.5,
        "text" => "t\u{e4}xt",
        "symbol" => TestValue::symbol("s"),
        "owned" => "o",
        "at" => TestValue::Timestamp(-5, Unit::Nanos),
        "bytes" => TestValue::Bytes(vec![0, 255]),
        "array" => vec![1.0, -2.5],
        "any" => TestValue::Decimal(2, vec![1, 2]),
        "type" => 9,
        "maybe" => TestValue::symbol("m"),
    }
}

fn run(records: &[TestRecord]) -> Vec<Outcome> {
    Harness::<Mirror>::new("{}").expect("starts").run(records)
}

fn changed(column: &str, value: TestValue) -> TestRecord {
    let mut record = everything();
    let of = record.columns.iter_mut().find(|(name, _)| name == column);
    of.expect("it has all columns").1 = value;
    record
}

fn without(column: &str) -> TestRecord {
    let mut record = everything();
    record.columns.retain(|(name, _)| name != column);
    record
}

#[test]
fn what_is_read_is_written() {
    let Outcome::Patched { columns, .. } = &run(&[everything()])[0] else { panic!("no patch") };
    assert_eq!(*columns, everything().columns);
    let [Outcome::Rows(rows)] = &run(&[changed("text", "row".into())])[..] else {
        panic!("no row")
    };
    assert_eq!(rows[0].columns, changed("text", "row".into()).columns);
}

#[test]
fn nothing_is_none_and_is_written_as_null() {
    for column in ["any", "type", "maybe"] {
        for record in [without(column), changed(column, TestValue::Null)] {
            let outcome = &run(&[record])[0];
            assert_eq!(outcome.column(column), Some(&TestValue::Null), "{column}");
        }
    }
}

#[test]
fn an_integer_is_a_number_and_not_the_other_way_round() {
    let outcome = &run(&[changed("a number", 3.into())])[0];
    assert_eq!(outcome.column("a number"), Some(&TestValue::F64(3.0)));
    let outcome = &run(&[changed("count", 3.0.into())])[0];
    let why = "column `count` is a double, and must be an integer";
    assert_eq!(*outcome, Outcome::Rejected(why.to_owned()));
}

#[test]
fn what_is_no_row_is_rejected_with_the_column() {
    let must_be = [
        ("flag", "true or false"),
        ("count", "an integer"),
        ("a number", "a number"),
        ("text", "text"),
        ("symbol", "text"),
        ("owned", "text"),
        ("at", "a timestamp"),
        ("bytes", "bytes"),
        ("array", "an array"),
    ];
    let rejected = |why: String| [Outcome::Rejected(why)];
    for (column, must_be) in must_be {
        let says = |is: &str| rejected(format!("column `{column}` is {is}, and must be {must_be}"));
        assert_eq!(run(&[without(column)])[..], says("missing"));
        assert_eq!(run(&[changed(column, TestValue::Null)])[..], says("null"));
        let decimal = TestValue::Decimal(0, vec![1]);
        assert_eq!(run(&[changed(column, decimal)])[..], says("a decimal"));
    }
    // An `Option` forgives nothing but that there is no value.
    let says = rejected("column `type` is text, and must be an integer".to_owned());
    assert_eq!(run(&[changed("type", "9".into())])[..], says);
}

#[test]
fn records_carry_the_columns_of_a_row_and_no_others() {
    let more = everything().with("unknown", 1);
    let Outcome::Patched { columns, .. } = &run(&[more])[0] else { panic!("no patch") };
    assert_eq!(columns.len(), everything().columns.len());
}
