//! Timestamps in the forms that records have, as nanoseconds since 1970 in an `i128`: wide enough
//! that no conversion overflows on the way.

use bridge_abi::Unit;

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

/// ISO 8601: date and time with `T` or a space, fractions to nine digits, a zone (`Z`, `±hh:mm`,
/// `±hhmm`) or none, which is read as UTC.
pub fn from_iso(text: &str) -> Option<i128> {
    from_common_iso(text.as_bytes()).or_else(|| from_any_iso(text))
}

/// The form that nearly all records have: `YYYY-MM-DDTHH:MM:SS[.fraction](Z|±hh:mm)`.
fn from_common_iso(text: &[u8]) -> Option<i128> {
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
        b"Z" | b"z" | b"" => 0,
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

/// Everything else that ISO 8601 allows, by the library.
fn from_any_iso(text: &str) -> Option<i128> {
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return Some(timestamp.as_nanosecond());
    }
    if let Ok(zoned) = text.parse::<jiff::Zoned>() {
        return Some(zoned.timestamp().as_nanosecond());
    }
    let civil = text.parse::<jiff::civil::DateTime>().ok()?;
    let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(zoned.timestamp().as_nanosecond())
}

/// Text by a pattern in strftime's letters; without a zone it is read as UTC.
pub fn from_pattern(pattern: &str, text: &str) -> Option<i128> {
    let broken = jiff::fmt::strtime::parse(pattern, text).ok()?;
    if let Ok(timestamp) = broken.to_timestamp() {
        return Some(timestamp.as_nanosecond());
    }
    let civil = match broken.to_datetime() {
        Ok(civil) => civil,
        Err(_) => broken.to_date().ok()?.to_datetime(jiff::civil::Time::midnight()),
    };
    let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(zoned.timestamp().as_nanosecond())
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
        assert_eq!(from_pattern(pattern, "14.11.2023 22:13:20"), Some(1_700_000_000_000_000_000));
        assert_eq!(from_pattern("%Y%m%d", "19700102"), Some(86_400_000_000_000));
        assert_eq!(from_pattern(pattern, "2023"), None);
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
            prop_assert_eq!(from_common_iso(text.as_bytes()), from_any_iso(&text));
            prop_assert_eq!(from_iso(&text), Some(nanos));
        }
    }
}
