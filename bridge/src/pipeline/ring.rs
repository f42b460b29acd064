//! One ring, put together and turned: threads for intake, lanes and dead letters, a task for each
//! courier and for the sink's keeper. Everything that is spawned here is joined here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use super::alarm::{Alarm, Stop};
use super::claiming::Claimer;
use super::fallback::{Switching, Watchman};
use super::handover::{Handover, Successor};
use super::intake::{Intake, IntakeParts, IntakeWay};
use super::lane::{Lane, LaneAlso, LaneWay, RejectGuard, Work};
use super::reload::Reloader;
use crate::batch::{RowBatch, Way};
use crate::blame::Fault;
use crate::format::Format;
use crate::limits::{DEAD_LETTERS_MAX, Limits};
use crate::observe::{Counter, PipelineMeter};
use crate::outbox::{Closing, Outbox, Pool};
use crate::reject::{Rejected, Rejects};
use crate::sink::{Commit, CourierDoors, Home, Letters, Sink};
use crate::source::{Source, Waker};
use crate::transform::{Portions, Transform};

/// What stores refused records; runs on a thread of its own until its inbox closes.
pub type DeadLetterOffice =
    Box<dyn FnOnce(mpsc::Receiver<Rejected>, Home) -> Result<(), Fault> + Send>;

/// What a ring is made of.
pub struct Parts {
    /// The pipeline's name, for threads and messages.
    pub name: Arc<str>,
    /// Where records come from.
    pub source: Box<dyn Source>,
    /// What each lane works with: one entry for each lane.
    pub benches: Vec<Bench>,
    /// Where rows go.
    pub sink: SinkParts,
    /// Where they go while the first takes none, and when.
    pub fallback: Option<(SinkParts, Switching)>,
    /// Where they go as well.
    pub also: Vec<SinkParts>,
    /// Where refused records go.
    pub dead_letters: DeadLetterOffice,
    /// Turned true when the ring is stopped hard.
    pub abandoned: watch::Sender<bool>,
    /// The bounds.
    pub limits: Limits,
    /// Counters.
    pub meter: Arc<PipelineMeter>,
    /// Replaces modules while the ring turns; taken out by whoever turns it.
    pub reloader: Option<Reloader>,
}

/// One of a ring's sinks.
#[derive(Clone)]
pub struct SinkParts {
    /// For people.
    pub name: Arc<str>,
    /// The sink.
    pub sink: Arc<dyn Sink>,
    /// Its couriers of each lane.
    pub couriers_per_lane: usize,
    /// Rows that it stored.
    pub rows_stored: Arc<Counter>,
}

/// What one lane works with.
pub struct Bench {
    /// Bytes to rows.
    pub format: Box<dyn Format>,
    /// Rows to rows.
    pub transforms: Vec<Box<dyn Transform>>,
    /// Where what replaces them is put.
    pub handover: Arc<Handover>,
}

/// Room for receipts: more than there can be payloads and batches out, so that a courier never
/// waits for intake.
const RECEIPTS_MAX: usize = 8_192;

