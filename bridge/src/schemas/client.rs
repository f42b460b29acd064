//! The registry's REST API, as far as reading schemas goes: `GET /schemas/ids/{id}` and
//! `GET /subjects/{subject}/versions/{version}` (Confluent, "Schema Registry API Reference").

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use serde::Deserialize;

use super::address::{Address, escaped};
use super::door::{Ask, Door};
use super::options::{Credentials, RegistryPlan};
use super::token::Tokens;
use super::{Registered, Wanted};
use crate::blame::Fault;
use crate::sink::questdb::options::Held;
use crate::sink::questdb::server::reveal;

/// Schemas that one may refer to, those of others included.
const REFERENCES_MAX: usize = 200;

/// Why there is no answer.
#[derive(Debug)]
pub enum Failed {
    /// Not now.
    Away(String),
    /// The registry does not have it.
    Unknown(String),
    /// A person has to change something.
    Stop(Fault),
}

/// Asks a registry.
pub struct Client {
    addresses: Vec<Address>,
    /// The address that answered last.
    current: AtomicUsize,
    door: Door,
    identity: Identity,
}

enum Identity {
    /// The address's own, if it has one.
    Address,
    Header(HeaderValue),
    Tokens(Box<Tokens>),
}

/// A schema, as both requests answer it.
#[derive(Deserialize)]
struct Answer {
    schema: String,
    #[serde(rename = "schemaType")]
    kind: Option<String>,
    references: Option<Vec<Reference>>,
}

/// A schema that another one refers to.
#[derive(Deserialize)]
struct Reference {
    subject: String,
    version: u32,
}

/// What the registry says of an error.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Error {
    error_code: u32,
    message: String,
}

impl Client {
    /// Reads secrets and authorities; connects to nothing.
    pub fn new(plan: &RegistryPlan) -> Result<Client, Fault> {
        let wrong = |failed: Failed| match failed {
            Failed::Stop(fault) => fault,
            Failed::Away(why) | Failed::Unknown(why) => Fault::us(why),
        };
        let identity = match &plan.credentials {
            Credentials::Address => Identity::Address,
            Credentials::Basic(user, password) => {
                Identity::Header(basic(user, password).map_err(wrong)?)
            }
            Credentials::Bearer(token) => {
                let token = reveal(token, "registry.token_file")?;
                Identity::Header(header(format!("Bearer {token}")).map_err(wrong)?)
            }
            Credentials::Oauth(oauth) => Identity::Tokens(Box::new(Tokens::new(oauth.clone()))),
        };
        let tokens = match &plan.credentials {
            Credentials::Oauth(oauth) => Some(&oauth.token_url),
            _ => None,
        };
        let tls = plan.addresses.iter().chain(tokens).any(|address| address.endpoint.tls);
        Ok(Client {
            addresses: plan.addresses.clone(),
            current: AtomicUsize::new(0),
            door: Door::new(plan, tls)?,
            identity,
        })
    }

    /// A schema, and all that it refers to.
    pub(super) async fn schema(&self, wanted: &Wanted) -> Result<Registered, Failed> {
        let path = match wanted {
            Wanted::Id(id) => format!("/schemas/ids/{id}"),
            Wanted::Version { subject, version, .. } => path_of(subject, &version.to_string()),
        };
        let Answer { schema, kind, references } = self.answer(&path).await?;
        let references = self.references(references.unwrap_or_default()).await?;
        let kind = kind.unwrap_or_else(|| "AVRO".to_owned());
        Ok(Registered { kind, text: schema, references })
    }

    /// What is referred to, each once, and after what it refers to itself.
    async fn references(&self, first: Vec<Reference>) -> Result<Vec<String>, Failed> {
        enum Step {
            Fetch(Reference),
            Keep(String),
        }
        let mut steps: Vec<Step> = first.into_iter().rev().map(Step::Fetch).collect();
        let (mut seen, mut texts) = (HashSet::new(), Vec::new());
        while let Some(step) = steps.pop() {
            let Reference { subject, version } = match step {
                Step::Keep(text) => {
                    texts.push(text);
                    continue;
                }
                Step::Fetch(reference) => reference,
            };
            let path = path_of(&subject, &version.to_string());
            if !seen.insert((subject, version)) {
                continue;
            }
            if seen.len() > REFERENCES_MAX {
                let why = format!("it refers to more than {REFERENCES_MAX} schemas");
                return Err(Failed::Unknown(why));
            }
            let answer = self.answer(&path).await?;
            steps.push(Step::Keep(answer.schema));
            let inner = answer.references.unwrap_or_default();
            steps.extend(inner.into_iter().rev().map(Step::Fetch));
        }
        Ok(texts)
    }

