//! A table as the database has it, and the door through which an encoder learns of it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::ddl::own_columns;
use super::server::{Rows, quote};
use crate::blame::Fault;
use crate::reject::Reason;
use crate::shape::{ColumnType, Shape};

/// A table as the database has it.
#[derive(Clone, PartialEq, Debug)]
pub struct Table {
    /// Its name, as the database writes it.
    pub name: Arc<str>,
    /// The database's own number for it: another one after DROP and CREATE.
    pub id: i64,
    /// Name and type of the designated timestamp, if it has one.
    pub timestamp: Option<(String, ColumnType)>,
    /// Types by lower-case name, the designated timestamp included.
    pub columns: HashMap<String, ColumnType>,
    /// Columns of `DEDUP UPSERT KEYS`; empty without deduplication.
    pub upsert_keys: Vec<String>,
    /// Whether it is a WAL table.
    pub wal: bool,
}

impl Table {
    /// The statement that finds a table, by its name in any case.
    pub fn about(name: &str) -> String {
        format!(
            "SELECT id, table_name, designatedTimestamp, walEnabled FROM tables() \
             WHERE lower(table_name) = {}",
            quote(&name.to_lowercase())
        )
    }

    /// The statement that tells the columns of what was found.
    pub fn columns_of(about: &[Value]) -> String {
        Table::columns_named(about.get(1).and_then(Value::as_str).unwrap_or_default())
    }

    /// The same for a table of this name.
    pub fn columns_named(name: &str) -> String {
        format!("SELECT \"column\", type, upsertKey FROM table_columns({})", quote(name))
    }

    /// A table that is not there, as the shape would have it made.
    pub fn imagined(shape: &Shape, name: &str, id: i64) -> Table {
        let shape = shape.of(name);
        let stamp = &shape.timestamp_column;
        let kind = shape.timestamp_kind().unwrap_or(ColumnType::Timestamp);
        let mut table = Table {
            name: name.into(),
            id,
            timestamp: Some((stamp.clone(), kind)),
            columns: HashMap::from([(stamp.to_lowercase(), kind)]),
            upsert_keys: shape.create.upsert_keys.clone(),
            wal: true,
        };
        table.add(&own_columns(shape));
        table
    }

    /// Adds columns that it lacks.
    pub fn add(&mut self, wanted: &[Wanted]) {
        for column in wanted {
            self.columns.entry(column.name.to_lowercase()).or_insert(column.kind);
        }
    }

    /// Reads what both answered.
    pub fn read(about: &[Value], columns: &Rows) -> Table {
        let text = |at: usize| about.get(at).and_then(Value::as_str).unwrap_or_default();
        let mut table = Table {
            name: text(1).into(),
            id: about.first().and_then(Value::as_i64).unwrap_or(-1),
            timestamp: None,
            columns: HashMap::new(),
            upsert_keys: Vec::new(),
            wal: about.get(3).and_then(Value::as_bool).unwrap_or(false),
        };
        for column in &columns.rows {
            let (Some(name), Some(kind)) =
                (column.first().and_then(Value::as_str), column.get(1).and_then(Value::as_str))
            else {
                continue;
            };
            // A type that is not known is left to the server's judgement, as text.
            let kind = ColumnType::parse(kind).unwrap_or(ColumnType::Varchar);
            table.columns.insert(name.to_lowercase(), kind);
            if name == text(2) {
                table.timestamp = Some((name.to_owned(), kind));
            }
            if column.get(2).and_then(Value::as_bool) == Some(true) {
                table.upsert_keys.push(name.to_owned());
            }
        }
        table
    }
}

/// A column that rows need.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// The type it is made with if it is missing.
    pub kind: ColumnType,
}

/// Why a table cannot be had.
#[derive(Clone, Debug)]
pub enum Denied {
    /// Only what asks for it is at fault.
    Record(Reason, String),
    /// The pipeline cannot go on.
    Pipeline(Fault),
}

/// What is known of tables. A lane may wait here, once for each table or column nobody has met.
pub trait Tables: Send + Sync {
    /// The table with at least these columns, made where that is allowed.
    fn resolve(&self, table: &str, wanted: &[Wanted]) -> Result<Arc<Table>, Denied>;

    /// Rises when a table turned out to be another than was said: everything is asked anew then.
    /// Asked once for each batch.
    fn epoch(&self) -> u64 {
        0
    }

    /// A value did not fit into a column of this table: it may have changed.
    fn doubt(&self, _table: &str) {}
}

/// Tables that refused rows: what is known of them may no longer be so.
#[derive(Debug, Default)]
pub struct Doubts(Mutex<BTreeSet<String>>);

/// More tables are not doubted at once; the others have their turn when they refuse again.
const DOUBTS_MAX: usize = 64;

impl Doubts {
    /// Adds a table.
    pub fn add(&self, table: &str) {
        let mut tables = self.0.lock().expect("no one panics with it");
        if tables.len() < DOUBTS_MAX && !tables.contains(table) {
            tables.insert(table.to_owned());
        }
    }

    /// Takes all of them.
    pub fn take(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.0.lock().expect("no one panics with it"))
    }
}
