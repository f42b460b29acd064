//! Decimal numbers, exactly. Cells hold one as a whole number and a scale: the number in big-endian
//! two's complement, as many bytes as it takes (256 bits at most), and how many of its digits stand
//! behind the point. Nothing here goes by way of a double, and nothing is rounded.

use bridge_abi::{DECIMAL_BYTES_MAX, DECIMAL_SCALE_MAX};

/// Digits of a number that is read, at most: what is longer is refused before it costs time.
const DIGITS_MAX: usize = 1_000;
/// An exponent beyond these gives no number that fits.
const EXPONENT_MAX: i64 = 1_000;
/// The largest power of ten in a word.
const CHUNK: u64 = 10_u64.pow(19);
/// Its digits.
const CHUNK_DIGITS: usize = 19;

/// A whole number of 256 bits without a sign, the lowest word first.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Wide([u64; 4]);

impl Wide {
    /// `self * by + more`; `None` if that is wider.
    fn times(mut self, by: u64, more: u64) -> Option<Wide> {
        let mut carry = u128::from(more);
        for word in &mut self.0 {
            let value = u128::from(*word) * u128::from(by) + carry;
            *word = value as u64;
            carry = value >> 64;
        }
        (carry == 0).then_some(self)
    }

    /// The same so many times with ten.
    fn shifted(self, places: usize) -> Option<Wide> {
        if self.is_zero() {
            return Some(self);
        }
        (0..places).try_fold(self, |wide, _| wide.times(10, 0))
    }

    /// Divides itself; what is left over.
    fn divide(&mut self, by: u64) -> u64 {
        let mut rest = 0;
        for word in self.0.iter_mut().rev() {
            let value = (rest << 64) | u128::from(*word);
            *word = (value / u128::from(by)) as u64;
            rest = value % u128::from(by);
        }
        rest as u64
    }

    fn is_zero(self) -> bool {
        self.0 == [0; 4]
    }

    /// The two's complement: of a number its negative, and back.
    fn negated(self) -> Wide {
        let mut carry = true;
        Wide(self.0.map(|word| {
            let (word, over) = (!word).overflowing_add(u64::from(carry));
            carry = over;
            word
        }))
    }

    fn to_be_bytes(self) -> [u8; DECIMAL_BYTES_MAX] {
        let mut bytes = [0; DECIMAL_BYTES_MAX];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(self.0.iter().rev()) {
            chunk.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    fn from_be_bytes(bytes: [u8; DECIMAL_BYTES_MAX]) -> Wide {
        let mut wide = Wide::default();
        for (chunk, word) in bytes.chunks_exact(8).zip(wide.0.iter_mut().rev()) {
            *word = u64::from_be_bytes(chunk.try_into().expect("chunks of eight bytes"));
        }
        wide
    }
}

/// Reads a number as JSON writes it, or with a sign or zeros before it: `-12.50`, `1e-7`, `+007`.
/// Appends the whole number to `out`; its scale. `None` where the text is something else, or has
/// more digits than 256 bits hold: nothing is appended then.
pub fn read(text: &[u8], out: &mut Vec<u8>) -> Option<u8> {
    let (negative, text) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, text),
    };
    let (mantissa, exponent) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        None => (text, 0),
        Some(at) => {
            let digits = std::str::from_utf8(&text[at + 1..]).ok()?;
            (&text[..at], digits.parse::<i64>().ok()?)
        }
    };
    let (whole, fraction) = match mantissa.iter().position(|byte| *byte == b'.') {
        None => (mantissa, &[][..]),
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
    };
    let count = whole.len() + fraction.len();
    let digits = || whole.iter().chain(fraction);
    if !(1..=DIGITS_MAX).contains(&count)
        || exponent.abs() > EXPONENT_MAX
        || !digits().all(u8::is_ascii_digit)
    {
        return None;
    }
    // Zeros at the end are told apart: they need not fit.
    let (mut wide, mut zeros) = (Wide::default(), 0);
    for digit in digits() {
        match digit {
            b'0' => zeros += 1,
            digit => {
                wide = wide.shifted(zeros)?.times(10, u64::from(digit - b'0'))?;
                zeros = 0;
            }
        }
    }
    // Without these zeros; negative where it is so many tens.
    let bare = fraction.len() as i64 - exponent - zeros as i64;
    if wide.is_zero() {
        let scale = (bare + zeros as i64).clamp(0, i64::from(DECIMAL_SCALE_MAX));
        out.push(0);
        return Some(scale as u8);
    }
    if bare > i64::from(DECIMAL_SCALE_MAX) {
        return None;
    }
    let least = usize::try_from(-bare).unwrap_or(0);
    wide = wide.shifted(least)?;
    let mut scale = bare.max(0) as u8;
    // What is left of them is kept as it is written, as far as there is room.
    for _ in 0..zeros.saturating_sub(least) {
        let Some(more) = wide.times(10, 0).filter(|more| more.0[3] >> 63 == 0) else { break };
        if scale == DECIMAL_SCALE_MAX {
            break;
        }
        (wide, scale) = (more, scale + 1);
    }
    if wide.0[3] >> 63 != 0 {
        return None;
    }
    let bytes = if negative { wide.negated() } else { wide }.to_be_bytes();
    out.extend_from_slice(trimmed(&bytes));
    Some(scale)
}

