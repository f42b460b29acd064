//! From a file to a plan. Every section is read by itself, so that one look finds the mistakes
//! of all of them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::draft::{
    FileDraft, HttpDraft, NullValueDraft, PipelineDraft, RejectsDraft, TextOrFalse,
};
use super::expand::Surroundings;
use super::group::Group;
use super::mistake::{Mistake, Mistakes};
use super::node::{Node, Value};
use super::plan::{AlsoPlan, FallbackPlan, KafkaPlan, PipelinePlan, Plan, RejectsPlan};
use super::reach::KafkaDraft;
use super::section::Section;
use super::start::{Start, Until};
use super::suggest::instead_of;
use super::{also, columns, deletes, fallback, kafka, key, limits, table, tables, value};
use crate::format::{Admission, Deletions, FormatPlan, KeyPlan, NullValue};
use crate::kind::{Kind, Unable};
use crate::limits::{Limits, MIB};
use crate::observe::admin;
use crate::shape::Shape;
use crate::sink::{self, Delivery, SinkPlan};
use crate::source::{self, SourcePlan};
use crate::transform;

/// What the command line says besides the file.
#[derive(Clone, Default, Debug)]
pub struct Overrides {
    /// Where every partition starts, this once.
    pub from: Option<Start>,
    /// Where reading ends, this once.
    pub until: Option<Until>,
    /// The part of the instance's id that tells processes on one host apart.
    pub instance: Option<String>,
}

impl Plan {
    /// Reads a file, with this process's environment.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Plan, Box<Mistakes>> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            let message = format!("reading {file}: {error}");
            Mistakes::new(&file, "", vec![Mistake::new("", None, message)])
        })?;
        let base = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let env = |name: &str| std::env::var(name).ok();
        Plan::parse(&file, &text, &Surroundings { env: &env, host: host(), base }, overrides)
    }

    /// Reads a file's text. Nothing but `with` and files named by `${file:…}` is looked at.
    pub fn parse(
        file: &str,
        text: &str,
        with: &Surroundings<'_>,
        overrides: &Overrides,
    ) -> Result<Plan, Box<Mistakes>> {
        let all = |list| Box::new(Mistakes::new(file, text, list));
        let root = Node::parse(text, with).map_err(all)?;
        plan(&Section::at("", root), with, overrides).map_err(all)
    }
}

/// Mistakes as they are found.
#[derive(Default)]
pub(super) struct Found(pub(super) Vec<Mistake>);

impl Found {
    pub(super) fn keep<T>(&mut self, result: Result<T, Mistake>) -> Option<T> {
        result.map_err(|mistake| self.0.push(mistake)).ok()
    }
}

fn plan(
    root: &Section,
    with: &Surroundings<'_>,
    overrides: &Overrides,
) -> Result<Plan, Vec<Mistake>> {
    let mut found = Found::default();
    let draft: FileDraft = found.keep(root.read()).unwrap_or_default();
    let of_kafka: KafkaDraft = found.keep(root.below("kafka").read()).unwrap_or_default();
    found.0.extend(kafka::own_properties(&root.below("kafka"), &of_kafka));
    let mut limits = Limits::default();
    found.keep(limits::apply(&root.below("limits"), &mut limits));
    let (http, admin) = found.keep(http(&root.below("http"))).unwrap_or_default();
    let declared = tables::read(&root.below("tables"), &mut found.0);
    let reach = root.below("kafka");
    let shared = Shared { kafka: of_kafka, reach, limits, with, overrides, declared };
    let mut pipelines = Vec::new();
    let sections = root.below("pipeline").tables();
    for (name, section) in &sections {
        match pipeline(name, section, &shared) {
            Ok(pipeline) => pipelines.push(pipeline),
            Err(mistakes) => found.0.extend(mistakes),
        }
    }
    if sections.is_empty() {
        let mistake = Mistake::new("", None, "the file has no pipeline");
        found.0.push(mistake.help("begin one with [pipeline.NAME] and topics = [\"...\"]"));
    }
    found.0.extend(shared_groups(&pipelines, root));
    if found.0.is_empty() {
        found.0.extend(tables::assign(&shared.declared, &mut pipelines));
        found.0.extend(tables::transact(&shared.declared, &mut pipelines));
    }
    if !found.0.is_empty() {
        return Err(found.0);
    }
    let (base, cache) = (with.base.to_owned(), cache(draft.cache, with));
    Ok(Plan { pipelines, http, admin, base, cache })
}

