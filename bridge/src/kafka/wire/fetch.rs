//! Records of partitions (Fetch, versions 4 to 12). Without incremental sessions: they save bytes
//! where thousands of partitions are idle, and cost a second copy of the books on both sides, which
//! must agree; a partition takes some 40 bytes of a request here.

use std::io::Read;

use super::frame::Frame;
use super::write::Writer;
use super::{Broken, keys};

/// The first version that is flexible.
const FLEXIBLE: i16 = 12;

/// Whether a version is flexible: lengths as varints, tagged fields.
pub fn is_flexible(version: i16) -> bool {
    version >= FLEXIBLE
}

/// What a request says once.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The broker waits so long for `min_bytes`, milliseconds.
    pub wait_ms: i32,
    /// Less than so many bytes are worth a wait.
    pub min_bytes: i32,
    /// More than so many are not sent, but for a first batch that is larger.
    pub max_bytes: i32,
    /// Nothing of a transaction that is open or was aborted.
    pub committed: bool,
}

/// What is asked of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Its number.
    pub partition: i32,
    /// From this offset.
    pub offset: i64,
    /// The leadership that we know of; -1 if we do not.
    pub leader_epoch: i32,
    /// The leadership under which the last batch was written that we have read; -1 before the
    /// first. The broker finds out by it whether its log is still the one that we read.
    pub read_epoch: i32,
    /// At most so many bytes, about.
    pub max_bytes: i32,
}

/// The request. `topics` are names with the number of their partitions, in the order of `wanted`.
pub fn ask(
    bytes: Vec<u8>,
    version: i16,
    client: &str,
    terms: Terms,
    topics: &[(&str, usize)],
    mut wanted: impl Iterator<Item = Wanted>,
) -> Vec<u8> {
    let mut writer = Writer::request(bytes, keys::FETCH, version, is_flexible(version), client);
    writer.i32(-1); // replica_id: a consumer
    writer.i32(terms.wait_ms);
    writer.i32(terms.min_bytes);
    writer.i32(terms.max_bytes);
    writer.i8(i8::from(terms.committed));
    if version >= 7 {
        writer.i32(0); // session_id, session_epoch: none
        writer.i32(-1);
    }
    writer.count(topics.len());
    for (name, partitions) in topics {
        writer.text(name);
        writer.count(*partitions);
        for want in wanted.by_ref().take(*partitions) {
            writer.i32(want.partition);
            if version >= 9 {
                writer.i32(want.leader_epoch);
            }
            writer.i64(want.offset);
            if version >= 12 {
                writer.i32(want.read_epoch);
            }
            if version >= 5 {
                writer.i64(-1); // log_start_offset: a follower's
            }
            writer.i32(want.max_bytes);
            writer.end();
        }
        writer.end();
    }
    if version >= 7 {
        writer.count(0); // forgotten_topics_data
    }
    if version >= 11 {
        writer.text(""); // rack_id: the leader is to answer
    }
    writer.end();
    writer.finish()
}

/// An answer's part for one partition, before its records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// The partition's number.
    pub partition: i32,
    /// What went wrong, or 0.
    pub code: i16,
    /// The offset after the last record that all replicas have.
    pub high_watermark: i64,
    /// Transactions of which records may follow that were aborted: producer and first offset, by
    /// ascending offset.
    pub aborted: Vec<(i64, i64)>,
    /// Bytes of records that follow.
    pub bytes: usize,
}

/// What stands behind a partition's records.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tail {
    /// The log is not the one that was read before: where it parts from it.
    pub diverged_at: Option<i64>,
}

/// Reads an answer: [`Answer::throttle_ms`], then for each topic its name and parts.
pub struct Answer<'a, R> {
    frame: Frame<'a, R>,
    version: i16,
    /// The broker wants no request for so long, milliseconds.
    pub throttle_ms: i32,
    /// What went wrong with all of it, or 0.
    pub code: i16,
}

impl<'a, R: Read> Answer<'a, R> {
    /// The head of an answer.
    pub fn begin(mut frame: Frame<'a, R>, version: i16) -> Result<Answer<'a, R>, Broken> {
        let throttle_ms = frame.i32()?;
        let mut code = 0;
        if version >= 7 {
            code = frame.i16()?;
            frame.i32()?; // session_id
        }
        Ok(Answer { frame, version, throttle_ms, code })
    }

    /// How many topics follow.
    pub fn topics(&mut self) -> Result<usize, Broken> {
        self.frame.count(3)
    }

    /// A topic's name, and how many parts follow.
    pub fn topic(&mut self) -> Result<(String, usize), Broken> {
        Ok((self.frame.text()?, self.frame.count(20)?))
    }

    /// The next part. Its records must be read or skipped, then its tail.
    pub fn part(&mut self) -> Result<Part, Broken> {
        let frame = &mut self.frame;
        let (partition, code) = (frame.i32()?, frame.i16()?);
        let high_watermark = frame.i64()?;
        frame.i64()?; // last_stable_offset: the source asks for it where nobody fetches, too
        if self.version >= 5 {
            frame.i64()?; // log_start_offset
        }
        let count = frame.count(16)?;
        let mut aborted = Vec::with_capacity(count);
        for _ in 0..count {
            aborted.push((frame.i64()?, frame.i64()?));
            frame.tags(|_, _| Ok(()))?;
        }
        // The broker has them in the order of their ends.
        aborted.sort_unstable_by_key(|(_, first)| *first);
        if self.version >= 11 {
            frame.i32()?; // preferred_read_replica: for racks, which we do not name
        }
        let bytes = frame.bytes()?;
        Ok(Part { partition, code, high_watermark, aborted, bytes })
    }

    /// The records of the part at hand.
    pub fn records(&mut self, into: &mut [u8]) -> Result<(), Broken> {
        self.frame.fill(into)
    }

    /// Records that nobody wants any more.
    pub fn skip(&mut self, bytes: usize) -> Result<(), Broken> {
        self.frame.skip(bytes)
    }

    /// What stands behind the records.
    pub fn tail(&mut self) -> Result<Tail, Broken> {
        let mut tail = Tail::default();
        self.frame.tags(|tag, frame| {
            if tag == 0 {
                frame.i32()?; // epoch
                let end = frame.i64()?;
                tail.diverged_at = (end >= 0).then_some(end);
            }
            Ok(())
        })?;
        Ok(tail)
    }

    /// The end of a topic's parts.
    pub fn topic_end(&mut self) -> Result<(), Broken> {
        self.frame.tags(|_, _| Ok(()))
    }

    /// The end.
    pub fn finish(self) -> Result<(), Broken> {
        self.frame.finish()
    }
}
