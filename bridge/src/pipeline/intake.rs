//! Cuts the log into batches and keeps the books. One thread; it never waits on a send, for it
//! must keep polling, or Kafka would expel it: what has no room stays in the source.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::alarm::{Alarm, Stop};
use super::claiming::{Answer, Claimer};
use super::house::{COMMIT_AGAIN, LAST_COMMIT_MAX};
use super::lane::{Pace, Work};
use super::ledger::{Complete, Ledger};
use super::step::Step;
use crate::batch::{PartitionIndex, Receipt, Verdict, Way};
use crate::blame::Fault;
use crate::limits::Limits;
use crate::observe::{PipelineMeter, unix_ms};
use crate::outbox::Pool;
use crate::sink::Sink;
use crate::source::{CommitPoint, Event, Source};

/// How a partition stands.
#[derive(Debug)]
enum Standing {
    /// Assigned; started as soon as nothing of an earlier assignment is out.
    Assigned,
    /// Claimed by the claim of this number; started when it is answered.
    Claimed { number: u64 },
    /// Read by this lane.
    Read { lane: usize },
    /// A bounded source has no more of it, and all of it is stored.
    Ended,
    /// To be given up when drained; connections are reset at the deadline.
    Revoked { deadline: Instant, reset: bool },
    /// Gone; forgotten when quiet.
    Lost,
}

/// What intake knows of a partition besides the ledger.
#[derive(Debug)]
struct Partition {
    standing: Standing,
    /// Bytes of an average record so far.
    record_bytes: usize,
    /// A bounded source has no more of it.
    over: bool,
    /// It was read before and is claimed again, not earlier than said; everything before this
    /// offset is stored.
    again: Option<(i64, Instant)>,
}

/// What the latency of a batch is reckoned from.
#[derive(Clone, Copy, Debug)]
struct Taking {
    /// Kafka's timestamp of its last record, milliseconds since 1970; -1 where there is none.
    timestamp_ms: i64,
    records: u64,
}

/// The intake of one ring.
pub struct Intake {
    pub(super) source: Box<dyn Source>,
    pub(super) ledger: Ledger,
    pub(super) lanes: Vec<mpsc::Sender<Work>>,
    pub(super) receipts: mpsc::Receiver<Receipt>,
    ways: Vec<IntakeWay>,
    /// To which sink rows are to go.
    orders: watch::Receiver<Way>,
    /// While what went to the sink that was left comes home.
    leaving: Leaving,
    pub(super) alarm: Arc<Alarm>,
    pub(super) meter: Arc<PipelineMeter>,
    pub(super) limits: Limits,
    pub(super) lent_bytes: Arc<AtomicUsize>,
    pub(super) pool: Arc<Pool>,
    claimer: Option<Claimer>,
    /// Whether progress is made known here, and not by the sink.
    pub(super) commits: bool,
    partitions: BTreeMap<PartitionIndex, Partition>,
    /// Of each ticket that is out.
    takings: HashMap<u64, Taking, foldhash::fast::FixedState>,
    pub(super) step: Step,
    rotation: usize,
    pub(super) behind: bool,
    pub(super) lag_at: Instant,
    pub(super) lag_shown_at: Instant,
    pub(super) commit_at: Instant,
    pub(super) commit_again_at: Instant,
    tick_at: Instant,
    drain_until: Option<Instant>,
}

/// What intake has of a sink: the means to have everything given back.
pub struct IntakeWay {
    pub reset: watch::Sender<u64>,
    pub sink: Arc<dyn Sink>,
}

/// When the sink that was left is told to give back what it holds.
#[derive(Clone, Copy, Debug)]
struct Leaving {
    /// Until then it may still store it.
    patient_until: Instant,
    told_at: Option<Instant>,
}

/// A sink that was left is told again after this time: lanes may have had something for it still.
const TELL_AGAIN: Duration = Duration::from_millis(100);
/// The longest wait without looking at anything: within every bound that Kafka sets.
const WAIT_MAX: Duration = Duration::from_millis(100);
/// A round that took fewer records than this is followed by a pause, so that batches at low
/// rates are not of one record each.
const THIN_ROUND_RECORDS: usize = 256;
/// The pause after a thin round.
const THIN_ROUND_PAUSE: Duration = Duration::from_millis(2);

