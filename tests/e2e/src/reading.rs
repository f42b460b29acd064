//! A sensor's reading, made from its number alone: any row of a table can be checked by SQL that
//! knows the same rules (see `checks`).

use std::fmt::Write;

use world::Record;

/// Partitions of a usual topic.
pub const PARTITIONS: i32 = 4;
/// Sensors, and so keys.
pub const SENSORS: u64 = 1_000;
/// The timestamp of number 0, microseconds since 1970.
pub const TS_BASE_US: u64 = 1_700_000_000_000_000;
/// From a reading to the next: a million of them lie in one day, as few partitions as in real life.
pub const TS_STEP_US: u64 = 100;
/// Temperatures are these hundredths of a degree, scattered over the numbers.
pub const CENTI_MIN: i64 = -1_000;
pub const CENTI_COUNT: u64 = 6_000;
/// Coprime to the count, so that every temperature turns up.
pub const CENTI_STRIDE: u64 = 7_919;

pub const SITES: [&str; 5] = ["berlin", "köln", "new york", "a,b=c", "osaka"];

/// A reading by number.
#[derive(Clone, Copy, Debug)]
pub struct Reading(pub u64);

impl Reading {
    /// Hundredths of a degree Celsius.
    pub fn centi(self) -> i64 {
        (self.0 * CENTI_STRIDE % CENTI_COUNT) as i64 + CENTI_MIN
    }

    /// The sensor's name.
    pub fn sensor(self) -> String {
        format!("s-{:05}", self.0 % SENSORS)
    }

    /// The site's name.
    pub fn site(self) -> &'static str {
        SITES[(self.0 % SITES.len() as u64) as usize]
    }

    /// Microseconds since 1970.
    pub fn ts_us(self) -> u64 {
        TS_BASE_US + self.0 * TS_STEP_US
    }

    /// The record's value: 8 fields, about 134 bytes.
    pub fn json(self) -> String {
        let Reading(seq) = self;
        let centi = self.centi();
        let sign = if centi < 0 { "-" } else { "" };
        let mut json = String::with_capacity(160);
        write!(
            json,
            "{{\"ts\":{ts},\"sensor\":\"s-{sensor:05}\",\"site\":\"{site}\",\
             \"temperature\":{sign}{whole}.{hundredths:02},\"humidity\":{humidity}.{h},\
             \"pressure\":{pressure}.{p},\"seq\":{seq},\"ok\":{ok}}}",
            ts = self.ts_us(),
            sensor = seq % SENSORS,
            site = self.site(),
            whole = centi.unsigned_abs() / 100,
            hundredths = centi.unsigned_abs() % 100,
            humidity = 20 + seq % 600 / 10,
            h = seq % 10,
            pressure = 980 + seq % 500 / 10,
            p = seq % 10,
            ok = seq.is_multiple_of(3),
        )
        .expect("a string takes any text");
        json
    }

    /// The record: its key is the sensor, and a sensor stays in its partition.
    pub fn record(self, partitions: i32) -> Record {
        let partition = (self.0 % SENSORS % partitions.unsigned_abs() as u64) as i32;
        Record::new(self.json()).key(self.sensor()).partition(partition)
    }
}
