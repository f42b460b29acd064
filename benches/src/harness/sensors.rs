//! The scenario `sensors`: small JSON records of 8 fields, made from their numbers alone, so that
//! the table's count, distinct numbers and sum can be known beforehand.

use std::io::Write;

/// The table and the topic.
pub const NAME: &str = "sensors";
/// Partitions of the topic.
pub const PARTITIONS: i32 = 4;
/// Sensors, and so keys.
const SENSORS: u64 = 1_000;
const SITES: [&str; 5] = ["berlin", "hamburg", "paris", "lisbon", "new york"];
/// The timestamp of number 0, microseconds since 1970; each record is a microsecond later.
const TS_BASE_US: u64 = 1_700_000_000_000_000;

/// The columns besides those of `verify`; `fahrenheit` is the computed one.
const COLUMNS: &str = "ts TIMESTAMP, sensor SYMBOL, site SYMBOL, temperature DOUBLE, \
                       humidity DOUBLE, pressure DOUBLE, seq LONG, ok BOOLEAN, fahrenheit DOUBLE";
/// Where a row comes from, which `verify` counts by.
const METADATA: &str = ", kafka_topic SYMBOL, kafka_partition INT, kafka_offset LONG, \
                        kafka_row INT";

/// The statement that makes the table.
pub fn create_table(metadata: bool) -> String {
    let metadata = if metadata { METADATA } else { "" };
    format!("CREATE TABLE {NAME} ({COLUMNS}{metadata}) TIMESTAMP(ts) PARTITION BY HOUR WAL")
}

/// The pipeline's parts that belong to the records: a filter that is evaluated on all and keeps
/// all, one computed column, and the table.
pub fn pipeline(metadata: bool) -> String {
    format!(
        "[[pipeline.bench.transform]]
module = \"drop_cold.wasm\"
config = {{ min_celsius = -100.0 }}
[[pipeline.bench.transform]]
module = \"enrich_route.wasm\"
config = {{ alarm_above = 1000.0 }}
[pipeline.bench.table]
name = \"{NAME}\"
timestamp = {{ field = \"ts\", unit = \"us\" }}
symbols = [\"sensor\", \"site\"]
columns = {{ temperature = \"double\", humidity = \"double\", pressure = \"double\", seq = \"long\" }}
metadata = {metadata}
"
    )
}

/// The numbers 0 to `records` - 1, added up.
pub fn sum_of_seq(records: u64) -> u64 {
    records * records.saturating_sub(1) / 2
}

/// Writes the key and the value of one record over what the buffers held.
pub fn write(seq: u64, key: &mut Vec<u8>, value: &mut Vec<u8>) {
    // Multiplied by an odd constant and cut: neighbours are scattered, and every run is the same.
    let noise = seq.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let sensor = noise % SENSORS;
    let (ts, site) = (TS_BASE_US + seq, SITES[(sensor % SITES.len() as u64) as usize]);
    let (celsius, cents) = (5 + noise / 7 % 30, noise / 11 % 100);
    let (humidity, pressure) = (200 + noise / 13 % 700, 9_800 + noise / 17 % 500);
    key.clear();
    value.clear();
    let written = write!(key, "s-{sensor:05}").and_then(|()| {
        write!(
            value,
            "{{\"ts\":{ts},\"sensor\":\"s-{sensor:05}\",\"site\":\"{site}\",\
             \"temperature\":{celsius}.{cents:02},\"humidity\":{}.{},\"pressure\":{}.{},\
             \"seq\":{seq},\"ok\":{}}}",
            humidity / 10,
            humidity % 10,
            pressure / 10,
            pressure % 10,
            !seq.is_multiple_of(3)
        )
    });
    written.expect("a vector takes any bytes");
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn records_are_as_described() {
        const COUNT: u64 = 20_000;
        let (mut key, mut value) = (Vec::new(), Vec::new());
        let (mut bytes, mut sum, mut keys) = (0, 0, HashSet::new());
        // Numbers of seven digits, as most have in a full run.
        for seq in 2_000_000..2_000_000 + COUNT {
            write(seq, &mut key, &mut value);
            let read: serde_json::Value = serde_json::from_slice(&value).expect("it is JSON");
            assert_eq!(read.as_object().expect("an object").len(), 8);
            assert_eq!(read["sensor"].as_str().expect("text").as_bytes(), key);
            let celsius = read["temperature"].as_f64().expect("a number");
            assert!((5.0..35.0).contains(&celsius), "the filter keeps {celsius}");
            bytes += value.len() as u64;
            sum += read["seq"].as_u64().expect("a number");
            keys.insert(key.clone());
        }
        assert_eq!(sum, sum_of_seq(2_000_000 + COUNT) - sum_of_seq(2_000_000));
        assert_eq!(keys.len() as u64, SENSORS);
        let mean = bytes as f64 / COUNT as f64;
        assert!((132.0..138.0).contains(&mean), "{mean} bytes");
    }
}
