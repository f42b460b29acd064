//! Hostile records and everything that a table's section may ask for at once: arrays taken apart,
//! decimals from their own digits, times, text that becomes null.

use std::collections::BTreeSet;
use std::sync::Arc;

use bridge::batch::RowBatch;
use bridge::config::{Overrides, Plan, Surroundings};
use bridge::format::DecoderContext;
use bridge::names::Names;
use bridge::reject::Rejects;
use bridge::transform::{Portions, columns};

use super::batch;

const TABLES: [&str; 3] = [
    "explode = { field = \"items\", index = \"at\" }\nzone = \"Europe/Berlin\"\n\
     on_bad = \"text\"\nempty_text = \"null\"\ncolumns = { p = \"decimal(9,2)\", t = \"timestamp\", \
     items_p = \"decimal(9,2)\" }\nmapping = { \"o.p\" = \"p2\", \"a[0].b\" = \"b\" }",
    "arrays = \"parallel\"\ndecimals = \"text\"\nmapping_only = [\"items_p\", \"a[1][0]\", \"p\"]\n\
     columns = { p = \"decimal(76,2)\" }",
    "explode = { field = \"a\", empty = \"skip\" }\narrays = \"parallel\"\ncolumns = { t = { type = \
     \"date\", pattern = \"%d.%m.%Y %z\", on_bad = \"null\" } }",
];

/// Bytes to rows through what the bridge does itself around transforms: the first byte picks what
/// is asked for.
pub fn take_apart(bytes: &[u8]) {
    let Some((first, value)) = bytes.split_first() else { return };
    let table = TABLES[usize::from(*first) % TABLES.len()];
    let text = format!(
        "[pipeline.p]\nsource = {{ kind = \"memory\" }}\nsink = {{ kind = \"memory\" }}\n\
         [pipeline.p.table]\n{table}\n"
    );
    let base = std::path::Path::new("/nowhere");
    let with = Surroundings { env: &|_| None, host: "host".to_owned(), base };
    let plan = Plan::parse("bridge.toml", &text, &with, &Overrides::default());
    let plan = plan.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let pipeline = &plan.pipelines[0];
    let names = Arc::new(Names::default());
    let (key, admission) = (pipeline.key.clone(), pipeline.admission);
    let context = DecoderContext { names: Arc::clone(&names), key, admission };
    let mut format = pipeline.value.decoder(&context);
    let mut stages = columns::around(&pipeline.shape, &names, Vec::new());
    let batch = batch(vec![value.to_vec()]);
    let mut told = BTreeSet::new();
    for _ in 0..2 {
        let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
        format.decode(&batch, &mut rows, &mut rejects).expect("only records are at fault");
        let more = Portions::default().next(&mut stages, &batch, &mut rows, &mut rejects);
        assert!(!more.expect("only records are at fault"), "no room was given");
        assert!(rows.held_bytes() <= 80 << 20, "too much is made of it");
        for (number, row) in rows.rows.iter().enumerate() {
            assert_eq!(row.number as usize, number, "rows are numbered");
            let mut columns = BTreeSet::new();
            for cell in rows.cells_of(row) {
                assert!(columns.insert(cell.column), "a column twice in a row");
                let mut cell = *cell;
                if cell.kind == bridge_abi::Kind::Text as u8 {
                    cell.flags = 0;
                }
                bridge_abi::value::decode(&rows.arena, 0, &cell).expect("a cell as it must be");
            }
        }
        told.insert(format!("{:?} {:?}", rows.cells, rejects.found));
    }
    assert_eq!(told.len(), 1, "the same twice");
}

/// Input that gets far.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let record = br#"{"p":1.10,"t":"2024-07-15 12:00","o":{"p":""},"a":[{"b":1},[2]],
        "items":[{"p":2.5,"q":"x"},{"p":null},3]}"#;
    let seed = |first: u8, record: &[u8]| [&[first], record].concat();
    vec![
        seed(0, record),
        seed(1, record),
        seed(2, br#"{"a":[[1,2],[3,4]],"t":"15.07.2024 +0200","items":[{"p":{"q":1}},null]}"#),
        seed(1, br#"{"items":"[{\"p\":1}]","p":123456789012345678901234567890.5}"#),
    ]
}
