//! The encoder against two references: what it wrote is read back by a reader that shares nothing
//! with it, and is held against the bytes of the official client's encoder.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bridge_abi::{Cell, Kind, Unit as CellUnit};
use proptest::prelude::*;
use questdb::ingress::{Buffer, ProtocolVersion, TimestampMicros};

use super::encode::IlpEncoder;
use super::reader::{self, Field, Unit};
use super::table::{Denied, Table, Tables, Wanted};
use super::target::Wire;
use crate::batch::testing::batch;
use crate::batch::{RecordBatch, Row, RowBatch};
use crate::names::Names;
use crate::outbox::{Closing, Outbox};
use crate::reject::Rejects;
use crate::shape::{ColumnType, Shape, Timestamp, Written};
use crate::sink::Encoder;

const TABLE: &str = "my table-1";
const BOOL: &str = "is it";
const LONG: &str = "a=b";
const DOUBLE: &str = "größe";
const TEXT: &str = "x#y";
const SYMBOL: &str = "sym bol";
const INSTANT: &str = "seen";
const ARRAYS: [&str; 3] = ["one", "two", "three"];
const STAMP: &str = "at";

/// A row as a test means it.
#[derive(Clone, Debug)]
struct Meant {
    number: i64,
    symbol: Option<String>,
    bool: Option<bool>,
    double: Option<f64>,
    text: Option<String>,
    instant: Option<i64>,
    one: Option<Vec<f64>>,
    two: Option<Vec<Vec<f64>>>,
    three: Option<Vec<Vec<Vec<f64>>>>,
    at: i64,
}

fn double() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), Just(21.0), Just(-0.0), Just(1e16), Just(5e-324), Just(f64::MAX)]
}

fn meant() -> impl Strategy<Value = Meant> {
    let instant = 0..4_000_000_000_000_000_i64;
    let rectangle = |rows: usize, columns: usize| {
        proptest::collection::vec(proptest::collection::vec(any::<f64>(), columns), rows)
    };
    let two = (1..4_usize, 1..4_usize).prop_flat_map(move |(r, c)| rectangle(r, c));
    let three = (1..3_usize, 1..3_usize, 1..3_usize)
        .prop_flat_map(move |(d, r, c)| proptest::collection::vec(rectangle(r, c), d));
    let scalars = (
        any::<i64>(),
        proptest::option::of("[a-z ,=\\\\\"\n\rüλ🦀\t]{1,12}"),
        any::<Option<bool>>(),
        proptest::option::of(double()),
        proptest::option::of(any::<String>()),
        proptest::option::of(instant.clone()),
    );
    let arrays = (
        proptest::option::of(proptest::collection::vec(any::<f64>(), 1..5)),
        proptest::option::of(two),
        proptest::option::of(three),
    );
    (scalars, arrays, instant).prop_map(|(scalars, (one, two, three), at)| {
        let (number, symbol, bool, double, text, instant) = scalars;
        Meant { number, symbol, bool, double, text, instant, one, two, three, at }
    })
}

/// A database that makes whatever it is asked for.
struct Obliging;

impl Tables for Obliging {
    fn resolve(&self, table: &str, wanted: &[Wanted]) -> Result<Arc<Table>, Denied> {
        let columns = wanted.iter().map(|wanted| (wanted.name.to_lowercase(), wanted.kind));
        let mut columns: HashMap<String, ColumnType> = columns.collect();
        columns.insert(STAMP.to_owned(), ColumnType::Timestamp);
        Ok(Arc::new(Table {
            name: table.into(),
            id: 1,
            timestamp: Some((STAMP.to_owned(), ColumnType::Timestamp)),
            columns,
            upsert_keys: vec![],
            wal: true,
        }))
    }
}

fn shape() -> Shape {
    Shape {
        timestamp: Timestamp::Field {
            field: STAMP.into(),
            written: Written::Number(CellUnit::Micros),
        },
        timestamp_column: STAMP.into(),
        symbols: vec![SYMBOL.into()],
        columns: vec![
            (LONG.into(), ColumnType::Long),
            (BOOL.into(), ColumnType::Boolean),
            (DOUBLE.into(), ColumnType::Double),
            (TEXT.into(), ColumnType::Varchar),
            (INSTANT.into(), ColumnType::Timestamp),
        ],
        ..Shape::plain(TABLE)
    }
}

