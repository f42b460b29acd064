//! Lets the first of several records with the same key through, and filters those that follow
//! within a window of time. Time is the records' own; no clock is asked. What was seen is
//! remembered by this instance alone, and gone with it.

mod seen;

use bridge_transform::expr::{self, Expression};
use bridge_transform::{Init, Output, Record, Transform, Value, count, transform};
use seen::{Origin, Seen, Sight};
use siphasher::sip128::{Hasher128, SipHasher13};

/// `config = { by = ["sensor", "seq"], window = "10s", time = "ts", keys_max = 50000 }`
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    by: Vec<String>,
    window: String,
    #[serde(default = "kafkas")]
    time: String,
    #[serde(default = "keys_max")]
    keys_max: usize,
}

fn kafkas() -> String {
    "timestamp".to_owned()
}

fn keys_max() -> usize {
    50_000
}

const KEYS_MAX: std::ops::RangeInclusive<usize> = 2..=10_000_000;

struct Dedup {
    by: Vec<Expression>,
    time: Expression,
    seen: Seen,
}

impl Transform for Dedup {
    fn init(init: &mut Init) -> Result<Self, String> {
        let Options { by, window, time, keys_max } = init.config()?;
        if by.is_empty() {
            return Err("reading config: `by` is empty, expected columns or expressions".to_owned());
        }
        if !KEYS_MAX.contains(&keys_max) {
            return Err(format!(
                "reading config: `keys_max` is {keys_max}, expected 2 to 10000000"
            ));
        }
        let window = micros(&window).ok_or_else(|| {
            format!(
                "reading config: `window` is \"{window}\", expected such as \"500ms\" or \"10m\""
            )
        })?;
        let read = |(index, source): (usize, &String)| {
            Expression::new(init, &format!("by[{index}]"), source)
        };
        let by = by.iter().enumerate().map(read).collect::<Result<_, String>>()?;
        let time = Expression::new(init, "time", &time)?;
        let seen = Seen::new(keys_max, window).ok_or_else(|| {
            format!("no memory for {keys_max} keys: raise `memory_max`, or lower `keys_max`")
        })?;
        Ok(Dedup { by, time, seen })
    }

    fn record(&mut self, record: &Record, out: &mut Output) {
        let mut hasher = SipHasher13::new();
        for by in &mut self.by {
            match by.value(record) {
                // Of what is unknown nobody can say that it was there before.
                Ok(Value::Null) => return out.keep(),
                Ok(value) => expr::feed(&value, &mut hasher),
                Err(failed) => return out.reject(failed),
            }
        }
        let at = match self.time.value(record) {
            Ok(Value::Timestamp(since_1970, unit)) => expr::nanos(since_1970, unit) / 1_000,
            Ok(Value::Null) => return out.keep(),
            Ok(_) => {
                return out.reject("`time` is no timestamp: write to_timestamp(column, 'ms')");
            }
            Err(failed) => return out.reject(failed),
        };
        let origin = Origin {
            topic: record.topic().id(),
            partition: record.partition(),
            offset: record.offset(),
        };
        let Sight { first, forgotten } =
            self.seen.see(hasher.finish128().as_u128(), clamped(at), origin);
        if forgotten > 0 {
            count("dedup_forgotten", forgotten as f64);
        }
        if first {
            out.keep();
        }
    }
}

fn clamped(micros: i128) -> i64 {
    micros.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

/// `500ms`, `10s`, `5m`, `1h`, `1d`.
fn micros(text: &str) -> Option<i64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let unit = match text[digits..].trim() {
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return None,
    };
    text[..digits].parse::<i64>().ok()?.checked_mul(unit)
}

transform!(Dedup);

#[cfg(test)]
mod tests {
    use super::*;
    use bridge_transform::Unit;
    use bridge_transform::testing::{Harness, Outcome, TestRecord, TestValue, record};

