//! One run of one pipeline at saturation: a table made anew, the program started, its rows counted
//! at the destination until the last is visible.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use world::Kafka;

use super::at_hand::{AtHand, Program, create_table};
use super::launch::{Job, Launch};
use crate::harness::count::{self, Destination, QuestDbTable, Seen, Truth};
use crate::harness::load::Topic;
use crate::harness::sample::{Sampler, Samples};
use crate::harness::{Servers, Transport, bridge_run, config};

/// Fewer rows a second are a failure, not a figure.
const ROWS_PER_S_MIN: u64 = 5_000;
/// A Java machine with its plugins, on a loaded machine.
const START: Duration = Duration::from_secs(60);

/// What one run showed. See `bridge_run` for what the figures are.
#[derive(Clone, Debug, Serialize)]
pub struct Moved {
    pub rows: u64,
    pub rows_per_s: f64,
    pub cpu_s_per_million: f64,
    pub cpu_s_per_million_whole: f64,
    pub peak_rss_bytes: u64,
    pub count_matched: bool,
    pub distinct_matched: bool,
    pub sum_matched: bool,
    pub truth: Truth,
    /// Processor seconds of each process from the start to the last row visible.
    pub cpu_s: BTreeMap<String, f64>,
    pub seen: Vec<Seen>,
    pub samples: BTreeMap<String, Samples>,
}

impl Moved {
    /// Whether every row arrived exactly once.
    pub fn matched(&self) -> bool {
        self.count_matched && self.distinct_matched && self.sum_matched
    }

    /// In a line.
    pub fn line(&self) -> String {
        format!(
            "{:.0} rows/s, {:.2} CPU s per million ({:.2} whole run), {} MB peak{}",
            self.rows_per_s,
            self.cpu_s_per_million,
            self.cpu_s_per_million_whole,
            self.peak_rss_bytes / 1_000_000,
            if self.matched() { "" } else { "; ROWS ARE MISSING OR DOUBLE" },
        )
    }

    /// Of the bridge, as the harness has it.
    pub fn of_bridge(run: bridge_run::Run) -> Moved {
        Moved {
            rows: run.rows,
            rows_per_s: run.rows_per_s,
            cpu_s_per_million: run.cpu_s_per_million,
            cpu_s_per_million_whole: run.cpu_s_per_million_whole,
            peak_rss_bytes: run.peak_rss_bytes,
            count_matched: run.count_matched,
            distinct_matched: run.distinct_matched,
            sum_matched: run.sum_matched,
            truth: run.truth,
            cpu_s: run.cpu_s,
            seen: run.seen,
            samples: run.samples,
        }
    }
}

/// Runs it; gives the configuration too.
pub fn run(
    at_hand: &AtHand,
    servers: &Servers,
    topic: Topic<'_>,
    program: Program,
    job: &Job,
) -> Result<(Moved, String)> {
    fresh_table(servers, &create_table(program, job.transport, job.variant))?;
    if program == Program::Bridge {
        return bridge(at_hand, servers, topic, job.transport);
    }
    let launch = at_hand.launch(program, servers, job)?;
    let table = QuestDbTable { questdb: &servers.questdb, table: super::TABLE };
    let moved = peer(&servers.kafka, &table, topic.records, program.name(), &launch)?;
    Ok((moved, launch.config))
}

/// Makes the table anew.
pub fn fresh_table(servers: &Servers, statement: &str) -> Result<()> {
    servers.questdb.sql(&format!("DROP TABLE IF EXISTS {}", super::TABLE))?;
    servers.questdb.sql(statement)?;
    Ok(())
}

/// As the harness measures it.
fn bridge(
    at_hand: &AtHand,
    servers: &Servers,
    topic: Topic<'_>,
    transport: Transport,
) -> Result<(Moved, String)> {
    let Servers { kafka, questdb } = servers;
    let pipeline = config::Pipeline { scenario: topic.scenario, topic: topic.name };
    let installed = config::install(&kafka.brokers(), &transport.sink(questdb), &[pipeline], &[])?;
    let table = QuestDbTable { questdb, table: super::TABLE };
    let run = bridge_run::saturate(kafka, &table, at_hand.bridge(), &installed, topic)?;
    Ok((Moved::of_bridge(run), installed.text.clone()))
}

/// Runs a peer until every record is a row; `name` is what it is called among the processes.
pub fn peer(
    kafka: &Kafka,
    destination: &dyn Destination,
    records: u64,
    name: &str,
    launch: &Launch,
) -> Result<Moved> {
    let start = Instant::now();
    let process = launch.start()?;
    let of = |name: &str, id| (name.to_owned(), id);
    let mut processes = vec![of(name, process.process_id()), of("kafka", kafka.process_id()?)];
    processes.extend(destination.process()?.map(|(name, id)| of(name, id)));
    let sampler = Sampler::start(start, processes)?;
    let within = START + Duration::from_secs(records / ROWS_PER_S_MIN);
    let seen =
        count::until_all(destination, start, records, within, || match process.exit_status()? {
            None => Ok(()),
            Some(status) => bail!("{name} ended: {status}\n{}", process.tail()),
        });
    let samples = sampler.finish()?;
    let seen = seen.with_context(|| format!("it said last:\n{}", process.tail()))?;
    let peak_rss_bytes = process.rss_bytes_max()?;
    drop(process);
    let (truth, wanted) = (destination.truth()?, Truth::wanted(records));
    let own = samples.get(name).context("the peer was sampled")?;
    // What it has read is not known; it lags behind what is visible by little against the run.
    let (steady, whole) =
        bridge_run::cpu_per_million(&seen, &seen, own).context("the run was too short")?;
    let between =
        |(name, of): (&String, &Samples)| (name.clone(), bridge_run::cpu_between(of, &seen));
    Ok(Moved {
        rows: truth.count,
        rows_per_s: count::rows_per_s(&seen).unwrap_or(f64::NAN),
        cpu_s_per_million: steady,
        cpu_s_per_million_whole: whole,
        peak_rss_bytes,
        count_matched: truth.count == wanted.count,
        distinct_matched: truth.distinct == wanted.distinct,
        sum_matched: truth.sum == wanted.sum,
        truth,
        cpu_s: samples.iter().map(between).collect(),
        seen,
        samples,
    })
}
