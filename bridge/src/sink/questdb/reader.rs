//! Line protocol read back, strictly: versions 1 and 2 as QuestDB takes them. Shares nothing with
//! the encoder, for it is what the encoder is held against; the demo's endpoint reads with it too.
//!
//! ```text
//! table[,symbol=value…] [field=value[,field=value…]][ timestamp[t|n|m]]\n
//! ```
//!
//! Bytes come in pieces and binary values may hold line ends, so a line is read from its front:
//! what is cut short is asked for again with more bytes. What is not exactly right is an error,
//! also where the server looks away: `+1.5`, a backslash before a letter, a bare carriage return.

use std::borrow::Cow;
use std::fmt;

use memchr::{memchr, memchr3};

/// A line as a strict server would understand it.
#[derive(Clone, PartialEq, Debug)]
pub struct Line<'a> {
    /// The table.
    pub table: Cow<'a, str>,
    /// Symbols, in order.
    pub symbols: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Other columns, in order. None at all only beside symbols.
    pub fields: Vec<(Cow<'a, str>, Field<'a>)>,
    /// The designated timestamp and its unit; a bare number counts nanoseconds.
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
    /// `1t`, `1n`, `1m`
    Timestamp(i64, Unit),
    /// `1.50d`, its digits.
    Decimal(&'a str),
    /// Shape and values, row by row.
    Array(Vec<u32>, Vec<f64>),
}

/// The unit of a timestamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// `m`
    Millis,
    /// `t`
    Micros,
    /// `n`, and no suffix
    Nanos,
}

impl Unit {
    /// Nanoseconds in one of it.
    pub fn nanos(self) -> i64 {
        match self {
            Unit::Millis => 1_000_000,
            Unit::Micros => 1_000,
            Unit::Nanos => 1,
        }
    }

    fn of_suffix(suffix: u8) -> Option<Unit> {
        match suffix {
            b'm' => Some(Unit::Millis),
            b't' => Some(Unit::Micros),
            b'n' => Some(Unit::Nanos),
            _ => None,
        }
    }
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
/// A number in text, at most: the longest double spelled out without an exponent has 1,077 bytes.
pub(super) const WORD_BYTES_MAX: usize = 1_100;

/// Reads the line at the front: the line and its length. `None` asks for more bytes.
pub fn read(bytes: &[u8]) -> Result<Option<(Line<'_>, usize)>, Misread> {
    // However the bytes came, the same line is too long.
    let within = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let mut cursor = Cursor { bytes: within, at: 0 };
    match cursor.line() {
        Ok(line) => Ok(Some((line, cursor.at))),
        Err(Stop::Short) if within.len() < LINE_BYTES_MAX => Ok(None),
        Err(Stop::Short) => Err(Misread { at: LINE_BYTES_MAX, expected: "the end of the line" }),
        Err(Stop::Wrong(misread)) => Err(misread),
    }
}

enum Stop {
    Short,
    Wrong(Misread),
}

/// How text is written: names and symbols bare, strings in quotes.
#[derive(Clone, Copy)]
enum Writing {
    Bare,
    Quoted,
}

impl Writing {
    /// The next byte that is not itself, if there is one.
    #[inline]
    fn special(self, rest: &[u8]) -> Option<usize> {
        match self {
            Writing::Bare => rest.iter().position(|byte| self.escapes(*byte)),
            Writing::Quoted => {
                let end = memchr3(b'"', b'\\', b'\n', rest)?;
                Some(memchr(b'\r', &rest[..end]).unwrap_or(end))
            }
        }
    }

    /// Whether the byte wants a backslash.
    #[inline]
    fn escapes(self, byte: u8) -> bool {
        match self {
            Writing::Bare => matches!(byte, b' ' | b',' | b'=' | b'\n' | b'\r' | b'\\'),
            Writing::Quoted => matches!(byte, b'"' | b'\n' | b'\r' | b'\\'),
        }
    }

