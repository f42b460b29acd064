//! Records fetched by ourselves. The client library stays the member of the group: it is assigned
//! the same partitions, paused, so that it fetches nothing; who owns what, commits and start
//! offsets are its business. Its own fetching costs several times as much for each record.
//!
//! ```text
//! leaders (1 thread) ── who leads ─▶ Feed ◀─ asked, filled ── reader (1 thread a broker)
//!                                     │ chunks: fetched bytes, vetted
//! intake ── take ──▶ Tap ◀────────────┘ unpacks, walks records ──▶ slices of blocks
//! ```
//!
//! A feed is a partition's queue, bounded by its share of `fetch_bytes_max`: nothing is asked for
//! without room for it, and a block counts until its last record came home. An answer to a question
//! that was asked before a start or stop is thrown away.

mod feed;
pub mod fit;
mod leaders;
mod reader;
mod shared;
mod store;
mod tap;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use feed::Feed;
use fit::Terms;
use shared::Shared;
pub use tap::{Tap, Trouble};

use crate::batch::TopicPartition;
use crate::source::wake::Bell;
use crate::unpack::Unpacker;

/// How long threads may take to end when nobody waits for them in particular.
const END_MAX: Duration = Duration::from_secs(1);

/// Fetches records of partitions that it is told to.
pub struct Plane {
    shared: Arc<Shared>,
    /// Unpacks what is taken: on the thread that takes.
    pub unpacker: Unpacker,
}

impl Plane {
    /// Begins, with nothing to read yet. `bell` is rung when there is something to take.
    pub fn new(terms: Terms, bell: &Arc<Bell>) -> Plane {
        let shared = Arc::new(Shared::new(terms, bell));
        leaders::begin(&shared);
        Plane { shared, unpacker: Unpacker::default() }
    }

    /// A place to take a partition's records from. Nothing is read before it is started.
    pub fn tap(&self, name: &TopicPartition) -> Tap {
        let feed = Arc::new(Feed::new(name, &self.shared.bell));
        self.shared.add(&feed);
        Tap::new(feed, &self.shared)
    }

    /// Whether a thread ended that was not told to: nothing may be fetched any more.
    pub fn has_died(&self) -> bool {
        self.shared.died.load(Ordering::Acquire)
    }

    /// Ends all threads, or is done with waiting for them at `deadline`.
    pub fn close(&self, deadline: Instant) {
        self.shared.close(deadline);
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.close(Instant::now() + END_MAX);
    }
}
