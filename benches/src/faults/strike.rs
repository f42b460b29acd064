//! One case: fill, start, break, watch, ask what became of the records.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use world::{Kafka, Message, Process, Record};

use super::case::{Case, Fault};
use super::complaint;
use super::verdict::{Counts, Look, Verdict, longest_pause_s};
use super::watch::{self, End, Watch, Watched};
use crate::harness::Servers;
use crate::harness::load::Layout;
use crate::peers::at_hand::{AtHand, Program, create_table};
use crate::peers::launch::{Job, Launch, Variant};
use crate::peers::run::fresh_table;

/// Until the pipeline has stored a part of the records.
const UNDER_WAY: Duration = Duration::from_secs(120);
/// Until rows of the last commits are visible.
const APPLIED: Duration = Duration::from_secs(60);

/// What became of a case.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub records: u64,
    /// In the end, after a restart by hand where it needed one.
    pub verdict: Verdict,
    /// Whether nobody had to do anything for work to go on.
    pub recovers: bool,
    /// Why not, and what was stored before somebody restarted it.
    pub stuck: Option<(String, u64)>,
    /// See `Fault::seconds`.
    pub seconds: Option<f64>,
    /// Its last error or warning.
    pub saw: Option<String>,
    /// Records in the dead-letter topic, and what the first says.
    pub dead_letters: Option<(usize, String)>,
    pub config: Vec<String>,
    pub seen: Vec<Look>,
}

/// The servers, and how hard they are hit.
pub struct Range<'a> {
    pub at_hand: &'a AtHand,
    pub servers: &'a Servers,
    pub records: u64,
    /// How long the database is away.
    pub away: Duration,
}

/// A pipeline on the range.
struct Target<'a> {
    range: &'a Range<'a>,
    job: Job,
    launch: Launch,
    clock: Instant,
}

impl Range<'_> {
    /// Runs a case; `index` keeps its names apart from the others'.
    pub fn strike(&self, index: usize, case: &Case) -> Result<Outcome> {
        let topic = format!("faults-{index}");
        self.servers.kafka.create_topic(&topic, Layout::default().partitions)?;
        fresh_table(self.servers, &create_table(case.program, case.transport, case.variant))?;
        let job = Job {
            variant: case.variant,
            ..Job::between(self.servers, format!("run-{index}"), &topic, case.transport)
        };
        let launch = self.at_hand.launch(case.program, self.servers, &job)?;
        let target = Target { range: self, job, launch, clock: Instant::now() };
        let outcome = target.outcome(case);
        self.servers.kafka.delete_topic(&topic)?;
        outcome
    }

    fn produce(&self, topic: &str, from: u64, to: u64) -> Result<()> {
        let scenario = crate::peers::scenario();
        let records = (from..to).map(|seq| {
            let (mut key, mut value) = (Vec::new(), Vec::new());
            scenario.write(seq, &mut key, &mut value);
            Record::new(value).key(key)
        });
        self.servers.kafka.produce(topic, records)?;
        Ok(())
    }
}

impl Target<'_> {
    fn outcome(&self, case: &Case) -> Result<Outcome> {
        let (process, watched, warnings_from, errors_from) = match case.fault {
            Fault::Database => self.lose_database()?,
            Fault::Pipeline => self.lose_pipeline()?,
            Fault::Poison => self.poison()?,
        };
        let saw = |process: &Process| {
            let lines = process.lines();
            let lines = lines.get(errors_from..).unwrap_or_default();
            complaint::last(lines, warnings_from.saturating_sub(errors_from))
        };
        let mut outcome = Outcome {
            records: self.range.records,
            verdict: self.verdict()?,
            recovers: true,
            stuck: None,
            seconds: match case.fault {
                Fault::Poison => longest_pause_s(&watched.seen),
                _ => watched.first_commit_s,
            },
            saw: saw(&process),
            dead_letters: None,
            config: self.launch.config.lines().map(str::to_owned).collect(),
            seen: watched.seen,
        };
        if let End::Stuck(why) = watched.end {
            drop(process);
            (outcome.recovers, outcome.seconds) = (false, None);
            outcome.stuck = Some((why, outcome.verdict.stored));
            let again = self.restart_by_hand()?;
            outcome.seen.extend(again.seen);
            outcome.verdict = self.verdict()?;
        }
        if case.program == Program::Bridge || case.variant == Variant::DeadLetters {
            outcome.dead_letters = dead_letters(&self.range.servers.kafka, &self.job)?;
        }
        Ok(outcome)
    }

    /// The database goes while there is work, and comes back; the records that are produced
    /// meanwhile see to it that work is left, however fast the pipeline was.
    fn lose_database(&self) -> Result<(Process, Watched, usize, usize)> {
        let questdb = &self.range.servers.questdb;
        let process = self.under_way()?;
        let lines = process.lines().len();
        questdb.kill()?;
        let killed = Instant::now();
        self.produce_rest()?;
        let left = self.range.away.saturating_sub(killed.elapsed());
        std::thread::sleep(left);
        questdb.restart()?;
        let watched = self.watch().until_quiet(&process, watch::commits(questdb)?)?;
        Ok((process, watched, lines, lines))
    }

    /// The pipeline goes while there is work, and is started again.
    fn lose_pipeline(&self) -> Result<(Process, Watched, usize, usize)> {
        self.under_way()?.kill()?;
        self.produce_rest()?;
        let commits = watch::commits(&self.range.servers.questdb)?;
        let process = self.launch.start()?;
        let watched = self.watch().until_quiet(&process, commits)?;
        let warnings_from = watched.lines_at_first_commit;
        Ok((process, watched, warnings_from, 0))
    }

    /// One record in the middle cannot be stored.
    fn poison(&self) -> Result<(Process, Watched, usize, usize)> {
        let (range, topic) = (self.range, &self.job.topic);
        let middle = range.records / 2;
        range.produce(topic, 0, middle)?;
        range.servers.kafka.produce(topic, [poison(range.records)])?;
        range.produce(topic, middle, range.records)?;
        let process = self.launch.start()?;
        let watched = self.watch().until_quiet(&process, 0)?;
        let warnings_from = watched.lines_at_first_commit;
        Ok((process, watched, warnings_from, 0))
    }

    /// Starts it on a part of the records and waits until it has stored some.
    fn under_way(&self) -> Result<Process> {
        self.range.produce(&self.job.topic, 0, self.first_part())?;
        let process = self.launch.start()?;
        let some = self.range.records / 10;
        world::await_ok(UNDER_WAY, "rows before the fault", || {
            if let Some(status) = process.exit_status()? {
                return Ok(Err(anyhow::anyhow!("it ended: {status}\n{}", process.tail())));
            }
            let rows = self.watch().rows()?;
            ensure!(rows >= some, "{rows} rows are visible");
            Ok(Ok(()))
        })??;
        Ok(process)
    }

    fn produce_rest(&self) -> Result<()> {
        self.range.produce(&self.job.topic, self.first_part(), self.range.records)
    }

    fn first_part(&self) -> u64 {
        self.range.records * 6 / 10
    }

    /// What an operator does when it does not go on by itself.
    fn restart_by_hand(&self) -> Result<Watched> {
        let commits = watch::commits(&self.range.servers.questdb)?;
        let process = self.launch.start()?;
        self.watch().until_quiet(&process, commits)
    }

    fn watch(&self) -> Watch<'_> {
        Watch {
            servers: self.range.servers,
            launch: &self.launch,
            topic: &self.job.topic,
            good: self.range.records,
            clock: self.clock,
        }
    }

    fn verdict(&self) -> Result<Verdict> {
        watch::await_applied(&self.range.servers.questdb, APPLIED)?;
        let watch = self.watch();
        let (rows, distinct, lag) = (watch.rows()?, watch.distinct()?, watch.lag()?);
        Ok(Verdict::of(Counts { good: watch.good, rows, distinct, lag }))
    }
}

