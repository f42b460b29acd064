//! Sends records to tables by rules: the first rule whose expression is true decides.

use bridge_transform::expr::Expression;
use bridge_transform::{Init, Output, Record, Table, Transform, transform};

/// `config = { rules = [{ where = "temperature > 60", table = "alarms" }], otherwise = "keep" }`
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    rules: Vec<RuleOptions>,
    #[serde(default)]
    otherwise: Otherwise,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleOptions {
    #[serde(rename = "where")]
    condition: String,
    table: String,
}

/// What becomes of a record that no rule is for.
#[derive(serde::Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Otherwise {
    /// It goes where it would have gone.
    #[default]
    Keep,
    Filter,
    Reject,
}

struct Route {
    rules: Vec<(Expression, Table)>,
    otherwise: Otherwise,
}

impl Transform for Route {
    fn init(init: &mut Init) -> Result<Self, String> {
        let Options { rules, otherwise } = init.config()?;
        if rules.is_empty() {
            return Err("reading config: `rules` is empty".to_owned());
        }
        let mut read = Vec::new();
        for (index, RuleOptions { condition, table }) in rules.iter().enumerate() {
            let option = format!("rules[{index}].where");
            read.push((Expression::condition(init, &option, condition)?, init.table(table)));
        }
        Ok(Route { rules: read, otherwise })
    }

    fn record(&mut self, record: &Record, out: &mut Output) {
        for (condition, table) in &mut self.rules {
            match condition.holds(record) {
                Ok(true) => return out.keep_in(*table),
                Ok(false) => {}
                Err(failed) => return out.reject(failed),
            }
        }
        match self.otherwise {
            Otherwise::Keep => out.keep(),
            Otherwise::Filter => {}
            Otherwise::Reject => out.reject("no rule is for this record"),
        }
    }
}

transform!(Route);

#[cfg(test)]
mod tests {
    use super::*;
    use bridge_transform::testing::{Harness, Outcome, TestRecord, record};

    fn run(otherwise: &str, records: &[TestRecord]) -> Vec<Outcome> {
        let config = format!(
            r#"{{"rules": [{{"where": "celsius > 60", "table": "alarms"}},
                {{"where": "celsius > 30 or site = 'lab'", "table": "warm"}}] {otherwise}}}"#
        );
        Harness::<Route>::new(&config).expect("starts").run(records)
    }

    fn to(table: &str) -> Outcome {
        Outcome::Kept { table: Some(table.to_owned()) }
    }

    #[test]
    fn the_first_rule_that_is_true_decides() {
        let outcomes = run(
            "",
            &[
                record! { "celsius" => 61, "site" => "lab" },
                record! { "celsius" => 31 },
                record! { "celsius" => 3, "site" => "lab" },
                record! { "celsius" => 3 },
                record! { "celsius" => true },
            ],
        );
        let rejected = "`celsius > 60`: true or false and a number cannot be compared";
        let rejected = Outcome::Rejected(rejected.to_owned());
        assert_eq!(outcomes, [to("alarms"), to("warm"), to("warm"), Outcome::kept(), rejected]);
    }

    #[test]
    fn what_becomes_of_the_rest_can_be_chosen() {
        let rest = [record! { "celsius" => 3 }];
        assert_eq!(run(r#", "otherwise": "filter""#, &rest), [Outcome::Filtered]);
        let rejected = Outcome::Rejected("no rule is for this record".to_owned());
        assert_eq!(run(r#", "otherwise": "reject""#, &rest), [rejected]);
    }

    #[test]
    fn a_wrong_rule_is_named() {
        let config =
            r#"{"rules": [{"where": "true", "table": "a"}, {"where": "a =", "table": "b"}]}"#;
        let error = Harness::<Route>::new(config).err().expect("refused");
        assert!(error.starts_with("reading `rules[1].where`: expected a value"), "{error}");
        let error = Harness::<Route>::new(r#"{"rules": []}"#).err().expect("refused");
        assert!(error.contains("`rules` is empty"), "{error}");
    }
}
