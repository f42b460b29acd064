//! Maps become columns as messages do, but under names that only the data knows.

use bridge_abi::{Cell, Kind};

use super::gather::{Key, Pieces};
use super::model::{Absent, Field, Form, Message, Rule};
use super::walk::{At, CELLS_MAX, Walk};
use super::wire::{Bad, DEPTH_MAX, LENGTH, Value};
use crate::format::flat::Place;
use crate::schemas::proto::Of;

impl<'a> Walk<'a, '_> {
    /// The entries of a map, whose path ends where their keys begin.
    pub(super) fn map(
        &mut self,
        entry: &'a Message,
        pieces: Pieces,
        depth: usize,
    ) -> Result<(), At> {
        if depth > DEPTH_MAX {
            return Err(Bad::TooDeep.into());
        }
        let noted = self.scratch.pieces.len();
        let entries = self.entries(entry, pieces)?;
        for index in entries.clone() {
            let one = self.scratch.entries[index];
            let outer = self.scratch.paths.path.len();
            let named = match one.key {
                Key::Text(start, end) => {
                    let text = self.text_of(start, end);
                    self.scratch.paths.append(text)
                }
                Key::Bool(value) => self.scratch.paths.append(if value { "true" } else { "false" }),
                Key::I64(value) => self.scratch.paths.append(itoa::Buffer::new().format(value)),
                Key::U64(value) => self.scratch.paths.append(itoa::Buffer::new().format(value)),
            };
            named.map_err(Bad::from)?;
            self.single(&entry.fields[1], one.value, depth)?;
            self.scratch.paths.path.truncate(outer);
        }
        self.scratch.entries.truncate(entries.start);
        self.scratch.pieces.truncate(noted);
        Ok(())
    }

    /// Where it was when it went wrong.
    #[cold]
    pub(super) fn placed(&self, at: At) -> At {
        match at.place {
            Place::Value => At { place: self.scratch.paths.place(), ..at },
            _ => at,
        }
    }

    /// A value that is there once, at the path.
    fn single(&mut self, field: &'a Field, pieces: Pieces, depth: usize) -> Result<(), At> {
        let model = &self.plan.model;
        let cell = match field.of {
            Of::Scalar(scalar) => {
                let value = self.last_scalar(scalar, pieces)?;
                let column = self.column()?;
                self.scalar_cell(column, value.unwrap_or_else(|| model.empty(scalar)))
            }
            Of::Enum(at) => {
                let number = self.last_enum(pieces)?.unwrap_or(model.enums[at].default);
                let column = self.column()?;
                self.enum_cell(column, at, number)
            }
            Of::Message(at) | Of::Group(at) => {
                let message = &model.messages[at];
                return self.message_below(message, pieces, depth + 1);
            }
        };
        self.push(cell)
    }

    /// A message at the path.
    fn message_below(
        &mut self,
        message: &'a Message,
        body: Pieces,
        depth: usize,
    ) -> Result<(), At> {
        if depth > DEPTH_MAX {
            return Err(Bad::TooDeep.into());
        }
        match message.form {
            Form::Plain => self.fields_below(message, body, depth),
            Form::Struct | Form::Value | Form::List => {
                let column = self.column()?;
                let outer = self.scratch.paths.path.len();
                self.scratch.paths.enter("").map_err(Bad::from)?;
                let path = std::mem::take(&mut self.scratch.paths.path);
                let cell = self.as_json(column, &path, message, body);
                self.scratch.paths.path = path;
                self.scratch.paths.path.truncate(outer);
                cell?.map_or(Ok(()), |cell| self.push(cell))
            }
            _ => {
                let column = self.column()?;
                match self.known(column, message, body)? {
                    Some(cell) => self.push(cell),
                    None => Ok(()),
                }
            }
        }
    }

    /// The fields of a message that are there, and those that are told anyway.
    fn fields_below(&mut self, message: &'a Message, body: Pieces, depth: usize) -> Result<(), At> {
        let base = self.gather(message, body)?;
        let (mut from, end) = (base, self.scratch.pieces.len());
        let mut told = message.defaulted.iter().copied().peekable();
        while from < end {
            let (at, pieces, next) = self.next_field(from);
            let order = message.fields[usize::from(at)].order;
            while let Some(absent) = told.next_if(|absent| *absent < order) {
                self.absent_below(&message.fields[usize::from(absent)])?;
            }
            told.next_if_eq(&at);
            let field = &message.fields[usize::from(at)];
            let outer = self.scratch.paths.path.len();
            self.scratch.paths.enter(&field.name).map_err(Bad::from)?;
            self.field_below(field, pieces, depth)?;
            self.scratch.paths.path.truncate(outer);
            self.scratch.pieces.truncate(end);
            from = next;
        }
        for absent in told {
            self.absent_below(&message.fields[usize::from(absent)])?;
        }
        self.scratch.pieces.truncate(base);
        Ok(())
    }

    fn field_below(&mut self, field: &'a Field, pieces: Pieces, depth: usize) -> Result<(), At> {
        match (field.rule, field.of) {
            (Rule::Single, _) => self.single(field, pieces, depth),
            (Rule::Map, Of::Message(at)) => {
                self.scratch.paths.enter("").map_err(Bad::from)?;
                self.map(&self.plan.model.messages[at], pieces, depth + 1)
            }
            (Rule::Map, _) => Err(Bad::Form(LENGTH).into()),
            (Rule::Repeated, _) => {
                let column = self.column()?;
                let cell = self.cell_of(column, field, pieces)?;
                self.push(cell)
            }
        }
    }

    /// What a field is that is not there.
    fn absent_below(&mut self, field: &'a Field) -> Result<(), At> {
        let Some(absent) = &field.default else { return Ok(()) };
        if field.rule == Rule::Map {
            return Ok(());
        }
        let outer = self.scratch.paths.path.len();
        self.scratch.paths.enter(&field.name).map_err(Bad::from)?;
        let column = self.column()?;
        let model = &self.plan.model;
        let value = match absent {
            Absent::Bool(value) => Value::Bool(*value),
            Absent::I64(value) => Value::I64(*value),
            Absent::U64(value) => Value::U64(*value),
            Absent::F32(value) => Value::F32(*value),
            Absent::F64(value) => Value::F64(*value),
            Absent::Text(range) => Value::Text(model.text(range)),
            Absent::Bytes(range) => Value::Bytes(model.constant(range)),
            Absent::Enum(_) | Absent::None => Value::Bool(false),
        };
        let cell = match (absent, field.of) {
            (Absent::Enum(number), Of::Enum(at)) => self.enum_cell(column, at, *number),
            (Absent::None, _) => self.cell_of(column, field, Pieces { from: 0, to: 0 })?,
            _ => self.scalar_cell(column, value),
        };
        self.push(cell)?;
        self.scratch.paths.path.truncate(outer);
        Ok(())
    }

    fn enum_cell(&mut self, column: u16, at: usize, number: i32) -> Cell {
        let model = &self.plan.model;
        match model.enums[at].name(number) {
            Some(name) if !model.say.enum_numbers => {
                self.rows.cell_bytes(column, Kind::Symbol, 0, model.constant(&name))
            }
            _ => self.number_of_enum(column, number),
        }
    }

    /// The number of the column at the path.
    fn column(&mut self) -> Result<u16, Bad> {
        self.scratch.paths.column().map_err(Bad::from)
    }

    /// Adds a cell: how many there will be, nobody knows before.
    fn push(&mut self, cell: Cell) -> Result<(), At> {
        if self.rows.cells.len() - self.start >= CELLS_MAX + self.plan.late.len() {
            return Err(Bad::TooManyFields(CELLS_MAX).into());
        }
        if self.rows.arena.len() > self.arena_max {
            return Err(Bad::TooMuchText.into());
        }
        self.rows.cells.push(cell);
        Ok(())
    }
}
