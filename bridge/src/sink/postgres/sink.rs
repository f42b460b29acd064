//! The sink put together: its encoders, its couriers, and what `bridge check` sees.

use std::sync::Arc;

use tokio::sync::watch;

use super::Shared;
use super::catalogue::{self, whole};
use super::courier::{PgCourier, keep};
use super::differs::{State, differs, is_made_by_rows};
use super::encode::PgEncoder;
use super::failure::Failure;
use super::layout::{self, Found, Layout, literal, own_columns, quote_all, quote_table};
use super::link::Link;
use super::tls::TlsMode;
use crate::batch::{Line, Payload};
use crate::blame::{Blame, Fault};
use crate::shape::Shape;
use crate::sink::{
    BoxFuture, Claims, Courier, Encoder, Finding, FindingState, Migration, Notes, Sink, SinkContext,
};

/// A PostgreSQL sink.
pub struct Postgres {
    shared: Arc<Shared>,
    context: SinkContext,
}

impl Postgres {
    /// Puts it together; connects to nothing.
    pub fn new(shared: Arc<Shared>, context: SinkContext) -> Postgres {
        Postgres { shared, context }
    }
}

impl Sink for Postgres {
    fn check(&self, _prepare: bool) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(look(&self.shared, &self.context.shape))
    }

    fn migrations(&self) -> BoxFuture<'_, Result<Vec<Migration>, Fault>> {
        Box::pin(migrations(&self.shared, &self.context.shape))
    }

    fn migrate<'a>(&'a self, statement: &'a str) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async {
            let failed = |failure: Failure| told(&failure, "");
            let mut link = self.shared.door.open().await.map_err(failed)?;
            link.ask(statement).await.map(drop).map_err(failed)
        })
    }

    fn note(&self, notes: Arc<Notes>) {
        self.shared.catalogue.note(notes);
    }

    /// A payload has rows of all tables.
    fn table_of(&self, _: &Payload, line: &Line) -> Option<Arc<str>> {
        self.shared.catalogue.layout(line.layout).map(|layout| Arc::clone(&layout.table))
    }

    fn encoder(&self) -> Box<dyn Encoder> {
        let SinkContext { shape, names, .. } = &self.context;
        Box::new(PgEncoder::new(
            Arc::clone(shape),
            Arc::clone(names),
            Arc::clone(&self.shared.catalogue) as Arc<_>,
            self.shared.plan.connections_per_lane as u32,
        ))
    }

    fn courier(&self, index: usize) -> Box<dyn Courier> {
        Box::new(PgCourier::new(Arc::clone(&self.shared), index))
    }

    fn keeper(&self, stop: watch::Receiver<bool>) -> BoxFuture<'static, Result<(), Fault>> {
        Box::pin(keep(stop))
    }

    fn abandon(&self) {
        self.shared.patient.abandon();
    }

    fn claims(&self) -> Option<Arc<dyn Claims>> {
        self.shared.progress.clone().map(|progress| progress as Arc<dyn Claims>)
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

    /// A cluster's number is that of its replicas too: with the moment when the server was started
    /// it is its own.
    fn identity(&self) -> BoxFuture<'_, Option<String>> {
        Box::pin(async {
            let asked = "SELECT system_identifier || '@' || extract(epoch FROM \
                         pg_postmaster_start_time()) FROM pg_control_system()";
            let mut link = self.shared.door.open().await.ok()?;
            link.ask(asked).await.ok()?.into_iter().next().flatten()
        })
    }
}

/// One knock on every door.
async fn look(shared: &Shared, shape: &Shape) -> Vec<Finding> {
    let mut link = match shared.door.open().await {
        Ok(link) => link,
        Err(failure) => return vec![away(shared, &failure)],
    };
    let mut findings = Vec::new();
    match server(shared, &mut link).await {
        Ok(finding) => findings.push(finding),
        Err(failure) => return vec![away(shared, &failure)],
    }
    for table in shape.tables() {
        match about(shared, shape, table, &mut link).await {
            Ok(finding) => findings.push(finding),
            Err(failure) => {
                let fault = Fault::world(failure.words());
                findings.push(Finding::failed("table", table, &fault));
            }
        }
    }
    findings
}

/// How the tables that the file names differ from those that are there.
async fn migrations(shared: &Shared, shape: &Shape) -> Result<Vec<Migration>, Fault> {
    let key = &shared.plan.key;
    let mut link = shared.door.open().await.map_err(|failure| told(&failure, ""))?;
    let mut migrations = Vec::new();
    for table in shape.tables() {
        let found = state(table, key, &mut link).await;
        let found = found.map_err(|failure| told(&failure, &format!("looking for {table}: ")))?;
        migrations.push(differs(table, shape, key, found.as_ref()));
    }
    Ok(migrations)
}

