//! The sink's entry in its room's table, and what it asks of a pipeline.

use std::path::Path;
use std::sync::Arc;

use super::Shared;
use super::options::{CrateDbPlan, Options};
use super::sink::CrateDb;
use crate::blame::Fault;
use crate::config::Section;
use crate::kind::{Kind, Unable};
use crate::shape::Shape;
use crate::sink::questdb::ask_for_position;
use crate::sink::questdb::endpoint::Endpoint;
use crate::sink::{Door, Sink, SinkContext, SinkPlan};

/// The sink's entry in its room's table.
pub const KIND: Kind<dyn SinkPlan> = Kind {
    name: "cratedb",
    summary: "CrateDB by bulks over HTTP, each row under a key",
    example: "kind = \"cratedb\"\naddress = \"localhost:4200\"\n",
    schema: || schemars::schema_for!(Options),
    parse: |section| Ok(Box::new(CrateDbPlan::parse(section)?)),
};

impl SinkPlan for CrateDbPlan {
    fn build(&self, context: SinkContext) -> Result<Arc<dyn Sink>, Fault> {
        let shared = Arc::new(Shared::new(self.clone(), &context)?);
        Ok(Arc::new(CrateDb::new(shared, context)))
    }

    fn rebase(&mut self, base: &Path) {
        CrateDbPlan::rebase(self, base);
    }

    fn complete(&self, shape: &mut Shape) {
        if self.key.is_empty() {
            ask_for_position(&mut shape.metadata);
        }
    }

    fn exactly_once(&self, _: &mut Shape) -> Result<(), Unable> {
        if self.replaces {
            let message = "with `mode = \"upsert\"` a process that was frozen could wake up and \
                           write an old row over a newer one: CrateDB has no transactions to \
                           hold it off by";
            let help = "mode = \"append\", or delivery = \"at-least-once\"";
            return Err(Unable::new("sink.mode", message, help));
        }
        Ok(())
    }

    fn couriers_per_lane(&self) -> usize {
        self.connections_per_lane
    }

    fn doors(&self) -> Vec<Door> {
        vec![self.addresses.iter().map(Endpoint::to_string).collect()]
    }

    fn lends(&self, key: &str, to: &Section) -> bool {
        const LOGIN: [&str; 3] = ["username", "password", "password_file"];
        !LOGIN.contains(&key) || !LOGIN.iter().any(|own| to.has(own))
    }

    fn explain(&self) -> Vec<String> {
        let key = match self.key.is_empty() {
            true => "its topic, partition, offset and number within the record".to_owned(),
            false => self.key.join(", "),
        };
        vec![
            self.shown(),
            "stored means: the answer to a bulk has a count for each of its rows".to_owned(),
            match self.replaces {
                true => format!("a row replaces the one of its key: {key}"),
                false => format!("a row whose key is there is left out: {key}"),
            },
        ]
    }
}
