//! The way in for line protocol over TCP: which address, which options of the socket, which key.

use super::auth::Key;
use super::dial::{Dialer, Stream};
use super::options::{Endpoint, QuestDbPlan};
use super::server::reveal;
use crate::blame::Fault;

/// Enough to keep a long fat network busy while the next payload is fetched.
const SEND_BUFFER_BYTES: usize = 1 << 20;

/// How TCP connections are made.
pub struct Gate {
    endpoints: Vec<Endpoint>,
    dialer: Dialer,
    key: Option<Key>,
}

impl Gate {
    /// Reads the key and the authorities.
    pub fn new(plan: &QuestDbPlan) -> Result<Gate, Fault> {
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

    /// A connection that was let in, as far as the server says.
    pub async fn connect(&self, index: usize) -> std::io::Result<Stream> {
        let mut stream = self.dialer.dial(self.endpoint(index)).await?;
        if let Some(key) = &self.key {
            let proving = key.prove(&mut stream);
            let proved = tokio::time::timeout(self.dialer.connect_timeout, proving).await;
            proved.map_err(|_| std::io::Error::other("the server sent no challenge"))??;
        }
        Ok(stream)
    }
}
