//! Where rows go. `encode` turns rows into bytes (pure CPU, in a lane); a courier gets the bytes
//! stored (pure I/O, one task for each connection). A sink is one folder and its two lines below.

mod coerce;
pub mod cratedb;
mod ending;
pub mod file;
mod hand;
mod job;
pub mod kafka;
pub mod memory;
mod migration;
mod notes;
pub mod postgres;
pub mod questdb;
pub mod retry;
pub mod schema;
pub mod text;
mod waiting;

pub use migration::{Migration, Obstacle};
pub use notes::{Noted, Notes};

use std::fmt::{self, Debug};
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot, watch};

use crate::batch::{
    Line, PartitionIndex, Payload, Receipt, RecordBatch, Refusal, RowBatch, TopicPartition, Verdict,
};
use crate::blame::{Blame, Fault};
use crate::config::security::SecurityPlan;
use crate::config::{KafkaPlan, Section};
use crate::kind::{Kind, Unable};
use crate::names::Names;
use crate::observe::{Counter, PipelineMeter};
use crate::outbox::{Outbox, Pool};
use crate::reject::{Kept, Rejected, Rejects};
use crate::shape::Shape;
use crate::source::{Membership, Waker};
use crate::ticket::Share;

/// Every sink, by name.
pub const KINDS: &[Kind<dyn SinkPlan>] =
    &[questdb::KIND, postgres::KIND, cratedb::KIND, kafka::KIND, file::KIND, memory::KIND];

/// A future in a box: couriers are chosen at run time, once.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a replay may leave behind. Every row arrives in either case.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// A row that is read again after a crash may be stored twice.
    #[default]
    AtLeastOnce,
    /// Each row is there once, however often it was read. A sink that cannot do it refuses.
    ExactlyOnce,
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Delivery::AtLeastOnce => "at least once",
            Delivery::ExactlyOnce => "exactly once",
        })
    }
}

/// A sink as configured.
pub trait SinkPlan: Send + Sync + Debug {
    /// Makes the sink; opens nothing.
    fn build(&self, context: SinkContext) -> Result<Arc<dyn Sink>, Fault>;
    /// Paths of files in the configuration start from this folder: the configuration's own.
    fn rebase(&mut self, _base: &Path) {}
    /// Learns how records are read, if from Kafka, or says why that cannot be; keys are those below
    /// the pipeline, such as `sink.topic`.
    fn adopt(&mut self, _source: Option<&KafkaPlan>) -> Result<(), Unable> {
        Ok(())
    }
    /// Learns who the bridge is to brokers that a command line names, as a configuration says it.
    fn known_as(&mut self, _security: &SecurityPlan) {}
    /// What the configuration asks of the shape: columns that the sink needs (the line protocol
    /// over TCP with read-back needs topic, partition, offset and row).
    fn complete(&self, shape: &mut Shape);
    /// Gives the shape what `delivery = "exactly-once"` needs, or says why it cannot be; keys are
    /// those below the pipeline, such as `sink.ack`. Called after [`SinkPlan::complete`], also for
    /// the shape of each table that is declared.
    fn exactly_once(&self, _shape: &mut Shape) -> Result<(), Unable> {
        let help = "delivery = \"at-least-once\", or kind = \"questdb\"";
        Err(Unable::new("delivery", "this sink cannot store exactly once", help))
    }
    /// The columns of the key by which the row of a record without a value deletes another, or why
    /// it does not; keys are those below the pipeline.
    fn deletes(&self) -> Result<&[String], Unable> {
        let help = "null_value = \"skip\", or kind = \"postgres\" with mode = \"upsert\"";
        Err(Unable::new("null_value", "this sink deletes nothing", help))
    }
    /// Some tables' rows are to be stored in transactions: sees to it, or says why that cannot be.
    fn transact(&mut self) -> Result<(), Unable> {
        let help = "kind = \"questdb\" or \"postgres\"";
        Err(Unable::new("consistency", "this sink stores nothing in transactions", help))
    }
    /// Whether it heeds what `[tables.NAME]` declares.
    fn heeds_declarations(&self) -> bool {
        false
    }
    /// Of these declarations the keys that mean nothing to it.
    fn foreign_keys(&self) -> &'static [Foreign] {
        &[]
    }
    /// Whether a value of any column may be text there.
    fn keeps_text(&self) -> bool {
        false
    }
    /// Whether, where each row must be there once, it keeps by itself how far each partition is:
    /// what other sinks have of it is not known then.
    fn keeps_progress(&self) -> bool {
        false
    }
    /// Whether its tables have partitions, a time to live, and upsert keys of their own.
    fn has_partitions(&self) -> bool {
        false
    }
    /// Whether it takes records that transforms made for topics.
    fn takes_emitted(&self) -> bool {
        false
    }
    /// How many couriers it wants for each lane.
    fn couriers_per_lane(&self) -> usize;
    /// Lines of `bridge explain`: what is promised, what `Stored` means.
    fn explain(&self) -> Vec<String>;
    /// The doors that must all be open for rows to be stored, and for each the addresses of which
    /// one will do. A sink without any has no server of its own, and cannot have a
    /// fallback.
    fn doors(&self) -> Vec<Door> {
        Vec::new()
    }
    /// An encoder that asks no server, to try a pipeline: of the very lines that are sent, where
    /// they are text and do not depend on what is there; else of JSON objects.
    fn rehearse(&self, context: &SinkContext) -> Rehearsal {
        text::rehearse(text::TextPlan::default(), context, |_| None)
    }
    /// Whether a fallback of the same kind that does not give this key takes it over from here;
    /// `to` is its section.
    fn lends(&self, _key: &str, _to: &Section) -> bool {
        true
    }
}

