//! Which programs are at hand: what Maven Central and the Go module proxy have is fetched and
//! built, what is in no registry comes by its path.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use serde::Serialize;

use super::launch::{Job, Launch, Variant};
use super::{connect, redpanda, telegraf};
use crate::harness::{self, Servers, Transport, config};

/// How to give the QuestDB connector.
const CONNECTOR: &str = "the QuestDB connector is not on Maven Central: unpack its release archive \
                         (or `mvn package` its source) and give the folder of its jars with \
                         --questdb-connector FOLDER";
/// How to give Redpanda Connect.
const REDPANDA: &str = "the program is in no package registry: give it with \
                        --redpanda-connect PATH";

/// Programs to measure, besides what is fetched.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Given {
    /// The bridge to measure, in place of the one that cargo builds.
    #[arg(long, value_name = "PATH")]
    pub bridge: Option<PathBuf>,
    /// The jars of the QuestDB connector for Kafka Connect, with `questdb-client`: what its release
    /// archive holds, or what `mvn package` makes of its source. Without it Connect is left out.
    #[arg(long, value_name = "FOLDER")]
    pub questdb_connector: Option<PathBuf>,
    /// A Telegraf, in place of the one that is built from its Go module.
    #[arg(long, value_name = "PATH")]
    pub telegraf: Option<PathBuf>,
    /// The program `redpanda-connect`. Without it Redpanda Connect is left out.
    #[arg(long, value_name = "PATH")]
    pub redpanda_connect: Option<PathBuf>,
}

/// Who moves records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Program {
    Bridge,
    Connect,
    Redpanda,
    Telegraf,
}

impl Program {
    /// As the table has it.
    pub fn title(self) -> &'static str {
        match self {
            Program::Bridge => "the bridge",
            Program::Connect => "Kafka Connect, QuestDB connector",
            Program::Redpanda => "Redpanda Connect",
            Program::Telegraf => "Telegraf",
        }
    }

    /// For names of groups and files.
    pub fn name(self) -> &'static str {
        match self {
            Program::Bridge => "bridge",
            Program::Connect => "connect",
            Program::Redpanda => "redpanda",
            Program::Telegraf => "telegraf",
        }
    }
}

/// Each program, or how to give it.
pub struct AtHand {
    bridge: PathBuf,
    connect: Result<connect::Home, String>,
    telegraf: Result<PathBuf, String>,
    redpanda: Result<PathBuf, String>,
}

impl AtHand {
    /// Fetches and builds what can be.
    pub fn find(given: &Given) -> Result<AtHand> {
        let connect = match &given.questdb_connector {
            Some(folder) => {
                ensure!(holds_jars(folder), "no jars in {}", folder.display());
                eprintln!("resolving Kafka Connect");
                let home = |jars| connect::Home { jars, connector: folder.clone() };
                world::connect_jars().map(home).map_err(|error| first_line(&error))
            }
            None => Err(CONNECTOR.to_owned()),
        };
        let telegraf = match given_file(given.telegraf.as_deref())? {
            Some(path) => Ok(path),
            None => {
                eprintln!("building Telegraf, if it is not built yet");
                let how =
                    |error| format!("{}; or give it with --telegraf PATH", first_line(&error));
                world::go_program(&telegraf::PROGRAM).map_err(how)
            }
        };
        let redpanda = given_file(given.redpanda_connect.as_deref())?;
        let redpanda = redpanda.ok_or_else(|| REDPANDA.to_owned());
        Ok(AtHand { connect, telegraf, redpanda, ..Self::bridge_alone(given)? })
    }

    /// Only the bridge, where nobody asks for others.
    pub fn bridge_alone(given: &Given) -> Result<AtHand> {
        let bridge = match &given.bridge {
            Some(path) => path.clone(),
            None => harness::built()?,
        };
        ensure!(bridge.is_file(), "no bridge at {}", bridge.display());
        let unasked = || "only the bridge is asked for".to_owned();
        let (telegraf, redpanda) = (Err(unasked()), Err(unasked()));
        Ok(AtHand { bridge, connect: Err(unasked()), telegraf, redpanda })
    }

    /// The bridge's binary.
    pub fn bridge(&self) -> &Path {
        &self.bridge
    }

    /// How to give a program that is not at hand.
    pub fn missing(&self, program: Program) -> Option<&str> {
        let how = match program {
            Program::Bridge => None,
            Program::Connect => self.connect.as_ref().err(),
            Program::Redpanda => self.redpanda.as_ref().err(),
            Program::Telegraf => self.telegraf.as_ref().err(),
        };
        how.map(String::as_str)
    }

