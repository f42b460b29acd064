//! Figures out of runs: medians with their spread, and readings between two samples.

use serde::{Serialize, Serializer};

/// Seconds in a file, to the millisecond: a sample takes about as long.
pub fn to_the_millisecond<S: Serializer>(seconds: &f64, to: S) -> Result<S::Ok, S::Error> {
    ((seconds * 1e3).round() / 1e3).serialize(to)
}

/// The middle of some runs, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// Of at least one number.
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Spread {
        let mut sorted: Vec<f64> = numbers.into_iter().collect();
        assert!(!sorted.is_empty(), "a spread is of at least one number");
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            1 => sorted[middle],
            _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
        };
        Spread { median, min: sorted[0], max: sorted[sorted.len() - 1] }
    }
}

/// The `y` at `x` on the line through points whose `x` never fall; the first point that reaches
/// `x` decides where several do. Outside of the points it is the nearest point's.
pub fn interpolate(points: &[(f64, f64)], x: f64) -> Option<f64> {
    let next = points.iter().position(|(at, _)| *at >= x);
    match next {
        None => points.last().map(|(_, y)| *y),
        Some(0) => Some(points[0].1),
        Some(next) => {
            let ((x0, y0), (x1, y1)) = (points[next - 1], points[next]);
            // Not zero: the point before lies below `x`, this one does not.
            Some(y0 + (y1 - y0) * (x - x0) / (x1 - x0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_two() {
        let of = |numbers: &[f64]| Spread::of(numbers.iter().copied());
        assert_eq!(of(&[3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]), Spread { median: 2.5, min: 1.0, max: 4.0 });
        assert_eq!(of(&[7.0]), Spread { median: 7.0, min: 7.0, max: 7.0 });
    }

    #[test]
    fn between_two_samples_it_is_a_line() {
        let points = [(0.0, 1.0), (10.0, 2.0), (10.0, 3.0), (20.0, 5.0)];
        for (x, y) in [(-1.0, 1.0), (0.0, 1.0), (5.0, 1.5), (10.0, 2.0), (15.0, 4.0), (30.0, 5.0)] {
            assert_eq!(interpolate(&points, x), Some(y), "at {x}");
        }
        assert_eq!(interpolate(&[], 1.0), None);
    }
}
