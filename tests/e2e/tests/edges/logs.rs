//! What a log may do: be deleted and made anew, end with what is no record, and be away for long.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::{Band, Bench, Group, Installed, PARTITIONS, Reading, Setup, pick, rows_are_exact};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use world::await_ok;

use crate::{DRAIN, ENDS, FETCHES, VISIBLE, edge, fetched_by};

/// Until a topic that was deleted is gone.
const GONE: Duration = Duration::from_secs(30);
/// Clients look soon whether topics changed, not after half a minute.
const REFRESH: &str = "\"topic.metadata.refresh.interval.ms\" = 1000";
/// Until it is noticed that a topic is another one.
const NOTICED: Duration = Duration::from_secs(60);

fn produce(bench: &Bench, setup: &Setup, numbers: std::ops::Range<u64>) -> Result<()> {
    let partitions = setup.partitions;
    let records = numbers.map(|seq| Reading(seq).record(partitions));
    bench.kafka.produce_with(&setup.topic, records, &[("enable.idempotence", "false")])?;
    Ok(())
}

/// Deletes a topic and makes it again.
fn remake(bench: &Bench, topic: &str, partitions: i32) -> Result<()> {
    bench.kafka.delete_topic(topic)?;
    await_ok(GONE, "the topic to be gone", || bench.kafka.create_topic(topic, partitions))
}

/// A pipeline that has read the first 400 readings of a topic.
fn having_read(bench: &Bench, setup: Setup) -> Result<(Installed, e2e::Bridge)> {
    produce(bench, &setup, 0..400)?;
    let installed = setup.install()?;
    let bridge = installed.start()?;
    installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
    Ok((installed, bridge))
}

#[test]
fn a_topic_that_was_made_anew_stops_the_pipeline() {
    edge(
        "a topic that was made anew stops the pipeline, and is read from its beginning",
        |bench| {
            let (installed, bridge) = having_read(bench, Setup::readings(bench, "remade", 2)?)?;
            let Setup { topic, partitions, table, .. } = &installed.setup;
            remake(bench, topic, *partitions)?;
            // More than there was: the old offset is there, and means another record.
            produce(bench, &installed.setup, 400..1_400)?;
            let status = bridge.process().wait_exit(NOTICED)?;
            ensure!(status.code() == Some(1), "it ended with {status}");
            bridge.process().wait_for_line("made anew", ENDS).context("it does not say why")?;
            let bridge = installed.start()?;
            installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
            rows_are_exact(&bench.questdb, table, 1_400, Band::ALL, VISIBLE)?;
            bridge.stop_well(ENDS)
        },
    );
}

#[test]
fn a_topic_that_was_made_anew_stops_whoever_reads_without_a_group() {
    edge("without a group, a topic that was made anew, while it is read or before", |bench| {
        for runs in [true, false] {
            let setup = Setup::readings(bench, "remade", 2)?;
            produce(bench, &setup, 0..400)?;
            let installed = setup.install_alone("progress = \"readings.progress\"")?;
            let Setup { topic, partitions, table, .. } = &installed.setup;
            let mut bridge = installed.start()?;
            rows_are_exact(&bench.questdb, table, 400, Band::ALL, VISIBLE)?;
            if !runs {
                bridge.stop_well(ENDS)?;
            }
            remake(bench, topic, *partitions)?;
            produce(bench, &installed.setup, 400..1_400)?;
            if !runs {
                bridge = installed.start()?;
            }
            let status = bridge.process().wait_exit(NOTICED)?;
            ensure!(status.code() == Some(1), "it ended with {status}");
            bridge.process().wait_for_line("made anew", ENDS).context("it does not say why")?;
            let bridge = installed.start()?;
            rows_are_exact(&bench.questdb, table, 1_400, Band::ALL, VISIBLE)?;
            bridge.stop_well(ENDS)?;
        }
        Ok(())
    });
}

#[test]
fn a_topic_that_was_made_anew_is_gone_on_with() {
    edge("a topic that was made anew is read on, if `out_of_range` says so", |bench| {
        // Shorter than what was read of the old one, whoever fetches; and longer.
        for (fetch, count) in [("auto", 100), ("library", 100), ("auto", 1_000)] {
            let mut setup = Setup::readings(bench, "remade", 2)?;
            setup.pipeline = vec![fetched_by(fetch), "out_of_range = \"earliest\"".to_owned()];
            if fetch == "library" {
                // If it meets the time without a topic, the group waits for this before it deals
                // the new one's partitions.
                setup.properties = vec![REFRESH.to_owned()];
            }
            let (installed, bridge) = having_read(bench, setup)?;
            let Setup { topic, partitions, table, .. } = &installed.setup;
            remake(bench, topic, *partitions)?;
            produce(bench, &installed.setup, 400..400 + count)?;
            let group = installed.group(bench)?;
            group.wait_drained(&bridge, NOTICED).with_context(|| format!("{fetch}, {count}"))?;
            rows_are_exact(&bench.questdb, table, 400 + count, Band::ALL, VISIBLE)?;
            bridge.stop_well(ENDS)?;
        }
        Ok(())
    });
}

