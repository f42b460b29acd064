//! QuestDB. Rows become line protocol in a lane; a courier gets them stored over HTTP (each
//! request answered) or over TCP (counted back from the table); a keeper watches the tables.
//!
//! ```text
//! lane ──encode──▶ Payload ──▶ http courier ──204──▶ unproven ──poll of tables()──▶ Receipt
//!                         └──▶ tcp courier ──generation──▶ confirm ──count──▶ Receipt
//! ```

mod answer;
mod auth;
mod dial;
mod http;
mod job;
mod keeper;
mod options;
mod server;
mod tls;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod http_tests;

use std::sync::Arc;

use options::{Endpoint, QuestDbPlan};
use server::Server;

use self::keeper::Watched;
use super::retry::Trouble;
use crate::blame::Fault;
use crate::observe::PipelineMeter;
use crate::shape::Metadata;

/// What all couriers of a sink share.
pub(crate) struct Shared {
    pipeline: Arc<str>,
    plan: QuestDbPlan,
    metadata: Metadata,
    server: Arc<Server>,
    watched: Arc<Watched>,
    trouble: Arc<Trouble>,
    meter: Arc<PipelineMeter>,
}

impl Shared {
    /// Reads secrets; connects to nothing.
    fn new(
        pipeline: Arc<str>,
        plan: QuestDbPlan,
        metadata: Metadata,
        meter: Arc<PipelineMeter>,
    ) -> Result<Shared, Fault> {
        let server = Arc::new(Server::new(&plan, Arc::clone(&meter))?);
        let listed: Vec<String> = plan.addresses.iter().map(Endpoint::to_string).collect();
        let name = format!("questdb {}", listed.join(", "));
        let trouble = Arc::new(Trouble::new(Arc::clone(&pipeline), name, Arc::clone(&meter)));
        let watched = Arc::default();
        Ok(Shared { pipeline, plan, metadata, server, watched, trouble, meter })
    }
}
