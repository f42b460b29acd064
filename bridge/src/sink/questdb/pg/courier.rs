//! Stores payloads over the PostgreSQL protocol: one connection, one transaction for the payloads
//! of one table that are at hand. A row that the server refuses has a place among those it took;
//! what stands before it is sent again, then its record alone: refused once more, that one is put
//! aside.

use std::collections::HashMap;
use std::sync::Arc;

use super::Pg;
use super::fate::{Fate, fate};
use super::layout::Layout;
use super::link::{Failure, Link, chunks};
use crate::batch::Payload;
use crate::blame::Fault;
use crate::outbox::Pool;
use crate::sink::ending::{Ended, Stopped, conclude, refuse};
use crate::sink::hand::{give_back, wanted_back};
use crate::sink::job::{Job, Proof};
use crate::sink::questdb::Shared;
use crate::sink::questdb::hand::Hand;
use crate::sink::questdb::keeper::denied;
use crate::sink::retry::Backoff;
use crate::sink::{BoxFuture, Courier, CourierDoors, Letters};

/// A table whose columns do not take a layout so often is what it is: the catalogue has looked at
/// it between.
const CHANGES_MAX: u32 = 3;
/// The catalogue looks at tables in doubt once a second.
const LOOKED_AT: std::time::Duration = std::time::Duration::from_millis(1_500);

/// Owns one connection.
pub struct PgCourier {
    shared: Arc<Shared>,
    pg: Arc<Pg>,
    who: usize,
    link: Option<Link>,
    backoff: Backoff,
    /// How often tables were found to be others than the layouts of their rows.
    changes: HashMap<u32, u32>,
}

impl PgCourier {
    /// A courier that is not connected yet. `who` is its number.
    pub fn new(shared: Arc<Shared>, pg: Arc<Pg>, who: usize) -> PgCourier {
        let (backoff, changes) = (Backoff::default(), HashMap::new());
        PgCourier { shared, pg, who, link: None, backoff, changes }
    }

    async fn carry(mut self, mut doors: CourierDoors) -> Result<(), Fault> {
        let mut hand = Hand::new(doors.commit);
        loop {
            if let Some(payload) = hand.pop() {
                self.deliver(payload, &mut hand, &mut doors).await?;
                continue;
            }
            tokio::select! {
                biased;
                () = wanted_back(&mut doors.reset) => self.let_go(&mut hand, &mut doors).await,
                payload = doors.inbox.recv() => match payload {
                    Some(payload) => self.deliver(payload, &mut hand, &mut doors).await?,
                    None => break,
                },
            }
        }
        self.shared.trouble.back(self.who);
        Ok(())
    }

    /// A payload and those that go along with it, unless the pipeline wants them back.
    async fn deliver(
        &mut self,
        payload: Payload,
        hand: &mut Hand,
        doors: &mut CourierDoors,
    ) -> Result<(), Fault> {
        let mut job = Job::new(payload);
        while let Some(payload) = hand.at_hand(&mut doors.inbox, &job) {
            job.couple(payload);
        }
        let ended = {
            let storing = self.store(&mut job, &doors.dead_letters, &doors.pool);
            tokio::select! {
                biased;
                () = wanted_back(&mut doors.reset) => None,
                ended = storing => Some(ended),
            }
        };
        let goes_on = conclude(&doors.home, &self.shared.meter, job, ended).await;
        if !matches!(goes_on, Ok(true)) {
            self.let_go(hand, doors).await;
        }
        goes_on.map(drop)
    }

    /// Drops the connection and gives back everything at hand, what waits at the door included.
    async fn let_go(&mut self, hand: &mut Hand, doors: &mut CourierDoors) {
        self.link = None;
        while let Some(payload) = hand.pop().or_else(|| doors.inbox.try_recv().ok()) {
            give_back(&doors.home, payload, &doors.pool).await;
        }
    }

