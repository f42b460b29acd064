//! HTTP/1.1 to QuestDB and CrateDB: keep-alive connections with one request in flight each, and
//! QuestDB's SQL over `/exec`. What a server answers is bounded and hostile until it was checked.
//!
//! A connection's state machine is polled together with the request that waits for it, so that
//! nothing is spawned here.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::sync::Mutex;

use super::body::Body;
use super::dial::{Dialer, Stream, in_words};
use super::endpoint::Endpoint;
use super::options::{Credentials, Held, QuestDbPlan};
use super::pg;
use super::tls::TlsPlan;
use super::words::is_unreadable;
use crate::blame::Fault;
use crate::observe::PipelineMeter;

/// The longest answer that is read: a hundred thousand tables fit.
const ANSWER_BYTES_MAX: usize = 32 << 20;
/// The slowest server that is waited for: 100 KiB/s, as QuestDB's own clients have it.
const THROUGHPUT_MIN: u64 = 100 << 10;

/// The world is at fault: said in few words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken(pub String);

/// The servers of a sink. One of them is current; whoever finds it failing moves on for all.
pub struct Server {
    endpoints: Vec<Endpoint>,
    current: AtomicUsize,
    authorization: Option<HeaderValue>,
    dialer: Dialer,
    request_timeout: Duration,
    meter: Arc<PipelineMeter>,
}

/// What is sent.
pub struct Ask {
    /// Path and query.
    pub path: String,
    /// A body makes it a POST.
    pub body: Option<Body>,
    /// Whether the body is compressed.
    pub gzip: bool,
    /// The body's end may be so far away.
    pub grows_for: Duration,
    /// Whether the body is JSON.
    pub json: bool,
}

/// Servers that speak HTTP, and how they are spoken to.
pub struct Doors<'a> {
    /// Their addresses; never empty.
    pub addresses: &'a [Endpoint],
    /// Whom to trust, where an address wants TLS.
    pub tls: &'a TlsPlan,
    /// Who we are.
    pub credentials: &'a Credentials,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long an answer may take.
    pub request_timeout: Duration,
}

/// What came back.
#[derive(Debug)]
pub struct Response {
    /// HTTP's status.
    pub status: u16,
    /// The body, whole.
    pub body: Vec<u8>,
}

impl Server {
    /// Reads secrets and authorities; connects to nothing.
    pub fn new(plan: &QuestDbPlan, meter: Arc<PipelineMeter>) -> Result<Server, Fault> {
        let doors = Doors {
            addresses: &plan.addresses,
            tls: &plan.tls,
            credentials: &plan.credentials,
            connect_timeout: plan.connect_timeout,
            request_timeout: plan.request_timeout,
        };
        Server::behind(&doors, meter)
    }

    /// The same for whatever server speaks HTTP.
    pub fn behind(doors: &Doors<'_>, meter: Arc<PipelineMeter>) -> Result<Server, Fault> {
        let encrypted = doors.addresses.iter().any(|endpoint| endpoint.tls);
        let dialer = Dialer {
            connect_timeout: doors.connect_timeout,
            send_buffer_bytes: None,
            tls: encrypted.then(|| doors.tls.connector()).transpose()?,
        };
        Ok(Server {
            endpoints: doors.addresses.to_vec(),
            current: AtomicUsize::new(0),
            authorization: authorization(doors.credentials)?,
            dialer,
            request_timeout: doors.request_timeout,
            meter,
        })
    }

    /// How many addresses there are.
    pub fn endpoints(&self) -> usize {
        self.endpoints.len()
    }

    /// Index of the address that is used now.
    pub fn current(&self) -> usize {
        self.current.load(Ordering::Acquire)
    }

    /// The address that is used now.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoints[self.current()]
    }

    /// Moves on from an address that fails, unless somebody did so already.
    pub fn fail_over(&self, from: usize) {
        let next = (from + 1) % self.endpoints.len();
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        let _ = self.current.compare_exchange(from, next, success, failure);
    }

    /// A stream to one of the addresses.
    pub async fn dial(&self, index: usize) -> std::io::Result<Stream> {
        self.dialer.dial(&self.endpoints[index]).await
    }

    /// A connection to the current address.
    pub async fn connect(&self) -> Result<Connection, Broken> {
        let index = self.current();
        let endpoint = &self.endpoints[index];
        let connecting = async {
            let stream = self.dialer.dial(endpoint).await.map_err(|e| Broken(in_words(&e)))?;
            http1::handshake(TokioIo::new(stream)).await.map_err(|e| Broken(words(&e)))
        };
        let (sender, driver) = connecting.await?;
        let host = HeaderValue::try_from(endpoint.to_string())
            .map_err(|_| Broken(format!("{endpoint} cannot stand in a header")))?;
        self.meter.connections.add(1);
        Ok(Connection {
            endpoint: index,
            sender,
            driver: Some(Box::pin(driver)),
            host,
            authorization: self.authorization.clone(),
            request_timeout: self.request_timeout,
            meter: Arc::clone(&self.meter),
        })
    }
}

