//! What a table of these rows could be: kinds of columns, the designated timestamp, symbols.
//! Proposed from a sample, to be read by a person and changed.

use std::collections::HashSet;
use std::fmt::Write;
use std::ops::Range;

use bridge_abi::Unit;

use super::rig::Row;
use super::said::Said;
use crate::times::{from_iso, nanos_of, unit_by_magnitude};

/// Distinct texts of a column that are kept; with more it is no symbol.
const DISTINCT_MAX: usize = 1_000;
/// A longer text is no symbol.
const SYMBOL_BYTES_MAX: usize = 64;
/// A symbol is met so often, on average.
const REPEATS_MIN: usize = 4;
/// Names of columns that hold the time of the row, the likeliest first.
const TIMES: [&str; 12] = [
    "timestamp",
    "ts",
    "time",
    "@timestamp",
    "event_time",
    "eventtime",
    "created_at",
    "datetime",
    "date",
    "at",
    "updated_at",
    "occurred_at",
];
/// 1990 and 2100, in seconds since 1970: numbers between them may be times.
const SECONDS: Range<i128> = 631_152_000..4_102_444_800;

/// What was seen of a column.
#[derive(Debug, Default)]
struct Seen {
    rows: usize,
    nulls: usize,
    bools: usize,
    longs: usize,
    doubles: usize,
    texts: usize,
    instants: usize,
    dates: usize,
    symbols: usize,
    /// The dimensions of arrays.
    arrays: Vec<usize>,
    others: usize,
    distinct: HashSet<String>,
    long_text: bool,
    /// Smallest and largest integer.
    range: Option<(i64, i64)>,
    unit: Option<Unit>,
    example: String,
}

/// A column, as it is proposed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column {
    /// Its name in the record.
    pub name: String,
    /// Its type in QuestDB, in small letters; `None` where every value was null.
    pub kind: Option<String>,
    /// In how many of the rows it was, and what is to be known of it.
    pub note: String,
}

/// A table, as it is proposed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proposal {
    /// Its columns, in the order in which they were met.
    pub columns: Vec<Column>,
    /// The column of the designated timestamp, and its unit if it is a number; else Kafka's.
    pub timestamp: Option<(String, Option<Unit>)>,
}

/// Proposes a table.
pub fn infer<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Proposal {
    let mut columns: Vec<(String, Seen)> = Vec::new();
    let mut all = 0;
    for row in rows {
        all += 1;
        for (name, said) in &row.cells {
            let at = columns.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
                columns.push((name.clone(), Seen::default()));
                columns.len() - 1
            });
            columns[at].1.meet(said);
        }
    }
    let timestamp = designated(&columns, all);
    let columns = columns
        .into_iter()
        .map(|(name, seen)| {
            let is_time = timestamp.as_ref().is_some_and(|(own, _)| *own == name);
            let kind = if is_time { Some("timestamp".to_owned()) } else { seen.kind() };
            Column { kind, note: seen.note(all), name }
        })
        .collect();
    Proposal { columns, timestamp }
}

/// The column whose values are times in every row, and whose name says so soonest.
fn designated(columns: &[(String, Seen)], all: usize) -> Option<(String, Option<Unit>)> {
    let rank = |name: &str| {
        let name = name.to_ascii_lowercase();
        let last = name.rsplit('_').next().unwrap_or_default().to_owned();
        let named = TIMES.iter().position(|time| *time == name);
        named.or_else(|| TIMES.iter().position(|time| *time == last).map(|at| at + TIMES.len()))
    };
    let whole = columns.iter().filter(|(_, seen)| all > 0 && seen.rows - seen.nulls == all);
    let timed = whole.filter_map(|(name, seen)| {
        let unit = seen.as_time(all)?;
        // A number that could be a time is one only if its name says so.
        let is_number = seen.longs == all;
        let rank = rank(name).or((!is_number).then_some(usize::MAX))?;
        Some((rank, name, unit))
    });
    timed.min_by_key(|(rank, ..)| *rank).map(|(_, name, unit)| (name.clone(), unit))
}

impl Seen {
    fn meet(&mut self, said: &Said) {
        self.rows += 1;
        if self.example.is_empty() && *said != Said::Null {
            self.example = said.written().to_string();
        }
        match said {
            Said::Null => self.nulls += 1,
            Said::Bool(_) => self.bools += 1,
            Said::I64(value) => {
                self.longs += 1;
                let (low, high) = self.range.unwrap_or((*value, *value));
                self.range = Some((low.min(*value), high.max(*value)));
            }
            Said::F64(_) => self.doubles += 1,
            Said::Text(text) => {
                self.texts += 1;
                self.dates += usize::from(is_instant(text));
                self.distinguish(text);
            }
            Said::Symbol(text) => {
                self.symbols += 1;
                self.distinguish(text);
            }
            Said::Timestamp(_, unit) => {
                self.instants += 1;
                self.unit = Some(*unit);
            }
            Said::Array(array) => {
                let mut dimensions = 0;
                let mut inner = Some(array);
                while let Some(serde_json::Value::Array(list)) = inner {
                    dimensions += 1;
                    inner = list.first();
                }
                self.arrays.push(dimensions);
            }
            Said::Bytes(_) | Said::Decimal(_) => self.others += 1,
        }
    }

