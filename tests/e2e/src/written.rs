//! Readings as producers write them that register their schemas: in two versions, of which the
//! second has two fields more, one of them in a schema of its own.

use anyhow::Result;
use serde_json::{Value, json};
use world::Record;

use crate::reading::{PARTITIONS, Reading};

/// Fields of a reading in Avro.
pub const AVRO_FIELDS: &str = r#"{"name":"ts","type":{"type":"long","logicalType":"timestamp-micros"}},
    {"name":"sensor","type":"string"},{"name":"site","type":"string"},
    {"name":"temperature","type":"double"},{"name":"humidity","type":"double"},
    {"name":"pressure","type":"double"},{"name":"seq","type":"long"},{"name":"ok","type":"boolean"}"#;

/// The unit and the floor of a reading, in its second version.
fn more(reading: Reading) -> (Option<&'static str>, i64) {
    ((reading.0 % 2 == 1).then_some("°C"), reading.0 as i64 % 7 - 3)
}

/// Conditions that hold for as many rows of the second version as stand beside them, of `rows` that
/// begin with an even number and end before one.
pub fn conditions(rows: i64) -> [(&'static str, i64); 2] {
    [("unit = '°C'", rows / 2), ("place_floor = seq % 7 - 3", rows)]
}

/// A reading in Avro's binary encoding: `unit` is a union with null, `place` a record.
pub fn avro(reading: Reading, second: bool) -> Result<Vec<u8>> {
    let json: Value = serde_json::from_str(&reading.json())?;
    let number = |name: &str| json[name].as_f64().unwrap_or_default();
    let word = |name: &str| json[name].as_str().unwrap_or_default();
    let mut out = Vec::new();
    long(&mut out, json["ts"].as_i64().unwrap_or_default());
    text(&mut out, word("sensor"));
    text(&mut out, word("site"));
    for name in ["temperature", "humidity", "pressure"] {
        out.extend_from_slice(&number(name).to_le_bytes());
    }
    long(&mut out, reading.0 as i64);
    out.push(u8::from(json["ok"].as_bool().unwrap_or_default()));
    if second {
        let (unit, floor) = more(reading);
        match unit {
            None => out.push(0),
            Some(unit) => {
                out.push(2);
                text(&mut out, unit);
            }
        }
        long(&mut out, floor);
    }
    Ok(out)
}

/// The same in JSON.
pub fn json(reading: Reading, second: bool) -> Result<Vec<u8>> {
    let mut json: Value = serde_json::from_str(&reading.json())?;
    if second {
        let (unit, floor) = more(reading);
        json["unit"] = json!(unit);
        json["place"] = json!({ "floor": floor });
    }
    Ok(json.to_string().into_bytes())
}

/// Fields of a reading in Protobuf, and those of its second version.
pub const PROTOBUF_FIELDS: [&str; 2] = [
    "int64 ts = 1; string sensor = 2; string site = 3; double temperature = 4;
    double humidity = 5; double pressure = 6; int64 seq = 7; bool ok = 8;",
    "optional string unit = 20; plant.Place place = 21;",
];
/// What the second version imports.
pub const PROTOBUF_PLACE: &str =
    "syntax = \"proto3\"; package plant; message Place { sint32 floor = 1; }";

/// A reading in Protobuf, without the place of its message.
pub fn protobuf(reading: Reading, second: bool) -> Result<Vec<u8>> {
    let json: Value = serde_json::from_str(&reading.json())?;
    let mut out = Vec::new();
    for (number, name) in [(1, "ts"), (7, "seq")] {
        varint(&mut out, number << 3);
        varint(&mut out, json[name].as_u64().unwrap_or_default());
    }
    for (number, name) in [(2, "sensor"), (3, "site")] {
        bytes(&mut out, number, json[name].as_str().unwrap_or_default().as_bytes());
    }
    for (number, name) in [(4, "temperature"), (5, "humidity"), (6, "pressure")] {
        varint(&mut out, number << 3 | 1);
        out.extend_from_slice(&json[name].as_f64().unwrap_or_default().to_le_bytes());
    }
    if json["ok"] == true {
        out.extend_from_slice(&[8 << 3, 1]);
    }
    if second {
        let (unit, floor) = more(reading);
        if let Some(unit) = unit {
            bytes(&mut out, 20, unit.as_bytes());
        }
        let mut place = vec![1 << 3];
        long(&mut place, floor);
        bytes(&mut out, 21, &place);
    }
    Ok(out)
}

/// The record of a reading, its value behind the id of its schema as Confluent's serializers write
/// it.
pub fn framed(reading: Reading, id: u32, body: &[u8]) -> Record {
    let value = [&[0], &id.to_be_bytes()[..], body].concat();
    Record { value: Some(value), ..reading.record(PARTITIONS) }
}

/// Zigzag.
fn long(out: &mut Vec<u8>, value: i64) {
    varint(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Seven bits a byte, the lowest first.
fn varint(out: &mut Vec<u8>, mut left: u64) {
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

/// A field of Protobuf with its length before it.
fn bytes(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    varint(out, number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn text(out: &mut Vec<u8>, text: &str) {
    long(out, text.len() as i64);
    out.extend_from_slice(text.as_bytes());
}
