//! Bytes as Protobuf's encoding has them (protobuf.dev, "Encoding"): tags, the four forms of what
//! stands behind them, and what can be wrong. Whatever the bytes are, nothing here panics,
//! allocates, or recurses without bound.

use std::fmt;

use crate::format::flat::Unnamed;
use crate::format::varint::{self, unzigzag};
use crate::schemas::proto::Scalar;

/// Messages within one another in one value, those that nobody knows among them.
pub const DEPTH_MAX: usize = 100;
/// Times that a `oneof` may change its mind in one record: nobody writes more than one member.
pub const SWITCHES_MAX: u32 = 1_000;

/// How the bytes behind a tag are to be read.
pub const VARINT: u8 = 0;
pub const EIGHT: u8 = 1;
pub const LENGTH: u8 = 2;
pub const GROUP: u8 = 3;
pub const GROUP_END: u8 = 4;
pub const FOUR: u8 = 5;

/// Why bytes are not what the schema says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Bad {
    Short,
    Varint,
    Tag(u64),
    /// Another form than its type has.
    Form(u8),
    /// The end of a group that did not begin.
    End(u32),
    /// A group that does not end.
    Open(u32),
    Utf8,
    TooDeep,
    TooManyFields(usize),
    Unnamed(Unnamed),
    TooMuchText,
    Switches,
    /// Outside of the years 1 to 9999, or with too many nanoseconds.
    Timestamp,
    Duration,
    /// Beyond what nanoseconds in 64 bits hold.
    LongDuration,
    Date,
    Scale(i64),
    /// A decimal beyond what a cell holds.
    TooWide,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bad::Short => f.write_str("the value ends within it"),
            Bad::Varint => f.write_str("a number of more than 64 bits"),
            Bad::Tag(tag) => write!(f, "{tag} is no tag of a field"),
            Bad::Form(form) => {
                write!(f, "{} is not what its type is written as", form_in_words(*form))
            }
            Bad::End(number) => write!(f, "group {number} ends, which did not begin"),
            Bad::Open(number) => write!(f, "group {number} does not end"),
            Bad::Utf8 => f.write_str("text that is not UTF-8"),
            Bad::TooDeep => write!(f, "nested deeper than {DEPTH_MAX}"),
            Bad::TooManyFields(max) => write!(f, "more than {max} fields"),
            Bad::Unnamed(unnamed) => unnamed.fmt(f),
            Bad::TooMuchText => f.write_str("it becomes far more text than it has bytes"),
            Bad::Switches => write!(f, "members of a oneof more than {SWITCHES_MAX} times in turn"),
            Bad::Timestamp => f.write_str("no moment of the years 1 to 9999"),
            Bad::Duration => f.write_str("seconds and nanoseconds that are no duration"),
            Bad::LongDuration => {
                f.write_str("more nanoseconds than 64 bits hold (durations = \"text\" has room)")
            }
            Bad::Date => f.write_str("no whole date of the years 1 to 9999"),
            Bad::Scale(scale) => write!(f, "a decimal's scale of {scale}, and not 0 to 76"),
            Bad::TooWide => f.write_str("a decimal of more than 32 bytes"),
        }
    }
}

fn form_in_words(form: u8) -> &'static str {
    match form {
        VARINT => "a varint",
        EIGHT => "eight bytes",
        LENGTH => "bytes behind their length",
        GROUP => "a group",
        FOUR => "four bytes",
        _ => "something unknown",
    }
}

impl From<Unnamed> for Bad {
    fn from(unnamed: Unnamed) -> Bad {
        Bad::Unnamed(unnamed)
    }
}

/// A varint.
#[inline(always)]
pub fn varint(rest: &mut &[u8]) -> Result<u64, Bad> {
    match varint::read(rest) {
        Ok((value, count)) => {
            *rest = &rest[count..];
            Ok(value)
        }
        Err(varint::Wrong::Short) => Err(Bad::Short),
        Err(varint::Wrong::Long) => Err(Bad::Varint),
    }
}

/// So many bytes as they are.
#[inline(always)]
pub fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Bad> {
    let (array, after) = rest.split_first_chunk::<N>().ok_or(Bad::Short)?;
    *rest = after;
    Ok(*array)
}

/// Bytes behind their length.
#[inline(always)]
pub fn bytes<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Bad> {
    let length = varint(rest)?;
    let length = usize::try_from(length).map_err(|_| Bad::Short)?;
    let (bytes, after) = rest.split_at_checked(length).ok_or(Bad::Short)?;
    *rest = after;
    Ok(bytes)
}

/// A tag: the field's number, and the form of what follows.
#[inline]
pub fn tag(rest: &mut &[u8]) -> Result<(u32, u8), Bad> {
    let tag = varint(rest)?;
    match u32::try_from(tag) {
        Ok(short) if short >> 3 > 0 && short & 7 <= 5 => Ok((short >> 3, (short & 7) as u8)),
        _ => Err(Bad::Tag(tag)),
    }
}

/// What stands behind a tag, without its length and without the end of a group.
pub fn content<'a>(rest: &mut &'a [u8], number: u32, form: u8) -> Result<&'a [u8], Bad> {
    content_within(rest, number, form, 0)
}

