//! Promise: with `delivery = "exactly-once"` a table of PostgreSQL equals the topic, row for row,
//! whatever is killed, frozen or moved between processes; no key and no column of the bridge's is
//! needed for it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{
    Bench, Bridge, Group, Held, Installed, Load, PARTITIONS, Reading, Setup, held, pick, promise,
};
use world::{PostgreSql, Signal};

const RECORDS_PER_SECOND: u64 = 15_000;
/// Until there is a moment with work under way.
const BUSY: Duration = Duration::from_secs(60);
/// What has piled up, through an unoptimised bridge.
const DRAIN: Duration = Duration::from_secs(120);
const ENDS: Duration = Duration::from_secs(30);

/// Two processes of it share its group.
fn install(bench: &Bench, postgres: &PostgreSql, name: &str) -> Result<Installed> {
    let mut setup = Setup::readings(bench, name, PARTITIONS)?.into_postgres(&postgres.address());
    setup.pipeline = vec![
        "delivery = \"exactly-once\"".to_owned(),
        // Without a static identity a member that leaves is missed at once.
        "instance = false".to_owned(),
    ];
    setup.properties = vec!["\"session.timeout.ms\" = 6000".to_owned()];
    setup.install()
}

/// Waits for a moment with records that are not committed and work that is not acknowledged.
fn await_busy(bridge: &Bridge, group: &Group) -> Result<()> {
    bridge.wait(BUSY, "work under way", || {
        let (lag, queued) = (group.lag()?, bridge.metrics()?.sum("bridge_queued_bytes")?);
        ensure!(lag > 0 && queued > 0.0, "lag {lag}, {queued} bytes under way");
        Ok(())
    })
}

fn load(bench: &'static Bench, installed: &Installed) -> Load {
    Load::start(bench, &installed.setup.topic, RECORDS_PER_SECOND, |seq| {
        Reading(seq).record(PARTITIONS)
    })
}

/// Ends the load, waits until all is done, and holds the table against the topic.
fn settle(
    postgres: &PostgreSql,
    installed: &Installed,
    bridge: &Bridge,
    group: &Group,
    load: Load,
) -> Result<()> {
    let count = load.finish(Duration::ZERO)?;
    group.wait_drained(bridge, DRAIN)?;
    let seen = held(postgres, &installed.setup.table)?;
    ensure!(seen == Held::all(count), "{count} records: {seen:?}");
    let behind = postgres.sql(
        "SELECT count(*) FILTER (WHERE next_offset < 0), count(*), max(epoch) FROM bridge_progress",
    )?;
    println!("{count} records, each once; partitions without rows, all, highest epoch: {behind:?}");
    Ok(())
}

#[test]
fn each_row_once_whatever_is_killed() {
    promise("each row once in PostgreSQL, whatever is killed", |bench| {
        let postgres = PostgreSql::start()?;
        let installed = install(bench, &postgres, "once")?;
        let group = installed.group(bench)?;
        let mut bridge = installed.start_ready()?;
        let load = load(bench, &installed);
        group.wait_progress(&bridge, 0, BUSY)?;
        for round in 0..pick(4, 20) {
            await_busy(&bridge, &group).with_context(|| format!("round {round}"))?;
            if round % 2 == 0 {
                bridge.kill()?;
                bridge = installed.start()?;
            } else {
                postgres.kill()?;
                postgres.restart()?;
            }
            let before = bridge.wait(BUSY, "the group's offsets", || group.committed())?;
            group.wait_progress(&bridge, before, BUSY)?;
        }
        settle(&postgres, &installed, &bridge, &group, load)?;
        bridge.stop_well(ENDS)
    });
}

#[test]
fn a_frozen_process_that_wakes_stores_nothing_more() {
    promise("a frozen process that wakes stores nothing more in PostgreSQL", |bench| {
        let postgres = PostgreSql::start()?;
        let installed = install(bench, &postgres, "frozen")?;
        let second = installed.setup.clone().install()?;
        let group = installed.group(bench)?;
        let mut old = installed.start_ready()?;
        let load = load(bench, &installed);
        group.wait_progress(&old, 0, BUSY)?;
        for round in 0..pick(2, 20) {
            await_busy(&old, &group).with_context(|| format!("round {round}"))?;
            old.process().signal(Signal::Stop)?;
            let from = if round % 2 == 0 { &second } else { &installed };
            let new = from.start()?;
            // It has all partitions as soon as the frozen one's session has ended.
            new.wait_assigned(PARTITIONS, BUSY)?;
            let before = new.wait(BUSY, "the group's offsets", || group.committed())?;
            group.wait_progress(&new, before, BUSY)?;
            old.process().signal(Signal::Continue)?;
            let before = new.wait(BUSY, "the group's offsets", || group.committed())?;
            group.wait_progress(&new, before, BUSY)?;
            old.kill()?;
            old = new;
        }
        settle(&postgres, &installed, &old, &group, load)?;
        old.stop_well(ENDS)
    });
}

#[test]
fn each_row_once_while_partitions_move() {
    promise("each row once in PostgreSQL while partitions move", |bench| {
        let postgres = PostgreSql::start()?;
        let first = install(bench, &postgres, "moved")?;
        let second = first.setup.clone().install()?;
        let group = first.group(bench)?;
        let stays = first.start_ready()?;
        let load = load(bench, &first);
        group.wait_progress(&stays, 0, BUSY)?;
        for round in 0..pick(3, 20) {
            let guest = second.start()?;
            guest.wait(BUSY, "a share of the partitions", || {
                let partitions = guest.metrics()?.sum("bridge_partitions")?;
                ensure!(partitions > 0.0, "it has none");
                Ok(())
            })?;
            let before = group.committed()?;
            group.wait_progress(&guest, before + RECORDS_PER_SECOND as i64, BUSY)?;
            stays.ensure_running()?;
            match round % 2 {
                0 => guest.stop_well(ENDS)?,
                _ => guest.kill()?,
            }
            let before = group.committed()?;
            group.wait_progress(&stays, before + RECORDS_PER_SECOND as i64, BUSY)?;
        }
        settle(&postgres, &first, &stays, &group, load)?;
        stays.stop_well(ENDS)
    });
}
