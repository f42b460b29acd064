//! One connection. The client library's state machine is polled together with the request that
//! waits for it, so that nothing is spawned here; dropped half-way, the connection is gone, and
//! the server rolls back what was not committed.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::SinkExt;
use tokio_postgres::{Client, Config, CopyInSink, Error, SimpleQueryMessage, Statement};

use super::failure::Failure;
use super::layout::Layout;
use super::options::PostgresPlan;
use super::tls::{Encryption, Plain};
use crate::blame::Fault;
use crate::sink::questdb::dial::{Dialer, in_words};
use crate::sink::questdb::options::Held;
use tokio_rustls::TlsConnector;

/// How every binary COPY begins: the signature, no flags, no extension of the head.
const COPY_HEAD: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// And how it ends.
const COPY_END: [u8; 2] = (-1_i16).to_be_bytes();
/// Beside what the server itself may take for a statement.
const ANSWER: Duration = Duration::from_secs(5);

/// How servers of a sink are connected to.
pub struct Door {
    plan: PostgresPlan,
    dialer: Dialer,
    connector: Option<TlsConnector>,
    config: Config,
    /// Which address is used now. Whoever finds it failing moves on for all.
    current: AtomicUsize,
}

impl Door {
    /// Reads secrets and authorities; connects to nothing.
    pub fn new(plan: &PostgresPlan, pipeline: &str) -> Result<Door, Fault> {
        let mut config = Config::new();
        config.user(&plan.username).dbname(&plan.database).ssl_mode(plan.tls.mode.asks());
        config.application_name(format!("bridge {pipeline}"));
        match &plan.password {
            None => {}
            Some(Held::Here(secret)) => {
                config.password(&secret.0);
            }
            Some(Held::File(path)) => {
                let read = std::fs::read_to_string(path).map_err(|error| {
                    Fault::operator(format!("reading password_file {}: {error}", path.display()))
                })?;
                config.password(read.trim());
            }
        }
        let connect_timeout = plan.connect_timeout;
        let dialer = Dialer { connect_timeout, send_buffer_bytes: None, tls: None };
        let connector = plan.tls.connector()?;
        let (plan, current) = (plan.clone(), AtomicUsize::new(0));
        Ok(Door { plan, dialer, connector, config, current })
    }

    /// Index of the address that is used now.
    pub fn current(&self) -> usize {
        self.current.load(Ordering::Acquire)
    }

    /// Moves on from an address that fails, unless somebody did so already.
    pub fn fail_over(&self, from: usize) {
        let next = (from + 1) % self.plan.addresses.len();
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        let _ = self.current.compare_exchange(from, next, success, failure);
    }

    /// How long an answer may take.
    fn patience(&self) -> Duration {
        self.plan.statement_timeout + ANSWER
    }

    /// A connection to the current address.
    pub async fn open(&self) -> Result<Link, Failure> {
        let endpoint = self.current();
        let at = &self.plan.addresses[endpoint];
        let dialled = self.dialer.dial(at).await;
        let stream = dialled.map_err(|error| Failure::Lost(in_words(&error)))?;
        let tls = Encryption { connector: self.connector.clone(), host: at.host.clone() };
        // Encryption and the password's exchange take a few more turns than connecting.
        let within = self.plan.connect_timeout * 2;
        let greeted =
            tokio::time::timeout(within, self.config.connect_raw(Plain(stream), tls)).await;
        let (client, connection) = greeted
            .map_err(|_| Failure::Lost("logging in timed out".into()))?
            .map_err(|error| Failure::of(&error))?;
        Ok(Link {
            endpoint,
            client,
            driver: Driver { connection: Some(Box::pin(connection)), patience: self.patience() },
            prepared: HashMap::new(),
            staged: HashSet::new(),
        })
    }
}

type Connection = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// What moves a connection's bytes.
struct Driver {
    /// `None` once it has ended.
    connection: Option<Connection>,
    patience: Duration,
}

impl Driver {
    /// Does some work while the connection is moved along.
    async fn drive<T>(
        &mut self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Failure> {
        let mut work = pin!(tokio::time::timeout(self.patience, work));
        let mut why = None;
        let done = loop {
            let Some(connection) = &mut self.connection else { break work.await };
            tokio::select! {
                biased;
                done = &mut work => break done,
                ended = connection => {
                    self.connection = None;
                    why = ended.err().map(|error| Failure::of(&error));
                }
            }
        };
        match done {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(match (Failure::of(&error), why) {
                // Only the connection knows why it ended.
                (Failure::Lost(_), Some(why)) => why,
                (failure, _) => failure,
            }),
            Err(_) => {
                self.connection = None;
                let seconds = self.patience.as_secs();
                Err(Failure::Lost(format!("no answer within {seconds} s")))
            }
        }
    }
}

/// A connection, logged in.
pub struct Link {
    /// Which address.
    pub endpoint: usize,
    client: Client,
    driver: Driver,
    /// COPY statements, by their layout.
    prepared: HashMap<u32, Statement>,
    /// Layouts whose stage is there.
    staged: HashSet<u32>,
}

/// Rows of one table on their way.
pub struct Part<'a> {
    /// The table.
    pub layout: &'a Layout,
    /// Their bytes, in order.
    pub chunks: Vec<Bytes>,
}

impl Link {
    /// Runs statements; the first column of every row that they give, as text.
    pub async fn ask(&mut self, statements: &str) -> Result<Vec<Option<String>>, Failure> {
        let rows = self.rows(statements).await?;
        Ok(rows.into_iter().map(|row| row.into_iter().next().flatten()).collect())
    }

    /// Runs statements; every row that they give, as text.
    pub async fn rows(&mut self, statements: &str) -> Result<Vec<Vec<Option<String>>>, Failure> {
        let answered = self.driver.drive(self.client.simple_query(statements)).await?;
        let row = |message: SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect())
            }
            _ => None,
        };
        Ok(answered.into_iter().filter_map(row).collect())
    }

    /// Makes a layout's stage, if it has one; outside of transactions, for it must outlive them.
    pub async fn stage(&mut self, layout: &Layout) -> Result<(), Failure> {
        if let Some(stage) = &layout.stage
            && !self.staged.contains(&layout.id)
        {
            self.ask(&stage.create).await?;
            self.staged.insert(layout.id);
        }
        Ok(())
    }

    /// Copies rows; inside a transaction that is open.
    pub async fn copy(&mut self, part: &Part<'_>) -> Result<(), Failure> {
        let Link { client, driver, prepared, .. } = self;
        let statement = match prepared.get(&part.layout.id) {
            Some(statement) => statement.clone(),
            None => {
                let made = driver.drive(client.prepare(&part.layout.copy)).await?;
                prepared.insert(part.layout.id, made.clone());
                made
            }
        };
        let sink: CopyInSink<Bytes> = driver.drive(client.copy_in(&statement)).await?;
        let mut sink = pin!(sink);
        driver
            .drive(async {
                sink.feed(Bytes::from_static(COPY_HEAD)).await?;
                for chunk in &part.chunks {
                    sink.feed(chunk.clone()).await?;
                }
                sink.feed(Bytes::copy_from_slice(&COPY_END)).await?;
                sink.as_mut().finish().await
            })
            .await
            .map(drop)
    }
}
