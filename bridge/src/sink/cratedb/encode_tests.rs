//! Values through the encoder into a table of the fake and back: exactly, or refused. And rows of
//! whole batches, by a courier.

use std::sync::Arc;
use std::time::Instant;

use bridge_abi::{Cell, Kind, Unit};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::encode::CrateEncoder;
use super::fake::{Bench, Fake, shared};
use super::fake_sql::cast;
use super::layout::{column_fault, table_fault};
use super::value::{Misfit, Type, push};
use crate::batch::testing::batch;
use crate::batch::{Buffers, Row, RowBatch};
use crate::names::Names;
use crate::outbox::{Closing, Outbox};
use crate::reject::{Reason, Rejects};
use crate::shape::Shape;
use crate::sink::Encoder;

fn cell(kind: Kind, value: u64, flags: u8) -> Cell {
    Cell { column: 0, kind: kind as u8, flags, len: 0, value }
}

/// What a column of this type has of a cell, by the fake's rules; `None` if it is refused.
fn kept(cell: Cell, bytes: &[u8], kind: &Type, shown: &str) -> Option<Value> {
    let mut out = Vec::new();
    match push(&mut out, &cell, bytes, kind) {
        Err(Misfit) => None,
        Ok(()) => {
            let value: Value = serde_json::from_slice(&out).expect("one value of JSON");
            Some(cast(&value, shown).unwrap_or_else(|| panic!("{shown} does not take {value}")))
        }
    }
}

fn array(dims: &[u32], values: &[f64]) -> Vec<u8> {
    let mut bytes = (dims.len() as u32).to_le_bytes().to_vec();
    dims.iter().for_each(|dim| bytes.extend(dim.to_le_bytes()));
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
    bytes
}

const PLAIN: [(Type, &str); 9] = [
    (Type::Boolean, "boolean"),
    (Type::Byte, "byte"),
    (Type::Short, "smallint"),
    (Type::Int, "integer"),
    (Type::Long, "bigint"),
    (Type::Double, "double precision"),
    (Type::Text, "text"),
    (Type::Numeric(20, 4), "numeric(20, 4)"),
    (Type::Timestamp, "timestamp with time zone"),
];

/// Reads what a column keeps of a number; text is read as one.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

