//! From the tree to typed options, by serde, with the place of every mistake. Unknown keys are
//! noted and stepped over, so that one reading finds all of them.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::mistake::Mistake;
use super::node::{Entry, Node, REFERENCE, Value};
use super::suggest::instead_of;

/// Reads a node as `T`; `path` is where it is, for messages.
pub fn read<T: DeserializeOwned>(node: &Node, path: &str) -> Result<T, Mistake> {
    let found = RefCell::new(Vec::new());
    let result = T::deserialize(Reader { node, path: path.to_owned(), found: &found });
    let mut found = found.into_inner();
    match result {
        Ok(options) if found.is_empty() => Ok(options),
        Ok(_) => {
            let mut first = found.remove(0);
            first.also = found;
            Err(first)
        }
        Err(error) => {
            let mut mistake = error.into_mistake(path, node.span.clone());
            mistake.also = found;
            Err(mistake)
        }
    }
}

/// What went wrong, before and after its place is known.
#[derive(Debug)]
pub struct ReadError {
    what: What,
    place: Option<(String, Option<Range<usize>>)>,
}

#[derive(Debug)]
enum What {
    Said(String),
    Type { found: String, expected: String },
    Unknown { word: String, expected: &'static [&'static str], key: bool },
    Missing(&'static str),
}

impl ReadError {
    fn of(what: What) -> ReadError {
        ReadError { what, place: None }
    }

    /// Gives it a place, unless one further in is known.
    fn at(mut self, path: &str, node: &Node) -> ReadError {
        if self.place.is_none() {
            match &mut self.what {
                What::Type { found, .. } if node.outside => REFERENCE.clone_into(found),
                What::Unknown { word, .. } if node.outside => REFERENCE.clone_into(word),
                What::Said(said) => *said = node.masked(said),
                _ => {}
            }
            self.place = Some((path.to_owned(), node.span.clone()));
        }
        self
    }

    fn into_mistake(self, path: &str, span: Option<Range<usize>>) -> Mistake {
        let (path, span) = self.place.unwrap_or((path.to_owned(), span));
        let (message, help) = match self.what {
            What::Said(message) => (message, None),
            What::Type { found, expected } => {
                (format!("{} must be {expected}, not {found}", subject(&path)), None)
            }
            What::Unknown { word, expected, key: true } => {
                (unknown_key(&word, &path), instead_of(&word, expected))
            }
            What::Unknown { word, expected, key: false } => {
                (format!("unknown word `{word}` in {path}"), instead_of(&word, expected))
            }
            What::Missing(key) => (format!("{} needs `{key}`", subject(&path)), None),
        };
        Mistake { path, span, message, help, also: Vec::new() }
    }
}

fn subject(path: &str) -> &str {
    if path.is_empty() { "the file" } else { path }
}

fn unknown_key(key: &str, path: &str) -> String {
    match path {
        "" => format!("unknown key `{key}`"),
        _ => format!("unknown key `{key}` in {path}"),
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Said(message) => f.write_str(message),
            What::Type { found, expected } => write!(f, "expected {expected}, found {found}"),
            What::Unknown { word, .. } => write!(f, "unknown word `{word}`"),
            What::Missing(key) => write!(f, "missing `{key}`"),
        }
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> ReadError {
        ReadError::of(What::Said(message.to_string()))
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> ReadError {
        let expected = in_words(expected.to_string());
        ReadError::of(What::Type { found: found_in_words(unexpected), expected })
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> ReadError {
        ReadError::invalid_type(unexpected, expected)
    }

    fn unknown_variant(word: &str, expected: &'static [&'static str]) -> ReadError {
        ReadError::of(What::Unknown { word: word.to_owned(), expected, key: false })
    }

    fn unknown_field(word: &str, expected: &'static [&'static str]) -> ReadError {
        ReadError::of(What::Unknown { word: word.to_owned(), expected, key: true })
    }

    fn missing_field(key: &'static str) -> ReadError {
        ReadError::of(What::Missing(key))
    }
}

/// serde speaks of Rust's types; people write TOML.
fn in_words(expected: String) -> String {
    match expected.as_str() {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, not negative".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "an array".to_owned(),
        "a map" => "a table".to_owned(),
        "string or map" => "text".to_owned(),
        other if other.starts_with("struct ") => "a table".to_owned(),
        other if other.starts_with("enum ") => "one word".to_owned(),
        _ => expected.replace("a string", "text"),
    }
}

fn found_in_words(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => format!("{value}"),
        Unexpected::Unsigned(value) => format!("{value}"),
        Unexpected::Signed(value) => format!("{value}"),
        Unexpected::Float(value) => format!("{value}"),
        Unexpected::Str(text) => format!("the text \"{text}\""),
        Unexpected::Seq => "an array".to_owned(),
        Unexpected::Map => "a table".to_owned(),
        other => other.to_string(),
    }
}

