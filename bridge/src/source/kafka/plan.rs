//! Topics of Kafka as a source that a plan names.

use std::sync::Arc;

use super::own::fit;
use super::{KafkaSource, Rereader};
use crate::blame::Fault;
use crate::config::{Alone, Group, KafkaPlan, OutOfRange, Start, Topics};
use crate::kafka::check::{self, Sample};
use crate::limits::Limits;
use crate::source::{Opened, SourcePlan};

impl SourcePlan for KafkaPlan {
    fn open(&self, limits: &Limits, ignored: &[String]) -> Result<Opened, Fault> {
        let source = KafkaSource::open(self, limits, ignored)?;
        let roster = source.roster();
        let group = self.group.name().map(|_| source.membership());
        Ok(Opened {
            source: Box::new(source),
            name_of: Arc::new(move |partition| roster.name_of(partition)),
            reread: Box::new(Rereader::new(self)?),
            group,
        })
    }

    fn kafka(&self) -> Option<&KafkaPlan> {
        Some(self)
    }

    fn sample(&self, ignored: &[String], count: usize) -> Result<Vec<Sample>, Fault> {
        check::sample(self, ignored, count)
    }

    fn explain(&self) -> Vec<(String, String)> {
        let topics = match &self.topics {
            Topics::List(topics) => topics.join(", "),
            Topics::Regex { like, except } if except.is_empty() => format!("all that match {like}"),
            Topics::Regex { like, except } => {
                format!("all that match {like}, but for those that match {}", except.join(" or "))
            }
        };
        let start = match &self.from {
            Some(from) => format!("{from}, this once, whatever was committed"),
            None if self.start == Start::Committed => {
                "at the committed offset; refused where there is none".to_owned()
            }
            None => format!("at the committed offset, else {}", self.start),
        };
        let range = match &self.range {
            None => "without an end".to_owned(),
            Some(range) => format!("{range}, up to the ends as they are at the start"),
        };
        let out_of_range = match self.out_of_range {
            OutOfRange::Stop => "stops: records may be lost",
            OutOfRange::Earliest => "goes on at the first record that there is, and counts the gap",
            OutOfRange::Latest => "goes on after the last record, and counts the gap",
        };
        let out_of_range = out_of_range.to_owned();
        let fetching = match fit::why_library(self) {
            None => {
                "by the bridge itself; groups, commits and old formats by librdkafka".to_owned()
            }
            Some(why) => format!("by librdkafka: {why}"),
        };
        let own = [
            ("start", start),
            ("range", range),
            ("out of range", out_of_range),
            ("fetched", fetching),
        ];
        let secured = self.security.in_words().map(|words| ("secured", words));
        let own = [("topics", topics)].into_iter().chain(self.reader()).chain(own).chain(secured);
        let own = own.map(|(subject, text)| (subject.to_owned(), text));
        own.chain(self.shown()).collect()
    }
}

impl KafkaPlan {
    /// As whose member it reads, or what it does without: lines of `bridge explain`.
    fn reader(&self) -> [(&'static str, String); 2] {
        let Alone { partitions, progress } = match &self.group {
            Group::Named(name) => {
                let member = match &self.instance {
                    Some(id) => {
                        format!("{id} (a restart within the session finds its partitions again)")
                    }
                    None => "a new one at every start".to_owned(),
                };
                return [("group", name.clone()), ("member", member)];
            }
            Group::Alone(alone) => alone,
        };
        let read = match partitions {
            None => "none: this process reads all partitions, and those that are added".to_owned(),
            Some(some) => format!("none: this process reads partitions {some} of each topic"),
        };
        let progress = match progress {
            Some(file) => format!("kept in {}", file.display()),
            None => "kept by the sink, with the rows".to_owned(),
        };
        [("group", read), ("progress", progress)]
    }
}
