//! Stores payloads over pooled TCP connections. With `ack = "verify"` a connection lives for one
//! generation: some 100,000 rows or a second; then it is closed, the next takes over at once, and
//! its rows are counted back before anything is called stored. What cannot be proved goes back
//! to Kafka and comes again over HTTP, whose answers are proof. With `ack = "none"` the socket's
//! word is all there is.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Shared;
use super::catalogue::Catalogue;
use super::confirm::{Confirmer, Keys};
use super::counting::{Counting, next_counted, send, settle, stored};
use super::dial::in_words;
use super::gate::Trust;
use super::generation::{Admission, Cargo, Generation};
use super::http::{Road, Told, Unproven, polled};
use super::keeper::Tables;
use super::server::SqlClient;
use crate::batch::{Payload, Route, Verdict};
use crate::blame::Fault;
use crate::limits::COURIER_BYTES;
use crate::outbox::Pool;
use crate::sink::ending::{Stopped, rewind};
use crate::sink::hand::{give_back, wanted_back};
use crate::sink::job::Job;
use crate::sink::retry::Backoff;
use crate::sink::{BoxFuture, Courier, CourierDoors, Home, Letters};

/// Generations that are being counted at once; a server that counts slower than this is behind.
const CONFIRMING_MAX: usize = 3;
/// Payloads that one system call may take.
const HAND_MAX: usize = 8;
/// Which lines to look at.
pub const KEY_HINT: &str = "`auth_key_id`, `auth_private_key` and its public key must be those of the \
     server's line.tcp.auth.db.path";
/// After one that was lost, a connection that lives so long is one: what stands before a server
/// that is away may let us in and hang up.
const LASTS: Duration = Duration::from_secs(1);
/// Longer than any test or process waits; a connection without rows does not age.
const FOR_EVER: Duration = Duration::from_secs(86_400 * 365);

/// How one write ended.
enum Step {
    /// At least one payload is on its way.
    Written,
    /// The payload must travel with the next generation.
    Apart,
    /// The payload must go over HTTP.
    Tangled,
    /// The connection is gone, with all that travelled over it.
    Failed,
    /// The job went over HTTP; its mark.
    Acked(u64),
    /// The job's rows are to be written anew.
    Outdated,
    /// The job could not be ended.
    Stopped(Stopped),
}

/// What happened to the connection while nothing was written.
enum Attended {
    /// After a failure, there is one again.
    Back,
    /// And it lasts.
    Lasted,
    /// It is old enough to be closed.
    Aged,
    /// The server ended it.
    Ended(String),
}

/// One connection after the other.
struct Pipe {
    shared: Arc<Shared>,
    who: usize,
    backoff: Backoff,
    generation: Option<Generation>,
    /// What travelled over connections that failed.
    failed: Vec<Cargo>,
    trust: Trust,
    /// Before the next connection, for one that was lost.
    pause: Option<Duration>,
    /// One was lost, and none has lasted since: the sink is in trouble, whoever lets us in.
    doubted: bool,
}

impl Pipe {
    /// Connects, however long it takes.
    async fn connect(&mut self) -> Result<(), Fault> {
        if let Some(pause) = self.pause {
            tokio::time::sleep(pause).await;
            self.pause = None;
        }
        while self.generation.is_none() {
            let index = self.shared.server.current();
            match self.shared.gate.connect(index, self.trust.patience()).await {
                Ok(stream) => {
                    self.shared.meter.connections.add(1);
                    self.generation = Some(Generation::new(stream));
                    self.trust.admitted();
                    if !self.doubted {
                        self.shared.trouble.back(self.who);
                    }
                }
                Err(error) => {
                    if self.trust.failed(&error) {
                        self.refused(&error).await?;
                    }
                    self.shared.server.fail_over(index);
                    let endpoint = self.shared.gate.endpoint(index);
                    let why = format!("tcp {endpoint}: {}", in_words(&error));
                    self.shared.meter.retries.add(1);
                    self.shared.trouble.away(self.who, &why);
                    tokio::time::sleep(self.backoff.next_wait()).await;
                }
            }
        }
        Ok(())
    }

