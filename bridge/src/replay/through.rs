//! Dead letters as the source of a pipeline, which takes them for the records that they were.
//!
//! ```text
//! letters ──group──▶ Taken ──filter──▶ runs: records of one partition each ──▶ intake ──▶ …
//!    ▲ offsets of the letters answer                  │ rows, rejects: where records are from
//!    └───────────────── commits ◀── ledger            ▼ a refused one is read again as a letter
//! ```

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::Counts;
use super::letter::{Filter, Letter};
use crate::batch::{Origin, PartitionIndex, Taken, TopicPartition};
use crate::blame::Fault;
use crate::config::KafkaPlan;
use crate::kafka::check::Sample;
use crate::limits::Limits;
use crate::source::{
    self, CommitPoint, Event, Lag, NameOf, Opened, OwnedRecord, Reread, Source, SourcePlan, Waker,
};

/// Partitions that records are from are numbered from here on: behind all that a topic of letters
/// may have, and low enough for tables by number.
const FIRST_ORIGIN: u32 = 1 << 16;

/// Letters as a pipeline's source.
#[derive(Debug)]
pub struct Letters {
    kafka: KafkaPlan,
    filter: Filter,
    counts: Arc<Mutex<Counts>>,
}

impl Letters {
    /// The letters in the topics of a plan, which has an end.
    pub fn new(kafka: KafkaPlan, filter: Filter) -> Letters {
        Letters { kafka, filter, counts: Arc::default() }
    }

    /// What came of them so far. Those count as sent that were read to be given to the pipeline.
    pub fn counts(&self) -> Arc<Mutex<Counts>> {
        Arc::clone(&self.counts)
    }
}

impl SourcePlan for Letters {
    /// The topics that are ignored are those that are read here.
    fn open(&self, limits: &Limits, _: &[String]) -> Result<Opened, Fault> {
        let Opened { source, name_of: inner_name, reread, group } = self.kafka.open(limits, &[])?;
        let known = Arc::new(Mutex::new(Known::default()));
        let name_of: NameOf = Arc::new({
            let (known, inner_name) = (Arc::clone(&known), Arc::clone(&inner_name));
            move |partition| match lock(&known).origin(partition) {
                Some(name) => name.clone(),
                None => inner_name(partition),
            }
        });
        Ok(Opened {
            reread: Box::new(Rereader {
                inner: reread,
                known: Arc::clone(&known),
                name_of: inner_name,
            }),
            source: Box::new(LetterSource {
                inner: source,
                filter: self.filter.clone(),
                counts: self.counts(),
                known,
                shelves: HashMap::new(),
            }),
            name_of,
            group,
        })
    }

    fn kafka(&self) -> Option<&KafkaPlan> {
        Some(&self.kafka)
    }

    fn sample(&self, ignored: &[String], count: usize) -> Result<Vec<Sample>, Fault> {
        self.kafka.sample(ignored, count)
    }

    fn explain(&self) -> Vec<(String, String)> {
        self.kafka.explain()
    }
}

/// What all threads know of letters.
#[derive(Default)]
struct Known {
    /// The partitions that records are from, by their numbers from [`FIRST_ORIGIN`] on.
    origins: Vec<TopicPartition>,
    /// Letters that may not be stored yet, by the partition that they are in: their offsets, and
    /// what they are of. As many as are under way.
    under_way: HashMap<PartitionIndex, VecDeque<(i64, PartitionIndex, i64)>>,
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().expect("no one panics with it")
}

impl Known {
    /// The number of a partition that records are from.
    fn number(&mut self, name: &TopicPartition) -> PartitionIndex {
        let found = self.origins.iter().position(|known| known == name);
        let place = found.unwrap_or_else(|| {
            self.origins.push(name.clone());
            self.origins.len() - 1
        });
        PartitionIndex(FIRST_ORIGIN + place as u32)
    }

    /// The name of such a number; `None` if it is none.
    fn origin(&self, number: PartitionIndex) -> Option<&TopicPartition> {
        self.origins.get(number.0.checked_sub(FIRST_ORIGIN)? as usize)
    }

