//! What a cell says: the kinds of the contract as Rust values that borrow the memory they lie in.
//! Decoding checks everything that can be wrong with one cell.

use core::fmt;

use crate::layout::{
    ARRAY_DIMS_MAX, CELL_DROP, Cell, DECIMAL_BYTES_MAX, DECIMAL_SCALE_MAX, Kind, Unit,
};
use crate::read;

/// One cell's value.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Value<'m> {
    /// An explicit null.
    Null,
    /// In a patch: the column goes, as if it had been missing.
    Drop,
    /// True or false.
    Bool(bool),
    /// An integer.
    I64(i64),
    /// A floating-point number.
    F64(f64),
    /// Text.
    Text(&'m str),
    /// Text with few distinct values.
    Symbol(&'m str),
    /// Since 1970, in a unit.
    Timestamp(i64, Unit),
    /// Bytes.
    Bytes(&'m [u8]),
    /// `unscaled` (big-endian two's complement) times ten to the power of `-scale`.
    Decimal {
        /// Digits after the point.
        scale: u8,
        /// The number without its point.
        unscaled: &'m [u8],
    },
    /// Numbers in one or more dimensions.
    Array(Array<'m>),
}

/// An array of `f64`, in row-major order.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Array<'m> {
    /// All of it, as the cell points to it.
    bytes: &'m [u8],
    /// One `u32` for each dimension, little-endian; one to [`ARRAY_DIMS_MAX`] of them.
    shape: &'m [[u8; 4]],
    /// The numbers' bits, little-endian; as many as the shape's product.
    data: &'m [[u8; 8]],
}

impl<'m> Array<'m> {
    /// How many dimensions there are.
    pub fn dims(&self) -> usize {
        self.shape.len()
    }

    /// The length of each dimension.
    pub fn shape(&self) -> impl ExactSizeIterator<Item = u32> + 'm {
        self.shape.iter().map(|side| u32::from_le_bytes(*side))
    }

    /// The numbers.
    pub fn values(&self) -> impl ExactSizeIterator<Item = f64> + 'm {
        self.data.iter().map(|bits| f64::from_bits(u64::from_le_bytes(*bits)))
    }

    /// Dimensions, shape, padding and numbers, as the contract lays them out.
    pub fn bytes(&self) -> &'m [u8] {
        self.bytes
    }

    /// The numbers' bytes, as line protocol wants them.
    pub fn data(&self) -> &'m [u8] {
        self.data.as_flattened()
    }
}

/// What can be wrong with one cell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadValue {
    /// No such kind in this version.
    Kind(u8),
    /// Flags that this kind does not have.
    Flags(u8),
    /// A bool that is neither 0 nor 1.
    Bool(u64),
    /// No such timestamp unit.
    Unit(u8),
    /// The bytes are not (all) in the memory.
    Outside {
        /// Where they were said to begin.
        ptr: u64,
        /// How many there were said to be.
        len: u32,
    },
    /// Text that is not UTF-8.
    Utf8,
    /// A decimal of more than 32 bytes or of none, or a scale above 76.
    Decimal {
        /// Its scale.
        scale: u8,
        /// Its bytes.
        len: u32,
    },
    /// An array whose length does not follow from its dimensions, or with none or too many.
    Array,
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadValue::Kind(kind) => write!(f, "unknown kind {kind}"),
            BadValue::Flags(flags) => write!(f, "flags {flags} mean nothing for its kind"),
            BadValue::Bool(value) => write!(f, "bool is {value}, not 0 or 1"),
            BadValue::Unit(unit) => write!(f, "unknown timestamp unit {unit}"),
            BadValue::Outside { ptr, len } => {
                write!(f, "{len} bytes at {ptr:#x} are outside the memory")
            }
            BadValue::Utf8 => f.write_str("text is not UTF-8"),
            BadValue::Decimal { scale, len } => {
                write!(f, "decimal of {len} bytes with scale {scale} (1 to 32 bytes, scale to 76)")
            }
            BadValue::Array => f.write_str("array's length does not follow from its dimensions"),
        }
    }
}

