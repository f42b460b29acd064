//! The door to services that are asked over HTTP now and then: registries of schemas, and whoever
//! gives tokens and keys. One request and its answer: a connection for each, for there are few.
//! The server is believed nothing: not how much it sends, and not how long it takes.

mod address;
mod options;
mod token;

use std::error::Error;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT,
};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::{self, AlertDescription, ClientConfig};

pub use address::{Address, escaped};
pub use options::{OauthKeys, OauthOptions, OauthPlan};
pub use token::{Given, Tokens};

use crate::blame::Fault;
use crate::limits::MIB;
use crate::sink::questdb::dial::{Dialer, in_words};
use crate::sink::questdb::tls::TlsPlan;

/// Larger than any schema that was seen.
const ANSWER_BYTES_MAX: usize = 4 * MIB;
/// A server that returns must be met within seconds: one lost packet, no more.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Whom a door trusts, and who it is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Terms {
    /// Whom to trust.
    pub tls: TlsPlan,
    /// The bridge's certificate and key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// How long an answer may take.
    pub request_timeout: Duration,
    /// The section whose keys say all this, for messages: `registry`.
    pub section: &'static str,
}

/// How requests are sent.
pub struct Door {
    dialer: Dialer,
    request_timeout: Duration,
    section: &'static str,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failed {
    /// Not now.
    Away(String),
    /// A person has to change something.
    Stop(Fault),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failed::Away(why) => f.write_str(why),
            Failed::Stop(fault) => write!(f, "{fault}"),
        }
    }
}

/// A request.
pub struct Ask<'a> {
    /// Where to.
    pub to: &'a Address,
    /// Below the address's own path.
    pub path: &'a str,
    /// Who asks.
    pub authorization: Option<HeaderValue>,
    /// What is posted; without it, it is a GET.
    pub body: Option<Body>,
    /// What else is said.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// What is posted.
#[derive(Clone)]
pub enum Body {
    /// Of a form's fields.
    Form(String),
    /// As the registry takes its requests.
    Json(String),
    /// Nothing, but it is a PUT.
    Put,
}

impl Door {
    /// Reads authorities and certificates.
    pub fn new(terms: &Terms, wants_tls: bool) -> Result<Door, Fault> {
        let tls = match (wants_tls, &terms.identity) {
            (false, _) => None,
            (true, None) => Some(terms.tls.connector()?),
            (true, Some((cert, key))) => {
                let cert = read(cert, terms.section, "tls_cert")?;
                let key = read(key, terms.section, "tls_key")?;
                Some(with_identity(terms, (cert, key))?)
            }
        };
        let dialer = Dialer { connect_timeout: CONNECT_TIMEOUT, send_buffer_bytes: None, tls };
        Ok(Door { dialer, request_timeout: terms.request_timeout, section: terms.section })
    }

    /// The answer, or why there is none.
    pub async fn ask(&self, ask: Ask<'_>) -> Result<(StatusCode, Bytes), String> {
        let limit = self.request_timeout;
        match tokio::time::timeout(limit, self.exchange(ask)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {:.1} s", limit.as_secs_f64())),
        }
    }