/// Turns the ring on the calling thread until it is told to stop, its source has ended, or
/// something is wrong.
pub fn turn(parts: Parts, alarm: &Arc<Alarm>, runtime: &Handle) -> Result<(), Fault> {
    let (receipts_in, receipts) = mpsc::channel(RECEIPTS_MAX);
    let (rest_stop, rest_stopped) = watch::channel(false);
    let home = Home::new(receipts_in, parts.source.waker());
    let (letters, letters_inbox) = mpsc::channel(DEAD_LETTERS_MAX);
    let office = spawn(&parts.name, "letters", alarm, {
        let (office, home) = (parts.dead_letters, home.clone());
        move || office(letters_inbox, home)
    });
    let (fallback, switching) = parts.fallback.unzip();
    let ways = 1 + fallback.iter().len();
    let sinks: Vec<_> = [parts.sink].into_iter().chain(fallback).chain(parts.also).collect();
    // What goes on until all couriers have ended: it keeps the world in sight for them.
    let keeper = |way: &SinkParts| watched(runtime, alarm, way.sink.keeper(rest_stopped.clone()));
    let mut beside: Vec<Watched> = sinks.iter().map(keeper).collect();
    let (orders, ordered) = watch::channel(Way::First);
    if let Some(switching) = switching {
        let (waker, meter) = (parts.source.waker(), Arc::clone(&parts.meter));
        let both = &sinks[..ways];
        let watchman = Watchman::new(&parts.name, both, switching, orders, waker, meter);
        beside.push(watched(runtime, alarm, watchman.run(rest_stopped)));
    }
    let (intake_ways, resets) = sinks.iter().map(intake_way).unzip();
    let common = Common {
        sinks: &sinks,
        ways,
        resets,
        home,
        letters,
        pool: Arc::new(pool(parts.benches.len(), sinks.split_at(ways), &parts.limits)),
        lent_bytes: Arc::default(),
        limits: &parts.limits,
        meter: &parts.meter,
        alarm,
        runtime,
    };
    let (mut tasks, mut threads, mut inboxes) = (Vec::new(), Vec::new(), Vec::new());
    for (index, bench) in parts.benches.into_iter().enumerate() {
        let (work, inbox) = mpsc::channel::<Work>(parts.limits.lane_inbox_batches_max);
        inboxes.push(work);
        let lane = common.lane(index, bench, inbox, &mut tasks);
        threads.push(spawn(&parts.name, &format!("lane-{index}"), alarm, || lane.run()));
    }
    let (lent_bytes, pool) = (Arc::clone(&common.lent_bytes), Arc::clone(&common.pool));
    // The ways home and to the dead letters end with those who go them.
    drop(common);
    let intake = Intake::new(IntakeParts {
        claimer: claimer(&*sinks[0].sink, parts.source.waker(), runtime),
        commits: !sinks[0].sink.commits_offsets(),
        source: parts.source,
        lanes: inboxes,
        receipts,
        ways: intake_ways,
        orders: ordered,
        alarm: Arc::clone(alarm),
        meter: parts.meter,
        limits: parts.limits,
        lent_bytes,
        pool,
    });
    let (end, was_well) = run(intake, alarm);
    if end.is_err() || alarm.stop() == Stop::Now {
        parts.abandoned.send_replace(true);
        abandon(&sinks, &tasks);
    }
    join(threads, tasks, office, runtime);
    rest_stop.send_replace(true);
    settle(beside, runtime);
    alarm.take_fault().filter(|_| !was_well).map_or(end, Err)
}

/// Stops hard whoever waits.
fn abandon(sinks: &[SinkParts], tasks: &[Watched]) {
    sinks.iter().for_each(|way| way.sink.abandon());
    tasks.iter().for_each(|task| task.abort.abort());
}

/// How the intake ended; and whether that was at once because somebody asked, with nothing wrong
/// so far: who is cut off by it has nothing to complain of.
fn run(intake: Intake, alarm: &Alarm) -> (Result<(), Fault>, bool) {
    let end = catch_unwind(AssertUnwindSafe(|| intake.run()))
        .unwrap_or_else(|panic| Err(Fault::us(format!("the intake panicked: {}", words(&panic)))));
    let was_well = end.is_ok() && alarm.stop() == Stop::Now && !alarm.has_fault();
    if let Err(fault) = &end {
        // Before whoever is cut off by it complains.
        alarm.raise(fault.clone());
    }
    (end, was_well)
}

fn claimer(sink: &dyn Sink, waker: Waker, runtime: &Handle) -> Option<Claimer> {
    Some(Claimer::new(sink.claims()?, runtime.clone(), waker))
}

/// Intake's means to have everything given back by a sink, and who hears of it.
fn intake_way(way: &SinkParts) -> (IntakeWay, watch::Receiver<u64>) {
    let (reset, seen) = watch::channel(0_u64);
    (IntakeWay { reset, sink: Arc::clone(&way.sink) }, seen)
}

/// What all lanes of a ring share.
struct Common<'a> {
    sinks: &'a [SinkParts],
    /// How many of them rows go to by turns; the others get them all as well.
    ways: usize,
    /// Of each sink.
    resets: Vec<watch::Receiver<u64>>,
    home: Home,
    letters: mpsc::Sender<Rejected>,
    pool: Arc<Pool>,
    lent_bytes: Arc<AtomicUsize>,
    limits: &'a Limits,
    meter: &'a Arc<PipelineMeter>,
    alarm: &'a Arc<Alarm>,
    runtime: &'a Handle,
}

