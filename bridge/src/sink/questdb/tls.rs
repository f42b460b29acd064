//! TLS for both transports, by rustls: the web's certificate authorities, the operator's own, or
//! (when asked for by name) none at all.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use crate::blame::Fault;

/// Whom to trust.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TlsPlan {
    /// Certificate authorities in PEM, in place of the web's.
    pub ca: Option<PathBuf>,
    /// Whether the server's certificate is checked at all.
    pub verify: bool,
}

impl TlsPlan {
    /// Reads the authorities' file; a connector that all connections share.
    pub fn connector(&self) -> Result<TlsConnector, Fault> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Fault::us(format!("setting up tls: {error}")))?;
        let config = if self.verify {
            builder.with_root_certificates(self.roots()?).with_no_client_auth()
        } else {
            let anyone = Arc::new(Anyone(provider));
            builder.dangerous().with_custom_certificate_verifier(anyone).with_no_client_auth()
        };
        Ok(TlsConnector::from(Arc::new(config)))
    }

    /// Whom this one trusts.
    pub fn roots(&self) -> Result<RootCertStore, Fault> {
        let mut roots = RootCertStore::empty();
        let Some(path) = &self.ca else {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            return Ok(roots);
        };
        let shown = path.display();
        let wrong = |error: String| Fault::operator(format!("reading tls_ca {shown}: {error}"));
        let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        for certificate in rustls_pemfile::certs(&mut pem.as_slice()) {
            let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
            roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(wrong("no certificate in it".into()).hint("it wants PEM certificates"));
        }
        Ok(roots)
    }
}

/// The name that the server's certificate must bear.
pub fn server_name(host: &str) -> Result<ServerName<'static>, Fault> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned())
        .map_err(|_| Fault::operator(format!("`{host}` is not a name that tls can check")))
}

/// Takes every certificate; `tls_verify = false`.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connectors_are_made_or_refused_in_words() {
        let plan = TlsPlan { ca: None, verify: true };
        assert!(plan.connector().is_ok());
        assert!(TlsPlan { ca: None, verify: false }.connector().is_ok());
        let missing = TlsPlan { ca: Some("no/such/file.pem".into()), verify: true };
        let fault = missing.connector().err().expect("there is no such file");
        assert!(fault.message.contains("no/such/file.pem"), "{fault}");
        assert!(server_name("db.example").is_ok());
        assert!(server_name("[::1]").is_ok());
        assert!(server_name("not a name").is_err());
    }
}