/// An array as cells hold it.
fn array(shape: &[usize], values: impl Iterator<Item = f64>) -> Vec<u8> {
    let mut bytes = (shape.len() as u32).to_le_bytes().to_vec();
    shape.iter().for_each(|length| bytes.extend_from_slice(&(*length as u32).to_le_bytes()));
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    values.for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
    bytes
}

/// Rows as a lane hands them to the encoder.
fn rows(names: &Names, all: &[Meant], arrays: bool) -> RowBatch {
    let mut rows = RowBatch::default();
    let id = |name: &str| names.columns.intern(name).expect("few names");
    let plain = |name: &str, kind: Kind, flags: u8, value: u64| Cell {
        column: id(name),
        kind: kind as u8,
        flags,
        len: 0,
        value,
    };
    for (index, row) in all.iter().enumerate() {
        let mut cells = vec![plain(LONG, Kind::I64, 0, row.number as u64)];
        cells.extend(row.bool.map(|b| plain(BOOL, Kind::Bool, 0, u64::from(b))));
        cells.extend(row.double.map(|d| plain(DOUBLE, Kind::F64, 0, d.to_bits())));
        let mut bytes = |name: &str, kind: Kind, bytes: &[u8]| {
            let cell = rows.cell_bytes(id(name), kind, 0, bytes);
            cells.push(cell);
        };
        if let Some(text) = &row.text {
            bytes(TEXT, Kind::Text, text.as_bytes());
        }
        if let Some(symbol) = &row.symbol {
            bytes(SYMBOL, Kind::Symbol, symbol.as_bytes());
        }
        if let Some(one) = row.one.as_ref().filter(|_| arrays) {
            bytes(ARRAYS[0], Kind::Array, &array(&[one.len()], one.iter().copied()));
        }
        if let Some(two) = row.two.as_ref().filter(|_| arrays) {
            let shape = [two.len(), two[0].len()];
            bytes(ARRAYS[1], Kind::Array, &array(&shape, two.iter().flatten().copied()));
        }
        if let Some(three) = row.three.as_ref().filter(|_| arrays) {
            let shape = [three.len(), three[0].len(), three[0][0].len()];
            let values = three.iter().flatten().flatten().copied();
            bytes(ARRAYS[2], Kind::Array, &array(&shape, values));
        }
        let micros = CellUnit::Micros as u8;
        cells.extend(row.instant.map(|i| plain(INSTANT, Kind::Timestamp, micros, i as u64)));
        cells.push(plain(STAMP, Kind::I64, 0, row.at as u64));
        rows.rows.push(Row {
            source: index as u32,
            number: 0,
            cells: rows.cells.len() as u32,
            cell_count: cells.len() as u16,
            table: 0,
        });
        rows.cells.extend(cells);
    }
    rows
}

/// What the encoder makes of rows, all lines in one payload.
fn encoded(all: &[Meant], version: u8) -> Vec<u8> {
    let names = Arc::new(Names::default());
    let records: RecordBatch = batch(all.iter().map(|_| (None, None)).collect());
    let rows = rows(&names, all, version >= 2);
    let closing = Closing {
        payload_bytes_max: usize::MAX,
        payload_rows_max: usize::MAX,
        open_bytes_max: usize::MAX,
    };
    let mut outbox = Outbox::new(closing, Arc::default(), Instant::now());
    let mut rejects = Rejects::default();
    let (shape, tables) = (Arc::new(shape()), Arc::new(Obliging));
    let mut encoder = IlpEncoder::new(shape, names, tables, version, 1);
    encoder.encode(&records, &rows, &mut rejects, &mut outbox).expect("a pipeline that goes on");
    assert!(rejects.is_empty(), "{:?}", rejects.drain(&records));
    outbox.close_all();
    let mut bytes = Vec::new();
    for (_, payload) in outbox.take_closed() {
        assert_eq!(payload.buffers.lines.len(), all.len());
        assert_eq!(
            payload.buffers.lines.last().map(|l| l.end as usize),
            Some(payload.buffers.bytes.len())
        );
        bytes.extend_from_slice(&payload.buffers.bytes);
        payload.shares.into_iter().for_each(|share| {
            share.redeem();
        });
    }
    let _ = records.into_ticket().into_share().redeem();
    bytes
}

