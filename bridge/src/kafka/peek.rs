//! Records read beside all groups: nobody joins, nothing is committed, nobody else notices. For
//! whoever tries a transform on what there is.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::Settings;
use super::check::{SAMPLE_MAX, Sample, ends, is_final};
use super::topics::Scout;
use crate::batch::TopicPartition;
use crate::blame::Fault;
use crate::config::KafkaPlan;
use crate::source::kafka::owned_record;

/// After some records, so long without another one means that there is none.
const QUIET: Duration = Duration::from_secs(5);

/// Offsets of a partition.
struct Span {
    name: TopicPartition,
    from: i64,
    /// The offset after the last.
    to: i64,
}

/// The `count` newest records of the plan's topics. What is written while they are read is not
/// among them. Blocks.
pub fn newest(plan: &KafkaPlan, count: usize) -> Result<Vec<Sample>, Fault> {
    let scout = Scout::of_group(&Settings::new(plan)?, &plan.group)?;
    let mut spans = spans(&scout, plan)?;
    for span in &mut spans {
        // They may all be in one partition.
        span.from = span.from.max(span.to - count as i64);
    }
    let mut samples = read(&scout, spans)?;
    samples.sort_by_key(|sample| (sample.record.timestamp_ms, sample.offset));
    samples.drain(..samples.len().saturating_sub(count));
    Ok(samples)
}

/// All that there is in the plan's topics.
fn spans(scout: &Scout, plan: &KafkaPlan) -> Result<Vec<Span>, Fault> {
    let mut spans = Vec::new();
    for topic in scout.topics(&plan.topics, &[])? {
        for (partition, from, to) in ends(scout, &topic)? {
            let name = TopicPartition { topic: topic.name.as_str().into(), partition };
            spans.push(Span { name, from, to });
        }
    }
    Ok(spans)
}

/// The records of some spans. Blocks until all are there, or nothing comes any more: the end of a
/// transaction is an offset without a record.
fn read(scout: &Scout, mut spans: Vec<Span>) -> Result<Vec<Sample>, Fault> {
    let doing = "reading records";
    spans.retain(|span| span.from < span.to);
    let mut list = TopicPartitionList::new();
    for Span { name, from, .. } in &spans {
        list.add_partition_offset(&name.topic, name.partition, Offset::Offset(*from))
            .map_err(|error| scout.fault(doing, &error))?;
    }
    let client = scout.client();
    client.assign(&list).map_err(|error| scout.fault(doing, &error))?;
    let mut samples: Vec<Sample> = Vec::new();
    let mut heard = Instant::now();
    while !spans.is_empty() {
        let quiet = if samples.is_empty() { SAMPLE_MAX } else { QUIET };
        match client.poll(Duration::from_millis(50)) {
            Some(Ok(message)) => {
                heard = Instant::now();
                let (topic, partition) = (message.topic().into(), message.partition());
                let name = TopicPartition { topic, partition };
                let offset = message.offset();
                let Some(at) = spans.iter().position(|span| span.name == name) else { continue };
                if offset < spans[at].to {
                    let record = owned_record(&message);
                    samples.push(Sample { partition: name, offset, record });
                }
                if offset + 1 >= spans[at].to {
                    spans.swap_remove(at);
                }
            }
            Some(Err(error)) if is_final(&error) => return Err(scout.fault(doing, &error)),
            _ if heard.elapsed() > quiet => break,
            _ => {}
        }
    }
    let _ = client.unassign();
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

    use super::*;
    use crate::config::{Fetching, Start, Topics};
    use crate::kafka::mock::Cluster;

    fn plan(cluster: &Cluster) -> KafkaPlan {
        KafkaPlan {
            properties: vec![("bootstrap.servers".to_owned(), cluster.bootstrap_servers())],
            topics: Topics::List(vec!["sensors".to_owned()]),
            group: "g".to_owned(),
            instance: None,
            start: Start::Earliest,
            from: None,
            fetch: Fetching::Auto,
        }
    }

    /// A topic of two partitions with ten records each.
    fn cluster() -> Cluster {
        let cluster = Cluster::start(1).expect("a cluster of our own");
        cluster.create_topic("sensors", 2).expect("a fresh name");
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap_servers());
        let producer: BaseProducer = config.create().expect("a right configuration");
        for number in 0..20i64 {
            let value = number.to_string();
            let record: BaseRecord<'_, (), str> = BaseRecord::to("sensors")
                .partition((number % 2) as i32)
                .timestamp(1_000 + number)
                .payload(&value);
            producer.send(record).map_err(|(error, _)| error).expect("there is room");
        }
        producer.flush(Duration::from_secs(30)).expect("the cluster answers");
        cluster
    }

    fn places(samples: &[Sample]) -> Vec<(i32, i64)> {
        let mut places: Vec<(i32, i64)> =
            samples.iter().map(|sample| (sample.partition.partition, sample.offset)).collect();
        places.sort_unstable();
        places
    }

    #[test]
    fn the_newest_records_are_read_every_time() {
        let cluster = cluster();
        for _ in 0..2 {
            let found = newest(&plan(&cluster), 3).expect("they are there");
            assert_eq!(places(&found), [(0, 9), (1, 8), (1, 9)]);
        }
        assert_eq!(newest(&plan(&cluster), 1_000).expect("they are there").len(), 20);
    }
}
