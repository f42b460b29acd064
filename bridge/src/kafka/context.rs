//! What a client says beside its answers: log lines go to `tracing`, and the last word about a
//! broken or refused connection is kept, because the call that failed only says that it failed.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, ProducerContext};

/// Words older than this explain nothing any more.
const WORDS_AGE_MAX: Duration = Duration::from_secs(30);
/// The same trouble is logged this often.
const REPEAT: Duration = Duration::from_secs(10);

/// The last words of a client about its connections. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    last: Option<(Instant, String)>,
    logged: Option<(Instant, String)>,
    fatal: Option<(RDKafkaErrorCode, String)>,
}

impl Diagnostics {
    /// What was said last, if it is recent.
    pub fn last_words(&self) -> Option<String> {
        let state = self.0.lock().expect("no one panics with it");
        let (when, words) = state.last.as_ref()?;
        (when.elapsed() < WORDS_AGE_MAX).then(|| words.clone())
    }

    /// The error that ended the client, if one did.
    pub fn fatal(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.0.lock().expect("no one panics with it").fatal.clone()
    }

    fn hear(&self, code: RDKafkaErrorCode, reason: &str) {
        let now = Instant::now();
        let mut state = self.0.lock().expect("no one panics with it");
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
}

/// The context of clients that need nothing but to be listened to.
#[derive(Clone, Debug, Default)]
pub struct Observer {
    /// What was said.
    pub diagnostics: Diagnostics,
}

impl ClientContext for Observer {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        hear(&self.diagnostics, &error, reason);
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
    /// Those that came since the last time: why a record was not written, if so.
    pub fn take(&self) -> Vec<(usize, Option<RDKafkaErrorCode>)> {
        std::mem::take(&mut *self.heard.lock().expect("no one panics with it"))
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        hear(&self.diagnostics, &error, reason);
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
