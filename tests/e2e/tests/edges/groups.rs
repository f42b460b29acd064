//! What a group may do: shut its door, keep the place of a member, speak the newer protocol, and
//! lose patience with who is slow.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::{Band, Bench, Bridge, PARTITIONS, Reading, Setup, keyed, pick, rows_are_exact};

use crate::{DRAIN, ENDS, VISIBLE, edge};

/// Produces readings.
pub fn produce(bench: &Bench, topic: &str, numbers: std::ops::Range<u64>) -> Result<()> {
    let records = numbers.map(|seq| Reading(seq).record(PARTITIONS));
    bench.kafka.produce_with(topic, records, &[("enable.idempotence", "false")])?;
    Ok(())
}

/// Forbids everybody to read a topic or as a group, or no more.
fn set_forbidden(bench: &Bench, what: &[&str], forbidden: bool) -> Result<()> {
    let verb: &[&str] = if forbidden { &["--add"] } else { &["--remove", "--force"] };
    let whom = ["--deny-principal", "User:ANONYMOUS", "--operation", "Read"];
    let arguments = [verb, &whom, what].concat();
    bench.kafka.tool("org.apache.kafka.tools.AclCommand", &arguments).map(drop)
}

/// Waits until the bridge ends by its own decision; it must name who forbade what.
fn ensure_told(bridge: &Bridge, named: &str) -> Result<()> {
    let status = bridge.process().wait_exit(DRAIN)?;
    ensure!(status.code() == Some(1), "{named} is forbidden: it ended with {status}");
    // Its last words may be heard after its end.
    let allow = "allow the bridge's principal";
    bridge.process().wait_for_line(allow, ENDS).context("it does not say what to do")?;
    let said = bridge.process().lines();
    let told = said.iter().any(|line| line.contains(named) && line.contains("uthorization failed"));
    ensure!(told, "{named} is not named");
    Ok(())
}

#[test]
fn what_is_forbidden_is_told() {
    edge("what is forbidden is told, and nothing is lost by it", |bench| {
        // What is stored when the door is shut cannot be committed, and comes again.
        let installed = Setup::readings(bench, "forbidden", PARTITIONS)?.upserting().install()?;
        let (group, Setup { topic, table, .. }) = (installed.group(bench)?, &installed.setup);
        let doors = [["--topic", topic], ["--group", &installed.setup.group]];
        let mut count = 0;
        for door in doors {
            let bridge = installed.start()?;
            produce(bench, topic, count..count + 500)?;
            group.wait_drained(&bridge, DRAIN)?;
            count += 500;
            set_forbidden(bench, &door, true)?;
            if door[0] == "--group" {
                produce(bench, topic, count..count + 500)?;
                count += 500;
            }
            ensure_told(&bridge, door[1])?;
            ensure_told(&installed.start()?, door[1])?;
            set_forbidden(bench, &door, false)?;
        }
        produce(bench, topic, count..count + 500)?;
        let bridge = installed.start()?;
        group.wait_drained(&bridge, DRAIN)?;
        rows_are_exact(&bench.questdb, table, count + 500, Band::ALL, VISIBLE)?;
        bridge.stop_well(ENDS)
    });
}

fn partitions(bridge: &Bridge) -> Result<f64> {
    bridge.metrics()?.sum("bridge_partitions")
}

#[test]
fn a_member_that_returns_finds_its_place() {
    edge("a member that returns within its session finds its place", |bench| {
        let setup = keyed::setup(bench, "places")?;
        let named = |name: &str| {
            let mut setup = setup.clone();
            setup.pipeline = vec![format!("instance = \"{name}\"")];
            setup.install()
        };
        let (one, two) = (named("one")?, named("two")?);
        let group = one.group(bench)?;
        let half = f64::from(keyed::PARTITIONS / 2);
        let stays = one.start_ready()?;
        let mut other = two.start()?;
        let share = |bridge: &Bridge| {
            bridge.wait(DRAIN, "half of the partitions", || {
                let (own, others) = (partitions(&stays)?, partitions(bridge)?);
                ensure!(own == half && others == half, "they have {own} and {others}");
                Ok(())
            })
        };
        share(&other)?;
        for round in 1..=2 {
            other.kill()?;
            other = two.start()?;
            let mut moved = Vec::new();
            other.wait(DRAIN, "its partitions", || {
                // Meanwhile they are nobody else's.
                moved.extend(Some(partitions(&stays)?).filter(|own| *own != half));
                let others = partitions(&other)?;
                ensure!(others == half, "the one that came back has {others}");
                Ok(())
            })?;
            moved.extend(Some(partitions(&stays)?).filter(|own| *own != half));
            ensure!(moved.is_empty(), "round {round}: the one that stays had {moved:?}");
            bench.kafka.produce(&one.setup.topic, (0..2_000).map(keyed::record))?;
            group.wait_drained(&other, DRAIN)?;
        }
        other.stop_well(ENDS)?;
        stays.stop_well(ENDS)
    });
}

#[test]
fn the_newer_protocol_is_a_choice() {
    edge("the newer protocol of groups: nothing is lost, and keys keep their order", |bench| {
        let mut setup = keyed::setup(bench, "newer")?;
        setup.properties = vec!["\"group.protocol\" = \"consumer\"".to_owned()];
        keyed::come_and_go(bench, setup, 5_000, pick(2, 12))
    });
}

#[test]
fn a_slow_sink_costs_no_membership() {
    edge("a sink that is slower than any poll may be costs no membership", |bench| {
        // What QuestDB had when it was stopped may come twice.
        let mut setup = Setup::readings(bench, "slow", PARTITIONS)?.upserting();
        setup.properties = ["session.timeout.ms", "max.poll.interval.ms"]
            .map(|property| format!("\"{property}\" = 6000"))
            .to_vec();
        let installed = setup.install()?;
        let group = installed.group(bench)?;
        let bridge = installed.start_ready()?;
        produce(bench, &installed.setup.topic, 0..2_000)?;
        group.wait_drained(&bridge, DRAIN)?;
        let before = group.members()?;
        bench.questdb.pause()?;
        produce(bench, &installed.setup.topic, 2_000..40_000)?;
        let (start, slow) = (Instant::now(), Duration::from_secs(pick(9, 120)));
        bridge.wait(slow * 2, "the end of the pause", || {
            ensure!(start.elapsed() >= slow, "it lasts");
            Ok(())
        })?;
        ensure!(group.lag()? > 0, "the sink was not slow");
        bench.questdb.resume()?;
        group.wait_drained(&bridge, DRAIN)?;
        let after = group.members()?;
        ensure!(before == after && before.len() == 1, "it was {before:?} and is {after:?}");
        rows_are_exact(&bench.questdb, &installed.setup.table, 40_000, Band::ALL, VISIBLE)?;
        bridge.stop_well(ENDS)
    });
}
