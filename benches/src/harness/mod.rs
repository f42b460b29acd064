//! The harness: fills a topic on a real broker, runs the bridge as users run it, counts rows at
//! the destination.
//!
//! ```text
//!   scenario    records, their pipeline, their table
//!   load        fills topics            config      the bridge.toml that is measured
//!   bridge_run  a run at saturation     rate        latency at a fixed rate
//!   sample      processor and memory    count       rows, seen from outside
//!   metrics     what the bridge says    result      what is said and written in the end
//! ```

pub(crate) mod bridge_run;
pub(crate) mod config;
pub(crate) mod count;
pub(crate) mod load;
mod metrics;
mod rate;
mod result;
pub(crate) mod sample;
pub(crate) mod scenario;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};
use world::{Kafka, QuestDb};

pub use config::Transport;

use crate::machine::Machine;
use bridge_run::Run;
use load::{Layout, Topic};
use rate::AtRate;
use result::Report;
use scenario::Scenario;

/// `harness`.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Records in the topic.
    #[arg(long, default_value_t = 5_000_000)]
    records: u64,
    #[arg(long, value_enum, default_value = "sensors")]
    scenario: scenario::Name,
    #[command(flatten)]
    layout: Layout,
    #[arg(long, value_enum, default_value = "http")]
    transport: Transport,
    /// Runs over the same topic, each with a table made anew.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// One more run before, which is not counted.
    #[arg(long)]
    warmup: bool,
    /// Measure latency at these rates, in records a second, in place of saturation: 1000,50000.
    #[arg(long, value_delimiter = ',')]
    rate: Vec<u64>,
    /// How long each rate is held, in seconds.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// A line more at the end of the configuration, such as `[limits]` or `lanes = 1`.
    #[arg(long = "toml", value_name = "LINE")]
    toml: Vec<String>,
    /// The binary to measure, in place of the one that cargo builds.
    #[arg(long, value_name = "PATH")]
    bridge: Option<PathBuf>,
    /// Where the result file goes; `-` for none.
    #[arg(long, value_name = "FOLDER")]
    results: Option<PathBuf>,
    /// One object on standard output.
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn main(options: &Options) -> Result<()> {
    let machine = Machine::here();
    let binary = match &options.bridge {
        Some(path) => path.clone(),
        None => built()?,
    };
    ensure!(binary.is_file(), "no bridge at {}", binary.display());
    ensure!(options.runs > 0, "--runs must be at least 1");
    let (scenario, servers) = (options.scenario.scenario(), Servers::start()?);
    let bench = Bench { options, scenario: &*scenario, binary, servers };
    let mut report = Report {
        scenario: options.scenario.name(),
        layout: options.layout,
        transport: options.transport,
        machine,
        config: String::new(),
        runs: Vec::new(),
        rates: Vec::new(),
    };
    match options.rate.is_empty() {
        true => (report.runs, report.config) = bench.at_saturation()?,
        false => (report.rates, report.config) = bench.at_rates()?,
    }
    report.print();
    let folder = match &options.results {
        Some(folder) => folder.clone(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("results"),
    };
    if folder != Path::new("-") {
        eprintln!("written: {}", report.write(&folder)?.display());
    }
    if options.json {
        println!("{}", report.summary());
    }
    let right = report.runs.iter().all(Run::matched) && report.rates.iter().all(|at| at.matched);
    ensure!(right, "the destination does not hold every row exactly once");
    Ok(())
}

/// What is measured between.
pub(crate) struct Servers {
    pub kafka: Kafka,
    pub questdb: QuestDb,
}

impl Servers {
    /// Both at once: each takes seconds.
    pub fn start() -> Result<Self> {
        eprintln!("starting Kafka and QuestDB");
        std::thread::scope(|scope| {
            let kafka = scope.spawn(Kafka::start);
            let questdb = QuestDb::start().context("starting QuestDB");
            let kafka = kafka.join().map_err(|_| anyhow!("starting Kafka panicked"))?;
            Ok(Servers { kafka: kafka.context("starting Kafka")?, questdb: questdb? })
        })
    }
}

struct Bench<'a> {
    options: &'a Options,
    scenario: &'a dyn Scenario,
    binary: PathBuf,
    servers: Servers,
}

impl Bench<'_> {
    /// The runs, and the configuration of the last.
    fn at_saturation(&self) -> Result<(Vec<Run>, String)> {
        let records = self.options.records;
        let topic = self.topic(self.scenario.name(), records);
        eprintln!("producing {records} records");
        let took = load::fill(&self.servers.kafka, topic)?;
        eprintln!("produced in {:.1} s", took.as_secs_f64());
        let (mut runs, mut config) = (Vec::new(), String::new());
        for index in 0..self.options.runs + usize::from(self.options.warmup) {
            let installed = self.install(topic)?;
            let run = bridge_run::saturate(&self.servers, &self.binary, &installed, topic)?;
            let warmup = self.options.warmup && index == 0;
            eprintln!("{}{}", if warmup { "warm-up: " } else { "" }, result::line(&run));
            if !warmup {
                runs.push(run);
            }
            config = installed.text;
        }
        Ok((runs, config))
    }

    /// Latencies at each rate, and the configuration of the last.
    fn at_rates(&self) -> Result<(Vec<AtRate>, String)> {
        let (mut rates, mut config) = (Vec::new(), String::new());
        for per_second in &self.options.rate {
            eprintln!("{per_second} records/s for {} s", self.options.seconds);
            let name = format!("{}-at-{per_second}", self.scenario.name());
            let topic = self.topic(&name, per_second * self.options.seconds);
            self.servers.kafka.create_topic(&name, topic.layout.partitions)?;
            let installed = self.install(topic)?;
            rates.push(rate::at_rate(&self.servers, &self.binary, &installed, topic, *per_second)?);
            config = installed.text;
        }
        Ok((rates, config))
    }

    fn topic<'t>(&'t self, name: &'t str, records: u64) -> Topic<'t> {
        Topic { name, layout: self.options.layout, scenario: self.scenario, records }
    }

    fn install(&self, topic: Topic<'_>) -> Result<config::Installed> {
        let (transport, questdb) = (self.options.transport, &self.servers.questdb);
        bridge_run::fresh_table(questdb, self.scenario, transport)?;
        let brokers = self.servers.kafka.brokers();
        let more = &self.options.toml;
        config::install(&brokers, questdb, self.scenario, topic.name, transport, more)
    }
}

/// The bridge beside this program, built first where cargo runs us: a stale binary is no figure.
fn built() -> Result<PathBuf> {
    let own = std::env::current_exe().context("asking where this program lives")?;
    if let Some(cargo) = std::env::var_os("CARGO") {
        let mut build = Command::new(cargo);
        // Together with this package, as it was built: alone, features and all crates may differ.
        build.args(["build", "--package", "benches", "--package", "bridge", "--bins"]);
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        let status = build.status().context("running cargo")?;
        ensure!(status.success(), "building the bridge: {status}");
    }
    Ok(own.with_file_name("bridge"))
}
