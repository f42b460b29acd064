//! Whether a topic holds what it must: every row, and what has one key in its order.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use world::Message;

use crate::checks::Band;
use crate::reading::Reading;

/// Every row of the readings 0..count of a band is there, under its key; numbers of one key rise,
/// but for stretches that are repeated. How many rows are double.
pub fn stream_is_whole(messages: &[Message], count: u64, band: Band) -> Result<u64> {
    let mut seen: HashMap<u64, u64> = HashMap::new();
    let mut latest: HashMap<Vec<u8>, (u64, i64)> = HashMap::new();
    for message in messages {
        let place = (message.partition, message.offset);
        let value = message.value.as_deref().context("a record has no value")?;
        let row: Value = serde_json::from_slice(value)?;
        let seq = row["seq"].as_u64().context("a row has no number")?;
        let reading = Reading(seq);
        let key = message.key.clone().context("a record has no key")?;
        ensure!(key == reading.sensor().as_bytes(), "{seq} is under the key {key:?}");
        ensure!(row["temperature"] == reading.centi() as f64 / 100.0, "{row}");
        let first = !seen.contains_key(&seq);
        *seen.entry(seq).or_default() += 1;
        let (latest, at) = latest.entry(key).or_default();
        // What is there for the first time stands behind all that came before it.
        ensure!(
            !first || *latest <= seq,
            "{seq} at {place:?} came after {latest} at offset {at}: {message:?}"
        );
        (*latest, *at) = (seq, message.offset);
    }
    let (rows, sum) = band.of_first(count);
    let found: i64 = seen.keys().map(|seq| *seq as i64).sum();
    ensure!(seen.len() as i64 == rows, "{} rows of {rows} are there", seen.len());
    ensure!(found == sum, "the numbers add up to {found}, not {sum}");
    Ok(seen.values().map(|times| times - 1).sum())
}
