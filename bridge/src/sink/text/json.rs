//! JSON values: text escaped as briefly as JSON allows, numbers as they are.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::fit::{Plain, Words};
use super::{Timestamps, instant};
use crate::sink::questdb::{array_dims, push_digits};
use crate::times::nanos_of;

/// For each byte: 0 if it stands for itself, else the letter behind the backslash.
const ESCAPES: [u8; 256] = {
    let mut escapes = [0; 256];
    let mut control = 0;
    while control < 0x20 {
        escapes[control] = b'u';
        control += 1;
    }
    escapes[0x08] = b'b';
    escapes[0x09] = b't';
    escapes[0x0a] = b'n';
    escapes[0x0c] = b'f';
    escapes[0x0d] = b'r';
    escapes[b'"' as usize] = b'"';
    escapes[b'\\' as usize] = b'\\';
    escapes
};

/// Appends a string in quotes.
pub fn push_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let mut start = 0;
    for (at, byte) in text.iter().enumerate() {
        let escape = ESCAPES[usize::from(*byte)];
        if escape == 0 {
            continue;
        }
        out.extend_from_slice(&text[start..at]);
        out.extend_from_slice(&[b'\\', escape]);
        if escape == b'u' {
            let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
            out.extend_from_slice(&[b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
        }
        start = at + 1;
    }
    out.extend_from_slice(&text[start..]);
    out.push(b'"');
}

/// Appends a value.
pub fn push_value(out: &mut Vec<u8>, value: &Plain<'_>, timestamps: Timestamps) {
    match value {
        Plain::Null => out.extend_from_slice(b"null"),
        Plain::Bool(value) => out.extend_from_slice(bool_text(*value)),
        Plain::Integer(value) => push_digits(out, *value),
        Plain::Double(value) => push_double(out, *value),
        Plain::Decimal(text) => out.extend_from_slice(text.as_bytes()),
        Plain::Text(text) => push_string(out, text),
        Plain::Bytes(bytes) => {
            out.push(b'"');
            out.extend_from_slice(base64(bytes).as_bytes());
            out.push(b'"');
        }
        Plain::Instant(nanos, digits) => match timestamps.unit() {
            None => {
                out.push(b'"');
                instant::push(out, *nanos, *digits);
                out.push(b'"');
            }
            Some(unit) => push_wide(out, nanos.div_euclid(nanos_of(unit))),
        },
        Plain::Array(cell) => push_array(out, cell),
        Plain::Words(Words::Made(text)) => push_string(out, text),
        Plain::Words(words) => {
            out.push(b'"');
            push_words(out, words);
            out.push(b'"');
        }
    }
}

/// A double as JSON has it: what is no number is null.
fn push_double(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    } else {
        out.extend_from_slice(b"null");
    }
}

/// Values that are no text, as text.
pub fn push_words(out: &mut Vec<u8>, words: &Words) {
    match words {
        Words::Bool(value) => out.extend_from_slice(bool_text(*value)),
        Words::Integer(value) => push_digits(out, *value),
        Words::Decimal(text) => out.extend_from_slice(text.as_bytes()),
        Words::Double(value) => push_any_double(out, *value),
        Words::Made(text) => out.extend_from_slice(text),
    }
}

/// A double where words may stand: `NaN`, `Infinity`, `-Infinity`.
pub fn push_any_double(out: &mut Vec<u8>, value: f64) {
    match value {
        _ if value.is_finite() => push_double(out, value),
        _ if value.is_nan() => out.extend_from_slice(b"NaN"),
        _ if value > 0.0 => out.extend_from_slice(b"Infinity"),
        _ => out.extend_from_slice(b"-Infinity"),
    }
}

/// `true`, `false`
pub fn bool_text(value: bool) -> &'static [u8] {
    if value { b"true" } else { b"false" }
}

/// Base64 with padding.
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// An integer beyond 64 bits: nanoseconds of times that are far away.
pub fn push_wide(out: &mut Vec<u8>, value: i128) {
    match i64::try_from(value) {
        Ok(value) => push_digits(out, value),
        Err(_) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
    }
}

/// An array in brackets, one pair for each dimension.
pub fn push_array(out: &mut Vec<u8>, cell: &[u8]) {
    let word = |at: usize| {
        cell.get(at..at + 4).map_or(0, |w| u32::from_le_bytes([w[0], w[1], w[2], w[3]])) as usize
    };
    let dims = array_dims(cell) as usize;
    let values = cell.get((4 + 4 * dims).next_multiple_of(8)..).unwrap_or_default();
    // The product of the last dimensions: every so many values a bracket opens and closes.
    let opens = |at: usize, first: bool| {
        let mut spans = 1;
        let mut count = 0;
        for dim in (0..dims).rev() {
            spans *= word(4 + 4 * dim).max(1);
            let at = if first { at } else { at + 1 };
            count += usize::from(at.is_multiple_of(spans));
        }
        count
    };
    let count = values.len() / 8;
    if count == 0 {
        let pairs = dims.max(1);
        out.resize(out.len() + pairs, b'[');
        return out.resize(out.len() + pairs, b']');
    }
    for (at, value) in values.chunks_exact(8).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.resize(out.len() + opens(at, true), b'[');
        let bytes = value.try_into().expect("chunks of eight bytes");
        push_double(out, f64::from_le_bytes(bytes));
        out.resize(out.len() + opens(at, false), b']');
    }
}
