//! Stores payloads: one connection, one bulk in flight. Rows that the server refuses by name are
//! put aside and the rest is sent again, which the key makes harmless; a bulk that is refused as a
//! whole, without a row being named, is halved until one record is alone.
//!
//! ```text
//! bulk ──▶ a count for each row ──▶ Receipt
//!   ├──▶ -2 for some ──▶ dead letters; the rest again
//!   ├──▶ refused whole ──▶ is the table what it was? ──no──▶ rewind: written anew
//!   │                        └──yes──▶ halves; alone: dead letter
//!   └──▶ blocked, overloaded, gone ──▶ the same again
//! ```

use std::sync::Arc;

use super::Shared;
use super::answer::{Each, Fate, No, alone, each};
use super::asker::send;
use super::bulk::Bulk;
use super::layout::Layout;
use crate::batch::Payload;
use crate::blame::Fault;
use crate::outbox::Pool;
use crate::sink::ending::{Ended, Stopped, conclude, refuse};
use crate::sink::hand::{give_back, wanted_back};
use crate::sink::job::{Job, Position, Proof};
use crate::sink::questdb::Denied;
use crate::sink::questdb::server::{Broken, Connection};
use crate::sink::retry::Backoff;
use crate::sink::{BoxFuture, Courier, CourierDoors, Letters};

/// Owns one connection.
pub struct CrateCourier {
    shared: Arc<Shared>,
    who: usize,
    connection: Option<Connection>,
    backoff: Backoff,
    /// Whether the next request, of one row, goes without a bulk: none of its words were heard.
    alone: bool,
}

/// What an answer to a request means for its rows.
enum Answered {
    /// Each is there, or is not.
    Each(Vec<Each>),
    /// None is known to be.
    No(No),
    /// There was none.
    Gone(String),
}

impl CrateCourier {
    /// A courier that is not connected yet. `who` is its number.
    pub fn new(shared: Arc<Shared>, who: usize) -> CrateCourier {
        let backoff = Backoff::default();
        CrateCourier { shared, who, connection: None, backoff, alone: false }
    }

    async fn carry(mut self, mut doors: CourierDoors) -> Result<(), Fault> {
        loop {
            tokio::select! {
                biased;
                () = wanted_back(&mut doors.reset) => self.let_go(&mut doors).await,
                payload = doors.inbox.recv() => match payload {
                    Some(payload) => self.deliver(payload, &mut doors).await?,
                    None => break,
                },
            }
        }
        self.shared.trouble.back(self.who);
        Ok(())
    }

