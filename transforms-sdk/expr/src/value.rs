//! Values while they are computed, the record they are computed from, and the room in which texts
//! are made.

use std::cmp::Ordering;
use std::fmt::Write;

use bridge_abi::Unit;

use crate::TEXT_BYTES_MAX;
use crate::error::Why;
use crate::number;
use crate::time;
use crate::types::Types;

/// What an expression sees of a record. Two kinds of rows are known: those in a module, and those
/// in the bridge itself.
pub trait Row<'r> {
    /// A column's value by its id; `None` where the record has none.
    fn column(&self, id: u16) -> Option<bridge_abi::Value<'r>>;
    /// The topic's name.
    fn topic(&self) -> &'r str;
    /// The partition's number.
    fn partition(&self) -> i32;
    /// The offset.
    fn offset(&self) -> i64;
    /// Kafka's timestamp, milliseconds since 1970; -1 for none.
    fn timestamp_ms(&self) -> i64;
    /// The key's bytes, `None` for null.
    fn key(&self) -> Option<&'r [u8]>;
    /// The value of the last header of this name, `None` for null and for none.
    fn header(&self, name: &str) -> Option<&'r [u8]>;
}

/// A value.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Value<'r> {
    /// Null, or missing.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A double that is a number.
    Float(f64),
    /// Text.
    Text(Text<'r>),
    /// Since 1970, in a unit.
    Time(i64, Unit),
    /// Bytes.
    Bytes(&'r [u8]),
    /// Scale and unscaled number, big-endian; only to be cast.
    Decimal(u8, &'r [u8]),
    /// An array, laid out as the contract says; to be handed on, and asked whether it is null.
    Array(&'r [u8]),
}

/// A text: of the record or the expression, or made while evaluating.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Text<'r> {
    /// Of the record or the expression.
    Found(&'r str),
    /// In the scratch, by place and length.
    Made(u32, u32),
}

impl<'r> Value<'r> {
    /// A column's value. A double that is no number is null, as QuestDB has it.
    #[inline]
    pub(crate) fn of(value: bridge_abi::Value<'r>) -> Value<'r> {
        match value {
            bridge_abi::Value::Null | bridge_abi::Value::Drop => Value::Null,
            bridge_abi::Value::Bool(value) => Value::Bool(value),
            bridge_abi::Value::I64(value) => Value::Int(value),
            bridge_abi::Value::F64(value) if value.is_nan() => Value::Null,
            bridge_abi::Value::F64(value) => Value::Float(value),
            bridge_abi::Value::Text(text) | bridge_abi::Value::Symbol(text) => Value::found(text),
            bridge_abi::Value::Timestamp(since_1970, unit) => Value::Time(since_1970, unit),
            bridge_abi::Value::Bytes(bytes) => Value::Bytes(bytes),
            bridge_abi::Value::Decimal { scale, unscaled } => Value::Decimal(scale, unscaled),
            bridge_abi::Value::Array(array) => Value::Array(array.bytes()),
        }
    }

    #[inline]
    pub(crate) fn found(text: &'r str) -> Value<'r> {
        Value::Text(Text::Found(text))
    }

    /// Kafka's bytes: text where they are.
    pub(crate) fn of_bytes(bytes: Option<&'r [u8]>) -> Value<'r> {
        match bytes {
            None => Value::Null,
            Some(bytes) => std::str::from_utf8(bytes).map_or(Value::Bytes(bytes), Value::found),
        }
    }

    /// Its type.
    pub fn types(&self) -> Types {
        match self {
            Value::Null => Types::NULL,
            Value::Bool(_) => Types::BOOL,
            Value::Int(_) | Value::Float(_) => Types::NUMBER,
            Value::Text(_) => Types::TEXT,
            Value::Time(..) => Types::TIME,
            Value::Bytes(_) => Types::BYTES,
            Value::Decimal(..) => Types::DECIMAL,
            Value::Array(_) => Types::ARRAY,
        }
    }

    /// A number as a double, the nearest one.
    #[inline]
    pub(crate) fn float(&self) -> Option<f64> {
        match self {
            Value::Int(value) => Some(*value as f64),
            Value::Float(value) => Some(*value),
            _ => None,
        }
    }
}

/// Room for the texts that an evaluation makes; kept from record to record.
#[derive(Clone, Default, Debug)]
pub struct Scratch {
    made: String,
    /// Where a text is made whose source may lie in `made`.
    next: String,
}

impl Scratch {
    /// Forgets all texts; the room stays.
    pub fn clear(&mut self) {
        self.made.clear();
    }

    /// The text that is meant.
    #[inline]
    pub fn text<'s>(&'s self, text: &Text<'s>) -> &'s str {
        match *text {
            Text::Found(text) => text,
            Text::Made(at, len) => {
                self.made.get(at as usize..(at + len) as usize).unwrap_or_default()
            }
        }
    }

    /// Makes a text out of others; `make` appends to its argument, which may get no longer than
    /// [`TEXT_BYTES_MAX`] by more than one of its steps.
    pub(crate) fn make<'r>(
        &mut self,
        make: impl FnOnce(&Scratch, &mut String) -> Result<(), Why>,
    ) -> Result<Value<'r>, Why> {
        let mut next = std::mem::take(&mut self.next);
        next.clear();
        let made = make(self, &mut next);
        self.next = next;
        made?;
        let at = self.made.len();
        if at + self.next.len() > TEXT_BYTES_MAX {
            return Err(Why::TooLong);
        }
        self.made.push_str(&self.next);
        Ok(Value::Text(Text::Made(at as u32, self.next.len() as u32)))
    }

    /// Appends what a value is as text; null is nothing.
    pub(crate) fn write(&self, value: &Value<'_>, to: &mut String) -> Result<(), Why> {
        // A `String` takes all that is written.
        let _ = match value {
            Value::Null => Ok(()),
            Value::Bool(value) => write!(to, "{value}"),
            Value::Int(value) => write!(to, "{value}"),
            Value::Float(value) => write!(to, "{value:?}"),
            Value::Time(since_1970, unit) => write!(to, "{}", time::Written(*since_1970, *unit)),
            Value::Text(text) => {
                to.push_str(self.text(text));
                Ok(())
            }
            other => return Err(Why::Cast(other.types(), "text")),
        };
        if to.len() > TEXT_BYTES_MAX { Err(Why::TooLong) } else { Ok(()) }
    }

    /// A piece of a text; nothing is copied.
    pub(crate) fn piece<'r>(&self, text: Text<'r>, from: usize, to: usize) -> Value<'r> {
        Value::Text(match text {
            Text::Found(text) => Text::Found(text.get(from..to).unwrap_or_default()),
            Text::Made(at, _) => Text::Made(at + from as u32, (to - from) as u32),
        })
    }

    /// Two values of one type, neither null; numbers exactly, texts by their characters' numbers,
    /// timestamps whatever their units.
    #[inline]
    pub(crate) fn compare(&self, a: &Value<'_>, b: &Value<'_>) -> Result<Ordering, Why> {
        match (a, b) {
            (Value::Int(a), Value::Int(b)) => Ok(a.cmp(b)),
            (Value::Float(a), Value::Float(b)) => a.partial_cmp(b).ok_or(Why::Domain),
            (Value::Int(a), Value::Float(b)) => Ok(number::compare(*a, *b)),
            (Value::Float(a), Value::Int(b)) => Ok(number::compare(*b, *a).reverse()),
            (Value::Text(a), Value::Text(b)) => Ok(self.text(a).cmp(self.text(b))),
            (Value::Time(a, one), Value::Time(b, other)) => {
                Ok(time::nanos(*a, *one).cmp(&time::nanos(*b, *other)))
            }
            (Value::Bool(a), Value::Bool(b)) => Ok(a.cmp(b)),
            (Value::Bytes(a), Value::Bytes(b)) => Ok(a.cmp(b)),
            (a, b) => Err(Why::Compares(a.types(), b.types())),
        }
    }
}
