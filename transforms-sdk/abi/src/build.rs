//! Writes the structs of the contract into a byte slice at a position of it: the host fills the
//! guest's arena with these, the SDK's test harness too. Nothing is allocated; a position that
//! does not fit answers [`Full`], and nothing has been written then.

use crate::layout::{
    ACTION_BYTES, Action, BATCH_BYTES, BatchHeader, CELL_BYTES, Cell, HEADER_BYTES, HeaderFields,
    RECORD_BYTES, RecordFields,
};

/// The struct does not fit into the buffer at that position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

impl core::fmt::Display for Full {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("writing past the end of the arena")
    }
}

impl core::error::Error for Full {}

/// The next position that is 8-aligned, where every struct and array begins.
#[inline]
pub const fn align8(at: usize) -> usize {
    (at + 7) & !7
}

/// The `N` bytes at `at`, as an array: one check for a whole struct.
#[inline(always)]
fn slot<const N: usize>(buf: &mut [u8], at: usize) -> Result<&mut [u8; N], Full> {
    buf.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<N>()).ok_or(Full)
}

/// Puts little-endian fields one after the other into an array; offsets are known when compiled.
macro_rules! put {
    ($slot:ident: $($at:literal => $value:expr),+ $(,)?) => {{
        $({
            let bytes = ($value).to_le_bytes();
            $slot[$at..$at + bytes.len()].copy_from_slice(&bytes);
        })+
    }};
}

/// Writes a batch header at the start of `buf`.
#[inline]
pub fn write_batch_header(buf: &mut [u8], header: &BatchHeader) -> Result<(), Full> {
    let slot = slot::<BATCH_BYTES>(buf, 0)?;
    put!(slot:
        0 => header.abi, 2 => header.size, 4 => header.record_stride, 6 => header.cell_stride,
        8 => header.count, 12 => header.records, 16 => header.consumed, 20 => header.flags,
        24 => header.now_us, 32 => header.sequence, 40 => header.in_len, 44 => header.progress,
    );
    Ok(())
}

/// Writes a record at `at`.
#[inline]
pub fn write_record(buf: &mut [u8], at: usize, record: &RecordFields) -> Result<(), Full> {
    let slot = slot::<RECORD_BYTES>(buf, at)?;
    put!(slot:
        0 => record.offset, 8 => record.timestamp_ms, 16 => record.partition, 20 => record.topic,
        22 => record.flags, 24 => record.cells, 28 => record.cell_count, 30 => record.table,
        32 => record.key, 36 => record.key_len, 40 => record.value, 44 => record.value_len,
        48 => record.headers, 52 => record.header_count, 56 => record.source, 60 => 0u32,
    );
    Ok(())
}

/// Writes a header of a record at `at`.
#[inline]
pub fn write_header(buf: &mut [u8], at: usize, header: &HeaderFields) -> Result<(), Full> {
    let slot = slot::<HEADER_BYTES>(buf, at)?;
    put!(slot:
        0 => header.name, 4 => header.name_len, 8 => header.value, 12 => header.value_len,
    );
    Ok(())
}

/// The bytes of a cell.
#[inline(always)]
pub fn cell_bytes(cell: &Cell) -> [u8; CELL_BYTES] {
    let mut slot = [0; CELL_BYTES];
    slot[0..2].copy_from_slice(&cell.column.to_le_bytes());
    slot[2] = cell.kind;
    slot[3] = cell.flags;
    slot[4..8].copy_from_slice(&cell.len.to_le_bytes());
    slot[8..16].copy_from_slice(&cell.value.to_le_bytes());
    slot
}

/// Writes a cell at `at`.
#[inline]
pub fn write_cell(buf: &mut [u8], at: usize, cell: &Cell) -> Result<(), Full> {
    *slot::<CELL_BYTES>(buf, at)? = cell_bytes(cell);
    Ok(())
}

/// Writes a run of cells at `at` and adds `shift` to every pointer: the host's cells point into
/// its own arena, and `shift` is where that arena's copy lies in the guest. One check a run.
#[inline]
pub fn write_cells(buf: &mut [u8], at: usize, cells: &[Cell], shift: u64) -> Result<(), Full> {
    let room = buf.get_mut(at..).ok_or(Full)?;
    let room = room.get_mut(..cells.len() * CELL_BYTES).ok_or(Full)?;
    for (slot, cell) in room.as_chunks_mut::<CELL_BYTES>().0.iter_mut().zip(cells) {
        // The pointing kinds are neighbours except for `Timestamp`; a table of bits beats a match.
        let moved = (POINTS >> (cell.kind & 31)) & 1;
        let value = cell.value.wrapping_add(shift * u64::from(moved));
        *slot = cell_bytes(&Cell { value, ..*cell });
    }
    Ok(())
}

