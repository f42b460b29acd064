//! One value in one column: text, bytes, and the simple types as Kafka's own serializers write them
//! (`org.apache.kafka.common.serialization`), or as text. Keys and values alike.
//!
//! | type | `written = "binary"` | written by |
//! |---|---|---|
//! | `i16` `i32` `i64` | 2, 4, 8 bytes, two's complement, big-endian | `Short`-, `Integer`-, `LongSerializer` |
//! | `f32` `f64` | 4, 8 bytes, IEEE 754, big-endian | `Float`-, `DoubleSerializer` |
//! | `bool` | one byte, 1 or 0 | `BooleanSerializer` |
//! | `uuid` | 16 bytes as in RFC 9562 | nobody: `UUIDSerializer` writes text |

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bridge_abi::{Cell, Kind as CellKind};
use schemars::JsonSchema;
use serde::Deserialize;

use super::walk::{Out, ReadValue, Stopped, Walker};
use super::{DecoderContext, Format, FormatPlan};
use crate::batch::RowBatch;
use crate::config::{Mistake, Section};
use crate::kind::{Kind, options};
use crate::reject::Reason;

/// What is in the one column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Single {
    /// UTF-8 text.
    String,
    /// Any bytes: UTF-8 as it is, else base64.
    Raw,
    /// A value of a simple type, in this form.
    Simple(Simple, Written),
}

/// A simple type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Simple {
    /// A whole number of 16 bits.
    I16,
    /// Of 32 bits.
    I32,
    /// Of 64 bits.
    I64,
    /// A float of 32 bits.
    F32,
    /// Of 64 bits.
    F64,
    /// True or false.
    Bool,
    /// 128 bits.
    Uuid,
}

/// How a value of a simple type is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Written {
    /// As Kafka's serializers write it, big-endian.
    Binary,
    /// As text.
    Text,
}

impl Simple {
    /// How Kafka's own serializer writes it.
    pub fn usually_written(self) -> Written {
        if self == Simple::Uuid { Written::Text } else { Written::Binary }
    }

