//! An answer as it comes in: fields out of a small buffer, records straight from the connection
//! into where they are to stay.

use std::io::{ErrorKind, Read};

use super::Broken;
use super::write::CORRELATION;

/// What is read ahead of the fields: an answer's head, and a little of its first records.
const AHEAD_BYTES: usize = 8 << 10;

/// One answer. Nothing is read beyond its end.
pub struct Frame<'a, R> {
    from: &'a mut R,
    buffer: &'a mut Buffer,
    /// Bytes of the answer that were not read from the connection yet.
    coming: usize,
    flexible: bool,
}

/// The bytes that were read ahead, kept for the next answer's use.
pub struct Buffer {
    bytes: Vec<u8>,
    at: usize,
    end: usize,
}

impl Default for Buffer {
    fn default() -> Buffer {
        Buffer { bytes: vec![0; AHEAD_BYTES], at: 0, end: 0 }
    }
}

impl<'a, R: Read> Frame<'a, R> {
    /// Waits for an answer, and reads its head. `bytes_max` is what an answer may have.
    pub fn begin(
        from: &'a mut R,
        buffer: &'a mut Buffer,
        bytes_max: usize,
        flexible: bool,
    ) -> Result<Frame<'a, R>, Broken> {
        (buffer.at, buffer.end) = (0, 0);
        let mut frame = Frame { from, buffer, coming: 4, flexible };
        let bytes = frame.i32()?;
        let bytes = usize::try_from(bytes).map_err(|_| Broken::Nonsense("size"))?;
        if bytes > bytes_max {
            return Err(Broken::TooLarge { bytes });
        }
        frame.coming = bytes;
        if frame.i32()? != CORRELATION {
            return Err(Broken::Nonsense("correlation_id"));
        }
        frame.tags(|_, _| Ok(()))?;
        Ok(frame)
    }

    /// Bytes of the answer that were not used yet.
    pub fn left(&self) -> usize {
        self.coming + self.buffer.end - self.buffer.at
    }

    /// Whether the version is a flexible one.
    pub fn is_flexible(&self) -> bool {
        self.flexible
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        self.need(N)?;
        let at = self.buffer.at;
        self.buffer.at += N;
        Ok(self.buffer.bytes[at..at + N].try_into().expect("so many bytes are there"))
    }

    /// Has at least so many bytes in the buffer.
    fn need(&mut self, count: usize) -> Result<(), Broken> {
        let Buffer { bytes, at, end } = &mut *self.buffer;
        if *end - *at >= count {
            return Ok(());
        }
        if self.coming + *end - *at < count {
            return Err(Broken::Nonsense("end of the answer"));
        }
        bytes.copy_within(*at..*end, 0);
        (*at, *end) = (0, *end - *at);
        if bytes.len() < count {
            bytes.resize(count, 0);
        }
        while *end < count {
            let most = (bytes.len() - *end).min(self.coming);
            let read = read_some(self.from, &mut bytes[*end..*end + most])?;
            *end += read;
            self.coming -= read;
        }
        Ok(())
    }

    /// One byte.
    pub fn i8(&mut self) -> Result<i8, Broken> {
        self.take().map(i8::from_be_bytes)
    }

    /// Two bytes.
    pub fn i16(&mut self) -> Result<i16, Broken> {
        self.take().map(i16::from_be_bytes)
    }

    /// Four bytes.
    pub fn i32(&mut self) -> Result<i32, Broken> {
        self.take().map(i32::from_be_bytes)
    }

    /// Eight bytes.
    pub fn i64(&mut self) -> Result<i64, Broken> {
        self.take().map(i64::from_be_bytes)
    }

    fn uvarint(&mut self) -> Result<u32, Broken> {
        let mut value = 0u64;
        for shift in (0..35).step_by(7) {
            let [byte] = self.take::<1>()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(value).map_err(|_| Broken::Nonsense("varint"));
            }
        }
        Err(Broken::Nonsense("varint"))
    }

    /// A length; `None` is null.
    fn length(&mut self, wide: bool) -> Result<Option<usize>, Broken> {
        if self.flexible {
            return Ok(self.uvarint()?.checked_sub(1).map(|length| length as usize));
        }
        let length = if wide { self.i32()? } else { i32::from(self.i16()?) };
        Ok(usize::try_from(length).ok())
    }

    /// Text; null and empty are the same to us.
    pub fn text(&mut self) -> Result<String, Broken> {
        let length = self.length(false)?.unwrap_or(0);
        // Whatever a flexible version could say, a name has less.
        if length > i16::MAX as usize {
            return Err(Broken::Nonsense("length of a text"));
        }
        self.need(length)?;
        let at = self.buffer.at;
        self.buffer.at += length;
        let text = &self.buffer.bytes[at..at + length];
        String::from_utf8(text.to_vec()).map_err(|_| Broken::Nonsense("text"))
    }

    /// The length of an array whose elements take at least `bytes_min` each: never more than the
    /// answer can hold.
    pub fn count(&mut self, bytes_min: usize) -> Result<usize, Broken> {
        let count = self.length(true)?.unwrap_or(0);
        match count.checked_mul(bytes_min) {
            Some(bytes) if bytes <= self.left() => Ok(count),
            _ => Err(Broken::Nonsense("count")),
        }
    }

    /// The length of bytes that follow: never more than the answer can hold.
    pub fn bytes(&mut self) -> Result<usize, Broken> {
        let length = self.length(true)?.unwrap_or(0);
        if length > self.left() { Err(Broken::Nonsense("length of records")) } else { Ok(length) }
    }

    /// Tagged fields: each by its number, with a frame that must be read to `length` bytes or less.
    pub fn tags(
        &mut self,
        mut each: impl FnMut(u32, &mut Frame<'a, R>) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.uvarint()? {
            let tag = self.uvarint()?;
            let length = self.uvarint()? as usize;
            let end = self.left().checked_sub(length).ok_or(Broken::Nonsense("tagged field"))?;
            each(tag, self)?;
            let unread = self.left().checked_sub(end).ok_or(Broken::Nonsense("tagged field"))?;
            self.skip(unread)?;
        }
        Ok(())
    }

    /// Reads past so many bytes.
    pub fn skip(&mut self, mut count: usize) -> Result<(), Broken> {
        while count > 0 {
            let part = count.min(AHEAD_BYTES);
            self.need(part)?;
            self.buffer.at += part;
            count -= part;
        }
        Ok(())
    }

    /// Fills `into`: first from what was read ahead, then from the connection.
    pub fn fill(&mut self, into: &mut [u8]) -> Result<(), Broken> {
        let Buffer { bytes, at, end } = &mut *self.buffer;
        let ready = into.len().min(*end - *at);
        into[..ready].copy_from_slice(&bytes[*at..*at + ready]);
        *at += ready;
        let mut rest = &mut into[ready..];
        if rest.len() > self.coming {
            return Err(Broken::Nonsense("end of the answer"));
        }
        while !rest.is_empty() {
            let read = read_some(self.from, rest)?;
            self.coming -= read;
            rest = &mut rest[read..];
        }
        Ok(())
    }

    /// Reads what is left: fields of versions that are newer than ours.
    pub fn finish(mut self) -> Result<(), Broken> {
        self.skip(self.left())
    }
}

fn read_some(from: &mut impl Read, into: &mut [u8]) -> Result<usize, Broken> {
    match from.read(into)? {
        0 => Err(Broken::Connection(ErrorKind::UnexpectedEof.into())),
        read => Ok(read),
    }
}
