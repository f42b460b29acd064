//! What `bridge check` asks of Kafka: are the brokers there, which records wait in the topics, may
//! the group commit, is there a place for dead letters; and a few records to try the rest on.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::topics::{REQUEST, Scout, Topic, chosen};
use super::{Settings, create, errors, progress};
use crate::batch::TopicPartition;
use crate::blame::{Blame, Fault};
use crate::config::units::show_count;
use crate::config::{Group, KafkaPlan, RejectsPlan, Topics};
use crate::sink::{Finding, FindingState};
use crate::source::OwnedRecord;
use crate::source::kafka::owned_record;

/// How long a sample may take to come: fewer records are better than none.
pub(super) const SAMPLE_MAX: Duration = Duration::from_secs(10);
/// Between two questions for a group's coordinator.
const COORDINATOR_PAUSE: Duration = Duration::from_millis(200);
/// How many topics are looked at one by one; an expression may match thousands.
const TOPICS_MAX: usize = 20;

/// Knocks on the doors of a plan's source and of its dead letters. `ignored` are expressions of
/// topics that an expression must not find. With `prepare`, the topic of the dead letters is made
/// if it is missing. Blocks.
pub fn check(
    plan: &KafkaPlan,
    rejects: &RejectsPlan,
    ignored: &[String],
    prepare: bool,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let settings = match Settings::new(plan) {
        Ok(settings) => settings,
        Err(fault) => return vec![Finding::failed("kafka", "properties", &fault)],
    };
    let scout = match Scout::of_group(&settings, &plan.group) {
        Ok(scout) => scout,
        Err(fault) => return vec![Finding::failed("kafka", settings.brokers(), &fault)],
    };
    match brokers(&scout) {
        Ok(note) => findings.push(Finding::ok("kafka", settings.brokers(), note)),
        Err(fault) => {
            findings.push(Finding::failed("kafka", settings.brokers(), &fault));
            return findings;
        }
    }
    let topics = check_topics(&scout, &plan.topics, ignored, &mut findings);
    findings.push(check_progress(&scout, plan, &topics));
    match rejects {
        RejectsPlan::File { path } => {
            let name = path.display().to_string();
            findings.push(Finding::ok(
                "rejects",
                &name,
                "a file; made when it is needed".to_owned(),
            ));
        }
        RejectsPlan::Topic { topic } => {
            let mut seen = Vec::new();
            for source in topics.iter().take(TOPICS_MAX) {
                let target = topic.replace("{topic}", &source.name);
                if !seen.contains(&target) {
                    findings.push(check_target(&scout, &settings, &target, source, prepare));
                    seen.push(target);
                }
            }
        }
    }
    findings
}

fn brokers(scout: &Scout) -> Result<String, Fault> {
    let metadata = scout.metadata(None)?;
    let count = metadata.brokers().len();
    let controller = metadata.topics().iter().filter(|topic| topic.error().is_none()).count();
    let plural = if count == 1 { "broker" } else { "brokers" };
    Ok(format!("{count} {plural}, {controller} topics that may be seen"))
}

