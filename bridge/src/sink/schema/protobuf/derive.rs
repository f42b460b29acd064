//! A message out of columns, as a `.proto` file in proto3. A field has its number for good: columns
//! get theirs in the order in which they are met, and after a restart from the registry.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::super::legal;
use super::load;
use crate::shape::ColumnType;

/// Numbers that are not for fields (protobuf.dev, "Assigning Field Numbers").
const RESERVED: std::ops::RangeInclusive<u32> = 19_000..=19_999;
/// The import of timestamps.
const TIMESTAMP: &str = "google.protobuf.Timestamp";

/// A message, to be added to.
#[derive(Clone, PartialEq, Debug)]
pub struct Document {
    package: String,
    name: String,
    fields: Vec<Field>,
}

/// A field: `optional string sensor = 2;`
#[derive(Clone, PartialEq, Debug)]
struct Field {
    label: &'static str,
    of: &'static str,
    name: String,
    number: u32,
}

impl Document {
    /// A message without fields. `name` may have a package.
    pub fn new(name: &str) -> Document {
        let (package, name) = name.rsplit_once('.').unwrap_or(("", name));
        Document { package: package.to_owned(), name: name.to_owned(), fields: Vec::new() }
    }

    /// A schema that is there: one message, and of it nothing that columns do not become. What
    /// else stands in a file would be lost.
    pub fn read(text: &str) -> Result<Document, String> {
        let message = load::message(text, None)?;
        let file = message.parent_file();
        let alone = file.messages().len() == 1
            && file.enums().len() == 0
            && file.services().len() == 0
            && message.child_messages().len() == 0
            && message.child_enums().len() == 0
            && message.reserved_ranges().len() == 0
            && message.reserved_names().len() == 0
            && file.syntax() == prost_reflect::Syntax::Proto3;
        if !alone {
            return Err("it has more than one message of plain fields in proto3".to_owned());
        }
        let mut fields = Vec::new();
        for field in message.fields() {
            fields.push(field_of(&message, &field)?);
        }
        fields.sort_by_key(|field| field.number);
        let (package, name) = (file.package_name().to_owned(), message.name().to_owned());
        Ok(Document { package, name, fields })
    }

    /// Adds a column as a field.
    pub fn add(&mut self, column: &str, kind: ColumnType, is_always_there: bool) {
        let last = self.fields.iter().map(|field| field.number).max().unwrap_or(0);
        let number = if RESERVED.contains(&(last + 1)) { RESERVED.end() + 1 } else { last + 1 };
        let of = type_of(kind);
        let label = match (kind, of) {
            (ColumnType::Array(1), _) => "repeated ",
            (_, TIMESTAMP) => "",
            _ if is_always_there => "",
            _ => "optional ",
        };
        self.fields.push(Field { label, of, name: legal(column), number });
    }

    /// As it is registered.
    pub fn text(&self) -> String {
        let mut text = "syntax = \"proto3\";\n".to_owned();
        if !self.package.is_empty() {
            text.push_str(&format!("package {};\n", self.package));
        }
        text.push('\n');
        if self.fields.iter().any(|field| field.of == TIMESTAMP) {
            text.push_str("import \"google/protobuf/timestamp.proto\";\n\n");
        }
        text.push_str(&format!("message {} {{\n", self.name));
        for Field { label, of, name, number } in &self.fields {
            text.push_str(&format!("  {label}{of} {name} = {number};\n"));
        }
        text.push_str("}\n");
        text
    }
}

/// A field of a message that is there, if it is one that a column becomes.
fn field_of(message: &MessageDescriptor, field: &FieldDescriptor) -> Result<Field, String> {
    let wrong = || {
        let (message, field) = (message.full_name(), field.name());
        Err(format!("field `{field}` of {message} is none that a column becomes"))
    };
    let of = match field.kind() {
        Kind::Double => "double",
        Kind::Float => "float",
        Kind::Int32 => "int32",
        Kind::Int64 => "int64",
        Kind::Bool => "bool",
        Kind::String => "string",
        Kind::Bytes => "bytes",
        Kind::Message(of) if of.full_name() == TIMESTAMP => TIMESTAMP,
        _ => return wrong(),
    };
    if field.containing_oneof().is_some_and(|oneof| !oneof.is_synthetic()) || field.is_map() {
        return wrong();
    }
    let label = match (field.is_list(), field.supports_presence() && of != TIMESTAMP) {
        (true, _) => "repeated ",
        (false, true) => "optional ",
        (false, false) => "",
    };
    Ok(Field { label, of, name: field.name().to_owned(), number: field.number() })
}

/// The type that a column becomes.
fn type_of(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Boolean => "bool",
        ColumnType::Byte | ColumnType::Short | ColumnType::Int => "int32",
        ColumnType::Long => "int64",
        ColumnType::Float => "float",
        ColumnType::Double | ColumnType::Array(1) => "double",
        ColumnType::Date | ColumnType::Timestamp | ColumnType::TimestampNs => TIMESTAMP,
        ColumnType::Binary => "bytes",
        // Decimals and arrays of more dimensions in digits.
        _ => "string",
    }
}
