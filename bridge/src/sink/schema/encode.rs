//! Rows to values of a schema, for one lane. A record's rows are written into a buffer first and go
//! into payloads together: a record is stored whole or not at all. Each value ends with a line
//! feed that is no part of it, as the lines of text do.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bridge_abi::{Cell, Kind, Unit};

use super::row::Row;
use super::subjects::{Subject, Subjects, Version};
use super::target::{Slot, Target};
use super::value::Scratch;
use super::{Column, Part};
use crate::batch::{Line, RecordBatch, Row as Cells, RowBatch};
use crate::blame::Fault;
use crate::names::Names;
use crate::outbox::{Destination, Outbox};
use crate::reject::{Reason, Rejects, Stage};
use crate::shape::{ColumnType, Shape};
use crate::sink::questdb::{Denied, Stamp, Stamper, array_dims, fill_template, last_header};
use crate::sink::text::{NameRule, Plain, Source, own};
use crate::sink::{Encoder, SinkContext};

/// Tables of one lane, at most: names come from records, and must not fill the memory.
const TARGETS_MAX: usize = 4_096;
/// A buffer for one record that is larger is not kept: the next such record may never come.
const RECORD_BYTES_KEPT: usize = 64 << 10;
/// How often a schema may turn out to lack what was added to it.
const MEETINGS_MAX: u32 = 8;
/// Digits of a decimal whose type nobody declared: as many as 128 bits hold.
const DECIMAL_DIGITS: u8 = 38;

/// Why a record is not encoded.
pub enum Stopped {
    /// It is at fault.
    Record(Reason, String),
    /// Nothing can be encoded.
    Pipeline(Fault),
}

impl From<(Reason, String)> for Stopped {
    fn from((reason, detail): (Reason, String)) -> Stopped {
        Stopped::Record(reason, detail)
    }
}

impl From<Denied> for Stopped {
    fn from(denied: Denied) -> Stopped {
        match denied {
            Denied::Record(reason, detail) => Stopped::Record(reason, detail),
            Denied::Pipeline(fault) => Stopped::Pipeline(fault),
        }
    }
}

impl From<Stopped> for Denied {
    fn from(stopped: Stopped) -> Denied {
        match stopped {
            Stopped::Record(reason, detail) => Denied::Record(reason, detail),
            Stopped::Pipeline(fault) => Denied::Pipeline(fault),
        }
    }
}

/// What makes the encoders of one sink's lanes.
pub struct Encoders {
    subjects: Arc<Subjects>,
    context: SinkContext,
    rule: NameRule,
    topic_of: TopicOf,
}

/// The topic of a table's rows.
type TopicOf = Arc<dyn Fn(&str) -> String + Send + Sync>;

impl Encoders {
    /// Encoders of these schemas, for tables whose names pass the rule.
    pub fn new(
        subjects: Arc<Subjects>,
        context: &SinkContext,
        rule: NameRule,
        topic_of: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Encoders {
        Encoders { subjects, context: context.clone(), rule, topic_of: Arc::new(topic_of) }
    }

    /// The schemas.
    pub fn subjects(&self) -> &Arc<Subjects> {
        &self.subjects
    }

    /// The subject of the rows of a table.
    pub fn subject_of(&self, table: &str) -> Subject {
        self.subjects.subject(&(self.topic_of)(table), table)
    }

    /// An encoder for one lane, whose couriers are numbered from 0.
    pub fn lane(&self, couriers: u32) -> Box<dyn Encoder> {
        Box::new(self.encoder(couriers))
    }

    pub(super) fn encoder(&self, couriers: u32) -> SchemaEncoder {
        let SinkContext { shape, names, .. } = &self.context;
        SchemaEncoder {
            stamper: Stamper::new(shape, names),
            scratch: Scratch { timestamps: self.subjects.plan().timestamps, ..Scratch::default() },
            subjects: Arc::clone(&self.subjects),
            shape: Arc::clone(shape),
            names: Arc::clone(names),
            rule: self.rule,
            topic_of: Arc::clone(&self.topic_of),
            couriers,
            own: own(shape).into_iter().map(|own| own.source).collect(),
            headers: Vec::new(),
            targets: Vec::new(),
            by_name: HashMap::default(),
            by_table: Vec::new(),
            name: String::new(),
            bytes: Vec::new(),
            ends: Vec::new(),
            places: Vec::new(),
        }
    }
}

/// Encodes the rows of one lane.
pub struct SchemaEncoder {
    pub subjects: Arc<Subjects>,
    pub shape: Arc<Shape>,
    pub names: Arc<Names>,
    rule: NameRule,
    topic_of: TopicOf,
    couriers: u32,
    stamper: Stamper,
    /// Columns that come from the record itself, the same of all tables.
    own: Vec<Source>,
    /// The headers of the row at hand, by own column.
    headers: Vec<Option<String>>,
    targets: Vec<Target>,
    by_name: HashMap<String, usize, foldhash::fast::FixedState>,
    /// By the number of a table that transforms named, 0 for the shape's if that is fixed.
    by_table: Vec<Option<usize>>,
    name: String,
    scratch: Scratch,
    /// The rows of the record at hand.
    pub bytes: Vec<u8>,
    /// Where each of them goes, and ends.
    ends: Vec<(usize, u32, usize)>,
    /// What stands at each place of the row at hand.
    places: Vec<u32>,
}

impl SchemaEncoder {
    /// The target of a row: a transform's choice, else the shape's.
    fn target_of(
        &mut self,
        records: &RecordBatch,
        rows: &RowBatch,
        row: &Cells,
    ) -> Result<usize, (Reason, String)> {
        let table = usize::from(row.table);
        if let Some(Some(target)) = self.by_table.get(table) {
            return Ok(*target);
        }
        self.name.clear();
        if table != 0 {
            self.name.push_str(self.names.tables.name(row.table).as_deref().unwrap_or(""));
        } else {
            fill_template(&mut self.name, &self.shape.table, &self.names, records, rows, row);
        }
        let target = match self.by_name.get(self.name.as_str()) {
            Some(target) => *target,
            None => self.open()?,
        };
        if table != 0 || self.shape.table.fixed().is_some() {
            if self.by_table.len() <= table {
                self.by_table.resize(table + 1, None);
            }
            self.by_table[table] = Some(target);
        }
        Ok(target)
    }

