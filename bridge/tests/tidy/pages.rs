//! Rules about documents: links lead somewhere, examples are taken by the loader, what is promised
//! to be stable is listed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bridge::config::{Overrides, Plan, Surroundings};
use bridge::reject::{Reason, Stage};

use super::{check, file, files, root};

/// Pieces of the text between fences of a language.
fn fenced<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let open = format!("```{language}\n");
    text.split(&open).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// The text without its fenced pieces.
fn prose(text: &str) -> String {
    text.split("\n```").step_by(2).collect()
}

/// An anchor as the usual renderers make it from a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let prose = prose(text);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#'))).collect()
}

/// What is wrong with a link from a page, if anything.
fn broken(page: &str, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
    let base = root().join(page);
    let target: PathBuf = match path {
        "" => base,
        path => base.parent().unwrap_or(Path::new("/")).join(path),
    };
    if !target.exists() {
        return Some(format!("{page}: `{link}` leads nowhere"));
    }
    if fragment.is_empty() {
        return None;
    }
    let text = std::fs::read_to_string(&target).unwrap_or_default();
    let found = anchors(&text).contains(fragment);
    (!found).then(|| format!("{page}: `{link}`: no such heading"))
}

#[test]
fn links_lead_somewhere() {
    let mut complaints = Vec::new();
    for (page, text) in files(".md") {
        let prose = prose(&text);
        let links = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        complaints.extend(links.filter_map(|link| broken(&page, link)));
    }
    check(&complaints);
}

#[test]
fn what_the_code_points_to_is_there() {
    let mut complaints = Vec::new();
    for (path, text) in files(".rs") {
        if path.contains("/tests/tidy/") {
            continue;
        }
        for after in text.split("docs/").skip(1) {
            let end = after.find(|c: char| !(c.is_alphanumeric() || "-_.#".contains(c)));
            let link = after[..end.unwrap_or(after.len())].trim_end_matches('.');
            if link.contains(".md") {
                let link = format!("docs/{link}");
                let wrong = broken("README.md", &link);
                complaints.extend(wrong.map(|_| format!("{path}: `{link}` leads nowhere")));
            }
        }
    }
    check(&complaints);
}

/// A whole file out of a piece of one: sections of a pipeline that is not opened get a beginning.
fn completed(piece: &str) -> String {
    let mut text = piece.to_owned();
    let mut names = BTreeSet::new();
    for line in piece.lines().map(str::trim) {
        let section = line.trim_start_matches('[').trim_end_matches(']');
        if let Some(rest) = section.strip_prefix("pipeline.").filter(|_| line.starts_with('[')) {
            names.insert(rest.split('.').next().unwrap_or_default().to_owned());
        }
    }
    for name in names {
        if !piece.contains(&format!("[pipeline.{name}]")) {
            text.push_str(&format!("\n[pipeline.{name}]\ntopics = [\"a\"]\n"));
        }
    }
    text
}

fn load(text: &str, folder: &Path) -> Result<Plan, String> {
    // Examples may rest on the environment and on files of secrets: whatever they ask for is there.
    let mut pieces = text.split("${file:");
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        text.push_str("value");
        text.push_str(piece.split_once('}').map_or("", |(_, rest)| rest));
    }
    let env = |_: &str| Some("value".to_owned());
    let around = Surroundings { env: &env, host: "host".to_owned(), base: folder };
    Plan::parse("example", &text, &around, &Overrides::default()).map_err(|m| m.to_string())
}

/// The texts that stand in blocks of YAML, below a line that ends with this.
fn blocks(text: &str, head: &str) -> Vec<String> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let lines: Vec<&str> = text.lines().collect();
    let heads = lines.iter().enumerate().filter(|(_, line)| line.ends_with(head));
    let below = heads.map(|(at, line)| {
        let inner = |below: &&&str| below.trim().is_empty() || indent(below) > indent(line);
        let block = lines[at + 1..].iter().take_while(inner);
        block.map(|line| format!("{}\n", line.trim_start())).collect()
    });
    below.collect()
}

