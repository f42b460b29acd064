//! Rows to lines of text. A record's rows are written into a buffer first and go into payloads
//! together: a record is stored whole or not at all.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bridge_abi::{Cell, Kind};

use super::fit::Plain;
use super::layout::Layouts;
use super::line::RowLine;
use super::target::{Own, Slot, Target, Wanted, own};
use super::{NameRule, TextPlan, Written};
use crate::batch::{Line, RecordBatch, Row, RowBatch};
use crate::blame::Fault;
use crate::names::Names;
use crate::outbox::{Destination, Outbox};
use crate::reject::{Reason, Rejects, Stage};
use crate::shape::{ColumnType, Shape};
use crate::sink::Encoder;
use crate::sink::questdb::{Stamp, Stamper, fill_template};

/// Tables of one lane, at most: names come from records, and must not fill the memory.
const TARGETS_MAX: usize = 4_096;
/// A buffer for one record that is larger is not kept: the next such record may never come.
const RECORD_BYTES_KEPT: usize = 64 << 10;

/// Why a record is refused.
type Refused = (Reason, String);

/// Encodes the rows of one lane.
pub struct TextEncoder {
    plan: Arc<TextPlan>,
    shape: Arc<Shape>,
    names: Arc<Names>,
    layouts: Arc<Layouts>,
    rule: NameRule,
    couriers: u32,
    stamper: Stamper,
    /// Type of the designated timestamp.
    stamp_kind: ColumnType,
    own: Vec<Own>,
    targets: Vec<Target>,
    by_name: HashMap<String, usize, foldhash::fast::FixedState>,
    /// By the number of a table that transforms named, 0 for the shape's if that is fixed.
    by_table: Vec<Option<usize>>,
    /// The last number that payloads go by.
    numbers: u32,
    scratch: String,
    /// The rows of the record at hand.
    bytes: Vec<u8>,
    /// Where each of them goes, and ends.
    ends: Vec<(usize, u32, usize)>,
    /// For each place of a CSV record the cell that stands there.
    places: Vec<Option<usize>>,
    /// Values of the batch at hand that became null.
    nulled: std::cell::Cell<u64>,
}

impl TextEncoder {
    /// An encoder for one lane, whose couriers are numbered from 0.
    pub fn new(
        plan: Arc<TextPlan>,
        shape: Arc<Shape>,
        names: Arc<Names>,
        layouts: Arc<Layouts>,
        rule: NameRule,
        couriers: u32,
    ) -> TextEncoder {
        TextEncoder {
            stamp_kind: shape.timestamp_kind().unwrap_or(ColumnType::Timestamp),
            stamper: Stamper::new(&shape, &names),
            own: own(&shape),
            plan,
            shape,
            names,
            layouts,
            rule,
            couriers,
            targets: Vec::new(),
            by_name: HashMap::default(),
            by_table: Vec::new(),
            numbers: 0,
            scratch: String::new(),
            bytes: Vec::new(),
            ends: Vec::new(),
            places: Vec::new(),
            nulled: std::cell::Cell::default(),
        }
    }

    /// The target of a row: a transform's choice, else the shape's.
    fn target_of(
        &mut self,
        records: &RecordBatch,
        rows: &RowBatch,
        row: &Row,
    ) -> Result<usize, Refused> {
        let table = usize::from(row.table);
        if let Some(Some(target)) = self.by_table.get(table) {
            return Ok(*target);
        }
        self.scratch.clear();
        if table != 0 {
            self.scratch.push_str(self.names.tables.name(row.table).as_deref().unwrap_or(""));
        } else {
            fill_template(&mut self.scratch, &self.shape.table, &self.names, records, rows, row);
        }
        let target = match self.by_name.get(self.scratch.as_str()) {
            Some(target) => *target,
            None => self.open()?,
        };
        if table != 0 || self.shape.table.fixed().is_some() {
            if self.by_table.len() <= table {
                self.by_table.resize(table + 1, None);
            }
            self.by_table[table] = Some(target);
        }
        Ok(target)
    }

    /// A target of the name at hand.
    fn open(&mut self) -> Result<usize, Refused> {
        let at = self.targets.len();
        if at >= TARGETS_MAX {
            let detail = format!("{:?} would be table {}", self.scratch, TARGETS_MAX + 1);
            return Err((Reason::BadName, format!("{detail}, of {TARGETS_MAX} at most")));
        }
        let mut target = Target::new(&self.scratch, self.rule);
        target.lay_out(&self.own, &self.plan.written, &self.layouts);
        self.numbers += 1;
        target.number = self.numbers;
        self.targets.push(target);
        self.by_name.insert(self.scratch.clone(), at);
        Ok(at)
    }

    /// Whether nobody has asked for a cell's column yet. A null makes no column of CSV.
    #[inline]
    fn is_unknown(&self, target: usize, cell: &Cell) -> bool {
        matches!(self.targets[target].slot(cell.column), Slot::Unknown)
            && (cell.kind != Kind::Null as u8 || self.plan.written == Written::Json)
    }

