//! What authors can read and say, through the harness: every answer passes the bridge's own checks
//! on its way.

use bridge_transform::testing::{Harness, NewRow, Outcome, TestRecord, TestValue, record};
use bridge_transform::{Column, Init, Output, Record, Table, Transform, Unit};

/// A transform that does what the text column `do` says; its own columns are named in `init`.
struct Scripted {
    columns: Columns,
    other: Table,
}

struct Columns {
    todo: Column,
    a: Column,
    b: Column,
    c: Column,
    big: Column,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    #[serde(default)]
    table: Option<String>,
}

impl Transform for Scripted {
    fn init(init: &mut Init) -> Result<Self, String> {
        let options: Options = init.config()?;
        init.want_key();
        init.want_headers();
        let columns = Columns {
            todo: init.column("do"),
            a: init.column("a"),
            b: init.column("b"),
            c: init.column("c"),
            big: init.column("big"),
        };
        let other = init.table(options.table.as_deref().unwrap_or("other"));
        Ok(Scripted { columns, other })
    }

    fn record(&mut self, record: &Record, out: &mut Output) {
        let Columns { todo, a, b, c, big } = self.columns;
        match record.text(todo) {
            Some("keep") => out.keep(),
            Some("keep in") => out.keep_in(self.other),
            Some("patch") => {
                let a = record.f64(a).unwrap_or(f64::NAN);
                out.patch().set_f64(b, a * 2.0).drop(todo).set_null(c).table(self.other).done();
            }
            Some("twice") => out.patch().set_i64(c, 1).set_i64(b, 2).set_i64(c, 3).done(),
            Some("all") => {
                let mut patch = out.patch();
                for (column, value) in record.columns() {
                    patch = patch.set(column, value);
                }
                patch.done();
            }
            Some("rows") => {
                out.row().copy(record).drop(todo).set_symbol(b, "x").done();
                out.row().set_format(c, format_args!("{}-{}", 1, 2)).table(self.other).done();
            }
            Some("rows and keep") => {
                out.row().done();
                out.keep();
            }
            Some("many") => (0..100).for_each(|i| out.row().set_i64(a, i).done()),
            Some("meta") => {
                let key = String::from_utf8_lossy(record.key().unwrap_or(b"-")).into_owned();
                let headers: Vec<String> = record
                    .headers()
                    .map(|header| format!("{:?}", header.value.map(|value| value.len())))
                    .collect();
                let topic = record.topic().name().unwrap_or_default();
                let (partition, offset) = (record.partition(), record.offset());
                assert!(record.value().is_none(), "the value was not asked for");
                out.reject(format_args!("{topic}/{partition}@{offset} {key} {headers:?}"));
            }
            Some("reject late") => {
                out.row().set_i64(a, 1).done();
                out.reject("cold");
                out.keep();
            }
            Some("forget") => drop(out.patch().set_i64(a, 1)),
            Some("shape") => out.patch().set_shaped(a, &[2, 2], &[1.0]).done(),
            Some("array") => {
                let sum: f64 = record.array(big).map_or(0.0, |array| array.values().sum());
                out.patch().set_array(a, &[sum, 1.0]).done();
            }
            _ => {}
        }
    }
}

fn check(record: TestRecord, outcome: Outcome) {
    let mut harness = Harness::<Scripted>::new("{}").expect("starts");
    // Between two others, so that indexes matter.
    let keep = record! { "do" => "keep" };
    let outcomes = harness.run(&[keep.clone(), record, keep]);
    assert_eq!(outcomes, [Outcome::kept(), outcome, Outcome::kept()]);
}

fn columns(columns: &[(&str, TestValue)]) -> Vec<(String, TestValue)> {
    columns.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn patched(values: &[(&str, TestValue)]) -> Outcome {
    Outcome::Patched { table: None, columns: columns(values) }
}

#[test]
fn keep_patch_and_filter() {
    check(record! { "do" => "nothing" }, Outcome::Filtered);
    check(record! {}, Outcome::Filtered);
    check(record! { "do" => "keep in" }, Outcome::Kept { table: Some("other".into()) });
    let set = columns(&[("b", 3.0.into()), ("do", TestValue::Dropped), ("c", TestValue::Null)]);
    check(
        record! { "a" => 1.5, "do" => "patch" },
        Outcome::Patched { table: Some("other".into()), columns: set },
    );
    check(record! { "do" => "twice" }, patched(&[("c", 3.into()), ("b", 2.into())]));
    check(
        record! { "do" => "array", "big" => vec![1.0, 2.5] },
        patched(&[("a", vec![3.5, 1.0].into())]),
    );
}

#[test]
fn every_kind_goes_in_and_out() {
    let values: [TestValue; 9] = [
        TestValue::Null,
        true.into(),
        (-5).into(),
        "text".into(),
        TestValue::symbol(""),
        TestValue::Timestamp(7, Unit::Nanos),
        b"\xff".as_slice().into(),
        TestValue::Decimal(2, vec![1, 0]),
        TestValue::Array(vec![2, 1], vec![0.5, f64::INFINITY]),
    ];
    for value in values {
        check(
            record! { "do" => "all", "unasked" => 1, "c" => value.clone() },
            patched(&[("do", "all".into()), ("c", value)]),
        );
    }
}

#[test]
fn rows() {
    let rows = vec![
        NewRow { table: None, columns: columns(&[("a", 1.into()), ("b", TestValue::symbol("x"))]) },
        NewRow { table: Some("other".into()), columns: columns(&[("c", "1-2".into())]) },
    ];
    check(record! { "a" => 1, "b" => 2, "do" => "rows" }, Outcome::Rows(rows));
    let empty = NewRow { table: None, columns: vec![] };
    let both = Outcome::Both(Box::new(Outcome::kept()), vec![empty]);
    check(record! { "do" => "rows and keep" }, both);
}

#[test]
fn rejects() {
    let rejected = |reason: &str| Outcome::Rejected(reason.to_owned());
    let mut meta = record! { "do" => "meta" }.key("k").header("h", Some(b"abc")).header("n", None);
    meta = TestRecord { offset: 9, partition: 2, topic: "t".to_owned(), ..meta }.value("unasked");
    check(meta, rejected("t/2@9 k [\"Some(3)\", \"None\"]"));
    check(record! { "do" => "meta" }, rejected("test/0@0 - []"));
    check(record! { "do" => "reject late" }, rejected("cold"));
    check(
        record! { "do" => "forget" },
        rejected("the transform began a patch or a row and did not finish it"),
    );
    check(record! { "do" => "shape" }, rejected("1 values in an array of [2, 2]"));
}

#[test]
fn a_batch_that_grows_stops_early_and_goes_on() {
    let mut harness = Harness::<Scripted>::new("{}").expect("starts");
    let outcomes = harness.run(&vec![record! { "do" => "many" }; 2000]);
    assert_eq!(outcomes.len(), 2000);
    for outcome in outcomes {
        let Outcome::Rows(rows) = outcome else { panic!("rows, not {outcome:?}") };
        assert_eq!(rows.len(), 100);
        assert_eq!(rows[99].column("a"), Some(&99.into()));
    }
}

#[test]
fn a_wrong_config_stops_the_start() {
    let error = Harness::<Scripted>::new(r#"{"tabel": "x"}"#).err().expect("refused");
    assert!(error.starts_with("reading config: unknown field `tabel`"), "{error}");
    assert!(Harness::<Scripted>::new("").is_ok(), "no config is an empty one");
}
