//! Temporary folders: removed on drop, and after a killed process by the next one.
//!
//! Every folder holds an open lock file. A folder whose lock can be taken has lost its owner.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

const PREFIX: &str = "world-data-";
const LOCK: &str = ".owner";

/// A folder of our own below the system's temporary folder (`TMPDIR`), removed on drop.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    _owner: File,
}

impl Directory {
    /// Makes an empty folder; `name` only helps people who look at it.
    pub fn create(name: &str) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        static SWEPT: Once = Once::new();
        let parent = std::env::temp_dir();
        // Held from mkdir to lock, so that nobody sweeps a folder that is not locked yet.
        let door = exclusive(&parent.join("world-data.lock"))?;
        SWEPT.call_once(|| sweep(&parent));
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("{PREFIX}{}-{count}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
        let owner = exclusive(&path.join(LOCK))?;
        drop(door);
        Ok(Self { path, _owner: owner })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            eprintln!("world: removing {}: {error}", self.path.display());
        }
    }
}

/// Opens a file and waits for its lock; the lock ends with the file, however the process ends.
pub(crate) fn exclusive(path: &Path) -> Result<File> {
    let file = File::options()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("opening lock {}", path.display()))?;
    file.lock().with_context(|| format!("locking {}", path.display()))?;
    Ok(file)
}

/// Removes the folders of processes that were killed. What cannot be removed is left.
fn sweep(parent: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if ours && is_orphan(&entry.path()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn is_orphan(folder: &Path) -> bool {
    match File::options().append(true).open(folder.join(LOCK)) {
        Ok(lock) => lock.try_lock().is_ok(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_removed_on_drop_and_kept_while_owned() {
        let folder = Directory::create("test").expect("a folder can be made");
        let path = folder.path().to_owned();
        assert!(path.is_dir());
        assert!(!is_orphan(&path));
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn orphans_are_known() {
        let folder = Directory::create("orphan").expect("a folder can be made");
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).expect("a folder can be made");
        assert!(is_orphan(&inner));
    }
}