/// The parts that an intake is made of.
pub struct IntakeParts {
    pub source: Box<dyn Source>,
    pub lanes: Vec<mpsc::Sender<Work>>,
    pub receipts: mpsc::Receiver<Receipt>,
    /// To the pipeline's sink, and to its fallback if it has one.
    pub ways: Vec<IntakeWay>,
    pub orders: watch::Receiver<Way>,
    pub alarm: Arc<Alarm>,
    pub meter: Arc<PipelineMeter>,
    pub limits: Limits,
    pub lent_bytes: Arc<AtomicUsize>,
    pub pool: Arc<Pool>,
    /// Where the sink keeps how far partitions are.
    pub claimer: Option<Claimer>,
    /// Whether progress is made known by the intake, and not by the sink.
    pub commits: bool,
}

impl Intake {
    /// An intake that has not begun.
    pub fn new(parts: IntakeParts) -> Intake {
        let now = Instant::now();
        parts.alarm.set_waker(parts.source.waker());
        Intake {
            source: parts.source,
            ledger: Ledger::default(),
            lanes: parts.lanes,
            receipts: parts.receipts,
            ways: parts.ways,
            orders: parts.orders,
            leaving: Leaving { patient_until: now, told_at: None },
            alarm: parts.alarm,
            meter: parts.meter,
            limits: parts.limits,
            lent_bytes: parts.lent_bytes,
            pool: parts.pool,
            claimer: parts.claimer,
            commits: parts.commits,
            partitions: BTreeMap::new(),
            takings: HashMap::default(),
            step: Step::default(),
            rotation: 0,
            behind: false,
            lag_at: now,
            lag_shown_at: now,
            commit_at: now,
            commit_again_at: now + COMMIT_AGAIN,
            tick_at: now,
            drain_until: None,
        }
    }

    /// Runs until it is asked to stop, a bounded source has ended, or something is wrong.
    pub fn run(mut self) -> Result<(), Fault> {
        let end = self.turn_until_done();
        // Whatever happened: what is stored is committed, so that it is not stored again.
        // A fault is not kept waiting.
        let patience = if end.is_ok() { LAST_COMMIT_MAX } else { Duration::ZERO };
        let committed = self.commit_last(patience);
        self.source.close(self.limits.drain.min(Duration::from_secs(5)));
        end.and(committed)
    }

    fn turn_until_done(&mut self) -> Result<(), Fault> {
        loop {
            let now = Instant::now();
            if self.is_done(now)? {
                return Ok(());
            }
            self.serve_events(now)?;
            let mut moved = self.collect_receipts();
            self.heed_orders(now);
            self.settle(now)?;
            let taken = if self.drain_until.is_none() { self.take(now)? } else { 0 };
            moved |= taken > 0;
            self.keep_house(now);
            self.tick(now);
            if taken > 0 && taken < THIN_ROUND_RECORDS {
                std::thread::sleep(THIN_ROUND_PAUSE);
            } else if !moved {
                self.source.wait(now + self.wait_max());
            }
        }
    }

    /// Whether the ring has ended; begins to drain it when asked.
    fn is_done(&mut self, now: Instant) -> Result<bool, Fault> {
        let stop = self.alarm.stop();
        if stop == Stop::Now {
            return Ok(true);
        }
        if self.ledger.lost() > 0 {
            return Err(Fault::us("a batch was dropped on its way; nothing past it is committed"));
        }
        let ended = !self.partitions.is_empty()
            && self.partitions.values().all(|p| matches!(p.standing, Standing::Ended));
        if (stop == Stop::Drain || ended) && self.drain_until.is_none() {
            self.drain_until = Some(now + self.limits.drain);
            // Lanes end when their inbox closes, couriers when their lane has ended.
            self.lanes.clear();
        }
        match self.drain_until {
            None => Ok(false),
            Some(_) if self.ledger.out_total() == 0 => Ok(true),
            Some(until) if now > until && stop == Stop::Drain => {
                let out = self.ledger.out_total();
                // Couriers still try to store them, and would for as long as it takes.
                self.alarm.raise(Fault::world(format!(
                    "stopped with {out} batches that were not stored within drain = {} s; nothing \
                     is lost: they are read again at the next start",
                    self.limits.drain.as_secs()
                )));
                Ok(true)
            }
            Some(_) => Ok(false),
        }
    }

