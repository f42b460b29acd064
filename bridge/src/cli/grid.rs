//! Rows as a person or a program reads them: a table for a terminal, CSV, JSON, lines.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::query::Written;
use crate::trial::Found;

/// Rows that are looked at before the first is written, for the columns that they have.
const LOOKED_AT: usize = 200;
/// A cell of a table is cut behind so many letters.
const CELL_LETTERS: usize = 40;

/// What Kafka says of a record, in the words of expressions.
const OWN: [&str; 4] = ["partition", "offset", "timestamp", "key"];

/// Writes rows.
pub(super) struct Grid {
    written: Written,
    /// Those that are asked for; otherwise what comes.
    columns: Vec<String>,
    is_asked: bool,
    widths: Vec<usize>,
    /// Whether the columns are above what follows.
    headed: bool,
    /// Columns that came too late for CSV.
    late: Vec<String>,
}

/// Rows on their way out.
pub(super) struct Answer {
    grid: Grid,
    waiting: Vec<Found>,
    limit: Option<u64>,
    rows: u64,
}

impl Answer {
    /// Nothing yet.
    pub(super) fn new(grid: Grid, limit: Option<u64>) -> Answer {
        Answer { grid, waiting: Vec::new(), limit, rows: 0 }
    }

    /// How many there were.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether no more are wanted.
    pub(super) fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.rows >= limit)
    }

    /// One more, unless there are enough.
    pub(super) fn push(&mut self, found: Found, out: &mut dyn Write) -> io::Result<()> {
        if self.is_full() {
            return Ok(());
        }
        self.rows += 1;
        self.waiting.push(found);
        if self.waiting.len() >= LOOKED_AT { self.pause(out) } else { Ok(()) }
    }

    /// Writes what waits: nothing comes just now.
    pub(super) fn pause(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.grid.write(&self.waiting, out)?;
        self.waiting.clear();
        out.flush()
    }

    /// Writes the last of them.
    pub(super) fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.pause(out)?;
        if !self.grid.late.is_empty() {
            let late = self.grid.late.join(", ");
            eprintln!(
                "columns that came behind the first rows were left out: {late}; name them by --columns"
            );
        }
        Ok(())
    }
}

impl Grid {
    /// One that writes so; with these columns, if there are any.
    pub(super) fn new(written: Written, columns: &[String]) -> Grid {
        let is_asked = !columns.is_empty();
        let own = OWN.iter().map(|name| (*name).to_owned());
        let columns = if is_asked { columns.to_vec() } else { own.collect() };
        let (widths, headed, late) = (Vec::new(), false, Vec::new());
        Grid { written, columns, is_asked, widths, headed, late }
    }

    fn write(&mut self, rows: &[Found], out: &mut dyn Write) -> io::Result<()> {
        match self.written {
            Written::Json => rows.iter().try_for_each(|row| {
                let object = if self.is_asked { self.chosen(row) } else { whole(row) };
                writeln!(out, "{object}")
            }),
            Written::Lines => {
                let mut lines = rows.iter().flat_map(|row| &row.lines);
                lines.try_for_each(|line| writeln!(out, "{}", line.shown()))
            }
            Written::Csv => {
                self.learn(rows);
                if !std::mem::replace(&mut self.headed, true) {
                    let names: Vec<String> = self.columns.iter().map(|name| field(name)).collect();
                    writeln!(out, "{}", names.join(","))?;
                }
                rows.iter().try_for_each(|row| {
                    let cells = self.columns.iter().map(|name| match cell(row, name) {
                        Some(text) => field(&text),
                        None => String::new(),
                    });
                    writeln!(out, "{}", cells.collect::<Vec<_>>().join(","))
                })
            }
            Written::Table => self.table(rows, out),
        }
    }

    /// Meets columns that are new.
    fn learn(&mut self, rows: &[Found]) {
        if self.is_asked {
            return;
        }
        for (name, _) in rows.iter().flat_map(|row| &row.cells) {
            let name = spelled(name);
            if self.columns.contains(&name) || self.late.contains(&name) {
                continue;
            }
            // A file of CSV has one line of names.
            let is_late = self.written == Written::Csv && self.headed;
            if is_late { self.late.push(name) } else { self.columns.push(name) }
        }
    }

    fn table(&mut self, rows: &[Found], out: &mut dyn Write) -> io::Result<()> {
        let before = self.columns.len();
        self.learn(rows);
        let texts: Vec<Vec<String>> = rows
            .iter()
            .map(|row| self.columns.iter().map(|name| short(cell(row, name))).collect())
            .collect();
        let is_new = self.columns.len() > before || !self.headed;
        self.widths.resize(self.columns.len(), 0);
        if is_new {
            for (at, name) in self.columns.iter().enumerate() {
                let cells = texts.iter().map(|row| row[at].chars().count());
                let widest = cells.max().unwrap_or(0).max(name.chars().count());
                self.widths[at] = widest.max(self.widths[at]);
            }
            if std::mem::replace(&mut self.headed, true) {
                writeln!(out)?;
            }
            self.line(&self.columns, out)?;
        }
        texts.iter().try_for_each(|cells| self.line(cells, out))
    }

    fn line(&self, cells: &[String], out: &mut dyn Write) -> io::Result<()> {
        let mut line = String::new();
        for (text, width) in cells.iter().zip(&self.widths) {
            line.push_str(text);
            let fill = width.saturating_sub(text.chars().count()) + 2;
            line.extend(std::iter::repeat_n(' ', fill));
        }
        writeln!(out, "{}", line.trim_end())
    }

