//! The load: sensors that report, as many as the bridge can take and a little more. The mock
//! cluster drops what is older than 5 MiB a partition, so the load stays only a little ahead.

use std::fmt::Write;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{PARTITIONS, TOPIC};
use crate::blame::Fault;
use crate::kafka::feed::Feed;
use crate::observe::PipelineMeter;
use crate::pipeline::{Alarm, Stop};

/// Records that were sent and not yet taken, at most: even if all of them were of one partition,
/// it would hold them.
const AHEAD_MAX: u64 = 24_000;
/// Records between two looks at how far ahead the load is.
const STEP: u64 = 500;
/// One record in so many is broken on purpose.
const BROKEN_EVERY: u64 = 20_000;
/// How long what was sent may take to be stored after the last was sent.
const SETTLE_MAX: Duration = Duration::from_secs(30);
/// How long the first row may take.
const FIRST_MAX: Duration = Duration::from_secs(60);
/// Between two looks, when there is nothing to do.
const PAUSE: Duration = Duration::from_millis(1);

const SITES: [&str; 5] = ["berlin", "lyon", "oslo", "porto", "turku"];
const SENSORS: u64 = 1_000;

/// What was played.
pub struct Played {
    /// From the first record taken to the last row stored.
    pub took: Duration,
    /// When it began, microseconds since 1970: rows from before are of another demo.
    pub began_us: i64,
}

/// Writes records.
pub struct Load {
    feed: Feed,
    random: Random,
    text: String,
    sent: u64,
}

impl Load {
    /// A load for the cluster at `brokers`.
    pub fn new(brokers: &str) -> Result<Load, Fault> {
        let feed = Feed::new(brokers)?;
        Ok(Load { feed, random: Random(0x9E37_79B9_7F4A_7C15), text: String::new(), sent: 0 })
    }

    /// Sends for `length`, counted from the first row that is stored, waits until everything has
    /// arrived, and asks the pipeline to stop.
    pub fn play(
        mut self,
        length: Duration,
        meter: &PipelineMeter,
        alarm: &Alarm,
    ) -> Result<Played, Fault> {
        let result = self.send_all(length, meter, alarm);
        alarm.ask(Stop::Drain);
        result
    }

    fn send_all(
        &mut self,
        length: Duration,
        meter: &PipelineMeter,
        alarm: &Alarm,
    ) -> Result<Played, Fault> {
        let began = Instant::now();
        let began_us = now_us();
        let (mut taken_at, mut stored_at) = (None, None);
        while alarm.stop() == Stop::No {
            let taken = meter.records_in.get();
            if taken > 0 {
                taken_at.get_or_insert_with(Instant::now);
            }
            if meter.rows_stored.get() > 0 {
                stored_at.get_or_insert_with(Instant::now);
            }
            if stored_at.is_some_and(|at: Instant| at.elapsed() >= length) {
                break;
            }
            if stored_at.is_none() && began.elapsed() > FIRST_MAX {
                return Err(Fault::us(format!(
                    "no row was stored within {} s: {} records were sent, {taken} taken",
                    FIRST_MAX.as_secs(),
                    self.sent
                )));
            }
            if self.sent - taken.min(self.sent) > AHEAD_MAX {
                self.feed.serve(PAUSE);
                continue;
            }
            self.step()?;
        }
        self.feed.flush(SETTLE_MAX)?;
        let settled = self.settle(meter, alarm)?;
        let took = taken_at.map_or(Duration::ZERO, |at| settled.saturating_duration_since(at));
        Ok(Played { took, began_us })
    }

    fn step(&mut self) -> Result<(), Fault> {
        let ts = now_us();
        for _ in 0..STEP {
            let seq = self.sent;
            let sensor = self.random.next() % SENSORS;
            record(&mut self.text, seq, ts + (seq % STEP) as i64, sensor, &mut self.random);
            let key = format_key(sensor);
            let partition = (sensor % PARTITIONS as u64) as i32;
            self.feed.send(TOPIC, partition, &key, self.text.as_bytes())?;
            self.sent += 1;
        }
        self.feed.serve(Duration::ZERO);
        Ok(())
    }

    /// Waits until every record that was sent is stored, filtered or rejected; when that was.
    fn settle(&self, meter: &PipelineMeter, alarm: &Alarm) -> Result<Instant, Fault> {
        let deadline = Instant::now() + SETTLE_MAX;
        let mut before = 0;
        let mut moved = Instant::now();
        loop {
            let done =
                meter.rows_stored.get() + meter.records_filtered.get() + meter.rejects_stored.get();
            if done != before {
                (before, moved) = (done, Instant::now());
            }
            if done >= self.sent || alarm.stop() != Stop::No {
                return Ok(moved);
            }
            if Instant::now() > deadline {
                return Err(Fault::us(format!(
                    "{done} of {} records have arrived {} s after the last was sent",
                    self.sent,
                    SETTLE_MAX.as_secs()
                )));
            }
            std::thread::sleep(PAUSE);
        }
    }
}

fn format_key(sensor: u64) -> [u8; 6] {
    let digit = |power: u64| b'0' + (sensor / power % 10) as u8;
    [b's', b'-', digit(1000), digit(100), digit(10), digit(1)]
}

/// One reading: a tenth is too cold to be kept, one in a thousand is an alarm, and a few are not
/// what they should be.
fn record(text: &mut String, seq: u64, ts: i64, sensor: u64, random: &mut Random) {
    text.clear();
    let celsius = match random.next() % 1_000 {
        0 => 60.0 + random.tenths(300),
        1..=100 => 5.0 + random.tenths(99),
        _ => 15.0 + random.tenths(250),
    };
    let site = SITES[(sensor % SITES.len() as u64) as usize];
    let (humidity, pressure) = (30.0 + random.tenths(500), 980.0 + random.tenths(600));
    let is_ok = !random.next().is_multiple_of(50);
    let broken = (seq + BROKEN_EVERY / 2).is_multiple_of(BROKEN_EVERY);
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "{{\"ts\":{ts},\"sensor\":\"s-{sensor:04}\",\"site\":\"{site}\",\
         \"temperature\":{celsius:.1},\"humidity\":{humidity:.1},\"pressure\":{pressure:.1},\
         \"seq\":{seq},\"ok\":{is_ok}}}"
    );
    if broken {
        // As by a producer that was cut off.
        text.truncate(text.len() / 2);
    }
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_micros() as i64
}

/// Xorshift: the same records in every demo, but for their times.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn tenths(&mut self, below: u64) -> f64 {
        (self.next() % below) as f64 / 10.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_json_but_for_the_broken() {
        let mut random = Random(7);
        let mut text = String::new();
        let mut broken = 0;
        for seq in 0..40_000 {
            record(&mut text, seq, 1_700_000_000_000_000, seq % SENSORS, &mut random);
            match serde_json::from_str::<serde_json::Value>(&text) {
                Ok(value) => assert_eq!(value["seq"], seq),
                Err(_) => broken += 1,
            }
        }
        assert_eq!(broken, 2);
        assert_eq!(&format_key(407), b"s-0407");
    }
}
