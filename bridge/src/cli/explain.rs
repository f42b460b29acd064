//! `bridge explain`: what a plan will do, in words; secrets masked.

use std::fmt::Write;

use jiff::tz::TimeZone;

use crate::config::units::{show_bytes, show_duration};
use crate::config::{PipelinePlan, Plan, RejectsPlan};
use crate::format::NullValue;
use crate::limits::{Limits, PROCESS_BYTES};
use crate::shape::{Arrays, EmptyArray, OnBad, Part, Shape, Template, Timestamp, Written};
use crate::sink::Delivery;

/// The whole plan.
pub fn explain(plan: &Plan) -> String {
    let mut page = Page::default();
    for pipeline in &plan.pipelines {
        page.heading(&format!("pipeline {}", pipeline.name));
        page.source(pipeline);
        page.rows(pipeline);
        page.destination(pipeline);
        page.bounds(&pipeline.limits);
    }
    page.ceiling(plan);
    page.heading("beside");
    match plan.http {
        Some(address) => page.line("metrics", format!("http://{address}/metrics")),
        None => page.line("metrics", "not served; [http] listen = \"127.0.0.1:9187\" does".into()),
    }
    match &plan.cache {
        Some(folder) => {
            page.line("modules", format!("compiled once, kept in {}", folder.display()))
        }
        None => page.line("modules", "compiled at every start".into()),
    }
    page.0
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn heading(&mut self, text: &str) {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        let _ = writeln!(self.0, "{gap}{text}");
    }

    fn line(&mut self, subject: &str, text: String) {
        let _ = writeln!(self.0, "  {subject:28}{text}");
    }

    fn source(&mut self, pipeline: &PipelinePlan) {
        for (subject, text) in pipeline.source.explain() {
            self.line(&subject, text);
        }
    }

    fn rows(&mut self, pipeline: &PipelinePlan) {
        self.line("values", pipeline.value_kind.to_owned());
        pipeline.value.explain().into_iter().for_each(|line| self.line("", line));
        self.line("keys", pipeline.key.in_words());
        pipeline.key.explain().into_iter().for_each(|line| self.line("", line));
        let admission = pipeline.admission;
        let nulls = match admission.null_value {
            NullValue::Skip => "skipped and counted",
            NullValue::Reject => "rejected",
            NullValue::Delete => "delete the row of their key",
        };
        self.line("null values", nulls.to_owned());
        self.line("largest value", show_bytes(admission.record_bytes_max));
        for (index, transform) in pipeline.transforms.iter().enumerate() {
            self.line(&format!("transform {}", index + 1), transform.name().to_owned());
        }
    }

    fn destination(&mut self, pipeline: &PipelinePlan) {
        self.shape(&pipeline.shape, pipeline.sink.has_partitions());
        self.line("sink", pipeline.sink_kind.to_owned());
        for line in pipeline.sink.explain() {
            self.line("", line);
        }
        self.line("delivery", delivery(pipeline));
        self.line("connections", pipeline.couriers().to_string());
        self.fallback(pipeline);
        for (number, also) in (1..).zip(&pipeline.also) {
            self.line(&format!("also-{number}"), also.sink_kind.to_owned());
            also.sink.explain().into_iter().for_each(|line| self.line("", line));
            let couriers = pipeline.limits.lanes * also.sink.couriers_per_lane();
            self.line("  connections", couriers.to_string());
        }
        self.line(
            "rejects",
            match &pipeline.rejects {
                RejectsPlan::Topic { topic } => format!("to the topic {topic}"),
                RejectsPlan::File { path } => format!("to the file {}", path.display()),
            },
        );
    }

    fn fallback(&mut self, pipeline: &PipelinePlan) {
        let Some(fallback) = &pipeline.fallback else {
            return self.line("fallback", "none: rows wait while the sink takes none".to_owned());
        };
        self.line("fallback", fallback.sink_kind.to_owned());
        for line in fallback.sink.explain() {
            self.line("", line);
        }
        self.line("  connections", pipeline.fallback_couriers().to_string());
        self.line("  turned to", format!("after {} of trouble", show_duration(fallback.after)));
        let every = show_duration(fallback.retry_every);
        self.line("  returned from", format!("when the sink answers; it is asked each {every}"));
    }

    fn shape(&mut self, shape: &Shape, has_partitions: bool) {
        self.line("table", template(&shape.table));
        self.line("timestamp", timestamp(shape));
        self.columns(shape);
        let shown = |(field, column): &(String, String)| match field == column {
            true => field.clone(),
            false => format!("{field} to {column}"),
        };
        let mapped: Vec<String> = shape.mapping.iter().map(shown).collect();
        if !mapped.is_empty() || shape.mapping_only {
            let what = if shape.mapping_only { "mapped, only" } else { "mapped" };
            self.line(what, mapped.join(", "));
        }
        if !shape.drop.is_empty() {
            self.line("dropped", shape.drop.join(", "));
        }
        self.values(shape);
        self.metadata(shape);
        self.made(shape, has_partitions);
        for declared in &shape.declared {
            self.line("declared table", declared.name.clone());
            self.columns(&declared.shape);
            self.made(&declared.shape, has_partitions);
        }
    }

    /// What becomes of arrays, times and values that do not fit, where that is said.
    fn values(&mut self, shape: &Shape) {
        if let Some(explode) = &shape.apart.explode {
            let empty = match explode.empty {
                EmptyArray::Row => "one row without elements",
                EmptyArray::Skip => "no row without elements",
            };
            self.line("rows", format!("one for each element of {}; {empty}", explode.array));
        }
        if shape.apart.arrays == Arrays::Parallel {
            self.line("arrays of objects", "become parallel arrays".to_owned());
        }
        for reading in &shape.values.readings {
            let (column, written) = (&reading.column, written(&reading.written));
            let zone = zone(reading.zone.as_ref());
            self.line("times", format!("{column} ({written}), local ones in {zone}"));
        }
        let own = shape.values.on_bad_of.iter().map(|(name, own)| format!("{name} {own:?}"));
        let own: Vec<String> = own.collect();
        if shape.values.on_bad != OnBad::Reject || !own.is_empty() {
            let all = format!("{:?}", shape.values.on_bad);
            let said = [vec![all], own].concat().join("; ").to_lowercase();
            self.line("values that do not fit", said);
        }
    }

    fn columns(&mut self, shape: &Shape) {
        if !shape.symbols.is_empty() {
            self.line("symbols", shape.symbols.join(", "));
        }
        let columns = shape.columns.iter().map(|(name, kind)| format!("{name} {kind}"));
        let columns: Vec<String> = columns.collect();
        if !columns.is_empty() {
            self.line("columns", columns.join(", "));
        }
    }

    fn made(&mut self, shape: &Shape, has_partitions: bool) {
        let create = &shape.create;
        let mut made = Vec::new();
        if has_partitions {
            made.push(format!("partitioned by {}", create.partition_by.unwrap_or("DAY")));
            made.extend(create.ttl.map(|ttl| format!("TTL {ttl}")));
        }
        if has_partitions && !create.upsert_keys.is_empty() {
            made.push(format!("DEDUP UPSERT KEYS({})", create.upsert_keys.join(", ")));
        }
        self.line(
            "missing tables",
            match (create.tables, made.is_empty()) {
                (true, false) => format!("are made: {}", made.join(", ")),
                (true, true) => "are made".to_owned(),
                (false, _) => "are not made".to_owned(),
            },
        );
        let added = match (create.columns, create.strict) {
            (true, _) => "are added",
            (false, false) => "are not added",
            (false, true) => "are not added, and a table that is not as declared is refused",
        };
        self.line("missing columns", format!("{added}; at most {} in a table", shape.columns_max));
    }

    fn metadata(&mut self, shape: &Shape) {
        let metadata = &shape.metadata;
        let fixed = [
            ("topic", &metadata.topic),
            ("partition", &metadata.partition),
            ("offset", &metadata.offset),
            ("row", &metadata.row),
            ("timestamp", &metadata.timestamp),
        ];
        let fixed = fixed.into_iter().filter_map(|(what, name)| Some((what, name.as_ref()?)));
        let mut all: Vec<String> = fixed.map(|(what, name)| format!("{what} as {name}")).collect();
        let headers = metadata.headers.iter();
        all.extend(headers.map(|(header, name)| format!("header {header} as {name}")));
        if !all.is_empty() {
            self.line("from the record", all.join(", "));
        }
    }

    fn bounds(&mut self, limits: &Limits) {
        self.heading("  bounds");
        for (name, value) in bounds(limits) {
            self.line(name, value);
        }
    }

    fn ceiling(&mut self, plan: &Plan) {
        self.heading("memory ceiling");
        self.sum("the process itself", PROCESS_BYTES);
        for pipeline in &plan.pipelines {
            for (what, bytes) in pipeline.ceiling() {
                let what = match plan.pipelines.len() {
                    1 => what.to_owned(),
                    _ => format!("{}: {what}", pipeline.name),
                };
                self.sum(&what, bytes);
            }
        }
        self.sum("all together", plan.ceiling_bytes());
    }

    fn sum(&mut self, what: &str, bytes: usize) {
        let _ = writeln!(self.0, "  {what:40}{:>10}", show_bytes(bytes));
    }
}

