//! As much of Kafka's protocol as fetching records takes, spoken by ourselves: three requests, and
//! the format that records are kept in. The numbers and fields are those of the protocol guide
//! (kafka.apache.org/protocol) and of the record batch of magic 2.
//!
//! ```text
//! Connection ─ hello (ApiVersions) ─ metadata (who leads) ─ fetch ─▶ bytes of a partition
//!                        bytes ──vet──▶ Span (one batch) ──unpack──▶ record ──▶ slices
//! ```
//!
//! Everything but `connection` is pure. What a broker sends is hostile until it is checked: a
//! length is held against what is there before anything is allocated for it.

pub mod connection;
pub mod fetch;
pub mod frame;
pub mod hello;
pub mod metadata;
pub mod record;
pub mod vet;
pub mod write;

#[cfg(test)]
mod batch_tests;
#[cfg(test)]
pub mod testing;

use std::fmt;
use std::io;

/// Why a conversation with a broker ended.
#[derive(Debug)]
pub enum Broken {
    /// The connection.
    Connection(io::Error),
    /// What was said makes no sense: the name of the field.
    Nonsense(&'static str),
    /// An answer that is larger than what is allowed, bytes.
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The broker speaks no version of a request that we speak: the request's name.
    Foreign(&'static str),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Broken {
        Broken::Connection(error)
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Connection(error) => write!(f, "{error}"),
            Broken::Nonsense(field) => write!(f, "an answer that makes no sense ({field})"),
            Broken::TooLarge { bytes } => write!(f, "an answer of {bytes} bytes"),
            Broken::Foreign(request) => write!(f, "no common version of {request}"),
        }
    }
}

/// Kafka's numbers of its requests.
pub mod keys {
    /// Records.
    pub const FETCH: i16 = 1;
    /// Who leads which partition.
    pub const METADATA: i16 = 3;
    /// Which versions a broker speaks.
    pub const API_VERSIONS: i16 = 18;
}

/// Kafka's numbers of what went wrong, as far as fetching meets them.
pub mod codes {
    /// Nothing did.
    pub const NONE: i16 = 0;
    /// The offset is not in the log.
    pub const OFFSET_OUT_OF_RANGE: i16 = 1;
    /// The broker's own copy is damaged.
    pub const CORRUPT_MESSAGE: i16 = 2;
    /// No such topic or partition here, or not yet.
    pub const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
    /// An election is under way.
    pub const LEADER_NOT_AVAILABLE: i16 = 5;
    /// Another broker leads.
    pub const NOT_LEADER_OR_FOLLOWER: i16 = 6;
    /// The broker has no copy just now.
    pub const REPLICA_NOT_AVAILABLE: i16 = 9;
    /// Reading is not allowed.
    pub const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
    /// The version of the request is not spoken.
    pub const UNSUPPORTED_VERSION: i16 = 35;
    /// The broker's disk failed; another one will lead.
    pub const KAFKA_STORAGE_ERROR: i16 = 56;
    /// The leader's epoch that we know is older than the broker's.
    pub const FENCED_LEADER_EPOCH: i16 = 74;
    /// It is newer than the broker's.
    pub const UNKNOWN_LEADER_EPOCH: i16 = 75;
    /// The records are compressed in a way that the version of the request does not know.
    pub const UNSUPPORTED_COMPRESSION_TYPE: i16 = 76;
    /// A new leader does not know the end yet.
    pub const OFFSET_NOT_AVAILABLE: i16 = 78;
}
