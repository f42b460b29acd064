//! Against naive references: what lies in the arena is what the host has, and what an answer
//! makes of the rows is what maps by column would make of them.

use std::collections::BTreeMap;

use bridge_abi::validate::Answer;
use bridge_abi::{Action, ActionKind, CELL_DROP, RECORD_KEY_NULL, build, read, value, wants};
use proptest::prelude::*;

use super::super::answer::{Places, Rows};
use super::super::limits::of_answer;
use super::super::memory::{Input, Wants, bytes_of, fill};
use super::*;

/// A row by column: kind, flags, bits of the value or the bytes.
type Model = BTreeMap<u16, (u8, u8, Vec<u8>)>;

const COLUMNS: u16 = 70;

fn model_of(memory: &[u8], base: u32, cells: &[Cell]) -> Model {
    let entry = |cell: &Cell| {
        let points = Kind::from_u8(cell.kind).is_some_and(Kind::points);
        let bytes = match points {
            true => value::pointed(memory, base, cell).expect("inside").to_vec(),
            false => cell.value.to_le_bytes().to_vec(),
        };
        (cell.column, (cell.kind, cell.flags, bytes))
    };
    let model: Model = cells.iter().map(entry).collect();
    assert_eq!(model.len(), cells.len(), "a column twice");
    model
}

fn a_value() -> impl Strategy<Value = (Kind, u8, Vec<u8>)> {
    let number = |kind: Kind| any::<[u8; 8]>().prop_map(move |bits| (kind, 0, bits.to_vec()));
    prop_oneof![
        number(Kind::I64),
        number(Kind::F64),
        any::<[u8; 8]>().prop_map(|bits| (Kind::Timestamp, bits[0] % 4, bits.to_vec())),
        any::<bool>().prop_map(|b| (Kind::Bool, 0, u64::from(b).to_le_bytes().to_vec())),
        Just((Kind::Null, 0, vec![0; 8])),
        "[a-zä]{0,12}".prop_map(|text| (Kind::Text, 0, text.into_bytes())),
        "[a-z]{0,3}".prop_map(|text| (Kind::Symbol, 0, text.into_bytes())),
        proptest::collection::vec(any::<u8>(), 1..9).prop_map(|b| (Kind::Decimal, 3, b)),
        proptest::collection::vec(any::<f64>(), 0..4).prop_map(|values| {
            let mut bytes = vec![0; 64];
            let shape = [values.len() as u32];
            let end = build::write_array(&mut bytes, 0, &shape, values.into_iter());
            bytes.truncate(end.expect("room"));
            (Kind::Array, 0, bytes)
        }),
    ]
}

type Written = Vec<(u16, (Kind, u8, Vec<u8>))>;

fn a_row(cells: usize) -> impl Strategy<Value = Written> {
    proptest::collection::btree_map(1..=COLUMNS, a_value(), 0..cells)
        .prop_map(|row| row.into_iter().collect::<Vec<_>>())
        .prop_shuffle()
}

fn batch_of(rows: &[Written]) -> RowBatch {
    let mut batch = RowBatch::default();
    for (source, row) in rows.iter().enumerate() {
        let cells = batch.cells.len() as u32;
        for (column, (kind, flags, bytes)) in row {
            let cell = match kind.points() {
                true => batch.cell_bytes(*column, *kind, *flags, bytes),
                false => Cell {
                    column: *column,
                    kind: *kind as u8,
                    flags: *flags,
                    len: 0,
                    value: u64::from_le_bytes(bytes[..].try_into().expect("eight")),
                },
            };
            batch.cells.push(cell);
        }
        let (source, cell_count) = (source as u32, row.len() as u16);
        batch.rows.push(Row { source, number: 0, cells, cell_count, table: 0 });
    }
    batch
}

