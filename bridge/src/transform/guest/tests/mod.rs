//! The fence from outside: modules go in, rows come out. Hostile modules are written as text;
//! the examples of `transforms/` are what the build made of them.

mod attacks;
mod builtins;
mod emits;
mod examples;
mod fetched;
mod hostile;
mod inspect;
mod kept;
mod model;
mod refusals;
mod shadow;
mod typed;

use std::sync::Arc;

use bridge_abi::{Cell, Kind, Value};

use super::load_bytes;
use crate::batch::{
    EachHeader, Owner, PartitionIndex, Record, RecordBatch, Records, Route, Row, RowBatch,
    TopicPartition,
};
use crate::blame::Fault;
use crate::config::Section;
use crate::names::Names;
use crate::observe::TransformMeter;
use crate::reject::{Reason, Rejects};
use crate::ticket::{Lost, Ticket};
use crate::transform::{LoadContext, Loaded, Transform};

struct Bytes(Vec<Vec<u8>>);

impl Owner for Bytes {
    fn headers(&self, index: usize, each: EachHeader<'_>) {
        each(b"index", Some(index.to_string().as_bytes()));
        each(b"empty", None);
    }
}

/// Records with offsets from 0 on, and key and value that say their index.
fn records(count: usize) -> RecordBatch {
    let owner = Bytes((0..count).map(|index| format!("value {index}").into_bytes()).collect());
    let mut records = Records::with_capacity(count);
    for (index, value) in owner.0.iter().enumerate() {
        let record = Record {
            offset: index as i64,
            timestamp_ms: 1_000 + index as i64,
            key: Some(&value[6..]),
            value: Some(value),
        };
        // SAFETY: the vectors' buffers stay where they are when `owner` moves into the batch.
        unsafe { records.push(record) };
    }
    let source = TopicPartition { topic: "sensors".into(), partition: 3 };
    let ticket = Ticket::issue(1, Arc::new(Lost::default()));
    records.owned_by(Box::new(owner)).into_batch(PartitionIndex(0), source, ticket, Route::Primary)
}

/// A value for a test's row.
#[derive(Clone, Debug)]
enum Said {
    F64(f64),
    Text(&'static str),
}

/// A transform under test.
struct Bench {
    names: Arc<Names>,
    loaded: Box<dyn Loaded>,
    meter: Arc<TransformMeter>,
    transform: Box<dyn Transform>,
    rejects: Rejects,
}

fn context(names: &Arc<Names>) -> LoadContext {
    LoadContext { names: Arc::clone(names), emits: false, base: ".".into(), cache: None }
}

fn load(names: &Arc<Names>, module: &[u8], options: &str) -> Result<Box<dyn Loaded>, Fault> {
    let text = format!("module = 'dir/module.wasm'\n{options}");
    let section = Section::new("pipeline.p.transform", text.parse().expect("the test's TOML"));
    load_bytes(&section, module, &context(names))
}

impl Bench {
    fn new(module: &[u8], options: &str) -> Bench {
        let names = Arc::new(Names::default());
        let loaded = load(&names, module, options).expect("loads");
        let meter = Arc::new(TransformMeter::default());
        let transform = loaded.instance(Arc::clone(&meter)).expect("starts");
        Bench { names, loaded, meter, transform, rejects: Rejects::default() }
    }

    fn text(module: &str, options: &str) -> Bench {
        Bench::new(&wat::parse_str(module).expect("the test's module"), options)
    }

    /// One row for each record.
    fn rows(&self, rows: &[Vec<(&str, Said)>]) -> RowBatch {
        let mut batch = RowBatch::default();
        for (source, row) in rows.iter().enumerate() {
            let start = batch.cells.len();
            for (name, value) in row {
                let column = self.names.columns.intern(name).expect("room");
                let cell = match value {
                    Said::F64(value) => Cell {
                        column,
                        kind: Kind::F64 as u8,
                        value: value.to_bits(),
                        ..Cell::default()
                    },
                    Said::Text(text) => batch.cell_bytes(column, Kind::Text, 0, text.as_bytes()),
                };
                batch.cells.push(cell);
            }
            let cell_count = (batch.cells.len() - start) as u16;
            let (source, cells) = (source as u32, start as u32);
            batch.rows.push(Row { source, number: 0, cells, cell_count, table: 0 });
        }
        batch
    }

    /// Runs rows; what comes out, as lines.
    fn run(&mut self, rows: &[Vec<(&str, Said)>]) -> Result<Vec<String>, Fault> {
        let mut batch = self.rows(rows);
        self.transform.apply(&records(rows.len()), &mut batch, &mut self.rejects)?;
        Ok(batch.rows.iter().map(|row| self.line(&batch, row)).collect())
    }

