//! From `bridge.toml` to a plan: read with positions, checked whole, no `Option` left over.

mod mistake;
mod plan;
mod section;

pub use mistake::Mistake;
pub use plan::{KafkaPlan, PipelinePlan, Plan, RejectsPlan, Start, Topics};
pub use section::Section;