/// A record like the others, but its humidity is a word.
fn poison(seq: u64) -> Record {
    let (mut key, mut value) = (Vec::new(), Vec::new());
    crate::peers::scenario().write(seq, &mut key, &mut value);
    let value = String::from_utf8(value).expect("JSON is text");
    let (left, rest) = value.split_once("\"humidity\":").expect("it has the field");
    let (_, right) = rest.split_once(',').expect("it is not the last field");
    Record::new(format!("{left}\"humidity\":\"wet\",{right}")).key(key)
}

/// How many there are and what the first says of itself; none where there is no such topic.
fn dead_letters(kafka: &Kafka, job: &Job) -> Result<Option<(usize, String)>> {
    let topic = job.dead_letters();
    if kafka.end_offsets(&topic).is_err() {
        return Ok(None);
    }
    let letters = kafka.read_all(&topic).context("reading the dead letters")?;
    Ok(letters.first().map(|first| (letters.len(), letter(first))))
}

/// Reason and place, by the headers of the bridge or of Connect.
fn letter(letter: &Message) -> String {
    let first = |names: [&str; 2]| names.iter().find_map(|name| letter.header(name));
    let reason = first(["bridge.reason", "__connect.errors.exception.class.name"]);
    let place = [
        ("partition", first(["bridge.partition", "__connect.errors.partition"])),
        ("offset", first(["bridge.offset", "__connect.errors.offset"])),
    ];
    let reason = reason.as_deref().and_then(|reason| reason.rsplit('.').next());
    let mut text = reason.unwrap_or("no reason").to_owned();
    for (name, value) in place {
        text.push_str(&format!(", {name} {}", value.as_deref().unwrap_or("unknown")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poison_differs_in_one_field() {
        let bad = poison(123).value.expect("it has a value");
        let (mut key, mut value) = (Vec::new(), Vec::new());
        crate::peers::scenario().write(123, &mut key, &mut value);
        let parse = |bytes: &[u8]| -> serde_json::Value {
            serde_json::from_slice(bytes).expect("it is JSON")
        };
        let (mut bad, good) = (parse(&bad), parse(&value));
        assert_eq!(bad["humidity"], "wet");
        bad["humidity"] = good["humidity"].clone();
        assert_eq!(bad, good);
    }

    #[test]
    fn letters_of_both_are_read() {
        let of = |headers: &[(&str, &str)]| {
            let header =
                |(name, value): &(&str, &str)| (name.to_string(), Some(value.as_bytes().to_vec()));
            letter(&Message {
                partition: 0,
                offset: 0,
                timestamp_ms: None,
                key: None,
                value: None,
                headers: headers.iter().map(header).collect(),
            })
        };
        let ours =
            [("bridge.reason", "wrong-type"), ("bridge.partition", "2"), ("bridge.offset", "7")];
        assert_eq!(of(&ours), "wrong-type, partition 2, offset 7");
        let theirs = [
            ("__connect.errors.exception.class.name", "io.questdb.InvalidDataException"),
            ("__connect.errors.partition", "1"),
            ("__connect.errors.offset", "9"),
        ];
        assert_eq!(of(&theirs), "InvalidDataException, partition 1, offset 9");
        assert_eq!(of(&[]), "no reason, partition unknown, offset unknown");
    }
}
