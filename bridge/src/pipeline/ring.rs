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
use super::intake::{Intake, IntakeParts};
use super::lane::{Lane, RejectGuard, Work};
use crate::batch::RowBatch;
use crate::blame::Fault;
use crate::format::Format;
use crate::limits::{DEAD_LETTERS_MAX, Limits};
use crate::observe::PipelineMeter;
use crate::outbox::{Closing, Outbox, Pool};
use crate::reject::{Rejected, Rejects};
use crate::sink::{Commit, CourierDoors, Home, Sink};
use crate::source::{Source, Waker};
use crate::transform::Transform;

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
    pub sink: Arc<dyn Sink>,
    /// Couriers of each lane.
    pub couriers_per_lane: usize,
    /// Where refused records go.
    pub dead_letters: DeadLetterOffice,
    /// Turned true when the ring is stopped hard.
    pub abandoned: watch::Sender<bool>,
    /// The bounds.
    pub limits: Limits,
    /// Counters.
    pub meter: Arc<PipelineMeter>,
}

/// What one lane works with.
pub struct Bench {
    /// Bytes to rows.
    pub format: Box<dyn Format>,
    /// Rows to rows.
    pub transforms: Vec<Box<dyn Transform>>,
}

/// Room for receipts: more than there can be payloads and batches out, so that a courier never
/// waits for intake.
const RECEIPTS_MAX: usize = 8_192;

/// Turns the ring on the calling thread until it is told to stop, its source has ended, or
/// something is wrong.
pub fn turn(parts: Parts, alarm: &Arc<Alarm>, runtime: &Handle) -> Result<(), Fault> {
    let (receipts_in, receipts) = mpsc::channel(RECEIPTS_MAX);
    let (reset, reset_seen) = watch::channel(0_u64);
    let (keeper_stop, keeper_stopped) = watch::channel(false);
    let home = Home::new(receipts_in, parts.source.waker());
    let pool = Arc::new(pool(&parts));
    let lent_bytes = Arc::new(AtomicUsize::new(0));
    let (letters, letters_inbox) = mpsc::channel(DEAD_LETTERS_MAX);
    let office = spawn(&parts.name, "letters", alarm, {
        let (office, home) = (parts.dead_letters, home.clone());
        move || office(letters_inbox, home)
    });
    let keeper = watched(runtime, alarm, parts.sink.keeper(keeper_stopped));
    let (mut tasks, mut threads, mut inboxes) = (Vec::new(), Vec::new(), Vec::new());
    for (index, bench) in parts.benches.into_iter().enumerate() {
        let first = index * parts.couriers_per_lane;
        let couriers = (first..first + parts.couriers_per_lane)
            .map(|number| {
                let (sender, inbox) = mpsc::channel(parts.limits.courier_inbox_payloads_max);
                let (home, dead_letters) = (home.clone(), letters.clone());
                let (pool, reset) = (Arc::clone(&pool), reset_seen.clone());
                let commit = commit(&parts.limits);
                let doors = CourierDoors { inbox, home, dead_letters, pool, commit, reset };
                tasks.push(watched(runtime, alarm, parts.sink.courier(number).run(doors)));
                sender
            })
            .collect();
        let (work, inbox) = mpsc::channel::<Work>(parts.limits.lane_inbox_batches_max);
        inboxes.push(work);
        let lane = Lane {
            inbox,
            format: bench.format,
            transforms: bench.transforms,
            encoder: parts.sink.encoder(),
            outbox: Outbox::new(closing(&parts.limits), Arc::clone(&pool), Instant::now()),
            couriers,
            dead_letters: letters.clone(),
            home: home.clone(),
            meter: Arc::clone(&parts.meter),
            lent_bytes: Arc::clone(&lent_bytes),
            guard: RejectGuard::new(&parts.limits),
            rows: RowBatch::default(),
            rejects: Rejects::default(),
        };
        threads.push(spawn(&parts.name, &format!("lane-{index}"), alarm, || lane.run()));
    }
    drop((letters, home));
    let intake = Intake::new(IntakeParts {
        claimer: claimer(&*parts.sink, parts.source.waker(), runtime),
        source: parts.source,
        lanes: inboxes,
        receipts,
        reset,
        alarm: Arc::clone(alarm),
        meter: parts.meter,
        limits: parts.limits,
        lent_bytes,
        pool,
    });
    let end = run(intake);
    if end.is_err() || alarm.stop() == Stop::Now {
        parts.sink.abandon();
        parts.abandoned.send_replace(true);
        tasks.iter().for_each(|task| task.abort.abort());
    }
    join(threads, tasks, office, runtime);
    keeper_stop.send_replace(true);
    settle(vec![keeper], runtime);
    alarm.take_fault().map_or(end, Err)
}

fn run(intake: Intake) -> Result<(), Fault> {
    catch_unwind(AssertUnwindSafe(|| intake.run()))
        .unwrap_or_else(|panic| Err(Fault::us(format!("the intake panicked: {}", words(&panic)))))
}

fn claimer(sink: &dyn Sink, waker: Waker, runtime: &Handle) -> Option<Claimer> {
    Some(Claimer::new(sink.claims()?, runtime.clone(), waker))
}

fn closing(limits: &Limits) -> Closing {
    Closing {
        payload_bytes_max: limits.payload_bytes_max,
        payload_rows_max: limits.payload_rows_max,
        open_bytes_max: limits.open_bytes_max,
    }
}

/// Room for the buffers of a commit of each courier.
fn pool(parts: &Parts) -> Pool {
    let couriers = parts.benches.len() * parts.couriers_per_lane;
    Pool::new(couriers * parts.limits.commit_bytes_max)
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
