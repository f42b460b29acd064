//! Rows as JSON under a schema in a registry (Confluent's framing of JSON Schema, draft 7). A
//! schema that is given is the reader's matter: rows are written as the sink writes JSON. One that
//! is derived closes its object (`additionalProperties`), for only then an older schema's data is
//! known to be a newer one's.

use serde_json::{Map, Value, json};

use super::places::Places;
use super::row::{Given, Row, Unfit};
use crate::shape::ColumnType;
use crate::sink::text::{Plain, Timestamps, push_string, push_value};

/// How rows become values of one schema.
#[derive(Debug)]
pub struct Plan {
    members: Box<[Member]>,
    /// Whether there is no object around the only one.
    is_lone: bool,
}

/// A member of the object.
#[derive(Debug)]
struct Member {
    /// `"name":`
    fragment: Box<[u8]>,
    /// What the schema takes; anything if it does not say.
    takes: Option<Takes>,
    /// Whether each object has it.
    required: bool,
}

/// What a member's schema takes, as far as it is one that columns become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Takes {
    Boolean,
    Integer,
    Number,
    Text,
    Array,
}

/// What schemas are written in that are made.
const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// An object's schema, to be added to; or that of one column, null before it is there.
#[derive(Clone, PartialEq, Debug)]
pub struct Document(Value);

impl Document {
    /// An object without members.
    pub fn new(name: &str) -> Document {
        Document(json!({
            "$schema": DRAFT,
            "title": name,
            "type": "object",
            "properties": {},
            "additionalProperties": false,
        }))
    }

    /// Without an object around the one column that is added.
    pub fn lone() -> Document {
        Document(Value::Null)
    }

    /// A schema that is there: it is to be that of an object.
    pub fn read(text: &str) -> Result<Document, String> {
        Document::of(parse(text)?)
    }

    fn of(value: Value) -> Result<Document, String> {
        match value["properties"].is_object() {
            true => Ok(Document(value)),
            false => Err("it is no object with `properties`".to_owned()),
        }
    }

    /// Adds a column.
    pub fn add(
        &mut self,
        column: &str,
        kind: ColumnType,
        is_always_there: bool,
        timestamps: Timestamps,
    ) {
        let mut schema = schema_of(kind, timestamps);
        if !is_always_there || kind == ColumnType::Double || kind == ColumnType::Float {
            schema["type"] = json!(["null", schema["type"]]);
        }
        if self.0.is_null() {
            schema["$schema"] = json!(DRAFT);
            self.0 = schema;
            return;
        }
        // As Kafka Connect has it: a registry may sort the members.
        let at = self.0["properties"].as_object().map_or(0, Map::len);
        schema["connect.index"] = json!(at);
        if let Some(properties) = self.0["properties"].as_object_mut() {
            properties.insert(column.to_owned(), schema);
        }
        if is_always_there {
            match self.0["required"].as_array_mut() {
                Some(required) => required.push(json!(column)),
                None => self.0["required"] = json!([column]),
            }
        }
    }

    /// As it is registered.
    pub fn text(&self) -> String {
        self.0.to_string()
    }
}

impl Plan {
    /// Compiles a schema, of an object or of what the lone column becomes; the places of its
    /// members come out.
    pub fn compile(text: &str, lone: Option<&str>) -> Result<(Plan, Places), String> {
        let schema = parse(text)?;
        let is_object = schema["type"] == "object" || schema["properties"].is_object();
        if let Some(column) = lone.filter(|_| !is_object) {
            let mut places = Places::default();
            places.of(column);
            let member = Member { fragment: Box::default(), takes: takes(&schema), required: true };
            return Ok((Plan { members: [member].into(), is_lone: true }, places));
        }
        let Document(schema) = Document::of(schema)?;
        let mut members: Vec<(&String, &Value)> =
            schema["properties"].as_object().into_iter().flatten().collect();
        let index = |schema: &Value| schema["connect.index"].as_u64().unwrap_or(u64::MAX);
        members.sort_by_key(|(_, schema)| index(schema));
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut places = Places::default();
        let member = |(name, schema): (&String, &Value)| {
            places.of(name);
            let mut fragment = Vec::with_capacity(name.len() + 3);
            push_string(&mut fragment, name.as_bytes());
            fragment.push(b':');
            let required = required.contains(&name.as_str());
            Member { fragment: fragment.into(), takes: takes(schema), required }
        };
        let members = members.into_iter().map(member).collect();
        Ok((Plan { members, is_lone: false }, places))
    }

