//! The time of an element: the record's own and so many steps more.

use bridge_transform::{Column, Draft, Init, Record, Unit, Value};

use crate::Refused;

/// `time = { column = "ts", step = "10ms", unit = "us" }`
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TimeOptions {
    column: String,
    step: String,
    /// What an integer counts.
    unit: Option<String>,
}

/// Where time is, and how it goes on.
pub(crate) struct Step {
    column: Column,
    nanos: i64,
    unit: Option<Unit>,
}

/// The time of the first element, and its unit.
#[derive(Clone, Copy)]
pub(crate) struct Start {
    since_1970: i64,
    unit: Unit,
    is_timestamp: bool,
}

const UNITS: [(&str, i64); 6] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

fn nanos_of(unit: Unit) -> i64 {
    match unit {
        Unit::Seconds => 1_000_000_000,
        Unit::Millis => 1_000_000,
        Unit::Micros => 1_000,
        Unit::Nanos => 1,
    }
}

impl Step {
    pub(crate) fn new(init: &mut Init, options: TimeOptions) -> Result<Step, String> {
        let TimeOptions { column, step, unit } = options;
        let digits = step.find(|c: char| !c.is_ascii_digit()).unwrap_or(step.len());
        let length = UNITS.iter().find(|(name, _)| *name == step[digits..].trim());
        let nanos =
            length.and_then(|(_, nanos)| step[..digits].parse::<i64>().ok()?.checked_mul(*nanos));
        let Some(nanos) = nanos.filter(|nanos| *nanos > 0) else {
            return Err(format!(
                "reading config: `time.step` is \"{step}\", expected such as \"10ms\""
            ));
        };
        let unit = match unit.as_deref() {
            None => None,
            Some("s") => Some(Unit::Seconds),
            Some("ms") => Some(Unit::Millis),
            Some("us") => Some(Unit::Micros),
            Some("ns") => Some(Unit::Nanos),
            Some(other) => {
                return Err(format!(
                    "reading config: `time.unit` is \"{other}\", expected \"s\", \"ms\", \"us\" or \"ns\""
                ));
            }
        };
        if unit.is_some_and(|unit| nanos % nanos_of(unit) != 0) {
            return Err("reading config: `time.step` is no multiple of `time.unit`".to_owned());
        }
        Ok(Step { column: init.column(&column), nanos, unit })
    }

    pub(crate) fn start(&self, record: &Record) -> Result<Start, Refused> {
        match (record.get(self.column), self.unit) {
            (Some(Value::Timestamp(since_1970, unit)), _) => {
                // A finer unit where the step needs one: 100 µs after 12:00:00.001.
                let fits = |finer: &Unit| self.nanos % nanos_of(*finer) == 0;
                let finer = [unit, Unit::Millis, Unit::Micros, Unit::Nanos];
                let to = finer.into_iter().filter(|to| nanos_of(*to) <= nanos_of(unit)).find(fits);
                let to = to.unwrap_or(Unit::Nanos);
                let scaled = since_1970.checked_mul(nanos_of(unit) / nanos_of(to));
                let since_1970 = scaled.ok_or(Refused(self.column, "is too far from 1970"))?;
                Ok(Start { since_1970, unit: to, is_timestamp: true })
            }
            (Some(Value::I64(since_1970)), Some(unit)) => {
                Ok(Start { since_1970, unit, is_timestamp: false })
            }
            (Some(Value::I64(_)), None) => {
                Err(Refused(self.column, "is an integer; say what it counts with `time.unit`"))
            }
            (None | Some(Value::Null), _) => Err(Refused(self.column, "is missing")),
            (Some(_), _) => Err(Refused(self.column, "is no time")),
        }
    }

    pub(crate) fn set<'o>(
        &self,
        row: Draft<'o>,
        start: Start,
        element: usize,
    ) -> Result<Draft<'o>, Refused> {
        let each = self.nanos / nanos_of(start.unit);
        let after = i64::try_from(element).ok().and_then(|element| element.checked_mul(each));
        let at = after.and_then(|after| start.since_1970.checked_add(after));
        match at {
            Some(at) if start.is_timestamp => Ok(row.set_timestamp(self.column, at, start.unit)),
            Some(at) => Ok(row.set_i64(self.column, at)),
            None => {
                row.cancel();
                Err(Refused(self.column, "is too far from 1970"))
            }
        }
    }
}
