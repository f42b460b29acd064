//! `bridge demo`: the whole road on this machine, with nothing installed. The bridge in the middle
//! is the one that `bridge run` turns; this room plays those at its ends.
//!
//! ```text
//! load ──▶ mock cluster ──▶ pipeline (two transforms in the sandbox) ──TCP──▶ QuestDB, or endpoint
//! ```
//!
//! A QuestDB that answers on this machine is used (tables `demo_…`); else `endpoint` takes its
//! place, reads every line strictly and answers the few questions that the bridge asks.

#![expect(clippy::disallowed_methods, reason = "both ends of the road have threads of their own")]

mod endpoint;
mod load;
mod summary;
mod target;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::blame::Fault;
use crate::config::{Overrides, Plan};
use crate::kafka::mock::Cluster;
use crate::modules;
use crate::pipeline::{self, Running};
use load::{Load, Played};
pub use summary::Summary;
use target::Target;

/// The topic that the load goes to.
const TOPIC: &str = "sensors";
/// Its partitions: a lane each on four cores.
const PARTITIONS: i32 = 4;
/// Where broken records go.
const DEAD_LETTERS: &str = "sensors.dead-letters";
/// The tables: all readings, and those that `enrich_route` calls alarms.
const TABLES: [&str; 2] = ["demo_readings", "demo_alarms"];

/// Runs the demo for about `seconds` of load.
pub fn run(seconds: u64) -> Result<Summary, Fault> {
    let cluster = Cluster::start(1)?;
    cluster.create_topic(TOPIC, PARTITIONS)?;
    cluster.create_topic(DEAD_LETTERS, 1)?;
    let target = Target::find()?;
    tracing::info!("demo: rows go to {}", target.in_words());
    let folder = Folder::make()?;
    let config = config(&cluster.bootstrap_servers(), &target);
    folder.write("bridge.toml", config.as_bytes())?;
    folder.write("drop_cold.wasm", modules::DROP_COLD)?;
    folder.write("enrich_route.wasm", modules::ENRICH_ROUTE)?;
    let plan =
        Plan::load(&folder.0.join("bridge.toml"), &Overrides::default()).map_err(|mistakes| {
            Fault::us(format!("reading the demo's own configuration: {mistakes}"))
        })?;
    let load = Load::new(&cluster.bootstrap_servers())?;
    let mut playing = None;
    let mut meter = None;
    pipeline::run_with(plan, true, |Running { meters, alarms, .. }| {
        let (of, alarm) = (Arc::clone(&meters[0].1), Arc::clone(&alarms[0]));
        meter = Some(Arc::clone(&of));
        let play = move || load.play(Duration::from_secs(seconds), &of, &alarm);
        playing = Some(std::thread::spawn(play));
    })?;
    let (Some(playing), Some(meter)) = (playing, meter) else {
        return Err(Fault::us("the pipeline ended before it began"));
    };
    let played: Played = playing.join().map_err(|_| Fault::us("the load panicked"))??;
    Summary::of(&played, &meter, &target)
}

/// What a user would write, and nothing that a user could not.
fn config(brokers: &str, target: &Target) -> String {
    let (http, tcp) = (target.http_address(), target.tcp_address());
    let [readings, alarms] = TABLES;
    format!(
        r#"[kafka]
brokers = "{brokers}"

[pipeline.demo]
topics = ["{TOPIC}"]

[[pipeline.demo.transform]]
module = "drop_cold.wasm"
config = {{ min_celsius = 15.0 }}

[[pipeline.demo.transform]]
module = "enrich_route.wasm"
config = {{ alarm_above = 60.0, alarm_table = "{alarms}" }}

[pipeline.demo.table]
name = "{readings}"
timestamp = {{ field = "ts", unit = "us" }}
symbols = ["sensor", "site"]

[pipeline.demo.sink]
kind = "questdb"
transport = "tcp"
address = "{http}"
tcp_address = "{tcp}"
"#
    )
}

/// A folder that is gone when the demo is.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Folder, Fault> {
        let path = std::env::temp_dir().join(format!("bridge-demo-{}", std::process::id()));
        match std::fs::create_dir_all(&path) {
            Ok(()) => Ok(Folder(path)),
            Err(error) => Err(Fault::operator(format!("making {}: {error}", path.display()))
                .hint("the demo needs a folder for its modules: set TMPDIR")),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Fault> {
        let path = self.0.join(name);
        std::fs::write(&path, bytes)
            .map_err(|error| Fault::operator(format!("writing {}: {error}", path.display())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind is small, and lies where such things are swept.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
