//! Protobuf's types out of their texts (`.proto`, proto2 and proto3), or out of a descriptor set.
//! A text is parsed by a library, once it was seen to be harmless (`screen`); names are resolved
//! here (`resolve`). Options are left aside, and so are imports that bring nothing else: what is
//! imported and given by nobody matters only where a field is of its types.
//!
//! ```text
//! text ──screen──▶ library ──┐
//! descriptor set ────────────┴──▶ file descriptors ──resolve──▶ Types
//! ```

mod given;
mod known;
mod resolve;
mod screen;

use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet};

pub use self::given::Given;
use super::Registered;

/// Why there are no types, for people.
pub type Wrong = String;

/// Bytes of all texts of one schema, or of a descriptor set: more than people write.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
/// Files of one schema.
const FILES_MAX: usize = 500;
/// Letters of a parser's complaint that are shown.
const SHOWN_MAX: usize = 300;

/// The types of some files, and of all that these import.
#[derive(Debug, Default)]
pub struct Types {
    /// All of them; they name each other by their places here.
    pub messages: Vec<Message>,
    /// All of them.
    pub enums: Vec<Enum>,
    /// The outermost messages of the first file, in its order.
    pub first: Vec<usize>,
    /// Messages by their full names.
    names: HashMap<Box<str>, usize>,
}

/// A message type.
#[derive(Debug, Default)]
pub struct Message {
    /// With its package and the messages around it.
    pub name: Box<str>,
    /// In the order of the text.
    pub fields: Vec<Field>,
    /// Messages within it as the text has them: those that stand for maps and groups left out.
    pub inner: Vec<usize>,
    /// It is an entry of a map: field 1 is the key, 2 the value.
    pub is_entry: bool,
}

/// A field of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    /// As the text has it.
    pub name: Box<str>,
    /// From 1 on.
    pub number: u32,
    /// What it holds.
    pub of: Of,
    /// How often.
    pub label: Label,
    /// A member of this `oneof` of its message; one that only says `optional` is none.
    pub oneof: Option<u32>,
    /// What it is where it is absent, as the text has it.
    pub default: Option<Box<str>>,
    /// Numbers are written side by side.
    pub packed: bool,
}

/// What a field holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Of {
    Scalar(Scalar),
    /// An index into the enums.
    Enum(usize),
    /// An index into the messages.
    Message(usize),
    /// The same, between marks instead of behind a length.
    Group(usize),
}

/// A type without parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scalar {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    String,
    Bytes,
}

/// How often a field is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Label {
    /// Once; absent, it has its type's default.
    Implicit,
    /// Once or not at all.
    Optional,
    /// Once.
    Required,
    /// Any number of times; of a message that is an entry: a map.
    Repeated,
}

/// An enum type.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Enum {
    /// With its package and the messages around it.
    pub name: Box<str>,
    /// By number, each once, with the first name that it has.
    pub values: Vec<(i32, Box<str>)>,
    /// What is absent.
    pub default: i32,
}

