//! What happens when nothing happens: offsets grow old. It takes a minute, so it begins with the
//! first test, and comes last.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::{Band, Bench, Bridge, Installed, PARTITIONS, Setup, rows_are_exact};
use world::await_until;

use crate::groups::produce;
use crate::{DRAIN, ENDS, VISIBLE, edge};

/// Both protocols of groups.
const PROTOCOLS: [&str; 2] = ["classic", "consumer"];
/// An offset is kept for a minute, and looked at every second.
const FORGOTTEN: Duration = Duration::from_secs(63);
/// So many looks are taken at a group without members.
const LOOKED_AT: Duration = Duration::from_secs(4);

/// Pipelines without anything to do.
struct Quiet {
    since: Instant,
    pipelines: Vec<(Installed, Bridge)>,
}

static QUIET: Mutex<Option<Quiet>> = Mutex::new(None);
static BEGUN: AtomicBool = AtomicBool::new(false);

/// Starts them, if they were not started: it takes a minute until their offsets are old.
pub fn begin(bench: &'static Bench) -> Result<()> {
    if BEGUN.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let mut pipelines = Vec::new();
    for protocol in PROTOCOLS {
        // Another test has the broker away for longer than it keeps offsets without a member: then
        // they are read again, which is no matter here.
        let mut setup = Setup::readings(bench, "quiet", PARTITIONS)?.upserting();
        setup.properties = vec![format!("\"group.protocol\" = \"{protocol}\"")];
        // Who leaves is missed at once, and the group is without members then.
        setup.pipeline = vec!["instance = false".to_owned()];
        produce(bench, &setup.topic, 0..100)?;
        let installed = setup.install()?;
        let bridge = installed.start()?;
        installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
        pipelines.push((installed, bridge));
    }
    let quiet = Quiet { since: Instant::now(), pipelines };
    *QUIET.lock().unwrap_or_else(PoisonError::into_inner) = Some(quiet);
    Ok(())
}

#[test]
fn offsets_of_quiet_partitions_are_kept() {
    edge("offsets of partitions that stand still are kept", |bench| {
        let quiet = QUIET.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Quiet { since, pipelines } = quiet.context("they were started")?;
        await_until(FORGOTTEN, "the offsets to be old", || {
            (since.elapsed() >= FORGOTTEN).then_some(())
        })?;
        for (_, bridge) in &pipelines {
            bridge.stop_well(ENDS)?;
        }
        let left = Instant::now();
        await_until(LOOKED_AT * 2, "looks at groups without members", || {
            (left.elapsed() >= LOOKED_AT).then_some(())
        })?;
        for (installed, _) in &pipelines {
            let group = installed.group(bench)?;
            let (committed, properties) = (group.committed()?, &installed.setup.properties);
            ensure!(committed == 100, "{properties:?}: {committed} of 100 are committed");
            produce(bench, &installed.setup.topic, 100..150)?;
            let bridge = installed.start()?;
            group.wait_drained(&bridge, DRAIN)?;
            rows_are_exact(&bench.questdb, &installed.setup.table, 150, Band::ALL, VISIBLE)?;
            bridge.stop_well(ENDS)?;
        }
        Ok(())
    });
}
