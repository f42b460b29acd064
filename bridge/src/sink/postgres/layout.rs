//! A table as rows are written to it: its columns in order, what feeds each, and the statements
//! that go with them. Made of what the catalogue says and what the shape asks for; pure.
//!
//! A column with a default of its own keeps it, unless the configuration names the column: a COPY
//! gives every row the same columns, so that a default and a record's value exclude each other.

use std::fmt::Write;
use std::sync::Arc;

use super::stage::{Stage, Tail};
use super::value::Wire;
use crate::shape::{ColumnType, Shape, Timestamp};

/// A column as the catalogue has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Its type's own number, of the domain where it is one.
    pub oid: u32,
    /// Its type's modifier.
    pub modifier: i32,
    /// How its values travel; `None` if the bridge does not write the type.
    pub wire: Option<Wire>,
    /// Its type in SQL, for people.
    pub shown: String,
    /// Whether it takes no nulls.
    pub not_null: bool,
    /// Whether it has a default, or counts by itself.
    pub has_default: bool,
    /// Whether nobody may write it.
    pub generated: bool,
    /// Whether its type is a domain.
    pub is_domain: bool,
}

/// What a column's values are taken from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Feed {
    /// The record's column of that name.
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
    /// How its values travel.
    pub wire: Wire,
    /// Its type in SQL, for people.
    pub shown: String,
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
    /// The table as statements name it.
    pub quoted: String,
    /// What it is called without its schema.
    pub bare: String,
    /// The columns that are written, in order.
    pub columns: Vec<Column>,
    /// All columns, as found.
    pub found: Vec<Found>,
    /// Where rows go first, if they replace others.
    pub stage: Option<Stage>,
    /// What follows the columns in a tuple.
    pub tail: Tail,
    /// `COPY … FROM STDIN`.
    pub copy: String,
    /// Counts the columns that still are what this was made of.
    pub verify: String,
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
    /// The layout of a table with these columns; `key` is empty where every row is added.
    pub fn new(id: u32, table: &str, shape: &Shape, key: &[String], found: Vec<Found>) -> Layout {
        let mut columns = Vec::new();
        for column in found.iter().filter(|column| !column.generated) {
            let feed = feed(shape, &column.name);
            let key = key.contains(&column.name);
            let named = key || named(shape, column);
            let left = feed == Some(Feed::Cell) && column.has_default && !named;
            if let (Some(feed), Some(wire), false) = (feed, column.wire, left) {
                let (name, shown) = (column.name.clone(), column.shown.clone());
                columns.push(Column { name, wire, shown, feed, key });
            }
        }
        let (quoted, bare) = (quote_table(table), bare(table).to_owned());
        let names: Vec<String> = columns.iter().map(|column| quote(&column.name)).collect();
        let staged = || Stage::new(id, &quoted, &columns, &found, shape.deletes);
        let stage = (!key.is_empty()).then(staged);
        let to = stage.as_ref().map_or(quoted.as_str(), |stage| stage.name.as_str());
        let more = stage.iter().flat_map(|stage| stage.more().cloned());
        let names: Vec<String> = names.into_iter().chain(more).collect();
        let tail = stage.as_ref().map_or(Tail::None, Stage::tail);
        let copy = format!("COPY {to} ({}) FROM STDIN (FORMAT binary)", names.join(", "));
        let verify = verify(&quoted, &columns, &found);
        let table = table.into();
        Layout { id, table, quoted, bare, columns, found, stage, tail, copy, verify }
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
        } else if found.wire.is_none() {
            let shown = &found.shown;
            format!(
                "column `{column}` of {table} is {shown}, which the bridge does not write; leave it out with `drop`"
            )
        } else {
            format!(
                "column `{column}` of {table} has a default, and the record has a value: name it under `columns` to write the record's (null where it has none), or leave it out with `drop`"
            )
        })
    }

    /// What the server calls it where rows are copied to, in the context of a refusal.
    pub fn relation(&self) -> &str {
        self.stage.as_ref().map_or(&self.bare, |stage| &stage.name)
    }

    /// The column of this name.
    pub fn find(&self, name: &str) -> Option<&Found> {
        let exact = self.found.iter().find(|column| column.name == name);
        exact.or_else(|| self.found.iter().find(|column| column.name.eq_ignore_ascii_case(name)))
    }

    /// Why no row can be written, and what would be right.
    pub fn fits(&self, key: &[String]) -> Result<(), (String, String)> {
        let is_there = |name: &&String| self.columns.iter().any(|column| column.name == **name);
        if let Some(missing) = key.iter().find(|name| !is_there(name)) {
            let hint = "`key` of the sink names the columns of its primary key".to_owned();
            return Err((format!("has no column {missing}, which is of the key"), hint));
        }
        let wants = |f: &&Found| f.not_null && !f.has_default && !f.generated && f.wire.is_none();
        if let Some(Found { name, shown, .. }) = self.found.iter().find(wants) {
            let why = format!(
                "has a column {name} that takes no nulls and is {shown}, which is not written"
            );
            return Err((why, "give it a default, or let it take nulls".to_owned()));
        }
        match self.columns.is_empty() {
            true => Err((
                "has no column that the bridge would write".to_owned(),
                "one with a default is written where it is named under `columns`".to_owned(),
            )),
            false => Ok(()),
        }
    }
}

