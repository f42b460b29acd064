//! Records from Kafka, as a member of a consumer group or without one: partitions come and go by
//! the keeper's word, records come out of each partition's own queue, a batch at a time, uncopied.
//!
//! ```text
//! poll ◀── Member (stash of changes) ◀── the library, in the middle of a poll; `keeper`, if alone
//!  │ Assigned ─▶ start:   offsets asked, queues split, then assigned
//!  │ Revoked  ─▶ release: drained and committed, then given up
//! take ◀── Tap ◀── Plane: fetched by ourselves (`own`)      wait ◀── Bell
//!     ◀── Queue ◀── the library's broker thread, where it has to be the library
//! ```

#[cfg(test)]
mod alone_tests;
mod assignment;
mod bounds;
mod commit;
#[cfg(test)]
mod commit_tests;
mod fetch;
mod keeper;
mod lag;
mod membership;
mod own;
mod plan;
mod rebalance;
mod reread;
mod stable;
mod start;
mod table;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Message};

use commit::Commits;
use fetch::{Client, Misfortune};
use keeper::Keeper;
pub use membership::Membership;
use own::fit::{self, Terms};
use own::{Plane, Trouble};
use rebalance::Member;
pub use reread::{Rereader, owned as owned_record};
use stable::Stable;
pub use table::Roster;
use table::{Channel, Standing, Table};

use super::wake::Bell;
use super::{CommitPoint, Event, Lag, Source, Waker};
use crate::batch::{PartitionIndex, Taken, TopicPartition};
use crate::blame::{Blame, Fault};
use crate::config::units::show_count;
use crate::config::{KafkaPlan, OutOfRange, Start};
use crate::kafka::errors;
use crate::kafka::settings::{Budget, Settings};
use crate::kafka::topics::{self, Scout, Topic, chosen};
use crate::limits::{Limits, MIB};

/// Queues ring when they are no longer empty; should a ring be missed, a look around this often
/// mends it.
const LOOK_AROUND: Duration = Duration::from_millis(100);
/// The same trouble is logged this often.
const REPEAT: Duration = Duration::from_secs(10);

/// How long after a lost session its echoes may come.
const OWN_ECHO: Duration = Duration::from_secs(120);
/// How long a source that nobody closed may take to leave.
const LEAVE_MAX: Duration = Duration::from_secs(2);

/// A source that reads topics.
pub struct KafkaSource {
    client: Client,
    membership: Membership,
    keeper: Keeper,
    bell: Arc<Bell>,
    table: Table,
    plan: KafkaPlan,
    /// How many partitions topics had when we began.
    known_partitions: HashMap<String, i32>,
    settings: Settings,
    /// Awarded partitions that the intake wants to read, and from where.
    starts: Vec<(PartitionIndex, Option<i64>)>,
    starts_at: Instant,
    leaving: Option<assignment::Leaving>,
    commits: Commits,
    stable: Stable,
    /// Fetches records, if it is not the library that does.
    plane: Option<Plane>,
    /// To be told at the next polls.
    told: VecDeque<Event>,
    /// When to look next whether partitions are over.
    bounds_at: Instant,
    /// When the group gave our partitions to others without asking.
    lost_at: Option<Instant>,
    config: ClientConfig,
    warned_at: Option<Instant>,
    closed: bool,
}

