//! Arrays taken apart, whatever format they came in: elements that become columns
//! (`items[0].price`), arrays of objects that become parallel arrays, and an array whose elements
//! become rows. Works on decoded rows, in which such an array is its JSON as text, or an array of
//! doubles; transforms see what comes of it.
//!
//! | `items` | with `explode = "items"` | with `arrays = "parallel"` |
//! |---|---|---|
//! | `[{"p":1},{"p":2}]` | a row for each, `items_p` 1 and 2 | `items_p` = [1, 2] |
//! | `[1, 2]` | a row for each, `items` 1 and 2 | as it is |
//! | `[]`, null, missing | one row without it, or none | as it is |
//! | anything else | a rejected record | as it is |

mod parallel;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bridge_abi::{Cell, Kind, build};
use simd_json::Node;

use super::json::{Flattener, Parser, after, cell};
use super::{Refused, quoted};
use crate::batch::{Row, RowBatch};
use crate::names::Names;
use crate::reject::{Reason, Rejects, Stage};
use crate::shape::{Apart, Arrays, EmptyArray, Explode, Step};

/// Objects and arrays within one another, at most: what formats give is no deeper.
const DEPTH_MAX: usize = 128;
/// Bytes of the rows and cells of one record, at most.
const RECORD_BYTES_MAX: usize = 32 << 20;

/// Takes arrays apart, for one lane.
pub struct TakeApart {
    names: Arc<Names>,
    picks: Vec<Picks>,
    explode: Option<Exploded>,
    parallel: bool,
    separator: String,
    /// Columns that were met, by name.
    ids: HashMap<String, u16, foldhash::fast::FixedState>,
    parser: Parser,
    /// The JSON of the array at hand.
    text: Vec<u8>,
    /// The rows as they came.
    old: Vec<Row>,
}

/// Elements of one array.
struct Picks {
    array: u16,
    elements: Vec<(Vec<Step>, u16)>,
}

/// The array whose elements become rows.
struct Exploded {
    array: u16,
    name: String,
    empty: EmptyArray,
    index: Option<u16>,
    /// Of elements that are objects.
    flattener: Flattener,
}

impl TakeApart {
    /// By the shape's plan; `None` where nothing is to be done.
    pub fn new(plan: &Apart, names: &Arc<Names>) -> Option<TakeApart> {
        if plan.is_nothing() {
            return None;
        }
        // The first names of a pipeline always find room.
        let id = |name: &str| names.columns.intern(name).unwrap_or(0);
        let mut picks: Vec<Picks> = Vec::new();
        for pick in &plan.picks {
            let (array, element) = (id(&pick.array), (pick.steps.clone(), id(&pick.field)));
            match picks.iter_mut().find(|known| known.array == array) {
                Some(known) => known.elements.push(element),
                None => picks.push(Picks { array, elements: vec![element] }),
            }
        }
        let explode = plan.explode.as_ref().map(|explode| {
            let Explode { array, empty, index } = explode;
            let prefix = format!("{array}{}", plan.separator);
            Exploded {
                array: id(array),
                name: array.clone(),
                empty: *empty,
                index: index.as_deref().map(id),
                flattener: Flattener::new(&plan.separator, &prefix, Arc::clone(names)),
            }
        });
        Some(TakeApart {
            names: Arc::clone(names),
            picks,
            explode,
            parallel: plan.arrays == Arrays::Parallel,
            separator: plan.separator.clone(),
            ids: HashMap::default(),
            parser: Parser::default(),
            text: Vec::new(),
            old: Vec::new(),
        })
    }

    /// Replaces the rows by what becomes of them. Rows of a record that is refused are left to the
    /// caller to prune. Once what it made takes [`RowBatch::room`], the rest is left in
    /// [`RowBatch::rest`].
    pub fn apply(&mut self, rows: &mut RowBatch, rejects: &mut Rejects) {
        std::mem::swap(&mut self.old, &mut rows.rows);
        rows.rows.clear();
        let old = std::mem::take(&mut self.old);
        let before = rows.held_bytes();
        let mut record = Record { source: None, number: 0, refused: false, held: before };
        for (at, row) in old.iter().enumerate() {
            if record.source != Some(row.source) {
                let held = rows.held_bytes();
                if rows.room.is_some_and(|room| held - before > room) {
                    rows.rest.extend_from_slice(&old[at..]);
                    break;
                }
                record = Record { source: Some(row.source), number: 0, refused: false, held };
            }
            if record.refused {
                continue;
            }
            if let Err((reason, detail)) = self.row(row, &mut record, rows) {
                rejects.push(row.source, Stage::Format, reason, detail);
                record.refused = true;
            }
        }
        self.old = old;
    }

