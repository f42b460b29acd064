//! Runs a transform over test records, as the bridge would, and tells what became of each.

use bridge_abi::validate::{Answer, Cells, Checked, Fault, Limits, Walk};
use bridge_abi::{batch_at, emit, read};

use super::memory::{self, BASE, Wanted};
use super::records::{TestRecord, TestValue};
use crate::Transform;
use crate::host::{self, NameKind};
use crate::init::{self, Started};
use crate::output::Output;
use crate::run;

/// What became of one record.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// It went on unchanged.
    Kept {
        /// To this table, if one was chosen.
        table: Option<String>,
    },
    /// It went on with some columns changed.
    Patched {
        /// To this table, if one was chosen.
        table: Option<String>,
        /// The columns that were set or dropped, in order.
        columns: Vec<(String, TestValue)>,
    },
    /// It became new rows.
    Rows(Vec<NewRow>),
    /// It was refused.
    Rejected(String),
    /// Nothing was said about it but what [`Harness::emitted`] has.
    Filtered,
    /// It went on (the first), and became new rows as well.
    Both(Box<Outcome>, Vec<NewRow>),
}

/// A row that a transform made.
#[derive(Clone, PartialEq, Debug)]
pub struct NewRow {
    /// To this table, if one was chosen.
    pub table: Option<String>,
    /// Its columns, in order.
    pub columns: Vec<(String, TestValue)>,
}

impl Outcome {
    /// It went on unchanged, to the table that it would have gone to.
    pub fn kept() -> Outcome {
        Outcome::Kept { table: None }
    }

    /// What a patch sets a column to, if this is one that does.
    pub fn column(&self, name: &str) -> Option<&TestValue> {
        let Outcome::Patched { columns, .. } = self else { return None };
        columns.iter().find(|(column, _)| column == name).map(|(_, value)| value)
    }
}

impl NewRow {
    /// The value of a column, if the row has it.
    pub fn column(&self, name: &str) -> Option<&TestValue> {
        self.columns.iter().find(|(column, _)| column == name).map(|(_, value)| value)
    }
}

/// A record that a transform made for a topic.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Emitted {
    /// Index of the record that it was made from.
    pub record: usize,
    /// The topic.
    pub topic: String,
    /// Its key; `None` is null.
    pub key: Option<Vec<u8>>,
    /// Its value; `None` is null (a tombstone).
    pub value: Option<Vec<u8>>,
    /// Its headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// The partition that it is to go to; `None`: by its key.
    pub partition: Option<i32>,
    /// Milliseconds since 1970; `None`: when it is written.
    pub timestamp_ms: Option<i64>,
}

impl Emitted {
    /// Its value, if that is text.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.value.as_deref()?).ok()
    }
}

/// A started transform, natively.
pub struct Harness<T> {
    transform: T,
    wanted: Wanted,
    output: Output,
    emitted: Vec<Emitted>,
}

/// The bounds of the checks; a test's answers are small.
const LIMITS: Limits = Limits {
    actions_max: 1 << 24,
    cells_max: 1 << 24,
    row_cells_max: u16::MAX as u32,
    bytes_max: 1 << 30,
    max_column: u16::MAX,
    max_table: u16::MAX,
    max_topic: Some(u16::MAX),
};

impl<T: Transform> Harness<T> {
    /// Starts a transform with its configuration (JSON, as the bridge hands it over).
    pub fn new(config: &str) -> Result<Harness<T>, String> {
        let Started { transform, wants, columns } = init::start::<T>(config.as_bytes())?;
        let wanted = Wanted { bits: wants, columns };
        Ok(Harness { transform, wanted, output: Output::default(), emitted: Vec::new() })
    }