    async fn exchange(&self, ask: Ask<'_>) -> Result<(StatusCode, Bytes), String> {
        let dialled = self.dialer.dial(&ask.to.endpoint).await;
        let stream = dialled.map_err(|error| self.with_key(&error, in_words(&error)))?;
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(|error| self.told(&error))?;
        let request = request(ask).map_err(|error| error.to_string())?;
        let exchange = async {
            let response = sender.send_request(request).await;
            let response = response.map_err(|error| self.told(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            body.map(|body| (status, body.to_bytes())).map_err(|error| self.told(&*error))
        };
        // The connection moves while the answer is waited for, and may end first, by the server's
        // wish, with the answer read already.
        let mut exchange = std::pin::pin!(exchange);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            done = &mut exchange => done,
            _ = &mut connection => exchange.await,
        }
    }

    /// An error with its cause.
    fn told(&self, error: &(dyn Error + 'static)) -> String {
        let words = match error.source() {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        };
        self.with_key(error, words)
    }

    /// What is said of an error, with the key that says otherwise where it is about certificates.
    fn with_key(&self, error: &(dyn Error + 'static), words: String) -> String {
        let section = self.section;
        match of_tls(error) {
            Some(rustls::Error::InvalidCertificate(_)) => {
                format!("{words}; `{section}.tls_ca` says whom to trust")
            }
            Some(rustls::Error::AlertReceived(alert)) if is_about_us(*alert) => format!(
                "{words}; it wants `{section}.tls_cert` and `{section}.tls_key` that it trusts"
            ),
            _ => words,
        }
    }
}

/// Whether the other side did not like our certificate.
fn is_about_us(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::CertificateRequired
            | Alert::NoCertificate
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::DecryptError
            | Alert::AccessDenied
    )
}

/// The error of TLS that is behind this one, if there is one.
fn of_tls<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref() {
            return Some(tls);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn request(ask: Ask<'_>) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    const ACCEPTED: &str = "application/vnd.schemaregistry.v1+json, application/json";
    const JSON: &str = "application/vnd.schemaregistry.v1+json";
    let method = match ask.body {
        None => Method::GET,
        Some(Body::Form(_) | Body::Json(_)) => Method::POST,
        Some(Body::Put) => Method::PUT,
    };
    let path = format!("{}{}", ask.to.path, ask.path);
    let mut request = Request::builder()
        .method(method)
        .uri(if path.is_empty() { "/" } else { &path })
        .header(HOST, ask.to.host())
        .header(USER_AGENT, "bridge")
        .header(ACCEPT, ACCEPTED);
    if let Some(authorization) = ask.authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    for (name, value) in ask.headers {
        request = request.header(name, value);
    }
    let (kind, body) = match ask.body {
        None | Some(Body::Put) => return request.body(Full::default()),
        Some(Body::Form(form)) => ("application/x-www-form-urlencoded", form),
        Some(Body::Json(json)) => (JSON, json),
    };
    request.header(CONTENT_TYPE, kind).body(Full::from(body))
}

fn read(path: &Path, section: &str, key: &str) -> Result<Vec<u8>, Fault> {
    fs::read(path).map_err(|error| {
        Fault::operator(format!("reading {section}.{key} {}: {error}", path.display()))
    })
}

/// A header that is never shown. What cannot be one is the fault of whoever gave it.
pub fn header(text: String) -> Result<HeaderValue, Fault> {
    let mut value = HeaderValue::try_from(text).map_err(|_| {
        Fault::operator("a token or password has characters that cannot stand in a header")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// A connector that shows the bridge's own certificate.
fn with_identity(terms: &Terms, (cert, key): (Vec<u8>, Vec<u8>)) -> Result<TlsConnector, Fault> {
    let wrong = |key: &str, error: String| {
        let section = terms.section;
        Fault::operator(format!("reading {section}.{key}: {error}")).hint("it wants PEM")
    };
    let certs = rustls_pemfile::certs(&mut cert.as_slice()).collect::<Result<Vec<_>, _>>();
    let certs = certs.map_err(|error| wrong("tls_cert", error.to_string()))?;
    let key = rustls_pemfile::private_key(&mut key.as_slice());
    let key = key.map_err(|error| wrong("tls_key", error.to_string()))?;
    let key = key.ok_or_else(|| wrong("tls_key", "no private key in it".to_owned()))?;
    if !terms.tls.verify {
        let message = "a certificate is shown to nobody whose own is not checked";
        return Err(Fault::operator(message).hint("take out tls_verify = false, or tls_cert"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Fault::us(format!("setting up tls: {error}")))?
        .with_root_certificates(terms.tls.roots()?)
        .with_client_auth_cert(certs, key)
        .map_err(|error| wrong("tls_cert", error.to_string()))?;
    Ok(TlsConnector::from(Arc::new(config)))
}