    /// Runs `count` records of one column `n`; the offsets that come out.
    fn offsets(&mut self, count: usize) -> Result<Vec<u32>, Fault> {
        let rows: Vec<_> = (0..count).map(|n| vec![("n", Said::F64(n as f64))]).collect();
        let mut batch = self.rows(&rows);
        self.transform.apply(&records(count), &mut batch, &mut self.rejects)?;
        assert!(batch.rows.iter().all(|row| row.number == 0));
        Ok(batch.rows.iter().map(|row| row.source).collect())
    }

    fn line(&self, batch: &RowBatch, row: &Row) -> String {
        let table = self.names.tables.name(row.table);
        let mut line = format!("{}.{} {}", row.source, row.number, table.as_deref().unwrap_or("-"));
        for cell in batch.cells_of(row) {
            let name = self.names.columns.name(cell.column).expect("a column");
            line += &match bridge_abi::value::decode(&batch.arena, 0, cell).expect("a value") {
                Value::F64(value) => format!(" {name}={value}"),
                Value::I64(value) => format!(" {name}={value}i"),
                Value::Text(text) => format!(" {name}={text:?}"),
                other => format!(" {name}={other:?}"),
            };
        }
        line
    }

    /// (offset, reason, detail) of what was refused, by offset.
    fn refused(&mut self) -> Vec<(u32, Reason, String)> {
        let mut found = std::mem::take(&mut self.rejects.found);
        found.sort_by_key(|(source, ..)| *source);
        found.into_iter().map(|(source, _, reason, detail)| (source, reason, detail)).collect()
    }
}

/// A module written by hand: keeps every record, but for what `each` does before with `$i` (its
/// index), `$r` (its address) and `$b` (the batch's). Actions at 1024, arena from 128 KiB on.
fn keeps(imports: &str, each: &str) -> String {
    answers(
        imports,
        "(i32.const 8)",
        &format!(
            "(local $i i32) (local $r i32)
            (local.set $r (i32.load offset=12 (local.get $b)))
            (block $done (loop $next
                (br_if $done (i32.ge_u (local.get $i) (i32.load offset=8 (local.get $b))))
                (i32.store offset=44 (local.get $b) (local.get $i))
                {each}
                (call $keep (local.get $i))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (local.set $r (i32.add (local.get $r) (i32.load16_u offset=4 (local.get $b))))
                (br $next)))
            (i64.or (i64.const 0x400_00000000)
                (i64.extend_i32_u (i32.load offset=8 (local.get $b))))"
        ),
    )
}

/// A module whose `bridge_batch` is `batch`, a function of `$b`.
fn answers(imports: &str, init: &str, batch: &str) -> String {
    format!(
        "(module {imports}
        (memory (export \"memory\") 4)
        (func $keep (param $i i32)
            (i32.store offset=1024 (i32.shl (local.get $i) (i32.const 4)) (i32.const 1))
            (i32.store offset=1028 (i32.shl (local.get $i) (i32.const 4)) (local.get $i)))
        (func (export \"bridge_abi\") (result i32) (i32.const 1))
        (func (export \"bridge_alloc\") (param i32) (result i32)
            (if (result i32) (i32.gt_u (local.get 0) (i32.const 0x20000))
                (then (i32.const 0)) (else (i32.const 0x20000))))
        (func (export \"bridge_init\") (param $ptr i32) (param $len i32) (result i32) {init})
        (func (export \"bridge_batch\") (param $b i32) (result i64) {batch}))"
    )
}

/// Does something where the record's offset is one of these.
fn at(offsets: &[i64], what: &str) -> String {
    let one = |offset| {
        format!("(if (i64.eq (i64.load (local.get $r)) (i64.const {offset})) (then {what}))")
    };
    offsets.iter().map(one).collect()
}

/// A record that deletes says so to a module, and what a module makes of it deletes as well.
#[test]
fn rows_that_delete_are_told_and_stay_so() {
    let traps = "(if (i32.and (i32.load16_u offset=22 (local.get $r)) (i32.const 4))
        (then unreachable))";
    for (each, kept) in [("", vec![0, 1, 2]), (traps, vec![0, 2])] {
        let mut bench = Bench::text(&keeps("", each), "");
        let rows: Vec<_> = (0..3).map(|n| vec![("n", Said::F64(f64::from(n)))]).collect();
        let mut batch = bench.rows(&rows);
        batch.deleting.insert(1);
        bench.transform.apply(&records(3), &mut batch, &mut bench.rejects).expect("runs");
        let sources: Vec<u32> = batch.rows.iter().map(|row| row.source).collect();
        assert_eq!(sources, kept, "{each}");
        let deleting = |source: &u32| batch.deleting.has(*source);
        assert_eq!((0..4).filter(deleting).collect::<Vec<_>>(), [1]);
    }
}