/// A key of `[tables.NAME]` that means nothing to a sink.
pub struct Foreign {
    /// The key.
    pub key: &'static str,
    /// What the sink does instead, after "its sink".
    pub why: &'static str,
    /// What would be right.
    pub help: &'static str,
}

/// What a sink tries rows with: see [`SinkPlan::rehearse`].
pub struct Rehearsal {
    /// Rows to lines of text.
    pub encoder: Box<dyn Encoder>,
    /// Whether a line says itself which table it is for.
    pub names_tables: bool,
}

/// A door of a sink: host and port, or several of which one will do.
pub type Door = Vec<String>;

/// What a sink is given.
#[derive(Clone)]
pub struct SinkContext {
    /// The pipeline's name, for messages.
    pub pipeline: Arc<str>,
    /// The pipeline's names.
    pub names: Arc<Names>,
    /// What rows must become.
    pub shape: Arc<Shape>,
    /// What a replay may leave behind.
    pub delivery: Delivery,
    /// Counters.
    pub meter: Arc<PipelineMeter>,
    /// Where the sink's own I/O runs while a lane waits for it (a table that nobody has met).
    pub runtime: tokio::runtime::Handle,
}

/// One line of `bridge check`.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What was looked at: `sink`, `table`.
    pub subject: &'static str,
    /// Its name.
    pub name: String,
    /// How it is.
    pub state: FindingState,
    /// Who must act, where something is not right: a server that is away may come back.
    pub blame: Blame,
    /// What was seen.
    pub note: String,
    /// What to do, where something is not right.
    pub fix: Option<String>,
}

impl Finding {
    /// All is right.
    pub fn ok(subject: &'static str, name: impl Into<String>, note: impl Into<String>) -> Finding {
        let (name, note) = (name.into(), note.into());
        Finding { subject, name, state: FindingState::Ok, blame: Blame::World, note, fix: None }
    }

    /// What was tried did not work.
    pub fn failed(subject: &'static str, name: impl Into<String>, fault: &Fault) -> Finding {
        Finding {
            subject,
            name: name.into(),
            state: FindingState::Fail,
            blame: fault.blame,
            note: fault.message.clone(),
            fix: fault.hint.clone(),
        }
    }
}

/// How something that was checked is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FindingState {
    /// Right.
    Ok,
    /// It will run, but not as one would want.
    Warn,
    /// It will not run.
    Fail,
}

/// A sink, built.
pub trait Sink: Send + Sync {
    /// Knocks on the sink's doors: reachable, permitted, table as it must be. With `prepare` it
    /// also makes what is missing and allowed to be made.
    fn check(&self, prepare: bool) -> BoxFuture<'_, Vec<Finding>>;

