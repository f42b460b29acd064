//! Exactly once: how far each partition is stands in a table beside the rows, moved in the
//! transaction that stores them, by compare-and-set.
//!
//! ```text
//! assigned ──claim──▶ epoch + 1, next_offset ──▶ read from there
//! payload  ──▶ BEGIN · is it still mine? · COPY … · next_offset: old → new, if it is mine · COMMIT
//! ```
//!
//! Who finds another epoch has lost the partition: nothing of the payload is stored, and it is
//! claimed again only if Kafka still says that it is ours. Who finds his own epoch and another
//! offset has lost the answer to a COMMIT: the rows before it are there. The offset is moved last,
//! in one message with the COMMIT, so that a process which is stopped half-way holds no lock on it.
//!
//! An offset says that everything before it is stored. So where rows go back unstored, whatever
//! the reason, nothing behind them is stored before their partition is claimed and read again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::failure::{Failure, Fate};
use super::layout::literal;
use super::link::Link;
use super::patient::{GaveUp, Patient, Rows};
use crate::batch::{Line, PartitionIndex, TopicPartition};
use crate::blame::Fault;
use crate::sink::job::Job;
use crate::sink::{BoxFuture, Claimed, Claims};

/// Makes the table.
pub const CREATE: &str = "CREATE TABLE IF NOT EXISTS bridge_progress (pipeline text NOT NULL, \
     topic text NOT NULL, partition integer NOT NULL, next_offset bigint NOT NULL, epoch bigint \
     NOT NULL, owner text NOT NULL, PRIMARY KEY (pipeline, topic, partition))";
/// `next_offset` of a partition of which nothing is stored.
const NOTHING: i64 = -1;
/// A partition that somebody else claimed is left to them for so long: who was frozen hears from
/// Kafka within this time that it is not theirs any more.
const PATIENCE: Duration = Duration::from_secs(2);

/// What this process knows of a partition that it claimed.
#[derive(Clone, Debug)]
struct Claim {
    source: TopicPartition,
    epoch: i64,
    next: i64,
    fenced: bool,
    /// Rows of it went back unstored.
    closed: bool,
}

/// The partitions that this process has claimed.
pub struct Progress {
    pipeline: Arc<str>,
    owner: String,
    patient: Arc<Patient>,
    makes_tables: bool,
    claims: Mutex<HashMap<PartitionIndex, Claim>>,
}

/// How a partition moves with a transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    partition: PartitionIndex,
    source: TopicPartition,
    epoch: i64,
    old: i64,
    new: i64,
}

/// What of a job is to be stored.
#[derive(Default, Debug)]
pub struct Due {
    /// How partitions move, in the order of their names: locks are taken in one order.
    pub steps: Vec<Step>,
    /// Partitions of which some rows are there already: those before this offset.
    floors: Vec<(PartitionIndex, i64)>,
}

impl Due {
    /// Whether a row is to be stored.
    #[inline]
    pub fn takes(&self, line: &Line) -> bool {
        let is_there =
            |(at, next): &(PartitionIndex, i64)| *at == line.partition && line.offset < *next;
        self.floors.is_empty() || !self.floors.iter().any(is_there)
    }
}

/// What the table says after a compare-and-set that failed.
pub enum Seen {
    /// Somebody else has the partition.
    Fenced,
    /// It is where a COMMIT of ours moved it; rows before it are there.
    Moved,
    /// It is where we thought.
    Same,
}

impl Progress {
    /// Knows nothing yet.
    pub fn new(pipeline: Arc<str>, patient: Arc<Patient>, makes_tables: bool) -> Progress {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let owner = format!("{}:{}", host.trim(), std::process::id());
        Progress { pipeline, owner, patient, makes_tables, claims: Mutex::default() }
    }

