//! Line protocol read back, strictly: versions 1 and 2 as QuestDB takes them. Shares nothing with
//! the encoder, for it is what the encoder is held against; the demo's endpoint reads with it too.
//!
//! ```text
//! table[,symbol=value…] field=value[,field=value…][ timestamp(t|n)]\n
//! ```
//!
//! Bytes come in pieces and binary values may hold line ends, so a line is read from its front:
//! what is cut short is asked for again with more bytes. What is not exactly right is an error.

use std::borrow::Cow;
use std::fmt;

/// A line as a strict server would understand it.
#[derive(Clone, PartialEq, Debug)]
pub struct Line<'a> {
    /// The table.
    pub table: Cow<'a, str>,
    /// Symbols, in order.
    pub symbols: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Other columns, in order.
    pub fields: Vec<(Cow<'a, str>, Field<'a>)>,
    /// The designated timestamp and its unit.
    pub timestamp: Option<(i64, Unit)>,
}

/// A field's value.
#[derive(Clone, PartialEq, Debug)]
pub enum Field<'a> {
    /// `1i`
    Long(i64),
    /// `1.5`, or eight bytes.
    Double(f64),
    /// `t`, `f`
    Bool(bool),
    /// `"text"`
    Text(Cow<'a, str>),
    /// `1t`, `1n`
    Timestamp(i64, Unit),
    /// `1.50d`, its digits.
    Decimal(&'a str),
    /// Shape and values, row by row.
    Array(Vec<u32>, Vec<f64>),
}

/// The unit of a timestamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// `t`
    Micros,
    /// `n`
    Nanos,
}

/// What is wrong, and at which byte of the line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Misread {
    /// Counted from 0.
    pub at: usize,
    /// What was expected.
    pub expected: &'static str,
}

impl fmt::Display for Misread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {} expected", self.at, self.expected)
    }
}

/// A line that has not ended within so many bytes never will.
pub const LINE_BYTES_MAX: usize = 16 << 20;
/// Dimensions of an array, at most.
const DIMS_MAX: u8 = 32;

/// Reads the line at the front: the line and its length. `None` asks for more bytes.
pub fn read(bytes: &[u8]) -> Result<Option<(Line<'_>, usize)>, Misread> {
    let mut cursor = Cursor { bytes, at: 0 };
    match cursor.line() {
        Ok(line) => Ok(Some((line, cursor.at))),
        Err(Stop::Short) if bytes.len() < LINE_BYTES_MAX => Ok(None),
        Err(Stop::Short) => Err(Misread { at: bytes.len(), expected: "the end of the line" }),
        Err(Stop::Wrong(misread)) => Err(misread),
    }
}

