//! Where a number stands on an axis, and which numbers are written beside it.

/// An axis from 0 to 1 along which numbers stand.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    scale: Scale,
    min: f64,
    max: f64,
    /// Numbers that are written, and how.
    pub ticks: Vec<(f64, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Scale {
    Linear,
    /// Of positive numbers.
    Log,
    /// Percentiles: every nine more is a step of the same length.
    Nines,
}

impl Axis {
    /// From 0 to at least `max`, with about five round numbers.
    pub fn linear(max: f64) -> Axis {
        let max = if max.is_finite() && max > 0.0 { max } else { 1.0 };
        let step = round_step(max / 5.0);
        // A hair less, so that a number that is a tick itself needs no further one.
        let steps = (max / step - 1e-9).ceil();
        let ticks = (0..=steps as u32).map(|tick| f64::from(tick) * step);
        let ticks = ticks.map(|at| (at, short(at))).collect();
        Axis { scale: Scale::Linear, min: 0.0, max: steps * step, ticks }
    }

    /// From a power of ten, or half of one, to another.
    pub fn log(min: f64, max: f64) -> Axis {
        let min = if min.is_finite() && min > 0.0 { min } else { 1.0 };
        let max = if max.is_finite() && max > min { max } else { min * 10.0 };
        let grid = |power: i32| [1.0, 2.0, 5.0].map(|lead| lead * 10.0_f64.powi(power));
        let powers = min.log10().floor() as i32 - 1..=max.log10().ceil() as i32 + 1;
        let all: Vec<f64> = powers.flat_map(grid).collect();
        let first = all.iter().rposition(|at| *at <= min * (1.0 + 1e-9)).unwrap_or(0);
        let last = all.iter().position(|at| *at >= max * (1.0 - 1e-9)).unwrap_or(all.len() - 1);
        let ticks = all[first..=last].iter().map(|at| (*at, short(*at))).collect();
        Axis { scale: Scale::Log, min: all[first], max: all[last], ticks }
    }

    /// Of just these numbers, each with its tick, as powers: 1, 4, 16.
    pub fn points(points: &[f64]) -> Axis {
        let (min, max) = (points.first().copied().unwrap_or(1.0), points.last().copied());
        let ticks = points.iter().map(|at| (*at, short(*at))).collect();
        Axis { scale: Scale::Log, min, max: max.unwrap_or(1.0), ticks }
    }

    /// Percentiles from 0 to `max`, which is below 100.
    pub fn percentiles(max: f64) -> Axis {
        let all = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999];
        let max = if (90.0..100.0).contains(&max) { max } else { 90.0 };
        let ticks = all.into_iter().filter(|at| *at <= max).map(|at| (at, format!("{at}")));
        Axis { scale: Scale::Nines, min: 0.0, max, ticks: ticks.collect() }
    }

    /// Where a number stands: 0 at the start, 1 at the end, never beyond.
    pub fn at(&self, number: f64) -> f64 {
        let (from, to, at) = (self.lay(self.min), self.lay(self.max), self.lay(number));
        if to <= from {
            return 0.5;
        }
        ((at - from) / (to - from)).clamp(0.0, 1.0)
    }

    fn lay(&self, number: f64) -> f64 {
        match self.scale {
            Scale::Linear => number,
            Scale::Log => number.max(f64::MIN_POSITIVE).log10(),
            Scale::Nines => -(1.0 - number.min(99.999_999) / 100.0).log10(),
        }
    }
}

/// The smallest of 1, 2, 5, 10, 20 … (and of 0.5, 0.2 …) that is not below.
fn round_step(least: f64) -> f64 {
    let power = 10.0_f64.powf(least.log10().floor());
    let lead = [1.0, 2.0, 5.0].into_iter().find(|lead| lead * power >= least * (1.0 - 1e-9));
    lead.unwrap_or(10.0) * power
}

/// A number in a few letters: `1.5`, `200`, `20 k`, `3 M`.
pub fn short(number: f64) -> String {
    let (scaled, suffix) = match number.abs() {
        size if size >= 999_500.0 => (number / 1e6, " M"),
        size if size >= 10_000.0 => (number / 1e3, " k"),
        _ => (number, ""),
    };
    let digits = match scaled.abs() {
        size if size >= 99.95 || size == 0.0 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.0995 => 2,
        _ => 3,
    };
    let text = format!("{scaled:.digits$}");
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(axis: &Axis) -> Vec<f64> {
        axis.ticks.iter().map(|(at, _)| *at).collect()
    }

    #[test]
    fn a_linear_axis_starts_at_nought_and_holds_its_numbers() {
        assert_eq!(numbers(&Axis::linear(1.0)), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(numbers(&Axis::linear(618_000.0)).last(), Some(&800_000.0));
        assert_eq!(Axis::linear(618_000.0).ticks[1].1, "200 k");
        for max in [1e-6, 0.03, 0.999, 1.0, 1.01, 7.0, 123.0, 4.2e9] {
            let axis = Axis::linear(max);
            assert!(axis.at(max) > 0.5 && axis.at(max) <= 1.0, "{max}");
            assert_eq!((axis.at(0.0), axis.at(-1.0)), (0.0, 0.0));
            assert!((3..=7).contains(&axis.ticks.len()), "{max}: {:?}", axis.ticks);
        }
        assert_eq!(Axis::linear(f64::NAN), Axis::linear(1.0));
    }

    #[test]
    fn a_log_axis_gives_every_factor_the_same_length() {
        let axis = Axis::log(43.0, 262.0);
        assert_eq!(numbers(&axis), [20.0, 50.0, 100.0, 200.0, 500.0]);
        let step = axis.at(40.0) - axis.at(20.0);
        assert!((axis.at(400.0) - axis.at(200.0) - step).abs() < 1e-9);
        assert_eq!((axis.at(1.0), axis.at(1e9)), (0.0, 1.0));
        assert_eq!(numbers(&Axis::log(10.0, 100.0)), [10.0, 20.0, 50.0, 100.0]);
    }

    #[test]
    fn every_nine_more_is_a_step_of_the_same_length() {
        let axis = Axis::percentiles(99.99);
        let steps: Vec<f64> =
            [0.0, 90.0, 99.0, 99.9, 99.99].iter().map(|percentile| axis.at(*percentile)).collect();
        for (index, at) in steps.iter().enumerate() {
            assert!((at - index as f64 / 4.0).abs() < 1e-6, "{steps:?}");
        }
        assert_eq!(axis.ticks.last().map(|(_, text)| text.as_str()), Some("99.99"));
    }

    #[test]
    fn numbers_are_short() {
        for (number, text) in [
            (0.0, "0"),
            (0.2, "0.2"),
            (0.05, "0.05"),
            (1.0896, "1.09"),
            (9.9999, "10"),
            (55.04, "55"),
            (262.4, "262"),
            (5_000.0, "5000"),
            (50_000.0, "50 k"),
            (618_539.1, "619 k"),
            (1_250_000.0, "1.25 M"),
            (999_900.0, "1 M"),
        ] {
            assert_eq!(short(number), text, "{number}");
        }
    }
}
