//! Watches a pipeline's sinks and says where rows go: to its own, or to its fallback. One task for
//! each ring that has one. It decides nothing by itself: `switch` does; it looks, asks, tells.
//!
//! ```text
//!   first.trouble() ──▶ switch ──ask──▶ check() of the other ──▶ switch ──turn──▶ intake
//! ```
//!
//! Asking writes nothing: it is what `bridge check` does, and that no table is suspended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::ring::SinkParts;
use super::switch::Switch;
use crate::batch::Way;
use crate::blame::Fault;
use crate::config::units::show_duration;
use crate::observe::PipelineMeter;
use crate::sink::FindingState;
use crate::source::Waker;

/// Time between two looks at a sink's trouble.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A server that needs longer to answer a few questions is not well.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// When a pipeline turns to its fallback, and when it tries to return.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Switching {
    /// Trouble of the first that lasts so long.
    pub after: Duration,
    /// How often the first is asked whether it is well again.
    pub retry_every: Duration,
}

/// Watches both sinks of one ring.
pub struct Watchman {
    pipeline: Arc<str>,
    sinks: [SinkParts; 2],
    switching: Switching,
    switch: Switch,
    orders: watch::Sender<Way>,
    waker: Waker,
    meter: Arc<PipelineMeter>,
    /// Why the first was left, or is not returned to.
    why: String,
    left_at: Instant,
}

impl Watchman {
    /// Rows go to the first of both; the second rests.
    pub fn new(
        pipeline: &Arc<str>,
        sinks: &[SinkParts],
        switching: Switching,
        orders: watch::Sender<Way>,
        waker: Waker,
        meter: Arc<PipelineMeter>,
    ) -> Watchman {
        let [first, second] = sinks else { unreachable!("there is a first and a second") };
        second.sink.rest(true);
        Watchman {
            pipeline: Arc::clone(pipeline),
            sinks: [first.clone(), second.clone()],
            switch: Switch::new(switching.after, switching.retry_every),
            switching,
            orders,
            waker,
            meter,
            why: String::new(),
            left_at: Instant::now(),
        }
    }

    /// Watches until `stop` turns true.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), Fault> {
        loop {
            tokio::select! {
                // An error means that whoever could stop us is gone.
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
                () = self.look() => {}
            }
        }
    }

    fn of(&self, way: Way) -> &SinkParts {
        &self.sinks[way.index()]
    }

    async fn look(&mut self) {
        tokio::time::sleep(LOOK_EVERY).await;
        let trouble = self.of(Way::First).sink.trouble();
        let asked = self.switch.look(Instant::now(), trouble.is_some());
        if self.switch.way() == Way::Second {
            self.remark();
        }
        let Some(asked) = asked else { return };
        let answer = self.ask(asked).await;
        let now = Instant::now();
        if asked == Way::Second {
            // It may be over by now.
            let trouble = self.of(Way::First).sink.trouble();
            self.switch.look(now, trouble.is_some());
            self.why = trouble.unwrap_or_default();
        }
        let turned = self.switch.answered(now, answer.is_ok());
        match (turned, answer) {
            (Some(way), _) => self.turn(way, now),
            (None, Err(why)) if asked == Way::Second => {
                let (pipeline, name) = (&self.pipeline, &self.of(asked).name);
                tracing::warn!(
                    "{pipeline}: the fallback, {name}, would take no rows either: {why}"
                );
            }
            (None, Err(why)) => self.why = why,
            (None, Ok(())) => {}
        }
    }

    /// Whether a sink that rests would take rows; if not, why.
    async fn ask(&self, way: Way) -> Result<(), String> {
        let sink = &self.of(way).sink;
        // What couriers said last is old by now.
        sink.rest(true);
        let Ok(findings) = tokio::time::timeout(ANSWER_MAX, sink.check(false)).await else {
            return Err(format!("no answer within {} s", ANSWER_MAX.as_secs()));
        };
        let failed = findings.into_iter().find(|finding| finding.state == FindingState::Fail);
        match failed {
            Some(finding) => Err(format!("{} {}: {}", finding.subject, finding.name, finding.note)),
            None => sink.trouble().map_or(Ok(()), Err),
        }
    }

    fn turn(&mut self, way: Way, now: Instant) {
        self.of(way).sink.rest(false);
        self.of(way.other()).sink.rest(true);
        let (pipeline, name) = (&self.pipeline, &self.of(way).name);
        match way {
            Way::Second => {
                tracing::warn!(
                    "{pipeline}: turning to the fallback, {name}, for {} s of trouble: {}; \
                     nothing lost, what is not known to be stored is read again",
                    self.switching.after.as_secs_f64(),
                    self.why
                );
                self.left_at = now;
                self.remark();
            }
            Way::First => {
                let seconds = now.duration_since(self.left_at).as_secs_f64();
                tracing::info!(
                    "{pipeline}: {name} would take rows again: returning from the \
                     fallback after {seconds:.1} s"
                );
                self.meter.set_remark("");
            }
        }
        self.orders.send_replace(way);
        (self.waker)();
    }

    /// For the status line and `/readyz`.
    fn remark(&self) {
        let seconds = Duration::from_secs(self.left_at.elapsed().as_secs());
        self.meter.set_remark(format!(
            "rows go to the fallback, {}, for {}: {}",
            self.of(Way::Second).name,
            show_duration(seconds),
            self.why
        ));
    }
}
