//! Topics. Every row is a record: JSON, CSV or line protocol, or a value with a schema (`schema`
//! beside this), under the key of the record it came from or of a column. A receipt is sent when
//! all replicas have every record of its payload.
//!
//! ```text
//! lane ──lines──▶ framing: key, partition ──Payload──▶ courier ──▶ topic (acks=all, idempotent)
//!                                                         └─ too large ──▶ dead letters
//! ```

mod courier;
mod emitting;
mod frame;
mod framing;
mod key;
#[cfg(test)]
mod key_tests;
mod left;
mod once;
mod options;
mod origin;
mod producer;
#[cfg(test)]
mod tests;
mod transaction;

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::block_in_place;

use self::courier::{KafkaCourier, Shared};
use self::emitting::Emitting;
use self::framing::{Framing, TABLE};
use self::once::Once;
use self::options::{KafkaSinkPlan, Options};
use super::notes::Notes;
use super::retry::Trouble;
use super::schema::{self, Part, SchemaPlan, Subjects};
use super::text::{self, Written};
use super::{
    BoxFuture, Claims, Courier, Delivery, Door, Encoder, Finding, Foreign, Sink, SinkContext,
    SinkPlan,
};
use crate::batch::{Line, Payload};
use crate::blame::Fault;
use crate::config::security::SecurityPlan;
use crate::config::{KafkaPlan, Section, Topics as ReadTopics};
use crate::kafka::settings::Settings;
use crate::kafka::topics::{Expression, Scout};
use crate::kind::{Kind, Unable};
use crate::shape::Shape;
use crate::source::Membership;

/// The sink's entry in its room's table.
pub const KIND: Kind<dyn SinkPlan> = Kind {
    name: "kafka",
    summary: "topics of Kafka: each row a record, as JSON, CSV, line protocol, or with a schema as Avro, Protocol Buffers, JSON",
    example: "kind = \"kafka\"\ntopic = \"readings-clean\"\nencode = \"json\"\n",
    schema: || schemars::schema_for!(Options),
    parse: |section| Ok(Box::new(KafkaSinkPlan::parse(section)?)),
};

/// Names of topics are this long at most.
const TOPIC_BYTES_MAX: usize = 249;
/// Of these, what a table's name may take where it is a part of one.
const TABLE_BYTES_MAX: usize = 200;

/// What a table has and a topic has not.
const FOREIGN: [Foreign; 6] = [
    Foreign {
        key: "partition_by",
        why: "makes no partitions of time",
        help: "take it out: `partition_column` of the sink says where a row goes",
    },
    Foreign {
        key: "ttl",
        why: "drops no rows",
        help: "take it out: the topic's own `retention.ms` does it",
    },
    Foreign {
        key: "upsert_keys",
        why: "has a key of its own",
        help: "name its columns as `key` of the sink",
    },
    Foreign {
        key: "auto_create",
        why: "makes no tables",
        help: "take it out: `create_topic` of the sink is for topics",
    },
    Foreign {
        key: "add_columns",
        why: "makes no tables",
        help: "take it out: with `register = false` of the sink its schema stays as it is",
    },
    Foreign {
        key: "strict",
        why: "makes no tables",
        help: "take it out: with `register = false` of the sink its schema stays as it is",
    },
];

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
        Some(ReadTopics::Regex { like, except }) => {
            let is_of = |expression: &String| Ok(Expression::new(expression)?.matches(topic));
            let mut except = except.iter().map(is_of);
            Ok(is_of(like)?
                && !except
                    .try_fold(false, |any, one: Result<bool, Fault>| one.map(|one| any || one))?)
        }
    }
}

/// Why no topic can be named after a table.
fn table_fault(table: &str) -> Option<String> {
    topic_fault(table, TABLE_BYTES_MAX)
}

impl SinkPlan for KafkaSinkPlan {
    fn keeps_text(&self) -> bool {
        true
    }

    /// For the schema that is made of the columns: text has none.
    fn heeds_declarations(&self) -> bool {
        self.schema.is_some()
    }

