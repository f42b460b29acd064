//! A program under test, usually the bridge, as a child whose words are kept.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::spawn::{self, Signal};
use crate::waiting::{await_ok, lock};

/// Lines kept; a program that says more loses its oldest ones.
const LINES_MAX: usize = 100_000;
/// Lines shown when a wait fails.
const TAIL_LINES: usize = 40;

/// A running program, killed on drop.
pub struct Process {
    name: String,
    child: Mutex<Child>,
    heard: Arc<Heard>,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Heard {
    state: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Default)]
struct Lines {
    kept: VecDeque<Line>,
    streams_ended: u32,
}

struct Line {
    text: String,
    on_stdout: bool,
}

impl Process {
    /// Starts a program with arguments and additional environment.
    pub fn spawn<'a>(
        program: impl AsRef<Path>,
        arguments: impl IntoIterator<Item = &'a str>,
        environment: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self> {
        let mut command = Command::new(program.as_ref());
        command.args(arguments).envs(environment);
        Self::spawn_command(command)
    }

    /// The same for a command prepared by the caller; its streams are replaced.
    pub fn spawn_command(mut command: Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = spawn::spawn(command)?;
        let heard = Arc::new(Heard::default());
        let stdout = child.stdout.take().context("a piped stream is there")?;
        let stderr = child.stderr.take().context("a piped stream is there")?;
        let readers = vec![listen(stdout, true, &heard)?, listen(stderr, false, &heard)?];
        Ok(Self { name, child: Mutex::new(child), heard, readers })
    }

    /// Waits for a line that holds the text, among those said so far too. Fails early once the
    /// program has closed its streams without saying it.
    pub fn wait_for_line(&self, text: &str, within: Duration) -> Result<String> {
        let start = Instant::now();
        let mut state = lock(&self.heard.state);
        loop {
            if let Some(line) = state.kept.iter().find(|line| line.text.contains(text)) {
                return Ok(line.text.clone());
            }
            let left = within.saturating_sub(start.elapsed());
            if left.is_zero() || state.streams_ended == 2 {
                drop(state);
                let end = self.tail();
                bail!("waiting {within:?} for {} to say {text:?}; it said:\n{end}", self.name);
            }
            let (guard, _) = self
                .heard
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            state = guard;
        }
    }

    /// Everything said, both streams in the order heard.
    pub fn lines(&self) -> Vec<String> {
        lock(&self.heard.state).kept.iter().map(|line| line.text.clone()).collect()
    }

    /// What was said on standard output alone.
    pub fn stdout_lines(&self) -> Vec<String> {
        let state = lock(&self.heard.state);
        state.kept.iter().filter(|line| line.on_stdout).map(|line| line.text.clone()).collect()
    }

    /// The last lines, for a message.
    pub fn tail(&self) -> String {
        let lines = self.lines();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// The process id.
    pub fn process_id(&self) -> u32 {
        lock(&self.child).id()
    }

    /// Sends a signal; an error when the program has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        spawn::signal_leader(&mut lock(&self.child), signal)
    }

    /// The status if it has ended.
    pub fn exit_status(&self) -> Result<Option<ExitStatus>> {
        Ok(lock(&self.child).try_wait()?)
    }

    /// Waits for the end.
    pub fn wait_exit(&self, within: Duration) -> Result<ExitStatus> {
        await_ok(within, &format!("the end of {}", self.name), || {
            self.exit_status()?.with_context(|| format!("it runs and said:\n{}", self.tail()))
        })
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&self) -> Result<ExitStatus> {
        let mut child = lock(&self.child);
        // It may have ended on its own meanwhile.
        let _ = spawn::signal_group(&mut child, Signal::Kill);
        Ok(child.wait()?)
    }

    /// Memory in use: resident set, in bytes.
    pub fn rss_bytes(&self) -> Result<u64> {
        status_bytes(self.process_id(), "VmRSS:")
    }

    /// The most memory ever in use, in bytes.
    pub fn rss_bytes_max(&self) -> Result<u64> {
        status_bytes(self.process_id(), "VmHWM:")
    }

