//! `bridge run`: the pipelines, until they are told to stop.

use crate::blame::Fault;
use crate::config::Plan;

/// Runs a plan to its end.
pub fn run(plan: Plan) -> Result<(), Fault> {
    let names: Vec<&str> = plan.pipelines.iter().map(|pipeline| &*pipeline.name).collect();
    Err(Fault::us(format!("running {}: this build has no ring", names.join(", "))))
}
