//! The meters in Prometheus's text format. Names are stable; `docs/operate.md` lists them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Difference, Latency, Meters, PipelineMeter, ShadowMeter, TransformMeter, process};
use crate::reject::Reason;

/// Everything, as `/metrics` answers.
pub fn render(meters: &Meters, now: SystemTime) -> String {
    let mut page = Page { text: String::with_capacity(16 << 10), meters };
    page.counters();
    page.gauges(now);
    page.partitions();
    page.latency("bridge_acked_seconds", "from Kafka's timestamp to the receipt", |m| &m.acked);
    page.latency("bridge_stored_seconds", "from a payload's first row to its receipt", |m| {
        &m.stored
    });
    page.transforms();
    page.transform_time();
    page.shadows();
    page.own();
    page.process();
    page.text
}

struct Page<'a> {
    text: String,
    meters: &'a Meters,
}

impl Page<'_> {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn each<T: std::fmt::Display>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        value: impl Fn(&PipelineMeter) -> T,
    ) {
        self.family(name, kind, help);
        for (pipeline, meter) in self.meters {
            let _ = writeln!(self.text, "{name}{{pipeline=\"{pipeline}\"}} {}", value(meter));
        }
    }

    fn counters(&mut self) {
        let count = "counter";
        self.each("bridge_records_in_total", count, "records taken from Kafka", |m| {
            m.records_in.get()
        });
        self.each("bridge_bytes_in_total", count, "bytes of their keys and values", |m| {
            m.bytes_in.get()
        });
        self.each("bridge_rows_stored_total", count, "rows that are stored", |m| {
            m.rows_stored.get()
        });
        self.each("bridge_bytes_stored_total", count, "encoded bytes that are stored", |m| {
            m.bytes_stored.get()
        });
        self.each("bridge_records_filtered_total", count, "records left without a row", |m| {
            m.records_filtered.get()
        });
        self.each(
            "bridge_records_skipped_total",
            count,
            "records left out by policy, such as those with a null value",
            |m| m.records_skipped.get(),
        );
        self.each("bridge_values_nulled_total", count, "values that became null", |m| {
            m.values_nulled.get()
        });
        self.each("bridge_rejects_stored_total", count, "rejects in the dead letters", |m| {
            m.rejects_stored.get()
        });
        self.each("bridge_retries_total", count, "sends tried again", |m| m.retries.get());
        self.each("bridge_rewinds_total", count, "times back to a commit point", |m| {
            m.rewinds.get()
        });
        self.each("bridge_offsets_missed_total", count, "offsets no longer in the log", |m| {
            m.offsets_missed.get()
        });
        self.each("bridge_fallbacks_total", count, "times turned to the fallback", |m| {
            m.fallbacks.get()
        });
        let name = "bridge_sink_rows_stored_total";
        self.family(name, count, "rows that each sink stored");
        for (pipeline, meter) in self.meters {
            for (sink, rows) in &*meter.sinks.lock().expect("no one panics with it") {
                let labels = format!("pipeline=\"{pipeline}\",sink=\"{sink}\"");
                let _ = writeln!(self.text, "{name}{{{labels}}} {}", rows.get());
            }
        }
        let name = "bridge_records_rejected_total";
        self.family(name, count, "rejected records by reason");
        for (pipeline, meter) in self.meters {
            for (reason, counter) in Reason::ALL.iter().zip(&meter.rejected) {
                let (reason, value) = (reason.name(), counter.get());
                let _ = writeln!(
                    self.text,
                    "{name}{{pipeline=\"{pipeline}\",reason=\"{reason}\"}} {value}"
                );
            }
        }
    }

    fn gauges(&mut self, now: SystemTime) {
        let gauge = "gauge";
        self.each("bridge_connections", gauge, "open connections", |m| m.connections.get());
        self.each("bridge_partitions", gauge, "assigned partitions", |m| m.partitions.get());
        self.each("bridge_partitions_paused", gauge, "paused partitions", |m| m.paused.get());
        self.each("bridge_lag", gauge, "records that were not taken yet", |m| m.lag.get());
        self.each("bridge_queued_bytes", gauge, "bytes under way", |m| m.queued_bytes.get());
        self.each("bridge_tickets_out", gauge, "batches under way", |m| m.tickets_out.get());
        let now_ms = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let name = "bridge_commit_age_seconds";
        self.family(name, gauge, "time since the last commit");
        for (pipeline, meter) in self.meters {
            let at = meter.committed_at_ms.get();
            if at > 0 {
                let age = (now_ms as i64 - at).max(0) as f64 / 1e3;
                let _ = writeln!(self.text, "{name}{{pipeline=\"{pipeline}\"}} {age}");
            }
        }
        self.each("bridge_fallback_active", gauge, "1 while rows go to the fallback", |m| {
            m.fallback_active.get()
        });
        self.each("bridge_ready", gauge, "1 while nothing is wrong", |meter| {
            u8::from(meter.trouble.lock().expect("no one panics with it").is_empty())
        });
    }

    fn partitions(&mut self) {
        let name = "bridge_partition_lag";
        self.family(name, "gauge", "records of the partition that were not taken yet");
        for (pipeline, meter) in self.meters {
            for (partition, lag) in &*meter.partition_lag.lock().expect("no one panics with it") {
                let (topic, number) = partition.rsplit_once('/').unwrap_or((partition, ""));
                let topic = label(topic);
                let _ = writeln!(
                    self.text,
                    "{name}{{pipeline=\"{pipeline}\",topic=\"{topic}\",partition=\"{number}\"}} \
                     {lag}"
                );
            }
        }
    }

    fn latency(&mut self, name: &str, help: &str, of: impl Fn(&PipelineMeter) -> &Latency) {
        self.family(name, "summary", help);
        for (pipeline, meter) in self.meters {
            self.summary(name, &format!("pipeline=\"{pipeline}\""), of(meter));
        }
    }

    fn summary(&mut self, name: &str, labels: &str, latency: &Latency) {
        const QUANTILES: &[f64] = &[0.5, 0.9, 0.99, 0.999];
        let (durations, count, sum) = latency.snapshot(QUANTILES);
        for (quantile, duration) in QUANTILES.iter().zip(durations) {
            let value = duration.as_secs_f64();
            let _ = writeln!(self.text, "{name}{{{labels},quantile=\"{quantile}\"}} {value}");
        }
        let _ = writeln!(self.text, "{name}_sum{{{labels}}} {sum}");
        let _ = writeln!(self.text, "{name}_count{{{labels}}} {count}");
    }

    /// Every transform of every pipeline, and its labels; its place in the chain tells two of one
    /// name apart.
    fn of_transforms(&self) -> Vec<(String, Arc<TransformMeter>)> {
        let mut all = Vec::new();
        for (pipeline, meter) in self.meters {
            let transforms = meter.transforms.lock().expect("no one panics with it");
            for (step, (transform, meter)) in transforms.iter().enumerate() {
                let transform = label(transform);
                let labels =
                    format!("pipeline=\"{pipeline}\",transform=\"{transform}\",step=\"{step}\"");
                all.push((labels, Arc::clone(meter)));
            }
        }
        all
    }

    fn transform_time(&mut self) {
        let name = "bridge_transform_batch_seconds";
        self.family(name, "summary", "time of a batch in a transform");
        for (labels, meter) in self.of_transforms() {
            self.summary(name, &labels, &meter.took);
        }
    }

    fn transforms(&mut self) {
        type Read = fn(&TransformMeter) -> f64;
        let families: [(&str, &str, &str, Read); 13] = [
            ("rows_in_total", "counter", "rows that went in", |m| m.rows_in.get() as f64),
            ("rows_out_total", "counter", "rows that came out", |m| m.rows_out.get() as f64),
            ("emitted_total", "counter", "records made for topics", |m| m.emitted.get() as f64),
            ("rejected_total", "counter", "records it refused", |m| m.rejected.get() as f64),
            ("filtered_total", "counter", "records it left out", |m| m.filtered.get() as f64),
            ("traps_total", "counter", "traps", |m| m.traps.get() as f64),
            ("deadlines_total", "counter", "deadlines passed", |m| m.deadlines.get() as f64),
            ("busy_seconds_total", "counter", "time spent in it", |m| m.busy_ns.get() as f64 / 1e9),
            ("memory_bytes", "gauge", "memory of its largest instance", |m| {
                m.memory_bytes.get() as f64
            }),
            ("replaced_total", "counter", "instances made anew", |m| m.replaced.get() as f64),
            ("cases_total", "counter", "records kept to be replayed", |m| m.cases.get() as f64),
            ("reloads_total", "counter", "modules that took over", |m| m.reloads.get() as f64),
            ("reloads_refused_total", "counter", "modules refused while it ran", |m| {
                m.reloads_refused.get() as f64
            }),
        ];
        let transforms = self.of_transforms();
        for (name, kind, help, read) in families {
            let name = format!("bridge_transform_{name}");
            self.family(&name, kind, help);
            for (labels, meter) in &transforms {
                let _ = writeln!(self.text, "{name}{{{labels}}} {}", read(meter));
            }
        }
    }

    /// Modules in the shadow of others.
    fn shadows(&mut self) {
        self.shadow("records_total", "records by how it differs", |labels, meter, lines| {
            let different = Difference::ALL.iter().map(|kind| kind.name()).zip(&meter.different);
            for (kind, count) in [("same", &meter.same)].into_iter().chain(different) {
                lines.push((format!("{labels},kind=\"{kind}\""), count.get() as f64));
            }
        });
        self.shadow("busy_seconds_total", "time spent in it", |labels, meter, lines| {
            lines.push((labels.to_owned(), meter.module.busy_ns.get() as f64 / 1e9));
        });
        self.shadow("stopped_total", "lanes that left it out", |labels, meter, lines| {
            lines.push((labels.to_owned(), meter.stopped.get() as f64));
        });
    }

    fn shadow(
        &mut self,
        name: &str,
        help: &str,
        each: impl Fn(&str, &ShadowMeter, &mut Vec<(String, f64)>),
    ) {
        let name = format!("bridge_transform_shadow_{name}");
        self.family(&name, "counter", help);
        let mut lines = Vec::new();
        for (labels, meter) in self.of_transforms() {
            if let Some(shadow) = meter.shadow.get() {
                each(&labels, shadow, &mut lines);
            }
        }
        for (labels, value) in lines {
            let _ = writeln!(self.text, "{name}{{{labels}}} {value}");
        }
    }

    /// What transforms count themselves: `bridge_guest_` and the name that they gave it.
    fn own(&mut self) {
        type Samples = Vec<(String, f64)>;
        let mut families: BTreeMap<String, (bool, Samples)> = BTreeMap::new();
        for (labels, meter) in self.of_transforms() {
            for metric in &*meter.own.lock().expect("no one panics with it") {
                let family = families
                    .entry(metric.name.clone())
                    .or_insert_with(|| (metric.gauge, Vec::new()));
                family.1.push((labels.clone(), metric.value));
            }
        }
        for (name, (gauge, samples)) in families {
            let name = format!("bridge_guest_{name}");
            self.family(&name, if gauge { "gauge" } else { "counter" }, "said by a transform");
            for (labels, value) in samples {
                let _ = writeln!(self.text, "{name}{{{labels}}} {value}");
            }
        }
    }

    fn process(&mut self) {
        let version = env!("CARGO_PKG_VERSION");
        self.family("bridge_build_info", "gauge", "the version");
        let _ = writeln!(self.text, "bridge_build_info{{version=\"{version}\"}} 1");
        if let Some(bytes) = process::resident_bytes() {
            self.family("process_resident_memory_bytes", "gauge", "memory in use");
            let _ = writeln!(self.text, "process_resident_memory_bytes {bytes}");
        }
        if let Some(time) = process::cpu_time() {
            self.family("process_cpu_seconds_total", "counter", "time on the processor");
            let _ = writeln!(self.text, "process_cpu_seconds_total {}", seconds(time));
        }
    }
}

