//! The hot path, whole: a lane turns batches into payloads until intake hangs up. No clock, no
//! randomness; the only door at which it may wait is the encoder's, for a table nobody has met.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::handover::Successor;
use crate::batch::{Payload, Receipt, RecordBatch, Row, RowBatch, Verdict, sources};
use crate::blame::Fault;
use crate::format::{Format, Portion};
use crate::limits::Limits;
use crate::observe::PipelineMeter;
use crate::outbox::Outbox;
use crate::reject::{Kept, Reason, Reject, Rejected, Rejects, Stage};
use crate::sink::{Encoder, Home};
use crate::ticket::Ticket;
use crate::transform::{Portions, Transform};

/// What intake sends to a lane. The time comes along, for a lane has no clock.
pub enum Work {
    /// Records.
    Batch(RecordBatch, Pace),
    /// Nothing but time: what has come of age is to be closed.
    Tick(Pace),
}

/// The time, and how long payloads may wait for more rows just now: briefly while the pipeline
/// keeps up, longer while it is behind, for large commits are what the database wants.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Now.
    pub now: Instant,
    /// Age at which an open payload is closed.
    pub linger: Duration,
}

/// A lane's way to one sink.
pub struct LaneWay {
    /// Rows to bytes.
    pub encoder: Box<dyn Encoder>,
    /// The first of the sink's couriers among the lane's.
    pub first_courier: u32,
    /// The last ticket of what is to be given back of all that is on this way.
    pub reset: watch::Receiver<u64>,
    /// The sink's name for dead letters, where there are several that rows go to.
    pub sink: Option<Arc<str>>,
}

impl LaneWay {
    /// Rows to bytes; false if the batch is to be given back: the sink was left while the encoder
    /// waited there.
    fn encode(
        &mut self,
        batch: &RecordBatch,
        rows: &RowBatch,
        rejects: &mut Rejects,
        outbox: &mut Outbox,
    ) -> Result<bool, Fault> {
        outbox.lead_to(self.first_courier);
        match self.encoder.encode(batch, rows, rejects, outbox) {
            Ok(()) => Ok(true),
            Err(_) if batch.ticket.id() <= *self.reset.borrow() => Ok(false),
            Err(fault) => Err(fault),
        }
    }
}

/// A lane's way to a sink that gets all rows as well. What it refuses is no matter of the others.
pub struct LaneAlso {
    way: LaneWay,
    rejects: Rejects,
    guard: RejectGuard,
}

impl LaneAlso {
    /// A way that nothing went yet.
    pub fn new(way: LaneWay, limits: &Limits) -> LaneAlso {
        LaneAlso { way, rejects: Rejects::default(), guard: RejectGuard::new(limits) }
    }
}

/// One lane: everything that a batch needs on its way from bytes to bytes.
pub struct Lane {
    /// From intake.
    pub inbox: mpsc::Receiver<Work>,
    /// Bytes to rows.
    pub format: Box<dyn Format>,
    /// Rows to rows, in order.
    pub transforms: Vec<Box<dyn Transform>>,
    /// What takes their place, when there is something new.
    pub successor: Successor,
    /// To the pipeline's sink, and to its fallback if it has one.
    pub ways: Vec<LaneWay>,
    /// To the sinks that get all rows as well.
    pub also: Vec<LaneAlso>,
    /// Open payloads.
    pub outbox: Outbox,
    /// To this lane's couriers, of all sinks.
    pub couriers: Vec<mpsc::Sender<Payload>>,
    /// To the dead letters.
    pub dead_letters: mpsc::Sender<Rejected>,
    /// To the ledger.
    pub home: Home,
    /// Counters, published once for each batch.
    pub meter: Arc<PipelineMeter>,
    /// Bytes that the source lends, given back as soon as they are read.
    pub lent_bytes: Arc<AtomicUsize>,
    /// Refused records are stored before anything behind them is sent on.
    pub letters_first: bool,
    /// Counts refused records and stops what would only fill the dead letters.
    pub guard: RejectGuard,
    /// The rows of the batch at hand.
    pub rows: RowBatch,
    /// What of them waits.
    pub portions: Portions,
    /// The refused records of the batch at hand.
    pub rejects: Rejects,
}

impl Lane {
    /// Turns batches into payloads until intake hangs up.
    pub fn run(mut self) -> Result<(), Fault> {
        while let Some(work) = self.inbox.blocking_recv() {
            self.successor.take(&mut self.transforms);
            match work {
                Work::Batch(batch, pace) => self.fill(batch, pace)?,
                Work::Tick(pace) => self.send_due(pace)?,
            }
        }
        self.outbox.close_all();
        self.send_closed()
    }

