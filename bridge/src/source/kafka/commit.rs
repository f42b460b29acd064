//! Making progress known to whoever keeps it. What fails because the group is on the move is tried
//! again; a partition that is somebody else's by now is left to them.

use std::collections::HashMap;
use std::ffi::CStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::bindings as c;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;

use super::fetch::Client;
use super::keeper::{Keeper, Sent};
use super::table::Standing;
use super::{CommitPoint, KafkaSource};
use crate::batch::{PartitionIndex, TopicPartition};
use crate::blame::Fault;
use crate::kafka::errors;
use crate::kafka::progress::Point;

/// How long a commit may keep the intake waiting: it is asked for only at a release or an end.
const COMMIT_MAX: Duration = Duration::from_secs(10);
/// Time between two tries of what was not kept.
const AGAIN: Duration = Duration::from_secs(1);

/// Commits that are under way, or have yet to be.
pub struct Commits {
    /// One at a time: a commit that waits for a lost coordinator goes out with the name that we
    /// had in the group then, and a whole row of them would.
    under_way: bool,
    /// What is to be committed next.
    next: HashMap<PartitionIndex, i64>,
    /// Not before this time.
    at: Instant,
}

impl Commits {
    pub fn new() -> Commits {
        Commits { under_way: false, next: HashMap::new(), at: Instant::now() }
    }

    /// The partition is not ours any more.
    pub fn forget(&mut self, partition: PartitionIndex) {
        self.next.remove(&partition);
    }
}

impl KafkaSource {
    pub(super) fn keep(&mut self, points: &[CommitPoint], wait: bool) -> Result<(), Fault> {
        for point in points {
            let partition = self.table.get_mut(point.partition);
            if partition.gone {
                continue;
            }
            if partition.standing == Standing::Owned {
                partition.sent = point.next;
                self.commits.next.insert(point.partition, point.next);
            } else {
                let name = &partition.name;
                tracing::warn!("offset {} of {name} is not committed: it is not ours", point.next);
            }
        }
        match self.keeper {
            Keeper::Group(_) if wait => self.keep_all(),
            Keeper::Alone(_) if wait => {
                self.commits.at = Instant::now();
                self.send_commits()
            }
            _ => self.send_commits(),
        }
    }

    /// Waits for what is under way, then commits all that is due. There is no later time to do it:
    /// also what nobody leads just now, but not where the place is gone, perhaps with its log.
    fn keep_all(&mut self) -> Result<(), Fault> {
        let until = Instant::now() + COMMIT_MAX;
        let ended = self.follow_until(until)?;
        let waiting = self.commits.next.iter().map(|(index, next)| (*index, *next));
        let due: Vec<(PartitionIndex, i64)> =
            waiting.filter(|(index, _)| !self.table.get(*index).has_lost_place()).collect();
        let committed = match ended {
            true if due.is_empty() => return Ok(()),
            true => self.commit_and_wait(&self.table.list(&due)?, until),
            false => Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::OperationTimedOut)),
        };
        match committed {
            Ok(()) => {
                due.iter().for_each(|(index, _)| self.commits.forget(*index));
                Ok(())
            }
            Err(error) => {
                self.commits.at = Instant::now() + AGAIN;
                let doing = format!("committing offsets of {}", self.plan.group);
                Err(self.fault(&doing, &error))
            }
        }
    }

    /// Commits partitions where they start.
    pub(super) fn commits_at_start(&mut self, at: &[(PartitionIndex, i64)]) -> Result<(), Fault> {
        self.commits.next.extend(at.iter().copied());
        if let Keeper::Alone(_) = self.keeper {
            // Which topic's offsets they are is known when they are read; that is soon.
            return Ok(());
        }
        self.send_commits()
    }

    /// Looks at how asynchronous commits ended, repeats what failed, and sends what waited.
    pub(super) fn follow_commits(&mut self) -> Result<(), Fault> {
        self.follow_until(Instant::now())?;
        if let Err(fault) = self.send_commits() {
            self.warn(&format!("{}; trying again", fault.message));
        }
        Ok(())
    }

    /// Follows answers until nothing is under way; false if that was not so at `until`.
    fn follow_until(&mut self, until: Instant) -> Result<bool, Fault> {
        while self.commits.under_way
            && let Keeper::Group(answers) = &self.keeper
        {
            let wait = until.saturating_duration_since(Instant::now());
            let Some(answer) = answers.next(wait) else { return Ok(false) };
            self.commits.under_way = false;
            for commit in answer {
                self.follow(&commit)?;
            }
        }
        Ok(true)
    }

    fn follow(&mut self, commit: &Committed) -> Result<(), Fault> {
        use RDKafkaErrorCode as Code;
        let Some(code) = commit.error else { return Ok(()) };
        let Some(index) = self.table.find(&commit.partition) else { return Ok(()) };
        let partition = self.table.get(index);
        // What was wanted after it says more; going back to it would undo that.
        if partition.standing != Standing::Owned || partition.sent != commit.next {
            return Ok(());
        }
        let (next, name) = (commit.next, &commit.partition);
        if matches!(code, Code::GroupAuthorizationFailed | Code::TopicAuthorizationFailed) {
            // Heartbeats that are forbidden are told by nobody, until the session ends.
            let doing = format!("committing {name} for {}", self.plan.group);
            return Err(self.fault(&doing, &KafkaError::ConsumerCommit(code)));
        }
        if code == Code::UnknownTopicOrPartition && !partition.is_own() {
            // The topic was deleted, and what was committed of it. One that is made anew under its
            // name must not begin where this one ended; only our own fetches tell it by its number.
            self.warn(&format!("committing offset {next} of {name}: {code}"));
            return Ok(());
        }
        self.commits.next.insert(index, next);
        self.commits.at = Instant::now() + AGAIN;
        let again = if errors::commit_may_come_later(code) { "; trying again" } else { "" };
        self.warn(&format!("committing offset {next} of {name}: {code}{again}"));
        Ok(())
    }

    fn send_commits(&mut self) -> Result<(), Fault> {
        if self.commits.next.is_empty() || self.commits.under_way {
            return Ok(());
        }
        if Instant::now() < self.commits.at {
            return Ok(());
        }
        let table = &self.table;
        let point = |(index, next): (&PartitionIndex, &i64)| {
            Some((*index, table.get(*index).point(*next)?))
        };
        let points: Vec<(PartitionIndex, Point)> =
            self.commits.next.iter().filter_map(point).collect();
        if points.is_empty() {
            return Ok(());
        }
        points.iter().for_each(|(index, _)| self.commits.forget(*index));
        match self.keeper.send(&points, &self.table) {
            Ok(sent) => {
                self.commits.under_way = sent == Sent::UnderWay;
                Ok(())
            }
            Err(fault) => {
                let again = points.iter().map(|(index, point)| (*index, point.next));
                self.commits.next.extend(again);
                self.commits.at = Instant::now() + AGAIN;
                Err(fault)
            }
        }
    }

    /// The library's own waiting commit has no bound; this one has.
    fn commit_and_wait(&self, list: &TopicPartitionList, until: Instant) -> Result<(), KafkaError> {
        let own = Answers::new(&self.client);
        own.send(list)?;
        let answer = own.next(until.saturating_duration_since(Instant::now()));
        let answer =
            answer.ok_or(KafkaError::ConsumerCommit(RDKafkaErrorCode::OperationTimedOut))?;
        match answer.iter().find_map(|committed| committed.error) {
            None => Ok(()),
            Some(code) => Err(KafkaError::ConsumerCommit(code)),
        }
    }
}

