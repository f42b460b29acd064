//! One cell as a parameter: `i32` bytes, then the value. A column takes what it takes by line
//! protocol (`questdb/value`): numbers go in their own width, points in time as ticks of the
//! column's own unit (PostgreSQL's form ends at microseconds), everything else as text, which the
//! server reads as strictly as line protocol's.

use bridge_abi::{Cell, Kind, Unit};

use crate::decimal;
use crate::shape::ColumnType;
use crate::sink::coerce::{Wants, coerced};
use crate::sink::questdb::digits;
use crate::sink::questdb::line;
use crate::sink::questdb::value::{Misfit, decimal_text, is_uuid, quoted, shown};
use crate::times::{from_text, nanos_of, unit_by_magnitude};

/// A parameter that is null.
pub const NULL: [u8; 4] = (-1_i32).to_be_bytes();

/// The type that a column's parameter is declared with, by its number in `pg_type.dat`; text for
/// all that has no form of its own.
pub fn oid(column: ColumnType) -> u32 {
    match column {
        ColumnType::Boolean => 16,
        ColumnType::Byte | ColumnType::Short => 21,
        ColumnType::Int => 23,
        ColumnType::Long | ColumnType::Timestamp | ColumnType::TimestampNs | ColumnType::Date => 20,
        ColumnType::Float | ColumnType::Double => 701,
        ColumnType::Array(_) => 1022,
        _ => 1043,
    }
}

/// What a parameter is cast to. Ticks without their unit would become others in a column that was
/// altered meanwhile.
pub fn cast(column: ColumnType) -> &'static str {
    match column {
        ColumnType::Timestamp => "::timestamp",
        ColumnType::TimestampNs => "::timestamp_ns",
        ColumnType::Date => "::date",
        _ => "",
    }
}

/// Appends a cell that is not null; `bytes` is what it points to. What was appended of a misfit is
/// the caller's to take back.
#[inline]
pub fn push(
    out: &mut Vec<u8>,
    cell: &Cell,
    bytes: &[u8],
    column: ColumnType,
) -> Result<(), Misfit> {
    let start = out.len();
    let Err(shown) = push_as_it_is(out, cell, bytes, column) else { return Ok(()) };
    out.truncate(start);
    let wants = Wants::of(column).ok_or_else(|| shown.clone())?;
    let (cell, bytes) = coerced(cell, bytes, wants).ok_or_else(|| shown.clone())?;
    push_as_it_is(out, &cell, &bytes, column).map_err(|_| shown)
}

#[inline]
fn push_as_it_is(
    out: &mut Vec<u8>,
    cell: &Cell,
    bytes: &[u8],
    column: ColumnType,
) -> Result<(), Misfit> {
    use ColumnType::{
        Array, Boolean, Date, Decimal, String, Symbol, Timestamp, TimestampNs, Varchar,
    };
    let misfit = || shown(cell, bytes);
    match (Kind::from_u8(cell.kind).ok_or_else(misfit)?, column) {
        (Kind::Text | Kind::Symbol, _) => return text(out, bytes, column),
        (Kind::I64, _) => return integer(out, cell.value as i64, column),
        (Kind::F64, _) => return float(out, f64::from_bits(cell.value), column),
        (Kind::Bool, Boolean) => fixed(out, [u8::from(cell.value != 0)]),
        (Kind::Bool, Varchar | String | Symbol) => {
            counted(out, if cell.value == 0 { b"false" } else { b"true" });
        }
        (Kind::Timestamp, Timestamp | TimestampNs | Date) => {
            let unit = Unit::from_u8(cell.flags).unwrap_or(Unit::Micros);
            let nanos = i128::from(cell.value as i64) * nanos_of(unit);
            fixed(out, ticks(nanos, column).ok_or_else(misfit)?.to_be_bytes());
        }
        (Kind::Decimal, Decimal(precision, scale)) => {
            let text = decimal_text(bytes, cell.flags).ok_or_else(misfit)?;
            let digits = decimal::fitting(&text, precision, scale).ok_or_else(misfit)?;
            counted(out, digits.as_bytes());
        }
        (Kind::Decimal, Varchar | String | Symbol) => {
            counted(out, decimal_text(bytes, cell.flags).ok_or_else(misfit)?.as_bytes());
        }
        (Kind::Array, Array(dims)) if line::array_dims(bytes) == u32::from(dims) => {
            array(out, bytes).ok_or_else(misfit)?;
        }
        _ => return Err(misfit()),
    }
    Ok(())
}

/// A parameter of known length.
#[inline]
pub fn fixed<const N: usize>(out: &mut Vec<u8>, value: [u8; N]) {
    out.extend_from_slice(&(N as i32).to_be_bytes());
    out.extend_from_slice(&value);
}

