//! `cargo run --release -p benches -- harness`: see `README.md`.

use std::process::ExitCode;

use benches::{allocations, faults, harness, micro, peers, report, sql};
use clap::{Parser, Subcommand};

/// What the bridge costs and how fast it is.
#[derive(Parser)]
#[command(name = "benches")]
struct Line {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Real Kafka, the release binary, real QuestDB; rows are counted at the destination.
    Harness(harness::Options),
    /// The stages of a lane alone: processor time and allocations of one record.
    Micro(micro::Options),
    /// Kafka Connect, Telegraf and others by the harness: same records, same minutes.
    Peers(peers::Options),
    /// Rows into PostgreSQL, added and replaced, with Debezium's JDBC sink as the peer.
    Sql(sql::Options),
    /// What is lost, double or stuck when something breaks, for the bridge and its peers.
    Faults(faults::Options),
    /// One page of HTML out of result files.
    Report(report::Options),
}

/// Counts; where nobody asks, that costs an addition.
#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

fn main() -> ExitCode {
    let outcome = match Line::parse().bench {
        Bench::Harness(options) => harness::main(&options),
        Bench::Micro(options) => micro::main(&options),
        Bench::Peers(options) => peers::main(&options),
        Bench::Sql(options) => sql::main(&options),
        Bench::Faults(options) => faults::main(&options),
        Bench::Report(options) => report::main(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
