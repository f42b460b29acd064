//! A registry that answers as a test says, strictly: a request that is none of Confluent's API
//! fails the test that made it.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::json;

/// What is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Status and body.
    Json(u16, String),
    /// Nothing: the connection is closed.
    HangUp,
    /// So many bytes.
    Huge(usize),
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
    pub body: String,
}

#[derive(Default)]
struct State {
    replies: HashMap<String, Reply>,
    /// Come first, whatever is asked for.
    script: VecDeque<Reply>,
    asked: Vec<Request>,
}

/// The registry.
pub struct Fake {
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
                let _ = stream.and_then(|stream| serve(stream, &theirs));
            }
        });
        Fake { address, state, over, thread: Some(thread) }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address, as the configuration has it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it answers to a path.
    pub fn put(&self, path: &str, reply: Reply) {
        self.state.lock().expect("whole").replies.insert(path.to_owned(), reply);
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

fn serve(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(&stream);
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
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    request.body = String::from_utf8_lossy(&body).into_owned();
    let reply = reply(&mut state.lock().expect("whole"), method, request);
    answer(&stream, reply)
}

fn reply(state: &mut State, method: &str, request: Request) -> Reply {
    let path = request.path.clone();
    state.asked.push(request);
    if let Some(reply) = state.script.pop_front() {
        return reply;
    }
    if let Some(reply) = state.replies.get(&path) {
        return reply.clone();
    }
    let id = path.strip_prefix("/schemas/ids/").and_then(|id| id.parse::<u32>().ok());
    let subject = path.strip_prefix("/subjects/").and_then(|rest| rest.split_once("/versions/"));
    match (method, id, subject) {
        ("GET", Some(id), None) => Reply::error(404, 40403, &format!("Schema {id} not found")),
        ("GET", None, Some((subject, _))) => {
            Reply::error(404, 40401, &format!("Subject '{subject}' not found."))
        }
        _ => Reply::Json(404, "<html>not here</html>".to_owned()),
    }
}

fn answer(mut stream: &TcpStream, reply: Reply) -> std::io::Result<()> {
    let (status, body) = match reply {
        Reply::HangUp => return stream.shutdown(Shutdown::Both),
        Reply::Json(status, body) => (status, body),
        Reply::Huge(bytes) => (200, "x".repeat(bytes)),
    };
    let length = body.len();
    write!(stream, "HTTP/1.1 {status} as told\r\ncontent-length: {length}\r\n\r\n{body}")?;
    stream.flush()
}
