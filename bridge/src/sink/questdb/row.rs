//! One row as a line: the table, symbols, fields, the timestamp. A walk over its cells for the
//! symbols and one for the fields, for line protocol wants them in this order.

use bridge_abi::{Cell, Kind};

use super::line::{self, Text};
use super::put::{Cursor, Put};
use super::stamp::{Stamp, Stamper};
use super::target::{Column, Slot, Target};
use super::value;
use crate::batch::{Record, RecordBatch, Row, RowBatch};
use crate::reject::Reason;
use crate::shape::ColumnType;

/// Why a record is refused.
pub type Refused = (Reason, String);

/// Why a row was not written.
pub enum Unwritten {
    /// It has a column that the table was not asked for yet.
    Unknown,
    /// A value of this column does not fit: its record is refused, unless it may become null.
    Misfit(u16, Refused),
    /// Its record is refused.
    Refused(Refused),
}

impl From<Refused> for Unwritten {
    fn from(refused: Refused) -> Unwritten {
        Unwritten::Refused(refused)
    }
}

/// Room for a row that most have enough of.
const ROW_BYTES_USUAL: usize = 1_024;

/// Rows of one batch on their way to one table.
pub struct Lines<'a> {
    pub target: &'a Target,
    pub stamper: &'a mut Stamper,
    pub version: u8,
    pub records: &'a RecordBatch,
    pub rows: &'a RowBatch,
    /// Values that became null.
    pub nulled: &'a mut u64,
}