    /// Its name in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Simple::I16 => "i16",
            Simple::I32 => "i32",
            Simple::I64 => "i64",
            Simple::F32 => "f32",
            Simple::F64 => "f64",
            Simple::Bool => "bool",
            Simple::Uuid => "uuid",
        }
    }

    /// From bytes; `None` if they are not as many as they must be, or no such value.
    fn binary(self, bytes: &[u8]) -> Option<Read> {
        Some(match self {
            Simple::I16 => Read::I64(i16::from_be_bytes(bytes.try_into().ok()?).into()),
            Simple::I32 => Read::I64(i32::from_be_bytes(bytes.try_into().ok()?).into()),
            Simple::I64 => Read::I64(i64::from_be_bytes(bytes.try_into().ok()?)),
            Simple::F32 => Read::F64(f32::from_be_bytes(bytes.try_into().ok()?).into()),
            Simple::F64 => Read::F64(f64::from_be_bytes(bytes.try_into().ok()?)),
            Simple::Bool => match bytes {
                [0] => Read::Bool(false),
                [1] => Read::Bool(true),
                _ => return None,
            },
            Simple::Uuid => Read::Uuid(uuid_text(*<&[u8; 16]>::try_from(bytes).ok()?)),
        })
    }

    /// From text, without blanks around it.
    fn text(self, bytes: &[u8]) -> Option<Read> {
        let text = std::str::from_utf8(bytes).ok()?;
        Some(match self {
            Simple::I16 => Read::I64(text.parse::<i16>().ok()?.into()),
            Simple::I32 => Read::I64(text.parse::<i32>().ok()?.into()),
            Simple::I64 => Read::I64(text.parse().ok()?),
            Simple::F32 => Read::F64(text.parse::<f32>().ok()?.into()),
            Simple::F64 => Read::F64(text.parse().ok()?),
            Simple::Bool => match text {
                "true" => Read::Bool(true),
                "false" => Read::Bool(false),
                _ => return None,
            },
            Simple::Uuid => {
                let mut uuid: [u8; 36] = bytes.try_into().ok()?;
                let fits = |(at, byte): (usize, &u8)| match at {
                    8 | 13 | 18 | 23 => *byte == b'-',
                    _ => byte.is_ascii_hexdigit(),
                };
                if !uuid.iter().enumerate().all(fits) {
                    return None;
                }
                uuid.make_ascii_lowercase();
                Read::Uuid(uuid)
            }
        })
    }

    /// Appends the cell of these bytes, as [`Single::append`] does.
    fn append(
        self,
        written: Written,
        bytes: &[u8],
        column: u16,
        rows: &mut RowBatch,
    ) -> Result<(), (Reason, String)> {
        let read = match written {
            Written::Binary => self.binary(bytes),
            Written::Text => self.text(bytes),
        };
        let plain =
            |kind: CellKind, value: u64| Cell { column, kind: kind as u8, flags: 0, len: 0, value };
        let cell = match read {
            Some(Read::I64(value)) => plain(CellKind::I64, value as u64),
            Some(Read::F64(value)) => plain(CellKind::F64, value.to_bits()),
            Some(Read::Bool(value)) => plain(CellKind::Bool, u64::from(value)),
            Some(Read::Uuid(text)) => rows.cell_bytes(column, CellKind::Text, 0, &text),
            None => return Err((Reason::Malformed, misread(self, written, bytes))),
        };
        rows.cells.push(cell);
        Ok(())
    }

    /// What the bytes should be, for a message.
    fn expected(self, written: Written) -> &'static str {
        match (self, written) {
            (Simple::I16, Written::Binary) => "2 bytes",
            (Simple::I32 | Simple::F32, Written::Binary) => "4 bytes",
            (Simple::I64 | Simple::F64, Written::Binary) => "8 bytes",
            (Simple::Bool, Written::Binary) => "one byte, 1 or 0",
            (Simple::Uuid, Written::Binary) => "16 bytes",
            (Simple::I16, Written::Text) => "a whole number within 16 bits",
            (Simple::I32, Written::Text) => "a whole number within 32 bits",
            (Simple::I64, Written::Text) => "a whole number within 64 bits",
            (Simple::F32 | Simple::F64, Written::Text) => "a number",
            (Simple::Bool, Written::Text) => "true or false",
            (Simple::Uuid, Written::Text) => "a UUID of 36 letters",
        }
    }
}

/// A value that was read.
#[derive(Clone, Copy)]
enum Read {
    I64(i64),
    F64(f64),
    Bool(bool),
    Uuid([u8; 36]),
}

impl Single {
    /// Appends the cell of these bytes; or says what is wrong with them, as the end of a sentence.
    #[inline(always)]
    pub(super) fn append(
        self,
        bytes: &[u8],
        column: u16,
        rows: &mut RowBatch,
    ) -> Result<(), (Reason, String)> {
        match self {
            Single::String => {
                if let Err(error) = simdutf8::compat::from_utf8(bytes) {
                    let at = error.valid_up_to();
                    return Err((Reason::InvalidUtf8, format!("is not UTF-8 at byte {at}")));
                }
                let cell = rows.cell_bytes(column, CellKind::Text, 0, bytes);
                rows.cells.push(cell);
            }
            Single::Raw => {
                let cell = match simdutf8::basic::from_utf8(bytes) {
                    Ok(_) => rows.cell_bytes(column, CellKind::Text, 0, bytes),
                    Err(_) => base64_cell(bytes, column, rows),
                };
                rows.cells.push(cell);
            }
            Single::Simple(simple, written) => simple.append(written, bytes, column, rows)?,
        }
        Ok(())
    }

