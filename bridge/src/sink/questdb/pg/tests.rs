//! What a column takes over this protocol, held against line protocol: the same cells, as the same
//! values.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bridge_abi::{Cell, Kind, Unit};
use proptest::prelude::*;

use super::layout::{Column, Feed, Layouts};
use super::value::{self, NULL};
use crate::batch::testing::batch;
use crate::batch::{Row, RowBatch};
use crate::names::Names;
use crate::outbox::{Closing, Outbox};
use crate::reject::Rejects;
use crate::shape::{ColumnType, Shape, Timestamp, Written};
use crate::sink::Encoder;
use crate::sink::questdb::encode::IlpEncoder;
use crate::sink::questdb::put::Put;
use crate::sink::questdb::table::{Denied, Table, Tables, Wanted};
use crate::sink::questdb::target::Wire;
use crate::sink::questdb::value::{push_field, push_symbol};

const COLUMNS: [&str; 21] = [
    "boolean",
    "byte",
    "short",
    "int",
    "long",
    "float",
    "double",
    "symbol",
    "varchar",
    "string",
    "char",
    "timestamp",
    "timestamp_ns",
    "date",
    "uuid",
    "ipv4",
    "long256",
    "geohash(5c)",
    "decimal(18,3)",
    "double[]",
    "double[][]",
];

/// A cell that is not null, and what it points to.
fn cell() -> impl Strategy<Value = (Cell, Vec<u8>)> {
    let of = |kind: Kind, value: u64, flags: u8| Cell {
        column: 1,
        kind: kind as u8,
        flags,
        len: 0,
        value,
    };
    let number = || (any::<i64>(), 0_u32..64).prop_map(|(number, shift)| number >> shift);
    let whole = number().prop_map(|number| number as f64);
    let float = prop_oneof![any::<f64>(), whole, Just(f64::NAN), Just(f64::INFINITY)];
    let text = prop_oneof![
        "[ -~\\n\\r\\\\\"äß]{0,8}",
        "[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}",
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "(19|20|99)[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:00:00(\\.[0-9]{1,9})?Z",
    ];
    let array = prop_oneof![Just(vec![2]), Just(vec![0]), Just(vec![2, 1]), Just(vec![3, 0])];
    prop_oneof![
        any::<bool>().prop_map(move |b| (of(Kind::Bool, u64::from(b), 0), vec![])),
        number().prop_map(move |n| (of(Kind::I64, n as u64, 0), vec![])),
        float.prop_map(move |f| (of(Kind::F64, f.to_bits(), 0), vec![])),
        text.clone().prop_map(move |t| (of(Kind::Text, 0, 0), t.into_bytes())),
        text.prop_map(move |t| (of(Kind::Symbol, 0, 0), t.into_bytes())),
        (number(), 0_u8..4)
            .prop_map(move |(n, unit)| { (of(Kind::Timestamp, n as u64, unit), vec![]) }),
        (proptest::collection::vec(any::<u8>(), 1..20), 0_u8..5)
            .prop_map(move |(unscaled, scale)| (of(Kind::Decimal, 0, scale), unscaled)),
        proptest::collection::vec(any::<u8>(), 0..4)
            .prop_map(move |bytes| (of(Kind::Bytes, 0, 0), bytes)),
        array.prop_map(move |sizes: Vec<u32>| {
            let mut bytes = (sizes.len() as u32).to_le_bytes().to_vec();
            sizes.iter().for_each(|size| bytes.extend_from_slice(&size.to_le_bytes()));
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            let count: u32 = sizes.iter().product();
            (0..count).for_each(|n| bytes.extend_from_slice(&f64::from(n).to_le_bytes()));
            (of(Kind::Array, 0, 0), bytes)
        }),
    ]
}

/// A parameter as text, as line protocol of version 1 has it without its marks.
fn read(parameter: &[u8], column: ColumnType) -> String {
    let (length, bytes) = parameter.split_first_chunk::<4>().expect("a length");
    assert_eq!(i32::from_be_bytes(*length) as usize, bytes.len(), "its length is said");
    let eight = || <[u8; 8]>::try_from(bytes).expect("eight bytes");
    match value::oid(column) {
        16 => (if bytes[0] == 0 { "f" } else { "t" }).to_owned(),
        21 => i16::from_be_bytes(bytes.try_into().expect("two bytes")).to_string(),
        23 => i32::from_be_bytes(bytes.try_into().expect("four bytes")).to_string(),
        20 => i64::from_be_bytes(eight()).to_string(),
        701 => format!("{:?}", f64::from_be_bytes(eight())),
        _ => String::from_utf8(bytes.to_vec()).expect("text"),
    }
}

