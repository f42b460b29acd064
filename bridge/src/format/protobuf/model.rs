//! A schema's types as records are read with them: which message is one that Protobuf knows by
//! heart, what an absent field is, and in which order what was gathered is told. Made once for
//! each schema, by both who reads it: `plan` for columns that the schema names, and `gather` for
//! all else.

use std::collections::HashMap;
use std::ops::Range;

use super::wire::Value;
use crate::schemas::proto::{self, Label, Of, Scalar, Types};

/// What a message means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// Its fields.
    Plain,
    /// It has none: that it is there is all.
    Empty,
    Timestamp,
    Duration,
    /// One scalar that may be absent.
    Wrapper,
    Struct,
    Value,
    List,
    Any,
    Mask,
    /// `confluent.type.Decimal`.
    Decimal,
    /// `google.type.Date`.
    Date,
}

/// The types of a schema.
#[derive(Debug)]
pub struct Model {
    pub messages: Vec<Message>,
    pub enums: Vec<Enum>,
    /// Names of enums' values and defaults, one behind the other.
    pub constants: Vec<u8>,
    /// Places of messages by their full names, for what says its type itself.
    pub names: HashMap<Box<str>, usize, foldhash::fast::FixedState>,
    pub say: Say,
}

/// What the configuration says of values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Say {
    /// Absent fields without presence have their defaults.
    pub defaults: bool,
    /// Enums are numbers, and not names.
    pub enum_numbers: bool,
    /// Durations are text, and not nanoseconds.
    pub duration_text: bool,
}

#[derive(Debug)]
pub struct Message {
    pub form: Form,
    /// In the order of the text.
    pub fields: Vec<Field>,
    /// Places of fields by their numbers.
    numbers: Vec<(u32, u16)>,
    /// Fields that are told even where they are absent.
    pub defaulted: Vec<u16>,
}

#[derive(Debug)]
pub struct Field {
    pub name: Box<str>,
    pub number: u32,
    pub of: Of,
    pub rule: Rule,
    /// Where it stands among the others; members of a `oneof` stand where its first one does.
    pub order: u16,
    /// A member of this `oneof`, counted from 1; 0 is none.
    pub oneof: u16,
    /// What it is where it is absent; `None`: nothing.
    pub default: Option<Absent>,
}

/// How often a field is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    Single,
    Repeated,
    Map,
}

/// What an absent field is.
#[derive(Clone, PartialEq, Debug)]
pub enum Absent {
    Bool(bool),
    I64(i64),
    U64(u64),
    F32(f32),
    F64(f64),
    /// Among the constants.
    Text(Range<u32>),
    Bytes(Range<u32>),
    Enum(i32),
    /// A list or map without entries.
    None,
}

/// The values of an enum, by number; the names are among the constants.
#[derive(Debug)]
pub struct Enum {
    values: Vec<(i32, Range<u32>)>,
    /// The numbers are 0, 1, 2, …
    dense: bool,
    pub default: i32,
}

impl Enum {
    /// Where the name of a number is.
    #[inline]
    pub fn name(&self, number: i32) -> Option<Range<u32>> {
        if self.dense {
            let at = usize::try_from(number).ok()?;
            return self.values.get(at).map(|(_, name)| name.clone());
        }
        let at = self.values.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(self.values[at].1.clone())
    }
}

impl Message {
    /// The place of the field with a number.
    #[inline]
    pub fn field(&self, number: u32) -> Option<u16> {
        let at = self.numbers.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(self.numbers[at].1)
    }
}

impl Model {
    /// The types as they are read.
    pub fn new(types: &Types, say: Say) -> Model {
        let (mut constants, mut enums) = (Vec::new(), Vec::new());
        for known in &types.enums {
            let mut value = |(number, name): &(i32, Box<str>)| {
                (*number, appended(&mut constants, name.as_bytes()))
            };
            let values: Vec<_> = known.values.iter().map(&mut value).collect();
            let dense = values.iter().zip(0..).all(|((number, _), at)| *number == at);
            enums.push(Enum { values, dense, default: known.default });
        }
        let mut model =
            Model { messages: Vec::new(), enums, constants, names: HashMap::default(), say };
        for (at, message) in types.messages.iter().enumerate() {
            let read = model.message(types, message);
            model.names.insert(message.name.clone(), at);
            model.messages.push(read);
        }
        model
    }

