//! One cell as a parameter of a statement, in JSON: what CrateDB would round, cut or read as
//! something else is refused here, before it is sent. Which values a column takes:
//!
//! | cell \ column | boolean | byte smallint integer bigint | real double | numeric | text | timestamp | others |
//! |---|---|---|---|---|---|---|---|
//! | bool | as it is | – | – | – | `true`, `false` | – | – |
//! | integer | – | in range | where it is exact | as it is | digits | by magnitude | – |
//! | float | – | whole and in range | nearest | shortest digits | shortest digits | – | – |
//! | text, symbol | – | – | – | digits, if it has only these | as it is | ISO 8601 | ip, uuid in their form; object, array from their JSON |
//! | timestamp | – | – | – | – | – | converted | – |
//! | decimal | – | – | nearest | as it is | digits | – | – |
//! | bytes | – | – | – | – | base64 | – | – |
//! | array | – | – | – | – | – | – | array of numbers |
//!
//! A dash is `wrong-type`. What a numeric's scale would round is one too; what lies between
//! milliseconds, of which CrateDB's timestamps are made, is cut off.

use std::net::IpAddr;

use bridge_abi::{Cell, Kind};
use serde::de::IgnoredAny;
use serde_json::Value;

use super::super::postgres::numeric::Decimal;
use super::super::text::{Plain, Timestamps, base64, fit, push_string, push_value};
use crate::shape::ColumnType;

/// Beyond these a timestamp may be rounded, as CrateDB's documentation of its types has it.
const MILLIS_MAX: i128 = 999_999_999_999_999;
/// Whole numbers up to here are exact as doubles.
const DOUBLE_EXACT_MAX: u64 = 1 << 53;
/// And as singles.
const REAL_EXACT_MAX: u64 = 1 << 24;
/// Digits of a numeric that a table can hold.
pub const PRECISION_MAX: u8 = 38;

/// A column's type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Type {
    /// `BOOLEAN`
    Boolean,
    /// `BYTE`, also called `"char"`
    Byte,
    /// `SMALLINT`
    Short,
    /// `INTEGER`
    Int,
    /// `BIGINT`
    Long,
    /// `REAL`
    Real,
    /// `DOUBLE PRECISION`
    Double,
    /// `NUMERIC(precision, scale)`
    Numeric(u8, u8),
    /// `TEXT`, of whatever length
    Text,
    /// `TIMESTAMP WITH TIME ZONE`; without is the same in UTC.
    Timestamp,
    /// `IP`
    Ip,
    /// `UUID`
    Uuid,
    /// `OBJECT`, of whatever policy
    Object,
    /// `ARRAY(…)`
    Array(Box<Type>),
}

impl Type {
    /// The type by the name that `information_schema.columns` gives it; a numeric by its digits.
    /// `None` if the bridge does not write it.
    pub fn of(name: &str, numeric: Option<(u8, u8)>) -> Option<Type> {
        if let Some(inner) = name.strip_suffix("_array") {
            return Type::of(inner, None).map(|inner| Type::Array(Box::new(inner)));
        }
        Some(match name {
            "boolean" => Type::Boolean,
            "byte" | "char" => Type::Byte,
            "smallint" => Type::Short,
            "integer" => Type::Int,
            "bigint" => Type::Long,
            "real" => Type::Real,
            "double precision" => Type::Double,
            "numeric" => {
                let (precision, scale) = numeric?;
                Type::Numeric(precision, scale)
            }
            "text" | "character varying" | "character" => Type::Text,
            "timestamp with time zone" | "timestamp without time zone" => Type::Timestamp,
            "ip" => Type::Ip,
            "uuid" => Type::Uuid,
            "object" => Type::Object,
            _ => return None,
        })
    }

    /// The type for one that the configuration names as QuestDB does.
    pub fn declared(kind: ColumnType) -> Type {
        match kind {
            ColumnType::Boolean => Type::Boolean,
            ColumnType::Byte => Type::Byte,
            ColumnType::Short => Type::Short,
            ColumnType::Int => Type::Int,
            ColumnType::Long => Type::Long,
            ColumnType::Float => Type::Real,
            ColumnType::Double => Type::Double,
            ColumnType::Timestamp | ColumnType::TimestampNs | ColumnType::Date => Type::Timestamp,
            ColumnType::Ipv4 => Type::Ip,
            ColumnType::Decimal(precision, scale) => {
                Type::Numeric(precision.min(PRECISION_MAX), scale.min(PRECISION_MAX))
            }
            ColumnType::Array(dims) => Type::doubles(u32::from(dims)),
            // Versions before 6 have no UUID, and none has the others.
            _ => Type::Text,
        }
    }

    /// An array of doubles of so many dimensions.
    pub fn doubles(dims: u32) -> Type {
        (0..dims.max(1)).fold(Type::Double, |inner, _| Type::Array(Box::new(inner)))
    }

