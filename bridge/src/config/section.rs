//! A part of the configuration that belongs to one kind.

use serde::de::DeserializeOwned;

use super::Mistake;
use super::node::{Entry, Node, Value};
use super::read;

/// A table of the configuration, the path to it, and the place of everything in it.
#[derive(Clone, Debug)]
pub struct Section {
    /// Dotted path, such as `pipeline.readings.sink`.
    pub path: String,
    node: Node,
}

impl Section {
    /// A section from a table that was read already, without places.
    pub fn new(path: impl Into<String>, table: toml::Table) -> Section {
        Section::at(path, Node::from(toml::Value::Table(table)))
    }

    /// A section of a file.
    pub(super) fn at(path: impl Into<String>, node: Node) -> Section {
        Section { path: path.into(), node }
    }

    /// Reads the section as a kind's options; `kind` and `format` are not theirs.
    pub fn options<T: DeserializeOwned>(&self) -> Result<T, Mistake> {
        let mut node = self.node.clone();
        if let Value::Table(entries) = &mut node.value {
            entries.retain(|entry| entry.key != "kind" && entry.key != "format");
        }
        read::read(&node, &self.path)
    }

    /// Reads the whole section.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Mistake> {
        read::read(&self.node, &self.path)
    }

    /// The text of a key, if it is there and text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.node.text(key)
    }

    /// Whether a key is there.
    pub fn has(&self, key: &str) -> bool {
        self.node.get(key).is_some()
    }

    /// The section under a key; an empty one if there is none.
    pub fn below(&self, key: &str) -> Section {
        let node = self
            .node
            .get(key)
            .cloned()
            .unwrap_or_else(|| Node { span: self.node.span.clone(), ..Node::empty() });
        Section::at(self.path_of(key), node)
    }

    /// The same with a value for a key that is not there.
    pub(super) fn with_default(mut self, key: &str, value: Value) -> Section {
        if !self.has(key)
            && let Value::Table(entries) = &mut self.node.value
        {
            let node = Node { value, span: self.node.span.clone(), outside: false };
            entries.push(Entry { key: key.to_owned(), key_span: node.span.clone(), node });
        }
        self
    }

    /// The same with no other keys than these.
    pub(super) fn only(mut self, keys: &[&str]) -> Section {
        if let Value::Table(entries) = &mut self.node.value {
            entries.retain(|entry| keys.contains(&entry.key.as_str()));
        }
        self
    }

    /// The same without these keys.
    pub(super) fn without(mut self, keys: &[&str]) -> Section {
        if let Value::Table(entries) = &mut self.node.value {
            entries.retain(|entry| !keys.contains(&entry.key.as_str()));
        }
        self
    }

    /// The same with what another section has and this one has not, where it may be taken over.
    pub(super) fn with_keys_of(mut self, other: &Section, may: impl Fn(&str) -> bool) -> Section {
        let theirs = other.node.entries().iter();
        let taken: Vec<Entry> =
            theirs.filter(|entry| !self.has(&entry.key) && may(&entry.key)).cloned().collect();
        if let Value::Table(entries) = &mut self.node.value {
            entries.extend(taken);
        }
        self
    }

    /// The keys that are there.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.node.entries().iter().map(|entry| entry.key.as_str())
    }

    /// The value of a key.
    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        self.node.get(key).map(|node| &node.value)
    }

    /// The sections below this one, by name.
    pub(super) fn tables(&self) -> Vec<(String, Section)> {
        let section = |entry: &Entry| (entry.key.clone(), self.below(&entry.key));
        self.node.entries().iter().map(section).collect()
    }

    /// The sections of the array under a key.
    pub(super) fn each(&self, key: &str) -> Vec<Section> {
        let elements = self.node.get(key).map(Node::elements).unwrap_or_default();
        let section = |(index, node): (usize, &Node)| {
            Section::at(format!("{}.{index}", self.path_of(key)), node.clone())
        };
        elements.iter().enumerate().map(section).collect()
    }

    /// A mistake at `key` of this section (or at the section, if `key` is empty). Keys below
    /// others are reached by dots, elements of arrays by their index.
    pub fn mistake(&self, key: &str, message: impl Into<String>) -> Mistake {
        let message = message.into();
        let message = self.node.find(key).map_or(message.clone(), |node| node.masked(&message));
        Mistake::new(self.path_of(key), self.node.place(key), message)
    }

    fn path_of(&self, key: &str) -> String {
        match (self.path.as_str(), key) {
            (path, "") => path.to_owned(),
            ("", key) => key.to_owned(),
            (path, key) => format!("{path}.{key}"),
        }
    }
}
