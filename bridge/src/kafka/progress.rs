//! How far partitions were read, in a file: for whoever reads without a group.
//!
//! ```text
//! bridge progress 1
//! sensors/0 1200 Zk3uM0BCQ5q8kTzZ3jzqVg
//! sensors/1 77 -
//! crc32c 2250a4e4
//! ```
//!
//! A line is a partition, the offset to go on from, and the number of the topic that the offset is
//! of, as Kafka's own tools write it; `-` where it is not known. The file is written beside,
//! synced, and renamed, so that whoever finds it finds it whole, as it was before or after;
//! whatever else is found is damaged, and never taken for a beginning. A lock beside it keeps a
//! second process out.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::batch::TopicPartition;
use crate::blame::Fault;
use crate::kafka::wire::metadata::TopicId;
use crate::lasting;

/// The first line: what it is, and by which rules it is written.
const HEAD: &str = "bridge progress 1\n";
/// Begins the last line: the checksum of all before it.
const SUM: &str = "crc32c ";

/// How far a partition was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Point {
    /// The offset to go on from.
    pub next: i64,
    /// The number of the topic that it is an offset of, if it is known: in another topic of the
    /// same name it means nothing.
    pub topic: Option<TopicId>,
}

/// Where partitions go on.
type Points = BTreeMap<TopicPartition, Point>;

/// The file, as its only writer.
#[derive(Debug)]
pub struct Progress {
    path: PathBuf,
    points: Points,
    /// Held as long as this lives. The file itself is another one after each rename.
    _lock: File,
}

impl Progress {
    /// Reads what was kept, and keeps others from writing. Where there is no file, nothing was. It
    /// is written at once: whoever may not write must not learn it after rows were stored.
    pub fn open(path: &Path) -> Result<Progress, Fault> {
        let beside = with_more(path, "lock");
        let failed = |error: io::Error| {
            let message = format!("locking {}: {error}", beside.display());
            Fault::operator(message)
                .hint("`progress` names a file in a folder that is there and may be written to")
        };
        let lock = File::options().create(true).truncate(false).write(true).open(&beside);
        let lock = lock.map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Err(TryLockError::WouldBlock) => {
                let message = format!("another process keeps its progress in {}", path.display());
                return Err(Fault::operator(message)
                    .hint("stop the other process, or give each a `progress` of its own"));
            }
        }
        let points = read(path)?;
        replace(path, &text(&points)).map_err(|error| {
            Fault::operator(format!("writing {}: {error}", path.display()))
                .hint("the folder of `progress` needs room, and leave to make and rename files")
        })?;
        Ok(Progress { path: path.to_owned(), points, _lock: lock })
    }

    /// Where a partition goes on, if anything was kept of it.
    pub fn point(&self, name: &TopicPartition) -> Option<Point> {
        self.points.get(name).copied()
    }

    /// Keeps where partitions go on; what is kept of others stays. It is on the disk when this
    /// returns. Where it fails, what was kept before is.
    pub fn keep(
        &mut self,
        points: impl Iterator<Item = (TopicPartition, Point)>,
    ) -> Result<(), Fault> {
        let mut all = self.points.clone();
        all.extend(points);
        self.write(all)
    }

    /// Forgets a topic's partitions, but for offsets of the one that has this number now.
    pub fn forget(&mut self, topic: &str, now: TopicId) -> Result<(), Fault> {
        let mut all = self.points.clone();
        all.retain(|name, point| *name.topic != *topic || point.topic == Some(now));
        self.write(all)
    }

    fn write(&mut self, points: Points) -> Result<(), Fault> {
        if points == self.points {
            return Ok(());
        }
        let doing = |error| Fault::world(format!("writing {}: {error}", self.path.display()));
        replace(&self.path, &text(&points)).map_err(doing)?;
        self.points = points;
        Ok(())
    }
}

/// What was kept in a file; nothing, if there is none. Whoever writes it is not disturbed.
pub fn read(path: &Path) -> Result<Points, Fault> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Points::new()),
        Err(error) => {
            return Err(Fault::operator(format!("reading {}: {error}", path.display())));
        }
    };
    let found = str::from_utf8(&bytes).ok().and_then(parse);
    found.ok_or_else(|| {
        let message = format!("{} is damaged: nobody knows how far it was read", path.display());
        Fault::operator(message).hint(
            "put a copy of it in its place, or take it away and say where to begin: `start`, or \
             `bridge run --from 2026-01-31` once",
        )
    })
}

