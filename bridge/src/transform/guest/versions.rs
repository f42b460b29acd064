//! A folder with versions of one module: `warm-1.3.0.wasm`, `warm-1.4.2.wasm`. The highest one is
//! meant, unless `current` in the folder says another (a link to a file, or a line of text), or
//! the configuration does.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::blame::Fault;

/// Numbers between dots, such as 1.4.2.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Version(Vec<u32>);

/// Numbers of one version, at most.
const NUMBERS_MAX: usize = 4;
/// Bytes of a `current` that is text: a file's name.
const CURRENT_BYTES_MAX: u64 = 256;
/// What `current` is called.
const CURRENT: &str = "current";

impl Version {
    /// From its text.
    pub(super) fn parse(text: &str) -> Option<Version> {
        let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit());
        let number = |part: &str| part.parse().ok().filter(|_| is_digits(part));
        let numbers: Vec<u32> = text.split('.').map(number).collect::<Option<_>>()?;
        (numbers.len() <= NUMBERS_MAX).then_some(Version(numbers))
    }

    /// Whether it is among what `pin` says: 1.4.2 is a 1.4.
    fn is_a(&self, pin: &Version) -> bool {
        self.0.starts_with(&pin.0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&numbers.join("."))
    }
}

/// A module's name and version, by its file's name.
fn module(file: &str) -> Option<(&str, Version)> {
    let (name, version) = file.strip_suffix(".wasm")?.rsplit_once('-')?;
    Some((name, Version::parse(version)?)).filter(|_| !name.is_empty())
}

/// The file in a folder that is meant.
pub(super) fn choose(folder: &Path, pin: Option<&Version>) -> Result<PathBuf, Fault> {
    let shown = folder.display();
    let unread = |error| Fault::operator(format!("reading the versions in {shown}: {error}"));
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(unread)? {
        // What is no text is no module of ours.
        names.extend(entry.map_err(unread)?.file_name().into_string());
    }
    let current = match pin {
        None if names.iter().any(|name| name == CURRENT) => {
            match current(&folder.join(CURRENT)).map_err(unread)? {
                Current::File(path) => return Ok(path),
                Current::Text(text) => Some(text),
            }
        }
        _ => None,
    };
    let name = highest(&names, current.as_deref(), pin).map_err(|message| {
        Fault::operator(format!("choosing a version in {shown}: {message}"))
            .hint("it holds files such as warm-1.4.2.wasm, and may hold `current`, which names one")
    })?;
    Ok(folder.join(name))
}

enum Current {
    /// It is the module, or a link to it.
    File(PathBuf),
    /// It says which.
    Text(String),
}

fn current(path: &Path) -> std::io::Result<Current> {
    // Through the link, so that messages name the version.
    let file = fs::canonicalize(path)?;
    if fs::metadata(&file)?.len() > CURRENT_BYTES_MAX {
        return Ok(Current::File(file));
    }
    let bytes = fs::read(&file)?;
    match String::from_utf8(bytes) {
        Ok(text) if !text.starts_with('\0') => Ok(Current::Text(text.trim().to_owned())),
        _ => Ok(Current::File(file)),
    }
}

/// Of these files the one that `current` names or `pin` allows; else the highest.
fn highest<'a>(
    files: &'a [String],
    current: Option<&str>,
    pin: Option<&Version>,
) -> Result<&'a str, String> {
    let mut found: Vec<(&str, Version, &str)> =
        files.iter().filter_map(|file| module(file).map(|(name, v)| (name, v, &**file))).collect();
    found.sort();
    let Some((first, ..)) = found.first() else {
        return Err("there is no module NAME-VERSION.wasm".to_owned());
    };
    if let Some((other, ..)) = found.iter().find(|(name, ..)| name != first) {
        return Err(format!("there are modules of several names, `{first}` and `{other}`"));
    }
    let versions = || {
        let versions: Vec<String> = found.iter().map(|(_, v, _)| v.to_string()).collect();
        versions.join(", ")
    };
    if let Some(current) = current {
        let meant = |(_, version, file): &&(&str, Version, &str)| {
            *file == current || Version::parse(current).as_ref() == Some(version)
        };
        let named = found.iter().find(meant).map(|(.., file)| *file);
        return named.ok_or_else(|| {
            format!("`current` says `{}`; there are {}", current.escape_debug(), versions())
        });
    }
    let allowed = found.iter().rev().find(|(_, v, _)| pin.is_none_or(|pin| v.is_a(pin)));
    allowed.map(|(.., file)| *file).ok_or_else(|| {
        let pin = pin.map(Version::to_string).unwrap_or_default();
        format!("there is no version {pin}; there are {}", versions())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(files: &[&str], current: Option<&str>, pin: Option<&str>, expected: &str) {
        let files: Vec<String> = files.iter().map(|file| (*file).to_owned()).collect();
        let pin = pin.map(|pin| Version::parse(pin).expect("a version"));
        let found = highest(&files, current, pin.as_ref());
        let found = found.map_or_else(|message| message, str::to_owned);
        assert!(found.contains(expected), "{found:?} is not {expected:?}");
    }

    #[test]
    fn the_highest_version_is_meant_unless_another_is_said() {
        let all = ["a-1.10.0.wasm", "a-1.9.2.wasm", "a-2.wasm", "a-1.9.wasm", "README", "a-x.wasm"];
        check(&all, None, None, "a-2.wasm");
        check(&all, None, Some("1"), "a-1.10.0.wasm");
        check(&all, None, Some("1.9"), "a-1.9.2.wasm");
        check(&all, None, Some("1.9.2"), "a-1.9.2.wasm");
        check(&all, None, Some("1.1"), "there is no version 1.1; there are 1.9, 1.9.2, 1.10.0, 2");
        check(&all, Some("1.9"), None, "a-1.9.wasm");
        check(&all, Some("a-1.9.wasm"), None, "a-1.9.wasm");
        check(&all, Some("../x.wasm"), None, "`current` says `../x.wasm`");
        check(&["b-1.wasm", "a-1.wasm"], None, None, "several names, `a` and `b`");
        check(&["a.wasm", "-1.wasm", "a-1.2.3.4.5.wasm"], None, None, "there is no module");
    }

    #[test]
    fn versions_are_numbers() {
        for text in ["", ".", "1.", "1..2", "+1", "1.x", "99999999999", "1.2.3.4.5"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
        assert_eq!(Version::parse("1.04").map(|v| v.to_string()).as_deref(), Some("1.4"));
    }
}
