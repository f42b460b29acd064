//! Rows to line protocol. What the shape says of a column is compiled once for each table, into
//! a slot found by the column's number; a row then is a walk over its cells.

use std::collections::HashMap;
use std::sync::Arc;

use bridge_abi::{Cell, Kind};

use super::line;
use super::stamp::{Stamp, Stamper};
use super::table::{Tables, Wanted};
use super::target::{Slot, Target, last_header};
use super::value;
use crate::batch::{Line, Payload, RecordBatch, Row, RowBatch};
use crate::blame::Fault;
use crate::names::Names;
use crate::outbox::{Destination, Outbox};
use crate::reject::{Reason, Rejects, Stage};
use crate::shape::{ColumnType, Part, Shape};
use crate::sink::Encoder;

/// Why a record is refused.
type Refused = (Reason, String);

/// Encodes the rows of one lane.
pub struct IlpEncoder {
    shape: Arc<Shape>,
    names: Arc<Names>,
    tables: Arc<dyn Tables>,
    stamper: Stamper,
    version: u8,
    couriers: u32,
    targets: Vec<Target>,
    by_name: HashMap<String, usize, foldhash::fast::FixedState>,
    fixed: Option<usize>,
    scratch: String,
}

/// What of a record's rows stands in which payload, should the record be refused after all.
struct Mark {
    to: Destination,
    target: usize,
    bytes: usize,
    lines: usize,
}

impl IlpEncoder {
    /// An encoder for one lane, whose couriers are numbered from 0.
    pub fn new(
        shape: Arc<Shape>,
        names: Arc<Names>,
        tables: Arc<dyn Tables>,
        version: u8,
        couriers: u32,
    ) -> IlpEncoder {
        let stamper = Stamper::new(&shape, &names);
        IlpEncoder {
            shape,
            names,
            tables,
            stamper,
            version,
            couriers,
            targets: Vec::new(),
            by_name: HashMap::default(),
            fixed: None,
            scratch: String::new(),
        }
    }

    /// The target of a row: a transform's choice, else the shape's.
    fn target_of(&mut self, records: &RecordBatch, rows: &RowBatch, row: &Row) -> usize {
        if row.table == 0
            && let Some(fixed) = self.fixed
        {
            return fixed;
        }
        self.scratch.clear();
        if row.table != 0 {
            self.scratch.push_str(self.names.tables.name(row.table).as_deref().unwrap_or(""));
        } else {
            self.fill_template(records, rows, row);
        }
        if let Some(target) = self.by_name.get(self.scratch.as_str()) {
            return *target;
        }
        let target = self.targets.len();
        self.targets.push(Target::new(&self.scratch));
        self.by_name.insert(self.scratch.clone(), target);
        if row.table == 0 && self.shape.table.fixed().is_some() {
            self.fixed = Some(target);
        }
        target
    }

    fn fill_template(&mut self, records: &RecordBatch, rows: &RowBatch, row: &Row) {
        let shape = Arc::clone(&self.shape);
        let record = records.get(row.source as usize);
        for part in &shape.table.0 {
            match part {
                Part::Text(text) => self.scratch.push_str(text),
                Part::Topic => self.scratch.push_str(&records.source.topic),
                Part::Key => match record.key {
                    Some(key) => self.scratch.push_str(&String::from_utf8_lossy(key)),
                    None => self.scratch.push_str("null"),
                },
                Part::Partition => {
                    self.scratch.push_str(itoa::Buffer::new().format(records.source.partition));
                }
                Part::Header(name) => {
                    let value = last_header(records, row.source, name);
                    self.scratch.push_str(value.as_deref().unwrap_or("null"));
                }
                Part::Field(name) => {
                    let id = self.names.columns.find(name).unwrap_or(0);
                    let cell = rows.cells_of(row).iter().find(|cell| cell.column == id && id != 0);
                    match cell.map(|cell| (cell, pointed(rows, cell))) {
                        Some((cell, bytes)) if is_text(cell) => {
                            self.scratch.push_str(&String::from_utf8_lossy(bytes));
                        }
                        Some((cell, bytes)) => self.scratch.push_str(&value::shown(cell, bytes)),
                        None => self.scratch.push_str("null"),
                    }
                }
            }
        }
    }

