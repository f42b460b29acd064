//! Keys that go by a schema: their columns, what is said of those that are not as they say, and
//! that a registry that is away refuses nobody.

use crate::batch::RowBatch;
use crate::blame::Blame;
use crate::format::NullValue;
use crate::format::testing::{Bench, batch_of, parsed};
use crate::reject::Rejects;
use crate::schemas::fake::{Fake, Reply};

const KEY: &str = r#"{"type":"record","name":"Key","fields":[{"name":"id","type":"int"},
    {"name":"at","type":{"type":"record","name":"At","fields":[{"name":"site","type":"string"}]}}]}"#;

/// Framed as Confluent's serializers do it.
fn framed(id: u32, body: &[u8]) -> String {
    let bytes = [&[0], &id.to_be_bytes()[..], body].concat();
    String::from_utf8(bytes).expect("these happen to be text")
}

fn registry() -> Fake {
    let registry = Fake::start();
    registry.put("/schemas/ids/1", Reply::schema(KEY));
    registry.put("/schemas/ids/2", Reply::schema("\"long\""));
    let json = r#"{"schemaType":"JSON","schema":"{\"required\":[\"id\"]}"}"#;
    registry.put("/schemas/ids/3", Reply::Json(200, json.into()));
    registry
}

#[test]
fn keys_in_avro_are_columns() {
    let registry = registry();
    let key = format!("format = \"avro\"\nregistry.url = \"{}\"", registry.url());
    let mut bench = Bench::new("format = \"json\"", &key);
    let framed_key = framed(1, b"\x0e\x04ab");
    let row = "v=1i key_id=7i key_at_site=\"ab\"";
    assert_eq!(bench.told_of(&framed_key, "{\"v\":1}"), row);
    assert_eq!(bench.told_of(&framed(2, b"\x0e"), "{\"v\":2}"), "v=2i key=7i");
    assert_eq!(registry.asked(), ["/schemas/ids/1", "/schemas/ids/2"]);
    let named = format!("{key}\nprefix = \"\"\ncolumn = \"number\"\nseparator = \".\"");
    let mut bench = Bench::new("format = \"csv\"\ncolumns = [\"v\"]", &named);
    assert_eq!(
        bench.told_of(&framed_key, "x\ny"),
        "v=\"x\" id=7i at.site=\"ab\" / v=\"y\" id=7i at.site=\"ab\""
    );
    assert_eq!(bench.told_of(&framed(2, b"\x0e"), "x"), "v=\"x\" number=7i");
    let bare = "format = \"avro\"\nframing = \"bare\"\nschema = '\"string\"'";
    assert_eq!(Bench::new("format = \"json\"", bare).told_of("\u{4}ab", "{}"), "key=\"ab\"");
}

#[test]
fn keys_in_protobuf_are_columns() {
    let registry = registry();
    let text = "syntax = \"proto3\"; message At { string site = 1; } \
                message Key { int64 id = 1; At at = 2; }";
    let answer = serde_json::json!({ "schemaType": "PROTOBUF", "schema": text });
    registry.put("/schemas/ids/4", Reply::Json(200, answer.to_string()));
    let key = format!("format = \"protobuf\"\nregistry.url = \"{}\"", registry.url());
    let mut bench = Bench::new("format = \"json\"", &key);
    // The second message of its file.
    let body = b"\x02\x02\x08\x07\x12\x04\x0a\x02ab";
    assert_eq!(bench.told_of(&framed(4, body), "{\"v\":1}"), "v=1i key_id=7i key_at_site=\"ab\"");
    assert_eq!(registry.asked(), ["/schemas/ids/4"]);
    let bare =
        format!("format = \"protobuf\"\nmessage = \"Key\"\nprefix = \"\"\nschema = '{text}'");
    assert_eq!(
        Bench::new("format = \"string\"", &bare).told_of("\x08\x07", "x"),
        "value=\"x\" id=7i"
    );
}

#[test]
fn keys_in_json_behind_an_id_are_columns() {
    let registry = registry();
    let key = format!("format = \"json-schema\"\nregistry.url = \"{}\"", registry.url());
    let mut bench = Bench::new("format = \"string\"", &key);
    assert_eq!(bench.told_of(&framed(9, b"{\"a\":{\"b\":1}}"), "x"), "value=\"x\" key_a_b=1i");
    assert_eq!(bench.told_of(&framed(9, b"7"), "x"), "value=\"x\" key=7i");
    let mut checked = Bench::new("format = \"string\"", &format!("{key}\nvalidate = true"));
    assert_eq!(checked.told_of(&framed(3, b"{\"id\":1}"), "x"), "value=\"x\" key_id=1i");
    assert_eq!(
        checked.told_of(&framed(3, b"{}"), "x"),
        "format bad-key: the key: the value: \"id\" is a required property (`required` of schema 3)"
    );
}

