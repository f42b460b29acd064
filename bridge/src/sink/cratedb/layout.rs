//! A table as rows are written to it: its columns in order, what feeds each, and the statement that
//! stores them. Made of what the catalogue says and what the shape asks for; pure.
//!
//! Every statement has a key by which a second try leaves nothing behind: CrateDB has no
//! transactions, so that nothing else could.

use std::sync::Arc;

use super::super::postgres::layout::{Feed, feed, is_own, quote, quote_all};
use super::super::text::push_string;
use super::value::Type;
use crate::shape::{Shape, Timestamp};

/// The schema of a table that names none.
pub const SCHEMA: &str = "doc";
/// The longest name of a table, its schema included, and of a column.
const NAME_BYTES_MAX: usize = 255;
/// Schemas that are CrateDB's own.
const SCHEMAS: [&str; 4] = ["blob", "information_schema", "pg_catalog", "sys"];
/// Columns that every table has, and that are the system's.
const SYSTEM: [&str; 9] =
    ["_doc", "_docid", "_fetchid", "_id", "_primary_term", "_raw", "_score", "_seq_no", "_version"];

/// A column as the catalogue has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Its type; `None` if the bridge does not write it.
    pub kind: Option<Type>,
    /// Its type, for people.
    pub shown: String,
    /// Whether it takes no nulls.
    pub not_null: bool,
    /// Whether it has a default.
    pub has_default: bool,
    /// Whether it is computed from others.
    pub generated: bool,
}

/// What there is of a table.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Known {
    /// Its columns, in order.
    pub columns: Vec<Found>,
    /// Columns of its primary key.
    pub primary: Vec<String>,
}

/// By what rows are told apart, and what becomes of one whose key is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key {
    /// Its columns; never empty.
    pub columns: Vec<String>,
    /// Whether the row that is there is replaced, or left.
    pub replaces: bool,
}

/// A column that is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: Type,
    /// What its values are taken from.
    pub feed: Feed,
    /// Whether it is one of the key, which takes no nulls.
    pub key: bool,
}

/// What is known of a table: the columns that are written and those that are not.
#[derive(Debug)]
pub struct Layout {
    /// Its number among all layouts of the sink.
    pub id: u32,
    /// The table as the configuration names it.
    pub table: Arc<str>,
    /// The columns that are written, those of the key first and in its order.
    pub columns: Vec<Column>,
    /// How many of them are the key's.
    pub keys: usize,
    /// What there was.
    pub known: Known,
    /// How a request begins, up to where its parameters are named: `{"stmt":"INSERT …",`.
    pub head: Vec<u8>,
}

/// What becomes of a record's column.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// It is the one at this index.
    At(u16),
    /// It is one that the bridge fills itself.
    Own,
    /// Records with it are refused.
    Refused(String),
    /// The table has none of that name.
    Missing,
}

impl Layout {
    /// The layout of a table with these columns.
    pub fn new(id: u32, table: &str, shape: &Shape, key: &Key, known: Known) -> Layout {
        let mut columns = Vec::new();
        for found in known.columns.iter().filter(|found| !found.generated) {
            let feed = feed(shape, &found.name);
            let key = key.columns.contains(&found.name);
            let named = key || shape.kind_of(&found.name).is_some();
            let left = feed == Some(Feed::Cell) && found.has_default && !named;
            if let (Some(feed), Some(kind), false) = (feed, found.kind.clone(), left) {
                columns.push(Column { name: found.name.clone(), kind, feed, key });
            }
        }
        let place = |column: &Column| key.columns.iter().position(|name| *name == column.name);
        columns.sort_by_key(|column| place(column).unwrap_or(usize::MAX));
        let keys = columns.iter().filter(|column| column.key).count();
        let head = head(&insert(table, &columns, &known.primary, key.replaces));
        Layout { id, table: table.into(), columns, keys, known, head }
    }

    /// What becomes of a record's column of this name. Case counts, but for names that differ in
    /// nothing else.
    pub fn place(&self, shape: &Shape, name: &str) -> Place {
        if is_own(shape, name) {
            return Place::Own;
        }
        let Some(found) = self.find(name) else { return Place::Missing };
        if let Some(at) = self.columns.iter().position(|column| column.name == found.name) {
            return match self.columns[at].feed {
                Feed::Cell => Place::At(at as u16),
                _ => Place::Own,
            };
        }
        let (table, column) = (&self.table, &found.name);
        Place::Refused(if found.generated {
            format!("column `{column}` of {table} is generated; leave it out with `drop`")
        } else if found.kind.is_none() {
            let shown = &found.shown;
            format!(
                "column `{column}` of {table} is {shown}, which the bridge does not write; leave \
                 it out with `drop`"
            )
        } else {
            format!(
                "column `{column}` of {table} has a default, and the record has a value: name it \
                 under `columns` to write the record's (null where it has none), or leave it out \
                 with `drop`"
            )
        })
    }

