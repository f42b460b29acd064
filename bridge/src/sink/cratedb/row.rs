//! One row as a list of parameters in JSON: a walk over its cells, which finds each its place, and
//! one over the table's columns, which writes them in order.

use std::sync::Arc;

use bridge_abi::{Cell, Kind, Unit};

use super::super::postgres::layout::Feed;
use super::layout::{Column, Layout, table_fault};
use super::value::{self, NULL};
use crate::batch::{Record, RecordBatch, Row, RowBatch};
use crate::reject::Reason;
use crate::shape::{OnBad, Shape, Timestamp};
use crate::sink::coerce::two_fields;
use crate::sink::questdb::{Stamper, last_header, shown};

/// Why a record is refused.
pub type Refused = (Reason, String);

/// What becomes of a column's cells.
pub enum Slot {
    /// Nobody has asked yet.
    Unknown,
    /// Nothing.
    Skip,
    /// They go into the layout's column at this index.
    Place(u16),
    /// Records with it are refused.
    Denied(Reason, String),
}

/// One table as an encoder sees it.
pub struct Target {
    /// Its name.
    pub name: Arc<str>,
    /// `None` until it was asked for.
    pub layout: Option<Arc<Layout>>,
    /// By the column's number.
    pub slots: Vec<Slot>,
    /// Why no row can go there, if none can.
    pub refused: Option<Refused>,
}

impl Target {
    /// A table that was not asked for yet.
    pub fn new(name: Arc<str>) -> Target {
        let refused = table_fault(&name).map(|fault| (Reason::BadName, fault));
        Target { name, layout: None, slots: Vec::new(), refused }
    }

    /// What becomes of a column.
    #[inline]
    pub fn slot(&self, column: u16) -> &Slot {
        self.slots.get(usize::from(column)).unwrap_or(&Slot::Unknown)
    }

    /// Says what becomes of a column.
    pub fn set(&mut self, column: u16, slot: Slot) {
        let index = usize::from(column);
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || Slot::Unknown);
        }
        self.slots[index] = slot;
    }
}

/// No cell.
const NONE: u16 = u16::MAX;

/// Why a record was not written.
pub enum Ended {
    /// A row has a column that its table was not asked for, or the table was not: which one.
    Unknown(usize),
    /// The record is refused.
    Refused(Refused),
}

/// Rows of one batch on their way to one table.
pub struct Params<'a> {
    /// The table's number among the encoder's.
    pub at: usize,
    pub target: &'a Target,
    pub layout: &'a Layout,
    pub stamper: &'a mut Stamper,
    /// For each column of the layout, which cell of the row at hand goes there.
    pub places: &'a mut Vec<u16>,
    pub shape: &'a Shape,
    pub records: &'a RecordBatch,
    pub rows: &'a RowBatch,
    /// Values that became null.
    pub nulled: &'a mut u64,
}