    fn row(&mut self, row: &Row, record: &mut Record, rows: &mut RowBatch) -> Result<(), Refused> {
        if self.explode.is_none()
            && !rows.cells_of(row).iter().any(|cell| self.concerns(rows, cell))
        {
            rows.rows.push(Row { number: record.next(), ..*row });
            return Ok(());
        }
        let start = rows.cells.len();
        let cells = row.cells as usize..row.cells as usize + usize::from(row.cell_count);
        rows.cells.extend_from_within(cells);
        self.pick(start, rows);
        if self.parallel {
            self.split_all(start, rows)?;
        }
        match self.explode.is_some() {
            true => self.explode(row, start, record, rows),
            false => {
                record.end_row(row, start, rows);
                Ok(())
            }
        }
    }

    fn concerns(&self, rows: &RowBatch, cell: &Cell) -> bool {
        self.picks.iter().any(|picks| picks.array == cell.column)
            || (self.parallel && parallel::may_be_objects(rows, cell))
    }

    /// Appends the elements that were asked for, as far as they are there.
    fn pick(&mut self, start: usize, rows: &mut RowBatch) {
        for picks in &self.picks {
            let array = rows.cells[start..].iter().find(|cell| cell.column == picks.array);
            let Some(array) = array.copied() else { continue };
            match Kind::from_u8(array.kind) {
                Some(Kind::Array) => {
                    for (steps, field) in &picks.elements {
                        let at = rows.cells.len();
                        if let Some(cell) = element(&array, steps, *field, rows) {
                            debug_assert_eq!(at, rows.cells.len());
                            set(rows, start, cell);
                        }
                    }
                }
                Some(Kind::Text) => {
                    self.text.clear();
                    self.text.extend_from_slice(rows.bytes_of(&array));
                    let found = self.parser.parse(&self.text, DEPTH_MAX, |tape| {
                        for (steps, field) in &picks.elements {
                            if let Some(node) = navigate(tape, steps) {
                                let cell = cell(tape, node, *field, rows);
                                set(rows, start, cell);
                            }
                        }
                        Ok::<(), Refused>(())
                    });
                    // Text that is no JSON has no elements.
                    drop(found);
                }
                _ => {}
            }
        }
    }

    /// A row for each element.
    fn explode(
        &mut self,
        row: &Row,
        start: usize,
        record: &mut Record,
        rows: &mut RowBatch,
    ) -> Result<(), Refused> {
        let TakeApart { explode: Some(exploded), parser, text, .. } = self else { return Ok(()) };
        let place = rows.cells[start..].iter().position(|cell| cell.column == exploded.array);
        let array = place.map(|place| rows.cells.remove(start + place));
        let outer = start..rows.cells.len();
        let before = rows.rows.len();
        match array.and_then(|cell| Some((cell, Kind::from_u8(cell.kind)?))) {
            None | Some((_, Kind::Null)) => {}
            Some((cell, Kind::Array)) => {
                let count = sides(rows.bytes_of(&cell)).first().copied().unwrap_or(0);
                for index in 0..count as usize {
                    let begin = exploded.begin(&outer, index, rows);
                    if let Some(cell) = element(&cell, &[Step::Index(index)], cell.column, rows) {
                        set(rows, begin, cell);
                    }
                    record.end_row(row, begin, rows);
                    record.within_bounds(&exploded.name, rows)?;
                }
            }
            Some((array, Kind::Text)) => {
                text.clear();
                text.extend_from_slice(rows.bytes_of(&array));
                let read = parser.parse(text, DEPTH_MAX, |tape| {
                    exploded.elements(tape, row, &outer, record, rows)
                });
                match read {
                    Err((Reason::Malformed | Reason::Empty, _)) => {
                        return Err(exploded.no_array(&quoted(text)));
                    }
                    read => read?,
                }
            }
            Some((_, kind)) => return Err(exploded.no_array(&format!("{kind:?}").to_lowercase())),
        }
        if rows.rows.len() == before && exploded.empty == EmptyArray::Row {
            record.end_row(row, start, rows);
        }
        Ok(())
    }

    /// The number of a column by its name.
    fn column(&mut self, name: &str) -> Result<u16, Refused> {
        if let Some(id) = self.ids.get(name) {
            return Ok(*id);
        }
        let id = self.names.columns.intern(name).ok_or_else(|| {
            (Reason::TooManyColumns, format!("`{name}` is one name too many for the pipeline"))
        })?;
        self.ids.insert(name.to_owned(), id);
        Ok(id)
    }
}

/// The record at hand.
struct Record {
    source: Option<u32>,
    /// Of its next row.
    number: u32,
    refused: bool,
    /// What all rows took before it.
    held: usize,
}

impl Record {
    fn next(&mut self) -> u32 {
        self.number += 1;
        self.number - 1
    }

    /// A row of the cells from `start` on.
    fn end_row(&mut self, row: &Row, start: usize, rows: &mut RowBatch) {
        let cell_count = (rows.cells.len() - start) as u16;
        let number = self.next();
        rows.rows.push(Row { number, cells: start as u32, cell_count, ..*row });
    }

    fn within_bounds(&self, name: &str, rows: &RowBatch) -> Result<(), Refused> {
        if rows.held_bytes() - self.held <= RECORD_BYTES_MAX {
            return Ok(());
        }
        let mib = RECORD_BYTES_MAX >> 20;
        let detail = format!("the rows of its `{name}` would take more than {mib} MiB");
        Err((Reason::TooLarge, detail))
    }
}

