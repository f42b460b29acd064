//! The file as it is written: every key, its type, its meaning (the comments below are what
//! `bridge schema` and `docs/reference.md` say). Nothing is checked here beyond types.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::json;

use super::columns::{ColumnDraft, ExplodeDraft, OnlyDraft};
use super::group::Partitions;
use super::key::KeyDraft;
use super::reach::KafkaDraft;
use super::schema::{FallbackSection, FormatSection, SinkSection, SourceSection, TransformSection};
use super::start::{OutOfRange, Start, Until};
use super::tables::DeclaredDraft;
use super::units::{Bytes, Span};
use crate::observe::admin::Admission;
use crate::shape::{Arrays, Decimals, EmptyText, OnBad};
use crate::sink::Delivery;

/// A configuration file of the bridge.
#[derive(serde::Deserialize, JsonSchema, Default, Debug)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "File")]
pub struct FileDraft {
    /// How Kafka is reached, for all pipelines.
    pub kafka: Raw<KafkaDraft>,
    /// The pipelines, by name.
    pub pipeline: Raw<Named<PipelineDraft>>,
    /// Tables as they must be, by name; comes before what a pipeline's `table` says.
    pub tables: Raw<Named<DeclaredDraft>>,
    /// Bounds for all pipelines; a pipeline's own come first.
    pub limits: Raw<LimitsDraft>,
    /// Where metrics and health are served.
    pub http: Raw<HttpDraft>,
    /// The folder in which compiled modules are kept between runs, or `false` for none. Default:
    /// `bridge` in the user's cache folder.
    pub cache: Option<TextOrFalse>,
}

/// Where metrics and health are served.
#[derive(serde::Deserialize, JsonSchema, Default, Debug)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Http")]
pub struct HttpDraft {
    /// Address and port for `/metrics`, `/healthz`, `/readyz` and `/status`, such as
    /// `"127.0.0.1:9187"`.
    pub listen: Option<String>,
    /// Who may give orders there (`POST /reload`, `/rollback`): `"off"` (default), `"loopback"`
    /// (this machine), `"anyone"`; see docs/operate.md#orders.
    pub admin: Option<Admission>,
}

/// One pipeline: from topics to tables.
#[derive(serde::Deserialize, JsonSchema, Default, Debug)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Pipeline")]
pub struct PipelineDraft {
    /// The topics to read.
    pub topics: Option<Vec<String>>,
    /// Read all topics whose whole name matches, in place of `topics`.
    pub topics_regex: Option<String>,
    /// Of those, not the topics whose whole name matches one of these.
    pub topics_except: Vec<String>,
    /// The consumer group, or `false` to read in none; see docs/positions.md. Default
    /// `"bridge-NAME"`.
    pub group: Option<TextOrFalse>,
    /// With `group = false`: only these partitions of each topic, such as `"0-3, 7"`. Default: all,
    /// and those that are added.
    pub partitions: Option<Partitions>,
    /// With `group = false`: the file that keeps how far partitions were read, relative to the
    /// configuration file. Not needed where the sink keeps it (`postgres`, exactly once).
    pub progress: Option<String>,
    /// Where partitions without a committed offset start: `"earliest"` (default), `"latest"`,
    /// `"committed"` (there must be one), a time, `"6h ago"`, `"1000 before end"`, or offsets such
    /// as `"0=120, 1=77"`; see docs/positions.md.
    pub start: Option<Start>,
    /// What is done where an offset is no longer in the log: `"stop"` (default), or go on at the
    /// `"earliest"` or `"latest"` that is.
    pub out_of_range: Option<OutOfRange>,
    /// Read only these records, and end: an expression over topic, partition, offset and
    /// timestamp, such as `"partition = 0 and offset >= 1000"`; see docs/positions.md.
    pub range: Option<String>,
    /// End there: `"now"` (the ends of the partitions at the start), or at a time.
    pub until: Option<Until>,
    /// The id of this process in its group, by which a restart finds its partitions again, or
    /// `false` for none. Default: host, pipeline and `--instance`.
    pub instance: Option<TextOrFalse>,
    /// Where records come from, if not from Kafka.
    pub source: Raw<SourceSection>,
    /// What happens to records without a value. Default `"skip"` (they are counted).
    pub null_value: Option<NullValueDraft>,
    /// Records with a larger value are rejected. Default `"4MiB"`.
    pub record_bytes_max: Option<Bytes>,
    /// How values are read. Default `{ format = "json" }`.
    pub value: Raw<FormatSection>,
    /// What becomes of keys. Default: nothing.
    pub key: Raw<KeyDraft>,
    /// What works on the rows, in this order.
    pub transform: Raw<Vec<TransformSection>>,
    /// What rows must become.
    pub table: Raw<TableDraft>,
    /// What a replay may leave behind: `"at-least-once"` (default) or `"exactly-once"`, which not
    /// every sink can do; see docs/delivery.md.
    pub delivery: Option<Delivery>,
    /// Where rows go. Default `{ kind = "questdb" }` on localhost.
    pub sink: Raw<SinkSection>,
    /// Where rows go while the sink takes none. Default: nowhere, they wait; see docs/fallback.md.
    pub fallback: Raw<FallbackSection>,
    /// Where rows go as well: each a section as `sink` is. Default: nowhere; see docs/fanout.md.
    pub also: Raw<Vec<SinkSection>>,
    /// Where refused records go. Default: the topic `{topic}.dead-letters`; without Kafka, the file
    /// `NAME.dead-letters.jsonl` beside this one.
    pub rejects: Raw<RejectsDraft>,
    /// Bounds of this pipeline.
    pub limits: Raw<LimitsDraft>,
    /// What is different for this pipeline in how Kafka is reached.
    pub kafka: Raw<KafkaDraft>,
}

