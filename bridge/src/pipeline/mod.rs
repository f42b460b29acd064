//! The only room that knows all the others, and the only one that spawns.
//!
//! `turn` makes a ring of parts and turns it; `open` makes the parts from a plan; `run` turns the
//! rings of all pipelines until a signal comes; `dry` tries records without a ring; `tables` asks
//! sinks alone.

#![expect(clippy::disallowed_methods, reason = "this is the room that spawns, and joins")]

mod alarm;
mod attendant;
mod claiming;
mod dry;
mod fallback;
#[cfg(test)]
mod fallback_tests;
mod handover;
mod house;
mod intake;
mod lane;
mod ledger;
mod open;
mod reload;
#[cfg(test)]
mod reload_tests;
mod ring;
mod run;
mod sample;
mod shared;
mod step;
mod switch;
mod tables;
#[cfg(test)]
mod tests;

pub use alarm::{Alarm, Stop};
pub use dry::{Dry, DryAsked, DryRejected, DryReport, DrySink, DryTally};
pub use fallback::Switching;
pub use handover::{Handover, Successor};
pub use lane::{Pace, RejectGuard, Work};
pub use ledger::{Ledger, Rewind};
pub use open::{Surroundings, open};
pub use ring::{Bench, DeadLetterOffice, Parts, SinkParts, turn};
pub use run::{Findings, Running, check, run, run_with};
pub use tables::Tables;