/// What is said of a row with an array, of one dimension, that is refused.
fn refused_array(wire: Wire, tables: Arc<dyn Tables>) -> String {
    let names = Arc::new(Names::default());
    let row = Meant {
        number: 1,
        symbol: None,
        bool: None,
        double: None,
        text: None,
        instant: None,
        one: Some(vec![1.5]),
        two: None,
        three: None,
        at: 1,
    };
    let records: RecordBatch = batch(vec![(None, None)]);
    let rows = rows(&names, &[row], true);
    let closing = Closing { payload_bytes_max: 1, payload_rows_max: 1, open_bytes_max: 1 };
    let mut outbox = Outbox::new(closing, Arc::default(), Instant::now());
    let mut rejects = Rejects::default();
    let mut encoder = IlpEncoder::by(wire, Arc::new(shape()), names, tables, 1);
    encoder.encode(&records, &rows, &mut rejects, &mut outbox).expect("a pipeline that goes on");
    outbox.close_all();
    for (_, payload) in outbox.take_closed() {
        assert!(payload.buffers.lines.is_empty(), "the row is refused");
        payload.shares.into_iter().for_each(|share| {
            share.redeem();
        });
    }
    let _ = records.into_ticket().into_share().redeem();
    rejects.found.pop().expect("it is refused").3
}

/// A database whose column for the array is of another type.
struct Other(ColumnType);

impl Tables for Other {
    fn resolve(&self, table: &str, wanted: &[Wanted]) -> Result<Arc<Table>, Denied> {
        let mut made = Table::clone(&*Obliging.resolve(table, wanted)?);
        made.columns.insert(ARRAYS[0].to_owned(), self.0);
        Ok(Arc::new(made))
    }
}

#[test]
fn an_array_that_cannot_be_written_is_refused_with_the_key_to_change() {
    let check = |wire: Wire, kind: &str, wanted: &str| {
        let kind = ColumnType::parse(kind).expect("a type");
        let said = refused_array(wire, Arc::new(Other(kind)));
        let shown = "the record has an array of 1 dimension; ";
        assert!(said.contains(shown) && said.contains(wanted), "{said}");
    };
    check(Wire::Lines(1), "double[]", "set `protocol` of the sink to 2");
    check(Wire::Text, "double[]", "set `encode`");
    // Where another version would not take it either.
    for (wire, kind) in [
        (Wire::Lines(1), "double[][]"),
        (Wire::Lines(1), "long"),
        (Wire::Text, "double"),
        (Wire::Lines(2), "double[][]"),
    ] {
        check(wire, kind, "declare a type that takes both");
    }
}

/// The fields that a row must have, in order; doubles by their bits, for NaN is NaN here.
fn fields(row: &Meant, arrays: bool) -> Vec<(&'static str, String)> {
    let bits =
        |values: &mut dyn Iterator<Item = f64>| -> Vec<u64> { values.map(f64::to_bits).collect() };
    let mut fields = vec![(LONG, format!("{}", row.number))];
    fields.extend(row.bool.map(|b| (BOOL, format!("{b}"))));
    fields.extend(row.double.map(|d| (DOUBLE, shown_double(d))));
    fields.extend(row.text.as_ref().map(|t| (TEXT, format!("{t:?}"))));
    if arrays {
        if let Some(one) = &row.one {
            fields.push((
                ARRAYS[0],
                format!("{:?}{:?}", [one.len()], bits(&mut one.iter().copied())),
            ));
        }
        if let Some(two) = &row.two {
            let shape = [two.len(), two[0].len()];
            let values = bits(&mut two.iter().flatten().copied());
            fields.push((ARRAYS[1], format!("{shape:?}{values:?}")));
        }
        if let Some(three) = &row.three {
            let shape = [three.len(), three[0].len(), three[0][0].len()];
            let values = bits(&mut three.iter().flatten().flatten().copied());
            fields.push((ARRAYS[2], format!("{shape:?}{values:?}")));
        }
    }
    fields.extend(row.instant.map(|i| (INSTANT, format!("{i}us"))));
    fields
}

/// Text has one NaN only.
fn shown_double(value: f64) -> String {
    if value.is_nan() { "nan".to_owned() } else { format!("{:x}", value.to_bits()) }
}

fn shown(field: &Field<'_>) -> String {
    match field {
        Field::Long(number) => format!("{number}"),
        Field::Double(value) => shown_double(*value),
        Field::Bool(value) => format!("{value}"),
        Field::Text(text) => format!("{text:?}"),
        Field::Timestamp(instant, Unit::Micros) => format!("{instant}us"),
        Field::Timestamp(instant, Unit::Nanos) => format!("{instant}ns"),
        Field::Timestamp(instant, Unit::Millis) => format!("{instant}ms"),
        Field::Decimal(digits) => format!("{digits}d"),
        Field::Array(shape, values) => {
            format!("{shape:?}{:?}", values.iter().map(|v| v.to_bits()).collect::<Vec<_>>())
        }
    }
}

