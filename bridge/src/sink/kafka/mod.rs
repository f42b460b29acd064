//! Topics. Every row is a record: JSON, CSV or line protocol, under the key of the record it came
//! from or of a column. A receipt is sent when all replicas have every record of its payload.
//!
//! ```text
//! lane ──lines──▶ framing: key, partition ──Payload──▶ courier ──▶ topic (acks=all, idempotent)
//!                                                         └─ too large ──▶ dead letters
//! ```

mod courier;
mod emitting;
mod frame;
mod framing;
mod left;
mod once;
mod options;
mod origin;
mod producer;
#[cfg(test)]
mod tests;
mod transaction;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::block_in_place;

use self::courier::{KafkaCourier, Shared};
use self::emitting::Emitting;
use self::framing::{Framing, TABLE};
use self::once::Once;
use self::options::{KafkaSinkPlan, Options};
use super::retry::Trouble;
use super::text::{Encoders, Written};
use super::{
    BoxFuture, Claims, Courier, Delivery, Door, Encoder, Finding, Sink, SinkContext, SinkPlan,
};
use crate::batch::{Line, Payload};
use crate::blame::Fault;
use crate::config::{KafkaPlan, Section, Topics as ReadTopics};
use crate::kafka::settings::Settings;
use crate::kafka::topics::{Expression, Scout};
use crate::kind::{Kind, Unable};
use crate::shape::Shape;
use crate::source::Membership;

/// The sink's entry in its room's table.
pub const KIND: Kind<dyn SinkPlan> = Kind {
    name: "kafka",
    summary: "topics of Kafka: each row a record, as JSON, CSV or line protocol",
    example: "kind = \"kafka\"\ntopic = \"readings-clean\"\nencode = \"json\"\n",
    schema: || schemars::schema_for!(Options),
    parse: |section| Ok(Box::new(KafkaSinkPlan::parse(section)?)),
};

/// Names of topics are this long at most.
const TOPIC_BYTES_MAX: usize = 249;
/// Of these, what a table's name may take where it is a part of one.
const TABLE_BYTES_MAX: usize = 200;

/// Why a text cannot be a part of a topic's name; `None` if it can.
fn topic_fault(name: &str, bytes_max: usize) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match name.chars().find(|c| !plain(*c)) {
        Some(c) => Some(format!("{name:?} has {c:?}, which no topic's name has")),
        None if name.is_empty() || name == "." || name == ".." => {
            Some(format!("{name:?} is no topic's name"))
        }
        None if name.len() > bytes_max => {
            Some(format!("{name:?} is longer than {bytes_max} bytes, too long for a topic's name"))
        }
        None => None,
    }
}

/// Whether the pipeline reads a topic: what it writes there would come back to it.
fn is_read(read: Option<&ReadTopics>, topic: &str) -> Result<bool, Fault> {
    match read {
        None => Ok(false),
        Some(ReadTopics::List(names)) => Ok(names.iter().any(|name| name == topic)),
        Some(ReadTopics::Regex(expression)) => Ok(Expression::new(expression)?.matches(topic)),
    }
}

/// Why no topic can be named after a table.
fn table_fault(table: &str) -> Option<String> {
    topic_fault(table, TABLE_BYTES_MAX)
}

impl SinkPlan for KafkaSinkPlan {
    fn build(&self, context: SinkContext) -> Result<Arc<dyn Sink>, Fault> {
        let settings = Settings::new(&self.kafka()?)?;
        let rule = if self.addressing.topic.contains(TABLE) { table_fault } else { |_: &str| None };
        let encoders = Encoders::new(self.text.clone(), &context, rule);
        let name = format!("kafka {}", settings.brokers());
        let (pipeline, meter) = (Arc::clone(&context.pipeline), Arc::clone(&context.meter));
        let shared = Arc::new(Shared {
            read: self.reads(),
            headers: self.headers,
            create: self.create_topic,
            origins: Arc::default(),
            targets: Arc::default(),
            once: (context.delivery == Delivery::ExactlyOnce).then(|| Arc::new(self.once())),
            trouble: Trouble::new(pipeline, name, Arc::clone(&meter)),
            settings,
            meter,
        });
        Ok(Arc::new(Topics { plan: self.clone(), context, encoders, shared }))
    }

    fn complete(&self, _: &mut Shape) {}

    fn exactly_once(&self, _: &mut Shape) -> Result<(), Unable> {
        match self.own_brokers() {
            None => Ok(()),
            Some(_) => {
                let message = "rows and the group's offsets are one transaction, which is on the \
                               brokers that are read";
                let help = "take `brokers` out, or delivery = \"at-least-once\"";
                Err(Unable::new("sink.brokers", message, help))
            }
        }
    }

    fn keeps_progress(&self) -> bool {
        true
    }

    fn adopt(&mut self, source: Option<&KafkaPlan>) -> Result<(), Unable> {
        KafkaSinkPlan::adopt(self, source)
    }

    fn takes_emitted(&self) -> bool {
        true
    }

    fn couriers_per_lane(&self) -> usize {
        1
    }

    /// Brokers that are read from, too, are no door of the sink's: without them nothing is read
    /// that could go elsewhere.
    fn doors(&self) -> Vec<Door> {
        let own = self.own_brokers().map(|all| all.split(',').map(|at| at.trim().to_owned()));
        own.into_iter().map(Iterator::collect).collect()
    }