/// Counts the columns that are as they were: a value's bytes mean something else in another type,
/// and the server would take them.
fn verify(quoted: &str, columns: &[Column], found: &[Found]) -> String {
    let mut list = String::new();
    for column in columns {
        let Some(found) = found.iter().find(|found| found.name == column.name) else { continue };
        let comma = if list.is_empty() { "" } else { ", " };
        let (name, oid, modifier) = (literal(&found.name), found.oid, found.modifier);
        let _ = write!(list, "{comma}({name}, {oid}, {modifier})");
    }
    format!(
        "SELECT count(*) FROM pg_catalog.pg_attribute WHERE attrelid = \
         pg_catalog.to_regclass({}) AND NOT attisdropped AND (attname, atttypid, atttypmod) IN \
         ({list})",
        literal(quoted)
    )
}

/// What feeds a table's column; `None` if nothing does.
pub fn feed(shape: &Shape, name: &str) -> Option<Feed> {
    let own = &shape.metadata;
    let is = |asked: &Option<String>| asked.as_deref() == Some(name);
    if name == shape.timestamp_column {
        return (shape.timestamp != Timestamp::Server).then_some(Feed::Stamp);
    }
    let fixed = [
        (&own.topic, Feed::Topic),
        (&own.partition, Feed::Partition),
        (&own.offset, Feed::Offset),
        (&own.row, Feed::Row),
        (&own.timestamp, Feed::KafkaTime),
    ];
    if let Some((_, feed)) = fixed.into_iter().find(|(asked, _)| is(asked)) {
        return Some(feed);
    }
    let header = own.headers.iter().find(|(_, column)| column == name);
    Some(header.map_or(Feed::Cell, |(header, _)| Feed::Header(header.clone())))
}

/// Whether a column is one that the bridge fills itself.
pub fn is_own(shape: &Shape, name: &str) -> bool {
    feed(shape, name) != Some(Feed::Cell)
}

/// Whether the configuration names a column: its default is not wanted then.
fn named(shape: &Shape, column: &Found) -> bool {
    shape.columns.iter().any(|(name, _)| *name == column.name)
        || shape.symbols.contains(&column.name)
}

/// A column that rows need, with the type it is made with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// Its type in SQL.
    pub sql: String,
}

impl Wanted {
    /// The column as it would be, had it been made: of the types that the bridge makes, which are
    /// those of [`sql_type`] and of what values look like.
    pub fn imagined(&self) -> Found {
        let (name, digits) = match self.sql.split_once('(') {
            Some((name, digits)) => (name, digits.trim_end_matches(')').split_once(',')),
            None => (self.sql.as_str(), None),
        };
        let modifier = digits.and_then(|(precision, scale)| {
            Some((precision.parse::<i32>().ok()? << 16 | scale.parse::<i32>().ok()?) + 4)
        });
        let oid = match name {
            "boolean" => 16,
            "bytea" => 17,
            "bigint" => 20,
            "smallint" => 21,
            "integer" => 23,
            "real" => 700,
            "double precision" => 701,
            "inet" => 869,
            "double precision[]" => 1022,
            "timestamp with time zone" => 1184,
            "numeric" => 1700,
            "uuid" => 2950,
            _ => 25,
        };
        let modifier = modifier.unwrap_or(-1);
        Found {
            name: self.name.clone(),
            oid,
            modifier,
            wire: Wire::of(oid, "b", name, modifier),
            shown: self.sql.clone(),
            not_null: false,
            has_default: false,
            generated: false,
            is_domain: false,
        }
    }
}