#[test]
fn what_is_no_such_key_is_told_as_a_key() {
    let registry = registry();
    let more = format!("registry.url = \"{}\"", registry.url());
    for (format, missing) in [("avro", true), ("json-schema", false)] {
        let mut bench =
            Bench::new("format = \"string\"", &format!("format = \"{format}\"\n{more}"));
        let told = bench.told_of("\u{7}", "x");
        let words = "format bad-key: the key: it begins with 0x07 and not with 0 and a schema's id";
        assert!(told.starts_with(words), "{told}");
        assert_eq!(bench.told_of("", "x"), "format bad-key: the key: it has no bytes");
        let told = bench.told_of(&framed(5, b"{"), "x");
        let words = match missing {
            true => "format unknown-schema: the key: the registry says: Schema 5 not found",
            false => "format bad-key: the key: not JSON",
        };
        assert!(told.starts_with(words), "{told}");
    }
    let mut bench = Bench::new("format = \"string\"", &format!("format = \"avro\"\n{more}"));
    assert_eq!(
        bench.told_of(&framed(1, b"\x0e\x04a"), "x"),
        "format bad-key: the key: `key_at_site`: the value ends within it"
    );
}

#[test]
fn a_record_without_a_value_has_the_columns_of_its_key() {
    let registry = registry();
    let key = format!("format = \"avro\"\nprefix = \"\"\nregistry.url = \"{}\"", registry.url());
    for value in ["format = \"json\"", "format = \"csv\"\ncolumns = [\"v\"]"] {
        let mut bench = Bench::with(value, &key, NullValue::Delete);
        let key = framed(1, b"\x0e\x04ab");
        let records = batch_of(&[(&key, None)]);
        let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
        bench.decoder.decode(&records, &mut rows, &mut rejects).expect("the registry is there");
        assert_eq!(bench.shown(&rows), ["0.0: id=7i at_site=\"ab\""]);
    }
}

#[test]
fn a_registry_that_is_away_refuses_no_key() {
    let gone = Fake::start();
    let url = gone.url();
    drop(gone);
    let key = format!("format = \"avro\"\nregistry.url = \"{url}\"");
    let avro = "format = \"avro\"\nframing = \"bare\"\nschema = '\"string\"'";
    let values = [
        ("format = \"json\"", "{\"v\":1}"),
        ("format = \"msgpack\"", "\u{0}"),
        ("format = \"csv\"\ncolumns = [\"v\"]", "x"),
        ("format = \"ilp\"\nmeasurement = \"ignore\"", "m a=1"),
        ("format = \"string\"", "x"),
        ("format = \"ignore\"", "x"),
        ("format = \"json-schema\"\nframing = \"optional\"", "{\"v\":1}"),
        (avro, "\u{2}x"),
    ];
    for (format, value) in values {
        let mut bench = Bench::new(format, &key);
        let key = framed(1, b"\x0e\x04ab");
        // A map of nothing, which is no text: the others are.
        let value = if format.contains("msgpack") { vec![0x80] } else { value.into() };
        let records = crate::batch::testing::batch(vec![(Some(key.into()), Some(value))]);
        let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
        let fault = bench.decoder.decode(&records, &mut rows, &mut rejects).expect_err(format);
        assert_eq!(fault.blame, Blame::World, "{format}: {fault}");
        assert!(rejects.is_empty(), "{format}");
    }
}

#[test]
fn a_key_has_the_registry_of_its_value() {
    let registry = registry();
    let value = format!("format = \"avro\"\nregistry.url = \"{}\"", registry.url());
    let mut bench = Bench::new(&value, "format = \"avro\"");
    let told = bench.told_of(&framed(2, b"\x0e"), framed(2, b"\x10"));
    assert_eq!(told, "value=8i key=7i");
    let plan = parsed(&value, "format = \"avro\"").expect("the value's is its own");
    let words = plan.pipelines[0].key.in_words();
    assert_eq!(words, "avro, columns key_..., what is no record in key");
}

#[test]
fn mistakes_in_keys_stand_at_their_keys() {
    let check = |key: &str, at: &str, words: &str| {
        let said = parsed("format = \"json\"", key).expect_err("it is one");
        assert!(said.contains(&format!("pipeline.p.key.{at}:")), "{said}");
        assert!(said.contains(words), "{said}");
    };
    let url = "registry.url = \"http://x\"";
    check("format = \"avro\"", "registry", "need a `registry`");
    check(&format!("format = \"avro\"\n{url}\nwritten = \"text\""), "written", "simple types");
    check(&format!("format = \"avro\"\n{url}\ncolumn = \"\""), "column", "needs a name");
    let version = format!("format = \"avro\"\n{url}\nschema_version = 2");
    check(&version, "schema_version", "needs its `subject`");
    assert!(parsed("format = \"json\"", &format!("{version}\nsubject = \"t-key\"")).is_ok());
    check("format = \"json-schema\"\ntop_level_array = \"rows\"", "top_level_array", "one key");
    check(&format!("format = \"string\"\n{url}"), "registry", "keys that go by a schema");
    check("format = \"json\"\nvalidate = true", "validate", "keys that go by a schema");
    check("format = \"i64\"\nprefix = \"k_\"", "prefix", "only keys with fields");
    let said = parsed("format = \"json\"", &format!("format = \"avro\"\n{url}\nnothing = 1"));
    let said = said.expect_err("it is no key");
    assert!(said.contains("unknown key `nothing` in pipeline.p.key"), "{said}");
}