fn content_within<'a>(
    rest: &mut &'a [u8],
    number: u32,
    form: u8,
    depth: usize,
) -> Result<&'a [u8], Bad> {
    let before = *rest;
    match form {
        VARINT => varint(rest).map(drop)?,
        EIGHT => array::<8>(rest).map(drop)?,
        FOUR => array::<4>(rest).map(drop)?,
        LENGTH => return bytes(rest),
        GROUP => loop {
            if depth >= DEPTH_MAX {
                return Err(Bad::TooDeep);
            }
            if rest.is_empty() {
                return Err(Bad::Open(number));
            }
            let end = before.len() - rest.len();
            match tag(rest)? {
                (ends, GROUP_END) if ends == number => return Ok(&before[..end]),
                (ends, GROUP_END) => return Err(Bad::End(ends)),
                (inner, form) => content_within(rest, inner, form, depth + 1).map(drop)?,
            }
        },
        _ => return Err(Bad::End(number)),
    }
    Ok(&before[..before.len() - rest.len()])
}

/// A scalar's value.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Value<'a> {
    Bool(bool),
    I64(i64),
    U64(u64),
    F32(f32),
    F64(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl Value<'_> {
    /// As an array of numbers has it; nothing else is asked.
    pub fn number(self) -> f64 {
        match self {
            Value::Bool(value) => f64::from(u8::from(value)),
            Value::I64(value) => value as f64,
            Value::U64(value) => value as f64,
            Value::F32(value) => f64::from(value),
            Value::F64(value) => value,
            Value::Text(_) | Value::Bytes(_) => f64::NAN,
        }
    }
}

/// The form that a scalar is written in.
pub const fn form_of(scalar: Scalar) -> u8 {
    match scalar {
        Scalar::Double | Scalar::Fixed64 | Scalar::Sfixed64 => EIGHT,
        Scalar::Float | Scalar::Fixed32 | Scalar::Sfixed32 => FOUR,
        Scalar::String | Scalar::Bytes => LENGTH,
        _ => VARINT,
    }
}

/// Reads a scalar; text and bytes are all that is there.
pub fn scalar<'a>(rest: &mut &'a [u8], scalar: Scalar) -> Result<Value<'a>, Bad> {
    Ok(match scalar {
        Scalar::Double => Value::F64(f64::from_le_bytes(array(rest)?)),
        Scalar::Float => Value::F32(f32::from_le_bytes(array(rest)?)),
        // Whoever has more bits than the type cuts them, as every reader does.
        Scalar::Int32 => Value::I64(i64::from(varint(rest)? as i32)),
        Scalar::Int64 => Value::I64(varint(rest)? as i64),
        Scalar::Uint32 => Value::I64(i64::from(varint(rest)? as u32)),
        Scalar::Uint64 => Value::U64(varint(rest)?),
        Scalar::Sint32 => Value::I64(unzigzag(u64::from(varint(rest)? as u32))),
        Scalar::Sint64 => Value::I64(unzigzag(varint(rest)?)),
        Scalar::Fixed32 => Value::I64(i64::from(u32::from_le_bytes(array(rest)?))),
        Scalar::Fixed64 => Value::U64(u64::from_le_bytes(array(rest)?)),
        Scalar::Sfixed32 => Value::I64(i64::from(i32::from_le_bytes(array(rest)?))),
        Scalar::Sfixed64 => Value::I64(i64::from_le_bytes(array(rest)?)),
        Scalar::Bool => Value::Bool(varint(rest)? != 0),
        Scalar::String => {
            let text = simdutf8::basic::from_utf8(std::mem::take(rest)).map_err(|_| Bad::Utf8)?;
            Value::Text(text)
        }
        Scalar::Bytes => Value::Bytes(std::mem::take(rest)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(number: u32, form: u8, bytes: &[u8]) -> Result<(Vec<u8>, usize), Bad> {
        let mut rest = bytes;
        content(&mut rest, number, form).map(|content| (content.to_vec(), rest.len()))
    }

    #[test]
    fn contents_end_where_they_end() {
        assert_eq!(read(1, VARINT, &[0x80, 1, 9]), Ok((vec![0x80, 1], 1)));
        assert_eq!(read(1, LENGTH, &[2, 7, 8, 9]), Ok((vec![7, 8], 1)));
        assert_eq!(read(1, FOUR, &[1, 2, 3]), Err(Bad::Short));
        assert_eq!(read(1, LENGTH, &[0xff; 10]), Err(Bad::Varint));
        assert_eq!(read(1, LENGTH, &[5, 1]), Err(Bad::Short));
        // Group 1 with group 2 within it.
        assert_eq!(read(1, GROUP, &[0x13, 0x14, 0x0c, 5]), Ok((vec![0x13, 0x14], 1)));
        assert_eq!(read(1, GROUP, &[0x14]), Err(Bad::End(2)));
        assert_eq!(read(1, GROUP, &[0x08, 1]), Err(Bad::Open(1)));
        assert_eq!(read(1, GROUP, &[0x13; 1_000]), Err(Bad::TooDeep));
    }

    #[test]
    fn tags_have_a_number_and_a_form() {
        let read = |bytes: &[u8]| tag(&mut &*bytes);
        assert_eq!(read(&[0x0a]), Ok((1, LENGTH)));
        assert_eq!(read(&[0xf8, 0xff, 0xff, 0xff, 0x0f]), Ok((0x1fff_ffff, VARINT)));
        assert_eq!(read(&[0x02]), Err(Bad::Tag(2)));
        assert_eq!(read(&[0x0e]), Err(Bad::Tag(14)));
        assert_eq!(read(&[0x80, 0x80, 0x80, 0x80, 0x10]), Err(Bad::Tag(1 << 32)));
    }
}
