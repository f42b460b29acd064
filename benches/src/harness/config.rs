//! The configuration that the bridge is measured with, and the folder it lives in.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;
use world::{Directory, Port, QuestDb};

use super::scenario::Scenario;

/// How rows travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Each request is answered.
    Http,
    /// Pooled line protocol, counted back (`verify`).
    Tcp,
    /// Inserts over QuestDB's PostgreSQL protocol. No peer goes this way.
    Pg,
}

impl Transport {
    /// As the configuration and file names have it.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Http => "http",
            Transport::Tcp => "tcp",
            Transport::Pg => "pg",
        }
    }

    /// Whether rows carry their topic, partition, offset and row.
    pub fn metadata(self) -> bool {
        self == Transport::Tcp
    }

    /// Into this server.
    pub fn sink(self, questdb: &QuestDb) -> Sink {
        let (address, more) = match self {
            Transport::Http => (questdb.http_address(), String::new()),
            Transport::Tcp => {
                (questdb.http_address(), format!("tcp_address = \"{}\"\n", questdb.tcp_address()))
            }
            Transport::Pg => (questdb.pg_address(), String::new()),
        };
        let transport = self.name();
        let lines = format!(
            "kind = \"questdb\"\ntransport = \"{transport}\"\naddress = \"{address}\"\n{more}"
        );
        Sink { lines, metadata: self.metadata() }
    }
}

/// A `bridge.toml` with its modules, in a folder of its own.
pub struct Installed {
    pub file: PathBuf,
    pub text: String,
    /// The consumer group.
    pub group: String,
    /// Where metrics are served.
    pub http: Port,
    _folder: Directory,
}

/// One pipeline of a configuration.
#[derive(Clone, Copy)]
pub struct Pipeline<'a> {
    pub scenario: &'a dyn Scenario,
    pub topic: &'a str,
}

/// Where the rows of a configuration go.
pub struct Sink {
    /// Lines of `[pipeline.NAME.sink]`.
    pub lines: String,
    /// Whether rows carry their topic, partition, offset and row.
    pub metadata: bool,
}

/// Writes it. Everything that is not said here is a default, as users have it.
pub fn install(
    brokers: &str,
    sink: &Sink,
    pipelines: &[Pipeline<'_>],
    more: &[String],
) -> Result<Installed> {
    let (folder, http) = (Directory::create("bench")?, Port::free()?);
    let listen = http.address();
    let first = pipelines.first().context("a configuration has a pipeline")?;
    let group = format!("{}-{listen}", first.topic);
    let mut text = format!(
        "cache = \"cache\"\n[kafka]\nbrokers = \"{brokers}\"\n[http]\nlisten = \"{listen}\"\n"
    );
    for (index, pipeline) in pipelines.iter().enumerate() {
        // The first is called as its metrics are asked for.
        let name = if index == 0 { "bench".to_owned() } else { format!("bench-{index}") };
        text.push_str(&section(&name, *pipeline, &listen, sink));
    }
    more.iter().for_each(|line| text.push_str(&format!("{line}\n")));
    for (name, module) in
        [("drop_cold", bridge::modules::DROP_COLD), ("enrich_route", bridge::modules::ENRICH_ROUTE)]
    {
        std::fs::write(folder.path().join(format!("{name}.wasm")), module)
            .with_context(|| format!("writing {name}.wasm"))?;
    }
    let file = folder.path().join("bridge.toml");
    std::fs::write(&file, &text).context("writing bridge.toml")?;
    Ok(Installed { file, text, group, http, _folder: folder })
}

/// The sections of one pipeline.
fn section(
    name: &str,
    Pipeline { scenario, topic }: Pipeline<'_>,
    listen: &str,
    sink: &Sink,
) -> String {
    format!(
        "[pipeline.{name}]
topics = [\"{topic}\"]
group = \"{topic}-{listen}\"
{transforms}[pipeline.{name}.table]
name = \"{table}\"
{lines}metadata = {metadata}
[pipeline.{name}.sink]
{sink}",
        transforms = scenario.transforms().replace("pipeline.bench", &format!("pipeline.{name}")),
        table = scenario.destination(),
        lines = scenario.table(),
        metadata = sink.metadata,
        sink = sink.lines,
    )
}
