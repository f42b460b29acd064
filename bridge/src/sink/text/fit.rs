//! One cell and the type that its column was declared with, if any: what is written. A column
//! that nobody declared takes every value as it is; one that was takes what QuestDB's column of
//! that type would take from line protocol, and the same is refused.

use bridge_abi::{Cell, Kind, Unit};

use super::super::coerce::{Wants, coerced};
use super::super::questdb::{self, decimal_text};
use crate::batch::AS_TEXT;
use crate::decimal;
use crate::shape::ColumnType;
use crate::times::{from_text, nanos_of, unit_by_magnitude};

/// What is written of a cell.
#[derive(Clone, PartialEq, Debug)]
pub enum Plain<'a> {
    /// Nothing.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Integer(i64),
    /// A double: the shortest digits that read back as the same.
    Double(f64),
    /// A decimal, digit by digit.
    Decimal(String),
    /// UTF-8.
    Text(&'a [u8]),
    /// Bytes of no meaning to us, in base64.
    Bytes(&'a [u8]),
    /// Nanoseconds since 1970, and digits of the second's fraction that count.
    Instant(i128, u8),
    /// An array as cells hold it.
    Array(&'a [u8]),
    /// A value that is no text, in a column of text.
    Words(Words),
}

/// Whether a text cell stays text, whatever its column is declared as.
fn stays_text(cell: &Cell) -> bool {
    cell.kind == Kind::Text as u8 && cell.flags == AS_TEXT
}

/// What is written as text although it is none.
#[derive(Clone, PartialEq, Debug)]
pub enum Words {
    /// `true`, `false`
    Bool(bool),
    /// Digits.
    Integer(i64),
    /// The shortest digits.
    Double(f64),
    /// All digits.
    Decimal(String),
    /// Text that was made of something else.
    Made(Vec<u8>),
}

/// Why a cell does not fit its column: the value as a person reads it.
pub type Misfit = String;

/// What is written of a cell into a column. `bytes` is what a pointing cell points to.
pub fn fit<'a>(
    cell: &Cell,
    bytes: &'a [u8],
    declared: Option<ColumnType>,
) -> Result<Plain<'a>, Misfit> {
    let plain = natural(cell, bytes).ok_or_else(|| questdb::shown(cell, bytes))?;
    let Some(kind) = declared.filter(|_| !stays_text(cell)) else { return Ok(plain) };
    let fits = into_type(plain, bytes, kind).or_else(|| into_coerced(cell, bytes, kind));
    fits.ok_or_else(|| questdb::shown(cell, bytes))
}

/// What a cell means for a column that does not take it as it is.
#[cold]
fn into_coerced<'a>(cell: &Cell, bytes: &[u8], kind: ColumnType) -> Option<Plain<'a>> {
    let (cell, made) = coerced(cell, bytes, Wants::of(kind)?)?;
    Some(match Kind::from_u8(cell.kind)? {
        Kind::Text => Plain::Words(Words::Made(made)),
        Kind::Bool => Plain::Bool(cell.value != 0),
        Kind::I64 => into_type(Plain::Integer(cell.value as i64), &[], kind)?,
        Kind::F64 => into_type(Plain::Double(f64::from_bits(cell.value)), &[], kind)?,
        Kind::Decimal => into_type(Plain::Decimal(decimal_text(&made, cell.flags)?), &[], kind)?,
        _ => return None,
    })
}

/// The text of a value that does not fit, for a column that keeps it so.
pub fn as_text<'a>(cell: &Cell, bytes: &'a [u8]) -> Option<Plain<'a>> {
    match natural(cell, bytes)? {
        plain @ Plain::Text(_) => Some(plain),
        plain => in_words(plain).or_else(|| into_coerced(cell, bytes, ColumnType::Varchar)),
    }
}

/// A cell as it is; `None` for a decimal that is too wide, and for what no cell can be.
fn natural<'a>(cell: &Cell, bytes: &'a [u8]) -> Option<Plain<'a>> {
    Some(match Kind::from_u8(cell.kind)? {
        Kind::Null => Plain::Null,
        Kind::Bool => Plain::Bool(cell.value != 0),
        Kind::I64 => Plain::Integer(cell.value as i64),
        Kind::F64 => Plain::Double(f64::from_bits(cell.value)),
        Kind::Text | Kind::Symbol => Plain::Text(bytes),
        Kind::Bytes => Plain::Bytes(bytes),
        Kind::Decimal => Plain::Decimal(decimal_text(bytes, cell.flags)?),
        Kind::Array => Plain::Array(bytes),
        Kind::Timestamp => {
            let unit = Unit::from_u8(cell.flags)?;
            Plain::Instant(i128::from(cell.value as i64) * nanos_of(unit), digits_of(unit))
        }
    })
}

