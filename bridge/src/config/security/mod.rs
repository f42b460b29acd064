//! Who the bridge is to Kafka's brokers, and whom it trusts: the plan that `[kafka]` becomes (by
//! `read`), with what a preset adds. Secrets never show.

mod read;

use std::path::{Path, PathBuf};

use schemars::JsonSchema;

pub use self::read::of_sink;
pub(super) use self::read::{plan, section_of};
pub use super::reach::KafkaDraft as Reach;
use crate::door::{OauthPlan, Terms};
use crate::sink::questdb::options::Held;

/// How the bridge says who it is (SASL).
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Deserialize, JsonSchema)]
pub enum Mechanism {
    /// User and password, as they are.
    #[serde(rename = "PLAIN")]
    Plain,
    /// User and password, which stays here.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// The same with a longer hash.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
    /// A token that a service gives (OAuth 2.0, client credentials).
    #[serde(rename = "OAUTHBEARER")]
    Oauthbearer,
    /// A signature by an access key of AWS.
    #[serde(rename = "AWS_MSK_IAM")]
    AwsMskIam,
    /// Kerberos.
    #[serde(rename = "GSSAPI")]
    Gssapi,
}

/// A service whose ways are known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Confluent Cloud.
    ConfluentCloud,
    /// Amazon MSK.
    AwsMsk,
    /// Aiven for Apache Kafka.
    Aiven,
    /// Redpanda, Cloud or with TLS and SASL.
    Redpanda,
    /// Azure Event Hubs.
    AzureEventHubs,
    /// WarpStream.
    Warpstream,
}

/// Who the bridge is, and whom it trusts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SecurityPlan {
    /// What the service wants beside it.
    pub preset: Option<Preset>,
    /// Encryption.
    pub tls: Option<KafkaTls>,
    /// Who the bridge is, beside a certificate.
    pub sasl: Option<SaslPlan>,
}

/// Encryption.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KafkaTls {
    /// Certificate authorities in PEM, in place of the system's.
    pub ca: Option<PathBuf>,
    /// Whether the brokers' certificates are checked at all.
    pub verify: bool,
    /// The bridge's own certificate.
    pub identity: Option<Identity>,
}

/// The bridge's own certificate and its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Identity {
    /// In PEM.
    Pem {
        /// The certificate.
        cert: PathBuf,
        /// Its key.
        key: PathBuf,
        /// The key's password.
        password: Option<Held>,
    },
    /// In PKCS#12.
    Keystore {
        /// The file.
        path: PathBuf,
        /// Its password.
        password: Option<Held>,
    },
}

/// Who the bridge is, and how it says so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SaslPlan {
    /// By a password.
    Password {
        /// `PLAIN` or one of `SCRAM`.
        mechanism: Mechanism,
        /// The user.
        username: String,
        /// The user's password.
        password: Held,
    },
    /// By a token.
    Oauth {
        /// Whom to ask for it.
        tokens: Box<OauthPlan>,
        /// Whom to trust there.
        terms: Terms,
    },
    /// By a signature.
    Iam(IamPlan),
    /// By Kerberos.
    Kerberos {
        /// The brokers' service.
        service: String,
        /// The bridge's principal.
        principal: Option<String>,
        /// The file of its keys.
        keytab: Option<PathBuf>,
    },
}

/// Whose signature, and for where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IamPlan {
    /// The region of the brokers.
    pub region: String,
    /// The access key, if it is not to be found as AWS's programs find one.
    pub key: Option<AccessKey>,
}

/// An access key of AWS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccessKey {
    /// Its id.
    pub id: String,
    /// The key.
    pub secret: Held,
    /// The token of the session that it is of.
    pub session: Option<Held>,
}

impl Mechanism {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
            Mechanism::Oauthbearer => "OAUTHBEARER",
            Mechanism::AwsMskIam => "AWS_MSK_IAM",
            Mechanism::Gssapi => "GSSAPI",
        }
    }

    /// The keys beside `mechanism` that mean something with it.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Mechanism::Plain | Mechanism::ScramSha256 | Mechanism::ScramSha512 => {
                &["username", "password", "password_file"]
            }
            Mechanism::Oauthbearer => &[
                "token_url",
                "client_id",
                "client_secret",
                "client_secret_file",
                "scope",
                "audience",
                "tls_ca",
            ],
            Mechanism::AwsMskIam => &[
                "region",
                "access_key_id",
                "secret_access_key",
                "secret_access_key_file",
                "session_token",
            ],
            Mechanism::Gssapi => &["service", "principal", "keytab"],
        }
    }
}