/// What happens to records without a value.
#[derive(serde::Deserialize, JsonSchema, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "NullValue")]
pub enum NullValueDraft {
    /// They are counted and left out.
    Skip,
    /// They are rejected.
    Reject,
    /// They delete the row of their key, in a sink that can do it (`postgres` with `mode =
    /// "upsert"`).
    Delete,
}

/// What rows must become.
#[derive(serde::Deserialize, JsonSchema, Default, Debug)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Table")]
pub struct TableDraft {
    /// The table: a name, or a template of `{topic}`, `{key}`, `{partition}`, `{header.NAME}` and
    /// `{field.NAME}`. Default `"{topic}"`.
    pub name: Option<String>,
    /// Where the designated timestamp comes from: `"kafka"` (default), `"server"`, or a table
    /// with `field`.
    pub timestamp: Raw<TimestampDraft>,
    /// Columns that are symbols.
    pub symbols: Vec<String>,
    /// Types of columns, such as `temperature = "double"`, or more: `{ type = "timestamp", zone =
    /// "Europe/Berlin" }`. Others are taken from the table where it is there, else from the first
    /// value. See docs/columns.md, also for all that follows.
    pub columns: Raw<Named<ColumnDraft>>,
    /// New names of fields: `"path.in.the.record" = "column"`; all others stay.
    pub mapping: Named<String>,
    /// Only these fields: a list of paths, or `"path.in.the.record" = "column"`.
    pub mapping_only: Option<OnlyDraft>,
    /// Not these fields of the record, by their paths.
    pub drop: Vec<String>,
    /// The array whose elements become rows, by its path, or `{ field = "…", empty = "row", index =
    /// "…" }`.
    pub explode: Raw<ExplodeDraft>,
    /// What arrays of objects become. Default `"json"`.
    pub arrays: Option<Arrays>,
    /// What happens to a value that its column does not take. Default `"reject"`.
    pub on_bad: Option<OnBad>,
    /// Where times that say no zone are read, such as `"Europe/Berlin"`. Default UTC.
    pub zone: Option<String>,
    /// What becomes of decimals that nobody declared a column for. Default `"exact"`.
    pub decimals: Option<Decimals>,
    /// What becomes of empty text. Default `"keep"`.
    pub empty_text: Option<EmptyText>,
    /// A row that would give its table more columns is rejected. Default 500.
    pub columns_max: Option<usize>,
    /// Columns taken from the record itself; `true` for topic, partition, offset and row as
    /// `kafka_topic`, `kafka_partition`, `kafka_offset` and `kafka_row`.
    pub metadata: Raw<MetadataDraft>,
    /// Make missing tables. Default true.
    pub auto_create: Option<bool>,
    /// Add missing columns. Default true.
    pub add_columns: Option<bool>,
    /// Start only with tables that are as declared, make nothing, and reject records with other
    /// columns. Default false.
    pub strict: Option<bool>,
    /// How tables that the bridge makes are partitioned. Default `"DAY"`.
    pub partition_by: Option<PartitionByDraft>,
    /// How long tables that the bridge makes keep their rows, such as `"30 DAYS"`.
    pub ttl: Option<String>,
    /// Columns of `DEDUP UPSERT KEYS` in tables that the bridge makes.
    pub upsert_keys: Vec<String>,
}

