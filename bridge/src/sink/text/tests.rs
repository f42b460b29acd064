//! Lines against two references: serde_json writes the same objects, the csv crate reads the same
//! fields back; what a declared column takes is held against line protocol.

use std::sync::Arc;
use std::time::Instant;

use bridge_abi::{Cell, Kind, Unit};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::fit::{Plain, fit};
use super::layout::Layouts;
use super::{TextEncoder, TextPlan, Timestamps, Written};
use crate::batch::testing::batch;
use crate::batch::{Payload, RecordBatch, Row, RowBatch};
use crate::names::Names;
use crate::outbox::{Closing, Outbox};
use crate::reject::{Reason, Rejects};
use crate::shape::{ColumnType, Shape, Timestamp};
use crate::sink::Encoder;
use crate::sink::questdb::push_field;

/// What a cell is made of.
#[derive(Clone, Debug)]
enum Meant {
    Null,
    Bool(bool),
    Integer(i64),
    Double(f64),
    Text(String),
    Symbol(String),
    Bytes(Vec<u8>),
    Instant(i64, Unit),
    Decimal(i128, u8),
    Array(Vec<Vec<f64>>),
}

/// A row: (column, what it has there).
type MeantRow = Vec<(String, Meant)>;

/// One lane's encoder, and what it wrote.
struct Bench {
    names: Arc<Names>,
    encoder: TextEncoder,
    layouts: Arc<Layouts>,
}

fn closing() -> Closing {
    let max = usize::MAX;
    Closing { payload_bytes_max: max, payload_rows_max: max, open_bytes_max: max }
}

impl Bench {
    fn new(shape: Shape, written: Written, timestamps: Timestamps) -> Bench {
        let names = Arc::new(Names::default());
        let layouts = Arc::new(Layouts::new(shape.columns_max));
        let plan = Arc::new(TextPlan { written, timestamps });
        let rule = |name: &str| name.contains('!').then(|| format!("{name:?} shouts"));
        let (shape, own) = (Arc::new(shape), Arc::clone(&names));
        let encoder = TextEncoder::new(plan, shape, own, Arc::clone(&layouts), rule, 1);
        Bench { names, encoder, layouts }
    }

    fn json(shape: Shape) -> Bench {
        Bench::new(shape, Written::Json, Timestamps::Iso)
    }

    /// Encodes one row for each record; what is in which payload, and the refusals.
    fn encode(&mut self, rows: &[MeantRow]) -> (Vec<Payload>, Vec<(u32, Reason)>) {
        let pair = |at: usize| (Some(format!("key-{at}").into_bytes()), Some(b"{}".to_vec()));
        let records = batch((0..rows.len()).map(pair).collect());
        let (batch, rejects) = (self.rows(rows), Rejects::default());
        self.encode_batch(&records, &batch, rejects)
    }

    fn encode_batch(
        &mut self,
        records: &RecordBatch,
        rows: &RowBatch,
        mut rejects: Rejects,
    ) -> (Vec<Payload>, Vec<(u32, Reason)>) {
        let mut outbox = Outbox::new(closing(), Arc::default(), Instant::now());
        self.encoder.encode(records, rows, &mut rejects, &mut outbox).expect("it goes on");
        outbox.close_all();
        let payloads: Vec<Payload> = outbox.take_closed().map(|(_, payload)| payload).collect();
        let refused = rejects.found.iter().map(|(at, _, reason, _)| (*at, *reason)).collect();
        (payloads, refused)
    }

    fn rows(&self, rows: &[MeantRow]) -> RowBatch {
        let mut batch = RowBatch::default();
        for (at, row) in rows.iter().enumerate() {
            let cells: Vec<Cell> = row
                .iter()
                .map(|(name, meant)| {
                    let column = self.names.columns.intern(name).expect("few names");
                    cell(&mut batch, column, meant)
                })
                .collect();
            batch.rows.push(Row {
                source: at as u32,
                number: 0,
                cells: batch.cells.len() as u32,
                cell_count: cells.len() as u16,
                table: 0,
            });
            batch.cells.extend(cells);
        }
        batch
    }

    /// The lines of all rows, which go into one payload.
    fn lines(&mut self, rows: &[MeantRow]) -> Vec<String> {
        let (payloads, refused) = self.encode(rows);
        assert_eq!(refused, []);
        assert_eq!(payloads.len(), 1);
        lines(&payloads[0])
    }
}

