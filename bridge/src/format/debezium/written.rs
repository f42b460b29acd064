//! Events for tests, in each form that converters write them in.

use apache_avro::types::Value as Theirs;
use apache_avro::writer::datum::GenericDatumWriter;
use serde_json::{Value, json};

/// A change of one row: its images as fields of a JSON object.
#[derive(Clone, Debug)]
pub struct Change {
    pub op: &'static str,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

/// An event without its schema.
pub fn bare(change: &Change) -> Value {
    let Change { op, before, after } = change;
    json!({
        "before": before,
        "after": after,
        "source": {
            "version": "3.5.0.Final", "connector": "postgresql", "name": "shop",
            "ts_ms": 1_700_000_000_123_i64, "snapshot": "false", "db": "shop",
            "sequence": "[null,\"23837048\"]", "schema": "public", "table": "orders",
            "txId": 746, "lsn": 23_837_048, "xmin": null,
        },
        "transaction": null,
        "op": op,
        "ts_ms": 1_700_000_000_456_i64,
    })
}

/// The same with its schema, whose row has these columns: name, and Connect's type.
pub fn enveloped(change: &Change, columns: &[(&str, Value)]) -> String {
    let columns: Vec<Value> = columns
        .iter()
        .map(|(name, of)| {
            let mut of = of.clone();
            of["field"] = json!(name);
            of["optional"] = json!(true);
            of
        })
        .collect();
    let image = |field: &str| {
        json!({ "type": "struct", "fields": columns, "optional": true,
                "name": "shop.public.orders.Value", "field": field })
    };
    let schema = json!({
        "type": "struct",
        "fields": [
            image("before"),
            image("after"),
            { "type": "struct", "fields": [{ "type": "int64", "optional": false, "field": "ts_ms" }],
              "optional": false, "name": "io.debezium.connector.postgresql.Source", "field": "source" },
            { "type": "string", "optional": false, "field": "op" },
            { "type": "int64", "optional": true, "field": "ts_ms" },
        ],
        "optional": false, "name": "shop.public.orders.Envelope", "version": 2,
    });
    // As the converter has it: the schema comes first, and nothing between.
    format!("{{\"schema\":{schema},\"payload\":{}}}", bare(change))
}

/// The schema of an event in Avro, whose row has these columns: name, and type.
pub fn schema(columns: &[(&str, Value)]) -> String {
    let columns: Vec<Value> = columns
        .iter()
        .map(|(name, of)| json!({ "name": name, "type": ["null", of], "default": null }))
        .collect();
    json!({
        "type": "record", "name": "Envelope", "namespace": "shop.public.orders",
        "fields": [
            { "name": "before", "default": null, "type": ["null", {
                "type": "record", "name": "Value", "fields": columns,
                "connect.name": "shop.public.orders.Value" }] },
            { "name": "after", "type": ["null", "Value"], "default": null },
            { "name": "source", "type": {
                "type": "record", "name": "Source", "namespace": "io.debezium.connector.postgresql",
                "fields": [
                    { "name": "ts_ms", "type": "long" },
                    { "name": "schema", "type": "string" },
                    { "name": "table", "type": "string" },
                    { "name": "lsn", "type": ["null", "long"], "default": null },
                ] } },
            { "name": "transaction", "type": ["null", "string"], "default": null },
            { "name": "op", "type": "string" },
            { "name": "ts_ms", "type": ["null", "long"], "default": null },
        ],
        "connect.name": "shop.public.orders.Envelope",
    })
    .to_string()
}

/// Columns and their values in Avro; `None` is null.
pub type Image = Vec<(&'static str, Option<Theirs>)>;

/// An event in Avro.
pub fn encoded(schema: &str, op: &str, before: Option<Image>, after: Option<Image>) -> Vec<u8> {
    let text = |text: &str| Theirs::String(text.to_owned());
    let maybe = |value: Option<Theirs>| match value {
        None => Theirs::Union(0, Box::new(Theirs::Null)),
        Some(value) => Theirs::Union(1, Box::new(value)),
    };
    let record = |fields: Vec<(&str, Theirs)>| {
        Theirs::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    };
    let image = |image: Option<Image>| {
        let columns = |image: Image| image.into_iter().map(|(name, v)| (name, maybe(v))).collect();
        maybe(image.map(|image| record(columns(image))))
    };
    let source = record(vec![
        ("ts_ms", Theirs::Long(1_700_000_000_123)),
        ("schema", text("public")),
        ("table", text("orders")),
        ("lsn", maybe(Some(Theirs::Long(23_837_048)))),
    ]);
    let event = record(vec![
        ("before", image(before)),
        ("after", image(after)),
        ("source", source),
        ("transaction", maybe(None)),
        ("op", text(op)),
        ("ts_ms", maybe(Some(Theirs::Long(1_700_000_000_456)))),
    ]);
    let schema = apache_avro::Schema::parse_str(schema).expect("a schema");
    let writer = GenericDatumWriter::builder(&schema).build().expect("a writer");
    writer.write_value_to_vec(event).expect("of this schema")
}
