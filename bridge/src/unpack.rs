//! Unpacks what was compressed, the records of a batch or a value, to a bound: what a few bytes may
//! become is for us to say, not for who compressed them. Pure.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;
use twox_hash::XxHash32;
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

/// How bytes are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Codec {
    /// Not at all.
    None,
    /// DEFLATE in gzip's frame.
    Gzip,
    /// Snappy, bare or in the frame of Java's library.
    Snappy,
    /// LZ4's frame.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// Why bytes are not unpacked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fail {
    /// They are not of this codec.
    Broken(&'static str),
    /// They unpack to more than is allowed.
    TooLarge,
}

impl Codec {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }
}

/// Unpacks one batch after the other; keeps what the libraries need from one to the next.
pub struct Unpacker {
    zstd: DCtx<'static>,
}

/// A place to unpack to: bytes that are there already, and may become more.
pub struct Target<'a> {
    /// All bytes; what lies behind `len` may be written over.
    pub bytes: &'a mut Vec<u8>,
    /// How many are in use.
    pub len: usize,
    /// The batch at hand may have at most so many.
    pub bytes_max: usize,
}

/// The first guess of what a batch unpacks to, where it does not say: so many times its size.
const GUESS: usize = 6;
/// A batch that claims to unpack to more than so many times its size has to show it.
const CLAIM: usize = 64;
/// Snappy cannot shrink more than this: a copy of 64 bytes takes three.
const SNAPPY_RATIO_MAX: usize = 22;
/// How Java's Snappy library begins; two version numbers of four bytes follow.
const JAVA_SNAPPY: &[u8] = b"\x82SNAPPY\0";

impl Default for Unpacker {
    fn default() -> Unpacker {
        Unpacker { zstd: DCtx::create() }
    }
}

impl Unpacker {
    /// Unpacks into `target` behind what it holds, and counts it.
    pub fn unpack(
        &mut self,
        codec: Codec,
        packed: &[u8],
        target: &mut Target<'_>,
    ) -> Result<(), Fail> {
        match codec {
            Codec::None => {
                target.room(packed.len())?.copy_from_slice(packed);
                target.len += packed.len();
                Ok(())
            }
            Codec::Gzip => gzip(packed, target),
            Codec::Snappy => snappy(packed, target),
            // The batch has a checksum over all of it.
            Codec::Lz4 => lz4(packed, target, Checks::Left, &mut 0),
            Codec::Zstd => self.zstd(packed, target),
        }
    }

    /// The same of what stands alone: to its last byte, with the checksums that it has.
    pub fn unpack_whole(
        &mut self,
        codec: Codec,
        packed: &[u8],
        target: &mut Target<'_>,
    ) -> Result<(), Fail> {
        let before = target.len;
        let done = match codec {
            Codec::Lz4 => lz4_frames(packed, target, &mut 0),
            _ => self.unpack(codec, packed, target),
        };
        if done.is_err() {
            target.len = before;
        }
        done
    }

    fn zstd(&mut self, packed: &[u8], target: &mut Target<'_>) -> Result<(), Fail> {
        const BROKEN: Fail = Fail::Broken("zstd");
        let said = zstd_safe::get_frame_content_size(packed).map_err(|_| BROKEN)?;
        let said = said.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        if said.is_some_and(|said| said > target.bytes_max) {
            return Err(Fail::TooLarge);
        }
        // What is said is a claim: much more than usual is allocated as it turns out to be true.
        let guess = said.unwrap_or(packed.len() * GUESS).min(packed.len() * CLAIM + CLAIM);
        let there = target.bytes.len() - target.len;
        let mut size = guess.max(there).clamp(1, target.bytes_max);
        loop {
            let room = target.room(size)?;
            match self.zstd.decompress(room, packed) {
                Ok(bytes) => {
                    target.len += bytes;
                    return Ok(());
                }
                Err(code) if is_too_small(code) && size < target.bytes_max => {
                    size = (size * 2).min(target.bytes_max);
                }
                Err(code) if is_too_small(code) => return Err(Fail::TooLarge),
                Err(_) => return Err(BROKEN),
            }
        }
    }
}

/// Whether the library wants more room.
fn is_too_small(code: usize) -> bool {
    zstd_safe::get_error_name(code).contains("too small")
}

impl Target<'_> {
    /// So many bytes behind those in use.
    fn room(&mut self, count: usize) -> Result<&mut [u8], Fail> {
        if count > self.bytes_max {
            return Err(Fail::TooLarge);
        }
        let end = self.len + count;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        Ok(&mut self.bytes[self.len..end])
    }
}