impl KafkaSource {
    /// Asks for the topics, makes the client and joins the group, if there is one. `ignored_topics`
    /// are expressions of topics that an expression must not find: the pipeline's own dead letters.
    pub fn open(
        plan: &KafkaPlan,
        limits: &Limits,
        ignored_topics: &[String],
    ) -> Result<KafkaSource, Fault> {
        let settings = Settings::new(plan)?;
        // The budget of a queue is fixed when the client is made, so the topics come first.
        let scout = Scout::new(&settings)?;
        let found = scout.topics(&plan.topics, ignored_topics)?;
        let count = |topic: &Topic| (topic.name.to_string(), topic.partitions.len() as i32);
        let known_partitions = found.iter().map(count).collect();
        let partitions =
            chosen(&plan.group, found)?.iter().map(|topic| topic.partitions.len()).sum();
        let budget = Budget { bytes: limits.fetch_bytes_max, partitions };
        warn_of(budget, plan);
        let mut config = settings.consumer(budget, &topics::left_out(&plan.topics, ignored_topics));
        // What the library reads is over at an end without a record, too.
        config.set("enable.partition.eof", "true");
        let bell = Arc::new(Bell::default());
        let client = join(&config, plan, &bell, &settings)?;
        let terms = match fit::why_library(plan) {
            None => Terms::of(&config, budget),
            Some(_) => None,
        };
        let now = Instant::now();
        Ok(KafkaSource {
            membership: Membership::new(plan.group.name().unwrap_or_default(), &client),
            keeper: Keeper::new(plan, &client, (scout, ignored_topics), &config)?,
            commits: Commits::new(),
            stable: Stable::new(&client, &config),
            plane: terms.map(|terms| Plane::new(terms, &bell)),
            client,
            bell,
            table: Table::default(),
            plan: plan.clone(),
            known_partitions,
            settings,
            starts: Vec::new(),
            starts_at: now,
            leaving: None,
            told: VecDeque::new(),
            bounds_at: now,
            lost_at: None,
            config,
            warned_at: None,
            closed: false,
        })
    }

    /// The names of partitions, for those outside the intake thread.
    pub fn roster(&self) -> Roster {
        self.table.roster.clone()
    }

    /// Serves the client's own queue: rebalances, commits, log lines, errors.
    fn listen(&mut self) -> Result<(), Fault> {
        let client = Arc::clone(&self.client);
        match client.poll(Duration::ZERO) {
            None => Ok(()),
            Some(Ok(message)) => {
                // Its queue was split before it was assigned, so none should come this way; one
                // that does is not lost but read again.
                let (topic, partition) = (message.topic().into(), message.partition());
                let name = TopicPartition { topic, partition };
                let Some(index) = self.table.find(&name) else { return Ok(()) };
                if self.table.get(index).is_own() {
                    // Fetched before it was paused; we fetch it ourselves.
                    return Ok(());
                }
                tracing::warn!("{name} sent a record past its queue; it is read again");
                self.reposition(index, self.table.get(index).position)
            }
            Some(Err(error)) => self.heard(&error),
        }
    }

    /// An error of the client as a whole.
    fn heard(&mut self, error: &KafkaError) -> Result<(), Fault> {
        let words = self.client.context().diagnostics.last_words();
        let Some(mut code) = error.rdkafka_error_code() else { return Ok(()) };
        let is_fatal = matches!(error, KafkaError::MessageConsumptionFatal(_))
            || matches!(code, RDKafkaErrorCode::Fatal | RDKafkaErrorCode::FencedInstanceId);
        if is_fatal {
            code = self.client.client().fatal_error().map_or(code, |(code, _)| code);
            // After an outage the library sends what it had to say under the name that it had
            // then, and is taken for an impostor of its new self. That happens once; a second
            // process would come again.
            let own_doing = self.lost_at.take().is_some_and(|at| at.elapsed() < OWN_ECHO);
            if code == RDKafkaErrorCode::FencedInstanceId && own_doing {
                return self.begin_again();
            }
            return Err(self.fatal(code, words));
        }
        match errors::judge(Some(code), words.as_deref()) {
            Blame::World => Ok(()), // It was logged by the context; the library tries again.
            _ => Err(errors::fault(&self.plan.group.reading(), error, words)),
        }
    }

    fn fatal(&self, code: RDKafkaErrorCode, words: Option<String>) -> Fault {
        if code == RDKafkaErrorCode::FencedInstanceId {
            return errors::fenced(self.plan.instance.as_deref().unwrap_or_default());
        }
        let error = KafkaError::MessageConsumptionFatal(code);
        errors::fault(&self.plan.group.reading(), &error, words)
    }

