//! One cell from what is written to what it means. Nothing is allocated in steady state but for
//! arrays of decimals, which become JSON.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bridge_abi::{Cell, DECIMAL_BYTES_MAX, DECIMAL_SCALE_MAX, Kind, Unit};
use serde_json::Value;

use super::digits::{self, Digits};
use super::meaning::Meaning;
use super::options::Unavailable;
use crate::batch::RowBatch;
use crate::format::avro::words;
use crate::format::quoted;

const SECONDS_OF_DAY: i64 = 86_400;

/// Why a cell is not what it should mean; the end of a sentence that begins with its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// The value was not sent.
    Absent,
    Base64,
    Digits,
    TooWide,
    Scale,
    NoScale,
    TooManyDigits,
    Moment,
    Day,
    Range,
    /// It is of a kind that this is never written as.
    Kind(&'static str),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Wrong::Absent => "was not sent",
            Wrong::Base64 => {
                "is not base64, as bytes are written in JSON (for a decimal in digits say \
                 decimal-text in `types`)"
            }
            Wrong::Digits => "is no decimal in digits",
            Wrong::TooWide => "is a decimal of more than 32 bytes",
            Wrong::Scale => "is a decimal with a scale below 0 or beyond 76",
            Wrong::NoScale => "is a decimal without the number `scale` beside it",
            Wrong::TooManyDigits => "has more digits than the scale of its decimal",
            Wrong::Moment => "is no moment as ISO 8601 has it",
            Wrong::Day => "is no day as ISO 8601 has it",
            Wrong::Range => "is beyond what a timestamp holds",
            Wrong::Kind(wanted) => return write!(f, "is not {wanted}"),
        })
    }
}

/// A value for a message.
pub fn shown(rows: &RowBatch, cell: &Cell) -> String {
    match Kind::from_u8(cell.kind) {
        Some(Kind::Text | Kind::Symbol) => quoted(rows.bytes_of(cell)),
        Some(Kind::I64) => (cell.value as i64).to_string(),
        Some(Kind::F64) => f64::from_bits(cell.value).to_string(),
        Some(Kind::Bool) => (cell.value != 0).to_string(),
        Some(Kind::Null) => "null".to_owned(),
        Some(Kind::Array) => "an array".to_owned(),
        Some(Kind::Timestamp) => "a timestamp".to_owned(),
        _ => format!("a value of {} bytes", cell.len),
    }
}

/// What turning cells needs, and what becomes of values that were not sent.
pub struct Coercion {
    scratch: Vec<u8>,
    unavailable: Unavailable,
    /// What stands for a value that was not sent, in each of its forms.
    placeholders: Vec<Vec<u8>>,
}

impl Coercion {
    /// With the connector's placeholder.
    pub fn new(unavailable: Unavailable, placeholder: &str) -> Coercion {
        let quoted = serde_json::to_string(placeholder).unwrap_or_default();
        let mut numbers = [1_u32.to_le_bytes(), (placeholder.len() as u32).to_le_bytes()].concat();
        for byte in placeholder.bytes() {
            numbers.extend_from_slice(&f64::from(byte).to_le_bytes());
        }
        let placeholders = match placeholder {
            "" => Vec::new(),
            _ => vec![
                placeholder.as_bytes().to_vec(),
                STANDARD.encode(placeholder).into_bytes(),
                // Arrays of text and of numbers, and `hstore` as JSON.
                format!("[{quoted}]").into_bytes(),
                format!("{{{quoted}:{quoted}}}").into_bytes(),
                numbers,
            ],
        };
        Coercion { scratch: Vec::new(), unavailable, placeholders }
    }

    /// What becomes of a value that was not sent; `None` if it was.
    #[inline]
    pub fn absent(&self, rows: &RowBatch, cell: &Cell) -> Option<Result<Cell, Wrong>> {
        let text = matches!(
            Kind::from_u8(cell.kind),
            Some(Kind::Text | Kind::Symbol | Kind::Bytes | Kind::Array)
        );
        if !text {
            return None;
        }
        let bytes = rows.bytes_of(cell);
        if !self.placeholders.iter().any(|placeholder| placeholder == bytes) {
            return None;
        }
        Some(match self.unavailable {
            Unavailable::Reject => Err(Wrong::Absent),
            Unavailable::Null => Ok(Cell { column: cell.column, ..Cell::default() }),
            Unavailable::Text => Ok(*cell),
        })
    }

