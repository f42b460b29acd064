//! Computed columns: each is set to the value of an expression over the record as it came in.
//! Columns can be renamed and dropped as well.

use std::collections::BTreeMap;

use bridge_transform::expr::Expression;
use bridge_transform::{Column, Init, Output, Record, Transform, transform};

/// `config = { set = { fahrenheit = "temperature * 9 / 5 + 32" }, rename = { t = "temperature" },
/// drop = ["debug"] }`
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// New column: expression.
    #[serde(default)]
    set: BTreeMap<String, String>,
    /// Old name: new name.
    #[serde(default)]
    rename: BTreeMap<String, String>,
    #[serde(default)]
    drop: Vec<String>,
}

struct Computed {
    name: String,
    column: Column,
    value: Expression,
}

struct Convert {
    set: Vec<Computed>,
    rename: Vec<(Column, Column)>,
    drop: Vec<Column>,
}

impl Transform for Convert {
    fn init(init: &mut Init) -> Result<Self, String> {
        let Options { set, rename, drop } = init.config()?;
        if set.is_empty() && rename.is_empty() && drop.is_empty() {
            return Err("reading config: expected `set`, `rename` or `drop`".to_owned());
        }
        let mut computed = Vec::new();
        for (name, source) in set {
            let value = Expression::new(init, &format!("set.{name}"), &source)?;
            computed.push(Computed { column: init.column(&name), name, value });
        }
        Ok(Convert {
            set: computed,
            rename: rename.iter().map(|(old, new)| (init.column(old), init.column(new))).collect(),
            drop: drop.iter().map(|name| init.column(name)).collect(),
        })
    }

    fn record(&mut self, record: &Record, out: &mut Output) {
        let mut patch = out.patch();
        let moved = self.rename.iter().filter_map(|(old, new)| Some((old, new, record.get(*old)?)));
        for (old, new, value) in moved {
            patch = patch.drop(*old).set(*new, value);
        }
        for column in &self.drop {
            patch = patch.drop(*column);
        }
        // What is set counts, also where the column was dropped or renamed away.
        for Computed { name, column, value } in &mut self.set {
            match value.value(record) {
                Ok(value) => patch = patch.set(*column, value),
                Err(failed) => {
                    drop(patch);
                    return out.reject(format_args!("{name}: {failed}"));
                }
            }
        }
        patch.done();
    }
}

transform!(Convert);

#[cfg(test)]
mod tests {
    use super::*;
    use bridge_transform::testing::{Harness, Outcome, TestRecord, TestValue, record};

    fn run(config: &str, record: TestRecord) -> Outcome {
        let mut harness = Harness::<Convert>::new(config).expect("starts");
        harness.run(&[record]).pop().expect("one outcome a record")
    }

    fn patched(columns: Vec<(&str, TestValue)>) -> Outcome {
        let columns = columns.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Outcome::Patched { table: None, columns }
    }

    #[test]
    fn columns_are_computed_from_the_record_as_it_came() {
        let config = r#"{"set": {
            "a": "b + 1", "b": "a * 10", "label": "upper(site) || '/' || a",
            "kelvin": "convert(celsius, 'celsius', 'kelvin')", "gone": "nowhere"}}"#;
        let record = record! { "a" => 1, "b" => 2, "site" => "north", "celsius" => 20.0 };
        assert_eq!(
            run(config, record),
            patched(vec![
                ("a", 3.into()),
                ("b", 10.into()),
                ("gone", TestValue::Null),
                ("kelvin", 293.15.into()),
                ("label", "NORTH/1".into()),
            ])
        );
    }

    #[test]
    fn renames_move_whatever_the_column_holds() {
        let config =
            r#"{"rename": {"t": "temperature", "w": "wave", "x": "y"}, "drop": ["debug"]}"#;
        let record = record! { "t" => 21.5, "w" => vec![1.0, 2.0], "debug" => "d" };
        assert_eq!(
            run(config, record),
            patched(vec![
                ("t", TestValue::Dropped),
                ("temperature", 21.5.into()),
                ("w", TestValue::Dropped),
                ("wave", vec![1.0, 2.0].into()),
                ("debug", TestValue::Dropped),
            ])
        );
    }

    #[test]
    fn a_failure_names_its_column() {
        let outcome = run(r#"{"set": {"a": "1", "b": "x / y"}}"#, record! { "x" => 1, "y" => 0 });
        assert_eq!(outcome, Outcome::Rejected("b: `x / y`: division by zero".to_owned()));
    }

    #[test]
    fn mistakes_name_their_option() {
        let refused = |config: &str| Harness::<Convert>::new(config).err().expect("refused");
        assert!(refused("{}").contains("expected `set`, `rename` or `drop`"));
        assert!(
            refused(r#"{"set": {"k": "convert(a, 'celcius', 'kelvin')"}}"#)
                .starts_with("reading `set.k`: there is no unit 'celcius'")
        );
    }
}