    /// Whether the byte ends the text: a bare carriage return ends nothing, a line end no string.
    #[inline]
    fn ends(self, byte: u8) -> bool {
        match self {
            Writing::Bare => matches!(byte, b' ' | b',' | b'=' | b'\n'),
            Writing::Quoted => byte == b'"',
        }
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn line(&mut self) -> Result<Line<'a>, Stop> {
        let table = self.name("a table's name")?;
        let mut symbols = Vec::new();
        while self.peek()? == b',' {
            self.at += 1;
            let name = self.name("a symbol's name")?;
            self.expect(b'=', "`=` after a symbol's name")?;
            let value = self.text(Writing::Bare)?;
            symbols.push((name, value));
        }
        let mut line = Line { table, symbols, fields: Vec::new(), timestamp: None };
        if self.peek()? == b' ' {
            self.at += 1;
            self.columns(&mut line)?;
        } else if line.symbols.is_empty() {
            return self.wrong("`,` or a space after the table's name");
        }
        self.expect(b'\n', "a line end")?;
        Ok(line)
    }

    /// Fields, and the timestamp behind them. Beside symbols the timestamp may stand alone.
    fn columns(&mut self, line: &mut Line<'a>) -> Result<(), Stop> {
        loop {
            let start = self.at;
            let name = self.name("a field's name")?;
            let alone = line.fields.is_empty() && !line.symbols.is_empty();
            if alone && self.peek()? == b'\n' {
                self.at = start;
                line.timestamp = Some(self.timestamp()?);
                return Ok(());
            }
            self.expect(b'=', "`=` after a field's name")?;
            let value = self.field()?;
            line.fields.push((name, value));
            if self.peek()? != b',' {
                break;
            }
            self.at += 1;
        }
        if self.peek()? == b' ' {
            self.at += 1;
            line.timestamp = Some(self.timestamp()?);
        }
        Ok(())
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

    /// A name: never empty, and without the two bytes that the server's parser refuses in it.
    fn name(&mut self, expected: &'static str) -> Result<Cow<'a, str>, Stop> {
        let start = self.at;
        let name = self.text(Writing::Bare)?;
        if name.is_empty() || name.bytes().any(|byte| matches!(byte, 0 | b'/')) {
            self.at = start;
            return self.wrong(expected);
        }
        Ok(name)
    }

    /// Text up to the byte that ends it, backslashes resolved; borrowed if it has none.
    #[inline]
    fn text(&mut self, writing: Writing) -> Result<Cow<'a, str>, Stop> {
        let start = self.at;
        let mut resolved: Option<Vec<u8>> = None;
        let last = loop {
            let run_at = self.at;
            self.at += writing.special(&self.bytes[run_at..]).ok_or(Stop::Short)?;
            let run = &self.bytes[run_at..self.at];
            let byte = self.peek()?;
            if writing.ends(byte) {
                break run;
            }
            if byte != b'\\' {
                return self.wrong("a backslash before a line end or carriage return");
            }
            self.at += 1;
            let escaped = self.peek()?;
            if !writing.escapes(escaped) {
                return self.wrong("a byte that wants a backslash");
            }
            let text = resolved.get_or_insert_default();
            text.extend_from_slice(run);
            text.push(escaped);
            self.at += 1;
        };
        let text = match resolved {
            Some(mut bytes) => {
                bytes.extend_from_slice(last);
                String::from_utf8(bytes).ok().map(Cow::Owned)
            }
            None => std::str::from_utf8(last).ok().map(Cow::Borrowed),
        };
        match text {
            Some(text) => Ok(text),
            None => {
                self.at = start;
                self.wrong("text in UTF-8")
            }
        }
    }

    fn field(&mut self) -> Result<Field<'a>, Stop> {
        match self.peek()? {
            b'"' => {
                self.at += 1;
                let text = self.text(Writing::Quoted)?;
                self.at += 1;
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
        match self.peek()? {
            16 => {
                self.at += 1;
                Ok(Field::Double(f64::from_le_bytes(self.take()?)))
            }
            14 => {
                self.at += 1;
                self.array()
            }
            _ => self.wrong("a binary double (16) or array (14)"),
        }
    }

    fn array(&mut self) -> Result<Field<'a>, Stop> {
        if self.peek()? != 10 {
            return self.wrong("an array of doubles (10)");
        }
        self.at += 1;
        let dims = self.peek()?;
        if !(1..=DIMS_MAX).contains(&dims) {
            return self.wrong("1 to 32 dimensions");
        }
        self.at += 1;
        let mut shape = Vec::with_capacity(usize::from(dims));
        for _ in 0..dims {
            shape.push(u32::from_le_bytes(self.take()?));
        }
        // An empty dimension empties the array, whatever stands beside it.
        let count = shape.iter().fold(1_usize, |n, length| n.saturating_mul(*length as usize));
        let count = if shape.contains(&0) { 0 } else { count };
        if count > LINE_BYTES_MAX / size_of::<f64>() {
            return self.wrong("an array that a line can hold");
        }
        let end = self.at + count * size_of::<f64>();
        let (values, _) = self.bytes.get(self.at..end).ok_or(Stop::Short)?.as_chunks();
        self.at = end;
        Ok(Field::Array(shape, values.iter().map(|value| f64::from_le_bytes(*value)).collect()))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let bytes = *self.bytes[self.at..].first_chunk().ok_or(Stop::Short)?;
        self.at += N;
        Ok(bytes)
    }

    /// A word up to the next separator.
    fn word(&mut self) -> Result<&'a [u8], Stop> {
        let rest = &self.bytes[self.at..];
        let within = &rest[..rest.len().min(WORD_BYTES_MAX)];
        match within.iter().position(|byte| matches!(byte, b' ' | b',' | b'\n')) {
            Some(length) => Ok(&within[..length]),
            None if within.len() < WORD_BYTES_MAX => Err(Stop::Short),
            None => self.wrong("a number of a number's length"),
        }
    }

