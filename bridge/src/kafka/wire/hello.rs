//! Which versions a broker speaks (ApiVersions, version 0, which every broker answers).

use std::io::Read;

use super::frame::Frame;
use super::write::Writer;
use super::{Broken, codes, keys};

/// The versions that broker and bridge have in common: the newest of each request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spoken {
    /// Of Fetch. 4 is the first with record batches and transactions; 12 the last that names
    /// topics by their names, so that no ids must be known.
    pub fetch: i16,
    /// Of Metadata. 4 is the first that does not make missing topics, 7 the first that tells
    /// leaders' epochs, 10 the first that tells topics' numbers.
    pub metadata: i16,
}

const FETCH: (i16, i16) = (4, 12);
const METADATA: (i16, i16) = (4, 10);

/// The request.
pub fn ask(bytes: Vec<u8>, client: &str) -> Vec<u8> {
    Writer::request(bytes, keys::API_VERSIONS, 0, false, client).finish()
}

/// The answer.
pub fn answer<R: Read>(mut frame: Frame<'_, R>) -> Result<Spoken, Broken> {
    let code = frame.i16()?;
    if code != codes::NONE {
        return Err(Broken::Foreign("ApiVersions"));
    }
    let (mut fetch, mut metadata) = (None, None);
    for _ in 0..frame.count(6)? {
        let (key, min, max) = (frame.i16()?, frame.i16()?, frame.i16()?);
        let common =
            |ours: (i16, i16)| (min.max(ours.0) <= max.min(ours.1)).then(|| max.min(ours.1));
        match key {
            keys::FETCH => fetch = common(FETCH),
            keys::METADATA => metadata = common(METADATA),
            _ => {}
        }
    }
    frame.finish()?;
    Ok(Spoken {
        fetch: fetch.ok_or(Broken::Foreign("Fetch"))?,
        metadata: metadata.ok_or(Broken::Foreign("Metadata"))?,
    })
}
