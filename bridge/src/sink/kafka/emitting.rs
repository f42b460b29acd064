//! Records that transforms made for topics: which topics may have them, and how they are framed.
//! They stand behind the rows of the record that they were made from, and share its fate.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::frame::{Frame, push_header};
use super::origin::Targets;
use super::{TOPIC_BYTES_MAX, is_read, topic_fault};
use crate::batch::{Emitted, RowBatch};
use crate::config::Topics;
use crate::names::Names;
use crate::reject::Rejects;

/// One lane's share of that.
pub struct Emitting {
    names: Arc<Names>,
    /// What the pipeline reads of the same brokers.
    read: Option<Topics>,
    targets: Arc<Targets>,
    /// By the interned number: the sink's own, or why nothing may go there.
    topics: HashMap<u16, Result<u32, String>>,
    /// Places of a batch's records, by source.
    order: Vec<u32>,
    headers: Vec<u8>,
}

impl Emitting {
    /// Nothing was met yet.
    pub fn new(names: &Arc<Names>, read: Option<Topics>, targets: &Arc<Targets>) -> Emitting {
        Emitting {
            names: Arc::clone(names),
            read,
            targets: Arc::clone(targets),
            topics: HashMap::new(),
            order: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// Hands out what was made of records that are not refused, by source: the place, and its
    /// number among all that is stored of its record.
    pub fn index(
        &mut self,
        rows: &RowBatch,
        rejects: &Rejects,
        mut entry: impl FnMut(&Emitted, usize, u32),
    ) {
        if rows.emitted.is_empty() {
            return;
        }
        self.order.clear();
        self.order.extend(0..rows.emitted.len() as u32);
        self.order.sort_by_key(|place| rows.emitted[*place as usize].source);
        let mut refused: Vec<u32> = rejects.found.iter().map(|(source, ..)| *source).collect();
        refused.sort_unstable();
        let mut last = None;
        for place in &self.order {
            let emitted = &rows.emitted[*place as usize];
            let number = match last {
                Some((source, number)) if source == emitted.source => number + 1,
                _ => rows_of(rows, emitted.source),
            };
            last = Some((emitted.source, number));
            if refused.binary_search(&emitted.source).is_err() {
                entry(emitted, *place as usize, number);
            }
        }
    }

    /// The sink's number of a topic, or why nothing may go there.
    pub fn topic(&mut self, id: u16) -> Result<u32, &str> {
        let Emitting { names, read, targets, topics, .. } = self;
        let found = topics.entry(id).or_insert_with(|| {
            let name = names.topics.name(id).unwrap_or_default();
            match topic_fault(&name, TOPIC_BYTES_MAX) {
                Some(fault) => Err(fault),
                None if is_read(read.as_ref(), &name).unwrap_or(true) => {
                    Err(format!("topic {name} is one that the pipeline reads: it would never end"))
                }
                None => Ok(targets.number(&name)),
            }
        });
        found.as_ref().map(|number| *number).map_err(|fault| fault.as_str())
    }

    /// Appends a record.
    pub fn frame(&mut self, rows: &RowBatch, emitted: &Emitted, out: &mut Vec<u8>) {
        let bytes = |range: &Range<usize>| &rows.arena[range.clone()];
        self.headers.clear();
        for (name, value) in &rows.headers[emitted.headers.clone()] {
            push_header(&mut self.headers, bytes(name), value.as_ref().map(bytes));
        }
        let frame = Frame {
            partition: emitted.partition,
            timestamp_ms: emitted.timestamp_ms,
            key: emitted.key.as_ref().map(bytes),
            value: emitted.value.as_ref().map(bytes),
            headers: &self.headers,
        };
        frame.push(out);
    }
}

/// How many rows a record has.
fn rows_of(rows: &RowBatch, source: u32) -> u32 {
    let end = rows.rows.partition_point(|row| row.source <= source);
    match rows.rows[..end].last() {
        Some(row) if row.source == source => row.number + 1,
        _ => 0,
    }
}
