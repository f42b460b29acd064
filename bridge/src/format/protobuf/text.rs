//! What has no column of its own, as JSON: fields by the names of the text, in its order; numbers
//! as numbers, all their digits; enums, timestamps and the like as Protobuf's own JSON has them
//! (protobuf.dev, "ProtoJSON Format").

use super::gather::{Key, Pieces};
use super::model::{Absent, Field, Form, Message, Rule};
use super::plan::is_number;
use super::walk::{At, Walk};
use super::wire::{Bad, DEPTH_MAX, LENGTH, Value};
use crate::format::avro::push_decimal;
use crate::format::print::{
    push_base64, push_moment, push_number, push_string, push_whole, separate,
};
use crate::schemas::proto::{Of, Scalar};

impl<'a> Walk<'a, '_> {
    /// Appends a message.
    pub(super) fn json_message(
        &mut self,
        message: &'a Message,
        body: Pieces,
        depth: usize,
    ) -> Result<(), At> {
        if depth > DEPTH_MAX {
            return Err(Bad::TooDeep.into());
        }
        self.room()?;
        match message.form {
            Form::Plain | Form::Empty => {
                self.rows.arena.push(b'{');
                let mut first = true;
                self.json_fields(message, body, &mut first, depth)?;
                self.rows.arena.push(b'}');
            }
            Form::Timestamp => {
                let (seconds, nanos) = self.moment(message, body)?;
                // The bounds that were looked at are far within the library's.
                let moment = jiff::Timestamp::new(seconds, nanos as i32);
                push_moment(&mut self.rows.arena, moment.map_err(|_| Bad::Timestamp)?);
            }
            Form::Duration | Form::Mask => {
                let at = self.rows.arena.len();
                match message.form {
                    Form::Duration => self.push_duration(message, body)?,
                    _ => self.mask(message, body)?,
                }
                // A mask's paths may be any text.
                let mut text = std::mem::take(&mut self.scratch.text);
                text.clear();
                text.extend_from_slice(&self.rows.arena[at..]);
                self.rows.arena.truncate(at);
                push_string(&mut self.rows.arena, std::str::from_utf8(&text).unwrap_or_default());
                self.scratch.text = text;
            }
            Form::Date => {
                let date = self.date(message, body)?;
                use std::io::Write as _;
                write!(self.rows.arena, "\"{date}\"").expect("a vector takes any bytes");
            }
            Form::Decimal => {
                let (bytes, scale) = self.decimal(message, body)?;
                push_decimal(&mut self.rows.arena, bytes, scale);
            }
            Form::Wrapper => {
                let value = self.wrapped(message, body)?;
                self.json_scalar(value);
            }
            Form::Struct => self.json_inner(message, body, b"{}", depth)?,
            Form::List => self.json_inner(message, body, b"[]", depth)?,
            Form::Value => self.json_value(message, body, depth)?,
            Form::Any => self.json_any(message, body, depth)?,
        }
        Ok(())
    }

    /// Refuses to write without end.
    fn room(&self) -> Result<(), Bad> {
        if self.rows.arena.len() > self.arena_max { Err(Bad::TooMuchText) } else { Ok(()) }
    }

    /// Appends the fields of a message that are there, and those that are told anyway.
    fn json_fields(
        &mut self,
        message: &'a Message,
        body: Pieces,
        first: &mut bool,
        depth: usize,
    ) -> Result<(), At> {
        let base = self.gather(message, body)?;
        let (mut from, end) = (base, self.scratch.pieces.len());
        let mut told = message.defaulted.iter().copied().peekable();
        while from < end {
            let (at, pieces, next) = self.next_field(from);
            let order = message.fields[usize::from(at)].order;
            while let Some(absent) = told.next_if(|absent| *absent < order) {
                self.json_absent(&message.fields[usize::from(absent)], first)?;
            }
            told.next_if_eq(&at);
            let field = &message.fields[usize::from(at)];
            self.json_name(&field.name, first)?;
            self.json_field(field, pieces, depth + 1)?;
            self.scratch.pieces.truncate(end);
            from = next;
        }
        for absent in told {
            self.json_absent(&message.fields[usize::from(absent)], first)?;
        }
        self.scratch.pieces.truncate(base);
        Ok(())
    }

    fn json_name(&mut self, name: &str, first: &mut bool) -> Result<(), At> {
        self.room()?;
        separate(&mut self.rows.arena, first);
        push_string(&mut self.rows.arena, name);
        self.rows.arena.push(b':');
        Ok(())
    }

    fn json_absent(&mut self, field: &'a Field, first: &mut bool) -> Result<(), At> {
        let Some(absent) = &field.default else { return Ok(()) };
        self.json_name(&field.name, first)?;
        let model = &self.plan.model;
        let value = match absent {
            Absent::Bool(value) => Value::Bool(*value),
            Absent::I64(value) => Value::I64(*value),
            Absent::U64(value) => Value::U64(*value),
            Absent::F32(value) => Value::F32(*value),
            Absent::F64(value) => Value::F64(*value),
            Absent::Text(range) => Value::Text(model.text(range)),
            Absent::Bytes(range) => Value::Bytes(model.constant(range)),
            Absent::Enum(number) => {
                self.json_enum(field, *number);
                return Ok(());
            }
            Absent::None => {
                let empty = if field.rule == Rule::Map { b"{}" } else { b"[]" };
                self.rows.arena.extend_from_slice(empty);
                return Ok(());
            }
        };
        self.json_scalar(value);
        Ok(())
    }

    /// Appends what a field is.
    pub(super) fn json_field(
        &mut self,
        field: &'a Field,
        pieces: Pieces,
        depth: usize,
    ) -> Result<(), At> {
        match field.rule {
            Rule::Single => self.json_single(field, pieces, depth),
            Rule::Repeated => {
                self.rows.arena.push(b'[');
                self.json_items(field, pieces, depth)?;
                self.rows.arena.push(b']');
                Ok(())
            }
            Rule::Map => self.json_map(field, pieces, depth),
        }
    }

    /// A field that is there once; without pieces it is its type's default.
    fn json_single(&mut self, field: &'a Field, pieces: Pieces, depth: usize) -> Result<(), At> {
        let model = &self.plan.model;
        match field.of {
            Of::Scalar(scalar) => {
                let value = self.last_scalar(scalar, pieces)?;
                self.json_scalar(value.unwrap_or_else(|| model.empty(scalar)));
            }
            Of::Enum(at) => {
                let number = self.last_enum(pieces)?;
                self.json_enum(field, number.unwrap_or(model.enums[at].default));
            }
            Of::Message(at) | Of::Group(at) => {
                self.json_message(&model.messages[at], pieces, depth)?;
            }
        }
        Ok(())
    }

    fn json_items(&mut self, field: &'a Field, pieces: Pieces, depth: usize) -> Result<(), At> {
        let mut first = true;
        let scalar = match field.of {
            Of::Scalar(scalar) if is_number(field.of) || scalar == Scalar::Bool => Some(scalar),
            Of::Enum(_) => Some(Scalar::Int32),
            _ => None,
        };
        if let Some(scalar) = scalar {
            return self.each_number(scalar, pieces, |this, value| {
                this.room()?;
                separate(&mut this.rows.arena, &mut first);
                match (field.of, value) {
                    (Of::Enum(_), Value::I64(number)) => this.json_enum(field, number as i32),
                    _ => this.json_scalar(value),
                }
                Ok(())
            });
        }
        for at in pieces.from..pieces.to {
            self.room()?;
            separate(&mut self.rows.arena, &mut first);
            self.json_single(field, Pieces { from: at, to: at + 1 }, depth)?;
        }
        Ok(())
    }

    fn json_map(&mut self, field: &'a Field, pieces: Pieces, depth: usize) -> Result<(), At> {
        let Of::Message(at) = field.of else { return Err(Bad::Form(LENGTH).into()) };
        let (entry, noted) = (&self.plan.model.messages[at], self.scratch.pieces.len());
        let entries = self.entries(entry, pieces)?;
        let mut first = true;
        self.rows.arena.push(b'{');
        for index in entries.clone() {
            let one = self.scratch.entries[index];
            match one.key {
                Key::Text(start, end) => self.json_name(self.text_of(start, end), &mut first)?,
                Key::Bool(value) => {
                    self.json_name(if value { "true" } else { "false" }, &mut first)?;
                }
                Key::I64(value) => {
                    self.json_name(itoa::Buffer::new().format(value), &mut first)?;
                }
                Key::U64(value) => {
                    self.json_name(itoa::Buffer::new().format(value), &mut first)?;
                }
            }
            self.json_single(&entry.fields[1], one.value, depth)?;
        }
        self.rows.arena.push(b'}');
        self.scratch.entries.truncate(entries.start);
        self.scratch.pieces.truncate(noted);
        Ok(())
    }

    fn json_enum(&mut self, field: &Field, number: i32) {
        let model = &self.plan.model;
        let name = match field.of {
            Of::Enum(at) if !model.say.enum_numbers => model.enums[at].name(number),
            _ => None,
        };
        let out = &mut self.rows.arena;
        match name {
            Some(name) => push_string(out, model.text(&name)),
            None => push_whole(out, number),
        }
    }

    fn json_scalar(&mut self, value: Value<'_>) {
        let out = &mut self.rows.arena;
        match value {
            Value::Bool(true) => out.extend_from_slice(b"true"),
            Value::Bool(false) => out.extend_from_slice(b"false"),
            Value::I64(value) => push_whole(out, value),
            Value::U64(value) => push_whole(out, value),
            Value::F32(value) => push_number(out, value, value.is_finite()),
            Value::F64(value) => push_number(out, value, value.is_finite()),
            Value::Text(text) => push_string(out, text),
            Value::Bytes(bytes) => push_base64(out, bytes),
        }
    }

    /// A `Struct` is its entries, a `ListValue` its values.
    fn json_inner(
        &mut self,
        message: &'a Message,
        body: Pieces,
        brackets: &[u8; 2],
        depth: usize,
    ) -> Result<(), At> {
        let base = self.gather(message, body)?;
        let pieces = Pieces { from: base, to: self.scratch.pieces.len() };
        match brackets {
            b"{}" => self.json_map(&message.fields[0], pieces, depth + 1)?,
            _ => self.json_field(&message.fields[0], pieces, depth + 1)?,
        }
        self.scratch.pieces.truncate(base);
        Ok(())
    }

    /// A `Value` is what it holds; one that holds nothing is null.
    fn json_value(&mut self, message: &'a Message, body: Pieces, depth: usize) -> Result<(), At> {
        let base = self.gather(message, body)?;
        let held = (base < self.scratch.pieces.len()).then(|| self.next_field(base));
        match held {
            Some((at, pieces, _)) if message.fields[usize::from(at)].number > 1 => {
                self.json_single(&message.fields[usize::from(at)], pieces, depth + 1)?;
            }
            _ => self.rows.arena.extend_from_slice(b"null"),
        }
        self.scratch.pieces.truncate(base);
        Ok(())
    }

    /// An `Any` is its message with its type; one of a type that nobody knows has its bytes.
    fn json_any(&mut self, message: &'a Message, body: Pieces, depth: usize) -> Result<(), At> {
        let base = self.gather(message, body)?;
        let end = self.scratch.pieces.len();
        let (mut url, mut held) = ("", None);
        for at in base..end {
            let field = &message.fields[usize::from(self.scratch.pieces[at].field)];
            if field.number == 2 {
                held = Some(at);
                continue;
            }
            let text = self.last_scalar(Scalar::String, Pieces { from: at, to: at + 1 })?;
            if let Some(Value::Text(text)) = text {
                url = text;
            }
        }
        let name = url.rsplit('/').next().unwrap_or_default();
        let known = self.plan.model.names.get(name).map(|at| &self.plan.model.messages[*at]);
        let body = held.map_or(Pieces { from: end, to: end }, |at| Pieces { from: at, to: at + 1 });
        self.rows.arena.push(b'{');
        let mut first = true;
        self.json_name("@type", &mut first)?;
        push_string(&mut self.rows.arena, url);
        match known {
            Some(message) if matches!(message.form, Form::Plain | Form::Empty) => {
                if depth > DEPTH_MAX {
                    return Err(Bad::TooDeep.into());
                }
                self.json_fields(message, body, &mut first, depth + 1)?;
            }
            Some(message) => {
                self.json_name("value", &mut first)?;
                self.json_message(message, body, depth + 1)?;
            }
            None => {
                self.json_name("value", &mut first)?;
                let bytes = held.map_or(&[][..], |at| self.part(&self.scratch.pieces[at]));
                push_base64(&mut self.rows.arena, bytes);
            }
        }
        self.rows.arena.push(b'}');
        self.scratch.pieces.truncate(base);
        Ok(())
    }
}
