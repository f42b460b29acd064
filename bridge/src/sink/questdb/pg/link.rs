//! One connection: statements one at a time, or thousands of rows behind each other while their
//! answers are read. What the server says is bounded and hostile until it was checked; dropped,
//! the connection is gone, and the server rolls back what was not committed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{ErrorResponseBody, Header, Message};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use super::layout::{Layout, name};
use crate::blame::Fault;
use crate::observe::PipelineMeter;
use crate::sink::questdb::dial::{Stream, in_words};
use crate::sink::questdb::options::{Credentials, QuestDbPlan};
use crate::sink::questdb::server::{Server, reveal, said};

/// The longest message that is read.
const ANSWER_BYTES_MAX: usize = 32 << 20;
/// The slowest server that is waited for, as over HTTP.
const THROUGHPUT_MIN: u64 = 100 << 10;
/// Rows between two Syncs. The server keeps what it parsed until a Sync: with 10,000 it is no
/// faster, with 40,000 slower.
const SYNC_ROWS: usize = 2_000;
/// The database's name: QuestDB has one, and looks at none.
const DATABASE: &str = "qdb";

/// What went wrong between us and a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// It refuses who we are.
    Denied(String),
    /// It said no, in these words.
    Said(String),
    /// The same of one row, which has this place (from 0) among those that were sent.
    Row(usize, String),
    /// No answer, or none that could be read.
    Lost(String),
}

impl Failure {
    /// For people.
    pub fn words(&self) -> &str {
        let (Failure::Denied(words)
        | Failure::Said(words)
        | Failure::Row(_, words)
        | Failure::Lost(words)) = self;
        words
    }
}

/// How servers of a sink are connected to.
pub struct Door {
    pub server: Arc<Server>,
    user: String,
    password: String,
    application: String,
    patience: Duration,
    login: Duration,
    meter: Arc<PipelineMeter>,
}

impl Door {
    /// Reads secrets; connects to nothing.
    pub fn new(
        plan: &QuestDbPlan,
        pipeline: &str,
        server: Arc<Server>,
        meter: Arc<PipelineMeter>,
    ) -> Result<Door, Fault> {
        let (user, password) = match &plan.credentials {
            Credentials::Basic(user, held) => (user.clone(), reveal(held, "password_file")?),
            Credentials::None | Credentials::Bearer(_) => {
                return Err(Fault::us("a plan without a user for the PostgreSQL protocol"));
            }
        };
        let application = format!("bridge {pipeline}");
        let (patience, login) = (plan.request_timeout, plan.connect_timeout * 2);
        Ok(Door { server, user, password, application, patience, login, meter })
    }

    /// A connection to the current address.
    pub async fn open(&self) -> Result<Link, Failure> {
        let endpoint = self.server.current();
        let stream = self.server.dial(endpoint).await.map_err(|e| Failure::Lost(in_words(&e)))?;
        self.meter.connections.add(1);
        let (reader, writer) = tokio::io::split(stream);
        let mut link = Link {
            endpoint,
            version: "unknown version".to_owned(),
            answers: Answers { reader, read: BytesMut::new() },
            writer,
            prepared: HashSet::new(),
            patience: self.patience,
            meter: Arc::clone(&self.meter),
        };
        match tokio::time::timeout(self.login, self.log_in(&mut link)).await {
            Ok(done) => done.map(|()| link),
            Err(_) => Err(Failure::Lost("logging in timed out".to_owned())),
        }
    }

    async fn log_in(&self, link: &mut Link) -> Result<(), Failure> {
        let mut out = BytesMut::new();
        let parameters = [
            ("user", self.user.as_str()),
            ("database", DATABASE),
            ("application_name", &self.application),
        ];
        frontend::startup_message(parameters, &mut out).map_err(|e| lost(&e))?;
        link.send(&[out.freeze()]).await?;
        loop {
            match link.answers.next().await? {
                Message::AuthenticationCleartextPassword => {
                    let mut out = BytesMut::new();
                    frontend::password_message(self.password.as_bytes(), &mut out)
                        .map_err(|e| lost(&e))?;
                    link.send(&[out.freeze()]).await?;
                }
                Message::ParameterStatus(body) => {
                    if body.name().ok() == Some("questdb_version") {
                        link.version = said(body.value().unwrap_or_default().as_bytes());
                    }
                }
                Message::ErrorResponse(body) => {
                    let words = words(&body);
                    return Err(match words.contains("username/password") {
                        true => Failure::Denied(words),
                        // Too many connections, or a server that is not ready.
                        false => Failure::Lost(words),
                    });
                }
                Message::ReadyForQuery(_) => return Ok(()),
                Message::AuthenticationOk
                | Message::BackendKeyData(_)
                | Message::NoticeResponse(_) => {}
                _ => {
                    let words = "it asks for a login that QuestDB does not have";
                    return Err(Failure::Lost(words.to_owned()));
                }
            }
        }
    }
}

