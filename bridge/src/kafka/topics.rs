//! Which topics there are: those of a list, or those that an expression matches, by the rules
//! that the client library itself goes by.

use std::ffi::CString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::{ClientConfig, TopicPartitionList};

use super::context::Observer;
use super::refusal::{self, Refusal};
use super::settings::Settings;
use super::{errors, hold, probe};
use crate::batch::TopicPartition;
use crate::blame::Fault;
use crate::config::{Group, Topics};

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

impl Topic {
    /// The names of its partitions.
    pub fn names(&self) -> impl Iterator<Item = TopicPartition> {
        let topic: Arc<str> = self.name.as_str().into();
        let name = move |partition: &i32| TopicPartition {
            topic: Arc::clone(&topic),
            partition: *partition,
        };
        self.partitions.iter().map(name)
    }
}

/// A client that only asks, and may read a little.
pub struct Scout {
    client: BaseConsumer<Observer>,
    observer: Observer,
    brokers: String,
    /// Whom it trusts, where that is said.
    authorities: Option<PathBuf>,
    /// How long it waits for an answer about topics.
    patience: Duration,
    /// What it reads.
    held: TopicPartitionList,
}

impl Scout {
    /// Connects lazily: the first question does.
    pub fn new(settings: &Settings) -> Result<Scout, Fault> {
        Scout::with(settings, settings.reader())
    }

    /// The same as somebody who may ask about the group's offsets, if there is a group.
    pub fn of_group(settings: &Settings, group: &Group) -> Result<Scout, Fault> {
        let mut config = settings.reader();
        name(&mut config, group);
        Scout::with(settings, config)
    }

    /// The same as somebody who reads, and is told where a partition ends.
    pub fn reading(settings: &Settings, group: &Group) -> Result<Scout, Fault> {
        let mut config = settings.reader();
        name(&mut config, group).set("enable.partition.eof", "true");
        Scout::with(settings, config)
    }

    /// The same for whoever cannot wait as long as others.
    pub fn with_patience(mut self, patience: Duration) -> Scout {
        self.patience = patience;
        self
    }

    /// Reads these partitions, each from its offset on, in place of those before. Joins nothing.
    pub fn read(&mut self, list: TopicPartitionList) -> Result<(), KafkaError> {
        hold::take(&self.client, &list)?;
        self.held = list;
        Ok(())
    }

    /// Reads no more.
    pub fn let_go(&mut self) {
        hold::let_go(&self.client, &self.held);
        self.held = TopicPartitionList::new();
    }

    fn with(settings: &Settings, config: ClientConfig) -> Result<Scout, Fault> {
        let observer = settings.observer();
        let client: BaseConsumer<Observer> = config
            .create_with_context(observer.clone())
            .map_err(|error| settings.refused(&error))?;
        // A token for OAUTHBEARER is asked for by an event, and events are only served here.
        let _ = client.poll(Duration::ZERO);
        let (brokers, authorities) = (settings.brokers().to_owned(), settings.authorities());
        let (patience, held) = (REQUEST, TopicPartitionList::new());
        Ok(Scout { client, observer, brokers, authorities, patience, held })
    }

    /// The underlying client.
    pub fn client(&self) -> &BaseConsumer<Observer> {
        &self.client
    }

    /// A fault of doing something, with the reason as far as the client told it.
    pub fn fault(&self, doing: &str, error: &KafkaError) -> Fault {
        // What is known about the connection waits in the queue.
        self.listen();
        let words = self.observer.diagnostics.last_words();
        let untrusted =
            words.as_deref().filter(|words| refusal::read(words) == Some(Refusal::Authority));
        let ca = self.authorities.as_deref();
        let closer = untrusted.and_then(|words| probe::why_untrusted(words, ca));
        let mut fault = errors::fault(doing, error, words);
        if let Some(why) = closer {
            fault.message.push_str(&format!(": {why}"));
        }
        fault
    }

    /// Hears what waits, if it reads nothing: what became of connections, and whether a new token
    /// is wanted.
    pub fn listen(&self) {
        for _ in 0..32 {
            let _ = self.client.poll(Duration::ZERO);
        }
    }

    /// What the cluster says of itself: of one topic, or of all.
    pub fn metadata(&self, topic: Option<&str>) -> Result<Metadata, Fault> {
        let answer = self.client.fetch_metadata(topic, self.patience);
        answer.map_err(|error| {
            self.fault(&format!("asking {} about its topics", self.brokers), &error)
        })
    }

