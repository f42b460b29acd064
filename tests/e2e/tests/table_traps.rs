//! Promise: a table that is dropped, suspended or changed behind the bridge's back costs no row
//! that was acknowledged, and no good row for a bad one.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{
    Band, Load, PARTITIONS, Reading, Setup, Transport, promise, rows_are_exact, rows_are_there,
};
use world::{Moment, QuestDb, QuestDbOptions, Record};

const DRAIN: Duration = Duration::from_secs(90);
const VISIBLE: Duration = Duration::from_secs(30);

fn create(questdb: &QuestDb, table: &str) -> Result<()> {
    let columns = "(ts timestamp, sensor symbol, site symbol, temperature double, humidity double, \
                   pressure double, seq long, ok boolean)";
    let statement =
        format!("create table if not exists {table} {columns} timestamp(ts) partition by day wal");
    questdb.sql(&statement).map(drop)
}

/// The trap: the first request of a connection after DROP and CREATE says 204 and loses its rows.
#[test]
fn rows_after_a_new_creation_arrive() {
    promise("rows after a new creation arrive", |bench| {
        let setup = Setup::readings(bench, "recreated", PARTITIONS)?;
        let table = setup.table.clone();
        create(&bench.questdb, &table)?;
        let installed = setup.install()?;
        let group = installed.group(bench)?;
        let bridge = installed.start_ready()?;
        let mut next = 0;
        for _ in 0..4 {
            // Small bursts, so that no second request follows which would not be lost.
            let burst = next..next + 100;
            let records = burst.clone().map(|seq| Reading(seq).record(PARTITIONS));
            bench.kafka.produce(&installed.setup.topic, records)?;
            group.wait_drained(&bridge, DRAIN)?;
            let query = format!("select count_distinct(seq) from {table} where seq >= {next}");
            bench.questdb.wait_for(&query, |seen| seen == 100, VISIBLE)?;
            next = burst.end;
            bench.questdb.sql(&format!("drop table {table}"))?;
            create(&bench.questdb, &table)?;
        }
        bridge.stop_well(Duration::from_secs(20))
    });
}

#[test]
fn a_new_creation_under_load() {
    promise("a new creation under load", |bench| {
        let setup = Setup::readings(bench, "dropped", PARTITIONS)?;
        let table = setup.table.clone();
        create(&bench.questdb, &table)?;
        let installed = setup.install()?;
        let group = installed.group(bench)?;
        let bridge = installed.start_ready()?;
        let load = Load::start(bench, &installed.setup.topic, 10_000, |seq| {
            Reading(seq).record(PARTITIONS)
        });
        let mut created_at = 0;
        for _ in 0..3 {
            let before = group.committed()?;
            group.wait_progress(&bridge, before + 20_000, DRAIN)?;
            bench.questdb.sql(&format!("drop table {table}"))?;
            create(&bench.questdb, &table)?;
            // Records handed to the producer from here on can only meet the new table.
            created_at = load.handed();
        }
        let before = group.committed()?;
        group.wait_progress(&bridge, before + 20_000, DRAIN)?;
        let count = load.finish(Duration::ZERO)?;
        group.wait_drained(&bridge, DRAIN)?;
        let query = format!("select count_distinct(seq) from {table} where seq >= {created_at}");
        let wanted = (count - created_at) as i64;
        bench.questdb.wait_for(&query, |seen| seen == wanted, VISIBLE)?;
        bridge.stop_well(Duration::from_secs(20))
    });
}

#[test]
fn a_suspended_table_pauses_its_pipeline() {
    promise("a suspended table pauses its pipeline", |bench| {
        // Only a server in this mode suspends a table on request.
        let properties = vec![("dev.mode.enabled".to_owned(), "true".to_owned())];
        let options = QuestDbOptions { properties, ..QuestDbOptions::default() };
        let questdb = QuestDb::start_with(options)?;
        let mut setup = Setup::readings(bench, "suspended", PARTITIONS)?;
        setup.http_address = questdb.http_address();
        let table = setup.table.clone();
        create(&questdb, &table)?;
        let installed = setup.install()?;
        let group = installed.group(bench)?;
        let bridge = installed.start_ready()?;
        let first = (0..1_000).map(|seq| Reading(seq).record(PARTITIONS));
        bench.kafka.produce(&installed.setup.topic, first)?;
        group.wait_drained(&bridge, DRAIN)?;
        // A suspension while rows are being applied would end with them: wait until none are.
        let behind =
            format!("select wal_txn - table_txn from tables() where table_name = '{table}'");
        questdb.wait_for(&behind, |behind| behind == 0, VISIBLE)?;
        questdb.sql(&format!("alter table {table} suspend wal"))?;
        let load = Load::start(bench, &installed.setup.topic, 5_000, |seq| {
            Reading(1_000 + seq).record(PARTITIONS)
        });
        bridge.process().wait_for_line("suspended", Duration::from_secs(30))?;
        bridge.wait(Duration::from_secs(10), "trouble at /readyz", || {
            let (status, body) = bridge.get("/readyz")?;
            ensure!(status != 200 && body.contains("suspended"), "{status} {body}");
            Ok(())
        })?;
        // Paused: records pile up that nobody commits.
        bridge.wait(Duration::from_secs(30), "a growing lag", || {
            let lag = group.lag()?;
            ensure!(lag > 20_000, "the lag is {lag}");
            Ok(())
        })?;
        questdb.sql(&format!("alter table {table} resume wal"))?;
        let count = load.finish(Duration::ZERO)? + 1_000;
        group.wait_drained(&bridge, DRAIN)?;
        rows_are_there(&questdb, &table, count, Band::ALL, VISIBLE)?;
        bridge.wait_ready(Duration::from_secs(20))?;
        bridge.stop_well(Duration::from_secs(20))
    });
}

