//! `bridge replay`: dead letters go back to where their records came from, or through a pipeline.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::Failure;
use crate::blame::Fault;
use crate::config::{Group, KafkaPlan, OutOfRange, PipelinePlan, Plan, RejectsPlan, Start, Topics};
use crate::observe::admin::Admission;
use crate::pipeline::{self, Running, Stop};
use crate::range::Range;
use crate::replay::{self, Counts, Filter, Letters, Wish};
use crate::sink::Delivery;
use crate::trial::{self, Planned};

/// Which letters, and where they go.
#[derive(clap::Args, Debug)]
pub(super) struct Asked {
    /// The topic of dead letters.
    #[arg(required_unless_present = "config")]
    topic: Option<String>,
    /// Where it is.
    #[arg(long, default_value = "localhost:9092", value_name = "HOST:PORT")]
    brokers: String,
    /// A configuration whose pipeline says where Kafka is, and where its dead letters are.
    #[arg(long, value_name = "FILE", conflicts_with = "brokers")]
    config: Option<PathBuf>,
    /// Which of its pipelines, if there are several.
    #[arg(long, value_name = "NAME", requires = "config")]
    pipeline: Option<String>,
    /// Only letters of this reason, such as `wrong-type`; may be given several times, as all of
    /// these.
    #[arg(long, value_name = "REASON")]
    reason: Vec<String>,
    /// Only letters whose record came from this topic.
    #[arg(long, value_name = "TOPIC")]
    from_topic: Vec<String>,
    /// Only letters whose record came from this partition.
    #[arg(long, value_name = "NUMBER")]
    from_partition: Vec<i32>,
    /// Only letters of this pipeline, by their header; with `--through`, by default the pipeline
    /// that they go through.
    #[arg(long, value_name = "NAME")]
    of_pipeline: Vec<String>,
    /// Only records that were refused at this time or later: `2026-05-01T00:00:00Z`.
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only records that were refused before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Send them to this topic, by their keys; by default each goes to the topic and the partition
    /// that its record came from.
    #[arg(long, value_name = "TOPIC")]
    to: Option<String>,
    /// Give them to the pipeline itself, as the records that they were, and write nothing to their
    /// topic: where others read it, too.
    #[arg(long, requires = "config", conflicts_with = "to")]
    through: bool,
    /// Who remembers what was sent; by default one for each choice of letters.
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// From the first letter on, whatever was sent before.
    #[arg(long)]
    again: bool,
    /// Send nothing, and say what would be sent.
    #[arg(long)]
    dry_run: bool,
}

/// Sends letters back, or through their pipeline, and counts them.
pub(super) fn replay(asked: &Asked, out: &mut dyn Write) -> Result<(), Failure> {
    let planned = planned(asked)?;
    let wish = wish(asked, &planned.pipeline);
    let plan = plan(asked, &wish, &planned.pipeline)?;
    let way = asked.through.then(|| format!("through {}", planned.pipeline.name));
    if asked.through {
        refuse(&planned.pipeline)?;
        if !wish.dry {
            return through(planned, Letters::new(plan, wish.filter), out);
        }
    }
    let counts = replay::replay(&plan, &wish, &mut |_| {})?;
    tell(&counts, if wish.dry { "would be sent" } else { "sent" }, way.as_deref(), out)
}

/// Says what came of the letters; they went to topics, if no other way is given.
fn tell(
    counts: &Counts,
    would: &str,
    way: Option<&str>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let Counts { letters, sent, others, cut, strange } = counts;
    for ((topic, reason), count) in sent {
        match way {
            Some(way) => writeln!(out, "{count} of {topic} {would} {way} ({reason})")?,
            None => writeln!(out, "{count} {would} to {topic} ({reason})")?,
        }
    }
    writeln!(out, "{} of {letters} letters {would}, {others} others left", counts.sent_all())?;
    if *cut > 0 {
        writeln!(out, "{cut} letters were cut to fit their topic: their records are not whole")?;
    }
    if *strange > 0 {
        writeln!(out, "{strange} records are no dead letters")?;
    }
    Ok(())
}

/// A sink that keeps how far each partition is stores no record from before that.
fn refuse(pipeline: &PipelinePlan) -> Result<(), Fault> {
    let PipelinePlan { name, delivery, sink, sink_kind, .. } = pipeline;
    if *delivery != Delivery::ExactlyOnce || !sink.keeps_progress() {
        return Ok(());
    }
    Err(Fault::operator(format!(
        "sending letters through {name}: with delivery = \"exactly-once\" its sink ({sink_kind}) \
         keeps how far each partition is, and takes no record from before that"
    ))
    .hint(
        "send them back without --through, or through a copy of the file that says delivery = \
         \"at-least-once\"",
    ))
}

