//! The columns of CSV, by table: what was met first stands first, and nothing is ever moved or
//! taken out. So a layout is told by how many columns it has.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// How the rows of a payload are laid out: by so many of their table's columns; 0 where rows name
/// their columns themselves.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Layout(pub u32);

/// The columns of all tables of a sink, shared by its lanes.
#[derive(Debug)]
pub struct Layouts {
    columns_max: usize,
    /// Locked once for each column that a lane has not met, and for each file's header.
    tables: Mutex<HashMap<String, Vec<Arc<str>>>>,
}

impl Layouts {
    /// No tables yet; a table has at most so many columns.
    pub fn new(columns_max: usize) -> Layouts {
        Layouts { columns_max, tables: Mutex::default() }
    }

    /// The place of a column, which is added if it is new; `None` if there is no more room.
    pub fn place(&self, table: &str, name: &str) -> Option<usize> {
        let mut tables = self.tables.lock().expect("no one panics with it");
        if !tables.contains_key(table) {
            tables.insert(table.to_owned(), Vec::new());
        }
        let columns = tables.get_mut(table)?;
        if let Some(place) = columns.iter().position(|known| **known == *name) {
            return Some(place);
        }
        (columns.len() < self.columns_max).then(|| {
            columns.push(name.into());
            columns.len() - 1
        })
    }

    /// The layout with all columns that a table has now.
    pub fn newest(&self, table: &str) -> Layout {
        let tables = self.tables.lock().expect("no one panics with it");
        Layout(tables.get(table).map_or(0, |columns| columns.len() as u32))
    }

    /// The columns of a layout.
    pub fn columns(&self, table: &str, layout: Layout) -> Vec<Arc<str>> {
        let tables = self.tables.lock().expect("no one panics with it");
        let columns = tables.get(table).map_or(&[][..], Vec::as_slice);
        columns.iter().take(layout.0 as usize).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_as_they_were_met_and_have_a_bound() {
        let layouts = Layouts::new(3);
        assert_eq!(layouts.place("t", "a"), Some(0));
        assert_eq!(layouts.place("t", "b"), Some(1));
        let before = layouts.newest("t");
        assert_eq!(layouts.place("t", "c"), Some(2));
        assert_eq!(layouts.place("t", "a"), Some(0));
        assert_eq!(layouts.place("t", "d"), None, "three columns are the most");
        assert_eq!(layouts.place("u", "d"), Some(0), "another table has its own");
        let names = |layout| layouts.columns("t", layout).join(",");
        assert_eq!((names(before), names(layouts.newest("t"))), ("a,b".into(), "a,b,c".into()));
        assert_eq!(layouts.newest("nobody"), Layout(0));
    }
}
