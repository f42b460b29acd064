//! Rows to line protocol. What the shape says of a column is compiled once for each table, into
//! a slot found by the column's number; a row then is a walk over its cells (`row`). Rows that
//! follow one another into the same table are one run: what is asked for it is not asked again.

use std::collections::HashMap;
use std::sync::Arc;

use bridge_abi::{Cell, Kind};

use super::line;
use super::naming::fill_template;
use super::pg::bind::Binds;
use super::row::{Lines, Refused, Unwritten};
use super::stamp::{Stamp, Stamper};
use super::table::{Tables, Wanted};
use super::target::{Target, Wire};
use crate::batch::{Line, Record, RecordBatch, Row, RowBatch};
use crate::blame::Fault;
use crate::names::Names;
use crate::outbox::{Destination, Outbox};
use crate::reject::{Reason, Rejects, Stage};
use crate::shape::{ColumnType, Shape};
use crate::sink::Encoder;

/// A buffer for one row that is larger is not kept: the next such row may never come.
const ROW_BYTES_KEPT: usize = 64 << 10;

/// Encodes the rows of one lane.
pub struct IlpEncoder {
    shape: Arc<Shape>,
    names: Arc<Names>,
    tables: Arc<dyn Tables>,
    stamper: Stamper,
    wire: Wire,
    couriers: u32,
    /// How rows of transactional tables are written, and by how many couriers behind the others
    /// they go.
    transacting: Option<(Wire, u32)>,
    /// Of the tables, when the targets were filled.
    epoch: u64,
    targets: Vec<Target>,
    by_name: HashMap<String, usize, foldhash::fast::FixedState>,
    fixed: Option<usize>,
    scratch: String,
    /// A row while it is written.
    row: Vec<u8>,
    /// For each column of an INSERT, which cell of the row at hand goes there.
    cells_at: Vec<u16>,
    /// The rows of the record at hand, if it has more than one.
    marks: Vec<Mark>,
    /// Values of the batch at hand that became null.
    nulled: u64,
}

/// What of a record's rows stands in which payload, should the record be refused after all.
struct Mark {
    to: Destination,
    target: usize,
    bytes: usize,
    lines: usize,
}

/// Why a run ended.
enum Ended {
    /// The payload is full.
    Full,
    /// The next row goes elsewhere, or may do so.
    Elsewhere,
    /// The next row has a column that the table was not asked for.
    Unknown,
    /// The next row's record is refused.
    Refused(Refused),
}

impl From<Unwritten> for Ended {
    fn from(unwritten: Unwritten) -> Ended {
        match unwritten {
            Unwritten::Unknown => Ended::Unknown,
            Unwritten::Refused(refused) | Unwritten::Misfit(_, refused) => Ended::Refused(refused),
        }
    }
}

/// How rows are written.
enum Written<'a> {
    Lines(Lines<'a>, &'a mut Vec<u8>),
    Binds(Binds<'a>),
}

