//! Arrays of objects as parallel arrays: for each field of the objects an array of its values, in
//! their order. Numbers become an array of doubles, in which NaN stands for what is null or not
//! there; a field that has anything else becomes the JSON of its values, with null for these.

use bridge_abi::{Cell, Kind};
use simd_json::{Node, StaticNode};

use super::super::json::{number, write_json};
use super::{DEPTH_MAX, TakeApart, after, numbers_cell, set};
use crate::batch::RowBatch;
use crate::format::Refused;
use crate::format::walk::CELLS_MAX;
use crate::reject::Reason;

/// Values of one array, at most, with those that are not there.
const VALUES_MAX: usize = 1 << 20;

/// The values of one field: an index into the tape for each object that has it.
struct Field {
    path: String,
    values: Vec<Option<usize>>,
}

/// Whether a cell looks like the JSON of an array of objects.
pub(super) fn may_be_objects(rows: &RowBatch, cell: &Cell) -> bool {
    if cell.kind != Kind::Text as u8 {
        return false;
    }
    let inner = rows.bytes_of(cell).trim_ascii_start().strip_prefix(b"[");
    inner.is_some_and(|inner| {
        let inner = inner.trim_ascii_start();
        inner.starts_with(b"{") || inner.starts_with(b"null")
    })
}

impl TakeApart {
    /// Takes apart all arrays of objects of the row that begins at `start`.
    pub(super) fn split_all(&mut self, start: usize, rows: &mut RowBatch) -> Result<(), Refused> {
        let kept = self.explode.as_ref().map(|exploded| exploded.array);
        let mut at = start;
        let end = rows.cells.len();
        for _ in start..end {
            let cell = rows.cells[at];
            if Some(cell.column) != kept
                && may_be_objects(rows, &cell)
                && self.split(&cell, start, rows)?
            {
                rows.cells.remove(at);
            } else {
                at += 1;
            }
        }
        Ok(())
    }

    /// Appends the arrays that an array of objects becomes; false if it is none.
    fn split(&mut self, array: &Cell, start: usize, rows: &mut RowBatch) -> Result<bool, Refused> {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        text.extend_from_slice(rows.bytes_of(array));
        let mut parser = std::mem::take(&mut self.parser);
        let mut done = false;
        let read = parser.parse(&text, DEPTH_MAX, |tape| {
            if let Some(fields) = fields_of(tape, &self.separator)? {
                self.append(array.column, tape, &fields, start, rows)?;
                done = true;
            }
            Ok(())
        });
        (self.text, self.parser) = (text, parser);
        match read {
            // Text that only looks like it.
            Err((Reason::Malformed, _)) => Ok(false),
            read => read.map(|()| done),
        }
    }

    fn append(
        &mut self,
        array: u16,
        tape: &[Node<'_>],
        fields: &[Field],
        start: usize,
        rows: &mut RowBatch,
    ) -> Result<(), Refused> {
        let array = self.names.columns.name(array).unwrap_or_default();
        for Field { path, values } in fields {
            let column = self.column(&format!("{array}{}{path}", self.separator))?;
            let is_number = |at: usize| number(&tape[at]).is_some();
            let is_null = |at: usize| matches!(tape[at], Node::Static(StaticNode::Null));
            let there = || values.iter().flatten().copied();
            let numeric = there().any(is_number) && there().all(|at| is_number(at) || is_null(at));
            let cell = match numeric {
                true => {
                    let of = |at: &Option<usize>| at.and_then(|at| number(&tape[at]));
                    let numbers: Vec<f64> =
                        values.iter().map(|at| of(at).unwrap_or(f64::NAN)).collect();
                    numbers_cell(column, &[numbers.len() as u32], &numbers, rows)
                }
                false => None,
            };
            let cell = cell.unwrap_or_else(|| words_cell(column, tape, values, rows));
            if rows.cells.len() - start >= CELLS_MAX {
                let detail = format!("the record has more than {CELLS_MAX} fields");
                return Err((Reason::TooManyColumns, detail));
            }
            set(rows, start, cell);
        }
        Ok(())
    }
}

/// The JSON of values, as text.
fn words_cell(
    column: u16,
    tape: &[Node<'_>],
    values: &[Option<usize>],
    rows: &mut RowBatch,
) -> Cell {
    let at = rows.arena.len();
    rows.arena.push(b'[');
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            rows.arena.push(b',');
        }
        match value {
            Some(node) => write_json(tape, *node, &mut rows.arena),
            None => rows.arena.extend_from_slice(b"null"),
        }
    }
    rows.arena.push(b']');
    let len = (rows.arena.len() - at) as u32;
    Cell { column, kind: Kind::Text as u8, flags: 0, len, value: at as u64 }
}

/// The fields of an array of objects, flattened, in the order in which they come; `None` if it is
/// none. An object that is null has no field.
fn fields_of(tape: &[Node<'_>], separator: &str) -> Result<Option<Vec<Field>>, Refused> {
    let Some(Node::Array { len, .. }) = tape.first() else { return Ok(None) };
    let (mut fields, mut node, mut any) = (Vec::new(), 1, false);
    for index in 0..*len {
        match tape[node] {
            Node::Object { .. } => {
                any = true;
                let mut path = String::new();
                collect(tape, node, (index, *len), (&mut path, separator), &mut fields)?;
            }
            Node::Static(StaticNode::Null) => {}
            _ => return Ok(None),
        }
        node = after(tape, node);
    }
    Ok(any.then_some(fields))
}

/// Adds the fields of one object. Bounded: the parser's caller has checked the depth.
fn collect(
    tape: &[Node<'_>],
    node: usize,
    (index, count): (usize, usize),
    (path, separator): (&mut String, &str),
    fields: &mut Vec<Field>,
) -> Result<(), Refused> {
    let Node::Object { len, .. } = tape[node] else { return Ok(()) };
    let outer = path.len();
    let mut at = node + 1;
    for _ in 0..len {
        if let Node::String(name) = tape[at] {
            path.push_str(name);
            match tape[at + 1] {
                Node::Object { .. } => {
                    path.push_str(separator);
                    collect(tape, at + 1, (index, count), (&mut *path, separator), fields)?;
                }
                _ => field(path, count, fields)?.values[index] = Some(at + 1),
            }
            path.truncate(outer);
        }
        at = after(tape, at + 1);
    }
    Ok(())
}

fn field<'a>(
    path: &str,
    count: usize,
    fields: &'a mut Vec<Field>,
) -> Result<&'a mut Field, Refused> {
    let place = match fields.iter().position(|field| field.path == path) {
        Some(place) => place,
        None => {
            if (fields.len() + 1).saturating_mul(count) > VALUES_MAX || fields.len() >= CELLS_MAX {
                let detail = "an array of objects has too many fields for parallel arrays";
                return Err((Reason::TooManyColumns, detail.to_owned()));
            }
            fields.push(Field { path: path.to_owned(), values: vec![None; count] });
            fields.len() - 1
        }
    };
    Ok(&mut fields[place])
}
