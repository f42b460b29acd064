//! Payloads while they are being stored: in pieces, of which as many as can be travel together.
//! What the server refuses is taken out, and what it refuses too often (or for its size)
//! is halved. Pure: no I/O.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::batch::{Buffers, Line, PartitionIndex, Payload, Route};
use crate::limits::LINE_BYTES;
use crate::outbox::Pool;
use crate::ticket::Share;

/// After so many refusals one request is halved: the rest of its rows must not wait.
const REFUSALS_MAX: u32 = 8;

/// A record, by its position.
pub type Position = (PartitionIndex, i64);

/// Payloads of one table that are being stored.
pub struct Job {
    /// The table.
    pub table: Arc<str>,
    /// Its tickets' shares.
    pub shares: Vec<Share>,
    /// Rows stored so far.
    pub rows: u64,
    /// Bytes stored so far.
    pub bytes: u64,
    /// By which way it came.
    pub route: Route,
    /// When its first row came.
    pub opened: Instant,
    /// Until when its rows may wait for more.
    pub due: Instant,
    /// On what each stored piece's acknowledgement rests.
    pub proofs: Vec<Proof>,
    /// What is left to store, the next one last.
    pieces: Vec<Piece>,
    /// How many of them one request may carry.
    together: usize,
}

/// On what a 204 rests: the table that the connection first wrote to was still the one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Proof {
    /// The server's address.
    pub endpoint: usize,
    /// The table's id before the connection first wrote to it; `None` if it did not exist.
    pub id: Option<i64>,
}

/// A payload, or a part of one.
pub struct Piece {
    /// Its bytes.
    pub bytes: Bytes,
    lines: Vec<Line>,
    /// Where its bytes begin in what `lines` count from.
    base: u32,
    refusals: u32,
}

impl Piece {
    /// A whole payload; `None` where every row that it was opened for was refused: a request
    /// without rows could never be narrowed down to one.
    fn whole(buffers: Buffers) -> Option<Piece> {
        let Buffers { bytes, lines } = buffers;
        let rows = !lines.is_empty();
        rows.then(|| Piece { bytes: bytes.into(), lines, base: 0, refusals: 0 })
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.lines.len()
    }

    /// Which row each of its lines is.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Where the bytes of a line are among its own.
    pub fn range(&self, index: usize) -> Range<usize> {
        let start = index.checked_sub(1).map_or(self.base, |before| self.lines[before].end);
        (start - self.base) as usize..(self.lines[index].end - self.base) as usize
    }

    fn position(&self, index: usize) -> Position {
        (self.lines[index].partition, self.lines[index].offset)
    }

    /// Without the rows of one record.
    fn without(self, position: Position) -> Piece {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut lines = Vec::with_capacity(self.lines.len());
        for (index, line) in self.lines.iter().enumerate() {
            if self.position(index) != position {
                bytes.extend_from_slice(&self.bytes[self.range(index)]);
                lines.push(Line { end: bytes.len() as u32, ..*line });
            }
        }
        Piece { bytes: bytes.into(), lines, base: 0, refusals: self.refusals }
    }

    /// The rows before one of them, and those from it on.
    fn cut(self, at: usize) -> (Piece, Piece) {
        let (first, second) = self.lines.split_at(at);
        let base = first.last().map_or(self.base, |line| line.end);
        let cut = (base - self.base) as usize;
        let piece = |bytes: Bytes, lines: &[Line], base: u32| Piece {
            bytes,
            lines: lines.to_vec(),
            base,
            refusals: 0,
        };
        let front = piece(self.bytes.slice(..cut), first, self.base);
        (front, piece(self.bytes.slice(cut..), second, base))
    }

    /// Where to cut it so that no record is divided, as near to the middle as can be.
    fn middle(&self) -> Option<usize> {
        let cuts = |at: &usize| self.position(*at) != self.position(*at - 1);
        let half = self.lines.len() / 2;
        let below = (1..=half).rev().find(cuts);
        below.or_else(|| (half + 1..self.lines.len()).find(cuts))
    }
}

impl Job {
    /// The whole payload as one piece.
    pub fn new(payload: Payload) -> Job {
        Job {
            table: payload.table,
            shares: payload.shares,
            rows: 0,
            bytes: 0,
            route: payload.route,
            opened: payload.opened,
            due: payload.due,
            proofs: Vec::new(),
            pieces: Piece::whole(payload.buffers).into_iter().collect(),
            together: usize::MAX,
        }
    }

    /// Whether a payload may be stored along with this.
    pub fn goes_with(&self, payload: &Payload) -> bool {
        payload.route == self.route && payload.table == self.table
    }

    /// Adds a payload, to be stored last; its bytes, if it has a row.
    pub fn couple(&mut self, payload: Payload) -> Option<Bytes> {
        self.shares.extend(payload.shares);
        let piece = Piece::whole(payload.buffers)?;
        let bytes = piece.bytes.clone();
        self.pieces.insert(0, piece);
        Some(bytes)
    }

