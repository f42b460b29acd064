//! A bulk: the body of a request, made of the rows of a job without copying them, and of each key
//! only its last row where rows replace each other. Pure.

use std::collections::HashMap;

use bytes::Bytes;

use super::layout::Layout;
use crate::sink::job::{Job, Position};
use crate::sink::questdb::body::Body;

/// Rows of a job's next request, as they are sent.
pub struct Bulk {
    /// What stands between head and tail: rows, each with the comma behind it.
    chunks: Vec<Bytes>,
    /// Which record each of the rows is of.
    pub positions: Vec<Position>,
}

impl Bulk {
    /// The rows of a job's next request. With `keys` only the last row of each key.
    pub fn of(job: &Job, keys: Option<usize>) -> Bulk {
        let superseded = keys.map(|keys| superseded(job, keys)).unwrap_or_default();
        let (mut chunks, mut positions) = (Vec::new(), Vec::new());
        let mut at = 0;
        for piece in job.request() {
            let mut from = None;
            for (index, line) in piece.lines().iter().enumerate() {
                let start = piece.range(index).start;
                if superseded.get(at).copied().unwrap_or(false) {
                    chunks.extend(from.take().map(|from| piece.bytes.slice(from..start)));
                } else {
                    from.get_or_insert(start);
                    positions.push((line.partition, line.offset));
                }
                at += 1;
            }
            chunks.extend(from.map(|from| piece.bytes.slice(from..)));
        }
        Bulk { chunks, positions }
    }

    /// The request. One row may go `alone`, without a bulk: its error is told in full then.
    pub fn body(&mut self, layout: &Layout, alone: bool) -> Body {
        // The comma behind the last row.
        if let Some(last) = self.chunks.last_mut() {
            last.truncate(last.len().saturating_sub(1));
        }
        let (open, close): (&'static [u8], &'static [u8]) =
            if alone { (b"\"args\":", b"}") } else { (b"\"bulk_args\":[", b"]}") };
        let mut head = Vec::with_capacity(layout.head.len() + open.len());
        head.extend_from_slice(&layout.head);
        head.extend_from_slice(open);
        let mut parts = vec![Bytes::from(head)];
        parts.append(&mut self.chunks);
        parts.push(Bytes::from_static(close));
        Body::whole(parts)
    }
}

/// Which rows have another one of the same key behind them.
fn superseded(job: &Job, keys: usize) -> Vec<bool> {
    let rows = || job.request().flat_map(|piece| (0..piece.rows()).map(move |row| (piece, row)));
    let mut superseded = vec![false; rows().count()];
    let mut last: HashMap<&[u8], usize, foldhash::fast::RandomState> = HashMap::default();
    last.reserve(superseded.len());
    for (at, (piece, row)) in rows().enumerate() {
        let key = key(&piece.bytes[piece.range(row)], keys);
        if let Some(before) = last.insert(key, at) {
            superseded[before] = true;
        }
    }
    superseded
}

/// The first values of a row, as it was written: the same value is always written the same.
fn key(row: &[u8], keys: usize) -> &[u8] {
    let (mut left, mut in_text, mut at) = (keys, false, 1);
    while let Some(byte) = row.get(at) {
        match byte {
            // What is escaped says nothing.
            b'\\' if in_text => at += 1,
            b'"' => in_text = !in_text,
            b',' | b']' if !in_text => {
                left -= 1;
                if left == 0 {
                    return &row[..at];
                }
            }
            _ => {}
        }
        at += 1;
    }
    row
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::batch::{Buffers, Line, PartitionIndex, Payload, Route};

    fn job(rows: &[String]) -> Job {
        let mut buffers = Buffers::default();
        for (offset, row) in rows.iter().enumerate() {
            buffers.bytes.extend_from_slice(row.as_bytes());
            let (end, partition) = (buffers.bytes.len() as u32, PartitionIndex(0));
            buffers.lines.push(Line { offset: offset as i64, partition, row: 0, layout: 0, end });
        }
        let opened = std::time::Instant::now();
        Job::new(Payload {
            table: "t".into(),
            layout: 0,
            buffers,
            shares: vec![],
            route: Route::Primary,
            opened,
            due: opened,
            timestamps: (0, 0),
        })
    }

    #[test]
    fn a_key_is_what_stands_first() {
        let check = |row: &str, keys, wanted: &str| {
            assert_eq!(key(row.as_bytes(), keys), wanted.as_bytes());
        };
        check("[1,2,3],", 1, "[1");
        check("[1,2,3],", 2, "[1,2");
        check("[1,2],", 2, "[1,2");
        check(r#"["a,]\"\\",2],"#, 1, r#"["a,]\"\\""#);
        check("[1", 3, "[1");
    }

    proptest! {
        /// The reference: a row is sent unless another one of its key follows.
        #[test]
        fn the_last_of_a_key_is_sent(
            keys in prop::collection::vec("[ab,\"\\\\\\]]{0,2}", 1..30), halved in any::<bool>(),
        ) {
            let key = |key: &String| serde_json::to_string(key).expect("a text");
            let rows: Vec<String> =
                keys.iter().enumerate().map(|(at, k)| format!("[{},{at}],", key(k))).collect();
            let mut job = job(&rows);
            let cut = if halved && job.halve() { (rows.len() / 2).max(1) } else { rows.len() };
            let (here, of) = (&rows[..cut], &keys[..cut]);
            for dedup in [None, Some(1)] {
                let bulk = Bulk::of(&job, dedup);
                let sent: Vec<u8> = bulk.chunks.iter().flat_map(|chunk| chunk.to_vec()).collect();
                let stays = |at: &usize| dedup.is_none() || !of[at + 1..].contains(&of[*at]);
                let wanted: Vec<usize> = (0..here.len()).filter(stays).collect();
                let text: String = wanted.iter().map(|at| here[*at].as_str()).collect();
                prop_assert_eq!(String::from_utf8(sent).expect("text"), text);
                let offsets: Vec<usize> =
                    bulk.positions.iter().map(|position| position.1 as usize).collect();
                prop_assert_eq!(offsets, wanted);
            }
        }
    }
}