/// A payload's lines, without their ends.
fn lines(payload: &Payload) -> Vec<String> {
    let mut start = 0;
    let mut found = Vec::new();
    for line in &payload.buffers.lines {
        let bytes = &payload.buffers.bytes[start..line.end as usize];
        let text = std::str::from_utf8(bytes).expect("UTF-8");
        found.push(text.strip_suffix('\n').expect("a line's end").to_owned());
        start = line.end as usize;
    }
    found
}

fn cell(batch: &mut RowBatch, column: u16, meant: &Meant) -> Cell {
    let plain =
        |kind: Kind, flags: u8, value: u64| Cell { column, kind: kind as u8, flags, len: 0, value };
    match meant {
        Meant::Null => plain(Kind::Null, 0, 0),
        Meant::Bool(value) => plain(Kind::Bool, 0, u64::from(*value)),
        Meant::Integer(value) => plain(Kind::I64, 0, *value as u64),
        Meant::Double(value) => plain(Kind::F64, 0, value.to_bits()),
        Meant::Text(text) => batch.cell_bytes(column, Kind::Text, 0, text.as_bytes()),
        Meant::Symbol(text) => batch.cell_bytes(column, Kind::Symbol, 0, text.as_bytes()),
        Meant::Bytes(bytes) => batch.cell_bytes(column, Kind::Bytes, 0, bytes),
        Meant::Instant(value, unit) => plain(Kind::Timestamp, *unit as u8, *value as u64),
        Meant::Decimal(value, scale) => {
            batch.cell_bytes(column, Kind::Decimal, *scale, &value.to_be_bytes())
        }
        Meant::Array(rows) => {
            let mut bytes = 2_u32.to_le_bytes().to_vec();
            bytes.extend((rows.len() as u32).to_le_bytes());
            bytes.extend((rows[0].len() as u32).to_le_bytes());
            bytes.resize(16, 0);
            rows.iter().flatten().for_each(|value| bytes.extend(value.to_le_bytes()));
            batch.cell_bytes(column, Kind::Array, 0, &bytes)
        }
    }
}

fn unit() -> impl Strategy<Value = Unit> {
    prop::sample::select(vec![Unit::Seconds, Unit::Millis, Unit::Micros, Unit::Nanos])
}

fn double() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), Just(21.0), Just(-0.0), Just(1e16), Just(f64::MAX), Just(f64::NAN)]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{0,8}", "[ ,\"\\\\\n\r\t\u{1}\u{8}\u{c}üλ🦀N]{0,12}", any::<String>()]
}

fn meant() -> impl Strategy<Value = Meant> {
    let array = (1..4_usize, 1..4_usize).prop_flat_map(|(rows, columns)| {
        prop::collection::vec(prop::collection::vec(double(), columns), rows)
    });
    prop_oneof![
        Just(Meant::Null),
        any::<bool>().prop_map(Meant::Bool),
        any::<i64>().prop_map(Meant::Integer),
        double().prop_map(Meant::Double),
        text().prop_map(Meant::Text),
        text().prop_map(Meant::Symbol),
        prop::collection::vec(any::<u8>(), 0..9).prop_map(Meant::Bytes),
        (-62_000_000_000_i64..250_000_000_000, unit())
            .prop_map(|(at, unit)| Meant::Instant(at, unit)),
        (any::<i64>(), 0..20_u8).prop_map(|(value, scale)| Meant::Decimal(value.into(), scale)),
        array.prop_map(Meant::Array),
    ]
}

/// Digits of a decimal, the slow way.
fn digits(value: i128, scale: u8) -> String {
    let ten = 10_i128.pow(u32::from(scale));
    let (whole, rest) = (value.unsigned_abs() / ten as u128, value.unsigned_abs() % ten as u128);
    let sign = if value < 0 { "-" } else { "" };
    match scale {
        0 => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{rest:0>width$}", width = usize::from(scale)),
    }
}

fn instant(value: i64, unit: Unit) -> String {
    let (per_second, precision) = match unit {
        Unit::Seconds => (1, 0),
        Unit::Millis => (1_000, 3),
        Unit::Micros => (1_000_000, 6),
        Unit::Nanos => (1_000_000_000, 9),
    };
    let nanos = i128::from(value) * (1_000_000_000 / per_second);
    let at = jiff::Timestamp::from_nanosecond(nanos).expect("in the library's range");
    format!("{at:.precision$}")
}