fn check_topics(
    scout: &Scout,
    wanted: &Topics,
    ignored: &[String],
    findings: &mut Vec<Finding>,
) -> Vec<Topic> {
    let found = match wanted {
        Topics::List(names) => {
            let mut found = Vec::new();
            for name in names {
                match scout.find(name) {
                    Ok(Some(topic)) => found.push(topic),
                    Ok(None) => findings.push(Finding {
                        subject: "topic",
                        name: name.clone(),
                        state: FindingState::Fail,
                        blame: Blame::Operator,
                        note: "does not exist".to_owned(),
                        fix: Some("create it, or correct `topics`".to_owned()),
                    }),
                    Err(fault) => findings.push(Finding::failed("topic", name, &fault)),
                }
            }
            found
        }
        Topics::Regex { like, .. } => match scout.topics(wanted, ignored) {
            Ok(found) if found.is_empty() => {
                findings.push(Finding {
                    subject: "topic",
                    name: like.clone(),
                    state: FindingState::Warn,
                    blame: Blame::Operator,
                    note: "no topic matches yet".to_owned(),
                    fix: None,
                });
                found
            }
            Ok(found) => found,
            Err(fault) => {
                findings.push(Finding::failed("topic", like, &fault));
                Vec::new()
            }
        },
    };
    for topic in found.iter().take(TOPICS_MAX) {
        findings.push(match ends(scout, topic) {
            Ok(ends) => {
                let records: i64 = ends.iter().map(|(_, low, high)| high - low).sum();
                let partitions = topic.partitions.len();
                let plural = if partitions == 1 { "partition" } else { "partitions" };
                let note = format!(
                    "{partitions} {plural}, {} records",
                    show_count(records.unsigned_abs())
                );
                Finding::ok("topic", &topic.name, note)
            }
            Err(fault) => Finding::failed("topic", &topic.name, &fault),
        });
    }
    if found.len() > TOPICS_MAX {
        let more = found.len() - TOPICS_MAX;
        findings.push(Finding::ok("topic", "…", format!("{more} more topics, not looked at")));
    }
    found
}

/// (partition, first offset, offset after the last).
pub(super) fn ends(scout: &Scout, topic: &Topic) -> Result<Vec<(i32, i64, i64)>, Fault> {
    let doing = format!("asking for the ends of topic {}", topic.name);
    let one = |partition: &i32| {
        let found = scout.client().fetch_watermarks(&topic.name, *partition, REQUEST);
        let (low, high) = found.map_err(|error| scout.fault(&doing, &error))?;
        Ok((*partition, low, high))
    };
    topic.partitions.iter().map(one).collect()
}

/// Whether what is committed may be read; who may not read a group's, may not commit either.
fn check_progress(scout: &Scout, plan: &KafkaPlan, topics: &[Topic]) -> Finding {
    let read = match chosen(&plan.group, topics.to_vec()) {
        Ok(read) => read,
        Err(fault) => return Finding::failed("partitions", "of the pipeline", &fault),
    };
    let (subject, name) = match (plan.group.name(), plan.group.progress()) {
        (Some(group), _) => ("group", group.to_owned()),
        (None, Some(file)) => ("progress", file.display().to_string()),
        (None, None) => {
            let note = "the sink keeps it, with the rows".to_owned();
            return Finding::ok("progress", "no file", note);
        }
    };
    let names: Vec<TopicPartition> = read.iter().flat_map(Topic::names).collect();
    match committed(scout, &plan.group, &names.iter().collect::<Vec<_>>()) {
        Err(fault) => Finding::failed(subject, name, &fault),
        Ok(known) => {
            let of = known.len();
            let note = match known.into_iter().flatten().count() {
                0 => format!("new: starts at {:?}", plan.start).to_lowercase(),
                has => format!("has offsets of {has} of {of} partitions"),
            };
            Finding::ok(subject, name, note)
        }
    }
}

/// What is committed of partitions: by the group, or in the file that is there in its place.
pub(super) fn committed(
    scout: &Scout,
    group: &Group,
    names: &[&TopicPartition],
) -> Result<Vec<Option<i64>>, Fault> {
    if group.name().is_none() {
        let kept = group.progress().map(progress::read).transpose()?.unwrap_or_default();
        return Ok(names.iter().map(|name| Some(kept.get(*name)?.next)).collect());
    }
    let mut list = TopicPartitionList::with_capacity(names.len());
    for name in names {
        list.add_partition(&name.topic, name.partition);
    }
    let list = by_coordinator(scout, &list)
        .map_err(|error| scout.fault(&format!("asking for the offsets of {group}"), &error))?;
    let of = |name: &&TopicPartition| {
        let element = list.find_partition(&name.topic, name.partition)?;
        element.offset().to_raw().filter(|offset| *offset >= 0)
    };
    Ok(names.iter().map(of).collect())
}