#[test]
fn examples_of_configuration_load() {
    let mut complaints = Vec::new();
    let mut tried = 0;
    for (page, text) in files(".md") {
        for piece in fenced(&text, "toml").into_iter().filter(|piece| piece.contains("[pipeline."))
        {
            tried += 1;
            if let Err(wrong) = load(&completed(piece), &root()) {
                complaints.push(format!("{page}: an example is refused:\n{wrong}"));
            }
        }
    }
    for (path, text) in files(".toml").into_iter().filter(|(path, _)| path.starts_with("deploy/")) {
        tried += 1;
        if let Err(wrong) = load(&text, &root().join("deploy")) {
            complaints.push(format!("{path} is refused:\n{wrong}"));
        }
    }
    for (path, text) in files(".yaml").into_iter().filter(|(path, _)| path.starts_with("deploy/")) {
        for piece in blocks(&text, "bridge.toml: |") {
            tried += 1;
            if let Err(wrong) = load(&piece, &root().join("deploy")) {
                complaints.push(format!("{path} holds what is refused:\n{wrong}"));
            }
        }
    }
    check(&complaints);
    assert!(tried >= 5, "only {tried} examples were found");
}

#[test]
fn rust_in_the_pages_is_the_examples_own() {
    let sources: String = files(".rs")
        .into_iter()
        .filter(|(p, _)| p.starts_with("transforms/"))
        .map(|f| f.1)
        .collect();
    let page = file("docs/transforms.md");
    let strange = fenced(&page, "rust").into_iter().filter(|piece| !sources.contains(*piece));
    let strange: Vec<String> =
        strange.map(|piece| format!("docs/transforms.md: in no example:\n{piece}")).collect();
    check(&strange);
}

#[test]
fn attacks_have_their_tests() {
    let holders =
        ["bridge/src/transform/guest/tests/", "tests/e2e/tests/fence", "tests/e2e/src/attacks"];
    let is_holder = |path: &str| holders.iter().any(|start| path.starts_with(start));
    let sources: String =
        files(".rs").into_iter().filter(|(path, _)| is_holder(path)).map(|file| file.1).collect();
    let page = file("docs/sandbox.md");
    let rows = page.lines().filter(|line| line.starts_with("| ")).skip(1);
    let held: Vec<(&str, Vec<&str>)> = rows
        .filter_map(|row| row.trim_end_matches(" |").rsplit_once(" | "))
        .map(|(attack, tests)| (attack, tests.split('`').skip(1).step_by(2).collect()))
        .collect();
    assert!(held.len() > 20, "the attacks are in a table");
    let mut complaints = Vec::new();
    for (attack, tests) in held {
        if tests.is_empty() {
            complaints.push(format!("docs/sandbox.md: nothing holds {attack}"));
        }
        let missing = tests.iter().filter(|test| {
            !sources.contains(&format!("fn {test}()")) && !sources.contains(&format!("\"{test}\""))
        });
        complaints.extend(missing.map(|test| format!("docs/sandbox.md: there is no {test}")));
    }
    check(&complaints);
}

#[test]
fn dead_letters_are_documented() {
    let page = file("docs/operate.md");
    let reasons = Reason::ALL.iter().map(|reason| reason.name());
    let stages = [Stage::Intake, Stage::Format, Stage::Transform, Stage::Shape, Stage::Sink];
    let stages = stages.iter().map(|stage| stage.name());
    let names = reasons.chain(stages).chain(bridge::rejects::HEADERS);
    let lacks = names.filter(|name| !page.contains(&format!("`{name}`")));
    check(&lacks.map(|name| format!("docs/operate.md: `{name}` is missing")).collect::<Vec<_>>());
}

#[test]
fn dashboards_and_alerts_ask_for_metrics_that_are_there() {
    let page = file("docs/operate.md");
    let mut complaints = Vec::new();
    let shown = files(".json").into_iter().chain(files(".yml"));
    for (path, text) in shown.filter(|(path, _)| path.starts_with("deploy/")) {
        let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        let ours = |word: &&str| word.starts_with("bridge_") || word.starts_with("process_");
        for word in words.filter(ours).collect::<BTreeSet<_>>() {
            let family = word.trim_end_matches("_sum").trim_end_matches("_count");
            if !page.contains(&format!("| `{family}` |")) {
                complaints.push(format!("{path}: no metric is called {word}"));
            }
        }
    }
    check(&complaints);
}

#[test]
fn the_reader_of_pages_reads() {
    assert_eq!(anchor(" When a module fails "), "when-a-module-fails");
    assert_eq!(anchor("What `serde` does, and why"), "what-serde-does-and-why");
    assert_eq!(fenced("a\n```toml\nb\n```\nc", "toml"), ["b\n"]);
    assert_eq!(prose("a\n```toml\n# b\n```\nc"), "a\nc");
    assert!(load("[pipeline.p]\ntopic = 1\n", Path::new("/")).is_err());
}
