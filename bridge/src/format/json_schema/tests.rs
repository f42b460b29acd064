//! How values name their schema, what the check says of those that are not as theirs says, and
//! what a schema may not do: ask anybody, read anything, or go on for ever.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::Section;
use crate::format::testing::Bench;
use crate::schemas::fake::{Fake, Reply};

/// A value framed as Confluent's serializers do.
fn framed(id: u32, body: &str) -> Vec<u8> {
    [&[0], &id.to_be_bytes()[..], body.as_bytes()].concat()
}

fn bench(more: &str) -> Bench {
    Bench::new(&format!("format = \"json-schema\"\n{more}"), "")
}

/// A schema as a registry has it, with those that it refers to: (name, subject).
fn registered(schema: &serde_json::Value, references: &[(&str, &str)]) -> Reply {
    let references = references
        .iter()
        .map(|(name, subject)| json!({ "name": name, "subject": subject, "version": 1 }));
    let answer = json!({
        "schemaType": "JSON",
        "schema": schema.to_string(),
        "references": references.collect::<Vec<_>>(),
    });
    Reply::Json(200, answer.to_string())
}

/// Checked by what this registry has.
fn checked(registry: &Fake) -> Bench {
    bench(&format!("validate = true\nregistry.url = \"{}\"", registry.url()))
}

