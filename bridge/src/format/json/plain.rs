//! Plain values, read by words: text, numbers of the usual forms, `true`, `false` and `null`. What
//! is unlike that is no error, but the work of the parser that knows all of JSON.

use bridge_abi::{Cell, Kind};

use crate::batch::RowBatch;
use crate::format::document::Document;
use crate::format::number::{self, Number};

const TRUE: u32 = u32::from_le_bytes(*b"true");
const ALSE: u32 = u32::from_le_bytes(*b"alse");
const NULL: u32 = u32::from_le_bytes(*b"null");

/// The cell of the value at `at`, where the eight bytes of `word` stand; the position behind it.
#[inline(always)]
pub(super) fn value(
    document: Document<'_>,
    at: usize,
    word: u64,
    column: u16,
    rows: &mut RowBatch,
) -> Option<(Cell, usize)> {
    let plain = |kind: Kind, value: u64, end: usize| {
        Some((Cell { column, kind: kind as u8, flags: 0, len: 0, value }, end))
    };
    match word as u8 {
        b'"' => text(document, at + 1, column, rows),
        b'-' | b'0'..=b'9' => match number::read(document, at, word)? {
            (Number::Long(value), end) => plain(Kind::I64, value as u64, end),
            (Number::Double(value), end) => plain(Kind::F64, value.to_bits(), end),
        },
        b't' if word as u32 == TRUE => plain(Kind::Bool, 1, at + 4),
        b'f' if (word >> 8) as u32 == ALSE => plain(Kind::Bool, 0, at + 5),
        b'n' if word as u32 == NULL => plain(Kind::Null, 0, at + 4),
        _ => None,
    }
}

/// The cell of a text whose first byte is at `at`; the position behind its quote.
#[inline(always)]
fn text(
    document: Document<'_>,
    at: usize,
    column: u16,
    rows: &mut RowBatch,
) -> Option<(Cell, usize)> {
    let value = rows.arena.len();
    let (end, ascii) = document.end_of_text(at);
    let behind = match document.byte(end) {
        b'"' => {
            let is_text = ascii || simdutf8::basic::from_utf8(&document.bytes()[at..end]).is_ok();
            if !is_text {
                return None;
            }
            document.copy(at, end, &mut rows.arena);
            end + 1
        }
        b'\\' => escaped(document, at, &mut rows.arena)?,
        _ => return None,
    };
    let len = (rows.arena.len() - value) as u32;
    let cell = Cell { column, kind: Kind::Text as u8, flags: 0, len, value: value as u64 };
    Some((cell, behind))
}

/// Appends the same of a text with escapes, by RFC 8259, section 7; the position behind its quote.
/// Half a surrogate pair is left to the other parser.
#[inline(never)]
fn escaped(document: Document<'_>, at: usize, arena: &mut Vec<u8>) -> Option<usize> {
    let start = arena.len();
    let (mut at, mut all_ascii) = (at, true);
    loop {
        let (end, ascii) = document.end_of_text(at);
        document.copy(at, end, arena);
        all_ascii &= ascii;
        match document.byte(end) {
            b'"' => {
                at = end + 1;
                break;
            }
            b'\\' => {}
            _ => return None,
        }
        let plain = match document.byte(end + 1) {
            b'n' => b'\n',
            same @ (b'"' | b'\\' | b'/') => same,
            b't' => b'\t',
            b'r' => b'\r',
            b'b' => 8,
            b'f' => 12,
            b'u' => {
                let (letter, behind) = letter(document, end + 2)?;
                arena.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                at = behind;
                continue;
            }
            _ => return None,
        };
        arena.push(plain);
        at = end + 2;
    }
    // Escapes are whole letters, so that the text is UTF-8 if and only if what is between them is.
    let is_text = all_ascii || simdutf8::basic::from_utf8(&arena[start..]).is_ok();
    is_text.then_some(at)
}

/// The letter whose four hexadecimal digits are at `at`, or eight with another `\u` between them.
fn letter(document: Document<'_>, at: usize) -> Option<(char, usize)> {
    let first = hexadecimal(document, at)?;
    if !(0xd800..0xe000).contains(&first) {
        return Some((char::from_u32(first)?, at + 4));
    }
    if document.byte(at + 4) != b'\\' || document.byte(at + 5) != b'u' {
        return None;
    }
    let second = hexadecimal(document, at + 6)?;
    let (high, low) = (first.checked_sub(0xd800)?, second.checked_sub(0xdc00)?);
    if high >= 0x400 || low >= 0x400 {
        return None;
    }
    Some((char::from_u32(0x1_0000 + (high << 10 | low))?, at + 10))
}

fn hexadecimal(document: Document<'_>, at: usize) -> Option<u32> {
    (at..at + 4)
        .try_fold(0, |number, at| Some(number << 4 | char::from(document.byte(at)).to_digit(16)?))
}
