//! Promise: at the edges of what Kafka does, too, every record is a row or a dead letter, once
//! where it can be, in its order; and what the bridge cannot mend by itself it says. One real
//! broker.

mod groups;
mod logs;
mod records;
mod still;

use std::time::Duration;

use anyhow::Result;
use e2e::{Bench, promise_with};
use world::KafkaOptions;

const DRAIN: Duration = Duration::from_secs(60);
const ENDS: Duration = Duration::from_secs(30);
const VISIBLE: Duration = Duration::from_secs(30);
/// Who fetches: both ways are to do the same.
const FETCHES: [&str; 2] = ["auto", "library"];

/// A broker that forgets offsets as soon as it may, that keeps those out whom it is told to, and
/// that misses a member of the newer protocol as soon as one of the older.
fn broker() -> KafkaOptions {
    let properties = [
        ("offsets.retention.minutes", "1"),
        ("offsets.retention.check.interval.ms", "1000"),
        ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
        ("allow.everyone.if.no.acl.found", "true"),
        ("group.consumer.min.session.timeout.ms", "6000"),
        ("group.consumer.session.timeout.ms", "6000"),
        ("group.consumer.min.heartbeat.interval.ms", "1000"),
        ("group.consumer.heartbeat.interval.ms", "1000"),
    ];
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    KafkaOptions {
        properties: properties.into_iter().map(owned).collect(),
        ..KafkaOptions::default()
    }
}

/// A promise at that broker. What needs a minute of quiet begins with whichever comes first.
fn edge(name: &str, body: impl FnOnce(&'static Bench) -> Result<()>) {
    promise_with(broker, name, |bench| {
        still::begin(bench)?;
        body(bench)
    });
}

/// A line of the pipeline: who fetches.
fn fetched_by(fetch: &str) -> String {
    format!("kafka = {{ fetch = \"{fetch}\" }}")
}