fn gzip(packed: &[u8], target: &mut Target<'_>) -> Result<(), Fail> {
    let mut decoder = MultiGzDecoder::new(packed);
    let mut size = (packed.len() * GUESS).clamp(1, target.bytes_max);
    let mut done = 0;
    loop {
        let room = target.room(size)?;
        if done == size {
            // It is full: one byte more would be too many, or a reason to grow.
            if size == target.bytes_max {
                let more = decoder.read(&mut [0]).map_err(|_| Fail::Broken("gzip"))?;
                if more > 0 {
                    return Err(Fail::TooLarge);
                }
                break;
            }
            size = (size * 2).min(target.bytes_max);
            continue;
        }
        match decoder.read(&mut room[done..]) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(_) => return Err(Fail::Broken("gzip")),
        }
    }
    target.len += done;
    Ok(())
}

fn snappy(packed: &[u8], target: &mut Target<'_>) -> Result<(), Fail> {
    const BROKEN: Fail = Fail::Broken("snappy");
    let before = target.len;
    let one = |packed: &[u8], target: &mut Target<'_>| {
        let size = snap::raw::decompress_len(packed).map_err(|_| BROKEN)?;
        if size > packed.len().saturating_mul(SNAPPY_RATIO_MAX) {
            return Err(BROKEN);
        }
        if target.len - before + size > target.bytes_max {
            return Err(Fail::TooLarge);
        }
        let room = target.room(size)?;
        let bytes = snap::raw::Decoder::new().decompress(packed, room).map_err(|_| BROKEN)?;
        target.len += bytes;
        Ok(())
    };
    if !packed.starts_with(JAVA_SNAPPY) {
        return one(packed, target);
    }
    let mut rest = packed.get(JAVA_SNAPPY.len() + 8..).ok_or(BROKEN)?;
    while !rest.is_empty() {
        let (size, behind) = rest.split_first_chunk().ok_or(BROKEN)?;
        let size = usize::try_from(i32::from_be_bytes(*size)).map_err(|_| BROKEN)?;
        one(behind.get(..size).ok_or(BROKEN)?, target)?;
        rest = &behind[size..];
    }
    Ok(())
}

/// Frames of LZ4 behind each other, at least one. `at` is where the last one was read to.
fn lz4_frames(packed: &[u8], target: &mut Target<'_>, at: &mut usize) -> Result<(), Fail> {
    let (before, bytes_max) = (target.len, target.bytes_max);
    loop {
        let (start, mut read) = (*at, 0);
        target.bytes_max = bytes_max - (target.len - before);
        let done = lz4(&packed[start..], target, Checks::Held, &mut read);
        target.bytes_max = bytes_max;
        *at = start + read;
        done?;
        if *at == packed.len() {
            return Ok(());
        }
    }
}

/// What is done with the checksum and the size that a frame may say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Checks {
    /// They must be right.
    Held,
    /// They are read past.
    Left,
}

/// LZ4's frame, by its specification: a head, blocks behind their sizes, an end. Checksums of
/// blocks are read past. (The crate reads frames as well, but allocates for each; batches are small
/// and many.) `at` becomes where it was read to, or where what is broken begins.
fn lz4(packed: &[u8], target: &mut Target<'_>, checks: Checks, at: &mut usize) -> Result<(), Fail> {
    const BROKEN: Fail = Fail::Broken("lz4");
    const MAGIC: u32 = 0x184d_2204;
    /// Set in a block's size where the block is not compressed.
    const PLAIN: u32 = 1 << 31;
    let [flags, descriptor] = *packed.get(4..).and_then(<[u8]>::first_chunk).ok_or(BROKEN)?;
    let block_max = match (descriptor >> 4) & 7 {
        size @ 4..=7 => 1usize << (2 * size + 8), // 64 KiB to 4 MiB
        _ => return Err(BROKEN),
    };
    let has = |bit: u8| flags & (1 << bit) != 0;
    // Version 1; a dictionary would have to be agreed on.
    if u32_at(packed, 0) != Some(MAGIC) || flags >> 6 != 1 || has(0) {
        return Err(BROKEN);
    }
    let (has_content_size, has_block_checksum, is_independent) = (has(3), has(4), has(5));
    let has_checksum = has(2);
    *at = 7 + if has_content_size { 8 } else { 0 };
    let first = target.len;
    loop {
        let size = u32_at(packed, *at).ok_or(BROKEN)?;
        if size == 0 {
            if checks == Checks::Held {
                let content = &target.bytes[first..target.len];
                let said = packed.get(6..).and_then(<[u8]>::first_chunk).copied();
                let sized = said.map(u64::from_le_bytes) == Some(content.len() as u64);
                let summed = || u32_at(packed, *at + 4) == Some(XxHash32::oneshot(0, content));
                if (has_content_size && !sized) || (has_checksum && !summed()) {
                    return Err(BROKEN);
                }
            }
            *at += 4 + if has_checksum { 4 } else { 0 };
            return Ok(());
        }
        let length = (size & !PLAIN) as usize;
        let block = packed.get(*at + 4..).and_then(|rest| rest.get(..length)).ok_or(BROKEN)?;
        let left = target.bytes_max - (target.len - first);
        let (used, room) = target.split(block_max.min(left))?;
        let written = if size & PLAIN != 0 {
            room.get_mut(..length).ok_or(Fail::TooLarge)?.copy_from_slice(block);
            Ok(length)
        } else if is_independent {
            lz4_flex::block::decompress_into(block, room)
        } else {
            // Blocks may refer to what the blocks before them unpacked to, 64 KiB back.
            let dictionary = &used[first.max(used.len().saturating_sub(64 << 10))..];
            lz4_flex::block::decompress_into_with_dict(block, room, dictionary)
        };
        target.len +=
            written.map_err(|_| if left < block_max { Fail::TooLarge } else { BROKEN })?;
        *at += 4 + length + if has_block_checksum { 4 } else { 0 };
    }
}

