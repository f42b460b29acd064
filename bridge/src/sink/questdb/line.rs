//! Line protocol, token by token: names, symbols, strings, numbers. Escapes and bytes are those
//! of QuestDB's parser (`docs/questdb.md`); `reader.rs` reads them back independently.

use std::borrow::Cow;

pub use super::digits::push as push_digits;
use super::put::Put;
use crate::shape::ColumnType;

/// What stands before the eight bytes of a double in protocol version 2.
pub const BINARY_DOUBLE: [u8; 2] = [b'=', 16];
/// Binary array of protocol version 2.
const BINARY_ARRAY: u8 = 14;
/// Element type of an array: double.
const ELEMENT_DOUBLE: u8 = 10;

/// Names are this long at most (QuestDB's `cairo.max.file.name.length`).
pub const NAME_BYTES_MAX: usize = 127;

/// What the database refuses in a name.
fn is_refused(c: char, column: bool) -> bool {
    matches!(c, '?' | ',' | '\'' | '"' | '\\' | '/' | ':' | ')' | '(' | '+' | '*' | '%' | '~')
        || (c as u32) < 0x20
        || c == '\u{7f}'
        || c == '\u{feff}'
        || (column && matches!(c, '.' | '-'))
}

/// A column's name with `_` for each character that the database refuses; what nobody can see
/// stays, and with it the name is refused.
pub fn legal(name: &str) -> Cow<'_, str> {
    let is_replaced = |c: char| is_refused(c, true) && !c.is_control() && c != '\u{feff}';
    match name.chars().any(is_replaced) {
        true => name.chars().map(|c| if is_replaced(c) { '_' } else { c }).collect(),
        false => Cow::Borrowed(name),
    }
}

/// Why a name cannot be a table's or a column's; `None` if it can.
pub fn name_fault(name: &str, column: bool) -> Option<String> {
    let what = if column { "column" } else { "table" };
    if name.is_empty() {
        return Some(format!("a {what} name is empty"));
    }
    if name.len() > NAME_BYTES_MAX {
        return Some(format!("{what} name {name:?} is longer than {NAME_BYTES_MAX} bytes"));
    }
    if let Some(c) = name.chars().find(|c| is_refused(*c, column)) {
        return Some(format!("{what} name {name:?} has {c:?}, which the database refuses"));
    }
    let dots = !column && (name.starts_with('.') || name.ends_with('.') || name.contains(".."));
    dots.then(|| format!("table name {name:?} has a dot where the database refuses it"))
}

/// Text, and what happens to lie behind it in memory: it is read sixteen bytes at once.
#[derive(Clone, Copy)]
pub struct Text<'a> {
    from: &'a [u8],
    len: usize,
}

/// Bytes that are looked at together.
const CHUNK: usize = 16;

/// Ones in the first `len` bytes.
const FIRST: [[u8; CHUNK]; CHUNK] = {
    let mut masks = [[0; CHUNK]; CHUNK];
    let mut place = 0;
    while place < CHUNK * CHUNK {
        if place % CHUNK < place / CHUNK {
            masks[place / CHUNK][place % CHUNK] = 0xff;
        }
        place += 1;
    }
    masks
};