/// The trap: a server that is killed while a symbol's capacity grows comes back, and cannot read
/// the table's columns until it goes through its log. No record is to blame meanwhile, neither for
/// a bridge that `knows` the table nor for one that starts then.
fn a_torn_table_is_woken(name: &str, moment: Moment, transport: Transport, knows: bool) {
    promise(name, |bench| {
        let questdb = QuestDb::start()?;
        let mut setup = Setup::readings(bench, "torn", PARTITIONS)?.over(transport);
        setup.http_address = questdb.http_address();
        setup.pg_address = questdb.pg_address();
        let table = setup.table.clone();
        let installed = setup.install()?;
        let group = installed.group(bench)?;
        let mut bridge = installed.start_ready()?;
        // So few that no capacity grows by itself.
        let first = (0..100).map(|seq| Reading(seq).record(PARTITIONS));
        bench.kafka.produce(&installed.setup.topic, first)?;
        group.wait_drained(&bridge, DRAIN)?;
        rows_are_there(&questdb, &table, 100, Band::ALL, VISIBLE)?;
        if knows {
            questdb.kill_at(&table, moment)?;
            questdb.restart()?;
        } else {
            bridge.stop_well(Duration::from_secs(20))?;
            questdb.kill_at(&table, moment)?;
            questdb.restart()?;
            let read = questdb.sql(&format!("select count() from {table}"));
            ensure!(format!("{read:?}").contains("read timeout"), "the table is whole: {read:?}");
            bridge = installed.start()?;
        }
        let more = (100..2_000).map(|seq| Reading(seq).record(PARTITIONS));
        bench.kafka.produce(&installed.setup.topic, more)?;
        group.wait_drained(&bridge, DRAIN)?;
        rows_are_exact(&questdb, &table, 2_000, Band::ALL, VISIBLE)?;
        let rejected = bridge.metrics()?.sum("bridge_records_rejected_total")?;
        ensure!(rejected == 0.0, "{rejected} records are rejected");
        bridge.stop_well(Duration::from_secs(20))
    });
}

#[test]
fn a_table_torn_before_a_commit_is_woken() {
    let name = "a table torn before a commit";
    a_torn_table_is_woken(name, Moment::BeforeCommit, Transport::Http, false);
}

#[test]
fn a_table_torn_between_renames_is_woken() {
    let name = "a table torn between renames";
    a_torn_table_is_woken(name, Moment::BetweenRenames, Transport::Http, false);
}

#[test]
fn a_table_torn_before_a_commit_is_woken_over_pg() {
    let name = "a table torn before a commit, over pg";
    a_torn_table_is_woken(name, Moment::BeforeCommit, Transport::Pg, false);
}

#[test]
fn a_table_torn_between_renames_is_woken_over_pg() {
    let name = "a table torn between renames, over pg";
    a_torn_table_is_woken(name, Moment::BetweenRenames, Transport::Pg, false);
}

#[test]
fn a_known_table_torn_before_a_commit_is_woken_over_pg() {
    let name = "a known table torn before a commit, over pg";
    a_torn_table_is_woken(name, Moment::BeforeCommit, Transport::Pg, true);
}

#[test]
fn a_known_table_torn_between_renames_is_woken_over_pg() {
    let name = "a known table torn between renames, over pg";
    a_torn_table_is_woken(name, Moment::BetweenRenames, Transport::Pg, true);
}