/// Text as it is.
pub fn counted(out: &mut Vec<u8>, bytes: &[u8]) {
    // Records are megabytes at most.
    out.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// What is written without knowing its length first.
fn measured(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = (out.len() - at - 4) as i32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

fn integer(out: &mut Vec<u8>, value: i64, column: ColumnType) -> Result<(), Misfit> {
    let misfit = || value.to_string();
    match column {
        ColumnType::Long => fixed(out, value.to_be_bytes()),
        ColumnType::Int => {
            fixed(out, i32::try_from(value).map_err(|_| misfit())?.to_be_bytes());
        }
        ColumnType::Short => {
            fixed(out, i16::try_from(value).map_err(|_| misfit())?.to_be_bytes());
        }
        ColumnType::Byte => {
            let value = i8::try_from(value).map_err(|_| misfit())?;
            fixed(out, i16::from(value).to_be_bytes());
        }
        ColumnType::Float | ColumnType::Double => fixed(out, (value as f64).to_be_bytes()),
        ColumnType::Varchar | ColumnType::String | ColumnType::Symbol => {
            measured(out, |out| digits::push(out, value));
        }
        ColumnType::Timestamp | ColumnType::TimestampNs | ColumnType::Date => {
            let nanos = i128::from(value) * nanos_of(unit_by_magnitude(value));
            fixed(out, ticks(nanos, column).ok_or_else(misfit)?.to_be_bytes());
        }
        _ => return Err(misfit()),
    }
    Ok(())
}

fn float(out: &mut Vec<u8>, value: f64, column: ColumnType) -> Result<(), Misfit> {
    match column {
        ColumnType::Float | ColumnType::Double => fixed(out, value.to_be_bytes()),
        ColumnType::Varchar | ColumnType::String | ColumnType::Symbol => {
            // Version 1 is the shortest digits.
            measured(out, |out| line::push_double(out, value, 1));
        }
        ColumnType::Long | ColumnType::Int | ColumnType::Short | ColumnType::Byte
            // 2^63 itself does not fit.
            if value.fract() == 0.0 && value.abs() < 9_223_372_036_854_775_808.0 =>
        {
            return integer(out, value as i64, column);
        }
        _ => return Err(value.to_string()),
    }
    Ok(())
}

fn text(out: &mut Vec<u8>, bytes: &[u8], column: ColumnType) -> Result<(), Misfit> {
    let as_str = || std::str::from_utf8(bytes).unwrap_or("");
    let fits = match column {
        ColumnType::Varchar | ColumnType::String | ColumnType::Symbol => true,
        ColumnType::Char => bytes.len() == 1 && bytes.is_ascii(),
        ColumnType::Uuid => is_uuid(bytes),
        ColumnType::Ipv4 => as_str().parse::<std::net::Ipv4Addr>().is_ok(),
        ColumnType::Long256 | ColumnType::Geohash => true,
        ColumnType::Timestamp | ColumnType::TimestampNs | ColumnType::Date => {
            let ticks = from_text(as_str(), None).and_then(|nanos| ticks(nanos, column));
            fixed(out, ticks.ok_or_else(|| quoted(bytes))?.to_be_bytes());
            return Ok(());
        }
        _ => false,
    };
    if !fits {
        return Err(quoted(bytes));
    }
    counted(out, bytes);
    Ok(())
}

/// Ticks of a column since 1970; what lies between them is cut off. `None` if it is beyond what the
/// column holds.
fn ticks(nanos: i128, column: ColumnType) -> Option<i64> {
    let tick = match column {
        ColumnType::TimestampNs => 1,
        ColumnType::Date => 1_000_000,
        _ => 1_000,
    };
    i64::try_from(nanos.div_euclid(tick)).ok()
}

/// Dimensions, no nulls, the elements' type; for each dimension its size and its lowest index;
/// then the elements (`array_recv`). The cell has them in the sandbox's layout. Unlike
/// PostgreSQL's, an empty array keeps its dimensions: the server takes none without.
fn array(out: &mut Vec<u8>, cell: &[u8]) -> Option<()> {
    const FLOAT8: i32 = 701;
    let dims = line::array_dims(cell) as usize;
    let sizes = cell.get(4..4 + 4 * dims)?;
    let values = cell.get((4 + 4 * dims).next_multiple_of(8)..).unwrap_or_default();
    measured(out, |out| {
        for head in [dims as i32, 0, FLOAT8] {
            out.extend_from_slice(&head.to_be_bytes());
        }
        for size in sizes.as_chunks::<4>().0 {
            out.extend_from_slice(&u32::from_le_bytes(*size).to_be_bytes());
            out.extend_from_slice(&1_i32.to_be_bytes());
        }
        for value in values.as_chunks::<8>().0 {
            fixed(out, f64::from_le_bytes(*value).to_be_bytes());
        }
    });
    Some(())
}
