//! What each type becomes, shown as text; how values name their schemas; and what hostile bytes
//! are refused with.

use proptest::prelude::*;

use super::*;
use crate::batch::testing::batch;
use crate::config::Section;
use crate::format::testing::{context, tell, told};
use crate::schemas::fake::{Fake, Reply};

/// The format by its section.
pub fn plan(toml: &str) -> Box<dyn FormatPlan> {
    let section = Section::new("value", toml.parse().expect("it is TOML"));
    (KIND.parse)(&section).unwrap_or_else(|mistake| panic!("{}", mistake.message))
}

/// The format for bare values of a schema, and keys besides.
pub fn bare(schema: &str, more: &str) -> Box<dyn FormatPlan> {
    plan(&format!("framing = \"bare\"\nschema = '''{schema}'''\n{more}"))
}

fn one(plan: &dyn FormatPlan, value: &[u8]) -> String {
    told(plan, vec![(None, Some(value.to_vec()))]).remove(0)
}

fn record(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#)
}

fn field(name: &str, of: &str) -> String {
    format!(r#"{{"name":"{name}","type":{of}}}"#)
}

/// A record with one field `a` of a type, from its bytes.
fn check(of: &str, value: &[u8], expected: &str) {
    let schema = record(&field("a", of));
    assert_eq!(one(&*bare(&schema, ""), value), expected, "{of} {value:?}");
}

#[test]
fn every_type_becomes_what_is_stated() {
    check("\"null\"", &[], "a=null");
    check("\"boolean\"", &[1], "a=true");
    check("\"int\"", &[0x7f], "a=-64i");
    check("\"long\"", &[0x80, 0x01], "a=64i");
    check("\"float\"", &0.5_f32.to_le_bytes(), "a=0.5");
    check("\"double\"", &(-0.1_f64).to_le_bytes(), "a=-0.1");
    check("\"string\"", &[4, 0xc3, 0xa9], "a=\"é\"");
    check("\"bytes\"", &[2, 0xff], "a=[255]");
    check(r#"{"type":"fixed","name":"F","size":2}"#, &[1, 2], "a=[1, 2]");
    check(r#"{"type":"enum","name":"E","symbols":["X","Y"]}"#, &[2], "a='Y'");
    let decimal = r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}"#;
    check(decimal, &[4, 0x30, 0x39], "a=123.45d");
    check(decimal, &[0], "a=0.00d");
    let decimal = r#"{"type":"fixed","name":"F","size":16,"logicalType":"decimal","precision":9}"#;
    check(decimal, &[0xff; 16], "a=-1d");
    check(r#"{"type":"int","logicalType":"date"}"#, &[2], "a=86400Seconds");
    check(r#"{"type":"int","logicalType":"time-millis"}"#, &[2], "a=1i");
    for (word, unit) in [("millis", "Millis"), ("micros", "Micros"), ("nanos", "Nanos")] {
        for local in ["", "local-"] {
            let of = format!(r#"{{"type":"long","logicalType":"{local}timestamp-{word}"}}"#);
            check(&of, &[3], &format!("a=-2{unit}"));
        }
    }
    let uuid = r#"{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}"#;
    check(uuid, &[0xab; 16], "a=\"abababab-abab-abab-abab-abababababab\"");
    check(r#"{"type":"string","logicalType":"uuid"}"#, &[2, b'x'], "a=\"x\"");
    let duration = r#"{"type":"fixed","name":"D","size":12,"logicalType":"duration"}"#;
    check(duration, &[1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0], "a=\"P1M2DT0.003S\"");
}

#[test]
fn arrays_of_numbers_are_arrays_and_others_are_json() {
    let ints = r#"{"type":"array","items":"int"}"#;
    check(ints, &[4, 2, 4, 0], "a=[2][1.0, 2.0]");
    check(ints, &[3, 4, 2, 4, 2, 6, 0], "a=[3][1.0, 2.0, 3.0]");
    check(ints, &[0], "a=[0][]");
    let twice = format!(r#"{{"type":"array","items":{ints}}}"#);
    check(&twice, &[4, 4, 2, 4, 0, 4, 6, 8, 0, 0], "a=[2, 2][1.0, 2.0, 3.0, 4.0]");
    check(&twice, &[4, 4, 2, 4, 0, 2, 6, 0, 0], "a=\"[[1,2],[3]]\"");
    let nullable = r#"{"type":"array","items":["null","int"]}"#;
    check(nullable, &[4, 0, 2, 2, 0], "a=[2][NaN, 1.0]");
    let texts = r#"{"type":"array","items":"string"}"#;
    check(texts, &[4, 2, b'"', 2, b'b', 0], r#"a="[\"\\\"\",\"b\"]""#);
    check(texts, &[0], "a=\"[]\"");
    let records = r#"{"type":"array","items":{"type":"record","name":"P","fields":[
        {"name":"x","type":"double"},{"name":"y","type":["null","bytes"]}]}}"#;
    let mut value = vec![2];
    value.extend_from_slice(&1.5_f64.to_le_bytes());
    value.extend_from_slice(&[2, 2, 0xff, 0]);
    check(records, &value, r#"a="[{\"x\":1.5,\"y\":\"/w==\"}]""#);
}

#[test]
fn records_and_maps_are_columns_below_their_names() {
    let inner = r#"{"type":"record","name":"I","fields":[{"name":"b","type":"int"},
        {"name":"c","type":{"type":"map","values":"int"}}]}"#;
    check(inner, &[2, 4, 2, b'k', 2, 2, b'l', 4, 0], "a_b=1i a_c_k=1i a_c_l=2i");
    let map = format!(r#"{{"type":"map","values":{inner}}}"#);
    check(&map, &[2, 2, b'k', 2, 0, 0], "a_k_b=1i");
    let last = r#"{"type":"map","values":"int"}"#;
    check(last, &[4, 2, b'k', 2, 2, b'k', 4, 0], "a_k=2i");
    let schema = record(&field("a", inner));
    let dotted = bare(&schema, "separator = \".\"");
    assert_eq!(one(&*dotted, &[2, 2, 2, b'k', 2, 0]), "a.b=1i a.c.k=1i");
}

#[test]
fn what_is_null_is_null_in_all_of_its_columns() {
    let inner = r#"["null",{"type":"record","name":"I","fields":[{"name":"b","type":"int"},
        {"name":"c","type":["null","string"]}]}]"#;
    check(inner, &[0], "a_b=null a_c=null");
    check(inner, &[2, 2, 0], "a_b=1i a_c=null");
    check(inner, &[2, 2, 2, 2, b'x'], "a_b=1i a_c=\"x\"");
    check(r#"["null","int"]"#, &[0], "a=null");
    check(r#"["int","string"]"#, &[2, 2, b'x'], "a=\"x\"");
    check(r#"["null",{"type":"map","values":"int"}]"#, &[0], "");
}

#[test]
fn values_that_are_no_records_have_a_column() {
    assert_eq!(one(&*bare("\"long\"", ""), &[4]), "value=2i");
    assert_eq!(one(&*bare("[\"null\",\"long\"]", "column = \"n\""), &[2, 4]), "n=2i");
}

#[test]
fn a_type_that_holds_itself_is_json_there() {
    let list = r#"{"type":"record","name":"L","fields":[{"name":"v","type":"int"},
        {"name":"next","type":["null","L"]}]}"#;
    let list = bare(list, "");
    assert_eq!(one(&*list, &[2, 0]), "v=1i next=null");
    assert_eq!(
        one(&*list, &[2, 2, 4, 2, 6, 0]),
        r#"v=1i next="{\"v\":2,\"next\":{\"v\":3,\"next\":null}}""#
    );
    let mut deep = [2, 2].repeat(200);
    deep.extend_from_slice(&[2, 0]);
    assert_eq!(one(&*list, &deep), "format too-deep: `next`: nested deeper than 100");
    let own = record(&field("r", "\"R\""));
    assert_eq!(one(&*bare(&own, ""), &[]), "format too-deep: `r`: nested deeper than 100");
}

#[test]
fn what_is_not_as_the_schema_says_is_refused_with_its_place() {
    check("\"double\"", &[0; 7], "format malformed: `a`: the value ends within it");
    check("\"string\"", &[1], "format malformed: `a`: -1 is no length");
    check("\"string\"", &[2, 0xff], "format invalid-utf8: `a`: text that is not UTF-8");
    check("\"boolean\"", &[2], "format malformed: `a`: the byte 2 is no boolean");
    check("\"int\"", &[2, 2], "format malformed: the value: 1 bytes are left behind it");
    check("[\"null\",\"int\"]", &[4], "format malformed: the value: its union has no branch 2");
    let symbols = r#"{"type":"enum","name":"E","symbols":["X"]}"#;
    check(symbols, &[2], "format malformed: `a`: its enum has no symbol 1");
    check(
        "\"bytes\"",
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        "format malformed: `a`: -2147483648 is no length",
    );
    let map = r#"{"type":"map","values":"int"}"#;
    check(map, &[2, 2, b'k', 0x80], "format malformed: `a_k`: the value ends within it");
    let wide = r#"{"type":"bytes","logicalType":"decimal","precision":90}"#;
    let mut value = vec![66, 1];
    value.extend_from_slice(&[0; 32]);
    check(wide, &value, "format malformed: `a`: a decimal of more than 32 bytes");
}

#[test]
fn blocks_of_nothing_come_to_an_end() {
    let most = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let nulls = r#"{"type":"array","items":"null"}"#;
    check(nulls, &[4, 0], "a=\"[null,null]\"");
    check(nulls, &most, "format malformed: `a`: more than 1000 items of no size");
    let nested = format!(r#"{{"type":"array","items":{nulls}}}"#);
    let mut value = vec![20];
    (0..10).for_each(|_| value.extend_from_slice(&[0xd0, 0x0f, 0]));
    value.push(0);
    check(&nested, &value, "format malformed: `a`: more than 1000 items of no size");
    let ints = r#"{"type":"array","items":"int"}"#;
    check(ints, &most, "format malformed: `a`: the value ends within it");
}

#[test]
fn text_is_a_small_multiple_of_the_value() {
    let name = "n".repeat(900);
    let items = format!(
        r#"{{"type":"array","items":{{"type":"record","name":"I","fields":[{}]}}}}"#,
        field(&name, "\"boolean\"")
    );
    let mut value = vec![0x80, 0xe2, 0x09];
    value.extend(std::iter::repeat_n(1, 80_000));
    value.push(0);
    check(&items, &value, "format too-large: `a`: it becomes far more text than it has bytes");
}

#[test]
fn schemas_that_are_too_large_are_refused() {
    let mut types =
        vec![r#"{"type":"record","name":"T0","fields":[{"name":"x","type":"int"}]}"#.to_owned()];
    for level in 1..20 {
        let last = level - 1;
        let of = if level == 1 { types[0].clone() } else { format!("\"T{last}\"") };
        types.push(format!(
            r#"{{"type":"record","name":"T{level}","fields":[{},{}]}}"#,
            field("a", &types.last().cloned().unwrap_or(of)),
            field("b", &format!("\"T{last}\""))
        ));
    }
    let schema = types.pop().expect("there are some");
    let said = one(&*bare(&schema, ""), &[0]);
    assert!(said.starts_with("format too-many-columns: the schema"), "{said}");
}

#[test]
fn the_writers_schema_is_read_as_the_readers() {
    let writer = record(
        &[field("a", "\"int\""), field("gone", "\"string\""), field("old", "\"long\"")].join(","),
    );
    let reader = r#"{"type":"record","name":"R","fields":[{"name":"new","type":"double","aliases":["old"]},
        {"name":"a","type":["null","float"]},{"name":"more","type":{"type":"array","items":"int"},"default":[7]},
        {"name":"e","type":["null","string"],"default":null}]}"#;
    let plan = bare(&writer, &format!("reader_schema = '''{reader}'''"));
    assert_eq!(one(&*plan, &[2, 2, b'x', 6]), "a=1 new=3 more=[1][7.0] e=null");
    let missing = r#"{"type":"record","name":"R","fields":[{"name":"z","type":"int"}]}"#;
    let plan = bare(&writer, &format!("reader_schema = '''{missing}'''"));
    assert_eq!(
        one(&*plan, &[2, 2, b'x', 6]),
        "format malformed: the value: `z` of `R` is not written and has no default"
    );
    let narrow = record(&field("old", "\"int\""));
    let plan = bare(&writer, &format!("reader_schema = '''{narrow}'''"));
    assert_eq!(
        one(&*plan, &[2, 2, b'x', 6]),
        "format malformed: `old`: the writer's long cannot be read as the reader's int"
    );
    let symbols = |list: &str, default: &str| {
        record(&field("s", &format!(r#"{{"type":"enum","name":"E","symbols":[{list}]{default}}}"#)))
    };
    let (writer, reader) =
        (symbols("\"A\",\"B\"", ""), symbols("\"A\",\"X\"", ",\"default\":\"X\""));
    let plan = bare(&writer, &format!("reader_schema = '''{reader}'''"));
    assert_eq!(
        told(&*plan, vec![(None, Some(vec![0])), (None, Some(vec![2]))]),
        ["s='A'", "s='X'"]
    );
    let plan = bare(&writer, &format!("reader_schema = '''{}'''", symbols("\"A\"", "")));
    assert_eq!(
        one(&*plan, &[2]),
        "format malformed: `s`: the writer's symbol is none of the reader's"
    );
}

#[test]
fn single_objects_name_their_schema_by_its_fingerprint() {
    let folder = std::env::temp_dir().join(format!("bridge-avro-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("int.avsc"), "\"int\"").expect("a file");
    std::fs::write(folder.join("text.avsc"), "\"string\"").expect("a file");
    let mut plan = plan("framing = \"single_object\"\nschema_file = [\"int.avsc\", \"text.avsc\"]");
    plan.rebase(&folder);
    let print = fingerprint::fingerprint(&schema::Schema::parse("\"int\"", []).expect("one"));
    let mut value = vec![0xc3, 0x01];
    value.extend_from_slice(&print.to_le_bytes());
    value.push(4);
    assert_eq!(one(&*plan, &value), "value=2i");
    value[2] ^= 1;
    assert!(one(&*plan, &value).starts_with("format unknown-schema: none of schema_file has"));
    let said = one(&*plan, &[4]);
    assert_eq!(
        said,
        "format malformed: the value does not begin with c3 01 and its schema's fingerprint"
    );
    std::fs::remove_dir_all(&folder).expect("it was there");
    let gone = super::tests::plan("framing = \"bare\"\nschema_file = \"no/such.avsc\"");
    let said = one(&*gone, &[4]);
    assert!(said.starts_with("Operator: reading the schema no/such.avsc"), "{said}");
}

#[test]
fn mistakes_stand_at_their_keys() {
    let check = |toml: &str, key: &str, words: &str| {
        let section = Section::new("value", toml.parse().expect("it is TOML"));
        let mistake = (KIND.parse)(&section).map(|_| ()).expect_err("it is one");
        assert_eq!(mistake.path, format!("value.{key}"), "{}", mistake.message);
        assert!(mistake.message.contains(words), "{}", mistake.message);
    };
    check("", "registry", "need a `registry`");
    check("registry = {}", "registry", "needs its address");
    check("registry.url = \"localhost:8081\"", "registry.url", "no address");
    check("registry.url = \"http://x\"\nschema = '\"int\"'", "schema", "from the registry");
    check("framing = \"bare\"", "schema_file", "must be given");
    check("framing = \"bare\"\nschema = '{'", "schema", "not JSON");
    check("framing = \"bare\"\nschema_file = [\"a\", \"b\"]", "schema_file", "all have one");
    check("framing = \"bare\"\nschema = '\"int\"'\nsubject = \"x\"", "subject", "is for framing");
    check("registry.url = \"http://x\"\nschema_version = 0", "schema_version", "from 1 on");
    check("registry.url = \"http://x\"\nsubject = \"s\"", "subject", "needs a `schema_version`");
    check("registry = { url = \"http://x\", username = \"u\" }", "registry.username", "password");
    check("registry = { url = \"http://x\", tls_key = \"k\" }", "registry.tls_key", "certificate");
}

/// A value framed as Confluent's serializers do.
fn framed(id: u32, body: &[u8]) -> Vec<u8> {
    [&[0], &id.to_be_bytes()[..], body].concat()
}

#[test]
fn a_schema_that_changes_adds_columns_and_is_asked_for_once() {
    let (one, two) = (field("a", "\"int\""), field("b", "[\"null\",\"string\"]"));
    let (v1, v2) = (record(&one), record(&format!("{one},{two}")));
    let registry = Fake::start();
    registry.put("/schemas/ids/1", Reply::schema(&v1));
    registry.put("/schemas/ids/70000", Reply::schema(&v2));
    let plan = plan(&format!("registry.url = \"{}\"", registry.url()));
    let pairs = [framed(1, &[2]), framed(70_000, &[4, 2, 2, b'x']), framed(1, &[6])];
    let pairs = pairs.into_iter().map(|value| (None, Some(value))).collect::<Vec<_>>();
    let context = context();
    let (mut lane, mut other) = (plan.decoder(&context), plan.decoder(&context));
    for decoder in [&mut lane, &mut other] {
        assert_eq!(tell(&mut **decoder, &context, pairs.clone()), ["a=1i", "a=2i b=\"x\"", "a=3i"]);
    }
    assert_eq!(registry.asked(), ["/schemas/ids/1", "/schemas/ids/70000"]);
}

#[test]
fn what_the_registry_does_not_have_is_the_records_fault() {
    let registry = Fake::start();
    registry.put("/schemas/ids/2", Reply::schema("\"nope\""));
    registry.put(
        "/schemas/ids/3",
        Reply::Json(200, r#"{"schemaType":"PROTOBUF","schema":"x"}"#.into()),
    );
    let plan = plan(&format!("registry.url = \"{}\"", registry.url()));
    let values =
        [framed(9, &[2]), framed(2, &[]), framed(3, &[]), b"{}".to_vec(), vec![0, 1], vec![]];
    let told = told(&*plan, values.into_iter().map(|value| (None, Some(value))).collect());
    assert_eq!(
        told,
        [
            "format unknown-schema: the registry says: Schema 9 not found",
            "format malformed: schema 2 of the registry: there is no type `nope`",
            "format malformed: schema 3 of the registry: it is PROTOBUF, and not Avro",
            "format malformed: the value begins with no schema id, but with a bracket: is it JSON?",
            "format malformed: 2 bytes are too few for a schema's id",
            "format empty: the value has no bytes",
        ]
    );
}

#[test]
fn values_may_be_read_as_a_version_of_their_topic() {
    let (v1, v2) = (
        record(&field("a", "\"int\"")),
        r#"{"type":"record","name":"R","fields":[
        {"name":"a","type":"long"},{"name":"b","type":"string","default":"-"}]}"#,
    );
    let registry = Fake::start();
    registry.put("/schemas/ids/1", Reply::schema(&v1));
    registry.put("/subjects/sensors-value/versions/latest", Reply::schema(v2));
    let url = registry.url();
    let latest = plan(&format!("registry.url = \"{url}\"\nschema_version = \"latest\""));
    let value = framed(1, &[2]);
    assert_eq!(one(&*latest, &value), "a=1i b=\"-\"");
    let third = plan(&format!("registry.url = \"{url}\"\nschema_version = 3\nsubject = \"s/x\""));
    let said = one(&*third, &value);
    assert!(said.starts_with("Operator: reading sensors as version 3 of s/x"), "{said}");
    assert_eq!(registry.asked().last().map(String::as_str), Some("/subjects/s%2Fx/versions/3"));
}

#[test]
fn nothing_grows_in_steady_state() {
    let plan = bare(oracle::SENSOR, "");
    let value = oracle::sensor();
    let context = context();
    let mut decoder = plan.decoder(&context);
    let records = batch((0..1_000).map(|_| (None, Some(value.clone()))).collect());
    let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
    let mut rooms = || {
        rows.clear();
        decoder.decode(&records, &mut rows, &mut rejects).expect("only records are at fault");
        assert_eq!((rows.rows.len(), rejects.is_empty()), (1_000, true));
        (rows.rows.capacity(), rows.cells.capacity(), rows.arena.capacity())
    };
    let first = rooms();
    assert_eq!((rooms(), rooms()), (first, first));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let list = r#"["null",{"type":"record","name":"L","fields":[{"name":"v","type":
            {"type":"array","items":{"type":"map","values":["int","string","L"]}}},
            {"name":"m","type":{"type":"map","values":["null","L","double"]}}]}]"#;
        let said = one(&*bare(list, ""), &bytes);
        prop_assert!(!said.starts_with("Us"), "{said}");
    }

    #[test]
    fn no_schema_makes_it_panic(text in ".{0,200}") {
        let _ = schema::Schema::parse(&text, []);
    }
}
