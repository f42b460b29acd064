//! What a pipeline is told, and a pipeline that is ready to be started, again and again.

use std::any::Any;
use std::path::PathBuf;

use anyhow::Result;
use world::Process;

use super::connect;
use crate::harness::{Servers, Transport};

/// What differs from a pipeline's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    Defaults,
    /// Goes on trying a database that is away for a minute.
    PatientRetries,
    /// Puts aside what it cannot store.
    DeadLetters,
    /// The table keeps one row of each timestamp and number.
    UpsertKeys,
}

/// From where to where a pipeline moves records.
#[derive(Clone, Debug)]
pub struct Job {
    /// New for each run: it names the group, which begins at the topic's beginning.
    pub name: String,
    pub brokers: String,
    pub topic: String,
    /// Host and port of the database's HTTP.
    pub http: String,
    /// Host and port of its line protocol over TCP.
    pub tcp: String,
    pub table: String,
    pub transport: Transport,
    pub variant: Variant,
}

impl Job {
    /// Between the servers of a bench.
    pub fn between(servers: &Servers, name: String, topic: &str, transport: Transport) -> Job {
        Job {
            name,
            brokers: servers.kafka.brokers(),
            topic: topic.to_owned(),
            http: servers.questdb.http_address(),
            tcp: servers.questdb.tcp_address(),
            table: super::TABLE.to_owned(),
            transport,
            variant: Variant::Defaults,
        }
    }

    /// Where rejected records go. The bridge has this by default.
    pub fn dead_letters(&self) -> String {
        format!("{}.dead-letters", self.topic)
    }

    #[cfg(test)]
    pub fn example() -> Job {
        Job {
            name: "run-1".to_owned(),
            brokers: "broker:1".to_owned(),
            topic: "topic".to_owned(),
            http: "db:2".to_owned(),
            tcp: "db:3".to_owned(),
            table: "sensors".to_owned(),
            transport: Transport::Http,
            variant: Variant::Defaults,
        }
    }
}

/// A pipeline whose configuration is written.
pub struct Launch {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    /// The consumer group.
    pub group: String,
    /// All of the configuration, for the result file.
    pub config: String,
    /// Where Kafka Connect tells of a connector's tasks, and the connector.
    pub tasks: Option<(String, String)>,
    /// Folders and ports, which live as long as the pipeline may be started.
    pub _kept: Box<dyn Any>,
}

impl Launch {
    /// Starts it.
    pub fn start(&self) -> Result<Process> {
        Process::spawn(&self.program, self.arguments.iter().map(String::as_str), [])
    }

    /// Whether it runs, but has given up. While it does not answer it has not.
    pub fn has_given_up(&self) -> bool {
        self.tasks.as_ref().is_some_and(|(address, connector)| {
            connect::has_failed(address, connector).unwrap_or(false)
        })
    }
}
