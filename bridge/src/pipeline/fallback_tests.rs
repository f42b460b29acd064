//! A whole ring with two sinks that take rows by a script: whoever's turn it is stores so many, the
//! other one holds what it has and says that it is in trouble. Whatever is stored where, all of it
//! is stored.

use std::collections::HashSet;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

use super::{Alarm, Stop, Surroundings, Switching, open, turn};
use crate::batch::{Line, Payload, Receipt, RecordBatch, RowBatch, Verdict, Way};
use crate::blame::Fault;
use crate::config::{self, Overrides, Plan};
use crate::observe::PipelineMeter;
use crate::outbox::{Destination, Outbox};
use crate::pipeline::ring::SinkParts;
use crate::reject::Rejects;
use crate::sink::{BoxFuture, Courier, CourierDoors, Encoder, Finding, Sink};

const DEADLINE: Duration = Duration::from_secs(60);

/// Whose turn it is, and how many rows it still stores. The last turn has no end.
struct Script {
    turns: Vec<(Way, usize)>,
    /// What each sink stored, in order: partition and offset.
    stored: [Vec<(u32, i64)>; 2],
}

/// One of the two.
struct Scripted {
    way: Way,
    script: Arc<Mutex<Script>>,
    /// Rises when a turn is over.
    over: watch::Sender<u64>,
    interrupted: watch::Sender<u64>,
    /// Whether encoders wait until it is this sink's turn, as for a table.
    asks: bool,
    runtime: Handle,
}

impl Scripted {
    fn is_open(&self) -> bool {
        self.script.lock().expect("whole").turns[0].0 == self.way
    }

    fn store(&self, payload: &Payload) {
        let mut script = self.script.lock().expect("whole");
        let lines = payload.buffers.lines.iter().map(|line| (line.partition.0, line.offset));
        script.stored[self.way.index()].extend(lines);
        let left = script.turns[0].1.saturating_sub(payload.buffers.lines.len());
        script.turns[0].1 = left;
        if left == 0 && script.turns.len() > 1 {
            script.turns.remove(0);
            drop(script);
            self.over.send_modify(|count| *count += 1);
        }
    }

    /// Waits until it is open.
    async fn opened(&self) {
        let mut over = self.over.subscribe();
        while !self.is_open() {
            over.changed().await.expect("the sender is borrowed");
        }
    }
}

/// The sink as a ring has it.
#[derive(Clone)]
struct Fake(Arc<Scripted>);

impl Sink for Fake {
    fn check(&self, _: bool) -> BoxFuture<'_, Vec<Finding>> {
        let found = match self.0.is_open() {
            true => Finding::ok("sink", "fake", "open"),
            false => Finding::failed("sink", "fake", &Fault::world("closed")),
        };
        Box::pin(async { vec![found] })
    }

    fn encoder(&self) -> Box<dyn Encoder> {
        Box::new(self.clone())
    }

    fn courier(&self, _: usize) -> Box<dyn Courier> {
        Box::new(self.clone())
    }

    fn keeper(&self, mut stop: watch::Receiver<bool>) -> BoxFuture<'static, Result<(), Fault>> {
        Box::pin(async move {
            let _ = stop.wait_for(|stop| *stop).await;
            Ok(())
        })
    }

    fn abandon(&self) {
        self.interrupt();
    }

    fn trouble(&self) -> Option<String> {
        (!self.0.is_open()).then(|| "closed".to_owned())
    }

    fn interrupt(&self) {
        self.0.interrupted.send_modify(|count| *count += 1);
    }
}

impl Encoder for Fake {
    fn encode(
        &mut self,
        records: &RecordBatch,
        rows: &RowBatch,
        _: &mut Rejects,
        outbox: &mut Outbox,
    ) -> Result<(), Fault> {
        if self.0.asks {
            let mut interrupted = self.0.interrupted.subscribe();
            self.0.runtime.block_on(async {
                tokio::select! {
                    _ = interrupted.changed() => Err(Fault::operator("interrupted")),
                    () = self.0.opened() => Ok(()),
                }
            })?;
        }
        let to = Destination { table: 0, courier: 0, route: records.route };
        let payload = outbox.payload(to, &"t".into(), &records.ticket);
        for row in &rows.rows {
            payload.buffers.bytes.push(b'x');
            payload.buffers.lines.push(Line {
                offset: records.get(row.source as usize).offset,
                partition: records.partition,
                row: 0,
                layout: 0,
                end: payload.buffers.bytes.len() as u32,
            });
        }
        Ok(())
    }
}

impl Courier for Fake {
    fn run(self: Box<Self>, mut doors: CourierDoors) -> BoxFuture<'static, Result<(), Fault>> {
        Box::pin(async move {
            while let Some(payload) = doors.inbox.recv().await {
                // What was raised before it came is no matter of this payload's.
                doors.reset.mark_unchanged();
                let is_stored = tokio::select! {
                    biased;
                    Ok(()) = doors.reset.changed() => false,
                    () = self.0.opened() => true,
                };
                let rows = payload.buffers.lines.len() as u64;
                let verdict = match is_stored {
                    true => {
                        self.0.store(&payload);
                        Verdict::Stored
                    }
                    false => Verdict::Rewind { route: payload.route },
                };
                doors.pool.put(payload.buffers);
                let rows = if is_stored { rows } else { 0 };
                doors.home.send(Receipt { shares: payload.shares, verdict, rows }).await;
            }
            Ok(())
        })
    }
}

