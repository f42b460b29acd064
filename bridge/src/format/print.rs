//! JSON as formats write it where a value has no column of its own.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Appends a number; JSON has none for what is not finite.
pub(super) fn push_number<F: zmij::Float>(out: &mut Vec<u8>, value: F, is_finite: bool) {
    match is_finite {
        true => out.extend_from_slice(zmij::Buffer::new().format(value).as_bytes()),
        false => out.extend_from_slice(b"null"),
    }
}

/// Appends a whole number.
pub(super) fn push_whole(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends text in quotes.
pub(super) fn push_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a vector takes everything");
}

/// Appends bytes in base64, in quotes.
pub(super) fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let at = out.len();
    let room = base64::encoded_len(bytes.len(), true).expect("a record is not so large");
    out.resize(at + room, 0);
    let len = STANDARD.encode_slice(bytes, &mut out[at..]).expect("there is room for it");
    out.truncate(at + len);
    out.push(b'"');
}

/// Appends a moment, ISO 8601 in UTC, in quotes.
pub(super) fn push_moment(out: &mut Vec<u8>, moment: jiff::Timestamp) {
    write!(out, "\"{moment}\"").expect("a vector takes any bytes");
}

/// Appends a comma, but before the first.
pub(super) fn separate(out: &mut Vec<u8>, first: &mut bool) {
    if !std::mem::take(first) {
        out.push(b',');
    }
}
