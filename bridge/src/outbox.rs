//! The open payloads of one lane: one for each destination (table, courier, route), closed by
//! size, by age, or when memory presses. Emptied buffers come back through a pool.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::batch::{Buffers, Payload, Route};
use crate::limits::{LINE_BYTES, MIB};
use crate::ticket::Ticket;

/// When an open payload is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closing {
    /// At this many bytes, the positions of its rows included.
    pub payload_bytes_max: usize,
    /// At this many rows.
    pub payload_rows_max: usize,
    /// The largest is closed when all of a lane's open payloads hold more than this.
    pub open_bytes_max: usize,
}

impl Closing {
    /// Whether a payload of so many bytes and rows is full, to be closed before more is added.
    #[inline]
    pub fn is_reached(self, bytes: usize, rows: usize) -> bool {
        bytes + rows * LINE_BYTES >= self.payload_bytes_max || rows >= self.payload_rows_max
    }
}

/// A destination of a lane.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Destination {
    /// The encoder's own number for the table.
    pub table: u32,
    /// Which courier of the lane.
    pub courier: u32,
    /// By which way.
    pub route: Route,
}

/// Emptied buffers on their way back to the lanes.
#[derive(Debug)]
pub struct Pool {
    free: Mutex<Vec<Buffers>>,
    /// Room in the buffers that are kept for reuse; more is freed, so that a time of many large
    /// payloads leaves nothing behind.
    bytes_max: usize,
    /// Encoded bytes in payloads that were closed and whose buffers are not back.
    queued: AtomicUsize,
}

impl Default for Pool {
    fn default() -> Pool {
        Pool::new(16 * MIB)
    }
}

impl Pool {
    /// A pool that keeps so much. Couriers give back at once what one commit held: what does not
    /// fit is made and grown again for the next, and the system clears its pages once more.
    pub fn new(bytes_max: usize) -> Pool {
        Pool { free: Mutex::default(), bytes_max, queued: AtomicUsize::new(0) }
    }

    /// Empty buffers, used before if there are any.
    pub fn get(&self) -> Buffers {
        self.free.lock().expect("no one panics with the pool").pop().unwrap_or_default()
    }

    /// Encoded bytes in closed payloads that are not stored yet.
    pub fn queued_bytes(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// Gives buffers back, with the bytes still in them.
    pub fn put(&self, mut buffers: Buffers) {
        let bytes = buffers.bytes.len();
        // Saturating, for a courier may have halved a payload.
        let _ = self.queued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |queued| {
            Some(queued.saturating_sub(bytes))
        });
        buffers.bytes.clear();
        buffers.lines.clear();
        let room =
            |buffers: &Buffers| buffers.bytes.capacity() + buffers.lines.capacity() * LINE_BYTES;
        let mut free = self.free.lock().expect("no one panics with the pool");
        if free.iter().map(room).sum::<usize>() + room(&buffers) <= self.bytes_max {
            free.push(buffers);
        }
    }
}

/// The open payloads of one lane.
#[derive(Debug)]
pub struct Outbox {
    closing: Closing,
    pool: Arc<Pool>,
    open: Vec<(Destination, Payload)>,
    index: HashMap<Destination, usize, foldhash::fast::FixedState>,
    closed: Vec<(u32, Payload)>,
    now: Instant,
    linger: Duration,
    /// What encoders call courier 0.
    first_courier: u32,
}

impl Outbox {
    /// An outbox without open payloads.
    pub fn new(closing: Closing, pool: Arc<Pool>, now: Instant) -> Outbox {
        Outbox {
            closing,
            pool,
            open: Vec::new(),
            index: HashMap::default(),
            closed: Vec::new(),
            now,
            linger: Duration::ZERO,
            first_courier: 0,
        }
    }

    /// Encoders number the couriers of their own sink: the first of them is this one of the lane's.
    pub fn lead_to(&mut self, first_courier: u32) {
        self.first_courier = first_courier;
    }

    /// Sets the time that payloads opened from now on bear, and the age at which they are due.
    pub fn set_pace(&mut self, now: Instant, linger: Duration) {
        self.now = now;
        self.linger = linger;
    }

    /// The open payload of a destination, with a share of the ticket; opens one if there is none.
    pub fn payload(&mut self, to: Destination, name: &Arc<str>, ticket: &Ticket) -> &mut Payload {
        let to = self.of_lane(to);
        let at = match self.index.get(&to) {
            Some(at) => *at,
            None => {
                let payload = Payload {
                    table: Arc::clone(name),
                    buffers: self.pool.get(),
                    shares: Vec::new(),
                    route: to.route,
                    opened: self.now,
                    due: self.now + self.linger,
                    timestamps: (i64::MAX, i64::MIN),
                    layout: 0,
                };
                self.open.push((to, payload));
                self.index.insert(to, self.open.len() - 1);
                self.open.len() - 1
            }
        };
        let payload = &mut self.open[at].1;
        if payload.shares.last().is_none_or(|share| share.id() != ticket.id()) {
            payload.shares.push(ticket.share());
        }
        payload
    }