impl Types {
    /// The types of texts by their names, in which imports are found by `find`.
    pub fn of_texts(
        texts: &[(&str, &str)],
        mut find: impl FnMut(&str) -> Result<Option<Arc<str>>, Wrong>,
    ) -> Result<Types, Wrong> {
        let mut met: HashSet<String> = texts.iter().map(|(name, _)| (*name).to_owned()).collect();
        let given = texts.iter().map(|(name, text)| ((*name).to_owned(), Arc::from(*text)));
        let mut waiting: VecDeque<(String, Arc<str>)> = given.collect();
        let (mut files, mut missing, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some((name, text)) = waiting.pop_front() {
            bytes += text.len();
            if bytes > TEXT_BYTES_MAX || files.len() >= FILES_MAX {
                return Err(format!(
                    "it has more than {TEXT_BYTES_MAX} bytes or {FILES_MAX} files with its imports"
                ));
            }
            let file = parsed(&name, &text)?;
            for import in &file.dependency {
                if !met.insert(import.clone()) {
                    continue;
                }
                match find(import)?.or_else(|| known::text(import).map(Arc::from)) {
                    Some(text) => waiting.push_back((import.clone(), text)),
                    None => missing.push(import.clone()),
                }
            }
            files.push(file);
        }
        resolve::resolve(&files, &missing)
    }

    /// The types of a schema that a registry has.
    pub fn of_registered(schema: &Registered) -> Result<Types, Wrong> {
        if schema.kind != "PROTOBUF" {
            return Err(format!("it is {}, and not Protobuf", schema.kind));
        }
        Types::of_texts(&[("", &schema.text)], |import| {
            let named = |name: &String| name == import;
            let found = schema.references.iter().find(|one| one.names.iter().any(named));
            Ok(found.map(|reference| Arc::from(reference.text.as_str())))
        })
    }

    /// The types of a descriptor set, as `protoc --include_imports --descriptor_set_out` makes it.
    pub fn of_descriptor_set(bytes: &[u8]) -> Result<Types, Wrong> {
        if bytes.len() > TEXT_BYTES_MAX {
            return Err(format!("it has more than {TEXT_BYTES_MAX} bytes"));
        }
        let set = FileDescriptorSet::decode(bytes);
        let set = set.map_err(|error| format!("it is no descriptor set: {error}"))?;
        if set.file.is_empty() || set.file.len() > FILES_MAX {
            return Err(format!("it has {} files, and not 1 to {FILES_MAX}", set.file.len()));
        }
        let mut files = set.file;
        let mut met: HashSet<String> = files.iter().map(|file| file.name().to_owned()).collect();
        let mut missing = Vec::new();
        let mut at = 0;
        while let Some(file) = files.get(at) {
            for import in file.dependency.clone() {
                if met.insert(import.clone()) {
                    match known::text(&import) {
                        Some(text) => files.push(parsed(&import, text)?),
                        None => missing.push(import),
                    }
                }
            }
            at += 1;
        }
        resolve::resolve(&files, &missing)
    }

    /// A message by its full name.
    pub fn message(&self, name: &str) -> Option<usize> {
        self.names.get(name.trim_start_matches('.')).copied()
    }

    /// A message of the first file by its place among those around it, outermost first, as
    /// Confluent's serializers name it.
    pub fn message_at(&self, indexes: &[u32]) -> Option<usize> {
        let (first, inner) = indexes.split_first()?;
        let mut at = *self.first.get(*first as usize)?;
        for index in inner {
            at = *self.messages[at].inner.get(*index as usize)?;
        }
        Some(at)
    }

    /// Names of messages, for a person who asked for one that is not there.
    pub fn some_names(&self) -> String {
        let names = self.messages.iter().filter(|message| !message.is_entry);
        let mut names = names.map(|message| &*message.name);
        let shown: Vec<&str> = names.by_ref().take(5).collect();
        let more = if names.next().is_some() { ", …" } else { "" };
        format!("{}{more}", shown.join(", "))
    }
}

/// A text as a file descriptor whose names are not resolved.
fn parsed(name: &str, text: &str) -> Result<FileDescriptorProto, Wrong> {
    let place = |why: String| if name.is_empty() { why } else { format!("{name}: {why}") };
    screen::check(text).map_err(place)?;
    // A text from a registry is hostile until it is read: what the library does not foresee is
    // the text's fault, and ends nobody else's work.
    let parsed = catch_unwind(AssertUnwindSafe(|| protox_parse::parse(name, text)));
    let shown = |error: protox_parse::ParseError| {
        // With line and column.
        let told: String = format!("{error:?}").chars().take(SHOWN_MAX).collect();
        told.trim_start_matches(':').to_owned()
    };
    parsed.map_err(|_| place("the parser failed on it".to_owned()))?.map_err(shown)
}

#[cfg(test)]
mod tests;
