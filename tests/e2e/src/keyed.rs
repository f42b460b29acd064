//! Records of some keys, of which the last survives: a table shows by it that the rows of a key
//! were stored in order.

use std::time::Duration;

use anyhow::{Result, ensure};
use world::Record;

use crate::bench::Bench;
use crate::load::Load;
use crate::setup::Setup;

/// Their partitions.
pub const PARTITIONS: i32 = 8;
/// Their keys.
pub const KEYS: u64 = 997;
const DRAIN: Duration = Duration::from_secs(120);
/// Until a member that came has its share.
const SHARED: Duration = Duration::from_secs(30);
const ENDS: Duration = Duration::from_secs(30);
const VISIBLE: Duration = Duration::from_secs(30);

/// A record of key `seq % KEYS`; all records of a key share their timestamp.
pub fn record(seq: u64) -> Record {
    let key = seq % KEYS;
    let json = format!("{{\"ts\":{},\"key\":\"k-{key}\",\"seq\":{seq}}}", 1_700_000_000_000 + key);
    Record::new(json).key(format!("k-{key}")).partition((key % PARTITIONS as u64) as i32)
}

/// Into a table that has one row for each key; creates the topic.
pub fn setup(bench: &Bench, name: &str) -> Result<Setup> {
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

/// A process stays, and another one comes and goes under load, every other time without a word; the
/// last of each key survives.
pub fn come_and_go(bench: &Bench, mut setup: Setup, per_second: u64, rounds: u32) -> Result<()> {
    // Without a static identity a member that leaves is missed at once.
    setup.pipeline.push("instance = false".to_owned());
    let second = setup.clone().install()?;
    let first = setup.install()?;
    let group = first.group(bench)?;
    let stays = first.start_ready()?;
    let load = Load::start(bench, &first.setup.topic, per_second, record);
    group.wait_progress(&stays, 0, DRAIN)?;
    for round in 0..rounds {
        let guest = second.start()?;
        guest.wait(SHARED, "a share of the partitions", || {
            let partitions = guest.metrics()?.sum("bridge_partitions")?;
            ensure!(partitions > 0.0, "it has none");
            Ok(())
        })?;
        let before = group.committed()?;
        group.wait_progress(&guest, before + per_second as i64, DRAIN)?;
        stays.ensure_running()?;
        // Its partitions come back when it says so, or when its session ends.
        match round % 2 {
            0 => guest.stop_well(ENDS)?,
            _ => guest.kill()?,
        }
        let before = group.committed()?;
        group.wait_progress(&stays, before + per_second as i64, DRAIN)?;
    }
    let count = load.finish(Duration::ZERO)?;
    group.wait_drained(&stays, DRAIN)?;
    last_of_each(bench, &first.setup.table, count)?;
    println!("{count} records of {KEYS} keys in {PARTITIONS} partitions");
    stays.stop_well(ENDS)
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
    world::await_ok(VISIBLE, "the last row of each key", || {
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
