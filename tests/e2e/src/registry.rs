//! A schema registry in the test's own process: what is posted to a subject is its newest version
//! from then on, and is found under its id. It remembers what it was asked.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::Result;
use serde_json::{Value, json};

/// What it has; the same for one that is started again.
#[derive(Clone, Default)]
pub struct Schemas(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// (type, schema) by subject, the first version first.
    subjects: HashMap<String, Vec<(String, String)>>,
    /// (type, schema), the first under the id 1.
    ids: Vec<(String, String)>,
    asked: Vec<String>,
}

/// A registry that listens, until it is dropped.
pub struct Registry {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Schemas {
    /// The versions of a subject.
    pub fn versions(&self, subject: &str) -> Vec<String> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let versions = state.subjects.get(subject).into_iter().flatten();
        versions.map(|(_, schema)| schema.clone()).collect()
    }

    /// `GET /schemas/ids/1` and the like, in their order.
    pub fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).asked.clone()
    }

    fn answer(&self, method: &str, path: &str, body: &[u8]) -> (u16, Value) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.asked.push(format!("{method} {path}"));
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        match (method, parts.as_slice()) {
            ("GET", ["schemas", "ids", id]) => {
                let at = id.parse().ok().and_then(|id: usize| id.checked_sub(1));
                match at.and_then(|at| state.ids.get(at)) {
                    Some((kind, schema)) => (200, json!({ "schemaType": kind, "schema": schema })),
                    None => (404, json!({ "error_code": 40403, "message": "Schema not found" })),
                }
            }
            ("GET", ["subjects", subject, "versions", "latest"]) => {
                let versions = state.subjects.get(*subject);
                let Some((version, one)) = versions.and_then(|all| Some((all.len(), all.last()?)))
                else {
                    return (404, json!({ "error_code": 40401, "message": "Subject not found." }));
                };
                let id = state.ids.iter().position(|known| known == one).map_or(0, |at| at + 1);
                let (kind, schema) = one;
                let version = json!({
                    "subject": subject, "version": version, "id": id,
                    "schemaType": kind, "schema": schema,
                });
                (200, version)
            }
            ("POST", ["subjects", subject, "versions"]) => {
                let body: Value = serde_json::from_slice(body).unwrap_or_default();
                let kind = body["schemaType"].as_str().unwrap_or("AVRO").to_owned();
                let one = (kind, body["schema"].as_str().unwrap_or_default().to_owned());
                if !state.ids.contains(&one) {
                    state.ids.push(one.clone());
                }
                let id = state.ids.iter().position(|known| *known == one).map_or(0, |at| at + 1);
                let versions = state.subjects.entry((*subject).to_owned()).or_default();
                if !versions.contains(&one) {
                    versions.push(one);
                }
                (200, json!({ "id": id }))
            }
            _ => (404, Value::Null),
        }
    }
}

impl Registry {
    /// Listens at an address.
    pub fn start(address: SocketAddr, schemas: Schemas) -> Result<Registry> {
        let listener = TcpListener::bind(address)?;
        let over = Arc::<AtomicBool>::default();
        let ends = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ends.load(Ordering::Acquire) {
                    return;
                }
                // Whoever hangs up half-way is not the test's matter.
                let _ = serve(&stream, &schemas);
            }
        });
        Ok(Registry { address, over, thread: Some(thread) })
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut stream: &TcpStream, schemas: &Schemas) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (status, body) = schemas.answer(method, path, &body);
    let body = body.to_string();
    let length = body.len();
    write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n\r\n{body}")
}
