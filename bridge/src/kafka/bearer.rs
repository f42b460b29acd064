//! Tokens for the brokers (OAUTHBEARER): asked for by a thread of their own, before they are
//! needed, for the client library wants one at once when it wants one, in the middle of a poll.
//!
//! ```text
//! token service ◀──asks── thread ──▶ the last token ◀──takes── a client's poll (`context`)
//! ```

use std::ffi::CString;
use std::ptr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use rdkafka::bindings as c;
use rdkafka::client::OAuthToken;
use rdkafka::types::{RDKafka, RDKafkaRespErr};
use tokio::sync::watch;

use super::aws;
use super::refusal::AGAIN;
use crate::blame::Fault;
use crate::config::security::{IamPlan, SaslPlan};
use crate::door::{Door, Failed, OauthPlan, Terms};
use crate::sink::questdb::options::Secret;
use crate::sink::questdb::tls::TlsPlan;

/// Whoever wants the first token waits so long for it: as long as its service may take.
const FIRST: Duration = Duration::from_secs(10);
/// Between two questions where the first was not answered.
const PAUSE: Duration = Duration::from_secs(2);
/// No token is asked for more often, however short its life is.
const LIFE_MIN: Duration = Duration::from_secs(2);
/// A token that ends so soon is not worth showing, and the library may find it over.
const LEFT_MIN: Duration = Duration::from_secs(1);
/// A place for the library's words.
const WORDS_MAX: usize = 512;

/// All of this process, for clients that say the same share one. None is kept alive by it.
static ALL: Mutex<Vec<(SaslPlan, Weak<Bearer>)>> = Mutex::new(Vec::new());

/// The last token, and the thread that asks for the next one.
pub struct Bearer {
    kept: Arc<Kept>,
    over: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Kept {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    /// Why there is none, or no newer one.
    trouble: Option<String>,
}

#[derive(Clone)]
struct Token {
    text: Secret,
    /// Who the library says that it is of; brokers look into the token.
    principal: String,
    until: SystemTime,
}

/// Where tokens are from.
enum Source {
    Oauth(Box<OauthPlan>),
    Iam(IamPlan),
}

impl Bearer {
    /// The one of a plan that says who the bridge is by tokens; `None` for others.
    pub fn of(plan: &SaslPlan) -> Result<Option<Arc<Bearer>>, Fault> {
        let (source, door) = match plan {
            SaslPlan::Password { .. } | SaslPlan::Kerberos { .. } => return Ok(None),
            SaslPlan::Oauth { tokens, terms } => {
                let door = Door::new(terms, tokens.token_url.endpoint.tls)?;
                (Source::Oauth(tokens.clone()), door)
            }
            SaslPlan::Iam(plan) => (Source::Iam(plan.clone()), Door::new(&of_aws(), true)?),
        };
        let mut all = ALL.lock().expect("no one panics with it");
        all.retain(|(_, bearer)| bearer.strong_count() > 0);
        let known = all.iter().find(|(known, _)| known == plan);
        if let Some(bearer) = known.and_then(|(_, bearer)| bearer.upgrade()) {
            return Ok(Some(bearer));
        }
        let bearer = Arc::new(Bearer::start(source, door)?);
        all.push((plan.clone(), Arc::downgrade(&bearer)));
        Ok(Some(bearer))
    }

    fn start(source: Source, door: Door) -> Result<Bearer, Fault> {
        let kept = Arc::<Kept>::default();
        let (over, ends) = watch::channel(false);
        let asks = Arc::clone(&kept);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Fault::us(format!("starting to ask for tokens: {error}")))?;
        #[expect(clippy::disallowed_methods, reason = "the library does not wait; `drop` joins it")]
        let thread = std::thread::Builder::new().name("kafka-tokens".to_owned()).spawn(move || {
            runtime.block_on(ask(&source, &door, &asks, ends));
            // The resolution of a name may be under way, and nobody waits for it.
            runtime.shutdown_background();
        });
        let thread = thread.map_err(|error| Fault::us(format!("starting a thread: {error}")))?;
        Ok(Bearer { kept, over, thread: Some(thread) })
    }

    /// A token, as the library wants it. Waits for the first one; never again after that.
    pub fn token(&self) -> Result<OAuthToken, String> {
        let Token { text, principal, until } = self.kept.token(Instant::now() + FIRST)?;
        let lifetime_ms = told_until(until, SystemTime::now());
        Ok(OAuthToken { token: text.0, principal_name: principal, lifetime_ms })
    }

    /// Why there is no token that is good, if there is none.
    pub fn trouble(&self) -> Option<String> {
        self.kept.token(Instant::now()).err()
    }

    /// Gives a client its token that has no poll in which it would ask for one.
    ///
    /// # Safety
    ///
    /// `client` is a client of the library, alive as long as the call takes.
    pub unsafe fn give(&self, client: *mut RDKafka) -> Result<(), String> {
        let OAuthToken { token, principal_name, lifetime_ms } = self.token()?;
        let text = |text: String| CString::new(text).map_err(|_| "a token with a NUL".to_owned());
        let (token, principal) = (text(token)?, text(principal_name)?);
        let mut words = [0; WORDS_MAX];
        // SAFETY: the client is alive, by the promise above; both texts end with a NUL and outlive
        // the call, which copies them; there are no extensions; the words have their length.
        let code = unsafe {
            c::rd_kafka_oauthbearer_set_token(
                client,
                token.as_ptr(),
                lifetime_ms,
                principal.as_ptr(),
                ptr::null_mut(),
                0,
                words.as_mut_ptr(),
                words.len(),
            )
        };
        match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
            _ => Err("the client library does not take the token".to_owned()),
        }
    }
}

