//! One cell as a field of a binary COPY: `i32` bytes, then the value in network order, as the
//! type's receive function reads it. Which values a column takes:
//!
//! | cell \ column | boolean | smallint integer bigint | real double | numeric | text varchar char citext enum | timestamp timestamptz date | others |
//! |---|---|---|---|---|---|---|---|
//! | bool | as it is | – | – | – | `true`, `false` | – | json |
//! | integer | 0, 1 | in range | where it is exact | as it is | digits | by magnitude | json |
//! | float | – | whole and in range | nearest | shortest digits | shortest digits | – | json |
//! | text, symbol | `true`, `false` | digits, in range | digits | digits | as it is | a time | uuid, inet in their form; json, jsonb as it is |
//! | timestamp | – | – | – | – | ISO 8601 | converted | – |
//! | decimal | – | whole and in range | where a double says all | as it is | digits | – | json |
//! | bytes | – | – | – | – | base64 | – | bytea |
//! | array | – | – | – | – | JSON | – | double precision[], json, jsonb |
//!
//! A dash is `wrong-type`: the record is rejected, and the message says what would be right. What
//! a numeric's scale would round is one, and so is a time within a day for a `date`; what lies
//! between microseconds is cut off.

use std::net::IpAddr;

use bridge_abi::{Cell, Kind, Unit};

use super::numeric::Decimal;
use crate::decimal;
use crate::sink::coerce::{Wants, coerced};
use crate::times::{self, nanos_of, unit_by_magnitude};

/// How a column's values travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wire {
    /// `boolean`
    Bool,
    /// `smallint`
    Int2,
    /// `integer`
    Int4,
    /// `bigint`
    Int8,
    /// `real`
    Float4,
    /// `double precision`
    Float8,
    /// `numeric`, with the most digits before the point and behind it that the column keeps.
    Numeric(Option<(u16, u16)>),
    /// `text` and all that is received like it.
    Text,
    /// `json`
    Json,
    /// `jsonb`
    Jsonb,
    /// `uuid`
    Uuid,
    /// `bytea`
    Bytea,
    /// `timestamp` and `timestamptz`
    Timestamp,
    /// `date`
    Date,
    /// `inet` and `cidr`; whether it is the latter.
    Inet(bool),
    /// `double precision[]`
    Floats,
}

impl Wire {
    /// How a type travels, by what the catalogue says of it; `None` if the bridge does not write
    /// it. Object identifiers are those of `pg_type.dat`.
    pub fn of(oid: u32, typtype: &str, name: &str, modifier: i32) -> Option<Wire> {
        Some(match (oid, typtype, name) {
            (16, ..) => Wire::Bool,
            (21, ..) => Wire::Int2,
            (23, ..) => Wire::Int4,
            (20, ..) => Wire::Int8,
            (700, ..) => Wire::Float4,
            (701, ..) => Wire::Float8,
            (1700, ..) if modifier < 4 => Wire::Numeric(None),
            // Since version 15 a scale may be negative: eleven bits, signed.
            (1700, ..) => {
                let scale = (((modifier - 4) & 0x7ff) ^ 1024) - 1024;
                let before = ((modifier - 4) >> 16) - scale;
                let count = |digits: i32| u16::try_from(digits).unwrap_or(0);
                Wire::Numeric(Some((count(before), count(scale))))
            }
            (25 | 1042 | 1043, ..) | (_, "e", _) | (_, "b", "citext") => Wire::Text,
            (114, ..) => Wire::Json,
            (3802, ..) => Wire::Jsonb,
            (2950, ..) => Wire::Uuid,
            (17, ..) => Wire::Bytea,
            (1114 | 1184, ..) => Wire::Timestamp,
            (1082, ..) => Wire::Date,
            (869, ..) => Wire::Inet(false),
            (650, ..) => Wire::Inet(true),
            (1022, ..) => Wire::Floats,
            _ => return None,
        })
    }
}

impl Wire {
    /// What it is made of; `None` for those with forms of their own.
    fn wants(self) -> Option<Wants> {
        Some(match self {
            Wire::Bool => Wants::Boolean,
            Wire::Int2 | Wire::Int4 | Wire::Int8 | Wire::Float4 | Wire::Float8 => Wants::Number,
            Wire::Text | Wire::Json | Wire::Jsonb => Wants::Text,
            _ => return None,
        })
    }
}

/// The value does not fit its column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Misfit;

