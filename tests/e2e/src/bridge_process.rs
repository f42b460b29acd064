//! The bridge as a child process, its words kept for the message of a failing test.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use world::{Process, Signal};

use crate::metrics::{self, Metrics};

/// What bridges that have ended said last, by name.
static WORDS: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// Of each of them, that many characters are shown: a schema says more than anyone reads.
const WORDS_SHOWN_MAX: usize = 12_000;
/// How long a command that is not `run` may take.
const COMMAND: Duration = Duration::from_secs(60);

/// A running bridge, killed on drop.
pub struct Bridge {
    process: Process,
    http: String,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Answer {
    pub status: ExitStatus,
    pub stdout: String,
    /// Both streams, in the order heard.
    pub all: String,
}

impl Bridge {
    /// Starts `bridge` with these arguments; `http` is where it will serve metrics.
    pub fn start(arguments: &[&str], http: &str) -> Result<Self> {
        Self::start_in(arguments, &[], http)
    }

    /// The same with additional environment.
    pub fn start_in(arguments: &[&str], environment: &[(&str, &str)], http: &str) -> Result<Self> {
        let environment = environment.iter().copied();
        let process = Process::spawn(program()?, arguments.iter().copied(), environment)?;
        Ok(Self { process, http: http.to_owned() })
    }

    /// The same, with two of the machine's cores and no more.
    pub fn start_on_two_cores(arguments: &[&str], http: &str) -> Result<Self> {
        let cores = std::thread::available_parallelism().context("asking for cores")?.get();
        ensure!(cores >= 2, "two cores are needed, and there is one");
        if cores == 2 {
            return Self::start(arguments, http);
        }
        let bridge = program()?;
        let bridge = bridge.to_str().context("targets have plain names")?;
        let command = [&["--cpu-list", "0,1", bridge], arguments].concat();
        let process = Process::spawn("taskset", command, [])?;
        Ok(Self { process, http: http.to_owned() })
    }

    /// The same, but no file of its may grow beyond so many KiB until that is lifted.
    pub fn start_confined(arguments: &[&str], http: &str, file_kib: u64) -> Result<Self> {
        let bridge = program()?;
        let bridge = bridge.to_str().context("targets have plain names")?;
        // The signal that goes with the bound would kill; ignored, a write fails as on a full disk.
        let script = format!("trap '' XFSZ; ulimit -S -f {}; exec \"$@\"", file_kib * 2);
        let mut command = vec!["-c", script.as_str(), "sh", bridge];
        command.extend_from_slice(arguments);
        let process = Process::spawn("/bin/sh", command, [])?;
        Ok(Self { process, http: http.to_owned() })
    }

    /// Lets files grow again.
    pub fn set_free(&self) -> Result<()> {
        let id = self.process.process_id().to_string();
        let status = std::process::Command::new("prlimit")
            .args(["--pid", &id, "--fsize=unlimited:"])
            .status()
            .context("running prlimit")?;
        anyhow::ensure!(status.success(), "prlimit ended with {status}");
        Ok(())
    }

    /// The child.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// `/metrics`, read.
    pub fn metrics(&self) -> Result<Metrics> {
        let (status, body) = metrics::get(&self.http, "/metrics")?;
        anyhow::ensure!(status == 200, "/metrics answered with {status}");
        Metrics::parse(&body)
    }

    /// A GET of its HTTP endpoint: status and body.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        metrics::get(&self.http, path)
    }

    /// Waits until it is ready by its own words at `/readyz`.
    pub fn wait_ready(&self, within: Duration) -> Result<()> {
        self.wait(within, "/readyz", || match self.get("/readyz")? {
            (200, _) => Ok(()),
            (status, body) => bail!("{status} {body}"),
        })
    }

    /// Waits until so many partitions are its own.
    pub fn wait_assigned(&self, partitions: i32, within: Duration) -> Result<()> {
        self.wait(within, "an assignment", || {
            let assigned = self.metrics()?.sum("bridge_partitions")?;
            anyhow::ensure!(assigned == f64::from(partitions), "{assigned} partitions are ours");
            Ok(())
        })
    }

