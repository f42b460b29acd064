//! Promise: records that the bridge fetches itself are those that the client library would bring,
//! in the same order, up to the same positions, and with the same complaints.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bridge::batch::{PartitionIndex, Route};
use bridge::config::security::SecurityPlan;
use bridge::config::{Fetching, Group, KafkaPlan, OutOfRange, Start, Topics};
use bridge::limits::{Limits, MIB};
use bridge::source::kafka::KafkaSource;
use bridge::source::{Event, Source};
use bridge::ticket::{Lost, Ticket};
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use world::{Kafka, KafkaOptions, Message, Record, await_until};

const DEADLINE: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 3;
/// The last record of every partition.
const LAST: &[u8] = b"the last one";

fn plan(kafka: &Kafka, topic: &str, fetch: Fetching, properties: &[(&str, &str)]) -> KafkaPlan {
    let brokers = ("bootstrap.servers", kafka.brokers());
    let all = std::iter::once((brokers.0, &*brokers.1)).chain(properties.iter().copied());
    KafkaPlan {
        properties: all.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        topics: Topics::List(vec![topic.to_owned()]),
        group: Group::Named(format!("{topic}-{fetch:?}-{:?}", properties.last())),
        instance: None,
        start: Start::Earliest,
        from: None,
        out_of_range: OutOfRange::Stop,
        range: None,
        fetch,
        security: SecurityPlan::default(),
    }
}

/// What a source brought.
#[derive(Default)]
struct Brought {
    records: BTreeMap<i32, Vec<Message>>,
    /// By partition: where it stands, and where the log is said to end.
    lags: BTreeMap<i32, (i64, i64)>,
}

/// Reads with little memory until the last record of all partitions was there. `rewinds` goes back
/// now and then.
fn read(plan: &KafkaPlan, rewinds: bool) -> Result<Brought> {
    let limits = Limits { fetch_bytes_max: MIB, ..Limits::default() };
    let mut source = KafkaSource::open(plan, &limits, &[])?;
    let (mut owned, mut brought) = (Vec::new(), Brought::default());
    let lost = Arc::new(Lost::default());
    let deadline = Instant::now() + DEADLINE;
    let mut takes = 0;
    loop {
        ensure!(Instant::now() < deadline, "{:?} brought too little", plan.fetch);
        while let Some(event) = source.poll()? {
            if let Event::Assigned(partitions) = event {
                let at: Vec<_> = partitions.iter().map(|index| (*index, None)).collect();
                source.start(&at)?;
                owned.extend(partitions);
            }
        }
        let mut any = false;
        for index in owned.clone() {
            let Some(taken) = source.take(index, 97)? else { continue };
            any = true;
            takes += 1;
            let name = source.name_of(index);
            let ticket = Ticket::issue(0, Arc::clone(&lost));
            let batch = taken.into_batch(index, name.clone(), ticket, Route::Primary);
            let into = brought.records.entry(name.partition).or_default();
            for (place, record) in batch.iter().enumerate() {
                let mut headers = Vec::new();
                batch.headers(place, &mut |name, value| {
                    let name = String::from_utf8_lossy(name).into_owned();
                    headers.push((name, value.map(<[u8]>::to_vec)));
                });
                into.push(Message {
                    partition: name.partition,
                    offset: record.offset,
                    timestamp_ms: Some(record.timestamp_ms),
                    key: record.key.map(<[u8]>::to_vec),
                    value: record.value.map(<[u8]>::to_vec),
                    headers,
                });
            }
            if rewinds && takes % 5 == 0 {
                let back = into.len() - into.len().min(40);
                let next = into[back].offset;
                into.truncate(back);
                source.rewind(index, next)?;
            }
        }
        let is_over = |messages: &Vec<Message>| {
            messages.last().is_some_and(|last| last.value.as_deref() == Some(LAST))
        };
        let over = brought.records.values().filter(|messages| is_over(messages)).count();
        brought.lags = lags(&mut source);
        let ends = brought.lags.values().all(|(position, end)| position == end);
        if over == PARTITIONS as usize && ends {
            source.close(DEADLINE);
            return Ok(brought);
        }
        if !any {
            source.wait(Instant::now() + Duration::from_millis(20));
        }
    }
}

fn lags(source: &mut KafkaSource) -> BTreeMap<i32, (i64, i64)> {
    let lags = source.lag();
    let name = |index: PartitionIndex| source.name_of(index).partition;
    lags.iter().map(|lag| (name(lag.partition), (lag.position, lag.end))).collect()
}

