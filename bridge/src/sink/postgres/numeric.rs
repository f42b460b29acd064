//! Decimal numbers as `numeric` travels in binary: groups of four digits, and where the point is.
//! Nothing is rounded and nothing allocated.
//!
//! `i16` groups, `i16` weight of the first (its unit is 10000^weight), `u16` sign, `u16` digits
//! behind the point, then the groups (PostgreSQL's `numeric_send`).

/// More digits than any column of ours holds; what is longer is refused before it costs time.
const DIGITS_MAX: usize = 1_000;
/// The same on either side of the point, for exponents.
const PLACES_MAX: i64 = 1_000;
const NEGATIVE: u16 = 0x4000;

/// A decimal number in its digits: `whole` before the point, `fraction` behind it, ten to the
/// power of `exponent` times.
#[derive(Clone, Copy, Debug)]
pub struct Decimal<'a> {
    /// Whether it is below zero.
    pub negative: bool,
    /// ASCII digits.
    pub whole: &'a [u8],
    /// ASCII digits.
    pub fraction: &'a [u8],
    /// May be negative.
    pub exponent: i64,
}

impl<'a> Decimal<'a> {
    /// Reads `-12.50`, `1e-7`; nothing else than a number, and no longer than a thousand digits.
    pub fn parse(text: &'a [u8]) -> Option<Decimal<'a>> {
        let (negative, rest) = match text.split_first()? {
            (b'-', rest) => (true, rest),
            (b'+', rest) => (false, rest),
            _ => (false, text),
        };
        let (mantissa, exponent) = match rest.iter().position(|b| matches!(b, b'e' | b'E')) {
            None => (rest, 0),
            Some(at) => {
                let digits = std::str::from_utf8(&rest[at + 1..]).ok()?;
                (&rest[..at], digits.parse::<i64>().ok()?)
            }
        };
        let (whole, fraction) = match mantissa.iter().position(|b| *b == b'.') {
            None => (mantissa, &[][..]),
            Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
        };
        let digits = whole.len() + fraction.len();
        let sound = whole.iter().chain(fraction).all(u8::is_ascii_digit);
        let bounded = digits <= DIGITS_MAX && exponent.abs() <= PLACES_MAX;
        let is_number = digits > 0 && sound && bounded;
        is_number.then_some(Decimal { negative, whole, fraction, exponent })
    }

    fn digit(&self, index: usize) -> u8 {
        let digit = match index.checked_sub(self.whole.len()) {
            None => self.whole[index],
            Some(behind) => self.fraction[behind],
        };
        digit - b'0'
    }

    /// Writes it for a column of at most so many digits before the point and behind it; false if it
    /// has more that are not zero.
    pub fn push(&self, out: &mut Vec<u8>, digits_max: Option<(u16, u16)>) -> bool {
        let scale_max = digits_max.map(|(_, scale)| scale);
        let count = self.whole.len() + self.fraction.len();
        let point = self.whole.len() as i64 + self.exponent;
        let written = (self.fraction.len() as i64 - self.exponent).max(0);
        let is_digit = |index: &usize| self.digit(*index) != 0;
        let (Some(first), Some(last)) = ((0..count).find(is_digit), (0..count).rfind(is_digit))
        else {
            let scale = written.min(i64::from(scale_max.unwrap_or(u16::MAX))) as u16;
            head(out, 0, 0, 0, scale);
            return true;
        };
        // Powers of ten of the first and the last digit that is not zero.
        let (top, low) = (point - 1 - first as i64, point - 1 - last as i64);
        let needed = (-low).max(0);
        let is_too_long =
            |(before, behind): (u16, u16)| needed > i64::from(behind) || top >= i64::from(before);
        if digits_max.is_some_and(is_too_long) {
            return false;
        }
        let scale = written.max(needed).min(scale_max.map_or(i64::MAX, i64::from)) as u16;
        let (weight, lowest) = (top.div_euclid(4), low.div_euclid(4));
        let groups = (weight - lowest + 1) as u16;
        head(out, groups, weight as i16, if self.negative { NEGATIVE } else { 0 }, scale);
        for group in (lowest..=weight).rev() {
            let mut value = 0_u16;
            for power in (group * 4..group * 4 + 4).rev() {
                let index = usize::try_from(point - 1 - power).ok().filter(|index| *index < count);
                value = value * 10 + u16::from(index.map_or(0, |index| self.digit(index)));
            }
            out.extend_from_slice(&value.to_be_bytes());
        }
        true
    }
}

/// Length and head of a number.
fn head(out: &mut Vec<u8>, groups: u16, weight: i16, sign: u16, scale: u16) {
    out.extend_from_slice(&(8 + 2 * i32::from(groups)).to_be_bytes());
    out.extend_from_slice(&groups.to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&scale.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn push(text: &str, scale_max: Option<u16>) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let decimal = Decimal::parse(text.as_bytes()).expect("a number");
        decimal.push(&mut out, scale_max.map(|scale| (20, scale))).then_some(out)
    }

    /// Back to text, by the format's own words and nothing else.
    fn read(bytes: &[u8]) -> String {
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let (groups, weight, scale) = (word(4) as usize, word(6) as i16, word(10) as usize);
        assert_eq!(bytes.len(), 12 + 2 * groups);
        let group = |index: i32| -> u16 {
            let at = i32::from(weight) - index;
            let known = usize::try_from(at).ok().filter(|at| *at < groups);
            known.map_or(0, |at| word(12 + 2 * at))
        };
        let whole: String =
            (0..=i32::from(weight).max(0)).rev().map(|i| format!("{:04}", group(i))).collect();
        let places = scale.div_ceil(4) as i32;
        let fraction: String = (1..=places).map(|i| format!("{:04}", group(-i))).collect();
        let whole = whole.trim_start_matches('0');
        let whole = if whole.is_empty() { "0" } else { whole };
        let sign = if word(8) == NEGATIVE { "-" } else { "" };
        match scale {
            0 => format!("{sign}{whole}"),
            _ => format!("{sign}{whole}.{}", &fraction[..scale]),
        }
    }

    #[test]
    fn numbers_are_what_they_say() {
        let check = |text: &str, shown: &str| {
            assert_eq!(read(&push(text, None).expect("no bound")), shown, "{text}");
        };
        check("0", "0");
        check("0.00", "0.00");
        check("-12.50", "-12.50");
        check("10000", "10000");
        check("1e16", "10000000000000000");
        check("1.5e-7", "0.00000015");
        check("123456789.987654321", "123456789.987654321");
        check("1E3", "1000");
    }

    #[test]
    fn what_a_column_would_round_is_refused() {
        assert_eq!(push("1.239", Some(2)), None);
        assert_eq!(read(&push("1.2300", Some(2)).expect("only zeros are cut")), "1.23");
        assert_eq!(push("1e-400", Some(10)), None);
        assert_eq!(push("1e20", Some(10)), None);
        assert!(push("0.01e21", Some(10)).is_some());
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in ["", "-", ".", "1.2.3", "NaN", "1e", "0x1", "1 ", "1e99999"] {
            assert!(Decimal::parse(text.as_bytes()).is_none(), "{text}");
        }
        assert!(Decimal::parse("1".repeat(DIGITS_MAX + 1).as_bytes()).is_none());
    }

    proptest! {
        #[test]
        fn digits_come_back(whole in "0|[1-9][0-9]{0,40}", fraction in "[0-9]{0,20}") {
            let text = if fraction.is_empty() { whole } else { format!("{whole}.{fraction}") };
            prop_assert_eq!(read(&push(&text, None).expect("no bound")), text);
        }
    }
}
