//! What all sink connectors have: topics, the group, errors, the consumer's own properties.

use toml::Value;

use super::conversion;
use super::page::Page;
use super::properties::Properties;

/// Properties of Connect that have nothing to say here, and why.
const NEEDLESS: [(&str, &str); 7] = [
    ("tasks.max", "threads come from the cores (`limits.lanes`); more processes share the group"),
    ("errors.retry.timeout", "what may pass is tried again for as long as it takes"),
    ("errors.retry.delay.max.ms", "waits grow by themselves, up to a bound"),
    ("errors.log.enable", "what is refused is counted, told, and kept as a dead letter"),
    ("errors.log.include.messages", "the dead letter has the whole record"),
    ("errors.deadletterqueue.topic.replication.factor", "the broker's default"),
    (
        "errors.deadletterqueue.context.headers.enable",
        "dead letters always say where they are from",
    ),
];

/// Translates them.
pub fn translate(properties: &mut Properties, page: &mut Page) {
    page.set_with("kafka", "brokers", "localhost:9092", "the worker's `bootstrap.servers`");
    page.remind("`kafka.brokers`: a connector's properties do not have them");
    let topics = properties.take_list("topics");
    if let Some(regex) = properties.take("topics.regex") {
        page.set("", "topics_regex", regex);
    } else {
        page.set("", "topics", topics);
    }
    let group = format!("connect-{}", page.connector());
    let said = "the connector's own, so that the bridge goes on where it stopped";
    page.set_with("", "group", group, said);
    page.remind("stop the connector before the bridge starts: both are members of one group");
    errors(properties, page);
    consumer(properties, page);
    conversion::value(properties, page);
    conversion::transforms(properties, page);
    for (name, why) in NEEDLESS {
        if let Some(value) = properties.take(name) {
            page.needless(name, &value, why);
        }
    }
}

fn errors(properties: &mut Properties, page: &mut Page) {
    if let Some(topic) = properties.take("errors.deadletterqueue.topic.name") {
        page.set("rejects", "topic", topic);
    }
    match properties.take("errors.tolerance").as_deref() {
        Some("all") => page.needless(
            "errors.tolerance",
            "all",
            "a record that cannot be stored becomes a dead letter, and is never dropped",
        ),
        _ => page.needless(
            "errors.tolerance",
            "none",
            "a bad record does not stop the pipeline, it becomes a dead letter; when most are \
             bad it stops (`limits.reject_share_max`)",
        ),
    }
}

/// `consumer.override.…`, in the client library's words.
fn consumer(properties: &mut Properties, page: &mut Page) {
    for (name, value) in properties.take_below("consumer.override.") {
        let path = format!("consumer.override.{name}");
        match name.as_str() {
            "bootstrap.servers" => page.set("kafka", "brokers", value),
            "group.id" => page.set("", "group", value),
            "auto.offset.reset" if matches!(&*value, "earliest" | "latest") => {
                page.set("", "start", value);
            }
            "sasl.jaas.config" => jaas(&value, page),
            "security.protocol"
            | "sasl.mechanism"
            | "client.id"
            | "isolation.level"
            | "session.timeout.ms"
            | "heartbeat.interval.ms"
            | "client.rack" => {
                page.set("kafka.properties", &name, value);
            }
            "ssl.endpoint.identification.algorithm" => {
                let word = if value.is_empty() { "none" } else { "https" };
                page.set("kafka.properties", &name, word);
            }
            _ if name.starts_with("ssl.truststore") || name.starts_with("ssl.keystore") => {
                page.leave(
                    &path,
                    &value,
                    "certificates are PEM files here: `ssl.ca.location`, \
                     `ssl.certificate.location` and `ssl.key.location` in `kafka.properties`",
                );
            }
            _ if name.starts_with("fetch.") || name.starts_with("max.p") => {
                page.needless(&path, &value, "what is fetched is bounded by `limits`");
            }
            _ => page.leave(&path, &value, "look for its name among librdkafka's properties"),
        }
    }
}

/// `… required username="a" password="b";` as two properties.
fn jaas(config: &str, page: &mut Page) {
    let username = config.split_once("username=").map(|(_, rest)| rest.trim_start());
    let username = username.and_then(|rest| match rest.strip_prefix('"') {
        Some(rest) => rest.split('"').next(),
        None => rest.split([' ', ';']).next(),
    });
    if let Some(username) = username {
        page.set("kafka.properties", "sasl.username", plain(username));
    }
    page.secret("kafka.properties", "sasl.password", "KAFKA_PASSWORD");
}

/// A text of somebody else's, in which `$` stands for itself.
pub fn plain(text: &str) -> Value {
    text.replace('$', "$$").into()
}
