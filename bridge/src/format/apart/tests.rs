//! What arrays become; and that rows are the outer fields times the elements, whatever they are.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::batch::testing::batch;
use crate::format::testing::Bench;
use crate::shape::{Path, Pick};

/// A plan by the words of a configuration.
fn plan(picks: &[&str], explode: Option<&str>, arrays: Arrays) -> Apart {
    let pick = |written: &&str| {
        let path = Path::parse(written).expect("a path");
        let (array, steps) = path.into_array("_").expect("into an array");
        Pick { array, steps, field: path.flattened("_") }
    };
    let explode = explode.map(|array| Explode {
        array: array.trim_end_matches('?').to_owned(),
        empty: if array.ends_with('?') { EmptyArray::Skip } else { EmptyArray::Row },
        index: Some("at".to_owned()),
    });
    Apart { separator: "_".to_owned(), picks: picks.iter().map(pick).collect(), explode, arrays }
}

/// The rows of some records, each as an object of what it has; what is refused as text.
fn told(plan: &Apart, records: &[&str]) -> Vec<Value> {
    let mut bench = Bench::new("format = \"json\"", "");
    let mut apart = TakeApart::new(plan, &bench.context.names).expect("something is to be done");
    let records: Vec<_> =
        records.iter().map(|value| (None, Some(value.as_bytes().to_vec()))).collect();
    let records = batch(records);
    let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
    bench.decoder.decode(&records, &mut rows, &mut rejects).expect("only records are at fault");
    apart.apply(&mut rows, &mut rejects);
    rejects.prune(&mut rows);
    let mut last = None;
    let mut told: Vec<Value> = Vec::new();
    for row in &rows.rows {
        let number = last.filter(|(source, _)| *source == row.source).map_or(0, |(_, n)| n + 1);
        assert_eq!(row.number, number, "rows of a record are numbered");
        last = Some((row.source, number));
        let cell = |cell: &Cell| {
            let name = bench.context.names.columns.name(cell.column).expect("interned");
            (name.to_string(), value(&rows, cell))
        };
        told.push(Value::Object(rows.cells_of(row).iter().map(cell).collect()));
    }
    told.extend(rejects.found.into_iter().map(|(.., detail)| Value::String(detail)));
    told
}

fn value(rows: &RowBatch, cell: &Cell) -> Value {
    match Kind::from_u8(cell.kind).expect("a kind") {
        Kind::Null => Value::Null,
        Kind::Bool => json!(cell.value != 0),
        Kind::I64 => json!(cell.value as i64),
        Kind::F64 => json!(f64::from_bits(cell.value)),
        Kind::Text => json!(std::str::from_utf8(rows.bytes_of(cell)).expect("text")),
        Kind::Array => {
            let bytes = rows.bytes_of(cell);
            let sides = sides(bytes);
            let at = (4 + 4 * sides.len()).next_multiple_of(8);
            let values = bytes[at..].as_chunks::<8>().0.iter();
            // NaN is null in JSON.
            let values: Vec<f64> = values.map(|bytes| f64::from_le_bytes(*bytes)).collect();
            json!({ "sides": sides, "values": values })
        }
        kind => json!(format!("{kind:?}")),
    }
}

#[track_caller]
fn check(plan: &Apart, record: &str, expected: Value) {
    assert_eq!(Value::Array(told(plan, &[record])), expected, "{record}");
}