    /// Waits for a condition for as long as the bridge runs.
    pub fn wait<T>(
        &self,
        within: Duration,
        what: &str,
        mut probe: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        let outcome = world::await_ok(within, what, || {
            if let Some(status) = self.process.exit_status()? {
                return Ok(Err(anyhow::anyhow!("waiting for {what}: the bridge ended: {status}")));
            }
            probe().map(Ok)
        });
        outcome.and_then(|ended| ended)
    }

    /// SIGTERM, and the status it ends with.
    pub fn stop(&self, within: Duration) -> Result<ExitStatus> {
        self.process.signal(Signal::Terminate)?;
        self.process.wait_exit(within)
    }

    /// SIGTERM; must end with status 0.
    pub fn stop_well(&self, within: Duration) -> Result<()> {
        // Before its endpoints answer, a signal ends it as it does any process.
        if !self.http.is_empty() {
            self.wait(within, "its first answer", || self.get("/readyz").map(drop))?;
        }
        let status = self.stop(within)?;
        anyhow::ensure!(status.success(), "after SIGTERM the bridge ended with {status}");
        Ok(())
    }

    /// SIGKILL.
    pub fn kill(&self) -> Result<()> {
        self.process.kill().map(drop)
    }

    /// Fails if it does not run any more.
    pub fn ensure_running(&self) -> Result<()> {
        match self.process.exit_status()? {
            None => Ok(()),
            Some(status) => bail!("the bridge ended by itself: {status}"),
        }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let words =
            format!("--- bridge {} said:\n{}", self.process.process_id(), self.process.tail());
        lock_words().push(words);
    }
}

impl Answer {
    /// Runs a command to its end.
    pub fn of(arguments: &[&str]) -> Result<Self> {
        Self::of_program(program()?, "bridge", arguments, &[], COMMAND)
    }

    /// The same with additional environment.
    pub fn of_in(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        Self::of_program(program()?, "bridge", arguments, environment, COMMAND)
    }

    /// Runs a bench to its end, on this bridge.
    pub fn of_bench(arguments: &[&str], within: Duration) -> Result<Self> {
        let bridge = program()?;
        let bridge = bridge.to_str().context("targets have plain names")?;
        let arguments = [arguments, &["--bridge", bridge, "--results", "-"]].concat();
        Self::of_program(beside("benches")?, "benches", &arguments, &[], within)
    }

    fn of_program(
        program: PathBuf,
        name: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
        within: Duration,
    ) -> Result<Self> {
        let environment = environment.iter().copied();
        let process = Process::spawn(program, arguments.iter().copied(), environment)?;
        let status = process.wait_exit(within)?;
        // The readers may still be at the last lines: the streams end after the process.
        let _ = process.wait_for_line("\u{0}", COMMAND);
        let (stdout, all) = (process.stdout_lines().join("\n"), process.lines().join("\n"));
        lock_words().push(format!("--- {name} {arguments:?}: {status}\n{all}"));
        Ok(Self { status, stdout, all })
    }

    /// Fails unless it ended with this code.
    pub fn ensure_code(&self, code: i32) -> Result<()> {
        let ended = self.status.code();
        anyhow::ensure!(ended == Some(code), "it ended with {}, not {code}", self.status);
        Ok(())
    }
}

/// The binary under test.
pub fn program() -> Result<PathBuf> {
    let Some(path) = std::env::var_os("BRIDGE_BIN") else { return beside("bridge") };
    let path = PathBuf::from(path);
    anyhow::ensure!(path.is_file(), "no bridge at {}, where BRIDGE_BIN points", path.display());
    Ok(path)
}

/// A program that cargo puts beside the tests.
fn beside(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("asking where the test lives")?;
    let profile = own.ancestors().nth(2).context("tests live in target/PROFILE/deps")?;
    let path = profile.join(name);
    anyhow::ensure!(path.is_file(), "no {name} at {}: build it first", path.display());
    Ok(path)
}

pub(crate) fn forget_words() {
    lock_words().clear();
}

pub(crate) fn last_words() -> String {
    let cut = |words: &String| words.chars().take(WORDS_SHOWN_MAX).collect::<String>();
    lock_words().iter().map(cut).collect::<Vec<_>>().join("\n")
}

fn lock_words() -> std::sync::MutexGuard<'static, Vec<String>> {
    WORDS.lock().unwrap_or_else(PoisonError::into_inner)
}
