//! Rows as values with a schema: Avro, Protocol Buffers, or JSON under a JSON Schema. The schema is
//! given, looked up in a registry, or made of the columns; one that is made grows by columns that
//! nobody has met, and each time it does it is registered before a row is written with it.
//!
//! ```text
//! rows ──encode──▶ Row ──Plan──▶ id, value ──▶ payload
//!                         ▲ once for each schema
//!         columns ──▶ Subjects ──▶ registry
//! ```
//!
//! A lane may wait here for a registry that is away, once for each schema. What does not fit its
//! field is a rejected record; what cannot be registered stops the pipeline, and loses nothing.

mod avro;
mod encode;
mod json;
mod keys;
mod options;
mod places;
mod protobuf;
mod row;
mod subjects;
mod target;
mod value;

pub use encode::Encoders;
pub use keys::Keys;
pub use options::{Framing, KEYS, Part, Said, SchemaPlan, SubjectName, VersionWord};
pub use subjects::Subjects;

use self::places::Places;
use self::row::{Row, Unfit};
use self::value::Scratch;
use crate::shape::ColumnType;
use crate::sink::text::Timestamps;

/// What values are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Avro's binary encoding.
    Avro,
    /// Messages of Protocol Buffers.
    Protobuf,
    /// JSON under a JSON Schema.
    Json,
}

impl Format {
    /// As the registry calls it.
    pub fn kind(self) -> &'static str {
        match self {
            Format::Avro => "AVRO",
            Format::Protobuf => "PROTOBUF",
            Format::Json => "JSON",
        }
    }

    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Format::Avro => "Avro",
            Format::Protobuf => "a Protocol Buffers message",
            Format::Json => "a JSON object under a JSON Schema",
        }
    }

    /// Compiles a schema: of a record, or of the only column of a key.
    fn compile(
        self,
        text: &str,
        message: Option<&str>,
        separator: &str,
        lone: Option<&str>,
    ) -> Result<Compiled, String> {
        let (plan, places) = match self {
            Format::Avro => {
                let (plan, places) = avro::Plan::compile(text, separator, lone)?;
                (Plan::Avro(plan), places)
            }
            Format::Protobuf => {
                let (plan, places) = protobuf::Plan::compile(text, message, separator)?;
                (Plan::Protobuf(plan), places)
            }
            Format::Json => {
                let (plan, places) = json::Plan::compile(text, lone)?;
                (Plan::Json(plan), places)
            }
        };
        Ok(Compiled { plan, places })
    }

    /// The field that a column becomes where no field bears its own name.
    fn field_of(self, column: &str) -> String {
        match self {
            Format::Json => column.to_owned(),
            Format::Avro | Format::Protobuf => legal(column),
        }
    }
}

/// A schema that rows are written with.
#[derive(Debug)]
struct Compiled {
    plan: Plan,
    places: Places,
}

impl Compiled {
    /// The place of a column.
    fn place(&self, format: Format, column: &str) -> Option<u32> {
        self.places.find(column).or_else(|| self.places.find(&format.field_of(column)))
    }

    /// Whether it has a column.
    fn has(&self, format: Format, column: &str) -> bool {
        self.place(format, column).is_some()
    }
}

/// The same for one format.
#[derive(Debug)]
enum Plan {
    Avro(avro::Plan),
    Protobuf(protobuf::Plan),
    Json(json::Plan),
}

impl Plan {
    /// Appends a row's value.
    #[inline]
    fn write(&self, row: &Row<'_>, scratch: &mut Scratch, out: &mut Vec<u8>) -> Result<(), Unfit> {
        match self {
            Plan::Avro(plan) => plan.write(row, scratch, out),
            Plan::Protobuf(plan) => plan.write(row, scratch, out),
            Plan::Json(plan) => plan.write(row, scratch.timestamps, out),
        }
    }

    /// What stands between a schema's id and a value.
    fn indexes(&self) -> &[u8] {
        match self {
            Plan::Protobuf(plan) => &plan.indexes,
            Plan::Avro(_) | Plan::Json(_) => &[],
        }
    }

    /// The record's name, where the schema has one.
    fn name(&self) -> Option<&str> {
        match self {
            Plan::Avro(plan) => plan.name.as_deref(),
            Plan::Protobuf(plan) => Some(&plan.name),
            Plan::Json(_) => None,
        }
    }
}

/// A schema that is made of columns.
#[derive(Clone, PartialEq, Debug)]
enum Document {
    Avro(avro::derive::Document),
    Protobuf(protobuf::derive::Document),
    Json(json::Document),
}

impl Document {
    /// Without columns.
    fn new(format: Format, name: &str) -> Document {
        match format {
            Format::Avro => Document::Avro(avro::derive::Document::new(name)),
            Format::Protobuf => Document::Protobuf(protobuf::derive::Document::new(name)),
            Format::Json => Document::Json(json::Document::new(name)),
        }
    }

    /// Of one column, which is added: no record is around it.
    fn lone(format: Format) -> Document {
        match format {
            Format::Avro => Document::Avro(avro::derive::Document::lone()),
            Format::Json => Document::Json(json::Document::lone()),
            Format::Protobuf => unreachable!("what Protocol Buffers write is a message"),
        }
    }

    /// One that is there, to be added to; or why it cannot be.
    fn read(format: Format, text: &str) -> Result<Document, String> {
        Ok(match format {
            Format::Avro => Document::Avro(avro::derive::Document::read(text)?),
            Format::Protobuf => Document::Protobuf(protobuf::derive::Document::read(text)?),
            Format::Json => Document::Json(json::Document::read(text)?),
        })
    }

    /// Adds a column.
    fn add(&mut self, column: &Column, timestamps: Timestamps) {
        let Column { name, kind, is_always_there } = column;
        match self {
            Document::Avro(document) => document.add(name, *kind, *is_always_there),
            Document::Protobuf(document) => document.add(name, *kind, *is_always_there),
            Document::Json(document) => document.add(name, *kind, *is_always_there, timestamps),
        }
    }

    /// As it is registered.
    fn text(&self) -> String {
        match self {
            Document::Avro(document) => document.text(),
            Document::Protobuf(document) => document.text(),
            Document::Json(document) => document.text(),
        }
    }
}

/// A column that a schema is to have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, declared or of its first value.
    pub kind: ColumnType,
    /// Whether each row has it.
    pub is_always_there: bool,
}

/// A name as Avro and protobuf have them: letters, digits and `_`, no digit first. What is none of
/// these becomes `_`.
fn legal(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    let mut legal: String = name.chars().map(plain).collect();
    if legal.chars().next().is_none_or(|first| first.is_ascii_digit()) {
        legal.insert(0, '_');
    }
    legal
}

#[cfg(test)]
mod tests;
