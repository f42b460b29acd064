//! Points in time as ISO 8601 in UTC. Days become dates by the proleptic Gregorian calendar; years
//! beyond four digits have a sign and six digits at least, as the standard's long form.

use super::super::questdb::push_digits;

const NANOS: i128 = 1_000_000_000;

/// Appends nanoseconds since 1970 as `2023-11-14T22:13:20.123456Z`; `digits` of the fraction.
pub fn push(out: &mut Vec<u8>, nanos: i128, digits: u8) {
    let (seconds, fraction) = (nanos.div_euclid(NANOS), nanos.rem_euclid(NANOS));
    let days = seconds.div_euclid(86_400) as i64;
    let (year, month, day) = date_of(days);
    push_year(out, year);
    let second = seconds.rem_euclid(86_400) as i64;
    for (mark, value) in [
        (b'-', month),
        (b'-', day),
        (b'T', second / 3_600),
        (b':', second / 60 % 60),
        (b':', second % 60),
    ] {
        out.extend_from_slice(&[mark, b'0' + (value / 10) as u8, b'0' + (value % 10) as u8]);
    }
    if digits > 0 {
        out.push(b'.');
        let mut place = NANOS / 10;
        for _ in 0..digits {
            out.push(b'0' + (fraction / place % 10) as u8);
            place /= 10;
        }
    }
    out.push(b'Z');
}

fn push_year(out: &mut Vec<u8>, year: i64) {
    let magnitude = year.unsigned_abs();
    let width = if (0..=9_999).contains(&year) {
        4
    } else {
        out.push(if year < 0 { b'-' } else { b'+' });
        6
    };
    let digits = magnitude.checked_ilog10().unwrap_or(0) as usize + 1;
    out.resize(out.len() + width.max(digits) - digits, b'0');
    push_digits(out, magnitude as i64);
}

/// Year, month and day of a number of days since 1970. Years begin in March, so that the leap day
/// is the last one of its year; eras are 400 years of 146,097 days.
fn date_of(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, date)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(nanos: i128, digits: u8) -> String {
        let mut out = Vec::new();
        push(&mut out, nanos, digits);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn instants_of_all_ages() {
        assert_eq!(shown(0, 0), "1970-01-01T00:00:00Z");
        assert_eq!(shown(1_700_000_000_123_456_789, 6), "2023-11-14T22:13:20.123456Z");
        assert_eq!(shown(-1, 9), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(shown(951_782_400 * NANOS, 3), "2000-02-29T00:00:00.000Z");
        assert_eq!(shown(i128::from(i64::MAX) * 1_000, 6), "+294247-01-10T04:00:54.775807Z");
        assert_eq!(shown(-62_198_755_200 * NANOS, 0), "-000001-01-01T00:00:00Z");
        assert!(shown(i128::from(i64::MAX) * NANOS, 0).starts_with("+292277026596-12-04T"));
    }

    proptest! {
        #[test]
        fn as_the_library_writes_them(
            seconds in -62_167_219_200_i64..253_402_200_000, nano in 0_i64..1_000_000_000,
        ) {
            let nanos = i128::from(seconds) * NANOS + i128::from(nano);
            let at = jiff::Timestamp::from_nanosecond(nanos).expect("in range");
            prop_assert_eq!(shown(nanos, 9), format!("{at:.9}"));
        }
    }
}
