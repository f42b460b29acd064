//! Records at a pace, from a thread of their own, for as long as a test wants.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use world::{Access, Record};

use crate::bench::Bench;
use crate::bridge_process::Bridge;
use crate::group::Group;

/// Order must hold whoever leads: see the order of the sink `kafka`.
const IN_ORDER: [(&str, &str); 1] = [("max.in.flight.requests.per.connection", "1")];
/// The producer looks at the clock this often; a burst is what it may send in this time.
const BEAT: Duration = Duration::from_millis(5);

/// Hands items out no faster than `per_second`; what was delayed is caught up.
pub fn paced<T>(per_second: u64, items: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    let start = Instant::now();
    let mut allowed = 0;
    items.enumerate().map(move |(count, item)| {
        while count as u64 >= allowed {
            allowed = (start.elapsed().as_secs_f64() * per_second as f64) as u64 + 1;
            if count as u64 >= allowed {
                std::thread::sleep(BEAT); // The pace itself, not a wait for something.
            }
        }
        item
    })
}

/// A producer at work. Numbers records from 0.
pub struct Load {
    stop: Arc<AtomicBool>,
    handed: Arc<AtomicU64>,
    start: Instant,
    thread: JoinHandle<Result<u64>>,
}

impl Load {
    /// Starts to produce `make(0)`, `make(1)`, … to a topic.
    pub fn start(
        bench: &Bench,
        topic: &str,
        per_second: u64,
        make: impl Fn(u64) -> Record + Send + 'static,
    ) -> Self {
        Self::start_at(&bench.kafka, topic, per_second, make)
    }

    /// The same at other brokers.
    pub fn start_at(
        kafka: &Access,
        topic: &str,
        per_second: u64,
        make: impl Fn(u64) -> Record + Send + 'static,
    ) -> Self {
        let (stop, handed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted, topic) = (stop.clone(), handed.clone(), topic.to_owned());
        let kafka = kafka.clone();
        let thread = std::thread::spawn(move || {
            let numbers = (0..).take_while(|_| !stopped.load(Ordering::Relaxed));
            let records = paced(per_second, numbers).map(|number| {
                counted.store(number + 1, Ordering::Relaxed);
                make(number)
            });
            kafka.produce_with(&topic, records, &IN_ORDER)
        });
        Self { stop, handed, start: Instant::now(), thread }
    }

    /// Records handed to the producer so far.
    pub fn handed(&self) -> u64 {
        self.handed.load(Ordering::Relaxed)
    }

    /// Ends the load, but not before it has lasted as long as said; all records are
    /// acknowledged by the broker then. Gives their number.
    pub fn finish(self, lasting: Duration) -> Result<u64> {
        world::await_until(Duration::from_secs(600), "the end of the load", || {
            let over = self.start.elapsed() >= lasting || self.thread.is_finished();
            over.then_some(())
        })?;
        self.stop.store(true, Ordering::Relaxed);
        let produced = self.thread.join().map_err(|_| anyhow!("the producer panicked"))?;
        produced.context("producing the load")
    }

    /// Ends the load and waits until the group is done with all of it. Gives its number.
    pub fn settle(self, group: &Group, bridge: &Bridge, within: Duration) -> Result<u64> {
        let count = self.finish(Duration::ZERO)?;
        group.wait_drained(bridge, within)?;
        Ok(count)
    }
}
