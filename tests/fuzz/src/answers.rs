//! A guest's answer, checked: over any bytes, and over answers that are right but for what was
//! broken in them on purpose, so that every rule is reached and none refuses what is right.

use std::collections::BTreeSet;

use bridge_abi::emit::Emitted;
use bridge_abi::validate::{Answer, Checked, Fault, Limits, Walk};
use bridge_abi::{
    Action, Cell, HeaderFields, Kind, NULL_LEN, RECORD_KEY_NULL, RECORD_VALUE_NULL, RecordFields,
    Value, build,
};

const LIMITS: Limits = Limits {
    actions_max: 64,
    cells_max: 128,
    row_cells_max: 32,
    bytes_max: 4096,
    max_column: 40,
    max_table: 2,
    max_topic: Some(2),
};

/// A guest's answer: eight bytes say what it returned, the rest is its memory.
pub fn guest_rows(bytes: &[u8]) {
    let Some((head, memory)) = bytes.split_first_chunk::<8>() else { return };
    let [a, b, c, d, count, records, consumed, _] = head.map(u32::from);
    let actions = a | b << 8 | c << 16 | d << 24;
    let answer = Answer { actions, count, records, consumed };
    // The first fault ends the answer.
    let _ = walk(memory, &answer);
}

/// Walks to the end or to the first fault; checks what must hold of all that is handed out.
fn walk(memory: &[u8], answer: &Answer) -> Result<(), Fault> {
    let mut walk = Walk::new(memory, answer, &LIMITS)?;
    let consumed = answer.consumed;
    let (mut cells_seen, mut headers_seen) = (0, 0);
    let (mut settled, mut last) = (BTreeSet::new(), 0);
    while let Some(checked) = walk.next()? {
        let (record, table, cells) = match checked {
            Checked::Keep { record, table } => (record, table, None),
            Checked::Reject { record, reason } => {
                assert!(reason.len() <= memory.len());
                (record, 0, None)
            }
            Checked::Patch { record, table, cells } => (record, table, Some((cells, true))),
            Checked::Row { record, table, cells } => (record, table, Some((cells, false))),
            Checked::Emit { record, topic, emitted } => {
                assert!(record >= last && record < consumed);
                last = record;
                headers_seen += check_emitted(topic, &emitted, memory.len());
                assert!(cells_seen + headers_seen <= LIMITS.cells_max);
                continue;
            }
        };
        assert!(record >= last && record < consumed && table <= LIMITS.max_table);
        last = record;
        let is_row = matches!(cells, Some((_, false)));
        assert!(is_row || settled.insert(record), "record {record} is settled twice");
        let mut columns = BTreeSet::new();
        for cell in cells.into_iter().flat_map(|(cells, _)| cells) {
            let cell = cell?;
            cells_seen += 1;
            assert!(cells_seen + headers_seen <= LIMITS.cells_max);
            assert!(cell.column > 0 && cell.column <= LIMITS.max_column);
            assert!(columns.insert(cell.column), "column {} twice", cell.column);
            if let Value::Text(text) | Value::Symbol(text) = cell.value {
                assert!(std::str::from_utf8(text.as_bytes()).is_ok());
            }
        }
    }
    Ok(())
}

/// What must hold of a record for a topic; the number of its headers.
fn check_emitted(topic: u16, emitted: &Emitted<'_>, memory: usize) -> u32 {
    assert!(topic > 0 && Some(topic) <= LIMITS.max_topic, "topic {topic}");
    let part = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    let mut bytes = part(emitted.key) + part(emitted.value);
    for (name, value) in emitted.headers() {
        assert!(std::str::from_utf8(name.as_bytes()).is_ok());
        bytes += name.len() + part(value);
    }
    assert!(bytes as u64 <= LIMITS.bytes_max);
    assert!(part(emitted.key).max(part(emitted.value)) <= memory);
    assert!(emitted.partition.is_none_or(|number| number >= 0));
    assert!(emitted.timestamp_ms.is_none_or(|ms| ms >= 0));
    emitted.headers().len() as u32
}

/// Bytes that decide: 0 when they are used up, which is always something plain.
struct Script<'s>(&'s [u8]);

impl Script<'_> {
    fn below(&mut self, end: u32) -> u32 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        u32::from(*byte) % end
    }
}

/// Where what is pointed to lies in the memory of an answer: texts, a byte that is none, an array.
const TEXT: u32 = 64;
const WRONG_TEXT: u32 = 128;
const ARRAY: u32 = 192;
const ACTIONS: u32 = 1024;
const CELLS: usize = 2048;
const MEMORY: usize = 8192;
/// Bounded so that what is right never passes a limit.
const ACTIONS_MADE: u32 = 24;
const CELLS_MADE: u32 = 5;

