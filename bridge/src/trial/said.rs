//! What a cell says, by itself and as it is written in cases: what is read there is what
//! `--update` writes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bridge_abi::{Unit, Value as CellValue};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::rig::Row;
use crate::sink::questdb::decimal_text;

/// One cell's value, owned.
#[derive(Clone, PartialEq, Debug)]
pub enum Said {
    /// There, and null.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer.
    I64(i64),
    /// A floating-point number.
    F64(f64),
    /// Text.
    Text(String),
    /// Text with few distinct values.
    Symbol(String),
    /// An instant.
    Timestamp(i64, Unit),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A decimal number, with all its digits.
    Decimal(String),
    /// Numbers, in one or more dimensions.
    Array(Value),
}

/// The kinds that are said by name, as `{ symbol = "a" }`.
const KINDS: [&str; 7] = ["text", "symbol", "timestamp", "decimal", "bytes", "float", "null"];

impl Said {
    /// What a checked cell says.
    pub fn of(value: CellValue<'_>) -> Said {
        match value {
            CellValue::Null | CellValue::Drop => Said::Null,
            CellValue::Bool(value) => Said::Bool(value),
            CellValue::I64(value) => Said::I64(value),
            CellValue::F64(value) => Said::F64(value),
            CellValue::Text(text) => Said::Text(text.to_owned()),
            CellValue::Symbol(text) => Said::Symbol(text.to_owned()),
            CellValue::Timestamp(value, unit) => Said::Timestamp(value, unit),
            CellValue::Bytes(bytes) => Said::Bytes(bytes.to_vec()),
            CellValue::Decimal { scale, unscaled } => {
                let text = decimal_text(unscaled, scale);
                Said::Decimal(text.unwrap_or_else(|| format!("{unscaled:02x?}e-{scale}")))
            }
            CellValue::Array(array) => {
                let sides: Vec<usize> = array.shape().map(|side| side as usize).collect();
                let numbers: Vec<Value> = array.values().map(float).collect();
                Said::Array(nested(&sides, &numbers))
            }
        }
    }

    /// As it is written in cases, with its kind where that would not be clear.
    pub fn written(&self) -> Value {
        match self {
            Said::Null => Value::Null,
            Said::Bool(value) => json!(value),
            Said::I64(value) => json!(value),
            Said::F64(value) => float(*value),
            Said::Text(text) => json!(text),
            Said::Symbol(text) => json!({ "symbol": text }),
            Said::Timestamp(value, unit) => json!({ "timestamp": instant(*value, *unit) }),
            Said::Bytes(bytes) => json!({ "bytes": STANDARD.encode(bytes) }),
            Said::Decimal(text) => json!({ "decimal": text }),
            Said::Array(numbers) => numbers.clone(),
        }
    }

    /// As JSON has it, without its kind.
    pub fn plain(&self) -> Value {
        match self {
            Said::Symbol(text) | Said::Decimal(text) => json!(text),
            Said::Timestamp(value, unit) => json!(instant(*value, *unit)),
            Said::Bytes(bytes) => json!(STANDARD.encode(bytes)),
            Said::F64(value) => json!(value),
            _ => self.written(),
        }
    }

    /// Whether this is what a case expects.
    pub fn is(&self, expected: &Value) -> bool {
        let written = self.written();
        if written == *expected {
            return true;
        }
        let named = |value: &Value| {
            let (kind, inner) = value.as_object()?.iter().next()?;
            Some((kind.clone(), inner.clone()))
        };
        match (self, expected, named(expected)) {
            (Said::Text(text), _, Some((kind, inner))) => kind == "text" && inner == **text,
            (Said::Null, _, Some((kind, inner))) => kind == "null" && inner == true,
            (Said::F64(own), _, Some((kind, inner))) => {
                kind == "float" && inner.as_f64() == Some(*own)
            }
            (Said::Timestamp(..), Value::String(text), _) => same_instant(&written, text),
            (Said::Timestamp(..), _, Some((kind, Value::String(text)))) => {
                kind == "timestamp" && same_instant(&written, &text)
            }
            (_, Value::String(_), _) => named(&written).is_some_and(|(_, own)| own == *expected),
            _ => false,
        }
    }
}

/// What is wrong with a value that a case expects, if anything is.
pub(super) fn mistake(expected: &Value) -> Option<String> {
    let Value::Object(table) = expected else { return None };
    let mut keys = table.keys();
    match (keys.next(), keys.next()) {
        (Some(kind), None) if KINDS.contains(&kind.as_str()) => None,
        _ => Some(format!(
            "a value is a number, text, true, false, an array, or a kind by name, such as \
             {{ symbol = \"a\" }}: one of {}",
            KINDS.join(", ")
        )),
    }
}

