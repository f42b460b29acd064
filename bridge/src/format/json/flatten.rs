//! A tape's object into cells, names joined by the separator and interned once.

use std::collections::HashMap;
use std::sync::Arc;

use bridge_abi::{Cell, Kind};
use simd_json::{Node, StaticNode};

use super::array;
use crate::batch::RowBatch;
use crate::format::Refused;
use crate::format::walk::CELLS_MAX;
use crate::names::Names;
use crate::reject::Reason;

/// Turns objects into cells.
pub(in super::super) struct Flattener {
    separator: String,
    names: Arc<Names>,
    ids: HashMap<Box<str>, u16, foldhash::fast::FixedState>,
    path: String,
    prefix: usize,
}

impl Flattener {
    /// Every column's name begins with `prefix`.
    pub(in super::super) fn new(separator: &str, prefix: &str, names: Arc<Names>) -> Flattener {
        Flattener {
            separator: separator.to_owned(),
            names,
            ids: HashMap::default(),
            path: prefix.to_owned(),
            prefix: prefix.len(),
        }
    }

    /// What every column's name begins with.
    pub(super) fn prefix(&self) -> &str {
        &self.path[..self.prefix]
    }

    /// What stands between the names of nested objects.
    pub(super) fn separator(&self) -> &str {
        &self.separator
    }

    /// The column of a path that was among those of an object.
    pub(super) fn known(&self, path: &str) -> Option<u16> {
        self.ids.get(path).copied()
    }

    /// Appends the cells of the object at `node`; a name that comes twice keeps its last value.
    pub(in super::super) fn object(
        &mut self,
        tape: &[Node<'_>],
        node: usize,
        rows: &mut RowBatch,
    ) -> Result<(), Refused> {
        self.object_into(tape, node, rows.cells.len(), rows)
    }

    /// The same into a row that begins at `start` and has cells already.
    pub(in super::super) fn object_into(
        &mut self,
        tape: &[Node<'_>],
        node: usize,
        start: usize,
        rows: &mut RowBatch,
    ) -> Result<(), Refused> {
        self.path.truncate(self.prefix);
        self.walk(tape, node, start, rows)
    }

    /// The same of a tape's first object, below a path that ends where its names begin.
    pub(in super::super) fn object_below(
        &mut self,
        path: &str,
        tape: &[Node<'_>],
        rows: &mut RowBatch,
    ) -> Result<(), Refused> {
        let start = rows.cells.len();
        self.path.truncate(self.prefix);
        self.path.push_str(path);
        self.walk(tape, 0, start, rows)
    }

    fn walk(
        &mut self,
        tape: &[Node<'_>],
        node: usize,
        start: usize,
        rows: &mut RowBatch,
    ) -> Result<(), Refused> {
        let Node::Object { len, .. } = tape[node] else { return Ok(()) };
        let outer = self.path.len();
        let mut at = node + 1;
        for _ in 0..len {
            let Node::String(name) = tape[at] else {
                return Err((Reason::Malformed, "a name is not a string".to_owned()));
            };
            self.path.push_str(name);
            if let Node::Object { .. } = tape[at + 1] {
                self.path.push_str(&self.separator);
                // Bounded: the parser's caller has checked the depth.
                self.walk(tape, at + 1, start, rows)?;
            } else {
                let column = self.column()?;
                let cell = cell(tape, at + 1, column, rows);
                push(rows, start, cell)?;
            }
            self.path.truncate(outer);
            at = after(tape, at + 1);
        }
        Ok(())
    }

    /// The number of the column at the path.
    fn column(&mut self) -> Result<u16, Refused> {
        if let Some(id) = self.ids.get(self.path.as_str()) {
            return Ok(*id);
        }
        let id = self.names.columns.intern(&self.path).ok_or_else(|| {
            let path = &self.path;
            (Reason::TooManyColumns, format!("`{path}` is one name too many for the pipeline"))
        })?;
        self.ids.insert(self.path.as_str().into(), id);
        Ok(id)
    }
}

/// Adds a cell; the last one of a column counts.
fn push(rows: &mut RowBatch, start: usize, cell: Cell) -> Result<(), Refused> {
    if let Some(same) = rows.cells[start..].iter_mut().find(|known| known.column == cell.column) {
        *same = cell;
        return Ok(());
    }
    if rows.cells.len() - start >= CELLS_MAX {
        let detail = format!("the record has more than {CELLS_MAX} fields");
        return Err((Reason::TooManyColumns, detail));
    }
    rows.cells.push(cell);
    Ok(())
}

/// The index after a node and all that it holds.
pub(in super::super) fn after(tape: &[Node<'_>], node: usize) -> usize {
    match tape[node] {
        Node::Object { count, .. } | Node::Array { count, .. } => node + 1 + count,
        _ => node + 1,
    }
}

/// The cell of a node that is no object.
pub(in super::super) fn cell(
    tape: &[Node<'_>],
    node: usize,
    column: u16,
    rows: &mut RowBatch,
) -> Cell {
    let plain = |kind: Kind, value: u64| Cell { column, kind: kind as u8, flags: 0, len: 0, value };
    match tape[node] {
        Node::String(text) => rows.cell_bytes(column, Kind::Text, 0, text.as_bytes()),
        Node::Static(StaticNode::Null) => plain(Kind::Null, 0),
        Node::Static(StaticNode::Bool(value)) => plain(Kind::Bool, u64::from(value)),
        Node::Static(StaticNode::I64(value)) => plain(Kind::I64, value as u64),
        Node::Static(StaticNode::U64(value)) => match i64::try_from(value) {
            Ok(value) => plain(Kind::I64, value as u64),
            Err(_) => plain(Kind::F64, (value as f64).to_bits()),
        },
        Node::Static(StaticNode::F64(value)) => plain(Kind::F64, value.to_bits()),
        Node::Array { .. } | Node::Object { .. } => array::cell(tape, node, column, rows),
    }
}