    /// A target of the name at hand.
    fn open(&mut self) -> Result<usize, (Reason, String)> {
        let at = self.targets.len();
        if at >= TARGETS_MAX {
            let detail = format!("{:?} would be table {}", self.name, TARGETS_MAX + 1);
            return Err((Reason::BadName, format!("{detail}, of {TARGETS_MAX} at most")));
        }
        let subject = self.subjects.subject(&(self.topic_of)(&self.name), &self.name);
        let refused = (self.rule)(&self.name).map(|fault| (Reason::BadName, fault));
        let shape = self.shape.of(&self.name);
        self.targets.push(Target::new(&self.name, subject, refused, shape));
        self.by_name.insert(self.name.clone(), at);
        Ok(at)
    }

    /// What the shape makes of a column of a target: its name; `None` if it does not become one.
    fn wanted(&self, at: usize, column: u16) -> Option<String> {
        let source = self.names.columns.name(column)?;
        if self.stamper.consumes(column) {
            return None;
        }
        let name = self.shape.column_of(&source)?;
        // What comes from the record itself is written by us.
        (!self.targets[at].own_names.contains(&name)).then_some(name)
    }

    /// The columns that a schema has whatever rows come: those of the records themselves, and
    /// those that are declared.
    fn known_columns(&self, target: &Target) -> Vec<Column> {
        let own = target.own_names.iter().zip(&self.own).map(|(name, source)| Column {
            name: name.clone(),
            kind: match source {
                Source::Stamp => target.stamp_kind,
                Source::Topic => ColumnType::Symbol,
                Source::Partition | Source::Row => ColumnType::Int,
                Source::Offset => ColumnType::Long,
                Source::Timestamp => ColumnType::Date,
                Source::Header(_) => ColumnType::Varchar,
            },
            is_always_there: !matches!(source, Source::Header(_)),
        });
        let mut columns: Vec<Column> = own.collect();
        if let Part::Key(_) = self.subjects.plan().part {
            return columns;
        }
        let shape = self.shape.of(&target.name);
        for (name, kind) in &shape.columns {
            let is_own = name.eq_ignore_ascii_case(&shape.timestamp_column)
                || target.own_names.contains(name);
            if !is_own && !columns.iter().any(|column| column.name == *name) {
                columns.push(Column { name: name.clone(), kind: *kind, is_always_there: false });
            }
        }
        columns
    }

