//! One producer, and the records that it was given: sent in order, each answered by a report. What
//! failed goes again together with everything behind it, so that what has one key keeps its order.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, PurgeConfig};

use super::frame::Frame;
use crate::blame::Fault;
use crate::kafka::Reports;
use crate::kafka::settings::Settings;

/// Records of one request, at most, in bytes: under a broker's own bound of 1 MiB for a batch.
pub const BATCH_BYTES: usize = 1_000_000;
/// How long reports are waited for at once.
const POLL: Duration = Duration::from_millis(50);
/// How long a transaction may take.
const TRANSACTION: Duration = Duration::from_secs(20);
/// Silence that is worth a word.
const SILENT: Duration = Duration::from_secs(2);

/// A record, its topic and its headers.
pub struct Addressed<'a> {
    /// The topic.
    pub topic: &'a str,
    /// Key, value and partition.
    pub frame: Frame<'a>,
    /// Headers, if any are wanted.
    pub headers: Option<OwnedHeaders>,
}

/// What became of records.
#[derive(Debug, Default)]
pub struct Reported {
    /// (place, what the broker or the client said), in the order of their places.
    pub failed: Vec<(usize, RDKafkaErrorCode)>,
    /// Not all were reported: they were wanted back, or the client is of no use any more.
    pub broken_off: Option<String>,
}

/// A connection to the brokers.
pub struct Connection {
    producer: BaseProducer<Reports>,
    id: Option<String>,
}

impl Connection {
    /// Connects lazily. Batches have so many bytes at most, but for a record that is larger.
    pub fn new(settings: &Settings, batch_bytes: usize) -> Result<Connection, Fault> {
        let mut config = basics(settings, batch_bytes);
        // A report that never gives up keeps the order through the restart of a broker: the
        // library sends again what it sent, before anything else.
        config.set("message.timeout.ms", "0");
        Connection::of(settings, &config, None)
    }

    /// The same for records that are written in transactions of this id.
    pub fn transactional(
        settings: &Settings,
        batch_bytes: usize,
        id: String,
    ) -> Result<Connection, Fault> {
        let mut config = basics(settings, batch_bytes);
        config.set("transactional.id", &id);
        // What a killed process left open holds readers up for as long, and the next process that
        // bears another id.
        config.set("transaction.timeout.ms", TRANSACTION.as_millis().to_string());
        config.set("message.timeout.ms", TRANSACTION.as_millis().to_string());
        Connection::of(settings, &config, Some(id))
    }

    fn of(
        settings: &Settings,
        config: &ClientConfig,
        id: Option<String>,
    ) -> Result<Connection, Fault> {
        let producer: Result<BaseProducer<Reports>, _> =
            config.create_with_context(settings.reports());
        let producer = producer.map_err(|error| settings.refused(&error))?;
        // A token for OAUTHBEARER is asked for by an event, and events are only served here.
        producer.poll(Duration::ZERO);
        Ok(Connection { producer, id })
    }

    /// The client itself.
    pub fn producer(&self) -> &BaseProducer<Reports> {
        &self.producer
    }

    /// The transactional id, if it has one.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// What the client said last of its connections.
    pub fn last_words(&self) -> Option<String> {
        self.producer.context().diagnostics.last_words()
    }

    /// Sends records and waits for all reports. `go_on` is asked while nothing comes, and told why
    /// if that lasts. A connection that was broken off is of no further use.
    pub fn send<'a>(
        &self,
        places: &[usize],
        record: impl Fn(usize) -> Addressed<'a>,
        go_on: &mut dyn FnMut(Option<&str>) -> bool,
    ) -> Reported {
        let reported = Reported::default();
        let mut sending =
            Sending { connection: self, go_on, reported, sent: 0, heard: 0, news: Instant::now() };
        for place in places {
            sending.offer(*place, record(*place));
            if sending.reported.broken_off.is_some() {
                return sending.reported;
            }
        }
        while sending.heard < sending.sent && sending.reported.broken_off.is_none() {
            sending.listen();
        }
        let mut reported = sending.reported;
        reported.failed.sort_unstable_by_key(|(place, _)| *place);
        reported
    }
}

fn basics(settings: &Settings, batch_bytes: usize) -> ClientConfig {
    let mut config = settings.producer();
    // The topic's own bound decides, not the client's.
    config.set("message.max.bytes", "100000000");
    config.set("batch.size", batch_bytes.to_string());
    if settings.get("partitioner").is_none() {
        // Java's: the same key in the same partition, whoever wrote it.
        config.set("partitioner", "murmur2_random");
    }
    config
}

impl Drop for Connection {
    fn drop(&mut self) {
        // What is still under way was given up by whoever waited for it.
        self.producer.purge(PurgeConfig::default().queue().inflight());
    }
}

/// Records on their way.
struct Sending<'s> {
    connection: &'s Connection,
    go_on: &'s mut dyn FnMut(Option<&str>) -> bool,
    reported: Reported,
    sent: usize,
    heard: usize,
    /// When something was heard last.
    news: Instant,
}

impl Sending<'_> {
    /// Hands one record to the client; listens while its queue is full.
    fn offer(&mut self, place: usize, addressed: Addressed<'_>) {
        let Addressed { topic, frame, headers } = addressed;
        let mut record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(topic, place);
        (record.key, record.payload) = (frame.key, frame.value);
        record.timestamp = frame.timestamp_ms;
        (record.partition, record.headers) = (frame.partition, headers);
        while self.reported.broken_off.is_none() {
            match self.connection.producer.send(record) {
                Ok(()) => {
                    self.sent += 1;
                    return;
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.listen();
                }
                Err((error, _)) => {
                    let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                    return self.reported.failed.push((place, code));
                }
            }
        }
    }

    /// Waits a little for reports; finds out whether it is worth waiting for more.
    fn listen(&mut self) {
        let Connection { producer, .. } = self.connection;
        producer.poll(POLL);
        let reports = producer.context().take();
        if !reports.is_empty() {
            self.heard += reports.len();
            self.news = Instant::now();
        }
        let failed = reports.into_iter().filter_map(|(place, code)| Some((place, code?)));
        self.reported.failed.extend(failed);
        if let Some((_, words)) = producer.client().fatal_error() {
            self.reported.broken_off = Some(words);
            return;
        }
        let silent = self.news.elapsed() > SILENT;
        let words = silent.then(|| {
            self.connection.last_words().unwrap_or_else(|| "no delivery report".to_owned())
        });
        if !(self.go_on)(words.as_deref()) {
            self.reported.broken_off = Some("everything is wanted back".to_owned());
        }
    }
}
