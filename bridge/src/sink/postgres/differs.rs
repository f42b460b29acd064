//! From a table as it is to one as it is declared: the statements that lead there, and what is left
//! to a person. Pure. Nothing that is proposed loses a value, or rewrites a table.

use super::layout::{
    Found, Wanted, add_column, create, declared_columns, own_columns, quote, quote_all, quote_table,
};
use super::value::Wire;
use crate::shape::Shape;
use crate::sink::{Migration, Obstacle};

/// A table as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// Its columns, in order.
    pub found: Vec<Found>,
    /// Whether rows can be replaced by the sink's key.
    pub is_unique: bool,
    /// Whether it has a primary key, be it another.
    pub has_primary: bool,
}

/// Compares what a pipeline's shape wants of a table with what is there. `key` is the sink's, empty
/// where every row is added.
pub fn differs(table: &str, shape: &Shape, key: &[String], state: Option<&State>) -> Migration {
    let declared = shape.declared.iter().find(|d| d.name.eq_ignore_ascii_case(table));
    let has_stamp = declared.is_some_and(|declared| declared.timestamp);
    let shape = shape.of(table);
    let wanted = wanted(shape, has_stamp);
    let mut migration = Migration { table: table.to_owned(), ..Migration::default() };
    let is_there = |name: &str| state.is_some_and(|state| find(&state.found, name).is_some());
    let is_wanted = |name: &str| wanted.iter().any(|wanted| wanted.name == name);
    for column in key.iter().filter(|name| !is_wanted(name) && !is_there(name)) {
        migration.obstacles.push(Obstacle {
            what: format!("column {column} is of the key, and of a type that nobody says"),
            way: format!("name it under `columns`, such as {column} = \"long\""),
        });
    }
    let Some(state) = state else {
        migration.is_missing = true;
        if migration.obstacles.is_empty() {
            migration.statements.push(create(table, &wanted, key));
        }
        return migration;
    };
    columns(table, &wanted, state, &mut migration);
    if !key.is_empty() && !state.is_unique {
        let (table, keys) = (quote_table(table), quote_all(key));
        migration.statements.push(match state.has_primary {
            true => format!("CREATE UNIQUE INDEX ON {table} ({keys})"),
            false => format!("ALTER TABLE {table} ADD PRIMARY KEY ({keys})"),
        });
    }
    let is_beside = |name: &&String| {
        let same = |other: &String| other.eq_ignore_ascii_case(name);
        !wanted.iter().any(|wanted| same(&wanted.name)) && !key.iter().any(same)
    };
    let names = state.found.iter().map(|found| &found.name);
    migration.beside = names.filter(is_beside).cloned().collect();
    if shape.create.strict && !migration.beside.is_empty() {
        let beside = migration.beside.join(", ");
        migration.obstacles.push(Obstacle {
            what: format!("{beside}: there and not declared, and the table is strict"),
            way: "declare them, or ALTER TABLE … DROP COLUMN, which loses their values".into(),
        });
    }
    migration
}

/// Whether a difference comes to nothing as rows come.
pub fn is_made_by_rows(migration: &Migration, shape: &Shape) -> bool {
    let is_made = |statement: &String| match migration.is_missing {
        true => shape.create.tables,
        false => shape.create.columns && statement.contains(" ADD COLUMN "),
    };
    migration.obstacles.is_empty() && migration.statements.iter().all(is_made)
}

/// Every column that is wanted: the timestamp's also where nothing but the declaration asks for it.
fn wanted(shape: &Shape, has_stamp: bool) -> Vec<Wanted> {
    let mut all = own_columns(shape);
    if has_stamp && all.iter().all(|wanted| wanted.name != shape.timestamp_column) {
        let name = shape.timestamp_column.clone();
        all.insert(0, Wanted { name, sql: "timestamp with time zone".to_owned() });
    }
    for wanted in declared_columns(shape) {
        if all.iter().all(|known| known.name != wanted.name) {
            all.push(wanted);
        }
    }
    all
}

fn columns(table: &str, wanted: &[Wanted], state: &State, migration: &mut Migration) {
    for wanted in wanted {
        match find(&state.found, &wanted.name) {
            None => migration.statements.push(add_column(table, wanted)),
            Some(found) if is_same(&wanted.sql, found) => {}
            Some(found) => {
                let (name, shown, sql) = (&found.name, &found.shown, &wanted.sql);
                let (table, column) = (quote_table(table), quote(name));
                migration.obstacles.push(Obstacle {
                    what: format!("column {name} is {shown}, declared is {sql}"),
                    way: format!(
                        "ALTER TABLE {table} ALTER COLUMN {column} TYPE {sql}, which locks and \
                         rewrites the table"
                    ),
                });
            }
        }
    }
}

