//! A guest's memory, made up: the input laid out as the bridge does it, and the output behind it
//! where the module's allocator would have put it.
//!
//! ```text
//! 0      BASE    +48        +64 n      ...                               align8
//! │ void │ Batch │ Record[] │ Cell[], Header[], bytes of records │ void │ output
//!        └── arena ─────────────────────────────────────────────┘
//!
//! output: Action[] Cell[] Record[] Header[] bytes
//! ```

use bridge_abi::build::{self, align8};
use bridge_abi::{
    BATCH_BYTES, BatchHeader, CELL_BYTES, Cell, HEADER_BYTES, HeaderFields, Kind, NULL_LEN,
    RECORD_BYTES, RECORD_KEY_NULL, RECORD_VALUE_NULL, RecordFields, wants,
};

use super::records::{TestRecord, TestValue};
use crate::emit::Slot;
use crate::host::{self, NameKind};
use crate::init::Column;
use crate::output::{Output, Places};

/// Where the arena begins; not 0, so that mistaking positions for addresses fails a test.
pub(super) const BASE: u32 = 1024;

/// What the transform asked to read.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) bits: i32,
    pub(super) columns: Vec<Column>,
}

impl Wanted {
    fn has(&self, bit: i32) -> bool {
        self.bits & bit != 0
    }

    fn column(&self, id: u16) -> bool {
        self.has(wants::COLUMNS) || self.has(wants::INTERNED) && self.columns.contains(&Column(id))
    }
}

/// Lays out an arena; its tail grows as records are added.
struct Arena {
    bytes: Vec<u8>,
}

impl Arena {
    /// The address of `len` fresh bytes, 8-aligned.
    fn room(&mut self, len: usize) -> (usize, u32) {
        let at = align8(self.bytes.len());
        self.bytes.resize(at + len, 0);
        (at, BASE + at as u32)
    }

    fn put(&mut self, bytes: &[u8]) -> u32 {
        let (at, address) = self.room(bytes.len());
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        address
    }

    fn cell(&mut self, column: u16, value: &TestValue) -> Cell {
        let scalar = |kind: Kind, flags: u8, value: u64| Cell {
            column,
            kind: kind as u8,
            flags,
            len: 0,
            value,
        };
        let (kind, flags, bytes) = match value {
            TestValue::Null | TestValue::Dropped => return scalar(Kind::Null, 0, 0),
            TestValue::Bool(value) => return scalar(Kind::Bool, 0, u64::from(*value)),
            TestValue::I64(value) => return scalar(Kind::I64, 0, *value as u64),
            TestValue::F64(value) => return scalar(Kind::F64, 0, value.to_bits()),
            TestValue::Timestamp(value, unit) => {
                return scalar(Kind::Timestamp, *unit as u8, *value as u64);
            }
            TestValue::Text(text) => (Kind::Text, 0, text.as_bytes().to_owned()),
            TestValue::Symbol(text) => (Kind::Symbol, 0, text.as_bytes().to_owned()),
            TestValue::Bytes(bytes) => (Kind::Bytes, 0, bytes.clone()),
            TestValue::Decimal(scale, unscaled) => (Kind::Decimal, *scale, unscaled.clone()),
            TestValue::Array(shape, values) => {
                let mut bytes = vec![0; build::array_bytes(shape).expect("a small array")];
                build::write_array(&mut bytes, 0, shape, values.iter().copied())
                    .expect("as many values as the shape says");
                (Kind::Array, 0, bytes)
            }
        };
        let value = u64::from(self.put(&bytes));
        Cell { column, kind: kind as u8, flags, len: bytes.len() as u32, value }
    }

