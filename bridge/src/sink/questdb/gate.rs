//! The way in for line protocol over TCP: which address, which options of the socket, which key,
//! and whether the server took that key.
//!
//! QuestDB says nothing to a right key and hangs up on a wrong one. Rows that were written before
//! that is seen are lost, or go over HTTP without anyone noticing why. So the first connection of
//! a courier, and each one after a loss, carries no row until the server had time to hang up.

use std::io::{Error, ErrorKind, Result};
use std::time::{Duration, Instant};

use super::auth::{Key, refusal};
use super::dial::{Dialer, Stream};
use super::endpoint::Endpoint;
use super::options::QuestDbPlan;
use super::server::reveal;
use crate::blame::Fault;

/// Enough to keep a long fat network busy while the next payload is fetched.
const SEND_BUFFER_BYTES: usize = 1 << 20;
/// The time to hang up, beside a multiple of the challenge's. Of 200 wrong signatures QuestDB 9.3.4
/// hung up on half within 2 ms and on all within 6; with nine busy threads on two cores, on half
/// within 135 ms and on all within 890, after challenges that took just as long.
const PATIENCE: Duration = Duration::from_millis(50);
/// A server that hangs up later than that is met with twice the patience, up to this.
const PATIENCE_MAX: Duration = Duration::from_secs(1);
/// How many times the challenge's time is added.
const CHALLENGES: u32 = 3;
/// A connection that lived so long was not refused.
const LONG: Duration = Duration::from_secs(10);
/// A server that is starting or ending may hang up on a good key now and then.
const DENIALS_MAX: u32 = 3;
/// And so may what stands before it, for a moment.
const DENIED_MAX: Duration = Duration::from_secs(1);

/// How TCP connections are made.
pub struct Gate {
    endpoints: Vec<Endpoint>,
    dialer: Dialer,
    key: Option<Key>,
}

impl Gate {
    /// Reads the key and the authorities.
    pub fn new(plan: &QuestDbPlan) -> std::result::Result<Gate, Fault> {
        let encrypted = plan.tcp_addresses.iter().any(|endpoint| endpoint.tls);
        let key = plan.key.as_ref().map(|key| {
            let private = reveal(&key.private, "auth_private_key_file")?;
            Key::new(&key.id, &private, &key.public_x, &key.public_y)
        });
        let dialer = Dialer {
            connect_timeout: plan.connect_timeout,
            send_buffer_bytes: Some(SEND_BUFFER_BYTES),
            tls: encrypted.then(|| plan.tls.connector()).transpose()?,
        };
        Ok(Gate { endpoints: plan.tcp_addresses.clone(), dialer, key: key.transpose()? })
    }

    /// The address that belongs to the HTTP address of this index.
    pub fn endpoint(&self, index: usize) -> &Endpoint {
        &self.endpoints[index % self.endpoints.len()]
    }

    /// A connection that was let in, as far as the server says within `patience`. The error of one
    /// that was not is [`ErrorKind::PermissionDenied`].
    pub async fn connect(&self, index: usize, patience: Option<Duration>) -> Result<Stream> {
        let mut stream = self.dialer.dial(self.endpoint(index)).await?;
        let Some(key) = &self.key else { return Ok(stream) };
        let proving = key.prove(&mut stream);
        let proved = tokio::time::timeout(self.dialer.connect_timeout, proving).await;
        let took = proved.map_err(|_| Error::other("the server sent no challenge"))??;
        if let Some(patience) = patience {
            refusal(&mut stream, patience + took * CHALLENGES).await?;
        }
        Ok(stream)
    }
}

/// What a courier makes of how its connections began and ended.
#[derive(Debug)]
pub struct Trust {
    /// A connection stayed open, and none was lost since.
    proven: bool,
    patience: Duration,
    denials: u32,
    denied_at: Option<Instant>,
}

impl Default for Trust {
    fn default() -> Trust {
        Trust { proven: false, patience: PATIENCE, denials: 0, denied_at: None }
    }
}

impl Trust {
    /// How long the next connection is watched before it carries rows.
    pub fn patience(&self) -> Option<Duration> {
        (!self.proven).then_some(self.patience)
    }

    /// A connection stayed open.
    pub fn admitted(&mut self) {
        self.proven = true;
        self.denials = 0;
        self.denied_at = None;
    }

    /// Rows of a connection were counted back, and were all there or not.
    pub fn counted(&mut self, whole: bool) {
        match whole {
            true => self.patience = PATIENCE,
            false => self.lost(Duration::ZERO),
        }
    }

    /// A connection that lived so long was lost.
    pub fn lost(&mut self, lived: Duration) {
        self.proven = false;
        self.patience = match lived < LONG {
            true => (self.patience * 2).min(PATIENCE_MAX),
            false => PATIENCE,
        };
    }

    /// There is no connection; whether the server has refused us for long enough. Anything but a
    /// refusal starts anew.
    pub fn failed(&mut self, error: &Error) -> bool {
        if error.kind() != ErrorKind::PermissionDenied {
            self.denials = 0;
            self.denied_at = None;
            return false;
        }
        self.denials += 1;
        let since = self.denied_at.get_or_insert_with(Instant::now);
        self.denials >= DENIALS_MAX && since.elapsed() >= DENIED_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_hangs_up_late_is_watched_longer() {
        let mut trust = Trust::default();
        assert_eq!(trust.patience(), Some(PATIENCE));
        trust.admitted();
        assert_eq!(trust.patience(), None, "one generation follows the other at once");
        for _ in 0..10 {
            trust.lost(Duration::ZERO);
            trust.admitted();
        }
        trust.lost(Duration::ZERO);
        assert_eq!(trust.patience(), Some(PATIENCE_MAX));
        trust.lost(LONG);
        assert_eq!(trust.patience(), Some(PATIENCE), "it was no refusal");
        trust.lost(Duration::ZERO);
        trust.counted(false);
        trust.counted(true);
        assert_eq!(trust.patience(), Some(PATIENCE));
    }

    #[test]
    fn a_refusal_must_last() {
        let refused = || Error::from(ErrorKind::PermissionDenied);
        let mut trust = Trust::default();
        for _ in 0..DENIALS_MAX * 2 {
            assert!(!trust.failed(&refused()), "it began just now");
        }
        let long_ago = Instant::now().checked_sub(DENIED_MAX);
        trust.denied_at = long_ago;
        assert!(trust.failed(&refused()));
        assert!(!trust.failed(&ErrorKind::ConnectionRefused.into()), "nobody is there");
        trust.failed(&refused());
        trust.denied_at = long_ago;
        assert!(!trust.failed(&refused()), "twice is not often enough");
    }
}