/// Every bound by its key.
fn bounds(limits: &Limits) -> Vec<(&'static str, String)> {
    // Taken apart by name, so that a bound that is added and not shown does not compile.
    let Limits {
        lanes,
        batch_records_max,
        batch_bytes_max,
        lane_inbox_batches_max,
        lent_bytes_max,
        fetch_bytes_max,
        payload_bytes_max,
        payload_rows_max,
        commit_bytes_max,
        commit_rows_max,
        open_bytes_max,
        courier_inbox_payloads_max,
        linger,
        linger_behind,
        behind_records,
        tickets_max,
        commit_interval,
        drain,
        guest_memory_bytes_max,
        guest_deadline,
        reject_share_max,
        reject_window,
    } = limits.clone();
    vec![
        ("lanes", lanes.to_string()),
        ("batch_records_max", batch_records_max.to_string()),
        ("batch_bytes_max", show_bytes(batch_bytes_max)),
        ("lane_inbox_batches_max", lane_inbox_batches_max.to_string()),
        ("lent_bytes_max", show_bytes(lent_bytes_max)),
        ("fetch_bytes_max", show_bytes(fetch_bytes_max)),
        ("payload_bytes_max", show_bytes(payload_bytes_max)),
        ("payload_rows_max", payload_rows_max.to_string()),
        ("commit_bytes_max", show_bytes(commit_bytes_max)),
        ("commit_rows_max", commit_rows_max.to_string()),
        ("open_bytes_max", show_bytes(open_bytes_max)),
        ("courier_inbox_payloads_max", courier_inbox_payloads_max.to_string()),
        ("linger", show_duration(linger)),
        ("linger_behind", show_duration(linger_behind)),
        ("behind_records", behind_records.to_string()),
        ("tickets_max", tickets_max.to_string()),
        ("commit_interval", show_duration(commit_interval)),
        ("drain", show_duration(drain)),
        ("guest_memory_bytes_max", show_bytes(guest_memory_bytes_max)),
        ("guest_deadline", show_duration(guest_deadline)),
        ("reject_share_max", format!("{reject_share_max} of one reason")),
        ("reject_window", format!("{reject_window} records")),
    ]
}