    /// The letter of a record: the partition that it is in, and its offset there.
    fn letter_of(&self, from: &TopicPartition, offset: i64) -> Option<(PartitionIndex, i64)> {
        self.under_way.iter().find_map(|(partition, letters)| {
            let is_it = |(_, number, at): &&(i64, PartitionIndex, i64)| {
                *at == offset && self.origin(*number) == Some(from)
            };
            letters.iter().find(is_it).map(|(letter, ..)| (*partition, *letter))
        })
    }

    /// Everything before these points is stored.
    fn forget(&mut self, points: &[CommitPoint]) {
        for point in points {
            if let Some(letters) = self.under_way.get_mut(&point.partition) {
                let stored = letters.partition_point(|(letter, ..)| *letter < point.next);
                letters.drain(..stored);
            }
        }
    }

    /// Letters from an offset on are read again, or by somebody else.
    fn forget_from(&mut self, partition: PartitionIndex, next: i64) {
        if let Some(letters) = self.under_way.get_mut(&partition) {
            letters.truncate(letters.partition_point(|(letter, ..)| *letter < next));
        }
    }
}

/// Consecutive letters whose records are of one partition, by ascending offset there: what a
/// pipeline would have taken there at once.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Run {
    pub(super) from: TopicPartition,
    /// The offsets of the letters: the first, and the one after the last.
    pub(super) span: (i64, i64),
    pub(super) records: Vec<(i64, OwnedRecord)>,
}

/// Letters by their offsets as runs, whose spans together are that of what was read: what was left
/// out between them is done with them.
pub(super) fn runs(letters: Vec<(i64, Letter)>, (first, next): (i64, i64)) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (at, letter) in letters {
        let (from, offset) = (letter.source.clone(), letter.offset);
        let goes_on = |run: &&mut Run| {
            run.from == from && run.records.last().is_some_and(|(last, _)| *last < offset)
        };
        if let Some(run) = runs.last_mut().filter(goes_on) {
            run.records.push((offset, letter.into()));
            continue;
        }
        let mut span = (first, next);
        if let Some(before) = runs.last_mut() {
            (before.span.1, span.0) = (at, at);
        }
        runs.push(Run { from, span, records: vec![(offset, letter.into())] });
    }
    runs
}

/// What was read of a partition of letters and not handed on.
#[derive(Default)]
struct Shelf {
    runs: VecDeque<Run>,
    /// Nothing comes behind these.
    is_over: bool,
    /// Letters before this offset are counted: what is read again is not counted again.
    counted: i64,
}

struct LetterSource {
    inner: Box<dyn Source>,
    filter: Filter,
    counts: Arc<Mutex<Counts>>,
    known: Arc<Mutex<Known>>,
    shelves: HashMap<PartitionIndex, Shelf>,
}

impl LetterSource {
    /// What letters were; an empty run if none of them is wanted.
    fn restore(&mut self, partition: PartitionIndex, taken: &Taken) -> VecDeque<Run> {
        let Some(span) = taken.span() else { return VecDeque::new() };
        let name = self.inner.name_of(partition);
        let shelf = self.shelves.entry(partition).or_default();
        let mut counts = self.counts.lock().expect("no one panics with it");
        let mut uncounted = Counts::default();
        let mut letters = Vec::new();
        for index in 0..taken.len() {
            let offset = taken.get(index).offset;
            let counts = if offset < shelf.counted { &mut uncounted } else { &mut *counts };
            let (record, place) = (OwnedRecord::of(taken, index), format!("{name}@{offset}"));
            let Some(letter) = counts.judge(record, place, &self.filter) else { continue };
            counts.note_sent(&letter, None);
            letters.push((offset, letter));
        }
        shelf.counted = shelf.counted.max(span.1);
        let mut known = lock(&self.known);
        for (at, letter) in &letters {
            let number = known.number(&letter.source);
            let under_way = known.under_way.entry(partition).or_default();
            under_way.push_back((*at, number, letter.offset));
        }
        let mut runs: VecDeque<Run> = runs(letters, span).into();
        if runs.is_empty() {
            runs.push_back(Run { from: name, span, records: Vec::new() });
        }
        runs
    }

    /// A run as it is handed on.
    fn batch(&self, run: Run) -> Taken {
        let Run { from, span, records } = run;
        let partition = lock(&self.known).number(&from);
        source::lend(records).of_origin(Origin { partition, source: from, span })
    }

