//! Rows as records of topics: lines of another encoder, each with its key and its partition before
//! it. Lines of one batch are put into their order again, whatever tables they were written for:
//! what has one key keeps its order.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bridge_abi::Kind;

use super::emitting::Emitting;
use super::frame::Frame;
use super::key::Keyed;
use super::once::MARK;
use super::origin::{Origins, Targets};
use crate::batch::{Line, Payload, RecordBatch, Row, RowBatch};
use crate::blame::Fault;
use crate::names::Names;
use crate::outbox::{Closing, Destination, Outbox, Pool};
use crate::reject::{Reason, Rejects, Stage};
use crate::sink::Encoder;
use crate::sink::questdb::{Denied, shown};
use crate::sink::schema::Keys;
use crate::sink::text::{Timestamps, fit, push_bare};

/// Stands for the table's name in a topic's.
pub const TABLE: &str = "{table}";

/// Which topic, which key, which partition.
#[derive(Clone, Debug)]
pub struct Addressing {
    /// The topic; `{table}` stands for the table's name.
    pub topic: String,
    /// The column whose value is the key; by default the key of the record it came from.
    pub key_column: Option<String>,
    /// The column whose value is the partition's number; by default the key decides.
    pub partition_column: Option<String>,
    /// How a timestamp is written that is a key.
    pub timestamps: Timestamps,
    /// The partition of rows that have no number of their own.
    pub partition: Option<i32>,
    /// Headers of all rows, as frames have them.
    pub headers: Arc<[u8]>,
}

/// Makes records out of an encoder's lines, for one lane.
pub struct Framing {
    lines: Box<dyn Encoder>,
    /// The lines of the batch at hand; empty between batches.
    own: Outbox,
    pool: Arc<Pool>,
    addressing: Addressing,
    /// What makes keys with a schema.
    keyed: Option<Keyed>,
    /// The columns' numbers.
    key: Option<u16>,
    partition: Option<u16>,
    couriers: u32,
    origins: Arc<Origins>,
    targets: Arc<Targets>,
    emitting: Emitting,
    /// The number of each table's topic.
    topics: HashMap<Arc<str>, u32>,
    /// What payloads are called.
    name: Arc<str>,
    /// Whether every batch leaves a mark of how far it went.
    marks: bool,
    /// Of the batch at hand, by source and row.
    entries: Vec<Entry>,
    key_bytes: Vec<u8>,
    frame: Vec<u8>,
}

/// A record of the batch at hand.
#[derive(Clone, Debug)]
struct Entry {
    source: u32,
    /// Its number among those of its source.
    row: u32,
    made: Made,
}

/// What it is made of.
#[derive(Clone, Debug)]
enum Made {
    /// A line of a payload.
    Line { payload: usize, bytes: Range<usize> },
    /// What a transform made, by its place.
    Emitted(usize),
}

impl Framing {
    /// Around an encoder whose lines end with a line feed.
    pub fn new(
        lines: Box<dyn Encoder>,
        addressing: Addressing,
        names: &Names,
        (origins, targets, emitting): (Arc<Origins>, Arc<Targets>, Emitting),
        couriers: u32,
    ) -> Framing {
        let max = usize::MAX;
        let closing =
            Closing { payload_bytes_max: max, payload_rows_max: max, open_bytes_max: max };
        let pool = Arc::new(Pool::default());
        let id = |name: &Option<String>| name.as_ref().and_then(|name| names.columns.intern(name));
        Framing {
            lines,
            // Its payloads live for one batch: when they were opened tells nobody anything.
            own: Outbox::new(closing, Arc::clone(&pool), Instant::now()),
            pool,
            keyed: None,
            key: id(&addressing.key_column),
            partition: id(&addressing.partition_column),
            name: addressing.topic.as_str().into(),
            addressing,
            couriers,
            origins,
            targets,
            emitting,
            topics: HashMap::new(),
            marks: false,
            entries: Vec::new(),
            key_bytes: Vec::new(),
            frame: Vec::new(),
        }
    }

    /// The same, with a mark of how far each batch went, in rows or without.
    pub fn with_marks(self, marks: bool) -> Framing {
        Framing { marks, ..self }
    }

    /// The same, with keys that have a schema.
    pub fn with_keys(self, keys: Option<Keys>) -> Framing {
        Framing { keyed: keys.map(Keyed::new), ..self }
    }