/// Digits of the second's fraction that a unit has.
pub fn digits_of(unit: Unit) -> u8 {
    match unit {
        Unit::Seconds => 0,
        Unit::Millis => 3,
        Unit::Micros => 6,
        Unit::Nanos => 9,
    }
}

/// The same of what is no cell; `None` if it does not fit. `bytes` are those of an array.
pub fn into_type<'a>(plain: Plain<'a>, bytes: &'a [u8], kind: ColumnType) -> Option<Plain<'a>> {
    Some(match (plain, kind) {
        (Plain::Null, _) => Plain::Null,
        (plain @ Plain::Bool(_), ColumnType::Boolean) => plain,
        (plain @ Plain::Integer(_), ColumnType::Long) => plain,
        (plain @ Plain::Integer(value), ColumnType::Int | ColumnType::Short | ColumnType::Byte) => {
            return in_range(value, kind).then_some(plain);
        }
        (Plain::Integer(value), ColumnType::Float | ColumnType::Double) => {
            Plain::Double(value as f64)
        }
        (
            Plain::Integer(value),
            ColumnType::Timestamp | ColumnType::TimestampNs | ColumnType::Date,
        ) => instant(i128::from(value) * nanos_of(unit_by_magnitude(value)), kind)?,
        (plain @ Plain::Double(_), ColumnType::Float | ColumnType::Double) => plain,
        (
            Plain::Double(value),
            ColumnType::Long | ColumnType::Int | ColumnType::Short | ColumnType::Byte,
        ) => {
            // 2^63 itself does not fit.
            let whole = value.fract() == 0.0 && value.abs() < 9_223_372_036_854_775_808.0;
            let integer = whole.then_some(value as i64).filter(|value| in_range(*value, kind));
            Plain::Integer(integer?)
        }
        (Plain::Decimal(text), ColumnType::Decimal(precision, scale)) => {
            Plain::Decimal(decimal::fitting(&text, precision, scale)?.to_owned())
        }
        (plain @ Plain::Bytes(_), ColumnType::Binary) => plain,
        (Plain::Text(text), _) => return of_text(text, kind),
        (Plain::Instant(nanos, _), kind) if is_time(kind) => instant(nanos, kind)?,
        (plain @ Plain::Array(_), ColumnType::Array(dims)) => {
            return (questdb::array_dims(bytes) == u32::from(dims)).then_some(plain);
        }
        (plain, ColumnType::Varchar | ColumnType::String | ColumnType::Symbol) => in_words(plain)?,
        _ => return None,
    })
}

/// What is no text in a column of text.
fn in_words(plain: Plain<'_>) -> Option<Plain<'_>> {
    Some(Plain::Words(match plain {
        Plain::Bool(value) => Words::Bool(value),
        Plain::Integer(value) => Words::Integer(value),
        Plain::Double(value) => Words::Double(value),
        Plain::Decimal(text) => Words::Decimal(text),
        _ => return None,
    }))
}

fn of_text(text: &[u8], kind: ColumnType) -> Option<Plain<'_>> {
    let utf8 = || std::str::from_utf8(text).ok();
    let fits = match kind {
        ColumnType::Varchar | ColumnType::String | ColumnType::Symbol => true,
        ColumnType::Long256 | ColumnType::Geohash => true,
        ColumnType::Char => text.len() == 1 && text.is_ascii(),
        ColumnType::Uuid => questdb::is_uuid(text),
        ColumnType::Ipv4 => utf8()?.parse::<std::net::Ipv4Addr>().is_ok(),
        ColumnType::Timestamp | ColumnType::TimestampNs | ColumnType::Date => {
            return instant(from_text(utf8()?, None)?, kind);
        }
        _ => false,
    };
    fits.then_some(Plain::Text(text))
}

/// A point in time in the resolution of a column; what lies between its ticks is cut off.
fn instant<'a>(nanos: i128, kind: ColumnType) -> Option<Plain<'a>> {
    let (tick, digits) = match kind {
        ColumnType::TimestampNs => (1, 9),
        ColumnType::Timestamp => (1_000, 6),
        ColumnType::Date => (1_000_000, 3),
        _ => return None,
    };
    let ticks = i64::try_from(nanos.div_euclid(tick)).ok()?;
    Some(Plain::Instant(i128::from(ticks) * tick, digits))
}

fn is_time(kind: ColumnType) -> bool {
    matches!(kind, ColumnType::TimestampNs | ColumnType::Timestamp | ColumnType::Date)
}

fn in_range(value: i64, kind: ColumnType) -> bool {
    match kind {
        ColumnType::Int => i32::try_from(value).is_ok(),
        ColumnType::Short => i16::try_from(value).is_ok(),
        ColumnType::Byte => i8::try_from(value).is_ok(),
        _ => true,
    }
}
