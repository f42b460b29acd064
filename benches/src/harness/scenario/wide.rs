//! `wide`: 60 fields, about 1.1 KB: 22 doubles, 16 whole numbers with the time and `seq`, 8
//! symbols, 8 booleans and 6 texts, in groups as machines report them.

use std::io::Write;

use super::{Scenario, filter, noise, ts_us};

const DOUBLES: u64 = 22;
/// Besides the time and `seq`.
const LONGS: u64 = 14;
const SYMBOLS: u64 = 8;
const BOOLEANS: u64 = 8;
const TEXTS: u64 = 6;
const STATES: [&str; 7] = ["idle", "running", "blocked", "starved", "setup", "fault", "off"];
const WORDS: [&str; 8] =
    ["spindle", "coolant", "feed", "axis", "pressure low", "door", "tool change", "größe"];

pub(crate) struct Wide;

impl Scenario for Wide {
    fn name(&self) -> &'static str {
        "wide"
    }

    fn write(&self, seq: u64, key: &mut Vec<u8>, value: &mut Vec<u8>) {
        key.clear();
        value.clear();
        write_all(seq, key, value).expect("a vector takes any bytes");
    }

    fn columns(&self) -> String {
        let of = |count, prefix: &str, kind: &str| -> String {
            (0..count).map(|index| format!(", {prefix}_{index:02} {kind}")).collect()
        };
        format!(
            "ts TIMESTAMP, seq LONG{}{}{}{}{}",
            of(SYMBOLS, "state", "SYMBOL"),
            of(DOUBLES, "gauge", "DOUBLE"),
            of(LONGS, "counter", "LONG"),
            of(BOOLEANS, "flag", "BOOLEAN"),
            of(TEXTS, "note", "VARCHAR"),
        )
    }

    fn transforms(&self) -> String {
        filter("gauge_00")
    }

    fn table(&self) -> String {
        let symbols: Vec<String> =
            (0..SYMBOLS).map(|index| format!("\"state_{index:02}\"")).collect();
        format!(
            "timestamp = {{ field = \"ts\", unit = \"us\" }}\nsymbols = [{}]\n",
            symbols.join(", ")
        )
    }
}

fn write_all(seq: u64, key: &mut Vec<u8>, value: &mut Vec<u8>) -> std::io::Result<()> {
    // Every field has a noise of its own.
    let mut field = seq.wrapping_mul(64);
    let mut next = || {
        field = field.wrapping_add(1);
        noise(field)
    };
    write!(key, "machine-{:04}", noise(seq) % 2_000)?;
    write!(value, "{{\"ts\":{},\"seq\":{seq}", ts_us(seq))?;
    for index in 0..SYMBOLS {
        let state = STATES[(next() % STATES.len() as u64) as usize];
        write!(value, ",\"state_{index:02}\":\"{state}\"")?;
    }
    for index in 0..DOUBLES {
        let noise = next();
        write!(value, ",\"gauge_{index:02}\":{}.{:03}", noise % 2_000, noise / 2_000 % 1_000)?;
    }
    for index in 0..LONGS {
        write!(value, ",\"counter_{index:02}\":{}", next() % 10_000_000)?;
    }
    for index in 0..BOOLEANS {
        write!(value, ",\"flag_{index:02}\":{}", next().is_multiple_of(2))?;
    }
    for index in 0..TEXTS {
        let noise = next();
        let word = WORDS[(noise % WORDS.len() as u64) as usize];
        write!(value, ",\"note_{index:02}\":\"{word} {}\"", noise / 8 % 100_000)?;
    }
    value.push(b'}');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_sixty_fields() {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        Wide.write(1_234_567, &mut key, &mut value);
        let read: serde_json::Value = serde_json::from_slice(&value).expect("it is JSON");
        assert_eq!(read.as_object().expect("an object").len(), 60);
        assert!((1_000..1_300).contains(&value.len()), "{} bytes", value.len());
    }
}
