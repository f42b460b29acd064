//! Runs at saturation: rows a second, processor time, memory, and where the time went.

use serde_json::Value;

use super::axis::{Axis, short};
use super::bars::{Bar, Stack, bars, stacks};
use super::chart::{Chart, Line, SERIES};
use super::file::{ResultFile, pairs};
use super::page::{section as part, side_by_side, table};

pub fn section(files: &[&ResultFile]) -> String {
    if files.is_empty() {
        return String::new();
    }
    let mut body = figure(files, "Rows a second", "rows/s", "rows_per_s", 1.0);
    let title = "Processor time of the bridge for a million rows";
    body.push_str(&figure(files, title, "CPU s", "cpu_s_per_million", 1.0));
    body.push_str(&figure(files, "Most memory of the bridge", "MB", "peak_rss_bytes", 1e-6));
    body.push_str(&processes(files));
    body.push_str(&threads(files));
    body.push_str(&truths(files));
    let said = "A topic filled beforehand, moved as fast as it goes; rows are counted at the \
                destination.";
    part("Throughput", said, &body)
}

fn figure(files: &[&ResultFile], title: &str, unit: &str, name: &str, scale: f64) -> String {
    let bar = |file: &&ResultFile| {
        let mut spread = file.spread(name)?;
        (spread.median, spread.min, spread.max) =
            (spread.median * scale, spread.min * scale, spread.max * scale);
        Some(Bar { name: file.title(), from: file.link(), spread, series: 0 })
    };
    let all: Vec<Bar> = files.iter().filter_map(bar).collect();
    if all.is_empty() { String::new() } else { bars(title, unit, &all) }
}

/// Processor seconds for a million rows, by process.
fn processes(files: &[&ResultFile]) -> String {
    let names = ["bridge", "kafka", "questdb"].map(str::to_owned);
    let stack = |file: &&ResultFile| {
        let cpu_s = file.summary()["cpu_s"].as_object()?;
        let millions = file.summary()["rows"].as_f64()? / 1e6;
        let of = |name: &String| cpu_s.get(name).and_then(Value::as_f64).unwrap_or(0.0) / millions;
        Some(Stack { name: file.title(), from: file.link(), parts: names.iter().map(of).collect() })
    };
    let all: Vec<Stack> = files.iter().filter_map(stack).collect();
    let title = "Processor time of every process for a million rows, start and end included";
    if all.is_empty() { String::new() } else { stacks(title, "CPU s", &names, &all) }
}

/// The bridge's own, by its threads: the largest, and the rest as one.
fn threads(files: &[&ResultFile]) -> String {
    let of = |file: &ResultFile| -> Vec<(String, f64)> {
        let threads = file.summary()["cpu_s_by_thread"].as_object();
        let pair = |(name, seconds): (&String, &Value)| Some((name.clone(), seconds.as_f64()?));
        threads.map(|all| all.iter().filter_map(pair).collect()).unwrap_or_default()
    };
    let mut sums: Vec<(String, f64)> = Vec::new();
    for (name, seconds) in files.iter().flat_map(|file| of(file)) {
        match sums.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += seconds,
            None => sums.push((name, seconds)),
        }
    }
    sums.sort_by(|one, two| two.1.total_cmp(&one.1));
    let mut names: Vec<String> = sums.into_iter().map(|(name, _)| name).collect();
    names.truncate(SERIES - 1);
    let stack = |file: &&ResultFile| {
        let (all, millions) = (of(file), file.summary()["rows"].as_f64()? / 1e6);
        let sum: f64 = all.iter().map(|(_, seconds)| seconds).sum();
        let named = |name: &String| {
            all.iter().find(|(known, _)| known == name).map_or(0.0, |(_, seconds)| *seconds)
        };
        let mut parts: Vec<f64> = names.iter().map(|name| named(name) / millions).collect();
        parts.push((sum / millions - parts.iter().sum::<f64>()).max(0.0));
        (!all.is_empty()).then(|| Stack { name: file.title(), from: file.link(), parts })
    };
    let all: Vec<Stack> = files.iter().filter_map(stack).collect();
    let named: Vec<String> = names.iter().cloned().chain(["others".to_owned()]).collect();
    let title = "The bridge's own by its threads, for a million rows";
    if all.is_empty() { String::new() } else { stacks(title, "CPU s", &named, &all) }
}

