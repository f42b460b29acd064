//! Which table a row goes to, and which columns that table gets for it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bridge_abi::{Cell, Kind};

use super::encode::IlpEncoder;
use super::table::{Denied, Table, Tables, Wanted};
use super::target::Wire;
use crate::batch::testing::batch;
use crate::batch::{Row, RowBatch};
use crate::blame::Fault;
use crate::names::Names;
use crate::outbox::{Closing, Outbox};
use crate::reject::Rejects;
use crate::shape::{ColumnType, Declared, Shape};
use crate::sink::Encoder;

/// What each table was asked for.
type Asked = BTreeMap<String, BTreeMap<String, ColumnType>>;

/// Makes whatever it is asked for, but no name with a slash; keeps what it was asked.
#[derive(Default)]
struct Noting(Mutex<Asked>);

impl Tables for Noting {
    fn resolve(&self, table: &str, wanted: &[Wanted]) -> Result<Arc<Table>, Denied> {
        if table.contains('/') {
            return Err(Denied::Pipeline(Fault::operator("asked for what can be no table")));
        }
        let mut asked = self.0.lock().expect("whole");
        let known = asked.entry(table.to_owned()).or_default();
        known.extend(wanted.iter().map(|wanted| (wanted.name.clone(), wanted.kind)));
        let mut columns: HashMap<String, ColumnType> =
            known.iter().map(|(name, kind)| (name.to_lowercase(), *kind)).collect();
        columns.insert("timestamp".to_owned(), ColumnType::Timestamp);
        Ok(Arc::new(Table {
            name: table.into(),
            id: 1,
            timestamp: Some(("timestamp".to_owned(), ColumnType::Timestamp)),
            columns,
            upsert_keys: vec![],
            wal: true,
        }))
    }
}

