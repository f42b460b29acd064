//! Numbers as most records write them: at most nineteen digits, no exponent. Eight digits at once;
//! a fraction is one division by a power of ten, which is exact where both sides are. All others
//! are left to the parser that knows them.

/// A number.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Number {
    /// Without a fraction.
    Integer(i64),
    /// With one.
    Double(f64),
}

/// More digits may not fit into 64 bits.
const DIGITS_MAX: usize = 19;
/// Integers up to here are doubles.
const EXACT_MAX: u64 = 1 << 53;
/// Powers of ten that are doubles, as many as there may be digits.
const POWERS: [f64; DIGITS_MAX + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19,
];

/// Reads the number at `at`: it and the position after it. `None` where it is unusual or wrong.
#[inline]
pub fn read(value: &[u8], at: usize) -> Option<(Number, usize)> {
    let negative = value.get(at) == Some(&b'-');
    let start = at + usize::from(negative);
    let (mut mantissa, point) = digits(value, start, 0);
    let whole = point - start;
    if whole == 0 || whole > DIGITS_MAX || (whole > 1 && value[start] == b'0') {
        return None;
    }
    let mut end = point;
    if value.get(point) == Some(&b'.') {
        (mantissa, end) = digits(value, point + 1, mantissa);
    }
    // An exponent, or a zero with a sign: both are for the other parser.
    if matches!(value.get(end), Some(b'e' | b'E')) || (negative && mantissa == 0) {
        return None;
    }
    if end == point {
        let integer = i64::try_from(mantissa).ok()?;
        return Some((Number::Integer(if negative { -integer } else { integer }), end));
    }
    let fraction = end - point - 1;
    if fraction == 0 || whole + fraction > DIGITS_MAX || mantissa > EXACT_MAX {
        return None;
    }
    let double = mantissa as f64 / POWERS[fraction];
    Some((Number::Double(if negative { -double } else { double }), end))
}

/// Adds digits to a number, as many as there are; what does not fit wraps, and is too long.
#[inline]
fn digits(value: &[u8], from: usize, mut number: u64) -> (u64, usize) {
    let mut at = from;
    while let Some(eight) = value.get(at..at + 8) {
        let x = u64::from_le_bytes(eight.try_into().expect("eight bytes"));
        if !are_digits(x) {
            break;
        }
        number = number.wrapping_mul(100_000_000).wrapping_add(eight_digits(x));
        at += 8;
    }
    while let Some(digit) = value.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|d| *d < 10) {
        number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    (number, at)
}

/// Whether eight bytes are digits: the high half of each is 3, and stays so with 6 added.
#[inline]
fn are_digits(x: u64) -> bool {
    let high = x & 0xF0F0_F0F0_F0F0_F0F0;
    let carried = x.wrapping_add(0x0606_0606_0606_0606) & 0xF0F0_F0F0_F0F0_F0F0;
    high | (carried >> 4) == 0x3333_3333_3333_3333
}

/// Eight digits, the first in the lowest byte: pairs, then fours, then all.
#[inline]
fn eight_digits(x: u64) -> u64 {
    let ones = x & 0x0F0F_0F0F_0F0F_0F0F;
    let pairs = (ones.wrapping_mul(10) + (ones >> 8)) & 0x00FF_00FF_00FF_00FF;
    let fours = (pairs.wrapping_mul(100) + (pairs >> 16)) & 0x0000_FFFF_0000_FFFF;
    (fours.wrapping_mul(10_000) + (fours >> 32)) & 0xFFFF_FFFF
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, wanted: Option<Number>) {
        let found = read(text.as_bytes(), 0).map(|(number, end)| {
            assert_eq!(end, text.trim_end_matches([',', '}', 'x']).len(), "{text}");
            number
        });
        assert_eq!(found, wanted, "{text}");
    }

    #[test]
    fn usual_numbers_are_read_and_others_left() {
        check("0,", Some(Number::Integer(0)));
        check("1700000000123456}", Some(Number::Integer(1_700_000_000_123_456)));
        check("-123456789012345678,", Some(Number::Integer(-123_456_789_012_345_678)));
        check("1700000000123456789,", Some(Number::Integer(1_700_000_000_123_456_789)));
        check("21.53,", Some(Number::Double(21.53)));
        check("-0.5,", Some(Number::Double(-0.5)));
        check("1.0", Some(Number::Double(1.0)));
        for left in [
            "",
            "-",
            "-0",
            "-0.0",
            "01",
            "00",
            "1.",
            ".5",
            "1e3",
            "1.5E2",
            "+1",
            "1.e2",
            "x",
            "9223372036854775808",
            "12345678901234567890",
            "0.1234567890123456789",
            "9007199254740993.1",
        ] {
            check(left, None);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn doubles_are_the_nearest(
            whole in 0..1_000_000_000_u64,
            digits in 1..9_usize,
            fraction: u64,
        ) {
            let fraction = fraction % 10_u64.pow(digits as u32);
            let text = format!("{whole}.{fraction:0digits$}");
            if let Some((number, end)) = read(text.as_bytes(), 0) {
                prop_assert_eq!(end, text.len());
                prop_assert_eq!(number, Number::Double(text.parse().expect("a double")));
            } else {
                prop_assert!(whole > 9_000_000, "{} is usual", text);
            }
        }

        #[test]
        fn integers_are_themselves(integer: i64) {
            let text = integer.to_string();
            match read(text.as_bytes(), 0) {
                Some((number, _)) => prop_assert_eq!(number, Number::Integer(integer)),
                None => prop_assert!(integer == i64::MIN || integer == 0, "{}", text),
            }
        }

        #[test]
        fn only_digits_are_digits(bytes: [u8; 8]) {
            let x = u64::from_le_bytes(bytes);
            prop_assert_eq!(are_digits(x), bytes.iter().all(u8::is_ascii_digit));
        }
    }
}
