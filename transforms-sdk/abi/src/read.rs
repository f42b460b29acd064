//! Reads the structs of the contract out of a byte slice, for both sides. A position outside the
//! slice answers `None`; nothing here judges what the bytes mean (see `validate` for that).

use crate::layout::{
    ACTION_BYTES, Action, BATCH_BYTES, BatchHeader, CELL_BYTES, Cell, HEADER_BYTES, HeaderFields,
    RECORD_BYTES, RecordFields,
};

/// The `N` bytes at `at`.
#[inline(always)]
pub fn chunk<const N: usize>(memory: &[u8], at: usize) -> Option<&[u8; N]> {
    memory.get(at..)?.first_chunk::<N>()
}

/// `len` bytes at `at`. The guest may say both, so their sum may not fit.
#[inline]
pub fn bytes(memory: &[u8], at: usize, len: usize) -> Option<&[u8]> {
    memory.get(at..)?.get(..len)
}

/// `count` structs of `N` bytes at an 8-aligned address. None at all may have any address.
#[inline]
pub fn structs<const N: usize>(memory: &[u8], ptr: u32, count: u32) -> Option<&[[u8; N]]> {
    if count == 0 {
        return Some(&[]);
    }
    if !ptr.is_multiple_of(8) {
        return None;
    }
    let len = (count as usize).checked_mul(N)?;
    Some(bytes(memory, ptr as usize, len)?.as_chunks::<N>().0)
}

/// A little-endian number at a fixed place of a struct; checked away when compiled.
macro_rules! number {
    ($name:ident, $type:ty, $bytes:literal) => {
        #[inline(always)]
        fn $name<const N: usize>(slot: &[u8; N], at: usize) -> $type {
            let mut bytes = [0; $bytes];
            bytes.copy_from_slice(&slot[at..at + $bytes]);
            <$type>::from_le_bytes(bytes)
        }
    };
}
number!(u16_at, u16, 2);
number!(u32_at, u32, 4);
number!(u64_at, u64, 8);

/// The batch header at `at`.
#[inline]
pub fn batch_header(memory: &[u8], at: usize) -> Option<BatchHeader> {
    let slot = chunk::<BATCH_BYTES>(memory, at)?;
    Some(BatchHeader {
        abi: u16_at(slot, 0),
        size: u16_at(slot, 2),
        record_stride: u16_at(slot, 4),
        cell_stride: u16_at(slot, 6),
        count: u32_at(slot, 8),
        records: u32_at(slot, 12),
        consumed: u32_at(slot, 16),
        flags: u32_at(slot, 20),
        now_us: u64_at(slot, 24) as i64,
        sequence: u64_at(slot, 32),
        in_len: u32_at(slot, 40),
        progress: u32_at(slot, 44),
    })
}

/// The record at `at`.
#[inline]
pub fn record(memory: &[u8], at: usize) -> Option<RecordFields> {
    Some(record_fields(chunk::<RECORD_BYTES>(memory, at)?))
}

/// A record's bytes as values.
#[inline(always)]
pub fn record_fields(slot: &[u8; RECORD_BYTES]) -> RecordFields {
    RecordFields {
        offset: u64_at(slot, 0) as i64,
        timestamp_ms: u64_at(slot, 8) as i64,
        partition: u32_at(slot, 16) as i32,
        topic: u16_at(slot, 20),
        flags: u16_at(slot, 22),
        cells: u32_at(slot, 24),
        cell_count: u16_at(slot, 28),
        table: u16_at(slot, 30),
        key: u32_at(slot, 32),
        key_len: u32_at(slot, 36),
        value: u32_at(slot, 40),
        value_len: u32_at(slot, 44),
        headers: u32_at(slot, 48),
        header_count: u32_at(slot, 52),
        source: u32_at(slot, 56),
    }
}

/// The header of a record at `at`.
#[inline]
pub fn header(memory: &[u8], at: usize) -> Option<HeaderFields> {
    Some(header_fields(chunk::<HEADER_BYTES>(memory, at)?))
}

/// A header's bytes as values.
#[inline]
pub fn header_fields(slot: &[u8; HEADER_BYTES]) -> HeaderFields {
    HeaderFields {
        name: u32_at(slot, 0),
        name_len: u32_at(slot, 4),
        value: u32_at(slot, 8),
        value_len: u32_at(slot, 12),
    }
}

/// The cell at `at`.
#[inline]
pub fn cell(memory: &[u8], at: usize) -> Option<Cell> {
    Some(cell_fields(chunk::<CELL_BYTES>(memory, at)?))
}

/// A cell's bytes as values.
#[inline(always)]
pub fn cell_fields(slot: &[u8; CELL_BYTES]) -> Cell {
    Cell {
        column: u16_at(slot, 0),
        kind: slot[2],
        flags: slot[3],
        len: u32_at(slot, 4),
        value: u64_at(slot, 8),
    }
}

/// The action at `at`.
#[inline]
pub fn action(memory: &[u8], at: usize) -> Option<Action> {
    Some(action_fields(chunk::<ACTION_BYTES>(memory, at)?))
}

/// An action's bytes as values.
#[inline(always)]
pub fn action_fields(slot: &[u8; ACTION_BYTES]) -> Action {
    Action {
        kind: slot[0],
        flags: slot[1],
        target: u16_at(slot, 2),
        record: u32_at(slot, 4),
        ptr: u32_at(slot, 8),
        len: u32_at(slot, 12),
    }
}

/// What `bridge_batch` answered: the address of the actions and how many there are.
#[inline]
pub const fn returned(answer: i64) -> (u32, u32) {
    ((answer as u64 >> 32) as u32, answer as u32)
}
