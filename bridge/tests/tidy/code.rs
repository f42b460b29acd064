//! Rules about sources: heads, sizes, who may use whom, what must not stand in them.

use std::collections::{BTreeMap, BTreeSet};

use super::{check, file, files};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const COLUMNS_MAX: usize = 100;

/// Where the tests of a file begin: they come last.
fn without_tests(text: &str) -> &str {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    &text[..end]
}

/// Files that are compiled for tests only.
fn is_test(path: &str, all: &[(String, String)]) -> bool {
    if path.contains("/tests/") || path.starts_with("tests/") || path.starts_with("benches/") {
        return true;
    }
    // Declared behind `#[cfg(test)]` by the file that owns its folder.
    let (folder, name) = path.rsplit_once('/').expect("sources lie in folders");
    let declared = format!("#[cfg(test)]\nmod {};", name.trim_end_matches(".rs"));
    let owners = [format!("{folder}/mod.rs"), format!("{folder}/lib.rs"), format!("{folder}.rs")];
    let by_path = format!("#[cfg(test)]\n#[path = \"{name}\"]\nmod ");
    all.iter().any(|(owner, text)| {
        (owners.contains(owner) && text.contains(&declared))
            || (owner.starts_with(folder) && text.contains(&by_path))
    })
}

/// `//` comments and the insides of plain strings are blanked out; lines stay where they are.
fn code_only(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let mut inside = false;
        let mut letters = line.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '\\' if inside => {
                    letters.next();
                    out.push_str("  ");
                    continue;
                }
                '"' => inside = !inside,
                '/' if !inside && letters.peek() == Some(&'/') => break,
                _ => {}
            }
            out.push(if inside && letter != '"' { ' ' } else { letter });
        }
        out.push('\n');
    }
    out
}

#[test]
fn files_open_with_what_lives_in_them() {
    let lacks = files(".rs").into_iter().filter(|(_, text)| !text.starts_with("//! "));
    let lacks: Vec<String> = lacks.map(|(path, _)| format!("{path}: no `//!` on top")).collect();
    check(&lacks);
}

#[test]
fn files_and_lines_have_their_size() {
    let mut complaints = Vec::new();
    for (path, text) in files(".rs") {
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            complaints.push(format!("{path}: {lines} lines, at most {FILE_LINES_MAX}: split it"));
        }
        for (index, line) in text.lines().enumerate() {
            let columns = line.chars().count();
            // What cannot be broken may pass: rustfmt leaves literals, and tables have rows.
            let whole = line.contains('"') || line.trim_start().starts_with("//! |");
            if columns > COLUMNS_MAX && !whole {
                complaints.push(format!("{path}:{}: {columns} columns", index + 1));
            }
        }
    }
    check(&complaints);
}

/// (first line, name, lines) of every function; relies on rustfmt: a body ends with the brace that
/// stands below the function's own first letter.
fn functions(text: &str) -> Vec<(usize, String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let rest = line.trim_start();
        let Some((before, after)) = rest.split_once("fn ") else { continue };
        if !is_head(before) {
            continue;
        }
        let name: String = after.chars().take_while(|c| !"(<".contains(*c)).collect();
        let indent = &line[..line.len() - rest.len()];
        let close = format!("{indent}}}");
        if rest.ends_with('}') || rest.ends_with(';') {
            continue;
        }
        let body = &lines[index..];
        let end = body.iter().position(|line| *line == close || *line == format!("{indent});"));
        if let Some(end) = end {
            found.push((index + 1, name, end + 1));
        }
    }
    found
}

/// Whether this can stand before `fn`.
fn is_head(before: &str) -> bool {
    let words = ["pub", "async", "const", "unsafe", "extern", "\"C\""];
    before.split_whitespace().all(|word| words.contains(&word) || word.starts_with("pub("))
}