/// How a table is partitioned.
#[derive(serde::Deserialize, JsonSchema, Clone, Copy, PartialEq, Eq, Debug)]
#[schemars(rename = "PartitionBy")]
pub enum PartitionByDraft {
    /// By hour.
    #[serde(alias = "hour")]
    #[serde(rename = "HOUR")]
    Hour,
    /// By day.
    #[serde(alias = "day")]
    #[serde(rename = "DAY")]
    Day,
    /// By week.
    #[serde(alias = "week")]
    #[serde(rename = "WEEK")]
    Week,
    /// By month.
    #[serde(alias = "month")]
    #[serde(rename = "MONTH")]
    Month,
    /// By year.
    #[serde(alias = "year")]
    #[serde(rename = "YEAR")]
    Year,
}

/// Where the designated timestamp comes from, in full.
#[derive(serde::Deserialize, Default, Debug)]
#[serde(deny_unknown_fields, default)]
pub struct TimestampDraft {
    /// The field of the record that holds it.
    pub field: Option<String>,
    /// Several text fields, joined by a space and read by `pattern`.
    pub fields: Option<Vec<String>>,
    /// The unit of a number. Default `"auto"`: by magnitude, and text as ISO 8601.
    pub unit: Option<UnitDraft>,
    /// How text is written, in strftime's letters, such as `"%Y-%m-%d %H:%M:%S"`.
    pub pattern: Option<String>,
    /// Kafka's timestamp of the record.
    pub kafka: bool,
    /// The server's clock at the time it stores the row.
    pub server: bool,
    /// Where local times are read. Default: as the table's `zone`.
    pub zone: Option<String>,
    /// The column in tables that the bridge makes. Default: the field's name, or `timestamp`.
    pub column: Option<String>,
}

impl JsonSchema for TimestampDraft {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let unit = generator.subschema_for::<UnitDraft>();
        let text = |what: &str| json!({ "type": "string", "description": what });
        json_schema!({ "anyOf": [
            { "enum": ["kafka", "server"] },
            { "type": "object", "additionalProperties": false, "properties": {
                "field": text("the field of the record that holds it"),
                "fields": {
                    "type": "array", "items": { "type": "string" },
                    "description": "several text fields, joined by a space and read by `pattern`",
                },
                "unit": unit,
                "pattern": text("how text is written, in strftime's letters"),
                "kafka": { "type": "boolean", "description": "Kafka's timestamp of the record" },
                "server": { "type": "boolean", "description": "the server's clock" },
                "zone": text("where local times are read; default: as the table's `zone`"),
                "column": text("the column in tables that the bridge makes; default: the field's \
                                name, or `timestamp`"),
            } },
        ] })
    }
}

/// The unit of a timestamp written as a number.
#[derive(serde::Deserialize, JsonSchema, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Unit")]
pub enum UnitDraft {
    /// By magnitude; text as ISO 8601.
    Auto,
    /// Seconds.
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
}

/// Columns taken from the record itself, under these names.
#[derive(serde::Deserialize, Default, Debug)]
#[serde(deny_unknown_fields, default)]
pub struct MetadataDraft {
    /// The topic.
    pub topic: Option<String>,
    /// The partition's number.
    pub partition: Option<String>,
    /// The offset.
    pub offset: Option<String>,
    /// The row's number within its record.
    pub row: Option<String>,
    /// Kafka's timestamp.
    pub timestamp: Option<String>,
    /// Headers: `header = "column"`.
    pub headers: Named<String>,
}

impl JsonSchema for MetadataDraft {
    fn schema_name() -> Cow<'static, str> {
        "Metadata".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let headers = generator.subschema_for::<Named<String>>();
        let text = |what: &str| json!({ "type": "string", "description": what });
        json_schema!({ "anyOf": [
            { "type": "boolean" },
            { "type": "object", "additionalProperties": false, "properties": {
                "topic": text("column of the topic"),
                "partition": text("column of the partition's number"),
                "offset": text("column of the offset"),
                "row": text("column of the row's number within its record"),
                "timestamp": text("column of Kafka's timestamp"),
                "headers": headers,
            } },
        ] })
    }
}

/// When rows go to the fallback. Its other keys are those of a sink; of a sink of the same kind
/// those that are not given are the first one's.
#[derive(serde::Deserialize, JsonSchema, Default, Debug)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Fallback")]
pub struct FallbackDraft {
    /// The kind of the sink. Default: the first one's.
    pub kind: Option<String>,
    /// The pipeline turns to the fallback when its sink has been in trouble for so long. Default
    /// `"10s"`.
    pub after: Option<Span>,
    /// How often the sink is asked whether it takes rows again; after returns that did not last,
    /// twice as seldom each time, up to 16 times. Default `"30s"`.
    pub retry_every: Option<Span>,
}

/// Where refused records go.
#[derive(serde::Deserialize, JsonSchema, Default, Debug)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Rejects")]
pub struct RejectsDraft {
    /// A topic; `{topic}` stands for the record's own. Default `"{topic}.dead-letters"`.
    pub topic: Option<String>,
    /// A file of JSON lines, in place of a topic.
    pub file: Option<String>,
}

