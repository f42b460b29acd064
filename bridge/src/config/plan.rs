//! What is to be done, checked: no `Option` left that only means "not said".

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;

use super::group::Group;
use super::security::SecurityPlan;
use super::start::{OutOfRange, Start};
use crate::format::{Admission, FormatPlan, KeyPlan};
use crate::limits::{COURIER_BYTES, Limits, PROCESS_BYTES};
use crate::observe::admin;
use crate::range::Range;
use crate::shape::Shape;
use crate::sink::{Delivery, SinkPlan};
use crate::source::SourcePlan;
use crate::transform::{TransformPlan, columns};

/// The whole of a configuration file.
#[derive(Debug)]
pub struct Plan {
    /// The pipelines, in the order of the file.
    pub pipelines: Vec<PipelinePlan>,
    /// Where `/metrics`, `/healthz`, `/readyz` and `/status` are served, if at all.
    pub http: Option<SocketAddr>,
    /// Who may give orders there.
    pub admin: admin::Admission,
    /// The folder that relative paths start from: the file's own.
    pub base: PathBuf,
    /// Where the bridge keeps machine code that it compiled, if it may.
    pub cache: Option<PathBuf>,
}

/// One pipeline.
#[derive(Debug)]
pub struct PipelinePlan {
    /// Its name.
    pub name: Arc<str>,
    /// The source's kind.
    pub source_kind: &'static str,
    /// Where records come from.
    pub source: Box<dyn SourcePlan>,
    /// The format's kind.
    pub value_kind: &'static str,
    /// How values are read.
    pub value: Box<dyn FormatPlan>,
    /// How keys are read.
    pub key: KeyPlan,
    /// What happens to records without a value, and to very large ones.
    pub admission: Admission,
    /// What works on the rows, in this order.
    pub transforms: Vec<Arc<dyn TransformPlan>>,
    /// What rows must become.
    pub shape: Shape,
    /// What a replay may leave behind.
    pub delivery: Delivery,
    /// The sink's kind.
    pub sink_kind: &'static str,
    /// Where they go.
    pub sink: Box<dyn SinkPlan>,
    /// Where rows go while the sink takes none.
    pub fallback: Option<FallbackPlan>,
    /// Where they go as well.
    pub also: Vec<AlsoPlan>,
    /// Where refused records go.
    pub rejects: RejectsPlan,
    /// The bounds.
    pub limits: Limits,
}

/// One more sink, which gets every row as well.
#[derive(Debug)]
pub struct AlsoPlan {
    /// Its kind.
    pub sink_kind: &'static str,
    /// Where rows go.
    pub sink: Box<dyn SinkPlan>,
}

/// A second sink, for when the first takes no rows.
#[derive(Debug)]
pub struct FallbackPlan {
    /// Its kind.
    pub sink_kind: &'static str,
    /// Where rows go.
    pub sink: Box<dyn SinkPlan>,
    /// Trouble of the first that lasts so long turns the pipeline.
    pub after: Duration,
    /// How often the first is asked whether it would take rows again.
    pub retry_every: Duration,
}

/// A Kafka source as configured.
#[derive(Clone)]
pub struct KafkaPlan {
    /// librdkafka properties as the user wrote them (`bootstrap.servers` included), in order.
    /// Secrets among them are masked by [`KafkaPlan::shown`].
    pub properties: Vec<(String, String)>,
    /// Which topics.
    pub topics: Topics,
    /// As whose member records are read.
    pub group: Group,
    /// `group.instance.id`: static membership; `None` when the user switched it off.
    pub instance: Option<String>,
    /// Where partitions without a committed offset start.
    pub start: Start,
    /// Overrides committed offsets once (`bridge run --from`).
    pub from: Option<Start>,
    /// What is done where an offset is no longer in the log.
    pub out_of_range: OutOfRange,
    /// Only these records, and no further than the ends as they are at the start.
    pub range: Option<Range>,
    /// Who fetches records.
    pub fetch: Fetching,
    /// Who the bridge is to the brokers, and whom it trusts. Properties come before it.
    pub security: SecurityPlan,
}

