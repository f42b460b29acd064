//! The envelope of Connect's `JsonConverter`, `{"schema":…,"payload":…}`, and the schemas that came
//! with values: each is compiled once, and known again by its bytes. They are the greater part of
//! such a message, so they are compared and not parsed.

use std::collections::HashMap;
use std::ops::Range;

use crate::format::Refused;

/// Schemas of one lane. More come from one who invents them.
const KNOWN_MAX: usize = 1_024;
/// Bytes of all of these.
const KNOWN_BYTES_MAX: usize = 16 << 20;

/// What is between the schema and the payload as the converter writes them, and before both.
const BEFORE: &[u8] = b"{\"schema\":";
const BETWEEN: &[u8] = b",\"payload\":";

/// Schemas, and what was made of each.
pub struct Known<M> {
    places: HashMap<Box<[u8]>, usize, foldhash::fast::FixedState>,
    made: Vec<Made<M>>,
    /// The one that was last met, for most are the same.
    last: usize,
    bytes: usize,
}

struct Made<M> {
    schema: Box<[u8]>,
    made: Result<M, Refused>,
}

impl<M> Default for Known<M> {
    fn default() -> Known<M> {
        Known { places: HashMap::default(), made: Vec::new(), last: 0, bytes: 0 }
    }
}

/// A payload, and what was made of its schema.
pub struct Opened<'k, 'v, M> {
    pub made: &'k M,
    pub payload: &'v [u8],
}

impl<M> Known<M> {
    /// Opens a value that has a schema with it; `None` if it has none.
    pub fn open<'v>(
        &mut self,
        value: &'v [u8],
        make: impl FnOnce(&[u8]) -> Result<M, Refused>,
    ) -> Option<Result<Opened<'_, 'v, M>, Refused>> {
        let payload = match self.as_before(value) {
            Some(payload) => payload,
            None => {
                let (schema, payload) = split(value)?;
                self.last = self.find(&value[schema], make);
                &value[payload]
            }
        };
        let made = &self.made[self.last].made;
        Some(made.as_ref().map(|made| Opened { made, payload }).map_err(Refused::clone))
    }

    /// The payload of a value whose schema is the last one.
    fn as_before<'v>(&self, value: &'v [u8]) -> Option<&'v [u8]> {
        let last = self.made.get(self.last)?;
        let rest = value.strip_prefix(BEFORE)?.strip_prefix(&*last.schema)?;
        // A schema is a whole value of JSON: whoever goes on with this has no other.
        rest.strip_prefix(BETWEEN)?.strip_suffix(b"}")
    }

    fn find(&mut self, schema: &[u8], make: impl FnOnce(&[u8]) -> Result<M, Refused>) -> usize {
        if let Some(place) = self.places.get(schema) {
            return *place;
        }
        if self.made.len() >= KNOWN_MAX || self.bytes + schema.len() > KNOWN_BYTES_MAX {
            *self = Known::default();
        }
        self.bytes += schema.len();
        self.places.insert(schema.into(), self.made.len());
        self.made.push(Made { schema: schema.into(), made: make(schema) });
        self.made.len() - 1
    }
}

/// Where the schema and the payload of an envelope are: an object of exactly these two. What is
/// within them is not looked at.
fn split(value: &[u8]) -> Option<(Range<usize>, Range<usize>)> {
    let mut at = blanks(value, 0);
    if value.get(at) != Some(&b'{') {
        return None;
    }
    let (mut schema, mut payload) = (None, None);
    loop {
        at = blanks(value, at + 1);
        let place = match value.get(at..)? {
            rest if rest.starts_with(b"\"schema\"") => {
                at += b"\"schema\"".len();
                &mut schema
            }
            rest if rest.starts_with(b"\"payload\"") => {
                at += b"\"payload\"".len();
                &mut payload
            }
            _ => return None,
        };
        at = blanks(value, at);
        if value.get(at) != Some(&b':') || place.is_some() {
            return None;
        }
        let from = blanks(value, at + 1);
        let end = end_of_value(value, from)?;
        *place = Some(from..end);
        at = blanks(value, end);
        match value.get(at)? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    if blanks(value, at + 1) != value.len() {
        return None;
    }
    // Of an envelope the schema is an object, or null where the value had none.
    let schema = schema.filter(|schema| matches!(value[schema.start], b'{' | b'n'))?;
    Some((schema, payload?))
}

fn blanks(value: &[u8], at: usize) -> usize {
    let rest = value.get(at..).unwrap_or_default();
    let blank = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    at + rest.iter().take_while(blank).count()
}

/// The position behind the value of JSON that begins there, if its brackets and quotes close.
fn end_of_value(value: &[u8], from: usize) -> Option<usize> {
    let (mut at, mut depth) = (from, 0_usize);
    loop {
        match value.get(at)? {
            b'"' => at = end_of_text(value, at)?,
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => break,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            b',' if depth == 0 => break,
            _ => {}
        }
        at += 1;
    }
    (at > from).then_some(at)
}

/// The position of the quote that ends a text.
fn end_of_text(value: &[u8], from: usize) -> Option<usize> {
    let mut at = from + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', value.get(at..)?)?;
        if value[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open<'v>(known: &mut Known<usize>, value: &'v str, made: usize) -> Option<(usize, &'v str)> {
        let opened = known.open(value.as_bytes(), |_| Ok(made))?.expect("it was made");
        let payload = std::str::from_utf8(opened.payload).expect("it was text");
        Some((*opened.made, payload))
    }

    #[test]
    fn a_schema_is_made_once_and_known_again_however_it_stands() {
        let mut known = Known::default();
        let one = r#"{"schema":{"a":"}\"{"},"payload":{"x":[1]}}"#;
        assert_eq!(open(&mut known, one, 1), Some((1, r#"{"x":[1]}"#)));
        assert_eq!(open(&mut known, one, 9), Some((1, r#"{"x":[1]}"#)));
        let other = r#"{"schema":{"a":2},"payload":7}"#;
        assert_eq!(open(&mut known, other, 2), Some((2, "7")));
        assert_eq!(open(&mut known, one, 9), Some((1, r#"{"x":[1]}"#)));
        let turned = " { \"payload\" : {\"y\":2} ,\n\"schema\":{\"a\":2} } ";
        assert_eq!(open(&mut known, turned, 9), Some((2, "{\"y\":2}")));
        assert_eq!(open(&mut known, r#"{"schema":null,"payload":{}}"#, 3), Some((3, "{}")));
    }

    #[test]
    fn what_is_no_envelope_is_not_opened() {
        let mut known = Known::default();
        for value in [
            "",
            "{",
            "{}",
            "[1]",
            r#"{"op":"c"}"#,
            r#"{"schema":{}}"#,
            r#"{"payload":{}}"#,
            r#"{"schema":"text","payload":"text"}"#,
            r#"{"schema":{},"payload":1,"more":2}"#,
            r#"{"schema":{},"payload":1}}"#,
            r#"{"schema":{},"payload":}"#,
            r#"{"schema":{},"schema":{},"payload":1}"#,
            r#"{"schema":{"a":"},"payload":1}"#,
        ] {
            assert_eq!(open(&mut known, value, 1), None, "{value}");
        }
    }
}
