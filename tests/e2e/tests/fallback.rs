//! Promise: while the sink takes no rows they go to the fallback, and back when it takes them
//! again; nothing is lost on either way, and nothing is double in a table with upsert keys.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::{
    Band, Bench, Bridge, Group, Load, PARTITIONS, Reading, Setup, Transport, pick, promise,
    rows_are_exact,
};
use world::{PostgreSql, Proxy, QuestDb, QuestDbOptions};

const RECORDS_PER_SECOND: u64 = 10_000;
/// `after` or `retry_every`, and time to notice and to ask; the load has begun to pile up.
const TURN: Duration = Duration::from_secs(30);
/// The first commit after it.
const PROGRESS: Duration = Duration::from_secs(60);
const DRAIN: Duration = Duration::from_secs(180);
const VISIBLE: Duration = Duration::from_secs(60);

/// The keys of a fallback in a hurry, after its own.
fn soon(own: String) -> Vec<String> {
    vec![own, "after = \"1s\"".to_owned(), "retry_every = \"1s\"".to_owned()]
}

/// Waits until rows go to the fallback, or to the sink again; says so at `/readyz`.
fn wait_turned(bridge: &Bridge, group: &Group, active: bool) -> Result<()> {
    let start = Instant::now();
    bridge.wait(TURN, "the turn", || {
        let now = bridge.metrics()?.sum("bridge_fallback_active")?;
        ensure!((now == 1.0) == active, "bridge_fallback_active is {now}");
        let (status, body) = bridge.get("/readyz")?;
        ensure!(status == 200, "{status} {body}");
        ensure!(body.contains("rows go to the fallback") == active, "{body}");
        Ok(())
    })?;
    let turned = start.elapsed().as_secs_f64();
    let said = if active { "turning to the fallback" } else { "returning from the fallback" };
    let lines = bridge.process().lines();
    ensure!(lines.iter().any(|line| line.contains(said)), "nobody said {said:?}");
    let before = group.committed()?;
    group.wait_progress(bridge, before, PROGRESS)?;
    let stored = start.elapsed().as_secs_f64();
    println!("active {active}: after {turned:.2} s; the first commit after {stored:.2} s");
    Ok(())
}

/// The numbers in a table, which has none twice.
fn numbers(questdb: &QuestDb, table: &str) -> Result<HashSet<i64>> {
    let applied =
        format!("select sum(sequencerTxn - writerTxn) from wal_tables() where name = '{table}'");
    questdb.wait_for(&applied, |behind| behind == 0, VISIBLE)?;
    let rows = questdb.sql(&format!("select seq from {table}"))?.rows;
    none_double(rows.iter().filter_map(|row| row.first()?.as_i64()).collect())
}

/// The same in PostgreSQL.
fn numbers_in_postgres(postgres: &PostgreSql, table: &str) -> Result<HashSet<i64>> {
    let rows = postgres.sql(&format!("SELECT seq FROM \"{table}\""))?;
    let numbers: Result<Vec<i64>, _> = rows.iter().map(|row| row.parse()).collect();
    none_double(numbers?)
}

fn none_double(rows: Vec<i64>) -> Result<HashSet<i64>> {
    let all: HashSet<i64> = rows.iter().copied().collect();
    let double = rows.len() - all.len();
    ensure!(double == 0, "{double} of {} rows are double", rows.len());
    Ok(all)
}

/// Both tables together hold exactly the topic.
fn union_is_whole(first: &QuestDb, second: &QuestDb, table: &str, count: u64) -> Result<()> {
    are_whole(&numbers(first, table)?, &numbers(second, table)?, count)
}

fn are_whole(one: &HashSet<i64>, other: &HashSet<i64>, count: u64) -> Result<()> {
    let both = one.intersection(other).count();
    println!("{count} records: {} and {} rows, {both} in both", one.len(), other.len());
    let missing: Vec<i64> =
        (0..count as i64).filter(|seq| !one.contains(seq) && !other.contains(seq)).collect();
    ensure!(missing.is_empty(), "{} are lost, such as {:?}", missing.len(), missing.first());
    let strange = one.iter().chain(other).filter(|seq| **seq >= count as i64).count();
    ensure!(strange == 0, "{strange} were never sent");
    Ok(())
}