    fn serve_events(&mut self, now: Instant) -> Result<(), Fault> {
        while let Some(event) = self.source.poll()? {
            match event {
                Event::Assigned(partitions) => {
                    for partition in partitions {
                        let standing = Standing::Assigned;
                        let fresh =
                            Partition { standing, record_bytes: 256, over: false, again: None };
                        self.partitions.insert(partition, fresh);
                    }
                }
                Event::Revoked(partitions) => {
                    let deadline = now + self.limits.drain;
                    self.stand(&partitions, || Standing::Revoked { deadline, reset: false });
                }
                Event::Lost(partitions) => {
                    self.stand(&partitions, || Standing::Lost);
                    self.reset_connections();
                }
                Event::Ended(partition) => {
                    if let Some(known) = self.partitions.get_mut(&partition) {
                        known.over = true;
                    }
                }
                Event::Missed(_, offsets) => {
                    self.meter.offsets_missed.add(offsets);
                    // What comes next is read again from where it went on, not from before.
                    self.look_at_lag(now);
                }
                Event::WentBack(partition, next) => {
                    if self.claimer.is_some() {
                        return Err(self.goes_back(partition));
                    }
                    self.ledger.go_back(partition, next);
                }
            }
            self.meter.partitions.set(self.partitions.len() as i64);
        }
        Ok(())
    }

    /// A partition begins anew, and the sink has its own books of it.
    fn goes_back(&self, partition: PartitionIndex) -> Fault {
        let name = self.source.name_of(partition);
        Fault::operator(format!(
            "{name} is another log than before (its topic was made anew), and the sink keeps how \
             far the old one was stored: new records would be taken for those"
        ))
        .hint("have the sink forget the topic: in PostgreSQL, delete its rows of bridge_progress")
    }

    fn stand(&mut self, partitions: &[PartitionIndex], standing: impl Fn() -> Standing) {
        for partition in partitions {
            if let Some(known) = self.partitions.get_mut(partition) {
                known.standing = standing();
            }
        }
    }

    /// Whether a partition is being read, and stands where its source says.
    pub(super) fn is_read(&self, partition: PartitionIndex) -> bool {
        let known = self.partitions.get(&partition);
        known.is_some_and(|known| matches!(known.standing, Standing::Read { .. }))
    }

    /// Everything under way is given back, to be read again.
    fn reset_connections(&mut self) {
        let last = self.ledger.want_back();
        for way in &self.ways {
            way.reset.send_replace(last);
        }
    }

    /// Turns to the other sink if that is ordered. What is under way comes home first: the fallback
    /// may store what it has, for a while; a first that is left for its trouble gives it back.
    fn heed_orders(&mut self, now: Instant) {
        let way = *self.orders.borrow_and_update();
        if way != self.ledger.way() {
            self.ledger.turn(way);
            let patience = if way == Way::First { self.limits.drain } else { Duration::ZERO };
            self.leaving = Leaving { patient_until: now + patience, told_at: None };
            self.meter.fallback_active.set(i64::from(way == Way::Second));
            self.meter.fallbacks.add(u64::from(way == Way::Second));
        }
        let Some(left) = self.ledger.left() else { return };
        let Leaving { patient_until, told_at } = self.leaving;
        if now >= patient_until && told_at.is_none_or(|at| now >= at + TELL_AGAIN) {
            self.leaving.told_at = Some(now);
            let way = &self.ways[left.index()];
            // In this order: who is interrupted looks whether it was for this.
            way.reset.send_replace(self.ledger.last());
            way.sink.interrupt();
        }
    }

    fn collect_receipts(&mut self) -> bool {
        let mut now_ms = None;
        while let Ok(receipt) = self.receipts.try_recv() {
            if matches!(receipt.verdict, Verdict::Stored) {
                self.meter.rows_stored.add(receipt.rows);
            }
            let now_ms = *now_ms.get_or_insert_with(unix_ms);
            for Complete { id, stored } in self.ledger.redeem(receipt) {
                let taking = self.takings.remove(&id).filter(|taking| taking.timestamp_ms >= 0);
                if let Some(Taking { timestamp_ms, records }) = taking.filter(|_| stored) {
                    // The clocks of producer, broker and bridge may disagree.
                    let age =
                        Duration::from_millis(now_ms.saturating_sub(timestamp_ms).max(0) as u64);
                    self.meter.acked.record(age, records);
                }
            }
        }
        now_ms.is_some()
    }

    /// Starts, rewinds and gives up partitions that are quiet.
    fn settle(&mut self, now: Instant) -> Result<(), Fault> {
        for rewind in self.ledger.due_rewinds() {
            self.meter.rewinds.add(1);
            let read = self.partitions.get_mut(&rewind.partition);
            let is_read = |p: &&mut Partition| matches!(p.standing, Standing::Read { .. });
            if let Some(known) = read.filter(is_read) {
                known.over = false;
                match &self.claimer {
                    None => self.rewind(rewind.partition, rewind.next)?,
                    Some(claimer) => {
                        let not_before = now + claimer.patience(rewind.partition);
                        self.stand(&[rewind.partition], || Standing::Assigned);
                        let known = self.partitions.get_mut(&rewind.partition);
                        known.expect("it is being read").again = Some((rewind.next, not_before));
                    }
                }
            }
        }
        self.end_those_over();
        self.start_assigned(now)?;
        self.start_claimed()?;
        self.release_drained(now)
    }

