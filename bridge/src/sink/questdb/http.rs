//! Stores payloads over HTTP: one table a request, one request in flight, which grows by what
//! comes while it is sent. A 204 is believed once
//! the first poll of `tables()` that began after it still shows the table that the connection
//! first wrote to; until then the next payloads go on. A refusal is believed unless the table's
//! columns are others than they were when the connection was young: then a new one is asked, once;
//! or others than they were when the rows were written: then those are written anew.

use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::{mpsc, watch};

use super::Shared;
use super::again::Again;
use super::answer::{Answered, judge};
use super::body::{Body, Feed};
use super::catalogue::Catalogue;
use super::hand::Hand;
use super::keeper::Tables;
use super::server::{Ask, Broken, Connection, Rows, SqlClient};
use super::table::Table;
use crate::batch::Payload;
use crate::blame::Fault;
use crate::outbox::Pool;
use crate::sink::ending::{Stopped, refuse, rewind, stored};
use crate::sink::hand::{give_back, wanted_back};
use crate::sink::job::{Job, Proof};
use crate::sink::retry::Backoff;
use crate::sink::{BoxFuture, Courier, CourierDoors, Home, Letters};

/// Payloads that were acknowledged and wait for their poll; a poll comes every few ten
/// milliseconds.
const ACKED_MAX: usize = 64;

/// One way to the server: a connection, and what it has written to.
pub struct Road {
    shared: Arc<Shared>,
    catalogue: Arc<Catalogue>,
    who: usize,
    connection: Option<Connection>,
    /// Tables that the connection wrote to, and their ids before it first did.
    met: HashMap<Arc<str>, Option<i64>>,
    /// Asks for the columns of tables that refuse rows; connects when it first does.
    sql: SqlClient,
    /// What it was told last. Invariant: the connection is younger than that.
    columns: HashMap<Arc<str>, Rows>,
    backoff: Backoff,
}

/// Where payloads come from that may go along with a job.
pub struct More<'a> {
    hand: &'a mut Hand,
    inbox: &'a mut mpsc::Receiver<Payload>,
}

/// How the storing of a job ended.
pub enum Told {
    /// Every piece is acknowledged; the mark of it.
    Acked(u64),
    /// The table is another than it was for these rows: they are to be read again.
    Outdated,
}

/// A job whose every piece has its 204.
pub struct Acked {
    job: Job,
    mark: u64,
}

impl Road {
    /// A way that nobody went yet. `who` is the courier's number.
    pub fn new(shared: Arc<Shared>, catalogue: Arc<Catalogue>, who: usize) -> Road {
        let (sql, backoff) = (shared.sql(), Backoff::default());
        let (met, columns) = (HashMap::new(), HashMap::new());
        Road { shared, catalogue, who, connection: None, met, sql, columns, backoff }
    }

    /// Drops the connection.
    pub fn hang_up(&mut self) {
        self.connection = None;
        self.met.clear();
    }

    /// Gets every piece of a job acknowledged. What there is `more` goes along with the first
    /// request. Dropped half-way, it leaves what is not stored in the job, and no connection.
    pub async fn store(
        &mut self,
        job: &mut Job,
        mut more: Option<More<'_>>,
        dead_letters: &Letters,
        pool: &Pool,
    ) -> Result<Told, Stopped> {
        let shared = Arc::clone(&self.shared);
        shared.watched.meet(&job.table);
        let mut looked = false;
        // A table that the connection meets only now is known to it as it is.
        let mut believed = self.connection.is_none() || !self.met.contains_key(&job.table);
        while job.request().len() > 0 {
            shared.watched.open(&job.table).await;
            let connected = self.connected(&job.table).await.map_err(Stopped::Fault)?;
            let Some((connection, id)) = connected else { continue };
            let endpoint = connection.endpoint();
            match self.send(connection, job, more.take()).await {
                Answered::Stored => {
                    job.stored(Proof { endpoint, id }, pool);
                    if id.is_none() {
                        // Which table it made is not known, so that a later 204 proves nothing.
                        self.hang_up();
                    }
                }
                Answered::Refused { line, detail } => {
                    shared.doubts.add(&job.table);
                    if !std::mem::replace(&mut believed, true) && self.is_old(&job.table).await {
                        self.hang_up();
                        shared.meter.retries.add(1);
                        continue;
                    }
                    if self.is_outdated(job, &mut looked).await {
                        shared.meter.retries.add(1);
                        return Ok(Told::Outdated);
                    }
                    let named = line.and_then(|line| job.record_at(line));
                    match named.or_else(|| job.only_record()) {
                        Some(position) => refuse(job, position, detail, dead_letters).await?,
                        None => {
                            job.halve();
                        }
                    }
                }
                Answered::TooLarge(detail) => {
                    if !job.halve()
                        && let Some(position) = job.only_record()
                    {
                        refuse(job, position, detail, dead_letters).await?;
                    }
                }
                Answered::Again(why) => self.lost(endpoint, &why).await,
                Answered::Stop(fault) => return Err(Stopped::Fault(fault)),
            }
        }
        Ok(Told::Acked(shared.watched.mark()))
    }

