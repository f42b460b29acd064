//! A table's INSERT: its columns in order, what feeds each, and how every message of it begins.
//! Lanes make them and couriers look them up, by the number that each row has.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::value::{cast, oid};
use crate::shape::{ColumnType, Shape, Timestamp};
use crate::sink::questdb::ddl::quoted;
use crate::sink::questdb::table::Table;

/// What a parameter is taken from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Feed {
    /// The record's column.
    Cell,
    /// The row's timestamp.
    Stamp,
    /// The topic.
    Topic,
    /// The partition's number.
    Partition,
    /// The offset.
    Offset,
    /// The row's number within its record.
    Row,
    /// Kafka's timestamp.
    KafkaTime,
    /// The header of that name.
    Header(String),
}

/// A column that is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type in the table.
    pub kind: ColumnType,
    /// What its values are taken from.
    pub feed: Feed,
}

/// One INSERT.
#[derive(Debug)]
pub struct Layout {
    /// Its number among all layouts of the sink.
    pub id: u32,
    /// The statement.
    pub sql: String,
    /// The columns that have a parameter, in order.
    pub columns: Vec<Column>,
    /// How each Bind begins; its length is filled in later.
    pub head: Vec<u8>,
}

impl Layout {
    fn new(id: u32, sql: String, columns: Vec<Column>) -> Layout {
        let mut head = vec![b'B', 0, 0, 0, 0, 0];
        head.extend_from_slice(name(id).as_bytes());
        // All parameters are binary.
        head.extend_from_slice(&[0, 0, 1, 0, 1]);
        head.extend_from_slice(&(columns.len() as u16).to_be_bytes());
        Layout { id, sql, columns, head }
    }

    /// The types of its parameters.
    pub fn types(&self) -> impl Iterator<Item = u32> {
        self.columns.iter().map(|column| oid(column.kind))
    }
}

/// What a layout's prepared statement is called.
pub fn name(id: u32) -> String {
    format!("b{id}")
}

/// All layouts of a sink.
#[derive(Debug, Default)]
pub struct Layouts(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    all: Vec<Arc<Layout>>,
    by_sql: HashMap<String, Vec<u32>>,
}

impl Layouts {
    /// The layout of a table with these columns of the record besides its own.
    pub fn of(
        &self,
        shape: &Shape,
        table: &Table,
        cells: Vec<(String, ColumnType)>,
    ) -> Arc<Layout> {
        let columns = columns(shape, table, cells);
        let sql = insert(shape, table, &columns);
        let mut known = self.0.lock().expect("no one panics with it");
        let same = known.by_sql.get(&sql).into_iter().flatten();
        let mut same = same.map(|id| &known.all[*id as usize]);
        if let Some(layout) = same.find(|layout| layout.columns == columns) {
            return Arc::clone(layout);
        }
        let layout = Arc::new(Layout::new(known.all.len() as u32, sql.clone(), columns));
        known.by_sql.entry(sql).or_default().push(layout.id);
        known.all.push(Arc::clone(&layout));
        layout
    }

    /// The layout of this number.
    pub fn get(&self, id: u32) -> Option<Arc<Layout>> {
        let known = self.0.lock().expect("no one panics with it");
        known.all.get(id as usize).cloned()
    }
}

fn columns(shape: &Shape, table: &Table, cells: Vec<(String, ColumnType)>) -> Vec<Column> {
    let of = &shape.metadata;
    let fixed = [
        (&of.topic, Feed::Topic),
        (&of.partition, Feed::Partition),
        (&of.offset, Feed::Offset),
        (&of.row, Feed::Row),
        (&of.timestamp, Feed::KafkaTime),
    ];
    let fixed = fixed.into_iter().filter_map(|(name, feed)| Some((name.clone()?, feed)));
    let headers =
        of.headers.iter().map(|(header, name)| (name.clone(), Feed::Header(header.clone())));
    let mut columns = Vec::new();
    if let Some((name, kind)) = &table.timestamp
        && shape.timestamp != Timestamp::Server
    {
        columns.push(Column { name: name.clone(), kind: *kind, feed: Feed::Stamp });
    }
    for (name, feed) in fixed.chain(headers) {
        // The table has it: what the shape asks for is made before rows come.
        if let Some(kind) = table.columns.get(&name.to_lowercase()).copied()
            && columns.iter().all(|known| !known.name.eq_ignore_ascii_case(&name))
        {
            columns.push(Column { name, kind, feed });
        }
    }
    let cells = cells.into_iter().map(|(name, kind)| Column { name, kind, feed: Feed::Cell });
    columns.extend(cells);
    columns
}

fn insert(shape: &Shape, table: &Table, columns: &[Column]) -> String {
    let mut names: Vec<String> = columns.iter().map(|column| quoted(&column.name)).collect();
    let numbered = columns.iter().enumerate();
    let mut values: Vec<String> =
        numbered.map(|(at, column)| format!("${}{}", at + 1, cast(column.kind))).collect();
    if let Some((name, kind)) = &table.timestamp
        && shape.timestamp == Timestamp::Server
    {
        names.push(quoted(name));
        values.push(match kind {
            ColumnType::TimestampNs => "systimestamp_ns()".to_owned(),
            _ => "systimestamp()".to_owned(),
        });
    }
    format!(
        "INSERT INTO {} ({}) VALUES ({})",
        quoted(&table.name),
        names.join(", "),
        values.join(", ")
    )
}
