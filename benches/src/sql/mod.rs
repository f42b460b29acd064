//! Rows into PostgreSQL: added, and replaced by a key; with Debezium's JDBC sink as the peer.
//!
//! ```text
//!   case      programs, and what each does with a row       table     rows, seen from outside
//!   debezium  the peer's records and configuration          report    the table, the file
//! ```

mod case;
mod debezium;
mod report;
mod table;

use std::path::PathBuf;

use anyhow::{Result, anyhow, ensure};
use world::{Kafka, KafkaOptions, PostgreSql};

use crate::harness::config::{self, Pipeline, Sink};
use crate::harness::load::{self, Layout, Topic};
use crate::harness::scenario::{Name, Scenario};
use crate::harness::{bridge_run, built};
use crate::machine::Machine;
use crate::peers::connect::{self, Home};
use crate::peers::results_folder;
use crate::peers::run::{Moved, peer};
use case::{CASES, Case, Program, Work};
use report::{Entry, Report};
use table::PgTable;

/// Where all rows end.
const TABLE: &str = "sensors";

/// `sql`.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Records in the bridge's topic.
    #[arg(long, default_value_t = 3_000_000)]
    records: u64,
    /// Records in the peer's topic, which takes longer for each; 0 leaves it out.
    #[arg(long, default_value_t = 500_000)]
    peer_records: u64,
    /// Runs of each case, in turns.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// The bridge to measure, in place of the one that cargo builds.
    #[arg(long, value_name = "PATH")]
    bridge: Option<PathBuf>,
    /// Where the result file goes; `-` for none.
    #[arg(long, value_name = "FOLDER")]
    results: Option<PathBuf>,
    /// One object on standard output, in place of the table.
    #[arg(long)]
    json: bool,
}

impl Options {
    fn records_of(&self, program: Program) -> u64 {
        match program {
            Program::Bridge => self.records,
            Program::Debezium => self.peer_records,
        }
    }
}

/// Runs it.
pub fn main(options: &Options) -> Result<()> {
    ensure!(options.runs > 0, "--runs must be at least 1");
    let machine = Machine::here();
    let bench = Bench::start(options)?;
    let wanted = |case: &&Case| options.records_of(case.program) > 0;
    let entries = CASES.iter().filter(wanted).map(|case| Entry::new(*case)).collect();
    let mut report = Report { machine, entries };
    for turn in 1..=options.runs {
        for entry in &mut report.entries {
            let title = entry.case.title();
            match bench.run(entry.case, turn) {
                Ok((moved, config)) => {
                    eprintln!("{title}: {}", moved.line());
                    entry.config = config;
                    entry.runs.push(moved);
                }
                Err(error) => {
                    eprintln!("{title}: {error:#}");
                    let text = format!("{error:#}");
                    entry.failures.push(text.lines().next().unwrap_or_default().to_owned());
                }
            }
        }
    }
    match options.json {
        true => println!("{}", report.summary()),
        false => print!("{}", report.table()),
    }
    if let Some(folder) = results_folder(options.results.as_deref()) {
        eprintln!("written: {}", report.write(&folder)?.display());
    }
    let ours = |entry: &&Entry| entry.case.program == Program::Bridge;
    let right = report.entries.iter().filter(ours).all(Entry::matched);
    ensure!(right, "the bridge's table does not hold every row exactly once");
    Ok(())
}

/// The servers with their filled topics, and the programs.
struct Bench<'a> {
    options: &'a Options,
    kafka: Kafka,
    postgres: PostgreSql,
    bridge: PathBuf,
    debezium: Option<Home>,
}

impl<'a> Bench<'a> {
    fn start(options: &'a Options) -> Result<Self> {
        let bridge = match &options.bridge {
            Some(path) => path.clone(),
            None => built()?,
        };
        ensure!(bridge.is_file(), "no bridge at {}", bridge.display());
        let debezium = match options.peer_records {
            0 => None,
            _ => {
                let (jars, connector) = (world::connect_jars()?, world::debezium_jdbc_jars()?);
                Some(Home { jars, connector })
            }
        };
        eprintln!("starting Kafka and PostgreSQL");
        let (kafka, postgres) = std::thread::scope(|scope| {
            let kafka = scope.spawn(|| Kafka::start_with(KafkaOptions::lasting()));
            let postgres = PostgreSql::start();
            (kafka.join().map_err(|_| anyhow!("starting Kafka panicked")), postgres)
        });
        let bench = Self { options, kafka: kafka??, postgres: postgres?, bridge, debezium };
        for program in [Program::Bridge, Program::Debezium] {
            let records = options.records_of(program);
            if records > 0 {
                eprintln!("producing {records} records for {}", program.title());
                load::fill(&bench.kafka, bench.topic(program, &*scenario(program)))?;
            }
        }
        Ok(bench)
    }

    fn topic<'t>(&self, program: Program, scenario: &'t dyn Scenario) -> Topic<'t> {
        let records = self.options.records_of(program);
        Topic { name: scenario.name(), layout: Layout::default(), scenario, records }
    }

    /// One run; gives the configuration too. What is replaced is what the case before has added.
    fn run(&self, case: Case, turn: usize) -> Result<(Moved, String)> {
        let Case { program, work } = case;
        if work != Work::Replace {
            self.postgres.sql(&format!("DROP TABLE IF EXISTS {TABLE}"))?;
            if program == Program::Debezium {
                self.postgres.sql(&debezium::create_table(work))?;
            }
        }
        // What one run leaves to be cleaned up, is not the next one's work.
        self.postgres.sql("CHECKPOINT")?;
        let table = PgTable { postgres: &self.postgres, table: TABLE, since: None };
        let table = if work == Work::Replace { table.renewed()? } else { table };
        let scenario = scenario(program);
        let topic = self.topic(program, &*scenario);
        match program {
            Program::Bridge => self.bridge(topic, work, &table),
            Program::Debezium => self.debezium(topic, work, turn, &table),
        }
    }

    fn bridge(&self, topic: Topic<'_>, work: Work, table: &PgTable) -> Result<(Moved, String)> {
        let key = if work.has_key() { "mode = \"upsert\"\nkey = [\"seq\"]\n" } else { "" };
        let lines =
            format!("kind = \"postgres\"\naddress = \"{}\"\n{key}", self.postgres.address());
        let pipeline = Pipeline { scenario: topic.scenario, topic: topic.name };
        let sink = Sink { lines, metadata: false };
        let installed = config::install(&self.kafka.brokers(), &sink, &[pipeline], &[])?;
        let run = bridge_run::saturate(&self.kafka, table, &self.bridge, &installed, topic)?;
        Ok((Moved::of_bridge(run), installed.text.clone()))
    }

    fn debezium(
        &self,
        topic: Topic<'_>,
        work: Work,
        turn: usize,
        table: &PgTable,
    ) -> Result<(Moved, String)> {
        let home = self.debezium.as_ref().expect("it was resolved, or has no cases");
        let name = format!("debezium-{}-{turn}", work.name());
        let connector = debezium::connector(&self.postgres, topic.name, &name, work);
        let launch = connect::launch_as(home, &name, &self.kafka.brokers(), true, &connector)?;
        let moved = peer(&self.kafka, table, topic.records, Program::Debezium.name(), &launch)?;
        Ok((moved, launch.config))
    }
}

/// What a program's topic holds: the same records, in the form that it reads.
fn scenario(program: Program) -> Box<dyn Scenario> {
    match program {
        Program::Bridge => Name::Sensors.scenario(),
        Program::Debezium => debezium::scenario(),
    }
}