    /// The column of this name.
    pub fn find(&self, name: &str) -> Option<&Found> {
        find(&self.known.columns, name)
    }

    /// Why no row can be written, and what would be right.
    pub fn fits(&self, key: &Key) -> Result<(), (String, String)> {
        let is_there = |name: &&String| self.columns.iter().any(|column| column.name == **name);
        if let Some(missing) = key.columns.iter().find(|name| !is_there(name)) {
            let why = format!("has no column {missing} to write, which is of the key");
            return Err((why, anew(&self.table, key)));
        }
        let primary = &self.known.primary;
        let lacks = key.columns.iter().any(|name| !primary.contains(name));
        let more = primary.iter().find(|name| {
            let generated = self.find(name).is_some_and(|found| found.generated);
            // What is computed from a row that is the same is the same.
            !key.columns.contains(name) && (key.replaces || !generated)
        });
        if lacks || more.is_some() {
            let is = match primary.is_empty() {
                true => "has no primary key".to_owned(),
                false => format!("has the primary key ({})", quote_all(primary)),
            };
            let wanted = quote_all(&key.columns);
            let why = format!("{is}, and rows are told apart by ({wanted})");
            return Err((why, anew(&self.table, key)));
        }
        let written = |f: &Found| self.columns.iter().any(|column| column.name == f.name);
        let wants = |f: &&Found| f.not_null && !f.has_default && !f.generated && !written(f);
        if let Some(Found { name, shown, .. }) = self.known.columns.iter().find(wants) {
            let why = format!(
                "has a column {name} that takes no nulls and is {shown}, which is not written"
            );
            return Err((why, "give it a default, or let it take nulls".to_owned()));
        }
        Ok(())
    }
}

/// What to do where a table's primary key is another one: it can only be given to an empty table.
fn anew(table: &str, key: &Key) -> String {
    format!(
        "name its primary key as `key` of the sink, or make the table anew with PRIMARY KEY ({}): \
         CREATE TABLE {} (…)",
        quote_all(&key.columns),
        quote_table(table)
    )
}

/// The column of this name.
pub fn find<'a>(columns: &'a [Found], name: &str) -> Option<&'a Found> {
    let exact = columns.iter().find(|column| column.name == name);
    exact.or_else(|| columns.iter().find(|column| column.name.eq_ignore_ascii_case(name)))
}

/// The statement that stores one row.
fn insert(table: &str, columns: &[Column], primary: &[String], replaces: bool) -> String {
    let names: Vec<String> = columns.iter().map(|column| quote(&column.name)).collect();
    let others = columns.iter().filter(|column| !column.key).map(|column| quote(&column.name));
    let set: Vec<String> = others.map(|name| format!("{name} = excluded.{name}")).collect();
    let then = match replaces && !set.is_empty() {
        true => format!("UPDATE SET {}", set.join(", ")),
        false => "NOTHING".to_owned(),
    };
    format!(
        "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT ({}) DO {then}",
        quote_table(table),
        names.join(", "),
        vec!["?"; columns.len()].join(", "),
        quote_all(primary),
    )
}

/// How a request with this statement begins.
pub fn head(statement: &str) -> Vec<u8> {
    let mut head = b"{\"stmt\":".to_vec();
    push_string(&mut head, statement.as_bytes());
    head.push(b',');
    head
}

/// A column that rows need, with the type it is made with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: Type,
}

impl Wanted {
    /// The column as it would be, had it been made.
    pub fn imagined(&self) -> Found {
        Found {
            name: self.name.clone(),
            kind: Some(self.kind.clone()),
            shown: self.kind.sql(),
            not_null: false,
            has_default: false,
            generated: false,
        }
    }
}

