//! Keeps the records for which an expression is true. Those for which it is false or null are
//! filtered; those for which it fails are rejected, with the part that failed.

use bridge_transform::expr::Expression;
use bridge_transform::{Init, Output, Record, Transform, transform};

/// `config = { where = "temperature >= 15 and site <> 'lab'" }`
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    #[serde(rename = "where")]
    condition: String,
}

struct Filter(Expression);

impl Transform for Filter {
    fn init(init: &mut Init) -> Result<Self, String> {
        let Options { condition } = init.config()?;
        Ok(Filter(Expression::condition(init, "where", &condition)?))
    }

    fn record(&mut self, record: &Record, out: &mut Output) {
        match self.0.holds(record) {
            Ok(true) => out.keep(),
            Ok(false) => {}
            Err(failed) => out.reject(failed),
        }
    }
}

transform!(Filter);

#[cfg(test)]
mod tests {
    use super::*;
    use bridge_transform::testing::{Harness, Outcome, TestRecord, TestValue, record};

    fn run(condition: &str, records: &[TestRecord]) -> Vec<Outcome> {
        let config = format!("{{\"where\": \"{condition}\"}}");
        Harness::<Filter>::new(&config).expect("starts").run(records)
    }

    #[test]
    fn true_is_kept_false_and_null_are_filtered_failures_are_rejected() {
        let outcomes = run(
            "temperature >= 15 and site <> 'lab'",
            &[
                record! { "temperature" => 15, "site" => "north" },
                record! { "temperature" => 14.9, "site" => "north" },
                record! { "temperature" => 20.5, "site" => TestValue::symbol("lab") },
                record! { "temperature" => 20.5, "site" => TestValue::Null },
                record! { "site" => "north" },
                record! { "temperature" => "hot", "site" => "north" },
            ],
        );
        let rejected = "`temperature >= 15`: text and a number cannot be compared";
        assert_eq!(
            outcomes,
            [
                Outcome::kept(),
                Outcome::Filtered,
                Outcome::Filtered,
                Outcome::Filtered,
                Outcome::Filtered,
                Outcome::Rejected(rejected.to_owned()),
            ]
        );
    }

    #[test]
    fn what_kafka_says_can_be_asked() {
        let records = [
            TestRecord { partition: 0, offset: 1_001, ..record! {} }.key("a-1"),
            TestRecord { partition: 1, offset: 1_001, ..record! {} }.header("kind", Some(b"test")),
            TestRecord { partition: 1, offset: 1, timestamp_ms: 1_000, ..record! {} },
            TestRecord { topic: "others".to_owned(), ..record! {} },
        ];
        let kept = |condition: &str| {
            let outcomes = run(condition, &records).into_iter().enumerate();
            let kept = outcomes.filter(|(_, outcome)| *outcome == Outcome::kept());
            kept.map(|(index, _)| index).collect::<Vec<_>>()
        };
        assert_eq!(
            kept("(partition = 0 and offset > 1000) or partition = 1 and offset < 9"),
            [0, 2]
        );
        assert_eq!(kept("starts_with(key, 'a')"), [0]);
        assert_eq!(kept("key is null"), [1, 2, 3]);
        assert_eq!(kept("header('kind') = 'test'"), [1]);
        assert_eq!(kept("timestamp < timestamp '1970-01-01T00:00:02Z'"), [2]);
        assert_eq!(kept("topic = 'others'"), [3]);
    }

    #[test]
    fn wrong_expressions_stop_the_start_and_say_where() {
        let refused = |config: &str| Harness::<Filter>::new(config).err().expect("refused");
        assert!(refused("{}").contains("missing field `where`"));
        assert_eq!(
            refused(r#"{"where": "temperature >"}"#),
            "reading `where`: expected a value, here the expression ends at character 14: \
             `temperature > ➜ `"
        );
        assert!(refused(r#"{"where": "1 + 2"}"#).contains("a condition is true or false"));
        assert!(refused(r#"{"where": "lenght(site) > 2"}"#).contains("did you mean `length`?"));
    }
}
