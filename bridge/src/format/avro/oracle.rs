//! Schemas and values that nobody wrote, encoded by another library and flattened by the plainest
//! rules: what our plan makes of the bytes must be the same.

use std::collections::BTreeMap;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Theirs;
use apache_avro::writer::datum::GenericDatumWriter;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::tests::bare;
use super::*;
use crate::batch::testing::batch;
use crate::format::testing::{context, show};

/// The content of a sensor's record.
pub const SENSOR: &str = r#"{"type":"record","name":"Reading","fields":[
    {"name":"ts","type":{"type":"long","logicalType":"timestamp-micros"}},
    {"name":"sensor","type":"string"},{"name":"site","type":"string"},
    {"name":"temperature","type":"double"},{"name":"humidity","type":"double"},
    {"name":"pressure","type":"double"},{"name":"seq","type":"long"},
    {"name":"ok","type":"boolean"}]}"#;

/// One such record.
pub fn sensor() -> Vec<u8> {
    let text = |text: &str| Theirs::String(text.to_owned());
    let fields = [
        ("ts", Theirs::TimestampMicros(1_700_000_000_123_456)),
        ("sensor", text("s-00123")),
        ("site", text("berlin")),
        ("temperature", Theirs::Double(21.53)),
        ("humidity", Theirs::Double(40.1)),
        ("pressure", Theirs::Double(1013.2)),
        ("seq", Theirs::Long(123_456)),
        ("ok", Theirs::Boolean(true)),
    ];
    let fields = fields.map(|(name, value)| (name.to_owned(), value));
    let schema = apache_avro::Schema::parse_str(SENSOR).expect("a schema");
    written(&schema, Theirs::Record(fields.to_vec()))
}

/// The reference's encoding.
fn written(schema: &apache_avro::Schema, value: Theirs) -> Vec<u8> {
    let writer = GenericDatumWriter::builder(schema).build().expect("a writer");
    writer.write_value_to_vec(value).expect("of this schema")
}

/// What the reference reads.
fn read(
    writer: &apache_avro::Schema,
    reader: Option<&apache_avro::Schema>,
    bytes: &[u8],
) -> Result<Theirs, apache_avro::Error> {
    let reading = GenericDatumReader::builder(writer).maybe_reader_schema(reader).build()?;
    reading.read_value(&mut &*bytes)
}

/// Chance that is the same for the same seed.
struct Chance(u64, u32);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8
    }

    fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    /// A name that no other has.
    fn name(&mut self) -> String {
        self.1 += 1;
        format!("n{}", self.1)
    }

    fn schema(&mut self, depth: usize) -> Value {
        const PLAIN: [&str; 8] =
            ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];
        const LOGICAL: [(&str, &str); 8] = [
            ("int", "date"),
            ("int", "time-millis"),
            ("long", "time-micros"),
            ("long", "timestamp-millis"),
            ("long", "timestamp-micros"),
            ("long", "timestamp-nanos"),
            ("long", "local-timestamp-micros"),
            ("string", "uuid"),
        ];
        match self.below(if depth == 0 { 12 } else { 17 }) {
            at @ 0..8 => json!(PLAIN[at]),
            8 => {
                let (of, logical) = LOGICAL[self.below(LOGICAL.len())];
                json!({ "type": of, "logicalType": logical })
            }
            9 => json!({ "type": "fixed", "name": self.name(), "size": self.below(5) }),
            10 => json!({ "type": "enum", "name": self.name(), "symbols": ["A", "B", "C"] }),
            11 => json!({ "type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 3 }),
            12 => json!({ "type": "array", "items": self.schema(depth - 1) }),
            13 => json!({ "type": "map", "values": self.schema(depth - 1) }),
            14 => {
                let other = self.named(depth - 1);
                json!(["null", other])
            }
            15 => json!({ "type": "array", "items": { "type": "array", "items": "double" } }),
            _ => self.record(depth - 1),
        }
    }

    /// What may stand in a union beside null.
    fn named(&mut self, depth: usize) -> Value {
        loop {
            let schema = self.schema(depth);
            if !schema.is_array() && schema != "null" {
                return schema;
            }
        }
    }

    fn record(&mut self, depth: usize) -> Value {
        let fields: Vec<Value> = (0..self.below(5))
            .map(|_| json!({ "name": self.name(), "type": self.schema(depth) }))
            .collect();
        json!({ "type": "record", "name": self.name(), "fields": fields })
    }

    fn bytes(&mut self) -> Vec<u8> {
        (0..self.below(20)).map(|_| self.next() as u8).collect()
    }

    fn items(&mut self) -> usize {
        self.below(4)
    }

    fn value(&mut self, schema: &Value) -> Theirs {
        if let Some(branches) = schema.as_array() {
            let at = self.below(branches.len());
            return Theirs::Union(at as u32, Box::new(self.value(&branches[at])));
        }
        match word(schema) {
            "null" => Theirs::Null,
            "boolean" => Theirs::Boolean(self.below(2) == 0),
            "int" => Theirs::Int(self.next() as i32 >> self.below(31)),
            "long" => Theirs::Long((self.next() << 8) as i64 >> self.below(63)),
            "float" => Theirs::Float(self.below(1_000_000) as f32 / 7.0 - 1e3),
            "double" => Theirs::Double(self.next() as f64 / 3.0 - 1e16),
            "bytes" => Theirs::Bytes(self.bytes()),
            "string" => {
                let text: String = self.bytes().iter().map(|byte| char::from(*byte)).collect();
                Theirs::String(text)
            }
            "fixed" => {
                let size = schema["size"].as_u64().expect("it has one") as usize;
                Theirs::Fixed(size, (0..size).map(|_| self.next() as u8).collect())
            }
            "enum" => {
                let at = self.below(3);
                Theirs::Enum(at as u32, ["A", "B", "C"][at].to_owned())
            }
            "array" => {
                let count = self.items();
                Theirs::Array((0..count).map(|_| self.value(&schema["items"])).collect())
            }
            "map" => {
                let count = self.items();
                // No byte of one makes it another one.
                let entry = |at: usize| (KEYS[at].to_owned(), self.value(&schema["values"]));
                Theirs::Map((0..count).map(entry).collect())
            }
            _ => {
                let fields = schema["fields"].as_array().expect("it has some");
                let field = |field: &Value| {
                    let name = field["name"].as_str().expect("it has one").to_owned();
                    (name, self.value(&field["type"]))
                };
                Theirs::Record(fields.iter().map(field).collect())
            }
        }
    }
}

