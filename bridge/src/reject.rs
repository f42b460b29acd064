//! Records that cannot become rows: why, and with all that is needed to put them right. A reject
//! is stored before its offset commits (it holds a share of its batch's ticket).

use tokio::sync::oneshot;

use crate::batch::{PartitionIndex, RecordBatch, Refusal, RowBatch};
use crate::ticket::Share;

/// Where on the road the record was refused. The names are stable: they stand in the dead
/// letters' header `bridge.stage` and in metrics.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stage {
    /// Before it was decoded: size, null policy.
    Intake,
    /// While it was decoded.
    Format,
    /// By a transform, or because of one.
    Transform,
    /// While it was shaped for its table.
    Shape,
    /// By the database.
    Sink,
}

impl Stage {
    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Intake => "intake",
            Stage::Format => "format",
            Stage::Transform => "transform",
            Stage::Shape => "shape",
            Stage::Sink => "sink",
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Why a record was refused. The names are stable: they stand in the dead letters' header
        /// `bridge.reason` and as the label `reason` of metrics.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub enum Reason { $($(#[$doc])* $variant,)* }

        impl Reason {
            /// Every reason, in the order of its number.
            pub const ALL: &[Reason] = &[$(Reason::$variant,)*];

            /// The stable name.
            pub const fn name(self) -> &'static str {
                match self { $(Reason::$variant => $name,)* }
            }
        }
    };
}

// A macro, because the list, the names and `ALL` must not drift apart.
reasons! {
    /// The value is null and `null_value = "reject"`.
    NullValue = "null-value",
    /// Larger than `record_bytes_max`.
    TooLarge = "too-large",
    /// The value has no bytes.
    Empty = "empty",
    /// Not what the format says it is.
    Malformed = "malformed",
    /// Nobody has the schema that it was written with.
    UnknownSchema = "unknown-schema",
    /// Text that is not UTF-8.
    InvalidUtf8 = "invalid-utf8",
    /// Nested deeper than the bound.
    TooDeep = "too-deep",
    /// More columns, or more names, than the bound.
    TooManyColumns = "too-many-columns",
    /// A column or table name that the target cannot have.
    BadName = "bad-name",
    /// A value that does not fit the type of its column.
    WrongType = "wrong-type",
    /// No designated timestamp, or one that cannot be read.
    BadTimestamp = "bad-timestamp",
    /// A designated timestamp before 1970, which line protocol does not take.
    TimestampBefore1970 = "timestamp-before-1970",
    /// The key is not what its format says.
    BadKey = "bad-key",
    /// A row without any column.
    NoColumns = "no-columns",
    /// Two of its fields would be one column.
    TwoFields = "two-fields",
    /// A transform refused it.
    RefusedByTransform = "refused-by-transform",
    /// A transform trapped on it.
    Trap = "trap",
    /// A transform passed its deadline on it.
    Deadline = "deadline",
    /// A transform answered with something that breaks the contract.
    BadAnswer = "bad-answer",
    /// The database refused it.
    RefusedBySink = "refused-by-sink",
}

/// One refused record, with its original bytes.
#[derive(Debug)]
pub struct Reject {
    /// Where it came from.
    pub partition: PartitionIndex,
    /// Its offset.
    pub offset: i64,
    /// Kafka's timestamp, milliseconds since 1970.
    pub timestamp_ms: i64,
    /// The original key.
    pub key: Option<Vec<u8>>,
    /// The original value.
    pub value: Option<Vec<u8>>,
    /// The original headers.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Where on the road it was refused.
    pub stage: Stage,
    /// Why.
    pub reason: Reason,
    /// The same for a person: which field, which value, what would be right.
    pub detail: String,
}

/// What a lane, or a courier, hands to the dead letters.
#[derive(Debug)]
pub struct Rejected {
    /// Records refused on the way, with their bytes.
    pub rejects: Vec<Reject>,
    /// Records refused by the database, to be read again from Kafka.
    pub refusals: Vec<Refusal>,
    /// Shares of the tickets that wait for them.
    pub shares: Vec<Share>,
    /// Who must not go on before they are stored.
    pub kept: Option<Kept>,
}

/// Says that letters are stored; dropped without a word, they are not.
#[derive(Debug)]
pub struct Kept(oneshot::Sender<()>);

impl Kept {
    /// The word, and the ear for it.
    pub fn pair() -> (Kept, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        (Kept(sender), receiver)
    }

    /// They are stored.
    pub fn say(self) {
        // Who does not listen any more is being stopped hard.
        let _ = self.0.send(());
    }
}

/// Bytes of a detail. A longer one says nothing more, and must fit into a header where the value
/// was cut; a transform gives one to each of its records, and they wait with the letters.
pub const DETAIL_BYTES_MAX: usize = 2_048;

/// Collects the refused records of one batch: by index, for their bytes are still at hand.
#[derive(Debug, Default)]
pub struct Rejects {
    /// (index in the record batch, stage, reason, detail), at most one for each record.
    pub found: Vec<(u32, Stage, Reason, String)>,
    /// Values that became null because their column does not take them, by `on_bad = "null"`.
    pub nulled: u64,
}

impl Rejects {
    /// Refuses the record at `source` of the batch; of a detail that is too long the start counts.
    pub fn push(&mut self, source: u32, stage: Stage, reason: Reason, detail: impl Into<String>) {
        let mut detail = detail.into();
        if detail.len() > DETAIL_BYTES_MAX {
            detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_MAX));
            detail.shrink_to_fit();
        }
        self.found.push((source, stage, reason, detail));
    }

    /// Whether none was refused.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// One reject for each refused record, with copies of its bytes; empties the collection. A
    /// record that was refused more than once (several of its rows) counts once, by its first.
    pub fn drain(&mut self, records: &RecordBatch) -> Vec<Reject> {
        self.found.sort_by_key(|(source, ..)| *source);
        self.found.dedup_by_key(|(source, ..)| *source);
        let take = |(source, stage, reason, detail)| {
            let record = records.get(source as usize);
            let mut headers = Vec::new();
            records.headers(source as usize, &mut |name, value| {
                headers.push((name.to_vec(), value.map(<[u8]>::to_vec)));
            });
            Reject {
                partition: records.partition,
                offset: record.offset,
                timestamp_ms: record.timestamp_ms,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers,
                stage,
                reason,
                detail,
            }
        };
        self.found.drain(..).map(take).collect()
    }

    /// The same; what a sink of that name could not take says so.
    pub fn drain_named(&mut self, records: &RecordBatch, sink: Option<&str>) -> Vec<Reject> {
        let mut rejects = self.drain(records);
        if let Some(sink) = sink {
            let shaped = rejects.iter_mut().filter(|reject| reject.stage == Stage::Shape);
            shaped.for_each(|reject| reject.detail.insert_str(0, &format!("{sink}: ")));
        }
        rejects
    }

    /// Takes all that was made of refused records out of `rows`: a record is stored whole or not
    /// at all.
    pub fn prune(&self, rows: &mut RowBatch) {
        if self.found.is_empty() {
            return;
        }
        let mut refused: Vec<u32> = self.found.iter().map(|(source, ..)| *source).collect();
        refused.sort_unstable();
        rows.rows.retain(|row| refused.binary_search(&row.source).is_err());
        rows.emitted.retain(|emitted| refused.binary_search(&emitted.source).is_err());
    }
}
