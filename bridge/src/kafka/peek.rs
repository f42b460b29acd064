//! Records read beside all groups: nobody joins, nothing is committed, nobody else notices. For
//! whoever tries a transform or a pipeline on what there is.

use std::time::{Duration, Instant};

use rdkafka::{Message, Offset, TopicPartitionList};

use super::Settings;
use super::check::{SAMPLE_MAX, Sample, committed, ends, is_final};
use super::places;
use super::topics::{Scout, chosen};
use crate::batch::TopicPartition;
use crate::blame::Fault;
use crate::config::{KafkaPlan, Start};
use crate::range::Offsets;
use crate::source::kafka::owned_record;

/// After some records, so long without another one means that there is none.
const QUIET: Duration = Duration::from_secs(5);
/// Whoever asks for more is answered within this time, so that it may look at a clock.
const ANSWER: Duration = Duration::from_millis(200);

/// Offsets of a partition.
struct Span {
    name: TopicPartition,
    from: i64,
    /// The offset after the last.
    to: i64,
    /// Only these of them, if not all.
    bounds: Option<Offsets>,
}

/// The `count` newest records of the plan's topics. What is written while they are read is not
/// among them. Blocks.
pub fn newest(plan: &KafkaPlan, count: usize) -> Result<Vec<Sample>, Fault> {
    let scout = Scout::of_group(&Settings::new(plan)?, &plan.group)?;
    let mut spans = spans(&scout, plan, &[])?;
    for span in &mut spans {
        // They may all be in one partition.
        span.from = span.from.max(span.to - count as i64);
    }
    let mut reading = Reading::start(scout, spans)?;
    let mut samples: Vec<Sample> = Vec::new();
    while let Some(more) = reading.more(usize::MAX)? {
        samples.extend(more);
    }
    samples.sort_by_key(|sample| (sample.record.timestamp_ms, sample.offset));
    samples.drain(..samples.len().saturating_sub(count));
    Ok(samples)
}

/// What a group would read next.
pub struct Ahead {
    reading: Reading,
    /// Records that waited when it was asked for; where there are transactions, or keys were
    /// compacted, some of them are none.
    pub waiting: u64,
}

impl Ahead {
    /// Up to `count` records that the plan's group would read next: as many from each partition,
    /// and more where others have fewer. What is written from now on is not among them. `ignored`
    /// are expressions of topics that an expression must not find. Blocks.
    pub fn of(plan: &KafkaPlan, ignored: &[String], count: u64) -> Result<Ahead, Fault> {
        let scout = Scout::of_group(&Settings::new(plan)?, &plan.group)?;
        let mut spans = spans(&scout, plan, ignored)?;
        let names: Vec<&TopicPartition> = spans.iter().map(|span| &span.name).collect();
        let known = committed(&scout, &plan.group, &names)?;
        for (span, known) in spans.iter_mut().zip(known) {
            span.from = begin(&scout, plan, span, known)?;
        }
        bind(&scout, plan, &mut spans)?;
        let each: Vec<u64> = spans.iter().map(|span| (span.to - span.from) as u64).collect();
        for (span, share) in spans.iter_mut().zip(shares(&each, count)) {
            span.to = span.from + share as i64;
        }
        Ok(Ahead { reading: Reading::start(scout, spans)?, waiting: each.iter().sum() })
    }

    /// Some more of them, maybe none just now; `None` when there are no more. Blocks for a moment
    /// at most.
    pub fn more(&mut self, most: usize) -> Result<Option<Vec<Sample>>, Fault> {
        self.reading.more(most)
    }
}

/// Where a run would begin with a partition; see `source/kafka/start`.
fn begin(scout: &Scout, plan: &KafkaPlan, span: &Span, known: Option<i64>) -> Result<i64, Fault> {
    let TopicPartition { topic, partition } = &span.name;
    let once = plan.from.as_ref().filter(|once| once.overrules(topic, *partition));
    let start = match (once, known) {
        (Some(start), _) => start,
        // What retention took is not there any more.
        (None, Some(offset)) => return Ok(offset.clamp(span.from, span.to)),
        (None, None) => &plan.start,
    };
    let offset = match start {
        Start::Earliest => span.from,
        Start::Latest => span.to,
        Start::Committed => {
            let (name, group) = (&span.name, &plan.group);
            let message = format!("{name} has no committed offset in {group}");
            return Err(Fault::operator(message).hint(
                "start = \"earliest\" or \"latest\", or `bridge run --dry-run --from earliest`",
            ));
        }
        start => places::starts(scout.client(), &[(&span.name, start)])
            .map_err(|error| scout.fault("asking for the ends of partitions", &error))?[0],
    };
    Ok(offset.clamp(span.from, span.to))
}

