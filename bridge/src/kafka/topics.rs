//! Which topics there are: those of a list, or those that an expression matches, by the rules
//! that the client library itself goes by.

use std::ffi::CString;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;

use super::context::Observer;
use super::errors;
use super::settings::Settings;
use crate::blame::Fault;
use crate::config::Topics;

/// How long one request about the cluster may take.
pub const REQUEST: Duration = Duration::from_secs(10);

/// A topic and the numbers of its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its partitions.
    pub partitions: Vec<i32>,
}

/// A client that only asks.
pub struct Scout {
    client: BaseConsumer<Observer>,
    observer: Observer,
    brokers: String,
}

impl Scout {
    /// Connects lazily: the first question does.
    pub fn new(settings: &Settings) -> Result<Scout, Fault> {
        Scout::with(settings, settings.reader())
    }

    /// The same as somebody who may ask about the group's offsets.
    pub fn of_group(settings: &Settings, group: &str) -> Result<Scout, Fault> {
        let mut config = settings.reader();
        config.set("group.id", group);
        Scout::with(settings, config)
    }

    fn with(settings: &Settings, config: rdkafka::ClientConfig) -> Result<Scout, Fault> {
        let observer = Observer::default();
        let client: BaseConsumer<Observer> =
            config.create_with_context(observer.clone()).map_err(|error| refused(&error))?;
        // A token for OAUTHBEARER is asked for by an event, and events are only served here.
        let _ = client.poll(Duration::ZERO);
        Ok(Scout { client, observer, brokers: settings.brokers().to_owned() })
    }

    /// The underlying client.
    pub fn client(&self) -> &BaseConsumer<Observer> {
        &self.client
    }

    /// A fault of doing something, with the reason as far as the client told it.
    pub fn fault(&self, doing: &str, error: &KafkaError) -> Fault {
        // What is known about the connection waits in the queue.
        for _ in 0..32 {
            let _ = self.client.poll(Duration::ZERO);
        }
        errors::fault(doing, error, self.observer.diagnostics.last_words())
    }

    /// What the cluster says of itself: of one topic, or of all.
    pub fn metadata(&self, topic: Option<&str>) -> Result<Metadata, Fault> {
        let answer = self.client.fetch_metadata(topic, REQUEST);
        answer.map_err(|error| {
            self.fault(&format!("asking {} about its topics", self.brokers), &error)
        })
    }

    /// The topics of a plan. A topic of a list that does not exist is the operator's fault; what
    /// `ignored` matches is not found by an expression, as a member does not find it either.
    pub fn topics(&self, wanted: &Topics, ignored: &[String]) -> Result<Vec<Topic>, Fault> {
        match wanted {
            Topics::List(names) => names.iter().map(|name| self.topic(name)).collect(),
            Topics::Regex(expression) => {
                let expression = Expression::new(expression)?;
                let ignored = ignored.iter().map(|expression| Expression::new(expression));
                let ignored = ignored.collect::<Result<Vec<Expression>, Fault>>()?;
                let metadata = self.metadata(None)?;
                let known = metadata.topics().iter().filter(|topic| topic.error().is_none());
                let matching = known.filter(|topic| expression.matches(topic.name()));
                let matching =
                    matching.filter(|topic| !ignored.iter().any(|one| one.matches(topic.name())));
                Ok(matching.map(owned).collect())
            }
        }
    }

    fn topic(&self, name: &str) -> Result<Topic, Fault> {
        match self.find(name)? {
            Some(topic) => Ok(topic),
            None => {
                Err(Fault::operator(format!("topic `{name}` does not exist on {}", self.brokers))
                    .hint("create it, or correct `topics`"))
            }
        }
    }

    /// A topic by its name, if it exists.
    pub fn find(&self, name: &str) -> Result<Option<Topic>, Fault> {
        let metadata = self.metadata(Some(name))?;
        let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else {
            return Ok(None);
        };
        match topic.error().map(RDKafkaErrorCode::from) {
            None => Ok(Some(owned(topic))),
            Some(
                RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition,
            ) => Ok(None),
            Some(code) => {
                let doing = format!("asking {} about topic `{name}`", self.brokers);
                Err(self.fault(&doing, &KafkaError::MetadataFetch(code)))
            }
        }
    }
}

