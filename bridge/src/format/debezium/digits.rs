//! Decimals in digits, exact: a number of 256 bits and how many of its digits stand behind the
//! point.

use bridge_abi::DECIMAL_SCALE_MAX;

/// Numbers of this many limbs of 32 bits, the lowest first.
const LIMBS: usize = 8;

/// A decimal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Digits {
    magnitude: [u32; LIMBS],
    is_negative: bool,
    /// Digits behind the point.
    pub scale: u8,
}

impl Digits {
    /// The unscaled number, two's complement, big-endian.
    pub fn unscaled(&self) -> [u8; 4 * LIMBS] {
        let mut bytes = [0; 4 * LIMBS];
        let mut carry = true;
        for (limb, four) in self.magnitude.iter().zip(bytes.rchunks_exact_mut(4)) {
            let (value, over) = match self.is_negative {
                true => (!limb).overflowing_add(u32::from(carry)),
                false => (*limb, false),
            };
            carry = over;
            four.copy_from_slice(&value.to_be_bytes());
        }
        bytes
    }

    /// The same with so many digits behind the point; `None` if it has more than these, or has
    /// become too large.
    pub fn at(mut self, scale: u8) -> Option<Digits> {
        while self.scale < scale {
            self.push(0)?;
            self.scale += 1;
        }
        (self.scale == scale).then_some(self)
    }

    /// One digit more at the end; `None` if it has no room.
    fn push(&mut self, digit: u32) -> Option<()> {
        let mut carry = u64::from(digit);
        for limb in &mut self.magnitude {
            let value = u64::from(*limb) * 10 + carry;
            *limb = value as u32;
            carry = value >> 32;
        }
        // The highest bit is the sign's.
        (carry == 0 && self.magnitude[LIMBS - 1] >> 31 == 0).then_some(())
    }
}

/// Reads `-12.50`, also with an exponent; `None` if it is something else, or too large.
pub fn read(text: &[u8]) -> Option<Digits> {
    let (is_negative, mut rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let mut digits = Digits { magnitude: [0; LIMBS], is_negative, scale: 0 };
    let (mut behind, mut count, mut has_point) = (0_i32, 0_usize, false);
    let mut exponent = 0_i32;
    while let [byte, after @ ..] = rest {
        match byte {
            b'0'..=b'9' => {
                digits.push(u32::from(byte - b'0'))?;
                behind = behind.checked_add(i32::from(has_point))?;
                count += 1;
            }
            b'.' if !has_point => has_point = true,
            b'e' | b'E' => {
                exponent = std::str::from_utf8(after).ok()?.parse().ok()?;
                break;
            }
            _ => return None,
        }
        rest = after;
    }
    let mut scale = behind.checked_sub(exponent)?;
    if count == 0 || scale > i32::from(DECIMAL_SCALE_MAX) {
        return None;
    }
    // Of 256 bits fewer than 80 digits are left.
    while scale < 0 {
        if digits.magnitude != [0; LIMBS] {
            digits.push(0)?;
            scale += 1;
        } else {
            scale = 0;
        }
    }
    digits.scale = scale as u8;
    Some(digits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::avro::words;

    fn shown(text: &str) -> Option<String> {
        let digits = read(text.as_bytes())?;
        let mut out = Vec::new();
        words::push_decimal(&mut out, &digits.unscaled(), digits.scale);
        String::from_utf8(out).ok()
    }

    #[test]
    fn digits_are_read_as_they_are_written() {
        let check = |text: &str, expected: &str| {
            assert_eq!(shown(text).as_deref(), Some(expected), "{text}");
        };
        check("12.50", "12.50");
        check("-0.01", "-0.01");
        check("+7", "7");
        check("1e3", "1000");
        check("1.5e-7", "0.00000015");
        check("0e999", "0");
        check(".5", "0.5");
        let most = "9".repeat(76);
        check(&most, &most);
        for none in ["", "-", ".", "1,5", "NaN", "1e", "0x1", "1..2"] {
            assert_eq!(shown(none), None, "{none}");
        }
        assert_eq!(shown(&"9".repeat(78)), None);
        assert_eq!(shown("1e-77"), None);
        assert_eq!(shown("1e2147483647"), None);
        let scaled = read(b"-1.5").and_then(|digits| digits.at(3)).expect("it fits");
        assert_eq!(words::unscaled(&scaled.unscaled()), (-1500_i16).to_be_bytes());
        assert_eq!(read(b"1.55").and_then(|digits| digits.at(1)), None);
    }

    proptest! {
        #[test]
        fn they_are_those_of_128_bits(number in any::<i128>(), scale in 0_u8..38) {
            let mut out = Vec::new();
            words::push_decimal(&mut out, &number.to_be_bytes(), scale);
            let digits = read(&out).expect("it is one");
            prop_assert_eq!(digits.scale, scale);
            let (bytes, expected) = (digits.unscaled(), number.to_be_bytes());
            prop_assert_eq!(words::unscaled(&bytes), words::unscaled(&expected));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[-+]?[0-9.eE+-]{0,90}") {
            read(text.as_bytes());
        }
    }
}
