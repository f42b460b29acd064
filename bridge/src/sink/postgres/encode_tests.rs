//! The encoder against a reader of the format that shares nothing with it.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use bridge_abi::{Cell, Kind};
use proptest::prelude::*;

use super::catalogue::Tables;
use super::encode::PgEncoder;
use super::layout::tests::column;
use super::layout::{Found, Layout, Wanted};
use crate::batch::testing::batch;
use crate::batch::{Payload, Row, RowBatch};
use crate::names::Names;
use crate::outbox::{Closing, Outbox};
use crate::reject::{Reason, Rejects};
use crate::shape::{ColumnType, Shape};
use crate::sink::Encoder;
use crate::sink::questdb::Denied;

/// A database that makes whatever it is asked for, with some columns in place.
struct Obliging {
    shape: Arc<Shape>,
    /// By which rows are replaced.
    key: Vec<String>,
    adds: bool,
    /// The columns of each table, in the order in which they came to be.
    tables: Mutex<Vec<(String, Vec<Found>)>>,
    layouts: Mutex<Vec<Arc<Layout>>>,
}

impl Tables for Obliging {
    fn resolve(&self, table: &str, wanted: &[Wanted]) -> Result<Arc<Layout>, Denied> {
        let mut tables = self.tables.lock().expect("no one panics with it");
        let at = tables.iter().position(|(name, _)| name == table).unwrap_or(tables.len());
        if at == tables.len() {
            tables.push((table.to_owned(), vec![column("ts", 1184)]));
        }
        for wanted in wanted {
            if tables[at].1.iter().any(|found| found.name == wanted.name) {
                continue;
            }
            if !self.adds {
                return Err(Denied::Record(Reason::TooManyColumns, wanted.name.clone()));
            }
            tables[at].1.push(wanted.imagined());
        }
        let mut layouts = self.layouts.lock().expect("no one panics with it");
        let id = layouts.len() as u32;
        let layout = Arc::new(Layout::new(id, table, &self.shape, &self.key, tables[at].1.clone()));
        layouts.push(Arc::clone(&layout));
        Ok(layout)
    }
}

