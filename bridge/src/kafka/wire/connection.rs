//! A connection to one broker: one request at a time, answered before the next.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::Broken;
use super::fetch::{self, Answer, Terms, Wanted};
use super::frame::{Buffer, Frame};
use super::hello::{self, Spoken};
use super::metadata::{self, Metadata};

/// How connections are made and kept.
#[derive(Clone, Debug)]
pub struct Manner {
    /// What brokers call us in their logs and quotas.
    pub client: String,
    /// A connection may take so long to come about.
    pub connect_max: Duration,
    /// An answer may take so long, beside what the request itself says.
    pub answer_max: Duration,
    /// Bytes of an answer, at most.
    pub answer_bytes_max: usize,
    /// Whether the system looks after idle connections.
    pub keepalive: bool,
}

/// A socket that brings nothing looks up this often, to see whether it is still wanted.
const LOOK_UP: Duration = Duration::from_millis(100);

/// A connection that has said hello.
pub struct Connection {
    socket: Socket,
    buffer: Buffer,
    request: Vec<u8>,
    manner: Manner,
    /// The versions that are spoken on it.
    pub spoken: Spoken,
}

impl Connection {
    /// Connects to `host` at any of its addresses, and asks what is spoken. Once `stop` is set,
    /// nothing is waited for any more.
    pub fn open(
        host: &str,
        port: u16,
        manner: &Manner,
        stop: &Arc<AtomicBool>,
    ) -> Result<Connection, Broken> {
        let stream = connect(host, port, manner)?;
        let deadline = Instant::now() + manner.answer_max;
        let mut socket = Socket { stream, deadline, stop: Arc::clone(stop) };
        let mut buffer = Buffer::default();
        let request = hello::ask(Vec::new(), &manner.client);
        socket.send(&request)?;
        let frame = Frame::begin(&mut socket, &mut buffer, manner.answer_bytes_max, false)?;
        let spoken = hello::answer(frame)?;
        Ok(Connection { socket, buffer, request, manner: manner.clone(), spoken })
    }

    /// Asks who leads the partitions of these topics.
    pub fn metadata<'a>(
        &mut self,
        topics: impl ExactSizeIterator<Item = &'a str>,
    ) -> Result<Metadata, Broken> {
        let version = self.spoken.metadata;
        let request = std::mem::take(&mut self.request);
        self.request = metadata::ask(request, version, &self.manner.client, topics);
        let frame = self.answered(Duration::ZERO, metadata::is_flexible(version))?;
        metadata::answer(frame, version)
    }

    /// Asks for records. `topics` are names with the number of their partitions, in the order of
    /// `wanted`.
    pub fn fetch(
        &mut self,
        terms: Terms,
        topics: &[(&str, usize)],
        wanted: impl Iterator<Item = Wanted>,
    ) -> Result<Answer<'_, Socket>, Broken> {
        let version = self.spoken.fetch;
        let request = std::mem::take(&mut self.request);
        self.request = fetch::ask(request, version, &self.manner.client, terms, topics, wanted);
        let wait = Duration::from_millis(terms.wait_ms.max(0) as u64);
        Answer::begin(self.answered(wait, fetch::is_flexible(version))?, version)
    }

    /// Sends the request; its answer.
    fn answered(&mut self, wait: Duration, flexible: bool) -> Result<Frame<'_, Socket>, Broken> {
        self.socket.deadline = Instant::now() + self.manner.answer_max + wait;
        self.socket.send(&self.request)?;
        let Connection { socket, buffer, manner, .. } = self;
        Frame::begin(socket, buffer, manner.answer_bytes_max, flexible)
    }
}

fn connect(host: &str, port: u16, manner: &Manner) -> io::Result<TcpStream> {
    let deadline = Instant::now() + manner.connect_max;
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        let left = deadline.saturating_duration_since(Instant::now()).max(LOOK_UP);
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                // A request is one write, and its answer is waited for.
                stream.set_nodelay(true)?;
                SockRef::from(&stream).set_keepalive(manner.keepalive)?;
                stream.set_read_timeout(Some(LOOK_UP))?;
                stream.set_write_timeout(Some(LOOK_UP))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A socket whose waiting has an end: a deadline, or nobody who wants it any more.
pub struct Socket {
    stream: TcpStream,
    deadline: Instant,
    stop: Arc<AtomicBool>,
}

impl Socket {
    fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) => self.waits(error)?,
            }
        }
        Ok(())
    }

    /// Whether to go on waiting.
    fn waits(&self, error: io::Error) -> io::Result<()> {
        match error.kind() {
            ErrorKind::Interrupted => Ok(()),
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                if self.stop.load(Ordering::Acquire) {
                    return Err(ErrorKind::ConnectionAborted.into());
                }
                let is_late = Instant::now() > self.deadline;
                if is_late { Err(ErrorKind::TimedOut.into()) } else { Ok(()) }
            }
            _ => Err(error),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(into) {
                Ok(read) => return Ok(read),
                Err(error) => self.waits(error)?,
            }
        }
    }
}
