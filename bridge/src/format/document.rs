//! A document's bytes, read eight or sixteen at once. Behind its last byte there are zeros, which
//! stand nowhere in JSON and mean nothing in CSV and line protocol, so that whoever reads on stops
//! there without asking where the end is. No byte outside of the document is touched: it lies in
//! memory that is lent.

/// Eight times the same byte.
pub(super) const fn all(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The `true` or `false` that a word begins with, and how many bytes it has.
#[inline(always)]
pub(super) fn boolean(word: u64) -> Option<(bool, usize)> {
    const TRUE: u64 = u32::from_le_bytes(*b"true") as u64;
    const FALSE: u64 = u64::from_le_bytes(*b"false\0\0\0");
    match word & 0xff_ffff_ffff {
        FALSE => Some((false, 5)),
        word if word & 0xffff_ffff == TRUE => Some((true, 4)),
        _ => None,
    }
}

/// Bytes that are looked for together; none of them is zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needles<const N: usize>([u64; N]);

impl<const N: usize> Needles<N> {
    /// Panics with a zero, for zeros stand behind a document.
    pub(super) const fn new(bytes: [u8; N]) -> Needles<N> {
        let mut words = [0; N];
        let mut at = 0;
        while at < N {
            assert!(bytes[at] != 0, "zeros stand behind a document");
            words[at] = all(bytes[at]);
            at += 1;
        }
        Needles(words)
    }
}

/// The bytes of one record.
#[derive(Clone, Copy)]
pub(super) struct Document<'a> {
    bytes: &'a [u8],
    /// Invariant: from every position below this one, sixteen bytes can be read.
    wide: usize,
}