    const CONFIG: &str = r#"{"by": ["sensor"], "window": "10s", "time": "ts"}"#;

    fn reading(offset: i64, sensor: &str, seconds: i64) -> TestRecord {
        let ts = TestValue::Timestamp(seconds, Unit::Seconds);
        TestRecord { offset, ..record! { "sensor" => sensor, "ts" => ts } }
    }

    fn kept(harness: &mut Harness<Dedup>, records: &[TestRecord]) -> Vec<i64> {
        let outcomes = harness.run(records);
        let kept = records.iter().zip(outcomes).filter(|(_, outcome)| *outcome == Outcome::kept());
        kept.map(|(record, _)| record.offset).collect()
    }

    #[test]
    fn the_first_of_a_window_goes_on() {
        let mut harness = Harness::new(CONFIG).expect("starts");
        let records = [
            reading(0, "a", 100),
            reading(1, "b", 100),
            reading(2, "a", 110),
            reading(3, "a", 95),
            reading(4, "a", 111),
        ];
        assert_eq!(kept(&mut harness, &records), [0, 1, 4]);
        // The next batch knows of the one before.
        assert_eq!(kept(&mut harness, &[reading(5, "a", 112), reading(6, "b", 111)]), [6]);
    }

    #[test]
    fn a_record_that_is_read_again_goes_on_again() {
        let mut harness = Harness::new(CONFIG).expect("starts");
        let records = [reading(0, "a", 100), reading(1, "a", 101), reading(2, "b", 102)];
        assert_eq!(kept(&mut harness, &records), [0, 2]);
        assert_eq!(kept(&mut harness, &records), [0, 2]);
    }

    #[test]
    fn without_key_or_time_there_is_no_duplicate() {
        let mut harness = Harness::new(CONFIG).expect("starts");
        let unknown = [
            TestRecord { offset: 0, ..record! { "ts" => TestValue::Timestamp(1, Unit::Seconds) } },
            TestRecord { offset: 1, ..record! { "ts" => TestValue::Timestamp(1, Unit::Seconds) } },
            TestRecord { offset: 2, ..record! { "sensor" => "a" } },
            TestRecord { offset: 3, ..record! { "sensor" => "a" } },
        ];
        assert_eq!(kept(&mut harness, &unknown), [0, 1, 2, 3]);
        let wrong = record! { "sensor" => "a", "ts" => 7 };
        let reason = "`time` is no timestamp: write to_timestamp(column, 'ms')";
        assert_eq!(harness.run(&[wrong]), [Outcome::Rejected(reason.to_owned())]);
    }

    #[test]
    fn keys_are_compared_as_expressions_compare() {
        let mut harness =
            Harness::new(r#"{"by": ["lower(k)", "n"], "window": "1h"}"#).expect("starts");
        let of = |offset: i64, k: &str, n: TestValue| TestRecord {
            offset,
            timestamp_ms: 1_000,
            ..record! { "k" => k, "n" => n }
        };
        let records = [
            of(0, "A", 5.into()),
            of(1, "a", 5.0.into()),
            of(2, "a", 5.5.into()),
            of(3, "a", "5".into()),
            of(4, "a5", 5.into()),
        ];
        assert_eq!(kept(&mut harness, &records), [0, 2, 3, 4]);
    }

    #[test]
    fn mistakes_are_told_at_the_start() {
        let refused = |config: &str| Harness::<Dedup>::new(config).err().expect("refused");
        assert!(refused(r#"{"by": [], "window": "1s"}"#).contains("`by` is empty"));
        assert!(refused(r#"{"by": ["a"], "window": "1 moon"}"#).contains("such as \"500ms\""));
        assert!(
            refused(r#"{"by": ["a"], "window": "1s", "keys_max": 1}"#).contains("expected 2 to")
        );
        assert!(refused(r#"{"by": ["a +"], "window": "1s"}"#).starts_with("reading `by[0]`"));
    }
}
