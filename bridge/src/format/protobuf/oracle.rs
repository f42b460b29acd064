//! Types and values that nobody wrote, read by another library and flattened by the plainest
//! rules: what our plan makes of the same bytes must be the same.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    ReflectMessage as _, Value as Theirs,
};
use serde_json::{Map, Value, json};

use super::*;
use crate::batch::testing::batch;
use crate::format::testing::{context, show};

/// The content of a sensor's record.
pub const SENSOR: &str = r#"message = "Reading"
schema = '''syntax = "proto3";
message Reading {
    int64 ts = 1; string sensor = 2; string site = 3; double temperature = 4;
    double humidity = 5; double pressure = 6; int64 seq = 7; bool ok = 8;
}'''"#;

/// One such record.
pub fn sensor() -> Vec<u8> {
    let mut out = vec![0x08, 0xc0, 0xc4, 0x80, 0xc1, 0xc1, 0xc4, 0x82, 0x03];
    out.extend_from_slice(b"\x12\x07s-00123\x1a\x06berlin");
    for (tag, value) in [(0x21, 21.53_f64), (0x29, 40.1), (0x31, 1013.2)] {
        out.push(tag);
        out.extend_from_slice(&value.to_le_bytes());
    }
    out.extend_from_slice(&[0x38, 0xc0, 0xc4, 0x07, 0x40, 0x01]);
    out
}

/// A descriptor set of it.
pub fn descriptor_set() -> Vec<u8> {
    let text = SENSOR.split("'''").nth(1).expect("it stands there");
    let file = protox_parse::parse("reading.proto", text).expect("it is one");
    prost_types::FileDescriptorSet { file: vec![file] }.encode_to_vec()
}

/// Chance that is the same for the same seed.
struct Chance(u64, u32);