/// Columns that the shape itself asks for: the timestamp where a field feeds it, those of the
/// record, and (for a table that is made) those that are declared.
pub fn own_columns(shape: &Shape) -> Vec<Wanted> {
    let want = |name: &String, sql: &str| Wanted { name: name.clone(), sql: sql.to_owned() };
    let mut wanted = Vec::new();
    if matches!(shape.timestamp, Timestamp::Field { .. } | Timestamp::Composed { .. }) {
        wanted.push(want(&shape.timestamp_column, "timestamp with time zone"));
    }
    let own = &shape.metadata;
    let fixed = [
        (&own.topic, "text"),
        (&own.partition, "integer"),
        (&own.offset, "bigint"),
        (&own.row, "integer"),
        (&own.timestamp, "timestamp with time zone"),
    ];
    wanted.extend(fixed.into_iter().filter_map(|(name, sql)| Some(want(name.as_ref()?, sql))));
    wanted.extend(own.headers.iter().map(|(_, column)| want(column, "text")));
    wanted
}

/// Columns that are declared.
pub fn declared_columns(shape: &Shape) -> Vec<Wanted> {
    let column = |name: &String, kind| Wanted { name: name.clone(), sql: sql_type(kind) };
    let declared = shape.columns.iter().map(|(name, kind)| column(name, *kind));
    let symbols = shape.symbols.iter().map(|name| column(name, ColumnType::Symbol));
    let mut all: Vec<Wanted> = Vec::new();
    for wanted in declared.chain(symbols) {
        if all.iter().all(|known| known.name != wanted.name) && !is_own(shape, &wanted.name) {
            all.push(wanted);
        }
    }
    all
}

/// The type of PostgreSQL for one that the configuration names as QuestDB does.
pub fn sql_type(kind: ColumnType) -> String {
    match kind {
        ColumnType::Boolean => "boolean".into(),
        ColumnType::Byte | ColumnType::Short => "smallint".into(),
        ColumnType::Int => "integer".into(),
        ColumnType::Long => "bigint".into(),
        ColumnType::Float => "real".into(),
        ColumnType::Double => "double precision".into(),
        ColumnType::Timestamp | ColumnType::TimestampNs | ColumnType::Date => {
            "timestamp with time zone".into()
        }
        ColumnType::Uuid => "uuid".into(),
        ColumnType::Ipv4 => "inet".into(),
        ColumnType::Decimal(precision, scale) => format!("numeric({precision},{scale})"),
        ColumnType::Array(_) => "double precision[]".into(),
        ColumnType::Binary => "bytea".into(),
        ColumnType::Symbol
        | ColumnType::Varchar
        | ColumnType::String
        | ColumnType::Char
        | ColumnType::Long256
        | ColumnType::Geohash => "text".into(),
    }
}

/// `CREATE TABLE` for these columns.
pub fn create(table: &str, wanted: &[Wanted], key: &[String]) -> String {
    let column = |wanted: &Wanted| format!("{} {}", quote(&wanted.name), wanted.sql);
    let key = (!key.is_empty()).then(|| format!("PRIMARY KEY ({})", quote_all(key)));
    let columns: Vec<String> = wanted.iter().map(column).chain(key).collect();
    format!("CREATE TABLE IF NOT EXISTS {} ({})", quote_table(table), columns.join(", "))
}

/// `ALTER TABLE` for a column more.
pub fn add_column(table: &str, wanted: &Wanted) -> String {
    let (table, column) = (quote_table(table), quote(&wanted.name));
    format!("ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {column} {}", wanted.sql)
}

/// Names are longer nowhere in PostgreSQL (`NAMEDATALEN` - 1); the server would cut them in
/// silence.
pub const NAME_BYTES_MAX: usize = 63;

/// Why a name cannot be a table's or a column's; `None` if it can.
pub fn name_fault(what: &str, name: &str) -> Option<String> {
    let parts = if what == "table" { name.splitn(2, '.').collect() } else { vec![name] };
    parts.into_iter().find_map(|part| {
        if part.is_empty() {
            return Some(format!("{what} name {name:?} is empty, or a part of it"));
        }
        if part.len() > NAME_BYTES_MAX {
            return Some(format!("{what} name {part:?} is longer than {NAME_BYTES_MAX} bytes"));
        }
        part.contains('\0').then(|| format!("{what} name {part:?} has a null in it"))
    })
}

/// A name as an identifier.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Names as identifiers, with commas.
pub fn quote_all(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| quote(name)).collect();
    quoted.join(", ")
}

/// A table's name, with its schema where it has one, as identifiers.
pub fn quote_table(table: &str) -> String {
    match table.split_once('.') {
        Some((schema, name)) => format!("{}.{}", quote(schema), quote(name)),
        None => quote(table),
    }
}