/// What was stored, and how much chance there is in it.
fn truths(files: &[&ResultFile]) -> String {
    let row = |file: &&ResultFile| {
        let summary = file.summary();
        let yes = |name: &str| match summary[name].as_bool() {
            Some(true) => "yes".to_owned(),
            Some(false) => "<span class=\"bad\">NO</span>".to_owned(),
            None => String::new(),
        };
        let percent = |figure: &str| {
            let noise = summary["noise"][figure]["difference"].as_f64();
            noise.map_or(String::new(), |share| format!("{:.1} %", share * 1e2))
        };
        let times = |figure: &str| {
            let ratio = summary["against"]["ratio"][figure].as_f64();
            ratio.map_or(String::new(), |ratio| format!("× {}", short(ratio)))
        };
        let both = |of: &dyn Fn(&str) -> String| {
            let both = [of("cpu_s_per_million"), of("rows_per_s")];
            if both.iter().all(String::is_empty) { String::new() } else { both.join(" / ") }
        };
        vec![
            file.link().around(&file.title()),
            short(summary["rows"].as_f64().unwrap_or(0.0)),
            summary["runs"].as_u64().map_or(String::new(), |runs| runs.to_string()),
            yes("count_matched"),
            yes("distinct_matched"),
            yes("sum_matched"),
            yes("committed"),
            both(&percent),
            both(&times),
        ]
    };
    let heading = [
        "what",
        "rows",
        "runs",
        "count",
        "distinct",
        "sum",
        "committed",
        "A/A noise: CPU / rows/s",
        "over another: CPU / rows/s",
    ];
    table(&heading, &[], &files.iter().map(row).collect::<Vec<_>>())
}

/// Memory and rows of each file's last run, over time; what moves the same in the same picture.
pub fn over_time(files: &[&ResultFile]) -> String {
    let mut figures = String::new();
    let scenario = |file: &ResultFile| file.summary()["scenario"].as_str().map(str::to_owned);
    let mut files = files.to_vec();
    files.sort_by_key(|file| scenario(file));
    for some in files.chunk_by(|one, next| scenario(one) == scenario(next)) {
        let name = scenario(some[0]).unwrap_or_default();
        let lines = |points: &dyn Fn(&Value) -> Vec<(f64, f64)>| -> Vec<Line> {
            let line = |file: &&ResultFile| {
                let points = points(file.last_run()?);
                (!points.is_empty()).then(|| Line { name: file.title(), points })
            };
            some.iter().filter_map(line).collect()
        };
        let rss = lines(&|run| {
            let samples = pairs(&run["samples"]["bridge"], "at_s", "rss_bytes");
            samples.into_iter().map(|(at, bytes)| (at, bytes / 1e6)).collect()
        });
        let rows = lines(&|run| {
            let seen = pairs(&run["seen"], "at_s", "rows");
            seen.into_iter().map(|(at, rows)| (at, rows / 1e6)).collect()
        });
        figures.push_str(&time_chart(&format!("{name}: memory of the bridge"), "MB", rss));
        figures.push_str(&time_chart(&format!("{name}: rows visible"), "millions", rows));
    }
    let said = "The last run of each file, from the start of the bridge to its last row.";
    part("Over time", said, &side_by_side(&figures))
}

/// Lines over seconds.
pub fn time_chart(title: &str, unit: &'static str, lines: Vec<Line>) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let points = || lines.iter().flat_map(|line| &line.points);
    let x = Axis::linear(points().map(|(x, _)| *x).fold(0.0, f64::max));
    let y = Axis::linear(points().map(|(_, y)| *y).fold(0.0, f64::max));
    let (title, x_label) = (title.to_owned(), "seconds".to_owned());
    Chart { title, x_label, y_label: unit, x, y, lines, dots: false }.figure()
}
