//! Who awards partitions, and keeps how far they were read: the group's coordinator, or this
//! process by itself. All else of the source is the same for both.
//!
//! ```text
//! group  ──rebalance──▶ Member ──Change──▶ source ──commit──▶ coordinator ──answer──▶ source
//! alone  ──looks at topics──▶ Member ──Change──▶ source ──commit──▶ file, or nobody: the sink does
//! ```

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;

use super::commit::Answers;
use super::fetch::Client;
use super::membership::Membership;
use super::rebalance::Member;
use super::table::Table;
use crate::batch::{PartitionIndex, TopicPartition};
use crate::blame::Fault;
use crate::config::{Group, KafkaPlan, Topics};
use crate::kafka::errors;
use crate::kafka::progress::{Point, Progress};
use crate::kafka::topics::{Scout, Topic, chosen};
use crate::kafka::wire::metadata::TopicId;

/// A look at the topics may keep the intake waiting for so long: nobody expels it meanwhile.
const LOOK_MAX: Duration = Duration::from_secs(1);
/// Time to the next look after one that found nobody.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Time between two looks where the library is told to make none by itself.
const LOOK_SELDOM: Duration = Duration::from_secs(300);

/// Whoever it is.
pub enum Keeper {
    /// The group: commits are answered.
    Group(Answers),
    /// Nobody but ourselves.
    Alone(Box<Alone>),
}

/// What became of a commit that was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// An answer will say so.
    UnderWay,
    /// It is kept.
    Kept,
}

/// What there is in a group's place.
pub struct Alone {
    progress: Option<Progress>,
    scout: Scout,
    plan: KafkaPlan,
    /// Expressions of topics that an expression must not find.
    ignored: Vec<String>,
    /// The partitions that were awarded.
    known: HashSet<TopicPartition>,
    look_at: Instant,
    look_every: Duration,
}

impl Keeper {
    /// The group, by its member.
    pub fn group(client: &Client) -> Keeper {
        Keeper::Group(Answers::new(client))
    }

    /// As the plan says. `scout` looks for partitions later, where no group does.
    pub fn new(
        plan: &KafkaPlan,
        client: &Client,
        (scout, ignored): (Scout, &[String]),
        config: &ClientConfig,
    ) -> Result<Keeper, Fault> {
        let Group::Alone(alone) = &plan.group else { return Ok(Keeper::group(client)) };
        let every = config.get("topic.metadata.refresh.interval.ms");
        let every = every.and_then(|ms| ms.parse().ok()).filter(|ms| *ms > 0);
        Ok(Keeper::Alone(Box::new(Alone {
            progress: alone.progress.as_deref().map(Progress::open).transpose()?,
            scout: scout.with_patience(LOOK_MAX),
            plan: plan.clone(),
            ignored: ignored.to_vec(),
            known: HashSet::new(),
            look_at: Instant::now(),
            look_every: every.map_or(LOOK_SELDOM, Duration::from_millis),
        })))
    }

    /// Awards partitions that came to be, if it is on us to do so and time for it.
    pub fn look(&mut self, member: &Member) -> Result<(), Fault> {
        let Keeper::Alone(alone) = self else { return Ok(()) };
        if Instant::now() < alone.look_at {
            return Ok(());
        }
        let topics = alone.topics();
        let pause =
            if topics.is_ok() { alone.look_every } else { LOOK_AGAIN.min(alone.look_every) };
        alone.look_at = Instant::now() + pause;
        alone.award(&topics?, member);
        Ok(())
    }

    /// What is committed of partitions.
    pub fn committed(
        &self,
        names: &[TopicPartition],
        membership: &Membership,
    ) -> Result<Vec<Option<i64>>, Fault> {
        match self {
            Keeper::Group(_) => membership.committed(names),
            Keeper::Alone(alone) => {
                Ok(names.iter().map(|name| Some(alone.point(name)?.next)).collect())
            }
        }
    }

    /// The number of the topic that a partition's committed offset is of, if it is known. What a
    /// group has committed of a topic is deleted with it.
    pub fn topic(&self, name: &TopicPartition) -> Option<TopicId> {
        match self {
            Keeper::Group(_) => None,
            Keeper::Alone(alone) => alone.point(name)?.topic,
        }
    }

    /// A topic is another one than it was, with this number: nothing is committed of it any more.
    pub fn forget(&mut self, topic: &str, now: TopicId) -> Result<(), Fault> {
        match self {
            Keeper::Group(_) => Ok(()),
            Keeper::Alone(alone) => {
                alone.progress.as_mut().map_or(Ok(()), |progress| progress.forget(topic, now))
            }
        }
    }

    /// Sends a commit.
    pub fn send(
        &mut self,
        points: &[(PartitionIndex, Point)],
        table: &Table,
    ) -> Result<Sent, Fault> {
        match self {
            Keeper::Group(answers) => {
                let offsets: Vec<(PartitionIndex, i64)> =
                    points.iter().map(|(index, point)| (*index, point.next)).collect();
                let sent = answers.send(&table.list(&offsets)?);
                let failed = |error| errors::fault("committing offsets", &error, None);
                sent.map(|()| Sent::UnderWay).map_err(failed)
            }
            Keeper::Alone(alone) => {
                let points =
                    points.iter().map(|(index, point)| (table.get(*index).name.clone(), *point));
                alone.progress.as_mut().map_or(Ok(()), |progress| progress.keep(points))?;
                Ok(Sent::Kept)
            }
        }
    }
}

impl Alone {
    fn point(&self, name: &TopicPartition) -> Option<Point> {
        self.progress.as_ref()?.point(name)
    }

    /// The topics that there are: one of a list may be gone, and is no reason to miss the others.
    fn topics(&self) -> Result<Vec<Topic>, Fault> {
        // A token that has run out is made anew only where it is listened to.
        self.scout.listen();
        let ask = |name: &String| self.scout.find(name).transpose();
        let topics = match &self.plan.topics {
            Topics::List(names) => names.iter().filter_map(ask).collect::<Result<_, Fault>>()?,
            like => self.scout.topics(like, &self.ignored)?,
        };
        chosen(&self.plan.group, topics)
    }

    /// Partitions that are gone stay ours: their topic may be made anew.
    fn award(&mut self, topics: &[Topic], member: &Member) {
        let all = topics.iter().flat_map(Topic::names);
        let new: Vec<TopicPartition> = all.filter(|name| !self.known.contains(name)).collect();
        if !new.is_empty() {
            self.known.extend(new.iter().cloned());
            member.award(new);
        }
    }
}
