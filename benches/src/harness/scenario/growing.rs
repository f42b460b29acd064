//! Records that can be made larger, wider, or spread over more tables: what the series of `--scale`
//! move.

use std::io::Write;

use super::sensors::{self, Sensors, as_sensors};
use super::{Scenario, filter, large, noise, ts_us};

/// Records of `sensors`, spread evenly over so many sensors, each with a table of its own.
pub(crate) struct Tables(pub u64);

impl Scenario for Tables {
    fn name(&self) -> &'static str {
        "tables"
    }

    fn write(&self, seq: u64, key: &mut Vec<u8>, value: &mut Vec<u8>) {
        sensors::write_of(noise(seq) % self.0, seq, key, value);
    }

    as_sensors!();

    fn destination(&self) -> String {
        "tables_{field.sensor}".to_owned()
    }

    fn tables(&self) -> Vec<String> {
        (0..self.0).map(|sensor| format!("tables_s-{sensor:05}")).collect()
    }

    /// By the key, few tables would leave partitions empty.
    fn partition(&self, seq: u64, partitions: i32) -> Option<i32> {
        Some((noise(seq.wrapping_add(1 << 32)) % partitions as u64) as i32)
    }
}

/// Records of `sensors` for the pipeline of this number, with a table of its own.
pub(crate) struct OfPipeline(pub usize);

impl Scenario for OfPipeline {
    fn name(&self) -> &'static str {
        Sensors.name()
    }

    fn write(&self, seq: u64, key: &mut Vec<u8>, value: &mut Vec<u8>) {
        Sensors.write(seq, key, value);
    }

    as_sensors!();

    fn destination(&self) -> String {
        format!("sensors_{}", self.0)
    }

    fn tables(&self) -> Vec<String> {
        vec![self.destination()]
    }
}

/// So many fields: the time, the number, and doubles.
pub(crate) struct Columns(pub usize);

impl Scenario for Columns {
    fn name(&self) -> &'static str {
        "columns"
    }

    fn write(&self, seq: u64, key: &mut Vec<u8>, value: &mut Vec<u8>) {
        key.clear();
        value.clear();
        let written = write!(key, "m-{:04}", noise(seq) % 1_000)
            .and_then(|()| write!(value, "{{\"ts\":{},\"seq\":{seq}", ts_us(seq)))
            .and_then(|()| {
                (2..self.0).try_for_each(|field| {
                    let noise = noise(seq.wrapping_mul(256) + field as u64);
                    write!(value, ",\"c_{field:03}\":{}.{:02}", noise % 500, noise / 500 % 100)
                })
            });
        written.expect("a vector takes any bytes");
        value.push(b'}');
    }

    fn columns(&self) -> String {
        let more: String = (2..self.0).map(|field| format!(", c_{field:03} DOUBLE")).collect();
        format!("ts TIMESTAMP, seq LONG{more}")
    }

    fn transforms(&self) -> String {
        filter("c_002")
    }

    fn table(&self) -> String {
        "timestamp = { field = \"ts\", unit = \"us\" }\n".to_owned()
    }
}

/// Records of `large` of at least so many bytes, and at most a line more.
pub(crate) struct Sized(pub usize);

/// The bytes of such a record besides its text.
const AROUND_THE_TEXT: usize = 100;

impl Scenario for Sized {
    fn name(&self) -> &'static str {
        "sized"
    }

    fn write(&self, seq: u64, key: &mut Vec<u8>, value: &mut Vec<u8>) {
        large::write_of(self.0.saturating_sub(AROUND_THE_TEXT), seq, key, value);
    }

    fn columns(&self) -> String {
        large::Large.columns()
    }

    fn transforms(&self) -> String {
        large::Large.transforms()
    }

    fn table(&self) -> String {
        large::Large.table()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn record(scenario: &dyn Scenario, seq: u64) -> (Value, usize) {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        scenario.write(seq, &mut key, &mut value);
        (serde_json::from_slice(&value).expect("it is JSON"), value.len())
    }

    #[test]
    fn records_have_the_size_that_was_asked_for() {
        for bytes in [400, 4_000, 64_000, 1_000_000] {
            let (read, len) = record(&Sized(bytes), 1_234_567);
            assert!((bytes - 20..bytes + 120).contains(&len), "{bytes}: {len}");
            assert_eq!(read["seq"], 1_234_567);
        }
        for fields in [8, 60, 200] {
            let (read, _) = record(&Columns(fields), 77);
            assert_eq!(read.as_object().expect("an object").len(), fields);
            assert_eq!(Columns(fields).columns().split(", ").count(), fields);
        }
    }

    #[test]
    fn every_sensor_has_a_table_and_every_partition_records() {
        let scenario = Tables(10);
        let tables = scenario.tables();
        let mut partitions = [0; 4];
        for seq in 0..1_000 {
            let (read, _) = record(&scenario, seq);
            let table = format!("tables_{}", read["sensor"].as_str().expect("text"));
            assert!(tables.contains(&table), "{table}");
            partitions[scenario.partition(seq, 4).expect("it says") as usize] += 1;
        }
        assert!(partitions.iter().all(|count| *count > 150), "{partitions:?}");
    }
}
