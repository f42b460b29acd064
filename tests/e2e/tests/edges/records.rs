//! What a record may be: as large as the broker takes, null, empty, with headers of all kinds, with
//! times of both kinds, in every compression.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use bridge::batch::TopicPartition;
use bridge::config::security::SecurityPlan;
use bridge::config::{Fetching, Group, KafkaPlan, OutOfRange, Start, Topics};
use bridge::kafka::headers;
use bridge::source::Reread;
use bridge::source::kafka::Rereader;
use e2e::{Band, Bench, Installed, PARTITIONS, Reading, Setup, rows_are_exact};
use rdkafka::config::ClientConfig;
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use world::Record;

use crate::{DRAIN, ENDS, FETCHES, VISIBLE, edge, fetched_by};

/// Records without keys of a producer that tries a thing once.
const PLAIN: [(&str, &str); 1] = [("enable.idempotence", "false")];

/// A pipeline on a topic that is there, its rows timed by Kafka.
fn plain(bench: &Bench, topic: &str, lines: Vec<String>) -> Setup {
    let mut setup = Setup::bare(bench, topic, 1);
    setup.topic = topic.to_owned();
    setup.pipeline = lines;
    setup.shape =
        vec!["timestamp = \"kafka\"".to_owned(), "metadata = { offset = \"at\" }".to_owned()];
    setup
}

/// Waits until so many rows are seen, and no other.
fn wait_rows(bench: &Bench, installed: &Installed, count: i64) -> Result<()> {
    let table = &installed.setup.table;
    let seen = format!("select count() from {table}");
    bench.questdb.wait_for(&seen, |rows| rows == count, VISIBLE)?;
    Ok(())
}

/// The row at an offset is as a condition says.
fn ensure_row(bench: &Bench, installed: &Installed, at: i64, condition: &str) -> Result<()> {
    let table = &installed.setup.table;
    let query = format!("select count() from {table} where at = {at} and {condition}");
    if bench.questdb.scalar_i64(&query)? != 1 {
        // Not looked up before: QuestDB shows no value that is larger than its buffer, 2 MiB.
        let row = bench.questdb.sql(&format!("select * from {table} where at = {at}"));
        bail!("record {at} is not as {condition}: {row:?}");
    }
    Ok(())
}

/// A record whose value has so many bytes.
fn of_size(bytes: usize) -> Record {
    let frame = "{\"blob\":\"\"}".len();
    Record::new(format!("{{\"blob\":\"{}\"}}", "x".repeat(bytes - frame))).partition(0)
}

/// What the batch around a record adds is found by trying: the largest that the broker takes, and
/// whatever it took on the way.
fn up_to_the_limit(bench: &Bench, topic: &str, limit: usize) -> Result<Vec<usize>> {
    let (mut fits, mut too_large, mut taken) = (limit - 200, limit, Vec::new());
    while fits + 1 < too_large || taken.is_empty() {
        let size = if taken.is_empty() { fits } else { fits.midpoint(too_large) };
        match bench.kafka.produce_with(topic, [of_size(size)], &PLAIN) {
            Ok(_) => {
                fits = size;
                taken.push(size);
            }
            Err(error) => {
                ensure!(format!("{error:#}").contains("too large"), "{error:#}");
                ensure!(!taken.is_empty(), "{size} bytes are too large");
                too_large = size;
            }
        }
    }
    Ok(taken)
}

#[test]
fn as_large_as_the_broker_takes() {
    edge("records as large as the broker takes", |bench| {
        // The broker's own default, and more than the bridge takes unless it is told to.
        let limits = [
            (1_048_588, "", &FETCHES[..1]),
            (6 << 20, "record_bytes_max = \"8MiB\"", &FETCHES[..]),
        ];
        for (limit, own, fetches) in limits {
            let topic = bench.unique("large");
            let bytes = limit.to_string();
            bench.kafka.create_topic_with(&topic, 1, &[("max.message.bytes", &bytes)])?;
            let taken = up_to_the_limit(bench, &topic, limit)?;
            for fetch in fetches {
                let lines = vec![fetched_by(fetch), own.to_owned()];
                let installed = plain(bench, &topic, lines).install()?;
                let bridge = installed.start()?;
                installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
                wait_rows(bench, &installed, taken.len() as i64)?;
                for (at, size) in taken.iter().enumerate() {
                    let length = size - "{\"blob\":\"\"}".len();
                    let condition = format!("length(blob) = {length}");
                    ensure_row(bench, &installed, at as i64, &condition)?;
                }
                bridge.stop_well(ENDS)?;
            }
            println!("{} records of up to {:?} bytes", taken.len(), taken.iter().max());
        }
        Ok(())
    });
}