/// A table as the server has it.
async fn state(table: &str, key: &[String], link: &mut Link) -> Result<Option<State>, Failure> {
    let rows = link.rows(&catalogue::about(table)).await?;
    let found: Vec<Found> = rows.iter().filter_map(|row| catalogue::read(row)).collect();
    if found.is_empty() {
        return Ok(None);
    }
    let none =
        |counted: Vec<Option<String>>| counted.first().and_then(Option::as_deref) == Some("0");
    let is_unique = key.is_empty() || !none(link.ask(&unique(table, key)).await?);
    let primary = format!(
        "SELECT count(*) FROM pg_catalog.pg_index WHERE indrelid = pg_catalog.to_regclass({}) AND \
         indisprimary",
        literal(&quote_table(table))
    );
    let has_primary = !none(link.ask(&primary).await?);
    Ok(Some(State { found, is_unique, has_primary }))
}

/// What a server said to somebody who waits for it.
fn told(failure: &Failure, doing: &str) -> Fault {
    let words = format!("{doing}{}", failure.words());
    match failure {
        Failure::Said { .. } => Fault::operator(words).hint(failure.hint()),
        Failure::Lost(_) => Fault::world(words).hint(failure.hint()),
    }
}

/// The server does not let us in, or does not answer.
fn away(shared: &Shared, failure: &Failure) -> Finding {
    let words = failure.words();
    let fault = match failure.is_refusal() {
        true => Fault::operator(format!("refuses the bridge: {words}")).hint(failure.hint()),
        false => Fault::world(format!("does not answer: {words}"))
            .hint("is PostgreSQL there? `address` of the sink"),
    };
    Finding::failed("sink", &*shared.name, &fault)
}

async fn server(shared: &Shared, link: &mut Link) -> Result<Finding, Failure> {
    let asked = "SELECT current_setting('server_version'), current_user, \
                 current_setting('transaction_read_only'), \
                 (SELECT ssl FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid())";
    let rows = link.rows(asked).await?;
    let text = |at: usize| {
        let cell = rows.first().and_then(|row| row.get(at));
        cell.and_then(Option::as_deref).unwrap_or_default()
    };
    let mode = shared.plan.tls.mode;
    let encrypted = match (text(3) == "t", mode) {
        (false, _) => "not encrypted".to_owned(),
        (true, TlsMode::Prefer | TlsMode::Require | TlsMode::Disable) => {
            "encrypted, its certificate is not checked".to_owned()
        }
        (true, TlsMode::VerifyCa | TlsMode::VerifyFull) => format!("encrypted, {}", mode.name()),
    };
    let note = format!("PostgreSQL {}, user {}, {encrypted}", text(0), text(1));
    let name = &*shared.name;
    Ok(match text(2) == "on" {
        true => Finding {
            state: FindingState::Fail,
            fix: Some("name the primary in `address`, or all servers as a list".to_owned()),
            ..Finding::ok("sink", name, format!("{note}; it takes no writes"))
        },
        false => Finding::ok("sink", name, note),
    })
}

async fn about(
    shared: &Shared,
    shape: &Shape,
    table: &str,
    link: &mut Link,
) -> Result<Finding, Failure> {
    let (key, whole_shape, shape) = (&shared.plan.key, shape, shape.of(table));
    let Some(state) = state(table, key, link).await? else {
        let statement = layout::create(table, &whole(shape, key, &[]), key);
        return Ok(match shape.create.tables {
            true => Finding::ok("table", table, "does not exist yet: the bridge makes it"),
            false => failed(
                table,
                "does not exist, and the bridge may not make it".into(),
                format!("{statement}, with a column for each field of the records"),
            ),
        });
    };
    let wanted: &[&str] = match (key.is_empty(), shape.deletes) {
        (true, _) => &["INSERT"],
        (false, false) => &["INSERT", "UPDATE", "SELECT"],
        (false, true) => &["INSERT", "UPDATE", "SELECT", "DELETE"],
    };
    for privilege in wanted {
        let relation = literal(&quote_table(table));
        let asked = format!(
            "SELECT pg_catalog.has_table_privilege(pg_catalog.to_regclass({relation}), \
             '{privilege}')"
        );
        if link.ask(&asked).await?.first().and_then(Option::as_deref) != Some("t") {
            let (relation, user) = (quote_table(table), &shared.plan.username);
            let fix = format!("GRANT {} ON {relation} TO {user}", wanted.join(", "));
            return Ok(failed(table, format!("grants the bridge no {privilege}"), fix));
        }
    }
    let migration = differs(table, whole_shape, key, Some(&state));
    if !state.is_unique {
        let keys = quote_all(key);
        let note = format!("has no unique index of exactly {keys}, by which rows are replaced");
        let fix = migration.statements.last().cloned().unwrap_or_default();
        return Ok(failed(table, note, fix));
    }
    let judged = judge(shape, key, &Layout::new(0, table, shape, key, state.found));
    Ok(match judged.state {
        FindingState::Fail => judged,
        _ => compare(judged, shape, &migration),
    })
}

