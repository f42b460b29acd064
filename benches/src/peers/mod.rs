//! The bridge among its peers: the same records, the same servers, the same minutes.
//!
//! ```text
//!   at_hand    which programs there are, and how to give the others
//!   launch     what a pipeline is told      connect, redpanda, telegraf   its configuration
//!   run        one run of one pipeline      report                        the table, the file
//! ```

pub(crate) mod at_hand;
pub(crate) mod connect;
pub(crate) mod launch;
mod redpanda;
mod report;
pub(crate) mod run;
mod telegraf;

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::harness::load::{self, Layout, Topic};
use crate::harness::scenario::{Name, Scenario};
use crate::harness::{Servers, Transport};
use crate::machine::Machine;
use at_hand::{AtHand, Given, Program};
use launch::Job;
use report::{Entry, Report};

/// Topic and table: everybody moves the sensors' records.
pub(crate) const TABLE: &str = "sensors";

/// In the order of the table. Redpanda Connect has no line protocol over TCP.
const PIPELINES: [(Program, Transport); 7] = [
    (Program::Bridge, Transport::Http),
    (Program::Connect, Transport::Http),
    (Program::Redpanda, Transport::Http),
    (Program::Telegraf, Transport::Http),
    (Program::Bridge, Transport::Tcp),
    (Program::Connect, Transport::Tcp),
    (Program::Telegraf, Transport::Tcp),
];

/// `peers`.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Records in the topic.
    #[arg(long, default_value_t = 5_000_000)]
    records: u64,
    /// Runs of each pipeline, in turns: bridge, peer, peer, bridge, peer, peer.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Only over this transport.
    #[arg(long, value_enum)]
    transport: Option<Transport>,
    #[command(flatten)]
    given: Given,
    /// Where the result file goes; `-` for none.
    #[arg(long, value_name = "FOLDER")]
    results: Option<PathBuf>,
    /// One object on standard output, in place of the table.
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn main(options: &Options) -> Result<()> {
    ensure!(options.runs > 0, "--runs must be at least 1");
    let machine = Machine::here();
    let at_hand = AtHand::find(&options.given)?;
    let mut report = Report {
        machine,
        scenario: TABLE,
        records: options.records,
        entries: Vec::new(),
        missing: Vec::new(),
    };
    for (program, transport) in PIPELINES {
        match at_hand.missing(program) {
            _ if options.transport.is_some_and(|only| only != transport) => {}
            None => report.entries.push(Entry::new(program, transport)),
            Some(_) if report.missing.iter().any(|(known, _)| *known == program) => {}
            Some(how) => report.missing.push((program, how.to_owned())),
        }
    }
    take_turns(options, &at_hand, &mut report.entries)?;
    match options.json {
        true => println!("{}", report.summary()),
        false => print!("{}", report.table()),
    }
    if let Some(folder) = results_folder(options.results.as_deref()) {
        eprintln!("written: {}", report.write(&folder)?.display());
    }
    let ours = |entry: &&Entry| entry.program == Program::Bridge;
    let right = report.entries.iter().filter(ours).all(Entry::matched);
    ensure!(right, "the bridge's table does not hold every row exactly once");
    Ok(())
}

/// Fills the topic once; each pipeline moves all of it, then the next, then all again.
fn take_turns(options: &Options, at_hand: &AtHand, entries: &mut [Entry]) -> Result<()> {
    let (servers, scenario) = (Servers::start()?, scenario());
    let (records, layout) = (options.records, Layout::default());
    let topic = Topic { name: TABLE, layout, scenario: &*scenario, records };
    eprintln!("producing {records} records");
    load::fill(&servers.kafka, topic)?;
    for turn in 0..options.runs {
        for entry in entries.iter_mut() {
            let (program, transport) = (entry.program, entry.transport);
            let name = format!("{}-{}-{turn}", program.name(), transport.name());
            let title = format!("{} over {}", program.title(), transport.name());
            let job = Job::between(&servers, name, TABLE, transport);
            match run::run(at_hand, &servers, topic, program, &job) {
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
    Ok(())
}

/// The records that everybody moves.
pub(crate) fn scenario() -> Box<dyn Scenario> {
    Name::Sensors.scenario()
}

/// Where result files go; none for `-`.
pub(crate) fn results_folder(asked: Option<&Path>) -> Option<PathBuf> {
    match asked {
        Some(folder) => (folder != Path::new("-")).then(|| folder.to_owned()),
        None => Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("results")),
    }
}