    fn message(&mut self, types: &Types, message: &proto::Message) -> Message {
        // By a `oneof`: where its first member stands, and its number among those with members.
        let mut oneofs = HashMap::new();
        let mut fields = Vec::with_capacity(message.fields.len());
        // At most as many fields as a schema has: they fit their number.
        for (at, field) in message.fields.iter().enumerate() {
            let at = at as u16;
            let next = oneofs.len() as u16 + 1;
            let (order, oneof) =
                field.oneof.map_or((at, 0), |oneof| *oneofs.entry(oneof).or_insert((at, next)));
            let rule = match (field.label, field.of) {
                (Label::Repeated, Of::Message(entry)) if types.messages[entry].is_entry => {
                    Rule::Map
                }
                (Label::Repeated, _) => Rule::Repeated,
                _ => Rule::Single,
            };
            fields.push(Field {
                name: field.name.clone(),
                number: field.number,
                of: field.of,
                rule,
                order,
                oneof,
                default: self.absent(types, field).filter(|_| self.say.defaults),
            });
        }
        let number = |(at, field): (usize, &Field)| (field.number, at as u16);
        let mut numbers: Vec<_> = fields.iter().enumerate().map(number).collect();
        numbers.sort_unstable();
        let told = |(at, field): (usize, &Field)| field.default.as_ref().map(|_| at as u16);
        let defaulted = fields.iter().enumerate().filter_map(told).collect();
        let form = form(types, message);
        Message { form, fields, numbers, defaulted }
    }

    /// What a field is where it is absent.
    fn absent(&mut self, types: &Types, field: &proto::Field) -> Option<Absent> {
        if field.label == Label::Repeated {
            return Some(Absent::None);
        }
        if field.oneof.is_some() || (field.label != Label::Implicit && field.default.is_none()) {
            return None;
        }
        let said = field.default.as_deref();
        match field.of {
            Of::Scalar(scalar) => Some(self.absent_scalar(scalar, said)),
            Of::Enum(at) => {
                let known = &types.enums[at];
                let named = said.and_then(|name| {
                    let named = known.values.iter().find(|(_, known)| &**known == name);
                    named.map(|(number, _)| *number)
                });
                Some(Absent::Enum(named.unwrap_or(known.default)))
            }
            Of::Message(_) | Of::Group(_) => None,
        }
    }

    /// The default of a type; or what the text says, if it is one.
    fn absent_scalar(&mut self, scalar: Scalar, said: Option<&str>) -> Absent {
        let said = said.unwrap_or_default();
        match scalar {
            Scalar::Double => Absent::F64(said.parse().unwrap_or(0.0)),
            Scalar::Float => Absent::F32(said.parse().unwrap_or(0.0)),
            Scalar::Uint64 | Scalar::Fixed64 => Absent::U64(said.parse().unwrap_or(0)),
            Scalar::Bool => Absent::Bool(said == "true"),
            Scalar::String => Absent::Text(appended(&mut self.constants, said.as_bytes())),
            Scalar::Bytes => Absent::Bytes(appended(&mut self.constants, &unescaped(said))),
            _ => Absent::I64(said.parse().unwrap_or(0)),
        }
    }

    /// The value of a map's entry that does not say it, or of a wrapper.
    pub fn empty(&self, scalar: Scalar) -> Value<'static> {
        match scalar {
            Scalar::Double => Value::F64(0.0),
            Scalar::Float => Value::F32(0.0),
            Scalar::Bool => Value::Bool(false),
            Scalar::String => Value::Text(""),
            Scalar::Bytes => Value::Bytes(&[]),
            _ => Value::I64(0),
        }
    }

    /// A piece of the constants.
    pub fn constant(&self, range: &Range<u32>) -> &[u8] {
        &self.constants[range.start as usize..range.end as usize]
    }

    /// The same as text; what is put there as text is.
    pub fn text(&self, range: &Range<u32>) -> &str {
        std::str::from_utf8(self.constant(range)).unwrap_or_default()
    }
}