    /// What of a job's next transaction is to be stored; `None` if one of its partitions is not
    /// ours.
    pub fn due(&self, job: &Job) -> Option<Due> {
        // (partition, its first offset, the offset after its last).
        let mut spans: Vec<(PartitionIndex, i64, i64)> = Vec::new();
        let mut at = 0;
        for line in job.request().flat_map(|piece| piece.lines()) {
            if spans.get(at).is_none_or(|(partition, ..)| *partition != line.partition) {
                let known = spans.iter().position(|(partition, ..)| *partition == line.partition);
                at = known.unwrap_or(spans.len());
                if known.is_none() {
                    spans.push((line.partition, line.offset, line.offset + 1));
                }
            }
            let (_, first, next) = &mut spans[at];
            (*first, *next) = ((*first).min(line.offset), (*next).max(line.offset + 1));
        }
        let claims = self.claims.lock().expect("no one panics with it");
        let mut due = Due::default();
        for (partition, first, new) in spans {
            let claim = claims.get(&partition).filter(|claim| !claim.fenced && !claim.closed)?;
            if first < claim.next {
                due.floors.push((partition, claim.next));
            }
            if new > claim.next {
                let (source, epoch, old) = (claim.source.clone(), claim.epoch, claim.next);
                due.steps.push(Step { partition, source, epoch, old, new });
            }
        }
        due.steps.sort_by(|a, b| a.source.cmp(&b.source));
        Some(due)
    }

    /// These rows go back unstored.
    pub fn close<'a>(&self, lines: impl Iterator<Item = &'a Line>) {
        let mut claims = self.claims.lock().expect("no one panics with it");
        let mut last = None;
        for line in lines.filter(|line| last.replace(line.partition) != Some(line.partition)) {
            if let Some(claim) = claims.get_mut(&line.partition) {
                claim.closed = true;
            }
        }
    }

    /// The transaction is committed.
    pub fn advance(&self, due: &Due) {
        let mut claims = self.claims.lock().expect("no one panics with it");
        for step in &due.steps {
            if let Some(claim) = claims.get_mut(&step.partition)
                && claim.epoch == step.epoch
            {
                claim.next = claim.next.max(step.new);
            }
        }
    }

    /// Counts the partitions that are where a transaction believes them; no lock is taken.
    pub fn early(&self, due: &Due) -> String {
        let at = |step: &Step| format!("({})", self.holds(step));
        let all: Vec<String> = due.steps.iter().map(at).collect();
        format!("SELECT count(*) FROM bridge_progress WHERE {}", all.join(" OR "))
    }

    /// Moves every partition, and commits: a division by zero where one is not where it was, which
    /// ends the message before its COMMIT.
    pub fn commit(&self, due: &Due) -> String {
        let mut statements = String::new();
        for step in &due.steps {
            let (new, holds) = (step.new, self.holds(step));
            statements.push_str(&format!(
                "WITH moved AS (UPDATE bridge_progress SET next_offset = {new} WHERE {holds} \
                 RETURNING 1) SELECT 1 / count(*) FROM moved; "
            ));
        }
        statements + "COMMIT"
    }

    fn holds(&self, step: &Step) -> String {
        let Step { source, epoch, old, .. } = step;
        format!("{} AND next_offset = {old} AND epoch = {epoch}", self.is(source))
    }

    fn is(&self, source: &TopicPartition) -> String {
        let (pipeline, topic) = (literal(&self.pipeline), literal(&source.topic));
        let partition = source.partition;
        format!("pipeline = {pipeline} AND topic = {topic} AND partition = {partition}")
    }

    /// Looks where the partitions of a transaction are that did not commit.
    pub async fn look(&self, link: &mut Link, due: &Due) -> Result<Seen, Failure> {
        let mut seen = Seen::Same;
        for step in &due.steps {
            let query = format!(
                "SELECT next_offset, epoch, owner FROM bridge_progress WHERE {}",
                self.is(&step.source)
            );
            let rows = link.rows(&query).await?;
            let (next, epoch) = (number(&rows, 0, 0), number(&rows, 0, 1));
            let mut claims = self.claims.lock().expect("no one panics with it");
            let Some(claim) = claims.get_mut(&step.partition) else { continue };
            if epoch != Some(claim.epoch) {
                claim.fenced = true;
                let owner = rows.first().and_then(|row| row.get(2)?.clone());
                let owner = owner.unwrap_or_else(|| "nobody".to_owned());
                let (pipeline, source) = (&self.pipeline, &step.source);
                tracing::warn!(
                    "{pipeline}: {source} was claimed by {owner}; what this process had of it is \
                     not stored, and is read again if it is still ours"
                );
                return Ok(Seen::Fenced);
            }
            if let Some(next) = next.filter(|next| *next != claim.next) {
                claim.next = next;
                seen = Seen::Moved;
            }
        }
        Ok(seen)
    }

    async fn claim(
        &self,
        mut asked: Vec<(PartitionIndex, TopicPartition)>,
    ) -> Result<Claimed, Fault> {
        asked.sort_by(|a, b| a.1.cmp(&b.1));
        let claim = |(_, source): &(PartitionIndex, TopicPartition)| {
            let (pipeline, topic) = (literal(&self.pipeline), literal(&source.topic));
            let (partition, owner) = (source.partition, literal(&self.owner));
            format!(
                "INSERT INTO bridge_progress AS p (pipeline, topic, partition, next_offset, epoch, \
                 owner) VALUES ({pipeline}, {topic}, {partition}, {NOTHING}, 1, {owner}) ON \
                 CONFLICT (pipeline, topic, partition) DO UPDATE SET epoch = p.epoch + 1, owner = \
                 EXCLUDED.owner RETURNING next_offset, epoch"
            )
        };
        let statements: Vec<String> = asked.iter().map(claim).collect();
        let rows = self.claimed(&statements.join("; ")).await?;
        let mut claims = self.claims.lock().expect("no one panics with it");
        let mut claimed = Vec::with_capacity(asked.len());
        for (row, (partition, source)) in asked.into_iter().enumerate() {
            let (Some(next), Some(epoch)) = (number(&rows, row, 0), number(&rows, row, 1)) else {
                return Err(Fault::us(format!("claiming {source}: an answer without numbers")));
            };
            claims.insert(partition, Claim { source, epoch, next, fenced: false, closed: false });
            claimed.push((partition, (next != NOTHING).then_some(next)));
        }
        Ok(claimed)
    }

    /// Claims, and makes the table where it is missing.
    async fn claimed(&self, statements: &str) -> Result<Rows, Fault> {
        let mut made = false;
        loop {
            let failure = match self.patient.run(statements).await {
                Ok(rows) => return Ok(rows),
                Err(GaveUp::Said(failure)) => failure,
                Err(GaveUp::Stopped) => {
                    return Err(Fault::world("stopped while partitions were claimed"));
                }
            };
            let missing = failure.fate() == Fate::Changed;
            let fault = Fault::operator(format!(
                "{}: claiming partitions in bridge_progress: {}",
                self.pipeline,
                failure.words()
            ));
            if !missing || made {
                return Err(fault.hint(failure.hint()));
            }
            if !self.makes_tables {
                return Err(fault.hint(format!("make it, or allow it with auto_create:\n{CREATE}")));
            }
            made = true;
            if let Err(GaveUp::Said(failure)) = self.patient.run(CREATE).await {
                let said =
                    format!("{}: making bridge_progress: {}", self.pipeline, failure.words());
                return Err(Fault::operator(said).hint(failure.hint()));
            }
        }
    }
}

