//! Promise: partitions that move between processes lose nothing, and the rows of a key stay in
//! order: where all its records are one row, the last one survives.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{Bench, Load, Setup, pick, promise};
use world::Record;

const PARTITIONS: i32 = 8;
const KEYS: u64 = 997;
const RECORDS_PER_SECOND: u64 = 20_000;
const DRAIN: Duration = Duration::from_secs(120);
/// Until a member that came has its share.
const SHARED: Duration = Duration::from_secs(30);

/// A record of key `seq % KEYS`; all records of a key share their timestamp.
fn record(seq: u64) -> Record {
    let key = seq % KEYS;
    let json = format!("{{\"ts\":{},\"key\":\"k-{key}\",\"seq\":{seq}}}", 1_700_000_000_000 + key);
    Record::new(json).key(format!("k-{key}")).partition((key % PARTITIONS as u64) as i32)
}

fn setup(bench: &Bench, name: &str) -> Result<Setup> {
    let mut setup = Setup::bare(bench, name, PARTITIONS);
    setup.shape = vec![
        "timestamp = { field = \"ts\", unit = \"ms\" }".to_owned(),
        "symbols = [\"key\"]".to_owned(),
        "columns = { seq = \"long\" }".to_owned(),
        "upsert_keys = [\"ts\", \"key\"]".to_owned(),
    ];
    bench.kafka.create_topic(&setup.topic, PARTITIONS)?;
    Ok(setup)
}

#[test]
fn the_last_of_each_key_survives() {
    promise("the last of each key survives", |bench| {
        let mut first = setup(bench, "moving")?;
        // Without a static identity a member that leaves is missed at once.
        first.pipeline = vec!["instance = false".to_owned()];
        let second = first.clone().install()?;
        let first = first.install()?;
        let group = first.group(bench)?;
        let stays = first.start_ready()?;
        let load = Load::start(bench, &first.setup.topic, RECORDS_PER_SECOND, record);
        group.wait_progress(&stays, 0, DRAIN)?;
        for round in 0..pick(4, 12) {
            let guest = second.start()?;
            guest.wait(SHARED, "a share of the partitions", || {
                let partitions = guest.metrics()?.sum("bridge_partitions")?;
                ensure!(partitions > 0.0, "it has none");
                Ok(())
            })?;
            let before = group.committed()?;
            group.wait_progress(&guest, before + RECORDS_PER_SECOND as i64, DRAIN)?;
            stays.ensure_running()?;
            // Every other time without a word: its partitions come back when its session ends.
            match round % 2 {
                0 => guest.stop_well(Duration::from_secs(30))?,
                _ => guest.kill()?,
            }
            let before = group.committed()?;
            group.wait_progress(&stays, before + RECORDS_PER_SECOND as i64, DRAIN)?;
        }
        let count = load.finish(Duration::ZERO)?;
        group.wait_drained(&stays, DRAIN)?;
        last_of_each(bench, &first.setup.table, count)?;
        println!("{count} records of {KEYS} keys in {PARTITIONS} partitions");
        stays.stop_well(Duration::from_secs(30))
    });
}

/// One row for each key, with the key's highest number.
fn last_of_each(bench: &Bench, table: &str, count: u64) -> Result<()> {
    let query = format!("select key, seq from {table} order by seq desc");
    // Stored is not yet applied: a wrong row may only be an old one.
    let wrong = || -> Result<Vec<String>> {
        let rows = bench.questdb.sql(&query)?.rows;
        ensure!(rows.len() as u64 == KEYS, "{} rows for {KEYS} keys", rows.len());
        let wrong = rows.iter().filter_map(|row| {
            let (key, seq) = (row[0].as_str()?, row[1].as_u64()?);
            let number: u64 = key.strip_prefix("k-")?.parse().ok()?;
            let last = number + (count - 1 - number) / KEYS * KEYS;
            (seq != last).then(|| format!("{key}: {seq}, not {last}"))
        });
        Ok(wrong.collect())
    };
    world::await_ok(Duration::from_secs(30), "the last row of each key", || {
        let wrong = wrong()?;
        ensure!(
            wrong.is_empty(),
            "{} keys are wrong: {:?}",
            wrong.len(),
            &wrong[..wrong.len().min(9)]
        );
        Ok(())
    })
}

#[test]
fn two_with_one_identity_are_told() {
    promise("two with one identity are told", |bench| {
        let mut setup = setup(bench, "twins")?;
        setup.pipeline = vec!["instance = \"twin\"".to_owned()];
        let second = setup.clone().install()?;
        let first = setup.install()?;
        let one = first.start_ready()?;
        let other = second.start()?;
        // Kafka fences the older of the two.
        let ended = world::await_until(Duration::from_secs(60), "the end of one", || {
            let ended = |bridge| {
                let status = e2e::Bridge::process(bridge).exit_status().ok().flatten();
                status.map(|status| (status, bridge))
            };
            ended(&one).or_else(|| ended(&other))
        });
        let (status, bridge) = ended?;
        ensure!(!status.success(), "it ended with {status}");
        let said = bridge.process().tail();
        ensure!(said.contains("twin"), "it does not name the identity");
        Ok(())
    });
}
