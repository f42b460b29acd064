//! The JSON Schema of a configuration file, for editors and for the reference: the draft's own,
//! with the options of every kind put where their sections stand.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::draft::{FallbackDraft, FileDraft};
use super::value::{COMPRESSION, COMPRESSION_SAID};
use crate::kind::Kind;
use crate::{format, sink, source, transform};

/// The JSON Schema of a whole file.
pub fn file_schema() -> Value {
    let mut schema = schemars::schema_for!(FileDraft).to_value();
    schema["title"] = json!("bridge.toml");
    schema
}

/// A source's section: any source and its options.
#[derive(Debug)]
pub struct SourceSection;

/// A value's section: any format and its options.
#[derive(Debug)]
pub struct FormatSection;

/// A transform's section: any transform and its options.
#[derive(Debug)]
pub struct TransformSection;

/// A sink's section: any sink and its options.
#[derive(Debug)]
pub struct SinkSection;

/// A fallback's section: any sink and its options, and when it is turned to.
#[derive(Debug)]
pub struct FallbackSection;

impl JsonSchema for FallbackSection {
    fn schema_name() -> Cow<'static, str> {
        "FallbackSink".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        // Its definition is what the reference shows of it.
        let _ = generator.subschema_for::<FallbackDraft>();
        let own = FallbackDraft::json_schema(generator).to_value()["properties"].clone();
        let mut schema = any_kind(generator, sink::KINDS, "kind", None).to_value();
        for choice in schema["anyOf"].as_array_mut().into_iter().flatten() {
            let choice = choice.as_object_mut().expect("options are a table");
            // What is not said is the first sink's, the kind too.
            choice.remove("required");
            for key in ["after", "retry_every"] {
                choice["properties"][key] = own[key].clone();
            }
        }
        schema.try_into().expect("an object is a schema")
    }
}

impl JsonSchema for SourceSection {
    fn schema_name() -> Cow<'static, str> {
        "Source".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = any_kind(generator, source::KINDS, "kind", Some("kafka")).to_value();
        let choices = schema["anyOf"].as_array_mut().expect("there are kinds");
        choices.push(json!({
            "type": "object",
            "title": "kafka",
            "description": "a consumer group of Kafka; its keys are the pipeline's",
            "additionalProperties": false,
            "properties": { "kind": { "const": "kafka" } },
        }));
        schema.try_into().expect("an object is a schema")
    }
}

impl JsonSchema for FormatSection {
    fn schema_name() -> Cow<'static, str> {
        "Format".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = any_kind(generator, format::KINDS, "format", Some("json")).to_value();
        let mut compression = schemars::schema_for!(format::Compression).to_value();
        let words: Vec<Value> = match compression["oneOf"].as_array() {
            Some(choices) => choices.iter().map(|choice| choice["const"].clone()).collect(),
            None => compression["enum"].as_array_mut().map(std::mem::take).unwrap_or_default(),
        };
        for choice in schema["anyOf"].as_array_mut().into_iter().flatten() {
            choice["properties"][COMPRESSION] =
                json!({ "enum": words, "description": COMPRESSION_SAID });
        }
        schema.try_into().expect("an object is a schema")
    }
}

impl JsonSchema for TransformSection {
    fn schema_name() -> Cow<'static, str> {
        "Transform".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        any_kind(generator, transform::KINDS, "kind", Some("guest"))
    }
}

impl JsonSchema for SinkSection {
    fn schema_name() -> Cow<'static, str> {
        "Sink".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        any_kind(generator, sink::KINDS, "kind", Some("questdb"))
    }
}