    /// The topics of a plan. A topic of a list that does not exist is the operator's fault; what
    /// `ignored` matches is not found by an expression, as a member does not find it either.
    pub fn topics(&self, wanted: &Topics, ignored: &[String]) -> Result<Vec<Topic>, Fault> {
        match wanted {
            Topics::List(names) => names.iter().map(|name| self.topic(name)).collect(),
            Topics::Regex { like, except } => {
                let expression = Expression::new(like)?;
                let ignored = ignored.iter().chain(except);
                let ignored = ignored.map(|expression| Expression::new(expression));
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

/// The group that a client may ask about. Without one, the library asks nobody about groups.
fn name<'a>(config: &'a mut ClientConfig, group: &Group) -> &'a mut ClientConfig {
    match group.name() {
        Some(group) => config.set("group.id", group),
        None => config,
    }
}

/// What is read of these topics: not all partitions, if some are named.
pub fn chosen(group: &Group, mut topics: Vec<Topic>) -> Result<Vec<Topic>, Fault> {
    let named = group.alone().and_then(|alone| alone.partitions.as_ref());
    let Some(named) = named else { return Ok(topics) };
    let numbers = topics.iter().flat_map(|topic| topic.partitions.iter().copied());
    // Of topics by an expression there may be none yet.
    if let Some(count) = numbers.max().map(|last| last + 1)
        && let Some(number) = named.beyond(count)
    {
        let message = format!("no topic has partition {number}: there are {count}, from 0 on");
        return Err(Fault::operator(message).hint("correct `partitions` of the pipeline"));
    }
    topics.iter_mut().for_each(|topic| topic.partitions.retain(|one| named.contains(*one)));
    Ok(topics)
}

fn owned(topic: &rdkafka::metadata::MetadataTopic) -> Topic {
    let partitions = topic.partitions().iter().map(|partition| partition.id()).collect();
    Topic { name: topic.name().to_owned(), partitions }
}

/// What is read ends before its client does, as the library wants it.
impl Drop for Scout {
    fn drop(&mut self) {
        if self.held.count() > 0 {
            self.let_go();
        }
    }
}

/// The subscription that stands for the topics.
pub fn subscription(topics: &Topics) -> Vec<String> {
    match topics {
        Topics::List(names) => names.clone(),
        Topics::Regex { like, .. } => vec![anchored(like)],
    }
}

/// The expressions of topics that a subscription must not find, besides those that `ignored` has.
pub fn left_out(topics: &Topics, ignored: &[String]) -> Vec<String> {
    let except = match topics {
        Topics::List(_) => &[][..],
        Topics::Regex { except, .. } => except,
    };
    ignored.iter().cloned().chain(except.iter().map(|one| anchored(one))).collect()
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
            Fault::operator(format!("topics by `{expression}` cannot be read: {why}"))
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
    use crate::config::{Alone, Partitions};

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
    fn partitions_that_are_named_are_those_that_are_read() {
        let topic =
            |name: &str, count| Topic { name: name.to_owned(), partitions: (0..count).collect() };
        let topics = || vec![topic("a", 4), topic("b", 2)];
        let all = Group::Named("g".to_owned());
        assert_eq!(chosen(&all, topics()).expect("all are read"), topics());
        let of = |text: &str| {
            let partitions = Partitions::parse(text).ok();
            Group::Alone(Alone { partitions, progress: None })
        };
        let only = |text: &str| {
            let read = chosen(&of(text), topics()).map_err(|fault| fault.message);
            read.map(|topics| topics.into_iter().map(|topic| topic.partitions).collect::<Vec<_>>())
        };
        assert_eq!(only("1-3"), Ok(vec![vec![1, 2, 3], vec![1]]));
        let said = "no topic has partition 7: there are 4, from 0 on";
        assert_eq!(only("0, 7"), Err(said.to_owned()));
        assert_eq!(chosen(&of("7"), Vec::new()).expect("none is there yet"), []);
    }

    #[test]
    fn an_escaped_name_matches_itself_only() {
        let expression = Expression::new(&escaped("a.b-c_d")).expect("escaped names are fine");
        assert!(expression.matches("a.b-c_d"));
        assert!(!expression.matches("axb-c_d"));
    }
}
