//! Fills the guest's arena with the records of one call, in one pass:
//!
//! ```text
//! Batch │ Record × reserved │ cells and bytes of row 0 │ cells and bytes of row 1 │ …
//! ```
//!
//! Every row becomes one record of the call (in a chain there may be more rows than records of
//! Kafka). Only what the guest wants is copied; pointers become its addresses. A row that does
//! not fit any more ends the call before it.

use std::ops::Range;

use bridge_abi::build::{self, Full, align8};
use bridge_abi::{
    BATCH_BYTES, BatchHeader, CELL_BYTES, Cell, HEADER_BYTES, HeaderFields, Kind, NULL_LEN,
    RECORD_BYTES, RECORD_DELETES, RECORD_KEY_NULL, RECORD_VALUE_NULL, RecordFields, wants,
};

use super::limits::CALL_RECORDS_MAX;
use crate::batch::{Record, RecordBatch, Row, RowBatch};

/// What the module reads of a record: its answer to `bridge_init`.
#[derive(Clone, Debug)]
pub(super) struct Wants {
    key: bool,
    headers: bool,
    value: bool,
    columns: Columns,
}

#[derive(Clone, Debug)]
enum Columns {
    None,
    All,
    /// Bit `column` is set where it was interned during init.
    Some(Vec<u64>),
}

impl Wants {
    /// From the bits of the answer and the columns that were interned during init; `None` where
    /// bits are set that this version does not know.
    pub(super) fn new(bits: i32, interned: &[u16]) -> Option<Wants> {
        let all = wants::KEY | wants::HEADERS | wants::VALUE | wants::COLUMNS | wants::INTERNED;
        if bits & !all != 0 {
            return None;
        }
        let columns = if bits & wants::COLUMNS != 0 {
            Columns::All
        } else if bits & wants::INTERNED != 0 && !interned.is_empty() {
            let highest = interned.iter().copied().max().unwrap_or(0);
            let mut set = vec![0u64; usize::from(highest) / 64 + 1];
            interned.iter().for_each(|id| set[usize::from(*id) / 64] |= 1 << (id % 64));
            Columns::Some(set)
        } else {
            Columns::None
        };
        Some(Wants {
            key: bits & wants::KEY != 0,
            headers: bits & wants::HEADERS != 0,
            value: bits & wants::VALUE != 0,
            columns,
        })
    }
}

impl Wants {
    /// What it reads beside columns.
    pub(super) fn beside(&self) -> Vec<&'static str> {
        let all = [(self.key, "key"), (self.headers, "headers"), (self.value, "value")];
        all.into_iter().filter_map(|(wanted, name)| wanted.then_some(name)).collect()
    }

    /// The columns that it reads, by number; `None` for all of them.
    pub(super) fn columns(&self) -> Option<Vec<u16>> {
        match &self.columns {
            Columns::None => Some(Vec::new()),
            Columns::All => None,
            Columns::Some(set) => {
                let has = |id: &u16| set[usize::from(*id) / 64] >> (id % 64) & 1 == 1;
                Some((0..set.len() as u16 * 64).filter(has).collect())
            }
        }
    }
}

/// What a call is about.
pub(super) struct Input<'a> {
    pub(super) records: &'a RecordBatch,
    pub(super) rows: &'a RowBatch,
    pub(super) topic: u16,
    pub(super) now_us: i64,
    pub(super) sequence: u64,
}

