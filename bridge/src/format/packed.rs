//! Values that are compressed, each by itself: unpacked, then read by whatever format. A batch is
//! bounded by its bytes as they are fetched; what they unpack to may be a thousand times that, so
//! a batch is read in portions, each of which unpacks to no more than a batch may have.
//!
//! ```text
//! batch ─▶ some records, unpacked into one buffer ─▶ the format ─▶ rows: a portion
//!            ▲─────────────── the next ones ────────────────┘
//! ```

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::rewrap::decode_rewrapped;
use super::{Decoded, DecoderContext, Format, FormatPlan, Portion};
use crate::batch::{RecordBatch, Rewrapped, Room, RowBatch};
use crate::blame::Fault;
use crate::reject::{Reason, Rejects, Stage};
use crate::schemas::{Doors, Inquiry};
use crate::unpack::{Codec, Fail, Target, Unpacker, broken};

/// How values are compressed, each by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// Gzip (RFC 1952), one member or several.
    Gzip,
    /// Zstandard (RFC 8878), one frame or several.
    Zstd,
    /// Snappy: a bare block, or the frame of Java's library.
    Snappy,
    /// The frame of LZ4, one or several.
    Lz4,
}

impl Compression {
    fn codec(self) -> Codec {
        match self {
            Compression::None => Codec::None,
            Compression::Gzip => Codec::Gzip,
            Compression::Zstd => Codec::Zstd,
            Compression::Snappy => Codec::Snappy,
            Compression::Lz4 => Codec::Lz4,
        }
    }

    /// A format whose values are so compressed. `batch_bytes_max` is what is unpacked at once, but
    /// for a single value that is more.
    pub fn of(self, inner: Box<dyn FormatPlan>, batch_bytes_max: usize) -> Box<dyn FormatPlan> {
        match self {
            Compression::None => inner,
            _ => Box::new(Packed { codec: self.codec(), inner, batch_bytes_max }),
        }
    }
}

/// A format whose values are compressed.
#[derive(Debug)]
struct Packed {
    codec: Codec,
    inner: Box<dyn FormatPlan>,
    batch_bytes_max: usize,
}

impl FormatPlan for Packed {
    fn rebase(&mut self, base: &Path) {
        self.inner.rebase(base);
    }

    fn open(&self, doors: Doors) -> Result<(), Fault> {
        self.inner.open(doors)
    }

    fn decoder(&self, context: &DecoderContext) -> Box<dyn Format> {
        Box::new(Decoder {
            codec: self.codec,
            inner: self.inner.decoder(context),
            portion_bytes: self.batch_bytes_max,
            value_bytes_max: context.admission.record_bytes_max,
            unpacker: Unpacker::default(),
            bytes: Vec::new(),
            places: Vec::new(),
            room: Room::default(),
        })
    }

    fn explain(&self) -> Vec<String> {
        let mut lines = vec![format!("each compressed with {}", self.codec.name())];
        lines.extend(self.inner.explain());
        lines
    }

    fn inquiry(&self) -> Option<Inquiry<'_>> {
        self.inner.inquiry()
    }

    fn lane_bytes(&self) -> usize {
        // A buffer that grows may be twice as large as what is in it.
        2 * self.batch_bytes_max + self.inner.lane_bytes()
    }
}

/// The decoder of one lane.
struct Decoder {
    codec: Codec,
    inner: Box<dyn Format>,
    /// Values that unpack to so much are read before others are unpacked.
    portion_bytes: usize,
    /// A value that is larger, or unpacks to more, is refused.
    value_bytes_max: usize,
    unpacker: Unpacker,
    /// What the values of a portion unpacked to.
    bytes: Vec<u8>,
    /// Where each of them lies: (record, start, end); without a value (record, 1, 0).
    places: Vec<(usize, usize, usize)>,
    room: Room,
}

impl Format for Decoder {
    fn decode(
        &mut self,
        records: &RecordBatch,
        rows: &mut RowBatch,
        rejects: &mut Rejects,
    ) -> Result<Decoded, Fault> {
        let mut decoded = Decoded::default();
        let mut from = Some(0);
        while let Some(first) = from {
            let portion = self.portion(first, records, rows, rejects)?;
            decoded.skipped += portion.decoded.skipped;
            from = portion.next;
        }
        Ok(decoded)
    }

    fn portion(
        &mut self,
        from: usize,
        records: &RecordBatch,
        rows: &mut RowBatch,
        rejects: &mut Rejects,
    ) -> Result<Portion, Fault> {
        let next = self.unpack(from, records, rejects);
        let mut unpacked = Rewrapped::of(records, std::mem::take(&mut self.room));
        for (record, start, end) in &self.places {
            unpacked.push(*record, self.bytes.get(*start..*end));
        }
        let decoded = decode_rewrapped(&mut *self.inner, &unpacked, rows, rejects)?;
        self.room = unpacked.into_room();
        // One value may have been far larger than the others.
        self.bytes.truncate(2 * self.portion_bytes);
        self.bytes.shrink_to(2 * self.portion_bytes);
        Ok(Portion { decoded, next: next.filter(|next| *next < records.len()) })
    }
}

impl Decoder {
    /// Unpacks values from a record on, until there is enough for a portion; the record that comes
    /// after them.
    fn unpack(
        &mut self,
        from: usize,
        records: &RecordBatch,
        rejects: &mut Rejects,
    ) -> Option<usize> {
        self.places.clear();
        let mut len = 0;
        for index in from..records.len() {
            if len >= self.portion_bytes {
                return Some(index);
            }
            let Some(packed) = records.get(index).value else {
                self.places.push((index, 1, 0));
                continue;
            };
            match self.value(packed, len) {
                Ok(end) => {
                    self.places.push((index, len, end));
                    len = end;
                }
                Err((stage, reason, detail)) => rejects.push(index as u32, stage, reason, detail),
            }
        }
        None
    }

    /// Unpacks one value behind what is there; where it ends.
    fn value(&mut self, packed: &[u8], len: usize) -> Result<usize, (Stage, Reason, String)> {
        let max = self.value_bytes_max;
        if packed.is_empty() {
            return Err((Stage::Format, Reason::Empty, "the value has no bytes".to_owned()));
        }
        if packed.len() > max {
            let detail = format!("{} bytes are more than record_bytes_max = {max}", packed.len());
            return Err((Stage::Intake, Reason::TooLarge, detail));
        }
        let mut target = Target { bytes: &mut self.bytes, len, bytes_max: max };
        match self.unpacker.unpack_whole(self.codec, packed, &mut target) {
            Ok(()) => Ok(target.len),
            Err(Fail::TooLarge) => {
                let (name, bytes) = (self.codec.name(), packed.len());
                let detail =
                    format!("{bytes} bytes of {name} unpack to more than record_bytes_max = {max}");
                Err((Stage::Intake, Reason::TooLarge, detail))
            }
            Err(Fail::Broken(_)) => {
                let why = broken(self.codec, packed, max);
                let detail = format!("the value is not {}: {why}", self.codec.name());
                Err((Stage::Format, Reason::Malformed, detail))
            }
        }
    }
}

#[cfg(test)]
#[path = "packed_tests.rs"]
mod tests;
