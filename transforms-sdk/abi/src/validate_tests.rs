//! The rules of the contract, one by one, over answers written by hand; and the property that no
//! bytes at all make the walk panic, or hand out what lies outside the memory.

extern crate std;

use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

use proptest::prelude::*;

use super::*;
use crate::build;
use crate::layout::{Action, CELL_DROP, Cell, Kind, RecordFields};

const LIMITS: Limits = Limits {
    actions_max: 100,
    cells_max: 200,
    row_cells_max: 150,
    bytes_max: 1000,
    max_column: 140,
    max_table: 2,
    max_topic: Some(2),
};

/// Actions at 0, cells at 4096, bytes at 8192, a record to emit at 9000.
fn memory(actions: &[Action], cells: &[Cell], bytes: &[u8]) -> Vec<u8> {
    let mut memory = vec![0; 12288];
    for (index, action) in actions.iter().enumerate() {
        build::write_action(&mut memory, index * 16, action).expect("room");
    }
    build::write_cells(&mut memory, 4096, cells, 0).expect("room");
    build::write_bytes(&mut memory, 8192, bytes).expect("room");
    let emitted = RecordFields { key: 1, value: 1, ..RecordFields::default() };
    build::write_record(&mut memory, 9000, &emitted).expect("room");
    memory
}

fn answer(count: usize) -> Answer {
    Answer { actions: 0, count: count as u32, records: 10, consumed: 10 }
}

/// The whole answer as lines, or the fault's message.
fn walk(memory: &[u8], answer: &Answer) -> Result<Vec<String>, String> {
    fn read(memory: &[u8], answer: &Answer) -> Result<Vec<String>, Fault> {
        let mut lines = Vec::new();
        let mut walk = Walk::new(memory, answer, &LIMITS)?;
        while let Some(checked) = walk.next()? {
            lines.push(match checked {
                Checked::Keep { record, table } => format!("{record} keep {table}"),
                Checked::Patch { record, table, cells } => {
                    format!("{record} patch {table}{}", columns(cells)?)
                }
                Checked::Row { record, table, cells } => {
                    format!("{record} row {table}{}", columns(cells)?)
                }
                Checked::Reject { record, reason } => format!("{record} reject {reason}"),
                Checked::Emit { record, topic, emitted } => {
                    let value = emitted.value.map(String::from_utf8_lossy);
                    format!("{record} emit {topic} {value:?}")
                }
            });
        }
        Ok(lines)
    }
    fn columns(cells: Cells<'_, '_>) -> Result<String, Fault> {
        let mut text = String::new();
        for cell in cells {
            let cell = cell?;
            text += &format!(" {}={:?}", cell.column, cell.value);
        }
        Ok(text)
    }
    read(memory, answer).map_err(|fault| fault.to_string())
}

fn check(actions: &[Action], cells: &[Cell], bytes: &[u8]) -> Result<Vec<String>, String> {
    walk(&memory(actions, cells, bytes), &answer(actions.len()))
}

fn action(kind: ActionKind, record: u32, ptr: u32, len: u32) -> Action {
    Action { kind: kind as u8, flags: 0, target: 0, record, ptr, len }
}

fn cell(column: u16, kind: Kind, flags: u8, len: u32, value: u64) -> Cell {
    Cell { column, kind: kind as u8, flags, len, value }
}

/// What one cell in a patch becomes.
fn check_cell(cell: Cell, bytes: &[u8]) -> Result<Vec<String>, String> {
    check(&[action(ActionKind::Patch, 0, 4096, 1)], &[cell], bytes)
}

fn fails<T: std::fmt::Debug>(result: Result<T, String>, with: &str) {
    let message = result.expect_err("is refused");
    assert!(message.contains(with), "{message:?} does not say {with:?}");
}

