//! What `[pipeline.NAME.sink]` may say with `kind = "questdb"`, and the plan it becomes: checked,
//! with every default filled in. Secrets never show.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::beside::Beside;
use super::endpoint::{Addresses, Endpoint, endpoints};
use super::tls::TlsPlan;
use crate::config::units::Span;
use crate::config::{Mistake, Section};
use crate::kind;

/// The HTTP port of a server that was installed as it comes.
const HTTP_PORT: u16 = 9000;
/// The line protocol's TCP port of such a server.
const TCP_PORT: u16 = 9009;
/// Longer than any commit of a payload takes on a server that is well.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that returns must be met within seconds: one lost packet, no more.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// What reading back adds to the age of a commit point.
const GENERATION_AGE: Duration = Duration::from_secs(1);

/// A secret: never shown, not even by mistake.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The PostgreSQL protocol's port of such a server.
pub const PG_PORT: u16 = 8812;
/// Who may come in over the PostgreSQL protocol, unless `pg.user` and `pg.password` were set.
pub const PG_USER: (&str, &str) = ("admin", "quest");

/// By which protocol rows are sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Line protocol over HTTP: every request is answered.
    #[default]
    Http,
    /// Line protocol over pooled TCP connections.
    Tcp,
    /// Inserts over the PostgreSQL protocol, for those who can open no other port.
    Pg,
}

/// What counts as stored over TCP.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ack {
    /// The rows were counted back from the table.
    #[default]
    Verify,
    /// The socket took the bytes: rows can be lost without a trace.
    None,
}

/// Which version of line protocol is spoken.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Protocol {
    Number(u8),
    Word(String),
}

/// QuestDB, by line protocol over HTTP or TCP.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// `http` (default): each request is acknowledged. `tcp`: pooled line protocol, offsets are
    /// committed after read-back. `pg`: inserts in transactions over the PostgreSQL protocol, SQL
    /// too, for those who can open no other port.
    pub(super) transport: Transport,
    /// HTTP address, `host:port` or `http(s)://host:port`; a list for failover. Default
    /// `localhost:9000`. SQL goes there with `http` and `tcp`. For `pg`: the address of the
    /// PostgreSQL protocol; default `localhost:8812`.
    address: Option<Addresses>,
    /// Address of line protocol over TCP; default: the hosts of `address`, port 9009.
    tcp_address: Option<Addresses>,
    /// For `tcp`: `verify` (default) counts the rows back from the table before offsets are
    /// committed; `none` trusts the socket and can lose rows without a trace.
    ack: Option<Ack>,
    /// For tables with `consistency = "transactional"`: the address of the PostgreSQL protocol;
    /// default: the hosts of `address`, port 8812.
    pub(super) pg_address: Option<Addresses>,
    /// The user of that protocol; default `admin`.
    pub(super) pg_username: Option<String>,
    /// Its password; default `quest`.
    pub(super) pg_password: Option<Secret>,
    /// A file that holds it, relative to the configuration file.
    pub(super) pg_password_file: Option<PathBuf>,
    /// User of HTTP basic authentication; for `pg` the user of that protocol, default `admin`.
    username: Option<String>,
    /// Its password; for `pg` default `quest`.
    password: Option<Secret>,
    /// A file that holds the password, relative to the configuration file.
    password_file: Option<PathBuf>,
    /// Bearer token of HTTP.
    token: Option<Secret>,
    /// A file that holds the token, relative to the configuration file.
    token_file: Option<PathBuf>,
    /// Speak TLS on all connections. `https://` in `address` does the same for HTTP only.
    tls: bool,
    /// Certificate authorities in PEM, in place of the web's, relative to the configuration file.
    tls_ca: Option<PathBuf>,
    /// `false` takes any certificate: for tests only.
    tls_verify: Option<bool>,
    /// Compress HTTP requests.
    gzip: bool,
    /// Line protocol version: `"auto"` (default; asked of the server), 1 or 2.
    protocol: Option<Protocol>,
    /// Connections for each lane; default 1. A partition's rows of a table stay on one of them.
    connections_per_lane: Option<usize>,
    /// Key id of line protocol's own authentication (TCP).
    auth_key_id: Option<String>,
    /// `d` of that key, base64url.
    auth_private_key: Option<Secret>,
    /// A file that holds it, relative to the configuration file.
    auth_private_key_file: Option<PathBuf>,
    /// `x` of that key.
    auth_public_key_x: Option<String>,
    /// `y` of that key.
    auth_public_key_y: Option<String>,
    /// How long an answer may take before the request is sent again; default `"10s"`, and a
    /// second more for each 100 KiB sent.
    request_timeout: Option<Span>,
    /// How long connecting may take; default `"2s"`.
    connect_timeout: Option<Span>,
    /// For `tcp` with `verify`: a connection is closed and counted back after this many rows;
    /// default 300000.
    generation_rows: Option<u64>,
    /// For `tcp` with `verify`: and at the latest at this age; default `"1s"`.
    generation_age: Option<Span>,
    /// A table with more rows written but not applied yet pauses the pipeline; default 50000000,
    /// 0 for no bound.
    apply_lag_rows_max: Option<u64>,
    /// The same in transactions; default 20000, 0 for no bound.
    apply_lag_transactions_max: Option<u64>,
}