fn find<'a>(found: &'a [Found], name: &str) -> Option<&'a Found> {
    let exact = found.iter().find(|found| found.name == name);
    exact.or_else(|| found.iter().find(|found| found.name.eq_ignore_ascii_case(name)))
}

/// Whether a column is what was declared, as far as the configuration's words can tell: it has one
/// for all texts, and one for both kinds of timestamps.
fn is_same(sql: &str, found: &Found) -> bool {
    let wire = match sql {
        "boolean" => Some(Wire::Bool),
        "smallint" => Some(Wire::Int2),
        "integer" => Some(Wire::Int4),
        "bigint" => Some(Wire::Int8),
        "real" => Some(Wire::Float4),
        "double precision" => Some(Wire::Float8),
        "text" => Some(Wire::Text),
        "bytea" => Some(Wire::Bytea),
        "uuid" => Some(Wire::Uuid),
        "inet" => Some(Wire::Inet(false)),
        "timestamp with time zone" => Some(Wire::Timestamp),
        "double precision[]" => Some(Wire::Floats),
        _ => None,
    };
    match (wire, found.wire) {
        (Some(wanted), Some(found)) => wanted == found,
        // A numeric's digits count; those of a domain cannot be told.
        (None, Some(Wire::Numeric(_))) => found.is_domain || found.shown == sql,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::tests::column;
    use super::*;
    use crate::shape::{ColumnType, Declared};

    /// A pipeline whose table is declared: a long, a symbol, a decimal, and the timestamp.
    fn shape(strict: bool) -> Shape {
        let mut own = Shape::plain("t");
        own.columns =
            vec![("n".into(), ColumnType::Long), ("price".into(), ColumnType::Decimal(18, 3))];
        own.symbols = vec!["site".into()];
        own.timestamp_column = "ts".into();
        own.create.strict = strict;
        let declared = Declared { name: "t".into(), shape: own, ours: true, timestamp: true };
        Shape { declared: vec![declared], ..Shape::plain("t") }
    }

    fn state(found: Vec<Found>) -> State {
        State { found, is_unique: false, has_primary: false }
    }

    #[test]
    fn a_missing_table_is_made_with_its_key() {
        let migration = differs("t", &shape(true), &["n".to_owned()], None);
        assert!(migration.is_missing && migration.obstacles.is_empty());
        assert_eq!(
            migration.statements,
            ["CREATE TABLE IF NOT EXISTS \"t\" (\"ts\" timestamp with time zone, \"n\" bigint, \
              \"price\" numeric(18,3), \"site\" text, PRIMARY KEY (\"n\"))"]
        );
        let migration = differs("t", &shape(true), &["id".to_owned()], None);
        assert!(migration.statements.is_empty());
        assert!(migration.obstacles[0].what.contains("column id is of the key"));
    }

    #[test]
    fn what_is_there_is_held_against_what_is_declared() {
        let price = Found { shown: "numeric(18,3)".into(), ..column("price", 1700) };
        let found = || vec![column("n", 20), price.clone(), column("site", 1043), column("x", 25)];
        let key = ["n".to_owned()];
        let migration = differs("t", &shape(false), &key, Some(&state(found())));
        assert_eq!(
            migration.statements,
            [
                "ALTER TABLE \"t\" ADD COLUMN IF NOT EXISTS \"ts\" timestamp with time zone",
                "ALTER TABLE \"t\" ADD PRIMARY KEY (\"n\")"
            ]
        );
        assert!(migration.obstacles.is_empty(), "{:?}", migration.obstacles);
        assert_eq!(migration.beside, ["x"]);
        assert!(!is_made_by_rows(&migration, &shape(false)));
        // Strict minds what is beside; a type is not altered.
        let mut found = found();
        (found[0], found[1].shown) = (column("n", 23), "numeric(9,3)".into());
        found.push(column("ts", 1114));
        let state = State { found, is_unique: true, has_primary: true };
        let migration = differs("t", &shape(true), &key, Some(&state));
        assert!(migration.statements.is_empty(), "{:?}", migration.statements);
        let said: Vec<&str> = migration.obstacles.iter().map(|o| o.what.as_str()).collect();
        assert!(said[0].starts_with("column n is") && said[1].starts_with("column price is"));
        assert!(said[2].starts_with("x: there and not declared"), "{said:?}");
    }

    #[test]
    fn another_primary_key_stays() {
        let state = State { has_primary: true, ..state(vec![column("n", 20)]) };
        let shape = Shape::plain("t");
        let migration = differs("t", &shape, &["n".to_owned()], Some(&state));
        assert_eq!(migration.statements, ["CREATE UNIQUE INDEX ON \"t\" (\"n\")"]);
        let rows = differs("t", &shape, &[], None);
        assert!(is_made_by_rows(&rows, &shape));
    }
}
