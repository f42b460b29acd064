//! Tables that are nowhere: each has the columns that were ever asked of it, as the first one
//! who asked wanted them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::reject::Reason;
use crate::shape::Shape;
use crate::sink::questdb::{Denied, Table, Tables, Wanted};

/// Imagined tables of one sink, shared by its lanes.
pub struct Imagined {
    shape: Arc<Shape>,
    /// Why a name cannot be a table's, beside what line protocol itself refuses.
    rule: fn(&str) -> Option<String>,
    /// By lower-case name. Locked once for each table or column nobody has met.
    known: Mutex<HashMap<String, Arc<Table>>>,
}

impl Imagined {
    /// No tables yet.
    pub fn new(shape: Arc<Shape>) -> Imagined {
        Imagined { shape, rule: |_| None, known: Mutex::default() }
    }

    /// The same, with a rule for names of tables.
    pub fn ruled(self, rule: fn(&str) -> Option<String>) -> Imagined {
        Imagined { rule, ..self }
    }
}

impl Tables for Imagined {
    fn resolve(&self, table: &str, wanted: &[Wanted]) -> Result<Arc<Table>, Denied> {
        if let Some(fault) = (self.rule)(table) {
            return Err(Denied::Record(Reason::BadName, fault));
        }
        let mut known = self.known.lock().expect("no one panics with it");
        let id = known.len() as i64;
        let fresh = || Arc::new(Table::imagined(&self.shape, table, id));
        let one = known.entry(table.to_lowercase()).or_insert_with(fresh);
        let lacks = |column: &Wanted| !one.columns.contains_key(&column.name.to_lowercase());
        if wanted.iter().any(lacks) {
            let mut more = Table::clone(one);
            more.add(wanted);
            // The bound that holds in a database: a hostile producer's keys would fill the memory.
            let (columns, columns_max) = (more.columns.len(), self.shape.columns_max);
            if columns > columns_max {
                let detail =
                    format!("{table} would have {columns} columns: columns_max = {columns_max}");
                return Err(Denied::Record(Reason::TooManyColumns, detail));
            }
            *one = Arc::new(more);
        }
        Ok(Arc::clone(one))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Overrides, Plan, Surroundings};
    use crate::shape::ColumnType;

    fn imagined(table: &str) -> Imagined {
        let text = format!("[pipeline.p]\ntopics = [\"t\"]\n[pipeline.p.table]\n{table}\n");
        let with = Surroundings { env: &|_| None, host: "h".into(), base: Path::new(".") };
        let plan = Plan::parse("t.toml", &text, &with, &Overrides::default());
        let plan = plan.unwrap_or_else(|mistakes| panic!("{mistakes}"));
        Imagined::new(Arc::new(plan.pipelines[0].shape.clone()))
    }

    fn wanted(name: &str, kind: ColumnType) -> Wanted {
        Wanted { name: name.to_owned(), kind }
    }

    #[test]
    fn a_table_has_what_was_ever_asked_of_it_as_it_was_asked_first() {
        let tables = imagined("symbols = [\"site\"]\nmetadata = true");
        let first = tables.resolve("A", &[wanted("x", ColumnType::Long)]);
        let again = tables.resolve("a", &[wanted("X", ColumnType::Double)]);
        let (first, again) = (first.expect("there is room"), again.expect("there is room"));
        assert!(Arc::ptr_eq(&first, &again), "one table, and nothing was lacking");
        assert_eq!(first.columns["x"], ColumnType::Long);
        assert_eq!(first.columns["site"], ColumnType::Symbol);
        assert_eq!(first.columns["kafka_offset"], ColumnType::Long);
        assert_eq!(first.timestamp, Some(("timestamp".to_owned(), ColumnType::Timestamp)));
        let other = tables.resolve("b", &[]).expect("there is room");
        assert!(other.id != first.id && !other.columns.contains_key("x"));
    }

    #[test]
    fn a_table_has_no_more_columns_than_the_shape_allows() {
        let tables = imagined("columns_max = 3");
        let two = [wanted("x", ColumnType::Long), wanted("y", ColumnType::Long)];
        tables.resolve("a", &two).expect("with the timestamp it has three");
        let denied = tables.resolve("a", &[wanted("z", ColumnType::Long)]);
        assert!(matches!(denied, Err(Denied::Record(Reason::TooManyColumns, _))), "{denied:?}");
        tables.resolve("a", &two).expect("what is there may be asked for again");
    }
}
