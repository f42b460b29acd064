//! One cell into one column: which values a column takes, and how they are written.
//!
//! | cell \ column | BOOLEAN | BYTE SHORT INT LONG | FLOAT DOUBLE | DECIMAL | VARCHAR STRING SYMBOL | TIMESTAMP DATE | others |
//! |---|---|---|---|---|---|---|---|
//! | bool | as it is | – | – | – | `true`, `false` | – | – |
//! | integer | 0, 1 | in range | as a float | if it fits | digits | by magnitude | – |
//! | float | – | whole and in range | as it is | shortest digits, if they fit | shortest digits | – | – |
//! | text, symbol | `true`, `false` | digits, in range | digits | digits, if they fit | as it is | a time | CHAR, UUID, IPv4 in their form; LONG256, GEOHASH as it is |
//! | timestamp | – | – | – | – | ISO 8601 | converted | – |
//! | decimal | – | whole and in range | where a double says all | if it fits | digits | – | – |
//! | bytes | – | – | – | – | base64 | – | – |
//! | array | – | – | – | – | JSON | – | DOUBLE[] of its dimensions (version 2) |
//!
//! A dash is `wrong-type`: what becomes of it is said by `on_bad`. What does not fit by itself is
//! asked for what it means (`sink/coerce`).

use bridge_abi::{Cell, Kind, Unit};

use super::line;
use super::put::Put;
use crate::decimal;
pub use crate::decimal::text as decimal_text;
use crate::shape::ColumnType;
use crate::sink::coerce::{Wants, coerced};
use crate::times;

/// Why a cell does not fit its column: the value as a person reads it.
pub type Misfit = String;

/// Writes a cell as a field's value, after `name=`. `bytes` is what a pointing cell points to.
/// Nothing is written of a misfit.
pub fn push_field(
    out: &mut impl Put,
    cell: &Cell,
    bytes: &[u8],
    column: ColumnType,
    version: u8,
) -> Result<(), Misfit> {
    let Err(shown) = push_as_it_is(out, cell, bytes, column, version) else { return Ok(()) };
    let wants = Wants::of(column).ok_or_else(|| shown.clone())?;
    let (cell, bytes) = coerced(cell, bytes, wants).ok_or_else(|| shown.clone())?;
    push_as_it_is(out, &cell, &bytes, column, version).map_err(|_| shown)
}

fn push_as_it_is(
    out: &mut impl Put,
    cell: &Cell,
    bytes: &[u8],
    column: ColumnType,
    version: u8,
) -> Result<(), Misfit> {
    match (Kind::from_u8(cell.kind), column) {
        (Some(Kind::I64), _) => push_integer(out, cell.value as i64, column, version),
        (Some(Kind::F64), _) => push_float(out, f64::from_bits(cell.value), column, version),
        (Some(Kind::Text | Kind::Symbol), _) => push_text(out, bytes, column),
        (Some(Kind::Bool), ColumnType::Boolean) => {
            out.byte(if cell.value == 0 { b'f' } else { b't' });
            Ok(())
        }
        (Some(Kind::Bool), ColumnType::Varchar | ColumnType::String) => {
            line::push_string(out, bool_text(cell));
            Ok(())
        }
        (
            Some(Kind::Timestamp),
            ColumnType::Timestamp | ColumnType::TimestampNs | ColumnType::Date,
        ) => {
            let unit = Unit::from_u8(cell.flags).unwrap_or(Unit::Micros);
            let nanos = i128::from(cell.value as i64) * times::nanos_of(unit);
            push_instant(out, nanos, column).ok_or_else(|| shown(cell, bytes))
        }
        (Some(Kind::Array), ColumnType::Array(dims))
            if version >= 2 && line::array_dims(bytes) == u32::from(dims) =>
        {
            line::push_array(out, bytes);
            Ok(())
        }
        (Some(Kind::Decimal), ColumnType::Decimal(precision, scale)) => {
            let text = decimal_text(bytes, cell.flags).ok_or_else(|| shown(cell, bytes))?;
            let digits = decimal::fitting(&text, precision, scale);
            out.all(digits.ok_or_else(|| shown(cell, bytes))?.as_bytes());
            out.byte(b'd');
            Ok(())
        }
        (Some(Kind::Decimal), ColumnType::Varchar | ColumnType::String) => {
            let text = decimal_text(bytes, cell.flags).ok_or_else(|| shown(cell, bytes))?;
            line::push_string(out, &text);
            Ok(())
        }
        _ => Err(shown(cell, bytes)),
    }
}