/// Bit `kind` is set where the kind points; held against [`crate::Kind::points`] by a test.
const POINTS: u32 = 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9;

/// Writes an action at `at`: the guest's side, and tests.
#[inline]
pub fn write_action(buf: &mut [u8], at: usize, action: &Action) -> Result<(), Full> {
    let slot = slot::<ACTION_BYTES>(buf, at)?;
    put!(slot:
        0 => action.kind, 1 => action.flags, 2 => action.target, 4 => action.record,
        8 => action.ptr, 12 => action.len,
    );
    Ok(())
}

/// Writes plain bytes at `at`; answers the position behind them.
#[inline]
pub fn write_bytes(buf: &mut [u8], at: usize, bytes: &[u8]) -> Result<usize, Full> {
    let end = at.checked_add(bytes.len()).ok_or(Full)?;
    buf.get_mut(at..end).ok_or(Full)?.copy_from_slice(bytes);
    Ok(end)
}

/// Bytes that an array of this shape takes, or `None` where they pass `u32`.
pub fn array_bytes(shape: &[u32]) -> Option<usize> {
    let mut count: u32 = 1;
    for side in shape {
        count = count.checked_mul(*side)?;
    }
    let data = u64::from(count) * 8 + align8(4 + 4 * shape.len()) as u64;
    u32::try_from(data).ok().map(|bytes| bytes as usize)
}

/// Writes an array at `at` (8-aligned, please); answers the position behind it. Values beyond the
/// shape's product are left out, missing ones are an error.
pub fn write_array(
    buf: &mut [u8],
    at: usize,
    shape: &[u32],
    values: impl Iterator<Item = f64>,
) -> Result<usize, Full> {
    let bytes = array_bytes(shape).ok_or(Full)?;
    let room = buf.get_mut(at..).and_then(|rest| rest.get_mut(..bytes)).ok_or(Full)?;
    let (head, data) = room.split_at_mut(align8(4 + 4 * shape.len()));
    head.fill(0);
    head[..4].copy_from_slice(&(shape.len() as u32).to_le_bytes());
    for (slot, side) in head[4..].as_chunks_mut::<4>().0.iter_mut().zip(shape) {
        *slot = side.to_le_bytes();
    }
    let mut values = values;
    for slot in data.as_chunks_mut::<8>().0 {
        *slot = values.next().ok_or(Full)?.to_bits().to_le_bytes();
    }
    Ok(at + bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Kind;

    #[test]
    fn points_agrees_with_kind() {
        for number in 0..32u8 {
            let points = Kind::from_u8(number).is_some_and(Kind::points);
            assert_eq!(POINTS >> number & 1 == 1, points, "kind {number}");
        }
    }

    #[test]
    fn nothing_is_written_past_the_end() {
        let mut buf = [7u8; 63];
        assert_eq!(write_record(&mut buf, 0, &RecordFields::default()), Err(Full));
        assert_eq!(write_cell(&mut buf, 48, &Cell::default()), Err(Full));
        assert_eq!(write_cell(&mut buf, usize::MAX, &Cell::default()), Err(Full));
        assert_eq!(write_bytes(&mut buf, 60, b"abcd"), Err(Full));
        assert_eq!(write_array(&mut buf, 8, &[100], [].into_iter()), Err(Full));
        assert_eq!(buf, [7u8; 63]);
    }

    #[test]
    fn cells_are_shifted_where_they_point() {
        let cells = [
            Cell { column: 1, kind: Kind::I64 as u8, value: 5, ..Cell::default() },
            Cell { column: 2, kind: Kind::Text as u8, len: 3, value: 5, flags: 0 },
        ];
        let mut buf = [0u8; 32];
        assert_eq!(write_cells(&mut buf, 0, &cells, 0x1000), Ok(()));
        assert_eq!(&buf[..16], &[1, 0, 2, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&buf[16..], &[2, 0, 4, 0, 3, 0, 0, 0, 5, 0x10, 0, 0, 0, 0, 0, 0]);
    }
}
