//! Partitions that change hands while rows are under way: between a process that is frozen and one
//! that takes over, and between two that come and go.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use world::Signal;

use crate::{Bridge, Group, Installed, PARTITIONS, pick};

/// Until there is a moment with work under way, or the next one has the partitions.
const BUSY: Duration = Duration::from_secs(60);
const ENDS: Duration = Duration::from_secs(30);

/// What processes need that share a group and leave it unseen: without a static identity a member
/// that leaves is missed at once.
pub const NOBODY: &str = "instance = false";
/// A property: who is frozen is expelled after this time.
pub const SESSION: &str = "\"session.timeout.ms\" = 6000";

fn await_progress(bridge: &Bridge, group: &Group, records: i64) -> Result<()> {
    let before = bridge.wait(BUSY, "the group's offsets", || group.committed())?;
    group.wait_progress(bridge, before + records, BUSY).map(drop)
}

/// Freezes the process with work under way until another has its partitions, and lets it go on. The
/// process that has them in the end.
pub fn freeze(mut old: Bridge, installed: &Installed, group: &Group) -> Result<Bridge> {
    let second = installed.setup.clone().install()?;
    for round in 0..pick(2, 20) {
        group.wait_busy(&old, BUSY).with_context(|| format!("round {round}"))?;
        old.process().signal(Signal::Stop)?;
        let from = if round % 2 == 0 { &second } else { installed };
        let new = from.start()?;
        // It has all partitions as soon as the frozen one's session has ended.
        new.wait_assigned(PARTITIONS, BUSY)?;
        await_progress(&new, group, 0)?;
        old.process().signal(Signal::Continue)?;
        await_progress(&new, group, 0)?;
        old.kill()?;
        old = new;
    }
    Ok(old)
}

/// A guest gets a share of the partitions, and gives them back or is killed. Each time so many
/// records go by.
pub fn visit(stays: &Bridge, installed: &Installed, group: &Group, records: u64) -> Result<()> {
    let second = installed.setup.clone().install()?;
    for round in 0..pick(3, 20) {
        let guest = second.start()?;
        guest.wait(BUSY, "a share of the partitions", || {
            let partitions = guest.metrics()?.sum("bridge_partitions")?;
            ensure!(partitions > 0.0, "it has none");
            Ok(())
        })?;
        await_progress(&guest, group, records as i64)?;
        stays.ensure_running()?;
        match round % 2 {
            0 => guest.stop_well(ENDS)?,
            _ => guest.kill()?,
        }
        await_progress(stays, group, records as i64)?;
    }
    Ok(())
}
