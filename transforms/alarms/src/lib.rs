//! Records for a topic: every reading goes on, and for each that is too hot an alarm is written to
//! a topic of its own, under the sensor's name. Needs the sink `kafka`.

use bridge_transform::{Column, Init, Output, Record, Topic, Transform, transform};

/// `config = { max_celsius = 60.0, topic = "alarms" }`
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    max_celsius: f64,
    topic: String,
}

struct Alarms {
    sensor: Column,
    temperature: Column,
    max_celsius: f64,
    topic: Topic,
}

impl Transform for Alarms {
    fn init(init: &mut Init) -> Result<Self, String> {
        let Options { max_celsius, topic } = init.config()?;
        Ok(Alarms {
            sensor: init.column("sensor"),
            temperature: init.column("temperature"),
            max_celsius,
            topic: init.topic(&topic),
        })
    }

    fn record(&mut self, record: &Record, out: &mut Output) {
        out.keep();
        let Some(celsius) = record.f64(self.temperature) else { return };
        if celsius > self.max_celsius {
            let over = celsius - self.max_celsius;
            let alarm = out.emit(self.topic).timestamp_ms(record.timestamp_ms());
            let alarm = alarm.value_format(format_args!("{over:.2} degrees too hot"));
            match record.text(self.sensor) {
                Some(sensor) => alarm.key(sensor).done(),
                None => alarm.done(),
            }
        }
    }
}

transform!(Alarms);

#[cfg(test)]
mod tests {
    use super::*;
    use bridge_transform::testing::{Harness, Outcome, record};

    #[test]
    fn what_is_too_hot_is_told_and_kept() {
        let options = r#"{"max_celsius": 60, "topic": "alarms"}"#;
        let mut harness = Harness::<Alarms>::new(options).expect("starts");
        let outcomes = harness.run(&[
            record! { "sensor" => "a", "temperature" => 60 },
            record! { "sensor" => "b", "temperature" => 61.5 },
            record! { "temperature" => 100 },
            record! { "sensor" => "d" },
        ]);
        assert_eq!(outcomes, [(); 4].map(|()| Outcome::kept()));
        let told = harness.emitted().iter().map(|alarm| {
            let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).expect("text");
            let (key, value) = (alarm.key.as_ref().map(text), alarm.value.as_ref().map(text));
            (alarm.record, &*alarm.topic, key, value.expect("it is not null"))
        });
        let expected = [
            (1, "alarms", Some("b".to_owned()), "1.50 degrees too hot".to_owned()),
            (2, "alarms", None, "40.00 degrees too hot".to_owned()),
        ];
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }
}