#[test]
fn a_good_answer_is_handed_out_whole() {
    let actions = [
        action(ActionKind::Keep, 0, 0, 0),
        Action { target: 2, ..action(ActionKind::Keep, 1, 0, 0) },
        action(ActionKind::Patch, 3, 4096, 2),
        action(ActionKind::Row, 4, 4128, 1),
        action(ActionKind::Row, 4, 4128, 1),
        action(ActionKind::Keep, 4, 0, 0),
        Action { target: 1, ..action(ActionKind::Emit, 4, 9000, 64) },
        Action { target: 2, ..action(ActionKind::Emit, 4, 9000, 64) },
        action(ActionKind::Reject, 9, 8192, 4),
    ];
    let cells = [
        cell(1, Kind::F64, 0, 0, 1.5f64.to_bits()),
        cell(2, Kind::Null, CELL_DROP, 0, 0),
        cell(3, Kind::Symbol, 0, 2, 8196),
    ];
    let lines = check(&actions, &cells, b"coldno").expect("good");
    assert_eq!(
        lines,
        [
            "0 keep 0",
            "1 keep 2",
            "3 patch 0 1=F64(1.5) 2=Drop",
            "4 row 0 3=Symbol(\"no\")",
            "4 row 0 3=Symbol(\"no\")",
            "4 keep 0",
            "4 emit 1 Some(\"\")",
            "4 emit 2 Some(\"\")",
            "9 reject cold",
        ]
    );
    assert_eq!(walk(&[], &answer(0)), Ok(vec![]));
}

#[test]
fn answers_as_a_whole() {
    let memory = memory(&[], &[], &[]);
    for (consumed, fine) in [(0, false), (1, true), (10, true), (11, false)] {
        let result = walk(&memory, &Answer { consumed, ..answer(0) });
        assert_eq!(result.is_ok(), fine, "consumed {consumed}");
    }
    fails(walk(&memory, &answer(101)), "101 actions are too many");
    fails(walk(&memory, &Answer { actions: 4, ..answer(1) }), "unaligned");
    fails(walk(&memory, &Answer { actions: 12288, ..answer(1) }), "outside");
    fails(walk(&memory, &Answer { actions: 0xffff_fff8, ..answer(100) }), "outside");
    assert_eq!(
        Answer::new(0x0000_1000_0000_0003, 5, 4).actions,
        0x1000,
        "the high half is the address"
    );
}

#[test]
fn actions_one_by_one() {
    let keep = |record| action(ActionKind::Keep, record, 0, 0);
    fails(check(&[keep(10)], &[], &[]), "action 0 for record 10: there is no such record");
    fails(check(&[keep(3), keep(2)], &[], &[]), "action 1 for record 2: the action before");
    fails(check(&[keep(3), keep(3)], &[], &[]), "already had");
    fails(check(&[Action { kind: 0, ..keep(0) }], &[], &[]), "unknown action 0");
    fails(check(&[Action { kind: 6, ..keep(0) }], &[], &[]), "unknown action 6");
    fails(check(&[Action { flags: 1, ..keep(0) }], &[], &[]), "action flags 1");
    fails(check(&[Action { target: 3, ..keep(0) }], &[], &[]), "table id 3");
    for (target, said) in [(0, "topic id 0"), (3, "topic id 3"), (2, "record of 0 bytes")] {
        let emit = Action { target, ..action(ActionKind::Emit, 0, 0, 0) };
        fails(check(&[emit], &[], &[]), said);
    }
    let memory = memory(&[action(ActionKind::Emit, 0, 9000, 64)], &[], &[]);
    let nowhere = Limits { max_topic: None, ..LIMITS };
    let refused = Walk::new(&memory, &answer(1), &nowhere).expect("a good header").next().err();
    assert_eq!(refused.expect("is refused").wrong, Wrong::Emit);
    let patch = |ptr, len| [action(ActionKind::Patch, 0, ptr, len)];
    fails(check(&patch(4100, 1), &[], &[]), "unaligned");
    fails(check(&patch(12280, 1), &[], &[]), "outside");
    fails(check(&patch(0xffff_fff8, 150), &[], &[]), "outside");
    fails(check(&patch(4096, 151), &[], &[]), "151 more cells");
    let reject = |ptr, len| [action(ActionKind::Reject, 0, ptr, len)];
    fails(check(&reject(12288, 1), &[], &[]), "outside");
    fails(check(&reject(u32::MAX, u32::MAX), &[], &[]), "outside");
    fails(check(&reject(8192, 1001), &[], &[]), "too many bytes");
    fails(check(&reject(8192, 1), &[], &[0xff]), "not UTF-8");
}

