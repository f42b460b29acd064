//! Every type of Debezium and Connect, in both encodings: what its values become.

use apache_avro::types::Value as Theirs;
use serde_json::{Value, json};

use super::written::{Change, encoded, enveloped, schema};
use crate::format::testing::Bench;

fn bench(more: &str) -> Bench {
    Bench::new(&format!("format = \"debezium\"\ndeletes = \"skip\"\n{more}"), "")
}

/// A value of a type, as Connect's JSON has it and as Avro has it: what becomes of it.
#[track_caller]
fn check((connect, value): (Value, Value), (avro, theirs): (Value, Theirs), expected: &str) {
    let change =
        |value: Value| Change { op: "c", before: None, after: Some(json!({ "a": value })) };
    let columns = [("a", connect)];
    assert_eq!(bench("").told(enveloped(&change(value), &columns)), expected, "in JSON");
    let null = bench("").told(enveloped(&change(Value::Null), &columns));
    assert_eq!(null, "a=null", "in JSON");
    let schema = schema(&[("a", avro)]);
    let avro = format!("encoding = \"avro\"\nframing = \"bare\"\nschema = '''{schema}'''");
    let event = encoded(&schema, "c", None, Some(vec![("a", Some(theirs))]));
    assert_eq!(bench(&avro).told(event), expected, "in Avro");
    let null = encoded(&schema, "c", None, Some(vec![("a", None)]));
    let null = bench(&avro).told(null);
    assert!(null.split(' ').all(|cell| cell.ends_with("=null")), "in Avro: {null}");
}

/// A type of Connect's with a name, and the same in Avro.
fn named(connect: &str, avro: &str, name: &str) -> (Value, Value) {
    (json!({ "type": connect, "name": name }), json!({ "type": avro, "connect.name": name }))
}

#[track_caller]
fn whole(kind: &str, name: &str, value: i64, expected: &str) {
    let (connect, avro) = named(kind, if kind == "int32" { "int" } else { "long" }, name);
    let theirs = if kind == "int32" { Theirs::Int(value as i32) } else { Theirs::Long(value) };
    check((connect, json!(value)), (avro, theirs), expected);
}

#[track_caller]
fn text(name: &str, value: &str, expected: &str) {
    let (connect, avro) = named("string", "string", name);
    check((connect, json!(value)), (avro, Theirs::String(value.to_owned())), expected);
}

#[test]
fn times() {
    whole("int32", "io.debezium.time.Date", 19_000, "a=1641600000s");
    whole("int32", "org.apache.kafka.connect.data.Date", -1, "a=-86400s");
    whole("int64", "io.debezium.time.Timestamp", -7, "a=-7ms");
    whole("int64", "org.apache.kafka.connect.data.Timestamp", 7, "a=7ms");
    whole("int64", "io.debezium.time.MicroTimestamp", 7, "a=7us");
    whole("int64", "io.debezium.time.NanoTimestamp", 7, "a=7ns");
    whole("int32", "io.debezium.time.Time", 7, "a=7i");
    whole("int32", "org.apache.kafka.connect.data.Time", 7, "a=7i");
    whole("int64", "io.debezium.time.MicroTime", 7, "a=7i");
    whole("int64", "io.debezium.time.NanoTime", 7, "a=7i");
    whole("int32", "io.debezium.time.Year", 2026, "a=2026i");
    whole("int64", "io.debezium.time.MicroDuration", 7, "a=7i");
    whole("int64", "io.debezium.time.NanoDuration", 7, "a=7i");
    text("io.debezium.time.ZonedTimestamp", "2023-11-14T22:13:20.123456Z", "a=1700000000123456us");
    text("io.debezium.time.ZonedTimestamp", "2023-11-14T23:13:20+01:00", "a=1700000000000000us");
    text("io.debezium.time.IsoTimestamp", "1970-01-01T00:00:00.000000007Z", "a=7ns");
    text("io.debezium.time.IsoDate", "2017-09-15Z", "a=1505433600s");
    text("io.debezium.time.ZonedTime", "10:15:30+01:00", "a=\"10:15:30+01:00\"");
    text("io.debezium.time.Interval", "P1Y2M3DT4H5M6.78S", "a=\"P1Y2M3DT4H5M6.78S\"");
    // Connect's own are logical types of Avro as well.
    let date = json!({ "type": "int", "connect.version": 1, "logicalType": "date",
        "connect.name": "org.apache.kafka.connect.data.Date" });
    let connect = json!({ "type": "int32", "name": "org.apache.kafka.connect.data.Date" });
    check((connect, json!(1)), (date, Theirs::Date(1)), "a=86400s");
}

