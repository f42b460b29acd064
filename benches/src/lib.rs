//! The bench: what the bridge costs and how fast it is, measured the way users run it.
//!
//! ```text
//!   harness   real Kafka ──▶ the release binary ──▶ real QuestDB; counted at the destination
//!   micro     the stages of a lane alone, through the bridge's own traits: time, allocations
//! ```
//!
//! `README.md` has the method before the numbers.

pub mod allocations;
pub mod harness;
pub mod machine;
pub mod micro;
pub mod stats;