fn load(bench: &'static Bench, topic: &str) -> Load {
    Load::start(bench, topic, RECORDS_PER_SECOND, |seq| Reading(seq).record(PARTITIONS))
}

#[test]
fn a_second_server_while_the_first_is_dead() {
    promise("a second server while the first is dead", |bench| {
        let first = QuestDb::start()?;
        let mut setup = Setup::readings(bench, "fell_back", PARTITIONS)?.upserting();
        setup.http_address = first.http_address();
        setup.fallback = soon(format!("address = \"{}\"", bench.questdb.http_address()));
        let table = setup.table.clone();
        let installed = setup.install()?;
        let checked = installed.command("check", &[])?;
        ensure!(checked.all.contains("another server than the sink"), "{}", checked.all);
        let group = installed.group(bench)?;
        let bridge = installed.start_ready()?;
        let load = load(bench, &installed.setup.topic);
        group.wait_progress(&bridge, 0, PROGRESS)?;
        for round in 0..pick(2, 10) {
            first.kill()?;
            wait_turned(&bridge, &group, true).with_context(|| format!("round {round}"))?;
            first.restart()?;
            wait_turned(&bridge, &group, false).with_context(|| format!("round {round}"))?;
        }
        let turns = bridge.metrics()?.sum("bridge_fallbacks_total")?;
        ensure!(turns == f64::from(pick(2, 10)), "it turned {turns} times");
        let count = load.finish(Duration::ZERO)?;
        group.wait_drained(&bridge, DRAIN)?;
        bridge.stop_well(Duration::from_secs(30))?;
        union_is_whole(&first, &bench.questdb, &table, count)
    });
}

/// The rows' position, as the keys of a table of PostgreSQL.
const POSITION: &str = "mode = \"upsert\"\nkey = [\"kafka_topic\", \"kafka_partition\", \
                        \"kafka_offset\", \"kafka_row\"]";

#[test]
fn postgresql_while_questdb_is_dead() {
    promise("PostgreSQL while QuestDB is dead", |bench| {
        let (first, second) = (QuestDb::start()?, PostgreSql::start()?);
        let mut setup = Setup::readings(bench, "to_postgres", PARTITIONS)?.upserting();
        setup.http_address = first.http_address();
        let address = second.address();
        setup.fallback = soon(format!("kind = \"postgres\"\naddress = \"{address}\"\n{POSITION}"));
        let table = setup.table.clone();
        let installed = setup.install()?;
        let checked = installed.command("check", &[])?;
        ensure!(checked.all.contains("of another kind than the sink"), "{}", checked.all);
        let group = installed.group(bench)?;
        let bridge = installed.start_ready()?;
        let load = load(bench, &installed.setup.topic);
        group.wait_progress(&bridge, 0, PROGRESS)?;
        for round in 0..pick(2, 10) {
            first.kill()?;
            wait_turned(&bridge, &group, true).with_context(|| format!("round {round}"))?;
            first.restart()?;
            wait_turned(&bridge, &group, false).with_context(|| format!("round {round}"))?;
        }
        let count = load.finish(Duration::ZERO)?;
        group.wait_drained(&bridge, DRAIN)?;
        bridge.stop_well(Duration::from_secs(30))?;
        are_whole(&numbers(&first, &table)?, &numbers_in_postgres(&second, &table)?, count)
    });
}