fn text(points: &Points) -> String {
    let mut text = HEAD.to_owned();
    for (name, Point { next, topic }) in points {
        let id = topic.map(|topic| URL_SAFE_NO_PAD.encode(topic.get().to_be_bytes()));
        text.push_str(&format!("{name} {next} {}\n", id.as_deref().unwrap_or("-")));
    }
    let sum = crc32c::crc32c(text.as_bytes());
    text + &format!("{SUM}{sum:08x}\n")
}

/// What [`text`] wrote, and nothing else.
fn parse(written: &str) -> Option<Points> {
    let body = written.strip_prefix(HEAD)?;
    let lines = &body[..body.rfind(SUM)?];
    let line = |line: &str| {
        let (line, id) = line.rsplit_once(' ')?;
        let (name, next) = line.rsplit_once(' ')?;
        let (topic, partition) = name.rsplit_once('/')?;
        let name = TopicPartition { topic: topic.into(), partition: partition.parse().ok()? };
        let topic = if id == "-" { None } else { Some(number(id)?) };
        Some((name, Point { next: next.parse().ok()?, topic }))
    };
    let points = lines.lines().map(line).collect::<Option<Points>>()?;
    (text(&points) == written).then_some(points)
}

/// A topic's number.
fn number(id: &str) -> Option<TopicId> {
    let bytes = URL_SAFE_NO_PAD.decode(id).ok()?;
    TopicId::new(u128::from_be_bytes(bytes.try_into().ok()?))
}

/// The only way that the file changes.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    lasting::replace(path, &with_more(path, "new"), text.as_bytes())
}

