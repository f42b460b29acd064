//! Statements that a lane waits for: asked again for as long as the server is away. Couriers say
//! that it is, and so does who waits here: no courier may have anything yet.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use super::answer::{Fate, No, rows};
use super::layout::head;
use crate::sink::questdb::body::Body;
use crate::sink::questdb::server::{Ask, Broken, Connection, Response, Server};
use crate::sink::retry::Trouble;

/// The first wait while the database is away, doubled up to the longest.
const AGAIN: Duration = Duration::from_millis(50);
/// The longest.
const AGAIN_MAX: Duration = Duration::from_secs(1);

/// Who waits here, among those who may find the sink away; couriers count from 0.
const WAITERS: usize = usize::MAX;

/// Why there is no answer.
#[derive(Debug)]
pub enum GaveUp {
    /// The server said no, and would say so again.
    Said(No),
    /// The pipeline is stopped hard.
    Stopped,
}

/// Asks until it is answered.
pub struct Asker {
    server: Arc<Server>,
    trouble: Arc<Trouble>,
    abandoned: watch::Sender<bool>,
}

impl Asker {
    /// Connects to nothing.
    pub fn new(server: Arc<Server>, trouble: Arc<Trouble>) -> Asker {
        Asker { server, trouble, abandoned: watch::Sender::new(false) }
    }

    /// Everyone who waits gives up.
    pub fn abandon(&self) {
        self.abandoned.send_replace(true);
    }

    /// Runs a statement, on a connection of its own.
    pub async fn run(&self, statement: &str) -> Result<Vec<Vec<Value>>, GaveUp> {
        let mut abandoned = self.abandoned.subscribe();
        let mut wait = AGAIN;
        loop {
            let endpoint = self.server.current();
            let why = match self.once(statement).await {
                Ok(Err(no)) if matches!(no.fate(), Fate::Again | Fate::TooMuch) => no.shown(),
                Ok(answered) => {
                    self.trouble.back(WAITERS);
                    return answered.map_err(GaveUp::Said);
                }
                Err(Broken(why)) => why,
            };
            self.trouble.away(WAITERS, &why);
            self.server.fail_over(endpoint);
            let stop = tokio::time::timeout(wait, abandoned.wait_for(|stop| *stop)).await;
            if stop.is_ok() {
                return Err(GaveUp::Stopped);
            }
            wait = (wait * 2).min(AGAIN_MAX);
        }
    }

    /// Runs a statement, once.
    pub async fn once(&self, statement: &str) -> Result<Result<Vec<Vec<Value>>, No>, Broken> {
        let mut connection = self.server.connect().await?;
        // The member that follows the statement: no parameters.
        let mut body = head(statement);
        body.extend_from_slice(b"\"args\":[]}");
        Ok(rows(&send(&mut connection, Body::whole([body.into()])).await?))
    }
}

/// Sends a body to `/_sql`.
pub async fn send(connection: &mut Connection, body: Body) -> Result<Response, Broken> {
    let (path, grows_for) = ("/_sql".into(), Duration::ZERO);
    connection.send(Ask { path, body: Some(body), gzip: false, grows_for, json: true }).await
}