fn check_read_back(all: &[Meant], version: u8) {
    let bytes = encoded(all, version);
    let mut rest = &bytes[..];
    for row in all {
        let (line, length) = reader::read(rest).expect("right").expect("whole");
        rest = &rest[length..];
        assert_eq!(line.table, TABLE);
        let symbols: Vec<(&str, &str)> =
            line.symbols.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
        let meant = row.symbol.as_deref().map(|symbol| (SYMBOL, symbol));
        assert_eq!(symbols, meant.into_iter().collect::<Vec<_>>());
        let read: Vec<(&str, String)> =
            line.fields.iter().map(|(name, field)| (name.as_ref(), shown(field))).collect();
        assert_eq!(read, fields(row, version >= 2));
        assert_eq!(line.timestamp, Some((row.at, Unit::Micros)));
    }
    assert!(rest.is_empty(), "{}", rest.escape_ascii());
}

/// The same rows by the official client.
fn official(all: &[Meant], version: ProtocolVersion) -> Buffer {
    const WHY: &str = "names and values that the client takes";
    let mut buffer = Buffer::new(version);
    for row in all {
        buffer.table(TABLE).expect(WHY);
        if let Some(symbol) = &row.symbol {
            buffer.symbol(SYMBOL, symbol).expect(WHY);
        }
        buffer.column_i64(LONG, row.number).expect(WHY);
        if let Some(bool) = row.bool {
            buffer.column_bool(BOOL, bool).expect(WHY);
        }
        if let Some(double) = row.double {
            buffer.column_f64(DOUBLE, double).expect(WHY);
        }
        if let Some(text) = &row.text {
            buffer.column_str(TEXT, text).expect(WHY);
        }
        if version != ProtocolVersion::V1 {
            if let Some(one) = &row.one {
                buffer.column_arr(ARRAYS[0], one).expect(WHY);
            }
            if let Some(two) = &row.two {
                buffer.column_arr(ARRAYS[1], two).expect(WHY);
            }
            if let Some(three) = &row.three {
                buffer.column_arr(ARRAYS[2], three).expect(WHY);
            }
        }
        if let Some(instant) = row.instant {
            buffer.column_ts(INSTANT, TimestampMicros::new(instant)).expect(WHY);
        }
        buffer.at(TimestampMicros::new(row.at)).expect(WHY);
    }
    buffer
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn version_2_reads_back(all in proptest::collection::vec(meant(), 1..8)) {
        check_read_back(&all, 2);
    }

    #[test]
    fn version_1_reads_back(all in proptest::collection::vec(meant(), 1..8)) {
        check_read_back(&all, 1);
    }

    #[test]
    fn version_2_is_the_official_clients(all in proptest::collection::vec(meant(), 1..8)) {
        let ours = encoded(&all, 2);
        let theirs = official(&all, ProtocolVersion::V2);
        prop_assert_eq!(
            ours.escape_ascii().to_string(),
            theirs.as_bytes().escape_ascii().to_string()
        );
    }

    // Version 1 of the official client writes the designated timestamp in nanoseconds without a
    // unit, and some doubles in other digits of the same value: all else is read, and equal.
    #[test]
    fn version_1_means_what_the_official_client_means(row in meant()) {
        let all = [row];
        let ours = encoded(&all, 1);
        let theirs = official(&all, ProtocolVersion::V1);
        let theirs = theirs.as_bytes();
        let space = theirs.iter().rposition(|byte| *byte == b' ').expect("before the timestamp");
        let nanos = format!(" {}\n", i128::from(all[0].at) * 1_000);
        prop_assert_eq!(&theirs[space..], nanos.as_bytes());
        let theirs = [&theirs[..space], format!(" {}t\n", all[0].at).as_bytes()].concat();
        let read = |bytes: &[u8]| {
            let (line, _) = reader::read(bytes).expect("right").expect("whole");
            let fields: Vec<(String, String)> =
                line.fields.iter().map(|(name, field)| (name.to_string(), shown(field))).collect();
            (line.table.to_string(), format!("{:?}", line.symbols), fields)
        };
        prop_assert_eq!(read(&ours), read(&theirs));
    }
}
