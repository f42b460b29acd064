//! Dead letters as lines of JSON in a file, synced before they count as stored. Bytes that are
//! text stand as they are, others in base64 under a key that says so.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{Letter, Shelf, Stamp};
use crate::batch::TopicPartition;
use crate::blame::{Blame, Fault};

/// A file of dead letters.
pub struct FileShelf {
    path: PathBuf,
    file: Option<File>,
    /// A failed write may have left half a line behind.
    torn: bool,
}

impl FileShelf {
    /// Opened at the first letter.
    pub fn new(path: &Path) -> FileShelf {
        FileShelf { path: path.to_owned(), file: None, torn: false }
    }

    fn open(&self) -> std::io::Result<File> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        OpenOptions::new().create(true).append(true).open(&self.path)
    }

    fn fault(&self, doing: &str, error: &std::io::Error) -> Fault {
        let blame = match error.kind() {
            ErrorKind::PermissionDenied
            | ErrorKind::IsADirectory
            | ErrorKind::NotADirectory
            | ErrorKind::ReadOnlyFilesystem => Blame::Operator,
            _ => Blame::World,
        };
        let message = format!("{doing} dead letters {}: {error}", self.path.display());
        Fault { blame, message, hint: None }
    }
}

impl Shelf for FileShelf {
    fn store(&mut self, letters: &[Letter], stamp: &Stamp) -> Result<(), Fault> {
        if self.file.is_none() {
            self.file = Some(self.open().map_err(|error| self.fault("opening", &error))?);
        }
        let mut text = Vec::new();
        if self.torn {
            text.push(b'\n');
        }
        for letter in letters {
            text.extend_from_slice(line(letter, stamp).to_string().as_bytes());
            text.push(b'\n');
        }
        let file = self.file.as_mut().expect("opened above");
        match file.write_all(&text).and_then(|()| file.sync_data()) {
            Ok(()) => {
                self.torn = false;
                Ok(())
            }
            Err(error) => {
                self.torn = true;
                self.file = None;
                Err(self.fault("writing", &error))
            }
        }
    }

    fn place(&self, _: &TopicPartition) -> String {
        self.path.display().to_string()
    }
}

fn line(letter: &Letter, stamp: &Stamp) -> Value {
    let mut line = Map::new();
    for (name, text) in letter.own_headers(stamp, None) {
        let name = name.trim_start_matches("bridge.");
        let value = match name {
            "partition" | "offset" | "timestamp" => {
                text.parse::<i64>().map_or(Value::Null, Value::from)
            }
            _ => Value::String(text),
        };
        line.insert(name.to_owned(), value);
    }
    put(&mut line, "key", letter.key.as_deref());
    put(&mut line, "value", letter.value.as_deref());
    let headers = letter.headers.iter().map(|(name, value)| {
        let mut header = Map::new();
        header.insert("name".to_owned(), json!(String::from_utf8_lossy(name)));
        put(&mut header, "value", value.as_deref());
        Value::Object(header)
    });
    line.insert("headers".to_owned(), Value::Array(headers.collect()));
    Value::Object(line)
}

fn put(line: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => line.insert(name.to_owned(), Value::Null),
        Some((_, Ok(text))) => line.insert(name.to_owned(), json!(text)),
        Some((bytes, Err(_))) => {
            line.insert(format!("{name}_base64"), json!(STANDARD.encode(bytes)))
        }
    };
}
