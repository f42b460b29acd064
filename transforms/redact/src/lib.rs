//! Takes from columns what must not be stored: hashed, masked or dropped. When in doubt it takes
//! more: a value that cannot be masked becomes null, never itself.

use bridge_transform::{Column, Draft, Init, Output, Record, Transform, Value, count, transform};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// `config = { key = "${file:redact.key}", hash = ["user"], mask = [{ column = "card", last = 4 }],
/// drop = ["password"] }`
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The secret of the hashes.
    key: Option<String>,
    #[serde(default)]
    hash: Vec<String>,
    #[serde(default)]
    mask: Vec<MaskOptions>,
    #[serde(default)]
    drop: Vec<String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct MaskOptions {
    column: String,
    /// How many characters stay at the start and at the end.
    #[serde(default)]
    first: usize,
    #[serde(default)]
    last: usize,
    #[serde(default = "star")]
    with: char,
}

fn star() -> char {
    '*'
}

/// Below this a key can be guessed by trying.
const KEY_BYTES_MIN: usize = 16;
/// Hexadecimal digits of a hash: 128 of its bits, so that no two values share one by accident.
const HASH_DIGITS: usize = 32;

struct Mask {
    column: Column,
    first: usize,
    last: usize,
    with: char,
}

struct Redact {
    /// Its state after the key, copied for each value.
    hasher: Option<Hmac<Sha256>>,
    hash: Vec<Column>,
    mask: Vec<Mask>,
    drop: Vec<Column>,
    /// Where a value is written before it is hashed, or masked.
    text: String,
}

impl Transform for Redact {
    fn init(init: &mut Init) -> Result<Self, String> {
        let Options { key, hash, mask, drop } = init.config()?;
        if hash.is_empty() && mask.is_empty() && drop.is_empty() {
            return Err("reading config: expected `hash`, `mask` or `drop`".to_owned());
        }
        let hasher = match (key, hash.is_empty()) {
            (_, true) => None,
            (None, false) => {
                return Err(
                    "reading config: `hash` needs a `key`: without one anybody who tries all \
                            names finds the one behind a hash"
                        .to_owned(),
                );
            }
            (Some(key), false) if key.len() < KEY_BYTES_MIN => {
                return Err(format!("reading config: `key` has fewer than {KEY_BYTES_MIN} bytes"));
            }
            (Some(key), false) => {
                let hasher = Hmac::new_from_slice(key.as_bytes());
                Some(hasher.map_err(|_| "reading config: `key` cannot be used".to_owned())?)
            }
        };
        let names = hash.iter().chain(mask.iter().map(|mask| &mask.column)).chain(&drop);
        let names: Vec<&String> = names.collect();
        if let Some(twice) = (1..names.len()).find(|at| names[..*at].contains(&names[*at])) {
            return Err(format!("reading config: column `{}` is named twice", names[twice]));
        }
        let mut column = |name: &String| init.column(name);
        Ok(Redact {
            hasher,
            hash: hash.iter().map(&mut column).collect(),
            drop: drop.iter().map(&mut column).collect(),
            mask: mask
                .iter()
                .map(|mask| Mask {
                    column: column(&mask.column),
                    first: mask.first,
                    last: mask.last,
                    with: mask.with,
                })
                .collect(),
            text: String::new(),
        })
    }

    fn record(&mut self, record: &Record, out: &mut Output) {
        let mut patch = out.patch();
        for column in &self.drop {
            patch = patch.drop(*column);
        }
        for mask in &self.mask {
            patch = match record.get(mask.column) {
                None | Some(Value::Null) => patch,
                Some(Value::Text(text) | Value::Symbol(text)) => {
                    mask.write(text, &mut self.text);
                    patch.set_text(mask.column, &self.text)
                }
                Some(_) => {
                    count("redact_no_text", 1.0);
                    patch.set_null(mask.column)
                }
            };
        }
        if let Some(hasher) = &self.hasher {
            for column in &self.hash {
                let Some(value) = record.get(*column).filter(|value| *value != Value::Null) else {
                    continue;
                };
                patch = hashed(patch, *column, value, hasher, &mut self.text);
            }
        }
        patch.done();
    }
}

impl Mask {
    /// The text with all but its ends covered. Where only the ends would be left, nothing is.
    fn write(&self, text: &str, to: &mut String) {
        to.clear();
        let characters = text.chars().count();
        let shows = self.first.saturating_add(self.last) < characters;
        for (index, letter) in text.chars().enumerate() {
            let is_end = index < self.first || characters - index <= self.last;
            to.push(if shows && is_end { letter } else { self.with });
        }
    }
}