    /// The cell of what a value means; it is not null.
    pub fn turn(
        &mut self,
        rows: &mut RowBatch,
        cell: &Cell,
        meaning: Meaning,
    ) -> Result<Cell, Wrong> {
        let kind = Kind::from_u8(cell.kind).unwrap_or(Kind::Null);
        let number = cell.value as i64;
        match (meaning, kind) {
            (Meaning::Double, _) => double(rows, cell, kind),
            (Meaning::Decimal(scale), _) => self.decimal(rows, cell, kind, scale),
            (Meaning::Digits, _) => in_digits(rows, cell, kind),
            (Meaning::Decimals(scale), Kind::Text) => self.decimals(rows, cell, scale),
            (Meaning::Date, Kind::I64) => {
                let seconds = number.checked_mul(SECONDS_OF_DAY).ok_or(Wrong::Range)?;
                Ok(timestamp(cell.column, seconds, Unit::Seconds))
            }
            (Meaning::Timestamp(unit), Kind::I64) => Ok(timestamp(cell.column, number, unit)),
            (Meaning::Zoned, Kind::Text) => moment(rows.bytes_of(cell), cell.column),
            (Meaning::IsoDate, Kind::Text) => day(rows.bytes_of(cell), cell.column),
            (Meaning::Symbol, Kind::Text) => Ok(Cell { kind: Kind::Symbol as u8, ..*cell }),
            (Meaning::Bytes, Kind::Text) => {
                self.take(rows, cell, kind)?;
                Ok(rows.cell_bytes(cell.column, Kind::Bytes, 0, &self.scratch))
            }
            (Meaning::Bits(length), Kind::Text | Kind::Bytes) => {
                self.take(rows, cell, kind)?;
                Ok(bits(rows, cell.column, &self.scratch, length as usize))
            }
            (Meaning::Hex, Kind::Text | Kind::Bytes) => {
                self.take(rows, cell, kind)?;
                Ok(hex(rows, cell.column, &self.scratch))
            }
            // What the schema's own logical type has made of it already.
            (Meaning::Date | Meaning::Timestamp(_), Kind::Timestamp)
            | (Meaning::Symbol, Kind::Symbol)
            | (Meaning::Bytes, Kind::Bytes)
            | (Meaning::Decimals(_), Kind::Array) => Ok(*cell),
            (Meaning::Date, _) => Err(Wrong::Kind("a number of days")),
            (Meaning::Timestamp(_), _) => Err(Wrong::Kind("a number since 1970")),
            (Meaning::Zoned | Meaning::IsoDate | Meaning::Symbol, _) => {
                Err(Wrong::Kind("text, as it must be"))
            }
            (Meaning::Bytes | Meaning::Bits(_) | Meaning::Hex, _) => Err(Wrong::Kind("bytes")),
            (Meaning::Decimals(_), _) => Err(Wrong::Kind("an array of decimals")),
            // Of two columns, and turned together.
            (Meaning::Scale | Meaning::Unscaled { .. }, _) => Err(Wrong::NoScale),
        }
    }

    /// The bytes of a value, out of base64 where they are text.
    fn take(&mut self, rows: &RowBatch, cell: &Cell, kind: Kind) -> Result<(), Wrong> {
        let bytes = rows.bytes_of(cell);
        self.scratch.clear();
        if kind == Kind::Bytes {
            self.scratch.extend_from_slice(bytes);
            return Ok(());
        }
        STANDARD.decode_vec(bytes, &mut self.scratch).map_err(|_| Wrong::Base64)
    }

    fn decimal(
        &mut self,
        rows: &mut RowBatch,
        cell: &Cell,
        kind: Kind,
        scale: u8,
    ) -> Result<Cell, Wrong> {
        if scale > DECIMAL_SCALE_MAX {
            return Err(Wrong::Scale);
        }
        match kind {
            Kind::Decimal => Ok(*cell),
            Kind::Text | Kind::Bytes => {
                self.take(rows, cell, kind)?;
                let number = words::unscaled(&self.scratch);
                if number.len() > DECIMAL_BYTES_MAX {
                    return Err(Wrong::TooWide);
                }
                Ok(rows.cell_bytes(cell.column, Kind::Decimal, scale, number))
            }
            // `decimal.format = "NUMERIC"` of the converter.
            Kind::I64 | Kind::F64 => {
                let digits = number(cell, kind)?;
                let digits = digits.at(scale).ok_or(Wrong::TooManyDigits)?;
                Ok(written(rows, cell.column, &digits))
            }
            _ => Err(Wrong::Kind("a decimal's bytes")),
        }
    }

    /// The JSON of an array of decimals, each in digits.
    fn decimals(&mut self, rows: &mut RowBatch, cell: &Cell, scale: u8) -> Result<Cell, Wrong> {
        let bytes = rows.bytes_of(cell);
        if memchr::memchr2(b'"', b'{', bytes).is_none() {
            return Ok(*cell);
        }
        let wrong = Wrong::Kind("an array of decimals");
        let items: Vec<Value> = serde_json::from_slice(bytes).map_err(|_| wrong)?;
        let at = rows.arena.len();
        rows.arena.push(b'[');
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                rows.arena.push(b',');
            }
            let (text, scale) = match item {
                Value::String(text) => (text, Some(u64::from(scale))),
                Value::Object(parts) => match parts.get("value") {
                    Some(Value::String(text)) => (text, parts.get("scale").and_then(Value::as_u64)),
                    _ => return Err(wrong),
                },
                Value::Null => {
                    rows.arena.extend_from_slice(b"null");
                    continue;
                }
                _ => return Err(wrong),
            };
            let scale = scale.and_then(|scale| u8::try_from(scale).ok());
            let scale = scale.filter(|scale| *scale <= DECIMAL_SCALE_MAX).ok_or(Wrong::Scale)?;
            self.scratch.clear();
            STANDARD.decode_vec(text, &mut self.scratch).map_err(|_| Wrong::Base64)?;
            if words::unscaled(&self.scratch).len() > DECIMAL_BYTES_MAX {
                return Err(Wrong::TooWide);
            }
            words::push_decimal(&mut rows.arena, &self.scratch, scale);
        }
        rows.arena.push(b']');
        Ok(text_from(rows, cell.column, at))
    }
}

