//! A registry that answers as a test says, strictly: a request that is none of Confluent's API
//! fails the test that made it. What is registered in it is there from then on, if data that was
//! written with the version before can be read with it.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::json;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

/// Whoever says nothing for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Status and body.
    Json(u16, String),
    /// Nothing: the connection is closed.
    HangUp,
    /// So many bytes.
    Huge(usize),
    /// These bytes, whatever they are, and then nothing.
    Raw(String),
    /// Nothing, and the connection stays.
    Silence,
}

impl Reply {
    /// A schema in Avro.
    pub fn schema(schema: &str) -> Reply {
        Reply::Json(200, json!({ "schema": schema }).to_string())
    }

    /// An error as the registry writes them.
    pub fn error(status: u16, code: u32, message: &str) -> Reply {
        let body = json!({ "error_code": code, "message": message });
        Reply::Json(status, body.to_string())
    }
}

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub path: String,
    pub authorization: Option<String>,
    /// Of its body.
    pub content: String,
    pub body: String,
}

/// A schema that was registered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    pub id: u32,
    pub kind: String,
    pub schema: String,
}

#[derive(Default)]
struct State {
    replies: HashMap<String, Reply>,
    /// The versions of each subject, the first first.
    subjects: HashMap<String, Vec<Kept>>,
    /// Ids are given from here on.
    ids: u32,
    /// Come first, whatever is asked for.
    script: VecDeque<Reply>,
    asked: Vec<Request>,
    /// Who comes without it is not let in.
    wants: Option<String>,
    /// Connections that nothing is said on.
    silent: Vec<TcpStream>,
}

/// Who is asked for a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clients {
    /// Nobody.
    Any,
    /// Everybody: one that the authority of these tests signed.
    Known,
}

/// The registry.
pub struct Fake {
    scheme: &'static str,
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    /// One that has nothing.
    pub fn start() -> Fake {
        Fake::start_at("127.0.0.1:0".parse().expect("an address"))
    }

    /// The same at an address where nobody listens.
    pub fn start_at(address: SocketAddr) -> Fake {
        Fake::serving(address, None)
    }

    /// One that speaks TLS.
    pub fn start_tls(clients: Clients) -> Fake {
        Fake::start_tls_at("127.0.0.1:0", clients)
    }

    /// The same at an address that its certificate may not be for.
    pub fn start_tls_at(address: &str, clients: Clients) -> Fake {
        let tls = Arc::new(server_config(clients));
        Fake::serving(address.parse().expect("an address"), Some(tls))
    }