    /// In SQL.
    pub fn sql(&self) -> String {
        match self {
            Type::Boolean => "BOOLEAN".into(),
            Type::Byte => "BYTE".into(),
            Type::Short => "SMALLINT".into(),
            Type::Int => "INTEGER".into(),
            Type::Long => "BIGINT".into(),
            Type::Real => "REAL".into(),
            Type::Double => "DOUBLE PRECISION".into(),
            Type::Numeric(precision, scale) => format!("NUMERIC({precision}, {scale})"),
            Type::Text => "TEXT".into(),
            Type::Timestamp => "TIMESTAMP WITH TIME ZONE".into(),
            Type::Ip => "IP".into(),
            Type::Uuid => "UUID".into(),
            Type::Object => "OBJECT".into(),
            Type::Array(inner) => format!("ARRAY({})", inner.sql()),
        }
    }

    /// The type whose rules of conversion are these, where a shared one has them.
    fn shared(&self) -> Option<ColumnType> {
        Some(match self {
            Type::Boolean => ColumnType::Boolean,
            Type::Byte => ColumnType::Byte,
            Type::Short => ColumnType::Short,
            Type::Int => ColumnType::Int,
            Type::Long => ColumnType::Long,
            Type::Real | Type::Double => ColumnType::Double,
            Type::Text => ColumnType::Varchar,
            Type::Timestamp => ColumnType::Date,
            Type::Uuid => ColumnType::Uuid,
            _ => return None,
        })
    }
}

/// The value does not fit its column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Misfit;

/// A value that is null.
pub const NULL: &[u8] = b"null";

/// Appends a cell; `bytes` is what it points to. What was appended of a misfit is the caller's to
/// take back.
pub fn push(out: &mut Vec<u8>, cell: &Cell, bytes: &[u8], kind: &Type) -> Result<(), Misfit> {
    match (Kind::from_u8(cell.kind).ok_or(Misfit)?, kind) {
        (Kind::Text | Kind::Symbol, Type::Object) => return object(out, bytes),
        (Kind::Text | Kind::Symbol, Type::Array(_)) => {
            let value: Value = serde_json::from_slice(bytes).map_err(|_| Misfit)?;
            return element(out, &value, kind);
        }
        (Kind::Text | Kind::Symbol, Type::Ip) => {
            let text = std::str::from_utf8(bytes).map_err(|_| Misfit)?;
            text.parse::<IpAddr>().map_err(|_| Misfit)?;
            push_string(out, bytes);
            return Ok(());
        }
        (Kind::Text | Kind::Symbol, Type::Numeric(..)) => return digits(out, bytes, kind),
        (Kind::Bytes, Type::Text) => {
            push_string(out, base64(bytes).as_bytes());
            return Ok(());
        }
        (Kind::Array, Type::Array(_)) => return doubles(out, bytes, kind),
        (Kind::F64, Type::Real | Type::Double | Type::Numeric(..)) => {
            return float(out, f64::from_bits(cell.value), kind);
        }
        (Kind::I64, Type::Real | Type::Double | Type::Numeric(..)) => {
            return integer(out, cell.value as i64, kind);
        }
        (Kind::Decimal, Type::Numeric(..)) => {
            let Ok(Plain::Decimal(text)) = fit(cell, bytes, None) else { return Err(Misfit) };
            return digits(out, text.as_bytes(), kind);
        }
        _ => {}
    }
    if cell.kind == Kind::Null as u8 {
        out.extend_from_slice(NULL);
        return Ok(());
    }
    match fit(cell, bytes, Some(kind.shared().ok_or(Misfit)?)).map_err(|_| Misfit)? {
        Plain::Instant(nanos, _) => instant(out, nanos),
        Plain::Double(value) => float(out, value, kind),
        plain => {
            push_value(out, &plain, Timestamps::Ms);
            Ok(())
        }
    }
}

/// A point in time, from nanoseconds since 1970: an integer, which CrateDB reads as milliseconds.
pub fn instant(out: &mut Vec<u8>, nanos: i128) -> Result<(), Misfit> {
    let millis = nanos.div_euclid(1_000_000);
    if millis.abs() > MILLIS_MAX {
        return Err(Misfit);
    }
    push_value(out, &Plain::Integer(millis as i64), Timestamps::Ms);
    Ok(())
}

fn integer(out: &mut Vec<u8>, value: i64, kind: &Type) -> Result<(), Misfit> {
    let exact_max = match kind {
        Type::Numeric(..) => {
            return digits(out, itoa::Buffer::new().format(value).as_bytes(), kind);
        }
        Type::Real => REAL_EXACT_MAX,
        Type::Double => DOUBLE_EXACT_MAX,
        _ => {
            let fits = match kind {
                Type::Long => true,
                Type::Int => i32::try_from(value).is_ok(),
                Type::Short => i16::try_from(value).is_ok(),
                Type::Byte => i8::try_from(value).is_ok(),
                _ => false,
            };
            if !fits {
                return Err(Misfit);
            }
            u64::MAX
        }
    };
    if value.unsigned_abs() > exact_max {
        return Err(Misfit);
    }
    push_value(out, &Plain::Integer(value), Timestamps::Ms);
    Ok(())
}

