//! Whether a pipeline's records can be fetched by ourselves, and by which terms. What we do not
//! know how to do is left to the client library, and `bridge explain` says why.

use std::time::Duration;

use rdkafka::ClientConfig;

use crate::config::{Fetching, KafkaPlan};
use crate::kafka::settings::{Budget, FETCH_BYTES_MIN};
use crate::kafka::wire::connection::Manner;

/// Properties that ask for something that only the library does, and what that is.
const LIBRARYS_OWN: &[(&str, &str)] = &[
    ("client.rack", "reading from a replica nearby"),
    ("broker.address.family", "choosing among addresses"),
    ("api.version.request", "brokers that do not tell their versions"),
    ("broker.version.fallback", "brokers that do not tell their versions"),
    ("plugin.library.paths", "plugins"),
    ("test.mock.num.brokers", "brokers inside the library"),
];

/// Why the library has to fetch, if it has to.
pub fn why_library(plan: &KafkaPlan) -> Option<String> {
    if plan.fetch == Fetching::Library {
        return Some("`fetch` says so".to_owned());
    }
    let protocol = plan.protocol();
    if !protocol.eq_ignore_ascii_case("plaintext") {
        return Some(format!("security.protocol is {protocol}"));
    }
    for (key, _) in &plan.properties {
        if let Some((_, what)) = LIBRARYS_OWN.iter().find(|(own, _)| own == key) {
            return Some(format!("{key} is set: {what}"));
        }
    }
    None
}

/// By which terms records are fetched: the library's properties, as far as they mean the same.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Addresses to begin with.
    pub bootstrap: Vec<(String, u16)>,
    /// How connections are made.
    pub manner: Manner,
    /// The broker waits so long for `min_bytes` (`fetch.wait.max.ms`).
    pub wait: Duration,
    /// See there (`fetch.min.bytes`).
    pub min_bytes: i32,
    /// Bytes of all partitions in one answer (`fetch.max.bytes`).
    pub answer_bytes: i32,
    /// Bytes of one partition in one answer (`fetch.message.max.bytes`).
    pub part_bytes: usize,
    /// What a partition may hold as it came over the wire; as much again unpacked.
    pub share_bytes: usize,
    /// What one batch may unpack to (`receive.message.max.bytes`).
    pub unpacked_bytes_max: usize,
    /// Whether aborted transactions are left out (`isolation.level`).
    pub committed: bool,
    /// Whether checksums are compared (`check.crcs`).
    pub check_crc: bool,
    /// Where queues were full, they are looked at again after this (`fetch.queue.backoff.ms`).
    pub full_pause: Duration,
    /// Where a partition has an error, it is tried again after this (`fetch.error.backoff.ms`).
    pub error_pause: Duration,
    /// A broken connection is made anew after this, then twice as much
    /// (`reconnect.backoff.ms`).
    pub reconnect_min: Duration,
    /// But never after more than this (`reconnect.backoff.max.ms`).
    pub reconnect_max: Duration,
    /// Leaders are asked for at least this often (`topic.metadata.refresh.interval.ms`).
    pub refresh: Duration,
}

impl Terms {
    /// The terms that a client's configuration comes to; `None` if it has something that we cannot
    /// read, which is for the library then.
    pub fn of(config: &ClientConfig, budget: Budget) -> Option<Terms> {
        // Asked of the library, so that its names beside the names and its defaults hold.
        let native = config.create_native_config().ok()?;
        let text = |key: &str| native.get(key).ok().map(|text| text.trim_matches('\0').to_owned());
        let number = |key: &str| text(key)?.parse::<i64>().ok();
        let size = |key: &str| Some(number(key)?.clamp(1, i64::from(i32::MAX)) as usize);
        let span = |key: &str| Some(Duration::from_millis(number(key)?.max(0) as u64));
        let answer_bytes_max = size("receive.message.max.bytes")?;
        let queue_bytes = size("queued.max.messages.kbytes")?.saturating_mul(1024);
        let whole = budget.bytes / budget.partitions.max(1);
        Some(Terms {
            bootstrap: addresses(&text("bootstrap.servers")?)?,
            manner: Manner {
                client: text("client.id")?,
                connect_max: span("socket.connection.setup.timeout.ms")?,
                answer_max: span("socket.timeout.ms")?,
                answer_bytes_max,
                keepalive: text("socket.keepalive.enable")? == "true",
            },
            wait: span("fetch.wait.max.ms")?,
            min_bytes: size("fetch.min.bytes")? as i32,
            answer_bytes: size("fetch.max.bytes")? as i32,
            part_bytes: size("fetch.message.max.bytes")?,
            share_bytes: queue_bytes.min(whole / 2).max(FETCH_BYTES_MIN),
            unpacked_bytes_max: answer_bytes_max,
            committed: text("isolation.level")? != "read_uncommitted",
            check_crc: text("check.crcs")? == "true",
            full_pause: span("fetch.queue.backoff.ms")?,
            error_pause: span("fetch.error.backoff.ms")?,
            reconnect_min: span("reconnect.backoff.ms")?,
            reconnect_max: span("reconnect.backoff.max.ms")?,
            refresh: match number("topic.metadata.refresh.interval.ms")? {
                // Switched off there; a leader that is lost is asked for at once all the same.
                ..=0 => Duration::from_secs(300),
                every => Duration::from_millis(every as u64),
            },
        })
    }
}

