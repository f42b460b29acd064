//! 1:N: a wide record becomes one row for each of its readings. A reading is a number in a column
//! whose name begins with `prefix`; its row has `metric` (the name behind the prefix), `value`, and
//! all columns that are no readings. A record without readings is filtered.

use bridge_transform::{Column, Init, Output, Record, Transform, Value, transform};

/// `config = { prefix = "m_" }`
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    #[serde(default = "prefix")]
    prefix: String,
}

fn prefix() -> String {
    "m_".to_owned()
}

struct SplitReadings {
    prefix: String,
    metric: Column,
    value: Column,
    /// By column: its metric, empty for a column that is no reading, `None` while its name was
    /// not asked for. Asking costs a call, so each is asked for once.
    metrics: Vec<Option<String>>,
}

impl SplitReadings {
    fn learn(&mut self, column: Column) {
        let index = usize::from(column.id());
        self.metrics.resize(self.metrics.len().max(index + 1), None);
        let prefix = &self.prefix;
        self.metrics[index].get_or_insert_with(|| {
            let name = column.name().unwrap_or_default();
            name.strip_prefix(prefix).unwrap_or_default().to_owned()
        });
    }

    fn metric(&self, column: Column) -> Option<&str> {
        self.metrics[usize::from(column.id())].as_deref().filter(|metric| !metric.is_empty())
    }
}

impl Transform for SplitReadings {
    fn init(init: &mut Init) -> Result<Self, String> {
        let Options { prefix } = init.config()?;
        init.want_all_columns();
        let (metric, value) = (init.column("metric"), init.column("value"));
        Ok(SplitReadings { prefix, metric, value, metrics: Vec::new() })
    }

    fn record(&mut self, record: &Record, out: &mut Output) {
        record.columns().for_each(|(column, _)| self.learn(column));
        for (column, value) in record.columns() {
            let Some(metric) = self.metric(column) else { continue };
            let value = match value {
                Value::F64(value) => value,
                Value::I64(value) => value as f64,
                Value::Null => continue,
                _ => return out.reject(format_args!("reading {metric} is not a number")),
            };
            out.row()
                .copy_if(record, |column| self.metric(column).is_none())
                .set_symbol(self.metric, metric)
                .set_f64(self.value, value)
                .done();
        }
    }
}

transform!(SplitReadings);

#[cfg(test)]
mod tests {
    use super::*;
    use bridge_transform::testing::{Harness, NewRow, Outcome, TestValue, record};

    fn row(metric: &str, value: f64) -> NewRow {
        let columns = vec![
            ("site".to_owned(), "north".into()),
            ("ts".to_owned(), 7.into()),
            ("metric".to_owned(), TestValue::symbol(metric)),
            ("value".to_owned(), value.into()),
        ];
        NewRow { table: None, columns }
    }

    #[test]
    fn one_row_for_each_reading() {
        let mut harness = Harness::<SplitReadings>::new("{}").expect("starts");
        let outcomes = harness.run(&[
            record! { "site" => "north", "m_co2" => 410, "ts" => 7, "m_hum" => 0.5 },
            record! { "site" => "north", "ts" => 7, "m_co2" => TestValue::Null },
            record! { "site" => "north", "ts" => 7, "m_hum" => 0.25, "m_co2" => "much" },
        ]);
        assert_eq!(
            outcomes,
            [
                Outcome::Rows(vec![row("co2", 410.0), row("hum", 0.5)]),
                Outcome::Filtered,
                Outcome::Rejected("reading co2 is not a number".to_owned()),
            ]
        );
    }
}
