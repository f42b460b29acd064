//! What is known of tables, kept for all lanes of a sink. A table or column that nobody has met
//! is looked up, and made by SQL where that is allowed, so that line protocol never has to guess
//! a type. The lane that asks waits; a server that is away is asked again until it answers.
//!
//! Tables are looked at again now and then, and soon when one refuses a row or a value does not
//! fit: columns may have been altered. If they were, every lane asks anew.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::sync::watch;

use super::ddl;
use super::keeper::KEEPER;
use super::lookup;
use super::once::{self, Lack};
use super::server::{ExecError, Rows, SqlClient};
use super::table::{Denied, Doubts, Table, Tables, Wanted};
use crate::blame::Fault;
use crate::reject::Reason;
use crate::shape::Shape;
use crate::sink::retry::Trouble;
use crate::sink::waiting::Waiting;
use crate::sink::{Delivery, Notes, SinkContext};

/// The first wait before a server that is away is asked again, doubled up to the longest.
const AGAIN: Duration = Duration::from_millis(50);
/// The longest wait.
const AGAIN_MAX: Duration = Duration::from_secs(1);
/// Between two looks at tables in doubt: records that are wrong for ever cost no more than that.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After so many of them all tables are looked at: over an old connection the server may drop
/// values of a column's former type without a word.
const LOOKS_BETWEEN: usize = 5;
/// At most so many at once; the others have their turn later.
const LOOKED_AT_MAX: usize = 64;

/// Lanes that wait, among those who may find the sink away.
const LANES: usize = KEEPER - 1;

/// What is known of tables.
pub struct Catalogue {
    pipeline: Arc<str>,
    shape: Arc<Shape>,
    sql: SqlClient,
    trouble: Arc<Trouble>,
    /// Lanes that want to know more.
    pub waiting: Waiting,
    delivery: Delivery,
    /// By lower-case name. The lock is held for look-ups only, never while SQL runs.
    known: Mutex<HashMap<String, Arc<Table>>>,
    /// The epoch at which a table was last seen to be another than was said.
    changed: Mutex<HashMap<String, u64>>,
    /// One lane at a time asks the server, so that no statement is sent twice.
    asking: tokio::sync::Mutex<()>,
    abandoned: watch::Sender<bool>,
    doubts: Arc<Doubts>,
    epoch: AtomicU64,
    /// Where what would be made is only noted.
    notes: OnceLock<Arc<Notes>>,
}

impl Catalogue {
    /// Knows nothing yet.
    pub fn new(
        context: &SinkContext,
        sql: SqlClient,
        trouble: Arc<Trouble>,
        doubts: Arc<Doubts>,
    ) -> Catalogue {
        Catalogue {
            pipeline: Arc::clone(&context.pipeline),
            shape: Arc::clone(&context.shape),
            sql,
            trouble,
            waiting: Waiting::new(context.runtime.clone()),
            delivery: context.delivery,
            doubts,
            epoch: AtomicU64::new(0),
            notes: OnceLock::new(),
            known: Mutex::default(),
            changed: Mutex::default(),
            asking: tokio::sync::Mutex::new(()),
            abandoned: watch::Sender::new(false),
        }
    }

    /// From now on nothing is made: the statements are noted here.
    pub fn note(&self, notes: Arc<Notes>) {
        // Only the first one who says it is heard.
        let _ = self.notes.set(notes);
    }

    /// Everyone who waits gives up.
    pub fn abandon(&self) {
        self.abandoned.send_replace(true);
    }

    fn known(&self, table: &str) -> Option<Arc<Table>> {
        let known = self.known.lock().expect("no one panics with it");
        known.get(&table.to_lowercase()).cloned()
    }

    /// Looks at tables for as long as it is polled.
    pub async fn keep(&self) -> Infallible {
        let mut from = 0;
        loop {
            for _ in 0..LOOKS_BETWEEN {
                tokio::time::sleep(LOOK_EVERY).await;
                for name in self.doubts.take() {
                    self.renew(&name).await;
                }
            }
            let mut names: Vec<String> =
                self.known.lock().expect("no one panics with it").keys().cloned().collect();
            names.sort_unstable();
            from = if from < names.len() { from } else { 0 };
            for name in names.iter().skip(from).take(LOOKED_AT_MAX) {
                self.renew(name).await;
            }
            from += LOOKED_AT_MAX;
        }
    }