fn owned(topic: &rdkafka::metadata::MetadataTopic) -> Topic {
    let partitions = topic.partitions().iter().map(|partition| partition.id()).collect();
    Topic { name: topic.name().to_owned(), partitions }
}

/// What the library says when it will not even make a client.
pub fn refused(error: &KafkaError) -> Fault {
    let message = match error {
        KafkaError::ClientConfig(_, message, key, _) => {
            format!("kafka.properties.{key}: {message}")
        }
        KafkaError::ClientCreation(message) => format!("making the Kafka client: {message}"),
        other => format!("making the Kafka client: {other}"),
    };
    Fault::operator(message)
}

/// The subscription that stands for the topics.
pub fn subscription(topics: &Topics) -> Vec<String> {
    match topics {
        Topics::List(names) => names.clone(),
        Topics::Regex(expression) => vec![anchored(expression)],
    }
}

/// The library takes what begins with a caret for an expression, and finds it anywhere.
fn anchored(expression: &str) -> String {
    let inner = expression.strip_prefix('^').unwrap_or(expression);
    let inner = inner.strip_suffix('$').unwrap_or(inner);
    format!("^({inner})$")
}

/// A name with everything that an expression would take for more than a letter escaped.
pub fn escaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for letter in name.chars() {
        if !letter.is_ascii_alphanumeric() && letter != '_' && letter != '-' {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}

/// A POSIX extended expression, for whole names: what the client library compiles for itself.
pub struct Expression(libc::regex_t);

impl Expression {
    /// Compiles it; what cannot be read is the operator's fault.
    pub fn new(expression: &str) -> Result<Expression, Fault> {
        let bad = |why: &str| {
            Fault::operator(format!("topics_regex `{expression}` cannot be read: {why}"))
                .hint("it is a POSIX extended regular expression")
        };
        let text = CString::new(anchored(expression)).map_err(|_| bad("it holds a NUL"))?;
        let mut compiled = std::mem::MaybeUninit::<libc::regex_t>::zeroed();
        // SAFETY: `text` is a C string, `compiled` is memory for one expression that the call
        // fills; it is used only if the call says so.
        let code = unsafe {
            let flags = libc::REG_EXTENDED | libc::REG_NOSUB;
            libc::regcomp(compiled.as_mut_ptr(), text.as_ptr(), flags)
        };
        if code != 0 {
            return Err(bad("it is malformed"));
        }
        // SAFETY: the call above succeeded, so the value is whole.
        Ok(Expression(unsafe { compiled.assume_init() }))
    }

    /// Whether a name matches as a whole.
    pub fn matches(&self, name: &str) -> bool {
        let Ok(name) = CString::new(name) else { return false };
        // SAFETY: the expression was compiled and is freed only on drop; `name` is a C string; no
        // places of matches are asked for.
        unsafe { libc::regexec(&self.0, name.as_ptr(), 0, std::ptr::null_mut(), 0) == 0 }
    }
}

impl Drop for Expression {
    fn drop(&mut self) {
        // SAFETY: compiled by `new`, freed once.
        unsafe { libc::regfree(&mut self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_match_whole_names() {
        let expression = Expression::new("sensors\\..*|plant").expect("it is well formed");
        assert!(expression.matches("sensors.a"));
        assert!(expression.matches("plant"));
        assert!(!expression.matches("old-sensors.a"));
        assert!(!expression.matches("plants"));
        assert!(Expression::new("(").is_err());
    }

    #[test]
    fn an_escaped_name_matches_itself_only() {
        let expression = Expression::new(&escaped("a.b-c_d")).expect("escaped names are fine");
        assert!(expression.matches("a.b-c_d"));
        assert!(!expression.matches("axb-c_d"));
    }
}