impl Claims for Progress {
    fn patience(&self, partition: PartitionIndex) -> Duration {
        let claims = self.claims.lock().expect("no one panics with it");
        match claims.get(&partition).is_some_and(|claim| claim.fenced) {
            true => PATIENCE,
            false => Duration::ZERO,
        }
    }

    fn claim(
        self: Arc<Self>,
        partitions: Vec<(PartitionIndex, TopicPartition)>,
    ) -> BoxFuture<'static, Result<Claimed, Fault>> {
        Box::pin(async move { Progress::claim(&self, partitions).await })
    }
}

fn number(rows: &Rows, row: usize, column: usize) -> Option<i64> {
    rows.get(row)?.get(column)?.as_deref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Instant;

    use proptest::prelude::*;

    use super::super::link::Door;
    use super::super::options::PostgresPlan;
    use super::*;
    use crate::batch::{Buffers, Payload, Route};
    use crate::config::Section;
    use crate::sink::retry::Trouble;

    /// Progress of these partitions: the offsets before each are stored.
    fn progress(next: &[i64]) -> Progress {
        let plan = PostgresPlan::parse(&Section::new("sink", toml::Table::new())).expect("a plan");
        let door = Arc::new(Door::new(&plan, "p").expect("nothing to read"));
        let trouble = Arc::new(Trouble::new("p".into(), "postgres".into(), Arc::default()));
        let patient = Arc::new(Patient::new(door, trouble));
        let progress = Progress::new("p'1".into(), patient, true);
        for (index, next) in next.iter().enumerate() {
            // Names sort against the indexes.
            let source = TopicPartition { topic: "t".into(), partition: 9 - index as i32 };
            let claim = Claim { source, epoch: 7, next: *next, fenced: false, closed: false };
            let mut claims = progress.claims.lock().expect("no one panics with it");
            claims.insert(PartitionIndex(index as u32), claim);
        }
        progress
    }

    fn job(of: &[(u32, i64)]) -> Job {
        let mut buffers = Buffers::default();
        for (index, (partition, offset)) in of.iter().enumerate() {
            buffers.bytes.push(0);
            let (partition, end) = (PartitionIndex(*partition), index as u32 + 1);
            buffers.lines.push(Line { offset: *offset, partition, row: 0, layout: 0, end });
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
        /// The reference: a row is due if its offset was not passed; a partition moves behind the
        /// last of its due rows.
        #[test]
        fn what_is_due_is_what_was_not_passed(
            next in prop::collection::vec(-1_i64..30, 3),
            rows in prop::collection::vec((0_u32..3, 0_i64..30), 1..60),
        ) {
            let mut rows = rows;
            rows.sort_by_key(|(_, offset)| *offset);
            let progress = progress(&next);
            let job = job(&rows);
            let due = progress.due(&job).expect("all are ours");
            let mut moves: BTreeMap<u32, i64> = BTreeMap::new();
            for line in job.request().flat_map(|piece| piece.lines()) {
                let is_due = line.offset >= next[line.partition.0 as usize];
                prop_assert_eq!(due.takes(line), is_due);
                if is_due {
                    let to = moves.entry(line.partition.0).or_default();
                    *to = (*to).max(line.offset + 1);
                }
            }
            let seen: Vec<(u32, i64, i64)> =
                due.steps.iter().map(|step| (step.partition.0, step.old, step.new)).collect();
            let moved = moves.iter().rev();
            let wanted: Vec<(u32, i64, i64)> =
                moved.map(|(at, new)| (*at, next[*at as usize], *new)).collect();
            prop_assert_eq!(seen, wanted, "in the order of their names");
            progress.advance(&due);
            let again = progress.due(&job).expect("all are ours");
            prop_assert!(again.steps.is_empty());
            let mut lines = job.request().flat_map(|piece| piece.lines());
            prop_assert!(!lines.any(|line| again.takes(line)));
        }
    }

    #[test]
    fn a_partition_of_somebody_else_holds_all_of_a_job() {
        let progress = progress(&[0, 0]);
        assert!(progress.due(&job(&[(0, 1), (1, 1)])).is_some());
        assert!(progress.due(&job(&[(0, 1), (2, 1)])).is_none(), "it was never claimed");
        let mut claims = progress.claims.lock().expect("no one panics with it");
        claims.get_mut(&PartitionIndex(1)).expect("it is there").fenced = true;
        drop(claims);
        assert!(progress.due(&job(&[(0, 1), (1, 1)])).is_none());
        assert_eq!(progress.patience(PartitionIndex(0)), Duration::ZERO);
        assert_eq!(progress.patience(PartitionIndex(1)), PATIENCE);
    }

    #[test]
    fn nothing_is_stored_behind_rows_that_went_back() {
        let progress = progress(&[0, 0]);
        let (back, behind) = (job(&[(0, 1), (0, 2)]), job(&[(0, 3), (1, 3)]));
        progress.close(back.lines_left());
        assert!(progress.due(&behind).is_none(), "rows 1 and 2 would never be stored");
        assert!(progress.due(&job(&[(1, 3)])).is_some());
        assert_eq!(progress.patience(PartitionIndex(0)), Duration::ZERO);
    }

    #[test]
    fn a_move_is_conditional_and_comes_with_its_commit() {
        let progress = progress(&[5]);
        let due = progress.due(&job(&[(0, 6)])).expect("it is ours");
        let holds = "pipeline = 'p''1' AND topic = 't' AND partition = 9 AND next_offset = 5 AND \
                     epoch = 7";
        assert_eq!(
            progress.commit(&due),
            format!(
                "WITH moved AS (UPDATE bridge_progress SET next_offset = 7 WHERE {holds} \
                 RETURNING 1) SELECT 1 / count(*) FROM moved; COMMIT"
            )
        );
        assert_eq!(
            progress.early(&due),
            format!("SELECT count(*) FROM bridge_progress WHERE ({holds})")
        );
    }
}