    async fn answer(&self, path: &str) -> Result<Answer, Failed> {
        let body = self.get(path).await?;
        serde_json::from_slice(&body)
            .map_err(|_| Failed::Away(format!("the answer to {path} holds no schema")))
    }

    async fn get(&self, path: &str) -> Result<Bytes, Failed> {
        let first = self.ask(path).await;
        match (&first, &self.identity) {
            // A token may end before its time.
            (Err(Failed::Stop(_)), Identity::Tokens(tokens)) if tokens.forget() => {
                self.ask(path).await
            }
            _ => first,
        }
    }

    async fn ask(&self, path: &str) -> Result<Bytes, Failed> {
        let current = self.current.load(Ordering::Relaxed) % self.addresses.len();
        let to = &self.addresses[current];
        let authorization = match &self.identity {
            Identity::Header(header) => Some(header.clone()),
            Identity::Tokens(tokens) => Some(tokens.get(&self.door).await?),
            Identity::Address => match &to.user {
                Some((user, password)) => Some(basic(user, &Held::Here(password.clone()))?),
                None => None,
            },
        };
        let answer = self.door.ask(Ask { to, path, authorization, form: None }).await;
        let judged = match answer {
            Ok((status, body)) => judge(status, body, to, path),
            Err(why) => Err(Failed::Away(why)),
        };
        if let Err(Failed::Away(_)) = &judged {
            self.current.store(current + 1, Ordering::Relaxed);
        }
        judged
    }
}

/// Who must act on an answer.
fn judge(status: StatusCode, body: Bytes, to: &Address, path: &str) -> Result<Bytes, Failed> {
    let error = || serde_json::from_slice::<Error>(&body).unwrap_or_default();
    let asked = || format!("asking the registry {to} for {path}");
    match status.as_u16() {
        200 => Ok(body),
        404 => match error() {
            Error { error_code: 40_400..=40_499, message } => {
                let message: String = message.chars().take(200).collect();
                Err(Failed::Unknown(format!("the registry says: {message}")))
            }
            _ => {
                let message = format!("{}: it answers {status}, and not as a registry", asked());
                let hint = "set `registry.url` to the registry, with the path of its API if it \
                            has one";
                Err(Failed::Stop(Fault::operator(message).hint(hint)))
            }
        },
        401 | 403 => {
            let message = format!("{}: it answers {status}", asked());
            let hint = "set `registry.username` and `registry.password`, `registry.token` or \
                        `registry.oauth`";
            Err(Failed::Stop(Fault::operator(message).hint(hint)))
        }
        408 | 429 | 500..=599 => Err(Failed::Away(format!("it answers {status}"))),
        _ => {
            let Error { message, .. } = error();
            let message: String = message.chars().take(200).collect();
            let message = format!("{}: it answers {status} {message}", asked());
            let hint = "set `registry.url`, or `subject` and `schema_version`";
            Err(Failed::Stop(Fault::operator(message.trim_end()).hint(hint)))
        }
    }
}

fn path_of(subject: &str, version: &str) -> String {
    format!("/subjects/{}/versions/{version}", escaped(subject))
}

fn basic(user: &str, password: &Held) -> Result<HeaderValue, Failed> {
    let password = reveal(password, "registry.password_file").map_err(Failed::Stop)?;
    header(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

/// A header that is never shown.
pub(super) fn header(text: String) -> Result<HeaderValue, Failed> {
    let mut value = HeaderValue::try_from(text).map_err(|_| {
        let message = "the registry's token has characters that cannot stand in a header";
        Failed::Stop(Fault::operator(message))
    })?;
    value.set_sensitive(true);
    Ok(value)
}
