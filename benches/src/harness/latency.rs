//! Latency out of counts: records come by a schedule, and what was counted at a moment is held
//! against what was due by then.
//!
//! Nothing is omitted while the pipeline stands still: the nth record counted has the age of the
//! nth record due, so all that waited behind a slow moment counts with its whole wait. A look at
//! the count comes after the fact, never before it: figures are too high by up to the time between
//! two looks.

use anyhow::Result;
use hdrhistogram::Histogram;
use serde::Serialize;

use super::count::Seen;

/// Microseconds, in three digits.
pub type Durations = Histogram<u64>;

/// Percentiles of a histogram, in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
    /// Records it was measured on.
    pub count: u64,
    /// (percentile, milliseconds), denser towards 100: what a curve is drawn from.
    pub curve: Vec<(f64, f64)>,
}

impl Percentiles {
    pub fn of(durations: &Durations) -> Percentiles {
        let at = |percentile: f64| durations.value_at_percentile(percentile) as f64 / 1e3;
        Percentiles {
            p50_ms: at(50.0),
            p90_ms: at(90.0),
            p99_ms: at(99.0),
            p999_ms: at(99.9),
            max_ms: durations.max() as f64 / 1e3,
            count: durations.len(),
            curve: percentiles(durations.len()).map(|of| (of, at(of))).collect(),
        }
    }
}

/// Percentiles worth a point: eight for each halving of what lies above, as long as a record does.
fn percentiles(count: u64) -> impl Iterator<Item = f64> {
    let rest = (0_i32..).map(|step| 0.5_f64.powf(f64::from(step) / 8.0));
    rest.take_while(move |rest| rest * count as f64 >= 1.0).map(|rest| 100.0 * (1.0 - rest))
}

/// The ages of the records from number `from` on, when they were first counted.
pub fn of_counts(seen: &[Seen], per_second: u64, from: u64) -> Result<Durations> {
    let mut durations = Histogram::new(3)?;
    let mut counted = from;
    for Seen { at_s, rows } in seen {
        for number in counted..*rows {
            let due_s = number as f64 / per_second as f64;
            durations.record(((at_s - due_s).max(0.0) * 1e6) as u64)?;
        }
        counted = counted.max(*rows);
    }
    Ok(durations)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(at_s: f64, rows: u64) -> Seen {
        Seen { at_s, rows }
    }

    #[test]
    fn rows_that_waited_count_with_their_whole_wait() {
        // One row each 100 ms, and a second in which nothing could be seen.
        let seen = [at(0.0, 0), at(0.1, 1), at(0.2, 2), at(1.2, 12), at(1.3, 13)];
        let latency = Percentiles::of(&of_counts(&seen, 10, 0).expect("they can be counted"));
        assert_eq!(latency.count, 13);
        assert!((latency.max_ms - 1000.0).abs() < 2.0, "{latency:?}");
        assert!((latency.p999_ms - 1000.0).abs() < 2.0, "{latency:?}");
        assert!((latency.p50_ms - 400.0).abs() < 2.0, "{latency:?}");
    }

    #[test]
    fn what_came_before_is_left_out() {
        // The first ten rows came late, all others at once.
        let mut seen = vec![at(5.0, 10)];
        seen.extend((11..=100).map(|rows| at(rows as f64 * 0.1, rows)));
        let all = of_counts(&seen, 10, 0).expect("they can be counted");
        let rest = of_counts(&seen, 10, 50).expect("they can be counted");
        assert_eq!((all.len(), rest.len()), (100, 50));
        assert!(all.max() > 4_900_000, "{}", all.max());
        assert!(rest.max() < 101_000, "{}", rest.max());
    }

    #[test]
    fn a_naive_reading_of_every_record_agrees() {
        let seen = [at(0.3, 2), at(0.4, 2), at(0.9, 7), at(0.95, 6), at(2.0, 20)];
        let histogram = of_counts(&seen, 10, 1).expect("they can be counted");
        let mut ages: Vec<f64> = (1..20_u64)
            .map(|number| {
                let first = seen.iter().find(|seen| seen.rows > number).expect("all are seen");
                (first.at_s - number as f64 / 10.0).max(0.0) * 1e3
            })
            .collect();
        ages.sort_by(f64::total_cmp);
        for (percentile, age) in [(50.0, ages[9]), (100.0, ages[18])] {
            let found = histogram.value_at_percentile(percentile) as f64 / 1e3;
            assert!((found - age).abs() <= age / 500.0 + 0.01, "{percentile}: {found}, not {age}");
        }
    }

    #[test]
    fn a_curve_rises_to_the_last_record() {
        let mut durations = Histogram::new(3).expect("three digits");
        (1..=1_000_u64).for_each(|us| durations.record(us * 1_000).expect("it grows"));
        let curve = Percentiles::of(&durations).curve;
        assert_eq!(curve[0].0, 0.0);
        assert!(curve.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1));
        let (last, ms) = curve[curve.len() - 1];
        assert!((99.8..100.0).contains(&last) && ms >= 998.0, "{last} {ms}");
        assert!(percentiles(0).next().is_none());
    }
}
