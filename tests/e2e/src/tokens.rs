//! A service of tokens in the test's own process (OAuth 2.0, client credentials): whoever knows the
//! secret gets a token without a signature, as Kafka takes it where nothing else is said.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

/// Who may have a token.
pub const CLIENT: &str = "bridge-client";
/// By which secret.
pub const CLIENT_SECRET: &str = "swordfish-77";

/// A service that listens, until it is dropped.
pub struct Tokens {
    address: SocketAddr,
    given: Arc<AtomicU32>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Tokens {
    /// Listens at a port of its own; tokens are good for so long.
    pub fn start(life: Duration) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (over, given) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
        let (ends, counts) = (Arc::clone(&over), Arc::clone(&given));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ends.load(Ordering::Acquire) {
                    return;
                }
                // Whoever hangs up half-way is not the test's matter.
                let _ = serve(&stream, life, &counts);
            }
        });
        Ok(Self { address, given, over, thread: Some(thread) })
    }

    /// For `token_url`.
    pub fn url(&self) -> String {
        format!("http://{}/token", self.address)
    }

    /// How many were given.
    pub fn given(&self) -> u32 {
        self.given.load(Ordering::Acquire)
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut stream: &TcpStream, life: Duration, given: &AtomicU32) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut authorization) = (0, String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim_end().is_empty() {
            break;
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap_or(0);
        }
        if name.eq_ignore_ascii_case("authorization") {
            value.trim().clone_into(&mut authorization);
        }
    }
    let mut form = vec![0; length];
    reader.read_exact(&mut form)?;
    let expected = STANDARD.encode(format!("{CLIENT}:{CLIENT_SECRET}"));
    let known = authorization == format!("Basic {expected}");
    let asked = String::from_utf8_lossy(&form).contains("grant_type=client_credentials");
    let (status, body) = match known && asked {
        true => {
            given.fetch_add(1, Ordering::AcqRel);
            (200, json!({ "access_token": token(life), "expires_in": life.as_secs() }))
        }
        false => (401, json!({ "error": "invalid_client" })),
    };
    let body = body.to_string();
    let length = body.len();
    write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n\r\n{body}")
}

fn token(life: Duration) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let head = json!({ "alg": "none" });
    let body = json!({ "sub": CLIENT, "iat": now.as_secs(), "exp": (now + life).as_secs() });
    let part = |part: serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
    format!("{}.{}.", part(head), part(body))
}
