//! Listeners of every kind of security, beside the plain one, and who may come in there.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;

use crate::authority::{Authority, Role};
use crate::port::Port;

/// Who may come in where somebody is asked for, and by which password.
pub const USER: (&str, &str) = ("bridge", crate::artifacts::KAFKA_PASSWORD);

/// A listener that is not plain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// TLS; nobody is asked who they are.
    Tls,
    /// TLS, with certificates on both sides.
    Mutual,
    /// TLS under a certificate that has expired.
    Expired,
    /// No TLS; PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER.
    Asking,
    /// The same with TLS.
    Secured,
}

/// All of them, by their places.
const ALL: [Listener; 5] =
    [Listener::Tls, Listener::Mutual, Listener::Expired, Listener::Asking, Listener::Secured];

/// The ports and certificates of a broker with such listeners.
pub(super) struct Secured {
    ports: [Port; 5],
    authority: Authority,
}

impl Listener {
    fn name(self) -> &'static str {
        match self {
            Listener::Tls => "TLS",
            Listener::Mutual => "MUTUAL",
            Listener::Expired => "EXPIRED",
            Listener::Asking => "ASKING",
            Listener::Secured => "SECURED",
        }
    }

    fn protocol(self) -> &'static str {
        match self {
            Listener::Tls | Listener::Mutual | Listener::Expired => "SSL",
            Listener::Asking => "SASL_PLAINTEXT",
            Listener::Secured => "SASL_SSL",
        }
    }
}

impl Secured {
    /// Makes certificates in a folder.
    pub(super) fn create(folder: &Path) -> Result<Self> {
        let authority = Authority::create(&folder.join("authority"))?;
        authority.sign("server", Role::Server)?;
        authority.whole("server")?;
        authority.sign_expired("expired", Role::Server)?;
        authority.whole("expired")?;
        let port = Port::free;
        Ok(Self { ports: [port()?, port()?, port()?, port()?, port()?], authority })
    }

    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    pub(super) fn address(&self, listener: Listener) -> String {
        let place = ALL.iter().position(|one| *one == listener).expect("it is one of all");
        self.ports[place].address()
    }

    /// `,TLS://127.0.0.1:1,…`
    pub(super) fn listeners(&self) -> String {
        let one = |listener: Listener| format!(",{}://{}", listener.name(), self.address(listener));
        ALL.map(one).concat()
    }

    /// `,TLS:SSL,…`
    pub(super) fn protocols() -> String {
        ALL.map(|listener| format!(",{}:{}", listener.name(), listener.protocol())).concat()
    }

    /// Lines of `server.properties`.
    pub(super) fn properties(&self) -> Result<String> {
        let mut text = String::new();
        let mut line = |listener: Listener, property: &str, value: &str| {
            let name = listener.name().to_ascii_lowercase();
            let _ = writeln!(text, "listener.name.{name}.{property}={value}");
        };
        for listener in ALL.into_iter().filter(|listener| listener.protocol().ends_with("SSL")) {
            let certificate = if listener == Listener::Expired { "expired" } else { "server" };
            let store = self.authority.whole(certificate)?;
            line(listener, "ssl.keystore.type", "PEM");
            line(listener, "ssl.keystore.location", &store.to_string_lossy());
        }
        let trusted = self.authority.certificate();
        line(Listener::Mutual, "ssl.truststore.type", "PEM");
        line(Listener::Mutual, "ssl.truststore.location", &trusted.to_string_lossy());
        line(Listener::Mutual, "ssl.client.auth", "required");
        let (user, password) = USER;
        let plain = format!("plain.PlainLoginModule required user_{user}=\"{password}\"");
        let token =
            "oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"b\"";
        for listener in [Listener::Asking, Listener::Secured] {
            let mechanisms = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER";
            line(listener, "sasl.enabled.mechanisms", mechanisms);
            for (mechanism, module) in [
                ("plain", &*plain),
                ("scram-sha-256", "scram.ScramLoginModule required"),
                ("scram-sha-512", "scram.ScramLoginModule required"),
                // Tokens without a signature, which is what Kafka takes if nothing is said.
                ("oauthbearer", token),
            ] {
                let value = format!("org.apache.kafka.common.security.{module};");
                line(listener, &format!("{mechanism}.sasl.jaas.config"), &value);
            }
        }
        Ok(text)
    }
}
