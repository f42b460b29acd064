//! `world up`: the servers in the foreground, for play. They end with this process.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::process::ExitCode;
use std::sync::atomic::{AtomicI32, Ordering};

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use serde_json::{Value, json};
use world::{Kafka, KafkaOptions, PostgreSql, QuestDb, QuestDbOptions, Registry};

/// Real servers as child processes.
#[derive(Parser)]
#[command(name = "world")]
enum Arguments {
    /// Start servers and keep them until interrupted; their data is removed at the end.
    Up {
        /// Which servers.
        #[arg(value_enum, default_values_t = [Server::Kafka, Server::Questdb])]
        servers: Vec<Server>,
        /// Print the addresses as one JSON object on one line.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Server {
    Kafka,
    Questdb,
    Postgres,
    Registry,
}

/// The servers that run; dropping it ends them.
#[derive(Default)]
struct Running {
    kafka: Option<Kafka>,
    questdb: Option<QuestDb>,
    postgres: Option<PostgreSql>,
    registry: Option<Registry>,
}

fn main() -> ExitCode {
    let Arguments::Up { servers, json } = Arguments::parse();
    match up(&servers, json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("world: {error:#}"); // Without a backtrace: mostly something to install.
            ExitCode::FAILURE
        }
    }
}

fn up(servers: &[Server], json: bool) -> Result<()> {
    let mut interrupts = listen_for_interrupts()?;
    let running = start(servers)?;
    let mut out = std::io::stdout().lock();
    match json {
        true => writeln!(out, "{}", addresses(&running))?,
        false => write!(out, "{}", readable(&addresses(&running)))?,
    }
    out.flush()?;
    interrupts.read_exact(&mut [0]).context("waiting for an interrupt")?;
    Ok(())
}

/// Starts all at once: each waits mostly for its own Java machine.
fn start(servers: &[Server]) -> Result<Running> {
    let wanted = |server| servers.contains(&server);
    std::thread::scope(|scope| {
        let kafka = || Kafka::start_with(KafkaOptions::lasting());
        let kafka = wanted(Server::Kafka).then(|| scope.spawn(kafka));
        let questdb = || QuestDb::start_with(QuestDbOptions::lasting());
        let questdb = wanted(Server::Questdb).then(|| scope.spawn(questdb));
        let postgres = wanted(Server::Postgres).then(|| scope.spawn(PostgreSql::start));
        let registry = wanted(Server::Registry).then(|| scope.spawn(Registry::start));
        Ok(Running {
            kafka: kafka.map(joined).transpose()?,
            questdb: questdb.map(joined).transpose()?,
            postgres: postgres.map(joined).transpose()?,
            registry: registry.map(joined).transpose()?,
        })
    })
}

fn joined<S>(thread: std::thread::ScopedJoinHandle<'_, Result<S>>) -> Result<S> {
    match thread.join() {
        Ok(outcome) => outcome,
        Err(_) => bail!("starting a server: its thread panicked"),
    }
}

fn addresses(running: &Running) -> Value {
    let mut all = json!({});
    if let Some(kafka) = &running.kafka {
        all["kafka"] = json!({ "brokers": kafka.brokers() });
    }
    if let Some(questdb) = &running.questdb {
        all["questdb"] = json!({
            "http": questdb.http_address(),
            "tcp": questdb.tcp_address(),
            "pg": questdb.pg_address(),
            "metrics": questdb.metrics_address(),
        });
    }
    if let Some(postgres) = &running.postgres {
        all["postgres"] = json!({ "connection": postgres.connection_string() });
    }
    if let Some(registry) = &running.registry {
        all["registry"] = json!({ "url": registry.url() });
    }
    all
}

/// One line an address: `questdb http     127.0.0.1:9000`.
fn readable(addresses: &Value) -> String {
    let servers = addresses.as_object().into_iter().flatten();
    let lines = servers.flat_map(|(server, doors)| {
        let doors = doors.as_object().into_iter().flatten();
        doors.map(move |(door, address)| {
            format!("{server:8} {door:10} {}\n", address.as_str().unwrap_or_default())
        })
    });
    lines.collect()
}

/// Where the signal handler writes to.
static INTERRUPTS: AtomicI32 = AtomicI32::new(-1);

/// Gives a pipe that becomes readable at SIGINT or SIGTERM.
fn listen_for_interrupts() -> Result<File> {
    let (reader, writer) = std::io::pipe()?;
    INTERRUPTS.store(OwnedFd::from(writer).into_raw_fd(), Ordering::Release);
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let handler = on_interrupt as extern "C" fn(libc::c_int);
        // SAFETY: the handler has the type that signal(2) calls, and does only what is allowed in
        // a signal handler: it loads an atomic and writes to a pipe.
        if unsafe { libc::signal(signal, handler as libc::sighandler_t) } == libc::SIG_ERR {
            bail!("listening for signal {signal}: {}", std::io::Error::last_os_error());
        }
    }
    Ok(File::from(OwnedFd::from(reader)))
}

extern "C" fn on_interrupt(_signal: libc::c_int) {
    let pipe = INTERRUPTS.load(Ordering::Acquire);
    // SAFETY: write(2) is allowed in signal handlers; the pipe is never closed, the byte is live.
    // A full pipe loses nothing: the reader needs one byte.
    let _ = unsafe { libc::write(pipe, [1_u8].as_ptr().cast(), 1) };
}
