//! The configuration as a tree that remembers where each key and value stands in the file.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::expand::{Surroundings, expand};
use super::mistake::Mistake;

/// What is said in place of text from outside.
pub const REFERENCE: &str = "what the reference stands for";

/// A value and its place.
#[derive(Clone, PartialEq, Debug)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// Bytes of the file, where known.
    pub span: Option<Range<usize>>,
    /// Whether it is text that came from outside the file: it may stand for a number, and is
    /// never shown, for it may be a secret.
    pub outside: bool,
}

/// A value.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Text, references filled in.
    String(String),
    /// An integer.
    Integer(i64),
    /// A floating point number.
    Float(f64),
    /// A boolean.
    Boolean(bool),
    /// A date or time, as text.
    Datetime(String),
    /// An array.
    Array(Vec<Node>),
    /// A table, its entries in the order of the file.
    Table(Vec<Entry>),
}

/// A key, its place, and what it stands for.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Bytes of the file, where known.
    pub key_span: Option<Range<usize>>,
    /// The value.
    pub node: Node,
}

impl Node {
    /// Reads a file. What is wrong with it as TOML, and references that lead nowhere, are the
    /// error: nothing else can be said while they stand.
    pub fn parse(text: &str, with: &Surroundings<'_>) -> Result<Node, Vec<Mistake>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            let shown = |error: &toml::de::Error| {
                Mistake::new("", error.span(), error.message().trim().to_lowercase())
            };
            return Err(errors.iter().map(shown).collect());
        }
        let mut mistakes = Vec::new();
        let span = table.span();
        let value = from_table(table.into_inner(), text, with, &mut mistakes);
        match mistakes.is_empty() {
            true => Ok(Node { value, span: Some(span), outside: false }),
            false => Err(mistakes),
        }
    }

    /// An empty table that stands nowhere.
    pub fn empty() -> Node {
        Node { value: Value::Table(Vec::new()), span: None, outside: false }
    }

    /// The entries of a table; none if it is something else.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Table(entries) => entries,
            _ => &[],
        }
    }

    /// The elements of an array; none if it is something else.
    pub fn elements(&self) -> &[Node] {
        match &self.value {
            Value::Array(elements) => elements,
            _ => &[],
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// The text of a key, if it is text.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.get(key).map(|node| &node.value) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// A message about this value that does not show what came from outside.
    pub fn masked(&self, message: &str) -> String {
        match &self.value {
            Value::String(secret) if self.outside && !secret.is_empty() => {
                message.replace(secret.as_str(), REFERENCE)
            }
            _ => message.to_owned(),
        }
    }

    /// The node at a dotted path (see [`Node::place`]).
    pub fn find(&self, path: &str) -> Option<&Node> {
        if path.is_empty() {
            return Some(self);
        }
        match &self.value {
            Value::Table(entries) => entries.iter().find_map(|entry| {
                let rest = path.strip_prefix(&entry.key)?;
                if rest.is_empty() {
                    return Some(&entry.node);
                }
                entry.node.find(rest.strip_prefix('.')?)
            }),
            Value::Array(elements) => {
                let (index, rest) = path.split_once('.').unwrap_or((path, ""));
                elements.get(index.parse::<usize>().ok()?)?.find(rest)
            }
            _ => None,
        }
    }

    /// The place of a dotted path (keys, or indexes from 0), or of the last part of it that is
    /// there; keys may themselves contain dots.
    pub fn place(&self, path: &str) -> Option<Range<usize>> {
        if path.is_empty() {
            return self.span.clone();
        }
        match &self.value {
            Value::Table(entries) => {
                let below = entries.iter().find_map(|entry| match path.strip_prefix(&entry.key) {
                    Some("") => Some((entry, "")),
                    Some(rest) => rest.strip_prefix('.').map(|rest| (entry, rest)),
                    None => None,
                });
                match below {
                    // Tables written under a header of their own have the header as their place.
                    Some((entry, rest)) => entry.node.place(rest).or(entry.key_span.clone()),
                    None => self.span.clone(),
                }
            }
            Value::Array(elements) => {
                let (index, rest) = path.split_once('.').unwrap_or((path, ""));
                let element = index.parse().ok().and_then(|index: usize| elements.get(index));
                element.map_or(self.span.clone(), |element| element.place(rest))
            }
            _ => self.span.clone(),
        }
    }
}

fn from_table(
    table: DeTable<'_>,
    text: &str,
    with: &Surroundings<'_>,
    mistakes: &mut Vec<Mistake>,
) -> Value {
    let mut entries: Vec<Entry> = table
        .into_iter()
        .map(|(key, value)| {
            let (key_span, span) = (Some(key.span()), value.span());
            let key = key.into_inner().into_owned();
            let node = from_value(value.into_inner(), span, text, with, mistakes);
            Entry { key, key_span, node }
        })
        .collect();
    // The library sorts keys by name; people expect their own order.
    entries.sort_by_key(|entry| entry.key_span.as_ref().map(|span| span.start));
    Value::Table(entries)
}

fn from_value(
    value: DeValue<'_>,
    span: Range<usize>,
    text: &str,
    with: &Surroundings<'_>,
    mistakes: &mut Vec<Mistake>,
) -> Node {
    let mut outside = false;
    let value = match value {
        DeValue::String(written) => match expand(&written, with) {
            Ok((expanded, referred)) => {
                outside = referred;
                Value::String(expanded)
            }
            Err(unknown) => {
                let raw = text.get(span.clone()).unwrap_or_default();
                let at = raw
                    .find(&unknown.reference)
                    .map(|at| span.start + at..span.start + at + unknown.reference.len());
                let place = Some(at.unwrap_or(span.clone()));
                mistakes.push(Mistake::new("", place, unknown.message).help(unknown.help));
                Value::String(String::new())
            }
        },
        DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(integer) => Value::Integer(integer),
            Err(_) => {
                mistakes.push(Mistake::new("", Some(span.clone()), "a number out of range"));
                Value::Integer(0)
            }
        },
        DeValue::Float(float) => Value::Float(float.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(boolean) => Value::Boolean(boolean),
        DeValue::Datetime(datetime) => Value::Datetime(datetime.to_string()),
        DeValue::Array(array) => {
            let elements = array.into_iter().map(|element| {
                let span = element.span();
                from_value(element.into_inner(), span, text, with, mistakes)
            });
            Value::Array(elements.collect())
        }
        DeValue::Table(table) => from_table(table, text, with, mistakes),
    };
    Node { value, span: Some(span), outside }
}

impl From<toml::Value> for Node {
    fn from(value: toml::Value) -> Node {
        let value = match value {
            toml::Value::String(text) => Value::String(text),
            toml::Value::Integer(integer) => Value::Integer(integer),
            toml::Value::Float(float) => Value::Float(float),
            toml::Value::Boolean(boolean) => Value::Boolean(boolean),
            toml::Value::Datetime(datetime) => Value::Datetime(datetime.to_string()),
            toml::Value::Array(array) => Value::Array(array.into_iter().map(Node::from).collect()),
            toml::Value::Table(table) => {
                let entry = |(key, value)| Entry { key, key_span: None, node: Node::from(value) };
                Value::Table(table.into_iter().map(entry).collect())
            }
        };
        Node { value, span: None, outside: false }
    }
}