impl QuestDbPlan {
    /// Every path of a file starts from `base`; one that is absolute stays as it is.
    pub fn rebase(&mut self, base: &Path) {
        let all = [&mut self.credentials, &mut self.beside.credentials];
        let secrets = all.into_iter().filter_map(|credentials| match credentials {
            Credentials::None => None,
            Credentials::Basic(_, secret) | Credentials::Bearer(secret) => Some(secret),
        });
        let key = self.key.as_mut().map(|key| &mut key.private);
        for held in secrets.chain(key) {
            if let Held::File(path) = held {
                *path = base.join(&*path);
            }
        }
        if let Some(path) = &mut self.tls.ca {
            *path = base.join(&*path);
        }
    }
}

/// A secret as written, or the file that holds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Held {
    /// Written in the configuration.
    Here(Secret),
    /// In a file.
    File(PathBuf),
}

/// How the bridge says who it is over HTTP.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Credentials {
    /// Not at all.
    #[default]
    None,
    /// User and password.
    Basic(String, Held),
    /// A token.
    Bearer(Held),
}

/// A key for line protocol over TCP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyPlan {
    /// Its id.
    pub id: String,
    /// `d`
    pub private: Held,
    /// `x`
    pub public_x: String,
    /// `y`
    pub public_y: String,
}

/// A sink as configured, with every default filled in.
#[derive(Clone, PartialEq, Debug)]
pub struct QuestDbPlan {
    /// By which protocol rows are sent.
    pub transport: Transport,
    /// HTTP addresses; never empty.
    pub addresses: Vec<Endpoint>,
    /// TCP addresses; never empty.
    pub tcp_addresses: Vec<Endpoint>,
    /// What counts as stored over TCP.
    pub ack: Ack,
    /// Where the rows of some tables go in transactions.
    pub beside: Beside,
    /// Whether some do.
    pub transacts: bool,
    /// How the bridge says who it is over HTTP.
    pub credentials: Credentials,
    /// The same over TCP.
    pub key: Option<KeyPlan>,
    /// Whom to trust.
    pub tls: TlsPlan,
    /// Compress HTTP requests.
    pub gzip: bool,
    /// 1 or 2; `None` is asked of the server.
    pub protocol: Option<u8>,
    /// Couriers for each lane.
    pub connections_per_lane: usize,
    /// How long an answer may take.
    pub request_timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// Rows of one connection before it is closed and counted back.
    pub generation_rows: u64,
    /// Age at which it is.
    pub generation_age: Duration,
    /// Rows not applied that pause a table; `u64::MAX` for no bound.
    pub apply_lag_rows_max: u64,
    /// Transactions not applied that pause a table; `u64::MAX` for no bound.
    pub apply_lag_transactions_max: u64,
}