    fn foreign_keys(&self) -> &'static [Foreign] {
        &FOREIGN
    }

    fn build(&self, context: SinkContext) -> Result<Arc<dyn Sink>, Fault> {
        let settings = Settings::new(&self.kafka()?)?;
        let rule = if self.addressing.topic.contains(TABLE) { table_fault } else { |_: &str| None };
        let topic = self.addressing.topic.clone();
        let topic_of = move |table: &str| topic.replace(TABLE, table);
        let of_keys =
            |plan: &SchemaPlan| schema::Encoders::of_keys(plan.clone(), &context, topic_of.clone());
        let keys = self.key.as_ref().map(of_keys).transpose()?;
        let lines = match &self.schema {
            None => Lines::Text(text::Encoders::new(self.text.clone(), &context, rule)),
            Some(schema) => {
                let subjects = Arc::new(Subjects::new(schema.clone(), &context));
                Lines::Schema(schema::Encoders::new(subjects, &context, rule, topic_of))
            }
        };
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
        Ok(Arc::new(Topics { plan: self.clone(), context, lines, keys, shared }))
    }

    fn rebase(&mut self, base: &Path) {
        KafkaSinkPlan::rebase(self, base);
    }

    fn complete(&self, _: &mut Shape) {}

    fn exactly_once(&self, _: &mut Shape) -> Result<(), Unable> {
        match (self.own_brokers(), self.reads_alone()) {
            (None, None) => Ok(()),
            (None, Some(_)) => {
                let message = "a transaction commits rows and the group's offsets, and there is no \
                               group";
                let help = "take `group = false` out, or delivery = \"at-least-once\"";
                Err(Unable::new("group", message, help))
            }
            (Some(_), _) => {
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

    fn known_as(&mut self, security: &SecurityPlan) {
        self.security = security.clone();
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
        let encoded = ENCODED.contains(&key) || schema::KEYS.contains(&key);
        // A key is said in one of two ways.
        let keyed = match key {
            "key" => !to.has("key_column"),
            "key_column" => !to.has("key"),
            _ => true,
        };
        (encode || !encoded) && (brokers || key != "properties") && keyed
    }

    fn explain(&self) -> Vec<String> {
        let Addressed { what, key, partition } = self.addressed();
        let schemas = self.schema.iter().chain(&self.key).map(SchemaPlan::explain);
        let mut lines = vec![
            format!("each row a record of {}: {what}", self.addressing.topic),
            format!("key: {key}; partition: {partition}"),
            format!("brokers: {}", self.brokers_shown()),
            "stored means: all replicas have the records (acks=all, idempotent); exactly once: the \
             transaction that has them, and the group's offsets, is committed"
                .to_owned(),
        ];
        lines.splice(1..1, schemas);
        lines
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
            _ if self.schema.is_some() => self.schema.as_ref().map_or("", |s| s.format.words()),
            Written::Json => "a JSON object",
            Written::Csv { .. } => "a CSV record without header",
            Written::LineProtocol => "line protocol",
        };
        let column = |name: &Option<String>, or: &str| match name {
            Some(name) => format!("column {name}"),
            None => or.to_owned(),
        };
        let key = match &self.key {
            Some(SchemaPlan { format, part: Part::Key(columns), .. }) => {
                format!("{} of {}", format.words(), columns.join(", "))
            }
            _ => column(&self.addressing.key_column, "that of the record it came from"),
        };
        let partition = column(&self.addressing.partition_column, "by the key, as Java's");
        Addressed { what, key, partition }
    }
}

struct Topics {
    plan: KafkaSinkPlan,
    context: SinkContext,
    lines: Lines,
    /// What makes keys that have a schema.
    keys: Option<schema::Encoders>,
    shared: Arc<Shared>,
}

/// What makes lines of rows.
enum Lines {
    Text(text::Encoders),
    Schema(schema::Encoders),
}

impl Topics {
    /// What has a schema: values, keys.
    fn with_schemas(&self) -> impl Iterator<Item = &schema::Encoders> {
        let values = match &self.lines {
            Lines::Text(_) => None,
            Lines::Schema(encoders) => Some(encoders),
        };
        values.into_iter().chain(&self.keys)
    }

    /// The schemas.
    fn subjects(&self) -> impl Iterator<Item = &Arc<Subjects>> {
        self.with_schemas().map(schema::Encoders::subjects)
    }

    /// Knocks on the registry's door, if the subject is known before the first row.
    async fn look_at_schemas(&self, prepare: bool) -> Vec<Finding> {
        // A subject that depends on the table is one of many: the registry's answer will do.
        let table = self.context.shape.table.fixed().unwrap_or("TABLE");
        let mut findings = Vec::new();
        for encoders in self.with_schemas() {
            let subject = encoders.subject_of(table);
            findings.extend(encoders.subjects().check(&subject, prepare).await);
        }
        findings
    }

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
        Box::pin(async move {
            block_in_place(|| {
                let mut findings = vec![self.look(prepare)];
                let looked = self.look_at_schemas(prepare);
                findings.extend(self.context.runtime.block_on(looked));
                findings
            })
        })
    }

    /// A payload has records for all topics, and marks that are none.
    fn table_of(&self, _: &Payload, line: &Line) -> Option<Arc<str>> {
        self.shared.targets.topic(line.layout)
    }

    fn encoder(&self) -> Box<dyn Encoder> {
        let couriers = self.plan.couriers_per_lane() as u32;
        let lines = match &self.lines {
            Lines::Text(encoders) => encoders.lane(couriers),
            Lines::Schema(encoders) => encoders.lane(couriers),
        };
        let (addressing, origins) = (self.plan.addressing.clone(), &self.shared.origins);
        let (names, once) = (&self.context.names, self.shared.once.is_some());
        let targets = &self.shared.targets;
        let emitting = Emitting::new(names, self.shared.read.clone(), targets);
        let registers = (Arc::clone(origins), Arc::clone(targets), emitting);
        let framing = Framing::new(lines, addressing, names, registers, couriers);
        Box::new(framing.with_marks(once).with_keys(self.keys()))
    }

    fn keys(&self) -> Option<schema::Keys> {
        self.keys.as_ref().map(schema::Encoders::keys)
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

    fn abandon(&self) {
        self.subjects().for_each(|subjects| subjects.abandon());
    }

    fn interrupt(&self) {
        self.subjects().for_each(|subjects| subjects.interrupt());
    }

    fn note(&self, notes: Arc<Notes>) {
        self.subjects().for_each(|subjects| subjects.note(Arc::clone(&notes)));
    }

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
        let registry = || self.subjects().find_map(|subjects| subjects.trouble());
        self.shared.trouble.words().or_else(registry)
    }

    fn rest(&self, rests: bool) {
        self.shared.trouble.rest(rests);
        self.subjects().for_each(|subjects| subjects.rest(rests));
    }
}
