//! A consumer group from the outside: what it has committed, and what it has yet to do.
//! It only asks; it never joins.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::bench::Bench;
use crate::bridge_process::Bridge;

/// One question to a broker that may just be dying.
const REQUEST: Duration = Duration::from_secs(3);
/// An answer, over the questions that a broker still refuses for a while after its start.
const ANSWER: Duration = Duration::from_secs(30);

/// A group and its topic, whose partitions all begin at offset 0.
pub struct Group {
    consumer: BaseConsumer,
    group: String,
    topic: String,
    partitions: i32,
}

impl Group {
    /// Looks at a group.
    pub fn new(bench: &Bench, group: &str, topic: &str, partitions: i32) -> Result<Self> {
        Self::at(&bench.kafka.brokers(), group, topic, partitions)
    }

    /// Looks at a group at other brokers.
    pub fn at(brokers: &str, group: &str, topic: &str, partitions: i32) -> Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("group.id", group);
        config.set("reconnect.backoff.max.ms", "200");
        // A topic that was asked about while the broker was still making it stays known without its
        // partitions for this long.
        config.set("metadata.max.age.ms", "1000");
        // The connection errors of a broker that is being broken are no news to a test.
        config.set_log_level(RDKafkaLogLevel::Emerg);
        let consumer = config.create().context("making a client that looks at a group")?;
        Ok(Self { consumer, group: group.to_owned(), topic: topic.to_owned(), partitions })
    }

    /// Next offsets by partition; 0 where nothing was committed.
    pub fn committed_each(&self) -> Result<Vec<i64>> {
        let mut wanted = TopicPartitionList::new();
        for partition in 0..self.partitions {
            wanted.add_partition(&self.topic, partition);
        }
        let committed = world::await_ok(ANSWER, "the group's offsets", || {
            Ok(self.consumer.committed_offsets(wanted.clone(), REQUEST)?)
        })?;
        let next = committed.elements().into_iter().map(|element| match element.offset() {
            Offset::Offset(next) => next,
            _ => 0,
        });
        Ok(next.collect())
    }

    /// Who is in the group, as the coordinator names them, in order.
    pub fn members(&self) -> Result<Vec<String>> {
        world::await_ok(ANSWER, "the group's members", || {
            let list = self.consumer.fetch_group_list(Some(&self.group), REQUEST)?;
            let members = list.groups().iter().flat_map(|group| group.members());
            let mut names: Vec<String> = members.map(|member| member.id().to_owned()).collect();
            names.sort();
            Ok(names)
        })
    }

    /// Records that the group is done with.
    pub fn committed(&self) -> Result<i64> {
        Ok(self.committed_each()?.iter().sum())
    }

    /// Offsets after the last record, by partition.
    pub fn end_each(&self) -> Result<Vec<i64>> {
        let ends = (0..self.partitions).map(|partition| {
            world::await_ok(ANSWER, "the end of a partition", || {
                Ok(self.consumer.fetch_watermarks(&self.topic, partition, REQUEST)?.1)
            })
        });
        ends.collect()
    }

    /// Records in the topic.
    pub fn end(&self) -> Result<i64> {
        Ok(self.end_each()?.iter().sum())
    }

    /// Records that the group is not done with.
    pub fn lag(&self) -> Result<i64> {
        Ok(self.end()? - self.committed()?)
    }

    /// Waits until the group is done with everything.
    pub fn wait_drained(&self, bridge: &Bridge, within: Duration) -> Result<()> {
        bridge.wait(within, "a lag of 0", || {
            let lag = self.lag()?;
            ensure!(lag == 0, "the lag is {lag} records");
            Ok(())
        })
    }

    /// Waits for a moment with records that are not committed and work that is not acknowledged.
    pub fn wait_busy(&self, bridge: &Bridge, within: Duration) -> Result<()> {
        bridge.wait(within, "work under way", || {
            let lag = self.lag()?;
            let under_way = bridge.metrics()?.sum("bridge_queued_bytes")?;
            ensure!(lag > 0 && under_way > 0.0, "lag {lag}, {under_way} bytes under way");
            Ok(())
        })
    }

    /// Waits until more is committed than was; gives how much.
    pub fn wait_progress(&self, bridge: &Bridge, than: i64, within: Duration) -> Result<i64> {
        bridge.wait(within, "a commit", || {
            let committed = self.committed()?;
            ensure!(committed > than, "{committed} records are committed, as before");
            Ok(committed)
        })
    }
}