#[test]
fn columns_are_known_and_unique() {
    let null = |column| cell(column, Kind::Null, 0, 0, 0);
    fails(check_cell(null(0), &[]), "column id 0");
    fails(check_cell(null(141), &[]), "column id 141");
    let row = |len| [action(ActionKind::Row, 0, 4096, len)];
    fails(check(&row(3), &[null(5), null(9), null(5)], &[]), "column id 5 twice");
    // 69 and 5 share a bit of the filter and are two columns all the same.
    assert!(check(&row(2), &[null(69), null(5)], &[]).is_ok());
    let falling: Vec<Cell> = (1..=140).rev().map(null).collect();
    assert!(check(&row(140), &falling, &[]).is_ok());
    let twice = [action(ActionKind::Row, 0, 4096, 140), action(ActionKind::Row, 1, 4096, 140)];
    fails(check(&twice, &falling, &[]), "action 1 for record 1: 140 more cells");
    fails(check(&row(1), &[cell(1, Kind::Null, CELL_DROP, 0, 0)], &[]), "dropped in a new row");
}

#[test]
fn values_kind_by_kind() {
    let good = |cell, bytes: &[u8]| {
        check_cell(cell, bytes).expect("good")[0]["0 patch 0 1=".len()..].to_string()
    };
    assert_eq!(good(cell(1, Kind::Bool, 0, 0, 1), &[]), "Bool(true)");
    assert_eq!(good(cell(1, Kind::I64, 0, 0, u64::MAX), &[]), "I64(-1)");
    assert_eq!(good(cell(1, Kind::Timestamp, 2, 0, 7), &[]), "Timestamp(7, Micros)");
    assert_eq!(good(cell(1, Kind::Text, 0, 2, 8192), "é".as_bytes()), "Text(\"é\")");
    assert_eq!(good(cell(1, Kind::Bytes, 0, 0, 0), &[]), "Bytes([])");
    assert_eq!(
        good(cell(1, Kind::Decimal, 2, 2, 8192), &[1, 0]),
        "Decimal { scale: 2, unscaled: [1, 0] }"
    );
    fails(check_cell(Cell { kind: 10, ..cell(1, Kind::Null, 0, 0, 0) }, &[]), "kind 10");
    fails(check_cell(cell(1, Kind::Null, 2, 0, 0), &[]), "flags 2");
    fails(check_cell(cell(1, Kind::Bool, 0, 0, 2), &[]), "bool is 2");
    fails(check_cell(cell(1, Kind::Timestamp, 4, 0, 0), &[]), "unit 4");
    fails(check_cell(cell(1, Kind::Text, 0, 1, 8192), &[0xc3]), "not UTF-8");
    fails(check_cell(cell(1, Kind::Text, 0, 1, 12288), &[]), "outside");
    fails(check_cell(cell(1, Kind::Text, 0, 1, u64::MAX), &[]), "outside");
    fails(check_cell(cell(1, Kind::Text, 0, 1 << 30, 8192), &[]), "outside");
    fails(check_cell(cell(1, Kind::Bytes, 0, 1001, 8192), &[]), "too many bytes");
    fails(check_cell(cell(1, Kind::Decimal, 77, 2, 8192), &[]), "scale 77");
    fails(check_cell(cell(1, Kind::Decimal, 0, 33, 8192), &[]), "33 bytes");
    fails(check_cell(cell(1, Kind::Decimal, 0, 0, 8192), &[]), "0 bytes");
}

