//! Promise: reading begins where it is told and ends where it is told; what is there no more is
//! told with its size; a bounded run ends well when all is stored, and goes on where it stopped.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{
    Answer, Band, Bench, Bridge, Held, Installed, Load, PARTITIONS, Reading, Setup, held, pick,
    promise, rows_are_exact,
};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use world::{Kafka, PostgreSql, await_ok};

const DEADLINE: Duration = Duration::from_secs(60);
const VISIBLE: Duration = Duration::from_secs(30);
/// Kafka's timestamp of the first record: 2023-11-14T22:13:20Z.
const FIRST_MS: i64 = 1_700_000_000_000;

/// Another pipeline on the topic of `of`, into a table of its own.
fn another(bench: &Bench, of: &Setup, name: &str, lines: &[&str]) -> Result<Installed> {
    let mut setup = Setup::bare(bench, name, PARTITIONS);
    (setup.topic, setup.shape) = (of.topic.clone(), of.shape.clone());
    setup.pipeline = lines.iter().map(|line| (*line).to_owned()).collect();
    setup.install()
}

/// Runs it to the end; how many rows its table holds then.
fn run(bench: &Bench, installed: &Installed, more: &[&str]) -> Result<i64> {
    installed.command("run", more)?.ensure_code(0)?;
    rows(bench, &installed.setup.table)
}

/// How many rows are there. What is acknowledged is visible soon.
fn rows(bench: &Bench, table: &str) -> Result<i64> {
    let query = format!("select count() from tables() where table_name = '{table}'");
    if bench.questdb.scalar_i64(&query)? == 0 {
        return Ok(0);
    }
    let pending = format!(
        "select count() from wal_tables() where name = '{table}' and writerTxn <> sequencerTxn"
    );
    await_ok(VISIBLE, "the rows to be visible", || {
        ensure!(bench.questdb.scalar_i64(&pending)? == 0, "not all are applied");
        Ok(())
    })?;
    bench.questdb.scalar_i64(&format!("select count() from \"{table}\""))
}

/// A topic of readings whose timestamps are a second apart.
fn readings(bench: &Bench, name: &str, count: u64) -> Result<Setup> {
    let setup = Setup::readings(bench, name, PARTITIONS)?;
    let record =
        |seq: u64| Reading(seq).record(PARTITIONS).timestamp_ms(FIRST_MS + seq as i64 * 1_000);
    bench.kafka.produce(&setup.topic, (0..count).map(record))?;
    Ok(setup)
}

#[test]
fn reading_begins_and_ends_where_it_is_told() {
    promise("reading begins and ends where it is told", |bench| {
        let of = readings(bench, "places", 1_000)?;
        let each = 1_000 / i64::from(PARTITIONS);
        let later = "start = \"2023-11-14T22:23:20Z\"";
        let time = "range = \"timestamp >= timestamp '2023-11-14T22:23:20Z' and timestamp < \
                    timestamp '2023-11-14T22:25:00Z'\"";
        let joined = "range = \"partition = 0 and offset > 9 or partition = 1 and offset in (3, 5, \
                      7) or offset < 2\"";
        let until = "until = \"2023-11-14T22:23:20Z\"";
        let cases = [
            (vec!["until = \"now\""], 1_000),
            (vec![later, "until = \"now\""], 400),
            (vec![until], 600),
            (vec![later, until], 0),
            (vec!["start = \"25 before end\"", "until = \"now\""], 25 * i64::from(PARTITIONS)),
            (vec!["start = \"0=100, 1=200\"", "until = \"now\""], 1_000 - 300),
            (vec![time], 100),
            (vec![joined], each - 10 + 3 + 2 * i64::from(PARTITIONS)),
        ];
        for (number, (lines, expected)) in cases.into_iter().enumerate() {
            let installed = another(bench, &of, "place", &lines)?;
            let seen = run(bench, &installed, &[])?;
            ensure!(seen == expected, "{lines:?}: {seen} rows, not {expected}");
            // What is committed is not read again.
            if number < 2 {
                ensure!(run(bench, &installed, &[])? == expected, "{lines:?} read again");
            }
        }
        let installed = another(bench, &of, "once", &[])?;
        ensure!(run(bench, &installed, &["--until", "now", "--from", "latest"])? == 0, "latest");
        let from = ["--until", "now", "--from", "2023-11-14T22:23:20Z"];
        ensure!(run(bench, &installed, &from)? == 400, "from a time");
        ensure!(run(bench, &installed, &["--until", "now"])? == 400, "it was committed");
        let wrong = installed.command("run", &["--from", "tomorrow"])?;
        wrong.ensure_code(2)?;
        ensure!(wrong.all.contains("no place to start"), "{}", wrong.all);
        Ok(())
    });
}