enum Stop {
    Short,
    Wrong(Misread),
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn line(&mut self) -> Result<Line<'a>, Stop> {
        let table = self.escaped("a table's name")?;
        let mut symbols = Vec::new();
        while self.peek()? == b',' {
            self.at += 1;
            let name = self.escaped("a symbol's name")?;
            self.expect(b'=', "`=` after a symbol's name")?;
            let value = self.escaped("a symbol's value")?;
            symbols.push((name, value));
        }
        self.expect(b' ', "`,` or a space")?;
        let mut fields = Vec::new();
        loop {
            let name = self.escaped("a field's name")?;
            self.expect(b'=', "`=` after a field's name")?;
            let value = self.field()?;
            fields.push((name, value));
            if self.peek()? != b',' {
                break;
            }
            self.at += 1;
        }
        let mut timestamp = None;
        if self.peek()? == b' ' {
            self.at += 1;
            timestamp = Some(self.timestamp()?);
        }
        self.expect(b'\n', "a line end")?;
        Ok(Line { table, symbols, fields, timestamp })
    }

    fn peek(&self) -> Result<u8, Stop> {
        self.bytes.get(self.at).copied().ok_or(Stop::Short)
    }

    fn wrong<T>(&self, expected: &'static str) -> Result<T, Stop> {
        Err(Stop::Wrong(Misread { at: self.at, expected }))
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), Stop> {
        if self.peek()? != byte {
            return self.wrong(expected);
        }
        self.at += 1;
        Ok(())
    }

    /// A name or a symbol's value. Never empty; separators stand behind a backslash.
    fn escaped(&mut self, expected: &'static str) -> Result<Cow<'a, str>, Stop> {
        let ends = |byte: u8| matches!(byte, b' ' | b',' | b'=' | b'\n');
        let escapes = |byte: u8| matches!(byte, b' ' | b',' | b'=' | b'\n' | b'\r' | b'\\');
        let text = self.text(expected, ends, escapes)?;
        if text.is_empty() {
            return self.wrong(expected);
        }
        Ok(text)
    }

    /// Text up to a byte that ends it, backslashes resolved.
    fn text(
        &mut self,
        expected: &'static str,
        ends: impl Fn(u8) -> bool,
        escapes: impl Fn(u8) -> bool,
    ) -> Result<Cow<'a, str>, Stop> {
        let start = self.at;
        let mut owned: Option<Vec<u8>> = None;
        loop {
            let byte = self.peek()?;
            if ends(byte) {
                break;
            }
            // A bare carriage return ends a line for some readers.
            if byte == b'\r' {
                return self.wrong("a backslash before a carriage return");
            }
            if byte == b'\\' {
                let so_far = &self.bytes[start..self.at];
                let text = owned.get_or_insert_with(|| so_far.to_vec());
                self.at += 1;
                let next = self.bytes.get(self.at).copied().ok_or(Stop::Short)?;
                if !escapes(next) {
                    return self.wrong("a byte that wants a backslash");
                }
                text.push(next);
            } else if let Some(text) = &mut owned {
                text.push(byte);
            }
            self.at += 1;
        }
        let text = match owned {
            Some(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
            None => std::str::from_utf8(&self.bytes[start..self.at]).ok().map(Cow::Borrowed),
        };
        match text {
            Some(text) => Ok(text),
            None => {
                self.at = start;
                self.wrong(expected)
            }
        }
    }

    fn field(&mut self) -> Result<Field<'a>, Stop> {
        match self.peek()? {
            b'"' => {
                self.at += 1;
                let escapes = |byte: u8| matches!(byte, b'"' | b'\n' | b'\r' | b'\\');
                let text = self.text("text in UTF-8", |byte| byte == b'"', escapes)?;
                self.expect(b'"', "a closing quote")?;
                Ok(Field::Text(text))
            }
            b'=' => {
                self.at += 1;
                self.binary()
            }
            _ => self.bare(),
        }
    }

    fn binary(&mut self) -> Result<Field<'a>, Stop> {
        match self.take::<1>()? {
            [16] => Ok(Field::Double(f64::from_le_bytes(self.take()?))),
            [14] => {
                if self.take()? != [10] {
                    return self.wrong("an array of doubles");
                }
                let [dims] = self.take()?;
                if !(1..=DIMS_MAX).contains(&dims) {
                    return self.wrong("1 to 32 dimensions");
                }
                let mut shape = Vec::with_capacity(usize::from(dims));
                let mut count = 1_usize;
                for _ in 0..dims {
                    let length = u32::from_le_bytes(self.take()?);
                    count = count.saturating_mul(length as usize);
                    shape.push(length);
                }
                if count > LINE_BYTES_MAX / 8 {
                    return self.wrong("an array that a line can hold");
                }
                let mut values = Vec::with_capacity(count.min(self.bytes.len() / 8));
                for _ in 0..count {
                    values.push(f64::from_le_bytes(self.take()?));
                }
                Ok(Field::Array(shape, values))
            }
            _ => self.wrong("a binary double or array"),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let bytes = self.bytes.get(self.at..self.at + N).ok_or(Stop::Short)?;
        self.at += N;
        Ok(bytes.try_into().expect("as many as were asked for"))
    }

    /// A word up to the next separator.
    fn word(&mut self) -> Result<&'a str, Stop> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|byte| matches!(byte, b' ' | b',' | b'\n'));
        let word = &rest[..length.ok_or(Stop::Short)?];
        match std::str::from_utf8(word) {
            Ok(word) => Ok(word),
            Err(_) => self.wrong("a value"),
        }
    }

    fn bare(&mut self) -> Result<Field<'a>, Stop> {
        let word = self.word()?;
        let field = match word.as_bytes() {
            b"t" => Some(Field::Bool(true)),
            b"f" => Some(Field::Bool(false)),
            b"NaN" => Some(Field::Double(f64::NAN)),
            b"Infinity" => Some(Field::Double(f64::INFINITY)),
            b"-Infinity" => Some(Field::Double(f64::NEG_INFINITY)),
            [.., b'i'] => integer(&word[..word.len() - 1]).map(Field::Long),
            [.., b't'] => {
                integer(&word[..word.len() - 1]).map(|v| Field::Timestamp(v, Unit::Micros))
            }
            [.., b'n'] => {
                integer(&word[..word.len() - 1]).map(|v| Field::Timestamp(v, Unit::Nanos))
            }
            [.., b'd'] => {
                Some(&word[..word.len() - 1]).filter(|d| is_number(d)).map(Field::Decimal)
            }
            _ if is_number(word) => word.parse().ok().map(Field::Double),
            _ => None,
        };
        match field {
            Some(field) => {
                self.at += word.len();
                Ok(field)
            }
            None => self.wrong("a number with its type, t, f or text in quotes"),
        }
    }

    fn timestamp(&mut self) -> Result<(i64, Unit), Stop> {
        let word = self.word()?;
        let number = integer(&word[..word.len().saturating_sub(1)]);
        match (number, word.as_bytes().last()) {
            (Some(number), Some(unit @ (b't' | b'n'))) if number >= 0 => {
                self.at += word.len();
                Ok((number, if *unit == b't' { Unit::Micros } else { Unit::Nanos }))
            }
            _ => self.wrong("a timestamp not before 1970, and its unit"),
        }
    }
}

