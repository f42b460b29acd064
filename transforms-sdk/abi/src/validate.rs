//! Everything a guest returns is hostile until it went through here. A [`Walk`] steps over the
//! actions in the guest's memory and hands out what it has checked; the cells of a patch or a row
//! are checked one by one as they are read, so every byte is looked at once and nothing is
//! allocated. A [`Fault`] condemns the whole answer: the host rolls back what it took from it.
//!
//! ```text
//! while let Some(checked) = walk.next()? {
//!     match checked {
//!         Checked::Patch { cells, .. } => for cell in cells { take(cell?) },
//! ```

use core::fmt;

use crate::emit::{BadRecord, Budget, Emitted};
use crate::layout::{ACTION_BYTES, Action, ActionKind, CELL_BYTES, Cell, Kind};
use crate::read;
use crate::value::{self, BadValue, Value};

/// What an answer may hold at most, and which names exist.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most actions of one answer.
    pub actions_max: u32,
    /// The most cells of all actions together.
    pub cells_max: u32,
    /// The most cells of one patch or row: bounds the search for a repeated column.
    pub row_cells_max: u32,
    /// The most bytes that all cells and reasons together point to. Cells may overlap, so the
    /// size of the memory does not bound this.
    pub bytes_max: u64,
    /// The highest column id that was given out.
    pub max_column: u16,
    /// The highest table id that was given out.
    pub max_table: u16,
    /// The highest topic id that was given out; `None` where nothing can be emitted.
    pub max_topic: Option<u16>,
}

/// What the guest answered to one call.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// Address of the actions.
    pub actions: u32,
    /// Number of actions.
    pub count: u32,
    /// Records that the call was given.
    pub records: u32,
    /// `consumed` of the batch header after the call.
    pub consumed: u32,
}

impl Answer {
    /// From what `bridge_batch` returned, the records it was given and `consumed` as it left it.
    pub const fn new(returned: i64, records: u32, consumed: u32) -> Answer {
        let (actions, count) = read::returned(returned);
        Answer { actions, count, records, consumed }
    }
}

/// A checked action. Records count from the call's first, and come in non-decreasing order.
pub enum Checked<'w, 'm> {
    /// The record goes on unchanged.
    Keep {
        /// Index of the record.
        record: u32,
        /// The table it goes to, 0: as before.
        table: u16,
    },
    /// Some of the record's columns change.
    Patch {
        /// Index of the record.
        record: u32,
        /// The table it goes to, 0: as before.
        table: u16,
        /// The columns to set or drop, each at most once.
        cells: Cells<'w, 'm>,
    },
    /// A new row made from the record.
    Row {
        /// Index of the record.
        record: u32,
        /// The table it goes to, 0: the record's.
        table: u16,
        /// The row's columns, each at most once, no [`Value::Drop`] among them.
        cells: Cells<'w, 'm>,
    },
    /// The record is refused.
    Reject {
        /// Index of the record.
        record: u32,
        /// Why.
        reason: &'m str,
    },
    /// A record for a topic.
    Emit {
        /// Index of the record that it was made from.
        record: u32,
        /// The topic.
        topic: u16,
        /// What it holds.
        emitted: Emitted<'m>,
    },
}

/// One checked cell.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CheckedCell<'m> {
    /// A column that exists.
    pub column: u16,
    /// What it says.
    pub value: Value<'m>,
}

/// What was wrong, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Index of the action, `None` for the answer as a whole.
    pub action: Option<u32>,
    /// The record that the action names (which may not exist).
    pub record: Option<u32>,
    /// What was wrong.
    pub wrong: Wrong,
}

/// What can be wrong with an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// `consumed` is 0 or more than there were records.
    Consumed(u32),
    /// The actions are not in the memory, or not 8-aligned.
    Actions(u32),
    /// More actions than allowed.
    TooManyActions(u32),
    /// No such action.
    Kind(u8),
    /// `emit`, and the sink is not Kafka.
    Emit,
    /// No such topic.
    Topic(u16),
    /// The record of an emit is wrong.
    Record(BadRecord),
    /// Action flags that this version does not have.
    Flags(u8),
    /// The record does not exist, or was not consumed.
    NoSuchRecord,
    /// A record smaller than that of the action before.
    Order,
    /// A second keep, patch or reject of the same record.
    Twice,
    /// No such table.
    Table(u16),
    /// The cells are not in the memory, or not 8-aligned.
    Cells(u32),
    /// More cells in a row, or in the whole answer, than allowed.
    TooManyCells(u32),
    /// More bytes behind the cells than allowed.
    TooManyBytes,
    /// No such column.
    Column(u16),
    /// The same column twice in one patch or row.
    ColumnTwice(u16),
    /// A dropped column in a row, which has nothing to drop it from.
    DropInRow(u16),
    /// The cell of a column is wrong.
    Value(u16, BadValue),
    /// The reason is not in the memory, or not UTF-8.
    Reason(BadValue),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(action) = self.action {
            write!(f, "action {action}")?;
            if let Some(record) = self.record {
                write!(f, " for record {record}")?;
            }
            f.write_str(": ")?;
        }
        write!(f, "{}", self.wrong)
    }
}

