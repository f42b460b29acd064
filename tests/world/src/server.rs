//! What all servers share: a child process with a log file, its readiness, its faults.
//!
//! A [`Server`] knows how to build its command again, so that it can be killed and restarted on the
//! same ports and data. All methods take `&self`: one thread may break what another one uses.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Error, Result};

use crate::spawn::{self, Signal};
use crate::waiting::{await_ok, lock};

/// How long a server may take until it answers. A loaded two-core machine needs about ten.
const READY: Duration = Duration::from_secs(90);
/// How long a server may take to end after SIGTERM, before it is killed.
const STOP: Duration = Duration::from_secs(30);
/// Starts on fresh ports, before a server that keeps exiting at once is given up.
const ATTEMPTS: u32 = 4;
/// How much of a log is shown when a start fails.
const LOG_TAIL_BYTES: u64 = 6_000;

type Build = Box<dyn Fn() -> Result<Command> + Send + Sync>;
type Probe = Box<dyn Fn() -> Result<()> + Send + Sync>;

/// One server as a child process.
pub(crate) struct Server {
    name: &'static str,
    log: PathBuf,
    build: Build,
    probe: Probe,
    child: Mutex<Option<Child>>,
}

impl Server {
    /// Describes a server; nothing runs yet.
    pub fn new(
        name: &'static str,
        log: PathBuf,
        build: impl Fn() -> Result<Command> + Send + Sync + 'static,
        probe: impl Fn() -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        let (build, probe) = (Box::new(build), Box::new(probe));
        Self { name, log, build, probe, child: Mutex::new(None) }
    }

    /// Starts the child and waits until it truly answers.
    pub fn start(&self) -> Result<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = (self.build)()?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        *lock(&self.child) = Some(spawn::spawn(command)?);
        self.await_ready().inspect_err(|_| {
            let _ = self.kill();
        })
    }

    /// SIGKILL to the server and its helpers, and waits for the end.
    pub fn kill(&self) -> Result<()> {
        if let Some(mut child) = lock(&self.child).take() {
            // It may have ended on its own meanwhile: then there is nobody left to signal.
            let _ = spawn::signal_group(&mut child, Signal::Kill);
            child.wait().with_context(|| format!("waiting for {}", self.name))?;
        }
        Ok(())
    }

    /// Asks the server to end and waits for it; kills it if it does not.
    pub fn stop(&self) -> Result<()> {
        let asked = self.with_child(|child| {
            spawn::signal_group(child, Signal::Continue)?;
            spawn::signal_leader(child, Signal::Terminate)
        });
        if asked.is_err() {
            return self.kill(); // It does not run: nothing is left but to reap it.
        }
        let ended = await_ok(STOP, "the end", || self.exit_status()?.context("still running"));
        self.kill()?;
        ended.with_context(|| format!("stopping {}", self.name))?;
        Ok(())
    }

    /// Kills what runs and starts again on the same ports and data.
    pub fn restart(&self) -> Result<()> {
        self.kill()?;
        // A killed PostgreSQL leaves helpers which hold its memory for a moment longer.
        for _ in 1..ATTEMPTS {
            match self.start() {
                Err(error) if error.is::<Exited>() => {}
                outcome => return outcome,
            }
        }
        self.start()
    }

    /// Freezes the server: its sockets stay open, nothing is answered.
    pub fn pause(&self) -> Result<()> {
        self.with_child(|child| spawn::signal_group(child, Signal::Stop))
    }

    /// Thaws a frozen server.
    pub fn resume(&self) -> Result<()> {
        self.with_child(|child| spawn::signal_group(child, Signal::Continue))
    }

    /// The process id, for reading memory and processor time.
    pub fn process_id(&self) -> Result<u32> {
        self.with_child(|child| Ok(child.id()))
    }

    /// The end of the server's log.
    pub fn log_tail(&self) -> String {
        tail(&self.log).unwrap_or_else(|error| format!("(no log: {error})"))
    }

    fn with_child<T>(&self, act: impl FnOnce(&mut Child) -> Result<T>) -> Result<T> {
        let mut child = lock(&self.child);
        act(child.as_mut().with_context(|| format!("{} is not running", self.name))?)
    }

    fn exit_status(&self) -> Result<Option<ExitStatus>> {
        self.with_child(|child| Ok(child.try_wait()?))
    }

    fn await_ready(&self) -> Result<()> {
        let ready = await_ok(READY, "its first answer", || match self.exit_status()? {
            Some(status) => Ok(Err(Error::from(Exited(status)))),
            None => (self.probe)().map(Ok),
        });
        let failure = match ready {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(exited)) => exited,
            Err(late) => late,
        };
        Err(failure.context(format!(
            "starting {}, whose log ends:\n{}",
            self.name,
            self.log_tail()
        )))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// A server that ended instead of answering: perhaps another process took its port meanwhile.
#[derive(Debug)]
struct Exited(ExitStatus);

impl std::fmt::Display for Exited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "it ended with {}", self.0)
    }
}

impl std::error::Error for Exited {}

/// Builds and starts a server; when it ended at once, builds it anew, on other ports.
pub(crate) fn start_on_fresh_ports<S>(mut start: impl FnMut() -> Result<S>) -> Result<S> {
    for _ in 1..ATTEMPTS {
        match start() {
            Err(error) if error.is::<Exited>() => {}
            outcome => return outcome,
        }
    }
    start()
}

fn tail(path: &Path) -> Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
