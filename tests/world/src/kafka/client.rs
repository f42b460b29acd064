//! What tests ask of a broker, or of a cluster: topics, batches of records in, records and offsets
//! out. Each call has its own client, so that a killed broker leaves no stale one behind.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, anyhow, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message as _, OwnedHeaders};
use rdkafka::metadata::MetadataPartition;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use crate::waiting::{await_ok, lock};

/// How long one request of a test may take on a loaded machine.
const REQUEST: Duration = Duration::from_secs(30);
/// How long one batch of records may take, there or back.
const BATCH: Duration = Duration::from_secs(300);
/// How long one probe of a starting broker may take.
const PROBE: Duration = Duration::from_secs(2);

/// A record to produce.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Without one, the key's hash decides, as with any other producer.
    pub partition: Option<i32>,
    pub key: Option<Vec<u8>>,
    /// `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Milliseconds since 1970; without one, the time of the call.
    pub timestamp_ms: Option<i64>,
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    /// A record with only a value.
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Self { value: Some(value.into()), ..Self::default() }
    }

    /// The same with a key.
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The same for one partition.
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// The same with one more header.
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), Some(value.into())));
        self
    }

    /// The same with a time of its own.
    pub fn timestamp_ms(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }
}

impl Message {
    /// The value of the first header of a name, as text.
    pub fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(key, _)| key == name)?;
        Some(String::from_utf8_lossy(value.as_ref()?).into_owned())
    }
}

/// The way to a broker, or to all of a cluster.
#[derive(Clone, Debug)]
pub struct Access {
    brokers: String,
    replicas: i32,
}

/// How a partition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stand {
    pub partition: i32,
    /// The number of the leading broker; negative where there is none.
    pub leader: i32,
    /// The broker that leads again as soon as it can: that of the first replica.
    pub preferred: i32,
    /// Replicas that have all that was acknowledged.
    pub in_sync: usize,
}

impl Access {
    /// To these brokers, for topics of so many replicas.
    pub(super) fn new(brokers: String, replicas: i32) -> Self {
        Self { brokers, replicas }
    }

    /// For `bootstrap.servers`.
    pub fn brokers(&self) -> String {
        self.brokers.clone()
    }

    /// How many brokers a broker knows.
    pub(super) fn brokers_count(&self) -> Result<usize> {
        let consumer: BaseConsumer = self.client().create()?;
        Ok(consumer.fetch_metadata(None, PROBE)?.brokers().len())
    }

    /// How the partitions of a topic stand, in the order of their numbers.
    pub fn stands(&self, topic: &str) -> Result<Vec<Stand>> {
        let consumer: BaseConsumer = self.client().create()?;
        let metadata = consumer.fetch_metadata(Some(topic), REQUEST)?;
        let known = metadata.topics().iter().find(|known| known.name() == topic);
        let known = known.with_context(|| format!("topic {topic} is unknown"))?;
        let stand = |partition: &MetadataPartition| Stand {
            partition: partition.id(),
            leader: partition.leader(),
            preferred: partition.replicas().first().copied().unwrap_or(-1),
            in_sync: partition.isr().len(),
        };
        let mut stands: Vec<Stand> = known.partitions().iter().map(stand).collect();
        stands.sort_by_key(|stand| stand.partition);
        Ok(stands)
    }

    /// Waits until all replicas of a topic have all that was acknowledged.
    pub fn wait_in_sync(&self, topic: &str, within: Duration) -> Result<()> {
        let wanted = usize::try_from(self.replicas).context("counting replicas")?;
        await_ok(within, &format!("all replicas of {topic}"), || {
            let stands = self.stands(topic)?;
            let is_whole = !stands.is_empty() && stands.iter().all(|one| one.in_sync == wanted);
            is_whole.then_some(()).with_context(|| format!("they stand so: {stands:?}"))
        })
    }