/// What serde_json makes of a value; a decimal is not in its reach.
fn in_json(meant: &Meant) -> Value {
    match meant {
        Meant::Null => Value::Null,
        Meant::Bool(value) => json!(value),
        Meant::Integer(value) => json!(value),
        Meant::Double(value) => json!(value),
        Meant::Text(text) | Meant::Symbol(text) => json!(text),
        Meant::Bytes(bytes) => json!(super::json::base64(bytes)),
        Meant::Instant(value, unit) => json!(instant(*value, *unit)),
        Meant::Decimal(value, scale) => json!(format!("decimal {}", digits(*value, *scale))),
        Meant::Array(rows) => json!(rows),
    }
}

const STAMP: &str = "2023-11-14T22:13:20.000000Z";

/// Rows of columns that are each there once.
fn rows() -> impl Strategy<Value = Vec<MeantRow>> {
    let names = prop::sample::select(vec!["a", "b c", "quo\"te", "ü", "\\", "x,y"]);
    let row = prop::collection::vec((names.prop_map(str::to_owned), meant()), 0..6);
    let unique = row.prop_map(|mut row| {
        let mut seen = Vec::new();
        row.retain(|(name, _)| {
            !seen.contains(name) && {
                seen.push(name.clone());
                true
            }
        });
        row
    });
    prop::collection::vec(unique, 1..6)
}

proptest! {
    #[test]
    fn objects_are_those_of_serde_json(rows in rows()) {
        let lines = Bench::json(Shape::plain("t")).lines(&rows);
        for (row, line) in rows.iter().zip(lines) {
            let mut object = Map::new();
            object.insert("timestamp".to_owned(), json!(STAMP));
            object.extend(row.iter().map(|(name, meant)| (name.clone(), in_json(meant))));
            let mut expected = serde_json::to_string(&object).expect("plain values");
            for (_, meant) in row {
                // serde_json has no decimals: their digits stand without quotes.
                if let Meant::Decimal(value, scale) = meant {
                    let digits = digits(*value, *scale);
                    expected = expected.replace(&format!("\"decimal {digits}\""), &digits);
                }
            }
            prop_assert_eq!(line, expected);
        }
    }

    #[test]
    fn records_are_read_back_by_the_csv_crate(rows in rows(), null in "(|NULL|\\\\N|N)") {
        let written = Written::Csv { null: null.clone(), columns: None };
        let mut bench = Bench::new(Shape::plain("t"), written, Timestamps::Iso);
        let (payloads, refused) = bench.encode(&rows);
        prop_assert_eq!(refused, []);
        let mut seen = 0;
        for payload in &payloads {
            let columns = bench.layouts.columns("t", super::Layout(payload.layout));
            let mut text = Vec::new();
            super::csv::push_header(&mut text, columns.iter().map(|name| &**name));
            text.extend_from_slice(&payload.buffers.bytes);
            let mut records = read_csv(&text).into_iter();
            let header = records.next().expect("a header");
            prop_assert_eq!(&header[0], "timestamp");
            for (record, line) in records.zip(&payload.buffers.lines) {
                let row = line.offset as usize;
                prop_assert_eq!(record.len(), header.len());
                seen += 1;
                for (name, field) in header.iter().zip(&record).skip(1) {
                    let meant = rows[row].iter().find(|(column, _)| column == name);
                    let meant = meant.map_or(&Meant::Null, |(_, meant)| meant);
                    prop_assert_eq!(field.clone(), in_csv(meant, &null), "{} of row {}", name, row);
                }
                for (name, meant) in &rows[row] {
                    prop_assert!(header.contains(name) || matches!(meant, Meant::Null));
                }
            }
        }
        prop_assert_eq!(seen, rows.len());
    }

    #[test]
    fn fields_are_those_of_the_csv_crate(fields in prop::collection::vec(told_alike(), 1..6)) {
        let mut own = Vec::new();
        for (at, field) in fields.iter().enumerate() {
            if at > 0 {
                own.push(b',');
            }
            super::csv::push_text(&mut own, field.as_bytes(), "NULL");
        }
        own.push(b'\n');
        prop_assert_eq!(own, written_csv(&fields));
    }

    #[test]
    fn declared_columns_take_what_line_protocol_takes(
        meant in meant(), more in "([0-9]{1,3}|1\\.2\\.3\\.4|[a-z]|2023-11-14T22:13:20Z)",
        replaced in any::<bool>(), column in 0..20_usize,
    ) {
        let meant = if replaced { Meant::Text(more) } else { meant };
        let kinds = [
            "boolean", "byte", "short", "int", "long", "float", "double", "varchar", "string",
            "char", "timestamp", "timestamp_ns", "date", "uuid", "ipv4", "long256", "geohash",
            "decimal(38,5)", "double[]", "double[][]",
        ];
        let kind = ColumnType::parse(kinds[column]).expect("a type");
        let mut rows = RowBatch::default();
        let cell = cell(&mut rows, 1, &meant);
        let bytes = rows.pointed(&cell);
        let ours = fit(&cell, bytes, Some(kind));
        if matches!(meant, Meant::Null) {
            prop_assert_eq!(ours, Ok(Plain::Null));
        } else {
            let theirs = push_field(&mut Vec::new(), &cell, bytes, kind, 2);
            prop_assert_eq!(ours.map(drop), theirs);
        }
    }
}

