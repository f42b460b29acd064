//! `tiny`: records of 40 bytes and 3 fields; the row's time is Kafka's.

use std::io::Write;

use super::{Scenario, filter, noise};

pub(crate) struct Tiny;

impl Scenario for Tiny {
    fn name(&self) -> &'static str {
        "tiny"
    }

    fn write(&self, seq: u64, key: &mut Vec<u8>, value: &mut Vec<u8>) {
        let noise = noise(seq);
        let (id, whole, cents) = (noise % 1_000, 10 + noise / 7 % 30, noise / 11 % 100);
        key.clear();
        value.clear();
        write!(key, "s-{id:05}")
            .and_then(|()| {
                write!(value, "{{\"seq\":{seq},\"t\":{whole}.{cents:02},\"id\":\"s-{id:05}\"}}")
            })
            .expect("a vector takes any bytes");
    }

    fn columns(&self) -> String {
        "timestamp TIMESTAMP, id SYMBOL, seq LONG, t DOUBLE".to_owned()
    }

    fn transforms(&self) -> String {
        filter("t")
    }

    fn table(&self) -> String {
        "timestamp = \"kafka\"\nsymbols = [\"id\"]\n".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_forty_bytes() {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        Tiny.write(1_234_567, &mut key, &mut value);
        assert_eq!(value.len(), 40, "{}", String::from_utf8_lossy(&value));
    }
}
