//! The rules of an emitted record, one by one, over structs written by hand; and the property that
//! no bytes make the check panic, or hand out what lies outside the memory.

extern crate std;

use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

use proptest::prelude::*;

use super::*;
use crate::build;
use crate::layout::HeaderFields;

/// Where the record lies; its headers and bytes lie behind it.
const RECORD: u32 = 64;
const HEADERS: u32 = 128;
const BYTES: u32 = 256;

fn memory(record: &RecordFields, headers: &[HeaderFields], bytes: &[u8]) -> Vec<u8> {
    let mut memory = vec![0; 512];
    build::write_record(&mut memory, RECORD as usize, record).expect("room");
    for (index, header) in headers.iter().enumerate() {
        let at = HEADERS as usize + index * HEADER_BYTES;
        build::write_header(&mut memory, at, header).expect("room");
    }
    build::write_bytes(&mut memory, BYTES as usize, bytes).expect("room");
    memory
}

fn read(memory: &[u8], ptr: u32, len: u32) -> Result<Emitted<'_>, String> {
    let (mut headers, mut bytes) = (4, 100);
    let mut budget = Budget { headers: &mut headers, bytes: &mut bytes };
    Emitted::read(memory, ptr, len, &mut budget).map_err(|bad| bad.to_string())
}

/// A key of two bytes, a value of three, two headers.
fn good() -> (RecordFields, [HeaderFields; 2]) {
    let record = RecordFields {
        timestamp_ms: 1_700_000_000_000,
        partition: 3,
        key: BYTES,
        key_len: 2,
        value: BYTES + 2,
        value_len: 3,
        headers: HEADERS,
        header_count: 2,
        // Passed over.
        offset: -7,
        topic: 999,
        cells: u32::MAX,
        cell_count: u16::MAX,
        table: 999,
        source: u32::MAX,
        ..RecordFields::default()
    };
    let header = HeaderFields { name: BYTES, name_len: 1, value: BYTES + 5, value_len: 1 };
    (record, [header, HeaderFields { value: 0, value_len: NULL_LEN, ..header }])
}

const GOOD_BYTES: &[u8] = b"k1v01h";

#[test]
fn a_good_record_is_handed_out_whole() {
    let (record, headers) = good();
    let memory = memory(&record, &headers, GOOD_BYTES);
    let emitted = read(&memory, RECORD, 64).expect("good");
    assert_eq!((emitted.key, emitted.value), (Some(&b"k1"[..]), Some(&b"v01"[..])));
    assert_eq!((emitted.partition, emitted.timestamp_ms), (Some(3), Some(1_700_000_000_000)));
    let headers: Vec<EmittedHeader> = emitted.headers().collect();
    assert_eq!(headers, [("k", Some(&b"h"[..])), ("k", None)]);

    let flags = RECORD_KEY_NULL | RECORD_VALUE_NULL;
    let bare = RecordFields { partition: -1, timestamp_ms: -1, flags, ..RecordFields::default() };
    let memory = self::memory(&bare, &[], &[]);
    let emitted = read(&memory, RECORD, 64).expect("good");
    assert_eq!((emitted.key, emitted.value, emitted.headers().len()), (None, None, 0));
    assert_eq!((emitted.partition, emitted.timestamp_ms), (None, None));
}

/// What a change to the good record is refused with.
fn refusal(change: impl FnOnce(&mut RecordFields, &mut [HeaderFields; 2])) -> String {
    let (mut record, mut headers) = good();
    change(&mut record, &mut headers);
    let memory = memory(&record, &headers, GOOD_BYTES);
    read(&memory, RECORD, 64).map(|_| ()).expect_err("is refused")
}

#[test]
fn what_is_wrong_is_named() {
    let memory = memory(&good().0, &good().1, GOOD_BYTES);
    let fails = |ptr, len, with: &str| {
        let said = read(&memory, ptr, len).map(|_| ()).expect_err("is refused");
        assert!(said.contains(with), "{said:?} does not say {with:?}");
    };
    fails(RECORD, 63, "a record of 63 bytes, not 64");
    fails(RECORD, 128, "a record of 128 bytes, not 64");
    fails(RECORD + 4, 64, "unaligned");
    fails(456, 64, "outside");
    fails(u32::MAX - 7, 64, "outside");

    assert_eq!(refusal(|record, _| record.flags = 8), "unknown record flags 8");
    assert_eq!(refusal(|record, _| record.partition = -2), "partition -2");
    assert_eq!(refusal(|record, _| record.timestamp_ms = -2), "timestamp -2");
    let never_asked_for = "the value is at 0 and not null: was it asked for?";
    assert_eq!(refusal(|record, _| (record.value, record.value_len) = (0, 0)), never_asked_for);
    let outside = "key: 2 bytes at 0x1ff are outside the memory";
    assert_eq!(refusal(|record, _| record.key = 511), outside);
    assert_eq!(refusal(|record, _| record.header_count = 5), "5 more headers are too many");
    let unaligned = "headers at 0x81 are outside or unaligned";
    assert_eq!(refusal(|record, _| record.headers = HEADERS + 1), unaligned);
    assert_eq!(refusal(|_, headers| headers[1].name_len = 99), "it points to too many bytes");
    let name = "header's name: 9 bytes at 0x1ff are outside the memory";
    assert_eq!(refusal(|_, headers| (headers[0].name, headers[0].name_len) = (511, 9)), name);
    let value = "the header's value is at 0 and not null: was it asked for?";
    assert_eq!(refusal(|_, headers| headers[0].value = 0), value);

    let (record, headers) = good();
    let memory = self::memory(&record, &headers, b"\xff1v01h");
    let said = read(&memory, RECORD, 64).map(|_| ()).expect_err("is refused");
    assert_eq!(said, format!("header's name: {}", BadValue::Utf8));
}

/// A number that is often small enough, so that random records get past the first check.
fn near() -> impl Strategy<Value = u32> {
    prop_oneof![12 => 0u32..20, 3 => 0u32..600, 1 => any::<u32>()]
}

proptest! {
    #[test]
    fn what_is_handed_out_lies_in_the_memory(
        words in proptest::collection::vec(near(), 32),
        ptr in prop_oneof![Just(RECORD), any::<u32>()],
    ) {
        let mut memory = vec![b'a'; 512];
        for (slot, word) in memory[RECORD as usize..].chunks_mut(4).zip(&words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        // The flags are mostly wrong else.
        memory[RECORD as usize + 22..][..2].copy_from_slice(&(words[0] as u16 % 5).to_le_bytes());
        let range = memory.as_ptr_range();
        let inside = |bytes: &[u8]| {
            let own = bytes.as_ptr_range();
            own.start >= range.start && own.end <= range.end
        };
        let Ok(emitted) = read(&memory, ptr, 64) else { return Ok(()) };
        prop_assert!(emitted.key.is_none_or(inside) && emitted.value.is_none_or(inside));
        prop_assert!(emitted.headers().len() <= 4);
        for (name, value) in emitted.headers() {
            prop_assert!(inside(name.as_bytes()) && value.is_none_or(inside));
        }
    }
}
