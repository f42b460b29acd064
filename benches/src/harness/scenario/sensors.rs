//! `sensors`: small records of 8 fields, 134 bytes on average, key = sensor.

use std::io::Write;

use super::{Scenario, noise, ts_us};

/// Sensors, and so keys.
pub(super) const SENSORS: u64 = 1_000;
const SITES: [&str; 5] = ["berlin", "hamburg", "paris", "lisbon", "new york"];

pub(crate) struct Sensors;

impl Scenario for Sensors {
    fn name(&self) -> &'static str {
        "sensors"
    }

    fn write(&self, seq: u64, key: &mut Vec<u8>, value: &mut Vec<u8>) {
        write_of(noise(seq) % SENSORS, seq, key, value);
    }

    fn columns(&self) -> String {
        "ts TIMESTAMP, sensor SYMBOL, site SYMBOL, temperature DOUBLE, humidity DOUBLE, \
         pressure DOUBLE, seq LONG, ok BOOLEAN"
            .to_owned()
    }

    fn computed(&self) -> &'static str {
        ", fahrenheit DOUBLE"
    }

    fn transforms(&self) -> String {
        "[[pipeline.bench.transform]]
module = \"drop_cold.wasm\"
config = { min_celsius = -100.0 }
[[pipeline.bench.transform]]
module = \"enrich_route.wasm\"
config = { alarm_above = 1000.0 }
"
        .to_owned()
    }

    fn table(&self) -> String {
        "timestamp = { field = \"ts\", unit = \"us\" }
symbols = [\"sensor\", \"site\"]
columns = { temperature = \"double\", humidity = \"double\", pressure = \"double\", seq = \"long\" }
"
        .to_owned()
    }
}

/// What a scenario says whose records are those of `sensors` with other keys or tables.
macro_rules! as_sensors {
    () => {
        fn columns(&self) -> String {
            Sensors.columns()
        }

        fn computed(&self) -> &'static str {
            Sensors.computed()
        }

        fn transforms(&self) -> String {
            Sensors.transforms()
        }

        fn table(&self) -> String {
            Sensors.table()
        }
    };
}
pub(super) use as_sensors;

/// Writes the record of a sensor.
pub(super) fn write_of(sensor: u64, seq: u64, key: &mut Vec<u8>, value: &mut Vec<u8>) {
    let noise = noise(seq);
    let (ts, site) = (ts_us(seq), SITES[(sensor % SITES.len() as u64) as usize]);
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
        let (mut bytes, mut keys) = (0, HashSet::new());
        // Numbers of seven digits, as most have in a full run.
        for seq in 2_000_000..2_000_000 + COUNT {
            Sensors.write(seq, &mut key, &mut value);
            let read: serde_json::Value = serde_json::from_slice(&value).expect("it is JSON");
            assert_eq!(read.as_object().expect("an object").len(), 8);
            assert_eq!(read["sensor"].as_str().expect("text").as_bytes(), key);
            let celsius = read["temperature"].as_f64().expect("a number");
            assert!((5.0..35.0).contains(&celsius), "the filter keeps {celsius}");
            bytes += value.len() as u64;
            keys.insert(key.clone());
        }
        assert_eq!(keys.len() as u64, SENSORS);
        let mean = bytes as f64 / COUNT as f64;
        assert!((132.0..138.0).contains(&mean), "{mean} bytes");
    }
}
