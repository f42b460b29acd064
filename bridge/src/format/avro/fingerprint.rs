//! A schema's parsing canonical form and its CRC-64-AVRO (Avro specification 1.12, "Parsing
//! Canonical Form for Schemas", "Schema Fingerprints"): what a single-object value names its
//! writer's schema by.

use std::collections::HashSet;

use super::schema::{Form, Name, Schema};

/// The fingerprint of no bytes, and the polynomial.
const EMPTY: u64 = 0xc15d_213a_a4d7_a795;

/// The fingerprint of a schema.
pub fn fingerprint(schema: &Schema) -> u64 {
    let (mut text, mut seen) = (String::new(), HashSet::new());
    write(schema, schema.root, &mut text, &mut seen);
    crc64(text.as_bytes())
}

/// CRC-64-AVRO.
fn crc64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(EMPTY, |crc, byte| {
        let mut entry = (crc ^ u64::from(*byte)) & 0xff;
        for _ in 0..8 {
            entry = (entry >> 1) ^ (EMPTY & (entry & 1).wrapping_neg());
        }
        (crc >> 8) ^ entry
    })
}

/// The canonical form of a type; a named one is written out where it stands first.
fn write<'a>(schema: &'a Schema, id: usize, out: &mut String, seen: &mut HashSet<&'a str>) {
    let mut named = |name: &'a Name, out: &mut String| -> bool {
        let first = seen.insert(&name.full);
        if first {
            out.push_str("{\"name\":");
            push_string(out, &name.full);
        } else {
            push_string(out, &name.full);
        }
        first
    };
    match &schema.types[id].form {
        Form::Fixed { name, size } => {
            if named(name, out) {
                out.push_str(&format!(",\"type\":\"fixed\",\"size\":{size}}}"));
            }
        }
        Form::Enum { name, symbols, .. } => {
            if named(name, out) {
                out.push_str(",\"type\":\"enum\",\"symbols\":[");
                for (index, symbol) in symbols.iter().enumerate() {
                    comma(out, index);
                    push_string(out, symbol);
                }
                out.push_str("]}");
            }
        }
        Form::Record { name, fields } => {
            if named(name, out) {
                out.push_str(",\"type\":\"record\",\"fields\":[");
                for (index, field) in fields.iter().enumerate() {
                    comma(out, index);
                    out.push_str("{\"name\":");
                    push_string(out, &field.name);
                    out.push_str(",\"type\":");
                    write(schema, field.of, out, seen);
                    out.push('}');
                }
                out.push_str("]}");
            }
        }
        Form::Array(item) => {
            out.push_str("{\"type\":\"array\",\"items\":");
            write(schema, *item, out, seen);
            out.push('}');
        }
        Form::Map(value) => {
            out.push_str("{\"type\":\"map\",\"values\":");
            write(schema, *value, out, seen);
            out.push('}');
        }
        Form::Union(branches) => {
            out.push('[');
            for (index, branch) in branches.iter().enumerate() {
                comma(out, index);
                write(schema, *branch, out, seen);
            }
            out.push(']');
        }
        primitive => push_string(out, primitive.word()),
    }
}

fn comma(out: &mut String, index: usize) {
    if index > 0 {
        out.push(',');
    }
}

fn push_string(out: &mut String, text: &str) {
    out.push('"');
    out.push_str(text);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_those_of_the_reference() {
        let record = r#"{"type":"record","name":"R","namespace":"a.b","doc":"x","fields":[
            {"name":"x","type":{"type":"long"},"default":0},
            {"name":"e","type":{"type":"enum","name":"E","symbols":["A","B"],"default":"A"}},
            {"name":"f","type":{"type":"fixed","name":"o.F","size":16}},
            {"name":"m","type":{"type":"map","values":["null","E",{"type":"array","items":"o.F"}]}},
            {"name":"r","type":["null","R"],"default":null}]}"#;
        for text in ["\"int\"", "\"string\"", r#"{"type":"array","items":"long"}"#, record] {
            let theirs = apache_avro::Schema::parse_str(text).expect("a schema");
            let theirs = theirs.fingerprint::<apache_avro::rabin::Rabin>();
            let ours = fingerprint(&Schema::parse(text, []).expect("a schema"));
            assert_eq!(ours.to_le_bytes().as_slice(), theirs.bytes, "{text}");
        }
    }

    /// The reference leaves such a type `{"type":"long"}`; the specification makes it `"long"`.
    #[test]
    fn what_a_type_means_is_not_in_its_fingerprint() {
        let print = |text| fingerprint(&Schema::parse(text, []).expect("a schema"));
        let millis = r#"{"type":"long","logicalType":"timestamp-millis"}"#;
        assert_eq!(print(millis), print("\"long\""));
    }

    #[test]
    fn the_specification_knows_the_fingerprint_of_int() {
        let schema = Schema::parse("\"int\"", []).expect("a schema");
        assert_eq!(fingerprint(&schema), 0x7275_d51a_3f39_5c8f);
    }
}
