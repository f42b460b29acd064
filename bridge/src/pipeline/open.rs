//! From a plan to the parts of a ring. Knocks on the doors; what is missing and may be made is
//! made here, before the first record is read.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::fallback::Switching;
use super::handover::Handover;
use super::reload::{Reloader, Step};
use super::ring::{Bench, DeadLetterOffice, Parts, SinkParts};
use super::{sample, shared};
use crate::blame::{Blame, Fault};
use crate::config::{FallbackPlan, PipelinePlan};
use crate::format::DecoderContext;
use crate::kafka;
use crate::kafka::check::Sample;
use crate::names::Names;
use crate::observe::{Counter, PipelineMeter, TransformMeter};
use crate::rejects::{self, DeadLetters};
use crate::schemas::{self, Doors};
use crate::sink::{Finding, FindingState, Sink, SinkContext, SinkPlan};
use crate::source::Opened;
use crate::transform::{LoadContext, Loaded, Transform, columns};

/// What does not change between a check and a run.
pub struct Surroundings {
    /// The folder that relative paths start from.
    pub base: PathBuf,
    /// Where machine code is kept.
    pub cache: Option<PathBuf>,
    /// Where couriers run.
    pub runtime: Handle,
}

/// A pipeline whose parts are loaded but not connected.
pub(super) struct Loading {
    pub(super) names: Arc<Names>,
    transforms: Vec<LoadedStep>,
    loads: LoadContext,
    pub(super) sink: SinkParts,
    fallback: Option<(SinkParts, Switching)>,
    pub(super) also: Vec<SinkParts>,
}

/// Transforms by name.
pub(super) type Named = Vec<(String, Box<dyn Transform>)>;

/// A transform, loaded, and what its file looked like before.
struct LoadedStep {
    loaded: Arc<dyn Loaded>,
    known: Option<String>,
}

pub(super) fn load(
    plan: &PipelinePlan,
    around: &Surroundings,
    meter: &Arc<PipelineMeter>,
) -> Result<Loading, Fault> {
    let names = Arc::new(Names::default());
    let loads = LoadContext {
        names: Arc::clone(&names),
        emits: plan.takes_emitted(),
        base: around.base.clone(),
        cache: around.cache.clone(),
    };
    let transforms = plan.transforms.iter().map(|transform| {
        let known = transform.looks(&loads);
        Ok(LoadedStep { loaded: transform.load(&loads)?.into(), known })
    });
    let transforms = transforms.collect::<Result<Vec<_>, Fault>>()?;
    let context = SinkContext {
        pipeline: Arc::clone(&plan.name),
        names: Arc::clone(&names),
        shape: Arc::new(plan.shape.clone()),
        delivery: plan.delivery,
        meter: Arc::clone(meter),
        runtime: around.runtime.clone(),
    };
    let sink = build("sink", plan.sink_kind, &*plan.sink, &context)?;
    let fallback = plan.fallback.as_ref().map(|fallback| {
        let FallbackPlan { after, retry_every, .. } = *fallback;
        let second = build("fallback", fallback.sink_kind, &*fallback.sink, &context)?;
        Ok::<_, Fault>((second, Switching { after, retry_every }))
    });
    let fallback = fallback.transpose()?;
    let also = (1..).zip(&plan.also).map(|(number, also)| {
        build(&format!("also-{number}"), also.sink_kind, &*also.sink, &context)
    });
    let also = also.collect::<Result<_, Fault>>()?;
    Ok(Loading { names, transforms, loads, sink, fallback, also })
}

/// A sink, and the count of its rows under the name of its section.
fn build(
    section: &str,
    kind: &str,
    plan: &dyn SinkPlan,
    context: &SinkContext,
) -> Result<SinkParts, Fault> {
    let addresses: Vec<String> = plan.doors().into_iter().flatten().collect();
    let name = format!("{kind} {}", addresses.join(", "));
    let name = match section.starts_with("also") {
        true => format!("{section}, {}", name.trim_end()),
        false => name.trim_end().to_owned(),
    };
    let rows_stored = Arc::<Counter>::default();
    let mut sinks = context.meter.sinks.lock().expect("no one panics with it");
    sinks.push((section.to_owned(), Arc::clone(&rows_stored)));
    drop(sinks);
    Ok(SinkParts {
        name: name.into(),
        sink: plan.build(context.clone())?,
        couriers_per_lane: plan.couriers_per_lane(),
        rows_stored,
    })
}

