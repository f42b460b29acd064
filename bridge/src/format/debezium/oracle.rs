//! A table that changes, and the rows that its events become: put one after the other into another
//! table, as a sink with a key does it, they make the same table of it. Also where a part of the
//! stream comes twice, as it does when the bridge was killed.

use std::collections::BTreeMap;

use apache_avro::types::Value as Theirs;
use bridge_abi::Kind;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::written::{Change, Image, bare, encoded, enveloped, schema};
use crate::batch::RowBatch;
use crate::batch::testing::batch;
use crate::format::testing::Bench;
use crate::reject::Rejects;

type Table = BTreeMap<i64, i64>;

/// What is done to a row.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// It gets this value, or comes to be with it.
    Put(i64, i64),
    /// It is deleted, if it is there.
    Delete(i64),
    /// It gets another key.
    Move(i64, i64),
    /// It is read again.
    Read(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || 0_i64..6;
    let step = prop_oneof![
        4 => (key(), any::<i64>()).prop_map(|(key, value)| Step::Put(key, value)),
        2 => key().prop_map(Step::Delete),
        1 => (key(), key()).prop_map(|(from, to)| Step::Move(from, to)),
        1 => key().prop_map(Step::Read),
    ];
    prop::collection::vec(step, 0..40)
}

fn image(key: i64, value: Option<i64>) -> Option<Value> {
    Some(json!({ "id": key, "n": value }))
}

/// The table in the end, and the events that a connector writes of it: those of another key are a
/// deletion and a creation. `full` is whether it knows what rows were.
fn events(steps: &[Step], full: bool) -> (Table, Vec<Change>) {
    let (mut table, mut events) = (Table::new(), Vec::new());
    let before = |key: i64, value: i64| image(key, full.then_some(value));
    let change = |op, before, after| Change { op, before, after };
    for step in steps {
        match *step {
            Step::Put(key, value) => match table.insert(key, value) {
                None => events.push(change("c", None, image(key, Some(value)))),
                Some(old) => {
                    let before = before(key, old).filter(|_| full);
                    events.push(change("u", before, image(key, Some(value))));
                }
            },
            Step::Delete(key) => {
                if let Some(old) = table.remove(&key) {
                    events.push(change("d", before(key, old), None));
                }
            }
            Step::Move(from, to) if !table.contains_key(&to) => {
                if let Some(value) = table.remove(&from) {
                    table.insert(to, value);
                    events.push(change("d", before(from, value), None));
                    events.push(change("c", None, image(to, Some(value))));
                }
            }
            Step::Move(..) => {}
            Step::Read(key) => {
                if let Some(value) = table.get(&key) {
                    events.push(change("r", None, image(key, Some(*value))));
                }
            }
        }
    }
    (table, events)
}

fn in_avro(schema: &str, change: &Change) -> Vec<u8> {
    let image = |image: &Option<Value>| -> Option<Image> {
        let of = |name: &str| image.as_ref()?[name].as_i64().map(Theirs::Long);
        image.as_ref().map(|_| vec![("id", of("id")), ("n", of("n"))])
    };
    encoded(schema, change.op, image(&change.before), image(&change.after))
}

/// Puts rows into a table, by their column `id`.
fn apply(bench: &mut Bench, values: &[Vec<u8>], table: &mut Table) {
    let records = batch(values.iter().map(|value| (None, Some(value.clone()))).collect());
    let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
    bench.decoder.decode(&records, &mut rows, &mut rejects).expect("only records are at fault");
    assert!(rejects.is_empty(), "{:?}", rejects.found);
    let column = |name: &str| bench.context.names.columns.find(name).expect("a row has it");
    for row in &rows.rows {
        let cell = |name: &str| {
            let column = column(name);
            let cell = rows.cells_of(row).iter().find(|cell| cell.column == column);
            cell.filter(|cell| cell.kind == Kind::I64 as u8).map(|cell| cell.value as i64)
        };
        let id = cell("id").expect("each has a key");
        match rows.deleting.has(row.source) {
            true => drop(table.remove(&id)),
            false => drop(table.insert(id, cell("n").expect("what is put has a value"))),
        }
    }
}

fn bench(more: &str) -> Bench {
    Bench::new(&format!("format = \"debezium\"\nop = \"op\"\n{more}"), "")
}

proptest! {
    #[test]
    fn rows_make_the_table_that_it_was(
        steps in steps(),
        full in any::<bool>(),
        cut in any::<prop::sample::Index>(),
        again in any::<prop::sample::Index>(),
    ) {
        let (expected, events) = events(&steps, full);
        let int64 = json!({ "type": "int64" });
        let columns = [("id", int64.clone()), ("n", int64)];
        let schema = schema(&[("id", json!("long")), ("n", json!("long"))]);
        let avro = format!("encoding = \"avro\"\nframing = \"bare\"\nschema = '''{schema}'''");
        let mut benches = [
            (bench(""), events.iter().map(|e| bare(e).to_string().into_bytes()).collect()),
            (bench(""), events.iter().map(|e| enveloped(e, &columns).into_bytes()).collect()),
            (bench(&avro), events.iter().map(|e| in_avro(&schema, e)).collect::<Vec<_>>()),
        ];
        for (bench, values) in &mut benches {
            let mut table = Table::new();
            // Killed at one place, and begun again before it.
            let cut = cut.index(values.len() + 1);
            apply(bench, &values[..cut], &mut table);
            apply(bench, &values[again.index(cut + 1)..], &mut table);
            prop_assert_eq!(&table, &expected);
        }
    }
}