#[test]
fn the_end_of_transactions_is_reached() {
    promise("a bounded run ends behind transactions, whoever fetches", |bench| {
        let of = Setup::readings(bench, "ends", PARTITIONS)?;
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bench.kafka.brokers()).set("transactional.id", &of.topic);
        let producer: BaseProducer = config.create()?;
        producer.init_transactions(DEADLINE)?;
        let send = |numbers: std::ops::Range<u64>, keeps: bool| -> Result<()> {
            producer.begin_transaction()?;
            for seq in numbers {
                let record = Reading(seq).record(PARTITIONS);
                let sent = BaseRecord::<[u8], [u8]>::to(&of.topic)
                    .partition(seq as i32 % PARTITIONS)
                    .payload(record.value.as_deref().context("it has a value")?);
                producer.send(sent).map_err(|(error, _)| error)?;
            }
            producer.flush(DEADLINE)?;
            match keeps {
                true => producer.commit_transaction(DEADLINE)?,
                false => producer.abort_transaction(DEADLINE)?,
            }
            Ok(())
        };
        send(0..400, true)?;
        send(400..800, false)?;
        let fetches = ["auto", "library"].map(|fetch| format!("kafka = {{ fetch = \"{fetch}\" }}"));
        let installed = fetches.iter().map(|fetch| another(bench, &of, "end", &[fetch]));
        let installed = installed.collect::<Result<Vec<_>>>()?;
        for one in &installed {
            ensure!(run(bench, one, &["--until", "now"])? == 400, "what was aborted is no record");
        }
        send(800..900, true)?;
        for one in &installed {
            ensure!(run(bench, one, &["--until", "now"])? == 500, "it goes on where it ended");
        }
        Ok(())
    });
}

fn admin(bench: &Bench) -> Result<AdminClient<DefaultClientContext>> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bench.kafka.brokers());
    Ok(config.create()?)
}

fn wait<T>(future: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(future))
}

#[test]
fn topics_of_an_expression_come_and_grow() {
    promise("new topics and partitions are read, those that are left out are not", |bench| {
        let mut setup = Setup::readings(bench, "many", PARTITIONS)?;
        setup.properties = vec!["\"topic.metadata.refresh.interval.ms\" = 500".to_owned()];
        let installed = setup.install()?;
        let Setup { topic, table, .. } = &installed.setup;
        let text = std::fs::read_to_string(&installed.file)?;
        let list = format!("topics = [\"{topic}\"]");
        let regex = format!("topics_regex = \"{topic}.*\"\ntopics_except = [\".*-no.*\"]");
        ensure!(text.contains(&list), "{text}");
        std::fs::write(&installed.file, text.replace(&list, &regex))?;
        let bridge = installed.start_ready()?;
        bridge.wait_assigned(PARTITIONS, DEADLINE)?;
        bench.kafka.produce(topic, (0..100).map(|seq| Reading(seq).record(PARTITIONS)))?;

        let (more, no) = (format!("{topic}-more"), format!("{topic}-no-more"));
        for name in [&more, &no] {
            bench.kafka.create_topic(name, PARTITIONS)?;
            bench.kafka.produce(name, (100..200).map(|seq| Reading(seq).record(PARTITIONS)))?;
        }
        bridge.wait_assigned(2 * PARTITIONS, DEADLINE)?;
        let grown = PARTITIONS + 2;
        let new = [NewPartitions::new(topic, grown as usize)];
        let made = wait(admin(bench)?.create_partitions(&new, &AdminOptions::new()))??;
        ensure!(made.iter().all(Result::is_ok), "{made:?}");
        bridge.wait_assigned(2 * PARTITIONS + 2, DEADLINE)?;
        let late = |seq: u64| {
            let mut record = Reading(seq).record(PARTITIONS);
            record.partition = Some(PARTITIONS + seq as i32 % 2);
            record
        };
        bench.kafka.produce(topic, (200..300).map(late))?;
        bridge.wait(DEADLINE, "300 rows", || {
            let seen = rows(bench, table)?;
            ensure!(seen == 300, "{seen} rows");
            Ok(())
        })?;
        bridge.stop_well(DEADLINE)
    });
}