    /// The pieces of the next request, in order.
    pub fn request(&self) -> impl ExactSizeIterator<Item = &Piece> {
        self.pieces.iter().rev().take(self.together)
    }

    /// Which rows are left to store.
    pub fn lines_left(&self) -> impl Iterator<Item = &Line> {
        self.pieces.iter().flat_map(Piece::lines)
    }

    /// Rows that are left to store.
    pub fn rows_left(&self) -> usize {
        self.pieces.iter().map(Piece::rows).sum()
    }

    /// What is left to store takes so much memory.
    pub fn held_bytes(&self) -> usize {
        self.pieces.iter().map(|piece| piece.bytes.len() + piece.rows() * LINE_BYTES).sum()
    }

    /// The request was acknowledged; its buffers go back.
    pub fn stored(&mut self, proof: Proof, pool: &Pool) {
        let left = self.pieces.len().saturating_sub(self.together);
        for piece in self.pieces.drain(left..) {
            self.rows += piece.lines.len() as u64;
            self.bytes += piece.bytes.len() as u64;
            // Taken back without a copy where nobody else refers to them; halves are let go.
            if piece.base == 0 && piece.bytes.is_unique() {
                pool.put(Buffers { bytes: piece.bytes.into(), lines: piece.lines });
            }
        }
        if !self.proofs.contains(&proof) {
            self.proofs.push(proof);
        }
    }

    /// The position of the record that the server's line (from 1) of this request belongs to.
    pub fn record_at(&self, line: usize) -> Option<Position> {
        let mut index = line.checked_sub(1)?;
        for piece in self.request() {
            match index.checked_sub(piece.rows()) {
                None => return Some(piece.position(index)),
                Some(further) => index = further,
            }
        }
        None
    }

    /// The only record of this request, if there is but one.
    pub fn only_record(&self) -> Option<Position> {
        if self.request().len() > 1 {
            return None;
        }
        let piece = self.pieces.last()?;
        match piece.middle() {
            None if !piece.lines.is_empty() => Some(piece.position(0)),
            _ => None,
        }
    }

    /// Takes a refused record out of everything that is left; halves a request that was refused
    /// too often.
    pub fn remove(&mut self, position: Position) {
        let holds =
            |piece: &Piece| (0..piece.rows()).any(|index| piece.position(index) == position);
        if let Some(piece) = self.pieces.last_mut() {
            piece.refusals += 1;
        }
        let pieces = std::mem::take(&mut self.pieces).into_iter();
        self.pieces = pieces
            .map(|piece| if holds(&piece) { piece.without(position) } else { piece })
            .filter(|piece| piece.rows() > 0)
            .collect();
        if self.pieces.last().is_some_and(|piece| piece.refusals >= REFUSALS_MAX) {
            self.halve();
        }
    }

    /// Cuts the next request in two, between records. False if it has only one.
    pub fn halve(&mut self) -> bool {
        let together = self.request().len();
        if together > 1 {
            self.together = together / 2;
            return true;
        }
        self.together = 1;
        let Some(at) = self.pieces.last().and_then(Piece::middle) else { return false };
        let Some(piece) = self.pieces.pop() else { return false };
        let (front, back) = piece.cut(at);
        self.pieces.push(back);
        self.pieces.push(front);
        true
    }