/// Leaves of the spans what the plan's range has of them.
fn bind(scout: &Scout, plan: &KafkaPlan, spans: &mut [Span]) -> Result<(), Fault> {
    let Some(range) = &plan.range else { return Ok(()) };
    let names: Vec<&TopicPartition> = spans.iter().map(|span| &span.name).collect();
    let found = places::bounds(scout.client(), range, &names, false)
        .map_err(|error| scout.fault("asking for the ends of a range", &error))?;
    for (span, bounds) in spans.iter_mut().zip(found) {
        let bounds = bounds.and(&Offsets::of(span.from..span.to));
        span.from = bounds.from(span.from).map_or(span.to, |first| first.start);
        span.to = bounds.end().unwrap_or(span.to);
        span.bounds = Some(bounds);
    }
    Ok(())
}

/// How many records of each partition are read, of so many, where `count` are wanted.
fn shares(each: &[u64], count: u64) -> Vec<u64> {
    let mut order: Vec<usize> = (0..each.len()).collect();
    order.sort_by_key(|at| each[*at]);
    let (mut shares, mut left) = (vec![0; each.len()], count);
    for (done, at) in order.into_iter().enumerate() {
        // What the smaller ones did not use is for the larger ones.
        shares[at] = each[at].min(left.div_ceil((each.len() - done) as u64));
        left -= shares[at];
    }
    shares
}

/// All that there is in the plan's topics.
fn spans(scout: &Scout, plan: &KafkaPlan, ignored: &[String]) -> Result<Vec<Span>, Fault> {
    let mut spans = Vec::new();
    for topic in chosen(&plan.group, scout.topics(&plan.topics, ignored)?)? {
        for (partition, from, to) in ends(scout, &topic)? {
            let name = TopicPartition { topic: topic.name.as_str().into(), partition };
            spans.push(Span { name, from, to, bounds: None });
        }
    }
    Ok(spans)
}

/// Reads the records of some spans.
struct Reading {
    scout: Scout,
    /// Those that are not at their end.
    spans: Vec<Span>,
    /// When a record came last, or the reading began.
    heard: Instant,
    has_any: bool,
}

const DOING: &str = "reading records";

impl Reading {
    fn start(mut scout: Scout, mut spans: Vec<Span>) -> Result<Reading, Fault> {
        spans.retain(|span| span.from < span.to);
        let mut list = TopicPartitionList::new();
        for Span { name, from, .. } in &spans {
            list.add_partition_offset(&name.topic, name.partition, Offset::Offset(*from))
                .map_err(|error| scout.fault(DOING, &error))?;
        }
        scout.read(list).map_err(|error| scout.fault(DOING, &error))?;
        Ok(Reading { scout, spans, heard: Instant::now(), has_any: false })
    }

    /// As [`Ahead::more`]. They are over when all spans are at their ends, or nothing comes any
    /// more: the end of a transaction is an offset without a record.
    fn more(&mut self, most: usize) -> Result<Option<Vec<Sample>>, Fault> {
        let mut samples = Vec::new();
        let asked = Instant::now();
        while samples.len() < most && asked.elapsed() < ANSWER {
            let quiet = if self.has_any { QUIET } else { SAMPLE_MAX };
            if self.spans.is_empty() || self.heard.elapsed() > quiet {
                self.scout.let_go();
                self.spans.clear();
                break;
            }
            match self.scout.client().poll(Duration::from_millis(50)) {
                Some(Ok(message)) => {
                    (self.heard, self.has_any) = (Instant::now(), true);
                    let (topic, partition) = (message.topic().into(), message.partition());
                    let name = TopicPartition { topic, partition };
                    let offset = message.offset();
                    let at = self.spans.iter().position(|span| span.name == name);
                    let Some(at) = at else { continue };
                    let span = &self.spans[at];
                    let is_in = |bounds: &Offsets| bounds.contains(offset);
                    if offset < span.to && span.bounds.as_ref().is_none_or(is_in) {
                        let record = owned_record(&message);
                        samples.push(Sample { partition: name, offset, record });
                    }
                    if offset + 1 >= self.spans[at].to {
                        self.spans.swap_remove(at);
                    }
                }
                Some(Err(error)) if is_final(&error) => {
                    return Err(self.scout.fault(DOING, &error));
                }
                _ => {}
            }
        }
        Ok((!samples.is_empty() || !self.spans.is_empty()).then_some(samples))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rdkafka::ClientConfig;
    use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

    use super::*;
    use crate::config::security::SecurityPlan;
    use crate::config::{Alone, Fetching, Group, OutOfRange, Partitions, Topics};
    use crate::kafka::mock::{Cluster, OF_GROUPS};
    use crate::kafka::progress::{Point, Progress};

    fn plan(cluster: &Cluster) -> KafkaPlan {
        KafkaPlan {
            properties: vec![("bootstrap.servers".to_owned(), cluster.bootstrap_servers())],
            topics: Topics::List(vec!["sensors".to_owned()]),
            group: Group::Named("g".to_owned()),
            instance: None,
            start: Start::Earliest,
            from: None,
            out_of_range: OutOfRange::Stop,
            range: None,
            fetch: Fetching::Auto,
            security: SecurityPlan::default(),
        }
    }

    /// A topic of two partitions with ten records each, of which the group has read six and none.
    fn cluster() -> Cluster {
        let cluster = Cluster::start(1).expect("a cluster of our own");
        cluster.create_topic("sensors", 2).expect("a fresh name");
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap_servers());
        // What a consumer is handed when it is dropped would count as read.
        config.set("enable.auto.commit", "false").set("group.id", "g");
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
        let member: BaseConsumer = config.create().expect("a right configuration");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset("sensors", 0, Offset::Offset(6)).expect("an offset");
        member.commit(&list, CommitMode::Sync).expect("the cluster answers");
        cluster
    }

