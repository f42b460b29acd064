//! `cargo run --release -p benches -- harness`: see `README.md`.

use std::process::ExitCode;

use benches::{allocations, harness, micro};
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
}

/// Counts; where nobody asks, that costs an addition.
#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

fn main() -> ExitCode {
    let outcome = match Line::parse().bench {
        Bench::Harness(options) => harness::main(&options),
        Bench::Micro(options) => micro::main(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
