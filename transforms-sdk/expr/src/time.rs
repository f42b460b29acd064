//! Timestamps as text and cut to a unit of the calendar, in UTC. Days are counted by the rules of
//! the Gregorian calendar, from year 1 to 9999.

use std::fmt;

use bridge_abi::Unit;

/// How many of this unit a second has.
pub fn per_second(unit: Unit) -> i64 {
    match unit {
        Unit::Seconds => 1,
        Unit::Millis => 1_000,
        Unit::Micros => 1_000_000,
        Unit::Nanos => 1_000_000_000,
    }
}

/// The same time in nanoseconds, exactly.
pub fn nanos(since_1970: i64, unit: Unit) -> i128 {
    i128::from(since_1970) * i128::from(1_000_000_000 / per_second(unit))
}

/// The same time in another unit, rounded down; `None` beyond 64 bits.
pub fn in_unit(since_1970: i64, from: Unit, to: Unit) -> Option<i64> {
    let nanos = nanos(since_1970, from);
    i64::try_from(nanos.div_euclid(i128::from(1_000_000_000 / per_second(to)))).ok()
}

/// Days since 1970 of a day of the calendar. A year is made to begin in March, so that the day
/// which may be missing is its last one.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let before = (153 * month + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + before - 719_468
}

/// The day of the calendar, by days since 1970.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let year = year + era * 400;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

fn days_of_month(year: i64, month: i64) -> i64 {
    let (next_year, next) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    days(next_year, next, 1) - days(year, month, 1)
}

/// Reads parts of a text from its start.
struct Reader<'t>(&'t [u8]);

impl Reader<'_> {
    fn sign(&mut self, signs: &[u8]) -> bool {
        let found = self.0.first().is_some_and(|first| signs.contains(first));
        self.0 = &self.0[usize::from(found)..];
        found
    }

    /// Exactly so many digits, in a range.
    fn number(&mut self, digits: usize, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let (head, rest) = self.0.split_at_checked(digits)?;
        let is_number = head.iter().all(u8::is_ascii_digit);
        let value = head.iter().fold(0, |value, digit| value * 10 + i64::from(digit & 15));
        self.0 = rest;
        (is_number && range.contains(&value)).then_some(value)
    }

    /// The digits behind a point, as nanoseconds, and how many there are.
    fn fraction(&mut self) -> Option<(i64, u32)> {
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let value = self.number(digits, 0..=999_999_999).filter(|_| (1..=9).contains(&digits))?;
        Some((value * 10_i64.pow(9 - digits as u32), digits as u32))
    }
}

/// A time out of text: `2026-01-31`, with `T` or a space `12:00`, `:30`, `.5` to nine digits, and
/// `Z`, `+02:00` or nothing for UTC. In nanoseconds where there are more than six digits, else in
/// microseconds.
pub fn parse(text: &str) -> Option<(i64, Unit)> {
    let mut reader = Reader(text.as_bytes());
    let year = reader.number(4, 1..=9999)?;
    let month = reader.sign(b"-").then(|| reader.number(2, 1..=12))??;
    let day = reader.sign(b"-").then(|| reader.number(2, 1..=days_of_month(year, month)))??;
    let (mut seconds, mut fraction) = (days(year, month, day) * 86_400, (0, 0));
    if reader.sign(b"T t") {
        seconds += reader.number(2, 0..=23)? * 3_600;
        seconds += reader.sign(b":").then(|| reader.number(2, 0..=59))?? * 60;
        if reader.sign(b":") {
            seconds += reader.number(2, 0..=59)?;
            if reader.sign(b".") {
                fraction = reader.fraction()?;
            }
        }
        seconds -= zone(&mut reader)?;
    }
    if !reader.0.is_empty() {
        return None;
    }
    let unit = if fraction.1 > 6 { Unit::Nanos } else { Unit::Micros };
    let below = fraction.0 / (1_000_000_000 / per_second(unit));
    Some((seconds.checked_mul(per_second(unit))?.checked_add(below)?, unit))
}

/// Seconds east of Greenwich.
fn zone(reader: &mut Reader<'_>) -> Option<i64> {
    let ahead = match reader.0.first() {
        None => return Some(0),
        Some(b'Z' | b'z') => {
            reader.0 = &reader.0[1..];
            return Some(0);
        }
        Some(b'+') => 1,
        Some(b'-') => -1,
        Some(_) => return None,
    };
    reader.0 = &reader.0[1..];
    let hours = reader.number(2, 0..=23)?;
    let minutes = reader.sign(b":").then(|| reader.number(2, 0..=59))??;
    Some(ahead * (hours * 3_600 + minutes * 60))
}