impl core::error::Error for Fault {}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Consumed(consumed) => write!(f, "consumed is {consumed}"),
            Wrong::Actions(ptr) => write!(f, "actions at {ptr:#x} are outside or unaligned"),
            Wrong::TooManyActions(count) => write!(f, "{count} actions are too many"),
            Wrong::Kind(kind) => write!(f, "unknown action {kind}"),
            Wrong::Emit => f.write_str("emit needs the sink `kafka`"),
            Wrong::Topic(topic) => write!(f, "unknown topic id {topic}"),
            Wrong::Record(bad) => write!(f, "emit: {bad}"),
            Wrong::Flags(flags) => write!(f, "unknown action flags {flags}"),
            Wrong::NoSuchRecord => f.write_str("there is no such record among the consumed"),
            Wrong::Order => f.write_str("the action before was for a later record"),
            Wrong::Twice => f.write_str("the record already had a keep, patch or reject"),
            Wrong::Table(table) => write!(f, "unknown table id {table}"),
            Wrong::Cells(ptr) => write!(f, "cells at {ptr:#x} are outside or unaligned"),
            Wrong::TooManyCells(count) => write!(f, "{count} more cells are too many"),
            Wrong::TooManyBytes => f.write_str("its cells point to too many bytes"),
            Wrong::Column(column) => write!(f, "unknown column id {column}"),
            Wrong::ColumnTwice(column) => write!(f, "column id {column} twice"),
            Wrong::DropInRow(column) => write!(f, "column id {column} is dropped in a new row"),
            Wrong::Value(column, bad) => write!(f, "column id {column}: {bad}"),
            Wrong::Reason(bad) => write!(f, "reason of a reject: {bad}"),
        }
    }
}

/// The patch or row that is being read, and what is left of the limits. It lives in the walk, so
/// that [`Cells`] is one pointer: moving the whole of it around cost 25 ns a row.
#[derive(Debug)]
struct Run<'m> {
    memory: &'m [u8],
    cells: &'m [[u8; CELL_BYTES]],
    at: usize,
    /// Bit `column % 64` of every column so far: a repetition is only searched for where its bit
    /// is set.
    seen: u64,
    /// The highest column so far; what is above it cannot be a repetition.
    highest: u16,
    max_column: u16,
    patch: bool,
    action: u32,
    record: u32,
    cells_left: u32,
    row_cells_max: u32,
    bytes_left: u64,
}

/// Steps over the actions of an answer.
#[derive(Debug)]
pub struct Walk<'m> {
    actions: &'m [[u8; ACTION_BYTES]],
    next: u32,
    consumed: u32,
    record: u32,
    /// One more than the last record that had a keep, patch or reject; 0 for none.
    settled: u32,
    max_table: u16,
    max_topic: Option<u16>,
    run: Run<'m>,
}

