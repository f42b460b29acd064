//! Who deals partitions out, and keeps how far they were read: a consumer group, or nobody but the
//! process itself.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer};

use super::start::Said;

/// As whose member records are read. Shown as what keeps the offsets, for messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Group {
    /// A consumer group of this name.
    Named(String),
    /// Nobody's: the process takes partitions by itself.
    Alone(Alone),
}

/// What is read without a group, and who keeps how far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Alone {
    /// Only these partitions of each topic.
    pub partitions: Option<Partitions>,
    /// The file that keeps how far they were read; `None` where the sink does, with the rows.
    pub progress: Option<PathBuf>,
}

/// Numbers of partitions, as ranges.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Partitions(Vec<RangeInclusive<i32>>);

impl Group {
    /// The group's name, if there is a group.
    pub fn name(&self) -> Option<&str> {
        match self {
            Group::Named(name) => Some(name),
            Group::Alone(_) => None,
        }
    }

    /// What is read, if there is no group.
    pub fn alone(&self) -> Option<&Alone> {
        match self {
            Group::Named(_) => None,
            Group::Alone(alone) => Some(alone),
        }
    }

    /// The file of progress, if there is one.
    pub fn progress(&self) -> Option<&Path> {
        self.alone()?.progress.as_deref()
    }

    /// What the process does, for messages.
    pub fn reading(&self) -> String {
        match self {
            Group::Named(name) => format!("reading as group {name}"),
            Group::Alone(_) => "reading without a group".to_owned(),
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Group::Named(name) => write!(f, "group {name}"),
            Group::Alone(Alone { progress: Some(file), .. }) => write!(f, "{}", file.display()),
            Group::Alone(_) => f.write_str("the sink"),
        }
    }
}

impl Partitions {
    /// Reads `0-3, 7`.
    pub fn parse(text: &str) -> Result<Partitions, String> {
        let number = |text: &str| text.trim().parse::<i32>().ok().filter(|number| *number >= 0);
        let range = |text: &str| {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            let range = number(first)?..=number(last)?;
            (!range.is_empty()).then_some(range)
        };
        let ranges = text.split(',').map(range).collect::<Option<Vec<_>>>();
        ranges
            .map(Partitions)
            .ok_or_else(|| format!("`{text}` names no partitions; such as \"0-3, 7\""))
    }

    /// Whether a partition of this number is among them.
    pub fn contains(&self, partition: i32) -> bool {
        self.0.iter().any(|range| range.contains(&partition))
    }

    /// One that is not there, if all that there are have numbers below this.
    pub fn beyond(&self, count: i32) -> Option<i32> {
        self.0.iter().map(|range| *range.end()).find(|last| *last >= count)
    }
}

impl fmt::Display for Partitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, range) in self.0.iter().enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            match (range.start(), range.end()) {
                (first, last) if first == last => write!(f, "{comma}{first}")?,
                (first, last) => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Partitions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Partitions, D::Error> {
        let said = Said(Partitions::parse, "numbers of partitions, such as \"0-3, 7\"");
        deserializer.deserialize_any(said)
    }
}

impl JsonSchema for Partitions {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Partitions".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "numbers of partitions", "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{KafkaPlan, Mistakes, Overrides, Plan, Surroundings};

    #[test]
    fn partitions_are_read_and_told() {
        for (text, told) in [("0-3, 7", "0-3, 7"), ("5", "5"), (" 2 - 2 ,0", "2, 0")] {
            let read = Partitions::parse(text).map(|partitions| partitions.to_string());
            assert_eq!(read.as_deref(), Ok(told), "{text}");
        }
        for text in ["", "x", "3-1", "-1", "1,", "1-", "0..3"] {
            assert!(Partitions::parse(text).is_err(), "{text}");
        }
        let some = Partitions::parse("0-3, 7").expect("it is right");
        let there: Vec<i32> = (0..10).filter(|number| some.contains(*number)).collect();
        assert_eq!(there, [0, 1, 2, 3, 7]);
        assert_eq!((some.beyond(8), some.beyond(7)), (None, Some(7)));
    }

    fn parse(rest: &str) -> Result<Plan, Box<Mistakes>> {
        let with =
            Surroundings { env: &|_| None, host: "h".to_owned(), base: Path::new("/etc/bridge") };
        let text = format!("[pipeline.p]\ntopics = [\"a\"]\n{rest}");
        Plan::parse("t.toml", &text, &with, &Overrides::default())
    }

    fn read(rest: &str) -> KafkaPlan {
        let plan = parse(rest).unwrap_or_else(|mistakes| panic!("{rest}: {mistakes}"));
        plan.pipelines[0].source.kafka().expect("it reads from Kafka").clone()
    }

    const ONCE: &str = "delivery = \"exactly-once\"\n[pipeline.p.sink]\n";

    #[test]
    fn without_a_group_a_file_or_the_sink_keeps_progress() {
        let plan = read("group = false\nprogress = \"p.progress\"\npartitions = \"1-2\"");
        assert_eq!(plan.group.progress(), Some(Path::new("/etc/bridge/p.progress")));
        let partitions = plan.group.alone().and_then(|alone| alone.partitions.clone());
        assert_eq!(partitions, Partitions::parse("1-2").ok());
        assert_eq!((plan.group.name(), plan.instance), (None, None));
        let kept = read(&format!("group = false\n{ONCE}kind = \"postgres\""));
        assert_eq!(kept.group, Group::Alone(Alone::default()));
        assert_eq!(read("").group, Group::Named("bridge-p".to_owned()));
        assert_eq!(read("group = \"g\"").group, Group::Named("g".to_owned()));
    }

    #[test]
    fn what_cannot_be_is_refused_at_its_key() {
        let of_topics =
            format!("group = false\nprogress = \"p\"\n{ONCE}kind = \"kafka\"\ntopic = \"b\"");
        for (rest, key, said) in [
            ("group = false", "pipeline.p.group", "how far it was read is kept by nobody"),
            ("group = true", "pipeline.p.group", "or say `false`"),
            ("progress = \"p\"", "pipeline.p.progress", "goes with `group = false`"),
            ("partitions = \"0\"", "pipeline.p.partitions", "goes with `group = false`"),
            (
                "group = false\nprogress = \"p\"\ninstance = \"i\"",
                "pipeline.p.instance",
                "without a group",
            ),
            (
                "group = false\nprogress = \"p\"\npartitions = \"3-1\"",
                "pipeline.p.partitions",
                "names no partitions",
            ),
            (&of_topics, "pipeline.p.group", "a transaction commits rows and the group's offsets"),
        ] {
            let mistakes = parse(rest).expect_err(rest).to_string();
            assert!(mistakes.contains(&format!("error: {key}: ")), "{mistakes}");
            assert!(mistakes.contains(said), "{mistakes}");
        }
        let second = "group = false\nprogress = \"p\"\n[pipeline.q]\ntopics = [\"b\"]\n\
                      group = false\nprogress = \"p\"";
        let mistakes = parse(second).expect_err("two write one file").to_string();
        assert!(
            mistakes.contains("pipelines p and q share the file `/etc/bridge/p`"),
            "{mistakes}"
        );
    }
}