/// A time as text: `2026-01-31T12:00:00Z`, with as many digits behind the point as its unit has,
/// or none where they are all zero and it is no nanosecond.
#[derive(Clone, Copy, Debug)]
pub struct Written(pub i64, pub Unit);

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = per_second(self.1);
        let (seconds, below) = (self.0.div_euclid(per), self.0.rem_euclid(per));
        let (year, month, day) = date(seconds.div_euclid(86_400));
        let (hour, rest) = (seconds.rem_euclid(86_400) / 3_600, seconds.rem_euclid(3_600));
        let (minute, second) = (rest / 60, rest % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        match self.1 {
            Unit::Nanos => write!(f, ".{below:09}")?,
            Unit::Micros if below > 0 => write!(f, ".{below:06}")?,
            Unit::Millis if below > 0 => write!(f, ".{below:03}")?,
            _ => {}
        }
        f.write_str("Z")
    }
}

/// Units that a time can be cut to, with their seconds; months and years have none.
pub const CUTS: [(&str, i64); 7] = [
    ("second", 1),
    ("minute", 60),
    ("hour", 3_600),
    ("day", 86_400),
    ("week", 604_800),
    ("month", 0),
    ("year", 0),
];

/// The start of the second, hour, day … that a time lies in; weeks begin on Monday.
pub fn cut(since_1970: i64, unit: Unit, to: &str) -> Option<i64> {
    let (_, length) = CUTS.iter().find(|(name, _)| *name == to)?;
    let per = per_second(unit);
    let seconds = since_1970.div_euclid(per);
    let start = match (to, *length) {
        // 1970 began on a Thursday, three days into its week.
        ("week", length) => (seconds + 3 * 86_400).div_euclid(length) * length - 3 * 86_400,
        (_, 0) => {
            let (year, month, _) = date(seconds.div_euclid(86_400));
            days(year, if to == "month" { month } else { 1 }, 1) * 86_400
        }
        (_, length) => seconds.div_euclid(length) * length,
    };
    start.checked_mul(per)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, since_1970: i64, unit: Unit, written: &str) {
        assert_eq!(parse(text), Some((since_1970, unit)), "{text}");
        assert_eq!(Written(since_1970, unit).to_string(), written);
    }

    #[test]
    fn times_are_read_and_written() {
        check("1970-01-01", 0, Unit::Micros, "1970-01-01T00:00:00Z");
        check("2000-02-29 12:30", 951_827_400_000_000, Unit::Micros, "2000-02-29T12:30:00Z");
        let text = "2026-11-21T18:01:22.5+02:00";
        check(text, 1_795_276_882_500_000, Unit::Micros, "2026-11-21T16:01:22.500000Z");
        let text = "1969-12-31T23:59:59.999999999Z";
        check(text, -1, Unit::Nanos, text);
        check("0001-01-01", -62_135_596_800_000_000, Unit::Micros, "0001-01-01T00:00:00Z");
        for wrong in [
            "",
            "2026",
            "2026-13-01",
            "2026-02-29",
            "2026-01-01T24:00",
            "2026-01-01T1:00",
            "2026-01-01Z",
            "2026-01-01T12:00:00.",
            "2026-01-01T12:00:00.1234567890",
            "2026-01-01 ",
            "2026-01-01T12:00+2",
            "9999-12-31T23:59:59.999999999",
            "２026-01-01",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_day_of_1200_years_is_itself() {
        let mut expected = (1600, 1, 1);
        for day in days(1600, 1, 1)..days(2800, 1, 1) {
            assert_eq!(date(day), expected);
            let (year, month, of_month) = expected;
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let february = if leap { 29 } else { 28 };
            let length = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            expected = match (of_month == length[month as usize - 1], month) {
                (false, _) => (year, month, of_month + 1),
                (true, 12) => (year + 1, 1, 1),
                (true, _) => (year, month + 1, 1),
            };
        }
    }

    #[test]
    fn times_are_cut() {
        let (at, unit) = parse("2026-11-21T18:01:22.5Z").expect("a time");
        let starts = [
            ("second", "2026-11-21T18:01:22Z"),
            ("minute", "2026-11-21T18:01:00Z"),
            ("hour", "2026-11-21T18:00:00Z"),
            ("day", "2026-11-21T00:00:00Z"),
            ("week", "2026-11-16T00:00:00Z"),
            ("month", "2026-11-01T00:00:00Z"),
            ("year", "2026-01-01T00:00:00Z"),
        ];
        for (to, start) in starts {
            let found = cut(at, unit, to).map(|at| Written(at, unit).to_string());
            assert_eq!(found.as_deref(), Some(start));
        }
        assert_eq!(cut(at, unit, "moon"), None);
    }

    #[test]
    fn units_round_down() {
        assert_eq!(in_unit(-1, Unit::Millis, Unit::Seconds), Some(-1));
        assert_eq!(in_unit(1, Unit::Seconds, Unit::Nanos), Some(1_000_000_000));
        assert_eq!(in_unit(i64::MAX, Unit::Seconds, Unit::Millis), None);
    }
}
