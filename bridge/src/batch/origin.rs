//! Records that were read elsewhere than where they are from: a dead letter lies in one log, its
//! record in another. Offsets of the log that was read answer for them, in the ledger; everything
//! behind it sees the others. Said once for a batch, so that no row pays for it.

use super::{EachHeader, PartitionIndex, Record, Route, Taken, TopicPartition};

/// Where the records of a batch are from.
#[derive(Debug)]
pub struct Origin {
    /// Their partition, by a number that the source gives no partition which it reads.
    pub partition: PartitionIndex,
    /// The same by name.
    pub source: TopicPartition,
    /// What they answer for in the log that was read: its first offset, and the one after the last.
    pub span: (i64, i64),
}

impl Origin {
    /// What a batch says in place of the partition that was read. Its rows are not all that there
    /// is between the first and the last: counting them there proves nothing.
    pub(super) fn instead(self) -> (PartitionIndex, TopicPartition, Route) {
        (self.partition, self.source, Route::Proof)
    }
}

impl Taken {
    /// The same records, which are from elsewhere; there may be none, where the source left all
    /// out. Their offsets are those that they have there, and ascend.
    #[must_use]
    pub fn of_origin(self, origin: Origin) -> Taken {
        Taken { origin: Some(origin), ..self }
    }

    /// The record at `index`.
    pub fn get(&self, index: usize) -> Record<'_> {
        let head = &self.heads[index];
        // SAFETY: the bytes belong to `self.owner` by the promise made to `Records::push`, and
        // the result cannot outlive the borrow of `self`.
        let (key, value) = unsafe { (head.key.get(), head.value.get()) };
        Record { offset: head.offset, timestamp_ms: head.timestamp_ms, key, value }
    }

    /// Walks the headers of the record at `index`.
    pub fn headers(&self, index: usize, each: EachHeader<'_>) {
        self.owner.headers(index, each);
    }
}
