//! Dead letters: refused records are stored, with all that is needed to put them right, before
//! their offsets commit. A thread of its own; it never loses a share: what the world does wrong is
//! tried again for as long as it takes.
//!
//! ```text
//! lane ────Rejected──▶ DeadLetters ──letters──▶ topic (acks=all) or file (synced)
//! courier ─Refusal──▶      │  └── read again from Kafka first
//!                          └── Receipt ──▶ ledger
//! ```

mod file;
mod letter;
#[cfg(test)]
mod tests;
mod topic;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

pub use file::FileShelf;
pub use letter::{HEADERS, Letter, Stamp};
pub use topic::TopicShelf;

use crate::batch::{Receipt, Refusal, TopicPartition, Verdict};
use crate::blame::{Blame, Fault};
use crate::config::{KafkaPlan, RejectsPlan};
use crate::observe::PipelineMeter;
use crate::reject::{Kept, Reason, Rejected, Stage};
use crate::sink::Home;
use crate::source::{NameOf, Reread};

/// Rejects that are stored in one go, at most; what comes in a burst shares its waiting.
const BURST: usize = 1_000;
/// The first wait after a failure, doubled up to the longest.
const BACK_OFF: Duration = Duration::from_millis(100);
/// The longest wait between two tries.
const BACK_OFF_MAX: Duration = Duration::from_secs(5);
/// One warning for each reason in this time.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// Where letters are kept.
pub trait Shelf: Send {
    /// Stores all letters so that they survive, or says why not. Letters that were stored before
    /// a failure may be stored again.
    fn store(&mut self, letters: &[Letter], stamp: &Stamp) -> Result<(), Fault>;

    /// Where a record's letter goes, for messages.
    fn place(&self, source: &TopicPartition) -> String;
}

/// The shelf that the plan asks for. Opens nothing.
pub fn shelf(plan: &RejectsPlan, kafka: Option<&KafkaPlan>) -> Result<Box<dyn Shelf>, Fault> {
    match (plan, kafka) {
        (RejectsPlan::File { path }, _) => Ok(Box::new(FileShelf::new(path))),
        (RejectsPlan::Topic { topic }, Some(kafka)) => Ok(Box::new(TopicShelf::new(topic, kafka)?)),
        (RejectsPlan::Topic { topic }, None) => {
            Err(Fault::us(format!("a plan without Kafka has dead letters in topic {topic}")))
        }
    }
}

/// Expressions of the topics that hold a pipeline's own dead letters: an expression for its topics
/// must not find them.
pub fn own_topics(plan: &RejectsPlan) -> Vec<String> {
    match plan {
        RejectsPlan::File { .. } => Vec::new(),
        RejectsPlan::Topic { topic } => {
            let parts: Vec<String> =
                topic.split("{topic}").map(crate::kafka::topics::escaped).collect();
            vec![format!("^{}$", parts.join(".*"))]
        }
    }
}

/// The courier of refused records.
pub struct DeadLetters {
    /// The pipeline's name.
    pub pipeline: Arc<str>,
    /// Where letters are kept.
    pub shelf: Box<dyn Shelf>,
    /// Names behind partition indexes.
    pub name_of: NameOf,
    /// Reads again what the database refused.
    pub reread: Box<dyn Reread>,
    /// Counters.
    pub meter: Arc<PipelineMeter>,
    /// Turns true when the pipeline is stopped hard: nothing is tried again after that.
    pub abandoned: watch::Receiver<bool>,
}

impl DeadLetters {
    /// Runs until the inbox is closed and empty. Blocks: give it a thread.
    pub fn run(mut self, mut inbox: mpsc::Receiver<Rejected>, home: &Home) -> Result<(), Fault> {
        let mut crier = Crier::default();
        while let Some(first) = inbox.blocking_recv() {
            let mut shares = first.shares;
            let (mut rejects, mut refusals) = (first.rejects, first.refusals);
            let mut kept: Vec<Kept> = first.kept.into_iter().collect();
            while rejects.len() + refusals.len() < BURST {
                let Ok(more) = inbox.try_recv() else { break };
                rejects.extend(more.rejects);
                refusals.extend(more.refusals);
                shares.extend(more.shares);
                kept.extend(more.kept);
            }
            let mut letters: Vec<Letter> = Vec::with_capacity(rejects.len() + refusals.len());
            for reject in rejects {
                letters.push(Letter::of(reject, &self.name_of));
            }
            for refusal in refusals {
                self.meter.reject(refusal.reason, 1);
                letters.push(self.retrieve(refusal)?);
            }
            self.store(&letters)?;
            crier.cry(&letters, self.shelf.as_ref(), &self.meter);
            self.meter.rejects_stored.add(letters.len() as u64);
            kept.into_iter().for_each(Kept::say);
            home.blocking_send(Receipt { shares, verdict: Verdict::Stored, rows: 0 });
        }
        Ok(())
    }