impl<'a> Document<'a> {
    #[inline(always)]
    pub(super) fn new(bytes: &'a [u8]) -> Document<'a> {
        Document { bytes, wide: bytes.len().saturating_sub(15) }
    }

    #[inline(always)]
    pub(super) fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Eight bytes, the first one lowest.
    #[inline(always)]
    pub(super) fn eight(self, at: usize) -> u64 {
        if at < self.wide {
            // SAFETY: sixteen bytes from here lie within the slice, by the invariant; a byte array
            // has no alignment and no bit pattern that it could not have.
            u64::from_le_bytes(unsafe { *self.bytes.as_ptr().add(at).cast() })
        } else {
            self.last(at) as u64
        }
    }

    /// Sixteen bytes, the first one lowest.
    #[inline(always)]
    pub(super) fn sixteen(self, at: usize) -> u128 {
        if at < self.wide {
            // SAFETY: as above.
            u128::from_le_bytes(unsafe { *self.bytes.as_ptr().add(at).cast() })
        } else {
            self.last(at)
        }
    }

    /// The same where fewer than sixteen are left.
    #[inline]
    fn last(self, at: usize) -> u128 {
        let left = self.bytes.len().saturating_sub(at);
        if left == 0 {
            return 0;
        }
        match self.bytes.last_chunk::<16>() {
            Some(chunk) => {
                let behind = 16_usize.saturating_sub(left);
                u128::from_le_bytes(*chunk) >> (8 * behind)
            }
            None => {
                let mut chunk = [0; 16];
                chunk[..left].copy_from_slice(&self.bytes[at..]);
                u128::from_le_bytes(chunk)
            }
        }
    }

    /// Whether the document is text: UTF-8. Most of them are ASCII, which is seen sooner.
    #[inline(always)]
    pub(super) fn is_text(self) -> bool {
        self.is_ascii() || simdutf8::basic::from_utf8(self.bytes).is_ok()
    }

    /// Whether all bytes are ASCII.
    #[inline(always)]
    fn is_ascii(self) -> bool {
        let (chunks, rest) = self.bytes.as_chunks();
        let high = chunks.iter().fold(0, |high, chunk| high | u128::from_le_bytes(*chunk));
        let last = self.sixteen(self.bytes.len() - rest.len());
        (high | last) & u128::from_le_bytes([0x80; 16]) == 0
    }

    /// The end of the plain text that begins at `at`, and whether all of it is ASCII: the first
    /// byte that is a quote, a backslash or a control character, or the document's end.
    #[inline(always)]
    pub(super) fn end_of_text(self, at: usize) -> (usize, bool) {
        let mut at = at;
        let mut high = 0;
        loop {
            let word = self.eight(at);
            // Each is exact up to the lowest byte that it finds; only above may it see too much.
            let below = |word: u64, least: u8| word.wrapping_sub(all(least)) & !word;
            let quote = below(word ^ all(b'"'), 1);
            let backslash = below(word ^ all(b'\\'), 1);
            let found = (quote | backslash | below(word, b' ')) & all(0x80);
            if found != 0 {
                let before = (found & found.wrapping_neg()) - 1;
                high |= word & before & all(0x80);
                return (at + found.trailing_zeros() as usize / 8, high == 0);
            }
            high |= word & all(0x80);
            at += 8;
        }
    }

    /// The byte at a position; zero behind the end.
    #[inline(always)]
    pub(super) fn byte(self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    /// The position of the first of the needles from `at` on, or the document's end.
    #[inline(always)]
    pub(super) fn find<const N: usize>(self, at: usize, needles: &Needles<N>) -> usize {
        let mut at = at;
        while at < self.bytes.len() {
            let word = self.eight(at);
            // Exact up to the lowest byte that it finds; only above may it see too much.
            let same = |needle: u64| (word ^ needle).wrapping_sub(all(1)) & !(word ^ needle);
            let found = needles.0.iter().fold(0, |found, needle| found | same(*needle));
            let found = found & all(0x80);
            if found != 0 {
                return at + found.trailing_zeros() as usize / 8;
            }
            at += 8;
        }
        self.bytes.len()
    }

    /// Appends what lies between two positions of the document.
    #[inline(always)]
    pub(super) fn copy(self, from: usize, to: usize, out: &mut Vec<u8>) {
        let len = to - from;
        if len <= 16 {
            // Sixteen at once, and too much of them left out: faster than a copy of unknown length.
            let bytes = self.sixteen(from).to_le_bytes();
            let end = out.len() + len;
            out.reserve(16);
            // SAFETY: behind its length there is room for sixteen bytes, which a byte array fills
            // wherever it stands; of them at most all are counted.
            unsafe {
                out.as_mut_ptr().add(out.len()).cast::<[u8; 16]>().write(bytes);
                out.set_len(end);
            }
        } else {
            out.extend_from_slice(&self.bytes[from..to]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn words_are_the_bytes_and_then_zeros(
            bytes in prop::collection::vec(any::<u8>(), 0..40), at in 0_usize..60,
        ) {
            let document = Document::new(&bytes);
            let mut padded = bytes.clone();
            padded.resize(100, 0);
            let sixteen: [u8; 16] = padded[at..at + 16].try_into().expect("sixteen bytes");
            prop_assert_eq!(document.sixteen(at), u128::from_le_bytes(sixteen));
            prop_assert_eq!(document.eight(at), u128::from_le_bytes(sixteen) as u64);
        }

        #[test]
        fn ascii_is_ascii_at_every_place(len in 0_usize..70, at in 0_usize..70, byte: u8) {
            let mut bytes = vec![b'a'; len];
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            prop_assert_eq!(Document::new(&bytes).is_ascii(), bytes.is_ascii());
        }

        #[test]
        fn text_is_what_the_standard_library_takes(
            text in "[a-zäλ€🦀]{0,24}",
            end in 0_usize..100,
            at in 0_usize..100,
            byte in any::<u8>(),
        ) {
            let mut bytes = text.into_bytes();
            // Cut within a letter, perhaps, and with a byte that is none there.
            bytes.truncate(end);
            prop_assert_eq!(Document::new(&bytes).is_text(), str::from_utf8(&bytes).is_ok());
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            prop_assert_eq!(Document::new(&bytes).is_text(), str::from_utf8(&bytes).is_ok());
        }

        #[test]
        fn what_is_looked_for_is_found_first(
            bytes in prop::collection::vec(
                prop_oneof![3 => any::<u8>(), 2 => prop::sample::select(&b",\n\"\x01\x80+-"[..])],
                0..40,
            ),
            needles in prop::array::uniform4(prop::sample::select(&b",\n\"\x01\x80x"[..])),
            at in 0_usize..45,
        ) {
            let rest = bytes.get(at..).unwrap_or_default();
            let found = rest.iter().position(|byte| needles.contains(byte));
            let expected = found.map_or(bytes.len(), |found| at + found);
            let document = Document::new(&bytes);
            prop_assert_eq!(document.find(at, &Needles::new(needles)), expected);
        }

        #[test]
        fn copies_are_what_was_there(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            from in 0_usize..60,
            to in 0_usize..60,
        ) {
            let to = to.min(bytes.len());
            let from = from.min(to);
            let mut out = b"before".to_vec();
            Document::new(&bytes).copy(from, to, &mut out);
            prop_assert_eq!(&out[6..], &bytes[from..to]);
        }

        #[test]
        fn text_ends_where_a_byte_by_byte_search_ends(
            // Mostly the bytes around which the search turns.
            bytes in prop::collection::vec(
                prop_oneof![
                    4 => 0x20_u8..0x80, 1 => any::<u8>(),
                    1 => prop::sample::select(&b"\"\\\x00\x1f\x20\x21\x23\x5b\x5d\x7f\x80\xa2\xdc\xff"[..]),
                ],
                0..40,
            ),
            at in 0_usize..20,
        ) {
            let at = at.min(bytes.len());
            let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
            let end = bytes[at..].iter().position(ends).map_or(bytes.len(), |found| at + found);
            let found = Document::new(&bytes).end_of_text(at);
            prop_assert_eq!(found, (end, bytes[at..end].is_ascii()));
        }
    }
}