/// Keys of maps.
const KEYS: [&str; 3] = ["ka1", "lb2", "mc3"];

/// What a type is called.
fn word(schema: &Value) -> &str {
    schema.as_str().or_else(|| schema["type"].as_str()).expect("a type")
}

/// The same without what bytes mean: their library then encodes what it is given.
fn without_logical(schema: &Value) -> Value {
    match schema {
        Value::Object(object) => {
            let kept = object.iter().filter(|(key, _)| *key != "logicalType");
            let kept = kept.filter(|(key, _)| *key != "precision" && *key != "scale");
            let kept = kept.map(|(key, value)| (key.clone(), without_logical(value)));
            Value::Object(kept.collect::<Map<String, Value>>())
        }
        Value::Array(list) => list.iter().map(without_logical).collect(),
        other => other.clone(),
    }
}

/// What a value becomes, column by column; nulls are left out.
fn flatten(schema: &Value, value: &Theirs, path: &str, out: &mut BTreeMap<String, String>) {
    let below =
        |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}_{name}") };
    let logical = schema.get("logicalType").and_then(Value::as_str).unwrap_or_default();
    let shown = match value {
        Theirs::Null => return,
        Theirs::Union(at, inner) => {
            return flatten(&schema[*at as usize], inner, path, out);
        }
        Theirs::Record(fields) => {
            for ((name, value), field) in
                fields.iter().zip(schema["fields"].as_array().expect("so"))
            {
                flatten(&field["type"], value, &below(name), out);
            }
            return;
        }
        Theirs::Map(entries) => {
            for (key, value) in entries {
                flatten(&schema["values"], value, &below(key), out);
            }
            return;
        }
        Theirs::Array(items) => match numbers(&schema["items"], items) {
            Some(shown) => shown,
            None => sorted(json_of(schema, value)).to_string(),
        },
        Theirs::Boolean(value) => value.to_string(),
        Theirs::Int(value) if logical == "date" => format!("{}Seconds", i64::from(*value) * 86_400),
        Theirs::Int(value) => format!("{value}i"),
        Theirs::Long(value) => match logical.rsplit_once("timestamp-").map(|(_, unit)| unit) {
            Some("millis") => format!("{value}Millis"),
            Some("micros") => format!("{value}Micros"),
            Some(_) => format!("{value}Nanos"),
            None => format!("{value}i"),
        },
        Theirs::Float(value) => f64::from(*value).to_string(),
        Theirs::Double(value) => value.to_string(),
        Theirs::Bytes(bytes) if logical == "decimal" => format!("{}d", decimal(bytes)),
        Theirs::Bytes(bytes) | Theirs::Fixed(_, bytes) => format!("{bytes:?}"),
        Theirs::String(text) => format!("{text:?}"),
        Theirs::Enum(_, symbol) => format!("'{symbol}'"),
        other => panic!("{other:?} was not made here"),
    };
    out.insert(path.to_owned(), shown);
}

