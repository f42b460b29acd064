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
}

impl Transport {
    /// As the configuration and file names have it.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Http => "http",
            Transport::Tcp => "tcp",
        }
    }

    /// Whether rows carry their topic, partition, offset and row.
    pub fn metadata(self) -> bool {
        self == Transport::Tcp
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

/// Writes it. Everything that is not said here is a default, as users have it.
pub fn install(
    brokers: &str,
    questdb: &QuestDb,
    scenario: &dyn Scenario,
    topic: &str,
    transport: Transport,
    more: &[String],
) -> Result<Installed> {
    let (folder, http) = (Directory::create("bench")?, Port::free()?);
    let group = format!("{topic}-{}", http.address());
    let tcp_address = match transport {
        Transport::Http => String::new(),
        Transport::Tcp => format!("tcp_address = \"{}\"\n", questdb.tcp_address()),
    };
    let text = format!(
        "cache = \"cache\"
[kafka]
brokers = \"{brokers}\"
[http]
listen = \"{listen}\"
[pipeline.bench]
topics = [\"{topic}\"]
group = \"{group}\"
{transforms}[pipeline.bench.table]
name = \"{table}\"
{lines}metadata = {metadata}
[pipeline.bench.sink]
kind = \"questdb\"
transport = \"{transport}\"
address = \"{address}\"
{tcp_address}{more}",
        listen = http.address(),
        transforms = scenario.transforms(),
        table = scenario.name(),
        lines = scenario.table(),
        metadata = transport.metadata(),
        transport = transport.name(),
        address = questdb.http_address(),
        more = more.iter().map(|line| format!("{line}\n")).collect::<String>(),
    );
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