impl Lines<'_> {
    /// Appends a row, or nothing.
    #[inline]
    pub fn append(
        &mut self,
        record: &Record<'_>,
        row: &Row,
        buffer: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Stamp, Unwritten> {
        let rows = self.rows;
        match self.append_cells(record, row, rows.cells_of(row), buffer, out) {
            Err(Unwritten::Misfit(column, refused)) => {
                self.append_without(column, refused, (record, row), buffer, out)
            }
            appended => appended,
        }
    }

    /// The same where values that do not fit become null, if they may.
    #[cold]
    fn append_without(
        &mut self,
        mut column: u16,
        mut refused: Refused,
        (record, row): (&Record<'_>, &Row),
        buffer: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Stamp, Unwritten> {
        let mut cells = self.rows.cells_of(row).to_vec();
        let mut nulled = 0;
        loop {
            if !self.target.nulls(column) {
                return Err(refused.into());
            }
            let misfit = cells.iter_mut().filter(|cell| cell.column == column);
            misfit.for_each(|cell| cell.kind = Kind::Null as u8);
            nulled += 1;
            match self.append_cells(record, row, &cells, buffer, out) {
                Err(Unwritten::Misfit(next, why)) => (column, refused) = (next, why),
                appended => {
                    *self.nulled += if appended.is_ok() { nulled } else { 0 };
                    return appended;
                }
            }
        }
    }

    /// Appends a row of these cells, through a buffer that grows to the longest one. By itself, for
    /// within the loop over rows its many values do not all stay in registers.
    #[inline(never)]
    fn append_cells(
        &mut self,
        record: &Record<'_>,
        row: &Row,
        cells: &[Cell],
        buffer: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Stamp, Unwritten> {
        loop {
            let mut cursor = Cursor::new(buffer);
            let stamp = self.write(record, row, cells, &mut cursor)?;
            let (fits, len) = (cursor.fits(), cursor.len());
            if fits {
                out.extend_from_slice(&buffer[..len]);
                return Ok(stamp);
            }
            buffer.resize(len + ROW_BYTES_USUAL, 0);
        }
    }

    #[inline(always)]
    fn write(
        &mut self,
        record: &Record<'_>,
        row: &Row,
        cells: &[Cell],
        out: &mut Cursor<'_>,
    ) -> Result<Stamp, Unwritten> {
        let target = self.target;
        target.prefix.push(out);
        let before = out.len();
        target.metadata.push_symbols(self.records, row, out);
        self.symbols(cells, out)?;
        let fields = out.len();
        target.metadata.push_fields(self.records, record, row, out);
        self.fields(cells, out)?;
        if out.len() > fields {
            // Where the first one has the comma of all others.
            out.set(fields, b' ');
        } else if fields == before {
            let detail = "no column of the record has a value".to_owned();
            return Err((Reason::NoColumns, detail).into());
        }
        let stamp = self.stamper.stamp(record, self.rows, cells, target.stamp_kind)?;
        if let Stamp::At(at) = stamp {
            out.byte(b' ');
            line::push_digits(out, at);
            out.byte(line::timestamp_suffix(target.stamp_kind));
        }
        out.byte(b'\n');
        Ok(stamp)
    }

    #[inline(always)]
    fn symbols(&self, cells: &[Cell], out: &mut Cursor<'_>) -> Result<(), Unwritten> {
        for (at, cell) in cells.iter().enumerate() {
            match self.target.slot(cell.column) {
                Slot::Field(_) | Slot::Double(_) | Slot::Skip => {}
                Slot::Symbol(column) => {
                    if cell.kind == Kind::Null as u8 {
                        continue;
                    }
                    self.is_first(column, &cells[..at], cell)?;
                    column.fragment.push(out);
                    if is_text(cell) {
                        line::push_escaped(out, self.text(cell));
                    } else {
                        out.lend(|out| value::push_symbol(out, cell, self.rows.pointed(cell)))
                            .map_err(|shown| self.misfit(cell, &shown))?;
                    }
                }
                // Nulls say nothing of a column.
                Slot::Unknown if cell.kind == Kind::Null as u8 => {}
                Slot::Unknown => return Err(Unwritten::Unknown),
                Slot::Denied(reason, detail) => return Err((*reason, detail.clone()).into()),
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn fields(&self, cells: &[Cell], out: &mut Cursor<'_>) -> Result<(), Unwritten> {
        for (at, cell) in cells.iter().enumerate() {
            match self.target.slot(cell.column) {
                Slot::Double(column) if cell.kind == Kind::F64 as u8 && !column.shared => {
                    column.fragment.push(out);
                    out.eight(cell.value.to_le_bytes(), 8);
                }
                Slot::Double(column) => {
                    if cell.kind == Kind::Null as u8 {
                        continue;
                    }
                    self.is_first(column, &cells[..at], cell)?;
                    column.fragment.push(out);
                    out.take_back(line::BINARY_DOUBLE.len());
                    self.value(cell, column, out)?;
                }
                Slot::Field(column) => {
                    if cell.kind == Kind::Null as u8 {
                        continue;
                    }
                    self.is_first(column, &cells[..at], cell)?;
                    column.fragment.push(out);
                    self.value(cell, column, out)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What most cells are is written here, all others elsewhere.
    #[inline(always)]
    fn value(&self, cell: &Cell, column: &Column, out: &mut Cursor<'_>) -> Result<(), Unwritten> {
        const LONG: u8 = Kind::I64 as u8;
        const BOOL: u8 = Kind::Bool as u8;
        const TEXT: u8 = Kind::Text as u8;
        match (cell.kind, column.kind) {
            (LONG, ColumnType::Long) => {
                line::push_digits(out, cell.value as i64);
                out.byte(b'i');
            }
            (BOOL, ColumnType::Boolean) => out.byte(if cell.value == 0 { b'f' } else { b't' }),
            (TEXT, ColumnType::Varchar) => line::push_string(out, self.text(cell)),
            _ => {
                let bytes = self.rows.pointed(cell);
                out.lend(|out| value::push_field(out, cell, bytes, column.kind, self.version))
                    .map_err(|shown| self.misfit(cell, &shown))?;
            }
        }
        Ok(())
    }

    #[cold]
    fn misfit(&self, cell: &Cell, shown: &str) -> Unwritten {
        let refused = self.target.misfit(cell, self.rows.pointed(cell), shown);
        Unwritten::Misfit(cell.column, refused)
    }

    /// Refuses a row with another value for the same column: the database would take the first
    /// one and say nothing.
    #[inline]
    fn is_first(&self, column: &Column, before: &[Cell], cell: &Cell) -> Result<(), Refused> {
        match column.shared && self.target.stands_before(before, cell.column) {
            true => Err(self.target.two_fields(cell.column)),
            false => Ok(()),
        }
    }

    fn text(&self, cell: &Cell) -> Text<'_> {
        Text::first(&self.rows.arena[cell.value as usize..], cell.len as usize)
    }
}

#[inline]
pub fn is_text(cell: &Cell) -> bool {
    cell.kind == Kind::Text as u8 || cell.kind == Kind::Symbol as u8
}
