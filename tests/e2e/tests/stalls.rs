//! Promise: while the database does not answer, memory stays under the printed ceiling; when it is
//! back, the pipeline catches up by itself.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::{
    Band, Bench, Load, PARTITIONS, Reading, Setup, Transport, pick, promise, rows_are_exact,
};

const RECORDS_PER_SECOND: u64 = 50_000;
const DRAIN: Duration = Duration::from_secs(180);
const VISIBLE: Duration = Duration::from_secs(60);
const BACK_AT_WORK: Duration = Duration::from_secs(60);

#[derive(Clone, Copy)]
enum Stall {
    /// SIGSTOP: sockets stay open.
    Frozen,
    /// SIGKILL: connections are refused.
    Dead,
}

#[test]
fn frozen_over_http() {
    promise("frozen over http", |bench| stall(bench, Transport::Http, Stall::Frozen));
}

#[test]
fn dead_over_http() {
    promise("dead over http", |bench| stall(bench, Transport::Http, Stall::Dead));
}

#[test]
fn frozen_over_tcp() {
    promise("frozen over tcp", |bench| stall(bench, Transport::Tcp, Stall::Frozen));
}

fn stall(bench: &'static Bench, transport: Transport, how: Stall) -> Result<()> {
    let setup = Setup::readings(bench, "stalled", PARTITIONS)?.over(transport).upserting();
    let installed = setup.transform("drop_cold", "{ min_celsius = 15.0 }").install()?;
    let ceiling = installed.memory_ceiling()?;
    let group = installed.group(bench)?;
    let bridge = installed.start_ready()?;
    let load = Load::start(bench, &installed.setup.topic, RECORDS_PER_SECOND, |seq| {
        Reading(seq).record(PARTITIONS)
    });
    group.wait_progress(&bridge, 0, Duration::from_secs(30))?;
    match how {
        Stall::Frozen => bench.questdb.pause()?,
        Stall::Dead => bench.questdb.kill()?,
    }
    let lasting = Duration::from_secs(pick(15, 600));
    let start = Instant::now();
    let mut rss_max = 0;
    bridge.wait(lasting * 2, "the end of the stall", || {
        rss_max = rss_max.max(bridge.process().rss_bytes()?);
        ensure!(start.elapsed() >= lasting, "it lasts");
        Ok(())
    })?;
    let before = group.committed()?;
    let behind = group.lag()?;
    ensure!(behind > RECORDS_PER_SECOND as i64 * 5, "only {behind} records wait: no stall");
    match how {
        Stall::Frozen => bench.questdb.resume()?,
        Stall::Dead => bench.questdb.restart()?,
    }
    let start = Instant::now();
    group.wait_progress(&bridge, before, BACK_AT_WORK)?;
    let back = start.elapsed().as_secs_f64();
    let count = load.finish(Duration::ZERO)?;
    group.wait_drained(&bridge, DRAIN)?;
    let caught_up = start.elapsed().as_secs_f64();
    let rss_ever = bridge.process().rss_bytes_max()?;
    println!(
        "stalled {} s, {behind} records behind: at work again after {back:.2} s, caught up after \
         {caught_up:.1} s; memory {} MiB in the stall, {} MiB ever, ceiling {} MiB",
        lasting.as_secs(),
        rss_max >> 20,
        rss_ever >> 20,
        ceiling >> 20,
    );
    ensure!(rss_max <= ceiling, "{rss_max} bytes of memory, the ceiling is {ceiling}");
    ensure!(rss_ever <= ceiling, "{rss_ever} bytes of memory, the ceiling is {ceiling}");
    rows_are_exact(&bench.questdb, &installed.setup.table, count, Band::WARM, VISIBLE)?;
    bridge.stop_well(Duration::from_secs(30))
}
