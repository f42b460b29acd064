//! The registry's REST API, as far as reading schemas goes: `GET /schemas/ids/{id}` and
//! `GET /subjects/{subject}/versions/{version}` (Confluent, "Schema Registry API Reference"). What
//! is posted there is `writing`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use serde::Deserialize;

use super::options::{Credentials, RegistryPlan};
use super::{Referred, Registered, Version, Wanted};
use crate::blame::Fault;
use crate::door::{self, Address, Ask, Body, Door, Tokens, escaped, header};
use crate::limits::MIB;
use crate::sink::questdb::options::Held;
use crate::sink::questdb::server::reveal;

/// Schemas that one may refer to, those of others included.
const REFERENCES_MAX: usize = 200;
/// What these have together.
const REFERENCES_BYTES_MAX: usize = 16 * MIB;

/// The kind of a schema that says none.
const AVRO: &str = "AVRO";
/// Of what the registry says of two schemas that do not go together.
const SAID_MAX: usize = 1_000;
/// What to do then.
const INCOMPATIBLE: &str = "declare the column under `columns` as the older schema has it, leave it \
                            out (`drop` of the table), write another `subject`, or write what is \
                            there: schema_version = \"latest\"";

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

impl From<door::Failed> for Failed {
    fn from(failed: door::Failed) -> Failed {
        match failed {
            door::Failed::Away(why) => Failed::Away(why),
            door::Failed::Stop(fault) => Failed::Stop(fault),
        }
    }
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
    Basic(HeaderValue),
    Bearer(HeaderValue),
    Tokens(Box<Tokens>),
}

impl Identity {
    /// The keys to change where the registry lets nobody in; `to` is who was asked.
    fn keys(&self, to: &Address) -> &'static str {
        match self {
            Identity::Address if to.user.is_some() => {
                "user and password in `registry.url`, as user:password@"
            }
            Identity::Address => {
                "`registry.username` and `registry.password`, `registry.token` or `registry.oauth`"
            }
            Identity::Basic(_) => "`registry.username` and `registry.password`",
            Identity::Bearer(_) => "`registry.token`",
            Identity::Tokens(_) => "`registry.oauth`, or what that client may do",
        }
    }
}

/// A schema, as both requests answer it.
#[derive(Deserialize)]
struct Answer {
    schema: String,
    #[serde(rename = "schemaType")]
    kind: Option<String>,
    references: Option<Vec<Reference>>,
    /// Only where a version was asked for.
    version: Option<u32>,
}

/// A version of a subject, for people.
pub struct Described {
    pub version: Option<u32>,
    pub kind: String,
    /// How many schemas it refers to.
    pub references: usize,
}

impl Described {
    /// `version 4, AVRO, refers to 2`.
    pub fn in_words(&self) -> String {
        let version = self.version.map(|version| format!("version {version}, "));
        let refers = match self.references {
            0 => String::new(),
            count => format!(", refers to {count}"),
        };
        format!("{}{}{refers}", version.unwrap_or_default(), self.kind)
    }
}