/// The file beside another.
fn with_more(path: &Path, more: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(more);
    name.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::blame::Blame;
    use crate::folder::Folder;

    fn file(folder: &Folder) -> PathBuf {
        folder.0.join("p.progress")
    }

    fn name(topic: &str, partition: i32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }

    fn at(next: i64, topic: u128) -> Point {
        Point { next, topic: TopicId::new(topic) }
    }

    #[test]
    fn it_is_read_as_it_was_written_and_by_people_too() {
        let folder = Folder::new("progress-kept");
        let mut progress = Progress::open(&file(&folder)).expect("nothing was kept");
        assert_eq!(progress.point(&name("a", 0)), None);
        let points = [(name("b.c", 10), at(77, 0)), (name("a", 0), at(1_200, 1))];
        progress.keep(points.into_iter()).expect("there is room");
        progress.keep([(name("a", 0), at(1_201, 1))].into_iter()).expect("there is room");
        let written = fs::read_to_string(file(&folder)).expect("it is there");
        let (lines, sum) = written.rsplit_once(SUM).expect("it has a checksum");
        assert_eq!(lines, "bridge progress 1\na/0 1201 AAAAAAAAAAAAAAAAAAAAAQ\nb.c/10 77 -\n");
        assert_eq!(sum, format!("{:08x}\n", crc32c::crc32c(lines.as_bytes())));
        drop(progress);
        let progress = Progress::open(&file(&folder)).expect("it is whole");
        assert_eq!(progress.point(&name("a", 0)), Some(at(1_201, 1)));
        assert_eq!(progress.point(&name("b.c", 10)), Some(at(77, 0)));
        assert_eq!(progress.point(&name("a", 1)), None);
    }

    #[test]
    fn of_a_topic_that_was_made_anew_only_what_is_its_own_stays() {
        let folder = Folder::new("progress-forgets");
        let mut progress = Progress::open(&file(&folder)).expect("nothing was kept");
        let old = [(name("a", 0), at(1, 7)), (name("a", 1), at(2, 0))];
        let stays = [(name("a", 2), at(3, 8)), (name("ab", 0), at(4, 7))];
        let all = old.into_iter().chain(stays.clone());
        progress.keep(all).expect("there is room");
        progress.forget("a", TopicId::new(8).expect("it is not 0")).expect("there is room");
        assert_eq!(read(&file(&folder)).expect("it is whole"), Points::from(stays));
    }

    #[test]
    fn a_second_process_is_kept_out_until_the_first_has_gone() {
        let folder = Folder::new("progress-lock");
        let first = Progress::open(&file(&folder)).expect("nobody has it");
        let fault = Progress::open(&file(&folder)).expect_err("it is taken");
        let said = format!("another process keeps its progress in {}", file(&folder).display());
        assert_eq!((fault.message, fault.blame), (said, Blame::Operator));
        assert_eq!(read(&file(&folder)).expect("whoever asks may"), Points::new());
        drop(first);
        Progress::open(&file(&folder)).expect("it was given back");
        let nowhere = folder.0.join("no/p.progress");
        let fault = Progress::open(&nowhere).expect_err("there is no such folder");
        assert!(fault.to_string().contains("`progress` names a file"), "{fault}");
    }

    #[test]
    fn what_is_not_whole_is_never_a_beginning() {
        let folder = Folder::new("progress-damaged");
        let whole = text(&Points::from([(name("a", 0), at(1_200, 1)), (name("a", 1), at(7, 0))]));
        let refused = |bytes: &[u8]| {
            fs::write(file(&folder), bytes).expect("there is room");
            let fault = Progress::open(&file(&folder)).expect_err("it is damaged");
            let said = format!("{} is damaged", file(&folder).display());
            assert!(fault.message.starts_with(&said), "{fault}");
        };
        // Torn at every place, and with every bit of it turned.
        (0..whole.len()).for_each(|end| refused(&whole.as_bytes()[..end]));
        for at in 0..whole.len() * 8 {
            let mut bytes = whole.clone().into_bytes();
            bytes[at / 8] ^= 1 << (at % 8);
            refused(&bytes);
        }
        refused(format!("{whole}\n").as_bytes());
        // With a right checksum, but as nobody writes it.
        for line in ["a/0 1", "a/0 1 ", "a/0 1 AAAA", "a/0 1 AAAAAAAAAAAAAAAAAAAAAA", "a/0 01 -"] {
            let body = format!("{HEAD}{line}\n");
            refused(format!("{body}{SUM}{:08x}\n", crc32c::crc32c(body.as_bytes())).as_bytes());
        }
        fs::write(file(&folder), &whole).expect("there is room");
        assert_eq!(read(&file(&folder)).expect("it is whole").len(), 2);
    }

    #[test]
    fn where_writing_fails_what_was_kept_before_is() {
        let folder = Folder::new("progress-fault");
        let mut progress = Progress::open(&file(&folder)).expect("nothing was kept");
        let mut keep = |next| progress.keep([(name("a", 0), at(next, 0))].into_iter());
        let kept = || read(&file(&folder)).expect("it is whole")[&name("a", 0)].next;
        keep(1).expect("there is room");
        let beside = folder.0.join("p.progress.new");
        // No file can be made there.
        fs::create_dir(&beside).expect("a folder");
        let fault = keep(2).expect_err("it cannot");
        assert_eq!(fault.blame, Blame::World);
        assert!(fault.message.contains("p.progress"), "{fault}");
        assert_eq!(kept(), 1);
        fs::remove_dir(&beside).expect("it is empty");
        // What somebody left who was killed while writing.
        fs::write(&beside, "bridge pro").expect("there is room");
        keep(2).expect("it can again");
        assert_eq!(kept(), 2);
        assert!(!beside.exists());
    }

    #[test]
    fn who_may_not_write_is_told_before_anything_is_read() {
        let folder = Folder::new("progress-closed");
        // No file can be made there.
        fs::create_dir(folder.0.join("p.progress.new")).expect("a folder");
        let fault = Progress::open(&file(&folder)).expect_err("it cannot be written");
        assert_eq!(fault.blame, Blame::Operator);
        assert!(fault.to_string().contains("the folder of `progress` needs"), "{fault}");
    }

    proptest! {
        #[test]
        fn all_offsets_come_back(
            all in prop::collection::vec(
                ("[a-zA-Z0-9._-]{1,20}", 0..i32::MAX, 0..i64::MAX, any::<u128>()), 0..20,
            )
        ) {
            let each = all.iter().map(|(topic, partition, next, id)| {
                (name(topic, *partition), at(*next, *id))
            });
            let points: Points = each.collect();
            prop_assert_eq!(parse(&text(&points)), Some(points));
        }
    }
}
