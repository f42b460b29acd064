//! All pipelines of a file, until a signal comes: the first one drains, the second one ends.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::alarm::{Alarm, Stop};
use super::attendant::attend;
use super::open::{Surroundings, open};
use super::ring::{Parts, turn};
use crate::blame::Fault;
use crate::config::Plan;
use crate::observe::admin::{Admin, Heard, ORDERS_MAX, Wish};
use crate::observe::http::Served;
use crate::observe::{self, Meters, PipelineMeter};
use crate::sink::Finding;

/// The runtime that couriers, probes and signals share. They only move bytes: one thread is
/// enough, and leaves the others to the lanes.
pub(super) fn runtime() -> Result<Runtime, Fault> {
    Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("couriers")
        .enable_all()
        .build()
        .map_err(|error| Fault::us(format!("starting the runtime: {error}")))
}

impl Surroundings {
    /// Those of a plan.
    fn of(plan: &Plan, runtime: &Runtime) -> Surroundings {
        let (base, cache) = (plan.base.clone(), plan.cache.clone());
        Surroundings { base, cache, runtime: runtime.handle().clone() }
    }
}

/// What someone beside the pipelines may see and ask of them while they run.
pub struct Running {
    /// What is counted.
    pub meters: Meters,
    /// Stops all of them.
    pub alarms: Vec<Arc<Alarm>>,
    /// Gives orders.
    pub admin: Admin,
}

/// Runs all pipelines of a plan until SIGTERM or SIGINT.
pub fn run(plan: Plan) -> Result<(), Fault> {
    run_with(plan, true, |_| {})
}

/// The same; `beside` is called when all pipelines are open, and may go on looking from threads
/// of its own. The status line is shown if `status` is set.
pub fn run_with(plan: Plan, status: bool, beside: impl FnOnce(Running)) -> Result<(), Fault> {
    let runtime = runtime()?;
    let around = Surroundings::of(&plan, &runtime);
    let ceiling = plan.ceiling_bytes();
    let (mut rings, mut reloaders) = (Vec::new(), Vec::new());
    let (mut meters, mut alarms): (Meters, Vec<Arc<Alarm>>) = (Vec::new(), Vec::new());
    for pipeline in &plan.pipelines {
        let meter = Arc::new(PipelineMeter::default());
        let mut parts = open(pipeline, &around, &meter)?;
        reloaders.extend(parts.reloader.take());
        rings.push(parts);
        meters.push((Arc::clone(&pipeline.name), meter));
        alarms.push(Arc::new(Alarm::default()));
    }
    let (stop, stopped) = watch::channel(false);
    let (orders, heard) = sync_channel(ORDERS_MAX);
    let admin = Admin { admission: plan.admin, orders };
    let mut probes = Vec::new();
    if let Some(address) = plan.http {
        let listener = runtime.block_on(observe::http::bind(address))?;
        let served = Served { meters: meters.clone(), admin: admin.clone() };
        let serve = observe::http::serve_on(listener, served, stopped.clone());
        probes.push(runtime.spawn(serve));
    }
    if status {
        probes.push(runtime.spawn(observe::status::status(meters.clone(), ceiling, stopped)));
    }
    let signals = [
        runtime.spawn(heed_signals(alarms.clone())),
        runtime.spawn(heed_hangups(admin.clone(), alarms.clone())),
    ];
    let attendant = std::thread::spawn(move || attend(reloaders, &heard));
    beside(Running { meters, alarms: alarms.clone(), admin: admin.clone() });
    let end = turn_all(rings, &alarms, &runtime);
    signals.iter().for_each(|task| task.abort());
    // It listens until this is said; if it does not, it has panicked, and that is told below.
    let _ = admin.orders.send(Heard::Stop);
    let attended = attendant.join().map_err(|_| Fault::us("the attendant of modules panicked"));
    stop.send_replace(true);
    for probe in probes {
        // A probe that panicked has said so; there is nothing left to tell it.
        let _ = runtime.block_on(probe);
    }
    end.and(attended)
}

/// Turns all rings, each on a thread of its own, to their ends; the first one's that failed.
fn turn_all(rings: Vec<Parts>, alarms: &[Arc<Alarm>], runtime: &Runtime) -> Result<(), Fault> {
    let ended: Vec<JoinHandle<Result<(), Fault>>> = rings
        .into_iter()
        .zip(alarms)
        .map(|(parts, alarm)| {
            let (alarm, all) = (Arc::clone(alarm), alarms.to_vec());
            let (handle, name) = (runtime.handle().clone(), Arc::clone(&parts.name));
            std::thread::spawn(move || {
                // The intake's log lines bear the pipeline's name.
                let _named = tracing::info_span!("pipeline", name = %name).entered();
                let end = turn(parts, &alarm, &handle);
                if end.is_err() {
                    // A process with a pipeline missing looks well and is not: all stop.
                    all.iter().for_each(|alarm| alarm.ask(Stop::Drain));
                }
                end
            })
        })
        .collect();
    let mut end = Ok(());
    for ring in ended {
        let one = ring.join().unwrap_or_else(|_| Err(Fault::us("a ring panicked")));
        end = end.and(one);
    }
    end
}

/// SIGHUP takes modules that have changed; unless it is the terminal that is gone.
async fn heed_hangups(admin: Admin, alarms: Vec<Arc<Alarm>>) {
    let mut hangup = signal(SignalKind::hangup()).expect("a runtime with signals enabled");
    let was_on_terminal = std::io::stderr().is_terminal();
    loop {
        hangup.recv().await;
        if was_on_terminal && !std::io::stderr().is_terminal() {
            alarms.iter().for_each(|alarm| alarm.ask(Stop::Drain));
            return;
        }
        let Some(outcome) = admin.give(Wish::Reload, None) else {
            tracing::warn!("SIGHUP: too many orders wait");
            continue;
        };
        if let Ok(outcome) = outcome.await {
            tracing::info!("SIGHUP: {}", outcome.words.trim_end().replace('\n', "; "));
        }
    }
}

/// The first signal drains, the second one ends at once.
async fn heed_signals(alarms: Vec<Arc<Alarm>>) {
    let heard = |kind| signal(kind).expect("a runtime with signals enabled");
    let (mut terminate, mut interrupt) =
        (heard(SignalKind::terminate()), heard(SignalKind::interrupt()));
    for stop in [Stop::Drain, Stop::Now] {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        match stop {
            Stop::Drain => tracing::info!(
                "stopping: storing what is under way, then committing; once more to stop at once"
            ),
            _ => tracing::warn!(
                "stopping at once: what is not committed is read again at the next start"
            ),
        }
        alarms.iter().for_each(|alarm| alarm.ask(stop));
    }
}

/// What was found for each pipeline, by its name.
pub type Findings = Vec<(Arc<str>, Vec<Finding>)>;

/// Knocks on every door of every pipeline.
pub fn check(plan: &Plan) -> Result<Findings, Fault> {
    let runtime = runtime()?;
    let around = Surroundings::of(plan, &runtime);
    let knock = |pipeline: &crate::config::PipelinePlan| {
        (Arc::clone(&pipeline.name), super::open::check(pipeline, &around))
    };
    Ok(plan.pipelines.iter().map(knock).collect())
}