/// Text that the csv crate writes as we do: we tell empty text from nothing by its quotes, the
/// crate quotes only where it must.
fn told_alike() -> impl Strategy<Value = String> {
    text().prop_map(|text| match &*text {
        "" | "NULL" => format!("{text}+"),
        _ => text,
    })
}

/// A text as the csv crate reads it.
fn read_csv(text: &[u8]) -> Vec<Vec<String>> {
    let mut reader = csv_core::Reader::new();
    let (mut output, mut ends) = (vec![0; text.len() + 1], vec![0; text.len() + 1]);
    let (mut records, mut at) = (Vec::new(), 0);
    loop {
        let (result, read, _, fields) = reader.read_record(&text[at..], &mut output, &mut ends);
        at += read;
        match result {
            csv_core::ReadRecordResult::Record => {
                let field = |at: usize| {
                    let start = if at == 0 { 0 } else { ends[at - 1] };
                    String::from_utf8(output[start..ends[at]].to_vec()).expect("UTF-8")
                };
                records.push((0..fields).map(field).collect());
            }
            csv_core::ReadRecordResult::End => return records,
            other => panic!("room for all of it: {other:?}"),
        }
    }
}

/// A record as the csv crate writes it.
fn written_csv(fields: &[String]) -> Vec<u8> {
    let mut writer = csv_core::Writer::new();
    let mut out = vec![0; fields.iter().map(|field| 2 * field.len() + 4).sum::<usize>() + 4];
    let mut at = 0;
    for (number, field) in fields.iter().enumerate() {
        if number > 0 {
            at += writer.delimiter(&mut out[at..]).1;
        }
        at += writer.field(field.as_bytes(), &mut out[at..]).2;
    }
    at += writer.terminator(&mut out[at..]).1;
    out.truncate(at);
    out
}

/// A field as it is read back: quotes are gone.
fn in_csv(meant: &Meant, null: &str) -> String {
    match meant {
        Meant::Null => null.to_owned(),
        Meant::Double(value) if value.is_nan() => "NaN".to_owned(),
        Meant::Double(value) if value.is_infinite() && *value > 0.0 => "Infinity".to_owned(),
        Meant::Double(value) if value.is_infinite() => "-Infinity".to_owned(),
        Meant::Decimal(value, scale) => digits(*value, *scale),
        other => match in_json(other) {
            Value::String(text) => text,
            other => other.to_string(),
        },
    }
}

fn row(cells: &[(&str, Meant)]) -> MeantRow {
    cells.iter().map(|(name, meant)| ((*name).to_owned(), meant.clone())).collect()
}

#[test]
fn a_row_is_shaped() {
    let mut shape = Shape::plain("t");
    shape.mapping = vec![("b".into(), "bee".into())];
    shape.drop = vec!["c".into()];
    shape.columns = vec![("a".into(), ColumnType::Double), ("at".into(), ColumnType::Timestamp)];
    shape.symbols = vec!["s".into()];
    shape.metadata.topic = Some("from".into());
    shape.metadata.offset = Some("offset".into());
    let cells = row(&[
        ("a", Meant::Integer(21)),
        ("b", Meant::Null),
        ("c", Meant::Bool(true)),
        ("s", Meant::Integer(7)),
        ("offset", Meant::Integer(99)),
        ("at", Meant::Integer(1_700_000_000)),
    ]);
    let expected = format!(
        r#"{{"timestamp":"{STAMP}","from":"sensors","offset":0,"a":21.0,"bee":null,"s":"7","at":"{STAMP}"}}"#
    );
    assert_eq!(Bench::json(shape.clone()).lines(std::slice::from_ref(&cells)), [expected]);
    shape.timestamp = Timestamp::Server;
    shape.timestamp_column = "at".into();
    shape.mapping = vec![("a".into(), "a".into()), ("at".into(), "at".into())];
    shape.mapping_only = true;
    let mut bench = Bench::new(shape, Written::Json, Timestamps::Ms);
    let expected = r#"{"from":"sensors","offset":0,"a":21.0,"at":1700000000000}"#;
    assert_eq!(bench.lines(&[cells]), [expected]);
}

