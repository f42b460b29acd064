//! The record of an `emit`: key, value, headers, timestamp and partition of its struct count, the
//! rest is passed over, so that a record which came can be sent on as it lies there.

use core::fmt;

use crate::layout::{
    HEADER_BYTES, NULL_LEN, RECORD_BYTES, RECORD_DELETES, RECORD_KEY_NULL, RECORD_VALUE_NULL,
    RecordFields,
};
use crate::read;
use crate::value::BadValue;

/// A record for a topic, checked.
#[derive(Clone, Copy, Debug)]
pub struct Emitted<'m> {
    /// Its key; `None` is null.
    pub key: Option<&'m [u8]>,
    /// Its value; `None` is null (a tombstone).
    pub value: Option<&'m [u8]>,
    /// The partition that it is to go to; `None`: by its key.
    pub partition: Option<i32>,
    /// Milliseconds since 1970; `None`: when it is written.
    pub timestamp_ms: Option<i64>,
    memory: &'m [u8],
    headers: &'m [[u8; HEADER_BYTES]],
}

/// A name and a value, which may be null.
pub type EmittedHeader<'m> = (&'m str, Option<&'m [u8]>);

/// What can be wrong with such a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadRecord {
    /// The struct is not in the memory, or not 8-aligned.
    Outside(u32),
    /// The struct does not have the size of this version.
    Size(u32),
    /// Flags that this version does not have.
    Flags(u16),
    /// A partition below -1.
    Partition(i32),
    /// A timestamp below -1.
    Timestamp(i64),
    /// The headers are not in the memory, or not 8-aligned.
    Headers(u32),
    /// More headers than allowed.
    TooManyHeaders(u32),
    /// A part that is not null has the address 0: it was never asked for.
    NoAddress(&'static str),
    /// The bytes of a part are not in the memory, or not UTF-8.
    Part(&'static str, BadValue),
    /// More bytes than allowed.
    TooManyBytes,
}

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadRecord::Outside(ptr) => write!(f, "the record at {ptr:#x} is outside or unaligned"),
            BadRecord::Size(len) => write!(f, "a record of {len} bytes, not {RECORD_BYTES}"),
            BadRecord::Flags(flags) => write!(f, "unknown record flags {flags}"),
            BadRecord::Partition(number) => write!(f, "partition {number}"),
            BadRecord::Timestamp(ms) => write!(f, "timestamp {ms}"),
            BadRecord::Headers(ptr) => write!(f, "headers at {ptr:#x} are outside or unaligned"),
            BadRecord::TooManyHeaders(count) => write!(f, "{count} more headers are too many"),
            BadRecord::NoAddress(part) => {
                write!(f, "the {part} is at 0 and not null: was it asked for?")
            }
            BadRecord::Part(part, bad) => write!(f, "{part}: {bad}"),
            BadRecord::TooManyBytes => f.write_str("it points to too many bytes"),
        }
    }
}

/// What is left of an answer's bounds.
pub(crate) struct Budget<'a> {
    /// Headers.
    pub(crate) headers: &'a mut u32,
    /// Bytes.
    pub(crate) bytes: &'a mut u64,
}

impl<'m> Emitted<'m> {
    /// Checks the record of `len` bytes at `ptr`.
    pub(crate) fn read(
        memory: &'m [u8],
        ptr: u32,
        len: u32,
        budget: &mut Budget<'_>,
    ) -> Result<Emitted<'m>, BadRecord> {
        if len as usize != RECORD_BYTES {
            return Err(BadRecord::Size(len));
        }
        let aligned = ptr.is_multiple_of(8).then_some(ptr as usize);
        let fields = aligned.and_then(|at| read::record(memory, at));
        let fields = fields.ok_or(BadRecord::Outside(ptr))?;
        // The last one says nothing here: it comes along where a record is sent on as it lies.
        if fields.flags & !(RECORD_KEY_NULL | RECORD_VALUE_NULL | RECORD_DELETES) != 0 {
            return Err(BadRecord::Flags(fields.flags));
        }
        if fields.partition < -1 {
            return Err(BadRecord::Partition(fields.partition));
        }
        if fields.timestamp_ms < -1 {
            return Err(BadRecord::Timestamp(fields.timestamp_ms));
        }
        let RecordFields { flags, key, key_len, value, value_len, .. } = fields;
        let key = (flags & RECORD_KEY_NULL == 0).then_some((key, key_len));
        let value = (flags & RECORD_VALUE_NULL == 0).then_some((value, value_len));
        let mut part = |name, bytes| part(memory, name, bytes, budget.bytes);
        let (key, value) = (part("key", key)?, part("value", value)?);
        let headers = headers(memory, &fields, budget)?;
        let partition = (fields.partition >= 0).then_some(fields.partition);
        let timestamp_ms = (fields.timestamp_ms >= 0).then_some(fields.timestamp_ms);
        Ok(Emitted { key, value, partition, timestamp_ms, memory, headers })
    }

    /// Its headers, in order.
    pub fn headers(&self) -> impl ExactSizeIterator<Item = EmittedHeader<'m>> {
        let memory = self.memory;
        self.headers.iter().map(move |slot| {
            let mut all = u64::MAX;
            header(memory, slot, &mut all).expect("checked when it was read")
        })
    }
}

/// The bytes of a part that is not null.
fn part<'m>(
    memory: &'m [u8],
    name: &'static str,
    bytes: Option<(u32, u32)>,
    left: &mut u64,
) -> Result<Option<&'m [u8]>, BadRecord> {
    let Some((ptr, len)) = bytes else { return Ok(None) };
    if ptr == 0 {
        return Err(BadRecord::NoAddress(name));
    }
    let outside = BadValue::Outside { ptr: u64::from(ptr), len };
    let bytes = read::bytes(memory, ptr as usize, len as usize);
    let bytes = bytes.ok_or(BadRecord::Part(name, outside))?;
    *left = left.checked_sub(u64::from(len)).ok_or(BadRecord::TooManyBytes)?;
    Ok(Some(bytes))
}

fn headers<'m>(
    memory: &'m [u8],
    fields: &RecordFields,
    budget: &mut Budget<'_>,
) -> Result<&'m [[u8; HEADER_BYTES]], BadRecord> {
    let RecordFields { headers: ptr, header_count: count, .. } = *fields;
    let left = budget.headers.checked_sub(count);
    *budget.headers = left.ok_or(BadRecord::TooManyHeaders(count))?;
    let slots = read::structs(memory, ptr, count).ok_or(BadRecord::Headers(ptr))?;
    for slot in slots {
        header(memory, slot, budget.bytes)?;
    }
    Ok(slots)
}

fn header<'m>(
    memory: &'m [u8],
    slot: &[u8; HEADER_BYTES],
    left: &mut u64,
) -> Result<EmittedHeader<'m>, BadRecord> {
    let fields = read::header_fields(slot);
    let name = part(memory, "header's name", Some((fields.name, fields.name_len)), left)?;
    let name = core::str::from_utf8(name.unwrap_or_default());
    let name = name.map_err(|_| BadRecord::Part("header's name", BadValue::Utf8))?;
    let value = (fields.value_len != NULL_LEN).then_some((fields.value, fields.value_len));
    Ok((name, part(memory, "header's value", value, left)?))
}

#[cfg(test)]
#[path = "emit_tests.rs"]
mod tests;