const SCALARS: [&str; 15] = [
    "double", "float", "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32",
    "fixed64", "sfixed32", "sfixed64", "bool", "string", "bytes",
];
const KEYS: [&str; 6] = ["string", "int32", "sint64", "fixed32", "uint64", "bool"];
const KNOWN: [&str; 11] = [
    "Timestamp",
    "Duration",
    "Empty",
    "FieldMask",
    "Int64Value",
    "StringValue",
    "DoubleValue",
    "BoolValue",
    "BytesValue",
    "UInt64Value",
    "FloatValue",
];
const FILES: [&str; 5] = ["timestamp", "duration", "empty", "field_mask", "wrappers"];

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

    fn of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }

    /// A file with the message `M`, and others beside and within it.
    fn schema(&mut self) -> String {
        let proto3 = self.below(3) > 0;
        let mut text = format!("syntax = \"proto{}\"; package p;", if proto3 { 3 } else { 2 });
        for file in FILES {
            write!(text, "import \"google/protobuf/{file}.proto\";").expect("room");
        }
        text.push_str("enum E { ZERO = 0; ONE = 1; NEGATIVE = -5; FAR = 1000000; }");
        for name in ["A", "B", "M"] {
            write!(text, "message {name} {{ {} }}", self.fields(proto3)).expect("room");
        }
        text
    }

    fn fields(&mut self, proto3: bool) -> String {
        let mut text = String::new();
        for _ in 0..self.below(6) {
            let kind = self.kind();
            let (name, number) = self.name();
            match self.below(10) {
                0 | 1 => write!(text, "repeated {kind} {name} = {number};"),
                2 => {
                    let key = self.of(&KEYS);
                    write!(text, "map<{key}, {kind}> {name} = {number};")
                }
                3 => {
                    let (other, (second, at)) = (self.kind(), self.name());
                    let oneof = format!("{kind} {name} = {number}; {other} {second} = {at};");
                    write!(text, "oneof o{number} {{ {oneof} }}")
                }
                4 if !proto3 => {
                    let label = self.of(&["optional", "repeated"]);
                    let inner = self.name();
                    let group = format!("optional {kind} {} = {};", inner.0, inner.1);
                    write!(text, "{label} group G{number} = {number} {{ {group} }}")
                }
                5 if !proto3 && kind == "sint32" => {
                    write!(text, "optional sint32 {name} = {number} [default = -3];")
                }
                4..7 => write!(text, "optional {kind} {name} = {number};"),
                _ if !proto3 => write!(text, "optional {kind} {name} = {number};"),
                _ => write!(text, "{kind} {name} = {number};"),
            }
            .expect("room");
        }
        text
    }

    fn kind(&mut self) -> String {
        match self.below(12) {
            0 => "E".to_owned(),
            1 | 2 => self.of(&["A", "B", "M"]).to_owned(),
            3 | 4 => format!("google.protobuf.{}", self.of(&KNOWN)),
            _ => self.of(&SCALARS).to_owned(),
        }
    }

    /// A name and a number that no other field has; some numbers are high.
    fn name(&mut self) -> (String, u32) {
        self.1 += 1;
        let high = if self.below(6) == 0 { 3_000 } else { 0 };
        (format!("n{}", self.1), self.1 + high)
    }

    fn message(&mut self, of: &MessageDescriptor, depth: usize) -> DynamicMessage {
        let mut message = DynamicMessage::new(of.clone());
        for field in of.fields() {
            let is_message = matches!(field.kind(), Kind::Message(_));
            if self.below(3) == 0 || (depth == 0 && is_message) {
                continue;
            }
            let value = if field.is_map() {
                let entry = field.kind();
                let entry = entry.as_message().expect("it is one");
                let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
                let count = self.below(4);
                let pair = |_| (self.key(&key.kind()), self.value(&value.kind(), depth - 1));
                Theirs::Map((0..count).map(pair).collect())
            } else if field.is_list() {
                let (kind, count) = (field.kind(), self.below(4));
                Theirs::List((0..count).map(|_| self.value(&kind, depth.max(1) - 1)).collect())
            } else {
                self.value(&field.kind(), depth.max(1) - 1)
            };
            message.set_field(&field, value);
        }
        message
    }

    fn key(&mut self, kind: &Kind) -> MapKey {
        match kind {
            Kind::String => MapKey::String(self.of(&["ka1", "lb2", "mc3"]).to_owned()),
            Kind::Bool => MapKey::Bool(self.below(2) == 0),
            Kind::Int32 => MapKey::I32(self.below(4) as i32 - 2),
            Kind::Sint64 => MapKey::I64(self.below(4) as i64 - 2),
            Kind::Fixed32 => MapKey::U32(self.below(3) as u32),
            _ => MapKey::U64(u64::MAX - self.below(3) as u64),
        }
    }

    fn value(&mut self, kind: &Kind, depth: usize) -> Theirs {
        let number = (self.next() << 8) as i64 >> self.below(64);
        match kind {
            Kind::Double => Theirs::F64(number as f64 / 3.0),
            Kind::Float => Theirs::F32(number as f32 / 3.0),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Theirs::I32(number as i32),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Theirs::I64(number),
            Kind::Uint32 | Kind::Fixed32 => Theirs::U32(number as u32),
            Kind::Uint64 | Kind::Fixed64 => Theirs::U64(number as u64),
            Kind::Bool => Theirs::Bool(number & 1 == 0),
            Kind::String => {
                let text: String = (0..self.below(9)).map(|_| self.next() as u8 as char).collect();
                Theirs::String(text)
            }
            Kind::Bytes => {
                let bytes: Vec<u8> = (0..self.below(9)).map(|_| self.next() as u8).collect();
                Theirs::Bytes(bytes.into())
            }
            Kind::Enum(_) => Theirs::EnumNumber([0, 1, -5, 1_000_000, 7][self.below(5)]),
            Kind::Message(of) => Theirs::Message(self.known(of, depth)),
        }
    }

    fn known(&mut self, of: &MessageDescriptor, depth: usize) -> DynamicMessage {
        let sign = if self.below(2) == 0 { -1 } else { 1 };
        let (seconds, nanos) =
            (self.next() as i64 % 200_000_000_000, self.below(1_000_000_000) as i32);
        let (seconds, nanos) = match of.name() {
            "Timestamp" => (sign * (seconds % 60_000_000_000), nanos),
            "Duration" => (sign * (seconds % 9_000_000_000), sign as i32 * nanos),
            _ => return self.message(of, depth),
        };
        let mut message = DynamicMessage::new(of.clone());
        message.set_field_by_name("seconds", Theirs::I64(seconds));
        message.set_field_by_name("nanos", Theirs::I32(nanos));
        message
    }
}

/// The reference's types of a text.
fn theirs(text: &str) -> MessageDescriptor {
    let mut pool = DescriptorPool::global();
    let file = protox_parse::parse("a.proto", text).expect("a file");
    pool.add_file_descriptor_proto(file).expect("types");
    pool.get_message_by_name("p.M").expect("it is there")
}

