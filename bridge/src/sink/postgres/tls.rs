//! TLS as libpq names it. The protocol asks for it in words of its own, so that the stream is
//! dialled plain and encrypted when the server has agreed.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use schemars::JsonSchema;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
};

use crate::blame::Fault;
use crate::sink::questdb::dial::Stream;
use crate::sink::questdb::tls as common;

/// How much of a connection is protected, by libpq's names (`sslmode`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// Never encrypted.
    Disable,
    /// Encrypted where the server has it; nothing is checked.
    #[default]
    Prefer,
    /// Encrypted; nothing is checked.
    Require,
    /// Encrypted, by a certificate that an authority has signed, whatever name it bears.
    VerifyCa,
    /// The same, and it bears the server's name.
    VerifyFull,
}

impl TlsMode {
    /// libpq's name for it.
    pub fn name(self) -> &'static str {
        match self {
            TlsMode::Disable => "disable",
            TlsMode::Prefer => "prefer",
            TlsMode::Require => "require",
            TlsMode::VerifyCa => "verify-ca",
            TlsMode::VerifyFull => "verify-full",
        }
    }

    /// What is asked of the server.
    pub fn asks(self) -> SslMode {
        match self {
            TlsMode::Disable => SslMode::Disable,
            TlsMode::Prefer => SslMode::Prefer,
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => SslMode::Require,
        }
    }
}

/// Encryption as configured.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TlsPlan {
    /// How much.
    pub mode: TlsMode,
    /// Certificate authorities in PEM, in place of the web's.
    pub ca: Option<PathBuf>,
}

impl TlsPlan {
    /// Reads the authorities' file; what all connections share. `None` where none is encrypted.
    pub fn connector(&self) -> Result<Option<TlsConnector>, Fault> {
        let (ca, verify) = (self.ca.clone(), self.mode == TlsMode::VerifyFull);
        let plan = common::TlsPlan { ca, verify };
        match self.mode {
            TlsMode::Disable => Ok(None),
            TlsMode::Prefer | TlsMode::Require | TlsMode::VerifyFull => plan.connector().map(Some),
            TlsMode::VerifyCa => {
                let set_up = |error: String| Fault::us(format!("setting up tls: {error}"));
                let provider = Arc::new(ring::default_provider());
                let roots = Arc::new(plan.roots()?);
                let inner =
                    WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                        .build()
                        .map_err(|error| set_up(error.to_string()))?;
                let config = ClientConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()
                    .map_err(|error| set_up(error.to_string()))?
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(AnyName(inner)))
                    .with_no_client_auth();
                Ok(Some(TlsConnector::from(Arc::new(config))))
            }
        }
    }
}

/// Takes every certificate that an authority has signed, whatever name it bears.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // The name is looked at last: what fails there has passed all else.
        match self.0.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Encrypts one connection to one host.
pub struct Encryption {
    /// `None` where the mode says never.
    pub connector: Option<TlsConnector>,
    /// The server's name.
    pub host: String,
}

/// A stream as it was dialled.
pub struct Plain(pub Stream);
/// The same, encrypted.
pub struct Encrypted(Box<client::TlsStream<Plain>>);

impl TlsConnect<Plain> for Encryption {
    type Stream = Encrypted;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted>> + Send>>;

    fn connect(self, stream: Plain) -> Self::Future {
        Box::pin(async move {
            let connector = self.connector.ok_or_else(|| io::Error::other("tls is disabled"))?;
            let name = common::server_name(&self.host).map_err(io::Error::other)?;
            Ok(Encrypted(Box::new(connector.connect(name, stream).await?)))
        })
    }
}

impl TlsStream for Encrypted {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Plain {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Plain {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_made_or_refused_in_words() {
        for mode in [TlsMode::Prefer, TlsMode::Require, TlsMode::VerifyCa, TlsMode::VerifyFull] {
            assert!(TlsPlan { mode, ca: None }.connector().expect("a connector").is_some());
        }
        let plain = TlsPlan { mode: TlsMode::Disable, ca: None };
        assert!(plain.connector().expect("nothing to do").is_none());
        let missing = TlsPlan { mode: TlsMode::VerifyCa, ca: Some("no/such.pem".into()) };
        let fault = missing.connector().err().expect("there is no such file");
        assert!(fault.message.contains("no/such.pem"), "{fault}");
    }
}