/// Makes the parts of a pipeline's ring: modules compiled, tables as they must be, the group
/// joined.
pub fn open(
    plan: &PipelinePlan,
    around: &Surroundings,
    meter: &Arc<PipelineMeter>,
) -> Result<Parts, Fault> {
    let Loading { names, transforms, loads, sink, fallback, also } = load(plan, around, meter)?;
    let second = fallback.iter().map(|(second, _)| second);
    for way in [&sink].into_iter().chain(second).chain(&also) {
        prepare(&plan.name, &way.sink, &around.runtime)?;
    }
    let (abandoned, abandoned_seen) = watch::channel(false);
    let doors = Doors {
        pipeline: Arc::clone(&plan.name),
        meter: Arc::clone(meter),
        abandoned: abandoned_seen.clone(),
    };
    plan.value.open(doors.clone())?;
    plan.key.open(doors)?;
    let context = DecoderContext { names, key: plan.key.clone(), admission: plan.admission };
    let (benches, reloader) = benches(plan, &context, transforms, loads, meter)?;
    let ignored = rejects::own_topics(&plan.rejects);
    let Opened { source, name_of, reread, group } = plan.source.open(&plan.limits, &ignored)?;
    if let Some(group) = group {
        sink.sink.join(group);
    }
    let letters = DeadLetters {
        pipeline: Arc::clone(&plan.name),
        shelf: rejects::shelf(&plan.rejects, plan.source.kafka())?,
        name_of,
        reread,
        meter: Arc::clone(meter),
        abandoned: abandoned_seen,
    };
    let dead_letters: DeadLetterOffice = Box::new(move |inbox, home| letters.run(inbox, &home));
    Ok(Parts {
        name: Arc::clone(&plan.name),
        source,
        benches,
        sink,
        fallback,
        also,
        dead_letters,
        abandoned,
        limits: plan.limits.clone(),
        meter: Arc::clone(meter),
        reloader,
    })
}

/// What each lane works with, and what replaces its transforms, if there are any.
fn benches(
    plan: &PipelinePlan,
    context: &DecoderContext,
    transforms: Vec<LoadedStep>,
    loads: LoadContext,
    meter: &PipelineMeter,
) -> Result<(Vec<Bench>, Option<Reloader>), Fault> {
    let mut steps = Vec::new();
    let mut meters: Vec<Arc<TransformMeter>> = Vec::new();
    for (transform, LoadedStep { loaded, known }) in plan.transforms.iter().zip(&transforms) {
        let own = Arc::new(TransformMeter::default());
        let mut all = meter.transforms.lock().expect("no one panics with it");
        all.push((transform.name().to_owned(), Arc::clone(&own)));
        let (transform, loaded) = (Arc::clone(transform), Arc::clone(loaded));
        steps.push(Step::new(transform, Arc::clone(&own), loaded, known.clone()));
        meters.push(own);
    }
    let mut benches = Vec::new();
    for _ in 0..plan.limits.lanes {
        let instances = transforms.iter().zip(&meters);
        let instances = instances.map(|(step, meter)| step.loaded.instance(Arc::clone(meter)));
        let instances = instances.collect::<Result<Vec<_>, Fault>>()?;
        benches.push(Bench {
            format: plan.value.decoder(context),
            transforms: columns::around(&plan.shape, &context.names, instances),
            handover: Arc::new(Handover::behind(columns::before(&plan.shape))),
        });
    }
    let lanes = benches.iter().map(|bench| Arc::clone(&bench.handover)).collect();
    let reloader = Reloader::new(Arc::clone(&plan.name), loads, steps, lanes);
    Ok((benches, (!plan.transforms.is_empty()).then_some(reloader)))
}

/// What is missing in the database is made; what cannot work stops the start. A database that is
/// away is no reason to stop: couriers wait for it.
fn prepare(name: &str, sink: &Arc<dyn Sink>, runtime: &Handle) -> Result<(), Fault> {
    for finding in runtime.block_on(sink.check(true)) {
        let said = format!("{} {}: {}", finding.subject, finding.name, finding.note);
        let fix = finding.fix.map(|fix| format!("; fix: {fix}")).unwrap_or_default();
        match (finding.state, finding.blame) {
            (FindingState::Fail, Blame::Operator | Blame::Us) => {
                let fault = Fault::operator(format!("pipeline {name}: {said}"));
                return Err(match fix.strip_prefix("; fix: ") {
                    Some(fix) => fault.hint(fix),
                    None => fault,
                });
            }
            (FindingState::Fail | FindingState::Warn, _) => tracing::warn!("{name}: {said}{fix}"),
            (FindingState::Ok, _) => {}
        }
    }
    Ok(())
}

