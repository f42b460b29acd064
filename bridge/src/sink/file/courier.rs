//! Gets payloads into files. The file system blocks whoever asks it, so that the thread is told so
//! first; what fails is tried again for as long as it takes.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::task::block_in_place;

use super::store::{Failed, Now, Store};
use crate::batch::Payload;
use crate::blame::Fault;
use crate::observe::PipelineMeter;
use crate::sink::hand::Next;
use crate::sink::retry::{Backoff, Trouble};
use crate::sink::{BoxFuture, Courier, CourierDoors};

/// By this number the keeper speaks of trouble; couriers count from 0.
const KEEPER: usize = usize::MAX;
/// How often the keeper looks for files that are of age.
const LOOK: Duration = Duration::from_secs(1);

/// What all couriers of a sink share.
pub struct Shared {
    /// The files. Held while they are written and synced: one disk serves one writer best.
    pub store: Mutex<Store>,
    /// What is wrong just now.
    pub trouble: Trouble,
    /// Counters.
    pub meter: Arc<PipelineMeter>,
}

impl Shared {
    fn with_store<T>(&self, work: impl FnOnce(&mut Store) -> T) -> T {
        block_in_place(|| work(&mut self.store.lock().expect("no one panics with it")))
    }
}

fn now() -> Now {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Now { instant: Instant::now(), unix_ms: since.map_or(1, |since| since.as_millis() as u64) }
}

/// A courier into files.
pub struct FileCourier {
    shared: Arc<Shared>,
    who: usize,
    backoff: Backoff,
}

impl FileCourier {
    /// A courier; `who` is its number.
    pub fn new(shared: Arc<Shared>, who: usize) -> FileCourier {
        FileCourier { shared, who, backoff: Backoff::default() }
    }

    async fn carry(mut self, mut doors: CourierDoors) -> Result<(), Fault> {
        let mut hand: Vec<Payload> = Vec::new();
        loop {
            match doors.next().await {
                Next::Payload(payload) => hand.push(payload),
                Next::End => break,
                Next::WantedBack => {
                    doors.give_back(&mut hand).await;
                    continue;
                }
            }
            doors.take_more(&mut hand);
            while !hand.is_empty() {
                self.store(&mut hand, &mut doors).await;
            }
        }
        self.shared.trouble.back(self.who);
        Ok(())
    }

    /// Tries once to store what is at hand; waits before it returns if that did not work.
    async fn store(&mut self, hand: &mut Vec<Payload>, doors: &mut CourierDoors) {
        let (stored, fault) = self.shared.with_store(|store| store.store(hand, now()));
        let mut left = Vec::new();
        for (payload, stored) in hand.drain(..).zip(stored) {
            if stored {
                doors.stored(payload, &self.shared.meter).await;
            } else {
                left.push(payload);
            }
        }
        *hand = left;
        let Some(Failed(why)) = fault else {
            self.shared.trouble.back(self.who);
            return self.backoff.reset();
        };
        self.shared.meter.retries.add(1);
        self.shared.trouble.away(self.who, &why);
        let wait = tokio::time::sleep(self.backoff.next_wait());
        tokio::select! {
            biased;
            () = doors.wanted_back() => doors.give_back(hand).await,
            () = wait => {}
        }
    }
}

impl Courier for FileCourier {
    fn run(self: Box<Self>, doors: CourierDoors) -> BoxFuture<'static, Result<(), Fault>> {
        Box::pin(self.carry(doors))
    }
}

/// Ends files that are of age, until it is stopped; then all of them, for couriers have ended.
pub async fn keep(
    shared: Arc<Shared>,
    after: Duration,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Fault> {
    let look = LOOK.min(after / 4).max(Duration::from_millis(10));
    loop {
        tokio::select! {
            // A sender that is gone has nothing left to keep for.
            _ = stop.wait_for(|stop| *stop) => break,
            () = tokio::time::sleep(look) => {}
        }
        match shared.with_store(|store| store.end_due(Instant::now())) {
            Ok(()) => shared.trouble.back(KEEPER),
            Err(Failed(why)) => shared.trouble.away(KEEPER, &why),
        }
    }
    if let Err(Failed(why)) = shared.with_store(Store::end_all) {
        tracing::warn!("ending files: {why}; the next start does it");
    }
    Ok(())
}
