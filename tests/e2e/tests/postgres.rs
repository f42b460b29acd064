//! Promise: what is killed on the way to PostgreSQL loses nothing; rows that the server refuses
//! are put aside, the others stored; a table that changes is noticed before anything is misread.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{
    Bridge, Group, Held, Installed, Load, PARTITIONS, Reading, Setup, dead_letters, held, pick,
    promise,
};
use world::{PostgreSql, Record};

const KEYS: u64 = 997;
const RECORDS_PER_SECOND: u64 = 20_000;
/// Until there is a moment with work under way.
const BUSY: Duration = Duration::from_secs(60);
/// What has piled up, through an unoptimised bridge.
const DRAIN: Duration = Duration::from_secs(120);
const ENDS: Duration = Duration::from_secs(30);

/// Waits for a moment with records that are not committed and work that is not acknowledged.
fn await_busy(bridge: &Bridge, group: &Group) -> Result<()> {
    bridge.wait(BUSY, "work under way", || {
        let (lag, queued) = (group.lag()?, bridge.metrics()?.sum("bridge_queued_bytes")?);
        ensure!(lag > 0 && queued > 0.0, "lag {lag}, {queued} bytes under way");
        Ok(())
    })
}

/// Kills the bridge or the server in turns, with work under way, and waits until work goes on.
fn kill(
    round: u32,
    postgres: &PostgreSql,
    installed: &Installed,
    bridge: &mut Bridge,
    group: &Group,
) -> Result<()> {
    await_busy(bridge, group).with_context(|| format!("round {round}"))?;
    if round.is_multiple_of(2) {
        bridge.kill()?;
        *bridge = installed.start()?;
    } else {
        postgres.kill()?;
        postgres.restart()?;
    }
    let before = bridge.wait(BUSY, "the group's offsets", || group.committed())?;
    group.wait_progress(bridge, before, BUSY).map(drop)
}

#[test]
fn append_loses_nothing() {
    promise("append to PostgreSQL loses nothing", |bench| {
        let postgres = PostgreSql::start()?;
        let setup = Setup::readings(bench, "appended", PARTITIONS)?;
        let installed = setup.into_postgres(&postgres.address()).install()?;
        let group = installed.group(bench)?;
        let mut bridge = installed.start_ready()?;
        let topic = &installed.setup.topic;
        let load =
            Load::start(bench, topic, RECORDS_PER_SECOND, |seq| Reading(seq).record(PARTITIONS));
        group.wait_progress(&bridge, 0, BUSY)?;
        for round in 0..pick(4, 20) {
            kill(round, &postgres, &installed, &mut bridge, &group)?;
        }
        let count = load.finish(Duration::ZERO)?;
        group.wait_drained(&bridge, DRAIN)?;
        bridge.stop_well(ENDS)?;
        let seen = held(&postgres, &installed.setup.table)?;
        ensure!(Held { rows: seen.distinct, ..seen } == Held::all(count), "{count}: {seen:?}");
        println!("{count} records, {} rows are double", seen.rows - seen.distinct);
        Ok(())
    });
}

/// A record of key `seq % KEYS`, all of them in its partition.
fn keyed(seq: u64) -> Record {
    let key = seq % KEYS;
    // Of many lengths: the server does not put rows where they were copied.
    let (odd, word) = (seq % 2 == 1, "x".repeat((mixed(seq) % 60) as usize));
    let json = format!("{{\"key\":\"k-{key}\",\"seq\":{seq},\"odd\":{odd},\"word\":\"{word}\"}}");
    Record::new(json).key(format!("k-{key}")).partition((key % PARTITIONS as u64) as i32)
}

#[test]
fn upsert_keeps_the_last_of_each_key() {
    promise("upsert into PostgreSQL keeps the last of each key", |bench| {
        let postgres = PostgreSql::start()?;
        let mut setup = Setup::bare(bench, "upserted", PARTITIONS);
        bench.kafka.create_topic(&setup.topic, PARTITIONS)?;
        setup.sink = vec!["mode = \"upsert\"\nkey = [\"key\"]".to_owned()];
        let installed = setup.into_postgres(&postgres.address()).install()?;
        let (group, table) = (installed.group(bench)?, &installed.setup.table);
        let mut bridge = installed.start_ready()?;
        let load = Load::start(bench, &installed.setup.topic, RECORDS_PER_SECOND, keyed);
        group.wait_progress(&bridge, 0, BUSY)?;
        for round in 0..pick(2, 20) {
            kill(round, &postgres, &installed, &mut bridge, &group)?;
        }
        let count = load.finish(Duration::ZERO)?;
        group.wait_drained(&bridge, DRAIN)?;
        bridge.stop_well(ENDS)?;
        // The last number of each key, by the rule of the records.
        let wrong = format!(
            "SELECT count(*), count(*) FILTER (WHERE key <> 'k-' || seq % {KEYS} OR odd <> (seq % 2 \
             = 1) OR seq < {count} - {KEYS}) FROM \"{table}\""
        );
        ensure!(postgres.sql(&wrong)? == [format!("{KEYS}|0")], "{:?}", postgres.sql(&wrong)?);
        let found = installed.command("check", &[])?;
        ensure!(found.stdout.contains("replaced by key"), "{found:?}");
        postgres.sql(&format!("ALTER TABLE {table} DROP CONSTRAINT {table}_pkey"))?;
        let found = installed.command("check", &[])?;
        found.ensure_code(1)?;
        ensure!(found.stdout.contains("ADD PRIMARY KEY (\"key\")"), "{found:?}");
        Ok(())
    });
}