    /// Creates a topic and waits until every broker knows leaders of all its partitions.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<()> {
        self.create_topic_with(name, partitions, &[])
    }

    /// The same with topic configuration, say `[("cleanup.policy", "compact")]`.
    pub fn create_topic_with(
        &self,
        name: &str,
        partitions: i32,
        properties: &[(&str, &str)],
    ) -> Result<()> {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(self.replicas));
        for (key, value) in properties {
            topic = topic.set(key, value);
        }
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let options = AdminOptions::new().operation_timeout(Some(REQUEST));
        let results = block_on(admin.create_topics([&topic], &options), REQUEST)??;
        for result in results {
            result.map_err(|(topic, code)| anyhow!("creating topic {topic}: {code}"))?;
        }
        let expected = usize::try_from(partitions).context("counting partitions")?;
        // Each of them learns it by itself, and whoever asks one that has not is told that there is
        // no such topic.
        self.brokers.split(',').try_for_each(|broker| {
            let consumer: BaseConsumer = client(broker).create()?;
            await_ok(REQUEST, &format!("leaders of {name} at {broker}"), || {
                let found = partition_ids(&consumer, name)?.len();
                (found == expected).then_some(()).with_context(|| format!("{found} partitions"))
            })
        })
    }

    /// Gives a topic more partitions: so many in all.
    pub fn add_partitions(&self, name: &str, partitions: usize) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let options = AdminOptions::new().operation_timeout(Some(REQUEST));
        let new = [NewPartitions::new(name, partitions)];
        for result in block_on(admin.create_partitions(&new, &options), REQUEST)?? {
            result.map_err(|(topic, code)| anyhow!("adding to topic {topic}: {code}"))?;
        }
        let consumer: BaseConsumer = self.client().create()?;
        await_ok(REQUEST, &format!("leaders of {name}"), || {
            let found = partition_ids(&consumer, name)?.len();
            (found == partitions).then_some(()).with_context(|| format!("{found} partitions"))
        })
    }

    /// Deletes a topic.
    pub fn delete_topic(&self, name: &str) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let options = AdminOptions::new().operation_timeout(Some(REQUEST));
        for result in block_on(admin.delete_topics(&[name], &options), REQUEST)?? {
            result.map_err(|(topic, code)| anyhow!("deleting topic {topic}: {code}"))?;
        }
        Ok(())
    }

    /// Produces records and waits until the broker has acknowledged them all, in order within
    /// a partition, each once even when the broker is killed meanwhile. Returns their number.
    /// That idempotence costs half a second a call; `enable.idempotence=false` saves it.
    pub fn produce(&self, topic: &str, records: impl IntoIterator<Item = Record>) -> Result<u64> {
        self.produce_with(topic, records, &[])
    }

    /// The same with properties of the producer, say `[("compression.type", "zstd")]`.
    pub fn produce_with(
        &self,
        topic: &str,
        records: impl IntoIterator<Item = Record>,
        properties: &[(&str, &str)],
    ) -> Result<u64> {
        let mut config = self.client();
        // Large batches: the broker is not what a test measures.
        config.set("linger.ms", "20").set("batch.size", "1000000");
        config.set("message.max.bytes", "67108864").set("enable.idempotence", "true");
        config.set("queue.buffering.max.messages", "200000");
        for (key, value) in properties {
            config.set(*key, *value);
        }
        let producer: BaseProducer<Deliveries> =
            config.create_with_context(Deliveries::default())?;
        let mut count = 0;
        for record in records {
            send(&producer, topic, &record)
                .with_context(|| format!("producing record {count} to {topic}"))?;
            count += 1;
            if count % 1024 == 0 {
                producer.poll(Duration::ZERO);
            }
        }
        producer.flush(BATCH).with_context(|| format!("producing to {topic}"))?;
        let deliveries = producer.context();
        if let Some(error) = lock(&deliveries.failure).take() {
            bail!("producing to {topic}: {error}");
        }
        let delivered = deliveries.count.load(Ordering::Relaxed);
        anyhow::ensure!(delivered == count, "producing to {topic}: {delivered} of {count} arrived");
        Ok(count)
    }

    /// What a group has committed: (partition, next offset), without partitions it never committed.
    pub fn committed(&self, group: &str, topic: &str) -> Result<Vec<(i32, i64)>> {
        let consumer: BaseConsumer = self.client().set("group.id", group).create()?;
        let mut wanted = TopicPartitionList::new();
        for partition in partition_ids(&consumer, topic)? {
            wanted.add_partition(topic, partition);
        }
        let committed = consumer.committed_offsets(wanted, REQUEST)?;
        let offsets = committed.elements().into_iter().filter_map(|element| {
            let Offset::Offset(next) = element.offset() else { return None };
            Some((element.partition(), next))
        });
        Ok(offsets.collect())
    }

    /// The offsets after the last record of each partition.
    pub fn end_offsets(&self, topic: &str) -> Result<Vec<(i32, i64)>> {
        let consumer: BaseConsumer = self.client().create()?;
        let offsets = partition_ids(&consumer, topic)?.into_iter().map(|partition| {
            let ends = || Ok(consumer.fetch_watermarks(topic, partition, REQUEST)?);
            let what = format!("the end of {topic}[{partition}]");
            Ok((partition, await_ok(REQUEST, &what, ends)?.1))
        });
        offsets.collect()
    }

    /// Reads a topic from its beginning to its present end: committed records only, in order
    /// within a partition, partitions in the order of their numbers.
    pub fn read_all(&self, topic: &str) -> Result<Vec<Message>> {
        let mut config = self.client();
        config.set("group.id", "world-reader").set("enable.auto.commit", "false");
        config.set("enable.partition.eof", "true").set("fetch.message.max.bytes", "67108864");
        config.set("fetch.wait.max.ms", "20");
        let consumer: BaseConsumer = config.create()?;
        let mut wanted = TopicPartitionList::new();
        let mut unfinished = partition_ids(&consumer, topic)?;
        for partition in &unfinished {
            wanted.add_partition_offset(topic, *partition, Offset::Beginning)?;
        }
        consumer.assign(&wanted)?;
        let start = Instant::now();
        let mut messages = Vec::new();
        while !unfinished.is_empty() {
            if start.elapsed() > BATCH {
                bail!("reading {topic}: no end of partitions {unfinished:?} in {BATCH:?}");
            }
            match consumer.poll(Duration::from_millis(100)) {
                None => {}
                Some(Ok(message)) => messages.push(owned(&message)),
                Some(Err(KafkaError::PartitionEOF(ended))) => unfinished.retain(|id| *id != ended),
                Some(Err(error)) if passes(&error) => {}
                Some(Err(error)) => bail!("reading {topic}: {error}"),
            }
        }
        messages.sort_by_key(|message| (message.partition, message.offset));
        Ok(messages)
    }

    fn client(&self) -> ClientConfig {
        client(&self.brokers)
    }
}

