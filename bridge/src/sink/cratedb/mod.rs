//! CrateDB. Rows become lists of parameters in a lane; a courier sends a payload's as one bulk to
//! `/_sql`, whose answer has a count, or an error, for each row. There are no transactions: every
//! row has a key, and what was sent twice is there once.
//!
//! ```text
//! lane ──encode──▶ Payload ([v, …], one layout) ──▶ courier ──bulk_args──▶ [1, 1, -2, …]
//!   └── catalogue: columns, primary keys                └── -2 ──▶ dead letter, the rest again
//! ```

mod answer;
mod asker;
mod bulk;
mod catalogue;
mod courier;
mod encode;
#[cfg(test)]
mod encode_tests;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod fake_sql;
mod kind;
mod layout;
mod options;
mod row;
mod sink;
#[cfg(test)]
mod tests;
mod value;

use std::sync::Arc;

pub use kind::KIND;
#[cfg(test)]
pub use value::{Type, push};

use asker::Asker;
use catalogue::Catalogue;
use layout::Key;
use options::CrateDbPlan;

use super::SinkContext;
use super::questdb::server::{Doors, Server};
use super::retry::Trouble;
use crate::blame::Fault;
use crate::observe::PipelineMeter;
use crate::shape::Shape;

/// What all couriers of a sink share.
struct Shared {
    pipeline: Arc<str>,
    /// The sink, for people.
    name: String,
    plan: CrateDbPlan,
    key: Key,
    server: Arc<Server>,
    asker: Arc<Asker>,
    catalogue: Arc<Catalogue>,
    trouble: Arc<Trouble>,
    meter: Arc<PipelineMeter>,
}

impl Shared {
    /// Reads secrets; connects to nothing.
    fn new(plan: CrateDbPlan, context: &SinkContext) -> Result<Shared, Fault> {
        let SinkContext { pipeline, shape, meter, runtime, .. } = context;
        let doors = Doors {
            addresses: &plan.addresses,
            tls: &plan.tls,
            credentials: &plan.credentials,
            connect_timeout: plan.connect_timeout,
            request_timeout: plan.request_timeout,
        };
        let server = Arc::new(Server::behind(&doors, Arc::clone(meter))?);
        let name = plan.shown();
        let trouble = Trouble::new(Arc::clone(pipeline), name.clone(), Arc::clone(meter));
        let trouble = Arc::new(trouble.that("takes no rows"));
        let asker = Arc::new(Asker::new(Arc::clone(&server), Arc::clone(&trouble)));
        let key = plan.key(shape);
        let catalogue = Arc::new(Catalogue::new(
            Arc::clone(pipeline),
            Arc::clone(shape),
            key.clone(),
            Arc::clone(&asker),
            runtime.clone(),
        ));
        let (pipeline, meter) = (Arc::clone(pipeline), Arc::clone(meter));
        Ok(Shared { pipeline, name, plan, key, server, asker, catalogue, trouble, meter })
    }
}

impl CrateDbPlan {
    /// By what rows are told apart: the user's columns, or the record's position.
    fn key(&self, shape: &Shape) -> Key {
        let own = &shape.metadata;
        let position = [&own.topic, &own.partition, &own.offset, &own.row];
        let columns = match self.key.is_empty() {
            true => position.into_iter().flatten().cloned().collect(),
            false => self.key.clone(),
        };
        Key { columns, replaces: self.replaces }
    }
}