    /// Learns of the columns of this batch that the target has not met: what type they are to
    /// have is told by all rows of the batch, so that one `21` does not make a column of longs.
    fn meet(&mut self, target: usize, rows: &RowBatch) -> Result<(), Fault> {
        let mut fresh: Vec<(u16, ColumnType)> = Vec::new();
        for row in rows.rows.iter().filter(|row| row.table == 0 || self.targets.len() > 1) {
            for cell in rows.cells_of(row) {
                if !self.targets[target].is_unknown(cell.column) {
                    continue;
                }
                let Some(kind) = inferred(cell, pointed(rows, cell)) else { continue };
                match fresh.iter_mut().find(|(column, _)| *column == cell.column) {
                    Some((_, known)) => *known = wider(*known, kind),
                    None => fresh.push((cell.column, kind)),
                }
            }
        }
        let wanted: Vec<(u16, Option<Wanted>)> =
            fresh.iter().map(|(column, kind)| (*column, self.wanted(*column, *kind))).collect();
        let known = &mut self.targets[target];
        known.learn(&self.shape, &*self.tables, wanted)
    }

    /// What the shape makes of a column: `None` if it does not become one.
    fn wanted(&self, column: u16, inferred: ColumnType) -> Option<Wanted> {
        let source = self.names.columns.name(column)?;
        if self.stamper.consumes(column)
            || self.shape.drop.iter().any(|name| **name == *source)
            || self.shape.only.as_ref().is_some_and(|only| only.iter().all(|n| **n != *source))
        {
            return None;
        }
        let renamed = self.shape.rename.iter().find(|(from, _)| **from == *source);
        let name = renamed.map_or_else(|| source.to_string(), |(_, to)| to.clone());
        let declared = self.shape.columns.iter().find(|(column, _)| *column == name);
        let symbol = self.shape.symbols.contains(&name);
        let kind =
            declared.map_or(if symbol { ColumnType::Symbol } else { inferred }, |(_, kind)| *kind);
        Some(Wanted { name, kind })
    }

    /// One row into a payload, whole or not at all.
    fn push_row(
        &mut self,
        target: usize,
        records: &RecordBatch,
        rows: &RowBatch,
        row: &Row,
        payload: &mut Payload,
    ) -> Result<(), Refused> {
        let start = payload.buffers.bytes.len();
        let written = self.write_row(target, records, rows, row, payload);
        match written {
            Ok(stamp) => {
                if let Stamp::At(at) = stamp {
                    let (low, high) = payload.timestamps;
                    payload.timestamps = (low.min(at), high.max(at));
                }
                payload.buffers.lines.push(Line {
                    offset: records.get(row.source as usize).offset,
                    partition: records.partition,
                    row: row.number,
                    end: payload.buffers.bytes.len() as u32,
                });
                Ok(())
            }
            Err(refused) => {
                payload.buffers.bytes.truncate(start);
                Err(refused)
            }
        }
    }

    fn write_row(
        &mut self,
        target: usize,
        records: &RecordBatch,
        rows: &RowBatch,
        row: &Row,
        payload: &mut Payload,
    ) -> Result<Stamp, Refused> {
        let target = &self.targets[target];
        let out = &mut payload.buffers.bytes;
        let cells = rows.cells_of(row);
        out.extend_from_slice(&target.prefix);
        let before = out.len();
        target.push_metadata_symbols(&self.shape, records, row, out);
        for (at, cell) in cells.iter().enumerate() {
            match target.slot(cell.column) {
                Slot::Symbol { fragment, shared } if cell.kind != Kind::Null as u8 => {
                    if *shared && target.stands_before(&cells[..at], cell.column) {
                        continue;
                    }
                    out.extend_from_slice(fragment);
                    value::push_symbol(out, cell, pointed(rows, cell))
                        .map_err(|shown| target.misfit(cell.column, &shown))?;
                }
                Slot::Denied(reason, detail) => return Err((*reason, detail.clone())),
                _ => {}
            }
        }
        let mut separator = b' ';
        target.push_metadata_fields(&self.shape, records, row, out, &mut separator);
        for (at, cell) in cells.iter().enumerate() {
            let Slot::Field { fragment, kind, shared } = target.slot(cell.column) else { continue };
            if cell.kind == Kind::Null as u8
                || (*shared && target.stands_before(&cells[..at], cell.column))
            {
                continue;
            }
            out.push(separator);
            separator = b',';
            out.extend_from_slice(fragment);
            value::push_field(out, cell, pointed(rows, cell), *kind, self.version)
                .map_err(|shown| target.misfit(cell.column, &shown))?;
        }
        if out.len() == before {
            return Err((Reason::NoColumns, "no column of the record has a value".to_owned()));
        }
        let record = records.get(row.source as usize);
        let stamp = self.stamper.stamp(&record, rows, cells, target.stamp_kind)?;
        if let Stamp::At(at) = stamp {
            out.push(b' ');
            line::push_digits(out, at);
            out.push(line::timestamp_suffix(target.stamp_kind));
        }
        out.push(b'\n');
        Ok(stamp)
    }