/// An answer while it is made.
struct Making<'s> {
    script: Script<'s>,
    memory: Vec<u8>,
    /// The first free place for cells, records and headers.
    free: usize,
    /// What was broken.
    broken: Option<&'static str>,
}

/// Answers that are right, or wrong in one thing: the verdict must be the right one.
pub fn guest_answers(bytes: &[u8]) {
    let (memory, answer, broken) = made(bytes);
    match (walk(&memory, &answer), broken) {
        (Ok(()), Some(broken)) => panic!("this goes through: {broken}"),
        (Err(fault), None) => panic!("nothing is wrong, and it is refused: {fault}"),
        _ => {}
    }
}

/// What is said of such an answer, without its numbers: `well`, or the rule that it breaks.
pub fn verdict(bytes: &[u8]) -> String {
    let (memory, answer, _) = made(bytes);
    let Err(fault) = walk(&memory, &answer) else { return "well".to_owned() };
    let text = format!("{:?}", fault.wrong).to_lowercase();
    let words = text.split(|c: char| !c.is_ascii_lowercase()).filter(|word| !word.is_empty());
    words.take(3).collect::<Vec<_>>().join("-")
}

fn made(bytes: &[u8]) -> (Vec<u8>, Answer, Option<&'static str>) {
    let mut memory = vec![0; MEMORY];
    let text = "hell\u{f6} w\u{f6}rld, hello";
    build::write_bytes(&mut memory, TEXT as usize, text.as_bytes()).expect("room");
    build::write_bytes(&mut memory, WRONG_TEXT as usize, &[0xff; 64]).expect("room");
    build::write_array(&mut memory, ARRAY as usize, &[2], [1.0, 2.0].into_iter()).expect("room");
    let mut making = Making { script: Script(bytes), memory, free: CELLS, broken: None };
    let script = &mut making.script;
    let records = 1 + script.below(8);
    let consumed = records - script.below(records);
    let count = script.below(ACTIONS_MADE);
    // The action that is broken; beyond the last, the answer as a whole; else nothing.
    let at = script.below(2 * count + 3);
    let (mut record, mut settled) = (0, None);
    for index in 0..count {
        let (before, done) = (record, settled);
        record = (record + making.script.below(3)).min(consumed - 1);
        let mut kind = 1 + making.script.below(5) as u8;
        if settled == Some(record) && !matches!(kind, 3 | 5) {
            kind = 3;
        }
        settled = if matches!(kind, 3 | 5) { settled } else { Some(record) };
        let mut action = making.action(kind, record, index == at);
        if index == at && making.broken.is_none() {
            making.break_action(&mut action, (before, done), consumed);
        }
        let to = (ACTIONS + index * 16) as usize;
        build::write_action(&mut making.memory, to, &action).expect("room");
    }
    let mut answer = Answer { actions: ACTIONS, count, records, consumed };
    if at == count {
        making.break_answer(&mut answer);
    }
    (making.memory, answer, making.broken)
}