    /// Bounds that encoders check after each row while they hold the payload.
    pub fn closing(&self) -> Closing {
        self.closing
    }

    /// Closes the payload of a destination.
    pub fn close(&mut self, destination: Destination) {
        self.close_at(self.of_lane(destination));
    }

    fn of_lane(&self, to: Destination) -> Destination {
        Destination { courier: to.courier + self.first_courier, ..to }
    }

    fn close_at(&mut self, destination: Destination) {
        let Some(at) = self.index.remove(&destination) else { return };
        let (_, payload) = self.open.swap_remove(at);
        if let Some((moved, _)) = self.open.get(at) {
            self.index.insert(*moved, at);
        }
        self.pool.queued.fetch_add(payload.buffers.bytes.len(), Ordering::Relaxed);
        self.closed.push((destination.courier, payload));
    }

    /// Closes what is full, what has come of age and has a courier with room for it (else it may
    /// as well grow), and the largest while memory presses.
    pub fn close_due(&mut self, now: Instant, linger: Duration, room: impl Fn(u32) -> bool) {
        self.close_where(|to, payload, closing| {
            closing.is_reached(payload.buffers.bytes.len(), payload.buffers.lines.len())
                || (now.duration_since(payload.opened) >= linger && room(to.courier))
        });
        while self.open_bytes() > self.closing.open_bytes_max {
            let largest = self.open.iter().max_by_key(|(_, payload)| payload.buffers.held_bytes());
            let Some((destination, _)) = largest else { break };
            self.close_at(*destination);
        }
    }

    /// Closes everything.
    pub fn close_all(&mut self) {
        self.close_where(|_, _, _| true);
    }

    fn close_where(&mut self, due: impl Fn(&Destination, &Payload, Closing) -> bool) {
        let closing = self.closing;
        let due: Vec<Destination> =
            self.open.iter().filter(|(to, p)| due(to, p, closing)).map(|(to, _)| *to).collect();
        due.into_iter().for_each(|destination| self.close_at(destination));
    }

    /// Whether nothing is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Closed payloads and the couriers they go to, in the order in which they were closed.
    pub fn take_closed(&mut self) -> impl Iterator<Item = (u32, Payload)> + '_ {
        self.closed.drain(..)
    }

    fn open_bytes(&self) -> usize {
        self.open.iter().map(|(_, payload)| payload.buffers.held_bytes()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Line, PartitionIndex};
    use crate::ticket::Lost;

    const LINGER: Duration = Duration::from_millis(20);

    fn closing() -> Closing {
        Closing { payload_bytes_max: 100, payload_rows_max: 10, open_bytes_max: 150 }
    }

    fn redeem(outbox: &mut Outbox) -> Vec<u32> {
        let mut couriers = Vec::new();
        for (courier, payload) in outbox.take_closed() {
            couriers.push(courier);
            for share in payload.shares {
                share.redeem();
            }
        }
        couriers
    }

    #[test]
    fn payloads_close_by_size_age_and_pressure() {
        let start = Instant::now();
        let mut outbox = Outbox::new(closing(), Arc::default(), start);
        let lost = Arc::new(Lost::default());
        let ticket = Ticket::issue(1, Arc::clone(&lost));
        let table: Arc<str> = "t".into();
        let to = |courier| Destination { table: 0, courier, route: Route::Primary };
        for courier in 0..3 {
            let payload = outbox.payload(to(courier), &table, &ticket);
            payload.buffers.bytes.resize(30 + 30 * courier as usize, b'x');
        }
        outbox.close_due(start, LINGER, |_| true);
        assert_eq!(redeem(&mut outbox), [2], "180 bytes are more than 150: the largest goes");
        outbox.payload(to(1), &table, &ticket).buffers.bytes.resize(100, b'x');
        outbox.close_due(start, LINGER, |_| true);
        assert_eq!(redeem(&mut outbox), [1], "full");
        let line = Line { offset: 0, partition: PartitionIndex(0), row: 0, layout: 0, end: 0 };
        outbox.payload(to(1), &table, &ticket).buffers.lines.resize(5, line);
        outbox.close_due(start, LINGER, |_| true);
        assert_eq!(redeem(&mut outbox), [1], "full of positions");
        outbox.close_due(start + LINGER, LINGER, |_| false);
        assert!(redeem(&mut outbox).is_empty(), "of age, but its courier is busy: it may grow");
        outbox.close_due(start + LINGER, LINGER, |_| true);
        assert_eq!(redeem(&mut outbox), [0], "of age");
        assert!(ticket.into_share().redeem());
        assert_eq!(lost.count(), 0);
    }
}