    /// Only a server that is there can refuse a key: what stands before it may hang up too.
    async fn refused(&mut self, error: &std::io::Error) -> Result<(), Fault> {
        if SqlClient::new(Arc::clone(&self.shared.server)).settings().await.is_err() {
            return Ok(());
        }
        let refuses = format!("questdb refuses the bridge over tcp: {error}");
        Err(Fault::operator(refuses).hint(KEY_HINT))
    }

    /// Takes the generation, to be confirmed or dropped.
    fn take(&mut self) -> Option<Generation> {
        let generation = self.generation.take()?;
        self.shared.meter.connections.add(-1);
        Some(generation)
    }

    /// Rows arrive, or a connection stays.
    fn lasted(&mut self) {
        if std::mem::take(&mut self.doubted) {
            self.shared.trouble.back(self.who);
        }
    }

    /// The connection is gone.
    fn fail(&mut self, why: &str) {
        self.shared.meter.retries.add(1);
        self.shared.trouble.away(self.who, &format!("tcp: {why}"));
        self.doubted = true;
        self.pause = Some(self.backoff.next_wait());
        let Some(generation) = self.take() else { return };
        self.trust.lost(generation.age());
        if !generation.cargo.is_empty() {
            let pipeline = &self.shared.pipeline;
            tracing::warn!("{pipeline}: tcp: {why}; rows not counted back yet go over http");
        }
        self.failed.extend(generation.cargo);
    }

    /// Whether the generation is to be closed.
    fn is_due(&self) -> bool {
        let plan = &self.shared.plan;
        self.generation.as_ref().is_some_and(|generation| {
            generation.manifest.rows >= plan.generation_rows
                || generation.since.is_some_and(|since| since.elapsed() >= plan.generation_age)
        })
    }

    /// Waits for what happens to the connection while nothing is written.
    async fn attend(&mut self, idle: bool) -> Result<Attended, Fault> {
        if !self.failed.is_empty() {
            self.connect().await?;
            return Ok(Attended::Back);
        }
        let generation_age = self.shared.plan.generation_age;
        match &mut self.generation {
            Some(generation) if idle => {
                let due = match (generation.cargo.is_empty(), generation.since) {
                    (false, Some(since)) => since + generation_age,
                    _ => Instant::now() + FOR_EVER,
                };
                let lasts = generation.connected + LASTS;
                tokio::select! {
                    why = generation.ended() => Ok(Attended::Ended(why)),
                    () = tokio::time::sleep_until(due.into()) => Ok(Attended::Aged),
                    () = tokio::time::sleep_until(lasts.into()), if self.doubted => {
                        Ok(Attended::Lasted)
                    }
                }
            }
            _ => std::future::pending().await,
        }
    }

    /// Writes as many payloads of the hand as may travel together. Dropped half-way, the
    /// connection is of no more use.
    async fn write(&mut self, hand: &mut VecDeque<Payload>, pool: &Pool) -> Result<Step, Fault> {
        self.connect().await?;
        let verify = self.shared.plan.verifies();
        let Some(generation) = &mut self.generation else { return Ok(Step::Failed) };
        let mut run = 0;
        while let Some(payload) = hand.get(run).filter(|payload| payload.route == Route::Primary) {
            let admission = match verify {
                true => generation.manifest.admit(payload),
                false => Admission::Welcome,
            };
            match admission {
                Admission::Welcome => run += 1,
                _ if run > 0 => break,
                Admission::Apart => return Ok(Step::Apart),
                Admission::Tangled => return Ok(Step::Tangled),
            }
        }
        let payloads = hand.iter().take(run);
        let mut slices: Vec<IoSlice> =
            payloads.map(|payload| IoSlice::new(&payload.buffers.bytes)).collect();
        let written = generation.write(&mut slices).await;
        let failed = written.is_err();
        if verify || !failed {
            for payload in hand.drain(..run) {
                generation.cargo.push(Cargo {
                    shares: payload.shares,
                    rows: payload.buffers.lines.len() as u64,
                    bytes: payload.buffers.bytes.len() as u64,
                    opened: payload.opened,
                });
                pool.put(payload.buffers);
            }
        }
        match written {
            Ok(()) => {
                // What the socket took says nothing of a connection that has just begun.
                if !self.doubted || generation.connected.elapsed() >= LASTS {
                    self.backoff.reset();
                    self.lasted();
                }
                Ok(Step::Written)
            }
            Err(error) => {
                self.fail(&in_words(&error));
                Ok(Step::Failed)
            }
        }
    }
}

