//! What is known of tables: asked of the database once for each table or column nobody has met,
//! made where that is allowed. Lanes wait here; couriers find the layouts of their rows here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use serde_json::Value;
use tokio::runtime::Handle;

use super::answer::Fate;
use super::asker::{Asker, GaveUp};
use super::layout::{self, Found, Key, Known, Layout, Wanted, quote_table};
use super::value::Type;
use crate::blame::Fault;
use crate::reject::Reason;
use crate::shape::Shape;
use crate::sink::Notes;
use crate::sink::questdb::{Denied, quote as literal};
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
    key: Key,
    asker: Arc<Asker>,
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

type Cells = Vec<Vec<Value>>;

impl Catalogue {
    /// Knows nothing yet.
    pub fn new(
        pipeline: Arc<str>,
        shape: Arc<Shape>,
        key: Key,
        asker: Arc<Asker>,
        runtime: Handle,
    ) -> Catalogue {
        Catalogue {
            pipeline,
            shape,
            key,
            asker,
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

    /// Whether the table still takes what was written for this layout: columns may have come.
    pub async fn is_still(&self, layout: &Layout) -> Result<bool, Denied> {
        let Some(now) = self.look_up(&layout.table).await? else { return Ok(false) };
        let has = |found: &Found| now.columns.contains(found);
        let before = &layout.known;
        Ok(now.primary == before.primary && before.columns.iter().all(has))
    }

    /// The table is not what this layout says: it is asked for again.
    pub fn forget(&self, layout: &Layout) {
        let mut known = self.known.lock().expect("no one panics with it");
        if known.get(&*layout.table).is_some_and(|known| known.id == layout.id) {
            known.remove(&*layout.table);
        }
        self.epoch.fetch_add(1, Ordering::AcqRel);
        let (pipeline, table) = (&self.pipeline, &layout.table);
        tracing::info!("{pipeline}: table {table} has changed; its columns are looked up");
    }

    fn known(&self, table: &str) -> Option<Arc<Layout>> {
        self.known.lock().expect("no one panics with it").get(table).cloned()
    }

    /// The table with these columns, from what is known or from the server.
    pub async fn ask(&self, table: &str, wanted: &[Wanted]) -> Result<Arc<Layout>, Denied> {
        let _one_at_a_time = self.asking.lock().await;
        if let Some(layout) = self.known(table).filter(|layout| has_all(&layout.known, wanted)) {
            return Ok(layout);
        }
        // What was only noted is not there to be found.
        let imagined = self.notes.get().and_then(|_| self.known(table));
        let seen = match &imagined {
            Some(layout) => Some(layout.known.clone()),
            None => self.look_up(table).await?,
        };
        let known = match seen {
            Some(known) => known,
            None => self.make(table, wanted).await?,
        };
        let known = self.with_columns(table, known, wanted).await?;
        let mut layouts = self.layouts.write().expect("no one panics with it");
        let id = layouts.len() as u32;
        let layout = Arc::new(Layout::new(id, table, &self.shape, &self.key, known));
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
    async fn make(&self, table: &str, wanted: &[Wanted]) -> Result<Known, Denied> {
        let columns = layout::whole(&self.shape, &self.key, wanted);
        let statement = layout::create(table, &columns, &self.key);
        if !self.shape.create.tables {
            let fault = format!("{}: table {table} does not exist", self.pipeline);
            let hint = format!("make it, or allow it with auto_create = true:\n{statement}");
            return Err(Denied::Pipeline(Fault::operator(fault).hint(hint)));
        }
        if let Some(notes) = self.notes.get() {
            notes.add(&statement);
            let columns = columns.iter().map(Wanted::imagined).collect();
            return Ok(Known { columns, primary: self.key.columns.clone() });
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
        known: Known,
        wanted: &[Wanted],
    ) -> Result<Known, Denied> {
        let own = layout::own_columns(&self.shape);
        // A column of the key cannot be added to a table that has rows; `fits` says so.
        let lacks = |wanted: &&Wanted| {
            layout::find(&known.columns, &wanted.name).is_none()
                && !self.key.columns.contains(&wanted.name)
        };
        let missing: Vec<&Wanted> = own.iter().chain(wanted).filter(lacks).collect();
        if missing.is_empty() {
            return Ok(known);
        }
        let names: Vec<&str> = missing.iter().map(|wanted| wanted.name.as_str()).collect();
        let names = names.join(", ");
        if !self.shape.create.columns {
            let detail = format!("table {table} has no column {names}, and add_columns is off");
            return Err(Denied::Record(Reason::TooManyColumns, detail));
        }
        let (columns, columns_max) = (known.columns.len() + missing.len(), self.shape.columns_max);
        if columns > columns_max {
            let detail = format!(
                "table {table} would have {columns} columns with {names}: columns_max = \
                 {columns_max}"
            );
            return Err(Denied::Record(Reason::TooManyColumns, detail));
        }
        if let Some(notes) = self.notes.get() {
            missing.iter().for_each(|wanted| notes.add(&layout::add_column(table, wanted)));
            let added: Vec<Found> = missing.into_iter().map(Wanted::imagined).collect();
            return Ok(Known { columns: [known.columns, added].concat(), ..known });
        }
        for wanted in missing {
            let doing = format!("adding column {} to {table}", wanted.name);
            if let Err(denied) = self.run(&layout::add_column(table, wanted), &doing).await {
                // Another process may have been first, or our own try whose answer was lost.
                let now = self.look_up(table).await?.unwrap_or_default();
                if layout::find(&now.columns, &wanted.name).is_none() {
                    return Err(denied);
                }
            }
        }
        tracing::info!("{}: added {names} to table {table}", self.pipeline);
        Ok(self.look_up(table).await?.unwrap_or_default())
    }

    /// What the database has of a table.
    async fn look_up(&self, table: &str) -> Result<Option<Known>, Denied> {
        let doing = format!("looking for table {table}");
        let columns = self.run(&about(table), &doing).await?;
        if columns.is_empty() {
            return Ok(None);
        }
        let is_numeric = |row: &Vec<Value>| row.get(1).and_then(Value::as_str) == Some("numeric");
        let shown = match columns.iter().any(is_numeric) {
            true => self.run(&format!("SHOW CREATE TABLE {}", quote_table(table)), &doing).await?,
            false => Vec::new(),
        };
        let primary = self.run(&primary(table), &doing).await?;
        Ok(Some(read(&columns, &primary, &shown)))
    }

    async fn run(&self, statement: &str, doing: &str) -> Result<Cells, Denied> {
        let no = match self.asker.run(statement).await {
            Ok(rows) => return Ok(rows),
            Err(GaveUp::Said(no)) => no,
            Err(GaveUp::Stopped) => {
                let fault = Fault::world("stopped while a table was waited for");
                return Err(Denied::Pipeline(fault));
            }
        };
        match no.fate() {
            Fate::Operator => {
                let said = format!("{}: {doing}: {}", self.pipeline, no.shown());
                Err(Denied::Pipeline(Fault::operator(said).hint(no.hint())))
            }
            _ => {
                let detail = format!("{doing}: {}", no.shown());
                Err(Denied::Record(Reason::BadName, detail))
            }
        }
    }
}

impl Tables for Catalogue {
    fn resolve(&self, table: &str, wanted: &[Wanted]) -> Result<Arc<Layout>, Denied> {
        if let Some(layout) = self.known(table).filter(|layout| has_all(&layout.known, wanted)) {
            return Ok(layout);
        }
        self.waiting.wait(self.ask(table, wanted))
    }

    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }
}

fn has_all(known: &Known, wanted: &[Wanted]) -> bool {
    wanted.iter().all(|wanted| layout::find(&known.columns, &wanted.name).is_some())
}

fn of_table(table: &str) -> String {
    let (schema, name) = layout::parts(table);
    format!("table_schema = {} AND table_name = {}", literal(schema), literal(name))
}

/// Asks for a table's columns; those within objects have a path.
pub fn about(table: &str) -> String {
    format!(
        "SELECT column_name, data_type, is_nullable, column_default IS NOT NULL, is_generated, \
         array_length(column_details['path'], 1) FROM information_schema.columns WHERE {} ORDER \
         BY ordinal_position",
        of_table(table)
    )
}

/// Asks for its primary key.
pub fn primary(table: &str) -> String {
    format!(
        "SELECT column_name FROM information_schema.key_column_usage WHERE {} ORDER BY \
         ordinal_position",
        of_table(table)
    )
}

/// Reads the answers.
pub fn read(columns: &Cells, primary: &Cells, shown: &Cells) -> Known {
    let first =
        |rows: &Cells| rows.first().and_then(|row| row.first()?.as_str().map(str::to_owned));
    let statement = first(shown).unwrap_or_default();
    let column = |row: &Vec<Value>| {
        let text = |at: usize| row.get(at).and_then(Value::as_str);
        let is_nested = row.get(5).and_then(Value::as_i64).is_some_and(|length| length > 0);
        let (name, shown) = (text(0).filter(|_| !is_nested)?, text(1)?);
        Some(Found {
            name: name.to_owned(),
            kind: Type::of(shown, numeric(&statement, name)),
            shown: shown.to_owned(),
            not_null: text(2) == Some("NO"),
            has_default: row.get(3).and_then(Value::as_bool).unwrap_or(false),
            generated: text(4) == Some("ALWAYS"),
        })
    };
    let key = |row: &Vec<Value>| row.first()?.as_str().map(str::to_owned);
    Known {
        columns: columns.iter().filter_map(column).collect(),
        primary: primary.iter().filter_map(key).collect(),
    }
}

/// Precision and scale of a numeric column: only the statement that would make the table has them
/// both (`numeric_scale` of the schema is always null).
fn numeric(statement: &str, name: &str) -> Option<(u8, u8)> {
    let quoted = crate::sink::postgres::layout::quote(name);
    let rest = statement.split_once(&format!("{quoted} NUMERIC("))?.1;
    let mut numbers = rest.split_once(')')?.0.split(',').map(|number| number.trim().parse().ok());
    let precision = numbers.next()??;
    Some((precision, numbers.next().unwrap_or(Some(0))?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cells(value: Value) -> Cells {
        serde_json::from_value(value).expect("rows of cells")
    }

    #[test]
    fn tables_are_read_as_the_schema_has_them() {
        let columns = cells(json!([
            ["id", "text", "NO", false, "NEVER", null],
            ["n", "numeric", "YES", true, "NEVER", null],
            ["o", "object", "YES", false, "NEVER", 0],
            ["o['a']", "text", "YES", false, "NEVER", 1],
            ["day", "timestamp with time zone", "YES", false, "ALWAYS", null],
            ["xs", "double precision_array_array", "YES", false, "NEVER", null],
            ["at", "geo_point", "YES", false, "NEVER", null],
        ]));
        let shown = cells(json!([[
            "CREATE TABLE IF NOT EXISTS \"doc\".\"t\" (\n   \"id\" TEXT,\n   \"n\" NUMERIC(10, 2),\n"
        ]]));
        let known = read(&columns, &cells(json!([["id"]])), &shown);
        assert_eq!(known.primary, ["id"]);
        let names: Vec<&str> = known.columns.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(names, ["id", "n", "o", "day", "xs", "at"]);
        assert_eq!(known.columns[1].kind, Some(Type::Numeric(10, 2)));
        assert!(known.columns[1].has_default && known.columns[0].not_null);
        assert!(known.columns[3].generated);
        assert_eq!(known.columns[4].kind, Some(Type::doubles(2)));
        assert_eq!(known.columns[5].kind, None);
        assert_eq!(numeric("\"a\" NUMERIC(5)", "a"), Some((5, 0)));
        assert_eq!(numeric("\"a\" NUMERIC", "a"), None);
    }

    #[test]
    fn names_stand_in_statements_as_text() {
        assert!(about("a.it's").contains("table_schema = 'a' AND table_name = 'it''s'"));
        assert!(primary("t").contains("table_schema = 'doc' AND table_name = 't'"));
    }
}
