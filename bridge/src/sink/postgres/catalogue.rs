//! What is known of tables: asked of the database once for each table or column nobody has met,
//! made where that is allowed. Lanes wait here; couriers find the layouts of their rows here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use tokio::runtime::Handle;

use super::failure::Fate;
use super::layout::{self, Found, Layout, Wanted, literal, quote_table};
use super::patient::{GaveUp, Patient, Rows};
use super::value::Wire;
use crate::blame::Fault;
use crate::reject::Reason;
use crate::shape::Shape;
use crate::sink::Notes;
use crate::sink::questdb::Denied;
use crate::sink::waiting::Waiting;

/// What an encoder asks.
pub trait Tables: Send + Sync {
    /// The table with at least these columns, made where that is allowed.
    fn resolve(&self, table: &str, wanted: &[Wanted]) -> Result<Arc<Layout>, Denied>;

    /// Rises when a table turned out to be another than was said: everything is asked anew then.
    fn epoch(&self) -> u64 {
        0
    }
}

/// The tables of one sink.
pub struct Catalogue {
    pipeline: Arc<str>,
    shape: Arc<Shape>,
    /// Columns by which rows are replaced.
    key: Vec<String>,
    patient: Arc<Patient>,
    /// Lanes that want to know more.
    pub waiting: Waiting,
    /// The newest layout of each table.
    known: Mutex<HashMap<String, Arc<Layout>>>,
    /// Every layout that rows may be under way in, by its number.
    layouts: RwLock<Vec<Arc<Layout>>>,
    asking: tokio::sync::Mutex<()>,
    epoch: AtomicU64,
    /// Where what would be made is only noted.
    notes: OnceLock<Arc<Notes>>,
}

impl Catalogue {
    /// Knows nothing yet.
    pub fn new(
        pipeline: Arc<str>,
        shape: Arc<Shape>,
        key: Vec<String>,
        patient: Arc<Patient>,
        runtime: Handle,
    ) -> Catalogue {
        Catalogue {
            pipeline,
            shape,
            key,
            patient,
            waiting: Waiting::new(runtime),
            known: Mutex::default(),
            layouts: RwLock::default(),
            asking: tokio::sync::Mutex::new(()),
            epoch: AtomicU64::new(0),
            notes: OnceLock::new(),
        }
    }

    /// From now on nothing is made: the statements are noted here.
    pub fn note(&self, notes: Arc<Notes>) {
        // Only the first one who says it is heard.
        let _ = self.notes.set(notes);
    }

    /// The layout of a number that an encoder was given.
    pub fn layout(&self, id: u32) -> Option<Arc<Layout>> {
        let layouts = self.layouts.read().expect("no one panics with it");
        layouts.get(id as usize).cloned()
    }

    /// The table is not what this layout says: it is asked for again.
    pub fn forget(&self, layout: &Layout) {
        let mut known = self.known.lock().expect("no one panics with it");
        if known.get(&*layout.table).is_some_and(|known| known.id == layout.id) {
            known.remove(&*layout.table);
            self.epoch.fetch_add(1, Ordering::AcqRel);
            let (pipeline, table) = (&self.pipeline, &layout.table);
            tracing::info!("{pipeline}: table {table} has changed; its columns are looked up");
        }
    }

    fn known(&self, table: &str) -> Option<Arc<Layout>> {
        self.known.lock().expect("no one panics with it").get(table).cloned()
    }

    async fn ask(&self, table: &str, wanted: &[Wanted]) -> Result<Arc<Layout>, Denied> {
        let _one_at_a_time = self.asking.lock().await;
        if let Some(layout) = self.known(table).filter(|layout| has_all(&layout.found, wanted)) {
            return Ok(layout);
        }
        // What was only noted is not there to be found.
        let imagined = self.notes.get().and_then(|_| self.known(table));
        let seen = match &imagined {
            Some(layout) => Some(layout.found.clone()),
            None => self.look_up(table).await?,
        };
        let found = match seen {
            Some(found) => found,
            None => self.make(table, wanted).await?,
        };
        let found = self.with_columns(table, found, wanted).await?;
        let mut layouts = self.layouts.write().expect("no one panics with it");
        let id = layouts.len() as u32;
        let layout = Arc::new(Layout::new(id, table, self.shape.of(table), &self.key, found));
        if let Err((why, hint)) = layout.fits(&self.key) {
            let fault = Fault::operator(format!("{}: table {table} {why}", self.pipeline));
            return Err(Denied::Pipeline(fault.hint(hint)));
        }
        layouts.push(Arc::clone(&layout));
        let mut known = self.known.lock().expect("no one panics with it");
        known.insert(table.to_owned(), Arc::clone(&layout));
        Ok(layout)
    }

    /// Makes a table with what is wanted of it.
    async fn make(&self, table: &str, wanted: &[Wanted]) -> Result<Vec<Found>, Denied> {
        let shape = self.shape.of(table);
        let columns = whole(shape, &self.key, wanted);
        let statement = layout::create(table, &columns, &self.key);
        if !shape.create.tables {
            let fault = format!("{}: table {table} does not exist", self.pipeline);
            let hint = format!("make it, or allow it with auto_create = true:\n{statement}");
            return Err(Denied::Pipeline(Fault::operator(fault).hint(hint)));
        }
        if let Some(notes) = self.notes.get() {
            notes.add(&statement);
            return Ok(columns.iter().map(Wanted::imagined).collect());
        }
        self.run(&statement, &format!("making table {table}")).await?;
        tracing::info!("{}: made table {table}", self.pipeline);
        self.look_up(table).await?.ok_or_else(|| {
            Denied::Pipeline(Fault::world(format!("table {table} was made and is not there")))
        })
    }