    /// What is over has ended when all of it is home, and nothing of it is to be read again.
    fn end_those_over(&mut self) {
        for (at, partition) in &mut self.partitions {
            let is_read = matches!(partition.standing, Standing::Read { .. });
            if partition.over && is_read && self.ledger.out(*at) == 0 {
                partition.standing = Standing::Ended;
            }
        }
    }

    fn rewind(&mut self, partition: PartitionIndex, next: i64) -> Result<(), Fault> {
        let name = self.source.name_of(partition);
        tracing::info!("{name} is read again from offset {next}");
        self.step.forget(partition);
        self.source.rewind(partition, next)
    }

    fn start_assigned(&mut self, now: Instant) -> Result<(), Fault> {
        let quiet = |(at, p): (&PartitionIndex, &Partition)| {
            let is_time = p.again.is_none_or(|(_, not_before)| now >= not_before);
            let starts = matches!(p.standing, Standing::Assigned) && is_time;
            (starts && self.ledger.out(*at) == 0).then_some(*at)
        };
        let starting: Vec<PartitionIndex> = self.partitions.iter().filter_map(quiet).collect();
        if starting.is_empty() || self.lanes.is_empty() {
            return Ok(());
        }
        if let Some(claimer) = &mut self.claimer {
            let name = |at: &PartitionIndex| (*at, self.source.name_of(*at));
            let number = claimer.claim(starting.iter().map(name).collect());
            self.stand(&starting, || Standing::Claimed { number });
            return Ok(());
        }
        for partition in &starting {
            self.ledger.forget(*partition);
            self.give_lane(*partition);
        }
        let at: Vec<_> = starting.into_iter().map(|partition| (partition, None)).collect();
        self.source.start(&at)
    }

    /// Starts partitions whose claim was answered, unless they are not ours any more.
    fn start_claimed(&mut self) -> Result<(), Fault> {
        while let Some(answer) = self.claimer.as_mut().and_then(Claimer::answer) {
            let Answer { number: answered, claimed } = answer;
            let mut starts = Vec::new();
            for (partition, stored) in claimed? {
                let waits = |known: &&mut Partition| match known.standing {
                    Standing::Claimed { number } => number == answered,
                    _ => false,
                };
                let known = self.partitions.get_mut(&partition).filter(waits);
                let Some(known) = known.filter(|_| !self.lanes.is_empty()) else { continue };
                let again = known.again.take();
                self.give_lane(partition);
                match again {
                    // What was filtered behind the last row is not known to the sink.
                    Some((next, _)) => self.rewind(partition, stored.unwrap_or(next).max(next))?,
                    None => {
                        self.ledger.forget(partition);
                        starts.push((partition, stored));
                    }
                }
            }
            if !starts.is_empty() {
                self.source.start(&starts)?;
            }
        }
        Ok(())
    }

    /// Gives a partition the lane that has fewest.
    fn give_lane(&mut self, partition: PartitionIndex) {
        let mut load = vec![0; self.lanes.len()];
        for known in self.partitions.values() {
            if let Standing::Read { lane } = known.standing {
                load[lane] += 1;
            }
        }
        let lane = (0..load.len()).min_by_key(|lane| load[*lane]).expect("there is a lane");
        self.stand(&[partition], || Standing::Read { lane });
    }

    fn release_drained(&mut self, now: Instant) -> Result<(), Fault> {
        let mut drained = Vec::new();
        let mut overdue = false;
        for (at, partition) in &mut self.partitions {
            let quiet = self.ledger.out(*at) == 0;
            match &mut partition.standing {
                Standing::Revoked { .. } | Standing::Lost if quiet => drained.push(*at),
                Standing::Revoked { deadline, reset } if now > *deadline && !*reset => {
                    *reset = true;
                    overdue = true;
                }
                _ => {}
            }
        }
        if overdue {
            tracing::warn!("revoked partitions did not drain in time: connections are reset");
            self.reset_connections();
        }
        if drained.is_empty() {
            return Ok(());
        }
        let points = self.ledger.uncommitted();
        // What was lost is another member's by now: its commits are not ours to make.
        let is_lost = |at: PartitionIndex| {
            self.partitions.get(&at).is_some_and(|p| matches!(p.standing, Standing::Lost))
        };
        let ours: Vec<CommitPoint> =
            points.into_iter().filter(|point| !is_lost(point.partition)).collect();
        let wait = !drained.iter().all(|at| is_lost(*at));
        if let Err(fault) = self.make_known(&ours, wait) {
            tracing::warn!("{fault}; the records since the last commit will be read again");
        }
        for partition in &drained {
            self.ledger.forget(*partition);
            self.partitions.remove(partition);
            self.step.forget(*partition);
        }
        self.meter.partitions.set(self.partitions.len() as i64);
        self.source.release(&drained)
    }