    /// The row's target if it can take rows, with all columns of the row met.
    fn ready(
        &mut self,
        records: &RecordBatch,
        rows: &RowBatch,
        row: &Row,
    ) -> Result<Result<usize, Refused>, Fault> {
        let target = self.target_of(records, rows, row);
        let unknown = |target: &Target| {
            !target.met || rows.cells_of(row).iter().any(|cell| target.is_unknown(cell.column))
        };
        if self.targets[target].refused.is_none() && unknown(&self.targets[target]) {
            self.meet(target, rows)?;
        }
        match &self.targets[target].refused {
            Some((reason, detail)) => Ok(Err((*reason, detail.clone()))),
            None => Ok(Ok(target)),
        }
    }
}

impl Encoder for IlpEncoder {
    fn encode(
        &mut self,
        records: &RecordBatch,
        rows: &RowBatch,
        rejects: &mut Rejects,
        outbox: &mut Outbox,
    ) -> Result<(), Fault> {
        let courier = records.partition.0 % self.couriers;
        let closing = outbox.closing();
        let mut marks: Vec<Mark> = Vec::new();
        let mut refused_source = None;
        for (at, row) in rows.rows.iter().enumerate() {
            if refused_source == Some(row.source) {
                continue;
            }
            let target = self.ready(records, rows, row)?;
            let last_of_record = rows.rows.get(at + 1).is_none_or(|next| next.source != row.source);
            let written = target.and_then(|target| {
                let to = Destination { table: target as u32, courier, route: records.route };
                let name = Arc::clone(&self.targets[target].name);
                let payload = outbox.payload(to, &name, &records.ticket);
                if !last_of_record || row.number > 0 {
                    let (bytes, lines) = (payload.buffers.bytes.len(), payload.buffers.lines.len());
                    marks.push(Mark { to, target, bytes, lines });
                }
                self.push_row(target, records, rows, row, payload)?;
                let full = last_of_record
                    && (payload.buffers.bytes.len() >= closing.payload_bytes_max
                        || payload.buffers.lines.len() >= closing.payload_rows_max);
                Ok((to, full))
            });
            match written {
                Ok((to, true)) => outbox.close(to),
                Ok(_) => {}
                Err((reason, detail)) => {
                    refused_source = Some(row.source);
                    rejects.push(row.source, Stage::Shape, reason, detail);
                    for mark in marks.drain(..).rev() {
                        let name = Arc::clone(&self.targets[mark.target].name);
                        let payload = outbox.payload(mark.to, &name, &records.ticket);
                        payload.buffers.bytes.truncate(mark.bytes);
                        payload.buffers.lines.truncate(mark.lines);
                    }
                }
            }
            if last_of_record {
                marks.clear();
            }
        }
        Ok(())
    }
}

/// What a pointing cell points to, or nothing.
#[inline]
fn pointed<'a>(rows: &'a RowBatch, cell: &Cell) -> &'a [u8] {
    if Kind::from_u8(cell.kind).is_some_and(Kind::points) { rows.bytes_of(cell) } else { &[] }
}

fn is_text(cell: &Cell) -> bool {
    matches!(Kind::from_u8(cell.kind), Some(Kind::Text | Kind::Symbol))
}

/// The type that a new column gets for a cell; `None` for a null, which says nothing.
fn inferred(cell: &Cell, bytes: &[u8]) -> Option<ColumnType> {
    Some(match Kind::from_u8(cell.kind)? {
        Kind::Null => return None,
        Kind::Bool => ColumnType::Boolean,
        Kind::I64 => ColumnType::Long,
        Kind::F64 => ColumnType::Double,
        Kind::Text | Kind::Bytes => ColumnType::Varchar,
        Kind::Symbol => ColumnType::Symbol,
        Kind::Timestamp => ColumnType::Timestamp,
        Kind::Decimal => ColumnType::Decimal(38, cell.flags),
        Kind::Array => ColumnType::Array(line::array_dims(bytes) as u8),
    })
}

/// The type that takes both, where there is one; else the first.
fn wider(a: ColumnType, b: ColumnType) -> ColumnType {
    match (a, b) {
        (ColumnType::Long, ColumnType::Double) => ColumnType::Double,
        (ColumnType::Long | ColumnType::Double | ColumnType::Boolean, ColumnType::Varchar) => {
            ColumnType::Varchar
        }
        _ => a,
    }
}