#[test]
fn decimals() {
    let name = "org.apache.kafka.connect.data.Decimal";
    let parameters = json!({ "scale": "2", "connect.decimal.precision": "10" });
    let connect = json!({ "type": "bytes", "name": name, "parameters": parameters });
    let avro = json!({ "type": "bytes", "scale": 2, "precision": 10, "logicalType": "decimal",
        "connect.version": 1, "connect.parameters": parameters, "connect.name": name });
    let theirs = || Theirs::Decimal(vec![0x30, 0x39].into());
    check((connect.clone(), json!("MDk=")), (avro.clone(), theirs()), "a=123.45d");
    let arrays = (
        json!({ "type": "array", "items": connect }),
        json!({ "type": "array", "items": ["null", avro] }),
    );
    let items =
        vec![Theirs::Union(1, Box::new(theirs())), Theirs::Union(0, Box::new(Theirs::Null))];
    check(
        (arrays.0, json!(["MDk=", null])),
        (arrays.1, Theirs::Array(items)),
        "a=\"[123.45,null]\"",
    );
    let name = "io.debezium.data.VariableScaleDecimal";
    let connect = json!({ "type": "struct", "name": name, "fields": [
        { "type": "int32", "field": "scale" }, { "type": "bytes", "field": "value" }] });
    let avro = json!({ "type": "record", "name": "VariableScaleDecimal",
        "namespace": "io.debezium.data", "connect.name": name, "fields": [
        { "name": "scale", "type": "int" }, { "name": "value", "type": "bytes" }] });
    let theirs = || {
        let fields = [("scale", Theirs::Int(1)), ("value", Theirs::Bytes(vec![0xff]))];
        Theirs::Record(fields.map(|(name, value)| (name.to_owned(), value)).to_vec())
    };
    let value = || json!({ "scale": 1, "value": "/w==" });
    check((connect.clone(), value()), (avro.clone(), theirs()), "a=-0.1d");
    let arrays =
        (json!({ "type": "array", "items": connect }), json!({ "type": "array", "items": avro }));
    check((arrays.0, json!([value()])), (arrays.1, Theirs::Array(vec![theirs()])), "a=\"[-0.1]\"");
    let (string, double) = (json!({ "type": "string" }), json!({ "type": "double" }));
    check(
        (string, json!("12.50")),
        (json!("string"), Theirs::String("12.50".into())),
        "a=\"12.50\"",
    );
    check((double.clone(), json!(12)), (json!("double"), Theirs::Double(12.0)), "a=12");
    check((double, json!("NaN")), (json!("double"), Theirs::Double(f64::NAN)), "a=NaN");
}

#[test]
fn texts_and_bytes() {
    text("io.debezium.data.Json", "{\"x\":1}", "a=\"{\\\"x\\\":1}\"");
    text("io.debezium.data.Xml", "<x/>", "a=\"<x/>\"");
    text("io.debezium.data.Uuid", "6f-1", "a=\"6f-1\"");
    text("io.debezium.data.Enum", "fine", "a=#fine");
    text("io.debezium.data.EnumSet", "a,b", "a=\"a,b\"");
    let bits = "io.debezium.data.Bits";
    let connect = json!({ "type": "bytes", "name": bits, "parameters": { "length": "10" } });
    let avro = json!({ "type": "bytes", "connect.name": bits,
        "connect.parameters": { "length": "10" } });
    let theirs = Theirs::Bytes(vec![1, 2]);
    check((connect, json!("AQI=")), (avro, theirs.clone()), "a=\"1000000001\"");
    check((json!({ "type": "bytes" }), json!("AQI=")), (json!("bytes"), theirs), "a=[1, 2]");
    check(
        (json!({ "type": "boolean" }), json!(true)),
        (json!("boolean"), Theirs::Boolean(true)),
        "a=true",
    );
    let int = json!({ "type": "int", "connect.type": "int16" });
    check((json!({ "type": "int16" }), json!(7)), (int, Theirs::Int(7)), "a=7i");
}

#[test]
fn what_has_parts() {
    let name = "io.debezium.data.geometry.Point";
    let connect = json!({ "type": "struct", "name": name, "fields": [
        { "type": "double", "field": "x" }, { "type": "double", "field": "y" },
        { "type": "bytes", "optional": true, "field": "wkb" },
        { "type": "int32", "optional": true, "field": "srid" }] });
    let avro = json!({ "type": "record", "name": "Point", "namespace": "io.debezium.data.geometry",
        "connect.name": name, "fields": [
        { "name": "x", "type": "double" }, { "name": "y", "type": "double" },
        { "name": "wkb", "type": ["null", "bytes"] }, { "name": "srid", "type": ["null", "int"] }] });
    let there = |value: Theirs| Theirs::Union(1, Box::new(value));
    let fields = [
        ("x", Theirs::Double(1.0)),
        ("y", Theirs::Double(2.0)),
        ("wkb", there(Theirs::Bytes(vec![1, 0xfe]))),
        ("srid", there(Theirs::Int(4326))),
    ];
    let theirs = Theirs::Record(fields.map(|(name, value)| (name.to_owned(), value)).to_vec());
    check(
        (connect, json!({ "x": 1.0, "y": 2, "wkb": "Af4=", "srid": 4326 })),
        (avro, theirs),
        "a_x=1 a_y=2 a_wkb=\"01fe\" a_srid=4326i",
    );
    let array = |items: &str| json!({ "type": "array", "items": { "type": items } });
    let items = vec![Theirs::Int(1), Theirs::Int(2)];
    let avro = json!({ "type": "array", "items": "int" });
    check((array("int32"), json!([1, 2])), (avro, Theirs::Array(items)), "a=[1.0, 2.0]");
    let items = vec![Theirs::String("x".into())];
    let avro = json!({ "type": "array", "items": "string" });
    check((array("string"), json!(["x"])), (avro, Theirs::Array(items)), "a=\"[\\\"x\\\"]\"");
    let vector = "io.debezium.data.DoubleVector";
    let connect = json!({ "type": "array", "items": { "type": "double" }, "name": vector });
    let avro = json!({ "type": "array", "items": "double", "connect.name": vector });
    let items = Theirs::Array(vec![Theirs::Double(0.5)]);
    check((connect, json!([0.5])), (avro, items), "a=[0.5]");
}