/// One of the kinds of a room: its options, and the key that chooses it.
fn any_kind<P: ?Sized>(
    generator: &mut SchemaGenerator,
    kinds: &[Kind<P>],
    key: &str,
    default: Option<&str>,
) -> Schema {
    let choice = |kind: &Kind<P>| {
        let mut schema = (kind.schema)().to_value();
        let prefix = format!("{key}_{}_", kind.name);
        point_to(&mut schema, &prefix);
        let object = schema.as_object_mut().expect("options are a table");
        if let Some(Value::Object(definitions)) = object.remove("$defs") {
            for (name, definition) in definitions {
                generator.definitions_mut().insert(format!("{prefix}{name}"), definition);
            }
        }
        object.remove("$schema");
        object.insert("title".into(), json!(kind.name));
        object.insert("description".into(), json!(kind.summary));
        let properties = object.entry("properties").or_insert_with(|| json!({}));
        properties[key] = json!({ "const": kind.name, "description": kind.summary });
        if default != Some(kind.name) {
            let required = object.entry("required").or_insert_with(|| json!([]));
            required.as_array_mut().expect("a list of names").push(json!(key));
        }
        schema
    };
    let choices: Vec<Value> = kinds.iter().map(choice).collect();
    if choices.is_empty() {
        return json_schema!({ "type": "object" });
    }
    json_schema!({ "anyOf": choices })
}

/// Makes references lead to definitions under their new names.
fn point_to(schema: &mut Value, prefix: &str) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::String(reference)) = object.get_mut("$ref")
                && let Some(name) = reference.strip_prefix("#/$defs/")
            {
                *reference = format!("#/$defs/{prefix}{name}");
            }
            object.values_mut().for_each(|below| point_to(below, prefix));
        }
        Value::Array(elements) => elements.iter_mut().for_each(|below| point_to(below, prefix)),
        _ => {}
    }
}

/// The options of a section as (key, type in words, description), in the schema's order.
pub fn options_of(schema: &Value, root: &Value) -> Vec<(String, String, String)> {
    let empty = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let row = |(key, property): (&String, &Value)| {
        let described = property
            .get("description")
            .or_else(|| resolve(property, root).and_then(|target| target.get("description")));
        let text = described.and_then(Value::as_str).unwrap_or_default().replace('\n', " ");
        (key.clone(), type_in_words(property, root), text)
    };
    properties.iter().map(row).collect()
}

fn resolve<'a>(schema: &Value, root: &'a Value) -> Option<&'a Value> {
    let name = schema.get("$ref")?.as_str()?.strip_prefix("#/$defs/")?;
    root.get("$defs")?.get(name)
}

/// What may stand there, for a person.
pub fn type_in_words(schema: &Value, root: &Value) -> String {
    if let Some(target) = resolve(schema, root) {
        return type_in_words(target, root);
    }
    if let Some(constant) = schema.get("const") {
        return constant.to_string();
    }
    let listed = |values: &[Value]| {
        let words: Vec<String> = values.iter().map(Value::to_string).collect();
        words.join(", ")
    };
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return listed(words);
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(choices) = schema.get(key).and_then(Value::as_array) {
            let mut words: Vec<String> = choices
                .iter()
                .filter(|choice| choice.get("type") != Some(&json!("null")))
                .map(|choice| type_in_words(choice, root))
                .collect();
            words.dedup();
            let separator =
                if words.iter().all(|word| word.starts_with('"')) { ", " } else { " or " };
            return words.join(separator);
        }
    }
    let format = schema.get("format").and_then(Value::as_str);
    let one = |kind: &str| match (kind, format) {
        ("string", _) => "text".to_owned(),
        ("integer", _) => "number".to_owned(),
        ("boolean", _) => "true or false".to_owned(),
        ("array", _) => match schema.get("items") {
            Some(items) => format!("array of {}", type_in_words(items, root)),
            None => "array".to_owned(),
        },
        ("object", _) => "table".to_owned(),
        (other, _) => other.to_owned(),
    };
    match schema.get("type") {
        Some(Value::String(kind)) => one(kind),
        Some(Value::Array(kinds)) => {
            let kinds = kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null");
            let mut words: Vec<String> = kinds.map(one).collect();
            words.dedup();
            words.join(" or ")
        }
        _ => "any".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_a_file_is_described() {
        let schema = file_schema();
        let definitions = schema["$defs"].as_object().expect("there are sections");
        for (name, section) in definitions.iter().chain([(&"file".to_owned(), &schema)]) {
            // The options of kinds are their authors' own.
            if ["kind_", "format_"].iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            for (key, kind, description) in options_of(section, &schema) {
                assert!(!description.is_empty(), "{name}.{key} says nothing of itself");
                assert_ne!(kind, "any", "{name}.{key}");
            }
        }
    }
}
