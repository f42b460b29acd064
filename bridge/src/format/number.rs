//! Numbers as programs mostly write them: integers that fit a long, and decimals whose digits and
//! whose power of ten are both exact doubles, so that one division gives the nearest double
//! (Clinger, "How to read floating point numbers accurately", 1990). All others are left to the
//! parser that knows every case. Digits are read by eight at once.

use super::document::{Document, all};

/// Powers of ten that are exact doubles.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// What eight digits or fewer shift a number by.
const SHIFTS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// So many digits always fit a `u64`.
const DIGITS_MAX: usize = 19;

/// Integers up to here are exact doubles.
const MANTISSA_MAX: u64 = (1 << 53) - 1;

/// A number.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Number {
    Long(i64),
    Double(f64),
}

/// The number at `at`, where the eight bytes of `word` stand, and the position behind it; `None`
/// if there is none, or not of these forms.
#[inline(always)]
pub(super) fn read(document: Document<'_>, at: usize, word: u64) -> Option<(Number, usize)> {
    if word as u8 == b'-' {
        let (number, end) = positive(document, at + 1, document.eight(at + 1))?;
        let number = match number {
            Number::Long(value) => Number::Long(-value),
            Number::Double(value) => Number::Double(-value),
        };
        return Some((number, end));
    }
    positive(document, at, word)
}

#[inline(always)]
fn positive(document: Document<'_>, at: usize, word: u64) -> Option<(Number, usize)> {
    let (whole, count) = leading(word);
    if count == 8 {
        return sixteen(document, at, whole).or_else(|| long(document, at));
    }
    if count == 0 {
        return None;
    }
    if count > 1 && word as u8 == b'0' {
        return None;
    }
    let end = at + count;
    if (word >> (8 * count)) as u8 != b'.' {
        return Some((Number::Long(eight_digits(whole) as i64), end));
    }
    let (fraction, places) = leading(document.eight(end + 1));
    if places == 0 || count + places > 8 {
        return long(document, at);
    }
    // Both in one: the digits of the fraction push those before the point to the front.
    let mantissa = eight_digits(whole >> (8 * places) | fraction);
    Some((Number::Double(mantissa as f64 / POWERS[places]), end + 1 + places))
}

/// An integer of nine to sixteen digits, most often milli- or microseconds, whose first eight are
/// known.
#[inline(always)]
fn sixteen(document: Document<'_>, at: usize, first: u64) -> Option<(Number, usize)> {
    let word = document.eight(at + 8);
    let (second, count) = leading(word);
    let end = at + 8 + count;
    let behind = if count < 8 { (word >> (8 * count)) as u8 } else { document.eight(end) as u8 };
    let is_whole = count > 0 && behind != b'.' && !behind.is_ascii_digit();
    if !is_whole || document.eight(at) as u8 == b'0' {
        return None;
    }
    let value = eight_digits(first) * SHIFTS[count] + eight_digits(second);
    Some((Number::Long(value as i64), end))
}

/// An integer of seventeen to nineteen digits without a sign, most often nanoseconds, and the
/// position behind them; `None` if there is none, whatever else may stand there.
#[inline(always)]
pub(super) fn nineteen(document: Document<'_>, at: usize) -> Option<(i64, usize)> {
    let words = document.sixteen(at);
    let (first, first_count) = leading(words as u64);
    let (second, second_count) = leading((words >> 64) as u64);
    if first_count + second_count != 16 {
        return None;
    }
    let (third, count) = leading(document.eight(at + 16));
    if count == 0 || count > 3 {
        return None;
    }
    let value = eight_digits(first) * SHIFTS[8] + eight_digits(second);
    let value = value * SHIFTS[count] + eight_digits(third);
    Some((i64::try_from(value).ok()?, at + 16 + count))
}

/// The digits that a word begins with, moved to its end behind zeros, and how many there are.
#[inline(always)]
fn leading(word: u64) -> (u64, usize) {
    let word = word ^ all(b'0');
    // The highest bit of every byte above 9, exact up to the lowest of them.
    let others = (word.wrapping_add(all(0x76)) | word) & all(0x80);
    let count = others.trailing_zeros() as usize / 8;
    // Without digits the word means nothing, as with a shift that leaves it as it is.
    (word.wrapping_shl(64 - 8 * count as u32), count)
}

/// Any number of these forms, less fast.
fn long(document: Document<'_>, at: usize) -> Option<(Number, usize)> {
    let (whole, count) = digits(document, at, 0);
    if count == 0 || count > DIGITS_MAX || (count > 1 && document.eight(at) as u8 == b'0') {
        return None;
    }
    let end = at + count;
    if document.eight(end) as u8 != b'.' {
        return Some((Number::Long(i64::try_from(whole).ok()?), end));
    }
    let (mantissa, places) = digits(document, end + 1, whole);
    if places == 0 || count + places > DIGITS_MAX || mantissa > MANTISSA_MAX {
        return None;
    }
    Some((Number::Double(mantissa as f64 / POWERS[places]), end + 1 + places))
}