    /// How the tables that the file names differ from those that are there; none where the sink
    /// has no tables.
    fn migrations(&self) -> BoxFuture<'_, Result<Vec<Migration>, Fault>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Runs one statement of them.
    fn migrate<'a>(&'a self, _statement: &'a str) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async { Err(Fault::us("a statement for a sink that has no tables")) })
    }

    /// From now on what would make tables or columns is noted here and not run, and encoders go on
    /// as if it had been. Said before the first row, and for good.
    fn note(&self, _notes: Arc<Notes>) {}

    /// The table, or topic, that a line of a payload is a row of; `None` where it is no row.
    fn table_of(&self, payload: &Payload, _line: &Line) -> Option<Arc<str>> {
        Some(Arc::clone(&payload.table))
    }

    /// An encoder for one lane.
    fn encoder(&self) -> Box<dyn Encoder>;

    /// What makes keys that have a schema, for whoever has records of values that no encoder wrote.
    fn keys(&self) -> Option<schema::Keys> {
        None
    }

    /// A courier: owns one connection (and what it needs to prove what that one stored).
    fn courier(&self, index: usize) -> Box<dyn Courier>;

    /// What must go on beside the couriers (watching tables), until `stop` turns true.
    fn keeper(&self, stop: watch::Receiver<bool>) -> BoxFuture<'static, Result<(), Fault>>;

    /// Tells everything that waits (a lane, for a table) to give up: the pipeline is stopped hard.
    fn abandon(&self);

    /// Whether it commits the group's offsets itself, together with the rows: nobody else may then,
    /// and what is refused on the way must be stored before the rows behind it.
    fn commits_offsets(&self) -> bool {
        false
    }

    /// The group whose offsets it commits; told before the first row.
    fn join(&self, _group: Membership) {}

    /// Who claims partitions before they are read, where the sink itself keeps how far each is.
    fn claims(&self) -> Option<Arc<dyn Claims>> {
        None
    }

    /// What keeps the sink from taking rows just now, in words, if anything does. What it takes
    /// slowly is no trouble.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// Rows go to another sink from now on, or here again. While it rests, what is wrong here is no
    /// trouble of the pipeline's, and nobody is there to notice that it is over: all that couriers
    /// said is forgotten.
    fn rest(&self, _rests: bool) {}

    /// Tells a lane that waits here (for a table) to give up, this once: its encoder ends with an
    /// error, and the batch is read again.
    fn interrupt(&self) {}

    /// What tells the server from every other, where it can be asked.
    fn identity(&self) -> BoxFuture<'_, Option<String>> {
        Box::pin(async { None })
    }
}

/// Partitions to claim.
pub type Wanted = Vec<(PartitionIndex, TopicPartition)>;

/// Where each partition that was claimed goes on; `None` where nothing of it is stored.
pub type Claimed = Vec<(PartitionIndex, Option<i64>)>;

/// Claims partitions: from then on, and until somebody else claims them, only we store rows of
/// theirs.
pub trait Claims: Send + Sync {
    /// How long a partition that is to be read again is left alone first: it may be somebody
    /// else's by now.
    fn patience(&self, partition: PartitionIndex) -> Duration;

    /// Claims partitions, for as long as it takes.
    fn claim(self: Arc<Self>, wanted: Wanted) -> BoxFuture<'static, Result<Claimed, Fault>>;
}

/// Turns rows into payloads. One instance for each lane.
pub trait Encoder: Send {
    /// Appends every row to the open payload of its destination; refuses rows that do not fit.
    fn encode(
        &mut self,
        records: &RecordBatch,
        rows: &RowBatch,
        rejects: &mut Rejects,
        outbox: &mut Outbox,
    ) -> Result<(), Fault>;
}

/// How much a courier may hold, and send as one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Commit {
    /// Bytes of all payloads at hand, the positions of their rows included.
    pub bytes_max: usize,
    /// Rows of one request.
    pub rows_max: usize,
}

