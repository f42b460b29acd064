//! The report: result files in, one page of HTML out, with everything in it.
//!
//! ```text
//!   file        what a result file holds         page   HTML: head, tables, links, style.css
//!   axis        where a number stands            chart  lines as SVG      bars  bars that lie
//!   saturation, rates, peers, faults, micro, guests, scale: the parts of the page, one a kind
//! ```
//!
//! Every number leads to its file: names of bars and first columns of tables link to the list.

mod axis;
mod bars;
mod chart;
mod faults;
mod file;
mod guests;
mod micro;
mod page;
mod peers;
mod rates;
mod saturation;
mod scale;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use file::{Kind, ResultFile};
use page::escape;

/// `report`.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Result files; all of `benches/results` if none is given.
    files: Vec<PathBuf>,
    /// Where the page goes; `report.html` beside the first result file if not given.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs it.
pub fn main(options: &Options) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    let paths = match options.files.is_empty() {
        true => ResultFile::of_folder(&folder)?,
        false => options.files.clone(),
    };
    let files: Vec<ResultFile> = paths
        .iter()
        .enumerate()
        .map(|(index, path)| ResultFile::read(path, index))
        .collect::<Result<_>>()?;
    let out = match (&options.out, files.first()) {
        (Some(out), _) => out.clone(),
        (None, Some(first)) => first.path.with_file_name("report.html"),
        (None, None) => folder.join("report.html"),
    };
    std::fs::write(&out, render(&files, &out))
        .with_context(|| format!("writing {}", out.display()))?;
    eprintln!("written: {}", out.display());
    Ok(())
}

fn render(files: &[ResultFile], out: &Path) -> String {
    let of = |kind: Kind| files.iter().filter(|file| file.kind == kind).collect::<Vec<_>>();
    let runs = of(Kind::Harness);
    let mut body = format!("<h1>What the bridge costs, and how fast it is</h1>\n{}", head(files));
    body.push_str(&saturation::section(&runs));
    body.push_str(&peers::section(&of(Kind::Peers)));
    body.push_str(&peers::sql(&of(Kind::Sql)));
    body.push_str(&rates::section(&of(Kind::Rates)));
    body.push_str(&saturation::over_time(&runs));
    body.push_str(&scale::section(&of(Kind::Scale)));
    body.push_str(&faults::section(&of(Kind::Faults)));
    body.push_str(&micro::section(&of(Kind::Micro)));
    body.push_str(&guests::section(&of(Kind::Guests)));
    body.push_str(&list(files, out));
    page::page("bridge: benches", &body)
}

/// Dates, commits and machines of all files, in a sentence.
fn head(files: &[ResultFile]) -> String {
    let distinct = |of: &dyn Fn(&ResultFile) -> String| {
        let mut all: Vec<String> = files.iter().map(of).filter(|text| !text.is_empty()).collect();
        all.sort();
        all.dedup();
        escape(&all.join(", "))
    };
    let machine = |file: &ResultFile| {
        let machine = file.machine();
        machine.split(", load").next().unwrap_or_default().to_owned()
    };
    format!(
        "<p>Measured {} at commit {} on {}. Kafka and QuestDB share the machine with what is \
         measured. Bars are medians, their thin lines reach from the smallest to the largest run; \
         names lead to the file that a number is from.</p>\n",
        distinct(&ResultFile::date),
        distinct(&|file| file.commit().to_owned()),
        distinct(&machine),
    )
}

/// The files themselves, with what they were measured by.
fn list(files: &[ResultFile], out: &Path) -> String {
    let mut rows = String::new();
    for file in files {
        // Beside the page the file itself can be opened.
        let beside = file.path.parent() == out.parent();
        let name = escape(&file.name);
        let name = if beside { format!("<a href=\"{name}\">{name}</a>") } else { name };
        let cells = [
            name,
            escape(file.kind.name()),
            escape(&file.title()),
            escape(&file.date()),
            format!("<code>{}</code>", escape(file.commit())),
            escape(&file.machine()),
        ];
        let cells: String = cells.iter().map(|cell| format!("<td>{cell}</td>")).collect();
        rows.push_str(&format!("<tr id=\"file-{}\">{cells}</tr>\n", file.index));
    }
    let table = format!(
        "<div class=\"scroll\"><table><thead><tr><th>file</th><th>kind</th><th>what</th>\
         <th>date</th><th>commit</th><th>machine</th></tr></thead><tbody>\n{rows}</tbody></table>\
         </div>\n"
    );
    let configs: String = files.iter().map(config).collect();
    let said = "Each has the raw numbers behind the figures. <code>+</code> after a commit: with \
                changes on top.";
    page::section("Files", said, &(table + &configs))
}