impl Making<'_> {
    fn breaks(&mut self, what: &'static str) {
        self.broken = Some(what);
    }

    fn break_answer(&mut self, answer: &mut Answer) {
        match self.script.below(5) {
            0 => (answer.consumed, self.broken) = (0, Some("consumed is 0")),
            1 => (answer.consumed, self.broken) = (answer.records + 1, Some("consumed is more")),
            2 => (answer.count, self.broken) = (u32::MAX, Some("actions without end")),
            3 if answer.count > 0 => {
                (answer.actions, self.broken) = (ACTIONS + 4, Some("unaligned actions"));
            }
            4 if answer.count > 0 => {
                (answer.actions, self.broken) = (MEMORY as u32 - 8, Some("actions outside"));
            }
            _ => {}
        }
    }

    /// Breaks what all actions have; `before` is the record of the one before, `done` the last that
    /// is settled.
    fn break_action(
        &mut self,
        action: &mut Action,
        (before, done): (u32, Option<u32>),
        consumed: u32,
    ) {
        match self.script.below(6) {
            0 => (action.kind, self.broken) = (6 + self.script.below(200) as u8, Some("a kind")),
            1 => (action.flags, self.broken) = (1 << self.script.below(8), Some("flags")),
            2 if before > 0 => (action.record, self.broken) = (before - 1, Some("order")),
            3 if done == Some(before) => {
                (action.kind, action.record, self.broken) = (1, before, Some("settled twice"));
            }
            2 | 3 => (action.record, self.broken) = (consumed, Some("a record")),
            _ => (action.target, self.broken) = (3 + self.script.below(9) as u16, Some("target")),
        }
    }

    /// A right action, or one that is wrong within, if it is to be broken.
    fn action(&mut self, kind: u8, record: u32, breaks: bool) -> Action {
        let target = self.script.below(3) as u16;
        let action = Action { kind, flags: 0, target, record, ptr: 0, len: 0 };
        let breaks = breaks && self.script.below(4) != 0;
        match kind {
            2 | 3 => self.with_cells(action, breaks),
            4 => self.with_reason(action, breaks),
            5 => self.with_record(action, breaks),
            _ => action,
        }
    }

    fn with_reason(&mut self, action: Action, breaks: bool) -> Action {
        let (mut ptr, mut len) = (TEXT, [4, 6][self.script.below(2) as usize]);
        if breaks {
            // Five bytes end within a letter of two.
            let wrong = [(WRONG_TEXT, 3), (MEMORY as u32 - 2, 3), (u32::MAX, u32::MAX), (TEXT, 5)];
            (ptr, len) = wrong[self.script.below(4) as usize];
            self.breaks("a reason");
        }
        Action { ptr, len, ..action }
    }

    fn with_cells(&mut self, action: Action, breaks: bool) -> Action {
        let (count, base) = (self.script.below(CELLS_MADE), self.script.below(40));
        let patch = action.kind == 2;
        let column = |index: u32| 1 + ((base + 7 * index) % 40) as u16;
        let made = |index| self.cell(column(index), patch);
        let mut cells: Vec<Cell> = (0..count).map(made).collect();
        let (mut ptr, mut len) = (self.free as u32, count);
        if breaks && count > 0 {
            let at = self.script.below(count) as usize;
            match self.script.below(6) {
                0 => (ptr, self.broken) = (ptr + 4, Some("unaligned cells")),
                1 => (ptr, self.broken) = (MEMORY as u32 - 8, Some("cells outside")),
                2 => (len, self.broken) = (LIMITS.row_cells_max + 1, Some("too many cells")),
                3 if count > 1 => {
                    let other = (at + 1) % count as usize;
                    cells[at].column = cells[other].column;
                    self.breaks("a column twice");
                }
                _ => self.break_cell(&mut cells[at], patch),
            }
        }
        build::write_cells(&mut self.memory, self.free, &cells, 0).expect("room");
        self.free += cells.len() * 16;
        Action { ptr, len, ..action }
    }

    /// A right cell.
    fn cell(&mut self, column: u16, patch: bool) -> Cell {
        let cell = Cell { column, kind: self.script.below(10) as u8, flags: 0, len: 0, value: 0 };
        let pointing = |len, value: u32| Cell { len, value: u64::from(value), ..cell };
        match Kind::from_u8(cell.kind).expect("a kind") {
            Kind::Null => Cell { flags: u8::from(patch) & self.script.below(2) as u8, ..cell },
            Kind::Bool => Cell { value: u64::from(self.script.below(2)), ..cell },
            Kind::I64 | Kind::F64 => Cell { len: 77, value: u64::MAX, ..cell },
            Kind::Timestamp => Cell { flags: self.script.below(4) as u8, value: 1 << 63, ..cell },
            Kind::Text | Kind::Symbol => pointing([0, 4, 6][self.script.below(3) as usize], TEXT),
            Kind::Bytes => pointing(self.script.below(32), WRONG_TEXT),
            Kind::Decimal => {
                let flags = self.script.below(77) as u8;
                Cell { flags, ..pointing(1 + self.script.below(32), WRONG_TEXT) }
            }
            Kind::Array => pointing(24, ARRAY),
        }
    }

    fn break_cell(&mut self, cell: &mut Cell, patch: bool) {
        let mut becomes = |kind: Kind, flags, len, value| {
            *cell = Cell { column: cell.column, kind: kind as u8, flags, len, value };
        };
        let far = MEMORY as u64;
        match self.script.below(14) {
            0 => cell.column = 0,
            1 => cell.column = LIMITS.max_column + 1 + self.script.below(9) as u16,
            2 => cell.kind = 10 + self.script.below(200) as u8,
            3 => becomes(Kind::F64, 1 + self.script.below(255) as u8, 0, 0),
            4 => becomes(Kind::Bool, 0, 0, 2),
            5 => becomes(Kind::Timestamp, 4 + self.script.below(9) as u8, 0, 0),
            6 => becomes(Kind::Text, 0, 3, u64::from(WRONG_TEXT)),
            7 => becomes(Kind::Symbol, 0, 5, u64::from(TEXT)),
            8 => becomes(Kind::Bytes, 0, 9, far - 8),
            9 => becomes(Kind::Text, 0, 4, u64::from(TEXT) | 1 << 32),
            10 => becomes(Kind::Decimal, 0, 33 * self.script.below(2), u64::from(TEXT)),
            11 => becomes(Kind::Decimal, 77, 4, u64::from(TEXT)),
            12 => becomes(Kind::Array, 0, 16 + 16 * self.script.below(2), u64::from(ARRAY)),
            _ if patch => becomes(Kind::Null, 2, 0, 0),
            _ => becomes(Kind::Null, 1, 0, 0),
        }
        self.breaks("a cell");
    }

    fn with_record(&mut self, action: Action, breaks: bool) -> Action {
        let headers = self.script.below(3);
        let mut record = RecordFields {
            partition: self.script.below(3) as i32 - 1,
            timestamp_ms: i64::from(self.script.below(3)) - 1,
            flags: self.script.below(4) as u16 & (RECORD_KEY_NULL | RECORD_VALUE_NULL),
            key: TEXT,
            key_len: self.script.below(8),
            value: WRONG_TEXT,
            value_len: self.script.below(64),
            headers: self.free as u32 + 64,
            header_count: headers,
            ..RecordFields::default()
        };
        let mut header = HeaderFields { name: TEXT, name_len: 4, value: 0, value_len: NULL_LEN };
        let (mut ptr, mut len) = (self.free as u32, 64);
        let mut target = 1 + action.target % 2;
        if breaks {
            self.breaks("an emit");
            match self.script.below(11) {
                0 => len = 63,
                1 => ptr += 4,
                2 => record.flags = 8,
                3 => record.partition = -2,
                4 => record.timestamp_ms = -2,
                5 => (record.flags, record.key) = (0, 0),
                6 => (record.flags, record.value_len) = (0, u32::MAX),
                7 => (record.headers, record.header_count) = (record.headers + 4, 1),
                8 => record.header_count = LIMITS.cells_max + 1,
                9 if headers > 0 => header.name = WRONG_TEXT,
                10 if headers > 0 => (header.value, header.value_len) = (0, 1),
                _ => target = 3 * self.script.below(2) as u16,
            }
        }
        build::write_record(&mut self.memory, self.free, &record).expect("room");
        for index in 0..headers as usize {
            let at = self.free + 64 + index * 16;
            build::write_header(&mut self.memory, at, &header).expect("room");
        }
        self.free += 64 + headers as usize * 16;
        Action { target, ptr, len, ..action }
    }
}