/// Knocks on every door of a pipeline and changes nothing.
pub fn check(plan: &PipelinePlan, around: &Surroundings) -> Vec<Finding> {
    let meter = Arc::new(PipelineMeter::default());
    let mut findings = knock_source(plan, around);
    match load(plan, around, &meter) {
        Err(fault) => findings.push(Finding::failed("pipeline", &*plan.name, &fault)),
        Ok(loading) => {
            let transforms = start_transforms(plan, &loading, &mut findings);
            if transforms.len() == plan.transforms.len() {
                try_samples(plan, &loading.names, transforms, &mut findings);
            }
            knock_sinks(plan, around, &loading, &mut findings);
        }
    }
    findings
}

/// Knocks on the doors that records come by, and their schemas.
pub(super) fn knock_source(plan: &PipelinePlan, around: &Surroundings) -> Vec<Finding> {
    let ignored = rejects::own_topics(&plan.rejects);
    let mut findings = match plan.source.kafka() {
        Some(kafka) => kafka::check::check(kafka, &plan.rejects, &ignored, false),
        None => check_source(plan),
    };
    let topics = findings.iter().filter(|finding| finding.subject == "topic");
    let topics = topics.filter(|finding| finding.state == FindingState::Ok && finding.name != "…");
    let topics: Vec<String> = topics.map(|finding| finding.name.clone()).collect();
    for inquiry in plan.value.inquiry().into_iter().chain(plan.key.inquiry()) {
        findings.extend(around.runtime.block_on(schemas::look(&inquiry, &topics)));
    }
    findings
}

/// An instance of each transform; those that do not start are among the findings only.
pub(super) fn start_transforms(
    plan: &PipelinePlan,
    loading: &Loading,
    findings: &mut Vec<Finding>,
) -> Named {
    let mut transforms = Vec::new();
    for (transform, step) in plan.transforms.iter().zip(&loading.transforms) {
        let loaded = &step.loaded;
        let (name, instance) = (transform.name(), loaded.instance(Arc::default()));
        match instance {
            Err(fault) => findings.push(Finding::failed("transform", name, &fault)),
            Ok(instance) => {
                findings.push(Finding::ok("transform", name, loaded.summary()));
                transforms.push((name.to_owned(), instance));
            }
        }
    }
    transforms
}

/// Knocks on the doors that rows go by.
pub(super) fn knock_sinks(
    plan: &PipelinePlan,
    around: &Surroundings,
    loading: &Loading,
    findings: &mut Vec<Finding>,
) {
    findings.extend(around.runtime.block_on(loading.sink.sink.check(false)));
    if let (Some(plans), Some((second, _))) = (&plan.fallback, &loading.fallback) {
        let both = [&*loading.sink.sink, &*second.sink];
        let looked = shared::look((plan.sink_kind, &*plan.sink), both, plans);
        findings.extend(around.runtime.block_on(looked));
    }
    for SinkParts { name, sink, .. } in &loading.also {
        let found = around.runtime.block_on(sink.check(false)).into_iter();
        findings.extend(found.map(|finding| of_also(name, finding)));
    }
}

/// The finding of a sink that gets all rows as well: seen to be its own.
fn of_also(name: &str, finding: Finding) -> Finding {
    let section = name.split_once(", ").map_or(name, |(section, _)| section);
    Finding { name: format!("{} ({section})", finding.name), ..finding }
}

/// Knocks on the door of a source that is not Kafka.
fn check_source(plan: &PipelinePlan) -> Vec<Finding> {
    match plan.source.sample(&[], 1) {
        Err(fault) => vec![Finding::failed("source", plan.source_kind, &fault)],
        Ok(samples) => {
            let note = format!("a topic of the source `{}`", plan.source_kind);
            let found = |s: &Sample| Finding::ok("topic", &*s.partition.topic, note.clone());
            samples.iter().map(found).collect()
        }
    }
}

/// Tries a few records that wait in the topics, if there are any.
fn try_samples(
    plan: &PipelinePlan,
    names: &Arc<Names>,
    transforms: Named,
    findings: &mut Vec<Finding>,
) {
    let is_there = |finding: &Finding| finding.subject == "topic";
    if !findings.iter().any(|f| is_there(f) && f.state == FindingState::Ok) {
        return;
    }
    let key = plan.key.clone();
    let context = DecoderContext { names: Arc::clone(names), key, admission: plan.admission };
    let ignored = rejects::own_topics(&plan.rejects);
    let tried = plan.source.sample(&ignored, sample::RECORDS).and_then(|samples| {
        sample::Bench::new(plan, &context, transforms).try_on(samples, findings)
    });
    if let Err(fault) = tried {
        findings.push(Finding::failed("sample", &*plan.name, &fault));
    }
}
