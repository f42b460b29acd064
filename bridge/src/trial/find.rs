//! Files of cases: those that are named, and those in folders that are named.

use std::fs;
use std::path::{Path, PathBuf};

use crate::blame::Fault;

/// What a file of cases is called, or ends with after a point.
const NAMES: [&str; 2] = ["cases.toml", "cases.json"];
/// Folders that hold what others made.
const STRANGE: [&str; 2] = ["node_modules", "target"];
/// Folders in folders, so far.
const DEPTH_MAX: usize = 16;

/// The files that the arguments of a command mean, in order.
pub fn find(arguments: &[PathBuf]) -> Result<Vec<PathBuf>, Fault> {
    let mut found = Vec::new();
    for argument in arguments {
        if !argument.is_dir() {
            found.push(argument.clone());
            continue;
        }
        let before = found.len();
        walk(argument, 0, &mut found)?;
        if found.len() == before {
            let message = format!("looking for cases in {}: there are none", argument.display());
            return Err(Fault::operator(message).hint(
                "a file of cases is called cases.toml, cases.json, or ends so: \
                 docs/testing.md#cases-of-a-transform",
            ));
        }
    }
    Ok(found)
}

fn walk(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), Fault> {
    let doing = |error| Fault::operator(format!("looking into {}: {error}", folder.display()));
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(doing)? {
        let entry = entry.map_err(doing)?;
        // A link to a folder is left alone: it may lead back.
        entries.push((entry.path(), entry.file_type().map_err(doing)?.is_dir()));
    }
    entries.sort();
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for (path, _) in entries.iter().filter(|(path, folder)| !folder && is_cases(&name(path))) {
        found.push(path.clone());
    }
    for (path, _) in entries.iter().filter(|(_, folder)| *folder) {
        let name = name(path);
        if depth < DEPTH_MAX && !name.starts_with('.') && !STRANGE.contains(&name.as_str()) {
            walk(path, depth + 1, found)?;
        }
    }
    Ok(())
}

fn is_cases(name: &str) -> bool {
    NAMES.iter().any(|ending| {
        name.strip_suffix(ending).is_some_and(|front| front.is_empty() || front.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_cases_are_known_by_their_names() {
        for name in ["cases.toml", "cases.json", "alarms.cases.toml"] {
            assert!(is_cases(name), "{name}");
        }
        for name in ["Cargo.toml", "mycases.toml", "cases.toml.old", "cases"] {
            assert!(!is_cases(name), "{name}");
        }
    }
}