    fn record(&mut self, record: &TestRecord, source: usize, wanted: &Wanted) -> RecordFields {
        let cells: Vec<Cell> = record
            .columns
            .iter()
            .map(|(name, value)| (id(NameKind::Column, name), value))
            .filter(|(column, _)| wanted.column(*column))
            .map(|(column, value)| self.cell(column, value))
            .collect();
        let (at, cells_at) = self.room(cells.len() * CELL_BYTES);
        build::write_cells(&mut self.bytes, at, &cells, 0).expect("the room was made");
        let (headers, header_count) = self.headers(record, wanted);
        let mut flags = 0;
        let key = record.key.as_deref().filter(|_| wanted.has(wants::KEY));
        let value = record.value.as_deref().filter(|_| wanted.has(wants::VALUE));
        flags |= if record.key.is_none() { RECORD_KEY_NULL } else { 0 };
        flags |= if record.value.is_none() { RECORD_VALUE_NULL } else { 0 };
        RecordFields {
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            partition: record.partition,
            topic: id(NameKind::Topic, &record.topic),
            flags,
            cells: cells_at,
            cell_count: cells.len() as u16,
            table: 0,
            key: key.map_or(0, |key| self.put(key)),
            key_len: key.map_or(0, |key| key.len() as u32),
            value: value.map_or(0, |value| self.put(value)),
            value_len: value.map_or(0, |value| value.len() as u32),
            headers,
            header_count,
            source: source as u32,
        }
    }

    fn headers(&mut self, record: &TestRecord, wanted: &Wanted) -> (u32, u32) {
        if record.headers.is_empty() || !wanted.has(wants::HEADERS) {
            return (0, 0);
        }
        let (first, address) = self.room(record.headers.len() * HEADER_BYTES);
        for (index, (name, value)) in record.headers.iter().enumerate() {
            let header = HeaderFields {
                name: self.put(name.as_bytes()),
                name_len: name.len() as u32,
                value: value.as_ref().map_or(0, |value| self.put(value)),
                value_len: value.as_ref().map_or(NULL_LEN, |value| value.len() as u32),
            };
            build::write_header(&mut self.bytes, first + index * HEADER_BYTES, &header)
                .expect("the room was made");
        }
        (address, record.headers.len() as u32)
    }
}

fn id(kind: NameKind, name: &str) -> u16 {
    host::intern(kind, name).expect("fewer than 65,536 names in a test")
}

/// The arena for a call over `records`, header first.
pub(super) fn arena(records: &[TestRecord], wanted: &Wanted) -> Vec<u64> {
    let mut arena = Arena { bytes: Vec::new() };
    arena.room(BATCH_BYTES + records.len() * RECORD_BYTES);
    for (index, record) in records.iter().enumerate() {
        let fields = arena.record(record, index, wanted);
        build::write_record(&mut arena.bytes, BATCH_BYTES + index * RECORD_BYTES, &fields)
            .expect("the room was made");
    }
    let header = BatchHeader {
        in_len: arena.bytes.len() as u32,
        ..BatchHeader::new(records.len() as u32, BASE + BATCH_BYTES as u32)
    };
    build::write_batch_header(&mut arena.bytes, &header).expect("the room was made");
    arena.room(0);
    let words = arena.bytes.as_chunks::<8>().0;
    words.iter().map(|word| u64::from_ne_bytes(*word)).collect()
}

/// The memory after the call as the host would see it, and what the guest would have returned.
pub(super) fn after_call(arena: &[u8], output: &mut Output) -> (Vec<u8>, i64) {
    let mut memory = vec![0; BASE as usize];
    memory.extend_from_slice(arena);
    let actions_at = align8(memory.len());
    let cells_at = actions_at + output.actions.len() * bridge_abi::ACTION_BYTES;
    let records_at = cells_at + output.cells.len() * CELL_BYTES;
    let headers_at = records_at + output.emits.records.len() * RECORD_BYTES;
    let bytes_at = headers_at + output.emits.headers.len() * HEADER_BYTES;
    output.settle(&Places {
        cells: cells_at as u32,
        bytes: bytes_at as u32,
        records: records_at as u32,
        headers: headers_at as u32,
    });
    memory.resize(records_at, 0);
    output.emits.records.iter().for_each(|Slot(record)| memory.extend_from_slice(record));
    output.emits.headers.iter().for_each(|Slot(header)| memory.extend_from_slice(header));
    memory.extend_from_slice(&output.bytes);
    for (index, action) in output.actions.iter().enumerate() {
        let at = actions_at + index * bridge_abi::ACTION_BYTES;
        build::write_action(&mut memory, at, action).expect("the room was made");
    }
    build::write_cells(&mut memory, cells_at, &output.cells, 0).expect("the room was made");
    (memory, ((actions_at as u64) << 32 | output.actions.len() as u64) as i64)
}
