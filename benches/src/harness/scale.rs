//! How cost grows (`--scale`): one thing is made larger step by step, and the bridge's processor
//! time for a row is held against it. Nothing in the work grows with partitions, tables, pipelines
//! or lanes, so the cost of a row must not; with columns and bytes it is the cost of a field, or of
//! a gigabyte.
//!
//! Rows are counted by their receipts here: a thousand tables cannot be asked ten times a second.
//! What the tables hold is checked at the end of every step.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use serde_json::{Value, json};
use world::{QuestDb, QuestDbOptions};

use super::bridge_run::{BRIDGE, Running, cpu_per_million, processes};
use super::config::{self, Pipeline};
use super::count::{self, Seen, Truth};
use super::load::{self, Layout, Topic};
use super::sample::Sampler;
use super::scenario::growing::{Columns, OfPipeline, Sized, Tables};
use super::scenario::{self, Name, Scenario};
use super::{Options, Servers, result};
use crate::machine::{self, Machine};

/// From one look at the receipts to the next.
const BEAT: Duration = Duration::from_millis(20);
/// Fewer rows a second, or megabytes, are a failure and not a figure.
const WITHIN: Duration = Duration::from_secs(600);
/// Bytes of a step's records, about, whatever their number should be.
const BYTES_MAX: u64 = 1_000_000_000;
/// What QuestDB wants to open for a thousand tables, and more.
const FILES_MAX: u64 = 1 << 17;
/// Of a table with nine columns and a writer's log: columns, symbols, and both of them again.
const FILES_OF_A_TABLE: u64 = 40;
/// How long rows may take to be visible after their receipts.
const VISIBLE: Duration = Duration::from_secs(600);

/// What grows, and what it costs.
#[derive(Debug, Serialize)]
struct Series {
    name: &'static str,
    /// What `cost` is.
    cost_unit: &'static str,
    points: Vec<Point>,
}

/// One step of it.
#[derive(Debug, Serialize)]
struct Point {
    at: u64,
    records: u64,
    /// The bridge's, between 10 % and 90 % of the records.
    cpu_s_per_million: f64,
    cost: f64,
    /// From the first receipt to the last.
    rows_per_s: f64,
    peak_rss_bytes: u64,
    matched: bool,
}

/// What is done in a step.
struct Step {
    at: u64,
    /// One for each pipeline of the process.
    scenarios: Vec<Box<dyn Scenario>>,
    partitions: i32,
    records: u64,
    /// Lines at the end of the configuration.
    more: Vec<String>,
    /// What a million rows have of that which cost is told for.
    units: f64,
}

impl Step {
    fn new(at: u64, scenario: Box<dyn Scenario>, records: u64) -> Step {
        let partitions = Layout::default().partitions;
        Step { at, scenarios: vec![scenario], partitions, records, more: Vec::new(), units: 1.0 }
    }
}

/// All series, without the steps' figures.
fn series(records: u64) -> Vec<(&'static str, &'static str, Vec<Step>)> {
    let sensors = |at: u64| Step::new(at, Name::Sensors.scenario(), records);
    let partitions = |at: u64| Step { partitions: at as i32, ..sensors(at) };
    let pipelines = |at: u64| {
        let scenarios = (0..at as usize).map(|index| Box::new(OfPipeline(index)) as Box<_>);
        Step { scenarios: scenarios.collect(), ..sensors(at) }
    };
    let lanes =
        |at: u64| Step { more: vec!["[limits]".into(), format!("lanes = {at}")], ..sensors(at) };
    let columns = |at: u64| {
        // About sixteen bytes a field.
        let records = records.min(BYTES_MAX / (16 * at));
        Step { units: at as f64, ..Step::new(at, Box::new(Columns(at as usize)), records) }
    };
    let bytes = |at: u64| {
        let scenario: Box<dyn Scenario> =
            if at <= 40 { Name::Tiny.scenario() } else { Box::new(Sized(at as usize)) };
        Step { units: at as f64 / 1e3, ..Step::new(at, scenario, records.min(BYTES_MAX / at)) }
    };
    let tables = |at: u64| Step::new(at, Box::new(Tables(at)), records);
    let steps = |at: &[u64], of: &dyn Fn(u64) -> Step| at.iter().map(|at| of(*at)).collect();
    let row = "for a million rows";
    vec![
        ("partitions", row, steps(&[1, 4, 16, 64], &partitions)),
        ("tables", row, steps(&[1, 10, 100, 400, 1_000], &tables)),
        ("pipelines in a process", row, steps(&[1, 2, 8], &pipelines)),
        ("lanes", row, steps(&[1, 2], &lanes)),
        ("columns", "for a million fields", steps(&[8, 60, 200], &columns)),
        (
            "bytes of a record",
            "for a gigabyte",
            steps(&[40, 400, 4_000, 64_000, 1_000_000], &bytes),
        ),
    ]
}

