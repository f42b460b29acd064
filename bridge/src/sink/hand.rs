//! What couriers do with payloads at hand whatever the sink: take what waits, up to the bound of
//! one commit, and give everything back when it is wanted back.

use tokio::sync::watch;

use super::{CourierDoors, Home};
use crate::batch::{Payload, Receipt, Verdict};
use crate::observe::PipelineMeter;
use crate::outbox::Pool;

/// What a courier is to do next.
pub enum Next {
    /// Store this.
    Payload(Payload),
    /// Give everything back.
    WantedBack,
    /// End: the lane has.
    End,
}

impl CourierDoors {
    /// Waits for the next payload, or until everything is wanted back.
    pub async fn next(&mut self) -> Next {
        tokio::select! {
            biased;
            () = wanted_back(&mut self.reset) => Next::WantedBack,
            payload = self.inbox.recv() => payload.map_or(Next::End, Next::Payload),
        }
    }

    /// Waits until the pipeline wants everything back.
    pub async fn wanted_back(&mut self) {
        wanted_back(&mut self.reset).await;
    }

    /// Whether a payload has rows that are wanted back: such as were on their way when that was
    /// said. Before it ever was, nothing is.
    pub fn is_stale(&self, payload: &Payload) -> bool {
        let last = *self.reset.borrow();
        let was_out = || payload.shares.iter().any(|share| share.id() <= last);
        // Who is gone, for the pipeline is stopped hard, wants everything back.
        self.reset.has_changed().is_err() || (last > 0 && was_out())
    }

    /// Whether nothing waits and nothing will come.
    pub fn is_over(&self) -> bool {
        self.inbox.is_closed() && self.inbox.is_empty()
    }

    /// Whether the pipeline wants everything back; the question is answered by giving it.
    pub fn is_wanted_back(&self) -> bool {
        // Who is gone, for the pipeline is stopped hard, wants nothing stored any more.
        self.reset.has_changed().unwrap_or(true)
    }

    /// Takes what waits at the door, up to the bound of one commit.
    pub fn take_more(&mut self, hand: &mut Vec<Payload>) {
        let mut bytes: usize = hand.iter().map(|payload| payload.buffers.held_bytes()).sum();
        let mut rows: usize = hand.iter().map(|payload| payload.buffers.lines.len()).sum();
        while bytes < self.commit.bytes_max && rows < self.commit.rows_max {
            let Ok(payload) = self.inbox.try_recv() else { return };
            bytes += payload.buffers.held_bytes();
            rows += payload.buffers.lines.len();
            hand.push(payload);
        }
    }

    /// Sends a payload home as stored, and counts it; its buffers go back to the lanes.
    pub async fn stored(&self, payload: Payload, meter: &PipelineMeter) {
        let rows = payload.buffers.lines.len() as u64;
        meter.bytes_stored.add(payload.buffers.bytes.len() as u64);
        meter.stored.record(payload.opened.elapsed(), rows);
        self.pool.put(payload.buffers);
        let (shares, verdict) = (payload.shares, Verdict::Stored);
        self.home.send(Receipt { shares, verdict, rows }).await;
    }

    /// Gives back everything at hand, what waits at the door included, to be read again.
    pub async fn give_back(&mut self, hand: &mut Vec<Payload>) {
        self.give_back_after(hand, |_| {}).await;
    }

    /// The same, with a last look at each payload before it goes.
    pub async fn give_back_after(
        &mut self,
        hand: &mut Vec<Payload>,
        mut look: impl FnMut(&mut Payload),
    ) {
        self.reset.mark_unchanged();
        while let Some(mut payload) = hand.pop().or_else(|| self.inbox.try_recv().ok()) {
            look(&mut payload);
            give_back(&self.home, payload, &self.pool).await;
        }
    }

    /// Gives back what is wanted back of the payloads at hand, what waits at the door included. The
    /// rest stays at hand: in its partitions nothing went back that it would overtake.
    pub async fn give_back_stale(&mut self, hand: &mut Vec<Payload>) {
        self.reset.mark_unchanged();
        let mut all = std::mem::take(hand);
        while let Ok(payload) = self.inbox.try_recv() {
            all.push(payload);
        }
        for payload in all {
            match self.is_stale(&payload) {
                true => give_back(&self.home, payload, &self.pool).await,
                false => hand.push(payload),
            }
        }
    }
}

/// Gives a payload back that nobody began with.
pub async fn give_back(home: &Home, payload: Payload, pool: &Pool) {
    let verdict = Verdict::Rewind { route: payload.route };
    pool.put(payload.buffers);
    home.send(Receipt { shares: payload.shares, verdict, rows: 0 }).await;
}

/// Waits until the pipeline wants everything back.
pub async fn wanted_back(reset: &mut watch::Receiver<u64>) {
    if reset.changed().await.is_err() {
        // Nobody is left who could want it.
        std::future::pending::<()>().await;
    }
}
