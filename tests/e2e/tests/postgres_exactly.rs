//! Promise: with `delivery = "exactly-once"` a table of PostgreSQL equals the topic, row for row,
//! whatever is killed, frozen or moved between processes; no key and no column of the bridge's is
//! needed for it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{
    Bench, Bridge, Group, Held, Installed, Load, PARTITIONS, Reading, Setup, held, moves, pick,
    promise,
};
use world::PostgreSql;

const RECORDS_PER_SECOND: u64 = 15_000;
/// Until there is a moment with work under way.
const BUSY: Duration = Duration::from_secs(60);
/// What has piled up, through an unoptimised bridge.
const DRAIN: Duration = Duration::from_secs(120);
const ENDS: Duration = Duration::from_secs(30);

/// Two processes of it share its group.
fn install(bench: &Bench, postgres: &PostgreSql, name: &str) -> Result<Installed> {
    let mut setup = Setup::readings(bench, name, PARTITIONS)?.into_postgres(&postgres.address());
    setup.pipeline = vec!["delivery = \"exactly-once\"".to_owned(), moves::NOBODY.to_owned()];
    setup.properties = vec![moves::SESSION.to_owned()];
    setup.install()
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
    let count = load.settle(group, bridge, DRAIN)?;
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
            group.wait_busy(&bridge, BUSY).with_context(|| format!("round {round}"))?;
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
        let group = installed.group(bench)?;
        let bridge = installed.start_ready()?;
        let load = load(bench, &installed);
        group.wait_progress(&bridge, 0, BUSY)?;
        let bridge = moves::freeze(bridge, &installed, &group)?;
        settle(&postgres, &installed, &bridge, &group, load)?;
        bridge.stop_well(ENDS)
    });
}

#[test]
fn each_row_once_while_partitions_move() {
    promise("each row once in PostgreSQL while partitions move", |bench| {
        let postgres = PostgreSql::start()?;
        let installed = install(bench, &postgres, "moved")?;
        let group = installed.group(bench)?;
        let bridge = installed.start_ready()?;
        let load = load(bench, &installed);
        group.wait_progress(&bridge, 0, BUSY)?;
        moves::visit(&bridge, &installed, &group, RECORDS_PER_SECOND)?;
        settle(&postgres, &installed, &bridge, &group, load)?;
        bridge.stop_well(ENDS)
    });
}
