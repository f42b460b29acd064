//! One row as a Bind and an Execute: a walk over its cells, which finds each its place, and one
//! over the layout's columns, which writes them in order.

use std::sync::Arc;

use bridge_abi::{Cell, Kind, Unit};

use super::layout::{Column, Feed, Layout, Layouts};
use super::value::{self, NULL};
use crate::batch::{Record, RecordBatch, Row, RowBatch};
use crate::reject::Reason;
use crate::shape::{ColumnType, Shape};
use crate::sink::questdb::metadata::last_header;
use crate::sink::questdb::row::Unwritten;
use crate::sink::questdb::stamp::{Stamp, Stamper};
use crate::sink::questdb::table::Table;
use crate::sink::questdb::target::{Slot, Target};

/// The server reads a message whole, into a buffer of this size (`pg.recv.buffer.size`, 9.3.4); it
/// hangs up on one that is longer.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Runs the unnamed portal to its end.
const EXECUTE: [u8; 10] = [b'E', 0, 0, 0, 9, 0, 0, 0, 0, 0];
/// No cell, no place.
const NONE: u16 = u16::MAX;

/// A table's layout, and the place of each of the record's columns in it.
#[derive(Debug)]
pub struct Binding {
    /// The layout.
    pub layout: Arc<Layout>,
    places: Vec<u16>,
}

impl Binding {
    /// The layout of a table with these columns of the record: number, name and type.
    pub fn new(
        layouts: &Layouts,
        shape: &Shape,
        table: &Table,
        columns: impl Iterator<Item = (u16, String, ColumnType)>,
    ) -> Binding {
        let columns: Vec<(u16, String, ColumnType)> = columns.collect();
        let mut cells: Vec<(String, ColumnType)> =
            columns.iter().map(|(_, name, kind)| (name.clone(), *kind)).collect();
        // All lanes come to the same statement, in whatever order they met the columns.
        cells.sort_by(|a, b| a.0.cmp(&b.0));
        cells.dedup_by(|a, b| a.0 == b.0);
        let layout = layouts.of(shape, table, cells);
        let len = columns.iter().map(|(id, ..)| usize::from(*id) + 1).max().unwrap_or(0);
        let mut places = vec![NONE; len];
        for (id, name, _) in &columns {
            let is_it = |column: &Column| column.feed == Feed::Cell && column.name == *name;
            let place = layout.columns.iter().position(is_it);
            places[usize::from(*id)] = place.map_or(NONE, |place| place as u16);
        }
        Binding { layout, places }
    }

    fn place(&self, column: u16) -> u16 {
        self.places.get(usize::from(column)).copied().unwrap_or(NONE)
    }
}

/// Rows of one batch on their way to one table.
pub struct Binds<'a> {
    pub target: &'a Target,
    pub stamper: &'a mut Stamper,
    /// For each column of the layout, which cell of the row at hand goes there.
    pub cells_at: &'a mut Vec<u16>,
    pub records: &'a RecordBatch,
    pub rows: &'a RowBatch,
    /// Values that became null.
    pub nulled: &'a mut u64,
}

