//! What a client says beside its answers: log lines go to `tracing`, and the last word about a
//! broken or refused connection is kept, because the call that failed only says that it failed.

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, ProducerContext};

use super::bearer::Bearer;
use super::refusal::{self, Keys};
use crate::blame::Blame;

/// What is answered to the library where nobody said how tokens are come by. One that makes its own
/// (for tests: `enable.sasl.oauthbearer.unsecure.jwt`) goes on to do so.
const LIBRARYS_OWN: &str = "no `kafka.sasl` says where tokens are from";
/// Words older than this explain nothing any more.
const WORDS_AGE_MAX: Duration = Duration::from_secs(30);
/// The same trouble is logged this often.
const REPEAT: Duration = Duration::from_secs(10);

/// The last words of a client about its connections, with the key that says otherwise; and who it
/// is, where that is told by tokens. Cheap to clone.
#[derive(Clone, Default)]
pub struct Diagnostics {
    state: Arc<Mutex<State>>,
    keys: Keys,
    bearer: Option<Arc<Bearer>>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<(Instant, String)>,
    logged: Option<(Instant, String)>,
    fatal: Option<(RDKafkaErrorCode, String)>,
}

impl Diagnostics {
    /// Of a client with these keys, that shows these tokens.
    pub fn new(keys: Keys, bearer: Option<Arc<Bearer>>) -> Diagnostics {
        Diagnostics { state: Arc::default(), keys, bearer }
    }

    /// What the client shows to brokers that want a token. For contexts, whom the library asks in
    /// the middle of a poll.
    pub fn token(&self) -> Result<OAuthToken, Box<dyn Error>> {
        let bearer = self.bearer.as_ref().ok_or(LIBRARYS_OWN)?;
        Ok(bearer.token()?)
    }

    /// What was said last, if it is recent.
    pub fn last_words(&self) -> Option<String> {
        let state = self.state.lock().expect("no one panics with it");
        let (when, words) = state.last.as_ref()?;
        (when.elapsed() < WORDS_AGE_MAX).then(|| words.clone())
    }

    /// The error that ended the client, if one did.
    pub fn fatal(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.state.lock().expect("no one panics with it").fatal.clone()
    }

    fn hear(&self, code: RDKafkaErrorCode, reason: &str) {
        if reason.ends_with(LIBRARYS_OWN) {
            return;
        }
        let told = refusal::told(reason, &self.keys);
        let late = self.bearer.as_ref().and_then(|bearer| bearer.trouble());
        let told = match late {
            // What the broker refuses is the last token, whose time is over.
            Some(why) if refusal::read(reason) == Some(refusal::Refusal::Credentials) => {
                format!("{reason}; {why}")
            }
            _ => told,
        };
        let reason = &*told;
        let now = Instant::now();
        let mut state = self.state.lock().expect("no one panics with it");
        if code == RDKafkaErrorCode::Fatal {
            state.fatal = Some((code, reason.to_owned()));
        }
        // That all brokers are down says less than why the last of them is.
        if code == RDKafkaErrorCode::AllBrokersDown && state.last.is_some() {
            return;
        }
        state.last = Some((now, reason.to_owned()));
        let repeated = state
            .logged
            .as_ref()
            .is_some_and(|(when, words)| words == reason && now.duration_since(*when) < REPEAT);
        if !repeated {
            state.logged = Some((now, reason.to_owned()));
            drop(state);
            tracing::warn!(target: "bridge::kafka", "kafka: {reason}");
        }
    }

    /// A line of the library's log. That a broker hung up is no error to the library, though it may
    /// be all that a broker says to somebody who speaks the wrong protocol. For clients that come
    /// first: to those who come later, it says no more than that a broker went.
    fn overhear(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
        let is_guess = || {
            use refusal::Refusal as R;
            let guess = refusal::read(message);
            matches!(guess, Some(R::NoTls | R::Tls | R::WantsSasl | R::WantsCertificate))
        };
        let is_error = matches!(
            level,
            RDKafkaLogLevel::Emerg
                | RDKafkaLogLevel::Alert
                | RDKafkaLogLevel::Critical
                | RDKafkaLogLevel::Error
        );
        // Errors come as such, too. What a broker said for certain says more than a guess.
        if facility == "FAIL" && !is_error && is_guess() && !self.is_certain() {
            let words = message.split_once("]: ").map_or(message, |(_, words)| words);
            self.hear(RDKafkaErrorCode::BrokerTransportFailure, words);
        }
    }

    /// Whether a broker has said lately what is to be changed.
    fn is_certain(&self) -> bool {
        let refusal = self.last_words().as_deref().and_then(refusal::read);
        refusal.is_some_and(|refusal| refusal.blame() == Blame::Operator)
    }
}

/// The context of clients that need nothing but to be listened to.
#[derive(Clone, Default)]
pub struct Observer {
    /// What was said.
    pub diagnostics: Diagnostics,
}

impl ClientContext for Observer {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.diagnostics.overhear(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        hear(&self.diagnostics, &error, reason);
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.diagnostics.token()
    }
}

impl ConsumerContext for Observer {}

impl ProducerContext for Observer {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// Takes note of an error that a client reports.
pub fn hear(diagnostics: &Diagnostics, error: &KafkaError, reason: &str) {
    let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
    diagnostics.hear(code, reason);
}

/// Passes a line of the library's log on. Connection trouble comes as errors too, once for each
/// connection, and is told there.
pub fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    // `CONFWARN` tells a producer that consumer properties are of no use to it.
    if facility == "CONFWARN" {
        return;
    }
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(target: "bridge::kafka", "{facility}: {message}");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
            tracing::debug!(target: "bridge::kafka", "{facility}: {message}");
        }
        _ => tracing::trace!(target: "bridge::kafka", "{facility}: {message}"),
    }
}

/// Collects delivery reports, each by the number that its record was sent with.
#[derive(Default)]
pub struct Reports {
    /// What the client says beside them.
    pub diagnostics: Diagnostics,
    heard: Mutex<Vec<(usize, Option<RDKafkaErrorCode>)>>,
}

impl Reports {
    /// None yet.
    pub fn new(diagnostics: Diagnostics) -> Reports {
        Reports { diagnostics, heard: Mutex::default() }
    }

    /// Those that came since the last time: why a record was not written, if so.
    pub fn take(&self) -> Vec<(usize, Option<RDKafkaErrorCode>)> {
        std::mem::take(&mut *self.heard.lock().expect("no one panics with it"))
    }
}

impl ClientContext for Reports {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        hear(&self.diagnostics, &error, reason);
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.diagnostics.token()
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, place: usize) {
        let error = result
            .as_ref()
            .err()
            .map(|(error, _)| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown));
        self.heard.lock().expect("no one panics with it").push((place, error));
    }
}