    /// What it is, for a person.
    pub(super) fn in_words(self) -> String {
        match self {
            Single::String => "text".to_owned(),
            Single::Raw => "text or base64".to_owned(),
            Single::Simple(simple, Written::Binary) => simple.name().to_owned(),
            Single::Simple(simple, Written::Text) => format!("{} as text", simple.name()),
        }
    }
}

/// What is wrong with bytes that are no value of a type.
#[cold]
fn misread(simple: Simple, written: Written, bytes: &[u8]) -> String {
    let shown = match written {
        Written::Binary if simple == Simple::Bool && bytes.len() == 1 => {
            format!("is the byte {}", bytes[0])
        }
        Written::Binary => format!("has {} bytes", bytes.len()),
        Written::Text => format!("is {}", super::quoted(bytes)),
    };
    let (name, expected) = (simple.name(), simple.expected(written));
    let other = match written {
        Written::Binary => "; for a number in digits there is written = \"text\"",
        Written::Text => "",
    };
    let other = if simple == Simple::Uuid { "" } else { other };
    format!("{shown}, and as {name} it must be {expected}{other}")
}

/// Bytes as base64, made where they are to lie.
fn base64_cell(bytes: &[u8], column: u16, rows: &mut RowBatch) -> Cell {
    let at = rows.arena.len();
    let room = base64::encoded_len(bytes.len(), true).expect("a record is not so large");
    rows.arena.resize(at + room, 0);
    let len = STANDARD.encode_slice(bytes, &mut rows.arena[at..]).expect("there is room for it");
    rows.arena.truncate(at + len);
    Cell { column, kind: CellKind::Text as u8, flags: 0, len: len as u32, value: at as u64 }
}

/// The text of a UUID: lower case, as RFC 9562 has it.
fn uuid_text(bytes: [u8; 16]) -> [u8; 36] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (index, byte) in bytes.into_iter().enumerate() {
        // Four, two, two, two and six bytes, with a hyphen between them.
        at += usize::from(matches!(index, 4 | 6 | 8 | 10));
        text[at] = DIGITS[usize::from(byte >> 4)];
        text[at + 1] = DIGITS[usize::from(byte & 15)];
        at += 2;
    }
    text
}

/// Options of `string` and `raw`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct TextOptions {
    /// The column. Default `"value"`.
    column: String,
}

impl Default for TextOptions {
    fn default() -> TextOptions {
        TextOptions { column: "value".to_owned() }
    }
}

/// Options of the simple types.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct SimpleOptions {
    /// The column. Default `"value"`.
    column: String,
    /// `"binary"`, as Kafka's serializers write it, or `"text"`. Default `"binary"`; of `uuid`
    /// `"text"`.
    written: Option<Written>,
}

impl Default for SimpleOptions {
    fn default() -> SimpleOptions {
        SimpleOptions { column: "value".to_owned(), written: None }
    }
}

/// One value in one column.
#[derive(Debug)]
struct Plan {
    column: String,
    single: Single,
}

impl Plan {
    fn checked(
        section: &Section,
        column: String,
        single: Single,
    ) -> Result<Box<dyn FormatPlan>, Mistake> {
        if column.is_empty() {
            return Err(section.mistake("column", "a column needs a name"));
        }
        Ok(Box::new(Plan { column, single }))
    }

    fn text(section: &Section, single: Single) -> Result<Box<dyn FormatPlan>, Mistake> {
        Plan::checked(section, options::<TextOptions>(section)?.column, single)
    }

    fn simple(section: &Section, simple: Simple) -> Result<Box<dyn FormatPlan>, Mistake> {
        let SimpleOptions { column, written } = options(section)?;
        let written = written.unwrap_or(simple.usually_written());
        Plan::checked(section, column, Single::Simple(simple, written))
    }
}

impl FormatPlan for Plan {
    fn decoder(&self, context: &DecoderContext) -> Box<dyn Format> {
        // The first names of a pipeline always find room.
        let column = context.names.columns.intern(&self.column).unwrap_or(0);
        Box::new(Walker::new(context, Reader { column, single: self.single }))
    }
}