fn authorization(credentials: &Credentials) -> Result<Option<HeaderValue>, Fault> {
    let text = match credentials {
        Credentials::None => return Ok(None),
        Credentials::Basic(user, password) => {
            let pair = format!("{user}:{}", reveal(password, "password_file")?);
            format!("Basic {}", STANDARD.encode(pair))
        }
        Credentials::Bearer(token) => format!("Bearer {}", reveal(token, "token_file")?),
    };
    let mut value = HeaderValue::try_from(text).map_err(|_| {
        Fault::operator("the sink's token has characters that cannot stand in a header")
    })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// A secret as it is to be used: files end in a newline more often than not.
pub fn reveal(held: &Held, key: &str) -> Result<String, Fault> {
    match held {
        Held::Here(secret) => Ok(secret.0.clone()),
        Held::File(path) => match std::fs::read_to_string(path) {
            Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) => {
                Err(Fault::operator(format!("reading {key} {}: {error}", path.display())))
            }
        },
    }
}

type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// One keep-alive connection. After an error it is of no more use.
pub struct Connection {
    endpoint: usize,
    sender: SendRequest<Body>,
    driver: Option<Driver>,
    host: HeaderValue,
    authorization: Option<HeaderValue>,
    request_timeout: Duration,
    meter: Arc<PipelineMeter>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.meter.connections.add(-1);
    }
}

impl Connection {
    /// Which of the server's addresses it goes to.
    pub fn endpoint(&self) -> usize {
        self.endpoint
    }

    /// Sends a request and reads the answer whole.
    pub async fn send(&mut self, ask: Ask) -> Result<Response, Broken> {
        let length = ask.body.as_ref().map_or(0, Body::bytes);
        let sending = Duration::from_secs(length / THROUGHPUT_MIN) + ask.grows_for;
        let within = self.request_timeout + sending;
        let request = self.request(ask)?;
        let (sender, driver) = (&mut self.sender, &mut self.driver);
        let exchange = async {
            sender.ready().await.map_err(|e| Broken(words(&e)))?;
            let answer = sender.send_request(request).await.map_err(|e| Broken(words(&e)))?;
            let status = answer.status().as_u16();
            Ok(Response { status, body: read(answer.into_body()).await? })
        };
        match tokio::time::timeout(within, driven(driver, exchange)).await {
            Ok(done) => done,
            Err(_) => Err(Broken(format!("no answer within {} s", within.as_secs()))),
        }
    }

    fn request(&self, ask: Ask) -> Result<Request<Body>, Broken> {
        let method = if ask.body.is_some() { "POST" } else { "GET" };
        let mut request = Request::builder()
            .method(method)
            .uri(ask.path)
            .header(HOST, &self.host)
            .header(USER_AGENT, concat!("bridge/", env!("CARGO_PKG_VERSION")));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if ask.gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        if ask.json {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        request.body(ask.body.unwrap_or_default()).map_err(|error| Broken(error.to_string()))
    }
}

/// Polls the connection along with what waits for it.
async fn driven<T>(driver: &mut Option<Driver>, exchange: impl Future<Output = T>) -> T {
    let mut exchange = pin!(exchange);
    poll_fn(|context| {
        if let Some(running) = driver
            && running.as_mut().poll(context).is_ready()
        {
            // Whatever ended it, the exchange is told through its own channel.
            *driver = None;
        }
        if let Poll::Ready(done) = exchange.as_mut().poll(context) {
            return Poll::Ready(done);
        }
        // The exchange may have handed the connection something to do.
        if let Some(running) = driver
            && running.as_mut().poll(context).is_ready()
        {
            *driver = None;
            return exchange.as_mut().poll(context);
        }
        Poll::Pending
    })
    .await
}

async fn read(mut body: hyper::body::Incoming) -> Result<Vec<u8>, Broken> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| Broken(words(&e)))?;
        if let Some(part) = frame.data_ref() {
            if bytes.len() + part.len() > ANSWER_BYTES_MAX {
                return Err(Broken(format!("an answer of more than {ANSWER_BYTES_MAX} bytes")));
            }
            bytes.extend_from_slice(part);
        }
    }
    Ok(bytes)
}