/// A whole number's bytes without those that only repeat its sign.
fn trimmed(mut bytes: &[u8]) -> &[u8] {
    while let [first @ (0 | 0xff), rest @ ..] = bytes
        && rest.first().is_some_and(|next| (next ^ first) & 0x80 == 0)
    {
        bytes = rest;
    }
    bytes
}

/// A decimal in digits. Numbers beyond 256 bits give no text, and so fit no column.
pub fn text(unscaled: &[u8], scale: u8) -> Option<String> {
    let negative = unscaled.first()? & 0x80 != 0;
    let unscaled = trimmed(unscaled);
    let mut bytes = [if negative { 0xff } else { 0 }; DECIMAL_BYTES_MAX];
    let at = DECIMAL_BYTES_MAX.checked_sub(unscaled.len())?;
    bytes[at..].copy_from_slice(unscaled);
    let wide = Wide::from_be_bytes(bytes);
    let mut left = if negative { wide.negated() } else { wide };
    let mut chunks = Vec::with_capacity(5);
    while !left.is_zero() {
        chunks.push(left.divide(CHUNK));
    }
    let mut digits = chunks.pop().unwrap_or(0).to_string();
    for chunk in chunks.iter().rev() {
        digits.push_str(&format!("{chunk:0>CHUNK_DIGITS$}"));
    }
    let scale = usize::from(scale);
    if digits.len() <= scale {
        digits.insert_str(0, &"0".repeat(scale + 1 - digits.len()));
    }
    if scale > 0 {
        digits.insert(digits.len() - scale, '.');
    }
    if negative {
        digits.insert(0, '-');
    }
    Some(digits)
}

/// The digits of a number that a column of this precision and scale holds as it is, without zeros
/// at the end that it has no room for; `None` where it would have to round, or has no room.
pub fn fitting(digits: &str, precision: u8, scale: u8) -> Option<&str> {
    let bare = digits.trim_start_matches('-');
    let (whole, fraction) = bare.split_once('.').unwrap_or((bare, ""));
    let room = usize::from(precision.saturating_sub(scale));
    let needed = fraction.trim_end_matches('0').len();
    if whole.trim_start_matches('0').len() > room || needed > usize::from(scale) {
        return None;
    }
    let cut = fraction.len().saturating_sub(usize::from(scale));
    Some(digits[..digits.len() - cut].trim_end_matches('.'))
}