/// Some number, by another.
fn mixed(seq: u64) -> u64 {
    // The constants of splitmix64.
    let mut z = seq.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The key of a record, and whether it deletes: two of five do.
fn meant(seq: u64) -> (u64, bool) {
    let mixed = mixed(seq);
    (mixed % KEYS, (mixed >> 32) % 5 < 2)
}

fn mortal(seq: u64) -> Record {
    let (key, deletes) = meant(seq);
    let json = format!("{{\"seq\":{seq},\"odd\":{}}}", seq % 2 == 1);
    let record = if deletes { Record::default() } else { Record::new(json) };
    record.key(format!("{{\"id\":{key}}}")).partition((key % PARTITIONS as u64) as i32)
}

/// Upserts and deletions, mixed, with kills; the table is what the last record of each key says.
fn deletes(name: &str, delivery: &str, table: &str, rounds: u32) {
    promise(&format!("PostgreSQL: the last of each key stands, {delivery}"), |bench| {
        let postgres = PostgreSql::start()?;
        let mut setup = Setup::bare(bench, name, PARTITIONS);
        bench.kafka.create_topic(&setup.topic, PARTITIONS)?;
        setup.pipeline = vec![
            format!("delivery = \"{delivery}\"\nnull_value = \"delete\""),
            "key = { format = \"json\", prefix = \"\" }".to_owned(),
        ];
        setup.sink = vec!["mode = \"upsert\"\nkey = [\"id\"]".to_owned()];
        if !table.is_empty() {
            postgres.sql(&table.replace("{table}", &setup.table))?;
        }
        let installed = setup.into_postgres(&postgres.address()).install()?;
        let (group, table) = (installed.group(bench)?, &installed.setup.table);
        let mut bridge = installed.start_ready()?;
        let load = Load::start(bench, &installed.setup.topic, RECORDS_PER_SECOND, mortal);
        group.wait_progress(&bridge, 0, BUSY)?;
        for round in 0..rounds {
            kill(round, &postgres, &installed, &mut bridge, &group)?;
        }
        let count = load.finish(Duration::ZERO)?;
        group.wait_drained(&bridge, DRAIN)?;
        bridge.stop_well(ENDS)?;
        let mut model = BTreeMap::new();
        for seq in 0..count {
            match meant(seq) {
                (key, true) => model.remove(&key),
                (key, false) => model.insert(key, seq),
            };
        }
        let row = |(key, seq): (&u64, &u64)| {
            format!("{key}|{seq}|{}", if seq % 2 == 1 { "t" } else { "f" })
        };
        let expected: Vec<String> = model.iter().map(row).collect();
        let seen = postgres.sql(&format!("SELECT id, seq, odd FROM \"{table}\" ORDER BY id"))?;
        println!("{count} records, {} of {KEYS} keys have a row", expected.len());
        let other = seen.iter().zip(&expected).find(|(seen, expected)| seen != expected);
        ensure!(seen == expected, "{} of {}: {other:?}", seen.len(), expected.len());
        let found = installed.command("check", &[])?;
        ensure!(found.stdout.contains("replaced and deleted by id"), "{found:?}");
        Ok(())
    });
}

#[test]
fn the_last_of_each_key_stands_also_where_it_deletes() {
    deletes("deleted", "at-least-once", "", pick(2, 20));
}

#[test]
fn each_deletion_counts_once() {
    // Columns that take no nulls, of a domain too, which a row that deletes does not have; and one
    // that rows are counted by.
    let table = "CREATE DOMAIN truth AS boolean NOT NULL; CREATE TABLE \"{table}\" (id bigint \
                 PRIMARY KEY, seq bigint NOT NULL UNIQUE, odd truth, born bigserial)";
    deletes("deleted_once", "exactly-once", table, pick(2, 20));
}

#[test]
fn refused_rows_are_put_aside() {
    promise("rows that PostgreSQL refuses are put aside", |bench| {
        const COUNT: u64 = 20_000;
        let postgres = PostgreSql::start()?;
        let mut setup = Setup::readings(bench, "refused", PARTITIONS)?;
        setup.rejects = vec!["file = \"dead.jsonl\"".to_owned()];
        let table = setup.table.clone();
        // A default of its own, a domain, a length, and two ways to refuse a row: by its line, and
        // when all are there.
        postgres.sql(&format!(
            "CREATE DOMAIN truth AS boolean; CREATE TABLE late (seq bigint PRIMARY KEY); \
             INSERT INTO late SELECT * FROM generate_series(0, {COUNT}) n WHERE n <> 4321; \
             CREATE TABLE {table} (id bigserial PRIMARY KEY, ts timestamptz NOT NULL, sensor \
             varchar(7), site text, temperature double precision, humidity real, pressure \
             double precision, seq bigint CHECK (seq % 1000 <> 7) REFERENCES late, ok truth, \
             stored timestamptz NOT NULL DEFAULT now())"
        ))?;
        let installed = setup.into_postgres(&postgres.address()).install()?;
        let checked = installed.command("check", &[])?;
        checked.ensure_code(0)?;
        ensure!(checked.stdout.contains("left to their defaults: id, stored"), "{checked:?}");
        let group = installed.group(bench)?;
        let bridge = installed.start_ready()?;
        let records = (0..COUNT).map(|seq| Reading(seq).record(PARTITIONS));
        bench.kafka.produce(&installed.setup.topic, records)?;
        group.wait_drained(&bridge, DRAIN)?;
        bridge.stop_well(ENDS)?;
        let refused: Vec<i64> =
            (0..COUNT as i64).filter(|seq| seq % 1_000 == 7 || *seq == 4_321).collect();
        let (all, seen) = (Held::all(COUNT), held(&postgres, &table)?);
        let rows = all.rows - refused.len() as i64;
        let sum = all.sum - refused.iter().sum::<i64>();
        ensure!(seen == Held { rows, distinct: rows, sum, wrong: 0 }, "{seen:?}");
        let letters = dead_letters(&installed.folder().join("dead.jsonl"))?;
        ensure!(letters.len() == refused.len(), "{} letters", letters.len());
        let text = letters[0].to_string();
        ensure!(text.contains("refused-by-sink") && text.contains("23514"), "{text}");
        Ok(())
    });
}

#[test]
fn a_table_that_changes_is_noticed() {
    promise("a table of PostgreSQL that changes is noticed", |bench| {
        const COUNT: u64 = 30_000;
        let postgres = PostgreSql::start()?;
        let setup = Setup::readings(bench, "altered", PARTITIONS)?;
        let installed = setup.into_postgres(&postgres.address()).install()?;
        let table = &installed.setup.table;
        let group = installed.group(bench)?;
        let bridge = installed.start_ready()?;
        // Types of the same eight bytes, which the server would take for one another.
        let changes = [
            "SELECT 1".to_owned(),
            format!("ALTER TABLE {table} ALTER COLUMN seq TYPE double precision"),
            format!("ALTER TABLE {table} ALTER COLUMN seq TYPE bigint"),
        ];
        for (round, change) in changes.iter().enumerate() {
            postgres.sql(change)?;
            let third = COUNT / 3;
            let seqs = round as u64 * third..(round as u64 + 1) * third;
            let records = seqs.map(|seq| Reading(seq).record(PARTITIONS));
            bench.kafka.produce(&installed.setup.topic, records)?;
            group.wait_drained(&bridge, DRAIN)?;
        }
        // What was stored of a batch that is read again is there twice.
        let seen = held(&postgres, table)?;
        ensure!(Held { rows: seen.distinct, ..seen } == Held::all(COUNT), "{seen:?}");
        // A table that is gone is made again.
        postgres.sql(&format!("DROP TABLE {table}"))?;
        let records = (0..100).map(|seq| Reading(seq).record(PARTITIONS));
        bench.kafka.produce(&installed.setup.topic, records)?;
        group.wait_drained(&bridge, DRAIN)?;
        let seen = held(&postgres, table)?;
        ensure!(Held { rows: seen.distinct, ..seen } == Held::all(100), "{seen:?}");
        bridge.stop_well(ENDS)
    });
}

#[test]
fn doors_that_stay_shut_say_why() {
    promise("doors of PostgreSQL that stay shut say why", |bench| {
        let postgres = PostgreSql::start()?;
        postgres.sql("CREATE ROLE guest LOGIN; CREATE TABLE ours (seq bigint)")?;
        let check = |sink: &str, table: &str, create: bool, words: &[&str]| -> Result<()> {
            let mut setup = Setup::bare(bench, "shut", 1).into_postgres(&postgres.address());
            bench.kafka.create_topic(&setup.topic, 1)?;
            setup.table = table.to_owned();
            setup.shape = vec![format!("auto_create = {create}")];
            setup.sink = vec![sink.to_owned()];
            let installed = setup.install()?;
            let checked = installed.command("check", &[])?;
            checked.ensure_code(1)?;
            let said = |word: &&&str| !checked.all.contains(**word);
            ensure!(words.iter().find(said).is_none(), "{words:?}: {}", checked.all);
            let run = installed.start()?.process().wait_exit(ENDS)?;
            ensure!(run.code() == Some(1), "{sink}: it ended with {run}");
            Ok(())
        };
        check("database = \"nowhere\"", "ours", true, &["3D000", "CREATE DATABASE"])?;
        check("username = \"nobody\"", "ours", true, &["28000", "`username`"])?;
        let guest = "username = \"guest\"\ndatabase = \"postgres\"";
        check(guest, "ours", true, &["GRANT INSERT ON \"ours\" TO guest"])?;
        check("tls = \"require\"", "ours", true, &["does not support TLS", "`tls`"])?;
        check("", "missing", false, &["CREATE TABLE IF NOT EXISTS \"missing\""])
    });
}