/// `host:port` with commas between; a protocol before an address, as the library takes it.
fn addresses(list: &str) -> Option<Vec<(String, u16)>> {
    let address = |text: &str| {
        let text = text.trim();
        let text = match text.split_once("://") {
            Some((protocol, _)) if !protocol.eq_ignore_ascii_case("plaintext") => return None,
            Some((_, address)) => address,
            None => text,
        };
        let text = text.trim_end_matches('/');
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (text, 9092),
        };
        Some((host.trim_matches(['[', ']']).to_owned(), port))
    };
    let list = list.split(',').filter(|part| !part.trim().is_empty()).map(address);
    list.collect::<Option<Vec<_>>>().filter(|list| !list.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::security::{KafkaTls, SecurityPlan};
    use crate::config::{Group, OutOfRange, Start, Topics};

    #[test]
    fn what_only_the_library_does_is_left_to_it() {
        let plan = |fetch, key: &str, value: &str, security| {
            why_library(&KafkaPlan {
                properties: vec![(key.to_owned(), value.to_owned())],
                topics: Topics::List(vec!["t".to_owned()]),
                group: Group::Named("g".to_owned()),
                instance: None,
                start: Start::Earliest,
                from: None,
                out_of_range: OutOfRange::Stop,
                range: None,
                fetch,
                security,
            })
        };
        let why = |fetch, key, value| plan(fetch, key, value, SecurityPlan::default());
        let auto = |key, value| why(Fetching::Auto, key, value);
        assert_eq!(auto("fetch.wait.max.ms", "7"), None);
        assert_eq!(auto("security.protocol", "plaintext"), None);
        let secured = auto("security.protocol", "SASL_SSL").expect("it is not plain");
        assert_eq!(secured, "security.protocol is SASL_SSL");
        let tls = Some(KafkaTls { ca: None, verify: true, identity: None });
        let tls = SecurityPlan { tls, ..SecurityPlan::default() };
        let of_tls = |key, value| plan(Fetching::Auto, key, value, tls.clone());
        assert_eq!(of_tls("client.id", "x").as_deref(), Some("security.protocol is SSL"));
        assert_eq!(of_tls("security.protocol", "plaintext"), None);
        assert!(LIBRARYS_OWN.iter().all(|(key, _)| auto(key, "x").is_some()));
        assert!(why(Fetching::Library, "fetch.wait.max.ms", "7").is_some());
    }

    #[test]
    fn the_librarys_properties_are_taken_by_any_of_their_names() {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", "one:1").set("max.partition.fetch.bytes", "12345");
        let budget = Budget { bytes: 16 << 20, partitions: 4 };
        let terms = Terms::of(&config, budget).expect("properties that we know");
        assert_eq!((terms.part_bytes, terms.share_bytes), (12_345, 2 << 20));
        assert_eq!((terms.committed, terms.check_crc), (true, false));
        assert_eq!(terms.wait, Duration::from_millis(500));
        config.set("bootstrap.servers", "SSL://one:1");
        assert!(Terms::of(&config, budget).is_none());
    }

    #[test]
    fn addresses_as_the_library_takes_them() {
        let found = addresses("one:1, PLAINTEXT://two:2/,three,[::1]:4,[::1]").expect("addresses");
        let found: Vec<_> = found.iter().map(|(host, port)| (&**host, *port)).collect();
        let expected = [("one", 1), ("two", 2), ("three", 9092), ("::1", 4), ("::1", 9092)];
        assert_eq!(found, expected);
        assert_eq!(addresses("SSL://one:1"), None);
        assert_eq!(addresses("one:port"), None);
        assert_eq!(addresses(" ,"), None);
    }
}
