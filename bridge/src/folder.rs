//! A folder of its own for one test, below the system's temporary folder (`TMPDIR`). It goes when
//! the test does, also when that fails.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where it is.
pub struct Folder(pub PathBuf);

impl Folder {
    /// Makes an empty folder; `name` only helps people who look at it.
    pub fn new(name: &str) -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("bridge-{name}-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // What a process that was killed left behind, if it had the same number.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("a folder for a test");
        Folder(path)
    }

    /// Writes a file into it; where that is.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).expect("the folder takes files");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is the system's to clean.
        let _ = fs::remove_dir_all(&self.0);
    }
}