/// A row: its record, its table or "", its cells.
type Meant<'a> = (u32, &'a str, Vec<(&'a str, Value)>);

/// One lane, its database, and what it refused.
struct Bench {
    names: Arc<Names>,
    tables: Arc<Obliging>,
    encoder: PgEncoder,
    outbox: Outbox,
    rejects: Rejects,
}

impl Bench {
    fn new(shape: Shape, adds: bool) -> Bench {
        Bench::keyed(shape, &[], adds)
    }

    fn keyed(mut shape: Shape, key: &[&str], adds: bool) -> Bench {
        shape.timestamp_column = "ts".into();
        let (shape, names) = (Arc::new(shape), Arc::new(Names::default()));
        let tables = Arc::new(Obliging {
            shape: Arc::clone(&shape),
            key: key.iter().map(|name| (*name).to_owned()).collect(),
            adds,
            tables: Mutex::default(),
            layouts: Mutex::default(),
        });
        let encoder = PgEncoder::new(shape, Arc::clone(&names), Arc::clone(&tables) as Arc<_>, 1);
        let bound = 1 << 20;
        let closing =
            Closing { payload_bytes_max: bound, payload_rows_max: 1_000, open_bytes_max: bound };
        let outbox = Outbox::new(closing, Arc::default(), Instant::now());
        Bench { names, tables, encoder, outbox, rejects: Rejects::default() }
    }

    /// Encodes rows of so many records without a value.
    fn encode(&mut self, records: usize, meant: &[Meant<'_>]) {
        self.encode_of(vec![None; records], meant);
    }

    /// Encodes rows of records with these values.
    fn encode_of(&mut self, values: Vec<Option<Vec<u8>>>, meant: &[Meant<'_>]) {
        self.encode_deleting(values, &[], meant);
    }

    /// The same, where some records delete.
    fn encode_deleting(
        &mut self,
        values: Vec<Option<Vec<u8>>>,
        deleting: &[u32],
        meant: &[Meant<'_>],
    ) {
        let mut rows = RowBatch::default();
        deleting.iter().for_each(|source| rows.deleting.insert(*source));
        for (source, table, cells) in meant {
            let table = match *table {
                "" => 0,
                table => self.names.tables.intern(table).expect("there is room"),
            };
            let at = rows.cells.len() as u32;
            for (name, value) in cells {
                let id = self.names.columns.intern(name).expect("there is room");
                let cell = match value {
                    Value::Long(value) => plain(id, Kind::I64, *value as u64),
                    Value::Double(value) => plain(id, Kind::F64, value.to_bits()),
                    Value::Null => plain(id, Kind::Null, 0),
                    Value::Text(text) => rows.cell_bytes(id, Kind::Text, 0, text.as_bytes()),
                };
                rows.cells.push(cell);
            }
            let same = rows.rows.iter().filter(|row| row.source == *source).count() as u32;
            let cell_count = cells.len() as u16;
            rows.rows.push(Row { source: *source, number: same, cells: at, cell_count, table });
        }
        let records = batch(values.into_iter().map(|value| (None, value)).collect());
        let Bench { encoder, outbox, rejects, .. } = self;
        encoder.encode(&records, &rows, rejects, outbox).expect("the pipeline can go on");
        records.into_ticket().into_share().redeem();
    }

    /// The rows of all payloads: table and offset, then (column, value in hexadecimal).
    fn read(&mut self) -> Vec<Read> {
        self.outbox.close_all();
        let payloads: Vec<Payload> =
            self.outbox.take_closed().map(|(_, payload)| payload).collect();
        let layouts = self.tables.layouts.lock().expect("no one panics with it").clone();
        let mut all = Vec::new();
        for payload in payloads {
            for share in payload.shares {
                share.redeem();
            }
            let mut start = 0;
            for line in &payload.buffers.lines {
                let layout = &layouts[line.layout as usize];
                let bytes = &payload.buffers.bytes[start..line.end as usize];
                all.push((layout.table.to_string(), line.offset, fields(layout, bytes)));
                start = line.end as usize;
            }
            assert_eq!(start, payload.buffers.bytes.len());
        }
        all
    }
}

type Read = (String, i64, Vec<(String, String)>);

#[derive(Clone, Debug)]
enum Value {
    Long(i64),
    Double(f64),
    Text(String),
    Null,
}

fn plain(column: u16, kind: Kind, value: u64) -> Cell {
    Cell { column, kind: kind as u8, flags: 0, len: 0, value }
}

/// A tuple by PostgreSQL's description of the format: `i16` fields, each `i32` bytes or -1.
fn fields(layout: &Layout, tuple: &[u8]) -> Vec<(String, String)> {
    let count = i16::from_be_bytes([tuple[0], tuple[1]]);
    let mut names: Vec<&str> = layout.columns.iter().map(|column| &*column.name).collect();
    names.extend(["nth", "kept"].iter().take(layout.tail.fields()));
    assert_eq!(count as usize, names.len());
    let (mut at, mut fields) = (2, Vec::new());
    for name in names {
        let bytes = i32::from_be_bytes([tuple[at], tuple[at + 1], tuple[at + 2], tuple[at + 3]]);
        at += 4;
        if let Ok(bytes) = usize::try_from(bytes) {
            let hex: Vec<String> =
                tuple[at..at + bytes].iter().map(|byte| format!("{byte:02x}")).collect();
            fields.push((name.to_owned(), hex.concat()));
            at += bytes;
        }
    }
    assert_eq!(at, tuple.len(), "a tuple ends with its last field");
    fields
}

fn long(value: i64) -> String {
    format!("{value:016x}")
}

/// 2023-11-14T22:13:20Z, which every record of a test's batch bears, since 2000.
const STAMP: i64 = 753_315_200_000_000;

#[test]
fn columns_come_in_the_order_of_the_table() {
    let mut bench = Bench::new(Shape::plain("t"), true);
    bench.encode(
        2,
        &[
            (0, "", vec![("a", Value::Long(1)), ("b", Value::Text("x".into()))]),
            (
                1,
                "",
                vec![("b", Value::Text("y".into())), ("c", Value::Null), ("a", Value::Long(2))],
            ),
        ],
    );
    // A column more: what was written before stays what it was.
    bench.encode(1, &[(0, "", vec![("c", Value::Double(1.0)), ("a", Value::Long(3))])]);
    let field = |name: &str, value: String| (name.to_owned(), value);
    let rows = bench.read();
    let stamp = field("ts", long(STAMP));
    let expected = vec![
        vec![stamp.clone(), field("a", long(1)), field("b", "78".into())],
        vec![stamp.clone(), field("a", long(2)), field("b", "79".into())],
        vec![stamp, field("a", long(3)), field("c", "3ff0000000000000".into())],
    ];
    assert_eq!(rows.into_iter().map(|(.., fields)| fields).collect::<Vec<_>>(), expected);
}

#[test]
fn a_record_is_stored_whole_or_not_at_all() {
    let mut shape = Shape::plain("t");
    shape.columns = vec![("a".into(), ColumnType::Long)];
    let mut bench = Bench::new(shape, true);
    bench.encode(
        3,
        &[
            (0, "", vec![("a", Value::Long(1))]),
            (1, "", vec![("a", Value::Long(2))]),
            (1, "u", vec![("a", Value::Long(2))]),
            (1, "", vec![("a", Value::Text("many".into()))]),
            (1, "", vec![("a", Value::Long(2))]),
            (2, "u", vec![("a", Value::Long(3))]),
        ],
    );
    let seen: Vec<(String, i64)> = bench.read().into_iter().map(|(t, o, _)| (t, o)).collect();
    assert_eq!(seen, [("t".to_owned(), 0), ("u".to_owned(), 2)]);
    let (source, _, reason, detail) = &bench.rejects.found[0];
    assert_eq!((*source, *reason), (1, Reason::WrongType));
    assert!(detail.contains("`a` of t") && detail.contains("many"), "{detail}");
}

#[test]
fn what_is_left_out_and_what_is_renamed() {
    let mut shape = Shape::plain("t");
    shape.drop = vec!["no".into()];
    shape.mapping = vec![("old".into(), "new".into())];
    shape.metadata.offset = Some("o".into());
    shape.metadata.topic = Some("topic".into());
    let mut bench = Bench::new(shape, true);
    let cells = vec![("no", Value::Long(1)), ("old", Value::Long(2)), ("o", Value::Long(9))];
    bench.encode(1, &[(0, "", cells)]);
    let names: Vec<String> = bench.read()[0].2.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, ["ts", "new"], "the database has no column for its own, and keeps theirs");
}

#[test]
fn a_record_without_a_value_deletes_by_its_key_alone() {
    let shape = || Shape { deletes: true, ..Shape::plain("t") };
    let mut bench = Bench::keyed(shape(), &["a"], true);
    let row = |a: Value| ("", vec![("b", Value::Text("x".into())), ("a", a)]);
    let meant = [(0, row(Value::Long(1))), (1, row(Value::Long(2))), (2, row(Value::Null))];
    let meant: Vec<Meant<'_>> =
        meant.into_iter().map(|(at, (table, cells))| (at, table, cells)).collect();
    bench.encode_of(vec![Some(vec![]), None, None], &meant);
    let field = |name: &str, value: String| (name.to_owned(), value);
    let rows: Vec<_> = bench.read().into_iter().map(|(.., fields)| fields).collect();
    let stored = vec![
        field("ts", long(STAMP)),
        field("b", "78".into()),
        field("a", long(1)),
        field("nth", long(1)),
        field("kept", "01".into()),
    ];
    assert_eq!(rows, [stored, vec![field("a", long(2)), field("nth", long(2))]]);
    let (source, _, reason, detail) = &bench.rejects.found[0];
    assert_eq!((*source, *reason), (2, Reason::BadKey), "{detail}");
    // What the table does not take is not in the way.
    let mut bench = Bench::keyed(shape(), &["ts"], false);
    bench.encode(1, &[(0, "", vec![("b", Value::Long(1)), ("ts", Value::Long(0))])]);
    assert_eq!(bench.rejects.found.len(), 0, "{:?}", bench.rejects.found);
    assert_eq!(bench.read()[0].2, [field("ts", long(STAMP)), field("nth", long(1))]);
}

#[test]
fn a_record_that_is_marked_deletes_though_it_has_a_value() {
    let row = |n: i64| vec![("b", Value::Long(n)), ("a", Value::Long(n))];
    let values = || vec![Some(vec![]), Some(vec![]), Some(vec![])];
    let meant = [(0, "", row(1)), (1, "", row(2)), (2, "", row(3))];
    let kept = |key: &[&str], deletes: bool| -> Vec<(bool, bool)> {
        let shape = Shape { deletes, ..Shape::plain("t") };
        let mut bench = Bench::keyed(shape, key, true);
        bench.encode_deleting(values(), &[1], &meant);
        let has = |fields: &[(String, String)], name: &str| fields.iter().any(|f| f.0 == name);
        let rows = bench.read().into_iter();
        rows.map(|(.., fields)| (has(&fields, "b"), has(&fields, "kept"))).collect()
    };
    assert_eq!(kept(&["a"], true), [(true, true), (false, false), (true, true)]);
    // Where nothing is deleted, a deletion is a row.
    assert_eq!(kept(&["a"], false), [(true, false); 3]);
    assert_eq!(kept(&[], true), [(true, false); 3]);
}

#[test]
fn a_column_that_may_not_be_added_refuses_its_records_alone() {
    let mut bench = Bench::new(Shape::plain("t"), false);
    bench.encode(2, &[(0, "", vec![("x", Value::Long(1))]), (1, "", vec![("x", Value::Null)])]);
    let (source, _, reason, _) = &bench.rejects.found[0];
    assert_eq!((*source, *reason), (0, Reason::TooManyColumns));
    assert_eq!(bench.rejects.found.len(), 1);
    assert_eq!(bench.read().len(), 1, "the timestamp alone is a row");
}

proptest! {
    /// The reference: every value of every row that was meant, by its name.
    #[test]
    fn what_is_written_is_what_was_meant(
        meant in prop::collection::vec(
            (0_usize..3, prop::collection::btree_map(0_usize..6, any::<Option<i64>>(), 1..6)),
            1..40,
        ),
        batches in 1_usize..4,
    ) {
        const COLUMNS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
        const TABLES: [&str; 3] = ["", "u", "v"];
        let mut bench = Bench::new(Shape::plain("t"), true);
        let mut expected = Vec::new();
        for chunk in meant.chunks(meant.len().div_ceil(batches)) {
            let mut rows = Vec::new();
            for (offset, (table, cells)) in chunk.iter().enumerate() {
                let value = |value: &Option<i64>| value.map_or(Value::Null, Value::Long);
                let cells_of: Vec<(&str, Value)> =
                    cells.iter().map(|(at, v)| (COLUMNS[*at], value(v))).collect();
                rows.push((offset as u32, TABLES[*table], cells_of));
                let name = if *table == 0 { "t" } else { TABLES[*table] };
                let mut fields: Vec<(String, String)> = cells
                    .iter()
                    .filter_map(|(at, v)| Some((COLUMNS[*at].to_owned(), long((*v)?))))
                    .collect();
                fields.push(("ts".to_owned(), long(STAMP)));
                fields.sort();
                expected.push((name.to_owned(), offset as i64, fields));
            }
            bench.encode(chunk.len(), &rows);
        }
        let mut seen = bench.read();
        seen.iter_mut().for_each(|(.., fields)| fields.sort());
        prop_assert!(bench.rejects.is_empty());
        prop_assert_eq!(seen, expected);
    }
}
