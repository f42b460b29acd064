//! What a case expects of a record, whether it is so, and the difference in lines.

use serde_json::{Map, Value};

use super::draft::{RecordDraft, plain};
use super::rig::{Fate, Row, SinkLine};
use super::said::{self, TABLE, TOPIC, written_row};
use super::update::toml_value;

/// What is to become of a record.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Expected {
    /// Nobody has said yet.
    Nothing,
    Rows(Vec<Map<String, Value>>),
    Lines(Vec<String>),
    /// The beginning of reason and detail.
    Rejected(String),
    Filtered,
}

impl Expected {
    /// Of a record; the error says what is wrong with it.
    pub(super) fn of(draft: &RecordDraft, lines: bool) -> Result<Expected, String> {
        let RecordDraft { rows, lines: own_lines, rejected, filtered, .. } = draft;
        let said = [rows.is_some(), own_lines.is_some(), rejected.is_some(), filtered.is_some()];
        if said.iter().filter(|said| **said).count() > 1 {
            return Err("only one of rows, lines, rejected and filtered can become of it".into());
        }
        if *filtered == Some(false) {
            return Err("`filtered = false` says nothing: say what comes out".into());
        }
        let (wrong, right) = if lines { ("rows", "lines") } else { ("lines", "rows") };
        if (lines && rows.is_some()) || (!lines && own_lines.is_some()) {
            let what = if lines { "a pipeline" } else { "a transform" };
            return Err(format!("`{wrong}` cannot come out of {what}: write `{right}`"));
        }
        Ok(match (rows, own_lines, rejected) {
            (Some(rows), ..) if rows.is_empty() => Expected::Filtered,
            (Some(rows), ..) => Expected::Rows(rows.iter().map(row).collect::<Result<_, _>>()?),
            (_, Some(lines), _) if lines.is_empty() => Expected::Filtered,
            (_, Some(lines), _) => Expected::Lines(lines.clone()),
            (.., Some(reason)) => Expected::Rejected(reason.clone()),
            _ if *filtered == Some(true) => Expected::Filtered,
            _ => Expected::Nothing,
        })
    }

    /// What became of a record, as it would be expected.
    pub(super) fn from(fate: &Fate) -> Expected {
        match fate {
            Fate::Filtered => Expected::Filtered,
            Fate::Rows(rows) => Expected::Rows(rows.iter().map(written_row).collect()),
            Fate::Lines(lines) => Expected::Lines(lines.iter().map(SinkLine::shown).collect()),
            Fate::Rejected { reason, detail } => Expected::Rejected(match reason.name() {
                // Where in a module it was, or what a parser thinks of it, is not to be kept.
                name @ ("trap" | "deadline" | "bad-answer" | "malformed") => name.to_owned(),
                name => said_of(name, detail),
            }),
        }
    }

    /// Whether it is so.
    pub(super) fn is(&self, fate: &Fate) -> bool {
        match (self, fate) {
            (Expected::Filtered, Fate::Filtered) => true,
            (Expected::Rows(expected), Fate::Rows(rows)) => {
                expected.len() == rows.len()
                    && expected.iter().zip(rows).all(|(expected, row)| is_row(expected, row))
            }
            (Expected::Lines(expected), Fate::Lines(lines)) => {
                expected.iter().eq(lines.iter().map(SinkLine::shown).collect::<Vec<_>>().iter())
            }
            (Expected::Rejected(expected), Fate::Rejected { reason, detail }) => {
                said_of(reason.name(), detail).starts_with(expected.as_str())
            }
            _ => false,
        }
    }

    /// What differs, in lines that begin with `-` (expected), `+` (came out) or a space.
    pub(super) fn difference(&self, fate: &Fate) -> Vec<String> {
        let expected = match (self, fate) {
            (Expected::Rows(expected), Fate::Rows(rows)) => {
                let as_found = |(at, expected)| as_found(expected, rows.get(at));
                let rows: Vec<Map<String, Value>> =
                    expected.iter().enumerate().map(as_found).collect();
                Expected::Rows(rows).shown()
            }
            _ => self.shown(),
        };
        differ(&expected, &Expected::of_fate(fate).shown())
    }