/// Whether a broker answers a metadata request, and knows itself.
pub(crate) fn answers(brokers: &str) -> Result<()> {
    std::net::TcpStream::connect(brokers).with_context(|| format!("connecting to {brokers}"))?;
    let consumer: BaseConsumer = client(brokers).create()?;
    let metadata = consumer.fetch_metadata(None, PROBE)?;
    anyhow::ensure!(!metadata.brokers().is_empty(), "the broker has not registered yet");
    Ok(())
}

fn client(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("reconnect.backoff.max.ms", "200");
    // The connection errors of a broker that is being broken are no news to a test.
    config.set_log_level(rdkafka::config::RDKafkaLogLevel::Emerg);
    config
}

/// The partitions of a topic, as soon as all have leaders: those of a broker that has just come
/// back get theirs after it answers. An error at once while the topic is unknown.
fn partition_ids(consumer: &BaseConsumer, topic: &str) -> Result<Vec<i32>> {
    await_ok(REQUEST, &format!("leaders of {topic}"), || match partitions(consumer, topic) {
        Ok(found) if found.iter().any(|(_, led)| !led) => bail!("they are led so: {found:?}"),
        Err(error) if error.downcast_ref().is_some_and(passes) => Err(error),
        found => Ok(found),
    })?
    .map(|found| found.into_iter().map(|(id, _)| id).collect())
}

/// The partitions of a topic, and whether they have leaders.
fn partitions(consumer: &BaseConsumer, topic: &str) -> Result<Vec<(i32, bool)>> {
    let metadata = consumer.fetch_metadata(Some(topic), REQUEST)?;
    let known = metadata.topics().iter().find(|known| known.name() == topic);
    let known = known.with_context(|| format!("topic {topic} is unknown"))?;
    if let Some(error) = known.error() {
        let error = KafkaError::MetadataFetch(error.into());
        return Err(Error::from(error).context(format!("asking about topic {topic}")));
    }
    let led = |partition: &MetadataPartition| (partition.id(), partition.leader() >= 0);
    Ok(known.partitions().iter().map(led).collect())
}

/// Errors of a broker that has just come back, and that the client gets over by itself.
fn passes(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let code = error.rdkafka_error_code();
    let Some(code) = code else { return false };
    matches!(code, Code::BrokerTransportFailure | Code::AllBrokersDown | Code::LeaderNotAvailable)
}

/// Counts what the broker acknowledged and keeps the first failure.
#[derive(Default)]
struct Deliveries {
    count: AtomicU64,
    failure: Mutex<Option<KafkaError>>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                self.count.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => {
                lock(&self.failure).get_or_insert(error.clone());
            }
        }
    }
}

/// Hands one record to the producer; waits for room while its queue is full.
fn send(producer: &BaseProducer<Deliveries>, topic: &str, record: &Record) -> Result<()> {
    let mut message = BaseRecord::<[u8], [u8]>::to(topic);
    message.partition = record.partition;
    message.key = record.key.as_deref();
    message.payload = record.value.as_deref();
    message.timestamp = record.timestamp_ms;
    if !record.headers.is_empty() {
        let headers = OwnedHeaders::new_with_capacity(record.headers.len());
        message.headers = Some(record.headers.iter().fold(headers, |headers, (key, value)| {
            headers.insert(Header { key, value: value.as_deref() })
        }));
    }
    let start = Instant::now();
    loop {
        let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
        match producer.send(message) {
            Ok(()) => return Ok(()),
            Err((error, refused)) if error == full && start.elapsed() < BATCH => message = refused,
            Err((error, _)) => return Err(error.into()),
        }
        producer.poll(Duration::from_millis(10));
    }
}

fn owned(message: &BorrowedMessage<'_>) -> Message {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    Message {
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers
            .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
            .collect(),
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for one of the admin client's futures, which its own thread completes.
fn block_on<T>(future: impl Future<Output = T>, within: Duration) -> Result<T> {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = TaskContext::from_waker(&waker);
    let mut future = pin!(future);
    let start = Instant::now();
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return Ok(value);
        }
        let left = within.saturating_sub(start.elapsed());
        if left.is_zero() {
            bail!("waiting {within:?} for the broker's answer");
        }
        std::thread::park_timeout(left);
    }
}