impl Binds<'_> {
    /// Appends a row, or nothing.
    pub fn append(
        &mut self,
        record: &Record<'_>,
        row: &Row,
        out: &mut Vec<u8>,
    ) -> Result<Stamp, Unwritten> {
        let start = out.len();
        let stamp = self.write(record, row, out);
        if stamp.is_err() {
            out.truncate(start);
        }
        stamp
    }

    fn write(
        &mut self,
        record: &Record<'_>,
        row: &Row,
        out: &mut Vec<u8>,
    ) -> Result<Stamp, Unwritten> {
        let Some(binding) = &self.target.binding else { return Err(Unwritten::Unknown) };
        let cells = self.rows.cells_of(row);
        self.find_cells(binding, cells)?;
        let stamp = self.stamper.stamp(record, self.rows, cells, self.target.stamp_kind)?;
        let start = out.len();
        out.extend_from_slice(&binding.layout.head);
        let mut has_value = false;
        for (column, at) in binding.layout.columns.iter().zip(&*self.cells_at) {
            let before = out.len();
            match (&column.feed, stamp) {
                (Feed::Cell, _) if *at == NONE => {
                    out.extend_from_slice(&NULL);
                    continue;
                }
                (Feed::Cell, _) => {
                    let cell = &cells[usize::from(*at)];
                    let bytes = self.rows.pointed(cell);
                    if let Err(shown) = value::push(out, cell, bytes, column.kind) {
                        if !self.target.nulls(cell.column) {
                            return Err(self.target.misfit(cell, bytes, &shown).into());
                        }
                        *self.nulled += 1;
                        out.truncate(before);
                        out.extend_from_slice(&NULL);
                    }
                }
                (Feed::Stamp, Stamp::At(ticks)) => {
                    value::fixed(out, ticks.to_be_bytes());
                    continue;
                }
                _ => self.own(record, row, column, out)?,
            }
            has_value |= out[before..before + NULL.len()] != NULL;
        }
        if !has_value {
            let detail = "no column of the record has a value".to_owned();
            return Err((Reason::NoColumns, detail).into());
        }
        // Results as text.
        out.extend_from_slice(&[0, 0]);
        let bytes = out.len() - start;
        if bytes > MESSAGE_BYTES_MAX {
            let detail = format!(
                "a row of {bytes} bytes, and QuestDB takes {MESSAGE_BYTES_MAX} at most over the \
                 PostgreSQL protocol; transport = \"http\" takes it"
            );
            return Err((Reason::TooLarge, detail).into());
        }
        out[start + 1..start + 5].copy_from_slice(&(bytes as i32 - 1).to_be_bytes());
        out.extend_from_slice(&EXECUTE);
        Ok(stamp)
    }

    /// Finds each cell its place; refuses a row with two values for one column.
    #[inline]
    fn find_cells(&mut self, binding: &Binding, cells: &[Cell]) -> Result<(), Unwritten> {
        self.cells_at.clear();
        self.cells_at.resize(binding.layout.columns.len(), NONE);
        for (at, cell) in cells.iter().enumerate() {
            let is_null = cell.kind == Kind::Null as u8;
            match self.target.slot(cell.column) {
                Slot::Symbol(_) | Slot::Field(_) | Slot::Double(_) => {
                    if !is_null
                        && let Some(place) =
                            self.cells_at.get_mut(usize::from(binding.place(cell.column)))
                    {
                        if *place != NONE {
                            return Err(self.target.two_fields(cell.column).into());
                        }
                        *place = at as u16;
                    }
                }
                Slot::Skip => {}
                // Nulls say nothing of a column.
                Slot::Unknown if is_null => {}
                Slot::Unknown => return Err(Unwritten::Unknown),
                Slot::Denied(reason, detail) => return Err((*reason, detail.clone()).into()),
            }
        }
        Ok(())
    }

    /// A column that the bridge fills.
    fn own(
        &self,
        record: &Record<'_>,
        row: &Row,
        column: &Column,
        out: &mut Vec<u8>,
    ) -> Result<(), Unwritten> {
        let cell = |kind: Kind, value: i64, flags: u8| Cell {
            column: 0,
            kind: kind as u8,
            flags,
            len: 0,
            value: value as u64,
        };
        let integer = |value: i64| cell(Kind::I64, value, 0);
        let header;
        let (cell, bytes): (Cell, &[u8]) = match &column.feed {
            // Written elsewhere.
            Feed::Cell | Feed::Stamp => (cell(Kind::Null, 0, 0), &[]),
            Feed::Topic => (cell(Kind::Text, 0, 0), self.records.source.topic.as_bytes()),
            Feed::Partition => (integer(i64::from(self.records.source.partition)), &[]),
            Feed::Offset => (integer(record.offset), &[]),
            Feed::Row => (integer(i64::from(row.number)), &[]),
            Feed::KafkaTime => {
                let at = record.timestamp_ms.max(0);
                match column.kind {
                    ColumnType::Long => (integer(at), &[]),
                    _ => (cell(Kind::Timestamp, at, Unit::Millis as u8), &[]),
                }
            }
            Feed::Header(name) => {
                header = last_header(self.records, row.source, name);
                match &header {
                    Some(value) => (cell(Kind::Text, 0, 0), value.as_bytes()),
                    None => (cell(Kind::Null, 0, 0), &[]),
                }
            }
        };
        if cell.kind == Kind::Null as u8 {
            out.extend_from_slice(&NULL);
            return Ok(());
        }
        value::push(out, &cell, bytes, column.kind).map_err(|_| {
            let (table, name, kind) = (&self.target.name, &column.name, column.kind);
            let detail = format!(
                "column `{name}` of {table} is {kind}, which does not take what the bridge fills it \
                 with"
            );
            (Reason::WrongType, detail).into()
        })
    }
}
