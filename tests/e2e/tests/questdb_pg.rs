//! Promise: over QuestDB's PostgreSQL protocol each type arrives exactly or its record is put
//! aside, and a table that is dropped, altered or suspended behind the bridge's back costs no row.
//! What is the same over every transport is promised where the others are: `delivers`, `exactly`,
//! `rejects`.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{
    Band, Bench, Load, PARTITIONS, Reading, Setup, Transport, promise, rows_are_exact,
    rows_are_there,
};
use serde_json::json;
use world::{Proxy, QuestDb, QuestDbOptions, Record};

const DRAIN: Duration = Duration::from_secs(90);
const VISIBLE: Duration = Duration::from_secs(30);

fn over_pg(bench: &Bench, name: &str) -> Result<Setup> {
    Ok(Setup::readings(bench, name, PARTITIONS)?.over(Transport::Pg))
}

fn create(questdb: &QuestDb, table: &str) -> Result<()> {
    let columns = "(ts timestamp, sensor symbol, site symbol, temperature double, humidity double, \
                   pressure double, seq long, ok boolean)";
    questdb
        .sql(&format!("create table {table} {columns} timestamp(ts) partition by day wal"))
        .map(drop)
}

/// (type, a value in JSON, what the server says it is)
const TYPES: [(&str, &str, &str); 18] = [
    ("boolean", "true", "true"),
    ("byte", "-7", "-7"),
    ("short", "-300", "-300"),
    ("int", "70000", "70000"),
    ("long", "9007199254740993", "9007199254740993"),
    ("float", "1.5", "1.5"),
    ("double", "0.1", "0.1"),
    ("symbol", "\"a b,c=\\\"d\"", "a b,c=\"d"),
    ("varchar", "\"hé\\nllo\\t€\"", "hé\nllo\t€"),
    ("string", "\"text\"", "text"),
    ("char", "\"x\"", "x"),
    ("uuid", "\"11111111-2222-3333-4444-5555555555ff\"", "11111111-2222-3333-4444-5555555555ff"),
    ("ipv4", "\"10.1.2.3\"", "10.1.2.3"),
    ("long256", "\"0x1f\"", "0x1f"),
    ("geohash(5c)", "\"u33dc\"", "u33dc"),
    ("decimal(10,2)", "12", "12.00"),
    ("timestamp", "\"2023-11-14T22:13:20.123456Z\"", "2023-11-14T22:13:20.123456Z"),
    ("date", "\"2023-11-14T22:13:20.123Z\"", "2023-11-14T22:13:20.123Z"),
];

#[test]
fn types_are_exact_and_what_the_server_refuses_is_put_aside() {
    promise("types are exact over pg, and what the server refuses is put aside", |bench| {
        let mut setup = Setup::bare(bench, "pg_types", 1).over(Transport::Pg);
        bench.kafka.create_topic(&setup.topic, 1)?;
        setup.shape.push("timestamp = { field = \"at\", unit = \"ns\" }".to_owned());
        setup.shape.push("metadata = true".to_owned());
        let table = setup.table.clone();
        let columns: Vec<String> =
            TYPES.iter().enumerate().map(|(at, (kind, ..))| format!("c{at} {kind}")).collect();
        bench.questdb.sql(&format!(
            "create table {table} (ts timestamp_ns, n long, late timestamp_ns, {}) timestamp(ts) \
             partition by day wal",
            columns.join(", ")
        ))?;
        let values: Vec<String> = TYPES
            .iter()
            .enumerate()
            .map(|(at, (_, value, _))| format!("\"c{at}\":{value}"))
            .collect();
        let values = values.join(",");
        let late = "\"late\":\"2023-11-14T22:13:20.123456789Z\"";
        let good = |n: u64| {
            let at = 1_700_000_000_000_000_001 + n;
            format!("{{\"at\":{at},\"n\":{n},{late},{values}}}")
        };
        // Only the server can tell that these do not fit, but for the last: too many digits.
        let guilty = [
            "\"c14\":\"!!!!!\"".to_owned(),
            "\"c13\":\"no number\"".to_owned(),
            "\"c5\":1e300".to_owned(),
            "\"c15\":12345678901".to_owned(),
        ];
        let mut records = Vec::new();
        for n in 0..5_000 {
            records.push(Record::new(good(n)).partition(0));
            if n % 1_000 == 500
                && let Some(bad) = guilty.get(n as usize / 1_000)
            {
                let at = 1_700_000_000_000_000_000_u64;
                records.push(Record::new(format!("{{\"at\":{at},{bad}}}")).partition(0));
            }
        }
        bench.kafka.produce(&setup.topic, records)?;
        let installed = setup.install()?;
        installed.command("check", &[])?.ensure_code(0)?;
        let bridge = installed.start()?;
        installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
        let all = format!("select count_distinct(n) from {table} where n is not null");
        bench.questdb.wait_for(&all, |rows| rows == 5_000, VISIBLE)?;
        let total = bench.questdb.scalar_i64(&format!("select count() from {table}"))?;
        ensure!(total == 5_000, "{total} rows");
        let letters = bench.kafka.read_all(&format!("{}.dead-letters", installed.setup.topic))?;
        let reasons: Vec<_> = letters.iter().map(|letter| letter.header("bridge.reason")).collect();
        ensure!(letters.len() == guilty.len(), "{reasons:?}");
        let by = |reason: &str| reasons.iter().filter(|r| r.as_deref() == Some(reason)).count();
        ensure!((by("refused-by-sink"), by("wrong-type")) == (3, 1), "{reasons:?}");

        values_are_exact(&bench.questdb, &table)?;
        bridge.stop_well(Duration::from_secs(20))
    });
}