    /// Whether a request's rows were written for a table that is another by now. The server is
    /// asked once; what others learn of the table meanwhile is seen at every refusal.
    async fn is_outdated(&mut self, job: &Job, looked: &mut bool) -> bool {
        if !std::mem::replace(looked, true) {
            self.catalogue.renew(&job.table).await;
        }
        // Those of a payload were written one after the other.
        let epochs = job.request().filter_map(|piece| piece.lines().first());
        let oldest = epochs.map(|line| line.layout).min();
        oldest.is_some_and(|epoch| self.catalogue.has_changed_since(&job.table, epoch))
    }

    /// Whether a table's columns may be others than those by which the connection refuses rows:
    /// the server keeps them for as long as it takes none. If so, the connection must go.
    async fn is_old(&mut self, table: &Arc<str>) -> bool {
        match self.sql.exec(&Table::columns_named(table)).await {
            Ok(now) => {
                let before = self.columns.insert(Arc::clone(table), now);
                before.as_ref() != self.columns.get(table)
            }
            // Nobody can say so just now.
            Err(_) => true,
        }
    }

    /// A connection to the current address, and the id that the table had before it first wrote
    /// to it. `None`: not this time.
    async fn connected(
        &mut self,
        table: &Arc<str>,
    ) -> Result<Option<(Connection, Option<i64>)>, Fault> {
        let current = self.shared.server.current();
        if self.connection.as_ref().is_some_and(|connection| connection.endpoint() != current) {
            self.hang_up();
        }
        if self.connection.is_none() {
            self.hang_up();
            match self.shared.server.connect().await {
                Ok(connection) => self.connection = Some(connection),
                Err(Broken(why)) => {
                    self.lost(current, &why).await;
                    return Ok(None);
                }
            }
        }
        let id = match self.met.get(table) {
            Some(id) => *id,
            None => {
                let tables = self.shared.watched.fresh().await;
                if let Some(fault) = &tables.fault {
                    return Err(fault.clone());
                }
                if tables.endpoint != current {
                    return Ok(None);
                }
                let id = tables.get(table).map(|state| state.id);
                self.met.insert(Arc::clone(table), id);
                id
            }
        };
        // Taken out while a request is under way: dropped half-way, the connection is gone too.
        Ok(self.connection.take().map(|connection| (connection, id)))
    }