/// Appends the digits from `at` on to those of `value`, and counts them. More than
/// [`DIGITS_MAX`] are not counted to their end, and then the value means nothing.
#[inline(always)]
fn digits(document: Document<'_>, at: usize, value: u64) -> (u64, usize) {
    let (mut value, mut count) = (value, 0);
    loop {
        let (word, found) = leading(document.eight(at + count));
        if found == 0 {
            return (value, count);
        }
        value = value.wrapping_mul(SHIFTS[found]).wrapping_add(eight_digits(word));
        count += found;
        if found < 8 || count > DIGITS_MAX {
            return (value, count);
        }
    }
}

/// The number of eight digits, each a byte from 0 to 9, the first one lowest: neighbours are
/// joined to pairs, pairs to fours, fours to the whole.
#[inline(always)]
fn eight_digits(digits: u64) -> u64 {
    const PAIRS: u64 = 0x0000_00ff_0000_00ff;
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let first = (pairs & PAIRS).wrapping_mul(100 + (1_000_000 << 32));
    let second = (pairs >> 16 & PAIRS).wrapping_mul(1 + (10_000 << 32));
    first.wrapping_add(second) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(text: &str) -> Option<(Number, usize)> {
        let document = Document::new(text.as_bytes());
        read(document, 0, document.eight(0))
    }

    /// What a number is, found without haste: `None` where the reader may pass.
    fn check(text: &str) {
        let document = format!("{text},");
        let got = first(&document);
        let Some((number, end)) = got else {
            let digits = text.bytes().filter(u8::is_ascii_digit).count();
            let plain = digits <= 15 && text.parse::<f64>().is_ok() && !text.contains(['e', '+']);
            assert!(!plain || leading_zero(text) || bare_dot(text), "{text} is passed by");
            return;
        };
        assert_eq!(end, text.len(), "{text}");
        assert!(!leading_zero(text) && !bare_dot(text), "{text} is no JSON");
        match number {
            Number::Long(value) => assert_eq!(Ok(value), text.parse(), "{text}"),
            Number::Double(value) => {
                assert!(text.contains('.'), "{text}");
                let expected: f64 = text.parse().expect("a number");
                assert_eq!(value.to_bits(), expected.to_bits(), "{text}");
            }
        }
    }

    fn leading_zero(text: &str) -> bool {
        let text = text.trim_start_matches('-').as_bytes();
        text.len() > 1 && text[0] == b'0' && text[1].is_ascii_digit()
    }

    fn bare_dot(text: &str) -> bool {
        let text = text.trim_start_matches('-');
        text.starts_with('.') || text.ends_with('.')
    }

    #[test]
    fn forms() {
        for text in [
            "0",
            "-0",
            "0.0",
            "-0.0",
            "00",
            "01",
            "-01.5",
            "1.",
            ".5",
            "-",
            "-.5",
            "0.1",
            "9223372036854775807",
            "9223372036854775808",
            "-9223372036854775807",
            "-9223372036854775808",
            "99999999999999999999",
            "123456789012345678901234567890",
            "9007199254740991.0",
            "900719925474099.3",
            "9007199254740.993",
            "0.0000000000000000001",
            "1234567.8",
            "12345678.12345678",
            "1.23456789012345678",
            "1700000000123456",
        ] {
            check(text);
        }
        assert_eq!(first("-0,"), Some((Number::Long(0), 2)));
        assert_eq!(first("1:"), Some((Number::Long(1), 1)));
        assert_eq!(first("1.5e3"), Some((Number::Double(1.5), 3)), "what follows is not its own");
        for text in ["", "-", "x", "+1", "\u{1}", ":", "/", "1.x", "1.", "\u{e9}"] {
            assert_eq!(first(text), None, "{text}");
        }
    }

    #[test]
    fn nineteen_digits_or_a_few_fewer() {
        let digits = "9223372036854775808123";
        for first in 0..3 {
            for len in 0..=20 {
                for behind in ["", " ", "."] {
                    let text = &digits[first..][..len.min(digits.len() - first)];
                    let all = format!("{text}{behind}");
                    let expected = match text.len() {
                        17..=19 => text.parse().ok().map(|value: i64| (value, text.len())),
                        _ => None,
                    };
                    assert_eq!(nineteen(Document::new(all.as_bytes()), 0), expected, "{all:?}");
                }
            }
        }
        let largest = Document::new(b"9223372036854775807");
        assert_eq!(nineteen(largest, 0), Some((i64::MAX, 19)));
    }

    /// Random decimals of every length, places and sign, against the standard library.
    #[test]
    fn decimals_are_the_nearest_doubles() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let mut text = String::new();
        for _ in 0..1_000_000 {
            text.clear();
            if random(4) == 0 {
                text.push('-');
            }
            for part in 0..1 + random(2) {
                if part == 1 {
                    text.push('.');
                }
                let digits = random(11) as usize + usize::from(random(16) == 0) * 9;
                text.extend((0..digits).map(|_| char::from(b'0' + random(10) as u8)));
            }
            if text.is_empty() || text == "-" {
                continue;
            }
            check(&text);
        }
    }
}