/// Nanoseconds, the columns that the bridge fills, and a value of each type.
fn values_are_exact(questdb: &QuestDb, table: &str) -> Result<()> {
    let names: Vec<String> = (0..TYPES.len()).map(|at| format!("c{at}")).collect();
    let query = format!(
        "select ts::long, late::long, kafka_offset, {} from {table} where n = 0",
        names.join(", ")
    );
    let rows = questdb.sql(&query)?;
    let row = &rows.rows[0];
    ensure!(row[0] == json!(1_700_000_000_000_000_001_i64), "the timestamp is {}", row[0]);
    ensure!(row[1] == json!(1_700_000_000_123_456_789_i64), "nanoseconds: {}", row[1]);
    ensure!(row[2] == json!(0), "the offset is {}", row[2]);
    for ((kind, _, expected), got) in TYPES.iter().zip(&row[3..]) {
        let got = got.as_str().map_or_else(|| got.to_string(), str::to_owned);
        ensure!(got == *expected, "{kind}: {got:?}, not {expected:?}");
    }
    Ok(())
}

#[test]
fn a_table_that_is_made_again_or_altered_loses_nothing() {
    promise("a table that is made again or altered loses nothing over pg", |bench| {
        let setup = over_pg(bench, "pg_recreated")?;
        let table = setup.table.clone();
        create(&bench.questdb, &table)?;
        let installed = setup.install()?;
        let group = installed.group(bench)?;
        let bridge = installed.start_ready()?;
        let mut next = 0;
        let alter = format!("alter table {table} alter column temperature type varchar");
        for change in ["made again", "dropped", "altered", ""] {
            let burst = next..next + 100;
            let records = burst.clone().map(|seq| Reading(seq).record(PARTITIONS));
            bench.kafka.produce(&installed.setup.topic, records)?;
            group.wait_drained(&bridge, DRAIN)?;
            let query = format!("select count_distinct(seq) from {table} where seq >= {next}");
            bench.questdb.wait_for(&query, |seen| seen == 100, VISIBLE)?;
            next = burst.end;
            match change {
                "made again" => {
                    bench.questdb.sql(&format!("drop table {table}"))?;
                    create(&bench.questdb, &table)?;
                }
                "dropped" => drop(bench.questdb.sql(&format!("drop table {table}"))?),
                "altered" => drop(bench.questdb.sql(&alter)?),
                _ => {}
            }
        }
        let text = format!("select count() from {table} where seq >= 300 and temperature != ''");
        ensure!(bench.questdb.scalar_i64(&text)? == 100, "the altered column has no values");
        let letters = bench.kafka.read_all(&format!("{}.dead-letters", installed.setup.topic));
        ensure!(letters.map_or(0, |letters| letters.len()) == 0, "good records were put aside");
        bridge.stop_well(Duration::from_secs(20))
    });
}

#[test]
fn a_suspended_table_pauses_its_pipeline() {
    promise("a suspended table pauses its pipeline over pg", |bench| {
        // Only a server in this mode suspends a table on request.
        let properties = vec![("dev.mode.enabled".to_owned(), "true".to_owned())];
        let options = QuestDbOptions { properties, ..QuestDbOptions::default() };
        let questdb = QuestDb::start_with(options)?;
        let mut setup = over_pg(bench, "pg_suspended")?;
        setup.pg_address = questdb.pg_address();
        let table = setup.table.clone();
        create(&questdb, &table)?;
        let installed = setup.install()?;
        let group = installed.group(bench)?;
        let bridge = installed.start_ready()?;
        let topic = &installed.setup.topic;
        bench.kafka.produce(topic, (0..1_000).map(|seq| Reading(seq).record(PARTITIONS)))?;
        group.wait_drained(&bridge, DRAIN)?;
        let behind =
            format!("select wal_txn - table_txn from tables() where table_name = '{table}'");
        questdb.wait_for(&behind, |behind| behind == 0, VISIBLE)?;
        questdb.sql(&format!("alter table {table} suspend wal"))?;
        let load = Load::start(bench, topic, 5_000, |seq| Reading(1_000 + seq).record(PARTITIONS));
        bridge.process().wait_for_line("suspended", Duration::from_secs(30))?;
        bridge.wait(Duration::from_secs(30), "a growing lag", || {
            let lag = group.lag()?;
            ensure!(lag > 20_000, "the lag is {lag}");
            Ok(())
        })?;
        questdb.sql(&format!("alter table {table} resume wal"))?;
        let count = load.finish(Duration::ZERO)? + 1_000;
        group.wait_drained(&bridge, DRAIN)?;
        rows_are_there(&questdb, &table, count, Band::ALL, VISIBLE)?;
        bridge.stop_well(Duration::from_secs(20))
    });
}

