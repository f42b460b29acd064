//! QuestDB 9.3.4 as a child process: line protocol over HTTP and TCP, SQL over `/exec` and PG wire.
//!
//! Everything listens on 127.0.0.1; telemetry is off, and metrics are on.

use std::fs::{DirEntry, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use crate::artifacts;
use crate::directory::Directory;
use crate::http;
use crate::port::Port;
use crate::server::{Server, start_on_fresh_ports};
use crate::waiting::await_ok;

/// What may differ from the usual server.
#[derive(Clone, Debug)]
pub struct QuestDbOptions {
    /// Lines of `server.conf`; they come last, so they win over ours.
    pub properties: Vec<(String, String)>,
    /// Files of the configuration's folder `conf`, by name: their text.
    pub files: Vec<(String, String)>,
    /// The Java heap, as `-Xmx` wants it.
    pub heap: String,
    /// Whether it is compiled as well as Java can, for who measures it, or soon.
    pub lasting: bool,
}

impl Default for QuestDbOptions {
    fn default() -> Self {
        Self { properties: Vec::new(), files: Vec::new(), heap: "1g".into(), lasting: false }
    }
}

impl QuestDbOptions {
    /// Of one that is measured, or played with.
    pub fn lasting() -> Self {
        Self { lasting: true, ..Self::default() }
    }
}

/// When a kill comes, while QuestDB puts a table's new columns in the place of the old.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// The old ones are put aside, the new ones not yet there.
    BetweenRenames,
    /// The new ones are there, and the table's transactions still name the old.
    BeforeCommit,
}

/// Where `_meta` has its version.
const METADATA_VERSION: u64 = 32;
/// What `_todo_` says is to be done: take `_meta.prev` again.
const RESTORE_METADATA: i64 = 2;

/// A running QuestDB, killed and removed on drop.
pub struct QuestDb {
    server: Server,
    ports: Ports,
    root: Directory,
}

struct Ports {
    http: Port,
    tcp: Port,
    pg: Port,
    metrics: Port,
}

impl QuestDb {
    /// Starts a server with an empty database and waits until it answers queries.
    pub fn start() -> Result<Self> {
        Self::start_with(QuestDbOptions::default())
    }

    /// The same, with options.
    pub fn start_with(options: QuestDbOptions) -> Result<Self> {
        start_on_fresh_ports(|| Self::start_once(&options))
    }

    fn start_once(options: &QuestDbOptions) -> Result<Self> {
        let jar = artifacts::questdb_jars()?.join("questdb-9.3.4.jar");
        let root = Directory::create("questdb")?;
        let ports = Ports {
            http: Port::free()?,
            tcp: Port::free()?,
            pg: Port::free()?,
            metrics: Port::free()?,
        };
        let conf = root.path().join("conf");
        std::fs::create_dir(&conf)?;
        std::fs::write(conf.join("server.conf"), configuration(&ports, options))?;
        for (name, text) in &options.files {
            std::fs::write(conf.join(name), text)?;
        }
        let (folder, options) = (root.path().to_owned(), options.clone());
        let address = ports.http.address();
        let server = Server::new(
            "QuestDB",
            root.path().join("server.log"),
            move || command(&jar, &folder, &options),
            move || exec(&address, "select 1").map(drop),
        );
        server.start()?;
        Ok(Self { server, ports, root })
    }

    /// Host and port of HTTP: `/write`, `/exec`, the console.
    pub fn http_address(&self) -> String {
        self.ports.http.address()
    }

    /// Host and port of the line protocol over TCP.
    pub fn tcp_address(&self) -> String {
        self.ports.tcp.address()
    }

    /// Host and port of the PostgreSQL protocol (user `admin`, password `quest`, database `qdb`).
    pub fn pg_address(&self) -> String {
        self.ports.pg.address()
    }

    /// Host and port of `/metrics` and of the health check.
    pub fn metrics_address(&self) -> String {
        self.ports.metrics.address()
    }

    /// SIGKILL: what was acknowledged must survive, sockets break.
    pub fn kill(&self) -> Result<()> {
        self.server.kill()
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&self) -> Result<()> {
        self.server.stop()
    }

    /// Kills it if it runs, and starts it on the same ports and data.
    pub fn restart(&self) -> Result<()> {
        self.server.restart()
    }

    /// SIGSTOP: sockets stay open, nothing is answered.
    pub fn pause(&self) -> Result<()> {
        self.server.pause()
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<()> {
        self.server.resume()
    }

    /// Kills it, and leaves a table's files as a kill does that comes while a symbol's capacity
    /// grows: columns of two versions, and a note that the older ones count.
    pub fn kill_at(&self, table: &str, moment: Moment) -> Result<()> {
        self.kill()?;
        let mut folders = std::fs::read_dir(self.root.path().join("db"))?.flatten();
        let is_it = |entry: &DirEntry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.split_once('~').is_some_and(|(name, _)| name == table) && entry.path().is_dir()
        };
        let folder = folders.find(is_it).with_context(|| format!("no folder of table {table}"))?;
        let folder = folder.path();
        let columns = folder.join("_meta");
        std::fs::copy(&columns, folder.join("_meta.prev"))?;
        match moment {
            Moment::BetweenRenames => std::fs::remove_file(&columns)?,
            Moment::BeforeCommit => {
                let mut version = [0; 8];
                let file = File::options().read(true).write(true).open(&columns)?;
                file.read_exact_at(&mut version, METADATA_VERSION)?;
                let next = i64::from_le_bytes(version) + 1;
                file.write_all_at(&next.to_le_bytes(), METADATA_VERSION)?;
            }
        }
        // It counts for a table of this database whose transactions are where they were then.
        let transactions = std::fs::read(folder.join("_txn"))?;
        let number = transactions.get(..8).context("_txn is too short")?;
        let whose = std::fs::read(self.root.path().join("db").join("_tab_index.d"))?;
        let whose = whose.get(8..24).context("_tab_index.d is too short")?;
        let one = [1_i64, RESTORE_METADATA].map(i64::to_le_bytes).concat();
        let due = [number, whose, number, &one].concat();
        File::options().write(true).open(folder.join("_todo_"))?.write_all_at(&due, 0)?;
        Ok(())
    }