    /// Takes from every partition that has a lane with room; the number of records.
    fn take(&mut self, now: Instant) -> Result<usize, Fault> {
        let reading: Vec<(PartitionIndex, usize)> = self
            .partitions
            .iter()
            .filter_map(|(at, p)| match p.standing {
                Standing::Read { lane } => Some((*at, lane)),
                _ => None,
            })
            .collect();
        if reading.is_empty() {
            return Ok(0);
        }
        self.rotation = (self.rotation + 1) % reading.len();
        let oldest = self.step.oldest(now);
        let (mut records, mut blocked) = (0, 0);
        for step in 0..reading.len() {
            let (partition, lane) = reading[(self.rotation + step) % reading.len()];
            let lent = self.lent_bytes.load(Ordering::Acquire);
            let room = self.lanes[lane].capacity() > 0
                && self.ledger.out_total() < self.limits.tickets_max
                && (lent == 0 || lent + self.limits.batch_held_max() <= self.limits.lent_bytes_max);
            if !room || !self.ledger.may_issue(partition) {
                blocked += 1;
                continue;
            }
            if !self.step.may_take(partition, oldest) {
                continue;
            }
            records += self.take_from(partition, lane, now)?;
        }
        self.meter.paused.set(blocked);
        Ok(records)
    }

    fn take_from(
        &mut self,
        partition: PartitionIndex,
        lane: usize,
        now: Instant,
    ) -> Result<usize, Fault> {
        let known = self.partitions.get_mut(&partition).expect("it is being read");
        let records_max = (self.limits.batch_bytes_max / known.record_bytes.max(1))
            .clamp(1, self.limits.batch_records_max);
        let Some(taken) = self.source.take(partition, records_max)? else { return Ok(0) };
        let Some((first, next)) = taken.span() else { return Ok(0) };
        if taken.is_empty() {
            self.ledger.leave_out(partition, first, next);
            return Ok((next - first) as usize);
        }
        let (records, bytes, held) = (taken.len(), taken.bytes(), taken.held_bytes());
        known.record_bytes = (known.record_bytes * 7 + bytes / records) / 8;
        self.meter.records_in.add(records as u64);
        self.meter.bytes_in.add(bytes as u64);
        let route = self.ledger.route(partition, first);
        let ticket = self.ledger.issue(partition, first, next);
        let (first_ms, timestamp_ms) = taken.timestamps_ms();
        self.step.took(partition, (first_ms, timestamp_ms), now);
        self.takings.insert(ticket.id(), Taking { timestamp_ms, records: records as u64 });
        let name = self.source.name_of(partition);
        let mut batch = taken.into_batch(partition, name, ticket, route);
        batch.way = self.ledger.way();
        self.lent_bytes.fetch_add(held, Ordering::AcqRel);
        let pace = self.pace(now);
        // A lane that has ended drops the batch; its ticket counts as lost, and the lane's own
        // fault says why.
        let _ = self.lanes[lane].try_send(Work::Batch(batch, pace));
        Ok(records)
    }

    fn pace(&self, now: Instant) -> Pace {
        let linger = if self.behind { self.limits.linger_behind } else { self.limits.linger };
        Pace { now, linger }
    }

    /// Lanes have no clock: while anything is under way they are told the time.
    fn tick(&mut self, now: Instant) {
        if self.ledger.out_total() == 0 || now < self.tick_at {
            return;
        }
        self.tick_at = now + self.limits.linger / 4;
        let pace = self.pace(now);
        for lane in &self.lanes {
            // A full inbox has batches, which bring the time along.
            let _ = lane.try_send(Work::Tick(pace));
        }
    }

    fn wait_max(&self) -> Duration {
        if self.ledger.out_total() == 0 { WAIT_MAX } else { WAIT_MAX.min(self.limits.linger / 4) }
    }
}