/// What all pipelines have in common.
pub(super) struct Shared<'a> {
    pub(super) kafka: KafkaDraft,
    /// The section that it was read from.
    pub(super) reach: Section,
    limits: Limits,
    pub(super) with: &'a Surroundings<'a>,
    pub(super) overrides: &'a Overrides,
    declared: Vec<tables::Read>,
}

fn pipeline(
    name: &str,
    section: &Section,
    shared: &Shared<'_>,
) -> Result<PipelinePlan, Vec<Mistake>> {
    let mut found = Found::default();
    found.keep(named(name, section));
    let draft: Option<PipelineDraft> = found.keep(section.read());
    let origin = draft.as_ref().and_then(|draft| source(name, section, draft, shared, &mut found));
    let mut value = found.keep(value::read(&section.below("value")));
    let mut key = found.keep(key::plan(section, value.as_ref().map(|value| value.kind)));
    key.iter_mut().for_each(|key| key.rebase(shared.with.base));
    let mut limits = shared.limits.clone();
    found.keep(limits::apply(&section.below("limits"), &mut limits));
    let delivery = draft.as_ref().and_then(|draft| draft.delivery).unwrap_or_default();
    let null_value = null_value(draft.as_ref());
    let mut transforms = Vec::new();
    for transform in section.each("transform") {
        transforms.extend(found.keep(parse_transform(transform, &limits, delivery)));
    }
    let source = origin.as_ref().map(|(_, source)| source.kafka());
    let Sinks { sink, fallback, also } = sinks(section, source, shared.with.base, &mut found);
    let has_kafka = origin.as_ref().is_none_or(|(_, source)| source.kafka().is_some());
    let rejects = found.keep(rejects(name, section, shared.with.base, has_kafka));
    let asked = Asked {
        sink: sink.as_ref().map(|(_, sink)| &**sink),
        fallback: fallback.as_ref().map(|fallback| &*fallback.sink),
        also: &also,
        key: key.as_ref().unwrap_or(&KeyPlan::Ignore),
        delivery,
        deletes: null_value == NullValue::Delete,
        deletions: value.as_ref().and_then(|value| value.plan.deletions()),
        has_transforms: section.has("transform"),
        separator: value.as_ref().and_then(|value| value.plan.separator()),
    };
    let shape = shape(section, &asked, &shared.declared, &mut found);
    found.keep(kafka::kept(section, source.flatten(), delivery, asked.sink));
    value.iter_mut().for_each(|value| settle(&mut *value.plan, shape.as_ref(), shared));
    if !found.0.is_empty() {
        return Err(found.0);
    }
    const WHOLE: &str = "what was not read left a mistake";
    let draft = draft.expect(WHOLE);
    let (source_kind, source) = origin.expect(WHOLE);
    let value = value.expect(WHOLE);
    let (sink_kind, sink) = sink.expect(WHOLE);
    Ok(PipelinePlan {
        name: name.into(),
        source_kind,
        source,
        value_kind: value.kind,
        value: value.compression.of(value.plan, limits.batch_bytes_max),
        key: key.expect(WHOLE),
        admission: Admission {
            null_value,
            record_bytes_max: draft.record_bytes_max.map_or(4 * MIB, |bytes| bytes.0),
        },
        transforms,
        shape: shape.expect(WHOLE),
        delivery,
        sink_kind,
        sink,
        fallback,
        also,
        rejects: rejects.expect(WHOLE),
        limits,
    })
}

/// Whether a pipeline may be called so.
fn named(name: &str, section: &Section) -> Result<(), Mistake> {
    let sound = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(sound) {
        return Ok(());
    }
    let message = format!("`{name}` cannot name a pipeline: letters, digits, `_` and `-` can");
    Err(section.mistake("", message))
}

/// Tells a format where paths start, and what the table wants of its numbers.
fn settle(value: &mut dyn FormatPlan, shape: Option<&Shape>, shared: &Shared<'_>) {
    value.rebase(shared.with.base);
    value.keep_exact(&shape.map(Shape::exact_fields).unwrap_or_default());
}

