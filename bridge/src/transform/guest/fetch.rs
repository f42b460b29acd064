//! A module over HTTPS, whose hash the configuration says. What was fetched once is kept beside
//! the machine code, under its hash; then the server is asked no more. The server is believed
//! nothing: not how much it sends, not how long it takes, and not what.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::engine;
use super::limits::MODULE_BYTES_MAX;
use super::origin::{Origin, sha256};
use crate::blame::Fault;
use crate::config::{Mistake, Section};
use crate::transform::LoadContext;

/// All of it, from the name to the last byte.
const FETCH_MAX: Duration = Duration::from_secs(60);

/// An address, and the hash of what must be there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pinned {
    /// Host and port, as they stand in the address.
    authority: String,
    /// From the first slash on.
    path: String,
    /// Hexadecimal digits.
    pub(super) sha256: String,
    /// Certificate authorities in PEM, in place of the web's; relative to the configuration file.
    tls_ca: Option<PathBuf>,
}

impl Pinned {
    /// The address.
    pub(super) fn address(&self) -> String {
        format!("https://{}{}", self.authority, self.path)
    }

    /// The end of its path.
    pub(super) fn file_name(&self) -> &str {
        let path = self.path.split('?').next().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default()
    }

    /// Host and port.
    fn host(&self) -> (&str, u16) {
        let (host, port) = match self.authority.rsplit_once(':') {
            Some((host, port)) if !host.ends_with(':') && !port.ends_with(']') => {
                (host, Some(port))
            }
            _ => (self.authority.as_str(), None),
        };
        let port = port.and_then(|port| port.parse().ok()).unwrap_or(443);
        (host.trim_start_matches('[').trim_end_matches(']'), port)
    }
}

/// From the keys of a section; `address` is what follows `https://`.
pub(super) fn parse(
    section: &Section,
    address: &str,
    sha256: Option<String>,
    tls_ca: Option<PathBuf>,
) -> Result<(Origin, String), Mistake> {
    let Some(sha256) = sha256 else {
        let message = "a module from an address needs its `sha256`: code is not believed a server";
        let help = "sha256 = \"...\", as `sha256sum x.wasm` prints it";
        return Err(section.mistake("module", message).help(help));
    };
    let sha256 = sha256.to_ascii_lowercase();
    if sha256.len() != 64 || !sha256.bytes().all(|c| c.is_ascii_hexdigit()) {
        let message = "a sha256 has 64 hexadecimal digits";
        return Err(section.mistake("sha256", message).help("as `sha256sum x.wasm` prints it"));
    }
    let (authority, path) = address.split_once('/').unwrap_or((address, ""));
    let (authority, path) = (authority.to_owned(), format!("/{path}"));
    let pinned = Pinned { authority, path, sha256, tls_ca };
    let plain = |c: char| c.is_ascii_graphic();
    let stem = Path::new(pinned.file_name()).file_stem().and_then(|stem| stem.to_str());
    let stem = stem.filter(|stem| !stem.is_empty()).map(str::to_owned);
    let is_address = address.chars().all(plain)
        && !address.contains('#')
        && !pinned.authority.contains('@')
        && ServerName::try_from(pinned.host().0).is_ok();
    match stem {
        Some(stem) if is_address => Ok((Origin::Https(pinned), stem)),
        _ => {
            let message = format!("`https://{address}` is not the address of a module");
            Err(section.mistake("module", message).help("such as https://host/x.wasm"))
        }
    }
}

/// The module, from what is kept or from its address.
pub(super) fn module(pinned: &Pinned, context: &LoadContext) -> Result<Vec<u8>, Fault> {
    let folder = context.cache.as_deref().and_then(engine::own_folder);
    let file = folder.map(|folder| folder.join(format!("{}.wasm", pinned.sha256)));
    if let Some(bytes) = file.as_deref().and_then(|file| fs::read(file).ok())
        && sha256(&bytes) == pinned.sha256
    {
        return Ok(bytes);
    }
    let bytes = fetch(pinned, &context.base)?;
    let found = sha256(&bytes);
    if found != pinned.sha256 {
        let (address, size) = (pinned.address(), bytes.len());
        let message = format!("fetching transform {address}: its sha256 is {found} ({size} bytes)");
        let hint = format!("`sha256` says {}: what is there was changed", pinned.sha256);
        return Err(Fault::operator(message).hint(hint));
    }
    if let Some(file) = file
        && let Err(error) = engine::keep(&file, &bytes)
    {
        tracing::debug!("keeping a module in {}: {error}", file.display());
    }
    Ok(bytes)
}

fn fetch(pinned: &Pinned, base: &Path) -> Result<Vec<u8>, Fault> {
    let address = pinned.address();
    let tls = connector(pinned.tls_ca.as_ref().map(|path| base.join(path)).as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Fault::us(format!("starting a runtime: {error}")))?;
    let fetched = runtime.block_on(async {
        match tokio::time::timeout(FETCH_MAX, get(pinned, &tls)).await {
            Ok(done) => done,
            Err(_) => Err(format!("it was not there after {} s", FETCH_MAX.as_secs())),
        }
    });
    fetched.map_err(|message| Fault::world(format!("fetching transform {address}: {message}")))
}

/// One request, no redirects: the address is the module's own.
async fn get(pinned: &Pinned, tls: &TlsConnector) -> Result<Vec<u8>, String> {
    let (host, port) = pinned.host();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let stream = TcpStream::connect((host, port)).await.map_err(|error| error.to_string())?;
    let stream = tls.connect(name, stream).await.map_err(|error| error.to_string())?;
    let shaken = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| error.to_string())?;
    let request = Request::get(&pinned.path)
        .header(HOST, &pinned.authority)
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        if response.status() != StatusCode::OK {
            return Err(format!("the server answers {}", response.status()));
        }
        let body = Limited::new(response.into_body(), MODULE_BYTES_MAX).collect().await;
        body.map(|body| body.to_bytes().to_vec()).map_err(|error| error.to_string())
    };
    // Nothing is spawned for it: the connection moves while the answer is waited for, and may end
    // first, by the server's wish, with the answer read already.
    let mut exchange = std::pin::pin!(exchange);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        done = &mut exchange => done,
        _ = &mut connection => exchange.await,
    }
}

/// The web's certificate authorities, or the operator's own.
fn connector(ca: Option<&Path>) -> Result<TlsConnector, Fault> {
    let mut roots = RootCertStore::empty();
    match ca {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let wrong = |error: String| {
                Fault::operator(format!("reading tls_ca {}: {error}", path.display()))
            };
            let pem = fs::read(path).map_err(|error| wrong(error.to_string()))?;
            for certificate in rustls_pemfile::certs(&mut pem.as_slice()) {
                let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(wrong("no certificate in it".into()).hint("it wants PEM certificates"));
            }
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Fault::us(format!("setting up tls: {error}")))?;
    let config = config.with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