/// The innermost reason is the one that says something.
fn words(error: &hyper::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match innermost.downcast_ref::<std::io::Error>() {
        Some(error) => in_words(error),
        None if error.is_incomplete_message() || error.is_canceled() => "connection closed".into(),
        None => error.to_string(),
    }
}

/// SQL over `/exec` or the PostgreSQL protocol, on a connection of its own that is opened when it
/// is wanted.
pub struct SqlClient {
    server: Arc<Server>,
    connection: Mutex<Option<Connection>>,
    pg: Option<pg::Sql>,
}

/// Why there are no rows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ExecError {
    /// The server did not answer, or not as a server does that is well.
    Away(String),
    /// It refuses who we are.
    Denied(String),
    /// It refuses the statement, in these words.
    Refused(String),
}

impl std::fmt::Display for ExecError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (ExecError::Away(why) | ExecError::Denied(why) | ExecError::Refused(why)) = self;
        f.write_str(why)
    }
}

/// The rows of an answer.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Rows {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The cells.
    pub rows: Vec<Vec<Value>>,
}

impl SqlClient {
    /// A client of a server without a login, for whoever is no pipeline.
    pub fn at(host: &str, port: u16) -> SqlClient {
        let (connect_timeout, request_timeout) = (Duration::from_secs(2), Duration::from_secs(10));
        SqlClient::new(Arc::new(Server {
            endpoints: vec![Endpoint { host: host.to_owned(), port, tls: false }],
            current: AtomicUsize::new(0),
            authorization: None,
            dialer: Dialer { connect_timeout, send_buffer_bytes: None, tls: None },
            request_timeout,
            meter: Arc::default(),
        }))
    }

    /// A client that has not connected yet.
    pub fn new(server: Arc<Server>) -> SqlClient {
        SqlClient { server, connection: Mutex::new(None), pg: None }
    }

    /// The same over the PostgreSQL protocol.
    pub fn over(server: Arc<Server>, door: Arc<pg::Door>) -> SqlClient {
        SqlClient { pg: Some(pg::Sql::new(door)), ..SqlClient::new(server) }
    }

    /// Runs one statement. Tries once more where a kept connection turned out to be closed.
    pub async fn exec(&self, statement: &str) -> Result<Rows, ExecError> {
        if let Some(pg) = &self.pg {
            return pg.exec(statement).await;
        }
        let path = format!("/exec?timings=false&query={}", percent_encode(statement));
        let response = self.get(path).await.map_err(|Broken(why)| ExecError::Away(why))?;
        read_rows(&response)
    }

    /// What the server says of itself.
    pub async fn settings(&self) -> Result<Settings, Broken> {
        if let Some(pg) = &self.pg {
            return pg.settings().await;
        }
        let response = self.get("/settings".into()).await?;
        match response.status {
            500..=599 | 429 => Err(Broken(format!("status {}", response.status))),
            _ => Ok(Settings::read(&response.body)),
        }
    }

    /// Index of the address that the last answer came from.
    pub async fn endpoint(&self) -> Option<usize> {
        if let Some(pg) = &self.pg {
            return pg.endpoint().await;
        }
        self.connection.lock().await.as_ref().map(Connection::endpoint)
    }

    /// Asks for a path.
    async fn get(&self, path: String) -> Result<Response, Broken> {
        let mut kept = self.connection.lock().await;
        let current = self.server.current();
        if let Some(mut connection) = kept.take()
            && connection.endpoint() == current
            && let Ok(response) = connection
                .send(Ask {
                    path: path.clone(),
                    body: None,
                    gzip: false,
                    grows_for: Duration::ZERO,
                    json: false,
                })
                .await
        {
            *kept = Some(connection);
            return Ok(response);
        }
        let attempt = async {
            let mut connection = self.server.connect().await?;
            let response = connection
                .send(Ask { path, body: None, gzip: false, grows_for: Duration::ZERO, json: false })
                .await?;
            Ok((connection, response))
        };
        match attempt.await {
            Ok((connection, response)) => {
                *kept = Some(connection);
                Ok(response)
            }
            Err(broken) => {
                self.server.fail_over(current);
                Err(broken)
            }
        }
    }
}

/// What a server says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Its version, for people.
    pub version: String,
    /// The newest version of line protocol that both sides speak: 1 or 2.
    pub protocol: u8,
}

impl Settings {
    /// Servers before 9.0 say nothing, and speak version 1.
    fn read(body: &[u8]) -> Settings {
        let told: Value = serde_json::from_slice(body).unwrap_or_default();
        let config = &told["config"];
        let version = config["release.version"].as_str().map(|v| said(v.as_bytes()));
        let versions = config["line.proto.support.versions"].as_array();
        let has_two = versions.is_some_and(|all| all.iter().any(|v| v.as_u64() == Some(2)));
        Settings {
            version: version.unwrap_or_else(|| "unknown version".into()),
            protocol: if has_two { 2 } else { 1 },
        }
    }
}