    async fn send(
        &mut self,
        mut connection: Connection,
        job: &mut Job,
        more: Option<More<'_>>,
    ) -> Answered {
        let gzip = self.shared.plan.gzip;
        let grows_for = job.due.saturating_duration_since(Instant::now());
        // One compressed stream has one end.
        let more = more.filter(|_| !gzip && !grows_for.is_zero());
        let parts: Vec<Bytes> = job.request().map(|piece| piece.bytes.clone()).collect();
        let (body, mut growing) = match more {
            None if gzip => (Body::whole([compress(&parts)]), None),
            None => (Body::whole(parts), None),
            Some(more) => {
                let (body, feed) = Body::growing(parts);
                (body, Some((feed, more)))
            }
        };
        let path = "/write?precision=n".into();
        let ask = Ask { path, body: Some(body), gzip, grows_for, json: false };
        let answer = {
            let mut exchange = std::pin::pin!(connection.send(ask));
            loop {
                let Some((feed, More { hand, inbox })) = &mut growing else {
                    break exchange.await;
                };
                tokio::select! {
                    answer = &mut exchange => break answer,
                    next = along(feed, hand.next(inbox, job)) => match next {
                        Some(payload) => job.couple(payload).into_iter().for_each(|b| feed.add(b)),
                        None => growing = None,
                    },
                }
            }
        };
        let answered = match answer {
            Ok(response) => judge(&response),
            Err(Broken(why)) => Answered::Again(why),
        };
        if !matches!(answered, Answered::Again(_)) {
            // An answer that came before the request's end leaves a connection of no use.
            self.connection = growing.is_none().then_some(connection);
            self.shared.trouble.back(self.who);
            self.backoff.reset();
        }
        answered
    }

    /// Says so, moves on to the next address, and waits.
    async fn lost(&mut self, endpoint: usize, why: &str) {
        self.hang_up();
        self.shared.meter.retries.add(1);
        self.shared.trouble.away(self.who, why);
        self.shared.server.fail_over(endpoint);
        tokio::time::sleep(self.backoff.next_wait()).await;
    }
}

/// The next payload that goes along, once there is room for it.
async fn along(feed: &Feed, next: impl Future<Output = Option<Payload>>) -> Option<Payload> {
    if feed.room().await { next.await } else { None }
}

fn compress(parts: &[Bytes]) -> Bytes {
    let bytes: usize = parts.iter().map(Bytes::len).sum();
    // Level 1: the network is spared most of the bytes, the courier most of the time.
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes / 4), Compression::fast());
    for part in parts {
        encoder.write_all(part).expect("writing to a vector does not fail");
    }
    encoder.finish().expect("writing to a vector does not fail").into()
}

/// Jobs that wait for the poll that proves them.
#[derive(Default)]
pub struct Unproven(VecDeque<Acked>);

impl Unproven {
    /// Adds a job.
    pub fn push(&mut self, job: Job, mark: u64) {
        self.0.push_back(Acked { job, mark });
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether no more should be added.
    pub fn is_full(&self) -> bool {
        self.0.len() >= ACKED_MAX
    }

    /// Sends home what a poll proves or disproves; false if it disproved any.
    pub async fn settle(&mut self, tables: &Tables, shared: &Shared, home: &Home) -> bool {
        let mut right = true;
        while self.0.front().is_some_and(|acked| acked.mark < tables.number) {
            let Some(Acked { job, .. }) = self.0.pop_front() else { break };
            let state = tables.get(&job.table);
            let holds = |proof: &Proof| {
                proof.endpoint == tables.endpoint
                    && state.is_some_and(|state| proof.id.is_none_or(|id| id == state.id))
            };
            if job.proofs.iter().all(holds) {
                stored(home, &shared.meter, job).await;
            } else if tables.fault.is_some() {
                rewind(home, job).await;
            } else {
                let (pipeline, table) = (&shared.pipeline, &job.table);
                tracing::warn!(
                    "{pipeline}: table {table} was dropped or made again while it was written \
                     to: {} acknowledged rows are stored again",
                    job.rows
                );
                right = false;
                rewind(home, job).await;
            }
        }
        right
    }

    /// Gives everything back.
    pub async fn rewind(&mut self, home: &Home) {
        while let Some(Acked { job, .. }) = self.0.pop_front() {
            rewind(home, job).await;
        }
    }
}

/// Waits for the next poll.
pub async fn polled(tables: &mut watch::Receiver<Arc<Tables>>) -> Arc<Tables> {
    if tables.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
    Arc::clone(&tables.borrow_and_update())
}

/// The payload that has waited longest.
async fn next(hand: &mut Hand, inbox: &mut mpsc::Receiver<Payload>) -> Option<Payload> {
    match hand.pop() {
        Some(payload) => Some(payload),
        None => inbox.recv().await,
    }
}

/// A courier that stores over HTTP.
pub struct HttpCourier {
    road: Road,
    unproven: Unproven,
    again: Again,
    shared: Arc<Shared>,
}

impl HttpCourier {
    /// A courier with its own connection.
    pub fn new(shared: Arc<Shared>, catalogue: Arc<Catalogue>, who: usize) -> HttpCourier {
        let road = Road::new(Arc::clone(&shared), catalogue, who);
        HttpCourier { road, unproven: Unproven::default(), again: Again::default(), shared }
    }

