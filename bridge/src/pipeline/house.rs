//! What the intake does now and then: it commits, and looks how far it is behind.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::alarm::Stop;
use super::intake::Intake;
use crate::blame::{Blame, Fault};
use crate::observe::unix_ms;
use crate::source::CommitPoint;

/// Time between two looks at the lag.
const LAG_EVERY: Duration = Duration::from_millis(100);
/// Partitions that stand still are committed again after this time. A group of Kafka's newer
/// protocol forgets an offset that was committed longer ago than it keeps offsets (seven days) as
/// soon as its last member leaves. The Java client commits what stands still, too, every five
/// seconds.
pub const COMMIT_AGAIN: Duration = Duration::from_secs(30);
/// So long a last commit is tried, and so often.
pub const LAST_COMMIT_MAX: Duration = Duration::from_secs(5);
const LAST_COMMIT_AGAIN: Duration = Duration::from_millis(100);
/// Time between two publications of the lag of each partition.
const LAG_SHOWN_EVERY: Duration = Duration::from_secs(1);

impl Intake {
    /// Commits and looks at the lag, each in its time.
    pub(super) fn keep_house(&mut self, now: Instant) {
        if now >= self.commit_at {
            self.commit_at = now + self.limits.commit_interval;
            self.commit(now);
        }
        if now >= self.lag_at {
            self.lag_at = now + LAG_EVERY;
            self.look_at_lag(now);
        }
    }

    fn commit(&mut self, now: Instant) {
        let mut points = self.ledger.uncommitted();
        self.meter.tickets_out.set(self.ledger.out_total() as i64);
        let is_news = !points.is_empty();
        if now >= self.commit_again_at {
            self.commit_again_at = now + COMMIT_AGAIN;
            points = self.ledger.commit_points();
        }
        if let Err(fault) = self.make_known(&points, false) {
            self.ledger.not_committed(&points);
            tracing::warn!("{fault}; trying again");
        } else if is_news {
            self.meter.committed_at_ms.set(unix_ms());
        }
    }

    /// Commits at the end. A group that is on the move, as somebody else comes or goes, refuses it
    /// until it has settled, and never takes it from who has lost its partitions.
    pub(super) fn commit_last(&mut self, patience: Duration) -> Result<(), Fault> {
        let points = self.ledger.uncommitted();
        let until = Instant::now() + patience;
        let mut is_last = patience.is_zero();
        loop {
            let committed = self.make_known(&points, true);
            let is_passing = committed.as_ref().is_err_and(|fault| fault.blame == Blame::World);
            let is_over = is_last || self.alarm.stop() == Stop::Now;
            if !is_passing || is_over || self.source.has_lost() {
                return committed;
            }
            std::thread::sleep(LAST_COMMIT_AGAIN);
            // However long the first try took, there is a second one.
            is_last = Instant::now() >= until;
        }
    }

    /// Commits, unless the sink has done so.
    pub(super) fn make_known(&mut self, points: &[CommitPoint], wait: bool) -> Result<(), Fault> {
        match self.commits && (wait || !points.is_empty()) {
            true => self.source.commit(points, wait),
            false => Ok(()),
        }
    }

    pub(super) fn look_at_lag(&mut self, now: Instant) {
        let show = now >= self.lag_shown_at;
        let mut shown = Vec::new();
        let mut total = 0;
        for lag in self.source.lag() {
            let read = self.ledger.issued(lag.partition).unwrap_or(lag.position).max(lag.position);
            let behind = (lag.end - read).max(0);
            total += behind;
            self.step.left(lag.partition, behind);
            if self.is_read(lag.partition) {
                self.ledger.pass(lag.partition, lag.position);
            }
            if show {
                shown.push((self.source.name_of(lag.partition).to_string(), behind));
            }
        }
        self.behind = total as u64 > self.limits.behind_records;
        self.meter.lag.set(total);
        let queued = self.pool.queued_bytes() + self.lent_bytes.load(Ordering::Relaxed);
        self.meter.queued_bytes.set(queued as i64);
        if show {
            self.lag_shown_at = now + LAG_SHOWN_EVERY;
            *self.meter.partition_lag.lock().expect("no one panics with it") = shown;
        }
    }
}