/// Runs the pipeline on letters until all are stored that were there when it began.
fn through(planned: Planned, letters: Letters, out: &mut dyn Write) -> Result<(), Failure> {
    let Planned { mut pipeline, base, cache, .. } = planned;
    let name = Arc::clone(&pipeline.name);
    let counts = letters.counts();
    pipeline.source = Box::new(letters);
    // The pipeline itself may run beside it, and has the address.
    let (http, admin) = (None, Admission::Off);
    let plan = Plan { pipelines: vec![pipeline], http, admin, base, cache };
    let mut seen = None;
    pipeline::run_with(plan, true, |running| seen = Some(running))?;
    let Running { meters, alarms, .. } = seen.expect("it was shown before it ran");
    let counts = counts.lock().expect("no one panics with it").clone();
    tell(&counts, "sent", Some(&format!("through {name}")), out)?;
    for (_, meter) in &meters {
        let (filtered, rejected) = (meter.records_filtered.get(), meter.rejected_total());
        let skipped = meter.records_skipped.get();
        // What was read twice came in twice; what was read last may not have come in.
        let all = counts.sent_all().min(meter.records_in.get());
        let stored = all.saturating_sub(filtered + skipped + rejected);
        writeln!(out, "{stored} stored, {filtered} filtered, {rejected} rejected again")?;
        if skipped > 0 {
            writeln!(out, "{skipped} without a value were skipped")?;
        }
    }
    if alarms.iter().any(|alarm| alarm.stop() != Stop::No) {
        writeln!(out, "stopped before the end: the same command goes on from there")?;
    }
    Ok(())
}

/// The pipeline that is asked for, or one that only reads.
fn planned(asked: &Asked) -> Result<Planned, Fault> {
    match (&asked.config, &asked.topic) {
        (Some(file), _) => trial::of_file(file, asked.pipeline.as_deref()),
        (None, topic) => {
            let topic = topic.as_deref().unwrap_or_default();
            trial::of_values(toml::Table::new(), Some((topic, &asked.brokers)))
        }
    }
}

fn wish(asked: &Asked, pipeline: &PipelinePlan) -> Wish {
    let mut pipelines = asked.of_pipeline.clone();
    if asked.through && pipelines.is_empty() {
        // What others refused may be stored here.
        pipelines.push(pipeline.name.to_string());
    }
    let filter = Filter {
        reasons: asked.reason.clone(),
        topics: asked.from_topic.clone(),
        partitions: asked.from_partition.clone(),
        pipelines,
        since: asked.since,
        until: asked.until,
    };
    Wish { filter, to: asked.to.clone(), dry: asked.dry_run }
}

/// The letters' topic, read by a group of its own.
fn plan(asked: &Asked, wish: &Wish, pipeline: &PipelinePlan) -> Result<KafkaPlan, Fault> {
    let Some(kafka) = pipeline.source.kafka() else {
        let message = "the pipeline does not read from Kafka: its dead letters went to no topic";
        return Err(Fault::operator(message).hint("--brokers and the letters' topic"));
    };
    let mut plan = kafka.clone();
    let letters = match (&asked.topic, &pipeline.rejects, &plan.topics) {
        (Some(topic), ..) => vec![topic.clone()],
        (None, RejectsPlan::Topic { topic }, Topics::List(sources)) => {
            let mut all: Vec<String> =
                sources.iter().map(|source| topic.replace("{topic}", source)).collect();
            all.dedup();
            all
        }
        (None, RejectsPlan::Topic { topic }, _) if !topic.contains("{topic}") => {
            vec![topic.clone()]
        }
        (None, RejectsPlan::Topic { .. }, _) => {
            let message = "the pipeline's topics are an expression, and so are its dead letters'";
            return Err(Fault::operator(message).hint("name the topic of the letters"));
        }
        (None, RejectsPlan::File { path }, _) => {
            let message = format!("the dead letters are in the file {}", path.display());
            return Err(Fault::operator(message).hint("`bridge produce` sends lines of files"));
        }
    };
    let to = match &wish.to {
        Some(to) => format!("-to-{to}"),
        None if asked.through => format!("-through-{}", pipeline.name),
        None => String::new(),
    };
    plan.group = Group::Named(asked.group.clone().unwrap_or_else(|| {
        format!("bridge-replay-{}{to}-{}", letters.join("+"), wish.filter.name())
    }));
    plan.topics = Topics::List(letters);
    plan.instance = None;
    plan.start = Start::Earliest;
    plan.from = asked.again.then_some(Start::Earliest);
    // The pipeline's own range is one of records.
    plan.range = asked.through.then(Range::all);
    // Letters that are gone are no reason to leave the others.
    plan.out_of_range = OutOfRange::Earliest;
    Ok(plan)
}