/// A courier that stores over TCP.
pub struct TcpCourier {
    shared: Arc<Shared>,
    pipe: Pipe,
    road: Road,
    unproven: Unproven,
    /// `None` with `ack = "none"`.
    confirmer: Option<Arc<Confirmer>>,
    confirming: Vec<Counting>,
    /// What came and is not on its way yet.
    hand: VecDeque<Payload>,
    /// What goes over HTTP just now.
    job: Option<Job>,
}

impl TcpCourier {
    /// A courier with its own connection, and one over HTTP for proof.
    pub fn new(
        shared: Arc<Shared>,
        catalogue: Arc<Catalogue>,
        who: usize,
    ) -> Result<TcpCourier, Fault> {
        let keys = Keys::of(&shared.metadata);
        let confirmer = match (shared.plan.verifies(), keys) {
            (false, _) => None,
            (true, Some(keys)) => Some(Arc::new(Confirmer::new(Arc::clone(&shared), keys))),
            (true, None) => {
                return Err(Fault::us("a shape without the columns that are counted back"));
            }
        };
        let pipe = Pipe {
            shared: Arc::clone(&shared),
            who,
            backoff: Backoff::default(),
            generation: None,
            failed: Vec::new(),
            trust: Trust::default(),
            pause: None,
            doubted: false,
        };
        Ok(TcpCourier {
            pipe,
            road: Road::new(Arc::clone(&shared), catalogue, who),
            unproven: Unproven::default(),
            confirmer,
            confirming: Vec::new(),
            hand: VecDeque::new(),
            job: None,
            shared,
        })
    }

    async fn carry(mut self, mut doors: CourierDoors) -> Result<(), Fault> {
        let ended = self.turns(&mut doors).await;
        if ended.is_err() {
            self.let_go(&mut doors).await;
        }
        self.shared.trouble.back(self.pipe.who);
        ended
    }

    async fn turns(&mut self, doors: &mut CourierDoors) -> Result<(), Fault> {
        let mut tables = self.shared.watched.subscribe();
        let mut open = true;
        while open || !self.is_empty() {
            let room = self.confirming.len() < CONFIRMING_MAX && !self.unproven.is_full();
            let idle = self.hand.is_empty() && self.job.is_none();
            let well = self.pipe.failed.is_empty();
            let loaded = self.pipe.generation.as_ref().is_some_and(|g| !g.cargo.is_empty());
            if !open && idle && loaded {
                self.close();
                continue;
            }
            tokio::select! {
                biased;
                () = wanted_back(&mut doors.reset) => self.let_go(doors).await,
                counted = next_counted(&mut self.confirming), if !self.confirming.is_empty() => {
                    let whole = settle(&self.shared, counted, &doors.home).await;
                    self.counted(whole);
                }
                seen = polled(&mut tables), if !self.unproven.is_empty() => {
                    self.prove(&seen, &doors.home).await;
                }
                attended = self.pipe.attend(idle) => match attended? {
                    Attended::Back => {
                        let failed = std::mem::take(&mut self.pipe.failed);
                        send(&doors.home, failed, Verdict::Rewind { route: Route::Proof }).await;
                    }
                    Attended::Lasted => self.pipe.lasted(),
                    Attended::Aged => self.close(),
                    Attended::Ended(why) => self.ended(&why, loaded),
                },
                payload = doors.inbox.recv(), if open && idle && well && room => match payload {
                    Some(payload) => self.hand.push_back(payload),
                    None => open = false,
                },
                () = std::future::ready(()), if !idle && well && room => {
                    self.step(doors, &mut tables).await?;
                }
            }
        }
        Ok(())
    }