impl<'a> Text<'a> {
    /// The first `len` bytes of `from`.
    #[inline]
    pub fn first(from: &'a [u8], len: usize) -> Text<'a> {
        debug_assert!(len <= from.len());
        Text { from, len }
    }

    /// The bytes from `at` on, zeros behind the text's end, and how many are its own.
    #[inline(always)]
    fn chunk(self, at: usize) -> ([u8; CHUNK], usize) {
        let len = (self.len - at).min(CHUNK);
        let from = &self.from[at..];
        match from.first_chunk::<CHUNK>() {
            Some(chunk) if len == CHUNK => (*chunk, len),
            Some(chunk) => {
                let mut own = *chunk;
                // By bytes: the compiler does it to all sixteen where they are.
                for (byte, mask) in own.iter_mut().zip(&FIRST[len]) {
                    *byte &= mask;
                }
                (own, len)
            }
            None => {
                let mut chunk = [0; CHUNK];
                chunk[..len].copy_from_slice(&from[..len]);
                (chunk, len)
            }
        }
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> From<&'a T> for Text<'a> {
    fn from(bytes: &'a T) -> Text<'a> {
        let from = bytes.as_ref();
        Text { from, len: from.len() }
    }
}

/// A name or a symbol's value: space, comma, equals, line ends and the backslash are escaped.
#[inline]
pub fn push_escaped<'a>(out: &mut impl Put, text: impl Into<Text<'a>>) {
    push_with(out, text.into(), [b' ', b',', b'=', b'\n', b'\r', b'\\']);
}

/// A string in quotes: the quote, line ends and the backslash are escaped.
#[inline]
pub fn push_string<'a>(out: &mut impl Put, text: impl Into<Text<'a>>) {
    out.byte(b'"');
    push_with(out, text.into(), [b'"', b'\n', b'\r', b'\\']);
    out.byte(b'"');
}

/// Puts text, with a backslash before what is `escaped`; zeros never are.
#[inline(always)]
fn push_with<const N: usize>(out: &mut impl Put, text: Text<'_>, escaped: [u8; N]) {
    let mut at = 0;
    while at < text.len {
        let (chunk, len) = text.chunk(at);
        // All sixteen without a branch between, so that the compiler compares them at once.
        let mut found = [0; CHUNK];
        for (found, byte) in found.iter_mut().zip(&chunk) {
            for escaped in escaped {
                *found |= u8::from(*byte == escaped);
            }
        }
        if u128::from_ne_bytes(found) == 0 {
            out.sixteen(&chunk, len);
        } else {
            for byte in &chunk[..len] {
                if escaped.contains(byte) {
                    out.byte(b'\\');
                }
                out.byte(*byte);
            }
        }
        at += CHUNK;
    }
}

/// A double after `name=`: text in version 1, eight bytes in version 2.
#[inline]
pub fn push_double(out: &mut impl Put, value: f64, version: u8) {
    if version >= 2 {
        out.all(&BINARY_DOUBLE);
        out.eight(value.to_le_bytes(), 8);
    } else if value.is_finite() {
        out.all(zmij::Buffer::new().format_finite(value).as_bytes());
    } else if value.is_nan() {
        out.all(b"NaN");
    } else {
        out.all(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
    }
}

/// An array after `name=`, version 2 only. `cell` is the sandbox's layout of it: dimensions,
/// shape, padding to 8 bytes, values.
pub fn push_array(out: &mut impl Put, cell: &[u8]) {
    let word = |at: usize| {
        cell.get(at..at + 4).map_or(0, |w| u32::from_le_bytes([w[0], w[1], w[2], w[3]]))
    };
    let dims = word(0) as usize;
    let values_at = (4 + 4 * dims).next_multiple_of(8);
    out.all(&[b'=', BINARY_ARRAY, ELEMENT_DOUBLE, dims as u8]);
    out.all(cell.get(4..4 + 4 * dims).unwrap_or_default());
    out.all(cell.get(values_at..).unwrap_or_default());
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
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn escapes_are_those_of_a_byte_by_byte_walk(
            bytes in prop::collection::vec(
                prop_oneof![
                    6 => b'a'..=b'z', 1 => prop::sample::select(&b" ,=\n\r\\\"\0"[..]), 1 => any::<u8>(),
                ],
                0..60,
            ),
            len in 0_usize..60,
        ) {
            let len = len.min(bytes.len());
            let walked = |special: &[u8]| {
                let mut out = Vec::new();
                for byte in &bytes[..len] {
                    if special.contains(byte) {
                        out.push(b'\\');
                    }
                    out.push(*byte);
                }
                out
            };
            let mut out = Vec::new();
            push_escaped(&mut out, Text::first(&bytes, len));
            prop_assert_eq!(&out, &walked(b" ,=\n\r\\"));
            out.clear();
            push_string(&mut out, &bytes[..len]);
            prop_assert_eq!(&out[1..out.len() - 1], &walked(b"\"\n\r\\"));
        }
    }

    #[test]
    fn names_are_made_legal() {
        for (name, made) in
            [("a-b.c", "a_b_c"), ("ok", "ok"), ("temp (°C)", "temp _°C_"), ("/", "_")]
        {
            assert_eq!(legal(name), made);
            assert_eq!(name_fault(made, true), None);
        }
        assert_eq!((legal(""), legal("a\0")), ("".into(), "a\0".into()), "these are refused");
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
