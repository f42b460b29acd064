//! The values of tags and fields, and what backslashes mean in them.

use bridge_abi::Kind;

use crate::format::document::{self, Document};
use crate::format::number::{self, Number};

/// Copies a name or a tag's value up to what ends it, without the backslashes before special bytes;
/// the position of the end.
pub(super) fn unescaped(bytes: &[u8], from: usize, special: &[u8], out: &mut Vec<u8>) -> usize {
    let mut at = from;
    while let Some(byte) = bytes.get(at) {
        match (byte, bytes.get(at + 1)) {
            (b'\\', Some(next)) if special.contains(next) => {
                out.push(*next);
                at += 2;
            }
            (b'\n', _) => return at,
            (byte, _) if special.contains(byte) => return at,
            (byte, _) => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    at
}

/// Copies text up to its quote, without the backslashes before quotes and backslashes; the position
/// of the quote, or of the document's end.
pub(super) fn unquoted(bytes: &[u8], from: usize, out: &mut Vec<u8>) -> usize {
    let mut at = from;
    while let Some(byte) = bytes.get(at) {
        match (byte, bytes.get(at + 1)) {
            (b'\\', Some(next)) if b"\"\\".contains(next) => {
                out.push(*next);
                at += 2;
            }
            (b'"', _) => return at,
            (byte, _) => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    at
}

/// A number as programs mostly write it, where the eight bytes of `word` stand: what it becomes,
/// and where it ends. `None` leaves it to [`word`].
#[inline(always)]
pub(super) fn plain_number(
    document: Document<'_>,
    at: usize,
    word: u64,
) -> Option<(Kind, u64, usize)> {
    let (number, end) = number::read(document, at, word)?;
    let is_negative = word as u8 == b'-';
    let (kind, value, end) = match (number, document.byte(end)) {
        (Number::Long(value), b'i') => (Kind::I64, value as u64, end + 1),
        (Number::Long(value), b'u') if !is_negative => (Kind::I64, value as u64, end + 1),
        // A double knows a zero below zero.
        (Number::Long(0), _) if is_negative => return None,
        (Number::Long(value), _) => (Kind::F64, (value as f64).to_bits(), end),
        (Number::Double(value), _) => (Kind::F64, value.to_bits(), end),
    };
    ends(document, end).then_some((kind, value, end))
}

/// The same of a boolean.
#[inline(always)]
pub(super) fn plain_bool(
    document: Document<'_>,
    at: usize,
    word: u64,
) -> Option<(Kind, u64, usize)> {
    let (value, len) = document::boolean(word)?;
    let end = at + len;
    ends(document, end).then_some((Kind::Bool, u64::from(value), end))
}

/// Whether a value ends there.
#[inline(always)]
fn ends(document: Document<'_>, at: usize) -> bool {
    matches!(document.byte(at), b',' | b' ' | b'\n' | b'\r') || at >= document.bytes().len()
}

/// Any value that is not text in quotes, and where it ends.
#[inline(never)]
pub(super) fn word(document: Document<'_>, at: usize) -> Option<(Kind, u64, usize)> {
    let end = document.find(at, &super::WORD_ENDS);
    value_of(&document.bytes()[at..end]).map(|(kind, value)| (kind, value, end))
}

fn value_of(word: &[u8]) -> Option<(Kind, u64)> {
    match word {
        b"t" | b"T" | b"true" | b"True" | b"TRUE" => return Some((Kind::Bool, 1)),
        b"f" | b"F" | b"false" | b"False" | b"FALSE" => return Some((Kind::Bool, 0)),
        _ => {}
    }
    let text = std::str::from_utf8(word).ok()?;
    if let Some(digits) = text.strip_suffix('i') {
        return digits.parse::<i64>().ok().map(|value| (Kind::I64, value as u64));
    }
    if let Some(digits) = text.strip_suffix('u') {
        let value: u64 = digits.parse().ok()?;
        return Some(match i64::try_from(value) {
            Ok(value) => (Kind::I64, value as u64),
            Err(_) => (Kind::F64, (value as f64).to_bits()),
        });
    }
    // Neither `NaN` nor `inf`: line protocol has none.
    let sound = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    let value: f64 = word.iter().all(sound).then(|| text.parse().ok()).flatten()?;
    value.is_finite().then_some((Kind::F64, value.to_bits()))
}

/// A whole number within 64 bits, and where it ends.
#[inline(always)]
pub(super) fn integer(document: Document<'_>, at: usize) -> Option<(i64, usize)> {
    if let Some((value, end)) = number::nineteen(document, at)
        && ends(document, end)
    {
        return Some((value, end));
    }
    other_integer(document, at)
}

/// The same of any length, with any sign.
fn other_integer(document: Document<'_>, at: usize) -> Option<(i64, usize)> {
    if let Some((Number::Long(value), end)) = number::read(document, at, document.eight(at))
        && ends(document, end)
    {
        return Some((value, end));
    }
    let end = document.find(at, &super::WORD_ENDS);
    let text = std::str::from_utf8(&document.bytes()[at..end]).ok()?;
    Some((text.parse().ok()?, end))
}