    /// Looks at a table that is known; lanes ask anew if it has changed.
    pub async fn renew(&self, name: &str) {
        let _one_at_a_time = self.asking.lock().await;
        let Some(known) = self.known(name) else { return };
        // What keeps the server from answering is said elsewhere.
        let Ok(seen) = self.look_up(name).await else { return };
        if seen.as_ref() == Some(&*known) {
            return;
        }
        tracing::info!("{}: table {name} has changed; its columns are looked up", self.pipeline);
        let mut all = self.known.lock().expect("no one panics with it");
        // One that a replay would leave rows in is asked for again, and refused there.
        match seen.filter(|table| self.judge(table).is_ok()) {
            Some(table) => all.insert(name.to_lowercase(), Arc::new(table)),
            None => all.remove(&name.to_lowercase()),
        };
        self.begin_epoch(name);
    }

    /// Behind this, lanes ask anew: a table is another than was said.
    fn begin_epoch(&self, name: &str) {
        let mut changed = self.changed.lock().expect("no one panics with it");
        let epoch = self.epoch.fetch_add(1, Ordering::AcqRel) + 1;
        changed.insert(name.to_lowercase(), epoch);
    }

    /// Whether a table is another than it was for rows that were written in this epoch.
    pub fn has_changed_since(&self, name: &str, epoch: u32) -> bool {
        let changed = self.changed.lock().expect("no one panics with it");
        changed.get(&name.to_lowercase()).is_some_and(|changed| *changed > u64::from(epoch))
    }

    /// A table with at least these columns, made where that is allowed.
    pub async fn ask(&self, name: &str, wanted: &[Wanted]) -> Result<Arc<Table>, Denied> {
        let _one_at_a_time = self.asking.lock().await;
        if let Some(table) = self.known(name).filter(|table| has_all(table, wanted)) {
            return Ok(table);
        }
        // What was only noted is not there to be found.
        let imagined = self.notes.get().and_then(|_| self.known(name));
        let mut table = match imagined {
            Some(table) => Some(Table::clone(&table)),
            None => self.look_up(name).await?,
        };
        // The other lanes, and what this one knows of the table's other columns.
        let has_changed = self.known(name).is_some_and(|known| table.as_ref() != Some(&*known));
        if table.is_none() {
            table = self.make(name, wanted).await?;
        }
        let table = table.ok_or_else(|| {
            Denied::Pipeline(Fault::world(format!("table {name} was made and is not there")))
        })?;
        self.judge(&table)?;
        let table = self.with_columns(table, wanted).await?;
        let table = Arc::new(table);
        let mut known = self.known.lock().expect("no one panics with it");
        known.insert(name.to_lowercase(), Arc::clone(&table));
        if has_changed {
            tracing::info!("{}: table {name} has changed; all lanes look anew", self.pipeline);
            self.begin_epoch(name);
        }
        Ok(table)
    }

    /// Makes a table, where that is allowed; as the server has it then.
    async fn make(&self, name: &str, wanted: &[Wanted]) -> Result<Option<Table>, Denied> {
        let statement = ddl::create(&self.shape, name, wanted);
        if !self.shape.of(name).create.tables {
            let fault = format!("{}: table {name} does not exist", self.pipeline);
            let hint = format!("make it, or allow it with auto_create = true:\n{statement}");
            return Err(Denied::Pipeline(Fault::operator(fault).hint(hint)));
        }
        if let Some(notes) = self.notes.get() {
            notes.add(&statement);
            // Numbers of the server's own tables are not below zero.
            let known = self.known.lock().expect("no one panics with it").len();
            let mut table = Table::imagined(&self.shape, name, -2 - known as i64);
            table.add(wanted);
            return Ok(Some(table));
        }
        self.run(&statement, &|why| (Reason::BadName, format!("making table {name}: {why}")))
            .await?;
        tracing::info!("{}: made table {name}", self.pipeline);
        self.look_up(name).await
    }

    /// Where each row must be there once, a table that cannot see to it stops the pipeline.
    fn judge(&self, table: &Table) -> Result<(), Denied> {
        let exactly_once = self.delivery == Delivery::ExactlyOnce;
        let lack = exactly_once.then(|| once::lack(&self.shape, table)).flatten();
        match lack {
            None => Ok(()),
            Some(Lack { note, fix }) => {
                let message = format!("{}: table {} {note}", self.pipeline, table.name);
                Err(Denied::Pipeline(Fault::operator(message).hint(fix)))
            }
        }
    }

