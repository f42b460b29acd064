//! What the group does to us, kept until the intake asks: the library calls in the middle of a
//! poll, and the answer may take as long as a drain.

use std::collections::VecDeque;
use std::error::Error;
use std::sync::{Arc, Mutex};

use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};

use crate::batch::TopicPartition;
use crate::kafka::context::{self, Diagnostics};
use crate::source::wake::Bell;

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

/// The context of a group's member, or of a reader in no group: stashes what happens during a poll.
pub struct Member {
    /// Rung when there is something to do.
    pub bell: Arc<Bell>,
    /// The client's last words.
    pub diagnostics: Diagnostics,
    changes: Mutex<VecDeque<Change>>,
}

impl Member {
    /// A member that rings this bell, and speaks here.
    pub fn new(bell: &Arc<Bell>, diagnostics: Diagnostics) -> Member {
        Member { bell: Arc::clone(bell), diagnostics, changes: Mutex::default() }
    }

    /// Partitions are ours by nobody's word but our own.
    pub fn award(&self, partitions: Vec<TopicPartition>) {
        self.stash(Change::Assign(partitions));
    }

    fn stash(&self, change: Change) {
        self.changes.lock().expect("no one panics with it").push_back(change);
        self.bell.ring();
    }

    /// The oldest change that was not answered yet.
    pub fn next_change(&self) -> Option<Change> {
        self.changes.lock().expect("no one panics with it").pop_front()
    }
}

impl ClientContext for Member {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        context::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        context::hear(&self.diagnostics, &error, reason);
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.diagnostics.token()
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
        self.stash(change);
    }
}

fn names(list: &TopicPartitionList) -> Vec<TopicPartition> {
    let elements = list.elements();
    let name = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
        TopicPartition { topic: element.topic().into(), partition: element.partition() }
    };
    elements.iter().map(name).collect()
}