/// Columns that the shape itself asks for: the timestamp where a field feeds it, those of the
/// record.
pub fn own_columns(shape: &Shape) -> Vec<Wanted> {
    let want = |name: &String, kind: Type| Wanted { name: name.clone(), kind };
    let own = &shape.metadata;
    let fixed = [
        (&own.topic, Type::Text),
        (&own.partition, Type::Int),
        (&own.offset, Type::Long),
        (&own.row, Type::Int),
        (&own.timestamp, Type::Timestamp),
    ];
    let mut wanted: Vec<Wanted> =
        fixed.into_iter().filter_map(|(name, kind)| Some(want(name.as_ref()?, kind))).collect();
    wanted.extend(own.headers.iter().map(|(_, column)| want(column, Type::Text)));
    if matches!(shape.timestamp, Timestamp::Field { .. } | Timestamp::Composed { .. }) {
        wanted.push(want(&shape.timestamp_column, Type::Timestamp));
    }
    wanted
}

/// The type that a column was declared with, if any.
pub fn declared(shape: &Shape, name: &str) -> Option<Wanted> {
    let kind = Type::declared(shape.kind_of(name)?);
    Some(Wanted { name: name.to_owned(), kind })
}

/// Every column of a table that is made: the shape's own, the declared ones, those of its rows.
pub fn whole(shape: &Shape, key: &Key, wanted: &[Wanted]) -> Vec<Wanted> {
    let text = |name: &String| Wanted { name: name.clone(), kind: Type::Text };
    let named = shape.columns.iter().map(|(name, _)| name).chain(&shape.symbols);
    let named = named.filter(|name| !is_own(shape, name)).filter_map(|name| declared(shape, name));
    let mut all: Vec<Wanted> = Vec::new();
    let keys = key.columns.iter().map(text);
    let own = own_columns(shape).into_iter();
    for column in own.chain(named).chain(wanted.iter().cloned()).chain(keys) {
        if all.iter().all(|known| known.name != column.name) {
            all.push(column);
        }
    }
    all
}

/// `CREATE TABLE` for these columns.
pub fn create(table: &str, wanted: &[Wanted], key: &Key) -> String {
    let column = |wanted: &Wanted| format!("{} {}", quote(&wanted.name), wanted.kind.sql());
    let columns: Vec<String> = wanted.iter().map(column).collect();
    format!(
        "CREATE TABLE IF NOT EXISTS {} ({}, PRIMARY KEY ({}))",
        quote_table(table),
        columns.join(", "),
        quote_all(&key.columns)
    )
}

/// `ALTER TABLE` for a column more. There is no `IF NOT EXISTS` for columns.
pub fn add_column(table: &str, wanted: &Wanted) -> String {
    let (table, column) = (quote_table(table), quote(&wanted.name));
    format!("ALTER TABLE {table} ADD COLUMN {column} {}", wanted.kind.sql())
}

/// Why a name cannot be a table's; `None` if it can. The rules are those of CrateDB's documentation
/// of CREATE TABLE.
pub fn table_fault(name: &str) -> Option<String> {
    let (schema, table) = parts(name);
    for part in [schema, table] {
        let wrong = |c: char| c.is_whitespace() || c.is_control() || "\\/*?\"<>|,#.".contains(c);
        if part.is_empty() || part.contains(wrong) {
            return Some(format!(
                "table name {name:?} is empty or has one of \\ / * ? \" < > | , # . or a blank in \
                 it, which CrateDB does not take"
            ));
        }
    }
    if schema.len() + table.len() + 1 > NAME_BYTES_MAX {
        return Some(format!("table name {name:?} is longer than {NAME_BYTES_MAX} bytes"));
    }
    let own = SCHEMAS.contains(&schema) || table.starts_with('_');
    own.then(|| format!("table name {name:?} is one of CrateDB's own"))
}

/// Why a name cannot be a column's; `None` if it can.
pub fn column_fault(name: &str) -> Option<String> {
    if name.is_empty() || name.contains(|c: char| c.is_control() || ".[]".contains(c)) {
        return Some(format!(
            "column name {name:?} is empty or has a dot, a bracket or a control character, which \
             CrateDB keeps for objects; `rename` it, or set another `separator`"
        ));
    }
    if name.len() > NAME_BYTES_MAX {
        return Some(format!("column name {name:?} is longer than {NAME_BYTES_MAX} bytes"));
    }
    SYSTEM.contains(&name).then(|| format!("column {name:?} is one of CrateDB's own"))
}

/// Schema and name of a table.
pub fn parts(table: &str) -> (&str, &str) {
    table.split_once('.').unwrap_or((SCHEMA, table))
}

/// A table's name with its schema, as identifiers.
pub fn quote_table(table: &str) -> String {
    let (schema, name) = parts(table);
    format!("{}.{}", quote(schema), quote(name))
}