#[test]
fn an_altered_column_is_noticed() {
    promise("an altered column is noticed", |bench| {
        let setup = Setup::readings(bench, "altered", PARTITIONS)?;
        let table = setup.table.clone();
        create(&bench.questdb, &table)?;
        let installed = setup.install()?;
        let topic = &installed.setup.topic;
        let group = installed.group(bench)?;
        let bridge = installed.start_ready()?;
        bench.kafka.produce(topic, (0..500).map(|seq| Reading(seq).record(PARTITIONS)))?;
        group.wait_drained(&bridge, DRAIN)?;
        // Line protocol has no double for a text: the server refuses what the bridge still writes.
        bench.questdb.sql(&format!("alter table {table} alter column temperature type varchar"))?;
        let load = Load::start(bench, topic, 1_000, |seq| Reading(500 + seq).record(PARTITIONS));
        let behind = format!("select count() from {table} where seq >= 500");
        bench.questdb.wait_for(&behind, |rows| rows > 0, VISIBLE)?;
        let count = load.finish(Duration::ZERO)? + 500;
        group.wait_drained(&bridge, DRAIN)?;
        let letters = bench.kafka.read_all(&format!("{topic}.dead-letters")).unwrap_or_default();
        println!("{count} records, {} of them refused before it was noticed", letters.len());
        for letter in &letters {
            let reason = letter.header("bridge.reason").unwrap_or_default();
            ensure!(reason == "refused-by-sink", "it is {reason}");
        }
        let stored = count as i64 - letters.len() as i64;
        let all = format!("select count() from {table}");
        bench.questdb.wait_for(&all, |rows| rows == stored, VISIBLE)?;
        bridge.stop_well(Duration::from_secs(20))
    });
}

#[test]
fn a_column_made_anew_is_noticed() {
    promise("a column made anew is noticed", |bench| {
        let setup = Setup::readings(bench, "made_anew", PARTITIONS)?;
        let table = setup.table.clone();
        create(&bench.questdb, &table)?;
        let installed = setup.install()?;
        let topic = &installed.setup.topic;
        let group = installed.group(bench)?;
        let bridge = installed.start_ready()?;
        bench.kafka.produce(topic, (0..500).map(|seq| Reading(seq).record(PARTITIONS)))?;
        group.wait_drained(&bridge, DRAIN)?;
        bench.questdb.sql(&format!("alter table {table} drop column temperature"))?;
        bench.questdb.sql(&format!("alter table {table} add column temperature varchar"))?;
        let load = Load::start(bench, topic, 1_000, |seq| Reading(500 + seq).record(PARTITIONS));
        // Nobody refuses what is written in between: the server leaves the value out.
        let there = format!("select count() from {table} where temperature is not null");
        bench.questdb.wait_for(&there, |rows| rows > 0, VISIBLE)?;
        let count = load.finish(Duration::ZERO)? + 500;
        group.wait_drained(&bridge, DRAIN)?;
        let letters = bench.kafka.read_all(&format!("{topic}.dead-letters")).unwrap_or_default();
        let with = bench.questdb.scalar_i64(&there)?;
        println!("{count} records, {} refused, {with} with their value", letters.len());
        let all = format!("select count() from {table}");
        let stored = count as i64 - letters.len() as i64;
        bench.questdb.wait_for(&all, |rows| rows == stored, VISIBLE)?;
        bridge.stop_well(Duration::from_secs(20))
    });
}

#[test]
fn only_the_guilty_record_is_refused() {
    promise("only the guilty record is refused", |bench| {
        let mut setup = Setup::readings(bench, "guilty", 2)?;
        setup.limits = vec!["lanes = 2".to_owned()];
        let table = setup.table.clone();
        create(&bench.questdb, &table)?;
        bench.questdb.sql(&format!("alter table {table} add column note varchar"))?;
        let installed = setup.install()?;
        let group = installed.group(bench)?;
        let bridge = installed.start_ready()?;
        let topic = &installed.setup.topic;
        // The bridge learns the table by one partition; the other one's connection is new to the
        // server, which holds its first rows against the table as it is by then.
        let to = |seq: u64, partition| Reading(seq).record(1).partition(partition);
        bench.kafka.produce(topic, (0..500).map(|seq| to(seq, 0)))?;
        group.wait_drained(&bridge, DRAIN)?;
        bench.questdb.sql(&format!("alter table {table} drop column note"))?;
        bench.questdb.sql(&format!("alter table {table} add column note long"))?;
        let noted = Reading(1_000_000).json().replacen('{', "{\"note\":\"text\",", 1);
        let guilty = Record::new(noted.clone()).key("guilty").partition(1);
        let good = |seqs: std::ops::Range<u64>| seqs.map(|seq| to(seq, 1));
        bench.kafka.produce(topic, good(500..750).chain([guilty]).chain(good(750..1_000)))?;
        group.wait_drained(&bridge, DRAIN)?;
        rows_are_exact(&bench.questdb, &table, 1_000, Band::ALL, VISIBLE)?;
        let letters = bench.kafka.read_all(&format!("{topic}.dead-letters"))?;
        let [letter] = &letters[..] else { anyhow::bail!("{} letters, not one", letters.len()) };
        let reason = letter.header("bridge.reason").unwrap_or_default();
        println!("the guilty record: {reason}, {:?}", letter.header("bridge.detail"));
        ensure!(["refused-by-sink", "wrong-type"].contains(&&*reason), "it is {reason}");
        ensure!(letter.header("bridge.offset").as_deref() == Some("250"), "{:?}", letter.headers);
        ensure!(letter.value.as_deref() == Some(noted.as_bytes()), "not the original");
        bridge.stop_well(Duration::from_secs(20))
    });
}