    /// Runs the records as one batch, or as several where the transform stops early.
    ///
    /// # Panics
    /// If the answer breaks a rule of the contract; the message is the one that the bridge logs.
    pub fn run(&mut self, records: &[TestRecord]) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(records.len());
        self.emitted.clear();
        while outcomes.len() < records.len() {
            let rest = &records[outcomes.len()..];
            let (memory, returned) = self.call(rest);
            let consumed_at = BASE as usize + batch_at::CONSUMED;
            let consumed =
                read::chunk(&memory, consumed_at).map_or(0, |at| u32::from_le_bytes(*at));
            let answer = Answer::new(returned, rest.len() as u32, consumed);
            let first = outcomes.len();
            outcomes.extend(judge(&memory, &answer, |record, topic, emitted| {
                self.emitted.push(owned_record(first + record as usize, topic, emitted));
            }));
        }
        outcomes
    }

    /// What the last [`run`](Harness::run) emitted, in order.
    pub fn emitted(&self) -> &[Emitted] {
        &self.emitted
    }

    /// One call: the memory after it, and what it returned.
    fn call(&mut self, records: &[TestRecord]) -> (Vec<u8>, i64) {
        let mut arena = memory::arena(records, &self.wanted);
        // SAFETY: the bytes are the vector's own, all initialised, any bits are a `u8` and a
        // `u64`, and `arena` is not touched while `bytes` lives.
        let bytes = unsafe {
            std::slice::from_raw_parts_mut(arena.as_mut_ptr().cast::<u8>(), arena.len() * 8)
        };
        run::run(&mut self.transform, &mut self.output, bytes, BASE, BASE)
            .expect("the harness lays out good batches");
        memory::after_call(bytes, &mut self.output)
    }
}

/// Checks an answer as the bridge does, and tells what became of each consumed record.
fn judge(
    memory: &[u8],
    answer: &Answer,
    mut emit: impl FnMut(u32, u16, emit::Emitted<'_>),
) -> Vec<Outcome> {
    let mut outcomes = vec![Outcome::Filtered; answer.consumed as usize];
    let mut walk = honest(Walk::new(memory, answer, &LIMITS));
    while let Some(checked) = honest(walk.next()) {
        match checked {
            Checked::Keep { record, table } => {
                say(&mut outcomes[record as usize], Outcome::Kept { table: table_name(table) });
            }
            Checked::Patch { record, table, cells } => {
                let patched = Outcome::Patched { table: table_name(table), columns: owned(cells) };
                say(&mut outcomes[record as usize], patched);
            }
            Checked::Row { record, table, cells } => {
                let row = NewRow { table: table_name(table), columns: owned(cells) };
                add(&mut outcomes[record as usize], row);
            }
            Checked::Reject { record, reason } => {
                outcomes[record as usize] = Outcome::Rejected(reason.to_owned());
            }
            Checked::Emit { record, topic, emitted } => emit(record, topic, emitted),
        }
    }
    outcomes
}

fn honest<T>(checked: Result<T, Fault>) -> T {
    checked.unwrap_or_else(|fault| panic!("the transform broke a rule of the contract: {fault}"))
}

/// A keep or a patch, beside rows that there may be already.
fn say(outcome: &mut Outcome, said: Outcome) {
    *outcome = match std::mem::replace(outcome, Outcome::Filtered) {
        Outcome::Rows(rows) => Outcome::Both(Box::new(said), rows),
        _ => said,
    };
}

/// A row, beside what there may be already.
fn add(outcome: &mut Outcome, row: NewRow) {
    match outcome {
        Outcome::Rows(rows) | Outcome::Both(_, rows) => rows.push(row),
        Outcome::Filtered => *outcome = Outcome::Rows(vec![row]),
        _ => {
            let said = std::mem::replace(outcome, Outcome::Filtered);
            *outcome = Outcome::Both(Box::new(said), vec![row]);
        }
    }
}

fn table_name(table: u16) -> Option<String> {
    host::name(NameKind::Table, table)
}

fn owned_record(record: usize, topic: u16, emitted: emit::Emitted<'_>) -> Emitted {
    let owned = |bytes: &[u8]| bytes.to_owned();
    let topic = host::name(NameKind::Topic, topic).expect("the topic was interned in this thread");
    let headers = emitted.headers().map(|(name, value)| (name.to_owned(), value.map(owned)));
    Emitted {
        record,
        topic,
        key: emitted.key.map(owned),
        value: emitted.value.map(owned),
        headers: headers.collect(),
        partition: emitted.partition,
        timestamp_ms: emitted.timestamp_ms,
    }
}

fn owned(cells: Cells<'_, '_>) -> Vec<(String, TestValue)> {
    cells
        .map(|cell| {
            let cell = honest(cell);
            let name = host::name(NameKind::Column, cell.column);
            (name.expect("the column was interned in this thread"), cell.value.into())
        })
        .collect()
}
