//! The statements that make tables and columns.

use super::table::Wanted;
use crate::shape::{ColumnType, Shape};

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
        columns.push(Wanted { name: name.clone(), kind: ColumnType::Symbol });
    }
    for (name, kind) in &shape.columns {
        columns.push(Wanted { name: name.clone(), kind: *kind });
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

/// `CREATE TABLE` for the shape, with these columns besides its own.
pub fn create(shape: &Shape, table: &str, wanted: &[Wanted]) -> String {
    let mut columns = own_columns(shape);
    columns.extend(wanted.iter().cloned());
    let columns = unique(columns, &shape.timestamp_column);
    let timestamp = quoted(&shape.timestamp_column);
    let stamp_kind = shape
        .columns
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(&shape.timestamp_column))
        .map_or(ColumnType::Timestamp, |(_, kind)| *kind);
    let mut sql = format!("CREATE TABLE IF NOT EXISTS {} ({timestamp} {stamp_kind}", quoted(table));
    for column in &columns {
        sql.push_str(&format!(", {} {}", quoted(&column.name), column.kind));
    }
    let create = &shape.create;
    sql.push_str(&format!(") TIMESTAMP({timestamp}) PARTITION BY {}", create.partition_by));
    if let Some(ttl) = &create.ttl {
        sql.push_str(&format!(" TTL {ttl}"));
    }
    sql.push_str(" WAL");
    if !create.upsert_keys.is_empty() {
        let keys: Vec<String> = create.upsert_keys.iter().map(|key| quoted(key)).collect();
        sql.push_str(&format!(" DEDUP UPSERT KEYS({})", keys.join(", ")));
    }
    sql
}

/// `ALTER TABLE … DEDUP ENABLE`, which also replaces the keys that a table has.
pub fn enable_upserts(table: &str, keys: &[String]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| quoted(key)).collect();
    format!("ALTER TABLE {} DEDUP ENABLE UPSERT KEYS({})", quoted(table), keys.join(", "))
}

/// `ALTER TABLE … ADD COLUMN` for one column.
pub fn add_column(table: &str, column: &Wanted) -> String {
    let (table, name) = (quoted(table), quoted(&column.name));
    format!("ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {name} {}", column.kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{Create, Metadata, Template, Timestamp, Written};

    #[test]
    fn a_table_is_made_as_declared() {
        let shape = Shape {
            table: Template::parse("readings").expect("a name"),
            timestamp: Timestamp::Field { field: "ts".into(), written: Written::Auto },
            timestamp_column: "ts".into(),
            symbols: vec!["sensor".into()],
            columns: vec![("temperature".into(), ColumnType::Double)],
            rename: vec![],
            only: None,
            drop: vec![],
            metadata: Metadata { offset: Some("kafka_offset".into()), ..Metadata::default() },
            columns_max: 500,
            create: Create {
                tables: true,
                columns: true,
                partition_by: "DAY".into(),
                ttl: Some("30 DAYS".into()),
                upsert_keys: vec!["ts".into(), "kafka_offset".into()],
            },
        };
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
