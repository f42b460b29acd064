//! Promise: with `delivery = "exactly-once"` the table equals the topic, row for row, whatever is
//! killed and however often records are read; a table that cannot see to it is refused, with the
//! statements that cure it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{
    Band, Bench, Bridge, Group, Installed, Load, PARTITIONS, Reading, Setup, Transport, moves,
    pick, promise, rows_are_exact,
};
use serde_json::Value;

/// Where two processes share the machine.
const SHARED_PER_SECOND: u64 = 15_000;
/// Until there is a moment with work under way.
const BUSY: Duration = Duration::from_secs(60);
/// What has piled up, through an unoptimised bridge.
const DRAIN: Duration = Duration::from_secs(180);
const VISIBLE: Duration = Duration::from_secs(60);
const ENDS: Duration = Duration::from_secs(30);

const EXACTLY_ONCE: &str = "delivery = \"exactly-once\"";

/// Records a second, in everyday runs and in long ones.
fn rate() -> u64 {
    pick(20_000, 50_000)
}

/// Nothing but the delivery is said: keys and their columns come from it.
fn setup(bench: &Bench, name: &str) -> Result<Setup> {
    let mut setup = Setup::readings(bench, name, PARTITIONS)?;
    setup.pipeline.push(EXACTLY_ONCE.to_owned());
    Ok(setup)
}

#[test]
fn each_row_once_over_http() {
    promise("each row once over http", |bench| outlive(bench, Transport::Http));
}

#[test]
fn each_row_once_over_tcp() {
    promise("each row once over tcp", |bench| outlive(bench, Transport::Tcp));
}

#[test]
fn each_row_once_over_pg() {
    promise("each row once over pg", |bench| outlive(bench, Transport::Pg));
}

/// Kills in turns under load, then reads the whole topic once more.
fn outlive(bench: &'static Bench, transport: Transport) -> Result<()> {
    let installed = setup(bench, "exact")?.over(transport).install()?;
    let group = installed.group(bench)?;
    let mut bridge = installed.start_ready()?;
    let load =
        Load::start(bench, &installed.setup.topic, rate(), |seq| Reading(seq).record(PARTITIONS));
    group.wait_progress(&bridge, 0, BUSY)?;
    for round in 0..pick(3, 20) {
        let victim = if round % 2 == 0 { "bridge" } else { "QuestDB" };
        bridge = kill(bench, &installed, bridge, &group, round % 2 == 0)
            .with_context(|| format!("round {round}, {victim}"))?;
    }
    let count = load.finish(Duration::ZERO)?;
    group.wait_drained(&bridge, DRAIN)?;
    bridge.stop_well(ENDS)?;
    table_equals_topic(bench, &installed, &group, count)?;

    // Every row a second time, over itself.
    replay(&installed, count)?;
    table_equals_topic(bench, &installed, &group, count)?;
    let table = &installed.setup.table;
    let query = format!(
        "select wal_dedup_row_count_since_start from tables() where table_name = '{table}'"
    );
    let replaced = bench.questdb.scalar_i64(&query)?;
    println!(
        "{count} rows over {transport:?}; {replaced} were replaced since QuestDB's last start"
    );
    ensure!(replaced >= count as i64, "only {replaced} of {count} rows came again");
    Ok(())
}

#[test]
fn a_frozen_process_that_wakes_doubles_nothing() {
    promise("a frozen process that wakes doubles nothing", |bench| {
        let (installed, group, bridge, load) = shared(bench, "exact_frozen", Transport::Tcp)?;
        let bridge = moves::freeze(bridge, &installed, &group)?;
        settle(bench, &installed, &bridge, &group, load)
    });
}

#[test]
fn each_row_once_while_partitions_move() {
    promise("each row once while partitions move", |bench| {
        let (installed, group, bridge, load) = shared(bench, "exact_moved", Transport::Http)?;
        moves::visit(&bridge, &installed, &group, SHARED_PER_SECOND)?;
        settle(bench, &installed, &bridge, &group, load)
    });
}

/// A process at work that shares its group.
fn shared(
    bench: &'static Bench,
    name: &str,
    transport: Transport,
) -> Result<(Installed, Group, Bridge, Load)> {
    let mut setup = setup(bench, name)?.over(transport);
    setup.pipeline.push(moves::NOBODY.to_owned());
    setup.properties = vec![moves::SESSION.to_owned()];
    let installed = setup.install()?;
    let group = installed.group(bench)?;
    let bridge = installed.start_ready()?;
    let load = Load::start(bench, &installed.setup.topic, SHARED_PER_SECOND, |seq| {
        Reading(seq).record(PARTITIONS)
    });
    group.wait_progress(&bridge, 0, BUSY)?;
    Ok((installed, group, bridge, load))
}

/// Ends the load, waits until all is done, and holds the table against the topic.
fn settle(
    bench: &Bench,
    installed: &Installed,
    bridge: &Bridge,
    group: &Group,
    load: Load,
) -> Result<()> {
    let count = load.settle(group, bridge, DRAIN)?;
    bridge.stop_well(ENDS)?;
    println!("{count} records");
    table_equals_topic(bench, installed, group, count)
}

/// Kills one of them with rows under way, and waits for work to go on.
fn kill(
    bench: &'static Bench,
    installed: &Installed,
    bridge: Bridge,
    group: &Group,
    is_bridge: bool,
) -> Result<Bridge> {
    group.wait_busy(&bridge, BUSY)?;
    let bridge = if is_bridge {
        bridge.kill()?;
        installed.start()?
    } else {
        bench.questdb.kill()?;
        bench.questdb.restart()?;
        bridge
    };
    let before = group.committed()?;
    group.wait_progress(&bridge, before, BUSY)?;
    Ok(bridge)
}

