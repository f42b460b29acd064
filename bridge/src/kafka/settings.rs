//! From the user's properties, and what is said of security, to a client's configuration. The
//! user's own properties win, but for those that the bridge's promises rest on, which are refused
//! with the reason.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;

use super::bearer::Bearer;
use super::context::{Diagnostics, Observer, Reports};
use super::refusal::{self, Keys};
use super::security;
use crate::blame::Fault;
use crate::config::{KafkaPlan, is_secret};
use crate::limits::{MIB, RECORD_BYTES};

/// Properties that the bridge sets itself, and why a user's value is refused.
const RELIED_UPON: &[(&str, &str)] = &[
    ("enable.auto.commit", "the bridge commits an offset only when its rows are stored"),
    ("enable.auto.offset.store", "the bridge commits an offset only when its rows are stored"),
    ("group.id", "it is the key `group` of the pipeline"),
    ("group.instance.id", "it is the key `instance` of the pipeline"),
    ("enable.idempotence", "dead letters are written in order and once"),
    ("transactional.id", "dead letters are not written in transactions"),
    ("acks", "a dead letter counts as stored when all replicas have it"),
    ("request.required.acks", "a dead letter counts as stored when all replicas have it"),
    ("auto.offset.reset", "it is the key `out_of_range` of the pipeline"),
    ("log.queue", "the client's log is read from its queue"),
];

/// Second names that the library has for properties with a value of the bridge's own, and the names
/// that are used here: of two values under two names either might win.
const ALIASES: &[(&str, &str)] = &[
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
    ("metadata.broker.list", "bootstrap.servers"),
    ("queue.buffering.max.ms", "linger.ms"),
];

/// What the source's queues may hold, over all partitions, and over how many it is divided.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Bytes that may be fetched and not yet taken.
    pub bytes: usize,
    /// Partitions of all topics that this client may be given.
    pub partitions: usize,
}

impl Budget {
    /// What so many partitions may come to hold, however small the budget is: a queue and a fetch
    /// for each.
    pub fn bytes_least(&self) -> usize {
        self.partitions * 2 * FETCHED_PER_WIRE * FETCH_BYTES_MIN
    }
}

/// What a record of some 150 bytes takes in memory, over what it takes on the wire.
const FETCHED_PER_WIRE: usize = 4;
/// One fetch of a partition brings at least this much: some hundred small records for a round trip.
pub const FETCH_BYTES_MIN: usize = 16 << 10;
/// A partition's queue may hold that many records, however small its share is.
const QUEUED_RECORDS_MIN: usize = 100;
/// The library's default for one fetch over all partitions.
const FETCH_BYTES_MAX: usize = 50 * MIB;

/// Makes client configurations from a plan whose properties were found to be right.
#[derive(Clone)]
pub struct Settings {
    /// None under a second name.
    properties: Vec<(String, String)>,
    group: Option<String>,
    instance: Option<String>,
    keys: Keys,
    bearer: Option<Arc<Bearer>>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Settings({})", self.brokers())
    }
}

impl Settings {
    /// Checks every property by the library's own rules, one at a time. Reads secrets from their
    /// files, and begins to ask for tokens, where brokers want some.
    pub fn new(plan: &KafkaPlan) -> Result<Settings, Fault> {
        for (key, value) in &plan.properties {
            if let Some((_, why)) = RELIED_UPON.iter().find(|(relied, _)| relied == key) {
                return Err(Fault::operator(format!("kafka.properties.{key} cannot be set"))
                    .hint(format!("remove it: {why}")));
            }
            check_property(&format!("kafka.properties.{key}"), key, value)?;
        }
        let said = security::properties(&plan.security)?;
        for said in &said {
            check_property(&said.key, said.property, &said.value)?;
        }
        let keys = security::keys(&said, &plan.properties, &plan.security);
        let said =
            said.into_iter().filter(|said| !security::is_said(said.property, &plan.properties));
        let said = said.map(|said| (said.property.to_owned(), said.value));
        let all = said.chain(plan.properties.iter().cloned());
        let bearer = plan.security.sasl.as_ref().map(Bearer::of).transpose()?;
        Ok(Settings {
            properties: all.map(|(key, value)| (first_name(key), value)).collect(),
            group: plan.group.name().map(str::to_owned),
            instance: plan.instance.clone(),
            keys,
            bearer: bearer.flatten(),
        })
    }

    /// What a client of these settings says, and shows.
    pub fn diagnostics(&self) -> Diagnostics {
        Diagnostics::new(self.keys.clone(), self.bearer.clone())
    }

    /// The context of a client that needs nothing but to be listened to.
    pub fn observer(&self) -> Observer {
        Observer { diagnostics: self.diagnostics() }
    }

    /// The context of a producer whose reports are collected.
    pub fn reports(&self) -> Reports {
        Reports::new(self.diagnostics())
    }

