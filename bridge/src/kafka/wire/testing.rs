//! Writes record batches for tests, by the format's description and not by what reads them here;
//! compressors are the libraries' own.

use std::io::Write;

use super::vet::Codec;

/// A record to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Beyond the batch's first.
    pub offset_delta: i32,
    /// Beyond the batch's first.
    pub timestamp_delta: i64,
    /// `None` is null.
    pub key: Option<Vec<u8>>,
    /// `None` is null.
    pub value: Option<Vec<u8>>,
    /// Names and values.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// A batch to be written.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Its first offset.
    pub base_offset: i64,
    /// What its last offset is beyond the first; compaction leaves it as it was.
    pub last_delta: i32,
    /// How its records are compressed.
    pub codec: Codec,
    /// Milliseconds since 1970.
    pub base_timestamp: i64,
    /// The broker's time, if it counts.
    pub append_timestamp: Option<i64>,
    /// -1 is none.
    pub producer: i64,
    /// Whether it is of a transaction.
    pub is_transactional: bool,
    /// Whether it is a transaction's end.
    pub is_control: bool,
    /// The leadership.
    pub epoch: i32,
    /// Its records.
    pub records: Vec<Written>,
}

impl Batch {
    /// Records of these values from an offset on.
    pub fn of(base_offset: i64, values: &[&str]) -> Batch {
        let record = |(delta, value): (usize, &&str)| Written {
            offset_delta: delta as i32,
            value: Some(value.as_bytes().to_vec()),
            ..Written::default()
        };
        Batch {
            base_offset,
            last_delta: values.len() as i32 - 1,
            codec: Codec::None,
            base_timestamp: 1_000,
            append_timestamp: None,
            producer: -1,
            is_transactional: false,
            is_control: false,
            epoch: 3,
            records: values.iter().enumerate().map(record).collect(),
        }
    }

    /// The same in a transaction of a producer.
    pub fn by(mut self, producer: i64) -> Batch {
        self.producer = producer;
        self.is_transactional = true;
        self
    }

    /// The end of a producer's transaction: 0 is an abort, 1 a commit.
    pub fn end(offset: i64, producer: i64, kind: u8) -> Batch {
        let mut batch = Batch::of(offset, &["....."]).by(producer);
        batch.is_control = true;
        batch.records[0].key = Some(vec![0, 0, 0, kind]);
        batch
    }

    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut records = Vec::new();
        for record in &self.records {
            let body = body(record);
            varint(&mut records, body.len() as i64);
            records.extend(body);
        }
        self.around(&pack(self.codec, &records), self.records.len() as i32)
    }

    /// A batch around packed records.
    pub fn around(&self, packed: &[u8], count: i32) -> Vec<u8> {
        let codec = match self.codec {
            Codec::None => 0,
            Codec::Gzip => 1,
            Codec::Snappy => 2,
            Codec::Lz4 => 3,
            Codec::Zstd => 4i16,
        };
        let attributes = codec
            | i16::from(self.append_timestamp.is_some()) << 3
            | i16::from(self.is_transactional) << 4
            | i16::from(self.is_control) << 5;
        let mut summed = Vec::new();
        summed.extend(attributes.to_be_bytes());
        summed.extend(self.last_delta.to_be_bytes());
        summed.extend(self.base_timestamp.to_be_bytes());
        summed.extend(self.append_timestamp.unwrap_or(self.base_timestamp).to_be_bytes());
        summed.extend(self.producer.to_be_bytes());
        summed.extend(0i16.to_be_bytes());
        summed.extend(0i32.to_be_bytes());
        summed.extend(count.to_be_bytes());
        summed.extend(packed);
        let mut bytes = Vec::new();
        bytes.extend(self.base_offset.to_be_bytes());
        bytes.extend((summed.len() as i32 + 9).to_be_bytes());
        bytes.extend(self.epoch.to_be_bytes());
        bytes.push(2);
        bytes.extend(castagnoli(&summed).to_be_bytes());
        bytes.extend(summed);
        bytes
    }
}

fn body(record: &Written) -> Vec<u8> {
    let mut body = vec![0];
    varint(&mut body, record.timestamp_delta);
    varint(&mut body, i64::from(record.offset_delta));
    slice(&mut body, record.key.as_deref());
    slice(&mut body, record.value.as_deref());
    varint(&mut body, record.headers.len() as i64);
    for (name, value) in &record.headers {
        slice(&mut body, Some(name));
        slice(&mut body, value.as_deref());
    }
    body
}

fn slice(into: &mut Vec<u8>, bytes: Option<&[u8]>) {
    varint(into, bytes.map_or(-1, |bytes| bytes.len() as i64));
    into.extend(bytes.unwrap_or_default());
}

fn varint(into: &mut Vec<u8>, value: i64) {
    let mut value = ((value << 1) ^ (value >> 63)) as u64;
    while value > 0x7f {
        into.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

/// CRC-32C, a bit at a time.
fn castagnoli(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}

/// Compresses records as a producer does.
pub fn pack(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    match codec {
        Codec::None => bytes.to_vec(),
        Codec::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            encoder.write_all(bytes).expect("memory takes all");
            encoder.finish().expect("memory takes all")
        }
        Codec::Snappy => snap::raw::Encoder::new().compress_vec(bytes).expect("it is small"),
        Codec::Lz4 => lz4(bytes, lz4_flex::frame::BlockMode::Independent),
        Codec::Zstd => {
            let mut packed = vec![0; zstd_safe::compress_bound(bytes.len())];
            let len = zstd_safe::compress(&mut packed[..], bytes, 3).expect("there is room");
            packed.truncate(len);
            packed
        }
    }
}

/// A frame of LZ4 whose blocks refer to the ones before, or do not.
pub fn lz4(bytes: &[u8], mode: lz4_flex::frame::BlockMode) -> Vec<u8> {
    let info = lz4_flex::frame::FrameInfo::new()
        .block_mode(mode)
        .block_size(lz4_flex::frame::BlockSize::Max64KB);
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

/// The frame that Java's Snappy library writes: blocks behind their sizes.
pub fn java_snappy(bytes: &[u8], block_bytes: usize) -> Vec<u8> {
    let mut packed = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    for block in bytes.chunks(block_bytes) {
        let block = pack(Codec::Snappy, block);
        packed.extend((block.len() as i32).to_be_bytes());
        packed.extend(block);
    }
    packed
}