/// A table's name without its schema.
fn bare(table: &str) -> &str {
    table.split_once('.').map_or(table, |(_, name)| name)
}

/// Text as a literal, whatever `standard_conforming_strings` says.
pub fn literal(text: &str) -> String {
    let escaped = text.replace('\'', "''");
    match escaped.contains('\\') {
        true => format!("E'{}'", escaped.replace('\\', "\\\\")),
        false => format!("'{escaped}'"),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A column of this name and type number that has nothing special.
    pub fn column(name: &str, oid: u32) -> Found {
        let wire = Wire::of(oid, "b", "", -1);
        Found {
            name: name.into(),
            oid,
            modifier: -1,
            wire,
            shown: format!("type {oid}"),
            not_null: false,
            has_default: false,
            generated: false,
            is_domain: false,
        }
    }

    fn layout(shape: &Shape) -> Layout {
        let found = vec![
            Found { has_default: true, not_null: true, ..column("id", 20) },
            column("ts", 1184),
            column("Site", 25),
            Found { has_default: true, ..column("state", 25) },
            Found { not_null: true, ..column("words", 3614) },
            Found { generated: true, ..column("twice", 701) },
            column("kafka_offset", 20),
        ];
        Layout::new(7, "plant.t", shape, &[], found)
    }

    #[test]
    fn defaults_stay_unless_the_column_is_named() {
        let mut shape = Shape { timestamp_column: "ts".into(), ..Shape::plain("t") };
        shape.metadata.offset = Some("kafka_offset".into());
        let plain = layout(&shape);
        assert_eq!(
            plain.copy,
            "COPY \"plant\".\"t\" (\"ts\", \"Site\", \"kafka_offset\") FROM STDIN (FORMAT binary)"
        );
        assert_eq!(plain.columns[0].feed, Feed::Stamp);
        assert_eq!(plain.columns[2].feed, Feed::Offset);
        assert_eq!(plain.place(&shape, "site"), Place::At(1));
        assert_eq!(plain.place(&shape, "ts"), Place::Own);
        assert_eq!(plain.place(&shape, "kafka_offset"), Place::Own);
        assert_eq!(plain.place(&shape, "other"), Place::Missing);
        for (name, word) in [("state", "default"), ("words", "does not write"), ("twice", "gene")] {
            let place = plain.place(&shape, name);
            assert!(matches!(&place, Place::Refused(why) if why.contains(word)), "{place:?}");
        }
        let (why, _) = plain.fits(&[]).expect_err("it takes no nulls");
        assert!(why.contains("words"), "{why}");
        shape.columns = vec![("state".into(), ColumnType::Varchar)];
        assert_eq!(layout(&shape).place(&shape, "state"), Place::At(2));
        shape.timestamp = Timestamp::Server;
        assert_eq!(layout(&shape).columns[0].name, "Site");
    }

    #[test]
    fn what_the_bridge_would_make_it_can_write() {
        let kinds = [
            ColumnType::Boolean,
            ColumnType::Byte,
            ColumnType::Int,
            ColumnType::Long,
            ColumnType::Float,
            ColumnType::Double,
            ColumnType::Timestamp,
            ColumnType::Uuid,
            ColumnType::Ipv4,
            ColumnType::Decimal(10, 2),
            ColumnType::Array(1),
            ColumnType::Binary,
            ColumnType::Symbol,
        ];
        for kind in kinds {
            let sql = sql_type(kind);
            let found = Wanted { name: "x".into(), sql: sql.clone() }.imagined();
            assert_eq!(found.wire == Some(Wire::Text), sql == "text", "{sql}: {found:?}");
            let scaled = found.wire == Some(Wire::Numeric(Some((8, 2))));
            assert_eq!(scaled, sql == "numeric(10,2)", "{sql}: {found:?}");
        }
    }

    #[test]
    fn names_are_quoted_or_refused() {
        assert_eq!(quote_table("a\"b.c"), "\"a\"\"b\".\"c\"");
        assert_eq!(literal("it's \\"), "E'it''s \\\\'");
        assert!(name_fault("table", "a.b").is_none());
        for bad in ["", ".b", "a.", &"x".repeat(64), "a\0"] {
            assert!(name_fault("table", bad).is_some(), "{bad:?}");
        }
        let made =
            create("t", &[Wanted { name: "x".into(), sql: sql_type(ColumnType::Long) }], &[]);
        assert_eq!(made, "CREATE TABLE IF NOT EXISTS \"t\" (\"x\" bigint)");
    }
}
