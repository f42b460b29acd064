//! Where files lie and how they are called: `PATH.NUMBER.ENDING`, and `.part` behind that while
//! one is written. Names of tables come from records: what is no plain character in them is
//! written as `%` and two digits, so that none leads out of the folder or to another's file.

use std::fmt::Write;
use std::path::{Component, Path, PathBuf};

/// Stands for the table's name in a path.
pub const TABLE: &str = "{table}";
/// Behind the name of a file that is being written.
pub const PART: &str = ".part";
/// Most file systems take names of 255 bytes.
const NAME_BYTES_MAX: usize = 255;
/// Of these, what stands behind the path's last part: a number, the ending and `.part`.
const BEHIND_BYTES: usize = 40;

/// A path with places for the table's name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern {
    path: PathBuf,
    /// Behind the number: `.ndjson`.
    ending: &'static str,
}

/// A file's name, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Numbered {
    /// Its number.
    pub number: u64,
    /// Whether it was being written.
    pub part: bool,
}

impl Pattern {
    /// Reads a path; the error says what is wrong with it.
    pub fn parse(path: &str, ending: &'static str) -> Result<Pattern, String> {
        if !path.contains(TABLE) {
            return Err(format!("`{path}` gives all tables one file: it lacks `{TABLE}`"));
        }
        let parsed = PathBuf::from(path);
        for component in parsed.components() {
            let Component::Normal(name) = component else { continue };
            let name = name.to_string_lossy();
            let left = name.replacen(TABLE, "", 1);
            if left.contains(['{', '}']) {
                return Err(format!("`{name}` may have one `{TABLE}` and no other braces"));
            }
        }
        match parsed.file_name() {
            Some(_) if !path.ends_with('/') => Ok(Pattern { path: parsed, ending }),
            _ => Err(format!("`{path}` ends without a name for files")),
        }
    }

    /// The same from another folder, if it is relative.
    pub fn rebase(&mut self, base: &Path) {
        self.path = base.join(&self.path);
    }

    /// The folder that everything lies in, whatever tables are called.
    pub fn folder(&self) -> PathBuf {
        let has_none = |component: &Component<'_>| !text(component).contains(TABLE);
        let fixed: PathBuf = self.path.components().take_while(has_none).collect();
        if fixed.as_os_str().is_empty() { PathBuf::from(".") } else { fixed }
    }

    /// How many folders below that one files lie.
    pub fn depth(&self) -> usize {
        let has_none = |component: &Component<'_>| !text(component).contains(TABLE);
        self.path.components().skip_while(has_none).count() - 1
    }

    /// The folder and the beginning of the names of a table's files.
    pub fn of(&self, table: &str) -> (PathBuf, String) {
        let plain = plain(table);
        let filled: PathBuf =
            self.path.components().map(|part| text(&part).replace(TABLE, &plain)).collect();
        let stem = filled.file_name().map(|name| name.to_string_lossy().into_owned());
        let folder = filled.parent().unwrap_or(Path::new("")).to_owned();
        let folder = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder };
        (folder, stem.expect("the pattern ends with a name"))
    }

    /// A file's name.
    pub fn name(&self, stem: &str, number: u64) -> String {
        format!("{stem}.{number}{}", self.ending)
    }

    /// Whether a name is that of a file with this beginning.
    pub fn numbered(&self, stem: &str, name: &str) -> Option<Numbered> {
        let (name, part) = match name.strip_suffix(PART) {
            Some(name) => (name, true),
            None => (name, false),
        };
        let digits = name.strip_prefix(stem)?.strip_prefix('.')?.strip_suffix(self.ending)?;
        let canonical = !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
        canonical.then(|| digits.parse().ok())?.map(|number| Numbered { number, part })
    }

    /// The table, as its name stands in files' names, of a file that was being written.
    pub fn abandoned(&self, file: &Path) -> bool {
        let Some(name) = file.file_name().and_then(|name| name.to_str()) else { return false };
        let same = self.path.components().count() == file.components().count();
        let mut table = None;
        let mut components = self.path.components().zip(file.components()).peekable();
        while let Some((pattern, found)) = components.next() {
            let (pattern, found) = (text(&pattern), text(&found));
            let found = match components.peek() {
                Some(_) => found,
                None => match stem_of(name) {
                    Some(stem) if self.numbered(stem, name).is_some_and(|n| n.part) => stem.into(),
                    _ => return false,
                },
            };
            match pattern.split_once(TABLE) {
                None if pattern == found => {}
                Some((before, after)) => {
                    let inner = found.strip_prefix(before).and_then(|f| f.strip_suffix(after));
                    match (inner, &table) {
                        (Some(inner), None) => table = Some(inner.to_owned()),
                        (Some(inner), Some(known)) if inner == known => {}
                        _ => return false,
                    }
                }
                None => return false,
            }
        }
        same && table.is_some_and(|table| !table.is_empty())
    }

    /// The pattern as written.
    pub fn shown(&self) -> String {
        format!("{}.NUMBER{}", self.path.display(), self.ending)
    }
}

