//! What may be written of columns, their types and their meaning.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::json;

use super::super::draft::UnitDraft;
use crate::shape::{EmptyArray, OnBad};

/// A column's type, or more than that.
#[derive(serde::Deserialize, Default, Debug)]
#[serde(deny_unknown_fields, default)]
pub struct ColumnDraft {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// What happens to a value that it does not take.
    pub on_bad: Option<OnBad>,
    /// Where local times are read.
    pub zone: Option<String>,
    /// How a time is written, in strftime's letters.
    pub pattern: Option<String>,
    /// The unit of a time that is a number.
    pub unit: Option<UnitDraft>,
}

impl JsonSchema for ColumnDraft {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Column".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (unit, on_bad) =
            (generator.subschema_for::<UnitDraft>(), generator.subschema_for::<OnBad>());
        let text = |what: &str| json!({ "type": "string", "description": what });
        json_schema!({ "anyOf": [
            { "type": "string" },
            { "type": "object", "additionalProperties": false, "properties": {
                "type": text("the column's type"),
                "on_bad": on_bad,
                "zone": text("where local times are read, such as `Europe/Berlin`"),
                "pattern": text("how a time is written, in strftime's letters"),
                "unit": unit,
            } },
        ] })
    }
}

/// Fields that become columns: a list where names stay, or new names for them.
#[derive(Debug)]
pub struct OnlyDraft(pub Vec<(String, Option<String>)>);

impl<'de> Deserialize<'de> for OnlyDraft {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OnlyDraft, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = OnlyDraft;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of fields, or a table of new names")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<OnlyDraft, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = seq.next_element()? {
                    fields.push((field, None));
                }
                Ok(OnlyDraft(fields))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OnlyDraft, A::Error> {
                let mut fields = Vec::new();
                while let Some((field, column)) = map.next_entry()? {
                    fields.push((field, Some(column)));
                }
                Ok(OnlyDraft(fields))
            }
        }
        deserializer.deserialize_any(Fields)
    }
}

impl JsonSchema for OnlyDraft {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "MappingOnly".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "array", "items": { "type": "string" } },
            { "type": "object", "additionalProperties": { "type": "string" } },
        ] })
    }
}

/// An array whose elements become rows.
#[derive(serde::Deserialize, Default, Debug)]
#[serde(deny_unknown_fields, default)]
pub struct ExplodeDraft {
    /// The array, by its path in the record.
    pub field: Option<String>,
    /// What a record without elements becomes.
    pub empty: EmptyArray,
    /// The column of an element's index, from 0.
    pub index: Option<String>,
}

impl JsonSchema for ExplodeDraft {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Explode".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let empty = generator.subschema_for::<EmptyArray>();
        let text = |what: &str| json!({ "type": "string", "description": what });
        json_schema!({ "anyOf": [
            { "type": "string" },
            { "type": "object", "additionalProperties": false, "properties": {
                "field": text("the array, by its path in the record"),
                "empty": empty,
                "index": text("the column of an element's index, from 0"),
            } },
        ] })
    }
}