/// A courier's doors.
pub struct CourierDoors {
    /// Payloads to be stored; closed when the lane has ended: store the rest, then return.
    pub inbox: mpsc::Receiver<Payload>,
    /// Receipts go home.
    pub home: Home,
    /// Records that the database refused.
    pub dead_letters: Letters,
    /// Emptied buffers go back to the lanes.
    pub pool: Arc<Pool>,
    /// What a courier may hold, and send as one.
    pub commit: Commit,
    /// Raised when a partition must be let go although something is under way: drop the
    /// connection, give back every payload at hand with [`crate::batch::Verdict::Rewind`].
    pub reset: watch::Receiver<u64>,
}

/// Gets payloads stored.
pub trait Courier: Send {
    /// Runs until the inbox is closed and empty. A payload is never dropped: its shares go home
    /// in a receipt, stored or to be read again. An error is the operator's or our own fault;
    /// what the world does wrong is retried for as long as it takes.
    fn run(self: Box<Self>, doors: CourierDoors) -> BoxFuture<'static, Result<(), Fault>>;
}

/// A courier's way to the dead letters.
#[derive(Clone)]
pub struct Letters {
    sender: mpsc::Sender<Rejected>,
    /// The sink's name, where a pipeline has several that rows go to.
    sink: Option<Arc<str>>,
}

/// Room for one of them.
pub struct Permit<'a> {
    permit: mpsc::Permit<'a, Rejected>,
    sink: &'a Option<Arc<str>>,
}

impl Letters {
    /// The way there; with the sink's name, where letters are to say whose they are.
    pub fn new(sender: mpsc::Sender<Rejected>, sink: Option<Arc<str>>) -> Letters {
        Letters { sender, sink }
    }

    /// Waits for room; `None` if the dead letters have ended, for the pipeline is stopped hard.
    pub async fn reserve(&self) -> Option<Permit<'_>> {
        let permit = self.sender.reserve().await.ok()?;
        Some(Permit { permit, sink: &self.sink })
    }
}

impl Permit<'_> {
    /// Hands over a record that the sink refused.
    pub fn refuse(self, mut refusal: Refusal, shares: Vec<Share>) {
        refusal.detail = named(self.sink.as_deref(), refusal.detail);
        self.send(refusal, shares, None);
    }

    /// The same; heard when it is stored. Nothing is heard if the dead letters have ended.
    pub fn refuse_and_hear(
        self,
        mut refusal: Refusal,
        shares: Vec<Share>,
    ) -> oneshot::Receiver<()> {
        refusal.detail = named(self.sink.as_deref(), refusal.detail);
        let (kept, heard) = Kept::pair();
        self.send(refusal, shares, Some(kept));
        heard
    }

    fn send(self, refusal: Refusal, shares: Vec<Share>, kept: Option<Kept>) {
        self.permit.send(Rejected { rejects: vec![], refusals: vec![refusal], shares, kept });
    }
}

/// What a sink says, with its name in front where it has one.
pub fn named(sink: Option<&str>, detail: String) -> String {
    match sink {
        Some(sink) => format!("{sink}: {detail}"),
        None => detail,
    }
}

/// The way home for receipts.
#[derive(Clone)]
pub struct Home {
    sender: mpsc::Sender<Receipt>,
    waker: Waker,
    /// Rows that came this way as stored.
    rows_stored: Arc<Counter>,
}

impl Home {
    /// A way home that wakes the intake.
    pub fn new(sender: mpsc::Sender<Receipt>, waker: Waker) -> Home {
        Home { sender, waker, rows_stored: Arc::default() }
    }

    /// The same way, with what is stored counted on it.
    pub fn counting(&self, rows_stored: Arc<Counter>) -> Home {
        Home { rows_stored, ..self.clone() }
    }

    fn count(&self, receipt: &Receipt) {
        if matches!(receipt.verdict, Verdict::Stored) {
            self.rows_stored.add(receipt.rows);
        }
    }

    /// Sends a receipt home from a task.
    pub async fn send(&self, receipt: Receipt) {
        // The receiver outlives every courier; at a hard stop it is gone, and the shares count
        // as lost, which is right: nothing is committed any more.
        self.count(&receipt);
        let _ = self.sender.send(receipt).await;
        (self.waker)();
    }

    /// Sends a receipt home from a thread.
    pub fn blocking_send(&self, receipt: Receipt) {
        self.count(&receipt);
        let _ = self.sender.blocking_send(receipt);
        (self.waker)();
    }
}
