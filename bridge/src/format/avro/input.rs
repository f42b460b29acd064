//! The bytes of one value, read from the front (Avro specification 1.12, "Binary Encoding").
//! Whatever they are, nothing here panics or allocates.

use std::fmt;

use crate::format::flat::Unnamed;
use crate::format::varint::{self, unzigzag};

/// Items of no size at all in one record: an array of them is as long as it says, out of nothing.
const EMPTY_ITEMS_MAX: u32 = 1_000;

/// Why bytes are not what the schema says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Bad {
    Short,
    Number,
    Boolean(u8),
    Utf8,
    Length(i64),
    Branch(i64),
    Symbol(i64),
    /// The writer's symbol is none of the reader's.
    Unknown,
    EmptyItems,
    TooDeep(usize),
    TooManyFields(usize),
    Unnamed(Unnamed),
    TooMuchText,
    /// A decimal beyond what a cell holds.
    TooWide,
    Left(usize),
    /// The writer's type cannot be read as the reader's.
    Unlike(Box<str>),
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bad::Short => f.write_str("the value ends within it"),
            Bad::Number => f.write_str("a number that does not fit its type"),
            Bad::Boolean(byte) => write!(f, "the byte {byte} is no boolean"),
            Bad::Utf8 => f.write_str("text that is not UTF-8"),
            Bad::Length(length) => write!(f, "{length} is no length"),
            Bad::Branch(branch) => write!(f, "its union has no branch {branch}"),
            Bad::Symbol(symbol) => write!(f, "its enum has no symbol {symbol}"),
            Bad::Unknown => f.write_str("the writer's symbol is none of the reader's"),
            Bad::EmptyItems => {
                write!(f, "more than {EMPTY_ITEMS_MAX} items of no size")
            }
            Bad::TooDeep(max) => write!(f, "nested deeper than {max}"),
            Bad::TooManyFields(max) => write!(f, "more than {max} fields"),
            Bad::Unnamed(unnamed) => unnamed.fmt(f),
            Bad::TooMuchText => f.write_str("it becomes far more text than it has bytes"),
            Bad::TooWide => f.write_str("a decimal of more than 32 bytes"),
            Bad::Left(count) => write!(f, "{count} bytes are left behind it"),
            Bad::Unlike(why) => f.write_str(why),
        }
    }
}

impl From<Unnamed> for Bad {
    fn from(unnamed: Unnamed) -> Bad {
        Bad::Unnamed(unnamed)
    }
}

/// What is left of a value.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    rest: &'a [u8],
    empty_items_left: u32,
}

impl<'a> Input<'a> {
    /// A value from its first byte on.
    pub fn new(bytes: &'a [u8]) -> Input<'a> {
        Input { rest: bytes, empty_items_left: EMPTY_ITEMS_MAX }
    }

    /// Bytes that are left.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// An `int` or a `long`: zigzag, seven bits a byte, the lowest first.
    #[inline]
    pub fn long(&mut self) -> Result<i64, Bad> {
        let (value, count) = varint::read(self.rest).map_err(|wrong| match wrong {
            varint::Wrong::Short => Bad::Short,
            varint::Wrong::Long => Bad::Number,
        })?;
        self.rest = &self.rest[count..];
        Ok(unzigzag(value))
    }

    /// An `int`.
    #[inline]
    pub fn int(&mut self) -> Result<i64, Bad> {
        let value = self.long()?;
        if i32::try_from(value).is_ok() { Ok(value) } else { Err(Bad::Number) }
    }

    /// A `boolean`.
    #[inline]
    pub fn boolean(&mut self) -> Result<bool, Bad> {
        match self.array::<1>()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [byte] => Err(Bad::Boolean(byte)),
        }
    }

    /// A `float`.
    #[inline]
    pub fn float(&mut self) -> Result<f32, Bad> {
        self.array().map(f32::from_le_bytes)
    }

    /// A `double`.
    #[inline]
    pub fn double(&mut self) -> Result<f64, Bad> {
        self.array().map(f64::from_le_bytes)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Bad> {
        let (array, rest) = self.rest.split_first_chunk::<N>().ok_or(Bad::Short)?;
        self.rest = rest;
        Ok(*array)
    }

    /// So many bytes.
    #[inline]
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Bad> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Bad::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    /// `bytes`, or a `string` that nobody has looked at.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], Bad> {
        let length = self.long()?;
        let count = usize::try_from(length).map_err(|_| Bad::Length(length))?;
        self.take(count)
    }

    /// A `string`.
    #[inline]
    pub fn text(&mut self) -> Result<&'a str, Bad> {
        simdutf8::basic::from_utf8(self.bytes()?).map_err(|_| Bad::Utf8)
    }

    /// The branch of a union, or the symbol of an enum: an index.
    #[inline]
    pub fn index(&mut self, bad: fn(i64) -> Bad) -> Result<usize, Bad> {
        let index = self.long()?;
        usize::try_from(index).map_err(|_| bad(index))
    }

    /// The head of a block of an array or a map: how many items follow; 0 ends it. The number of
    /// bytes that some writers add is passed over.
    #[inline]
    pub fn block(&mut self) -> Result<u64, Bad> {
        let count = self.long()?;
        if count < 0 {
            let bytes = self.long()?;
            if bytes < 0 {
                return Err(Bad::Length(bytes));
            }
        }
        Ok(count.unsigned_abs())
    }

    /// Told after each item of a block, with what was left before it.
    #[inline]
    pub fn after_item(&mut self, left_before: usize) -> Result<(), Bad> {
        if self.rest.len() == left_before {
            self.empty_items_left = self.empty_items_left.checked_sub(1).ok_or(Bad::EmptyItems)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longs_are_read_to_their_ends() {
        let check = |bytes: &[u8], read: Result<i64, Bad>| {
            assert_eq!(Input::new(bytes).long(), read, "{bytes:?}");
        };
        check(&[0], Ok(0));
        check(&[1], Ok(-1));
        check(&[0x80, 0x01], Ok(64));
        let most = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        check(&most, Ok(i64::MAX));
        let least = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        check(&least, Ok(i64::MIN));
        check(&[0xff; 9], Err(Bad::Short));
        check(&[0xff; 10], Err(Bad::Number));
        check(&[0x80; 11], Err(Bad::Number));
        check(&[], Err(Bad::Short));
        assert_eq!(Input::new(&[0x80, 0x80, 0x80, 0x80, 0x10]).int(), Err(Bad::Number));
        assert_eq!(Input::new(&[0xff, 0xff, 0xff, 0xff, 0x0f]).int(), Ok(i64::from(i32::MIN)));
    }

    #[test]
    fn lengths_are_not_believed() {
        assert_eq!(Input::new(&[1]).bytes(), Err(Bad::Length(-1)));
        assert_eq!(Input::new(&[4, b'a']).bytes(), Err(Bad::Short));
        assert_eq!(Input::new(&[2, 0xff]).text(), Err(Bad::Utf8));
        assert_eq!(Input::new(&[2]).boolean(), Err(Bad::Boolean(2)));
        assert_eq!(Input::new(&[1, 1]).block(), Err(Bad::Length(-1)));
        let least = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0x00];
        assert_eq!(Input::new(&least).block(), Ok(1 << 63));
    }
}
