//! The one door at which a lane may wait: for a table or a column that nobody has met.

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::questdb::Denied;
use crate::blame::Fault;

/// Waits on behalf of lanes, and can be told that nobody wants to know any more.
pub struct Waiting {
    runtime: Handle,
    interrupted: watch::Sender<u64>,
}

impl Waiting {
    /// Nobody waits yet. What is waited for runs on `runtime`.
    pub fn new(runtime: Handle) -> Waiting {
        Waiting { runtime, interrupted: watch::Sender::new(0) }
    }

    /// Everyone who waits just now gives up.
    pub fn interrupt(&self) {
        self.interrupted.send_modify(|count| *count += 1);
    }

    /// Blocks the calling thread until it is known, or nobody wants to know any more.
    pub fn wait<T>(&self, asked: impl Future<Output = Result<T, Denied>>) -> Result<T, Denied> {
        let mut interrupted = self.interrupted.subscribe();
        self.runtime.block_on(async {
            tokio::select! {
                // The sender lives as long as this does.
                _ = interrupted.changed() => {
                    let fault = Fault::world("interrupted while a table was waited for");
                    Err(Denied::Pipeline(fault))
                }
                asked = asked => asked,
            }
        })
    }
}
