//! `ABI.md` cannot rot: its tables of byte offsets are compared with what `build` writes, and its
//! hex dump is generated here. `UPDATE=1 cargo test -p bridge-abi --test document` rewrites the
//! dump.

use std::fmt::Write;

use bridge_abi::validate::{Answer, Checked, Limits, Walk};
use bridge_abi::{
    Action, ActionKind, BatchHeader, Cell, HeaderFields, Kind, RECORD_VALUE_NULL, RecordFields,
    Unit, Value, build, read,
};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../ABI.md");
const DUMP: &str = "--test document` -->\n";
const ARENA: usize = 0x1000;
const OUTPUT: usize = 0x2000;

fn document() -> String {
    std::fs::read_to_string(PATH).expect("ABI.md lies beside the crate")
}

/// The rows of the table under a heading: their cells.
fn table(document: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, section) = document.split_once(heading).expect("the heading is there");
    section
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.split('|').skip(1).map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

/// A field's offset by the table of its struct.
fn offset_of(heading: &str, field: &str) -> usize {
    let rows = table(&document(), heading);
    let row = rows.iter().find(|row| row[2] == field).expect("the field is there");
    row[0].parse().expect("a number")
}

/// Compares a struct's table with its bytes, in which every field holds its own offset plus one.
fn check_struct(heading: &str, bytes: &[u8]) {
    let mut next = 0;
    for row in table(&document(), heading) {
        let [offset, kind, field] = &row[..3] else { panic!("three columns in {row:?}") };
        let offset: usize = offset.parse().expect("a number");
        let size = kind[1..].parse::<usize>().expect("a type such as u16") / 8;
        assert_eq!(offset, next, "{heading}: {field} leaves no gap");
        let expected = if field == "reserved" { 0 } else { offset as u64 + 1 };
        let mut written = [0; 8];
        written[..size].copy_from_slice(&bytes[offset..offset + size]);
        assert_eq!(u64::from_le_bytes(written), expected, "{heading}: {field}");
        next = offset + size;
    }
    assert_eq!(next, bytes.len(), "{heading} has no bytes beyond its table");
    assert!(heading.contains(&format!("{next} bytes")), "{heading} says its size");
}

#[test]
fn the_tables_of_offsets_are_those_of_the_code() {
    let mut bytes = [0; 64];
    let header = BatchHeader {
        abi: 1,
        size: 3,
        record_stride: 5,
        cell_stride: 7,
        count: 9,
        records: 13,
        consumed: 17,
        flags: 21,
        now_us: 25,
        sequence: 33,
        in_len: 41,
        progress: 45,
    };
    build::write_batch_header(&mut bytes, &header).expect("room");
    check_struct("### Batch, 48 bytes", &bytes[..48]);
    let record = RecordFields {
        offset: 1,
        timestamp_ms: 9,
        partition: 17,
        topic: 21,
        flags: 23,
        cells: 25,
        cell_count: 29,
        table: 31,
        key: 33,
        key_len: 37,
        value: 41,
        value_len: 45,
        headers: 49,
        header_count: 53,
        source: 57,
    };
    build::write_record(&mut bytes, 0, &record).expect("room");
    check_struct("### Record, 64 bytes", &bytes);
    let header = HeaderFields { name: 1, name_len: 5, value: 9, value_len: 13 };
    build::write_header(&mut bytes, 0, &header).expect("room");
    check_struct("### Header, 16 bytes", &bytes[..16]);
    let cell = Cell { column: 1, kind: 3, flags: 4, len: 5, value: 9 };
    build::write_cell(&mut bytes, 0, &cell).expect("room");
    check_struct("### Cell, 16 bytes", &bytes[..16]);
    let action = Action { kind: 1, flags: 2, target: 3, record: 5, ptr: 9, len: 13 };
    build::write_action(&mut bytes, 0, &action).expect("room");
    check_struct("### Action, 16 bytes", &bytes[..16]);
}

