//! Records on which a module failed, kept so that its author can replay them: a file for each
//! distinct failure, as `bridge transform test` reads them. A lane only notes the record down; the
//! file is written by whoever tends the module, for a lane waits for no disk.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Mutex;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use toml::Value;

use super::failure::Failure;
use crate::batch::RecordBatch;
use crate::observe::Counter;
use crate::reject::Reason;

/// Distinct failures of one module that are kept. Who has that many reads one at a time.
pub(super) const CASES_MAX: usize = 32;
/// Files in the folder, whoever wrote them: restarts and other modules add to it.
pub(super) const FILES_MAX: usize = 256;
/// Key, value and headers of a record that is kept; a larger one is in the dead letters only.
pub(super) const RECORD_BYTES_MAX: usize = 256 << 10;

/// What of a transform stands in each of its cases.
#[derive(Clone, Debug)]
pub(super) struct Of {
    /// Where cases are kept.
    pub(super) folder: PathBuf,
    /// The transform's name.
    pub(super) label: String,
    /// `module` as a case in the folder says it.
    pub(super) module: String,
    /// The hash of the module.
    pub(super) sha256: String,
    /// Its options as a table of TOML on one line.
    pub(super) config: String,
}

/// The cases of one module.
pub(super) struct Cases {
    of: Of,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    /// Of failures that are noted down already.
    signatures: HashSet<u64>,
    /// (file, text) to be written.
    waiting: Vec<(String, String)>,
}

impl Cases {
    /// None yet.
    pub(super) fn new(of: Of) -> Cases {
        Cases { of, noted: Mutex::default() }
    }

    /// Notes down a record on which the module failed, unless one is that failed alike.
    pub(super) fn note(&self, failure: &Failure, records: &RecordBatch, source: usize) {
        let signature = signature(failure);
        let mut noted = self.noted.lock().expect("no one panics with it");
        if noted.signatures.len() >= CASES_MAX || noted.signatures.contains(&signature) {
            return;
        }
        let Some(record) = record(records, source) else { return };
        noted.signatures.insert(signature);
        let (reason, sha256) = (failure.reason.name(), &self.of.sha256[..8]);
        let label: String = self
            .of
            .label
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect();
        let file = format!("{label}-{sha256}-{reason}-{signature:016x}.cases.toml");
        let at = format!("{}@{}", records.source, records.get(source).offset);
        let text = self.of.text(&format!("{reason} on {at}"), failure, &record);
        noted.waiting.push((file, text));
    }

    /// Writes what is noted down; says once what cannot be written.
    pub(super) fn write(&self, written: &Counter) {
        let waiting = {
            let mut noted = self.noted.lock().expect("no one panics with it");
            std::mem::take(&mut noted.waiting)
        };
        for (file, text) in waiting {
            let path = self.of.folder.join(file);
            match keep(&path, &text) {
                Ok(true) => {
                    written.add(1);
                    let transform = self.of.label.as_str();
                    tracing::warn!(transform, "failed on a record: {} has it", path.display());
                }
                Ok(false) => {}
                Err(error) => {
                    let transform = self.of.label.as_str();
                    tracing::warn!(transform, "keeping a case in {}: {error}", path.display());
                }
            }
        }
    }
}

impl Of {
    fn text(&self, name: &str, failure: &Failure, record: &(toml::Table, bool)) -> String {
        let (record, is_whole) = record;
        let mut text = String::new();
        let detail = failure.detail.replace(char::is_control, " ");
        // Writing to a string does not fail.
        let _ = writeln!(text, "# {detail}\n# sha256 of the module: {}", self.sha256);
        if !is_whole {
            let _ = writeln!(text, "# headers that are null or no text are left out");
        }
        let module = Value::String(self.module.clone());
        let _ = writeln!(text, "module = {module}\nconfig = {}\n\n[[case]]", self.config);
        let name = Value::String(name.to_owned());
        let _ = writeln!(text, "name = {name}\n\n[[case.record]]");
        for (key, value) in record {
            let _ = writeln!(text, "{key} = {value}");
        }
        let _ = writeln!(text, "rejected = \"{}\"", failure.reason.name());
        text
    }
}