impl QuestDbPlan {
    /// Whether rows are counted back.
    pub fn verifies(&self) -> bool {
        self.transport == Transport::Tcp && self.ack == Ack::Verify
    }

    /// Reads and checks a section.
    pub fn parse(section: &Section) -> Result<QuestDbPlan, Mistake> {
        let options: Options = kind::options(section)?;
        options.check(section)?;
        let port = if options.transport == Transport::Pg { PG_PORT } else { HTTP_PORT };
        let addresses = match &options.address {
            None => vec![Endpoint { host: "localhost".into(), port, tls: options.tls }],
            Some(list) => endpoints(section, "address", list, port, options.tls)?,
        };
        if options.transport == Transport::Pg && addresses.iter().any(|endpoint| endpoint.tls) {
            let key = if options.tls { "tls" } else { "address" };
            return Err(section.mistake(key, PG_TLS).help(PG_TLS_HELP));
        }
        let tcp_addresses = match &options.tcp_address {
            None => addresses
                .iter()
                .map(|a| Endpoint { host: a.host.clone(), port: TCP_PORT, tls: options.tls })
                .collect(),
            Some(list) => endpoints(section, "tcp_address", list, TCP_PORT, options.tls)?,
        };
        let unbounded = |n: u64| if n == 0 { u64::MAX } else { n };
        Ok(QuestDbPlan {
            beside: Beside::of(&options, &addresses, section)?,
            transacts: false,
            transport: options.transport,
            addresses,
            tcp_addresses,
            ack: options.ack.unwrap_or_default(),
            credentials: options.credentials(section)?,
            key: options.key(section)?,
            protocol: options.protocol_version(section)?,
            tls: TlsPlan { ca: options.tls_ca.clone(), verify: options.tls_verify.unwrap_or(true) },
            gzip: options.gzip,
            connections_per_lane: options.connections_per_lane.unwrap_or(1),
            request_timeout: span(
                section,
                "request_timeout",
                options.request_timeout,
                REQUEST_TIMEOUT,
            )?,
            connect_timeout: span(
                section,
                "connect_timeout",
                options.connect_timeout,
                CONNECT_TIMEOUT,
            )?,
            generation_rows: options.generation_rows.unwrap_or(300_000),
            generation_age: span(
                section,
                "generation_age",
                options.generation_age,
                GENERATION_AGE,
            )?,
            apply_lag_rows_max: unbounded(options.apply_lag_rows_max.unwrap_or(50_000_000)),
            apply_lag_transactions_max: unbounded(
                options.apply_lag_transactions_max.unwrap_or(20_000),
            ),
        })
    }
}

pub const PG_TLS: &str = "QuestDB's PostgreSQL protocol is not encrypted";
pub const PG_TLS_HELP: &str = "a tunnel of your own, or transport = \"http\" with a proxy for TLS";

