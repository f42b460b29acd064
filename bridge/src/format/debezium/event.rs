//! What becomes of one event, whatever it is written in: which of its parts is the row, what the
//! other columns are, and whether it deletes.
//!
//! | `op` | row | |
//! |---|---|---|
//! | `c` `u` `r` | `after` | |
//! | `d` | `before`, or only the key's columns | deletes |
//! | `t` | none | as `truncate` says |
//! | `m`, and what has no `op` | none | as `other` says |

use std::collections::HashMap;
use std::sync::Arc;

use bridge_abi::{Cell, Kind, Unit};

use super::coerce::Coercion;
use super::meaning::{Meanings, Reading};
use super::options::{Checked, Deletes, Other, Table, Truncate};
use crate::batch::RowBatch;
use crate::format::{DecoderContext, KeyPlan, Refused};
use crate::names::Names;
use crate::reject::Reason;

/// A part of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// What the row is now.
    After,
    /// What it was.
    Before,
}

/// What an event without `op` is; `None` if nobody knows.
pub type Strange = Option<&'static str>;

/// The parts of one event, in either encoding.
pub trait Parts {
    /// What was done; or what this is, if it is no change of a row.
    fn op(&self) -> Result<&str, Strange>;
    /// Whether a part is there, and not null.
    fn has(&self, part: Part) -> Result<bool, Refused>;
    /// Appends the cells of a part, as a row's own.
    fn row(&mut self, part: Part, rows: &mut RowBatch) -> Result<(), Refused>;
    /// Appends the cells of what the row was, as columns of their own.
    fn before(&mut self, rows: &mut RowBatch) -> Result<(), Refused>;
    /// Appends the wanted fields of `source`.
    fn source(&mut self, rows: &mut RowBatch) -> Result<(), Refused>;
    /// The text of a field of `source`, if it is one.
    fn source_text(&self, field: &str) -> Option<&str>;
    /// What the row's columns mean.
    fn meanings(&self) -> &Meanings;
}

/// What became of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Done {
    /// Its cells are there; the key's come behind them.
    Row {
        /// It deletes the row of its key.
        deletes: bool,
        /// The table that it chose, or 0.
        table: u16,
    },
    /// It is left out by policy.
    Skipped,
    /// The pipeline stops because of it.
    Stop,
}

/// A field of `source` that becomes a column.
#[derive(Clone, Debug)]
pub struct SourceColumn {
    pub field: Box<str>,
    pub column: u16,
    /// The unit of one that is a moment.
    pub unit: Option<Unit>,
}

impl SourceColumn {
    /// A moment, if it is one.
    pub fn mean(&self, cell: &mut Cell) {
        if let Some(unit) = self.unit
            && cell.kind == Kind::I64 as u8
        {
            (cell.kind, cell.flags) = (Kind::Timestamp as u8, unit as u8);
        }
    }
}

/// The columns that are not the row's, by their numbers.
pub struct Columns {
    pub options: Arc<Checked>,
    pub names: Arc<Names>,
    pub source: Vec<SourceColumn>,
    op: Option<u16>,
    deleted: Option<u16>,
    /// Of `__op` and `__deleted`, in rows that were unwrapped.
    unwrapped: (u16, u16),
}

impl Columns {
    fn new(options: Arc<Checked>, names: &Arc<Names>) -> Columns {
        // The first names of a pipeline always find room.
        let id = |name: &str| names.columns.intern(name).unwrap_or(0);
        let source = options.source.iter().map(|(field, column)| SourceColumn {
            field: field.as_str().into(),
            column: id(column),
            unit: match field.as_str() {
                "ts_ms" => Some(Unit::Millis),
                "ts_us" => Some(Unit::Micros),
                "ts_ns" => Some(Unit::Nanos),
                _ => None,
            },
        });
        Columns {
            source: source.collect(),
            op: options.op.as_deref().map(id),
            deleted: options.deleted.as_deref().map(id),
            unwrapped: match options.unwrapped {
                true => (id("__op"), id("__deleted")),
                false => (0, 0),
            },
            names: Arc::clone(names),
            options,
        }
    }