struct Reader {
    column: u16,
    single: Single,
}

impl ReadValue for Reader {
    #[inline]
    fn read(&mut self, value: &[u8], out: &mut Out<'_>) -> Result<(), Stopped> {
        let read = self.single.append(value, self.column, out.rows);
        let refused = |(reason, wrong)| Stopped::Record((reason, format!("the value {wrong}")));
        read.map_err(refused)?;
        out.end_row(0)
    }
}

/// UTF-8 text.
pub const STRING: Kind<dyn FormatPlan> = Kind {
    name: "string",
    summary: "UTF-8 text in one column",
    example: "value = { format = \"string\", column = \"line\" }\n",
    schema: || schemars::schema_for!(TextOptions),
    parse: |section| Plan::text(section, Single::String),
};

/// Any bytes.
pub const RAW: Kind<dyn FormatPlan> = Kind {
    name: "raw",
    summary: "any bytes in one column: UTF-8 as it is, else base64",
    example: "value = { format = \"raw\", column = \"payload\" }\n",
    schema: || schemars::schema_for!(TextOptions),
    parse: |section| Plan::text(section, Single::Raw),
};

/// Whole numbers of 16 bits.
pub const I16: Kind<dyn FormatPlan> = Kind {
    name: "i16",
    summary: "a whole number of 16 bits in one column",
    example: "value = { format = \"i16\", column = \"level\" }\n",
    schema: || schemars::schema_for!(SimpleOptions),
    parse: |section| Plan::simple(section, Simple::I16),
};

/// Whole numbers of 32 bits.
pub const I32: Kind<dyn FormatPlan> = Kind {
    name: "i32",
    summary: "a whole number of 32 bits in one column",
    example: "value = { format = \"i32\", column = \"count\" }\n",
    schema: || schemars::schema_for!(SimpleOptions),
    parse: |section| Plan::simple(section, Simple::I32),
};

/// Whole numbers of 64 bits.
pub const I64: Kind<dyn FormatPlan> = Kind {
    name: "i64",
    summary: "a whole number of 64 bits in one column",
    example: "value = { format = \"i64\", column = \"total\" }\n",
    schema: || schemars::schema_for!(SimpleOptions),
    parse: |section| Plan::simple(section, Simple::I64),
};

/// Floats of 32 bits.
pub const F32: Kind<dyn FormatPlan> = Kind {
    name: "f32",
    summary: "a float of 32 bits in one column",
    example: "value = { format = \"f32\", column = \"temperature\" }\n",
    schema: || schemars::schema_for!(SimpleOptions),
    parse: |section| Plan::simple(section, Simple::F32),
};

/// Floats of 64 bits.
pub const F64: Kind<dyn FormatPlan> = Kind {
    name: "f64",
    summary: "a float of 64 bits in one column",
    example: "value = { format = \"f64\", column = \"temperature\" }\n",
    schema: || schemars::schema_for!(SimpleOptions),
    parse: |section| Plan::simple(section, Simple::F64),
};

/// True or false.
pub const BOOL: Kind<dyn FormatPlan> = Kind {
    name: "bool",
    summary: "true or false in one column",
    example: "value = { format = \"bool\", column = \"on\" }\n",
    schema: || schemars::schema_for!(SimpleOptions),
    parse: |section| Plan::simple(section, Simple::Bool),
};

/// UUIDs.
pub const UUID: Kind<dyn FormatPlan> = Kind {
    name: "uuid",
    summary: "a UUID in one column, as text in lower case",
    example: "value = { format = \"uuid\", column = \"id\" }\n",
    schema: || schemars::schema_for!(SimpleOptions),
    parse: |section| Plan::simple(section, Simple::Uuid),
};

#[cfg(test)]
#[path = "single_tests.rs"]
mod tests;
