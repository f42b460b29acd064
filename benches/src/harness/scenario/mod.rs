//! What can be moved. A scenario makes every record from its number alone, so that the table's
//! count, distinct numbers and sum are known beforehand, and every run is the same.
//!
//! Each has a file of its own, and a line in [`Name`].

mod sensors;

use clap::ValueEnum;
use serde::Serialize;

pub(crate) use sensors::Sensors;

/// The scenarios by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Name {
    /// JSON of 134 bytes and 8 fields; a filter, a computed column.
    Sensors,
}

impl Name {
    /// As it is written.
    pub fn name(self) -> &'static str {
        self.scenario().name()
    }

    pub(crate) fn scenario(self) -> Box<dyn Scenario> {
        match self {
            Name::Sensors => Box::new(sensors::Sensors),
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

/// A number that looks like chance: neighbours are scattered, and every run is the same.
fn noise(seq: u64) -> u64 {
    // An odd constant of many bits; the upper half of the product is the mixed one.
    seq.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32
}

/// The timestamp of a record, microseconds since 1970: each is a microsecond later.
fn ts_us(seq: u64) -> u64 {
    1_700_000_000_000_000 + seq
}