/// A whole number without a plus sign.
fn integer(text: &str) -> Option<i64> {
    if text.starts_with('+') { None } else { text.parse().ok() }
}

/// Digits, at most one dot, an exponent: Rust takes words such as `inf` too, and a server not.
fn is_number(text: &str) -> bool {
    let has_digit = text.bytes().any(|byte| byte.is_ascii_digit());
    has_digit
        && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_of_everything() {
        let mut bytes = b"my\\ table,sensor=a\\,b\\=c site=t,n=-5i,x=1.5,e=2.5e-7,w=\"say \\\"hi\\\",\\\\\",at=7t,d=1.50d,b==\x10".to_vec();
        bytes.extend_from_slice(&2.5_f64.to_le_bytes());
        bytes.extend_from_slice(b",a==\x0e\x0a\x01\x02\x00\x00\x00");
        bytes.extend_from_slice(&1.0_f64.to_le_bytes());
        bytes.extend_from_slice(&f64::from_bits(0x0A0A_0A0A_0A0A_0A0A).to_le_bytes());
        bytes.extend_from_slice(b" 1700000000000000t\n");
        let length = bytes.len();
        bytes.extend_from_slice(b"next");
        let (line, read_bytes) = read(&bytes).expect("right").expect("whole");
        assert_eq!(read_bytes, length);
        assert_eq!(
            (line.table.as_ref(), line.timestamp),
            ("my table", Some((1_700_000_000_000_000, Unit::Micros)))
        );
        assert_eq!(line.symbols, [("sensor".into(), "a,b=c".into())]);
        let wanted: Vec<(Cow<'_, str>, Field<'_>)> = vec![
            ("site".into(), Field::Bool(true)),
            ("n".into(), Field::Long(-5)),
            ("x".into(), Field::Double(1.5)),
            ("e".into(), Field::Double(2.5e-7)),
            ("w".into(), Field::Text("say \"hi\",\\".into())),
            ("at".into(), Field::Timestamp(7, Unit::Micros)),
            ("d".into(), Field::Decimal("1.50")),
            ("b".into(), Field::Double(2.5)),
            ("a".into(), Field::Array(vec![2], vec![1.0, f64::from_bits(0x0A0A_0A0A_0A0A_0A0A)])),
        ];
        assert_eq!(line.fields, wanted);
        // Cut anywhere, it asks for more.
        for cut in 0..length {
            assert_eq!(read(&bytes[..cut]), Ok(None), "{cut}");
        }
    }

    #[test]
    fn what_is_not_right_is_an_error() {
        let wrong: [&[u8]; 18] = [
            b"\n",
            b",a=b c=1i\n",
            b"t\n",
            b"t c\n",
            b"t c=\n",
            b"t c=1x\n",
            b"t c=+1i\n",
            b"t c=inf\n",
            b"t c=1i 5\n",
            b"t c=1i -5t\n",
            b"t c=1i,\n",
            b"t,s= c=1i\n",
            b"t  c=1i\n",
            b"t c=\"\\x\"\n",
            b"t c=\xff\n",
            b"t,s=\xff c=1i\n",
            b"t c==\x10123456789\n",
            b"t c==\x0e\x0a\x00\n",
        ];
        for bytes in wrong {
            assert!(read(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }

        #[test]
        fn mutated_lines_never_panic(at in 0..60_usize, byte: u8, cut in 0..80_usize) {
            let mut bytes = b"t,s=a\\ b x==\x0e\x0a\x01\x01\x00\x00\x0012345678,y=\"\\\"\",z=1i 17t\n".to_vec();
            let index = at % bytes.len();
            bytes[index] = byte;
            bytes.truncate(cut.min(bytes.len()));
            let _ = read(&bytes);
        }
    }
}
