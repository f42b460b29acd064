//! Opens sockets, their options set before they connect: IPv4 and IPv6, one address after the
//! other, each within the time for connecting; TLS on top where the endpoint wants it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use super::endpoint::Endpoint;
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::crypto::ring;

    use super::super::tls::TlsPlan;
    use super::*;

    const CERTIFICATE: &[u8] = include_bytes!("tests/localhost.pem");
    const KEY: &[u8] = include_bytes!("tests/localhost.key");

    fn endpoint(port: u16, tls: bool) -> Endpoint {
        Endpoint { host: "localhost".into(), port, tls }
    }

    fn dialer(plan: Option<TlsPlan>) -> Dialer {
        Dialer {
            connect_timeout: Duration::from_secs(60),
            send_buffer_bytes: Some(1 << 16),
            tls: plan.map(|plan| plan.connector().expect("a connector")),
        }
    }

    /// A server that speaks TLS under a certificate of its own and sends everything back.
    async fn echo() -> u16 {
        let certificates = rustls_pemfile::certs(&mut &*CERTIFICATE)
            .collect::<Result<Vec<_>, _>>()
            .expect("certificates");
        let key = rustls_pemfile::private_key(&mut &*KEY).expect("pem").expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .expect("a server");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::new(config));
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut bytes = [0; 64];
                    while let Ok(count @ 1..) = stream.read(&mut bytes).await {
                        let _ = stream.write_all(&bytes[..count]).await;
                        let _ = stream.flush().await;
                    }
                });
            }
        });
        port
    }

    #[tokio::test]
    async fn tls_trusts_whom_it_was_told_to() {
        let port = echo().await;
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let own = root.join("src/sink/questdb/tests/localhost.pem");
        for plan in [TlsPlan { ca: Some(own), verify: true }, TlsPlan { ca: None, verify: false }] {
            let mut stream =
                dialer(Some(plan)).dial(&endpoint(port, true)).await.expect("a connection");
            stream.write_all(b"hello").await.expect("sent");
            stream.flush().await.expect("sent");
            let mut back = [0; 5];
            stream.read_exact(&mut back).await.expect("sent back");
            assert_eq!(&back, b"hello");
        }
        let stranger = TlsPlan { ca: None, verify: true };
        let error = dialer(Some(stranger)).dial(&endpoint(port, true)).await.err();
        let error = error.expect("nobody vouches for it").to_string();
        assert!(error.contains("certificate"), "{error}");
    }

    #[tokio::test]
    async fn nobody_there_is_said_in_few_words() {
        let gone = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = gone.local_addr().expect("an address").port();
        drop(gone);
        let error = dialer(None).dial(&endpoint(port, false)).await.err().expect("nobody there");
        assert_eq!(in_words(&error), "connection refused");
    }

    #[tokio::test]
    async fn both_families_are_dialled() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // A machine may have no IPv6.
            let Ok(listener) = TcpListener::bind(address).await else { continue };
            let at = listener.local_addr().expect("an address");
            let endpoint = Endpoint { host: at.ip().to_string(), port: at.port(), tls: false };
            dialer(None).dial(&endpoint).await.expect("a connection");
        }
    }
}