/// A connection, logged in. After a failure it is of no more use.
pub struct Link {
    /// Which address.
    pub endpoint: usize,
    /// What the server says it is.
    pub version: String,
    answers: Answers,
    writer: WriteHalf<Stream>,
    /// Layouts whose statement is there.
    prepared: HashSet<u32>,
    patience: Duration,
    meter: Arc<PipelineMeter>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.meter.connections.add(-1);
    }
}

/// What a statement gave: names and types of the columns, and the rows as text.
#[derive(Debug, Default)]
pub struct Table {
    pub columns: Vec<(String, u32)>,
    pub rows: Vec<Vec<Option<String>>>,
}

impl Link {
    /// Runs a statement outside of transactions.
    pub async fn query(&mut self, sql: &str) -> Result<Table, Failure> {
        self.statement(sql, b'I').await
    }

    /// Inserts rows in one transaction; they are stored if this ends well. `chunks` are Binds and
    /// Executes with how many rows each has, and `layouts` all that they are of.
    pub async fn insert(
        &mut self,
        layouts: &[Arc<Layout>],
        chunks: Vec<(Bytes, usize)>,
    ) -> Result<(), Failure> {
        for layout in layouts.iter().filter(|layout| !self.prepared.contains(&layout.id)) {
            self.answers.expect_quiet()?;
            let mut out = BytesMut::new();
            frontend::parse(&name(layout.id), &layout.sql, layout.types(), &mut out)
                .map_err(|e| lost(&e))?;
            frontend::sync(&mut out);
            let (writer, answers) = (&mut self.writer, &mut self.answers);
            let read = answers.until_ready(b'I');
            within(self.patience, 0, both(send(writer, vec![out.freeze()]), read)).await?;
        }
        self.prepared.extend(layouts.iter().map(|layout| layout.id));
        self.statement("BEGIN", b'T').await?;
        let mut out = Vec::with_capacity(2 * chunks.len());
        let (mut bytes, mut rows, mut syncs) = (0, 0, 0);
        let mut sync = BytesMut::new();
        frontend::sync(&mut sync);
        let sync = sync.freeze();
        for (chunk, count) in chunks {
            bytes += chunk.len() as u64;
            rows += count;
            syncs += 1;
            out.push(chunk);
            out.push(sync.clone());
        }
        let (writer, answers) = (&mut self.writer, &mut self.answers);
        let read = answers.inserted(rows, syncs);
        within(self.patience, bytes, both(send(writer, out), read)).await?;
        self.statement("COMMIT", b'I').await?;
        Ok(())
    }

    async fn statement(&mut self, sql: &str, status: u8) -> Result<Table, Failure> {
        self.answers.expect_quiet()?;
        let mut out = BytesMut::new();
        frontend::query(sql, &mut out).map_err(|e| lost(&e))?;
        let (writer, answers) = (&mut self.writer, &mut self.answers);
        let read = answers.until_ready(status);
        within(self.patience, 0, both(send(writer, vec![out.freeze()]), read)).await
    }

    async fn send(&mut self, parts: &[Bytes]) -> Result<(), Failure> {
        send(&mut self.writer, parts.to_vec()).await
    }
}

/// Rows in pieces of as many as go between two Syncs.
pub fn chunks(rows: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..rows).step_by(SYNC_ROWS).map(move |first| first..(first + SYNC_ROWS).min(rows))
}

async fn send(writer: &mut WriteHalf<Stream>, parts: Vec<Bytes>) -> Result<(), Failure> {
    for part in parts {
        writer.write_all(&part).await.map_err(|e| lost(&e))?;
    }
    writer.flush().await.map_err(|e| lost(&e))
}

/// Sends and reads at once, for a server whose answers nobody reads stops reading.
async fn both<T>(
    sending: impl Future<Output = Result<(), Failure>>,
    reading: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let (sending, reading) = (std::pin::pin!(sending), std::pin::pin!(reading));
    match futures_util::future::select(sending, reading).await {
        futures_util::future::Either::Left((Ok(()), reading)) => reading.await,
        // What the server said last, if it said anything, tells more than a broken pipe.
        futures_util::future::Either::Left((Err(broken), reading)) => match reading.await {
            Err(failure @ (Failure::Said(_) | Failure::Row(..))) => Err(failure),
            _ => Err(broken),
        },
        futures_util::future::Either::Right((Err(failure), _)) => Err(failure),
        futures_util::future::Either::Right((Ok(read), sending)) => sending.await.map(|()| read),
    }
}

