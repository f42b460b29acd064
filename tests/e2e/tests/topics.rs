//! Promise: rows that go into a topic are there whatever is killed, and what has one key keeps its
//! order, replays aside.

use std::time::Duration;

use anyhow::ensure;
use e2e::{Band, Load, PARTITIONS, Reading, Setup, pick, promise, stream_is_whole};

const RECORDS_PER_SECOND: u64 = 20_000;
const BUSY: Duration = Duration::from_secs(60);
const DRAIN: Duration = Duration::from_secs(120);

#[test]
fn nothing_is_lost_and_keys_keep_their_order() {
    promise("topics survive kills under load", |bench| {
        let mut setup = Setup::readings(bench, "topical", PARTITIONS)?;
        let target = format!("{}-clean", setup.topic);
        setup.elsewhere = Some(format!("kind = \"kafka\"\ntopic = \"{target}\"\nheaders = true"));
        let installed = setup.transform("drop_cold", "{ min_celsius = 15.0 }").install()?;
        let group = installed.group(bench)?;
        let mut bridge = installed.start_ready()?;
        let load = Load::start(bench, &installed.setup.topic, RECORDS_PER_SECOND, |seq| {
            Reading(seq).record(PARTITIONS)
        });
        let mut committed = group.wait_progress(&bridge, 0, BUSY)?;
        for round in 0..pick(3, 12) {
            if round % 3 == 1 {
                bench.kafka.kill()?;
                bench.kafka.restart()?;
                committed = bridge.wait(BUSY, "the group's offsets", || group.committed())?;
            } else {
                bridge.kill()?;
                bridge = installed.start()?;
            }
            committed = group.wait_progress(&bridge, committed, BUSY)?;
        }
        let count = load.finish(Duration::from_secs(pick(10, 60)))?;
        group.wait_drained(&bridge, DRAIN)?;
        bridge.stop_well(Duration::from_secs(30))?;
        let messages = bench.kafka.read_all(&target)?;
        let double = stream_is_whole(&messages, count, Band::WARM)?;
        println!("{} records in {target}, {double} double", messages.len());
        let header = messages[0].header("bridge.topic");
        ensure!(header.as_deref() == Some(&*installed.setup.topic), "{header:?}");
        Ok(())
    });
}
