//! `bridge run`: the pipelines, until they are told to stop.

use crate::blame::Fault;
use crate::config::Plan;
use crate::pipeline;

/// Runs a plan to its end.
pub fn run(plan: Plan) -> Result<(), Fault> {
    pipeline::run(plan)
}