impl Params<'_> {
    /// Appends a row, and the comma behind it. What was appended of a row that is refused is the
    /// caller's to take back.
    pub fn append(
        &mut self,
        record: &Record<'_>,
        row: &Row,
        out: &mut Vec<u8>,
    ) -> Result<(), Ended> {
        let cells = self.rows.cells_of(row);
        self.find_places(cells)?;
        out.push(b'[');
        let layout = self.layout;
        for (index, column) in layout.columns.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            let before = out.len();
            match (&column.feed, self.places[index]) {
                (Feed::Cell, NONE) => out.extend_from_slice(NULL),
                (Feed::Cell, at) => self.cell(&cells[usize::from(at)], column, out)?,
                _ => self.own(record, row, cells, column, out)?,
            }
            if column.key && &out[before..] == NULL {
                let (name, table) = (&column.name, &layout.table);
                let detail = format!("the row has no `{name}`, which is of the key of {table}");
                return Err(Ended::Refused((Reason::BadKey, detail)));
            }
        }
        out.extend_from_slice(b"],");
        Ok(())
    }

    /// Finds each cell its place; refuses a row with two values for one column.
    #[inline]
    fn find_places(&mut self, cells: &[Cell]) -> Result<(), Ended> {
        self.places.clear();
        self.places.resize(self.layout.columns.len(), NONE);
        for (at, cell) in cells.iter().enumerate() {
            // Nulls say nothing of a column, and are what is written where there is no cell.
            if cell.kind == Kind::Null as u8 {
                continue;
            }
            match self.target.slot(cell.column) {
                Slot::Place(index) => {
                    let place = &mut self.places[usize::from(*index)];
                    if *place != NONE {
                        let name = &self.layout.columns[usize::from(*index)].name;
                        return Err(Ended::Refused(two_fields(name, &self.layout.table)));
                    }
                    *place = at as u16;
                }
                Slot::Skip => {}
                Slot::Unknown => return Err(Ended::Unknown(self.at)),
                Slot::Denied(reason, detail) => {
                    return Err(Ended::Refused((*reason, detail.clone())));
                }
            }
        }
        Ok(())
    }

    #[inline]
    fn cell(&mut self, cell: &Cell, column: &Column, out: &mut Vec<u8>) -> Result<(), Ended> {
        let bytes = self.rows.pointed(cell);
        let before = out.len();
        value::push(out, cell, bytes, &column.kind).or_else(|_| {
            if self.shape.values.on_bad(&column.name) == OnBad::Null {
                *self.nulled += 1;
                out.truncate(before);
                out.extend_from_slice(NULL);
                return Ok(());
            }
            let (table, name) = (&self.layout.table, &column.name);
            let (kind, value) = (column.kind.sql(), shown(cell, bytes));
            let detail = format!(
                "column `{name}` of {table} is {kind}, the record has {value}; convert it in a \
                 transform, say what becomes of it by `on_bad`, or write it to another column by \
                 `mapping`"
            );
            Err(Ended::Refused((Reason::WrongType, detail)))
        })
    }

    /// A column that the bridge fills.
    fn own(
        &mut self,
        record: &Record<'_>,
        row: &Row,
        cells: &[Cell],
        column: &Column,
        out: &mut Vec<u8>,
    ) -> Result<(), Ended> {
        let cell = |kind: Kind, value: i64, flags: u8| Cell {
            column: 0,
            kind: kind as u8,
            flags,
            len: 0,
            value: value as u64,
        };
        let null = cell(Kind::Null, 0, 0);
        let header;
        let (cell, bytes): (Cell, &[u8]) = match &column.feed {
            Feed::Cell => return Ok(()),
            Feed::Stamp if self.shape.timestamp != Timestamp::Kafka => {
                let stamp = self.stamper.nanos(record, self.rows, cells);
                match stamp.map_err(Ended::Refused)? {
                    Some(nanos) => return self.stamp(nanos, column, out),
                    None => (null, &[]),
                }
            }
            Feed::Stamp | Feed::KafkaTime if record.timestamp_ms < 0 => (null, &[]),
            Feed::Stamp | Feed::KafkaTime => {
                (cell(Kind::Timestamp, record.timestamp_ms, Unit::Millis as u8), &[])
            }
            Feed::Topic => (cell(Kind::Text, 0, 0), self.records.source.topic.as_bytes()),
            Feed::Partition => (cell(Kind::I64, i64::from(self.records.source.partition), 0), &[]),
            Feed::Offset => (cell(Kind::I64, record.offset, 0), &[]),
            Feed::Row => (cell(Kind::I64, i64::from(row.number), 0), &[]),
            Feed::Header(name) => {
                header = last_header(self.records, row.source, name);
                match &header {
                    Some(value) => (cell(Kind::Text, 0, 0), value.as_bytes()),
                    None => (null, &[]),
                }
            }
        };
        value::push(out, &cell, bytes, &column.kind).map_err(|_| self.misfit(column))
    }

    fn stamp(&self, nanos: i128, column: &Column, out: &mut Vec<u8>) -> Result<(), Ended> {
        match column.kind {
            value::Type::Timestamp => value::instant(out, nanos).map_err(|_| self.misfit(column)),
            _ => Err(self.misfit(column)),
        }
    }

    fn misfit(&self, column: &Column) -> Ended {
        let (table, name, kind) = (&self.layout.table, &column.name, column.kind.sql());
        let detail = format!(
            "column `{name}` of {table} is {kind}, which does not take what the bridge fills it with"
        );
        Ended::Refused((Reason::WrongType, detail))
    }
}