    /// Tokens for brokers, if they want some.
    pub fn bearer(&self) -> Option<&Bearer> {
        self.bearer.as_deref()
    }

    /// What the library says when it will not even make a client.
    pub fn refused(&self, error: &KafkaError) -> Fault {
        let message = match error {
            KafkaError::ClientConfig(_, message, key, _) => {
                format!("kafka.properties.{key}: {message}")
            }
            KafkaError::ClientCreation(message) => {
                let told = refusal::of_files(message.trim_end_matches([':', ' ']), &self.keys);
                format!("making the Kafka client: {told}")
            }
            other => format!("making the Kafka client: {other}"),
        };
        Fault::operator(message)
    }

    /// The authorities that brokers are checked by, where they are not the system's.
    pub fn authorities(&self) -> Option<PathBuf> {
        let ca = self.get("ssl.ca.location").filter(|ca| *ca != "probe");
        ca.map(|ca| Path::new(ca).to_owned())
    }

    /// The user's value of a property, under whichever of its names; `key` is the first.
    pub fn get(&self, key: &str) -> Option<&str> {
        let found = self.properties.iter().rev().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }

    /// Where the brokers are, for messages.
    pub fn brokers(&self) -> &str {
        self.get("bootstrap.servers").unwrap_or("(no brokers)")
    }

    /// A member of the consumer group, if there is one.
    pub fn consumer(&self, budget: Budget, ignored_topics: &[String]) -> ClientConfig {
        let mut config = self.reader();
        if let Some(group) = &self.group {
            self.member(group, &mut config);
        }
        // Half of a partition's share may lie in its queue, half may be coming: fetching goes on
        // until the queue is full, so the last fetch comes on top.
        let share = budget.bytes / budget.partitions.max(1) / 2;
        self.default(&mut config, "queued.max.messages.kbytes", (share >> 10).max(1).to_string());
        // Small records cost more than their payloads; the library counts only payloads.
        let records = (share / RECORD_BYTES).clamp(QUEUED_RECORDS_MIN, 100_000);
        self.default(&mut config, "queued.min.messages", records.to_string());
        // On the wire: small records take about four times as much when they are taken apart.
        let fetch = (share / FETCHED_PER_WIRE).clamp(FETCH_BYTES_MIN, 8 * MIB);
        self.default(&mut config, "fetch.message.max.bytes", fetch.to_string());
        let fetch_all = (budget.bytes / 2 / FETCHED_PER_WIRE).clamp(MIB, FETCH_BYTES_MAX);
        self.default(&mut config, "fetch.max.bytes", fetch_all.to_string());
        // The library refuses less than a fetch and its frame. One record may exceed a fetch: the
        // broker still sends it, and the library's own bound on a response must let it pass.
        self.default(&mut config, "receive.message.max.bytes", (100 * MIB).to_string());
        if !ignored_topics.is_empty() {
            let mut list: Vec<&str> = self.get("topic.blacklist").into_iter().collect();
            list.extend(ignored_topics.iter().map(String::as_str));
            // A topic expression must not find the pipeline's own dead letters.
            config.set("topic.blacklist", list.join(","));
        }
        config
    }

    /// What a member has besides.
    fn member(&self, group: &str, config: &mut ClientConfig) {
        config.set("group.id", group);
        if self.get("group.protocol") != Some("consumer") {
            // Partitions that stay with their member go on while others move.
            self.default(config, "partition.assignment.strategy", "cooperative-sticky");
            // How long the partitions of a member that died for good stay orphaned. A static member
            // that comes back sooner finds its own again, so its session may outlast the restart
            // of a broker, which would end it else. The broker's lower bound is 6 s.
            let session = if self.instance.is_some() { "30000" } else { "10000" };
            self.default(config, "session.timeout.ms", session);
            // A member learns of a rebalance by its heartbeat.
            self.default(config, "heartbeat.interval.ms", "1000");
        }
        if let Some(instance) = &self.instance {
            // A process that restarts within the session finds its partitions at once, and nobody
            // else's move.
            config.set("group.instance.id", instance);
        }
    }

    /// A client that reads without being a member: metadata, single records, samples.
    pub fn reader(&self) -> ClientConfig {
        let mut config = self.client();
        // Offsets are committed when rows are stored, by the bridge.
        config.set("enable.auto.commit", "false");
        // Error messages move the library's own stored position (2.12): it is never used.
        config.set("enable.auto.offset.store", "false");
        // An offset that is no longer there is an error to be decided on, never a silent jump.
        config.set("auto.offset.reset", "error");
        // Aborted transactions are not records.
        self.default(&mut config, "isolation.level", "read_committed");
        // The library's default, one second, holds a drain at a quarter of its rate: fetching of a
        // partition pauses for this long each time its queue is full.
        self.default(&mut config, "fetch.queue.backoff.ms", "5");
        // Bounds how long a partition that was just assigned, or sought, waits for the fetch that
        // is under way; data that is there is answered at once.
        self.default(&mut config, "fetch.wait.max.ms", "100");
        self.default(&mut config, "fetch.error.backoff.ms", "100");
        // Hardware does it at memory speed; a torn batch must not become rows.
        self.default(&mut config, "check.crcs", "true");
        // New partitions, and new topics of an expression, are found within this time.
        self.default(&mut config, "topic.metadata.refresh.interval.ms", "30000");
        // A misspelt topic must not come into being.
        self.default(&mut config, "allow.auto.create.topics", "false");
        config
    }