#[test]
fn the_named_offsets_are_those_of_the_tables() {
    use bridge_abi::{batch_at, record_at};
    let check = |heading: &str, fields: &[(&str, usize)]| {
        assert_eq!(table(&document(), heading).len(), fields.len());
        for (field, offset) in fields {
            assert_eq!(offset_of(heading, field), *offset, "{heading}: {field}");
        }
    };
    check(
        "### Batch",
        &[
            ("abi", batch_at::ABI),
            ("size", batch_at::SIZE),
            ("record_stride", batch_at::RECORD_STRIDE),
            ("cell_stride", batch_at::CELL_STRIDE),
            ("count", batch_at::COUNT),
            ("records", batch_at::RECORDS),
            ("consumed", batch_at::CONSUMED),
            ("flags", batch_at::FLAGS),
            ("now_us", batch_at::NOW_US),
            ("sequence", batch_at::SEQUENCE),
            ("in_len", batch_at::IN_LEN),
            ("progress", batch_at::PROGRESS),
        ],
    );
    check(
        "### Record",
        &[
            ("offset", record_at::OFFSET),
            ("timestamp_ms", record_at::TIMESTAMP_MS),
            ("partition", record_at::PARTITION),
            ("topic", record_at::TOPIC),
            ("flags", record_at::FLAGS),
            ("cells", record_at::CELLS),
            ("cell_count", record_at::CELL_COUNT),
            ("table", record_at::TABLE),
            ("key", record_at::KEY),
            ("key_len", record_at::KEY_LEN),
            ("value", record_at::VALUE),
            ("value_len", record_at::VALUE_LEN),
            ("headers", record_at::HEADERS),
            ("header_count", record_at::HEADER_COUNT),
            ("source", record_at::SOURCE),
            ("reserved", record_at::RESERVED),
        ],
    );
}

#[test]
fn the_tables_of_numbers_are_those_of_the_code() {
    let numbered = |heading: &str| -> Vec<(u8, String)> {
        let rows = table(&document(), heading);
        rows.iter().map(|row| (row[0].parse().expect("a number"), row[1].clone())).collect()
    };
    let kinds = numbered("## Kinds of cells");
    assert_eq!(kinds.len(), 10);
    for (number, name) in kinds {
        let kind = Kind::from_u8(number).expect("a kind");
        assert_eq!(format!("{kind:?}").to_lowercase(), name);
    }
    assert_eq!(Kind::from_u8(10), None);
    let actions = numbered("## Actions");
    assert_eq!(actions.len(), 5);
    for (number, name) in actions {
        let kind = ActionKind::from_u8(number).expect("an action");
        assert_eq!(format!("{kind:?}").to_lowercase(), name);
    }
    let units = ["seconds", "milliseconds", "microseconds", "nanoseconds"];
    for (number, name) in units.iter().enumerate() {
        assert!(document().contains(&format!("{number} {name}")), "{name}");
        assert!(Unit::from_u8(number as u8).is_some());
    }
    use bridge_abi::wants::{COLUMNS, HEADERS, INTERNED, KEY, VALUE};
    let wants: Vec<i32> = numbered("`bridge_init` answers with what the module reads")
        .iter()
        .map(|(bit, _)| i32::from(*bit))
        .collect();
    assert_eq!(wants, [KEY, HEADERS, VALUE, COLUMNS, INTERNED]);
}

/// The memory after the call: the input as the bridge wrote it, the output as a module left it.
fn memory() -> Vec<u8> {
    let mut memory = vec![0; 0x3000];
    let room = "the memory is large enough";
    let arena = &mut memory[ARENA..];
    let header = BatchHeader {
        sequence: 7,
        in_len: 0x108,
        progress: 1,
        ..BatchHeader::new(2, ARENA as u32 + 0x30)
    };
    build::write_batch_header(arena, &header).expect(room);
    let record = RecordFields {
        offset: 100,
        timestamp_ms: 1_700_000_000_000,
        partition: 3,
        topic: 1,
        flags: RECORD_VALUE_NULL,
        cells: ARENA as u32 + 0xb0,
        cell_count: 2,
        key: ARENA as u32 + 0x100,
        key_len: 1,
        ..RecordFields::default()
    };
    build::write_record(arena, 0x30, &record).expect(room);
    let second = RecordFields {
        offset: 101,
        cells: ARENA as u32 + 0xd0,
        cell_count: 2,
        source: 1,
        ..record
    };
    build::write_record(arena, 0x70, &second).expect(room);
    for (at, celsius, sensor) in [(0xb0, 25.0f64, 0x101), (0xd0, -300.0, 0x103)] {
        let value = ARENA as u64 + sensor;
        let sensor = Cell { column: 1, kind: Kind::Symbol as u8, flags: 0, len: 2, value };
        let value = celsius.to_bits();
        let celsius = Cell { column: 2, kind: Kind::F64 as u8, flags: 0, len: 0, value };
        build::write_cells(arena, at, &[sensor, celsius], 0).expect(room);
    }
    build::write_bytes(arena, 0x100, b"ks1s2").expect(room);
    let action = |kind: ActionKind, record: u32, at: usize, len: u32| Action {
        kind: kind as u8,
        flags: 0,
        target: 0,
        record,
        ptr: (OUTPUT + at) as u32,
        len,
    };
    let output = &mut memory[OUTPUT..];
    build::write_action(output, 0, &action(ActionKind::Patch, 0, 0x20, 1)).expect(room);
    build::write_action(output, 0x10, &action(ActionKind::Reject, 1, 0x30, 8)).expect(room);
    let value = 77.0f64.to_bits();
    let fahrenheit = Cell { column: 3, kind: Kind::F64 as u8, flags: 0, len: 0, value };
    build::write_cell(output, 0x20, &fahrenheit).expect(room);
    build::write_bytes(output, 0x30, b"too cold").expect(room);
    memory
}

