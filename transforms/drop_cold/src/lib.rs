//! A filter: records whose temperature is at least `min_celsius` go on unchanged, all others are
//! filtered, also those without a temperature.

use bridge_transform::{Column, Init, Output, Record, Transform, transform};

/// `config = { min_celsius = 15.0, column = "temperature" }`
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    min_celsius: f64,
    #[serde(default = "temperature")]
    column: String,
}

fn temperature() -> String {
    "temperature".to_owned()
}

struct DropCold {
    temperature: Column,
    min_celsius: f64,
}

impl Transform for DropCold {
    fn init(init: &mut Init) -> Result<Self, String> {
        let Options { min_celsius, column } = init.config()?;
        Ok(DropCold { temperature: init.column(&column), min_celsius })
    }

    fn record(&mut self, record: &Record, out: &mut Output) {
        if record.f64(self.temperature).is_some_and(|celsius| celsius >= self.min_celsius) {
            out.keep();
        }
    }
}

transform!(DropCold);

#[cfg(test)]
mod tests {
    use super::*;
    use bridge_transform::testing::{Harness, Outcome, record};

    #[test]
    fn keeps_what_is_warm_enough() {
        let mut harness = Harness::<DropCold>::new(r#"{"min_celsius": 15.0}"#).expect("starts");
        let outcomes = harness.run(&[
            record! { "sensor" => "a", "temperature" => 15.0 },
            record! { "sensor" => "b", "temperature" => 14.9 },
            record! { "sensor" => "c", "temperature" => 16 },
            record! { "sensor" => "d", "temperature" => "hot" },
            record! { "sensor" => "e" },
        ]);
        let (kept, filtered) = (Outcome::kept(), Outcome::Filtered);
        assert_eq!(outcomes, [kept.clone(), filtered.clone(), kept, filtered.clone(), filtered]);
    }

    #[test]
    fn the_column_can_be_chosen() {
        let config = r#"{"min_celsius": 0, "column": "t"}"#;
        let mut harness = Harness::<DropCold>::new(config).expect("starts");
        assert_eq!(harness.run(&[record! { "t" => 1 }]), [Outcome::kept()]);
    }

    #[test]
    fn the_threshold_is_required() {
        let error = Harness::<DropCold>::new("{}").err().expect("refused");
        assert!(error.contains("missing field `min_celsius`"), "{error}");
    }
}
