//! Apicurio Registry 3.3.3 as a child process, through its Confluent-compatible API. It keeps its
//! schemas in memory: they are gone when it is killed.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::artifacts;
use crate::directory::Directory;
use crate::http;
use crate::port::Port;
use crate::server::{Server, start_on_fresh_ports};

/// Where it speaks Confluent's API, version 7.
const API: &str = "/apis/ccompat/v7";
/// Measured: 313 MB resident with this heap.
const HEAP: &str = "400m";

/// A running registry, killed and removed on drop.
pub struct Registry {
    server: Server,
    port: Port,
    /// Kept for the server: its default is taken by QuestDB.
    _management: Port,
    _home: Directory,
}

/// A schema that is to be registered.
#[derive(Clone, Debug)]
pub struct Schema<'a> {
    /// `AVRO`, `JSON` or `PROTOBUF`.
    pub kind: &'a str,
    /// The schema.
    pub text: &'a str,
    /// What it refers to: (name, subject), of which the first version is meant.
    pub references: &'a [(&'a str, &'a str)],
}

impl Registry {
    /// Starts one that has no schema, and waits until it answers.
    pub fn start() -> Result<Self> {
        start_on_fresh_ports(Self::start_once)
    }

    fn start_once() -> Result<Self> {
        let app = artifacts::registry()?;
        let home = Directory::create("registry")?;
        let (port, management) = (Port::free()?, Port::free()?);
        let (own, others, folder) = (port.address(), management.address(), home.path().to_owned());
        let address = own.clone();
        let server = Server::new(
            "Apicurio Registry",
            home.path().join("server.log"),
            move || command(&app, &folder, (&own, &others)),
            move || answers(&address),
        );
        server.start()?;
        Ok(Self { server, port, _management: management, _home: home })
    }

    /// Host and port.
    pub fn address(&self) -> String {
        self.port.address()
    }

    /// For `registry.url`.
    pub fn url(&self) -> String {
        format!("http://{}{API}", self.address())
    }

    /// The path of the same, for an address in front of it.
    pub fn path(&self) -> &'static str {
        API
    }

    /// Registers a schema as a subject's next version; its id.
    pub fn register(&self, subject: &str, schema: &Schema<'_>) -> Result<u32> {
        let references = schema
            .references
            .iter()
            .map(|(name, subject)| json!({ "name": name, "subject": subject, "version": 1 }));
        let body = json!({
            "schemaType": schema.kind,
            "schema": schema.text,
            "references": references.collect::<Vec<_>>(),
        });
        let path = format!("{API}/subjects/{}/versions", http::percent_encode(subject));
        let (status, answer) = http::post(&self.address(), &path, &body.to_string())?;
        let said = || format!("registering {subject}: {status}: {}", utf8(&answer));
        ensure!(status == 200, said());
        let answer: Value = serde_json::from_slice(&answer).with_context(said)?;
        let id = answer["id"].as_u64().with_context(said)?;
        Ok(u32::try_from(id)?)
    }

    /// SIGKILL: its schemas are gone.
    pub fn kill(&self) -> Result<()> {
        self.server.kill()
    }

    /// SIGSTOP: sockets stay open, nothing is answered.
    pub fn pause(&self) -> Result<()> {
        self.server.pause()
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<()> {
        self.server.resume()
    }

    /// The end of the server's log.
    pub fn log_tail(&self) -> String {
        self.server.log_tail()
    }
}

fn utf8(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn answers(address: &str) -> Result<()> {
    let (status, body) = http::get(address, &format!("{API}/subjects"))?;
    ensure!(status == 200, "subjects: {status}: {}", utf8(&body));
    Ok(())
}

fn command(app: &Path, home: &Path, (own, management): (&str, &str)) -> Result<Command> {
    let mut command = artifacts::newer_java()?;
    command.arg(format!("-Xmx{HEAP}")).args(artifacts::SHORT_LIVED);
    command.arg(artifacts::own_temporary(home)?);
    for (name, address) in [("http", own), ("management", management)] {
        let (host, port) = address.rsplit_once(':').context("an address has a port")?;
        command.arg(format!("-Dquarkus.{name}.host={host}"));
        command.arg(format!("-Dquarkus.{name}.port={port}"));
    }
    command.arg("-jar").arg(app.join("quarkus-run.jar")).current_dir(home);
    Ok(command)
}
