//! The sink's entry in its room's table, and how its parts are put together.

use std::path::Path;
use std::sync::Arc;

use super::catalogue::Catalogue;
use super::encode::IlpEncoder;
use super::options::{Options, QuestDbPlan};
use super::sink::{complete, explain};
use super::table::Tables;
use super::target::Wire;
use super::{Opening, SqlClient, once};
use crate::blame::Fault;
use crate::kind::{Kind, Unable};
use crate::shape::Shape;
use crate::sink::{Encoder, Sink, SinkContext, SinkPlan};

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
        let catalogue = Arc::new(Catalogue::new(&context, opening.sql(), opening.doubts()));
        let couriers = self.couriers_per_lane() as u32;
        let (asker, told, tables) = (opening.sql(), self.protocol, Arc::clone(&catalogue));
        let layouts = opening.layouts();
        let make = move || -> Box<dyn Encoder> {
            let wire = match &layouts {
                Some(layouts) => Wire::Binds(Arc::clone(layouts)),
                None => {
                    let ask = || context.runtime.block_on(version(&asker));
                    Wire::Lines(told.unwrap_or_else(ask))
                }
            };
            let tables: Arc<dyn Tables> = Arc::clone(&tables) as Arc<dyn Tables>;
            let (shape, names) = (Arc::clone(&context.shape), Arc::clone(&context.names));
            Box::new(IlpEncoder::by(wire, shape, names, tables, couriers))
        };
        Ok(opening.sink(Box::new(make), catalogue))
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

    fn couriers_per_lane(&self) -> usize {
        self.connections_per_lane
    }

    fn explain(&self) -> Vec<String> {
        explain(self)
    }
}

/// The newest version that both sides speak.
async fn version(sql: &SqlClient) -> u8 {
    match sql.settings().await {
        Ok(settings) => settings.protocol,
        Err(_) => NEWEST,
    }
}