/// Writes a cell as a symbol's value.
pub fn push_symbol(out: &mut impl Put, cell: &Cell, bytes: &[u8]) -> Result<(), Misfit> {
    match Kind::from_u8(cell.kind) {
        Some(Kind::Text | Kind::Symbol) => line::push_escaped(out, bytes),
        Some(Kind::I64) => line::push_digits(out, cell.value as i64),
        Some(Kind::F64) => line::push_double(out, f64::from_bits(cell.value), 1),
        Some(Kind::Bool) => out.all(bool_text(cell)),
        Some(Kind::Decimal) => {
            let text = decimal_text(bytes, cell.flags).ok_or_else(|| shown(cell, bytes))?;
            out.all(text.as_bytes());
        }
        _ => {
            let text = coerced(cell, bytes, Wants::Text).ok_or_else(|| shown(cell, bytes))?.1;
            line::push_escaped(out, &text);
        }
    }
    Ok(())
}

fn bool_text(cell: &Cell) -> &'static [u8] {
    if cell.value == 0 { b"false" } else { b"true" }
}

#[inline]
fn push_integer(
    out: &mut impl Put,
    value: i64,
    column: ColumnType,
    version: u8,
) -> Result<(), Misfit> {
    let in_range = match column {
        ColumnType::Long => true,
        ColumnType::Int => i32::try_from(value).is_ok(),
        ColumnType::Short => i16::try_from(value).is_ok(),
        ColumnType::Byte => i8::try_from(value).is_ok(),
        ColumnType::Float | ColumnType::Double => {
            line::push_double(out, value as f64, version);
            return Ok(());
        }
        ColumnType::Varchar | ColumnType::String => {
            line::push_string(out, itoa::Buffer::new().format(value).as_bytes());
            return Ok(());
        }
        ColumnType::Timestamp | ColumnType::TimestampNs | ColumnType::Date => {
            let nanos = times::nanos_of(times::unit_by_magnitude(value));
            return push_instant(out, i128::from(value) * nanos, column)
                .ok_or_else(|| value.to_string());
        }
        _ => false,
    };
    if !in_range {
        return Err(value.to_string());
    }
    line::push_digits(out, value);
    out.byte(b'i');
    Ok(())
}

#[inline]
fn push_float(
    out: &mut impl Put,
    value: f64,
    column: ColumnType,
    version: u8,
) -> Result<(), Misfit> {
    match column {
        ColumnType::Double | ColumnType::Float => line::push_double(out, value, version),
        ColumnType::Varchar | ColumnType::String => {
            let mut text = Vec::with_capacity(24);
            line::push_double(&mut text, value, 1);
            line::push_string(out, &text);
        }
        ColumnType::Long | ColumnType::Int | ColumnType::Short | ColumnType::Byte
            // 2^63 itself does not fit.
            if value.fract() == 0.0 && value.abs() < 9_223_372_036_854_775_808.0 =>
        {
            return push_integer(out, value as i64, column, version);
        }
        _ => return Err(value.to_string()),
    }
    Ok(())
}

fn push_text(out: &mut impl Put, bytes: &[u8], column: ColumnType) -> Result<(), Misfit> {
    let text = || std::str::from_utf8(bytes).unwrap_or("");
    let fits = match column {
        ColumnType::Varchar | ColumnType::String => true,
        // The server takes one byte of ASCII.
        ColumnType::Char => bytes.len() == 1 && bytes.is_ascii(),
        ColumnType::Uuid => is_uuid(bytes),
        ColumnType::Ipv4 => text().parse::<std::net::Ipv4Addr>().is_ok(),
        ColumnType::Long256 | ColumnType::Geohash => true,
        ColumnType::Timestamp | ColumnType::TimestampNs | ColumnType::Date => {
            let nanos = times::from_text(text(), None).ok_or_else(|| quoted(bytes))?;
            return push_instant(out, nanos, column).ok_or_else(|| quoted(bytes));
        }
        _ => false,
    };
    if !fits {
        return Err(quoted(bytes));
    }
    line::push_string(out, bytes);
    Ok(())
}