    /// What the library says about one partition.
    fn suffer(&mut self, index: PartitionIndex, misfortune: &Misfortune) -> Result<(), Fault> {
        use RDKafkaErrorCode as Code;
        let partition = self.table.get(index);
        let at = format!("{}@{}", partition.name, partition.position);
        match misfortune.code {
            Code::PartitionEOF => {
                self.reached_end(index, misfortune.offset);
                Ok(())
            }
            Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::NoOffset => {
                self.warn(&format!("reading {at}: {}", misfortune.words));
                self.lost_place(index)
            }
            Code::BadMessage | Code::InvalidMessage | Code::BadCompression | Code::Underflow => {
                // Going on would leave a hole that nobody sees.
                Err(Fault::operator(format!("reading {at}: {}", misfortune.words)).hint(
                    "the log is damaged there; start past it with --from, or move the group's offset",
                ))
            }
            Code::MessageSizeTooLarge => {
                Err(Fault::operator(format!("reading {at}: {}", misfortune.words))
                    .hint("raise kafka.properties.receive.message.max.bytes"))
            }
            code if errors::blame(code) == Blame::World => {
                self.warn(&format!("reading {at}: {}; trying again", misfortune.words));
                Ok(())
            }
            code => {
                let fault = Fault::operator(format!("reading {at}: {}", misfortune.words));
                Err(Fault { hint: errors::hint(code), ..fault })
            }
        }
    }

    /// The offset that is to be read is no longer in the log, or not yet.
    fn lost_place(&mut self, index: PartitionIndex) -> Result<(), Fault> {
        self.commits.forget(index);
        let partition = self.table.get_mut(index);
        // A commit of the old log that is still under way is not made again.
        (partition.gone, partition.sent) = (true, -1);
        let (name, position) = (partition.name.clone(), partition.position);
        if let Some(now) = partition.another() {
            self.keeper.forget(&name.topic, now)?;
        }
        let reset = match self.plan.out_of_range {
            OutOfRange::Stop => None,
            OutOfRange::Earliest => Some(Start::Earliest),
            OutOfRange::Latest => Some(Start::Latest),
        };
        let Some(reset) = reset else {
            let message = format!(
                "offset {position} of {name} is not in the log any more (retention passed it, or \
                 the topic was made anew): records may be lost"
            );
            return Err(Fault::operator(message).hint(
                "go on with what there is: `bridge run --from earliest` once, or \
                 out_of_range = \"earliest\" in the pipeline for always",
            ));
        };
        let to = match self.place(&name, &reset) {
            Ok(to) => to,
            Err(fault) if fault.blame == Blame::World => {
                // A topic that was made just now may have no leader yet.
                self.warn(&format!("{}; trying again", fault.message));
                let again = Trouble::code(RDKafkaErrorCode::OffsetOutOfRange);
                self.table.get_mut(index).trouble = Some(again);
                return Ok(());
            }
            Err(fault) => return Err(fault),
        };
        let missed = to.saturating_sub(position).max(0) as u64;
        tracing::error!(
            "offset {position} of {name} is not in the log any more: going on from {to}, as \
             `out_of_range` says; {} offsets between were not read",
            show_count(missed)
        );
        self.told.push_back(match missed {
            0 => Event::WentBack(index, to),
            _ => Event::Missed(index, missed),
        });
        self.reposition(index, to)?;
        // Until that is heard, what was stored before is still told as progress.
        self.table.get_mut(index).gone = true;
        Ok(())
    }

    fn warn(&mut self, message: &str) {
        if self.warned_at.is_none_or(|at| at.elapsed() > REPEAT) {
            self.warned_at = Some(Instant::now());
            tracing::warn!("{message}");
        }
    }
}

/// Says so where the partitions together may hold more than they should, and where there are none.
fn warn_of(budget: Budget, plan: &KafkaPlan) {
    if budget.partitions == 0 {
        tracing::warn!("{}: no topic matches yet; waiting for the first", plan.group.reading());
    }
    if budget.bytes_least() > budget.bytes {
        let (least, max) = (budget.bytes_least() / MIB, budget.bytes / MIB);
        tracing::warn!(
            "{}: {} partitions may hold {least} MiB fetched, fetch_bytes_max is {max} MiB: raise \
             it, for the memory ceiling does not hold with it",
            plan.group.reading(),
            budget.partitions
        );
    }
}

/// Makes a client and joins the group, if there is one.
fn join(
    config: &ClientConfig,
    plan: &KafkaPlan,
    bell: &Arc<Bell>,
    settings: &Settings,
) -> Result<Client, Fault> {
    let member = Member::new(bell, settings.diagnostics());
    let mut client: BaseConsumer<Member> =
        config.create_with_context(member).map_err(|error| settings.refused(&error))?;
    client.set_nonempty_callback({
        let bell = Arc::clone(bell);
        move || bell.ring()
    });
    if plan.group.alone().is_some() {
        return Ok(Arc::new(client));
    }
    let subscription = topics::subscription(&plan.topics);
    let subscription: Vec<&str> = subscription.iter().map(String::as_str).collect();
    client
        .subscribe(&subscription)
        .map_err(|error| Fault::operator(format!("subscribing to {subscription:?}: {error}")))?;
    Ok(Arc::new(client))
}

