//! Dead letters as records of a topic: the original key, value and headers, our own headers after
//! them. A letter counts as stored when its delivery report says so, with all replicas.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, PurgeConfig};

use super::{Letter, Shelf, Stamp};
use crate::batch::TopicPartition;
use crate::blame::{Blame, Fault};
use crate::config::KafkaPlan;
use crate::kafka::Reports;
use crate::kafka::settings::Settings;
use crate::kafka::{create, errors, headers};

/// How long the reports of one burst may take before it is sent again; over the producer's own
/// patience with a record.
const REPORTS_MAX: Duration = Duration::from_secs(45);
/// What our own headers may take of a record that is cut to fit.
const HEADERS_BYTES: usize = 8 << 10;
/// A broker's own bound, less a frame, is the first guess for a letter that is too large.
const FIRST_CUT: usize = 1_000_000;
/// A topic that does not take this much takes nothing.
const LAST_CUT: usize = 256;

/// A topic of dead letters; one for each source topic, if the name is a template.
pub struct TopicShelf {
    template: String,
    settings: Settings,
    producer: Option<BaseProducer<Reports>>,
    known: HashSet<String>,
    /// For each target topic, what a value was cut to when the topic took it.
    cuts: HashMap<String, usize>,
}

/// How much of a letter is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cut {
    Whole,
    /// Key, value and original headers together within so many bytes.
    To(usize),
}

impl TopicShelf {
    /// Connects at the first letter.
    pub fn new(template: &str, kafka: &KafkaPlan) -> Result<TopicShelf, Fault> {
        let settings = Settings::new(kafka)?;
        Ok(TopicShelf {
            template: template.to_owned(),
            settings,
            producer: None,
            known: HashSet::new(),
            cuts: HashMap::new(),
        })
    }

    fn target(&self, source: &TopicPartition) -> String {
        self.template.replace("{topic}", &source.topic)
    }

    /// Makes sure that the topics are there. They are made if they are not, with as many
    /// partitions as the source has.
    fn prepare(&mut self, letters: &[Letter]) -> Result<(), Fault> {
        if self.producer.is_none() {
            let mut config = self.settings.producer();
            // The topic's own bound decides, not the client's.
            config.set("message.max.bytes", "100000000");
            let producer: Result<BaseProducer<Reports>, _> =
                config.create_with_context(self.settings.reports());
            let producer = producer.map_err(|error| self.settings.refused(&error))?;
            // A token for OAUTHBEARER is asked for by an event, and events are only served here.
            producer.poll(Duration::ZERO);
            self.producer = Some(producer);
        }
        for letter in letters {
            let target = self.target(&letter.source);
            if !self.known.contains(&target) {
                let like = Some(&*letter.source.topic);
                create::ensure_topic(&self.settings, &target, like)?;
                self.known.insert(target);
            }
        }
        Ok(())
    }

    /// Sends letters and waits for their reports; the places of those that failed, and why.
    fn send(
        &self,
        letters: &[(&Letter, Cut)],
        stamp: &Stamp,
    ) -> Result<Vec<(usize, RDKafkaErrorCode)>, Fault> {
        let producer = self.producer.as_ref().expect("prepared before");
        let reports = producer.context();
        let mut failed = Vec::new();
        let mut sent = 0;
        for (place, (letter, cut)) in letters.iter().enumerate() {
            match self.offer(producer, place, letter, *cut, stamp) {
                Ok(()) => sent += 1,
                Err(code) => failed.push((place, code)),
            }
        }
        let deadline = Instant::now() + REPORTS_MAX;
        let mut heard = 0;
        while heard < sent {
            producer.poll(Duration::from_millis(50));
            for (place, error) in reports.take() {
                heard += 1;
                failed.extend(error.map(|code| (place, code)));
            }
            if Instant::now() > deadline {
                return Err(Fault::world("storing dead letters: no delivery report"));
            }
        }
        if let Some((code, words)) = producer.client().fatal_error() {
            let error = KafkaError::MessageProduction(code);
            return Err(errors::fault("storing dead letters", &error, Some(words)));
        }
        Ok(failed)
    }

    /// Hands one letter to the producer; waits for room in its queue.
    fn offer(
        &self,
        producer: &BaseProducer<Reports>,
        place: usize,
        letter: &Letter,
        cut: Cut,
        stamp: &Stamp,
    ) -> Result<(), RDKafkaErrorCode> {
        let target = self.target(&letter.source);
        let (key, value, headers) = parts(letter, cut, stamp);
        let mut record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&target, place);
        record.key = key;
        record.payload = value;
        record.headers = Some(headers);
        let deadline = Instant::now() + REPORTS_MAX;
        loop {
            match producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                    if Instant::now() < deadline =>
                {
                    record = back;
                    producer.poll(Duration::from_millis(10));
                }
                Err((error, _)) => {
                    return Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown));
                }
            }
        }
    }

    /// Stores a letter that did not fit with the others: alone, then cut more and more.
    fn squeeze(&mut self, letter: &Letter, stamp: &Stamp) -> Result<(), Fault> {
        let target = self.target(&letter.source);
        let mut cut = match self.cuts.get(&target) {
            Some(known) if size(letter) > *known => Cut::To(*known),
            _ => Cut::Whole,
        };
        loop {
            let failed = self.send(&[(letter, cut)], stamp)?;
            let Some((_, code)) = failed.first() else {
                if let Cut::To(bytes) = cut {
                    self.cuts.insert(target, bytes);
                }
                return Ok(());
            };
            if !is_size(*code) {
                return Err(self.fault(&target, *code));
            }
            cut = match cut {
                Cut::Whole => Cut::To(FIRST_CUT.min(size(letter)) * 15 / 16),
                Cut::To(bytes) if bytes > LAST_CUT => Cut::To(bytes / 2),
                Cut::To(_) => {
                    return Err(Fault::operator(format!(
                        "storing dead letters in {target}: not even an empty one fits"
                    ))
                    .hint("raise the topic's max.message.bytes"));
                }
            };
        }
    }

    fn fault(&self, target: &str, code: RDKafkaErrorCode) -> Fault {
        let words = self.producer.as_ref().and_then(|p| p.context().diagnostics.last_words());
        let error = KafkaError::MessageProduction(code);
        errors::fault(&format!("storing dead letters in {target}"), &error, words)
    }
}

