//! A ticket answers for the offsets of one batch. The ledger issues it and redeems it when all
//! its shares are home. A share that is dropped without being redeemed never counts as success:
//! it is counted as lost, and the ledger stops the ring.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Counts shares that were dropped on the way. Owned by the ledger, read by it every turn.
#[derive(Debug, Default)]
pub struct Lost(AtomicU64);

impl Lost {
    /// How many shares were lost so far.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

#[derive(Debug)]
struct Inner {
    id: u64,
    outstanding: AtomicU32,
    lost: Arc<Lost>,
}

/// Answers for the offsets of one batch. Not `Clone`: it is split into shares.
#[derive(Debug)]
pub struct Ticket(Share);

impl Ticket {
    /// A ticket with one share outstanding: its own.
    pub fn issue(id: u64, lost: Arc<Lost>) -> Ticket {
        Ticket(Share { inner: Some(Arc::new(Inner { id, outstanding: AtomicU32::new(1), lost })) })
    }

    /// One more share of it, for one more payload.
    pub fn share(&self) -> Share {
        let inner = self.0.inner.as_ref().expect("a ticket is whole until it is consumed");
        inner.outstanding.fetch_add(1, Ordering::Relaxed);
        Share { inner: Some(Arc::clone(inner)) }
    }

    /// The number the ledger gave it.
    pub fn id(&self) -> u64 {
        self.0.id()
    }

    /// The ticket's own share, to be sent home when the lane is done with the batch.
    pub fn into_share(self) -> Share {
        self.0
    }
}

/// A part of a ticket, held by a payload or a reject until it is stored.
#[derive(Debug)]
pub struct Share {
    inner: Option<Arc<Inner>>,
}

impl Share {
    /// The number of its ticket.
    pub fn id(&self) -> u64 {
        self.inner.as_ref().expect("a share is whole until it is redeemed").id
    }

    /// Another share of the same ticket.
    pub fn split(&self) -> Share {
        let inner = self.inner.as_ref().expect("a share is whole until it is redeemed");
        inner.outstanding.fetch_add(1, Ordering::Relaxed);
        Share { inner: Some(Arc::clone(inner)) }
    }

    /// Gives the share back; true if it was the last one of its ticket. Only the ledger calls it.
    pub fn redeem(mut self) -> bool {
        let inner = self.inner.take().expect("a share is redeemed once");
        inner.outstanding.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            inner.lost.0.fetch_add(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_share_home_completes_the_ticket() {
        let lost = Arc::new(Lost::default());
        let ticket = Ticket::issue(7, Arc::clone(&lost));
        let (a, b) = (ticket.share(), ticket.share());
        assert!(!a.redeem());
        assert!(!ticket.into_share().redeem());
        assert!(b.redeem());
        assert_eq!(lost.count(), 0);
    }

    #[test]
    fn a_dropped_share_is_lost_and_never_completes() {
        let lost = Arc::new(Lost::default());
        let ticket = Ticket::issue(7, Arc::clone(&lost));
        drop(ticket.share());
        assert!(!ticket.into_share().redeem());
        assert_eq!(lost.count(), 1);
    }
}