    fn distinguish(&mut self, text: &str) {
        self.long_text |= text.len() > SYMBOL_BYTES_MAX;
        if self.distinct.len() < DISTINCT_MAX && !self.distinct.contains(text) {
            self.distinct.insert(text.to_owned());
        }
    }

    /// The unit of times that are numbers; `Some(None)` where text or instants say the time.
    fn as_time(&self, all: usize) -> Option<Option<Unit>> {
        if self.instants == all || self.dates == all {
            return Some(None);
        }
        let (low, high) = self.range.filter(|_| self.longs == all)?;
        let unit = unit_by_magnitude(low);
        let seconds = |value: i64| i128::from(value) * nanos_of(unit) / nanos_of(Unit::Seconds);
        let fits = |value| SECONDS.contains(&seconds(value));
        (unit == unit_by_magnitude(high) && fits(low) && fits(high)).then_some(Some(unit))
    }

    /// The type that takes every value that was seen.
    fn kind(&self) -> Option<String> {
        let values = self.rows - self.nulls;
        if values == 0 {
            return None;
        }
        let kind = if self.bools == values {
            "boolean"
        } else if self.longs == values {
            "long"
        } else if self.longs + self.doubles == values {
            "double"
        } else if self.instants == values {
            "timestamp"
        } else if self.arrays.len() == values && self.arrays.iter().all(|d| *d == self.arrays[0]) {
            return Some(format!("double{}", "[]".repeat(self.arrays[0].max(1))));
        } else if self.symbols == values || (self.texts == values && self.repeats(values)) {
            "symbol"
        } else {
            "varchar"
        };
        Some(kind.to_owned())
    }

    fn repeats(&self, values: usize) -> bool {
        let distinct = self.distinct.len();
        !self.long_text && distinct < DISTINCT_MAX && values >= REPEATS_MIN * distinct
    }

    fn note(&self, all: usize) -> String {
        let values = self.rows - self.nulls;
        let mut note = match values {
            0 => "only nulls: its type shows with the first value".to_owned(),
            _ if values == all => "in every row".to_owned(),
            _ => format!("in {values} of {all} rows"),
        };
        if self.texts + self.symbols == values && values > 0 && self.distinct.len() < DISTINCT_MAX {
            let _ = write!(note, ", {} distinct", self.distinct.len());
        }
        let kinds = [self.bools, self.longs + self.doubles, self.texts + self.symbols];
        if kinds.iter().filter(|count| **count > 0).count() > 1 {
            note.push_str(", of several kinds: text takes them all");
        }
        if !self.example.is_empty() {
            let short: String = self.example.chars().take(40).collect();
            let more = if short.len() < self.example.len() { "…" } else { "" };
            let _ = write!(note, ", such as {short}{more}");
        }
        note
    }
}

/// Whether text is an instant that the bridge reads without a pattern, and no bare number.
fn is_instant(text: &str) -> bool {
    text.len() >= 10 && from_iso(text).is_some()
}

/// The section of a table, in TOML, and its `CREATE TABLE` as a comment below.
pub fn written(proposal: &Proposal, pipeline: &str, table: &str) -> String {
    let mut text = format!("[pipeline.{pipeline}.table]\nname = {}\n", quoted(table));
    match &proposal.timestamp {
        Some((field, Some(unit))) => {
            let unit = match unit {
                Unit::Seconds => "s",
                Unit::Millis => "ms",
                Unit::Micros => "us",
                Unit::Nanos => "ns",
            };
            let _ =
                writeln!(text, "timestamp = {{ field = {}, unit = \"{unit}\" }}", quoted(field));
        }
        Some((field, None)) => {
            let _ = writeln!(text, "timestamp = {{ field = {} }}", quoted(field));
        }
        None => {
            let why = "no column is a time in every row: Kafka's";
            let _ = writeln!(text, "timestamp = \"kafka\"   # {why}");
        }
    }
    let is = |column: &&Column, wanted: &str| column.kind.as_deref() == Some(wanted);
    let symbols: Vec<String> = proposal
        .columns
        .iter()
        .filter(|column| is(column, "symbol"))
        .map(|column| quoted(&column.name))
        .collect();
    if !symbols.is_empty() {
        let _ = writeln!(text, "symbols = [{}]", symbols.join(", "));
    }
    let time = proposal.timestamp.as_ref().map(|(name, _)| name);
    let _ = write!(text, "\n[pipeline.{pipeline}.table.columns]\n");
    for column in &proposal.columns {
        let Column { name, kind, note } = column;
        match kind {
            _ if Some(name) == time => {
                let _ = writeln!(text, "# {}: the designated timestamp, {note}", quoted(name));
            }
            Some(kind) if kind == "symbol" => {
                let _ = writeln!(text, "# {}: a symbol, {note}", quoted(name));
            }
            Some(kind) => {
                let _ = writeln!(text, "{} = \"{kind}\"   # {note}", quoted(name));
            }
            None => {
                let _ = writeln!(text, "# {}: {note}", quoted(name));
            }
        }
    }
    text.push_str(&statement(proposal, table));
    text
}