/// A sink and its kind.
type Chosen = (&'static str, Box<dyn SinkPlan>);

/// Where a pipeline's rows go.
#[derive(Default)]
struct Sinks {
    sink: Option<Chosen>,
    fallback: Option<FallbackPlan>,
    also: Vec<AlsoPlan>,
}

/// The sink, its fallback, and those that get all rows as well. `source` is there if it was read,
/// and holds Kafka if it is that.
fn sinks(
    section: &Section,
    source: Option<Option<&KafkaPlan>>,
    base: &Path,
    found: &mut Found,
) -> Sinks {
    let own = section.below("sink");
    let Some((kind, mut sink)) = found.keep(parse_kind(&own, sink::KINDS, "kind", "questdb"))
    else {
        return Sinks::default();
    };
    sink.rebase(base);
    let mut fallback = found.keep(fallback::plan(section, (kind, &*sink, &own), base)).flatten();
    let mut also = also::plans(section, (kind, &*sink), base, &mut found.0);
    let sections = section.each("also");
    let second = fallback.as_mut().map(|second| (section.below("fallback"), &mut second.sink));
    let more = sections.into_iter().zip(also.iter_mut().map(|also| &mut also.sink));
    for (its, sink) in [(own, &mut sink)].into_iter().chain(second).chain(more) {
        if let Some(source) = source {
            let able = sink.adopt(source);
            found.keep(able.map_err(|unable| also::of_sink(unable, &its, section)));
        }
    }
    Sinks { sink: Some((kind, sink)), fallback, also }
}

/// Who has a say in what rows must become.
struct Asked<'a> {
    sink: Option<&'a dyn SinkPlan>,
    fallback: Option<&'a dyn SinkPlan>,
    also: &'a [AlsoPlan],
    key: &'a KeyPlan,
    delivery: Delivery,
    /// Records without a value are to delete.
    deletes: bool,
    /// What the value's format asks of sinks, if rows of it may delete others.
    deletions: Option<Deletions>,
    has_transforms: bool,
    /// What the format has between the names of nested objects, if records have such.
    separator: Option<&'a str>,
}

impl Asked<'_> {
    /// All sinks of the pipeline.
    fn sinks(&self) -> impl Iterator<Item = &dyn SinkPlan> {
        let also = self.also.iter().map(|also| &*also.sink);
        self.sink.into_iter().chain(self.fallback).chain(also)
    }

    /// Gives a shape what the delivery needs.
    fn deliver(&self, shape: &mut Shape) -> Result<(), Unable> {
        match (self.delivery, self.sink) {
            (Delivery::ExactlyOnce, Some(sink)) => also::exactly_once(sink, self.also, shape),
            _ => Ok(()),
        }
    }
}

/// What rows must become: as the table's section says, as the sink needs it, and for some tables
/// as they are declared.
fn shape(
    section: &Section,
    asked: &Asked<'_>,
    declared: &[tables::Read],
    found: &mut Found,
) -> Option<Shape> {
    let own = section.below("table");
    let shape = table::shape(&own, asked.separator).map_err(|mistakes| found.0.extend(mistakes));
    let mut shape = shape.ok()?;
    if let Some(sink) = asked.sink {
        sink.complete(&mut shape);
    }
    asked.also.iter().for_each(|also| also.sink.complete(&mut shape));
    if let Some(fallback) = asked.fallback {
        fallback.complete(&mut shape);
        if asked.delivery == Delivery::ExactlyOnce {
            let message =
                "rows under way at a turn may be in both sinks, which is not exactly once";
            let help = "delivery = \"at-least-once\", or no fallback";
            found.0.push(section.mistake("fallback", message).help(help));
        }
    }
    let able = asked.deliver(&mut shape);
    let is_able = found.keep(able.map_err(|unable| unable.mistake(section))).is_some();
    found.0.extend(table::cross_check(&own, &shape, asked.key));
    let sinks = asked.sink.into_iter().chain(asked.fallback);
    let mut sinks = sinks.chain(asked.also.iter().map(|also| &*also.sink));
    if !sinks.all(SinkPlan::keeps_text) {
        found.0.extend(columns::kept_as_text(&own, &shape));
    }
    if asked.deletes {
        shape.deletes = true;
        let key = (!asked.has_transforms).then_some(asked.key);
        for sink in asked.sinks() {
            found.keep(deletes::check(section, &shape, sink, key));
        }
    }
    if let Some(deletions) = &asked.deletions {
        for sink in asked.sinks() {
            shape.deletes |= sink.deletes().is_ok();
            found.keep(deletes::marked(section, &shape, sink, deletions));
        }
    }
    if is_able {
        let able = |shape: &mut Shape, its: &Section| {
            asked.deliver(shape).map_err(|mut unable| {
                unable.key = unable.key.strip_prefix("table.").unwrap_or("");
                unable.mistake(its)
            })
        };
        found.0.extend(tables::declare(declared, &mut shape, asked.key, able));
    }
    Some(shape)
}

