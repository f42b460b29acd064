//! Kafka clients as the bridge wants them: settings with their reasons, what a client says of
//! itself, topics, checks, and a cluster in this process for demonstrations and tests.
//!
//! ```text
//! KafkaPlan ──settings──▶ ClientConfig ──▶ consumer (source) · reader (checks, re-reading)
//!     └─security─▲                     └─▶ producer (dead letters, sinks)
//! ```
//!
//! Who the bridge is: `security` as properties, `bearer` with tokens of a service, or of its own
//! signing (`aws`). What brokers say to that, `refusal` reads.

mod aws;
mod bearer;
pub mod check;
pub mod context;
pub mod create;
pub mod errors;
pub mod feed;
pub mod headers;
pub mod hold;
pub mod mock;
pub mod peek;
pub mod places;
mod probe;
pub mod progress;
pub mod refusal;
pub mod scan;
mod security;
pub mod settings;
pub mod topics;
pub mod wire;

pub use context::{Diagnostics, Observer, Reports};
pub use settings::Settings;
