//! Promise: the transcripts in `docs/transcripts` are true. Each page is replayed on real servers:
//! what stands behind `$ ` is run, what stands below it must come out, and a block whose first line
//! is a comment with a path is written there. Figures and blanks may differ. `UPDATE=1` writes what
//! came out into the pages.
//!
//! Where a compiler is missing the test says so and passes, unless `CI` or `CONFORMANCE=all` is
//! set.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::{Bench, program, promise};
use world::{Directory, Process, Record};

/// Compiling with all that a project rests on, on a loaded machine.
const COMMAND: Duration = Duration::from_secs(300);
const VISIBLE: Duration = Duration::from_secs(60);

/// Addresses as the pages have them.
const KAFKA: &str = "localhost:9092";
const QUESTDB: &str = "localhost:9000";
const TOPIC: &str = "sensors";

/// What `scripts/toolchains` has done already.
const INSTALLS: [&str; 3] = ["npm ", "pip ", "rustup "];
/// Figures before these words differ between machines and versions.
const UNITS: [&str; 3] = ["KB", "fuel", "bytes"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Whether a missing compiler is a failure.
fn all_wanted() -> bool {
    std::env::var_os("CI").is_some() || std::env::var("CONFORMANCE").is_ok_and(|all| all == "all")
}

/// A place where commands of a page are run.
struct Stage<'a> {
    bench: &'a Bench,
    folder: Directory,
    path: String,
    /// What runs beside the page, until its end.
    beside: Vec<Process>,
}

impl<'a> Stage<'a> {
    fn new(bench: &'a Bench) -> Result<Self> {
        let folder = Directory::create("transcript")?;
        let programs = folder.path().join(".bin");
        fs::create_dir(&programs)?;
        std::os::unix::fs::symlink(program()?, programs.join("bridge"))?;
        let tools = root().canonicalize()?.join("target/toolchains");
        let folders = [programs, tools.join("python/ziglang"), tools.join("node_modules/.bin")];
        let usual = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(folders.into_iter().chain(std::env::split_paths(&usual)))?;
        let path = path.into_string().ok().context("a path of plain names")?;
        Ok(Self { bench, folder, path, beside: Vec::new() })
    }

    /// Text of a page with the addresses of the servers that there are.
    fn here(&self, text: &str) -> String {
        let text = text.replace(KAFKA, &self.bench.kafka.brokers());
        text.replace(QUESTDB, &self.bench.questdb.http_address())
    }

    /// What came out, as a page has it.
    fn there(&self, text: &str) -> String {
        let text = text.replace(&self.bench.kafka.brokers(), KAFKA);
        let text = text.replace(&self.bench.questdb.http_address(), QUESTDB);
        let lines = text.lines().map(str::trim_end);
        lines.map(|line| format!("{line}\n")).collect()
    }

    fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.folder.path().join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, self.here(text)).with_context(|| format!("writing {}", path.display()))?;
        if path.ends_with("lib.rs") {
            // Versions that are here already: a project has no lock file when it begins.
            let locked = root().join("transforms/Cargo.lock");
            fs::copy(locked, self.folder.path().join("warm_only/Cargo.lock"))?;
        }
        Ok(())
    }

    fn start(&self, command: &str) -> Result<Process> {
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(self.here(command));
        shell.current_dir(self.folder.path()).env("PATH", &self.path);
        // The names of the tests' own settings are the compilers', too.
        shell.env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS");
        Process::spawn_command(shell)
    }

    /// Runs a command to its end; both its streams.
    fn output(&self, command: &str) -> Result<String> {
        let process = self.start(&format!("exec 2>&1; {command}"))?;
        let status = process.wait_exit(COMMAND)?;
        // The readers may still be at the last lines: the streams end after the process.
        let _ = process.wait_for_line("\u{0}", VISIBLE);
        let said = self.there(&process.lines().join("\n"));
        ensure!(status.success(), "`{command}` ended with {status}:\n{said}");
        Ok(said)
    }

    /// Runs a step of a page; what came out.
    fn run(&mut self, command: &str, expected: &str) -> Result<String> {
        if INSTALLS.iter().any(|install| command.starts_with(install)) {
            return Ok(expected.to_owned());
        }
        if let Some(command) = command.strip_suffix(" &") {
            self.beside.push(self.start(&format!("exec {command}"))?);
            return Ok(String::new());
        }
        if !command.starts_with("curl ") {
            return self.output(command);
        }
        // Rows come when they come.
        let mut last = String::new();
        let came = world::await_ok(VISIBLE, "rows", || {
            last = self.output(command)?;
            let is_there = match updates() {
                true => last.lines().count() > 1 && !last.contains("error"),
                false => figureless(&last) == figureless(expected),
            };
            ensure!(is_there, "{last}");
            Ok(())
        });
        let said = fs::read_to_string(self.folder.path().join("bridge.log")).unwrap_or_default();
        came.with_context(|| format!("{last}\n{said}"))?;
        Ok(last)
    }
}