/// Fills `arena`, whose first byte has the address `base`, with the rows of `range` from its
/// start on, as many as fit and as one call takes. Answers how many those were.
pub(super) fn fill(
    arena: &mut [u8],
    base: u32,
    input: &Input<'_>,
    range: Range<usize>,
    wants: &Wants,
) -> usize {
    // An arena that cannot hold all records of a call at their usual size reserves room for
    // fewer, or nothing were left for their cells.
    let reserved = range.len().min(CALL_RECORDS_MAX).min(arena.len() / (2 * RECORD_BYTES));
    let at = BATCH_BYTES + reserved * RECORD_BYTES;
    let mut filling = Filling { arena, base, at, input, wants };
    let rows = &input.rows.rows[range.clone()];
    let (mut count, mut end) = (0, at);
    while count < reserved && filling.row(BATCH_BYTES + count * RECORD_BYTES, &rows[count]).is_ok()
    {
        count += 1;
        end = filling.at;
    }
    if count == 0 && reserved > 1 {
        // A large row may need what was reserved for those behind it.
        let first = range.start..range.start + 1;
        return fill(arena, base, input, first, wants);
    }
    let header = BatchHeader {
        now_us: input.now_us,
        sequence: input.sequence,
        in_len: end as u32,
        ..BatchHeader::new(count as u32, base + BATCH_BYTES as u32)
    };
    // An arena without room for the header had none for a row either.
    if build::write_batch_header(filling.arena, &header).is_err() {
        return 0;
    }
    count
}

/// The arena that a call for one row needs at most.
pub(super) fn bytes_of(input: &Input<'_>, row: &Row, wants: &Wants) -> usize {
    let cells = input.rows.cells_of(row);
    let pointed: usize =
        cells.iter().filter(|cell| points(cell)).map(|cell| align8(cell.len as usize)).sum();
    let record = input.records.get(row.source as usize);
    let mut bytes = BATCH_BYTES + 2 * RECORD_BYTES + cells.len() * CELL_BYTES + pointed + 64;
    if wants.key {
        bytes += record.key.map_or(0, <[u8]>::len) + 8;
    }
    if wants.value {
        bytes += record.value.map_or(0, <[u8]>::len) + 8;
    }
    if wants.headers {
        input.records.headers(row.source as usize, &mut |name, value| {
            bytes += HEADER_BYTES + name.len() + value.map_or(0, <[u8]>::len) + 16;
        });
    }
    bytes
}

#[inline(always)]
fn points(cell: &Cell) -> bool {
    Kind::from_u8(cell.kind).is_some_and(Kind::points)
}

struct Filling<'f, 'a> {
    arena: &'f mut [u8],
    base: u32,
    /// Where the next struct goes; 8-aligned between rows.
    at: usize,
    input: &'f Input<'a>,
    wants: &'f Wants,
}

impl Filling<'_, '_> {
    /// One row as the record at `slot`.
    #[inline]
    fn row(&mut self, slot: usize, row: &Row) -> Result<(), Full> {
        let record = self.input.records.get(row.source as usize);
        let cells = self.input.rows.cells_of(row);
        let cells_at = self.at;
        let count = match &self.wants.columns {
            Columns::None => 0,
            Columns::All => self.all(cells)?,
            Columns::Some(set) => {
                let in_set = |cell: &Cell| {
                    let word = set.get(usize::from(cell.column) / 64).copied().unwrap_or(0);
                    word >> (cell.column % 64) & 1 != 0
                };
                self.some(cells, in_set)?
            }
        };
        let mut flags = 0;
        if record.key.is_none() {
            flags |= RECORD_KEY_NULL;
        }
        if record.value.is_none() {
            flags |= RECORD_VALUE_NULL;
        }
        if self.input.rows.deleting.has(row.source) {
            flags |= RECORD_DELETES;
        }
        let mut fields = RecordFields {
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            partition: self.input.records.source.partition,
            topic: self.input.topic,
            flags,
            cells: self.address(cells_at),
            cell_count: count,
            table: row.table,
            source: row.source,
            ..RecordFields::default()
        };
        if self.wants.key || self.wants.value || self.wants.headers {
            self.raw(&record, row.source, &mut fields)?;
        }
        build::write_record(self.arena, slot, &fields)
    }