type Columns = BTreeMap<String, String>;

/// What a message becomes, column by column. A message type that is open is JSON; below a map
/// nothing is, for what is there is told from the data.
fn flatten(message: &DynamicMessage, path: &str, open: Option<&[String]>, out: &mut Columns) {
    let own = message.descriptor().full_name().to_owned();
    let within: Option<Vec<String>> = open.map(|open| [open, &[own]].concat());
    for field in message.descriptor().fields() {
        let path = match path {
            "" => field.name().to_owned(),
            path => format!("{path}_{}", field.name()),
        };
        if !is_told(message, &field) {
            continue;
        }
        match &*message.get_field(&field) {
            Theirs::Map(entries) => {
                let of = field.kind();
                let of = of.as_message().expect("it is one").map_entry_value_field();
                for (key, value) in entries {
                    single(&of, value, &format!("{path}_{}", name_of(key)), None, out);
                }
            }
            Theirs::List(items) => {
                let numbers: Option<Vec<f64>> = items.iter().map(number).collect();
                let shown = match numbers.filter(|_| is_number(&field.kind())) {
                    Some(numbers) => format!("[{}]{numbers:?}", numbers.len()),
                    None => {
                        sorted(items.iter().map(|item| json_of(&field, item)).collect()).to_string()
                    }
                };
                out.insert(path, shown);
            }
            value => single(&field, value, &path, within.as_deref(), out),
        }
    }
}

/// Whether a field is told: it is there, or nobody can tell and its default is.
fn is_told(message: &DynamicMessage, field: &FieldDescriptor) -> bool {
    let said = field.field_descriptor_proto().default_value.is_some();
    message.has_field(field) || !field.supports_presence() || said
}

fn single(
    field: &FieldDescriptor,
    value: &Theirs,
    path: &str,
    open: Option<&[String]>,
    out: &mut Columns,
) {
    let shown = match value {
        Theirs::Message(message) => {
            let of = message.descriptor();
            let is_open = open.is_some_and(|open| open.iter().any(|name| name == of.full_name()));
            if is_open {
                sorted(json_of(field, value)).to_string()
            } else if let Some(shown) = known(message) {
                shown
            } else {
                return flatten(message, path, open, out);
            }
        }
        Theirs::Bool(value) => value.to_string(),
        Theirs::I32(value) => format!("{value}i"),
        Theirs::I64(value) => format!("{value}i"),
        Theirs::U32(value) => format!("{value}i"),
        Theirs::U64(value) => match i64::try_from(*value) {
            Ok(value) => format!("{value}i"),
            Err(_) => (*value as f64).to_string(),
        },
        Theirs::F32(value) => f64::from(*value).to_string(),
        Theirs::F64(value) => value.to_string(),
        Theirs::String(text) => format!("{text:?}"),
        Theirs::Bytes(bytes) => format!("{:?}", &bytes[..]),
        Theirs::EnumNumber(number) => format!("'{}'", enum_name(field, *number)),
        other => panic!("{other:?} is no single value"),
    };
    out.insert(path.to_owned(), shown);
}

/// What a message means that all know, or that has no fields.
fn known(message: &DynamicMessage) -> Option<String> {
    let of = message.descriptor();
    let whole = |name: &str| match &*message.get_field_by_name(name).expect("it has it") {
        Theirs::I64(value) => *value,
        Theirs::I32(value) => i64::from(*value),
        other => panic!("{other:?} is no whole number"),
    };
    Some(match of.full_name().strip_prefix("google.protobuf.") {
        Some("Timestamp") => {
            let (seconds, nanos) = (whole("seconds"), whole("nanos"));
            match seconds.checked_mul(1_000_000_000).and_then(|s| s.checked_add(nanos)) {
                Some(value) => format!("{value}Nanos"),
                None => format!("{}Micros", seconds * 1_000_000 + nanos / 1_000),
            }
        }
        Some("Duration") => format!("{}i", whole("seconds") * 1_000_000_000 + whole("nanos")),
        Some("FieldMask") => format!("{:?}", mask(message)),
        Some(name) if name.ends_with("Value") => {
            let field = of.get_field(1).expect("it has one");
            let mut out = Columns::new();
            single(&field, &message.get_field(&field), "", None, &mut out);
            out.remove("").expect("it was told")
        }
        _ if of.fields().len() == 0 => "true".to_owned(),
        _ => return None,
    })
}

