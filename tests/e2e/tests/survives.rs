//! Promise: whatever is killed under load, nothing is lost; with upsert keys nothing is double; and
//! work goes on by itself within seconds of the return.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::{
    Band, Bench, Bridge, Group, Installed, Load, PARTITIONS, Reading, Setup, Transport, pick,
    promise, rows_are_exact, rows_are_there,
};

/// Until there is a moment with work under way.
const BUSY: Duration = Duration::from_secs(60);
/// What has piled up, through an unoptimised bridge.
const DRAIN: Duration = Duration::from_secs(180);
const VISIBLE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
enum Victim {
    Bridge,
    QuestDb,
    Broker,
}

/// In everyday runs and in long ones.
fn victims() -> Vec<Victim> {
    use Victim::{Bridge, Broker, QuestDb};
    let in_long = vec![Bridge, QuestDb, Bridge, Broker, Bridge, QuestDb, Bridge, QuestDb, Bridge];
    pick(vec![Bridge, QuestDb, Bridge, Broker], in_long)
}

#[test]
fn http_with_upsert_keys() {
    promise("survives over http with upsert keys", |bench| {
        let setup = Setup::readings(bench, "killed", PARTITIONS)?.upserting();
        let (table, count) = outlive(bench, setup)?;
        rows_are_exact(&bench.questdb, &table, count, Band::WARM, VISIBLE)
    });
}

#[test]
fn http_without_keys() {
    promise("survives over http without keys", |bench| {
        let setup = Setup::readings(bench, "killed", PARTITIONS)?;
        let (table, count) = outlive(bench, setup)?;
        let double = rows_are_there(&bench.questdb, &table, count, Band::WARM, VISIBLE)?;
        println!("without keys: {double} rows are double");
        Ok(())
    });
}

#[test]
fn tcp_with_verify_and_upsert_keys() {
    promise("survives over tcp with verify and upsert keys", |bench| {
        let setup = Setup::readings(bench, "killed", PARTITIONS)?;
        let (table, count) = outlive(bench, setup.over(Transport::Tcp).upserting())?;
        rows_are_exact(&bench.questdb, &table, count, Band::WARM, VISIBLE)
    });
}

/// Produces, kills, restarts; gives the table and the number of records once all are done.
fn outlive(bench: &'static Bench, setup: Setup) -> Result<(String, u64)> {
    let installed = setup.transform("drop_cold", "{ min_celsius = 15.0 }").install()?;
    let group = installed.group(bench)?;
    let mut bridge = installed.start_ready()?;
    let load = Load::start(bench, &installed.setup.topic, pick(20_000, 50_000), |seq| {
        Reading(seq).record(PARTITIONS)
    });
    let lasting = Duration::from_secs(pick(15, 60));
    group.wait_progress(&bridge, 0, BUSY)?;
    for victim in victims() {
        group.wait_busy(&bridge, BUSY).with_context(|| format!("before killing {victim:?}"))?;
        let seconds = kill(bench, victim, &installed, &mut bridge, &group)
            .with_context(|| format!("after killing {victim:?}"))?;
        println!("{victim:?} killed: back at work {seconds:.2} s after its return");
        // From the return of what was killed to the next commit. Everyday runs may share the
        // machine with others.
        let bound = pick(15.0, 5.0);
        ensure!(seconds <= bound, "{victim:?}: the first commit came after {seconds:.2} s");
    }
    let count = load.finish(lasting)?;
    let behind = group.lag()?;
    let start = Instant::now();
    group.wait_drained(&bridge, DRAIN)?;
    let seconds = start.elapsed().as_secs_f64();
    println!("{count} records; the last {behind} were caught up in {seconds:.1} s");
    bridge.stop_well(Duration::from_secs(30))?;
    Ok((installed.setup.table.clone(), count))
}

/// Kills and brings back; the seconds from the return to the first commit after it.
fn kill(
    bench: &'static Bench,
    victim: Victim,
    installed: &Installed,
    bridge: &mut Bridge,
    group: &Group,
) -> Result<f64> {
    match victim {
        Victim::Bridge => {
            bridge.kill()?;
            let behind = group.lag()?;
            ensure!(behind > 0, "it was killed with nothing to do");
            let before = group.committed()?;
            let start = Instant::now();
            *bridge = installed.start()?;
            group.wait_progress(bridge, before, Duration::from_secs(60))?;
            Ok(start.elapsed().as_secs_f64())
        }
        Victim::QuestDb => {
            bench.questdb.kill()?;
            let behind = group.lag()?;
            ensure!(behind > 0, "it was killed with nothing to do");
            bench.questdb.restart()?;
            commit_after(bridge, group)
        }
        Victim::Broker => {
            bench.kafka.kill()?;
            bench.kafka.restart()?;
            commit_after(bridge, group)
        }
    }
}

/// Seconds from now to the next commit.
fn commit_after(bridge: &Bridge, group: &Group) -> Result<f64> {
    let start = Instant::now();
    let before =
        bridge.wait(Duration::from_secs(30), "the group's offsets", || group.committed())?;
    group.wait_progress(bridge, before, Duration::from_secs(60))?;
    Ok(start.elapsed().as_secs_f64())
}