#[test]
fn what_is_out_of_range_is_told_with_its_size() {
    promise("an offset that is gone stops the pipeline, or is passed over and counted", |bench| {
        let of = readings(bench, "gone", 400)?;
        let stops = another(bench, &of, "stops", &[])?;
        let goes_on = another(bench, &of, "goes-on", &["out_of_range = \"earliest\""])?;
        let few = ["--until", "2023-11-14T22:13:40Z"];
        for installed in [&stops, &goes_on] {
            ensure!(run(bench, installed, &few)? == 20, "twenty seconds");
        }
        let mut before = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            before.add_partition_offset(&of.topic, partition, Offset::Offset(50))?;
        }
        wait(admin(bench)?.delete_records(&before, &AdminOptions::new()))??;

        let answer: Answer = stops.command("run", &[])?;
        answer.ensure_code(1)?;
        for words in ["is not in the log any more", "out_of_range = "] {
            ensure!(answer.all.contains(words), "{words:?} is missing:\n{}", answer.all);
        }
        let bridge = goes_on.start_ready()?;
        let missed = 50 * i64::from(PARTITIONS) - 20;
        let expected = 20 + 400 - 50 * i64::from(PARTITIONS);
        bridge.wait(DEADLINE, "the rows that are left", || {
            let seen = rows(bench, &goes_on.setup.table)?;
            ensure!(seen == expected, "{seen} rows, not {expected}");
            Ok(())
        })?;
        let told = bridge.metrics()?.sum("bridge_offsets_missed_total")?;
        ensure!(told == missed as f64, "{told} offsets, not {missed}");
        bridge.stop_well(DEADLINE)
    });
}

/// How many records the file of progress says are done.
fn kept(installed: &Installed) -> Result<i64> {
    let file = installed.folder().join("readings.progress");
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().filter(|line| line.starts_with(&installed.setup.topic));
    let next =
        lines.map(|line| Ok(line.split(' ').nth(1).context("three words")?.parse::<i64>()?));
    next.sum()
}

/// Waits until so many records more are done.
fn await_kept(bridge: &Bridge, installed: &Installed, more: i64) -> Result<()> {
    let before = kept(installed)?;
    bridge.wait(DEADLINE, "progress", || {
        let now = kept(installed)?;
        ensure!(now >= before + more, "{now} records are done, {before} were");
        Ok(())
    })
}

/// A broker that was never asked for a coordinator has not even made the topic of their offsets.
fn knows_no_group(kafka: &Kafka) -> Result<()> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.brokers());
    let asks: BaseConsumer = config.create()?;
    let groups = asks.fetch_group_list(None, DEADLINE)?;
    let groups: Vec<&str> = groups.groups().iter().map(|group| group.name()).collect();
    ensure!(groups.is_empty(), "groups: {groups:?}");
    let metadata = asks.fetch_metadata(None, DEADLINE)?;
    let topics: Vec<&str> = metadata.topics().iter().map(|topic| topic.name()).collect();
    ensure!(!topics.contains(&"__consumer_offsets"), "topics: {topics:?}");
    Ok(())
}