/// A message that all know is told by its name, and by its fields: somebody may have written
/// another one.
fn form(types: &Types, message: &proto::Message) -> Form {
    let is = |expected: &[(u32, Of)]| {
        message.fields.len() == expected.len()
            && expected.iter().all(|(number, of)| {
                let single = |field: &proto::Field| field.label != Label::Repeated;
                let same = |field: &proto::Field| field.number == *number && field.of == *of;
                message.fields.iter().any(|field| same(field) && single(field))
            })
    };
    let (int64, int32) = (Of::Scalar(Scalar::Int64), Of::Scalar(Scalar::Int32));
    let (text, bytes) = (Of::Scalar(Scalar::String), Of::Scalar(Scalar::Bytes));
    let uint32 = Of::Scalar(Scalar::Uint32);
    match &*message.name {
        "google.protobuf.Timestamp" if is(&[(1, int64), (2, int32)]) => Form::Timestamp,
        "google.protobuf.Duration" if is(&[(1, int64), (2, int32)]) => Form::Duration,
        "google.protobuf.Any" if is(&[(1, text), (2, bytes)]) => Form::Any,
        "google.type.Date" if is(&[(1, int32), (2, int32), (3, int32)]) => Form::Date,
        "confluent.type.Decimal" if is(&[(1, bytes), (2, uint32), (3, int32)]) => Form::Decimal,
        "google.protobuf.FieldMask" if is_list(message, 1, |of| of == text) => Form::Mask,
        "google.protobuf.ListValue" if is_list(message, 1, |of| is_named(types, of, "Value")) => {
            Form::List
        }
        "google.protobuf.Struct" if is_list(message, 1, |of| is_struct_entry(types, of)) => {
            Form::Struct
        }
        "google.protobuf.Value" if is_value(types, message) => Form::Value,
        name if name.starts_with("google.protobuf.") && name.ends_with("Value") => {
            match &message.fields[..] {
                [field] if field.number == 1 && field.label == Label::Implicit => {
                    if matches!(field.of, Of::Scalar(_)) { Form::Wrapper } else { Form::Plain }
                }
                _ => Form::Plain,
            }
        }
        _ if message.fields.is_empty() => Form::Empty,
        _ => Form::Plain,
    }
}

fn is_list(message: &proto::Message, number: u32, item: impl Fn(Of) -> bool) -> bool {
    match &message.fields[..] {
        [field] => field.number == number && field.label == Label::Repeated && item(field.of),
        _ => false,
    }
}

fn is_named(types: &Types, of: Of, name: &str) -> bool {
    let Of::Message(at) = of else { return false };
    types.messages[at].name.strip_prefix("google.protobuf.") == Some(name)
}

/// A map from names to values.
fn is_struct_entry(types: &Types, of: Of) -> bool {
    let Of::Message(at) = of else { return false };
    let entry = &types.messages[at];
    let [key, value] = &entry.fields[..] else { return false };
    let is_entry = entry.is_entry && key.of == Of::Scalar(Scalar::String);
    is_entry && is_named(types, value.of, "Value")
}

fn is_value(types: &Types, message: &proto::Message) -> bool {
    let [null, number, text, flag, object, list] = &message.fields[..] else { return false };
    let numbered = message.fields.iter().zip(1..).all(|(field, number)| {
        field.number == number && field.oneof == Some(0) && field.label != Label::Repeated
    });
    numbered
        && matches!(null.of, Of::Enum(_))
        && number.of == Of::Scalar(Scalar::Double)
        && text.of == Of::Scalar(Scalar::String)
        && flag.of == Of::Scalar(Scalar::Bool)
        && is_named(types, object.of, "Struct")
        && is_named(types, list.of, "ListValue")
}

fn appended(constants: &mut Vec<u8>, bytes: &[u8]) -> Range<u32> {
    let at = constants.len() as u32;
    constants.extend_from_slice(bytes);
    at..constants.len() as u32
}

/// Bytes as a descriptor writes them in text: `\001`, `\xff`, `\n`.
fn unescaped(text: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'\\' {
            out.push(*first);
            continue;
        }
        let digits = |radix: u32, most: usize, from: &[u8]| {
            let is_digit = |byte: &&u8| char::from(**byte).is_digit(radix);
            let count = from.iter().take(most).take_while(is_digit).count();
            let value = std::str::from_utf8(&from[..count]).unwrap_or_default();
            (u32::from_str_radix(value, radix).unwrap_or(0) as u8, count)
        };
        let (byte, count) = match after {
            [b'0'..=b'7', ..] => digits(8, 3, after),
            [b'x' | b'X', digit @ ..] => {
                let (byte, count) = digits(16, 2, digit);
                (byte, count + 1)
            }
            [letter, ..] => {
                let plain = match letter {
                    b'a' => 7,
                    b'b' => 8,
                    b't' => b'\t',
                    b'n' => b'\n',
                    b'v' => 11,
                    b'f' => 12,
                    b'r' => b'\r',
                    other => *other,
                };
                (plain, 1)
            }
            [] => (b'\\', 0),
        };
        out.push(byte);
        rest = &after[count..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_out_of_their_text() {
        assert_eq!(unescaped(r"a\001\xfF\n\\\'\377"), b"a\x01\xff\n\\'\xff");
        assert_eq!(unescaped("\\"), b"\\");
        assert_eq!(unescaped(r"\x"), b"\0");
    }
}