    /// What became of a record, to the letter.
    pub(super) fn of_fate(fate: &Fate) -> Expected {
        match fate {
            Fate::Rejected { reason, detail } => Expected::Rejected(said_of(reason.name(), detail)),
            _ => Expected::from(fate),
        }
    }

    /// In lines.
    pub(super) fn shown(&self) -> Vec<String> {
        match self {
            Expected::Nothing => vec!["nothing is said of what becomes of it".to_owned()],
            Expected::Filtered => vec!["filtered".to_owned()],
            Expected::Rejected(why) => vec![format!("rejected: {}", why.replace('\n', " "))],
            Expected::Lines(lines) => lines.clone(),
            Expected::Rows(rows) => rows.iter().flat_map(shown_row).collect(),
        }
    }
}

fn said_of(reason: &str, detail: &str) -> String {
    format!("{reason}: {detail}")
}

fn row(row: &Map<String, Value>) -> Result<Map<String, Value>, String> {
    let cell = |(name, value): (&String, &Value)| {
        let value = plain(value.clone());
        match said::mistake(&value) {
            Some(mistake) => Err(format!("`{name}`: {mistake}")),
            None => Ok((name.clone(), value)),
        }
    };
    row.iter().map(cell).collect()
}

fn is_row(expected: &Map<String, Value>, row: &Row) -> bool {
    let said = |name: &str| expected.get(name).and_then(Value::as_str);
    let columns = expected.keys().filter(|name| !is_head(name)).count();
    said(TABLE) == row.table.as_deref()
        && said(TOPIC) == row.topic.as_deref()
        && columns == row.cells.len()
        && row.cells.iter().all(|(name, said)| expected.get(name).is_some_and(|own| said.is(own)))
}

/// An expected row with its columns in the order of what came out, and written as that where it
/// means the same: so that only what differs is shown as different.
fn as_found(expected: &Map<String, Value>, row: Option<&Row>) -> Map<String, Value> {
    let Some(row) = row else { return expected.clone() };
    let mut ordered = Map::new();
    for (name, own) in expected.iter().filter(|(name, _)| is_head(name)) {
        ordered.insert(name.clone(), own.clone());
    }
    for (name, said) in &row.cells {
        if let Some(own) = expected.get(name) {
            let shown = if said.is(own) { said.written() } else { own.clone() };
            ordered.insert(name.clone(), shown);
        }
    }
    for (name, own) in expected {
        if !ordered.contains_key(name) {
            ordered.insert(name.clone(), own.clone());
        }
    }
    ordered
}

/// What says where a row goes, and is no column.
fn is_head(name: &str) -> bool {
    name == TABLE || name == TOPIC
}

fn shown_row(row: &Map<String, Value>) -> Vec<String> {
    let said = |name: &str| row.get(name).and_then(Value::as_str);
    let head = match (said(TABLE), said(TOPIC)) {
        (_, Some(topic)) => format!("record for topic {topic}"),
        (Some(table), None) => format!("row in {table}"),
        (None, None) => "row".to_owned(),
    };
    let cells = row.iter().filter(|(name, _)| !is_head(name));
    let cells = cells.map(|(name, value)| format!("  {name} = {}", toml_value(value)));
    [head].into_iter().chain(cells).collect()
}

/// Rows of the table that differences are found by, at most: what is longer is shown whole.
const COMPARED_MAX: usize = 1_000;

