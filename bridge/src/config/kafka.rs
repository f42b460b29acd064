//! The keys of a pipeline whose records come from Kafka: how it is reached, which topics, as which
//! group, and which records.

use super::draft::{PipelineDraft, TextOrFalse};
use super::group::{Alone, Group};
use super::load::{Found, Shared};
use super::mistake::Mistake;
use super::plan::{KafkaPlan, Topics};
use super::reach::KafkaDraft;
use super::section::Section;
use super::security;
use super::start::{Start, Until};
use crate::range::Range;
use crate::sink::{Delivery, SinkPlan};

/// Those that mean nothing where records come from elsewhere.
pub const KEYS: &[&str] = &[
    "topics",
    "topics_regex",
    "topics_except",
    "group",
    "partitions",
    "progress",
    "start",
    "out_of_range",
    "range",
    "until",
    "instance",
    "kafka",
];

/// Reads the keys of a pipeline whose records come from Kafka.
pub fn plan(
    name: &str,
    section: &Section,
    draft: &PipelineDraft,
    shared: &Shared<'_>,
    found: &mut Found,
) -> Option<KafkaPlan> {
    let own = section.below("kafka");
    let kafka: KafkaDraft = found.keep(own.read())?;
    found.0.extend(own_properties(&own, &kafka));
    let brokers = kafka.brokers.or(shared.kafka.brokers.clone());
    let secured = security::section_of(&own, &shared.reach);
    let security = found.keep(security::plan(&secured, brokers.as_deref(), shared.with));
    let brokers = brokers.unwrap_or_else(|| "localhost:9092".to_owned());
    let mut properties = vec![("bootstrap.servers".to_owned(), brokers)];
    for (key, value) in shared.kafka.properties.0.iter().chain(&kafka.properties.0) {
        properties.retain(|(known, _)| known != key);
        properties.push((key.clone(), value.0.clone()));
    }
    let range = found.keep(range(section, draft, shared))?;
    let group = found.keep(group(name, section, draft, shared))?;
    let fetch = kafka.fetch.or(shared.kafka.fetch).unwrap_or_default();
    Some(KafkaPlan {
        properties,
        topics: found.keep(topics(section, draft))?,
        instance: group.name().and_then(|_| instance(name, draft.instance.as_ref(), shared)),
        group,
        start: draft.start.clone().unwrap_or(Start::Earliest),
        from: shared.overrides.from.clone(),
        out_of_range: draft.out_of_range.unwrap_or_default(),
        range,
        fetch,
        security: security?,
    })
}

fn topics(section: &Section, draft: &PipelineDraft) -> Result<Topics, Mistake> {
    match (&draft.topics, &draft.topics_regex) {
        (Some(_), Some(_)) => {
            let message = "`topics` and `topics_regex` cannot both be given";
            Err(section.mistake("topics_regex", message))
        }
        (Some(topics), None) if topics.is_empty() || topics.iter().any(String::is_empty) => {
            Err(section.mistake("topics", "a topic needs a name").help("such as [\"sensors\"]"))
        }
        (Some(_), None) if !draft.topics_except.is_empty() => {
            let message = "topics that are listed are not left out again";
            Err(section.mistake("topics_except", message).help("it goes with `topics_regex`"))
        }
        (Some(topics), None) => Ok(Topics::List(topics.clone())),
        (None, Some(like)) => {
            let except = draft.topics_except.clone();
            // The client library takes all of them as one list.
            if let Some(at) = except.iter().position(|one| one.is_empty() || one.contains(',')) {
                let message = "an expression of topics to leave out has letters, and no comma";
                return Err(section.mistake(&format!("topics_except.{at}"), message));
            }
            Ok(Topics::Regex { like: like.clone(), except })
        }
        (None, None) => {
            let message = format!("{} needs `topics`", section.path);
            Err(section.mistake("", message).help("such as topics = [\"sensors\"]"))
        }
    }
}