#[test]
fn what_follows_the_id_is_json() {
    let mut bench = bench("separator = \".\"");
    // The second one is predicted from the first.
    assert_eq!(bench.told(framed(1, r#"{"a":{"b":1},"c":"x"}"#)), "a.b=1i c=\"x\"");
    assert_eq!(bench.told(framed(2, r#"{"a":{"b":2},"c":"y"}"#)), "a.b=2i c=\"y\"");
    assert_eq!(
        bench.told(framed(1, "{")),
        "format malformed: not JSON: Syntax at character 0 ('{')"
    );
    let mut rows = super::tests::bench("top_level_array = \"rows\"\ndepth_max = 2");
    assert_eq!(rows.told(framed(1, r#"[{"a":1},{"a":2}]"#)), "a=1i / a=2i");
    assert!(rows.told(framed(1, r#"[[[1]]]"#)).starts_with("format too-deep"));
}

#[test]
fn what_is_not_framed_is_told_what_to_do() {
    let mut bench = bench("");
    let told = bench.told("{\"a\":1}");
    assert!(
        told.starts_with("format malformed: the value begins with '{' and not with 0"),
        "{told}"
    );
    assert!(
        told.contains("format = \"json\"") && told.contains("framing = \"optional\""),
        "{told}"
    );
    let told = bench.told([7, 7]);
    assert!(told.contains("begins with 0x07 and not"), "{told}");
    assert_eq!(bench.told(""), "format empty: the value has no bytes");
    let told = bench.told([0, 0, 0, 1]);
    assert_eq!(told, "format malformed: 4 bytes are too few for a schema's id and JSON");
    assert_eq!(bench.told(framed(1, "")), "format empty: the value has no bytes");
    let mut either = super::tests::bench("framing = \"optional\"");
    assert_eq!(either.told("{\"a\":1}"), "a=1i");
    assert_eq!(either.told(framed(1, "{\"a\":2}")), "a=2i");
    assert_eq!(
        either.told([0]),
        "format malformed: 1 bytes are too few for a schema's id and JSON"
    );
}

#[test]
fn a_registry_is_not_asked_for_what_nobody_checks() {
    let registry = Fake::start();
    let mut bench = bench(&format!("registry.url = \"{}\"", registry.url()));
    assert_eq!(bench.told(framed(1, "{\"a\":1}")), "a=1i");
    assert_eq!(registry.asked().len(), 0);
}

#[test]
fn a_value_that_is_not_as_its_schema_says_is_told_where_and_why() {
    let registry = Fake::start();
    let schema = json!({
        "type": "object",
        "properties": {
            "id": { "type": "integer", "minimum": 1 },
            "place": { "type": "object", "required": ["floor"] },
        },
        "additionalProperties": false,
    });
    registry.put("/schemas/ids/7", registered(&schema, &[]));
    registry.put("/schemas/ids/8", registered(&json!({ "type": "object" }), &[]));
    let mut bench = checked(&registry);
    let check = |bench: &mut Bench, body: &str, expected: &str| {
        assert_eq!(bench.told(framed(7, body)), expected, "{body}");
    };
    check(&mut bench, r#"{"id":1}"#, "id=1i");
    let wrong = "format malformed: /id: \"x\" is not of type \"integer\" (`type` of schema 7)";
    check(&mut bench, r#"{"id":"x"}"#, wrong);
    let wrong = "format malformed: /id: 0 is less than the minimum of 1 (`minimum` of schema 7)";
    check(&mut bench, r#"{"id":0}"#, wrong);
    let told = bench.told(framed(7, r#"{"id":1,"place":{"flor":2}}"#));
    assert!(told.contains("/place:") && told.contains("`required` of schema 7"), "{told}");
    let told = bench.told(framed(7, r#"{"id":1,"more":1}"#));
    assert!(told.contains("the value:") && told.contains("`additionalProperties`"), "{told}");
    check(&mut bench, r#"{"id":2}"#, "id=2i");
    // The same value is right for whom another schema is named.
    assert_eq!(bench.told(framed(8, r#"{"id":"x"}"#)), "id=\"x\"");
    assert_eq!(registry.asked(), ["/schemas/ids/7", "/schemas/ids/8"]);
}

#[test]
fn a_schema_is_asked_for_once_whichever_lane_meets_it() {
    let registry = Fake::start();
    registry.put("/schemas/ids/7", registered(&json!({ "type": "object" }), &[]));
    let text = format!("validate = true\nregistry.url = \"{}\"", registry.url());
    let plan = plan(&text).unwrap_or_else(|wrong| panic!("{}", wrong.message));
    let mut lanes = [0, 1].map(|_| super::tests::bench(&text));
    for lane in &mut lanes {
        lane.decoder = plan.decoder(&lane.context);
        assert_eq!(lane.told(framed(7, "{\"a\":1}")), "a=1i");
    }
    assert_eq!(registry.asked(), ["/schemas/ids/7"]);
}

#[test]
fn what_the_registry_does_not_have_is_the_records_fault() {
    let registry = Fake::start();
    registry.put("/schemas/ids/2", registered(&json!({ "type": "nothing" }), &[]));
    registry.put("/schemas/ids/3", Reply::schema("\"int\""));
    registry
        .put("/schemas/ids/4", Reply::Json(200, r#"{"schemaType":"JSON","schema":"{"}"#.into()));
    let mut bench = checked(&registry);
    let mut starts = |id: u32, words: &str| {
        let told = bench.told(framed(id, "{\"a\":1}"));
        assert!(told.starts_with(words), "{told}");
    };
    starts(9, "format unknown-schema: the registry says: Schema 9 not found");
    starts(2, "format malformed: schema 2 of the registry: no JSON Schema that can be checked by");
    starts(3, "format malformed: schema 3 of the registry: it is AVRO, and not JSON Schema");
    starts(4, "format malformed: schema 4 of the registry: no JSON:");
}

#[test]
fn what_a_schema_refers_to_comes_from_the_registry_alone() {
    let (registry, stranger) = (Fake::start(), Fake::start());
    let url = format!("{}/x.json", stranger.url());
    stranger.put("/x.json", Reply::Json(200, "{}".into()));
    let schema = json!({
        "$id": "http://schemas.example/order.json",
        "properties": { "at": { "$ref": "place.json" }, "by": { "$ref": "who" } },
    });
    registry.put(
        "/schemas/ids/1",
        registered(
            &schema,
            &[("place.json", "place-value"), ("http://schemas.example/who", "who")],
        ),
    );
    let place = json!({ "properties": { "floor": { "$ref": "floor.json" } } });
    registry
        .put("/subjects/place-value/versions/1", registered(&place, &[("floor.json", "floor")]));
    registry.put("/subjects/floor/versions/1", registered(&json!({ "type": "integer" }), &[]));
    registry.put("/subjects/who/versions/1", registered(&json!({ "type": "string" }), &[]));
    registry
        .put("/schemas/ids/2", registered(&json!({ "properties": { "a": { "$ref": url } } }), &[]));
    let file = json!({ "properties": { "a": { "$ref": "file:///etc/hostname" } } });
    registry.put("/schemas/ids/3", registered(&file, &[]));
    let mut bench = checked(&registry);
    assert_eq!(bench.told(framed(1, r#"{"at":{"floor":3},"by":"x"}"#)), "at_floor=3i by=\"x\"");
    let told = bench.told(framed(1, r#"{"at":{"floor":"3"},"by":"x"}"#));
    assert!(told.contains("/at/floor: \"3\" is not of type \"integer\""), "{told}");
    for id in [2, 3] {
        let told = bench.told(framed(id, r#"{"a":1}"#));
        assert!(told.contains("the registry has nothing for what it refers to"), "{told}");
    }
    assert_eq!(stranger.asked().len(), 0, "nobody else is asked");
}

#[test]
fn a_schema_that_goes_round_ends() {
    let registry = Fake::start();
    let round = [
        json!({ "$ref": "#" }),
        json!({ "allOf": [{ "$ref": "#" }] }),
        json!({ "$ref": "#/definitions/a", "definitions": {
            "a": { "anyOf": [{ "$ref": "#/definitions/b" }] },
            "b": { "not": { "$ref": "#/definitions/a" } },
        } }),
        json!({ "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$dynamicAnchor": "x", "if": { "$dynamicRef": "#x" } }),
        json!({ "dependencies": { "a": { "$ref": "#" } } }),
    ];
    for (id, schema) in (1..).zip(&round) {
        registry.put(&format!("/schemas/ids/{id}"), registered(schema, &[]));
        let told = checked(&registry).told(framed(id, r#"{"a":1}"#));
        assert!(told == "a=1i" || told.contains("of schema"), "{schema}: {told}");
    }
    // Down into the value it may: every step takes something of it.
    let tree = json!({ "properties": { "left": { "$ref": "#" }, "v": { "type": "integer" } } });
    registry.put("/schemas/ids/9", registered(&tree, &[]));
    let mut bench = checked(&registry);
    let told = bench.told(framed(9, r#"{"left":{"left":{"v":"x"}}}"#));
    assert!(told.contains("/left/left/v"), "{told}");
}

#[test]
fn a_schema_may_be_given() {
    let given = "schema = '{\"required\":[\"a\"]}'";
    let mut bare = bench(&format!("framing = \"bare\"\n{given}"));
    assert_eq!(bare.told("{\"a\":1}"), "a=1i");
    assert_eq!(
        bare.told("{\"b\":1}"),
        "format malformed: the value: \"a\" is a required property (`required` of the schema)"
    );
    let mut either = bench(&format!("framing = \"optional\"\n{given}"));
    assert_eq!(either.told(framed(3, "{\"a\":1}")), "a=1i");
    assert!(either.told(framed(3, "{\"b\":1}")).ends_with("(`required` of schema 3)"));
    let folder = std::env::temp_dir().join(format!("bridge-json-schema-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("a.json"), r#"{"required":["a"]}"#).expect("a file");
    let mut plan = plan("framing = \"bare\"\nschema_file = \"a.json\"")
        .unwrap_or_else(|wrong| panic!("{}", wrong.message));
    plan.rebase(&folder);
    bare.decoder = plan.decoder(&bare.context);
    assert!(bare.told("{\"b\":1}").contains("`required`"));
    std::fs::remove_dir_all(&folder).expect("it was there");
}

fn plan(toml: &str) -> Result<Box<dyn FormatPlan>, crate::config::Mistake> {
    (KIND.parse)(&Section::new("value", toml.parse().expect("it is TOML")))
}

#[test]
fn mistakes_stand_at_their_keys() {
    let check = |toml: &str, key: &str, words: &str| {
        let mistake = plan(toml).map(|_| ()).expect_err("it is one");
        assert_eq!(mistake.path, format!("value.{key}"), "{}", mistake.message);
        assert!(mistake.message.contains(words), "{}", mistake.message);
    };
    let url = "registry.url = \"http://x\"";
    check("validate = true", "validate", "no schema to check");
    check("framing = \"bare\"", "framing", "are `json`");
    check(&format!("framing = \"optional\"\nvalidate = true\n{url}"), "validate", "name no schema");
    check(&format!("framing = \"bare\"\nvalidate = true\n{url}"), "registry", "by its id");
    check("schema = '{}'\nschema_file = 'x'", "schema", "not both");
    check("schema = '{}'\nvalidate = false", "schema", "not checked");
    check("schema_file = 'x'\nvalidate = false", "schema_file", "not checked");
    check("schema = '{'", "schema", "no JSON");
    check("schema = '{\"type\":\"x\"}'", "schema", "no JSON Schema");
    check("registry = {}", "registry", "needs its address");
}

proptest! {
    /// Against the format `json`, of which nothing but the five bytes is different.
    #[test]
    fn framed_is_as_json_is(
        bodies in prop::collection::vec("\\{(\"[a-c]\":([0-9]{1,3}|\"x\"|\\{\\}|null),?){0,3}\\}?", 1..8),
        id in any::<u32>(),
    ) {
        let (mut own, mut json) = (bench(""), Bench::new("format = \"json\"", ""));
        for body in bodies {
            prop_assert_eq!(own.told(framed(id, &body)), json.told(&body));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        value in prop::collection::vec(any::<u8>(), 0..60),
        body in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let schema = "schema = '{\"properties\":{\"a\":{\"pattern\":\"(a+)+$\"}}}'";
        let mut bench = bench(&format!("framing = \"optional\"\n{schema}"));
        bench.told(&value);
        bench.told([&[0, 0, 0, 0, 1][..], &body].concat());
    }

    #[test]
    fn no_schema_makes_it_panic(text in ".{0,200}") {
        let _ = validity::compile(&text, &[]);
    }
}