    /// Learns of a target's schema, and of the columns of this batch that it has not met, all at
    /// once: each new one is a version of its own.
    #[cold]
    fn meet(&mut self, at: usize, records: &RecordBatch, rows: &RowBatch) -> Result<(), Stopped> {
        let (mut met, mut nulls) = (Vec::<u16>::new(), Vec::<u16>::new());
        let mut columns = match self.targets[at].version {
            None => self.known_columns(&self.targets[at]),
            Some(_) => Vec::new(),
        };
        for row in &rows.rows {
            if self.target_of(records, rows, row).ok() != Some(at) {
                continue;
            }
            for cell in rows.cells_of(row) {
                if !self.targets[at].is_new(cell) {
                    continue;
                }
                let Some(name) = self.wanted(at, cell.column) else {
                    self.targets[at].put(cell.column, Slot::Skip);
                    continue;
                };
                if cell.kind == Kind::Null as u8 {
                    nulls.push(cell.column);
                    continue;
                }
                if met.contains(&cell.column) {
                    continue;
                }
                met.push(cell.column);
                if !columns.iter().any(|column| column.name == name) {
                    let table = &self.targets[at].name;
                    let declared = self.shape.of(table).kind_of(&name);
                    let kind = declared.unwrap_or_else(|| kind_of(cell, rows));
                    columns.push(Column { name, kind, is_always_there: false });
                }
            }
        }
        let version = self.learn(at, columns)?;
        let target = &mut self.targets[at];
        if !target.version.as_ref().is_some_and(|known| Arc::ptr_eq(known, &version)) {
            // All places are others: those of columns that were met before, too.
            for (column, slot) in (0..).zip(&target.slots) {
                match slot {
                    Slot::Unknown => {}
                    Slot::OnlyNull => nulls.push(column),
                    Slot::Skip | Slot::Place(_) => met.push(column),
                }
            }
            target.turn_to(version, self.subjects.plan());
        }
        nulls.retain(|column| !met.contains(column));
        for (column, is_null) in
            met.iter().map(|column| (*column, false)).chain(nulls.iter().map(|c| (*c, true)))
        {
            let name = self.wanted(at, column);
            self.place(at, column, name, is_null);
        }
        Ok(())
    }

    /// The schema of a target with these columns, as far as it grows. Of a key it has them all.
    fn learn(&self, at: usize, mut columns: Vec<Column>) -> Result<Arc<Version>, Stopped> {
        let (plan, subject) = (self.subjects.plan(), &self.targets[at].subject);
        let Part::Key(parts) = &plan.part else {
            return Ok(self.subjects.learn(subject, &columns)?);
        };
        // Where a schema is made, a key without one of its columns was refused before.
        columns.iter_mut().for_each(|column| column.is_always_there = true);
        columns.sort_by_key(|column| parts.iter().position(|part| *part == column.name));
        let version = self.subjects.learn(subject, &columns)?;
        // What is left out of a key makes one of two.
        let lacks = |column: &&Column| !version.compiled.has(plan.format, &column.name);
        let Some(Column { name, .. }) = columns.iter().find(lacks) else { return Ok(version) };
        let message =
            format!("the schema of {} has no field for `{name}` of the key", subject.name);
        let hint = "name other `columns` in `key` of the sink, or another schema";
        Err(Stopped::Pipeline(Fault::operator(message).hint(hint)))
    }

    /// Finds the place of a column in a target's schema.
    fn place(&mut self, at: usize, column: u16, name: Option<String>, is_null: bool) {
        let format = self.subjects.plan().format;
        let target = &mut self.targets[at];
        let (Some(version), Some(name)) = (&target.version, name) else {
            return target.put(column, Slot::Skip);
        };
        match version.compiled.place(format, &name) {
            Some(place) => target.put(column, Slot::Place(place)),
            None if is_null => target.put(column, Slot::OnlyNull),
            // Somebody else registered a version without it: it is added again.
            None if self.subjects.plan().grows() => target.put(column, Slot::Unknown),
            None => {
                if !target.told.contains(&column) {
                    target.told.push(column);
                    let Target { subject, name: table, .. } = &*target;
                    tracing::warn!(
                        "column `{name}` of {table} is not in the schema of {}: it is left out",
                        subject.name
                    );
                }
                target.put(column, Slot::Skip);
            }
        }
    }

    /// Writes the rows of one record into the buffer, each with its end.
    fn write(
        &mut self,
        records: &RecordBatch,
        rows: &RowBatch,
        of_record: Range<usize>,
    ) -> Result<(), Stopped> {
        for row in &rows.rows[of_record] {
            let at = self.append_row(records, rows, row)?;
            self.bytes.push(b'\n');
            self.ends.push((at, row.number, self.bytes.len()));
        }
        Ok(())
    }

