//! PostgreSQL. Rows become the tuples of a binary COPY in a lane; a courier stores a payload in one
//! transaction, whatever tables it has rows of.
//!
//! ```text
//! lane ──encode──▶ Payload (tuples, each with its layout) ──▶ courier ──COPY, COMMIT──▶ Receipt
//!   └── catalogue: what columns the tables have ◀──────────────┘ are they still the same?
//! ```

mod catalogue;
mod courier;
mod differs;
mod encode;
#[cfg(test)]
mod encode_tests;
mod failure;
mod kind;
pub(super) mod layout;
mod link;
pub(super) mod numeric;
mod options;
mod patient;
mod progress;
mod sink;
mod stage;
mod tls;
mod tuple;
mod value;

use std::sync::Arc;

pub use kind::KIND;
#[cfg(test)]
pub use value::{Wire, push};

use catalogue::Catalogue;
use link::Door;
use options::PostgresPlan;
use patient::Patient;
use progress::Progress;

use super::retry::Trouble;
use super::{Delivery, SinkContext};
use crate::blame::Fault;
use crate::observe::PipelineMeter;

/// What all couriers of a sink share.
struct Shared {
    pipeline: Arc<str>,
    /// The sink, for people.
    name: String,
    plan: PostgresPlan,
    door: Arc<Door>,
    patient: Arc<Patient>,
    catalogue: Arc<Catalogue>,
    /// How far partitions are, where that is kept beside the rows.
    progress: Option<Arc<Progress>>,
    trouble: Arc<Trouble>,
    meter: Arc<PipelineMeter>,
}

impl Shared {
    /// Reads secrets; connects to nothing.
    fn new(plan: PostgresPlan, context: &SinkContext) -> Result<Shared, Fault> {
        let SinkContext { pipeline, shape, meter, runtime, .. } = context;
        let door = Arc::new(Door::new(&plan, pipeline)?);
        let name = plan.shown();
        let trouble = Trouble::new(Arc::clone(pipeline), name.clone(), Arc::clone(meter));
        let trouble = Arc::new(trouble);
        let patient = Arc::new(Patient::new(Arc::clone(&door), Arc::clone(&trouble)));
        let catalogue = Arc::new(Catalogue::new(
            Arc::clone(pipeline),
            Arc::clone(shape),
            plan.key.clone(),
            Arc::clone(&patient),
            runtime.clone(),
        ));
        let progress = (context.delivery == Delivery::ExactlyOnce).then(|| {
            let (pipeline, patient) = (Arc::clone(pipeline), Arc::clone(&patient));
            Arc::new(Progress::new(pipeline, patient, shape.create.tables))
        });
        let (pipeline, meter) = (Arc::clone(pipeline), Arc::clone(meter));
        Ok(Shared { pipeline, name, plan, door, patient, catalogue, progress, trouble, meter })
    }
}