async fn within<T>(
    patience: Duration,
    bytes: u64,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let patience = patience + Duration::from_secs(bytes / THROUGHPUT_MIN);
    match tokio::time::timeout(patience, work).await {
        Ok(done) => done,
        Err(_) => Err(Failure::Lost(format!("no answer within {} s", patience.as_secs()))),
    }
}

struct Answers {
    reader: ReadHalf<Stream>,
    read: BytesMut,
}

impl Answers {
    /// The next message.
    async fn next(&mut self) -> Result<Message, Failure> {
        loop {
            if let Some(header) = Header::parse(&self.read).map_err(|e| lost(&e))?
                && !(4..=ANSWER_BYTES_MAX as i32).contains(&header.len())
            {
                let words = format!("a message of {} bytes, which is none", header.len());
                return Err(Failure::Lost(words));
            }
            if let Some(message) = Message::parse(&mut self.read).map_err(|e| lost(&e))? {
                return Ok(message);
            }
            if self.reader.read_buf(&mut self.read).await.map_err(|e| lost(&e))? == 0 {
                return Err(Failure::Lost("connection closed".to_owned()));
            }
        }
    }

    /// Nothing was said that nobody asked for.
    fn expect_quiet(&self) -> Result<(), Failure> {
        match self.read.is_empty() {
            true => Ok(()),
            false => Err(Failure::Lost("an answer that nobody asked for".to_owned())),
        }
    }

    /// Everything up to a ReadyForQuery of this status, an error first.
    async fn until_ready(&mut self, status: u8) -> Result<Table, Failure> {
        let mut table = Table::default();
        let mut failure = None;
        loop {
            match self.next().await? {
                Message::ErrorResponse(body) => {
                    failure.get_or_insert(Failure::Said(words(&body)));
                }
                Message::RowDescription(body) => {
                    let fields = body.fields().map(|f| Ok((f.name().to_owned(), f.type_oid())));
                    table.columns = fields.collect().map_err(|e| lost(&e))?;
                }
                Message::DataRow(body) => {
                    let text = |range: Option<std::ops::Range<usize>>| {
                        let bytes = range.and_then(|range| body.buffer().get(range));
                        Ok(bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
                    };
                    table.rows.push(body.ranges().map(text).collect().map_err(|e| lost(&e))?);
                }
                Message::ReadyForQuery(body) => match failure {
                    Some(failure) => return Err(failure),
                    None if body.status() == status => return Ok(table),
                    None => return Err(strange(body.status(), status)),
                },
                _ => {}
            }
        }
    }

    /// Counts rows as inserted, each one, until as many ReadyForQuery were read as were asked for.
    async fn inserted(&mut self, rows: usize, mut syncs: usize) -> Result<(), Failure> {
        let (mut begun, mut done) = (0, 0);
        while syncs > 0 {
            match self.next().await? {
                // The row before the refused one is bound, but its end is not always told.
                Message::ErrorResponse(body) => return Err(Failure::Row(begun, words(&body))),
                Message::BindComplete => begun += 1,
                Message::CommandComplete(body) => {
                    let tag = body.tag().map_err(|e| lost(&e))?;
                    if tag != "INSERT 0 1" {
                        let words = format!("{:?} for a row", said(tag.as_bytes()));
                        return Err(Failure::Lost(words));
                    }
                    done += 1;
                }
                Message::ReadyForQuery(body) if body.status() != b'T' => {
                    return Err(strange(body.status(), b'T'));
                }
                Message::ReadyForQuery(_) => syncs -= 1,
                _ => {}
            }
        }
        match done == rows {
            true => Ok(()),
            false => Err(Failure::Lost(format!("{done} of {rows} rows were inserted"))),
        }
    }
}

fn strange(status: u8, expected: u8) -> Failure {
    let (status, expected) = (char::from(status), char::from(expected));
    Failure::Lost(format!("the transaction's state is {status:?} and not {expected:?}"))
}

fn lost(error: &std::io::Error) -> Failure {
    Failure::Lost(in_words(error))
}

/// What an error says, fit for one line.
fn words(body: &ErrorResponseBody) -> String {
    let mut fields = body.fields();
    let mut message = String::new();
    while let Ok(Some(field)) = fields.next() {
        if field.type_() == b'M' {
            message = said(field.value_bytes());
        }
    }
    message
}