    /// Appends one row to the buffer; where it goes.
    pub fn append_row(
        &mut self,
        records: &RecordBatch,
        rows: &RowBatch,
        row: &Cells,
    ) -> Result<usize, Stopped> {
        let at = self.target_of(records, rows, row)?;
        if let Some(refused) = &self.targets[at].refused {
            return Err(refused.clone().into());
        }
        let cells = rows.cells_of(row);
        let mut left = MEETINGS_MAX;
        while self.targets[at].is_to_meet(cells) {
            let gone = || (Reason::BadName, "its schema loses columns again".to_owned());
            left = u32::checked_sub(left, 1).ok_or_else(gone)?;
            self.meet(at, records, rows)?;
        }
        let record = records.get(row.source as usize);
        let stamp_kind = self.targets[at].stamp_kind;
        let stamp = match self.stamper.stamp(&record, rows, cells, stamp_kind)? {
            Stamp::At(ticks) => instant_of(ticks, stamp_kind),
            Stamp::Server => Plain::Null,
        };
        self.headers.clear();
        for source in &self.own {
            self.headers.push(match source {
                Source::Header(name) => last_header(records, row.source, name),
                _ => None,
            });
        }
        let target = &self.targets[at];
        target.fill(cells, &mut self.places);
        let version = target
            .version
            .as_ref()
            .ok_or_else(|| Stopped::Pipeline(Fault::us("a row whose schema nobody has learnt")))?;
        let (own, places, headers) = (&self.own, &self.places, &self.headers);
        let stamp = &stamp;
        let view = Row { places, own, headers, stamp, records, record, rows, row, cells };
        self.bytes.extend_from_slice(&version.head);
        let written = version.compiled.plan.write(&view, &mut self.scratch, &mut self.bytes);
        if let Err(unfit) = written {
            let field = version.compiled.places.name(unfit.place);
            let what = match self.subjects.plan().part {
                Part::Value => "column",
                Part::Key(_) => "key column",
            };
            let detail = format!("{what} `{field}` {}", unfit.why);
            return Err(Stopped::Record(Reason::WrongType, detail));
        }
        Ok(at)
    }

    /// Moves the rows of one record from the buffer into their payloads.
    fn append(&mut self, records: &RecordBatch, source: u32, outbox: &mut Outbox) {
        let (offset, partition) = (records.get(source as usize).offset, records.partition);
        let courier = partition.0 % self.couriers;
        let closing = outbox.closing();
        let mut start = 0;
        let mut full = None;
        for (target, row, end) in self.ends.drain(..) {
            let to = Destination { table: target as u32 + 1, courier, route: records.route };
            let payload = outbox.payload(to, &self.targets[target].name, &records.ticket);
            payload.buffers.bytes.extend_from_slice(&self.bytes[start..end]);
            let end_there = payload.buffers.bytes.len();
            let line = Line { offset, partition, row, layout: 0, end: end_there as u32 };
            payload.buffers.lines.push(line);
            if closing.is_reached(end_there, payload.buffers.lines.len()) {
                full = Some(to);
            }
            start = end;
        }
        if let Some(to) = full {
            outbox.close(to);
        }
    }
}

impl Encoder for SchemaEncoder {
    fn encode(
        &mut self,
        records: &RecordBatch,
        rows: &RowBatch,
        rejects: &mut Rejects,
        outbox: &mut Outbox,
    ) -> Result<(), Fault> {
        let mut at = 0;
        while let Some(Cells { source, .. }) = rows.rows.get(at) {
            let behind = rows.rows[at..].iter().position(|row| row.source != *source);
            let next = behind.map_or(rows.rows.len(), |count| at + count);
            self.bytes.clear();
            self.ends.clear();
            match self.write(records, rows, at..next) {
                Ok(()) => self.append(records, *source, outbox),
                Err(Stopped::Pipeline(fault)) => return Err(fault),
                Err(Stopped::Record(reason, detail)) => {
                    rejects.push(*source, Stage::Shape, reason, detail);
                }
            }
            at = next;
        }
        if self.bytes.capacity() > RECORD_BYTES_KEPT {
            self.bytes = Vec::new();
        }
        Ok(())
    }
}

/// The type of a column that nobody declared: that of its first value.
fn kind_of(cell: &Cell, rows: &RowBatch) -> ColumnType {
    match Kind::from_u8(cell.kind) {
        Some(Kind::Bool) => ColumnType::Boolean,
        Some(Kind::I64) => ColumnType::Long,
        Some(Kind::F64) => ColumnType::Double,
        Some(Kind::Symbol) => ColumnType::Symbol,
        Some(Kind::Bytes) => ColumnType::Binary,
        Some(Kind::Decimal) => ColumnType::Decimal(DECIMAL_DIGITS, cell.flags.min(DECIMAL_DIGITS)),
        Some(Kind::Array) => ColumnType::Array(array_dims(rows.bytes_of(cell)) as u8),
        Some(Kind::Timestamp) => match Unit::from_u8(cell.flags) {
            Some(Unit::Seconds | Unit::Millis) => ColumnType::Date,
            Some(Unit::Nanos) => ColumnType::TimestampNs,
            Some(Unit::Micros) | None => ColumnType::Timestamp,
        },
        Some(Kind::Text | Kind::Null) | None => ColumnType::Varchar,
    }
}

/// Ticks of the designated timestamp as a point in time.
fn instant_of<'a>(ticks: i64, kind: ColumnType) -> Plain<'a> {
    match kind {
        ColumnType::TimestampNs => Plain::Instant(i128::from(ticks), 9),
        _ => Plain::Instant(i128::from(ticks) * 1_000, 6),
    }
}
