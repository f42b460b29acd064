//! What of the payloads at hand is left to be sent, and what reports make of it.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use rdkafka::error::RDKafkaErrorCode;

use super::frame::Frame;
use crate::batch::{Line, PartitionIndex, Payload};

/// A record of the payloads at hand: (payload, line).
pub type At = (usize, usize);

pub fn bytes_of(hand: &[Payload], (payload, line): At) -> &[u8] {
    let buffers = &hand[payload].buffers;
    let start = line.checked_sub(1).map_or(0, |before| buffers.lines[before].end);
    &buffers.bytes[start as usize..buffers.lines[line].end as usize]
}

pub fn line_of(hand: &[Payload], (payload, line): At) -> &Line {
    &hand[payload].buffers.lines[line]
}

/// What of the payloads at hand is left to be sent.
pub struct Left {
    /// All records, in order.
    pub records: Vec<At>,
    /// The first that is not known to be stored; all behind it go again.
    pub from: usize,
    /// Records of the source that are refused, by position.
    aside: BTreeSet<(PartitionIndex, i64)>,
    /// The first record of each, and what was said.
    pub refused: Vec<(At, String)>,
    /// Places that are refused.
    skipped: HashSet<usize>,
}

/// What reports come to.
pub enum Judged {
    /// Nothing is left.
    Done,
    /// The same again, in smaller requests.
    Smaller,
    /// The same again, later.
    Again(RDKafkaErrorCode),
}

impl Left {
    /// Everything.
    pub fn of(hand: &[Payload]) -> Left {
        let lines = |(at, payload): (usize, &Payload)| {
            (0..payload.buffers.lines.len()).map(move |line| (at, line))
        };
        let records = hand.iter().enumerate().flat_map(lines).collect();
        Left {
            records,
            from: 0,
            aside: BTreeSet::new(),
            refused: Vec::new(),
            skipped: HashSet::new(),
        }
    }

    /// The places of what is to be sent.
    pub fn places(&self) -> Vec<usize> {
        (self.from..self.records.len()).filter(|place| !self.skipped.contains(place)).collect()
    }

    /// Takes note of what failed, in order of places.
    pub fn judge(
        &mut self,
        hand: &[Payload],
        topics: &[Arc<str>],
        failed: &[(usize, RDKafkaErrorCode)],
        batch_bytes: usize,
    ) -> Judged {
        let mut again = None;
        for (place, code) in failed {
            let at = self.records[*place];
            let topic = &topics[line_of(hand, at).layout as usize];
            match own_fault(bytes_of(hand, at), topic, *code, batch_bytes) {
                Some(detail) => self.refuse(hand, at, detail),
                None if again.is_none() => again = Some((*place, *code)),
                None => {}
            }
        }
        match again {
            None => Judged::Done,
            Some((place, code)) => {
                self.from = place;
                if is_size(code) { Judged::Smaller } else { Judged::Again(code) }
            }
        }
    }

    /// Puts the record of the source aside, with all of its rows that are at hand.
    fn refuse(&mut self, hand: &[Payload], at: At, detail: String) {
        let position = |at: At| (line_of(hand, at).partition, line_of(hand, at).offset);
        if self.aside.insert(position(at)) {
            self.refused.push((at, detail));
        }
        let same = |(_, other): &(usize, &At)| position(**other) == position(at);
        let rows = self.records.iter().enumerate().filter(same);
        self.skipped.extend(rows.map(|(place, _)| place));
    }
}

fn is_size(code: RDKafkaErrorCode) -> bool {
    code == RDKafkaErrorCode::MessageSizeTooLarge
}

/// Why a record itself is at fault, if it is. One that is as large as a request goes alone: the
/// topic refuses it, and not what it came with.
fn own_fault(
    bytes: &[u8],
    topic: &str,
    code: RDKafkaErrorCode,
    batch_bytes: usize,
) -> Option<String> {
    match code {
        code if is_size(code) && bytes.len() >= batch_bytes => {
            Some(format!("a record of {} bytes is more than topic {topic} takes", bytes.len()))
        }
        RDKafkaErrorCode::UnknownPartition => {
            let partition = Frame::read(bytes)?.partition?;
            Some(format!("topic {topic} has no partition {partition}"))
        }
        _ => None,
    }
}
