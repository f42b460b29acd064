//! NAME: keeps the records that have a value in `column`, and filters the others.

use bridge_transform::{Column, Init, Output, Record, Transform, Value, transform};

/// `config = { column = "sensor" }`
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    column: String,
}

struct Keep {
    column: Column,
}

impl Transform for Keep {
    fn init(init: &mut Init) -> Result<Self, String> {
        let Options { column } = init.config()?;
        Ok(Keep { column: init.column(&column) })
    }

    fn record(&mut self, record: &Record, out: &mut Output) {
        if record.get(self.column).is_some_and(|value| value != Value::Null) {
            out.keep();
        }
    }
}

transform!(Keep);

#[cfg(test)]
mod tests {
    use super::*;
    use bridge_transform::testing::{Harness, Outcome, TestValue, record};

    #[test]
    fn keeps_what_has_a_value() {
        let mut harness = Harness::<Keep>::new(r#"{"column": "sensor"}"#).expect("starts");
        let outcomes = harness.run(&[
            record! { "sensor" => "a" },
            record! { "sensor" => TestValue::Null },
            record! { "other" => 1 },
        ]);
        assert_eq!(outcomes, [Outcome::kept(), Outcome::Filtered, Outcome::Filtered]);
    }
}