#[test]
fn functions_have_their_size() {
    let mut complaints = Vec::new();
    for (path, text) in files(".rs") {
        for (line, name, lines) in functions(without_tests(&text)) {
            if lines > FUNCTION_LINES_MAX {
                complaints.push(format!("{path}:{line}: `{name}` has {lines} lines"));
            }
        }
    }
    check(&complaints);
}

#[test]
fn some_words_stand_nowhere() {
    let everywhere = ["#[ignore", "todo!(", "unimplemented!(", "dbg!("];
    let outside_tests = [".unwrap()", ".unwrap_err()"];
    let sources = files(".rs");
    let mut complaints = Vec::new();
    for (path, text) in &sources {
        let code = code_only(text);
        let tests_from = without_tests(text).lines().count();
        let is_test = is_test(path, &sources);
        for (index, line) in code.lines().enumerate() {
            let tested = is_test || index >= tests_from;
            let outside = outside_tests.iter().filter(|_| !tested);
            for word in everywhere.iter().chain(outside).filter(|word| line.contains(*word)) {
                complaints.push(format!("{path}:{}: `{word}`", index + 1));
            }
        }
        for (index, line) in text.lines().enumerate() {
            // In two parts, for this line is read as well.
            let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
            if marks.iter().any(|mark| line.contains(mark)) {
                complaints.push(format!("{path}:{}: a mark of unfinished work", index + 1));
            }
        }
    }
    check(&complaints);
}

#[test]
fn unsafe_says_why() {
    let mut complaints = Vec::new();
    for (path, text) in files(".rs") {
        let lines: Vec<&str> = text.lines().collect();
        for (index, line) in code_only(&text).lines().enumerate() {
            let before = &lines[index.saturating_sub(12)..index];
            let is_block =
                line.contains("unsafe {") || line.trim_start().starts_with("unsafe impl");
            if is_block && !before.iter().any(|line| line.contains("// SAFETY:")) {
                complaints.push(format!("{path}:{}: `unsafe` without `// SAFETY:`", index + 1));
            }
        }
    }
    check(&complaints);
}

