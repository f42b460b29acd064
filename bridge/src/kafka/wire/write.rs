//! Requests as bytes. A flexible version writes lengths as varints, one larger than they are, and
//! ends each structure with its tagged fields, of which we have none.

/// A request under way.
pub struct Writer {
    bytes: Vec<u8>,
    flexible: bool,
}

impl Writer {
    /// Begins a request: its head, and room for its length. Reuses `bytes`.
    pub fn request(
        mut bytes: Vec<u8>,
        key: i16,
        version: i16,
        flexible: bool,
        client: &str,
    ) -> Writer {
        bytes.clear();
        let mut writer = Writer { bytes, flexible: false };
        writer.i32(0);
        writer.i16(key);
        writer.i16(version);
        // One request at a time is under way: any number will do to tell its answer.
        writer.i32(CORRELATION);
        // The head's own name stays as it was in flexible versions.
        writer.text(client);
        writer.flexible = flexible;
        writer.end();
        writer
    }

    /// The request with its length.
    pub fn finish(mut self) -> Vec<u8> {
        let len = (self.bytes.len() - 4) as i32;
        self.bytes[..4].copy_from_slice(&len.to_be_bytes());
        self.bytes
    }

    /// One byte.
    pub fn i8(&mut self, value: i8) {
        self.bytes.push(value as u8);
    }

    /// Two bytes, the largest first.
    pub fn i16(&mut self, value: i16) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// Four bytes.
    pub fn i32(&mut self, value: i32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// Eight bytes.
    pub fn i64(&mut self, value: i64) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// Text. Names of topics and clients are shorter than 32 KiB.
    pub fn text(&mut self, text: &str) {
        match self.flexible {
            true => self.uvarint(text.len() as u32 + 1),
            false => self.i16(text.len() as i16),
        }
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// The length of an array whose elements follow.
    pub fn count(&mut self, count: usize) {
        match self.flexible {
            true => self.uvarint(count as u32 + 1),
            false => self.i32(count as i32),
        }
    }

    /// The end of a structure.
    pub fn end(&mut self) {
        if self.flexible {
            self.uvarint(0);
        }
    }

    fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}

/// The number that every request and its answer carry.
pub const CORRELATION: i32 = 7;
