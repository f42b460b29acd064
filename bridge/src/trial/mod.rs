//! Records tried, and nothing stored: what the author of a transform or of a configuration asks
//! before there is a Kafka or a database. Goes through the decoders, sandboxes and encoders of a
//! pipeline; couriers, groups and servers have no part in it.
//!
//! ```text
//! cases (file) ──▶ records ──▶ Rig: format ▶ transforms [▶ encoder] ──▶ Fate of each record
//!       ▲                                                                │
//!       └── update ◀──────────────── expect: as it should be? ◀──────────┘
//! ```

mod bench;
mod cases;
mod draft;
mod expect;
mod find;
mod infer;
mod plan;
mod query;
mod records;
mod rig;
mod said;
mod show;
mod update;

#[cfg(test)]
mod tests;

pub use bench::{
    BATCH_RECORDS as BENCH_RECORDS, BenchReport, RUN as BENCH_RUN, RUNS as BENCH_RUNS, Timing,
    bench,
};
pub use cases::{CaseReport, Cases, Subject};
pub use find::find;
pub use infer::{Column, Proposal, infer, written};
pub use plan::{Planned, of_file, of_lines, of_module, of_topic, of_values};
pub use query::{Condition, Found, Query, QueryTally};
pub use records::{Ahead, Told, batches, newest};
pub use rig::{Fate, Fuel, Passed, Press, Rig, Row, SinkLine, Stock, Tried, outbox};
pub use said::{Said, written_row};
pub use show::{beside, in_json};

pub use crate::kafka::scan::{Scan, Wanted};
