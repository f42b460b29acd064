//! Making progress known to the group. What fails because the group is on the move is tried again;
//! a partition that is somebody else's by now is left to them.

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

impl KafkaSource {
    pub(super) fn keep(&mut self, points: &[CommitPoint], wait: bool) -> Result<(), Fault> {
        let mut ours = Vec::with_capacity(points.len());
        for point in points {
            let partition = self.table.get(point.partition);
            if partition.standing == Standing::Owned {
                self.unkept.remove(&point.partition);
                ours.push((point.partition, point.next));
                self.table.get_mut(point.partition).sent = point.next;
            } else {
                let name = &partition.name;
                tracing::warn!("offset {} of {name} is not committed: it is not ours", point.next);
            }
        }
        if ours.is_empty() {
            return Ok(());
        }
        let list = self.list(&ours)?;
        let result = match wait {
            true => self.commit_and_wait(&list),
            false => self.commit_later(&list),
        };
        result.map_err(|error| {
            self.unkept.extend(ours);
            self.unkept_at = Instant::now() + AGAIN;
            self.fault(&format!("committing offsets of group {}", self.plan.group), &error)
        })
    }

    /// Looks at how asynchronous commits ended, and repeats what failed.
    pub(super) fn follow_commits(&mut self) {
        let mut ended = Vec::new();
        while let Some(answer) = self.answers.next(Duration::ZERO) {
            ended.extend(answer);
        }
        for commit in ended {
            let Some(code) = commit.error else { continue };
            let Some(index) = self.table.find(&commit.partition) else { continue };
            let partition = self.table.get(index);
            // What was sent after it says more; going back to it would undo that.
            if partition.standing != Standing::Owned || partition.sent != commit.next {
                continue;
            }
            self.unkept.insert(index, commit.next);
            let (next, name) = (commit.next, commit.partition);
            self.unkept_at = Instant::now() + AGAIN;
            let again = if errors::commit_may_come_later(code) { "; trying again" } else { "" };
            self.warn(&format!("committing offset {next} of {name}: {code}{again}"));
        }
        if !self.unkept.is_empty() && Instant::now() >= self.unkept_at {
            self.unkept_at = Instant::now() + AGAIN;
            let points: Vec<(PartitionIndex, i64)> = self.unkept.drain().collect();
            if let Ok(list) = self.list(&points)
                && self.commit_later(&list).is_err()
            {
                self.unkept.extend(points);
            }
        }
    }

    /// Sends a commit; its answer comes to the queue of answers.
    pub(super) fn commit_later(&self, list: &TopicPartitionList) -> Result<(), KafkaError> {
        self.answers.send(list)
    }

    /// The library's own waiting commit has no bound; this one has. Answers that come later are
    /// read by [`KafkaSource::follow_commits`] like any other.
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
