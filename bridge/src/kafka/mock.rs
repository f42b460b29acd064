//! A Kafka cluster inside this process, for the demonstration and for tests: the client library's
//! own mock. It keeps 5 MiB for each partition and drops the oldest; it knows no transactions, no
//! security and no administration.

use std::ffi::{CStr, CString};

use rdkafka::ClientConfig;
use rdkafka::bindings as c;
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::types::RDKafkaRespErr;

use super::context::Observer;
use crate::blame::Fault;

/// Bytes of batches that a partition keeps; the mock drops the oldest beyond that.
pub const PARTITION_BYTES_MAX: usize = 5 << 20;

/// Kafka's numbers of what only members of groups ask, and whoever wants to be one: commits and
/// their offsets, the coordinator, coming and going by both protocols.
pub const OF_GROUPS: [i16; 8] = [8, 9, 10, 11, 12, 13, 14, 68];

/// A cluster that lives as long as this value.
pub struct Cluster {
    cluster: *mut c::rd_kafka_mock_cluster_t,
    /// The mock lives inside a client.
    _client: BaseProducer<Observer>,
}

// SAFETY: every call on a mock cluster is passed to its own thread, and waited for.
unsafe impl Send for Cluster {}

impl Cluster {
    /// Starts a cluster of `brokers` brokers on ports of its own.
    pub fn start(brokers: i32) -> Result<Cluster, Fault> {
        let failed =
            |why: String| Fault::us(format!("starting a Kafka cluster inside this process: {why}"));
        let client: BaseProducer<Observer> = ClientConfig::new()
            .create_with_context(Observer::default())
            .map_err(|error| failed(error.to_string()))?;
        // SAFETY: the client is alive, and outlives the cluster: it is dropped after it.
        let cluster =
            unsafe { c::rd_kafka_mock_cluster_new(client.client().native_ptr(), brokers) };
        if cluster.is_null() {
            return Err(failed("no port, or no memory".to_owned()));
        }
        // SAFETY: the cluster was made above. Without this a group waits three seconds for its
        // first member to have company.
        unsafe { c::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0) };
        Ok(Cluster { cluster, _client: client })
    }

    /// Creates a topic.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<(), Fault> {
        let text = c_string(name)?;
        // SAFETY: the cluster lives as long as `self`; `text` is a C string.
        let code =
            unsafe { c::rd_kafka_mock_topic_create(self.cluster, text.as_ptr(), partitions, 1) };
        match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
            code => Err(Fault::us(format!("creating topic {name}: {code:?}"))),
        }
    }

    /// For `bootstrap.servers`.
    pub fn bootstrap_servers(&self) -> String {
        // SAFETY: the cluster lives as long as `self`, and so does its text.
        let text = unsafe { CStr::from_ptr(c::rd_kafka_mock_cluster_bootstraps(self.cluster)) };
        text.to_string_lossy().into_owned()
    }

    /// What every request about a topic is answered with from now on.
    pub fn topic_error(&self, name: &str, code: RDKafkaRespErr) -> Result<(), Fault> {
        let text = c_string(name)?;
        // SAFETY: the cluster lives as long as `self`; `text` is a C string.
        unsafe { c::rd_kafka_mock_topic_set_error(self.cluster, text.as_ptr(), code) };
        Ok(())
    }

    /// Remembers from now on what is asked of it.
    pub fn track(&self) {
        // SAFETY: the cluster lives as long as `self`.
        unsafe { c::rd_kafka_mock_start_request_tracking(self.cluster) }
    }

    /// The requests since [`Cluster::track`], by Kafka's numbers of them.
    pub fn requests(&self) -> Vec<i16> {
        let mut count = 0;
        // SAFETY: the cluster lives as long as `self`. The array has `count` requests, is ours, and
        // is given back with them, once.
        unsafe {
            let all = c::rd_kafka_mock_get_requests(self.cluster, &mut count);
            let kinds = (0..count).map(|at| c::rd_kafka_mock_request_api_key(*all.add(at)));
            let kinds = kinds.collect();
            c::rd_kafka_mock_request_destroy_array(all, count);
            kinds
        }
    }

    /// What the next requests of a kind (by Kafka's number of it) are answered with.
    pub fn request_errors(&self, kind: i16, codes: &[RDKafkaRespErr]) {
        // SAFETY: the cluster lives as long as `self`; the codes are copied.
        unsafe {
            c::rd_kafka_mock_push_request_errors_array(
                self.cluster,
                kind,
                codes.len(),
                codes.as_ptr(),
            );
        }
    }
}

fn c_string(name: &str) -> Result<CString, Fault> {
    CString::new(name).map_err(|_| Fault::us(format!("topic {name:?} has a NUL in its name")))
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // SAFETY: made by `start`, destroyed once, before its client.
        unsafe { c::rd_kafka_mock_cluster_destroy(self.cluster) }
    }
}