/// A schema that another one refers to.
#[derive(Deserialize)]
struct Reference {
    name: Option<String>,
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
        let identity = match &plan.credentials {
            Credentials::Address => Identity::Address,
            Credentials::Basic(user, password) => Identity::Basic(basic(user, password)?),
            Credentials::Bearer(token) => {
                let token = reveal(token, "registry.token_file")?;
                Identity::Bearer(header(format!("Bearer {token}"))?)
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
            door: Door::new(&plan.terms, tls)?,
            identity,
        })
    }

    /// A schema, and all that it refers to.
    pub(super) async fn schema(&self, wanted: &Wanted) -> Result<Registered, Failed> {
        let path = match wanted {
            Wanted::Id(id) => format!("/schemas/ids/{id}"),
            Wanted::Version { subject, version, .. } => path_of(subject, &version.to_string()),
        };
        let Answer { schema, kind, references, .. } = self.answer(&path).await?;
        let references = self.references(references.unwrap_or_default()).await?;
        let kind = kind.unwrap_or_else(|| AVRO.to_owned());
        Ok(Registered { kind, text: schema, references })
    }

    /// The kinds of schemas that it has.
    pub async fn kinds(&self) -> Result<Vec<String>, Failed> {
        let path = "/schemas/types";
        let body = self.send(path, None).await?;
        serde_json::from_slice(&body)
            .map_err(|_| Failed::Away(format!("the answer to {path} holds no kinds of schemas")))
    }

    /// A version of a subject, without what it refers to.
    pub async fn described(&self, subject: &str, version: Version) -> Result<Described, Failed> {
        let path = path_of(subject, &version.to_string());
        let Answer { kind, references, version, .. } = self.answer(&path).await?;
        let kind = kind.unwrap_or_else(|| AVRO.to_owned());
        let references = references.map_or(0, |references| references.len());
        Ok(Described { version, kind, references })
    }

    /// What is referred to, each once, and after what it refers to itself.
    async fn references(&self, first: Vec<Reference>) -> Result<Vec<Referred>, Failed> {
        enum Step {
            Fetch(Reference),
            Keep(usize, String),
        }
        let mut steps: Vec<Step> = first.into_iter().rev().map(Step::Fetch).collect();
        // What each is called, in the order in which they were met; several names may be for one.
        let (mut met, mut names, mut texts) = (HashMap::new(), Vec::new(), Vec::new());
        let mut bytes = 0;
        while let Some(step) = steps.pop() {
            let Reference { name, subject, version } = match step {
                Step::Keep(index, text) => {
                    texts.push((index, text));
                    continue;
                }
                Step::Fetch(reference) => reference,
            };
            let name = name.unwrap_or_default();
            let path = path_of(&subject, &version.to_string());
            let next = names.len();
            let index = *met.entry((subject, version)).or_insert(next);
            if index < next {
                let known: &mut Vec<String> = &mut names[index];
                if known.len() < REFERENCES_MAX && !known.contains(&name) {
                    known.push(name);
                }
                continue;
            }
            if index >= REFERENCES_MAX {
                let why = format!("it refers to more than {REFERENCES_MAX} schemas");
                return Err(Failed::Unknown(why));
            }
            names.push(vec![name]);
            let answer = self.answer(&path).await?;
            bytes += answer.schema.len();
            if bytes > REFERENCES_BYTES_MAX {
                let why = format!("it refers to more than {REFERENCES_BYTES_MAX} bytes of schemas");
                return Err(Failed::Unknown(why));
            }
            steps.push(Step::Keep(index, answer.schema));
            let inner = answer.references.unwrap_or_default();
            steps.extend(inner.into_iter().rev().map(Step::Fetch));
        }
        let whole = |(index, text): (usize, String)| Referred {
            names: std::mem::take(&mut names[index]),
            text,
        };
        Ok(texts.into_iter().map(whole).collect())
    }

    async fn answer(&self, path: &str) -> Result<Answer, Failed> {
        let body = self.send(path, None).await?;
        serde_json::from_slice(&body)
            .map_err(|_| Failed::Away(format!("the answer to {path} holds no schema")))
    }

    /// Asks, or posts.
    pub(super) async fn send(&self, path: &str, body: Option<Body>) -> Result<Bytes, Failed> {
        let first = self.ask(path, body.clone()).await;
        match (&first, &self.identity) {
            // A token may end before its time.
            (Err(Failed::Stop(_)), Identity::Tokens(tokens)) if tokens.forget() => {
                self.ask(path, body).await
            }
            _ => first,
        }
    }

    async fn ask(&self, path: &str, body: Option<Body>) -> Result<Bytes, Failed> {
        let current = self.current.load(Ordering::Relaxed) % self.addresses.len();
        let to = &self.addresses[current];
        let authorization = match &self.identity {
            Identity::Basic(header) | Identity::Bearer(header) => Some(header.clone()),
            Identity::Tokens(tokens) => Some(tokens.get(&self.door).await?),
            Identity::Address => match &to.user {
                Some((user, password)) => {
                    let header = basic(user, &Held::Here(password.clone()));
                    Some(header.map_err(Failed::Stop)?)
                }
                None => None,
            },
        };
        let answer =
            self.door.ask(Ask { to, path, authorization, body, headers: Vec::new() }).await;
        let judged = match answer {
            Ok((status, body)) => judge(status, body, (to, path), self.identity.keys(to)),
            Err(why) => Err(Failed::Away(why)),
        };
        if let Err(Failed::Away(_)) = &judged {
            self.current.store(current + 1, Ordering::Relaxed);
        }
        judged
    }
}

/// Who must act on an answer. `keys` say who the bridge is.
fn judge(
    status: StatusCode,
    body: Bytes,
    (to, path): (&Address, &str),
    keys: &str,
) -> Result<Bytes, Failed> {
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
            Err(Failed::Stop(Fault::operator(message).hint(format!("set {keys}"))))
        }
        409 => {
            let Error { message, .. } = error();
            let message: String = message.chars().take(SAID_MAX).collect();
            let message = format!("{}: the registry refuses the schema: {message}", asked());
            Err(Failed::Stop(Fault::operator(message.trim_end()).hint(INCOMPATIBLE)))
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

pub(super) fn path_of(subject: &str, version: &str) -> String {
    format!("/subjects/{}/versions/{version}", escaped(subject))
}

fn basic(user: &str, password: &Held) -> Result<HeaderValue, Fault> {
    let password = reveal(password, "registry.password_file")?;
    header(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}
