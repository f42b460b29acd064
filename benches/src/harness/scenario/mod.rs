//! What can be moved. A scenario makes every record from its number alone, so that the table's
//! count, distinct numbers and sum are known beforehand, and every run is the same.
//!
//! Each has a file of its own, and a line in [`Name`].

pub(crate) mod enveloped;
pub(crate) mod growing;
mod large;
mod market;
mod sensors;
mod skewed;
mod tiny;
mod wide;

use clap::ValueEnum;
use serde::Serialize;

pub(crate) use sensors::Sensors;

/// The scenarios by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Name {
    /// JSON of 134 bytes and 8 fields; a filter, a computed column.
    Sensors,
    /// JSON of 60 fields, 1.1 KB.
    Wide,
    /// Nested quotes, a trade, and the book's levels as arrays; 800 bytes.
    Market,
    /// JSON of 3 fields, 40 bytes.
    Tiny,
    /// Log records with a text of many lines, 4 KB.
    Large,
    /// The records of `sensors`; three keys carry most of them.
    Skewed,
}

impl Name {
    /// As it is written.
    pub fn name(self) -> &'static str {
        self.scenario().name()
    }

    pub(crate) fn scenario(self) -> Box<dyn Scenario> {
        match self {
            Name::Sensors => Box::new(sensors::Sensors),
            Name::Wide => Box::new(wide::Wide),
            Name::Market => Box::new(market::Market),
            Name::Tiny => Box::new(tiny::Tiny),
            Name::Large => Box::new(large::Large),
            Name::Skewed => Box::new(skewed::Skewed),
        }
    }
}

/// Records, the pipeline that they go through, and the table in which they must end.
pub(crate) trait Scenario: Send + Sync {
    /// Topic and table are called so where nothing else is said.
    fn name(&self) -> &'static str;

    /// Writes the key and the value of one record over what the buffers held. Every value has a
    /// whole number `seq`, which is the record's.
    fn write(&self, seq: u64, key: &mut Vec<u8>, value: &mut Vec<u8>);

    /// The table's columns as SQL has them, the designated timestamp first, without the columns
    /// that the bridge adds.
    fn columns(&self) -> String;

    /// Columns that the pipeline's transforms compute: peers without transforms leave them out.
    fn computed(&self) -> &'static str {
        ""
    }

    /// The pipeline's transforms, as TOML: a filter that is evaluated on all records and keeps all.
    fn transforms(&self) -> String;

    /// Lines of the pipeline's section `table`, besides its name and the metadata.
    fn table(&self) -> String;

    /// The table's name in the configuration, which may be a template.
    fn destination(&self) -> String {
        self.name().to_owned()
    }

    /// The tables in which rows end.
    fn tables(&self) -> Vec<String> {
        vec![self.name().to_owned()]
    }

    /// The partition of a record of a topic with so many; `None` leaves it to the key.
    fn partition(&self, _seq: u64, _partitions: i32) -> Option<i32> {
        None
    }
}

/// Where a row comes from, which `verify` counts by.
const METADATA: &str = ", kafka_topic SYMBOL, kafka_partition INT, kafka_offset LONG, \
                        kafka_row INT";

/// The statement that makes a table for the bridge.
pub(crate) fn create_table(scenario: &dyn Scenario, table: &str, metadata: bool) -> String {
    let metadata = if metadata { METADATA } else { "" };
    create_table_with(scenario, table, &format!("{}{metadata}", scenario.computed()))
}

/// The statement that makes a table of the records' own columns, and of `more`: `, name TYPE`.
pub(crate) fn create_table_with(scenario: &dyn Scenario, table: &str, more: &str) -> String {
    let columns = scenario.columns();
    let timestamp = columns.split(' ').next().expect("a split has a first part");
    format!("CREATE TABLE {table} ({columns}{more}) TIMESTAMP({timestamp}) PARTITION BY HOUR WAL")
}

/// A filter that is evaluated on all records and keeps all: they have a number in this column.
fn filter(column: &str) -> String {
    format!(
        "[[pipeline.bench.transform]]
module = \"drop_cold.wasm\"
config = {{ min_celsius = -100.0, column = \"{column}\" }}
"
    )
}

/// A number that looks like chance: neighbours are scattered, and every run is the same.
fn noise(seq: u64) -> u64 {
    // An odd constant of many bits; the upper half of the product is the mixed one.
    seq.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32
}

/// The timestamp of a record, microseconds since 1970: each is a microsecond later.
fn ts_us(seq: u64) -> u64 {
    1_700_000_000_000_000 + seq
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    /// Names as the bridge makes them of nested objects.
    fn names(value: &Value, prefix: &str, names: &mut BTreeSet<String>) {
        for (name, value) in value.as_object().expect("an object") {
            let name = format!("{prefix}{name}");
            match value.is_object() {
                true => self::names(value, &format!("{name}_"), names),
                false => assert!(names.insert(name.clone()), "{name} is there twice"),
            }
        }
    }

    #[test]
    fn records_have_their_number_and_the_columns_of_their_table() {
        let (mut key, mut value, mut again) = (Vec::new(), Vec::new(), Vec::new());
        for name in Name::value_variants() {
            let scenario = name.scenario();
            let columns = scenario.columns();
            let mut wanted: BTreeSet<String> = columns
                .split(", ")
                .map(|column| column.split(' ').next().expect("a name").to_owned())
                .collect();
            // The time is Kafka's where the record has none.
            wanted.remove("timestamp");
            for seq in [0, 1, 7, 1_000_000, 4_999_999] {
                scenario.write(seq, &mut key, &mut value);
                let read: Value = serde_json::from_slice(&value).expect("it is JSON");
                assert_eq!(read["seq"], seq, "{name:?}");
                let mut found = BTreeSet::new();
                names(&read, "", &mut found);
                assert_eq!(found, wanted, "{name:?}");
                scenario.write(seq, &mut key, &mut again);
                assert_eq!(again, value, "{name:?} is not the same every time");
                assert!(!key.is_empty());
            }
        }
    }
}
