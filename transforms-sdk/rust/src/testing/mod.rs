//! Tests of a transform without Kafka, without QuestDB and without a sandbox: a [`Harness`] lays
//! records out in memory as the bridge does, runs the transform natively over them, has the answer
//! checked by the bridge's own rules, and tells what became of each record.
//!
//! ```
//! use bridge_transform::testing::{Harness, Outcome, record};
//! # use bridge_transform::{Column, Init, Output, Record, Transform};
//! # struct KeepHot(Column);
//! # impl Transform for KeepHot {
//! #     fn init(init: &mut Init) -> Result<Self, String> { Ok(KeepHot(init.column("celsius"))) }
//! #     fn record(&mut self, record: &Record, out: &mut Output) {
//! #         if record.f64(self.0) > Some(30.0) { out.keep() }
//! #     }
//! # }
//! let mut harness = Harness::<KeepHot>::new("{}").expect("starts");
//! let outcomes = harness.run(&[record! { "celsius" => 31.5 }, record! { "celsius" => 12 }]);
//! assert_eq!(outcomes, [Outcome::kept(), Outcome::Filtered]);
//! ```

mod harness;
mod memory;
mod records;

pub use crate::record_literal as record;
pub use harness::{Emitted, Harness, NewRow, Outcome};
pub use records::{TestRecord, TestValue};