proptest! {
    #[test]
    fn integers_arrive_as_they_are_or_not_at_all(value in any::<i64>(), shift in 0_u32..64) {
        let value = value >> shift;
        for (kind, shown) in PLAIN {
            let kept = kept(cell(Kind::I64, value as u64, 0), &[], &kind, shown);
            // A time is read by its magnitude.
            let Some(kept) = kept.filter(|_| kind != Type::Timestamp) else { continue };
            if let Some(truth) = kept.as_bool() {
                prop_assert_eq!(i64::from(truth), value);
                continue;
            }
            match kept.as_i64() {
                Some(same) => prop_assert_eq!(same, value),
                None => {
                    let text = kept.as_str().map(str::to_owned);
                    let double = || format!("{:.0}", number(&kept).unwrap_or(0.5));
                    let text = text.unwrap_or_else(double);
                    prop_assert_eq!(text, value.to_string(), "{}", shown);
                }
            }
        }
        let long = cell(Kind::I64, value as u64, 0);
        let fits = |kind, shown| kept(long, &[], &kind, shown).is_some();
        prop_assert!(fits(Type::Long, "bigint") && fits(Type::Text, "text"));
        prop_assert_eq!(fits(Type::Int, "integer"), i32::try_from(value).is_ok());
        prop_assert_eq!(
            fits(Type::Numeric(20, 4), "numeric(20, 4)"), value.unsigned_abs() < 10_u64.pow(16)
        );
    }

    #[test]
    fn doubles_arrive_as_they_are_or_not_at_all(bits in any::<u64>(), small in -1e6_f64..1e6) {
        for value in [f64::from_bits(bits), small, small.trunc(), (small * 100.0).round() / 100.0] {
            for (kind, shown) in PLAIN {
                let kept = kept(cell(Kind::F64, value.to_bits(), 0), &[], &kind, shown);
                let Some(kept) = kept else { continue };
                match number(&kept) {
                    Some(same) => prop_assert!(same == value || same.is_nan() && value.is_nan()),
                    None => prop_assert!(false, "{} of {}", kept, value),
                }
            }
            let cell = cell(Kind::F64, value.to_bits(), 0);
            prop_assert!(kept(cell, &[], &Type::Double, "double precision").is_some());
        }
    }

    #[test]
    fn text_arrives_as_it_is(text in any::<String>()) {
        let cell = cell(Kind::Text, 0, 0);
        prop_assert_eq!(kept(cell, text.as_bytes(), &Type::Text, "text"), Some(json!(text)));
        // In columns of other types it is what it says, or it is refused.
        for (kind, shown) in PLAIN {
            let says = crate::decimal::read(text.as_bytes(), &mut Vec::new()).is_some()
                || ["true", "false"].iter().any(|word| text.eq_ignore_ascii_case(word));
            if !says && !matches!(kind, Type::Text | Type::Timestamp | Type::Numeric(..)) {
                prop_assert_eq!(kept(cell, text.as_bytes(), &kind, shown), None);
            }
        }
        let object = kept(cell, text.as_bytes(), &Type::Object, "object");
        prop_assert_eq!(object, serde_json::from_str(&text).ok().filter(Value::is_object));
    }

    #[test]
    fn times_arrive_to_the_millisecond(value in any::<i64>(), unit in 0_u8..4) {
        let nanos = [1_000_000_000_i128, 1_000_000, 1_000, 1];
        let unit = [Unit::Seconds, Unit::Millis, Unit::Micros, Unit::Nanos][usize::from(unit)];
        let nanos = i128::from(value) * nanos[match unit {
            Unit::Seconds => 0,
            Unit::Millis => 1,
            Unit::Micros => 2,
            Unit::Nanos => 3,
        }];
        let cell = cell(Kind::Timestamp, value as u64, unit as u8);
        let kept = kept(cell, &[], &Type::Timestamp, "timestamp with time zone");
        let millis = nanos.div_euclid(1_000_000);
        let exact = millis.abs() <= 999_999_999_999_999;
        prop_assert_eq!(kept.and_then(|kept| kept.as_i64()), exact.then_some(millis as i64));
    }

    #[test]
    fn numerics_are_never_rounded(digits in "-?[0-9]{1,12}(\\.[0-9]{1,8})?(e-?[0-9]{1,2})?") {
        let cell = cell(Kind::Text, 0, 0);
        let kept = kept(cell, digits.as_bytes(), &Type::Numeric(10, 3), "numeric(10, 3)");
        // The reference: the number in units of 10^-60, by digits.
        let units = |text: &str| -> (bool, String) {
            let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
            let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
            let exponent: i64 = exponent.parse().expect("digits");
            let zeros = (120 + exponent - fraction.len() as i64) as usize;
            let whole_digits = whole.trim_start_matches('-');
            let all = format!("{whole_digits}{fraction}{}", "0".repeat(zeros));
            (text.starts_with('-'), all.trim_start_matches('0').to_owned())
        };
        let (_, all) = units(&digits);
        let behind = all.len() > 117 && all[all.len() - 117..].bytes().any(|digit| digit != b'0')
            || all.len() <= 117 && !all.is_empty();
        let fits = !behind && all.len() <= 120 + 7;
        prop_assert_eq!(kept.is_some(), fits, "{}", digits);
        if let Some(kept) = kept {
            prop_assert_eq!(units(kept.as_str().expect("text")), units(&digits));
        }
    }

    #[test]
    fn arrays_arrive_in_their_dimensions(
        rows in 1_u32..4, columns in 1_u32..4, seed in any::<f64>(),
    ) {
        let values: Vec<f64> =
            (0..rows * columns).map(|at| seed * f64::from(at)).collect();
        let bytes = array(&[rows, columns], &values);
        let cell = cell(Kind::Array, 0, 0);
        let shown = "double precision_array_array";
        let kept = kept(cell, &bytes, &Type::doubles(2), shown).expect("it fits");
        let of_row = |row: &'_ Value| row.as_array().expect("a row").clone();
        let back: Vec<Value> = kept.as_array().into_iter().flatten().flat_map(of_row).collect();
        prop_assert_eq!(kept.as_array().map(Vec::len), Some(rows as usize));
        for (value, back) in values.iter().zip(back) {
            let back = number(&back).expect("a number");
            prop_assert!(back == *value || back.is_nan() && value.is_nan());
        }
        let mut out = Vec::new();
        prop_assert_eq!(push(&mut out, &cell, &bytes, &Type::doubles(1)), Err(Misfit));
        prop_assert_eq!(push(&mut out, &cell, &bytes, &Type::doubles(3)), Err(Misfit));
    }

    /// The fake's rules are the documentation's: what passes ours passes them.
    #[test]
    fn names_that_pass_are_taken(name in "[a-zA-Z0-9_. \\[\\]\"'*#é]{0,12}") {
        let mut db = super::fake_sql::Db::default();
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let column = if column_fault(&name).is_none() { quoted(&name) } else { "\"c\"".into() };
        let table = if table_fault(&name).is_none() { name.as_str() } else { "t" };
        let table = super::layout::quote_table(table);
        let columns = format!("({column} TEXT, PRIMARY KEY ({column}))");
        let made = format!("CREATE TABLE IF NOT EXISTS {table} {columns}");
        prop_assert!(db.run(&made, &[], None).is_ok(), "{}", made);
    }
}

