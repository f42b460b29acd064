//! The files of one sink: one for each table and layout that is written to, ended by size and age.
//! What a call stores is on the disk when it returns; what it could not store is cut off again
//! before the next line is written, so that no file ever has a piece of a line before others.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::place::{PART, Pattern};
use crate::batch::Payload;
use crate::lasting::{self, folder_of};

/// Files that are open at once; what was not written to for longest is ended before one more.
const OPEN_MAX: usize = 256;
/// Numbers that others took meanwhile, at most, before it is tried again later.
const TAKEN_MAX: usize = 1_000;

/// When a file is ended and another one begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rotation {
    /// Before it would have more bytes.
    pub bytes: u64,
    /// At this age.
    pub after: Duration,
}

/// The time, by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For ages.
    pub instant: Instant,
    /// For names: milliseconds since 1970.
    pub unix_ms: u64,
}

/// A file by what is in it: its table, and its rows' layout.
type Key = (Arc<str>, u32);

/// What stands at the beginning of every file of a table and layout.
pub type Header = Box<dyn Fn(&str, u32) -> Vec<u8> + Send + Sync>;

/// All files of one sink.
pub struct Store {
    pattern: Pattern,
    rotation: Rotation,
    header: Header,
    open: HashMap<Key, Open>,
    /// Rises with every use, to know what was not used for longest.
    uses: u64,
}

/// A file that is being written.
#[derive(Debug)]
struct Open {
    file: File,
    folder: PathBuf,
    /// Its name while it is written, and afterwards.
    part: PathBuf,
    whole: PathBuf,
    begun: Instant,
    used: u64,
    header: Vec<u8>,
    /// Bytes written, and of these on the disk.
    len: u64,
    synced: u64,
    /// Whether the name is on the disk.
    named: bool,
    /// Whether there may be a piece of a line behind `synced`.
    torn: bool,
}

/// What could not be done to which file.
#[derive(Debug)]
pub struct Failed(pub String);

fn failed<'a>(doing: &'a str, path: &'a Path) -> impl Fn(io::Error) -> Failed + 'a {
    move |error| Failed(format!("{doing} {}: {error}", path.display()))
}

impl Store {
    /// No file is open yet.
    pub fn new(pattern: Pattern, rotation: Rotation, header: Header) -> Store {
        Store { pattern, rotation, header, open: HashMap::new(), uses: 0 }
    }