    /// One payload, unless the pipeline wants it back.
    async fn deliver(&mut self, payload: Payload, doors: &mut CourierDoors) -> Result<(), Fault> {
        let mut job = Job::new(payload);
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
            self.let_go(doors).await;
        }
        goes_on.map(drop)
    }

    /// Drops the connection and gives back what waits at the door.
    async fn let_go(&mut self, doors: &mut CourierDoors) {
        self.connection = None;
        while let Ok(payload) = doors.inbox.try_recv() {
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
        self.alone = false;
        loop {
            // A payload has rows of one layout only.
            let line = job.request().next().and_then(|piece| piece.lines().first().copied());
            let Some(line) = line else { return Ok(Ended::Stored) };
            let Some(layout) = self.shared.catalogue.layout(line.layout) else {
                let fault = format!("the layout {} is not known", line.layout);
                return Err(Stopped::Fault(Fault::us(fault)));
            };
            let keys = self.shared.key.replaces.then_some(layout.keys);
            let mut bulk = Bulk::of(job, keys);
            match self.send(&mut bulk, &layout).await {
                Answered::Each(rows) if rows.iter().all(|row| *row == Each::Stored) => {
                    self.alone = false;
                    job.stored(Proof { endpoint: 0, id: None }, pool);
                }
                Answered::Each(rows) => {
                    let refused = self.sort(rows, &bulk.positions).await;
                    let Some(refused) = refused.map_err(Stopped::Fault)? else { continue };
                    if !refused.is_empty() && self.has_changed(&layout).await? {
                        return Ok(Ended::Outdated);
                    }
                    // No words at all: of one row alone they are told, of fewer rows rather.
                    if refused.is_empty() && !job.halve() {
                        self.ask_alone(job, bulk.positions.len(), dead_letters).await?;
                    }
                    for (position, words) in refused {
                        refuse(job, position, words, dead_letters).await?;
                    }
                }
                Answered::No(no) => match no.fate() {
                    Fate::Record | Fate::Changed => {
                        if self.has_changed(&layout).await? {
                            return Ok(Ended::Outdated);
                        }
                        self.narrow(job, &no, dead_letters).await?;
                    }
                    Fate::TooMuch => {
                        if !job.halve() && no.is_too_large() {
                            self.narrow(job, &no, dead_letters).await?;
                        } else {
                            self.lost(&no.shown()).await;
                        }
                    }
                    Fate::Again => self.lost(&no.shown()).await,
                    Fate::Operator => return Err(Stopped::Fault(self.refused(&no))),
                },
                Answered::Gone(why) => self.lost(&why).await,
            }
        }
    }

    /// Puts the records aside that a bulk's answer names; `None` if the bulk is to be sent again.
    async fn sort(
        &mut self,
        rows: Vec<Each>,
        positions: &[Position],
    ) -> Result<Option<Vec<(Position, String)>>, Fault> {
        let mut refused: Vec<(Position, String)> = Vec::new();
        for (row, position) in rows.into_iter().zip(positions) {
            let Each::Refused(no) = row else { continue };
            match no.fate() {
                Fate::Record | Fate::Changed => {
                    // A record's rows stand together.
                    if refused.last().is_none_or(|(last, _)| last != position) {
                        refused.push((*position, no.shown()));
                    }
                }
                Fate::Again | Fate::TooMuch => {
                    self.lost(&no.shown()).await;
                    return Ok(None);
                }
                Fate::Operator => return Err(self.refused(&no)),
            }
        }
        Ok(Some(refused))
    }

    /// One record is left, and the server said nothing of it: its row is sent without a bulk, and
    /// put aside if that tells nothing either, or it has several.
    async fn ask_alone(
        &mut self,
        job: &mut Job,
        rows: usize,
        dead_letters: &Letters,
    ) -> Result<(), Stopped> {
        match job.only_record() {
            Some(position) if self.alone || rows > 1 => {
                self.alone = false;
                let words = "the server did not store it, and gave no reason".to_owned();
                refuse(job, position, words, dead_letters).await
            }
            _ => {
                self.alone = true;
                Ok(())
            }
        }
    }

    /// A request is refused, and no row named: halves, or the one record that it was.
    async fn narrow(
        &mut self,
        job: &mut Job,
        no: &No,
        dead_letters: &Letters,
    ) -> Result<(), Stopped> {
        self.alone = false;
        match job.only_record() {
            Some(position) => refuse(job, position, no.shown(), dead_letters).await,
            None => {
                job.halve();
                Ok(())
            }
        }
    }

    /// Whether a table is not what its rows were written for: then it is not the rows' fault.
    async fn has_changed(&mut self, layout: &Layout) -> Result<bool, Stopped> {
        match self.shared.catalogue.is_still(layout).await {
            Ok(true) => Ok(false),
            Ok(false) => {
                self.shared.catalogue.forget(layout);
                tokio::time::sleep(self.backoff.next_wait()).await;
                Ok(true)
            }
            Err(Denied::Pipeline(fault)) => Err(Stopped::Fault(fault)),
            Err(Denied::Record(_, why)) => Err(Stopped::Fault(Fault::operator(why))),
        }
    }

    /// Sends one bulk.
    async fn send(&mut self, bulk: &mut Bulk, layout: &Layout) -> Answered {
        let server = &self.shared.server;
        let current = server.current();
        // Taken out while it is used: dropped half-way, the connection is gone too.
        let kept = self.connection.take().filter(|kept| kept.endpoint() == current);
        let connected = match kept {
            Some(kept) => Ok(kept),
            None => server.connect().await,
        };
        let mut connection = match connected {
            Ok(connection) => connection,
            Err(Broken(why)) => return Answered::Gone(why),
        };
        let count = bulk.positions.len();
        let is_alone = self.alone && count == 1;
        let response = match send(&mut connection, bulk.body(layout, is_alone)).await {
            Ok(response) => response,
            Err(Broken(why)) => return Answered::Gone(why),
        };
        let judged = match is_alone {
            true => alone(&response, self.shared.key.replaces).map(|row| vec![row]),
            false => each(&response, count),
        };
        match judged {
            Ok(rows) => {
                self.connection = Some(connection);
                self.shared.trouble.back(self.who);
                self.backoff.reset();
                Answered::Each(rows)
            }
            Err(no) => {
                if matches!(no.fate(), Fate::Record | Fate::Changed) {
                    self.connection = Some(connection);
                    self.shared.trouble.back(self.who);
                }
                Answered::No(no)
            }
        }
    }

    /// Says so, moves on to the next address, and waits.
    async fn lost(&mut self, why: &str) {
        let server = &self.shared.server;
        self.connection = None;
        self.alone = false;
        self.shared.meter.retries.add(1);
        self.shared.trouble.away(self.who, why);
        server.fail_over(server.current());
        tokio::time::sleep(self.backoff.next_wait()).await;
    }

    fn refused(&self, no: &No) -> Fault {
        let Shared { pipeline, name, .. } = &*self.shared;
        let said = format!("{pipeline}: {name} refuses the bridge: {}", no.shown());
        Fault::operator(said).hint(no.hint())
    }
}

impl Courier for CrateCourier {
    fn run(self: Box<Self>, doors: CourierDoors) -> BoxFuture<'static, Result<(), Fault>> {
        Box::pin(self.carry(doors))
    }
}