    /// Where the lines of all payloads are, in the order of their rows, and what was made for
    /// topics behind them.
    fn index(
        &mut self,
        records: &RecordBatch,
        rows: &RowBatch,
        payloads: &[Payload],
        rejects: &Rejects,
    ) {
        self.entries.clear();
        for (payload, of) in payloads.iter().enumerate() {
            let (mut source, mut start) = (0, 0);
            for line in &of.buffers.lines {
                while records.get(source).offset < line.offset {
                    source += 1;
                }
                let bytes = start..line.end as usize;
                start = bytes.end;
                let made = Made::Line { payload, bytes };
                self.entries.push(Entry { source: source as u32, row: line.row, made });
            }
        }
        let Framing { entries, emitting, .. } = self;
        emitting.index(rows, rejects, |emitted, place, row| {
            entries.push(Entry { source: emitted.source, row, made: Made::Emitted(place) });
        });
        if payloads.len() > 1 || !rows.emitted.is_empty() {
            self.entries.sort_unstable_by_key(|entry| (entry.source, entry.row));
        }
    }

    /// The number of a table's topic.
    fn topic_of(&mut self, table: &Arc<str>) -> u32 {
        if let Some(number) = self.topics.get(table) {
            return *number;
        }
        let number = self.targets.number(&self.addressing.topic.replace(TABLE, table));
        self.topics.insert(Arc::clone(table), number);
        number
    }

    /// The partition that a row asks for, or why that can be none.
    fn partition_of(&self, rows: &RowBatch, row: &Row) -> Result<Option<i32>, String> {
        let all = self.addressing.partition;
        let Some(column) = self.partition else { return Ok(all) };
        let cells = rows.cells_of(row);
        let of_column = |kind: &u8| *kind != Kind::Null as u8;
        let cell = cells.iter().find(|cell| cell.column == column && of_column(&cell.kind));
        let Some(cell) = cell else { return Ok(all) };
        let number = (cell.kind == Kind::I64 as u8).then(|| i32::try_from(cell.value as i64).ok());
        match number.flatten().filter(|number| *number >= 0) {
            Some(number) => Ok(Some(number)),
            None => {
                let name = self.addressing.partition_column.as_deref().unwrap_or_default();
                let shown = shown(cell, rows.pointed(cell));
                Err(format!("`{name}` is {shown}, which is no partition's number"))
            }
        }
    }

    /// Fills the key's buffer from a row; whether there is a key.
    fn fill_key(&mut self, rows: &RowBatch, row: &Row, column: u16) -> bool {
        self.key_bytes.clear();
        let cell = rows.cells_of(row).iter().find(|cell| cell.column == column);
        let Some(cell) = cell.filter(|cell| cell.kind != Kind::Null as u8) else { return false };
        match fit(cell, rows.pointed(cell), None) {
            Ok(value) => push_bare(&mut self.key_bytes, &value, self.addressing.timestamps),
            // What is too wide to be written was refused as a value; as a key it is told by this.
            Err(shown) => self.key_bytes.extend_from_slice(shown.as_bytes()),
        }
        true
    }

    /// The lines' shares go on with what becomes of them: where that is.
    fn move_shares(
        &self,
        records: &RecordBatch,
        payloads: &mut [Payload],
        outbox: &mut Outbox,
    ) -> Destination {
        let courier = records.partition.0 % self.couriers;
        let to = Destination { table: 0, courier, route: records.route };
        for payload in payloads.iter_mut() {
            let open = outbox.payload(to, &self.name, &records.ticket);
            open.shares.append(&mut payload.shares);
        }
        to
    }

    /// Moves all entries into one payload, as records: it may be stored, or not, as a whole.
    fn frame(
        &mut self,
        records: &RecordBatch,
        rows: &RowBatch,
        payloads: &mut [Payload],
        rejects: &mut Rejects,
        outbox: &mut Outbox,
    ) -> Result<(), Fault> {
        let (closing, partition) = (outbox.closing(), records.partition);
        let topics: Vec<u32> =
            payloads.iter().map(|payload| self.topic_of(&payload.table)).collect();
        let to = self.move_shares(records, payloads, outbox);
        let entries = std::mem::take(&mut self.entries);
        let mut at = 0;
        let mut refused = None;
        for (index, Entry { source, row: number, made }) in entries.iter().enumerate() {
            let is_before = |row: &Row| (row.source, row.number) < (*source, *number);
            while rows.rows.get(at).is_some_and(is_before) {
                at += 1;
            }
            // A record is refused before anything of it was moved.
            let first = index == 0 || entries[index - 1].source != *source;
            if first && self.refuses(records, rows, at, &entries[index..], rejects)? {
                refused = Some(*source);
            }
            if refused == Some(*source) {
                continue;
            }
            let record = records.get(*source as usize);
            let layout = match made {
                Made::Line { payload, bytes } => {
                    let line = &payloads[*payload].buffers.bytes[bytes.clone()];
                    let Some(row) = rows.rows.get(at) else { break };
                    self.frame_line(rows, row, record.key, line);
                    topics[*payload]
                }
                Made::Emitted(place) => self.frame_emitted(rows, *place),
            };
            let open = outbox.payload(to, &self.name, &records.ticket);
            open.buffers.bytes.extend_from_slice(&self.frame);
            let (offset, row, end) = (record.offset, *number, open.buffers.bytes.len());
            let line = Line { offset, partition, row, layout, end: end as u32 };
            open.buffers.lines.push(line);
            let last = entries.get(index + 1).is_none_or(|next| next.source != *source);
            if last && closing.is_reached(end, open.buffers.lines.len()) {
                outbox.close(to);
            }
        }
        self.entries = entries;
        if let Some(last) = records.len().checked_sub(1).filter(|_| self.marks && !rows.more) {
            let open = outbox.payload(to, &self.name, &records.ticket);
            let (offset, end) = (records.get(last).offset, open.buffers.bytes.len() as u32);
            open.buffers.lines.push(Line { offset, partition, row: 0, layout: MARK, end });
        }
        Ok(())
    }