fn timestamp(column: u16, value: i64, unit: Unit) -> Cell {
    let (kind, flags) = (Kind::Timestamp as u8, unit as u8);
    Cell { column, kind, flags, len: 0, value: value as u64 }
}

/// The text that begins there in the arena.
fn text_from(rows: &RowBatch, column: u16, at: usize) -> Cell {
    let len = (rows.arena.len() - at) as u32;
    Cell { column, kind: Kind::Text as u8, flags: 0, len, value: at as u64 }
}

fn double(rows: &RowBatch, cell: &Cell, kind: Kind) -> Result<Cell, Wrong> {
    let value = match kind {
        Kind::F64 => return Ok(*cell),
        Kind::I64 => cell.value as i64 as f64,
        Kind::Text => match rows.bytes_of(cell) {
            b"NaN" => f64::NAN,
            b"Infinity" => f64::INFINITY,
            b"-Infinity" => f64::NEG_INFINITY,
            _ => return Err(Wrong::Kind("a number")),
        },
        _ => return Err(Wrong::Kind("a number")),
    };
    Ok(Cell {
        column: cell.column,
        kind: Kind::F64 as u8,
        flags: 0,
        len: 0,
        value: value.to_bits(),
    })
}

/// The digits of a number of JSON: of a double the fewest that tell it from all others.
fn number(cell: &Cell, kind: Kind) -> Result<Digits, Wrong> {
    let (mut whole, mut double) = (itoa::Buffer::new(), zmij::Buffer::new());
    let text = match kind {
        Kind::F64 => double.format(f64::from_bits(cell.value)),
        _ => whole.format(cell.value as i64),
    };
    digits::read(text.as_bytes()).ok_or(Wrong::Digits)
}

fn in_digits(rows: &mut RowBatch, cell: &Cell, kind: Kind) -> Result<Cell, Wrong> {
    let digits = match kind {
        Kind::Decimal => return Ok(*cell),
        Kind::Text => digits::read(rows.bytes_of(cell)).ok_or(Wrong::Digits)?,
        Kind::I64 | Kind::F64 => number(cell, kind)?,
        _ => return Err(Wrong::Digits),
    };
    Ok(written(rows, cell.column, &digits))
}

fn written(rows: &mut RowBatch, column: u16, digits: &Digits) -> Cell {
    let bytes = digits.unscaled();
    rows.cell_bytes(column, Kind::Decimal, digits.scale, words::unscaled(&bytes))
}

/// In microseconds, or in nanoseconds where there are any.
fn moment(text: &[u8], column: u16) -> Result<Cell, Wrong> {
    let text = std::str::from_utf8(text).map_err(|_| Wrong::Moment)?;
    let moment: jiff::Timestamp = text.parse().map_err(|_| Wrong::Moment)?;
    let nanos = moment.as_nanosecond();
    Ok(match i64::try_from(nanos) {
        Ok(nanos) if nanos % 1_000 != 0 => timestamp(column, nanos, Unit::Nanos),
        _ => timestamp(column, moment.as_microsecond(), Unit::Micros),
    })
}

/// A day, behind which there may be a `Z`.
fn day(text: &[u8], column: u16) -> Result<Cell, Wrong> {
    let text = std::str::from_utf8(text).map_err(|_| Wrong::Day)?;
    let day: jiff::civil::Date = text.trim_end_matches('Z').parse().map_err(|_| Wrong::Day)?;
    let first = jiff::civil::date(1970, 1, 1);
    let span = first.until(day).map_err(|_| Wrong::Range)?;
    Ok(timestamp(column, i64::from(span.get_days()) * SECONDS_OF_DAY, Unit::Seconds))
}

fn bits(rows: &mut RowBatch, column: u16, bytes: &[u8], length: usize) -> Cell {
    let all = bytes.len() * 8;
    let count = if length == 0 { all } else { length.min(all) };
    let at = rows.arena.len();
    let bit = |index: usize| b'0' + (bytes[index / 8] >> (index % 8) & 1);
    rows.arena.extend((0..count).rev().map(bit));
    text_from(rows, column, at)
}

fn hex(rows: &mut RowBatch, column: u16, bytes: &[u8]) -> Cell {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let at = rows.arena.len();
    let digit = |nibble: u8| HEX[usize::from(nibble)];
    rows.arena.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
    text_from(rows, column, at)
}