#[test]
fn without_a_group_nothing_is_lost_and_the_broker_hears_of_none() {
    promise("without a group, killed twice, each row is there, and no group is", |bench| {
        let kafka = Kafka::start()?;
        for fetch in ["auto", "library"] {
            let name = bench.unique("alone");
            let setup = Setup::at(&kafka.brokers(), &bench.questdb, &name, PARTITIONS);
            let mut setup = setup.of_readings().upserting();
            setup.kafka = vec![format!("fetch = \"{fetch}\"")];
            setup.properties = vec!["\"topic.metadata.refresh.interval.ms\" = 500".to_owned()];
            kafka.create_topic(&name, PARTITIONS)?;
            let installed = setup.install_alone("progress = \"readings.progress\"")?;
            let mut bridge = installed.start_ready()?;
            let load = Load::start_at(&kafka, &name, 10_000, |seq| Reading(seq).record(PARTITIONS));
            for _ in 0..2 {
                await_kept(&bridge, &installed, 5_000)?;
                bridge.kill()?;
                bridge = installed.start()?;
            }
            await_kept(&bridge, &installed, 5_000)?;
            let count = load.finish(Duration::from_secs(pick(1, 30)))?;
            kafka.add_partitions(&name, PARTITIONS as usize + 1)?;
            bridge.wait_assigned(PARTITIONS + 1, DEADLINE)?;
            let late = |seq: u64| {
                let mut record = Reading(seq).record(PARTITIONS);
                record.partition = Some(PARTITIONS);
                record
            };
            kafka.produce(&name, (count..count + 100).map(late))?;
            let all = count + 100;
            bridge.wait(DEADLINE * 3, "all to be done", || {
                let done = kept(&installed)?;
                let lag = bridge.metrics()?.sum("bridge_lag")?;
                ensure!(done == all as i64 && lag == 0.0, "{done} of {all}, the lag is {lag}");
                Ok(())
            })?;
            bridge.stop_well(DEADLINE)?;
            rows_are_exact(&bench.questdb, &installed.setup.table, all, Band::ALL, VISIBLE)?;
            for command in ["check", "explain"] {
                let answer = installed.command(command, &[])?;
                answer.ensure_code(0)?;
                ensure!(answer.all.contains("readings.progress"), "{}", answer.all);
            }
            installed.command("run", &["--dry-run"])?.ensure_code(0)?;
        }
        knows_no_group(&kafka)
    });
}

#[test]
fn without_a_group_the_database_keeps_progress_and_partitions_are_chosen() {
    promise("without a group and a file, PostgreSQL says where to go on", |bench| {
        let postgres = PostgreSql::start()?;
        let setup = Setup::readings(bench, "alone", PARTITIONS)?;
        let mut setup = setup.into_postgres(&postgres.address());
        setup.pipeline = vec!["delivery = \"exactly-once\"".to_owned()];
        let installed = setup.install_alone("partitions = \"0-1\"")?;
        let Setup { topic, table, .. } = &installed.setup;
        let mut expected = 0;
        for round in 0..2 {
            let numbers = round * 400..(round + 1) * 400;
            bench.kafka.produce(topic, numbers.map(|seq| Reading(seq).record(PARTITIONS)))?;
            installed.command("run", &["--until", "now"])?.ensure_code(0)?;
            expected += 400 * 2 / i64::from(PARTITIONS);
            let seen = postgres.sql(&format!("SELECT count(*) FROM \"{table}\""))?;
            ensure!(seen == [expected.to_string()], "{seen:?} rows, not {expected}");
        }
        Ok(())
    });
}

#[test]
fn a_backfill_that_is_killed_is_complete_and_once() {
    promise("a backfill by ranges, killed three times, is complete and exactly once", |bench| {
        let postgres = PostgreSql::start()?;
        let count: u64 = pick(200_000, 10_000_000);
        let mut setup =
            Setup::readings(bench, "backfill", PARTITIONS)?.into_postgres(&postgres.address());
        let each = count / PARTITIONS as u64;
        let half = each / 2;
        let range = format!(
            "range = \"partition in (0, 1) and offset < {half} or offset >= {half} or partition \
             >= 2\"",
        );
        setup.pipeline = vec!["delivery = \"exactly-once\"".to_owned(), range];
        let installed = setup.install()?;
        let Setup { topic, table, .. } = &installed.setup;
        bench.kafka.produce(topic, (0..count).map(|seq| Reading(seq).record(PARTITIONS)))?;
        for round in 1..=3 {
            let bridge = installed.start()?;
            let wanted = (count * round / 5) as i64;
            bridge.wait(DEADLINE * 5, "some of it", || {
                let seen = postgres.sql(&format!("SELECT count(*) FROM \"{table}\""))?;
                let seen: i64 = seen.first().context("a count has a row")?.parse()?;
                ensure!(seen >= wanted, "{seen} rows, not {wanted}");
                Ok(())
            })?;
            bridge.kill()?;
        }
        let bridge = installed.start()?;
        let status = bridge.process().wait_exit(DEADLINE * 10)?;
        ensure!(status.success(), "it ended with {status}");
        let seen = held(&postgres, table)?;
        ensure!(seen == Held::all(count), "{count} records: {seen:?}");
        Ok(())
    });
}
