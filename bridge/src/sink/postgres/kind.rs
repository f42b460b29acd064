//! The sink's entry in its room's table, and how its parts are put together.

use std::path::Path;
use std::sync::Arc;

use super::Shared;
use super::options::{Options, PostgresPlan};
use super::sink::Postgres;
use crate::blame::Fault;
use crate::config::Section;
use crate::kind::{Kind, Unable};
use crate::shape::Shape;
use crate::sink::questdb::endpoint::Endpoint;
use crate::sink::{Door, Foreign, Sink, SinkContext, SinkPlan};

/// The sink's entry in its room's table.
pub const KIND: Kind<dyn SinkPlan> = Kind {
    name: "postgres",
    summary: "PostgreSQL by binary COPY, appending or replacing by a key",
    example: "kind = \"postgres\"\naddress = \"localhost:5432\"\ndatabase = \"plant\"\n",
    schema: || schemars::schema_for!(Options),
    parse: |section| Ok(Box::new(PostgresPlan::parse(section)?)),
};

impl SinkPlan for PostgresPlan {
    fn build(&self, context: SinkContext) -> Result<Arc<dyn Sink>, Fault> {
        let shared = Arc::new(Shared::new(self.clone(), &context)?);
        Ok(Arc::new(Postgres::new(shared, context)))
    }

    fn rebase(&mut self, base: &Path) {
        PostgresPlan::rebase(self, base);
    }

    fn complete(&self, _: &mut Shape) {}

    fn exactly_once(&self, _: &mut Shape) -> Result<(), Unable> {
        Ok(())
    }

    fn deletes(&self) -> Result<&[String], Unable> {
        match self.key.is_empty() {
            false => Ok(&self.key),
            true => {
                let message = "rows are deleted by their key, and `mode = \"append\"` has none";
                let help = "mode = \"upsert\" and such as key = [\"id\"]";
                Err(Unable::new("sink.mode", message, help))
            }
        }
    }

    /// All rows are.
    fn transact(&mut self) -> Result<(), Unable> {
        Ok(())
    }

    fn keeps_progress(&self) -> bool {
        true
    }

    fn heeds_declarations(&self) -> bool {
        true
    }

    fn foreign_keys(&self) -> &'static [Foreign] {
        const FOREIGN: [Foreign; 3] = [
            Foreign {
                key: "partition_by",
                why: "makes none",
                help: "take it out: partitions are made by hand",
            },
            Foreign {
                key: "ttl",
                why: "drops no rows",
                help: "take it out: rows are dropped by hand",
            },
            Foreign {
                key: "upsert_keys",
                why: "has a key of its own",
                help: "name its columns as `key` of the sink",
            },
        ];
        &FOREIGN
    }

    fn couriers_per_lane(&self) -> usize {
        self.connections_per_lane
    }

    fn doors(&self) -> Vec<Door> {
        vec![self.addresses.iter().map(Endpoint::to_string).collect()]
    }

    fn lends(&self, key: &str, to: &Section) -> bool {
        const LOGIN: [&str; 3] = ["username", "password", "password_file"];
        match key {
            key if LOGIN.contains(&key) => !LOGIN.iter().any(|own| to.has(own)),
            "tls_ca" => !to.has("tls"),
            "key" => !to.has("mode"),
            _ => true,
        }
    }

    fn explain(&self) -> Vec<String> {
        vec![
            format!("{}, user {}, tls {}", self.shown(), self.username, self.tls.mode.name()),
            "stored means: the transaction that copied the rows is committed".to_owned(),
            match self.key.is_empty() {
                true => "every row is added".to_owned(),
                false => format!("a row replaces the one of its key: {}", self.key.join(", ")),
            },
        ]
    }
}
