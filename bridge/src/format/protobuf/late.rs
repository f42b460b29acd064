//! What a plan notes while it walks is read here, at a record's end: lists, maps, messages that
//! have a meaning, and those that hold themselves.

use bridge_abi::{Cell, DECIMAL_BYTES_MAX, DECIMAL_SCALE_MAX, Kind, Unit, build};
use simd_json::Node;

use super::gather::Pieces;
use super::model::{Field, Form, Message, Rule};
use super::plan::{ABSENT, Late, is_number};
use super::walk::{At, CELLS_MAX, Walk, unsigned};
use super::wire::{Bad, DEPTH_MAX, Value};
use crate::format::Refused;
use crate::format::avro::unscaled;
use crate::format::json::cell as json_cell;
use crate::schemas::proto::{Of, Scalar};

/// The years 1 to 9999, as Protobuf bounds them.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// 10,000 years, as Protobuf bounds durations.
const DURATION_SECONDS_MAX: i64 = 315_576_000_000;
const NANOS: i64 = 1_000_000_000;

impl<'a> Walk<'a, '_> {
    /// Reads all that was noted.
    pub(super) fn finish(&mut self) -> Result<(), At> {
        if self.gave_up() {
            let mut pieces = std::mem::take(&mut self.scratch.pieces);
            pieces.retain(|piece| self.counts(piece));
            self.scratch.pieces = pieces;
        }
        let noted = &self.scratch.pieces;
        if !noted.is_sorted_by_key(|piece| piece.order) {
            self.sort(0);
        }
        let (mut from, end) = (0, self.scratch.pieces.len());
        while from < end {
            let slot = self.scratch.pieces[from].order;
            let same = self.scratch.pieces[from..end].iter();
            let to = from + same.take_while(|piece| piece.order == slot).count();
            self.slot(usize::from(slot), Pieces { from, to })?;
            self.scratch.pieces.truncate(end);
            from = to;
        }
        Ok(())
    }

    fn slot(&mut self, slot: usize, pieces: Pieces) -> Result<(), At> {
        let plan = self.plan;
        let cell = match &plan.late[slot] {
            Late::Never => None,
            Late::Cell { column, message, field } => {
                let field = &plan.model.messages[*message].fields[*field];
                Some(self.cell_of(*column, field, pieces).map_err(|at| at.column(*column))?)
            }
            Late::Known { column, message } => {
                let message = &plan.model.messages[*message];
                self.known(*column, message, pieces).map_err(|at| at.column(*column))?
            }
            Late::Json { column, path, message } => {
                let message = &plan.model.messages[*message];
                self.as_json(*column, path, message, pieces).map_err(|at| at.column(*column))?
            }
            Late::Map { path, entry } => {
                self.scratch.paths.begin(path);
                let below = self.map(&plan.model.messages[*entry], pieces, 0);
                below.map_err(|at| self.placed(at))?;
                None
            }
        };
        let absent = Cell { kind: ABSENT, ..Cell::default() };
        self.rows.cells[self.start + slot] = cell.unwrap_or(absent);
        Ok(())
    }

    /// The cell of a list, or of a message as JSON.
    pub(super) fn cell_of(
        &mut self,
        column: u16,
        field: &'a Field,
        pieces: Pieces,
    ) -> Result<Cell, At> {
        match field.of {
            Of::Scalar(scalar) if field.rule == Rule::Repeated && is_number(field.of) => {
                self.numbers(column, scalar, pieces)
            }
            _ => {
                let at = self.rows.arena.len();
                self.json_field(field, pieces, 0)?;
                Ok(self.text_cell(column, at))
            }
        }
    }

    /// A cell of the text from `at` on.
    pub(super) fn text_cell(&self, column: u16, at: usize) -> Cell {
        let len = (self.rows.arena.len() - at) as u32;
        Cell { column, kind: Kind::Text as u8, flags: 0, len, value: at as u64 }
    }

    /// An array of doubles.
    fn numbers(&mut self, column: u16, scalar: Scalar, pieces: Pieces) -> Result<Cell, At> {
        const HEAD: usize = 8;
        let at = build::align8(self.rows.arena.len());
        self.rows.arena.resize(at + HEAD, 0);
        self.each_number(scalar, pieces, |this, value| {
            this.rows.arena.extend_from_slice(&value.number().to_le_bytes());
            Ok(())
        })?;
        let arena = &mut self.rows.arena;
        // Each has a byte of the value at least: they fit.
        let count = ((arena.len() - at - HEAD) / 8) as u32;
        arena[at..at + 4].copy_from_slice(&1_u32.to_le_bytes());
        arena[at + 4..at + HEAD].copy_from_slice(&count.to_le_bytes());
        let len = (arena.len() - at) as u32;
        Ok(Cell { column, kind: Kind::Array as u8, flags: 0, len, value: at as u64 })
    }

    /// The cell of a scalar.
    pub(super) fn scalar_cell(&mut self, column: u16, value: Value<'_>) -> Cell {
        let plain =
            |kind: Kind, value: u64| Cell { column, kind: kind as u8, flags: 0, len: 0, value };
        match value {
            Value::Bool(value) => plain(Kind::Bool, u64::from(value)),
            Value::I64(value) => plain(Kind::I64, value as u64),
            Value::U64(value) => unsigned(column, value),
            Value::F32(value) => plain(Kind::F64, f64::from(value).to_bits()),
            Value::F64(value) => plain(Kind::F64, value.to_bits()),
            Value::Text(text) => self.rows.cell_bytes(column, Kind::Text, 0, text.as_bytes()),
            Value::Bytes(bytes) => self.rows.cell_bytes(column, Kind::Bytes, 0, bytes),
        }
    }

    /// The cell of a message that has a meaning; what is no object is none here.
    pub(super) fn known(
        &mut self,
        column: u16,
        message: &'a Message,
        body: Pieces,
    ) -> Result<Option<Cell>, At> {
        let plain = |kind: Kind, flags: u8, value: i64| Cell {
            column,
            kind: kind as u8,
            flags,
            len: 0,
            value: value as u64,
        };
        Ok(Some(match message.form {
            Form::Timestamp => {
                let (seconds, nanos) = self.moment(message, body)?;
                match seconds.checked_mul(NANOS).and_then(|whole| whole.checked_add(nanos)) {
                    Some(value) => plain(Kind::Timestamp, Unit::Nanos as u8, value),
                    // Beyond the years 1677 to 2262.
                    None => {
                        let value = seconds * 1_000_000 + nanos / 1_000;
                        plain(Kind::Timestamp, Unit::Micros as u8, value)
                    }
                }
            }
            Form::Duration if !self.plan.model.say.duration_text => {
                let (seconds, nanos) = self.duration(message, body)?;
                let value = i128::from(seconds) * i128::from(NANOS) + i128::from(nanos);
                let value =
                    i64::try_from(value).map_err(|_| self.at_body(Bad::LongDuration, body))?;
                plain(Kind::I64, 0, value)
            }
            Form::Date => {
                let date = self.date(message, body)?;
                let days = date.since((jiff::Unit::Day, jiff::civil::date(1970, 1, 1)));
                let days = days.map_err(|_| self.at_body(Bad::Date, body))?.get_days();
                plain(Kind::Timestamp, Unit::Seconds as u8, i64::from(days) * 86_400)
            }
            Form::Empty => {
                // What nobody knows is looked at all the same.
                let base = self.gather(message, body)?;
                self.scratch.pieces.truncate(base);
                plain(Kind::Bool, 0, 1)
            }
            Form::Wrapper => {
                let value = self.wrapped(message, body)?;
                self.scalar_cell(column, value)
            }
            Form::Decimal => {
                let (bytes, scale) = self.decimal(message, body)?;
                self.rows.cell_bytes(column, Kind::Decimal, scale, bytes)
            }
            Form::Mask | Form::Duration => {
                let at = self.rows.arena.len();
                match message.form {
                    Form::Mask => self.mask(message, body)?,
                    _ => self.push_duration(message, body)?,
                }
                self.text_cell(column, at)
            }
            Form::Plain | Form::Any | Form::Struct | Form::Value | Form::List => {
                let at = self.rows.arena.len();
                self.json_message(message, body, 0)?;
                self.text_cell(column, at)
            }
        }))
    }

    /// A message that is JSON is read as the format `json` reads it: its object's columns are
    /// appended, and what is no object is one cell.
    pub(super) fn as_json(
        &mut self,
        column: u16,
        path: &str,
        message: &'a Message,
        body: Pieces,
    ) -> Result<Option<Cell>, At> {
        let at = self.rows.arena.len();
        self.json_message(message, body, 0)?;
        let scratch = &mut *self.scratch;
        scratch.text.clear();
        scratch.text.extend_from_slice(&self.rows.arena[at..]);
        self.rows.arena.truncate(at);
        let (rows, flattener) = (&mut *self.rows, &mut scratch.flattener);
        let mut single = None;
        let read = scratch.parser.parse(&scratch.text, DEPTH_MAX, |tape| {
            match tape.first() {
                Some(Node::Object { .. }) => flattener.object_below(path, tape, rows)?,
                Some(_) => single = Some(json_cell(tape, 0, column, rows)),
                None => {}
            }
            Ok(())
        });
        // It was written here: what is wrong is that there is too much of it.
        read.map_err(|_: Refused| self.at_body(Bad::TooManyFields(CELLS_MAX), body))?;
        if self.rows.cells.len() - self.start > CELLS_MAX + self.plan.late.len() {
            return Err(self.at_body(Bad::TooManyFields(CELLS_MAX), body));
        }
        Ok(single)
    }

    /// What is wrong with a message.
    #[cold]
    fn at_body(&self, bad: Bad, body: Pieces) -> At {
        match self.scratch.pieces.get(body.from) {
            Some(piece) => self.at_piece(bad, piece),
            None => bad.into(),
        }
    }

    /// The numbers of a message whose first fields are whole: field 1 and those behind it.
    fn whole<const N: usize>(
        &mut self,
        message: &'a Message,
        body: Pieces,
    ) -> Result<[i64; N], At> {
        let base = self.gather(message, body)?;
        let mut numbers = [0; N];
        let (mut from, end) = (base, self.scratch.pieces.len());
        while from < end {
            let (field, pieces, next) = self.next_field(from);
            let field = &message.fields[usize::from(field)];
            if let Of::Scalar(scalar) = field.of
                && let Some(Value::I64(value)) = self.last_scalar(scalar, pieces)?
                && let Some(number) = numbers.get_mut(field.number as usize - 1)
            {
                *number = value;
            }
            from = next;
        }
        self.scratch.pieces.truncate(base);
        Ok(numbers)
    }

    /// Seconds and nanoseconds of a timestamp.
    pub(super) fn moment(&mut self, message: &'a Message, body: Pieces) -> Result<(i64, i64), At> {
        let [seconds, nanos] = self.whole(message, body)?;
        match SECONDS.contains(&seconds) && (0..NANOS).contains(&nanos) {
            true => Ok((seconds, nanos)),
            false => Err(self.at_body(Bad::Timestamp, body)),
        }
    }

    /// The same of a duration: both have the same sign.
    fn duration(&mut self, message: &'a Message, body: Pieces) -> Result<(i64, i64), At> {
        let [seconds, nanos] = self.whole(message, body)?;
        let bounded = seconds.unsigned_abs() <= DURATION_SECONDS_MAX.unsigned_abs()
            && nanos.unsigned_abs() < NANOS.unsigned_abs();
        match bounded && seconds.signum() * nanos.signum() >= 0 {
            true => Ok((seconds, nanos)),
            false => Err(self.at_body(Bad::Duration, body)),
        }
    }

    /// Appends a duration: `1.500s`.
    pub(super) fn push_duration(&mut self, message: &'a Message, body: Pieces) -> Result<(), At> {
        let (seconds, nanos) = self.duration(message, body)?;
        let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
        let (seconds, nanos) = (seconds.unsigned_abs(), nanos.unsigned_abs());
        let out = &mut self.rows.arena;
        use std::io::Write as _;
        let written = match nanos {
            0 => write!(out, "{sign}{seconds}s"),
            _ if nanos % 1_000_000 == 0 => write!(out, "{sign}{seconds}.{:03}s", nanos / 1_000_000),
            _ if nanos % 1_000 == 0 => write!(out, "{sign}{seconds}.{:06}s", nanos / 1_000),
            _ => write!(out, "{sign}{seconds}.{nanos:09}s"),
        };
        written.expect("a vector takes any bytes");
        Ok(())
    }

    /// A whole date.
    pub(super) fn date(
        &mut self,
        message: &'a Message,
        body: Pieces,
    ) -> Result<jiff::civil::Date, At> {
        let [year, month, day] = self.whole(message, body)?;
        let date = || {
            let year = i16::try_from(year).ok().filter(|year| *year > 0)?;
            jiff::civil::Date::new(year, month.try_into().ok()?, day.try_into().ok()?).ok()
        };
        date().ok_or_else(|| self.at_body(Bad::Date, body))
    }

    /// The value in a wrapper.
    pub(super) fn wrapped(&mut self, message: &'a Message, body: Pieces) -> Result<Value<'a>, At> {
        let base = self.gather(message, body)?;
        let Of::Scalar(scalar) = message.fields[0].of else {
            return Err(self.at_body(Bad::Form(super::wire::LENGTH), body));
        };
        let pieces = Pieces { from: base, to: self.scratch.pieces.len() };
        let value = self.last_scalar(scalar, pieces)?;
        self.scratch.pieces.truncate(base);
        Ok(value.unwrap_or_else(|| self.plan.model.empty(scalar)))
    }

    /// The unscaled number of a decimal, as short as it can be, and its scale.
    pub(super) fn decimal(
        &mut self,
        message: &'a Message,
        body: Pieces,
    ) -> Result<(&'a [u8], u8), At> {
        let base = self.gather(message, body)?;
        let (mut bytes, mut scale) = (&[][..], 0);
        let (mut from, end) = (base, self.scratch.pieces.len());
        while from < end {
            let (field, pieces, next) = self.next_field(from);
            let field = &message.fields[usize::from(field)];
            if let Of::Scalar(scalar) = field.of {
                match (field.number, self.last_scalar(scalar, pieces)?) {
                    (1, Some(Value::Bytes(value))) => bytes = value,
                    (3, Some(Value::I64(value))) => scale = value,
                    _ => {}
                }
            }
            from = next;
        }
        self.scratch.pieces.truncate(base);
        let places = u8::try_from(scale).ok().filter(|places| *places <= DECIMAL_SCALE_MAX);
        let places = places.ok_or_else(|| self.at_body(Bad::Scale(scale), body))?;
        let unscaled = unscaled(bytes);
        if unscaled.len() > DECIMAL_BYTES_MAX {
            return Err(self.at_body(Bad::TooWide, body));
        }
        Ok((unscaled, places))
    }

    /// Appends the paths of a mask, with commas between.
    pub(super) fn mask(&mut self, message: &'a Message, body: Pieces) -> Result<(), At> {
        let base = self.gather(message, body)?;
        for at in base..self.scratch.pieces.len() {
            let pieces = Pieces { from: at, to: at + 1 };
            if let Some(Value::Text(path)) = self.last_scalar(Scalar::String, pieces)? {
                if at > base {
                    self.rows.arena.push(b',');
                }
                self.rows.arena.extend_from_slice(path.as_bytes());
            }
        }
        self.scratch.pieces.truncate(base);
        Ok(())
    }
}