/// Runs all series, tells them, and writes the result file.
pub fn run(options: &Options, names: &[String], machine: &Machine, binary: &Path) -> Result<()> {
    let wanted = |name: &str| {
        names.is_empty() || names.iter().any(|first| name.split(' ').next() == Some(first))
    };
    let mut chosen = series(options.records);
    chosen.retain(|(name, ..)| wanted(name));
    ensure!(!chosen.is_empty(), "--scale has no series {}", names.join(", "));
    let files = allow_open_files();
    let servers = &Servers::start_with(small_pages())?;
    let (mut all, mut last) = (Vec::new(), String::new());
    for (name, cost_unit, steps) in chosen {
        let mut points = Vec::new();
        for step in &steps {
            let tables: usize = step.scenarios.iter().map(|scenario| scenario.tables().len()).sum();
            if tables as u64 * FILES_OF_A_TABLE > files {
                eprintln!("{} {name}: left out, this process may open {files} files only", step.at);
                continue;
            }
            let (point, config) = measure(options, binary, servers, name, step)
                .with_context(|| format!("measuring {} {name}", step.at))?;
            eprintln!(
                "{} {name}: {:.3} CPU s per million rows, {:.3} CPU s {cost_unit}, {:.0} rows/s, \
                 {} MB peak{}",
                point.at,
                point.cpu_s_per_million,
                point.cost,
                point.rows_per_s,
                point.peak_rss_bytes / 1_000_000,
                if point.matched { "" } else { "; ROWS ARE MISSING OR DOUBLE" }
            );
            points.push(point);
            last = config;
        }
        all.push(Series { name, cost_unit, points });
    }
    let matched = all.iter().flat_map(|series| &series.points).all(|point| point.matched);
    let summary = json!({
        "transport": options.transport,
        "commit": machine::commit(),
        "machine": machine,
        "records": options.records,
        "series": all,
    });
    if let Some(folder) = options.folder() {
        let date = machine::today();
        let name = format!("{date}-scale-{}.json", options.transport.name());
        let config: Vec<&str> = last.lines().collect();
        let file = json!({ "kind": "scale", "date": date, "summary": summary, "config": config });
        eprintln!("written: {}", result::write(&folder, &name, &file)?.display());
    }
    if options.json {
        println!("{summary}");
    }
    ensure!(matched, "the destination does not hold every row exactly once");
    Ok(())
}

/// A table's files grow by whole pages, of up to 16 MB for each column: a thousand tables would
/// take tens of gigabytes for a few rows each.
fn small_pages() -> QuestDbOptions {
    let page = |name: &str| (format!("cairo.{name}.append.page.size"), "262144".to_owned());
    let names = ["writer.data", "writer.data.index.value", "wal.writer.data"];
    QuestDbOptions { properties: names.map(page).into(), ..QuestDbOptions::lasting() }
}

/// Lets the servers, which inherit it, open as many files as may be; gives how many those are.
fn allow_open_files() -> u64 {
    for wanted in [Some(FILES_MAX), None] {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: getrlimit(2) writes one rlimit, which lives through the call.
        let read = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
        limit.rlim_max = limit.rlim_max.max(wanted.unwrap_or(0));
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: setrlimit(2) reads one rlimit, which lives through the call.
        if read == 0 && unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } == 0 {
            return limit.rlim_cur;
        }
    }
    0
}

