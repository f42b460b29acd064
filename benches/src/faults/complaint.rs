//! What a user saw: the last error in a program's log, or else its last warning, shortened.

use serde_json::Value;

/// As much as a cell of a table bears.
const LENGTH_MAX: usize = 130;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Warning,
    Error,
}

/// The last error among all lines, else the last warning among those from `warnings_from` on:
/// programs warn of this and that while they start. With it comes what a Java machine names as the
/// cause, in the lines below.
pub fn last(lines: &[String], warnings_from: usize) -> Option<String> {
    let of = |level, lines: &[String]| {
        let heard = lines.iter().enumerate().rev();
        let mut heard = heard.filter_map(|(at, line)| complaint(line).map(|heard| (at, heard)));
        let (at, (_, words)) = heard.find(|(_, (heard, _))| *heard == level)?;
        let cause = cause(&lines[at + 1..]).map(|cause| format!("; cause: {}", shortened(cause)));
        Some(shortened(&words) + cause.as_deref().unwrap_or_default())
    };
    let late = &lines[warnings_from.min(lines.len())..];
    of(Level::Error, lines).or_else(|| of(Level::Warning, late))
}

/// The innermost cause of a stack trace at the beginning of these lines.
fn cause(below: &[String]) -> Option<&str> {
    let trace = below.iter().take_while(|line| !line.starts_with('['));
    let named = trace.filter_map(|line| line.strip_prefix("Caused by: ")).last()?;
    Some(named.split_once(": ").map_or(named, |(_, words)| words))
}

/// The level and the words of a line that complains, in any of the logs.
fn complaint(line: &str) -> Option<(Level, String)> {
    if let Ok(Value::Object(object)) = serde_json::from_str(line) {
        return of_bridge(&object);
    }
    // `2026-01-31T12:00:00Z E! [outputs.influxdb_v2] words`
    if let Some((_, words)) = line.split_once(" E! ") {
        return Some((Level::Error, words.to_owned()));
    }
    if let Some((_, words)) = line.split_once(" W! ") {
        return Some((Level::Warning, words.to_owned()));
    }
    // `[thread] ERROR org.example.Class - words`
    for (mark, level) in [("] ERROR ", Level::Error), ("] WARN ", Level::Warning)] {
        if let Some((_, rest)) = line.split_once(mark) {
            let words = rest.split_once(" - ").map_or(rest, |(_, words)| words);
            return Some((level, words.to_owned()));
        }
    }
    // `level=error msg="words"`
    for (mark, level) in [("level=error", Level::Error), ("level=warning", Level::Warning)] {
        if line.contains(mark) {
            let words = line.split_once("msg=").map_or(line, |(_, words)| words);
            return Some((level, words.trim_matches('"').to_owned()));
        }
    }
    None
}

/// `{"level":"WARN","message":"words","topic":"a"}` becomes `words topic=a`.
fn of_bridge(object: &serde_json::Map<String, Value>) -> Option<(Level, String)> {
    let level = match object.get("level")?.as_str()? {
        "ERROR" => Level::Error,
        "WARN" => Level::Warning,
        _ => return None,
    };
    let mut words = object.get("message")?.as_str()?.to_owned();
    const FRAME: [&str; 6] = ["timestamp", "level", "message", "target", "span", "spans"];
    for (name, value) in object.iter().filter(|(name, _)| !FRAME.contains(&name.as_str())) {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        words.push_str(&format!(" {name}={value}"));
    }
    Some((level, words))
}

fn shortened(text: &str) -> String {
    // A bar would end the cell.
    let text: String = text.replace('|', "/").split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(LENGTH_MAX) {
        Some((cut, _)) => format!("{} …", text[..cut].trim_end()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str], warnings_from: usize) -> Option<String> {
        let lines: Vec<String> = lines.iter().map(|line| line.to_string()).collect();
        last(&lines, warnings_from)
    }

    #[test]
    fn every_log_is_understood() {
        for (line, words) in [
            (
                r#"{"timestamp":"t","level":"ERROR","message":"writing rows","attempt":3}"#,
                "writing rows attempt=3",
            ),
            ("2026-01-31T12:00:00Z E! [outputs.a] it failed", "[outputs.a] it failed"),
            ("[task-0] ERROR org.apache.Worker - the task is killed", "the task is killed"),
            ("level=error msg=\"no | answer\" path=a", "no / answer\" path=a"),
        ] {
            assert_eq!(of(&[line], 1).as_deref(), Some(words), "{line}");
        }
        for line in ["", "{}", "[main] INFO a - ERROR", "2026-01-31T12:00:00Z I! fine", "{\"a"] {
            assert_eq!(of(&[line], 0), None, "{line}");
        }
    }

    #[test]
    fn errors_go_first_and_early_warnings_are_not_heard() {
        let lines = ["[a] WARN b - start", "[a] ERROR b - first", "[a] WARN b - late"];
        assert_eq!(of(&lines, 1).as_deref(), Some("first"));
        assert_eq!(of(&[lines[0], lines[2]], 1).as_deref(), Some("late"));
        assert_eq!(of(&[lines[0]], 1), None);
        assert_eq!(of(&[lines[0]], 9), None, "lines that were dropped meanwhile");
    }

    #[test]
    fn a_stack_traces_innermost_cause_is_told() {
        let lines = [
            "[a] ERROR b - the task is killed",
            "org.example.Outer: it failed",
            "\tat org.example.Outer.run(Outer.java:1)",
            "Caused by: org.example.Middle: flush failed",
            "Caused by: org.example.Inner: error in line 35321: no double",
            "[a] INFO b - stopping",
            "Caused by: org.example.Other: later",
        ];
        let said = "the task is killed; cause: error in line 35321: no double";
        assert_eq!(of(&lines, 0).as_deref(), Some(said));
    }

    #[test]
    fn long_words_are_cut() {
        let long = format!("[a] ERROR b - {}", "ä".repeat(500));
        let said = of(&[&long], 0).expect("it complains");
        assert_eq!(said.chars().count(), LENGTH_MAX + 2);
        assert!(said.ends_with(" …"));
    }
}
