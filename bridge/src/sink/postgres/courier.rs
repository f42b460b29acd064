//! Stores payloads: one connection, one transaction for each payload, with one COPY for each of its
//! tables. A row that the server refuses by name is put aside and the others are sent again;
//! without a name the payload is halved until it has one.
//!
//! ```text
//! BEGIN · are the columns what they were? ──no──▶ rewind: written anew
//!   └──▶ COPY t … COPY u … ──▶ COMMIT ──▶ Receipt
//!          └── "COPY t, line 3" ──▶ dead letter, ROLLBACK, the rest again
//! ```

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Shared;
use super::failure::{Failure, Fate};
use super::layout::Layout;
use super::link::{Link, Part};
use super::progress::{Due, Seen};
use crate::batch::Payload;
use crate::blame::Fault;
use crate::outbox::Pool;
use crate::sink::ending::{Ended, Stopped, conclude, refuse};
use crate::sink::hand::{give_back, wanted_back};
use crate::sink::job::{Job, Position, Proof};
use crate::sink::retry::Backoff;
use crate::sink::{BoxFuture, Courier, CourierDoors, Letters};

/// Owns one connection.
pub struct PgCourier {
    shared: Arc<Shared>,
    who: usize,
    link: Option<Link>,
    backoff: Backoff,
}

/// Why a transaction did not commit.
struct Broken {
    failure: Failure,
    /// The row that the server named.
    named: Option<Position>,
    /// A partition is not where it was believed to be.
    moved: bool,
}

impl Broken {
    fn moved(failure: Failure) -> Broken {
        Broken { failure, named: None, moved: true }
    }
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Broken {
        Broken { failure, named: None, moved: false }
    }
}

impl PgCourier {
    /// A courier that is not connected yet. `who` is its number.
    pub fn new(shared: Arc<Shared>, who: usize) -> PgCourier {
        PgCourier { shared, who, link: None, backoff: Backoff::default() }
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
        if !matches!(ended, Some(Ok(Ended::Stored))) {
            self.close(&job);
        }
        let goes_on = conclude(&doors.home, &self.shared.meter, job, ended).await;
        if !matches!(goes_on, Ok(true)) {
            self.let_go(doors).await;
        }
        goes_on.map(drop)
    }

    /// What is left of a job is to be read again: nothing behind it may be stored before.
    fn close(&self, job: &Job) {
        if let Some(progress) = &self.shared.progress {
            progress.close(job.lines_left());
        }
    }

