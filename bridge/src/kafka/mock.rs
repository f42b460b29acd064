//! A Kafka cluster inside this process, for the demonstration and for tests: the client library's
//! own mock. It keeps 5 MiB for each partition and drops the oldest; it knows no transactions, no
//! security and no administration.

use rdkafka::error::KafkaResult;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use crate::blame::Fault;

/// Bytes of batches that a partition keeps; the mock drops the oldest beyond that.
pub const PARTITION_BYTES_MAX: usize = 5 << 20;

/// A cluster that lives as long as this value.
pub struct Cluster(MockCluster<'static, DefaultProducerContext>);

impl Cluster {
    /// Starts a cluster of `brokers` brokers on ports of its own.
    pub fn start(brokers: i32) -> Result<Cluster, Fault> {
        MockCluster::new(brokers).map(Cluster).map_err(|error| {
            Fault::us(format!("starting a Kafka cluster inside this process: {error}"))
        })
    }

    /// Creates a topic.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<(), Fault> {
        let created: KafkaResult<()> = self.0.create_topic(name, partitions, 1);
        created.map_err(|error| Fault::us(format!("creating topic {name}: {error}")))
    }

    /// For `bootstrap.servers`.
    pub fn bootstrap_servers(&self) -> String {
        self.0.bootstrap_servers()
    }

    /// The mock itself, for faults.
    pub fn mock(&self) -> &MockCluster<'static, DefaultProducerContext> {
        &self.0
    }
}
