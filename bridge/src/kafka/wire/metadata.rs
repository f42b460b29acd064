//! Who leads which partition, and where brokers are (Metadata, versions 4 to 10).

use std::io::Read;

use super::frame::Frame;
use super::write::Writer;
use super::{Broken, keys};

/// A broker's address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broker {
    /// Its number.
    pub id: i32,
    /// Its host, as it is to be reached by clients of this listener.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// Who leads a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leader {
    /// The partition's number.
    pub partition: i32,
    /// The leading broker's number; negative where there is none.
    pub broker: i32,
    /// The leadership's number; -1 where the broker does not tell.
    pub epoch: i32,
}

/// A topic that was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its number, which one that is made anew under the name does not have; `None` where the
    /// broker does not tell.
    pub id: Option<TopicId>,
    /// Who leads its partitions.
    pub leaders: Vec<Leader>,
}

/// The number of a topic.
pub type TopicId = std::num::NonZeroU128;

/// The first version that is flexible.
const FLEXIBLE: i16 = 9;

/// A cluster as a broker sees it.
#[derive(PartialEq, Eq, Debug, Default)]
pub struct Metadata {
    /// All brokers.
    pub brokers: Vec<Broker>,
    /// The topics that were asked for.
    pub topics: Vec<Topic>,
}

/// Whether a version is flexible: lengths as varints, tagged fields.
pub fn is_flexible(version: i16) -> bool {
    version >= FLEXIBLE
}

/// The request.
pub fn ask<'a>(
    bytes: Vec<u8>,
    version: i16,
    client: &str,
    topics: impl ExactSizeIterator<Item = &'a str>,
) -> Vec<u8> {
    let mut writer = Writer::request(bytes, keys::METADATA, version, is_flexible(version), client);
    writer.count(topics.len());
    topics.for_each(|topic| {
        if version >= 10 {
            // topic_id: it is asked for by its name.
            writer.i64(0);
            writer.i64(0);
        }
        writer.text(topic);
        writer.end();
    });
    // A topic that is missing is not to be made.
    writer.i8(0);
    if version >= 8 {
        writer.i8(0); // include_cluster_authorized_operations
        writer.i8(0); // include_topic_authorized_operations
    }
    writer.end();
    writer.finish()
}

/// The answer. Topics and partitions that have an error are simply without a leader.
pub fn answer<R: Read>(mut frame: Frame<'_, R>, version: i16) -> Result<Metadata, Broken> {
    let mut found = Metadata::default();
    frame.i32()?; // throttle_time_ms: it is asked for rarely.
    for _ in 0..frame.count(11)? {
        let (id, host, port) = (frame.i32()?, frame.text()?, frame.i32()?);
        let port = u16::try_from(port).map_err(|_| Broken::Nonsense("port"))?;
        frame.text()?; // rack
        frame.tags(|_, _| Ok(()))?;
        found.brokers.push(Broker { id, host, port });
    }
    frame.text()?; // cluster_id
    frame.i32()?; // controller_id
    for _ in 0..frame.count(9)? {
        found.topics.push(topic(&mut frame, version)?);
    }
    frame.finish()?;
    Ok(found)
}

fn topic<R: Read>(frame: &mut Frame<'_, R>, version: i16) -> Result<Topic, Broken> {
    frame.i16()?; // error_code
    let name = frame.text()?;
    let mut id = None;
    if version >= 10 {
        let (high, low) = (frame.i64()? as u64, frame.i64()? as u64);
        id = TopicId::new((u128::from(high) << 64) | u128::from(low));
    }
    frame.i8()?; // is_internal
    let mut leaders = Vec::new();
    for _ in 0..frame.count(18)? {
        leaders.push(leader(frame, version)?);
    }
    if version >= 8 {
        frame.i32()?; // topic_authorized_operations
    }
    frame.tags(|_, _| Ok(()))?;
    Ok(Topic { name, id, leaders })
}

fn leader<R: Read>(frame: &mut Frame<'_, R>, version: i16) -> Result<Leader, Broken> {
    frame.i16()?; // error_code: without a leader, `broker` says so.
    let (partition, broker) = (frame.i32()?, frame.i32()?);
    let epoch = if version >= 7 { frame.i32()? } else { -1 };
    // replica_nodes, isr_nodes, offline_replicas
    let lists = if version >= 5 { 3 } else { 2 };
    for _ in 0..lists {
        let count = frame.count(4)?;
        frame.skip(count * 4)?;
    }
    frame.tags(|_, _| Ok(()))?;
    Ok(Leader { partition, broker, epoch })
}