/// What is wrong with bytes that [`Unpacker::unpack_whole`] calls broken, and where; as the end of
/// a sentence. They are read once more for it, to the same bound.
#[cold]
pub fn broken(codec: Codec, packed: &[u8], bytes_max: usize) -> String {
    let (why, at) = match codec {
        Codec::None => return "nothing is wrong".to_owned(),
        Codec::Gzip => broken_gzip(packed, bytes_max),
        Codec::Zstd => broken_zstd(packed, bytes_max),
        Codec::Lz4 => {
            let (mut bytes, mut at) = (Vec::new(), 0);
            let mut target = Target { bytes: &mut bytes, len: 0, bytes_max };
            let _ = lz4_frames(packed, &mut target, &mut at);
            ("no frame, block or checksum that is right".to_owned(), at)
        }
        Codec::Snappy => broken_snappy(packed, bytes_max),
    };
    format!("{why}, at byte {at} of {}", packed.len())
}

/// Bytes that are unpacked at once where only their end matters.
const SCRATCH_BYTES: usize = 16 << 10;

fn broken_gzip(packed: &[u8], bytes_max: usize) -> (String, usize) {
    let (mut decoder, mut scratch) = (MultiGzDecoder::new(packed), vec![0_u8; SCRATCH_BYTES]);
    let mut done = 0;
    let why = loop {
        match decoder.read(&mut scratch) {
            Ok(read) if read > 0 && done <= bytes_max => done += read,
            Ok(_) => break "nothing is wrong".to_owned(),
            Err(error) => break error.to_string(),
        }
    };
    (why, packed.len() - decoder.get_ref().len())
}

fn broken_zstd(packed: &[u8], bytes_max: usize) -> (String, usize) {
    /// Frames that want a larger window are not gone through: their first byte is told.
    const WINDOW_LOG_MAX: u32 = 23;
    let (mut context, mut scratch) = (DCtx::create(), vec![0_u8; SCRATCH_BYTES]);
    let _ = context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX));
    let (mut input, mut done) = (InBuffer::around(packed), 0);
    loop {
        let mut output = OutBuffer::around(&mut scratch[..]);
        let read = context.decompress_stream(&mut output, &mut input);
        done += output.pos();
        match read {
            Err(code) => return (zstd_safe::get_error_name(code).to_owned(), input.pos()),
            Ok(0) if input.pos() == packed.len() => return ("nothing is wrong".to_owned(), done),
            Ok(_) if output.pos() == 0 && input.pos() == packed.len() => {
                return ("it ends within a frame".to_owned(), input.pos());
            }
            Ok(_) if done > bytes_max => return ("nothing is wrong".to_owned(), input.pos()),
            Ok(_) => {}
        }
    }
}

fn broken_snappy(packed: &[u8], bytes_max: usize) -> (String, usize) {
    let one = |block: &[u8]| match snap::raw::decompress_len(block) {
        Ok(size) if size > block.len().saturating_mul(SNAPPY_RATIO_MAX).min(bytes_max) => {
            Some(format!("{} bytes cannot be {size}", block.len()))
        }
        Ok(_) => {
            let unpacked = snap::raw::Decoder::new().decompress_vec(block);
            unpacked.err().map(|error| error.to_string())
        }
        Err(error) => Some(error.to_string()),
    };
    if !packed.starts_with(JAVA_SNAPPY) {
        return (one(packed).unwrap_or_default(), 0);
    }
    let mut at = JAVA_SNAPPY.len() + 8;
    while let Some((size, behind)) = packed.get(at..).and_then(<[u8]>::split_first_chunk) {
        let size = usize::try_from(i32::from_be_bytes(*size)).ok();
        match size.and_then(|size| behind.get(..size)) {
            None => return ("a block that is longer than the rest".to_owned(), at),
            Some(block) => match one(block) {
                Some(why) => return (why, at),
                None => at += 4 + block.len(),
            },
        }
    }
    ("it ends within a block's size".to_owned(), at.min(packed.len()))
}

impl Target<'_> {
    /// What is in use, and so many bytes behind it.
    fn split(&mut self, count: usize) -> Result<(&[u8], &mut [u8]), Fail> {
        self.room(count)?;
        let (used, room) = self.bytes.split_at_mut(self.len);
        Ok((used, &mut room[..count]))
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}