    /// Stores payloads; for each whether it is on the disk, and why not if any is not.
    pub fn store(&mut self, payloads: &[Payload], now: Now) -> (Vec<bool>, Option<Failed>) {
        let mut stored = vec![false; payloads.len()];
        let mut fault = None;
        let mut keys: Vec<Key> = Vec::new();
        for payload in payloads {
            let key = (Arc::clone(&payload.table), payload.layout);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        for key in keys {
            let is_of = |payload: &Payload| payload.table == key.0 && payload.layout == key.1;
            let mine: Vec<usize> = (0..payloads.len()).filter(|at| is_of(&payloads[*at])).collect();
            if let Err(why) = self.store_in(&key, payloads, &mine, &mut stored, now) {
                if let Some(open) = self.open.get_mut(&key) {
                    open.torn = true;
                }
                fault = Some(why);
            }
        }
        (stored, fault)
    }

    /// Those of one table and layout, in their order.
    fn store_in(
        &mut self,
        key: &Key,
        payloads: &[Payload],
        mine: &[usize],
        stored: &mut [bool],
        now: Now,
    ) -> Result<(), Failed> {
        let mut unsynced = Vec::new();
        for at in mine {
            let bytes = &payloads[*at].buffers.bytes;
            let bytes_max = self.rotation.bytes;
            let open = self.ready(key, now)?;
            let more = open.len > open.header.len() as u64;
            if more && open.len + bytes.len() as u64 > bytes_max {
                self.sync(key)?;
                unsynced.drain(..).for_each(|at: usize| stored[at] = true);
                self.end(key)?;
            }
            self.ready(key, now)?.write(bytes)?;
            unsynced.push(*at);
        }
        self.sync(key)?;
        unsynced.into_iter().for_each(|at| stored[at] = true);
        Ok(())
    }

    /// The file of a key, begun if there is none, without pieces of lines.
    fn ready(&mut self, key: &Key, now: Now) -> Result<&mut Open, Failed> {
        if !self.open.contains_key(key) {
            self.make_room()?;
            let header = (self.header)(&key.0, key.1);
            let open = begin(&self.pattern, &key.0, header, now)?;
            self.open.insert(key.clone(), open);
        }
        self.uses += 1;
        let open = self.open.get_mut(key).expect("begun above");
        open.used = self.uses;
        open.mend()?;
        Ok(open)
    }

    /// Ends the file that was not used for longest, if there are too many.
    fn make_room(&mut self) -> Result<(), Failed> {
        if self.open.len() < OPEN_MAX {
            return Ok(());
        }
        let settled = self.open.iter().filter(|(_, open)| open.synced == open.len && !open.torn);
        let oldest = settled.min_by_key(|(_, open)| open.used).map(|(key, _)| key.clone());
        oldest.map_or(Ok(()), |key| self.end(&key))
    }

    /// Gets what was written onto the disk, the file's name included.
    fn sync(&mut self, key: &Key) -> Result<(), Failed> {
        let Some(open) = self.open.get_mut(key) else { return Ok(()) };
        let synced = open.sync();
        if synced.as_ref().is_ok_and(|there| !there) {
            let gone = self.open.remove(key).map(|open| open.part);
            let gone = gone.unwrap_or_default();
            let said = "was removed or replaced while it was written; its last rows go elsewhere";
            return Err(Failed(format!("{} {said}", gone.display())));
        }
        synced.map(drop)
    }

    /// Gives a file its last name; what is in it is on the disk.
    fn end(&mut self, key: &Key) -> Result<(), Failed> {
        let Some(open) = self.open.get(key) else { return Ok(()) };
        if open.has_rows() {
            fs::rename(&open.part, &open.whole).map_err(failed("renaming", &open.part))?;
        } else {
            fs::remove_file(&open.part).map_err(failed("removing", &open.part))?;
        }
        let folder = self.open.remove(key).map(|open| open.folder).unwrap_or_default();
        sync_folder(&folder)
    }

    /// Ends every file that is of age.
    pub fn end_due(&mut self, now: Instant) -> Result<(), Failed> {
        let after = self.rotation.after;
        self.end_where(|open| now.duration_since(open.begun) >= after)
    }

    /// Ends every file.
    pub fn end_all(&mut self) -> Result<(), Failed> {
        self.end_where(|_| true)
    }

    fn end_where(&mut self, due: impl Fn(&Open) -> bool) -> Result<(), Failed> {
        let due = self.open.iter().filter(|(_, open)| due(open));
        let due: Vec<Key> = due.map(|(key, _)| key.clone()).collect();
        let mut result = Ok(());
        for key in due {
            let open = self.open.get_mut(&key).expect("just seen");
            let ended = open.mend().and_then(|()| self.end(&key));
            result = result.and(ended);
        }
        result
    }
}

impl Open {
    fn has_rows(&self) -> bool {
        self.synced > self.header.len() as u64
    }

