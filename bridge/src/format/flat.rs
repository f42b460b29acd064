//! What formats with schemas have in common when nested values become columns: names joined by a
//! separator, for what a schema names (`Namer`) and for what only the data knows (`Paths`); where
//! something is wrong; and that no column comes twice in a row.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bridge_abi::Cell;

use super::Refused;
use super::walk::CELLS_MAX;
use crate::names::Names;
use crate::reject::Reason;

/// Bytes of a column's name: more than any target has.
const PATH_BYTES_MAX: usize = 1_024;

/// How columns are named.
#[derive(Clone, Copy)]
pub(super) struct Naming<'a> {
    pub(super) names: &'a Names,
    /// Stands between the names of nested records.
    pub(super) separator: &'a str,
    /// Put before all of them.
    pub(super) prefix: &'a str,
    /// The column of a value that is no record.
    pub(super) single: &'a str,
}

/// Names the columns of a schema while it is compiled.
pub(super) struct Namer<'a> {
    naming: Naming<'a>,
    path: String,
    /// Names in the path.
    level: usize,
    /// Counted before names are spent on them.
    columns_left: usize,
}

impl<'a> Namer<'a> {
    /// At a schema's root.
    pub(super) fn new(naming: Naming<'a>) -> Namer<'a> {
        Namer { naming, path: naming.prefix.to_owned(), level: 0, columns_left: CELLS_MAX }
    }

    /// Where the schema is at hand.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The same, ready for a name to be joined.
    pub(super) fn path_to_names(&self) -> Box<str> {
        let separator = if self.level > 0 { self.naming.separator } else { "" };
        format!("{}{separator}", self.path).into()
    }

    /// Goes below a name; what it answers is to be given to [`Namer::leave`].
    pub(super) fn enter(&mut self, name: &str) -> Result<usize, Refused> {
        let outer = self.path.len();
        if self.level > 0 {
            self.path.push_str(self.naming.separator);
        }
        self.path.push_str(name);
        if self.path.len() > PATH_BYTES_MAX {
            let message = format!("a column's name is longer than {PATH_BYTES_MAX} bytes");
            return Err((Reason::BadName, message));
        }
        self.level += 1;
        Ok(outer)
    }

    /// Goes back to where it was.
    pub(super) fn leave(&mut self, outer: usize) {
        self.level -= 1;
        self.path.truncate(outer);
    }

    /// The number of the column at the path.
    pub(super) fn column(&mut self) -> Result<u16, Refused> {
        self.columns_left = self.columns_left.checked_sub(1).ok_or_else(|| {
            let message = format!("the schema has more than {CELLS_MAX} fields");
            (Reason::TooManyColumns, message)
        })?;
        let name = if self.level == 0 { self.naming.single } else { self.path.as_str() };
        self.naming.names.columns.intern(name).ok_or_else(|| {
            (Reason::TooManyColumns, format!("`{name}` is one name too many for the pipeline"))
        })
    }
}

/// Why a path gives no column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unnamed {
    /// The pipeline has as many names as it may.
    TooMany,
    /// The name is too long.
    Long,
}

impl fmt::Display for Unnamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unnamed::TooMany => f.write_str("one name too many for the pipeline"),
            Unnamed::Long => write!(f, "a column's name is longer than {PATH_BYTES_MAX} bytes"),
        }
    }
}

/// The names of columns that the data gave, and their numbers; and the path at hand.
pub(super) struct Paths {
    pub(super) names: Arc<Names>,
    separator: String,
    ids: HashMap<Box<str>, u16, foldhash::fast::FixedState>,
    pub(super) path: String,
}

impl Paths {
    /// None yet.
    pub(super) fn new(names: Arc<Names>, separator: &str) -> Paths {
        let separator = separator.to_owned();
        Paths { names, separator, ids: HashMap::default(), path: String::new() }
    }

    /// Begins at a path.
    pub(super) fn begin(&mut self, path: &str) {
        self.path.clear();
        self.path.push_str(path);
    }

    /// The number of the column at the path.
    pub(super) fn column(&mut self) -> Result<u16, Unnamed> {
        if let Some(id) = self.ids.get(self.path.as_str()) {
            return Ok(*id);
        }
        let id = self.names.columns.intern(&self.path).ok_or(Unnamed::TooMany)?;
        self.ids.insert(self.path.as_str().into(), id);
        Ok(id)
    }

    /// Goes below a name, with the separator before it.
    pub(super) fn enter(&mut self, name: &str) -> Result<(), Unnamed> {
        self.path.push_str(&self.separator);
        self.append(name)
    }

    /// Appends a name to a path that ends where it begins.
    pub(super) fn append(&mut self, name: &str) -> Result<(), Unnamed> {
        self.path.push_str(name);
        if self.path.len() > PATH_BYTES_MAX { Err(Unnamed::Long) } else { Ok(()) }
    }

    /// The path where something went wrong.
    pub(super) fn place(&self) -> Place {
        Place::Path(self.path.chars().take(100).collect::<String>().into())
    }
}

/// Where something is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Value,
    Column(u16),
    Path(Box<str>),
}

impl Place {
    /// This one, unless a place further in is known.
    #[cold]
    pub(super) fn or_column(self, column: u16) -> Place {
        if self == Place::Value { Place::Column(column) } else { self }
    }

    /// What is wrong, with its place before it.
    #[cold]
    pub(super) fn told(self, names: &Names, bad: &dyn fmt::Display) -> String {
        let path = match self {
            Place::Value => None,
            Place::Column(column) => names.columns.name(column).map(|name| name.to_string()),
            Place::Path(path) => Some(path.into()).filter(|path: &String| !path.is_empty()),
        };
        match path {
            Some(path) => format!("`{path}`: {bad}"),
            None => format!("the value: {bad}"),
        }
    }
}

/// Of the cells of one row, those that come last for their column.
pub(super) fn keep_last(cells: &mut Vec<Cell>, start: usize) {
    let mut kept = start;
    for index in start..cells.len() {
        let cell = cells[index];
        match cells[start..kept].iter().position(|known| known.column == cell.column) {
            Some(at) => cells[start + at] = cell,
            None => {
                cells[kept] = cell;
                kept += 1;
            }
        }
    }
    cells.truncate(kept);
}
