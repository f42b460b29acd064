//! What a guest answered becomes rows. The host's own cells stay the truth: a kept record costs
//! no copy and nothing the guest did to its input shows; a patch is laid over the host's cells.
//! An answer that breaks the contract leaves no trace.

use bridge_abi::emit;
use bridge_abi::validate::{Answer, Cells, Checked, Fault, Limits, Walk};
use bridge_abi::{CELL_DROP, Cell, Kind};

use crate::batch::{Emitted, Row, RowBatch};
use crate::reject::{Reason, Rejects, Stage};

/// Rows on their way through a transform. `rows` still has those from before; its cells and its
/// arena only grow, so that what is kept needs no copy.
pub(super) struct Rows<'a> {
    pub(super) rows: &'a mut RowBatch,
    /// The rows that come out.
    pub(super) next: &'a mut Vec<Row>,
    pub(super) rejects: &'a mut Rejects,
    /// See [`patch`].
    pub(super) places: &'a mut Places,
}

/// Where everything stood before an answer was looked at.
pub(super) struct Mark {
    cells: usize,
    arena: usize,
    next: usize,
    rejects: usize,
    emitted: usize,
    headers: usize,
}

impl Rows<'_> {
    pub(super) fn mark(&self) -> Mark {
        Mark {
            cells: self.rows.cells.len(),
            arena: self.rows.arena.len(),
            next: self.next.len(),
            rejects: self.rejects.found.len(),
            emitted: self.rows.emitted.len(),
            headers: self.rows.headers.len(),
        }
    }

    pub(super) fn roll_back(&mut self, mark: &Mark) {
        self.rows.cells.truncate(mark.cells);
        self.rows.arena.truncate(mark.arena);
        self.next.truncate(mark.next);
        self.rejects.found.truncate(mark.rejects);
        self.rows.emitted.truncate(mark.emitted);
        self.rows.headers.truncate(mark.headers);
    }

    /// Takes the answer to a call for the rows from `first` on; the number of rows it was about.
    pub(super) fn take(
        &mut self,
        memory: &[u8],
        answer: &Answer,
        limits: &Limits,
        first: usize,
    ) -> Result<usize, Fault> {
        let mut walk = Walk::new(memory, answer, limits)?;
        while let Some(checked) = walk.next()? {
            match checked {
                Checked::Keep { record, table } => {
                    let row = self.rows.rows[first + record as usize];
                    self.push(routed(row, table));
                }
                Checked::Patch { record, table, cells } => {
                    let row = self.rows.rows[first + record as usize];
                    let patched = patch(self.rows, self.places, row, cells)?;
                    self.push(routed(patched, table));
                }
                Checked::Row { record, table, cells } => {
                    let row = self.rows.rows[first + record as usize];
                    let made = new_row(self.rows, row, cells)?;
                    self.push(routed(made, table));
                }
                Checked::Reject { record, reason } => {
                    let source = self.rows.rows[first + record as usize].source;
                    let reject = (Stage::Transform, Reason::RefusedByTransform);
                    self.rejects.push(source, reject.0, reject.1, reason);
                }
                Checked::Emit { record, topic, emitted } => {
                    let source = self.rows.rows[first + record as usize].source;
                    emit(self.rows, source, topic, &emitted);
                }
            }
        }
        Ok(answer.consumed as usize)
    }

    /// The next row that comes out, numbered within its record.
    #[inline]
    pub(super) fn push(&mut self, row: Row) {
        let number = match self.next.last() {
            Some(last) if last.source == row.source => last.number + 1,
            _ => 0,
        };
        self.next.push(Row { number, ..row });
    }
}

#[inline]
fn routed(row: Row, table: u16) -> Row {
    Row { table: if table == 0 { row.table } else { table }, ..row }
}

/// A checked record for a topic, copied out of the guest's memory.
fn emit(rows: &mut RowBatch, source: u32, topic: u16, record: &emit::Emitted<'_>) {
    let key = record.key.map(|key| rows.own(key));
    let value = record.value.map(|value| rows.own(value));
    let first = rows.headers.len();
    for (name, value) in record.headers() {
        let header = (rows.own(name.as_bytes()), value.map(|value| rows.own(value)));
        rows.headers.push(header);
    }
    let headers = first..rows.headers.len();
    let (partition, timestamp_ms) = (record.partition, record.timestamp_ms);
    rows.emitted.push(Emitted { source, topic, partition, timestamp_ms, key, value, headers });
}