impl Exploded {
    /// The beginning of a row: the outer cells, and the index.
    fn begin(&self, outer: &Range<usize>, index: usize, rows: &mut RowBatch) -> usize {
        let begin = rows.cells.len();
        rows.cells.extend_from_within(outer.clone());
        if let Some(column) = self.index {
            let (kind, value) = (Kind::I64 as u8, index as u64);
            set(rows, begin, Cell { column, kind, flags: 0, len: 0, value });
        }
        begin
    }

    fn elements(
        &mut self,
        tape: &[Node<'_>],
        row: &Row,
        outer: &Range<usize>,
        record: &mut Record,
        rows: &mut RowBatch,
    ) -> Result<(), Refused> {
        let Some(Node::Array { len, .. }) = tape.first() else {
            return Err((Reason::Malformed, String::new()));
        };
        let mut node = 1;
        for index in 0..*len {
            let begin = self.begin(outer, index, rows);
            match tape[node] {
                Node::Object { .. } => self.flattener.object_into(tape, node, begin, rows)?,
                _ => {
                    let cell = cell(tape, node, self.array, rows);
                    set(rows, begin, cell);
                }
            }
            record.end_row(row, begin, rows);
            record.within_bounds(&self.name, rows)?;
            node = after(tape, node);
        }
        Ok(())
    }

    fn no_array(&self, shown: &str) -> Refused {
        let name = &self.name;
        (Reason::Malformed, format!("`{name}` is {shown}, no array whose elements become rows"))
    }
}

/// Gives the row that begins at `start` a cell; one of the same column is replaced.
fn set(rows: &mut RowBatch, start: usize, cell: Cell) {
    match rows.cells[start..].iter_mut().find(|known| known.column == cell.column) {
        Some(known) => *known = cell,
        None => rows.cells.push(cell),
    }
}

/// The node that steps lead to.
fn navigate(tape: &[Node<'_>], steps: &[Step]) -> Option<usize> {
    let mut node = 0;
    for step in steps {
        node = match (step, tape.get(node)?) {
            (Step::Index(index), Node::Array { len, .. }) if index < len => {
                (0..*index).fold(node + 1, |node, _| after(tape, node))
            }
            (Step::Name(name), Node::Object { len, .. }) => {
                let (mut at, mut found) = (node + 1, None);
                for _ in 0..*len {
                    // The last one of a name counts.
                    if matches!(tape[at], Node::String(known) if known == name) {
                        found = Some(at + 1);
                    }
                    at = after(tape, at + 1);
                }
                found?
            }
            _ => return None,
        };
    }
    Some(node)
}

/// The sides of an array of doubles.
fn sides(array: &[u8]) -> Vec<u32> {
    let words = array.as_chunks::<4>().0;
    let dims = words.first().map_or(0, |word| u32::from_le_bytes(*word)) as usize;
    words.iter().skip(1).take(dims).map(|word| u32::from_le_bytes(*word)).collect()
}

/// An element of an array of doubles, or a part of it that is an array itself.
fn element(array: &Cell, steps: &[Step], column: u16, rows: &mut RowBatch) -> Option<Cell> {
    let bytes = rows.bytes_of(array);
    let sides = sides(bytes);
    let values_at = (4 + 4 * sides.len()).next_multiple_of(8);
    let mut values: Range<usize> = 0..sides.iter().map(|side| *side as usize).product();
    if steps.len() > sides.len() {
        return None;
    }
    for (step, side) in steps.iter().zip(&sides) {
        let Step::Index(index) = step else { return None };
        if *index >= *side as usize {
            return None;
        }
        let each = values.len() / *side as usize;
        values = values.start + index * each..values.start + (index + 1) * each;
    }
    let value = |at: usize| -> Option<[u8; 8]> {
        bytes.get(values_at + 8 * at..values_at + 8 * at + 8)?.try_into().ok()
    };
    let inner = &sides[steps.len()..];
    if inner.is_empty() {
        let value = u64::from_le_bytes(value(values.start)?);
        return Some(Cell { column, kind: Kind::F64 as u8, flags: 0, len: 0, value });
    }
    let numbers: Option<Vec<f64>> = values.map(|at| value(at).map(f64::from_le_bytes)).collect();
    numbers_cell(column, inner, &numbers?, rows)
}

/// A cell of an array of doubles.
fn numbers_cell(column: u16, sides: &[u32], numbers: &[f64], rows: &mut RowBatch) -> Option<Cell> {
    let len = build::array_bytes(sides)?;
    let at = build::align8(rows.arena.len());
    rows.arena.resize(at + len, 0);
    build::write_array(&mut rows.arena, at, sides, numbers.iter().copied()).ok()?;
    Some(Cell { column, kind: Kind::Array as u8, flags: 0, len: len as u32, value: at as u64 })
}

#[cfg(test)]
mod tests;