impl Options {
    /// Refuses what contradicts itself.
    fn check(&self, section: &Section) -> Result<(), Mistake> {
        let tcp = self.transport == Transport::Tcp;
        let only_tcp = [
            ("ack", self.ack.is_some()),
            ("tcp_address", self.tcp_address.is_some()),
            ("generation_rows", self.generation_rows.is_some()),
            ("generation_age", self.generation_age.is_some()),
            ("auth_key_id", self.auth_key_id.is_some()),
        ];
        for (key, given) in only_tcp {
            if given && !tcp {
                let message = format!("`{key}` needs `transport = \"tcp\"`");
                return Err(section.mistake(key, message));
            }
        }
        let pg = self.transport == Transport::Pg;
        let not_pg = [
            ("token", self.token.is_some()),
            ("token_file", self.token_file.is_some()),
            ("gzip", self.gzip),
            ("protocol", self.protocol.is_some()),
            ("tls_ca", self.tls_ca.is_some()),
            ("tls_verify", self.tls_verify.is_some()),
        ];
        if let Some((key, _)) = not_pg.into_iter().find(|(_, given)| pg && *given) {
            let message = format!("`{key}` is nothing to `transport = \"pg\"`; leave it out");
            return Err(section.mistake(key, message));
        }
        if self.generation_rows == Some(0) {
            return Err(section.mistake("generation_rows", "a generation has at least one row"));
        }
        match self.connections_per_lane {
            Some(n) if n == 0 || n > 16 => {
                let message = "1 to 16 connections for each lane: more make the server slower";
                Err(section.mistake("connections_per_lane", message))
            }
            _ => Ok(()),
        }
    }

    fn credentials(&self, section: &Section) -> Result<Credentials, Mistake> {
        let password =
            held(section, "password", self.password.as_ref(), self.password_file.as_ref())?;
        let token = held(section, "token", self.token.as_ref(), self.token_file.as_ref())?;
        match (&self.username, password, token) {
            (None, None, None) if self.transport == Transport::Pg => {
                let password = Held::Here(Secret(PG_USER.1.into()));
                Ok(Credentials::Basic(PG_USER.0.into(), password))
            }
            (None, Some(password), None) if self.transport == Transport::Pg => {
                Ok(Credentials::Basic(PG_USER.0.into(), password))
            }
            (None, None, None) => Ok(Credentials::None),
            (None, None, Some(token)) => Ok(Credentials::Bearer(token)),
            (Some(user), Some(password), None) => Ok(Credentials::Basic(user.clone(), password)),
            (_, _, Some(_)) => {
                Err(section.mistake("token", "a token, or user and password, not both"))
            }
            (Some(_), None, None) => {
                Err(section.mistake("username", "`username` needs `password` or `password_file`"))
            }
            (None, Some(_), None) => {
                Err(section.mistake("password", "`password` needs `username`"))
            }
        }
    }

    fn key(&self, section: &Section) -> Result<Option<KeyPlan>, Mistake> {
        let (short, file) = (self.auth_private_key.as_ref(), self.auth_private_key_file.as_ref());
        let private = held(section, "auth_private_key", short, file)?;
        match (&self.auth_key_id, private, &self.auth_public_key_x, &self.auth_public_key_y) {
            (None, None, None, None) => Ok(None),
            (Some(id), Some(private), Some(x), Some(y)) => Ok(Some(KeyPlan {
                id: id.clone(),
                private,
                public_x: x.clone(),
                public_y: y.clone(),
            })),
            _ => Err(section.mistake(
                "auth_key_id",
                "a key is `auth_key_id`, `auth_private_key`, `auth_public_key_x` and `auth_public_key_y` together",
            )),
        }
    }

    fn protocol_version(&self, section: &Section) -> Result<Option<u8>, Mistake> {
        match &self.protocol {
            None => Ok(None),
            Some(Protocol::Word(word)) if word == "auto" => Ok(None),
            Some(Protocol::Number(version @ (1 | 2))) => Ok(Some(*version)),
            Some(_) => Err(section.mistake("protocol", "`protocol` is \"auto\", 1 or 2")),
        }
    }
}

/// A secret as written, or its file; not both.
pub fn held(
    section: &Section,
    key: &str,
    here: Option<&Secret>,
    file: Option<&PathBuf>,
) -> Result<Option<Held>, Mistake> {
    match (here, file) {
        (None, None) => Ok(None),
        (Some(secret), None) => Ok(Some(Held::Here(secret.clone()))),
        (None, Some(file)) => Ok(Some(Held::File(file.clone()))),
        (Some(_), Some(_)) => {
            Err(section.mistake(key, format!("`{key}` or `{key}_file`, not both")))
        }
    }
}