/// What is no number goes as text, as CrateDB's documentation of its types has it.
fn float(out: &mut Vec<u8>, value: f64, kind: &Type) -> Result<(), Misfit> {
    match kind {
        Type::Real if value.is_finite() && !(value as f32).is_finite() => return Err(Misfit),
        Type::Real | Type::Double if value.is_finite() => {
            push_value(out, &Plain::Double(value), Timestamps::Ms);
        }
        Type::Real | Type::Double if value.is_nan() => out.extend_from_slice(b"\"NaN\""),
        Type::Real | Type::Double if value > 0.0 => out.extend_from_slice(b"\"Infinity\""),
        Type::Real | Type::Double => out.extend_from_slice(b"\"-Infinity\""),
        Type::Numeric(..) if value.is_finite() => {
            return digits(out, zmij::Buffer::new().format_finite(value).as_bytes(), kind);
        }
        // 2^63 itself does not fit.
        Type::Long | Type::Int | Type::Short | Type::Byte
            if value.fract() == 0.0 && value.abs() < 9_223_372_036_854_775_808.0 =>
        {
            return integer(out, value as i64, kind);
        }
        _ => return Err(Misfit),
    }
    Ok(())
}

/// A number for a numeric, as text: JSON's numbers would become doubles on the way.
fn digits(out: &mut Vec<u8>, text: &[u8], kind: &Type) -> Result<(), Misfit> {
    let Type::Numeric(precision, scale) = kind else { return Err(Misfit) };
    let number = Decimal::parse(text).ok_or(Misfit)?;
    let all = || number.whole.iter().chain(number.fraction);
    if let Some(first) = all().position(|digit| *digit != b'0') {
        let count = number.whole.len() + number.fraction.len();
        let trailing = all().rev().take_while(|digit| **digit == b'0').count();
        let point = number.whole.len() as i64 + number.exponent;
        let behind = ((count - trailing) as i64 - point).max(0);
        let before = (point - first as i64).max(0);
        if behind > i64::from(*scale) || before > i64::from(precision.saturating_sub(*scale)) {
            return Err(Misfit);
        }
    }
    push_string(out, text);
    Ok(())
}

/// The JSON of an object, as it came.
fn object(out: &mut Vec<u8>, text: &[u8]) -> Result<(), Misfit> {
    let is_object = text.trim_ascii_start().first() == Some(&b'{');
    if !is_object || serde_json::from_slice::<IgnoredAny>(text).is_err() {
        return Err(Misfit);
    }
    out.extend_from_slice(text);
    Ok(())
}

/// A part of an array that came as JSON.
fn element(out: &mut Vec<u8>, value: &Value, kind: &Type) -> Result<(), Misfit> {
    match (value, kind) {
        (Value::Null, _) => out.extend_from_slice(NULL),
        (Value::Array(values), Type::Array(inner)) => {
            out.push(b'[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                element(out, value, inner)?;
            }
            out.push(b']');
        }
        (Value::Bool(_), Type::Boolean) | (Value::Object(_), Type::Object) => {
            out.extend_from_slice(value.to_string().as_bytes());
        }
        (Value::String(text), kind) => {
            let text = text.as_bytes();
            let cell = Cell { column: 0, kind: Kind::Text as u8, flags: 0, len: 0, value: 0 };
            // What is text in JSON is neither an object nor an array.
            match kind {
                Type::Object | Type::Array(_) => return Err(Misfit),
                kind => return push(out, &cell, text, kind),
            }
        }
        (Value::Number(number), kind) => match number.as_i64() {
            Some(value) => return integer(out, value, kind),
            None => return float(out, number.as_f64().ok_or(Misfit)?, kind),
        },
        _ => return Err(Misfit),
    }
    Ok(())
}

/// An array of doubles, in the sandbox's layout: dimensions, their sizes, the values.
fn doubles(out: &mut Vec<u8>, cell: &[u8], kind: &Type) -> Result<(), Misfit> {
    let word = |at: usize| -> Option<usize> {
        let bytes = cell.get(at..at + 4)?;
        Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
    };
    let dims = word(0).ok_or(Misfit)?;
    let values = cell.get((4 + 4 * dims).next_multiple_of(8)..).unwrap_or_default();
    let mut values = values.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes));
    nested(out, &|dim| word(4 + 4 * dim).ok_or(Misfit), 0..dims, &mut values, kind)
}

/// The dimensions from one on, each in its brackets.
fn nested(
    out: &mut Vec<u8>,
    size: &dyn Fn(usize) -> Result<usize, Misfit>,
    dims: std::ops::Range<usize>,
    values: &mut dyn Iterator<Item = f64>,
    kind: &Type,
) -> Result<(), Misfit> {
    if dims.is_empty() {
        return float(out, values.next().ok_or(Misfit)?, kind);
    }
    let Type::Array(inner) = kind else { return Err(Misfit) };
    out.push(b'[');
    for at in 0..size(dims.start)? {
        if at > 0 {
            out.push(b',');
        }
        nested(out, size, dims.start + 1..dims.end, values, inner)?;
    }
    out.push(b']');
    Ok(())
}
