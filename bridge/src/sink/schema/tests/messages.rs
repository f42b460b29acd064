//! Protocol Buffers: messages that are made of columns, messages that are given, and what Google's
//! own reader's twin makes of the bytes.

use prost_reflect::{DynamicMessage, Value};

use super::*;

/// A value's message as the library reads it, as JSON.
pub fn read(schema: &str, message: Option<&str>, body: &[u8]) -> serde_json::Value {
    let read = dynamic(schema, message, body);
    serde_json::to_value(&read).expect("it is JSON")
}

pub fn dynamic(schema: &str, message: Option<&str>, body: &[u8]) -> DynamicMessage {
    let found = protobuf::load::message(schema, message).expect("a message");
    let read = DynamicMessage::decode(found, body).expect("it is one");
    assert_eq!(read.unknown_fields().count(), 0, "nothing is left");
    read
}

/// Id, message indexes of a first message, and the rest.
fn body(value: &[u8]) -> (u32, &[u8]) {
    let (id, body) = framed(value);
    let [0, body @ ..] = body else { panic!("{body:?} begins with no index") };
    (id, body)
}

#[test]
fn a_message_is_made_of_the_columns_and_numbers_stay() {
    let mut bench = Bench::new(Format::Protobuf, REGISTRY);
    let mut row = reading();
    row.push(("at", Put::Time(1_700_000_000_123_456, Unit::Micros)));
    row.push(("bids", Put::Numbers(vec![1.0, 2.5])));
    row.push(("price", Put::Decimal(-1230, 2)));
    let value = bench.one(row);
    let schema = "syntax = \"proto3\";\n\n\
                  import \"google/protobuf/timestamp.proto\";\n\n\
                  message x {\n\
                  \x20 optional string sensor = 1;\n\
                  \x20 optional int64 seq = 2;\n\
                  \x20 optional double celsius = 3;\n\
                  \x20 optional bool ok = 4;\n\
                  \x20 google.protobuf.Timestamp at = 5;\n\
                  \x20 repeated double bids = 6;\n\
                  \x20 optional string price = 7;\n\
                  }\n";
    let versions = bench.versions();
    assert_eq!((versions[0].schema.as_str(), versions[0].kind.as_str()), (schema, "PROTOBUF"));
    let (id, bytes) = body(&value);
    assert_eq!(id, versions[0].id);
    assert_eq!(
        read(schema, None, bytes),
        serde_json::json!({
            "sensor": "s-1", "seq": "7", "celsius": 21.5, "ok": true,
            "at": "2023-11-14T22:13:20.123456Z", "bids": [1.0, 2.5], "price": "-12.30",
        })
    );
    // After a restart, and in another order.
    let Bench { fake, .. } = bench;
    let mut bench = Bench::with(fake, Format::Protobuf, REGISTRY, bare_shape());
    let value = bench.one(vec![("new", Put::Bytes(vec![1])), ("seq", Put::Long(0))]);
    let versions = bench.versions();
    let grown = schema.replace("price = 7;\n", "price = 7;\n  optional bytes new = 8;\n");
    assert_eq!(versions[1].schema, grown);
    let (_, bytes) = body(&value);
    assert_eq!(read(&grown, None, bytes), serde_json::json!({ "seq": "0", "new": "AQ==" }));
}

const GIVEN: &str = r#"
    syntax = "proto3";
    package shop;
    import "google/protobuf/wrappers.proto";
    message Other { string a = 1; }
    message Outer {
        message Order {
            uint32 id = 3;
            State state = 1;
            Place place = 2;
            google.protobuf.Int64Value count = 4;
            oneof who { string name = 5; sint64 number = 6; }
            repeated sint32 steps = 7;
            repeated float loose = 8 [packed = false];
            map<string, string> labels = 9;
            optional fixed64 print = 20000;
            optional sfixed32 delta = 11;
            float ratio = 12;
            int64 ts = 13;
        }
        message Place { string city = 1; optional int32 floor = 2; }
    }
    enum State { OPEN = 0; PAID = 5; }
"#;

#[test]
fn columns_go_into_the_fields_of_a_message_that_is_given() {
    let keys = format!(
        "{REGISTRY}message = \"shop.Outer.Order\"\ntimestamps = \"ms\"\nschema = '''{GIVEN}'''"
    );
    let mut bench = Bench::new(Format::Protobuf, &keys);
    let value = bench.one(vec![
        ("id", Put::Long(4_000_000_000)),
        ("state", text("PAID")),
        ("place_city", text("Köln")),
        ("place_floor", Put::Long(0)),
        ("count", Put::Long(0)),
        ("number", Put::Long(-3)),
        ("steps", Put::Numbers(vec![-1.0, 300.0])),
        ("loose", Put::Numbers(vec![0.5, 0.25])),
        ("labels", text("{}")),
        ("print", Put::Long(9)),
        ("delta", Put::Long(-2)),
        ("ratio", Put::Double(0.0)),
        ("ts", Put::Time(1_700_000_000_123_456, Unit::Micros)),
    ]);
    // The second message, and in it the first: [1, 0].
    let [4, 2, 0, bytes @ ..] = framed(&value).1 else { panic!("{value:?}") };
    let json = read(GIVEN, Some("Outer.Order"), bytes);
    assert_eq!(
        json,
        serde_json::json!({
            "id": 4_000_000_000_u32, "state": "PAID", "place": { "city": "Köln", "floor": 0 },
            "count": "0", "number": "-3", "steps": [-1, 300], "loose": [0.5, 0.25],
            "print": "9", "delta": -2, "ts": "1700000000123",
        })
    );
    let value = bench.one(vec![("id", Put::Long(0)), ("place_city", Put::Null)]);
    assert_eq!(&framed(&value).1[3..], b"", "nothing is there");
    for (row, told) in [
        (vec![("id", Put::Long(-1))], "`id` is uint32 in the schema, the record has -1"),
        (vec![("delta", Put::Long(1 << 31))], "`delta` is int32"),
        (vec![("name", text("a")), ("number", Put::Long(1))], "is one of a `oneof`"),
        (vec![("steps", Put::Numbers(vec![0.5]))], "`steps` is repeated numbers"),
        (vec![("state", text("LOST"))], "`state` is an enum"),
        (vec![("ratio", Put::Double(1e300))], "`ratio` is float"),
    ] {
        let found = bench.refused(row);
        assert!(found.contains(told), "{found}: {told}");
    }
}

#[test]
fn what_proto2_requires_is_there() {
    let schema = "syntax = \"proto2\"; message M { required string a = 1; optional int32 b = 2; }";
    let keys = format!("framing = \"bare\"\nschema = '''{schema}'''");
    let mut bench = Bench::new(Format::Protobuf, &keys);
    let value = bench.one(vec![("a", text("")), ("b", Put::Long(-1))]);
    let read = dynamic(schema, None, &value);
    let field = |name: &str| read.get_field_by_name(name).map(|value| value.into_owned());
    assert_eq!(field("a"), Some(Value::String(String::new())));
    assert_eq!(field("b"), Some(Value::I32(-1)));
    assert!(bench.refused(vec![("b", Put::Long(1))]).contains("`a` is string and required"));
    let fault = Bench::new(Format::Protobuf, REGISTRY);
    fault.fake.keep("x-value", "PROTOBUF", schema);
    let mut bench = fault;
    // It is written while it has all columns, and not made to grow.
    bench.one(vec![("a", text("x"))]);
    let fault = bench.fault(vec![("c", text("x"))]);
    assert!(fault.to_string().contains("more than one message of plain fields"), "{fault}");
}
