//! The statements that make tables and columns.

use super::line::legal;
use super::table::Wanted;
use super::wish::Wish;
use crate::shape::{ColumnType, Shape, Ttl};

/// A name in double quotes, as QuestDB's SQL takes any name.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Columns that the shape itself asks for: those from the record, and those declared.
pub fn own_columns(shape: &Shape) -> Vec<Wanted> {
    let of = &shape.metadata;
    let one = |name: &Option<String>, kind| name.clone().map(|name| Wanted { name, kind });
    let mut columns: Vec<Wanted> = [
        one(&of.topic, ColumnType::Symbol),
        one(&of.partition, ColumnType::Int),
        one(&of.offset, ColumnType::Long),
        one(&of.row, ColumnType::Int),
        one(&of.timestamp, ColumnType::Timestamp),
    ]
    .into_iter()
    .flatten()
    .collect();
    let declared = |name: &String| {
        let kind = shape.columns.iter().find(|(column, _)| column == name).map(|(_, kind)| *kind);
        let symbol = shape.symbols.contains(name).then_some(ColumnType::Symbol);
        kind.or(symbol)
    };
    for (_, name) in &of.headers {
        let kind = declared(name).unwrap_or(ColumnType::Varchar);
        columns.push(Wanted { name: name.clone(), kind });
    }
    for name in &shape.symbols {
        columns.push(Wanted { name: legal(name).into_owned(), kind: ColumnType::Symbol });
    }
    for (name, kind) in &shape.columns {
        columns.push(Wanted { name: legal(name).into_owned(), kind: *kind });
    }
    unique(columns, &shape.timestamp_column)
}

/// The first of each name, without the designated timestamp.
fn unique(columns: Vec<Wanted>, timestamp: &str) -> Vec<Wanted> {
    let mut seen = vec![timestamp.to_lowercase()];
    let fresh = |column: &Wanted| {
        let lower = column.name.to_lowercase();
        let fresh = !seen.contains(&lower);
        seen.push(lower);
        fresh
    };
    columns.into_iter().filter(fresh).collect()
}

/// `CREATE TABLE` for a table of the shape, with these columns besides its own.
pub fn create(shape: &Shape, table: &str, wanted: &[Wanted]) -> String {
    let mut wish = Wish::of(table, shape);
    wish.columns.extend(wanted.iter().cloned());
    wish.columns = unique(wish.columns, &wish.timestamp.name);
    make(&wish)
}

/// `CREATE TABLE` as wanted.
pub fn make(wish: &Wish) -> String {
    let (table, timestamp) = (quoted(&wish.table), quoted(&wish.timestamp.name));
    let kind = wish.timestamp.kind.unwrap_or(ColumnType::Timestamp);
    let mut sql = format!("CREATE TABLE IF NOT EXISTS {table} ({timestamp} {kind}");
    for column in &wish.columns {
        sql.push_str(&format!(", {} {}", quoted(&column.name), column.kind));
    }
    let partition_by = wish.partition_by.unwrap_or("DAY");
    sql.push_str(&format!(") TIMESTAMP({timestamp}) PARTITION BY {partition_by}"));
    if let Some(ttl) = wish.ttl.filter(|ttl| *ttl != Ttl::Hours(0)) {
        sql.push_str(&format!(" TTL {ttl}"));
    }
    sql.push_str(" WAL");
    if !wish.upsert_keys.is_empty() {
        sql.push_str(&format!(" DEDUP UPSERT KEYS({})", list(&wish.upsert_keys)));
    }
    sql
}

fn list(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    names.join(", ")
}

/// `ALTER TABLE … ALTER COLUMN … TYPE`.
pub fn alter_column(table: &str, column: &str, kind: ColumnType) -> String {
    format!("ALTER TABLE {} ALTER COLUMN {} TYPE {kind}", quoted(table), quoted(column))
}

/// `ALTER TABLE … DEDUP ENABLE`, which also replaces the keys that a table has.
pub fn enable_upserts(table: &str, keys: &[String]) -> String {
    format!("ALTER TABLE {} DEDUP ENABLE UPSERT KEYS({})", quoted(table), list(keys))
}

/// `ALTER TABLE … ADD COLUMN` for one column.
pub fn add_column(table: &str, column: &Wanted) -> String {
    let (table, name) = (quoted(table), quoted(&column.name));
    format!("ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {name} {}", column.kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Metadata;

    #[test]
    fn a_table_is_made_as_declared() {
        let mut shape = Shape {
            timestamp_column: "ts".into(),
            symbols: vec!["sensor".into()],
            columns: vec![("temperature".into(), ColumnType::Double)],
            metadata: Metadata { offset: Some("kafka_offset".into()), ..Metadata::default() },
            ..Shape::plain("readings")
        };
        shape.create.ttl = Some(Ttl::Hours(30 * 24));
        shape.create.upsert_keys = vec!["ts".into(), "kafka_offset".into()];
        let wanted = [Wanted { name: "we\"ird".into(), kind: ColumnType::Varchar }];
        assert_eq!(
            create(&shape, "readings", &wanted),
            "CREATE TABLE IF NOT EXISTS \"readings\" (\"ts\" TIMESTAMP, \"kafka_offset\" LONG, \
             \"sensor\" SYMBOL, \"temperature\" DOUBLE, \"we\"\"ird\" VARCHAR) TIMESTAMP(\"ts\") \
             PARTITION BY DAY TTL 30 DAYS WAL DEDUP UPSERT KEYS(\"ts\", \"kafka_offset\")"
        );
        assert_eq!(
            add_column("readings", &wanted[0]),
            "ALTER TABLE \"readings\" ADD COLUMN IF NOT EXISTS \"we\"\"ird\" VARCHAR"
        );
    }
}
