//! MessagePack. A value is written anew as JSON and read as that is, so that maps flatten, arrays
//! and names that come twice become what they become there.
//!
//! | in the record | read as |
//! |---|---|
//! | integers, floats, booleans, nil, text, arrays, maps | the same in JSON |
//! | a float that is not finite | null, for JSON has none |
//! | a map's name that is an integer | its digits |
//! | bytes, extensions | text in base64 |
//! | a timestamp (extension -1) | text, ISO 8601 in UTC |
//!
//! The source of the rules is the specification of MessagePack (`spec.md`), with the timestamp
//! extension. Sizes that a record claims are believed as far as its bytes go: nothing is allocated
//! by them.

use std::io::Write;

use super::json;
use super::print::push_base64;
use super::walk::walk;
use super::{Admission, Decoded, DecoderContext, Format, FormatPlan, Refused, quoted};
use crate::batch::{RecordBatch, RowBatch};
use crate::blame::Fault;
use crate::kind::{Kind, options};
use crate::reject::{Reason, Rejects};

/// The format's entry in its room's table.
pub const KIND: Kind<dyn FormatPlan> = Kind {
    name: "msgpack",
    summary: "MessagePack maps, flattened into columns as JSON is",
    example: "value = { format = \"msgpack\" }\n",
    schema: || schemars::schema_for!(json::Options),
    parse: |section| Ok(Box::new(Plan(options(section)?))),
};

/// What JSON has as options.
#[derive(Debug)]
struct Plan(json::Options);

impl FormatPlan for Plan {
    fn separator(&self) -> Option<&str> {
        self.0.separator()
    }

    fn decoder(&self, context: &DecoderContext) -> Box<dyn Format> {
        let Plan(options) = self;
        Box::new(Decoder {
            admission: context.admission,
            depth_max: options.depth_max,
            json: json::Decoder::new(options, context),
            text: Vec::new(),
        })
    }
}

/// The decoder of one lane.
struct Decoder {
    admission: Admission,
    depth_max: usize,
    json: json::Decoder,
    /// The value at hand as JSON; kept for its room.
    text: Vec<u8>,
}

impl Format for Decoder {
    fn decode(
        &mut self,
        records: &RecordBatch,
        rows: &mut RowBatch,
        rejects: &mut Rejects,
    ) -> Result<Decoded, Fault> {
        let Decoder { admission, depth_max, json, text } = self;
        walk(*admission, records, rows, rejects, |source, value, key, rows| {
            let Some(value) = value else { return json.key_alone(source, key, rows) };
            text.clear();
            to_json(value, *depth_max, text)?;
            // A second caller of what predicts would cost JSON itself.
            json.unpredicted(source, text, key, rows)
        })
    }
}

/// Appends a whole value as JSON.
fn to_json(value: &[u8], depth_max: usize, out: &mut Vec<u8>) -> Result<(), Refused> {
    let mut reader = Reader { bytes: value, at: 0, depth_max };
    match value.first() {
        None => return Err((Reason::Empty, "the value has no bytes".to_owned())),
        // Maps; and arrays, of which JSON says whether they may be.
        Some(0x80..=0x9f | 0xdc..=0xdf) => reader.value(0, out)?,
        Some(_) => return Err(malformed("the value is not a MessagePack map")),
    }
    let more = value.len() - reader.at;
    if more > 0 {
        return Err(malformed(format!("{more} bytes more behind the value")));
    }
    Ok(())
}

fn malformed(words: impl Into<String>) -> Refused {
    (Reason::Malformed, words.into())
}

/// Reads one value after the other.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    depth_max: usize,
}

impl<'a> Reader<'a> {
    /// Appends the value that stands here; `depth` maps and arrays are around it.
    fn value(&mut self, depth: usize, out: &mut Vec<u8>) -> Result<(), Refused> {
        let [marker] = self.fixed()?;
        match marker {
            0x00..=0x7f => push_int(i64::from(marker), out),
            0xe0..=0xff => push_int(i64::from(marker as i8), out),
            0x80..=0x8f => self.map(usize::from(marker & 15), depth, out)?,
            0x90..=0x9f => self.array(usize::from(marker & 15), depth, out)?,
            0xa0..=0xbf => self.text(usize::from(marker & 31), out)?,
            0xc0 => out.extend_from_slice(b"null"),
            0xc1 => {
                let at = self.at - 1;
                return Err(malformed(format!("the byte 0xc1, which means nothing, at byte {at}")));
            }
            0xc2 => out.extend_from_slice(b"false"),
            0xc3 => out.extend_from_slice(b"true"),
            0xc4..=0xc6 => {
                let len = self.length(marker - 0xc4)?;
                push_base64(out, self.take(len)?);
            }
            0xc7..=0xc9 => {
                let len = self.length(marker - 0xc7)?;
                self.extension(len, out)?;
            }
            0xca => push_float(f64::from(f32::from_be_bytes(self.fixed()?)), out),
            0xcb => push_float(f64::from_be_bytes(self.fixed()?), out),
            0xcc => push_int(i64::from(u8::from_be_bytes(self.fixed()?)), out),
            0xcd => push_int(i64::from(u16::from_be_bytes(self.fixed()?)), out),
            0xce => push_int(i64::from(u32::from_be_bytes(self.fixed()?)), out),
            0xcf => {
                let value = u64::from_be_bytes(self.fixed()?);
                out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
            }
            0xd0 => push_int(i64::from(i8::from_be_bytes(self.fixed()?)), out),
            0xd1 => push_int(i64::from(i16::from_be_bytes(self.fixed()?)), out),
            0xd2 => push_int(i64::from(i32::from_be_bytes(self.fixed()?)), out),
            0xd3 => push_int(i64::from_be_bytes(self.fixed()?), out),
            0xd4..=0xd8 => self.extension(1 << (marker - 0xd4), out)?,
            0xd9..=0xdb => {
                let len = self.length(marker - 0xd9)?;
                self.text(len, out)?;
            }
            0xdc | 0xdd => {
                let len = self.length(marker - 0xdc + 1)?;
                self.array(len, depth, out)?;
            }
            0xde | 0xdf => {
                let len = self.length(marker - 0xde + 1)?;
                self.map(len, depth, out)?;
            }
        }
        Ok(())
    }

