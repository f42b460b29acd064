//! A record before and after its transform, for a terminal and for programs.

use serde_json::{Map, Value, json};

use super::expect::Expected;
use super::rig::{Fate, Row};
use super::said::written_row;

/// Between the two sides.
const BETWEEN: &str = " │ ";
/// A side that is narrower cannot be read.
const SIDE_MIN: usize = 16;

/// Lines of two sides: what was read on the left, what became of it on the right; a `*` stands
/// where the right has what the left has not. No line is longer than `width`, in characters.
pub fn beside(before: &[String], after: &[String], width: usize) -> Vec<String> {
    let side = (width.saturating_sub(BETWEEN.chars().count()) / 2).max(SIDE_MIN);
    let left: Vec<String> = before.iter().flat_map(|line| wrapped(line, side)).collect();
    let mark = |line: &String| if before.contains(line) { ' ' } else { '*' };
    let right: Vec<String> =
        after.iter().flat_map(|line| wrapped(&format!("{} {line}", mark(line)), side)).collect();
    let empty = String::new();
    (0..left.len().max(right.len()))
        .map(|at| {
            let (left, right) = (left.get(at).unwrap_or(&empty), right.get(at).unwrap_or(&empty));
            let fill = " ".repeat(side - left.chars().count().min(side));
            format!("{left}{fill}{BETWEEN}{right}").trim_end().to_owned()
        })
        .collect()
}

/// A line in pieces of so many characters; control characters are blanks.
fn wrapped(line: &str, width: usize) -> Vec<String> {
    let letters: Vec<char> = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    letters.chunks(width).map(|piece| piece.iter().collect()).collect()
}

impl Fate {
    /// In lines, as differences of cases show it.
    pub fn shown(&self) -> Vec<String> {
        Expected::of_fate(self).shown()
    }
}

/// One record and what became of it, as an object: what was read under `before`, then `rows`,
/// `rejected` or `filtered` as in a file of cases.
pub fn in_json(told: (&str, i32, i64), before: &Fate, after: &Fate) -> Value {
    let (topic, partition, offset) = told;
    let written =
        |rows: &[Row]| -> Vec<Map<String, Value>> { rows.iter().map(written_row).collect() };
    let mut object = json!({ "topic": topic, "partition": partition, "offset": offset });
    object["before"] = match before {
        Fate::Rows(rows) => json!(written(rows).into_iter().next()),
        _ => Value::Null,
    };
    match after {
        Fate::Rows(rows) => object["rows"] = json!(written(rows)),
        Fate::Lines(lines) => {
            let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
            object["lines"] = json!(texts);
        }
        Fate::Filtered => object["filtered"] = json!(true),
        Fate::Rejected { reason, detail } => {
            object["rejected"] = json!(format!("{}: {detail}", reason.name()));
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[&str]) -> Vec<String> {
        text.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn two_sides_fit_the_width_and_what_is_new_is_marked() {
        let before = lines(&["row", "  a = 1"]);
        let after = lines(&["row", "  a = 1", "  b = \"long enough to be wrapped here\""]);
        let shown = beside(&before, &after, 41);
        assert_eq!(
            shown,
            [
                "row                 │   row",
                "  a = 1             │     a = 1",
                "                    │ *   b = \"long enoug",
                "                    │ h to be wrapped her",
                "                    │ e\"",
            ]
        );
        for width in 0..200 {
            let most = width.max(2 * SIDE_MIN + 3);
            let shown = beside(&before, &after, width);
            assert!(shown.iter().all(|line| line.chars().count() <= most), "{width}: {shown:?}");
        }
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let shown = beside(&lines(&["a\u{1b}[2Jb"]), &lines(&["c\nd"]), 80).concat();
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
    }
}
