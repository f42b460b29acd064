//! QuestDB. Rows become line protocol in a lane; a courier gets them stored over HTTP (each
//! request answered) or over TCP (counted back from the table); a keeper watches the tables. Where
//! only the PostgreSQL protocol is open, rows become messages of it (`pg`).
//!
//! ```text
//! lane ──encode──▶ Payload ──▶ http courier ──204──▶ unproven ──poll of tables()──▶ Receipt
//!                         └──▶ tcp courier ──generation──▶ confirm ──count──▶ Receipt
//! ```

mod again;
mod answer;
mod auth;
mod beside;
pub(super) mod body;
mod catalogue;
mod confirm;
mod counting;
mod ddl;
pub(crate) mod dial;
mod diff;
mod digits;
mod encode;
pub(crate) mod endpoint;
mod fragment;
mod gate;
mod generation;
mod hand;
pub(super) mod http;
mod keeper;
mod kind;
mod line;
mod lookup;
pub(super) mod metadata;
mod naming;
mod once;
pub(crate) mod options;
mod pg;
mod put;
pub mod reader;
mod row;
pub(crate) mod server;
mod sink;
pub(super) mod stamp;
mod suspension;
mod table;
mod target;
mod tcp;
pub(crate) mod tls;
pub(super) mod value;
mod wish;
mod words;

#[cfg(test)]
mod encode_tests;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod fake_sql;
#[cfg(test)]
mod http_tests;
#[cfg(test)]
mod reader_tests;
#[cfg(test)]
mod route_tests;
#[cfg(test)]
mod tcp_tests;

use std::sync::Arc;

pub use digits::push as push_digits;
pub use encode::IlpEncoder;
pub use kind::{KIND, NEWEST};
pub use line::array_dims;
pub use metadata::last_header;
pub use naming::fill_template;
pub use options::{Options, QuestDbPlan};
#[cfg(test)]
pub use pg::push_parameter;
pub use server::{Broken, ExecError, Rows, Settings, SqlClient, quote};
pub use sink::{MakeEncoder, ask_for_position, complete, explain};
pub use stamp::{Stamp, Stamper, how, read_time};
pub use table::{Denied, Table, Tables, Wanted};
pub use target::Wire;
#[cfg(test)]
pub use value::push_field;
pub use value::{decimal_text, is_uuid, shown};

use catalogue::Catalogue;
use confirm::Partitions;
use endpoint::Endpoint;
use gate::Gate;
use options::Transport;
use pg::{Door, Pg};
use server::Server;
use table::Doubts;

use self::keeper::Watched;
use super::retry::Trouble;
use super::{Sink, SinkContext};
use crate::blame::Fault;
use crate::observe::PipelineMeter;
use crate::shape::Metadata;

/// What all couriers of a sink share.
pub(crate) struct Shared {
    pipeline: Arc<str>,
    plan: QuestDbPlan,
    metadata: Metadata,
    server: Arc<Server>,
    gate: Gate,
    partitions: Partitions,
    watched: Arc<Watched>,
    trouble: Arc<Trouble>,
    doubts: Arc<Doubts>,
    meter: Arc<PipelineMeter>,
    /// Where rows go over the PostgreSQL protocol: all of them, or those of some tables.
    pg: Option<Arc<Pg>>,
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
        let pg = plan.over_pg().map(|over| {
            let server = match plan.transport {
                Transport::Pg => Arc::clone(&server),
                Transport::Http | Transport::Tcp => Arc::new(Server::new(&over, meter.clone())?),
            };
            let door = Arc::new(Door::new(&over, &pipeline, server, Arc::clone(&meter))?);
            Ok::<_, Fault>(Arc::new(Pg { door, layouts: Arc::default() }))
        });
        let pg = pg.transpose()?;
        Ok(Shared {
            gate: Gate::new(&plan)?,
            partitions: Partitions::default(),
            watched: Arc::default(),
            doubts: Arc::default(),
            pipeline,
            plan,
            metadata,
            server,
            trouble,
            meter,
            pg,
        })
    }

    /// SQL on a connection of its own, by the protocol that rows go by.
    fn sql(&self) -> SqlClient {
        match self.pg.as_ref().filter(|_| self.plan.transport == Transport::Pg) {
            Some(pg) => SqlClient::over(Arc::clone(&self.server), Arc::clone(&pg.door)),
            None => SqlClient::new(Arc::clone(&self.server)),
        }
    }
}

/// A sink whose doors are known but which has no encoder yet.
pub struct Opening {
    shared: Arc<Shared>,
    context: SinkContext,
}

impl Opening {
    /// Reads secrets; connects to nothing.
    pub fn new(plan: QuestDbPlan, context: SinkContext) -> Result<Opening, Fault> {
        let (pipeline, meter) = (Arc::clone(&context.pipeline), Arc::clone(&context.meter));
        let metadata = context.shape.metadata.clone();
        let shared = Arc::new(Shared::new(pipeline, plan, metadata, meter)?);
        Ok(Opening { shared, context })
    }

    /// SQL on a connection of its own.
    pub fn sql(&self) -> SqlClient {
        self.shared.sql()
    }

    /// The INSERTs of rows over the PostgreSQL protocol, if some go that way.
    pub fn layouts(&self) -> Option<Arc<pg::Layouts>> {
        self.shared.pg.as_ref().map(|pg| Arc::clone(&pg.layouts))
    }

    /// What is wrong with the sink.
    pub fn trouble(&self) -> Arc<Trouble> {
        Arc::clone(&self.shared.trouble)
    }

    /// Where couriers say which tables refuse rows.
    pub fn doubts(&self) -> Arc<Doubts> {
        Arc::clone(&self.shared.doubts)
    }

    /// The sink, with what makes its encoders and what is known of tables.
    pub fn sink(self, make: MakeEncoder, catalogue: Arc<Catalogue>) -> Arc<dyn Sink> {
        Arc::new(sink::QuestDb::new(self.shared, &self.context, make, catalogue))
    }
}
