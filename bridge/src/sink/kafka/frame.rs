//! A record on its way to its topic, as it lies in a payload: its partition (-1: by the key), the
//! length of its key (-1: none), the key, the value. A payload's positions say where it ends.

/// Bytes before the key.
const HEAD: usize = 8;

/// A record, lent by a payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// Where it is to go; `None`: by its key.
    pub partition: Option<i32>,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Appends the record.
    pub fn push(&self, out: &mut Vec<u8>) {
        let key_bytes = self.key.map_or(-1, |key| key.len() as i32);
        out.extend_from_slice(&self.partition.unwrap_or(-1).to_le_bytes());
        out.extend_from_slice(&key_bytes.to_le_bytes());
        out.extend_from_slice(self.key.unwrap_or_default());
        out.extend_from_slice(self.value);
    }

    /// Reads a record; `None` if these bytes are none.
    pub fn read(bytes: &'a [u8]) -> Option<Frame<'a>> {
        let (head, rest) = bytes.split_at_checked(HEAD)?;
        let number = |at: usize| Some(i32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?));
        let (partition, key_bytes) = (number(0)?, number(4)?);
        let (key, value) = match usize::try_from(key_bytes) {
            Ok(bytes) => {
                let (key, value) = rest.split_at_checked(bytes)?;
                (Some(key), value)
            }
            Err(_) => (None, rest),
        };
        Some(Frame { partition: (partition >= 0).then_some(partition), key, value })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_pushed_is_read(
            partition in proptest::option::of(0..i32::MAX),
            key in proptest::option::of(prop::collection::vec(any::<u8>(), 0..20)),
            value in prop::collection::vec(any::<u8>(), 0..40),
            cut in 0..HEAD,
        ) {
            let frame = Frame { partition, key: key.as_deref(), value: &value };
            let mut bytes = Vec::new();
            frame.push(&mut bytes);
            prop_assert_eq!(Frame::read(&bytes), Some(frame));
            prop_assert_eq!(Frame::read(&bytes[..cut]), None);
        }
    }
}
