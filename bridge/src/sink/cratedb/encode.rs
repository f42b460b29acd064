//! Rows to lists of parameters, each table's and layout's in payloads of their own. A record's rows
//! are written into a buffer first and go into payloads together. A column's slot is found by its
//! number; what the table has no column for is asked for with the type that all rows of a batch
//! tell.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bridge_abi::{Cell, Kind};

use super::catalogue::Tables;
use super::layout::{Layout, Place, Wanted, column_fault, declared};
use super::row::{Ended, Params, Slot, Target};
use super::value::{PRECISION_MAX, Type};
use crate::batch::{Line, RecordBatch, Row, RowBatch};
use crate::blame::Fault;
use crate::names::Names;
use crate::outbox::{Destination, Outbox};
use crate::reject::{Reason, Rejects, Stage};
use crate::shape::Shape;
use crate::sink::Encoder;
use crate::sink::postgres::layout::is_own;
use crate::sink::questdb::{Denied, Stamper, array_dims, fill_template};

/// Tables of one lane, at most: names come from records, and must not fill the memory.
const TARGETS_MAX: usize = 4_096;
/// A buffer for one record that is larger is not kept: the next such record may never come.
const RECORD_BYTES_KEPT: usize = 64 << 10;
/// Digits behind the point of a decimal that nobody declared: half of what a numeric holds.
const SCALE: u8 = 18;

/// Encodes the rows of one lane.
pub struct CrateEncoder {
    shape: Arc<Shape>,
    names: Arc<Names>,
    tables: Arc<dyn Tables>,
    stamper: Stamper,
    couriers: u32,
    /// Rows of one payload, at most.
    rows_max: usize,
    /// Of the tables, when the targets were filled.
    epoch: u64,
    targets: Vec<Target>,
    by_name: HashMap<Arc<str>, usize, foldhash::fast::FixedState>,
    fixed: Option<usize>,
    scratch: String,
    /// For each column of the layout, which cell of the row at hand goes there.
    places: Vec<u16>,
    /// Values of the batch at hand that became null.
    nulled: u64,
    /// The rows of the record at hand.
    bytes: Vec<u8>,
    /// Where each of them goes, its number, and where it ends.
    ends: Vec<(usize, u32, usize)>,
}