/// A field that is null.
pub const NULL: [u8; 4] = (-1_i32).to_be_bytes();
/// From 1970 to 2000, where PostgreSQL's time begins, in microseconds.
const EPOCH_US: i64 = 946_684_800_000_000;
const DAY_US: i64 = 86_400_000_000;

/// Appends a cell that is not null; `bytes` is what it points to. What was appended of a misfit
/// is the caller's to take back.
#[inline]
pub fn push(out: &mut Vec<u8>, cell: &Cell, bytes: &[u8], wire: Wire) -> Result<(), Misfit> {
    const LONG: u8 = Kind::I64 as u8;
    const DOUBLE: u8 = Kind::F64 as u8;
    const TEXT: u8 = Kind::Text as u8;
    match (cell.kind, wire) {
        (LONG, Wire::Int8) | (DOUBLE, Wire::Float8) => {
            fixed(out, cell.value.to_be_bytes());
            Ok(())
        }
        (TEXT, Wire::Text) => text(out, bytes),
        _ => other_or_coerced(out, cell, bytes, wire),
    }
}

fn other_or_coerced(
    out: &mut Vec<u8>,
    cell: &Cell,
    bytes: &[u8],
    wire: Wire,
) -> Result<(), Misfit> {
    let start = out.len();
    let Err(misfit) = other(out, cell, bytes, wire) else { return Ok(()) };
    out.truncate(start);
    // Of what is no text only an array is JSON by its text.
    let is_json = matches!(wire, Wire::Json | Wire::Jsonb);
    if is_json && cell.kind != Kind::Array as u8 {
        return Err(misfit);
    }
    let (cell, bytes) = coerced(cell, bytes, wire.wants().ok_or(misfit)?).ok_or(misfit)?;
    other(out, &cell, &bytes, wire)
}

/// A field of known length, in one piece.
#[inline]
pub fn fixed<const N: usize>(out: &mut Vec<u8>, value: [u8; N]) {
    out.extend_from_slice(&(N as i32).to_be_bytes());
    out.extend_from_slice(&value);
}

