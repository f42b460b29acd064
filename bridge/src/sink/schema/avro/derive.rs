//! A schema out of columns: a record of them, in the order in which they were met. One that grows
//! stays readable as what it was, and what was written before is readable as what it is: a new
//! field may be null, and is by default.

use serde_json::{Value, json};

use super::super::legal;
use crate::shape::ColumnType;

/// A record's schema, to be added to; or that of one column, null before it is there.
#[derive(Clone, PartialEq, Debug)]
pub struct Document(Value);

impl Document {
    /// A record without fields. `name` may have a namespace.
    pub fn new(name: &str) -> Document {
        let (space, name) = name.rsplit_once('.').unwrap_or(("", name));
        let mut record = json!({ "type": "record", "name": name, "fields": [] });
        if !space.is_empty() {
            record["namespace"] = json!(space);
        }
        Document(record)
    }

    /// Without a record around the one column that is added.
    pub fn lone() -> Document {
        Document(Value::Null)
    }

    /// A schema that is there: its root is to be a record.
    pub fn read(text: &str) -> Result<Document, String> {
        let value: Value =
            serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
        match value["fields"].is_array() && value["type"] == "record" {
            true => Ok(Document(value)),
            false => Err("it is no record".to_owned()),
        }
    }

    /// Adds a column as a field, which is null where there is none.
    pub fn add(&mut self, column: &str, kind: ColumnType, is_always_there: bool) {
        let name = legal(column);
        let of = type_of(kind);
        if self.0.is_null() {
            self.0 = of;
            return;
        }
        let field = match is_always_there {
            true => json!({ "name": name, "type": of }),
            false => json!({ "name": name, "type": ["null", of], "default": null }),
        };
        if let Some(fields) = self.0["fields"].as_array_mut() {
            fields.push(field);
        }
    }

    /// As it is registered.
    pub fn text(&self) -> String {
        self.0.to_string()
    }
}

/// The type that a column becomes.
fn type_of(kind: ColumnType) -> Value {
    let logical = |of: &str, logical: &str| json!({ "type": of, "logicalType": logical });
    match kind {
        ColumnType::Boolean => json!("boolean"),
        ColumnType::Byte | ColumnType::Short | ColumnType::Int => json!("int"),
        ColumnType::Long => json!("long"),
        ColumnType::Float => json!("float"),
        ColumnType::Double => json!("double"),
        ColumnType::Symbol
        | ColumnType::Varchar
        | ColumnType::String
        | ColumnType::Char
        | ColumnType::Ipv4
        | ColumnType::Long256
        | ColumnType::Geohash => json!("string"),
        ColumnType::Uuid => logical("string", "uuid"),
        ColumnType::Date => logical("long", "timestamp-millis"),
        ColumnType::Timestamp => logical("long", "timestamp-micros"),
        ColumnType::TimestampNs => logical("long", "timestamp-nanos"),
        ColumnType::Decimal(precision, scale) => json!({
            "type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale,
        }),
        ColumnType::Binary => json!("bytes"),
        ColumnType::Array(dims) => {
            (0..dims).fold(json!("double"), |items, _| json!({ "type": "array", "items": items }))
        }
    }
}