#[test]
fn a_frozen_server_is_waited_for_and_a_wrong_password_is_not() {
    promise("a frozen server is waited for over pg, and a wrong password is not", |bench| {
        let setup = over_pg(bench, "pg_frozen")?.upserting();
        let table = setup.table.clone();
        let topic = setup.topic.clone();
        let mut wrong = setup.clone();
        wrong.sink.push("password = \"wrong\"".to_owned());
        let answer = wrong.install()?.command("check", &[])?;
        ensure!(answer.ensure_code(0).is_err(), "a wrong password passes: {}", answer.stdout);
        let installed = setup.install()?;
        let group = installed.group(bench)?;
        let bridge = installed.start_ready()?;
        let load = Load::start(bench, &topic, 10_000, |seq| Reading(seq).record(PARTITIONS));
        group.wait_progress(&bridge, 0, DRAIN)?;
        bench.questdb.pause()?;
        bridge.process().wait_for_line("is not answering", Duration::from_secs(30))?;
        bench.questdb.resume()?;
        let before = group.committed()?;
        group.wait_progress(&bridge, before, DRAIN)?;
        let count = load.finish(Duration::ZERO)?;
        group.wait_drained(&bridge, DRAIN)?;
        rows_are_exact(&bench.questdb, &table, count, Band::ALL, VISIBLE)?;
        bridge.stop_well(Duration::from_secs(20))
    });
}

/// Rows of both kinds, in turns.
const KINDS: [&str; 2] = ["orders", "ticks"];

#[test]
fn transactional_tables_go_another_way_and_all_rows_arrive() {
    promise("transactional tables go another way, and all rows arrive", |bench| {
        let pg = Proxy::start(&bench.questdb.pg_address())?;
        let mut setup = Setup::bare(bench, "mixed", PARTITIONS).over(Transport::Tcp);
        bench.kafka.create_topic(&setup.topic, PARTITIONS)?;
        let prefix = std::mem::replace(&mut setup.table, "{topic}_{field.kind}".to_owned());
        setup.shape = vec!["timestamp = { field = \"ts\", unit = \"us\" }".to_owned()];
        setup.sink = vec![format!("pg_address = \"{}\"", pg.address())];
        setup.limits.push(format!("[tables.{prefix}_orders]\nconsistency = \"transactional\""));
        let installed = setup.install()?;
        let checked = installed.command("check", &[])?;
        checked.ensure_code(0)?;
        ensure!(checked.all.contains("for transactional tables"), "{}", checked.all);
        let group = installed.group(bench)?;
        let bridge = installed.start_ready()?;
        let produce = |span: std::ops::Range<u64>| {
            let record = |seq: u64| {
                let kind = KINDS[(seq % 2) as usize];
                let ts = 1_700_000_000_000_000 + seq;
                Record::new(format!("{{\"ts\":{ts},\"kind\":\"{kind}\",\"seq\":{seq}}}"))
                    .partition((seq / 2 % PARTITIONS as u64) as i32)
            };
            bench.kafka.produce(&installed.setup.topic, span.map(record))
        };
        produce(0..20_000)?;
        group.wait_drained(&bridge, DRAIN)?;
        ensure!(pg.counts().bytes_up > 10_000 * 50, "few bytes went there: {:?}", pg.counts());
        // Nothing of the table goes by line protocol: while its way is closed, its rows wait, those
        // of the other table are stored, and no offset is committed past what waits.
        pg.stall(true);
        produce(20_000..20_200)?;
        let count = |kind: &str, from: u64| {
            format!("select count_distinct(seq) from {prefix}_{kind} where seq >= {from}")
        };
        bench.questdb.wait_for(&count("ticks", 20_000), |rows| rows == 100, VISIBLE)?;
        let early = bench.questdb.scalar_i64(&count("orders", 20_000))?;
        ensure!(early == 0, "{early} rows went by line protocol");
        let lag = group.lag()?;
        ensure!(lag >= 100, "committed past rows that wait: {lag} are left");
        pg.stall(false);
        pg.cut();
        group.wait_drained(&bridge, DRAIN)?;
        for kind in KINDS {
            bench.questdb.wait_for(&count(kind, 0), |rows| rows == 10_100, VISIBLE)?;
        }
        bridge.stop_well(Duration::from_secs(20))
    });
}