impl<'m> Walk<'m> {
    /// Checks what can be said of the answer as a whole.
    pub fn new(memory: &'m [u8], answer: &Answer, limits: &Limits) -> Result<Walk<'m>, Fault> {
        let wrong = |wrong| Err(Fault { action: None, record: None, wrong });
        if answer.consumed == 0 || answer.consumed > answer.records {
            return wrong(Wrong::Consumed(answer.consumed));
        }
        if answer.count > limits.actions_max {
            return wrong(Wrong::TooManyActions(answer.count));
        }
        let Some(actions) = read::structs(memory, answer.actions, answer.count) else {
            return wrong(Wrong::Actions(answer.actions));
        };
        let run = Run {
            memory,
            cells: &[],
            at: 0,
            seen: 0,
            highest: 0,
            max_column: limits.max_column,
            patch: false,
            action: 0,
            record: 0,
            cells_left: limits.cells_max,
            row_cells_max: limits.row_cells_max,
            bytes_left: limits.bytes_max,
        };
        Ok(Walk {
            actions,
            next: 0,
            consumed: answer.consumed,
            record: 0,
            settled: 0,
            max_table: limits.max_table,
            max_topic: limits.max_topic,
            run,
        })
    }

    /// The next action, or `None` after the last. Not an iterator, for cells spend the budget of
    /// the walk that they come from. The cells of the action before must have been read to their
    /// end: what is not read is not checked.
    #[inline]
    #[allow(clippy::should_implement_trait, reason = "lends, which `Iterator` cannot")]
    pub fn next(&mut self) -> Result<Option<Checked<'_, 'm>>, Fault> {
        let Some(action) = self.actions.get(self.next as usize) else { return Ok(None) };
        let action = read::action_fields(action);
        let index = self.next;
        let fault = |wrong| Err(Fault { action: Some(index), record: Some(action.record), wrong });
        self.next += 1;
        if action.record >= self.consumed {
            return fault(Wrong::NoSuchRecord);
        }
        if action.record < self.record {
            return fault(Wrong::Order);
        }
        if action.flags != 0 {
            return fault(Wrong::Flags(action.flags));
        }
        self.record = action.record;
        let record = action.record;
        let Some(kind) = ActionKind::from_u8(action.kind) else {
            return fault(Wrong::Kind(action.kind));
        };
        if kind != ActionKind::Row && kind != ActionKind::Emit {
            if self.settled == record + 1 {
                return fault(Wrong::Twice);
            }
            self.settled = record + 1;
        }
        let table = action.target;
        if table > self.max_table && kind != ActionKind::Emit {
            return fault(Wrong::Table(table));
        }
        match kind {
            ActionKind::Keep => Ok(Some(Checked::Keep { record, table })),
            ActionKind::Patch => {
                let cells = self.run.begin(index, &action, true)?;
                Ok(Some(Checked::Patch { record, table, cells }))
            }
            ActionKind::Row => {
                let cells = self.run.begin(index, &action, false)?;
                Ok(Some(Checked::Row { record, table, cells }))
            }
            ActionKind::Reject => match self.run.reason(action.ptr, action.len) {
                Ok(reason) => Ok(Some(Checked::Reject { record, reason })),
                Err(wrong) => fault(wrong),
            },
            ActionKind::Emit => match self.emitted(&action) {
                Ok((topic, emitted)) => Ok(Some(Checked::Emit { record, topic, emitted })),
                Err(wrong) => fault(wrong),
            },
        }
    }
}

impl<'m> Walk<'m> {
    /// The topic and the record of an emit.
    #[cold]
    fn emitted(&mut self, action: &Action) -> Result<(u16, Emitted<'m>), Wrong> {
        let max_topic = self.max_topic.ok_or(Wrong::Emit)?;
        if action.target == 0 || action.target > max_topic {
            return Err(Wrong::Topic(action.target));
        }
        let run = &mut self.run;
        let mut budget = Budget { headers: &mut run.cells_left, bytes: &mut run.bytes_left };
        let emitted = Emitted::read(run.memory, action.ptr, action.len, &mut budget);
        emitted.map(|emitted| (action.target, emitted)).map_err(Wrong::Record)
    }
}

/// The cells of one patch or row, checked as they are read. After an error it stays at an end.
#[derive(Debug)]
pub struct Cells<'w, 'm>(&'w mut Run<'m>);

impl<'m> Run<'m> {
    /// Turns to the cells of another action.
    #[inline]
    fn begin(&mut self, index: u32, action: &Action, patch: bool) -> Result<Cells<'_, 'm>, Fault> {
        let &Action { record, ptr, len, .. } = action;
        let wrong = |wrong| Err(Fault { action: Some(index), record: Some(record), wrong });
        if len > self.row_cells_max || len > self.cells_left {
            return wrong(Wrong::TooManyCells(len));
        }
        let Some(cells) = read::structs::<CELL_BYTES>(self.memory, ptr, len) else {
            return wrong(Wrong::Cells(ptr));
        };
        self.cells_left -= len;
        self.cells = cells;
        (self.at, self.seen, self.highest) = (0, 0, 0);
        (self.action, self.record, self.patch) = (index, record, patch);
        Ok(Cells(self))
    }

    fn reason(&mut self, ptr: u32, len: u32) -> Result<&'m str, Wrong> {
        let bytes = read::bytes(self.memory, ptr as usize, len as usize)
            .ok_or(Wrong::Reason(BadValue::Outside { ptr: u64::from(ptr), len }))?;
        self.spend(len)?;
        core::str::from_utf8(bytes).map_err(|_| Wrong::Reason(BadValue::Utf8))
    }