    /// Gets every piece of a job stored. Dropped half-way, it leaves no connection.
    async fn store(
        &mut self,
        job: &mut Job,
        dead_letters: &Letters,
        pool: &Pool,
    ) -> Result<Ended, Stopped> {
        let shared = Arc::clone(&self.shared);
        shared.watched.meet(&job.table);
        while job.request().len() > 0 {
            shared.watched.open(&job.table).await;
            let layouts = self.layouts(job).map_err(Stopped::Fault)?;
            // Taken out while it is used: dropped half-way, the connection is gone too.
            let Some(mut link) = self.connected().await.map_err(Stopped::Fault)? else { continue };
            let endpoint = link.endpoint;
            let Err(failure) = link.insert(&layouts, rows(job)).await else {
                self.link = Some(link);
                shared.trouble.back(self.who);
                self.backoff.reset();
                self.changes.retain(|id, _| layouts.iter().all(|layout| layout.id != *id));
                job.stored(Proof { endpoint, id: None }, pool);
                continue;
            };
            // An error may leave a connection that says yes and stores nothing.
            drop(link);
            let verdict = match &failure {
                Failure::Said(words) | Failure::Row(_, words) => fate(words),
                Failure::Denied(_) | Failure::Lost(_) => Fate::Again,
            };
            if verdict != Fate::Again {
                shared.trouble.back(self.who);
                shared.doubts.add(&job.table);
            }
            match verdict {
                Fate::Changed if !self.has_changed(&layouts) => {
                    refused(job, &failure, dead_letters).await?;
                }
                Fate::Gone | Fate::Changed => {
                    tokio::time::sleep(LOOKED_AT).await;
                    return Ok(Ended::Outdated);
                }
                Fate::Record => refused(job, &failure, dead_letters).await?,
                Fate::Again => self.lost(endpoint, failure.words()).await,
            }
        }
        Ok(Ended::Stored)
    }

    /// The layouts of a job's next transaction.
    fn layouts(&self, job: &Job) -> Result<Vec<Arc<Layout>>, Fault> {
        let mut layouts: Vec<Arc<Layout>> = Vec::new();
        let mut last = None;
        for line in job.request().flat_map(|piece| piece.lines()) {
            if last == Some(line.layout) {
                continue;
            }
            last = Some(line.layout);
            if layouts.iter().all(|layout| layout.id != line.layout) {
                let unknown = || Fault::us(format!("the layout {} is not known", line.layout));
                layouts.push(self.pg.layouts.get(line.layout).ok_or_else(unknown)?);
            }
        }
        Ok(layouts)
    }

    /// Whether a table that refuses layouts may have been altered; one that does so again and
    /// again, and was looked at between, was not.
    fn has_changed(&mut self, layouts: &[Arc<Layout>]) -> bool {
        let mut often = 0;
        for layout in layouts {
            let times = self.changes.entry(layout.id).or_default();
            *times += 1;
            often = often.max(*times);
        }
        often < CHANGES_MAX
    }

    /// A connection to the current address. `None`: not this time.
    async fn connected(&mut self) -> Result<Option<Link>, Fault> {
        let current = self.pg.door.server.current();
        if let Some(link) = self.link.take().filter(|link| link.endpoint == current) {
            return Ok(Some(link));
        }
        match self.pg.door.open().await {
            Ok(link) => Ok(Some(link)),
            Err(Failure::Denied(why)) => Err(denied(&why)),
            Err(failure) => {
                self.lost(current, failure.words()).await;
                Ok(None)
            }
        }
    }

    /// Says so, moves on to the next address, and waits.
    async fn lost(&mut self, endpoint: usize, why: &str) {
        self.link = None;
        self.shared.meter.retries.add(1);
        self.shared.trouble.away(self.who, why);
        self.pg.door.server.fail_over(endpoint);
        tokio::time::sleep(self.backoff.next_wait()).await;
    }
}

impl Courier for PgCourier {
    fn run(self: Box<Self>, doors: CourierDoors) -> BoxFuture<'static, Result<(), Fault>> {
        Box::pin(self.carry(doors))
    }
}

/// Puts a refused record aside if nothing else was sent with it; else sees to it that the one that
/// was named is sent alone, or the rows are halved where none was.
async fn refused(job: &mut Job, failure: &Failure, dead_letters: &Letters) -> Result<(), Stopped> {
    if let Some(position) = job.only_record() {
        return refuse(job, position, failure.words().to_owned(), dead_letters).await;
    }
    let named = match failure {
        Failure::Row(place, _) => job.record_at(place + 1),
        _ => None,
    };
    if !named.is_some_and(|position| job.isolate(position)) {
        job.halve();
    }
    Ok(())
}

/// The rows of a job's next transaction, in chunks with a Sync behind each.
fn rows(job: &Job) -> Vec<(bytes::Bytes, usize)> {
    let mut all = Vec::new();
    for piece in job.request() {
        for range in chunks(piece.rows()) {
            let (from, to) = (piece.range(range.start).start, piece.range(range.end - 1).end);
            all.push((piece.bytes.slice(from..to), range.len()));
        }
    }
    all
}
