//! Who may commit what. The ledger issues a ticket for every batch and redeems it when all its
//! shares are home; the commit point of a partition is the end of its unbroken run of redeemed
//! tickets. Pure: no clock, no I/O.
//!
//! ```text
//!  issue 10..20 ──▶ ┐                         commit point
//!  issue 20..30 ──▶ ├─ out ── receipts ──▶ redeemed in any order ──▶ 10 → 20 → 30
//!  issue 30..35 ──▶ ┘
//! ```
//!
//! A receipt that says `Rewind` fails its tickets. The partition then takes nothing new until all
//! its tickets are home ("quiet"), and is read again from its commit point. So nothing old can
//! arrive after what replaces it.
//!
//! Where a pipeline has a fallback, all tickets that are out went to one sink. After a turn nothing
//! is issued until the last of them is home.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::batch::{PartitionIndex, Receipt, Route, Verdict, Way};
use crate::source::CommitPoint;
use crate::ticket::{Lost, Share, Ticket};

/// The offsets of one ticket.
#[derive(Debug)]
struct Span {
    id: u64,
    next: i64,
    home: bool,
}

/// One partition's progress.
#[derive(Debug, Default)]
struct Progress {
    spans: VecDeque<Span>,
    /// Tickets that are not home yet, failed ones included.
    out: usize,
    /// Everything before it is stored; `None` until the first ticket is redeemed.
    stored: Option<i64>,
    /// What was last given to [`Ledger::uncommitted`].
    committed: Option<i64>,
    /// The offset after the last one issued.
    issued: Option<i64>,
    /// Where reading again must start if no ticket was ever redeemed.
    origin: Option<i64>,
    /// A rewind is due, by this route.
    rewind: Option<Route>,
    /// Records before this offset are stored by this route.
    replay: Option<(i64, Route)>,
}

impl Progress {
    fn advance(&mut self) {
        while self.spans.front().is_some_and(|span| span.home) {
            let span = self.spans.pop_front().expect("there is a front");
            self.stored = Some(span.next);
        }
    }
}

/// A partition to be read again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rewind {
    /// The partition.
    pub partition: PartitionIndex,
    /// The offset to read from.
    pub next: i64,
}

/// A ticket whose shares are all home.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Complete {
    /// Its number.
    pub id: u64,
    /// Whether all of it is stored; else it is read again.
    pub stored: bool,
}

/// Issues and redeems tickets.
#[derive(Debug, Default)]
pub struct Ledger {
    lost: Arc<Lost>,
    last_id: u64,
    /// To which sink tickets are issued from now on.
    way: Way,
    /// To which those went that were issued last.
    issued_way: Way,
    tickets: HashMap<u64, (PartitionIndex, bool), foldhash::fast::FixedState>,
    partitions: HashMap<PartitionIndex, Progress, foldhash::fast::FixedState>,
}

impl Ledger {
    /// A ticket for the records `first..next` of a partition.
    pub fn issue(&mut self, partition: PartitionIndex, first: i64, next: i64) -> Ticket {
        self.last_id += 1;
        let progress = self.partitions.entry(partition).or_default();
        debug_assert!(progress.rewind.is_none(), "nothing is issued while a rewind is due");
        // Invariant: what is out went one way.
        debug_assert!(self.tickets.is_empty() || self.issued_way == self.way);
        self.issued_way = self.way;
        progress.spans.push_back(Span { id: self.last_id, next, home: false });
        progress.origin.get_or_insert(first);
        progress.issued = Some(next);
        progress.out += 1;
        self.tickets.insert(self.last_id, (partition, false));
        Ticket::issue(self.last_id, Arc::clone(&self.lost))
    }

    /// The source left out the records `first..next` of a partition: nothing of them is to be
    /// stored.
    pub fn leave_out(&mut self, partition: PartitionIndex, first: i64, next: i64) {
        let shares = vec![self.issue(partition, first, next).into_share()];
        self.redeem(Receipt { shares, verdict: Verdict::Stored, rows: 0 });
    }

    /// Takes the shares of a receipt home; the tickets that are complete now, and whether all of
    /// each was stored.
    pub fn redeem(&mut self, receipt: Receipt) -> Vec<Complete> {
        let failed = match receipt.verdict {
            Verdict::Stored => None,
            Verdict::Rewind { route } => Some(route),
        };
        let redeem = |share| self.redeem_share(share, failed);
        receipt.shares.into_iter().filter_map(redeem).collect()
    }

    fn redeem_share(&mut self, share: Share, failed: Option<Route>) -> Option<Complete> {
        let id = share.id();
        let Some((partition, ticket_failed)) = self.tickets.get_mut(&id) else {
            debug_assert!(false, "a share comes from a ticket of this ledger");
            share.redeem();
            return None;
        };
        *ticket_failed |= failed.is_some();
        let (partition, ticket_failed) = (*partition, *ticket_failed);
        let progress = self.partitions.get_mut(&partition).expect("tickets out keep it");
        if let Some(route) = failed {
            let asked = progress.rewind.get_or_insert(route);
            if route == Route::Proof {
                *asked = route;
            }
        }
        if !share.redeem() {
            return None;
        }
        self.tickets.remove(&id);
        progress.out -= 1;
        if !ticket_failed {
            if let Ok(at) = progress.spans.binary_search_by_key(&id, |span| span.id) {
                progress.spans[at].home = true;
            }
            progress.advance();
        }
        Some(Complete { id, stored: !ticket_failed })
    }

