//! Rows to the tuples of a binary COPY, one after the other as they come, whatever their table:
//! each says which layout it has. A courier sorts them out. A column's slot is found by its number;
//! what the table has no column for is asked for with the type that all rows of a batch tell.

use std::collections::HashMap;
use std::sync::Arc;

use bridge_abi::{Cell, Kind};

use super::catalogue::Tables;
use super::layout::{Layout, Place, Wanted, declared_columns, is_own, name_fault};
use super::tuple::{Ended, Refused, Slot, Target, Tuples};
use crate::batch::{Line, RecordBatch, Row, RowBatch};
use crate::blame::Fault;
use crate::names::Names;
use crate::outbox::{Destination, Outbox};
use crate::reject::{Reason, Rejects, Stage};
use crate::shape::Shape;
use crate::sink::Encoder;
use crate::sink::questdb::stamp::Stamper;
use crate::sink::questdb::{Denied, fill_template};

/// Encodes the rows of one lane.
pub struct PgEncoder {
    shape: Arc<Shape>,
    names: Arc<Names>,
    tables: Arc<dyn Tables>,
    stamper: Stamper,
    couriers: u32,
    /// What payloads of several tables are called.
    rows: Arc<str>,
    /// Of the tables, when the targets were filled.
    epoch: u64,
    targets: Vec<Target>,
    by_name: HashMap<String, usize, foldhash::fast::FixedState>,
    fixed: Option<usize>,
    scratch: String,
    /// For each column of the layout, which cell of the row at hand goes there.
    places: Vec<u16>,
    /// Rows so far, numbered where a later one replaces an earlier.
    nth: i64,
    /// What stood in the payload before the record at hand: bytes and lines.
    mark: (usize, usize),
    /// Values of the batch at hand that became null.
    nulled: u64,
}

impl PgEncoder {
    /// An encoder for one lane, whose couriers are numbered from 0.
    pub fn new(
        shape: Arc<Shape>,
        names: Arc<Names>,
        tables: Arc<dyn Tables>,
        couriers: u32,
    ) -> PgEncoder {
        let stamper = Stamper::new(&shape, &names);
        PgEncoder {
            shape,
            names,
            tables,
            stamper,
            couriers,
            rows: "rows".into(),
            epoch: 0,
            targets: Vec::new(),
            by_name: HashMap::default(),
            fixed: None,
            scratch: String::new(),
            places: Vec::new(),
            nth: 0,
            mark: (0, 0),
            nulled: 0,
        }
    }