/// Left without a word, the client would wait for ever for somebody to answer its rebalances.
impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.leave(Instant::now() + LEAVE_MAX);
    }
}

impl Source for KafkaSource {
    fn name_of(&self, partition: PartitionIndex) -> TopicPartition {
        self.table.get(partition).name.clone()
    }

    fn poll(&mut self) -> Result<Option<Event>, Fault> {
        self.listen()?;
        if self.plane.as_ref().is_some_and(Plane::has_died) {
            return Err(Fault::us("a thread that fetches records ended"));
        }
        self.follow_commits()?;
        if let Err(fault) = self.keeper.look(self.client.context()) {
            self.warn(&format!("looking for partitions: {}; trying again", fault.message));
        }
        self.finish_starts()?;
        match self.next_event()? {
            None => self.follow_bounds(),
            event => Ok(event),
        }
    }

    fn start(&mut self, at: &[(PartitionIndex, Option<i64>)]) -> Result<(), Fault> {
        self.starts.extend_from_slice(at);
        self.starts_at = Instant::now();
        self.finish_starts()
    }

    fn take(
        &mut self,
        partition: PartitionIndex,
        records_max: usize,
    ) -> Result<Option<Taken>, Fault> {
        let known = self.table.get_mut(partition);
        if known.standing != Standing::Owned || known.paused {
            return Ok(None);
        }
        if known.trouble.is_none() {
            let mut trouble = None;
            let taken = match (&mut known.channel, &mut self.plane) {
                (Some(Channel::Library(queue)), _) => {
                    queue.take(records_max, &mut |found| trouble = Some(Trouble::Said(found)))
                }
                (Some(Channel::Own(tap)), Some(plane)) => {
                    tap.take(records_max, &mut plane.unpacker, &mut |found| trouble = Some(found))
                }
                _ => None,
            };
            known.trouble = trouble;
            if let Some(taken) = taken {
                return Ok(known.keep(taken));
            }
        }
        match known.trouble.take() {
            Some(Trouble::Said(misfortune)) => self.suffer(partition, &misfortune).map(|()| None),
            Some(Trouble::Foreign(why)) => self.hand_over(partition, &why).map(|()| None),
            None => Ok(None),
        }
    }

    // Pausing in the library would throw away what was fetched. A queue that nobody takes from
    // fills to its budget and is fetched no further, which is all that is wanted.
    fn pause(&mut self, partition: PartitionIndex) -> Result<(), Fault> {
        self.table.get_mut(partition).paused = true;
        Ok(())
    }

    fn resume(&mut self, partition: PartitionIndex) -> Result<(), Fault> {
        self.table.get_mut(partition).paused = false;
        self.bell.ring();
        Ok(())
    }

    fn rewind(&mut self, partition: PartitionIndex, next: i64) -> Result<(), Fault> {
        match self.table.get(partition).standing {
            Standing::Owned => self.reposition(partition, next),
            // Whoever has it begins at the committed offset.
            Standing::Away | Standing::Awarded => Ok(()),
        }
    }

    fn commit(&mut self, points: &[CommitPoint], wait: bool) -> Result<(), Fault> {
        self.keep(points, wait)
    }

    fn has_lost(&self) -> bool {
        self.client.assignment_lost()
    }

    fn release(&mut self, partitions: &[PartitionIndex]) -> Result<(), Fault> {
        self.let_go(partitions)
    }

    fn lag(&mut self) -> Vec<Lag> {
        self.look_ahead()
    }

    fn wait(&mut self, deadline: Instant) {
        self.bell.wait(deadline.min(Instant::now() + LOOK_AROUND));
    }

    fn waker(&self) -> Waker {
        let bell = Arc::clone(&self.bell);
        Arc::new(move || bell.ring())
    }

    fn close(&mut self, timeout: Duration) {
        self.leave(Instant::now() + timeout);
    }
}
