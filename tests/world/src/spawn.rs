//! Starting children that cannot outlive us, and signals to them.
//!
//! The kernel's parent-death signal fires when the *thread* that forked ends, not the process: a
//! test's thread ends long before the test run does. So all children are forked by one thread that
//! lives as long as the process. Each child leads a process group, so that ctrl-c in a terminal
//! reaches us alone and a signal can be sent to a server with all its helpers.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};

use anyhow::{Context, Result, bail};

/// A signal to a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: please end.
    Terminate,
    /// SIGINT: ctrl-c.
    Interrupt,
    /// SIGHUP: read your configuration again.
    Hangup,
    /// SIGKILL: end now, without a word.
    Kill,
    /// SIGSTOP: freeze.
    Stop,
    /// SIGCONT: thaw.
    Continue,
}

impl Signal {
    fn number(self) -> libc::c_int {
        match self {
            Signal::Terminate => libc::SIGTERM,
            Signal::Interrupt => libc::SIGINT,
            Signal::Hangup => libc::SIGHUP,
            Signal::Kill => libc::SIGKILL,
            Signal::Stop => libc::SIGSTOP,
            Signal::Continue => libc::SIGCONT,
        }
    }
}

type Order = (Command, SyncSender<io::Result<Child>>);

/// Starts a command as leader of its own process group; it is killed when this process ends.
pub(crate) fn spawn(command: Command) -> Result<Child> {
    static FORKER: OnceLock<Sender<Order>> = OnceLock::new();
    let program = command.get_program().to_string_lossy().into_owned();
    let (reply, answer) = sync_channel(1);
    FORKER
        .get_or_init(start_forker)
        .send((command, reply))
        .ok()
        .context("starting a child: the forking thread is gone")?;
    answer
        .recv()
        .context("starting a child: the forking thread is gone")?
        .with_context(|| format!("starting {program}"))
}

/// Sends a signal to a child's whole process group; an error when the child has ended.
pub(crate) fn signal_group(child: &mut Child, signal: Signal) -> Result<()> {
    send(child, signal, -1)
}

/// Sends a signal to the child alone; an error when the child has ended.
pub(crate) fn signal_leader(child: &mut Child, signal: Signal) -> Result<()> {
    send(child, signal, 1)
}

/// `sign` is -1 for the group whose leader the child is, 1 for the child alone.
fn send(child: &mut Child, signal: Signal, sign: libc::pid_t) -> Result<()> {
    if let Some(status) = child.try_wait()? {
        bail!("sending {signal:?} to {}: it has ended with {status}", child.id());
    }
    let id = libc::pid_t::try_from(child.id()).expect("process ids are small positive numbers");
    // SAFETY: kill(2) reads two integers; the child was not waited for, so its id is not reused.
    if unsafe { libc::kill(sign * id, signal.number()) } != 0 {
        bail!("sending {signal:?} to {id}: {}", io::Error::last_os_error());
    }
    Ok(())
}

fn start_forker() -> Sender<Order> {
    let (orders, inbox) = channel::<Order>();
    std::thread::Builder::new()
        .name("world-forker".into())
        .spawn(move || {
            for (command, reply) in inbox {
                // A requester that went away leaves a child without owner: end it.
                if let Err(unsent) = reply.send(fork(command))
                    && let Ok(mut child) = unsent.0
                {
                    let _ = child.kill();
                    let _ = child.wait();
                }
            }
        })
        .expect("a process can start one more thread");
    orders
}

fn fork(mut command: Command) -> io::Result<Child> {
    let parent = libc::pid_t::try_from(std::process::id()).expect("process ids are small");
    command.process_group(0);
    // SAFETY: between fork and exec only async-signal-safe functions may run; the closure calls
    // prctl, getppid and raise, and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            if libc::getppid() != parent {
                libc::raise(libc::SIGKILL); // The parent ended before prctl: no signal would come.
            }
            Ok(())
        });
    }
    command.spawn()
}