#[derive(Clone)]
struct Reader<'a> {
    node: &'a Node,
    path: String,
    found: &'a RefCell<Vec<Mistake>>,
}

impl<'a> Reader<'a> {
    fn below(&self, name: &str, node: &'a Node) -> Reader<'a> {
        let path = match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        Reader { node, path, found: self.found }
    }

    fn entries<'de, V: Visitor<'de>>(
        self,
        entries: &'a [Entry],
        fields: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let known = |entry: &&Entry| fields.is_none_or(|f| f.contains(&entry.key.as_str()));
        for entry in entries.iter().filter(|entry| !known(entry)) {
            let message = unknown_key(&entry.key, &self.path);
            let mut mistake = Mistake::new(self.path.clone(), entry.key_span.clone(), message);
            mistake.help = instead_of(&entry.key, fields.unwrap_or_default());
            self.found.borrow_mut().push(mistake);
        }
        let left: Vec<&Entry> = entries.iter().filter(known).collect();
        let (path, node) = (self.path.clone(), self.node);
        visitor
            .visit_map(Entries { reader: self, left: left.into_iter(), current: None })
            .map_err(|error| error.at(&path, node))
    }

    /// Text from outside may stand for a number or a boolean.
    fn plain<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let (Value::String(text), true) = (&self.node.value, self.node.outside) else {
            return self.deserialize_any(visitor);
        };
        let text = text.trim();
        let result = if let Ok(integer) = text.parse() {
            visitor.visit_i64(integer)
        } else if let Ok(boolean) = text.parse() {
            visitor.visit_bool(boolean)
        } else if let Ok(float) = text.parse() {
            visitor.visit_f64(float)
        } else {
            visitor.visit_str(text)
        };
        result.map_err(|error: ReadError| error.at(&self.path, self.node))
    }
}

macro_rules! plain {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            self.plain(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let (path, node) = (self.path.clone(), self.node);
        let result = match &node.value {
            Value::String(text) | Value::Datetime(text) => visitor.visit_str(text),
            Value::Integer(integer) => visitor.visit_i64(*integer),
            Value::Float(float) => visitor.visit_f64(*float),
            Value::Boolean(boolean) => visitor.visit_bool(*boolean),
            Value::Array(elements) => {
                visitor.visit_seq(Elements { reader: self, left: elements.iter().enumerate() })
            }
            Value::Table(entries) => return self.entries(entries, None, visitor),
        };
        result.map_err(|error: ReadError| error.at(&path, node))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Table(entries) => self.entries(entries, Some(fields), visitor),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let (path, node) = (self.path.clone(), self.node);
        let result = match &node.value {
            Value::String(text) => {
                let word: StrDeserializer<'_, ReadError> = text.as_str().into_deserializer();
                visitor.visit_enum(word)
            }
            Value::Table(entries) if entries.len() == 1 => {
                visitor.visit_enum(Variant { reader: self, entry: &entries[0] })
            }
            _ => return self.deserialize_any(visitor),
        };
        result.map_err(|error: ReadError| error.at(&path, node))
    }

    plain! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_f32 deserialize_f64
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map
        identifier ignored_any
    }
}

struct Entries<'a> {
    reader: Reader<'a>,
    left: std::vec::IntoIter<&'a Entry>,
    current: Option<&'a Entry>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        let Some(entry) = self.left.next() else { return Ok(None) };
        self.current = Some(entry);
        let key: StrDeserializer<'_, ReadError> = entry.key.as_str().into_deserializer();
        let place = || Some((self.reader.path.clone(), entry.key_span.clone()));
        seed.deserialize(key)
            .map(Some)
            .map_err(|error| ReadError { place: error.place.or_else(place), ..error })
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let entry = self.current.take().expect("serde asks for the key first");
        let reader = self.reader.below(&entry.key, &entry.node);
        let path = reader.path.clone();
        seed.deserialize(reader).map_err(|error| error.at(&path, &entry.node))
    }
}

struct Elements<'a> {
    reader: Reader<'a>,
    left: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        let Some((index, node)) = self.left.next() else { return Ok(None) };
        let reader = self.reader.below(&index.to_string(), node);
        let path = reader.path.clone();
        seed.deserialize(reader).map(Some).map_err(|error| error.at(&path, node))
    }
}

/// `{ variant = value }`.
struct Variant<'a> {
    reader: Reader<'a>,
    entry: &'a Entry,
}

impl<'de, 'a> EnumAccess<'de> for Variant<'a> {
    type Error = ReadError;
    type Variant = Reader<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Reader<'a>), ReadError> {
        let key: StrDeserializer<'_, ReadError> = self.entry.key.as_str().into_deserializer();
        let variant = seed.deserialize(key)?;
        Ok((variant, self.reader.below(&self.entry.key, &self.entry.node)))
    }
}

impl<'de> VariantAccess<'de> for Reader<'_> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadError> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_struct("", fields, visitor)
    }
}
