//! From `bridge.toml` to a plan: read with positions, checked whole, no `Option` left over.
//!
//! ```text
//! text ─node─▶ tree with places ─section─▶ draft (as written) ─load─▶ plan (as meant)
//! ```

mod also;
mod deletes;
mod draft;
mod expand;
mod fallback;
mod key;
mod limits;
mod load;
mod mistake;
mod node;
mod plan;
mod read;
mod schema;
mod section;
pub mod suggest;
mod table;
mod tables;
pub mod units;

pub use expand::Surroundings;
pub use load::Overrides;
pub use mistake::{Mistake, Mistakes};
pub use plan::{
    AlsoPlan, FallbackPlan, Fetching, KafkaPlan, PipelinePlan, Plan, RejectsPlan, Start, Topics,
};
pub use schema::{file_schema, options_of, type_in_words};
pub use section::Section;

#[cfg(test)]
mod tests;
