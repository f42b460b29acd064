//! Avro's values in letters: decimals in digits, UUIDs, durations as ISO 8601 has them.

use std::io::Write as _;

/// A decimal's number without the bytes in front that only repeat its sign; never empty.
pub fn unscaled(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let [first @ (0 | 0xff), after @ ..] = rest
        && after.first().is_some_and(|next| (next ^ first) & 0x80 == 0)
    {
        rest = after;
    }
    if rest.is_empty() { &[0] } else { rest }
}

/// Appends a decimal's digits: `-12.30`. `bytes` are its unscaled number, big-endian two's
/// complement.
pub fn push_decimal(out: &mut Vec<u8>, bytes: &[u8], scale: u8) {
    let mut number = unscaled(bytes).to_vec();
    let negative = number[0] & 0x80 != 0;
    if negative {
        let mut carry = true;
        for byte in number.iter_mut().rev() {
            let (flipped, over) = (!*byte).overflowing_add(u8::from(carry));
            (*byte, carry) = (flipped, over);
        }
        out.push(b'-');
    }
    let mut digits = Vec::new();
    while number.iter().any(|byte| *byte != 0) || digits.len() <= usize::from(scale) {
        let mut rest = 0_u16;
        for byte in &mut number {
            let value = rest << 8 | u16::from(*byte);
            *byte = (value / 10) as u8;
            rest = value % 10;
        }
        digits.push(b'0' + rest as u8);
    }
    for (place, digit) in digits.iter().enumerate().rev() {
        out.push(*digit);
        if place == usize::from(scale) && place > 0 {
            out.push(b'.');
        }
    }
}

/// Appends a UUID: `00112233-4455-6677-8899-aabbccddeeff`.
pub fn push_uuid(out: &mut Vec<u8>, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}

/// Appends a duration of months, days and milliseconds: `P3M2DT1.500S`. Each is a number of 32
/// bits, little-endian.
pub fn push_duration(out: &mut Vec<u8>, bytes: &[u8]) {
    let (parts, _) = bytes.as_chunks::<4>();
    let part = |index: usize| parts.get(index).map_or(0, |part| u32::from_le_bytes(*part));
    let (months, days, ms) = (part(0), part(1), part(2));
    let (seconds, ms) = (ms / 1000, ms % 1000);
    write!(out, "P{months}M{days}DT{seconds}.{ms:03}S").expect("a vector takes everything");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decimal(bytes: &[u8], scale: u8) -> String {
        let mut out = Vec::new();
        push_decimal(&mut out, bytes, scale);
        String::from_utf8(out).expect("digits")
    }

    #[test]
    fn decimals_are_exact() {
        assert_eq!(decimal(&[0x30, 0x39], 2), "123.45");
        assert_eq!(decimal(&[0xff], 2), "-0.01");
        assert_eq!(decimal(&[], 0), "0");
        assert_eq!(decimal(&[0, 0, 5], 3), "0.005");
        assert_eq!(decimal(&[0x80], 0), "-128");
    }

    #[test]
    fn uuids_and_durations_are_as_people_write_them() {
        let bytes: Vec<u8> = (0..16).map(|i| i * 0x11).collect();
        let mut out = Vec::new();
        push_uuid(&mut out, &bytes);
        assert_eq!(out, b"00112233-4455-6677-8899-aabbccddeeff");
        out.clear();
        push_duration(&mut out, &[3, 0, 0, 0, 2, 0, 0, 0, 0xdc, 5, 0, 0]);
        assert_eq!(out, b"P3M2DT1.500S");
    }

    proptest! {
        #[test]
        fn decimals_are_those_of_128_bits(number in any::<i128>(), scale in 0_u8..40) {
            let width = usize::from(scale) + 1;
            let digits = format!("{:0>width$}", number.unsigned_abs());
            let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
            let point = if scale > 0 { "." } else { "" };
            let sign = if number < 0 { "-" } else { "" };
            let expected = format!("{sign}{whole}{point}{fraction}");
            prop_assert_eq!(decimal(&number.to_be_bytes(), scale), expected);
        }

        #[test]
        fn what_only_repeats_the_sign_is_no_part(number in any::<i64>()) {
            let bytes = number.to_be_bytes();
            let short = unscaled(&bytes);
            let fill = if short[0] & 0x80 == 0 { 0 } else { 0xff };
            let mut wide = [fill; 8];
            wide[8 - short.len()..].copy_from_slice(short);
            prop_assert_eq!(i64::from_be_bytes(wide), number);
            let repeats = |two: &[u8]| matches!((two[0], two[1] >> 7), (0, 0) | (0xff, 1));
            prop_assert!(short.len() == 1 || !repeats(short));
        }
    }
}