    /// A producer whose delivery reports can be trusted.
    pub fn producer(&self) -> ClientConfig {
        let mut config = self.client();
        // A retry must not write twice or out of order.
        config.set("enable.idempotence", "true");
        config.set("acks", "all");
        // With more than one request under way a broker that refuses the first, as it is not yet or
        // no longer the leader, may take the second: a producer that is new to it has no sequence
        // there that could be broken, and the library numbers anew what it skipped.
        self.default(&mut config, "max.in.flight.requests.per.connection", "1");
        // Records arrive together; a short wait packs them into one request.
        self.default(&mut config, "linger.ms", "5");
        // Whoever waits for a report retries for ever, but wants to say so now and then.
        self.default(&mut config, "message.timeout.ms", "30000");
        config
    }

    /// A client that administers.
    pub fn admin(&self) -> ClientConfig {
        self.client()
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        self.default(&mut config, "client.id", self.instance.as_deref().unwrap_or("bridge"));
        // A broker that is back is met again within a second, not ten.
        self.default(&mut config, "reconnect.backoff.max.ms", "1000");
        self.default(&mut config, "socket.connection.setup.timeout.ms", "10000");
        self.default(&mut config, "socket.keepalive.enable", "true");
        // Idle connections closed by the broker are no news, and the log passes them on as such;
        // those that are closed at once may be all that a broker says to a stranger.
        self.default(&mut config, "log.connection.close", "true");
        for (key, value) in &self.properties {
            config.set(key, value);
        }
        // rdkafka sets the library's level from this; the library's own default is `info`.
        config.set_log_level(log_level(self.get("log_level")));
        config
    }

    fn default(&self, config: &mut ClientConfig, key: &str, value: impl Into<String>) {
        if self.get(key).is_none() {
            config.set(key, value);
        }
    }
}

/// The name that is used here of those that a property has.
fn first_name(property: String) -> String {
    let known = ALIASES.iter().find(|(alias, _)| *alias == property);
    known.map_or(property, |(_, name)| (*name).to_owned())
}

fn log_level(wanted: Option<&str>) -> RDKafkaLogLevel {
    match wanted.and_then(|level| level.parse::<i32>().ok()) {
        Some(0..=2) => RDKafkaLogLevel::Critical,
        Some(3) => RDKafkaLogLevel::Error,
        Some(4) => RDKafkaLogLevel::Warning,
        Some(5) => RDKafkaLogLevel::Notice,
        Some(7..) => RDKafkaLogLevel::Debug,
        _ => RDKafkaLogLevel::Info,
    }
}

/// `said` is what the user wrote, for messages.
fn check_property(said: &str, key: &str, value: &str) -> Result<(), Fault> {
    let mut config = ClientConfig::new();
    config.set(key, value);
    let message = match config.create_native_config() {
        Ok(_) => return Ok(()),
        Err(KafkaError::ClientConfig(_, message, ..)) if !is_secret(key) => message,
        Err(_) => "the client library refuses its value".to_owned(),
    };
    Err(Fault::operator(format!("{said}: {}", decapitalised(&message)))
        .hint("librdkafka's CONFIGURATION.md lists every property and its values"))
}

