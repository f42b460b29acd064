//! How cost grows: one picture for each thing that grows.

use serde_json::Value;

use super::axis::{Axis, short};
use super::chart::{Chart, Line};
use super::file::{ResultFile, pairs};
use super::page::{escape, section as part, side_by_side, table};

pub fn section(files: &[&ResultFile]) -> String {
    let (mut figures, mut rows) = (String::new(), Vec::new());
    for file in files {
        for series in file.summary()["series"].as_array().map_or(&[][..], Vec::as_slice) {
            figures.push_str(&figure(file, series));
            let points = series["points"].as_array().map_or(&[][..], Vec::as_slice);
            rows.extend(points.iter().map(|point| row(file, series, point)));
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    let heading = [
        "what grows",
        "to",
        "CPU s per million rows",
        "cost",
        "",
        "rows/s",
        "peak RSS, MB",
        "every row once",
    ];
    let said = "Processor time of the bridge; flat is good. Where a row itself grows, the cost is \
                that of a field or of a gigabyte.";
    part("Scale", said, &(side_by_side(&figures) + &table(&heading, &[4], &rows)))
}

fn name(series: &Value) -> &str {
    series["name"].as_str().unwrap_or("?")
}

fn figure(file: &ResultFile, series: &Value) -> String {
    let points = pairs(&series["points"], "at", "cost");
    if points.is_empty() {
        return String::new();
    }
    let at: Vec<f64> = points.iter().map(|(at, _)| *at).collect();
    let unit = series["cost_unit"].as_str().unwrap_or_default();
    let transport = file.summary()["transport"].as_str().unwrap_or_default();
    let chart = Chart {
        title: format!("CPU s {unit}, {transport}"),
        x_label: name(series).to_owned(),
        y_label: "CPU s",
        x: Axis::points(&at),
        y: Axis::linear(points.iter().map(|(_, cost)| *cost).fold(0.0, f64::max)),
        lines: vec![Line { name: String::new(), points }],
        dots: true,
    };
    chart.figure()
}

fn row(file: &ResultFile, series: &Value, point: &Value) -> Vec<String> {
    let number = |name: &str, scale: f64| {
        point[name].as_f64().map_or(String::new(), |number| short(number * scale))
    };
    vec![
        file.link().around(name(series)),
        number("at", 1.0),
        number("cpu_s_per_million", 1.0),
        number("cost", 1.0),
        escape(series["cost_unit"].as_str().unwrap_or_default()),
        number("rows_per_s", 1.0),
        number("peak_rss_bytes", 1e-6),
        match point["matched"].as_bool() {
            Some(false) => "<span class=\"bad\">NO</span>".to_owned(),
            Some(true) => "yes".to_owned(),
            None => String::new(),
        },
    ]
}