#[test]
fn columns_of_csv_are_those_that_were_asked_for() {
    let columns = Some(["b", "timestamp", "nobody"].map(str::to_owned).to_vec());
    let written = Written::Csv { null: "-".into(), columns };
    let mut bench = Bench::new(Shape::plain("t"), written, Timestamps::S);
    let rows = [row(&[("a", Meant::Integer(1)), ("b", Meant::Text("-".into()))]), row(&[])];
    assert_eq!(bench.lines(&rows), ["\"-\",1700000000,-", "-,1700000000,-"]);
}

#[test]
fn a_new_column_of_csv_is_a_new_layout() {
    let written = Written::Csv { null: String::new(), columns: None };
    let mut bench = Bench::new(Shape::plain("t"), written, Timestamps::S);
    let (a, b) = (row(&[("a", Meant::Integer(1))]), row(&[("b", Meant::Integer(2))]));
    let first = bench.encode(std::slice::from_ref(&a)).0;
    let second = bench.encode(&[a, b]).0;
    assert_eq!((first[0].layout, lines(&first[0])), (2, vec!["1700000000,1".to_owned()]));
    let shown: Vec<(u32, Vec<String>)> = second.iter().map(|p| (p.layout, lines(p))).collect();
    let old = (2, vec!["1700000000,1".to_owned()]);
    let new = (3, vec!["1700000000,,2".to_owned()]);
    assert_eq!(shown, [old, new]);
}

#[test]
fn a_record_is_written_whole_or_not_at_all() {
    let mut shape = Shape::plain("t");
    shape.columns = vec![("n".into(), ColumnType::Long)];
    let mut bench = Bench::json(shape);
    let good = row(&[("n", Meant::Integer(1))]);
    let bad = row(&[("n", Meant::Text("one".into()))]);
    let records = batch(vec![(None, None), (None, None)]);
    let mut rows = bench.rows(&[good.clone(), bad, good]);
    // The first record has two rows, of which the second does not fit.
    for (at, row) in rows.rows.iter_mut().enumerate() {
        (row.source, row.number) = ((at / 2) as u32, (at % 2) as u32);
    }
    let (payloads, refused) = bench.encode_batch(&records, &rows, Rejects::default());
    assert_eq!(refused, [(0, Reason::WrongType)]);
    assert_eq!(lines(&payloads[0]), [format!(r#"{{"timestamp":"{STAMP}","n":1}}"#)]);
    assert_eq!(payloads[0].buffers.lines[0].offset, 1);
}

#[test]
fn tables_come_from_templates_and_transforms() {
    let mut bench = Bench::json(Shape::plain("{field.site}"));
    let site = |site: &str| row(&[("site", Meant::Text(site.into()))]);
    let mut rows = bench.rows(&[site("one"), site("two!"), site("three")]);
    rows.rows[2].table = bench.names.tables.intern("chosen").expect("room");
    let records = batch(vec![(None, None), (None, None), (None, None)]);
    let (payloads, refused) = bench.encode_batch(&records, &rows, Rejects::default());
    assert_eq!(refused, [(1, Reason::BadName)]);
    let tables: Vec<&str> = payloads.iter().map(|payload| &*payload.table).collect();
    assert_eq!(tables, ["one", "chosen"]);
}

#[test]
fn columns_have_a_bound_where_a_header_names_them() {
    let mut shape = Shape::plain("t");
    shape.columns_max = 2;
    let written = Written::Csv { null: String::new(), columns: None };
    let mut bench = Bench::new(shape, written, Timestamps::S);
    let (a, b) = (row(&[("a", Meant::Integer(1))]), row(&[("b", Meant::Integer(2))]));
    let (_, refused) = bench.encode(&[a, b]);
    assert_eq!(refused, [(1, Reason::TooManyColumns)]);
}

#[test]
fn of_several_fields_under_one_name_one_may_have_a_value() {
    let mut shape = Shape::plain("t");
    shape.mapping = vec![("b".into(), "a".into())];
    let rows = [
        row(&[("a", Meant::Integer(1)), ("b", Meant::Integer(2))]),
        row(&[("a", Meant::Null), ("b", Meant::Integer(2))]),
    ];
    let (_, refused) = Bench::json(shape.clone()).encode(&rows);
    assert_eq!(refused, [(0, Reason::TwoFields)]);
    let lines = Bench::json(shape).lines(&rows[1..]);
    assert_eq!(lines, [format!(r#"{{"timestamp":"{STAMP}","a":2}}"#)]);
}
