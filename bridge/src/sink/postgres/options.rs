//! What `[pipeline.NAME.sink]` may say with `kind = "postgres"`, and the plan it becomes: checked,
//! with every default filled in. Secrets never show.

use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::tls::{TlsMode, TlsPlan};
use crate::config::units::Span;
use crate::config::{Mistake, Section};
use crate::kind;
use crate::sink::questdb::endpoint::{Addresses, Endpoint, endpoints};
use crate::sink::questdb::options::{Held, Secret, held, span};

/// The port of a server that was installed as it comes.
const PORT: u16 = 5432;
/// A server that returns must be met within seconds: one lost packet, no more.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longer than any payload takes on a server that is well.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// What becomes of rows whose key is there already.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// There is no key: every row is added.
    #[default]
    Append,
    /// The row of a key is replaced.
    Upsert,
}

/// PostgreSQL, by binary COPY.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// `host:port`; a list for failover: a server that is away or takes no writes is passed over.
    /// Default `localhost:5432`.
    address: Option<Addresses>,
    /// The database. Default: the user's name.
    database: Option<String>,
    /// The user. Default `postgres`.
    username: Option<String>,
    /// The user's password.
    password: Option<Secret>,
    /// A file that holds the password, relative to the configuration file.
    password_file: Option<PathBuf>,
    /// `append` (default): every row is added. `upsert`: a row replaces the one of its `key`; of
    /// several the last one stays.
    mode: Mode,
    /// Columns of the key of `upsert`, such as `["id"]`: the table's primary key, or a unique index
    /// of exactly these.
    key: Vec<String>,
    /// Encryption, by libpq's names: `disable`, `prefer` (default: where the server has it, nothing
    /// is checked), `require` (nothing is checked), `verify-ca` (the certificate is signed by one
    /// of `tls_ca`), `verify-full` (and bears the server's name).
    tls: TlsMode,
    /// Certificate authorities in PEM, in place of the web's, relative to the configuration file.
    tls_ca: Option<PathBuf>,
    /// Connections for each lane; default 1. A partition's rows stay on one of them.
    connections_per_lane: Option<usize>,
    /// How long connecting may take; default `"2s"`.
    connect_timeout: Option<Span>,
    /// How long one statement may take, on the server and until its answer is here; default
    /// `"30s"`.
    statement_timeout: Option<Span>,
}

/// A sink as configured, with every default filled in.
#[derive(Clone, PartialEq, Debug)]
pub struct PostgresPlan {
    /// Never empty.
    pub addresses: Vec<Endpoint>,
    /// The database.
    pub database: String,
    /// The user.
    pub username: String,
    /// The user's password.
    pub password: Option<Held>,
    /// Columns of the key by which rows are replaced; empty where every row is added.
    pub key: Vec<String>,
    /// Encryption.
    pub tls: TlsPlan,
    /// Couriers for each lane.
    pub connections_per_lane: usize,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long one statement may take.
    pub statement_timeout: Duration,
}

impl PostgresPlan {
    /// Reads and checks a section.
    pub fn parse(section: &Section) -> Result<PostgresPlan, Mistake> {
        let options: Options = kind::options(section)?;
        let addresses = match &options.address {
            None => vec![Endpoint { host: "localhost".into(), port: PORT, tls: false }],
            Some(list) => endpoints(section, "address", list, PORT, false)?,
        };
        let username = options.username.unwrap_or_else(|| "postgres".to_owned());
        let connections_per_lane = options.connections_per_lane.unwrap_or(1);
        if !(1..=16).contains(&connections_per_lane) {
            let message = "1 to 16 connections for each lane: more make the server slower";
            return Err(section.mistake("connections_per_lane", message));
        }
        let verifies = matches!(options.tls, TlsMode::VerifyCa | TlsMode::VerifyFull);
        if options.tls_ca.is_some() && !verifies {
            let message = "`tls_ca` is looked at with `verify-ca` and `verify-full` only";
            return Err(section.mistake("tls_ca", message).help("tls = \"verify-full\""));
        }
        match (options.mode, options.key.is_empty()) {
            (Mode::Upsert, true) => {
                let message = "`mode = \"upsert\"` needs the columns of its key";
                return Err(section.mistake("mode", message).help("such as key = [\"id\"]"));
            }
            (Mode::Append, false) => {
                let message = "`key` goes with `mode = \"upsert\"`: to append is to have none";
                return Err(section.mistake("key", message));
            }
            _ => {}
        }
        let timed = |key, said, default| span(section, key, said, default);
        Ok(PostgresPlan {
            addresses,
            database: options.database.unwrap_or_else(|| username.clone()),
            username,
            password: held(
                section,
                "password",
                options.password.as_ref(),
                options.password_file.as_ref(),
            )?,
            key: options.key,
            tls: TlsPlan { mode: options.tls, ca: options.tls_ca },
            connections_per_lane,
            connect_timeout: timed("connect_timeout", options.connect_timeout, CONNECT_TIMEOUT)?,
            statement_timeout: timed(
                "statement_timeout",
                options.statement_timeout,
                STATEMENT_TIMEOUT,
            )?,
        })
    }

    /// Every path of a file starts from `base`; one that is absolute stays as it is.
    pub fn rebase(&mut self, base: &Path) {
        if let Some(Held::File(path)) = &mut self.password {
            *path = base.join(&*path);
        }
        if let Some(path) = &mut self.tls.ca {
            *path = base.join(&*path);
        }
    }

    /// Where it goes, for people.
    pub fn shown(&self) -> String {
        let listed: Vec<String> = self.addresses.iter().map(Endpoint::to_string).collect();
        format!("postgres {}/{}", listed.join(", "), self.database)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(toml: &str) -> Result<PostgresPlan, Mistake> {
        PostgresPlan::parse(&Section::new("sink", toml.parse().expect("it is TOML")))
    }

    #[test]
    fn nothing_said_means_this_host() {
        let plan = parse("kind = \"postgres\"").expect("all has defaults");
        assert_eq!(plan.shown(), "postgres localhost:5432/postgres");
        assert_eq!(plan.tls.mode, TlsMode::Prefer);
        let plan = parse("username = \"u\"\naddress = [\"a\", \"b:1\"]").expect("fine");
        assert_eq!(plan.shown(), "postgres a:5432, b:1/u");
    }

    #[test]
    fn contradictions_name_their_key() {
        let check = |toml: &str, key: &str| {
            let mistake = parse(toml).expect_err(toml);
            assert!(mistake.path.ends_with(key), "{toml}: {mistake:?}");
        };
        check("password = \"p\"\npassword_file = \"f\"", "password");
        check("tls = \"yes\"", "tls");
        check("tls_ca = \"ca.pem\"", "tls_ca");
        check("connections_per_lane = 0", "connections_per_lane");
        check("statement_timeout = \"0s\"", "statement_timeout");
        check("mode = \"replace\"", "mode");
        check("mode = \"upsert\"", "mode");
        check("key = [\"id\"]", "key");
        check("adress = \"x\"", "sink");
    }

    #[test]
    fn secrets_do_not_show_and_files_lie_beside_the_configuration() {
        let plan = parse("password = \"hunter2\"").expect("fine");
        assert!(!format!("{plan:?}").contains("hunter2"));
        let mut plan =
            parse("password_file = \"p\"\ntls = \"verify-ca\"\ntls_ca = \"/ca\"").expect("fine");
        plan.rebase(Path::new("/etc/bridge"));
        assert_eq!(plan.password, Some(Held::File("/etc/bridge/p".into())));
        assert_eq!(plan.tls.ca, Some("/ca".into()));
    }
}
