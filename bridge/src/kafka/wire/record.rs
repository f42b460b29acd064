//! Records inside a batch, as slices of it. Pure, and nothing is allocated.

use super::vet::Flaw;
use crate::batch::EachHeader;

/// The shortest record: its length, attributes, two deltas, two lengths and a count, a byte each.
pub const RECORD_BYTES_MIN: usize = 7;

/// One record, as its batch has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Raw<'a> {
    /// What its timestamp is beyond the batch's first.
    pub timestamp_delta: i64,
    /// What its offset is beyond the batch's first.
    pub offset_delta: i32,
    /// `None` is a null key.
    pub key: Option<&'a [u8]>,
    /// `None` is a null value.
    pub value: Option<&'a [u8]>,
    /// Its headers with their count, to be read by [`headers`]; empty if it has none.
    pub headers: &'a [u8],
}

/// The record at `at`, which moves behind it.
#[inline]
pub fn next<'a>(bytes: &'a [u8], at: &mut usize) -> Result<Raw<'a>, Flaw> {
    let length = varint(bytes, at).and_then(|length| usize::try_from(length).ok());
    let end = length.and_then(|length| at.checked_add(length)).filter(|end| *end <= bytes.len());
    let Some(end) = end else { return Err(Flaw::Broken("length of a record")) };
    let record = &bytes[..end];
    *at += 1; // attributes: none are in use
    let fields = fields(record, at);
    *at = end;
    fields.ok_or(Flaw::Broken("fields of a record"))
}

#[inline]
fn fields<'a>(record: &'a [u8], at: &mut usize) -> Option<Raw<'a>> {
    let timestamp_delta = varint(record, at)?;
    let offset_delta = i32::try_from(varint(record, at)?).ok()?;
    let key = slice(record, at)?;
    let value = slice(record, at)?;
    let headers = record.get(*at..)?;
    let headers = if headers == [0] { &[] } else { headers };
    Some(Raw { timestamp_delta, offset_delta, key, value, headers })
}

/// Bytes behind their length; -1 is null.
#[inline]
fn slice<'a>(bytes: &'a [u8], at: &mut usize) -> Option<Option<&'a [u8]>> {
    let length = varint(bytes, at)?;
    if length < 0 {
        return Some(None);
    }
    let end = at.checked_add(usize::try_from(length).ok()?)?;
    let slice = bytes.get(*at..end)?;
    *at = end;
    Some(Some(slice))
}

/// A number in zigzag, seven bits a byte, the lowest first; of ten bytes at most.
#[inline]
fn varint(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let first = *bytes.get(*at)?;
    *at += 1;
    if first < 0x80 {
        return Some(unzigzag(u64::from(first)));
    }
    let mut value = u64::from(first & 0x7f);
    for shift in (7..70).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        let bits = u64::from(byte & 0x7f);
        value |= bits << shift;
        if byte < 0x80 {
            // The tenth byte has room for one bit.
            return (shift < 63 || bits <= 1).then(|| unzigzag(value));
        }
    }
    None
}

#[inline]
fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Walks a record's headers. Brokers and the client library do not look into them; a list that is
/// damaged ends where the damage is.
pub fn headers(bytes: &[u8], each: EachHeader<'_>) {
    let mut at = 0;
    let Some(count) = varint(bytes, &mut at) else { return };
    for _ in 0..count {
        let Some(Some(name)) = slice(bytes, &mut at) else { return };
        let Some(value) = slice(bytes, &mut at) else { return };
        each(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_all_lengths() {
        let read = |bytes: &[u8]| varint(bytes, &mut 0);
        assert_eq!(read(&[0]), Some(0));
        assert_eq!(read(&[1]), Some(-1));
        assert_eq!(read(&[0x80, 0x01]), Some(64));
        let mut longest = [0xff; 10];
        longest[9] = 1;
        assert_eq!(read(&longest), Some(i64::MIN));
        longest[9] = 2;
        assert_eq!(read(&longest), None, "more than 64 bits");
        assert_eq!(read(&[0xff; 11]), None, "without an end");
        assert_eq!(read(&[0x80]), None, "cut off");
    }
}
