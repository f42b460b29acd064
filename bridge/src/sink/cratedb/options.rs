//! What `[pipeline.NAME.sink]` may say with `kind = "cratedb"`, and the plan it becomes: checked,
//! with every default filled in. Secrets never show.

use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::units::Span;
use crate::config::{Mistake, Section};
use crate::kind;
use crate::sink::questdb::endpoint::{Addresses, Endpoint, endpoints};
use crate::sink::questdb::options::{Credentials, Held, Secret, held, span};
use crate::sink::questdb::tls::TlsPlan;

/// The HTTP port of a server that was installed as it comes.
const PORT: u16 = 4200;
/// Longer than any bulk takes on a cluster that is well; CrateDB itself gives its shards a minute.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// A server that returns must be met within seconds: one lost packet, no more.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Beyond a few thousand rows a bulk gets slower for each of them, and heavier for the server.
const BULK_ROWS_MAX: usize = 5_000;

/// What becomes of rows whose key is there already.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The row that is there stays.
    #[default]
    Append,
    /// The row that is there is replaced.
    Upsert,
}

/// CrateDB, by bulks over HTTP.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// HTTP address, `host:port` or `http(s)://host:port`; a list for failover. Default
    /// `localhost:4200`.
    address: Option<Addresses>,
    /// The user. Default: none is named, and CrateDB takes its own (`crate`).
    username: Option<String>,
    /// Its password.
    password: Option<Secret>,
    /// A file that holds the password, relative to the configuration file.
    password_file: Option<PathBuf>,
    /// Bearer token (a JSON web token).
    token: Option<Secret>,
    /// A file that holds the token, relative to the configuration file.
    token_file: Option<PathBuf>,
    /// Speak TLS; `https://` in `address` does the same.
    tls: bool,
    /// Certificate authorities in PEM, in place of the web's, relative to the configuration file.
    tls_ca: Option<PathBuf>,
    /// `false` takes any certificate: for tests only.
    tls_verify: Option<bool>,
    /// `append` (default): a row whose key is there already is left out. `upsert`: it replaces the
    /// one that is there; of several the last one stays.
    mode: Mode,
    /// Columns of the table's primary key, such as `["id"]`. Default, for `append`: the record's
    /// topic, partition and offset, and the row's number within it.
    key: Vec<String>,
    /// Rows of one request, at most; default 5000.
    bulk_rows_max: Option<usize>,
    /// Connections for each lane; default 1. A partition's rows stay on one of them.
    connections_per_lane: Option<usize>,
    /// How long an answer may take before the request is sent again; default `"60s"`.
    request_timeout: Option<Span>,
    /// How long connecting may take; default `"2s"`.
    connect_timeout: Option<Span>,
}

/// A sink as configured, with every default filled in.
#[derive(Clone, PartialEq, Debug)]
pub struct CrateDbPlan {
    /// Never empty.
    pub addresses: Vec<Endpoint>,
    /// Who we are.
    pub credentials: Credentials,
    /// Whom to trust.
    pub tls: TlsPlan,
    /// Columns of the primary key; empty for the record's position.
    pub key: Vec<String>,
    /// Whether a row replaces the one of its key.
    pub replaces: bool,
    /// Rows of one request, at most.
    pub bulk_rows_max: usize,
    /// Couriers for each lane.
    pub connections_per_lane: usize,
    /// How long an answer may take.
    pub request_timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
}

impl CrateDbPlan {
    /// Reads and checks a section.
    pub fn parse(section: &Section) -> Result<CrateDbPlan, Mistake> {
        let options: Options = kind::options(section)?;
        let addresses = match &options.address {
            None => vec![Endpoint { host: "localhost".into(), port: PORT, tls: options.tls }],
            Some(list) => endpoints(section, "address", list, PORT, options.tls)?,
        };
        let connections_per_lane = options.connections_per_lane.unwrap_or(1);
        if !(1..=16).contains(&connections_per_lane) {
            let message = "1 to 16 connections for each lane: more make the server slower";
            return Err(section.mistake("connections_per_lane", message));
        }
        let bulk_rows_max = options.bulk_rows_max.unwrap_or(BULK_ROWS_MAX);
        if bulk_rows_max == 0 {
            return Err(section.mistake("bulk_rows_max", "a request has at least one row"));
        }
        if options.mode == Mode::Upsert && options.key.is_empty() {
            let message = "`mode = \"upsert\"` needs the columns of its key";
            return Err(section.mistake("mode", message).help("such as key = [\"id\"]"));
        }
        let twice = |(at, name): (usize, &String)| options.key[..at].contains(name);
        if options.key.iter().enumerate().any(twice) {
            return Err(section.mistake("key", "a column is named twice"));
        }
        let timed = |key, said, default| span(section, key, said, default);
        Ok(CrateDbPlan {
            addresses,
            credentials: options.credentials(section)?,
            tls: TlsPlan { ca: options.tls_ca.clone(), verify: options.tls_verify.unwrap_or(true) },
            replaces: options.mode == Mode::Upsert,
            bulk_rows_max,
            connections_per_lane,
            request_timeout: timed("request_timeout", options.request_timeout, REQUEST_TIMEOUT)?,
            connect_timeout: timed("connect_timeout", options.connect_timeout, CONNECT_TIMEOUT)?,
            key: options.key,
        })
    }

