//! One dead letter: the original record, and why it is here. The headers are stable: people write
//! scripts against them.
//!
//! | header | value |
//! |---|---|
//! | `bridge.reason` | why, one of the stable names of reasons |
//! | `bridge.stage` | where on the road: `intake`, `format`, `transform`, `shape`, `sink` |
//! | `bridge.detail` | the same for a person |
//! | `bridge.topic` | the topic it came from |
//! | `bridge.partition` | its partition, a decimal number |
//! | `bridge.offset` | its offset, a decimal number |
//! | `bridge.timestamp` | its timestamp, milliseconds since 1970; absent where it has none |
//! | `bridge.time` | when it was refused, RFC 3339 |
//! | `bridge.pipeline` | the pipeline that refused it |
//! | `bridge.truncated` | only if it was too large for its topic: bytes of the original value |

use jiff::Timestamp;

use crate::batch::TopicPartition;
use crate::reject::{DETAIL_BYTES_MAX, Reason, Reject, Stage};
use crate::source::NameOf;

/// The names of all headers that a letter may have, in their order.
pub const HEADERS: [&str; 10] = [
    "bridge.reason",
    "bridge.stage",
    "bridge.detail",
    "bridge.topic",
    "bridge.partition",
    "bridge.offset",
    "bridge.timestamp",
    "bridge.time",
    "bridge.pipeline",
    "bridge.truncated",
];

/// A refused record, by name.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Where it came from.
    pub source: TopicPartition,
    /// Its offset.
    pub offset: i64,
    /// Kafka's timestamp, milliseconds since 1970; -1 where there is none.
    pub timestamp_ms: i64,
    /// The original key.
    pub key: Option<Vec<u8>>,
    /// The original value.
    pub value: Option<Vec<u8>>,
    /// The original headers.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Where it was refused.
    pub stage: Stage,
    /// Why.
    pub reason: Reason,
    /// The same for a person.
    pub detail: String,
}

/// Who stores a letter, and when.
#[derive(Clone, Debug)]
pub struct Stamp {
    /// The pipeline.
    pub pipeline: String,
    /// The time.
    pub time: Timestamp,
}

impl Letter {
    /// The letter of a reject.
    pub fn of(reject: Reject, name_of: &NameOf) -> Letter {
        Letter {
            source: name_of(reject.partition),
            offset: reject.offset,
            timestamp_ms: reject.timestamp_ms,
            key: reject.key,
            value: reject.value,
            headers: reject.headers,
            stage: reject.stage,
            reason: reject.reason,
            detail: reject.detail,
        }
    }

    /// Our own headers; the original ones come before them.
    pub fn own_headers(
        &self,
        stamp: &Stamp,
        truncated: Option<usize>,
    ) -> Vec<(&'static str, String)> {
        let end = self.detail.floor_char_boundary(DETAIL_BYTES_MAX);
        let mut headers = vec![
            ("bridge.reason", self.reason.name().to_owned()),
            ("bridge.stage", self.stage.name().to_owned()),
            ("bridge.detail", self.detail[..end].to_owned()),
            ("bridge.topic", self.source.topic.to_string()),
            ("bridge.partition", self.source.partition.to_string()),
            ("bridge.offset", self.offset.to_string()),
        ];
        if self.timestamp_ms >= 0 {
            headers.push(("bridge.timestamp", self.timestamp_ms.to_string()));
        }
        headers.push(("bridge.time", stamp.time.to_string()));
        headers.push(("bridge.pipeline", stamp.pipeline.clone()));
        if let Some(bytes) = truncated {
            headers.push(("bridge.truncated", bytes.to_string()));
        }
        headers
    }
}
