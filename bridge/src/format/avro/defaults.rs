//! A field's default, from the schema's JSON into Avro's own encoding, so that it is read as what
//! a writer might have written (Avro specification 1.12, "Complex Types", `default`).

use serde_json::Value;

use super::schema::{Form, Schema, Wrong};

/// Defaults within one another; a type that holds itself could go on for ever.
const DEPTH_MAX: usize = 32;
/// Values that are looked at for one default, for a union may have many to try.
const VALUES_MAX: usize = 10_000;

/// The encoding of `value` as the type `id`.
pub fn encode(schema: &Schema, id: usize, value: &Value) -> Result<Vec<u8>, Wrong> {
    let (mut out, mut left) = (Vec::new(), VALUES_MAX);
    push((schema, id), value, &mut out, &mut left, 0)?;
    Ok(out)
}

fn push(
    (schema, id): (&Schema, usize),
    value: &Value,
    out: &mut Vec<u8>,
    left: &mut usize,
    depth: usize,
) -> Result<(), Wrong> {
    let form = &schema.types[id].form;
    let wrong = || format!("`{}` is no {}", shortened(value), form.word());
    if depth > DEPTH_MAX || *left == 0 {
        return Err("it is too deep, or too large".to_owned());
    }
    *left -= 1;
    let depth = depth + 1;
    match form {
        Form::Array(item) => {
            let items = value.as_array().ok_or_else(wrong)?;
            block(items.len(), out);
            for value in items {
                push((schema, *item), value, out, left, depth)?;
            }
            out.push(0);
        }
        Form::Map(item) => {
            let entries = value.as_object().ok_or_else(wrong)?;
            block(entries.len(), out);
            for (key, value) in entries {
                counted(key.as_bytes(), out);
                push((schema, *item), value, out, left, depth)?;
            }
            out.push(0);
        }
        Form::Record { fields, .. } => {
            let entries = value.as_object().ok_or_else(wrong)?;
            for field in fields {
                let value = entries.get(&field.name).or(field.default.as_ref());
                let missing = || format!("`{}` is missing", field.name);
                push((schema, field.of), value.ok_or_else(missing)?, out, left, depth)?;
            }
        }
        Form::Union(branches) => {
            // Before 1.12 it was the first branch; a value that fits no other is still that.
            let start = out.len();
            let fits = branches.iter().enumerate().any(|(index, branch)| {
                out.truncate(start);
                long(index as i64, out);
                push((schema, *branch), value, out, left, depth).is_ok()
            });
            if !fits {
                return Err(wrong());
            }
        }
        _ => return single(form, value, out).ok_or_else(wrong),
    }
    Ok(())
}

/// The same of a type without parts; `None` if the value is none of it.
fn single(form: &Form, value: &Value, out: &mut Vec<u8>) -> Option<()> {
    match form {
        Form::Null => value.as_null()?,
        Form::Boolean => out.push(u8::from(value.as_bool()?)),
        Form::Int => long(value.as_i64().filter(|n| i32::try_from(*n).is_ok())?, out),
        Form::Long => long(value.as_i64()?, out),
        Form::Float => out.extend_from_slice(&(value.as_f64()? as f32).to_le_bytes()),
        Form::Double => out.extend_from_slice(&value.as_f64()?.to_le_bytes()),
        Form::String => counted(value.as_str()?.as_bytes(), out),
        Form::Bytes => counted(&bytes(value)?, out),
        Form::Fixed { size, .. } => {
            out.extend_from_slice(&bytes(value).filter(|bytes| bytes.len() == *size)?);
        }
        Form::Enum { symbols, .. } => {
            let symbol = value.as_str()?;
            long(symbols.iter().position(|known| known == symbol)? as i64, out);
        }
        Form::Array(_) | Form::Map(_) | Form::Record { .. } | Form::Union(_) => return None,
    }
    Some(())
}

/// Bytes are written as text whose letters are below 256.
fn bytes(value: &Value) -> Option<Vec<u8>> {
    value.as_str()?.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}

fn counted(bytes: &[u8], out: &mut Vec<u8>) {
    long(bytes.len() as i64, out);
    out.extend_from_slice(bytes);
}

fn block(count: usize, out: &mut Vec<u8>) {
    if count > 0 {
        long(count as i64, out);
    }
}

/// Zigzag, seven bits a byte, the lowest first.
fn long(value: i64, out: &mut Vec<u8>) {
    let mut left = ((value << 1) ^ (value >> 63)) as u64;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

/// A value as it is shown: the schema's author knows the rest.
fn shortened(value: &Value) -> String {
    value.to_string().chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(schema: &str, value: &str) -> Result<Vec<u8>, Wrong> {
        let schema = Schema::parse(schema, []).expect("a schema");
        let value = serde_json::from_str(value).expect("JSON");
        encode(&schema, schema.root, &value)
    }

    #[test]
    fn defaults_are_encoded_as_a_writer_would() {
        let check = |schema: &str, value: &str, bytes: &[u8]| {
            assert_eq!(encoded(schema, value).as_deref(), Ok(bytes), "{schema} {value}");
        };
        check("\"null\"", "null", &[]);
        check("\"int\"", "-65", &[0x81, 0x01]);
        check("\"bytes\"", "\"\\u00ff\"", &[2, 0xff]);
        check(r#"["null","string"]"#, "null", &[0]);
        check(r#"["null","string"]"#, "\"a\"", &[2, 2, b'a']);
        check(r#"{"type":"array","items":"int"}"#, "[1,2]", &[4, 2, 4, 0]);
        check(r#"{"type":"map","values":"int"}"#, "{}", &[0]);
        check(r#"{"type":"enum","name":"E","symbols":["A","B"]}"#, "\"B\"", &[2]);
        let record = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},
            {"name":"b","type":"boolean","default":true}]}"#;
        check(record, r#"{"a":1}"#, &[2, 1]);
        assert_eq!(encoded(record, "{}"), Err("`a` is missing".to_owned()));
        assert_eq!(encoded("\"int\"", "\"x\""), Err("`\"x\"` is no int".to_owned()));
    }

    #[test]
    fn a_default_that_never_ends_is_refused() {
        let own = r#"{"type":"record","name":"R","fields":[{"name":"r","type":"R","default":{}}]}"#;
        assert!(encoded(own, "{}").is_err());
    }
}