#[test]
fn elements_become_rows() {
    let plan = plan(&[], Some("items"), Arrays::Json);
    check(
        &plan,
        r#"{"id":7,"items":[{"p":1,"q":{"r":"a"}},{"p":2.5}],"z":true}"#,
        json!([
            { "id": 7, "z": true, "at": 0, "items_p": 1, "items_q_r": "a" },
            { "id": 7, "z": true, "at": 1, "items_p": 2.5 },
        ]),
    );
    check(&plan, r#"{"id":7,"items":[]}"#, json!([{ "id": 7 }]));
    check(&plan, r#"{"id":7,"items":null}"#, json!([{ "id": 7 }]));
    check(&plan, r#"{"id":7}"#, json!([{ "id": 7 }]));
    check(
        &plan,
        r#"{"items":[1,2]}"#,
        json!([{ "at": 0, "items": 1.0 }, { "at": 1, "items": 2.0 }]),
    );
    check(
        &plan,
        r#"{"items":["a",null,[3,4]]}"#,
        json!([
            { "at": 0, "items": "a" },
            { "at": 1, "items": null },
            { "at": 2, "items": { "sides": [2], "values": [3.0, 4.0] } },
        ]),
    );
    check(
        &plan,
        r#"{"items":[[1,2],[3,4]]}"#,
        json!([
            { "at": 0, "items": { "sides": [2], "values": [1.0, 2.0] } },
            { "at": 1, "items": { "sides": [2], "values": [3.0, 4.0] } },
        ]),
    );
    // A field of an element comes before one of the record.
    check(&plan, r#"{"items_p":9,"items":[{"p":1}]}"#, json!([{ "items_p": 1, "at": 0 }]));
    for wrong in [r#"{"items":5}"#, r#"{"items":"some"}"#, r#"{"items":"{}"}"#] {
        let told = told(&plan, &[wrong]);
        let said = told[0].as_str().expect("refused");
        assert!(said.starts_with("`items` is ") && said.contains("no array"), "{said}");
    }
    let nested = super::tests::plan(&[], Some("o_items"), Arrays::Json);
    check(&nested, r#"{"o":{"items":[{"p":1}]}}"#, json!([{ "at": 0, "o_items_p": 1 }]));
}

#[test]
fn records_without_elements_are_left_out_where_that_is_wanted() {
    let plan = plan(&[], Some("items?"), Arrays::Json);
    for empty in [r#"{"id":7,"items":[]}"#, r#"{"id":7,"items":null}"#, r#"{"id":7}"#] {
        check(&plan, empty, json!([]));
    }
    check(&plan, r#"{"items":[{"p":1}]}"#, json!([{ "at": 0, "items_p": 1 }]));
}

#[test]
fn objects_become_parallel_arrays() {
    let plan = plan(&[], None, Arrays::Parallel);
    check(
        &plan,
        r#"{"id":7,"items":[{"p":1,"q":2},{"p":3,"q":4.5}]}"#,
        json!([{
            "id": 7,
            "items_p": { "sides": [2], "values": [1.0, 3.0] },
            "items_q": { "sides": [2], "values": [2.0, 4.5] },
        }]),
    );
    // What is not there is NaN among numbers, and null among others.
    check(
        &plan,
        r#"{"items":[{"p":1},null,{"p":null,"s":"x"},{"s":"y","o":{"t":[1]}}]}"#,
        json!([{
            "items_p": { "sides": [4], "values": [1.0, null, null, null] },
            "items_s": r#"[null,null,"x","y"]"#,
            "items_o_t": "[null,null,null,[1]]",
        }]),
    );
    for same in [json!({ "a": "[{" }), json!({ "a": "[null]" }), json!({ "a": "text" })] {
        check(&plan, &same.to_string(), json!([same]));
    }
    check(&plan, r#"{"a":[{"p":1},2]}"#, json!([{ "a": r#"[{"p":1},2]"# }]));
    check(&plan, r#"{"a":[{}]}"#, json!([{}]));
    check(&plan, r#"{"a":[]}"#, json!([{ "a": "[]" }]));
}

#[test]
fn elements_become_columns() {
    let picks = ["items[0].p", "items[1].o.q", "items[9].p", "bids[0][1]", "bids[1]", "text[0]"];
    let plan = plan(&picks, None, Arrays::Json);
    check(
        &plan,
        r#"{"items":[{"p":1.5},{"o":{"q":"x"}}],"bids":[[1,2],[3,4]],"text":"no"}"#,
        json!([{
            "items": r#"[{"p":1.5},{"o":{"q":"x"}}]"#,
            "bids": { "sides": [2, 2], "values": [1.0, 2.0, 3.0, 4.0] },
            "text": "no",
            "items[0]_p": 1.5,
            "items[1]_o_q": "x",
            "bids[0][1]": 2.0,
            "bids[1]": { "sides": [2], "values": [3.0, 4.0] },
        }]),
    );
    check(&plan, r#"{"a":1}"#, json!([{ "a": 1 }]));
    check(
        &plan,
        r#"{"bids":[[1],[2,3]]}"#,
        json!([{ "bids": "[[1],[2,3]]", "bids[1]": {
        "sides": [2], "values": [2.0, 3.0],
    } }]),
    );
}

#[test]
fn rows_of_one_record_have_a_bound() {
    let plan = plan(&[], Some("items"), Arrays::Json);
    let outer: Map<String, Value> = (0..400).map(|n| (format!("f{n}"), json!(n))).collect();
    let mut record = Value::Object(outer);
    record["items"] = json!(vec![json!({}); 12_000]);
    let record = record.to_string();
    let told = told(&plan, &[&record, r#"{"items":[{"p":1}]}"#]);
    assert_eq!(told.len(), 2);
    assert_eq!(told[0], json!({ "at": 0, "items_p": 1 }), "the next record is well");
    assert!(told[1].as_str().is_some_and(|said| said.contains("more than 32 MiB")), "{}", told[1]);
}

#[test]
fn what_is_made_comes_in_portions() {
    let plan = plan(&[], Some("items"), Arrays::Json);
    let mut bench = Bench::new("format = \"json\"", "");
    let mut apart = TakeApart::new(&plan, &bench.context.names).expect("something is to be done");
    let value = br#"{"items":[{"p":1},{"p":2},{"p":3}]}"#.to_vec();
    let records = batch(vec![(None, Some(value)); 50]);
    let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
    bench.decoder.decode(&records, &mut rows, &mut rejects).expect("only records are at fault");
    rows.room = Some(500);
    apart.apply(&mut rows, &mut rejects);
    assert!(!rows.rest.is_empty() && rows.rows.len() < 30, "{}", rows.rows.len());
    assert_eq!(rows.rows.len() % 3, 0, "records stay whole");
    assert_eq!(rows.rest[0].source as usize * 3, rows.rows.len());
}

fn any_scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i32>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        "[a-z]{0,6}".prop_map(Value::from),
        Just(Value::Null),
    ]
}

proptest! {
    /// As many rows as elements, each with all outer fields and its own element's.
    #[test]
    fn rows_are_the_outer_fields_times_the_elements(
        outer in prop::collection::btree_map("[a-d]", any_scalar(), 0..4),
        elements in prop::collection::vec(
            prop::collection::btree_map("[p-s]", any_scalar(), 0..4), 1..6,
        ),
    ) {
        let plan = plan(&[], Some("items"), Arrays::Json);
        let mut record = json!(outer);
        record["items"] = json!(elements);
        let expected: Vec<Value> = elements.iter().enumerate().map(|(at, element)| {
            let mut row: Map<String, Value> =
                outer.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
            row.insert("at".to_owned(), json!(at));
            let own = element.iter();
            row.extend(own.map(|(name, value)| (format!("items_{name}"), value.clone())));
            Value::Object(row)
        }).collect();
        prop_assert_eq!(told(&plan, &[&record.to_string()]), expected);
    }

    /// A path into a record is the flattened field, or the element of its array.
    #[test]
    fn elements_are_those_of_the_array(
        elements in prop::collection::vec(
            prop::collection::btree_map("[p-s]", any_scalar(), 1..4), 1..6,
        ),
        at in 0_usize..7,
        name in "[p-s]",
    ) {
        let path = format!("items[{at}].{name}");
        let plan = plan(&[&path], None, Arrays::Json);
        let record = json!({ "items": elements }).to_string();
        let expected = elements.get(at).and_then(|element| element.get(&name));
        let told = told(&plan, &[&record]);
        prop_assert_eq!(told[0].get(format!("items[{at}]_{name}")), expected);
    }
}
