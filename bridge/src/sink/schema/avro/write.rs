//! One row by its plan, from the first field to the last (Avro specification 1.12, "Binary
//! Encoding"). What does not fit its field is told by its place.

use bridge_abi::{Cell, DECIMAL_BYTES_MAX, Kind, Unit};

use super::super::row::{Given, Row, Unfit};
use super::super::value::{Scratch, bytes, double, instant, integer, words};
use super::{Column, Item, Leaf, Node, Number, Plan};
use crate::format::avro::defaults::encode;
use crate::format::avro::words::unscaled;
use crate::shape::ColumnType;
use crate::sink::questdb::array_dims;
use crate::sink::text::{Plain, Timestamps};
use crate::times::nanos_of;

/// Nanoseconds of a day.
const DAY: i128 = 86_400_000_000_000;

/// Zigzag, seven bits a byte, the lowest first.
#[inline]
pub fn long(out: &mut Vec<u8>, value: i64) {
    let mut left = ((value << 1) ^ (value >> 63)) as u64;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

/// Bytes with their count before them.
#[inline]
fn counted(out: &mut Vec<u8>, bytes: &[u8]) {
    long(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
}

impl Plan {
    /// Appends a row's value. What was appended of one that does not fit is no value.
    pub fn write(
        &self,
        row: &Row<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<(), Unfit> {
        self.fields(&self.fields, row, scratch, out)
    }

    fn fields(
        &self,
        fields: &[Node],
        row: &Row<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<(), Unfit> {
        for node in fields {
            match node {
                Node::Value(column) => {
                    self.column(column, row.given(column.place), scratch, out)?
                }
                Node::Always(bytes) => out.extend_from_slice(bytes),
                Node::Record { null, branch, default, places, fields } => {
                    match (row.has_any(places), default, null) {
                        (false, Some(default), _) => out.extend_from_slice(default),
                        (false, None, Some(null)) => long(out, i64::from(*null)),
                        _ => {
                            if let Some(branch) = branch {
                                long(out, i64::from(*branch));
                            }
                            self.fields(fields, row, scratch, out)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    #[inline]
    fn column(
        &self,
        column: &Column,
        given: Given<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<(), Unfit> {
        match (&given, &column.default, column.null) {
            (Given::Missing, Some(default), _) => {
                out.extend_from_slice(default);
                return Ok(());
            }
            (Given::Missing | Given::Null, _, Some(branch)) => {
                if let Some(branch) = branch {
                    long(out, i64::from(branch));
                }
                return Ok(());
            }
            (Given::Missing | Given::Null, ..) => return Err(nothing(column, &given)),
            _ => {}
        }
        // Of several branches the one that is the value's own comes first.
        let several = column.arms.len() > 1;
        for own_only in [true, false] {
            for (branch, leaf) in &column.arms {
                if several && own_only != leaf.is_own(&given) {
                    continue;
                }
                let start = out.len();
                if let Some(branch) = branch {
                    long(out, i64::from(*branch));
                }
                if self.leaf(leaf, &given, scratch, out).is_some() {
                    return Ok(());
                }
                out.truncate(start);
            }
            if !several {
                break;
            }
        }
        Err(unfit(column, &given))
    }

    /// Appends a value, or tells that it is none of this.
    #[inline]
    fn leaf(
        &self,
        leaf: &Leaf,
        given: &Given<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        match leaf {
            Leaf::Boolean => match given.fit(ColumnType::Boolean)? {
                Plain::Bool(value) => out.push(u8::from(value)),
                _ => return None,
            },
            Leaf::Int => long(out, integer(given, ColumnType::Int, scratch.timestamps)?),
            Leaf::Long => long(out, integer(given, ColumnType::Long, scratch.timestamps)?),
            Leaf::Float => {
                let value = double(given, ColumnType::Float)?;
                // A number that is beyond its range is another one.
                let narrow = value as f32;
                (narrow.is_finite() || !value.is_finite()).then_some(())?;
                out.extend_from_slice(&narrow.to_le_bytes());
            }
            Leaf::Double => {
                out.extend_from_slice(&double(given, ColumnType::Double)?.to_le_bytes());
            }
            Leaf::Text => text(given, scratch, out)?,
            Leaf::Bytes => counted(out, bytes(given)?),
            Leaf::Fixed(size) => {
                let bytes = bytes(given).filter(|bytes| bytes.len() == *size)?;
                out.extend_from_slice(bytes);
            }
            Leaf::Enum(symbols) => {
                let Plain::Text(text) = given.natural()? else { return None };
                let symbol = symbols.iter().position(|symbol| symbol.as_bytes() == text)?;
                long(out, symbol as i64);
            }
            Leaf::Decimal { size, precision, scale } => {
                let number = scaled(given, *scale)?;
                let digits = number.unsigned_abs().checked_ilog10().unwrap_or(0) + 1;
                (u64::from(digits) <= *precision).then_some(())?;
                decimal(number, *size, out)?;
            }
            Leaf::Date | Leaf::Time { .. } | Leaf::Timestamp(_) => moment(leaf, given, out)?,
            Leaf::Uuid { is_fixed } => {
                let Plain::Text(text) = given.fit(ColumnType::Uuid)? else { return None };
                match is_fixed {
                    false => counted(out, text),
                    true => uuid(text, out)?,
                }
            }
            Leaf::Numbers { dims, item } => numbers(given, *dims, *item, out)?,
            Leaf::Json(id) => {
                let Plain::Text(text) = given.natural()? else { return None };
                let json = serde_json::from_slice(text).ok()?;
                out.extend_from_slice(&encode(&self.schema, *id, &json).ok()?);
            }
        }
        Some(())
    }
}

impl Leaf {
    /// Whether a value is of this without a change.
    fn is_own(&self, given: &Given<'_>) -> bool {
        let kind = match given {
            Given::Cell(Cell { kind, .. }, _) => Kind::from_u8(*kind),
            Given::Own(Plain::Text(_)) => Some(Kind::Text),
            Given::Own(Plain::Integer(_)) => Some(Kind::I64),
            Given::Own(Plain::Instant(..)) => Some(Kind::Timestamp),
            _ => None,
        };
        matches!(
            (self, kind),
            (Leaf::Boolean, Some(Kind::Bool))
                | (Leaf::Int | Leaf::Long, Some(Kind::I64))
                | (Leaf::Double, Some(Kind::F64))
                | (Leaf::Enum(_) | Leaf::Text, Some(Kind::Text | Kind::Symbol))
                | (Leaf::Bytes | Leaf::Fixed(_), Some(Kind::Bytes))
                | (Leaf::Decimal { .. }, Some(Kind::Decimal))
                | (Leaf::Timestamp(_), Some(Kind::Timestamp))
                | (Leaf::Numbers { .. }, Some(Kind::Array))
        )
    }
}

/// Appends what is of the calendar or of a clock.
#[inline]
fn moment(leaf: &Leaf, given: &Given<'_>, out: &mut Vec<u8>) -> Option<()> {
    match leaf {
        Leaf::Date => {
            let nanos = instant(given, ColumnType::Timestamp)?;
            // The time of the day would be lost.
            (nanos.rem_euclid(DAY) == 0).then_some(())?;
            long(out, i64::from(i32::try_from(nanos.div_euclid(DAY)).ok()?));
        }
        Leaf::Time { is_millis } => {
            let most = if *is_millis { 86_400_000 } else { 86_400_000_000 };
            let value = integer(given, ColumnType::Long, Timestamps::Iso)?;
            (0..most).contains(&value).then_some(())?;
            long(out, value);
        }
        Leaf::Timestamp(unit) => {
            let kind = match unit {
                Unit::Seconds | Unit::Millis => ColumnType::Date,
                Unit::Micros => ColumnType::Timestamp,
                Unit::Nanos => ColumnType::TimestampNs,
            };
            let ticks = instant(given, kind)?.div_euclid(nanos_of(*unit));
            long(out, i64::try_from(ticks).ok()?);
        }
        _ => return None,
    }
    Some(())
}

#[cold]
fn nothing(column: &Column, given: &Given<'_>) -> Unfit {
    let word = column.arms.first().map_or("null", |(_, leaf)| leaf.word());
    let (has, rule) = match given {
        Given::Missing => ("none", "neither null nor a default"),
        _ => ("null", "no null"),
    };
    let why = format!("is {word} in the schema, which has {rule}, and the record has {has}");
    Unfit { place: column.place, why }
}

#[cold]
fn unfit(column: &Column, given: &Given<'_>) -> Unfit {
    let words: Vec<&str> = column.arms.iter().map(|(_, leaf)| leaf.word()).collect();
    let help = match given.is_instant() {
        true => "; a timestamp becomes a number by `timestamps` of the sink",
        false => "",
    };
    let (words, shown) = (words.join(" or "), given.shown());
    let why = format!("is {words} in the schema, the record has {shown}{help}");
    Unfit { place: column.place, why }
}

/// Text as it is, and as text what loses nothing by it.
#[inline]
fn text(given: &Given<'_>, scratch: &mut Scratch, out: &mut Vec<u8>) -> Option<()> {
    match given.natural()? {
        Plain::Text(text) => counted(out, text),
        plain => {
            words(&plain, scratch)?;
            counted(out, &scratch.text);
        }
    }
    Some(())
}

/// A decimal or a whole number, times ten to the scale; `None` if that is not whole, or too large.
fn scaled(given: &Given<'_>, scale: u8) -> Option<i128> {
    let (number, from) = match given {
        Given::Cell(Cell { kind, flags, .. }, bytes) if *kind == Kind::Decimal as u8 => {
            (wide(bytes)?, *flags)
        }
        _ => match given.natural()? {
            Plain::Integer(value) => (i128::from(value), 0),
            _ => return None,
        },
    };
    let power = |digits: u8| 10_i128.checked_pow(u32::from(digits));
    match scale.checked_sub(from) {
        Some(more) => number.checked_mul(power(more)?),
        None => {
            let by = power(from - scale)?;
            (number % by == 0).then_some(number / by)
        }
    }
}

/// The number of a decimal cell, if it has 128 bits at most.
fn wide(bytes: &[u8]) -> Option<i128> {
    let digits = unscaled(bytes);
    let fill = if digits[0] & 0x80 == 0 { 0 } else { 0xff };
    let mut wide = [fill; 16];
    let start = wide.len().checked_sub(digits.len())?;
    wide[start..].copy_from_slice(digits);
    Some(i128::from_be_bytes(wide))
}

/// An unscaled number, big-endian two's complement: as short as it can be, or of one size.
fn decimal(number: i128, size: Option<usize>, out: &mut Vec<u8>) -> Option<()> {
    let wide = number.to_be_bytes();
    let digits = unscaled(&wide);
    match size {
        None => counted(out, digits),
        Some(size) => {
            let more = size.checked_sub(digits.len()).filter(|_| size <= DECIMAL_BYTES_MAX)?;
            out.resize(out.len() + more, if number < 0 { 0xff } else { 0 });
            out.extend_from_slice(digits);
        }
    }
    Some(())
}

/// The 16 bytes of 36 letters.
fn uuid(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut digits = text.iter().filter(|letter| **letter != b'-');
    let digit = |letter: &u8| char::from(*letter).to_digit(16).map(|digit| digit as u8);
    for _ in 0..16 {
        let (high, low) = (digit(digits.next()?)?, digit(digits.next()?)?);
        out.push(high << 4 | low);
    }
    Some(())
}

/// An array of numbers: blocks within blocks, each of all that there is.
fn numbers(given: &Given<'_>, dims: usize, item: Item, out: &mut Vec<u8>) -> Option<()> {
    let Plain::Array(cell) = given.natural()? else { return None };
    (array_dims(cell) as usize == dims).then_some(())?;
    let mut sides = [0; super::DIMS_MAX];
    for (at, side) in sides.iter_mut().take(dims).enumerate() {
        let word = cell.get(4 + 4 * at..8 + 4 * at)?;
        *side = u32::from_le_bytes(word.try_into().ok()?) as usize;
    }
    let mut values = cell.get((4 + 4 * dims).next_multiple_of(8)..)?;
    block(&sides[..dims], &mut values, item, out)
}

fn block(sides: &[usize], values: &mut &[u8], item: Item, out: &mut Vec<u8>) -> Option<()> {
    let [side, inner @ ..] = sides else { return None };
    if *side > 0 {
        long(out, *side as i64);
    }
    for _ in 0..*side {
        if !inner.is_empty() {
            block(inner, values, item, out)?;
            continue;
        }
        let (bytes, rest) = values.split_first_chunk::<8>()?;
        *values = rest;
        let value = f64::from_le_bytes(*bytes);
        if let Some((number, null)) = item.branches {
            long(out, i64::from(if value.is_nan() { null } else { number }));
            if value.is_nan() {
                continue;
            }
        }
        let whole = |most: f64| (value.fract() == 0.0 && value.abs() <= most).then_some(value);
        match item.form {
            Number::Double => out.extend_from_slice(bytes),
            Number::Float => out.extend_from_slice(&(value as f32).to_le_bytes()),
            // Beyond 2^53 a double is not a whole number of its own.
            Number::Long => long(out, whole(9_007_199_254_740_992.0)? as i64),
            Number::Int => {
                let value = whole(2_147_483_648.0)? as i64;
                long(out, i64::from(i32::try_from(value).ok()?));
            }
        }
    }
    out.push(0);
    Some(())
}