impl Plan {
    /// The memory that all pipelines together may take, bytes.
    pub fn ceiling_bytes(&self) -> usize {
        let parts = self.pipelines.iter().flat_map(PipelinePlan::ceiling);
        PROCESS_BYTES + parts.map(|(_, bytes)| bytes).sum::<usize>()
    }
}

impl PipelinePlan {
    /// Connections to the sink, all lanes together.
    pub fn couriers(&self) -> usize {
        self.limits.lanes * self.sink.couriers_per_lane()
    }

    /// The same of the fallback.
    pub fn fallback_couriers(&self) -> usize {
        let per_lane = self.fallback.as_ref().map_or(0, |f| f.sink.couriers_per_lane());
        self.limits.lanes * per_lane
    }

    /// The same of the sinks that get all rows as well.
    pub fn also_couriers(&self) -> usize {
        let per_lane: usize = self.also.iter().map(|also| also.sink.couriers_per_lane()).sum();
        self.limits.lanes * per_lane
    }

    /// Whether records that transforms make for topics have somewhere to go, whichever way rows
    /// take.
    pub fn takes_emitted(&self) -> bool {
        let second = self.fallback.as_ref();
        let always = self.sink.takes_emitted() && second.is_none_or(|f| f.sink.takes_emitted());
        always || self.also.iter().any(|also| also.sink.takes_emitted())
    }

    /// What this pipeline may hold, without the process itself: (what it is, bytes).
    pub fn ceiling(&self) -> Vec<(&'static str, usize)> {
        let sandboxes = self.transforms.iter().map(|transform| transform.memory_bytes_max());
        let (first, second) = (self.couriers(), self.fallback_couriers());
        let mut parts =
            self.limits.ceiling(first.max(second) + self.also_couriers(), sandboxes.sum());
        let stages = self.transforms.len() + columns::count(&self.shape);
        let further = stages.saturating_sub(1);
        if further > 0 {
            let bytes = further * self.limits.lanes * self.limits.portion_bytes_max();
            parts.push(("rows of further transforms", bytes));
        }
        let unpacked = self.value.lane_bytes();
        if unpacked > 0 {
            parts.push(("values unpacked", self.limits.lanes * unpacked));
        }
        if second > 0 {
            // Payloads are with one of both sinks at a time; the other one's couriers are idle.
            parts.push(("connections that rest", first.min(second) * COURIER_BYTES));
        }
        parts
    }
}

/// Properties may hold secrets.
impl fmt::Debug for KafkaPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("KafkaPlan");
        shown.field("properties", &self.shown()).field("topics", &self.topics);
        shown.field("group", &self.group).finish_non_exhaustive()
    }
}

impl KafkaPlan {
    /// `security.protocol`, as the client library calls it.
    pub fn protocol(&self) -> &str {
        let said = self.properties.iter().rev().find(|(key, _)| key == "security.protocol");
        said.map_or_else(|| self.security.protocol(), |(_, value)| value)
    }

    /// The properties with secrets masked, for people.
    pub fn shown(&self) -> Vec<(String, String)> {
        let shown = |(key, value): &(String, String)| {
            let value = if is_secret(key) { "********".to_owned() } else { value.clone() };
            (key.clone(), value)
        };
        self.properties.iter().map(shown).collect()
    }
}

/// Whether a property's value must not be shown.
pub fn is_secret(property: &str) -> bool {
    ["password", "passphrase", "secret", "token", "jaas", "key.pem", "sasl.oauthbearer.config"]
        .iter()
        .any(|part| property.contains(part))
}

/// Which topics.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Topics {
    /// These.
    List(Vec<String>),
    /// All whose name matches, whole.
    Regex {
        /// The expression.
        like: String,
        /// Expressions of those that are left out.
        except: Vec<String>,
    },
}

/// Who fetches records.
#[derive(serde::Deserialize, JsonSchema, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Fetch")]
pub enum Fetching {
    /// The bridge itself where it can, else the client library.
    #[default]
    Auto,
    /// The client library.
    Library,
}

/// Where refused records go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RejectsPlan {
    /// A topic; `{topic}` stands for the record's own.
    Topic {
        /// Its name.
        topic: String,
    },
    /// A file of JSON lines.
    File {
        /// Its path.
        path: PathBuf,
    },
}
