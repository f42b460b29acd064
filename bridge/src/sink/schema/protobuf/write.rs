//! One row by its plan (protobuf.dev, "Encoding"): fields in the order of their numbers, what is not
//! there left out.

use super::super::row::{Given, Row, Unfit};
use super::super::value::{Scratch, bytes, double, instant, integer, words};
use super::{Field, Fields, Leaf, Of, Plan, Presence, Whole};
use crate::shape::ColumnType;
use crate::sink::questdb::array_dims;
use crate::sink::text::Plain;

/// How the bytes of a field are told apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    Varint = 0,
    Fixed64 = 1,
    Counted = 2,
    Fixed32 = 5,
}

/// Seven bits a byte, the lowest first.
#[inline]
fn varint(out: &mut Vec<u8>, mut left: u64) {
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

/// The same of a number with a sign, which stands in the lowest bit.
pub fn zigzag(out: &mut Vec<u8>, value: i64) {
    varint(out, ((value << 1) ^ (value >> 63)) as u64);
}

#[inline]
fn tag(out: &mut Vec<u8>, number: u32, wire: Wire) {
    varint(out, u64::from(number) << 3 | wire as u64);
}

#[inline]
fn counted(out: &mut Vec<u8>, bytes: &[u8]) {
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Puts the count of all that was appended since `start` before it.
fn close(out: &mut Vec<u8>, start: usize) {
    let count = out.len() - start;
    varint(out, count as u64);
    let before = out.len() - start - count;
    out[start..].rotate_right(before);
}

impl Plan {
    /// Appends a row's value. What was appended of one that does not fit is no value.
    pub fn write(
        &self,
        row: &Row<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<(), Unfit> {
        self.message.write(row, scratch, out)
    }
}

impl Fields {
    fn write(&self, row: &Row<'_>, scratch: &mut Scratch, out: &mut Vec<u8>) -> Result<(), Unfit> {
        for members in &self.oneofs {
            let mut there = members.iter().filter(|place| row.has_any(&[**place]));
            if let (Some(_), Some(place)) = (there.next(), there.next()) {
                let why = "is one of a `oneof`, and the record has another of it, too".to_owned();
                return Err(Unfit { place: *place, why });
            }
        }
        for Field { number, of } in &self.fields {
            match of {
                Of::Value { place, presence, leaf } => {
                    let given = row.given(*place);
                    if let Given::Missing | Given::Null = given {
                        if *presence == Presence::Required {
                            let why = format!("is {} and required", leaf.word());
                            let why = format!("{why}, and the record has {}", given.shown());
                            return Err(Unfit { place: *place, why });
                        }
                        continue;
                    }
                    let start = out.len();
                    if leaf.field(*number, *presence, &given, scratch, out).is_none() {
                        out.truncate(start);
                        return Err(unfit(*place, leaf, &given));
                    }
                }
                Of::Message { places, required, fields } => {
                    if !required && !row.has_any(places) {
                        continue;
                    }
                    tag(out, *number, Wire::Counted);
                    let start = out.len();
                    fields.write(row, scratch, out)?;
                    close(out, start);
                }
            }
        }
        Ok(())
    }
}

#[cold]
fn unfit(place: u32, leaf: &Leaf, given: &Given<'_>) -> Unfit {
    let help = match given.is_instant() {
        true => "; a timestamp becomes a number by `timestamps` of the sink",
        false => "",
    };
    let why = format!("is {} in the schema, the record has {}{help}", leaf.word(), given.shown());
    Unfit { place, why }
}

impl Leaf {
    /// Appends a field, unless it is one that is not written; `None` if the value is none of it.
    #[inline]
    fn field(
        &self,
        number: u32,
        presence: Presence,
        given: &Given<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        match self {
            Leaf::Numbers { of, packed } => return of.numbers(number, *packed, given, out),
            Leaf::Timestamp => {
                tag(out, number, Wire::Counted);
                let start = out.len();
                timestamp(given, out)?;
                close(out, start);
                return Some(());
            }
            Leaf::Wrapped(of) => {
                tag(out, number, Wire::Counted);
                let start = out.len();
                of.field(1, Presence::Implicit, given, scratch, out)?;
                close(out, start);
                return Some(());
            }
            _ => {}
        }
        let start = out.len();
        tag(out, number, self.wire());
        let value = out.len();
        let is_zero = self.value(given, scratch, out)?;
        debug_assert!(out.len() > value || self.wire() != Wire::Varint);
        if is_zero && presence == Presence::Implicit {
            out.truncate(start);
        }
        Some(())
    }

    fn wire(&self) -> Wire {
        match self {
            Leaf::Double | Leaf::Int64(Whole::Fixed) | Leaf::Uint64 { is_fixed: true } => {
                Wire::Fixed64
            }
            Leaf::Float | Leaf::Int32(Whole::Fixed) | Leaf::Uint32 { is_fixed: true } => {
                Wire::Fixed32
            }
            Leaf::Text | Leaf::Bytes => Wire::Counted,
            Leaf::Int32(_)
            | Leaf::Int64(_)
            | Leaf::Uint32 { .. }
            | Leaf::Uint64 { .. }
            | Leaf::Bool
            | Leaf::Enum(_) => Wire::Varint,
            Leaf::Timestamp | Leaf::Wrapped(_) | Leaf::Numbers { .. } => Wire::Counted,
        }
    }

    /// Appends a value without its tag; whether it is zero.
    #[inline]
    fn value(&self, given: &Given<'_>, scratch: &mut Scratch, out: &mut Vec<u8>) -> Option<bool> {
        Some(match self {
            Leaf::Double => self.number(double(given, ColumnType::Double)?, out)?,
            Leaf::Float => self.number(double(given, ColumnType::Float)?, out)?,
            Leaf::Int32(_) => {
                self.whole(integer(given, ColumnType::Int, scratch.timestamps)?, out)?
            }
            Leaf::Int64(_) | Leaf::Uint32 { .. } | Leaf::Uint64 { .. } => {
                self.whole(integer(given, ColumnType::Long, scratch.timestamps)?, out)?
            }
            Leaf::Bool => match given.fit(ColumnType::Boolean)? {
                Plain::Bool(value) => {
                    out.push(u8::from(value));
                    !value
                }
                _ => return None,
            },
            Leaf::Text => match given.natural()? {
                Plain::Text(text) => {
                    counted(out, text);
                    text.is_empty()
                }
                plain => {
                    words(&plain, scratch)?;
                    counted(out, &scratch.text);
                    scratch.text.is_empty()
                }
            },
            Leaf::Bytes => {
                let bytes = bytes(given)?;
                counted(out, bytes);
                bytes.is_empty()
            }
            Leaf::Enum(values) => {
                let number = match given.natural()? {
                    Plain::Text(text) => values.iter().find(|(name, _)| name.as_bytes() == text)?.1,
                    Plain::Integer(number) => i32::try_from(number).ok()?,
                    _ => return None,
                };
                varint(out, i64::from(number) as u64);
                number == 0
            }
            Leaf::Timestamp | Leaf::Wrapped(_) | Leaf::Numbers { .. } => return None,
        })
    }

    /// Appends a whole number; whether it is zero.
    #[inline]
    fn whole(&self, value: i64, out: &mut Vec<u8>) -> Option<bool> {
        match self {
            Leaf::Int32(how) | Leaf::Int64(how) => {
                let narrow = matches!(self, Leaf::Int32(_));
                let short = i32::try_from(value).ok();
                match (how, narrow) {
                    (_, true) if short.is_none() => return None,
                    (Whole::Plain, _) => varint(out, value as u64),
                    (Whole::Zigzag, _) => zigzag(out, value),
                    (Whole::Fixed, true) => out.extend_from_slice(&short?.to_le_bytes()),
                    (Whole::Fixed, false) => out.extend_from_slice(&value.to_le_bytes()),
                }
            }
            Leaf::Uint32 { is_fixed } => {
                let value = u32::try_from(value).ok()?;
                match is_fixed {
                    true => out.extend_from_slice(&value.to_le_bytes()),
                    false => varint(out, u64::from(value)),
                }
            }
            Leaf::Uint64 { is_fixed } => {
                let value = u64::try_from(value).ok()?;
                match is_fixed {
                    true => out.extend_from_slice(&value.to_le_bytes()),
                    false => varint(out, value),
                }
            }
            _ => return None,
        }
        Some(value == 0)
    }

    /// Appends a double or a float; whether it is zero, which minus zero is not.
    #[inline]
    fn number(&self, value: f64, out: &mut Vec<u8>) -> Option<bool> {
        match self {
            Leaf::Double => out.extend_from_slice(&value.to_le_bytes()),
            _ => {
                // A number that is beyond its range is another one.
                let narrow = value as f32;
                (narrow.is_finite() || !value.is_finite()).then_some(())?;
                out.extend_from_slice(&narrow.to_le_bytes());
                return Some(narrow.to_bits() == 0);
            }
        }
        Some(value.to_bits() == 0)
    }

    /// Appends a repeated field of an array of one dimension.
    fn numbers(
        &self,
        number: u32,
        packed: bool,
        given: &Given<'_>,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let Plain::Array(cell) = given.natural()? else { return None };
        (array_dims(cell) == 1).then_some(())?;
        let values = cell.get(8..)?.chunks_exact(8);
        if values.len() == 0 {
            return Some(());
        }
        if packed {
            tag(out, number, Wire::Counted);
        }
        let start = out.len();
        for bytes in values {
            if !packed {
                tag(out, number, self.wire());
            }
            let value = f64::from_le_bytes(bytes.try_into().ok()?);
            match self {
                Leaf::Double | Leaf::Float => self.number(value, out)?,
                // Beyond 2^53 a double is not a whole number of its own.
                _ if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 => {
                    self.whole(value as i64, out)?
                }
                _ => return None,
            };
        }
        if packed {
            close(out, start);
        }
        Some(())
    }
}

/// Seconds and nanoseconds since 1970, from year 1 to year 9999 (`timestamp.proto`).
fn timestamp(given: &Given<'_>, out: &mut Vec<u8>) -> Option<()> {
    const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
    let nanos = match given.is_instant() {
        true => match given.natural()? {
            Plain::Instant(nanos, _) => nanos,
            _ => return None,
        },
        false => instant(given, ColumnType::TimestampNs)?,
    };
    let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).ok()?;
    SECONDS.contains(&seconds).then_some(())?;
    let fraction = nanos.rem_euclid(1_000_000_000) as u64;
    if seconds != 0 {
        tag(out, 1, Wire::Varint);
        varint(out, seconds as u64);
    }
    if fraction != 0 {
        tag(out, 2, Wire::Varint);
        varint(out, fraction);
    }
    Some(())
}