    /// What columns mean: what a schema says is read by `schema`, what is declared holds.
    pub fn meanings(
        &self,
        schema: impl FnOnce(&mut Reading<'_>) -> Result<(), Refused>,
    ) -> Result<Meanings, Refused> {
        let options = &self.options;
        let before = options.before.as_deref();
        let mut reading = Reading::new(&self.names, &options.separator, before);
        schema(&mut reading)?;
        reading.declare(&options.types)?;
        Ok(reading.done())
    }
}

/// What one lane does with events.
pub struct Events {
    pub columns: Arc<Columns>,
    has_key: bool,
    coercion: Coercion,
    tables: HashMap<Box<str>, u16, foldhash::fast::FixedState>,
    /// The name of a table, while it is looked for.
    table: String,
    /// For each column the last row that had it.
    seen: Vec<u32>,
    /// Rows so far, this one counted.
    rows: u32,
}

impl Events {
    /// For one lane.
    pub fn new(options: &Arc<Checked>, context: &DecoderContext) -> Events {
        Events {
            columns: Arc::new(Columns::new(Arc::clone(options), &context.names)),
            has_key: context.key != KeyPlan::Ignore,
            coercion: Coercion::new(options.unavailable, &options.placeholder),
            tables: HashMap::default(),
            table: String::new(),
            seen: Vec::new(),
            rows: 0,
        }
    }

    /// Appends the cells of an event's row.
    pub fn write(&mut self, parts: &mut impl Parts, rows: &mut RowBatch) -> Result<Done, Refused> {
        let start = rows.cells.len();
        if self.columns.options.unwrapped {
            parts.row(Part::After, rows)?;
            parts.meanings().apply(rows, start, &mut self.coercion, &self.columns.names)?;
            return self.unwrap(rows, start);
        }
        let op = match parts.op() {
            Ok(op) => op,
            Err(what) => return self.other(what),
        };
        let (letter, part) = match op {
            "c" => (b"c", Part::After),
            "u" => (b"u", Part::After),
            "r" => (b"r", Part::After),
            "d" => (b"d", Part::Before),
            "t" => return self.truncate(),
            "m" => return self.other(Some("a message of logical decoding (`op` is m)")),
            op => {
                let op = crate::format::quoted(op.as_bytes());
                return Err(malformed(format!("`op`: {op} is none of c, u, d, r, t, m")));
            }
        };
        let deletes = part == Part::Before;
        if deletes && self.columns.options.deletes == Deletes::Skip {
            return Ok(Done::Skipped);
        }
        match parts.has(part)? {
            true => parts.row(part, rows)?,
            false if !deletes => {
                let letter = char::from(letter[0]);
                return Err(malformed(format!("`op` is {letter}, and there is no `after`")));
            }
            false if !self.has_key => {
                let detail = "a deletion without `before`, and the key is not read: add a section \
                              `key`"
                    .to_owned();
                return Err(malformed(detail));
            }
            false => {}
        }
        if self.columns.options.before.is_some() && parts.has(Part::Before)? {
            parts.before(rows)?;
        }
        parts.meanings().apply(rows, start, &mut self.coercion, &self.columns.names)?;
        if !self.columns.source.is_empty() {
            parts.source(rows)?;
        }
        self.own(rows, letter, deletes);
        self.once(&rows.cells[start..])?;
        let table = self.table(parts)?;
        Ok(Done::Row { deletes: deletes && self.columns.options.deletes != Deletes::Row, table })
    }

    /// The columns that say what was done.
    fn own(&self, rows: &mut RowBatch, letter: &[u8], deletes: bool) {
        if let Some(column) = self.columns.op {
            let cell = rows.cell_bytes(column, Kind::Symbol, 0, letter);
            rows.cells.push(cell);
        }
        if let Some(column) = self.columns.deleted {
            let (kind, value) = (Kind::Bool as u8, u64::from(deletes));
            rows.cells.push(Cell { column, kind, flags: 0, len: 0, value });
        }
    }

    /// No column comes twice: a table may have one that is called as what an option makes.
    fn once(&mut self, cells: &[Cell]) -> Result<(), Refused> {
        self.rows = self.rows.wrapping_add(1);
        if self.rows == 0 {
            self.seen.fill(0);
            self.rows = 1;
        }
        for cell in cells {
            let column = usize::from(cell.column);
            if self.seen.len() <= column {
                self.seen.resize(column + 1, 0);
            }
            if std::mem::replace(&mut self.seen[column], self.rows) == self.rows {
                let name = self.columns.names.columns.name(cell.column);
                let name = name.as_deref().unwrap_or_default();
                let detail = format!(
                    "`{name}` is a column of the table, and one that is made: give that another \
                     name (`op`, `deleted`, `source_prefix`, `before`)"
                );
                return Err((Reason::BadName, detail));
            }
        }
        Ok(())
    }

