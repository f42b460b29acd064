//! Telegraf: built from its Go module with the parts that are needed; its configuration.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use world::{Directory, GoProgram};

use super::launch::{Job, Launch};
use crate::harness::Transport;

/// Only the plugins that the configuration names: a whole Telegraf takes ten times as long to build
/// and runs no faster.
pub const PROGRAM: GoProgram = GoProgram {
    name: "telegraf",
    package: "github.com/influxdata/telegraf/cmd/telegraf",
    version: "v1.37.2",
    tags: "custom,inputs.kafka_consumer,outputs.influxdb_v2,outputs.socket_writer,\
           parsers.json_v2,serializers.influx",
};

/// Writes the configuration into a folder of its own.
pub fn launch(program: &Path, job: &Job) -> Result<Launch> {
    let (folder, config) = (Directory::create("telegraf")?, config(job));
    let file = folder.path().join("telegraf.conf");
    std::fs::write(&file, &config).context("writing telegraf.conf")?;
    Ok(Launch {
        program: PathBuf::from(program),
        arguments: vec!["--config".to_owned(), file.to_string_lossy().into_owned()],
        group: job.name.clone(),
        config,
        tasks: None,
        _kept: Box::new(folder),
    })
}

/// The batch is ten times the default, and what may be under way fifty times: with the defaults of
/// 1,000 both are in the way of each other.
fn config(job: &Job) -> String {
    let output = match job.transport {
        Transport::Http | Transport::Pg => format!(
            "[[outputs.influxdb_v2]]
  urls = [\"http://{}\"]
  content_encoding = \"identity\"
",
            job.http
        ),
        Transport::Tcp => format!(
            "[[outputs.socket_writer]]
  address = \"tcp://{}\"
  data_format = \"influx\"
",
            job.tcp
        ),
    };
    let part = |kind: &str, path: &str| {
        format!("  [[inputs.kafka_consumer.json_v2.{kind}]]\n    path = \"{path}\"\n")
    };
    let tags: String = ["sensor", "site"].map(|path| part("tag", path)).concat();
    let fields = [
        ("temperature", "float"),
        ("humidity", "float"),
        ("pressure", "float"),
        ("seq", "int"),
        ("ok", "bool"),
    ];
    let typed = |(path, kind)| format!("{}    type = \"{kind}\"\n", part("field", path));
    format!(
        "[agent]
  flush_interval = \"1s\"
  metric_batch_size = 10000
  metric_buffer_limit = 100000
  omit_hostname = true
[[inputs.kafka_consumer]]
  brokers = [\"{}\"]
  topics = [\"{}\"]
  consumer_group = \"{}\"
  offset = \"oldest\"
  kafka_version = \"2.6.0\"
  max_undelivered_messages = 50000
  data_format = \"json_v2\"
  [[inputs.kafka_consumer.json_v2]]
    measurement_name = \"{}\"
    timestamp_path = \"ts\"
    timestamp_format = \"unix_us\"
{tags}{}{output}",
        job.brokers,
        job.topic,
        job.name,
        job.table,
        fields.map(typed).concat(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_its_type_and_rows_their_door() {
        let http = config(&Job::example());
        let wanted = "[agent]
  flush_interval = \"1s\"
  metric_batch_size = 10000
  metric_buffer_limit = 100000
  omit_hostname = true
[[inputs.kafka_consumer]]
  brokers = [\"broker:1\"]
  topics = [\"topic\"]
  consumer_group = \"run-1\"
  offset = \"oldest\"
  kafka_version = \"2.6.0\"
  max_undelivered_messages = 50000
  data_format = \"json_v2\"
  [[inputs.kafka_consumer.json_v2]]
    measurement_name = \"sensors\"
    timestamp_path = \"ts\"
    timestamp_format = \"unix_us\"
  [[inputs.kafka_consumer.json_v2.tag]]
    path = \"sensor\"
  [[inputs.kafka_consumer.json_v2.tag]]
    path = \"site\"
  [[inputs.kafka_consumer.json_v2.field]]
    path = \"temperature\"
    type = \"float\"
";
        assert!(http.starts_with(wanted), "{http}");
        let door = "    path = \"ok\"\n    type = \"bool\"\n[[outputs.influxdb_v2]]\n  \
                    urls = [\"http://db:2\"]\n  content_encoding = \"identity\"\n";
        assert!(http.ends_with(door), "{http}");
        let tcp = config(&Job { transport: Transport::Tcp, ..Job::example() });
        let door = "[[outputs.socket_writer]]\n  address = \"tcp://db:3\"\n  \
                    data_format = \"influx\"\n";
        assert!(tcp.ends_with(door), "{tcp}");
    }
}