    /// Learns of the columns of this batch that the target has not met, all at once: each new
    /// layout is a file of its own.
    fn meet(&mut self, target: usize, records: &RecordBatch, rows: &RowBatch) {
        for row in &rows.rows {
            if self.target_of(records, rows, row) != Ok(target) {
                continue;
            }
            for cell in rows.cells_of(row) {
                if self.is_unknown(target, cell) {
                    let wanted = self.wanted(cell.column);
                    let written = &self.plan.written;
                    self.targets[target].learn(cell.column, wanted, written, &self.layouts);
                }
            }
        }
        let target = &mut self.targets[target];
        if let Written::Csv { .. } = self.plan.written {
            let newest = self.layouts.newest(&target.name);
            if newest != target.layout {
                target.layout = newest;
                self.numbers += 1;
                target.number = self.numbers;
            }
        }
    }

    /// What the shape makes of a column: its name and declared type; `None` if it does not become
    /// one.
    fn wanted(&self, column: u16) -> Option<Wanted> {
        let source = self.names.columns.name(column)?;
        if self.stamper.consumes(column) {
            return None;
        }
        let name = self.shape.column_of(&source)?;
        if self.own.iter().any(|own| own.name == name) {
            // What comes from the record itself is written by us.
            return None;
        }
        let (kind, on_bad) = (self.shape.kind_of(&name), self.shape.values.on_bad(&name));
        Some(Wanted { name, kind, on_bad })
    }

    /// Writes the rows of one record into the buffer.
    fn write(
        &mut self,
        records: &RecordBatch,
        rows: &RowBatch,
        of_record: Range<usize>,
    ) -> Result<(), Refused> {
        for row in &rows.rows[of_record] {
            let at = self.target_of(records, rows, row)?;
            if let Some(refused) = &self.targets[at].refused {
                return Err(refused.clone());
            }
            let cells = rows.cells_of(row);
            if cells.iter().any(|cell| self.is_unknown(at, cell)) {
                self.meet(at, records, rows);
            }
            let record = records.get(row.source as usize);
            let stamp = match self.stamper.stamp(&record, rows, cells, self.stamp_kind)? {
                Stamp::At(ticks) => instant_of(ticks, self.stamp_kind),
                Stamp::Server => Plain::Null,
            };
            let target = &self.targets[at];
            let (own, timestamps, nulled) = (&self.own, self.plan.timestamps, &self.nulled);
            let line =
                RowLine { own, timestamps, target, records, rows, row, record, stamp, nulled };
            match &self.plan.written {
                Written::Csv { null, .. } => line.csv(&mut self.bytes, &mut self.places, null)?,
                _ => line.json(&mut self.bytes)?,
            }
            self.ends.push((at, row.number, self.bytes.len()));
        }
        Ok(())
    }

    /// Moves the rows of one record from the buffer into their payloads.
    fn append(&mut self, records: &RecordBatch, source: u32, outbox: &mut Outbox) {
        let (offset, partition) = (records.get(source as usize).offset, records.partition);
        let courier = partition.0 % self.couriers;
        let closing = outbox.closing();
        let mut start = 0;
        let mut full = None;
        for (target, row, end) in self.ends.drain(..) {
            let target = &self.targets[target];
            let to = Destination { table: target.number, courier, route: records.route };
            let payload = outbox.payload(to, &target.name, &records.ticket);
            payload.layout = target.layout.0;
            payload.buffers.bytes.extend_from_slice(&self.bytes[start..end]);
            let end_there = payload.buffers.bytes.len();
            payload.buffers.lines.push(Line {
                offset,
                partition,
                row,
                layout: 0,
                end: end_there as u32,
            });
            if closing.is_reached(end_there, payload.buffers.lines.len()) {
                full = Some(to);
            }
            start = end;
        }
        if let Some(to) = full {
            outbox.close(to);
        }
    }
}

impl Encoder for TextEncoder {
    fn encode(
        &mut self,
        records: &RecordBatch,
        rows: &RowBatch,
        rejects: &mut Rejects,
        outbox: &mut Outbox,
    ) -> Result<(), Fault> {
        let mut at = 0;
        while let Some(Row { source, .. }) = rows.rows.get(at) {
            let behind = rows.rows[at..].iter().position(|row| row.source != *source);
            let next = behind.map_or(rows.rows.len(), |count| at + count);
            self.bytes.clear();
            self.ends.clear();
            match self.write(records, rows, at..next) {
                Ok(()) => self.append(records, *source, outbox),
                Err((reason, detail)) => rejects.push(*source, Stage::Shape, reason, detail),
            }
            at = next;
        }
        rejects.nulled += self.nulled.take();
        if self.bytes.capacity() > RECORD_BYTES_KEPT {
            self.bytes = Vec::new();
        }
        Ok(())
    }
}

/// Ticks of the designated timestamp as a point in time.
fn instant_of<'a>(ticks: i64, kind: ColumnType) -> Plain<'a> {
    match kind {
        ColumnType::TimestampNs => Plain::Instant(i128::from(ticks), 9),
        _ => Plain::Instant(i128::from(ticks) * 1_000, 6),
    }
}
