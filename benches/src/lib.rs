//! The bench: what the bridge costs and how fast it is, measured the way users run it.
//!
//! ```text
//!   harness   real Kafka ──▶ the release binary ──▶ real QuestDB; counted at the destination
//!   peers     the bridge and its peers, in turns, by the harness
//!   sql       rows into PostgreSQL, the bridge and its peer
//!   faults    what becomes of the records when something breaks, for all of them
//!   micro     the stages of a lane alone, through the bridge's own traits: time, allocations
//!   report    result files ──▶ one page of HTML
//! ```
//!
//! `README.md` has the method before the numbers.

pub mod allocations;
pub mod faults;
pub mod harness;
pub mod machine;
pub mod micro;
pub mod peers;
pub mod report;
pub mod sql;
pub mod stats;
mod table;
