//! JSON under a JSON Schema: the schema that is made of columns, and values that keep to it.

use serde_json::{Value, json};

use super::*;

fn object(value: &[u8]) -> Value {
    serde_json::from_slice(framed(value).1).expect("it is JSON")
}

#[test]
fn an_object_is_made_of_the_columns_and_closed() {
    let mut bench = Bench::new(Format::Json, REGISTRY);
    let mut row = reading();
    row.push(("höhe", Put::Decimal(1230, 2)));
    row.push(("at", Put::Time(1_700_000_000_123, Unit::Millis)));
    row.push(("raw", Put::Bytes(vec![1])));
    row.push(("bids", Put::Numbers(vec![1.0, f64::NAN])));
    let value = bench.one(row);
    assert_eq!(
        std::str::from_utf8(framed(&value).1),
        Ok(concat!(
            r#"{"sensor":"s-1","seq":7,"celsius":21.5,"ok":true,"höhe":12.30,"#,
            r#""at":"2023-11-14T22:13:20.123Z","raw":"AQ==","bids":[1.0,null]}"#
        ))
    );
    let versions = bench.versions();
    assert_eq!(versions[0].kind, "JSON");
    let schema: Value = serde_json::from_str(&versions[0].schema).expect("it is JSON");
    assert_eq!(schema["additionalProperties"], json!(false));
    assert_eq!(schema["properties"]["seq"]["type"], json!(["null", "integer"]));
    assert_eq!(schema["properties"]["at"]["format"], json!("date-time"));
    let mut more = reading();
    more.push(("more", Put::Bool(true)));
    assert_eq!(object(&bench.one(more))["more"], json!(true));
    let schema: Value = serde_json::from_str(&bench.versions()[1].schema).expect("it is JSON");
    assert_eq!(schema["properties"].as_object().map(|all| all.len()), Some(9));

    for (row, told) in [
        (vec![("seq", text("x"))], "`seq` is integer in the schema, the record has \"x\""),
        (vec![("ok", Put::Long(2))], "`ok` is boolean"),
        (vec![("bids", text("[]"))], "`bids` is array"),
    ] {
        let found = bench.refused(row);
        assert!(found.contains(told), "{found}: {told}");
    }
    assert_eq!(object(&bench.one(vec![("seq", Put::Null)])), json!({ "seq": null }));
}

#[test]
fn required_members_of_a_schema_that_is_given_are_there() {
    let schema = r#"{"type":"object","required":["id"],"properties":{
        "id":{"type":"integer"},"any":{},"at":{"type":"integer"}}}"#;
    let keys = format!("{REGISTRY}timestamps = \"s\"\nschema = '''{schema}'''");
    let mut bench = Bench::new(Format::Json, &keys);
    let row = vec![
        ("any", text("x")),
        ("at", Put::Time(5_000, Unit::Millis)),
        ("id", Put::Long(1)),
        ("other", Put::Long(1)),
    ];
    assert_eq!(object(&bench.one(row)), json!({ "id": 1, "any": "x", "at": 5 }));
    assert!(bench.refused(vec![]).contains("`id` is required"));
    assert!(bench.refused(vec![("id", Put::Null)]).contains("the record has null"));
}