fn measure(
    options: &Options,
    binary: &Path,
    servers: &Servers,
    name: &str,
    step: &Step,
) -> Result<(Point, String)> {
    let Servers { kafka, questdb } = servers;
    let each = step.records / step.scenarios.len() as u64;
    let layout = Layout { partitions: step.partitions, ..options.layout };
    let topic = |index: usize| format!("scale-{}-{}-{index}", name.replace(' ', "-"), step.at);
    let topics: Vec<String> = (0..step.scenarios.len()).map(topic).collect();
    for (scenario, name) in step.scenarios.iter().zip(&topics) {
        let scenario = &**scenario;
        load::fill(kafka, Topic { name, layout, scenario, records: each })?;
        for table in scenario.tables() {
            questdb.sql(&format!("DROP TABLE IF EXISTS \"{table}\""))?;
            let quoted = format!("\"{table}\"");
            let metadata = options.transport.metadata();
            questdb.sql(&scenario::create_table(scenario, &quoted, metadata))?;
        }
    }
    let pipelines: Vec<Pipeline<'_>> = step
        .scenarios
        .iter()
        .zip(&topics)
        .map(|(scenario, topic)| Pipeline { scenario: &**scenario, topic })
        .collect();
    let more = [&options.toml[..], &step.more[..]].concat();
    let installed =
        config::install(&kafka.brokers(), &options.transport.sink(questdb), &pipelines, &more)?;
    let start = Instant::now();
    let running = Running::start(binary, &installed)?;
    let sampler = Sampler::start(
        start,
        processes(kafka, Some(("questdb", questdb.process_id()?)), &running)?,
    )?;
    let watched = watch(&running, start, each * topics.len() as u64);
    let samples = sampler.finish()?;
    let (read, acked) = watched?;
    let peak_rss_bytes = running.rss_bytes_max()?;
    let matched = all_there(questdb, &step.scenarios, each);
    running.stop()?;
    for (scenario, topic) in step.scenarios.iter().zip(&topics) {
        kafka.delete_topic(topic)?;
        for table in scenario.tables() {
            questdb.sql(&format!("DROP TABLE \"{table}\""))?;
        }
    }
    let bridge = samples.get(BRIDGE).context("the bridge was sampled")?;
    let (cpu_s_per_million, _) =
        cpu_per_million(&acked, &read, bridge).context("the run was too short")?;
    let point = Point {
        at: step.at,
        records: each * topics.len() as u64,
        cpu_s_per_million,
        cost: cpu_s_per_million / step.units,
        rows_per_s: count::rows_per_s(&acked).unwrap_or(f64::NAN),
        peak_rss_bytes,
        matched: matched.is_ok(),
    };
    if let Err(error) = matched {
        eprintln!("{error:#}");
    }
    Ok((point, installed.text))
}

/// Looks at what the bridge has read and what it has receipts for, until it has all.
fn watch(running: &Running<'_>, start: Instant, records: u64) -> Result<(Vec<Seen>, Vec<Seen>)> {
    let (mut read, mut acked) = (Vec::new(), Vec::new());
    loop {
        running.ensure_alive()?;
        // While it starts it does not answer.
        if let Ok(metrics) = running.metrics() {
            let at_s = start.elapsed().as_secs_f64();
            let seen = |rows: f64| Seen { at_s, rows: rows as u64 };
            read.push(seen(metrics.sum("bridge_records_in_total")?));
            let receipts = seen(metrics.sum("bridge_acked_seconds_count")?);
            acked.push(receipts);
            if receipts.rows >= records {
                return Ok((read, acked));
            }
        }
        if start.elapsed() > WITHIN {
            bail!("after {WITHIN:?} {:?} of {records} records are acknowledged", acked.last());
        }
        std::thread::sleep(BEAT);
    }
}

/// Waits until the tables together hold every record once; `each` of every pipeline.
fn all_there(questdb: &QuestDb, scenarios: &[Box<dyn Scenario>], each: u64) -> Result<()> {
    for scenario in scenarios {
        world::await_ok(VISIBLE, "all rows", || {
            let mut sum = Truth::default();
            for table in scenario.tables() {
                let one = truth_of(questdb, &table)?;
                sum.count += one.count;
                sum.distinct += one.distinct;
                sum.sum += one.sum;
            }
            ensure!(sum == Truth::wanted(each), "{sum:?}, not {:?}", Truth::wanted(each));
            Ok(())
        })?;
    }
    Ok(())
}

/// In one question: there may be a thousand tables.
fn truth_of(questdb: &QuestDb, table: &str) -> Result<Truth> {
    let query = format!("select count(), count_distinct(seq), sum(seq) from \"{table}\"");
    let rows = questdb.sql(&query)?.rows;
    let row = rows.first().context("a count is a row")?;
    // The sum of no rows is null.
    let number = |at: usize| row.get(at).and_then(Value::as_u64).unwrap_or(0);
    Ok(Truth { count: number(0), distinct: number(1), sum: number(2) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_bounded_in_bytes_and_share_their_records() {
        for (name, _, steps) in series(5_000_000) {
            assert!(steps.windows(2).all(|two| two[0].at < two[1].at), "{name}");
            for step in &steps {
                let (mut key, mut value) = (Vec::new(), Vec::new());
                step.scenarios[0].write(1_234_567, &mut key, &mut value);
                let bytes = value.len() as u64 * step.records;
                assert!(bytes < BYTES_MAX * 3 / 2, "{name} {}: {bytes}", step.at);
                assert!(step.records >= 1_000, "{name} {}: {}", step.at, step.records);
                assert!(step.records / step.scenarios.len() as u64 > 0);
            }
        }
    }
}