#[test]
fn a_partition_that_is_added_is_read_from_its_beginning() {
    edge("a partition that is added is read from its beginning, even with `latest`", |bench| {
        for fetch in FETCHES {
            let mut setup = Setup::readings(bench, "grown", 1)?;
            setup.properties = vec![REFRESH.to_owned()];
            setup.pipeline = vec![fetched_by(fetch), "start = \"latest\"".to_owned()];
            produce(bench, &setup, 1_000_000..1_000_100)?;
            let installed = setup.install()?;
            let Setup { topic, table, .. } = &installed.setup;
            let bridge = installed.start_ready()?;
            bridge.wait_assigned(1, DRAIN)?;
            installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
            bench.kafka.add_partitions(topic, 2)?;
            // Nobody has noticed yet.
            let records = (0..200).map(|seq| Reading(seq).record(2));
            bench.kafka.produce_with(topic, records, &[("enable.idempotence", "false")])?;
            let group = Group::new(bench, &installed.setup.group, topic, 2)?;
            group.wait_drained(&bridge, DRAIN).context(fetch)?;
            rows_are_exact(&bench.questdb, table, 200, Band::ALL, VISIBLE)?;
            bridge.stop_well(ENDS)?;
        }
        Ok(())
    });
}

/// Readings in a transaction, kept or not.
fn send(
    producer: &BaseProducer,
    topic: &str,
    numbers: std::ops::Range<u64>,
    keeps: bool,
) -> Result<()> {
    producer.begin_transaction()?;
    for seq in numbers {
        let record = Reading(seq).record(PARTITIONS);
        let sent = BaseRecord::<[u8], [u8]>::to(topic)
            .partition(record.partition.unwrap_or_default())
            .payload(record.value.as_deref().context("it has a value")?);
        producer.send(sent).map_err(|(error, _)| error)?;
    }
    producer.flush(DRAIN)?;
    match keeps {
        true => producer.commit_transaction(DRAIN)?,
        false => producer.abort_transaction(DRAIN)?,
    }
    Ok(())
}

#[test]
fn no_lag_is_left_behind_transactions() {
    edge("the lag is 0 behind the end of transactions", |bench| {
        let setup = Setup::readings(bench, "closed", PARTITIONS)?;
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bench.kafka.brokers());
        config.set("transactional.id", &setup.topic);
        let producer: BaseProducer = config.create()?;
        producer.init_transactions(DRAIN)?;
        let install = |fetch: &str| {
            let mut setup = setup.clone();
            setup.table = bench.unique("closed");
            setup.group = setup.table.clone();
            setup.pipeline = vec![fetched_by(fetch)];
            setup.install()
        };
        let all = FETCHES.into_iter().map(install).collect::<Result<Vec<Installed>>>()?;
        let bridges = all.iter().map(Installed::start).collect::<Result<Vec<_>>>()?;
        // What ends the log is the mark of a commit, then what was aborted and its mark.
        for (numbers, keeps, rows) in [(0..400, true, 400), (400..500, false, 400)] {
            send(&producer, &setup.topic, numbers, keeps)?;
            for (installed, bridge) in all.iter().zip(&bridges) {
                installed.group(bench)?.wait_drained(bridge, DRAIN)?;
                bridge.wait(DRAIN, "its own word of it", || {
                    let lag = bridge.metrics()?.sum("bridge_lag")?;
                    ensure!(lag == 0.0, "its lag is {lag}");
                    Ok(())
                })?;
                let table = &installed.setup.table;
                rows_are_exact(&bench.questdb, table, rows, Band::ALL, VISIBLE)?;
            }
        }
        bridges.iter().try_for_each(|bridge| bridge.stop_well(ENDS))
    });
}

#[test]
fn a_broker_that_is_away_for_long() {
    edge("a broker that is away for longer than any session", |bench| {
        let mut setup = Setup::readings(bench, "away", PARTITIONS)?.upserting();
        setup.properties = vec!["\"session.timeout.ms\" = 6000".to_owned()];
        let installed = setup.install()?;
        let group = installed.group(bench)?;
        let bridge = installed.start_ready()?;
        produce(bench, &installed.setup, 0..20_000)?;
        group.wait_progress(&bridge, 0, DRAIN)?;
        bench.kafka.kill()?;
        let (start, away) = (Instant::now(), Duration::from_secs(pick(8, 300)));
        bridge.wait(away * 2, "the end of the outage", || {
            ensure!(start.elapsed() >= away, "it lasts");
            Ok(())
        })?;
        bench.kafka.restart()?;
        let start = Instant::now();
        produce(bench, &installed.setup, 20_000..30_000)?;
        group.wait_drained(&bridge, DRAIN)?;
        println!(
            "{} s away: done {:.1} s after its return",
            away.as_secs(),
            start.elapsed().as_secs_f64()
        );
        rows_are_exact(&bench.questdb, &installed.setup.table, 30_000, Band::ALL, VISIBLE)?;
        bridge.stop_well(ENDS)
    });
}