    /// Whether the record whose entries come first, and its rows from `at` on, is refused.
    fn refuses(
        &mut self,
        records: &RecordBatch,
        rows: &RowBatch,
        at: usize,
        entries: &[Entry],
        rejects: &mut Rejects,
    ) -> Result<bool, Fault> {
        let Some(Entry { source, .. }) = entries.first() else { return Ok(false) };
        let of_record = || rows.rows[at..].iter().take_while(|row| row.source == *source);
        if let Some(detail) = of_record().find_map(|row| self.partition_of(rows, row).err()) {
            rejects.push(*source, Stage::Shape, Reason::WrongType, detail);
            return Ok(true);
        }
        if let Some(keyed) = &mut self.keyed {
            match keyed.turn_to(records, rows, of_record()) {
                Ok(()) => {}
                Err(Denied::Pipeline(fault)) => return Err(fault),
                Err(Denied::Record(reason, detail)) => {
                    rejects.push(*source, Stage::Shape, reason, detail);
                    return Ok(true);
                }
            }
        }
        let of_record = entries.iter().take_while(|entry| entry.source == *source);
        for entry in of_record {
            let Made::Emitted(place) = entry.made else { continue };
            if let Err(fault) = self.emitting.topic(rows.emitted[place].topic) {
                let detail = format!("a transform emits a record: {fault}");
                rejects.push(*source, Stage::Shape, Reason::BadName, detail);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A row's line as a record.
    fn frame_line(&mut self, rows: &RowBatch, row: &Row, key: Option<&[u8]>, line: &[u8]) {
        let key = match (&self.keyed, self.key) {
            (Some(keyed), _) => keyed.of(row.number),
            (None, Some(column)) => self.fill_key(rows, row, column).then_some(&*self.key_bytes),
            (None, None) => key,
        };
        let value = line.strip_suffix(b"\n").unwrap_or(line);
        // What refuses here refused the record before.
        let partition = self.partition_of(rows, row).unwrap_or(None);
        self.frame.clear();
        let headers = &*self.addressing.headers;
        Frame { headers, ..Frame::row(partition, key, value) }.push(&mut self.frame);
    }

    /// What a transform made as a record; the number of its topic.
    fn frame_emitted(&mut self, rows: &RowBatch, place: usize) -> u32 {
        let emitted = &rows.emitted[place];
        self.frame.clear();
        self.emitting.frame(rows, emitted, &mut self.frame);
        // What refuses here refused the record before.
        self.emitting.topic(emitted.topic).unwrap_or_default()
    }
}

impl Encoder for Framing {
    fn encode(
        &mut self,
        records: &RecordBatch,
        rows: &RowBatch,
        rejects: &mut Rejects,
        outbox: &mut Outbox,
    ) -> Result<(), Fault> {
        self.origins.meet(records);
        let encoded = self.lines.encode(records, rows, rejects, &mut self.own);
        self.own.close_all();
        let mut payloads: Vec<Payload> = self.own.take_closed().map(|(_, one)| one).collect();
        if let Err(fault) = encoded {
            // The batch may be given back, and the next one is to find nothing of it.
            self.move_shares(records, &mut payloads, outbox);
            return Err(fault);
        }
        self.index(records, rows, &payloads, rejects);
        self.frame(records, rows, &mut payloads, rejects, outbox)?;
        payloads.into_iter().for_each(|payload| self.pool.put(payload.buffers));
        Ok(())
    }
}