    /// One batch: decoded, transformed, encoded into the open payloads of its destinations.
    fn fill(&mut self, batch: RecordBatch, pace: Pace) -> Result<(), Fault> {
        self.outbox.set_pace(pace.now, pace.linger);
        if self.is_wanted_back(&batch) {
            self.give_back(batch);
            return self.send_due(pace);
        }
        let (mut kept, mut rejected, mut skipped) = (0, 0, 0);
        let mut from = Some(0);
        while let Some(first) = from {
            self.rows.clear();
            let Lane { format, rows, rejects, .. } = &mut *self;
            let Portion { decoded, next } = format.portion(first, &batch, rows, rejects)?;
            skipped += decoded.skipped;
            from = next;
            loop {
                let Lane { portions, transforms, rows, rejects, .. } = &mut *self;
                let waits = portions.next(transforms, &batch, rows, rejects)?;
                rows.more = waits || next.is_some();
                kept += count_sources(&self.rows);
                if !self.encode(&batch)? {
                    self.give_back(batch);
                    return self.send_due(pace);
                }
                rejected += self.send_rejects(&batch)?;
                if self.rows.more {
                    self.send_due(pace)?;
                }
                if !waits {
                    break;
                }
            }
        }
        let records = batch.len() as u64;
        self.also.iter_mut().try_for_each(|also| also.guard.observe(records))?;
        let gone = records - kept.min(records) - skipped;
        self.meter.records_skipped.add(skipped);
        self.meter.records_filtered.add(gone.saturating_sub(rejected));
        self.guard.observe(records)?;
        self.lent_bytes.fetch_sub(batch.held_bytes(), Ordering::AcqRel);
        self.done(batch.into_ticket());
        self.send_due(pace)
    }