    /// Cuts off what is not known to be on the disk, and makes sure of the header.
    fn mend(&mut self) -> Result<(), Failed> {
        if self.torn {
            self.file.set_len(self.synced).map_err(failed("cutting", &self.part))?;
            self.len = self.synced;
            self.torn = false;
        }
        if self.len == 0 && !self.header.is_empty() {
            let header = std::mem::take(&mut self.header);
            let written = self.write(&header);
            self.header = header;
            if written.is_err() {
                self.torn = true;
            }
            return written;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        self.file.write_all(bytes).map_err(failed("writing", &self.part))?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Whether all that was written is on the disk, under the file's name.
    fn sync(&mut self) -> Result<bool, Failed> {
        self.file.sync_data().map_err(failed("syncing", &self.part))?;
        if !self.named {
            sync_folder(&self.folder)?;
            self.named = true;
        }
        let own = self.file.metadata().map_err(failed("looking at", &self.part))?;
        let there = match fs::symlink_metadata(&self.part) {
            Ok(found) => (found.dev(), found.ino()) == (own.dev(), own.ino()),
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(failed("looking at", &self.part)(error)),
        };
        if there {
            self.synced = self.len;
        }
        Ok(there)
    }
}

/// Begins a file, whose number is the time, or one more than the largest that there is.
fn begin(pattern: &Pattern, table: &str, header: Vec<u8>, now: Now) -> Result<Open, Failed> {
    let (folder, stem) = pattern.of(table);
    make_folder(&folder)?;
    let mut number = now.unix_ms.max(1);
    for entry in fs::read_dir(&folder).map_err(failed("reading", &folder))? {
        let name = entry.map_err(failed("reading", &folder))?.file_name();
        let found = name.to_str().and_then(|name| pattern.numbered(&stem, name));
        number = number.max(found.map_or(0, |found| found.number + 1));
    }
    for number in number..number + TAKEN_MAX as u64 {
        let whole = folder.join(pattern.name(&stem, number));
        let part = part_of(&whole);
        let file = match OpenOptions::new().append(true).create_new(true).open(&part) {
            Ok(file) => file,
            // Another process that writes here was faster.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(failed("making", &part)(error)),
        };
        // A name is given only to what was made under it: whoever made a file knows that nobody
        // else can give the last name after this look.
        let taken = whole.try_exists().map_err(failed("looking at", &whole))?;
        if taken || file.try_lock().is_err() {
            fs::remove_file(&part).map_err(failed("removing", &part))?;
            continue;
        }
        let (begun, named, torn) = (now.instant, false, false);
        let (used, len, synced) = (0, 0, 0);
        return Ok(Open {
            file,
            folder,
            part,
            whole,
            begun,
            used,
            header,
            len,
            synced,
            named,
            torn,
        });
    }
    let said = "no number for a new file of";
    Err(Failed(format!("{said} {table} in {}: all were taken meanwhile", folder.display())))
}

/// The name of a file while it is written.
fn part_of(whole: &Path) -> PathBuf {
    let mut name = whole.as_os_str().to_owned();
    name.push(PART);
    PathBuf::from(name)
}

/// Makes a folder and what it lies in, so that all of them survive.
pub fn make_folder(folder: &Path) -> Result<(), Failed> {
    let mut missing = Vec::new();
    for above in folder.ancestors() {
        if above.as_os_str().is_empty() || above.is_dir() {
            break;
        }
        missing.push(above);
    }
    for folder in missing.into_iter().rev() {
        match fs::create_dir(folder) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed("making folder", folder)(error)),
        }
        sync_folder(folder_of(folder))?;
    }
    Ok(())
}

/// Gets the names in a folder onto the disk.
pub fn sync_folder(folder: &Path) -> Result<(), Failed> {
    lasting::sync_folder(folder).map_err(|(doing, error)| failed(doing, folder)(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_lines_are_cut_before_the_next_line() {
        let folder = std::env::temp_dir().join(format!("bridge-files-torn-{}", std::process::id()));
        let path = folder.join("{table}");
        let pattern = Pattern::parse(path.to_str().expect("text"), ".csv").expect("a path");
        let table: Arc<str> = "t".into();
        let now = Now { instant: Instant::now(), unix_ms: 1 };
        let mut open = begin(&pattern, &table, b"h\n".to_vec(), now).expect("a folder");
        // The first write, the header's, broke off; so did the third.
        open.file.write_all(b"h").expect("room");
        open.torn = true;
        open.mend().expect("it can be cut");
        open.write(b"1\n").expect("room");
        assert!(open.sync().expect("a disk"));
        open.file.write_all(b"2").expect("room");
        open.torn = true;
        open.mend().expect("it can be cut");
        open.write(b"3\n").expect("room");
        assert!(open.sync().expect("a disk") && open.has_rows());
        let text = fs::read_to_string(&open.part).expect("it is there");
        fs::remove_dir_all(&folder).expect("it is ours");
        assert_eq!((text.as_str(), open.synced), ("h\n1\n3\n", 6));
    }
}