/// Whether a double says all of a number: its shortest digits are the same.
pub fn is_exact(digits: &str, double: f64) -> bool {
    let (mut one, mut other) = (Vec::new(), Vec::new());
    let shortest = double.to_string();
    let scales = (read(digits.as_bytes(), &mut one), read(shortest.as_bytes(), &mut other));
    let (Some(first), Some(second)) = scales else { return false };
    let plain = |bytes: &[u8], scale: u8| {
        let text = text(bytes, scale).unwrap_or_default();
        match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            false => text,
        }
    };
    plain(&one, first) == plain(&other, second)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn there_and_back(digits: &str) -> Option<String> {
        let mut out = Vec::new();
        let scale = read(digits.as_bytes(), &mut out)?;
        text(&out, scale)
    }

    #[test]
    fn numbers_are_what_they_say() {
        let check = |digits: &str, shown: &str| {
            assert_eq!(there_and_back(digits).as_deref(), Some(shown), "{digits}");
        };
        check("0", "0");
        check("-0.00", "0.00");
        check("-12.50", "-12.50");
        check("+007", "7");
        check(".5", "0.5");
        check("1.5e-7", "0.00000015");
        check("1E3", "1000");
        check("1.20e1", "12.0");
        check("120e-1", "12.0");
        check("12345678901234567890.123456789", "12345678901234567890.123456789");
        check("-9223372036854775808", "-9223372036854775808");
        let widest = format!("-{}", "9".repeat(76));
        check(&widest, &widest);
        // Zeros that have no room are no part of the number.
        check(&format!("0.1{}", "0".repeat(300)), &format!("0.1{}", "0".repeat(75)));
        check("0e500", "0");
    }

    #[test]
    fn what_is_no_number_or_too_wide_is_none() {
        for digits in [
            "", "-", ".", "1.2.3", "NaN", "1e", "0x1", " 1", "1 ", "1e99999", "--1", "1e77",
            "1e-77",
        ] {
            assert_eq!(there_and_back(digits), None, "{digits}");
        }
        assert_eq!(there_and_back(&"9".repeat(77)), None);
        assert_eq!(there_and_back(&"1".repeat(DIGITS_MAX + 1)), None);
        assert_eq!(text(&[1; 33], 0), None);
        assert_eq!(text(&[], 0), None);
    }

    #[test]
    fn columns_hold_what_they_have_room_for() {
        assert_eq!(fitting("12.50", 4, 1), Some("12.5"));
        assert_eq!(fitting("12.00", 4, 0), Some("12"));
        assert_eq!(fitting("12.50", 4, 0), None);
        assert_eq!(fitting("-0.05", 2, 2), Some("-0.05"));
        assert_eq!(fitting("1.05", 2, 2), None);
        assert_eq!(fitting("100", 3, 0), Some("100"));
        assert_eq!(fitting("1000", 3, 0), None);
    }

    #[test]
    fn doubles_say_all_of_short_numbers() {
        assert!(is_exact("0.10", 0.1) && is_exact("-3", -3.0) && is_exact("0", 0.0));
        let long = "0.1000000000000000000001";
        assert!(!is_exact(long, long.parse().expect("a number")));
        assert!(!is_exact("9007199254740993", 9_007_199_254_740_993.0_f64));
    }

    proptest! {
        /// The reference is text itself: a number in its plainest form comes back as it was.
        #[test]
        fn digits_come_back(
            negative: bool, whole in "0|[1-9][0-9]{0,40}", fraction in "[0-9]{0,35}",
        ) {
            let number = if fraction.is_empty() { whole } else { format!("{whole}.{fraction}") };
            let is_zero = number.bytes().all(|byte| matches!(byte, b'0' | b'.'));
            let sign = if negative && !is_zero { "-" } else { "" };
            let number = format!("{sign}{number}");
            prop_assert_eq!(there_and_back(&number), Some(number));
        }

        /// As the library counts, as far as it goes.
        #[test]
        fn bytes_are_those_of_128_bits(value: i128, shift in 0_u32..127, scale in 0_u8..30) {
            let value = value >> shift;
            let digits = text(&value.to_be_bytes(), scale).expect("it fits");
            prop_assert_eq!(digits.replace('.', "").parse::<i128>(), Ok(value));
            let mut out = Vec::new();
            let again = read(digits.as_bytes(), &mut out).expect("a number");
            let bytes = value.to_be_bytes();
            prop_assert_eq!((trimmed(&bytes), scale), (&*out, again));
        }

        #[test]
        fn an_exponent_moves_the_point(digits in "[1-9][0-9]{0,20}", places in 0_usize..30) {
            let zeros = "0".repeat(places);
            prop_assert_eq!(
                there_and_back(&format!("{digits}e{places}")),
                Some(format!("{digits}{zeros}")),
            );
            let all = format!("{zeros}{digits}");
            let (whole, fraction) = all.split_at(all.len() - places);
            let whole = whole.trim_start_matches('0');
            let whole = if whole.is_empty() { "0" } else { whole };
            let point = if places > 0 { "." } else { "" };
            prop_assert_eq!(
                there_and_back(&format!("{digits}e-{places}")),
                Some(format!("{whole}{point}{fraction}")),
            );
        }

        #[test]
        fn no_text_panics(text in "[-+0-9.eE]{0,40}") {
            let _ = there_and_back(&text);
        }
    }
}