    /// A size of one, two or four bytes.
    fn length(&mut self, width: u8) -> Result<usize, Refused> {
        Ok(match width {
            0 => usize::from(u8::from_be_bytes(self.fixed()?)),
            1 => usize::from(u16::from_be_bytes(self.fixed()?)),
            _ => u32::from_be_bytes(self.fixed()?) as usize,
        })
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Refused> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().expect("as many were taken"))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Refused> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..len).ok_or_else(|| {
            let (at, left) = (self.at, rest.len());
            malformed(format!(
                "cut short: {len} bytes should stand at byte {at}, and {left} are left"
            ))
        })?;
        self.at += len;
        Ok(taken)
    }

    fn deeper(&self, depth: usize) -> Result<usize, Refused> {
        if depth >= self.depth_max {
            let max = self.depth_max;
            return Err((Reason::TooDeep, format!("nested deeper than {max}")));
        }
        Ok(depth + 1)
    }

    fn array(&mut self, len: usize, depth: usize, out: &mut Vec<u8>) -> Result<(), Refused> {
        let depth = self.deeper(depth)?;
        out.push(b'[');
        for index in 0..len {
            if index > 0 {
                out.push(b',');
            }
            self.value(depth, out)?;
        }
        out.push(b']');
        Ok(())
    }

    fn map(&mut self, len: usize, depth: usize, out: &mut Vec<u8>) -> Result<(), Refused> {
        let depth = self.deeper(depth)?;
        out.push(b'{');
        for index in 0..len {
            if index > 0 {
                out.push(b',');
            }
            self.name(out)?;
            out.push(b':');
            self.value(depth, out)?;
        }
        out.push(b'}');
        Ok(())
    }

    /// A name: text, or an integer as its digits.
    fn name(&mut self, out: &mut Vec<u8>) -> Result<(), Refused> {
        let at = self.at;
        match self.bytes.get(at) {
            Some(0xa0..=0xbf | 0xd9..=0xdb) => self.value(0, out),
            Some(0x00..=0x7f | 0xe0..=0xff | 0xcc..=0xd3) => {
                out.push(b'"');
                self.value(0, out)?;
                out.push(b'"');
                Ok(())
            }
            None => self.take(1).map(|_| ()),
            Some(_) => Err(malformed(format!(
                "a map's name at byte {at} is neither text nor a whole number"
            ))),
        }
    }

    fn text(&mut self, len: usize, out: &mut Vec<u8>) -> Result<(), Refused> {
        let at = self.at;
        let text = self.take(len)?;
        if simdutf8::basic::from_utf8(text).is_err() {
            let detail = format!("the text at byte {at} is not UTF-8: {}", quoted(text));
            return Err((Reason::InvalidUtf8, detail));
        }
        push_text(text, out);
        Ok(())
    }

    fn extension(&mut self, len: usize, out: &mut Vec<u8>) -> Result<(), Refused> {
        /// The type of timestamps.
        const TIMESTAMP: [u8; 1] = [0xff];
        let kind: [u8; 1] = self.fixed()?;
        let at = self.at;
        let data = self.take(len)?;
        if kind != TIMESTAMP {
            push_base64(out, data);
            return Ok(());
        }
        let timestamp = timestamp(data).ok_or_else(|| {
            malformed(format!(
                "the timestamp at byte {at} is none between the years -9999 and 9999"
            ))
        })?;
        write!(out, "\"{timestamp}\"").expect("a vector takes any bytes");
        Ok(())
    }
}

/// A timestamp of 4, 8 or 12 bytes.
fn timestamp(data: &[u8]) -> Option<jiff::Timestamp> {
    let (seconds, nanos) = match data.len() {
        4 => (i64::from(u32::from_be_bytes(data.try_into().ok()?)), 0),
        8 => {
            let both = u64::from_be_bytes(data.try_into().ok()?);
            ((both & ((1 << 34) - 1)) as i64, (both >> 34) as u32)
        }
        12 => {
            let (nanos, seconds) = data.split_first_chunk()?;
            (i64::from_be_bytes(seconds.try_into().ok()?), u32::from_be_bytes(*nanos))
        }
        _ => return None,
    };
    let nanos = i32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    jiff::Timestamp::new(seconds, nanos).ok()
}

fn push_int(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn push_float(value: f64, out: &mut Vec<u8>) {
    match value.is_finite() {
        true => out.extend_from_slice(zmij::Buffer::new().format(value).as_bytes()),
        false => out.extend_from_slice(b"null"),
    }
}

/// Text in quotes, escaped as RFC 8259 wants it.
fn push_text(text: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, 0..0x20 | b'"' | b'\\')) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            byte => {
                let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', DIGITS[high], DIGITS[low]]);
            }
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

#[cfg(test)]
#[path = "msgpack_tests.rs"]
mod tests;