const RECORDS: usize = 60_000;
const PARTITIONS: usize = 3;

/// Runs the script to the end of the records; what each sink stored, and what was counted.
fn run(turns: &[(Way, usize)], asks: bool) -> ([Vec<(u32, i64)>; 2], Arc<PipelineMeter>) {
    let text = format!(
        "cache = false\n[pipeline.p]\nsource = {{ kind = \"memory\", count = {RECORDS}, partitions = \
         {PARTITIONS} }}\nsink = {{ kind = \"memory\" }}\nrejects = {{ file = \"/dev/null\" }}\n\
         limits = {{ lanes = 2, drain = \"200ms\", batch_records_max = 500, payload_rows_max = 1000 }}\n"
    );
    let base = Path::new("/");
    let with = config::Surroundings { env: &|_| None, host: "h".into(), base };
    let plan = Plan::parse("t.toml", &text, &with, &Overrides::default());
    let plan = plan.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let (base, cache) = (base.to_owned(), None);
    let around = Surroundings { base, cache, runtime: runtime.handle().clone() };
    let meter = Arc::new(PipelineMeter::default());
    let mut parts = open(&plan.pipelines[0], &around, &meter).expect("it opens");
    let script = Script { turns: turns.to_vec(), stored: Default::default() };
    let (script, over) = (Arc::new(Mutex::new(script)), watch::Sender::new(0));
    let sink = |way: Way| {
        let scripted = Scripted {
            way,
            script: Arc::clone(&script),
            over: over.clone(),
            interrupted: watch::Sender::new(0),
            asks,
            runtime: runtime.handle().clone(),
        };
        let sink = Arc::new(Fake(Arc::new(scripted)));
        let (name, rows_stored) = (format!("{way:?}").into(), Arc::default());
        SinkParts { name, sink, couriers_per_lane: 1, rows_stored }
    };
    let after = Duration::from_millis(50);
    parts.sink = sink(Way::First);
    parts.fallback = Some((sink(Way::Second), Switching { after, retry_every: after }));
    let alarm = Arc::new(Alarm::default());
    let (ended, end) = channel();
    let ring = std::thread::spawn({
        let (alarm, handle) = (Arc::clone(&alarm), runtime.handle().clone());
        move || ended.send(turn(parts, &alarm, &handle))
    });
    let end = match end.recv_timeout(DEADLINE) {
        Ok(end) => end,
        Err(RecvTimeoutError::Timeout) => {
            alarm.ask(Stop::Now);
            let left = script.lock().expect("whole").turns.clone();
            panic!("it does not end; left of the script: {left:?}");
        }
        Err(error) => panic!("{error}"),
    };
    assert!(end.is_ok(), "{end:?}");
    ring.join().expect("no panic").expect("it was waited for");
    let stored = std::mem::take(&mut script.lock().expect("whole").stored);
    (stored, meter)
}

/// All is stored somewhere; and within a sink a record comes after the one before it in its
/// partition, but for what went to the other sink or is stored again.
fn check(turns: &[(Way, usize)], asks: bool) {
    let (stored, meter) = run(turns, asks);
    let union: HashSet<(u32, i64)> = stored.iter().flatten().copied().collect();
    assert_eq!(union.len(), RECORDS);
    for (own, other) in [(&stored[0], &stored[1]), (&stored[1], &stored[0])] {
        let elsewhere: HashSet<&(u32, i64)> = other.iter().collect();
        for partition in 0..PARTITIONS as u32 {
            let mut next = 0;
            for (_, offset) in own.iter().filter(|(of, _)| *of == partition) {
                let skipped = (next..*offset).find(|at| !elsewhere.contains(&(partition, *at)));
                let runs = || [runs(own, partition), runs(other, partition)];
                assert_eq!(skipped, None, "before {offset} of {partition}: {:?}", runs());
                next = offset + 1;
            }
        }
    }
    let seconds = turns.iter().filter(|(way, _)| *way == Way::Second).count() as u64;
    assert_eq!(meter.fallbacks.get(), seconds);
    let is_second = turns.last().is_some_and(|(way, _)| *way == Way::Second);
    assert_eq!(meter.fallback_active.get(), i64::from(is_second));
    assert_eq!(meter.remark.lock().expect("whole").is_empty(), !is_second);
    assert!(meter.rows_stored.get() >= RECORDS as u64);
}

/// The offsets of a partition as runs without a gap, for people.
fn runs(stored: &[(u32, i64)], partition: u32) -> Vec<(i64, i64)> {
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for (_, offset) in stored.iter().filter(|(of, _)| *of == partition) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *offset => *last = *offset,
            _ => runs.push((*offset, *offset)),
        }
    }
    runs
}

const WITHOUT_END: usize = usize::MAX;

#[test]
fn nothing_is_lost_on_the_way_to_the_fallback_and_back() {
    use Way::{First, Second};
    let turns = [(First, 5_000), (Second, 8_000), (First, 7_000), (Second, 3_000), (First, 100)];
    check(&[&turns[..], &[(Second, 12_000), (First, WITHOUT_END)]].concat(), false);
}

#[test]
fn a_lane_that_waits_for_a_table_goes_along() {
    use Way::{First, Second};
    check(&[(Second, 9_000), (First, 9_000), (Second, WITHOUT_END)], true);
}

#[test]
fn a_first_that_takes_all_has_no_fallback() {
    check(&[(Way::First, WITHOUT_END)], false);
}