/// A duration as said, or its default; nothing waits for no time at all.
pub fn span(
    section: &Section,
    key: &str,
    said: Option<Span>,
    default: Duration,
) -> Result<Duration, Mistake> {
    match said {
        None => Ok(default),
        Some(Span(Duration::ZERO)) => Err(section.mistake(key, "a duration above zero")),
        Some(Span(duration)) => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(toml: &str) -> Result<QuestDbPlan, Mistake> {
        QuestDbPlan::parse(&Section::new("sink", toml.parse().expect("it is TOML")))
    }

    #[test]
    fn nothing_said_means_http_on_this_host() {
        let plan = parse("kind = \"questdb\"").expect("all has defaults");
        assert_eq!(plan.transport, Transport::Http);
        assert_eq!(plan.addresses[0].to_string(), "localhost:9000");
        assert_eq!(plan.tcp_addresses[0].to_string(), "localhost:9009");
        assert!(!plan.verifies());
    }

    #[test]
    fn tcp_takes_the_hosts_of_http() {
        let plan =
            parse("transport = \"tcp\"\naddress = [\"a:1\", \"https://b:2\"]").expect("fine");
        let shown: Vec<String> = plan.tcp_addresses.iter().map(Endpoint::to_string).collect();
        assert_eq!(shown, ["a:9009", "b:9009"]);
        assert!(plan.verifies() && !plan.tcp_addresses[1].tls && plan.addresses[1].tls);
        let plan = parse("transport = \"tcp\"\nack = \"none\"").expect("fine");
        assert!(!plan.verifies());
    }

    #[test]
    fn the_postgresql_protocol_has_its_own_port_and_user() {
        let plan = parse("transport = \"pg\"").expect("all has defaults");
        assert_eq!(plan.addresses[0].to_string(), "localhost:8812");
        let held = |text: &str| Held::Here(Secret(text.into()));
        assert_eq!(plan.credentials, Credentials::Basic("admin".into(), held("quest")));
        let plan = parse("transport = \"pg\"\npassword = \"p\"").expect("the user has a default");
        assert_eq!(plan.credentials, Credentials::Basic("admin".into(), held("p")));
        let plan = parse("transport = \"pg\"\nusername = \"u\"\npassword = \"p\"").expect("fine");
        assert_eq!(plan.credentials, Credentials::Basic("u".into(), held("p")));
    }

    #[test]
    fn contradictions_name_their_key() {
        let check = |toml: &str, key: &str| {
            let mistake = parse(toml).expect_err(toml);
            assert!(mistake.path.ends_with(key), "{toml}: {mistake:?}");
        };
        check("ack = \"none\"", "ack");
        check("username = \"u\"", "username");
        check("password = \"p\"", "password");
        check("token = \"t\"\nusername = \"u\"\npassword = \"p\"", "token");
        check("token = \"t\"\ntoken_file = \"f\"", "token");
        check("protocol = 3", "protocol");
        check("connections_per_lane = 0", "connections_per_lane");
        check("request_timeout = \"soon\"", "request_timeout");
        check("transport = \"tcp\"\nauth_key_id = \"k\"", "auth_key_id");
        check("address = []", "address");
        check("adress = \"x\"", "sink");
        check("transport = \"pg\"\ntoken = \"t\"", "token");
        check("transport = \"pg\"\ntls = true", "tls");
        check("transport = \"pg\"\naddress = \"https://db\"", "address");
        check("transport = \"pg\"\ngzip = true", "gzip");
        check("transport = \"pg\"\nack = \"none\"", "ack");
    }

    #[test]
    fn secrets_do_not_show() {
        let plan = parse("username = \"u\"\npassword = \"hunter2\"").expect("fine");
        assert!(!format!("{plan:?}").contains("hunter2"));
    }
}