/// Both ways bring the same. How many records.
fn check(kafka: &Kafka, topic: &str, properties: &[(&str, &str)]) -> Result<usize> {
    let records =
        (0..PARTITIONS).map(|partition| Record::new(LAST).key("last").partition(partition));
    kafka.produce(topic, records)?;
    let plan = |fetch, properties| KafkaPlan {
        out_of_range: OutOfRange::Earliest,
        ..plan(kafka, topic, fetch, properties)
    };
    let library = read(&plan(Fetching::Library, properties), false)?;
    let mut again = vec![("fetch.wait.max.ms", "50")];
    again.extend(properties);
    for (properties, rewinds) in [(properties, false), (&again, true)] {
        let own = read(&plan(Fetching::Auto, properties), rewinds)?;
        for (partition, expected) in &library.records {
            let found = &own.records[partition];
            let differ = found.iter().zip(expected).find(|(found, expected)| found != expected);
            ensure!(differ.is_none(), "{topic}/{partition}: {differ:?}");
            ensure!(found.len() == expected.len(), "{} of {}", found.len(), expected.len());
        }
        ensure!(own.lags == library.lags, "{:?}, not {:?}", own.lags, library.lags);
    }
    Ok(library.records.values().map(Vec::len).sum())
}

/// Records of all kinds: large, empty and null, with headers and without.
fn record(number: u64) -> Record {
    let size = match number % 50 {
        0 => 0,
        49 => 20_000,
        _ => number % 300,
    };
    let width = size as usize;
    let mut record = Record::new(format!("{number:>width$}"));
    record.partition = Some((number / 7) as i32 % PARTITIONS);
    record.timestamp_ms =
        (!number.is_multiple_of(3)).then_some(1_700_000_000_000 - number as i64 * 1_000);
    if !number.is_multiple_of(5) {
        record.key = Some(number.to_string().into_bytes());
    }
    if number.is_multiple_of(11) {
        record.value = None;
    }
    for header in 0..number % 4 {
        let value = (header != 1).then(|| vec![b'h'; number as usize % 90]);
        record.headers.push((format!("h{header}"), value));
    }
    record
}

fn broker() -> Result<Kafka> {
    let property = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    Kafka::start_with(KafkaOptions {
        properties: vec![
            // Compaction without a long wait.
            property("log.cleaner.backoff.ms", "200"),
            property("log.cleaner.min.compaction.lag.ms", "0"),
            property("log.retention.check.interval.ms", "500"),
        ],
        ..KafkaOptions::default()
    })
}

fn admin(kafka: &Kafka) -> Result<AdminClient<DefaultClientContext>> {
    Ok(ClientConfig::new().set("bootstrap.servers", kafka.brokers()).create()?)
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(DEADLINE))
}

fn wait<T>(answer: impl Future<Output = T>) -> Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(answer))
}

fn all_compressions(kafka: &Kafka) -> Result<()> {
    for times in ["CreateTime", "LogAppendTime"] {
        let topic = format!("mixed-{times}");
        kafka.create_topic_with(&topic, PARTITIONS, &[("message.timestamp.type", times)])?;
        let mut number = 0;
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            for batch in ["900000", "4000"] {
                let records = (number..number + 3_000).map(record);
                number += 3_000;
                let properties = [("compression.type", codec), ("batch.size", batch)];
                kafka.produce_with(&topic, records, &properties)?;
            }
        }
        // Larger than one fetch with so little memory.
        let large = Record::new(vec![b'x'; 900_000]).partition(1);
        kafka.produce(&topic, [large])?;
        let count = check(kafka, &topic, &[])?;
        ensure!(count as u64 == number + 1 + PARTITIONS as u64, "{count} records");
    }
    Ok(())
}

/// The library has the partitions, paused, by whatever protocol the group speaks.
fn group_protocols(kafka: &Kafka) -> Result<()> {
    let topic = "protocols";
    kafka.create_topic(topic, PARTITIONS)?;
    kafka.produce(topic, (0..2_000).map(record))?;
    for property in [("group.protocol", "consumer"), ("partition.assignment.strategy", "range")] {
        check(kafka, topic, &[property, ("client.id", property.1)])?;
    }
    Ok(())
}

fn transactions(kafka: &Kafka) -> Result<()> {
    let topic = "transactions";
    kafka.create_topic(topic, PARTITIONS)?;
    let producer = |id: &str| -> Result<BaseProducer> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", kafka.brokers()).set("transactional.id", id);
        let producer: BaseProducer = config.create()?;
        producer.init_transactions(DEADLINE)?;
        Ok(producer)
    };
    let producers = [producer("one")?, producer("two")?];
    let mut number = 0u64;
    for round in 0..12 {
        for producer in &producers {
            producer.begin_transaction()?;
        }
        for _ in 0..3 {
            for producer in &producers {
                for _ in 0..40 {
                    number += 1;
                    let value = number.to_string();
                    let record = BaseRecord::<str, str>::to(topic).payload(&value);
                    let record = record.partition(number as i32 % PARTITIONS);
                    producer.send(record).map_err(|(error, _)| error)?;
                }
                producer.flush(DEADLINE)?;
            }
        }
        // The first to begin is now the first to end, now the last.
        let mut ends: Vec<(&BaseProducer, i32)> = producers.iter().zip([1, 2]).collect();
        if round % 2 == 1 {
            ends.reverse();
        }
        for (producer, bit) in ends {
            match round & bit {
                0 => producer.commit_transaction(DEADLINE)?,
                _ => producer.abort_transaction(DEADLINE)?,
            }
        }
        if round % 4 == 3 {
            kafka.produce(topic, (0..20).map(record))?;
        }
    }
    let committed = check(kafka, topic, &[])?;
    let all = check(kafka, topic, &[("isolation.level", "read_uncommitted")])?;
    ensure!(committed < all, "{committed} of {all} records");
    Ok(())
}

