//! What `registry` of a format may say, and the plan it becomes: checked, with every default
//! filled in. Secrets never show.

use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::units::Span;
use crate::config::{Mistake, Section};
use crate::door::{Address, OauthKeys, OauthOptions, OauthPlan, Terms};
use crate::sink::questdb::options::{Held, Secret, held, span};
use crate::sink::questdb::tls::TlsPlan;

/// Longer than a registry that is well takes, its connection included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// One address, or several: any of them may hold a password.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Addresses {
    One(Secret),
    Several(Vec<Secret>),
}

/// A schema registry that speaks Confluent's REST API.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Registry")]
pub struct RegistryOptions {
    /// Its address, `http(s)://[user:password@]host[:port][/path]`; a list for failover.
    url: Option<Addresses>,
    /// User of HTTP basic authentication.
    username: Option<String>,
    /// Its password.
    password: Option<Secret>,
    /// A file that holds the password, relative to the configuration file.
    password_file: Option<PathBuf>,
    /// Bearer token.
    token: Option<Secret>,
    /// A file that holds the token, relative to the configuration file.
    token_file: Option<PathBuf>,
    /// A bearer token that a token service gives for the client's credentials (OAuth 2.0).
    oauth: Option<OauthOptions>,
    /// Certificate authorities in PEM, in place of the web's, relative to the configuration file.
    tls_ca: Option<PathBuf>,
    /// The bridge's own certificate in PEM, for registries that want one, relative to the
    /// configuration file.
    tls_cert: Option<PathBuf>,
    /// Its private key.
    tls_key: Option<PathBuf>,
    /// `false` takes any certificate: for tests only.
    tls_verify: Option<bool>,
    /// How long an answer may take before it is asked for again; default `"10s"`.
    request_timeout: Option<Span>,
}

/// How the bridge says who it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Credentials {
    /// As the address says, if it does.
    #[default]
    Address,
    /// User and password.
    Basic(String, Held),
    /// A token.
    Bearer(Held),
    /// A token that is asked for.
    Oauth(OauthPlan),
}

/// A registry as configured, with every default filled in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegistryPlan {
    /// Never empty.
    pub addresses: Vec<Address>,
    /// Who the bridge is.
    pub credentials: Credentials,
    /// Whom to trust, and who the bridge is by its certificate.
    pub terms: Terms,
}

impl RegistryPlan {
    /// For people.
    pub fn shown(&self) -> String {
        let shown: Vec<String> = self.addresses.iter().map(Address::to_string).collect();
        shown.join(", ")
    }

    /// The same with who the bridge is there, and whom it trusts; no secret.
    pub fn in_words(&self) -> String {
        let mut words = self.shown();
        match &self.credentials {
            Credentials::Address => {
                let user = self.addresses.iter().find_map(|address| address.user.as_ref());
                words.extend(user.map(|(name, _)| format!(", as {name}")));
            }
            Credentials::Basic(user, _) => words.push_str(&format!(", as {user}")),
            Credentials::Bearer(_) => words.push_str(", with a token"),
            Credentials::Oauth(OauthPlan { token_url, client_id, .. }) => {
                words.push_str(&format!(", with tokens of {token_url} for {client_id}"));
            }
        }
        if let Some((cert, _)) = &self.terms.identity {
            words.push_str(&format!(", by the certificate {}", cert.display()));
        }
        match &self.terms.tls {
            TlsPlan { verify: false, .. } => words.push_str(", its certificate not checked"),
            TlsPlan { ca: Some(ca), .. } => {
                words.push_str(&format!(", trusted by {}", ca.display()));
            }
            TlsPlan { .. } => {}
        }
        words
    }

    /// Every path of a file starts from `base`; one that is absolute stays as it is.
    pub fn rebase(&mut self, base: &Path) {
        let secret = match &mut self.credentials {
            Credentials::Address => None,
            Credentials::Basic(_, held) | Credentials::Bearer(held) => Some(held),
            Credentials::Oauth(oauth) => Some(&mut oauth.client_secret),
        };
        let secret = secret.and_then(|held| match held {
            Held::File(path) => Some(path),
            Held::Here(_) => None,
        });
        let identity = self.terms.identity.iter_mut().flat_map(|(cert, key)| [cert, key]);
        for path in identity.chain(secret).chain(&mut self.terms.tls.ca) {
            *path = base.join(&*path);
        }
    }
}

impl RegistryOptions {
    /// Checks what was said at `key` of a section.
    pub fn plan(&self, section: &Section, key: &str) -> Result<RegistryPlan, Mistake> {
        let at = |name: &str| format!("{key}.{name}");
        let urls = match &self.url {
            None => &[][..],
            Some(Addresses::One(one)) => std::slice::from_ref(one),
            Some(Addresses::Several(several)) => several,
        };
        if urls.is_empty() {
            let mistake = section.mistake(key, "a registry needs its address");
            return Err(mistake.help(format!("{key}.url = \"http://localhost:8081\"")));
        }
        let address = |url: &Secret| Address::parse(&url.0);
        let addresses = urls.iter().map(address).collect::<Option<Vec<_>>>().ok_or_else(|| {
            // What it says may be a password.
            let mistake = section.mistake(&at("url"), "this is no address of a registry");
            mistake.help("such as \"http://localhost:8081\"")
        })?;
        let identity = match (&self.tls_cert, &self.tls_key) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
            _ => {
                let message = "a certificate needs its key, and a key its certificate";
                let key = if self.tls_cert.is_some() { "tls_cert" } else { "tls_key" };
                return Err(section.mistake(&at(key), message).help("tls_cert and tls_key"));
            }
        };
        let timeout = at("request_timeout");
        let terms = Terms {
            tls: TlsPlan { ca: self.tls_ca.clone(), verify: self.tls_verify.unwrap_or(true) },
            identity,
            request_timeout: span(section, &timeout, self.request_timeout, REQUEST_TIMEOUT)?,
            section: "registry",
        };
        Ok(RegistryPlan { addresses, credentials: self.credentials(section, key)?, terms })
    }

    fn credentials(&self, section: &Section, key: &str) -> Result<Credentials, Mistake> {
        let at = |name: &str| format!("{key}.{name}");
        let (password, token) = (at("password"), at("token"));
        let password =
            held(section, &password, self.password.as_ref(), self.password_file.as_ref())?;
        let token = held(section, &token, self.token.as_ref(), self.token_file.as_ref())?;
        let oauth = self.oauth.as_ref().map(|oauth| {
            let keys = OauthKeys { at: &at("oauth"), shown: "registry.oauth" };
            oauth.plan(section, &keys)
        });
        match (&self.username, password, token, oauth.transpose()?) {
            (None, None, None, None) => Ok(Credentials::Address),
            (Some(user), Some(password), None, None) => {
                Ok(Credentials::Basic(user.clone(), password))
            }
            (None, None, Some(token), None) => Ok(Credentials::Bearer(token)),
            (None, None, None, Some(oauth)) => Ok(Credentials::Oauth(oauth)),
            (Some(_), None, None, None) => {
                Err(section.mistake(&at("username"), "a user needs a `password`"))
            }
            (None, Some(_), None, None) => {
                Err(section.mistake(&at("password"), "a password needs a `username`"))
            }
            _ => {
                let message = "`username` and `password`, `token` or `oauth`: one of these";
                Err(section.mistake(key, message))
            }
        }
    }
}
