//! `large`: log records of 4 KB: a few fields, and a text of lines with escaped line ends.

use std::io::Write;

use super::{Scenario, filter, noise, ts_us};

/// About the length of the text.
const TEXT_BYTES: usize = 3_950;
const LINES: [&str; 8] = [
    "connection to upstream was closed before the answer was complete, trying again",
    "at com.example.orders.Checkout.place(Checkout.java:214)",
    "at com.example.orders.Checkout.lambda$retry$7(Checkout.java:388)",
    "caused by: the lock was held for longer than its lease, by another node",
    "request 7f3a61 took 1840 ms, of which 1711 ms were spent waiting for the pool",
    "Prüfsumme weicht ab, der Block wird neu gelesen",
    "garbage collector: pause young (normal) 412M -> 96M (1024M) 7.431 ms",
    "at java.base/java.util.concurrent.ThreadPoolExecutor.runWorker(ThreadPoolExecutor.java:1144)",
];

pub(crate) struct Large;

impl Scenario for Large {
    fn name(&self) -> &'static str {
        "large"
    }

    fn write(&self, seq: u64, key: &mut Vec<u8>, value: &mut Vec<u8>) {
        write_of(TEXT_BYTES, seq, key, value);
    }

    fn columns(&self) -> String {
        "ts TIMESTAMP, source SYMBOL, seq LONG, load DOUBLE, ok BOOLEAN, text VARCHAR".to_owned()
    }

    fn transforms(&self) -> String {
        filter("load")
    }

    fn table(&self) -> String {
        "timestamp = { field = \"ts\", unit = \"us\" }\nsymbols = [\"source\"]\n".to_owned()
    }
}

/// Writes a record whose text has at least so many bytes, and at most a line more.
pub(super) fn write_of(text_bytes: usize, seq: u64, key: &mut Vec<u8>, value: &mut Vec<u8>) {
    let noise_of = |line: u64| noise(seq.wrapping_mul(64) + line);
    let source = noise(seq) % 200;
    key.clear();
    value.clear();
    write!(key, "node-{source:03}")
        .and_then(|()| {
            write!(
                value,
                "{{\"ts\":{},\"source\":\"node-{source:03}\",\"seq\":{seq},\"load\":0.{:03},\
                 \"ok\":{},\"text\":\"",
                ts_us(seq),
                noise_of(0) % 1_000,
                !seq.is_multiple_of(3)
            )
        })
        .expect("a vector takes any bytes");
    let end = value.len() + text_bytes;
    for line in 1.. {
        value.extend_from_slice(LINES[(noise_of(line) % LINES.len() as u64) as usize].as_bytes());
        if value.len() >= end {
            break;
        }
        value.extend_from_slice(b"\\n");
    }
    value.extend_from_slice(b"\"}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_four_kilobytes() {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        for seq in [0, 1, 77, 1_234_567] {
            Large.write(seq, &mut key, &mut value);
            assert!((3_950..4_150).contains(&value.len()), "{} bytes", value.len());
            let read: serde_json::Value = serde_json::from_slice(&value).expect("it is JSON");
            assert!(read["text"].as_str().is_some_and(|text| text.lines().count() > 40));
        }
    }
}