    /// Rows of a connection were counted back, and were all there or not.
    fn counted(&mut self, whole: bool) {
        self.pipe.trust.counted(whole);
        if whole {
            self.pipe.lasted();
        }
    }

    fn is_empty(&self) -> bool {
        self.hand.is_empty()
            && self.job.is_none()
            && self.confirming.is_empty()
            && self.unproven.is_empty()
            && self.pipe.failed.is_empty()
            && self.pipe.generation.as_ref().is_none_or(|g| g.cargo.is_empty())
    }

    /// The server ended the connection by itself: a line that it refused, or its own end.
    fn ended(&mut self, why: &str, loaded: bool) {
        if loaded {
            self.pipe.fail(why);
            return;
        }
        if let Some(generation) = self.pipe.take() {
            self.pipe.trust.lost(generation.age());
        }
        if self.confirmer.is_none() {
            let pipeline = &self.shared.pipeline;
            tracing::warn!("{pipeline}: {why}; rows may be lost, for ack = \"none\" asks nobody");
        }
    }

    /// Ends the generation; its rows are counted from now on.
    fn close(&mut self) {
        let Some(mut generation) = self.pipe.take() else { return };
        let Some(confirmer) = &self.confirmer else { return };
        let confirmer = Arc::clone(confirmer);
        let cargo = std::mem::take(&mut generation.cargo);
        let count = Box::pin(async move { confirmer.confirm(generation).await });
        self.confirming.push(Counting { cargo, count });
    }

    /// Gets the payloads at hand on their way, while counting and proving go on.
    async fn step(
        &mut self,
        doors: &mut CourierDoors,
        tables: &mut watch::Receiver<Arc<Tables>>,
    ) -> Result<(), Fault> {
        self.prepare(doors);
        let mut right = true;
        let mut whole = None;
        let step = {
            let moving = advance(
                &mut self.pipe,
                &mut self.road,
                (&mut self.hand, &mut self.job),
                (&doors.dead_letters, &doors.pool),
            );
            let mut moving = std::pin::pin!(moving);
            loop {
                tokio::select! {
                    biased;
                    () = wanted_back(&mut doors.reset) => break None,
                    counted = next_counted(&mut self.confirming),
                        if !self.confirming.is_empty() =>
                    {
                        let this = settle(&self.shared, counted, &doors.home).await;
                        whole = Some(this && whole != Some(false));
                    }
                    seen = polled(tables), if !self.unproven.is_empty() => {
                        right &= self.unproven.settle(&seen, &self.shared, &doors.home).await;
                    }
                    step = &mut moving => break Some(step),
                }
            }
        };
        if !right {
            self.road.hang_up();
        }
        if let Some(whole) = whole {
            self.counted(whole);
        }
        match step {
            Some(step) => self.stepped(step?, &doors.home).await,
            None => {
                self.let_go(doors).await;
                Ok(())
            }
        }
    }