/// A cell: its column and its value.
type Given = (&'static str, Value);

#[derive(Clone, Copy)]
enum Value {
    Null,
    Long(i64),
    Text(&'static str),
}
use Value::{Long, Null, Text};

/// What came of rows: the lines of each table, or how many went in transactions, what the tables
/// were asked for, and the reasons of the rejects.
struct Came {
    lines: BTreeMap<String, Vec<String>>,
    binds: BTreeMap<String, usize>,
    asked: Asked,
    rejects: Vec<&'static str>,
}

/// Encodes rows, each of its own record: the table that a transform chose, and cells.
fn encoded(table: &str, given: &[(Option<&str>, &[Given])]) -> Came {
    let shape = Shape::plain(table);
    shaped(shape, given)
}

/// The same with a shape; two couriers for lines, and one for what goes in transactions.
fn shaped(shape: Shape, given: &[(Option<&str>, &[Given])]) -> Came {
    let names = Arc::new(Names::default());
    let mut rows = RowBatch::default();
    for (source, (chosen, cells)) in given.iter().enumerate() {
        let start = rows.cells.len();
        for (name, value) in *cells {
            let column = names.columns.intern(name).expect("few names");
            let plain =
                |kind: Kind, value: u64| Cell { column, kind: kind as u8, flags: 0, len: 0, value };
            let cell = match value {
                Null => plain(Kind::Null, 0),
                Long(value) => plain(Kind::I64, *value as u64),
                Text(text) => rows.cell_bytes(column, Kind::Text, 0, text.as_bytes()),
            };
            rows.cells.push(cell);
        }
        let id = |name: &str| names.tables.intern(name).expect("few names");
        rows.rows.push(Row {
            source: source as u32,
            number: 0,
            cells: start as u32,
            cell_count: cells.len() as u16,
            table: chosen.map_or(0, id),
        });
    }
    let closing = Closing {
        payload_bytes_max: usize::MAX,
        payload_rows_max: usize::MAX,
        open_bytes_max: usize::MAX,
    };
    let mut outbox = Outbox::new(closing, Arc::default(), Instant::now());
    let (mut rejects, tables) = (Rejects::default(), Arc::new(Noting::default()));
    let records = batch(given.iter().map(|_| (None, None)).collect());
    let encoder = IlpEncoder::new(Arc::new(shape), names, Arc::clone(&tables) as _, 2, 2);
    let mut encoder = encoder.transacting(Wire::Binds(Arc::default()), 1);
    encoder.encode(&records, &rows, &mut rejects, &mut outbox).expect("a pipeline that goes on");
    outbox.close_all();
    let mut lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut binds: BTreeMap<String, usize> = BTreeMap::new();
    for (courier, payload) in outbox.take_closed() {
        if courier == 2 {
            assert!(payload.buffers.bytes.starts_with(b"B"), "a Bind");
            *binds.entry(payload.table.to_string()).or_default() += payload.buffers.lines.len();
            payload.shares.into_iter().for_each(|share| {
                share.redeem();
            });
            continue;
        }
        let text = String::from_utf8(payload.buffers.bytes).expect("neither doubles nor arrays");
        let of = text.lines().map(|line| line.rsplit_once(' ').expect("a timestamp").0.to_owned());
        lines.entry(payload.table.to_string()).or_default().extend(of);
        payload.shares.into_iter().for_each(|share| {
            share.redeem();
        });
    }
    let rejects = rejects.found.iter().map(|(_, _, reason, _)| reason.name()).collect();
    let _ = records.into_ticket().into_share().redeem();
    let asked = std::mem::take(&mut *tables.0.lock().expect("whole"));
    Came { lines, binds, asked, rejects }
}

#[test]
fn a_transform_may_choose_the_table_of_every_row() {
    let came = encoded("t", &[(Some("alarms"), &[("a", Long(1))]), (None, &[("b", Long(2))])]);
    assert_eq!(came.lines["alarms"], ["alarms a=1i"]);
    assert_eq!(came.lines["t"], ["t b=2i"]);
    let only = encoded("t", &[(Some("alarms"), &[("a", Long(1))])]);
    assert_eq!(only.lines["alarms"], ["alarms a=1i"]);
    assert!(only.rejects.is_empty());
}

#[test]
fn a_table_gets_the_columns_of_its_own_rows_only() {
    let came = encoded(
        "{field.kind}",
        &[
            (None, &[("kind", Text("a")), ("v", Long(1))]),
            (None, &[("kind", Text("b")), ("v", Text("x")), ("w", Long(2))]),
        ],
    );
    assert_eq!(came.asked["a"].get("v"), Some(&ColumnType::Long));
    assert_eq!(came.asked["a"].get("w"), None);
    assert_eq!(came.asked["b"].get("v"), Some(&ColumnType::Varchar));
    assert_eq!(came.lines["a"], ["a kind=\"a\",v=1i"]);
    assert_eq!(came.lines["b"], ["b kind=\"b\",v=\"x\",w=2i"]);
}

#[test]
fn a_name_that_can_be_no_table_is_asked_for_by_nobody() {
    let came = encoded(
        "{field.kind}",
        &[
            (None, &[("kind", Text("a/b")), ("v", Long(1))]),
            (None, &[("kind", Text("c")), ("v", Long(2))]),
        ],
    );
    assert_eq!(came.rejects, ["bad-name"]);
    assert_eq!(came.lines["c"], ["c kind=\"c\",v=2i"]);
}

#[test]
fn a_column_has_one_value_and_a_null_is_none() {
    let came = encoded(
        "t",
        &[
            (None, &[("a", Long(1)), ("A", Long(2))]),
            (None, &[("a", Null), ("A", Long(5))]),
            (None, &[("a", Null), ("A", Null)]),
        ],
    );
    assert_eq!(came.lines["t"], ["t A=5i"]);
    assert_eq!(came.rejects, ["two-fields", "no-columns"]);
}

#[test]
fn rows_of_transactional_tables_have_couriers_of_their_own() {
    let own = Shape { transactional: true, ..Shape::plain("{field.kind}") };
    let orders = Declared { name: "Orders".into(), shape: own, ours: true, timestamp: false };
    let shape = Shape { declared: vec![orders], ..Shape::plain("{field.kind}") };
    let came = shaped(
        shape,
        &[
            (None, &[("kind", Text("orders")), ("v", Long(1))]),
            (None, &[("kind", Text("ticks")), ("v", Long(2))]),
            (Some("orders"), &[("v", Long(3))]),
        ],
    );
    assert_eq!(came.binds, BTreeMap::from([("orders".to_owned(), 2)]));
    assert_eq!(came.lines["ticks"], ["ticks kind=\"ticks\",v=2i"]);
    assert_eq!(came.lines.len(), 1);
    assert!(came.rejects.is_empty(), "{:?}", came.rejects);
}