    /// Cuts the next request so that one record has a request of its own, behind those of what
    /// stands before it. False if it has no other record, or not this one.
    pub fn isolate(&mut self, position: Position) -> bool {
        let together = self.request().len();
        let first = |piece: &Piece| (0..piece.rows()).find(|at| piece.position(*at) == position);
        let mut pieces = (self.pieces.len() - together..self.pieces.len()).rev();
        let Some(at) = pieces.find(|at| first(&self.pieces[*at]).is_some()) else { return false };
        let piece = self.pieces.remove(at);
        let from = first(&piece).unwrap_or(0);
        let rows = (from..piece.rows()).take_while(|at| piece.position(*at) == position).count();
        let whole = piece.rows();
        let (rest, back) = piece.cut(from + rows);
        let (front, record) = rest.cut(from);
        let parts = [back, record, front].into_iter().filter(|piece| piece.rows() > 0);
        self.pieces.splice(at..at, parts);
        self.together = 1;
        together > 1 || rows < whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A payload whose line `i` is `offset:i\n`, and the lines themselves.
    fn payload(offsets: &[i64]) -> (Payload, Vec<(i64, String)>) {
        let mut buffers = Buffers::default();
        let mut lines = Vec::new();
        for (index, offset) in offsets.iter().enumerate() {
            let text = format!("{offset}:{index}\n");
            buffers.bytes.extend_from_slice(text.as_bytes());
            let end = buffers.bytes.len() as u32;
            let partition = PartitionIndex(0);
            buffers.lines.push(Line { offset: *offset, partition, row: 0, layout: 0, end });
            lines.push((*offset, text));
        }
        let payload = Payload {
            table: "t".into(),
            buffers,
            shares: vec![],
            route: Route::Primary,
            opened: Instant::now(),
            due: Instant::now(),
            timestamps: (0, 0),
            layout: 0,
        };
        (payload, lines)
    }

    /// How a server that refuses a line says which, and what is made of it.
    #[derive(Clone, Copy, Debug)]
    enum Names {
        /// Not at all.
        None,
        /// It is believed.
        Believed,
        /// What it names, this many lines beside the right one, is sent alone first.
        Tried(usize),
    }

    /// A server that refuses some offsets.
    fn serve(job: &mut Job, bad: &dyn Fn(i64) -> bool, names: Names) -> (String, Vec<i64>) {
        let (mut stored, mut refused) = (String::new(), Vec::new());
        let pool = Pool::default();
        while job.request().len() > 0 {
            let bytes: Vec<u8> = job.request().flat_map(|piece| piece.bytes.to_vec()).collect();
            let text = String::from_utf8(bytes).expect("it is text");
            let offset = |line: &str| line.split(':').next().and_then(|o| o.parse().ok());
            let first = text.lines().position(|line| bad(offset(line).expect("an offset")));
            let Some(line) = first else {
                stored.push_str(&text);
                job.stored(Proof { endpoint: 0, id: Some(1) }, &pool);
                continue;
            };
            let record = match names {
                Names::Believed => job.record_at(line + 1),
                Names::None | Names::Tried(_) => job.only_record(),
            };
            if let (Names::Tried(beside), None) = (names, record) {
                let named = job.record_at(line + 1 + beside);
                if named.is_some_and(|position| job.isolate(position)) {
                    continue;
                }
            }
            match record {
                Some(position) => {
                    refused.push(position.1);
                    job.remove(position);
                }
                None => assert!(job.halve()),
            }
        }
        (stored, refused)
    }

    proptest! {
        /// The reference: the good lines in order, every bad offset once.
        #[test]
        fn what_is_refused_goes_and_all_else_is_stored(
            runs in prop::collection::vec((1_usize..4, any::<bool>()), 1..60),
            names in prop_oneof![
                Just(Names::None), Just(Names::Believed), (0_usize..3).prop_map(Names::Tried),
            ],
            cuts in prop::collection::btree_set(1_usize..60, 0..5),
        ) {
            let offsets: Vec<i64> = runs.iter().enumerate()
                .flat_map(|(offset, (rows, _))| vec![offset as i64; *rows]).collect();
            let bad = |offset: i64| runs[offset as usize].1;
            let starts = [0].into_iter().chain(cuts.iter().copied().filter(|at| *at < runs.len()));
            let starts: Vec<i64> = starts.map(|at| at as i64).collect();
            let (mut job, mut lines): (Option<Job>, Vec<(i64, String)>) = (None, Vec::new());
            for (index, start) in starts.iter().enumerate() {
                let end = starts.get(index + 1).copied().unwrap_or(i64::MAX);
                let inside = |offset: &i64| (*start..end).contains(offset);
                let (payload, text) =
                    payload(&offsets.iter().copied().filter(inside).collect::<Vec<_>>());
                lines.extend(text);
                match &mut job {
                    None => job = Some(Job::new(payload)),
                    Some(job) => drop(job.couple(payload)),
                }
            }
            let mut job = job.expect("there is a first");
            let (stored, refused) = serve(&mut job, &bad, names);
            let wanted: String =
                lines.iter().filter(|(o, _)| !bad(*o)).map(|(_, text)| text.as_str()).collect();
            prop_assert_eq!(&stored, &wanted);
            let wanted: Vec<i64> = (0..runs.len() as i64).filter(|o| bad(*o)).collect();
            prop_assert_eq!(refused, wanted);
            prop_assert_eq!(job.bytes as usize, stored.len());
        }
    }

    #[test]
    fn eight_refusals_halve_a_request() {
        let (payload, _) = payload(&(0..100).collect::<Vec<_>>());
        let mut job = Job::new(payload);
        for offset in 0..8 {
            assert_eq!(job.rows_left(), 100 - offset as usize);
            job.remove((PartitionIndex(0), offset));
        }
        assert_eq!(job.request().map(Piece::rows).sum::<usize>(), 46);
    }

    #[test]
    fn a_lie_about_the_line_names_no_record() {
        let (payload, _) = payload(&[5, 6]);
        let job = Job::new(payload);
        assert_eq!(job.record_at(0), None);
        assert_eq!(job.record_at(3), None);
        assert_eq!(job.record_at(2), Some((PartitionIndex(0), 6)));
    }

    #[test]
    fn buffers_of_a_stored_payload_go_back() {
        let (payload, _) = payload(&[5, 6]);
        let room = payload.buffers.bytes.capacity();
        let mut job = Job::new(payload);
        let pool = Pool::default();
        job.stored(Proof { endpoint: 0, id: None }, &pool);
        assert_eq!(pool.get().bytes.capacity(), room);
    }
}
