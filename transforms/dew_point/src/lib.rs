//! Structs as rows: reads temperature and humidity of each record, and sets the dew point and how
//! it feels. Records without a humidity go on unchanged.

use bridge_transform::{Init, Output, Record, Row, Transform, transform};

/// `config = { muggy_above = 16.0 }`
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Degrees Celsius of the dew point.
    muggy_above: f64,
}

/// What is read of a record.
#[derive(Row)]
struct Reading {
    #[bridge(rename = "temperature")]
    celsius: f64,
    humidity: Option<f64>,
}

/// What is set.
#[derive(Row)]
struct Comfort<'r> {
    dew_point: f64,
    #[bridge(symbol)]
    feels: &'r str,
}

struct DewPoint {
    reading: ReadingColumns,
    comfort: ComfortColumns,
    muggy_above: f64,
}

impl Transform for DewPoint {
    fn init(init: &mut Init) -> Result<Self, String> {
        let Options { muggy_above } = init.config()?;
        let (reading, comfort) = (ReadingColumns::new(init), ComfortColumns::new(init));
        Ok(DewPoint { reading, comfort, muggy_above })
    }

    fn record(&mut self, record: &Record, out: &mut Output) {
        let reading = match self.reading.read(record) {
            Ok(reading) => reading,
            Err(wrong) => return out.reject(wrong),
        };
        let Some(humidity) = reading.humidity else { return out.keep() };
        let dew_point = dew_point(reading.celsius, humidity);
        let feels = if dew_point > self.muggy_above { "muggy" } else { "dry" };
        self.comfort.write(&Comfort { dew_point, feels }, out.patch()).done();
    }
}

/// Magnus' formula, with the constants of Sonntag for water.
fn dew_point(celsius: f64, percent: f64) -> f64 {
    let pressure = (percent / 100.0).ln() + 17.62 * celsius / (243.12 + celsius);
    243.12 * pressure / (17.62 - pressure)
}

transform!(DewPoint);

#[cfg(test)]
mod tests {
    use super::*;
    use bridge_transform::testing::{Harness, Outcome, TestValue, record};

    #[test]
    fn sets_what_follows_from_a_reading() {
        let mut harness = Harness::<DewPoint>::new(r#"{"muggy_above": 16.0}"#).expect("starts");
        let outcomes = harness.run(&[
            record! { "temperature" => 20, "humidity" => 100.0 },
            record! { "temperature" => 25.0, "humidity" => 40.0 },
            record! { "temperature" => 20.0, "humidity" => TestValue::Null },
            record! { "temperature" => "warm", "humidity" => 40.0 },
            record! { "humidity" => 40.0 },
        ]);
        let rejected = |why: &str| Outcome::Rejected(why.to_owned());
        assert_eq!(outcomes[0].column("feels"), Some(&TestValue::symbol("muggy")));
        assert_eq!(outcomes[1].column("feels"), Some(&TestValue::symbol("dry")));
        let dew = |outcome: &Outcome| match outcome.column("dew_point") {
            Some(TestValue::F64(dew)) => *dew,
            other => panic!("{other:?}"),
        };
        assert!((dew(&outcomes[0]) - 20.0).abs() < 1e-9, "air that is full of water is at it");
        assert!((dew(&outcomes[1]) - 10.5).abs() < 0.1, "{}", dew(&outcomes[1]));
        assert_eq!(outcomes[2], Outcome::kept());
        assert_eq!(
            outcomes[3..],
            [
                rejected("column `temperature` is text, and must be a number"),
                rejected("column `temperature` is missing, and must be a number"),
            ]
        );
    }
}
