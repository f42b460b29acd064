//! One row as a line: an object of the columns that it has, or a record of the columns that its
//! table has.

use bridge_abi::{Cell, Kind};

use super::fit::{Plain, as_text, fit};
use super::target::{Column, Own, Slot, Source, Target};
use super::{Timestamps, csv, json};
use crate::batch::{Record, RecordBatch, Row, RowBatch};
use crate::reject::Reason;
use crate::shape::OnBad;
use crate::sink::questdb::last_header;

/// Why a record is refused.
type Refused = (Reason, String);

/// A row on its way into a line.
pub struct RowLine<'a> {
    pub own: &'a [Own],
    pub timestamps: Timestamps,
    pub target: &'a Target,
    pub records: &'a RecordBatch,
    pub rows: &'a RowBatch,
    pub row: &'a Row,
    pub record: Record<'a>,
    /// Its designated timestamp.
    pub stamp: Plain<'a>,
    /// Values that became null.
    pub nulled: &'a std::cell::Cell<u64>,
}

impl RowLine<'_> {
    /// Appends an object: the record's own columns, then the others as they come.
    pub fn json(&self, out: &mut Vec<u8>) -> Result<(), Refused> {
        let start = out.len();
        for own in self.own {
            // Every member begins with the comma of the one before.
            out.push(b',');
            out.extend_from_slice(&own.fragment);
            self.with_own(&own.source, |value| json::push_value(out, value, self.timestamps));
        }
        let cells = self.rows.cells_of(self.row);
        for (at, cell) in cells.iter().enumerate() {
            let Some(column) = self.column_of(cell)? else { continue };
            if column.shared {
                if cell.kind == Kind::Null as u8 {
                    continue;
                }
                if self.target.stands_before(&cells[..at], cell.column) {
                    return Err(self.target.two_fields(cell.column));
                }
            }
            out.push(b',');
            out.extend_from_slice(&column.fragment);
            json::push_value(out, &self.value(cell, column)?, self.timestamps);
        }
        match out.get_mut(start) {
            Some(first) => *first = b'{',
            None => out.push(b'{'),
        }
        out.extend_from_slice(b"}\n");
        Ok(())
    }

    /// Appends a CSV record of the table's columns. `places` is used again from row to row.
    pub fn csv(
        &self,
        out: &mut Vec<u8>,
        places: &mut Vec<Option<usize>>,
        null: &str,
    ) -> Result<(), Refused> {
        let start = out.len();
        let cells = self.rows.cells_of(self.row);
        places.clear();
        places.resize(self.target.layout.0 as usize, None);
        for (at, cell) in cells.iter().enumerate() {
            let Some(column) = self.column_of(cell)? else { continue };
            if cell.kind != Kind::Null as u8
                && let Some(place) = places.get_mut(column.place)
                && place.replace(at).is_some()
            {
                return Err(self.target.two_fields(cell.column));
            }
        }
        for (place, found) in places.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            if let Some(Some(own)) = self.target.own_at.get(place) {
                let source = &self.own[*own].source;
                self.with_own(source, |value| csv::push_value(out, value, self.timestamps, null));
            } else if let Some(cell) = found.map(|at| &cells[at])
                && let Some(column) = self.column_of(cell)?
            {
                let value = self.value(cell, column)?;
                csv::push_value(out, &value, self.timestamps, null);
            } else {
                out.extend_from_slice(null.as_bytes());
            }
        }
        if out.len() == start {
            // An empty line is no record to most readers.
            out.extend_from_slice(b"\"\"");
        }
        out.push(b'\n');
        Ok(())
    }

    /// Where a cell is written, if it is.
    fn column_of(&self, cell: &Cell) -> Result<Option<&Column>, Refused> {
        match self.target.slot(cell.column) {
            Slot::Write(column) => Ok(Some(column)),
            // Columns were asked for before; what is unknown was only ever null.
            Slot::Unknown | Slot::Skip => Ok(None),
            Slot::Denied(reason, detail) => Err((*reason, detail.clone())),
        }
    }

    fn value(&self, cell: &Cell, column: &Column) -> Result<Plain<'_>, Refused> {
        let bytes = self.rows.pointed(cell);
        fit(cell, bytes, column.kind).or_else(|shown| {
            let other = match column.on_bad {
                OnBad::Reject => None,
                OnBad::Null => {
                    self.nulled.set(self.nulled.get() + 1);
                    Some(Plain::Null)
                }
                OnBad::Text => as_text(cell, bytes),
            };
            other.ok_or_else(|| self.target.misfit(cell.column, column.kind, &shown))
        })
    }

    /// Lends the value of a column that comes from the record itself.
    fn with_own(&self, source: &Source, write: impl FnOnce(&Plain<'_>)) {
        let from = &self.records.source;
        match source {
            Source::Stamp => write(&self.stamp),
            Source::Topic => write(&Plain::Text(from.topic.as_bytes())),
            Source::Partition => write(&Plain::Integer(i64::from(from.partition))),
            Source::Offset => write(&Plain::Integer(self.record.offset)),
            Source::Row => write(&Plain::Integer(i64::from(self.row.number))),
            Source::Timestamp => {
                let nanos = i128::from(self.record.timestamp_ms.max(0)) * 1_000_000;
                write(&Plain::Instant(nanos, 3));
            }
            Source::Header(name) => {
                let value = last_header(self.records, self.row.source, name);
                write(&value.as_ref().map_or(Plain::Null, |text| Plain::Text(text.as_bytes())));
            }
        }
    }
}