/// Tells how a table differs from what is declared: warns of it, or fails where it is strict.
fn compare(judged: Finding, shape: &Shape, migration: &Migration) -> Finding {
    if migration.is_empty() {
        return judged;
    }
    if is_made_by_rows(migration, shape) {
        let note = format!("{}; columns that are missing are added as rows come", judged.note);
        return Finding { note, ..judged };
    }
    let mut fix: Vec<String> = migration.statements.iter().map(|s| format!("{s};")).collect();
    fix.extend(migration.obstacles.iter().map(|o| format!("{}: {}", o.what, o.way)));
    let state = if shape.create.strict { FindingState::Fail } else { FindingState::Warn };
    let note = format!("{}; not as declared: {}", judged.note, migration.summary());
    Finding { state, blame: Blame::Operator, note, fix: Some(fix.join("\n")), ..judged }
}

/// Counts the unique indexes of exactly these columns, in any order.
fn unique(table: &str, key: &[String]) -> String {
    let mut names: Vec<String> = key.iter().map(|name| literal(name)).collect();
    names.sort();
    format!(
        "SELECT count(*) FROM pg_catalog.pg_index i WHERE i.indrelid = \
         pg_catalog.to_regclass({}) AND i.indisunique AND i.indisvalid AND i.indimmediate AND \
         i.indpred IS NULL AND i.indexprs IS NULL AND (SELECT array_agg(a.attname::text ORDER BY \
         a.attname::text COLLATE \"C\") FROM pg_catalog.pg_attribute a WHERE a.attrelid = \
         i.indrelid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])) = \
         (SELECT array_agg(k ORDER BY k COLLATE \"C\") FROM unnest(ARRAY[{}]::text[]) k)",
        literal(&quote_table(table)),
        names.join(", ")
    )
}

/// What a table's columns mean for the rows that come.
fn judge(shape: &Shape, key: &[String], layout: &Layout) -> Finding {
    let table = &*layout.table;
    if let Err((why, fix)) = layout.fits(key) {
        return failed(table, why, fix);
    }
    let lacks = |wanted: &&layout::Wanted| layout.find(&wanted.name).is_none();
    let own = own_columns(shape);
    let missing: Vec<&layout::Wanted> = own.iter().filter(lacks).collect();
    if let Some(wanted) = missing.first().filter(|_| !shape.create.columns) {
        let note = format!("has no column {}, and the bridge may not add it", wanted.name);
        return failed(table, note, layout::add_column(table, wanted));
    }
    let written: Vec<&str> = layout.columns.iter().map(|column| column.name.as_str()).collect();
    let is_left = |found: &&Found| !written.contains(&found.name.as_str());
    let left = layout.found.iter().filter(is_left);
    let left: Vec<&str> = left.map(|found| found.name.as_str()).collect();
    let mut note = format!("exists; written: {}", written.join(", "));
    if !key.is_empty() {
        let too = if shape.deletes { " and deleted" } else { "" };
        note.push_str(&format!("; replaced{too} by {}", key.join(", ")));
    }
    if !left.is_empty() {
        note.push_str(&format!("; left to their defaults: {}", left.join(", ")));
    }
    Finding::ok("table", table, note)
}

/// A finding that will not run, and what would be right.
fn failed(table: &str, note: String, fix: String) -> Finding {
    let fault = Fault { blame: Blame::Operator, message: note, hint: Some(fix) };
    Finding::failed("table", table, &fault)
}

#[cfg(test)]
mod tests {
    use super::super::layout::tests::column;
    use super::*;
    use crate::shape::Timestamp;

    fn check(shape: &Shape, found: Vec<Found>, state: FindingState) -> String {
        let finding = judge(shape, &[], &Layout::new(0, "t", shape, &[], found));
        assert_eq!(finding.state, state, "{}", finding.note);
        format!("{} | {}", finding.note, finding.fix.unwrap_or_default())
    }

    #[test]
    fn tables_are_judged_by_what_rows_need() {
        let mut shape = Shape { timestamp_column: "ts".into(), ..Shape::plain("t") };
        let id = Found { has_default: true, ..column("id", 20) };
        let said = check(&shape, vec![id, column("x", 20)], FindingState::Ok);
        assert!(said.contains("written: x; left to their defaults: id"), "{said}");
        let words = Found { not_null: true, ..column("words", 3614) };
        let said = check(&shape, vec![words, column("x", 20)], FindingState::Fail);
        assert!(said.contains("words"), "{said}");
        let written = crate::shape::Written::Auto;
        shape.timestamp = Timestamp::Field { field: "at".into(), written };
        check(&shape, vec![column("x", 20)], FindingState::Ok);
        shape.create.columns = false;
        let said = check(&shape, vec![column("x", 20)], FindingState::Fail);
        assert!(said.contains("ADD COLUMN IF NOT EXISTS \"ts\" timestamp with"), "{said}");
    }
}
