//! What the plane's threads share: the feeds, where brokers are, and the word to stop.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::feed::Feed;
use super::fit::Terms;
use super::reader;
use super::store::Store;
use crate::kafka::wire::metadata::Broker;
use crate::source::wake::Bell;

/// See the room's head.
pub struct Shared {
    /// By which terms records are fetched.
    pub terms: Terms,
    /// Rung when there is something to take.
    pub bell: Arc<Bell>,
    /// Memory for records.
    pub store: Arc<Store>,
    /// Set when all threads are to end.
    pub stop: Arc<AtomicBool>,
    /// Set when a thread ended that was not told to.
    pub died: Arc<AtomicBool>,
    /// Rung when a leader is wanted.
    pub leaders_bell: Bell,
    feeds: Mutex<Arc<Vec<Arc<Feed>>>>,
    brokers: Mutex<HashMap<i32, Broker>>,
    threads: Mutex<Threads>,
}

#[derive(Default)]
struct Threads {
    readers: HashMap<i32, Arc<Bell>>,
    handles: Vec<JoinHandle<()>>,
}

impl Shared {
    /// Without feeds or threads yet.
    pub fn new(terms: Terms, bell: &Arc<Bell>) -> Shared {
        Shared {
            store: Arc::new(Store::new(terms.part_bytes.min(terms.share_bytes))),
            terms,
            bell: Arc::clone(bell),
            stop: Arc::new(AtomicBool::new(false)),
            died: Arc::new(AtomicBool::new(false)),
            leaders_bell: Bell::default(),
            feeds: Mutex::default(),
            brokers: Mutex::default(),
            threads: Mutex::default(),
        }
    }

    /// All partitions, read or not.
    pub fn feeds(&self) -> Arc<Vec<Arc<Feed>>> {
        Arc::clone(&self.feeds.lock().expect("no one panics with it"))
    }

    /// One more partition. They are few and stay for ever, so the list is made anew each time.
    pub fn add(&self, feed: &Arc<Feed>) {
        let mut feeds = self.feeds.lock().expect("no one panics with it");
        let mut more = feeds.to_vec();
        more.push(Arc::clone(feed));
        // Partitions of one topic lie together in a request.
        more.sort_by(|a, b| a.name.cmp(&b.name));
        *feeds = Arc::new(more);
    }

    /// Something is to be read, or no more: whoever waits looks again.
    pub fn wake(&self) {
        self.leaders_bell.ring();
        for bell in self.threads.lock().expect("no one panics with it").readers.values() {
            bell.ring();
        }
    }

    /// Whether all is over.
    pub fn is_over(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Takes note of where brokers are.
    pub fn meet(&self, brokers: Vec<Broker>) {
        let mut known = self.brokers.lock().expect("no one panics with it");
        known.extend(brokers.into_iter().map(|broker| (broker.id, broker)));
    }

    /// Where a broker is.
    pub fn broker(&self, id: i32) -> Option<Broker> {
        self.brokers.lock().expect("no one panics with it").get(&id).cloned()
    }

    /// Everything that may know who leads: brokers that were met, and where we began.
    pub fn addresses(&self) -> Vec<(String, u16)> {
        let known = self.brokers.lock().expect("no one panics with it");
        let known = known.values().map(|broker| (broker.host.clone(), broker.port));
        known.chain(self.terms.bootstrap.iter().cloned()).collect()
    }

    /// Has a thread that reads from a broker, and has it look at what there is to do.
    pub fn reader(self: &Arc<Shared>, broker: i32) {
        let known =
            self.threads.lock().expect("no one panics with it").readers.get(&broker).cloned();
        if let Some(bell) = known {
            return bell.ring();
        }
        let bell = Arc::new(Bell::default());
        let (shared, heard) = (Arc::clone(self), Arc::clone(&bell));
        if self.spawn(&format!("fetch-{broker}"), move || reader::run(&shared, broker, &heard)) {
            let mut threads = self.threads.lock().expect("no one panics with it");
            threads.readers.insert(broker, bell);
        }
    }

    /// A thread that ends when it is told to stop.
    pub fn spawn(&self, name: &str, work: impl FnOnce() + Send + 'static) -> bool {
        let mut threads = self.threads.lock().expect("no one panics with it");
        if self.is_over() {
            return false;
        }
        let builder = std::thread::Builder::new().name(name.to_owned());
        let watch = Watch { stop: Arc::clone(&self.stop), died: Arc::clone(&self.died) };
        let work = move || {
            let _watch = watch;
            work();
        };
        #[expect(clippy::disallowed_methods, reason = "as the library does; `close` joins it")]
        match builder.spawn(work) {
            Ok(handle) => {
                threads.handles.push(handle);
                true
            }
            Err(error) => {
                tracing::error!("starting the thread {name}: {error}; trying again");
                false
            }
        }
    }

    /// Ends all threads, or is done with waiting for them at `deadline`.
    pub fn close(&self, deadline: Instant) {
        self.stop.store(true, Ordering::Release);
        self.wake();
        let handles = std::mem::take(&mut self.threads.lock().expect("no one panics").handles);
        for handle in handles {
            // A thread that looks up a name cannot be told to stop; it holds nothing of ours.
            while !handle.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(2));
            }
            if handle.is_finished() && handle.join().is_err() {
                tracing::error!("a thread that fetched records panicked");
            }
        }
    }
}

/// Tells of a thread that ended too soon.
struct Watch {
    stop: Arc<AtomicBool>,
    died: Arc<AtomicBool>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.stop.load(Ordering::Acquire) {
            self.died.store(true, Ordering::Release);
        }
    }
}