impl CrateEncoder {
    /// An encoder for one lane, whose couriers are numbered from 0.
    pub fn new(
        shape: Arc<Shape>,
        names: Arc<Names>,
        tables: Arc<dyn Tables>,
        couriers: u32,
        rows_max: usize,
    ) -> CrateEncoder {
        CrateEncoder {
            stamper: Stamper::new(&shape, &names),
            shape,
            names,
            tables,
            couriers,
            rows_max,
            epoch: 0,
            targets: Vec::new(),
            by_name: HashMap::default(),
            fixed: None,
            scratch: String::new(),
            places: Vec::new(),
            nulled: 0,
            bytes: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Targets are asked for anew where a table has changed.
    fn forget_if_changed(&mut self) {
        let epoch = self.tables.epoch();
        if epoch != self.epoch {
            self.epoch = epoch;
            for target in &mut self.targets {
                *target = Target::new(Arc::clone(&target.name));
            }
        }
    }

    /// The target of a row: a transform's choice, else the shape's.
    fn target_of(
        &mut self,
        records: &RecordBatch,
        rows: &RowBatch,
        row: &Row,
    ) -> Result<usize, Ended> {
        if row.table == 0
            && let Some(fixed) = self.fixed
        {
            return Ok(fixed);
        }
        self.scratch.clear();
        if row.table != 0 {
            self.scratch.push_str(self.names.tables.name(row.table).as_deref().unwrap_or(""));
        } else {
            fill_template(&mut self.scratch, &self.shape.table, &self.names, records, rows, row);
        }
        if let Some(target) = self.by_name.get(self.scratch.as_str()) {
            return Ok(*target);
        }
        let target = self.targets.len();
        if target >= TARGETS_MAX {
            let detail = format!("{:?} would be one table more than {TARGETS_MAX}", self.scratch);
            return Err(Ended::Refused((Reason::BadName, detail)));
        }
        let name: Arc<str> = self.scratch.as_str().into();
        self.targets.push(Target::new(Arc::clone(&name)));
        self.by_name.insert(name, target);
        if row.table == 0 && self.shape.table.fixed().is_some() {
            self.fixed = Some(target);
        }
        Ok(target)
    }

    /// Learns of the columns of this batch that the target has not met; what is missing and may be
    /// added is asked for with the type that all of its rows in the batch tell.
    fn meet(&mut self, target: usize, records: &RecordBatch, rows: &RowBatch) -> Result<(), Fault> {
        let mut fresh: Vec<(u16, Type)> = Vec::new();
        for row in &rows.rows {
            if !matches!(self.target_of(records, rows, row), Ok(at) if at == target) {
                continue;
            }
            for cell in rows.cells_of(row) {
                if !matches!(self.targets[target].slot(cell.column), Slot::Unknown) {
                    continue;
                }
                let Some(kind) = inferred(cell, rows.pointed(cell)) else { continue };
                match fresh.iter_mut().find(|(column, _)| *column == cell.column) {
                    Some((_, known)) => widen(known, kind),
                    None => fresh.push((cell.column, kind)),
                }
            }
        }
        let mut asked: Vec<(u16, Wanted)> = Vec::new();
        for (column, kind) in fresh {
            let slot = match self.wanted(column, kind) {
                None => Slot::Skip,
                Some(wanted) => match column_fault(&wanted.name) {
                    Some(fault) => Slot::Denied(Reason::BadName, fault),
                    None => {
                        asked.push((column, wanted));
                        continue;
                    }
                },
            };
            self.targets[target].set(column, slot);
        }
        self.ask(target, &asked)
    }

    /// Asks for columns. Those that are denied are told apart, so that one hostile name does not
    /// refuse the others.
    fn ask(&mut self, target: usize, asked: &[(u16, Wanted)]) -> Result<(), Fault> {
        let all: Vec<Wanted> = asked.iter().map(|(_, wanted)| wanted.clone()).collect();
        let name = Arc::clone(&self.targets[target].name);
        match self.tables.resolve(&name, &all) {
            Ok(layout) => self.take(target, layout, asked),
            Err(Denied::Pipeline(fault)) => return Err(fault),
            Err(Denied::Record(reason, detail)) if asked.is_empty() => {
                self.targets[target].refused = Some((reason, detail));
            }
            Err(Denied::Record(reason, detail)) if asked.len() == 1 => {
                self.ask(target, &[])?;
                self.targets[target].set(asked[0].0, Slot::Denied(reason, detail));
            }
            Err(Denied::Record(..)) => {
                for one in asked {
                    self.ask(target, std::slice::from_ref(one))?;
                }
            }
        }
        Ok(())
    }

    /// What the shape makes of a column: `None` if it does not become one.
    fn wanted(&self, column: u16, inferred: Type) -> Option<Wanted> {
        let name = self.name_of(column).filter(|name| !is_own(&self.shape, name))?;
        let declared = declared(&self.shape, &name);
        Some(declared.unwrap_or(Wanted { name, kind: inferred }))
    }

    /// A column's name in its table; `None` if the shape leaves it out.
    fn name_of(&self, column: u16) -> Option<String> {
        let source = self.names.columns.name(column)?;
        if self.stamper.consumes(column) {
            return None;
        }
        self.shape.column_of(&source)
    }

    /// A layout, with a slot for every column that was asked for or has one already.
    fn take(&mut self, target: usize, layout: Arc<Layout>, asked: &[(u16, Wanted)]) {
        let is_new = self.targets[target].layout.as_ref().is_none_or(|old| old.id != layout.id);
        let again: Vec<u16> = match is_new {
            // Places are those of one layout.
            true => (1..self.targets[target].slots.len() as u16)
                .filter(|column| matches!(self.targets[target].slot(*column), Slot::Place(_)))
                .collect(),
            false => Vec::new(),
        };
        for column in again.into_iter().chain(asked.iter().map(|(column, _)| *column)) {
            let Some(name) = self.name_of(column) else { continue };
            let slot = match layout.place(&self.shape, &name) {
                Place::At(at) => Slot::Place(at),
                Place::Own => Slot::Skip,
                Place::Refused(detail) => Slot::Denied(Reason::WrongType, detail),
                Place::Missing => Slot::Unknown,
            };
            self.targets[target].set(column, slot);
        }
        self.targets[target].layout = Some(layout);
    }

    /// Writes the rows of one record into the buffer.
    fn write(
        &mut self,
        records: &RecordBatch,
        rows: &RowBatch,
        of_record: Range<usize>,
    ) -> Result<(), Ended> {
        self.bytes.clear();
        self.ends.clear();
        for row in &rows.rows[of_record] {
            let at = self.target_of(records, rows, row)?;
            let target = &self.targets[at];
            if let Some(refused) = &target.refused {
                return Err(Ended::Refused(refused.clone()));
            }
            let Some(layout) = target.layout.as_deref() else { return Err(Ended::Unknown(at)) };
            let (stamper, places, shape) = (&mut self.stamper, &mut self.places, &*self.shape);
            let record = records.get(row.source as usize);
            let nulled = &mut self.nulled;
            let mut params =
                Params { at, target, layout, stamper, places, shape, records, rows, nulled };
            params.append(&record, row, &mut self.bytes)?;
            self.ends.push((at, row.number, self.bytes.len()));
        }
        Ok(())
    }

    /// Moves the rows of one record from the buffer into their payloads.
    fn append(&mut self, records: &RecordBatch, source: u32, outbox: &mut Outbox) {
        let (offset, partition) = (records.get(source as usize).offset, records.partition);
        let courier = partition.0 % self.couriers;
        let closing = outbox.closing();
        let (mut start, mut full) = (0, None);
        for (at, row, end) in self.ends.drain(..) {
            let target = &self.targets[at];
            let layout = target.layout.as_ref().map_or(0, |layout| layout.id);
            let to = Destination { table: at as u32, courier, route: records.route };
            let payload = outbox.payload(to, &target.name, &records.ticket);
            // One statement has one layout; what was written before goes first.
            let payload = match payload.buffers.lines.last() {
                Some(last) if last.layout != layout => {
                    outbox.close(to);
                    outbox.payload(to, &target.name, &records.ticket)
                }
                _ => outbox.payload(to, &target.name, &records.ticket),
            };
            payload.buffers.bytes.extend_from_slice(&self.bytes[start..end]);
            let end_there = payload.buffers.bytes.len();
            let line = Line { offset, partition, row, layout, end: end_there as u32 };
            payload.buffers.lines.push(line);
            let count = payload.buffers.lines.len();
            if closing.is_reached(end_there, count) || count >= self.rows_max {
                full = Some(to);
            }
            start = end;
        }
        if let Some(to) = full {
            outbox.close(to);
        }
    }
}

impl Encoder for CrateEncoder {
    fn encode(
        &mut self,
        records: &RecordBatch,
        rows: &RowBatch,
        rejects: &mut Rejects,
        outbox: &mut Outbox,
    ) -> Result<(), Fault> {
        self.forget_if_changed();
        let mut at = 0;
        // The record, and its table that was last asked for.
        let mut asked = None;
        while let Some(Row { source, .. }) = rows.rows.get(at) {
            let behind = rows.rows[at..].iter().position(|row| row.source != *source);
            let next = behind.map_or(rows.rows.len(), |count| at + count);
            match self.write(records, rows, at..next) {
                Ok(()) => self.append(records, *source, outbox),
                Err(Ended::Unknown(target)) if asked == Some((at, target)) => {
                    return Err(Fault::us("a column was asked for, and is not known"));
                }
                Err(Ended::Unknown(target)) => {
                    asked = Some((at, target));
                    self.meet(target, records, rows)?;
                    continue;
                }
                Err(Ended::Refused((reason, detail))) => {
                    rejects.push(*source, Stage::Shape, reason, detail);
                }
            }
            at = next;
        }
        rejects.nulled += std::mem::take(&mut self.nulled);
        if self.bytes.capacity() > RECORD_BYTES_KEPT {
            self.bytes = Vec::new();
        }
        Ok(())
    }
}

/// The type that a new column gets for a cell; `None` for a null, which says nothing.
fn inferred(cell: &Cell, bytes: &[u8]) -> Option<Type> {
    Some(match Kind::from_u8(cell.kind)? {
        Kind::Null => return None,
        Kind::Bool => Type::Boolean,
        Kind::I64 => Type::Long,
        Kind::F64 => Type::Double,
        Kind::Text | Kind::Symbol | Kind::Bytes => Type::Text,
        Kind::Timestamp => Type::Timestamp,
        Kind::Decimal => Type::Numeric(PRECISION_MAX, SCALE),
        Kind::Array => Type::doubles(array_dims(bytes)),
    })
}

/// The type that takes both, where there is one; else the first.
fn widen(known: &mut Type, other: Type) {
    let wider = matches!(
        (&*known, &other),
        (Type::Long, Type::Double)
            | (Type::Long | Type::Double, Type::Numeric(..))
            | (Type::Long | Type::Double | Type::Boolean | Type::Numeric(..), Type::Text)
    );
    if wider {
        *known = other;
    }
}