proptest! {
    #[test]
    fn the_arena_holds_what_is_wanted(
        rows in proptest::collection::vec(a_row(12), 1..30),
        interned in proptest::collection::vec(1..=COLUMNS, 1..20),
        bits in 0..32i32,
        size in 64usize..6000,
    ) {
        const BASE: u32 = 0x10000;
        let (records, batch) = (records(rows.len()), batch_of(&rows));
        let wanted = Wants::new(bits, &interned).expect("bits that exist");
        let input = Input { records: &records, rows: &batch, topic: 5, now_us: 1, sequence: 9 };
        let mut arena = vec![0xaa; size];
        let count = fill(&mut arena, BASE, &input, 0..rows.len(), &wanted);
        if count == 0 {
            prop_assert!(size < bytes_of(&input, &batch.rows[0], &wanted));
            return Ok(());
        }
        let header = read::batch_header(&arena, 0).expect("inside");
        prop_assert_eq!((header.count as usize, header.consumed as usize), (count, count));
        prop_assert_eq!(header.records % 8, 0);
        for index in 0..count {
            let at = (header.records - BASE) as usize + index * 64;
            let record = read::record(&arena, at).expect("inside");
            prop_assert_eq!((record.source, record.topic), (index as u32, 5));
            prop_assert_eq!(record.offset, index as i64);
            prop_assert_eq!(record.cells % 8, 0);
            let cell = |n| read::cell(&arena, (record.cells - BASE) as usize + n * 16).expect("in");
            let cells: Vec<Cell> = (0..usize::from(record.cell_count)).map(cell).collect();
            let aligned = |c: &Cell| c.kind != Kind::Array as u8 || c.value.is_multiple_of(8);
            prop_assert!(cells.iter().all(aligned));
            let mut expected = model_of(&batch.arena, 0, batch.cells_of(&batch.rows[index]));
            expected.retain(|column, _| {
                bits & wants::COLUMNS != 0
                    || bits & wants::INTERNED != 0 && interned.contains(column)
            });
            prop_assert_eq!(model_of(&arena, BASE, &cells), expected);
            let bytes = |ptr: u32, len: u32| {
                let at = ptr.saturating_sub(BASE) as usize;
                read::bytes(&arena, at, len as usize).expect("inside")
            };
            let given = records.get(index);
            if bits & wants::KEY != 0 {
                prop_assert_eq!(record.flags & RECORD_KEY_NULL, 0);
                prop_assert_eq!(bytes(record.key, record.key_len), given.key.expect("one"));
            }
            if bits & wants::VALUE != 0 {
                prop_assert_eq!(bytes(record.value, record.value_len), given.value.expect("one"));
            }
            prop_assert_eq!(record.header_count, if bits & wants::HEADERS != 0 { 2 } else { 0 });
            if record.header_count > 0 {
                let header = read::header(&arena, (record.headers - BASE) as usize).expect("in");
                prop_assert_eq!(bytes(header.name, header.name_len), b"index");
                let said = index.to_string();
                prop_assert_eq!(bytes(header.value, header.value_len), said.as_bytes());
            }
        }
    }

    #[test]
    fn patches_are_laid_over_rows(
        rows in proptest::collection::vec(a_row(60), 1..6),
        patches in proptest::collection::vec((a_row(40), any::<u64>(), 0..3u8), 6),
    ) {
        let names = Names::default();
        for column in 1..=COLUMNS {
            names.columns.intern(&column.to_string()).expect("room");
        }
        let mut batch = batch_of(&rows);
        let mut memory = vec![0; 4096];
        let mut expected = Vec::new();
        for (index, (row, (patch, drops, kind))) in rows.iter().zip(&patches).enumerate() {
            let own = model_of(&batch.arena, 0, batch.cells_of(&batch.rows[index]));
            let (model, action) = written(&mut memory, own, patch, *drops, *kind);
            let action = Action { record: index as u32, ..action };
            build::write_action(&mut memory, index * 16, &action).expect("room");
            expected.push(model);
            prop_assert!(row.len() <= 60);
        }
        let (mut next, mut places) = (Vec::new(), Places::default());
        let mut rejects = Rejects::default();
        let count = rows.len() as u32;
        let answer = Answer { actions: 0, count, records: count, consumed: count };
        let mut taken = Rows {
            rows: &mut batch, next: &mut next, rejects: &mut rejects, places: &mut places,
        };
        taken.take(&memory, &answer, &of_answer(&names, false), 0).expect("a good answer");
        let out: Vec<Model> =
            next.iter().map(|row| model_of(&batch.arena, 0, batch.cells_of(row))).collect();
        prop_assert_eq!(out, expected);
    }
}

/// Writes an action's cells behind what is in the memory; what must become of the row.
fn written(
    memory: &mut Vec<u8>,
    own: Model,
    cells: &Written,
    drops: u64,
    kind: u8,
) -> (Model, Action) {
    let kind = [ActionKind::Keep, ActionKind::Patch, ActionKind::Row][usize::from(kind)];
    let mut model = if kind == ActionKind::Row { Model::new() } else { own };
    if kind == ActionKind::Keep {
        return (model, Action { kind: kind as u8, ..Action::default() });
    }
    let mut written = Vec::new();
    for (column, (cell, flags, bytes)) in cells {
        let column = *column;
        if kind == ActionKind::Patch && drops >> (column % 64) & 3 == 3 {
            let drop = Cell { column, flags: CELL_DROP, ..Cell::default() };
            written.push(drop);
            model.remove(&column);
            continue;
        }
        // A length where none belongs is nothing to the host.
        let (mut len, mut value) = (7, 0);
        if cell.points() {
            memory.resize(build::align8(memory.len()), 0);
            (len, value) = (bytes.len() as u32, memory.len() as u64);
            memory.extend_from_slice(bytes);
        } else {
            value |= u64::from_le_bytes(bytes[..].try_into().expect("eight"));
        }
        written.push(Cell { column, kind: *cell as u8, flags: *flags, len, value });
        model.insert(column, (*cell as u8, *flags, bytes.clone()));
    }
    let at = build::align8(memory.len());
    memory.resize(at + written.len() * 16, 0);
    build::write_cells(memory, at, &written, 0).expect("room");
    let (ptr, len) = (at as u32, written.len() as u32);
    (model, Action { kind: kind as u8, ptr, len, ..Action::default() })
}