/// The end that the library is told, in milliseconds since 1970. It asks for the next token when
/// four fifths of the time until then are over, a second late at worst; but where a broker ends
/// sessions with their tokens, it says who it is anew after nine tenths of a life (KIP-368).
/// With this it asks after three fifths, when there is a next one: `Kept::keep`.
fn told_until(until: SystemTime, now: SystemTime) -> i64 {
    let left = until.duration_since(now).unwrap_or_default();
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default() + left * 3 / 4;
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl Drop for Bearer {
    fn drop(&mut self) {
        // A thread that is gone does not need to be told.
        let _ = self.over.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no one panics with it")
    }

    fn token(&self, deadline: Instant) -> Result<Token, String> {
        let mut state = self.lock();
        loop {
            if let Some(token) = &state.token
                && token.until > SystemTime::now() + LEFT_MIN
            {
                return Ok(token.clone());
            }
            if let Some(trouble) = &state.trouble {
                return Err(trouble.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("no token has come yet; {AGAIN}"));
            }
            state = self.changed.wait_timeout(state, left).expect("no one panics with it").0;
        }
    }

    fn keep(&self, asked: Result<Token, Failed>) -> Duration {
        let mut state = self.lock();
        let pause = match asked {
            Ok(token) => {
                let life = token.until.duration_since(SystemTime::now()).unwrap_or_default();
                *state = State { token: Some(token), trouble: None };
                // Before the library asks for the next one.
                life.max(LIFE_MIN) / 2
            }
            Err(Failed::Away(why)) => {
                state.trouble = Some(format!("{why}; {AGAIN}"));
                PAUSE
            }
            Err(Failed::Stop(fault)) => {
                let hint = fault.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
                state.trouble = Some(format!("{}{hint}", fault.message));
                PAUSE
            }
        };
        self.changed.notify_all();
        pause
    }
}

/// Asks for one token after the other until it is over.
async fn ask(source: &Source, door: &Door, kept: &Kept, mut ends: watch::Receiver<bool>) {
    loop {
        let asked = tokio::select! {
            asked = source.next(door) => asked,
            _ = ends.changed() => return,
        };
        let pause = kept.keep(asked);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = ends.changed() => return,
        }
    }
}

impl Source {
    async fn next(&self, door: &Door) -> Result<Token, Failed> {
        match self {
            Source::Oauth(plan) => {
                let given = plan.ask(door).await?;
                let until = SystemTime::now() + given.life;
                Ok(Token { text: given.token, principal: plan.client_id.clone(), until })
            }
            Source::Iam(plan) => {
                let (text, until) = aws::token(plan, door).await?;
                Ok(Token { text: Secret(text), principal: "bridge".to_owned(), until })
            }
        }
    }
}

/// AWS's own services, under the web's authorities.
fn of_aws() -> Terms {
    Terms {
        tls: TlsPlan { ca: None, verify: true },
        identity: None,
        request_timeout: FIRST,
        section: "kafka.sasl",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(life: Duration) -> Token {
        let until = SystemTime::now() + life;
        Token { text: Secret("t".to_owned()), principal: "p".to_owned(), until }
    }

    #[test]
    fn a_token_is_kept_until_it_ends() {
        let kept = Kept::default();
        let now = Instant::now();
        let none = kept.token(now).err().expect("nobody asked yet");
        assert!(none.contains(AGAIN), "{none}");
        let pause = kept.keep(Ok(token(Duration::from_secs(100))));
        assert!(pause > Duration::from_secs(49) && pause <= Duration::from_secs(50));
        // A service that is away does no harm while the last token is good.
        assert_eq!(kept.keep(Err(Failed::Away("away".to_owned()))), PAUSE);
        assert!(kept.token(now).is_ok());
        kept.keep(Ok(token(LEFT_MIN / 2)));
        kept.keep(Err(Failed::Away("away".to_owned())));
        assert_eq!(kept.token(now).err(), Some(format!("away; {AGAIN}")));
        let fault = Fault::operator("it answers 401").hint("set `kafka.sasl`");
        kept.keep(Err(Failed::Stop(fault)));
        assert_eq!(kept.token(now).err().as_deref(), Some("it answers 401; set `kafka.sasl`"));
    }

    #[test]
    fn the_library_asks_for_the_next_token_when_there_is_one() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let told = |life: u64| told_until(now + Duration::from_secs(life), now);
        assert_eq!(told(400), 1_000_300_000);
        // Where `keep` has the next one, where the library asks, and where it is too late.
        let asks = (told(400) - 1_000_000_000) * 4 / 5;
        assert!((200_000..360_000).contains(&asks), "{asks}");
        assert_eq!(told_until(now, now + Duration::from_secs(9)), 1_000_009_000);
    }
}
