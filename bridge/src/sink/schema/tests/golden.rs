//! Golden cases: the schemas that rows make, and the bytes that they become, in files. `UPDATE=1`
//! writes what came out into the files: read it.

use std::fmt::Write as _;
use std::path::Path;

use super::*;

/// Rows that show each kind of value, and a schema that grows.
fn rows() -> Vec<Puts<'static>> {
    let mut second = reading();
    second.push(("price", Put::Decimal(-1230, 2)));
    second.push(("at", Put::Time(1_700_000_000_123_456, Unit::Micros)));
    second.push(("seen", Put::Time(1_700_000_000, Unit::Seconds)));
    second.push(("bids", Put::Numbers(vec![1.0, -0.5])));
    second.push(("raw", Put::Bytes(vec![0, 10, 255])));
    let third = vec![("seq", Put::Long(-1)), ("ok", Put::Null), ("sensor", text(""))];
    vec![reading(), second, third]
}

fn check(name: &str, format: Format, keys: &str) {
    let mut bench = Bench::new(format, &format!("{REGISTRY}{keys}"));
    let mut told = String::new();
    for row in rows() {
        let value = bench.one(row);
        for byte in &value {
            write!(told, "{byte:02x}").expect("a string takes any text");
        }
        told.push('\n');
    }
    for Kept { id, schema, .. } in bench.versions() {
        writeln!(told, "--- {id}\n{}", schema.trim_end()).expect("a string takes any text");
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sink/schema/golden");
    let file = folder.join(format!("{name}.txt"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(&file, &told).expect("a file");
    }
    let expected = std::fs::read_to_string(&file).expect("it is there: UPDATE=1 makes it");
    assert_eq!(told, expected, "{name}");
}

#[test]
fn avro() {
    check("avro", Format::Avro, "record = \"com.example.Reading\"");
}

#[test]
fn protobuf() {
    check("protobuf", Format::Protobuf, "record = \"com.example.Reading\"");
}

#[test]
fn json_schema() {
    check("json-schema", Format::Json, "timestamps = \"us\"");
}
