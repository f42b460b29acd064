//! What stands in every line, rendered once for each column: names with their commas and signs.

use super::put::Put;

/// Bytes that are put often.
#[derive(Clone, Debug, Default)]
pub struct Fragment {
    /// The first of them, zeros behind.
    first: [[u8; 16]; 2],
    /// All of them.
    all: Box<[u8]>,
}

impl Fragment {
    pub fn new(bytes: Vec<u8>) -> Fragment {
        let mut first = [[0; 16]; 2];
        for (place, byte) in first.as_flattened_mut().iter_mut().zip(&bytes) {
            *place = *byte;
        }
        Fragment { first, all: bytes.into_boxed_slice() }
    }

    /// Puts it.
    #[inline(always)]
    pub fn push(&self, out: &mut impl Put) {
        let len = self.all.len();
        if len <= 16 {
            out.sixteen(&self.first[0], len);
        } else if len <= 32 {
            out.sixteen(&self.first[0], 16);
            out.sixteen(&self.first[1], len - 16);
        } else {
            out.all(&self.all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_put_whole() {
        for len in 0..70_u8 {
            let bytes: Vec<u8> = (1..=len).collect();
            let mut out = vec![0];
            Fragment::new(bytes.clone()).push(&mut out);
            assert_eq!(out[1..], bytes);
        }
    }
}