/// How a commit ended for one partition.
#[derive(Debug)]
pub struct Committed {
    partition: TopicPartition,
    next: i64,
    /// Why it was not kept.
    error: Option<RDKafkaErrorCode>,
}

/// A queue for the answers to commits. The library's Rust interface asks for events but sets no
/// callback, so its asynchronous commits fail without a word; with a queue they are answered.
pub struct Answers {
    queue: *mut c::rd_kafka_queue_t,
    client: Client,
}

// SAFETY: the library's queues may be used from any thread; this handle owns its queue.
unsafe impl Send for Answers {}

impl Answers {
    pub fn new(client: &Client) -> Answers {
        // SAFETY: the client is alive and outlives the queue, which is ours until drop.
        let queue = unsafe { c::rd_kafka_queue_new(client.client().native_ptr()) };
        Answers { queue, client: Arc::clone(client) }
    }

    pub fn send(&self, list: &TopicPartitionList) -> Result<(), KafkaError> {
        let native = self.client.client().native_ptr();
        // SAFETY: client and queue are alive; the list is copied by the call. Without a callback
        // the answer is an event in the queue.
        let code = unsafe {
            c::rd_kafka_commit_queue(native, list.ptr(), self.queue, None, std::ptr::null_mut())
        };
        match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
            code => Err(KafkaError::ConsumerCommit(code.into())),
        }
    }

    /// The next answer, one element for each partition.
    fn next(&self, wait: Duration) -> Option<Vec<Committed>> {
        // SAFETY: the queue is ours. The event, if any, is ours and is destroyed after everything
        // was copied out of it. Its list, if any, belongs to it and has `cnt` elements, whose
        // topics are C strings.
        unsafe {
            let event = c::rd_kafka_queue_poll(self.queue, wait.as_millis() as i32);
            if event.is_null() {
                return None;
            }
            let overall = error_of(c::rd_kafka_event_error(event));
            let list = c::rd_kafka_event_topic_partition_list(event);
            let mut answer = Vec::new();
            if !list.is_null() {
                for element in std::slice::from_raw_parts((*list).elems, (*list).cnt as usize) {
                    let topic = CStr::from_ptr(element.topic).to_string_lossy();
                    let partition =
                        TopicPartition { topic: (*topic).into(), partition: element.partition };
                    let error = error_of(element.err).or(overall);
                    answer.push(Committed { partition, next: element.offset, error });
                }
            }
            c::rd_kafka_event_destroy(event);
            Some(answer)
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        // SAFETY: made by `new`, destroyed once, while its client is alive.
        unsafe { c::rd_kafka_queue_destroy(self.queue) }
    }
}

fn error_of(code: RDKafkaRespErr) -> Option<RDKafkaErrorCode> {
    (code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| code.into())
}
