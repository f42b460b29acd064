//! What must last: files that take the place of others, and names in folders. Whoever looks for a
//! file finds it whole, as it was before or after, also if the machine stops in between.
//!
//! ```text
//! write beside ──▶ sync it ──▶ rename ──▶ sync the folder
//! ```

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

/// Puts a file of these bytes where `path` is, in the place of what is there. It is on the disk
/// when this returns. It is written at `beside` first, which lies in the same folder and is nobody
/// else's meanwhile; what was left there is written over.
pub fn replace(path: &Path, beside: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = File::create(beside)?;
    if let Ok(old) = fs::metadata(path) {
        // Who may not read the old one is not to read the new one.
        new.set_permissions(old.permissions())?;
    }
    new.write_all(bytes)?;
    new.sync_all()?;
    fs::rename(beside, path)?;
    // The new name is on the disk when the folder is.
    sync_folder(folder_of(path)).map_err(|(_, error)| error)
}

/// Gets the names in a folder onto the disk; or says what could not be done to it, and why.
pub fn sync_folder(folder: &Path) -> Result<(), (&'static str, io::Error)> {
    let opened = File::open(folder).map_err(|error| ("opening folder", error))?;
    opened.sync_all().map_err(|error| ("syncing folder", error))
}

/// The folder that has the name of a file, or of another folder.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::folder::Folder;

    #[test]
    fn a_file_takes_the_place_of_another_and_nothing_is_left_beside() {
        let folder = Folder::new("lasting");
        let (path, beside) = (folder.0.join("a"), folder.0.join("a.new"));
        for text in ["the first, which is longer", "the second"] {
            // What somebody left who was killed while writing.
            folder.write("a.new", "half of something that was longer than what comes");
            let permissions = fs::Permissions::from_mode(0o600);
            let _ = fs::set_permissions(&path, permissions.clone());
            let was_there = path.exists();
            replace(&path, &beside, text.as_bytes()).expect("there is room");
            let mode = fs::metadata(&path).expect("it is there").permissions().mode();
            assert!(!was_there || mode & 0o777 == permissions.mode(), "{mode:o}");
            assert_eq!(fs::read_to_string(&path).expect("it is there"), text);
            assert!(!beside.exists());
        }
    }

    #[test]
    fn where_it_fails_what_was_there_before_is() {
        let folder = Folder::new("lasting");
        let path = folder.write("a", "before");
        // No file can be made there.
        let beside = folder.0.join("a.new");
        fs::create_dir(&beside).expect("a folder");
        replace(&path, &beside, b"after").expect_err("it cannot be written");
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "before");
        // No file can take the place of a folder.
        replace(&beside, &folder.0.join("b"), b"after").expect_err("it cannot be renamed");
        assert!(beside.is_dir());
    }

    #[test]
    fn what_could_not_be_done_to_a_folder_is_said() {
        let folder = Folder::new("lasting");
        sync_folder(&folder.0).expect("it is there");
        let (doing, error) = sync_folder(&folder.0.join("no")).expect_err("it is not there");
        assert_eq!((doing, error.kind()), ("opening folder", ErrorKind::NotFound));
    }

    #[test]
    fn every_path_lies_in_a_folder() {
        for (path, folder) in [("a", "."), ("a/b", "a"), ("/a/b", "/a"), ("/a", "/"), ("/", ".")] {
            assert_eq!(folder_of(Path::new(path)), Path::new(folder), "{path}");
        }
    }
}