/// A new row out of checked cells.
fn new_row(rows: &mut RowBatch, from: Row, mut cells: Cells<'_, '_>) -> Result<Row, Fault> {
    let start = rows.cells.len();
    while let Some(next) = cells.next_raw() {
        let (cell, bytes) = next?;
        own(rows, &cell, bytes);
    }
    let count = rows.cells.len() - start;
    Ok(Row { cells: start as u32, cell_count: count as u16, ..from })
}

/// Rows of more cells than this are searched by [`Places`].
const SEARCHED_MAX: usize = 32;

/// Where each column stands in the row that is being patched: `stamps` says whether the place is
/// this row's. Only for wide rows; without it wide patches of wide rows would cost their product.
#[derive(Debug, Default)]
pub(super) struct Places {
    places: Vec<(u32, u32)>,
    stamp: u32,
}

impl Places {
    fn note(&mut self, cells: &[Cell]) {
        self.stamp = self.stamp.wrapping_add(1);
        if self.stamp == 0 {
            self.places.clear();
            self.stamp = 1;
        }
        for (place, cell) in cells.iter().enumerate() {
            let column = usize::from(cell.column);
            if column >= self.places.len() {
                self.places.resize(column + 1, (0, 0));
            }
            self.places[column] = (self.stamp, place as u32);
        }
    }

    fn find(&self, column: u16) -> Option<usize> {
        let (stamp, place) = self.places.get(usize::from(column))?;
        (*stamp == self.stamp).then_some(*place as usize)
    }
}

/// The host's cells of a row with checked cells laid over them. Columns that are dropped lose
/// their cell, new ones come behind; the others stay where they are.
fn patch(
    rows: &mut RowBatch,
    places: &mut Places,
    row: Row,
    mut cells: Cells<'_, '_>,
) -> Result<Row, Fault> {
    let start = rows.cells.len();
    let old = row.cells as usize..row.cells as usize + usize::from(row.cell_count);
    rows.cells.extend_from_within(old.clone());
    let wide = old.len() > SEARCHED_MAX;
    if wide {
        places.note(&rows.cells[start..]);
    }
    let mut dropped = false;
    while let Some(next) = cells.next_raw() {
        let (cell, bytes) = next?;
        let place = if wide {
            places.find(cell.column)
        } else {
            rows.cells[start..start + old.len()].iter().position(|own| own.column == cell.column)
        };
        let drop = cell.kind == Kind::Null as u8 && cell.flags == CELL_DROP;
        match place {
            // Column 0 is none; taken out below, so that places stay right until then.
            Some(place) if drop => {
                rows.cells[start + place].column = 0;
                dropped = true;
            }
            Some(place) => {
                own(rows, &cell, bytes);
                rows.cells.swap_remove(start + place);
            }
            None if drop => {}
            None => own(rows, &cell, bytes),
        }
    }
    if dropped {
        take_out_dropped(&mut rows.cells, start);
    }
    let count = rows.cells.len() - start;
    Ok(Row { cells: start as u32, cell_count: count as u16, ..row })
}

fn take_out_dropped(cells: &mut Vec<Cell>, start: usize) {
    let mut to = start;
    for from in start..cells.len() {
        if cells[from].column != 0 {
            cells[to] = cells[from];
            to += 1;
        }
    }
    cells.truncate(to);
}

/// Adds a checked cell to the host's own, its bytes to the host's arena.
#[inline(always)]
fn own(rows: &mut RowBatch, cell: &Cell, bytes: &[u8]) {
    let points = cell.kind != Kind::I64 as u8
        && cell.kind != Kind::F64 as u8
        && Kind::from_u8(cell.kind).is_some_and(Kind::points);
    let value = if points { rows.arena.len() as u64 } else { cell.value };
    // Only behind a pointer does a length mean something, and a guest may have written any.
    let len = if points { cell.len } else { 0 };
    rows.arena.extend_from_slice(bytes);
    rows.cells.push(Cell { len, value, ..*cell });
}
