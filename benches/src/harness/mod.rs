//! The harness: fills a topic on a real broker, runs the bridge as users run it, counts rows at
//! the destination.
//!
//! ```text
//!   scenario    records, their pipeline, their table
//!   load        fills topics            config      the bridge.toml that is measured
//!   bridge_run  a run at saturation     rate        latency at a fixed rate
//!   sample      processor and memory    count       rows, seen from outside
//!   metrics     what the bridge says    latency     percentiles out of counts
//!   versus      runs against runs       scale       how cost grows
//!   result      what is said and written in the end
//! ```

pub(crate) mod bridge_run;
pub(crate) mod config;
pub(crate) mod count;
pub(crate) mod latency;
pub(crate) mod load;
pub(crate) mod metrics;
mod rate;
pub(crate) mod result;
pub(crate) mod sample;
mod scale;
pub(crate) mod scenario;
mod versus;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use world::{Kafka, KafkaOptions, QuestDb, QuestDbOptions};

pub use config::Transport;

use crate::machine::Machine;
use count::QuestDbTable;
use load::{Layout, Topic};
use rate::Pace;
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
    /// A second bridge, measured in turns with the first over the same topic.
    #[arg(long, value_name = "PATH")]
    against: Option<PathBuf>,
    /// One more run before, which is not counted.
    #[arg(long)]
    warmup: bool,
    /// Measure latency at these rates, in records a second, in place of saturation: 1000,50000.
    #[arg(long, value_delimiter = ',')]
    rate: Vec<u64>,
    /// Measure how cost grows, with so many records in each step: all series, or those whose first
    /// words are given: partitions,tables,pipelines,lanes,columns,bytes.
    #[arg(long, value_name = "SERIES", num_args = 0.., value_delimiter = ',')]
    scale: Option<Vec<String>>,
    /// How long each rate is measured, in seconds.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// How long it is held before, in seconds.
    #[arg(long, default_value_t = 5)]
    lead: u64,
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

impl Options {
    /// Where the result file goes, if it goes anywhere.
    fn folder(&self) -> Option<PathBuf> {
        let folder = match &self.results {
            Some(folder) => folder.clone(),
            None => Path::new(env!("CARGO_MANIFEST_DIR")).join("results"),
        };
        (folder != Path::new("-")).then_some(folder)
    }
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
    if let Some(path) = &options.against {
        ensure!(path.is_file(), "no bridge at {}", path.display());
        let alone = options.rate.is_empty() && options.scale.is_none();
        ensure!(alone, "--against is for saturation, not for --rate or --scale");
    }
    if let Some(names) = &options.scale {
        return scale::run(options, names, &machine, &binary);
    }
    let (scenario, servers) = (options.scenario.scenario(), Servers::start()?);
    let bench = Bench { options, scenario: &*scenario, binary, servers };
    let mut report = Report {
        scenario: options.scenario.name(),
        layout: options.layout,
        transport: options.transport,
        machine,
        config: String::new(),
        runs: Vec::new(),
        against: Vec::new(),
        rates: Vec::new(),
    };
    match options.rate.is_empty() {
        true => bench.at_saturation(&mut report)?,
        false => bench.at_rates(&mut report)?,
    }
    report.print();
    if let Some(folder) = options.folder() {
        eprintln!("written: {}", report.write(&folder)?.display());
    }
    if options.json {
        println!("{}", report.summary());
    }
    ensure!(report.matched(), "the destination does not hold every row exactly once");
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
        Self::start_with(QuestDbOptions::lasting())
    }

    /// The same, with a database that is set up otherwise.
    pub fn start_with(options: QuestDbOptions) -> Result<Self> {
        eprintln!("starting Kafka and QuestDB");
        std::thread::scope(|scope| {
            let kafka = scope.spawn(|| Kafka::start_with(KafkaOptions::lasting()));
            let questdb = QuestDb::start_with(options).context("starting QuestDB");
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
    /// Runs over one topic, in turns with the other bridge if there is one: what changes on the
    /// machine meanwhile, changes for both.
    fn at_saturation(&self, report: &mut Report) -> Result<()> {
        let topic = self.topic(self.scenario.name(), self.options.records);
        eprintln!("producing {} records", topic.records);
        let took = load::fill(&self.servers.kafka, topic)?;
        eprintln!("produced in {:.1} s", took.as_secs_f64());
        let run = |binary: &Path, name: &str| {
            let installed = self.install(topic)?;
            let (kafka, questdb) = (&self.servers.kafka, &self.servers.questdb);
            let table = QuestDbTable { questdb, table: self.scenario.name() };
            let run = bridge_run::saturate(kafka, &table, binary, &installed, topic)?;
            eprintln!("{name}: {}", result::line(&run));
            anyhow::Ok((run, installed.text))
        };
        if self.options.warmup {
            run(&self.binary, "warm-up")?;
        }
        for index in 1..=self.options.runs {
            let (own, config) = run(&self.binary, &format!("run {index}"))?;
            report.runs.push(own);
            report.config = config;
            if let Some(against) = &self.options.against {
                report.against.push(run(against, &format!("run {index} against"))?.0);
            }
        }
        Ok(())
    }

    /// Latencies at each rate, on a topic of its own.
    fn at_rates(&self, report: &mut Report) -> Result<()> {
        let (lead, measured) =
            (Duration::from_secs(self.options.lead), Duration::from_secs(self.options.seconds));
        for per_second in &self.options.rate {
            let pace = Pace { per_second: *per_second, lead, measured };
            eprintln!("{per_second} records/s for {} s", (lead + measured).as_secs());
            let name = format!("{}-at-{per_second}", self.scenario.name());
            let topic = self.topic(&name, pace.records());
            self.servers.kafka.create_topic(&name, topic.layout.partitions)?;
            let installed = self.install(topic)?;
            let rate = rate::at_rate(&self.servers, &self.binary, &installed, topic, pace)?;
            report.rates.push(rate);
            report.config = installed.text;
        }
        Ok(())
    }

    fn topic<'t>(&'t self, name: &'t str, records: u64) -> Topic<'t> {
        Topic { name, layout: self.options.layout, scenario: self.scenario, records }
    }

    fn install(&self, topic: Topic<'_>) -> Result<config::Installed> {
        let (transport, questdb) = (self.options.transport, &self.servers.questdb);
        bridge_run::fresh_table(questdb, self.scenario, transport)?;
        let brokers = self.servers.kafka.brokers();
        let pipeline = config::Pipeline { scenario: self.scenario, topic: topic.name };
        config::install(&brokers, &transport.sink(questdb), &[pipeline], &self.options.toml)
    }
}

/// The bridge beside this program, built first where cargo runs us: a stale binary is no figure.
pub(crate) fn built() -> Result<PathBuf> {
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