    /// Processor time so far, user and system, all threads, in seconds.
    pub fn cpu_seconds(&self) -> Result<f64> {
        cpu_seconds(self.process_id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

/// Processor time of any process, user and system, in seconds.
pub fn cpu_seconds(process_id: u32) -> Result<f64> {
    let path = format!("/proc/{process_id}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    // The second field is a name in parentheses and may hold anything; the third follows the last.
    let fields = stat.rsplit_once(") ").context("a stat line has a name")?.1;
    let mut times = fields.split(' ').skip(11);
    let mut next = || times.next().and_then(|ticks| ticks.parse::<u64>().ok());
    let (user, system) = next().zip(next()).context("a stat line has user and system time")?;
    // SAFETY: sysconf(3) takes a constant and returns a number.
    let ticks_per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Ok((user + system) as f64 / ticks_per_second as f64)
}

/// Memory of any process: resident set, in bytes.
pub fn rss_bytes(process_id: u32) -> Result<u64> {
    status_bytes(process_id, "VmRSS:")
}

fn status_bytes(process_id: u32, field: &str) -> Result<u64> {
    let path = format!("/proc/{process_id}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let value = status.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes = value.and_then(|value| value.trim().strip_suffix(" kB")?.trim().parse().ok());
    let kilobytes: u64 = kilobytes.with_context(|| format!("no {field} in {path}: it ended"))?;
    Ok(kilobytes * 1024)
}

fn listen(
    stream: impl Read + Send + 'static,
    on_stdout: bool,
    heard: &Arc<Heard>,
) -> Result<JoinHandle<()>> {
    let heard = Arc::clone(heard);
    let thread = std::thread::Builder::new().name("world-listener".into());
    Ok(thread.spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut bytes = Vec::new();
        while stream.read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
            let text = String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned();
            bytes.clear();
            let mut state = lock(&heard.state);
            if state.kept.len() == LINES_MAX {
                state.kept.pop_front();
            }
            state.kept.push_back(Line { text, on_stdout });
            heard.changed.notify_all();
        }
        lock(&heard.state).streams_ended += 1;
        heard.changed.notify_all();
    })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Process {
        Process::spawn("sh", ["-c", script], [("WORD", "hello")]).expect("there is a shell")
    }

    #[test]
    fn hears_both_streams_and_the_end() {
        let process = shell("echo $WORD; echo oh >&2; exit 3");
        assert_eq!(process.wait_for_line("ell", SOON).expect("it says so"), "hello");
        process.wait_for_line("oh", SOON).expect("it says so");
        assert_eq!(process.wait_exit(SOON).expect("it ends").code(), Some(3));
        assert_eq!(process.stdout_lines(), ["hello"]);
        let silent = process.wait_for_line("never", SOON).expect_err("it has ended");
        assert!(silent.to_string().contains("oh"), "{silent}");
    }

    #[test]
    fn is_signalled_and_measured() {
        let process = shell("trap 'echo bye; exit 0' TERM; echo up; while :; do :; done");
        process.wait_for_line("up", SOON).expect("it starts");
        assert!(process.rss_bytes().expect("it runs") > 10_000);
        crate::await_until(SOON, "processor time", || {
            process.cpu_seconds().ok().filter(|seconds| *seconds > 0.0)
        })
        .expect("a busy loop takes time");
        process.signal(Signal::Terminate).expect("it runs");
        assert!(process.wait_exit(SOON).expect("it ends").success());
        assert!(process.signal(Signal::Terminate).is_err());
    }

    #[test]
    fn children_survive_the_thread_that_started_them() {
        let process = std::thread::spawn(|| shell("read -r _ < /dev/null; exec sleep 1000"))
            .join()
            .expect("the thread ends well");
        assert!(process.exit_status().expect("it can be asked").is_none());
        process.signal(Signal::Terminate).expect("it still runs");
        process.wait_exit(SOON).expect("it ends");
    }
}