fn decapitalised(message: &str) -> String {
    let mut characters = message.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::security::SecurityPlan;
    use crate::config::{Alone, Fetching, Group, OutOfRange, Start, Topics};

    pub(crate) fn plan(properties: &[(&str, &str)]) -> KafkaPlan {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        KafkaPlan {
            properties: properties.iter().map(owned).collect(),
            topics: Topics::List(vec!["sensors".to_owned()]),
            group: Group::Named("group".to_owned()),
            instance: Some("here-1".to_owned()),
            start: Start::Earliest,
            from: None,
            out_of_range: OutOfRange::Stop,
            range: None,
            fetch: Fetching::Auto,
            security: SecurityPlan::default(),
        }
    }

    const BUDGET: Budget = Budget { bytes: 16 * MIB, partitions: 4 };

    #[test]
    fn what_the_promises_rest_on_is_refused_with_the_reason() {
        for (key, why) in RELIED_UPON {
            let fault = Settings::new(&plan(&[(key, "true")])).expect_err("it is relied upon");
            assert!(fault.to_string().contains(key) && fault.to_string().contains(why), "{fault}");
        }
    }

    #[test]
    fn unknown_and_wrong_properties_are_named() {
        let unknown = Settings::new(&plan(&[("bootstrap.server", "a")])).expect_err("unknown");
        assert!(unknown.message.contains("kafka.properties.bootstrap.server: "), "{unknown}");
        let wrong = Settings::new(&plan(&[("fetch.wait.max.ms", "soon")])).expect_err("wrong");
        assert!(wrong.message.contains("fetch.wait.max.ms"), "{wrong}");
        let secret = [("ssl.key.password", "\0hidden")];
        let secret = Settings::new(&plan(&secret)).expect_err("a NUL in it");
        assert!(!secret.message.contains("hidden"), "{secret}");
    }

    #[test]
    fn the_user_wins_where_no_promise_is_at_stake() {
        let plan = plan(&[("session.timeout.ms", "45000"), ("queued.max.messages.kbytes", "7")]);
        let config = Settings::new(&plan).expect("right properties").consumer(BUDGET, &[]);
        assert_eq!(config.get("session.timeout.ms"), Some("45000"));
        assert_eq!(config.get("queued.max.messages.kbytes"), Some("7"));
        assert_eq!(config.get("enable.auto.commit"), Some("false"));
        assert_eq!(config.get("group.instance.id"), Some("here-1"));
    }

    #[test]
    fn the_user_wins_by_any_name_of_a_property() {
        let default = Settings::new(&plan(&[])).expect("no properties").producer();
        assert_eq!(default.get("max.in.flight.requests.per.connection"), Some("1"));
        for (alias, name) in ALIASES {
            for said in [alias, name] {
                let settings = Settings::new(&plan(&[(said, "5000")])).expect("a right property");
                for config in [settings.producer(), settings.consumer(BUDGET, &[])] {
                    let found = (config.get(name), config.get(alias));
                    assert_eq!(found, (Some("5000"), None), "{said}");
                }
            }
            // They are one property to the library, too.
            let mut config = ClientConfig::new();
            config.set(*alias, "5000");
            let native = config.create_native_config().expect("a right property");
            assert_eq!(native.get(name).expect("it is set"), "5000", "{name}");
        }
    }

    #[test]
    fn the_budget_is_divided_by_the_partitions() {
        let config = Settings::new(&plan(&[])).expect("no properties").consumer(BUDGET, &[]);
        assert_eq!(config.get("queued.max.messages.kbytes"), Some("2048"));
        assert_eq!(config.get("fetch.message.max.bytes"), Some("524288"));
    }

    #[test]
    fn queues_and_fetches_of_many_partitions_stay_within_the_budget() {
        for partitions in [1, 4, 33, 64, 100, 128] {
            let budget = Budget { bytes: 16 * MIB, partitions };
            assert!(budget.bytes_least() <= budget.bytes, "{partitions}");
            let config = Settings::new(&plan(&[])).expect("no properties").consumer(budget, &[]);
            let number = |key| config.get(key).and_then(|text| text.parse::<usize>().ok());
            let queue = number("queued.max.messages.kbytes").expect("set") << 10;
            let records = number("queued.min.messages").expect("set") * RECORD_BYTES;
            let fetch = number("fetch.message.max.bytes").expect("set") * FETCHED_PER_WIRE;
            let held = partitions * (queue.max(records) + fetch);
            assert!(held <= budget.bytes, "{partitions}: {held}");
        }
        assert!(Budget { bytes: 16 * MIB, partitions: 129 }.bytes_least() > 16 * MIB);
    }

    #[test]
    fn the_new_group_protocol_takes_no_settings_of_the_old_one() {
        let plan = plan(&[("group.protocol", "consumer")]);
        let config = Settings::new(&plan).expect("right properties").consumer(BUDGET, &[]);
        assert_eq!(config.get("partition.assignment.strategy"), None);
        assert_eq!(config.get("session.timeout.ms"), None);
    }

    #[test]
    fn who_is_in_no_group_has_nothing_of_one() {
        let plan = KafkaPlan { group: Group::Alone(Alone::default()), instance: None, ..plan(&[]) };
        let config = Settings::new(&plan).expect("no properties").consumer(BUDGET, &[]);
        for key in ["group.id", "group.instance.id", "session.timeout.ms"] {
            assert_eq!(config.get(key), None, "{key}");
        }
        assert_eq!(config.get("queued.max.messages.kbytes"), Some("2048"));
    }

    #[test]
    fn every_default_is_known_to_the_library() {
        let settings = Settings::new(&plan(&[])).expect("no properties");
        for config in [settings.consumer(BUDGET, &[]), settings.reader(), settings.producer()] {
            config.create_native_config().expect("known properties and values");
        }
    }
}
