//! A second look at a broker whose certificate the client library did not trust: it only says that
//! much, and there are several reasons.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, ClientConnection};

use crate::sink::questdb::tls::{TlsPlan, server_name};

/// A look is worth no longer wait: what is known without it is said, too.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// Why the certificate of the broker that the words are about is not trusted, if that can be seen.
pub fn why_untrusted(words: &str, ca: Option<&Path>) -> Option<String> {
    let (host, port) = broker(words)?;
    let plan = TlsPlan { ca: ca.map(Path::to_owned), verify: true };
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(plan.roots().ok()?)
        .with_no_client_auth();
    let mut tls = ClientConnection::new(Arc::new(config), server_name(host).ok()?).ok()?;
    let address = (host, port).to_socket_addrs().ok()?.next()?;
    let mut stream = TcpStream::connect_timeout(&address, LOOK_MAX).ok()?;
    stream.set_read_timeout(Some(LOOK_MAX)).ok()?;
    stream.set_write_timeout(Some(LOOK_MAX)).ok()?;
    while tls.is_handshaking() {
        if let Err(error) = tls.complete_io(&mut stream) {
            return reason(&error, host);
        }
    }
    None
}

/// `ssl://one:9093/bootstrap: …`
fn broker(words: &str) -> Option<(&str, u16)> {
    let (_, after) = words.split_once("ssl://")?;
    let (host, port) = after.split('/').next()?.rsplit_once(':')?;
    Some((host.trim_matches(['[', ']']), port.parse().ok()?))
}

fn reason(error: &io::Error, host: &str) -> Option<String> {
    let inner = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(wrong) = inner else { return None };
    Some(match wrong {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the broker's certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the broker's certificate is not valid yet".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("the broker's certificate does not bear the name {host}")
        }
        CertificateError::UnknownIssuer => {
            "none of those that are trusted signed the broker's certificate".to_owned()
        }
        other => format!("the broker's certificate: {other}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_which_broker() {
        let words = "sasl_ssl://one.example:9093/bootstrap: SSL handshake failed";
        assert_eq!(broker(words), Some(("one.example", 9093)));
        assert_eq!(broker("ssl://[::1]:1/2: x"), Some(("::1", 1)));
        assert_eq!(broker("one:9092/1: Disconnected"), None);
    }

    #[test]
    fn nobody_there_is_no_reason() {
        let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = gone.local_addr().expect("an address").port();
        drop(gone);
        assert_eq!(why_untrusted(&format!("ssl://127.0.0.1:{port}/1: x"), None), None);
    }
}
