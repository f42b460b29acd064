//! Making progress known to the group. What fails because the group is on the move is tried again;
//! a partition that is somebody else's by now is left to them.

use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::bindings as c;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;

use super::table::Standing;
use super::{CommitPoint, KafkaSource};
use crate::batch::PartitionIndex;
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
            false => self.client.commit(&list, CommitMode::Async),
        };
        result.map_err(|error| {
            self.unkept.extend(ours);
            self.unkept_at = Instant::now() + AGAIN;
            self.fault(&format!("committing offsets of group {}", self.plan.group), &error)
        })
    }

    /// Looks at how asynchronous commits ended, and repeats what failed.
    pub(super) fn follow_commits(&mut self) {
        let ended = self.client.context().ended_commits();
        for commit in ended {
            let Some(code) = commit.error else { continue };
            let Some(index) = self.table.find(&commit.partition) else { continue };
            if self.table.get(index).standing != Standing::Owned {
                continue;
            }
            let kept = self.unkept.entry(index).or_insert(commit.next);
            *kept = commit.next.max(*kept);
            let (next, name) = (commit.next, commit.partition);
            self.unkept_at = Instant::now() + AGAIN;
            let again = if errors::commit_may_come_later(code) { "; trying again" } else { "" };
            self.warn(&format!("committing offset {next} of {name}: {code}{again}"));
        }
        if !self.unkept.is_empty() && Instant::now() >= self.unkept_at {
            self.unkept_at = Instant::now() + AGAIN;
            let points: Vec<(PartitionIndex, i64)> = self.unkept.drain().collect();
            if let Ok(list) = self.list(&points)
                && self.client.commit(&list, CommitMode::Async).is_err()
            {
                self.unkept.extend(points);
            }
        }
    }

    /// The library's own waiting commit has no bound; this one has.
    fn commit_and_wait(&self, list: &TopicPartitionList) -> Result<(), KafkaError> {
        let native = self.client.client().native_ptr();
        // SAFETY: the client outlives the queue, which is ours until it is destroyed below; the
        // list is copied by the call. A null callback sends the answer to the queue. The event is
        // ours and destroyed after its code was read. An answer that comes too late finds a queue
        // that is disabled by its owner's end, and is dropped by the library.
        let code = unsafe {
            let queue = c::rd_kafka_queue_new(native);
            let nobody = std::ptr::null_mut();
            let mut code = c::rd_kafka_commit_queue(native, list.ptr(), queue, None, nobody);
            if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                let event = c::rd_kafka_queue_poll(queue, COMMIT_MAX.as_millis() as i32);
                code = match event.is_null() {
                    true => RDKafkaRespErr::RD_KAFKA_RESP_ERR__TIMED_OUT,
                    false => event_code(event),
                };
                c::rd_kafka_event_destroy(event);
            }
            c::rd_kafka_queue_destroy(queue);
            code
        };
        match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
            code => Err(KafkaError::ConsumerCommit(code.into())),
        }
    }
}

/// The first error of a commit: of the whole, or of a partition.
///
/// # Safety
/// `event` is alive and an answer to a commit.
unsafe fn event_code(event: *mut c::rd_kafka_event_t) -> RDKafkaRespErr {
    // SAFETY: by the caller's promise; the list belongs to the event and has `cnt` elements.
    unsafe {
        let code = c::rd_kafka_event_error(event);
        let list = c::rd_kafka_event_topic_partition_list(event);
        if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR || list.is_null() {
            return code;
        }
        let elements = std::slice::from_raw_parts((*list).elems, (*list).cnt as usize);
        let failed = elements.iter().map(|element| element.err);
        let mut failed = failed.filter(|code| *code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR);
        failed.next().unwrap_or(RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR)
    }
}