    /// The server's process id; it changes at a restart.
    pub fn process_id(&self) -> Result<u32> {
        self.server.process_id()
    }

    /// The end of the server's log.
    pub fn log_tail(&self) -> String {
        self.server.log_tail()
    }

    /// Runs one statement; statements without a result give no columns and no rows.
    pub fn sql(&self, statement: &str) -> Result<Rows> {
        exec(&self.http_address(), statement)
    }

    /// Runs a query whose first row's first column is an integer.
    pub fn scalar_i64(&self, query: &str) -> Result<i64> {
        let rows = self.sql(query)?.rows;
        let value = rows.first().and_then(|row| row.first());
        let value = value.with_context(|| format!("running {query:?}: no rows"))?;
        value.as_i64().with_context(|| format!("running {query:?}: {value} is not an integer"))
    }

    /// Repeats a query until its integer is as wanted. Errors count as not yet: the table may not
    /// exist, the server may be restarting. The last value or error is in the message.
    pub fn wait_for(
        &self,
        query: &str,
        wanted: impl Fn(i64) -> bool,
        within: Duration,
    ) -> Result<i64> {
        await_ok(within, query, || match self.scalar_i64(query)? {
            value if wanted(value) => Ok(value),
            other => Err(anyhow!("it is {other}")),
        })
    }
}

/// The answer to a query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Value>>,
}

/// Renders a text as an SQL literal.
pub fn quote_sql(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn exec(address: &str, statement: &str) -> Result<Rows> {
    let path = format!("/exec?query={}", http::percent_encode(statement));
    let (status, body) = http::get(address, &path)?;
    let answer: Value = serde_json::from_slice(&body).with_context(|| {
        format!("running {statement:?}: status {status}: {}", String::from_utf8_lossy(&body))
    })?;
    if let Some(error) = answer.get("error") {
        bail!("running {statement:?}: {error}");
    }
    Ok(parse(&answer))
}

fn parse(answer: &Value) -> Rows {
    let list = |name: &str| answer.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let name = |column: Value| column["name"].as_str().unwrap_or_default().to_owned();
    let cells = |row: Value| row.as_array().cloned().unwrap_or_default();
    Rows {
        columns: list("columns").into_iter().map(name).collect(),
        rows: list("dataset").into_iter().map(cells).collect(),
    }
}

fn configuration(ports: &Ports, options: &QuestDbOptions) -> String {
    let mut text = format!(
        "http.bind.to={}\nhttp.min.net.bind.to={}\nline.tcp.net.bind.to={}\npg.net.bind.to={}\n\
         line.udp.enabled=false\ntelemetry.enabled=false\nmetrics.enabled=true\n",
        ports.http.address(),
        ports.metrics.address(),
        ports.tcp.address(),
        ports.pg.address(),
    );
    let overridden = |line: &&str| {
        let name = line.split('=').next().unwrap_or_default();
        !options.properties.iter().any(|(key, _)| key == name)
    };
    text = text.lines().filter(overridden).map(|line| format!("{line}\n")).collect();
    for (key, value) in &options.properties {
        text.push_str(&format!("{key}={value}\n"));
    }
    text
}

fn command(jar: &Path, root: &Path, options: &QuestDbOptions) -> Result<Command> {
    let mut command = artifacts::java_for(options.lasting)?;
    command.arg(format!("-Xmx{}", options.heap)).arg(artifacts::own_temporary(root)?);
    // The server formats numbers with the Java library's own routines, which are not exported.
    command.args(["--add-exports", "java.base/jdk.internal.math=io.questdb"]);
    command.arg("-p").arg(jar).args(["-m", "io.questdb/io.questdb.ServerMain"]);
    // `-n`: a closed terminal does not end it; this process does.
    command.arg("-d").arg(root).arg("-n");
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(quote_sql("o'clock''"), "'o''clock'''''");
        assert_eq!(quote_sql(""), "''");
    }

    #[test]
    fn reads_rows_and_statements_without_rows() {
        let answer = serde_json::json!({
            "columns": [{"name": "a", "type": "INT"}], "dataset": [[1], [null]], "count": 2,
        });
        let rows =
            Rows { columns: vec!["a".into()], rows: vec![vec![Value::from(1)], vec![Value::Null]] };
        assert_eq!(parse(&answer), rows);
        assert_eq!(parse(&serde_json::json!({"ddl": "OK"})), Rows::default());
    }
}
