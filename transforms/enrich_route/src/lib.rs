//! A patch: adds `fahrenheit` to every record with a temperature, and sends those that are too hot
//! to a table of their own. Records without a temperature go on unchanged.

use bridge_transform::{Column, Init, Output, Record, Table, Transform, transform};

/// `config = { alarm_above = 60.0, alarm_table = "alarms" }`
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Degrees Celsius.
    alarm_above: f64,
    #[serde(default = "alarms")]
    alarm_table: String,
}

fn alarms() -> String {
    "alarms".to_owned()
}

struct EnrichRoute {
    temperature: Column,
    fahrenheit: Column,
    alarm_above: f64,
    alarms: Table,
}

impl Transform for EnrichRoute {
    fn init(init: &mut Init) -> Result<Self, String> {
        let Options { alarm_above, alarm_table } = init.config()?;
        Ok(EnrichRoute {
            temperature: init.column("temperature"),
            fahrenheit: init.column("fahrenheit"),
            alarm_above,
            alarms: init.table(&alarm_table),
        })
    }

    fn record(&mut self, record: &Record, out: &mut Output) {
        let Some(celsius) = record.f64(self.temperature) else { return out.keep() };
        let patch = out.patch().set_f64(self.fahrenheit, celsius * 9.0 / 5.0 + 32.0);
        if celsius > self.alarm_above {
            patch.table(self.alarms).done();
        } else {
            patch.done();
        }
    }
}

transform!(EnrichRoute);

#[cfg(test)]
mod tests {
    use super::*;
    use bridge_transform::testing::{Harness, Outcome, record};

    #[test]
    fn computes_and_routes() {
        let mut harness = Harness::<EnrichRoute>::new(r#"{"alarm_above": 60.0}"#).expect("starts");
        let outcomes = harness.run(&[
            record! { "sensor" => "a", "temperature" => 100 },
            record! { "sensor" => "b", "temperature" => 60.0 },
            record! { "sensor" => "c" },
        ]);
        let fahrenheit = |value: f64| vec![("fahrenheit".to_owned(), value.into())];
        assert_eq!(
            outcomes,
            [
                Outcome::Patched { table: Some("alarms".into()), columns: fahrenheit(212.0) },
                Outcome::Patched { table: None, columns: fahrenheit(140.0) },
                Outcome::kept(),
            ]
        );
    }
}