#[test]
fn special_values_have_their_forms_or_are_refused() {
    let check = |kind: &Type, cell: Cell, bytes: &[u8], wanted: Option<&str>| {
        let mut out = Vec::new();
        let pushed = push(&mut out, &cell, bytes, kind).ok();
        let text = pushed.map(|()| String::from_utf8(out).expect("text"));
        assert_eq!(text.as_deref(), wanted, "{kind:?} {}", String::from_utf8_lossy(bytes));
    };
    let double = |value: f64| cell(Kind::F64, value.to_bits(), 0);
    check(&Type::Double, double(f64::NAN), &[], Some("\"NaN\""));
    check(&Type::Real, double(f64::NEG_INFINITY), &[], Some("\"-Infinity\""));
    check(&Type::Real, double(1e300), &[], None);
    check(&Type::Long, double(9_223_372_036_854_775_808.0), &[], None);
    check(&Type::Real, cell(Kind::I64, (1 << 24) + 1, 0), &[], None);
    let text = cell(Kind::Text, 0, 0);
    check(&Type::Ip, text, b"::1", Some("\"::1\""));
    check(&Type::Ip, text, b"1.2.3", None);
    check(&Type::Object, text, br#" {"a": [1, {"b": null}]}"#, Some(r#" {"a": [1, {"b": null}]}"#));
    check(&Type::Object, text, b"[1]", None);
    check(&Type::Object, text, b"{\"a\":1}],[", None);
    let longs = Type::Array(Box::new(Type::Long));
    check(&longs, text, b"[1, null, 3]", Some("[1,null,3]"));
    check(&longs, text, b"[1.5]", None);
    check(&longs, text, b"[\"1\"]", Some("[1]"));
    check(&longs, text, b"[\"one\"]", None);
    check(&longs, cell(Kind::Array, 0, 0), &array(&[2], &[1.0, 2.0]), Some("[1,2]"));
    check(&longs, cell(Kind::Array, 0, 0), &array(&[1], &[0.5]), None);
    let objects = Type::Array(Box::new(Type::Object));
    check(&objects, text, br#"[{"a":1}]"#, Some(r#"[{"a":1}]"#));
    let texts = Type::Array(Box::new(Type::Text));
    check(&texts, text, br#"["a\"b", null]"#, Some(r#"["a\"b",null]"#));
    check(&Type::Text, cell(Kind::Bytes, 0, 0), b"\x00\xff", Some("\"AP8=\""));
    check(&Type::Timestamp, text, b"2023-11-14T23:13:20.123+01:00", Some("1700000000123"));
    check(&Type::Boolean, cell(Kind::Bool, 1, 0), &[], Some("true"));
}

/// A row: its record, its table or "", its cells as numbers or text.
type Meant<'a> = (u32, &'a str, Vec<(&'a str, Value)>);

/// One lane.
struct Lane {
    names: Arc<Names>,
    encoder: CrateEncoder,
    outbox: Outbox,
    rejects: Rejects,
}

impl Lane {
    fn new(shared: &super::Shared, shape: Arc<Shape>, names: Arc<Names>, rows_max: usize) -> Lane {
        let tables = Arc::clone(&shared.catalogue) as Arc<_>;
        let encoder = CrateEncoder::new(shape, Arc::clone(&names), tables, 1, rows_max);
        let bound = 1 << 20;
        let closing =
            Closing { payload_bytes_max: bound, payload_rows_max: 1_000, open_bytes_max: bound };
        let outbox = Outbox::new(closing, Arc::default(), Instant::now());
        Lane { names, encoder, outbox, rejects: Rejects::default() }
    }

    /// Encodes rows; the payloads, in the order in which they were closed.
    fn encode(&mut self, records: usize, meant: &[Meant<'_>]) -> Vec<(Arc<str>, Buffers)> {
        let mut rows = RowBatch::default();
        for (source, table, cells) in meant {
            let table = match *table {
                "" => 0,
                table => self.names.tables.intern(table).expect("there is room"),
            };
            let at = rows.cells.len() as u32;
            for (name, value) in cells {
                let id = self.names.columns.intern(name).expect("there is room");
                let cell = match value {
                    Value::String(text) => rows.cell_bytes(id, Kind::Text, 0, text.as_bytes()),
                    Value::Bool(value) => {
                        Cell { column: id, ..cell(Kind::Bool, u64::from(*value), 0) }
                    }
                    value => match value.as_i64() {
                        Some(value) => Cell { column: id, ..cell(Kind::I64, value as u64, 0) },
                        None => Cell { column: id, ..cell(Kind::Null, 0, 0) },
                    },
                };
                rows.cells.push(cell);
            }
            let same = rows.rows.iter().filter(|row| row.source == *source).count() as u32;
            let cell_count = cells.len() as u16;
            rows.rows.push(Row { source: *source, number: same, cells: at, cell_count, table });
        }
        let records = batch(vec![(None, None); records]);
        let Lane { encoder, outbox, rejects, .. } = self;
        encoder.encode(&records, &rows, rejects, outbox).expect("the pipeline can go on");
        records.into_ticket().into_share().redeem();
        outbox.close_all();
        let closed: Vec<_> = outbox.take_closed().map(|(_, payload)| payload).collect();
        let open = |mut payload: crate::batch::Payload| {
            payload.shares.drain(..).for_each(|share| {
                share.redeem();
            });
            (payload.table, payload.buffers)
        };
        closed.into_iter().map(open).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_a_batch_are_in_their_tables_once_however_often_they_come() {
    let fake = Fake::start().await;
    let (shared, context) = shared(&fake, "", Shape::plain("t"));
    let (names, shape) = (Arc::clone(&context.names), Arc::clone(&context.shape));
    let mut lane = Lane::new(&shared, shape, names, 2);
    let meant: Vec<Meant<'_>> = vec![
        (0, "", vec![("a", json!(1))]),
        // A new column, in the middle of a record.
        (1, "", vec![("a", json!(2)), ("b", json!("x"))]),
        (1, "plant.u", vec![("c", json!(true))]),
        (2, "", vec![("bad.name", json!(3))]),
        (3, "", vec![("a", json!("no number"))]),
        (4, "", vec![("b", json!("y")), ("c", Value::Null)]),
        (4, "blob.x", vec![("a", json!(1))]),
        (5, "", vec![("b", json!("z"))]),
    ];
    let mut bench = Bench::start(Arc::clone(&shared));
    for _ in 0..2 {
        let payloads = tokio::task::block_in_place(|| lane.encode(6, &meant));
        let mut rows = 0;
        for (table, buffers) in payloads {
            rows += buffers.lines.len();
            assert!(buffers.lines.iter().all(|line| line.layout == buffers.lines[0].layout));
            let count = buffers.lines.len() as u64;
            bench.send_buffers(table, buffers).await;
            bench.stored(count).await;
        }
        assert_eq!(rows, 5);
    }
    let found = lane.rejects.found.iter().take(2);
    let refused: Vec<(u32, Reason)> = found.map(|(at, _, why, _)| (*at, *why)).collect();
    // `a` was met as a number and as text, and text takes both.
    assert_eq!(refused, [(2, Reason::BadName), (4, Reason::BadName)]);
    assert_eq!(fake.column("doc.t", "a").len(), 4);
    assert_eq!(fake.column("plant.u", "c"), [json!(true)]);
    let topics = fake.column("doc.t", "kafka_topic");
    assert!(topics.iter().all(|topic| *topic == json!("sensors")), "{topics:?}");
    bench.finish().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_without_its_key_is_refused_and_order_is_kept_where_layouts_change() {
    let fake = Fake::start().await;
    let options = "mode = \"upsert\"\nkey = [\"id\"]";
    let (shared, context) = shared(&fake, options, Shape::plain("t"));
    let (names, shape) = (Arc::clone(&context.names), Arc::clone(&context.shape));
    let mut lane = Lane::new(&shared, shape, names, 1_000);
    let mut bench = Bench::start(Arc::clone(&shared));
    let first: Vec<Meant<'_>> =
        vec![(0, "", vec![("id", json!("k")), ("v", json!(1))]), (1, "", vec![("v", json!(2))])];
    let second: Vec<Meant<'_>> =
        vec![(0, "", vec![("id", json!("k")), ("v", json!(3)), ("w", json!(1))])];
    for meant in [first, second] {
        let payloads = tokio::task::block_in_place(|| lane.encode(2, &meant));
        for (table, buffers) in payloads {
            let count = buffers.lines.len() as u64;
            bench.send_buffers(table, buffers).await;
            bench.stored(count).await;
        }
    }
    let (at, _, reason, _) = &lane.rejects.found[0];
    assert_eq!((*at, *reason), (1, Reason::BadKey));
    assert_eq!(fake.column("doc.t", "v"), [json!(3)]);
    bench.finish().await.expect("a clean end");
}