fn decimal(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    words::push_decimal(&mut out, bytes, 3);
    String::from_utf8(out).expect("digits")
}

fn number(value: &Theirs) -> f64 {
    match value {
        Theirs::Int(value) => f64::from(*value),
        Theirs::Long(value) => *value as f64,
        Theirs::Float(value) => f64::from(*value),
        Theirs::Double(value) => *value,
        Theirs::Union(_, inner) => number(inner),
        _ => f64::NAN,
    }
}

/// Arrays of numbers, of one to three dimensions.
fn numbers(item: &Value, items: &[Theirs]) -> Option<String> {
    let is_number = |item: &Value| {
        let logical = item.get("logicalType").and_then(Value::as_str).unwrap_or_default();
        let plain = logical.is_empty() || logical.starts_with("time-");
        plain && matches!(word(item), "int" | "long" | "float" | "double")
    };
    let (mut base, mut dims) = (item, 1);
    while !base.is_array() && word(base) == "array" {
        (base, dims) = (&base["items"], dims + 1);
    }
    let base = base.as_array().map_or(base, |branches| &branches[1]);
    if dims > 3 || !is_number(base) {
        return None;
    }
    let (mut shape, mut values) = (vec![None; dims], Vec::new());
    let regular = side(items, &mut shape, &mut values);
    let shape: Vec<usize> = shape.into_iter().map(Option::unwrap_or_default).collect();
    regular.then(|| format!("{shape:?}{values:?}"))
}

/// Notes the numbers of a side; whether it is as long as others.
fn side(items: &[Theirs], shape: &mut [Option<usize>], values: &mut Vec<f64>) -> bool {
    let Some((own, inner)) = shape.split_first_mut() else { return false };
    let mut regular = *own.get_or_insert(items.len()) == items.len();
    for item in items {
        match item {
            Theirs::Array(items) => regular &= side(items, inner, values),
            other => values.push(number(other)),
        }
    }
    regular
}

/// The JSON of what is no column.
fn json_of(schema: &Value, value: &Theirs) -> Value {
    let is_decimal = schema.get("logicalType").is_some_and(|logical| logical == "decimal");
    match value {
        Theirs::Null => Value::Null,
        Theirs::Union(at, inner) => json_of(&schema[*at as usize], inner),
        Theirs::Record(fields) => {
            let types = schema["fields"].as_array().expect("it has some").iter();
            let field = |((name, value), field): (&(String, Theirs), &Value)| {
                (name.clone(), json_of(&field["type"], value))
            };
            Value::Object(fields.iter().zip(types).map(field).collect())
        }
        Theirs::Map(entries) => {
            let entry =
                |(key, value): (&String, &Theirs)| (key.clone(), json_of(&schema["values"], value));
            Value::Object(entries.iter().map(entry).collect())
        }
        Theirs::Array(items) => items.iter().map(|item| json_of(&schema["items"], item)).collect(),
        Theirs::Boolean(value) => json!(value),
        Theirs::Int(value) => json!(value),
        Theirs::Long(value) => json!(value),
        Theirs::Float(value) => json!(value.to_string().parse::<f64>().expect("a number")),
        Theirs::Double(value) => json!(value),
        Theirs::Bytes(bytes) if is_decimal => serde_json::from_str(&decimal(bytes)).expect("one"),
        Theirs::Bytes(bytes) | Theirs::Fixed(_, bytes) => {
            use base64::Engine as _;
            json!(base64::engine::general_purpose::STANDARD.encode(bytes))
        }
        Theirs::String(text) => json!(text),
        Theirs::Enum(_, symbol) => json!(symbol),
        other => panic!("{other:?} was not made here"),
    }
}

/// What our decoder makes of a value: columns as they are shown, JSON as it is read.
fn ours(schema: &str, more: &str, value: Vec<u8>) -> Result<BTreeMap<String, String>, String> {
    let (plan, context) = (bare(schema, more), context());
    let records = batch(vec![(None, Some(value))]);
    let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
    let decoded = plan.decoder(&context).decode(&records, &mut rows, &mut rejects);
    decoded.expect("only records are at fault");
    if let Some((_, _, _, detail)) = rejects.found.first() {
        return Err(detail.clone());
    }
    let row = rows.rows[0];
    let mut out = BTreeMap::new();
    for cell in 0..row.cell_count {
        let alone = Row { cells: row.cells + u32::from(cell), cell_count: 1, ..row };
        let shown = show(&context, &rows, &alone);
        // A key of a map may hold any letter.
        let name = context.names.columns.name(rows.cells_of(&alone)[0].column);
        let name = name.expect("it has a name");
        let value = shown.strip_prefix(&*name).and_then(|rest| rest.strip_prefix('='));
        let value = value.expect("names and values are shown so");
        if value == "null" {
            continue;
        }
        let cell = rows.cells_of(&alone)[0];
        let text = std::str::from_utf8(rows.pointed(&cell)).unwrap_or_default();
        let is_json = cell.kind == bridge_abi::Kind::Text as u8 && text.starts_with(['[', '{']);
        let json = serde_json::from_str::<Value>(text).ok().filter(|_| is_json);
        let value = json.map_or_else(|| value.to_owned(), |json| sorted(json).to_string());
        assert!(out.insert(name.to_string(), value).is_none(), "{name} comes twice");
    }
    Ok(out)
}