/// The difference of two texts, by their longest common lines.
fn differ(expected: &[String], found: &[String]) -> Vec<String> {
    let (old, new) = (expected.len(), found.len());
    let all = |sign: &'static str, lines: &[String]| -> Vec<String> {
        lines.iter().map(|line| format!("{sign} {line}")).collect()
    };
    if old > COMPARED_MAX || new > COMPARED_MAX {
        return [all("-", expected), all("+", found)].concat();
    }
    // common[i][j]: the most lines that the ends from `i` and from `j` have in common.
    let mut common = vec![vec![0u32; new + 1]; old + 1];
    for i in (0..old).rev() {
        for j in (0..new).rev() {
            common[i][j] = match expected[i] == found[j] {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < old && j < new {
        if expected[i] == found[j] {
            lines.push(format!("  {}", found[j]));
            (i, j) = (i + 1, j + 1);
        } else if common[i + 1][j] >= common[i][j + 1] {
            lines.push(format!("- {}", expected[i]));
            i += 1;
        } else {
            lines.push(format!("+ {}", found[j]));
            j += 1;
        }
    }
    lines.extend(all("-", &expected[i..]));
    lines.extend(all("+", &found[j..]));
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::reject::Reason;
    use crate::trial::Said;

    fn rows(cells: &[(&str, Said)]) -> Fate {
        let cells = cells.iter().map(|(name, said)| ((*name).to_owned(), said.clone())).collect();
        Fate::Rows(vec![Row { table: Some("alarms".into()), topic: None, cells }])
    }

    fn expected(json: Value) -> Expected {
        let draft: RecordDraft = serde_json::from_value(json).expect("the test's own");
        Expected::of(&draft, false).expect("it can be")
    }

    #[test]
    fn a_row_is_its_table_and_its_columns_in_any_order() {
        let fate = rows(&[("a", Said::I64(1)), ("b", Said::Symbol("x".into()))]);
        let check = |row: Value, is: bool| {
            assert_eq!(expected(json!({ "rows": [row] })).is(&fate), is, "{row}");
        };
        check(json!({ "@table": "alarms", "b": "x", "a": 1 }), true);
        check(json!({ "b": "x", "a": 1 }), false);
        check(json!({ "@table": "alarms", "a": 1 }), false);
        check(json!({ "@table": "alarms", "b": "x", "a": 1, "c": null }), false);
        check(json!({ "@table": "alarms", "b": "x", "a": 1.0 }), false);
        assert!(Expected::from(&fate).is(&fate), "what came out is what is expected next time");
    }

    #[test]
    fn only_what_differs_is_shown_as_different() {
        let fate = rows(&[("a", Said::I64(1)), ("b", Said::Symbol("x".into()))]);
        let expected = expected(json!({ "rows": [{ "@table": "alarms", "b": "x", "a": 2 }] }));
        assert_eq!(
            expected.difference(&fate),
            ["  row in alarms", "-   a = 2", "+   a = 1", "    b = { symbol = \"x\" }"]
        );
        let differs = Expected::Filtered.difference(&fate);
        assert_eq!(differs[..2], ["- filtered", "+ row in alarms"]);
    }

    #[test]
    fn the_beginning_of_a_reason_is_enough() {
        let fate = Fate::Rejected { reason: Reason::RefusedByTransform, detail: "too hot".into() };
        for (text, is) in [
            ("refused-by-transform", true),
            ("refused-by-transform: too hot", true),
            ("refused-by-transform: too", true),
            ("too hot", false),
        ] {
            assert_eq!(expected(json!({ "rejected": text })).is(&fate), is, "{text}");
        }
        assert!(Expected::from(&fate).is(&fate));
    }

    #[test]
    fn what_cannot_become_of_a_record_is_refused() {
        let refused = |json: Value, lines: bool, with: &str| {
            let draft: RecordDraft = serde_json::from_value(json).expect("the test's own");
            let message = Expected::of(&draft, lines).expect_err("it cannot be");
            assert!(message.contains(with), "{message}");
        };
        refused(json!({ "rows": [], "filtered": true }), false, "only one of");
        refused(json!({ "filtered": false }), false, "says nothing");
        refused(json!({ "lines": ["a"] }), false, "write `rows`");
        refused(json!({ "rows": [{}] }), true, "write `lines`");
        refused(json!({ "rows": [{ "a": { "b": 1 } }] }), false, "`a`: a value is");
    }

    #[test]
    fn a_difference_puts_both_texts_together_again() {
        let text = |numbers: &[u8]| -> Vec<String> {
            numbers.iter().map(|number| number.to_string()).collect()
        };
        for seed in 0..200u8 {
            let part = |bits: u8| -> Vec<String> {
                let chosen: Vec<u8> = (0..8).filter(|at| bits >> at & 1 == 1).collect();
                text(&chosen)
            };
            let (old, new) = (part(seed), part(seed.wrapping_mul(37)));
            let lines = differ(&old, &new);
            let of = |sign: &str| -> Vec<String> {
                let mine = lines.iter().filter(|line| !line.starts_with(sign));
                mine.map(|line| line[2..].to_owned()).collect()
            };
            assert_eq!((of("+"), of("-")), (old, new));
        }
    }
}
