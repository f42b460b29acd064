//! A bearer token for the client's credentials (RFC 6749, 4.4), kept until shortly before it ends.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use serde::Deserialize;

use super::address::escaped;
use super::client::{Failed, header};
use super::door::{Ask, Door};
use super::options::OauthPlan;
use crate::blame::Fault;
use crate::sink::questdb::server::reveal;

/// A token is asked for again so long before it ends.
const EARLY: Duration = Duration::from_secs(30);
/// What a token is good for where the service does not say.
const LIFE: Duration = Duration::from_secs(300);

/// A token, and until when it may be used.
pub struct Tokens {
    plan: OauthPlan,
    kept: Mutex<Option<(HeaderValue, Instant)>>,
}

/// The answer of a token service (RFC 6749, 5.1).
#[derive(Deserialize)]
struct Given {
    access_token: String,
    expires_in: Option<u64>,
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
        let secret = reveal(&self.plan.client_secret, "registry.oauth.client_secret_file");
        let secret = secret.map_err(Failed::Stop)?;
        let pair = format!("{}:{}", escaped(&self.plan.client_id), escaped(&secret));
        let authorization = header(format!("Basic {}", STANDARD.encode(pair)))?;
        let mut form = "grant_type=client_credentials".to_owned();
        if let Some(scope) = &self.plan.scope {
            form.push_str(&format!("&scope={}", escaped(scope)));
        }
        let to = &self.plan.token_url;
        let ask = Ask { to, path: "", authorization: Some(authorization), form: Some(form) };
        let (status, body) = door
            .ask(ask)
            .await
            .map_err(|why| Failed::Away(format!("asking {to} for a token: {why}")))?;
        match status {
            StatusCode::OK => {}
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let message = format!("asking {to} for a token: it answers {status}");
                let hint = "set `registry.oauth`: token_url, client_id, client_secret and scope";
                return Err(Failed::Stop(Fault::operator(message).hint(hint)));
            }
            status => {
                return Err(Failed::Away(format!("asking {to} for a token: it answers {status}")));
            }
        }
        let given: Given = serde_json::from_slice(&body)
            .map_err(|_| Failed::Away(format!("asking {to} for a token: its answer holds none")))?;
        let token = header(format!("Bearer {}", given.access_token))?;
        let life = given.expires_in.map_or(LIFE, Duration::from_secs).min(LIFE * 288);
        let until = Instant::now() + life.saturating_sub(EARLY).max(life / 2);
        let mut kept = self.kept.lock().expect("no one panics with it");
        *kept = Some((token.clone(), until));
        Ok(token)
    }
}