    fn store(&mut self, letters: &[Letter]) -> Result<(), Fault> {
        if letters.is_empty() {
            return Ok(());
        }
        let DeadLetters { shelf, pipeline, meter, abandoned, .. } = self;
        persist(meter, abandoned, || {
            let stamp = Stamp { pipeline: pipeline.to_string(), time: jiff::Timestamp::now() };
            shelf.store(letters, &stamp)
        })
    }

    /// The letter of a record that the database refused, after its bytes were gone.
    fn retrieve(&mut self, refusal: Refusal) -> Result<Letter, Fault> {
        let source = (self.name_of)(refusal.partition);
        let DeadLetters { reread, meter, abandoned, .. } = self;
        let found = persist(meter, abandoned, || reread.reread(&source, refusal.offset))?;
        let mut detail = refusal.detail;
        if found.is_none() {
            detail.push_str(" (the record is not in the log any more)");
        }
        let found = found.unwrap_or_default();
        Ok(Letter {
            source,
            offset: refusal.offset,
            timestamp_ms: found.timestamp_ms,
            key: found.key,
            value: found.value,
            headers: found.headers,
            stage: Stage::Sink,
            reason: refusal.reason,
            detail,
        })
    }
}

/// Tries until it works, the operator has to act, or the pipeline is stopped hard.
fn persist<T>(
    meter: &PipelineMeter,
    abandoned: &watch::Receiver<bool>,
    mut attempt: impl FnMut() -> Result<T, Fault>,
) -> Result<T, Fault> {
    let mut wait = BACK_OFF;
    let mut since = None;
    loop {
        let fault = match attempt() {
            Ok(done) => {
                if since.is_some() {
                    meter.set_trouble("");
                }
                return Ok(done);
            }
            Err(fault) if fault.blame == Blame::World && !*abandoned.borrow() => fault,
            Err(fault) => return Err(fault),
        };
        meter.retries.add(1);
        meter.set_trouble(fault.message.clone());
        if since.is_none_or(|at: Instant| at.elapsed() > WARN_EVERY) {
            since = Some(Instant::now());
            tracing::warn!("{}; retrying, next in {} ms", fault.message, wait.as_millis());
        }
        let until = Instant::now() + wait;
        while Instant::now() < until && !*abandoned.borrow() {
            std::thread::sleep(BACK_OFF.min(wait));
        }
        wait = (wait * 2).min(BACK_OFF_MAX);
    }
}

/// Says what was rejected, once in a while for each reason.
#[derive(Default)]
struct Crier {
    heard: HashMap<Reason, (Option<Instant>, u64)>,
}

impl Crier {
    fn cry(&mut self, letters: &[Letter], shelf: &dyn Shelf, meter: &PipelineMeter) {
        for letter in letters {
            let (at, silent) = self.heard.entry(letter.reason).or_default();
            if at.is_some_and(|at| at.elapsed() < WARN_EVERY) {
                *silent += 1;
                continue;
            }
            let more = match std::mem::take(silent) {
                0 => String::new(),
                more => format!("; {more} more for this reason since the last warning"),
            };
            *at = Some(Instant::now());
            tracing::warn!(
                "record {}@{} rejected by {} ({}: {}); sent to {}, {} of {}{more}",
                letter.source,
                letter.offset,
                letter.stage.name(),
                letter.reason.name(),
                letter.detail,
                shelf.place(&letter.source),
                meter.rejected_total(),
                meter.records_in.get(),
            );
        }
    }
}
