//! The consumer group as a source that a plan names.

use std::sync::Arc;

use super::own::fit;
use super::{KafkaSource, Rereader};
use crate::blame::Fault;
use crate::config::{KafkaPlan, Start, Topics};
use crate::kafka::check::{self, Sample};
use crate::limits::Limits;
use crate::source::{Opened, SourcePlan};

impl SourcePlan for KafkaPlan {
    fn open(&self, limits: &Limits, ignored: &[String]) -> Result<Opened, Fault> {
        let source = KafkaSource::open(self, limits, ignored)?;
        let roster = source.roster();
        let group = Some(source.membership());
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
            Topics::Regex(regex) => format!("all that match {regex}"),
        };
        let member = match &self.instance {
            Some(id) => format!("{id} (a restart within the session finds its partitions again)"),
            None => "a new one at every start".to_owned(),
        };
        let words = |start| match start {
            Start::Earliest => "at the first record",
            Start::Latest => "after the last record",
            Start::Committed => "at the committed offset only",
        };
        let start = match self.from {
            Some(from) => format!("{}, this once, whatever was committed", words(from)),
            None if self.start == Start::Committed => {
                "at the committed offset; refused where there is none".to_owned()
            }
            None => format!("at the committed offset, else {}", words(self.start)),
        };
        let group = self.group.clone();
        let fetching = match fit::why_library(self) {
            None => {
                "by the bridge itself; groups, commits and old formats by librdkafka".to_owned()
            }
            Some(why) => format!("by librdkafka: {why}"),
        };
        let own = [
            ("topics", topics),
            ("group", group),
            ("member", member),
            ("start", start),
            ("fetched", fetching),
        ];
        let own = own.map(|(subject, text)| (subject.to_owned(), text));
        own.into_iter().chain(self.shown()).collect()
    }
}
