//! Where reading begins and where it ends, as people write it: one line for the file and for the
//! command line.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::suggest::nearest;
use super::units::{parse_duration, show_count, show_duration};

/// Where a partition starts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Start {
    /// At its first record.
    Earliest,
    /// After its last record.
    Latest,
    /// At the committed offset; refused where there is none.
    Committed,
    /// At the first record whose timestamp is not earlier: milliseconds since 1970.
    Time(i64),
    /// The same, so long before now.
    Ago(Duration),
    /// So many offsets before its end.
    BeforeEnd(u64),
    /// At the offsets of these; others at their first record.
    Offsets(Vec<Place>),
}

/// An offset of a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The topic; `None` for every topic.
    pub topic: Option<String>,
    /// The partition's number.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// What is done where an offset that is to be read is no longer in the log.
#[derive(serde::Deserialize, JsonSchema, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "lowercase")]
pub enum OutOfRange {
    /// The pipeline stops and says so.
    #[default]
    Stop,
    /// It goes on at the first record that there is.
    Earliest,
    /// It goes on after the last one.
    Latest,
}

/// Where reading ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// At the ends of the partitions as they are at the start.
    Now,
    /// Before the first record whose timestamp is not earlier: milliseconds since 1970.
    Time(i64),
}

const NANOS_PER_MS: i128 = 1_000_000;

/// What may be written for a start, for messages.
const STARTS: &str = "\"earliest\", \"latest\", \"committed\", a time, \"6h ago\", \
     \"1000 before end\", offsets such as \"0=120, 1=77\"";

/// The same for an end.
const ENDS: &str = "\"now\", or a time such as \"2026-01-31T12:00:00Z\"";

impl Start {
    /// Reads it.
    pub fn parse(text: &str) -> Result<Start, String> {
        let wrong = || match nearest(text, ["earliest", "latest", "committed"]) {
            Some(word) => format!("`{text}` is no place to start; did you mean `{word}`?"),
            None => format!("`{text}` is no place to start; it may be {STARTS}"),
        };
        let written = text.trim();
        if let Some(ago) = written.strip_suffix("ago") {
            return Ok(Start::Ago(parse_duration(ago.trim())?));
        }
        if let Some(count) = written.strip_suffix("before end") {
            let count = count.trim().replace('_', "").parse();
            return count.map(Start::BeforeEnd).map_err(|_| wrong());
        }
        match written {
            "earliest" => Ok(Start::Earliest),
            "latest" => Ok(Start::Latest),
            "committed" => Ok(Start::Committed),
            _ if written.contains('=') => places(written).map(Start::Offsets).ok_or_else(wrong),
            _ => time(written).map(Start::Time).ok_or_else(wrong),
        }
    }

    /// The offset that it names for a partition.
    pub fn offset_of(&self, topic: &str, partition: i32) -> Option<i64> {
        let Start::Offsets(places) = self else { return None };
        let is_it = |place: &&Place| {
            place.partition == partition && place.topic.as_deref().is_none_or(|t| t == topic)
        };
        places.iter().find(is_it).map(|place| place.offset)
    }

    /// Whether it comes before what is committed for a partition, where it is said for once.
    pub fn overrules(&self, topic: &str, partition: i32) -> bool {
        match self {
            Start::Committed => false,
            Start::Offsets(_) => self.offset_of(topic, partition).is_some(),
            _ => true,
        }
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Start::Earliest => f.write_str("at the first record"),
            Start::Latest => f.write_str("after the last record"),
            Start::Committed => f.write_str("at the committed offset only"),
            Start::Time(ms) => write!(f, "at the first record from {} on", show_time(*ms)),
            Start::Ago(span) => {
                write!(f, "at the first record of the last {}", show_duration(*span))
            }
            Start::BeforeEnd(count) => write!(f, "{} before the end", show_count(*count)),
            Start::Offsets(places) => {
                f.write_str("at ")?;
                for (number, Place { topic, partition, offset }) in places.iter().enumerate() {
                    let comma = if number > 0 { ", " } else { "" };
                    let topic = topic.as_ref().map(|topic| format!("{topic}/"));
                    write!(f, "{comma}{}{partition}={offset}", topic.unwrap_or_default())?;
                }
                f.write_str(", of other partitions at the first record")
            }
        }
    }
}

