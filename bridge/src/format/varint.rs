//! Whole numbers of as many bytes as they need: seven bits a byte, the lowest first, and the
//! highest bit says that more follow. So Avro, Protobuf and Confluent's framing write them.

/// Why bytes are no number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wrong {
    /// They end within it.
    Short,
    /// It has more than 64 bits.
    Long,
}

/// The number that stands first, and how many bytes it has.
#[inline(always)]
pub(super) fn read(bytes: &[u8]) -> Result<(u64, usize), Wrong> {
    match bytes {
        [first, ..] if *first < 0x80 => Ok((u64::from(*first), 1)),
        [first, second, ..] if *second < 0x80 => {
            Ok((u64::from(first & 0x7f) | u64::from(*second) << 7, 2))
        }
        _ => read_long(bytes),
    }
}

/// The same of three bytes and more.
#[inline]
fn read_long(bytes: &[u8]) -> Result<(u64, usize), Wrong> {
    if let Some(word) = bytes.first_chunk::<8>() {
        let word = u64::from_le_bytes(*word);
        let ends = !word & 0x8080_8080_8080_8080;
        if ends != 0 {
            // Up to the first byte that nothing follows.
            let bits = ends.trailing_zeros() + 1;
            return Ok((packed(word & (u64::MAX >> (64 - bits))), bits as usize / 8));
        }
    }
    read_by_bytes(bytes)
}

/// The seven lower bits of all eight bytes, side by side.
#[inline]
fn packed(word: u64) -> u64 {
    let x = word & 0x7f7f_7f7f_7f7f_7f7f;
    let x = (x & 0x007f_007f_007f_007f) | ((x & 0x7f00_7f00_7f00_7f00) >> 1);
    let x = (x & 0x0000_3fff_0000_3fff) | ((x & 0x3fff_0000_3fff_0000) >> 2);
    (x & 0x0000_0000_0fff_ffff) | ((x & 0x0fff_ffff_0000_0000) >> 4)
}

/// Byte by byte: at the end of a value, and for the longest.
#[cold]
fn read_by_bytes(bytes: &[u8]) -> Result<(u64, usize), Wrong> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        // The tenth byte holds the last bit.
        if index == 9 && *byte > 1 {
            return Err(Wrong::Long);
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            return Ok((value, index + 1));
        }
    }
    Err(if bytes.len() < 10 { Wrong::Short } else { Wrong::Long })
}

/// The number with a sign behind one that was written by zigzag: 0, -1, 1, -2, …
#[inline(always)]
pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(mut value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
        out
    }

    proptest! {
        #[test]
        fn numbers_are_read_as_they_were_written(
            value in any::<u64>(),
            shift in 0_u32..64,
            behind in prop::collection::vec(any::<u8>(), 0..12),
        ) {
            let value = value >> shift;
            let bytes = written(value);
            let all = [&bytes[..], &behind].concat();
            prop_assert_eq!(read(&all), Ok((value, bytes.len())));
            prop_assert_eq!(read(&bytes[..bytes.len() - 1]), Err(Wrong::Short));
        }

        #[test]
        fn words_and_bytes_say_the_same(bytes in prop::collection::vec(any::<u8>(), 0..14)) {
            prop_assert_eq!(read(&bytes), read_by_bytes(&bytes));
        }
    }

    #[test]
    fn more_than_64_bits_are_no_number() {
        assert_eq!(read(&[0xff; 10]), Err(Wrong::Long));
        assert_eq!(read(&[0x80; 12]), Err(Wrong::Long));
        let most = [&[0xff; 9][..], &[1]].concat();
        assert_eq!(read(&most), Ok((u64::MAX, 10)));
        assert_eq!((unzigzag(u64::MAX), unzigzag(1), unzigzag(2)), (i64::MIN, -1, 1));
    }
}
