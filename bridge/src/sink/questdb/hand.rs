//! What a courier has taken and not begun with. While a request is being sent, payloads of the
//! same table go along with it: a database that stores a hundred thousand rows at once has less to
//! do for each of them, and none of them needs to be there when the request begins.

use std::collections::VecDeque;

use tokio::sync::mpsc;
use tokio::time::timeout_at;

use crate::batch::Payload;
use crate::sink::Commit;
use crate::sink::job::Job;

/// Payloads that wait for a request of their own.
#[derive(Debug)]
pub struct Hand {
    waiting: VecDeque<Payload>,
    commit: Commit,
}

impl Hand {
    /// An empty hand.
    pub fn new(commit: Commit) -> Hand {
        Hand { waiting: VecDeque::new(), commit }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The payload that has waited longest.
    pub fn pop(&mut self) -> Option<Payload> {
        self.waiting.pop_front()
    }

    /// The next payload that goes along with a job without waiting for it.
    pub fn at_hand(&mut self, inbox: &mut mpsc::Receiver<Payload>, job: &Job) -> Option<Payload> {
        loop {
            if self.is_enough(job) {
                return None;
            }
            if let Some(at) = self.waiting.iter().position(|payload| job.goes_with(payload)) {
                return self.waiting.remove(at);
            }
            self.waiting.push_back(inbox.try_recv().ok()?);
        }
    }

    /// Whether a job is large enough, or what waits needs the room.
    fn is_enough(&self, job: &Job) -> bool {
        let held: usize = self.waiting.iter().map(|payload| payload.buffers.held_bytes()).sum();
        job.rows_left() >= self.commit.rows_max || job.held_bytes() + held >= self.commit.bytes_max
    }

    /// The next payload that goes along with a job; `None` as soon as it is to end: it is large
    /// enough, what waits for it needs the room, or what it has may not wait any longer. Dropped
    /// half-way, nothing is lost.
    pub async fn next(
        &mut self,
        inbox: &mut mpsc::Receiver<Payload>,
        job: &Job,
    ) -> Option<Payload> {
        loop {
            if self.is_enough(job) {
                return None;
            }
            if let Some(at) = self.waiting.iter().position(|payload| job.goes_with(payload)) {
                return self.waiting.remove(at);
            }
            self.waiting.push_back(timeout_at(job.due.into(), inbox.recv()).await.ok()??);
        }
    }
}