    /// Partitions whose rewind is due and that are quiet: to be read again from here. What was
    /// issued and not stored is forgotten, and goes by the route that the rewind named.
    pub fn due_rewinds(&mut self) -> Vec<Rewind> {
        let mut due = Vec::new();
        for (partition, progress) in &mut self.partitions {
            let Some(route) = progress.rewind.filter(|_| progress.out == 0) else { continue };
            progress.rewind = None;
            progress.spans.clear();
            let next = progress.stored.or(progress.origin).expect("a ticket was issued");
            let until = progress.issued.expect("a ticket was issued");
            let before = progress.replay.map_or(until, |(offset, _)| offset.max(until));
            // What could not be proved in one sink is no matter of the other one's.
            let is_same_sink = self.issued_way == self.way;
            progress.replay = (route == Route::Proof && is_same_sink).then_some((before, route));
            due.push(Rewind { partition: *partition, next });
        }
        due
    }

    /// Everything that is out is wanted back: its partitions are read again, and take nothing new
    /// before that. So nothing is stored ahead of what comes back. The last ticket of them.
    pub fn want_back(&mut self) -> u64 {
        for progress in self.partitions.values_mut().filter(|progress| progress.out > 0) {
            let route = progress.replay.map_or(Route::Primary, |(_, route)| route);
            progress.rewind.get_or_insert(route);
        }
        self.last_id
    }

    /// The last ticket that was issued.
    pub fn last(&self) -> u64 {
        self.last_id
    }

    /// From now on tickets are issued to the other sink, once all are home that are out.
    pub fn turn(&mut self, way: Way) {
        if self.way != way {
            self.way = way;
            self.partitions.values_mut().for_each(|progress| progress.replay = None);
        }
    }

    /// To which sink tickets are issued.
    pub fn way(&self) -> Way {
        self.way
    }

    /// The sink that has to store or give back what is out, before anything goes to the one that
    /// was turned to.
    pub fn left(&self) -> Option<Way> {
        (self.issued_way != self.way && !self.tickets.is_empty()).then_some(self.issued_way)
    }

    /// By which way a batch that begins at `first` is to be stored.
    pub fn route(&mut self, partition: PartitionIndex, first: i64) -> Route {
        let Some(progress) = self.partitions.get_mut(&partition) else { return Route::Primary };
        match progress.replay {
            Some((until, route)) if first < until => route,
            Some(_) => {
                progress.replay = None;
                Route::Primary
            }
            None => Route::Primary,
        }
    }

    /// Whether new records of the partition may be taken.
    pub fn may_issue(&self, partition: PartitionIndex) -> bool {
        self.left().is_none()
            && self.partitions.get(&partition).is_none_or(|progress| progress.rewind.is_none())
    }

    /// Tickets of a partition that are not home.
    pub fn out(&self, partition: PartitionIndex) -> usize {
        self.partitions.get(&partition).map_or(0, |progress| progress.out)
    }

    /// Tickets that are not home.
    pub fn out_total(&self) -> usize {
        self.tickets.len()
    }

    /// The offset after the last one issued, if any was.
    pub fn issued(&self, partition: PartitionIndex) -> Option<i64> {
        self.partitions.get(&partition).and_then(|progress| progress.issued)
    }

    /// A partition was read up to `next`. If all of it is home, there is nothing to be stored
    /// before that: what follows the last record is none (the end of a transaction, what was
    /// aborted).
    pub fn pass(&mut self, partition: PartitionIndex, next: i64) {
        let progress = self.partitions.entry(partition).or_default();
        if progress.out > 0 || progress.rewind.is_some() {
            return;
        }
        if progress.stored.is_none() {
            // Where reading began is known to whoever said it.
            progress.committed = Some(next);
        }
        progress.stored = Some(next);
    }

    /// A partition is another log from now on, read from `next`: what is out is of the old one, and
    /// would be committed as offsets of the new one.
    pub fn go_back(&mut self, partition: PartitionIndex, next: i64) {
        let progress = self.partitions.entry(partition).or_default();
        progress.spans.clear();
        (progress.stored, progress.committed) = (Some(next), None);
        (progress.origin, progress.issued) = (Some(next), Some(next));
        progress.replay = None;
    }

    /// Commit points that moved since they were last asked for; they count as committed now.
    pub fn uncommitted(&mut self) -> Vec<CommitPoint> {
        self.points(|progress| progress.stored != progress.committed)
    }

    /// All commit points, moved or not; they count as committed now.
    pub fn commit_points(&mut self) -> Vec<CommitPoint> {
        self.points(|_| true)
    }

    fn points(&mut self, is_wanted: impl Fn(&Progress) -> bool) -> Vec<CommitPoint> {
        let mut points = Vec::new();
        for (partition, progress) in &mut self.partitions {
            if is_wanted(progress)
                && let Some(next) = progress.stored
            {
                progress.committed = Some(next);
                points.push(CommitPoint { partition: *partition, next });
            }
        }
        points
    }

    /// The points were not kept after all: they are due again.
    pub fn not_committed(&mut self, points: &[CommitPoint]) {
        for point in points {
            if let Some(progress) = self.partitions.get_mut(&point.partition) {
                progress.committed = None;
            }
        }
    }

    /// Forgets a partition that is quiet (revoked, or lost).
    pub fn forget(&mut self, partition: PartitionIndex) {
        debug_assert_eq!(self.out(partition), 0, "only a quiet partition is forgotten");
        self.partitions.remove(&partition);
    }

    /// Shares that were dropped on the way: a defect of ours, and reason to stop.
    pub fn lost(&self) -> u64 {
        self.lost.count()
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
