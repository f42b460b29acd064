//! `bridge transform bench`: what a module costs on this machine, beside doing nothing.

use std::io::Write;
use std::path::Path;

use super::Failure;
use super::module::{file_source, table};
use crate::config::units::show_bytes;
use crate::trial::{self, BENCH_RECORDS, BENCH_RUN, BENCH_RUNS, BenchReport, Timing};

/// Measures a module, on the lines of a file or on made-up readings of sensors.
pub(super) fn bench(
    module: &str,
    config: Option<&str>,
    records: Option<&Path>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let planned = trial::of_module(table(module, config)?, file_source(records))?;
    let told = trial::newest(&*planned.pipeline.source, BENCH_RECORDS)?;
    let report = trial::bench(&planned, told)?;
    let name = planned.pipeline.transforms.first().map_or(module, |transform| transform.name());
    Ok(out.write_all(in_words(name, &report).as_bytes())?)
}

fn in_words(name: &str, report: &BenchReport) -> String {
    let BenchReport { record_bytes, kept, reading, transform, fuel, memory_bytes } = report;
    let line = |subject: &str, timing: &Timing| {
        let Timing { median_ns, min_ns, max_ns } = timing;
        format!("{subject:24}{median_ns:>10.1}{min_ns:>10.1}{max_ns:>10.1}  ns a record\n")
    };
    let subject: String = name.chars().take(22).collect();
    [
        format!("batches of {BENCH_RECORDS} records of {record_bytes} bytes, "),
        format!("{BENCH_RUNS} runs of {} ms\n", BENCH_RUN.as_millis()),
        format!("{:24}{:>10}{:>10}{:>10}\n", "", "median", "min", "max"),
        line("nothing: read only", reading),
        line(&format!("{subject}, on top"), transform),
        format!("{:24}{fuel:>10.0}  a record\n", "fuel"),
        format!("{:24}{:>10}  of an instance\n", "memory", show_bytes(*memory_bytes as usize)),
        format!("{:24}{kept:>10}  of {BENCH_RECORDS} records\n", "keeps"),
    ]
    .concat()
}
