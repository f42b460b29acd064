//! `skewed`: the records of `sensors`, but few keys carry most of them: each of the first has twice
//! as many as the next, so that one partition holds half the topic.

use super::sensors::{self, Sensors, as_sensors};
use super::{Scenario, noise};

pub(crate) struct Skewed;

impl Scenario for Skewed {
    fn name(&self) -> &'static str {
        "skewed"
    }

    fn write(&self, seq: u64, key: &mut Vec<u8>, value: &mut Vec<u8>) {
        sensors::write_of(sensor(seq), seq, key, value);
    }

    as_sensors!();
}

/// One of ten records is of any sensor, the others are of sensors whose shares halve.
fn sensor(seq: u64) -> u64 {
    let noise = noise(seq);
    match noise % 10 {
        0 => noise / 10 % sensors::SENSORS,
        _ => u64::from((noise / 10).trailing_zeros()).min(sensors::SENSORS - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_keys_carry_most_records() {
        const COUNT: u64 = 100_000;
        let mut counts = vec![0_u64; sensors::SENSORS as usize];
        (0..COUNT).for_each(|seq| counts[sensor(seq) as usize] += 1);
        let share = |count: u64| count as f64 / COUNT as f64;
        assert!((0.4..0.5).contains(&share(counts[0])), "{}", share(counts[0]));
        assert!(share(counts[0] + counts[1] + counts[2]) > 0.75);
        assert!(counts.iter().all(|count| *count > 0), "every sensor is there");
    }
}