#[test]
fn null_and_empty_by_policy() {
    edge("null and empty values by policy", |bench| {
        let topic = bench.unique("nothing");
        bench.kafka.create_topic(&topic, 1)?;
        let keyed = |value: Option<&[u8]>, key: Option<&[u8]>, header: Option<&[u8]>| Record {
            partition: Some(0),
            key: key.map(<[u8]>::to_vec),
            value: value.map(<[u8]>::to_vec),
            headers: vec![("h".to_owned(), header.map(<[u8]>::to_vec))],
            ..Record::default()
        };
        let records = [
            keyed(Some(b"{\"seq\":0}"), Some(b"k"), Some(b"v")),
            keyed(Some(b"{\"seq\":1}"), Some(b""), Some(b"")),
            keyed(Some(b"{\"seq\":2}"), None, None),
            keyed(None, Some(b"null"), Some(b"v")),
            keyed(Some(b""), Some(b"empty"), None),
        ];
        bench.kafka.produce(&topic, records)?;
        let letters = format!("{topic}.dead-letters");
        let mut known = 0;
        for (policy, skipped, refused) in [("skip", 1, &[4][..]), ("reject", 0, &[3, 4][..])] {
            let lines = vec![
                format!("null_value = \"{policy}\""),
                "key = { format = \"string\", column = \"device\" }".to_owned(),
            ];
            let mut setup = plain(bench, &topic, lines);
            setup.shape.pop();
            setup.shape.push("metadata = { offset = \"at\", headers = { h = \"h\" } }".to_owned());
            let installed = setup.install()?;
            let bridge = installed.start()?;
            installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
            wait_rows(bench, &installed, 3)?;
            ensure_row(bench, &installed, 0, "seq = 0 and device = 'k' and h = 'v'")?;
            ensure_row(bench, &installed, 1, "seq = 1 and device = '' and h = ''")?;
            ensure_row(bench, &installed, 2, "seq = 2 and device = null and h = null")?;
            let counted = bridge.metrics()?.sum("bridge_records_skipped_total")?;
            ensure!(counted == f64::from(skipped), "{policy}: {counted} are counted as skipped");
            let all = bench.kafka.read_all(&letters)?;
            let new = &all[known..];
            let places: Vec<_> = new.iter().filter_map(|one| one.header("bridge.offset")).collect();
            let wanted: Vec<String> = refused.iter().map(ToString::to_string).collect();
            ensure!(places == wanted, "{policy}: {places:?} are refused, not {wanted:?}");
            let last = new.last().context("one at least")?;
            ensure!(last.value == Some(Vec::new()), "what is empty is not null: {last:?}");
            known = all.len();
            bridge.stop_well(ENDS)?;
        }
        Ok(())
    });
}

type Named = (Vec<u8>, Option<Vec<u8>>);

/// Headers that repeat, that are no text, and whose names are none.
fn strange() -> Vec<Named> {
    let header = |name: &[u8], value: Option<&[u8]>| (name.to_vec(), value.map(<[u8]>::to_vec));
    vec![
        header(b"trace", Some(b"first")),
        header(b"bin", Some(&[0, 0xff, 0xfe, b'"', b'\n'])),
        header(&[0xff, 0xc3, 0x28], Some(b"a name that is no text")),
        header(b"", Some(b"no name")),
        header(b"none", None),
        header(b"bridge.reason", Some(b"not ours")),
        header(b"trace", Some(b"last")),
    ]
}

/// Sends values with such headers. `world` has names that are text.
fn send_strange(bench: &Bench, topic: &str, values: &[&str]) -> Result<()> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bench.kafka.brokers());
    let producer: BaseProducer = config.create()?;
    for value in values {
        let all = strange();
        let pushed = all.iter().fold(OwnedHeaders::new(), |pushed, (name, value)| {
            headers::push(pushed, name, value.as_deref())
        });
        let record = BaseRecord::<[u8], [u8]>::to(topic).partition(0).payload(value.as_bytes());
        producer.send(record.headers(pushed)).map_err(|(error, _)| error)?;
    }
    producer.flush(DRAIN).context("sending strange headers")
}