/// The kind that a section names, or the room's default, reads its options.
pub(super) fn parse_kind<P: ?Sized>(
    section: &Section,
    kinds: &[Kind<P>],
    key: &str,
    default: &str,
) -> Result<(&'static str, Box<P>), Mistake> {
    let name = section.text(key).unwrap_or(default);
    match kinds.iter().find(|kind| kind.name == name) {
        Some(kind) => (kind.parse)(section).map(|plan| (kind.name, plan)),
        None => {
            let names: Vec<&str> = kinds.iter().map(|kind| kind.name).collect();
            let mut mistake = section.mistake(key, format!("there is no {key} `{name}`"));
            mistake.help = instead_of(name, &names);
            Err(mistake)
        }
    }
}

fn parse_transform(
    section: Section,
    limits: &Limits,
    delivery: Delivery,
) -> Result<Arc<dyn transform::TransformPlan>, Mistake> {
    const DEFAULT: &str = "guest";
    if !section.has("kind") && !section.has("module") {
        let message = "a transform needs a `module`, or a `kind`";
        return Err(section.mistake("", message).help("such as module = \"transforms/x.wasm\""));
    }
    let section = match section.text("kind").unwrap_or(DEFAULT) {
        // The pipeline's bounds hold for every sandbox that has none of its own.
        DEFAULT => section
            .with_default("memory_max", Value::Integer(limits.guest_memory_bytes_max as i64))
            .with_default(
                "deadline",
                Value::String(format!("{}us", limits.guest_deadline.as_micros())),
            )
            .with_default("deterministic", Value::Boolean(delivery == Delivery::ExactlyOnce)),
        _ => section,
    };
    let (_, plan) = parse_kind(&section, transform::KINDS, "kind", DEFAULT)?;
    if delivery == Delivery::ExactlyOnce {
        plan.repeats().map_err(|unable| unable.mistake(&section))?;
    }
    Ok(plan.into())
}

/// Kafka by the pipeline's own keys, or what its section names.
fn source(
    name: &str,
    section: &Section,
    draft: &PipelineDraft,
    shared: &Shared<'_>,
    found: &mut Found,
) -> Option<(&'static str, Box<dyn SourcePlan>)> {
    /// Kafka's keys are the pipeline's.
    #[derive(serde::Deserialize, Default)]
    #[serde(deny_unknown_fields, default)]
    struct Nothing {}
    const KAFKA: &str = "kafka";
    let own = section.below("source");
    let kind = own.text("kind").unwrap_or(KAFKA);
    if kind == KAFKA {
        found.keep(own.options::<Nothing>())?;
        let plan = kafka::plan(name, section, draft, shared, found)?;
        return Some((KAFKA, Box::new(plan)));
    }
    let (kind, mut plan) = found.keep(parse_kind(&own, source::KINDS, "kind", KAFKA))?;
    for key in kafka::KEYS.iter().copied().filter(|key| section.has(key)) {
        let message = format!("`{key}` is Kafka's, and the source is `{kind}`");
        found.0.push(section.mistake(key, message).help("take it out, or the source"));
    }
    plan.rebase(shared.with.base);
    Some((kind, plan))
}

fn null_value(draft: Option<&PipelineDraft>) -> NullValue {
    match draft.and_then(|draft| draft.null_value) {
        None | Some(NullValueDraft::Skip) => NullValue::Skip,
        Some(NullValueDraft::Reject) => NullValue::Reject,
        Some(NullValueDraft::Delete) => NullValue::Delete,
    }
}

