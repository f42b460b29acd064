//! `[kafka]` as it is written: how Kafka is reached, who the bridge is there, and whom it trusts.
//! The comments are what `docs/reference.md` says.

use std::path::PathBuf;

use schemars::JsonSchema;

use super::draft::{Named, Scalar};
use super::plan::Fetching;
use super::security::{Mechanism, Preset};
use crate::sink::questdb::options::Secret;

/// How Kafka is reached.
#[derive(Clone, serde::Deserialize, JsonSchema, Default, Debug)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Kafka")]
pub struct KafkaDraft {
    /// Addresses of some brokers, with commas: `"one:9092,two:9092"`. Default `"localhost:9092"`.
    pub brokers: Option<String>,
    /// Who fetches a source's records: `"auto"` (default: the bridge itself where it can, at a
    /// fraction of the CPU) or `"library"` (librdkafka); see docs/kafka.md.
    pub fetch: Option<Fetching>,
    /// A service whose ways are known: what it wants is the default of the keys below; see
    /// docs/security.md.
    pub preset: Option<Preset>,
    /// TLS. Default: where one of the keys `tls_…` is given, or the preset wants it.
    pub tls: Option<bool>,
    /// Certificate authorities in PEM, in place of the system's, relative to the configuration
    /// file.
    pub tls_ca: Option<PathBuf>,
    /// The bridge's own certificate in PEM, for brokers that want one, relative to the
    /// configuration file.
    pub tls_cert: Option<PathBuf>,
    /// Its private key.
    pub tls_key: Option<PathBuf>,
    /// The password of the private key.
    pub tls_key_password: Option<Secret>,
    /// A file that holds the password, relative to the configuration file.
    pub tls_key_password_file: Option<PathBuf>,
    /// Certificate and key in one PKCS#12 file, in place of `tls_cert` and `tls_key`.
    pub tls_keystore: Option<PathBuf>,
    /// The password of the PKCS#12 file.
    pub tls_keystore_password: Option<Secret>,
    /// A file that holds the password, relative to the configuration file.
    pub tls_keystore_password_file: Option<PathBuf>,
    /// `false` takes any certificate: for tests only.
    pub tls_verify: Option<bool>,
    /// Who the bridge is, beside a certificate.
    pub sasl: Option<SaslDraft>,
    /// Any property of librdkafka, such as `"client.id" = "plant-7"`. Comes before what the keys
    /// above say.
    pub properties: Named<Scalar>,
}

/// Who the bridge is to the brokers (SASL).
#[derive(Clone, serde::Deserialize, JsonSchema, Default, Debug)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Sasl")]
pub struct SaslDraft {
    /// How it says so: `"PLAIN"`, `"SCRAM-SHA-256"`, `"SCRAM-SHA-512"`, `"OAUTHBEARER"`,
    /// `"AWS_MSK_IAM"`, or `"GSSAPI"` (Kerberos, where the bridge was built with it). Needed, but
    /// for presets.
    pub mechanism: Option<Mechanism>,
    /// For `PLAIN` and `SCRAM`: the user.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// A file that holds the password, relative to the configuration file.
    pub password_file: Option<PathBuf>,
    /// For `OAUTHBEARER`: where tokens are given for the client's credentials (OAuth 2.0).
    pub token_url: Option<String>,
    /// The client's id.
    pub client_id: Option<String>,
    /// The client's secret.
    pub client_secret: Option<Secret>,
    /// A file that holds it, relative to the configuration file.
    pub client_secret_file: Option<PathBuf>,
    /// What the token is to be good for, where the service wants that said.
    pub scope: Option<String>,
    /// For whom the token is to be good, where the service wants that said.
    pub audience: Option<String>,
    /// Certificate authorities in PEM for `token_url`, in place of the web's, relative to the
    /// configuration file.
    pub tls_ca: Option<PathBuf>,
    /// For `AWS_MSK_IAM`: the region. Default: that of the brokers' names, or of `AWS_REGION`.
    pub region: Option<String>,
    /// The id of an access key. Default: as AWS's own programs find one; see docs/security.md.
    pub access_key_id: Option<String>,
    /// The access key.
    pub secret_access_key: Option<Secret>,
    /// A file that holds it, relative to the configuration file.
    pub secret_access_key_file: Option<PathBuf>,
    /// The token of a session that the key is of, if it is.
    pub session_token: Option<Secret>,
    /// For `GSSAPI`: the brokers' service. Default `"kafka"`.
    pub service: Option<String>,
    /// The bridge's principal.
    pub principal: Option<String>,
    /// The file of its keys, relative to the configuration file.
    pub keytab: Option<PathBuf>,
}