/// Maps have no order.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let entries: BTreeMap<String, Value> = object.into_iter().collect();
            Value::Object(entries.into_iter().map(|(key, value)| (key, sorted(value))).collect())
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}

proptest! {
    #[test]
    fn values_are_what_the_reference_wrote(seed in 1..u64::MAX) {
        let mut chance = Chance(seed, 0);
        let schema = chance.record(3);
        let value = chance.value(&schema);
        let plain = apache_avro::Schema::parse(&without_logical(&schema)).expect("a schema");
        let bytes = written(&plain, value.clone());
        let mut expected = BTreeMap::new();
        flatten(&schema, &value, "", &mut expected);
        let got = ours(&schema.to_string(), "", bytes);
        prop_assert_eq!(got, Ok(expected), "{}", schema);
    }

    /// Bytes that are nearly right: what we take is what the reference reads.
    #[test]
    fn changed_values_are_refused_or_what_the_reference_reads(
        seed in 1..u64::MAX,
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut chance = Chance(seed, 0);
        let schema = without_logical(&chance.record(3));
        let value = chance.value(&schema);
        let plain = apache_avro::Schema::parse(&schema).expect("a schema");
        let mut bytes = written(&plain, value);
        if bytes.is_empty() {
            return Ok(());
        }
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let Ok(got) = ours(&schema.to_string(), "", bytes.clone()) else { return Ok(()) };
        let theirs = read(&plain, None, &bytes);
        let theirs = theirs.map_err(|error| TestCaseError::fail(format!("{error} {schema}")))?;
        let mut expected = BTreeMap::new();
        flatten(&schema, &theirs, "", &mut expected);
        prop_assert_eq!(got, expected, "{}", schema);
    }

    /// Fields that come, go, change their place, and numbers that become wider.
    #[test]
    fn schemas_are_resolved_as_by_the_reference(seed in 1..u64::MAX) {
        let mut chance = Chance(seed, 0);
        let writer = without_logical(&chance.record(2));
        let value = chance.value(&writer);
        let mut reader = writer.clone();
        evolve(&mut reader, &mut chance);
        let parse = |schema: &Value| apache_avro::Schema::parse(schema).expect("a schema");
        let (w, r) = (parse(&writer), parse(&reader));
        let bytes = written(&w, value);
        let theirs = read(&w, Some(&r), &bytes);
        let theirs = theirs.map_err(|error| TestCaseError::fail(error.to_string()))?;
        let mut expected = BTreeMap::new();
        flatten(&reader, &theirs, "", &mut expected);
        let got = ours(&writer.to_string(), &format!("reader_schema = '''{reader}'''"), bytes);
        prop_assert_eq!(got, Ok(expected), "{} {}", writer, reader);
    }
}

/// Changes a record's fields as the specification lets a reader.
fn evolve(record: &mut Value, chance: &mut Chance) {
    let Some(fields) = record["fields"].as_array_mut() else { return };
    for field in fields.iter_mut() {
        let wider: &[&str] = match field["type"].as_str() {
            Some("int") => &["int", "long", "float", "double"],
            Some("long") => &["long", "float", "double"],
            Some("float") => &["float", "double"],
            _ => &[],
        };
        if !wider.is_empty() {
            field["type"] = json!(wider[chance.below(wider.len())]);
        } else if field["type"].get("fields").is_some() {
            evolve(&mut field["type"], chance);
        }
    }
    if fields.len() > 1 {
        let (from, to) = (chance.below(fields.len()), chance.below(fields.len()));
        fields.swap(from, to);
    }
    if chance.below(2) == 0 {
        fields.pop();
    }
    if chance.below(2) == 0 {
        let name = chance.name();
        fields.push(json!({ "name": name, "type": ["null", "string"], "default": null }));
        let name = chance.name();
        fields.push(json!({ "name": name, "type": "long", "default": 7 }));
    }
}
