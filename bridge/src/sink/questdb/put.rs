//! Where bytes of a line are put. A row is written through a [`Cursor`], whose position stays in a
//! register: a vector keeps its length in memory, and thirty short appends would wait for one
//! another there.

/// Takes bytes. Short ones come as an array of which the first `len` count: a copy of known
/// length is an instruction or two, one of unknown length a call.
pub trait Put {
    fn byte(&mut self, byte: u8);
    fn eight(&mut self, bytes: [u8; 8], len: usize);
    fn sixteen(&mut self, bytes: &[u8; 16], len: usize);
    fn all(&mut self, bytes: &[u8]);
}

impl Put for Vec<u8> {
    #[inline]
    fn byte(&mut self, byte: u8) {
        self.push(byte);
    }

    #[inline]
    fn eight(&mut self, bytes: [u8; 8], len: usize) {
        self.extend_from_slice(&bytes[..len]);
    }

    #[inline]
    fn sixteen(&mut self, bytes: &[u8; 16], len: usize) {
        self.extend_from_slice(&bytes[..len]);
    }

    #[inline]
    fn all(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// A place in a buffer. What does not fit is not written but counted, so that it is asked only
/// once for each row whether all did.
pub struct Cursor<'a> {
    buffer: &'a mut [u8],
    at: usize,
}

/// The most that one call writes beyond what it was asked to.
const BEYOND: usize = 16;

impl<'a> Cursor<'a> {
    #[inline(always)]
    pub fn new(buffer: &'a mut [u8]) -> Cursor<'a> {
        Cursor { buffer, at: 0 }
    }

    /// How many bytes were put.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.at
    }

    /// Whether all of them were written.
    #[inline(always)]
    pub fn fits(&self) -> bool {
        self.at + BEYOND <= self.buffer.len()
    }

    /// Writes over a byte.
    #[inline(always)]
    pub fn set(&mut self, at: usize, byte: u8) {
        if let Some(place) = self.buffer.get_mut(at) {
            *place = byte;
        }
    }

    /// Takes the last bytes back.
    #[inline(always)]
    pub fn take_back(&mut self, count: usize) {
        self.at -= count;
    }

    /// Lets a call that is not inlined put bytes: the cursor itself stays where it is.
    #[inline(always)]
    pub fn lend<T>(&mut self, put: impl FnOnce(&mut Cursor<'_>) -> T) -> T {
        let mut lent = Cursor { buffer: self.buffer, at: self.at };
        let done = put(&mut lent);
        self.at = lent.at;
        done
    }
}

impl Put for Cursor<'_> {
    #[inline(always)]
    fn byte(&mut self, byte: u8) {
        if let Some(place) = self.buffer.get_mut(self.at) {
            *place = byte;
        }
        self.at += 1;
    }

    #[inline(always)]
    fn eight(&mut self, bytes: [u8; 8], len: usize) {
        if let Some(place) = self.buffer.get_mut(self.at..self.at + 8) {
            place.copy_from_slice(&bytes);
        }
        self.at += len;
    }

    #[inline(always)]
    fn sixteen(&mut self, bytes: &[u8; 16], len: usize) {
        if let Some(place) = self.buffer.get_mut(self.at..self.at + 16) {
            place.copy_from_slice(bytes);
        }
        self.at += len;
    }

    #[inline(always)]
    fn all(&mut self, bytes: &[u8]) {
        if let Some(place) = self.buffer.get_mut(self.at..self.at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        self.at += bytes.len();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Byte(u8),
        Eight([u8; 8], usize),
        Sixteen([u8; 16], usize),
        All(Vec<u8>),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            any::<u8>().prop_map(Step::Byte),
            (any::<[u8; 8]>(), 0_usize..=8).prop_map(|(bytes, len)| Step::Eight(bytes, len)),
            (any::<[u8; 16]>(), 0_usize..=16).prop_map(|(bytes, len)| Step::Sixteen(bytes, len)),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(Step::All),
        ]
    }

    fn put(to: &mut impl Put, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Byte(byte) => to.byte(*byte),
                Step::Eight(bytes, len) => to.eight(*bytes, *len),
                Step::Sixteen(bytes, len) => to.sixteen(bytes, *len),
                Step::All(bytes) => to.all(bytes),
            }
        }
    }

    proptest! {
        #[test]
        fn what_fits_is_what_a_vector_has(
            steps in prop::collection::vec(step(), 0..20), room in 0_usize..300,
        ) {
            let mut expected = Vec::new();
            put(&mut expected, &steps);
            let mut buffer = vec![0; room];
            let mut cursor = Cursor::new(&mut buffer);
            put(&mut cursor, &steps);
            prop_assert_eq!(cursor.len(), expected.len());
            prop_assert_eq!(cursor.fits(), expected.len() + 16 <= room);
            if cursor.fits() {
                prop_assert_eq!(&buffer[..expected.len()], expected);
            }
        }
    }
}
