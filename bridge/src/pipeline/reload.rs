//! New modules for a pipeline that runs. Everything that can be refused is refused before a lane
//! hears of it: the module is loaded beside the old one, and an instance of it started for every
//! lane. Then all lanes get theirs, each between two of its batches.
//!
//! ```text
//! loaded ▶ an instance for each lane ▶ handed over ▶ taken with the lane's next batch
//!    └──────────────┴── refused: said in log, meter and /status; the old one goes on
//! ```

use std::sync::Arc;

use super::handover::Handover;
use crate::blame::Fault;
use crate::observe::{ModuleState, TransformMeter, unix_ms};
use crate::transform::{LoadContext, Loaded, Transform, TransformPlan};

/// Replaces modules of one pipeline.
pub struct Reloader {
    /// The pipeline's name.
    pub name: Arc<str>,
    context: LoadContext,
    steps: Vec<Step>,
    lanes: Vec<Arc<Handover>>,
    /// What the last change replaced, by step.
    before: Vec<(usize, Arc<dyn Loaded>)>,
}

/// One transform of the pipeline.
pub struct Step {
    plan: Arc<dyn TransformPlan>,
    meter: Arc<TransformMeter>,
    now: Arc<dyn Loaded>,
    /// What its file looked like when it was loaded, or refused.
    known: Option<String>,
    /// The same at the last look.
    seen: Option<String>,
}

impl Step {
    /// A transform that runs; `known` is what its file looked like before it was loaded.
    pub fn new(
        plan: Arc<dyn TransformPlan>,
        meter: Arc<TransformMeter>,
        now: Arc<dyn Loaded>,
        known: Option<String>,
    ) -> Step {
        let state = state(&*now);
        *meter.module.lock().expect("no one panics with it") = state;
        Step { plan, meter, now, seen: known.clone(), known }
    }
}

/// What `/status` says of a module that runs from now on.
fn state(loaded: &dyn Loaded) -> ModuleState {
    let (from, sha256) = (loaded.from().to_owned(), loaded.sha256().to_owned());
    ModuleState { from, sha256, since_ms: unix_ms(), refused: None }
}

/// A module in the log: where it is from, and how its hash begins, for a new version often has the
/// old one's name.
fn told(loaded: &dyn Loaded) -> String {
    let sha256 = loaded.sha256();
    format!("{} {}", loaded.from(), sha256.get(..8).unwrap_or(sha256)).trim_end().to_owned()
}

impl Reloader {
    /// For a pipeline with these transforms, whose lanes look here.
    pub fn new(
        name: Arc<str>,
        context: LoadContext,
        steps: Vec<Step>,
        lanes: Vec<Arc<Handover>>,
    ) -> Reloader {
        Reloader { name, context, steps, lanes, before: Vec::new() }
    }

    /// Looks at the files of watched transforms; takes those that have changed and have rested
    /// since the last look, for a file is not written at once.
    pub fn look(&mut self) {
        let mut ready = Vec::new();
        for (index, step) in self.steps.iter_mut().enumerate() {
            if !step.plan.is_watched() {
                continue;
            }
            let looks = step.plan.looks(&self.context);
            // A file that is gone for a moment is being replaced.
            if looks.is_some() && looks == step.seen && looks != step.known {
                ready.push(index);
            }
            step.seen = looks;
        }
        if !ready.is_empty() {
            // It is told where it happened.
            let _ = self.reload_some(&ready);
        }
    }

    /// Does what modules leave to others, those that were replaced included.
    pub fn tend(&self) {
        for step in &self.steps {
            step.now.tend(&step.meter);
        }
        for (index, loaded) in &self.before {
            loaded.tend(&self.steps[*index].meter);
        }
    }

    /// Takes every module that has changed; what was done, in words.
    pub fn reload(&mut self) -> Result<String, Fault> {
        let all: Vec<usize> = (0..self.steps.len()).collect();
        self.reload_some(&all)
    }

    /// Takes those of these modules that have changed: all of them, or none.
    fn reload_some(&mut self, which: &[usize]) -> Result<String, Fault> {
        let mut new: Vec<(usize, Arc<dyn Loaded>)> = Vec::new();
        for &index in which {
            let step = &mut self.steps[index];
            // Before it is loaded: what changes meanwhile is seen as a change.
            step.known = step.plan.looks(&self.context);
            match step.plan.load_changed(&self.context, &step.now) {
                Ok(Some(loaded)) => new.push((index, loaded)),
                Ok(None) => {}
                Err(fault) => return Err(self.refuse(index, fault)),
            }
        }
        if new.is_empty() {
            return Ok("no module has changed".to_owned());
        }
        self.hand_over(new)
    }

    /// Undoes the last change; once more, and it is done again.
    pub fn roll_back(&mut self) -> Result<String, Fault> {
        if self.before.is_empty() {
            let message = "no module was replaced since the start, so there is no way back";
            return Err(Fault::operator(message));
        }
        let before = self.before.clone();
        self.hand_over(before)
    }

    /// Lets every module in the shadow take the place of the one that runs.
    pub fn promote(&mut self) -> Result<String, Fault> {
        let steps = self.steps.iter().enumerate();
        let candidates = steps.filter_map(|(index, step)| Some((index, step.now.candidate()?.1)));
        let candidates: Vec<_> = candidates.collect();
        if candidates.is_empty() {
            return Err(Fault::operator("no module is in the shadow of another"));
        }
        self.hand_over(candidates)
    }

    /// Starts an instance for every lane, and hands them over if all have started.
    fn hand_over(&mut self, new: Vec<(usize, Arc<dyn Loaded>)>) -> Result<String, Fault> {
        let mut for_lanes: Vec<Vec<(usize, Box<dyn Transform>)>> = Vec::new();
        for _ in &self.lanes {
            let mut instances = Vec::new();
            for (index, loaded) in &new {
                match loaded.instance(Arc::clone(&self.steps[*index].meter)) {
                    Ok(instance) => instances.push((*index, instance)),
                    Err(fault) => return Err(self.refuse(*index, fault)),
                }
            }
            for_lanes.push(instances);
        }
        self.before.clear();
        let mut words = Vec::new();
        for (index, loaded) in new {
            let step = &mut self.steps[index];
            words.push(format!("{} is {} now", step.plan.name(), loaded.from()));
            tracing::info!(
                pipeline = &*self.name,
                transform = step.plan.name(),
                "{} takes over from {} ({})",
                told(&*loaded),
                told(&*step.now),
                loaded.summary()
            );
            step.meter.reloads.add(1);
            step.meter.memory_bytes.set(0);
            *step.meter.module.lock().expect("no one panics with it") = state(&*loaded);
            self.before.push((index, std::mem::replace(&mut step.now, loaded)));
        }
        for (lane, instances) in self.lanes.iter().zip(for_lanes) {
            lane.put(instances);
        }
        Ok(words.join(", "))
    }

    /// Says that a module was refused; the same fault, for whoever asked.
    fn refuse(&self, index: usize, fault: Fault) -> Fault {
        let step = &self.steps[index];
        let (name, now) = (step.plan.name(), step.now.from());
        tracing::warn!(
            pipeline = &*self.name,
            transform = name,
            "the new module is refused, {now} goes on: {fault}"
        );
        step.meter.reloads_refused.add(1);
        step.meter.module.lock().expect("no one panics with it").refused = Some(fault.to_string());
        let message = format!("{name} is {now} still: {}", fault.message);
        Fault { message, ..fault }
    }
}
