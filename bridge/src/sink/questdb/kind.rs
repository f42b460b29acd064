//! The sink's entry in its room's table, and how its parts are put together.

use std::path::Path;
use std::sync::Arc;

use super::catalogue::Catalogue;
use super::encode::IlpEncoder;
use super::endpoint::Endpoint;
use super::options::{Options, QuestDbPlan, Transport};
use super::sink::{complete, explain};
use super::table::Tables;
use super::target::Wire;
use super::{Opening, SqlClient, once};
use crate::blame::Fault;
use crate::config::Section;
use crate::kind::{Kind, Unable};
use crate::shape::Shape;
use crate::sink::text::rehearse_line_protocol;
use crate::sink::{Door, Encoder, Rehearsal, Sink, SinkContext, SinkPlan};

/// The sink's entry in its room's table.
pub const KIND: Kind<dyn SinkPlan> = Kind {
    name: "questdb",
    summary: "QuestDB by line protocol, over HTTP or pooled TCP with read-back; or over PostgreSQL's",
    example: "kind = \"questdb\"\ntransport = \"http\"\naddress = \"localhost:9000\"\n",
    schema: || schemars::schema_for!(Options),
    parse: |section| Ok(Box::new(QuestDbPlan::parse(section)?)),
};

/// The newest version of line protocol, which is spoken where the server did not say.
pub const NEWEST: u8 = 2;

impl SinkPlan for QuestDbPlan {
    fn build(&self, context: SinkContext) -> Result<Arc<dyn Sink>, Fault> {
        let opening = Opening::new(self.clone(), context.clone())?;
        let (sql, trouble) = (opening.sql(), opening.trouble());
        let catalogue = Arc::new(Catalogue::new(&context, sql, trouble, opening.doubts()));
        let (couriers, beside) =
            (self.connections_per_lane as u32, self.connections_beside() as u32);
        let (asker, told, tables) = (opening.sql(), self.protocol, Arc::clone(&catalogue));
        let (layouts, transport) = (opening.layouts(), self.transport);
        let make = move || -> Box<dyn Encoder> {
            let binds = || layouts.as_ref().map(|layouts| Wire::Binds(Arc::clone(layouts)));
            let (wire, transacting) = match transport {
                Transport::Pg => (binds(), None),
                Transport::Http | Transport::Tcp => (None, binds()),
            };
            let wire = wire.unwrap_or_else(|| {
                let ask = || context.runtime.block_on(version(&asker));
                Wire::Lines(told.unwrap_or_else(ask))
            });
            let tables: Arc<dyn Tables> = Arc::clone(&tables) as Arc<dyn Tables>;
            let (shape, names) = (Arc::clone(&context.shape), Arc::clone(&context.names));
            let encoder = IlpEncoder::by(wire, shape, names, tables, couriers);
            Box::new(match transacting {
                Some(wire) => encoder.transacting(wire, beside),
                None => encoder,
            })
        };
        Ok(opening.sink(Box::new(make), catalogue))
    }

    fn rehearse(&self, context: &SinkContext) -> Rehearsal {
        rehearse_line_protocol(context)
    }

    fn rebase(&mut self, base: &Path) {
        QuestDbPlan::rebase(self, base);
    }

    fn complete(&self, shape: &mut Shape) {
        complete(self, shape);
    }

    fn exactly_once(&self, shape: &mut Shape) -> Result<(), Unable> {
        once::prepare(self, shape)
    }

    fn heeds_declarations(&self) -> bool {
        true
    }

    fn has_partitions(&self) -> bool {
        true
    }

    fn transact(&mut self) -> Result<(), Unable> {
        self.transacts = true;
        Ok(())
    }

    fn couriers_per_lane(&self) -> usize {
        self.connections()
    }

    fn explain(&self) -> Vec<String> {
        explain(self)
    }

    /// SQL over HTTP is needed with either transport: tables are watched, rows counted back.
    fn doors(&self) -> Vec<Door> {
        let door = |endpoints: &[Endpoint]| endpoints.iter().map(Endpoint::to_string).collect();
        let mut doors = vec![door(&self.addresses)];
        if self.transport == Transport::Tcp {
            doors.push(door(&self.tcp_addresses));
        }
        if self.connections_beside() > 0 {
            doors.push(door(&self.beside.addresses));
        }
        doors
    }

    fn lends(&self, key: &str, to: &Section) -> bool {
        let is_tcp = to.text("transport").map_or(self.transport == Transport::Tcp, |t| t == "tcp");
        let is_pg = to.text("transport").map_or(self.transport == Transport::Pg, |t| t == "pg");
        const LOGIN: [&str; 5] = ["username", "password", "password_file", "token", "token_file"];
        const BESIDE: [&str; 4] = ["pg_address", "pg_username", "pg_password", "pg_password_file"];
        match key {
            // Its address belongs to that of the sink, and a login is two things.
            "pg_address" => !is_pg && !to.has("address"),
            key if BESIDE.contains(&key) => !is_pg && !BESIDE.iter().any(|own| to.has(own)),
            // Another port, and users of its own.
            key if is_pg != (self.transport == Transport::Pg)
                && (key == "address" || LOGIN.contains(&key)) =>
            {
                false
            }
            // Its address belongs to that of HTTP.
            "tcp_address" => is_tcp && !to.has("address"),
            "ack" | "generation_rows" | "generation_age" => is_tcp,
            // A key is one thing in four parts, and so is a login in two.
            key if key.starts_with("auth_") => is_tcp && !to.has("auth_key_id"),
            key if LOGIN.contains(&key) => !LOGIN.iter().any(|own| to.has(own)),
            _ => true,
        }
    }
}

/// The newest version that both sides speak.
async fn version(sql: &SqlClient) -> u8 {
    match sql.settings().await {
        Ok(settings) => settings.protocol,
        Err(_) => NEWEST,
    }
}