    /// What is ready goes along; what cannot go over TCP becomes a job.
    fn prepare(&mut self, doors: &mut CourierDoors) {
        while self.hand.len() < HAND_MAX
            && in_hand(&self.hand) < COURIER_BYTES
            && let Ok(payload) = doors.inbox.try_recv()
        {
            self.hand.push_back(payload);
        }
        let Some(front) = self.hand.front() else { return };
        self.shared.watched.meet(&front.table);
        if self.shared.watched.is_closed(&front.table) {
            // It may be long until the table is open again: what was written is counted now.
            self.close();
        }
        if front_is_proof(&self.hand) && self.job.is_none() {
            self.job = self.hand.pop_front().map(Job::new);
        }
    }

    async fn stepped(&mut self, step: Step, home: &Home) -> Result<(), Fault> {
        match step {
            Step::Written if self.confirmer.is_none() => {
                let cargo = self.pipe.generation.as_mut().map(|g| std::mem::take(&mut g.cargo));
                stored(&self.shared, cargo.unwrap_or_default(), home).await;
            }
            Step::Written => {
                if self.pipe.is_due() {
                    self.close();
                }
            }
            Step::Apart => self.close(),
            Step::Tangled => self.job = self.hand.pop_front().map(Job::new),
            Step::Failed => {}
            Step::Acked(mark) => {
                if let Some(job) = self.job.take() {
                    self.unproven.push(job, mark);
                }
            }
            Step::Stopped(Stopped::Fault(fault)) => return Err(fault),
            Step::Outdated | Step::Stopped(Stopped::Abandoned) => {
                if let Some(job) = self.job.take() {
                    rewind(home, job).await;
                }
            }
        }
        Ok(())
    }

    async fn prove(&mut self, seen: &Tables, home: &Home) {
        if !self.unproven.settle(seen, &self.shared, home).await {
            self.road.hang_up();
        }
    }

    /// Drops the connections and gives back everything at hand, what waits at the door included.
    async fn let_go(&mut self, doors: &mut CourierDoors) {
        self.road.hang_up();
        let mut cargo = std::mem::take(&mut self.pipe.failed);
        cargo.extend(self.pipe.take().into_iter().flat_map(|generation| generation.cargo));
        // Counting shares nothing with the server that could be reset: it is just given up.
        cargo.extend(self.confirming.drain(..).flat_map(|counting| counting.cargo));
        send(&doors.home, cargo, Verdict::Rewind { route: Route::Primary }).await;
        self.unproven.rewind(&doors.home).await;
        if let Some(job) = self.job.take() {
            rewind(&doors.home, job).await;
        }
        while let Some(payload) = self.hand.pop_front() {
            give_back(&doors.home, payload, &doors.pool).await;
        }
        while let Ok(payload) = doors.inbox.try_recv() {
            give_back(&doors.home, payload, &doors.pool).await;
        }
    }
}

impl Courier for TcpCourier {
    fn run(self: Box<Self>, doors: CourierDoors) -> BoxFuture<'static, Result<(), Fault>> {
        Box::pin(self.carry(doors))
    }
}

/// Bytes of the payloads at hand.
fn in_hand(hand: &VecDeque<Payload>) -> usize {
    hand.iter().map(|payload| payload.buffers.bytes.len()).sum()
}

fn front_is_proof(hand: &VecDeque<Payload>) -> bool {
    hand.front().is_some_and(|payload| payload.route == Route::Proof)
}

/// The job over HTTP if there is one, else the hand over TCP.
async fn advance(
    pipe: &mut Pipe,
    road: &mut Road,
    (hand, job): (&mut VecDeque<Payload>, &mut Option<Job>),
    (dead_letters, pool): (&Letters, &Pool),
) -> Result<Step, Fault> {
    if let Some(job) = job {
        return Ok(match road.store(job, None, dead_letters, pool).await {
            Ok(Told::Acked(mark)) => Step::Acked(mark),
            Ok(Told::Outdated) => Step::Outdated,
            Err(stopped) => Step::Stopped(stopped),
        });
    }
    if let Some(front) = hand.front() {
        pipe.shared.watched.open(&front.table).await;
    }
    pipe.write(hand, pool).await
}
