//! Reads single records again by their position, for the dead letters: a reader of its own, beside
//! all groups.

use std::time::{Duration, Instant};

use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::fetch::headers_of;
use crate::batch::TopicPartition;
use crate::blame::Fault;
use crate::config::{Group, KafkaPlan};
use crate::kafka::context::Observer;
use crate::kafka::settings::Settings;
use crate::kafka::{errors, hold};
use crate::source::{OwnedRecord, Reread};

/// How long one record may take to come.
const RECORD_MAX: Duration = Duration::from_secs(10);

/// A reader that nobody polls is given no new token, and what became of its connections meanwhile
/// would be told as the answer to the next question. So it is kept no longer than this.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// A reader of single records. Connects at its first record.
pub struct Rereader {
    settings: Settings,
    group: Group,
    client: Option<(BaseConsumer<Observer>, Observer)>,
    used_at: Instant,
}

impl Rereader {
    /// A reader for the topics of a plan.
    pub fn new(plan: &KafkaPlan) -> Result<Rereader, Fault> {
        let (settings, used_at) = (Settings::new(plan)?, Instant::now());
        Ok(Rereader { settings, group: plan.group.clone(), client: None, used_at })
    }

    fn connect(&mut self) -> Result<(), Fault> {
        if self.used_at.elapsed() > IDLE_MAX {
            self.client = None;
        }
        if self.client.is_some() {
            return Ok(());
        }
        let mut config = self.settings.reader();
        // An assignment needs the name of a group. It is never joined.
        if let Some(group) = self.group.name() {
            config.set("group.id", group);
        }
        // The end is news: the record is not there.
        config.set("enable.partition.eof", "true");
        let observer = self.settings.observer();
        let client = config.create_with_context(observer.clone());
        let client = client.map_err(|error| self.settings.refused(&error))?;
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
        self.used_at = Instant::now();
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
    hold::take(client, &list)?;
    let found = await_one(client, partition, offset);
    // What was fetched beyond the one record is not kept.
    hold::let_go(client, &list);
    found
}

fn await_one(
    client: &BaseConsumer<Observer>,
    partition: &TopicPartition,
    offset: i64,
) -> Result<Option<OwnedRecord>, KafkaError> {
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