/// What stands before `.NUMBER.ENDING.part`.
fn stem_of(name: &str) -> Option<&str> {
    name.strip_suffix(PART)?.rsplitn(3, '.').nth(2)
}

fn text(component: &Component<'_>) -> String {
    component.as_os_str().to_string_lossy().into_owned()
}

/// A table's name as it may stand in a path: letters, digits, `_`, `-`, dots that do not begin it,
/// and all beyond ASCII but controls; other bytes as `%2F`.
fn plain(table: &str) -> String {
    let mut name = String::with_capacity(table.len());
    for (at, c) in table.char_indices() {
        let plain = c.is_ascii_alphanumeric() || matches!(c, '_' | '-') || (c == '.' && at > 0);
        if plain || (!c.is_ascii() && !c.is_control()) {
            name.push(c);
        } else {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                let _ = write!(name, "%{byte:02X}");
            }
        }
    }
    name
}

/// Why a table can have no file; `None` if it can.
pub fn name_fault(table: &str) -> Option<String> {
    let bytes = plain(table).len();
    match bytes {
        0 => Some("a table's name is empty".to_owned()),
        _ if bytes + BEHIND_BYTES > NAME_BYTES_MAX => {
            Some(format!("table name {table:?} is too long for the name of a file"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(path: &str) -> Pattern {
        Pattern::parse(path, ".ndjson").expect("a path with a table in it")
    }

    #[test]
    fn patterns_are_read_or_refused() {
        for wrong in ["rows", "{table}/", "{tables}", "a{table}{table}", "{table}/{x}", ""] {
            assert!(Pattern::parse(wrong, ".csv").is_err(), "{wrong}");
        }
        let deep = pattern("/srv/{table}/rows-{table}");
        assert_eq!((deep.folder(), deep.depth()), (PathBuf::from("/srv"), 1));
        assert_eq!(deep.of("a"), (PathBuf::from("/srv/a"), "rows-a".to_owned()));
        assert_eq!(pattern("{table}").folder(), PathBuf::from("."));
        assert_eq!(deep.name("rows-a", 7), "rows-a.7.ndjson");
    }

    #[test]
    fn what_was_left_behind_is_known_from_all_else() {
        let deep = pattern("/srv/{table}/rows-{table}");
        assert!(deep.abandoned(Path::new("/srv/a.b/rows-a.b.7.ndjson.part")));
        for other in [
            "/srv/a/rows-b.7.ndjson.part",
            "/srv/a/rows-a.7.ndjson",
            "/srv/a/rows-a.07.ndjson.part",
            "/srv/a/rows-a.x.ndjson.part",
            "/srv/a/rows-a.7.csv.part",
            "/srv/a/b/rows-a.7.ndjson.part",
            "/srv/rows-a.7.ndjson.part",
        ] {
            assert!(!deep.abandoned(Path::new(other)), "{other}");
        }
    }

    #[test]
    fn names_that_no_file_can_have() {
        assert!(name_fault("").is_some());
        assert!(name_fault(&"x".repeat(216)).is_some());
        assert!(name_fault(&"/".repeat(73)).is_some(), "three bytes for each");
        assert_eq!(name_fault(&"x".repeat(215)), None);
    }

    proptest! {
        #[test]
        fn no_name_leads_anywhere_else(
            table in "([a./\\\\%\0 \n~ü]|\\.\\.){1,12}", other in "([a./\\\\%\0 \n~ü]|\\.\\.){1,12}",
        ) {
            let pattern = pattern("/srv/x/{table}/{table}");
            let (folder, stem) = pattern.of(&table);
            prop_assert_eq!(folder.parent(), Some(Path::new("/srv/x")));
            let plain = |c: Component<'_>| matches!(c, Component::RootDir | Component::Normal(_));
            prop_assert!(folder.components().all(plain));
            prop_assert!(!stem.contains(['/', '\0', '\n']) && stem != "." && stem != "..");
            prop_assert_eq!(pattern.of(&other) == pattern.of(&table), other == table);
            let file = folder.join(format!("{}{PART}", pattern.name(&stem, 3)));
            prop_assert!(pattern.abandoned(&file));
        }
    }
}