    async fn carry(mut self, mut doors: CourierDoors) -> Result<(), Fault> {
        let mut tables = self.shared.watched.subscribe();
        let mut hand = Hand::new(doors.commit);
        let mut open = true;
        while open || !hand.is_empty() || !self.unproven.is_empty() {
            let ready = (open || !hand.is_empty()) && !self.unproven.is_full();
            tokio::select! {
                biased;
                () = wanted_back(&mut doors.reset) => self.let_go(&mut hand, &mut doors).await,
                seen = polled(&mut tables), if !self.unproven.is_empty() => {
                    self.settle(&seen, &doors.home).await;
                }
                payload = next(&mut hand, &mut doors.inbox), if ready => {
                    let Some(payload) = payload else {
                        open = false;
                        continue;
                    };
                    self.store(payload, &mut hand, &mut doors, &mut tables).await?;
                }
            }
        }
        self.shared.trouble.back(self.road.who);
        Ok(())
    }

    async fn settle(&mut self, seen: &Tables, home: &Home) {
        if !self.unproven.settle(seen, &self.shared, home).await {
            self.road.hang_up();
        }
    }

    /// One payload, while the polls that prove earlier ones go on.
    async fn store(
        &mut self,
        payload: Payload,
        hand: &mut Hand,
        doors: &mut CourierDoors,
        tables: &mut watch::Receiver<Arc<Tables>>,
    ) -> Result<(), Fault> {
        if self.again.precedes(&payload.table, &payload.buffers.lines) {
            self.again.give(&payload.table, &payload.buffers.lines);
            give_back(&doors.home, payload, &doors.pool).await;
            return Ok(());
        }
        let mut job = Job::new(payload);
        let mut hang_up = false;
        let ended = {
            // What comes along is not looked at.
            let more = More { hand, inbox: &mut doors.inbox };
            let more = self.again.is_empty().then_some(more);
            let storing = self.road.store(&mut job, more, &doors.dead_letters, &doors.pool);
            let mut storing = std::pin::pin!(storing);
            loop {
                tokio::select! {
                    biased;
                    () = wanted_back(&mut doors.reset) => break None,
                    seen = polled(tables), if !self.unproven.is_empty() => {
                        hang_up |=
                            !self.unproven.settle(&seen, &self.shared, &doors.home).await;
                    }
                    ended = &mut storing => break Some(ended),
                }
            }
        };
        if hang_up {
            self.road.hang_up();
        }
        match ended {
            Some(Ok(Told::Acked(mark))) => self.unproven.push(job, mark),
            Some(Ok(Told::Outdated)) => {
                self.again.give(&job.table, job.lines_left());
                rewind(&doors.home, job).await;
            }
            Some(Err(stopped)) => {
                rewind(&doors.home, job).await;
                self.let_go(hand, doors).await;
                if let Stopped::Fault(fault) = stopped {
                    return Err(fault);
                }
            }
            None => {
                rewind(&doors.home, job).await;
                self.let_go(hand, doors).await;
            }
        }
        Ok(())
    }

    /// Drops the connection and gives back everything at hand, what waits at the door included.
    async fn let_go(&mut self, hand: &mut Hand, doors: &mut CourierDoors) {
        self.road.hang_up();
        self.again.clear();
        self.unproven.rewind(&doors.home).await;
        while let Some(payload) = hand.pop().or_else(|| doors.inbox.try_recv().ok()) {
            give_back(&doors.home, payload, &doors.pool).await;
        }
    }
}

impl Courier for HttpCourier {
    fn run(self: Box<Self>, doors: CourierDoors) -> BoxFuture<'static, Result<(), Fault>> {
        Box::pin(self.carry(doors))
    }
}
