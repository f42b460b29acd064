//! Reads single records again by their position, for the dead letters: a reader of its own, beside
//! the group.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::fetch::headers_of;
use crate::batch::TopicPartition;
use crate::blame::Fault;
use crate::config::KafkaPlan;
use crate::kafka::context::Observer;
use crate::kafka::settings::Settings;
use crate::kafka::{errors, topics};
use crate::source::{OwnedRecord, Reread};

/// How long one record may take to come.
const RECORD_MAX: Duration = Duration::from_secs(10);

/// A reader of single records. Connects at its first record.
pub struct Rereader {
    settings: Settings,
    group: String,
    client: Option<(BaseConsumer<Observer>, Observer)>,
}

impl Rereader {
    /// A reader for the topics of a plan.
    pub fn new(plan: &KafkaPlan) -> Result<Rereader, Fault> {
        Ok(Rereader { settings: Settings::new(plan)?, group: plan.group.clone(), client: None })
    }

    fn connect(&mut self) -> Result<(), Fault> {
        if self.client.is_some() {
            return Ok(());
        }
        let mut config = self.settings.reader();
        // Without a group the library offers no queue for an assignment. It is never joined.
        config.set("group.id", &self.group);
        // The end is news: the record is not there.
        config.set("enable.partition.eof", "true");
        let observer = Observer::default();
        let client = config.create_with_context(observer.clone());
        let client = client.map_err(|error| topics::refused(&error))?;
        self.client = Some((client, observer));
        Ok(())
    }
}

impl Reread for Rereader {
    fn reread(
        &mut self,
        partition: &TopicPartition,
        offset: i64,
    ) -> Result<Option<OwnedRecord>, Fault> {
        self.connect()?;
        let (client, observer) = self.client.as_ref().expect("connected just now");
        let found = read_one(client, partition, offset);
        let doing = || format!("reading {partition}@{offset} again");
        let found = found
            .map_err(|error| errors::fault(&doing(), &error, observer.diagnostics.last_words()));
        // What was fetched beyond the one record is not kept.
        let _ = client.unassign();
        found
    }
}

fn read_one(
    client: &BaseConsumer<Observer>,
    partition: &TopicPartition,
    offset: i64,
) -> Result<Option<OwnedRecord>, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(offset))?;
    client.assign(&list)?;
    let deadline = Instant::now() + RECORD_MAX;
    loop {
        match client.poll(Duration::from_millis(100)) {
            Some(Ok(message)) if is_of(&message, partition) => {
                return Ok((message.offset() == offset).then(|| owned(&message)));
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(None),
            Some(Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset,
            ))) => return Ok(None),
            Some(Err(error)) if is_final(&error) => return Err(error),
            _ => {}
        }
        if Instant::now() > deadline {
            return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
        }
    }
}

fn is_of(message: &BorrowedMessage<'_>, partition: &TopicPartition) -> bool {
    message.topic() == &*partition.topic && message.partition() == partition.partition
}

fn is_final(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    code.is_some_and(|code| errors::blame(code) != crate::blame::Blame::World)
}

/// A copy of a message, headers and all.
pub fn owned(message: &BorrowedMessage<'_>) -> OwnedRecord {
    let mut headers = Vec::new();
    // SAFETY: the message is borrowed, hence alive, and of this thread.
    unsafe {
        headers_of(message.ptr(), &mut |name, value| {
            headers.push((name.to_vec(), value.map(<[u8]>::to_vec)));
        });
    }
    OwnedRecord {
        timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers,
    }
}
