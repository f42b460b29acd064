//! The harness of the end-to-end tests: one file under `tests/` for each promise.
//!
//! ```text
//!   promise ── takes the turn, hands out the servers, shows the bridge's words when it fails
//!     Bench    Kafka and QuestDB, one pair for a test binary, repaired between tests
//!     Setup ──▶ Installed ──▶ Bridge      a configuration, written, running
//!     Load     records at a pace        Group    committed offsets and lag
//!     Reading  a record made from its number, so that SQL can check every row
//!     moves    partitions that change hands under load
//!     keyed    records of which the last of each key survives
//!     streams  rows that are records of a topic, in their order
//!     written  readings in formats that have schemas
//!     tokens   a service that gives tokens
//!     attacks  modules that attack the fence, and how each ends
//! ```
//!
//! The binary under test is `BRIDGE_BIN`, or `bridge` in the folder above the test's own.
//! `E2E_LONG=1` gives the tests their full durations and rounds.

pub mod attacks;
mod bench;
mod bridge_process;
mod checks;
mod group;
pub mod keyed;
mod load;
mod metrics;
pub mod moves;
mod postgres;
mod reading;
mod registry;
mod setup;
mod streams;
pub mod tokens;
pub mod written;

pub use bench::{Bench, promise, promise_on, promise_with};
pub use bridge_process::{Answer, Bridge, program};
pub use checks::{Band, columns_of, rows_are_exact, rows_are_there, rows_missing};
pub use group::Group;
pub use load::{Load, paced};
pub use metrics::Metrics;
pub use postgres::{Held, dead_letters, held};
pub use reading::{PARTITIONS, Reading};
pub use registry::{Registry, Schemas};
pub use setup::{Installed, Setup, Transport};
pub use streams::stream_is_whole;

/// Whether the tests take their full time.
pub fn long() -> bool {
    std::env::var_os("E2E_LONG").is_some_and(|value| value != "0")
}

/// The first in everyday runs, the second in long ones.
pub fn pick<T>(usual: T, in_long: T) -> T {
    if long() { in_long } else { usual }
}
