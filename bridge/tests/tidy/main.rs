//! The house rules that no compiler knows, held by tests: `code` reads the sources as text,
//! `pages` reads the documents and tries what they say. Complaints are collected, so that one run
//! names them all.

mod code;
mod pages;

use std::fs;
use std::path::{Path, PathBuf};

/// The repository.
fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().expect("the repository is there")
}

/// Folders that hold nothing of ours.
const STRANGE: &[&str] = &["target", ".git", ".world", "artifacts", "corpus"];

/// Every file of the repository with this ending, as (path from the root, text), in order.
fn files(ending: &str) -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository") {
            let path = entry.expect("an entry of a folder").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if !STRANGE.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if name.ends_with(ending) {
                let from_root = path.strip_prefix(&root).expect("it was found below the root");
                let text = fs::read_to_string(&path).expect("text in UTF-8");
                found.push((from_root.to_string_lossy().into_owned(), text));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "there are files that end with {ending}");
    found
}

/// One file of the repository.
fn file(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("reading {path}: {error}"))
}

/// Fails with all complaints, one a line.
fn check(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}
