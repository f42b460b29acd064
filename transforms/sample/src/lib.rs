//! Keeps a share of the records. Chance is a hash of the record's place in its topic, or of chosen
//! values: a replay keeps the same records, and so does every instance.

use bridge_transform::expr::{self, Expression};
use bridge_transform::{Init, Output, Record, Topic, Transform, transform};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// `config = { rate = 0.01, by = ["trip"], always = "level = 'error'" }`
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The share that is kept, 0 to 1.
    rate: f64,
    /// Records for which these are equal are kept or left out together.
    #[serde(default)]
    by: Vec<String>,
    /// Kept whatever chance says.
    always: Option<String>,
}

struct Sample {
    /// A hash below this is kept; 2^64 for all.
    below: u128,
    by: Vec<Expression>,
    always: Option<Expression>,
    /// Hashes of the names of topics that were met: ids differ from run to run.
    topics: Vec<(Topic, u64)>,
}

impl Transform for Sample {
    fn init(init: &mut Init) -> Result<Self, String> {
        let Options { rate, by, always } = init.config()?;
        if !(0.0..=1.0).contains(&rate) {
            return Err(format!("reading config: `rate` is {rate}, expected 0 to 1, such as 0.01"));
        }
        let read = |(index, source): (usize, &String)| {
            Expression::new(init, &format!("by[{index}]"), source)
        };
        let by = by.iter().enumerate().map(read).collect::<Result<_, String>>()?;
        let always = always.map(|source| Expression::condition(init, "always", &source));
        // The product is exact: a double times a power of two.
        let below = (rate * 2_f64.powi(64)) as u128;
        Ok(Sample { below, by, always: always.transpose()?, topics: Vec::new() })
    }

    fn record(&mut self, record: &Record, out: &mut Output) {
        if let Some(always) = &mut self.always {
            match always.holds(record) {
                Ok(true) => return out.keep(),
                Ok(false) => {}
                Err(failed) => return out.reject(failed),
            }
        }
        let mut hasher = SipHasher13::new();
        if self.by.is_empty() {
            hasher.write_u64(self.topic(record.topic()));
            hasher.write_i32(record.partition());
            hasher.write_i64(record.offset());
        }
        for by in &mut self.by {
            match by.value(record) {
                Ok(value) => expr::feed(&value, &mut hasher),
                Err(failed) => return out.reject(failed),
            }
        }
        if u128::from(hasher.finish()) < self.below {
            out.keep();
        }
    }
}

impl Sample {
    fn topic(&mut self, topic: Topic) -> u64 {
        if let Some((_, hash)) = self.topics.iter().find(|(known, _)| *known == topic) {
            return *hash;
        }
        let mut hasher = SipHasher13::new();
        hasher.write(topic.name().unwrap_or_default().as_bytes());
        self.topics.push((topic, hasher.finish()));
        hasher.finish()
    }
}

transform!(Sample);

#[cfg(test)]
mod tests {
    use super::*;
    use bridge_transform::testing::{Harness, Outcome, TestRecord, record};

    fn kept(config: &str, records: &[TestRecord]) -> Vec<usize> {
        let mut harness = Harness::<Sample>::new(config).expect("starts");
        let outcomes = harness.run(records).into_iter().enumerate();
        let kept = outcomes.filter(|(_, outcome)| *outcome == Outcome::kept());
        kept.map(|(index, _)| index).collect()
    }

    fn offsets(count: i64) -> Vec<TestRecord> {
        (0..count)
            .map(|offset| TestRecord { offset, ..record! { "car" => offset % 100 } })
            .collect()
    }

    #[test]
    fn a_share_is_kept_and_a_larger_one_has_the_smaller() {
        let records = offsets(20_000);
        let tenth = kept(r#"{"rate": 0.1}"#, &records);
        assert!((1_850..2_150).contains(&tenth.len()), "{}", tenth.len());
        let half = kept(r#"{"rate": 0.5}"#, &records);
        assert!(tenth.iter().all(|index| half.contains(index)));
        assert_eq!(kept(r#"{"rate": 0}"#, &records).len(), 0);
        assert_eq!(kept(r#"{"rate": 1}"#, &records).len(), records.len());
    }

    #[test]
    fn a_replay_cut_elsewhere_keeps_the_same() {
        let records = offsets(1_000);
        let whole = kept(r#"{"rate": 0.3}"#, &records);
        let tail = kept(r#"{"rate": 0.3}"#, &records[400..]);
        let expected: Vec<usize> =
            whole.iter().filter(|index| **index >= 400).map(|index| index - 400).collect();
        assert_eq!(tail, expected);
        // The same on every machine and in every version.
        assert_eq!(&whole[..5], FIRST);
    }

    const FIRST: &[usize] = &[0, 2, 3, 11, 12];

    #[test]
    fn what_belongs_together_stays_together() {
        let records = offsets(10_000);
        let kept = kept(r#"{"rate": 0.3, "by": ["car"]}"#, &records);
        let mut cars: Vec<usize> = kept.iter().map(|index| index % 100).collect();
        cars.sort_unstable();
        cars.dedup();
        assert!((15..45).contains(&cars.len()), "{}", cars.len());
        assert_eq!(kept.len(), cars.len() * 100);
    }

    #[test]
    fn some_are_always_kept() {
        let config = r#"{"rate": 0, "always": "car = 7"}"#;
        assert_eq!(kept(config, &offsets(300)), [7, 107, 207]);
    }

    #[test]
    fn a_wrong_rate_is_refused() {
        let error = Harness::<Sample>::new(r#"{"rate": 10}"#).err().expect("refused");
        assert!(error.contains("expected 0 to 1"), "{error}");
    }
}
