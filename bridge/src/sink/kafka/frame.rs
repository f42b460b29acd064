//! A record on its way to its topic, as it lies in a payload: its partition (-1: by the key), the
//! length of its key (-1: none), the key, the value. What a row never has (a timestamp, headers of
//! its own, no value) makes the long form, told by a length of -2. A payload's positions say where
//! a record ends.
//!
//! ```text
//! short  partition · key bytes · key · value
//! long   partition · -2 · timestamp · key bytes · value bytes · header bytes
//!        · headers · key · value
//! ```

/// Stands for the length of what is null.
const NULL: i32 = -1;
/// In the place of the key's length.
const LONG: i32 = -2;

/// A record, lent by a payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// Where it is to go; `None`: by its key.
    pub partition: Option<i32>,
    /// Milliseconds since 1970; `None`: when it is written.
    pub timestamp_ms: Option<i64>,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers, as [`push_header`] wrote them.
    pub headers: &'a [u8],
}

/// Appends a header to those of a record.
pub fn push_header(out: &mut Vec<u8>, name: &[u8], value: Option<&[u8]>) {
    push(out, length(Some(name)));
    out.extend_from_slice(name);
    push(out, length(value));
    out.extend_from_slice(value.unwrap_or_default());
}

fn push(out: &mut Vec<u8>, number: i32) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn length(bytes: Option<&[u8]>) -> i32 {
    // What is longer than this no answer of a guest can hold, and no record of Kafka.
    bytes.map_or(NULL, |bytes| i32::try_from(bytes.len()).expect("bounded before"))
}

impl<'a> Frame<'a> {
    /// A row's: it has no headers, and the time of writing.
    pub fn row(partition: Option<i32>, key: Option<&'a [u8]>, value: &'a [u8]) -> Frame<'a> {
        Frame { partition, timestamp_ms: None, key, value: Some(value), headers: &[] }
    }

    /// Appends the record.
    pub fn push(&self, out: &mut Vec<u8>) {
        push(out, self.partition.unwrap_or(-1));
        if self.value.is_none() || self.timestamp_ms.is_some() || !self.headers.is_empty() {
            push(out, LONG);
            out.extend_from_slice(&self.timestamp_ms.unwrap_or(-1).to_le_bytes());
            push(out, length(self.key));
            push(out, length(self.value));
            push(out, length(Some(self.headers)));
            out.extend_from_slice(self.headers);
        } else {
            push(out, length(self.key));
        }
        out.extend_from_slice(self.key.unwrap_or_default());
        out.extend_from_slice(self.value.unwrap_or_default());
    }

    /// Reads a record; `None` if these bytes are none.
    pub fn read(bytes: &'a [u8]) -> Option<Frame<'a>> {
        let mut rest = Rest(bytes);
        let partition = Some(rest.number()?).filter(|number| *number >= 0);
        let key_bytes = rest.number()?;
        if key_bytes != LONG {
            let key = rest.bytes(key_bytes)?;
            return Some(Frame { key, ..Frame::row(partition, None, rest.0) });
        }
        let (timestamp, rest_bytes) = rest.0.split_first_chunk::<8>()?;
        rest.0 = rest_bytes;
        let timestamp_ms = Some(i64::from_le_bytes(*timestamp)).filter(|ms| *ms >= 0);
        let (key_bytes, value_bytes, header_bytes) =
            (rest.number()?, rest.number()?, rest.number()?);
        let headers = rest.bytes(header_bytes)??;
        let (key, value) = (rest.bytes(key_bytes)?, rest.bytes(value_bytes)?);
        rest.0.is_empty().then_some(Frame { partition, timestamp_ms, key, value, headers })
    }

    /// Its headers: name and value.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> {
        let mut rest = Rest(self.headers);
        std::iter::from_fn(move || {
            let name_bytes = rest.number()?;
            let name = str::from_utf8(rest.bytes(name_bytes)??).ok()?;
            let value_bytes = rest.number()?;
            Some((name, rest.bytes(value_bytes)?))
        })
    }
}

/// What was not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn number(&mut self) -> Option<i32> {
        let (number, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(i32::from_le_bytes(*number))
    }

    /// So many bytes, or null; `None` if there are not as many.
    fn bytes(&mut self, length: i32) -> Option<Option<&'a [u8]>> {
        let Ok(length) = usize::try_from(length) else { return Some(None) };
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(Some(bytes))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..20)
    }

    proptest! {
        #[test]
        fn what_is_pushed_is_read(
            partition in proptest::option::of(0..i32::MAX),
            timestamp_ms in proptest::option::of(0..i64::MAX),
            key in proptest::option::of(bytes()),
            value in proptest::option::weighted(0.8, bytes()),
            headers in prop::collection::vec((".{0,5}", proptest::option::of(bytes())), 0..3),
            cut in 0usize..60,
        ) {
            let mut written = Vec::new();
            for (name, value) in &headers {
                push_header(&mut written, name.as_bytes(), value.as_deref());
            }
            let (key, value) = (key.as_deref(), value.as_deref());
            let frame = Frame { partition, timestamp_ms, key, value, headers: &written };
            let mut bytes = Vec::new();
            frame.push(&mut bytes);
            let read = Frame::read(&bytes).expect("it was pushed");
            prop_assert_eq!(read, frame);
            let of = |(name, value): &(String, Option<Vec<u8>>)| (name.clone(), value.clone());
            let found = read.headers();
            let found = found.map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec)));
            let expected: Vec<_> = headers.iter().map(of).collect();
            prop_assert_eq!(found.collect::<Vec<_>>(), expected);

            // A part of it is another record at most, and never a panic.
            let part = &bytes[..cut.min(bytes.len())];
            prop_assert!(part.len() == bytes.len() || Frame::read(part) != Some(frame));
        }
    }
}