fn updates() -> bool {
    std::env::var_os("UPDATE").is_some()
}

/// Text without figures that differ, and with one blank for several.
fn figureless(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        for (at, word) in words.iter().enumerate() {
            let unit =
                words.get(at + 1).map(|next| next.trim_matches(|c: char| !c.is_alphabetic()));
            let is_figure = unit.is_some_and(|unit| UNITS.contains(&unit))
                && word.chars().all(|c| c.is_ascii_digit() || c == '.' || c == ',');
            out.push_str(if is_figure { "#" } else { word });
            out.push(' ');
        }
        out.push('\n');
    }
    out
}

/// Replays a page; it as it should be.
fn replay(stage: &mut Stage<'_>, page: &str) -> Result<String> {
    let mut out = String::new();
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        out.push_str(&format!("{line}\n"));
        let Some(language) = line.strip_prefix("```") else { continue };
        let mut block: Vec<&str> = Vec::new();
        for inner in lines.by_ref() {
            if inner == "```" {
                break;
            }
            block.push(inner);
        }
        match language {
            "console" => out.push_str(&console(stage, &block)?),
            _ => {
                let text = block.join("\n") + "\n";
                let comment = block.first().and_then(|first| {
                    first.strip_prefix("// ").or_else(|| first.strip_prefix("# "))
                });
                if let Some(path) = comment.filter(|path| !path.contains(' ')) {
                    stage.write(path, &text)?;
                }
                out.push_str(&text);
            }
        }
        out.push_str("```\n");
    }
    Ok(out)
}

/// Runs the commands of a block, and compares; the block as it should be.
fn console(stage: &mut Stage<'_>, block: &[&str]) -> Result<String> {
    let mut out = String::new();
    let mut at = 0;
    while at < block.len() {
        let first = block[at].strip_prefix("$ ").context("a block begins with a command")?;
        let mut command = first.to_owned();
        out.push_str(&format!("{}\n", block[at]));
        at += 1;
        while command.ends_with('\\') {
            command.push_str(&format!("\n{}", block[at]));
            out.push_str(&format!("{}\n", block[at]));
            at += 1;
        }
        let end = block[at..].iter().position(|line| line.starts_with("$ "));
        let end = end.map_or(block.len(), |more| at + more);
        let expected: String = block[at..end].iter().map(|line| format!("{line}\n")).collect();
        at = end;
        let said = stage.run(&command, &expected)?;
        let is_same = figureless(&said) == figureless(&expected);
        ensure!(
            is_same || updates(),
            "`{command}` says\n{said}\nand the page\n{expected}\n(UPDATE=1 writes it)"
        );
        // A figure that differs is no reason to change a page.
        out.push_str(if is_same { &expected } else { &said });
    }
    Ok(out)
}

/// The records that the pages speak of.
fn produce(bench: &Bench, index: &str) -> Result<()> {
    if bench.kafka.end_offsets(TOPIC).is_ok() {
        return Ok(());
    }
    let block = index.split("```json\n").nth(1).and_then(|rest| rest.split("```").next());
    let records = block.context("the index has the records")?.lines().map(Record::new);
    bench.kafka.create_topic(TOPIC, 1)?;
    bench.kafka.produce(TOPIC, records)?;
    Ok(())
}

fn page_is_true(language: &str) {
    promise(&format!("the transcript of {language} is true"), |bench| {
        let folder = root().join("docs/transcripts");
        produce(bench, &fs::read_to_string(folder.join("README.md"))?)?;
        let path = folder.join(format!("{language}.md"));
        let page = fs::read_to_string(&path)?;
        let mut stage = Stage::new(bench)?;
        match replay(&mut stage, &page) {
            Ok(now) if updates() => Ok(fs::write(&path, now)?),
            Ok(now) if now == page => Ok(()),
            Ok(now) => bail!("the page is read as\n{now}"),
            Err(error) if !all_wanted() && format!("{error:#}").contains("is missing: no") => {
                // Past the capture of the test harness, for a skip is to be seen.
                let _ = writeln!(std::io::stderr(), "skipped: {language}: {error:#}");
                Ok(())
            }
            Err(error) => Err(error),
        }
    });
}

#[test]
fn rust() {
    page_is_true("rust");
}

#[test]
fn c() {
    page_is_true("c");
}

#[test]
fn go() {
    page_is_true("go");
}

#[test]
fn assemblyscript() {
    page_is_true("assemblyscript");
}

#[test]
fn zig() {
    page_is_true("zig");
}

#[test]
fn figures_differ_and_words_do_not() {
    assert_eq!(figureless("a  12 KB"), figureless("a 7 KB"));
    assert_eq!(figureless("(3 records, 312 fuel each)"), figureless("(3 records, 9 fuel each)"));
    assert_ne!(figureless("(3 records, 312 fuel each)"), figureless("(4 records, 312 fuel each)"));
    assert_ne!(figureless("a 1.5"), figureless("a 1.6"));
}