fn mask(message: &DynamicMessage) -> String {
    let paths = message.get_field_by_name("paths").expect("it has it");
    let paths = paths.as_list().expect("a list").iter();
    paths.map(|path| path.as_str().expect("text")).collect::<Vec<_>>().join(",")
}

fn enum_name(field: &FieldDescriptor, number: i32) -> String {
    let kind = field.kind();
    let value = kind.as_enum().expect("it is one").get_value(number);
    value.map_or_else(|| number.to_string(), |value| value.name().to_owned())
}

fn name_of(key: &MapKey) -> String {
    match key {
        MapKey::Bool(value) => value.to_string(),
        MapKey::I32(value) => value.to_string(),
        MapKey::I64(value) => value.to_string(),
        MapKey::U32(value) => value.to_string(),
        MapKey::U64(value) => value.to_string(),
        MapKey::String(text) => text.clone(),
    }
}

fn is_number(kind: &Kind) -> bool {
    let others =
        matches!(kind, Kind::Bool | Kind::String | Kind::Bytes | Kind::Enum(_) | Kind::Message(_));
    !others
}

fn number(value: &Theirs) -> Option<f64> {
    Some(match value {
        Theirs::I32(value) => f64::from(*value),
        Theirs::I64(value) => *value as f64,
        Theirs::U32(value) => f64::from(*value),
        Theirs::U64(value) => *value as f64,
        Theirs::F32(value) => f64::from(*value),
        Theirs::F64(value) => *value,
        _ => return None,
    })
}

/// The JSON of what is no column.
fn json_of(field: &FieldDescriptor, value: &Theirs) -> Value {
    match value {
        Theirs::Bool(value) => json!(value),
        Theirs::I32(value) => json!(value),
        Theirs::I64(value) => json!(value),
        Theirs::U32(value) => json!(value),
        Theirs::U64(value) => json!(value),
        Theirs::F32(value) => {
            // Halfway between two shortest forms either is right: by the same library, the same.
            json!(zmij::Buffer::new().format(*value).parse::<f64>().expect("a number"))
        }
        Theirs::F64(value) => json!(value),
        Theirs::String(text) => json!(text),
        Theirs::Bytes(bytes) => {
            json!(base64::engine::general_purpose::STANDARD.encode(bytes))
        }
        Theirs::EnumNumber(number) => {
            let name = enum_name(field, *number);
            name.parse::<i32>().map_or_else(|_| json!(name), |number| json!(number))
        }
        Theirs::List(items) => items.iter().map(|item| json_of(field, item)).collect(),
        Theirs::Map(entries) => {
            let of = field.kind();
            let of = of.as_message().expect("it is one").map_entry_value_field();
            let entry = |(key, value): (&MapKey, &Theirs)| (name_of(key), json_of(&of, value));
            Value::Object(entries.iter().map(entry).collect())
        }
        Theirs::Message(message) => json_of_message(message),
    }
}

