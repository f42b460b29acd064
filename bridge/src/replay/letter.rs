//! A letter taken apart: the record that it was, and what was told of it. Pure.

use jiff::Timestamp;

use crate::batch::TopicPartition;
use crate::rejects::HEADERS;
use crate::source::OwnedRecord;

/// A dead letter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Letter {
    /// Where it is: `sensors.dead-letters/3@17`.
    pub place: String,
    /// Where its record came from.
    pub source: TopicPartition,
    /// Its offset there.
    pub offset: i64,
    /// Kafka's timestamp of the record, milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
    /// Why it was refused.
    pub reason: String,
    /// When.
    pub time: Option<Timestamp>,
    /// By which pipeline.
    pub pipeline: String,
    /// Whether it is not whole.
    pub is_cut: bool,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// The record's own.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// Which letters.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// Of one of these reasons; empty for all.
    pub reasons: Vec<String>,
    /// From one of these topics.
    pub topics: Vec<String>,
    /// From one of these partitions.
    pub partitions: Vec<i32>,
    /// Refused by one of these pipelines.
    pub pipelines: Vec<String>,
    /// Not refused before this time.
    pub since: Option<Timestamp>,
    /// Refused before this time.
    pub until: Option<Timestamp>,
}

impl Letter {
    /// Takes a record apart; `None` if it is no letter.
    pub fn of(mut record: OwnedRecord, place: String) -> Option<Letter> {
        // Our own headers stand behind the record's, which may have had the same names.
        let first = record.headers.iter().rposition(|(name, _)| name == HEADERS[0].as_bytes())?;
        let own = record.headers.split_off(first);
        let text = |wanted: &str| {
            let (_, value) = own.iter().find(|(name, _)| name == wanted.as_bytes())?;
            std::str::from_utf8(value.as_deref()?).ok()
        };
        let source = TopicPartition {
            topic: text("bridge.topic")?.into(),
            partition: text("bridge.partition")?.parse().ok()?,
        };
        Some(Letter {
            source,
            offset: text("bridge.offset")?.parse().ok()?,
            timestamp_ms: text("bridge.timestamp").and_then(|text| text.parse().ok()),
            reason: text("bridge.reason")?.to_owned(),
            time: text("bridge.time").and_then(|text| text.parse().ok()),
            pipeline: text("bridge.pipeline").unwrap_or_default().to_owned(),
            is_cut: text("bridge.truncated").is_some(),
            place,
            key: record.key,
            value: record.value,
            headers: record.headers,
        })
    }
}

impl From<Letter> for OwnedRecord {
    /// The record that it was.
    fn from(letter: Letter) -> OwnedRecord {
        let Letter { timestamp_ms, key, value, headers, .. } = letter;
        OwnedRecord { timestamp_ms: timestamp_ms.unwrap_or(-1), key, value, headers }
    }
}

impl Filter {
    /// Whether it takes a letter. One that does not say when it was refused is of no time.
    pub fn takes(&self, letter: &Letter) -> bool {
        fn is_one<T: ?Sized, U: PartialEq<T>>(all: &[U], one: &T) -> bool {
            all.is_empty() || all.iter().any(|known| known == one)
        }
        let after = self.since.is_none_or(|since| letter.time.is_some_and(|time| time >= since));
        let before = self.until.is_none_or(|until| letter.time.is_some_and(|time| time < until));
        is_one(&self.reasons, &letter.reason)
            && is_one(&self.topics, &*letter.source.topic)
            && is_one(&self.partitions, &letter.source.partition)
            && is_one(&self.pipelines, &letter.pipeline)
            && after
            && before
    }

    /// A name that is the same for the same filter, and another for others.
    pub fn name(&self) -> String {
        let Filter { reasons, topics, partitions, pipelines, since, until } = self;
        if *self == Filter::default() {
            return "all".to_owned();
        }
        let sorted = |texts: &[String]| {
            let mut texts = texts.to_vec();
            texts.sort();
            texts.join(",")
        };
        let mut partitions = partitions.clone();
        partitions.sort_unstable();
        let time = |time: &Option<Timestamp>| time.map_or(String::new(), |time| time.to_string());
        let all = [
            sorted(reasons),
            sorted(topics),
            format!("{partitions:?}"),
            sorted(pipelines),
            time(since),
            time(until),
        ];
        format!("{:08x}", crc32c::crc32c(all.join("\u{0}").as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(headers: &[(&str, &str)]) -> OwnedRecord {
        let header = |(name, value): &(&str, &str)| {
            (name.as_bytes().to_vec(), Some(value.as_bytes().to_vec()))
        };
        OwnedRecord {
            timestamp_ms: 5,
            key: Some(b"k".to_vec()),
            value: None,
            headers: headers.iter().map(header).collect(),
        }
    }

    fn letter(reason: &str, time: &str) -> Letter {
        let headers = [
            ("bridge.topic", "the record's own"),
            ("bridge.reason", reason),
            ("bridge.topic", "sensors"),
            ("bridge.partition", "3"),
            ("bridge.offset", "41"),
            ("bridge.timestamp", "17"),
            ("bridge.time", time),
            ("bridge.pipeline", "p"),
        ];
        Letter::of(record(&headers), "x".to_owned()).expect("it is one")
    }

    #[test]
    fn a_letter_is_the_record_that_it_was() {
        let letter = letter("trap", "2026-01-02T00:00:00Z");
        assert_eq!(
            (letter.source.to_string(), letter.timestamp_ms),
            ("sensors/3".into(), Some(17))
        );
        assert_eq!(letter.headers.len(), 1, "{:?}", letter.headers);
        assert_eq!(letter.offset, 41);
        let headers = vec![(b"bridge.topic".to_vec(), Some(b"the record's own".to_vec()))];
        let was = OwnedRecord { timestamp_ms: 17, key: Some(b"k".to_vec()), value: None, headers };
        assert_eq!(OwnedRecord::from(letter), was);
        assert_eq!(Letter::of(record(&[]), String::new()), None);
        let half = [("bridge.reason", "trap"), ("bridge.topic", "a")];
        assert_eq!(Letter::of(record(&half), String::new()), None);
    }

    #[test]
    fn filters_take_what_they_say() {
        let letter = letter("trap", "2026-01-02T00:00:00Z");
        let time = |text: &str| Some(text.parse().expect("a time"));
        let check =
            |filter: Filter, takes: bool| assert_eq!(filter.takes(&letter), takes, "{filter:?}");
        let all = Filter::default();
        check(all.clone(), true);
        check(Filter { reasons: vec!["malformed".into(), "trap".into()], ..all.clone() }, true);
        check(Filter { reasons: vec!["malformed".into()], ..all.clone() }, false);
        check(Filter { topics: vec!["sensors".into()], partitions: vec![3], ..all.clone() }, true);
        check(Filter { partitions: vec![2], ..all.clone() }, false);
        check(Filter { pipelines: vec!["q".into()], ..all.clone() }, false);
        check(Filter { since: time("2026-01-02T00:00:00Z"), ..all.clone() }, true);
        check(Filter { until: time("2026-01-02T00:00:00Z"), ..all.clone() }, false);
        let one = Filter { reasons: vec!["a".into(), "b".into()], ..all.clone() };
        let other = Filter { reasons: vec!["b".into(), "a".into()], ..all.clone() };
        assert_eq!(one.name(), other.name());
        assert_ne!(one.name(), Filter { topics: one.reasons.clone(), ..all }.name());
    }
}
