//! Records with bytes of their own, and batches of them.

use crate::batch::{EachHeader, Owner, Record, Records, Taken};

/// A record that borrows nothing: one that was read again by its position, one of a file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OwnedRecord {
    /// Kafka's timestamp, milliseconds since 1970; -1 where there is none.
    pub timestamp_ms: i64,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Option<Vec<u8>>,
    /// The headers.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl OwnedRecord {
    /// A copy of one that was taken.
    pub fn of(taken: &Taken, index: usize) -> OwnedRecord {
        let record = taken.get(index);
        let mut headers = Vec::new();
        taken.headers(index, &mut |name, value| {
            headers.push((name.to_vec(), value.map(<[u8]>::to_vec)));
        });
        OwnedRecord {
            timestamp_ms: record.timestamp_ms,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers,
        }
    }
}

/// Keeps the records' bytes alive.
struct Kept(Vec<(i64, OwnedRecord)>);

impl Owner for Kept {
    fn headers(&self, index: usize, each: EachHeader<'_>) {
        for (name, value) in self.0.get(index).into_iter().flat_map(|(_, record)| &record.headers) {
            each(name, value.as_deref());
        }
    }
}

/// Records, each with its offset, as a source hands them over.
pub fn lend(kept: Vec<(i64, OwnedRecord)>) -> Taken {
    let mut records = Records::with_capacity(kept.len());
    for (offset, record) in &kept {
        let record = Record {
            offset: *offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
        };
        // SAFETY: the bytes lie in vectors of `kept`, which becomes the batch's owner below and is
        // not changed; moving a vector does not move what it points to.
        unsafe { records.push(record) };
    }
    records.owned_by(Box::new(Kept(kept)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_what_was_lent() {
        let record = |value: Option<&[u8]>| OwnedRecord {
            timestamp_ms: 5,
            key: Some(Vec::new()),
            value: value.map(<[u8]>::to_vec),
            headers: vec![(b"h".to_vec(), None), (b"h".to_vec(), Some(b"1".to_vec()))],
        };
        let records = [record(Some(b"v")), record(None), OwnedRecord::default()];
        let taken = lend((7..).zip(records.clone()).collect());
        assert_eq!(taken.span(), Some((7, 10)));
        let copies = [0, 1, 2].map(|index| OwnedRecord::of(&taken, index));
        assert_eq!(copies, records);
    }
}
