//! From `bridge.toml` to a plan: read with positions, checked whole, no `Option` left over.

mod mistake;
mod section;

pub use mistake::Mistake;
pub use section::Section;
