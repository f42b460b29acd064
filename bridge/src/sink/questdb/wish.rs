//! A table as it is wanted, and a table as it is, in one form each, so that they can be compared.

use super::ddl::own_columns;
use super::lookup::{self, Found};
use super::server::{ExecError, Rows, SqlClient, quote};
use super::table::{Table, Wanted};
use crate::shape::{ColumnType, Shape, Ttl};
use serde_json::Value;

/// A table as it is wanted. What is `None` is left as it is found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wish {
    /// Its name.
    pub table: String,
    /// Columns, without the designated timestamp.
    pub columns: Vec<Wanted>,
    /// The designated timestamp.
    pub timestamp: Designated,
    /// `DAY`, if it is made and nothing is said.
    pub partition_by: Option<&'static str>,
    /// For ever, if it is made and nothing is said.
    pub ttl: Option<Ttl>,
    /// Columns of `DEDUP UPSERT KEYS`; empty leaves what is found.
    pub upsert_keys: Vec<String>,
    /// Whether columns that are not wanted are a difference.
    pub strict: bool,
}

/// A designated timestamp as it is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Designated {
    /// Its column.
    pub name: String,
    /// Whether a table with another name for it will not do.
    pub is_declared: bool,
    /// Its type, if that is said.
    pub kind: Option<ColumnType>,
}

impl Wish {
    /// What a shape, or what is declared of this table, wants.
    pub fn of(table: &str, shape: &Shape) -> Wish {
        let declared = shape.declared.iter().find(|d| d.name.eq_ignore_ascii_case(table));
        let is_declared = declared.is_some_and(|declared| declared.timestamp);
        let shape = shape.of(table);
        let (name, kind) = (shape.timestamp_column.clone(), shape.timestamp_kind());
        Wish {
            table: table.to_owned(),
            columns: own_columns(shape),
            timestamp: Designated { kind, name, is_declared },
            partition_by: shape.create.partition_by,
            ttl: shape.create.ttl,
            upsert_keys: shape.create.upsert_keys.clone(),
            strict: shape.create.strict,
        }
    }
}

/// A table as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// Its name, as the database writes it.
    pub table: String,
    /// Columns in order, the designated timestamp among them.
    pub columns: Vec<(String, ColumnType)>,
    /// The designated timestamp's name, if there is one.
    pub timestamp: Option<String>,
    /// `NONE`, `HOUR`, `DAY`, `WEEK`, `MONTH` or `YEAR`.
    pub partition_by: String,
    /// How long rows are kept; `None` where the server has no such thing.
    pub ttl: Option<Ttl>,
    /// Whether it is a WAL table.
    pub wal: bool,
    /// Columns of `DEDUP UPSERT KEYS`; empty without deduplication.
    pub upsert_keys: Vec<String>,
}

impl State {
    /// A column's type, by its name in any case.
    pub fn kind(&self, column: &str) -> Option<ColumnType> {
        let found = self.columns.iter().find(|(name, _)| name.eq_ignore_ascii_case(column));
        found.map(|(_, kind)| *kind)
    }

    fn read(table: &Table, columns: &Rows, about: &[Value]) -> State {
        let text = |at: usize| about.get(at).and_then(Value::as_str).unwrap_or_default();
        let names = columns.rows.iter().filter_map(|row| row.first()?.as_str());
        let kind = |name: &str| table.columns.get(&name.to_lowercase()).copied();
        let count = about.get(1).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
        State {
            table: table.name.to_string(),
            columns: names.filter_map(|name| Some((name.to_owned(), kind(name)?))).collect(),
            timestamp: table.timestamp.as_ref().map(|(name, _)| name.clone()),
            partition_by: text(0).to_owned(),
            ttl: count.and_then(|count| Ttl::of(count, text(2))),
            wal: table.wal,
            upsert_keys: table.upsert_keys.clone(),
        }
    }
}

/// What the database has under a name.
pub async fn find(sql: &SqlClient, name: &str) -> Result<Option<(Table, State)>, ExecError> {
    let Some(Found { table, columns }) = lookup::find(sql, name).await? else { return Ok(None) };
    let ask = |columns: &str| {
        let name = quote(&name.to_lowercase());
        format!("SELECT {columns} FROM tables() WHERE lower(table_name) = {name}")
    };
    let more = match sql.exec(&ask("partitionBy, ttlValue, ttlUnit")).await {
        // Servers before 8.2 know nothing of it.
        Err(ExecError::Refused(_)) => sql.exec(&ask("partitionBy")).await?,
        answer => answer?,
    };
    let state = State::read(&table, &columns, more.rows.first().map_or(&[], Vec::as_slice));
    Ok(Some((table, state)))
}