impl Shelf for TopicShelf {
    fn store(&mut self, letters: &[Letter], stamp: &Stamp) -> Result<(), Fault> {
        self.prepare(letters)?;
        let mut left: Vec<usize> = (0..letters.len()).collect();
        // What failed goes again alone or later; what was stored is not sent again.
        let all: Vec<_> = letters.iter().map(|letter| (letter, Cut::Whole)).collect();
        let failed = match self.send(&all, stamp) {
            Ok(failed) => failed,
            Err(fault) => {
                // Reports of this burst must not be taken for those of the next.
                self.producer = None;
                return Err(fault);
            }
        };
        left.retain(|place| failed.iter().any(|(at, _)| at == place));
        for (place, code) in &failed {
            let target = self.target(&letters[*place].source);
            if is_size(*code) {
                continue;
            }
            // The topic may have been deleted under us.
            self.known.remove(&target);
            let fault = self.fault(&target, *code);
            if fault.blame != Blame::World {
                return Err(fault);
            }
        }
        for place in left {
            if let Err(fault) = self.squeeze(&letters[place], stamp) {
                self.producer = None;
                return Err(fault);
            }
        }
        Ok(())
    }

    fn place(&self, source: &TopicPartition) -> String {
        self.target(source)
    }
}

impl Drop for TopicShelf {
    fn drop(&mut self) {
        if let Some(producer) = &self.producer {
            // What is still under way was given up by whoever waited for it.
            producer.purge(PurgeConfig::default().queue().inflight());
        }
    }
}

fn is_size(code: RDKafkaErrorCode) -> bool {
    code == RDKafkaErrorCode::MessageSizeTooLarge
}

fn size(letter: &Letter) -> usize {
    let headers = letter.headers.iter();
    let headers: usize =
        headers.map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len)).sum();
    headers + letter.key.as_ref().map_or(0, Vec::len) + letter.value.as_ref().map_or(0, Vec::len)
}

/// What of a letter is sent: the value is cut first, then the original headers go, then the key.
fn parts<'a>(
    letter: &'a Letter,
    cut: Cut,
    stamp: &Stamp,
) -> (Option<&'a [u8]>, Option<&'a [u8]>, OwnedHeaders) {
    let (mut key, mut value) = (letter.key.as_deref(), letter.value.as_deref());
    let mut original = letter.headers.as_slice();
    let mut truncated = None;
    if let Cut::To(bytes) = cut {
        truncated = Some(value.map_or(0, <[u8]>::len));
        let room = bytes.saturating_sub(HEADERS_BYTES.min(bytes / 2));
        let mut beside = size(letter) - value.map_or(0, <[u8]>::len);
        if beside > room {
            original = &[];
            beside = key.map_or(0, <[u8]>::len);
        }
        if beside > room {
            key = key.map(|key| &key[..room.min(key.len()) / 2]);
            beside = key.map_or(0, <[u8]>::len);
        }
        value = value.map(|value| &value[..value.len().min(room - beside)]);
    }
    let own = letter.own_headers(stamp, truncated);
    let mut headers = OwnedHeaders::new_with_capacity(original.len() + own.len());
    for (name, value) in original {
        headers = headers::push(headers, name, value.as_deref());
    }
    for (name, value) in &own {
        headers = headers.insert(Header { key: name, value: Some(value) });
    }
    (key, value, headers)
}

#[cfg(test)]
mod tests {
    use rdkafka::message::Headers;

    use super::*;
    use crate::reject::{Reason, Stage};

    fn letter(key: usize, value: usize, header: usize) -> Letter {
        Letter {
            source: TopicPartition { topic: "sensors".into(), partition: 1 },
            offset: 7,
            timestamp_ms: 1,
            key: Some(vec![b'k'; key]),
            value: Some(vec![b'v'; value]),
            headers: vec![(b"h".to_vec(), Some(vec![b'x'; header]))],
            stage: Stage::Format,
            reason: Reason::Malformed,
            detail: "ä".repeat(2_000),
        }
    }

    #[test]
    fn a_cut_letter_fits_whatever_makes_it_large() {
        let stamp = Stamp { pipeline: "p".to_owned(), time: jiff::Timestamp::UNIX_EPOCH };
        for letter in [letter(10, 5_000_000, 10), letter(5_000_000, 10, 10), letter(1, 1, 900_000)]
        {
            for bytes in [1_000_000, 100_000, 20_000, 1_000, LAST_CUT] {
                let (key, value, headers) = parts(&letter, Cut::To(bytes), &stamp);
                let own = letter.own_headers(&stamp, None).len() + 1;
                let original = headers.count() > own;
                let sum = key.map_or(0, <[u8]>::len)
                    + value.map_or(0, <[u8]>::len)
                    + if original { letter.headers[0].1.as_ref().map_or(0, Vec::len) } else { 0 };
                assert!(sum <= bytes, "{sum} in {bytes}");
                let marked = headers.iter().find(|header| header.key == "bridge.truncated");
                let size = letter.value.as_ref().expect("it has one").len().to_string();
                assert_eq!(marked.and_then(|header| header.value), Some(size.as_bytes()));
            }
        }
    }
}