fn delivery(pipeline: &PipelinePlan) -> String {
    let keys = pipeline.shape.create.upsert_keys.join(", ");
    match (pipeline.delivery, keys.as_str()) {
        (Delivery::ExactlyOnce, "") => "exactly once".to_owned(),
        (Delivery::ExactlyOnce, keys) => format!(
            "exactly once: a replay writes rows over themselves, by the keys ({keys}); tables \
             without them are refused; in transforms the clock stands still"
        ),
        (Delivery::AtLeastOnce, _) => "at least once: a replay after a crash stores rows again; \
             where a table has upsert keys, over themselves"
            .to_owned(),
    }
}

fn template(template: &Template) -> String {
    let part = |part: &Part| match part {
        Part::Text(text) => text.clone(),
        Part::Topic => "{topic}".to_owned(),
        Part::Key => "{key}".to_owned(),
        Part::Partition => "{partition}".to_owned(),
        Part::Header(name) => format!("{{header.{name}}}"),
        Part::Field(name) => format!("{{field.{name}}}"),
    };
    template.0.iter().map(part).collect()
}

fn written(written: &Written) -> String {
    match written {
        Written::Auto => "ISO 8601, or a number by its magnitude".to_owned(),
        Written::Number(unit) => format!("{unit:?}").to_lowercase(),
        Written::Pattern(pattern) => format!("text as {pattern}"),
    }
}

fn zone(zone: Option<&TimeZone>) -> String {
    match zone {
        None => "UTC".to_owned(),
        Some(zone) => match zone.iana_name() {
            Some(name) => name.to_owned(),
            None => zone.to_offset(jiff::Timestamp::UNIX_EPOCH).to_string(),
        },
    }
}

fn timestamp(shape: &Shape) -> String {
    let column = &shape.timestamp_column;
    match &shape.timestamp {
        Timestamp::Field { field, written } => {
            let local = match &shape.timestamp_zone {
                Some(own) => format!(", local ones in {}", zone(Some(own))),
                None => String::new(),
            };
            format!("{column}, from the field {field} ({}){local}", self::written(written))
        }
        Timestamp::Composed { fields, pattern } => {
            format!("{column}, from {} (text as {pattern})", fields.join(" and "))
        }
        Timestamp::Kafka => format!("{column}, Kafka's timestamp of the record"),
        Timestamp::Server => format!("{column}, the server's clock: a replay gives other rows"),
    }
}