    #[inline]
    fn spend(&mut self, bytes: u32) -> Result<(), Wrong> {
        let left = self.bytes_left.checked_sub(u64::from(bytes));
        self.bytes_left = left.ok_or(Wrong::TooManyBytes)?;
        Ok(())
    }

    /// That the column exists and is not repeated.
    #[inline(always)]
    fn check_column(&mut self, column: u16) -> Result<(), Wrong> {
        if column == 0 || column > self.max_column {
            return Err(Wrong::Column(column));
        }
        let bit = 1u64 << (column % 64);
        if column > self.highest {
            self.highest = column;
        } else if self.seen & bit != 0 && self.repeats(column) {
            return Err(Wrong::ColumnTwice(column));
        }
        self.seen |= bit;
        Ok(())
    }

    #[inline]
    fn check(&mut self, bytes: &[u8; CELL_BYTES]) -> Result<CheckedCell<'m>, Wrong> {
        let cell = read::cell_fields(bytes);
        let column = cell.column;
        self.check_column(column)?;
        let value = self.check_value(&cell)?;
        Ok(CheckedCell { column, value })
    }

    #[inline]
    fn check_value(&mut self, cell: &Cell) -> Result<Value<'m>, Wrong> {
        let column = cell.column;
        let value = value::decode(self.memory, 0, cell).map_err(|bad| Wrong::Value(column, bad))?;
        match value {
            Value::Drop if !self.patch => return Err(Wrong::DropInRow(column)),
            Value::Null | Value::Drop | Value::Bool(_) | Value::I64(_) | Value::F64(_) => {}
            Value::Timestamp(..) => {}
            Value::Text(_) | Value::Symbol(_) | Value::Bytes(_) => self.spend(cell.len)?,
            Value::Decimal { .. } | Value::Array(_) => self.spend(cell.len)?,
        }
        Ok(value)
    }

    /// The same check for a cell that stays one; the bytes that it points to.
    #[inline(always)]
    fn check_raw(&mut self, cell: &Cell) -> Result<&'m [u8], Wrong> {
        const I64: u8 = Kind::I64 as u8;
        const F64: u8 = Kind::F64 as u8;
        self.check_column(cell.column)?;
        // Any bits are a number: most cells need no more than this.
        if (cell.kind == I64 || cell.kind == F64) && cell.flags == 0 {
            return Ok(&[]);
        }
        self.check_raw_value(cell)
    }

    #[inline(never)]
    fn check_raw_value(&mut self, cell: &Cell) -> Result<&'m [u8], Wrong> {
        self.check_value(cell)?;
        if !Kind::from_u8(cell.kind).is_some_and(Kind::points) {
            return Ok(&[]);
        }
        value::pointed(self.memory, 0, cell).map_err(|bad| Wrong::Value(cell.column, bad))
    }

    /// Ends the run with a fault.
    #[cold]
    fn fault(&mut self, wrong: Wrong) -> Fault {
        self.at = self.cells.len();
        Fault { action: Some(self.action), record: Some(self.record), wrong }
    }

    /// Whether a column stands among the cells before this one.
    #[cold]
    fn repeats(&self, column: u16) -> bool {
        self.cells[..self.at].iter().any(|cell| u16::from_le_bytes([cell[0], cell[1]]) == column)
    }
}

impl<'m> Cells<'_, 'm> {
    /// The next cell as it was written, and the bytes it points to, checked like any other: for a
    /// host that keeps cells as they are. Numbers pass in registers; taking a [`Value`] apart and
    /// putting a cell together again cost 20 ns a cell.
    #[inline(always)]
    pub fn next_raw(&mut self) -> Option<Result<(Cell, &'m [u8]), Fault>> {
        let run = &mut *self.0;
        let cell = read::cell_fields(run.cells.get(run.at)?);
        match run.check_raw(&cell) {
            Ok(bytes) => {
                run.at += 1;
                Some(Ok((cell, bytes)))
            }
            Err(wrong) => Some(Err(run.fault(wrong))),
        }
    }
}

impl<'m> Iterator for Cells<'_, 'm> {
    type Item = Result<CheckedCell<'m>, Fault>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let run = &mut *self.0;
        let bytes = run.cells.get(run.at)?;
        let checked = run.check(bytes);
        run.at += 1;
        Some(checked.map_err(|wrong| run.fault(wrong)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.0.cells.len() - self.0.at;
        (left, Some(left))
    }
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
