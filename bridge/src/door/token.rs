//! A token for the client's credentials (RFC 6749, 4.4), asked for, and kept until shortly before
//! it ends.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use serde::Deserialize;

use super::{Ask, Body, Door, Failed, OauthPlan, escaped, header};
use crate::blame::Fault;
use crate::sink::questdb::options::Secret;
use crate::sink::questdb::server::reveal;

/// A token is asked for again so long before it ends.
const EARLY: Duration = Duration::from_secs(30);
/// What a token is good for where the service does not say.
const LIFE: Duration = Duration::from_secs(300);
/// No token is believed to last longer: a day.
const LIFE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The last token, for those who send it with every request.
pub struct Tokens {
    plan: OauthPlan,
    kept: Mutex<Option<(HeaderValue, Instant)>>,
}

/// A token that was given.
#[derive(Clone, Debug)]
pub struct Given {
    /// The token.
    pub token: Secret,
    /// What it is good for.
    pub life: Duration,
}

/// The answer of a token service (RFC 6749, 5.1).
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: Option<u64>,
}

impl OauthPlan {
    /// Asks for a token.
    pub async fn ask(&self, door: &Door) -> Result<Given, Failed> {
        let section = self.section;
        let secret = reveal(&self.client_secret, &format!("{section}.client_secret_file"));
        let secret = secret.map_err(Failed::Stop)?;
        let pair = format!("{}:{}", escaped(&self.client_id), escaped(&secret));
        let authorization = header(format!("Basic {}", STANDARD.encode(pair)));
        let authorization = Some(authorization.map_err(Failed::Stop)?);
        let mut form = "grant_type=client_credentials".to_owned();
        for (name, value) in [("scope", &self.scope), ("audience", &self.audience)] {
            if let Some(value) = value {
                form.push_str(&format!("&{name}={}", escaped(value)));
            }
        }
        let to = &self.token_url;
        let body = Some(Body::Form(form));
        let ask = Ask { to, path: "", authorization, body, headers: Vec::new() };
        let (status, body) = door
            .ask(ask)
            .await
            .map_err(|why| Failed::Away(format!("asking {to} for a token: {why}")))?;
        match status {
            StatusCode::OK => {}
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let message = format!("asking {to} for a token: it answers {status}");
                let hint =
                    format!("set `{section}`: token_url, client_id, client_secret and scope");
                return Err(Failed::Stop(Fault::operator(message).hint(hint)));
            }
            status => {
                return Err(Failed::Away(format!("asking {to} for a token: it answers {status}")));
            }
        }
        let none = || Failed::Away(format!("asking {to} for a token: its answer holds none"));
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| none())?;
        if answer.access_token.is_empty() {
            return Err(none());
        }
        // Whoever is given such a one would tell it to the log, with what is wrong with it.
        if !answer.access_token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message = format!(
                "asking {to} for a token: the one that it gives has characters that cannot stand \
                 in a header"
            );
            return Err(Failed::Stop(Fault::operator(message).hint(format!("set `{section}`"))));
        }
        let life = answer.expires_in.map_or(LIFE, Duration::from_secs).min(LIFE_MAX);
        Ok(Given { token: Secret(answer.access_token), life })
    }
}

impl Tokens {
    /// None yet.
    pub fn new(plan: OauthPlan) -> Tokens {
        Tokens { plan, kept: Mutex::new(None) }
    }

    /// The one at hand is of no use.
    pub fn forget(&self) -> bool {
        self.kept.lock().expect("no one panics with it").take().is_some()
    }

    /// One that can be used.
    pub async fn get(&self, door: &Door) -> Result<HeaderValue, Failed> {
        let kept = self.kept.lock().expect("no one panics with it").clone();
        if let Some((token, until)) = kept
            && Instant::now() < until
        {
            return Ok(token);
        }
        let Given { token, life } = self.plan.ask(door).await?;
        let token = header(format!("Bearer {}", token.0)).map_err(Failed::Stop)?;
        let until = Instant::now() + life.saturating_sub(EARLY).max(life / 2);
        let mut kept = self.kept.lock().expect("no one panics with it");
        *kept = Some((token.clone(), until));
        Ok(token)
    }
}