impl Until {
    /// Reads it.
    pub fn parse(text: &str) -> Result<Until, String> {
        match text.trim() {
            "now" => Ok(Until::Now),
            written => {
                let wrong = || format!("`{text}` is no end; it may be {ENDS}");
                time(written).map(Until::Time).ok_or_else(wrong)
            }
        }
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Until::Now => f.write_str("at the ends as they are now"),
            Until::Time(ms) => write!(f, "before the first record from {} on", show_time(*ms)),
        }
    }
}

/// A point in time, milliseconds since 1970, rounded up: nothing before it is in.
fn time(text: &str) -> Option<i64> {
    let at = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        // Without a zone it is UTC, as in records.
        let civil = text.parse::<jiff::civil::DateTime>().ok()?;
        civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    })?;
    Some(at.as_nanosecond().div_euclid(NANOS_PER_MS) as i64 + i64::from(has_rest(at)))
}

fn has_rest(at: jiff::Timestamp) -> bool {
    at.as_nanosecond().rem_euclid(NANOS_PER_MS) > 0
}

/// A point in time for a person.
fn show_time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| format!("{ms} ms"), |at| at.to_string())
}

/// `0=120, topic/1=77`
fn places(text: &str) -> Option<Vec<Place>> {
    let place = |text: &str| {
        let (name, offset) = text.split_once('=')?;
        let (topic, partition) = match name.trim().rsplit_once('/') {
            Some((topic, partition)) => (Some(topic.to_owned()), partition),
            None => (None, name.trim()),
        };
        let partition = partition.parse().ok().filter(|number| *number >= 0)?;
        let offset = offset.trim().replace('_', "").parse().ok().filter(|offset| *offset >= 0)?;
        Some(Place { topic: topic.filter(|topic| !topic.is_empty()), partition, offset })
    };
    text.split(',').map(place).collect()
}

/// Reads a text and nothing else.
pub(super) struct Said<T>(pub(super) fn(&str) -> Result<T, String>, pub(super) &'static str);

impl<T> Visitor<'_> for Said<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Start, D::Error> {
        deserializer.deserialize_any(Said(Start::parse, "a place to start, such as \"earliest\""))
    }
}

impl<'de> Deserialize<'de> for Until {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Until, D::Error> {
        deserializer.deserialize_any(Said(Until::parse, "an end, such as \"now\""))
    }
}

impl JsonSchema for Start {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Start".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "a place to start", "type": "string" })
    }
}

impl JsonSchema for Until {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Until".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "\"now\" or a time", "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_told() {
        for (text, told) in [
            ("earliest", "at the first record"),
            ("latest", "after the last record"),
            ("committed", "at the committed offset only"),
            ("2026-01-31T12:00:00Z", "at the first record from 2026-01-31T12:00:00Z on"),
            ("2026-01-31", "at the first record from 2026-01-31T00:00:00Z on"),
            (
                "2026-01-31T12:00:00.0001+01:00",
                "at the first record from 2026-01-31T11:00:00.001Z on",
            ),
            ("6h ago", "at the first record of the last 6 h"),
            ("1_000 before end", "1,000 before the end"),
            ("0=120, a/b/1=7", "at 0=120, a/b/1=7, of other partitions at the first record"),
        ] {
            let start = Start::parse(text).map(|start| start.to_string());
            assert_eq!(start.as_deref(), Ok(told), "{text}");
        }
        for text in ["", "first", "6 ago", "x before end", "0=", "-1=3", "0=-3", "0=1,", "=5"] {
            assert!(Start::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_offset_is_of_its_topic_or_of_all() {
        let start = Start::parse("0=5, other/1=7").expect("it is right");
        assert_eq!(start.offset_of("any", 0), Some(5));
        assert_eq!(start.offset_of("other", 1), Some(7));
        assert_eq!(start.offset_of("any", 1), None);
        assert!(start.overrules("any", 0) && !start.overrules("any", 1));
        assert!(!Start::Committed.overrules("any", 0) && Start::Latest.overrules("any", 0));
    }

    #[test]
    fn ends_are_read() {
        assert_eq!(Until::parse("now"), Ok(Until::Now));
        assert_eq!(Until::parse("1970-01-01T00:00:01Z"), Ok(Until::Time(1_000)));
        assert!(Until::parse("soon").is_err());
    }
}
