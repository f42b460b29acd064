//! The schema of Kafka Connect as `JsonConverter` writes it into a message: what the columns of its
//! row mean.

use serde_json::Value;

use super::meaning::{Meaning, Named, Reading};
use crate::format::Refused;
use crate::reject::Reason;

/// Structs within one another, at most.
const DEPTH_MAX: usize = 64;

/// Reads what the columns of a row mean, from the schema of an event, or of a row that was
/// unwrapped.
pub fn read(schema: &[u8], unwrapped: bool, into: &mut Reading<'_>) -> Result<(), Refused> {
    let schema: Value = serde_json::from_slice(schema)
        .map_err(|error| (Reason::Malformed, format!("its schema is not JSON: {error}")))?;
    if unwrapped {
        return fields(&schema, &mut String::new(), 0, into);
    }
    // One describes the other, but a table of inserts alone may have only one of both.
    for part in ["before", "after"] {
        if let Some(row) = each(&schema).find(|field| text(field, "field") == Some(part)) {
            fields(row, &mut String::new(), 0, into)?;
        }
    }
    Ok(())
}

/// The columns below a path.
fn fields(
    of: &Value,
    path: &mut String,
    depth: usize,
    into: &mut Reading<'_>,
) -> Result<(), Refused> {
    if depth > DEPTH_MAX {
        return Err((Reason::TooDeep, format!("its schema is nested deeper than {DEPTH_MAX}")));
    }
    for field in each(of) {
        let Some(name) = text(field, "field") else { continue };
        let outer = path.len();
        if depth > 0 {
            path.push_str(into.separator());
        }
        path.push_str(name);
        let is_geometry = text(of, "name").is_some_and(Meaning::is_geometry);
        match text(field, "type") {
            Some("struct") if text(field, "name").is_some_and(Meaning::is_variable) => {
                into.variable(path)?;
            }
            Some("struct") => fields(field, path, depth + 1, into)?,
            Some("bytes") if is_geometry => into.column(path, Meaning::Hex)?,
            Some(kind) => {
                if let Some(meaning) = meaning(kind, field) {
                    into.column(path, meaning)?;
                }
            }
            None => {}
        }
        path.truncate(outer);
    }
    Ok(())
}

/// What a type without fields means; `None` if its values say it.
fn meaning(kind: &str, field: &Value) -> Option<Meaning> {
    if kind == "array" {
        let items = field.get("items")?;
        let name = text(items, "name")?;
        return match Meaning::named(named(items, name)) {
            Some(Meaning::Decimal(scale)) => Some(Meaning::Decimals(scale)),
            _ => Meaning::is_variable(name).then_some(Meaning::Decimals(0)),
        };
    }
    let meaning = text(field, "name").and_then(|name| Meaning::named(named(field, name)));
    meaning.or(match kind {
        "float" | "double" => Some(Meaning::Double),
        "bytes" => Some(Meaning::Bytes),
        _ => None,
    })
}

fn named<'a>(field: &Value, name: &'a str) -> Named<'a> {
    let parameter = |key: &str| {
        let value = field.get("parameters")?.get(key)?;
        value.as_str().and_then(|text| text.parse::<u32>().ok())
    };
    let scale = parameter("scale").map(|scale| u8::try_from(scale).unwrap_or(u8::MAX));
    Named { name, scale, length: parameter("length").unwrap_or(0) }
}

fn each(of: &Value) -> impl Iterator<Item = &Value> {
    of.get("fields").and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(of: &'a Value, key: &str) -> Option<&'a str> {
    of.get(key).and_then(Value::as_str)
}