/// Reads all records again, until each was stored again.
fn replay(installed: &Installed, count: u64) -> Result<()> {
    let bridge = installed.start_with(&["--from", "earliest"])?;
    bridge.wait(DRAIN, "all records being stored again", || {
        let stored = bridge.metrics()?.sum("bridge_rows_stored_total")?;
        ensure!(stored >= count as f64, "{stored} rows are stored");
        Ok(())
    })?;
    bridge.stop_well(ENDS)
}

/// One row for each record, with its values, from its place in the log.
fn table_equals_topic(
    bench: &Bench,
    installed: &Installed,
    group: &Group,
    count: u64,
) -> Result<()> {
    let Setup { table, topic, .. } = &installed.setup;
    ensure!(group.end()? == count as i64, "the topic has {} records", group.end()?);
    rows_settle(bench, table)?;
    rows_are_exact(&bench.questdb, table, count, Band::ALL, VISIBLE)?;
    let misplaced = format!(
        "select count() from {table} where kafka_topic != '{topic}' or kafka_row != 0 or \
         kafka_partition != seq % {PARTITIONS} or kafka_offset != seq / {PARTITIONS}"
    );
    let misplaced = bench.questdb.scalar_i64(&misplaced)?;
    ensure!(misplaced == 0, "{misplaced} rows are from elsewhere in the log");
    let positions = format!(
        "select count() from (select distinct kafka_topic, kafka_partition, kafka_offset, \
         kafka_row from {table})"
    );
    let positions = bench.questdb.scalar_i64(&positions)?;
    ensure!(positions == count as i64, "{positions} distinct positions for {count} records");
    Ok(())
}

/// Waits until all that was written is applied: a double row may still be on its way.
fn rows_settle(bench: &Bench, table: &str) -> Result<()> {
    bench.questdb.sql(&format!("select wait_wal_table('{table}')")).map(drop)
}

#[test]
fn a_key_of_the_users_own_serves() {
    promise("a key of the user's own serves", |bench| {
        let mut setup = setup(bench, "own_key")?;
        setup.shape.push("upsert_keys = [\"sensor\", \"ts\"]".to_owned());
        let installed = setup.install()?;
        let count = 20_000;
        let records = (0..count).map(|seq| Reading(seq).record(PARTITIONS));
        bench.kafka.produce(&installed.setup.topic, records)?;
        let table = &installed.setup.table;
        for _ in 0..2 {
            replay(&installed, count)?;
            rows_settle(bench, table)?;
            rows_are_exact(&bench.questdb, table, count, Band::ALL, VISIBLE)?;
        }
        let columns = e2e::columns_of(&bench.questdb, table)?;
        let added = columns.iter().any(|(name, _)| name.starts_with("kafka_"));
        ensure!(!added, "columns that nobody needs: {columns:?}");
        Ok(())
    });
}

/// The fix that `check` names for the table.
fn fix(installed: &Installed) -> Result<String> {
    let answer = installed.command("check", &["--json"])?;
    answer.ensure_code(1)?;
    let answer: Value = serde_json::from_str(&answer.stdout).context("check --json")?;
    let findings = answer["pipelines"][0]["findings"].as_array().context("there are findings")?;
    let table = findings.iter().find(|finding| finding["subject"] == "table");
    let fix = table.and_then(|table| table["fix"].as_str());
    Ok(fix.with_context(|| format!("no fix for the table: {answer}"))?.to_owned())
}

#[test]
fn tables_without_keys_are_refused_with_their_cure() {
    promise("tables without keys are refused with their cure", |bench| {
        let installed = setup(bench, "uncured")?.install()?;
        let Setup { table, topic, .. } = &installed.setup;
        let columns = "(ts timestamp, seq long, sensor symbol) timestamp(ts) partition by day wal";
        bench.questdb.sql(&format!("create table {table} {columns}"))?;
        let count = 10_000;
        bench.kafka.produce(topic, (0..count).map(|seq| Reading(seq).record(PARTITIONS)))?;
        let refused = installed.start()?;
        ensure!(!refused.process().wait_exit(ENDS)?.success(), "it ran");
        let said = refused.process().tail();
        ensure!(said.contains("DEDUP ENABLE UPSERT KEYS"), "it does not name the cure: {said}");
        let group = installed.group(bench)?;
        ensure!(group.committed()? == 0, "something is committed");

        // What it says is run as it stands.
        for statement in fix(&installed)?.lines() {
            bench.questdb.sql(statement.trim_end_matches(';')).context(statement.to_owned())?;
        }
        // Keys show once the log is applied.
        rows_settle(bench, table)?;
        installed.command("check", &[])?.ensure_code(0)?;
        let bridge = installed.start()?;
        group.wait_drained(&bridge, DRAIN)?;
        rows_settle(bench, table)?;
        rows_are_exact(&bench.questdb, table, count, Band::ALL, VISIBLE)?;

        // Keys that are taken away end the promise, and the pipeline.
        bench.questdb.sql(&format!("alter table {table} dedup disable"))?;
        let more = (count..count + 5_000).map(|seq| Reading(seq).record(PARTITIONS));
        let load = std::thread::spawn({
            let topic = topic.clone();
            let paced = e2e::paced(500, more.collect::<Vec<_>>().into_iter());
            move || bench.kafka.produce(&topic, paced)
        });
        ensure!(!bridge.process().wait_exit(ENDS)?.success(), "it went on");
        ensure!(bridge.process().tail().contains("has no upsert keys"), "it does not say why");
        load.join().map_err(|_| anyhow::anyhow!("the producer panicked"))??;
        Ok(())
    });
}
