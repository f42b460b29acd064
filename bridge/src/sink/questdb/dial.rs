//! Opens sockets, their options set before they connect: IPv4 and IPv6, one address after the
//! other, each within the time for connecting; TLS on top where the endpoint wants it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use super::options::Endpoint;
use super::tls::server_name;

/// A connected stream, plain or encrypted.
pub type Stream = Box<dyn Io>;

/// What a stream can do.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// An idle peer is asked for a sign of life after this long, and given up three intervals later.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Between those questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// Bytes that the peer's kernel does not acknowledge for this long are given up: a peer that
/// lost its power sends no reset.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(10);

/// How sockets are opened.
#[derive(Clone)]
pub struct Dialer {
    /// For each address of the endpoint, TLS included.
    pub connect_timeout: Duration,
    /// `SO_SNDBUF`; the kernel's own choice (which grows by itself) if `None`.
    pub send_buffer_bytes: Option<usize>,
    /// For endpoints that want TLS.
    pub tls: Option<TlsConnector>,
}

impl Dialer {
    /// Connects to the first of the endpoint's addresses that answers.
    pub async fn dial(&self, endpoint: &Endpoint) -> io::Result<Stream> {
        let resolving = tokio::net::lookup_host((endpoint.host.as_str(), endpoint.port));
        let addresses = tokio::time::timeout(self.connect_timeout, resolving)
            .await
            .map_err(|_| timed_out("resolving its name"))??;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
        for address in addresses {
            let connecting = self.connect(endpoint, address);
            match tokio::time::timeout(self.connect_timeout, connecting).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(_) => last = timed_out("connecting"),
            }
        }
        Err(last)
    }

    async fn connect(&self, endpoint: &Endpoint, address: SocketAddr) -> io::Result<Stream> {
        let stream = self.plain(address).await?;
        match (&self.tls, endpoint.tls) {
            (_, false) => Ok(Box::new(stream)),
            (None, true) => Err(io::Error::other("tls is wanted but was not set up")),
            (Some(tls), true) => {
                let name = server_name(&endpoint.host).map_err(io::Error::other)?;
                Ok(Box::new(tls.connect(name, stream).await?))
            }
        }
    }

    async fn plain(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_INTERVAL);
        socket.set_tcp_keepalive(&keepalive)?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
        if let Some(bytes) = self.send_buffer_bytes {
            socket.set_send_buffer_size(bytes)?;
        }
        let stream = TcpSocket::from_std_stream(socket.into()).connect(address).await?;
        // A loopback port in the ephemeral range can connect to itself while nobody listens.
        if SockRef::from(&stream).local_addr()?.as_socket() == Some(address) {
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused"));
        }
        Ok(stream)
    }
}

fn timed_out(doing: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{doing} timed out"))
}

/// An error in few words: `connection refused`, not `Connection refused (os error 111)`.
pub fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::ConnectionReset => "connection reset".into(),
        io::ErrorKind::BrokenPipe => "connection closed".into(),
        io::ErrorKind::UnexpectedEof => "connection closed".into(),
        _ => error.to_string(),
    }
}