fn seconds(duration: Duration) -> f64 {
    duration.as_millis() as f64 / 1e3
}

fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_page_for_operators_lists_every_metric_and_no_other() {
        let meter = Arc::new(PipelineMeter::default());
        let meters = vec![("readings".into(), meter)];
        let text = render(&meters, SystemTime::UNIX_EPOCH);
        let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let made: BTreeSet<&str> = families.filter_map(|rest| rest.split(' ').next()).collect();
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operate.md");
        let page = std::fs::read_to_string(file).expect("the page is there");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
        let names = rows.filter_map(|rest| rest.split('`').next());
        let listed: BTreeSet<&str> = names
            .filter(|name| name.starts_with("bridge_") || name.starts_with("process_"))
            .collect();
        assert_eq!(listed, made);
    }

    #[test]
    fn every_line_is_prometheus() {
        let meter = Arc::new(PipelineMeter::default());
        let transform = Arc::new(TransformMeter::default());
        transform.say("cold", false, 4.0);
        meter.records_in.add(7);
        meter.reject(Reason::Trap, 2);
        meter.acked.record(Duration::from_millis(84), 10);
        meter.committed_at_ms.set(1_000);
        meter.set_trouble("questdb is not answering");
        *meter.partition_lag.lock().expect("unpoisoned") = vec![("a/b/3".to_owned(), 5)];
        *meter.transforms.lock().expect("unpoisoned") =
            vec![("d\"p".to_owned(), Arc::clone(&transform))];
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(3_500);
        let text = render(&vec![("readings".into(), meter)], now);
        for line in [
            "bridge_records_in_total{pipeline=\"readings\"} 7",
            "bridge_records_rejected_total{pipeline=\"readings\",reason=\"trap\"} 2",
            "bridge_partition_lag{pipeline=\"readings\",topic=\"a/b\",partition=\"3\"} 5",
            "bridge_commit_age_seconds{pipeline=\"readings\"} 2.5",
            "bridge_ready{pipeline=\"readings\"} 0",
            "bridge_acked_seconds_count{pipeline=\"readings\"} 10",
            "bridge_guest_cold{pipeline=\"readings\",transform=\"d\\\"p\",step=\"0\"} 4",
            "bridge_transform_traps_total{pipeline=\"readings\",transform=\"d\\\"p\",step=\"0\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        let mut announced = std::collections::HashSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let name = rest.split(' ').next().expect("a name").to_owned();
                assert!(announced.insert(name), "announced twice: {line}");
            } else if !line.starts_with('#') {
                let (name, value) = line.rsplit_once(' ').expect("a name and a value");
                assert!(value.parse::<f64>().is_ok(), "{line}");
                let family = name.split('{').next().expect("a name");
                let family = family.trim_end_matches("_sum").trim_end_matches("_count");
                assert!(announced.contains(family), "{line}");
            }
        }
    }
}