fn compaction(kafka: &Kafka) -> Result<()> {
    let topic = "compacted";
    let properties = [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("segment.ms", "500"),
        ("delete.retention.ms", "0"),
    ];
    kafka.create_topic_with(topic, PARTITIONS, &properties)?;
    let keyed = |number: u64| {
        Record::new(number.to_string()).key((number % 50).to_string()).partition(number as i32 % 3)
    };
    // A segment is closed by the next record after its time.
    await_until(DEADLINE, "compaction", || {
        kafka.produce(topic, (0..3_000).map(keyed)).ok()?;
        let kept = kafka.read_all(topic).ok()?;
        let offsets = kafka.end_offsets(topic).ok()?.iter().map(|(_, end)| *end as usize).sum();
        (kept.len() < offsets).then_some(())
    })?;
    // Both are to read the same log: it is left as it is.
    let admin = admin(kafka)?;
    let keep = AlterConfig::new(ResourceSpecifier::Topic(topic)).set("cleanup.policy", "delete");
    wait(admin.alter_configs([&keep], &options()))??;
    let last = (0..PARTITIONS).map(|partition| Record::new(LAST).key("last").partition(partition));
    kafka.produce(topic, last)?;
    let mut before = kafka.read_all(topic)?;
    await_until(DEADLINE, "the end of compaction", || {
        let now = read(&plan(kafka, topic, Fetching::Library, &[]), false);
        let now = now.and_then(|_| kafka.read_all(topic)).ok()?;
        let is_over = now == before;
        before = now;
        is_over.then_some(())
    })?;
    check(kafka, topic, &[("check.crcs", "true")])?;
    Ok(())
}

/// Records before the committed offset were deleted: the same complaint, and the same policy.
fn retention(kafka: &Kafka) -> Result<()> {
    let topic = "retained";
    kafka.create_topic(topic, PARTITIONS)?;
    kafka.produce(topic, (0..300).map(record))?;
    let mut before = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        before.add_partition_offset(topic, partition, Offset::Offset(10))?;
    }
    wait(admin(kafka)?.delete_records(&before, &options()))??;
    let complaint = |fetch: Fetching| -> Result<String> {
        let plan = plan(kafka, topic, fetch, &[]);
        let mut source = KafkaSource::open(&plan, &Limits::default(), &[])?;
        let mut owned = Vec::new();
        let deadline = Instant::now() + DEADLINE;
        loop {
            ensure!(Instant::now() < deadline, "{fetch:?} does not complain");
            while let Some(event) = source.poll()? {
                if let Event::Assigned(partitions) = event {
                    let only = partitions.iter().find(|p| source.name_of(**p).partition == 0);
                    source.start(&[(*only.context("partition 0")?, Some(0))])?;
                    owned.extend(only.copied());
                }
            }
            for index in &owned {
                if let Err(fault) = source.take(*index, 10) {
                    source.close(DEADLINE);
                    return Ok(fault.to_string());
                }
            }
            source.wait(Instant::now() + Duration::from_millis(20));
        }
    };
    let (own, library) = (complaint(Fetching::Auto)?, complaint(Fetching::Library)?);
    ensure!(own == library && own.contains("is not in the log any more"), "{own}, {library}");
    kafka.produce(topic, (0..300).map(record))?;
    check(kafka, topic, &[("client.id", "late")])?;
    Ok(())
}

type Case = fn(&Kafka) -> Result<()>;

#[test]
fn both_ways_bring_the_same() {
    let kafka = broker().expect("a broker");
    let cases: [(&str, Case); 5] = [
        ("compaction", compaction),
        ("compressions", all_compressions),
        ("group protocols", group_protocols),
        ("transactions", transactions),
        ("retention", retention),
    ];
    for (name, case) in cases {
        let begun = Instant::now();
        case(&kafka).with_context(|| name.to_owned()).expect("both bring the same");
        println!("{name}: held, {:.1} s", begun.elapsed().as_secs_f64());
    }
}