impl Common<'_> {
    /// A lane and its couriers to every sink, which begin to run.
    fn lane(
        &self,
        index: usize,
        bench: Bench,
        inbox: mpsc::Receiver<Work>,
        tasks: &mut Vec<Watched>,
    ) -> Lane {
        let (mut ways, mut couriers) = (Vec::new(), Vec::new());
        let has_several = self.sinks.len() > self.ways;
        for (way, reset) in self.sinks.iter().zip(&self.resets) {
            let sink = has_several.then(|| Arc::clone(&way.name));
            ways.push(LaneWay {
                encoder: way.sink.encoder(),
                first_courier: couriers.len() as u32,
                reset: reset.clone(),
                sink: sink.clone(),
            });
            let first = index * way.couriers_per_lane;
            for number in first..first + way.couriers_per_lane {
                let (sender, inbox) = mpsc::channel(self.limits.courier_inbox_payloads_max);
                let doors = CourierDoors {
                    inbox,
                    home: self.home.counting(Arc::clone(&way.rows_stored)),
                    dead_letters: Letters::new(self.letters.clone(), sink.clone()),
                    pool: Arc::clone(&self.pool),
                    commit: commit(self.limits),
                    reset: reset.clone(),
                };
                let courier = way.sink.courier(number).run(doors);
                tasks.push(watched(self.runtime, self.alarm, courier));
                couriers.push(sender);
            }
        }
        let also = ways.split_off(self.ways).into_iter();
        Lane {
            inbox,
            format: bench.format,
            transforms: bench.transforms,
            successor: Successor::new(bench.handover),
            ways,
            also: also.map(|way| LaneAlso::new(way, self.limits)).collect(),
            outbox: Outbox::new(closing(self.limits), Arc::clone(&self.pool), Instant::now()),
            couriers,
            dead_letters: self.letters.clone(),
            letters_first: self.sinks[0].sink.commits_offsets(),
            home: self.home.clone(),
            meter: Arc::clone(self.meter),
            lent_bytes: Arc::clone(&self.lent_bytes),
            guard: RejectGuard::new(self.limits),
            rows: RowBatch { room: Some(self.limits.portion_bytes_max()), ..RowBatch::default() },
            portions: Portions::default(),
            rejects: Rejects::default(),
        }
    }
}

fn closing(limits: &Limits) -> Closing {
    Closing {
        payload_bytes_max: limits.payload_bytes_max,
        payload_rows_max: limits.payload_rows_max,
        open_bytes_max: limits.open_bytes_max,
    }
}

/// Room for the buffers of a commit of each courier.
fn pool(lanes: usize, sinks: (&[SinkParts], &[SinkParts]), limits: &Limits) -> Pool {
    let (ways, also) = sinks;
    let couriers = |sinks: &SinkParts| sinks.couriers_per_lane;
    // Payloads are with one of these at a time.
    let by_turns = ways.iter().map(couriers).max().unwrap_or(0);
    let per_lane = by_turns + also.iter().map(couriers).sum::<usize>();
    Pool::new(lanes * per_lane * limits.commit_bytes_max)
}

fn commit(limits: &Limits) -> Commit {
    Commit { bytes_max: limits.commit_bytes_max, rows_max: limits.commit_rows_max }
}

/// A task that raises the alarm when it fails, and can be ended.
struct Watched {
    abort: AbortHandle,
    done: tokio::task::JoinHandle<()>,
}

fn watched(
    runtime: &Handle,
    alarm: &Arc<Alarm>,
    task: impl Future<Output = Result<(), Fault>> + Send + 'static,
) -> Watched {
    let inner = runtime.spawn(task);
    let abort = inner.abort_handle();
    let alarm = Arc::clone(alarm);
    let done = runtime.spawn(async move {
        match inner.await {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => alarm.raise(fault),
            Err(error) if error.is_cancelled() => {}
            Err(error) => alarm.raise(Fault::us(format!("a courier panicked: {error}"))),
        }
    });
    Watched { abort, done }
}

fn spawn(
    pipeline: &str,
    what: &str,
    alarm: &Arc<Alarm>,
    work: impl FnOnce() -> Result<(), Fault> + Send + 'static,
) -> JoinHandle<()> {
    let alarm = Arc::clone(alarm);
    let what = what.to_owned();
    thread::Builder::new()
        // Linux keeps 15 characters: the end tells lanes apart.
        .name(format!("{}-{what}", &pipeline[..pipeline.len().min(8)]))
        .spawn(move || match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => alarm.raise(fault),
            Err(panic) => alarm.raise(Fault::us(format!("{what} panicked: {}", words(&panic)))),
        })
        .expect("the system has room for a thread at the start")
}

/// What a panic said.
fn words(panic: &Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word").to_owned()
}

/// Lanes end first, for they hold the way to the couriers; the dead letters end last.
fn join(
    threads: Vec<JoinHandle<()>>,
    tasks: Vec<Watched>,
    office: JoinHandle<()>,
    runtime: &Handle,
) {
    for lane in threads {
        // Panics were caught inside and have raised the alarm.
        let _ = lane.join();
    }
    settle(tasks, runtime);
    let _ = office.join();
}

/// How long tasks that were told to end may take before they are ended.
const SETTLE_MAX: Duration = Duration::from_secs(5);

fn settle(tasks: Vec<Watched>, runtime: &Handle) {
    for task in tasks {
        let abort = task.abort;
        runtime.block_on(async {
            if tokio::time::timeout(SETTLE_MAX, task.done).await.is_err() {
                abort.abort();
            }
        });
    }
}
