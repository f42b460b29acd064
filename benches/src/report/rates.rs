//! Latency at fixed rates: percentiles as curves, and as a table.

use serde_json::Value;

use super::axis::{Axis, short};
use super::chart::{Chart, Line};
use super::file::ResultFile;
use super::page::{section as part, side_by_side, table};

pub fn section(files: &[&ResultFile]) -> String {
    let mut figures = String::new();
    for file in files {
        for (latency, said) in [("acked", "acknowledged"), ("visible", "visible")] {
            figures.push_str(&curves(file, latency, said));
        }
    }
    let rows: Vec<Vec<String>> = files.iter().flat_map(|file| rows(file)).collect();
    if rows.is_empty() {
        return String::new();
    }
    let heading = [
        "what",
        "records/s",
        "acknowledged, ms: p50 / p90 / p99 / p99.9 / max",
        "visible, ms: p50 / p90 / p99 / p99.9 / max",
        "the bridge, of a core",
        "idle",
        "every row once",
    ];
    let said = "Milliseconds from the moment a record was due: what waits behind a slow moment \
                counts with its whole wait. Every step to the right is one nine more.";
    part("Latency", said, &(side_by_side(&figures) + &table(&heading, &[], &rows)))
}

fn at_rates(file: &ResultFile) -> &[Value] {
    file.summary()["at_rates"].as_array().map_or(&[], Vec::as_slice)
}

/// A curve for each rate.
fn curves(file: &ResultFile, latency: &str, said: &str) -> String {
    let line = |rate: &Value| {
        let points = points(&rate[latency]);
        let name = format!("{} records/s", short(rate["per_second"].as_f64()?));
        (!points.is_empty()).then_some(Line { name, points })
    };
    let lines: Vec<Line> = at_rates(file).iter().filter_map(line).collect();
    let all = || lines.iter().flat_map(|line| &line.points);
    if lines.is_empty() {
        return String::new();
    }
    let min = all().map(|(_, ms)| *ms).filter(|ms| *ms > 0.0).fold(f64::INFINITY, f64::min);
    let max = all().map(|(_, ms)| *ms).fold(0.0, f64::max);
    // The youngest rows say little, and would take half the picture.
    let min = min.max(max / 1_000.0);
    let chart = Chart {
        title: format!("{}: until {said}", file.title()),
        x_label: "percentile".into(),
        y_label: "ms",
        x: Axis::percentiles(all().map(|(percentile, _)| *percentile).fold(0.0, f64::max)),
        y: Axis::log(min, max),
        lines,
        dots: false,
    };
    chart.figure()
}

/// Of the curve, or of the four percentiles that older files have.
fn points(latency: &Value) -> Vec<(f64, f64)> {
    let pair = |point: &Value| Some((point[0].as_f64()?, point[1].as_f64()?));
    if let Some(curve) = latency["curve"].as_array() {
        return curve.iter().filter_map(pair).collect();
    }
    let known = [(50.0, "p50_ms"), (90.0, "p90_ms"), (99.0, "p99_ms"), (99.9, "p999_ms")];
    known.into_iter().filter_map(|(at, name)| Some((at, latency[name].as_f64()?))).collect()
}

fn rows(file: &ResultFile) -> Vec<Vec<String>> {
    let row = |rate: &Value| {
        let percent = |share: &Value| {
            share.as_f64().map_or(String::new(), |share| format!("{:.1} %", share * 1e2))
        };
        let mut row = vec![
            file.link().around(&file.title()),
            short(rate["per_second"].as_f64().unwrap_or(0.0)),
        ];
        for latency in ["acked", "visible"] {
            let ms = ["p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms"].map(|percentile| {
                let ms = rate[latency][percentile].as_f64();
                ms.map_or("—".to_owned(), |ms| format!("{ms:.0}"))
            });
            row.push(ms.join(" / "));
        }
        row.push(percent(&rate["bridge_cpu_share"]));
        row.push(percent(&rate["idle"]["cpu_share"]));
        row.push(match rate["matched"].as_bool() {
            Some(false) => "<span class=\"bad\">NO</span>".to_owned(),
            Some(true) => "yes".to_owned(),
            None => String::new(),
        });
        row
    };
    at_rates(file).iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn older_files_have_four_points() {
        let old = json!({ "p50_ms": 1.0, "p90_ms": 2.0, "p99_ms": 3.0, "p999_ms": 4.0 });
        assert_eq!(points(&old), [(50.0, 1.0), (90.0, 2.0), (99.0, 3.0), (99.9, 4.0)]);
        assert_eq!(
            points(&json!({ "curve": [[0.0, 5.0], [50.0, 6.0]] })),
            [(0.0, 5.0), (50.0, 6.0)]
        );
    }
}
