//! What stands at a place, as the numbers, times and texts that schemas have. A value that would be
//! another one is none.

use super::row::Given;
use crate::shape::ColumnType;
use crate::sink::text::{Plain, Timestamps, push_bare, push_value};
use crate::times::nanos_of;

/// What is needed from row to row.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Text whose length is not known before it is written.
    pub text: Vec<u8>,
    /// How timestamps are written where the schema has numbers or text.
    pub timestamps: Timestamps,
}

/// A whole number; of a timestamp, where it is said in which unit.
#[inline]
pub fn integer(given: &Given<'_>, kind: ColumnType, timestamps: Timestamps) -> Option<i64> {
    if let Some(unit) = timestamps.unit()
        && given.is_instant()
    {
        let Plain::Instant(nanos, _) = given.natural()? else { return None };
        let ticks = i64::try_from(nanos.div_euclid(nanos_of(unit))).ok()?;
        let fits = kind == ColumnType::Long || i32::try_from(ticks).is_ok();
        return fits.then_some(ticks);
    }
    match given.fit(kind)? {
        Plain::Integer(value) => Some(value),
        _ => None,
    }
}

#[inline]
pub fn double(given: &Given<'_>, kind: ColumnType) -> Option<f64> {
    match given.fit(kind)? {
        Plain::Double(value) => Some(value),
        _ => None,
    }
}

/// Nanoseconds since 1970, in the resolution of a column.
#[inline]
pub fn instant(given: &Given<'_>, kind: ColumnType) -> Option<i128> {
    match given.fit(kind)? {
        Plain::Instant(nanos, _) => Some(nanos),
        _ => None,
    }
}

#[inline]
pub fn bytes<'a>(given: &Given<'a>) -> Option<&'a [u8]> {
    match given.natural()? {
        Plain::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

/// What is no text as text, in the scratch; bytes are not.
pub fn words(plain: &Plain<'_>, scratch: &mut Scratch) -> Option<()> {
    scratch.text.clear();
    match plain {
        Plain::Null | Plain::Bytes(_) => return None,
        Plain::Array(_) => push_value(&mut scratch.text, plain, scratch.timestamps),
        plain => push_bare(&mut scratch.text, plain, scratch.timestamps),
    }
    Some(())
}