/// `CREATE TABLE`, for whoever makes tables by hand.
fn statement(proposal: &Proposal, table: &str) -> String {
    let time = proposal.timestamp.as_ref().map_or("timestamp", |(name, _)| name);
    let mut columns = vec![format!("#   {} TIMESTAMP", in_sql(time))];
    for Column { name, kind, .. } in &proposal.columns {
        if let Some(kind) = kind.as_ref().filter(|_| name != time) {
            columns.push(format!("#   {} {}", in_sql(name), kind.to_ascii_uppercase()));
        }
    }
    format!(
        "\n# The same as a statement:\n# CREATE TABLE {} (\n{}\n\
         # ) TIMESTAMP({}) PARTITION BY DAY WAL;\n",
        in_sql(table),
        columns.join(",\n"),
        in_sql(time)
    )
}

/// A text or a key as TOML quotes it.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A name as SQL quotes it; on one line, for it stands in a comment.
fn in_sql(name: &str) -> String {
    let line: String = name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("\"{}\"", line.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(of: &[&[(&str, Said)]]) -> Vec<Row> {
        let row = |cells: &&[(&str, Said)]| Row {
            table: None,
            topic: None,
            cells: cells.iter().map(|(name, said)| ((*name).to_owned(), said.clone())).collect(),
        };
        of.iter().map(row).collect()
    }

    fn kinds(of: &[Row]) -> Vec<(String, String)> {
        let proposal = infer(of);
        let kind = |column: Column| (column.name, column.kind.unwrap_or("-".to_owned()));
        proposal.columns.into_iter().map(kind).collect()
    }

    fn check(values: &[Said], expected: &str) {
        let rows: Vec<Row> = values
            .iter()
            .map(|said| Row { table: None, topic: None, cells: vec![("x".into(), said.clone())] })
            .collect();
        assert_eq!(kinds(&rows), [("x".to_owned(), expected.to_owned())], "{values:?}");
    }

    #[test]
    fn a_type_takes_every_value_that_was_seen() {
        use Said::{Bool, F64, I64, Null, Text};
        check(&[Bool(true), Null], "boolean");
        check(&[I64(1), I64(-5)], "long");
        check(&[I64(1), F64(0.5)], "double");
        check(&[I64(1), Text("a".into())], "varchar");
        check(&[Null, Null], "-");
        check(&[Said::Array(serde_json::json!([[1.0], [2.0]]))], "double[][]");
        check(&vec![Text("a".into()); 4], "symbol");
        check(&[Text("a".into()), Text("b".into())], "varchar");
        check(&vec![Text("a".repeat(65)); 9], "varchar");
    }

    #[test]
    fn the_likeliest_time_is_the_timestamp() {
        use Said::{I64, Text};
        let at = |of: &[&[(&str, Said)]]| infer(&rows(of)).timestamp;
        let ms = I64(1_700_000_000_123);
        let us = I64(1_700_000_000_123_456);
        assert_eq!(at(&[&[("n", ms.clone())]]), None, "a number alone says nothing");
        let named = at(&[&[("updated_at", ms.clone()), ("ts", us)]]);
        assert_eq!(named, Some(("ts".to_owned(), Some(Unit::Micros))));
        let text = Text("2026-11-21T10:00:00Z".into());
        assert_eq!(at(&[&[("when", text.clone())]]), Some(("when".to_owned(), None)));
        assert_eq!(at(&[&[("ts", ms.clone())], &[("b", I64(1))]]), None, "not in every row");
        assert_eq!(at(&[&[("ts", I64(5))]]), None, "five is no time");
    }

    #[test]
    fn a_proposal_is_a_section_that_loads() {
        let row: &[(&str, Said)] = &[
            ("ts", Said::I64(1_700_000_000)),
            ("si\"te", Said::Text("a".into())),
            ("t", Said::F64(1.5)),
            ("none", Said::Null),
        ];
        let rows = rows(&[row; 8]);
        let text = written(&infer(&rows), "readings", "readings");
        assert!(text.contains("timestamp = { field = \"ts\", unit = \"s\" }"), "{text}");
        assert!(text.contains("\"t\" = \"double\"   # in every row, such as 1.5"), "{text}");
        assert!(text.contains("#   \"si\"\"te\" SYMBOL"), "{text}");
        let whole = format!("[pipeline.readings]\ntopics = [\"readings\"]\n{text}");
        let with = crate::config::Surroundings {
            env: &|_| None,
            host: "host".to_owned(),
            base: std::path::Path::new("."),
        };
        let plan = crate::config::Plan::parse("t", &whole, &with, &Default::default());
        plan.unwrap_or_else(|mistakes| panic!("{mistakes}\n{whole}"));
    }
}
