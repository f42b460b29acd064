//! A module in the bridge's sandbox: columns go in as rows of a batch, and what comes out is told
//! in lines.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use bridge::batch::{
    EachHeader, Emitted, Owner, PartitionIndex, Record, RecordBatch, Records, Route, Row, RowBatch,
    TopicPartition,
};
use bridge::config::Section;
use bridge::names::Names;
use bridge::observe::TransformMeter;
use bridge::reject::Rejects;
use bridge::ticket::{Lost, Ticket};
use bridge::transform::guest::load_bytes;
use bridge::transform::{LoadContext, Transform};
use bridge_abi::{Cell, Value, build};

use crate::cases::{Columns, Said};
use crate::modules;

/// A transform that has started.
pub struct Sandbox {
    names: Arc<Names>,
    meter: Arc<TransformMeter>,
    transform: Box<dyn Transform>,
}

/// What became of records.
#[derive(Debug)]
pub struct Outcome {
    /// The rows that came out, one a line.
    pub rows: Vec<String>,
    /// The records that were made for topics, one a line.
    pub emitted: Vec<String>,
    /// (record, reason and detail).
    pub refused: Vec<(u32, String)>,
    /// Rows in, rows out, records refused: as the metrics count them.
    pub counted: (u64, u64, u64),
}

impl Sandbox {
    /// Starts a module with these options; the error is what the operator would read.
    pub fn start(module: &[u8], config: &str) -> Result<Sandbox> {
        let mut table = toml::Table::new();
        table.insert("module".to_owned(), "module.wasm".into());
        table.insert("memory_max".to_owned(), "64MiB".into());
        let config: toml::Table = config.parse().context("the case's options")?;
        table.insert("config".to_owned(), config.into());
        let names = Arc::new(Names::default());
        // A module is compiled for its first case: Go's takes seconds.
        let cache = Some(modules::folder().join("code"));
        let context =
            LoadContext { names: Arc::clone(&names), emits: true, base: ".".into(), cache };
        let section = Section::new("pipeline.p.transform", table);
        let loaded =
            load_bytes(&section, module, &context).map_err(|fault| anyhow!("{}", fault.message))?;
        let meter = Arc::new(TransformMeter::default());
        let transform = loaded.instance(Arc::clone(&meter)).map_err(|fault| anyhow!("{fault}"))?;
        Ok(Sandbox { names, meter, transform })
    }

    /// Runs records, one row for each.
    pub fn run(&mut self, records: &[Columns]) -> Result<Outcome> {
        let mut rows = self.rows(records)?;
        let mut rejects = Rejects::default();
        let batch = batch(records.len());
        self.transform
            .apply(&batch, &mut rows, &mut rejects)
            .map_err(|fault| anyhow!("{fault}"))?;
        let mut refused: Vec<(u32, String)> = rejects
            .found
            .iter()
            .map(|(source, _, reason, detail)| (*source, format!("{}: {detail}", reason.name())))
            .collect();
        refused.sort();
        rejects.prune(&mut rows);
        Ok(Outcome {
            rows: rows.rows.iter().map(|row| self.line(&rows, row)).collect(),
            emitted: rows.emitted.iter().map(|one| self.emitted_line(&rows, one)).collect(),
            refused,
            counted: (
                self.meter.rows_in.get(),
                self.meter.rows_out.get(),
                self.meter.rejected.get(),
            ),
        })
    }

    fn rows(&self, records: &[Columns]) -> Result<RowBatch> {
        let mut batch = RowBatch::default();
        for (source, columns) in records.iter().enumerate() {
            let start = batch.cells.len();
            for (name, value) in columns {
                let column = self.names.columns.intern(name).context("a name too many")?;
                let cell = cell(&mut batch, column, value);
                batch.cells.push(cell);
            }
            let cell_count = (batch.cells.len() - start) as u16;
            let (source, cells) = (source as u32, start as u32);
            batch.rows.push(Row { source, number: 0, cells, cell_count, table: 0 });
        }
        Ok(batch)
    }