/// What stands at an address, for the reader of the dump.
const NOTES: [(usize, &str); 15] = [
    (0x1000, "Batch: abi 1, size 48, strides 64 and 16, count 2, records 0x1030"),
    (0x1010, "  consumed 2, flags, now_us"),
    (0x1020, "  sequence 7, in_len 0x108, progress 1"),
    (0x1030, "Record 0: offset 100, timestamp_ms"),
    (0x1040, "  partition 3, topic 1, value null, cells 0x10b0, 2 of them, table 0"),
    (0x1050, "  key 0x1100, 1 byte; value null"),
    (0x1060, "  no headers, source 0"),
    (0x1070, "Record 1: offset 101, timestamp_ms"),
    (0x10b0, "Cell: column 1, symbol, 2 bytes at 0x1101"),
    (0x10c0, "Cell: column 2, f64 25.0"),
    (0x10d0, "Cell: column 1, symbol, 2 bytes at 0x1103"),
    (0x1100, "bytes: \"k\", \"s1\", \"s2\""),
    (0x2000, "Action: patch of record 0, 1 cell at 0x2020"),
    (0x2010, "Action: reject of record 1, 8 bytes at 0x2030"),
    (0x2020, "Cell: column 3, f64 77.0"),
];

fn dump(memory: &[u8]) -> String {
    let mut text = String::from("```text\n");
    for (start, end) in [(ARENA, ARENA + 0x108), (OUTPUT, OUTPUT + 0x38)] {
        for at in (start..end).step_by(16) {
            let line = &memory[at..end.min(at + 16)];
            let hex: Vec<String> = line
                .chunks(4)
                .map(|word| word.iter().map(|b| format!("{b:02x}")).collect())
                .collect();
            let note = NOTES.iter().find(|(noted, _)| *noted == at).map_or("", |(_, note)| note);
            let line = format!("{at:04x}  {:<35}  {note}", hex.join(" "));
            writeln!(text, "{}", line.trim_end()).expect("a string takes all");
        }
    }
    text + "```\n"
}

#[test]
fn the_dump_is_what_the_code_writes() {
    let document = document();
    let (before, written) = document.split_once(DUMP).expect("the marker is there");
    let generated = dump(&memory());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(PATH, format!("{before}{DUMP}{generated}")).expect("ABI.md is writable");
        return;
    }
    assert_eq!(written, generated, "run with UPDATE=1 to rewrite it");
}

/// The same dump, read back from the document's text alone, means what the document says.
#[test]
fn the_dump_means_what_it_says() {
    let document = document();
    let (_, written) = document.split_once(DUMP).expect("the marker is there");
    let mut memory = vec![0; 0x3000];
    for line in written.lines().filter(|line| !line.starts_with("```")) {
        let at = usize::from_str_radix(&line[..4], 16).expect("an address");
        let hex: String = line.get(6..41).unwrap_or(&line[6..]).split_whitespace().collect();
        for (index, byte) in hex.as_bytes().chunks(2).enumerate() {
            let byte = std::str::from_utf8(byte).expect("ASCII");
            memory[at + index] = u8::from_str_radix(byte, 16).expect("hex");
        }
    }
    let header = read::batch_header(&memory, ARENA).expect("inside");
    let answer = Answer::new(0x0000_2000_0000_0002, header.count, header.consumed);
    let limits = Limits {
        actions_max: 2,
        cells_max: 1,
        row_cells_max: 1,
        bytes_max: 8,
        max_column: 3,
        max_table: 0,
        max_topic: None,
    };
    let mut walk = Walk::new(&memory, &answer, &limits).expect("good");
    let Ok(Some(Checked::Patch { record: 0, table: 0, mut cells })) = walk.next() else {
        panic!("a patch of the first record");
    };
    let cell = cells.next().expect("one cell").expect("a good one");
    assert_eq!((cell.column, cell.value), (3, Value::F64(77.0)));
    let Ok(Some(Checked::Reject { record: 1, reason })) = walk.next() else {
        panic!("a reject of the second record");
    };
    assert_eq!(reason, "too cold");
    assert!(matches!(walk.next(), Ok(None)));
}