    fn serving(address: SocketAddr, tls: Option<Arc<ServerConfig>>) -> Fake {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listener = TcpListener::bind(address).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (state, over) = (Arc::<Mutex<State>>::default(), Arc::<AtomicBool>::default());
        let (theirs, ends) = (Arc::clone(&state), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::Acquire) {
                    return;
                }
                // Whoever hangs up half-way has a reason.
                let _ = stream.and_then(|stream| open(stream, tls.as_ref(), &theirs));
            }
        });
        Fake { scheme, address, state, over, thread: Some(thread) }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address, as the configuration has it.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// From now on it lets only those in who say this.
    pub fn wants(&self, authorization: &str) {
        self.state.lock().expect("whole").wants = Some(authorization.to_owned());
    }

    /// What it answers to a path.
    pub fn put(&self, path: &str, reply: Reply) {
        self.state.lock().expect("whole").replies.insert(path.to_owned(), reply);
    }

    /// Has a version of a subject; its id.
    pub fn keep(&self, subject: &str, kind: &str, schema: &str) -> u32 {
        register(&mut self.state.lock().expect("whole"), subject, kind, schema)
    }

    /// The versions of a subject.
    pub fn versions(&self, subject: &str) -> Vec<Kept> {
        let state = self.state.lock().expect("whole");
        state.subjects.get(subject).cloned().unwrap_or_default()
    }

    /// What it answers first.
    pub fn script(&self, replies: impl IntoIterator<Item = Reply>) {
        self.state.lock().expect("whole").script.extend(replies);
    }

    /// The paths that were asked for.
    pub fn asked(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.path).collect()
    }

    /// All that was asked for.
    pub fn requests(&self) -> Vec<Request> {
        self.state.lock().expect("whole").asked.clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A server that shows a certificate of the authority of these tests.
fn server_config(clients: Clients) -> ServerConfig {
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("its protocols");
    let chain: Result<Vec<_>, _> =
        rustls_pemfile::certs(&mut &include_bytes!("tls/server.pem")[..]).collect();
    let chain = chain.expect("certificates");
    let key = rustls_pemfile::private_key(&mut &include_bytes!("tls/server.key")[..]);
    let key = key.expect("pem").expect("a key");
    let builder = match clients {
        Clients::Any => builder.with_no_client_auth(),
        Clients::Known => {
            let mut roots = RootCertStore::empty();
            for ca in rustls_pemfile::certs(&mut &include_bytes!("tls/ca.pem")[..]) {
                roots.add(ca.expect("pem")).expect("an authority");
            }
            let known = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(known.build().expect("a verifier"))
        }
    };
    builder.with_single_cert(chain, key).expect("they belong together")
}

fn open(
    stream: TcpStream,
    tls: Option<&Arc<ServerConfig>>,
    state: &Mutex<State>,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let own = stream.try_clone()?;
    match tls {
        None => serve(stream, own, state),
        Some(config) => {
            let connection = ServerConnection::new(Arc::clone(config));
            let connection = connection.map_err(std::io::Error::other)?;
            serve(StreamOwned::new(connection, stream), own, state)
        }
    }
}

fn serve(stream: impl Read + Write, own: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let [method, path, "HTTP/1.1"] = words[..] else { return Ok(()) };
    let mut request = Request { path: path.to_owned(), ..Request::default() };
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => request.authorization = Some(value.to_owned()),
            "content-length" => length = value.parse().unwrap_or(0),
            "content-type" => request.content = value.to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    request.body = String::from_utf8_lossy(&body).into_owned();
    let reply = reply(&mut state.lock().expect("whole"), method, request);
    if matches!(reply, Reply::Silence) {
        state.lock().expect("whole").silent.push(own);
        return Ok(());
    }
    answer(reader.get_mut(), &own, reply)
}

fn reply(state: &mut State, method: &str, request: Request) -> Reply {
    let Request { path, content, body, .. } = request.clone();
    let is_in = state.wants.is_none() || state.wants == request.authorization;
    state.asked.push(request);
    if let Some(reply) = state.script.pop_front() {
        return reply;
    }
    if !is_in && path != "/token" {
        return Reply::error(401, 40101, "nobody knows you");
    }
    if let Some(reply) = state.replies.get(&path) {
        return reply.clone();
    }
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match (method, parts.as_slice()) {
        ("GET", ["schemas", "ids", id]) => {
            let mut all = state.subjects.values().flatten();
            match all.find(|kept| kept.id.to_string() == *id) {
                Some(Kept { kind, schema, .. }) => {
                    Reply::Json(200, json!({ "schemaType": kind, "schema": schema }).to_string())
                }
                None => Reply::error(404, 40403, &format!("Schema {id} not found")),
            }
        }
        ("GET", ["subjects", subject, "versions", version]) => version_of(state, subject, version),
        ("POST", ["subjects", subject]) => match posted(&content, &body) {
            Err(reply) => reply,
            Ok((kind, schema)) => looked_up(state, subject, &kind, &schema),
        },
        ("POST", ["subjects", subject, "versions"]) => match posted(&content, &body) {
            Err(reply) => reply,
            Ok((kind, schema)) => match refusal(state, subject, &kind, &schema) {
                Some(reply) => reply,
                None => {
                    let id = register(state, subject, &kind, &schema);
                    Reply::Json(200, json!({ "id": id }).to_string())
                }
            },
        },
        _ => Reply::Json(404, "<html>not here</html>".to_owned()),
    }
}

/// Type and text of a schema that was posted.
fn posted(content: &str, body: &str) -> Result<(String, String), Reply> {
    let wrong = |why: &str| Err(Reply::error(422, 42201, why));
    if content != "application/vnd.schemaregistry.v1+json" {
        return Err(Reply::error(415, 415, "HTTP 415 Unsupported Media Type"));
    }
    let Ok(serde_json::Value::Object(body)) = serde_json::from_str(body) else {
        return wrong("Unrecognized request");
    };
    if body.keys().any(|key| !["schema", "schemaType", "references"].contains(&key.as_str())) {
        return wrong("Unrecognized field");
    }
    let kind = body.get("schemaType").map_or(Some("AVRO"), |kind| kind.as_str());
    match (kind, body.get("schema").and_then(|schema| schema.as_str())) {
        (Some(kind @ ("AVRO" | "PROTOBUF" | "JSON")), Some(schema)) => {
            let fine = match kind {
                "AVRO" => apache_avro::Schema::parse_str(schema).is_ok(),
                "JSON" => serde_json::from_str::<serde_json::Value>(schema).is_ok(),
                _ => schema.contains("syntax"),
            };
            match fine {
                true => Ok((kind.to_owned(), schema.to_owned())),
                false => wrong("Invalid schema"),
            }
        }
        _ => wrong("Empty schema"),
    }
}

fn version_of(state: &State, subject: &str, version: &str) -> Reply {
    let Some(versions) = state.subjects.get(subject) else {
        return Reply::error(404, 40401, &format!("Subject '{subject}' not found."));
    };
    let number = match version {
        "latest" => versions.len(),
        number => number.parse().unwrap_or(0),
    };
    let Some(Kept { id, kind, schema }) = number.checked_sub(1).and_then(|at| versions.get(at))
    else {
        return Reply::error(404, 40402, &format!("Version {version} not found."));
    };
    let mut body = json!({ "subject": subject, "version": number, "id": id, "schema": schema });
    if kind != "AVRO" {
        body["schemaType"] = json!(kind);
    }
    Reply::Json(200, body.to_string())
}

fn looked_up(state: &State, subject: &str, kind: &str, schema: &str) -> Reply {
    let Some(versions) = state.subjects.get(subject) else {
        return Reply::error(404, 40401, &format!("Subject '{subject}' not found."));
    };
    match versions.iter().position(|kept| kept.kind == kind && kept.schema == schema) {
        Some(at) => version_of(state, subject, &(at + 1).to_string()),
        None => Reply::error(404, 40403, "Schema not found"),
    }
}

/// Backward compatibility, of Avro by the library's rules.
fn refusal(state: &State, subject: &str, kind: &str, schema: &str) -> Option<Reply> {
    let last = state.subjects.get(subject)?.last()?;
    let told = |why: &str| {
        let message = format!(
            "Schema being registered is incompatible with an earlier schema for subject \
             \"{subject}\", details: [{why}]"
        );
        Some(Reply::error(409, 409, &message))
    };
    if last.kind != kind {
        return told("the type of the schema changed");
    }
    if kind == "AVRO" {
        let parse = |text: &str| apache_avro::Schema::parse_str(text).expect("looked at before");
        let (old, new) = (parse(&last.schema), parse(schema));
        let reads = apache_avro::schema_compatibility::SchemaCompatibility::can_read(&old, &new);
        if let Err(why) = reads {
            return told(&why.to_string());
        }
    }
    None
}

fn register(state: &mut State, subject: &str, kind: &str, schema: &str) -> u32 {
    let same = |kept: &&Kept| kept.kind == kind && kept.schema == schema;
    let known = state.subjects.values().flatten().find(same).map(|kept| kept.id);
    let id = known.unwrap_or_else(|| {
        state.ids += 1;
        state.ids
    });
    let versions = state.subjects.entry(subject.to_owned()).or_default();
    if !versions.iter().any(|kept| kept.id == id) {
        versions.push(Kept { id, kind: kind.to_owned(), schema: schema.to_owned() });
    }
    id
}

fn answer(stream: &mut dyn Write, own: &TcpStream, reply: Reply) -> std::io::Result<()> {
    let (status, body) = match reply {
        Reply::HangUp => return own.shutdown(Shutdown::Both),
        Reply::Silence => return Ok(()),
        Reply::Json(status, body) => (status, body),
        Reply::Huge(bytes) => (200, "x".repeat(bytes)),
        Reply::Raw(bytes) => {
            stream.write_all(bytes.as_bytes())?;
            return stream.flush();
        }
    };
    let length = body.len();
    write!(stream, "HTTP/1.1 {status} as told\r\ncontent-length: {length}\r\n\r\n{body}")?;
    stream.flush()
}