/// A point in time for a column of this type; what lies between its ticks is cut off. `None` if it
/// is beyond what the column holds.
fn push_instant(out: &mut impl Put, nanos: i128, column: ColumnType) -> Option<()> {
    let (tick, suffix) = match column {
        ColumnType::TimestampNs => (1, b'n'),
        ColumnType::Date => (1_000_000, b'm'),
        _ => (1_000, b't'),
    };
    let ticks = i64::try_from(nanos.div_euclid(tick)).ok()?;
    line::push_digits(out, ticks);
    out.byte(suffix);
    Some(())
}

/// Whether text is a UUID in its usual form.
pub fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// A cell's value for a message.
pub fn shown(cell: &Cell, bytes: &[u8]) -> String {
    match Kind::from_u8(cell.kind) {
        Some(Kind::Bool) => (cell.value != 0).to_string(),
        Some(Kind::I64) => (cell.value as i64).to_string(),
        Some(Kind::F64) => f64::from_bits(cell.value).to_string(),
        Some(Kind::Text | Kind::Symbol) => quoted(bytes),
        Some(Kind::Timestamp) => format!("timestamp {}", cell.value as i64),
        Some(Kind::Bytes) => format!("{} bytes", bytes.len()),
        Some(Kind::Decimal) => decimal_text(bytes, cell.flags)
            .unwrap_or_else(|| format!("a decimal of {} bytes", bytes.len())),
        Some(Kind::Array) => match line::array_dims(bytes) {
            1 => "an array of 1 dimension".to_owned(),
            dims => format!("an array of {dims} dimensions"),
        },
        Some(Kind::Null) | None => "null".to_owned(),
    }
}

/// Bytes of a value shown in a message, at most.
const SHOWN_BYTES_MAX: usize = 60;

