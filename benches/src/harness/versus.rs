//! Runs against runs: the same binary against itself, which is the noise, and one binary against
//! another.

use serde_json::{Value, json};

use super::bridge_run::Run;
use crate::stats::Spread;

/// What is compared, with its name.
type Figure = (&'static str, fn(&Run) -> f64);

const FIGURES: [Figure; 4] = [
    ("rows_per_s", |run| run.rows_per_s),
    ("cpu_s_per_million", |run| run.cpu_s_per_million),
    ("cpu_s_per_million_whole", |run| run.cpu_s_per_million_whole),
    ("peak_rss_bytes", |run| run.peak_rss_bytes as f64),
];

/// Median, smallest and largest of every figure.
pub fn spread(runs: &[Run]) -> Value {
    figures(|of| json!(Spread::of(runs.iter().map(of))))
}

/// A/A: every other run is A, the rest is B. What lies between their medians has no cause but
/// chance, so no smaller difference means anything. Of at least two runs.
pub fn noise(runs: &[Run]) -> Option<Value> {
    let half = |first: usize, of: fn(&Run) -> f64| {
        Spread::of(runs.iter().skip(first).step_by(2).map(of)).median
    };
    (runs.len() >= 2).then(|| {
        figures(|of| {
            let (a, b) = (half(0, of), half(1, of));
            json!({ "a": a, "b": b, "difference": difference(a, b) })
        })
    })
}

/// The second binary's figures, and how many times as much the first one has.
pub fn against(runs: &[Run], against: &[Run]) -> Option<Value> {
    let ratio = |of: fn(&Run) -> f64| {
        let median = |runs: &[Run]| Spread::of(runs.iter().map(of)).median;
        json!(median(runs) / median(against))
    };
    (!runs.is_empty() && !against.is_empty()).then(|| {
        json!({
            "runs": against.len(),
            "spread": spread(against),
            "ratio": figures(ratio),
            "matched": against.iter().all(Run::matched),
        })
    })
}

/// How far two figures lie apart, as a share of what lies between them.
fn difference(a: f64, b: f64) -> f64 {
    (a - b).abs() / ((a + b) / 2.0)
}

fn figures(of: impl Fn(fn(&Run) -> f64) -> Value) -> Value {
    FIGURES.iter().map(|(name, figure)| ((*name).to_owned(), of(*figure))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(cpu: &[f64]) -> Vec<Run> {
        cpu.iter()
            .map(|cpu| Run { cpu_s_per_million: *cpu, rows_per_s: 1e6 / cpu, ..Run::default() })
            .collect()
    }

    #[test]
    fn noise_is_what_lies_between_every_other_run() {
        assert_eq!(noise(&runs(&[1.0])), None);
        let noise = noise(&runs(&[1.0, 3.0, 2.0, 3.0, 1.0])).expect("there are two halves");
        let expected = json!({ "a": 1.0, "b": 3.0, "difference": 1.0 });
        assert_eq!(noise["cpu_s_per_million"], expected);
    }

    #[test]
    fn a_ratio_is_of_medians() {
        assert_eq!(against(&runs(&[1.0]), &[]), None);
        let against = against(&runs(&[0.5, 0.4, 9.0]), &runs(&[1.0, 1.0])).expect("both ran");
        assert_eq!(against["ratio"]["cpu_s_per_million"], 0.5);
        assert_eq!(against["ratio"]["rows_per_s"], 2.0);
        assert_eq!(against["spread"]["cpu_s_per_million"]["max"], 1.0);
    }
}