fn json_of_message(message: &DynamicMessage) -> Value {
    let of = message.descriptor();
    let whole = |name: &str| match &*message.get_field_by_name(name).expect("it has it") {
        Theirs::I64(value) => *value,
        Theirs::I32(value) => i64::from(*value),
        other => panic!("{other:?} is no whole number"),
    };
    match of.full_name().strip_prefix("google.protobuf.") {
        Some("Timestamp") => {
            let moment = jiff::Timestamp::new(whole("seconds"), whole("nanos") as i32);
            json!(moment.expect("it is one").to_string())
        }
        Some("Duration") => {
            let (seconds, nanos) = (whole("seconds"), whole("nanos"));
            let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
            let digits = format!("{:09}", nanos.abs());
            let cut =
                [0, 3, 6, 9].into_iter().find(|cut| digits[*cut..].bytes().all(|b| b == b'0'));
            let cut = cut.expect("nine will do");
            let point = if cut > 0 { "." } else { "" };
            json!(format!("{sign}{}{point}{}s", seconds.abs(), &digits[..cut]))
        }
        Some("FieldMask") => json!(mask(message)),
        Some(name) if name.ends_with("Value") => {
            let field = of.get_field(1).expect("it has one");
            json_of(&field, &message.get_field(&field))
        }
        _ => {
            let told = of.fields().filter(|field| is_told(message, field));
            let pair = |field: FieldDescriptor| {
                let value = json_of(&field, &message.get_field(&field));
                (field.name().to_owned(), value)
            };
            Value::Object(told.map(pair).collect::<Map<String, Value>>())
        }
    }
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

/// What our decoder makes of a value: columns as they are shown, JSON as it is read.
fn ours(schema: &str, value: Vec<u8>) -> Result<Columns, String> {
    let toml = format!("message = \"p.M\"\nschema = '''{schema}'''");
    let (plan, context) = (super::tests::plan(&toml), context());
    let records = batch(vec![(None, Some(value))]);
    let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
    let decoded = plan.decoder(&context).decode(&records, &mut rows, &mut rejects);
    decoded.expect("only records are at fault");
    if let Some((_, _, _, detail)) = rejects.found.first() {
        return Err(detail.clone());
    }
    let row = rows.rows[0];
    let mut out = Columns::new();
    for cell in 0..row.cell_count {
        let alone = Row { cells: row.cells + u32::from(cell), cell_count: 1, ..row };
        let shown = show(&context, &rows, &alone);
        let cell = rows.cells_of(&alone)[0];
        let name = context.names.columns.name(cell.column).expect("it has a name");
        let value = shown.strip_prefix(&*name).and_then(|rest| rest.strip_prefix('='));
        let value = value.expect("names and values are shown so");
        let text = std::str::from_utf8(rows.pointed(&cell)).unwrap_or_default();
        let is_json = cell.kind == bridge_abi::Kind::Text as u8 && text.starts_with(['[', '{']);
        let json = serde_json::from_str::<Value>(text).ok().filter(|_| is_json);
        let value = json.map_or_else(|| value.to_owned(), |json| sorted(json).to_string());
        assert!(out.insert(name.to_string(), value).is_none(), "{name} comes twice");
    }
    Ok(out)
}

/// Text that reads as JSON is shown as that on both sides.
fn as_shown(columns: Columns) -> Columns {
    let shown = |(name, value): (String, String)| {
        let text = serde_json::from_str::<String>(&value).ok();
        let json = text.filter(|text| text.starts_with(['[', '{']));
        let json = json.and_then(|text| serde_json::from_str::<Value>(&text).ok());
        (name, json.map_or(value, |json| sorted(json).to_string()))
    };
    columns.into_iter().map(shown).collect()
}

proptest! {
    /// A value may be written in pieces: two behind each other are merged.
    #[test]
    fn values_are_what_the_reference_reads(seed in 1..u64::MAX, pieces in 1_usize..3) {
        let mut chance = Chance(seed, 0);
        let schema = chance.schema();
        let of = theirs(&schema);
        let bytes: Vec<u8> =
            (0..pieces).flat_map(|_| chance.message(&of, 3).encode_to_vec()).collect();
        let read = DynamicMessage::decode(of, &bytes[..]).expect("the reference wrote it");
        let mut expected = Columns::new();
        flatten(&read, "", Some(&[]), &mut expected);
        prop_assert_eq!(ours(&schema, bytes), Ok(as_shown(expected)), "{}", schema);
    }

    /// Bytes that are nearly right: what we take is what the reference reads.
    #[test]
    fn changed_values_are_refused_or_what_the_reference_reads(
        seed in 1..u64::MAX,
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut chance = Chance(seed, 0);
        let schema = chance.schema();
        let of = theirs(&schema);
        let mut bytes = chance.message(&of, 3).encode_to_vec();
        if bytes.is_empty() {
            return Ok(());
        }
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let Ok(got) = ours(&schema, bytes.clone()) else { return Ok(()) };
        let read = DynamicMessage::decode(of, &bytes[..]);
        let read = read.map_err(|error| TestCaseError::fail(format!("{error} {schema}")))?;
        let mut expected = Columns::new();
        flatten(&read, "", Some(&[]), &mut expected);
        prop_assert_eq!(got, as_shown(expected), "{}", schema);
    }
}

#[test]
fn the_sensors_record_is_what_it_says() {
    let context = context();
    let plan = super::tests::plan(SENSOR);
    let records = batch(vec![(None, Some(sensor()))]);
    let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
    let decoded = plan.decoder(&context).decode(&records, &mut rows, &mut rejects);
    decoded.expect("only records are at fault");
    assert_eq!(
        show(&context, &rows, &rows.rows[0]),
        "ts=1700000000123456i sensor=\"s-00123\" site=\"berlin\" temperature=21.53 humidity=40.1 \
         pressure=1013.2 seq=123456i ok=true"
    );
}