fn counted(out: &mut Vec<u8>, bytes: &[u8]) {
    // Records are megabytes at most.
    out.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// The one character that PostgreSQL keeps in no text is refused here, for there it would refuse
/// everything that travels with it.
fn text(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Misfit> {
    if memchr::memchr(0, bytes).is_some() {
        return Err(Misfit);
    }
    counted(out, bytes);
    Ok(())
}

fn other(out: &mut Vec<u8>, cell: &Cell, bytes: &[u8], wire: Wire) -> Result<(), Misfit> {
    let number = cell.value as i64;
    match (Kind::from_u8(cell.kind).ok_or(Misfit)?, wire) {
        (Kind::Bool, Wire::Bool) => fixed(out, [u8::from(cell.value != 0)]),
        (Kind::Bool, Wire::Text | Wire::Json) => {
            counted(out, if cell.value == 0 { &b"false"[..] } else { b"true" });
        }
        (Kind::I64, Wire::Timestamp | Wire::Date) => {
            let nanos = i128::from(number) * nanos_of(unit_by_magnitude(number));
            return instant(out, nanos, wire);
        }
        (Kind::I64, _) => return integer(out, number, wire),
        (Kind::F64, _) => return float(out, f64::from_bits(cell.value), wire),
        (Kind::Text | Kind::Symbol, _) => return from_text(out, bytes, wire),
        (Kind::Timestamp, Wire::Timestamp | Wire::Date) => {
            let unit = Unit::from_u8(cell.flags).ok_or(Misfit)?;
            return instant(out, i128::from(number) * nanos_of(unit), wire);
        }
        (Kind::Bytes, Wire::Bytea) => counted(out, bytes),
        (Kind::Decimal, _) => return decimal(out, bytes, cell.flags, wire),
        (Kind::Array, Wire::Floats) => return floats(out, bytes),
        _ => return Err(Misfit),
    }
    Ok(())
}

fn integer(out: &mut Vec<u8>, value: i64, wire: Wire) -> Result<(), Misfit> {
    match wire {
        Wire::Int8 => fixed(out, value.to_be_bytes()),
        Wire::Int4 => fixed(out, i32::try_from(value).map_err(|_| Misfit)?.to_be_bytes()),
        Wire::Int2 => fixed(out, i16::try_from(value).map_err(|_| Misfit)?.to_be_bytes()),
        Wire::Float8 if value.unsigned_abs() <= 1 << 53 => {
            fixed(out, (value as f64).to_be_bytes());
        }
        Wire::Float4 if value.unsigned_abs() <= 1 << 24 => {
            fixed(out, (value as f32).to_be_bytes());
        }
        Wire::Text | Wire::Json => counted(out, itoa::Buffer::new().format(value).as_bytes()),
        Wire::Numeric(_) => return digits(out, itoa::Buffer::new().format(value), wire),
        _ => return Err(Misfit),
    }
    Ok(())
}

fn float(out: &mut Vec<u8>, value: f64, wire: Wire) -> Result<(), Misfit> {
    match wire {
        Wire::Float8 => fixed(out, value.to_be_bytes()),
        Wire::Float4 if !value.is_finite() || (value as f32).is_finite() => {
            fixed(out, (value as f32).to_be_bytes());
        }
        Wire::Text | Wire::Json | Wire::Numeric(_) if value.is_finite() => {
            return digits(out, zmij::Buffer::new().format_finite(value), wire);
        }
        // 2^63 itself does not fit.
        Wire::Int8 | Wire::Int4 | Wire::Int2
            if value.fract() == 0.0 && value.abs() < 9_223_372_036_854_775_808.0 =>
        {
            return integer(out, value as i64, wire);
        }
        _ => return Err(Misfit),
    }
    Ok(())
}

/// A number that was written already.
fn digits(out: &mut Vec<u8>, written: &str, wire: Wire) -> Result<(), Misfit> {
    let Wire::Numeric(digits_max) = wire else {
        counted(out, written.as_bytes());
        return Ok(());
    };
    let decimal = Decimal::parse(written.as_bytes()).ok_or(Misfit)?;
    if decimal.push(out, digits_max) { Ok(()) } else { Err(Misfit) }
}

fn from_text(out: &mut Vec<u8>, bytes: &[u8], wire: Wire) -> Result<(), Misfit> {
    let as_str = || std::str::from_utf8(bytes).map_err(|_| Misfit);
    match wire {
        Wire::Text | Wire::Json => text(out, bytes),
        Wire::Jsonb if memchr::memchr(0, bytes).is_none() => {
            out.extend_from_slice(&(bytes.len() as i32 + 1).to_be_bytes());
            out.push(1); // The version of the format that its receive function wants.
            out.extend_from_slice(bytes);
            Ok(())
        }
        Wire::Numeric(_) => digits(out, as_str()?, wire),
        Wire::Uuid => {
            fixed(out, uuid(bytes).ok_or(Misfit)?);
            Ok(())
        }
        Wire::Timestamp | Wire::Date => {
            instant(out, times::from_text(as_str()?, None).ok_or(Misfit)?, wire)
        }
        Wire::Inet(cidr) => {
            match as_str()?.parse().map_err(|_| Misfit)? {
                // Family, bits of the net, whether it is a cidr, bytes (`network_send`).
                IpAddr::V4(address) => {
                    out.extend_from_slice(&[0, 0, 0, 8, 2, 32, u8::from(cidr), 4]);
                    out.extend_from_slice(&address.octets());
                }
                IpAddr::V6(address) => {
                    out.extend_from_slice(&[0, 0, 0, 20, 3, 128, u8::from(cidr), 16]);
                    out.extend_from_slice(&address.octets());
                }
            }
            Ok(())
        }
        _ => Err(Misfit),
    }
}

/// A point in time, from nanoseconds since 1970.
pub fn instant(out: &mut Vec<u8>, nanos: i128, wire: Wire) -> Result<(), Misfit> {
    let micros = i64::try_from(nanos.div_euclid(1_000)).map_err(|_| Misfit)?;
    let since_2000 = micros.checked_sub(EPOCH_US).ok_or(Misfit)?;
    match wire {
        // The ends of the range are PostgreSQL's infinities.
        Wire::Timestamp if since_2000 > i64::MIN && since_2000 < i64::MAX => {
            fixed(out, since_2000.to_be_bytes());
        }
        Wire::Date if since_2000 % DAY_US == 0 => {
            // Three hundred thousand years are less than 2^31 days.
            fixed(out, ((since_2000 / DAY_US) as i32).to_be_bytes());
        }
        _ => return Err(Misfit),
    }
    Ok(())
}

/// `unscaled` is big-endian two's complement; beyond 256 bits it fits no column.
fn decimal(out: &mut Vec<u8>, unscaled: &[u8], scale: u8, wire: Wire) -> Result<(), Misfit> {
    let text = decimal::text(unscaled, scale).ok_or(Misfit)?;
    match wire {
        Wire::Numeric(_) => digits(out, &text, wire),
        Wire::Text | Wire::Json => {
            counted(out, text.as_bytes());
            Ok(())
        }
        _ => Err(Misfit),
    }
}

/// Dimensions, no nulls, the elements' type; for each dimension its size and its lowest index;
/// then the elements (`array_recv`). The cell has them in the sandbox's layout.
fn floats(out: &mut Vec<u8>, cell: &[u8]) -> Result<(), Misfit> {
    const FLOAT8: i32 = 701;
    /// `MAXDIM`
    const DIMENSIONS_MAX: usize = 6;
    let word = |at: usize| -> Option<i32> {
        let bytes = cell.get(at..at + 4)?;
        i32::try_from(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).ok()
    };
    let dims = word(0).ok_or(Misfit)? as usize;
    if dims > DIMENSIONS_MAX {
        return Err(Misfit);
    }
    let values = cell.get((4 + 4 * dims).next_multiple_of(8)..).unwrap_or_default();
    let dims = if values.is_empty() { 0 } else { dims };
    let bytes = 12 + 8 * dims + values.len() / 8 * 12;
    out.extend_from_slice(&(bytes as i32).to_be_bytes());
    for head in [dims as i32, 0, FLOAT8] {
        out.extend_from_slice(&head.to_be_bytes());
    }
    for dimension in 0..dims {
        let size = word(4 + 4 * dimension).ok_or(Misfit)?;
        out.extend_from_slice(&size.to_be_bytes());
        out.extend_from_slice(&1_i32.to_be_bytes());
    }
    for value in values.as_chunks::<8>().0 {
        fixed(out, f64::from_le_bytes(*value).to_be_bytes());
    }
    Ok(())
}

/// 32 hexadecimal digits with hyphens at their places.
fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    let hyphens = [8, 13, 18, 23];
    if text.len() != 36 || hyphens.iter().any(|at| text[*at] != b'-') {
        return None;
    }
    let mut value = 0_u128;
    for (at, byte) in text.iter().enumerate() {
        if !hyphens.contains(&at) {
            value = value << 4 | u128::from((*byte as char).to_digit(16)?);
        }
    }
    Some(value.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(kind: Kind, value: u64, flags: u8) -> Cell {
        Cell { column: 1, kind: kind as u8, flags, len: 0, value }
    }

    /// The value's bytes without their count, in hexadecimal; `-` where it does not fit.
    fn shown(cell: Cell, bytes: &[u8], wire: Wire) -> String {
        let mut out = Vec::new();
        if push(&mut out, &cell, bytes, wire).is_err() {
            return "-".into();
        }
        let count = i32::from_be_bytes([out[0], out[1], out[2], out[3]]);
        assert_eq!(count as usize, out.len() - 4, "{cell:?} {wire:?}");
        out[4..].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn numbers_fit_where_they_are_exact() {
        let int = |value: i64, wire| shown(cell(Kind::I64, value as u64, 0), b"", wire);
        assert_eq!(int(-2, Wire::Int8), "fffffffffffffffe");
        assert_eq!(int(-2, Wire::Int4), "fffffffe");
        assert_eq!(int(40_000, Wire::Int2), "-");
        assert_eq!(int(21, Wire::Float8), "4035000000000000");
        assert_eq!(int((1 << 53) + 1, Wire::Float8), "-");
        assert_eq!(int(10_002, Wire::Numeric(None)), "00020001000000000001".to_owned() + "0002");
        assert_eq!(int(7, Wire::Text), "37");
        assert_eq!(int(7, Wire::Bool), "-");
        let float = |value: f64, wire| shown(cell(Kind::F64, value.to_bits(), 0), b"", wire);
        assert_eq!(float(21.0, Wire::Int4), "00000015");
        assert_eq!(float(21.5, Wire::Int4), "-");
        assert_eq!(float(9.3e18, Wire::Int8), "-");
        assert_eq!(float(1e300, Wire::Float4), "-");
        assert_eq!(float(21.5, Wire::Float4), "41ac0000");
        assert_eq!(float(1.25, Wire::Numeric(Some((9, 1)))), "-");
        assert_eq!(float(f64::NAN, Wire::Numeric(None)), "-");
        assert_eq!(float(21.5, Wire::Json), "32312e35");
    }

    #[test]
    fn texts_fit_in_their_forms() {
        let text = |text: &str, wire| shown(cell(Kind::Text, 0, 0), text.as_bytes(), wire);
        assert_eq!(text("a", Wire::Text), "61");
        assert_eq!(text("a\0b", Wire::Text), "-");
        assert_eq!(text("{}", Wire::Jsonb), "017b7d");
        assert_eq!(text("-1.5", Wire::Numeric(Some((8, 2)))), "000200004000000100011388");
        assert_eq!(text("many", Wire::Numeric(None)), "-");
        assert_eq!(text("100", Wire::Numeric(Some((2, 2)))), "-", "a digit too many before it");
        let id = "11111111-2222-3333-4444-5555555555ff";
        assert_eq!(text(id, Wire::Uuid), "111111112222333344445555555555ff");
        assert_eq!(text("11111111-2222-3333-4444-5555555555fg", Wire::Uuid), "-");
        assert_eq!(text("2000-01-02T00:00:00Z", Wire::Timestamp), "000000141dd76000");
        assert_eq!(text("1999-12-31", Wire::Date), "ffffffff");
        assert_eq!(text("1999-12-31T01:00:00Z", Wire::Date), "-");
        assert_eq!(text("10.0.0.1", Wire::Inet(false)), "022000040a000001");
        assert_eq!(text("10.0.0.400", Wire::Inet(false)), "-");
        assert_eq!(text("x", Wire::Float8), "-");
        assert_eq!(text("21", Wire::Float8), "4035000000000000");
        assert_eq!(text("-2", Wire::Int4), "fffffffe");
        assert_eq!(text("40000", Wire::Int2), "-");
        assert_eq!(text("TRUE", Wire::Bool), "01");
    }

    #[test]
    fn decimals_times_bytes_and_arrays() {
        let decimal =
            |unscaled: &[u8], scale, wire| shown(cell(Kind::Decimal, 0, scale), unscaled, wire);
        let cents = (-1_234_i16).to_be_bytes();
        assert_eq!(decimal(&cents, 2, Wire::Numeric(Some((8, 2)))), "0002000040000002000c0d48");
        assert_eq!(decimal(&cents, 2, Wire::Numeric(Some((9, 1)))), "-");
        assert_eq!(decimal(&cents, 2, Wire::Text), "2d31322e3334");
        assert_eq!(decimal(&[5], 0, Wire::Int2), "0005");
        assert_eq!(decimal(&[5], 1, Wire::Int2), "-");
        let mut wide = [0xff; 32];
        wide[31] = 0xfe;
        assert_eq!(decimal(&wide, 0, Wire::Int2), "fffe");
        let wider = [1; 33];
        assert_eq!(decimal(&wider, 0, Wire::Numeric(None)), "-");
        assert_eq!(decimal(&[15], 1, Wire::Float8), "3ff8000000000000");
        assert_eq!(decimal(&[1; 20], 10, Wire::Float8), "-", "a double does not say all of it");
        let at = cell(Kind::Timestamp, 946_684_800_001, Unit::Millis as u8);
        assert_eq!(shown(at, b"", Wire::Timestamp), "00000000000003e8");
        assert_eq!(shown(cell(Kind::Bytes, 0, 0), &[0, 255], Wire::Bytea), "00ff");
        assert_eq!(shown(cell(Kind::Bytes, 0, 0), &[0, 255], Wire::Text), "4150383d");
        let mut array = vec![1, 0, 0, 0, 2, 0, 0, 0];
        array.extend([1.0_f64, 2.0].iter().flat_map(|value| value.to_le_bytes()));
        let elements = "000000083ff0000000000000000000084000000000000000";
        let head = "0000000100000000000002bd0000000200000001";
        assert_eq!(
            shown(cell(Kind::Array, 0, 0), &array, Wire::Floats),
            format!("{head}{elements}")
        );
    }

    #[test]
    fn types_are_known_by_their_number() {
        assert_eq!(
            Wire::of(1700, "b", "numeric", (10 << 16 | 2) + 4),
            Some(Wire::Numeric(Some((8, 2))))
        );
        assert_eq!(Wire::of(1700, "b", "numeric", -1), Some(Wire::Numeric(None)));
        assert_eq!(Wire::of(99_999, "e", "mood", -1), Some(Wire::Text));
        assert_eq!(Wire::of(3614, "b", "tsvector", -1), None);
    }
}
