//! CSV records as RFC 4180 quotes them: with commas, quotes or line ends in quotes, quotes doubled.
//! Lines end with LF. What is null stands without quotes; a text that looks like it stands in them.

use super::fit::{Plain, Words};
use super::{Timestamps, instant, json};
use crate::sink::questdb::push_digits;
use crate::times::nanos_of;

/// Appends a field that is text; empty text and text that looks like a null stand in quotes.
pub fn push_text(out: &mut Vec<u8>, text: &[u8], null: &str) {
    let special = |byte: &u8| matches!(byte, b',' | b'"' | b'\n' | b'\r');
    if text != null.as_bytes() && !text.is_empty() && !text.iter().any(special) {
        return out.extend_from_slice(text);
    }
    out.push(b'"');
    let mut start = 0;
    for at in memchr::memchr_iter(b'"', text) {
        out.extend_from_slice(&text[start..=at]);
        out.push(b'"');
        start = at + 1;
    }
    out.extend_from_slice(&text[start..]);
    out.push(b'"');
}

/// Appends a value.
pub fn push_value(out: &mut Vec<u8>, value: &Plain<'_>, timestamps: Timestamps, null: &str) {
    match value {
        Plain::Null => out.extend_from_slice(null.as_bytes()),
        Plain::Text(text) => push_text(out, text, null),
        Plain::Words(Words::Made(text)) => push_text(out, text, null),
        Plain::Bytes(bytes) => push_text(out, json::base64(bytes).as_bytes(), null),
        Plain::Array(_) => {
            // Brackets and digits need no quotes, commas between them do.
            out.push(b'"');
            push_bare(out, value, timestamps);
            out.push(b'"');
        }
        _ => push_bare(out, value, timestamps),
    }
}

/// Appends a value as it is, without quotes: a field, or a key. Nothing for a null.
pub fn push_bare(out: &mut Vec<u8>, value: &Plain<'_>, timestamps: Timestamps) {
    match value {
        Plain::Null => {}
        Plain::Bool(value) => out.extend_from_slice(json::bool_text(*value)),
        Plain::Integer(value) => push_digits(out, *value),
        Plain::Double(value) => json::push_any_double(out, *value),
        Plain::Decimal(text) => out.extend_from_slice(text.as_bytes()),
        Plain::Text(bytes) | Plain::Bytes(bytes) => out.extend_from_slice(bytes),
        Plain::Instant(nanos, digits) => match timestamps.unit() {
            None => instant::push(out, *nanos, *digits),
            Some(unit) => json::push_wide(out, nanos.div_euclid(nanos_of(unit))),
        },
        Plain::Words(words) => json::push_words(out, words),
        Plain::Array(cell) => json::push_array(out, cell),
    }
}

/// Appends a header of these columns, with its line's end.
pub fn push_header<'a>(out: &mut Vec<u8>, columns: impl Iterator<Item = &'a str>) {
    for (at, name) in columns.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push_text(out, name.as_bytes(), "");
    }
    out.push(b'\n');
}