/// Text for a message, its beginning.
pub fn quoted(bytes: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_BYTES_MAX)]);
    let more = if bytes.len() > SHOWN_BYTES_MAX { "…" } else { "" };
    format!("{shown:?}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(kind: Kind, value: u64, flags: u8) -> Cell {
        Cell { column: 1, kind: kind as u8, flags, len: 0, value }
    }

    fn check(cell: Cell, bytes: &[u8], column: &str, expected: Result<&str, &str>) {
        let mut out = Vec::new();
        let column = ColumnType::parse(column).expect("a type");
        let got = push_field(&mut out, &cell, bytes, column, 1);
        let got = got.map(|()| String::from_utf8(out).expect("text was written"));
        assert_eq!(got, expected.map(str::to_owned).map_err(str::to_owned), "{cell:?} {column}");
    }

    #[test]
    fn what_means_something_else_is_taken_as_that() {
        let int = |value: i64| cell(Kind::I64, value as u64, 0);
        let float = |value: f64| cell(Kind::F64, value.to_bits(), 0);
        let text = cell(Kind::Text, 0, 0);
        check(int(1), b"", "boolean", Ok("t"));
        check(int(2), b"", "boolean", Err("2"));
        check(int(7), b"", "decimal(3,2)", Ok("7d"));
        check(int(70), b"", "decimal(3,2)", Err("70"));
        check(text, b"12.5", "double", Ok("12.5"));
        check(text, b"-12", "short", Ok("-12i"));
        check(text, b"40000", "short", Err("\"40000\""));
        check(text, b"True", "boolean", Ok("t"));
        check(text, b"12.50", "decimal(3,1)", Ok("12.5d"));
        check(text, b"12.55", "decimal(3,1)", Err("\"12.55\""));
        check(text, b"1700000000", "timestamp", Ok("1700000000000000t"));
        check(float(1.1), b"", "decimal(3,1)", Ok("1.1d"));
        check(float(1.15), b"", "decimal(3,1)", Err("1.15"));
        let bytes = cell(Kind::Bytes, 0, 0);
        check(bytes, &[0, 255], "varchar", Ok("\"AP8=\""));
        check(bytes, &[0, 255], "binary", Err("2 bytes"));
    }

    #[test]
    fn what_fits_and_what_does_not() {
        let int = |value: i64| cell(Kind::I64, value as u64, 0);
        let float = |value: f64| cell(Kind::F64, value.to_bits(), 0);
        let text = cell(Kind::Text, 0, 0);
        check(int(21), b"", "double", Ok("21.0"));
        check(int(21), b"", "long", Ok("21i"));
        check(int(300), b"", "byte", Err("300"));
        check(int(7), b"", "varchar", Ok("\"7\""));
        check(int(1_700_000_000), b"", "timestamp", Ok("1700000000000000t"));
        check(float(21.5), b"", "long", Err("21.5"));
        check(float(21.0), b"", "int", Ok("21i"));
        check(float(9.3e18), b"", "long", Err("9300000000000000000"));
        check(text, b"hot", "double", Err("\"hot\""));
        check(text, b"a\"b", "varchar", Ok("\"a\\\"b\""));
        check(text, b"2023-11-14T22:13:20Z", "timestamp_ns", Ok("1700000000000000000n"));
        check(text, b"1.2.3.400", "ipv4", Err("\"1.2.3.400\""));
        check(
            text,
            b"11111111-2222-3333-4444-555555555555",
            "uuid",
            Ok("\"11111111-2222-3333-4444-555555555555\""),
        );
        check(cell(Kind::Bool, 1, 0), b"", "boolean", Ok("t"));
        check(cell(Kind::Bool, 1, 0), b"", "long", Err("true"));
        check(
            cell(Kind::Decimal, 0, 2),
            &(-1234_i16).to_be_bytes(),
            "decimal(10,2)",
            Ok("-12.34d"),
        );
        check(cell(Kind::Decimal, 0, 3), &[5], "double", Ok("0.005"));
        check(cell(Kind::Decimal, 0, 2), &[0x7f, 0xff], "decimal(3,2)", Err("327.67"));
        check(cell(Kind::Decimal, 0, 2), &[100], "decimal(3,0)", Ok("1d"));
        check(cell(Kind::Decimal, 0, 1), &[70], "long", Ok("7i"));
        check(cell(Kind::Decimal, 0, 1), &[71], "long", Err("7.1"));
        let mut wide = [0xff; 32];
        wide[31] = 0xfe;
        check(cell(Kind::Decimal, 0, 0), &wide, "varchar", Ok("\"-2\""));
        wide[0] = 0;
        let digits = "452312848583266388373324160190187140051835877600158453279131187530910662654";
        let ended = format!("{digits}d");
        check(cell(Kind::Decimal, 0, 0), &wide, "decimal(76,0)", Ok(&ended));
        for column in ["decimal(38,0)", "double", "long"] {
            check(cell(Kind::Decimal, 0, 0), &wide, column, Err(digits));
        }
        let wider = [1; 33];
        for column in ["varchar", "decimal(76,0)", "double"] {
            check(cell(Kind::Decimal, 0, 0), &wider, column, Err("a decimal of 33 bytes"));
        }
        assert!(push_symbol(&mut Vec::new(), &cell(Kind::Decimal, 0, 0), &wider).is_err());
        check(cell(Kind::Timestamp, 5, Unit::Millis as u8), b"", "date", Ok("5m"));
        // Beyond what a column holds: shown as the record has it.
        let late = cell(Kind::Timestamp, 9_223_372_037, Unit::Seconds as u8);
        check(late, b"", "timestamp_ns", Err("timestamp 9223372037"));
        check(int(9_223_372_037), b"", "timestamp_ns", Err("9223372037"));
        check(text, b"2262-04-12T00:00:00Z", "timestamp_ns", Err("\"2262-04-12T00:00:00Z\""));
    }
}
