//! Points in time in the forms that records have, as nanoseconds since 1970 in an `i128`: wide
//! enough that no conversion overflows on the way.
//!
//! | text | such as |
//! |---|---|
//! | ISO 8601, RFC 3339 | `2024-03-31T02:30:00.5+01:00`, `2024-03-31 02:30`, `20240331T023000Z`, `2024-03-31` |
//! | with the name of a zone, RFC 9557 | `2024-03-31T02:30:00[Europe/Berlin]` |
//! | RFC 2822 | `Sun, 31 Mar 2024 02:30:00 +0100` |
//! | fourteen digits that are a date and a time | `20240331023000` |
//! | any other number | since 1970, in the unit of its magnitude: `1711848600`, `1711848600.25` |
//!
//! What says no zone is local: read in the zone that is given, else in UTC. A local time that the
//! clocks leapt over is as much later as they leapt; of one that came twice the first is meant
//! (RFC 5545, and the same for Temporal's `compatible`).

use bridge_abi::Unit;
use jiff::civil;
use jiff::fmt::{rfc2822, strtime};
use jiff::tz::TimeZone;

/// Nanoseconds of one unit.
pub const fn nanos_of(unit: Unit) -> i128 {
    match unit {
        Unit::Seconds => 1_000_000_000,
        Unit::Millis => 1_000_000,
        Unit::Micros => 1_000,
        Unit::Nanos => 1,
    }
}

/// A number whose unit is told by its magnitude, as the QuestDB connector does: below 1e10
/// seconds, below 1e13 milliseconds, below 1e16 microseconds, else nanoseconds.
pub const fn unit_by_magnitude(value: i64) -> Unit {
    match value.unsigned_abs() {
        0..10_000_000_000 => Unit::Seconds,
        10_000_000_000..10_000_000_000_000 => Unit::Millis,
        10_000_000_000_000..10_000_000_000_000_000 => Unit::Micros,
        _ => Unit::Nanos,
    }
}

/// A zone by its name in the IANA database (the one that was compiled in, and no other), or a
/// fixed offset such as `+05:30`.
pub fn zone(name: &str) -> Option<TimeZone> {
    if let Ok(zone) = jiff::tz::TimeZoneDatabase::bundled().get(name) {
        return Some(zone);
    }
    let written = |pattern| strtime::parse(pattern, name).ok().and_then(|parts| parts.offset());
    written("%:z").or_else(|| written("%z")).map(TimeZone::fixed)
}

/// Text in any of the forms above that cannot be mistaken for a number, in UTC where it says
/// nothing else.
pub fn from_iso(text: &str) -> Option<i128> {
    from_common_iso(text.as_bytes(), None).or_else(|| from_library(text, None))
}

/// Text in any of the forms above.
#[inline]
pub fn from_text(text: &str, zone: Option<&TimeZone>) -> Option<i128> {
    from_common_iso(text.as_bytes(), zone).or_else(|| from_any_text(text, zone))
}

/// The form that nearly all records have: `YYYY-MM-DDTHH:MM:SS[.fraction](Z|±hh:mm)`; without a
/// zone only where none is given.
fn from_common_iso(text: &[u8], given: Option<&TimeZone>) -> Option<i128> {
    let (head, rest) = text.split_at_checked(19)?;
    let shape = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if shape.iter().any(|(at, byte)| head[*at] != *byte) || !matches!(head[10], b'T' | b' ') {
        return None;
    }
    let two = |at: usize| digits(&head[at..at + 2]);
    let (year, month, day) = (digits(&head[..4])?, two(5)?, two(8)?);
    let (hour, minute, second) = (two(11)?, two(14)?, two(17)?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (nanos, zone) = match rest.split_first() {
        Some((b'.', rest)) => {
            let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if length == 0 || length > 9 {
                return None;
            }
            (digits(&rest[..length])? * 10_i64.pow(9 - length as u32), &rest[length..])
        }
        _ => (0, rest),
    };
    let ahead = match zone {
        b"Z" | b"z" => 0,
        b"" if given.is_none() => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = hours * 3_600 + minutes * 60;
            if *sign == b'+' { seconds } else { -seconds }
        }
        _ => return None,
    };
    let seconds = days_from_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(i128::from(seconds - ahead) * 1_000_000_000 + i128::from(nanos))
}

fn from_any_text(text: &str, zone: Option<&TimeZone>) -> Option<i128> {
    from_library(text, zone)
        .or_else(|| local(from_fourteen(text)?, zone))
        .or_else(|| from_number(text, None))
}

/// What the library reads.
fn from_library(text: &str, zone: Option<&TimeZone>) -> Option<i128> {
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return Some(timestamp.as_nanosecond());
    }
    if let Ok(zoned) = text.parse::<jiff::Zoned>() {
        return Some(zoned.timestamp().as_nanosecond());
    }
    if let Ok(civil) = text.parse::<civil::DateTime>() {
        return local(civil, zone);
    }
    let timestamp = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(timestamp.as_nanosecond())
}