    /// Appends a row's value.
    pub fn write(
        &self,
        row: &Row<'_>,
        timestamps: Timestamps,
        out: &mut Vec<u8>,
    ) -> Result<(), Unfit> {
        let start = out.len();
        for (place, member) in (0..).zip(&self.members) {
            let given = row.given(place);
            match given {
                Given::Missing if !member.required => continue,
                Given::Missing => {
                    let why = "is required by the schema, and the record has none".to_owned();
                    return Err(Unfit { place, why });
                }
                Given::Null if member.required && member.takes.is_some() => {
                    let why = "is required by the schema, and the record has null".to_owned();
                    return Err(Unfit { place, why });
                }
                _ => {}
            }
            if !self.is_lone {
                out.push(b',');
                out.extend_from_slice(&member.fragment);
            }
            member.value(&given, timestamps, out).ok_or_else(|| {
                let takes = member.takes.map_or("something else", Takes::word);
                let why = format!("is {takes} in the schema, the record has {}", given.shown());
                Unfit { place, why }
            })?;
        }
        if self.is_lone {
            return Ok(());
        }
        match out.get_mut(start) {
            Some(first) => *first = b'{',
            None => out.push(b'{'),
        }
        out.push(b'}');
        Ok(())
    }
}

fn parse(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))
}

impl Member {
    fn value(&self, given: &Given<'_>, timestamps: Timestamps, out: &mut Vec<u8>) -> Option<()> {
        if let Given::Null = given {
            out.extend_from_slice(b"null");
            return Some(());
        }
        let plain = match self.takes {
            None | Some(Takes::Array) => given.natural()?,
            Some(Takes::Boolean) => given.fit(ColumnType::Boolean)?,
            Some(Takes::Integer) if given.is_instant() => {
                timestamps.unit()?;
                given.natural()?
            }
            Some(Takes::Integer) => given.fit(ColumnType::Long)?,
            Some(Takes::Number) => match given.natural()? {
                plain @ (Plain::Integer(_) | Plain::Double(_) | Plain::Decimal(_)) => plain,
                _ => return None,
            },
            Some(Takes::Text) => match given.natural()? {
                plain @ (Plain::Text(_) | Plain::Bytes(_)) => plain,
                plain @ Plain::Instant(..) if timestamps.unit().is_none() => plain,
                Plain::Instant(..) | Plain::Array(_) => return None,
                _ => given.fit(ColumnType::Varchar)?,
            },
        };
        if self.takes == Some(Takes::Array) && !matches!(plain, Plain::Array(_)) {
            return None;
        }
        push_value(out, &plain, timestamps);
        Some(())
    }
}

impl Takes {
    fn word(self) -> &'static str {
        match self {
            Takes::Boolean => "boolean",
            Takes::Integer => "integer",
            Takes::Number => "number",
            Takes::Text => "string",
            Takes::Array => "array",
        }
    }
}

/// What a member takes; `None` where that is more than one thing, or nothing that is known.
fn takes(schema: &Value) -> Option<Takes> {
    let of = match &schema["type"] {
        Value::String(word) => word.as_str(),
        Value::Array(words) => {
            let mut others = words.iter().filter_map(Value::as_str).filter(|word| *word != "null");
            others.next().filter(|_| others.next().is_none())?
        }
        _ => return None,
    };
    Some(match of {
        "boolean" => Takes::Boolean,
        "integer" => Takes::Integer,
        "number" => Takes::Number,
        "string" => Takes::Text,
        "array" => Takes::Array,
        _ => return None,
    })
}

fn schema_of(kind: ColumnType, timestamps: Timestamps) -> Value {
    match kind {
        ColumnType::Boolean => json!({ "type": "boolean" }),
        ColumnType::Byte | ColumnType::Short | ColumnType::Int | ColumnType::Long => {
            json!({ "type": "integer" })
        }
        ColumnType::Float | ColumnType::Double | ColumnType::Decimal(..) => {
            json!({ "type": "number" })
        }
        ColumnType::Uuid => json!({ "type": "string", "format": "uuid" }),
        ColumnType::Date | ColumnType::Timestamp | ColumnType::TimestampNs => {
            match timestamps.unit() {
                None => json!({ "type": "string", "format": "date-time" }),
                Some(_) => json!({ "type": "integer" }),
            }
        }
        ColumnType::Binary => json!({ "type": "string", "contentEncoding": "base64" }),
        ColumnType::Array(dims) => (0..dims).fold(
            json!({ "type": ["null", "number"] }),
            |items, _| json!({ "type": "array", "items": items }),
        ),
        _ => json!({ "type": "string" }),
    }
}
