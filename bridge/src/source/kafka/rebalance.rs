//! What the group does to us, kept until the intake asks: the library calls in the middle of a
//! poll, and the answer may take as long as a drain.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::wake::Bell;
use crate::batch::TopicPartition;
use crate::kafka::context::{self, Diagnostics};

/// A change of what is ours. The library waits for the answer, and goes on polling meanwhile.
#[derive(Debug)]
pub enum Change {
    /// To be answered by an assignment.
    Assign(Vec<TopicPartition>),
    /// To be answered by giving the partitions up.
    Revoke {
        /// Which.
        partitions: Vec<TopicPartition>,
        /// Whether somebody else may have them already.
        lost: bool,
    },
}

/// How an asynchronous commit ended, for each partition.
#[derive(Debug)]
pub struct Committed {
    /// The partition.
    pub partition: TopicPartition,
    /// The offset that was to be kept.
    pub next: i64,
    /// Why it was not.
    pub error: Option<RDKafkaErrorCode>,
}

/// The context of a group member: stashes what happens during a poll.
#[derive(Default)]
pub struct Member {
    /// Rung when there is something to do.
    pub bell: Arc<Bell>,
    /// The client's last words.
    pub diagnostics: Diagnostics,
    changes: Mutex<VecDeque<Change>>,
    commits: Mutex<Vec<Committed>>,
}

impl Member {
    /// The oldest change that was not answered yet.
    pub fn next_change(&self) -> Option<Change> {
        self.changes.lock().expect("no one panics with it").pop_front()
    }

    /// Commits that ended since the last call.
    pub fn ended_commits(&self) -> Vec<Committed> {
        std::mem::take(&mut *self.commits.lock().expect("no one panics with it"))
    }
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        context::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        context::hear(&self.diagnostics, &error, reason);
    }
}

impl ConsumerContext for Member {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        kind: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let partitions = names(list);
        let change = match kind {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Change::Assign(partitions),
            _ => Change::Revoke { partitions, lost: consumer.assignment_lost() },
        };
        self.changes.lock().expect("no one panics with it").push_back(change);
        self.bell.ring();
    }

    fn commit_callback(&self, result: KafkaResult<()>, list: &TopicPartitionList) {
        let overall = result.err().and_then(|error| error.rdkafka_error_code());
        let mut commits = self.commits.lock().expect("no one panics with it");
        for element in list.elements() {
            let Offset::Offset(next) = element.offset() else { continue };
            let own = element.error().err().and_then(|error| error.rdkafka_error_code());
            commits.push(Committed {
                partition: TopicPartition {
                    topic: element.topic().into(),
                    partition: element.partition(),
                },
                next,
                error: own.or(overall),
            });
        }
    }
}

fn names(list: &TopicPartitionList) -> Vec<TopicPartition> {
    let elements = list.elements();
    let name = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
        TopicPartition { topic: element.topic().into(), partition: element.partition() }
    };
    elements.iter().map(name).collect()
}