/// The configuration, to be unfolded.
fn config(file: &ResultFile) -> String {
    let Value::Array(lines) = &file.value["config"] else { return String::new() };
    let lines: Vec<&str> = lines.iter().filter_map(Value::as_str).collect();
    format!(
        "<details><summary>configuration of {}</summary><pre>{}</pre></details>\n",
        escape(&file.name),
        escape(&lines.join("\n"))
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn files(values: Vec<Value>) -> (world::Directory, Vec<ResultFile>) {
        let folder = world::Directory::create("report").expect("a folder can be made");
        let read = |(index, value): (usize, Value)| {
            let path = folder.path().join(format!("2026-01-31-{index}.json"));
            std::fs::write(&path, value.to_string()).expect("it can be written");
            ResultFile::read(&path, index).expect("it can be read")
        };
        let files = values.into_iter().enumerate().map(read).collect();
        (folder, files)
    }

    /// As the harness, `peers`, `faults` and `micro` write them, in short.
    fn one_of_each() -> Vec<Value> {
        let of =
            |median: f64| json!({ "median": median, "min": median / 2.0, "max": median * 2.0 });
        let samples = json!([
            { "at_s": 0.0, "cpu_s": 0.0, "rss_bytes": 1_000_000 },
            { "at_s": 1.0, "cpu_s": 0.5, "rss_bytes": 2_000_000 },
        ]);
        let seen = json!([{ "at_s": 0.0, "rows": 0 }, { "at_s": 1.0, "rows": 1_000_000 }]);
        let run = json!({ "samples": { "bridge": samples }, "seen": seen });
        let latency = json!({
            "p50_ms": 40.0, "p90_ms": 80.0, "p99_ms": 200.0, "p999_ms": 400.0, "count": 1_000,
        });
        vec![
            json!({
                "kind": "harness",
                "config": ["[kafka]", "brokers = \"<here>\""],
                "summary": {
                    "scenario": "sensors", "transport": "http", "runs": 2, "rows": 1_000_000,
                    "commit": "abc", "count_matched": true, "distinct_matched": true,
                    "sum_matched": true, "cpu_s": { "bridge": 1.0, "questdb": 2.0 },
                    "cpu_s_by_thread": { "bench-lane": 0.7, "couriers": 0.2 },
                    "spread": { "rows_per_s": of(617_000.0), "cpu_s_per_million": of(0.77) },
                },
                "raw": [run],
            }),
            json!({
                "kind": "rates",
                "summary": {
                    "scenario": "sensors", "transport": "tcp", "runs": 0,
                    "at_rates": [{ "per_second": 1_000, "acked": latency, "visible": latency,
                        "idle": { "cpu_share": 0.003, "rss_bytes": 29_000_000 },
                        "bridge_cpu_share": 0.06, "matched": true }],
                },
            }),
            json!({
                "kind": "peers",
                "summary": { "scenario": "sensors", "pipelines": [
                    { "program": "bridge", "title": "bridge", "transport": "http", "matched": true,
                      "rows_per_s": of(600_000.0), "cpu_s_per_million": of(0.8) },
                    { "program": "telegraf", "title": "Telegraf", "transport": "http",
                      "matched": false, "failures": ["it fell over"], "rows_per_s": of(70_000.0),
                      "cpu_s_per_million": of(16.0), "bridge_is_faster_by": 8.6 },
                ], "not_at_hand": [{ "title": "Connect", "how": "give a path" }] },
                "raw": { "bridge-http": [run], "telegraf-http": [] },
            }),
            json!({
                "kind": "faults",
                "summary": { "cases": [
                    { "title": "QuestDB away", "program": "bridge", "transport": "http",
                      "stored": 2_000_000, "lost": 0, "double": 0, "recovers": true,
                      "seconds": 1.2, "saw": "nothing" },
                    { "title": "poison", "program": "telegraf", "failed": "it never started" },
                ] },
            }),
            json!({ "stages": [{ "stage": "decode", "ns": of(88.0), "again": of(88.5) }] }),
            json!({
                "kind": "scale",
                "summary": { "series": [{ "name": "partitions", "cost_unit": "CPU s",
                    "points": [{ "at": 1, "cost": 0.8, "matched": true },
                               { "at": 64, "cost": 0.9, "matched": false }] }] },
            }),
            json!({
                "kind": "sql",
                "summary": { "pipelines": [
                    { "program": "bridge", "title": "the bridge, append", "matched": true,
                      "rows_per_s": of(500_000.0), "cpu_s_per_million": of(0.6) },
                ] },
            }),
            json!({ "kind": "weather" }),
        ]
    }

    #[test]
    fn every_kind_has_its_part_and_unknown_ones_are_listed() {
        let (folder, files) = files(one_of_each());
        let page = render(&files, &folder.path().join("report.html"));
        for part in [
            "617 k",
            "QuestDB away",
            "Telegraf",
            "it fell over",
            "it never started",
            "give a path",
            "decode",
            "weather",
            "partitions",
            "the bridge, append",
            "<a href=\"2026-01-31-7.json\">",
            "&lt;here&gt;",
        ] {
            assert!(page.contains(part), "{part} is not in the page");
        }
        for index in 0..7 {
            assert!(page.contains(&format!("href=\"#file-{index}\"")), "nothing leads to {index}");
        }
        assert!(!page.contains("NaN") && !page.contains("inf"));
    }

    #[test]
    fn files_with_nothing_in_them_give_a_page() {
        for kind in ["harness", "rates", "peers", "sql", "faults", "micro", "scale"] {
            let (folder, files) = files(vec![json!({ "kind": kind })]);
            let page = render(&files, &folder.path().join("report.html"));
            assert!(page.contains(kind), "{kind}");
        }
    }

    #[test]
    fn tags_are_closed() {
        let (folder, files) = files(one_of_each());
        let page = render(&files, &folder.path().join("elsewhere").join("report.html"));
        for tag in ["div", "figure", "svg", "table", "tr", "td", "ul", "section", "a", "span"] {
            let open = page.matches(&format!("<{tag}>")).count()
                + page.matches(&format!("<{tag} ")).count();
            assert_eq!(open, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
        assert!(!page.contains("<a href=\"2026"), "what is not beside cannot be opened");
    }
}