/// A number; what JSON does not have is said by its name.
fn float(value: f64) -> Value {
    match serde_json::Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None => json!({ "float": value.to_string() }),
    }
}

/// Numbers in row-major order as arrays of arrays.
fn nested(sides: &[usize], numbers: &[Value]) -> Value {
    match sides {
        [] | [_] => Value::Array(numbers.to_vec()),
        [_, inner @ ..] => {
            let each = inner.iter().product::<usize>().max(1);
            Value::Array(numbers.chunks(each).map(|part| nested(inner, part)).collect())
        }
    }
}

/// An instant as text; beyond the years that calendars agree on, the number and its unit.
fn instant(value: i64, unit: Unit) -> String {
    let (each, name): (i128, &str) = match unit {
        Unit::Seconds => (1_000_000_000, "s"),
        Unit::Millis => (1_000_000, "ms"),
        Unit::Micros => (1_000, "us"),
        Unit::Nanos => (1, "ns"),
    };
    match Timestamp::from_nanosecond(i128::from(value) * each) {
        Ok(at) => at.to_string(),
        Err(_) => format!("{value} {name}"),
    }
}

fn same_instant(written: &Value, text: &str) -> bool {
    let own = written["timestamp"].as_str().unwrap_or_default();
    let read = |text: &str| text.parse::<Timestamp>().ok();
    own == text || read(own).is_some_and(|own| read(text) == Some(own))
}

/// Under which name a row of a case says its table.
pub(super) const TABLE: &str = "@table";

/// Under which name a record for a topic says its topic.
pub(super) const TOPIC: &str = "@topic";

/// A row as it is written in cases.
pub fn written_row(row: &Row) -> Map<String, Value> {
    let table = row.table.iter().map(|table| (TABLE.to_owned(), json!(table)));
    let topic = row.topic.iter().map(|topic| (TOPIC.to_owned(), json!(topic)));
    let cells = row.cells.iter().map(|(name, said)| (name.clone(), said.written()));
    table.chain(topic).chain(cells).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Said> {
        vec![
            Said::Null,
            Said::Bool(true),
            Said::I64(21),
            Said::F64(21.0),
            Said::F64(f64::NAN),
            Said::F64(f64::NEG_INFINITY),
            Said::Text("a".into()),
            Said::Symbol("a".into()),
            Said::Timestamp(1_700_000_000_123, Unit::Millis),
            Said::Timestamp(i64::MAX, Unit::Seconds),
            Said::Bytes(b"hi".to_vec()),
            Said::Decimal("1.50".into()),
            Said::Array(json!([[1.0, 2.0], [3.0, 4.0]])),
        ]
    }

    #[test]
    fn what_is_written_is_what_is_expected_and_nothing_else() {
        for (at, said) in all().iter().enumerate() {
            assert_eq!(mistake(&said.written()), None, "{said:?}");
            for (other_at, other) in all().iter().enumerate() {
                // Bare text stands for whatever is written as text.
                let loose = matches!((said, other), (Said::Symbol(_), Said::Text(_)));
                assert_eq!(
                    said.is(&other.written()),
                    at == other_at || loose,
                    "{said:?} {other:?}"
                );
            }
        }
    }

    #[test]
    fn kinds_are_named_where_they_matter() {
        let check = |said: Said, expected: Value, is: bool| {
            assert_eq!(said.is(&expected), is, "{said:?} {expected}");
        };
        check(Said::Text("a".into()), json!({ "text": "a" }), true);
        check(Said::Symbol("a".into()), json!({ "text": "a" }), false);
        check(Said::Symbol("a".into()), json!("a"), true);
        check(Said::Decimal("1.50".into()), json!("1.50"), true);
        check(Said::Decimal("1.50".into()), json!({ "symbol": "1.50" }), false);
        check(Said::Null, json!({ "null": true }), true);
        check(Said::Null, json!({ "null": false }), false);
        check(Said::F64(1.5), json!({ "float": 1.5 }), true);
        let at = Said::Timestamp(1_767_225_600, Unit::Seconds);
        check(at.clone(), json!("2026-01-01T00:00:00Z"), true);
        check(at.clone(), json!({ "timestamp": "2026-01-01T01:00:00+01:00" }), true);
        check(at, json!({ "timestamp": "2026-01-01T00:00:01Z" }), false);
        assert!(mistake(&json!({ "sybmol": "a" })).is_some_and(|m| m.contains("symbol")));
    }

    #[test]
    fn arrays_are_nested_by_their_sides() {
        let numbers: Vec<Value> = (0..6).map(|n| json!(n)).collect();
        assert_eq!(nested(&[2, 3], &numbers), json!([[0, 1, 2], [3, 4, 5]]));
        assert_eq!(nested(&[6], &numbers), json!([0, 1, 2, 3, 4, 5]));
    }
}