/// The table of rooms in ARCHITECTURE.md: between its marks, ``| `room` | `other` `another` |``.
fn may_use() -> BTreeMap<String, BTreeSet<String>> {
    let page = file("ARCHITECTURE.md");
    let table = page.split("<!-- rooms: ").nth(1).and_then(|rest| rest.split("<!-- /rooms").next());
    let table = table.expect("the marks around the table of rooms");
    let names = |cell: &str| -> BTreeSet<String> {
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let mut rooms = BTreeMap::new();
    for line in table.lines().filter(|line| line.starts_with("| `")) {
        let mut cells = line.trim_matches('|').split('|');
        let (room, others) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
        for room in names(room) {
            assert!(rooms.insert(room, names(others)).is_none(), "twice in the table: {line}");
        }
    }
    rooms
}

/// The rooms that a text names by `crate::`, in `use` lines and elsewhere.
fn used(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for after in code.split("crate::").skip(1) {
        let group = after.strip_prefix('{').and_then(|rest| rest.split('}').next());
        for path in group.unwrap_or(after).split(',') {
            let name: String =
                path.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if name.starts_with(|first: char| first.is_lowercase()) {
                rooms.insert(name);
            }
            if group.is_none() {
                break;
            }
        }
    }
    rooms
}

#[test]
fn rooms_use_whom_they_may() {
    let allowed = may_use();
    let sources = files(".rs");
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut complaints = Vec::new();
    for (path, text) in &sources {
        let Some(inner) = path.strip_prefix("bridge/src/") else { continue };
        let room = inner.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        if ["main", "lib"].contains(&room) || is_test(path, &sources) {
            continue;
        }
        let Some(others) = allowed.get(room) else {
            complaints.push(format!("{path}: room `{room}` is not in ARCHITECTURE.md's table"));
            continue;
        };
        let mut used = used(&code_only(without_tests(text)));
        used.remove(room);
        for stranger in used.difference(others) {
            complaints.push(format!("{path}: `{room}` may not use `{stranger}`"));
        }
        seen.entry(room.to_owned()).or_default().extend(used);
    }
    for (room, others) in &allowed {
        let used = seen.get(room).cloned().unwrap_or_default();
        for idle in others.difference(&used) {
            complaints.push(format!("ARCHITECTURE.md: `{room}` does not use `{idle}` (any more)"));
        }
    }
    check(&complaints);
}

/// What neither asks a clock nor touches the world: results are functions of their arguments.
const PURE: &[&str] = &[
    "batch",
    "blame",
    "format/",
    "kafka/wire/fetch",
    "kafka/wire/frame",
    "kafka/wire/hello",
    "kafka/wire/metadata",
    "kafka/wire/record",
    "kafka/wire/vet",
    "kafka/wire/write",
    "kind",
    "limits",
    "names",
    "outbox",
    "reject.rs",
    "shape",
    "ticket",
    "unpack",
    "sink/questdb/answer",
    "sink/questdb/ddl",
    "sink/questdb/encode",
    "sink/questdb/line",
    "sink/questdb/stamp",
    "sink/questdb/table",
    "sink/questdb/target",
    "sink/questdb/timestamp",
    "sink/questdb/value",
    "sink/text/",
];

#[test]
fn pure_rooms_are_pure() {
    let world = ["::now()", "std::fs", "net::Tcp", "std::env", "spawn(", "sleep(", "RandomState"];
    let sources = files(".rs");
    let mut complaints = Vec::new();
    for (path, text) in &sources {
        let Some(inner) = path.strip_prefix("bridge/src/") else { continue };
        if !PURE.iter().any(|room| inner.starts_with(room)) || is_test(path, &sources) {
            continue;
        }
        for (index, line) in code_only(without_tests(text)).lines().enumerate() {
            for word in world.iter().filter(|word| line.contains(*word)) {
                complaints.push(format!("{path}:{}: `{word}` in a pure room", index + 1));
            }
        }
    }
    check(&complaints);
}

#[test]
fn every_kind_is_in_its_table() {
    let mut complaints = Vec::new();
    for room in ["source", "format", "transform", "sink"] {
        let table = file(&format!("bridge/src/{room}/mod.rs"));
        let table = table.split("const KINDS").nth(1).and_then(|rest| rest.split("];").next());
        let table = table.unwrap_or_default().to_owned();
        for (path, text) in files(".rs") {
            let Some(inner) = path.strip_prefix(&format!("bridge/src/{room}/")) else { continue };
            let kind = inner.split('/').next().unwrap_or_default().trim_end_matches(".rs");
            let defines = text.contains("pub const KIND: Kind<");
            if defines && !table.contains(&format!("{kind}::KIND")) {
                complaints.push(format!("{path}: `{kind}::KIND` is not in the table of `{room}`"));
            }
            // Of several words, files are joined by `_` and kinds by `-`.
            let name = kind.replace('_', "-");
            if defines && !text.contains(&format!("name: \"{name}\"")) {
                complaints.push(format!("{path}: a kind is called as its file: `{name}`"));
            }
        }
    }
    check(&complaints);
}

#[test]
fn the_reader_of_sources_reads() {
    let text = "fn a() {\n    if x {\n    }\n}\n\npub(super) async fn b(\n    c: u8,\n) -> u8 {\n    \
                c\n}\nfn d() {}\n";
    assert_eq!(functions(text), [(1, "a".to_owned(), 4), (6, "b".to_owned(), 5)]);
    assert_eq!(code_only("a // \"b\nc \"d // \\\" e\" f\n"), "a \nc \"         \" f\n");
    let names: Vec<String> =
        used("use crate::{a, b::C};\nlet x = crate::d::E;").into_iter().collect();
    assert_eq!(names, ["a", "b", "d"]);
}
