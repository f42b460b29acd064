//! One request over HTTP, and its answer: a connection for each, for there are few. The server is
//! believed nothing: not how much it sends, and not how long it takes.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;

use super::address::Address;
use super::options::RegistryPlan;
use crate::blame::Fault;
use crate::limits::MIB;
use crate::sink::questdb::dial::{Dialer, in_words};

/// Larger than any schema that was seen.
const ANSWER_BYTES_MAX: usize = 4 * MIB;
/// A server that returns must be met within seconds: one lost packet, no more.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How requests are sent.
pub struct Door {
    dialer: Dialer,
    request_timeout: Duration,
}

/// A request.
pub struct Ask<'a> {
    /// Where to.
    pub to: &'a Address,
    /// Below the address's own path.
    pub path: &'a str,
    /// Who asks.
    pub authorization: Option<HeaderValue>,
    /// A form that is posted; without one it is a GET.
    pub form: Option<String>,
}

impl Door {
    /// Reads authorities and certificates.
    pub fn new(plan: &RegistryPlan, wants_tls: bool) -> Result<Door, Fault> {
        let tls = match (wants_tls, &plan.identity) {
            (false, _) => None,
            (true, None) => Some(plan.tls.connector()?),
            (true, Some((cert, key))) => {
                let identity = (read(cert, "tls_cert")?, read(key, "tls_key")?);
                Some(with_identity(plan, identity)?)
            }
        };
        let dialer = Dialer { connect_timeout: CONNECT_TIMEOUT, send_buffer_bytes: None, tls };
        Ok(Door { dialer, request_timeout: plan.request_timeout })
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
        let stream = self.dialer.dial(&ask.to.endpoint).await.map_err(|e| in_words(&e))?;
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(|error| error.to_string())?;
        let request = request(ask).map_err(|error| error.to_string())?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            body.map(|body| (status, body.to_bytes())).map_err(|error| error.to_string())
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
}

fn request(ask: Ask<'_>) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    const ACCEPTED: &str = "application/vnd.schemaregistry.v1+json, application/json";
    let method = if ask.form.is_some() { Method::POST } else { Method::GET };
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
    if ask.form.is_some() {
        request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    }
    request.body(Full::from(ask.form.unwrap_or_default()))
}

fn read(path: &Path, key: &str) -> Result<Vec<u8>, Fault> {
    fs::read(path).map_err(|error| {
        Fault::operator(format!("reading registry.{key} {}: {error}", path.display()))
    })
}

/// A connector that shows the bridge's own certificate.
fn with_identity(
    plan: &RegistryPlan,
    (cert, key): (Vec<u8>, Vec<u8>),
) -> Result<TlsConnector, Fault> {
    let wrong = |key: &str, error: String| {
        Fault::operator(format!("reading registry.{key}: {error}")).hint("it wants PEM")
    };
    let certs = rustls_pemfile::certs(&mut cert.as_slice()).collect::<Result<Vec<_>, _>>();
    let certs = certs.map_err(|error| wrong("tls_cert", error.to_string()))?;
    let key = rustls_pemfile::private_key(&mut key.as_slice());
    let key = key.map_err(|error| wrong("tls_key", error.to_string()))?;
    let key = key.ok_or_else(|| wrong("tls_key", "no private key in it".to_owned()))?;
    if !plan.tls.verify {
        let message = "a certificate is shown to nobody whose own is not checked";
        return Err(Fault::operator(message).hint("take out tls_verify = false, or tls_cert"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Fault::us(format!("setting up tls: {error}")))?
        .with_root_certificates(plan.tls.roots()?)
        .with_client_auth_cert(certs, key)
        .map_err(|error| wrong("tls_cert", error.to_string()))?;
    Ok(TlsConnector::from(Arc::new(config)))
}