    fn places(samples: &[Sample]) -> Vec<(i32, i64)> {
        let mut places: Vec<(i32, i64)> =
            samples.iter().map(|sample| (sample.partition.partition, sample.offset)).collect();
        places.sort_unstable();
        places
    }

    fn ahead(plan: &KafkaPlan, count: u64) -> Result<Vec<Sample>, Fault> {
        let mut ahead = Ahead::of(plan, &[], count)?;
        let mut samples = Vec::new();
        while let Some(more) = ahead.more(4)? {
            assert!(more.len() <= 4);
            samples.extend(more);
        }
        Ok(samples)
    }

    #[test]
    fn records_are_read_and_no_group_moves() {
        let cluster = cluster();
        let mut plan = plan(&cluster);
        for _ in 0..2 {
            let found = newest(&plan, 3).expect("they are there");
            assert_eq!(places(&found), [(0, 9), (1, 8), (1, 9)]);
            let found = ahead(&plan, 6).expect("they are there");
            assert_eq!(places(&found), [(0, 6), (0, 7), (0, 8), (1, 0), (1, 1), (1, 2)]);
        }
        assert_eq!(newest(&plan, 1_000).expect("they are there").len(), 20);
        assert_eq!(ahead(&plan, 1_000).expect("they are there").len(), 14);
        assert_eq!(Ahead::of(&plan, &[], 2).expect("it answers").waiting, 14);
        plan.start = Start::Committed;
        let fault = ahead(&plan, 2).expect_err("partition 1 has no offset");
        assert!(fault.to_string().contains("sensors/1 has no committed offset"), "{fault}");
        plan.from = Some(Start::Earliest);
        assert_eq!(places(&ahead(&plan, 2).expect("they are there")), [(0, 0), (1, 0)]);
        plan.from = Some(Start::Latest);
        assert!(ahead(&plan, 2).expect("nothing waits").is_empty());
    }

    #[test]
    fn without_a_group_the_file_says_what_comes_next() {
        let cluster = cluster();
        let path = std::env::temp_dir().join(format!("bridge-peek-{}", std::process::id()));
        let mut progress = Progress::open(&path).expect("nobody has it");
        let name = TopicPartition { topic: "sensors".into(), partition: 1 };
        progress.keep([(name, Point { next: 8, topic: None })].into_iter()).expect("there is room");
        drop(progress);
        cluster.track();
        let alone = Alone { partitions: Partitions::parse("1").ok(), progress: Some(path.clone()) };
        let plan = KafkaPlan { group: Group::Alone(alone), ..plan(&cluster) };
        assert_eq!(places(&ahead(&plan, 6).expect("they are there")), [(1, 8), (1, 9)]);
        assert_eq!(places(&newest(&plan, 3).expect("they are there")), [(1, 7), (1, 8), (1, 9)]);
        let requests = cluster.requests();
        assert!(!requests.is_empty() && requests.iter().all(|kind| !OF_GROUPS.contains(kind)));
        for path in [path.with_added_extension("lock"), path] {
            std::fs::remove_file(path).expect("it is there");
        }
    }

    proptest! {
        /// Against one record after the other, each from the partition that gave fewest so far.
        #[test]
        fn shares_are_even(each in prop::collection::vec(0u64..20, 0..8), count in 0u64..100) {
            let mut even = vec![0; each.len()];
            for _ in 0..count {
                let has_more = (0..each.len()).filter(|at| even[*at] < each[*at]);
                let Some(at) = has_more.min_by_key(|at| even[*at]) else { break };
                even[at] += 1;
            }
            let mut shares = shares(&each, count);
            prop_assert!(shares.iter().zip(&each).all(|(share, each)| share <= each));
            // Which of those that give one more it is makes no difference.
            shares.sort_unstable();
            even.sort_unstable();
            prop_assert_eq!(shares, even);
        }
    }
}
