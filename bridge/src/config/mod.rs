//! From `bridge.toml` to a plan: read with positions, checked whole, no `Option` left over.
//!
//! ```text
//! text ─node─▶ tree with places ─section─▶ draft (as written) ─load─▶ plan (as meant)
//! ```

mod also;
mod columns;
mod deletes;
mod draft;
mod expand;
mod fallback;
mod group;
mod hush;
mod kafka;
mod key;
mod limits;
mod load;
mod mistake;
mod node;
mod plan;
mod reach;
mod read;
mod schema;
mod section;
pub mod security;
mod start;
pub mod suggest;
mod table;
mod tables;
pub mod units;
mod value;

pub use expand::Surroundings;
pub use group::{Alone, Group, Partitions};
pub use load::Overrides;
pub use mistake::{Mistake, Mistakes};
pub use plan::{
    AlsoPlan, FallbackPlan, Fetching, KafkaPlan, PipelinePlan, Plan, RejectsPlan, Topics, is_secret,
};
pub use schema::{file_schema, options_of, type_in_words};
pub use section::Section;
pub use start::{OutOfRange, Start, Until};
pub use value::COMPRESSION_SAID;

#[cfg(test)]
mod security_tests;
#[cfg(test)]
mod tests;
