//! Line protocol, token by token: names, symbols, strings, numbers. Escapes and bytes are those
//! of QuestDB's parser (`docs/questdb.md`); `reader.rs` reads them back independently.

use crate::shape::ColumnType;

/// Binary double of protocol version 2.
const BINARY_DOUBLE: u8 = 16;
/// Binary array of protocol version 2.
const BINARY_ARRAY: u8 = 14;
/// Element type of an array: double.
const ELEMENT_DOUBLE: u8 = 10;

/// Names are this long at most (QuestDB's `cairo.max.file.name.length`).
pub const NAME_BYTES_MAX: usize = 127;

/// Why a name cannot be a table's or a column's; `None` if it can.
pub fn name_fault(name: &str, column: bool) -> Option<String> {
    let what = if column { "column" } else { "table" };
    if name.is_empty() {
        return Some(format!("a {what} name is empty"));
    }
    if name.len() > NAME_BYTES_MAX {
        return Some(format!("{what} name {name:?} is longer than {NAME_BYTES_MAX} bytes"));
    }
    let refused = |c: char| {
        matches!(c, '?' | ',' | '\'' | '"' | '\\' | '/' | ':' | ')' | '(' | '+' | '*' | '%' | '~')
            || (c as u32) < 0x20
            || c == '\u{7f}'
            || c == '\u{feff}'
            || (column && matches!(c, '.' | '-'))
    };
    if let Some(c) = name.chars().find(|c| refused(*c)) {
        return Some(format!("{what} name {name:?} has {c:?}, which the database refuses"));
    }
    let dots = !column && (name.starts_with('.') || name.ends_with('.') || name.contains(".."));
    dots.then(|| format!("table name {name:?} has a dot where the database refuses it"))
}

/// A name or a symbol's value: space, comma, equals, line ends and the backslash are escaped.
pub fn push_escaped(out: &mut Vec<u8>, text: &[u8]) {
    push_with(out, text, |byte| matches!(byte, b' ' | b',' | b'=' | b'\n' | b'\r' | b'\\'));
}

/// A string in quotes: the quote, line ends and the backslash are escaped.
pub fn push_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    push_with(out, text, |byte| matches!(byte, b'"' | b'\n' | b'\r' | b'\\'));
    out.push(b'"');
}

#[inline]
fn push_with(out: &mut Vec<u8>, mut text: &[u8], escaped: impl Fn(u8) -> bool) {
    while let Some(at) = text.iter().position(|byte| escaped(*byte)) {
        out.extend_from_slice(&text[..at]);
        out.push(b'\\');
        out.push(text[at]);
        text = &text[at + 1..];
    }
    out.extend_from_slice(text);
}

/// An integer's digits.
#[inline]
pub fn push_digits(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A double after `name=`: text in version 1, eight bytes in version 2.
#[inline]
pub fn push_double(out: &mut Vec<u8>, value: f64, version: u8) {
    if version >= 2 {
        let mut bytes = [b'='; 10];
        bytes[1] = BINARY_DOUBLE;
        bytes[2..].copy_from_slice(&value.to_le_bytes());
        out.extend_from_slice(&bytes);
    } else if value.is_finite() {
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    } else if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else {
        out.extend_from_slice(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
    }
}

/// An array after `name=`, version 2 only. `cell` is the sandbox's layout of it: dimensions,
/// shape, padding to 8 bytes, values.
pub fn push_array(out: &mut Vec<u8>, cell: &[u8]) {
    let word = |at: usize| {
        cell.get(at..at + 4).map_or(0, |w| u32::from_le_bytes([w[0], w[1], w[2], w[3]]))
    };
    let dims = word(0) as usize;
    let values_at = (4 + 4 * dims).next_multiple_of(8);
    out.extend_from_slice(&[b'=', BINARY_ARRAY, ELEMENT_DOUBLE, dims as u8]);
    out.extend_from_slice(cell.get(4..4 + 4 * dims).unwrap_or_default());
    out.extend_from_slice(cell.get(values_at..).unwrap_or_default());
}

/// How many dimensions an array cell has.
pub fn array_dims(cell: &[u8]) -> u32 {
    cell.get(..4).map_or(0, |w| u32::from_le_bytes([w[0], w[1], w[2], w[3]]))
}

/// The suffix of a designated timestamp of this type.
pub fn timestamp_suffix(kind: ColumnType) -> u8 {
    if kind == ColumnType::TimestampNs { b'n' } else { b't' }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("text was written")
    }

    #[test]
    fn names_and_strings_are_escaped() {
        assert_eq!(written(|out| push_escaped(out, b"a b,c=d\\e\nf")), "a\\ b\\,c\\=d\\\\e\\\nf");
        assert_eq!(written(|out| push_string(out, b"say \"a, b\"\\")), "\"say \\\"a, b\\\"\\\\\"");
    }

    #[test]
    fn names_that_the_database_refuses() {
        for name in ["", "a\0b", "a/b", "a.b", "a-b", "a:b"] {
            assert!(name_fault(name, true).is_some(), "{name:?}");
        }
        assert_eq!(name_fault("a b", true), None);
        assert_eq!(name_fault("a-b.c", false), None);
        assert!(name_fault("a..b", false).is_some());
        assert!(name_fault(&"x".repeat(128), false).is_some());
    }

    #[test]
    fn doubles_are_text_or_eight_bytes() {
        assert_eq!(written(|out| push_double(out, 21.0, 1)), "21.0");
        let mut out = Vec::new();
        push_double(&mut out, 1.5, 2);
        assert_eq!(out, [b"=\x10".as_slice(), &1.5_f64.to_le_bytes()].concat());
    }
}
