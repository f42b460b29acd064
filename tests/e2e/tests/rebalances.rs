//! Promise: partitions that move between processes lose nothing, and the rows of a key stay in
//! order: where all its records are one row, the last one survives.

use std::time::Duration;

use anyhow::ensure;
use e2e::{keyed, pick, promise};

const RECORDS_PER_SECOND: u64 = 20_000;

#[test]
fn the_last_of_each_key_survives() {
    promise("the last of each key survives", |bench| {
        let setup = keyed::setup(bench, "moving")?;
        keyed::come_and_go(bench, setup, RECORDS_PER_SECOND, pick(4, 12))
    });
}

#[test]
fn two_with_one_identity_are_told() {
    promise("two with one identity are told", |bench| {
        let mut setup = keyed::setup(bench, "twins")?;
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
