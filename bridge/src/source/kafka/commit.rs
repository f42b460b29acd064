//! Making progress known to the group. What fails because the group is on the move is tried again;
//! a partition that is somebody else's by now is left to them.

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
use super::table::Standing;
use super::{CommitPoint, KafkaSource};
use crate::batch::{PartitionIndex, TopicPartition};
use crate::blame::Fault;
use crate::kafka::errors;

/// How long a commit may keep the intake waiting: it is asked for only at a release or an end.
const COMMIT_MAX: Duration = Duration::from_secs(10);
/// Time between two tries of what was not kept.
const AGAIN: Duration = Duration::from_secs(1);

/// Commits that are under way, or have yet to be.
pub struct Commits {
    answers: Answers,
    /// One at a time: a commit that waits for a lost coordinator goes out with the name that we
    /// had in the group then, and a whole row of them would.
    under_way: bool,
    /// What is to be committed next.
    next: HashMap<PartitionIndex, i64>,
    /// Not before this time.
    at: Instant,
}

impl Commits {
    pub fn new(client: &Client) -> Commits {
        Commits {
            answers: Answers::new(client),
            under_way: false,
            next: HashMap::new(),
            at: Instant::now(),
        }
    }

    /// The partition is not ours any more.
    pub fn forget(&mut self, partition: PartitionIndex) {
        self.next.remove(&partition);
    }
}

impl KafkaSource {
    pub(super) fn keep(&mut self, points: &[CommitPoint], wait: bool) -> Result<(), Fault> {
        let mut ours = Vec::with_capacity(points.len());
        for point in points {
            let partition = self.table.get_mut(point.partition);
            if partition.standing == Standing::Owned {
                partition.sent = point.next;
                ours.push((point.partition, point.next));
            } else {
                let name = &partition.name;
                tracing::warn!("offset {} of {name} is not committed: it is not ours", point.next);
            }
        }
        if ours.is_empty() {
            return Ok(());
        }
        let list = self.list(&ours)?;
        self.commits.next.extend(ours.iter().copied());
        if !wait {
            self.send_commits();
            return Ok(());
        }
        let result = self.commit_and_wait(&list);
        match result {
            Ok(()) => {
                ours.iter().for_each(|(index, _)| self.commits.forget(*index));
                Ok(())
            }
            Err(error) => {
                self.commits.at = Instant::now() + AGAIN;
                let doing = format!("committing offsets of group {}", self.plan.group);
                Err(self.fault(&doing, &error))
            }
        }
    }

    /// Commits partitions where they start.
    pub(super) fn commits_at_start(&mut self, at: &[(PartitionIndex, i64)]) {
        self.commits.next.extend(at.iter().copied());
        self.send_commits();
    }

    /// Looks at how asynchronous commits ended, repeats what failed, and sends what waited.
    pub(super) fn follow_commits(&mut self) {
        while let Some(answer) = self.commits.answers.next(Duration::ZERO) {
            self.commits.under_way = false;
            for commit in answer {
                self.follow(&commit);
            }
        }
        self.send_commits();
    }

    fn follow(&mut self, commit: &Committed) {
        let Some(code) = commit.error else { return };
        let Some(index) = self.table.find(&commit.partition) else { return };
        let partition = self.table.get(index);
        // What was wanted after it says more; going back to it would undo that.
        if partition.standing != Standing::Owned || partition.sent != commit.next {
            return;
        }
        self.commits.next.insert(index, commit.next);
        self.commits.at = Instant::now() + AGAIN;
        let again = if errors::commit_may_come_later(code) { "; trying again" } else { "" };
        let (next, name) = (commit.next, &commit.partition);
        self.warn(&format!("committing offset {next} of {name}: {code}{again}"));
    }

    fn send_commits(&mut self) {
        if self.commits.next.is_empty() || self.commits.under_way {
            return;
        }
        if Instant::now() < self.commits.at {
            return;
        }
        let points: Vec<(PartitionIndex, i64)> = self.commits.next.drain().collect();
        let sent = self.list(&points).is_ok_and(|list| self.commits.answers.send(&list).is_ok());
        self.commits.under_way = sent;
        if !sent {
            self.commits.next.extend(points);
            self.commits.at = Instant::now() + AGAIN;
        }
    }

    /// The library's own waiting commit has no bound; this one has.
    fn commit_and_wait(&self, list: &TopicPartitionList) -> Result<(), KafkaError> {
        let own = Answers::new(&self.client);
        own.send(list)?;
        let answer = own.next(COMMIT_MAX);
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

    fn send(&self, list: &TopicPartitionList) -> Result<(), KafkaError> {
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