/// `YYYYMMDDHHMMSS`
fn from_fourteen(text: &str) -> Option<civil::DateTime> {
    let bytes: &[u8; 14] = text.as_bytes().try_into().ok()?;
    let part = |from: usize, to: usize| digits(&bytes[from..to]);
    let two = |from: usize| i8::try_from(part(from, from + 2)?).ok();
    let year = i16::try_from(part(0, 4)?).ok().filter(|year| *year >= 1_900)?;
    civil::DateTime::new(year, two(4)?, two(6)?, two(8)?, two(10)?, two(12)?, 0).ok()
}

/// A local time as a point in time.
fn local(civil: civil::DateTime, zone: Option<&TimeZone>) -> Option<i128> {
    let zone = zone.cloned().unwrap_or(TimeZone::UTC);
    // Ambiguous ones by the library's `compatible`, the rule above.
    Some(civil.to_zoned(zone).ok()?.timestamp().as_nanosecond())
}

/// Digits with a fraction, if there is one, and a sign: a number since 1970 in this unit, or in
/// the one that its magnitude tells. What is beyond nanoseconds is cut off.
pub fn from_number(text: &str, unit: Option<Unit>) -> Option<i128> {
    let (negative, bare) = match text.as_bytes().split_first()? {
        (b'-', _) => (true, &text[1..]),
        (b'+', _) => (false, &text[1..]),
        _ => (false, text),
    };
    let (whole, fraction) = bare.split_once('.').unwrap_or((bare, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) || whole.len() > 20 {
        return None;
    }
    let whole: i128 = whole.parse().ok()?;
    let magnitude = i64::try_from(whole).unwrap_or(i64::MAX);
    let tick = nanos_of(unit.unwrap_or_else(|| unit_by_magnitude(magnitude)));
    let mut nanos = whole * tick;
    let mut place = tick;
    for digit in fraction.bytes() {
        place /= 10;
        nanos += i128::from(digit - b'0') * place;
    }
    Some(if negative { -nanos } else { nanos })
}

/// Text by a pattern in strftime's letters. A zone's name (`%Q`) or an offset (`%z`) in the text
/// comes before the zone that is given.
pub fn from_pattern(pattern: &str, text: &str, zone: Option<&TimeZone>) -> Option<i128> {
    let parts = strtime::parse(pattern, text).ok()?;
    if let Ok(timestamp) = parts.to_timestamp() {
        return Some(timestamp.as_nanosecond());
    }
    if let Ok(zoned) = parts.to_zoned() {
        return Some(zoned.timestamp().as_nanosecond());
    }
    let civil = match parts.to_datetime() {
        Ok(civil) => civil,
        Err(_) => parts.to_date().ok()?.to_datetime(civil::Time::midnight()),
    };
    local(civil, zone)
}

/// Why a pattern reads nothing; `None` if it does. It is tried on a fixed moment, for letters that
/// mean nothing, or that can only be written (`%Z`), would refuse every record.
pub fn pattern_fault(pattern: &str) -> Option<String> {
    let zone = TimeZone::fixed(jiff::tz::Offset::UTC);
    let moment = jiff::Timestamp::UNIX_EPOCH.to_zoned(zone);
    match strtime::format(pattern, &moment) {
        Err(error) => Some(error.to_string()),
        Ok(text) => strtime::parse(pattern, text).err().map(|error| error.to_string()),
    }
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |value: i64, byte| {
        byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0'))
    })
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar: years begin in March, so that the
/// leap day is the last one of its year.
fn days_from_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn iso_with_zones_and_fractions() {
        assert_eq!(from_iso("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(from_iso("2023-11-14T22:13:20.123456Z"), Some(1_700_000_000_123_456_000));
        assert_eq!(from_iso("2023-11-14T23:13:20+01:00"), Some(1_700_000_000_000_000_000));
        assert_eq!(from_iso("2023-11-14 22:13:20"), Some(1_700_000_000_000_000_000));
        assert_eq!(from_iso("2023-02-29T00:00:00Z"), None);
        assert_eq!(from_iso("1969-12-31T23:59:59Z"), Some(-1_000_000_000));
        assert_eq!(from_iso("yesterday"), None);
    }

    #[test]
    fn patterns() {
        let pattern = "%d.%m.%Y %H:%M:%S";
        assert_eq!(
            from_pattern(pattern, "14.11.2023 22:13:20", None),
            Some(1_700_000_000_000_000_000)
        );
        assert_eq!(from_pattern("%Y%m%d", "19700102", None), Some(86_400_000_000_000));
        assert_eq!(from_pattern(pattern, "2023", None), None);
    }

    #[test]
    fn every_form_is_the_same_instant() {
        let nanos = Some(1_711_848_600_000_000_000);
        for text in [
            "2024-03-31T01:30:00Z",
            "2024-03-31 01:30:00",
            "2024-03-31T01:30",
            "2024-03-31T03:30:00+02:00",
            "2024-03-31T03:30:00+0200",
            "2024-03-31T03:30:00+02",
            "20240331T013000Z",
            "20240331T013000",
            "20240331013000",
            "2024-03-31T03:30:00+02:00[Europe/Berlin]",
            "Sun, 31 Mar 2024 01:30:00 GMT",
            "31 Mar 2024 03:30:00 +0200",
            "1711848600",
            "1711848600000",
            "1711848600000.000",
            "1711848600000000",
            "+1711848600000000000",
        ] {
            assert_eq!(from_text(text, None), nanos, "{text}");
            let is_number = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'+'));
            assert_eq!(from_iso(text), nanos.filter(|_| !is_number), "{text}");
        }
        assert_eq!(from_iso("20240331"), Some(1_711_843_200_000_000_000));
        assert_eq!(from_text("1711848600.25", None), Some(1_711_848_600_250_000_000));
        assert_eq!(from_text("-1.5", None), Some(-1_500_000_000));
        for text in ["", " ", "-", "1.", ".5", "1e3", "0x10", "99990231T000000Z", "today"] {
            assert_eq!(from_text(text, None), None, "{text}");
        }
    }

    #[test]
    fn local_times_are_read_in_their_zone() {
        let berlin = zone("Europe/Berlin").expect("it is compiled in");
        let check = |text: &str, utc: &str| {
            assert_eq!(from_text(text, Some(&berlin)), from_iso(utc), "{text}");
        };
        check("2024-01-15T12:00:00", "2024-01-15T11:00:00Z");
        check("2024-07-15 12:00:00.25", "2024-07-15T10:00:00.25Z");
        check("2024-07-15", "2024-07-14T22:00:00Z");
        check("20240715120000", "2024-07-15T10:00:00Z");
        // What says where it is counts.
        check("2024-07-15T12:00:00Z", "2024-07-15T12:00:00Z");
        check("2024-07-15T12:00:00-05:00", "2024-07-15T17:00:00Z");
        // The clocks leapt from 02:00 to 03:00, and went back from 03:00 to 02:00.
        check("2024-03-31T02:30:00", "2024-03-31T01:30:00Z");
        check("2024-10-27T02:30:00", "2024-10-27T00:30:00Z");
        check("1711848600", "2024-03-31T01:30:00Z");
        let in_berlin = |pattern, text| from_pattern(pattern, text, Some(&berlin));
        let expected = from_iso("2024-07-15T10:00:00Z");
        assert_eq!(in_berlin("%d.%m.%Y %H:%M", "15.07.2024 12:00"), expected);
        assert_eq!(in_berlin("%Y-%m-%d %H:%M %z", "2024-07-15 05:00 -0500"), expected);
        assert_eq!(in_berlin("%Y-%m-%d %H:%M %Q", "2024-07-15 19:00 Asia/Tokyo"), expected);
        assert_eq!(in_berlin("%d/%b/%Y:%H:%M:%S %z", "15/Jul/2024:10:00:00 +0000"), expected);
    }

    #[test]
    fn zones_have_names_or_are_offsets() {
        for name in ["Europe/Berlin", "America/New_York", "UTC", "+05:30", "-0800"] {
            assert!(zone(name).is_some(), "{name}");
        }
        for name in ["", "Berlin", "Europe/Bonn", "CEST?", "25:00", "+99:00"] {
            assert!(zone(name).is_none(), "{name}");
        }
    }

    #[test]
    fn patterns_that_read_nothing_are_told() {
        for pattern in ["%Y-%m-%d %H:%M:%S", "%d/%b/%Y:%H:%M:%S %z", "%s", "%Y %Q", "%F %T%.f"] {
            assert_eq!(pattern_fault(pattern), None, "{pattern}");
        }
        for pattern in ["%!", "%Y %Z"] {
            assert!(pattern_fault(pattern).is_some(), "{pattern}");
        }
    }

    #[test]
    fn magnitudes() {
        assert_eq!(unit_by_magnitude(1_700_000_000), Unit::Seconds);
        assert_eq!(unit_by_magnitude(1_700_000_000_000), Unit::Millis);
        assert_eq!(unit_by_magnitude(1_700_000_000_000_000), Unit::Micros);
        assert_eq!(unit_by_magnitude(1_700_000_000_000_000_000), Unit::Nanos);
    }

    proptest! {
        /// The fast path and the library agree on every instant that it takes.
        #[test]
        fn the_fast_path_is_the_library(nanos in 0_i128..4_102_444_800_000_000_000) {
            let timestamp = jiff::Timestamp::from_nanosecond(nanos).expect("in range");
            let text = timestamp.to_string();
            prop_assert_eq!(from_common_iso(text.as_bytes(), None), from_library(&text, None));
            prop_assert_eq!(from_iso(&text), Some(nanos));
        }
    }
}
