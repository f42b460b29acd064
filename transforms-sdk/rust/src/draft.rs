//! A patch or a row while its columns are set, one after the other. It only counts when it is
//! `done()`: one that is dropped before rejects its record, so that forgetting it loses nothing.

use std::fmt::{Display, Write};
use std::mem::ManuallyDrop;

use bridge_abi::{ActionKind, CELL_DROP, Cell, Kind, Unit, Value, build};

use crate::init::{Column, Table};
use crate::output::{Output, Tail};
use crate::record::Record;

/// A patch or a row that is being made; from [`Output::patch`] and [`Output::row`].
#[must_use = "finish it with `done()`, else its record is rejected"]
#[derive(Debug)]
pub struct Draft<'o> {
    out: &'o mut Output,
    kind: ActionKind,
    table: u16,
    /// Its first cell.
    first: usize,
    /// The highest column so far: what is above it was not set before.
    highest: u16,
}

impl<'o> Draft<'o> {
    #[inline]
    pub(crate) fn new(out: &'o mut Output, kind: ActionKind) -> Draft<'o> {
        let first = out.cells.len();
        Draft { out, kind, table: 0, first, highest: 0 }
    }

    /// Says it. Setting a column twice counts the second time.
    #[inline]
    pub fn done(self) {
        let mut draft = ManuallyDrop::new(self);
        let (kind, table, first) = (draft.kind, draft.table, draft.first);
        let len = draft.out.cells.len() - first;
        draft.out.act(kind, table, first, len);
    }

    /// Takes it back, as if it had not been begun.
    pub fn cancel(self) {
        let mut draft = ManuallyDrop::new(self);
        let first = draft.first;
        // Made texts stay behind in the buffer until the batch is done; nothing points to them.
        draft.out.cells.truncate(first);
    }

    /// Goes to this table.
    #[inline]
    pub fn table(mut self, table: Table) -> Self {
        self.table = table.0;
        self
    }

    /// Takes over all columns of the record that came along (see
    /// [`crate::Init::want_all_columns`]). No bytes are copied but the cells.
    #[inline]
    pub fn copy(self, record: &Record) -> Self {
        self.copy_if(record, |_| true)
    }

    /// Takes over the columns of the record that pass.
    #[inline]
    pub fn copy_if(mut self, record: &Record, mut pass: impl FnMut(Column) -> bool) -> Self {
        for cell in record.cells() {
            if pass(Column(cell.column)) {
                self.put(cell);
            }
        }
        self
    }

    /// Sets a column to a number.
    #[inline]
    pub fn set_f64(self, column: Column, value: f64) -> Self {
        self.scalar(column, Kind::F64, 0, value.to_bits())
    }

    /// Sets a column to an integer.
    #[inline]
    pub fn set_i64(self, column: Column, value: i64) -> Self {
        self.scalar(column, Kind::I64, 0, value as u64)
    }

    /// Sets a column to true or false.
    #[inline]
    pub fn set_bool(self, column: Column, value: bool) -> Self {
        self.scalar(column, Kind::Bool, 0, u64::from(value))
    }

    /// Sets a column to a time since 1970.
    #[inline]
    pub fn set_timestamp(self, column: Column, since_1970: i64, unit: Unit) -> Self {
        self.scalar(column, Kind::Timestamp, unit as u8, since_1970 as u64)
    }

    /// Sets a column to null.
    #[inline]
    pub fn set_null(self, column: Column) -> Self {
        self.scalar(column, Kind::Null, 0, 0)
    }

    /// Sets a column to text. Text that is a part of the record is not copied.
    #[inline]
    pub fn set_text(self, column: Column, text: &str) -> Self {
        self.pointing(column, Kind::Text, 0, text.as_bytes())
    }

    /// Sets a column to text with few distinct values.
    #[inline]
    pub fn set_symbol(self, column: Column, text: &str) -> Self {
        self.pointing(column, Kind::Symbol, 0, text.as_bytes())
    }

    /// Sets a column to formatted text, without an allocation of its own:
    /// `set_format(column, format_args!("{a}-{b}"))`.
    pub fn set_format(mut self, column: Column, text: impl Display) -> Self {
        let (value, len) = self.out.point_to(|bytes| {
            // As in `reject`: a `Display` that fails leaves the text cut short.
            let _ = write!(Tail(bytes), "{text}");
        });
        self.put(Cell { column: column.0, kind: Kind::Text as u8, flags: 0, len, value });
        self
    }

    /// Sets a column to bytes.
    pub fn set_bytes(self, column: Column, bytes: &[u8]) -> Self {
        self.pointing(column, Kind::Bytes, 0, bytes)
    }

    /// Sets a column to `unscaled` (big-endian two's complement, 1 to 32 bytes) times ten to the
    /// power of `-scale` (to 76).
    pub fn set_decimal(self, column: Column, unscaled: &[u8], scale: u8) -> Self {
        self.pointing(column, Kind::Decimal, scale, unscaled)
    }

    /// Sets a column to an array of one dimension.
    pub fn set_array(self, column: Column, values: &[f64]) -> Self {
        self.set_shaped(column, &[values.len() as u32], values)
    }

    /// Sets a column to an array of these dimensions, in row-major order. Where the number of
    /// values is not the shape's product the record is rejected.
    pub fn set_shaped(mut self, column: Column, shape: &[u32], values: &[f64]) -> Self {
        let head = build::align8(4 + 4 * shape.len());
        let bytes = build::array_bytes(shape).filter(|_| !shape.is_empty()).unwrap_or(0);
        if bytes != head + values.len() * 8 {
            self.out.reject(format_args!("{} values in an array of {shape:?}", values.len()));
            return self;
        }
        let (value, len) = self.out.point_to(|tail| {
            let at = tail.len();
            tail.resize(at + bytes, 0);
            build::write_array(tail, at, shape, values.iter().copied())
                .expect("the room was made and the values counted");
        });
        self.put(Cell { column: column.0, kind: Kind::Array as u8, flags: 0, len, value });
        self
    }

    /// Sets a column to whatever another one held.
    pub fn set(self, column: Column, value: Value) -> Self {
        match value {
            Value::Null => self.set_null(column),
            Value::Drop => self.drop(column),
            Value::Bool(value) => self.set_bool(column, value),
            Value::I64(value) => self.set_i64(column, value),
            Value::F64(value) => self.set_f64(column, value),
            Value::Text(text) => self.set_text(column, text),
            Value::Symbol(text) => self.set_symbol(column, text),
            Value::Timestamp(since_1970, unit) => self.set_timestamp(column, since_1970, unit),
            Value::Bytes(bytes) => self.set_bytes(column, bytes),
            Value::Decimal { scale, unscaled } => self.set_decimal(column, unscaled, scale),
            Value::Array(array) => self.pointing(column, Kind::Array, 0, array.bytes()),
        }
    }

    /// Leaves a column out, as if the record had never had it.
    pub fn drop(self, column: Column) -> Self {
        if self.kind == ActionKind::Patch {
            return self.scalar(column, Kind::Null, CELL_DROP, 0);
        }
        let set = self.out.cells[self.first..].iter().position(|cell| cell.column == column.0);
        if let Some(at) = set {
            self.out.cells.remove(self.first + at);
        }
        self
    }

    #[inline]
    fn scalar(mut self, column: Column, kind: Kind, flags: u8, value: u64) -> Self {
        self.put(Cell { column: column.0, kind: kind as u8, flags, len: 0, value });
        self
    }

    #[inline]
    fn pointing(mut self, column: Column, kind: Kind, flags: u8, bytes: &[u8]) -> Self {
        let value = self.out.point(bytes);
        let len = bytes.len() as u32;
        self.put(Cell { column: column.0, kind: kind as u8, flags, len, value });
        self
    }

    /// Adds a cell, or replaces the one that its column has: the host refuses a column that
    /// stands twice in a row.
    #[inline]
    fn put(&mut self, cell: Cell) {
        if cell.column > self.highest {
            self.highest = cell.column;
            self.out.cells.push(cell);
            return;
        }
        let cells = &mut self.out.cells[self.first..];
        match cells.iter_mut().find(|set| set.column == cell.column) {
            Some(set) => *set = cell,
            None => self.out.cells.push(cell),
        }
    }
}

impl Drop for Draft<'_> {
    #[cold]
    fn drop(&mut self) {
        self.out.cells.truncate(self.first);
        self.out.reject("the transform began a patch or a row and did not finish it");
    }
}
