//! Quantities as people write them: `"500ms"`, `"8MiB"`. Option structs hold these types.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A number of bytes: a plain integer, or text such as `"512KiB"`, `"8MiB"`, `"4MB"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Bytes(pub usize);

/// A duration: text such as `"500ms"`, `"1s"`, `"5m"`, `"1h"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Span(pub Duration);

/// Reads a number of bytes.
pub fn parse_bytes(text: &str) -> Result<usize, String> {
    let wrong = || format!("`{text}` is not a size, such as \"8MiB\" or a number");
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" | "k" => 1_000,
        "mb" | "m" => 1_000_000,
        "gb" | "g" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err(wrong()),
    };
    let bytes = number * factor as f64;
    if bytes > (1_u64 << 52) as f64 {
        return Err(format!("`{text}` is more than any machine has"));
    }
    Ok(bytes as usize)
}

/// Reads a duration.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration, such as \"500ms\", \"1s\" or \"5m\"");
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let seconds = match unit {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return Err(wrong()),
    };
    // A century is more than any wait, and far from where clocks overflow.
    let seconds = number * seconds;
    if seconds > 36_525.0 * 86_400.0 {
        return Err(format!("`{text}` is longer than a century"));
    }
    // By whole nanoseconds, for 0.1 ms in binary is not quite 100 µs.
    Ok(Duration::from_nanos((seconds * 1e9).round() as u64))
}

/// A plain number and the letters after it.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_')?;
    let end = if end == 0 { return None } else { end };
    let number: f64 = text[..end].replace('_', "").parse().ok()?;
    Some((number, text[end..].trim()))
}

/// A duration as a person would write it.
pub fn show_duration(duration: Duration) -> String {
    let us = duration.as_micros();
    match us {
        0 => "0 s".to_owned(),
        _ if us.is_multiple_of(3_600_000_000) => format!("{} h", us / 3_600_000_000),
        _ if us.is_multiple_of(60_000_000) => format!("{} min", us / 60_000_000),
        _ if us.is_multiple_of(1_000_000) => format!("{} s", us / 1_000_000),
        _ if us.is_multiple_of(1_000) => format!("{} ms", us / 1_000),
        _ => format!("{us} µs"),
    }
}

/// A number of bytes as a person would write it.
pub fn show_bytes(bytes: usize) -> String {
    match bytes {
        _ if bytes >= 1 << 30 && bytes.is_multiple_of(1 << 30) => format!("{} GiB", bytes >> 30),
        _ if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes >= 10 << 20 => format!("{:.0} MiB", bytes as f64 / (1_u64 << 20) as f64),
        _ if bytes >= 1 << 20 => format!("{:.1} MiB", bytes as f64 / (1_u64 << 20) as f64),
        _ if bytes >= 1 << 10 && bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

/// A number as people read it: in groups of three digits.
pub fn show_count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size, such as \"8MiB\" or a number of bytes")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Bytes, E> {
        usize::try_from(value).map(Bytes).map_err(|_| E::custom("a size is not negative"))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Bytes, E> {
        usize::try_from(value).map(Bytes).map_err(|_| E::custom("more than any machine has"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Bytes, E> {
        match text.trim().parse::<usize>() {
            Ok(bytes) => Ok(Bytes(bytes)),
            Err(_) => parse_bytes(text).map(Bytes).map_err(E::custom),
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        deserializer.deserialize_any(BytesVisitor)
    }
}

impl JsonSchema for Bytes {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Bytes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "a size: \"512KiB\", \"8MiB\", \"4MB\" or a number of bytes",
            "type": ["string", "integer"],
        })
    }
}

struct SpanVisitor;

impl Visitor<'_> for SpanVisitor {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration, such as \"500ms\" or \"1s\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Span, E> {
        parse_duration(text).map(Span).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        deserializer.deserialize_any(SpanVisitor)
    }
}

impl JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "a duration: \"500ms\", \"1s\", \"5m\"",
            "type": "string",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped_by_three() {
        let texts = [(0, "0"), (999, "999"), (1_000, "1,000"), (5_000_000, "5,000,000")];
        for (number, text) in texts {
            assert_eq!(show_count(number), text);
        }
    }

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("8MiB", 8 << 20),
            ("4MB", 4_000_000),
            ("512KiB", 512 << 10),
            ("1.5 GiB", 3 << 29),
            ("7b", 7),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "8 parsecs", "-1MiB", "1..2MB", "999999999999GiB"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_read_and_shown() {
        for (text, shown) in [
            ("500ms", "500 ms"),
            ("1s", "1 s"),
            ("5m", "5 min"),
            ("2h", "2 h"),
            ("0.1ms", "100 µs"),
        ] {
            assert_eq!(parse_duration(text).map(show_duration).as_deref(), Ok(shown));
        }
        for text in ["", "5", "5 parsecs", "-1s", "1000000d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown() {
        assert_eq!(show_bytes(96 << 20), "96 MiB");
        assert_eq!(show_bytes(1_572_864), "1.5 MiB");
        assert_eq!(show_bytes(100), "100 bytes");
    }
}