    fn lends(&self, key: &str, to: &Section) -> bool {
        const ENCODED: [&str; 3] = ["columns", "null", "timestamps"];
        // What one set of brokers needs need not be what others do.
        let (encode, brokers) = (!to.has("encode"), !to.has("brokers"));
        (encode || !ENCODED.contains(&key)) && (brokers || key != "properties")
    }

    fn explain(&self) -> Vec<String> {
        let Addressed { what, key, partition } = self.addressed();
        vec![
            format!("each row a record of {}: {what}", self.addressing.topic),
            format!("key: {key}; partition: {partition}"),
            format!("brokers: {}", self.brokers_shown()),
            "stored means: all replicas have the records (acks=all, idempotent); exactly once: the \
             transaction that has them, and the group's offsets, is committed"
                .to_owned(),
        ]
    }
}

/// How records are addressed, in words.
struct Addressed {
    what: &'static str,
    key: String,
    partition: String,
}

impl KafkaSinkPlan {
    /// Transactions under the name of this member of the group. One without a name bears a new one
    /// each time.
    fn once(&self) -> Once {
        let (group, instance) = self.member();
        let own = || format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        Once::new(format!("bridge-{group}-{}", instance.map_or_else(own, str::to_owned)))
    }

    fn addressed(&self) -> Addressed {
        let what = match self.text.written {
            Written::Json => "a JSON object",
            Written::Csv { .. } => "a CSV record without header",
            Written::LineProtocol => "line protocol",
        };
        let column = |name: &Option<String>, or: &str| match name {
            Some(name) => format!("column {name}"),
            None => or.to_owned(),
        };
        let key = column(&self.addressing.key_column, "that of the record it came from");
        let partition = column(&self.addressing.partition_column, "by the key, as Java's");
        Addressed { what, key, partition }
    }
}

struct Topics {
    plan: KafkaSinkPlan,
    context: SinkContext,
    encoders: Encoders,
    shared: Arc<Shared>,
}

impl Topics {
    /// Looks at the topic, if its name is known before the first row; makes it if it may.
    fn look(&self, prepare: bool) -> Finding {
        let topic = &self.plan.addressing.topic;
        let name = format!("kafka {}", self.shared.settings.brokers());
        let seen = if topic.contains(TABLE) {
            let asked = Scout::new(&self.shared.settings).and_then(|scout| scout.metadata(None));
            asked.map(|_| format!("topics {topic}, by the names of tables"))
        } else if prepare {
            let like = self.plan.like();
            self.shared.meet(topic, like.as_deref()).map(|()| format!("topic {topic}"))
        } else {
            self.knock(topic)
        };
        match seen {
            Ok(note) => Finding::ok("sink", name, note),
            Err(fault) => Finding::failed("sink", name, &fault),
        }
    }

    /// Whether a topic is there, or may be made.
    fn knock(&self, topic: &str) -> Result<String, Fault> {
        match Scout::new(&self.shared.settings)?.find(topic)? {
            Some(found) => {
                self.shared.refuse_own(topic)?;
                Ok(format!("topic {topic}, {} partitions", found.partitions.len()))
            }
            None if self.plan.create_topic => {
                Ok(format!("topic {topic} does not exist yet: the bridge makes it"))
            }
            None => Err(Fault::operator(format!("topic {topic} is not there"))
                .hint("make it, or set create_topic = true of the sink")),
        }
    }
}

impl Sink for Topics {
    fn check(&self, prepare: bool) -> BoxFuture<'_, Vec<Finding>> {
        // The client library blocks whoever asks it.
        Box::pin(async move { vec![block_in_place(|| self.look(prepare))] })
    }

    /// A payload has records for all topics, and marks that are none.
    fn table_of(&self, _: &Payload, line: &Line) -> Option<Arc<str>> {
        self.shared.targets.topic(line.layout)
    }

    fn encoder(&self) -> Box<dyn Encoder> {
        let couriers = self.plan.couriers_per_lane() as u32;
        let lines = self.encoders.lane(couriers);
        let (addressing, origins) = (self.plan.addressing.clone(), &self.shared.origins);
        let (names, once) = (&self.context.names, self.shared.once.is_some());
        let targets = &self.shared.targets;
        let emitting = Emitting::new(names, self.shared.read.clone(), targets);
        let registers = (Arc::clone(origins), Arc::clone(targets), emitting);
        Box::new(Framing::new(lines, addressing, names, registers, couriers).with_marks(once))
    }

    fn courier(&self, index: usize) -> Box<dyn Courier> {
        Box::new(KafkaCourier::new(Arc::clone(&self.shared), index))
    }

    fn keeper(&self, mut stop: watch::Receiver<bool>) -> BoxFuture<'static, Result<(), Fault>> {
        Box::pin(async move {
            // A sender that is gone has nothing left to stop.
            let _ = stop.wait_for(|stop| *stop).await;
            Ok(())
        })
    }

    fn abandon(&self) {}

    fn commits_offsets(&self) -> bool {
        self.shared.once.is_some()
    }

    fn join(&self, group: Membership) {
        if let Some(once) = &self.shared.once {
            once.join(group);
        }
    }

    fn claims(&self) -> Option<Arc<dyn Claims>> {
        self.shared.once.clone().map(|once| once as Arc<dyn Claims>)
    }

    fn trouble(&self) -> Option<String> {
        self.shared.trouble.words()
    }

    fn rest(&self, rests: bool) {
        self.shared.trouble.rest(rests);
    }
}
