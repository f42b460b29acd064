//! What is said of a service that gives tokens, and the plan it becomes.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Address;
use crate::config::{Mistake, Section};
use crate::sink::questdb::options::{Held, Secret, held};

/// OAuth 2.0, client credentials.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Oauth")]
pub struct OauthOptions {
    /// Where tokens are given.
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
}

/// Whom to ask for a token, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OauthPlan {
    /// Where tokens are given.
    pub token_url: Address,
    /// The client's id.
    pub client_id: String,
    /// The client's secret.
    pub client_secret: Held,
    /// What the token is to be good for.
    pub scope: Option<String>,
    /// For whom it is to be good.
    pub audience: Option<String>,
    /// The section whose keys say all this, for messages: `registry.oauth`.
    pub section: &'static str,
}

/// Where the options stand.
#[derive(Clone, Copy, Debug)]
pub struct OauthKeys<'a> {
    /// Within their section.
    pub at: &'a str,
    /// For messages while the bridge runs.
    pub shown: &'static str,
}

impl OauthOptions {
    /// Checks what was said.
    pub fn plan(&self, section: &Section, keys: &OauthKeys<'_>) -> Result<OauthPlan, Mistake> {
        let key = keys.at;
        let at = |name: &str| format!("{key}.{name}");
        let needs = |name: &str| {
            let message = format!("`{key}` needs `{name}`");
            section.mistake(key, message).help("token_url, client_id and client_secret")
        };
        let secret = at("client_secret");
        let file = self.client_secret_file.as_ref();
        let secret = held(section, &secret, self.client_secret.as_ref(), file)?;
        let url = self.token_url.as_ref().ok_or_else(|| needs("token_url"))?;
        let token_url = Address::parse(url).filter(|address| address.user.is_none());
        let token_url = token_url.ok_or_else(|| {
            let mistake = section.mistake(&at("token_url"), "this is no address of tokens");
            mistake.help("such as \"https://login.example/oauth2/token\"")
        })?;
        Ok(OauthPlan {
            token_url,
            client_id: self.client_id.clone().ok_or_else(|| needs("client_id"))?,
            client_secret: secret.ok_or_else(|| needs("client_secret"))?,
            scope: self.scope.clone(),
            audience: self.audience.clone(),
            section: keys.shown,
        })
    }
}
