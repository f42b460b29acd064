//! What came out, written into the file of cases: the keys that say what becomes of a record are
//! replaced, everything else stays, comments of TOML included.

use std::path::Path;

use serde_json::{Map, Value};
use toml_edit::{Array, DocumentMut, InlineTable, Item, TableLike};

use super::draft::is_json;
use super::expect::Expected;
use crate::blame::Fault;

/// What becomes of a record: (number of its case, its own number there, what it is).
pub(super) type Change = (usize, usize, Expected);

/// The keys that one of them stands under.
const KEYS: [&str; 4] = ["rows", "lines", "rejected", "filtered"];

/// The file's text with the changes.
pub(super) fn updated(path: &Path, text: &str, changes: &[Change]) -> Result<String, Fault> {
    let updated = match is_json(path) {
        true => in_json(text, changes),
        false => in_toml(text, changes),
    };
    updated.map_err(|message| Fault::us(format!("updating {}: {message}", path.display())))
}

fn in_json(text: &str, changes: &[Change]) -> Result<String, String> {
    let mut file: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    for (case, record, expected) in changes {
        let place = file.pointer_mut(&format!("/case/{case}/record/{record}"));
        let record = place.and_then(Value::as_object_mut).ok_or("a record is gone")?;
        KEYS.iter().for_each(|key| drop(record.shift_remove(*key)));
        let (key, value) = key_and_value(expected);
        record.insert(key.to_owned(), value);
    }
    let text = serde_json::to_string_pretty(&file).map_err(|error| error.to_string())?;
    Ok(text + "\n")
}

fn in_toml(text: &str, changes: &[Change]) -> Result<String, String> {
    let mut file: DocumentMut = text.parse().map_err(|error| format!("{error}"))?;
    for (case, record, expected) in changes {
        const GONE: &str = "a record is gone";
        let cases = file.get_mut("case").ok_or(GONE)?;
        let case = nth(cases, *case).ok_or(GONE)?;
        let records = case.get_mut("record").ok_or(GONE)?;
        let record = nth(records, *record).ok_or(GONE)?;
        let (key, value) = key_and_value(expected);
        KEYS.iter().filter(|other| **other != key).for_each(|other| drop(record.remove(other)));
        let mut new = toml_value(&value);
        if let (Some(array), "rows" | "lines") = (new.as_array_mut(), key) {
            one_a_line(array);
        }
        match record.get_mut(key).and_then(Item::as_value_mut) {
            Some(old) => {
                // What stands behind the value, a comment mostly, stays there.
                *new.decor_mut() = old.decor().clone();
                *old = new;
            }
            None => drop(record.insert(key, Item::Value(new))),
        }
    }
    Ok(file.to_string())
}

/// The table at a place of an array of tables, however it is written.
fn nth(item: &mut Item, place: usize) -> Option<&mut dyn TableLike> {
    match item {
        Item::ArrayOfTables(tables) => tables.get_mut(place).map(|table| table as _),
        Item::Value(toml_edit::Value::Array(values)) => {
            values.get_mut(place)?.as_inline_table_mut().map(|table| table as _)
        }
        _ => None,
    }
}

/// Several values of an array stand on a line each.
fn one_a_line(array: &mut Array) {
    if array.len() > 1 {
        array.iter_mut().for_each(|value| value.decor_mut().set_prefix("\n    "));
        array.set_trailing("\n");
        array.set_trailing_comma(true);
    }
}

fn key_and_value(expected: &Expected) -> (&'static str, Value) {
    match expected {
        Expected::Rows(rows) => {
            ("rows", Value::Array(rows.iter().cloned().map(Value::Object).collect()))
        }
        Expected::Lines(lines) => ("lines", lines.iter().map(String::as_str).collect()),
        Expected::Rejected(why) => ("rejected", Value::String(why.clone())),
        Expected::Filtered | Expected::Nothing => ("filtered", Value::Bool(true)),
    }
}

/// A value as TOML writes it; its null is a table, for TOML has none.
pub(super) fn toml_value(value: &Value) -> toml_edit::Value {
    match value {
        Value::Null => inline(&Map::from_iter([("null".to_owned(), Value::Bool(true))])),
        Value::Bool(value) => (*value).into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => integer.into(),
            (None, float) => float.unwrap_or(f64::NAN).into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(values) => {
            let mut array = Array::new();
            values.iter().for_each(|value| array.push(toml_value(value)));
            array.into()
        }
        Value::Object(table) => inline(table),
    }
}

fn inline(table: &Map<String, Value>) -> toml_edit::Value {
    let entries = table.iter().map(|(key, value)| (key.as_str(), toml_value(value)));
    InlineTable::from_iter(entries).into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(json: Value) -> Map<String, Value> {
        json.as_object().cloned().expect("the test's own")
    }

    #[test]
    fn toml_keeps_what_is_not_replaced() {
        let text = "# cases\nmodule = \"a.wasm\" # mine\n\n[[case]]\nname = \"n\"\n\n\
                    [[case.record]]\n# the first\nvalue = '{}'\nrows = [{ a = 1 }] # was right\n\n\
                    [[case.record]]\nvalue = 'x' # second\nfiltered = true\n";
        let rows = vec![row(json!({ "a": 2.0, "b": null })), row(json!({ "c d": "e" }))];
        let changes =
            vec![(0, 0, Expected::Rows(rows)), (0, 1, Expected::Rejected("malformed".to_owned()))];
        let updated = in_toml(text, &changes).expect("it can be");
        let expected = "# cases\nmodule = \"a.wasm\" # mine\n\n[[case]]\nname = \"n\"\n\n\
                        [[case.record]]\n# the first\nvalue = '{}'\nrows = [\n    \
                        { a = 2.0, b = { null = true } },\n    { \"c d\" = \"e\" },\n] # was right\
                        \n\n[[case.record]]\nvalue = 'x' # second\nrejected = \"malformed\"\n";
        assert_eq!(updated, expected);
    }

    #[test]
    fn arrays_in_one_line_are_updated_too() {
        let text = "case = [{ record = [{ value = 'x', filtered = true }] }]\n";
        let updated = in_toml(text, &[(0, 0, Expected::Lines(vec!["a b=1".to_owned()]))]);
        let read: toml::Table = updated.expect("it can be").parse().expect("TOML");
        let record = &read["case"][0]["record"][0];
        assert_eq!(record["lines"][0].as_str(), Some("a b=1"));
        assert!(record.get("filtered").is_none());
    }

    #[test]
    fn json_keeps_its_order() {
        let text = "{\"module\": \"a\", \"case\": [{\"record\": [{\"rows\": [], \"value\": 1}]}]}";
        let updated = in_json(text, &[(0, 0, Expected::Filtered)]).expect("it can be");
        let value: Value = serde_json::from_str(&updated).expect("JSON");
        assert_eq!(value["case"][0]["record"][0], json!({ "value": 1, "filtered": true }));
        assert!(updated.find("module") < updated.find("case"));
    }
}