#[test]
fn questdb_while_postgresql_is_dead() {
    promise("QuestDB while PostgreSQL is dead", |bench| {
        let first = PostgreSql::start()?;
        // Nobody is there at the start: what lanes wait for is trouble, too.
        first.kill()?;
        let mut setup = Setup::readings(bench, "from_postgres", PARTITIONS)?.upserting();
        setup.sink = vec![POSITION.to_owned()];
        let second = bench.questdb.http_address();
        setup.fallback = soon(format!("kind = \"questdb\"\naddress = \"{second}\""));
        let table = setup.table.clone();
        let installed = setup.into_postgres(&first.address()).install()?;
        let group = installed.group(bench)?;
        let bridge = installed.start()?;
        let load = load(bench, &installed.setup.topic);
        for round in 0..pick(2, 10) {
            if round > 0 {
                first.kill()?;
            }
            wait_turned(&bridge, &group, true).with_context(|| format!("round {round}"))?;
            first.restart()?;
            wait_turned(&bridge, &group, false).with_context(|| format!("round {round}"))?;
        }
        let count = load.finish(Duration::ZERO)?;
        group.wait_drained(&bridge, DRAIN)?;
        bridge.stop_well(Duration::from_secs(30))?;
        are_whole(&numbers_in_postgres(&first, &table)?, &numbers(&bench.questdb, &table)?, count)
    });
}

#[test]
fn a_first_server_that_was_never_there() {
    promise("a first server that was never there", |bench| {
        let first = QuestDb::start()?;
        first.kill()?;
        let mut setup = Setup::readings(bench, "cold", PARTITIONS)?.upserting();
        setup.http_address = first.http_address();
        setup.fallback = soon(format!("address = \"{}\"", bench.questdb.http_address()));
        let table = setup.table.clone();
        let installed = setup.install()?;
        let group = installed.group(bench)?;
        let bridge = installed.start()?;
        let load = load(bench, &installed.setup.topic);
        wait_turned(&bridge, &group, true)?;
        first.restart()?;
        wait_turned(&bridge, &group, false)?;
        let count = load.finish(Duration::ZERO)?;
        group.wait_drained(&bridge, DRAIN)?;
        bridge.stop_well(Duration::from_secs(30))?;
        union_is_whole(&first, &bench.questdb, &table, count)
    });
}

#[test]
fn http_while_the_port_of_tcp_is_closed() {
    promise("http while the port of tcp is closed", |bench| {
        let proxy = Proxy::start(&bench.questdb.tcp_address())?;
        let mut setup = Setup::readings(bench, "around", PARTITIONS)?.upserting();
        setup = setup.over(Transport::Tcp);
        setup.tcp_address = proxy.address();
        setup.fallback = soon("transport = \"http\"".to_owned());
        let table = setup.table.clone();
        let installed = setup.install()?;
        let checked = installed.command("check", &[])?;
        let (tcp, http) = (proxy.address(), bench.questdb.http_address());
        let said = format!("takes over when {tcp} fails, not when {http} does");
        ensure!(checked.all.contains(&said), "{}", checked.all);
        let group = installed.group(bench)?;
        let bridge = installed.start_ready()?;
        let load = load(bench, &installed.setup.topic);
        group.wait_progress(&bridge, 0, PROGRESS)?;
        for _ in 0..pick(2, 5) {
            proxy.refuse(true);
            proxy.cut();
            wait_turned(&bridge, &group, true)?;
            proxy.refuse(false);
            wait_turned(&bridge, &group, false)?;
        }
        let count = load.finish(Duration::ZERO)?;
        group.wait_drained(&bridge, DRAIN)?;
        bridge.stop_well(Duration::from_secs(30))?;
        rows_are_exact(&bench.questdb, &table, count, Band::ALL, VISIBLE)
    });
}