    /// The columns that are asked for, as an object.
    fn chosen(&self, row: &Found) -> Value {
        let whole = whole(row);
        let of = |name: &String| {
            let value = match is_own(name) {
                true => whole[name.as_str()].clone(),
                false => whole["row"][plain(name)].clone(),
            };
            (name.clone(), value)
        };
        Value::Object(self.columns.iter().map(of).collect())
    }
}

/// Whether a name means what Kafka says.
fn is_own(name: &str) -> bool {
    OWN.contains(&name) || name == "topic"
}

/// A column's name as it is asked for: in quotes where it would mean what Kafka says.
fn spelled(name: &str) -> String {
    if is_own(name) { format!("\"{name}\"") } else { name.to_owned() }
}

/// The column that is meant.
fn plain(name: &str) -> &str {
    name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name)
}

/// A cell as text; `None` if the row has none, or a null.
pub(super) fn cell(row: &Found, name: &str) -> Option<String> {
    match name {
        "topic" => return Some(row.source.topic.to_string()),
        "partition" => return Some(row.source.partition.to_string()),
        "offset" => return Some(row.offset.to_string()),
        "timestamp" => return time(row).map(|at| at.to_string()),
        "key" => {
            return row.key.as_deref().map(|key| String::from_utf8_lossy(key).into_owned());
        }
        _ => {}
    }
    let (_, said) = row.cells.iter().rev().find(|(own, _)| own == plain(name))?;
    match said.plain() {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

fn time(row: &Found) -> Option<jiff::Timestamp> {
    let is_there = row.timestamp_ms >= 0;
    is_there.then(|| jiff::Timestamp::from_millisecond(row.timestamp_ms).ok()).flatten()
}

/// A row with all that is known of it.
fn whole(row: &Found) -> Value {
    let cells: Map<String, Value> =
        row.cells.iter().map(|(name, said)| (name.clone(), said.plain())).collect();
    let key = row.key.as_deref().map(|key| String::from_utf8_lossy(key));
    let mut object = json!({
        "topic": &*row.source.topic,
        "partition": row.source.partition,
        "offset": row.offset,
        "timestamp": time(row).map(|at| at.to_string()),
        "key": key,
        "row": cells,
    });
    if let Some(table) = &row.table {
        object["table"] = json!(table);
    }
    object
}

/// A field of CSV.
fn field(text: &str) -> String {
    match text.is_empty() || text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

/// A cell of a table: on one line, and not too long.
fn short(text: Option<String>) -> String {
    let text = text.unwrap_or_default();
    let mut letters = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut shown: String = letters.by_ref().take(CELL_LETTERS).collect();
    if letters.next().is_some() {
        shown.pop();
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::TopicPartition;
    use crate::trial::Said;

    fn found(offset: i64, cells: &[(&str, Said)]) -> Found {
        Found {
            source: TopicPartition { topic: "t".into(), partition: 1 },
            offset,
            timestamp_ms: 1_700_000_000_000,
            key: Some(b"a,b".to_vec()),
            table: None,
            cells: cells.iter().map(|(name, said)| ((*name).to_owned(), said.clone())).collect(),
            lines: Vec::new(),
        }
    }

    fn written(written: Written, columns: &[&str]) -> String {
        let columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
        let mut answer = Answer::new(Grid::new(written, &columns), Some(3));
        let mut out = Vec::new();
        let rows = [
            found(7, &[("t", Said::F64(1.5)), ("key", Said::Text("in the row".to_owned()))]),
            found(8, &[("t", Said::Null), ("note", Said::Text("x\u{1b}[2J".repeat(20)))]),
        ];
        for row in rows {
            answer.push(row, &mut out).expect("a vector takes all");
        }
        answer.pause(&mut out).expect("a vector takes all");
        for offset in [9, 10] {
            let late = found(offset, &[("late", Said::Symbol("s".to_owned()))]);
            answer.push(late, &mut out).expect("a vector takes all");
        }
        answer.end(&mut out).expect("a vector takes all");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_table_has_its_columns_above_it_and_again_where_there_are_more() {
        let shown = written(Written::Table, &[]);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[0].starts_with("partition  offset  timestamp "), "{shown}");
        assert!(lines[0].ends_with("\"key\"       note"), "{shown}");
        assert!(lines[1].contains("1          7       2023-11-14T22:13:20Z  a,b  1.5"), "{shown}");
        assert!(!shown.contains('\u{1b}') && lines[2].ends_with('…'), "{shown}");
        assert_eq!((lines.len(), lines[3]), (6, ""), "{shown}");
        assert!(lines[4].ends_with("late") && lines[5].ends_with(" s"), "{shown}");
    }

    #[test]
    fn csv_and_json_are_what_programs_read() {
        let csv = written(Written::Csv, &["offset", "key", "\"key\"", "t", "late"]);
        assert_eq!(
            csv,
            "offset,key,\"\"\"key\"\"\",t,late\n7,\"a,b\",in the row,1.5,\n8,\"a,b\",,,\n9,\"a,b\",,,s\n"
        );
        let json = written(Written::Json, &["offset", "t", "\"key\""]);
        let first: Value =
            serde_json::from_str(json.lines().next().expect("a line")).expect("JSON");
        assert_eq!(first, json!({ "offset": 7, "t": 1.5, "\"key\"": "in the row" }));
        let whole = written(Written::Json, &[]);
        let first: Value =
            serde_json::from_str(whole.lines().next().expect("a line")).expect("JSON");
        assert_eq!(first["row"], json!({ "t": 1.5, "key": "in the row" }));
        assert_eq!((&first["partition"], &first["key"]), (&json!(1), &json!("a,b")));
        assert_eq!(whole.lines().count(), 3, "no more than the limit");
    }
}