/// What a cell says, whose pointers are addresses in `memory` plus `base` (0 for the host, who
/// sees the whole memory; the arena's address for a guest that only sees its arena).
#[inline]
pub fn decode<'m>(memory: &'m [u8], base: u32, cell: &Cell) -> Result<Value<'m>, BadValue> {
    let kind = Kind::from_u8(cell.kind).ok_or(BadValue::Kind(cell.kind))?;
    let plain = |value| if cell.flags == 0 { Ok(value) } else { Err(BadValue::Flags(cell.flags)) };
    match kind {
        Kind::Null if cell.flags == CELL_DROP => Ok(Value::Drop),
        Kind::Null => plain(Value::Null),
        Kind::Bool if cell.value > 1 => Err(BadValue::Bool(cell.value)),
        Kind::Bool => plain(Value::Bool(cell.value == 1)),
        Kind::I64 => plain(Value::I64(cell.value as i64)),
        Kind::F64 => plain(Value::F64(f64::from_bits(cell.value))),
        Kind::Text => plain(Value::Text(text(pointed(memory, base, cell)?)?)),
        Kind::Symbol => plain(Value::Symbol(text(pointed(memory, base, cell)?)?)),
        Kind::Timestamp => {
            let unit = Unit::from_u8(cell.flags).ok_or(BadValue::Unit(cell.flags))?;
            Ok(Value::Timestamp(cell.value as i64, unit))
        }
        Kind::Bytes => plain(Value::Bytes(pointed(memory, base, cell)?)),
        Kind::Decimal => decimal(pointed(memory, base, cell)?, cell),
        Kind::Array => plain(Value::Array(array(pointed(memory, base, cell)?)?)),
    }
}

/// The bytes that a cell points to.
#[inline]
pub fn pointed<'m>(memory: &'m [u8], base: u32, cell: &Cell) -> Result<&'m [u8], BadValue> {
    cell.value
        .checked_sub(u64::from(base))
        .and_then(|at| usize::try_from(at).ok())
        .and_then(|at| read::bytes(memory, at, cell.len as usize))
        .ok_or(BadValue::Outside { ptr: cell.value, len: cell.len })
}

#[inline]
fn text(bytes: &[u8]) -> Result<&str, BadValue> {
    core::str::from_utf8(bytes).map_err(|_| BadValue::Utf8)
}

fn decimal<'m>(unscaled: &'m [u8], cell: &Cell) -> Result<Value<'m>, BadValue> {
    let fits = (1..=DECIMAL_BYTES_MAX).contains(&unscaled.len()) && cell.flags <= DECIMAL_SCALE_MAX;
    if !fits {
        return Err(BadValue::Decimal { scale: cell.flags, len: cell.len });
    }
    Ok(Value::Decimal { scale: cell.flags, unscaled })
}

/// An array out of its bytes: dimensions, shape, padding to 8, numbers, and nothing behind.
pub fn array(bytes: &[u8]) -> Result<Array<'_>, BadValue> {
    let (dims, rest) = bytes.split_first_chunk::<4>().ok_or(BadValue::Array)?;
    let dims = u32::from_le_bytes(*dims);
    if dims == 0 || dims > ARRAY_DIMS_MAX {
        return Err(BadValue::Array);
    }
    let sides = dims as usize * 4;
    let (shape, _) = rest.get(..sides).ok_or(BadValue::Array)?.as_chunks::<4>();
    let count = shape
        .iter()
        .try_fold(1u32, |count, side| count.checked_mul(u32::from_le_bytes(*side)))
        .ok_or(BadValue::Array)?;
    let data = bytes.get(crate::build::align8(4 + sides)..).ok_or(BadValue::Array)?;
    let (data, behind) = data.as_chunks::<8>();
    if data.len() != count as usize || !behind.is_empty() {
        return Err(BadValue::Array);
    }
    Ok(Array { bytes, shape, data })
}
