//! Kafka clients as the bridge wants them: settings with their reasons, what a client says of
//! itself, topics, checks, and a cluster in this process for demonstrations and tests.
//!
//! ```text
//! KafkaPlan ──settings──▶ ClientConfig ──▶ consumer (source) · reader (checks, re-reading)
//!                                      └─▶ producer (dead letters, sinks)
//! ```

pub mod check;
pub mod context;
pub mod create;
pub mod errors;
pub mod feed;
pub mod mock;
pub mod peek;
pub mod settings;
pub mod topics;
pub mod wire;

pub use context::{Diagnostics, Observer, Reports};
pub use settings::Settings;
