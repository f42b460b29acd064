//! A result file as the report reads it: any JSON, of which it takes what it knows. What is not
//! there is not shown; a file of an unknown kind is listed.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::page::Link;
use crate::stats::Spread;

/// One file.
pub struct ResultFile {
    pub path: PathBuf,
    /// The last part of the path.
    pub name: String,
    /// Its place among the files of the report.
    pub index: usize,
    pub kind: Kind,
    pub value: Value,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Harness,
    Rates,
    Peers,
    Sql,
    Faults,
    Micro,
    Guests,
    Scale,
    /// Something newer than this report, or older.
    Other(String),
}

impl Kind {
    /// As the file says; the first files did not, but look like what they are.
    fn of(value: &Value) -> Kind {
        match value["kind"].as_str() {
            Some("harness") => Kind::Harness,
            Some("rates") => Kind::Rates,
            Some("peers") => Kind::Peers,
            Some("sql") => Kind::Sql,
            Some("faults") => Kind::Faults,
            Some("micro") => Kind::Micro,
            Some("guests") => Kind::Guests,
            Some("scale") => Kind::Scale,
            Some(other) => Kind::Other(other.to_owned()),
            None if value["stages"].is_array() => Kind::Micro,
            None => match value.pointer("/summary/runs").and_then(Value::as_u64) {
                Some(0) => Kind::Rates,
                Some(_) => Kind::Harness,
                None => Kind::Other("unknown".to_owned()),
            },
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Kind::Harness => "harness",
            Kind::Rates => "rates",
            Kind::Peers => "peers",
            Kind::Sql => "sql",
            Kind::Faults => "faults",
            Kind::Micro => "micro",
            Kind::Guests => "guests",
            Kind::Scale => "scale",
            Kind::Other(name) => name,
        }
    }
}

impl ResultFile {
    pub fn read(path: &Path, index: usize) -> Result<ResultFile> {
        let doing = || format!("reading {}", path.display());
        let text = std::fs::read_to_string(path).with_context(doing)?;
        let value: Value = serde_json::from_str(&text).with_context(doing)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(ResultFile { path: path.to_owned(), name, index, kind: Kind::of(&value), value })
    }

    /// All result files of a folder, by name.
    pub fn of_folder(folder: &Path) -> Result<Vec<PathBuf>> {
        let doing = || format!("reading {}", folder.display());
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder).with_context(doing)? {
            let path = entry.with_context(doing)?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                paths.push(path);
            }
        }
        ensure!(!paths.is_empty(), "no result files in {}", folder.display());
        paths.sort();
        Ok(paths)
    }

    pub fn link(&self) -> Link {
        Link::to(&self.name, self.index)
    }

    /// The summary; the first files of `micro` are nothing else.
    pub fn summary(&self) -> &Value {
        match &self.value["summary"] {
            Value::Null => &self.value,
            summary => summary,
        }
    }

    /// What was moved and how: `sensors · http · 16 partitions · lz4`.
    pub fn title(&self) -> String {
        let summary = self.summary();
        let text = |name: &str| summary[name].as_str().map(str::to_owned);
        let mut parts: Vec<String> =
            ["scenario", "transport"].into_iter().filter_map(text).collect();
        if let Some(partitions) = summary["partitions"].as_u64().filter(|count| *count != 4) {
            parts.push(format!("{partitions} partition{}", if partitions == 1 { "" } else { "s" }));
        }
        parts.extend(text("compression").filter(|name| name != "none"));
        match parts.is_empty() {
            true => self.kind.name().to_owned(),
            false => parts.join(" · "),
        }
    }

    /// As the file says, else as its name does.
    pub fn date(&self) -> String {
        let named = self
            .name
            .get(..10)
            .filter(|date| date.bytes().all(|b| b == b'-' || b.is_ascii_digit()));
        self.value["date"].as_str().or(named).unwrap_or("").to_owned()
    }

    pub fn commit(&self) -> &str {
        self.summary()["commit"].as_str().unwrap_or("")
    }

    /// `2 × AMD EPYC, 25 GB, load 1.2 before`.
    pub fn machine(&self) -> String {
        let machine = &self.summary()["machine"];
        let Some(cores) = machine["cores"].as_u64() else { return String::new() };
        let processor = machine["processor"].as_str().unwrap_or("");
        let gigabytes = machine["memory_bytes"].as_f64().unwrap_or(0.0) / 1e9;
        let load = machine["load_before"].as_f64().unwrap_or(0.0);
        format!("{cores} × {processor}, {gigabytes:.0} GB, load {load:.1} before")
    }

    /// Median, smallest and largest of a figure.
    pub fn spread(&self, figure: &str) -> Option<Spread> {
        spread(&self.summary()["spread"][figure])
    }

    /// The last run with its raw numbers.
    pub fn last_run(&self) -> Option<&Value> {
        self.value["raw"].as_array()?.last()
    }
}

/// `{ median, min, max }`.
pub fn spread(value: &Value) -> Option<Spread> {
    let number = |name: &str| value[name].as_f64();
    Some(Spread { median: number("median")?, min: number("min")?, max: number("max")? })
}

/// Pairs of two members of a list's objects.
pub fn pairs(list: &Value, x: &str, y: &str) -> Vec<(f64, f64)> {
    let pair = |one: &Value| Some((one[x].as_f64()?, one[y].as_f64()?));
    list.as_array().map(|list| list.iter().filter_map(pair).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn file(value: Value) -> ResultFile {
        let kind = Kind::of(&value);
        let name = "2026-01-31-x.json".to_owned();
        ResultFile { path: PathBuf::from(&name), name, index: 0, kind, value }
    }

    #[test]
    fn kinds_are_told_also_where_the_file_does_not_say() {
        for (value, kind) in [
            (json!({ "kind": "peers" }), Kind::Peers),
            (json!({ "kind": "weather" }), Kind::Other("weather".into())),
            (json!({ "summary": { "runs": 3 }, "raw": [] }), Kind::Harness),
            (json!({ "summary": { "runs": 0 }, "raw": [] }), Kind::Rates),
            (json!({ "stages": [] }), Kind::Micro),
            (json!([1, 2]), Kind::Other("unknown".into())),
        ] {
            assert_eq!(Kind::of(&value), kind, "{value}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_shown() {
        let empty = file(json!({ "kind": "harness" }));
        assert_eq!(
            (empty.title().as_str(), empty.commit(), empty.machine().as_str()),
            ("harness", "", "")
        );
        assert_eq!((empty.date().as_str(), empty.spread("rows_per_s")), ("2026-01-31", None));
        assert!(empty.last_run().is_none());
        assert_eq!(pairs(&json!([{ "x": 1, "y": 2 }, { "x": 1 }, 3]), "x", "y"), [(1.0, 2.0)]);
        assert!(pairs(&json!(null), "x", "y").is_empty());
    }

    #[test]
    fn a_title_says_what_is_unusual() {
        let summary = json!({
            "scenario": "wide", "transport": "tcp", "partitions": 1, "compression": "lz4",
        });
        assert_eq!(file(json!({ "summary": summary })).title(), "wide · tcp · 1 partition · lz4");
        let usual = json!({ "scenario": "wide", "partitions": 4, "compression": "none" });
        assert_eq!(file(json!({ "summary": usual })).title(), "wide");
    }
}