/// Properties that the bridge has keys of its own for, or must decide itself.
pub fn own_properties(section: &Section, draft: &KafkaDraft) -> Vec<Mistake> {
    let instead = |key: &str| {
        Some(match key {
            "bootstrap.servers" | "metadata.broker.list" => "write `brokers` under [kafka]",
            "group.id" => "write `group` in the pipeline",
            "group.instance.id" => "write `instance` in the pipeline",
            "auto.offset.reset" => "write `start` or `out_of_range` in the pipeline",
            "enable.auto.commit" | "enable.auto.offset.store" | "auto.commit.interval.ms" => {
                "the bridge commits by itself, when rows are stored"
            }
            _ => return None,
        })
    };
    let mistake = |(key, _): &(String, _)| {
        let message = format!("the property `{key}` is set by the bridge");
        instead(key).map(|help| section.mistake(&format!("properties.{key}"), message).help(help))
    };
    draft.properties.0.iter().filter_map(mistake).collect()
}

/// As whose member records are read.
fn group(
    name: &str,
    section: &Section,
    draft: &PipelineDraft,
    shared: &Shared<'_>,
) -> Result<Group, Mistake> {
    if let Some(TextOrFalse(None)) = draft.group {
        if let Some(TextOrFalse(Some(_))) = draft.instance {
            let message = "without a group nobody has an id in it";
            return Err(section.mistake("instance", message).help("take it out"));
        }
        let range = draft.range.as_deref();
        let file = draft.progress.as_ref().map(|file| of_range(file.clone(), range));
        let progress = file.map(|file| shared.with.base.join(file));
        return Ok(Group::Alone(Alone { partitions: draft.partitions.clone(), progress }));
    }
    if let Some(key) = ["partitions", "progress"].into_iter().find(|key| section.has(key)) {
        let message = format!("`{key}` goes with `group = false`: a group sees to it by itself");
        return Err(section.mistake(key, message).help("take it out, or the group"));
    }
    let named = draft.group.clone().and_then(|TextOrFalse(named)| named);
    Ok(Group::Named(named.unwrap_or_else(|| group_of(name, draft.range.as_deref()))))
}

/// Somebody has to keep how far partitions were read.
pub fn kept(
    section: &Section,
    plan: Option<&KafkaPlan>,
    delivery: Delivery,
    sink: Option<&dyn SinkPlan>,
) -> Result<(), Mistake> {
    let by_file = |plan: &KafkaPlan| plan.group.name().is_some() || plan.group.progress().is_some();
    let by_sink = |sink: &dyn SinkPlan| delivery == Delivery::ExactlyOnce && sink.keeps_progress();
    if plan.is_none_or(by_file) || sink.is_none_or(by_sink) {
        return Ok(());
    }
    let message = "without a group, how far it was read is kept by nobody";
    let help = "name a file: progress = \"readings.progress\"; of sinks only `postgres` keeps it, \
                with delivery = \"exactly-once\"";
    Err(section.mistake("group", message).help(help))
}

/// The name of the group. A range has one of its own, so that it begins anew where it is written
/// anew and leaves the progress of the pipeline alone that reads on.
fn group_of(name: &str, range: Option<&str>) -> String {
    of_range(format!("bridge-{name}"), range)
}

/// What a range has for itself.
fn of_range(name: String, range: Option<&str>) -> String {
    match range {
        None => name,
        Some(text) => format!("{name}-{:08x}", crc32c::crc32c(text.trim().as_bytes())),
    }
}

/// Which records, if not all that are and will be.
fn range(
    section: &Section,
    draft: &PipelineDraft,
    shared: &Shared<'_>,
) -> Result<Option<Range>, Mistake> {
    let range = draft.range.as_deref().map(Range::parse).transpose();
    let range = range.map_err(|why| section.mistake("range", why))?;
    Ok(match shared.overrides.until.or(draft.until) {
        None => range,
        Some(Until::Now) => Some(range.unwrap_or_else(Range::all)),
        Some(Until::Time(ms)) => Some(range.unwrap_or_else(Range::all).before(ms)),
    })
}

/// Static membership: an id that a restart has again, and no other process has.
fn instance(name: &str, draft: Option<&TextOrFalse>, shared: &Shared<'_>) -> Option<String> {
    let host = &shared.with.host;
    match (draft, &shared.overrides.instance) {
        (Some(TextOrFalse(None)), _) => None,
        (_, Some(told)) => Some(format!("{host}-{name}-{told}")),
        (Some(TextOrFalse(Some(written))), None) => Some(written.clone()),
        (None, None) => Some(format!("{host}-{name}-0")),
    }
}
