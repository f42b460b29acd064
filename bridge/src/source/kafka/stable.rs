//! Asks for the last stable offsets of partitions now and then, and never waits: one request to
//! each broker, whose answer comes through a queue.

use std::ffi::CStr;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::bindings as c;
use rdkafka::consumer::Consumer;
use rdkafka::types::{RDKafkaAdminOp, RDKafkaRespErr};

use super::fetch::Client;
use crate::batch::TopicPartition;

/// Time between two questions.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// The queue's number for the end of a partition.
const LATEST: i64 = -1;

/// The question and its answers.
pub struct Stable {
    queue: *mut c::rd_kafka_queue_t,
    options: *mut c::rd_kafka_AdminOptions_t,
    ask_at: Instant,
    /// A question is under way: one at a time is enough.
    asked: bool,
    /// The client must outlive its queue.
    client: Client,
}

// SAFETY: the library's queues and options may be used from any thread, and nobody else has these.
unsafe impl Send for Stable {}

impl Stable {
    /// For this client, in the isolation that it reads with.
    pub fn new(client: &Client, config: &ClientConfig) -> Stable {
        let isolation = match config.get("isolation.level") {
            Some("read_uncommitted") => {
                c::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED
            }
            _ => c::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED,
        };
        let operation = RDKafkaAdminOp::RD_KAFKA_ADMIN_OP_LISTOFFSETS;
        // SAFETY: the client is alive, and outlives the queue and the options, which are ours and
        // destroyed on drop. An error, which null is not, is destroyed; the default holds then.
        let (queue, options) = unsafe {
            let native = client.client().native_ptr();
            let options = c::rd_kafka_AdminOptions_new(native, operation);
            let error = c::rd_kafka_AdminOptions_set_isolation_level(options, isolation);
            if !error.is_null() {
                c::rd_kafka_error_destroy(error);
            }
            (c::rd_kafka_queue_new(native), options)
        };
        let client = Client::clone(client);
        Stable { queue, options, ask_at: Instant::now(), asked: false, client }
    }

    /// Asks about these partitions, if it is time to; whether it did.
    pub fn ask<'a>(&mut self, partitions: impl ExactSizeIterator<Item = (&'a CStr, i32)>) -> bool {
        let now = Instant::now();
        if self.asked || now < self.ask_at || partitions.len() == 0 {
            return false;
        }
        self.ask_at = now + ASK_EVERY;
        self.asked = true;
        // SAFETY: the client, the options and the queue are alive; the list is made and destroyed
        // here, names are C strings that are copied, and the call copies the list.
        unsafe {
            let list = c::rd_kafka_topic_partition_list_new(partitions.len() as i32);
            for (topic, partition) in partitions {
                let added = c::rd_kafka_topic_partition_list_add(list, topic.as_ptr(), partition);
                (*added).offset = LATEST;
            }
            c::rd_kafka_ListOffsets(
                self.client.client().native_ptr(),
                list,
                self.options,
                self.queue,
            );
            c::rd_kafka_topic_partition_list_destroy(list);
        }
        true
    }

    /// What was answered since: partitions and their last stable offsets. What failed is left out
    /// and asked again; whoever fetches says what is wrong.
    pub fn answers(&mut self) -> Vec<(TopicPartition, i64)> {
        let mut answers = Vec::new();
        if !self.asked {
            return answers;
        }
        // SAFETY: the queue is alive; an event that is not null is ours until it is destroyed at
        // the end, and everything that is read of it lives as long. An event of another type, or
        // one that failed, has no result or an empty one; both are looked at before they are used.
        unsafe {
            let event = c::rd_kafka_queue_poll(self.queue, 0);
            if event.is_null() {
                return answers;
            }
            self.asked = false;
            let result = c::rd_kafka_event_ListOffsets_result(event);
            if !result.is_null() {
                let mut count = 0;
                let infos = c::rd_kafka_ListOffsets_result_infos(result, &mut count);
                for index in 0..count {
                    let info = *infos.add(index);
                    let found = &*c::rd_kafka_ListOffsetsResultInfo_topic_partition(info);
                    if found.err == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && found.offset >= 0
                    {
                        let topic = CStr::from_ptr(found.topic).to_string_lossy().into();
                        let name = TopicPartition { topic, partition: found.partition };
                        answers.push((name, found.offset));
                    }
                }
            }
            c::rd_kafka_event_destroy(event);
        }
        answers
    }
}

impl Drop for Stable {
    fn drop(&mut self) {
        // SAFETY: both are ours, given back once, before the client.
        unsafe {
            c::rd_kafka_AdminOptions_destroy(self.options);
            c::rd_kafka_queue_destroy(self.queue);
        }
    }
}