    fn bare(&mut self) -> Result<Field<'a>, Stop> {
        let word = self.word()?;
        let field = match word {
            b"t" => Some(Field::Bool(true)),
            b"f" => Some(Field::Bool(false)),
            b"NaN" => Some(Field::Double(f64::NAN)),
            b"Infinity" => Some(Field::Double(f64::INFINITY)),
            b"-Infinity" => Some(Field::Double(f64::NEG_INFINITY)),
            [digits @ .., b'i'] => integer(digits).map(Field::Long),
            [digits @ .., b'd'] => plain(digits).map(Field::Decimal),
            [digits @ .., suffix] => match Unit::of_suffix(*suffix) {
                Some(unit) => integer(digits).map(|ticks| Field::Timestamp(ticks, unit)),
                None => double(word).map(Field::Double),
            },
            [] => None,
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
        let (digits, unit) = match word {
            [digits @ .., suffix] if !suffix.is_ascii_digit() => (digits, Unit::of_suffix(*suffix)),
            _ => (word, Some(Unit::Nanos)),
        };
        match (integer(digits), unit) {
            (Some(ticks), Some(unit)) if ticks >= 0 => {
                self.at += word.len();
                Ok((ticks, unit))
            }
            _ => self.wrong("a timestamp not before 1970"),
        }
    }
}

/// A whole number without a plus sign.
fn integer(digits: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(digits).ok()?;
    if text.starts_with('+') { None } else { text.parse().ok() }
}

/// `-12.5`: a sign, digits, and digits behind a point if there is one.
fn plain(number: &[u8]) -> Option<&str> {
    let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let positive = number.strip_prefix(b"-").unwrap_or(number);
    let right = match memchr(b'.', positive) {
        Some(point) => digits(&positive[..point]) && digits(&positive[point + 1..]),
        None => digits(positive),
    };
    right.then(|| std::str::from_utf8(number).ok()).flatten()
}

/// A number with an exponent or without. One that would become infinite is none.
fn double(number: &[u8]) -> Option<f64> {
    if let Some(e) = number.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        let exponent = &number[e + 1..];
        let digits = exponent.strip_prefix(b"-").or(exponent.strip_prefix(b"+"));
        let digits = digits.unwrap_or(exponent);
        plain(&number[..e])?;
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
    } else {
        plain(number)?;
    }
    std::str::from_utf8(number).ok()?.parse().ok().filter(|value: &f64| value.is_finite())
}