    /// A pipeline of a program, or how to give it. The bridge's are defaults, filter and computed
    /// column included.
    pub fn launch(&self, program: Program, servers: &Servers, job: &Job) -> Result<Launch> {
        let given = |home: &Result<PathBuf, String>| home.clone().map_err(anyhow::Error::msg);
        match program {
            Program::Bridge => bridge(&self.bridge, servers, job),
            Program::Connect => {
                let home = self.connect.clone().map_err(anyhow::Error::msg)?;
                connect::launch(&home, job)
            }
            Program::Redpanda => redpanda::launch(&given(&self.redpanda)?, job),
            Program::Telegraf => telegraf::launch(&given(&self.telegraf)?, job),
        }
    }
}

fn bridge(binary: &Path, servers: &Servers, job: &Job) -> Result<Launch> {
    let scenario = super::scenario();
    let (brokers, questdb) = (servers.kafka.brokers(), &servers.questdb);
    let pipeline = config::Pipeline { scenario: &*scenario, topic: &job.topic };
    let installed = config::install(&brokers, &job.transport.sink(questdb), &[pipeline], &[])?;
    Ok(Launch {
        program: binary.to_owned(),
        arguments: vec!["run".to_owned(), installed.file.to_string_lossy().into_owned()],
        group: installed.group.clone(),
        config: installed.text.clone(),
        tasks: None,
        _kept: Box::new(installed),
    })
}

/// The statement that makes the table of a pipeline.
pub fn create_table(program: Program, transport: Transport, variant: Variant) -> String {
    let scenario = super::scenario();
    let statement = match program {
        Program::Bridge => {
            harness::scenario::create_table(&*scenario, super::TABLE, transport.metadata())
        }
        _ => harness::scenario::create_table_with(&*scenario, super::TABLE, ""),
    };
    match variant {
        // Over TCP the bridge counts rows by these columns, so they must tell rows apart.
        Variant::UpsertKeys if program == Program::Bridge && transport.metadata() => {
            let keys = "ts, kafka_topic, kafka_partition, kafka_offset, kafka_row";
            format!("{statement} DEDUP UPSERT KEYS({keys})")
        }
        Variant::UpsertKeys => format!("{statement} DEDUP UPSERT KEYS(ts, seq)"),
        _ => statement,
    }
}

fn holds_jars(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.path().extension().is_some_and(|end| end == "jar"))
}

fn given_file(path: Option<&Path>) -> Result<Option<PathBuf>> {
    let Some(path) = path else { return Ok(None) };
    ensure!(path.is_file(), "no program at {}", path.display());
    Ok(Some(path.to_owned()))
}

fn first_line(error: &anyhow::Error) -> String {
    format!("{error:#}").lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_have_a_plain_table() {
        let of = |program, variant| create_table(program, Transport::Tcp, variant);
        let plain = "CREATE TABLE sensors (ts TIMESTAMP, sensor SYMBOL, site SYMBOL, temperature \
                     DOUBLE, humidity DOUBLE, pressure DOUBLE, seq LONG, ok BOOLEAN) TIMESTAMP(ts) \
                     PARTITION BY HOUR WAL";
        assert_eq!(of(Program::Connect, Variant::Defaults), plain);
        assert!(of(Program::Bridge, Variant::Defaults).contains("fahrenheit DOUBLE, kafka_topic"));
        let counted = of(Program::Bridge, Variant::UpsertKeys);
        assert!(
            counted.ends_with("KEYS(ts, kafka_topic, kafka_partition, kafka_offset, kafka_row)")
        );
        let keyed = of(Program::Telegraf, Variant::UpsertKeys);
        assert_eq!(keyed, format!("{plain} DEDUP UPSERT KEYS(ts, seq)"));
    }

    #[test]
    fn what_is_missing_says_how_to_give_it() {
        let folder = world::Directory::create("given").expect("a folder can be made");
        let binary = folder.path().join("bridge");
        std::fs::write(&binary, "").expect("a file can be written");
        let telegraf = Some(binary.clone());
        let given = Given { bridge: Some(binary), telegraf, ..Given::default() };
        let at_hand = AtHand::find(&given).expect("nothing need be fetched");
        assert_eq!(at_hand.missing(Program::Bridge), None);
        assert_eq!(at_hand.missing(Program::Telegraf), None);
        for (program, option) in
            [(Program::Connect, "--questdb-connector"), (Program::Redpanda, "--redpanda-connect")]
        {
            let how = at_hand.missing(program).expect("it is missing");
            assert!(how.contains(option), "{how}");
        }
        let connector = Some(folder.path().to_owned());
        let empty = AtHand::find(&Given { questdb_connector: connector, ..given });
        assert!(empty.is_err(), "a folder without jars is no connector");
    }
}