/// A field or symbol of line protocol without its marks.
fn bare(written: &[u8], column: ColumnType) -> String {
    let text = String::from_utf8(written.to_vec()).expect("version 1 is text");
    let unescaped = |text: &str| {
        let mut chars = text.chars();
        let mut bare = String::new();
        while let Some(c) = chars.next() {
            bare.push(if c == '\\' { chars.next().expect("a character") } else { c });
        }
        bare
    };
    match column {
        ColumnType::Symbol => unescaped(&text),
        ColumnType::Float | ColumnType::Double => {
            let value = match text.as_str() {
                "Infinity" => f64::INFINITY,
                "-Infinity" => f64::NEG_INFINITY,
                digits => digits.parse().expect("a double"),
            };
            format!("{value:?}")
        }
        _ if text.starts_with('"') => unescaped(&text[1..text.len() - 1]),
        ColumnType::Boolean => text,
        _ => text.trim_end_matches(['i', 't', 'n', 'm', 'd']).to_owned(),
    }
}

proptest! {
    #[test]
    fn a_column_takes_what_it_takes_by_line_protocol((cell, bytes) in cell()) {
        for name in COLUMNS {
            let column = ColumnType::parse(name).expect("a type");
            let is_array = matches!(column, ColumnType::Array(_));
            let mut line = Vec::new();
            let by_line = match column {
                ColumnType::Symbol => push_symbol(&mut line, &cell, &bytes),
                _ => push_field(&mut line, &cell, &bytes, column, if is_array { 2 } else { 1 }),
            };
            let mut bound = Vec::new();
            let by_bind = value::push(&mut bound, &cell, &bytes, column);
            prop_assert_eq!(&by_bind, &by_line, "{:?} into {}", cell, name);
            if by_bind.is_ok() && !is_array {
                prop_assert_eq!(read(&bound, column), bare(&line, column), "{:?} {}", cell, name);
            }
        }
    }
}

