//! `bridge test` and `bridge transform test`: files of cases, what they come to.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::Failure;
use crate::blame::Fault;
use crate::trial::{self, CaseReport, Cases, Subject};

/// Runs the cases of files and folders; a failure if any is not as it should be, unless the files
/// are updated.
pub(super) fn test(
    arguments: &[PathBuf],
    subject: Subject,
    update: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let found = trial::find(arguments)?;
    // Files that are named are to be of the subject; in folders there may be others.
    let is_meant = |path: &PathBuf| {
        arguments.contains(path) || Cases::subject_of(path).is_none_or(|own| own == subject)
    };
    let files: Vec<PathBuf> = found.into_iter().filter(is_meant).collect();
    if files.is_empty() {
        let other = if subject == Subject::Transform { "test" } else { "transform test" };
        return Err(Fault::operator("looking for cases: there are none of this kind")
            .hint(format!("bridge {other} runs those that are there"))
            .into());
    }
    let mut all = Sum::default();
    for file in &files {
        writeln!(out, "{}", file.display())?;
        match Cases::read(file, subject).and_then(|cases| cases.run(update)) {
            Ok(reports) => {
                show(&reports, out)?;
                all.add(&reports);
                tell_update(file, &reports, update, out)?;
            }
            Err(fault) => {
                writeln!(out, "  FAIL  {}", fault.to_string().replace('\n', "\n      "))?;
                all.broken += 1;
            }
        }
    }
    writeln!(out, "{}", all.in_words(update))?;
    match all.is_well(update) {
        true => Ok(()),
        false => Err(Failure::Said),
    }
}

fn show(reports: &[CaseReport], out: &mut dyn Write) -> Result<(), Failure> {
    for CaseReport { name, records, fuel, complaints, .. } in reports {
        let state = if complaints.is_empty() { "ok  " } else { "FAIL" };
        let plural = if *records == 1 { "" } else { "s" };
        writeln!(out, "  {state}  {name}  ({records} record{plural}, {fuel} fuel each)")?;
        for line in complaints {
            writeln!(out, "    {line}")?;
        }
    }
    Ok(())
}

fn tell_update(
    file: &Path,
    reports: &[CaseReport],
    update: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    if update && reports.iter().any(|report| report.different > 0) {
        writeln!(out, "  updated {}", file.display())?;
    }
    Ok(())
}

/// What all files came to.
#[derive(Default)]
struct Sum {
    cases: usize,
    failed: usize,
    /// Those of them that an update puts right.
    updatable: usize,
    /// Files that could not be run.
    broken: usize,
}

impl Sum {
    fn add(&mut self, reports: &[CaseReport]) {
        let failed = reports.iter().filter(|report| !report.complaints.is_empty());
        self.cases += reports.len();
        self.failed += failed.clone().count();
        self.updatable += failed.filter(|report| !report.too_dear).count();
    }

    fn is_well(&self, update: bool) -> bool {
        let left = if update { self.failed - self.updatable } else { self.failed };
        left == 0 && self.broken == 0
    }

    fn in_words(&self, update: bool) -> String {
        let plural = if self.cases == 1 { "" } else { "s" };
        let mut text = format!("{} case{plural}", self.cases);
        match (self.failed, self.broken) {
            (0, 0) => text.push_str(", all well"),
            (failed, 0) => text.push_str(&format!(", {failed} failed")),
            (failed, files) => {
                text.push_str(&format!(", {failed} failed, {files} of the files did not run"));
            }
        }
        if !update && self.updatable > 0 {
            text.push_str("; `--update` writes what came out into the files");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASES: &str = "module = 'builtin:filter'\nconfig = { where = 'a > 1' }\n[[case]]\n\
        name = 'keeps what is large'\n[[case.record]]\nvalue = { a = 2 }\nfiltered = true\n";

    fn told(path: &Path, subject: Subject, update: bool) -> (bool, String) {
        let mut out = Vec::new();
        let done = test(&[path.to_owned()], subject, update, &mut out);
        (done.is_ok(), String::from_utf8(out).expect("text"))
    }

    #[test]
    fn what_differs_fails_until_it_is_updated() {
        let folder = std::env::temp_dir().join(format!("bridge-cli-test-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for a test");
        let path = folder.join("cases.toml");
        std::fs::write(&path, CASES).expect("the folder takes files");
        let (well, text) = told(&path, Subject::Transform, false);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert!(
            !well && lines[0].starts_with("  FAIL  keeps what is large  (1 record, "),
            "{text}"
        );
        let diff = ["    record 0: {\"a\":2}", "    - filtered", "    + row", "    +   a = 2"];
        assert_eq!(lines[1..5], diff, "{text}");
        assert!(lines[5].starts_with("1 case, 1 failed; `--update`"), "{text}");
        let (well, text) = told(&path, Subject::Transform, true);
        assert!(well && text.contains("  updated "), "{text}");
        let (well, text) = told(&folder, Subject::Transform, false);
        assert!(well && text.ends_with("1 case, all well\n"), "{text}");
        let (well, text) = told(&path, Subject::Pipeline, false);
        assert!(!well && text.contains("bridge transform test"), "{text}");
        assert!(!told(&folder, Subject::Pipeline, false).0, "none of that kind is a failure");
        std::fs::remove_dir_all(&folder).expect("it was just made");
    }
}