    /// Every path of a file starts from `base`; one that is absolute stays as it is.
    pub fn rebase(&mut self, base: &Path) {
        if let Credentials::Basic(_, Held::File(path)) | Credentials::Bearer(Held::File(path)) =
            &mut self.credentials
        {
            *path = base.join(&*path);
        }
        if let Some(path) = &mut self.tls.ca {
            *path = base.join(&*path);
        }
    }

    /// Where it goes, for people.
    pub fn shown(&self) -> String {
        let listed: Vec<String> = self.addresses.iter().map(Endpoint::to_string).collect();
        format!("cratedb {}", listed.join(", "))
    }
}

impl Options {
    fn credentials(&self, section: &Section) -> Result<Credentials, Mistake> {
        let password =
            held(section, "password", self.password.as_ref(), self.password_file.as_ref())?;
        let token = held(section, "token", self.token.as_ref(), self.token_file.as_ref())?;
        match (&self.username, password, token) {
            (None, None, None) => Ok(Credentials::None),
            (None, None, Some(token)) => Ok(Credentials::Bearer(token)),
            (Some(user), Some(password), None) => Ok(Credentials::Basic(user.clone(), password)),
            // A user whom the server trusts has no password.
            (Some(user), None, None) => {
                Ok(Credentials::Basic(user.clone(), Held::Here(Secret(String::new()))))
            }
            (_, _, Some(_)) => Err(section.mistake("token", "a token, or a user, not both")),
            (None, Some(_), None) => {
                Err(section.mistake("password", "`password` needs `username`"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(toml: &str) -> Result<CrateDbPlan, Mistake> {
        CrateDbPlan::parse(&Section::new("sink", toml.parse().expect("it is TOML")))
    }

    #[test]
    fn nothing_said_means_this_host() {
        let plan = parse("kind = \"cratedb\"").expect("all has defaults");
        assert_eq!(plan.shown(), "cratedb localhost:4200");
        assert_eq!((plan.replaces, plan.credentials), (false, Credentials::None));
        let plan = parse("address = [\"a\", \"https://b:1\"]").expect("fine");
        assert_eq!(plan.shown(), "cratedb a:4200, b:1");
        assert!(plan.addresses[1].tls);
    }

    #[test]
    fn contradictions_name_their_key() {
        let check = |toml: &str, key: &str| {
            let mistake = parse(toml).expect_err(toml);
            assert!(mistake.path.ends_with(key), "{toml}: {mistake:?}");
        };
        check("username = \"u\"\npassword = \"p\"\npassword_file = \"f\"", "password");
        check("password = \"p\"", "password");
        check("username = \"u\"\ntoken = \"t\"", "token");
        check("connections_per_lane = 0", "connections_per_lane");
        check("bulk_rows_max = 0", "bulk_rows_max");
        check("request_timeout = \"0s\"", "request_timeout");
        check("mode = \"replace\"", "mode");
        check("mode = \"upsert\"", "mode");
        check("key = [\"a\", \"a\"]", "key");
        check("database = \"x\"", "sink");
    }

    #[test]
    fn secrets_do_not_show_and_files_lie_beside_the_configuration() {
        let plan = parse("username = \"u\"\npassword = \"hunter2\"").expect("fine");
        assert!(!format!("{plan:?}").contains("hunter2"));
        let mut plan = parse("token_file = \"t\"\ntls = true\ntls_ca = \"/ca\"").expect("fine");
        plan.rebase(Path::new("/etc/bridge"));
        assert_eq!(plan.credentials, Credentials::Bearer(Held::File("/etc/bridge/t".into())));
        assert_eq!(plan.tls.ca, Some("/ca".into()));
    }
}