/// The hash of a value in place of it: of its text, so that 5 and `"5"` are the same person.
fn hashed<'o>(
    patch: Draft<'o>,
    column: Column,
    value: Value,
    hasher: &Hmac<Sha256>,
    text: &mut String,
) -> Draft<'o> {
    use std::fmt::Write;
    text.clear();
    // A `String` takes all that is written.
    let bytes = match value {
        Value::Text(value) | Value::Symbol(value) => value.as_bytes(),
        Value::Bytes(bytes) => bytes,
        Value::Array(array) => array.bytes(),
        Value::Decimal { unscaled, scale } => {
            let _ = write!(text, "{unscaled:?}e-{scale}");
            text.as_bytes()
        }
        Value::I64(value) => {
            let _ = write!(text, "{value}");
            text.as_bytes()
        }
        Value::F64(value) => {
            let _ = write!(text, "{value}");
            text.as_bytes()
        }
        Value::Bool(value) => {
            let _ = write!(text, "{value}");
            text.as_bytes()
        }
        Value::Timestamp(since_1970, unit) => {
            let _ = write!(text, "{since_1970} {unit:?}");
            text.as_bytes()
        }
        Value::Null | Value::Drop => return patch.set_null(column),
    };
    let digest = hasher.clone().chain_update(bytes).finalize().into_bytes();
    let mut digits = [0; HASH_DIGITS];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(digest) {
        pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
        pair[1] = b"0123456789abcdef"[usize::from(byte & 15)];
    }
    patch.set_text(column, std::str::from_utf8(&digits).expect("digits are text"))
}

transform!(Redact);

#[cfg(test)]
mod tests {
    use super::*;
    use bridge_transform::testing::{Harness, Outcome, TestRecord, TestValue, record};

    const KEY: &str = "0123456789abcdef";

    fn run(config: &str, record: TestRecord) -> Vec<(String, TestValue)> {
        let mut harness = Harness::<Redact>::new(config).expect("starts");
        match harness.run(&[record]).pop() {
            Some(Outcome::Patched { table: None, columns }) => columns,
            other => panic!("not patched: {other:?}"),
        }
    }

    fn only(config: &str, record: TestRecord) -> TestValue {
        let mut columns = run(config, record);
        assert_eq!(columns.len(), 1, "{columns:?}");
        columns.remove(0).1
    }

    #[test]
    fn masks_leave_the_ends() {
        let config = r#"{"mask": [{"column": "c", "first": 1, "last": 4}]}"#;
        let masked = |text: &str| only(config, record! { "c" => text });
        assert_eq!(masked("4111-1111-1111-1234"), "4**************1234".into());
        assert_eq!(masked("éàüöß1234"), "é****1234".into());
        assert_eq!(masked("12345"), "*****".into());
        assert_eq!(masked(""), "".into());
        let all = r#"{"mask": [{"column": "c", "with": "x"}]}"#;
        assert_eq!(only(all, record! { "c" => TestValue::symbol("secret") }), "xxxxxx".into());
    }

    #[test]
    fn what_cannot_be_masked_becomes_null() {
        let config = r#"{"mask": [{"column": "c", "last": 4}]}"#;
        assert_eq!(only(config, record! { "c" => 4111111111111234_i64 }), TestValue::Null);
        assert_eq!(only(config, record! { "c" => vec![1.0] }), TestValue::Null);
        assert_eq!(run(config, record! { "d" => 1 }), []);
    }

    #[test]
    fn hashes_are_hmac_sha_256() {
        // By `openssl dgst -sha256 -hmac 0123456789abcdef`, the first 32 digits.
        let config = format!(r#"{{"hash": ["user"], "key": "{KEY}"}}"#);
        let hash = |value: TestValue| only(&config, TestRecord::default().with("user", value));
        let of_5 = hash(5.into());
        assert_eq!(hash("ann@example.org".into()), ANN.into());
        assert_eq!(of_5, hash("5".into()));
        assert_eq!(of_5, hash(TestValue::symbol("5")));
        assert_ne!(of_5, hash("6".into()));
        assert_eq!(run(&config, record! { "user" => TestValue::Null }), []);
    }

    const ANN: &str = "b2eadfbaaca8f7b30b76563378bedc2f";

    #[test]
    fn columns_are_dropped() {
        let config = r#"{"drop": ["password"]}"#;
        assert_eq!(only(config, record! { "password" => "p", "a" => 1 }), TestValue::Dropped);
    }

    #[test]
    fn a_config_that_would_not_protect_is_refused() {
        let refused = |config: &str| Harness::<Redact>::new(config).err().expect("refused");
        assert!(refused("{}").contains("expected `hash`, `mask` or `drop`"));
        assert!(refused(r#"{"hash": ["a"]}"#).contains("needs a `key`"));
        assert!(refused(r#"{"hash": ["a"], "key": "short"}"#).contains("fewer than 16 bytes"));
        let twice = r#"{"drop": ["a"], "mask": [{"column": "a"}]}"#;
        assert!(refused(twice).contains("`a` is named twice"));
    }
}