/// One of each kind of action, twice, and nothing broken.
pub fn answer_seeds() -> Vec<Vec<u8>> {
    let script = |at: u8| {
        let mut script = vec![7, 0, 10, at];
        (0..10u8).for_each(|index| script.extend([1, index % 5, 1, 3, index, 2, 9, 1, 4, 6, 5, 1]));
        script
    };
    (0..12).map(script).collect()
}

pub fn row_seeds() -> Vec<Vec<u8>> {
    let mut memory = vec![0; 1024];
    let actions = [
        Action { kind: 1, flags: 0, target: 0, record: 0, ptr: 0, len: 0 },
        Action { kind: 3, flags: 0, target: 1, record: 1, ptr: 256, len: 2 },
        Action { kind: 2, flags: 0, target: 0, record: 1, ptr: 288, len: 2 },
        Action { kind: 5, flags: 0, target: 2, record: 1, ptr: 704, len: 64 },
        Action { kind: 4, flags: 0, target: 0, record: 2, ptr: 512, len: 5 },
    ];
    for (index, action) in actions.iter().enumerate() {
        build::write_action(&mut memory, 64 + index * 16, action).expect("room");
    }
    let cells = [
        Cell { column: 1, kind: Kind::Text as u8, flags: 0, len: 5, value: 512 },
        Cell { column: 2, kind: Kind::F64 as u8, flags: 0, len: 0, value: 7 },
        Cell { column: 3, kind: Kind::Timestamp as u8, flags: 2, len: 0, value: 7 },
        Cell { column: 4, kind: Kind::Array as u8, flags: 0, len: 24, value: 640 },
    ];
    build::write_cells(&mut memory, 256, &cells, 0).expect("room");
    build::write_bytes(&mut memory, 512, b"hello").expect("room");
    memory[640..648].copy_from_slice(&[1, 0, 0, 0, 2, 0, 0, 0]);
    let record = RecordFields {
        partition: 1,
        timestamp_ms: 7,
        key: 512,
        key_len: 5,
        flags: RECORD_VALUE_NULL,
        headers: 768,
        header_count: 1,
        ..RecordFields::default()
    };
    build::write_record(&mut memory, 704, &record).expect("room");
    let header = HeaderFields { name: 513, name_len: 2, value: 514, value_len: 3 };
    build::write_header(&mut memory, 768, &header).expect("room");
    let mut seed = vec![64, 0, 0, 0, 5, 3, 3, 0];
    seed.extend_from_slice(&memory);
    vec![seed]
}
