//! The sink put together: its encoders, its couriers, and what `bridge check` sees.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;

use super::Shared;
use super::answer::{Fate, No};
use super::catalogue;
use super::courier::CrateCourier;
use super::encode::CrateEncoder;
use super::layout::{self, Key, Layout};
use crate::blame::{Blame, Fault};
use crate::shape::Shape;
use crate::sink::questdb::server::Broken;
use crate::sink::{BoxFuture, Courier, Encoder, Finding, Notes, Sink, SinkContext};

/// A CrateDB sink.
pub struct CrateDb {
    shared: Arc<Shared>,
    context: SinkContext,
}

impl CrateDb {
    /// Puts it together; connects to nothing.
    pub fn new(shared: Arc<Shared>, context: SinkContext) -> CrateDb {
        CrateDb { shared, context }
    }
}

impl Sink for CrateDb {
    fn check(&self, _prepare: bool) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(look(&self.shared, &self.context.shape))
    }

    fn note(&self, notes: Arc<Notes>) {
        self.shared.catalogue.note(notes);
    }

    fn encoder(&self) -> Box<dyn Encoder> {
        let SinkContext { shape, names, .. } = &self.context;
        let plan = &self.shared.plan;
        Box::new(CrateEncoder::new(
            Arc::clone(shape),
            Arc::clone(names),
            Arc::clone(&self.shared.catalogue) as Arc<_>,
            plan.connections_per_lane as u32,
            plan.bulk_rows_max,
        ))
    }

    fn courier(&self, index: usize) -> Box<dyn Courier> {
        Box::new(CrateCourier::new(Arc::clone(&self.shared), index))
    }

    fn keeper(&self, mut stop: watch::Receiver<bool>) -> BoxFuture<'static, Result<(), Fault>> {
        Box::pin(async move {
            // A sender that is gone has nothing left to stop.
            let _ = stop.wait_for(|stop| *stop).await;
            Ok(())
        })
    }

    fn abandon(&self) {
        self.shared.asker.abandon();
    }

    fn trouble(&self) -> Option<String> {
        self.shared.trouble.words()
    }

    fn rest(&self, rests: bool) {
        self.shared.trouble.rest(rests);
    }

    fn interrupt(&self) {
        self.shared.catalogue.waiting.interrupt();
    }
}

/// Why a look at the server came to nothing.
enum Unseen {
    Broken(String),
    No(No),
}

/// One knock on every door.
async fn look(shared: &Shared, shape: &Shape) -> Vec<Finding> {
    let seen = ask(shared, "SELECT version()").await;
    let version = match &seen {
        Ok(rows) => rows.first().and_then(|row| row.first()).and_then(Value::as_str),
        Err(unseen) => return vec![away(shared, unseen)],
    };
    let version = version.unwrap_or("CrateDB, of no version").to_owned();
    let version: String = version.chars().filter(|c| !c.is_control()).take(40).collect();
    let mut findings = vec![Finding::ok("sink", &*shared.name, version.trim())];
    if let Some(table) = shape.table.fixed() {
        match about(shared, shape, table).await {
            Ok(finding) => findings.push(finding),
            Err(unseen) => findings.push(away(shared, &unseen)),
        }
    }
    findings
}

async fn ask(shared: &Shared, statement: &str) -> Result<Vec<Vec<Value>>, Unseen> {
    match shared.asker.once(statement).await {
        Ok(Ok(rows)) => Ok(rows),
        Ok(Err(no)) => Err(Unseen::No(no)),
        Err(Broken(why)) => Err(Unseen::Broken(why)),
    }
}

/// The server does not let us in, or does not answer.
fn away(shared: &Shared, unseen: &Unseen) -> Finding {
    let fault = match unseen {
        Unseen::Broken(why) => Fault::world(format!("does not answer: {why}"))
            .hint("is CrateDB there? `address` of the sink"),
        Unseen::No(no) if matches!(no.fate(), Fate::Again | Fate::TooMuch) => {
            Fault::world(format!("is not ready: {}", no.shown()))
        }
        Unseen::No(no) => {
            Fault::operator(format!("refuses the bridge: {}", no.shown())).hint(no.hint())
        }
    };
    Finding::failed("sink", &*shared.name, &fault)
}

async fn about(shared: &Shared, shape: &Shape, table: &str) -> Result<Finding, Unseen> {
    let key = &shared.key;
    if let Some(fault) = layout::table_fault(table) {
        return Ok(failed(table, fault, "another name under `table`".to_owned()));
    }
    let columns = ask(shared, &catalogue::about(table)).await?;
    if columns.is_empty() {
        let statement = layout::create(table, &layout::whole(shape, key, &[]), key);
        return Ok(match shape.create.tables {
            true => Finding::ok("table", table, "does not exist yet: the bridge makes it"),
            false => failed(
                table,
                "does not exist, and the bridge may not make it".into(),
                format!("{statement}, with a column for each field of the records"),
            ),
        });
    }
    let primary = ask(shared, &catalogue::primary(table)).await?;
    let shown = ask(shared, &format!("SHOW CREATE TABLE {}", layout::quote_table(table))).await?;
    let known = catalogue::read(&columns, &primary, &shown);
    Ok(judge(shape, key, &Layout::new(0, table, shape, key, known)))
}

/// What a table's columns mean for the rows that come.
fn judge(shape: &Shape, key: &Key, layout: &Layout) -> Finding {
    let table = &*layout.table;
    if let Err((why, fix)) = layout.fits(key) {
        return failed(table, why, fix);
    }
    let own = layout::own_columns(shape);
    let missing = own.iter().find(|wanted| layout.find(&wanted.name).is_none());
    if let Some(wanted) = missing.filter(|_| !shape.create.columns) {
        let note = format!("has no column {}, and the bridge may not add it", wanted.name);
        return failed(table, note, layout::add_column(table, wanted));
    }
    let written: Vec<&str> = layout.columns.iter().map(|column| column.name.as_str()).collect();
    let left = layout.known.columns.iter().map(|found| found.name.as_str());
    let left: Vec<&str> = left.filter(|name| !written.contains(name)).collect();
    let mut note = format!("exists; written: {}", written.join(", "));
    let verb = if key.replaces { "replaced" } else { "told apart" };
    note.push_str(&format!("; {verb} by {}", key.columns.join(", ")));
    if !left.is_empty() {
        note.push_str(&format!("; left alone: {}", left.join(", ")));
    }
    Finding::ok("table", table, note)
}

/// A finding that will not run, and what would be right.
fn failed(table: &str, note: String, fix: String) -> Finding {
    let fault = Fault { blame: Blame::Operator, message: note, hint: Some(fix) };
    Finding::failed("table", table, &fault)
}