    /// Drops the connection and gives back what waits at the door.
    async fn let_go(&mut self, doors: &mut CourierDoors) {
        self.link = None;
        while let Ok(payload) = doors.inbox.try_recv() {
            if let Some(progress) = &self.shared.progress {
                progress.close(payload.buffers.lines.iter());
            }
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
        while job.request().len() > 0 {
            let Some(due) = self.due(job) else { return Ok(Ended::Outdated) };
            // Taken out while it is used: dropped half-way, the connection is gone too.
            let Some(mut link) = self.connected().await.map_err(Stopped::Fault)? else { continue };
            let stored = transact(&mut link, &self.shared, job, &due).await;
            let Err(Broken { failure, named, moved }) = stored else {
                if let Some(progress) = &self.shared.progress {
                    progress.advance(&due);
                }
                self.link = Some(link);
                self.shared.trouble.back(self.who);
                self.backoff.reset();
                job.stored(Proof { endpoint: 0, id: None }, pool);
                continue;
            };
            if moved {
                match self.look(link, &due).await {
                    Seen::Fenced => return Ok(Ended::Outdated),
                    Seen::Moved => continue,
                    // A rule of the table divided by zero, not ours.
                    Seen::Same if !job.halve() => {
                        if let Some(position) = job.only_record() {
                            refuse(job, position, failure.words(), dead_letters).await?;
                        }
                        continue;
                    }
                    Seen::Same => continue,
                }
            }
            match failure.fate() {
                Fate::Record => {
                    self.keep_after_rollback(link).await;
                    match named.or_else(|| job.only_record()) {
                        Some(position) => {
                            refuse(job, position, failure.words(), dead_letters).await?;
                        }
                        None => {
                            job.halve();
                        }
                    }
                }
                Fate::Changed => {
                    self.keep_after_rollback(link).await;
                    self.outdated(job);
                    tokio::time::sleep(self.backoff.next_wait()).await;
                    return Ok(Ended::Outdated);
                }
                Fate::TooLong => {
                    // What takes too long as a whole may pass in halves.
                    job.halve();
                    self.lost(link.endpoint, &failure).await;
                }
                Fate::Again | Fate::Elsewhere => self.lost(link.endpoint, &failure).await,
                Fate::Operator => return Err(Stopped::Fault(self.refused(&failure))),
            }
        }
        Ok(Ended::Stored)
    }

    /// What of a job's next transaction is to be stored: everything, unless progress is kept.
    fn due(&self, job: &Job) -> Option<Due> {
        match &self.shared.progress {
            Some(progress) => progress.due(job),
            None => Some(Due::default()),
        }
    }

    /// Looks where partitions are that were not where we believed them to be.
    async fn look(&mut self, mut link: Link, due: &Due) -> Seen {
        let Some(progress) = &self.shared.progress else { return Seen::Same };
        let looked = match link.ask("ROLLBACK").await {
            Ok(_) => progress.look(&mut link, due).await,
            Err(failure) => Err(failure),
        };
        match looked {
            Ok(seen) => {
                self.link = Some(link);
                seen
            }
            Err(failure) => {
                self.lost(link.endpoint, &failure).await;
                // What it was is seen at the next try.
                Seen::Moved
            }
        }
    }

    /// A connection to the current address. `None`: not this time.
    async fn connected(&mut self) -> Result<Option<Link>, Fault> {
        let current = self.shared.door.current();
        if let Some(link) = self.link.take().filter(|link| link.endpoint == current) {
            return Ok(Some(link));
        }
        match self.shared.door.open().await {
            Ok(link) => Ok(Some(link)),
            Err(failure) if failure.is_refusal() => Err(self.refused(&failure)),
            Err(failure) => {
                self.lost(current, &failure).await;
                Ok(None)
            }
        }
    }

    /// Says so, moves on to the next address, and waits.
    async fn lost(&mut self, endpoint: usize, failure: &Failure) {
        self.link = None;
        self.shared.meter.retries.add(1);
        self.shared.trouble.away(self.who, &failure.words());
        self.shared.door.fail_over(endpoint);
        tokio::time::sleep(self.backoff.next_wait()).await;
    }

    async fn keep_after_rollback(&mut self, mut link: Link) {
        if link.ask("ROLLBACK").await.is_ok() {
            self.link = Some(link);
        }
    }

    /// The tables of a job are looked at again before anything is written for them.
    fn outdated(&self, job: &Job) {
        for layout in layouts(job, &Due::default()) {
            if let Some(layout) = self.shared.catalogue.layout(layout) {
                self.shared.catalogue.forget(&layout);
            }
        }
    }

    fn refused(&self, failure: &Failure) -> Fault {
        let Shared { pipeline, name, .. } = &*self.shared;
        let said = format!("{pipeline}: {name} refuses the bridge: {}", failure.words());
        Fault::operator(said).hint(failure.hint())
    }
}

impl Courier for PgCourier {
    fn run(self: Box<Self>, doors: CourierDoors) -> BoxFuture<'static, Result<(), Fault>> {
        Box::pin(self.carry(doors))
    }
}

/// The layouts of a job's next transaction, each once, in the order of their first rows.
fn layouts(job: &Job, due: &Due) -> Vec<u32> {
    let mut layouts: Vec<u32> = Vec::new();
    let mut last = None;
    let lines = job.request().flat_map(|piece| piece.lines());
    for line in lines.filter(|line| due.takes(line)) {
        if last != Some(line.layout) && !layouts.contains(&line.layout) {
            layouts.push(line.layout);
        }
        last = Some(line.layout);
    }
    layouts
}

/// The rows of one layout in a job's next transaction, in as few chunks as they lie in.
fn part<'a>(job: &Job, due: &Due, layout: &'a Layout) -> Part<'a> {
    let mut chunks = Vec::new();
    for piece in job.request() {
        let mut from = None;
        for (index, line) in piece.lines().iter().enumerate() {
            match (line.layout == layout.id && due.takes(line), from) {
                (true, None) => from = Some(piece.range(index).start),
                (false, Some(start)) => {
                    chunks.push(piece.bytes.slice(start..piece.range(index).start));
                    from = None;
                }
                _ => {}
            }
        }
        chunks.extend(from.map(|start| piece.bytes.slice(start..)));
    }
    Part { layout, chunks }
}

/// The record of the row that the server names by its place (from 1) in the COPY of a layout.
fn record_at(job: &Job, due: &Due, layout: u32, place: usize) -> Option<Position> {
    let lines = job.request().flat_map(|piece| piece.lines());
    let line =
        lines.filter(|line| line.layout == layout && due.takes(line)).nth(place.checked_sub(1)?)?;
    Some((line.partition, line.offset))
}