    /// Targets are asked for anew where a table has changed.
    fn forget_if_changed(&mut self) {
        let epoch = self.tables.epoch();
        if epoch != self.epoch {
            self.epoch = epoch;
            for target in &mut self.targets {
                *target = Target::new(&target.name);
            }
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
            fill_template(&mut self.scratch, &self.shape.table, &self.names, records, rows, row);
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

    /// Learns of the columns of this batch that the target has not met; what is missing and may be
    /// added is asked for with the type that all of its rows in the batch tell.
    fn meet(&mut self, target: usize, records: &RecordBatch, rows: &RowBatch) -> Result<(), Fault> {
        let mut fresh: Vec<(u16, &'static str)> = Vec::new();
        for row in &rows.rows {
            if self.target_of(records, rows, row) != target {
                continue;
            }
            for cell in rows.cells_of(row) {
                if !matches!(self.targets[target].slot(cell.column), Slot::Unknown) {
                    continue;
                }
                let Some(kind) = inferred(cell) else { continue };
                match fresh.iter_mut().find(|(column, _)| *column == cell.column) {
                    Some((_, known)) => *known = wider(known, kind),
                    None => fresh.push((cell.column, kind)),
                }
            }
        }
        let mut asked: Vec<(u16, Wanted)> = Vec::new();
        for (column, sql) in fresh {
            match self.wanted(target, column, sql) {
                None => self.targets[target].set(column, Slot::Skip),
                Some(wanted) => match name_fault("column", &wanted.name) {
                    Some(fault) => {
                        let slot = Slot::Denied(Reason::BadName, fault);
                        self.targets[target].set(column, slot);
                    }
                    None => asked.push((column, wanted)),
                },
            }
        }
        self.ask(target, &asked)
    }

    /// Asks for columns. Those that are denied are told apart, so that one hostile name does not
    /// refuse the others.
    fn ask(&mut self, target: usize, asked: &[(u16, Wanted)]) -> Result<(), Fault> {
        let all: Vec<Wanted> = asked.iter().map(|(_, wanted)| wanted.clone()).collect();
        let name = self.targets[target].name.clone();
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
    fn wanted(&self, target: usize, column: u16, inferred: &str) -> Option<Wanted> {
        let shape = self.shape.of(&self.targets[target].name);
        let name = self.name_of(column).filter(|name| !is_own(shape, name))?;
        let mut declared = declared_columns(shape).into_iter();
        let declared = declared.find(|wanted| wanted.name == name);
        Some(declared.unwrap_or(Wanted { name, sql: inferred.to_owned() }))
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
            let slot = match layout.place(self.shape.of(&layout.table), &name) {
                Place::At(at) => Slot::Place(at),
                Place::Own => Slot::Skip,
                Place::Refused(detail) => Slot::Denied(Reason::WrongType, detail),
                Place::Missing => Slot::Unknown,
            };
            self.targets[target].set(column, slot);
        }
        self.targets[target].layout = Some(layout);
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
        let courier = records.partition.0 % self.couriers;
        let to = Destination { table: 0, courier, route: records.route };
        let closing = outbox.closing();
        let payload = outbox.payload(to, &self.rows, &records.ticket);
        let out = &mut payload.buffers.bytes;
        let target_at = &self.targets[target];
        let Some(layout) = target_at.layout.as_deref() else { return (first, Ended::Unknown) };
        // Where the name comes from the record, each row asks anew.
        let table = rows.rows[first].table;
        let steady = table != 0 || self.fixed == Some(target);
        let (stamper, places, shape) = (&mut self.stamper, &mut self.places, &*self.shape);
        let (target, nth, nulled) = (target_at, &mut self.nth, &mut self.nulled);
        let mut tuples =
            Tuples { target, layout, stamper, places, nth, shape, records, rows, nulled };
        let (mut at, mut ended) = (first, Ended::Elsewhere);
        while let Some(row) = rows.rows.get(at) {
            if row.table != table || (at > first && !steady) {
                break;
            }
            let record = records.get(row.source as usize);
            if at == 0 || rows.rows[at - 1].source != row.source {
                self.mark = (out.len(), payload.buffers.lines.len());
            }
            let start = out.len();
            if let Err(why) = tuples.append(&record, row, out) {
                out.truncate(start);
                ended = why;
                break;
            }
            payload.buffers.lines.push(Line {
                offset: record.offset,
                partition: records.partition,
                row: row.number,
                layout: layout.id,
                end: out.len() as u32,
            });
            at += 1;
            let is_last = rows.rows.get(at).is_none_or(|next| next.source != row.source);
            if is_last && closing.is_reached(out.len(), payload.buffers.lines.len()) {
                ended = Ended::Full;
                break;
            }
        }
        if matches!(ended, Ended::Full) {
            outbox.close(to);
        }
        (at, ended)
    }

    /// Refuses the record of the row at `at`: none of its rows stays in the payload. The row
    /// behind them.
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
            // A record's rows are in one payload, for it is closed behind a record only.
            let courier = records.partition.0 % self.couriers;
            let to = Destination { table: 0, courier, route: records.route };
            let payload = outbox.payload(to, &self.rows, &records.ticket);
            payload.buffers.bytes.truncate(self.mark.0);
            payload.buffers.lines.truncate(self.mark.1);
        }
        let behind = rows.rows[at..].iter().position(|row| row.source != source);
        behind.map_or(rows.rows.len(), |count| at + count)
    }
}

impl Encoder for PgEncoder {
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
            } else if self.targets[target].layout.is_none() {
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
                    at = self.refuse(records, rows, at, refused, rejects, outbox);
                }
            }
        }
        rejects.nulled += std::mem::take(&mut self.nulled);
        Ok(())
    }
}

/// The type that a new column gets for a cell; `None` for a null, which says nothing.
fn inferred(cell: &Cell) -> Option<&'static str> {
    Some(match Kind::from_u8(cell.kind)? {
        Kind::Null => return None,
        Kind::Bool => "boolean",
        Kind::I64 => "bigint",
        Kind::F64 => "double precision",
        Kind::Text | Kind::Symbol => "text",
        Kind::Bytes => "bytea",
        Kind::Timestamp => "timestamp with time zone",
        Kind::Decimal => "numeric",
        Kind::Array => "double precision[]",
    })
}

/// The type that takes both, where there is one; else the first.
fn wider(a: &'static str, b: &'static str) -> &'static str {
    match (a, b) {
        ("bigint", "double precision") => b,
        ("bigint" | "double precision", "numeric") => b,
        ("bigint" | "double precision" | "boolean" | "numeric", "text") => b,
        _ => a,
    }
}