    /// A partition is read from somewhere else.
    fn clear(&mut self, partition: PartitionIndex, next: i64) {
        lock(&self.known).forget_from(partition, next);
        let shelf = self.shelves.entry(partition).or_default();
        shelf.runs.clear();
        shelf.is_over = false;
    }
}

impl Source for LetterSource {
    fn name_of(&self, partition: PartitionIndex) -> TopicPartition {
        self.inner.name_of(partition)
    }

    fn poll(&mut self) -> Result<Option<Event>, Fault> {
        let over =
            |(_, shelf): &(&PartitionIndex, &mut Shelf)| shelf.is_over && shelf.runs.is_empty();
        if let Some((partition, shelf)) = self.shelves.iter_mut().find(over) {
            shelf.is_over = false;
            return Ok(Some(Event::Ended(*partition)));
        }
        match self.inner.poll()? {
            Some(Event::Ended(partition)) => {
                let shelf = self.shelves.entry(partition).or_default();
                shelf.is_over = !shelf.runs.is_empty();
                Ok((!shelf.is_over).then_some(Event::Ended(partition)))
            }
            event => Ok(event),
        }
    }

    fn start(&mut self, at: &[(PartitionIndex, Option<i64>)]) -> Result<(), Fault> {
        at.iter().for_each(|(partition, _)| self.clear(*partition, 0));
        self.inner.start(at)
    }

    fn take(
        &mut self,
        partition: PartitionIndex,
        records_max: usize,
    ) -> Result<Option<Taken>, Fault> {
        let shelf = self.shelves.entry(partition).or_default();
        if let Some(run) = shelf.runs.pop_front() {
            return Ok(Some(self.batch(run)));
        }
        let Some(taken) = self.inner.take(partition, records_max)? else { return Ok(None) };
        let mut runs = self.restore(partition, &taken);
        let first = runs.pop_front();
        self.shelves.entry(partition).or_default().runs = runs;
        Ok(first.map(|run| self.batch(run)))
    }

    fn pause(&mut self, partition: PartitionIndex) -> Result<(), Fault> {
        self.inner.pause(partition)
    }

    fn resume(&mut self, partition: PartitionIndex) -> Result<(), Fault> {
        self.inner.resume(partition)
    }

    fn rewind(&mut self, partition: PartitionIndex, next: i64) -> Result<(), Fault> {
        self.clear(partition, next);
        self.inner.rewind(partition, next)
    }

    fn commit(&mut self, points: &[CommitPoint], wait: bool) -> Result<(), Fault> {
        lock(&self.known).forget(points);
        self.inner.commit(points, wait)
    }

    fn has_lost(&self) -> bool {
        self.inner.has_lost()
    }

    fn release(&mut self, partitions: &[PartitionIndex]) -> Result<(), Fault> {
        self.inner.release(partitions)
    }

    /// What waits here was not taken, however far the log was read.
    fn lag(&mut self) -> Vec<Lag> {
        let mut all = self.inner.lag();
        for lag in &mut all {
            let shelf = self.shelves.get(&lag.partition);
            let waits = shelf.and_then(|shelf| shelf.runs.front());
            lag.position = waits.map_or(lag.position, |run| run.span.0);
        }
        all
    }

    fn wait(&mut self, deadline: Instant) {
        self.inner.wait(deadline);
    }

    fn waker(&self) -> Waker {
        self.inner.waker()
    }

    fn close(&mut self, timeout: Duration) {
        self.inner.close(timeout);
    }
}

/// Reads records again out of their letters, for what the sink refused goes into one once more.
struct Rereader {
    inner: Box<dyn Reread>,
    known: Arc<Mutex<Known>>,
    /// Of the partitions that letters are in.
    name_of: NameOf,
}

impl Reread for Rereader {
    fn reread(
        &mut self,
        partition: &TopicPartition,
        offset: i64,
    ) -> Result<Option<OwnedRecord>, Fault> {
        let letter = lock(&self.known).letter_of(partition, offset);
        let Some((shelf, at)) = letter else { return self.inner.reread(partition, offset) };
        let found = self.inner.reread(&(self.name_of)(shelf), at)?;
        let letter = found.and_then(|record| Letter::of(record, String::new()));
        Ok(letter.map(OwnedRecord::from))
    }
}
