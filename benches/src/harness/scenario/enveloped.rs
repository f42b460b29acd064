//! Records of `sensors` that bring their schema, as Kafka Connect's JSON converter has them.

use super::Scenario;
use super::sensors::{Sensors, as_sensors};

const BEFORE: &[u8] = br#"{"schema":{"type":"struct","fields":[{"field":"ts","type":"int64","name":"io.debezium.time.MicroTimestamp","version":1},{"field":"sensor","type":"string"},{"field":"site","type":"string"},{"field":"temperature","type":"double"},{"field":"humidity","type":"double"},{"field":"pressure","type":"double"},{"field":"seq","type":"int64"},{"field":"ok","type":"boolean"}]},"payload":"#;

pub(crate) struct Enveloped;

impl Scenario for Enveloped {
    fn name(&self) -> &'static str {
        "sensors-enveloped"
    }

    fn write(&self, seq: u64, key: &mut Vec<u8>, value: &mut Vec<u8>) {
        Sensors.write(seq, key, value);
        value.splice(0..0, BEFORE.iter().copied());
        value.push(b'}');
    }

    as_sensors!();
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_payload_is_the_sensors_record_and_has_what_the_schema_says() {
        let (mut key, mut value, mut plain) = (Vec::new(), Vec::new(), Vec::new());
        Enveloped.write(5, &mut key, &mut value);
        Sensors.write(5, &mut key, &mut plain);
        let read: Value = serde_json::from_slice(&value).expect("it is JSON");
        let payload: Value = serde_json::from_slice(&plain).expect("it is JSON");
        assert_eq!(read["payload"], payload);
        let fields = read["schema"]["fields"].as_array().expect("fields");
        assert_eq!(fields.len(), payload.as_object().expect("an object").len());
        for field in fields {
            let name = field["field"].as_str().expect("a name");
            assert!(payload.get(name).is_some(), "{name}");
        }
    }
}
