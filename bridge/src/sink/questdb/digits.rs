//! Integers as decimal digits, eight at a time: a number below 10^8 is split into halves, quarters
//! and digits that stand side by side in one word.

use super::put::Put;

/// Numbers below this have eight digits or fewer.
const EIGHT: u64 = 100_000_000;

/// Appends the digits of an integer.
#[inline(always)]
pub fn push(out: &mut impl Put, value: i64) {
    if value < 0 {
        out.byte(b'-');
    }
    let value = value.unsigned_abs();
    if value < EIGHT {
        return push_first(out, value);
    }
    let (high, low) = (value / EIGHT, value % EIGHT);
    if high < EIGHT {
        push_first(out, high);
    } else {
        push_first(out, high / EIGHT);
        push_eight(out, high % EIGHT);
    }
    push_eight(out, low);
}

/// A number below 10^8, without zeros before it.
#[inline(always)]
fn push_first(out: &mut impl Put, value: u64) {
    let digits = digits_of(value);
    // The first digit is the lowest byte; at least the last one is written.
    let zeros = (digits.trailing_zeros() / 8).min(7);
    out.eight(((digits | ASCII) >> (8 * zeros)).to_le_bytes(), 8 - zeros as usize);
}

/// A number below 10^8, with zeros before it.
#[inline(always)]
fn push_eight(out: &mut impl Put, value: u64) {
    out.eight((digits_of(value) | ASCII).to_le_bytes(), 8);
}

const ASCII: u64 = u64::from_le_bytes([b'0'; 8]);

/// The eight digits of a number below 10^8, a byte each, the first one lowest.
///
/// Divisions of all parts at once are multiplications whose quotients are exact in their range:
/// n / 100 is 10,486 n / 2^20 below 10,000, and n / 10 is 103 n / 2^10 below 100.
#[inline(always)]
fn digits_of(value: u64) -> u64 {
    let halves = (value / 10_000) | ((value % 10_000) << 32);
    let hundreds = ((halves * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let pairs = hundreds | ((halves - 100 * hundreds) << 16);
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | ((pairs - 10 * tens) << 8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(value: i64) -> String {
        let mut out = b"x".to_vec();
        push(&mut out, value);
        String::from_utf8(out).expect("digits").split_off(1)
    }

    #[test]
    fn every_length_and_its_borders() {
        let powers = (0..19).map(|exponent| 10_i64.pow(exponent));
        for value in powers.flat_map(|power| [power - 1, power, power + 1, -power, 1 - power]) {
            assert_eq!(written(value), value.to_string());
        }
        assert_eq!(written(i64::MIN), i64::MIN.to_string());
        assert_eq!(written(i64::MAX), i64::MAX.to_string());
    }

    #[test]
    fn the_quotients_are_exact() {
        for pair in 0..10_000_u64 {
            assert_eq!((pair * 10_486) >> 20, pair / 100);
            let digits = digits_of(pair * 10_000 + (9_999 - pair)).to_le_bytes();
            let digits: String = digits.iter().map(|digit| char::from(b'0' + digit)).collect();
            assert_eq!(digits, format!("{pair:04}{:04}", 9_999 - pair));
        }
    }

    proptest! {
        #[test]
        fn as_the_standard_library_writes_them(value: i64, shift in 0_u32..64) {
            prop_assert_eq!(written(value >> shift), (value >> shift).to_string());
        }
    }
}