/// The bounds.
#[derive(serde::Deserialize, JsonSchema, Clone, Default, Debug)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Limits")]
pub struct LimitsDraft {
    /// From Kafka's timestamp to the acknowledged row, as a target; `linger` is a quarter of it.
    /// Default `"100ms"`.
    pub latency: Option<Span>,
    /// Threads that decode, transform and encode. Default: the cores, at most 8.
    pub lanes: Option<usize>,
    /// Records in one batch, at most.
    pub batch_records_max: Option<usize>,
    /// Bytes of keys and values in one batch, about; a single record always passes.
    pub batch_bytes_max: Option<Bytes>,
    /// Batches that wait for one lane, at most.
    pub lane_inbox_batches_max: Option<usize>,
    /// Bytes that the source lends at once, over all lanes, with what the client library needs
    /// for each record; a single batch always passes.
    pub lent_bytes_max: Option<Bytes>,
    /// Bytes that may be held fetched, over all partitions.
    pub fetch_bytes_max: Option<Bytes>,
    /// Bytes of one payload before it is closed: its encoded rows, and 24 bytes for each.
    pub payload_bytes_max: Option<Bytes>,
    /// Rows of one payload before it is closed.
    pub payload_rows_max: Option<usize>,
    /// Bytes that one courier holds: the payloads of one request over HTTP, and such that wait for
    /// theirs.
    pub commit_bytes_max: Option<Bytes>,
    /// Rows of payloads that are sent in one request over HTTP.
    pub commit_rows_max: Option<usize>,
    /// The same of all open payloads of one lane.
    pub open_bytes_max: Option<Bytes>,
    /// Payloads that wait for one courier, at most.
    pub courier_inbox_payloads_max: Option<usize>,
    /// Age at which an open payload is closed, in place of `latency`.
    pub linger: Option<Span>,
    /// The same while the pipeline is behind, where large payloads matter more than their age.
    pub linger_behind: Option<Span>,
    /// Records behind the end of their partitions that count as behind.
    pub behind_records: Option<u64>,
    /// Batches whose ticket may be out at once.
    pub tickets_max: Option<usize>,
    /// Time between two commits.
    pub commit_interval: Option<Span>,
    /// Time that a revoked partition, or a stop, may take to drain.
    pub drain: Option<Span>,
    /// Memory of one transform instance.
    pub guest_memory_bytes_max: Option<Bytes>,
    /// Time of one transform call.
    pub guest_deadline: Option<Span>,
    /// The pipeline stops when more than this share of `reject_window` records is rejected for
    /// one reason.
    pub reject_share_max: Option<f64>,
    /// See `reject_share_max`.
    pub reject_window: Option<u64>,
}

/// A part that is read by itself later, so that its mistakes hide no others. It has the schema
/// of what it will be read as.
#[derive(Debug)]
pub struct Raw<T>(PhantomData<T>);

impl<T> Default for Raw<T> {
    fn default() -> Raw<T> {
        Raw(PhantomData)
    }
}

impl<'de, T> Deserialize<'de> for Raw<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Raw<T>, D::Error> {
        deserializer.deserialize_ignored_any(IgnoredAny).map(|_| Raw::default())
    }
}

impl<T: JsonSchema> JsonSchema for Raw<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A table whose keys the user chooses, in the order of the file.
#[derive(Clone, Debug)]
pub struct Named<T>(pub Vec<(String, T)>);

impl<T> Default for Named<T> {
    fn default() -> Named<T> {
        Named(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Named<T>, D::Error> {
        struct Entries<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Named<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Named(entries))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Named<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Named_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let inner = generator.subschema_for::<T>();
        json_schema!({ "type": "object", "additionalProperties": inner })
    }
}

/// Text, a number or a boolean, as text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scalar(pub String);

/// Text (`Some`), or `false` (`None`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TextOrFalse(pub Option<String>);

struct ScalarVisitor(&'static str);

impl Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar(text.to_owned()))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scalar, D::Error> {
        deserializer.deserialize_any(ScalarVisitor("text, a number, true or false"))
    }
}

impl JsonSchema for Scalar {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

impl<'de> Deserialize<'de> for TextOrFalse {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TextOrFalse, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Option<String>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text or false")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Option<String>, E> {
                Ok(Some(text.to_owned()))
            }

            fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Option<String>, E> {
                match value {
                    false => Ok(None),
                    true => Err(E::custom("leave it out for the default, or say `false`")),
                }
            }
        }
        deserializer.deserialize_any(Text).map(TextOrFalse)
    }
}

impl JsonSchema for TextOrFalse {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "TextOrFalse".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, { "const": false }] })
    }
}