/// A new file that only its owner reads, for records may be anybody's; false if it is there
/// already.
fn keep(path: &Path, text: &str) -> io::Result<bool> {
    let folder = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    if fs::read_dir(folder)?.count() >= FILES_MAX {
        return Err(io::Error::other(format!("{FILES_MAX} files are there: remove some")));
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => file.write_all(text.as_bytes()).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// What tells failures apart: where it happened, or else the words without what comes from the
/// record. A deadline passes wherever the module just is.
fn signature(failure: &Failure) -> u64 {
    let mut hasher = DefaultHasher::new();
    failure.reason.name().hash(&mut hasher);
    match &failure.site {
        _ if failure.reason == Reason::Deadline => {}
        Some(site) => site.hash(&mut hasher),
        None => {
            let odd = failure.detail.split(['"', '\'', '`']).step_by(2);
            let letters = |part: &str| part.chars().filter(|c| !c.is_ascii_hexdigit()).collect();
            odd.map(letters).for_each(|part: String| part.hash(&mut hasher));
        }
    }
    hasher.finish()
}

/// A record as a case has it, and whether that is all of it; `None` if it is too large.
fn record(records: &RecordBatch, index: usize) -> Option<(toml::Table, bool)> {
    let record = records.get(index);
    let mut bytes = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
    let (mut headers, mut is_whole) = (toml::Table::new(), true);
    records.headers(index, &mut |name, value| {
        bytes += name.len() + value.map_or(0, <[u8]>::len);
        match (std::str::from_utf8(name), value.map(std::str::from_utf8)) {
            (Ok(name), Some(Ok(value))) if bytes <= RECORD_BYTES_MAX => {
                is_whole &= headers.insert(name.to_owned(), value.into()).is_none();
            }
            _ => is_whole = false,
        }
    });
    if bytes > RECORD_BYTES_MAX {
        return None;
    }
    let mut table = toml::Table::new();
    put(&mut table, "value", record.value);
    put(&mut table, "key", record.key);
    table.insert("topic".to_owned(), records.source.topic.to_string().into());
    table.insert("partition".to_owned(), i64::from(records.source.partition).into());
    table.insert("offset".to_owned(), record.offset.into());
    table.insert("timestamp".to_owned(), record.timestamp_ms.into());
    if !headers.is_empty() {
        table.insert("headers".to_owned(), headers.into());
    }
    Some((table, is_whole))
}

/// Text where it is text, else base64; nothing where it is null.
fn put(table: &mut toml::Table, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(|bytes| (std::str::from_utf8(bytes), bytes)) {
        None => {}
        Some((Ok(text), _)) => drop(table.insert(name.to_owned(), text.into())),
        Some((Err(_), bytes)) => {
            let text = BASE64_STANDARD.encode(bytes);
            table.insert(format!("{name}_base64"), text.into());
        }
    }
}

/// A file as one in `folder` calls it; both are of the same kind, relative or not, if they can be.
pub(super) fn relative(folder: &Path, file: &Path) -> String {
    fn clean(path: &Path) -> Vec<Component<'_>> {
        path.components().filter(|part| *part != Component::CurDir).collect()
    }
    let (from, to) = (clean(folder), clean(file));
    let same = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    // What leads up and down again cannot be told from here; a root has no way to the other.
    let is_plain = from[same..].iter().all(|part| matches!(part, Component::Normal(_)));
    if !is_plain || file.is_absolute() != folder.is_absolute() {
        return file.display().to_string();
    }
    let up = from[same..].iter().map(|_| Component::ParentDir);
    up.chain(to[same..].iter().copied()).collect::<PathBuf>().display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_named_from_the_folder_of_cases() {
        let check = |folder: &str, file: &str, expected: &str| {
            assert_eq!(relative(Path::new(folder), Path::new(file)), expected);
        };
        check("./traps/", "./warm.wasm", "../warm.wasm");
        check("etc/traps", "etc/mods/warm-1.2.wasm", "../mods/warm-1.2.wasm");
        check("/var/traps", "/etc/warm.wasm", "../../etc/warm.wasm");
        check("/var/traps", "etc/warm.wasm", "etc/warm.wasm");
        check("../traps", "warm.wasm", "warm.wasm");
    }

    #[test]
    fn failures_are_told_apart_by_where_they_happen() {
        let failed = |reason, detail: &str, site: Option<&str>| {
            let (detail, site) = (detail.to_owned(), site.map(str::to_owned));
            signature(&Failure { reason, detail, site, progress: 0 })
        };
        let (trap, late, bad) = (Reason::Trap, Reason::Deadline, Reason::BadAnswer);
        assert_eq!(failed(trap, "no 'x'", Some("a")), failed(trap, "no 'y'", Some("a")));
        assert_ne!(failed(trap, "no", Some("a")), failed(trap, "no", Some("b")));
        assert_eq!(failed(late, "no", Some("a")), failed(late, "no", Some("b")));
        assert_eq!(failed(bad, "at 0x1f0 `é`", None), failed(bad, "at 0x2 `ä`", None));
        assert_ne!(failed(bad, "outside", None), failed(bad, "order", None));
    }
}
