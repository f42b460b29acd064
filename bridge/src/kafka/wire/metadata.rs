//! Who leads which partition, and where brokers are (Metadata, versions 4 to 7).

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

/// A cluster as a broker sees it.
#[derive(PartialEq, Eq, Debug, Default)]
pub struct Metadata {
    /// All brokers.
    pub brokers: Vec<Broker>,
    /// The topics that were asked for: name, and who leads its partitions.
    pub topics: Vec<(String, Vec<Leader>)>,
}

/// The request.
pub fn ask<'a>(
    bytes: Vec<u8>,
    version: i16,
    client: &str,
    topics: impl ExactSizeIterator<Item = &'a str>,
) -> Vec<u8> {
    let mut writer = Writer::request(bytes, keys::METADATA, version, false, client);
    writer.count(topics.len());
    topics.for_each(|topic| writer.text(topic));
    // A topic that is missing is not to be made.
    writer.i8(0);
    writer.finish()
}

/// The answer. Topics and partitions that have an error are simply without a leader.
pub fn answer<R: Read>(mut frame: Frame<'_, R>, version: i16) -> Result<Metadata, Broken> {
    let mut found = Metadata::default();
    frame.i32()?; // throttle_time_ms: it is asked for rarely.
    for _ in 0..frame.count(12)? {
        let (id, host, port) = (frame.i32()?, frame.text()?, frame.i32()?);
        let port = u16::try_from(port).map_err(|_| Broken::Nonsense("port"))?;
        frame.text()?; // rack
        found.brokers.push(Broker { id, host, port });
    }
    frame.text()?; // cluster_id
    frame.i32()?; // controller_id
    for _ in 0..frame.count(9)? {
        frame.i16()?; // error_code
        let name = frame.text()?;
        frame.i8()?; // is_internal
        let mut leaders = Vec::new();
        for _ in 0..frame.count(18)? {
            leaders.push(leader(&mut frame, version)?);
        }
        found.topics.push((name, leaders));
    }
    frame.finish()?;
    Ok(found)
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
    Ok(Leader { partition, broker, epoch })
}