impl Preset {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Preset::ConfluentCloud => "confluent-cloud",
            Preset::AwsMsk => "aws-msk",
            Preset::Aiven => "aiven",
            Preset::Redpanda => "redpanda",
            Preset::AzureEventHubs => "azure-event-hubs",
            Preset::Warpstream => "warpstream",
        }
    }

    /// The mechanism, where none is said; a user is named or not.
    fn mechanism(self, has_user: bool) -> Mechanism {
        match self {
            Preset::ConfluentCloud | Preset::AzureEventHubs | Preset::Warpstream => {
                Mechanism::Plain
            }
            Preset::AwsMsk if has_user => Mechanism::ScramSha512,
            Preset::AwsMsk => Mechanism::AwsMskIam,
            Preset::Aiven | Preset::Redpanda => Mechanism::ScramSha256,
        }
    }

    /// The user, where the service has but one.
    fn username(self) -> Option<&'static str> {
        (self == Preset::AzureEventHubs).then_some("$ConnectionString")
    }

    /// Properties of the client library that the service wants.
    pub fn properties(self) -> &'static [(&'static str, &'static str)] {
        match self {
            // What Microsoft recommends: connections that are idle for 4 minutes are cut without
            // a word, and sessions of less than 30 s are too short for its gateway.
            Preset::AzureEventHubs => &[
                ("connections.max.idle.ms", "180000"),
                ("metadata.max.age.ms", "180000"),
                ("session.timeout.ms", "30000"),
            ],
            _ => &[],
        }
    }
}

impl SecurityPlan {
    /// As the client library calls it.
    pub fn protocol(&self) -> &'static str {
        match (&self.tls, &self.sasl) {
            (None, None) => "PLAINTEXT",
            (Some(_), None) => "SSL",
            (None, Some(_)) => "SASL_PLAINTEXT",
            (Some(_), Some(_)) => "SASL_SSL",
        }
    }

    /// For people; nothing where nobody is asked and nothing hidden.
    pub fn in_words(&self) -> Option<String> {
        if self.tls.is_none() && self.sasl.is_none() {
            return None;
        }
        let mut words = match &self.tls {
            None => "not encrypted".to_owned(),
            Some(tls) => tls.in_words(),
        };
        if let Some(sasl) = &self.sasl {
            words.push_str(&format!("; {}", sasl.in_words()));
        }
        if let Some(preset) = self.preset {
            words.push_str(&format!(" ({})", preset.name()));
        }
        Some(words)
    }

    /// Every path of a file starts from `base`; one that is absolute stays as it is.
    pub fn rebase(&mut self, base: &Path) {
        let mut paths: Vec<&mut PathBuf> = Vec::new();
        let mut secrets: Vec<&mut Held> = Vec::new();
        if let Some(tls) = &mut self.tls {
            paths.extend(&mut tls.ca);
            match &mut tls.identity {
                None => {}
                Some(Identity::Pem { cert, key, password }) => {
                    paths.extend([cert, key]);
                    secrets.extend(password);
                }
                Some(Identity::Keystore { path, password }) => {
                    paths.push(path);
                    secrets.extend(password);
                }
            }
        }
        match &mut self.sasl {
            None => {}
            Some(SaslPlan::Password { password, .. }) => secrets.push(password),
            Some(SaslPlan::Oauth { tokens, terms }) => {
                secrets.push(&mut tokens.client_secret);
                paths.extend(&mut terms.tls.ca);
            }
            Some(SaslPlan::Iam(IamPlan { key: None, .. })) => {}
            Some(SaslPlan::Iam(IamPlan { key: Some(key), .. })) => {
                let AccessKey { secret, session, .. } = key;
                secrets.push(secret);
                secrets.extend(session);
            }
            Some(SaslPlan::Kerberos { keytab, .. }) => paths.extend(keytab),
        }
        paths.extend(secrets.into_iter().filter_map(|held| match held {
            Held::File(path) => Some(path),
            Held::Here(_) => None,
        }));
        for path in paths {
            *path = base.join(&*path);
        }
    }
}

impl KafkaTls {
    fn in_words(&self) -> String {
        let mut words = match (&self.ca, self.verify) {
            (_, false) => "TLS, certificates not checked".to_owned(),
            (Some(ca), true) => format!("TLS, trusted by {}", ca.display()),
            (None, true) => "TLS, trusted by the system's authorities".to_owned(),
        };
        match &self.identity {
            None => {}
            Some(Identity::Pem { cert: path, .. } | Identity::Keystore { path, .. }) => {
                words.push_str(&format!(", by the certificate {}", path.display()));
            }
        }
        words
    }
}

impl SaslPlan {
    fn in_words(&self) -> String {
        match self {
            SaslPlan::Password { mechanism, username, .. } => {
                format!("{} as {username}", mechanism.name())
            }
            SaslPlan::Oauth { tokens, .. } => {
                let OauthPlan { token_url, client_id, .. } = &**tokens;
                format!("OAUTHBEARER with tokens of {token_url} for {client_id}")
            }
            SaslPlan::Iam(IamPlan { region, key }) => match key {
                Some(key) => format!("AWS_MSK_IAM in {region} with the access key {}", key.id),
                None => format!("AWS_MSK_IAM in {region} with the access key that is found"),
            },
            SaslPlan::Kerberos { service, principal, .. } => match principal {
                Some(principal) => format!("GSSAPI as {principal} to {service}"),
                None => format!("GSSAPI to {service}"),
            },
        }
    }
}
