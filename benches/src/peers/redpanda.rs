//! Redpanda Connect: its configuration. The program comes by its path: it is in no registry.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use world::Directory;

use super::launch::{Job, Launch};

/// Writes the configuration into a folder of its own. It has HTTP only.
pub fn launch(program: &Path, job: &Job) -> Result<Launch> {
    let (folder, config) = (Directory::create("redpanda-connect")?, config(job));
    let file = folder.path().join("connect.yaml");
    std::fs::write(&file, &config).context("writing connect.yaml")?;
    Ok(Launch {
        program: PathBuf::from(program),
        arguments: vec!["run".to_owned(), file.to_string_lossy().into_owned()],
        group: job.name.clone(),
        config,
        tasks: None,
        _kept: Box::new(folder),
    })
}

/// Large batches and some in flight: with single messages, its default, it would be a snail.
fn config(job: &Job) -> String {
    format!(
        "http:
  enabled: false
input:
  kafka_franz:
    seed_brokers: [\"{}\"]
    topics: [\"{}\"]
    consumer_group: \"{}\"
    checkpoint_limit: 100000
    batching:
      count: 10000
      period: 200ms
output:
  questdb:
    address: \"{}\"
    table: \"{}\"
    designated_timestamp_field: ts
    designated_timestamp_unit: micros
    symbols: [sensor, site]
    doubles: [temperature, humidity, pressure]
    max_in_flight: 4
",
        job.brokers, job.topic, job.name, job.http, job.table,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_large_and_several_under_way() {
        let wanted = "http:
  enabled: false
input:
  kafka_franz:
    seed_brokers: [\"broker:1\"]
    topics: [\"topic\"]
    consumer_group: \"run-1\"
    checkpoint_limit: 100000
    batching:
      count: 10000
      period: 200ms
output:
  questdb:
    address: \"db:2\"
    table: \"sensors\"
    designated_timestamp_field: ts
    designated_timestamp_unit: micros
    symbols: [sensor, site]
    doubles: [temperature, humidity, pressure]
    max_in_flight: 4
";
        assert_eq!(config(&Job::example()), wanted);
    }
}