impl Written<'_> {
    #[inline(always)]
    fn append(
        &mut self,
        record: &Record<'_>,
        row: &Row,
        out: &mut Vec<u8>,
    ) -> Result<Stamp, Unwritten> {
        match self {
            Written::Lines(lines, buffer) => lines.append(record, row, buffer, out),
            Written::Binds(binds) => binds.append(record, row, out),
        }
    }
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
        IlpEncoder::by(Wire::Lines(version), shape, names, tables, couriers)
    }

    /// The same for rows that become what `wire` says.
    pub fn by(
        wire: Wire,
        shape: Arc<Shape>,
        names: Arc<Names>,
        tables: Arc<dyn Tables>,
        couriers: u32,
    ) -> IlpEncoder {
        let stamper = Stamper::new(&shape, &names);
        IlpEncoder {
            shape,
            names,
            tables,
            stamper,
            wire,
            couriers,
            transacting: None,
            epoch: 0,
            targets: Vec::new(),
            by_name: HashMap::default(),
            fixed: None,
            scratch: String::new(),
            row: Vec::new(),
            cells_at: Vec::new(),
            marks: Vec::new(),
            nulled: 0,
        }
    }

    /// The same, with rows of transactional tables written otherwise, for couriers of their own.
    pub fn transacting(self, wire: Wire, couriers: u32) -> IlpEncoder {
        IlpEncoder { transacting: Some((wire, couriers)), ..self }
    }

    /// Targets are asked for anew where a table has changed. They keep their places: payloads that
    /// are open go by them.
    fn forget_if_changed(&mut self) {
        let epoch = self.tables.epoch();
        if epoch == self.epoch {
            return;
        }
        self.epoch = epoch;
        for target in &mut self.targets {
            *target = Target::of(&target.name, &self.shape);
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
            let (table, names) = (&self.shape.table, &self.names);
            fill_template(&mut self.scratch, table, names, records, rows, row);
        }
        if let Some(target) = self.by_name.get(self.scratch.as_str()) {
            return *target;
        }
        let target = self.targets.len();
        self.targets.push(Target::of(&self.scratch, &self.shape));
        self.by_name.insert(self.scratch.clone(), target);
        if row.table == 0 && self.shape.table.fixed().is_some() {
            self.fixed = Some(target);
        }
        target
    }

    /// Learns of the columns of this batch that the target has not met: what type they are to
    /// have is told by all of its rows in the batch, so that one `21` does not make a column of
    /// longs.
    fn meet(&mut self, target: usize, records: &RecordBatch, rows: &RowBatch) -> Result<(), Fault> {
        let mut fresh: Vec<(u16, ColumnType)> = Vec::new();
        for row in &rows.rows {
            if self.target_of(records, rows, row) != target {
                continue;
            }
            for cell in rows.cells_of(row) {
                if !self.targets[target].is_unknown(cell.column) {
                    continue;
                }
                let Some(kind) = inferred(cell, rows.pointed(cell)) else { continue };
                match fresh.iter_mut().find(|(column, _)| *column == cell.column) {
                    Some((_, known)) => *known = wider(*known, kind),
                    None => fresh.push((cell.column, kind)),
                }
            }
        }
        let wanted: Vec<(u16, Option<Wanted>)> =
            fresh.iter().map(|(id, kind)| (*id, self.wanted(target, *id, *kind))).collect();
        let wire = wire_of(&self.targets[target], &self.wire, &self.transacting);
        self.targets[target].learn(&self.shape, &*self.tables, wanted, wire)
    }

    /// What the shape makes of a column: `None` if it does not become one.
    fn wanted(&self, target: usize, column: u16, inferred: ColumnType) -> Option<Wanted> {
        let source = self.names.columns.name(column)?;
        if self.stamper.consumes(column) {
            return None;
        }
        let name = self.shape.column_of(&source)?;
        let shape = self.shape.of(&self.targets[target].name);
        let legal = line::legal(&name);
        let declared = shape.kind_of(&legal).or_else(|| shape.kind_of(&name));
        Some(Wanted { name: legal.into_owned(), kind: declared.unwrap_or(inferred) })
    }

    /// Where rows of a batch that are a target's go.
    fn destination(&self, target: usize, records: &RecordBatch) -> Destination {
        let courier = match &self.transacting {
            Some((_, couriers)) if self.targets[target].transacts => {
                self.couriers + records.partition.0 % couriers
            }
            _ => records.partition.0 % self.couriers,
        };
        Destination { table: target as u32, courier, route: records.route }
    }

    /// What rows are written as. Those of line protocol say so themselves; for which table as it
    /// was, the epoch does.
    fn layout(&self, target: usize) -> u32 {
        let binding = self.targets[target].binding.as_ref();
        binding.map_or(self.epoch as u32, |binding| binding.layout.id)
    }

    /// Rows from `first` on into one payload, until one of them ends the run; which one.
    fn run(
        &mut self,
        target: usize,
        records: &RecordBatch,
        rows: &RowBatch,
        first: usize,
        outbox: &mut Outbox,
    ) -> (usize, Ended) {
        self.targets[target].metadata.turn_to(&records.source);
        let (to, closing) = (self.destination(target, records), outbox.closing());
        let layout = self.layout(target);
        let payload = outbox.payload(to, &self.targets[target].name, &records.ticket);
        let (mut low, mut high) = payload.timestamps;
        let out = &mut payload.buffers.bytes;
        let (target_at, stamper) = (&self.targets[target], &mut self.stamper);
        let wire = wire_of(target_at, &self.wire, &self.transacting);
        let mut written = match wire {
            Wire::Lines(_) | Wire::Text => {
                let (target, buffer, nulled) = (target_at, &mut self.row, &mut self.nulled);
                let version = wire.version();
                let lines = Lines { target, stamper, version, records, rows, nulled };
                Written::Lines(lines, buffer)
            }
            Wire::Binds(_) => {
                let (target, cells_at, nulled) = (target_at, &mut self.cells_at, &mut self.nulled);
                Written::Binds(Binds { target, stamper, cells_at, records, rows, nulled })
            }
        };
        // Where the name comes from the record, each row asks anew.
        let table = rows.rows[first].table;
        let steady = table != 0 || self.fixed == Some(target);
        let (mut at, mut ended) = (first, Ended::Elsewhere);
        while let Some(row) = rows.rows.get(at) {
            if row.table != table || (at > first && !steady) {
                break;
            }
            let record = records.get(row.source as usize);
            let first_of_record = at == 0 || rows.rows[at - 1].source != row.source;
            let last_of_record = rows.rows.get(at + 1).is_none_or(|next| next.source != row.source);
            let start = out.len();
            if first_of_record {
                self.marks.clear();
            }
            if !first_of_record || !last_of_record {
                let lines = payload.buffers.lines.len();
                self.marks.push(Mark { to, target, bytes: start, lines });
            }
            match written.append(&record, row, out) {
                Ok(Stamp::At(stamp)) => (low, high) = (low.min(stamp), high.max(stamp)),
                Ok(Stamp::Server) => {}
                Err(unwritten) => {
                    ended = unwritten.into();
                    break;
                }
            }
            let (offset, partition, end) = (record.offset, records.partition, out.len() as u32);
            payload.buffers.lines.push(Line { offset, partition, row: row.number, layout, end });
            at += 1;
            if last_of_record && closing.is_reached(out.len(), payload.buffers.lines.len()) {
                ended = Ended::Full;
                break;
            }
        }
        payload.timestamps = (low, high);
        if matches!(ended, Ended::Full) {
            outbox.close(to);
        }
        (at, ended)
    }

    /// Refuses the record of the row at `at`: none of its rows stays in a payload. The row behind
    /// them.
    fn refuse(
        &mut self,
        records: &RecordBatch,
        rows: &RowBatch,
        at: usize,
        refused: Refused,
        rejects: &mut Rejects,
        outbox: &mut Outbox,
    ) -> usize {
        let source = rows.rows[at].source;
        let (reason, detail) = refused;
        rejects.push(source, Stage::Shape, reason, detail);
        if at > 0 && rows.rows[at - 1].source == source {
            for mark in self.marks.drain(..).rev() {
                let name = &self.targets[mark.target].name;
                let payload = outbox.payload(mark.to, name, &records.ticket);
                payload.buffers.bytes.truncate(mark.bytes);
                payload.buffers.lines.truncate(mark.lines);
            }
        }
        self.marks.clear();
        let behind = rows.rows[at..].iter().position(|row| row.source != source);
        behind.map_or(rows.rows.len(), |count| at + count)
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
        self.forget_if_changed();
        let mut at = 0;
        // The row for which its table was last asked.
        let mut asked = None;
        while let Some(row) = rows.rows.get(at) {
            let target = self.target_of(records, rows, row);
            let ended = if let Some(refused) = &self.targets[target].refused {
                Ended::Refused(refused.clone())
            } else if !self.targets[target].met {
                Ended::Unknown
            } else {
                let (next, ended) = self.run(target, records, rows, at, outbox);
                at = next;
                ended
            };
            match ended {
                Ended::Full | Ended::Elsewhere => {}
                Ended::Unknown if asked == Some(at) => {
                    return Err(Fault::us("a column was asked for, and is not known"));
                }
                Ended::Unknown => {
                    asked = Some(at);
                    self.meet(target, records, rows)?;
                }
                Ended::Refused(refused) => {
                    if refused.0 == Reason::WrongType {
                        self.tables.doubt(&self.targets[target].name);
                    }
                    at = self.refuse(records, rows, at, refused, rejects, outbox);
                }
            }
        }
        rejects.nulled += std::mem::take(&mut self.nulled);
        if self.row.len() > ROW_BYTES_KEPT {
            self.row = Vec::new();
        }
        Ok(())
    }
}

/// How a table's rows are written.
fn wire_of<'a>(target: &Target, usual: &'a Wire, transacting: &'a Option<(Wire, u32)>) -> &'a Wire {
    match transacting {
        Some((wire, _)) if target.transacts => wire,
        _ => usual,
    }
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