    /// Rows to bytes, for every sink that they go to; false if the batch is to be given back.
    fn encode(&mut self, batch: &RecordBatch) -> Result<bool, Fault> {
        let Lane { ways, also, rows, rejects, outbox, .. } = self;
        if !ways[batch.way.index()].encode(batch, rows, rejects, outbox)? {
            return Ok(false);
        }
        for LaneAlso { way, rejects, .. } in also {
            if !way.encode(batch, rows, rejects, outbox)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a batch was on its way when everything was wanted back. Payloads that are open then
    /// are not added to: they go back whole.
    fn is_wanted_back(&mut self, batch: &RecordBatch) -> bool {
        let Lane { ways, also, outbox, .. } = self;
        let also = also.iter_mut().map(|also| &mut also.way);
        let (mut last, mut is_new) = (0, false);
        for way in also.chain([&mut ways[batch.way.index()]]) {
            is_new |= way.reset.has_changed().unwrap_or(false);
            last = last.max(*way.reset.borrow_and_update());
        }
        if is_new {
            outbox.close_all();
        }
        batch.ticket.id() <= last
    }

    /// The batch is read again, its rejects with it. Rows that are in payloads already have shares
    /// of their own.
    fn give_back(&mut self, batch: RecordBatch) {
        self.portions.clear();
        self.rejects = Rejects::default();
        self.also.iter_mut().for_each(|also| also.rejects = Rejects::default());
        self.lent_bytes.fetch_sub(batch.held_bytes(), Ordering::AcqRel);
        let verdict = Verdict::Rewind { route: batch.route };
        let shares = vec![batch.into_ticket().into_share()];
        self.home.blocking_send(Receipt { shares, verdict, rows: 0 });
    }

    /// Sends the batch's rejects with their original bytes, before those are gone; how many had
    /// no row left when the batch was encoded.
    fn send_rejects(&mut self, batch: &RecordBatch) -> Result<u64, Fault> {
        let Lane { ways, also, rejects, guard, meter, dead_letters, letters_first, .. } = self;
        let doors = (&*dead_letters, *letters_first);
        let sink = ways[batch.way.index()].sink.as_deref();
        let theirs = also.iter_mut().map(|also| std::mem::take(&mut also.rejects.nulled));
        let nulled = theirs.sum::<u64>() + std::mem::take(&mut rejects.nulled);
        if nulled > 0 {
            meter.values_nulled.add(nulled);
        }
        let own = rejects.drain_named(batch, sink);
        let no_row = own.iter().filter(|reject| reject.stage != Stage::Shape).count() as u64;
        send(own, batch, (meter, guard), doors)?;
        for LaneAlso { way, rejects, guard } in also {
            let theirs = rejects.drain_named(batch, way.sink.as_deref());
            send(theirs, batch, (meter, guard), doors)?;
        }
        Ok(no_row)
    }

    /// The ticket's own share goes home: the lane is done with the batch.
    fn done(&mut self, ticket: Ticket) {
        let shares = vec![ticket.into_share()];
        self.home.blocking_send(Receipt { shares, verdict: Verdict::Stored, rows: 0 });
    }

    /// Closes what is due, where its courier has room, and sends what is closed.
    fn send_due(&mut self, pace: Pace) -> Result<(), Fault> {
        let couriers = &self.couriers;
        self.outbox
            .close_due(pace.now, pace.linger, |courier| couriers[courier as usize].capacity() > 0);
        self.send_closed()
    }

    fn send_closed(&mut self) -> Result<(), Fault> {
        for (courier, payload) in self.outbox.take_closed() {
            if self.couriers[courier as usize].blocking_send(payload).is_err() {
                // Its shares are dropped, and count as lost: nothing is committed past them.
                return Err(Fault::us("a courier ended before its lane"));
            }
        }
        Ok(())
    }
}

/// Counts rejects of a batch and hands them to the dead letters; waits until they are stored, if
/// that comes first.
fn send(
    rejects: Vec<Reject>,
    batch: &RecordBatch,
    (meter, guard): (&PipelineMeter, &mut RejectGuard),
    (dead_letters, letters_first): (&mpsc::Sender<Rejected>, bool),
) -> Result<(), Fault> {
    if rejects.is_empty() {
        return Ok(());
    }
    for reject in &rejects {
        meter.reject(reject.reason, 1);
        guard.count(reject.reason, &reject.detail);
    }
    let shares = vec![batch.ticket.share()];
    let (kept, heard) = letters_first.then(Kept::pair).unzip();
    let rejected = Rejected { rejects, refusals: Vec::new(), shares, kept };
    // Its shares are dropped, and count as lost: nothing is committed past them.
    let ended = || Fault::us("the dead letters ended before the lane");
    dead_letters.blocking_send(rejected).map_err(|_| ended())?;
    heard.map_or(Ok(()), |heard| heard.blocking_recv().map_err(|_| ended()))
}

/// How many records have something to be stored.
fn count_sources(rows: &RowBatch) -> u64 {
    sources(&rows.rows) + count_emitted_only(rows)
}

/// How many records have no row, but something for topics.
fn count_emitted_only(rows: &RowBatch) -> u64 {
    let of = |row: &Row| row.source;
    let mut only: Vec<u32> = rows.emitted.iter().map(|emitted| emitted.source).collect();
    only.retain(|source| rows.rows.binary_search_by_key(source, of).is_err());
    only.sort_unstable();
    only.dedup();
    only.len() as u64
}

/// Counts refused records of one lane by reason, and stops a pipeline that would only fill the
/// dead letters: a wrong schema must not empty a topic into them.
pub struct RejectGuard {
    window: u64,
    share_max: f64,
    seen: u64,
    refused: HashMap<Reason, (u64, String)>,
}

impl RejectGuard {
    /// A guard by the pipeline's limits.
    pub fn new(limits: &Limits) -> RejectGuard {
        RejectGuard {
            window: limits.reject_window,
            share_max: limits.reject_share_max,
            seen: 0,
            refused: HashMap::new(),
        }
    }

    /// Counts a refused record.
    pub fn count(&mut self, reason: Reason, detail: &str) {
        let entry = self.refused.entry(reason).or_insert_with(|| (0, detail.to_owned()));
        entry.0 += 1;
    }

    /// Counts records that were seen; an error when too many of the window were refused.
    pub fn observe(&mut self, records: u64) -> Result<(), Fault> {
        self.seen += records;
        if self.seen < self.window {
            return Ok(());
        }
        let bound = (self.seen as f64 * self.share_max) as u64;
        let worst = self.refused.iter().max_by_key(|(_, (count, _))| *count);
        if let Some((reason, (count, example))) = worst
            && *count > bound
        {
            return Err(Fault::operator(format!(
                "{count} of {} records were rejected as {}, such as: {example}",
                self.seen,
                reason.name()
            ))
            .hint("stopped before the topic is emptied into the dead letters: put the format, the table or the transform right and start again; nothing after the last commit is lost"));
        }
        self.seen = 0;
        self.refused.clear();
        Ok(())
    }
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
