//! Watches a table from outside until every row is there or nothing moves any more.
//!
//! Rows tell what is visible. Commits to the table's log tell who works: they come from writers
//! alone, while rows of earlier commits may become visible long after a restart.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use world::{Process, QuestDb};

use crate::harness::Servers;
use crate::peers::TABLE;
use crate::peers::launch::Launch;

use super::verdict::Look;

/// From one look to the next.
const BEAT: Duration = Duration::from_millis(100);
/// All rows are there: how long to wait for double ones.
const DOUBLE: Duration = Duration::from_secs(3);
/// Nothing is left to read: how long to wait for rows under way.
const UNDER_WAY: Duration = Duration::from_secs(10);
/// Questions to the broker cost more than those to the table.
const ASK: Duration = Duration::from_secs(2);
/// How long the broker may take to answer them.
const ASKED: Duration = Duration::from_secs(30);
/// The program has ended or given up: how long to wait for what it left behind.
const LEFT_BEHIND: Duration = Duration::from_secs(5);
/// Longer than any stall that ends by itself: a dead member's session of 45 s, Connect's commits
/// of offsets every 60 s.
const PATIENCE: Duration = Duration::from_secs(75);

/// How it ended.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// Every row is there.
    Complete,
    /// Nothing is left to read, and rows are missing.
    Settled,
    /// Something is left to read, and nobody does.
    Stuck(String),
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct Watched {
    pub end: End,
    /// Looks that differ from the ones before.
    pub seen: Vec<Look>,
    /// From the beginning of the watch to the first commit.
    pub first_commit_s: Option<f64>,
    /// Lines that the program had said by then.
    pub lines_at_first_commit: usize,
}

/// Who is watched.
pub struct Watch<'a> {
    pub servers: &'a Servers,
    pub launch: &'a Launch,
    pub topic: &'a str,
    /// Good records in the topic.
    pub good: u64,
    /// The moment 0 of what is seen.
    pub clock: Instant,
}

impl Watch<'_> {
    /// Watches a process; commits beyond `commits_before` are its work.
    pub fn until_quiet(&self, process: &Process, commits_before: u64) -> Result<Watched> {
        let start = Instant::now();
        let mut watched = Watched {
            end: End::Complete,
            seen: Vec::new(),
            first_commit_s: None,
            lines_at_first_commit: 0,
        };
        let (mut last, mut changed, mut asked) = (None, start, start);
        loop {
            // A database that is away shows nothing.
            let clock = || self.clock.elapsed().as_secs_f64();
            if let Ok((rows, commits)) = look(&self.servers.questdb) {
                if commits > commits_before && watched.first_commit_s.is_none() {
                    watched.first_commit_s = Some(start.elapsed().as_secs_f64());
                    watched.lines_at_first_commit = process.lines().len();
                }
                if last != Some((rows, commits)) {
                    watched.seen.push(Look { at_s: clock(), rows, commits });
                    (last, changed) = (Some((rows, commits)), Instant::now());
                }
            }
            let ask = asked.elapsed() >= ASK;
            if ask {
                asked = Instant::now();
            }
            if let Some(end) =
                self.ended(process, last.map_or(0, |(rows, _)| rows), changed.elapsed(), ask)?
            {
                watched.end = end;
                return Ok(watched);
            }
            std::thread::sleep(BEAT);
        }
    }

    fn ended(
        &self,
        process: &Process,
        rows: u64,
        quiet: Duration,
        ask: bool,
    ) -> Result<Option<End>> {
        if ask && rows >= self.good && quiet >= DOUBLE && self.distinct()? >= self.good {
            return Ok(Some(End::Complete));
        }
        if ask && quiet >= UNDER_WAY && self.lag()? == 0 {
            return Ok(Some(End::Settled));
        }
        if quiet < LEFT_BEHIND {
            return Ok(None);
        }
        if let Some(status) = process.exit_status()? {
            return Ok(Some(End::Stuck(format!("it ended: {status}"))));
        }
        if ask && self.launch.has_given_up() {
            return Ok(Some(End::Stuck("its task has failed".to_owned())));
        }
        let stuck = quiet >= PATIENCE;
        Ok(stuck.then(|| End::Stuck(format!("nothing for {} s", PATIENCE.as_secs()))))
    }

    /// Different numbers of good records among the rows.
    pub fn distinct(&self) -> Result<u64> {
        let good = self.good;
        let query =
            format!("select count() from (select distinct seq from {TABLE} where seq < {good})");
        Ok(self.servers.questdb.scalar_i64(&query)? as u64)
    }

    /// Rows of good records.
    pub fn rows(&self) -> Result<u64> {
        let query = format!("select count() from {TABLE} where seq < {}", self.good);
        Ok(self.servers.questdb.scalar_i64(&query)? as u64)
    }

    /// Records that the group has not committed.
    pub fn lag(&self) -> Result<u64> {
        let kafka = &self.servers.kafka;
        // A broker that has just made or removed topics answers with errors for a moment.
        world::await_ok(ASKED, "the group's lag", || {
            let ends: i64 = kafka.end_offsets(self.topic)?.iter().map(|(_, end)| end).sum();
            let committed = kafka.committed(&self.launch.group, self.topic)?;
            let committed: i64 = committed.iter().map(|(_, next)| next).sum();
            Ok(u64::try_from(ends - committed).unwrap_or(0))
        })
    }
}

/// Rows visible, and commits in the table's log.
fn look(questdb: &QuestDb) -> Result<(u64, u64)> {
    let rows = questdb.scalar_i64(&format!("select count() from {TABLE}"))? as u64;
    Ok((rows, commits(questdb)?))
}

/// Commits in the table's log, visible or not.
pub fn commits(questdb: &QuestDb) -> Result<u64> {
    let query = format!("select sequencerTxn from wal_tables() where name = '{TABLE}'");
    Ok(questdb.scalar_i64(&query)? as u64)
}

/// Waits until all commits are visible.
pub fn await_applied(questdb: &QuestDb, within: Duration) -> Result<()> {
    let query = format!("select sequencerTxn - writerTxn from wal_tables() where name = '{TABLE}'");
    world::await_ok(within, "the last commits to become visible", || {
        let behind = questdb.scalar_i64(&query)?;
        ensure!(behind == 0, "{behind} are not");
        Ok(())
    })
}