    /// Adds what is missing.
    async fn with_columns(
        &self,
        table: &str,
        found: Vec<Found>,
        wanted: &[Wanted],
    ) -> Result<Vec<Found>, Denied> {
        let shape = self.shape.of(table);
        let own = layout::own_columns(shape);
        let lacks = |wanted: &&Wanted| !has_all(&found, std::slice::from_ref(*wanted));
        let missing: Vec<&Wanted> = own.iter().chain(wanted).filter(lacks).collect();
        if missing.is_empty() {
            return Ok(found);
        }
        let names: Vec<&str> = missing.iter().map(|wanted| wanted.name.as_str()).collect();
        let names = names.join(", ");
        if !shape.create.columns {
            let detail = format!("table {table} has no column {names}, and add_columns is off");
            return Err(Denied::Record(Reason::TooManyColumns, detail));
        }
        let (columns, columns_max) = (found.len() + missing.len(), shape.columns_max);
        if columns > columns_max {
            let detail = format!(
                "table {table} would have {columns} columns with {names}: columns_max = \
                 {columns_max}"
            );
            return Err(Denied::Record(Reason::TooManyColumns, detail));
        }
        if let Some(notes) = self.notes.get() {
            missing.iter().for_each(|wanted| notes.add(&layout::add_column(table, wanted)));
            let added = missing.into_iter().map(Wanted::imagined);
            return Ok(found.iter().cloned().chain(added).collect());
        }
        for wanted in missing {
            let doing = format!("adding column {} to {table}", wanted.name);
            self.run(&layout::add_column(table, wanted), &doing).await?;
        }
        tracing::info!("{}: added {names} to table {table}", self.pipeline);
        Ok(self.look_up(table).await?.unwrap_or_default())
    }

    /// The table's columns as the database has them.
    pub async fn look_up(&self, table: &str) -> Result<Option<Vec<Found>>, Denied> {
        let doing = format!("looking for table {table}");
        let rows = self.run(&about(table), &doing).await?;
        Ok(if rows.is_empty() {
            None
        } else {
            Some(rows.iter().filter_map(|row| read(row)).collect())
        })
    }

    async fn run(&self, statement: &str, doing: &str) -> Result<Rows, Denied> {
        let failure = match self.patient.run(statement).await {
            Ok(rows) => return Ok(rows),
            Err(GaveUp::Said(failure)) => failure,
            Err(GaveUp::Stopped) => {
                let fault = Fault::world("stopped while a table was waited for");
                return Err(Denied::Pipeline(fault));
            }
        };
        match failure.fate() {
            Fate::Record | Fate::Changed if !failure.is_refusal() => {
                let detail = format!("{doing}: {}", failure.words());
                Err(Denied::Record(Reason::BadName, detail))
            }
            _ => {
                let said = format!("{}: {doing}: {}", self.pipeline, failure.words());
                Err(Denied::Pipeline(Fault::operator(said).hint(failure.hint())))
            }
        }
    }
}

impl Tables for Catalogue {
    fn resolve(&self, table: &str, wanted: &[Wanted]) -> Result<Arc<Layout>, Denied> {
        if let Some(layout) = self.known(table).filter(|layout| has_all(&layout.found, wanted)) {
            return Ok(layout);
        }
        self.waiting.wait(self.ask(table, wanted))
    }

    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }
}

/// Every column of a table that is made: the shape's own, the declared ones, those of its rows.
pub fn whole(shape: &Shape, key: &[String], wanted: &[Wanted]) -> Vec<Wanted> {
    let mut all: Vec<Wanted> = Vec::new();
    let text = |name: &String| Wanted { name: name.clone(), sql: "text".to_owned() };
    let keys: Vec<Wanted> = key.iter().map(text).collect();
    let (own, declared) = (layout::own_columns(shape), layout::declared_columns(shape));
    for column in own.iter().chain(&declared).chain(wanted).chain(&keys) {
        if all.iter().all(|known| known.name != column.name) {
            all.push(column.clone());
        }
    }
    all
}

fn has_all(found: &[Found], wanted: &[Wanted]) -> bool {
    let has =
        |wanted: &Wanted| found.iter().any(|column| column.name.eq_ignore_ascii_case(&wanted.name));
    wanted.iter().all(has)
}

/// Asks for a table's columns: those of a domain by what it is made of.
pub fn about(table: &str) -> String {
    let relation = literal(&quote_table(table));
    format!(
        "SELECT a.attname, a.atttypid, a.atttypmod, CASE WHEN t.typtype = 'd' THEN t.typbasetype \
         ELSE a.atttypid END, CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END, \
         b.typtype, b.typname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, \
         a.atthasdef OR a.attidentity <> '', a.attgenerated <> '' OR a.attidentity = 'a' \
         FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
         JOIN pg_catalog.pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE \
         t.oid END WHERE a.attrelid = pg_catalog.to_regclass({relation}) AND a.attnum > 0 AND NOT \
         a.attisdropped ORDER BY a.attnum"
    )
}

/// One row of the answer.
pub fn read(row: &[Option<String>]) -> Option<Found> {
    let text = |at: usize| row.get(at)?.as_deref();
    let number = |at: usize| text(at)?.parse::<i64>().ok();
    let is = |at: usize| text(at) == Some("t");
    let wire = Wire::of(number(3)? as u32, text(5)?, text(6)?, number(4)? as i32);
    Some(Found {
        name: text(0)?.to_owned(),
        oid: number(1)? as u32,
        modifier: number(2)? as i32,
        wire,
        shown: text(7)?.to_owned(),
        not_null: is(8),
        has_default: is(9),
        generated: is(10),
        is_domain: number(1) != number(3),
    })
}