/// One transaction with everything of a job's next request that is due.
async fn transact(link: &mut Link, shared: &Shared, job: &Job, due: &Due) -> Result<(), Broken> {
    let mut tables: Vec<Arc<Layout>> = Vec::new();
    for id in layouts(job, due) {
        let layout = shared.catalogue.layout(id);
        let unknown = || Failure::Lost(format!("the layout {id} is not known"));
        tables.push(layout.ok_or_else(unknown)?);
    }
    for layout in &tables {
        link.stage(layout).await?;
    }
    if tables.is_empty() {
        return Ok(());
    }
    let mut statements = begin(&tables, shared.plan.statement_timeout);
    if let Some(progress) = &shared.progress {
        statements.push_str(&format!("; {}", progress.early(due)));
    }
    let as_they_were = link.ask(&statements).await?;
    for (layout, columns) in tables.iter().zip(&as_they_were) {
        if columns.as_deref() != Some(layout.columns.len().to_string().as_str()) {
            let message = format!("table {} has changed", layout.table);
            return Err(Failure::Said { code: "42703".into(), message, context: None }.into());
        }
    }
    let partitions = as_they_were.get(tables.len()).and_then(Option::as_deref);
    if partitions.is_some_and(|count| count != due.steps.len().to_string()) {
        return Err(Broken::moved(Failure::Lost("a partition has moved".to_owned())));
    }
    for layout in &tables {
        let copied = link.copy(&part(job, due, layout)).await;
        copied.map_err(|failure| {
            let line = failure.line(layout.relation());
            let named = line.and_then(|line| record_at(job, due, layout.id, line));
            Broken { failure, named, moved: false }
        })?;
        if let Some(stage) = &layout.stage {
            link.ask(&stage.merge).await?;
        }
    }
    let Some(progress) = &shared.progress else {
        link.ask("COMMIT").await?;
        return Ok(());
    };
    link.ask(&progress.commit(due)).await.map(drop).map_err(|failure| match &failure {
        Failure::Said { code, .. } if code == DIVIDED => Broken::moved(failure),
        _ => failure.into(),
    })
}

/// Division by zero: how a partition tells that it is not where it was.
const DIVIDED: &str = "22012";

/// Opens a transaction and sees to it that the tables stay what they are; a row for each.
fn begin(tables: &[Arc<Layout>], timeout: Duration) -> String {
    let ms = timeout.as_millis();
    let mut statements = format!(
        "BEGIN; SET LOCAL statement_timeout = {ms}; \
         SET LOCAL idle_in_transaction_session_timeout = {ms}"
    );
    for Layout { quoted, verify, .. } in tables.iter().map(|layout| &**layout) {
        statements.push_str(&format!("; LOCK TABLE {quoted} IN ROW EXCLUSIVE MODE; {verify}"));
    }
    statements
}

/// Waits until the sink is to stop: there is nothing to keep.
pub async fn keep(mut stop: watch::Receiver<bool>) -> Result<(), Fault> {
    // A sender that is gone has nothing left to stop.
    let _ = stop.wait_for(|stop| *stop).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;

    use super::super::layout::tests::column;
    use super::*;
    use crate::batch::{Buffers, Line, PartitionIndex, Route};
    use crate::shape::Shape;

    /// A job whose row `i` is the byte `i`, of these layouts.
    fn job(of: &[u32]) -> Job {
        let mut buffers = Buffers::default();
        for (index, layout) in of.iter().enumerate() {
            buffers.bytes.push(index as u8);
            buffers.lines.push(Line {
                offset: index as i64,
                partition: PartitionIndex(0),
                row: 0,
                layout: *layout,
                end: index as u32 + 1,
            });
        }
        let (opened, shares) = (Instant::now(), vec![]);
        let (table, route, timestamps) = ("rows".into(), Route::Primary, (0, 0));
        Job::new(Payload {
            table,
            layout: 0,
            buffers,
            shares,
            route,
            opened,
            due: opened,
            timestamps,
        })
    }

    proptest! {
        /// The reference: the rows of each layout, one by one.
        #[test]
        fn rows_are_sorted_out_by_their_tables(
            of in prop::collection::vec(0_u32..4, 1..60), cut in any::<bool>(),
        ) {
            let mut job = job(&of);
            if cut {
                job.halve();
            }
            let here: Vec<u8> = job.request().flat_map(|piece| piece.bytes.to_vec()).collect();
            let mut seen = 0;
            let due = Due::default();
            for id in layouts(&job, &due) {
                let layout = Layout::new(id, "t", &Shape::plain("t"), &[], vec![column("x", 20)]);
                let chunks = part(&job, &due, &layout).chunks;
                let rows: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.to_vec()).collect();
                let wanted: Vec<u8> =
                    here.iter().copied().filter(|row| of[usize::from(*row)] == id).collect();
                prop_assert_eq!(&rows, &wanted);
                for (place, row) in rows.iter().enumerate() {
                    let at = record_at(&job, &due, id, place + 1);
                    prop_assert_eq!(at, Some((PartitionIndex(0), i64::from(*row))));
                }
                prop_assert_eq!(record_at(&job, &due, id, rows.len() + 1), None);
                seen += rows.len();
            }
            prop_assert_eq!(seen, here.len());
        }
    }
}