/// The headers of a record, byte by byte.
fn headers_of(bench: &Bench, topic: &str, offset: i64) -> Result<Vec<Named>> {
    let mut reader = Rereader::new(&KafkaPlan {
        properties: vec![("bootstrap.servers".to_owned(), bench.kafka.brokers())],
        topics: Topics::List(vec![topic.to_owned()]),
        group: Group::Named("reader".to_owned()),
        instance: None,
        start: Start::Earliest,
        from: None,
        out_of_range: OutOfRange::Stop,
        range: None,
        fetch: Fetching::Library,
        security: SecurityPlan::default(),
    })?;
    let place = TopicPartition { topic: topic.into(), partition: 0 };
    let found = reader.reread(&place, offset)?;
    Ok(found.with_context(|| format!("nothing is at {offset} of {topic}"))?.headers)
}

#[test]
fn headers_of_all_kinds() {
    edge("headers that repeat, are binary, or have names that are no text", |bench| {
        for fetch in FETCHES {
            let topic = bench.unique("headers");
            bench.kafka.create_topic(&topic, 1)?;
            bench.kafka.create_topic(&format!("{topic}.dead-letters"), 1)?;
            send_strange(bench, &topic, &["{\"seq\":0}", "{\"seq\":"])?;
            let mut setup = plain(bench, &topic, vec![fetched_by(fetch)]);
            setup.shape.pop();
            let named = "{ trace = \"trace\", bin = \"bin\", none = \"nothing\" }";
            setup.shape.push(format!("metadata = {{ offset = \"at\", headers = {named} }}"));
            let installed = setup.install()?;
            let bridge = installed.start()?;
            installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
            wait_rows(bench, &installed, 1)?;
            // Of a name that is there twice the last one counts, as with other clients.
            ensure_row(bench, &installed, 0, "trace = 'last' and length(bin) = 5")?;
            let letter = headers_of(bench, &format!("{topic}.dead-letters"), 0)?;
            let (theirs, ours) = letter.split_at(strange().len());
            ensure!(theirs == strange(), "{fetch}: the original is not whole: {theirs:?}");
            let reason = ours.iter().find(|(name, _)| name == b"bridge.reason");
            let malformed = Some(&b"malformed"[..]);
            let reason = reason.and_then(|(_, value)| value.as_deref());
            ensure!(reason == malformed, "ours stand behind: {ours:?}");
            bridge.stop_well(ENDS)?;
        }
        Ok(())
    });
}

/// Milliseconds since 1970.
fn now_ms() -> Result<i64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64)
}

#[test]
fn times_of_both_kinds() {
    edge("times of producers and of the broker", |bench| {
        const SAID_MS: i64 = 1_700_000_000_123;
        let start_ms = now_ms()?;
        for (kind, is_brokers) in [("CreateTime", false), ("LogAppendTime", true)] {
            let topic = bench.unique("times");
            // Else records of that age would be gone at the broker's next look.
            let properties = [("message.timestamp.type", kind), ("retention.ms", "-1")];
            bench.kafka.create_topic_with(&topic, 1, &properties)?;
            let record = |seq: i64| {
                let record = Record::new(format!("{{\"seq\":{seq}}}")).partition(0);
                record.timestamp_ms(SAID_MS + seq)
            };
            bench.kafka.produce_with(&topic, (0..10).map(record), &PLAIN)?;
            let installed = plain(bench, &topic, Vec::new()).install()?;
            let bridge = installed.start()?;
            installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
            wait_rows(bench, &installed, 10)?;
            let (start_us, end_us) = (start_ms * 1_000, now_ms()? * 1_000 + 999);
            // In quotes, for without them it may be a type.
            let at = "cast(\"timestamp\" as long)";
            let right = match is_brokers {
                false => format!("{at} = (seq + {SAID_MS}) * 1000"),
                true => format!("{at} >= {start_us} and {at} <= {end_us}"),
            };
            let table = &installed.setup.table;
            let right = format!("select count() from {table} where {right}");
            let right = bench.questdb.scalar_i64(&right)?;
            ensure!(right == 10, "{kind}: {right} of 10 rows have the right time");
            bridge.stop_well(ENDS)?;
        }
        Ok(())
    });
}

#[test]
fn every_compression() {
    edge("every compression", |bench| {
        let setup = Setup::readings(bench, "packed", PARTITIONS)?;
        let each = 2_000;
        for (codec, from) in ["none", "gzip", "snappy", "lz4", "zstd"].into_iter().zip(0..) {
            let records =
                (from * each..(from + 1) * each).map(|seq| Reading(seq).record(PARTITIONS));
            let properties = [("compression.type", codec), PLAIN[0]];
            bench.kafka.produce_with(&setup.topic, records, &properties)?;
        }
        let installed = setup.install()?;
        let bridge = installed.start()?;
        installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
        let table = &installed.setup.table;
        rows_are_exact(&bench.questdb, table, 5 * each, Band::ALL, VISIBLE)?;
        bridge.stop_well(ENDS)
    });
}
