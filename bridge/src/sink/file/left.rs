//! What a process that was killed left behind: files that were being written, each perhaps with a
//! piece of a line at its end. That is cut off, and the file gets its last name. Nothing that was
//! cut was ever called stored.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::place::Pattern;
use super::store::{Failed, sync_folder};
use super::whole::{Lines, whole_bytes};
use crate::lasting::folder_of;

/// What was put right.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mended {
    /// Files that got their last names.
    pub files: usize,
    /// Bytes of pieces of lines.
    pub bytes_cut: u64,
}

/// Puts right what was left behind below the pattern's folder. Files that a living process writes
/// are locked by it, and left alone.
pub fn mend(pattern: &Pattern, lines: Lines) -> Result<Mended, Failed> {
    let mut mended = Mended::default();
    for part in parts(pattern, &pattern.folder(), pattern.depth())? {
        let put_right = mend_one(&part, lines);
        let cut = put_right.map_err(|e| Failed(format!("mending {}: {e}", part.display())))?;
        if let Some(bytes) = cut {
            mended.files += 1;
            mended.bytes_cut += bytes;
            sync_folder(folder_of(&part))?;
        }
    }
    Ok(mended)
}

/// The files below a folder that were being written.
pub fn parts(pattern: &Pattern, folder: &Path, depth: usize) -> Result<Vec<PathBuf>, Failed> {
    let unread = |error: io::Error| Failed(format!("reading {}: {error}", folder.display()));
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unread(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(unread)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(unread)?);
        if depth > 0 && kind.is_dir() {
            found.extend(parts(pattern, &path, depth - 1)?);
        } else if depth == 0 && kind.is_file() && pattern.abandoned(&path) {
            found.push(path);
        }
    }
    Ok(found)
}

/// How many bytes were cut; `None` if the file is another's, or gone.
fn mend_one(part: &Path, lines: Lines) -> io::Result<Option<u64>> {
    let mut file: File = match OpenOptions::new().read(true).write(true).open(part) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let len = file.metadata()?.len();
    let whole = whole_bytes(&mut file, lines)?;
    if whole == 0 {
        fs::remove_file(part)?;
        return Ok(Some(len));
    }
    if whole < len {
        file.set_len(whole)?;
    }
    file.sync_all()?;
    // The last extension is `.part`.
    let last = part.with_extension("");
    match last.try_exists()? {
        // No bridge makes such a pair; what a person put there is not ours to write over.
        true => Ok(None),
        false => match fs::rename(part, &last) {
            Ok(()) => Ok(Some(len - whole)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        },
    }
}
