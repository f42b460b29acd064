//! Gives partitions to a client. One that bears a group's name takes an assignment; to one without
//! they are given one by one, the library's older way, which asks the brokers nothing about groups
//! (whoever bears a name asks for its coordinator, member or not). Nobody joins by either.

use std::ffi::{CStr, CString};

use rdkafka::bindings as c;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

/// Where records of a partition come out that is given by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outlet {
    /// Where all else comes that the client has to say.
    Client,
    /// Its own queue, which was split off.
    Own,
}

/// Reads these partitions, each from its offset on, in place of those before.
pub fn take<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    list: &TopicPartitionList,
) -> Result<(), KafkaError> {
    if has_group(client) {
        return client.assign(list);
    }
    for element in list.elements() {
        let Offset::Offset(offset) = element.offset() else { continue };
        let topic = CString::new(element.topic())?;
        start(client, &topic, element.partition(), offset, Outlet::Client)?;
    }
    Ok(())
}

/// Reads them no more.
pub fn let_go<C: ConsumerContext>(client: &BaseConsumer<C>, list: &TopicPartitionList) {
    if has_group(client) {
        let _ = client.unassign();
        return;
    }
    for element in list.elements() {
        if let Ok(topic) = CString::new(element.topic()) {
            stop(client, &topic, element.partition());
        }
    }
}

fn has_group<C: ConsumerContext>(client: &BaseConsumer<C>) -> bool {
    client.group_metadata().is_some()
}

/// Reads a partition from `offset` on. Where it is read already, what was fetched from the old
/// place is thrown away: the library tells by a number what belongs to an earlier start.
pub fn start<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &CStr,
    partition: i32,
    offset: i64,
    outlet: Outlet,
) -> Result<(), KafkaError> {
    let native = client.client().native_ptr();
    // SAFETY: the client is alive, `topic` is a C string. The handles of topic and queue are ours
    // and are given back here; what reads the partition has its own.
    let failure = unsafe {
        let handle = c::rd_kafka_topic_new(native, topic.as_ptr(), std::ptr::null_mut());
        if handle.is_null() {
            return Err(KafkaError::MessageConsumption(c::rd_kafka_last_error().into()));
        }
        let failed = match outlet {
            Outlet::Own => c::rd_kafka_consume_start(handle, partition, offset),
            Outlet::Client => {
                let queue = c::rd_kafka_queue_get_main(native);
                let failed = c::rd_kafka_consume_start_queue(handle, partition, offset, queue);
                c::rd_kafka_queue_destroy(queue);
                failed
            }
        };
        let failure = (failed != 0).then(|| c::rd_kafka_last_error());
        c::rd_kafka_topic_destroy(handle);
        failure
    };
    failure.map_or(Ok(()), |code| Err(KafkaError::MessageConsumption(code.into())))
}

/// Reads a partition no more. One that was not read stays as it is.
pub fn stop<C: ConsumerContext>(client: &BaseConsumer<C>, topic: &CStr, partition: i32) {
    let native = client.client().native_ptr();
    // SAFETY: the client is alive, `topic` is a C string; the handle is ours and is given back.
    unsafe {
        let handle = c::rd_kafka_topic_new(native, topic.as_ptr(), std::ptr::null_mut());
        if !handle.is_null() {
            c::rd_kafka_consume_stop(handle, partition);
            c::rd_kafka_topic_destroy(handle);
        }
    }
}