    fn line(&self, batch: &RowBatch, row: &Row) -> String {
        let table = self.names.tables.name(row.table);
        let mut line = format!("{}.{} {}", row.source, row.number, table.as_deref().unwrap_or("-"));
        for cell in batch.cells_of(row) {
            let name = self.names.columns.name(cell.column);
            let name = name.as_deref().unwrap_or("?");
            let value = bridge_abi::value::decode(&batch.arena, 0, cell);
            let _ = match value {
                Ok(Value::Array(array)) => {
                    let shape: Vec<u32> = array.shape().collect();
                    let values: Vec<f64> = array.values().collect();
                    write!(line, " {name:?}=Array({shape:?}, {values:?})")
                }
                Ok(value) => write!(line, " {name:?}={value:?}"),
                Err(error) => write!(line, " {name:?}: {error:?}"),
            };
        }
        line
    }

    fn emitted_line(&self, batch: &RowBatch, emitted: &Emitted) -> String {
        let told = |bytes: &Option<Range<usize>>| match bytes {
            Some(bytes) => format!("\"{}\"", batch.arena[bytes.clone()].escape_ascii()),
            None => "null".to_owned(),
        };
        let topic = self.names.topics.name(emitted.topic);
        let (source, topic) = (emitted.source, topic.as_deref().unwrap_or("?"));
        let (key, value) = (told(&emitted.key), told(&emitted.value));
        let mut line = format!("{source} to {topic}: key {key}, value {value}");
        if let Some(partition) = emitted.partition {
            let _ = write!(line, ", partition {partition}");
        }
        if let Some(timestamp_ms) = emitted.timestamp_ms {
            let _ = write!(line, ", timestamp {timestamp_ms}");
        }
        for (name, value) in &batch.headers[emitted.headers.clone()] {
            let name = String::from_utf8_lossy(&batch.arena[name.clone()]);
            let _ = write!(line, ", header {name:?} {}", told(value));
        }
        line
    }
}

fn cell(batch: &mut RowBatch, column: u16, value: &Said) -> Cell {
    let (mut flags, mut bits) = (0, 0);
    let mut shaped = Vec::new();
    let bytes: &[u8] = match value {
        Said::Null => &[],
        Said::Bool(value) => {
            bits = u64::from(*value);
            &[]
        }
        Said::I64(value) => {
            bits = *value as u64;
            &[]
        }
        Said::F64(value) => {
            bits = value.to_bits();
            &[]
        }
        Said::Timestamp(value, unit) => {
            (bits, flags) = (*value as u64, *unit as u8);
            &[]
        }
        Said::Text(text) => text.as_bytes(),
        Said::Symbol(text) => text.as_bytes(),
        Said::Bytes(bytes) => bytes,
        Said::Decimal(unscaled, scale) => {
            flags = *scale;
            unscaled
        }
        Said::Array(shape, values) => {
            shaped.resize(build::array_bytes(shape).unwrap_or(0), 0);
            build::write_array(&mut shaped, 0, shape, values.iter().copied())
                .expect("room was made for it");
            &shaped
        }
    };
    match value.kind().points() {
        true => batch.cell_bytes(column, value.kind(), flags, bytes),
        false => Cell { column, kind: value.kind() as u8, flags, len: 0, value: bits },
    }
}

struct Bytes(Vec<Vec<u8>>);

impl Owner for Bytes {
    fn headers(&self, index: usize, each: EachHeader<'_>) {
        each("größe".as_bytes(), Some(index.to_string().as_bytes()));
        each(b"null", None);
        each(b"", Some(b""));
    }
}

/// Records with offsets from 0 on; every fifth has no key, every seventh no value.
fn batch(count: usize) -> RecordBatch {
    let owner = Bytes((0..count).map(|index| format!("value {index}").into_bytes()).collect());
    let mut records = Records::with_capacity(count);
    for (index, value) in owner.0.iter().enumerate() {
        let record = Record {
            offset: index as i64,
            timestamp_ms: if index % 3 == 2 { -1 } else { 1_700_000_000_000 + index as i64 },
            key: (index % 5 != 4).then_some(&value[6..]),
            value: (index % 7 != 6).then_some(value),
        };
        // SAFETY: the vectors' buffers stay where they are when `owner` moves into the batch.
        unsafe { records.push(record) };
    }
    let source = TopicPartition { topic: "sensors".into(), partition: 3 };
    let ticket = Ticket::issue(1, Arc::new(Lost::default()));
    records.owned_by(Box::new(owner)).into_batch(PartitionIndex(0), source, ticket, Route::Primary)
}
