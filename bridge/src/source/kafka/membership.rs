//! The group from the inside, for a sink that commits its offsets together with rows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use rdkafka::TopicPartitionList;
use rdkafka::bindings as c;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};

use super::KafkaSource;
use super::fetch::Client;
use super::rebalance::Member;
use crate::batch::TopicPartition;
use crate::blame::Fault;
use crate::kafka::errors;
use crate::kafka::topics::REQUEST;

/// A membership that ends with its source, and outlives the clients that it makes anew.
#[derive(Clone, Default)]
pub struct Membership(Arc<State>);

#[derive(Default)]
struct State {
    group: String,
    client: Mutex<Weak<BaseConsumer<Member>>>,
    losses: AtomicU64,
}

impl KafkaSource {
    /// What the group knows of us.
    pub fn membership(&self) -> Membership {
        self.membership.clone()
    }
}

/// The number of the group's generation that we are a member of.
fn generation(client: &BaseConsumer<Member>) -> Option<i32> {
    // SAFETY: the client is alive; what is returned is ours, is read while it lives, and is given
    // back once.
    let number = unsafe {
        let metadata = c::rd_kafka_consumer_group_metadata(client.client().native_ptr());
        if metadata.is_null() {
            return None;
        }
        let number = c::rd_kafka_consumer_group_metadata_generation_id(metadata);
        c::rd_kafka_consumer_group_metadata_destroy(metadata);
        number
    };
    (number >= 0).then_some(number)
}

impl Membership {
    /// Of this client.
    pub(super) fn new(group: &str, client: &Client) -> Membership {
        let client = Mutex::new(Arc::downgrade(client));
        Membership(Arc::new(State { group: group.to_owned(), client, ..State::default() }))
    }

    /// From now on by another client.
    pub(super) fn renew(&self, client: &Client) {
        *self.0.client.lock().expect("no one panics with it") = Arc::downgrade(client);
    }

    /// Partitions are gone without having been asked back: said before the group is joined again.
    pub fn lose(&self) {
        self.0.losses.fetch_add(1, Ordering::SeqCst);
    }

    /// How often partitions were lost. A member that joined again is let in under its new number,
    /// whatever it still holds of partitions from before: only this tells them apart.
    pub fn losses(&self) -> u64 {
        self.0.losses.load(Ordering::SeqCst)
    }

    fn client(&self) -> Option<Client> {
        self.0.client.lock().expect("no one panics with it").upgrade()
    }

    /// Who we are in the group just now: with it a broker tells a member from one that was expelled
    /// (KIP-447). One that has not joined again yet is nobody, and a broker would take the offsets
    /// of nobody unchecked.
    pub fn metadata(&self) -> Option<ConsumerGroupMetadata> {
        let client = self.client()?;
        // The library's interface hides the number: it is the one that stood before and after.
        let before = generation(&client)?;
        let metadata = client.group_metadata()?;
        (generation(&client) == Some(before)).then_some(metadata)
    }

    /// The offsets that the group has committed; asked of the coordinator, which keeps whoever asks
    /// waiting while a transaction is about to move them. Blocks.
    pub fn committed(&self, names: &[TopicPartition]) -> Result<Vec<Option<i64>>, Fault> {
        let client =
            self.client().ok_or_else(|| Fault::world("the consumer has left its group"))?;
        let mut list = TopicPartitionList::with_capacity(names.len());
        for name in names {
            list.add_partition(&name.topic, name.partition);
        }
        let doing = format!("asking for the committed offsets of group {}", self.0.group);
        let failed = |error| {
            let words = client.context().diagnostics.last_words();
            errors::fault(&doing, &error, words)
        };
        let answer = client.committed_offsets(list, REQUEST).map_err(failed)?;
        let mut offsets = Vec::with_capacity(names.len());
        for name in names {
            let found = answer.find_partition(&name.topic, name.partition);
            let found = found.ok_or_else(|| Fault::world(format!("{doing}: no word of {name}")))?;
            found.error().map_err(failed)?;
            offsets.push(found.offset().to_raw().filter(|offset| *offset >= 0));
        }
        Ok(offsets)
    }
}