#[test]
fn arrays_have_the_length_of_their_shape() {
    let mut bytes = vec![0; 64];
    let end = build::write_array(&mut bytes, 0, &[2, 1], [1.5, -2.0].into_iter()).expect("room");
    assert_eq!(end, 32);
    assert_eq!(
        bytes[..32],
        [
            2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, // dims, shape, padding
            0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0xc0,
        ]
    );
    let array = value::array(&bytes[..32]).expect("good");
    assert_eq!(array.shape().collect::<Vec<_>>(), [2, 1]);
    assert_eq!(array.values().collect::<Vec<_>>(), [1.5, -2.0]);
    assert!(check_cell(cell(1, Kind::Array, 0, 32, 8192), &bytes).is_ok());
    for len in [0, 3, 12, 16, 24, 31, 33, 40] {
        fails(check_cell(cell(1, Kind::Array, 0, len, 8192), &bytes), "dimensions");
    }
    for dims in [0u32, 33, u32::MAX] {
        bytes[..4].copy_from_slice(&dims.to_le_bytes());
        fails(check_cell(cell(1, Kind::Array, 0, 32, 8192), &bytes), "dimensions");
    }
    let overflow = [2, 0, 0, 0, 0, 0, 0, 0x80, 2, 0, 0, 0, 0, 0, 0, 0];
    fails(check_cell(cell(1, Kind::Array, 0, 16, 8192), &overflow), "dimensions");
}

/// A number that is often just right, so that random answers get past the first check.
fn near(good: u32) -> impl Strategy<Value = u32> {
    prop_oneof![6 => 0..good, 1 => any::<u32>(), 1 => Just(good), 1 => Just(u32::MAX)]
}

proptest! {
    #[test]
    fn no_bytes_panic(
        memory in proptest::collection::vec(0u8..12, 0..600),
        actions in near(80), count in near(12), records in near(12), consumed in near(12),
    ) {
        let actions = if actions < 80 { actions & !7 } else { actions };
        let _ = walk(&memory, &Answer { actions, count, records, consumed });
    }

    #[test]
    fn what_is_handed_out_lies_in_the_memory(
        kinds in proptest::collection::vec((0u8..11, 0u8..3, near(64), near(13000)), 1..20),
    ) {
        let cells: Vec<Cell> = kinds.iter().zip(1..).map(|((kind, flags, len, value), column)| {
            Cell { column, kind: *kind, flags: *flags, len: *len, value: u64::from(*value) }
        }).collect();
        let patch = action(ActionKind::Patch, 0, 4096, cells.len() as u32);
        let memory = memory(&[patch], &cells, &[]);
        let range = memory.as_ptr_range();
        let mut walk = Walk::new(&memory, &answer(1), &LIMITS).expect("a good header");
        let Ok(Some(Checked::Patch { cells: checked, .. })) = walk.next() else {
            panic!("a patch");
        };
        for (cell, written) in checked.map_while(Result::ok).zip(&cells) {
            prop_assert_eq!(cell.column, written.column);
            let bytes = match cell.value {
                Value::Text(text) | Value::Symbol(text) => text.as_bytes(),
                Value::Bytes(bytes) | Value::Decimal { unscaled: bytes, .. } => bytes,
                Value::Array(array) => array.data(),
                _ => continue,
            };
            prop_assert!(bytes.as_ptr() >= range.start && bytes.as_ptr_range().end <= range.end);
        }
    }

    #[test]
    fn structs_come_back_as_written(
        offset in any::<i64>(), partition in any::<i32>(), topic in any::<u16>(),
        pointers in any::<[u32; 8]>(), count in any::<u16>(), at in 0usize..32,
    ) {
        let record = RecordFields {
            offset, timestamp_ms: offset ^ 5, partition, topic, flags: count, cells: pointers[0],
            cell_count: count, table: topic ^ 1, key: pointers[1], key_len: pointers[2],
            value: pointers[3], value_len: pointers[4], headers: pointers[5],
            header_count: pointers[6], source: pointers[7],
        };
        let mut buf = [0xaa; 96];
        build::write_record(&mut buf, at, &record).expect("room");
        prop_assert_eq!(read::record(&buf, at), Some(record));
        let header = crate::BatchHeader {
            consumed: pointers[1], flags: pointers[2], now_us: offset, sequence: 7,
            in_len: pointers[3], progress: pointers[4],
            ..crate::BatchHeader::new(pointers[0], pointers[5])
        };
        build::write_batch_header(&mut buf, &header).expect("room");
        prop_assert_eq!(read::batch_header(&buf, 0), Some(header));
    }
}
