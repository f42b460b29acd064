//! Unpacks the records of a compressed batch, to a bound: what a few bytes may become is for us to
//! say, not for who compressed them.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;
use zstd_safe::DCtx;

use super::vet::{Codec, Flaw};

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
    ) -> Result<(), Flaw> {
        match codec {
            Codec::None => {
                target.room(packed.len())?.copy_from_slice(packed);
                target.len += packed.len();
                Ok(())
            }
            Codec::Gzip => gzip(packed, target),
            Codec::Snappy => snappy(packed, target),
            Codec::Lz4 => lz4(packed, target),
            Codec::Zstd => self.zstd(packed, target),
        }
    }

    fn zstd(&mut self, packed: &[u8], target: &mut Target<'_>) -> Result<(), Flaw> {
        const BROKEN: Flaw = Flaw::Broken("zstd");
        let said = zstd_safe::get_frame_content_size(packed).map_err(|_| BROKEN)?;
        let said = said.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        if said.is_some_and(|said| said > target.bytes_max) {
            return Err(Flaw::TooLarge);
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
                Err(code) if is_too_small(code) => return Err(Flaw::TooLarge),
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
    fn room(&mut self, count: usize) -> Result<&mut [u8], Flaw> {
        if count > self.bytes_max {
            return Err(Flaw::TooLarge);
        }
        let end = self.len + count;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        Ok(&mut self.bytes[self.len..end])
    }
}

fn gzip(packed: &[u8], target: &mut Target<'_>) -> Result<(), Flaw> {
    let mut decoder = MultiGzDecoder::new(packed);
    let mut size = (packed.len() * GUESS).clamp(1, target.bytes_max);
    let mut done = 0;
    loop {
        let room = target.room(size)?;
        if done == size {
            // It is full: one byte more would be too many, or a reason to grow.
            if size == target.bytes_max {
                let more = decoder.read(&mut [0]).map_err(|_| Flaw::Broken("gzip"))?;
                if more > 0 {
                    return Err(Flaw::TooLarge);
                }
                break;
            }
            size = (size * 2).min(target.bytes_max);
            continue;
        }
        match decoder.read(&mut room[done..]) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(_) => return Err(Flaw::Broken("gzip")),
        }
    }
    target.len += done;
    Ok(())
}

fn snappy(packed: &[u8], target: &mut Target<'_>) -> Result<(), Flaw> {
    const BROKEN: Flaw = Flaw::Broken("snappy");
    let before = target.len;
    let one = |packed: &[u8], target: &mut Target<'_>| {
        let size = snap::raw::decompress_len(packed).map_err(|_| BROKEN)?;
        if size > packed.len().saturating_mul(SNAPPY_RATIO_MAX) {
            return Err(BROKEN);
        }
        if target.len - before + size > target.bytes_max {
            return Err(Flaw::TooLarge);
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

/// LZ4's frame, by its specification: a head, blocks behind their sizes, an end. Checksums are read
/// past, for the batch has one over all of it. (The crate reads frames as well, but allocates for
/// each; batches are small and many.)
fn lz4(packed: &[u8], target: &mut Target<'_>) -> Result<(), Flaw> {
    const BROKEN: Flaw = Flaw::Broken("lz4");
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
    let mut at = 7 + if has_content_size { 8 } else { 0 };
    let first = target.len;
    loop {
        let size = u32_at(packed, at).ok_or(BROKEN)?;
        at += 4;
        if size == 0 {
            return Ok(());
        }
        let length = (size & !PLAIN) as usize;
        let block = packed.get(at..).and_then(|rest| rest.get(..length)).ok_or(BROKEN)?;
        at += length + if has_block_checksum { 4 } else { 0 };
        let left = target.bytes_max - (target.len - first);
        let (used, room) = target.split(block_max.min(left))?;
        let written = if size & PLAIN != 0 {
            room.get_mut(..length).ok_or(Flaw::TooLarge)?.copy_from_slice(block);
            Ok(length)
        } else if is_independent {
            lz4_flex::block::decompress_into(block, room)
        } else {
            // Blocks may refer to what the blocks before them unpacked to, 64 KiB back.
            let dictionary = &used[first.max(used.len().saturating_sub(64 << 10))..];
            lz4_flex::block::decompress_into_with_dict(block, room, dictionary)
        };
        target.len +=
            written.map_err(|_| if left < block_max { Flaw::TooLarge } else { BROKEN })?;
    }
}

impl Target<'_> {
    /// What is in use, and so many bytes behind it.
    fn split(&mut self, count: usize) -> Result<(&[u8], &mut [u8]), Flaw> {
        self.room(count)?;
        let (used, room) = self.bytes.split_at_mut(self.len);
        Ok((used, &mut room[..count]))
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}