/// The group's offsets, as soon as it has a coordinator that is at work: a cluster that never had
/// a group first makes the topic of their offsets.
fn by_coordinator(
    scout: &Scout,
    list: &TopicPartitionList,
) -> Result<TopicPartitionList, KafkaError> {
    let started = Instant::now();
    loop {
        let answer = scout.client().committed_offsets(list.clone(), REQUEST);
        let answer = answer.and_then(|list| {
            list.elements().iter().try_for_each(|element| element.error())?;
            Ok(list)
        });
        let code = answer.as_ref().err().and_then(KafkaError::rdkafka_error_code);
        if !code.is_some_and(errors::is_coordinator_on_its_way) || started.elapsed() > REQUEST {
            return answer;
        }
        std::thread::sleep(COORDINATOR_PAUSE);
    }
}

fn check_target(
    scout: &Scout,
    settings: &Settings,
    target: &str,
    source: &Topic,
    prepare: bool,
) -> Finding {
    match scout.find(target) {
        Ok(Some(topic)) => {
            let partitions = topic.partitions.len();
            Finding::ok("rejects", target, format!("a topic, {partitions} partitions"))
        }
        Ok(None) if prepare => match create::ensure_topic(settings, target, Some(&source.name)) {
            Ok(()) => Finding::ok("rejects", target, "made".to_owned()),
            Err(fault) => Finding::failed("rejects", target, &fault),
        },
        Ok(None) => {
            let note = "does not exist yet; made when it is needed, if that is permitted";
            Finding::ok("rejects", target, note)
        }
        Err(fault) => Finding::failed("rejects", target, &fault),
    }
}

/// A record of a sample, and where it lies.
#[derive(Debug)]
pub struct Sample {
    /// Its partition.
    pub partition: TopicPartition,
    /// Its offset.
    pub offset: i64,
    /// The record.
    pub record: OwnedRecord,
}

/// Up to `count` records from the ends of the topics' partitions, without joining the group.
/// `ignored` as in [`check`]. Blocks.
pub fn sample(plan: &KafkaPlan, ignored: &[String], count: usize) -> Result<Vec<Sample>, Fault> {
    let settings = Settings::new(plan)?;
    let mut scout = Scout::of_group(&settings, &plan.group)?;
    let topics = chosen(&plan.group, scout.topics(&plan.topics, ignored)?)?;
    let partitions: usize = topics.iter().map(|topic| topic.partitions.len()).sum();
    let each = count.div_ceil(partitions.max(1)) as i64;
    let mut list = TopicPartitionList::new();
    let mut waiting = 0;
    for topic in &topics {
        for (partition, low, high) in ends(&scout, topic)? {
            // From a transaction's end some offsets are no records: a few more are looked at.
            let from = low.max(high - each * 2);
            if high > low && waiting < count {
                list.add_partition_offset(&topic.name, partition, Offset::Offset(from))
                    .map_err(|error| scout.fault("sampling", &error))?;
                waiting += 1;
            }
        }
    }
    scout.read(list).map_err(|error| scout.fault("sampling", &error))?;
    let mut samples: Vec<Sample> = Vec::new();
    let mut quiet_since = Instant::now();
    let deadline = Instant::now() + SAMPLE_MAX;
    while waiting > 0 && samples.len() < count && Instant::now() < deadline {
        match scout.client().poll(Duration::from_millis(50)) {
            Some(Ok(message)) => {
                quiet_since = Instant::now();
                let (topic, partition) = (message.topic().into(), message.partition());
                let name = TopicPartition { topic, partition };
                let known = samples.iter().filter(|known| known.partition == name).count();
                if known < each as usize {
                    let record = owned_record(&message);
                    samples.push(Sample { partition: name, offset: message.offset(), record });
                }
            }
            Some(Err(error)) if is_final(&error) => {
                return Err(scout.fault("sampling records", &error));
            }
            _ if !samples.is_empty() && quiet_since.elapsed() > Duration::from_millis(500) => break,
            _ => {}
        }
    }
    Ok(samples)
}

pub(super) fn is_final(error: &KafkaError) -> bool {
    error.rdkafka_error_code().is_some_and(|code| errors::blame(code) != Blame::World)
}
