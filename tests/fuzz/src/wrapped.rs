//! Values that hold others: behind the id of a schema, or compressed.

use std::sync::Arc;

use bridge::batch::RowBatch;
use bridge::config::Section;
use bridge::format::{Admission, Compression, DecoderContext, KINDS, KeyPlan, NullValue};
use bridge::names::Names;
use bridge::reject::Rejects;

use super::{batch, decoder, tell_rows};

/// A schema that is hard on a library of regular expressions.
const JSON_SCHEMA: &str = r#"schema = '''{"properties":{"a":{"type":["integer","null"]},
    "b":{"pattern":"^(x+)+$"}},"maxProperties":3}'''"#;

/// Bytes to rows behind the id of a schema: the first byte picks whether they are checked. Against
/// the format `json`, which reads what follows the id; checked, a value may only be refused.
pub fn decode_json_schema(bytes: &[u8]) {
    let Some((first, body)) = bytes.split_first() else { return };
    let options = if first & 1 == 0 { "" } else { JSON_SCHEMA };
    let value = [&[0, 0, 0, 0, *first][..], body].concat();
    let told = |kind: &str, options: &str, value: &[u8]| {
        let (mut format, names) = decoder(kind, options, KeyPlan::Ignore);
        let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
        let batch = batch(vec![value.to_vec()]);
        format.decode(&batch, &mut rows, &mut rejects).expect("only records are at fault");
        assert_eq!(rows.rows.len() + rejects.found.len(), 1, "a row or a reject");
        let mut told = vec![String::new()];
        tell_rows(&rows, &names, &mut told);
        told.extend(rejects.found.into_iter().map(|(.., detail)| detail));
        told
    };
    let (own, json) = (told("json-schema", options, &value), told("json", "", body));
    let is_refused = own[0].is_empty() && options == JSON_SCHEMA;
    assert!(own == json || is_refused, "{own:?} is not {json:?}");
    // Without its head a value is whatever it is; nothing breaks.
    told("json-schema", &format!("framing = 'optional'\n{options}"), body);
}

pub fn json_schema_seeds() -> Vec<Vec<u8>> {
    let texts = [r#"{"a":1,"b":"xxxxxxxxxxxxxxxx!"}"#, r#"{"a":null,"c":[1,2],"d":{"e":0}}"#, "[]"];
    let seeds = |first: u8| texts.map(|text| [&[first][..], text.as_bytes()].concat());
    [0, 1].into_iter().flat_map(seeds).collect()
}

/// How values may be compressed, and what one of `{"a":1}` or so looks like then.
const PACKED: [(Compression, &[u8]); 5] = [
    (
        Compression::Gzip,
        b"\x1f\x8b\x08\0\0\0\0\0\x02\x03\xabVJT\xb22\xd4QJR\xb2R\xaa@\x07J\xb5\0)\x02\x860\x1f\0\0\0",
    ),
    (Compression::Zstd, b"\x28\xb5\x2f\xfd\x20\x07\x39\0\0{\"a\":1}"),
    (Compression::Snappy, b"\x0e\x18{\"a\":1}\x19\x07"),
    (Compression::Snappy, b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x09\x07\x18{\"a\":1}"),
    (Compression::Lz4, b"\x04\x22\x4d\x18\x60\x40\x82\x07\0\0\x80{\"a\":1}\0\0\0\0"),
];

/// Bytes that may be compressed: unpacked to no more than is allowed, or refused with a word.
pub fn decode_packed(bytes: &[u8]) {
    const MAX: usize = 10_000;
    let Some((first, value)) = bytes.split_first() else { return };
    let (compression, _) = PACKED[usize::from(*first) % PACKED.len()];
    let raw = KINDS.iter().find(|kind| kind.name == "raw").expect("it is a kind");
    let section = Section::new("value", "".parse().expect("our own TOML"));
    let raw = (raw.parse)(&section).unwrap_or_else(|mistake| panic!("{}", mistake.message));
    let plan = compression.of(raw, MAX);
    let names = Arc::new(Names::default());
    let admission = Admission { null_value: NullValue::Skip, record_bytes_max: MAX };
    let context = DecoderContext { names, key: KeyPlan::Ignore, admission };
    let mut format = plan.decoder(&context);
    let batch = batch(vec![value.to_vec(); 3]);
    let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
    format.decode(&batch, &mut rows, &mut rejects).expect("only records are at fault");
    assert_eq!(rows.rows.len() + rejects.found.len(), 3, "a row or a reject");
    // What is no text is written as base64.
    assert!(rows.arena.len() <= 3 * (MAX * 4 / 3 + 4), "{} bytes", rows.arena.len());
    assert!(rejects.found.iter().all(|(.., detail)| !detail.is_empty()), "not a word");
}

pub fn packed_seeds() -> Vec<Vec<u8>> {
    let seed = |(at, (_, value)): (usize, &(Compression, &[u8]))| [&[at as u8][..], value].concat();
    PACKED.iter().enumerate().map(seed).collect()
}