/// Reads the answer of `/exec`.
fn read_rows(response: &Response) -> Result<Rows, ExecError> {
    let told = || said(&response.body);
    if is_read_only(&response.body) {
        return Err(ExecError::Away("the server is read-only".into()));
    }
    match response.status {
        401 | 403 => return Err(ExecError::Denied(format!("status {}", response.status))),
        421 | 429 | 500..=599 => {
            return Err(ExecError::Away(format!("status {}: {}", response.status, told())));
        }
        _ => {}
    }
    let answer: Value = serde_json::from_slice(&response.body).map_err(|_| {
        ExecError::Away(format!("status {}, no answer to sql: {}", response.status, told()))
    })?;
    if let Some(error) = answer.get("error").and_then(Value::as_str) {
        return Err(match is_unreadable(error) {
            true => ExecError::Away(error.to_owned()),
            false => ExecError::Refused(error.to_owned()),
        });
    }
    if response.status != 200 {
        return Err(ExecError::Refused(format!("status {}: {}", response.status, told())));
    }
    let Value::Object(mut answer) = answer else { return Ok(Rows::default()) };
    let mut list = |name: &str| match answer.remove(name) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    };
    let name = |column: Value| column["name"].as_str().unwrap_or_default().to_owned();
    let columns: Vec<String> = list("columns").into_iter().map(name).collect();
    let width = columns.len();
    let mut rows = Vec::new();
    for row in list("dataset") {
        match row {
            Value::Array(cells) if cells.len() == width => rows.push(cells),
            _ => return Err(ExecError::Away("an answer to sql whose rows are not rows".into())),
        }
    }
    Ok(Rows { columns, rows })
}

/// Whether the server refused to write whoever we are: its configuration says read-only, which a
/// person may end without our knowing.
pub fn is_read_only(body: &[u8]) -> bool {
    String::from_utf8_lossy(body).contains("Write permission denied")
}

/// The beginning of what a server said, fit for one line of a log.
pub fn said(body: &[u8]) -> String {
    const SHOWN_CHARS_MAX: usize = 400;
    let text = String::from_utf8_lossy(body);
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().take(SHOWN_CHARS_MAX).map(clean).collect()
}

/// Encodes text for a query string.
fn percent_encode(text: &str) -> String {
    use std::fmt::Write;
    let mut encoded = String::with_capacity(text.len() + text.len() / 2);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => write!(encoded, "%{byte:02X}").expect("writing to a string does not fail"),
        }
    }
    encoded
}

/// A text as an SQL literal.
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_that_both_speak() {
        let of = |versions: &str| {
            let text = format!("{{\"config\":{{\"line.proto.support.versions\":{versions}}}}}");
            Settings::read(text.as_bytes()).protocol
        };
        assert_eq!((of("[1,2,3]"), of("[1]"), of("null")), (2, 1, 1));
        assert_eq!(Settings::read(b"<html>").version, "unknown version");
    }

    #[test]
    fn answers_to_sql_are_rows_refusals_or_no_answers() {
        let read =
            |status, body: &str| read_rows(&Response { status, body: body.as_bytes().to_vec() });
        let rows = read(200, r#"{"columns":[{"name":"a"}],"dataset":[[1],[null]]}"#);
        let wanted =
            Rows { columns: vec!["a".into()], rows: vec![vec![1.into()], vec![Value::Null]] };
        assert_eq!(rows, Ok(wanted));
        assert_eq!(read(200, r#"{"ddl":"OK"}"#), Ok(Rows::default()));
        let refused = read(400, r#"{"error":"table does not exist"}"#);
        assert_eq!(refused, Err(ExecError::Refused("table does not exist".into())));
        let torn = r#"{"error":"Metadata read timeout [src=reader, timeout=1000ms]"}"#;
        assert!(matches!(read(400, torn), Err(ExecError::Away(_))), "no row is to blame");
        assert!(matches!(read(401, ""), Err(ExecError::Denied(_))));
        assert!(matches!(read(503, "{}"), Err(ExecError::Away(_))));
        assert!(matches!(read(200, "<html>"), Err(ExecError::Away(_))));
        let ragged = read(200, r#"{"columns":[{"name":"a"}],"dataset":[[1,2]]}"#);
        assert!(matches!(ragged, Err(ExecError::Away(_))));
    }

    #[test]
    fn queries_survive_the_address_line() {
        assert_eq!(percent_encode("a b'ü%"), "a%20b%27%C3%BC%25");
    }
}