    /// The row is all that there is, and says itself what was done.
    fn unwrap(&mut self, rows: &mut RowBatch, start: usize) -> Result<Done, Refused> {
        let (op, deleted) = self.columns.unwrapped;
        let (mut letter, mut deletes) = (None, false);
        let mut kept = start;
        for at in start..rows.cells.len() {
            let cell = rows.cells[at];
            if cell.column == op {
                letter = match rows.pointed(&cell) {
                    [letter @ (b'c' | b'u' | b'd' | b'r')] => Some(*letter),
                    b"t" => return self.truncate(),
                    _ if cell.kind == Kind::Null as u8 => None,
                    other => {
                        let other = crate::format::quoted(other);
                        return Err(malformed(format!("`__op`: {other} is none of c, u, d, r, t")));
                    }
                };
            } else if cell.column == deleted {
                let is_bool = cell.kind == Kind::Bool as u8 && cell.value != 0;
                deletes = is_bool || rows.pointed(&cell) == b"true";
            } else {
                rows.cells[kept] = cell;
                kept += 1;
            }
        }
        rows.cells.truncate(kept);
        deletes |= letter == Some(b'd');
        if deletes && self.columns.options.deletes == Deletes::Skip {
            return Ok(Done::Skipped);
        }
        // Without a word about it every other row is what is to be there now.
        let letter = letter.unwrap_or(if deletes { b'd' } else { b'u' });
        self.own(rows, &[letter], deletes);
        self.once(&rows.cells[start..])?;
        Ok(Done::Row { deletes: deletes && self.columns.options.deletes != Deletes::Row, table: 0 })
    }

    fn truncate(&self) -> Result<Done, Refused> {
        match self.columns.options.truncate {
            Truncate::Skip => Ok(Done::Skipped),
            Truncate::Stop => Ok(Done::Stop),
            Truncate::Reject => {
                let detail = "the table was truncated, and rows that are stored stay as they are \
                              (truncate = \"skip\" or \"stop\")";
                Err(malformed(detail.to_owned()))
            }
        }
    }

    fn other(&self, what: Strange) -> Result<Done, Refused> {
        match (what, self.columns.options.other) {
            (None, _) => {
                let detail = "it has no `op`, as Debezium's events have; if it was unwrapped by \
                              ExtractNewRecordState, say unwrapped = true";
                Err(malformed(detail.to_owned()))
            }
            (Some(_), Other::Skip) => Ok(Done::Skipped),
            (Some(what), Other::Reject) => {
                let detail = format!("it is no change of a row, but {what} (other = \"skip\")");
                Err(malformed(detail))
            }
        }
    }

    /// The table that the row goes to, by what changed.
    fn table(&mut self, parts: &impl Parts) -> Result<u16, Refused> {
        if self.columns.options.table == Table::Pipeline {
            return Ok(0);
        }
        let name = parts.source_text("table").or_else(|| parts.source_text("collection"));
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return Err(malformed("`source.table` is missing, which names the table".to_owned()));
        };
        self.table.clear();
        if self.columns.options.table == Table::Qualified {
            let schema = parts.source_text("schema").or_else(|| parts.source_text("db"));
            if let Some(schema) = schema {
                self.table.push_str(schema);
                self.table.push('.');
            }
        }
        self.table.push_str(name);
        if let Some(id) = self.tables.get(self.table.as_str()) {
            return Ok(*id);
        }
        let id = self.columns.names.tables.intern(&self.table).ok_or_else(|| {
            let detail = format!("`{}` is one table too many for the pipeline", self.table);
            (Reason::TooManyColumns, detail)
        })?;
        self.tables.insert(self.table.as_str().into(), id);
        Ok(id)
    }
}

#[cold]
fn malformed(detail: String) -> Refused {
    (Reason::Malformed, detail)
}

/// What an event is that has no `op`, by the names that it has.
pub fn strange<'a>(names: impl Iterator<Item = &'a str>) -> Strange {
    let (mut has_status, mut has_ddl, mut has_id, mut only_time) = (false, false, false, true);
    for name in names {
        match name {
            "status" => has_status = true,
            "ddl" | "tableChanges" | "databaseName" => has_ddl = true,
            "id" | "event_count" => has_id = true,
            _ => {}
        }
        only_time &= matches!(name, "ts_ms" | "ts_us" | "ts_ns");
    }
    if has_status && has_id {
        Some("the begin or the end of a transaction")
    } else if has_ddl {
        Some("a change of a schema")
    } else if only_time {
        Some("a heartbeat")
    } else {
        None
    }
}