#[test]
fn arrays_keep_their_dimensions() {
    let mut bytes = vec![2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    [1.5_f64, 2.5].iter().for_each(|value| bytes.all(&value.to_le_bytes()));
    let cell = Cell { column: 1, kind: Kind::Array as u8, flags: 0, len: 0, value: 0 };
    let mut out = Vec::new();
    value::push(&mut out, &cell, &bytes, ColumnType::Array(2)).expect("it fits");
    let word = |at: usize| i32::from_be_bytes(out[at..at + 4].try_into().expect("four bytes"));
    let words: Vec<i32> = (0..9).map(|at| word(at * 4)).collect();
    assert_eq!(words, [12 + 16 + 24, 2, 0, 701, 2, 1, 1, 1, 8]);
    assert_eq!(out[36..44], 1.5_f64.to_be_bytes());
    // An empty one too: the server takes none without dimensions.
    let empty = [1, 0, 0, 0, 0, 0, 0, 0];
    let mut out = Vec::new();
    value::push(&mut out, &cell, &empty, ColumnType::Array(1)).expect("it fits");
    assert_eq!(out.len(), 4 + 12 + 8);
}

/// A database with one table, whose timestamp is in nanoseconds.
struct One;

impl Tables for One {
    fn resolve(&self, table: &str, wanted: &[Wanted]) -> Result<Arc<Table>, Denied> {
        let columns = wanted.iter().map(|wanted| (wanted.name.to_lowercase(), wanted.kind));
        let mut columns: HashMap<String, ColumnType> = columns.collect();
        columns.insert("ts".to_owned(), ColumnType::TimestampNs);
        columns.insert("o".to_owned(), ColumnType::Long);
        columns.insert("h".to_owned(), ColumnType::Symbol);
        Ok(Arc::new(Table {
            name: table.into(),
            id: 1,
            timestamp: Some(("ts".to_owned(), ColumnType::TimestampNs)),
            columns,
            upsert_keys: vec![],
            wal: true,
        }))
    }
}

fn shape() -> Shape {
    let mut shape = Shape {
        timestamp: Timestamp::Field { field: "at".into(), written: Written::Number(Unit::Micros) },
        timestamp_column: "ts".into(),
        ..Shape::plain("rows")
    };
    shape.metadata.offset = Some("o".into());
    shape.metadata.headers = vec![("of".into(), "h".into())];
    shape
}

/// The parameters of a message.
type Parameters = Vec<Option<Vec<u8>>>;

/// The parameters of each message; refused rows' reasons.
fn encoded(all: &[Vec<(&str, Kind, u64)>]) -> (Vec<Parameters>, Vec<String>) {
    let names = Arc::new(Names::default());
    let records = batch(all.iter().map(|_| (None, None)).collect());
    let mut rows = RowBatch::default();
    for (index, cells) in all.iter().enumerate() {
        let first = rows.cells.len() as u32;
        for (name, kind, value) in cells {
            let column = names.columns.intern(name).expect("few names");
            rows.cells.push(Cell { column, kind: *kind as u8, flags: 0, len: 0, value: *value });
        }
        rows.rows.push(Row {
            source: index as u32,
            number: 0,
            cells: first,
            cell_count: cells.len() as u16,
            table: 0,
        });
    }
    let max = usize::MAX;
    let closing = Closing { payload_bytes_max: max, payload_rows_max: max, open_bytes_max: max };
    let mut outbox = Outbox::new(closing, Arc::default(), Instant::now());
    let mut rejects = Rejects::default();
    let layouts = Arc::new(Layouts::default());
    let wire = Wire::Binds(Arc::clone(&layouts));
    let mut encoder = IlpEncoder::by(wire, Arc::new(shape()), names, Arc::new(One), 1);
    encoder.encode(&records, &rows, &mut rejects, &mut outbox).expect("a pipeline that goes on");
    outbox.close_all();
    let mut messages = Vec::new();
    for (_, payload) in outbox.take_closed() {
        let mut start = 0;
        for line in &payload.buffers.lines {
            let end = line.end as usize;
            let layout = layouts.get(line.layout).expect("it was made");
            messages.push(parameters(&payload.buffers.bytes[start..end], &layout.head));
            start = end;
        }
        payload.shares.into_iter().for_each(|share| {
            share.redeem();
        });
    }
    let said = rejects.drain(&records).into_iter().map(|reject| reject.detail).collect();
    let _ = records.into_ticket().into_share().redeem();
    (messages, said)
}

/// Reads a Bind and an Execute strictly.
fn parameters(message: &[u8], head: &[u8]) -> Parameters {
    let length = u32::from_be_bytes(message[1..5].try_into().expect("four bytes")) as usize;
    let (bind, execute) = message.split_at(1 + length);
    assert_eq!(execute, b"E\0\0\0\x09\0\0\0\0\0");
    assert_eq!(bind[0], b'B');
    assert_eq!(bind[5..head.len()], head[5..]);
    let count = u16::from_be_bytes(head[head.len() - 2..].try_into().expect("two bytes"));
    let mut rest = &bind[head.len()..];
    let mut parameters = Vec::new();
    for _ in 0..count {
        let (length, behind) = rest.split_first_chunk::<4>().expect("a length");
        rest = behind;
        parameters.push(usize::try_from(i32::from_be_bytes(*length)).ok().map(|length| {
            let (value, behind) = rest.split_at(length);
            rest = behind;
            value.to_vec()
        }));
    }
    assert_eq!(rest, [0, 0], "no formats of results");
    parameters
}

#[test]
fn rows_are_messages_of_their_tables_insert() {
    let at = ("at", Kind::I64, 1_700_000_000_000_001);
    let (messages, said) = encoded(&[
        vec![("B", Kind::I64, 7), at, ("a", Kind::Null, 0)],
        vec![("a", Kind::F64, 1.5_f64.to_bits()), at],
        vec![("a", Kind::Bool, 1), at],
        vec![("B", Kind::I64, 8)],
    ]);
    let stamp = Some(1_700_000_000_000_001_000_i64.to_be_bytes().to_vec());
    let offset = |offset: i64| Some(offset.to_be_bytes().to_vec());
    let one = Some(1.5_f64.to_be_bytes().to_vec());
    let seven = Some(7_i64.to_be_bytes().to_vec());
    // Both columns were met with the batch's first row; what a row lacks is null.
    let (first, second) = (&messages[0], &messages[1]);
    assert_eq!(*first, [stamp.clone(), offset(0), None, None, seven]);
    assert_eq!(*second, [stamp, offset(1), None, one, None]);
    assert_eq!(messages.len(), 2);
    assert!(said[0].contains("column `a`") && said[1].contains("no `at`"), "{said:?}");
}

#[test]
fn statements_name_columns_and_the_units_of_time() {
    let layouts = Layouts::default();
    let table = One.resolve("rows \"x\"", &[]).expect("it is there");
    let cells = || vec![("seen".to_owned(), ColumnType::Date)];
    let layout = layouts.of(&shape(), &table, cells());
    assert_eq!(
        layout.sql,
        "INSERT INTO \"rows \"\"x\"\"\" (\"ts\", \"o\", \"h\", \"seen\") VALUES \
         ($1::timestamp_ns, $2, $3, $4::date)"
    );
    assert_eq!(layout.types().collect::<Vec<u32>>(), [20, 20, 1043, 20]);
    let column = Column { name: "o".into(), kind: ColumnType::Long, feed: Feed::Offset };
    assert_eq!(layout.columns[1], column);
    assert_eq!(layouts.of(&shape(), &table, cells()).id, layout.id);
    let clock = Shape { timestamp: Timestamp::Server, ..shape() };
    let layout = layouts.of(&clock, &table, vec![]);
    assert!(layout.sql.ends_with("VALUES ($1, $2, systimestamp_ns())"), "{}", layout.sql);
    assert_ne!(layout.id, 0);
    assert_eq!(NULL, [0xff; 4]);
}