    /// Every cell; the row's bytes move in one piece where they lie together, which is how a
    /// decoder leaves them.
    #[inline]
    fn all(&mut self, cells: &[Cell]) -> Result<u16, Full> {
        let (mut first, mut end, mut sum, mut arrays) = (u64::MAX, 0, 0, false);
        for cell in cells {
            if points(cell) {
                first = first.min(cell.value);
                end = end.max(cell.value + u64::from(cell.len));
                sum += u64::from(cell.len);
                arrays |= cell.kind == Kind::Array as u8;
            }
        }
        // Arrays are aligned one by one. Bytes far apart are a patched row's: new text lies
        // behind that of all others.
        if arrays || (first < end && end - first > 2 * sum + 64) {
            return self.some(cells, |_| true);
        }
        let bytes_at = self.at + cells.len() * CELL_BYTES;
        let mut next = bytes_at;
        let mut shift = 0;
        if first < end {
            let bytes = &self.input.rows.arena[first as usize..end as usize];
            next = build::write_bytes(self.arena, bytes_at, bytes)?;
            shift = u64::from(self.address(bytes_at)).wrapping_sub(first);
        } else if first != u64::MAX {
            // Only empty ones: any address in the memory will do.
            shift = u64::from(self.base).wrapping_sub(first);
        }
        build::write_cells(self.arena, self.at, cells, shift)?;
        self.at = align8(next);
        Ok(cells.len() as u16)
    }

    /// Those cells that are `wanted`, each with its own bytes.
    #[inline]
    fn some(&mut self, cells: &[Cell], wanted: impl Fn(&Cell) -> bool) -> Result<u16, Full> {
        let cells_at = self.at;
        // Room for all of them, for the bytes lie behind; given back where there are none.
        let mut next = cells_at + cells.len() * CELL_BYTES;
        let mut count = 0;
        let mut bytes = false;
        for cell in cells.iter().filter(|cell| wanted(cell)) {
            let mut copy = *cell;
            if points(cell) {
                copy.value = u64::from(self.address(next));
                next =
                    align8(build::write_bytes(self.arena, next, self.input.rows.bytes_of(cell))?);
                bytes = true;
            }
            build::write_cell(self.arena, cells_at + count * CELL_BYTES, &copy)?;
            count += 1;
        }
        self.at = if bytes { next } else { cells_at + count * CELL_BYTES };
        Ok(count as u16)
    }

    /// Key, value and headers, as far as they are wanted.
    fn raw(
        &mut self,
        record: &Record<'_>,
        source: u32,
        fields: &mut RecordFields,
    ) -> Result<(), Full> {
        if let (true, Some(key)) = (self.wants.key, record.key) {
            (fields.key, fields.key_len) = self.bytes(key)?;
        }
        if let (true, Some(value)) = (self.wants.value, record.value) {
            (fields.value, fields.value_len) = self.bytes(value)?;
        }
        if !self.wants.headers {
            return Ok(());
        }
        let mut count = 0usize;
        self.input.records.headers(source as usize, &mut |_, _| count += 1);
        let headers_at = self.at;
        self.at += count * HEADER_BYTES;
        (fields.headers, fields.header_count) = (self.address(headers_at), count as u32);
        let mut written = Ok(());
        let mut slot = headers_at;
        let input = self.input;
        input.records.headers(source as usize, &mut |name, value| {
            if written.is_ok() {
                written = self.header(slot, name, value);
                slot += HEADER_BYTES;
            }
        });
        written
    }

    fn header(&mut self, slot: usize, name: &[u8], value: Option<&[u8]>) -> Result<(), Full> {
        let (name, name_len) = self.bytes(name)?;
        let (value, value_len) = match value {
            Some(value) => self.bytes(value)?,
            None => (0, NULL_LEN),
        };
        let fields = HeaderFields { name, name_len, value, value_len };
        build::write_header(self.arena, slot, &fields)
    }

    /// Copies bytes behind all others; their address and number.
    fn bytes(&mut self, bytes: &[u8]) -> Result<(u32, u32), Full> {
        let address = self.address(self.at);
        self.at = align8(build::write_bytes(self.arena, self.at, bytes)?);
        Ok((address, bytes.len() as u32))
    }

    /// The guest's address of a position in the arena. Wraps only for positions that do not fit,
    /// and those are refused when they are written to.
    #[inline(always)]
    fn address(&self, at: usize) -> u32 {
        self.base.wrapping_add(at as u32)
    }
}