#[test]
fn another_server_while_a_table_is_suspended() {
    promise("another server while a table is suspended", |bench| {
        // Only a server in this mode suspends a table on request.
        let set = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let properties = vec![set("dev.mode.enabled", "true"), set("telemetry.enabled", "true")];
        let first = QuestDb::start_with(QuestDbOptions { properties, ..Default::default() })?;
        let mut setup = Setup::readings(bench, "held", PARTITIONS)?.upserting();
        setup.http_address = first.http_address();
        setup.fallback = soon(format!("address = \"{}\"", bench.questdb.http_address()));
        let table = setup.table.clone();
        let installed = setup.install()?;
        let group = installed.group(bench)?;
        let bridge = installed.start_ready()?;
        let some = (0..1_000).map(|seq| Reading(seq).record(PARTITIONS));
        bench.kafka.produce(&installed.setup.topic, some)?;
        group.wait_drained(&bridge, DRAIN)?;
        // A suspension while rows are being applied would end with them: wait until none are.
        let behind =
            format!("select wal_txn - table_txn from tables() where table_name = '{table}'");
        first.wait_for(&behind, |behind| behind == 0, VISIBLE)?;
        first.sql(&format!("alter table {table} suspend wal"))?;
        let load = Load::start(bench, &installed.setup.topic, 5_000, |seq| {
            Reading(1_000 + seq).record(PARTITIONS)
        });
        wait_turned(&bridge, &group, true)?;
        let checked = installed.command("check", &[])?;
        ensure!(checked.all.contains("is suspended"), "{}", checked.all);
        checked.ensure_code(1)?;
        first.sql(&format!("alter table {table} resume wal"))?;
        wait_turned(&bridge, &group, false)?;
        let count = load.finish(Duration::ZERO)? + 1_000;
        group.wait_drained(&bridge, DRAIN)?;
        bridge.stop_well(Duration::from_secs(30))?;
        union_is_whole(&first, &bench.questdb, &table, count)
    });
}

#[test]
fn one_server_by_two_addresses_is_seen_to_be_one() {
    promise("one server by two addresses is seen to be one", |bench| {
        let properties = vec![("telemetry.enabled".to_owned(), "true".to_owned())];
        let options = QuestDbOptions { properties, ..Default::default() };
        let (one, other) = (QuestDb::start_with(options.clone())?, QuestDb::start_with(options)?);
        let proxy = Proxy::start(&one.http_address())?;
        for (address, said) in [
            (proxy.address(), "it is the same server as the sink"),
            (other.http_address(), "another server than the sink"),
        ] {
            let mut setup = Setup::readings(bench, "twice", 1)?;
            setup.http_address = one.http_address();
            setup.fallback = soon(format!("address = \"{address}\""));
            let checked = setup.install()?.command("check", &[])?;
            ensure!(checked.all.contains(said), "{}", checked.all);
            checked.ensure_code(0)?;
        }
        let (one, other) = (PostgreSql::start()?, PostgreSql::start()?);
        let proxy = Proxy::start(&one.address())?;
        for (address, said) in [
            (proxy.address(), "it is the same server as the sink"),
            (other.address(), "another server than the sink"),
        ] {
            let mut setup = Setup::readings(bench, "pg_twice", 1)?;
            setup.fallback = soon(format!("address = \"{address}\""));
            let checked = setup.into_postgres(&one.address()).install()?.command("check", &[])?;
            ensure!(checked.all.contains(said), "{}", checked.all);
            checked.ensure_code(0)?;
        }
        Ok(())
    });
}

#[test]
fn another_server_while_the_first_is_read_only() {
    promise("another server while the first is read-only", |bench| {
        let properties = vec![("http.security.readonly".to_owned(), "true".to_owned())];
        let first = QuestDb::start_with(QuestDbOptions { properties, ..Default::default() })?;
        let mut setup = Setup::readings(bench, "sealed", PARTITIONS)?.upserting();
        setup.http_address = first.http_address();
        setup.fallback = soon(format!("address = \"{}\"", bench.questdb.http_address()));
        let table = setup.table.clone();
        let installed = setup.install()?;
        let checked = installed.command("check", &[])?;
        ensure!(checked.all.contains("is read-only"), "{}", checked.all);
        let group = installed.group(bench)?;
        let bridge = installed.start()?;
        let load = load(bench, &installed.setup.topic);
        wait_turned(&bridge, &group, true)?;
        let count = load.finish(Duration::from_secs(5))?;
        group.wait_drained(&bridge, DRAIN)?;
        bridge.stop_well(Duration::from_secs(30))?;
        rows_are_exact(&bench.questdb, &table, count, Band::ALL, VISIBLE)
    });
}
