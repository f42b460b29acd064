//! Where records come from. Lives on the intake thread; nothing here waits, except
//! [`Source::wait`].

pub mod kafka;
pub mod memory;
mod owned;
mod wake;

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::batch::{PartitionIndex, Taken, TopicPartition};
use crate::blame::Fault;
use crate::config::KafkaPlan;
use crate::kafka::check::Sample;
use crate::kind::Kind;
use crate::limits::Limits;

pub use kafka::Membership;
pub use owned::{OwnedRecord, lend};

/// Every source with a section of its own, by name. Kafka has none: its keys are the pipeline's.
pub const KINDS: &[Kind<dyn SourcePlan>] = &[memory::KIND];

/// A source as configured.
pub trait SourcePlan: Send + Sync + Debug {
    /// Paths of files start from this folder: the configuration's own.
    fn rebase(&mut self, _base: &Path) {}

    /// Opens it. `ignored` are expressions of topics that an expression must not find: the
    /// pipeline's own dead letters.
    fn open(&self, limits: &Limits, ignored: &[String]) -> Result<Opened, Fault>;

    /// How Kafka is reached, if records come from there: dead letters may go there, too.
    fn kafka(&self) -> Option<&KafkaPlan>;

    /// Up to `count` records to try a pipeline on. Takes them from nobody.
    fn sample(&self, ignored: &[String], count: usize) -> Result<Vec<Sample>, Fault>;

    /// Lines of `bridge explain`: (subject, text).
    fn explain(&self) -> Vec<(String, String)>;
}

/// Names behind partition indexes, for those outside the intake thread.
pub type NameOf = Arc<dyn Fn(PartitionIndex) -> TopicPartition + Send + Sync>;

/// A source that was opened, and what goes with it.
pub struct Opened {
    /// The source.
    pub source: Box<dyn Source>,
    /// Names behind partition indexes.
    pub name_of: NameOf,
    /// Reads single records again.
    pub reread: Box<dyn Reread>,
    /// The consumer group, where there is one.
    pub group: Option<Membership>,
}

/// Wakes the intake out of [`Source::wait`]; called by couriers when a receipt is ready.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// What a source has to say besides records.
#[derive(Debug)]
pub enum Event {
    /// Partitions are ours now. Records can be taken as soon as [`Source::start`] is called.
    Assigned(Vec<PartitionIndex>),
    /// Partitions are to be given up: drain them, commit, then call [`Source::release`].
    Revoked(Vec<PartitionIndex>),
    /// Partitions are gone already; nothing of theirs can be committed.
    Lost(Vec<PartitionIndex>),
    /// A bounded source has no more records in this partition: all were taken.
    Ended(PartitionIndex),
    /// So many offsets of this partition were passed over, because they are no longer in the log.
    Missed(PartitionIndex, u64),
    /// This partition is another log than before, and is read from this offset, which is not after
    /// where it stood: what was taken of it before moves no commit point any more.
    WentBack(PartitionIndex, i64),
}

/// Where one partition's commit point stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommitPoint {
    /// The partition.
    pub partition: PartitionIndex,
    /// The offset to go on from: everything before it is stored.
    pub next: i64,
}

/// How far the source is ahead of what was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lag {
    /// The partition.
    pub partition: PartitionIndex,
    /// The offset after the last record that could be read (the last stable offset).
    pub end: i64,
    /// No record before it is left to be taken.
    pub position: i64,
}

/// A source of records in partitions.
pub trait Source: Send {
    /// The name of a partition that this source has mentioned.
    fn name_of(&self, partition: PartitionIndex) -> TopicPartition;

    /// Serves the source without waiting; the next event, if there is one. Must be called at
    /// least every few seconds, whatever else happens.
    fn poll(&mut self) -> Result<Option<Event>, Fault>;

    /// Begins to read assigned partitions, each at the given offset (or before it, where its own
    /// books are not that far), or where the source's own rules say (`None`).
    fn start(&mut self, at: &[(PartitionIndex, Option<i64>)]) -> Result<(), Fault>;

    /// Takes what is there, without waiting: at most `records_max`, in order. None at all, but with
    /// a span, were left out by the source.
    fn take(
        &mut self,
        partition: PartitionIndex,
        records_max: usize,
    ) -> Result<Option<Taken>, Fault>;

    /// Stops fetching a partition, keeps it assigned.
    fn pause(&mut self, partition: PartitionIndex) -> Result<(), Fault>;

    /// Goes on fetching.
    fn resume(&mut self, partition: PartitionIndex) -> Result<(), Fault>;

    /// Reads a partition again from `next`. Everything taken before is forgotten by the source.
    fn rewind(&mut self, partition: PartitionIndex, next: i64) -> Result<(), Fault>;

    /// Makes progress known. With `wait`, returns only when this and all before it is kept, or
    /// failed.
    fn commit(&mut self, points: &[CommitPoint], wait: bool) -> Result<(), Fault>;

    /// Whether what is ours was given to others without asking us: no commit of it succeeds any
    /// more. [`Event::Lost`] tells of it at one of the next polls.
    fn has_lost(&self) -> bool;

    /// Answers a revocation: the partitions are drained.
    fn release(&mut self, partitions: &[PartitionIndex]) -> Result<(), Fault>;

    /// The ends of the partitions as last seen.
    fn lag(&mut self) -> Vec<Lag>;

    /// Waits until something may have arrived, the waker was pulled, or `deadline`.
    fn wait(&mut self, deadline: Instant);

    /// Wakes [`Source::wait`] from any thread.
    fn waker(&self) -> Waker;

    /// Leaves: nothing is taken after this.
    fn close(&mut self, timeout: Duration);
}

/// Reads single records again. Blocks; called from the dead letters' thread only.
pub trait Reread: Send {
    /// The record at `offset`, or `None` if it is there no more.
    fn reread(
        &mut self,
        partition: &TopicPartition,
        offset: i64,
    ) -> Result<Option<OwnedRecord>, Fault>;
}
