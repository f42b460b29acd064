//! Record batches out of vectors, for tests.

use std::sync::Arc;

use crate::batch::{
    EachHeader, Owner, PartitionIndex, Record, RecordBatch, Records, Route, TopicPartition,
};
use crate::ticket::{Lost, Ticket};

/// Key and value of a record.
pub type Pair = (Option<Vec<u8>>, Option<Vec<u8>>);

struct Pairs {
    _pairs: Vec<Pair>,
}

impl Owner for Pairs {
    fn headers(&self, _: usize, _: EachHeader<'_>) {}
}

/// A batch of these records, offsets from 0.
pub fn batch(pairs: Vec<Pair>) -> RecordBatch {
    let mut records = Records::with_capacity(pairs.len());
    for (offset, (key, value)) in pairs.iter().enumerate() {
        let record = Record {
            offset: offset as i64,
            timestamp_ms: 1_700_000_000_000,
            key: key.as_deref(),
            value: value.as_deref(),
        };
        // SAFETY: the bytes belong to `pairs`, which becomes the batch's owner and is not changed.
        unsafe { records.push(record) };
    }
    let ticket = Ticket::issue(1, Arc::new(Lost::default()));
    let source = TopicPartition { topic: "sensors".into(), partition: 3 };
    let taken = records.owned_by(Box::new(Pairs { _pairs: pairs }));
    taken.into_batch(PartitionIndex(0), source, ticket, Route::Primary)
}