fn rejects(
    name: &str,
    pipeline: &Section,
    base: &Path,
    has_kafka: bool,
) -> Result<RejectsPlan, Mistake> {
    let section = &pipeline.below("rejects");
    let draft: RejectsDraft = section.read()?;
    match (draft.topic, draft.file) {
        (Some(_), Some(_)) => Err(section.mistake("file", "either `topic` or `file`, not both")),
        (None, Some(path)) => Ok(RejectsPlan::File { path: base.join(path) }),
        (None, None) if !has_kafka => {
            Ok(RejectsPlan::File { path: base.join(format!("{name}.dead-letters.jsonl")) })
        }
        (Some(_), None) if !has_kafka => {
            let mistake = section.mistake("topic", "a topic needs Kafka, and the source is not it");
            Err(mistake.help("such as file = \"dead-letters.jsonl\""))
        }
        (topic, None) => {
            let topic = topic.unwrap_or_else(|| "{topic}.dead-letters".to_owned());
            let rest = topic.replace("{topic}", "");
            let sound = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            if topic.is_empty() || topic == "{topic}" || !rest.chars().all(sound) {
                let message = format!("`{topic}` cannot be the topic of dead letters");
                let help = "letters, digits, `.`, `_`, `-`, and {topic} for the record's own";
                return Err(section.mistake("topic", message).help(help));
            }
            Ok(RejectsPlan::Topic { topic })
        }
    }
}

fn http(section: &Section) -> Result<(Option<SocketAddr>, admin::Admission), Mistake> {
    let draft: HttpDraft = section.read()?;
    let Some(listen) = draft.listen else {
        if draft.admin.is_some() {
            let message = "orders are taken where metrics are served, and `listen` is missing";
            return Err(section.mistake("admin", message).help("listen = \"127.0.0.1:9187\""));
        }
        return Ok(Default::default());
    };
    let spelled = match listen.split_once(':') {
        Some(("localhost", port)) => format!("127.0.0.1:{port}"),
        Some(("", port)) => format!("0.0.0.0:{port}"),
        _ => listen.clone(),
    };
    let address = spelled.parse().map_err(|_| {
        let message = format!("`{listen}` is not an address and port");
        section.mistake("listen", message).help("such as \"127.0.0.1:9187\"")
    })?;
    Ok((Some(address), draft.admin.unwrap_or_default()))
}

fn shared_groups(pipelines: &[PipelinePlan], root: &Section) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for (index, pipeline) in pipelines.iter().enumerate() {
        let shared = |plan: &PipelinePlan| match &plan.source.kafka()?.group {
            Group::Named(name) => Some(("group", name.clone())),
            alone => Some(("file", alone.progress()?.display().to_string())),
        };
        let Some(own) = shared(pipeline) else { continue };
        let same = |other: &&PipelinePlan| shared(other).as_ref() == Some(&own);
        if let Some(other) = pipelines[..index].iter().find(same) {
            let (names, (what, which)) = ((&other.name, &pipeline.name), &own);
            let message =
                format!("pipelines {} and {} share the {what} `{which}`", names.0, names.1);
            let key = if *what == "group" { "group" } else { "progress" };
            let mistake =
                root.below("pipeline").mistake(&format!("{}.{key}", pipeline.name), message);
            mistakes.push(mistake.help(format!("give each a {what} of its own")));
        }
    }
    mistakes
}

fn cache(draft: Option<TextOrFalse>, with: &Surroundings<'_>) -> Option<PathBuf> {
    match draft {
        Some(TextOrFalse(path)) => path.map(|path| with.base.join(path)),
        None => {
            let set = |name: &str| (with.env)(name).filter(|value| !value.is_empty());
            let cache = set("XDG_CACHE_HOME").map(PathBuf::from);
            let home = || set("HOME").map(|home| Path::new(&home).join(".cache"));
            cache.or_else(home).map(|folder| folder.join("bridge"))
        }
    }
}

/// The machine's name, in letters that a group's instance may have.
fn host() -> String {
    // Asked of the kernel's files rather than by a system call, which would need `unsafe`.
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::fs::read_to_string("/etc/hostname"))
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .unwrap_or_default();
    let sound = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = name.trim().chars().map(sound).collect();
    if name.is_empty() { "host".to_owned() } else { name }
}