    /// Adds what is missing: the record's own columns first, for they must not be the ones that
    /// find no room.
    async fn with_columns(&self, mut table: Table, wanted: &[Wanted]) -> Result<Table, Denied> {
        let shape = self.shape.of(&table.name);
        let own = ddl::own_columns(shape);
        let lacks = |table: &Table, wanted: &Wanted| {
            !table.columns.contains_key(&wanted.name.to_lowercase())
        };
        let missing: Vec<Wanted> =
            own.into_iter().chain(wanted.iter().cloned()).filter(|w| lacks(&table, w)).collect();
        if missing.is_empty() {
            return Ok(table);
        }
        let name = table.name.to_string();
        let names: Vec<&str> = missing.iter().map(|wanted| wanted.name.as_str()).collect();
        if !shape.create.columns {
            let detail =
                format!("table {name} has no column {}, and add_columns is off", names.join(", "));
            return Err(Denied::Record(Reason::TooManyColumns, detail));
        }
        if table.columns.len() + missing.len() > shape.columns_max {
            let detail = format!(
                "table {name} has {} columns; {} would pass columns_max = {}",
                table.columns.len(),
                names.join(", "),
                shape.columns_max
            );
            return Err(Denied::Record(Reason::TooManyColumns, detail));
        }
        if let Some(notes) = self.notes.get() {
            missing.iter().for_each(|wanted| notes.add(&ddl::add_column(&name, wanted)));
            table.add(&missing);
            return Ok(table);
        }
        for wanted in &missing {
            self.run(&ddl::add_column(&name, wanted), &|why| {
                (Reason::BadName, format!("adding column {} to {name}: {why}", wanted.name))
            })
            .await?;
        }
        table.add(&missing);
        tracing::info!("{}: added {} to table {name}", self.pipeline, names.join(", "));
        Ok(table)
    }

    /// The table as the database has it.
    async fn look_up(&self, name: &str) -> Result<Option<Table>, Denied> {
        let refused = |why: String| (Reason::BadName, format!("looking for table {name}: {why}"));
        let found = self.insist(|| lookup::find(&self.sql, name), &refused).await?;
        Ok(found.map(|found| found.table))
    }

    /// Runs a statement; asks again for as long as the server is away.
    async fn run(
        &self,
        statement: &str,
        refused: &(dyn Fn(String) -> (Reason, String) + Sync),
    ) -> Result<Rows, Denied> {
        self.insist(|| self.sql.exec(statement), refused).await
    }

    /// Asks again for as long as the server is away.
    async fn insist<T, F: Future<Output = Result<T, ExecError>>>(
        &self,
        ask: impl Fn() -> F,
        refused: &(dyn Fn(String) -> (Reason, String) + Sync),
    ) -> Result<T, Denied> {
        let mut abandoned = self.abandoned.subscribe();
        let mut wait = AGAIN;
        loop {
            let answer = ask().await;
            match &answer {
                Err(ExecError::Away(why)) => self.trouble.away(LANES, why),
                _ => self.trouble.back(LANES),
            }
            match answer {
                Ok(found) => return Ok(found),
                Err(ExecError::Refused(why)) => {
                    let (reason, detail) = refused(why);
                    return Err(Denied::Record(reason, detail));
                }
                Err(ExecError::Denied(why)) => {
                    return Err(Denied::Pipeline(
                        Fault::operator(format!(
                            "{}: questdb refuses the bridge: {why}",
                            self.pipeline
                        ))
                        .hint("set `username` and `password`, or `token`, of the sink"),
                    ));
                }
                Err(ExecError::Away(_)) => {}
            }
            let stop = tokio::time::timeout(wait, abandoned.wait_for(|stop| *stop)).await;
            if stop.is_ok() {
                let fault = Fault::world("stopped while a table was waited for");
                return Err(Denied::Pipeline(fault));
            }
            wait = (wait * 2).min(AGAIN_MAX);
        }
    }
}

fn has_all(table: &Table, wanted: &[Wanted]) -> bool {
    wanted.iter().all(|wanted| table.columns.contains_key(&wanted.name.to_lowercase()))
}

impl Tables for Catalogue {
    fn resolve(&self, table: &str, wanted: &[Wanted]) -> Result<Arc<Table>, Denied> {
        if let Some(table) = self.known(table).filter(|table| has_all(table, wanted)) {
            return Ok(table);
        }
        self.waiting.wait(self.ask(table, wanted))
    }

    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    fn doubt(&self, table: &str) {
        self.doubts.add(table);
    }
}
