//! Statements that something waits for, a lane or a partition: asked again for as long as the
//! server is away. That it is counts as trouble of the sink, for no courier may have anything yet.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::failure::{Failure, Fate};
use super::link::Door;
use crate::sink::retry::Trouble;

/// The first wait while the database is away, doubled up to the longest.
const AGAIN: Duration = Duration::from_millis(50);
/// The longest.
const AGAIN_MAX: Duration = Duration::from_secs(1);

/// Who waits here, among those who may find the sink away; couriers count from 0.
const WAITERS: usize = usize::MAX;

/// Rows as text.
pub type Rows = Vec<Vec<Option<String>>>;

/// Why there is no answer.
pub enum GaveUp {
    /// The server said no, and would say so again.
    Said(Failure),
    /// The pipeline is stopped hard.
    Stopped,
}

/// Asks until it is answered.
pub struct Patient {
    door: Arc<Door>,
    trouble: Arc<Trouble>,
    abandoned: watch::Sender<bool>,
}

impl Patient {
    /// Connects to nothing.
    pub fn new(door: Arc<Door>, trouble: Arc<Trouble>) -> Patient {
        Patient { door, trouble, abandoned: watch::Sender::new(false) }
    }

    /// Everyone who waits gives up.
    pub fn abandon(&self) {
        self.abandoned.send_replace(true);
    }

    /// Runs statements on a connection of their own.
    pub async fn run(&self, statements: &str) -> Result<Rows, GaveUp> {
        let mut abandoned = self.abandoned.subscribe();
        let mut wait = AGAIN;
        loop {
            let endpoint = self.door.current();
            let answered = match self.door.open().await {
                Ok(mut link) => link.rows(statements).await,
                Err(failure) => Err(failure),
            };
            let failure = match answered {
                Ok(rows) => {
                    self.trouble.back(WAITERS);
                    return Ok(rows);
                }
                Err(failure) => failure,
            };
            match failure.fate() {
                _ if failure.is_refusal() => return Err(GaveUp::Said(failure)),
                // Two who make the same table at once; the second finds it made.
                Fate::Record if is_race(&failure) => {}
                Fate::Record | Fate::Changed | Fate::Operator => {
                    self.trouble.back(WAITERS);
                    return Err(GaveUp::Said(failure));
                }
                Fate::Again | Fate::TooLong | Fate::Elsewhere => {
                    self.trouble.away(WAITERS, &failure.words());
                    self.door.fail_over(endpoint);
                }
            }
            let stop = tokio::time::timeout(wait, abandoned.wait_for(|stop| *stop)).await;
            if stop.is_ok() {
                return Err(GaveUp::Stopped);
            }
            wait = (wait * 2).min(AGAIN_MAX);
        }
    }
}

/// `CREATE TABLE IF NOT EXISTS` and `ADD COLUMN IF NOT EXISTS` are not safe against themselves: a
/// unique index of the server's own catalogue tells the second one.
fn is_race(failure: &Failure) -> bool {
    matches!(failure, Failure::Said { code, .. } if code == "23505")
}
